//! Work on state alone lands in `prepare`: layers applied to parameters, weights made of weights, frozen groups. Whatever
//! lowering emits is legal there.
//!
//! The interpreter of graphs is the oracle, before any pass but the one that differentiates; programs run exactly.

use std::collections::HashMap;

use brolga::{CompileOptions, Compiler, Model, Settings};
use brolga_ir::interpret::interpret;
use brolga_ir::ops::Role;
use brolga_ir::program::interpret::Interpreter;
use brolga_ir::program::{Place, Program};
use brolga_ir::scalar::Scalar;
use brolga_ir::{DType, Graph, Tensor, Type};

use crate::common::layers::LAYERS;
use crate::common::lcg::Lcg;

/// Numbers by name and position: positive variances, small integers, both signs elsewhere.
fn value(name: &str, ty: &Type) -> Tensor {
    let seed = name.bytes().fold(11, |sum: u64, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)));
    let mut random = Lcg(seed);
    Tensor::generate(ty, |_| {
        let unit = random.unit();
        match ty.dtype {
            dtype if dtype.is_float() && name.ends_with("var") => Scalar::from_f64(dtype, 1.5 + unit),
            dtype if dtype.is_float() => Scalar::from_f64(dtype, unit),
            DType::Bool => Scalar::Bool(unit > 0.0),
            dtype => Scalar::from_i64(dtype, (unit.abs() * 5.0) as i64),
        }
    })
}

fn values(graph: &Graph) -> HashMap<String, Tensor> {
    let parameters = graph.parameters().iter().filter_map(|&id| graph.parameter(id));
    parameters.map(|p| (p.name.clone(), value(&p.name, &p.ty))).collect()
}

/// Outputs and updated state, by name.
fn wanted(graph: &Graph, values: &HashMap<String, Tensor>) -> HashMap<String, Tensor> {
    let graph = Compiler::new(&CompileOptions::default()).differentiate(graph).unwrap();
    let parameters = graph.parameters().iter().filter_map(|&id| graph.parameter(id));
    let parameters: Vec<&Tensor> = parameters.map(|p| &values[&p.name]).collect();
    let results = interpret(&graph, &parameters).unwrap();
    graph.outputs().iter().map(|output| output.name.clone()).zip(results).collect()
}

fn found(program: &Program, graph: &Graph, values: &HashMap<String, Tensor>) -> HashMap<String, Tensor> {
    let of = |is: fn(&Place) -> bool| program.buffers.iter().filter(move |buffer| is(&buffer.place));
    let state = || of(|place| matches!(place, Place::State { .. }));
    let inputs: Vec<Tensor> =
        of(|place| matches!(place, Place::Input { .. })).map(|buffer| values[&buffer.name].clone()).collect();
    let mut after: Vec<Tensor> = state().map(|buffer| values[&buffer.name].clone()).collect();
    let outputs = Interpreter::new(program).unwrap().run(&inputs, &mut after).unwrap();
    let names = graph.outputs().iter().filter(|output| output.role == Role::Data);
    let outputs = names.map(|output| output.name.clone()).zip(outputs);
    state().map(|buffer| buffer.name.clone()).zip(after).chain(outputs).collect()
}

/// Compares an entry's results with the oracle's; the program.
fn check(text: &str, entry: &str) -> Program {
    let settings = Settings::default().dim("batch", 2);
    let model = Model::from_text("alone.ron", text, &settings).unwrap_or_else(|e| panic!("{text}: {e}"));
    let graph = model.graph(entry).unwrap();
    let mut compiler = Compiler::new(&CompileOptions::default());
    let optimised = compiler.optimise(graph).unwrap_or_else(|e| panic!("{text}: {e}"));
    let program = compiler.lower(&optimised).unwrap_or_else(|e| panic!("{text}: {e}")).into_program();
    let values = values(graph);
    let found = found(&program, graph, &values);
    for (name, wanted) in wanted(graph, &values) {
        let found = &found[&name];
        let all = || (0..wanted.elements()).map(|i| (found.get(i).to_f64(), wanted.get(i).to_f64()));
        let size = all().map(|(_, wanted)| wanted.abs()).fold(1e-3, f64::max);
        let off = all().map(|(found, wanted)| (found - wanted).abs()).fold(0.0, f64::max);
        assert!(off <= 1e-4 * size, "{text}: {name} is off by {off} of {size}");
    }
    program
}

fn infer(input: &str, body: &str) -> String {
    format!(
        "Model(inputs: {{ \"x\": \"{input}\" }}, body: [{body}], entries: {{ \"infer\": Infer(outputs: {{ \"y\": \"it\" }}) \
         }})"
    )
}

#[test]
fn layers_of_parameters_alone_are_prepared() {
    for row in LAYERS {
        let Some(dims) = row.input.and_then(|ty| ty.strip_prefix("f32")) else { continue };
        let dims = dims.replace("batch", "2");
        let used = infer(
            "f32[batch, 3]",
            &format!("Parameter(dims: {dims}), {}, Expr(\"x * mean(it) + x\")", row.call),
        );
        let program = check(&used, "infer");
        assert!(!program.prepare.is_empty(), "{}: nothing is prepared", row.call);
    }
}

#[test]
fn weights_that_are_made_of_weights_are_prepared() {
    for (input, body) in [
        ("f32[batch, 2]", "Parameter(dims: [2, 2]), Linear(2), Expr(\"x @ it\")"),
        // Of low rank.
        (
            "f32[batch, 6]",
            "Parameter(dims: [6, 2]), As(\"a\"), Parameter(dims: [2, 5]), Expr(\"x @ (a @ it)\")",
        ),
        // An adapted layer.
        (
            "f32[batch, 6]",
            "Linear(5), As(\"y\"), Parameter(dims: [6, 2]), As(\"a\"), Parameter(dims: [2, 5]), Expr(\"y + x @ (a @ it)\")",
        ),
        // Learned queries, projected.
        (
            "f32[batch, 4, 8]",
            "Linear(8), As(\"k\"), Parameter(dims: [3, 8]), Linear(8), Expr(\"softmax(it @ transpose(k, [0, 2, 1])) @ k\")",
        ),
        // A network of positions.
        (
            "f32[batch, 10, 6]",
            "Parameter(dims: [10, 3]), Linear(16), Tanh, Linear(6), Expr(\"x + it\"), Linear(4)",
        ),
        // The same weights on state and on an input.
        (
            "f32[batch, 6]",
            "Linear(name: \"fc\", features: 6), As(\"y\"), Parameter(dims: [3, 6]), Reuse(\"fc\"), Expr(\"y * mean(it)\")",
        ),
        // An image of state through convolutions.
        (
            "f32[batch, 3]",
            "Parameter(dims: [1, 32, 14, 14]), Conv2d(features: 32, kernel: 3, padding: 1), Relu, Conv2d(features: 8, \
             kernel: 1), ConvTranspose2d(features: 3, kernel: 2, stride: 2), Expr(\"x * mean(it, [2, 3])\")",
        ),
    ] {
        check(&infer(input, body), "infer");
    }
}

#[test]
fn groups_at_either_end_may_be_frozen() {
    let networks = [
        (
            "f32[batch, 6]",
            [
                "Linear(name: \"a\", features: 8), Tanh",
                "Linear(name: \"b\", features: 8), Tanh",
                "Linear(name: \"c\", features: 4)",
            ],
        ),
        (
            "f32[batch, 3, 12, 12]",
            [
                "Conv2d(name: \"a\", features: 16, kernel: 3, padding: 1), Relu",
                "Conv2d(name: \"b\", features: 16, kernel: 3, padding: 1), Relu",
                "ConvTranspose2d(name: \"c\", features: 4, kernel: 2, stride: 2)",
            ],
        ),
        (
            "f32[batch, 8, 6, 6]",
            [
                "BatchNorm(name: \"a\")",
                "Conv2d(name: \"b\", features: 8, kernel: 3, groups: 8)",
                "Flatten, Linear(name: \"c\", features: 4)",
            ],
        ),
    ];
    for (input, [a, b, c]) in networks {
        for frozen in ["a.*", "b.*", "c.*", "[ab].*", "[bc].*"] {
            let groups = match frozen.strip_prefix('[') {
                None => format!("Group(of: \"{frozen}\", frozen: true)"),
                Some(two) => two[..2]
                    .chars()
                    .map(|layer| format!("Group(of: \"{layer}.*\", frozen: true)"))
                    .collect::<Vec<_>>()
                    .join(", "),
            };
            let text = format!(
                "Model(inputs: {{ \"x\": \"{input}\" }}, body: [{a}, {b}, {c}], entries: {{ \"train\": Train(loss: \
                 \"mean(it * it)\", optimizer: Sgd(lr: 0.1), groups: [{groups}]) }})"
            );
            check(&text, "train");
        }
    }
}
