//! Layers, losses, optimisers and schedules against values computed with PyTorch in f64
//! (`references/make.py` writes them), by the reference interpreter.

use std::collections::HashMap;

use brolga_frontend::Instance;
use brolga_ir::graph::{Graph, Value};
use brolga_ir::ops::{Op, Role};
use brolga_ir::tensor::Data;
use brolga_ir::{DType, Tensor, Type};

use crate::common::{build, differentiate, digest, expect_close, lines, numbers, run, wave};

/// State filled as in `make.py`.
fn state(instance: &Instance) -> HashMap<String, Tensor> {
    let fill = |name: &str, ty: &Type| {
        let own = name.rsplit('.').next().unwrap_or(name);
        let tensor = wave(&ty.dims, 0.4, 1.7, own.len() as f64);
        match (own, ty.dtype) {
            (_, DType::I64) => Tensor::zeros(ty),
            ("running_var", _) => {
                Tensor::f64(ty.dims.clone(), numbers(&tensor).iter().map(|v| v + 1.2).collect::<Vec<_>>())
            }
            _ => tensor,
        }
    };
    instance.state().iter().map(|slot| (slot.name.clone(), fill(&slot.name, &slot.ty))).collect()
}

#[test]
fn layers() {
    for fields in lines(include_str!("references/layers.tsv")) {
        let (steps, dims) = (fields[0], fields[1].replace(' ', ", "));
        let instance = build(&format!(
            "Model(
                inputs: {{ \"x\": \"f32[{dims}]\" }},
                body: [{steps}],
                entries: {{
                    \"infer\": Infer(outputs: {{ \"y\": \"it\" }}),
                    \"train\": Entry(steps: [], outputs: {{ \"y\": \"it\" }}),
                }},
            )"
        ));
        let mut values = state(&instance);
        let dims: Vec<usize> = fields[1].split(' ').map(|n| n.parse().expect("a size")).collect();
        values.insert("x".into(), wave(&dims, 1.0, 0.7, 0.3));
        let results = run(instance.graph("infer").expect("infer"), &values);
        expect_close(steps, digest(&results["y"]), fields[2]);
        let Some(expected) = fields.get(3) else { continue };
        let results = run(instance.graph("train").expect("train"), &values);
        expect_close(&format!("{steps}, training"), digest(&results["y"]), expected);
        for (buffer, expected) in ["running_mean", "running_var"].iter().zip(&fields[4..]) {
            expect_close(&format!("{steps}, {buffer}"), digest(&results[&format!("m.{buffer}")]), expected);
        }
    }
}

#[test]
fn losses() {
    let label = Tensor::i32([6], [0, 3, 4, 1, 1, 2]);
    let given = HashMap::from([
        ("x".to_owned(), wave(&[6, 5], 2.0, 0.9, 0.1)),
        ("t".to_owned(), wave(&[6, 5], 1.0, 1.3, 0.5)),
        ("label".to_owned(), label),
    ]);
    for fields in lines(include_str!("references/losses.tsv")) {
        let instance = build(&format!(
            "Model(
                inputs: {{ \"x\": \"f32[6, 5]\", \"t\": \"f32[6, 5]\", \"label\": \"i32[6]\" }},
                body: [],
                entries: {{ \"infer\": Infer(outputs: {{ \"y\": \"{}\" }}) }},
            )",
            fields[0]
        ));
        let results = run(instance.graph("infer").expect("infer"), &given);
        expect_close(fields[0], digest(&results["y"]), fields[1]);
    }
}

/// A training graph of the parameter `w` whose gradient is the output `g`: the operator `gradient` is replaced, so
/// that no differentiator is needed here.
fn descent(optimizer: &str, gradient: &str) -> (Instance, Graph) {
    let instance = build(&format!(
        "Model(
            inputs: {{ \"t\": \"f32[7]\", \"c\": \"f32[7]\" }},
            body: [Parameter(name: \"w\", dims: [7])],
            entries: {{
                \"train\": Entry(
                    steps: [Minimize(loss: \"sum(c * (it - t) ** 2) / 2\", optimizer: {optimizer})],
                    outputs: {{ \"g\": \"{gradient}\" }},
                ),
            }},
        )"
    ));
    let mut graph = instance.graph("train").expect("train").clone();
    let gradient: Value = graph.outputs().iter().find(|output| output.name == "g").expect("the output").value;
    let found = graph.nodes().find(|&id| matches!(graph.node(id).op, Op::Differentiate(_)));
    let node = found.expect("a gradient operator");
    graph.replace_uses(graph.result(node), gradient);
    (instance, graph)
}

/// Runs steps; the values of `w` before the first and after each.
fn steps(instance: &Instance, graph: &Graph, start: Tensor, count: usize) -> Vec<Tensor> {
    let mut values: HashMap<String, Tensor> =
        instance.state().iter().map(|slot| (slot.name.clone(), Tensor::zeros(&slot.ty))).collect();
    // What the state starts from is the business of the entry `init`.
    let mut given = values.clone();
    given.insert("seed".into(), Tensor::new([], Data::I64(vec![7])));
    let init = run(instance.graph("init").expect("init"), &given);
    values.extend(init);
    values.insert("w".into(), start);
    values.insert("t".into(), wave(&[7], 1.0, 1.9, 0.4));
    let curvature = numbers(&wave(&[7], 0.5, 0.5, 0.6)).iter().map(|v| v + 1.0).collect::<Vec<_>>();
    values.insert("c".into(), Tensor::f64([7], curvature));
    let mut path = vec![values["w"].clone()];
    for _ in 0..count {
        let results = run(graph, &values);
        for output in graph.outputs().iter().filter(|output| output.role == Role::State) {
            values.insert(output.name.clone(), results[&output.name].clone());
        }
        path.push(values["w"].clone());
    }
    path
}

#[test]
fn optimizers() {
    for fields in lines(include_str!("references/optimizers.tsv")) {
        let (instance, graph) = descent(fields[0], "c * (it - t)");
        let path = steps(&instance, &graph, wave(&[7], 1.0, 0.8, 0.2), 12);
        expect_close(fields[0], digest(path.last().expect("a path")), fields[1]);
    }
}

/// With a gradient of one, each step of plain descent goes by the learning rate.
#[test]
fn schedules() {
    for fields in lines(include_str!("references/schedules.tsv")) {
        let (instance, graph) = descent(&format!("Sgd(lr: {})", fields[0]), "it * 0 + 1");
        let path = steps(&instance, &graph, wave(&[7], 0.0, 0.8, 0.2), 20);
        for (t, expected) in fields[1..].iter().enumerate() {
            let rate = numbers(&path[t])[0] - numbers(&path[t + 1])[0];
            let expected: f64 = expected.parse().expect("a number");
            assert!((rate - expected).abs() < 1e-12, "{} at step {t}: {rate}, not {expected}", fields[0]);
        }
    }
}

/// Gradients of the sum of `y_i cos(i)` with respect to input and parameters: what a step of descent at rate 1 takes
/// away. The operator `gradient` is replaced by what the differentiator builds.
#[test]
fn gradients() {
    for fields in lines(include_str!("references/gradients.tsv")) {
        let (steps, dims) = (fields[0], fields[1].replace(' ', ", "));
        let instance = build(&format!(
            "Model(
                inputs: {{ \"unused\": \"f32[]\" }},
                body: [Parameter(name: \"x\", dims: [{dims}]), {steps}, Reshape([-1])],
                entries: {{ \"train\": Train(loss: \"sum(it * cos(positions(it)))\", optimizer: Sgd(lr: 1)) }},
            )"
        ));
        let mut graph = instance.graph("train").expect("train").clone();
        differentiate(&mut graph);
        let mut values = state(&instance);
        let dims: Vec<usize> = fields[1].split(' ').map(|n| n.parse().expect("a size")).collect();
        let count: usize = dims.iter().product();
        let kinks = (0..count).map(|i| (i % 29) as f64 * 0.5 - 7.0).collect::<Vec<_>>();
        let x = if is_activation(steps) { Tensor::f64(dims, kinks) } else { wave(&dims, 1.0, 0.7, 0.3) };
        values.insert("x".into(), x);
        let results = run(&graph, &values);
        for field in &fields[2..] {
            let (name, expected) = field.split_once(' ').expect("a name and numbers");
            let name = if name == "x" { "x".to_owned() } else { format!("m.{name}") };
            let (before, after) = (numbers(&values[&name]), numbers(&results[&name]));
            let gradient: Vec<f64> =
                before.iter().zip(&after).map(|(before, after)| before - after).collect();
            let gradient = Tensor::f64(values[&name].dims().to_vec(), gradient);
            expect_close(&format!("gradient of {steps} by {name}"), digest(&gradient), expected);
        }
    }
}

/// Activations are differentiated on a grid that meets their kinks.
fn is_activation(steps: &str) -> bool {
    let names = "Relu Relu6 LeakyRelu Elu Celu Selu Gelu Silu HardSwish Mish Sigmoid HardSigmoid LogSigmoid Tanh \
                 HardTanh Softsign Softplus Glu Softmax LogSoftmax ScaledTanh CRelu Maxout PRelu Swish";
    names.split_whitespace().any(|name| steps.split('(').next() == Some(name))
}
