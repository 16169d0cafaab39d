//! The arguments of every subcommand.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::LazyLock;

use brolga::ir::DType;
use brolga::passes::{Algorithms, Precision};
use brolga::{CompileOptions, Model, Settings, TargetCpu, Threads};
use clap::{Args, Parser, Subcommand, ValueEnum};

/// The whole command line.
#[derive(Parser)]
#[command(
    name = "brolga",
    version = VERSION.as_str(),
    about = "Compiles neural networks: a model in RON becomes a trained, native network.",
    after_help = "\
First steps:
  brolga models                      what comes along
  brolga train lenet5                trains on embedded digits, no download
  brolga check lenet5                layers, shapes, parameters, memory
  brolga dump lenet5 --stage graph   what the compiler makes of it
  brolga help train                  all about a command, with examples

Results go to standard output, progress and mistakes to standard error. MODEL is the name of a model that comes
along, a path ending in .ron, or PATH:VARIANT.",
    max_term_width = 110
)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Subcommand)]
pub enum Command {
    /// Lists the models that come along, with their variants
    Models(ModelsArgs),
    /// Reports all mistakes in a model, or shows its layers, parameters, work and memory
    Check(CheckArgs),
    /// Trains a model on a data set, evaluates it and saves its weights
    Train(TrainArgs),
    /// Labels pictures, or calls an entry point on inputs in files
    Run(RunArgs),
    /// Shows how good a trained model is on a data set: metrics, confusion matrix, predictions
    Evaluate(EvaluateArgs),
    /// Makes updates on one given batch, for comparisons with other systems
    Step(StepArgs),
    /// Measures an entry point
    Bench(BenchArgs),
    /// Shows where the time of an entry point goes, by layer and kernel
    Profile(ProfileArgs),
    /// Prints what a stage of the compiler makes of a model
    Dump(DumpArgs),
    /// Runs passes over the text of a graph or kernel program
    Opt(OptArgs),
    /// Runs the text of a graph or kernel program on tensors from a file
    Eval(EvalArgs),
    /// Compiles an entry point ahead of time
    Build(BuildArgs),
    /// Tests what passes make of graphs and kernel programs in files
    Filetest(FiletestArgs),
    /// Prints all that the model language knows, with its arguments
    Language(LanguageArgs),
    /// Prints what a shell needs to complete commands and options
    Completions(CompletionsArgs),
}

/// A model and the choices for it.
#[derive(Args)]
pub struct ModelArgs {
    /// Name of a model that comes along, or path of a RON file
    pub model: String,
    /// Binds a size of the model, such as batch=1; may be repeated
    #[arg(long = "dim", value_name = "NAME=SIZE", value_parser = pair::<usize>)]
    pub dims: Vec<(String, usize)>,
    /// Sets a parameter of the model, such as width=2; may be repeated
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = pair::<String>)]
    pub set: Vec<(String, String)>,
}

/// How a model is compiled.
#[derive(Args)]
pub struct TargetArgs {
    /// Instructions to use: all that this processor has, AVX-512 (v4), AVX2 (v3), or 128-bit vectors only; results are
    /// equal to the bit
    #[arg(long, value_name = "CPU", value_parser = TargetCpu::ALL.map(TargetCpu::name), default_value = "native")]
    pub target_cpu: String,
    /// Which algorithms may be used where they are faster than direct sums: Winograd's for convolutions, up to 1e-4 off
    /// where direct sums are 1e-6 off, and Strassen's in Winograd's form for pointwise
    /// convolutions, and all products of entries that train, up to 5e-6 off
    #[arg(long, value_name = "winograd,strassen|none", value_parser = Algorithms::from_str,
          default_value = "winograd,strassen")]
    pub algorithms: Algorithms,
    /// What the weights of convolutions and matrix products are kept as: f32; bf16, which is half the memory to read,
    /// rounds each weight to 8 bits and multiplies in f32, so results are equal on every processor; bf16-native, which
    /// would multiply in bf16. Entry points that update weights keep f32. With f64 the whole model computes in f64, and
    /// takes inputs and weights in f32 too
    #[arg(long, value_name = "f32|f64|bf16|bf16-native", value_parser = Precision::from_str, default_value = "f32")]
    pub precision: Precision,
    /// Scratch memory of one call, at most, such as 300MB or 1.5GiB; what does not fit is computed again, to the same
    /// bits
    #[arg(long, value_name = "M", value_parser = memory)]
    pub memory_limit: Option<usize>,
}

/// How code is made and run.
#[derive(Args)]
pub struct MachineArgs {
    /// Threads that compute; results do not depend on it [default: as many as there are cores]
    #[arg(long, value_name = "T")]
    threads: Option<usize>,
    #[command(flatten)]
    pub target: TargetArgs,
    /// Measures in which blocks and loops products run fastest on this processor, for some seconds, and keeps that in
    /// FILE, where it is found the next time; results are equal to the bit. Without it, no such file is read
    /// [default of FILE: brolga/schedules.ron in $XDG_CACHE_HOME or ~/.cache]
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    pub tune: Option<Option<PathBuf>>,
}

/// An entry point; inference unless another is named.
#[derive(Args)]
pub struct InferenceEntry {
    /// The entry point
    #[arg(id = "entry", long = "entry", value_name = "E", default_value = "infer")]
    pub name: String,
}

/// An entry point; training unless another is named.
#[derive(Args)]
pub struct TrainingEntry {
    /// The entry point that makes one update
    #[arg(id = "entry", long = "entry", value_name = "E", default_value = "train")]
    pub name: String,
}

/// The state that a call starts from.
#[derive(Args)]
pub struct StartArgs {
    /// Weights or training state to start from [default: fresh weights]
    #[arg(long, value_name = "FILE")]
    pub weights: Option<PathBuf>,
    /// Takes what fits of the weights by name, and says what does not. With FROM:TO, names in the file that begin with FROM
    /// begin with TO in the model, such as --partial=backbone.: or --partial=:encoder.; may be repeated, the first that
    /// fits counts
    #[arg(long, requires = "weights", value_name = "FROM:TO", num_args = 0..=1, require_equals = true,
          default_missing_value = "", value_parser = prefix)]
    pub partial: Vec<Prefix>,
    /// Draws the weights where none are given
    #[arg(long, value_name = "S", default_value_t = 0)]
    pub seed: i64,
    /// Says what preparation is fitted to where the weights do not, such as image.mean=0.1307 (or a number for each
    /// channel, separated by commas); may be repeated
    #[arg(long, value_name = "NAME=NUMBERS", value_parser = pair::<String>)]
    pub fitted: Vec<(String, String)>,
}

impl ModelArgs {
    /// The settings that they stand for, in the precision of the options; later sizes win over earlier ones.
    pub fn settings(&self, options: &CompileOptions) -> Settings {
        let float = if options.passes.precision == Precision::F64 { DType::F64 } else { DType::F32 };
        Settings { set: self.set.clone(), dims: self.dims.clone(), float, ..Settings::default() }
    }

    /// Says which of two models is meant, where a file has the name of one that comes along.
    pub fn tell_hidden(&self) {
        if brolga::hides_file(&self.model) {
            let name = &self.model;
            errln!("note: `{name}` is the model that comes along; the file of that name is `./{name}`");
        }
    }

    /// The model, to be compiled so.
    pub fn load(&self, options: CompileOptions) -> brolga::Result<Model> {
        self.tell_hidden();
        Ok(Model::load(&self.model, &self.settings(&options))?.with_options(options))
    }
}

impl TargetArgs {
    /// The options of compilation.
    pub fn options(&self) -> brolga::Result<CompileOptions> {
        let target_cpu = TargetCpu::from_str(&self.target_cpu)?;
        let mut options = CompileOptions { target_cpu, ..CompileOptions::default() };
        options.passes.precision = self.precision;
        options.passes.algorithms = self.algorithms;
        options.passes.memory_limit = self.memory_limit;
        Ok(options)
    }
}

impl MachineArgs {
    /// The options of compilation, for those threads.
    pub fn options(&self, threads: &Threads) -> brolga::Result<CompileOptions> {
        let mut options = self.target.options()?;
        options.passes.threads = Some(threads.count());
        Ok(options)
    }

    /// The threads.
    pub fn threads(&self) -> brolga::Result<Threads> {
        threads(self.threads)
    }
}

/// So many threads, or as many as there are cores.
pub fn threads(count: Option<usize>) -> brolga::Result<Threads> {
    Ok(match count {
        Some(count) => Threads::new(count)?,
        None => Threads::available()?,
    })
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  brolga models
  brolga models resnet
  brolga models language")]
pub struct ModelsArgs {
    /// Only those that have all these words in their name, family, chapter or source
    pub filter: Vec<String>,
}

#[derive(Args)]
#[command(after_help = "\
Each file *.ir is in a folder that bears the name of a pass, and holds a graph or kernel program, a line `// ---- after
PASS`, and what the pass makes of it; a first line `// passes: A, B` names passes instead. The result is verified, read
back, and evaluated on random values before and after. A library does the same for passes of one's own:
brolga_passes::filetest.

Examples:
  brolga filetest tests/filetests
  brolga filetest tests/filetests/simplify --bless")]
pub struct FiletestArgs {
    /// A folder that bears the name of a pass, or one that has such folders in it
    pub folder: PathBuf,
    /// Writes what comes out into the files where it differs
    #[arg(long)]
    pub bless: bool,
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  brolga language > docs/language-reference.md
  brolga language --json > model.schema.json")]
pub struct LanguageArgs {
    /// Prints a JSON schema for editors instead of a document
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  brolga completions bash > ~/.local/share/bash-completion/completions/brolga
  brolga completions fish > ~/.config/fish/completions/brolga.fish")]
pub struct CompletionsArgs {
    /// The shell
    pub shell: clap_complete::Shell,
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  brolga check resnet20
  brolga check vgg16 --dim batch=1
  brolga check nets/mine.ron --set width=2 --json")]
pub struct CheckArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub target: TargetArgs,
    /// Prints one JSON object instead of tables
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
#[command(after_help = "\
Data sets: `digits` (1,797 embedded images of 8x8), a folder of IDX files (MNIST and its like, .gz or plain), a folder
with CIFAR-10's binary files, a folder of PNG or JPEG pictures by class, a .npz or .safetensors file with one array per
input, a .csv file with a header: columns by the names of inputs, the target, and the rest as the input.

Examples:
  brolga train lenet5
  brolga train lenet5 --data mnist/ --epochs 10 --save mnist.safetensors
  brolga train resnet20 --data cifar-10-batches-bin/ --checkpoint run1/          (Ctrl-C writes a checkpoint)
  brolga train resnet20 --data cifar-10-batches-bin/ --checkpoint run1/ --resume")]
pub struct TrainArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    /// Data set to train on [default: the one that the model names]
    #[arg(long, value_name = "D")]
    pub data: Option<PathBuf>,
    #[command(flatten)]
    pub entry: TrainingEntry,
    /// Times to go through the training part
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub epochs: u64,
    /// Samples of one update; the same as --dim batch=N
    #[arg(long, value_name = "N")]
    pub batch: Option<usize>,
    /// Draws the initial weights, the order of the data, and the model's random numbers
    #[arg(long, value_name = "S", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    pub seed: u64,
    /// The column of a table that is to be predicted
    #[arg(long, value_name = "COLUMN")]
    pub target: Option<String>,
    /// Which of the model's folds is held out, from 1 [default: 1]
    #[arg(long, value_name = "N")]
    pub fold: Option<usize>,
    /// Starts from these weights, or this training state
    #[arg(long, value_name = "FILE")]
    pub weights: Option<PathBuf>,
    /// Takes what fits of the weights by name, and says what does not. With FROM:TO, names in the file that begin with FROM
    /// begin with TO in the model, such as --partial=backbone.: or --partial=:encoder.; may be repeated, the first that
    /// fits counts
    #[arg(long, requires = "weights", value_name = "FROM:TO", num_args = 0..=1, require_equals = true,
          default_missing_value = "", value_parser = prefix)]
    pub partial: Vec<Prefix>,
    /// Where the trained weights go, as safetensors [default: MODEL.safetensors in the current folder]
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,
    /// Writes a checkpoint into this folder after each epoch, and on Ctrl-C, SIGTERM or SIGHUP
    #[arg(long, value_name = "DIR")]
    pub checkpoint: Option<PathBuf>,
    /// Writes a checkpoint also after every so many updates
    #[arg(long, value_name = "STEPS", requires = "checkpoint")]
    pub checkpoint_every: Option<u64>,
    /// Goes on from the newest checkpoint, to the same bits as without the interruption
    #[arg(long, requires = "checkpoint")]
    pub resume: bool,
    /// The same although the model, an option or the data is not what it was: takes what fits, and says what differs
    #[arg(long, requires = "checkpoint")]
    pub resume_anyway: bool,
    /// Writes the metrics of each epoch to a CSV file
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
    /// Logs each update too
    #[arg(long, requires = "log")]
    pub log_steps: bool,
    /// Prints the results as one JSON object
    #[arg(long)]
    pub json: bool,
    /// Overwrites files of other kinds, and inputs
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    pub machine: MachineArgs,
}

#[derive(Args)]
#[command(after_help = "\
Files ending in .npz or .npy are NumPy's, all others safetensors; tensors carry the names of inputs and outputs. The
size `batch` follows the inputs unless --dim sets it.

Pictures are PNG or JPEG, resized to the input; of a folder all pictures in it are taken. A table is a .csv file with a
header. Each sample gets a line: the label with its score and the next best ones, or the numbers of the outputs.

Examples:
  brolga run lenet5 --weights lenet5.safetensors digit.png
  brolga run pets.ron --weights pets.safetensors photos/ --outputs labels.csv
  brolga run lenet5 --entry infer --weights lenet5.safetensors --inputs images.npz --outputs probability.npz")]
pub struct RunArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub entry: InferenceEntry,
    #[command(flatten)]
    pub start: StartArgs,
    /// Pictures, folders of pictures, or tables, in place of --inputs
    #[arg(value_name = "PATH", conflicts_with = "inputs")]
    pub paths: Vec<PathBuf>,
    /// The inputs, if the entry point takes any
    #[arg(long, value_name = "FILE", requires = "outputs")]
    pub inputs: Option<PathBuf>,
    /// Where the outputs go; of pictures and tables also as a table (.csv)
    #[arg(long, value_name = "FILE", required_unless_present = "paths")]
    pub outputs: Option<PathBuf>,
    /// Where the new state goes, for entry points that update it
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,
    /// Prints the results, or of --inputs the types of the outputs and the values of scalars, as one JSON object
    #[arg(long)]
    pub json: bool,
    /// Overwrites files of other kinds, and inputs
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    pub machine: MachineArgs,
}

#[derive(Args)]
#[command(after_help = "\
Of data that the weights were trained on, what was held out then is evaluated; of others their test part, or all. The
confusion matrix has a row for each true class and a column for each predicted one.

Examples:
  brolga evaluate lenet5 --weights lenet5.safetensors
  brolga evaluate lenet5 --weights lenet5.safetensors --data mnist/ --predictions mnist.csv
  brolga evaluate house.ron --weights house.safetensors --data houses.csv --target price --json")]
pub struct EvaluateArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    /// Data set to evaluate on [default: the one that the model names]
    #[arg(long, value_name = "D")]
    pub data: Option<PathBuf>,
    #[command(flatten)]
    pub entry: TrainingEntry,
    #[command(flatten)]
    pub start: StartArgs,
    /// Samples of one call; results do not depend on it
    #[arg(long, value_name = "N")]
    pub batch: Option<usize>,
    /// The column of a table that is to be predicted
    #[arg(long, value_name = "COLUMN")]
    pub target: Option<String>,
    /// Evaluates every sample, those that were trained on too
    #[arg(long)]
    pub all: bool,
    /// Writes what is predicted for each sample to a CSV file
    #[arg(long, value_name = "FILE.csv", value_parser = super::evaluate::csv)]
    pub predictions: Option<PathBuf>,
    /// Prints one JSON object
    #[arg(long)]
    pub json: bool,
    /// Overwrites files of other kinds, and inputs
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    pub machine: MachineArgs,
}

#[derive(Args)]
#[command(after_help = "\
Example:
  brolga step lenet5 --weights w.safetensors --inputs batch.npz --steps 20 --save w20.safetensors --grads g.safetensors")]
pub struct StepArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub entry: TrainingEntry,
    #[command(flatten)]
    pub start: StartArgs,
    /// The batch, with a tensor for each input, if the entry point takes any
    #[arg(long, value_name = "FILE")]
    pub inputs: Option<PathBuf>,
    /// Where the new state goes: parameters, running statistics, optimiser slots, step
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,
    /// Updates to make, all on the same batch
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub steps: u64,
    /// Where the gradients of the first update go, as grad.PARAMETER and, by inputs of floating type, input.NAME
    #[arg(long, value_name = "FILE")]
    pub grads: Option<PathBuf>,
    /// Prints the metrics of all updates as one JSON object
    #[arg(long)]
    pub json: bool,
    /// Overwrites files of other kinds, and inputs
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    pub machine: MachineArgs,
}

#[derive(Args)]
#[command(after_help = "\
Inputs are random, within the bounds that the entry point has for them.

Example:
  brolga bench lenet5 --entry train --dim batch=64 --seconds 5 --threads 2 --json")]
pub struct BenchArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub entry: InferenceEntry,
    /// How long to measure
    #[arg(long, value_name = "S", default_value_t = 2.0, value_parser = seconds)]
    pub seconds: f64,
    /// Prints one JSON object
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub machine: MachineArgs,
}

#[derive(Args)]
#[command(after_help = "\
Each kernel call is timed inside whole runs. Bytes are those that a call touches, each counted once, in the caches or
not; the peak is measured by matrix products that stay in registers and the first cache, memory by a copy of 64 MB.
Calls in loops are added up; of conditions, what ran is shown.

Example:
  brolga profile resnet20 --entry train --trace trace.json     (open in chrome://tracing or ui.perfetto.dev)")]
pub struct ProfileArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub entry: InferenceEntry,
    /// How long to measure
    #[arg(long, value_name = "S", default_value_t = 1.0, value_parser = seconds)]
    pub seconds: f64,
    /// Shows every kernel call instead of one row per layer
    #[arg(long)]
    pub calls: bool,
    /// Writes the fastest run as a Chrome trace
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// Overwrites files of other kinds, and inputs
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    pub machine: MachineArgs,
}

/// A stage of the compiler.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StageName {
    /// The model file as it is read
    Model,
    /// The dataflow graph of an entry point
    Graph,
    /// The graph with its gradients built
    Grad,
    /// The graph after all passes, fused
    Opt,
    /// The kernel program: buffers, kernels, schedule
    Program,
    /// Cranelift's intermediate representation of each function
    Clif,
    /// The machine code of each function
    Asm,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// The text that `brolga opt` reads
    Text,
    /// Graphviz, for the stages graph, grad and opt
    Dot,
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  brolga dump lenet5 --stage graph
  brolga dump lenet5 --stage opt --entry train --dim batch=8
  brolga dump lenet5 --stage graph --format dot | dot -Tsvg > lenet5.svg")]
pub struct DumpArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    /// What to print
    #[arg(long, value_name = "S")]
    pub stage: StageName,
    #[command(flatten)]
    pub entry: InferenceEntry,
    /// How graphs are written
    #[arg(long, value_name = "F", default_value = "text")]
    pub format: Format,
    #[command(flatten)]
    pub target: TargetArgs,
}

#[derive(Args)]
#[command(after_help = "\
Passes run in the order given. `lower` turns a graph into a kernel program, for the passes behind it; --list names
them all.

Examples:
  brolga opt --passes grad,dce,simplify loss.ir
  brolga opt --passes fuse,lower,vectorise,plan net.ir --print-after
  brolga dump lenet5 --stage graph | brolga opt --passes fuse -")]
pub struct OptArgs {
    /// The text of a graph or kernel program; - is standard input
    #[arg(required_unless_present = "list")]
    pub file: Option<PathBuf>,
    /// Names of passes, separated by commas
    #[arg(long, value_name = "A,B", value_delimiter = ',', required_unless_present = "list")]
    pub passes: Vec<String>,
    /// Prints the text after every pass, not just after the last
    #[arg(long)]
    pub print_after: bool,
    /// Stops after so many passes, for finding the one that goes wrong
    #[arg(long, value_name = "N")]
    pub stop_after: Option<usize>,
    /// Writes to standard error how long each pass took, and whether it changed anything
    #[arg(long)]
    pub time: bool,
    /// Lists all passes
    #[arg(long)]
    pub list: bool,
}

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
    /// Threads that compute; results do not depend on it [default: as many as there are cores]
    #[arg(long, value_name = "T")]
    pub threads: Option<usize>,
    /// Overwrites files of other kinds, and inputs
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    pub target: TargetArgs,
}

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
    /// Overwrites files of other kinds, and inputs
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    pub machine: MachineArgs,
}

/// A pair of prefixes for partial loading, or none.
#[derive(Clone, Debug)]
pub struct Prefix(pub Option<(String, String)>);

/// Parses `from:to`, or nothing.
fn prefix(text: &str) -> Result<Prefix, String> {
    if text.is_empty() {
        return Ok(Prefix(None));
    }
    let (from, to) =
        text.split_once(':').ok_or("expected FROM:TO, such as backbone.: to take `backbone.` away")?;
    Ok(Prefix(Some((from.to_owned(), to.to_owned()))))
}

/// Parses `name=value`.
fn pair<T: FromStr>(text: &str) -> Result<(String, T), String>
where
    T::Err: std::fmt::Display,
{
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE, such as batch=1")?;
    let value = value.trim().parse().map_err(|e| format!("the value of `{}`: {e}", name.trim()))?;
    Ok((name.trim().to_owned(), value))
}

/// Parses a number of bytes: a number, with a unit of powers of 1000 or 1024.
fn memory(text: &str) -> Result<usize, String> {
    const UNITS: [(&str, u64); 8] = [
        ("", 1),
        ("B", 1),
        ("kB", 1000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
    ];
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = (text[..end].parse::<f64>(), text[end..].trim());
    let unit = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit));
    match (number, unit) {
        (Ok(number), Some((_, bytes))) if number * (*bytes as f64) < 1e18 => {
            Ok((number * *bytes as f64) as usize)
        }
        _ => Err("expected a number of bytes, such as 300MB, 1.5GiB or 4096".into()),
    }
}

/// Parses a time to measure for, in seconds: up to a day.
fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.0..=86_400.0).contains(&seconds) => Ok(seconds),
        _ => Err("expected a number of seconds from 0 to 86400".into()),
    }
}

/// The version, with that of the numerics: code of one numerics version computes the same bits.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    format!("{}, numerics version {}", env!("CARGO_PKG_VERSION"), brolga::codegen::NUMERICS_VERSION)
});
