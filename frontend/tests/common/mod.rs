//! What several tests need: waves as inputs, digests of results, the reference interpreter.

use std::collections::HashMap;

use brolga_frontend::{Instance, Model, Settings, no_imports};
use brolga_ir::graph::Graph;
use brolga_ir::interpret::interpret;
use brolga_ir::ops::Op;
use brolga_ir::vjp::vjp;
use brolga_ir::{Builder, DType, Tensor};

/// `a sin(b i + c)` by row-major position.
pub fn wave(dims: &[usize], a: f64, b: f64, c: f64) -> Tensor {
    let count: usize = dims.iter().product();
    Tensor::f64(dims.to_vec(), (0..count).map(|i| a * (b * i as f64 + c).sin()).collect::<Vec<_>>())
}

pub fn numbers(tensor: &Tensor) -> Vec<f64> {
    (0..tensor.ty().elements()).map(|i| tensor.get(i).to_f64()).collect()
}

/// The three numbers of `make.py`.
pub fn digest(tensor: &Tensor) -> [f64; 3] {
    let values = numbers(tensor);
    let weighted = values.iter().enumerate().map(|(i, v)| v * (i as f64).cos()).sum();
    [values.iter().sum(), values.iter().map(|v| v * v).sum(), weighted]
}

pub fn expect_close(what: &str, found: [f64; 3], expected: &str) {
    let expected: Vec<f64> = expected.split(' ').map(|number| number.parse().expect("a number")).collect();
    for (found, expected) in found.iter().zip(&expected) {
        assert!(
            (found - expected).abs() <= 1e-10 * expected.abs().max(1.0),
            "{what}: {found:e}, not {expected:e}"
        );
    }
}

pub fn build(text: &str) -> Instance {
    let settings = Settings { float: DType::F64, ..Settings::default() };
    Model::parse("test.ron", text, &no_imports)
        .and_then(|model| model.instantiate(&settings))
        .unwrap_or_else(|diagnostics| panic!("{text}\n{diagnostics}"))
}

/// Runs a graph with named values; results and new state by name.
pub fn run(graph: &Graph, given: &HashMap<String, Tensor>) -> HashMap<String, Tensor> {
    let parameters: Vec<&Tensor> = graph
        .parameters()
        .iter()
        .map(|&id| {
            let name = &graph.parameter(id).expect("a parameter").name;
            given.get(name).unwrap_or_else(|| panic!("no value for {name}"))
        })
        .collect();
    let results = interpret(graph, &parameters).unwrap_or_else(|error| panic!("{error}"));
    graph.outputs().iter().map(|output| output.name.clone()).zip(results).collect()
}

/// The fields of the lines of a table.
pub fn lines(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines().map(|line| line.split('\t').collect())
}

/// Builds what the operators `gradient` stand for, the innermost first.
pub fn differentiate(graph: &mut Graph) {
    loop {
        let is_gradient = |id: &brolga_ir::NodeId| matches!(graph.node(*id).op, Op::Differentiate(_));
        let Some(node) = graph.order().into_iter().find(is_gradient) else { return };
        let operands = graph.node(node).operands.clone();
        let mut builder = Builder::new(graph, Default::default());
        let dtype = builder.ty(operands[0]).dtype;
        let one = builder.scalar(1.0, dtype).expect("a scalar");
        let cotangents = vjp(graph, &[(operands[0], one)], &operands[1..]).expect("gradients");
        for ((result, cotangent), wrt) in graph.results(node).into_iter().zip(cotangents).zip(&operands[1..])
        {
            let cotangent = match cotangent {
                Some(cotangent) => cotangent,
                None => Builder::new(graph, Default::default()).zeros_like(*wrt).expect("zeros"),
            };
            graph.replace_uses(result, cotangent);
        }
    }
}

/// The mistakes of a model; empty if there are none.
pub fn mistakes(text: &str) -> String {
    let result = Model::parse("test.ron", text, &no_imports);
    let result = result.and_then(|model| model.instantiate(&Settings::default()));
    result.err().map(|diagnostics| diagnostics.to_string()).unwrap_or_default()
}

/// A model with these inputs and body whose outputs are these expressions, named `0`, `1`, …
pub fn formulas(inputs: &str, body: &str, expressions: &[&str]) -> String {
    let outputs: Vec<String> =
        expressions.iter().enumerate().map(|(i, expression)| format!("\"{i}\": \"{expression}\"")).collect();
    format!(
        "Model(inputs: {{ {inputs} }}, body: [{body}], entries: {{ \"infer\": Infer(outputs: {{ {} }}) }})",
        outputs.join(", ")
    )
}
