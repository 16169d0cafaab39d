//! `gather`: takes slices along one axis at computed indices.

use super::*;
use crate::definition::Element;
use crate::index::Index;
use crate::scalar::Comparison;
use crate::types::DType;

/// Operands: x, indices (`i32` or `i64`, any extents). The axis is replaced by the axes of the indices:
/// `y[a…, i…, b…] = x[a…, indices[i…], b…]`. Indices are clamped to the extent.
#[derive(Clone, PartialEq, Debug)]
pub struct Gather {
    /// The axis of x that is indexed.
    pub axis: usize,
}

impl Gather {
    /// Names in the text form.
    pub(super) fn names() -> &'static [&'static str] {
        &["gather"]
    }

    pub(super) fn from_attributes(_: &str, attributes: &mut Attributes) -> Result<Gather, String> {
        Ok(Gather { axis: attributes.size("axis")? })
    }

    /// The type that gathering from `x` gives, and that scattering into `x` takes.
    pub(super) fn taken(&self, x: &Type, indices: &Type) -> Result<Type, String> {
        expect_axis(self.axis, x)?;
        expect_indices(indices)?;
        let dims = [&x.dims[..self.axis], &indices.dims, &x.dims[self.axis + 1..]].concat();
        Ok(x.with_dims(dims))
    }
}

/// An error unless a type can be that of indices.
pub(super) fn expect_indices(indices: &Type) -> Result<(), String> {
    if matches!(indices.dtype, DType::I32 | DType::I64) {
        return Ok(());
    }
    Err(format!("indices must be i32 or i64, found {indices}"))
}

/// Indices clamped to an extent, as gathering clamps them.
fn clamped(b: &mut Builder, indices: Value, extent: usize) -> Result<Value, GraphError> {
    let (low, high) = (b.zeros_like(indices)?, b.full_like(indices, extent.saturating_sub(1) as f64)?);
    let above = b.max(indices, low)?;
    b.min(above, high)
}

/// The type of what is taken from an axis of `x`, which is a mistake if there is nothing to take.
pub(super) fn taken_from(x: &Type, axis: usize, taken: Type) -> Result<Vec<Type>, String> {
    if x.dims[axis] == 0 && !taken.dims.contains(&0) {
        return Err(format!("nothing can be taken from axis {axis} of {x}"));
    }
    Ok(vec![taken])
}

/// What the cotangent of a gathering is added to, zeros of the extents of the first operand, and at which indices.
pub(super) fn given_back(cx: &mut GradientCx, axis: usize) -> Result<(Value, Value), GraphError> {
    let (x, indices) = (cx.operands[0], cx.operands[1]);
    let zeros = cx.b.zeros_like(x)?;
    let extent = cx.b.dims(x)[axis];
    Ok((zeros, clamped(&mut cx.b, indices, extent)?))
}

/// Whether each index lies inside an extent: those that scattering does not drop.
pub(super) fn inside(b: &mut Builder, indices: Value, extent: usize) -> Result<Value, GraphError> {
    let (low, high) = (b.zeros_like(indices)?, b.full_like(indices, extent as f64)?);
    let from = b.compare(Comparison::Ge, indices, low)?;
    let to = b.compare(Comparison::Lt, indices, high)?;
    b.elementwise(crate::scalar::ScalarOp::And, &[from, to])
}

impl Operator for Gather {
    fn name(&self) -> &'static str {
        "gather"
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
        Ok(vec![Some(cx.b.scatter_add(zeros, indices, dy, self.axis)?), None])
    }

    fn definition(&self, operands: &[&Type], _: &[Type]) -> Vec<Definition> {
        let (x, indices) = (operands[0], operands[1]);
        let at = (self.axis..self.axis + indices.rank()).map(|axis| Index::var(axis as u32)).collect();
        let index = (0..x.rank()).map(|axis| match axis {
            axis if axis < self.axis => Index::var(axis as u32),
            axis if axis == self.axis => Index::value(0),
            axis => Index::var((axis - 1 + indices.rank()) as u32),
        });
        vec![Definition::Element(Element::Gathered {
            first: 0,
            values: vec![(Element::Operand(1, at), x.dims[self.axis])],
            body: Box::new(Element::Operand(0, index.collect())),
        })]
    }

    fn evaluate(&self, operands: &[&Tensor], results: &[Type]) -> Result<Vec<Tensor>, String> {
        let (x, indices) = (operands[0], to_i64(operands[1])?);
        let extent = x.dims()[self.axis];
        let inner: usize = x.dims()[self.axis + 1..].iter().product();
        let position = |i: usize| {
            let (row, within) = (i / inner, i % inner);
            let (outer, which) = (row / indices.len(), row % indices.len());
            let index = indices[which].clamp(0, extent as i64 - 1) as usize;
            (outer * extent + index) * inner + within
        };
        Ok(vec![pick(x, &results[0], position)?])
    }
}
