//! `parameter`: an input of the graph, or a piece of state that it reads.

use super::*;

/// A parameter of the graph. It stands in the graph's head in the text form, never as a node of its own.
#[derive(Clone, PartialEq, Debug)]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// Whether the caller gives it, or it persists between calls.
    pub role: Role,
    /// Its type.
    pub ty: Type,
}

/// Whether a parameter or an output passes through the caller's hands or persists.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Role {
    /// Given by and returned to the caller; also the parameters and results of a region.
    Data,
    /// Persistent: parameters, running statistics, optimiser slots, step number.
    State,
}

impl Parameter {
    /// Names in the text form.
    pub(super) fn names() -> &'static [&'static str] {
        &[]
    }

    pub(super) fn from_attributes(_: &str, _: &mut Attributes) -> Result<Parameter, String> {
        Err("parameters stand in the head of a graph".into())
    }
}

impl Operator for Parameter {
    fn name(&self) -> &'static str {
        "parameter"
    }

    fn infer(&self, operands: &[&Type]) -> Result<Vec<Type>, String> {
        expect_operands(operands, 0)?;
        Ok(vec![self.ty.clone()])
    }

    fn gradient(&self, _: &mut GradientCx) -> Gradient {
        Ok(Vec::new())
    }

    fn definition(&self, _: &[&Type], _: &[Type]) -> Vec<Definition> {
        vec![Definition::Loops]
    }

    fn evaluate(&self, _: &[&Tensor], _: &[Type]) -> Result<Vec<Tensor>, String> {
        Err(format!("no value was given for the parameter {}", self.name))
    }
}
