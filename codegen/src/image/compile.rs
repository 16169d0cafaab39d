//! From programs to an image.

use cranelift_codegen::ir;

use super::calls::{self, TracedCall};
use super::compiler::Compiler;
use super::kernels::{Units, append};
use super::parts::{Entry, Function, Image, Source, Table, symbol_name};
use super::placement::{Constants, Placement};
use crate::error::Result;
use crate::target::Target;

impl Image {
    /// Compiles every function of the programs, in parallel. `symbol` begins the names of what entries share; `text` keeps the
    /// Cranelift IR.
    pub fn new(sources: &[Source<'_>], symbol: &str, target: &Target, text: bool) -> Result<Image> {
        let mut constants = Constants::default();
        let mut placements = Vec::with_capacity(sources.len());
        for source in sources {
            let features = target.features.clone();
            placements.push(Placement::new(
                source.program,
                features,
                source.proven.is_some(),
                &mut constants,
            )?);
        }
        // Kernels of several entries find their worker's local memory in one way.
        let local = sources.iter().map(|source| source.program.local_bytes()).max().unwrap_or(0);
        for placement in &mut placements {
            placement.manifest.local_bytes = local;
            placement.manifest.constants_bytes = constants.bytes.len();
        }
        let units = Units::new(sources, &placements);
        let compiled = units.compile(symbol, local, target, text)?;
        let mut functions = Vec::new();
        let kernel_at = append(compiled, symbol, &mut functions);
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
        for ((source, placement), kernels) in sources.iter().zip(placements).zip(&units.of) {
            entries.push(made.entry(source, placement, kernels)?);
        }
        let Entries { functions, tables, .. } = made;
        Ok(Image { functions, tables, entries, constants: constants.bytes })
    }
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
        calls::runner(&mut func, &mut self.compiler.builder, self.target.isa.frontend_config());
        self.runner = self.functions.len();
        let name = symbol_name(&format!("{symbol}_run"));
        self.functions.push(self.compiler.finish(func, name, self.target, self.text)?.function);
        Ok(())
    }

    /// A program's entry and prepare function; `kernels` are the positions of its kernels among all.
    fn entry(&mut self, source: &Source<'_>, mut placement: Placement, kernels: &[usize]) -> Result<Entry> {
        let program = source.program;
        let kernels: Vec<usize> = kernels.iter().map(|kernel| self.kernel_at + kernel).collect();
        let function = self.function(source, &placement, &kernels, false)?;
        let prepares = !program.prepare.is_empty() || program.prepared_bytes > 0;
        let prepare = prepares.then(|| self.function(source, &placement, &kernels, true)).transpose()?;
        // What is not proven to be independent runs in order.
        let free = source.proven.into_iter().flatten().all(|&proven| proven);
        placement.manifest.parallel = self.target.traced || free && program.is_parallel();
        Ok(Entry { function, prepare, placement })
    }

    /// One of the two, with its table.
    fn function(
        &mut self,
        source: &Source<'_>,
        placement: &Placement,
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
        let table = calls::entry(
            &mut func,
            &mut self.compiler.builder,
            &calls::EntryFunction {
                program,
                placement,
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
