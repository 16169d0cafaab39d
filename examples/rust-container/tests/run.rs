//! The example runs, and has as few crates as it promises.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use brolga::codegen::Options;
use brolga::runtime::Instance;
use brolga::{Model, Settings, Tensor, Threads};

/// Some image of the size that the model takes.
fn image(number: usize) -> Vec<f32> {
    (0..28 * 28).map(|at| ((number * 31 + at * (number + 5)) % 97) as f32 / 97.0).collect()
}

/// What the program prints is what the model says that is compiled here.
#[test]
fn the_program_answers() {
    let model = Model::load("lenet5", &Settings::default().dim("batch", 1)).unwrap();
    let state = model.initial_state(4).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let container = model.container(&[("infer", &[])], Some(&state), None, &[Options::default()]).unwrap();
    container.write(folder.path().join("lenet5.brolga")).unwrap();
    let mut infer = Instance::bind(model.compile("infer").unwrap(), &state, &Threads::serial()).unwrap();
    let (mut command, mut expected) = (Command::new(env!("CARGO_BIN_EXE_rust-container")), String::new());
    command.current_dir(&folder).arg("lenet5.brolga");
    for number in 0..5 {
        let (name, pixels) = (format!("{number}.f32"), image(number));
        let bytes: Vec<u8> = pixels.iter().flat_map(|pixel| pixel.to_le_bytes()).collect();
        std::fs::write(folder.path().join(&name), bytes).unwrap();
        command.arg(&name);
        let image = Tensor::from_slice(&[1, 1, 28, 28], &pixels).unwrap();
        let outputs = infer.run_named_shared(&state, &[("image", &image)]).unwrap();
        let probability = outputs[0].1.as_slice::<f32>().unwrap();
        let class = (0..10).max_by(|a, b| probability[*a].total_cmp(&probability[*b])).unwrap();
        expected += &format!("{name}: {class} ({:.1} %)\n", 100.0 * probability[class]);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
    // What is no container is told, and nothing of it runs.
    let refused = command_of(&folder, &["0.f32"]);
    assert!(!refused.0 && refused.1.contains("is no container that can be used"), "{}", refused.1);
}

/// Whether the program succeeds with these arguments, and its messages.
fn command_of(folder: &tempfile::TempDir, arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rust-container"));
    let output = command.current_dir(folder).args(arguments).output().unwrap();
    (output.status.success(), String::from_utf8(output.stderr).unwrap())
}

/// The crates that a package of the workspace is built from, itself included; nothing where there is no cargo.
fn crates(package: &str) -> Option<BTreeSet<String>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let arguments =
        ["tree", "--offline", "--locked", "-e", "normal", "--prefix", "none", "--package", package];
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let output = Command::new(cargo).args(arguments).current_dir(root).output().ok()?;
    if !output.status.success() {
        println!("skipped: cargo tree says {}", String::from_utf8_lossy(&output.stderr));
        return None;
    }
    let text = String::from_utf8(output.stdout).ok()?;
    // `name v1.2.3 (...)`: two versions of a crate are two.
    let name = |line: &str| line.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
    Some(text.lines().map(name).collect())
}

/// An application that only runs containers has at most 15 crates, and one that reads files of tensors at most 45.
#[test]
fn there_are_few_crates() {
    let compiler =
        ["cranelift", "petgraph", "iced-x86", "brolga-codegen", "brolga-ir", "brolga-passes", "ron "];
    // The second one and an application.
    for (package, most) in [("rust-container", 15), ("brolga-runtime", 44)] {
        let Some(crates) = crates(package) else { return };
        println!("{package}: {} crates", crates.len());
        assert!(crates.len() <= most, "{package} has {} crates: {crates:?}", crates.len());
        assert!(crates.iter().any(|name| name.starts_with("rayon-core ")), "{crates:?}");
        let of_compiler = |name: &&String| compiler.iter().any(|of| name.starts_with(of));
        assert_eq!(crates.iter().find(of_compiler), None, "{package} has a compiler");
    }
}

/// The program is as short as it promises.
#[test]
fn the_program_is_short() {
    let lines = include_str!("../src/main.rs").lines().count();
    assert!(lines <= 60, "{lines} lines");
}
