//! Random graphs and kernels, for tests that compare one way of running a graph with another.
//!
//! [`generate`] gives, for a seed, a valid graph over all operators and values for its parameters. Tensors are
//! small; extents of 0 and 1 occur. Every node is needed by an output. [`random_graph`] gives graphs of fewer operators, in which
//! passes find much to do; [`kernels`] are of kernel programs.

mod elementwise;
pub mod kernels;
mod make;
mod maker;
mod regions;
mod rules;

use std::collections::BTreeMap;

use self::maker::Maker;
use crate::graph::Graph;

pub use self::maker::{Config, Generated, value};
pub use self::rules::random_graph;
pub use crate::random::Rng;

/// The graph of a seed.
pub fn generate(seed: u64, config: &Config) -> Generated {
    let mut maker = Maker {
        rng: Rng(seed),
        graph: Graph::new("random"),
        pool: Vec::new(),
        values: Vec::new(),
        config: config.clone(),
    };
    let (low, high) = config.nodes;
    let target = low + maker.rng.below(high.saturating_sub(low) + 1);
    let makers = make::makers(config);
    // A maker may fail (an operand of extent 0, a result too large): then another is drawn.
    for _ in 0..20 * target {
        let operators = maker.graph.len() - maker.graph.parameters().len();
        if operators >= target {
            break;
        }
        let make = makers[maker.rng.below(makers.len())];
        if let Ok(results) = make(&mut maker) {
            maker.pool.extend(results);
        }
    }
    maker.finish()
}

/// How often each operator occurs in graphs and their regions.
pub fn histogram<'g>(graphs: impl IntoIterator<Item = &'g Graph>) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    let mut stack: Vec<&Graph> = graphs.into_iter().collect();
    while let Some(graph) = stack.pop() {
        for id in graph.order() {
            let op = &graph.node(id).op;
            *counts.entry(op.get().name()).or_default() += 1;
            stack.extend(op.regions());
        }
    }
    counts
}
