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
