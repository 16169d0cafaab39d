//! `--tune`, wherever a model is compiled to run.

use std::io::IsTerminal;

use brolga::tune::{Cache, Tuned};
use brolga::{Model, Result, Threads};
use brolga_command::Json;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::args::MachineArgs;

/// Has an entry point of the model scheduled by measurement, if that is asked for, and says what came of it.
pub fn tune(
    model: &mut Model,
    args: &MachineArgs,
    threads: &Threads,
    entry: &str,
    dims: &[(&str, usize)],
) -> Result<Option<Tuned>> {
    let Some(path) = &args.tune else { return Ok(None) };
    let path = path.clone().or_else(Cache::default_path);
    let mut cache = match &path {
        Some(path) => {
            let (cache, notice) = Cache::open(path);
            notice.into_iter().for_each(|notice| errln!("note: {notice}"));
            cache
        }
        None => {
            errln!("note: there is no home folder to keep what is measured in: give --tune=FILE");
            Cache::in_memory()
        }
    };
    let bar = if std::io::stderr().is_terminal() {
        // The template is fixed, and right.
        let style = ProgressStyle::with_template("tuning {bar:30} {pos}/{len} {eta}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr_with_hz(10)).with_style(style)
    } else {
        ProgressBar::hidden()
    };
    let tuned = model.tune(entry, dims, threads, &mut cache, &mut |done, all| {
        bar.set_length(all as u64);
        bar.set_position(done as u64);
    });
    bar.finish_and_clear();
    let tuned = tuned?;
    tuned.notice.iter().for_each(|notice| errln!("note: {notice}"));
    errln!("{}", summary(model.name(), entry, &tuned));
    Ok(Some(tuned))
}

fn summary(model: &str, entry: &str, tuned: &Tuned) -> String {
    let Tuned { products, known, changed, .. } = *tuned;
    let head = format!("tuning {model} {entry}: {products} different products");
    if known == products {
        return format!("{head}, all known, {changed} not as by default");
    }
    let measured = products - known;
    let seconds = tuned.time.as_secs_f64();
    match tuned.whole {
        Some((default, better)) => format!(
            "{head}, {measured} measured in {seconds:.1} s, {changed} not as by default: {:.3} ms instead of {:.3} ms",
            better.as_secs_f64() * 1e3,
            default.as_secs_f64() * 1e3
        ),
        None => format!("{head}, {measured} measured in {seconds:.1} s: nothing is faster than the default"),
    }
}

/// The same as JSON.
pub fn tuned_json(tuned: &Tuned) -> Json {
    let ms = |time: std::time::Duration| time.as_secs_f64() * 1e3;
    object! {"products": tuned.products, "known": tuned.known, "measured": tuned.products - tuned.known,
    "changed": tuned.changed, "default_ms": tuned.whole.map(|whole| ms(whole.0)),
    "tuned_ms": tuned.whole.map(|whole| ms(whole.1)), "seconds": tuned.time.as_secs_f64()}
}
