//! The example learns, and is as short as it promises.

use std::process::Command;

#[test]
fn the_program_learns() {
    let output = Command::new(env!("CARGO_BIN_EXE_rust-run-time")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let classes: Vec<&str> =
        text.lines().filter_map(|line| line.split_once("class ")).map(|(_, c)| c).collect();
    assert_eq!(classes, ["1", "0", "1", "0"], "{text}");
    let losses: Vec<f64> = text
        .lines()
        .filter_map(|line| line.split_once("loss "))
        .map(|(_, loss)| loss.parse().unwrap())
        .collect();
    assert!(losses.len() == 4 && losses[3] < 0.1, "{text}");
}

#[test]
fn the_program_is_short() {
    let lines = include_str!("../src/main.rs").lines().count();
    assert!(lines <= 60, "{lines} lines");
}
