//! `gather_along`: takes elements along one axis, each row by its own indices.

use super::gather::{expect_indices, given_back, taken_from};
use super::*;
use crate::definition::Element;
use crate::index::Index;

/// Operands: x, indices (`i32` or `i64`, extents of x but for the axis, along which they are any):
/// `y[a…, i, b…] = x[a…, indices[a…, i, b…], b…]`. Indices are clamped to the extent.
#[derive(Clone, PartialEq, Debug)]
pub struct GatherAlong {
    /// The axis of x that is indexed.
    pub axis: usize,
}

impl GatherAlong {
    /// Names in the text form.
    pub(super) fn names() -> &'static [&'static str] {
        &["gather_along"]
    }

    pub(super) fn from_attributes(_: &str, attributes: &mut Attributes) -> Result<GatherAlong, String> {
        Ok(GatherAlong { axis: attributes.size("axis")? })
    }

    /// The type that gathering from `x` gives, and that scattering into `x` takes.
    pub(super) fn taken(&self, x: &Type, indices: &Type) -> Result<Type, String> {
        expect_axis(self.axis, x)?;
        expect_indices(indices)?;
        let mut expected = indices.dims.clone();
        if indices.rank() == x.rank() {
            expected[self.axis] = x.dims[self.axis];
        }
        if expected != x.dims {
            return Err(format!("{indices} must have the extents of {x} but for axis {}", self.axis));
        }
        Ok(x.with_dims(indices.dims.clone()))
    }
}

/// The position in a tensor of extents `x` for element `i` of indices of extents `taken`, and an index along `axis`.
pub(super) fn position_along(x: &[usize], taken: &[usize], axis: usize, i: usize, index: usize) -> usize {
    let inner: usize = x[axis + 1..].iter().product();
    let (row, within) = (i / inner, i % inner);
    (row / taken[axis] * x[axis] + index) * inner + within
}

impl Operator for GatherAlong {
    fn name(&self) -> &'static str {
        "gather_along"
    }

    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        vec![("axis", Attribute::Int(self.axis as i64))]
    }

    fn infer(&self, operands: &[&Type]) -> Result<Vec<Type>, String> {
        expect_operands(operands, 2)?;
        let taken = self.taken(operands[0], operands[1])?;
        taken_from(operands[0], self.axis, taken)
    }

    fn gradient(&self, cx: &mut GradientCx) -> Gradient {
        let dy = cx.cotangent(0)?;
        let (zeros, indices) = given_back(cx, self.axis)?;
        Ok(vec![Some(cx.b.scatter_add_along(zeros, indices, dy, self.axis)?), None])
    }

    fn definition(&self, operands: &[&Type], _: &[Type]) -> Vec<Definition> {
        let x = operands[0];
        let index = |axis: usize| if axis == self.axis { Index::value(0) } else { Index::var(axis as u32) };
        vec![Definition::Element(Element::Gathered {
            first: 0,
            values: vec![(Element::same(1, x.rank()), x.dims[self.axis])],
            body: Box::new(Element::Operand(0, (0..x.rank()).map(index).collect())),
        })]
    }

    fn evaluate(&self, operands: &[&Tensor], results: &[Type]) -> Result<Vec<Tensor>, String> {
        let (x, indices) = (operands[0], to_i64(operands[1])?);
        let last = x.dims()[self.axis] as i64 - 1;
        let position = |i: usize| {
            let index = indices[i].clamp(0, last) as usize;
            position_along(x.dims(), &results[0].dims, self.axis, i, index)
        };
        Ok(vec![pick(x, &results[0], position)?])
    }
}
