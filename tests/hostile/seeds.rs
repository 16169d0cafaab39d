//! The fuzz targets on their seeds, and on mutations of them.

use std::path::Path;

use brolga::ir::generate::Rng;

use super::{Cases, cases};
use crate::fuzz::mutate::mutated as mutate;
use crate::fuzz::targets::{ALL, whole_checkpoint, whole_tunings};

/// The seeds of a target.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let mut seeds = Vec::new();
    let whole = match target {
        "checkpoint" => Some(whole_checkpoint().clone()),
        "tunings" => Some(("tunings.txt".to_owned(), whole_tunings())),
        _ => None,
    };
    if let Some((name, whole)) = whole {
        if std::env::var_os("BROLGA_BLESS").is_some() {
            std::fs::create_dir_all(&folder).expect("a folder");
            std::fs::write(folder.join(name), &whole).expect("a seed");
        }
        // What an earlier version wrote may be refused; that of this one is read.
        seeds.push(whole);
    }
    let mut paths: Vec<_> =
        std::fs::read_dir(&folder).expect("seeds").map(|entry| entry.expect("a seed").path()).collect();
    paths.sort();
    seeds.extend(paths.iter().map(|path| std::fs::read(path).expect("a seed")));
    seeds
}

#[test]
#[ignore = "run by itself, see `alone`"]
fn mutated() {
    let mut watched = Cases::new();
    for (name, target) in ALL {
        let seeds = seeds(name);
        assert!(!seeds.is_empty(), "the target {name} has no seeds");
        for (number, seed) in seeds.iter().enumerate() {
            watched.case(&format!("{name}, seed {number}"), || {
                target(seed);
                Ok(())
            });
        }
        // What compiles, and what writes files, takes longer.
        let few = match name {
            "compare_graph" | "compare_model" => 8,
            "log" | "checked" => 60,
            _ => 250,
        };
        let mut rng = Rng(few);
        for number in 0..cases(few) {
            let (seed, other) = (&seeds[rng.below(seeds.len())], &seeds[rng.below(seeds.len())]);
            let bytes = mutate(seed, other, &mut rng);
            watched.case(
                &format!("{name}, mutation {number}: {:?}", String::from_utf8_lossy(&bytes)),
                || {
                    target(&bytes);
                    Ok(())
                },
            );
        }
    }
    watched.finish("seeds and mutations");
}

/// The functions, the binaries that are registered, their sources, the folders of seeds and the table of the README are
/// the same list, so that [`mutated`] runs every target that there is.
#[test]
fn every_registered_target_is_run() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let read = |path: &Path| std::fs::read_to_string(path).expect("a text");
    let sorted = |names: Vec<String>| {
        let mut names = names;
        names.sort();
        names
    };
    let run = sorted(ALL.iter().map(|(name, _)| (*name).to_owned()).collect());
    let manifest = read(&root.join("Cargo.toml"));
    let registered = manifest.split("[[bin]]").skip(1).map(|bin| {
        let name = bin.lines().find_map(|line| line.strip_prefix("name = ")).expect("a name");
        name.trim_matches('"').to_owned()
    });
    assert_eq!(sorted(registered.collect()), run, "fuzz/Cargo.toml");
    let readme = read(&root.join("README.md"));
    let rows = readme.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    assert_eq!(sorted(rows.map(str::to_owned).collect()), run, "fuzz/README.md");
    for folder in ["fuzz_targets", "seeds"] {
        let entries = std::fs::read_dir(root.join(folder)).expect("a folder");
        let names = entries.map(|entry| entry.expect("an entry").path().file_stem().map(|n| n.to_owned()));
        let names = names.map(|name| name.expect("a name").to_string_lossy().into_owned());
        assert_eq!(sorted(names.collect()), run, "fuzz/{folder}");
    }
    for name in &run {
        let source = read(&root.join("fuzz_targets").join(format!("{name}.rs")));
        let calls = source.contains(&format!("brolga_fuzz::targets::{name}(bytes)"));
        let registered = manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\""));
        assert!(calls && registered, "fuzz/fuzz_targets/{name}.rs calls the function of its name");
    }
}
