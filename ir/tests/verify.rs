//! The verifier: every rule, by a graph that breaks it.

use brolga_ir::graph::{Graph, Origin, Value};
use brolga_ir::ops::{Fused, Op, Role};
use brolga_ir::scalar::ScalarOp;
use brolga_ir::{Builder, DType, Type};

fn f32s(dims: &[usize]) -> Type {
    Type::new(DType::F32, dims)
}

/// `y = -x`, with x of two elements.
fn negation() -> (Graph, Value, Value) {
    let mut graph = Graph::new("g");
    let x = graph.add_parameter("x", Role::Data, f32s(&[2]));
    let y = Builder::new(&mut graph, Origin::new("layer")).neg(x).unwrap();
    graph.add_output("y", Role::Data, y);
    (graph, x, y)
}

fn message(graph: &Graph) -> String {
    graph.verify().expect_err("a broken rule").to_string()
}

#[test]
fn a_graph_as_it_is_built_is_valid() {
    let (graph, ..) = negation();
    graph.verify().unwrap();
    Graph::new("empty").verify().unwrap();
}

#[test]
fn operands_and_outputs_exist() {
    let (mut graph, x, y) = negation();
    graph.outputs_mut().clear();
    graph.remove(y.node);
    graph.add_output("y", Role::Data, y);
    graph.add_output("z", Role::Data, Value { node: x.node, index: 1 });
    assert_eq!(
        message(&graph),
        "g: the output y is no result of a node\ng: the output z is no result of a node"
    );
    let (mut graph, x, y) = negation();
    graph.set_operand(y.node, 0, Value { node: x.node, index: 3 });
    assert_eq!(message(&graph), "layer: neg: operand 0 is no result of a node");
}

#[test]
fn nothing_depends_on_itself() {
    let (mut graph, _, y) = negation();
    let z = Builder::new(&mut graph, Origin::new("layer")).neg(y).unwrap();
    graph.set_operand(y.node, 0, z);
    assert_eq!(message(&graph), "g: a node depends on itself");
}

#[test]
fn types_are_the_inferred_ones() {
    let (mut graph, _, y) = negation();
    let wide = graph.add_parameter("wide", Role::Data, f32s(&[3]));
    graph.set_operand(y.node, 0, wide);
    assert_eq!(message(&graph), "layer: neg: is stored as f32[2], and gives f32[3]");
    let (mut graph, x, _) = negation();
    let sum = Builder::new(&mut graph, Origin::new("sum")).add(x, x).unwrap();
    let flags = graph.add_parameter("flags", Role::Data, Type::new(DType::Bool, [2]));
    graph.set_operand(sum.node, 0, flags);
    assert!(message(&graph).starts_with("sum: add: operands of add differ in type"), "{}", message(&graph));
    let mut graph = Graph::new("g");
    graph.add_parameter("x", Role::Data, f32s(&[1 << 40, 1 << 40]));
    assert!(message(&graph).contains("larger than the limit of 2^40 bytes"));
}

#[test]
fn names_are_unique() {
    let mut graph = Graph::new("g");
    let x = graph.add_parameter("x", Role::Data, f32s(&[]));
    graph.add_parameter("x", Role::State, f32s(&[]));
    graph.add_output("y", Role::Data, x);
    graph.add_output("y", Role::Data, x);
    assert_eq!(message(&graph), "g: two parameters are called x\ng: two outputs are called y");
}

#[test]
fn updates_are_of_state_parameters() {
    let mut graph = Graph::new("g");
    let x = graph.add_parameter("x", Role::Data, f32s(&[2]));
    let w = graph.add_parameter("w", Role::State, f32s(&[]));
    graph.add_output("w", Role::State, x);
    graph.add_output("w", Role::State, w);
    graph.add_output("x", Role::State, x);
    assert_eq!(
        message(&graph),
        "g: the state w is f32[], its update is f32[2]\n\
         g: the state w is updated twice\n\
         g: the updated state x is no state parameter"
    );
    // A result may be called like a state.
    let mut graph = Graph::new("g");
    let w = graph.add_parameter("w", Role::State, f32s(&[]));
    graph.add_output("w", Role::State, w);
    graph.add_output("w", Role::Data, w);
    graph.verify().unwrap();
}

fn fuse(body: Graph) -> Graph {
    let mut graph = Graph::new("outer");
    let operands: Vec<Value> = body
        .parameters()
        .iter()
        .enumerate()
        .map(|(i, &id)| graph.add_parameter(&format!("x{i}"), Role::Data, body.node(id).types[0].clone()))
        .collect();
    let node = graph.add(Fused { body }, &operands, &Origin::new("fuse")).unwrap();
    for (i, value) in graph.results(node).into_iter().enumerate() {
        graph.add_output(&format!("y{i}"), Role::Data, value);
    }
    graph
}

#[test]
fn regions_obey_the_rules_too() {
    let (mut body, x, _) = negation();
    body.add_output("y", Role::Data, x);
    assert_eq!(message(&fuse(body)), "g: two outputs are called y");
    let mut body = Graph::new("g");
    let w = body.add_parameter("w", Role::State, f32s(&[]));
    body.add_output("y", Role::Data, w);
    assert_eq!(message(&fuse(body)), "g: a region has the state w");
}

#[test]
fn regions_give_what_their_operator_says() {
    let (body, ..) = negation();
    let mut graph = fuse(body);
    let id = graph.outputs()[0].value.node;
    let mut op = graph.node(id).op.clone();
    let region = op.regions_mut().remove(0);
    let p = region.result(region.parameters()[0]);
    let flags = Builder::new(region, Origin::default()).convert(p, DType::Bool).unwrap();
    region.outputs_mut()[0].value = flags;
    let operands = graph.node(id).operands.clone();
    let changed = graph.add(op, &operands, &Origin::new("changed")).unwrap();
    assert_eq!(graph.node(changed).types, [Type::new(DType::Bool, [2])]);
    graph.verify().unwrap();
}

#[test]
fn fused_regions_hold_ordinary_operators() {
    let (body, ..) = negation();
    assert_eq!(message(&fuse(fuse(body))), "fuse: fused: a fused region holds fused");
    let mut body = Graph::new("g");
    let x = body.add_parameter("x", Role::Data, f32s(&[]));
    let square = Builder::new(&mut body, Origin::default()).elementwise(ScalarOp::Mul, &[x, x]).unwrap();
    let gradient = Builder::new(&mut body, Origin::default()).gradient(square, &[x]).unwrap();
    body.add_output("d", Role::Data, gradient[0]);
    assert_eq!(message(&fuse(body)), "fuse: fused: a fused region holds gradient");
}

#[test]
fn regions_nest_at_most_64_deep() {
    let condition = |inner: Option<Graph>| {
        let mut graph = Graph::new("c");
        let p = graph.add_parameter("p", Role::Data, Type::scalar(DType::Bool));
        let value = match inner {
            None => p,
            Some(inner) => {
                let mut otherwise = Graph::new("c");
                let q = otherwise.add_parameter("p", Role::Data, Type::scalar(DType::Bool));
                otherwise.add_output("y", Role::Data, q);
                let cond = brolga_ir::ops::Cond { then: inner, otherwise };
                let node = graph.add(Op::from(cond), &[p, p], &Origin::default()).unwrap();
                graph.result(node)
            }
        };
        graph.add_output("y", Role::Data, value);
        graph
    };
    let mut graph = condition(None);
    for _ in 0..64 {
        graph = condition(Some(graph));
    }
    graph.verify().unwrap();
    assert!(Graph::parse(&graph.to_string()).unwrap() == graph);
    graph = condition(Some(graph));
    assert_eq!(message(&graph), "cond: regions nest deeper than 64");
}
