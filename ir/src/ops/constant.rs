//! `constant`: a tensor known when the graph is built.

use super::*;
use crate::definition::Element;

/// A tensor known when the graph is built.
#[derive(Clone, Debug)]
pub struct Constant {
    /// The tensor.
    pub value: Tensor,
}

impl PartialEq for Constant {
    /// Equal bits, all NaNs being one value.
    fn eq(&self, other: &Constant) -> bool {
        let (a, b) = (&self.value, &other.value);
        a.ty() == b.ty() && (0..a.elements()).all(|i| a.get(i).same(b.get(i)))
    }
}

impl Constant {
    /// Names in the text form.
    pub(super) fn names() -> &'static [&'static str] {
        &["constant"]
    }

    pub(super) fn from_attributes(_: &str, attributes: &mut Attributes) -> Result<Constant, String> {
        Ok(Constant { value: attributes.tensor("value")? })
    }
}

impl Operator for Constant {
    fn name(&self) -> &'static str {
        "constant"
    }

    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        vec![("value", Attribute::Tensor(self.value.clone()))]
    }

    fn infer(&self, operands: &[&Type]) -> Result<Vec<Type>, String> {
        expect_operands(operands, 0)?;
        Ok(vec![self.value.ty()])
    }

    fn gradient(&self, _: &mut GradientCx) -> Gradient {
        Ok(Vec::new())
    }

    /// A tensor of equal elements is its element; any other lies in memory.
    fn definition(&self, _: &[&Type], _: &[Type]) -> Vec<Definition> {
        let n = self.value.elements();
        if n > 0 && (1..n).all(|i| self.value.get(i).same(self.value.get(0))) {
            return vec![Definition::Element(Element::Constant(self.value.get(0)))];
        }
        vec![Definition::Loops]
    }

    fn evaluate(&self, _: &[&Tensor], _: &[Type]) -> Result<Vec<Tensor>, String> {
        Ok(vec![self.value.try_clone()?])
    }
}
