//! The fuzz targets on their seeds, and on mutations of them.

use std::path::Path;

use brolga::ir::generate::Rng;

use super::fuzz::mutate::mutated as mutate;
use super::fuzz::targets::{ALL, whole_checkpoint};
use super::{Cases, cases};

/// The seeds of a target.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    if target == "checkpoint" {
        // Made by this version: what an earlier one wrote says nothing of how this one reads.
        return vec![whole_checkpoint().1.clone()];
    }
    let mut paths: Vec<_> =
        std::fs::read_dir(&folder).expect("seeds").map(|entry| entry.expect("a seed").path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).expect("a seed")).collect()
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
        let few = if name.starts_with("compare") { 8 } else { 250 };
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
