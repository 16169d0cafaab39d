//! Kernels, statements, loops and grids.

use brolga_ir::DType;
use brolga_ir::index::Var;
use brolga_ir::program::{Expr, Stmt, ValueId};
use brolga_runtime::{BASE_ARENA, BASE_LOCAL};
use cranelift_codegen::ir::{self, InstBuilder, MemFlagsData, Value, types};
use cranelift_codegen::isa::TargetFrontendConfig;
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};

use super::context::{Bound, Emitter, KernelCx, KernelSource, Val, kernel_signature};
use crate::leaf::Leaf;

/// Emits a kernel into `func`; gives the leaf functions that it calls.
pub(crate) fn kernel(
    func: &mut ir::Function,
    context: &mut FunctionBuilderContext,
    source: KernelSource<'_>,
    emitter: &dyn Emitter,
    config: TargetFrontendConfig,
) -> Vec<Leaf> {
    func.signature = kernel_signature(config.default_call_conv);
    let mut b = FunctionBuilder::new(func, context);
    let entry = b.create_block();
    b.append_block_params_for_function_params(entry);
    b.switch_to_block(entry);
    b.seal_block(entry);
    let (block, row, part, worker) = {
        let params = b.block_params(entry);
        (params[0], params[1], params[2], params[3])
    };
    let bases = b.ins().load(types::I64, MemFlagsData::trusted().with_readonly(), block, 0);
    let pointers = pointers(&mut b, source, [bases, row, worker]);
    let refusals = source.checks.map(|checks| {
        let arena = base(&mut b, bases, BASE_ARENA);
        (b.ins().iadd_imm_s(arena, checks.place as i64), checks)
    });
    let mut cx = KernelCx::new(b, source, emitter, pointers, refusals);
    cx.grid(part);
    cx.forget_local();
    cx.block(&source.kernel.body);
    cx.b.ins().return_(&[]);
    let leaves = std::mem::take(&mut cx.leaves);
    cx.b.finalize(config);
    leaves
}

/// The base pointer at a position of the list that a call has.
fn base(b: &mut FunctionBuilder<'_>, bases: Value, position: usize) -> Value {
    b.ins().load(types::I64, MemFlagsData::trusted().with_readonly(), bases, 8 * position as i32)
}

/// The address of each parameter's element 0: of arguments, which the row of the call says, then of local ones, which lie in
/// memory of the worker.
fn pointers(
    b: &mut FunctionBuilder<'_>,
    source: KernelSource<'_>,
    [bases, row, worker]: [Value; 3],
) -> Vec<Value> {
    let flags = MemFlagsData::trusted().with_readonly();
    // Each argument is a pair of words in the row: position of the base pointer, and bytes from it.
    let mut pointers: Vec<Value> = (0..source.kernel.arguments().len() as i32)
        .map(|k| {
            let position = b.ins().load(types::I64, flags, row, 16 * k);
            let offset = b.ins().load(types::I64, flags, row, 16 * k + 8);
            let position = b.ins().ishl_imm_u(position, 3);
            let place = b.ins().iadd(bases, position);
            let base = b.ins().load(types::I64, flags, place, 0);
            b.ins().iadd(base, offset)
        })
        .collect();
    let offsets = source.kernel.local_offsets();
    if !offsets.is_empty() {
        let base = base(b, bases, BASE_LOCAL);
        let before = b.ins().imul_imm_s(worker, source.local as i64);
        let own = b.ins().iadd(base, before);
        pointers.extend(offsets.into_iter().map(|offset| b.ins().iadd_imm_s(own, offset as i64)));
    }
    pointers
}

impl KernelCx<'_> {
    /// Grid coordinates from the linear number of the part; the last one runs fastest.
    fn grid(&mut self, part: Value) {
        let mut rest = part;
        for (axis, &extent) in self.kernel.grid.iter().enumerate().rev() {
            let value = if axis == 0 {
                rest
            } else if extent == 1 {
                self.b.ins().iconst(types::I64, 0)
            } else {
                let divisor = self.b.ins().iconst(types::I64, extent.max(1) as i64);
                let quotient = self.b.ins().udiv(rest, divisor);
                let multiple = self.b.ins().imul(quotient, divisor);
                let value = self.b.ins().isub(rest, multiple);
                rest = quotient;
                value
            };
            self.vars.insert(axis as Var, Bound { value, extent, depth: 0 });
        }
    }

    pub(crate) fn block(&mut self, body: &[Stmt]) {
        let mut rest = body;
        while let Some(stmt) = rest.first() {
            let emitter = self.emitter;
            let whole = self.strip.is_none() && self.refusals.is_none();
            let done = if whole { emitter.leading(self, rest) } else { 0 };
            if done == 0 {
                self.stmt(stmt);
            }
            rest = &rest[done.max(1)..];
        }
    }

    pub(crate) fn stmt(&mut self, stmt: &Stmt) {
        match stmt {
            Stmt::For { var, extent, body } => self.serial(*var, *extent, body),
            Stmt::Strip { var, extent, body } => self.portable_strip(*var, *extent, body),
            Stmt::If { condition, then, otherwise } => self.branch(*condition, then, otherwise),
            Stmt::Let { id, dtype, expr } => {
                if let Expr::Constant(scalar) = expr {
                    self.constants.insert(*id, *scalar);
                }
                let value = self.expr(*dtype, expr);
                self.values.insert(*id, value);
            }
            Stmt::Store { param, index, value } if self.refusals.is_some() => {
                self.checked_store(*param, index, *value);
            }
            Stmt::Store { param, index, value } => self.store(*param, index, *value),
            Stmt::Declare { acc, dtype, combine, lanes } => self.declare(*acc, *dtype, *combine, *lanes),
            Stmt::Accumulate { acc, value } => self.accumulate(*acc, *value),
            Stmt::Finish { id, acc } => {
                let value = self.finish(*acc);
                self.values.insert(*id, value);
            }
            Stmt::Tile(tile) if self.refusals.is_some() => self.checked_tile(tile),
            Stmt::Tile(tile) => self.portable_tile(tile),
        }
    }

    fn serial(&mut self, var: Var, extent: usize, body: &[Stmt]) {
        self.counted(0, extent as i64, 1, |cx, value| {
            cx.vars.insert(var, Bound { value, extent, depth: cx.depth });
            cx.block(body);
        });
    }

    fn branch(&mut self, condition: ValueId, then: &[Stmt], otherwise: &[Stmt]) {
        let condition = self.values[&condition].value;
        let (yes, no, join) = (self.b.create_block(), self.b.create_block(), self.b.create_block());
        self.b.ins().brif(condition, yes, &[], no, &[]);
        for (block, body) in [(yes, then), (no, otherwise)] {
            self.b.switch_to_block(block);
            self.b.seal_block(block);
            self.block(body);
            self.b.ins().jump(join, &[]);
        }
        self.b.switch_to_block(join);
        self.b.seal_block(join);
    }

    fn expr(&mut self, dtype: DType, expr: &Expr) -> Val {
        match expr {
            Expr::Constant(scalar) => {
                let value = self.constant(*scalar);
                Val { value, dtype, wide: false, depth: 0 }
            }
            Expr::Index(index) => self.index_value(dtype, index),
            Expr::Op(op, args) => {
                let args: Vec<Val> = args.iter().map(|id| self.values[id]).collect();
                self.op(*op, dtype, &args)
            }
            Expr::Load { param, index, guard } if self.refusals.is_some() => {
                self.checked_load(*param, index, *guard)
            }
            Expr::Load { param, index, guard } => self.load(*param, index, *guard),
        }
    }
}
