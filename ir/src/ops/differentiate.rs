//! `gradient`: the derivatives of a scalar, until the pass `grad` has built them.

use super::*;

/// Operands: a loss (a scalar of a float type), and the values with respect to which it is differentiated.
/// Results: for each of those the gradient, of its type (zeros where the loss does not depend on it). The text
/// form's name is `gradient`.
///
/// It stands for nodes that the pass `grad` of the crate `passes` puts in its place; it may be nested, the
/// innermost is built first.
#[derive(Clone, PartialEq, Debug)]
pub struct Differentiate;

impl Differentiate {
    /// Names in the text form.
    pub(super) fn names() -> &'static [&'static str] {
        &["gradient"]
    }

    pub(super) fn from_attributes(_: &str, _: &mut Attributes) -> Result<Differentiate, String> {
        Ok(Differentiate)
    }
}

impl Operator for Differentiate {
    fn name(&self) -> &'static str {
        "gradient"
    }

    fn infer(&self, operands: &[&Type]) -> Result<Vec<Type>, String> {
        let Some((loss, wrt)) = operands.split_first() else {
            return Err("takes a loss and the values to differentiate by, found no operands".into());
        };
        if loss.rank() != 0 || !loss.dtype.is_float() {
            return Err(format!("the loss must be a scalar of a float type, found {loss}"));
        }
        if let Some(other) = wrt.iter().find(|ty| !ty.dtype.is_float()) {
            return Err(format!("differentiates by values of float type, found {other}"));
        }
        Ok(wrt.iter().map(|&ty| ty.clone()).collect())
    }

    fn gradient(&self, _: &mut GradientCx) -> Gradient {
        let reason = "a gradient inside a loss is built before the loss is differentiated";
        Err(GradientError::NotDifferentiable(reason.into()))
    }

    fn definition(&self, _: &[&Type], results: &[Type]) -> Vec<Definition> {
        vec![Definition::Loops; results.len()]
    }

    fn evaluate(&self, _: &[&Tensor], _: &[Type]) -> Result<Vec<Tensor>, String> {
        Err("cannot be evaluated: run the pass `grad` first".into())
    }
}
