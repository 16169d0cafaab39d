//! Objects for C: entry points, compiled ahead of time.

use brolga_codegen::{Object, Options, StateTensor, emit_object};
use brolga_ir::program::Program;
use brolga_runtime::State;

use crate::compile::{Compiler, Lowered};
use crate::error::Result;
use crate::model::{Model, slot_kind};

/// An entry point of an object: its name, and the sizes that it has besides those chosen for the model, such as
/// `[("batch", 1)]`.
pub type ObjectEntry<'a> = (&'a str, &'a [(&'a str, usize)]);

impl Model {
    /// Compiles entry points into one object file with a C header, which has a function for each of them; `symbol` begins all
    /// names. With `weights` their values are part of the object. `targets` say what the object is made for, whatever the
    /// options of the model.
    ///
    /// # Errors
    /// An unknown entry point, what compiling may give, weights of another model, and names that C does not allow.
    pub fn object(
        &self,
        entries: &[ObjectEntry<'_>],
        weights: Option<&State>,
        symbol: &str,
        targets: &[Options],
    ) -> Result<Object> {
        let lowered: Vec<Lowered> =
            entries.iter().map(|(entry, dims)| self.lowered(entry, dims)).collect::<Result<_>>()?;
        let programs: Vec<(&Program, &str)> =
            lowered.iter().zip(entries).map(|(program, (entry, _))| (&**program, *entry)).collect();
        let state: Vec<StateTensor<'_>> = (self.instance().state().iter())
            .map(|slot| StateTensor {
                name: &slot.name,
                kind: slot_kind(slot.kind),
                fresh: slot.constant().unwrap_or(0.0),
            })
            .collect();
        Ok(emit_object(&programs, &state, weights, symbol, targets)?)
    }

    /// The kernel program of an entry point for other sizes.
    pub(crate) fn lowered(&self, entry: &str, dims: &[(&str, usize)]) -> Result<Lowered> {
        let options = self.options_for(entry);
        self.with_graph(entry, &self.dims_with(dims), |graph| {
            let mut compiler = Compiler::new(&options);
            let optimised = compiler.optimise(graph)?;
            compiler.lower(&optimised)
        })
    }
}
