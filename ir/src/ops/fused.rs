//! `fused`: a region that is lowered as a whole.

use super::*;

/// A sub-graph of ordinary operators. Its parameters stand for the operands, its outputs for the results; it
/// means exactly what its body means.
#[derive(Clone, PartialEq, Debug)]
pub struct Fused {
    /// The region.
    pub body: Graph,
}

impl Fused {
    /// Names in the text form.
    pub(super) fn names() -> &'static [&'static str] {
        &["fused"]
    }

    pub(super) fn from_attributes(_: &str, attributes: &mut Attributes) -> Result<Fused, String> {
        Ok(Fused { body: attributes.graph("body")? })
    }
}

/// An error unless the operands are what the region's parameters stand for.
pub(super) fn expect_captures(body: &Graph, operands: &[&Type]) -> Result<(), String> {
    let parameters = body.parameters().iter().map(|&id| body.node(id).types[0].clone());
    expect_types(&parameters.collect::<Vec<_>>(), operands)
}

/// An error unless the operands have those types, which a region's parameters ask for.
pub(super) fn expect_types(expected: &[Type], operands: &[&Type]) -> Result<(), String> {
    expect_operands(operands, expected.len())?;
    for (position, (wanted, operand)) in expected.iter().zip(operands).enumerate() {
        if wanted != *operand {
            return Err(format!("operand {position} is {operand}, the region's parameter asks for {wanted}"));
        }
    }
    Ok(())
}

impl Operator for Fused {
    fn name(&self) -> &'static str {
        "fused"
    }

    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        vec![("body", Attribute::Graph(Box::new(self.body.clone())))]
    }

    fn infer(&self, operands: &[&Type]) -> Result<Vec<Type>, String> {
        expect_captures(&self.body, operands)?;
        Ok(self.body.outputs().iter().map(|output| self.body.ty(output.value).clone()).collect())
    }

    fn gradient(&self, _: &mut GradientCx) -> Gradient {
        Err(GradientError::NotDifferentiable("differentiate before fusing".into()))
    }

    fn definition(&self, _: &[&Type], results: &[Type]) -> Vec<Definition> {
        vec![Definition::Loops; results.len()]
    }

    fn evaluate(&self, operands: &[&Tensor], _: &[Type]) -> Result<Vec<Tensor>, String> {
        crate::interpret::interpret(&self.body, operands).map_err(|error| error.to_string())
    }
}
