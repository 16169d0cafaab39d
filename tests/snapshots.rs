//! What every stage makes of LeNet-5, as text: a change of a pass shows here as a difference that a person reads.
//! `BROLGA_BLESS=1 cargo test --test snapshots` rewrites the files.

#![cfg(feature = "cli")]

use std::path::Path;
use std::process::Command;

fn check(model: &str, stage: &str, entry: &str) {
    let found = run(&[
        "dump",
        model,
        "--stage",
        stage,
        "--entry",
        entry,
        "--dim",
        "batch=2",
        "--target-cpu",
        "portable",
    ]);
    compare(model, stage, found);
}

fn run(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_brolga")).args(args).output().expect("the command runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

fn compare(model: &str, stage: &str, found: String) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/snapshots/{model}.{stage}.txt"));
    if std::env::var_os("BROLGA_BLESS").is_some() {
        return std::fs::write(&file, found).expect("the snapshot can be written");
    }
    let expected = std::fs::read_to_string(&file).expect("a snapshot");
    if found == expected {
        return;
    }
    let line = found.lines().zip(expected.lines()).position(|(f, e)| f != e);
    let line = line.unwrap_or_else(|| found.lines().count().min(expected.lines().count()));
    let at = |text: &str| text.lines().nth(line).unwrap_or("(end)").to_owned();
    panic!(
        "{model} at stage {stage} differs from line {}:\n  found    {}\n  expected {}",
        line + 1,
        at(&found),
        at(&expected)
    );
}

#[test]
fn lenet5_at_every_stage() {
    for stage in ["model", "graph", "grad", "opt", "program"] {
        check("lenet5", stage, "train");
    }
}

/// The table of layers of `check`, whose shapes have symbols.
#[test]
fn lenet5_shapes() {
    let text = run(&["check", "lenet5"]);
    // What stands behind the table depends on how entry points are compiled.
    let table: Vec<&str> = text.lines().take_while(|line| !line.contains("; state ")).collect();
    compare("lenet5", "check", table.join("\n").trim_end().to_owned() + "\n");
}

/// Only where Cranelift's text is that of the processor the snapshot was made on.
#[test]
#[cfg(target_arch = "x86_64")]
fn portable_code() {
    check("softmax-regression", "clif", "infer");
}
