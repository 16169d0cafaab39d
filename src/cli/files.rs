//! Tensors from and to files, matched with an entry point.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::path::Path;

use brolga::ir::Graph;
use brolga::ir::ops::{Parameter, Role};
use brolga::ir::program::Program;
use brolga::runtime::{
    self, DType, ErrorKind, Input, LoadReport, MAX_TEXT, Shown, counted, read_regular, type_name,
    write_atomically,
};
use brolga::{Error, Model, Result, State, Tensor, fitted};

use super::args::{Prefix, StartArgs};

/// A file of inputs, which is read once, when it is first needed.
pub struct InputFile<'p> {
    path: &'p Path,
    tensors: Option<HashMap<String, Tensor>>,
}

impl<'p> InputFile<'p> {
    pub fn new(path: &'p Path) -> InputFile<'p> {
        InputFile { path, tensors: None }
    }

    fn tensors(&mut self) -> Result<&mut HashMap<String, Tensor>> {
        let tensors = match self.tensors.take() {
            Some(tensors) => tensors,
            None => runtime::read_tensors(self.path)?.into_iter().collect(),
        };
        Ok(self.tensors.insert(tensors))
    }
}

/// Reads the inputs of an entry point by name. Types and shapes are converted as [`Tensor::for_input`] says; what the entry
/// does not take is passed over with a notice. An entry without inputs needs no file.
pub fn read_inputs(file: Option<InputFile<'_>>, inputs: &[Input]) -> Result<Vec<(String, Tensor)>> {
    let Some(mut file) = file else {
        let needed =
            inputs.iter().map(|input| format!("`{}`, {}", input.name, type_name(input.dtype, &input.dims)));
        let needed: Vec<String> = needed.collect();
        return match needed.is_empty() {
            true => Ok(Vec::new()),
            false => Err(Error::Name(format!("--inputs is missing: a file with {}", needed.join(", ")))),
        };
    };
    let path = file.path;
    let tensors = file.tensors()?;
    let mut has: Vec<String> = tensors.keys().map(|name| format!("`{name}`")).collect();
    has.sort_unstable();
    let mut found = Vec::new();
    for input in inputs {
        let Some(tensor) = tensors.remove(&input.name) else {
            let message = format!(
                "`{}` has no tensor `{}`, which must be {}; it has {}",
                path.shown(),
                input.name,
                type_name(input.dtype, &input.dims),
                if has.is_empty() { "none".to_owned() } else { has.join(", ") }
            );
            return Err(runtime::Error::new(ErrorKind::Name, message).into());
        };
        let tensor = tensor.for_input(input.dtype, &input.dims);
        let tensor = tensor.map_err(|e| e.within(format!("input `{}`", input.name)))?;
        found.push((input.name.clone(), tensor));
    }
    let mut unused: Vec<&String> = tensors.keys().collect();
    unused.sort_unstable();
    for name in unused {
        errln!("note: `{name}` of `{}` is not used", path.shown());
    }
    Ok(found)
}

/// The model whose entry point fits its inputs: `batch` becomes what it is in the file, unless it was given; in the state too,
/// where the shape of a parameter depends on it.
pub fn fitting(
    model: Model,
    given: &[(String, usize)],
    entry: &str,
    file: Option<&mut InputFile<'_>>,
) -> Result<Model> {
    let Some(file) = file else { return Ok(model) };
    let known = model.instance().dims().iter().any(|(name, _)| name == "batch");
    if !known || given.iter().any(|(name, _)| name == "batch") {
        return Ok(model);
    }
    let graph = model.graph(entry)?;
    let inputs = graph.parameters().iter().filter_map(|&id| graph.parameter(id));
    let inputs = inputs.filter(|input| input.role == Role::Data);
    let axes: Vec<(&Parameter, usize)> = inputs
        .filter_map(|input| Some((input, model.instance().input_axis(&input.name, "batch")?)))
        .collect();
    if axes.is_empty() {
        return Ok(model);
    }
    let path = file.path;
    let tensors = &*file.tensors()?;
    let given = || axes.iter().filter_map(|&(input, axis)| Some((input, axis, tensors.get(&input.name)?)));
    // A tensor of more or fewer axes says nothing of the batch, unless it fits with it.
    let extent = |input: &Parameter, axis: usize, tensor: &Tensor| {
        let (extent, mut dims) = (*tensor.dims().get(axis)?, input.ty.dims.clone());
        dims[axis] = extent;
        (tensor.dims().len() == dims.len() || tensor.fits(&dims)).then_some(extent)
    };
    let mut found = given();
    let found =
        found.find_map(|(input, axis, tensor)| Some((&input.name, tensor, extent(input, axis, tensor)?)));
    match found {
        None => {
            let Some((input, axis, tensor)) = given().next() else { return Ok(model) };
            let size = |(at, extent): (usize, &usize)| {
                if at == axis { "batch".to_owned() } else { extent.to_string() }
            };
            let sizes: Vec<String> = input.ty.dims.iter().enumerate().map(size).collect();
            let expected = format!("{}[{}]", input.ty.dtype, sizes.join(", "));
            let (name, path, ty) = (&input.name, path.shown(), tensor.type_found());
            let message = format!("`{name}` must be {expected}, but `{path}` has {ty}");
            Err(runtime::Error::new(ErrorKind::Shape, message).into())
        }
        Some((name, tensor, 0)) => {
            let ty = tensor.type_found();
            let message = format!("`{}` has no samples: `{name}` is {ty}", path.shown());
            Err(runtime::Error::new(ErrorKind::Data, message).into())
        }
        Some((_, _, batch)) => model.with_dims(&[("batch", batch)]),
    }
}

/// Loads weights or a training state; partially if asked for, with a notice of what was left out, but for the names in `given`.
pub fn load(state: &mut State, path: &Path, partial: &[Prefix], given: &[String]) -> Result<LoadReport> {
    if partial.is_empty() {
        return Ok(state.load(path)?);
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
pub fn unfitted(state: &State, report: &LoadReport) -> Vec<String> {
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
        return Err(Error::Name(format!("`{full}` takes one number{above}{each}, found `{numbers}`")));
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

/// The state from a file, or a fresh one.
///
/// # Errors
/// Those of loading; `--fitted` for what is unknown, or in the file already.
pub fn state(model: &Model, start: &StartArgs) -> Result<State> {
    let mut state = model.initial_state(start.seed)?;
    let given = start.fitted.iter().map(|(name, _)| fitted_name(&state, name)).collect::<Result<Vec<_>>>()?;
    match &start.weights {
        Some(path) => {
            let report = load(&mut state, path, &start.names.partial, &given)?;
            if let Some(name) = given.iter().find(|name| report.used.contains(name)) {
                let message =
                    format!("--fitted is for what weights do not know, and `{}` has `{name}`", path.shown());
                return Err(Error::Name(message));
            }
            let unfitted = unfitted(&state, &report);
            let names: Vec<String> = unfitted.into_iter().filter(|name| !given.contains(name)).collect();
            note_unfitted(path, &names);
        }
        None if state.is_empty() => {}
        None => errln!("note: no --weights given: fresh weights, drawn by seed {}", start.seed),
    }
    for (name, (_, numbers)) in given.iter().zip(&start.fitted) {
        set_fitted(&mut state, name, numbers)?;
    }
    Ok(state)
}

/// Writes text or bytes to a file.
pub fn write(path: &Path, content: &[u8]) -> Result<()> {
    Ok(write_atomically(path, |file| file.write_all(content))?)
}

/// The text of a graph or of a kernel program, read.
pub enum Ir {
    Graph(Graph),
    Program(Program),
}

fn read_text(file: &Path) -> Result<String> {
    let mut bytes = Vec::new();
    let result = match file.to_str() {
        Some("-") => std::io::stdin().lock().take(MAX_TEXT).read_to_end(&mut bytes).map(drop),
        _ => read_regular(file, MAX_TEXT).map(|content| bytes = content),
    };
    result.map_err(|e| Error::io("read", file, &e))?;
    String::from_utf8(bytes).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        Error::Compile(format!("`{}` is no text: byte {at} is not UTF-8", file.shown()))
    })
}

/// Reads a graph or a program, by its first word, and verifies it; `-` is standard input.
pub fn read_ir(file: &Path) -> Result<Ir> {
    let text = &read_text(file)?;
    let within = |message: &dyn std::fmt::Display| {
        let lines = message.to_string();
        let name = file.shown();
        Error::Compile(
            lines.lines().map(|line| format!("{name}: {line}")).collect::<Vec<_>>().join("\nerror: "),
        )
    };
    let code =
        text.lines().map(|line| line.split("//").next().unwrap_or("").trim()).find(|line| !line.is_empty());
    if code.is_some_and(|line| line.starts_with("program")) {
        let program = Program::parse(text).map_err(|e| within(&e))?;
        brolga::ir::program::verify::verify(&program).map_err(|e| within(&e))?;
        return Ok(Ir::Program(program));
    }
    let graph = Graph::parse(text).map_err(|e| within(&e))?;
    graph.verify().map_err(|e| within(&e))?;
    Ok(Ir::Graph(graph))
}
