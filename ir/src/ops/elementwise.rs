//! Elementwise operators: a scalar operation at every element of operands of equal extents.
//!
//! `max` and `min` propagate NaN (from the first operand that is one) and keep the second operand on ties; every
//! other operation is that of [`ScalarOp::apply`].

use std::sync::LazyLock;

use super::*;
use crate::definition::Element;
use crate::math::BERNOULLI;
use crate::scalar::{Comparison, Function, Scalar, ScalarOp};
use crate::types::DType;

/// The operations that have a type as their attribute.
const TYPED: [&str; 2] = ["convert", "bitcast"];

/// A scalar operation at every element.
#[derive(Clone, PartialEq, Debug)]
pub struct Elementwise {
    /// The operation.
    pub op: ScalarOp,
}

impl Elementwise {
    /// Names in the text form.
    pub(super) fn names() -> &'static [&'static str] {
        static NAMES: LazyLock<Vec<&'static str>> =
            LazyLock::new(|| ScalarOp::all().map(ScalarOp::name).chain(TYPED).collect());
        &NAMES
    }

    pub(super) fn from_attributes(name: &str, attributes: &mut Attributes) -> Result<Elementwise, String> {
        let mut to = DType::Bool;
        if TYPED.contains(&name) {
            let given = attributes.name("to")?;
            to = DType::from_name(&given).ok_or_else(|| format!("`{given}` is no element type"))?;
        }
        let op = ScalarOp::named(name, to).ok_or_else(|| format!("no elementwise operator `{name}`"))?;
        Ok(Elementwise { op })
    }
}

impl From<ScalarOp> for Op {
    fn from(op: ScalarOp) -> Op {
        Op::Elementwise(Elementwise { op })
    }
}

impl Operator for Elementwise {
    fn name(&self) -> &'static str {
        self.op.name()
    }

    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        match self.op {
            ScalarOp::Convert(to) | ScalarOp::Bitcast(to) => vec![("to", Attribute::name(to.name()))],
            _ => Vec::new(),
        }
    }

    fn infer(&self, operands: &[&Type]) -> Result<Vec<Type>, String> {
        expect_operands(operands, self.op.arity())?;
        if let Some(other) = operands.iter().find(|ty| ty.dims != operands[0].dims) {
            return Err(format!("operands must have equal extents, found {} and {other}", operands[0]));
        }
        let dtypes: Vec<DType> = operands.iter().map(|ty| ty.dtype).collect();
        Ok(vec![operands[0].with_dtype(self.op.result(&dtypes)?)])
    }

    fn gradient(&self, cx: &mut GradientCx) -> Gradient {
        use ScalarOp::*;
        let dy = cx.cotangent(0)?;
        let (y, b) = (cx.results[0], &mut cx.b);
        let x = cx.operands[0];
        // The second operand, where there is one.
        let u = *cx.operands.get(1).unwrap_or(&x);
        if !b.ty(y).dtype.is_float() {
            return Ok(vec![None; cx.operands.len()]);
        }
        let one = |dx| Ok(vec![Some(dx)]);
        match self.op {
            Neg => one(b.neg(dy)?),
            Abs => {
                let sign = b.sign(x)?;
                one(b.mul(dy, sign)?)
            }
            Sqrt => {
                let half = b.mul_scalar(dy, 0.5)?;
                one(b.div(half, y)?)
            }
            Floor | Ceil | Trunc | Round => Ok(vec![None]),
            Function(function) => function_gradient(function, cx, dy),
            Add => Ok(vec![Some(dy), Some(dy)]),
            Sub => Ok(vec![Some(dy), Some(b.neg(dy)?)]),
            Mul => Ok(vec![Some(b.mul(dy, u)?), Some(b.mul(dy, x)?)]),
            Div => {
                let dx = b.div(dy, u)?;
                let scaled = b.mul(dx, y)?;
                Ok(vec![Some(dx), Some(b.neg(scaled)?)])
            }
            Rem => remainder_gradient(b, [x, u], y, dy),
            Max => extremum_gradient(b, [x, u], Comparison::Ge, dy),
            Min => extremum_gradient(b, [x, u], Comparison::Le, dy),
            Fma => Ok(vec![Some(b.mul(dy, u)?), Some(b.mul(dy, x)?), Some(dy)]),
            Select => {
                let zero = b.zeros_like(dy)?;
                let (du, dv) = (b.select(x, dy, zero)?, b.select(x, zero, dy)?);
                Ok(vec![None, Some(du), Some(dv)])
            }
            Convert(_) => {
                let dtype = b.ty(x).dtype;
                if !dtype.is_float() {
                    return Ok(vec![None]);
                }
                one(b.convert(dy, dtype)?)
            }
            Bitcast(_) => Err(GradientError::NotDifferentiable("a bitcast has no derivative".into())),
            Not | And | Or | Xor | Shl | Shr | ShrLogical | MulHigh | Compare(_) => {
                Ok(vec![None; cx.operands.len()])
            }
        }
    }

    fn definition(&self, operands: &[&Type], _: &[Type]) -> Vec<Definition> {
        let rank = operands[0].rank();
        let args: Vec<Element> = (0..operands.len()).map(|i| Element::same(i, rank)).collect();
        let element = match self.op {
            op @ (ScalarOp::Max | ScalarOp::Min) if operands[0].dtype.is_float() => {
                let comparison = if op == ScalarOp::Max { Comparison::Gt } else { Comparison::Lt };
                let better = Element::Op(ScalarOp::Compare(comparison), args.clone());
                let nan =
                    Element::Op(ScalarOp::Compare(Comparison::Ne), vec![args[0].clone(), args[0].clone()]);
                let first = Element::Op(ScalarOp::Or, vec![better, nan]);
                Element::Op(ScalarOp::Select, vec![first, args[0].clone(), args[1].clone()])
            }
            op => Element::Op(op, args),
        };
        vec![Definition::Element(element)]
    }

    fn evaluate(&self, operands: &[&Tensor], results: &[Type]) -> Result<Vec<Tensor>, String> {
        let mut args = vec![Scalar::Bool(false); operands.len()];
        let tensor = Tensor::try_generate(&results[0], |i| {
            for (arg, operand) in args.iter_mut().zip(operands) {
                *arg = operand.get(i);
            }
            match (self.op, args.as_slice()) {
                (ScalarOp::Max | ScalarOp::Min, [a, _]) if a.to_f64().is_nan() => *a,
                (op, args) => op.apply(args),
            }
        })?;
        Ok(vec![tensor])
    }
}

/// Of the remainder y of x by u.
fn remainder_gradient(b: &mut Builder, [x, u]: [Value; 2], y: Value, dy: Value) -> Gradient {
    // How often u was taken off: an integer, but for the rounding of the division.
    let taken = b.sub(x, y)?;
    let quotient = b.div(taken, u)?;
    let whole = b.elementwise(ScalarOp::Round, &[quotient])?;
    let scaled = b.mul(dy, whole)?;
    Ok(vec![Some(dy), Some(b.neg(scaled)?)])
}

/// To the winner, which is x where it `wins` over u: the first on ties.
fn extremum_gradient(b: &mut Builder, [x, u]: [Value; 2], wins: Comparison, dy: Value) -> Gradient {
    let first = b.compare(wins, x, u)?;
    let zero = b.zeros_like(dy)?;
    Ok(vec![Some(b.select(first, dy, zero)?), Some(b.select(first, zero, dy)?)])
}

/// The derivatives of the elementary functions.
fn function_gradient(function: Function, cx: &mut GradientCx, dy: Value) -> Gradient {
    // The second operand, where there is one.
    let u = *cx.operands.get(1).unwrap_or(&cx.operands[0]);
    let (x, y, b) = (cx.operands[0], cx.results[0], &mut cx.b);
    let quotient = |divisor: Result<Value, GraphError>, b: &mut Builder| -> Gradient {
        Ok(vec![Some(b.div(dy, divisor?)?)])
    };
    let derivative = match function {
        Function::Exp => y,
        // Not y + 1: where y is all but -1, nothing is left of that, but of e^x.
        Function::Expm1 => b.function(Function::Exp, x)?,
        Function::Log => return quotient(Ok(x), b),
        Function::Log1p => return quotient(b.add_scalar(x, 1.0), b),
        Function::Tanh => one_minus_square(b, y)?,
        Function::Sigmoid => {
            let rest = b.scalar_sub(1.0, y)?;
            b.mul(y, rest)?
        }
        Function::Erf => erf_slope(b, x)?,
        Function::Sin => b.function(Function::Cos, x)?,
        Function::Cos => {
            let sine = b.function(Function::Sin, x)?;
            b.neg(sine)?
        }
        Function::Rsqrt => return inverse_root_gradient(b, y, dy),
        Function::Lgamma => b.function(Function::Digamma, x)?,
        Function::Digamma => trigamma(b, x)?,
        Function::ErfInv => {
            // sqrt(pi)/2 e^(y²)
            let square = b.mul(y, y)?;
            let gauss = b.function(Function::Exp, square)?;
            b.mul_scalar(gauss, 1.0 / std::f64::consts::FRAC_2_SQRT_PI)?
        }
        Function::Tan => square_plus(b, y, 1.0)?,
        Function::Asin | Function::Acos => {
            // 1 / sqrt(1 - x²)
            let rest = one_minus_square(b, x)?;
            let slope = b.function(Function::Rsqrt, rest)?;
            if function == Function::Asin { slope } else { b.neg(slope)? }
        }
        Function::Atan => return quotient(square_plus(b, x, 1.0), b),
        Function::Sinh => b.function(Function::Cosh, x)?,
        Function::Cosh => b.function(Function::Sinh, x)?,
        Function::Asinh | Function::Acosh => {
            // 1 / sqrt(x² ± 1)
            let sum = square_plus(b, x, if function == Function::Asinh { 1.0 } else { -1.0 })?;
            b.function(Function::Rsqrt, sum)?
        }
        Function::Atanh => return quotient(one_minus_square(b, x), b),
        Function::Log2 | Function::Log10 => {
            let base = if function == Function::Log2 { 2f64 } else { 10.0 };
            return quotient(b.mul_scalar(x, base.ln()), b);
        }
        Function::Atan2 => return angle_gradient(b, [x, u], dy),
        Function::Pow => return power_gradient(b, [x, u], y, dy),
    };
    Ok(vec![Some(b.mul(dy, derivative)?)])
}

/// Of erf: 2/sqrt(pi) e^(-x²).
fn erf_slope(b: &mut Builder, x: Value) -> Result<Value, GraphError> {
    let square = b.mul(x, x)?;
    let negative = b.neg(square)?;
    let gauss = b.function(Function::Exp, negative)?;
    b.mul_scalar(gauss, std::f64::consts::FRAC_2_SQRT_PI)
}

/// Of y = 1/sqrt(x): -1/2 dy y y y, in this order: y³ alone may leave the range where the product with dy does not. Where y is
/// 1e-15, dy is a sum of what is as large as 1e15.
fn inverse_root_gradient(b: &mut Builder, y: Value, dy: Value) -> Gradient {
    let mut dx = dy;
    for _ in 0..3 {
        dx = b.mul(dx, y)?;
    }
    Ok(vec![Some(b.mul_scalar(dx, -0.5)?)])
}

/// How often the recurrence of trigamma is applied: Stirling's series follows from 8 on.
const TRIGAMMA_STEPS: usize = 8;

/// The derivative of digamma (Abramowitz & Stegun, 6.4.6, 6.4.7, 6.4.12): sums of 1/(z + k)², Stirling's series behind them,
/// reflection below 0. It is written in primitives, so it has derivatives of its own. NaN at the poles, as digamma.
fn trigamma(b: &mut Builder, x: Value) -> Result<Value, GraphError> {
    let (zero, one, half) = (b.zeros_like(x)?, b.full_like(x, 1.0)?, b.full_like(x, 0.5)?);
    let is_negative = b.compare(Comparison::Lt, x, zero)?;
    let reflected = b.sub(one, x)?;
    let mut z = b.select(is_negative, reflected, x)?;
    let mut squares = Vec::new();
    for _ in 0..TRIGAMMA_STEPS {
        let inverse = b.div(one, z)?;
        squares.push(b.mul(inverse, inverse)?);
        z = b.add(z, one)?;
    }
    // 1/z (1 + sum of B_2k / z^2k) + 1/(2z²), and the squares, the smallest first.
    let inverse = b.div(one, z)?;
    let square = b.mul(inverse, inverse)?;
    let mut series = zero;
    for bernoulli in BERNOULLI.into_iter().rev().chain([1.0]) {
        let scaled = b.mul(series, square)?;
        series = b.add_scalar(scaled, bernoulli)?;
    }
    let first = b.mul(inverse, series)?;
    let second = b.mul(square, half)?;
    let mut positive = b.add(first, second)?;
    for square in squares.into_iter().rev() {
        positive = b.add(positive, square)?;
    }
    // trigamma(x) = (pi / sin(pi x))² - trigamma(1 - x); sin by the distance d from the nearest whole number, where 0/0 is NaN.
    let nearest = b.elementwise(ScalarOp::Round, &[x])?;
    let distance = b.sub(x, nearest)?;
    // From 0 on another number, so that no infinity comes from what is not used.
    let distance = b.select(is_negative, distance, half)?;
    let angle = b.mul_scalar(distance, std::f64::consts::PI)?;
    let sine = b.function(Function::Sin, angle)?;
    let ratio = b.div(angle, sine)?;
    let ratio = b.div(ratio, distance)?;
    let square = b.mul(ratio, ratio)?;
    let negative = b.sub(square, positive)?;
    b.select(is_negative, negative, positive)
}

/// x² + c.
fn square_plus(b: &mut Builder, x: Value, c: f64) -> Result<Value, GraphError> {
    let square = b.mul(x, x)?;
    b.add_scalar(square, c)
}

/// 1 - x².
fn one_minus_square(b: &mut Builder, x: Value) -> Result<Value, GraphError> {
    let square = b.mul(x, x)?;
    b.scalar_sub(1.0, square)
}

/// Of the angle of (x, y), y first: x / (x² + y²) and -y / (x² + y²); nothing at the origin.
fn angle_gradient(b: &mut Builder, [y, x]: [Value; 2], dy: Value) -> Gradient {
    // In units of the larger coordinate, so that no square overflows or underflows; what it is does not matter.
    let (zero, one) = (b.zeros_like(y)?, b.full_like(y, 1.0)?);
    let size = |b: &mut Builder, v| b.elementwise(ScalarOp::Abs, &[v]);
    let (height, width) = (size(b, y)?, size(b, x)?);
    let unit = b.max(height, width)?;
    let infinity = b.full_like(y, f64::INFINITY)?;
    let (finite, apart) =
        (b.compare(Comparison::Lt, unit, infinity)?, b.compare(Comparison::Gt, unit, zero)?);
    let usable = b.elementwise(ScalarOp::And, &[finite, apart])?;
    let unit = b.select(usable, unit, one)?;
    let unit = b.stop_gradient(unit)?;
    let (height, width) = (b.div(y, unit)?, b.div(x, unit)?);
    let squares = [b.mul(height, height)?, b.mul(width, width)?];
    let sum = b.add(squares[0], squares[1])?;
    let origin = b.compare(Comparison::Eq, sum, zero)?;
    let sum = b.select(origin, one, sum)?;
    let minus = b.neg(height)?;
    let slope = |b: &mut Builder, v| {
        let share = b.div(v, sum)?;
        b.div(share, unit)
    };
    let (by_height, by_width) = (slope(b, width)?, slope(b, minus)?);
    Ok(vec![Some(b.mul(dy, by_height)?), Some(b.mul(dy, by_width)?)])
}

/// Of y = x^p: p x^(p-1) and ln(x) x^p; the latter is 0 where x is 0 and p is not negative, as in PyTorch.
fn power_gradient(b: &mut Builder, [x, p]: [Value; 2], y: Value, dy: Value) -> Gradient {
    let less = b.add_scalar(p, -1.0)?;
    let lower = b.elementwise(ScalarOp::Function(Function::Pow), &[x, less])?;
    let zero = b.zeros_like(x)?;
    let flat = b.compare(Comparison::Eq, p, zero)?;
    let slope = b.mul(p, lower)?;
    let slope = b.select(flat, zero, slope)?;
    let log = b.function(Function::Log, x)?;
    let growth = b.mul(y, log)?;
    let vanishing = b.compare(Comparison::Eq, x, zero)?;
    let growing = b.compare(Comparison::Ge, p, zero)?;
    let none = b.elementwise(ScalarOp::And, &[vanishing, growing])?;
    let growth = b.select(none, zero, growth)?;
    Ok(vec![Some(b.mul(dy, slope)?), Some(b.mul(dy, growth)?)])
}
