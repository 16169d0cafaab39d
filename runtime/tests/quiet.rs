//! A library leaves the process alone: it handles no signal, prints nothing, ends nothing, reads nothing of the environment, and
//! changes nothing that belongs to all.

use std::fs;
use std::path::{Path, PathBuf};

/// What no source may have: calls by which a library would speak to somebody else than its caller.
const FORBIDDEN: [&str; 24] = [
    "print!(",
    "println!(",
    "dbg!(",
    "stdout()",
    "stderr()",
    "stdin()",
    "env::var",
    "env::args",
    "env::set_var",
    "env::temp_dir",
    "env::home_dir",
    "env::current_dir",
    "env::current_exe",
    "set_current_dir",
    "process::exit",
    "process::abort",
    "process::Command",
    "signal",
    "sigaction",
    "set_hook",
    "set_alloc_error_hook",
    "setrlimit",
    "tempdir()",
    "tempfile()",
];

/// All sources below a folder.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
}

/// The lines of a source without comments, up to its tests.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().take_while(|line| *line != "#[cfg(test)]").enumerate();
    lines.map(|(at, line)| (at + 1, line.split("//").next().unwrap_or("")))
}

#[test]
fn the_library_leaves_the_process_alone() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let sources = sources(&folder);
    assert!(sources.len() > 30, "{}", sources.len());
    for path in sources {
        let text = fs::read_to_string(&path).unwrap();
        for (number, line) in code(&text) {
            let here = FORBIDDEN.iter().filter(|word| line.contains(*word));
            found.extend(here.map(|word| format!("{}:{number}: {word}", path.display())));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// No thread of this process has another handler of signals, after a model has run, than before.
#[cfg(target_os = "linux")]
#[test]
fn signals_are_left_alone() {
    use crate::common::container::{runs_here, sample};
    use brolga_runtime::{Tensor, Threads, container::open};

    // Masks of signals that are caught, ignored and blocked.
    let signals = || {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let own = |line: &&str| ["SigCgt:", "SigIgn:", "SigBlk:"].iter().any(|name| line.starts_with(name));
        status.lines().filter(own).map(str::to_owned).collect::<Vec<_>>()
    };
    if !runs_here() {
        return;
    }
    let before = signals();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sample.brolga");
    fs::write(&path, sample()).unwrap();
    // SAFETY: the code keeps to its manifest, and nobody changes the file.
    let loaded = unsafe { open(&path).unwrap() };
    let mut instance = loaded.instance("infer", &Threads::new(2).unwrap()).unwrap();
    let x = Tensor::scalar(5i32).unwrap();
    assert_eq!(instance.run_named_shared(&loaded.state, &[("x", &x)]).unwrap().len(), 1);
    assert_eq!(signals(), before);
}
