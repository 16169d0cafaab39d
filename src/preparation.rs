//! What prepares data inside of a model: fitting it before training, and what it is now.

use std::collections::BTreeSet;

use brolga_frontend::{FIT, PhaseBatch, PhaseLength, SplitRule};
use brolga_ir::ops::Role;
use brolga_models::data::{HeldOut, Options};
use brolga_runtime::{
    Batches, Length, Outline, Outlined, Phase, State, Threads, UpdateBatch, fit, set_tables,
};

use crate::error::Result;
use crate::model::Model;

impl Model {
    /// Fits what prepares the data (`prepare` in the model's `data`) to the training part of a data set, and sets the states that
    /// begin as its tables, once before training; nothing where the model has nothing to fit.
    ///
    /// # Errors
    /// Data that do not fit the inputs, or with values that are not finite; a table that is not there, or of another shape.
    pub fn fit(&self, state: &mut State, threads: &Threads, data: &mut dyn Batches) -> Result<()> {
        set_tables(state, &self.tables(), data)?;
        if self.instance().graph(FIT).is_none() {
            return Ok(());
        }
        let symbolic = self.instance().dims().iter().any(|(name, _)| name == "batch");
        // One by one, so that no sample is left out.
        let dims: &[(&str, usize)] = if symbolic { &[("batch", 1)] } else { &[] };
        Ok(fit(&self.compile_for(FIT, dims)?, state, threads, data)?)
    }

    /// The plan that it is trained by, if its file has one.
    pub fn plan(&self) -> Option<Outline> {
        let plan = self.instance().plan();
        let batch = |batch| match batch {
            PhaseBatch::Samples(samples) => UpdateBatch::Samples(samples),
            PhaseBatch::All => UpdateBatch::All,
        };
        let trainees = plan.trained.iter().map(|trained| Outlined {
            entry: trained.entry.clone(),
            data: trained.data.clone(),
            batch: trained.batch.map(batch),
            measures: trained.measures.clone(),
        });
        let phases = plan.phases.iter().map(|phase| Phase {
            trainee: phase.trained,
            length: match phase.length {
                PhaseLength::Epochs(epochs) => Length::Epochs(epochs),
                PhaseLength::Updates(updates) => Length::Updates(updates),
            },
        });
        let outline = Outline { trainees: trainees.collect(), phases: phases.collect() };
        (!outline.phases.is_empty()).then_some(outline)
    }

    /// How a data set is read for this model: its classes, split, target and columns as the model's `data` says; of folds
    /// the first is held out.
    pub fn data_options(&self, seed: u64) -> Options {
        let declared = self.instance().declared().clone();
        let held_out = match declared.split {
            None => HeldOut::Default,
            Some(SplitRule::Holdout { fraction, stratified }) => HeldOut::Fraction { fraction, stratified },
            Some(SplitRule::Folds { count, stratified }) => {
                HeldOut::Fold { number: 0, of: count, stratified }
            }
        };
        Options {
            seed,
            held_out,
            classes: declared.classes,
            vocabularies: Vec::new(),
            target: declared.target,
            unlabelled: false,
            columns: declared.columns,
            others: self.single_inputs(),
            tables: self.tables().into_iter().map(|(_, table)| table).collect(),
        }
    }

    /// The states that begin as tables of the data set (`init: Data("node")`), each with the table's name.
    pub fn tables(&self) -> Vec<(String, String)> {
        let slots = self.instance().state().iter();
        slots.filter_map(|slot| Some((slot.name.clone(), slot.table()?.to_owned()))).collect()
    }

    /// The inputs of one number a sample, whichever entry points take them.
    fn single_inputs(&self) -> Vec<String> {
        let instance = self.instance();
        let graphs = instance.entries().into_iter().filter_map(|entry| instance.graph(entry));
        let inputs =
            graphs.flat_map(|graph| graph.parameters().iter().filter_map(move |&id| graph.parameter(id)));
        let singles = inputs.filter(|input| {
            let batch = instance.input_axis(&input.name, "batch");
            let is_one = |(axis, &extent): (usize, &usize)| extent == 1 || Some(axis) == batch;
            input.role == Role::Data && batch.is_some() && input.ty.dims.iter().enumerate().all(is_one)
        });
        let names: BTreeSet<String> = singles.map(|input| input.name.clone()).collect();
        names.into_iter().collect()
    }
}
