//! `reshape`: the same elements in row-major order with other extents.

use super::*;
use crate::definition::Element;
use crate::index::{Atom, Index};

/// The same elements with other extents of the same product.
#[derive(Clone, PartialEq, Debug)]
pub struct Reshape {
    /// Extents of the result.
    pub dims: Vec<usize>,
}

impl Reshape {
    /// Names in the text form.
    pub(super) fn names() -> &'static [&'static str] {
        &["reshape"]
    }

    pub(super) fn from_attributes(_: &str, attributes: &mut Attributes) -> Result<Reshape, String> {
        Ok(Reshape { dims: attributes.sizes("dims")? })
    }
}

impl Operator for Reshape {
    fn name(&self) -> &'static str {
        "reshape"
    }

    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        vec![("dims", Attribute::sizes(&self.dims))]
    }

    fn infer(&self, operands: &[&Type]) -> Result<Vec<Type>, String> {
        expect_operands(operands, 1)?;
        let (x, result) = (operands[0], operands[0].with_dims(self.dims.clone()));
        result.check_size()?;
        if x.elements() != result.elements() {
            return Err(format!("{x} has {} elements, {result} has {}", x.elements(), result.elements()));
        }
        Ok(vec![result])
    }

    fn gradient(&self, cx: &mut GradientCx) -> Gradient {
        let dy = cx.cotangent(0)?;
        let dims = cx.b.dims(cx.operands[0]);
        Ok(vec![Some(cx.b.reshape(dy, &dims)?)])
    }

    fn definition(&self, operands: &[&Type], results: &[Type]) -> Vec<Definition> {
        let range = |atom: &Atom| match atom {
            Atom::Var(axis) => Some((0, self.dims[*axis as usize] as i64 - 1)),
            _ => None,
        };
        let strides = results[0].strides();
        let flat = strides
            .iter()
            .enumerate()
            .fold(Index::default(), |sum, (axis, &s)| sum.add(&Index::var(axis as u32).scale(s as i64)));
        let index = operands[0].strides().into_iter().zip(&operands[0].dims).map(|(stride, &extent)| {
            if extent == 0 || stride == 0 {
                return Index::constant(0);
            }
            flat.div(stride as i64, &range).rem(extent as i64, &range)
        });
        vec![Definition::Element(Element::Operand(0, index.collect()))]
    }

    fn evaluate(&self, operands: &[&Tensor], _: &[Type]) -> Result<Vec<Tensor>, String> {
        Ok(vec![operands[0].try_clone()?.reshaped(self.dims.clone())])
    }
}
