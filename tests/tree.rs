//! What holds for the files of the repository.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

/// Every file beside a `tests/main.rs` is a module of it, or named in the manifest as a binary of its own: a forgotten
/// one would never run.
#[test]
fn every_test_file_runs() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for member in PUBLISHED {
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

/// The crates that a registry gets; `.` is the root.
const PUBLISHED: [&str; 9] =
    [".", "ir", "frontend", "passes", "codegen", "runtime", "models", "command", "launchers"];

/// A registry wants a description and a licence of every crate. Tests and benches read files of other crates, so they are in
/// no package.
#[test]
fn manifests_are_those_of_packages() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for member in PUBLISHED {
        let manifest = fs::read_to_string(root.join(member).join("Cargo.toml")).unwrap();
        let package = manifest.split("[package]").nth(1).unwrap().split("\n[").next().unwrap();
        assert!(package.contains("\ndescription = \""), "{member}");
        for inherited in ["version", "license", "readme", "exclude"] {
            assert!(package.contains(&format!("\n{inherited}.workspace = true")), "{member}: {inherited}");
        }
        // A path without a version is dropped from a package, which is right for a crate that tests itself alone.
        for line in manifest.lines().filter(|line| line.starts_with("brolga-") && line.contains("path = ")) {
            assert!(line.contains("version = ") || line.contains("path = \".\""), "{member}: {line}");
        }
    }
    let workspace = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    assert!(workspace.contains("\nexclude = [\"/tests\", \"/benches\""));
}

/// Whoever has one crate alone has the texts of its licences.
#[test]
fn every_package_has_the_texts_of_its_licences() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for member in PUBLISHED.into_iter().chain(["launchers/link"]) {
        for file in ["LICENSE-MIT", "LICENSE-APACHE"] {
            let own = fs::read_to_string(root.join(member).join(file));
            let own = own.unwrap_or_else(|e| panic!("{member}/{file}: {e}"));
            assert_eq!(own, fs::read_to_string(root.join(file)).unwrap(), "{member}/{file}");
        }
    }
}

/// What is compiled into a crate lies in its folder, and not in what its package leaves out.
#[test]
fn crates_include_only_files_of_their_own() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = 0;
    for member in PUBLISHED {
        let own = if member == "." { root.to_owned() } else { root.join(member) };
        let mut folders = vec![own.join("src")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let text = fs::read_to_string(&path).unwrap();
                for file in included(&text) {
                    let target = plain(&path.parent().unwrap().join(file));
                    let inside =
                        target.strip_prefix(&own).ok().map(|rest| rest.iter().next().unwrap_or_default());
                    // The root's package has no folder of another crate.
                    let others =
                        PUBLISHED.iter().filter(|_| member == ".").chain(&["tests", "benches", "fuzz"]);
                    let packed = inside.is_some_and(|first| others.clone().all(|&other| first != other));
                    assert!(packed, "{} includes {file}, which its package does not hold", path.display());
                    found += 1;
                }
            }
        }
    }
    assert!(found >= 3, "only {found} files are included: are they still found?");
}

/// The files that a source includes, as written: the first text behind `include_str!` and its kin, and `#[path = "..."]`.
fn included(text: &str) -> Vec<&str> {
    let mut files = Vec::new();
    for start in ["include_str!(", "include_bytes!(", "include!(", "#[path = "] {
        for rest in text.split(start).skip(1) {
            files.extend(rest.split('"').nth(1));
        }
    }
    files
}

/// A path without `..`.
fn plain(path: &Path) -> PathBuf {
    let mut result = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                result.pop();
            }
            part => result.push(part),
        }
    }
    result
}
