//! An image: the functions and tables of one or several programs, compiled, before they are linked ([`link`](crate::link)).
//! Each program is an entry of it; kernels, leaves and constants that are equal are there once.

use std::error::Error as _;
use std::sync::OnceLock;

use brolga_ir::program::verify::verify;
use brolga_ir::program::{Kernel, Place, Program, Step};
use cranelift_codegen::binemit::{Addend, CodeOffset, Reloc};
use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::ir::{self, ExternalName, UserExternalName};
use cranelift_codegen::isa::TargetIsa;
use cranelift_codegen::{self as codegen, FinalizedRelocTarget};
use cranelift_frontend::FunctionBuilderContext;
use rayon::prelude::*;
use rustc_hash::FxHashMap;

use crate::emitter::Leaf;
use crate::error::{Error, Result};
use crate::layout::{Constants, Layout};
use crate::portable::{self, About, Checks};
use crate::schedule::{self, TracedCall};
use crate::target::Target;

/// Names of the image's own symbols inside code: functions of the image, and its tables.
pub(crate) const FUNCTION_NAMESPACE: u32 = 2;
pub(crate) const TABLE_NAMESPACE: u32 = 3;

/// The most that one function may take of the stack.
const MAX_FRAME: u32 = 16 << 10;

/// What a relocation refers to, by position in the image.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Symbol {
    Function(usize),
    Table(usize),
}

/// A place in a function's code that refers to another function or a table.
pub(crate) struct Relocation {
    pub offset: CodeOffset,
    pub kind: Reloc,
    pub addend: Addend,
    pub symbol: Symbol,
}

/// A function in machine code.
pub(crate) struct Function {
    pub name: String,
    pub code: Vec<u8>,
    pub alignment: usize,
    pub relocations: Vec<Relocation>,
    /// Whether others call it.
    pub exported: bool,
    /// What people read, if it was asked for and there is any: leaves have none.
    pub text: Option<Text>,
}

/// A function as Cranelift has it.
pub(crate) struct Text {
    /// Its intermediate representation.
    pub clif: String,
    /// Its instructions.
    pub assembly: String,
}

/// A read-only table of words, some of which say how far behind themselves a function begins.
pub(crate) struct Table {
    pub name: String,
    pub words: Vec<u64>,
    /// Position of the word, and of the function.
    pub distances: Vec<(usize, usize)>,
}

/// Everything that a back end needs.
pub(crate) struct Image {
    pub functions: Vec<Function>,
    pub tables: Vec<Table>,
    /// One for each program, in their order.
    pub entries: Vec<Entry>,
    /// The constants of all entries.
    pub constants: Vec<u8>,
}

/// One entry of an image.
pub(crate) struct Entry {
    /// Position of the entry function.
    pub function: usize,
    /// Position of the prepare function.
    pub prepare: Option<usize>,
    pub layout: Layout,
}

/// What an entry is made of.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    pub program: &'a Program,
    /// The beginning of the names of its entry function, of its prepare function and of their tables.
    pub symbol: &'a str,
    /// What the name of its entry function ends in.
    pub call: &'static str,
    /// Of code that checks its accesses: for each kernel, whether none needs to be.
    pub proven: Option<&'a [bool]>,
}

impl<'a> Source<'a> {
    /// A program under its own name.
    pub fn of(program: &'a Program) -> Source<'a> {
        Source { program, symbol: &program.name, call: "", proven: None }
    }
}

/// A compiled function with the leaves that it calls.
struct Compiled {
    function: Function,
    leaves: Vec<Leaf>,
    /// Relocations to leaves, by position in `leaves`.
    calls: Vec<(Relocation, usize)>,
}

/// Whether the threads that compile are there. The first program starts them; where the system has no memory for their
/// stacks, one thread compiles everything.
fn threads_are_there() -> bool {
    static THERE: OnceLock<bool> = OnceLock::new();
    // An error without a cause says that the application has started them before.
    *THERE.get_or_init(|| match rayon::ThreadPoolBuilder::new().build_global() {
        Ok(()) => true,
        Err(error) => error.source().is_none(),
    })
}

impl Image {
    /// Compiles every function of the programs, in parallel. `symbol` begins the names of what entries share; `text` keeps the
    /// Cranelift IR.
    pub fn new(sources: &[Source<'_>], symbol: &str, target: &Target, text: bool) -> Result<Image> {
        let mut constants = Constants::default();
        let mut layouts = Vec::with_capacity(sources.len());
        for source in sources {
            let features = target.features.clone();
            layouts.push(Layout::new(source.program, features, source.proven.is_some(), &mut constants)?);
        }
        // Kernels of several entries find their worker's local memory in one way.
        let local = sources.iter().map(|source| source.program.local_bytes()).max().unwrap_or(0);
        for layout in &mut layouts {
            layout.manifest.local_bytes = local;
            layout.manifest.constants_bytes = constants.bytes.len();
        }
        let units = Units::new(sources, &layouts);
        let compiled = units.compile(symbol, local, target, text)?;
        let mut functions = Vec::new();
        let kernel_at = place(compiled, symbol, &mut functions);
        let mut made = Entries {
            target,
            text,
            compiler: Compiler::new(),
            functions,
            tables: Vec::new(),
            runner: 0,
            kernel_at,
        };
        made.runner(symbol)?;
        let mut entries = Vec::with_capacity(sources.len());
        for ((source, layout), kernels) in sources.iter().zip(layouts).zip(&units.of) {
            entries.push(made.entry(source, layout, kernels)?);
        }
        let Entries { functions, tables, .. } = made;
        Ok(Image { functions, tables, entries, constants: constants.bytes })
    }
}

/// The kernels of several programs, equal ones once.
struct Units<'a> {
    /// What is compiled.
    kernels: Vec<Unit<'a>>,
    /// For each program and each of its kernels the position in `kernels`.
    of: Vec<Vec<usize>>,
}

/// A kernel, and what the program around it says of it.
#[derive(PartialEq)]
struct Unit<'a> {
    kernel: &'a Kernel,
    outputs: Vec<bool>,
    checks: Option<Checks>,
}

impl<'a> Units<'a> {
    fn new(sources: &[Source<'a>], layouts: &[Layout]) -> Units<'a> {
        let mut units = Units { kernels: Vec::new(), of: Vec::new() };
        let mut alike: FxHashMap<u64, Vec<usize>> = FxHashMap::default();
        for (source, layout) in sources.iter().zip(layouts) {
            let mut of = Vec::with_capacity(source.program.kernels.len());
            let outputs = outputs(source.program);
            for (number, (kernel, outputs)) in source.program.kernels.iter().zip(outputs).enumerate() {
                let checks = source.proven.is_some_and(|proven| !proven[number]).then(|| Checks {
                    kernel: number as u32,
                    place: layout.manifest.arena_bytes - size_of::<u64>(),
                });
                let unit = Unit { kernel, outputs, checks };
                let alike = alike.entry(kernel.digest()).or_default();
                let equal = alike.iter().copied().find(|&known| units.kernels[known] == unit);
                of.push(equal.unwrap_or_else(|| {
                    alike.push(units.kernels.len());
                    units.kernels.push(unit);
                    units.kernels.len() - 1
                }));
            }
            units.of.push(of);
        }
        units
    }

    /// Each kernel's function; `local` is the bytes of local memory that every worker has.
    fn compile(&self, symbol: &str, local: usize, target: &Target, text: bool) -> Result<Vec<Compiled>> {
        let one = |compiler: &mut Compiler, (number, unit): (usize, &Unit<'_>)| {
            let Unit { kernel, outputs, checks } = unit;
            let name = symbol_name(&format!("{symbol}_kernel{number}_{}", kernel.name));
            compiler.kernel(name, About { kernel, local, outputs, checks: *checks }, target, text)
        };
        if threads_are_there() {
            return self.kernels.par_iter().enumerate().map_init(Compiler::new, one).collect();
        }
        let mut compiler = Compiler::new();
        self.kernels.iter().enumerate().map(|unit| one(&mut compiler, unit)).collect()
    }
}

/// Appends leaves, those that are equal once, then kernels, and tells where the first of these stands.
fn place(kernels: Vec<Compiled>, symbol: &str, functions: &mut Vec<Function>) -> usize {
    let mut leaf_at: FxHashMap<Vec<u8>, usize> = FxHashMap::default();
    for leaf in kernels.iter().flat_map(|k| &k.leaves) {
        if !leaf_at.contains_key(&leaf.code) {
            leaf_at.insert(leaf.code.clone(), functions.len());
            functions.push(Function {
                name: symbol_name(&format!("{symbol}_leaf{}_{}", functions.len(), leaf.name)),
                code: leaf.code.clone(),
                alignment: Leaf::ALIGNMENT,
                relocations: Vec::new(),
                exported: false,
                text: None,
            });
        }
    }
    let kernel_at = functions.len();
    for Compiled { mut function, leaves, calls } in kernels {
        for (mut relocation, leaf) in calls {
            relocation.symbol = Symbol::Function(leaf_at[&leaves[leaf].code]);
            function.relocations.push(relocation);
        }
        functions.push(function);
    }
    kernel_at
}

/// Makes the entry functions and their tables behind the kernels.
struct Entries<'a> {
    target: &'a Target,
    text: bool,
    compiler: Compiler,
    functions: Vec<Function>,
    tables: Vec<Table>,
    /// Position of the function that walks tables.
    runner: usize,
    /// Position of the first kernel.
    kernel_at: usize,
}

impl Entries<'_> {
    /// The function that walks tables.
    fn runner(&mut self, symbol: &str) -> Result<()> {
        let mut func = ir::Function::new();
        schedule::runner(&mut func, &mut self.compiler.builder, self.target.isa.frontend_config());
        self.runner = self.functions.len();
        let name = symbol_name(&format!("{symbol}_run"));
        self.functions.push(self.compiler.finish(func, name, self.target, self.text)?.function);
        Ok(())
    }

    /// A program's entry and prepare function; `kernels` are the positions of its kernels among all.
    fn entry(&mut self, source: &Source<'_>, mut layout: Layout, kernels: &[usize]) -> Result<Entry> {
        let program = source.program;
        let kernels: Vec<usize> = kernels.iter().map(|kernel| self.kernel_at + kernel).collect();
        let function = self.function(source, &layout, &kernels, false)?;
        let prepares = !program.prepare.is_empty() || program.prepared_bytes > 0;
        let prepare = prepares.then(|| self.function(source, &layout, &kernels, true)).transpose()?;
        // What is not proven to be independent runs in order.
        let free = source.proven.into_iter().flatten().all(|&proven| proven);
        layout.manifest.parallel = self.target.traced || free && schedule::pays_for_threads(program);
        Ok(Entry { function, prepare, layout })
    }

    /// One of the two, with its table.
    fn function(
        &mut self,
        source: &Source<'_>,
        layout: &Layout,
        kernels: &[usize],
        prepare: bool,
    ) -> Result<usize> {
        let (program, symbol) = (source.program, source.symbol);
        let (steps, suffix, first_call) = match prepare {
            false => (&program.schedule, source.call, 0),
            true => (&program.prepare, "_prepare", TracedCall::PREPARE),
        };
        let name = symbol_name(&format!("{symbol}{suffix}"));
        let mut func = ir::Function::new();
        let table = schedule::entry(
            &mut func,
            &mut self.compiler.builder,
            &schedule::Entry {
                program,
                layout,
                steps,
                kernels,
                runner: self.runner,
                table: self.tables.len(),
                traced: self.target.traced,
                first_call,
            },
            self.target.isa.frontend_config(),
        );
        self.tables.push(Table { name: format!("{name}_calls"), ..table });
        let mut compiled = self.compiler.finish(func, name, self.target, self.text)?;
        compiled.function.exported = true;
        self.functions.push(compiled.function);
        Ok(self.functions.len() - 1)
    }
}

/// What one thread uses again for every function.
struct Compiler {
    context: codegen::Context,
    builder: FunctionBuilderContext,
}

impl Compiler {
    fn new() -> Compiler {
        Compiler { context: codegen::Context::new(), builder: FunctionBuilderContext::new() }
    }

    fn kernel(&mut self, name: String, about: About<'_>, target: &Target, text: bool) -> Result<Compiled> {
        let mut func = ir::Function::new();
        let config = target.isa.frontend_config();
        let leaves = portable::kernel(&mut func, &mut self.builder, about, &*target.emitter, config);
        let compiled = self.finish(func, name, target, text)?;
        Ok(Compiled { leaves, ..compiled })
    }

    /// From Cranelift IR to machine code.
    fn finish(&mut self, func: ir::Function, name: String, target: &Target, text: bool) -> Result<Compiled> {
        let isa: &dyn TargetIsa = &*target.isa;
        let frame: u32 = func.sized_stack_slots.values().map(|slot| slot.size).sum();
        if frame > MAX_FRAME {
            return Err(Error::new(format!(
                "kernel `{name}` needs {frame} bytes of stack, more than {MAX_FRAME}: split it into smaller ones"
            )));
        }
        self.context.clear();
        self.context.func = func;
        self.context.set_disasm(text);
        let clif = text.then(|| self.context.func.display().to_string());
        self.context
            .compile(isa, &mut ControlPlane::default())
            .map_err(|e| Error::new(format!("Cranelift cannot compile `{name}`: {:?}", e.inner)))?;
        let code = self.context.compiled_code().expect("just compiled");
        let (mut relocations, mut calls) = (Vec::new(), Vec::new());
        let names = &self.context.func.params.user_named_funcs();
        for r in code.buffer.relocs() {
            let FinalizedRelocTarget::ExternalName(ExternalName::User(reference)) = r.target else {
                return Err(Error::new(format!(
                    "`{name}` would call a library function ({:?}), which compiled programs must not",
                    r.target
                )));
            };
            let UserExternalName { namespace, index } = names[reference];
            let position = index as usize;
            let symbol = if namespace == TABLE_NAMESPACE {
                Symbol::Table(position)
            } else {
                Symbol::Function(position)
            };
            let relocation = Relocation { offset: r.offset, kind: r.kind, addend: r.addend, symbol };
            if namespace == portable::LEAF_NAMESPACE {
                calls.push((relocation, position));
            } else {
                relocations.push(relocation);
            }
        }
        let alignment = code.buffer.alignment.max(16) as usize;
        let bytes = code.code_buffer().to_vec();
        let text = clif.map(|clif| Text { clif, assembly: code.vcode.clone().unwrap_or_default() });
        let function = Function { name, code: bytes, alignment, relocations, exported: false, text };
        Ok(Compiled { function, leaves: Vec::new(), calls })
    }
}

/// For each parameter of each kernel, whether a call gives it an output.
fn outputs(program: &Program) -> Vec<Vec<bool>> {
    fn mark(program: &Program, steps: &[Step], outputs: &mut [Vec<bool>]) {
        for step in steps {
            if let Step::Call(call) = step {
                for (output, arg) in outputs[call.kernel.0 as usize].iter_mut().zip(&call.args) {
                    *output |= matches!(program.buffers[arg.buffer.0 as usize].place, Place::Output);
                }
            }
            step.bodies().into_iter().for_each(|body| mark(program, body, outputs));
        }
    }
    let mut outputs: Vec<Vec<bool>> =
        program.kernels.iter().map(|kernel| vec![false; kernel.params.len()]).collect();
    mark(program, &program.schedule, &mut outputs);
    outputs
}

/// An error if the program breaks a rule, whose code cannot be made.
pub(crate) fn verified(program: &Program) -> Result<()> {
    verify(program).map_err(|e| Error::new(format!("`{}` is no valid program: {e}", program.name)))
}

/// A name that linkers and C accept.
pub(crate) fn symbol_name(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}
