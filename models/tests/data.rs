//! Data sets as a model gets them, from generated files.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use brolga_models::data::{DIGITS, HeldOut, Options, open, picture, pictures};
use brolga_runtime::{Batches, DType, Error, ErrorKind, Field, Request, Split, Tensor};
use flate2::{Compression, write::GzEncoder};

fn field(name: &str, dtype: DType, dims: &[usize]) -> Field {
    Field { name: name.into(), dtype, dims: dims.into() }
}

fn image_and_label(dims: &[usize]) -> Vec<Field> {
    vec![field("image", DType::F32, dims), field("label", DType::I32, &[])]
}

const RAW: Options =
    Options { seed: 0, held_out: HeldOut::Default, classes: Vec::new(), target: None, columns: Vec::new() };

fn request(split: Split, indices: &[usize]) -> Request<'_> {
    Request { split, indices, seed: 0, epoch: 0 }
}

fn fill(data: &mut dyn Batches, split: Split, indices: &[usize], number: usize) -> Tensor {
    let Field { dtype, dims, .. } = data.fields()[number].clone();
    let mut out = Tensor::zeros(dtype, &[&[indices.len()], &dims[..]].concat()).unwrap();
    data.fill(&request(split, indices), number, &mut out.view_mut()).unwrap();
    out
}

fn floats(data: &mut dyn Batches, split: Split, indices: &[usize]) -> Vec<f32> {
    fill(data, split, indices, 0).as_slice::<f32>().unwrap().to_vec()
}

fn classes(data: &mut dyn Batches, split: Split, indices: &[usize]) -> Vec<i32> {
    fill(data, split, indices, 1).as_slice::<i32>().unwrap().to_vec()
}

fn lengths(data: &dyn Batches) -> (usize, usize) {
    (data.len(Split::Train), data.len(Split::Validation))
}

fn refused(path: &Path, fields: &[Field]) -> Error {
    open(path, fields, &RAW).err().expect("an error")
}

fn says(error: &Error, kind: ErrorKind, parts: &[&str]) {
    let message = error.to_string();
    assert_eq!(error.kind(), kind, "{message}");
    for part in parts {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
}

mod digits {
    use super::*;

    #[test]
    fn are_raw_and_fit_the_model() {
        let mut data = open(Path::new(DIGITS), &image_and_label(&[64]), &Options::default()).unwrap();
        assert_eq!(lengths(&*data), (1437, 360));
        let all: Vec<usize> = (0..1437).collect();
        let pixels = floats(&mut *data, Split::Train, &all);
        assert!(pixels.iter().all(|&v| (v * 16.0).fract() == 0.0 && (0.0..=1.0).contains(&v)));

        let held_out: Vec<usize> = (0..360).collect();
        let mut per_class = [0; 10];
        for (split, indices) in [(Split::Train, &all), (Split::Validation, &held_out)] {
            classes(&mut *data, split, indices).iter().for_each(|&label| per_class[label as usize] += 1);
        }
        // As in scikit-learn's `load_digits().target`.
        assert_eq!(per_class, [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]);
    }

    #[test]
    fn take_any_image_size() {
        let [mut small, mut gray, mut colour, mut flat] = [&[8, 8][..], &[1, 28, 28], &[3, 32, 32], &[784]]
            .map(|dims| open(Path::new(DIGITS), &image_and_label(dims), &RAW).unwrap());
        let pixels = floats(&mut *small, Split::Validation, &[5]);
        assert!(pixels.iter().all(|&v| (v * 16.0).fract() == 0.0 && (0.0..=1.0).contains(&v)));
        assert!(pixels.contains(&1.0) && pixels.contains(&0.0));

        let gray = floats(&mut *gray, Split::Validation, &[5]);
        assert_eq!(gray, floats(&mut *flat, Split::Validation, &[5]));
        // Corners are those of the source, and the mean stays nearly.
        assert_eq!([gray[0], gray[27], gray[783]], [pixels[0], pixels[7], pixels[63]]);
        let mean = |values: &[f32]| values.iter().sum::<f32>() / values.len() as f32;
        assert!((mean(&gray) - mean(&pixels)).abs() < 0.01);

        let colour = floats(&mut *colour, Split::Validation, &[5]);
        assert_eq!(colour[..1024], colour[1024..2048]);
        assert_eq!(colour[..1024], colour[2048..]);
    }

    #[test]
    fn come_in_the_order_and_type_asked_for() {
        let fields =
            [field("x", DType::F64, &[64]), field("label", DType::I64, &[]), field("again", DType::I32, &[])];
        let mut wide = open(Path::new(DIGITS), &fields, &Options::default()).unwrap();
        let mut single = open(Path::new(DIGITS), &image_and_label(&[64]), &Options::default()).unwrap();
        let indices = [7, 0, 1436, 7];
        let single =
            (floats(&mut *single, Split::Train, &indices), classes(&mut *single, Split::Train, &indices));
        let image = fill(&mut *wide, Split::Train, &indices, 0);
        assert!(image.as_slice::<f64>().unwrap().iter().zip(&single.0).all(|(w, s)| *w == f64::from(*s)));
        let label = fill(&mut *wide, Split::Train, &indices, 1);
        assert!(label.as_slice::<i64>().unwrap().iter().zip(&single.1).all(|(w, s)| *w == i64::from(*s)));
        assert_eq!(fill(&mut *wide, Split::Train, &indices, 2).as_slice::<i32>().unwrap(), single.1);
        assert_eq!(single.0[..64], single.0[192..]);
    }

    #[test]
    fn refuse_what_they_cannot_fill() {
        let refused = |fields: &[Field]| refused(Path::new(DIGITS), fields);
        says(&refused(&image_and_label(&[65])), ErrorKind::Data, &["`image`", "f32[65]", "side * side"]);
        says(&refused(&image_and_label(&[2, 8, 8])), ErrorKind::Data, &["f32[2, 8, 8]"]);
        says(&refused(&image_and_label(&[1, 0, 8])), ErrorKind::Data, &["f32[1, 0, 8]"]);
        says(&refused(&image_and_label(&[1, usize::MAX, 2])), ErrorKind::Data, &["no image"]);
        says(&refused(&[field("label", DType::I32, &[10])]), ErrorKind::Data, &["i32[10]"]);
        let two = [field("x", DType::F32, &[64]), field("noise", DType::F32, &[64])];
        says(&refused(&two), ErrorKind::Data, &["named `image`"]);
    }

    #[test]
    fn requests_are_checked() {
        let mut data = open(Path::new(DIGITS), &image_and_label(&[64]), &RAW).unwrap();
        let mut out = Tensor::zeros(DType::F32, &[1, 64]).unwrap();
        let error = data.fill(&request(Split::Validation, &[360]), 0, &mut out.view_mut()).unwrap_err();
        says(&error, ErrorKind::Range, &["sample 360", "360 samples"]);
        let error = data.fill(&request(Split::Train, &[0, 1]), 0, &mut out.view_mut()).unwrap_err();
        says(&error, ErrorKind::Shape, &["f32[1, 64]", "f32[2, 64]"]);
        let error = data.fill(&request(Split::Train, &[0]), 2, &mut out.view_mut()).unwrap_err();
        says(&error, ErrorKind::Range, &["field 2"]);
    }
}

fn idx_file(dims: &[u32], elements: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, dims.len() as u8];
    dims.iter().for_each(|d| bytes.extend(d.to_be_bytes()));
    bytes.extend(elements);
    bytes
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

mod idx {
    use super::*;

    /// Five training and two test images of 2x2.
    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
        write("train-images-idx3-ubyte", &idx_file(&[5, 2, 2], &(0..20).map(|i| i * 10).collect::<Vec<_>>()));
        write("train-labels-idx1-ubyte.gz", &gzip(&idx_file(&[5], &[4, 3, 2, 1, 0])));
        write("t10k-images.idx3-ubyte.gz", &gzip(&idx_file(&[2, 2, 2], &[255; 8])));
        write("t10k-labels.idx1-ubyte", &idx_file(&[2], &[7, 8]));
        write("README", b"not an IDX file");
        folder
    }

    #[test]
    fn plain_and_packed_are_read() {
        let folder = folder();
        let mut data = open(folder.path(), &image_and_label(&[1, 2, 2]), &RAW).unwrap();
        assert_eq!(lengths(&*data), (5, 2));
        let expected: Vec<f32> = [40, 50, 60, 70, 0, 10, 20, 30].iter().map(|&p| p as f32 / 255.0).collect();
        assert_eq!(floats(&mut *data, Split::Train, &[1, 0]), expected);
        assert_eq!(classes(&mut *data, Split::Train, &[1, 0]), [3, 4]);
        assert_eq!(floats(&mut *data, Split::Validation, &[1]), [1.0; 4]);
        assert_eq!(classes(&mut *data, Split::Validation, &[0, 1]), [7, 8]);
    }

    #[test]
    fn without_a_test_part_a_fifth_is_held_out() {
        let folder = folder();
        fs::remove_file(folder.path().join("t10k-images.idx3-ubyte.gz")).unwrap();
        says(
            &refused(folder.path(), &image_and_label(&[4])),
            ErrorKind::Data,
            &["test images and test labels"],
        );
        fs::remove_file(folder.path().join("t10k-labels.idx1-ubyte")).unwrap();
        let mut held_out = Vec::new();
        for seed in 0..20 {
            let options = Options { seed, ..RAW };
            let mut data = open(folder.path(), &image_and_label(&[4]), &options).unwrap();
            assert_eq!(lengths(&*data), (4, 1));
            let mut all = classes(&mut *data, Split::Train, &[0, 1, 2, 3]);
            held_out.extend(classes(&mut *data, Split::Validation, &[0]));
            all.extend(held_out.last());
            all.sort_unstable();
            assert_eq!(all, [0, 1, 2, 3, 4]);
        }
        held_out.sort_unstable();
        held_out.dedup();
        assert!(held_out.len() > 2, "always the same sample: {held_out:?}");
    }

    /// Each file in place of the training images or labels, and what is said about it.
    #[test]
    fn broken_files_are_refused() {
        let huge = idx_file(&[1_000_000_000, 28, 28], &[1, 2, 3]);
        let beyond = idx_file(&[u32::MAX, u32::MAX, u32::MAX], &[]);
        let images = [
            (huge.clone(), "expected 784000000000 bytes"),
            (gzip(&huge), "found 3"),
            (beyond, "beyond any memory"),
            (idx_file(&[5, 2, 2], &[0; 19]), "expected 20 bytes of elements ([5, 2, 2]), found 19"),
            (idx_file(&[5, 2, 2], &[0; 21]), "the file goes on"),
            (idx_file(&[5, 2, 2], &[0; 20])[..10].to_vec(), "4 bytes of dimensions"),
            (idx_file(&[5, 0, 2], &[]), "[5, 0, 2]"),
            (idx_file(&[0, 2, 2], &[]), "[0, 2, 2]"),
            (idx_file(&[5, 2, 2, 3], &[0; 60]), "3 dimensions (images)"),
            (idx_file(&[4, 2, 2], &[0; 16]), "a label for each of 4 images, found 5"),
            (idx_file(&[5, 3, 3], &[0; 45]), "images of 3x3 as in training, found 2x2"),
            ([&[0, 0, 13, 3][..], &[0; 12]].concat(), "found 0x00000d03"),
            (vec![0, 0, 8, 255], "3 dimensions (images)"),
        ];
        for (bytes, message) in images {
            let folder = folder();
            fs::write(folder.path().join("train-images-idx3-ubyte"), bytes).unwrap();
            says(&refused(folder.path(), &image_and_label(&[4])), ErrorKind::Format, &[message]);
        }
        let packed =
            gzip(&idx_file(&[60_000], &(0..60_000u32).map(|i| (i * i % 251) as u8).collect::<Vec<_>>()));
        let labels = [
            (packed[..packed.len() / 2].to_vec(), "expected 60000 bytes of elements"),
            (idx_file(&[6], &[0; 6]), "a label for each of 5 images, found 6"),
        ];
        for (bytes, message) in labels {
            let folder = folder();
            fs::write(folder.path().join("train-labels-idx1-ubyte.gz"), bytes).unwrap();
            says(&refused(folder.path(), &image_and_label(&[4])), ErrorKind::Format, &[message]);
        }
        let folder = folder();
        fs::remove_file(folder.path().join("train-images-idx3-ubyte")).unwrap();
        says(&refused(folder.path(), &image_and_label(&[4])), ErrorKind::Data, &["found no images"]);
        fs::write(folder.path().join("more-idx3-ubyte"), idx_file(&[1, 1, 1], &[0])).unwrap();
        says(
            &refused(folder.path(), &image_and_label(&[4])),
            ErrorKind::Format,
            &["`train`, `t10k` or `test`"],
        );
    }

    /// MNIST itself, where it is there: `BROLGA_MNIST`, or beside the repository.
    #[test]
    fn mnist() {
        let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/mnist");
        let folder = std::env::var_os("BROLGA_MNIST").map_or_else(beside, PathBuf::from);
        if !folder.is_dir() {
            println!("skipped: no MNIST in {} (set BROLGA_MNIST)", folder.display());
            return;
        }
        let mut data = open(&folder, &image_and_label(&[784]), &RAW).unwrap();
        assert_eq!(lengths(&*data), (60_000, 10_000));
        let all: Vec<usize> = (0..60_000).collect();
        let mut count = |split, indices: &[usize]| {
            let mut counts = [0; 10];
            classes(&mut *data, split, indices).iter().for_each(|&label| counts[label as usize] += 1);
            counts
        };
        // As published; the order of the samples varies between copies.
        let train = count(Split::Train, &all);
        assert_eq!(train, [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]);
        let test = count(Split::Validation, &all[..10_000]);
        assert_eq!(test, [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]);
        // The well-known mean and deviation of the training images.
        let pixels = floats(&mut *data, Split::Train, &all);
        let mean = pixels.iter().map(|&v| f64::from(v)).sum::<f64>() / pixels.len() as f64;
        let square = pixels.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / pixels.len() as f64;
        assert!((mean - 0.1307).abs() < 1e-4 && ((square - mean * mean).sqrt() - 0.3081).abs() < 1e-4);
    }
}

mod cifar {
    use super::*;

    fn record(label: u8, planes: [u8; 3]) -> Vec<u8> {
        let mut bytes = vec![label];
        planes.iter().for_each(|&value| bytes.extend([value; 1024]));
        bytes
    }

    #[test]
    fn records_are_read_in_the_order_of_the_files() {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("cifar-10-batches-bin");
        fs::create_dir(&inside).unwrap();
        // The first record begins like an IDX header.
        fs::write(inside.join("data_batch_1.bin"), [record(0, [0, 8, 9]), record(9, [10, 20, 30])].concat())
            .unwrap();
        fs::write(inside.join("data_batch_2.bin"), record(5, [51, 102, 255])).unwrap();
        fs::write(inside.join("test_batch.bin"), record(2, [0, 0, 255])).unwrap();
        for path in [folder.path(), &inside] {
            let mut data = open(path, &image_and_label(&[3, 32, 32]), &RAW).unwrap();
            assert_eq!(lengths(&*data), (3, 1));
            assert_eq!(classes(&mut *data, Split::Train, &[2, 1, 0]), [5, 9, 0]);
            let pixels = floats(&mut *data, Split::Train, &[2]);
            assert_eq!([pixels[0], pixels[1024], pixels[3071]], [0.2, 0.4, 1.0]);
        }
        // Grey: 0.114 * 255 = 29.07.
        let mut gray = open(&inside, &image_and_label(&[784]), &RAW).unwrap();
        let pixels = floats(&mut *gray, Split::Validation, &[0]);
        assert!(pixels.iter().all(|v| (v - 29.0 / 255.0).abs() < 1e-6));
    }

    #[test]
    fn broken_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("data_batch_1.bin");
        let cases = [
            (record(0, [0; 3])[..3000].to_vec(), "records of 3073 bytes, found 3000"),
            (vec![], "found 0 bytes"),
            ([record(0, [0; 3]), record(10, [0; 3])].concat(), "found 10 in record 1"),
        ];
        for (bytes, message) in cases {
            fs::write(&file, bytes).unwrap();
            says(&refused(folder.path(), &image_and_label(&[3, 32, 32])), ErrorKind::Format, &[message]);
        }
        fs::rename(file, folder.path().join("test_batch.bin")).unwrap();
        says(&refused(folder.path(), &image_and_label(&[3072])), ErrorKind::Data, &["data_batch_*.bin"]);
    }
}

mod arrays {
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
            (
                vec![x.clone(), y_of("<i8", "(10,)", &large)],
                ErrorKind::Range,
                &["`y`", "9223372036854775807"],
            ),
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
            (
                vec![("x", npy("<f8", "(0, 6)", &[])), y_of("|u1", "(0,)", &[])],
                ErrorKind::Data,
                &["no samples"],
            ),
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
}

mod png_folder {
    use super::*;

    fn image(path: &Path, size: (u32, u32), colour: png::ColorType, bytes: &[u8]) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut encoder = png::Encoder::new(fs::File::create(path).unwrap(), size.0, size.1);
        encoder.set_color(colour);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.write_header().unwrap().write_image_data(bytes).unwrap();
    }

    #[test]
    fn classes_are_folders() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        image(&at("train/cat/1.png"), (2, 1), png::ColorType::Grayscale, &[0, 255]);
        image(&at("train/cat/2.PNG"), (1, 1), png::ColorType::Rgb, &[255, 0, 51]);
        image(&at("train/ant/1.png"), (1, 1), png::ColorType::Rgba, &[255, 0, 0, 0]);
        image(&at("train/ant/2.png"), (1, 1), png::ColorType::GrayscaleAlpha, &[51, 255]);
        image(&at("val/cat/1.png"), (4, 4), png::ColorType::Grayscale, &[102; 16]);
        fs::write(at("train/cat/notes.txt"), "not an image").unwrap();
        fs::create_dir(at("train/.hidden")).unwrap();

        let mut data = open(folder.path(), &image_and_label(&[3, 1, 2]), &RAW).unwrap();
        assert_eq!(lengths(&*data), (4, 1));
        assert_eq!(classes(&mut *data, Split::Train, &[0, 1, 2, 3]), [0, 0, 1, 1]);
        assert_eq!(floats(&mut *data, Split::Train, &[0]), [1.0; 6], "transparent is white");
        assert_eq!(floats(&mut *data, Split::Train, &[1]), [0.2; 6]);
        assert_eq!(floats(&mut *data, Split::Train, &[2]), [0.0, 1.0, 0.0, 1.0, 0.0, 1.0]);
        assert_eq!(floats(&mut *data, Split::Train, &[3]), [1.0, 1.0, 0.0, 0.0, 0.2, 0.2]);
        assert_eq!(floats(&mut *data, Split::Validation, &[0]), [0.4; 6]);
        assert_eq!(classes(&mut *data, Split::Validation, &[0]), [1]);

        // 0.299 * 255 + 0.114 * 51 = 82.06
        let mut gray = open(folder.path(), &image_and_label(&[1]), &RAW).unwrap();
        assert_eq!(floats(&mut *gray, Split::Train, &[3]), [82.0 / 255.0]);

        let mut below = open(&at("train"), &image_and_label(&[1, 1, 1]), &RAW).unwrap();
        assert_eq!(lengths(&*below), (4, 0));
        assert_eq!(classes(&mut *below, Split::Train, &[0, 3]), [0, 1]);
    }

    #[test]
    fn broken_folders_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let refused = || refused(folder.path(), &image_and_label(&[1, 2, 2]));
        says(&refused(), ErrorKind::Format, &["neither IDX files"]);
        fs::create_dir_all(at("train/b")).unwrap();
        says(&refused(), ErrorKind::Format, &["neither IDX files"]);
        image(&at("train/a/1.png"), (1, 1), png::ColorType::Grayscale, &[0]);
        says(&refused(), ErrorKind::Data, &["b` has no pictures"]);
        image(&at("train/b/1.png"), (1, 1), png::ColorType::Grayscale, &[0]);
        image(&at("test/c/1.png"), (1, 1), png::ColorType::Grayscale, &[0]);
        says(&refused(), ErrorKind::Data, &["none of the classes [\"a\", \"b\"]"]);
        fs::remove_dir_all(at("test")).unwrap();
        fs::write(at("train/b/2.jpeg"), "").unwrap();
        says(&refused(), ErrorKind::Format, &["2.jpeg", "neither a PNG image nor a JPEG image"]);
        fs::remove_file(at("train/b/2.jpeg")).unwrap();

        let whole = fs::read(at("train/b/1.png")).unwrap();
        let mut huge = whole.clone();
        huge[16..24].copy_from_slice(&[0x3f, 0xff, 0xff, 0xff, 0x3f, 0xff, 0xff, 0xff]);
        let checksum = crc(&huge[12..29]);
        huge[29..33].copy_from_slice(&checksum.to_be_bytes());
        fs::write(at("train/b/1.png"), &huge).unwrap();
        says(&refused(), ErrorKind::Format, &["1.png", "1073741823 x 1073741823"]);
        for length in [0, 8, 20, 40, whole.len() / 2] {
            fs::write(at("train/b/1.png"), &whole[..length]).unwrap();
            let error = refused();
            let what = if length < 4 { "neither a PNG image" } else { "not a PNG image" };
            says(&error, ErrorKind::Format, &["1.png", what]);
        }
    }

    fn crc(bytes: &[u8]) -> u32 {
        let mut crc = flate2::Crc::new();
        crc.update(bytes);
        crc.sum()
    }
}

mod tables {
    use super::*;

    const HOUSES: &str = "rooms;\"living; area\";kind;price\r\n3;80.5;flat;\"1\"\r\n\r\n5;120;house;2.5e0\r\n1; 30 ;flat;.5\r\n";

    fn write(text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("houses.csv");
        fs::write(&path, text).unwrap();
        (folder, path)
    }

    fn all() -> Options {
        Options { held_out: HeldOut::All, ..RAW }
    }

    #[test]
    fn columns_fill_inputs_by_name() {
        let (_folder, path) = write(HOUSES);
        let fields =
            [field("x", DType::F32, &[2]), field("kind", DType::I32, &[]), field("y", DType::F32, &[])];
        let options = Options { target: Some("price".into()), ..all() };
        let mut data = open(&path, &fields, &options).unwrap();
        assert_eq!(lengths(&*data), (0, 3));
        assert_eq!(floats(&mut *data, Split::Validation, &[0, 1, 2]), [3.0, 80.5, 5.0, 120.0, 1.0, 30.0]);
        assert_eq!(classes(&mut *data, Split::Validation, &[0, 1, 2]), [0, 1, 0]);
        let price = fill(&mut *data, Split::Validation, &[0, 1, 2], 2);
        assert_eq!(price.as_slice::<f32>().unwrap(), [1.0, 2.5, 0.5]);
        assert_eq!(data.classes(), ["flat", "house"]);
        assert_eq!(data.columns(), ["rooms", "living; area"]);
        assert_eq!(data.name(Split::Validation, 1), "line 4");
        assert_eq!(data.place(Split::Validation, 1), "line 4");

        // In an order of one's own, for numbers alone, and classes as somebody else numbered them.
        let options = Options {
            columns: vec!["price".into(), "rooms".into()],
            classes: vec!["house".into(), "flat".into()],
            ..all()
        };
        let fields = [field("x", DType::F64, &[2, 1]), field("kind", DType::I64, &[])];
        let mut data = open(&path, &fields, &options).unwrap();
        let x = fill(&mut *data, Split::Validation, &[1], 0);
        assert_eq!(x.as_slice::<f64>().unwrap(), [2.5, 5.0]);
        let kind = fill(&mut *data, Split::Validation, &[0, 1], 1);
        assert_eq!(kind.as_slice::<i64>().unwrap(), [1, 0]);
    }

    #[test]
    fn a_fifth_is_held_out_and_may_be_stratified() {
        let rows: String = (0..50).map(|i| format!("{i},{}\n", if i < 40 { "a" } else { "b" })).collect();
        let (_folder, path) = write(&format!("x,label\n{rows}"));
        let fields = [field("x", DType::F32, &[]), field("label", DType::I32, &[])];
        let data = open(&path, &fields, &RAW).unwrap();
        assert_eq!(lengths(&*data), (40, 10));
        let held_out = HeldOut::Fraction { fraction: 0.1, stratified: true };
        let mut data = open(&path, &fields, &Options { held_out, ..RAW }).unwrap();
        assert_eq!(lengths(&*data), (45, 5));
        let labels = classes(&mut *data, Split::Validation, &[0, 1, 2, 3, 4]);
        assert_eq!(labels, [0, 0, 0, 0, 1]);
    }

    #[test]
    fn broken_tables_are_refused() {
        let fields = || vec![field("x", DType::F32, &[2]), field("y", DType::F32, &[])];
        let target = || Options { target: Some("c".into()), ..all() };
        let cases: [(&str, ErrorKind, &str); 16] = [
            ("", ErrorKind::Format, "the table is empty"),
            ("a,b,c\n", ErrorKind::Format, "the table has no rows"),
            ("a,b,c\n1,2,3\n4,5", ErrorKind::Format, "line 3 has 2 values, but there are 3 columns"),
            ("a,b,c\n1,2,3\n4,5,6,7\n", ErrorKind::Format, "line 3 has 4 values"),
            ("a,b,c\n1,2,\n", ErrorKind::Format, "line 2: the value of `c` is missing"),
            ("a,b,c\n1,NA,3\n", ErrorKind::Format, "line 2: the value of `b` is missing (`NA`)"),
            ("a,b,c\n1,two,3\n", ErrorKind::Format, "line 2: `two` in the column `b` is no number"),
            ("a,b,c\n1,inf,3\n", ErrorKind::Format, "line 2: `inf` in the column `b` is no number"),
            ("1,2,3\n4,5,6\n", ErrorKind::Format, "the first line must name the columns"),
            ("a,a,c\n1,2,3\n", ErrorKind::Format, "a name of its own"),
            ("a,,c\n1,2,3\n", ErrorKind::Format, "a name of its own"),
            ("a,b,c\n1,\"2,3\n", ErrorKind::Format, "line 2: a quote is never closed"),
            ("a,b,c\n1,\"2\"x,3\n", ErrorKind::Format, "something follows behind a closing quote"),
            ("a,b\n1,2\n", ErrorKind::Data, "has no column `c`; it has a, b"),
            ("a,b,c,d\n1,2,3,4\n", ErrorKind::Data, "takes 2 numbers a sample, but there are 3 columns"),
            ("\"a\n\",b,c\n1,2,oops\n", ErrorKind::Format, "line 3: `oops`"),
        ];
        for (text, kind, message) in cases {
            let (_folder, path) = write(text);
            let error = open(&path, &fields(), &target()).err().unwrap_or_else(|| panic!("{text:?}"));
            says(&error, kind, &[message]);
        }
        let (_folder, path) = write("a,b,c\n1,2,3\n");
        let error = open(&path, &fields(), &all()).err().unwrap();
        says(&error, ErrorKind::Data, &["no column is named `y`", "--target", "a, b, c"]);
        let (_folder, path) = write("a,b,label\n1,2,ant\n3,4,bee\n");
        let fields = [field("x", DType::F32, &[2]), field("label", DType::I32, &[])];
        let options = Options { classes: vec!["ant".into()], ..all() };
        let error = open(&path, &fields, &options).err().unwrap();
        says(&error, ErrorKind::Format, &["line 3: `bee` is none of the classes"]);
        fs::write(&path, b"a,b\n\xff,2\n").unwrap();
        says(&refused(&path, &fields), ErrorKind::Format, &["byte 4 is not UTF-8"]);
    }
}

mod jpeg {
    use super::*;

    fn data(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
    }

    fn read(name: &str, dims: &[usize]) -> Vec<f32> {
        let tensor = picture(&data(name), &field("image", DType::F32, dims)).unwrap();
        tensor.as_slice::<f32>().unwrap().to_vec()
    }

    /// The same picture as PNG and as JPEG of several kinds, by `tests/data/make.py`.
    #[test]
    fn baseline_progressive_and_grey_are_read() {
        let exact = read("scene.png", &[3, 24, 40]);
        for name in ["baseline.jpg", "progressive.jpg"] {
            let found = read(name, &[3, 24, 40]);
            let worst = exact.iter().zip(&found).map(|(e, f)| (e - f).abs()).fold(0.0, f32::max);
            assert!(worst < 0.08, "{name}: {worst}");
        }
        let grey = read("grey.jpg", &[1, 24, 40]);
        let exact = read("scene.png", &[1, 24, 40]);
        let worst = exact.iter().zip(&grey).map(|(e, f)| (e - f).abs()).fold(0.0, f32::max);
        assert!(worst < 0.05, "{worst}");
        // Grey fills all channels, and other sizes are resized to.
        let three = read("grey.jpg", &[3, 24, 40]);
        assert_eq!(three[..960], three[960..1920]);
        assert_eq!(read("baseline.jpg", &[3, 12, 12]).len(), 432);
    }

    #[test]
    fn broken_pictures_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let image = field("image", DType::F32, &[3, 8, 8]);
        let refused = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            fs::write(&path, bytes).unwrap();
            picture(&path, &image).err().unwrap_or_else(|| panic!("{name} was read"))
        };
        for name in ["baseline.jpg", "progressive.jpg", "grey.jpg", "scene.png"] {
            let whole = fs::read(data(name)).unwrap();
            for length in [0, 3, 20, 100, whole.len() / 3, whole.len() * 2 / 3] {
                says(&refused(name, &whole[..length]), ErrorKind::Format, &[name]);
            }
        }
        // A frame of 65535 x 65535 pixels.
        let mut huge = fs::read(data("baseline.jpg")).unwrap();
        let at = huge.windows(2).position(|w| w == [0xff, 0xc0]).unwrap();
        huge[at + 5..at + 9].fill(0xff);
        says(&refused("huge.jpg", &huge), ErrorKind::Format, &["huge.jpg"]);
        says(&refused("text.png", b"hello"), ErrorKind::Format, &["neither a PNG image nor a JPEG image"]);
        let labels = field("label", DType::I32, &[]);
        assert!(picture(&data("scene.png"), &labels).is_err());
        assert_eq!(pictures(&data("scene.png")).unwrap().len(), 1);
        assert_eq!(pictures(&data("")).unwrap().len(), 4, "those in a folder");
        assert!(pictures(folder.path()).unwrap().len() == 6);
    }
}
