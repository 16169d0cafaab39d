//! Objects for C: entry points, compiled ahead of time.

use brolga_codegen::{Object, ObjectRequest, Options, StateTensor, emit_object, emit_shared, emit_static};
use brolga_ir::Graph;
use brolga_ir::ops::Role;
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
    /// names, and behind that of an entry point that trains stands `_step`. With `weights` their values are part of the
    /// object. `targets` say what the object is made for, whatever the options of the model.
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
        self.emitted(entries, |model| emit_object(&ObjectRequest { weights, symbol, targets, ..model }))
    }

    /// As [`object`](Model::object), for a static library ([`Object::archive`]), whose header is that of the
    /// [`shared`](Model::shared_library) one.
    ///
    /// # Errors
    /// As for [`object`](Model::object).
    pub fn static_library(
        &self,
        entries: &[ObjectEntry<'_>],
        weights: Option<&State>,
        symbol: &str,
        targets: &[Options],
    ) -> Result<Object> {
        self.emitted(entries, |model| emit_static(&ObjectRequest { weights, symbol, targets, ..model }))
    }

    /// As [`object`](Model::object), but what comes out is a shared library, which programs linked with it ask for by the name
    /// `soname`, such as `libnet.so`. No linker has to be there.
    ///
    /// # Errors
    /// As for [`object`](Model::object); a target whose system has other libraries than those of ELF.
    pub fn shared_library(
        &self,
        entries: &[ObjectEntry<'_>],
        weights: Option<&State>,
        symbol: &str,
        soname: &str,
        targets: &[Options],
    ) -> Result<Object> {
        self.emitted(entries, |model| {
            emit_shared(&ObjectRequest { weights, symbol, targets, ..model }, soname)
        })
    }

    /// What is made of the model's part of a request: programs, with the names of their functions in C, and the tensors of the
    /// state.
    fn emitted(
        &self,
        entries: &[ObjectEntry<'_>],
        emit: impl FnOnce(ObjectRequest<'_>) -> std::result::Result<Object, brolga_codegen::Error>,
    ) -> Result<Object> {
        let lowered: Vec<Lowered> =
            entries.iter().map(|(entry, dims)| self.lowered(entry, dims)).collect::<Result<_>>()?;
        let names: Vec<String> = entries.iter().map(|(entry, _)| self.name_in_c(entry)).collect();
        let programs: Vec<(&Program, &str)> =
            lowered.iter().zip(&names).map(|(program, name)| (&**program, name.as_str())).collect();
        let state: Vec<StateTensor<'_>> = (self.instance().state().iter())
            .map(|slot| StateTensor {
                name: &slot.name,
                kind: slot_kind(slot.kind),
                fresh: slot.constant().unwrap_or(0.0),
            })
            .collect();
        Ok(emit(ObjectRequest { entries: &programs, state: &state, ..ObjectRequest::default() })?)
    }

    /// The name of an entry point in C: one that trains makes a step.
    fn name_in_c(&self, entry: &str) -> String {
        let trains = |graph: &Graph| graph.outputs().iter().any(|output| output.role == Role::State);
        let steps = entry != "init" && self.instance().graph(entry).is_some_and(trains);
        if steps && !entry.ends_with("step") { format!("{entry}_step") } else { entry.to_owned() }
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
