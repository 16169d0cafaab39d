//! Broken data sets.

use brolga::Tensor;

use super::tensors::{file, npy};
use super::{Row, row};

/// The folder or file `data`, to train on.
fn with(name: &'static str, files: Vec<(&'static str, Vec<u8>)>) -> Row {
    row(name, "train softmax-regression --epochs 1 --batch 1 --data data", files)
}

/// An IDX file.
fn idx(dims: &[u32], elements: &[u8]) -> Vec<u8> {
    let dims_bytes = dims.iter().flat_map(|d| d.to_be_bytes());
    [0, 0, 8, dims.len() as u8].into_iter().chain(dims_bytes).chain(elements.iter().copied()).collect()
}

const IMAGES: &str = "data/train-images-idx3-ubyte";
const LABELS: &str = "data/train-labels-idx1-ubyte";

fn images() -> (&'static str, Vec<u8>) {
    (IMAGES, idx(&[2, 28, 28], &[7; 2 * 784]))
}

fn labels() -> (&'static str, Vec<u8>) {
    (LABELS, idx(&[2], &[0, 1]))
}

/// The 8 bytes at the beginning of a PNG file, and its chunk of that size in pixels; nothing else.
fn png(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec();
    bytes.extend(width.to_be_bytes().into_iter().chain(height.to_be_bytes()));
    bytes.extend([8, 0, 0, 0, 0]);
    let crc = crc32(&bytes[12..]);
    bytes.extend(crc.to_be_bytes());
    bytes
}

/// The checksum of PNG's chunks: ISO 3309.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 * (crc & 1)))
    })
}

pub fn rows() -> Vec<Row> {
    let far: Vec<u8> = idx(&[2], &[0, 10]);
    let npz = |name, tensors: &[(&str, Tensor)]| {
        let arguments = "train softmax-regression --epochs 1 --batch 1 --data data.npz";
        row(name, arguments, vec![("data.npz", file("data.npz", tensors))])
    };
    let zeros = |dims: &[usize]| Tensor::zeros(brolga::runtime::DType::F32, dims).expect("a tensor");
    let classes = |values: &[i64]| Tensor::from_slice(&[values.len()], values).expect("a tensor");
    let record = |label: u8| [vec![label], vec![0; 3072]].concat();
    vec![
        row("a path that is not there", "train softmax-regression --epochs 1 --data nowhere", vec![]),
        with("an empty folder", vec![("data/.hidden", vec![])]),
        with("a folder of other files", vec![("data/notes.txt", b"hello".to_vec())]),
        with("IDX: labels missing", vec![images()]),
        with("IDX: images missing", vec![labels()]),
        with("IDX: images cut short", vec![(IMAGES, images().1[..500].to_vec()), labels()]),
        with("IDX: images that go on", vec![(IMAGES, [images().1, vec![0]].concat()), labels()]),
        with("IDX: a header cut short", vec![(IMAGES, idx(&[2, 28, 28], &[])[..9].to_vec()), labels()]),
        with("IDX: 2^96 pixels", vec![(IMAGES, idx(&[u32::MAX; 3], &[1, 2, 3])), labels()]),
        with(
            "IDX: 10^9 images that are not there",
            vec![(IMAGES, idx(&[1_000_000_000, 28, 28], &[1, 2, 3])), labels()],
        ),
        with("IDX: images of no pixels", vec![(IMAGES, idx(&[2, 0, 28], &[])), labels()]),
        with("IDX: no images", vec![(IMAGES, idx(&[0, 28, 28], &[])), (LABELS, idx(&[0], &[]))]),
        with(
            "IDX: floats",
            vec![(IMAGES, [&[0, 0, 13, 3], &idx(&[2, 28, 28], &[])[4..]].concat()), labels()],
        ),
        with("IDX: more labels than images", vec![images(), (LABELS, idx(&[3], &[0, 1, 2]))]),
        with("IDX: a label that there is no class for", vec![images(), (LABELS, far)]),
        with("IDX: labels of two dimensions", vec![images(), (LABELS, idx(&[2, 1], &[0, 1]))]),
        with(
            "IDX: gzip cut short",
            vec![("data/train-images-idx3-ubyte.gz", b"\x1f\x8b\x08\0\0\0\0\0\0\x03".to_vec()), labels()],
        ),
        with("CIFAR: a record cut short", vec![("data/data_batch_1.bin", record(0)[..3000].to_vec())]),
        with("CIFAR: a class of 10", vec![("data/data_batch_1.bin", [record(9), record(10)].concat())]),
        with("CIFAR: an empty file", vec![("data/data_batch_1.bin", vec![])]),
        with("CIFAR: test images only", vec![("data/test_batch.bin", record(0))]),
        with("PNG: no image", vec![("data/cat/1.png", b"GIF89a".to_vec())]),
        with("PNG: cut short", vec![("data/cat/1.png", png(28, 28))]),
        with("PNG: 2^62 pixels", vec![("data/cat/1.png", png(0x7fff_ffff, 0x7fff_ffff))]),
        with("PNG: no pixels", vec![("data/cat/1.png", png(0, 28))]),
        with("PNG: a JPEG among them", vec![("data/cat/1.png", png(28, 28)), ("data/cat/2.jpg", vec![])]),
        npz("arrays: a missing input", &[("image", zeros(&[2, 784]))]),
        npz("arrays: labels of floats", &[("image", zeros(&[2, 784])), ("label", zeros(&[2]))]),
        npz("arrays: images of another size", &[("image", zeros(&[2, 783])), ("label", classes(&[0, 1]))]),
        npz("arrays: fewer labels than images", &[("image", zeros(&[2, 784])), ("label", classes(&[0]))]),
        npz(
            "arrays: a class beyond 32 bits",
            &[("image", zeros(&[2, 784])), ("label", classes(&[0, 1 << 40]))],
        ),
        npz("arrays: a class that is negative", &[("image", zeros(&[2, 784])), ("label", classes(&[0, -1]))]),
        npz(
            "arrays: a class that there is none of",
            &[("image", zeros(&[2, 784])), ("label", classes(&[11, 12]))],
        ),
        npz("arrays: no samples", &[("image", zeros(&[0, 784])), ("label", classes(&[]))]),
        row(
            "arrays: one only",
            "train softmax-regression --epochs 1 --batch 1 --data image.npy",
            vec![("image.npy", npy("<f4", "(2, 784)", &[0; 2 * 784 * 4]))],
        ),
        row(
            "fewer samples than a batch",
            "train softmax-regression --epochs 1 --batch 8 --data data",
            vec![images(), labels()],
        ),
    ]
}
