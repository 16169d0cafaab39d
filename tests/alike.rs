//! What one command reads of arrays, every command reads: a table of shapes over all of them. It takes some 15 seconds.

#![cfg(feature = "cli")]

use std::path::Path;

use brolga::Tensor;
use brolga::runtime::{read_tensors, write_tensors};

use crate::cli::{bad, folder, good, run};

const MODEL: &str = "Model(
    inputs: { \"x\": \"f32[batch, 3, 2, 2]\", \"label\": \"i32[batch]\", \"y\": \"f32[batch, 4]\" },
    body: [Flatten, Linear(name: \"fc\", features: 4), As(\"logits\")],
    entries: {
        \"infer\": Infer(outputs: { \"p\": \"softmax(logits)\" }),
        \"all\": Infer(outputs: { \"a\": \"x * 2\", \"b\": \"label + 1\", \"c\": \"y - 1\" }),
        \"train\": Train(loss: \"cross_entropy(logits, label) + mse(logits, y)\", optimizer: Sgd(lr: 0.1)),
    },
)";

/// Shapes that are read like the first row. There are 6 samples.
const TAKEN: [[&[usize]; 3]; 4] = [
    [&[6, 3, 2, 2], &[6], &[6, 4]],
    [&[6, 12], &[6, 1], &[6, 4, 1]],
    [&[6, 1, 3, 2, 2], &[6, 1, 1], &[6, 1, 4]],
    [&[6, 3, 1, 2, 2, 1], &[6], &[6, 2, 2]],
];

/// Shapes that are refused, with the input whose shape it is.
const REFUSED: [(&str, &[usize]); 10] = [
    ("x", &[6, 3, 4]),
    ("x", &[6, 2, 2, 3]),
    ("x", &[3, 6, 2, 2]),
    ("x", &[1, 6, 3, 2, 2]),
    ("x", &[72]),
    ("label", &[1, 6]),
    ("label", &[6, 2]),
    ("y", &[4, 6]),
    ("y", &[24]),
    ("y", &[6, 3]),
];

fn write(path: &Path, [x, label, y]: [&[usize]; 3]) {
    let values = |dims: &[usize]| -> Vec<f32> {
        (0..dims.iter().product::<usize>()).map(|i| (i * 7 % 11) as f32 / 5.0 - 1.0).collect()
    };
    let labels: Vec<i32> = (0..label.iter().product::<usize>()).map(|i| (i % 4) as i32).collect();
    let (x, y) = (Tensor::from_slice(x, &values(x)).unwrap(), Tensor::from_slice(y, &values(y)).unwrap());
    let label = Tensor::from_slice(label, &labels).unwrap();
    write_tensors(path, &[("x", x.view()), ("label", label.view()), ("y", y.view())]).unwrap();
}

/// Each command that reads arrays, `IN`, with what it writes, `OUT`.
const COMMANDS: [&str; 5] = [
    "run m.ron --entry all --inputs IN --outputs OUT",
    "step m.ron --inputs IN --save OUT",
    "train m.ron --data IN --epochs 1 --batch 2 --save OUT",
    "evaluate m.ron --weights w.safetensors --data IN --all --json",
    "eval all.ir --inputs IN --outputs OUT",
];

/// Bytes are no pictures, which are read from 0 to 1: they are taken as they are, and that is said.
#[test]
fn bytes_of_an_image_are_told() {
    let folder = folder();
    let at = folder.path();
    std::fs::write(at.join("m.ron"), MODEL).unwrap();
    let label = Tensor::from_slice(&[6], &[0i32; 6]).unwrap();
    let y = Tensor::from_slice(&[6, 4], &[0f32; 24]).unwrap();
    for (most, told) in [(1u8, false), (200, true)] {
        let mut x = [0u8; 72];
        x[5] = most;
        let x = Tensor::from_slice(&[6, 3, 2, 2], &x).unwrap();
        write_tensors(at.join("in.npz"), &[("x", x.view()), ("label", label.view()), ("y", y.view())])
            .unwrap();
        for line in ["step m.ron --inputs in.npz", "run m.ron --entry all --inputs in.npz --outputs out.npz"]
        {
            let output = run(at, line);
            let notes = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{notes}");
            assert_eq!(
                notes.contains("note: `x` has bytes of up to 200, which are taken as they are"),
                told,
                "{notes}"
            );
        }
    }
}

#[test]
fn every_command_reads_the_same_shapes() {
    let folder = folder();
    let at = folder.path();
    std::fs::write(at.join("m.ron"), MODEL).unwrap();
    std::fs::write(at.join("all.ir"), good(at, "dump m.ron --entry all --stage graph --dim batch=6"))
        .unwrap();
    for (row, shapes) in TAKEN.into_iter().enumerate() {
        write(&at.join(format!("{row}.npz")), shapes);
    }
    good(at, "step m.ron --inputs 0.npz --steps 0 --save w.safetensors");
    for (number, command) in COMMANDS.iter().enumerate() {
        let of = |row: usize| {
            let out = format!("{number}-{row}.safetensors");
            let printed = good(at, &command.replace("IN", &format!("{row}.npz")).replace("OUT", &out));
            match command.contains("OUT") {
                true => (String::new(), read_tensors(at.join(out)).unwrap()),
                false => (printed.replace(&format!("{row}.npz"), "IN"), Vec::new()),
            }
        };
        let expected = of(0);
        (1..TAKEN.len()).for_each(|row| assert_eq!(of(row), expected, "{command}: {:?}", TAKEN[row]));
    }
    for (name, shape) in REFUSED {
        let mut shapes = TAKEN[0];
        shapes[["x", "label", "y"].iter().position(|known| *known == name).unwrap()] = shape;
        write(&at.join("bad.npz"), shapes);
        for command in COMMANDS {
            let errors = bad(at, &command.replace("IN", "bad.npz").replace("OUT", "bad.safetensors"));
            assert!(errors.contains(&format!("`{name}`")), "{command}: {name} {shape:?}: {errors}");
        }
    }
}
