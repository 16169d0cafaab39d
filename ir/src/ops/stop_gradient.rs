//! `stop_gradient`: the operand, as a constant to the differentiator.

use super::*;
use crate::definition::Element;

/// The operand itself; no gradient flows through it.
#[derive(Clone, PartialEq, Debug)]
pub struct StopGradient;

impl StopGradient {
    /// Names in the text form.
    pub(super) fn names() -> &'static [&'static str] {
        &["stop_gradient"]
    }

    pub(super) fn from_attributes(_: &str, _: &mut Attributes) -> Result<StopGradient, String> {
        Ok(StopGradient)
    }
}

impl Operator for StopGradient {
    fn name(&self) -> &'static str {
        "stop_gradient"
    }

    fn infer(&self, operands: &[&Type]) -> Result<Vec<Type>, String> {
        expect_operands(operands, 1)?;
        Ok(vec![operands[0].clone()])
    }

    fn gradient(&self, _: &mut GradientCx) -> Gradient {
        Ok(vec![None])
    }

    fn definition(&self, operands: &[&Type], _: &[Type]) -> Vec<Definition> {
        vec![Definition::Element(Element::same(0, operands[0].rank()))]
    }

    fn evaluate(&self, operands: &[&Tensor], _: &[Type]) -> Result<Vec<Tensor>, String> {
        Ok(vec![operands[0].try_clone()?])
    }
}
