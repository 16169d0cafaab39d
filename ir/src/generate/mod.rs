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
use crate::graph::{Graph, NodeId};
use crate::ops::Op;

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

/// How often regions occur in graphs, and what is rare in them: `graphs with regions`, loops or conditions; one operator in
/// another's region (`cond in while`); loops of `length 0` and `length 1`; `captured constants`, or numbers that are repeated; and
/// `unused carries`, the last values of which nothing reads.
pub fn regions<'g>(graphs: impl IntoIterator<Item = &'g Graph>) -> BTreeMap<String, usize> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut count = |name: String| *counts.entry(name).or_default() += 1;
    for graph in graphs {
        let mut stack = vec![(graph, None)];
        if graph.nodes().any(|id| matches!(graph.node(id).op, Op::Scan(_) | Op::While(_) | Op::Cond(_))) {
            count("graphs with regions".into());
        }
        while let Some((graph, around)) = stack.pop() {
            for id in graph.order() {
                let node = graph.node(id);
                let regions = node.op.regions();
                let name = node.op.get().name();
                if let (Some(around), false) = (around, regions.is_empty()) {
                    count(format!("{name} in {around}"));
                }
                stack.extend(regions.into_iter().map(|region| (region, Some(name))));
                let (carries, fixed) = match &node.op {
                    Op::Scan(scan) => {
                        if scan.length < 2 {
                            count(format!("length {}", scan.length));
                        }
                        (scan.carries, scan.carries + scan.slices)
                    }
                    Op::While(looped) => (looped.carries, looped.carries),
                    _ => continue,
                };
                let is_constant = |mut id: NodeId| {
                    // From a node to its operand: graphs have no cycles.
                    while let (Op::Broadcast(_), [operand]) =
                        (&graph.node(id).op, &graph.node(id).operands[..])
                    {
                        id = operand.node;
                    }
                    matches!(graph.node(id).op, Op::Constant(_))
                };
                if node.operands[fixed..].iter().any(|operand| is_constant(operand.node)) {
                    count("captured constants".into());
                }
                if graph.results(id)[..carries].iter().any(|&result| graph.use_count(result) == 0) {
                    count("unused carries".into());
                }
            }
        }
    }
    counts
}
