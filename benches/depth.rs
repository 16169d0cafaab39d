//! Compile time against depth, stage by stage and pass by pass: `cargo bench --bench depth [-- [--passes] MODEL...]`.
//!
//! Without names, the residual networks of He et al. (2015) for CIFAR: 20 to 1202 layers.

use std::time::Instant;

use brolga::{CompileOptions, Compiler, Model, Settings};

const MODELS: [&str; 6] = ["resnet20", "resnet32", "resnet44", "resnet56", "resnet110", "resnet1202"];
/// Times each is compiled; the fastest counts.
const ROUNDS: usize = 3;

/// Milliseconds in all and of each stage; kernels and calls; what the passes report.
type Compilation = (f64, Vec<f64>, [usize; 2], Vec<brolga::passes::Report>);

fn main() -> brolga::Result<()> {
    let mut names: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let passes = names.iter().any(|name| name == "--passes");
    names.retain(|name| name != "--passes");
    if names.is_empty() {
        names = MODELS.map(String::from).into();
    }
    println!("milliseconds      entry      kernels  calls    load  graph   lower  program   emit    total");
    for name in &names {
        let start = Instant::now();
        let model = Model::load(name, &Settings::default().dim("batch", 2))?;
        let load = start.elapsed().as_secs_f64() * 1e3;
        for entry in ["infer", "train"] {
            let mut best: Option<Compilation> = None;
            for _ in 0..ROUNDS {
                let start = Instant::now();
                let mut compiler = Compiler::new(&CompileOptions::default());
                let optimised = compiler.optimise(model.graph(entry)?)?;
                let program = compiler.lower(&optimised)?;
                compiler.emit(&program)?;
                let total = start.elapsed().as_secs_f64() * 1e3;
                if best.as_ref().is_none_or(|best| total < best.0) {
                    // The graph passes come in two parts: with fusion apart.
                    let ms = |stage: &str| {
                        let of = compiler.times().iter().filter(|time| time.stage == stage);
                        of.map(|time| time.duration.as_secs_f64() * 1e3).sum::<f64>()
                    };
                    let stages = ["graph passes", "lower", "program passes", "emit"].map(ms).into();
                    let size = [program.kernels.len(), program.schedule.len()];
                    best = Some((total, stages, size, compiler.reports().to_vec()));
                }
            }
            let Some((total, stages, [kernels, calls], reports)) = best else { continue };
            print!("{name:<18}{entry:<9} {kernels:>8} {calls:>6} {load:>7.1}");
            stages.iter().for_each(|ms| print!(" {ms:>7.1}"));
            println!(" {:>8.1}", total + load);
            if passes {
                reports.iter().for_each(|report| println!("  {report}"));
            }
        }
    }
    Ok(())
}
