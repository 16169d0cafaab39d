//! `brolga eval`

use std::collections::HashSet;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use brolga::codegen::compile_checked;
use brolga::ir::ops::Role;
use brolga::ir::program::{Place, Program, interpret::Interpreter, verify::verify};
use brolga::ir::scalar::{NAN_F32, NAN_F64};
use brolga::ir::tensor::{Data, listed};
use brolga::ir::{self, Graph};
use brolga::passes::program::plan::plan;
use brolga::runtime::{
    DType, Executable, Input, Instance, Samples, Shown, SlotKind, TensorRef, type_name, write_results,
};
use brolga::{CompileOptions, Compiler, Error, Result, State, Tensor};
use brolga_command::report::metric;
use brolga_command::{InputFile, read_inputs};
use clap::Args;

use super::args::{OverwriteArgs, TargetArgs, ThreadsArgs};
use super::destination::{Destinations, Written};
use super::files::{Ir, read_ir};

#[derive(Args)]
#[command(after_help = "\
A graph goes through the pipeline of the compiler. A kernel program is run as it stands, after it was verified; accesses
that are not proven to stay inside their buffers are checked, and an access outside is an error.

The file of inputs has a tensor for each input and each state, by name; integers may be of another type. Files ending in
.npz or .npy are NumPy's, all others safetensors. Outputs and new state go into one file, by name.

Examples:
  brolga dump mlp --stage graph > mlp.ir
  brolga eval mlp.ir --inputs in.npz --outputs out.npz
  brolga dump mlp --stage program | brolga eval - --inputs in.npz --outputs exact.npz --interpret

A program that adds one (in.npz has `x`, three f32):
  program @add_one
    %0 input \"x\" f32[3]
    %1 output \"y\" f32[3]
  kernel @add_one(p0: read f32[3], p1: write f32[3]) grid [] {
    v0 = constant 1.0 : f32
    strip i0 in 0..3 {
      v1 = load p0[i0] : f32
      v2 = add v1, v0 : f32
      store p1[i0] = v2
    }
  }
  schedule {
    call @add_one#0(%0, %1)
  }")]
pub struct EvalArgs {
    /// The text of a graph or kernel program; - is standard input
    pub file: PathBuf,
    /// The inputs and the state
    #[arg(long, value_name = "FILE")]
    pub inputs: PathBuf,
    /// Where the outputs and the new state go
    #[arg(long, value_name = "FILE")]
    pub outputs: PathBuf,
    /// Interprets the graph or program instead of compiling it: exact and slow
    #[arg(long)]
    pub interpret: bool,
    #[command(flatten)]
    pub threads: ThreadsArgs,
    #[command(flatten)]
    pub overwrite: OverwriteArgs,
    #[command(flatten)]
    pub target: TargetArgs,
}

/// Tensors by name.
type Named = Vec<(String, Tensor)>;

pub fn run(args: &EvalArgs, mut destinations: Destinations) -> Result<ExitCode> {
    let ir = read_ir(&args.file)?;
    destinations.writes("--outputs", &args.outputs, Written::Tensors, 0)?;
    let threads = args.threads.start()?;
    let mut options = args.target.options()?;
    options.passes.threads = Some(threads.count());
    let all = match (ir, args.interpret) {
        (Ir::Graph(graph), true) => interpret_graph(args, &options, &graph)?,
        (Ir::Program(program), true) => interpret_program(args, &program)?,
        (Ir::Graph(graph), false) => call(args, &threads, brolga::compile(&graph, &options)?)?,
        (Ir::Program(program), false) => {
            let codegen = brolga::codegen::Options::from(options.target_cpu);
            call(args, &threads, compile_checked(&planned(program)?, &codegen)?.executable)?
        }
    };
    let mut names = HashSet::new();
    if let Some((name, _)) = all.iter().find(|(name, _)| !names.insert(name)) {
        let message = format!("an output and a state are both named `{name}`: give one another name");
        return Err(Error::Name(message));
    }
    let views: Vec<(&str, TensorRef<'_>)> = all.iter().map(|(name, t)| (name.as_str(), t.view())).collect();
    write_results(&args.outputs, &views)?;
    for (name, tensor) in &all {
        let ty = type_name(tensor.dtype(), tensor.dims());
        match tensor.item().ok().filter(|_| tensor.dims().is_empty()) {
            Some(number) => outln!("{name}: {ty} = {}", metric(number)),
            None => outln!("{name}: {ty}"),
        }
    }
    outln!("written to {}", args.outputs.shown());
    Ok(ExitCode::SUCCESS)
}

/// The program with places for its buffers, as printed before they were planned.
fn planned(mut program: Program) -> Result<Program> {
    let unplanned = |place: &Place| matches!(place, Place::Arena(None) | Place::Prepared(None));
    if program.buffers.iter().any(|buffer| unplanned(&buffer.place)) {
        plan(&mut program);
        verify(&program).map_err(|e| Error::Compile(e.to_string()))?;
    }
    Ok(program)
}

/// Runs what was compiled; the outputs, then the state that was updated.
fn call(args: &EvalArgs, threads: &brolga::Threads, executable: Executable) -> Result<Named> {
    let executable = Arc::new(executable);
    let manifest = executable.manifest();
    let slots = manifest.state.iter().map(|s| wanted(&s.name, s.dtype, &s.dims));
    let wanted: Vec<Input> = manifest.inputs.iter().cloned().chain(slots).collect();
    let mut inputs = read_inputs(Some(InputFile::new(&args.inputs)), &wanted)?;
    let mut state = State::new();
    for (name, tensor) in inputs.split_off(manifest.inputs.len()) {
        state.insert(name, SlotKind::Buffer, tensor)?;
    }
    let inputs: Vec<Tensor> = inputs.into_iter().map(|(_, tensor)| tensor).collect();
    let mut outputs = Vec::new();
    for output in &manifest.outputs {
        let mut tensor = Tensor::zeros(output.dtype, &output.dims)?;
        // As for the interpreter where nothing is written: ones, or the one form of NaN.
        match output.dtype {
            DType::F32 => tensor.as_mut_slice()?.fill(f32::from_bits(NAN_F32)),
            DType::F64 => tensor.as_mut_slice()?.fill(f64::from_bits(NAN_F64)),
            DType::Bool | DType::U8 | DType::I32 | DType::I64 => tensor.bytes_mut().fill(0xff),
        }
        outputs.push(tensor);
    }
    Instance::bind(executable.clone(), &state, threads)?.run_tensors(&mut state, &inputs, &mut outputs)?;
    let mut all = Vec::new();
    for (output, tensor) in manifest.outputs.iter().zip(outputs) {
        // No bool has these bits.
        tensor
            .view()
            .to_owned()
            .map_err(|e| e.within(format!("output `{}` was not written", output.name)))?;
        all.push((output.name.clone(), tensor));
    }
    for slot in manifest.state.iter().filter(|slot| slot.updated) {
        all.push((slot.name.clone(), state.get(&slot.name)?.try_clone()?));
    }
    Ok(all)
}

fn interpret_graph(args: &EvalArgs, options: &CompileOptions, graph: &Graph) -> Result<Named> {
    // Derivatives have no value before they are built.
    let graph = &Compiler::new(options).differentiate(graph)?;
    let parameters = graph.parameters().iter().filter_map(|&id| graph.parameter(id));
    let wanted: Vec<Input> = parameters
        .map(|p| Ok(wanted(&p.name, border(&p.name, &p.ty)?, &p.ty.dims)))
        .collect::<Result<_>>()?;
    let given = read_exact(args, &wanted)?;
    let results = ir::interpret::interpret(graph, &given.iter().collect::<Vec<_>>())?;
    let named =
        graph.outputs().iter().zip(&results).map(|(output, tensor)| (&output.name, output.role, tensor));
    let (outputs, state): (Vec<_>, Vec<_>) = named.partition(|(_, role, _)| *role == Role::Data);
    let all = outputs.into_iter().chain(state);
    all.map(|(name, _, tensor)| Ok((name.clone(), from_ir(name, tensor)?))).collect()
}

fn interpret_program(args: &EvalArgs, program: &Program) -> Result<Named> {
    let of = |is: fn(&Place) -> bool| program.buffers.iter().filter(move |buffer| is(&buffer.place));
    let inputs = || of(|place| matches!(place, Place::Input { .. }));
    let state = || of(|place| matches!(place, Place::State { .. }));
    let all = inputs().chain(state());
    let wanted: Vec<Input> =
        all.map(|b| Ok(wanted(&b.name, border(&b.name, &b.ty)?, &b.ty.dims))).collect::<Result<_>>()?;
    let mut given = read_exact(args, &wanted)?;
    let mut slots = given.split_off(inputs().count());
    let interpreter = Interpreter::new(program).map_err(|e| Error::Compile(e.to_string()))?;
    let results = interpreter.run(&given, &mut slots).map_err(|e| Error::Compile(e.to_string()))?;
    let outputs = of(|place| matches!(place, Place::Output)).zip(&results);
    let updated = state().zip(&slots).filter(|(b, _)| matches!(b.place, Place::State { updated: true }));
    outputs.chain(updated).map(|(b, tensor)| Ok((b.name.clone(), from_ir(&b.name, tensor)?))).collect()
}

fn wanted(name: &str, dtype: DType, dims: &[usize]) -> Input {
    Input { name: name.to_owned(), dtype, dims: dims.to_vec(), range: None, samples: Samples::Same }
}

/// The element type at the border of a graph or program.
fn border(name: &str, ty: &ir::Type) -> Result<DType> {
    DType::from_name(ty.dtype.name()).ok_or_else(|| inside_only(name, ty))
}

fn inside_only(name: &str, ty: &ir::Type) -> Error {
    let message = format!("`{name}` is {ty}, which exists inside of programs only: convert it to f32 there");
    Error::Compile(message)
}

/// The tensors of those names and types, for an interpreter.
fn read_exact(args: &EvalArgs, wanted: &[Input]) -> Result<Vec<ir::Tensor>> {
    let read = read_inputs(Some(InputFile::new(&args.inputs)), wanted)?;
    let check = |(input, (name, tensor)): (&Input, &(String, Tensor))| {
        let (expected, found) =
            (type_name(input.dtype, &input.dims), type_name(tensor.dtype(), tensor.dims()));
        if expected != found {
            let message = format!("`{name}` must be {expected}, but `{}` has {found}", args.inputs.shown());
            return Err(Error::Compile(message));
        }
        to_ir(tensor)
    };
    wanted.iter().zip(&read).map(check).collect()
}

/// A function of each element; an error where memory is short.
fn copied<A: Copy, B>(from: &[A], of: impl Fn(A) -> B) -> Result<Vec<B>> {
    listed(from.len(), |i| of(from[i])).map_err(Error::Compile)
}

fn to_ir(tensor: &Tensor) -> Result<ir::Tensor> {
    let data = match tensor.dtype() {
        DType::Bool => Data::Bool(copied(tensor.bytes(), |byte| byte != 0)?),
        DType::U8 => Data::U8(copied(tensor.as_slice()?, |v| v)?),
        DType::I32 => Data::I32(copied(tensor.as_slice()?, |v| v)?),
        DType::I64 => Data::I64(copied(tensor.as_slice()?, |v| v)?),
        DType::F32 => Data::F32(copied(tensor.as_slice()?, |v| v)?),
        DType::F64 => Data::F64(copied(tensor.as_slice()?, |v| v)?),
    };
    Ok(ir::Tensor::new(tensor.dims(), data))
}

fn from_ir(name: &str, tensor: &ir::Tensor) -> Result<Tensor> {
    let dims = tensor.dims();
    Ok(match tensor.data() {
        Data::Bool(v) => Tensor::from_bytes(DType::Bool, dims, &copied(v, u8::from)?)?,
        Data::U8(v) => Tensor::from_slice(dims, v)?,
        Data::I32(v) => Tensor::from_slice(dims, v)?,
        Data::I64(v) => Tensor::from_slice(dims, v)?,
        Data::F32(v) => Tensor::from_slice(dims, v)?,
        Data::F64(v) => Tensor::from_slice(dims, v)?,
        Data::Bf16(_) => return Err(inside_only(name, &tensor.ty())),
    })
}
