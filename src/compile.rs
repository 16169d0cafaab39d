//! From a graph to an executable: the stages of the compiler in their order, each timed and open to inspection.

use std::collections::HashMap;
use std::fmt;
use std::ops::Deref;
use std::time::{Duration, Instant};

use brolga_codegen::{Compiled, TargetCpu};
use brolga_ir::Graph;
use brolga_ir::ops::{Op, Segments};
use brolga_ir::program::Program;
use brolga_passes::facts::batch::trains;
use brolga_passes::facts::index_ranges::index_ranges;
use brolga_passes::lower::lower_prepared;
use brolga_passes::manager::Observer;
use brolga_passes::{GraphPass, Manager, Options, Tunings, pipelines};
use brolga_runtime::Executable;

use crate::error::{Error, Result};

/// How to compile. Of all this, only `passes.algorithms` and `passes.precision` change the bits of results.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CompileOptions {
    /// For which processor.
    pub target_cpu: TargetCpu,
    /// What passes may depend on.
    pub passes: Options,
    /// Whether every pass is followed by the verifier, for finding mistakes of the compiler.
    pub verify: bool,
}

/// The time that a stage took.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StageTime {
    /// The stage: `graph passes`, `lower`, `program passes`, `emit`.
    pub stage: &'static str,
    /// How long it took.
    pub duration: Duration,
}

/// A program that [`Compiler::lower`] has made of a verified graph, and that nobody has changed since: the only kind that
/// is compiled as it is. To compile another one there is [`compile_checked`](brolga_codegen::compile_checked).
#[derive(Clone, Debug)]
pub struct Lowered(Program);

impl Deref for Lowered {
    type Target = Program;

    fn deref(&self) -> &Program {
        &self.0
    }
}

impl fmt::Display for Lowered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Lowered {
    /// The program, to be changed or kept.
    pub fn into_program(self) -> Program {
        self.0
    }

    /// Code in memory. The program is verified first: a mistake of the compiler that the verifier finds is an error.
    pub(crate) fn emit(&self, options: &brolga_codegen::Options) -> Result<Compiled> {
        check(self)?;
        // SAFETY: the program is what lowering and the program passes have made of a graph that was verified, since a
        // `Lowered` is made by `Compiler::lower` alone and never changed; the verifier accepts it. Lowering puts a guard
        // or a clamp before each access that could leave its parameter, and lets iterations run together only if they
        // store different elements.
        Ok(unsafe { brolga_codegen::compile(self, options)? })
    }

    /// The same with every call traced.
    ///
    /// # Safety
    /// The executable is run only as [`compile_traced`](brolga_codegen::compile_traced) says.
    pub(crate) unsafe fn emit_traced(&self, options: &brolga_codegen::Options) -> Result<Compiled> {
        check(self)?;
        // SAFETY: as in `emit`; how it is run, the caller promises.
        Ok(unsafe { brolga_codegen::compile_traced(self, options)? })
    }
}

/// Code in memory of several programs, which share what is equal. Each program is verified first.
pub(crate) fn emit_all(programs: &[&Lowered], options: &brolga_codegen::Options) -> Result<Vec<Compiled>> {
    programs.iter().try_for_each(|program| check(program))?;
    let programs: Vec<&Program> = programs.iter().map(|program| &***program).collect();
    // SAFETY: as in `Lowered::emit`, for each of them.
    Ok(unsafe { brolga_codegen::compile_all(&programs, options)? })
}

/// Compiles a graph into memory, ready to run.
///
/// # Errors
/// A graph that breaks a rule, and one that a pass or the emitter cannot carry, because it differentiates what has no derivative, say.
pub fn compile(graph: &Graph, options: &CompileOptions) -> Result<Executable> {
    let mut compiler = Compiler::new(options);
    let optimised = compiler.optimise(graph)?;
    let program = compiler.lower(&optimised)?;
    Ok(compiler.emit(&program)?.executable)
}

/// The stages one by one, for tools that show or time them.
pub struct Compiler<'a> {
    options: CompileOptions,
    manager: Manager<'a>,
    ranges: HashMap<String, (i64, i64)>,
    times: Vec<StageTime>,
}

impl<'a> Compiler<'a> {
    /// A compiler with these options.
    pub fn new(options: &CompileOptions) -> Compiler<'a> {
        Compiler {
            options: options.clone(),
            manager: Manager::new(options.passes.clone()).verify(options.verify),
            ranges: HashMap::new(),
            times: Vec::new(),
        }
    }

    /// Calls `observer` after each pass with what it left.
    pub fn observe(
        mut self,
        observer: impl FnMut(&brolga_passes::Report, brolga_passes::Stage<'_>) + 'a,
    ) -> Self {
        let observer: Box<Observer<'a>> = Box::new(observer);
        self.manager = self.manager.observe(observer);
        self
    }

    /// How long the stages so far took, in order.
    pub fn times(&self) -> &[StageTime] {
        &self.times
    }

    /// How the passes so far went, in order.
    pub fn reports(&self) -> &[brolga_passes::Report] {
        self.manager.reports()
    }

    /// Whether the entry that was differentiated last runs segments of its loops again on the way back, for a memory limit that
    /// it would not meet otherwise.
    pub fn runs_again(&self) -> bool {
        self.manager.options().run_again
    }

    /// Builds what `gradient` operators stand for, and nothing else. The graph is verified first. Where loops have segments and a
    /// memory limit is not met, these are run again on the way back: what comes behind is done for nothing then, to see that.
    ///
    /// # Errors
    /// A graph that does not verify; an operator without a derivative on the way.
    pub fn differentiate(&mut self, graph: &Graph) -> Result<Graph> {
        verify(graph)?;
        let (grad, _) = split_grad(pipeline(graph));
        self.manager.set_run_again(self.options.passes.run_again);
        let differentiated = self.graph_passes(grad, graph.clone())?;
        if self.is_within_the_limit(&differentiated) {
            return Ok(differentiated);
        }
        self.manager.set_run_again(true);
        self.graph_passes(grad, graph.clone())
    }

    /// Whether a differentiated graph meets the memory limit as it is, or has no loops that could do anything for it.
    fn is_within_the_limit(&self, graph: &Graph) -> bool {
        if self.options.passes.memory_limit.is_none() || !keeps_segments(graph) {
            return true;
        }
        let mut trial = Compiler::new(&self.options);
        let optimised = trial.optimise_differentiated(graph.clone());
        optimised.and_then(|optimised| trial.lower(&optimised)).is_ok()
    }

    /// All graph passes, fusion included. The graph is verified first.
    ///
    /// # Errors
    /// A graph that does not verify; an operator without a derivative on the way.
    pub fn optimise(&mut self, graph: &Graph) -> Result<Graph> {
        let differentiated = self.differentiate(graph)?;
        self.optimise_differentiated(differentiated)
    }

    /// The passes behind [`differentiate`](Self::differentiate), fusion included.
    ///
    /// # Errors
    /// What a pass cannot carry.
    pub fn optimise_differentiated(&mut self, graph: Graph) -> Result<Graph> {
        let (_, others) = split_grad(pipeline(&graph));
        let optimised = self.graph_passes(others, graph)?;
        // Fusion hides which inputs are indices.
        self.ranges = index_ranges(&optimised).into_iter().collect();
        self.graph_passes(pipelines::REGIONS, optimised)
    }

    /// From an optimised graph to a program that can be emitted. The graph is verified first.
    ///
    /// # Errors
    /// A graph that does not verify; a memory limit that cannot be kept.
    pub fn lower(&mut self, graph: &Graph) -> Result<Lowered> {
        let start = Instant::now();
        verify(graph)?;
        let ranges = &self.ranges;
        let made = self.manager.make("lower", |options| lower_prepared(graph, ranges, options))?;
        let mut program = made.unwrap_or_default();
        let lowered = Instant::now();
        self.manager.run(pipelines::PROGRAM, &mut program)?;
        self.times.push(StageTime { stage: "lower", duration: lowered - start });
        self.times.push(StageTime { stage: "program passes", duration: lowered.elapsed() });
        Ok(Lowered(program))
    }

    /// From a program to code in memory. The program is verified first, whatever the options say: code that is run
    /// must stay inside its memory.
    ///
    /// # Errors
    /// A program that does not verify; a target that this machine is not.
    pub fn emit(&mut self, program: &Lowered) -> Result<Compiled> {
        let start = Instant::now();
        let compiled = program.emit(&self.codegen())?;
        self.times.push(StageTime { stage: "emit", duration: start.elapsed() });
        Ok(compiled)
    }

    /// Has products tuned in another way from now on; it changes no bit.
    pub fn set_tunings(&mut self, tunings: Tunings) {
        self.manager.set_tunings(tunings);
    }

    /// The options of code generation.
    pub fn codegen(&self) -> brolga_codegen::Options {
        brolga_codegen::Options::from(self.options.target_cpu)
    }

    fn graph_passes(&mut self, passes: &[GraphPass], mut graph: Graph) -> Result<Graph> {
        let start = Instant::now();
        self.manager.run(passes, &mut graph)?;
        self.times.push(StageTime { stage: "graph passes", duration: start.elapsed() });
        Ok(graph)
    }
}

/// An error if the graph breaks a rule. It may be anyone's.
fn verify(graph: &Graph) -> Result<()> {
    graph
        .verify()
        .map_err(|error| Error::Compile(format!("the graph of `{}` is not valid: {error}", graph.name)))
}

/// An error if the program breaks a rule.
fn check(program: &Program) -> Result<()> {
    brolga_ir::program::verify::verify(program).map_err(|error| {
        Error::Compile(format!(
            "the compiler made an invalid program of `{}`: {error}; please report it",
            program.name
        ))
    })
}

/// Entries that change parameters keep their structure; others may fold what depends on parameters.
fn pipeline(graph: &Graph) -> &'static [GraphPass] {
    if trains(graph) { pipelines::TRAIN } else { pipelines::INFER }
}

/// Whether a graph has loops whose way back reads what was kept of their segments.
fn keeps_segments(graph: &Graph) -> bool {
    graph.nodes().any(|id| {
        let op = &graph.node(id).op;
        matches!(op, Op::Scan(scan) if scan.segments == Segments::Kept)
            || op.regions().into_iter().any(keeps_segments)
    })
}

/// A pipeline up to and with its last `grad`, and the rest.
fn split_grad(passes: &'static [GraphPass]) -> (&'static [GraphPass], &'static [GraphPass]) {
    let last = passes.iter().rposition(|pass| pass.name == "grad").map_or(0, |at| at + 1);
    passes.split_at(last)
}
