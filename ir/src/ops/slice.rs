//! `slice`: every `stride`-th element of a range along each axis.

use super::*;
use crate::definition::Element;
use crate::index::Index;

/// Elements `start, start + stride, …` below `limit`, along each axis.
#[derive(Clone, PartialEq, Debug)]
pub struct Slice {
    /// First element, for each axis.
    pub start: Vec<usize>,
    /// End of the range (not in it), for each axis.
    pub limit: Vec<usize>,
    /// Step, at least 1, for each axis.
    pub stride: Vec<usize>,
}

impl Slice {
    /// Names in the text form.
    pub(super) fn names() -> &'static [&'static str] {
        &["slice"]
    }

    pub(super) fn from_attributes(_: &str, attributes: &mut Attributes) -> Result<Slice, String> {
        let start = attributes.sizes("start")?;
        let stride = attributes.sizes_or("stride", vec![1; start.len()])?;
        Ok(Slice { start, limit: attributes.sizes("limit")?, stride })
    }
}

impl Operator for Slice {
    fn name(&self) -> &'static str {
        "slice"
    }

    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        let mut attributes =
            vec![("start", Attribute::sizes(&self.start)), ("limit", Attribute::sizes(&self.limit))];
        if self.stride.iter().any(|&stride| stride != 1) {
            attributes.push(("stride", Attribute::sizes(&self.stride)));
        }
        attributes
    }

    fn infer(&self, operands: &[&Type]) -> Result<Vec<Type>, String> {
        expect_operands(operands, 1)?;
        let x = operands[0];
        for (name, list) in [("start", &self.start), ("limit", &self.limit), ("stride", &self.stride)] {
            expect_per_axis(name, list.len(), x)?;
        }
        expect_small("stride", &self.stride)?;
        let mut dims = Vec::new();
        for (axis, &extent) in x.dims.iter().enumerate() {
            let (start, limit, stride) = (self.start[axis], self.limit[axis], self.stride[axis]);
            if start > limit || limit > extent || stride == 0 {
                return Err(format!(
                    "{start}..{limit} by {stride} is no slice of axis {axis} of {x}: needs start <= limit <= \
                     extent and a stride of at least 1"
                ));
            }
            dims.push((limit - start).div_ceil(stride));
        }
        Ok(vec![x.with_dims(dims)])
    }

    /// Zeros around and between.
    fn gradient(&self, cx: &mut GradientCx) -> Gradient {
        let dy = cx.cotangent(0)?;
        let (from, to) = (cx.b.dims(cx.operands[0]), cx.b.dims(dy));
        let interior: Vec<usize> = self.stride.iter().map(|&stride| stride - 1).collect();
        let mut high = Vec::new();
        for axis in 0..from.len() {
            let covered = if to[axis] == 0 { 0 } else { (to[axis] - 1) * self.stride[axis] + 1 };
            high.push(from[axis] - self.start[axis] - covered);
        }
        let dtype = cx.b.ty(dy).dtype;
        let zero = cx.b.scalar(0.0, dtype)?;
        Ok(vec![Some(cx.b.pad(dy, zero, &self.start, &high, &interior)?)])
    }

    fn definition(&self, _: &[&Type], _: &[Type]) -> Vec<Definition> {
        let index = self.start.iter().zip(&self.stride).enumerate();
        let index = index
            .map(|(axis, (&start, &stride))| Index::var(axis as u32).scale(stride as i64).plus(start as i64));
        vec![Definition::Element(Element::Operand(0, index.collect()))]
    }

    fn evaluate(&self, operands: &[&Tensor], results: &[Type]) -> Result<Vec<Tensor>, String> {
        let from = operands[0].ty().strides();
        let first = from.iter().zip(&self.start).map(|(&step, &start)| step * start).sum();
        let steps: Vec<isize> = from.iter().zip(&self.stride).map(|(&a, &b)| (a * b) as isize).collect();
        Ok(vec![view(operands[0], first, &steps, &results[0].dims)?])
    }
}
