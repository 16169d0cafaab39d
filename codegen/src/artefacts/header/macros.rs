//! The macros of a header that are named after entries and tensors.

use super::names::Names;
use super::page::About;
use crate::image::symbol_name;

/// The macros that are named after entries and tensors.
pub(super) struct Macros {
    /// What those of each entry begin with.
    pub entries: Vec<String>,
    /// The number of each tensor of the state.
    pub state: Vec<String>,
    /// For each entry the positions of its state, inputs and outputs, in the order of the bases.
    pub bases: Vec<Vec<String>>,
}

/// Macros that every header has.
const OF_MODELS: [&str; 17] = [
    "H",
    "NUMERICS",
    "STATE_BYTES",
    "STATE_KEY",
    "FILE_BYTES",
    "FILE_HEADER_BYTES",
    "SCRATCH_BYTES",
    "SCRATCH_BYTES_FOR",
    "SHARED_BYTES",
    "SHARED_BYTES_FOR",
    "PREPARED_BYTES",
    "OUTPUTS_BYTES",
    "ARENA_BYTES",
    "LOCAL_BYTES",
    "TENSORS",
    "CONSTANTS_BYTES",
    "WEIGHTS_BYTES",
];

impl Macros {
    pub fn of(about: &About<'_>) -> Macros {
        let upper = about.upper();
        let plain = |name: &str| symbol_name(name).to_ascii_uppercase();
        let mut names = Names::with(OF_MODELS.map(|name| format!("{upper}_{name}")));
        let wanted: Vec<String> =
            about.entries.iter().map(|entry| format!("{upper}_{}", plain(&entry.name))).collect();
        let entries = names.tell_apart(&wanted, 0, &["_BASES", "_ARENA_BYTES", "_PREPARED_BYTES"]);
        let wanted: Vec<String> =
            about.block.tensors.iter().map(|t| format!("{upper}_STATE_{}", plain(&t.name))).collect();
        let state = names.tell_apart(&wanted, 0, &[""]);
        let mut bases = Vec::with_capacity(entries.len());
        for (entry, begin) in about.entries.iter().zip(&entries) {
            let manifest = entry.manifest;
            let state = manifest.state.iter().map(|t| ("STATE", &t.name));
            let inputs = manifest.inputs.iter().map(|t| ("INPUT", &t.name));
            let outputs = manifest.outputs.iter().map(|t| ("OUTPUT", &t.name));
            let all = state.chain(inputs).chain(outputs);
            let wanted: Vec<String> =
                all.map(|(kind, name)| format!("{begin}_{kind}_{}", plain(name))).collect();
            bases.push(names.tell_apart(&wanted, brolga_runtime::BASE_STATE, &["", "_BYTES", "_ELEMENTS"]));
        }
        Macros { entries, state, bases }
    }
}
