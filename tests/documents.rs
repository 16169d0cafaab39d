//! Every output that a document shows is what is printed, times and speeds apart; every command it names is there.
//!
//! In a block of code, a line `$ COMMAND` is run by a shell in a folder that is empty at first, and what follows, up to the
//! next command or the end of the block, is what it prints. A line `…` stands for any number of lines. `$ cat FILE` gives
//! the content of a file that later commands read. A command that shows nothing, and writes nothing by `>`, is not run: it
//! wants files of the reader's own. Numbers before a unit of time or speed may differ, and on such lines
//! spaces too. All of it takes some 5 seconds.

#![cfg(feature = "cli")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Units of what no two runs have in common.
const UNITS: [&str; 9] = ["s", "ms", "µs", "us", "GFLOP/s", "GB/s", "MB", "samples/s", "h"];

/// All documents of the repository, without what tests or builds have written.
fn documents() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && !name.starts_with('.') && name != "target" {
                folders.push(path);
            } else if name.ends_with(".md") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// A command, and the lines that it is said to print.
struct Shown {
    command: String,
    output: Vec<String>,
}

fn shown(text: &str) -> Vec<Shown> {
    let mut all: Vec<Shown> = Vec::new();
    let (mut inside, mut open) = (false, false);
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            inside = !inside;
            open = false;
        } else if let (true, Some(command)) = (inside, line.strip_prefix("$ ")) {
            all.push(Shown { command: command.to_owned(), output: Vec::new() });
            open = true;
        } else if let (true, Some(last)) = (open, all.last_mut()) {
            last.output.push(line.trim_end().to_owned());
        }
    }
    all
}

/// A line without its times and speeds.
fn masked(line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    let timed = |at: usize| {
        words[at].parse::<f64>().is_ok()
            && words.get(at + 1).is_some_and(|unit| UNITS.contains(&unit.trim_end_matches(',')))
    };
    if !(0..words.len()).any(timed) {
        return line.to_owned();
    }
    (0..words.len()).map(|at| if timed(at) { "#" } else { words[at] }).collect::<Vec<_>>().join(" ")
}

/// Whether the lines found are those shown.
fn agree(shown: &[String], found: &[String]) -> bool {
    match shown {
        [] => found.is_empty(),
        [dots, rest @ ..] if dots.trim() == "…" => {
            (0..=found.len()).any(|skipped| agree(rest, &found[skipped..]))
        }
        [line, rest @ ..] => {
            found.first().is_some_and(|found| masked(found) == masked(line)) && agree(rest, &found[1..])
        }
    }
}

/// What a shell prints for a command, both streams in one.
fn printed(folder: &Path, command: &str) -> Vec<String> {
    let own = Path::new(env!("CARGO_BIN_EXE_brolga")).parent().unwrap();
    let path = std::env::join_paths(
        [own.to_path_buf()]
            .into_iter()
            .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())),
    );
    let output = Command::new("sh")
        .args(["-c", &format!("{{ {command}\n}} 2>&1")])
        .current_dir(folder)
        .env("PATH", path.unwrap())
        .env("NO_COLOR", "1")
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().lines().map(|line| line.trim_end().to_owned()).collect()
}

#[test]
fn outputs_are_what_is_printed() {
    let mut count = 0;
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        let folder = tempfile::tempdir().unwrap();
        for Shown { command, mut output } in shown(&text) {
            while output.last().is_some_and(String::is_empty) {
                output.pop();
            }
            if let Some(file) = command.strip_prefix("cat ") {
                fs::write(folder.path().join(file), output.join("\n") + "\n").unwrap();
                continue;
            }
            // What shows nothing wants files of the reader's own.
            if output.is_empty() && !command.contains('>') {
                continue;
            }
            let found = printed(folder.path(), &command);
            assert!(
                agree(&output, &found),
                "{}: $ {command}\nshows\n{}\nbut what is printed is\n{}",
                document.display(),
                output.join("\n"),
                found.join("\n")
            );
            count += 1;
        }
    }
    assert!(count >= 4, "the README shows at least four");
}

/// The commands of the program, as its help lists them.
fn commands() -> Vec<String> {
    let help = printed(Path::new("."), "brolga --help");
    let lines =
        help.iter().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    lines.filter_map(|line| Some(line.split_whitespace().next()?.to_owned())).collect()
}

/// `brolga WORD` in a document names a command that there is, and options that it has.
#[test]
fn commands_that_are_named_exist() {
    let commands = commands();
    assert!(commands.len() >= 14 && commands.contains(&"help".to_owned()), "{commands:?}");
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        let pieces = text.split('`').skip(1).step_by(2).chain(text.lines());
        for piece in pieces {
            let piece = piece.trim_start_matches("$ ").trim_start_matches("cargo run --release -- ");
            let Some(line) = piece.strip_prefix("brolga ").filter(|line| !line.starts_with(['-', '=']))
            else {
                continue;
            };
            let mut words = line.split_whitespace();
            let name = words.next().unwrap_or("");
            // Prose, such as "brolga compiles"; in code the second word is a command.
            let is_code = text.contains(&format!("`{piece}`")) || text.contains(&format!("$ {piece}"));
            if !is_code || name == "WORD" || name.chars().all(|c| c.is_uppercase()) {
                continue;
            }
            assert!(commands.iter().any(|known| known == name), "{}: `brolga {name}`", document.display());
            let help = printed(Path::new("."), &format!("brolga {name} --help")).join("\n");
            for option in words.filter(|word| word.starts_with("--") && word.len() > 2) {
                let option =
                    option.split('=').next().unwrap_or(option).trim_end_matches([',', '.', ')', ';']);
                assert!(help.contains(option), "{}: `brolga {name} {option}`", document.display());
            }
        }
    }
}

/// The reference of the language is what the program prints: `BROLGA_BLESS=1` writes it anew.
#[test]
fn the_reference_is_fresh() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/language-reference.md");
    let text = printed(Path::new("."), "brolga language").join("\n") + "\n";
    if std::env::var_os("BROLGA_BLESS").is_some() {
        fs::write(&path, &text).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == text, "`brolga language > docs/language-reference.md` makes it fresh");
    for word in [
        "`Conv2d(features: a size, kernel",
        "`cross_entropy(logits, ",
        "`Import(model, [variant]",
        "`//`",
        "`not`",
    ] {
        assert!(text.contains(word), "{word}");
    }
}
