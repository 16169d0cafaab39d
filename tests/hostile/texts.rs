//! Texts of graphs and kernel programs with hostile integers.

use std::collections::BTreeMap;
use std::collections::HashMap;

use brolga::ir::generate::{Config, Rng, generate, histogram};
use brolga::ir::ops::Op;
use brolga::passes::lower::lower;
use brolga::passes::{Manager, Options, pipelines};

use super::{Cases, cases};
use crate::fuzz::mutate::{HOSTILE, exchanged, integers};
use crate::fuzz::targets;

/// For each operator a small random graph with it.
fn examples() -> BTreeMap<&'static str, String> {
    let mut found: BTreeMap<&'static str, String> = BTreeMap::new();
    for seed in 0..4000 {
        let config = Config { nodes: (1, 4), elements: 60, ..Config::default() };
        let graph = generate(seed, &config).graph;
        let text = graph.to_string();
        for name in histogram([&graph]).into_keys() {
            let shortest = found.entry(name).or_insert_with(|| text.clone());
            if text.len() < shortest.len() {
                shortest.clone_from(&text);
            }
        }
    }
    found
}

/// Operators that random graphs do not have: derivatives, which passes take away.
const LEFT_OUT: [&str; 2] = ["gradient", "jvp"];

#[test]
#[ignore = "run by itself, see `alone`"]
fn graphs() {
    let mut cases = Cases::new();
    let examples = examples();
    let missing: Vec<&str> = Op::names().into_iter().filter(|name| !examples.contains_key(name)).collect();
    assert!(missing.iter().all(|name| LEFT_OUT.contains(name)), "no example of {missing:?}");
    for (operator, text) in &examples {
        // The integers of the lines with the operator: its attributes and its type.
        let of_operator = |at: usize| {
            let start = text[..at].rfind('\n').map_or(0, |line| line + 1);
            text[start..].lines().next().is_some_and(|line| line.contains(&format!("{operator} ")))
        };
        for place in integers(text).into_iter().filter(|place| of_operator(place.start)) {
            for value in HOSTILE {
                let text = exchanged(text, &place, value);
                cases.case(&format!("{operator}:\n{text}"), || {
                    targets::graph(text.as_bytes());
                    Ok(())
                });
            }
        }
    }
    cases.finish("integers of graphs");
}

#[test]
#[ignore = "run by itself, see `alone`"]
fn programs() {
    let (mut watched, mut rng, count) = (Cases::new(), Rng(1), cases(1500));
    let mut texts = Vec::new();
    for seed in 0..40 {
        let config = Config { nodes: (2, 8), elements: 100, ..Config::default() };
        let mut graph = generate(seed, &config).graph;
        let mut manager = Manager::new(Options::default());
        manager.run(pipelines::REGIONS, &mut graph).expect("fusion");
        let mut program = lower(&graph, &HashMap::new()).expect("lowering");
        texts.push(program.to_string());
        manager.run(pipelines::PROGRAM, &mut program).expect("program passes");
        texts.push(program.to_string());
    }
    for number in 0..count {
        let text = &texts[rng.below(texts.len())];
        let places = integers(text);
        if places.is_empty() {
            continue;
        }
        let mut text = exchanged(text, &places[rng.below(places.len())], HOSTILE[rng.below(HOSTILE.len())]);
        if number % 3 == 0 {
            let places = integers(&text);
            text = exchanged(&text, &places[rng.below(places.len())], HOSTILE[rng.below(HOSTILE.len())]);
        }
        watched.case(&text, || {
            targets::program(text.as_bytes());
            Ok(())
        });
    }
    watched.finish("integers of programs");
}
