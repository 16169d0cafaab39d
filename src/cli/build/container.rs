//! `brolga build --emit container`

use std::process::ExitCode;

use brolga::passes::facts::batch::trains;
use brolga::runtime::Shown;
use brolga::{CompiledModel, ContainerEntry, Model, ObjectEntry, Result};
use brolga_command::report::{bytes, shapes};

use super::args::BuildArgs;
use super::sizes::{Sizes, tuned, weights};
use crate::cli::destination::{Destinations, Written};

pub fn run(args: &BuildArgs, mut destinations: Destinations) -> Result<ExitCode> {
    let compiled = compiled(args, &mut destinations, Written::Container)?;
    compiled.write(&args.output)?;
    let size = std::fs::metadata(&args.output).map_or(0, |file| file.len() as usize);
    outln!("container: {} ({})", args.output.shown(), bytes(size));
    describe(&compiled, &args.entries);
    Ok(ExitCode::SUCCESS)
}

/// The compiled model, when it is known that it can be written.
pub fn compiled(args: &BuildArgs, destinations: &mut Destinations, what: Written) -> Result<CompiledModel> {
    let sizes = Sizes::of(args)?;
    let mut model = sizes.model(args)?;
    destinations.reads_model(model.files());
    destinations.writes("-o", &args.output, what, 0)?;
    let trained = sizes.entries().iter().any(|(name, _)| model.built(name).is_ok_and(trains));
    if !trained && !batched(args, None) && !model.shares_state_with_single() {
        // Single samples are answered for, with the state that they have.
        model = model.with_dims(&[("batch", 1)])?;
    }
    if args.machine.tune.is_some() {
        model = tuned(model, args, &sizes)?;
    }
    let all = entries(&model, args, &sizes)?;
    let borrowed = borrowed(&all);
    let entries: Vec<ObjectEntry<'_>> = borrowed.iter().map(|(name, dims)| (*name, &dims[..])).collect();
    model.container(&entries, weights(&model, args)?.as_ref(), args.prepared, &args.targets()?)
}

fn borrowed(entries: &[ContainerEntry]) -> Vec<(&str, Vec<(&str, usize)>)> {
    entries
        .iter()
        .map(|(name, dims)| (&**name, dims.iter().map(|(name, size)| (&**name, *size)).collect()))
        .collect()
}

/// The entries asked for, and those that belong to them. What trains has the model's batch; the others are for single samples,
/// and for a batch too if one is given. Where the state's shapes depend on the batch there is the model's batch alone.
fn entries(model: &Model, args: &BuildArgs, sizes: &Sizes<'_>) -> Result<Vec<ContainerEntry>> {
    let mut all: Vec<(&str, Vec<(&str, usize)>)> = Vec::new();
    for (name, dims) in sizes.entries() {
        let single = match trains(model.built(name)?) {
            true => None,
            false => model.single(dims),
        };
        if single.is_none() || batched(args, Some(name)) {
            all.push((name, dims.to_vec()));
        }
        all.extend(single.map(|dims| (name, dims)));
    }
    let all: Vec<ObjectEntry<'_>> = all.iter().map(|(name, dims)| (*name, &dims[..])).collect();
    model.with_companions(&all)
}

/// Whether a batch is given: for all entry points, or for this one (for any).
fn batched(args: &BuildArgs, entry: Option<&str>) -> bool {
    let own = |of: &str| entry.is_none_or(|entry| entry == of);
    let given = |name: &str| match name.rsplit_once('.') {
        Some((of, "batch")) => own(of),
        _ => name == "batch",
    };
    args.model.dims.iter().any(|(name, _)| given(name))
}

/// Says what is in a container, of the entries that were asked for with their shapes.
pub fn describe(compiled: &CompiledModel, asked: &[String]) {
    for (manifest, sizes) in compiled.entries().iter().zip(compiled.sizes()) {
        let sizes: Vec<String> = sizes.iter().map(|(name, size)| format!("{name}={size}")).collect();
        outln!("entry: {} {}", manifest.entry.shown(), sizes.join(" "));
        if asked.contains(&manifest.entry) {
            outln!("  {}", shapes(manifest));
        }
    }
    if compiled.prepared_bytes() > 0 {
        outln!("prepared values: {}", bytes(compiled.prepared_bytes()));
    }
}
