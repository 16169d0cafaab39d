//! An image: the functions and tables of one program, compiled, before they are linked ([`link`](crate::link)).

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
use crate::layout::Layout;
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
    /// Cranelift IR, if it was asked for and there is any.
    pub clif: Option<String>,
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
    /// Position of the entry function.
    pub entry: usize,
    /// Position of the prepare function.
    pub prepare: Option<usize>,
    pub layout: Layout,
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
    /// Compiles every function of the program, in parallel. `symbol` names the entry and begins all other names;
    /// `text` keeps the Cranelift IR.
    pub fn new(program: &Program, symbol: &str, target: &Target, text: bool) -> Result<Image> {
        let mut layout = Layout::new(program, target.features.clone(), target.proven.is_some())?;
        let outputs = outputs(program);
        let one = |compiler: &mut Compiler, (number, kernel): (usize, &Kernel)| {
            let name = symbol_name(&format!("{symbol}_kernel{number}_{}", kernel.name));
            let checked = target.proven.as_ref().is_some_and(|proven| !proven[number]);
            let about = About {
                kernel,
                local: layout.manifest.local_bytes,
                outputs: &outputs[number],
                checks: checked.then(|| Checks {
                    kernel: number as u32,
                    place: layout.manifest.arena_bytes - size_of::<u64>(),
                }),
            };
            compiler.kernel(name, about, target, text)
        };
        let kernels: Vec<Compiled> = if threads_are_there() {
            program.kernels.par_iter().enumerate().map_init(Compiler::new, one).collect::<Result<_>>()?
        } else {
            let mut compiler = Compiler::new();
            let kernels = program.kernels.iter().enumerate();
            kernels.map(|kernel| one(&mut compiler, kernel)).collect::<Result<_>>()?
        };

        // Leaves that are equal occur once; then the kernels, so that `kernel_at` is where the first one stands.
        let mut functions = Vec::new();
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
                    clif: None,
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

        let mut compiler = Compiler::new();
        let mut tables = Vec::new();
        let runner = functions.len();
        let mut func = ir::Function::new();
        schedule::runner(&mut func, &mut compiler.builder, target.isa.frontend_config());
        functions.push(compiler.finish(func, symbol_name(&format!("{symbol}_run")), target, text)?.function);
        let mut entry = |steps, suffix: &str, tables: &mut Vec<Table>| -> Result<usize> {
            let name = symbol_name(&format!("{symbol}{suffix}"));
            let mut func = ir::Function::new();
            let table = schedule::entry(
                &mut func,
                &mut compiler.builder,
                &schedule::Entry {
                    program,
                    layout: &layout,
                    steps,
                    kernel_at,
                    runner,
                    table: tables.len(),
                    traced: target.traced,
                    first_call: if suffix.is_empty() { 0 } else { TracedCall::PREPARE },
                },
                target.isa.frontend_config(),
            );
            tables.push(Table { name: format!("{name}_calls"), ..table });
            let mut compiled = compiler.finish(func, name, target, text)?;
            compiled.function.exported = true;
            functions.push(compiled.function);
            Ok(functions.len() - 1)
        };
        let entry_at = entry(&program.schedule, "", &mut tables)?;
        let prepares = !program.prepare.is_empty() || program.prepared_bytes > 0;
        let prepare = prepares.then(|| entry(&program.prepare, "_prepare", &mut tables)).transpose()?;
        // What is not proven to be independent runs in order.
        let free = target.proven.iter().flatten().all(|&proven| proven);
        layout.manifest.parallel = target.traced || free && schedule::pays_for_threads(program);
        Ok(Image { functions, tables, entry: entry_at, prepare, layout })
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
        let function = Function { name, code: bytes, alignment, relocations, exported: false, clif };
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
