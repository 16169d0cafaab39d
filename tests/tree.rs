//! What holds for the files of the repository.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Every file beside a `tests/main.rs` is a module of it, or named in the manifest as a binary of its own: a forgotten
/// one would never run.
#[test]
fn every_test_file_runs() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for member in [".", "ir", "frontend", "passes", "codegen", "runtime", "models"] {
        let folder = root.join(member).join("tests");
        let main = fs::read_to_string(folder.join("main.rs")).unwrap();
        let manifest = fs::read_to_string(root.join(member).join("Cargo.toml")).unwrap();
        let entries = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name());
        let files: BTreeSet<String> = entries
            .filter_map(|name| Some(name.to_str()?.strip_suffix(".rs")?.to_owned()))
            .filter(|name| name != "main")
            .collect();
        for name in files {
            let listed = main.contains(&format!("mod {name};"));
            let own = manifest.contains(&format!("path = \"tests/{name}.rs\""));
            assert!(listed || own, "{member}/tests/{name}.rs is no module of main.rs");
        }
    }
}

/// Crates that depend on each other say which version they need, as a registry wants it, and it is the version of all.
#[test]
fn versions_are_those_of_the_workspace() {
    let manifest = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).unwrap();
    let package = manifest.split("[workspace.package]").nth(1).unwrap();
    let version = package.lines().find_map(|line| line.strip_prefix("version = ")).unwrap();
    let own: Vec<&str> = manifest.lines().filter(|line| line.contains("{ path = ")).collect();
    assert!(own.len() >= 6, "{own:?}");
    for line in own {
        assert!(line.contains(&format!("version = {version}")), "{line}");
    }
}

/// What is compiled into a crate is in its folder: a package holds nothing from outside.
#[test]
fn crates_include_only_files_of_their_own() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for member in ["ir", "frontend", "passes", "codegen", "runtime", "models"] {
        let mut folders = vec![root.join(member).join("src")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "rs") {
                    let depth = path.strip_prefix(root.join(member)).unwrap().components().count() - 1;
                    let above = format!("(\"{}", "../".repeat(depth + 1));
                    let text = fs::read_to_string(&path).unwrap();
                    let outside = text.lines().any(|line| line.contains("include") && line.contains(&above));
                    assert!(!outside, "{} includes a file from outside of its crate", path.display());
                }
            }
        }
    }
}
