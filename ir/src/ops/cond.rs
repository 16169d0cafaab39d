//! `cond`: one of two regions.

use super::fused::expect_captures;
use super::*;
use crate::types::DType;
use crate::vjp::vjp;
use rustc_hash::FxHashMap;

/// Operands: a condition `bool[]`, captures. The results are those of `then` where it holds, else those of
/// `otherwise`; only the chosen region runs. Both have the captures as parameters and outputs of the same types.
#[derive(Clone, PartialEq, Debug)]
pub struct Cond {
    /// Where the condition holds.
    pub then: Graph,
    /// Where it does not.
    pub otherwise: Graph,
}

impl Cond {
    /// Names in the text form.
    pub(super) fn names() -> &'static [&'static str] {
        &["cond"]
    }

    pub(super) fn from_attributes(_: &str, attributes: &mut Attributes) -> Result<Cond, String> {
        Ok(Cond { then: attributes.graph("then")?, otherwise: attributes.graph("otherwise")? })
    }
}

impl Operator for Cond {
    fn name(&self) -> &'static str {
        "cond"
    }

    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        vec![
            ("then", Attribute::Graph(Box::new(self.then.clone()))),
            ("otherwise", Attribute::Graph(Box::new(self.otherwise.clone()))),
        ]
    }

    fn infer(&self, operands: &[&Type]) -> Result<Vec<Type>, String> {
        let Some((condition, captures)) = operands.split_first() else {
            return Err("takes a condition and captures, found no operands".into());
        };
        if **condition != Type::scalar(DType::Bool) {
            return Err(format!("the condition must be bool[], found {condition}"));
        }
        expect_captures(&self.then, captures)?;
        expect_captures(&self.otherwise, captures)?;
        let outputs = |graph: &Graph| -> Vec<Type> {
            graph.outputs().iter().map(|output| graph.ty(output.value).clone()).collect()
        };
        let types = outputs(&self.then);
        if types != outputs(&self.otherwise) {
            return Err("both regions must give results of the same types".into());
        }
        Ok(types)
    }

    /// The same choice between the regions' reverse walks.
    fn gradient(&self, cx: &mut GradientCx) -> Gradient {
        let captures = &cx.operands[1..];
        let wanted: Vec<usize> = (0..captures.len()).filter(|&i| cx.wanted[i + 1]).collect();
        let seeded: Vec<usize> = (0..cx.results.len()).filter(|&i| cx.cotangents[i].is_some()).collect();
        let mut operands = cx.operands.to_vec();
        operands.extend(seeded.iter().filter_map(|&i| cx.cotangents[i]));
        let back = |region: &Graph| -> Result<Graph, GradientError> {
            let mut graph = region.clone();
            let mut seeds = Vec::new();
            for &result in &seeded {
                let value = graph.outputs()[result].value;
                let ty = graph.ty(value).clone();
                let name = new_parameter_name(&graph, "d");
                seeds.push((value, graph.add_parameter(&name, Role::Data, ty)));
            }
            let parameters: Vec<Value> = graph.parameters().iter().map(|&id| graph.result(id)).collect();
            let wrt: Vec<Value> = wanted.iter().map(|&i| parameters[i]).collect();
            let found = vjp(&mut graph, &seeds, &wrt)?;
            graph.outputs_mut().clear();
            for (number, (found, &parameter)) in found.into_iter().zip(&wrt).enumerate() {
                let value = match found {
                    Some(value) => value,
                    None => Builder::new(&mut graph, cx.b.origin.clone()).zeros_like(parameter)?,
                };
                graph.add_output(&format!("g{number}"), Role::Data, value);
            }
            // Leaves the dead nodes of the way forward behind.
            let mut body = Graph::new(&region.name);
            let mut map = FxHashMap::default();
            for &id in graph.parameters() {
                let name = graph.parameter(id).map_or("", |p| &p.name);
                map.insert(
                    graph.result(id),
                    body.add_parameter(name, Role::Data, graph.node(id).types[0].clone()),
                );
            }
            let roots: Vec<Value> = graph.outputs().iter().map(|output| output.value).collect();
            let values = body.import(&graph, &roots, &mut map)?;
            for (output, value) in graph.outputs().iter().zip(values) {
                body.add_output(&output.name, Role::Data, value);
            }
            Ok(body)
        };
        let op = Cond { then: back(&self.then)?, otherwise: back(&self.otherwise)? };
        let results = cx.b.add_nodes(op, &operands)?;
        let mut gradients = vec![None; cx.operands.len()];
        for (&capture, &result) in wanted.iter().zip(&results) {
            gradients[capture + 1] = Some(result);
        }
        Ok(gradients)
    }

    fn definition(&self, _: &[&Type], results: &[Type]) -> Vec<Definition> {
        vec![Definition::Loops; results.len()]
    }

    fn evaluate(&self, operands: &[&Tensor], _: &[Type]) -> Result<Vec<Tensor>, String> {
        let region = if operands[0].get(0).to_bool() { &self.then } else { &self.otherwise };
        crate::interpret::interpret(region, &operands[1..]).map_err(|error| error.to_string())
    }
}
