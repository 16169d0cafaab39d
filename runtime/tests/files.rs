//! Files of tensors: NumPy's and safetensors, whole ones and broken ones.

use std::path::{Path, PathBuf};

use brolga_runtime::*;

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

/// What `tests/data/make.py` writes.
fn arrays() -> Vec<(&'static str, Tensor)> {
    let image: Vec<f32> = (0..12u8).map(|i| f32::from(i) / 8.0).collect();
    vec![
        ("image", Tensor::from_slice(&[1, 3, 4], &image).unwrap()),
        ("label", Tensor::from_slice(&[3], &[3i32, 1, 4]).unwrap()),
        ("index", Tensor::from_slice(&[2, 1], &[1i64 << 40, -2]).unwrap()),
        ("pixel", Tensor::from_slice(&[3], &[0u8, 128, 255]).unwrap()),
        ("mask", Tensor::from_bytes(DType::Bool, &[2], &[1, 0]).unwrap()),
        ("double", Tensor::scalar(0.1f64).unwrap()),
        ("empty", Tensor::zeros(DType::F32, &[0, 5]).unwrap()),
    ]
}

fn sorted(mut tensors: Vec<(String, Tensor)>) -> Vec<(String, Tensor)> {
    tensors.sort_by(|a, b| a.0.cmp(&b.0));
    tensors
}

fn expected() -> Vec<(String, Tensor)> {
    sorted(arrays().into_iter().map(|(n, t)| (n.to_string(), t)).collect())
}

#[test]
fn arrays_of_numpy_are_read() {
    assert_eq!(sorted(read_tensors(data("stored.npz")).unwrap()), expected());
    assert_eq!(sorted(read_tensors(data("deflated.npz")).unwrap()), expected());
    let plain = read_tensors(data("plain.npy")).unwrap();
    assert_eq!((plain[0].0.as_str(), &plain[0].1), ("plain", &arrays()[0].1));
}

#[test]
fn arrays_of_other_kinds_are_refused_with_a_way_out() {
    let message = |name| read_tensors(data(name)).unwrap_err().to_string();
    assert!(message("complex.npy").contains("its elements are `<c8`; truth values, whole numbers"));
    // The largest whole numbers are rounded where floats are wanted; i64 has none of them.
    let huge = || read_tensors(data("huge.npy")).unwrap().remove(0).1;
    assert_eq!(
        huge().converted(DType::F32).unwrap().as_slice::<f32>().unwrap(),
        [1.0, 18446744073709551615.0f32]
    );
    let whole = huge().converted(DType::I64).unwrap_err().to_string();
    assert!(whole.contains("a value above 9223372036854775807 does not fit into i64"), "{whole}");
    assert!(
        message("make.py").contains("is not a whole safetensors file: it is text; tensors are read from")
    );
    assert_eq!(read_tensors(data("missing.npz")).unwrap_err().kind(), ErrorKind::Io);
}

/// What an archive has beside numbers is named, and in no one's way.
#[test]
fn what_else_an_archive_has_is_passed_over() {
    let (tensors, others) = read_tensors_and_others(data("others.npz")).unwrap();
    assert_eq!(tensors, [("pixel".to_owned(), arrays().remove(3).1)]);
    assert_eq!(read_tensors(data("others.npz")).unwrap(), tensors);
    let said: Vec<(&str, String)> =
        others.iter().map(|(name, error)| (name.as_str(), error.to_string())).collect();
    for ((name, error), (expected, why)) in said.iter().zip([
        ("name", "its elements are `<U2`"),
        ("wave", "its elements are `<c8`"),
        ("about.json", "member `about.json` is not a NumPy array (.npy)"),
    ]) {
        assert_eq!(*name, expected);
        assert!(error.contains(why) && error.contains("others.npz"), "{error}");
    }
    assert_eq!(said.len(), 3);
    // Without any array there is nothing to be read.
    let folder = tempfile::tempdir().unwrap();
    let bytes = std::fs::read(data("others.npz")).unwrap();
    let at = bytes.windows(3).position(|three| three == b"|u1").unwrap();
    let mut changed = bytes.clone();
    changed[at + 1] = b'S';
    std::fs::write(folder.path().join("none.npz"), changed).unwrap();
    assert_eq!(read_tensors(folder.path().join("none.npz")).unwrap_err().kind(), ErrorKind::Format);
}

/// What becomes of the numbers of `tests/data/make.py` in a type of that name.
fn same_numbers(code: &str) -> Tensor {
    let numbers = [0u8, 1, 2, 3, 4, 100];
    let tensor = Tensor::from_slice(&[2, 3], &numbers).unwrap();
    tensor
        .converted(match code {
            "u1" | "uint8" => DType::U8,
            "i1" | "i2" | "i4" | "u2" | "int8" | "int16" | "int32" | "uint16" => DType::I32,
            "f2" | "f4" | "float16" | "bfloat16" | "float32" => DType::F32,
            "f8" | "float64" => DType::F64,
            _ => DType::I64,
        })
        .unwrap()
}

#[test]
fn every_element_type_and_order_is_read() {
    let mut kinds = read_tensors(data("kinds.npz")).unwrap();
    assert_eq!(kinds.len(), 11 * 2 * 2 + 2);
    let mask = kinds.pop().unwrap().1;
    assert_eq!((mask.dtype(), mask.bytes()), (DType::Bool, &[0, 1, 0, 1, 0, 0][..]));
    let solid = kinds.pop().unwrap().1;
    assert_eq!(solid.as_slice::<i32>().unwrap(), (0..24).collect::<Vec<i32>>());
    assert_eq!(solid.dims(), [2, 3, 4]);
    for (name, tensor) in &kinds {
        assert_eq!(*tensor, same_numbers(name.rsplit('.').next().unwrap()), "{name}");
    }
    let kinds = read_tensors(data("kinds.safetensors")).unwrap();
    assert_eq!(kinds.len(), 12);
    for (name, tensor) in &kinds {
        assert_eq!(*tensor, same_numbers(name), "{name}");
    }
    assert_eq!(read_tensors(data("half.npy")).unwrap()[0].1.as_slice::<f32>().unwrap(), [1.0; 3]);
    assert_eq!(read_tensors(data("fortran.npy")).unwrap()[0].1.dims(), [2, 3]);
}

/// Every pair of types: what is converted keeps its numbers, the rest is refused.
#[test]
fn numbers_are_converted_where_they_stay_what_they_are() {
    for from in DType::ALL {
        for to in DType::ALL {
            let numbers = Tensor::from_slice(&[3], &[1u8, 0, 1]).unwrap();
            let given = match from {
                DType::Bool => Tensor::from_bytes(from, &[3], &[1, 0, 1]).unwrap(),
                _ => numbers.converted(from).unwrap(),
            };
            let is_float = |dtype| matches!(dtype, DType::F32 | DType::F64);
            let refused = from != to && (to == DType::Bool || is_float(from) && !is_float(to));
            match given.converted(to) {
                Ok(tensor) => {
                    let back = tensor.converted(DType::F64);
                    assert_eq!(back.unwrap().as_slice::<f64>().unwrap(), [1.0, 0.0, 1.0], "{from} to {to}");
                    assert!(!refused, "{from} to {to}");
                }
                Err(error) => assert!(refused, "{from} to {to}: {error}"),
            }
        }
    }
    let outside = Tensor::scalar(256i64).unwrap().converted(DType::U8).unwrap_err();
    assert!(outside.to_string().contains("256 does not fit into u8"), "{outside}");
    for large in [1e39, -1e39, 3.5e38, f64::MAX, 1e300] {
        let error = Tensor::scalar(large).unwrap().converted(DType::F32).unwrap_err().to_string();
        assert!(error.contains(&format!("{large:e} is too large for f32; with --precision f64")), "{error}");
    }
    for kept in [f64::INFINITY, f64::NEG_INFINITY, f64::from(f32::MAX), 1e-300] {
        let tensor = Tensor::scalar(kept).unwrap().converted(DType::F32).unwrap();
        assert_eq!(tensor.as_slice::<f32>().unwrap(), [kept as f32]);
    }
    let rounded = Tensor::scalar(0.1f64).unwrap().converted(DType::F32).unwrap();
    assert_eq!(rounded.as_slice::<f32>().unwrap(), [0.1f32]);
}

/// Where tensors are expected, another file is called what it is, whatever its name, and what would be right is said.
#[test]
fn files_of_other_kinds_are_called_what_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let torch = [&b"PK\x03\x04"[..], &[0; 22], b"\x10\0\0\0archive/data.pkl"].concat();
    let cases: [(&str, &[u8], &str, &str); 7] = [
        ("t.csv", b"a,b\n1,2\n", "a table (CSV)", "--data"),
        ("digit.png", b"\x89PNG\r\n\x1a\n", "a PNG image", "--data"),
        ("photo.jpg", b"\xff\xd8\xff\xe0", "a JPEG image", "--data"),
        ("w.pt", &torch, "a file of PyTorch", "safetensors.torch.save_file(torch.load("),
        ("w.pth", b"\x80\x02}q\0.", "a Python pickle", "safetensors.torch.save_file(torch.load("),
        ("w.safetensors", b"\x89HDF\r\n\x1a\n", "a HDF5 file", "safetensors.numpy.save_file("),
        ("in.npz", b"\x89PNG\r\n\x1a\n", "a PNG image", "--data"),
    ];
    for (name, bytes, what, way_out) in cases {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        for error in [read_tensors(&path).unwrap_err(), TensorFile::open(&path).unwrap_err()] {
            let message = error.to_string();
            assert!(message.contains(&format!("it is {what}")) && message.contains(way_out), "{message}");
            assert!(!message.contains("claims a header"), "{message}");
        }
    }
    // Arrays of NumPy are read under any name.
    let path = dir.path().join("arrays");
    std::fs::copy(data("stored.npz"), &path).unwrap();
    assert_eq!(sorted(read_tensors(&path).unwrap()), expected());
    assert!(TensorFile::open(&path).unwrap_err().to_string().contains("safetensors.numpy.save_file("));
}

#[test]
fn what_is_written_is_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let arrays = arrays();
    let views: Vec<_> = arrays.iter().map(|(n, t)| (*n, t.view())).collect();
    for name in ["a.npz", "a.safetensors"] {
        let path = dir.path().join(name);
        write_tensors(&path, &views).unwrap();
        assert_eq!(sorted(read_tensors(&path).unwrap()), expected(), "{name}");
        let first = std::fs::read(&path).unwrap();
        write_tensors(&path, &views).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), first, "equal tensors, equal files");
    }
    let path = dir.path().join("one.npy");
    write_tensors(&path, &views[..1]).unwrap();
    // The very bytes that NumPy writes.
    assert_eq!(std::fs::read(&path).unwrap(), std::fs::read(data("plain.npy")).unwrap());
    assert_eq!(write_tensors(&path, &views).unwrap_err().kind(), ErrorKind::Count);
    let twice = [views[0], views[0]];
    assert_eq!(write_tensors(dir.path().join("b.safetensors"), &twice).unwrap_err().kind(), ErrorKind::Name);
    let nowhere = write_tensors(dir.path().join("no/such/directory.npz"), &views).unwrap_err();
    assert!(nowhere.to_string().starts_with("cannot write `"), "{nowhere}");
}

/// A safetensors file with this header and so many bytes of data.
fn file(header: &str, data: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend(std::iter::repeat_n(0, data));
    bytes
}

#[test]
fn broken_safetensors_files_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("w.safetensors");
    let message = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        let error = read_tensors(&path).unwrap_err().to_string();
        let place = format!("`{}`", path.display());
        error.replace(&place, "FILE")
    };
    let start = "FILE is not a whole safetensors file: ";
    let check = |bytes: &[u8], rest: &str| assert_eq!(message(bytes), format!("{start}{rest}"));
    check(b"", "it has 0 bytes, fewer than the length of a header takes");
    check(
        &u64::MAX.to_le_bytes(),
        "it claims a header of 18446744073709551615 bytes, but has 8 bytes in all",
    );
    check(&99_999_999u64.to_le_bytes(), "it claims a header of 99999999 bytes, but has 8 bytes in all");
    let one = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
    check(&file(one, 7), "its header announces 8 bytes of data, but 7 follow");
    check(&file(one, 9), "its header announces 8 bytes of data, but 9 follow");
    check(
        &file(&one.replace("[2]", "[3]"), 8),
        "its header is wrong: invalid shape, data type, or offset for tensor",
    );
    check(&file(&one.replace("[0,8]", "[1,9]"), 9), "its header is wrong: invalid offset for tensor `a`");
    let huge = one.replace("[2]", "[4294967296,4294967296,4]");
    check(
        &file(&huge, 8),
        "its header is wrong: overflow computing buffer size from shape and/or element type",
    );
    let overlap = r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}}"#;
    check(&file(overlap, 6), "its header is wrong: invalid offset for tensor `b`");
    let twice = r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"a":{"dtype":"I8","shape":[4],"data_offsets":[0,4]}}"#;
    assert!(
        message(&file(twice, 4))
            .starts_with(&format!("{start}its header is wrong: the name `a` is used twice"))
    );
    assert!(message(&file("{", 0)).starts_with(start));
    assert!(message(&file("\u{0}", 0)).starts_with(start));
    assert!(message(&file(&"[".repeat(100_000), 0)).starts_with(start));
    let eighth = message(&file(r#"{"a":{"dtype":"F8_E4M3","shape":[4],"data_offsets":[0,4]}}"#, 4));
    assert!(eighth.contains("`a` holds elements of F8_E4M3; truth values, whole numbers and"), "{eighth}");
    let bools = r#"{"a":{"dtype":"BOOL","shape":[2],"data_offsets":[0,2]}}"#;
    let mut bad = file(bools, 1);
    bad.push(7);
    assert!(message(&bad).ends_with("tensor `a`: element 1 is the byte 7, but bools are 0 or 1"));
}

/// Two members of one name, of which a reader would take the last.
#[test]
fn archives_that_use_a_name_twice_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (path, arrays) = (dir.path().join("a.npz"), arrays());
    write_tensors(&path, &[("first", arrays[0].1.view()), ("other", arrays[1].1.view())]).unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let named = |bytes: &[u8]| bytes.windows(9).position(|window| window == b"other.npy");
    // Before the member, and in the directory.
    for _ in 0..2 {
        let at = named(&bytes).unwrap();
        bytes[at..at + 9].copy_from_slice(b"first.npy");
    }
    assert_eq!(named(&bytes), None);
    std::fs::write(&path, bytes).unwrap();
    let error = read_tensors(&path).unwrap_err();
    assert!(error.to_string().contains("the name `first` is used twice"), "{error}");
    assert_eq!(error.kind(), ErrorKind::Name);
}

/// Every truncation of a file, and every byte of it changed in several ways: an error or tensors, never a panic,
/// and never an allocation that the file's size does not explain (which the address space would refuse).
#[test]
fn damaged_files_never_panic() {
    let dir = tempfile::tempdir().unwrap();
    let arrays = arrays();
    let views: Vec<_> = arrays.iter().map(|(n, t)| (*n, t.view())).collect();
    write_tensors(dir.path().join("whole.safetensors"), &views).unwrap();
    let (mut refused, mut read) = (0, 0);
    for (name, source) in [
        ("x.safetensors", dir.path().join("whole.safetensors")),
        ("x.npz", data("stored.npz")),
        ("x.npz", data("deflated.npz")),
        ("x.npy", data("plain.npy")),
    ] {
        let whole = std::fs::read(source).unwrap();
        let path = dir.path().join(name);
        let mut attempt = |bytes: &[u8]| {
            // A new file each time: file systems flush one that is written over.
            let _ = std::fs::remove_file(&path);
            std::fs::write(&path, bytes).unwrap();
            if read_tensors(&path).is_ok() { read += 1 } else { refused += 1 }
        };
        for len in (0..whole.len()).step_by(3) {
            attempt(&whole[..len]);
        }
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] = [0, 255, b'9', bytes[at] ^ 1][at % 4];
            attempt(&bytes);
        }
    }
    assert!(refused > 1000 && read > 100, "{refused} refused, {read} read");
}

#[test]
fn names_that_no_file_can_hold_are_refused_and_odd_ones_kept() {
    let dir = tempfile::tempdir().unwrap();
    let tensor = Tensor::scalar(1f32).unwrap();
    let write = |file: &str, name: &str| write_tensors(dir.path().join(file), &[(name, tensor.view())]);
    let long = "n".repeat(MAX_NAME);
    let odd = [
        "a/b",
        "/a",
        "../a",
        "a\\b",
        "ü",
        " ",
        ".",
        "..",
        "a.npy",
        "\"'`",
        "{",
        "__metadata__.a",
        "*/",
        &long,
    ];
    let longer = format!("{long}n");
    let million = "n".repeat(1_000_000);
    let wrong = ["", "__metadata__", "a\0b", "a\nb", "\u{7f}", &longer, &million];
    for file in ["a.safetensors", "a.npz"] {
        for name in odd {
            write(file, name).unwrap();
            let read = read_tensors(dir.path().join(file)).unwrap();
            assert_eq!(read[0].0, name, "{file}");
        }
        for name in wrong {
            let error = write(file, name).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Name);
            let text = error.to_string();
            assert!(text.starts_with("cannot write `") && text.len() < 400, "{text}");
            // The file that was there is still whole.
            assert_eq!(read_tensors(dir.path().join(file)).unwrap()[0].0, long);
            assert!(check_name(name).is_err());
        }
    }
    assert!(check_name("fc1.weight").is_ok());
}
