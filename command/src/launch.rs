//! The command line of an executable that carries a compiled model.
//!
//! What learning is, whoever starts it hands in, and it is named nowhere else: a program that only answers has nothing of it.

mod beside;
mod learning;

pub use learning::LEARNING;

use std::ffi::OsString;
use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use brolga_models::data::Format;
use brolga_runtime::container::Loaded;
use brolga_runtime::{Content, Error, Executable, Result, Shown, Threads, counted, read_array, type_name};

use crate::answers::{Asked, answer};
use crate::bench::{peak_rss_mb, times};
use crate::call::{Call, call, called};
use crate::compiled::Compiled;
use crate::container::Ready;
use crate::destination::Destinations;
use crate::files::{InputFile, Start};
use crate::options::{Given, Known, flag, help, valued};
use crate::report::{bytes, dims_json};
use crate::{output, refused};

/// Options of every command.
const COMMON: [Known; 3] = [
    valued(
        "--threads",
        "T",
        "Threads that compute; results do not depend on it [default: one for each core]",
    ),
    flag("--json", "Prints one JSON object"),
    flag("--help", "Prints this"),
];

/// Where weights come from.
const WEIGHTS: [Known; 1] =
    [valued("--weights", "FILE", "Weights or a training state, in place of those that the program carries")];

const FORCE: [Known; 1] = [flag("--force", "Overwrites files of other kinds, inputs, and other weights")];

const RUN: [Known; 5] = [
    valued("--entry", "E", "The entry point"),
    valued(
        "--inputs",
        "FILE",
        "Tensors by the names of inputs, in place of paths; - is a .npy on standard input",
    ),
    valued("--outputs", "FILE", "Where the outputs go: .npz, .npy, safetensors; of samples also .csv"),
    valued(
        "--seed",
        "S",
        "Draws weights where there are none, and the model's random numbers [default of these: 0]",
    ),
    flag("--version", "Prints the model and the version of its numerics"),
];

/// What a program takes that is called without a command.
const ANSWERING: &[&[Known]] = &[&RUN, &WEIGHTS, &FORCE, &COMMON];

const BENCH: [Known; 2] =
    [valued("--entry", "E", "The entry point"), valued("--seconds", "S", "How long to measure [default: 2]")];

/// Something that a program does besides answering, when it is called with its name.
pub struct Subcommand {
    name: &'static str,
    options: &'static [&'static [Known]],
    /// What the help says besides the options.
    about: &'static str,
    run: fn(&mut Ready, &Threads, &Given, &Path) -> Result<ExitCode>,
}

/// What programs for all models do.
static MEASURING: Subcommand =
    Subcommand { name: "bench", options: &[&BENCH, &COMMON], about: "", run: measured };

/// What a program has besides what all have.
pub struct Extent {
    /// [`LEARNING`], or nothing in a program for models that do not train.
    pub learning: &'static [Subcommand],
    /// The formats in which pictures are read.
    pub formats: &'static [&'static Format],
}

/// Runs the command line of an executable with this model; `arguments` begin with what the program was called as.
pub fn launch(model: Loaded, arguments: impl Iterator<Item = OsString>, extent: &Extent) -> ExitCode {
    let arguments = arguments.collect();
    let code = Ready::new(model).and_then(|model| run(model, arguments, extent)).unwrap_or_else(|error| {
        errln!("error: {error}");
        ExitCode::FAILURE
    });
    output::finish(code)
}

fn run(mut model: Ready, arguments: Vec<OsString>, extent: &Extent) -> Result<ExitCode> {
    let mut arguments = arguments.into_iter();
    let program = arguments.next().map_or_else(|| PathBuf::from(model.name()), PathBuf::from);
    let mut arguments = arguments.peekable();
    let first = arguments.peek().and_then(|first| first.to_str()).unwrap_or_default();
    if extent.learning.is_empty() && ["train", "evaluate"].contains(&first) {
        return Err(without_training(&model));
    }
    let command = extent.learning.iter().chain([&MEASURING]).find(|known| known.name == first);
    if command.is_some() {
        arguments.next();
    }
    let own = command.map_or(ANSWERING, |command| command.options);
    let given = Given::read(arguments, own)?;
    if given.has("--help") {
        out!("{}", about(&model, &program, command, own, extent));
        return Ok(ExitCode::SUCCESS);
    }
    if given.has("--version") {
        let numerics = model.loaded().contents.entries.first().map_or(0, |manifest| manifest.numerics);
        outln!("{} (brolga {}), numerics version {numerics}", model.name(), env!("CARGO_PKG_VERSION"));
        return Ok(ExitCode::SUCCESS);
    }
    if let (Some(command), Some(path)) = (command, given.paths.first()) {
        let (name, path) = (command.name, path.shown());
        return Err(refused(format!("`{name}` takes options alone, and `{path}` is none")));
    }
    let threads = match given.number("--threads", "a whole number")? {
        Some(count) => Threads::new(count)?,
        None => Threads::available()?,
    };
    match command {
        Some(command) => (command.run)(&mut model, &threads, &given, &program),
        None => answered(&mut model, &threads, &given, &program, extent.formats),
    }
}

/// The files that are read, and whether everything may be overwritten.
fn destinations(given: &Given) -> Destinations {
    let mut found = Destinations::new(given.has("--force"));
    for option in ["--weights", "--inputs", "--data"] {
        given.path(option).into_iter().for_each(|path| found.reads(option, path));
    }
    given.paths.iter().for_each(|path| found.reads("PATH", path));
    found
}

/// Weights that lie beside a program which carries none, unless others are given.
fn beside(model: &Ready, given: &Given, program: &Path) -> Option<PathBuf> {
    let wanted = given.path("--weights").is_none() && !model.loaded().contents.has_weights();
    wanted.then(|| beside::weights(program, model.name())).flatten()
}

/// Checks that there is something to answer with where no file is: random weights say nothing, so they are drawn where a seed is
/// given, and nowhere else.
fn weighed(model: &mut Ready, entry: &str, seed: Option<i64>, program: &Path) -> Result<()> {
    let contents = &model.loaded().contents;
    if contents.has_weights() {
        return seed.map_or(Ok(()), |seed| model.draw_by(seed));
    }
    let is_weight = |name: &str| contents.state.iter().any(|slot| slot.name == name && slot.kind.is_weight());
    let used = model.loaded().entry(entry)?.manifest().state.iter().any(|slot| is_weight(&slot.name));
    if used && seed.is_none() {
        let [own, _] = beside::names(program, model.name());
        let drawn = if model.has("init") {
            ", or have some drawn with --seed N, whose answers mean nothing"
        } else {
            ""
        };
        return Err(refused(format!(
            "this program carries no weights: give them with --weights FILE, or lay them beside it as `{}`{drawn}",
            own.shown()
        )));
    }
    Ok(())
}

/// Pictures, tables and arrays.
fn answered(
    model: &mut Ready,
    threads: &Threads,
    given: &Given,
    program: &Path,
    formats: &'static [&'static Format],
) -> Result<ExitCode> {
    let entry = answering(model, given)?;
    let (beside, seed) = (beside(model, given, program), given.number("--seed", "a whole number")?);
    let weights = given.path("--weights").or(beside.as_deref());
    if weights.is_none() {
        weighed(model, &entry, seed, program)?;
    }
    let start = Start { weights, seed: seed.unwrap_or(0), ..Start::default() };
    let (inputs, outputs) = (given.path("--inputs"), given.path("--outputs"));
    let stream = Path::new("-");
    let paths: Vec<PathBuf> = given.paths.iter().filter(|path| *path != stream).cloned().collect();
    let piped = inputs == Some(stream) || paths.len() < given.paths.len();
    let nothing = inputs.is_none() && given.paths.is_empty();
    let takes_none = model.fields(&entry)?.is_empty();
    if inputs.is_some() && !given.paths.is_empty() {
        return Err(refused("give paths, or --inputs, and not both"));
    }
    let file = match inputs.filter(|path| *path != stream) {
        Some(path) => Some(InputFile::new(path)),
        None if nothing && takes_none => Some(InputFile::of(stream, Vec::new())),
        None if piped || nothing => Some(standard_input(model, &entry)?),
        None => None,
    };
    let (save, json) = (None, given.has("--json"));
    let entry = entry.as_str();
    match called(&paths, outputs) {
        Some(outputs) => {
            call(model, threads, &Call { entry, start, outputs, save, json }, file, destinations(given))
        }
        None => {
            let asked = Asked { entry, start, paths: &paths, outputs, save, json, formats };
            answer(model, threads, &asked, file, destinations(given))
        }
    }
}

/// The entry point that answers where none is named: `infer`, or the first one that does not train.
fn answering(model: &Ready, given: &Given) -> Result<String> {
    if let Some(entry) = given.text("--entry")? {
        return Ok(entry.to_owned());
    }
    let training = model.training();
    let names = model.loaded().contents.entries.iter().map(|manifest| manifest.entry.as_str());
    let belongs = |name: &str| name.contains('.') || name == "init";
    let mut names = names.filter(|name| !belongs(name) && !training.contains(name));
    let first = if model.has("infer") { Some("infer") } else { names.next() };
    first.map(str::to_owned).ok_or_else(|| {
        refused(format!(
            "`{}` was compiled without an entry point that answers: build it with --entry infer,train for that, or \
             name one with --entry (see --help)",
            model.name()
        ))
    })
}

/// Bytes of standard input by which it is told whether it is an array: what is none may have no end.
const BEGINNING: u64 = 4096;

/// What comes through standard input: one array, for the one input.
fn standard_input(model: &Ready, entry: &str) -> Result<InputFile<'static>> {
    let way_out = "give pictures, folders of them or tables, or tensors with --inputs (see --help)";
    let path = Path::new("standard input");
    let failed = |e| Error::io("read", path, e);
    let mut bytes = Vec::new();
    let mut input = std::io::stdin().lock();
    if !input.is_terminal() {
        input.by_ref().take(BEGINNING).read_to_end(&mut bytes).map_err(failed)?;
    }
    if bytes.is_empty() {
        return Err(refused(format!("there is nothing to answer for: {way_out}")));
    }
    let content = Content::of_bytes(&bytes);
    if content != Content::Npy {
        let message = format!("standard input is {content}, and takes an array (.npy) alone: {way_out}");
        return Err(refused(message));
    }
    let executable = model.executable(entry, None)?;
    let [own] = &executable.manifest().inputs[..] else {
        return Err(refused(format!(
            "standard input is for one input, and `{entry}` has several: {way_out}"
        )));
    };
    input.read_to_end(&mut bytes).map_err(failed)?;
    let array = read_array(&bytes).map_err(|e| e.within("standard input"))?;
    Ok(InputFile::of(path, vec![(own.name.clone(), array)]))
}

/// The entry point that trains where none is named: `train`, or the first one.
fn training(model: &Ready, given: &Given) -> Result<String> {
    if let Some(entry) = given.text("--entry")? {
        return Ok(entry.to_owned());
    }
    let all = model.training();
    let first = all.iter().find(|name| **name == "train").or(all.first());
    first.map(|name| (*name).to_owned()).ok_or_else(|| without_training(model))
}

/// What a model says of training that has nothing that trains.
fn without_training(model: &Ready) -> Error {
    let name = model.name();
    refused(format!("`{name}` was compiled without training: build it with --entry infer,train for that"))
}

fn measured(model: &mut Ready, threads: &Threads, given: &Given, _: &Path) -> Result<ExitCode> {
    let entry = answering(model, given).or_else(|why| training(model, given).map_err(|_| why))?;
    let seconds = given.number("--seconds", "a number of seconds from 0 to 86400")?.unwrap_or(2.0);
    if !(0.0..=86_400.0).contains(&seconds) {
        return Err(refused("--seconds takes a number of seconds from 0 to 86400"));
    }
    let executable = model.executable(&entry, None)?;
    let at = model.loaded().executables.iter().position(|known| std::sync::Arc::ptr_eq(known, &executable));
    let dims = model.loaded().contents.sizes(at.unwrap_or(0)).to_vec();
    let mut state = match model.take_state() {
        Some(own) => own,
        None => model.blank(0)?,
    };
    let times = times(&executable, &mut state, threads, Duration::from_secs_f64(seconds))?;
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let (median, least) = (ms(times[times.len() / 2]), ms(times[0]));
    let manifest = executable.manifest();
    if given.has("--json") {
        outln!(
            "{}",
            object! {"model": model.name(), "entry": &entry, "dims": dims_json(&dims), "threads": threads.count(),
            "median_ms": median, "min_ms": least, "runs": times.len(), "arena_bytes": manifest.arena_bytes,
            "local_bytes": manifest.local_bytes, "state_bytes": state.bytes(),
            "prepared_bytes": manifest.prepared_bytes, "peak_rss_mb": peak_rss_mb()}
        );
        return Ok(ExitCode::SUCCESS);
    }
    let sizes: Vec<String> = dims.iter().map(|(name, size)| format!("{name}={size}")).collect();
    outln!("{} [{}] {entry}, {}", model.name(), sizes.join(", "), counted(threads.count() as u64, "thread"));
    outln!("  median       {median:.4} ms   fastest {least:.4} ms   of {} runs", times.len());
    outln!(
        "  memory       state {}   arena {}   local {} for each thread   prepared {}",
        bytes(state.bytes()),
        bytes(manifest.arena_bytes),
        bytes(manifest.local_bytes),
        bytes(manifest.prepared_bytes)
    );
    Ok(ExitCode::SUCCESS)
}

/// Help that names what the model takes and gives.
fn about(
    model: &Ready,
    program: &Path,
    command: Option<&Subcommand>,
    own: &[&[Known]],
    extent: &Extent,
) -> String {
    let (name, program) = (model.name(), program.shown());
    let trains = !model.training().is_empty();
    let mut text = match command {
        None => format!(
            "{name}, compiled by brolga\n\nUsage: {program} [OPTIONS] PATH…\n       {program} --inputs FILE [--outputs FILE]\n"
        ),
        Some(command) => format!("Usage: {program} {} [OPTIONS]\n{}", command.name, command.about),
    };
    if command.is_none() {
        let commands = [("train", trains), ("evaluate", trains), ("bench", true)];
        for (command, _) in commands.into_iter().filter(|(_, there)| *there) {
            text += &format!("       {program} {command} [OPTIONS]     ({command} --help says more)\n");
        }
        let formats: Vec<&str> = extent.formats.iter().map(|format| format.name).collect();
        text += &format!(
            "\nPATH: pictures ({}, prepared as in training), folders of them, tables (.csv). Without any, a .npy is read from \
             standard input.\n",
            formats.join(" or ")
        );
    }
    text += &format!("\nOptions:\n{}", help(own));
    if command.is_none() {
        text += "\nEntry points:\n";
        let contents = &model.loaded().contents;
        for (at, executable) in model.loaded().executables.iter().enumerate() {
            text += &described(executable, contents.sizes(at));
        }
    }
    text
}

/// An entry point with its inputs and outputs.
fn described(executable: &Executable, sizes: &[(String, usize)]) -> String {
    let manifest = executable.manifest();
    let sizes: String = sizes.iter().map(|(name, size)| format!(" {name}={size}")).collect();
    let mut text = format!("  {}{sizes}\n", manifest.entry);
    for input in &manifest.inputs {
        text += &format!("    input   {}: {}\n", input.name, type_name(input.dtype, &input.dims));
    }
    for output in &manifest.outputs {
        text += &format!("    output  {}: {}\n", output.name, type_name(output.dtype, &output.dims));
    }
    text
}
