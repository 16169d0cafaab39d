//! The schedule as code: a static table of calls, a function that walks a part of such a table, and the entry
//! functions, which give it their parts; loops and conditions of the schedule become those of the entry function.
//!
//! A row of the table, in words: bytes from the row to the kernel; number of parts; number of arguments, plus
//! [`PARALLEL`] if the parts are to run in parallel; then for each argument the position of its base pointer and
//! the bytes from it. The kernel gets the address of its arguments in the row. What does not run in parallel runs as
//! worker 0.

use brolga_ir::program::{Arg, Call, Kernel, KernelId, Program, Step};
use cranelift_codegen::ir::{
    self, AbiParam, Block, ExternalName, GlobalValueData, InstBuilder, MemFlagsData, Signature, StackSlot,
    StackSlotData, StackSlotKind, UserExternalName, Value, condcodes::IntCC, types,
};
use cranelift_codegen::isa::{CallConv, TargetFrontendConfig};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};

use super::parts::{FUNCTION_NAMESPACE, TABLE_NAMESPACE, Table};
use super::placement::Placement;
use crate::portable::kernel_signature;

/// Added to the number of arguments.
const PARALLEL: u64 = 1 << 32;

/// What traced code ([`compile_traced`](crate::compile_traced)) gives `parallel_for` as the number of parts: the parts,
/// and which call of the schedule they belong to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TracedCall {
    /// Position of the call among all calls of the schedule, those in loops and conditions once, in the order of the
    /// text; from [`TracedCall::PREPARE`] on those of `prepare`.
    pub call: usize,
    /// Whether code that is not traced would hand the parts out to threads.
    pub parallel: bool,
    /// How many parts there are.
    pub parts: u64,
}

impl TracedCall {
    /// The number of the first call of `prepare`.
    pub const PREPARE: usize = 1 << 22;

    /// Takes the word apart.
    pub fn from_word(word: u64) -> TracedCall {
        let call = (word >> 40 & 0x7F_FFFF) as usize;
        TracedCall { call, parallel: word >> 63 == 1, parts: word & 0xFF_FFFF_FFFF }
    }

    fn word(self) -> u64 {
        u64::from(self.parallel) << 63 | (self.call as u64) << 40 | self.parts
    }
}

/// Offsets in [`brolga_runtime::ArgumentBlock`].
const BLOCK_BASES: i32 = 0;
const BLOCK_PARALLEL_FOR: i32 = 8;
const BLOCK_POOL: i32 = 16;

fn signature(call_conv: CallConv, params: usize) -> Signature {
    let mut signature = Signature::new(call_conv);
    signature.params.extend(vec![AbiParam::new(types::I64); params]);
    signature
}

fn start(b: &mut FunctionBuilder<'_>) -> Vec<Value> {
    let entry = b.create_block();
    b.append_block_params_for_function_params(entry);
    b.switch_to_block(entry);
    b.seal_block(entry);
    b.block_params(entry).to_vec()
}

/// `run(block, row, end)`: makes the calls of the rows from `row` up to `end`.
pub(crate) fn runner(
    func: &mut ir::Function,
    context: &mut FunctionBuilderContext,
    config: TargetFrontendConfig,
) {
    let call_conv = config.default_call_conv;
    func.signature = signature(call_conv, 3);
    let mut b = FunctionBuilder::new(func, context);
    let params = start(&mut b);
    let [block, first, end] = params[..] else { unreachable!("three parameters") };
    let (header, body, exit) = (b.create_block(), b.create_block(), b.create_block());
    let row = b.append_block_param(header, types::I64);
    b.ins().jump(header, &[first.into()]);
    b.switch_to_block(header);
    let more = b.ins().icmp(IntCC::UnsignedLessThan, row, end);
    b.ins().brif(more, body, &[], exit, &[]);
    b.switch_to_block(body);
    b.seal_block(body);
    let flags = MemFlagsData::trusted().with_readonly();
    let distance = b.ins().load(types::I64, flags, row, 0);
    let kernel = b.ins().iadd(row, distance);
    let parts = b.ins().load(types::I64, flags, row, 8);
    let word = b.ins().load(types::I64, flags, row, 16);
    let args = b.ins().iadd_imm_s(row, 24);
    call_parts(&mut b, call_conv, block, Row { kernel, args, parts, word });
    let count = b.ins().band_imm_u(word, PARALLEL as i64 - 1);
    let bytes = b.ins().ishl_imm_u(count, 4);
    let next = b.ins().iadd(args, bytes);
    b.ins().jump(header, &[next.into()]);
    b.seal_block(header);
    b.switch_to_block(exit);
    b.seal_block(exit);
    b.ins().return_(&[]);
    b.finalize(config);
}

/// A row of the table, while code is made.
struct Row {
    kernel: Value,
    /// The address of the arguments.
    args: Value,
    parts: Value,
    /// The number of arguments, plus [`PARALLEL`] or not.
    word: Value,
}

/// Calls a kernel for all its parts: in parallel if the word of the row says so.
fn call_parts(b: &mut FunctionBuilder<'_>, call_conv: CallConv, block: Value, row: Row) {
    let Row { kernel, args, parts, word } = row;
    let (parallel, serial, done) = (b.create_block(), b.create_block(), b.create_block());
    let part = b.append_block_param(serial, types::I64);
    let flag = b.ins().ushr_imm_u(word, 32);
    let zero = b.ins().iconst(types::I64, 0);
    b.ins().brif(flag, parallel, &[], serial, &[zero.into()]);
    b.switch_to_block(parallel);
    b.seal_block(parallel);
    let flags = MemFlagsData::trusted().with_readonly();
    let run = b.ins().load(types::I64, flags, block, BLOCK_PARALLEL_FOR);
    let pool = b.ins().load(types::I64, flags, block, BLOCK_POOL);
    let parallel_for = b.import_signature(signature(call_conv, 5));
    b.ins().call_indirect(parallel_for, run, &[pool, kernel, block, args, parts]);
    b.ins().jump(done, &[]);
    b.switch_to_block(serial);
    let call = b.import_signature(kernel_signature(call_conv));
    b.ins().call_indirect(call, kernel, &[block, args, part, zero]);
    let next = b.ins().iadd_imm_s(part, 1);
    let more = b.ins().icmp(IntCC::UnsignedLessThan, next, parts);
    b.ins().brif(more, serial, &[next.into()], done, &[]);
    b.seal_block(serial);
    b.switch_to_block(done);
    b.seal_block(done);
}

/// What an entry function is made from.
pub(crate) struct EntryFunction<'a> {
    pub program: &'a Program,
    pub placement: &'a Placement,
    pub steps: &'a [Step],
    /// For each kernel of the program the position of its function in the image.
    pub kernels: &'a [usize],
    /// Position of the function that [`runner`] makes.
    pub runner: usize,
    /// Position that the call table will have.
    pub table: usize,
    /// Whether every call goes through `parallel_for`, so that whoever gives it sees them all.
    pub traced: bool,
    /// The number of the first call, where they are traced.
    pub first_call: usize,
}

/// Emits an entry function; gives its call table, without a name.
pub(crate) fn entry(
    func: &mut ir::Function,
    context: &mut FunctionBuilderContext,
    entry: &EntryFunction<'_>,
    config: TargetFrontendConfig,
) -> Table {
    let call_conv = config.default_call_conv;
    func.signature = signature(call_conv, 1);
    let mut b = FunctionBuilder::new(func, context);
    let block = start(&mut b)[0];
    let mut cx = EntryCx {
        b,
        entry,
        call_conv,
        block,
        table: Table { name: String::new(), words: Vec::new(), distances: Vec::new() },
        row: None,
        next_call: entry.first_call,
        counters: Vec::new(),
        exits: Vec::new(),
    };
    cx.steps(entry.steps);
    cx.b.ins().return_(&[]);
    let table = cx.table;
    cx.b.finalize(config);
    table
}

struct EntryCx<'a, 'b> {
    b: FunctionBuilder<'b>,
    entry: &'a EntryFunction<'a>,
    call_conv: CallConv,
    block: Value,
    table: Table,
    /// Where rows with places that depend on loops are put together.
    row: Option<StackSlot>,
    /// The number of the call that comes next.
    next_call: usize,
    /// The counters of the loops around.
    counters: Vec<Value>,
    /// The blocks behind the loops around.
    exits: Vec<Block>,
}

impl EntryCx<'_, '_> {
    fn steps(&mut self, steps: &[Step]) {
        let mut fixed = self.table.words.len();
        for step in steps {
            match step {
                Step::Call(call) if self.kernel(call).parts() == 0 => self.next_call += 1,
                Step::Call(call) if call.args.iter().all(|arg| arg.strides.iter().all(|&s| s == 0)) => {
                    self.push_row(call);
                }
                Step::Call(call) => {
                    self.run_rows(fixed);
                    self.moving_call(call);
                    fixed = self.table.words.len();
                }
                Step::Loop { extent, body } => {
                    self.run_rows(fixed);
                    self.schedule_loop(*extent, body);
                    fixed = self.table.words.len();
                }
                Step::Break { unless } => {
                    self.run_rows(fixed);
                    self.leave(unless);
                    fixed = self.table.words.len();
                }
                Step::If { condition, then, otherwise } => {
                    self.run_rows(fixed);
                    self.branch(condition, then, otherwise);
                    fixed = self.table.words.len();
                }
            }
        }
        self.run_rows(fixed);
    }

    fn kernel(&self, call: &Call) -> &Kernel {
        let KernelId(kernel) = call.kernel;
        &self.entry.program.kernels[kernel as usize]
    }

    fn push_row(&mut self, call: &Call) {
        let KernelId(kernel) = call.kernel;
        self.table.distances.push((self.table.words.len(), self.entry.kernels[kernel as usize]));
        let row = self.row_head(call);
        self.table.words.extend(row);
        for arg in &call.args {
            let location = self.entry.placement.argument(self.entry.program, arg);
            self.table.words.extend([location.base, location.offset]);
        }
    }

    /// A place for the way to the kernel, the parts, and the third word.
    fn row_head(&mut self, call: &Call) -> [u64; 3] {
        let kernel = self.kernel(call);
        let (parallel, parts) = (call.parallel, kernel.parts() as u64);
        let args = call.args.len() as u64;
        if self.entry.traced {
            let traced = TracedCall { call: self.next_call, parallel, parts };
            self.next_call += 1;
            return [0, traced.word(), args + PARALLEL];
        }
        [0, parts, args + if parallel { PARALLEL } else { 0 }]
    }

    /// Has the rows from word `from` to the end of the table so far run.
    fn run_rows(&mut self, from: usize) {
        let to = self.table.words.len();
        if from == to {
            return;
        }
        let name = UserExternalName { namespace: TABLE_NAMESPACE, index: self.entry.table as u32 };
        let name = self.b.func.declare_imported_user_function(name);
        let table = self.b.create_global_value(GlobalValueData::Symbol {
            name: ExternalName::user(name),
            offset: 0.into(),
            colocated: true,
            tls: false,
        });
        let table = self.b.ins().symbol_value(types::I64, table);
        let first = self.b.ins().iadd_imm_s(table, 8 * from as i64);
        let end = self.b.ins().iadd_imm_s(table, 8 * to as i64);
        let run = self.function(self.entry.runner, signature(self.call_conv, 3));
        self.b.ins().call(run, &[self.block, first, end]);
    }

    fn function(&mut self, position: usize, signature: Signature) -> ir::FuncRef {
        let name = UserExternalName { namespace: FUNCTION_NAMESPACE, index: position as u32 };
        let name = self.b.func.declare_imported_user_function(name);
        let signature = self.b.import_signature(signature);
        let name = ExternalName::user(name);
        self.b.import_function(ir::ExtFuncData { name, signature, colocated: true, patchable: false })
    }

    fn schedule_loop(&mut self, extent: usize, body: &[Step]) {
        if extent == 0 {
            return;
        }
        let (header, exit) = (self.b.create_block(), self.b.create_block());
        let counter = self.b.append_block_param(header, types::I64);
        let zero = self.b.ins().iconst(types::I64, 0);
        self.b.ins().jump(header, &[zero.into()]);
        self.b.switch_to_block(header);
        self.counters.push(counter);
        self.exits.push(exit);
        self.steps(body);
        self.exits.pop();
        self.counters.pop();
        let next = self.b.ins().iadd_imm_s(counter, 1);
        let more = self.b.ins().icmp_imm_s(IntCC::SignedLessThan, next, extent as i64);
        self.b.ins().brif(more, header, &[next.into()], exit, &[]);
        self.b.seal_block(header);
        self.b.switch_to_block(exit);
        self.b.seal_block(exit);
    }

    /// Jumps behind the innermost loop unless the condition holds. A verified program has a loop around.
    fn leave(&mut self, unless: &Arg) {
        let Some(&exit) = self.exits.last() else { return };
        let on = self.b.create_block();
        let condition = self.condition(unless);
        self.b.ins().brif(condition, on, &[], exit, &[]);
        self.b.switch_to_block(on);
        self.b.seal_block(on);
    }

    fn branch(&mut self, condition: &Arg, then: &[Step], otherwise: &[Step]) {
        let (first, second, done) = (self.b.create_block(), self.b.create_block(), self.b.create_block());
        let condition = self.condition(condition);
        self.b.ins().brif(condition, first, &[], second, &[]);
        for (block, steps) in [(first, then), (second, otherwise)] {
            self.b.switch_to_block(block);
            self.b.seal_block(block);
            self.steps(steps);
            self.b.ins().jump(done, &[]);
        }
        self.b.switch_to_block(done);
        self.b.seal_block(done);
    }

    /// Loads the `bool` at a place.
    fn condition(&mut self, arg: &Arg) -> Value {
        let (base, offset) = self.place(arg);
        let fixed = MemFlagsData::trusted().with_readonly();
        let bases = self.b.ins().load(types::I64, fixed, self.block, BLOCK_BASES);
        let base = self.b.ins().load(types::I64, fixed, bases, 8 * base as i32);
        let address = self.b.ins().iadd(base, offset);
        self.b.ins().load(types::I8, MemFlagsData::trusted(), address, 0)
    }

    /// The position of a place's base pointer, and the bytes from it in this iteration of the loops around.
    fn place(&mut self, arg: &Arg) -> (u64, Value) {
        let location = self.entry.placement.argument(self.entry.program, arg);
        let size = self.entry.program.buffers[arg.buffer.0 as usize].ty.dtype.size() as i64;
        let mut offset = self.b.ins().iconst(types::I64, location.offset as i64);
        for (&stride, &counter) in arg.strides.iter().zip(&self.counters) {
            if stride != 0 {
                let moved = self.b.ins().imul_imm_s(counter, stride.wrapping_mul(size));
                offset = self.b.ins().iadd(offset, moved);
            }
        }
        (location.base, offset)
    }

    /// A call whose places depend on the loops around it: its arguments are put together on the stack.
    fn moving_call(&mut self, call: &Call) {
        let most = self.entry.program.kernels.iter().map(|k| k.params.len()).max().unwrap_or(0);
        let row = *self.row.get_or_insert_with(|| {
            self.b.create_sized_stack_slot(StackSlotData::new(
                StackSlotKind::ExplicitSlot,
                u32::try_from(most).unwrap_or(u32::MAX).saturating_mul(16),
                3,
            ))
        });
        for (k, arg) in call.args.iter().enumerate() {
            let (base, offset) = self.place(arg);
            let base = self.b.ins().iconst(types::I64, base as i64);
            self.b.ins().stack_store(types::I64, base, row, 16 * k as i32);
            self.b.ins().stack_store(types::I64, offset, row, 16 * k as i32 + 8);
        }
        let args = self.b.ins().stack_addr(types::I64, row, 0);
        let [_, parts, word] = self.row_head(call);
        let KernelId(kernel) = call.kernel;
        let kernel = self.function(self.entry.kernels[kernel as usize], kernel_signature(self.call_conv));
        if !self.entry.traced && parts == 1 {
            // Part 0 as worker 0.
            let part = self.b.ins().iconst(types::I64, 0);
            self.b.ins().call(kernel, &[self.block, args, part, part]);
            return;
        }
        let kernel = self.b.ins().func_addr(types::I64, kernel);
        let parts = self.b.ins().iconst(types::I64, parts as i64);
        let word = self.b.ins().iconst(types::I64, word as i64);
        call_parts(&mut self.b, self.call_conv, self.block, Row { kernel, args, parts, word });
    }
}
