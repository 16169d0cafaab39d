//! `--tune`: which tunings are fastest, found by measuring.
//!
//! A candidate is given to all products of an entry at once, and traced runs tell what it does to each of them. One
//! candidate after the other meets what was best so far in turns, so that what disturbs the machine disturbs both;
//! where it wins clearly, it is the best from there on. In the end the whole program with all of the best meets the one
//! that the compiler chooses by itself, and only if it is faster are its tunings taken. No tuning changes a bit of
//! a result; see [`Tuning`].

mod cache;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant as Clock};

use brolga_codegen::TargetCpu;
use brolga_ir::Graph;
use brolga_ir::program::{Kernel, Program};
use brolga_passes::{ProductKind, Tuning, Tunings};
use brolga_runtime::{Instance, State, Tensor, Threads, cpu_name, random_inputs};

pub use cache::Cache;

use crate::compile::{CompileOptions, Compiler, Lowered};
use crate::error::Result;
use crate::trace::{Traced, calls};

/// A candidate must take less than this share of the time of what was best so far. The median over pairs of runs must say
/// so, and the fastest quarter of the runs of either: what else the machine does only makes runs longer.
const CLEARLY: f64 = 0.97;
/// Runs of a candidate, at least and at most, and how long they take in between.
const RUNS: (usize, usize) = (7, 400);
const MEASURED: Duration = Duration::from_millis(150);
/// The same for whole programs.
const WHOLE_RUNS: (usize, usize) = (7, 2000);
const WHOLE_MEASURED: Duration = Duration::from_millis(500);
/// No candidate is begun after so long.
const LIMIT: Duration = Duration::from_secs(30);

/// What tuning an entry came to.
#[derive(Clone, PartialEq, Debug)]
pub struct Tuned {
    /// The tunings of its products.
    pub tunings: Tunings,
    /// Different products.
    pub products: usize,
    /// Those of them that were in the cache.
    pub known: usize,
    /// Those that are tuned in another way than by default.
    pub changed: usize,
    /// What one run takes by default, and with what was measured; nothing if nothing better was found.
    pub whole: Option<(Duration, Duration)>,
    /// How long all this took.
    pub time: Duration,
    /// Why what was measured could not be kept.
    pub notice: Option<String>,
}

/// Called with the number of candidates done, and of all.
pub type Observer<'o> = dyn FnMut(usize, usize) + 'o;

/// Finds tunings for the products of an entry: those in the cache for this processor and number of threads, others by
/// measuring with random inputs and a state like `state`, which training changes. What is measured goes into the cache.
///
/// # Errors
/// What compiling and running the entry may give.
pub fn tune(
    graph: &Graph,
    options: &CompileOptions,
    threads: &Threads,
    state: &mut State,
    cache: &mut Cache,
    observe: &mut Observer<'_>,
) -> Result<Tuned> {
    let start = Clock::now();
    let mut own = options.clone();
    own.passes.tunings = Tunings::default();
    let mut compiler = Compiler::new(&own);
    let optimised = compiler.optimise(graph)?;
    let mut lower = |tunings: Tunings| {
        compiler.set_tunings(tunings);
        compiler.lower(&optimised)
    };
    let labelled = lower(Tunings::default().labelled())?;
    let all = keys(&labelled);
    let machine = machine(options, threads)?;
    let mut chosen = Tunings::default();
    for key in &all {
        if let Some(tuning) = cache.get(&machine, key) {
            chosen.set(key, tuning);
        }
    }
    let unknown: Vec<String> = all.iter().filter(|key| !chosen.contains(key)).cloned().collect();
    let (mut whole, mut notice) = (None, None);
    if !unknown.is_empty() {
        let mut search = Search { options: &own, threads, state, lower: &mut lower };
        let best = search.best(&chosen, &unknown, observe)?;
        let mut tuned = chosen.clone();
        best.iter().for_each(|(key, &tuning)| tuned.set(key, tuning));
        if best.values().any(|&tuning| tuning != Tuning::default()) {
            let times = search.compare(&chosen, &tuned)?;
            whole = faster(&times, 1.0).then(|| (quarter(&times[0]), quarter(&times[1])));
        }
        // What does not pay in the whole is not tried again.
        let kept = |key: &str| if whole.is_some() { tuned.get(key) } else { Tuning::default() };
        unknown.iter().for_each(|key| chosen.set(key, kept(key)));
        let kept = cache.add(&machine, unknown.iter().map(|key| (key.as_str(), chosen.get(key))));
        notice = kept.err().map(|error| format!("what was measured is not kept: {error}"));
    }
    Ok(Tuned {
        products: all.len(),
        known: all.len() - unknown.len(),
        changed: chosen.iter().filter(|(_, tuning)| **tuning != Tuning::default()).count(),
        tunings: chosen,
        whole,
        time: start.elapsed(),
        notice,
    })
}

/// What measurements hold for: the processor, what code may use of it, and the threads.
fn machine(options: &CompileOptions, threads: &Threads) -> Result<String> {
    let features = match options.target_cpu {
        TargetCpu::Portable => "128-bit vectors".to_owned(),
        target_cpu => brolga_codegen::features(&brolga_codegen::Options::from(target_cpu))?.join(" "),
    };
    let count = threads.count();
    Ok(format!("{}, {features}, {count} thread{}", cpu_name(), if count == 1 { "" } else { "s" }))
}

/// The products of a program whose calls bear their keys.
fn keys(program: &Program) -> BTreeSet<String> {
    let origins = calls(program).into_iter().map(|call| call.origin.clone());
    origins.filter(|origin| ProductKind::of(origin).is_some()).collect()
}

/// Measuring one entry.
struct Search<'s> {
    options: &'s CompileOptions,
    threads: &'s Threads,
    state: &'s mut State,
    lower: &'s mut dyn FnMut(Tunings) -> Result<Lowered>,
}

/// A program under measurement, and the product of each of its calls.
struct Contender {
    program: Lowered,
    traced: Traced,
    products: Vec<Option<usize>>,
}

impl Search<'_> {
    /// The best tuning of each of the products `keys`; others are tuned as `chosen`.
    fn best(
        &mut self,
        chosen: &Tunings,
        keys: &[String],
        observe: &mut Observer<'_>,
    ) -> Result<BTreeMap<String, Tuning>> {
        let start = Clock::now();
        let mut best: Vec<Tuning> = vec![Tuning::default(); keys.len()];
        // Candidates for each product, one choice behind the other.
        let candidates: Vec<Vec<Vec<Tuning>>> = keys
            .iter()
            .map(|key| ProductKind::of(key).map_or_else(Vec::new, ProductKind::candidates))
            .collect();
        let choices = candidates.iter().map(Vec::len).max().unwrap_or(0);
        let most = |choice: usize| {
            candidates.iter().filter_map(|all| Some(all.get(choice)?.len())).max().unwrap_or(0)
        };
        let numbers: Vec<(usize, usize)> =
            (0..choices).flat_map(|choice| (0..most(choice)).map(move |number| (choice, number))).collect();
        let mut incumbent = self.contender(chosen, keys, &best)?;
        for (done, &(choice, number)) in numbers.iter().enumerate() {
            if start.elapsed() > LIMIT {
                break;
            }
            observe(done, numbers.len());
            let next: Vec<Tuning> = (best.iter().zip(&candidates))
                .map(|(&best, all)| {
                    let candidate = all.get(choice).and_then(|all| all.get(number));
                    candidate.map_or(best, |&candidate| with(best, candidate))
                })
                .collect();
            let program = self.lowered(chosen, keys, &next)?;
            if program.kernels == incumbent.program.kernels {
                continue;
            }
            let mut challenger = self.traced(program, keys)?;
            // Who wins has to win again: of many that are tried, some win by chance.
            let mut better = incumbent.differs(&challenger, keys.len());
            for _ in 0..2 {
                if better.contains(&true) {
                    let times = self.take_turns(&mut incumbent, &mut challenger, keys.len())?;
                    better
                        .iter_mut()
                        .zip(&times)
                        .for_each(|(better, times)| *better &= faster(times, CLEARLY));
                }
            }
            if better.contains(&true) {
                // At most two are in memory.
                drop(challenger);
                for (best, (next, better)) in best.iter_mut().zip(next.into_iter().zip(better)) {
                    *best = if better { next } else { *best };
                }
                incumbent = self.contender(chosen, keys, &best)?;
            }
        }
        observe(numbers.len(), numbers.len());
        Ok(keys.iter().cloned().zip(best).collect())
    }

    fn contender(&mut self, chosen: &Tunings, keys: &[String], own: &[Tuning]) -> Result<Contender> {
        let program = self.lowered(chosen, keys, own)?;
        self.traced(program, keys)
    }

    fn lowered(&mut self, chosen: &Tunings, keys: &[String], own: &[Tuning]) -> Result<Lowered> {
        let mut tunings = chosen.clone().labelled();
        keys.iter().zip(own).for_each(|(key, &tuning)| tunings.set(key, tuning));
        (self.lower)(tunings)
    }

    fn traced(&mut self, program: Lowered, keys: &[String]) -> Result<Contender> {
        let product = |origin: &str| keys.iter().position(|key| key == origin);
        let products = calls(&program).into_iter().map(|call| product(&call.origin)).collect();
        let traced = Traced::new(&program, self.options, self.threads, self.state)?;
        Ok(Contender { program, traced, products })
    }

    /// For each product, its times with either, in runs that take turns.
    fn take_turns(
        &mut self,
        first: &mut Contender,
        second: &mut Contender,
        products: usize,
    ) -> Result<Vec<[Vec<Duration>; 2]>> {
        let mut all = vec![[Vec::new(), Vec::new()]; products];
        // The first runs touch memory and fill caches.
        first.traced.run(self.state)?;
        second.traced.run(self.state)?;
        let begun = Clock::now();
        for run in 0..RUNS.1 {
            if run >= RUNS.0 && begun.elapsed() > MEASURED {
                break;
            }
            // Who is second finds the caches as the other has left them.
            let (one, other) = if run % 2 == 0 {
                let one = first.run(self.state, products)?;
                (one, second.run(self.state, products)?)
            } else {
                let other = second.run(self.state, products)?;
                (first.run(self.state, products)?, other)
            };
            for ((times, one), other) in all.iter_mut().zip(one).zip(other) {
                times[0].push(one);
                times[1].push(other);
            }
        }
        Ok(all)
    }

    /// What whole runs take with either, in turns.
    fn compare(&mut self, default: &Tunings, tuned: &Tunings) -> Result<[Vec<Duration>; 2]> {
        let mut both = Vec::new();
        for tunings in [default, tuned] {
            let program = (self.lower)(tunings.clone())?;
            let codegen = brolga_codegen::Options::from(self.options.target_cpu);
            let executable = Arc::new(program.emit(&codegen)?.executable);
            let inputs = random_inputs(&executable.manifest().inputs)?;
            let outputs = executable.manifest().outputs.iter().map(|o| Tensor::zeros(o.dtype, &o.dims));
            let outputs = outputs.collect::<brolga_runtime::Result<Vec<_>>>()?;
            both.push((Instance::bind(executable, self.state, self.threads)?, inputs, outputs));
        }
        let mut times = [Vec::new(), Vec::new()];
        let begun = Clock::now();
        for run in 0..=WHOLE_RUNS.1 {
            if run > WHOLE_RUNS.0 && begun.elapsed() > WHOLE_MEASURED {
                break;
            }
            for position in [run % 2, (run + 1) % 2] {
                let (instance, inputs, outputs) = &mut both[position];
                let start = Clock::now();
                instance.run_tensors(self.state, inputs, outputs)?;
                let time = start.elapsed();
                if run > 0 {
                    times[position].push(time);
                }
            }
        }
        Ok(times)
    }
}

impl Contender {
    /// For each product, whether the other one has other kernels for it.
    fn differs(&self, other: &Contender, products: usize) -> Vec<bool> {
        let kernels = |contender: &Contender| -> Vec<Vec<Kernel>> {
            let mut all = vec![Vec::new(); products];
            for (call, product) in calls(&contender.program).into_iter().zip(&contender.products) {
                let kernel = &contender.program.kernels[call.kernel.0 as usize];
                product.iter().for_each(|&product| all[product].push(kernel.clone()));
            }
            all
        };
        kernels(self).into_iter().zip(kernels(other)).map(|(own, other)| own != other).collect()
    }

    /// One run: the time of each product.
    fn run(&mut self, state: &mut State, products: usize) -> Result<Vec<Duration>> {
        let mut times = vec![Duration::ZERO; products];
        for noted in self.traced.run(state)? {
            if let Some(product) = self.products.get(noted.call).copied().flatten() {
                times[product] += noted.end - noted.start;
            }
        }
        Ok(times)
    }
}

/// A tuning with what another one chooses.
fn with(tuning: Tuning, other: Tuning) -> Tuning {
    Tuning {
        rows: other.rows.or(tuning.rows),
        columns: other.columns.or(tuning.columns),
        depth: other.depth.or(tuning.depth),
        outer: other.outer.or(tuning.outer),
    }
}

/// Whether the second of two lists of times, taken in pairs, is shorter than that share of the first.
fn faster([first, second]: &[Vec<Duration>; 2], share: f64) -> bool {
    if first.len() < RUNS.0 || first.len() != second.len() {
        return false;
    }
    let shorter = |one: &Duration, other: &Duration| other.as_secs_f64() < share * one.as_secs_f64();
    let pairs = first.iter().zip(second).filter(|(one, other)| shorter(one, other)).count();
    2 * pairs > first.len() && shorter(&quarter(first), &quarter(second))
}

/// The time that a quarter of them stays below.
fn quarter(times: &[Duration]) -> Duration {
    let mut times = times.to_vec();
    times.sort_unstable();
    times.get(times.len() / 4).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_win_is_clear_in_pairs_and_in_the_fastest_quarter() {
        let of = |times: &[u64]| times.iter().map(|&ms| Duration::from_millis(ms)).collect::<Vec<_>>();
        let wins = |first: &[u64], second: &[u64]| faster(&[of(first), of(second)], CLEARLY);
        let first = [100, 101, 100, 102, 400, 100, 100];
        assert!(wins(&first, &[90, 95, 500, 91, 90, 92, 93]));
        assert!(!wins(&first, &[98, 99, 98, 99, 98, 98, 99]), "by too little");
        assert!(!wins(&first, &[50, 60, 120, 110, 500, 120, 60]), "too often not");
        let disturbed = [100, 300, 300, 300, 100, 300, 300];
        assert!(!wins(&disturbed, &[150, 200, 200, 200, 150, 200, 200]), "slower when undisturbed");
        assert!(!wins(&[100; 6], &[50; 6]), "too few");
        assert!(!wins(&[0; 7], &[0; 7]) && !wins(&[], &[]));
    }

    #[test]
    fn later_choices_join_earlier_ones() {
        let rows = Tuning { rows: Some(56), ..Tuning::default() };
        let columns = Tuning { columns: Some(32), ..Tuning::default() };
        assert_eq!(with(rows, columns), Tuning { rows: Some(56), ..columns });
        assert_eq!(with(rows, Tuning { rows: Some(28), ..rows }).rows, Some(28));
    }
}
