//! What every stage makes of a model, as text: a change of a pass shows here as a difference that a person reads.
//! `BROLGA_BLESS=1 cargo test --test all snapshots` rewrites the files.

#![cfg(feature = "cli")]

use crate::common::snapshot;
use std::process::Command;

/// What the command prints.
fn run(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_brolga"))
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("the command runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// A stage of an entry point at batch 2.
fn dump(model: &str, entry: &str, stage: &str, target: &str) -> String {
    run(&["dump", model, "--stage", stage, "--entry", entry, "--dim", "batch=2", "--target-cpu", target])
}

#[test]
fn lenet5_at_every_stage() {
    for stage in ["model", "graph", "grad", "opt", "program"] {
        let found = dump("lenet5", "train", stage, "portable");
        snapshot::check(&format!("tests/snapshots/lenet5.{stage}.txt"), &found);
    }
}

/// The table of layers of `check`, whose shapes have symbols.
#[test]
fn lenet5_shapes() {
    let text = run(&["check", "lenet5"]);
    // What stands behind the table depends on how entry points are compiled.
    let table: Vec<&str> = text.lines().take_while(|line| !line.contains("; state ")).collect();
    snapshot::check("tests/snapshots/lenet5.check.txt", &(table.join("\n").trim_end().to_owned() + "\n"));
}

/// Of LeNet-5's functions those of the second pooling and of the entry point itself.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
#[test]
fn lenet5_as_cranelift_sees_it() {
    let all = dump("lenet5", "infer", "clif", "portable");
    let wanted = |function: &&str| {
        let name = function.split(' ').next().unwrap_or_default();
        name.contains("_reduce_window_max") || ["infer_run", "infer"].contains(&name)
    };
    // Every function begins with a comment in the first column; the first pooling is longer by its odd rows.
    let mut functions: Vec<&str> = all.split("\n; ").filter(wanted).collect();
    assert_eq!(functions.len(), 4, "{functions:?}");
    functions.remove(0);
    let found: Vec<String> = functions.iter().map(|function| format!("; {function}\n")).collect();
    snapshot::check("tests/snapshots/lenet5.clif.txt", &found.concat());
}

/// All code of one layer. The targets are named, so it does not depend on the processor at hand.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
#[test]
fn the_code_of_a_layer() {
    let model = "tests/snapshots/linear.ron";
    for (stage, target) in
        [("clif", "portable"), ("asm", "portable"), ("asm", "x86-64-v3"), ("asm", "x86-64-v4")]
    {
        let found = dump(model, "infer", stage, target);
        snapshot::check(&format!("tests/snapshots/linear.{stage}.{target}.txt"), &found);
    }
}
