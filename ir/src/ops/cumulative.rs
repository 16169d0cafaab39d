//! `cumulative_add`, `cumulative_mul`, `cumulative_max`, `cumulative_min`: running sums, products and extrema.

use super::*;
use crate::program::Combine;
use crate::scalar::{Comparison, Scalar, ScalarOp};
use crate::types::DType;

/// Element `i` along the axis combines the operand's elements up to `i`, itself included, or those before it where
/// `exclusive` (the first is then the identity). `reverse` runs from the end.
#[derive(Clone, PartialEq, Debug)]
pub struct Cumulative {
    /// The axis along which it runs.
    pub axis: usize,
    /// `Add`, `Mul`, `Max` or `Min`.
    pub combine: Combine,
    /// Whether it starts at the end.
    pub reverse: bool,
    /// Whether an element does not count itself.
    pub exclusive: bool,
}

const NAMES: [(&str, Combine); 4] = [
    ("cumulative_add", Combine::Add),
    ("cumulative_mul", Combine::Mul),
    ("cumulative_max", Combine::Max),
    ("cumulative_min", Combine::Min),
];

impl Cumulative {
    /// Names in the text form.
    pub(super) fn names() -> &'static [&'static str] {
        &["cumulative_add", "cumulative_mul", "cumulative_max", "cumulative_min"]
    }

    pub(super) fn from_attributes(name: &str, attributes: &mut Attributes) -> Result<Cumulative, String> {
        let (_, combine) = NAMES.iter().find(|(n, _)| *n == name).ok_or("no such operator")?;
        Ok(Cumulative {
            axis: attributes.size("axis")?,
            combine: *combine,
            reverse: attributes.flag("reverse", false)?,
            exclusive: attributes.flag("exclusive", false)?,
        })
    }

    /// Before the first factor 0, the sum of dy y from there on, divided by x: behind that factor all products are 0. The
    /// first 0 itself gets dy times the products without it, up to the second 0; what is behind it gets nothing.
    fn product_gradient(&self, cx: &mut GradientCx, dy: Value) -> Result<Value, GraphError> {
        let (x, y, b) = (cx.operands[0], cx.results[0], &mut cx.b);
        let back = Cumulative { combine: Combine::Add, reverse: !self.reverse, ..self.clone() };
        let (zero, one) = (b.zeros_like(x)?, b.full_like(x, 1.0)?);
        let is_zero = b.compare(Comparison::Eq, x, zero)?;
        let hit = b.convert(is_zero, DType::I32)?;
        let counts = Cumulative { combine: Combine::Add, ..self.clone() };
        // The number of zeros up to an element, itself included, and in its product.
        let reached = b.add_node(Cumulative { exclusive: false, ..counts.clone() }, &[hit])?;
        let within = b.add_node(counts, &[hit])?;
        let (none, single) = (b.full_like(hit, 0.0)?, b.full_like(hit, 1.0)?);

        let scaled = b.mul(dy, y)?;
        let sum = b.add_node(back.clone(), &[scaled])?;
        let divisor = b.select(is_zero, one, x)?;
        let before = b.div(sum, divisor)?;

        let others = b.add_node(self.clone(), &[divisor])?;
        let scaled = b.mul(dy, others)?;
        let counted = b.compare(Comparison::Eq, within, single)?;
        let scaled = b.select(counted, scaled, zero)?;
        let at = b.add_node(back, &[scaled])?;

        let first = b.compare(Comparison::Eq, reached, single)?;
        let first = b.elementwise(ScalarOp::And, &[first, is_zero])?;
        let at = b.select(first, at, zero)?;
        let ahead = b.compare(Comparison::Eq, reached, none)?;
        b.select(ahead, before, at)
    }

    /// To the first winner of each prefix: winners are the elements that beat all before them.
    fn extremum_gradient(&self, cx: &mut GradientCx, dy: Value) -> Result<Value, GraphError> {
        let (x, b) = (cx.operands[0], &mut cx.b);
        let dims = b.dims(x);
        let before = b.add_node(Cumulative { exclusive: true, ..self.clone() }, &[x])?;
        let comparison = if self.combine == Combine::Max { Comparison::Gt } else { Comparison::Lt };
        let record = b.compare(comparison, x, before)?;
        // Time runs in the direction of the operator; the latest record so far holds the extremum.
        let along = b.iota(DType::I32, &dims, self.axis)?;
        let last = dims[self.axis] as f64 - 1.0;
        let time = if self.reverse { b.scalar_sub(last, along)? } else { along };
        let never = b.full_like(time, 0.0)?;
        let records = b.select(record, time, never)?;
        let latest = b.add_node(Cumulative { combine: Combine::Max, ..self.clone() }, &[records])?;
        let winner = if self.reverse { b.scalar_sub(last, latest)? } else { latest };
        // The first element of an exclusive run has no winner: its index is far outside, the update is dropped.
        let zeros = b.zeros_like(x)?;
        b.scatter_add_along(zeros, winner, dy, self.axis)
    }
}

impl Operator for Cumulative {
    fn name(&self) -> &'static str {
        NAMES.iter().find(|(_, combine)| *combine == self.combine).map_or("cumulative", |(name, _)| name)
    }

    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        let mut attributes = vec![("axis", Attribute::Int(self.axis as i64))];
        for (name, flag) in [("reverse", self.reverse), ("exclusive", self.exclusive)] {
            if flag {
                attributes.push((name, Attribute::Bool(true)));
            }
        }
        attributes
    }

    fn infer(&self, operands: &[&Type]) -> Result<Vec<Type>, String> {
        expect_operands(operands, 1)?;
        expect_numbers(operands)?;
        let x = operands[0];
        expect_axis(self.axis, x)?;
        if x.dtype == DType::Bool || !NAMES.iter().any(|(_, combine)| *combine == self.combine) {
            return Err(format!("a running {} of {x} is not defined", self.combine.name()));
        }
        Ok(vec![x.clone()])
    }

    fn gradient(&self, cx: &mut GradientCx) -> Gradient {
        let dy = cx.cotangent(0)?;
        if !cx.b.ty(dy).dtype.is_float() {
            return Ok(vec![None]);
        }
        let back = Cumulative { combine: Combine::Add, reverse: !self.reverse, ..self.clone() };
        Ok(vec![Some(match self.combine {
            Combine::Add => cx.b.add_node(back, &[dy])?,
            Combine::Mul => self.product_gradient(cx, dy)?,
            _ => self.extremum_gradient(cx, dy)?,
        })])
    }

    fn definition(&self, _: &[&Type], _: &[Type]) -> Vec<Definition> {
        vec![Definition::Loops]
    }

    /// Sums and products of floats run in f64; every element is rounded once.
    fn evaluate(&self, operands: &[&Tensor], results: &[Type]) -> Result<Vec<Tensor>, String> {
        let (x, ty) = (operands[0], &results[0]);
        let wide = match self.combine {
            Combine::Add | Combine::Mul if ty.dtype.is_float() => DType::F64,
            _ => ty.dtype,
        };
        let widen = |s: Scalar| if wide == ty.dtype { s } else { Scalar::F64(s.to_f64()) };
        let narrow = |s: Scalar| if wide == ty.dtype { s } else { Scalar::from_f64(ty.dtype, s.to_f64()) };
        let extent = ty.dims[self.axis];
        let inner: usize = ty.dims[self.axis + 1..].iter().product();
        let rows = ty.elements().checked_div(extent).unwrap_or(0);
        let mut result = Tensor::try_zeros(ty)?;
        for row in 0..rows {
            let first = row / inner * extent * inner + row % inner;
            let mut sum = self.combine.identity(wide);
            for step in 0..extent {
                let at = first + if self.reverse { extent - 1 - step } else { step } * inner;
                let next = self.combine.apply(sum, widen(x.get(at)));
                result.set(at, narrow(if self.exclusive { sum } else { next }));
                sum = next;
            }
        }
        Ok(vec![result])
    }
}
