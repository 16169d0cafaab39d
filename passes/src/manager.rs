//! Passes as values, and the manager that runs lists of them.
//!
//! A pass is a name, a kind, and one function over one representation. The manager runs a list, verifies what each
//! pass leaves, times it, shows it to whoever asked for dumps, and stops after a given number of passes, so that a
//! wrong one can be found by bisection. Nobody else calls the verifiers.

use std::fmt;
use std::time::{Duration, Instant};

use brolga_ir::program::Program;
use brolga_ir::{Graph, GraphError};

use crate::options::Options;
use crate::tuning::Tunings;

/// What a pass does to the bits of the results.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// The same bits.
    Exact,
    /// The order of arithmetic changes: evaluated in f64, results agree to 1e-9.
    Rounding,
    /// Some values are kept with fewer bits: the same results where they have no more.
    Narrowing,
}

/// What a pass does in regions: the bodies of loops and the branches of conditions, in graphs and in schedules.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Regions {
    /// What it does to the whole it does inside, at any depth.
    All,
    /// It sees them from outside only, for this reason.
    Outside(&'static str),
}

/// A transformation of one representation in place.
pub struct Pass<I: 'static> {
    /// The one name: of dumps, timings, the command's option, and the folder of its tests.
    pub name: &'static str,
    /// What it does to the bits.
    pub kind: Kind,
    /// Whether it goes into loops and branches.
    pub regions: Regions,
    /// Transforms, and says whether anything changed.
    pub run: fn(&mut I, &Options) -> Result<bool, GraphError>,
}

impl<I> Pass<I> {
    /// A pass that goes into regions.
    pub const fn new(
        name: &'static str,
        kind: Kind,
        run: fn(&mut I, &Options) -> Result<bool, GraphError>,
    ) -> Pass<I> {
        Pass { name, kind, regions: Regions::All, run }
    }

    /// The same, which does not go into all of them, for this reason.
    pub const fn outside(self, reason: &'static str) -> Pass<I> {
        Pass { regions: Regions::Outside(reason), ..self }
    }
}

impl<I> Clone for Pass<I> {
    fn clone(&self) -> Pass<I> {
        *self
    }
}

impl<I> Copy for Pass<I> {}

/// A transformation of graphs.
pub type GraphPass = Pass<Graph>;

/// A transformation of kernel programs.
pub type ProgramPass = Pass<Program>;

impl<I> fmt::Debug for Pass<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:?})", self.name, self.kind)
    }
}

/// A representation at a point of the pipeline.
#[derive(Clone, Copy, Debug)]
pub enum Stage<'a> {
    /// A graph.
    Graph(&'a Graph),
    /// A kernel program.
    Program(&'a Program),
}

/// What passes transform.
pub trait Ir {
    /// An error if the representation breaks one of its rules.
    fn verify(&self) -> Result<(), GraphError>;

    /// For dumps.
    fn stage(&self) -> Stage<'_>;
}

impl Ir for Graph {
    fn verify(&self) -> Result<(), GraphError> {
        brolga_ir::verify::verify(self).map_err(|invalid| {
            let more = invalid.0.len().saturating_sub(1);
            let mut first = invalid.0.into_iter().next().unwrap_or_else(|| GraphError {
                path: self.name.clone(),
                message: "the graph is invalid".into(),
            });
            if more > 0 {
                first.message.push_str(&format!(" (and {more} more)"));
            }
            first
        })
    }

    fn stage(&self) -> Stage<'_> {
        Stage::Graph(self)
    }
}

impl Ir for Program {
    fn verify(&self) -> Result<(), GraphError> {
        brolga_ir::program::verify::verify(self)
            .map_err(|error| GraphError { path: error.place, message: error.message })
    }

    fn stage(&self) -> Stage<'_> {
        Stage::Program(self)
    }
}

/// How one pass went.
#[derive(Clone, PartialEq, Debug)]
pub struct Report {
    /// The pass.
    pub pass: &'static str,
    /// The graph or program that it ran on.
    pub subject: String,
    /// How long it took, without verification.
    pub duration: Duration,
    /// Whether anything changed.
    pub changed: bool,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.duration.as_secs_f64() * 1e6;
        let unchanged = if self.changed { "" } else { "  unchanged" };
        write!(f, "{:<16} @{:<16} {micros:>9.0} us{unchanged}", self.pass, self.subject)
    }
}

/// Why a pipeline broke off.
#[derive(Clone, PartialEq, Debug)]
pub struct PassError {
    /// The pass that failed.
    pub pass: &'static str,
    /// Whether the pass itself was content and the verifier found its result broken: a mistake of the compiler.
    pub broken: bool,
    /// What is wrong.
    pub error: GraphError,
}

impl fmt::Display for PassError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.broken {
            write!(f, "the pass `{}` left an invalid result behind: {}", self.pass, self.error)
        } else {
            write!(f, "{} (in pass `{}`)", self.error, self.pass)
        }
    }
}

impl std::error::Error for PassError {}

/// Called after each pass with how it went and what it left.
pub type Observer<'a> = dyn FnMut(&Report, Stage<'_>) + 'a;

/// Runs passes.
pub struct Manager<'a> {
    options: Options,
    left: usize,
    verify: bool,
    observer: Option<Box<Observer<'a>>>,
    reports: Vec<Report>,
}

impl<'a> Manager<'a> {
    /// A manager that runs everything and verifies after every pass.
    pub fn new(options: Options) -> Manager<'a> {
        Manager { options, left: usize::MAX, verify: true, observer: None, reports: Vec::new() }
    }

    /// Stops after `count` passes, counted over all calls of this manager.
    pub fn stop_after(mut self, count: usize) -> Manager<'a> {
        self.left = count;
        self
    }

    /// Whether to verify after each pass.
    pub fn verify(mut self, verify: bool) -> Manager<'a> {
        self.verify = verify;
        self
    }

    /// Calls `observer` after each pass: for dumps.
    pub fn observe(mut self, observer: impl FnMut(&Report, Stage<'_>) + 'a) -> Manager<'a> {
        self.observer = Some(Box::new(observer));
        self
    }

    /// The options that passes see.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Has products tuned in another way from now on.
    pub fn set_tunings(&mut self, tunings: Tunings) {
        self.options.tunings = tunings;
    }

    /// Whether segments of loops are run again on the way back, from now on; it changes no bit.
    pub fn set_run_again(&mut self, run_again: bool) {
        self.options.run_again = run_again;
    }

    /// How the passes so far went, in order.
    pub fn reports(&self) -> &[Report] {
        &self.reports
    }

    /// Whether the manager has come to the pass after which it stops.
    pub fn stopped(&self) -> bool {
        self.left == 0
    }

    /// Runs passes in order; says whether any changed anything.
    pub fn run<I: Ir>(&mut self, passes: &[Pass<I>], ir: &mut I) -> Result<bool, PassError> {
        let mut any = false;
        for pass in passes {
            let run = |options: &Options| (pass.run)(ir, options).map(|changed| (changed, ()));
            let Some((changed, ())) = self.time(pass.name, run)? else { break };
            any |= changed;
            self.finish(pass.name, changed, ir)?;
        }
        Ok(any)
    }

    /// Makes another representation, as lowering does; nothing if the manager has stopped.
    pub fn make<I: Ir>(
        &mut self,
        name: &'static str,
        run: impl FnOnce(&Options) -> Result<I, GraphError>,
    ) -> Result<Option<I>, PassError> {
        let Some((_, made)) = self.time(name, |options| run(options).map(|made| (true, made)))? else {
            return Ok(None);
        };
        self.finish(name, true, &made)?;
        Ok(Some(made))
    }

    /// Runs and times one pass; nothing if the manager has stopped.
    fn time<T>(
        &mut self,
        name: &'static str,
        run: impl FnOnce(&Options) -> Result<(bool, T), GraphError>,
    ) -> Result<Option<(bool, T)>, PassError> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let start = Instant::now();
        let (changed, made) =
            run(&self.options).map_err(|error| PassError { pass: name, broken: false, error })?;
        let duration = start.elapsed();
        self.reports.push(Report { pass: name, subject: String::new(), duration, changed });
        Ok(Some((changed, made)))
    }

    /// Verifies and shows what a pass left.
    fn finish(&mut self, name: &'static str, changed: bool, ir: &impl Ir) -> Result<(), PassError> {
        if self.verify && changed {
            ir.verify().map_err(|error| PassError { pass: name, broken: true, error })?;
        }
        let stage = ir.stage();
        if let Some(report) = self.reports.last_mut() {
            report.subject = match stage {
                Stage::Graph(graph) => graph.name.clone(),
                Stage::Program(program) => program.name.clone(),
            };
            if let Some(observer) = &mut self.observer {
                observer(report, stage);
            }
        }
        Ok(())
    }
}
