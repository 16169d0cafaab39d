//! The portable emitter: a kernel as Cranelift IR, with 128-bit vectors.
//!
//! [`KernelCx`] walks the statements of one kernel. Loops become blocks with the loop variable as block parameter;
//! values become SSA values; a strip is emitted twice, four lanes at a time and then one by one for the tail, by
//! the same code: every value knows whether it is one scalar (equal in all lanes) or a vector.
//!
//! | file | what |
//! |---|---|
//! | `mod.rs` | statements, loops, grids |
//! | `address.rs` | index expressions and addresses |
//! | `memory.rs` | loads and stores, guarded ones too |
//! | `checked.rs` | the same of kernels that may reach outside |
//! | `lanes.rs` | operations on scalars and on vectors |
//! | `convert.rs` | conversions between types |
//! | `function.rs` | elementary functions |
//! | `remainder.rs` | remainders of floats |
//! | `strip.rs` | which strips become vectors, what is hoisted out of them |
//! | `reduce.rs` | accumulators |
//! | `tile.rs` | matrix tiles |

mod address;
mod checked;
mod convert;
mod function;
mod lanes;
mod memory;
mod reduce;
mod remainder;
mod strip;
mod tile;

use brolga_ir::index::Var;
use brolga_ir::program::{AccId, Expr, Kernel, Stmt, ValueId};
use brolga_ir::{DType, scalar::Scalar};
use brolga_runtime::{BASE_ARENA, BASE_LOCAL};
use cranelift_codegen::ir::{
    self, AbiParam, ExternalName, InstBuilder, MemFlagsData, Signature, StackSlot, StackSlotData,
    StackSlotKind, UserExternalName, Value, condcodes::IntCC, types,
};
use cranelift_codegen::isa::{CallConv, TargetFrontendConfig};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use rustc_hash::FxHashMap;

use crate::emitter::{Emitter, Leaf};

pub(crate) use lanes::has_lanes;
pub(crate) use tile::{merge_loops, split_rows};

/// Lanes of a 128-bit vector of 32-bit elements.
const LANES: i64 = 4;

/// Names of leaf functions inside a kernel's code: this namespace, indices by order of first use.
pub(crate) const LEAF_NAMESPACE: u32 = 1;

/// A value of the program while code is emitted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Val {
    pub value: Value,
    pub dtype: DType,
    /// A vector with one element for each lane, else one scalar for all lanes.
    pub wide: bool,
    /// Number of loops around its definition: addresses add outer parts first, so that they leave inner loops.
    pub depth: usize,
}

/// How an accumulator is kept.
#[derive(Clone, Copy)]
pub(crate) enum Acc {
    /// 32 lanes in memory.
    Slot { slot: StackSlot, dtype: DType, combine: brolga_ir::program::Combine },
    /// One lane, or one for each lane of the strip that declares it.
    Register { variable: cranelift_frontend::Variable, dtype: DType, combine: brolga_ir::program::Combine },
}

/// A loop variable in scope.
#[derive(Clone, Copy)]
pub(crate) struct Bound {
    pub value: Value,
    pub extent: usize,
    pub depth: usize,
}

/// The strip that is being emitted.
#[derive(Clone, Copy)]
pub(crate) struct InStrip {
    pub var: Var,
    /// The iteration of the first lane.
    pub first: Value,
    /// Four lanes, else one.
    pub wide: bool,
}

/// A kernel, and what the program around it says of it.
#[derive(Clone, Copy)]
pub(crate) struct About<'a> {
    pub kernel: &'a Kernel,
    /// Bytes of local memory that every worker has.
    pub local: usize,
    /// Which parameters are outputs of the program, where NaNs have one form.
    pub outputs: &'a [bool],
    /// Of a kernel that is not proven to stay inside its parameters.
    pub checks: Option<Checks>,
}

/// How a kernel is emitted that is not proven to be right: every access is checked, iterations run one after the other, and
/// local memory begins with ones everywhere, as in the interpreter.
#[derive(Clone, Copy, PartialEq)]
pub(crate) struct Checks {
    /// Its number, to be told where it reaches outside.
    pub kernel: u32,
    /// Where in the arena that is told: bytes from its start.
    pub place: usize,
}

/// The emission of one kernel.
pub(crate) struct KernelCx<'a> {
    pub(crate) b: FunctionBuilder<'a>,
    pub(crate) kernel: &'a Kernel,
    pub(crate) outputs: &'a [bool],
    /// Where a checked kernel says what it refuses, with how it is called.
    pub(crate) refusals: Option<(Value, Checks)>,
    emitter: &'a dyn Emitter,
    call_conv: CallConv,
    /// Address of each parameter's element 0.
    pub(crate) pointers: Vec<Value>,
    pub(crate) vars: FxHashMap<Var, Bound>,
    pub(crate) values: FxHashMap<ValueId, Val>,
    /// Values that are constants.
    pub(crate) constants: FxHashMap<ValueId, Scalar>,
    pub(crate) accs: FxHashMap<AccId, Acc>,
    pub(crate) strip: Option<InStrip>,
    pub(crate) depth: usize,
    zeros: Option<StackSlot>,
    /// The table of every leaf that takes one.
    table: Option<StackSlot>,
    pub(crate) leaves: Vec<Leaf>,
}

/// The signature of [`brolga_runtime::KernelFn`].
pub(crate) fn kernel_signature(call_conv: CallConv) -> Signature {
    let mut signature = Signature::new(call_conv);
    signature.params.extend([AbiParam::new(types::I64); 4]);
    signature
}

/// Emits a kernel into `func`; gives the leaf functions that it calls.
pub(crate) fn kernel(
    func: &mut ir::Function,
    context: &mut FunctionBuilderContext,
    about: About<'_>,
    emitter: &dyn Emitter,
    config: TargetFrontendConfig,
) -> Vec<Leaf> {
    let About { kernel, local, outputs, checks } = about;
    let call_conv = config.default_call_conv;
    func.signature = kernel_signature(call_conv);
    let mut b = FunctionBuilder::new(func, context);
    let entry = b.create_block();
    b.append_block_params_for_function_params(entry);
    b.switch_to_block(entry);
    b.seal_block(entry);
    let (block, row, part, worker) = {
        let params = b.block_params(entry);
        (params[0], params[1], params[2], params[3])
    };
    // Each argument is a pair of words in the row: position of the base pointer, and bytes from it.
    let flags = MemFlagsData::trusted().with_readonly();
    let bases = b.ins().load(types::I64, flags, block, 0);
    let mut pointers: Vec<Value> = (0..kernel.arguments().len() as i32)
        .map(|k| {
            let position = b.ins().load(types::I64, flags, row, 16 * k);
            let offset = b.ins().load(types::I64, flags, row, 16 * k + 8);
            let position = b.ins().ishl_imm_u(position, 3);
            let place = b.ins().iadd(bases, position);
            let base = b.ins().load(types::I64, flags, place, 0);
            b.ins().iadd(base, offset)
        })
        .collect();
    let offsets = kernel.local_offsets();
    if !offsets.is_empty() {
        let base = b.ins().load(types::I64, flags, bases, 8 * BASE_LOCAL as i32);
        let before = b.ins().imul_imm_s(worker, local as i64);
        let own = b.ins().iadd(base, before);
        pointers.extend(offsets.into_iter().map(|offset| b.ins().iadd_imm_s(own, offset as i64)));
    }
    let refusals = checks.map(|checks| {
        let arena = b.ins().load(types::I64, flags, bases, 8 * BASE_ARENA as i32);
        (b.ins().iadd_imm_s(arena, checks.place as i64), checks)
    });
    let mut cx = KernelCx {
        b,
        kernel,
        outputs,
        refusals,
        emitter,
        call_conv,
        pointers,
        vars: FxHashMap::default(),
        values: FxHashMap::default(),
        constants: FxHashMap::default(),
        accs: FxHashMap::default(),
        strip: None,
        depth: 0,
        zeros: None,
        table: None,
        leaves: Vec::new(),
    };
    cx.grid(part);
    cx.forget_local();
    cx.block(&kernel.body);
    cx.b.ins().return_(&[]);
    let leaves = std::mem::take(&mut cx.leaves);
    cx.b.finalize(config);
    leaves
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

    /// `for i in (start..end).step_by(step)`: `body` gets `i`.
    pub(crate) fn counted(&mut self, start: i64, end: i64, step: i64, body: impl FnOnce(&mut Self, Value)) {
        if start >= end {
            return;
        }
        let first = self.b.ins().iconst(types::I64, start);
        if start + step >= end {
            return body(self, first);
        }
        let (header, exit) = (self.b.create_block(), self.b.create_block());
        let counter = self.b.append_block_param(header, types::I64);
        self.b.ins().jump(header, &[first.into()]);
        self.b.switch_to_block(header);
        self.depth += 1;
        body(self, counter);
        self.depth -= 1;
        let after = self.b.ins().iadd_imm_s(counter, step);
        let bound = self.b.ins().iconst(types::I64, end);
        let more = self.b.ins().icmp(IntCC::SignedLessThan, after, bound);
        self.b.ins().brif(more, header, &[after.into()], exit, &[]);
        self.b.seal_block(header);
        self.b.switch_to_block(exit);
        self.b.seal_block(exit);
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

    /// A scalar constant.
    pub(crate) fn constant(&mut self, scalar: Scalar) -> Value {
        match scalar {
            Scalar::Bool(v) => self.b.ins().iconst(types::I8, v as i64),
            Scalar::U8(v) => self.b.ins().iconst(types::I8, v as i64),
            Scalar::I32(v) => self.b.ins().iconst(types::I32, v as u32 as i64),
            Scalar::I64(v) => self.b.ins().iconst(types::I64, v),
            Scalar::Bf16(v) => self.b.ins().f32const(v.to_f32()),
            Scalar::F32(v) => self.b.ins().f32const(v),
            Scalar::F64(v) => self.b.ins().f64const(v),
        }
    }

    /// Sixteen zero bytes: what a guarded load reads where its guard is false.
    pub(crate) fn zeros(&mut self) -> Value {
        if self.zeros.is_none() {
            let slot = self.stack(16);
            self.zeros = Some(slot);
        }
        let slot = self.zeros.expect("just made");
        // Stored at each use: the first use need not dominate the others.
        let zero = self.b.ins().iconst(types::I64, 0);
        self.b.ins().stack_store(types::I64, zero, slot, 0);
        self.b.ins().stack_store(types::I64, zero, slot, 8);
        self.b.ins().stack_addr(types::I64, slot, 0)
    }

    pub(crate) fn stack(&mut self, bytes: u32) -> StackSlot {
        self.b.create_sized_stack_slot(StackSlotData::new(StackSlotKind::ExplicitSlot, bytes, 4))
    }

    /// Memory for the table of a leaf, which is filled just before the call: a kernel of many leaves has one for all of
    /// them, as large as the largest.
    pub(crate) fn table(&mut self, bytes: u32) -> StackSlot {
        let slot = self.table.unwrap_or_else(|| self.stack(bytes));
        self.table = Some(slot);
        let size = &mut self.b.func.sized_stack_slots[slot].size;
        *size = bytes.max(*size);
        slot
    }

    /// Calls a leaf function with integer arguments.
    pub(crate) fn call_leaf(&mut self, leaf: Leaf, args: &[Value]) {
        let number = match self.leaves.iter().position(|l| *l == leaf) {
            Some(number) => number,
            None => {
                self.leaves.push(leaf);
                self.leaves.len() - 1
            }
        };
        let mut signature = Signature::new(self.call_conv);
        signature.params.extend(args.iter().map(|_| AbiParam::new(types::I64)));
        let signature = self.b.import_signature(signature);
        let name = UserExternalName { namespace: LEAF_NAMESPACE, index: number as u32 };
        let name = self.b.func.declare_imported_user_function(name);
        let function = self.b.import_function(ir::ExtFuncData {
            name: ExternalName::user(name),
            signature,
            colocated: true,
            patchable: false,
        });
        self.b.ins().call(function, args);
    }
}
