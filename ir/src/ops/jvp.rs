//! `jvp`: derivatives along directions, until the pass `grad` has built them.

use super::*;

/// The Jacobian-vector product. Operands: `outputs` values of float types, then the values by which they are
/// differentiated, then for each of those a tangent of its type. Results: for each output its tangent, of its type
/// (zeros where it depends on none of the values).
///
/// It stands for nodes that the pass `grad` of the crate `passes` puts in its place, and nests with `gradient`.
#[derive(Clone, PartialEq, Debug)]
pub struct Jvp {
    /// Number of differentiated values: the first operands.
    pub outputs: usize,
}

impl Jvp {
    /// Names in the text form.
    pub(super) fn names() -> &'static [&'static str] {
        &["jvp"]
    }

    pub(super) fn from_attributes(_: &str, attributes: &mut Attributes) -> Result<Jvp, String> {
        Ok(Jvp { outputs: attributes.size("outputs")? })
    }

    /// The outputs, what they are differentiated by, and the tangents of that, among the operands of a verified node.
    pub fn split<'v>(&self, operands: &'v [Value]) -> (&'v [Value], &'v [Value], &'v [Value]) {
        let (outputs, rest) = operands.split_at(self.outputs);
        let (wrt, tangents) = rest.split_at(rest.len() / 2);
        (outputs, wrt, tangents)
    }
}

impl Operator for Jvp {
    fn name(&self) -> &'static str {
        "jvp"
    }

    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        vec![("outputs", Attribute::Int(self.outputs as i64))]
    }

    fn infer(&self, operands: &[&Type]) -> Result<Vec<Type>, String> {
        let Some((outputs, rest)) = operands.split_at_checked(self.outputs) else {
            return Err(format!("{} outputs are more than {} operands", self.outputs, operands.len()));
        };
        if rest.len() % 2 != 0 {
            let count = rest.len();
            return Err(format!("takes a tangent for each value to differentiate by, found {count} of both"));
        }
        if let Some(other) = operands.iter().find(|ty| !ty.dtype.is_float()) {
            return Err(format!("differentiates values of float type, found {other}"));
        }
        let (wrt, tangents) = rest.split_at(rest.len() / 2);
        if let Some((value, tangent)) = wrt.iter().zip(tangents).find(|(value, tangent)| value != tangent) {
            return Err(format!("the tangent of a {value} must have its type, found {tangent}"));
        }
        Ok(outputs.iter().map(|&ty| ty.clone()).collect())
    }

    fn gradient(&self, _: &mut GradientCx) -> Gradient {
        let reason = "a derivative inside a loss is built before the loss is differentiated";
        Err(GradientError::NotDifferentiable(reason.into()))
    }

    fn definition(&self, _: &[&Type], results: &[Type]) -> Vec<Definition> {
        vec![Definition::Loops; results.len()]
    }

    fn evaluate(&self, _: &[&Tensor], _: &[Type]) -> Result<Vec<Tensor>, String> {
        Err("cannot be evaluated: run the pass `grad` first".into())
    }
}
