//! The text form of graphs: what is printed is read back as the same graph; what is wrong is said with its place.

use crate::common;
use crate::common::cases;
use brolga_ir::graph::{Graph, Origin};
use brolga_ir::ops::Role;
use brolga_ir::scalar::{Function, Scalar};
use brolga_ir::{Builder, DType, Tensor, Type};

#[test]
fn every_operator_comes_back() {
    for case in cases() {
        let graph = case.graph();
        let text = graph.to_string();
        let read = Graph::parse(&text).unwrap_or_else(|errors| panic!("{errors}\n{text}"));
        assert!(read == graph, "{}: read back differently:\n{text}\n{read}", case.label());
        assert_eq!(read.to_string(), text);
        read.verify().unwrap_or_else(|errors| panic!("{errors}\n{text}"));
    }
}

/// A committed example of everything the form has; printing it gives it back to the letter.
const EXAMPLE: &str = r#"graph @train.eval(%image: f32[1, 1, 4, 4], state %conv1.weight: f32[2, 1, 3, 3], %"7": i32[], %"odd name": f32[2]) {
  %0 = conv %image, %conv1.weight {stride: [1, 1], padding: [[1, 1], [1, 1]]} : f32[1, 2, 4, 4]  // conv1
  %1 = constant {value: f32[3] [0.1, -inf, nan]} : f32[3]
  %2 = constant {value: f32[2, 2] splat -0.0} : f32[2, 2]  // layer 1.0/backward
  %3, %4 = scan %"odd name", %2 {length: 2, carries: 1, slices: 1, body: graph @cell(%h: f32[2], %x: f32[2]) {
    %0 = add %h, %x : f32[2]  // "cell\nof two lines"
    return %0 as "h", %h as "y"
  }} : f32[2], f32[2, 2]
  %5 = mul %conv1.weight, %conv1.weight : f32[2, 1, 3, 3]
  return %0 as "logits", %1 as "out \"1\"", %"7" as "same", %3 as "last", %4 as "all", state %conv1.weight = %5
}
"#;

#[test]
fn the_example_comes_back_to_the_letter() {
    let graph = Graph::parse(EXAMPLE).unwrap_or_else(|errors| panic!("{errors}"));
    graph.verify().unwrap();
    assert_eq!(graph.to_string(), EXAMPLE);
    let paths: Vec<String> = graph.order().iter().map(|&id| graph.node(id).origin.path.to_string()).collect();
    assert_eq!(paths[4..7], ["conv1", "", "layer 1.0/backward"]);
}

#[test]
fn names_and_types_are_free_when_reading() {
    let text = r#"
        // Types may be left out, and values may have names.
        graph @f(%x: f32[2]) { %y = exp %x %z = mul %y, %x return %z as "z" }
    "#;
    let printed = Graph::parse(text).unwrap().to_string();
    assert_eq!(
        printed,
        "graph @f(%x: f32[2]) {\n  %0 = exp %x : f32[2]\n  %1 = mul %0, %x : f32[2]\n  return %1 as \"z\"\n}\n"
    );
}

#[test]
fn dead_nodes_and_numbering_do_not_print() {
    let mut graph = Graph::new("g");
    let x = graph.add_parameter("x", Role::Data, Type::new(DType::F32, [2]));
    let mut b = Builder::new(&mut graph, Origin::default());
    b.function(Function::Sin, x).unwrap();
    let y = b.function(Function::Cos, x).unwrap();
    graph.add_output("y", Role::Data, y);
    let again = Graph::parse(&graph.to_string()).unwrap();
    assert_eq!(graph.to_string(), again.to_string());
    assert_eq!((graph.len(), again.len()), (3, 2));
}

#[test]
fn floats_keep_their_bits() {
    let bits = [0x7fc0_0001u32, 0xffc0_0000, 0x8000_0000, 1, 0x7f7f_ffff, 0x3dcc_cccd];
    let mut graph = Graph::new("bits");
    let tensor = Tensor::f32([6], bits.map(f32::from_bits));
    let value = Builder::new(&mut graph, Origin::default()).constant(tensor).unwrap();
    graph.add_output("v", Role::Data, value);
    let read = Graph::parse(&graph.to_string()).unwrap();
    let node = read.node(read.outputs()[0].value.node);
    let found = node.op.get().evaluate(&[], &node.types).unwrap().remove(0);
    for (i, bits) in bits.into_iter().enumerate() {
        assert!(matches!(found.get(i), Scalar::F32(v) if v.to_bits() == bits));
    }
}

fn errors(text: &str) -> String {
    Graph::parse(text).expect_err("a mistake").to_string()
}

/// Statements inside a graph with an `f32[2, 3]` called x.
fn wrong(statements: &str) -> String {
    errors(&format!("graph @g(%x: f32[2, 3]) {{\n{statements}\nreturn\n}}"))
}

#[test]
fn mistakes_are_told_with_their_place() {
    for (statements, message) in [
        ("%0 = rehsape %x {dims: [6]}", "line 2, column 6: unknown operator `rehsape`; there is `reshape`"),
        ("%0 = frobnicate %x", "line 2, column 6: unknown operator `frobnicate`"),
        (
            "%0 = reshape %x {dimz: [6]}",
            "line 2, column 6: reshape: the attribute `dims` is missing; found `dimz`",
        ),
        (
            "%0 = slice %x {start: [0, 0], limit: [1, 1], strides: [1, 1]}",
            "line 2, column 6: slice: unknown attribute `strides`; there is `stride`",
        ),
        (
            "%0 = reshape %x {dims: [6]} : f32[7]",
            "line 2, column 29: reshape gives f32[6], written is f32[7]",
        ),
        ("%0 = reshape %x {dims: [7]}", "line 2, column 6: reshape: f32[2, 3] has 6 elements, f32[7] has 7"),
        (
            "%0 = reshape %x {dims: [-1]}",
            "line 2, column 6: reshape: `dims` holds -1, sizes are not negative",
        ),
        ("%0 = reshape %x {dims: true}", "line 2, column 6: reshape: `dims` must be a list of integers"),
        ("%0 = exp %y", "line 2, column 10: %y is not assigned before"),
        ("%0 = exp %x\n%0 = exp %x", "line 3, column 1: %0 is assigned twice"),
        ("%0, %1 = exp %x", "line 2, column 10: exp gives 1 result, 2 are named"),
        ("%0 = add %x", "line 2, column 6: add: takes 2 operands, found 1"),
        ("%0 = exp %x,", "line 3, column 1: expected an operand (`%name`), found `return`"),
        ("%0 exp %x", "line 2, column 4: expected `=`, found `exp`"),
        ("0 = exp %x", "line 2, column 1: expected a statement (`%name = …`) or `return`, found `0`"),
        ("%0 = exp %x {a: 1, a: 2}", "line 2, column 20: the attribute `a` is given twice"),
        (
            "%0 = constant {value: f32[2] [1.0]}",
            "line 2, column 30: f32[2] has 2 elements, but 1 are written",
        ),
        (
            "%0 = constant {value: f32[200000000000] splat 1.0}",
            "line 2, column 41: the splat tensors of one text may have 67108864 elements together",
        ),
        (
            "%0 = iota {dtype: i32, dims: [4000000000000, 40000000], axis: 0}",
            "line 2, column 6: iota: i32[4000000000000, 40000000] is larger than the limit of 2^40 bytes",
        ),
        (
            "%0 = conv %x, %x {stride: [1, 1]}",
            "line 2, column 6: conv: operands need two axes more than the 2 (1 to 3) spatial ones that `stride` \
             lists, found f32[2, 3] and f32[2, 3]",
        ),
        (
            "%0 = random {distribution: gamma, dtype: f32, dims: [], stream: 0}",
            "line 2, column 6: random: `gamma` is no distribution; there are bits, uniform, normal",
        ),
    ] {
        assert_eq!(wrong(statements), message, "{statements}");
    }
    assert_eq!(errors(""), "line 1, column 1: expected `graph`, found the end of the text");
    assert_eq!(
        errors("graph @g(%x: f32[2], %x: f32[2]) { return }"),
        "line 1, column 22: two parameters are called %x"
    );
    assert_eq!(
        errors("graph @g() { return } x"),
        "line 1, column 23: expected the end of the text, found `x`"
    );
    assert_eq!(errors("graph @g(%x: f16[2]) { return }").split(',').next(), Some("line 1"));
}

#[test]
fn independent_mistakes_are_reported_together() {
    let found = wrong("%0 = exq %x\n%1 = mul %0, %x\n%2 = reshape %x {dims: [7]}\n%3 = exp %z");
    let lines: Vec<&str> = found.lines().map(|line| line.split(',').next().unwrap_or("")).collect();
    // Nothing is said of %1, which only suffers from %0.
    assert_eq!(lines, ["line 2", "line 4", "line 5"], "{found}");
}

#[test]
fn hostile_texts_are_errors() {
    let deep = "graph @g() {\n%0 = fused {body: ".repeat(100_000);
    assert_eq!(errors(&deep), "line 66, column 19: regions nest deeper than 64");
    let lists = format!("graph @g() {{\n%0 = iota {{dims: {}", "[".repeat(100_000));
    assert_eq!(errors(&lists), "line 2, column 26: lists nest deeper than 8");
    let many = "%q = nothing\n".repeat(1000).replace("%q", "%0");
    assert!(wrong(&many).lines().count() <= 50);
    let unknown: String = (0..1000).map(|i| format!("%{i} = nothing\n")).collect();
    assert_eq!(wrong(&unknown).lines().count(), 50);
    for text in
        ["graph @g(%x: f32[99999999999999999999]) {", "graph @g(%x: f32[2]) { %0 = exp %x {a: [1, {", "\u{0}"]
    {
        errors(text);
    }
}

/// A text cut off or damaged anywhere is an error or another graph, never a panic.
#[test]
fn damaged_texts_never_panic() {
    for end in 0..EXAMPLE.len() {
        if EXAMPLE.is_char_boundary(end) {
            assert!(Graph::parse(&EXAMPLE[..end]).is_err() || end + 2 > EXAMPLE.len());
        }
    }
    let mut rng = common::Rng(7);
    for _ in 0..3000 {
        let mut bytes = EXAMPLE.as_bytes().to_vec();
        for _ in 0..=rng.below(3) {
            let at = rng.below(bytes.len());
            match rng.below(3) {
                0 => bytes[at] = b" %@{}[](),:=0123456789-.\"af"[rng.below(27)],
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, bytes[rng.below(bytes.len())]),
            }
        }
        if let Ok(text) = String::from_utf8(bytes)
            && let Ok(graph) = Graph::parse(&text)
        {
            let _ = graph.verify();
            graph.to_string();
        }
    }
}

#[test]
fn a_hundred_thousand_nodes_in_one_chain() {
    let mut graph = Graph::new("deep");
    let mut value = graph.add_parameter("x", Role::Data, Type::new(DType::F32, [1]));
    for i in 0..100_000 {
        let mut b = Builder::new(&mut graph, Origin::new(&format!("layer{i}")));
        value = if i % 2 == 0 { b.neg(value).unwrap() } else { b.mul(value, value).unwrap() };
    }
    graph.add_output("y", Role::Data, value);
    let text = graph.to_string();
    let read = Graph::parse(&text).unwrap();
    assert!(read == graph && read.to_string() == text);
    read.verify().unwrap();
}
