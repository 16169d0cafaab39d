//! `while`: a loop that runs as long as a condition holds.

use super::fused::expect_captures;
use super::*;
use crate::types::DType;

/// Runs the body while the condition holds, at most `limit` times. Operands: initial carries, captures; these are
/// the parameters of both regions. The condition gives one `bool[]`, the body the next carries. Results: the carries.
#[derive(Clone, PartialEq, Debug)]
pub struct While {
    /// Whether there is another iteration.
    pub condition: Graph,
    /// One iteration.
    pub body: Graph,
    /// Number of carries: the first operands.
    pub carries: usize,
    /// The most iterations that run.
    pub limit: usize,
}

impl While {
    /// Names in the text form.
    pub(super) fn names() -> &'static [&'static str] {
        &["while"]
    }

    pub(super) fn from_attributes(_: &str, attributes: &mut Attributes) -> Result<While, String> {
        Ok(While {
            carries: attributes.size("carries")?,
            limit: attributes.size("limit")?,
            condition: attributes.graph("condition")?,
            body: attributes.graph("body")?,
        })
    }
}

impl Operator for While {
    fn name(&self) -> &'static str {
        "while"
    }

    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        vec![
            ("carries", Attribute::Int(self.carries as i64)),
            ("limit", Attribute::Int(self.limit as i64)),
            ("condition", Attribute::Graph(Box::new(self.condition.clone()))),
            ("body", Attribute::Graph(Box::new(self.body.clone()))),
        ]
    }

    fn infer(&self, operands: &[&Type]) -> Result<Vec<Type>, String> {
        expect_captures(&self.condition, operands)?;
        expect_captures(&self.body, operands)?;
        expect_small("limit", &[self.limit])?;
        if self.carries > operands.len() {
            return Err(format!("{} carries are more than {} operands", self.carries, operands.len()));
        }
        let outputs = |graph: &Graph| -> Vec<Type> {
            graph.outputs().iter().map(|output| graph.ty(output.value).clone()).collect()
        };
        if outputs(&self.condition) != [Type::scalar(DType::Bool)] {
            return Err("the condition must give one bool[]".into());
        }
        let carries: Vec<Type> = operands[..self.carries].iter().map(|&ty| ty.clone()).collect();
        if outputs(&self.body) != carries {
            return Err("the body must give the carries, with the types of the first operands".into());
        }
        Ok(carries)
    }

    fn gradient(&self, _: &mut GradientCx) -> Gradient {
        let reason = "a loop of unknown length keeps nothing for the way back; a scan of the greatest length with a \
                      select does";
        Err(GradientError::NotDifferentiable(reason.into()))
    }

    fn definition(&self, _: &[&Type], results: &[Type]) -> Vec<Definition> {
        vec![Definition::Loops; results.len()]
    }

    fn evaluate(&self, operands: &[&Tensor], _: &[Type]) -> Result<Vec<Tensor>, String> {
        let (inits, captures) = operands.split_at(self.carries);
        let mut carries: Vec<Tensor> = inits.iter().map(|x| x.try_clone()).collect::<Result<_, _>>()?;
        for _ in 0..self.limit {
            let arguments: Vec<&Tensor> = carries.iter().chain(captures.iter().copied()).collect();
            let run = |graph| crate::interpret::interpret(graph, &arguments).map_err(|e| e.to_string());
            if !run(&self.condition)?[0].get(0).to_bool() {
                break;
            }
            carries = run(&self.body)?;
        }
        Ok(carries)
    }
}
