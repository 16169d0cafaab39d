//! `reduce`: combines the elements along axes: sum, product, maximum, minimum, and, or.

use super::*;
use crate::definition::{Element, Order};
use crate::index::Index;
use crate::program::Combine;
use crate::scalar::{Comparison, Scalar, ScalarOp};

/// Combines along axes, which vanish. Maximum and minimum propagate NaN. The text form's name is
/// `reduce_add`, `reduce_max`, ….
#[derive(Clone, PartialEq, Debug)]
pub struct Reduce {
    /// How elements combine.
    pub combine: Combine,
    /// Ascending axes of the operand.
    pub axes: Vec<usize>,
}

const NAMES: [(&str, Combine); 6] = [
    ("reduce_add", Combine::Add),
    ("reduce_mul", Combine::Mul),
    ("reduce_max", Combine::Max),
    ("reduce_min", Combine::Min),
    ("reduce_and", Combine::And),
    ("reduce_or", Combine::Or),
];

impl Reduce {
    /// Names in the text form.
    pub(super) fn names() -> &'static [&'static str] {
        &["reduce_add", "reduce_mul", "reduce_max", "reduce_min", "reduce_and", "reduce_or"]
    }

    pub(super) fn from_attributes(name: &str, attributes: &mut Attributes) -> Result<Reduce, String> {
        let (_, combine) = NAMES.iter().find(|(n, _)| *n == name).ok_or("no such reduction")?;
        Ok(Reduce { combine: *combine, axes: attributes.sizes("axes")? })
    }

    /// The axes of the operand that stay.
    fn kept(&self, rank: usize) -> Vec<usize> {
        (0..rank).filter(|axis| !self.axes.contains(axis)).collect()
    }
}

impl Operator for Reduce {
    fn name(&self) -> &'static str {
        NAMES.iter().find(|(_, combine)| *combine == self.combine).map_or("reduce", |(name, _)| name)
    }

    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        vec![("axes", Attribute::sizes(&self.axes))]
    }

    fn infer(&self, operands: &[&Type]) -> Result<Vec<Type>, String> {
        expect_operands(operands, 1)?;
        expect_numbers(operands)?;
        let x = operands[0];
        if !self.axes.is_sorted_by(|a, b| a < b) || self.axes.last().is_some_and(|&last| last >= x.rank()) {
            return Err(format!("`axes` must name ascending axes of {x}, found {:?}", self.axes));
        }
        let allowed = match self.combine {
            Combine::Add | Combine::Mul => x.dtype != crate::types::DType::Bool,
            Combine::And | Combine::Or => !x.dtype.is_float(),
            Combine::Max | Combine::Min => true,
        };
        if !allowed {
            return Err(format!("is not defined for {}", x.dtype));
        }
        Ok(vec![x.with_dims(self.kept(x.rank()).iter().map(|&axis| x.dims[axis]).collect::<Vec<_>>())])
    }

    fn gradient(&self, cx: &mut GradientCx) -> Gradient {
        let dy = cx.cotangent(0)?;
        let (x, y, b) = (cx.operands[0], cx.results[0], &mut cx.b);
        let dims = b.ty(x).dims.clone();
        let kept = self.kept(dims.len());
        let dy = b.broadcast(dy, &dims, &kept)?;
        match self.combine {
            Combine::Add => Ok(vec![Some(dy)]),
            Combine::Mul => {
                // Times the product of the others, those before and those behind: right where a factor is 0 as well.
                let order: Vec<usize> = kept.iter().chain(&self.axes).copied().collect();
                let rows: Vec<usize> = order.iter().map(|&axis| dims[axis]).collect();
                let count = self.axes.iter().map(|&axis| dims[axis]).product();
                let flat: Vec<usize> = rows[..kept.len()].iter().copied().chain([count]).collect();
                let moved = b.transpose(x, &order)?;
                let moved = b.reshape(moved, &flat)?;
                let mut products = |reverse| {
                    let op = Cumulative { axis: kept.len(), combine: Combine::Mul, reverse, exclusive: true };
                    b.add_node(op, &[moved])
                };
                let (before, behind) = (products(false)?, products(true)?);
                let others = b.mul(before, behind)?;
                let others = b.reshape(others, &rows)?;
                let back = Transpose { axes: order }.inverse();
                let others = b.transpose(others, &back)?;
                Ok(vec![Some(b.mul(dy, others)?)])
            }
            Combine::Max | Combine::Min => {
                // To the first of the winners in row-major order; a NaN wins.
                let y = b.broadcast(y, &dims, &kept)?;
                let mut wins = b.compare(Comparison::Eq, x, y)?;
                if b.ty(x).dtype.is_float() {
                    let undefined = b.compare(Comparison::Ne, x, x)?;
                    wins = b.elementwise(ScalarOp::Or, &[wins, undefined])?;
                }
                let position = b.position(&dims, &self.axes)?;
                let far = b.full_like(position, f64::from(i32::MAX))?;
                let candidates = b.select(wins, position, far)?;
                let first = b.reduce(Combine::Min, candidates, &self.axes)?;
                let first = b.broadcast(first, &dims, &kept)?;
                let chosen = b.compare(Comparison::Eq, position, first)?;
                let zero = b.zeros_like(dy)?;
                Ok(vec![Some(b.select(chosen, dy, zero)?)])
            }
            Combine::And | Combine::Or => Ok(vec![None]),
        }
    }

    fn definition(&self, operands: &[&Type], _: &[Type]) -> Vec<Definition> {
        let x = operands[0];
        let kept = self.kept(x.rank());
        let axis = |axis: usize| match self.axes.iter().position(|&a| a == axis) {
            Some(reduced) => Index::var((kept.len() + reduced) as u32),
            None => Index::var(kept.iter().position(|&k| k == axis).unwrap_or(0) as u32),
        };
        vec![Definition::Reduce {
            extents: self.axes.iter().map(|&axis| x.dims[axis]).collect(),
            combine: self.combine,
            order: Order::Plan,
            value: Element::Operand(0, (0..x.rank()).map(axis).collect()),
        }]
    }

    /// Sums and products of floats are formed in f64 and rounded once.
    fn evaluate(&self, operands: &[&Tensor], results: &[Type]) -> Result<Vec<Tensor>, String> {
        let (x, ty) = (operands[0], &results[0]);
        let wide = match self.combine {
            Combine::Add | Combine::Mul if ty.dtype.is_float() => crate::types::DType::F64,
            _ => ty.dtype,
        };
        let mut steps = vec![0; x.dims().len()];
        for (axis, stride) in self.kept(x.dims().len()).into_iter().zip(ty.strides()) {
            steps[axis] = stride as isize;
        }
        let mut sums: Vec<Scalar> = filled(self.combine.identity(wide), ty.elements())?;
        let mut elements = 0..x.elements();
        for_positions(x.dims(), 0, &steps, |position| {
            let value = x.get(elements.next().unwrap_or(0));
            let value = if wide == ty.dtype { value } else { Scalar::F64(value.to_f64()) };
            sums[position] = self.combine.apply(sums[position], value);
        });
        let narrow = |s: Scalar| if wide == ty.dtype { s } else { Scalar::from_f64(ty.dtype, s.to_f64()) };
        Ok(vec![Tensor::try_generate(ty, |i| narrow(sums[i]))?])
    }
}
