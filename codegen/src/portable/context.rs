//! What is known while a kernel is emitted, and what every part of the emitter writes with.

use brolga_ir::index::Var;
use brolga_ir::program::{AccId, Combine, Kernel, Stmt, ValueId};
use brolga_ir::{DType, scalar::Scalar};
use cranelift_codegen::ir::{
    self, AbiParam, ExternalName, InstBuilder, Signature, StackSlot, StackSlotData, StackSlotKind,
    UserExternalName, Value, condcodes::IntCC, types,
};
use cranelift_codegen::isa::CallConv;
use cranelift_frontend::{FunctionBuilder, Variable};
use rustc_hash::FxHashMap;

use crate::leaf::Leaf;

/// Lanes of a 128-bit vector of 32-bit elements.
pub(super) const LANES: i64 = 4;

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
    Slot { slot: StackSlot, dtype: DType, combine: Combine },
    /// One lane, or one for each lane of the strip that declares it.
    Register { variable: Variable, dtype: DType, combine: Combine },
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
pub(crate) struct KernelSource<'a> {
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
    pub(super) emitter: &'a dyn Emitter,
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

/// What emitters differ in: which statements become leaf functions. Everything else is the same Cranelift IR.
pub(crate) trait Emitter: Sync {
    /// Emits as many of the leading statements of `body` as it has better code for than Cranelift; says how many.
    fn leading(&self, cx: &mut KernelCx<'_>, body: &[Stmt]) -> usize;
}

/// Cranelift IR with 128-bit vectors, for every target.
pub(crate) struct Portable;

impl Emitter for Portable {
    fn leading(&self, _: &mut KernelCx<'_>, _: &[Stmt]) -> usize {
        0
    }
}

/// The signature of [`brolga_runtime::KernelFn`].
pub(crate) fn kernel_signature(call_conv: CallConv) -> Signature {
    let mut signature = Signature::new(call_conv);
    signature.params.extend([AbiParam::new(types::I64); 4]);
    signature
}

impl<'a> KernelCx<'a> {
    /// Nothing of the kernel is emitted but the addresses of its parameters.
    pub(super) fn new(
        b: FunctionBuilder<'a>,
        source: KernelSource<'a>,
        emitter: &'a dyn Emitter,
        pointers: Vec<Value>,
        refusals: Option<(Value, Checks)>,
    ) -> KernelCx<'a> {
        KernelCx {
            call_conv: b.func.signature.call_conv,
            b,
            kernel: source.kernel,
            outputs: source.outputs,
            refusals,
            emitter,
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
        }
    }
}

impl KernelCx<'_> {
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
