//! Passes as values, and the manager that runs lists of them.
//!
//! A pass is a name, a kind, and one function over one representation. The manager runs a list, verifies what each
//! pass leaves, times it, shows it to whoever asked for dumps, and stops after a given number of passes, so that a
//! wrong one can be found by bisection. Nobody else calls the verifiers.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

use brolga_ir::names::nearest;
use brolga_ir::program::Program;
use brolga_ir::{Graph, GraphError};

use crate::schedule::Schedules;

/// What passes may depend on besides the representation itself.
#[derive(Clone, PartialEq, Debug)]
pub struct Options {
    /// The largest tensor, in elements, that constant folding reads or makes.
    pub fold_limit: usize,
    /// The least work of one part of a parallel kernel, in vector operations.
    pub least_part: u64,
    /// Which fast algorithms may be used.
    pub algorithms: Algorithms,
    /// What weights are kept as.
    pub precision: Precision,
    /// The bytes that the arena of one call may take; what does not fit is computed again.
    pub memory_limit: Option<usize>,
    /// How products are scheduled, where that is not the compiler's own choice. It changes no bit.
    pub schedules: Schedules,
    /// How many threads will compute, if that is known: one thread wants weights to pass once, several want rows of their
    /// own. It changes no bit, and any number may run what is compiled.
    pub threads: Option<usize>,
}

/// What the weights of products are kept as, where the entry does not change them. Arithmetic is in `f32`, but for `F64`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Precision {
    /// As they are.
    #[default]
    F32,
    /// Rounded to `bf16`: half the memory, and as much less to read.
    Bf16,
    /// As they are, in a model that was built in `f64`: whoever builds it looks here.
    F64,
}

impl fmt::Display for Precision {
    /// As it is read.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Precision::F32 => "f32",
            Precision::Bf16 => "bf16",
            Precision::F64 => "f64",
        })
    }
}

impl FromStr for Precision {
    type Err = String;

    /// `f32`, `f64` or `bf16`. `bf16-native`, products of `bf16` by the processor, is an error that says why.
    fn from_str(name: &str) -> Result<Precision, String> {
        match name {
            "f32" => Ok(Precision::F32),
            "f64" => Ok(Precision::F64),
            "bf16" => Ok(Precision::Bf16),
            "bf16-native" => {
                Err("multiplying in bf16, as processors with AVX512-BF16 can, is not supported yet: \
                                  use `bf16`, which keeps weights the same way and multiplies in f32"
                    .into())
            }
            _ => {
                let hint =
                    nearest(name, ["f32", "f64", "bf16"]).map(|near| format!("did you mean `{near}`? "));
                Err(format!(
                    "expected f32, f64, bf16 or bf16-native, found `{name}`; {}weights are kept as f32 unless \
                             told otherwise",
                    hint.unwrap_or_default()
                ))
            }
        }
    }
}

/// Which algorithms may be used in the place of direct sums: they multiply less, and round more.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Algorithms {
    /// Winograd's, for convolutions.
    pub winograd: Winograd,
    /// Strassen's in Winograd's form, for products of rows with a matrix: in entries that do not train, for convolutions of
    /// images with an even number of positions only.
    pub strassen: Strassen,
}

/// Which convolutions use Winograd's algorithm, among those it applies to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Winograd {
    /// None.
    Off,
    /// Those that gain by it.
    #[default]
    Chosen,
    /// All that take tiles of so many outputs along either axis (2 to 5; kernels of 3 x 3 take 2 and 4).
    Everywhere(usize),
}

/// Which products use Strassen's algorithm, among those it applies to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Strassen {
    /// None.
    Off,
    /// Those that gain by it.
    #[default]
    Chosen,
    /// All.
    Everywhere,
}

impl Algorithms {
    /// Direct sums everywhere.
    pub const NONE: Algorithms = Algorithms { winograd: Winograd::Off, strassen: Strassen::Off };

    /// Each of them wherever it applies, gain or not; Winograd's with tiles of so many outputs.
    pub fn everywhere(tile: usize) -> Algorithms {
        Algorithms { winograd: Winograd::Everywhere(tile), strassen: Strassen::Everywhere }
    }
}

impl fmt::Display for Algorithms {
    /// As they are read; those that are used everywhere, for tests, are marked.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let winograd = match self.winograd {
            Winograd::Off => None,
            Winograd::Chosen => Some("winograd".to_owned()),
            Winograd::Everywhere(tile) => Some(format!("winograd everywhere, tiles of {tile}")),
        };
        let strassen = match self.strassen {
            Strassen::Off => None,
            Strassen::Chosen => Some("strassen".to_owned()),
            Strassen::Everywhere => Some("strassen everywhere".to_owned()),
        };
        match (winograd, strassen) {
            (None, None) => f.write_str("none"),
            (a, b) => f.write_str(&a.into_iter().chain(b).collect::<Vec<_>>().join(",")),
        }
    }
}

impl FromStr for Algorithms {
    type Err = String;

    /// Names separated by commas, each algorithm where it gains; or `none`.
    fn from_str(text: &str) -> Result<Algorithms, String> {
        let mut algorithms = Algorithms::NONE;
        if text.trim() == "none" {
            return Ok(algorithms);
        }
        for name in text.split(',').map(str::trim) {
            match name {
                "winograd" => algorithms.winograd = Winograd::Chosen,
                "strassen" => algorithms.strassen = Strassen::Chosen,
                _ => {
                    let hint = nearest(name, ["winograd", "strassen", "none"]);
                    let hint = hint.map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
                    return Err(format!(
                        "expected winograd, strassen, both with a comma between them, or none, found `{name}`; \
                         {hint}both are used unless told otherwise"
                    ));
                }
            }
        }
        Ok(algorithms)
    }
}

impl Default for Options {
    fn default() -> Options {
        Options {
            fold_limit: 1024,
            least_part: 6_000,
            algorithms: Algorithms::default(),
            precision: Precision::F32,
            memory_limit: None,
            schedules: Schedules::default(),
            threads: None,
        }
    }
}

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

/// A transformation of one representation in place.
pub struct Pass<I: 'static> {
    /// The one name: of dumps, timings, the command's option, and the folder of its tests.
    pub name: &'static str,
    /// What it does to the bits.
    pub kind: Kind,
    /// Transforms, and says whether anything changed.
    pub run: fn(&mut I, &Options) -> Result<bool, GraphError>,
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

    /// Has products scheduled in another way from now on.
    pub fn set_schedules(&mut self, schedules: Schedules) {
        self.options.schedules = schedules;
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
