//! The model of each entry point, with the sizes and the weights that were given.

use brolga::passes::Tunings;
use brolga::{Error, Model, ObjectEntry, Result, State, TargetCpu};

use super::args::BuildArgs;
use crate::cli::args::{ModelArgs, PartialArgs, StartArgs};
use crate::cli::files::state;
use crate::cli::tune::tune;

/// Sizes as they are given: those of all entry points, and those of single ones.
pub struct Sizes<'a> {
    all: Vec<(String, usize)>,
    /// For each entry point.
    own: Vec<(&'a str, Vec<(&'a str, usize)>)>,
}

impl<'a> Sizes<'a> {
    pub fn of(args: &'a BuildArgs) -> Result<Sizes<'a>> {
        for (at, entry) in args.entries.iter().enumerate() {
            if args.entries[..at].contains(entry) {
                return Err(Error::Name(format!("--entry has `{entry}` twice")));
            }
        }
        let own = args.entries.iter().map(|entry| (entry.as_str(), Vec::new()));
        let mut sizes = Sizes { all: Vec::new(), own: own.collect() };
        for (name, size) in &args.model.dims {
            let Some((entry, name)) = name.rsplit_once('.') else {
                sizes.all.push((name.clone(), *size));
                continue;
            };
            match sizes.own.iter_mut().find(|(known, _)| *known == entry) {
                Some((_, own)) => own.push((name, *size)),
                None => {
                    let known = args.entries.iter().map(String::as_str);
                    return Err(Error::unknown("entry point in --entry", entry, known));
                }
            }
        }
        Ok(sizes)
    }

    /// The model with the sizes of all entry points.
    pub fn model(&self, args: &BuildArgs) -> Result<Model> {
        let ModelArgs { model, set, .. } = &args.model;
        let own = ModelArgs { model: model.clone(), dims: self.all.clone(), set: set.clone() };
        let target = &args.machine.target;
        own.load(match args.machine.tune {
            Some(_) => target.options()?,
            // Nothing runs here but what draws the state that --weights lacks.
            None => target.options_for(TargetCpu::Native),
        })
    }

    pub fn entries(&self) -> Vec<ObjectEntry<'_>> {
        self.own.iter().map(|(entry, dims)| (*entry, dims.as_slice())).collect()
    }
}

/// The model with the products of all entry points scheduled by measurement.
pub fn tuned(mut model: Model, args: &BuildArgs, sizes: &Sizes<'_>) -> Result<Model> {
    let mut tunings = Tunings::default();
    for (entry, dims) in sizes.entries() {
        if let Some(found) = tune(&mut model, &args.machine, &args.machine.threads()?, entry, dims)? {
            found.tunings.iter().for_each(|(key, tuning)| tunings.set(key, *tuning));
        }
    }
    let mut options = model.options().clone();
    options.passes.tunings = tunings;
    Ok(model.with_options(options))
}

/// The state with the weights that are given, if there are any.
pub fn weights(model: &Model, args: &BuildArgs) -> Result<Option<State>> {
    let Some(weights) = &args.weights else { return Ok(None) };
    let names = PartialArgs { partial: args.names.partial.clone() };
    let fitted = args.fitted.clone();
    state(model, &StartArgs { weights: Some(weights.clone()), names, seed: 0, fitted }).map(Some)
}
