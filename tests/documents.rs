//! Every output that a document shows is what is printed, times and speeds apart; every command it names is there.
//!
//! Every block of code is one of these, and anything else fails:
//! - commands: a line `$ COMMAND` is run by a shell, and what follows, up to the next command or the end of the block, is all
//!   that it prints. A line `…` stands for any number of lines. `$ cat FILE` gives the content of a file that later commands
//!   read. The folder has the pictures of [`shapes`] at first, and nothing else. Numbers before a unit of time or speed may
//!   differ, and on such lines spaces too;
//! - `ron`, of the model language: `language.rs` compiles and runs it;
//! - `files`, a list of what is where: each is there, and no crate is missing;
//! - `rust`: lines of the crate's own documentation, which is compiled;
//! - a language and a file (`c examples/c-object/digit.c`): lines of the file, in its order;
//! - marked by a line `<!-- not compared: WHY -->` above it.
//!
//! All of it takes some 6 seconds.

#![cfg(feature = "cli")]

mod shapes;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::common::documents::{Fenced, blocks, documents, shown};

/// Units of what no two runs have in common.
const UNITS: [&str; 8] = ["s", "ms", "µs", "us", "GFLOP/s", "GB/s", "samples/s", "h"];

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

/// Runs the commands of a block, and compares; how many there are.
fn compare(block: &Fenced, place: &str, folder: &Path) -> usize {
    let all = shown(block);
    let begins = block.lines.first().is_some_and(|line| line.starts_with("$ "));
    assert!(begins, "{place}: a block that does not say what prints it, and is not marked");
    for shown in &all {
        if let Some(file) = shown.file() {
            fs::write(folder.join(file), shown.text()).unwrap();
            continue;
        }
        let found = printed(folder, &shown.command);
        assert!(
            agree(&shown.output, &found),
            "{place}: $ {}\nshows\n{}\nbut what is printed is\n{}",
            shown.command,
            shown.text(),
            found.join("\n")
        );
    }
    all.len()
}

/// Checks that the lines of a block are those of a file, with others between them.
fn excerpt(block: &Fenced, place: &str, file: &str) {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
    let mut rest = text.lines().map(str::trim);
    for line in block.lines.iter().map(|line| line.trim()) {
        assert!(rest.any(|found| found == line), "{place}: `{line}` is not in {file}, or not there");
    }
}

/// Checks a list of files: folders of the repository, and what is in them, indented, before its description.
fn files(block: &Fenced, place: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = BTreeSet::new();
    let mut top = "";
    for line in &block.lines {
        let indent = line.len() - line.trim_start().len();
        let first = line.split_whitespace().next().unwrap_or("");
        if indent == 0 {
            top = first;
            folders.insert(first.trim_end_matches('/').to_owned());
        }
        // Deeper lines go on with a description.
        let words = line.split_whitespace().take(if indent == 2 { usize::MAX } else { 0 });
        let mut within = Path::new("");
        for word in words {
            let path = Path::new(word.trim_end_matches(','));
            within = path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(within);
            let path = root.join(top).join(within).join(path.file_name().expect("a name"));
            assert!(path.exists(), "{place}: {} is not there", path.display());
            if !word.ends_with(',') {
                break;
            }
        }
    }
    let entries = fs::read_dir(root).unwrap().map(|entry| entry.unwrap());
    let crates = entries.filter(|entry| entry.path().join("Cargo.toml").exists() && entry.path().is_dir());
    for name in crates.map(|entry| entry.file_name().to_string_lossy().into_owned()) {
        assert!(folders.contains(&name), "{place}: the crate `{name}` is missing");
    }
}

#[test]
fn outputs_are_what_is_printed() {
    let crate_text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    let (mut compared, mut marked) = (0, 0);
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        let folder = tempfile::tempdir().unwrap();
        if text.contains("photo.jpg") {
            shapes::draw(folder.path());
        }
        let mut commands = 0;
        for block in blocks(&text) {
            let place = format!("{}:{}", document.display(), block.line);
            if let Some(why) = &block.aside {
                assert!(why.split_whitespace().count() >= 3, "{place}: a mark without a reason");
                println!("{place} is not compared: {why}");
                commands += shown(&block).len();
                marked += 1;
            } else if block.language == "rust" {
                let lines: Vec<String> = block.lines.iter().map(|line| format!("//! {line}")).collect();
                assert!(crate_text.contains(&lines.join("\n")), "{place}: not in the crate's documentation");
            } else if let Some((_, file)) = block.language.split_once(' ') {
                excerpt(&block, &place, file);
            } else if block.language == "files" {
                files(&block, &place);
            } else if block.language != "ron" {
                commands += compare(&block, &place, folder.path());
                compared += 1;
            }
        }
        // Commands that stand in no block would be missed.
        let all = text.lines().filter(|line| line.trim_start().starts_with("$ ")).count();
        assert_eq!(commands, all, "{}: commands in blocks, of all", document.display());
    }
    println!("{compared} blocks are compared, {marked} are not");
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
