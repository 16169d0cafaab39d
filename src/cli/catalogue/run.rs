//! Running rows.

use std::path::Path;
use std::process::ExitCode;

use brolga::models::data;
use brolga::models::rows::{Kind, ROWS, Run, runs};
use brolga::runtime::{
    self, Epoch, Executables, Field, Flow, Instance, Manifest, Outlook, Plan, Progress, Split, Update,
};
use brolga::{CompileOptions, Error, Model, Result, Settings, Threads};
use brolga_command::report::{metric, metrics, pairs};
use brolga_command::{Bar, Json, output};

use super::args::RowArgs;
use super::list::shown;
use super::results::{Line, keep, line, target};
use crate::cli::train::Drawn;

/// Runs the rows asked for, one after the other; each result is kept as it comes.
///
/// # Errors
/// An unknown row; a model or data set that cannot be run; results that cannot be written.
pub fn run(args: &RowArgs, path: &Path, mut lines: Vec<Line>, json: bool) -> Result<ExitCode> {
    let known: Vec<&str> = ROWS.iter().map(|(id, _)| *id).collect();
    if let Some(id) = args.ids.iter().find(|id| !known.contains(&id.as_str())) {
        return Err(Error::unknown("row that can be run", id, known));
    }
    let wanted =
        known.into_iter().filter(|id| args.ids.is_empty() || args.ids.iter().any(|asked| asked == id));
    let all = wanted.flat_map(|id| runs(id).iter().map(move |run| (id, run)));
    let is_due =
        |id: &str, run: &Run| !args.stale || line(&lines, id, run).is_none_or(|line| !line.is_fresh(run));
    let due: Vec<(&str, &Run)> = all.filter(|&(id, run)| is_due(id, run)).collect();
    if due.is_empty() {
        errln!("note: nothing is stale");
    }
    let threads = args.machine.threads()?;
    let options = args.machine.options(&threads)?;
    let mut done = Vec::new();
    for (id, run) in due {
        errln!("{id}: {}", run.command());
        let line = came_to(id, run, &threads, &options)?;
        keep(path, &mut lines, line.clone())?;
        if !json {
            let word = if line.holds() { "" } else { "   missed" };
            outln!("{:<16}{:<28}{}{word}", line.id, line.target, shown(&line));
        }
        done.push(line);
    }
    if json {
        let one = |line: &Line| {
            object! {"id": line.id.clone(), "command": line.command.clone(), "target": line.target.clone(),
            "value": line.value, "holds": line.holds()}
        };
        outln!("{}", object! {"rows": done.iter().map(one).collect::<Vec<Json>>()});
    }
    Ok(if done.iter().all(Line::holds) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What a run comes to.
fn came_to(id: &str, run: &Run, threads: &Threads, options: &CompileOptions) -> Result<Line> {
    let model = Model::load(run.model, &Settings::default())?.with_options(options.clone());
    match run.kind {
        Kind::Parameters(_) => {
            let count = model.instance().parameter_count();
            Ok(Line::new(id, run, target(&run.kind, &[])?, count as f64))
        }
        Kind::Gives { entry, output, .. } => {
            let value = given(&model, threads, entry, output)?;
            Ok(Line::new(id, run, target(&run.kind, &[])?, value))
        }
        Kind::Trains { epochs, seed, metric, .. } => {
            let (value, known) = trained(&model, threads, epochs, seed, metric)?;
            Ok(Line::new(id, run, target(&run.kind, &known)?, value))
        }
    }
}

/// What an entry that takes nothing gives under this name: one number.
fn given(model: &Model, threads: &Threads, entry: &str, output: &str) -> Result<f64> {
    let executable = model.compile(entry)?;
    let names: Vec<&str> = executable.manifest().outputs.iter().map(|output| output.name.as_str()).collect();
    let at = names.iter().position(|name| *name == output);
    let at = at.ok_or_else(|| Error::unknown("output", output, names))?;
    let mut state = model.initial_state(0)?;
    let mut instance = Instance::bind(executable.clone(), &state, threads)?;
    Ok(instance.run_named(&mut state, &[])?.swap_remove(at).1.item()?)
}

/// Trains a model on its own data set: a metric of the part held out after the last epoch, and what is known of the data.
fn trained(
    model: &Model,
    threads: &Threads,
    epochs: Option<u64>,
    seed: u64,
    metric: &str,
) -> Result<(f64, Vec<(&'static str, f64)>)> {
    let train = model.compile("train")?;
    let source = model.instance().data().unwrap_or("").to_owned();
    let fields = fields(train.manifest());
    let mut data = data::open(Path::new(&source), &fields, &model.data_options(seed))?;
    let mut state = model.initial_state(seed.cast_signed())?;
    model.fit(&mut state, threads, &mut *data)?;
    let evaluation = model.evaluation("train.eval", data.len(Split::Validation))?;
    let executables = Executables { train, formulas: model.formulas("train", &[])?, evaluation };
    let options = runtime::Options { seed, checkpoints: None, log: None };
    let mut plan = Plan::epochs(executables, epochs.unwrap_or(0));
    if epochs.is_none() {
        let own = model.plan().filter(|own| own.trainees.len() == 1);
        let own = own.ok_or_else(|| Error::Name(format!("`{}` has no plan for one entry", model.name())))?;
        plan.phases = own.phases;
    }
    let mut watch = Watch { bar: output::moves().then(Drawn::new) };
    let outcome = runtime::train(&plan, &mut state, threads, &mut [&mut *data], &options, &mut watch);
    if let Some(bar) = &watch.bar {
        bar.finish();
    }
    let outcome = outcome?;
    if let Some(diverged) = outcome.diverged {
        return Err(Error::Name(format!("`{}`: {diverged}", model.name())));
    }
    let names = outcome.validation.iter().map(|(name, _)| name.as_str());
    let value = outcome.validation.iter().find(|(name, _)| name == metric);
    let (_, value) = value.ok_or_else(|| Error::unknown("metric", metric, names))?;
    Ok((*value, data::known(&source, &fields)?))
}

/// What the inputs of an entry point take of a sample.
fn fields(manifest: &Manifest) -> Vec<Field> {
    let field = |input: &runtime::Input| Field {
        name: input.name.clone(),
        dtype: input.dtype,
        dims: input.dims_of_one(),
    };
    manifest.inputs.iter().map(field).collect()
}

/// A bar on a terminal; else a line for each epoch.
struct Watch {
    bar: Option<Drawn>,
}

impl Progress for Watch {
    fn start(&mut self, outlook: &Outlook<'_>) {
        if let Some(bar) = &mut self.bar {
            bar.start(outlook.updates);
        }
    }

    fn update(&mut self, update: &Update<'_>) -> Flow {
        if let Some(bar) = &mut self.bar {
            let newest = update.names.first().zip(update.metrics.first());
            let message = newest.map(|(name, value)| format!("{name} {}", metric(*value)));
            bar.step(update.step, update.trainee, message);
        }
        Flow::Continue
    }

    fn epoch(&mut self, epoch: &Epoch<'_>) -> Flow {
        if self.bar.is_none() {
            errln!("  epoch {:<3} {}", epoch.epoch, metrics(pairs(epoch.validation)));
        }
        Flow::Continue
    }
}
