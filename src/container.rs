//! Containers: entry points, compiled into a file that the runtime opens without a compiler.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use brolga_codegen::Options;
use brolga_frontend::FIT;
use brolga_ir::Graph;
use brolga_ir::program::Program;
use brolga_models::data::takes_colour;
use brolga_passes::facts::batch::trains;
use brolga_runtime::container::{About, Code, DataRules, Parts, Training, Values};
use brolga_runtime::{Field, Instance, Manifest, Outline, State, Threads, UpdateBatch, checksum, type_name};

use crate::compile::{Lowered, emit_all};
use crate::error::{Error, Result};
use crate::model::Model;
use crate::object::ObjectEntry;

/// The entry point that draws the state.
const INIT: &str = "init";

/// An entry point of a container: its name, and the sizes that it has besides those chosen for the model.
pub type ContainerEntry = (String, Vec<(String, usize)>);

/// Everything that a container of a model holds. Made by [`Model::container`].
pub struct CompiledModel {
    name: String,
    code: Code,
    state: State,
    values: Values,
    /// For each entry, its prepared values, if they are kept.
    prepared: Vec<Option<Vec<u8>>>,
    about: About,
}

impl CompiledModel {
    /// The container as bytes.
    ///
    /// # Errors
    /// Too little memory.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        self.with_parts(|parts| Ok(parts.to_bytes()?))
    }

    /// Writes the container to a file, atomically.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<()> {
        self.with_parts(|parts| Ok(parts.write(path)?))
    }

    /// A program that carries the container: this launcher, with it.
    ///
    /// # Errors
    /// A launcher that cannot carry it, because it is for another architecture, say.
    #[cfg(feature = "exe")]
    pub fn executable(&self, launcher: &[u8]) -> Result<Vec<u8>> {
        Ok(brolga_launchers::embed(launcher, &self.to_bytes()?)?)
    }

    /// What each entry takes and gives.
    pub fn entries(&self) -> &[Manifest] {
        &self.code.entries
    }

    /// Whether an entry of it trains.
    pub fn trains(&self) -> bool {
        !self.about.training.is_empty()
    }

    /// Whether an entry of it takes pictures in colour.
    pub fn takes_colour(&self) -> bool {
        let inputs = self.code.entries.iter().flat_map(|manifest| &manifest.inputs);
        let mut fields = inputs.map(|input| Field {
            name: input.name.clone(),
            dtype: input.dtype,
            dims: input.dims_of_one(),
        });
        fields.any(|field| takes_colour(&field))
    }

    /// For which sizes each entry is.
    pub fn sizes(&self) -> &[Vec<(String, usize)>] {
        &self.about.sizes
    }

    /// Bytes of the prepared values that are kept.
    pub fn prepared_bytes(&self) -> usize {
        self.prepared.iter().flatten().map(Vec::len).sum()
    }

    fn with_parts<R>(&self, with: impl FnOnce(Parts<'_>) -> Result<R>) -> Result<R> {
        let prepared: Vec<Option<&[u8]>> = self.prepared.iter().map(Option::as_deref).collect();
        with(Parts {
            model: &self.name,
            code: &self.code,
            state: &self.state,
            values: self.values,
            prepared: &prepared,
            about: Some(&self.about),
        })
    }
}

impl Model {
    /// Compiles entry points for a container, for each of the targets; whoever opens it gets the best code that runs there.
    ///
    /// With `weights` their values are part of it: those that files of weights have, and of a container with an entry that
    /// trains all, so that training goes on from them. Without, they are loaded from a file, or drawn by the entry `init`.
    /// `prepared` says whether values that entries prepare from the weights are kept too, so that nobody waits for them; by
    /// default they are where there are weights and nothing trains.
    ///
    /// # Errors
    /// An unknown entry point, or one twice for the same sizes; what compiling may give; weights of another model, and none where
    /// prepared values are to be kept.
    pub fn container(
        &self,
        entries: &[ObjectEntry<'_>],
        weights: Option<&State>,
        prepared: Option<bool>,
        targets: &[Options],
    ) -> Result<CompiledModel> {
        if prepared == Some(true) && weights.is_none() {
            return Err(Error::Name("prepared values are made of weights: give them, too".into()));
        }
        let lowered: Vec<Lowered> =
            entries.iter().map(|(entry, dims)| self.lowered(entry, dims)).collect::<Result<_>>()?;
        let programs: Vec<&Program> = lowered.iter().map(|program| &**program).collect();
        let mut code = brolga_codegen::container(&programs, targets)?;
        for ((entry, dims), manifest) in entries.iter().zip(&mut code.entries) {
            let (inputs, outputs) = self.samples(entry, &self.dims_with(dims), manifest);
            manifest.set_samples(&inputs, &outputs)?;
        }
        let training = self.training(entries);
        let values = match weights {
            None => Values::None,
            Some(_) if training.is_empty() => Values::Weights,
            Some(_) => Values::All,
        };
        let answers = training.is_empty();
        let state = match weights {
            Some(weights) => needed(weights, &code.entries, answers)?,
            None => needed(&self.empty_state()?, &code.entries, answers)?,
        };
        code.entries.iter().try_for_each(|manifest| is_shared(manifest, &state))?;
        let keep = weights.is_some() && prepared.unwrap_or(training.is_empty());
        let prepared = if keep { prepare(&lowered, &code.entries, &state, values)? } else { Vec::new() };
        let own = |dims: &[(&str, usize)]| self.dims_with(dims);
        let about = About {
            classes: self.instance().declared().classes.clone(),
            sizes: entries.iter().map(|(_, dims)| own(dims)).collect(),
            data: self.data_rules(),
            training,
            plan: self.planned(entries),
        };
        Ok(CompiledModel { name: self.name().to_owned(), code, state, values, prepared, about })
    }

    /// These entry points, and all that belong to them where they run without a compiler: to training its metrics, its
    /// evaluation for batches and for single samples, what fits the preparation of data, and `init`; to others their metrics.
    ///
    /// # Errors
    /// An unknown entry point.
    pub fn with_companions(&self, entries: &[ObjectEntry<'_>]) -> Result<Vec<ContainerEntry>> {
        let mut all: Vec<ContainerEntry> = Vec::new();
        let known = |name: &str| self.instance().graph(name).is_some();
        let mut add = |name: &str, dims: &[(&str, usize)]| {
            let own: Vec<(String, usize)> =
                dims.iter().map(|&(name, size)| (name.to_owned(), size)).collect();
            let same = |(of, there): &ContainerEntry| {
                let there: Vec<(&str, usize)> = there.iter().map(|(name, size)| (&**name, *size)).collect();
                of == name && self.dims_with(&there) == self.dims_with(dims)
            };
            if !all.iter().any(same) {
                all.push((name.to_owned(), own));
            }
        };
        let plan = self.plan().unwrap_or_default();
        let planned: Vec<(&str, Vec<(&str, usize)>)> = plan
            .trainees
            .iter()
            .flat_map(|trainee| {
                // Of an entry that is asked for all that the plan has with other settings or batches, and what is measured besides.
                let of = |name: &str| trainee.entry == name || trainee.entry.starts_with(&format!("{name}("));
                let batch = match trainee.batch {
                    Some(UpdateBatch::Samples(samples)) => vec![("batch", samples)],
                    Some(UpdateBatch::All) | None => Vec::new(),
                };
                let is_asked = entries.iter().any(|(name, _)| of(name));
                is_asked.then_some((trainee.entry.as_str(), batch))
            })
            .collect();
        let planned_too = planned.iter().map(|(name, dims)| (*name, &dims[..]));
        for (name, dims) in entries.iter().copied().chain(planned_too) {
            add(name, dims);
            for entry in [(*name).to_owned(), format!("{name}.eval")] {
                let formulas = format!("{entry}.metrics");
                if entry != *name && known(&entry) {
                    add(&entry, dims);
                    self.single(dims).into_iter().for_each(|dims| add(&entry, &dims));
                }
                if known(&formulas) {
                    add(&formulas, dims);
                }
            }
        }
        for measure in plan.trainees.iter().flat_map(|trainee| &trainee.measures) {
            let evaluation = format!("{measure}.eval");
            if planned.is_empty() || !known(&evaluation) {
                continue;
            }
            add(&evaluation, &[]);
            self.single(&[]).into_iter().for_each(|dims| add(&evaluation, &dims));
            let formulas = format!("{evaluation}.metrics");
            if known(&formulas) {
                add(&formulas, &[]);
            }
        }
        for (name, _) in entries {
            if *name == INIT || !trains(self.built(name)?) {
                continue;
            }
            if known(FIT) {
                add(FIT, &self.single(&[]).unwrap_or_default());
            }
            add(INIT, &[]);
        }
        Ok(all)
    }

    /// These sizes with a batch of one sample; nothing where there is no size `batch`, it is 1 already, or the state would be another.
    pub fn single<'a>(&self, dims: &[(&'a str, usize)]) -> Option<Vec<(&'a str, usize)>> {
        let all = self.dims_with(dims);
        let batch = all.iter().find(|(name, _)| name == "batch").map(|(_, size)| *size);
        batch.filter(|&size| size != 1 && self.shares_state_with_single())?;
        let others = dims.iter().filter(|(name, _)| *name != "batch").copied();
        Some(others.chain([("batch", 1)]).collect())
    }

    /// How data is read for it.
    fn data_rules(&self) -> DataRules {
        let options = self.data_options(0);
        DataRules {
            set: self.instance().data().map(str::to_owned),
            held_out: options.held_out.to_string(),
            target: options.target,
            columns: options.columns,
            others: options.others,
            tables: self.tables(),
        }
    }

    /// The plan, if all its entries are among these.
    fn planned(&self, entries: &[ObjectEntry<'_>]) -> Outline {
        let is_there = |entry: &String| entries.iter().any(|(name, _)| name == entry);
        let whole = |plan: &Outline| plan.trainees.iter().all(|trainee| is_there(&trainee.entry));
        self.plan().filter(whole).unwrap_or_default()
    }

    /// What is known of each of these entries that trains.
    fn training(&self, entries: &[ObjectEntry<'_>]) -> Vec<Training> {
        let graph = |name: &str| self.instance().graph(name);
        let trained = |name: &str| name != INIT && graph(name).is_some_and(trains);
        let of = |name: &str| Training {
            entry: name.to_owned(),
            decides: self.decides(name),
            explains: self.explains(),
            notes: self.instance().notes(name).map(str::to_owned).collect(),
        };
        entries.iter().filter(|(name, _)| trained(name)).map(|(name, _)| of(name)).collect()
    }

    /// What of the model decides the bits of training with an entry point, as checkpoints have it.
    pub fn decides(&self, entry: &str) -> Vec<(String, String)> {
        let sum = |graph: &Graph| checksum(graph.to_string().as_bytes());
        let graphs = [entry.to_owned(), format!("{entry}.eval")].into_iter().filter_map(|name| {
            let graph = self.instance().graph(&name)?;
            Some((format!("checksum of the graph `{name}`"), sum(graph)))
        });
        let passes = &self.options().passes;
        let chosen =
            [("algorithms", passes.algorithms.to_string()), ("precision", passes.precision.to_string())];
        graphs.chain(chosen.map(|(name, value)| (name.to_owned(), value))).collect()
    }

    /// What of the model explains why bits differ, as checkpoints have it.
    pub fn explains(&self) -> Vec<(String, String)> {
        let dims = self.instance().dims().iter();
        let dims = dims.map(|(name, size)| (format!("size {name}"), size.to_string()));
        let version = ("brolga".to_owned(), env!("CARGO_PKG_VERSION").to_owned());
        dims.chain([version, ("model".to_owned(), self.name().to_owned())]).collect()
    }
}

/// The state that a container has: all of it where something trains; else what its entries use, and what files of weights have.
/// Whoever opens it needs no memory for an optimiser then.
fn needed(state: &State, entries: &[Manifest], answers: bool) -> Result<State> {
    let used: HashSet<&str> =
        entries.iter().flat_map(|manifest| &manifest.state).map(|slot| slot.name.as_str()).collect();
    let mut needed = State::new();
    needed.set_record(state.record().clone());
    for slot in state.slots() {
        if !answers || slot.kind().is_saved() || used.contains(slot.name()) {
            needed.insert(slot.name(), slot.kind(), slot.tensor().try_clone()?)?;
        }
    }
    Ok(needed)
}

/// An error if an entry has a slot of the state in another shape: a container has one state for all.
fn is_shared(manifest: &Manifest, state: &State) -> Result<()> {
    for slot in &manifest.state {
        let found = state.get(&slot.name)?;
        if found.dims() != slot.dims {
            let (name, entry) = (&slot.name, &manifest.entry);
            let (own, all) = (type_name(slot.dtype, &slot.dims), type_name(found.dtype(), found.dims()));
            return Err(Error::Name(format!(
                "the state `{name}` is {own} in `{entry}`, but {all} for the sizes of the model: its shape depends on them, and \
                 all entry points share it; choose one size for all, such as --dim batch=8"
            )));
        }
    }
    Ok(())
}

/// For each entry what it prepares from a state, of which a container keeps these values. It is made here: code for all targets
/// prepares the same. An entry that uses what is not kept has none.
fn prepare(
    lowered: &[Lowered],
    manifests: &[Manifest],
    state: &State,
    values: Values,
) -> Result<Vec<Option<Vec<u8>>>> {
    let is_kept = |name: &str| {
        let slot = state.slots().iter().find(|slot| slot.name() == name);
        slot.is_some_and(|slot| values.keeps(slot.kind()))
    };
    let prepares = |manifest: &Manifest| {
        manifest.prepared_bytes > 0 && manifest.state.iter().all(|slot| is_kept(&slot.name))
    };
    let chosen: Vec<bool> = manifests.iter().map(prepares).collect();
    let programs: Vec<&Lowered> =
        lowered.iter().zip(&chosen).filter(|(_, chosen)| **chosen).map(|(program, _)| program).collect();
    if programs.is_empty() {
        return Ok(Vec::new());
    }
    let mut compiled = emit_all(&programs, &Options::default())?.into_iter();
    let threads = Threads::available()?;
    let of = |(chosen, manifest): (&bool, &Manifest)| -> Result<Option<Vec<u8>>> {
        let Some(one) = chosen.then(|| compiled.next()).flatten() else { return Ok(None) };
        let mut instance = Instance::bind(Arc::new(one.executable), state, &threads)?;
        let prepared = instance.prepared(state)?;
        // The same layout whatever the processor, or the container would be wrong.
        if prepared.len() != manifest.prepared_bytes {
            let entry = &manifest.entry;
            return Err(Error::Compile(format!("`{entry}` prepares other values here; please report it")));
        }
        Ok(Some(prepared.to_vec()))
    };
    chosen.iter().zip(manifests).map(of).collect()
}
