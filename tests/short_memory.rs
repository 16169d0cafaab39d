//! Too little memory: whatever a command lacks it for, it says so and ends with exit code 1. No signal, no panic.
//!
//! Address space is limited by `ulimit -v` in a shell that becomes the command. The limits begin where the command just starts,
//! and end where everything fits. `BROLGA_CASES=200` tries so many limits for each command instead of a dozen.

#![cfg(all(feature = "cli", target_os = "linux"))]

use std::path::Path;
use std::process::{Command, Output};

use brolga::runtime::{DType, write_tensors};
use brolga::{Model, Settings, Tensor};
use tempfile::TempDir;

use crate::common::cases;

/// Few kernels, many bytes: 8 MB for each of the inputs, the batches and what is computed of them.
const MODEL: &str = "Model(
    inputs: { \"x\": \"f32[batch, 2048]\", \"y\": \"f32[batch, 2048]\" },
    body: [Linear(64), Relu, Linear(2048), As(\"out\")],
    entries: {
        \"infer\": Infer(outputs: { \"out\": \"out\" }),
        \"train\": Train(loss: \"mse(out, y)\", optimizer: Adam(lr: 0.001)),
    },
)";

/// Four tensors of 16 MB, of which the program needs two at once, the interpreter of graphs all.
const GRAPH: &str = "graph @large(%x: f32[2048, 2048]) {
  %a = add %x, %x
  %b = mul %a, %a
  return %b as \"y\"
}
";

/// What is run.
const COMMANDS: [&str; 9] = [
    "check net.ron --dim batch=2048",
    "train net.ron --data data.npz --batch 512 --epochs 1 --threads 2 --checkpoint points --checkpoint-every 1",
    "run net.ron --inputs data.npz --outputs out.npz --threads 2",
    "run net.ron --weights points.safetensors --inputs data.npz --outputs out.npz --threads 1",
    "step net.ron --inputs data.npz --threads 2 --grads grads.npz --save state.safetensors",
    "bench net.ron --entry train --dim batch=512 --seconds 0.01 --threads 3",
    "eval large.ir --inputs square.npz --outputs out.npz",
    "eval large.ir --inputs square.npz --outputs out.npz --interpret",
    "dump net.ron --stage asm --entry train --dim batch=512",
];

fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("net.ron"), MODEL).expect("a model");
    std::fs::write(at("large.ir"), GRAPH).expect("a graph");
    let wide = Tensor::zeros(DType::F32, &[1024, 2048]).expect("a tensor");
    write_tensors(at("data.npz"), &[("x", wide.view()), ("y", wide.view())]).expect("data");
    let square = Tensor::zeros(DType::F32, &[2048, 2048]).expect("a tensor");
    write_tensors(at("square.npz"), &[("x", square.view())]).expect("data");
    let model = Model::from_text("net.ron", MODEL, &Settings::default()).expect("a model");
    let state = model.initial_state(0).expect("a state");
    state.save_weights(at("points.safetensors")).expect("weights");
    folder
}

/// The command in so many KiB of address space.
fn limited(folder: &Path, arguments: &str, limit: usize) -> Output {
    let line = format!("ulimit -v {limit} && exec '{}' {arguments}", env!("CARGO_BIN_EXE_brolga"));
    let mut shell = Command::new("sh");
    shell.args(["-c", &line]).current_dir(folder).env("NO_COLOR", "1").env("RUST_BACKTRACE", "0");
    shell.output().expect("a shell")
}

/// KiB in which the command starts, within 1 MiB.
fn least(folder: &Path) -> usize {
    let starts = |limit: &usize| limited(folder, "--version", *limit).status.success();
    (1..).map(|n| n << 10).find(starts).expect("a limit")
}

#[test]
fn short_memory_is_an_error() {
    let folder = folder();
    let least = least(folder.path());
    let count = cases(12) as usize;
    let most = 3 << 19;
    let mut wrong = Vec::new();
    for command in COMMANDS {
        // From a few MiB more to 1.5 GiB, each limit the same factor above the one before.
        let limit = |i: usize| {
            let share = i as f64 / (count - 1) as f64;
            least + (1024.0 * (most as f64 / 1024.0).powf(share)) as usize
        };
        for limit in (0..count).map(limit) {
            // A run that is new, each time.
            let _ = std::fs::remove_dir_all(folder.path().join("points"));
            let output = limited(folder.path(), command, limit);
            let errors = String::from_utf8_lossy(&output.stderr);
            let said = errors.lines().any(|line| line.starts_with("error: ") && line.len() > 20);
            let right = match output.status.code() {
                Some(0) => !said,
                Some(1) => said && limit < most,
                _ => false,
            };
            // A thread that the standard library cannot start panics before anything of ours runs in it.
            let ours =
                errors.contains("panicked") && !errors.contains("failed to allocate an alternative stack");
            if !right || ours {
                wrong.push(format!("`{command}` in {limit} KiB: {}\n{errors}", output.status));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong ends:\n{}", wrong.len(), wrong.join("\n"));
}
