//! What the outputs of an entry point are of the samples of a batch.

use std::collections::HashMap;

use brolga_ir::graph::{Graph, Value};
use brolga_ir::ops::Role;

use super::{CHECKED, Configured, FIT, Fits, build, build_fit};
use crate::graph::names::LayerNames;
use crate::graph::samples::{Samples, shares};
use crate::graph::uses::EntryGraph;

/// For the outputs of an entry point, by name, what they are of the samples: the entry is built for a batch and for one of
/// twice the size, as its metrics are. Outputs of which nothing is known are left out: all of an evaluation, which are metrics
/// and their totals, and all where the model is one for some batches only; `own` is one of these.
pub(crate) fn output_samples(
    model: Configured,
    entry: &str,
    own: usize,
    names: &mut LayerNames,
) -> HashMap<String, Samples> {
    for batch in [CHECKED, own.max(1)] {
        let [one, two] = [Some(batch), batch.checked_mul(2)].map(|batch| {
            let settings = model.settings.clone().dim("batch", batch?);
            main_graph(Configured { settings: &settings, ..model }, entry, names)
        });
        if let (Some(one), Some(two)) = (one, two) {
            return compared(&one, &two, batch);
        }
    }
    HashMap::new()
}

/// The graph of an entry point of the file, or of what preparation is fitted to; nothing where it has mistakes.
fn main_graph(model: Configured, name: &str, names: &mut LayerNames) -> Option<Graph> {
    if name == FIT {
        return build_fit(model, Fits::Body, names);
    }
    let entry = model.uses.iter().find(|entry| entry.name == name)?;
    let outcome = build(model, entry, EntryGraph::Main, names);
    outcome.entry.filter(|_| outcome.diagnostics.is_empty()).map(|built| built.graph)
}

/// What the outputs of `one` are of its samples, where `two` is the same for twice as many.
fn compared(one: &Graph, two: &Graph, batch: usize) -> HashMap<String, Samples> {
    let of = |graph: &Graph| -> (Vec<String>, Vec<Value>) {
        let outputs = graph.outputs().iter().filter(|output| output.role != Role::State);
        outputs.map(|output| (output.name.clone(), output.value)).unzip()
    };
    let ((names, roots), (names_twice, roots_twice)) = (of(one), of(two));
    if names != names_twice {
        return HashMap::new();
    }
    let shares = shares((one, &roots), (two, &roots_twice), batch).unwrap_or_default();
    let known = |(name, value)| Some((name, Samples::from(*shares.get(&value)?)));
    names.into_iter().zip(roots).filter_map(known).collect()
}
