//! The generator of random graphs: they are valid, read back, run, and have all operators in them.

use brolga_ir::generate::{Config, Generated, generate, histogram};
use brolga_ir::graph::{Graph, Value};
use brolga_ir::interpret::interpret;
use brolga_ir::ops::Op;
use brolga_ir::tensor::Tensor;
use brolga_ir::types::DType;

#[test]
fn graphs_are_valid_and_run() {
    let mut graphs = Vec::new();
    for seed in 0..1000 {
        let float = if seed % 3 == 0 { DType::F64 } else { DType::F32 };
        let config = Config { float, continuous: seed % 2 == 0, ..Config::default() };
        let Generated { graph, values } = generate(seed, &config);
        graph.verify().unwrap_or_else(|errors| panic!("seed {seed}: {errors}\n{graph}"));
        let again = Graph::parse(&graph.to_string()).unwrap_or_else(|e| panic!("seed {seed}: {e}\n{graph}"));
        assert!(again == graph, "seed {seed}: read back differently\n{graph}");
        let parameters: Vec<&Tensor> = values.iter().collect();
        let outputs = interpret(&graph, &parameters).unwrap_or_else(|e| panic!("seed {seed}: {e}\n{graph}"));
        assert_eq!(outputs.len(), graph.outputs().len());
        let operators = graph.len() - graph.parameters().len();
        assert!((5..=80).contains(&operators), "seed {seed}: {operators} operators");
        graphs.push(graph);
    }
    let counts = histogram(&graphs);
    let rare: Vec<&str> = Op::names()
        .into_iter()
        .filter(|name| !["gradient", "jvp"].contains(name) && counts.get(name).copied().unwrap_or(0) < 20)
        .collect();
    assert!(rare.is_empty(), "seldom or never generated: {rare:?} of {counts:?}");
}

#[test]
fn differentiable_graphs_have_gradients() {
    for seed in 0..100 {
        let config = Config { float: DType::F64, differentiable: true, ..Config::default() };
        let mut graph = generate(seed, &config).graph;
        let floats = |graph: &Graph, value: &Value| graph.ty(*value).dtype == DType::F64;
        let outputs: Vec<Value> =
            graph.outputs().iter().map(|o| o.value).filter(|v| floats(&graph, v)).collect();
        let seeds: Vec<(Value, Value)> = outputs
            .into_iter()
            .map(|value| {
                let mut b = brolga_ir::Builder::new(&mut graph, Default::default());
                (value, b.full_like(value, 1.0).expect("a constant"))
            })
            .collect();
        let wrt: Vec<Value> =
            graph.parameters().iter().map(|&id| graph.result(id)).filter(|v| floats(&graph, v)).collect();
        brolga_ir::vjp::vjp(&mut graph, &seeds, &wrt)
            .unwrap_or_else(|e| panic!("seed {seed}: {e:?}\n{graph}"));
        graph.verify().unwrap_or_else(|errors| panic!("seed {seed}: {errors}\n{graph}"));
    }
}

#[test]
fn a_seed_gives_one_graph() {
    let config = Config::default();
    assert_eq!(generate(5, &config).graph.to_string(), generate(5, &config).graph.to_string());
}
