//! The examples in C: each is built and run by the commands at its beginning, then with sanitizers and under Valgrind.

#![cfg(all(feature = "cli", unix))]

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::c::{SANITIZERS, VALGRIND, for_valgrind, has, shell};
use crate::cli::folder;

/// Most lines of an example: what takes more is no example.
const MOST_LINES: usize = 60;

/// Most bytes of a program with lenet5, stripped, its weights apart.
const MOST_BYTES: u64 = 80_000;

/// A folder of an example, copied.
struct Example {
    folder: TempDir,
    /// The commands of its comment.
    commands: Vec<String>,
}

impl Example {
    fn new(name: &str, source: &str) -> Example {
        let own = folder();
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name);
        for entry in fs::read_dir(&from).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), own.path().join(entry.file_name())).unwrap();
        }
        let text = fs::read_to_string(from.join(source)).unwrap();
        assert!(text.lines().count() <= MOST_LINES, "{source} has more than {MOST_LINES} lines");
        let comment = text.split("*/").next().unwrap();
        let commands = comment.lines().filter_map(|line| line.trim_start().strip_prefix("$ "));
        Example { commands: commands.map(str::to_owned).collect(), folder: own }
    }

    /// Runs all commands, changed so; what the last one prints.
    fn run(&self, change: impl Fn(&str) -> String) -> String {
        let outputs = self.commands.iter().map(|command| shell(self.folder.path(), &change(command)));
        String::from_utf8(outputs.last().expect("commands in the comment")).unwrap()
    }

    /// What it prints, which is the same in each way.
    fn printed(&self) -> String {
        let strict = "cc -std=gnu99 -Wall -Wextra -Wpedantic -Werror";
        let printed = self.run(|command| command.replacen("cc ", &format!("{strict} "), 1));
        let again = |command: &str, runs: &str, compiler: &str| match command.split(' ').next() {
            Some("cc") => command.replacen("cc ", compiler, 1),
            Some(own) if own.starts_with("./") => format!("{runs}{command}"),
            _ => "true".to_owned(),
        };
        if has(&format!("echo 'int main(void) {{ return 0; }}' | cc {SANITIZERS} -x c - -o /dev/null")) {
            assert_eq!(self.run(|command| again(command, "", &format!("cc {SANITIZERS} "))), printed);
        }
        if has("valgrind --version") {
            let change = |command: &str| match command.strip_prefix("brolga build ") {
                Some(rest) => format!("brolga build {} {rest}", for_valgrind()),
                None => again(command, VALGRIND, "cc -g "),
            };
            assert_eq!(self.run(change), printed);
        }
        printed
    }
}

#[test]
fn an_object_answers() {
    let example = Example::new("c-object", "digit.c");
    let printed = example.printed();
    shell(example.folder.path(), "cc -Os digit.c lenet5.o -o digit && strip digit");
    let bytes = fs::metadata(example.folder.path().join("digit")).unwrap().len();
    println!("digit: {bytes} bytes");
    assert!(bytes <= MOST_BYTES, "{bytes} bytes");
    let shares: Vec<f32> = printed
        .lines()
        .map(|line| line.split_whitespace().nth(1).and_then(|share| share.parse().ok()).expect("a share"))
        .collect();
    assert_eq!(shares.len(), 10, "{printed}");
    assert!(shares.iter().all(|share| *share <= shares[7]), "{printed}");
}

#[test]
fn a_library_trains() {
    let printed = Example::new("c-library", "train.c").printed();
    let right = printed.split("right: ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
    assert!(right.parse::<u32>().unwrap() > 190, "{printed}");
    assert!(printed.contains("hidden.weight: 8192 bytes"), "{printed}");
}
