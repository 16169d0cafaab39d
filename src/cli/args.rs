//! The arguments that several subcommands have. Those of one alone are in its own file.

use std::path::PathBuf;
use std::str::FromStr;

use brolga::codegen::Options;
use brolga::ir::DType;
use brolga::passes::{Algorithms, Precision};
use brolga::{CompileOptions, Model, Settings, TargetCpu, TargetTriple, Threads};
use brolga_command::{Prefix, Start};
use clap::Args;

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
    /// equal to the bit. What is built may have code for several, separated by commas, and chooses when it runs
    #[arg(long, value_name = "CPU", value_parser = TargetCpu::ALL.map(TargetCpu::name), value_delimiter = ',',
          default_value = "native")]
    target_cpu: Vec<String>,
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
    /// bits: of long loops that are trained segments of steps, if nothing else is enough
    #[arg(long, value_name = "M", value_parser = memory)]
    pub memory_limit: Option<usize>,
}

/// Which machine code is made for.
#[derive(Args)]
pub struct TripleArgs {
    /// System and family of processors: x86_64-unknown-linux-gnu, aarch64-unknown-linux-gnu, x86_64-apple-darwin,
    /// aarch64-apple-darwin, x86_64-pc-windows-msvc. For another than this machine's, --target-cpu native is the least of
    /// the family [default: this machine's]
    #[arg(long, value_name = "TRIPLE", value_parser = TargetTriple::from_str)]
    target: Option<TargetTriple>,
}

/// How many threads there are.
#[derive(Args)]
pub struct ThreadsArgs {
    /// Threads that compute; results do not depend on it [default: as many as there are cores]
    #[arg(long, value_name = "T", value_parser = whole::<usize>, allow_negative_numbers = true)]
    threads: Option<usize>,
}

/// How code is made and run.
#[derive(Args)]
pub struct MachineArgs {
    #[command(flatten)]
    threads: ThreadsArgs,
    #[command(flatten)]
    pub target: TargetArgs,
    /// Measures in which blocks and loops products run fastest on this processor, for some seconds, and keeps that in
    /// FILE, where it is found the next time; results are equal to the bit. Without it, no such file is read
    /// [default of FILE: brolga/tunings.txt in $XDG_CACHE_HOME or ~/.cache]
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    pub tune: Option<Option<PathBuf>>,
}

/// Whether files may be overwritten.
#[derive(Args)]
pub struct OverwriteArgs {
    /// Overwrites files of other kinds, inputs, and weights that are not the model's own
    #[arg(long)]
    pub force: bool,
}

/// How much of the weights in a file is taken.
#[derive(Args)]
pub struct PartialArgs {
    /// Takes what fits of the weights by name, and says what does not. With FROM:TO, names in the file that begin with FROM
    /// begin with TO in the model, such as --partial=backbone.: or --partial=:encoder.; may be repeated, the first that
    /// fits counts
    #[arg(long, requires = "weights", value_name = "FROM:TO", num_args = 0..=1, require_equals = true,
          default_missing_value = "", value_parser = prefix)]
    pub partial: Vec<Prefix>,
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
    /// Weights or a training state; `evaluate` needs them, others draw fresh ones without
    #[arg(long, value_name = "FILE")]
    pub weights: Option<PathBuf>,
    #[command(flatten)]
    pub names: PartialArgs,
    /// Draws the weights where none are given, and the model's random numbers
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
    fn tell_hidden(&self) {
        if brolga::hides_file(&self.model) {
            let name = &self.model;
            errln!("note: `{name}` is the model that comes along; the file of that name is `./{name}`");
        }
    }

    /// The model, to be compiled so for a data set: with a batch of that size if one is given.
    pub fn load_batched(&self, batch: Option<usize>, options: CompileOptions) -> brolga::Result<Model> {
        self.tell_hidden();
        let mut settings = self.settings(&options);
        if let Some(batch) = batch {
            if self.dims.iter().any(|(name, _)| name == "batch") {
                let message = "--batch and --dim batch=… say the same: give one of them";
                return Err(brolga::Error::Name(message.into()));
            }
            settings = settings.dim("batch", batch);
        }
        Ok(Model::load(&self.model, &settings)?.with_options(options))
    }

    /// The model, to be compiled so. Entry points that do not take the sizes are refused when they are asked for.
    pub fn load(&self, options: CompileOptions) -> brolga::Result<Model> {
        self.tell_hidden();
        let settings = self.settings(&options);
        let model = Model::load(&self.model, &settings);
        let model = model.or_else(|why| self.made_for_sizes(&settings).ok_or(why))?;
        Ok(model.with_options(options))
    }

    /// The same where all its entry points must take the sizes.
    pub fn load_whole(&self, options: CompileOptions) -> brolga::Result<Model> {
        self.tell_hidden();
        Ok(Model::load(&self.model, &self.settings(&options))?.with_options(options))
    }

    /// The model without the sizes that are given, if that is right, made for these, if any entry point takes them.
    fn made_for_sizes(&self, settings: &Settings) -> Option<Model> {
        let dims: Vec<(&str, usize)> = self.dims.iter().map(|(name, size)| (name.as_str(), *size)).collect();
        let others = Settings { dims: Vec::new(), ..settings.clone() };
        let model = if dims.is_empty() { None } else { Model::load(&self.model, &others).ok() };
        model?.with_dims(&dims).ok()
    }
}

impl StartArgs {
    /// The same without the command line.
    pub fn start(&self) -> Start<'_> {
        let (weights, partial) = (self.weights.as_deref(), &self.names.partial[..]);
        Start { weights, partial, seed: self.seed, fitted: &self.fitted }
    }
}

impl TargetArgs {
    /// The options of compilation.
    pub fn options(&self) -> brolga::Result<CompileOptions> {
        Ok(self.options_for(self.cpu()?))
    }

    /// The options of compilation for this processor.
    pub fn options_for(&self, target_cpu: TargetCpu) -> CompileOptions {
        let mut options = CompileOptions { target_cpu, ..CompileOptions::default() };
        options.passes.precision = self.precision;
        options.passes.algorithms = self.algorithms;
        options.passes.memory_limit = self.memory_limit;
        options
    }

    /// The processor, where there can be one alone.
    pub fn cpu(&self) -> brolga::Result<TargetCpu> {
        match self.cpus()?[..] {
            [cpu] => Ok(cpu),
            _ => Err(brolga::Error::Name(format!(
                "--target-cpu {} is for what `brolga build` makes without --tune: give one processor",
                self.target_cpu.join(",")
            ))),
        }
    }

    /// The processors, at least one.
    pub fn cpus(&self) -> brolga::Result<Vec<TargetCpu>> {
        let cpus = self.target_cpu.iter().map(|name| TargetCpu::from_str(name));
        Ok(cpus.collect::<Result<_, _>>()?)
    }
}

impl TripleArgs {
    /// What code is made for, of this processor of the family.
    pub fn options(&self, target_cpu: TargetCpu) -> Options {
        Options { target_cpu, triple: self.target.unwrap_or_default() }
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
        self.threads.start()
    }
}

impl ThreadsArgs {
    /// So many threads, or as many as there are cores.
    pub fn start(&self) -> brolga::Result<Threads> {
        Ok(match self.threads {
            Some(count) => Threads::new(count)?,
            None => Threads::available()?,
        })
    }
}

/// Parses `from:to`, or nothing.
fn prefix(text: &str) -> Result<Prefix, String> {
    if text.is_empty() {
        return Ok(Prefix(None));
    }
    let (from, to) =
        text.split_once(':').ok_or("expected FROM:TO, such as backbone.: to take `backbone.` away")?;
    Ok(Prefix(Some((from.to_owned(), to.to_owned()))))
}

/// Parses `name=value`, where the value is a text or a whole number.
pub fn pair<T: FromStr>(text: &str) -> Result<(String, T), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE, such as batch=1")?;
    let (name, value) = (name.trim(), value.trim());
    let wrong = |_| format!("`{name}` must be a whole number from 0 to 2^64 - 1, found `{value}`");
    Ok((name.to_owned(), value.parse().map_err(wrong)?))
}

/// Parses a whole number from 0 on.
pub fn whole<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| "expected a whole number from 0 to 2^64 - 1".to_owned())
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
pub fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.0..=86_400.0).contains(&seconds) => Ok(seconds),
        _ => Err("expected a number of seconds from 0 to 86400".into()),
    }
}
