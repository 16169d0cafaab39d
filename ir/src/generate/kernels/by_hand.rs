//! What kernels are made and run with: statements, a program around a kernel, values for its parameters.

use crate::index::Index;
use crate::program::{
    Access, Arg, Buffer, BufferId, Call, Expr, Kernel, KernelId, Param, Place, Program, Step, Stmt, ValueId,
};
use crate::random::Rng;
use crate::scalar::{Scalar, ScalarOp};
use crate::tensor::Tensor;
use crate::types::{DType, Type};

/// A program of one call, parallel if there are several parts; every parameter but local ones is a state slot, named by its
/// position. A `bf16` exists inside of programs only, so its slot is a `f32`, and a kernel before the call or behind it converts.
pub fn program(kernel: &Kernel) -> Program {
    let mut program = Program { name: "test".into(), kernels: vec![kernel.clone()], ..Program::default() };
    let arg = |buffer: usize| Arg { buffer: BufferId(buffer as u32), offset: 0, strides: Vec::new() };
    let call = |kernel: usize, args, parallel| {
        Step::Call(Call { kernel: KernelId(kernel as u32), args, parallel, origin: "test".into() })
    };
    let (mut args, mut behind) = (Vec::new(), Vec::new());
    for (i, p) in kernel.arguments().iter().enumerate() {
        let ty = Type::new(p.dtype, [p.len]);
        let place = Place::State { updated: p.access != Access::Read };
        let slot = program.buffers.len();
        let border = if p.dtype == DType::Bf16 { DType::F32 } else { p.dtype };
        program.buffers.push(Buffer::new(&format!("p{i}"), ty.with_dtype(border), place));
        args.push(arg(program.buffers.len() - 1));
        if border == p.dtype {
            continue;
        }
        let offset = program.arena_bytes;
        program.arena_bytes += ty.bytes().next_multiple_of(64);
        program.buffers.push(Buffer::new(&format!("p{i}.bf16"), ty, Place::Arena(Some(offset))));
        args[i] = arg(slot + 1);
        // What is only written as well: a kernel may leave elements alone.
        program.schedule.push(call(program.kernels.len(), vec![arg(slot), arg(slot + 1)], false));
        program.kernels.push(conversion(border, p.dtype, p.len));
        if p.access != Access::Read {
            behind.push(call(program.kernels.len(), vec![arg(slot + 1), arg(slot)], false));
            program.kernels.push(conversion(p.dtype, border, p.len));
        }
    }
    program.schedule.push(call(0, args, kernel.parts() > 1));
    program.schedule.append(&mut behind);
    program
}

/// A kernel that converts all elements of a parameter.
fn conversion(from: DType, to: DType, len: usize) -> Kernel {
    let mut body = Body::default();
    let value = body.load(from, 0, Index::var(0));
    let value = body.op(to, ScalarOp::Convert(to), &[value]);
    body.store(1, Index::var(0), value);
    let params = vec![param(from, len, Access::Read), param(to, len, Access::Write)];
    kernel(params, vec![], vec![Stmt::Strip { var: 0, extent: len, body: body.stmts }])
}

/// Values for kernels.
pub trait Values {
    /// A value of the type: usually plain, sometimes a special one.
    fn scalar(&mut self, dtype: DType) -> Scalar;

    /// So many of them.
    fn tensor(&mut self, dtype: DType, len: usize) -> Tensor {
        Tensor::generate(&Type::new(dtype, [len]), |_| self.scalar(dtype))
    }

    /// Tensors for a kernel's parameters.
    fn tensors(&mut self, kernel: &Kernel) -> Vec<Tensor> {
        kernel.arguments().iter().map(|p| self.tensor(p.dtype, p.len)).collect()
    }
}

/// Numbers at which operations change what they do.
const SPECIAL_F32: [f32; 16] = [
    0.0,
    -0.0,
    f32::INFINITY,
    f32::NEG_INFINITY,
    f32::NAN,
    f32::MIN_POSITIVE,
    1e-42,
    -1e-45,
    3e9,
    -3e9,
    0.5,
    1.5,
    2.5,
    f32::MAX,
    255.5,
    1e19,
];

/// The same for `f64`.
const SPECIAL_F64: [f64; 14] = [
    0.0,
    -0.0,
    f64::INFINITY,
    f64::NEG_INFINITY,
    f64::NAN,
    f64::MIN_POSITIVE,
    5e-324,
    3e9,
    -3e9,
    1e19,
    0.5,
    2.5,
    f64::MAX,
    1e-40,
];

impl Values for Rng {
    fn scalar(&mut self, dtype: DType) -> Scalar {
        let plain = (self.bits() >> 40) as f64 / (1u64 << 22) as f64 - 2.0;
        match dtype {
            DType::Bool => Scalar::Bool(self.chance(50)),
            DType::U8 => Scalar::U8(self.bits() as u8),
            DType::I32 => match self.below(8) {
                0 => Scalar::I32(self.of(&[0, -1, 1, i32::MIN, i32::MAX, 31, 32, 33])),
                1..4 => Scalar::I32(self.below(19) as i32 - 9),
                _ => Scalar::I32(self.bits() as i32),
            },
            DType::I64 => match self.below(8) {
                0 => Scalar::I64(self.of(&[0, -1, 1, i64::MIN, i64::MAX, 63, 64, 65])),
                1..4 => Scalar::I64(self.below(19) as i64 - 9),
                _ => Scalar::I64(self.bits() as i64),
            },
            DType::Bf16 => ScalarOp::Convert(DType::Bf16).apply(&[self.scalar(DType::F32)]),
            DType::F32 => match self.below(16) {
                0 => Scalar::F32(self.of(&SPECIAL_F32)),
                1 => Scalar::F32(f32::from_bits(self.bits() as u32)),
                2 => Scalar::F32((plain * 1000.0) as f32),
                _ => Scalar::F32(plain as f32),
            },
            DType::F64 => match self.below(16) {
                0 => Scalar::F64(self.of(&SPECIAL_F64)),
                1 => Scalar::F64(f64::from_bits(self.bits())),
                2 => Scalar::F64(plain * 1000.0),
                _ => Scalar::F64(plain),
            },
        }
    }
}

/// Statements, with values numbered as they come.
#[derive(Default, Debug)]
pub struct Body {
    /// So far.
    pub stmts: Vec<Stmt>,
    /// The number of the next value.
    pub next: u32,
}

impl Body {
    /// Without statements; values are numbered from `next` on.
    pub fn starting(next: u32) -> Body {
        Body { stmts: Vec::new(), next }
    }

    /// Defines a value.
    pub fn let_(&mut self, dtype: DType, expr: Expr) -> ValueId {
        let id = ValueId(self.next);
        self.next += 1;
        self.stmts.push(Stmt::Let { id, dtype, expr });
        id
    }

    /// Loads an element.
    pub fn load(&mut self, dtype: DType, param: usize, index: Index) -> ValueId {
        self.let_(dtype, Expr::Load { param, index, guard: None })
    }

    /// An operation.
    pub fn op(&mut self, dtype: DType, op: ScalarOp, args: &[ValueId]) -> ValueId {
        self.let_(dtype, Expr::Op(op, args.to_vec()))
    }

    /// Stores an element.
    pub fn store(&mut self, param: usize, index: Index, value: ValueId) {
        self.stmts.push(Stmt::Store { param, index, value });
    }
}

/// A parameter.
pub fn param(dtype: DType, len: usize, access: Access) -> Param {
    Param { dtype, len, access }
}

/// A kernel of these statements.
pub fn kernel(params: Vec<Param>, grid: Vec<usize>, body: Vec<Stmt>) -> Kernel {
    Kernel { name: "k".into(), params, grid, body }
}
