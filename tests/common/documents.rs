//! The documents of the repository, and the blocks of code in them.

use std::fs;
use std::path::{Path, PathBuf};

/// All documents of the repository, without what tests or builds have written.
pub fn documents() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
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

/// A block of code between fences.
pub struct Fenced {
    /// What stands behind the fence.
    pub language: String,
    /// Why nothing is compared, where the line above says `<!-- not compared: WHY -->`.
    pub aside: Option<String>,
    /// The line of its fence.
    pub line: usize,
    pub lines: Vec<String>,
}

/// The fence that a line begins with: three or more of one sign.
fn fence(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let run = |sign: char| line.len() - line.trim_start_matches(sign).len();
    let length = run('`').max(run('~'));
    (length >= 3).then(|| &line[..length])
}

/// The blocks of a document, whatever they are fenced by.
pub fn blocks(text: &str) -> Vec<Fenced> {
    let mut all = Vec::new();
    let mut open: Option<(&str, Fenced)> = None;
    let mut above = "";
    for (at, line) in text.lines().enumerate() {
        match open.take() {
            Some((sign, block)) if fence(line).is_some_and(|found| found.starts_with(sign)) => {
                all.push(block);
            }
            Some((sign, mut block)) => {
                block.lines.push(line.to_owned());
                open = Some((sign, block));
            }
            None => {
                open = fence(line).map(|sign| {
                    let language = line.trim_start()[sign.len()..].trim().to_owned();
                    let aside = above.trim().strip_prefix("<!-- not compared: ");
                    let aside = aside.and_then(|why| why.strip_suffix(" -->")).map(str::to_owned);
                    (sign, Fenced { language, aside, line: at + 1, lines: Vec::new() })
                });
            }
        }
        above = line;
    }
    assert!(open.is_none(), "a fence is not closed");
    all
}

/// A command, and the lines that it is said to print.
pub struct Shown {
    pub command: String,
    pub output: Vec<String>,
}

impl Shown {
    /// The file that `cat` shows.
    pub fn file(&self) -> Option<&str> {
        self.command.strip_prefix("cat ")
    }

    pub fn text(&self) -> String {
        self.output.join("\n") + "\n"
    }
}

/// The commands of a block, each with what follows up to the next one or the end, without empty lines at its end.
pub fn shown(block: &Fenced) -> Vec<Shown> {
    let mut all: Vec<Shown> = Vec::new();
    for line in &block.lines {
        if let Some(command) = line.strip_prefix("$ ") {
            all.push(Shown { command: command.to_owned(), output: Vec::new() });
        } else if let Some(last) = all.last_mut() {
            last.output.push(line.trim_end().to_owned());
        }
    }
    for shown in &mut all {
        while shown.output.last().is_some_and(String::is_empty) {
            shown.output.pop();
        }
    }
    all
}
