//! A model that is compiled as it is asked, for what the command does with compiled models.

use std::sync::Arc;

use brolga::frontend::Samples;
use brolga::ir::ops::{Parameter, Role};
use brolga::models::data;
use brolga::passes::facts::batch::trains;
use brolga::runtime::{DType, Evaluation, Executable, Field, Fingerprint, Outline};
use brolga::{Error, Model, Result, State, Threads};
use brolga_command::Compiled;

use super::args::{MachineArgs, ModelArgs};
use super::tune::tune;

/// A model, and how it is compiled.
pub struct Jit<'a> {
    pub model: Model,
    pub args: &'a ModelArgs,
    pub machine: &'a MachineArgs,
    pub threads: &'a Threads,
}

/// The entry points of a model that train.
pub fn training(model: &Model) -> Vec<&str> {
    let instance = model.instance();
    let trained = |name: &&str| *name != "init" && instance.graph(name).is_some_and(trains);
    instance.entries().into_iter().filter(trained).collect()
}

impl Compiled for Jit<'_> {
    type Error = Error;

    fn name(&self) -> &str {
        self.model.name()
    }

    fn declared_classes(&self) -> &[String] {
        &self.model.instance().declared().classes
    }

    fn data(&self) -> Option<&str> {
        self.model.instance().data()
    }

    fn data_options(&self, seed: u64) -> data::Options {
        self.model.data_options(seed)
    }

    fn tables(&self) -> Vec<(String, String)> {
        self.model.tables()
    }

    fn has(&self, entry: &str) -> bool {
        self.model.instance().graph(entry).is_some()
    }

    fn training(&self) -> Vec<&str> {
        training(&self.model)
    }

    fn plan(&self) -> Option<Outline> {
        self.model.plan()
    }

    fn fields(&self, entry: &str) -> Result<Vec<Field>> {
        let graph = self.model.built(entry)?;
        let inputs = graph.parameters().iter().filter_map(|&id| graph.parameter(id));
        let inputs = inputs.filter(|input| input.role == Role::Data);
        let field = |input: &Parameter| {
            let mut dims = input.ty.dims.clone();
            let axis = match self.model.instance().input_samples(&input.name) {
                Samples::Along(axis) => axis,
                Samples::Same | Samples::Together => 0,
            };
            if axis < dims.len() {
                dims.remove(axis);
            }
            Some(Field { name: input.name.clone(), dtype: DType::from_name(input.ty.dtype.name())?, dims })
        };
        Ok(inputs.filter_map(field).collect())
    }

    fn notes(&self, entry: &str) -> Vec<String> {
        self.model.instance().notes(entry).map(str::to_owned).collect()
    }

    fn has_batch(&self) -> bool {
        self.model.instance().dims().iter().any(|(name, _)| name == "batch")
    }

    fn executable(&self, entry: &str, batch: Option<usize>) -> Result<Arc<Executable>> {
        match batch.filter(|_| self.has_batch()) {
            Some(batch) => self.model.compile_for(entry, &[("batch", batch)]),
            None => self.model.compile(entry),
        }
    }

    fn evaluation(&self, entry: &str, samples: usize) -> Result<Option<Evaluation>> {
        self.model.evaluation(entry, samples)
    }

    fn fresh(&self, seed: i64) -> Result<State> {
        self.model.initial_state(seed)
    }

    fn fingerprint(&self, entry: &str) -> Fingerprint {
        let shown = [
            ("model", self.args.model.clone()),
            ("model file", self.model.parsed().source().text.to_string()),
        ];
        let shown = shown.into_iter().map(|(name, value)| (name.to_owned(), value));
        let set = self.args.set.iter().map(|(name, value)| (format!("--set {name}"), value.clone()));
        let known = self.model.explains().into_iter().filter(|(name, _)| name != "model");
        let explains = set.chain(known).chain(shown).collect();
        Fingerprint { decides: self.model.decides(entry), explains }
    }

    fn tuned(&mut self, entry: &str) -> Result<bool> {
        Ok(tune(&mut self.model, self.machine, self.threads, entry, &[])?.is_some())
    }
}
