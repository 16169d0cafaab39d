//! From Cranelift IR to machine code, one function after the other.

use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::ir::{self, ExternalName, UserExternalName};
use cranelift_codegen::{CompiledCode, Context, FinalizedRelocTarget};
use cranelift_frontend::FunctionBuilderContext;

use super::parts::{Function, Readable, Relocation, Symbol, TABLE_NAMESPACE};
use crate::error::{Error, Result};
use crate::leaf::Leaf;
use crate::limits::MAX_FRAME;
use crate::portable::{KernelSource, LEAF_NAMESPACE, kernel as portable_kernel};
use crate::target::Target;

/// A compiled function with the leaves that it calls.
pub(super) struct CompiledFunction {
    pub function: Function,
    pub leaves: Vec<Leaf>,
    /// Relocations to leaves, by position in `leaves`.
    pub calls: Vec<(Relocation, usize)>,
}

/// What one thread uses again for every function.
pub(super) struct Compiler {
    context: Context,
    /// What makes Cranelift IR.
    pub builder: FunctionBuilderContext,
}

impl Compiler {
    pub fn new() -> Compiler {
        Compiler { context: Context::new(), builder: FunctionBuilderContext::new() }
    }

    pub fn kernel(
        &mut self,
        name: String,
        source: KernelSource<'_>,
        target: &Target,
        text: bool,
    ) -> Result<CompiledFunction> {
        let mut func = ir::Function::new();
        let config = target.isa.frontend_config();
        let leaves = portable_kernel(&mut func, &mut self.builder, source, &*target.emitter, config);
        let compiled = self.finish(func, name, target, text)?;
        Ok(CompiledFunction { leaves, ..compiled })
    }

    /// From Cranelift IR to machine code.
    pub fn finish(
        &mut self,
        func: ir::Function,
        name: String,
        target: &Target,
        text: bool,
    ) -> Result<CompiledFunction> {
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
            .compile(&*target.isa, &mut ControlPlane::default())
            .map_err(|e| Error::new(format!("Cranelift cannot compile `{name}`: {:?}", e.inner)))?;
        let code = self.context.compiled_code().expect("just compiled");
        let References { relocations, calls } = references(code, &self.context.func, &name)?;
        let alignment = code.buffer.alignment.max(16) as usize;
        let bytes = code.code_buffer().to_vec();
        let text = clif.map(|clif| Readable { clif, assembly: code.vcode.clone().unwrap_or_default() });
        let function = Function { name, code: bytes, alignment, relocations, exported: false, text };
        Ok(CompiledFunction { function, leaves: Vec::new(), calls })
    }
}

/// What a function refers to.
#[derive(Default)]
struct References {
    /// Functions and tables of the image.
    relocations: Vec<Relocation>,
    /// Leaves, by their number among its own.
    calls: Vec<(Relocation, usize)>,
}

/// What a function refers to; an error if it calls a library.
fn references(code: &CompiledCode, func: &ir::Function, name: &str) -> Result<References> {
    let mut references = References::default();
    let names = func.params.user_named_funcs();
    for r in code.buffer.relocs() {
        let FinalizedRelocTarget::ExternalName(ExternalName::User(reference)) = r.target else {
            return Err(Error::new(format!(
                "`{name}` would call a library function ({:?}), which compiled programs must not",
                r.target
            )));
        };
        let UserExternalName { namespace, index } = names[reference];
        let position = index as usize;
        let symbol = match namespace {
            TABLE_NAMESPACE => Symbol::Table(position),
            _ => Symbol::Function(position),
        };
        let relocation = Relocation { offset: r.offset, kind: r.kind, addend: r.addend, symbol };
        match namespace {
            LEAF_NAMESPACE => references.calls.push((relocation, position)),
            _ => references.relocations.push(relocation),
        }
    }
    Ok(references)
}
