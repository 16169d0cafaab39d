//! Choices beside nodes: in text, in the verifier, through changes of a graph; and what they mean, which is nothing but for
//! weights that are stored as another type.

use crate::common::floats;
use brolga_ir::choice::{Algorithm, Choice, Layout};
use brolga_ir::graph::{Graph, Origin, Value};
use brolga_ir::interpret::interpret;
use brolga_ir::ops::{Conv, ConvForm, Dot, Op, Role};
use brolga_ir::scalar::{Scalar, ScalarOp};
use brolga_ir::vjp::vjp;
use brolga_ir::{Builder, DType, Tensor, Type};
use std::collections::HashMap;

fn f64s(dims: &[usize]) -> Type {
    Type::new(DType::F64, dims)
}

/// A graph of one node.
fn single(op: impl Into<Op>, choice: impl Into<Choice>, operands: &[&[usize]]) -> (Graph, Value) {
    let mut graph = Graph::new("g");
    let add = |(i, dims): (usize, &&[usize])| graph.add_parameter(&format!("x{i}"), Role::Data, f64s(dims));
    let operands: Vec<Value> = operands.iter().enumerate().map(add).collect();
    let node = graph.add_chosen(op, choice, &operands, &Origin::new("layer")).expect("a node");
    let result = graph.result(node);
    graph.add_output("y", Role::Data, result);
    (graph, result)
}

fn product() -> (Graph, Value) {
    let dot = Dot::new([vec![], vec![]], [vec![1], vec![0]]);
    single(dot, Algorithm::Direct, &[&[4, 6], &[6, 2]])
}

fn convolution() -> (Graph, Value) {
    single(Conv::new(2), Layout::ChannelsLast, &[&[1, 6, 6, 2], &[3, 2, 3, 3]])
}

/// A committed example; printing it gives it back to the letter.
const EXAMPLE: &str = "graph @g(%x: f32[1, 6, 6, 2], %w: f32[3, 2, 3, 3], %a: f32[4, 6], %b: f32[6, 2]) {
  %0 = conv %x, %w {stride: [1, 1], channels_last: true, winograd: 4, weights: bf16} : f32[1, 4, 4, 3]
  %1 = fused %a, %b {body: graph @region(%x0: f32[4, 6], %x1: f32[6, 2]) {
    %0 = dot %x0, %x1 {contract: [[1], [0]], strassen: true} : f32[4, 2]
    %1 = neg %0 : f32[4, 2]
    return %1 as \"y0\"
  }} : f32[4, 2]
  return %0 as \"y\", %1 as \"z\"
}
";

#[test]
fn choices_stand_behind_attributes() {
    let graph = Graph::parse(EXAMPLE).unwrap_or_else(|errors| panic!("{errors}"));
    graph.verify().unwrap();
    assert_eq!(graph.to_string(), EXAMPLE);
    let conv = graph.outputs()[0].value.node;
    let choice = Choice {
        algorithm: Algorithm::Winograd(4),
        layout: Layout::ChannelsLast,
        weights: Some(DType::Bf16),
    };
    assert_eq!(graph.choice(conv), choice);
    let text = "conv {stride: [1, 1], channels_last: true, winograd: 4, weights: bf16}";
    assert_eq!(graph.describe(conv), text);
    let direct = Graph::parse(&EXAMPLE.replace("winograd: 4", "winograd: 0")).unwrap();
    assert_eq!(direct.to_string(), EXAMPLE.replace(", winograd: 4", ""));
    assert!(direct != graph, "graphs with other choices are others");
}

#[test]
fn a_choice_is_one_that_the_operator_can_have() {
    let winograd = |outputs: usize| Choice::from(Algorithm::Winograd(outputs));
    let last = |algorithm: Algorithm| Choice { algorithm, layout: Layout::ChannelsLast, ..Choice::default() };
    let stored = |dtype: DType| Choice { weights: Some(dtype), ..Choice::default() };
    let images = Conv::new(2).with_form(ConvForm::WeightGradient { kernel: vec![1, 1] });
    let images = || single(images.clone(), Algorithm::Direct, &[&[1, 2, 6, 6], &[1, 3, 6, 6]]);
    let batch = Dot::new([vec![0], vec![0]], [vec![2], vec![1]]);
    let batch = || single(batch.clone(), Algorithm::Direct, &[&[3, 4, 6], &[3, 6, 2]]);
    let dot = Dot::new([vec![], vec![]], [vec![1], vec![0]]);
    let odd = single(dot, Algorithm::Direct, &[&[2, 3], &[3, 4]]);
    let far = Conv { padding: vec![(3, 0); 2], ..Conv::new(2) };
    let far = single(far, Algorithm::Direct, &[&[1, 2, 6, 6], &[3, 2, 3, 3]]);
    let negation = || single(ScalarOp::Neg, Algorithm::Direct, &[&[2]]);
    let cases = [
        (product(), winograd(4), "dot: `winograd` is an algorithm for convolutions"),
        (convolution(), last(Algorithm::Strassen), "conv: `strassen` is an algorithm for products"),
        (negation(), Algorithm::Strassen.into(), "neg: `strassen` is an algorithm for"),
        (negation(), Layout::ChannelsLast.into(), "neg: `channels_last` is a layout of convolutions"),
        (product(), Layout::ChannelsLast.into(), "dot: `channels_last` is a layout of convolutions"),
        (
            odd,
            Algorithm::Strassen.into(),
            "even numbers of rows, terms and columns; found f64[2, 3] and f64[3, 4]",
        ),
        (convolution(), last(Algorithm::Winograd(3)), "found 3 outputs and a kernel of [3, 3]"),
        (convolution(), last(Algorithm::Winograd(usize::MAX)), "`winograd` needs a square kernel of 2 to 5"),
        (far, winograd(4), "padding less than the kernel"),
        (negation(), stored(DType::Bf16), "neg: `weights` is for convolutions"),
        (images(), stored(DType::Bf16), "conv_weight_gradient: `weights` is for convolutions"),
        (batch(), stored(DType::Bf16), "without batch axes, and with one axis that is summed over"),
        (
            product(),
            stored(DType::Bf16),
            "`weights` stores f32 as a type that only stores, such as bf16; found f64",
        ),
        (product(), stored(DType::F32), "found f64 as f32"),
    ];
    for ((mut graph, value), choice, expected) in cases {
        graph.verify().unwrap();
        let node = graph.node(value.node).clone();
        let added = graph.add_chosen(node.op, choice, &node.operands, &node.origin).unwrap_err();
        graph.set_choice(value.node, choice);
        let found = graph.verify().expect_err("a broken rule").to_string();
        assert!(found.starts_with("layer: ") && found.contains(expected), "{expected}: {found}");
        assert_eq!(added.to_string(), found);
    }
    let errors = Graph::parse(&EXAMPLE.replace("winograd: 4", "winograd: 5")).unwrap_err().to_string();
    assert!(errors.contains("found 5 outputs and a kernel of [3, 3]"), "{errors}");
    let errors = Graph::parse(&EXAMPLE.replace("neg %0", "neg %0 {strassen: true}")).unwrap_err().to_string();
    assert!(errors.contains("neg: unknown attribute `strassen`"), "{errors}");
    for (text, expected) in [
        ("weights: bf17", "`bf17` is no element type"),
        ("weights: 3", "`weights` must be a name"),
        ("weights: f32", "such as bf16; found f32 as f32"),
    ] {
        let errors = Graph::parse(&EXAMPLE.replace("weights: bf16", text)).unwrap_err().to_string();
        assert!(errors.contains(expected), "{errors}");
    }
}

#[test]
fn choices_stay_with_their_nodes() {
    let (mut graph, y) = product();
    graph.set_choice(y.node, Algorithm::Strassen);
    // An operand is replaced: the node is the same.
    let x = graph.node(y.node).operands[0];
    let negated = graph.add(ScalarOp::Neg, &[x], &Origin::default()).unwrap();
    let negated = graph.result(negated);
    graph.set_operand(y.node, 0, negated);
    graph.replace_uses(negated, x);
    assert_eq!(graph.choice(y.node), Choice::from(Algorithm::Strassen));
    // A copy in another graph, such as a region.
    let mut other = Graph::new("copy");
    let mut map: HashMap<Value, Value> = HashMap::new();
    for &id in graph.parameters() {
        let parameter = graph.parameter(id).expect("a parameter");
        let value = other.add_parameter(&parameter.name, parameter.role, parameter.ty.clone());
        map.insert(graph.result(id), value);
    }
    let copy = other.import(&graph, &[y], &mut map).unwrap()[0];
    assert_eq!(other.choice(copy.node), Choice::from(Algorithm::Strassen));
    // What takes its place starts without, even under the same number.
    graph.outputs_mut().clear();
    let node = graph.node(y.node).clone();
    graph.remove(y.node);
    let again = graph.add(node.op, &node.operands, &node.origin).unwrap();
    assert_eq!((again, graph.choice(again)), (y.node, Choice::default()));
}

/// The interpreter says what is meant, not how it is run. (What a layout means: `evaluate.rs`.)
#[test]
fn the_interpreter_does_not_look_at_algorithms() {
    let last = Choice { algorithm: Algorithm::Winograd(2), ..Layout::ChannelsLast.into() };
    for ((graph, value), choice) in [(product(), Algorithm::Strassen.into()), (convolution(), last)] {
        let operands: Vec<_> =
            graph.parameters().iter().map(|&id| floats(&graph.node(id).types[0].dims)).collect();
        let run = |graph: &Graph| interpret(graph, &operands.iter().collect::<Vec<_>>()).unwrap();
        let direct = run(&graph);
        let mut chosen = graph;
        chosen.set_choice(value.node, choice);
        chosen.verify().unwrap();
        assert_eq!(run(&chosen), direct);
    }
}

/// Stored as `bf16`, weights are those numbers that they are rounded to, for every product, and in either layout.
#[test]
fn stored_weights_are_rounded() {
    let f32s = |dims: &[usize]| Type::new(DType::F32, dims);
    let conv = Conv { padding: vec![(1, 0)], ..Conv::new(1) };
    let back = conv.with_form(ConvForm::InputGradient { size: vec![5] });
    let first = Layout::ChannelsFirst;
    let products: [(Op, Layout, [Type; 2]); 5] = [
        (Dot::new([vec![], vec![]], [vec![1], vec![1]]).into(), first, [f32s(&[3, 4]), f32s(&[5, 4])]),
        (Dot::new([vec![], vec![]], [vec![1], vec![0]]).into(), first, [f32s(&[3, 4]), f32s(&[4])]),
        (conv.clone().into(), first, [f32s(&[2, 3, 5]), f32s(&[4, 3, 2])]),
        (conv.into(), Layout::ChannelsLast, [f32s(&[2, 5, 3]), f32s(&[4, 3, 2])]),
        (back.into(), first, [f32s(&[2, 4, 5]), f32s(&[4, 3, 2])]),
    ];
    for (op, layout, types) in products {
        let mut graph = Graph::new("g");
        let [x, w] = [0, 1].map(|i| graph.add_parameter(["x", "w"][i], Role::Data, types[i].clone()));
        let mut b = Builder::new(&mut graph, Origin::default());
        let stored = b.convert(w, DType::Bf16).unwrap();
        let rounded = b.convert(stored, DType::F32).unwrap();
        let choice = Choice { weights: Some(DType::Bf16), ..layout.into() };
        let found = b.add_chosen(op.clone(), choice, &[x, w]).unwrap();
        let expected = b.add_chosen(op.clone(), layout, &[x, rounded]).unwrap();
        let plain = b.add_chosen(op.clone(), layout, &[x, w]).unwrap();
        let seed = b.full(1.0, &b.ty(found).clone()).unwrap();
        for (i, value) in [found, expected, plain].into_iter().enumerate() {
            graph.add_output(&format!("y{i}"), Role::Data, value);
        }
        graph.verify().unwrap();
        let text = graph.to_string();
        assert!(Graph::parse(&text).unwrap() == graph, "{text}");
        let values = types.map(|ty| Tensor::generate(&ty, |i| Scalar::F32((i * 37 % 23) as f32 / 7.0 - 1.5)));
        let results = interpret(&graph, &values.each_ref()).unwrap();
        assert_eq!(results[0], results[1], "{text}");
        assert_ne!(results[0], results[2], "{text}");
        let error = vjp(&mut graph, &[(found, seed)], &[x]).unwrap_err();
        assert!(error.message.contains("its weights are stored as bf16"), "{error}");
    }
}
