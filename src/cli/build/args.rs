//! What `brolga build` is asked for.

use std::path::{Path, PathBuf};

use brolga::codegen::Options;
use brolga::{Error, Result};
use clap::{Args, ValueEnum};

use crate::cli::args::{MachineArgs, ModelArgs, OverwriteArgs, PartialArgs, TripleArgs, pair};

/// What is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Emit {
    /// An object file and a C header
    Obj,
    /// A library, a C header and a file for pkg-config: libNAME.a is a static one, libNAME.so a shared one
    Lib,
    /// A compiled model in one file, which the crate brolga-runtime opens
    Container,
    /// A program that needs Linux and its C library, and nothing else
    Exe,
}

#[derive(Args)]
#[command(after_help = "\
Writes OUT (an object file or a library, without undefined symbols) and a C header beside it, with a function for each
entry point. They share what they have in common. State and weights are loaded from memory, or are part of the object with
--weights. Sizes may differ: --dim ENTRY.SIZE=N binds one for an entry point alone.

A container holds code, and with --weights these, for programs in Rust that have no compiler. Its entry points are for single
samples, and for batches too if --dim batch=N is given; those that train have the model's batch, and bring their evaluation and
`init`, which draws weights by a seed. Where the state's shapes depend on the batch, all
have the same. An executable is a container in a program: OUT --help says what it takes and gives.

Examples:
  brolga build lenet5 --dim batch=1 -o lenet5.o                              (and lenet5.h)
  brolga build lenet5 --dim batch=1 --weights lenet5.safetensors -o lenet5.o
  brolga build lenet5 --dim batch=1 --weights lenet5.safetensors --mapped lenet5.weights -o lenet5.o
  brolga build lenet5 --entry infer,train --dim infer.batch=1 -o liblenet5.a
  brolga build lenet5 --dim batch=1 -o liblenet5.so
  brolga build lenet5 --dim batch=1 --target-cpu x86-64-v3,x86-64-v4 -o lenet5.o
  brolga build lenet5 --dim batch=1 --target aarch64-unknown-linux-gnu -o lenet5.o
  brolga build lenet5 --weights lenet5.safetensors -o lenet5.brolga          (a container)
  brolga build lenet5 --weights lenet5.safetensors -o lenet5                 (an executable)")]
pub struct BuildArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    /// The entry points, separated by commas, such as infer,train
    #[arg(id = "entry", long = "entry", value_name = "E", value_delimiter = ',', default_value = "infer")]
    pub entries: Vec<String>,
    /// The executable, object, library (libNAME.a, libNAME.so) or container; a header gets the same name with .h
    #[arg(short, long = "output", value_name = "OUT")]
    pub output: PathBuf,
    /// What to build [default: exe where OUT has no ending, container where it ends in .brolga, lib in .a and .so, else
    /// obj]
    #[arg(long, value_name = "KIND")]
    emit: Option<Emit>,
    /// The program that carries the model in an executable [default: the one that comes along, for this machine]
    #[arg(long, value_name = "FILE")]
    pub launcher: Option<PathBuf>,
    /// Makes an executable that reads JPEG, whatever the model is: those that train do, and those that take pictures in colour; others
    /// read PNG alone, and are smaller
    #[arg(long, conflicts_with = "launcher")]
    pub whole: bool,
    /// The name of the model in C, which its functions begin with [default: the output's name without ending]
    #[arg(long, value_name = "NAME")]
    pub symbol: Option<String>,
    /// Weights or a training state, which become part of what is built
    #[arg(long, value_name = "FILE")]
    pub weights: Option<PathBuf>,
    /// Writes the weights into a file of their own instead, which a program maps and uses where it lies
    #[arg(long, value_name = "FILE", requires = "weights")]
    pub mapped: Option<PathBuf>,
    #[command(flatten)]
    pub names: PartialArgs,
    /// Says what preparation is fitted to where the weights do not, such as image.mean=0.1307 (or a number for each
    /// channel, separated by commas); may be repeated
    #[arg(long, value_name = "NAME=NUMBERS", value_parser = pair::<String>, requires = "weights")]
    pub fitted: Vec<(String, String)>,
    /// Whether a container or executable holds values that are prepared from the weights, too, so that its first answer comes at once: weights
    /// in the order in which code reads them, which may be larger [default: true with weights, unless something trains]
    #[arg(long, value_name = "true|false", requires = "weights")]
    pub prepared: Option<bool>,
    #[command(flatten)]
    pub overwrite: OverwriteArgs,
    #[command(flatten)]
    pub machine: MachineArgs,
    #[command(flatten)]
    pub triple: TripleArgs,
}

/// Whether the name of a shared library goes on with a version: `libnet.so.1.2`.
pub fn has_version(library: &Path) -> bool {
    let name = library.file_name().unwrap_or_default().to_string_lossy();
    let version = name.rsplit_once(".so.").map(|(_, version)| version);
    version.is_some_and(|version| version.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'))
}

impl BuildArgs {
    /// What is built: what is asked for, or what the output's ending says.
    pub fn kind(&self) -> Emit {
        let ending = self.output.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase());
        let told = || match ending.as_deref() {
            None => Emit::Exe,
            Some("brolga") => Emit::Container,
            Some("a" | "so") => Emit::Lib,
            // `libnet.so.1`, of which more is said where it is read.
            Some(_) if has_version(&self.output) => Emit::Lib,
            Some(_) => Emit::Obj,
        };
        self.emit.unwrap_or_else(told)
    }

    /// Refuses options that what is built does not take.
    pub fn check_options(&self) -> Result<()> {
        let (kind, opened) = (self.kind(), matches!(self.kind(), Emit::Container | Emit::Exe));
        let why = if self.prepared.is_some() && !opened {
            "--prepared is for containers and executables: add --emit container or exe"
        } else if self.launcher.is_some() && kind != Emit::Exe {
            "--launcher is for executables: add --emit exe"
        } else if self.whole && kind != Emit::Exe {
            "--whole is for executables: add --emit exe"
        } else if self.mapped.is_some() && opened {
            "--mapped is for obj and lib: what else is built is mapped with its weights"
        } else if self.symbol.is_some() && opened {
            "--symbol names functions in C, which only obj and lib have"
        } else {
            return Ok(());
        };
        Err(Error::Name(why.into()))
    }

    /// What the object is made for.
    pub fn targets(&self) -> Result<Vec<Options>> {
        Ok(self.machine.target.cpus()?.into_iter().map(|cpu| self.triple.options(cpu)).collect())
    }
}
