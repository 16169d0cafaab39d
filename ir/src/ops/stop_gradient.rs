//! `stop_gradient`: the operand, as a constant to the differentiator.

use super::*;
use crate::definition::Element;

/// The operand itself; no gradient flows through it.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct StopGradient {
    /// The state that the value is, of those that earlier steps of the entry have left: later steps differentiate by it.
    pub state: Option<String>,
}

impl StopGradient {
    /// Names in the text form.
    pub(super) fn names() -> &'static [&'static str] {
        &["stop_gradient"]
    }

    pub(super) fn from_attributes(_: &str, attributes: &mut Attributes) -> Result<StopGradient, String> {
        Ok(StopGradient { state: attributes.text("state")? })
    }
}

impl Operator for StopGradient {
    fn name(&self) -> &'static str {
        "stop_gradient"
    }

    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        self.state.iter().map(|name| ("state", Attribute::Text(name.clone()))).collect()
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
