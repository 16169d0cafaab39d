//! CIFAR-10's binary files.

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
