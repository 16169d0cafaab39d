//! What an operation does to the bits.

use half::bf16;

use super::{Comparison, Function, Scalar, ScalarOp};
use crate::types::DType;

impl ScalarOp {
    /// What the operation gives. Operands must have types that [`ScalarOp::result`] accepts.
    pub fn apply(self, operands: &[Scalar]) -> Scalar {
        match (self, operands) {
            (ScalarOp::Function(function), args) => elementary(function, args),
            (ScalarOp::Select, &[condition, a, b]) => match condition.to_bool() {
                true => a,
                false => b,
            },
            (ScalarOp::Convert(to), &[a]) => convert(a, to),
            (ScalarOp::Bitcast(to), &[a]) => bitcast(a, to),
            (ScalarOp::Compare(comparison), &[a, b]) => Scalar::Bool(compare(comparison, a, b)),
            (ScalarOp::MulHigh, &[Scalar::I32(a), Scalar::I32(b)]) => {
                Scalar::I32(((a as u32 as u64 * b as u32 as u64) >> 32) as i32)
            }
            (ScalarOp::Fma, &[Scalar::F32(a), Scalar::F32(b), Scalar::F32(c)]) => {
                Scalar::F32(a.mul_add(b, c))
            }
            (ScalarOp::Fma, &[Scalar::F64(a), Scalar::F64(b), Scalar::F64(c)]) => {
                Scalar::F64(a.mul_add(b, c))
            }
            (op, &[a]) => unary(op, a),
            (op, &[a, b]) => binary(op, a, b),
            _ => unreachable!("{self:?} of {operands:?}"),
        }
    }
}

/// `crate::math` evaluated on values; a function of one argument gets it twice and ignores the second.
fn elementary(function: Function, args: &[Scalar]) -> Scalar {
    match (args[0], args[args.len() - 1]) {
        (Scalar::F32(x), Scalar::F32(y)) => Scalar::F32(function.eval32(x, y)),
        (Scalar::F64(x), Scalar::F64(y)) => Scalar::F64(function.eval64(x, y)),
        _ => unreachable!("{function:?} of {args:?}"),
    }
}

fn compare(comparison: Comparison, a: Scalar, b: Scalar) -> bool {
    match (a, b) {
        (Scalar::Bool(a), Scalar::Bool(b)) => comparison.holds(a, b),
        (Scalar::U8(a), Scalar::U8(b)) => comparison.holds(a, b),
        (Scalar::I32(a), Scalar::I32(b)) => comparison.holds(a, b),
        (Scalar::I64(a), Scalar::I64(b)) => comparison.holds(a, b),
        (Scalar::F32(a), Scalar::F32(b)) => comparison.holds(a, b),
        (Scalar::F64(a), Scalar::F64(b)) => comparison.holds(a, b),
        _ => unreachable!("{comparison:?} of {a:?} and {b:?}"),
    }
}

fn unary(op: ScalarOp, a: Scalar) -> Scalar {
    match a {
        Scalar::Bool(a) => Scalar::Bool(!a),
        Scalar::U8(a) => Scalar::U8(Number::unary(op, a)),
        Scalar::I32(a) => Scalar::I32(Number::unary(op, a)),
        Scalar::I64(a) => Scalar::I64(Number::unary(op, a)),
        Scalar::F32(a) => Scalar::F32(Number::unary(op, a)),
        Scalar::F64(a) => Scalar::F64(Number::unary(op, a)),
        Scalar::Bf16(_) => unreachable!("{op:?} of {a:?}"),
    }
}

fn binary(op: ScalarOp, a: Scalar, b: Scalar) -> Scalar {
    match (a, b) {
        (Scalar::Bool(a), Scalar::Bool(b)) => Scalar::Bool(match op {
            ScalarOp::And | ScalarOp::Min => a & b,
            ScalarOp::Or | ScalarOp::Max => a | b,
            ScalarOp::Xor => a ^ b,
            op => unreachable!("{op:?} of bool"),
        }),
        (Scalar::U8(a), Scalar::U8(b)) => Scalar::U8(Number::binary(op, a, b)),
        (Scalar::I32(a), Scalar::I32(b)) => Scalar::I32(Number::binary(op, a, b)),
        (Scalar::I64(a), Scalar::I64(b)) => Scalar::I64(Number::binary(op, a, b)),
        (Scalar::F32(a), Scalar::F32(b)) => Scalar::F32(Number::binary(op, a, b)),
        (Scalar::F64(a), Scalar::F64(b)) => Scalar::F64(Number::binary(op, a, b)),
        _ => unreachable!("{op:?} of {a:?} and {b:?}"),
    }
}

/// Operations with one or two operands of one type.
trait Number: Copy {
    fn unary(op: ScalarOp, a: Self) -> Self;
    fn binary(op: ScalarOp, a: Self, b: Self) -> Self;
}

macro_rules! float {
    ($ty:ty) => {
        impl Number for $ty {
            fn unary(op: ScalarOp, a: Self) -> Self {
                match op {
                    ScalarOp::Neg => -a,
                    ScalarOp::Abs => a.abs(),
                    ScalarOp::Sqrt => a.sqrt(),
                    ScalarOp::Floor => a.floor(),
                    ScalarOp::Ceil => a.ceil(),
                    ScalarOp::Trunc => a.trunc(),
                    ScalarOp::Round => a.round_ties_even(),
                    op => unreachable!("{op:?} of a float"),
                }
            }

            fn binary(op: ScalarOp, a: Self, b: Self) -> Self {
                match op {
                    ScalarOp::Add => a + b,
                    ScalarOp::Sub => a - b,
                    ScalarOp::Mul => a * b,
                    ScalarOp::Div => a / b,
                    ScalarOp::Rem => a % b,
                    // Not those of Rust: of equal zeros, and where one is NaN, the result is `b`.
                    ScalarOp::Max if a > b => a,
                    ScalarOp::Min if a < b => a,
                    ScalarOp::Max | ScalarOp::Min => b,
                    op => unreachable!("{op:?} of floats"),
                }
            }
        }
    };
}
float!(f32);
float!(f64);

/// Wrapping arithmetic that never traps.
macro_rules! int {
    ($ty:ty, $unsigned:ty) => {
        impl Number for $ty {
            #[allow(unused_comparisons, clippy::absurd_extreme_comparisons)]
            fn unary(op: ScalarOp, a: Self) -> Self {
                match op {
                    ScalarOp::Neg => (0 as $ty).wrapping_sub(a),
                    ScalarOp::Abs if a < 0 => (0 as $ty).wrapping_sub(a),
                    ScalarOp::Abs => a,
                    ScalarOp::Not => !a,
                    op => unreachable!("{op:?} of an integer"),
                }
            }

            fn binary(op: ScalarOp, a: Self, b: Self) -> Self {
                let shift = b as u32 % <$ty>::BITS;
                match op {
                    ScalarOp::Add => a.wrapping_add(b),
                    ScalarOp::Sub => a.wrapping_sub(b),
                    ScalarOp::Mul => a.wrapping_mul(b),
                    ScalarOp::Div if b == 0 => 0,
                    ScalarOp::Div => a.wrapping_div(b),
                    ScalarOp::Rem if b == 0 => a,
                    ScalarOp::Rem => a.wrapping_rem(b),
                    ScalarOp::Max => a.max(b),
                    ScalarOp::Min => a.min(b),
                    ScalarOp::And => a & b,
                    ScalarOp::Or => a | b,
                    ScalarOp::Xor => a ^ b,
                    ScalarOp::Shl => a << shift,
                    ScalarOp::Shr => a >> shift,
                    ScalarOp::ShrLogical => (a as $unsigned >> shift) as $ty,
                    op => unreachable!("{op:?} of integers"),
                }
            }
        }
    };
}
int!(u8, u8);
int!(i32, u32);
int!(i64, u64);

/// Between floats: rounds; float to integer: truncates, saturates, NaN to 0; between integers: wraps.
fn convert(a: Scalar, to: DType) -> Scalar {
    match (a, to) {
        (Scalar::F32(v), DType::I32) => Scalar::I32(v as i32),
        (Scalar::F32(v), DType::I64) => Scalar::I64(v as i64),
        (Scalar::F32(v), DType::U8) => Scalar::U8(v as u8),
        (Scalar::Bf16(v), DType::Bf16) => Scalar::Bf16(v),
        (Scalar::Bf16(v), _) => convert(Scalar::F32(v.to_f32()), to),
        (Scalar::F32(v), DType::Bf16) => Scalar::Bf16(bf16::from_f32(v)),
        (Scalar::F32(v), _) => Scalar::from_f64(to, v as f64),
        (Scalar::F64(v), _) => Scalar::from_f64(to, v),
        (a, _) => Scalar::from_i64(to, a.to_i64()),
    }
}

fn bitcast(a: Scalar, to: DType) -> Scalar {
    match (a, to) {
        (Scalar::F32(v), DType::I32) => Scalar::I32(v.to_bits() as i32),
        (Scalar::I32(v), DType::F32) => Scalar::F32(f32::from_bits(v as u32)),
        (Scalar::F64(v), DType::I64) => Scalar::I64(v.to_bits() as i64),
        (Scalar::I64(v), DType::F64) => Scalar::F64(f64::from_bits(v as u64)),
        (a, to) if a.dtype() == to => a,
        (a, to) => unreachable!("bitcast of {a:?} to {to}"),
    }
}
