//! Folders of IDX files, like MNIST.

use std::io::Write;

use flate2::{Compression, write::GzEncoder};

use super::*;

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
    says(&refused(folder.path(), &image_and_label(&[4])), ErrorKind::Data, &["test images and test labels"]);
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
    let packed = gzip(&idx_file(&[60_000], &(0..60_000u32).map(|i| (i * i % 251) as u8).collect::<Vec<_>>()));
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
    says(&refused(folder.path(), &image_and_label(&[4])), ErrorKind::Format, &["`train`, `t10k` or `test`"]);
}

/// Test files alone are enough to evaluate, and not to train.
#[test]
fn a_test_part_alone() {
    let folder = folder();
    for name in ["train-images-idx3-ubyte", "train-labels-idx1-ubyte.gz"] {
        fs::remove_file(folder.path().join(name)).unwrap();
    }
    let message = ["no samples to train on (2 samples, 2 of them held out)"];
    says(&refused(folder.path(), &image_and_label(&[4])), ErrorKind::Data, &message);
    for held_out in [HeldOut::Test, HeldOut::All] {
        let options = Options { held_out, ..RAW };
        let mut data = open(folder.path(), &image_and_label(&[1, 2, 2]), &options).unwrap();
        assert_eq!(lengths(&*data), (0, 2));
        assert_eq!(classes(&mut *data, Split::Validation, &[0, 1]), [7, 8]);
    }
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
