//! A compiled model as a program: the container that it carries is opened where the system has mapped it.

mod place;
#[cfg(target_env = "gnu")]
#[allow(non_snake_case)]
mod unwind;

use std::process::ExitCode;

use brolga_runtime::container::{Check, Loaded, open_in_place};
use brolga_runtime::{
    Error, ErrorKind, Instance, Result, Tensor, Threads, read_tensors, type_name, write_results,
};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let Some(place) = place::container() else {
        return Err(wrong("this program has no model: `brolga build --emit exe` makes one that has"));
    };
    // SAFETY: `embed` has put a whole container here, from code that was just compiled, into segments that are mapped as long as
    // the program runs: code to be executed, and what is behind it, privately, to be written. This is done once. Weights are
    // as much part of the program as its code.
    let model = unsafe { open_in_place(place, Check::Code) }?;
    let words: Vec<String> =
        std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["--version"] => {
            let numerics = model.contents.entries.first().map_or(0, |manifest| manifest.numerics);
            println!("{} {}, numerics version {numerics}", model.contents.model, env!("CARGO_PKG_VERSION"));
            Ok(())
        }
        [] | ["--help"] => {
            help(&model);
            Ok(())
        }
        _ => call(model, &words),
    }
}

/// What the model takes and gives.
fn help(model: &Loaded) {
    println!("{}, compiled by Brolga", model.contents.model);
    println!(
        "\nOptions: --inputs FILE --outputs FILE [--entry E] [--weights FILE] [--threads T], --help, --version"
    );
    println!(
        "Files ending in .npz or .npy are NumPy's, all others safetensors; tensors carry the names of inputs and outputs."
    );
    println!("\nEntry points:");
    for (at, manifest) in model.contents.entries.iter().enumerate() {
        let sizes = model.contents.sizes(at).iter().map(|(name, size)| format!(" {name}={size}"));
        println!("  {}{}", manifest.entry, sizes.collect::<String>());
        for input in &manifest.inputs {
            println!("    input   {}: {}", input.name, type_name(input.dtype, &input.dims));
        }
        for output in &manifest.outputs {
            println!("    output  {}: {}", output.name, type_name(output.dtype, &output.dims));
        }
    }
}

/// One call of an entry point with inputs and outputs in files.
fn call(mut model: Loaded, words: &[&str]) -> Result<()> {
    let mut options = Options::default();
    for pair in words.chunks(2) {
        let [name, value] = *pair else {
            return Err(wrong(&format!(
                "`{}` needs a value, or is not known: --help lists what is",
                pair[0]
            )));
        };
        match name {
            "--inputs" => options.inputs = Some(value),
            "--outputs" => options.outputs = Some(value),
            "--entry" => options.entry = value,
            "--weights" => options.weights = Some(value),
            "--threads" => {
                let count = value.parse().map_err(|_| wrong("--threads takes a whole number"))?;
                options.threads = Some(count);
            }
            _ => return Err(wrong(&format!("`{name}` is not known: --help lists what is"))),
        }
    }
    let threads = options.threads.map_or_else(Threads::available, Threads::new)?;
    if let Some(weights) = options.weights {
        model.state.load(weights)?;
    } else if !model.contents.has_weights() {
        return Err(wrong("this program has no weights: give them with --weights"));
    }
    let executable = model.entry(options.entry)?.clone();
    let mut given = options.inputs.map(read_tensors).transpose()?.unwrap_or_default();
    let mut inputs = Vec::new();
    for input in &executable.manifest().inputs {
        let at = given.iter().position(|(name, _)| *name == input.name).ok_or_else(|| {
            let ty = type_name(input.dtype, &input.dims);
            wrong(&format!("`{}` is missing in --inputs: {ty}", input.name))
        })?;
        inputs.push((input.name.as_str(), given.swap_remove(at).1.for_input(input.dtype, &input.dims)?));
    }
    let inputs: Vec<(&str, &Tensor)> = inputs.iter().map(|(name, tensor)| (*name, tensor)).collect();
    let mut instance = Instance::bind(executable.clone(), &model.state, &threads)?;
    let outputs = instance.run_named(&mut model.state, &inputs)?;
    let views: Vec<_> = outputs.iter().map(|(name, tensor)| (name.as_str(), tensor.view())).collect();
    match options.outputs {
        Some(file) => write_results(file, &views),
        None => Err(wrong("--outputs is missing: a file for the results")),
    }
}

/// What the command line says.
struct Options<'a> {
    entry: &'a str,
    inputs: Option<&'a str>,
    outputs: Option<&'a str>,
    weights: Option<&'a str>,
    threads: Option<usize>,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Options { entry: "infer", inputs: None, outputs: None, weights: None, threads: None }
    }
}

fn wrong(message: &str) -> Error {
    Error::new(ErrorKind::Option, message)
}
