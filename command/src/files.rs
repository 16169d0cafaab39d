//! Tensors from files, matched with an entry point, and the state that a call starts from.

use std::collections::HashMap;
use std::path::Path;

use brolga_runtime::{
    DType, Error, ErrorKind, Input, LoadReport, Others, Result, Shown, SlotKind, State, Tensor, counted,
    fitted, read_tensors_and_others, sorted, type_name,
};

use crate::compiled::{Compiled, Of};
use crate::refused;

/// A file of inputs, which is read once, when it is first needed.
#[derive(Debug)]
pub struct InputFile<'p> {
    path: &'p Path,
    tensors: Option<HashMap<String, Tensor>>,
    /// What it has besides.
    others: Others,
}

impl<'p> InputFile<'p> {
    /// A file that is not read yet.
    pub fn new(path: &'p Path) -> InputFile<'p> {
        InputFile { path, tensors: None, others: Others::new() }
    }

    /// Tensors that were read before, and what they are called in messages.
    pub fn of(path: &'p Path, tensors: Vec<(String, Tensor)>) -> InputFile<'p> {
        InputFile { path, tensors: Some(tensors.into_iter().collect()), others: Others::new() }
    }

    /// Where it is.
    pub fn path(&self) -> &'p Path {
        self.path
    }

    /// What is in it, by name.
    ///
    /// # Errors
    /// Those of [`read_tensors_and_others`].
    pub fn tensors(&mut self) -> Result<&mut HashMap<String, Tensor>> {
        let tensors = match self.tensors.take() {
            Some(tensors) => tensors,
            None => {
                let (tensors, others) = read_tensors_and_others(self.path)?;
                self.others = others;
                tensors.into_iter().collect()
            }
        };
        Ok(self.tensors.insert(tensors))
    }
}

impl InputFile<'_> {
    /// Takes the array of a `.npy` for the one input of an entry point, whatever the file is called.
    ///
    /// # Errors
    /// Those of [`tensors`](InputFile::tensors).
    pub fn take_for(&mut self, input: &str) -> Result<()> {
        let one = self.path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("npy"));
        let tensors = self.tensors()?;
        if one && tensors.len() == 1 && !tensors.contains_key(input) {
            let own = std::mem::take(tensors).into_values();
            tensors.extend(own.map(|tensor| (input.to_owned(), tensor)));
        }
        Ok(())
    }
}

/// Reads the inputs of an entry point by name. Types and shapes are converted as [`Tensor::for_input`] says; what the entry
/// does not take is passed over with a notice. An entry without inputs needs no file.
///
/// # Errors
/// A file that cannot be read, lacks a tensor or has one of another shape; no file for an entry with inputs.
pub fn read_inputs(file: Option<InputFile<'_>>, inputs: &[Input]) -> Result<Vec<(String, Tensor)>> {
    let Some(mut file) = file else {
        let needed =
            inputs.iter().map(|input| format!("`{}`, {}", input.name, type_name(input.dtype, &input.dims)));
        let needed: Vec<String> = needed.collect();
        return match needed.is_empty() {
            true => Ok(Vec::new()),
            false => Err(refused(format!("--inputs is missing: a file with {}", needed.join(", ")))),
        };
    };
    let path = file.path;
    if let [input] = inputs {
        file.take_for(&input.name)?;
    }
    file.tensors()?;
    let others = std::mem::take(&mut file.others);
    let tensors = file.tensors()?;
    let has: Vec<String> = tensors.keys().map(|name| format!("`{name}`")).collect();
    let has = sorted(has, String::cmp);
    let mut found = Vec::new();
    for input in inputs {
        let Some(tensor) = tensors.remove(&input.name) else {
            if let Some((_, why)) = others.into_iter().find(|(name, _)| *name == input.name) {
                return Err(why);
            }
            let message = format!(
                "`{}` has no tensor `{}`, which must be {}; it has {}",
                path.shown(),
                input.name,
                type_name(input.dtype, &input.dims),
                if has.is_empty() { "none".to_owned() } else { has.join(", ") }
            );
            return Err(Error::new(ErrorKind::Name, message));
        };
        note_bytes(input, &tensor);
        let tensor = tensor.for_input(input.dtype, &input.dims);
        let tensor = tensor.map_err(|e| e.within(format!("input `{}`", input.name)))?;
        found.push((input.name.clone(), tensor));
    }
    for name in sorted(tensors.keys().cloned().collect(), String::cmp) {
        errln!("note: `{name}` of `{}` is not used", path.shown());
    }
    Ok(found)
}

/// Says where an image is given as bytes: they are taken as they are, while pictures are read from 0 to 1.
fn note_bytes(input: &Input, tensor: &Tensor) {
    let is_image = input.dims.len() > 2 && matches!(input.dtype, DType::F32 | DType::F64);
    if !is_image || tensor.dtype() != DType::U8 {
        return;
    }
    let most = tensor.bytes().iter().copied().max().unwrap_or(0);
    if most > 1 {
        errln!(
            "note: `{}` has bytes of up to {most}, which are taken as they are; pictures are read from 0 to 1: if the model was \
             trained on those, divide by 255",
            input.name
        );
    }
}

/// How many samples a file has for an entry point: as many as the first input with an axis of samples that is there; nothing
/// where none is, or it has other axes.
///
/// # Errors
/// A file that cannot be read; no samples.
pub(crate) fn samples_of(file: &mut InputFile<'_>, inputs: &[Input]) -> Result<Option<usize>> {
    let path = file.path;
    if let [input] = inputs {
        file.take_for(&input.name)?;
    }
    let tensors = &*file.tensors()?;
    let samples = |input: &Input, tensor: &Tensor| {
        let (axis, mut dims) = (input.samples.axis()?, input.dims.clone());
        let count = *tensor.dims().get(axis)?;
        *dims.get_mut(axis)? = count;
        (tensor.dims().len() == dims.len() || tensor.fits(&dims)).then_some(count)
    };
    let given = inputs.iter().filter_map(|input| Some((input, tensors.get(&input.name)?)));
    let mut given = given.filter_map(|(input, tensor)| Some((input, tensor, samples(input, tensor)?)));
    match given.next() {
        Some((input, tensor, 0)) => {
            let (name, ty) = (&input.name, tensor.type_found());
            Err(Error::new(ErrorKind::Data, format!("`{}` has no samples: `{name}` is {ty}", path.shown())))
        }
        found => Ok(found.map(|(_, _, samples)| samples)),
    }
}

/// Inputs of an entry point, as one for so many samples takes them.
pub(crate) fn inputs_for(inputs: &[Input], samples: usize) -> Vec<Input> {
    let of = |input: &Input| {
        let mut input = input.clone();
        if let Some(extent) = input.samples.axis().and_then(|axis| input.dims.get_mut(axis)) {
            *extent = samples;
        }
        input
    };
    inputs.iter().map(of).collect()
}

/// Loads weights or a training state; partially if asked for, with a notice of what was left out, but for the names in `given`.
pub(crate) fn load(
    state: &mut State,
    path: &Path,
    partial: &[Prefix],
    given: &[String],
) -> Result<LoadReport> {
    if partial.is_empty() {
        return state.load(path);
    }
    let prefixes: Vec<_> = partial.iter().filter_map(|prefix| prefix.0.clone()).collect();
    let report = state.load_partial(path, &prefixes)?;
    note_partial(state, path, &report, given);
    Ok(report)
}

/// What partial loading took and left out: weights by name, parts of the optimiser by number.
fn note_partial(state: &State, path: &Path, report: &LoadReport, given: &[String]) {
    let file = path.shown();
    let is_saved = |name: &&String| {
        let slot = state.slots().iter().find(|slot| slot.name() == name.as_str());
        slot.is_some_and(|slot| slot.kind().is_saved())
    };
    let used = counted(report.used.len() as u64, "tensor");
    errln!("note: takes {used} of `{file}`");
    let (fresh, others): (Vec<&String>, Vec<&String>) = report.kept.iter().partition(is_saved);
    let fresh: Vec<&String> = fresh.into_iter().filter(|name| !given.contains(name)).collect();
    let unused: Vec<&String> = report.unused.iter().collect();
    for (what, names) in [("are not used", unused), ("are not in it and stay fresh", fresh)] {
        if !names.is_empty() {
            let list: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
            errln!("note: {} {what}: {}", names.len(), list.join(", "));
        }
    }
    if !others.is_empty() {
        errln!("note: {} parts of the training state are not in it and start fresh", others.len());
    }
}

/// Names of what is fitted to data and was not in the file.
pub(crate) fn unfitted(state: &State, report: &LoadReport) -> Vec<String> {
    let fitted: Vec<&str> = fitted(state).into_iter().map(|(name, _)| name).collect();
    report.kept.iter().filter(|name| fitted.contains(&name.as_str())).cloned().collect()
}

/// The state that a fitted value is, by its name with or without `data.`.
fn fitted_name(state: &State, name: &str) -> Result<String> {
    let known: Vec<&str> = fitted(state).into_iter().map(|(name, _)| name).collect();
    let full = known.iter().find(|known| **known == name || known.strip_prefix("data.") == Some(name));
    full.map(|&full| full.to_owned()).ok_or_else(|| Error::unknown("fitted value", name, known))
}

/// Sets what is fitted to data: one number for all places, or one for each.
fn set_fitted(state: &mut State, full: &str, numbers: &str) -> Result<()> {
    let values: std::result::Result<Vec<f64>, _> = numbers.split(',').map(|n| n.trim().parse()).collect();
    let mut slot = state.get_mut(full)?;
    let count: usize = slot.dims().iter().product();
    let values = values.ok().filter(|v| [1, count].contains(&v.len()));
    let dtype = slot.dtype();
    let kept = |value: f64| if dtype == DType::F64 { value } else { f64::from(value as f32) };
    let good = |value: &f64| kept(*value).is_finite() && (kept(*value) > 0.0 || !full.ends_with(".std"));
    let Some(values) = values.filter(|values| values.iter().all(good)) else {
        let above = if full.ends_with(".std") { " above 0" } else { "" };
        let each = if count == 1 { String::new() } else { format!(", or {count} separated by commas") };
        return Err(refused(format!("`{full}` takes one number{above}{each}, found `{numbers}`")));
    };
    let value = |i: usize| values[i.min(values.len() - 1)];
    match slot.dtype() {
        DType::F64 => slot.as_mut_slice::<f64>()?.iter_mut().enumerate().for_each(|(i, v)| *v = value(i)),
        _ => slot.as_mut_slice::<f32>()?.iter_mut().enumerate().for_each(|(i, v)| *v = value(i) as f32),
    }
    Ok(())
}

/// What weights without fitted values mean.
fn note_unfitted(path: &Path, names: &[String]) {
    let Some(first) = names.first() else { return };
    errln!(
        "note: `{}` has no {}: data are taken as they are. If the weights were trained on standardised data, say by what, \
         such as --fitted {first}=0.5",
        path.shown(),
        names.join(", "),
    );
}

/// A pair of prefixes for partial loading: names in a file that begin with the first begin with the second in the model. Or none.
#[derive(Clone, Debug)]
pub struct Prefix(pub Option<(String, String)>);

/// The state that a call starts from, as it is asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Start<'a> {
    /// Weights or a training state.
    pub weights: Option<&'a Path>,
    /// Which of them are taken; empty for all.
    pub partial: &'a [Prefix],
    /// Draws the weights where none are given, and the model's random numbers.
    pub seed: i64,
    /// What preparation is fitted to where the weights do not say it: names, and numbers as text.
    pub fitted: &'a [(String, String)],
}

/// The state from a file, the one that comes with the model, or a fresh one.
///
/// # Errors
/// Those of [`started`], and what drawing a fresh one may give.
pub(crate) fn state<M: Compiled>(model: &mut M, start: &Start<'_>) -> Of<M, State> {
    let own = if start.weights.is_none() { model.take_state() } else { None };
    let is_fresh = own.is_none();
    let state = match own {
        Some(own) => own,
        None if start.weights.is_some() && start.partial.is_empty() => model.blank(start.seed)?,
        None => model.fresh(start.seed)?,
    };
    Ok(started(state, is_fresh, start)?)
}

/// A state that comes with the model, with the key of the random numbers where no update was made yet: as if its weights had been
/// loaded into a fresh one.
pub(crate) fn seeded(mut state: State, seed: i64) -> Result<State> {
    let of = |state: &State, kind| -> Vec<String> {
        let slots = state.slots().iter().filter(|slot| slot.kind() == kind);
        slots.map(|slot| slot.name().to_owned()).collect()
    };
    let begun = of(&state, SlotKind::Step);
    let begun = begun.iter().map(|name| state.get(name)?.item()).collect::<Result<Vec<f64>>>()?;
    if begun.iter().all(|steps| *steps == 0.0) {
        for name in of(&state, SlotKind::Seed) {
            state.set(&name, Tensor::scalar(seed)?)?;
        }
    }
    Ok(state)
}

/// A state with what is asked for on top: weights from a file, fitted values. It says so where there are none, and the state is
/// fresh.
///
/// # Errors
/// Those of loading; fitted values that are unknown, or in the file already.
pub fn started(mut state: State, is_fresh: bool, start: &Start<'_>) -> Result<State> {
    let given = start.fitted.iter().map(|(name, _)| fitted_name(&state, name)).collect::<Result<Vec<_>>>()?;
    match start.weights {
        Some(path) => {
            let report = load(&mut state, path, start.partial, &given)?;
            if let Some(name) = given.iter().find(|name| report.used.contains(name)) {
                let message =
                    format!("--fitted is for what weights do not know, and `{}` has `{name}`", path.shown());
                return Err(refused(message));
            }
            let unfitted = unfitted(&state, &report);
            let names: Vec<String> = unfitted.into_iter().filter(|name| !given.contains(name)).collect();
            note_unfitted(path, &names);
        }
        None if is_fresh && !state.is_empty() => {
            errln!("note: no --weights given: fresh weights, drawn by seed {}", start.seed);
        }
        None => {}
    }
    for (name, (_, numbers)) in given.iter().zip(start.fitted) {
        set_fitted(&mut state, name, numbers)?;
    }
    Ok(state)
}
