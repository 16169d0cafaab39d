//! Every operator: where it keeps samples apart, sums them, or mixes them. What is said to be apart or a sum is compared
//! with the samples one by one.

use std::collections::{BTreeMap, BTreeSet};

use brolga_ir::graph::Graph;
use brolga_ir::interpret::interpret;
use brolga_ir::ops::{Op, Role};
use brolga_ir::scalar::{Scalar, ScalarOp};
use brolga_ir::{DType, Tensor, Type};

use super::share::Share;
use super::shares;

/// What all rows may read; `1B` is the size of the batch, `3B` three times that.
const PARAMETERS: &str = "%x: f32[1B, 4, 3], %y: f32[1B, 4, 3], %v: f32[1B], %u: f32[1B], %i: i32[1B], %j: i32[1B, 2, 3], \
    %q: f32[1B, 2, 6, 6], state %k: i32[2], state %w: f32[3, 5], state %b: f32[4, 3], state %s: f32[], \
    state %f: f32[3, 2, 3, 3], state %p: f32[1, 2, 6, 6], state %n: i64[]";

/// Statements that end in `%r`, and what that is: `fixed`, `apart` along an axis, a `sum`, or `mixed`.
const ROWS: &[(&str, &str)] = &[
    ("%r = constant {value: f32[] [2.0]}", "fixed"),
    ("%r = constant {value: f32[1B] splat 1.0}", "apart 0"),
    ("%r = constant {value: f32[1B, 1B] splat 1.0}", "mixed"),
    ("%r = iota {dtype: i32, dims: [1B, 4], axis: 1}", "apart 0"),
    ("%r = iota {dtype: i32, dims: [1B, 4], axis: 0}", "mixed"),
    ("%r = random %n, %n {stream: 1, distribution: uniform, dtype: f32, dims: [1B, 4]}", "apart 0"),
    ("%r = random %n, %n {stream: 1, distribution: uniform, dtype: f32, dims: [1B, 1B]}", "mixed"),
    ("%r = add %x, %y", "apart 0"),
    ("%a = transpose %x {axes: [1, 0, 2]} %c = transpose %y {axes: [1, 0, 2]} %r = mul %a, %c", "apart 1"),
    ("%a = reverse %v {axes: [0]} %r = add %a, %v", "mixed"),
    ("%r = exp %s", "fixed"),
    // What is the same for all goes with samples in any order.
    ("%a = concat %v, %u {axis: 0} %c = broadcast %s {dims: [2B], axes: []} %r = sub %a, %c", "apart 0"),
    ("%a = concat %v, %u {axis: 0} %c = reshape %a {dims: [2B, 1]} %r = reshape %c {dims: [2B]}", "apart 0"),
    // The difference from the mean.
    ("%a = reduce_add %v {axes: [0]} %c = broadcast %a {dims: [1B], axes: []} %r = sub %v, %c", "mixed"),
    // The samples of one operand beside all of the other.
    (
        "%a = broadcast %v {dims: [1B, 1B], axes: [0]} %c = broadcast %v {dims: [1B, 1B], axes: [1]} %r = sub %a, %c",
        "mixed",
    ),
    ("%r = stop_gradient %x", "apart 0"),
    ("%r = broadcast %v {dims: [1B, 7], axes: [0]}", "apart 0"),
    ("%r = broadcast %v {dims: [7, 1B], axes: [1]}", "apart 1"),
    ("%r = broadcast %s {dims: [5, 1B], axes: []}", "apart 1"),
    ("%r = broadcast %v {dims: [1B, 1B], axes: [0]}", "mixed"),
    ("%r = reshape %x {dims: [12B]}", "apart 0"),
    ("%r = reshape %x {dims: [4B, 3]}", "apart 0"),
    ("%a = transpose %x {axes: [1, 0, 2]} %r = reshape %a {dims: [4, 3B]}", "apart 1"),
    ("%a = transpose %x {axes: [1, 0, 2]} %r = reshape %a {dims: [12B]}", "apart 0"),
    (
        "%a = transpose %x {axes: [1, 0, 2]} %c = reshape %a {dims: [12B]} %r = reshape %c {dims: [4, 1B, 3]}",
        "apart 1",
    ),
    ("%r = reshape %x {dims: [4, 1B, 3]}", "mixed"),
    ("%r = reshape %x {dims: [3, 4B]}", "mixed"),
    ("%r = transpose %x {axes: [2, 1, 0]}", "apart 2"),
    ("%r = slice %x {start: [0, 1, 0], limit: [1B, 3, 3]}", "apart 0"),
    ("%r = slice %x {start: [1, 0, 0], limit: [1B, 4, 3]}", "mixed"),
    ("%r = slice %v {start: [0], limit: [1B], stride: [2]}", "mixed"),
    ("%r = slice %v {start: [0], limit: [1]}", "mixed"),
    ("%a = concat %x, %y {axis: 0} %r = slice %a {start: [1B, 0, 0], limit: [2B, 4, 3]}", "apart 0"),
    ("%a = reshape %x {dims: [12B]} %r = slice %a {start: [1B], limit: [2B]}", "mixed"),
    ("%r = reverse %x {axes: [1, 2]}", "apart 0"),
    ("%r = reverse %x {axes: [0]}", "mixed"),
    ("%r = pad %x, %s {low: [0, 1, 0], high: [0, 0, 2]}", "apart 0"),
    ("%r = pad %x, %s {low: [1, 0, 0], high: [0, 0, 0]}", "mixed"),
    ("%r = concat %x, %y {axis: 2}", "apart 0"),
    ("%r = concat %x, %y, %x {axis: 0}", "apart 0"),
    ("%a = reshape %b {dims: [1, 4, 3]} %r = concat %x, %a {axis: 0}", "mixed"),
    ("%r = gather %w, %i {axis: 0}", "apart 0"),
    ("%r = gather %w, %i {axis: 1}", "apart 1"),
    ("%r = gather %x, %k {axis: 1}", "apart 0"),
    ("%a = transpose %x {axes: [1, 0, 2]} %r = gather %a, %k {axis: 0}", "apart 1"),
    ("%r = gather %x, %k {axis: 0}", "mixed"),
    ("%r = gather %v, %i {axis: 0}", "mixed"),
    ("%r = gather_along %x, %j {axis: 1}", "apart 0"),
    ("%a = reshape %w {dims: [15]} %r = gather_along %a, %i {axis: 0}", "apart 0"),
    ("%r = gather_along %v, %i {axis: 0}", "mixed"),
    ("%a = gather %x, %k {axis: 1} %r = scatter_add %x, %k, %a {axis: 1}", "apart 0"),
    ("%a = gather %x, %k {axis: 1} %r = scatter_set %x, %k, %a {axis: 1}", "apart 0"),
    ("%a = gather %x, %k {axis: 1} %r = scatter_max %x, %k, %a {axis: 1}", "apart 0"),
    ("%a = gather %x, %k {axis: 1} %r = scatter_min %x, %k, %a {axis: 1}", "apart 0"),
    ("%a = gather %w, %i {axis: 0} %r = scatter_add %w, %i, %a {axis: 0}", "mixed"),
    ("%a = gather %w, %i {axis: 0} %r = scatter_set %w, %i, %a {axis: 0}", "mixed"),
    ("%a = gather %w, %i {axis: 0} %r = scatter_max %w, %i, %a {axis: 0}", "mixed"),
    ("%a = gather %w, %i {axis: 0} %r = scatter_min %w, %i, %a {axis: 0}", "mixed"),
    ("%a = gather_along %x, %j {axis: 1} %r = scatter_add_along %x, %j, %a {axis: 1}", "apart 0"),
    ("%a = gather_along %x, %j {axis: 1} %r = scatter_set_along %x, %j, %a {axis: 1}", "apart 0"),
    ("%a = gather_along %x, %j {axis: 1} %r = scatter_max_along %x, %j, %a {axis: 1}", "apart 0"),
    ("%a = gather_along %x, %j {axis: 1} %r = scatter_min_along %x, %j, %a {axis: 1}", "apart 0"),
    ("%r = scatter_add_along %v, %i, %v {axis: 0}", "mixed"),
    ("%r = scatter_set_along %v, %i, %v {axis: 0}", "mixed"),
    ("%r = scatter_max_along %v, %i, %v {axis: 0}", "mixed"),
    ("%r = scatter_min_along %v, %i, %v {axis: 0}", "mixed"),
    ("%r = reduce_add %x {axes: [1]}", "apart 0"),
    ("%a = transpose %x {axes: [1, 0, 2]} %r = reduce_add %a {axes: [0]}", "apart 0"),
    ("%r = reduce_mul %x {axes: [1, 2]}", "apart 0"),
    ("%r = reduce_max %x {axes: [2]}", "apart 0"),
    ("%r = reduce_min %x {axes: [2]}", "apart 0"),
    ("%a = gt %x, %y %r = reduce_and %a {axes: [1]}", "apart 0"),
    ("%a = gt %x, %y %r = reduce_or %a {axes: [1]}", "apart 0"),
    ("%r = reduce_add %x {axes: [0]}", "sum"),
    ("%r = reduce_add %x {axes: [0, 1, 2]}", "sum"),
    ("%a = reduce_add %x {axes: [0, 1]} %r = reduce_add %a {axes: [0]}", "sum"),
    ("%r = reduce_mul %x {axes: [0]}", "mixed"),
    ("%r = reduce_max %x {axes: [0, 1]}", "mixed"),
    ("%r = reduce_min %x {axes: [0]}", "mixed"),
    ("%a = gt %x, %y %r = reduce_and %a {axes: [0]}", "mixed"),
    ("%a = gt %x, %y %r = reduce_or %a {axes: [0]}", "mixed"),
    ("%r = reduce_window_add %x {window: [1, 2, 1], stride: [1, 1, 1]}", "apart 0"),
    ("%r = reduce_window_max %x {window: [1, 2, 1], stride: [1, 2, 1]}", "apart 0"),
    ("%r = reduce_window_min %x {window: [1, 2, 3], stride: [1, 1, 1]}", "apart 0"),
    ("%r = reduce_window_add %v {window: [1], stride: [2]}", "mixed"),
    ("%r = reduce_window_max %v {window: [2], stride: [1], padding: [[1, 0]]}", "mixed"),
    ("%r = reduce_window_min %v {window: [2], stride: [1], padding: [[0, 1]]}", "mixed"),
    (
        "%d = reduce_window_add %y {window: [1, 2, 1], stride: [1, 1, 1]} %r = reduce_window_max_scatter %x, %d {window: [1, 2, 1], stride: [1, 1, 1]}",
        "apart 0",
    ),
    (
        "%d = reduce_window_add %y {window: [1, 2, 1], stride: [1, 1, 1]} %r = reduce_window_min_scatter %x, %d {window: [1, 2, 1], stride: [1, 1, 1]}",
        "apart 0",
    ),
    ("%r = reduce_window_max_gather %x, %y {window: [1, 2, 1], stride: [1, 1, 1]}", "apart 0"),
    ("%r = reduce_window_min_gather %x, %y {window: [1, 2, 1], stride: [1, 1, 1]}", "apart 0"),
    ("%r = reduce_window_max_scatter %v, %u {window: [2], stride: [1], padding: [[1, 0]]}", "mixed"),
    ("%r = reduce_window_min_scatter %v, %u {window: [2], stride: [1], padding: [[1, 0]]}", "mixed"),
    ("%r = reduce_window_max_gather %v, %u {window: [2], stride: [1], padding: [[1, 0]]}", "mixed"),
    ("%r = reduce_window_min_gather %v, %u {window: [2], stride: [1], padding: [[1, 0]]}", "mixed"),
    ("%r = dot %x, %w {contract: [[2], [0]]}", "apart 0"),
    ("%r = dot %w, %x {contract: [[0], [2]]}", "apart 1"),
    ("%r = dot %b, %x {batch: [[1], [2]], contract: [[0], [1]]}", "apart 1"),
    ("%r = dot %x, %y {batch: [[0], [0]], contract: [[2], [2]]}", "apart 0"),
    ("%r = dot %x, %y {batch: [[1, 0], [1, 0]], contract: [[2], [2]]}", "apart 1"),
    ("%r = dot %x, %y {contract: [[0], [0]]}", "sum"),
    ("%r = dot %v, %u {contract: [[0], [0]]}", "sum"),
    ("%r = dot %x, %y {contract: [[1, 2], [1, 2]]}", "mixed"),
    ("%r = dot %v, %u {contract: [[], []]}", "mixed"),
    ("%a = reverse %u {axes: [0]} %r = dot %v, %a {contract: [[0], [0]]}", "mixed"),
    ("%r = conv %q, %f {stride: [1, 1]}", "apart 0"),
    ("%g = slice %q {start: [0, 0, 0, 0], limit: [1B, 2, 3, 3]} %r = conv %p, %g {stride: [1, 1]}", "mixed"),
    (
        "%d = conv %q, %f {stride: [1, 1]} %r = conv_input_gradient %d, %f {size: [6, 6], stride: [1, 1]}",
        "apart 0",
    ),
    (
        "%g = slice %q {start: [0, 0, 0, 0], limit: [1B, 2, 3, 3]} %d = conv %p, %g {stride: [1, 1]}
         %r = conv_input_gradient %d, %g {size: [6, 6], stride: [1, 1]}",
        "mixed",
    ),
    (
        "%d = conv %p, %f {stride: [1, 1]} %r = conv_weight_gradient %p, %d {kernel: [3, 3], stride: [1, 1]}",
        "fixed",
    ),
    (
        "%d = conv %q, %f {stride: [1, 1]} %r = conv_weight_gradient %q, %d {kernel: [3, 3], stride: [1, 1]}",
        "mixed",
    ),
    ("%r = cumulative_add %x {axis: 1}", "apart 0"),
    ("%r = cumulative_mul %x {axis: 1}", "apart 0"),
    ("%r = cumulative_max %x {axis: 2}", "apart 0"),
    ("%r = cumulative_min %x {axis: 2}", "apart 0"),
    ("%r = cumulative_add %x {axis: 0}", "mixed"),
    ("%r = cumulative_mul %v {axis: 0}", "mixed"),
    ("%r = cumulative_max %v {axis: 0}", "mixed"),
    ("%r = cumulative_min %v {axis: 0}", "mixed"),
    ("%r = sort %x {axis: 1}", "apart 0"),
    ("%r = sort %v {axis: 0}", "mixed"),
    ("%a = mul %x, %y %c = reduce_add %a {axes: [0, 1, 2]} %r = gradient %c, %x", "apart 0"),
    (
        "%a = dot %x, %w {contract: [[2], [0]]} %c = reduce_add %a {axes: [0, 1, 2]} %r = gradient %c, %w",
        "sum",
    ),
    ("%a = reduce_add %x {axes: [0, 1, 2]} %c = mul %a, %a %r = gradient %c, %x", "mixed"),
    ("%a = mul %x, %x %r = jvp %a, %x, %y {outputs: 1}", "apart 0"),
    ("%a = reduce_add %v {axes: [0]} %c = mul %a, %a %r = jvp %c, %v, %u {outputs: 1}", "mixed"),
    ("%r = fused %s {body: graph @f(%a: f32[]) { %m = exp %a return %m as \"m\" }}", "fixed"),
    ("%r = fused %v {body: graph @f(%a: f32[1B]) { %m = exp %a return %m as \"m\" }}", "mixed"),
    (
        "%r = scan %s {length: 3, carries: 1, slices: 0, body: graph @f(%a: f32[]) { %m = sin %a return %m as \"m\" }}",
        "fixed",
    ),
    (
        "%r = scan %v {length: 3, carries: 1, slices: 0, body: graph @f(%a: f32[1B]) { %m = sin %a return %m as \"m\" }}",
        "apart 0",
    ),
    // A carry that begins the same for all samples, and a slice for each step.
    (
        "%c = broadcast %s {dims: [1B, 3], axes: []} %t = transpose %x {axes: [1, 0, 2]}
         %r = scan %c, %t, %v {length: 4, carries: 1, slices: 1, body: graph @f(%a: f32[1B, 3], %e: f32[1B, 3], %g: f32[1B]) {
            %h = broadcast %g {dims: [1B, 3], axes: [0]} %k = mul %e, %h %m = add %a, %k return %m as \"m\" }}",
        "apart 0",
    ),
    // One sample for each step, and one that reads another one in its second step.
    (
        "%r = scan %s, %v {length: 1B, carries: 1, slices: 1, body: graph @f(%a: f32[], %e: f32[]) {
            %m = add %a, %e return %m as \"m\" }}",
        "mixed",
    ),
    (
        "%r, %z = scan %v, %u {length: 2, carries: 2, slices: 0, body: graph @f(%a: f32[1B], %e: f32[1B]) {
            %m = reverse %a {axes: [0]} return %e as \"m\", %m as \"n\" }}",
        "mixed",
    ),
    (
        "%r = while %s {carries: 1, limit: 3,
            condition: graph @c(%a: f32[]) { %m = constant {value: bool[] [true]} return %m as \"m\" },
            body: graph @f(%a: f32[]) { %m = sin %a return %m as \"m\" }}",
        "fixed",
    ),
    (
        "%r = while %v {carries: 1, limit: 3,
            condition: graph @c(%a: f32[1B]) { %m = constant {value: bool[] [true]} return %m as \"m\" },
            body: graph @f(%a: f32[1B]) { %m = sin %a return %m as \"m\" }}",
        "mixed",
    ),
    (
        "%t = constant {value: bool[] [true]} %r = cond %t, %s {
            then: graph @then(%a: f32[]) { %m = sin %a return %m as \"m\" },
            otherwise: graph @otherwise(%a: f32[]) { %m = exp %a return %m as \"m\" }}",
        "fixed",
    ),
    (
        "%t = constant {value: bool[] [true]} %r = cond %t, %v {
            then: graph @then(%a: f32[1B]) { %m = sin %a return %m as \"m\" },
            otherwise: graph @otherwise(%a: f32[1B]) { %m = exp %a return %m as \"m\" }}",
        "mixed",
    ),
];

fn graph(statements: &str, batch: usize) -> Graph {
    let mut text = format!("graph @g({PARAMETERS}) {{ {statements} return %r as \"r\" }}");
    for times in [12, 4, 3, 2, 1] {
        text = text.replace(&format!("{times}B"), &(times * batch).to_string());
    }
    let graph = Graph::parse(&text).unwrap_or_else(|errors| panic!("{errors}\n{text}"));
    graph.verify().unwrap_or_else(|errors| panic!("{errors}\n{text}"));
    graph
}

fn share(statements: &str) -> Share {
    let (one, two) = (graph(statements, 46), graph(statements, 92));
    let [r, twice] = [&one, &two].map(|graph| vec![graph.outputs()[0].value]);
    shares((&one, &r), (&two, &twice), 46).expect("one structure")[&r[0]]
}

/// A parameter for so many samples from `first` on.
fn value(name: &str, ty: &Type, samples: std::ops::Range<usize>, is_input: bool) -> Tensor {
    let size: usize = if is_input { ty.dims[1..].iter().product() } else { 0 };
    let seed = name.bytes().map(usize::from).sum::<usize>();
    let ty = if is_input { ty.with_dims([&[samples.len()], &ty.dims[1..]].concat()) } else { ty.clone() };
    Tensor::generate(&ty, |at| {
        let number = (at + samples.start * size) * 7919 + seed * 31;
        match ty.dtype {
            DType::F32 => Scalar::F32((number % 101) as f32 / 50.0 - 1.0),
            dtype => Scalar::from_i64(dtype, (number % 2) as i64),
        }
    })
}

fn run(statements: &str, samples: std::ops::Range<usize>) -> Tensor {
    let graph = graph(statements, samples.len());
    let parameters: Vec<Tensor> = (graph.parameters().iter())
        .map(|&id| {
            let parameter = graph.parameter(id).expect("a parameter");
            value(&parameter.name, &parameter.ty, samples.clone(), parameter.role == Role::Data)
        })
        .collect();
    interpret(&graph, &parameters.iter().collect::<Vec<_>>()).expect("runs").remove(0)
}

/// The elements of `whole` that belong to one of `samples`, in order.
fn of_sample(whole: &Tensor, along: super::share::Along, sample: usize, samples: usize) -> Vec<f64> {
    let dims = whole.dims();
    let step: usize = dims[along.axis + 1..].iter().product();
    let belongs = |at: &usize| at / step % dims[along.axis] / along.inner % samples == sample;
    (0..whole.elements()).filter(belongs).map(|at| whole.get(at).to_f64()).collect()
}

fn numbers(tensor: &Tensor) -> Vec<f64> {
    (0..tensor.elements()).map(|at| tensor.get(at).to_f64()).collect()
}

#[test]
fn every_operator_has_its_rule() {
    const SAMPLES: usize = 4;
    for (statements, expected) in ROWS {
        let found = share(statements);
        let said = match found {
            Share::Fixed(Some(1.0)) => "fixed".to_owned(),
            Share::Samples { along, .. } => format!("apart {}", along.axis),
            Share::Linear(Some(2.0)) => "sum".to_owned(),
            Share::Mixed => "mixed".to_owned(),
            other => format!("{other:?}"),
        };
        assert_eq!(said, *expected, "{statements}: {found:?}");
        // Derivatives have no value yet, and draws go by the position.
        if ["= gradient", "= jvp", "= random"].iter().any(|name| statements.contains(name)) {
            continue;
        }
        let alone: Vec<Vec<f64>> = (0..SAMPLES)
            .filter(|_| *expected != "mixed")
            .map(|at| numbers(&run(statements, at..at + 1)))
            .collect();
        match found {
            Share::Samples { along, .. } => {
                let whole = run(statements, 0..SAMPLES);
                for (sample, alone) in alone.iter().enumerate() {
                    assert_eq!(
                        of_sample(&whole, along, sample, SAMPLES),
                        *alone,
                        "{statements}: sample {sample}"
                    );
                }
            }
            Share::Linear(_) => {
                let whole = numbers(&run(statements, 0..SAMPLES));
                for (at, whole) in whole.iter().enumerate() {
                    let sum: f64 = alone.iter().map(|one| one[at]).sum();
                    assert!((sum - whole).abs() < 1e-5, "{statements}: {sum}, not {whole}");
                }
            }
            Share::Fixed(_) => assert!(alone.iter().all(|one| *one == alone[0]), "{statements}"),
            Share::Mixed => {}
        }
    }
}

#[test]
fn every_operator_has_rows() {
    let elementwise: BTreeSet<&str> = ScalarOp::all().map(ScalarOp::name).collect();
    let others = ["parameter", "convert", "bitcast"];
    let mut kinds: BTreeMap<&str, BTreeSet<bool>> = BTreeMap::new();
    for name in Op::names() {
        if elementwise.contains(name) || others.contains(&name) {
            continue;
        }
        let rows = ROWS.iter().filter(|(statements, _)| {
            let last = &statements[statements.find("%r").expect("a result")..];
            last.split(' ').nth(2) == Some(name)
        });
        kinds.insert(name, rows.map(|(_, expected)| *expected == "mixed").collect());
    }
    // These keep everything where it is, or add it up.
    let never = ["stop_gradient", "transpose", "reduce_add"];
    for (name, kinds) in kinds {
        let wanted = if never.contains(&name) { 1 } else { 2 };
        assert_eq!(kinds.len(), wanted, "rows of `{name}`, mixed and not");
    }
}
