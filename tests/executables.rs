//! Executables that carry a compiled model: they answer with the bits of the command, alone in an empty root as well.

#![cfg(all(feature = "cli", feature = "exe", target_os = "linux"))]

use std::path::Path;
use std::process::{Command, Output};

use brolga::runtime::{Purpose, Random, read_tensors, write_tensors};
use brolga::{Model, Settings, Tensor};

use crate::cli::{bad, folder, good};
use crate::launched::has_launcher;

/// Weights and inputs of LeNet-5, what the command answers (`expected.npz`), and an executable with the weights; nothing where
/// no launcher was built.
fn prepare(at: &Path) -> bool {
    let model = Model::load("lenet5", &Settings::default()).unwrap();
    model.initial_state(3).unwrap().save_weights(at.join("w.safetensors")).unwrap();
    let mut random = Random::new(5, Purpose::Augment, 0, 0);
    let image: Vec<f32> = (0..28 * 28).map(|_| random.uniform()).collect();
    let image = Tensor::from_slice(&[1, 1, 28, 28], &image).unwrap();
    write_tensors(at.join("in.npz"), &[("image", image.view())]).unwrap();
    good(at, "run lenet5 --weights w.safetensors --inputs in.npz --outputs expected.npz");
    if !has_launcher() {
        return false;
    }
    good(at, "build lenet5 --weights w.safetensors -o lenet5");
    true
}

/// What a line for the shell gives.
fn shell(at: &Path, line: &str) -> Output {
    Command::new("sh").args(["-c", line]).current_dir(at).output().unwrap()
}

/// What a line for the shell prints, which must succeed.
fn prints(at: &Path, line: &str) -> String {
    let output = shell(at, line);
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Whether the outputs in a file are those of the command.
fn check(at: &Path, found: &Path) {
    let (found, expected) = (read_tensors(found).unwrap(), read_tensors(at.join("expected.npz")).unwrap());
    assert!(!found.is_empty() && found == expected, "{found:?} and {expected:?}");
}

#[test]
fn an_executable_answers_as_the_command_does() {
    let folder = folder();
    let at = folder.path();
    if !prepare(at) {
        return;
    }
    prints(at, "./lenet5 --inputs in.npz --outputs out.npz");
    check(at, &at.join("out.npz"));
    let help = prints(at, "./lenet5 --help");
    assert!(help.contains("image: f32[1, 1, 28, 28]") && help.contains("probability: f32[1, 10]"), "{help}");
    let version = prints(at, "./lenet5 --version");
    assert!(version.starts_with("lenet5 ") && version.contains("numerics version"), "{version}");
    let failed = shell(at, "./lenet5 --inputs none.npz --outputs out.npz");
    assert!(!failed.status.success() && String::from_utf8_lossy(&failed.stderr).contains("none.npz"));
    // Written again, and over nothing else; weights may come from a file.
    good(at, "build lenet5 --entry infer -o lenet5");
    assert!(!shell(at, "./lenet5 --inputs in.npz --outputs out.npz").status.success());
    prints(at, "./lenet5 --weights w.safetensors --inputs in.npz --outputs out.npz");
    check(at, &at.join("out.npz"));
    assert!(bad(at, "build lenet5 -o in.npz --emit exe").contains("says NumPy's arrays"));
    std::fs::write(at.join("notes"), "to be kept\n").unwrap();
    assert!(bad(at, "build lenet5 -o notes").contains("--force"));
    assert!(bad(at, "build lenet5 -o other --launcher w.safetensors").contains("no ELF program"));
    assert!(bad(at, "build lenet5 -o other --launcher /dev/zero").contains("no regular file"));
}

/// A program whose file ends before its time, because a download did, ends with a reason and not by a fault.
#[test]
fn an_executable_that_was_cut_short_says_so() {
    let folder = folder();
    let at = folder.path();
    if !prepare(at) {
        return;
    }
    let whole = std::fs::read(at.join("lenet5")).unwrap();
    // The weights and what is prepared of them are its last 400 KB.
    for less in [20_000, 100_000, 300_000] {
        std::fs::write(at.join("lenet5"), &whole[..whole.len() - less]).unwrap();
        let output = shell(at, "./lenet5 --inputs in.npz --outputs out.npz");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1) && errors.contains("it was cut short"), "{less}: {errors}");
    }
}

/// The most that LeNet-5 adds to the launcher, without weights, in bytes.
const MOST: u64 = 80_000;

#[test]
fn a_model_takes_little_of_an_executable() {
    let folder = folder();
    let at = folder.path();
    if !prepare(at) || shell(at, "strip --version").status.code() != Some(0) {
        return;
    }
    prints(at, "strip lenet5");
    prints(at, "./lenet5 --inputs in.npz --outputs out.npz");
    check(at, &at.join("out.npz"));
    if cfg!(target_arch = "x86_64") {
        let bytes = |file| std::fs::metadata(at.join(file)).unwrap().len();
        let asked = "build lenet5 --entry infer --target-cpu x86-64-v3";
        good(at, &format!("{asked} -o small"));
        good(at, &format!("{asked} -o small.brolga"));
        prints(at, "strip small");
        println!(
            "stripped, without weights: {} bytes, of them {} the model's",
            bytes("small"),
            bytes("small.brolga")
        );
        assert!(bytes("small.brolga") <= MOST, "{}", bytes("small.brolga"));
    }
}

/// The most that an executable of LeNet-5 may take that only answers, for one processor, without weights and stripped, in bytes.
/// What is aimed at is 600,000.
const MOST_RELEASED: u64 = 980_000;

/// With `BROLGA_RELEASE=target/release/brolga`, a command that was built in release mode: of what tests are built of, launchers are
/// twice as large.
#[test]
fn a_released_executable_is_small() {
    let Some(brolga) = std::env::var_os("BROLGA_RELEASE") else {
        eprintln!("skipped: BROLGA_RELEASE names no command");
        return;
    };
    let folder = folder();
    let at = folder.path();
    if !prepare(at) {
        return;
    }
    let brolga = std::fs::canonicalize(brolga).unwrap();
    let asked = "build lenet5 --entry infer --target-cpu x86-64-v3 -o small";
    let built = Command::new(brolga).args(asked.split(' ')).current_dir(at).output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    prints(at, "strip small");
    prints(at, "./small --weights w.safetensors --inputs in.npz --outputs out.npz");
    check(at, &at.join("out.npz"));
    let bytes = std::fs::metadata(at.join("small")).unwrap().len();
    assert!(bytes <= MOST_RELEASED, "{bytes}");
}

/// A root that holds nothing but the program, what it reads, the C library and its loader: no `/proc`, no `/dev`.
#[test]
fn an_executable_runs_in_an_empty_root() {
    let folder = folder();
    let at = folder.path();
    if !prepare(at) {
        return;
    }
    let root = at.join("root");
    std::fs::create_dir(&root).unwrap();
    let libraries = prints(at, "ldd ./lenet5");
    let libraries: Vec<&str> = libraries.split_whitespace().filter(|word| word.starts_with('/')).collect();
    for library in &libraries {
        let name = Path::new(library).file_name().unwrap().to_string_lossy();
        assert!(
            name.starts_with("libc.so") || name.starts_with("libm.so") || name.starts_with("ld-"),
            "{library}"
        );
        let to = root.join(library.trim_start_matches('/'));
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(library, to).unwrap();
    }
    for file in ["lenet5", "in.npz"] {
        std::fs::copy(at.join(file), root.join(file)).unwrap();
    }
    let call = "/lenet5 --inputs /in.npz --outputs /out.npz";
    let ways = [format!("unshare --user --map-root-user --root=root {call}"), format!("chroot root {call}")];
    let allowed = ["unshare --user --map-root-user --root=/ true", "chroot / true"];
    let way = ways.iter().zip(allowed).find(|(_, test)| shell(at, test).status.success());
    let Some((way, _)) = way else {
        eprintln!("skipped: this user may not change the root");
        return;
    };
    prints(at, way);
    check(at, &root.join("out.npz"));
}
