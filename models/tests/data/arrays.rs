//! Arrays by name: NumPy's files and safetensors.

use std::io::Write;

use super::*;

/// An array as `numpy.save` writes it.
fn npy(descr: &str, shape: &str, elements: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
    let header = format!("{header:<117}\n");
    [b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..], header.as_bytes(), elements].concat()
}

fn npz(path: &Path, arrays: &[(&str, Vec<u8>)]) {
    let mut archive = zip::ZipWriter::new(fs::File::create(path).unwrap());
    for (number, (name, bytes)) in arrays.iter().enumerate() {
        // numpy.savez stores, numpy.savez_compressed deflates.
        let method = [zip::CompressionMethod::Stored, zip::CompressionMethod::Deflated][number % 2];
        let options = zip::write::SimpleFileOptions::default().compression_method(method);
        archive.start_file(format!("{name}.npy"), options).unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap();
}

fn bytes_of<const N: usize>(values: impl IntoIterator<Item = [u8; N]>) -> Vec<u8> {
    values.into_iter().flatten().collect()
}

fn fields() -> Vec<Field> {
    vec![field("x", DType::F32, &[2, 3]), field("y", DType::I32, &[])]
}

/// Ten samples, as f64 and i64.
fn ten() -> [(&'static str, Vec<u8>); 2] {
    let x = bytes_of((0..60).map(|i| f64::from(i).to_le_bytes()));
    let y = bytes_of((0..10).map(|i: i64| (i * i).to_le_bytes()));
    [("x", npy("<f8", "(10, 2, 3)", &x)), ("y", npy("<i8", "(10,)", &y))]
}

#[test]
fn npz_is_read_and_a_fifth_held_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.npz");
    npz(&path, &ten());
    let mut data = open(&path, &fields(), &Options::default()).unwrap();
    assert_eq!(lengths(&*data), (8, 2));
    let held_out = classes(&mut *data, Split::Validation, &[0, 1]);
    let train = classes(&mut *data, Split::Train, &[0, 1, 2, 3, 4, 5, 6, 7]);
    for sample in 0..10 {
        assert!(held_out.contains(&(sample * sample)) != train.contains(&(sample * sample)));
    }
    // Each sample keeps its parts together.
    let x = floats(&mut *data, Split::Train, &[3]);
    let first = (f64::from(train[3]).sqrt() as f32) * 6.0;
    assert_eq!(x, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0].map(|i| first + i));
}

#[test]
fn safetensors_with_a_validation_part_are_read() {
    use safetensors::{Dtype, tensor::TensorView};
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.safetensors");
    let x = bytes_of((0..18i32).map(i32::to_le_bytes));
    let y = [1u8, 0, 1];
    let tensors = [
        ("x", TensorView::new(Dtype::I32, vec![3, 6], &x).unwrap()),
        ("y", TensorView::new(Dtype::BOOL, vec![3, 1], &y).unwrap()),
        ("validation.x", TensorView::new(Dtype::U8, vec![1, 2, 1, 3], &[9; 6]).unwrap()),
        ("validation.y", TensorView::new(Dtype::U8, vec![1], &[200]).unwrap()),
        ("other", TensorView::new(Dtype::F32, vec![0], &[]).unwrap()),
    ];
    safetensors::serialize_to_file(tensors, None, &path).unwrap();
    let mut data = open(&path, &fields(), &Options::default()).unwrap();
    assert_eq!(lengths(&*data), (3, 1));
    assert_eq!(floats(&mut *data, Split::Train, &[2]), [12.0, 13.0, 14.0, 15.0, 16.0, 17.0]);
    assert_eq!(floats(&mut *data, Split::Validation, &[0]), [9.0; 6]);
    assert_eq!(classes(&mut *data, Split::Train, &[0, 1, 2]), [1, 0, 1]);
    assert_eq!(classes(&mut *data, Split::Validation, &[0]), [200]);
}

#[test]
fn arrays_that_do_not_fit_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.npz");
    let [x, y] = ten();
    let y_of = |descr, shape, elements: &[u8]| ("y", npy(descr, shape, elements));
    let floats = bytes_of((0..10).map(|_| 1.0f32.to_le_bytes()));
    let large = bytes_of((0..10).map(|_| i64::MAX.to_le_bytes()));
    let transposed = bytes_of((0..60).map(|i| f64::from(i).to_le_bytes()));
    type Case<'a> = (Vec<(&'a str, Vec<u8>)>, ErrorKind, &'a [&'a str]);
    let cases: [Case; 8] = [
        (vec![x.clone()], ErrorKind::Data, &["expected an array `y`", "[\"x\"]"]),
        (
            vec![x.clone(), y_of("<f4", "(10,)", &floats)],
            ErrorKind::Data,
            &["`y`", "expected elements of i32"],
        ),
        (vec![x.clone(), y_of("<i8", "(10,)", &large)], ErrorKind::Range, &["`y`", "9223372036854775807"]),
        (
            vec![x.clone(), y_of("|u1", "(9,)", &[0; 9])],
            ErrorKind::Data,
            &["`x` has 10 samples", "`y` has 9"],
        ),
        (
            vec![("x", npy("<f8", "(10, 3, 2)", &transposed)), y.clone()],
            ErrorKind::Data,
            &["expected f32[samples, 2, 3], found f64[10, 3, 2]"],
        ),
        (vec![x.clone(), y_of("|u1", "()", &[0])], ErrorKind::Data, &["i32[samples]", "u8[]"]),
        (vec![("x", npy("<f8", "(0, 6)", &[])), y_of("|u1", "(0,)", &[])], ErrorKind::Data, &["no samples"]),
        (vec![x.clone(), y.clone(), ("validation.x", x.1.clone())], ErrorKind::Data, &["`validation.y`"]),
    ];
    for (arrays, kind, message) in cases {
        npz(&path, &arrays);
        says(&refused(&path, &fields()), kind, message);
    }
}

#[test]
fn broken_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.npz");
    npz(&path, &ten());
    let whole = fs::read(&path).unwrap();
    for length in [0, 1, 4, 9, 30, 100, 200, whole.len() / 2, whole.len() - 1] {
        fs::write(&path, &whole[..length]).unwrap();
        says(&refused(&path, &fields()), ErrorKind::Format, &["data.npz"]);
    }
    let [_, y] = ten();
    npz(&path, &[("x", npy("<f8", "(1000000000, 2, 3)", &[0; 48])), y]);
    says(&refused(&path, &fields()), ErrorKind::Format, &["`x`", "48000000000 bytes"]);

    let path = folder.path().join("data.safetensors");
    let header = br#"{"x":{"dtype":"F32","shape":[1000000000000],"data_offsets":[0,4000000000000]}}"#;
    let huge = [&(header.len() as u64).to_le_bytes()[..], header].concat();
    for bytes in [huge, [&u64::MAX.to_le_bytes()[..], b"{}"].concat(), b"12345678{".to_vec()] {
        fs::write(&path, bytes).unwrap();
        says(&refused(&path, &fields()), ErrorKind::Format, &["data.safetensors"]);
    }
    says(&refused(Path::new("/nowhere/data.npz"), &fields()), ErrorKind::Io, &["/nowhere/data.npz"]);
}
