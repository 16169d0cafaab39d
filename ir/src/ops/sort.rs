//! `sort`: orders rows by a key, whole or the first of them, and takes other tensors along.

use std::cmp::Ordering;

use super::*;
use crate::scalar::Scalar;
use crate::types::DType;

/// Operands: keys, and any tensors of the same extents. Results: each operand with its elements along the axis put
/// into the order of the keys. The sort is stable. NaN is greater than every number (last in ascending order), and
/// -0 equals +0.
#[derive(Clone, PartialEq, Debug)]
pub struct Sort {
    /// The axis along which elements move.
    pub axis: usize,
    /// Whether the greatest comes first.
    pub descending: bool,
    /// How many elements there are behind: the first of each row; nothing if it is all of them.
    pub first: Option<usize>,
}

impl Sort {
    /// Names in the text form.
    pub(super) fn names() -> &'static [&'static str] {
        &["sort"]
    }

    pub(super) fn from_attributes(_: &str, attributes: &mut Attributes) -> Result<Sort, String> {
        let (axis, descending) = (attributes.size("axis")?, attributes.flag("descending", false)?);
        let first = attributes.size_or("first", usize::MAX)?;
        Ok(Sort { axis, descending, first: (first != usize::MAX).then_some(first) })
    }

    /// How many elements of a row of `extent` are left.
    pub fn kept(&self, extent: usize) -> usize {
        self.first.unwrap_or(extent)
    }

    /// How two keys are ordered: `Less` if `a` comes first.
    pub fn compare(&self, a: Scalar, b: Scalar) -> Ordering {
        let ascending = match (a, b) {
            (Scalar::F32(_) | Scalar::F64(_), _) => {
                let (a, b) = (a.to_f64(), b.to_f64());
                a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
            }
            _ => a.to_i64().cmp(&b.to_i64()),
        };
        if self.descending { ascending.reverse() } else { ascending }
    }
}

impl Operator for Sort {
    fn name(&self) -> &'static str {
        "sort"
    }

    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        let mut attributes = vec![("axis", Attribute::Int(self.axis as i64))];
        if self.descending {
            attributes.push(("descending", Attribute::Bool(true)));
        }
        if let Some(first) = self.first {
            attributes.push(("first", Attribute::Int(first as i64)));
        }
        attributes
    }

    fn infer(&self, operands: &[&Type]) -> Result<Vec<Type>, String> {
        let keys = *operands.first().ok_or("takes keys at least, found no operands")?;
        expect_axis(self.axis, keys)?;
        expect_numbers(operands)?;
        if let Some(other) = operands.iter().find(|ty| ty.dims != keys.dims) {
            return Err(format!("operands must have equal extents, found {keys} and {other}"));
        }
        if keys.dims[self.axis] > i32::MAX as usize {
            return Err(format!("axis {} of {keys} is too long", self.axis));
        }
        let (extent, kept) = (keys.dims[self.axis], self.kept(keys.dims[self.axis]));
        if kept > extent {
            return Err(format!("axis {} of {keys} has fewer than the first {kept} elements", self.axis));
        }
        let mut dims = keys.dims.clone();
        dims[self.axis] = kept;
        Ok(operands.iter().map(|ty| ty.with_dims(dims.clone())).collect())
    }

    /// Back to where the elements came from.
    fn gradient(&self, cx: &mut GradientCx) -> Gradient {
        let keys = cx.operands[0];
        let dims = cx.b.dims(keys);
        let positions = cx.b.iota(DType::I32, &dims, self.axis)?;
        let sorted = cx.b.add_nodes(self.clone(), &[keys, positions])?;
        let mut gradients = Vec::new();
        for (position, &operand) in cx.operands.iter().enumerate() {
            gradients.push(match cx.cotangents[position] {
                Some(dy) if cx.b.ty(operand).dtype.is_float() => {
                    let zeros = cx.b.zeros_like(operand)?;
                    Some(cx.b.scatter_add_along(zeros, sorted[1], dy, self.axis)?)
                }
                _ => None,
            });
        }
        Ok(gradients)
    }

    fn definition(&self, _: &[&Type], results: &[Type]) -> Vec<Definition> {
        vec![Definition::Loops; results.len()]
    }

    fn evaluate(&self, operands: &[&Tensor], results: &[Type]) -> Result<Vec<Tensor>, String> {
        let (keys, ty) = (operands[0], &results[0]);
        let (extent, kept) = (keys.dims()[self.axis], ty.dims[self.axis]);
        let inner: usize = ty.dims[self.axis + 1..].iter().product();
        let rows = ty.elements().checked_div(kept).unwrap_or(0);
        // For every position of the result, the position that its element comes from.
        let mut from = filled(0, ty.elements())?;
        for row in 0..rows {
            let first = row / inner * extent * inner + row % inner;
            let mut order: Vec<usize> = (0..extent).map(|i| first + i * inner).collect();
            order.sort_by(|&a, &b| self.compare(keys.get(a), keys.get(b)));
            let to = row / inner * kept * inner + row % inner;
            for (i, source) in order.into_iter().take(kept).enumerate() {
                from[to + i * inner] = source;
            }
        }
        operands.iter().zip(results).map(|(x, ty)| pick(x, ty, |i| from[i])).collect()
    }
}
