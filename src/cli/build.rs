//! `brolga build`

use std::path::PathBuf;
use std::process::ExitCode;

use brolga::codegen::{check_symbol, emit_object};
use brolga::runtime::Shown;
use brolga::{Compiler, Error, Result};
use clap::{Args, ValueEnum};

use super::args::{InferenceEntry, MachineArgs, ModelArgs, OverwriteArgs};
use super::destination::{Destinations, Written};
use super::files::write;
use super::report::bytes;
use super::tune::tune;

/// What is built.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Emit {
    /// An object file and a C header
    Obj,
    /// A standalone executable (not available yet)
    Exe,
    /// A shared library (not available yet)
    Lib,
}

#[derive(Args)]
#[command(after_help = "\
Writes OUT (an object file for this machine, without undefined symbols) and a C header beside it. The caller gives
the state; the header says where each tensor belongs.

Example:
  brolga build lenet5 --entry infer --dim batch=1 -o lenet5.o      (and lenet5.h)")]
pub struct BuildArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub entry: InferenceEntry,
    /// The object file; the header gets the same name with .h
    #[arg(short, long = "output", value_name = "OUT")]
    pub output: PathBuf,
    /// What to build
    #[arg(long, value_name = "KIND", default_value = "obj")]
    pub emit: Emit,
    /// The C name of the entry function [default: the output's name without extension]
    #[arg(long, value_name = "NAME")]
    pub symbol: Option<String>,
    #[command(flatten)]
    pub overwrite: OverwriteArgs,
    #[command(flatten)]
    pub machine: MachineArgs,
}

pub fn run(args: &BuildArgs, mut destinations: Destinations) -> Result<ExitCode> {
    if args.emit != Emit::Obj {
        let message = "standalone executables and shared libraries are not available yet: use --emit obj";
        return Err(Error::Name(message.into()));
    }
    let header = args.output.with_extension("h");
    if header == args.output {
        return Err(Error::Name(format!(
            "`{}` is the header's name: give the object another",
            header.shown()
        )));
    }
    let mut model = args.model.load(args.machine.target.options()?)?;
    destinations.reads_model(&model);
    destinations.writes("-o", &args.output, Written::Object, 0)?;
    destinations.writes("the header of -o", &header, Written::Header, 0)?;
    if args.machine.tune.is_some() {
        tune(&mut model, &args.machine, &args.machine.threads()?, &args.entry.name, &[])?;
    }
    let mut compiler = Compiler::new(model.options());
    let optimised = compiler.optimise(model.graph(&args.entry.name)?)?;
    let program = compiler.lower(&optimised)?;
    let symbol = match &args.symbol {
        Some(symbol) => symbol.clone(),
        None => c_name(&args.output.file_stem().unwrap_or_default().to_string_lossy()),
    };
    let object = emit_object(&program, &compiler.codegen(), &symbol)?;
    write(&args.output, &object.bytes)?;
    write(&header, object.header.as_bytes())?;
    outln!("object: {} ({})", args.output.shown(), bytes(object.bytes.len()));
    outln!("header: {}", header.shown());
    outln!("entry:  void {symbol}(const brolga_block *block)");
    Ok(ExitCode::SUCCESS)
}

/// A name that C accepts for a function of ours.
fn c_name(name: &str) -> String {
    let name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if check_symbol(&name).is_ok() { name } else { format!("entry_{name}") }
}
