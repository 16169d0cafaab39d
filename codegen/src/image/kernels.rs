//! The kernels of several programs, compiled in parallel; equal ones, and equal leaves, are there once.

use std::error::Error as _;
use std::sync::OnceLock;

use brolga_ir::program::{Kernel, Place, Program, Step};
use rayon::prelude::*;
use rustc_hash::FxHashMap;

use super::compiler::{CompiledFunction, Compiler};
use super::parts::{Function, Source, Symbol, symbol_name};
use super::placement::Placement;
use crate::error::Result;
use crate::leaf::Leaf;
use crate::portable::{Checks, KernelSource};
use crate::target::Target;

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

/// The kernels of several programs, equal ones once.
pub(super) struct Units<'a> {
    /// What is compiled.
    kernels: Vec<Unit<'a>>,
    /// For each program and each of its kernels the position in `kernels`.
    pub of: Vec<Vec<usize>>,
}

/// A kernel, and what the program around it says of it.
#[derive(PartialEq)]
struct Unit<'a> {
    kernel: &'a Kernel,
    outputs: Vec<bool>,
    checks: Option<Checks>,
}

impl<'a> Units<'a> {
    pub fn new(sources: &[Source<'a>], placements: &[Placement]) -> Units<'a> {
        let mut units = Units { kernels: Vec::new(), of: Vec::new() };
        let mut alike: FxHashMap<u64, Vec<usize>> = FxHashMap::default();
        for (source, placement) in sources.iter().zip(placements) {
            let mut of = Vec::with_capacity(source.program.kernels.len());
            let outputs = outputs(source.program);
            for (number, (kernel, outputs)) in source.program.kernels.iter().zip(outputs).enumerate() {
                let checks = source.proven.is_some_and(|proven| !proven[number]).then(|| Checks {
                    kernel: number as u32,
                    place: placement.manifest.arena_bytes - size_of::<u64>(),
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
    pub fn compile(
        &self,
        symbol: &str,
        local: usize,
        target: &Target,
        text: bool,
    ) -> Result<Vec<CompiledFunction>> {
        let one = |compiler: &mut Compiler, (number, unit): (usize, &Unit<'_>)| {
            let Unit { kernel, outputs, checks } = unit;
            let name = symbol_name(&format!("{symbol}_kernel{number}_{}", kernel.name));
            compiler.kernel(name, KernelSource { kernel, local, outputs, checks: *checks }, target, text)
        };
        if threads_are_there() {
            return self.kernels.par_iter().enumerate().map_init(Compiler::new, one).collect();
        }
        let mut compiler = Compiler::new();
        self.kernels.iter().enumerate().map(|unit| one(&mut compiler, unit)).collect()
    }
}

/// Appends leaves, those that are equal once, then kernels, and tells where the first of these stands.
pub(super) fn append(kernels: Vec<CompiledFunction>, symbol: &str, functions: &mut Vec<Function>) -> usize {
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
    for CompiledFunction { mut function, leaves, calls } in kernels {
        for (mut relocation, leaf) in calls {
            relocation.symbol = Symbol::Function(leaf_at[&leaves[leaf].code]);
            function.relocations.push(relocation);
        }
        functions.push(function);
    }
    kernel_at
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
