//! Files of tensors that a model is made to fit, and the text of graphs and programs.

use std::io::{Read, Write};
use std::path::Path;

use brolga::ir::Graph;
use brolga::ir::ops::{Parameter, Role};
use brolga::ir::program::Program;
use brolga::runtime::{self, ErrorKind, MAX_TEXT, Shown, read_regular, write_atomically};
use brolga::{Error, Model, Result, State, Tensor};
use brolga_command::{InputFile, started};

use super::args::StartArgs;

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
    let inputs: Vec<&Parameter> = inputs.filter(|input| input.role == Role::Data).collect();
    if let [input] = inputs[..] {
        file.take_for(&input.name)?;
    }
    let axes: Vec<(&Parameter, usize)> = inputs
        .into_iter()
        .filter_map(|input| Some((input, model.instance().input_axis(&input.name, "batch")?)))
        .collect();
    if axes.is_empty() {
        return Ok(model);
    }
    let path = file.path();
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

/// The state from a file, or a fresh one.
///
/// # Errors
/// Those of loading; `--fitted` for what is unknown, or in the file already.
pub fn state(model: &Model, start: &StartArgs) -> Result<State> {
    Ok(started(model.initial_state(start.seed)?, true, &start.start())?)
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
