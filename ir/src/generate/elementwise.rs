//! Makers of elementwise operators.

use super::maker::{Made, Maker};
use crate::graph::Value;
use crate::scalar::{Comparison, Function, ScalarOp};
use crate::types::{DType, Type};

pub(super) fn unary(m: &mut Maker) -> Made {
    let x = m.any_float(0);
    match m.rng.below(3) {
        0 => m.add(ScalarOp::Neg, &[x]),
        1 => m.add(ScalarOp::Abs, &[x]),
        _ => {
            let x = m.positive(x, 0.1)?;
            m.add(ScalarOp::Sqrt, &[x])
        }
    }
}

pub(super) fn rounding(m: &mut Maker) -> Made {
    let x = m.any_float(0);
    let op = m.rng.of(&[ScalarOp::Floor, ScalarOp::Ceil, ScalarOp::Trunc, ScalarOp::Round, ScalarOp::Rem]);
    if op == ScalarOp::Rem {
        let y = m.like(x);
        let y = m.positive(y, 0.5)?;
        return m.add(op, &[x, y]);
    }
    m.add(op, &[x])
}

pub(super) fn function(m: &mut Maker) -> Made {
    let x = m.any_float(0);
    let function = m.rng.of(&Function::ALL);
    match function {
        Function::Log
        | Function::Log2
        | Function::Log10
        | Function::Rsqrt
        | Function::Lgamma
        | Function::Digamma
        | Function::Log1p => {
            let x = m.positive(x, 0.25)?;
            m.add(ScalarOp::Function(function), &[x])
        }
        Function::Acosh => {
            let x = m.positive(x, 1.25)?;
            m.add(ScalarOp::Function(function), &[x])
        }
        Function::Exp | Function::Expm1 | Function::Sinh | Function::Cosh | Function::Tan => {
            let x = m.bounded(x)?;
            m.add(ScalarOp::Function(function), &[x])
        }
        Function::ErfInv | Function::Asin | Function::Acos | Function::Atanh => {
            let x = m.bounded(x)?;
            let x = m.b().mul_scalar(x, 0.875)?;
            m.add(ScalarOp::Function(function), &[x])
        }
        Function::Pow => {
            let exponent = m.like(x);
            let (base, exponent) = (m.positive(x, 0.5)?, m.bounded(exponent)?);
            m.add(ScalarOp::Function(function), &[base, exponent])
        }
        Function::Atan2 => {
            let width = m.like(x);
            let width = m.positive(width, 0.5)?;
            m.add(ScalarOp::Function(function), &[x, width])
        }
        function => m.add(ScalarOp::Function(function), &[x]),
    }
}

pub(super) fn binary(m: &mut Maker) -> Made {
    let x = m.any_float(0);
    let mut y = m.like(x);
    let op = m.rng.of(&[ScalarOp::Add, ScalarOp::Sub, ScalarOp::Mul, ScalarOp::Div]);
    if op == ScalarOp::Div {
        y = m.positive(y, 0.5)?;
    }
    m.add(op, &[x, y])
}

pub(super) fn extremum(m: &mut Maker) -> Made {
    let x = m.any_float(0);
    let y = m.like(x);
    let op = m.rng.of(&[ScalarOp::Max, ScalarOp::Min]);
    m.add(op, &[x, y])
}

pub(super) fn fma(m: &mut Maker) -> Made {
    let x = m.any_float(0);
    let (y, z) = (m.like(x), m.like(x));
    m.add(ScalarOp::Fma, &[x, y, z])
}

pub(super) fn select(m: &mut Maker) -> Made {
    let x = m.any_float(0);
    let y = m.like(x);
    let condition = Type::new(DType::Bool, m.extents(x));
    let condition = m.of_type(&condition);
    m.add(ScalarOp::Select, &[condition, x, y])
}

pub(super) fn compare(m: &mut Maker) -> Made {
    let x = m.any_float(0);
    let y = m.like(x);
    let comparison = m.rng.of(&Comparison::ALL);
    m.add(ScalarOp::Compare(comparison), &[x, y])
}

/// An integer tensor.
pub(super) fn int(m: &mut Maker, dtype: DType) -> Value {
    match m.find(|ty| ty.dtype == dtype) {
        Some(value) if !m.rng.once_in(6) => value,
        _ => {
            let rank = m.rng.below(4);
            let dims = m.dims(rank);
            m.parameter(Type::new(dtype, dims))
        }
    }
}

pub(super) fn integer(m: &mut Maker) -> Made {
    use ScalarOp::*;
    let dtype = m.rng.of(&[DType::I32, DType::I32, DType::I32, DType::I64, DType::U8]);
    let x = int(m, dtype);
    let y = m.like(x);
    let op = m.rng.of(&[
        Neg, Abs, Not, Add, Sub, Mul, Div, Rem, Max, Min, And, Or, Xor, Shl, Shr, ShrLogical, MulHigh,
        MulHigh, Shl, Shr, ShrLogical,
    ]);
    if op.arity() == 1 { m.add(op, &[x]) } else { m.add(op, &[x, y]) }
}

pub(super) fn logical(m: &mut Maker) -> Made {
    let x = int(m, DType::Bool);
    let y = m.like(x);
    let op = m.rng.of(&[ScalarOp::And, ScalarOp::Or, ScalarOp::Xor, ScalarOp::Not]);
    if op == ScalarOp::Not { m.add(op, &[x]) } else { m.add(op, &[x, y]) }
}

pub(super) fn compare_ints(m: &mut Maker) -> Made {
    let x = int(m, DType::I32);
    let y = m.like(x);
    let comparison = m.rng.of(&Comparison::ALL);
    m.add(ScalarOp::Compare(comparison), &[x, y])
}

/// From integers to floats, between integers, and to `bool`.
pub(super) fn convert(m: &mut Maker) -> Made {
    let from = m.rng.of(&[DType::I32, DType::I64, DType::U8, DType::Bool]);
    let x = int(m, from);
    let float = m.config.float;
    let to = m.rng.of(&[float, float, DType::I32, DType::I64, DType::U8, DType::Bool]);
    m.add(ScalarOp::Convert(to), &[x])
}

pub(super) fn to_integer(m: &mut Maker) -> Made {
    let x = m.any_float(0);
    let to = m.rng.of(&[DType::I32, DType::I64, DType::U8]);
    m.add(ScalarOp::Convert(to), &[x])
}

pub(super) fn bitcast(m: &mut Maker) -> Made {
    let x = m.any_float(0);
    let to = if m.config.float == DType::F32 { DType::I32 } else { DType::I64 };
    m.add(ScalarOp::Bitcast(to), &[x])
}
