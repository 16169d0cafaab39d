//! `broadcast`: repeats a tensor along new or unit axes.

use super::*;
use crate::definition::Element;
use crate::index::Index;
use crate::program::Combine;

/// Operand axis `i` becomes result axis `axes[i]`, with its extent or repeated from extent 1; the result repeats
/// along every other axis.
#[derive(Clone, PartialEq, Debug)]
pub struct Broadcast {
    /// Extents of the result.
    pub dims: Vec<usize>,
    /// Ascending result axes, one for each axis of the operand.
    pub axes: Vec<usize>,
}

impl Broadcast {
    /// Names in the text form.
    pub(super) fn names() -> &'static [&'static str] {
        &["broadcast"]
    }

    pub(super) fn from_attributes(_: &str, attributes: &mut Attributes) -> Result<Broadcast, String> {
        Ok(Broadcast { dims: attributes.sizes("dims")?, axes: attributes.sizes("axes")? })
    }

    /// The index into an operand of extents `dims`.
    fn operand_index(&self, dims: &[usize]) -> Vec<Index> {
        let axis = |(&extent, &axis): (&usize, &usize)| {
            if extent == 1 { Index::constant(0) } else { Index::var(axis as u32) }
        };
        dims.iter().zip(&self.axes).map(axis).collect()
    }
}

impl Operator for Broadcast {
    fn name(&self) -> &'static str {
        "broadcast"
    }

    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        vec![("dims", Attribute::sizes(&self.dims)), ("axes", Attribute::sizes(&self.axes))]
    }

    fn infer(&self, operands: &[&Type]) -> Result<Vec<Type>, String> {
        expect_operands(operands, 1)?;
        let x = operands[0];
        if self.axes.len() != x.rank() || !self.axes.is_sorted_by(|a, b| a < b) {
            return Err(format!("`axes` must name {} ascending axes, found {:?}", x.rank(), self.axes));
        }
        for (&extent, &axis) in x.dims.iter().zip(&self.axes) {
            match self.dims.get(axis) {
                None => return Err(format!("axis {axis} is outside a result of {} axes", self.dims.len())),
                Some(&to) if extent != to && extent != 1 => {
                    return Err(format!("{x} cannot be repeated to {to} along result axis {axis}"));
                }
                Some(_) => {}
            }
        }
        Ok(vec![x.with_dims(self.dims.clone())])
    }

    /// The sum over what was repeated.
    fn gradient(&self, cx: &mut GradientCx) -> Gradient {
        let dy = cx.cotangent(0)?;
        let operand = cx.b.ty(cx.operands[0]).dims.clone();
        let kept =
            |axis: usize| self.axes.iter().zip(&operand).any(|(&a, &n)| a == axis && n == self.dims[axis]);
        let axes: Vec<usize> = (0..self.dims.len()).filter(|&axis| !kept(axis)).collect();
        let sum = cx.b.reduce(Combine::Add, dy, &axes)?;
        Ok(vec![Some(cx.b.reshape(sum, &operand)?)])
    }

    fn definition(&self, operands: &[&Type], _: &[Type]) -> Vec<Definition> {
        vec![Definition::Element(Element::Operand(0, self.operand_index(&operands[0].dims)))]
    }

    fn evaluate(&self, operands: &[&Tensor], results: &[Type]) -> Result<Vec<Tensor>, String> {
        let (x, ty) = (operands[0], &results[0]);
        let mut steps = vec![0; ty.rank()];
        for ((&axis, stride), &extent) in self.axes.iter().zip(x.ty().strides()).zip(x.dims()) {
            steps[axis] = if extent == 1 { 0 } else { stride as isize };
        }
        Ok(vec![view(x, 0, &steps, &ty.dims)?])
    }
}
