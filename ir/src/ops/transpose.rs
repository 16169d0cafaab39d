//! `transpose`: permutes the axes.

use super::*;
use crate::definition::Element;
use crate::index::Index;

/// Result axis `i` is operand axis `axes[i]`.
#[derive(Clone, PartialEq, Debug)]
pub struct Transpose {
    /// A permutation of the axes.
    pub axes: Vec<usize>,
}

impl Transpose {
    /// Names in the text form.
    pub(super) fn names() -> &'static [&'static str] {
        &["transpose"]
    }

    pub(super) fn from_attributes(_: &str, attributes: &mut Attributes) -> Result<Transpose, String> {
        Ok(Transpose { axes: attributes.sizes("axes")? })
    }

    /// Where each operand axis goes: the inverse permutation.
    pub fn inverse(&self) -> Vec<usize> {
        let mut inverse = vec![0; self.axes.len()];
        for (to, &from) in self.axes.iter().enumerate() {
            inverse[from] = to;
        }
        inverse
    }
}

impl Operator for Transpose {
    fn name(&self) -> &'static str {
        "transpose"
    }

    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        vec![("axes", Attribute::sizes(&self.axes))]
    }

    fn infer(&self, operands: &[&Type]) -> Result<Vec<Type>, String> {
        expect_operands(operands, 1)?;
        let x = operands[0];
        let mut sorted = self.axes.clone();
        sorted.sort_unstable();
        if !sorted.iter().copied().eq(0..x.rank()) {
            return Err(format!("`axes` must be a permutation of the axes of {x}, found {:?}", self.axes));
        }
        Ok(vec![x.with_dims(self.axes.iter().map(|&axis| x.dims[axis]).collect::<Vec<_>>())])
    }

    fn gradient(&self, cx: &mut GradientCx) -> Gradient {
        let dy = cx.cotangent(0)?;
        Ok(vec![Some(cx.b.transpose(dy, &self.inverse())?)])
    }

    fn definition(&self, _: &[&Type], _: &[Type]) -> Vec<Definition> {
        let index = self.inverse().into_iter().map(|axis| Index::var(axis as u32)).collect();
        vec![Definition::Element(Element::Operand(0, index))]
    }

    fn evaluate(&self, operands: &[&Tensor], results: &[Type]) -> Result<Vec<Tensor>, String> {
        let from = operands[0].ty().strides();
        let steps: Vec<isize> = self.axes.iter().map(|&axis| from[axis] as isize).collect();
        Ok(vec![view(operands[0], 0, &steps, &results[0].dims)?])
    }
}
