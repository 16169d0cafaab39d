//! Broken texts of graphs and of kernel programs.

use super::{Row, row};

fn graph(name: &'static str, text: impl Into<Vec<u8>>) -> Row {
    row(name, "opt --passes fuse f.ir", vec![("f.ir", text.into())])
}

/// A graph of an `f32[2, 3]` with these statements.
fn statements(name: &'static str, statements: &str) -> Row {
    graph(name, format!("graph @f(%x: f32[2, 3]) {{\n{statements}\n  return %y as \"y\"\n}}\n"))
}

pub fn graphs() -> Vec<Row> {
    let good = "graph @f(%x: f32[2, 3]) {\n  %y = exp %x\n  return %y as \"y\"\n}\n";
    let on =
        |name, passes: &str| row(name, &format!("opt --passes {passes} f.ir"), vec![("f.ir", good.into())]);
    vec![
        graph("empty file", ""),
        graph("truncated", &good[..good.len() / 2]),
        graph("not UTF-8", b"graph @f(%x: f32[2]) {\n  // \xc3\x28\n}".to_vec()),
        graph("null bytes", vec![0; 64]),
        statements("an unknown operator", "  %y = exq %x"),
        statements("an unknown attribute", "  %y = reduce_add %x {axes: [1], keep: true}"),
        statements("a cycle", "  %a = add %b, %x\n  %b = neg %a\n  %y = exp %b"),
        statements("a name assigned twice", "  %y = exp %x\n  %y = neg %x"),
        statements("shapes that do not fit", "  %t = transpose %x {axes: [1, 0]}\n  %y = add %x, %t"),
        statements("a type that is not what the operator gives", "  %y = exp %x : f32[3, 2]"),
        statements("an axis that is not there", "  %y = reduce_add %x {axes: [7]}"),
        statements("an axis of 2^63", "  %y = reduce_add %x {axes: [9223372036854775808]}"),
        statements("an axis given twice", "  %y = reduce_add %x {axes: [1, 1]}"),
        statements("a constant of 10^12 elements", "  %y = constant {value: f32[1000000000000] splat 0.0}"),
        statements(
            "an iota of 10^12 elements that is written out by folding",
            "  %y = iota {dtype: f32, dims: [1000000000000000000], axis: 0}",
        ),
        statements(
            "padding by 2^62",
            "  %z = constant {value: f32[] [0.0]}\n  %y = pad %x, %z {low: [4611686018427387904, 0], high: [4611686018427387904, 0], interior: [0, 0]}",
        ),
        statements(
            "a window of stride 0",
            "  %y = reduce_window_max %x {window: [1, 2], stride: [1, 0], padding: [[0, 0], [0, 0]]}",
        ),
        statements(
            "a division of extents by zero groups",
            "  %i = reshape %x {dims: [1, 2, 3]}\n  %y = conv %i, %i {stride: [1], groups: 0}",
        ),
        statements(
            "a scan of a length that its slices do not have",
            "  %y, %z = scan %x {length: 7, carries: 0, slices: 1, body: graph @b(%a: f32[3]) { return %a as \"a\", %a as \"b\" }}",
        ),
        graph("a parameter given twice", "graph @f(%x: f32[2], %x: f32[2]) { return %x as \"x\" }"),
        graph("an output given twice", "graph @f(%x: f32[2]) { return %x as \"y\", %x as \"y\" }"),
        graph("state updated that is not there", "graph @f(%x: f32[2]) { return state %w = %x }"),
        graph("state of another type", "graph @f(%x: f32[2], state %w: f32[3]) { return state %w = %x }"),
        graph(
            "a parameter of 10^24 elements",
            "graph @f(%x: f32[1000000000000, 1000000000000]) { return %x as \"x\" }",
        ),
        graph("a size that is not a number", "graph @f(%x: f32[nan]) { return %x as \"x\" }"),
        graph("a negative size", "graph @f(%x: f32[-2]) { return %x as \"x\" }"),
        graph(
            "a hundred thousand axes",
            format!("graph @f(%x: f32[1{}]) {{ return %x as \"x\" }}", ", 1".repeat(99_999)),
        ),
        graph("an unknown type", "graph @f(%x: f16[2]) { return %x as \"x\" }"),
        graph("regions nested 100,000 deep", "graph @f() {\n%0 = fused {body: ".repeat(100_000)),
        graph(
            "lists nested 100,000 deep",
            format!("graph @f() {{\n%0 = iota {{dims: {}", "[".repeat(100_000)),
        ),
        graph(
            "a hundred thousand mistakes",
            format!("graph @f(%x: f32[2]) {{\n{}}}", "  %a = nothing %b\n".repeat(100_000)),
        ),
        row(
            "a derivative of what has none",
            "opt --passes grad f.ir",
            vec![(
                "f.ir",
                "graph @f(%x: i32[3]) {\n  %y = neg %x\n  %s = reduce_add %y {axes: [0]}\n  \
                 %g = gradient %s, %x\n  return %g as \"g\"\n}\n"
                    .into(),
            )],
        ),
        on("an unknown pass", "fues"),
        on("a program pass on a graph", "plan"),
        on("a graph pass on a program", "lower,fuse"),
        on("lowering twice", "lower,lower"),
    ]
}

const KERNELS: &str = "kernel @copy(p0: read f32[4], p1: write f32[4]) grid [] {
  for i0 in 0..4 {
    v0 = load p0[i0] : f32
    store p1[i0] = v0
  }
}
";

fn program(name: &'static str, buffers: &str, kernels: &str, schedule: &str) -> Row {
    let text = format!("program @f\n{buffers}\n{kernels}schedule {{\n{schedule}\n}}\n");
    row(name, "opt --passes vectorise,plan f.ir", vec![("f.ir", text.into())])
}

/// A program of a kernel with that body.
fn kernel(name: &'static str, body: &str) -> Row {
    let kernel = format!("kernel @k(p0: read f32[4], p1: write f32[4]) grid [2] {{\n{body}\n}}\n");
    program(name, BUFFERS, &kernel, "  call @k#0(%0, %1)")
}

const BUFFERS: &str = "  %0 input \"x\" f32[4]\n  %1 output \"y\" f32[4]";

pub fn programs() -> Vec<Row> {
    let calls = |name, schedule: &str| program(name, BUFFERS, KERNELS, schedule);
    let buffers = |name, buffers: &str| program(name, buffers, KERNELS, "  call @copy#0(%0, %1)");
    vec![
        program("truncated", BUFFERS, "kernel @k(p0: read", ""),
        kernel("a load behind the end", "  v0 = load p0[i0 + 3] : f32\n  store p1[i0] = v0"),
        kernel("a load before the beginning", "  v0 = load p0[i0 - 1] : f32\n  store p1[i0] = v0"),
        kernel(
            "an index of a value that is no integer",
            "  v0 = load p0[i0] : f32\n  v1 = load p0[v0] : f32\n  store p1[i0] = v1",
        ),
        kernel(
            "points of the grid that store the same element",
            "  v0 = load p0[i0] : f32\n  store p1[0] = v0",
        ),
        kernel("a value that is not assigned", "  store p1[i0] = v7"),
        kernel("an unknown operation", "  v0 = load p0[i0] : f32\n  v1 = sinn v0 : f32\n  store p1[i0] = v1"),
        kernel(
            "an index that overflows",
            "  for i1 in 0..4611686018427387904 {\n    v0 = load p0[9223372036854775807*i1] : f32\n  }",
        ),
        kernel(
            "loops nested 100,000 deep",
            &(0..100_000).map(|i| format!("for i{} in 0..2 {{\n", i + 1)).collect::<String>(),
        ),
        kernel("an index nested 100,000 deep", &format!("  v0 = load p0[{}i0", "(".repeat(100_000))),
        kernel(
            "a tile outside of its operand",
            "  tile [2, 2] p1[2*i0; 2] = p0[0; 2] * p0[0] over (9; 1, 2) : f32",
        ),
        kernel("a loop of 10^30 iterations", "  for i1 in 0..1000000000000000000000000000000 {\n  }"),
        calls("a kernel that is not there", "  call @copy#5(%0, %1)"),
        calls("a buffer that is not there", "  call @copy#0(%0, %9)"),
        calls("too few arguments", "  call @copy#0(%0)"),
        calls("a write to an input", "  call @copy#0(%1, %0)"),
        calls("a schedule that walks off its buffer", "  loop 10 {\n    call @copy#0(%0 by [4], %1)\n  }"),
        buffers(
            "two buffers of one name",
            "  %0 input \"x\" f32[4]\n  %1 output \"y\" f32[4]\n  %2 output \"y\" f32[4]",
        ),
        buffers("a buffer of another type", "  %0 input \"x\" i32[4]\n  %1 output \"y\" f32[4]"),
        buffers(
            "a buffer of 10^24 elements",
            "  %0 input \"x\" f32[1000000000000, 1000000000000]\n  %1 output \"y\" f32[4]",
        ),
        buffers(
            "an arena that does not hold its buffers",
            "  arena 64 bytes\n  %0 input \"x\" f32[4]\n  %1 output \"y\" f32[4]\n  %2 arena \"a\" f32[400] at 0",
        ),
        buffers(
            "a constant of too few elements",
            "  %0 constant \"x\" f32[4] [1.0, 2.0]\n  %1 output \"y\" f32[4]",
        ),
    ]
}
