//! `reverse`: the elements along some axes in opposite order.

use super::*;
use crate::definition::Element;
use crate::index::Index;

/// Element `i` along each of the axes is the operand's element `extent - 1 - i`.
#[derive(Clone, PartialEq, Debug)]
pub struct Reverse {
    /// Ascending axes.
    pub axes: Vec<usize>,
}

impl Reverse {
    /// Names in the text form.
    pub(super) fn names() -> &'static [&'static str] {
        &["reverse"]
    }

    pub(super) fn from_attributes(_: &str, attributes: &mut Attributes) -> Result<Reverse, String> {
        Ok(Reverse { axes: attributes.sizes("axes")? })
    }
}

impl Operator for Reverse {
    fn name(&self) -> &'static str {
        "reverse"
    }

    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        vec![("axes", Attribute::sizes(&self.axes))]
    }

    fn infer(&self, operands: &[&Type]) -> Result<Vec<Type>, String> {
        expect_operands(operands, 1)?;
        expect_axes(&self.axes, operands[0])?;
        Ok(vec![operands[0].clone()])
    }

    fn gradient(&self, cx: &mut GradientCx) -> Gradient {
        let dy = cx.cotangent(0)?;
        Ok(vec![Some(cx.b.reverse(dy, &self.axes)?)])
    }

    fn definition(&self, operands: &[&Type], _: &[Type]) -> Vec<Definition> {
        let index = operands[0].dims.iter().enumerate().map(|(axis, &extent)| {
            let forward = Index::var(axis as u32);
            if self.axes.contains(&axis) { forward.scale(-1).plus(extent as i64 - 1) } else { forward }
        });
        vec![Definition::Element(Element::Operand(0, index.collect()))]
    }

    fn evaluate(&self, operands: &[&Tensor], results: &[Type]) -> Result<Vec<Tensor>, String> {
        let x = operands[0];
        let mut steps: Vec<isize> = x.ty().strides().iter().map(|&step| step as isize).collect();
        let mut first = 0;
        for &axis in &self.axes {
            first += x.dims()[axis].saturating_sub(1) * steps[axis] as usize;
            steps[axis] = -steps[axis];
        }
        Ok(vec![view(x, first, &steps, &results[0].dims)?])
    }
}
