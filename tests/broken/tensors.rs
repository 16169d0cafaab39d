//! Broken files of tensors: weights, inputs, checkpoints.

use std::path::Path;

use brolga::Tensor;
use brolga::runtime::{DType, Element, TensorRef, write_safetensors, write_tensors};

use super::{Row, row, run};

/// The bytes of a file with these tensors.
pub fn file(name: &str, tensors: &[(&str, Tensor)]) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(name);
    let views: Vec<(&str, TensorRef<'_>)> = tensors.iter().map(|(name, t)| (*name, t.view())).collect();
    write_tensors(&path, &views).expect("tensors can be written");
    std::fs::read(path).expect("a file")
}

/// A safetensors file by its header, and so many bytes of data.
fn raw(header: &str, data: usize) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &vec![0; data][..]].concat()
}

/// An array as `numpy.save` writes it.
pub fn npy(descr: &str, shape: &str, elements: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
    let header = format!("{header:<117}\n");
    [b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..], header.as_bytes(), elements].concat()
}

fn zeros(dims: &[usize]) -> Tensor {
    Tensor::zeros(DType::F32, dims).expect("a tensor")
}

fn tensor<T: Element>(dims: &[usize], values: &[T]) -> Tensor {
    Tensor::from_slice(dims, values).expect("a tensor")
}

/// Two images for `softmax-regression`.
fn images() -> Vec<u8> {
    file("in.npz", &[("image", zeros(&[2, 1, 28, 28]))])
}

/// A run with such a file of weights.
fn weighted(name: &'static str, bytes: Vec<u8>) -> Row {
    let arguments = "run softmax-regression --weights w.safetensors --inputs in.npz --outputs out.npz";
    row(name, arguments, vec![("in.npz", images()), ("w.safetensors", bytes)])
}

fn weight() -> (&'static str, Tensor) {
    ("fc.weight", zeros(&[10, 784]))
}

fn fc_bias() -> (&'static str, Tensor) {
    ("fc.bias", zeros(&[10]))
}

pub fn weights() -> Vec<Row> {
    let mut rows = damaged_files();
    rows.extend(other_weights());
    rows.extend(other_places());
    rows
}

/// Files that are no safetensors.
fn damaged_files() -> Vec<Row> {
    let with = weighted;
    let whole = file("w.safetensors", &[weight(), fc_bias()]);
    let bias = |dtype: &str, shape: &str, length: usize| {
        let header = format!(
            "{{\"fc.weight\":{{\"dtype\":\"F32\",\"shape\":[10,784],\"data_offsets\":[0,31360]}},\
             \"fc.bias\":{{\"dtype\":\"{dtype}\",\"shape\":{shape},\"data_offsets\":[31360,{}]}}}}",
            31360 + length
        );
        raw(&header, 31360 + length)
    };
    vec![
        with("empty", vec![]),
        with("cut in the header", whole[..40].to_vec()),
        with("cut in the data", whole[..whole.len() - 1].to_vec()),
        with("something behind the data", [&whole[..], b"x"].concat()),
        with("a header of 2^64 - 1 bytes", [&u64::MAX.to_le_bytes()[..], b"{}"].concat()),
        with("a header of a gigabyte", [&(1u64 << 30).to_le_bytes()[..], b"{}"].concat()),
        with("a header that is no JSON", raw("fc.weight", 0)),
        with("a header that is not UTF-8", [&4u64.to_le_bytes()[..], b"{\"\xff\""].concat()),
        with("a header nested 100,000 deep", raw(&"[".repeat(100_000), 0)),
        with("no tensors", raw("{}", 0)),
        with(
            "a name given twice",
            raw(
                "{\"fc.bias\":{\"dtype\":\"F32\",\"shape\":[10],\"data_offsets\":[0,40]},\
             \"fc.bias\":{\"dtype\":\"F32\",\"shape\":[10],\"data_offsets\":[40,80]}}",
                80,
            ),
        ),
        with(
            "tensors that overlap",
            raw(
                "{\"fc.bias\":{\"dtype\":\"F32\",\"shape\":[10],\"data_offsets\":[0,40]},\
             \"fc.weight\":{\"dtype\":\"F32\",\"shape\":[10],\"data_offsets\":[20,60]}}",
                60,
            ),
        ),
        with(
            "offsets in falling order",
            raw("{\"fc.bias\":{\"dtype\":\"F32\",\"shape\":[10],\"data_offsets\":[40,0]}}", 40),
        ),
        with("a shape that is not a number", bias("F32", "[NaN]", 40)),
        with("a negative shape", bias("F32", "[-10]", 40)),
        with("a shape of 10^12 elements", bias("F32", "[1000000000000]", 40)),
        with("a shape that overflows", bias("F32", "[4294967296, 4294967296, 4294967296]", 40)),
        with("a shape of halves", bias("F32", "[10.5]", 40)),
        with("an unknown type", bias("F31", "[10]", 40)),
        with("floats of 8 bits", bias("F8_E4M3", "[10]", 10)),
    ]
}

/// Weights that are not the model's.
fn other_weights() -> Vec<Row> {
    let of = |name, tensors: &[(&str, Tensor)]| weighted(name, file("w.safetensors", tensors));
    vec![
        of("a wrong shape", &[weight(), ("fc.bias", zeros(&[1, 10]))]),
        of("weights of `[in, out]`", &[("fc.weight", zeros(&[784, 10])), fc_bias()]),
        of("integers", &[weight(), ("fc.bias", tensor(&[10], &[0i32; 10]))]),
        of("a missing parameter", &[weight()]),
        of("a name that is slightly off", &[weight(), ("fc.biass", zeros(&[10]))]),
        of("an unknown name", &[weight(), fc_bias(), ("conv1.weight", zeros(&[1]))]),
        weighted(
            "a name that is empty",
            raw("{\"\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4),
        ),
        of(
            "two axes too many for the bias, and more",
            &[("fc.weight", zeros(&[3])), ("fc.bias", zeros(&[10, 1, 1])), ("a", zeros(&[]))],
        ),
    ]
}

/// What lies where weights are looked for.
fn other_places() -> Vec<Row> {
    vec![
        row(
            "weights that are not there",
            "run softmax-regression --weights none.safetensors --inputs in.npz --outputs out.npz",
            vec![("in.npz", images())],
        ),
        row(
            "a folder in place of weights",
            "run softmax-regression --weights folder --inputs in.npz --outputs out.npz",
            vec![("in.npz", images()), ("folder/a", vec![])],
        ),
        row(
            "a step that is a list",
            "step softmax-regression --weights w.safetensors --inputs in.npz",
            vec![
                (
                    "in.npz",
                    file("in.npz", &[("image", zeros(&[2, 1, 28, 28])), ("label", tensor(&[2], &[0i32, 1]))]),
                ),
                (
                    "w.safetensors",
                    file("w.safetensors", &[weight(), fc_bias(), ("step", tensor(&[1], &[5i64]))]),
                ),
            ],
        ),
    ]
}

pub fn inputs() -> Vec<Row> {
    let with = |name, path: &'static str, bytes: Vec<u8>| {
        let arguments = format!("step softmax-regression --inputs {path}");
        row(name, &arguments, vec![(path, bytes)])
    };
    let label = || ("label", tensor(&[2], &[3i32, 9]));
    let image = || ("image", zeros(&[2, 1, 28, 28]));
    let of = |name, tensors: &[(&str, Tensor)]| with(name, "in.npz", file("in.npz", tensors));
    let whole = file("in.npz", &[image(), label()]);
    let damaged = |at: usize, byte: u8| {
        let mut bytes = whole.clone();
        bytes[at] = byte;
        bytes
    };
    // The name of the first member begins behind its header of 30 bytes.
    let first_name = 30;
    vec![
        with("an empty archive", "in.npz", vec![]),
        of("an archive of no arrays", &[]),
        with("an archive cut short", "in.npz", whole[..whole.len() / 2].to_vec()),
        with("an archive without its directory", "in.npz", whole[..whole.len() - 22].to_vec()),
        with("a damaged element", "in.npz", damaged(400, 0xff)),
        with("a member whose header is damaged", "in.npz", damaged(first_name + 9, b'x')),
        with("text in place of an archive", "in.npz", b"image,label\n0,1\n".to_vec()),
        with("an array cut short", "image.npy", npy("<f4", "(2, 1, 28, 28)", &[0; 100])),
        with("an array that goes on", "image.npy", npy("<f4", "(2,)", &[0; 100])),
        with("an array of 10^12 elements", "image.npy", npy("<f4", "(1000000000000,)", &[0; 100])),
        with(
            "an array whose size overflows",
            "image.npy",
            npy("<f4", "(4294967296, 4294967296, 4294967296)", &[]),
        ),
        with("a shape that is not a number", "image.npy", npy("<f4", "(nan,)", &[0; 4])),
        with("an array of objects", "image.npy", npy("|O", "(2,)", &[0; 16])),
        with("an array of the other byte order", "image.npy", npy(">f4", "(1,)", &[0; 4])),
        with("a header that is not UTF-8", "image.npy", b"\x93NUMPY\x01\x00\x02\x00\xff\xff".to_vec()),
        with("a header of four gigabytes", "image.npy", b"\x93NUMPY\x02\x00\xff\xff\xff\xff".to_vec()),
        with("a version that is not known", "image.npy", b"\x93NUMPY\x09\x00\x02\x00{}".to_vec()),
        of("no tensors", &[]),
        of("a missing input", &[image()]),
        of("a name that is slightly off", &[("images", zeros(&[2, 1, 28, 28])), label()]),
        of("a wrong shape", &[("image", zeros(&[2, 28, 28, 1, 2])), label()]),
        of("a wrong size", &[("image", zeros(&[2, 1, 28, 29])), label()]),
        of("a scalar in place of a batch", &[("image", zeros(&[])), label()]),
        of("batches of different sizes", &[image(), ("label", tensor(&[3], &[1i32, 2, 3]))]),
        of(
            "a batch of no samples",
            &[("image", zeros(&[0, 1, 28, 28])), ("label", tensor::<i32>(&[0], &[]))],
        ),
        with("complex numbers", "image.npy", npy("<c8", "(1,)", &[0; 8])),
        of("a label of doubles", &[image(), ("label", tensor(&[2], &[1f64, 2.0]))]),
        of("labels of floats", &[image(), ("label", tensor(&[2], &[1f32, 2.0]))]),
        of("a label that there is no class for", &[image(), ("label", tensor(&[2], &[1i32, 10]))]),
        of("a negative label", &[image(), ("label", tensor(&[2], &[1i32, -1]))]),
        of("a label beyond 32 bits", &[image(), ("label", tensor(&[2], &[1i64, 1 << 40]))]),
        row("inputs that are not there", "step softmax-regression --inputs none.npz", vec![]),
    ]
}

/// A model file under a name of its own, so that checkpoints are small.
const TRAIN: &str = "train softmax-regression --epochs 1 --batch 256 --threads 1 --checkpoint points";

pub fn checkpoints() -> Vec<Row> {
    let folder = tempfile::tempdir().expect("a folder");
    let made = run(folder.path(), TRAIN).expect("training runs");
    assert_eq!(made.0, 0, "{}", made.2);
    let points = folder.path().join("points");
    let whole = std::fs::read(points.join("step-5.safetensors")).expect("the checkpoint of five updates");
    let state = std::fs::read(folder.path().join("softmax-regression.safetensors")).expect("weights");
    let resumed = format!("{TRAIN} --resume");
    let with = |name, bytes: Vec<u8>| row(name, &resumed, vec![("points/step-5.safetensors", bytes)]);
    let damaged = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        bytes
    };
    let cursor = |text: &str| {
        let path = folder.path().join("cursor.safetensors");
        let bias = zeros(&[10]);
        write_safetensors(&path, &[("fc.bias", bias.view())], Some(("brolga.cursor", text))).expect("a file");
        std::fs::read(Path::new(&path)).expect("a file")
    };
    let other = |arguments: &str| {
        row(
            "",
            &resumed.replace("--batch 256", arguments),
            vec![("points/step-5.safetensors", whole.clone())],
        )
    };
    vec![
        with("empty", vec![]),
        with("cut short", whole[..whole.len() / 2].to_vec()),
        with("a bit of the data that is not what it was", damaged(whole.len() - 1)),
        with("weights in place of a checkpoint", state),
        with("a cursor that is no RON", cursor("(epoch: 1")),
        with("a cursor that is negative", cursor("(epoch: -1)")),
        row(
            "a name that is not that of its step",
            &resumed,
            vec![("points/step-6.safetensors", whole.clone())],
        ),
        Row { name: "another batch", ..other("--batch 128") },
        Row { name: "another seed", ..other("--batch 256 --seed 1") },
        row(
            "checkpoints of another model",
            &resumed.replace("softmax-regression", "mlp"),
            vec![("points/step-5.safetensors", whole.clone())],
        ),
        row("checkpoints of an earlier run", TRAIN, vec![("points/step-5.safetensors", whole.clone())]),
        row("a file in place of the folder", TRAIN, vec![("points", vec![])]),
    ]
}
