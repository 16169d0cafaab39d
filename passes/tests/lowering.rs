//! From graphs to programs: the program's exact interpreter agrees with the graph's reference interpreter.

mod convolutions;
mod packing;

use std::collections::HashMap;

use brolga_ir::choice::Algorithm;
use brolga_ir::graph::Origin;
use brolga_ir::interpret::interpret;
use brolga_ir::ops::{
    Cumulative, Dot, Gather, GatherAlong, ReduceWindow, Reverse, Role, Scan, Scatter, ScatterAlong,
    ScatterMode, SelectForm, Sort, WindowSelect,
};
use brolga_ir::program::interpret::{GridOrder, Interpreter};
use brolga_ir::program::{Arg, Combine, Place, Step};
use brolga_ir::scalar::{Comparison, Function, Scalar};
use brolga_ir::{Builder, DType, Graph, GraphError, Tensor, Type, Value};
use brolga_passes::program::{forward, parallelise, plan, vectorise};
use brolga_passes::{fuse, lower};

/// Numbers in -1..1 that repeat late.
fn tensor(ty: &Type, salt: u64) -> Tensor {
    let mut random = crate::common::lcg::Lcg::new(salt);
    Tensor::generate(ty, |_| {
        let unit = random.unit();
        match ty.dtype {
            dtype if dtype.is_float() => Scalar::from_f64(dtype, unit),
            dtype => Scalar::from_i64(dtype, (unit * 10.0) as i64),
        }
    })
}

/// Lowers with and without fusion; every stage of every way agrees with the reference.
fn check(graph: &Graph, tolerance: f64) {
    let types: Vec<(Role, Type)> = graph
        .parameters()
        .iter()
        .map(|&id| (graph.parameter(id).expect("a parameter").role, graph.node(id).types[0].clone()))
        .collect();
    let values: Vec<Tensor> = types.iter().zip(1..).map(|((_, ty), salt)| tensor(ty, salt)).collect();
    let expected = interpret(graph, &values.iter().collect::<Vec<_>>()).expect("the reference runs");
    let mut fused = graph.clone();
    fuse::fuse(&mut fused).expect("fuse");
    for graph in [graph, &fused] {
        let mut program = lower::lower(graph, &HashMap::new()).expect("lower");
        for stage in 0..5 {
            match stage {
                1 => drop(vectorise::vectorise(&mut program)),
                2 => drop(parallelise::parallelise(&mut program, &Default::default()).expect("parallelise")),
                3 => drop(forward::forward(&mut program)),
                4 => drop(plan::plan(&mut program)),
                _ => {}
            }
            for order in [GridOrder::Forward, GridOrder::Reverse] {
                let of = |wanted: Role| {
                    types
                        .iter()
                        .zip(&values)
                        .filter(move |((role, _), _)| *role == wanted)
                        .map(|(_, v)| v.clone())
                };
                let inputs: Vec<Tensor> = of(Role::Data).collect();
                let mut state: Vec<Tensor> = of(Role::State).collect();
                let names: Vec<String> = graph
                    .parameters()
                    .iter()
                    .filter_map(|&id| graph.parameter(id).filter(|p| p.role == Role::State))
                    .map(|p| p.name.clone())
                    .collect();
                let run = Interpreter::new(&program).expect("interpreter").with_order(order);
                let outputs = run.run(&inputs, &mut state).unwrap_or_else(|e| panic!("stage {stage}: {e}"));
                let mut outputs = outputs.into_iter();
                for (output, expected) in graph.outputs().iter().zip(&expected) {
                    let found = match output.role {
                        Role::Data => outputs.next().expect("an output"),
                        Role::State => {
                            state[names.iter().position(|n| *n == output.name).expect("a state")].clone()
                        }
                    };
                    compare(&output.name, stage, &found, expected, tolerance);
                }
            }
        }
    }
}

fn compare(name: &str, stage: usize, found: &Tensor, expected: &Tensor, tolerance: f64) {
    assert_eq!(found.ty(), expected.ty());
    let largest = (0..expected.elements()).map(|i| expected.get(i).to_f64().abs()).fold(1e-3, f64::max);
    for i in 0..expected.elements() {
        let (f, e) = (found.get(i).to_f64(), expected.get(i).to_f64());
        let close = (f - e).abs() <= tolerance * largest || (f.is_nan() && e.is_nan()) || f == e;
        assert!(close, "{name}[{i}] after stage {stage}: {f}, expected {e}");
    }
}

/// A graph over f32 inputs of those extents; outputs by name.
fn graph(
    inputs: &[&[usize]],
    build: impl Fn(&mut Builder, &[Value]) -> Result<Vec<Value>, GraphError>,
) -> Graph {
    let mut graph = Graph::new("test");
    let values: Vec<Value> = inputs
        .iter()
        .enumerate()
        .map(|(i, dims)| graph.add_parameter(&format!("x{i}"), Role::Data, Type::new(DType::F32, *dims)))
        .collect();
    let mut builder = Builder::new(&mut graph, Origin::default());
    let outputs = build(&mut builder, &values).expect("a valid graph");
    for (i, value) in outputs.into_iter().enumerate() {
        graph.add_output(&format!("y{i}"), Role::Data, value);
    }
    graph
}

#[test]
fn elementwise_over_odd_extents() {
    for dims in [&[][..], &[1], &[7], &[0], &[3, 0, 2], &[5, 33], &[2, 3, 37], &[20_001]] {
        let g = graph(&[dims, dims], |b, x| {
            let sum = b.add(x[0], x[1])?;
            let t = b.function(Function::Tanh, sum)?;
            Ok(vec![b.mul(t, x[0])?, sum])
        });
        check(&g, 1e-6);
    }
}

#[test]
fn softmax_over_rows_and_columns() {
    fn softmax(b: &mut Builder, x: Value, axis: usize) -> Result<Value, GraphError> {
        let dims = b.dims(x);
        let kept: Vec<usize> = (0..dims.len()).filter(|&a| a != axis).collect();
        let max = b.reduce(Combine::Max, x, &[axis])?;
        let max = b.broadcast(max, &dims, &kept)?;
        let shifted = b.sub(x, max)?;
        let e = b.function(Function::Exp, shifted)?;
        let sum = b.sum(e, &[axis])?;
        let sum = b.broadcast(sum, &dims, &kept)?;
        b.div(e, sum)
    }
    for dims in [&[64, 10][..], &[3, 100], &[1, 1], &[5, 0], &[40, 50]] {
        check(&graph(&[dims], |b, x| Ok(vec![softmax(b, x[0], 1)?])), 1e-6);
        check(&graph(&[dims], |b, x| Ok(vec![softmax(b, x[0], 0)?])), 1e-6);
    }
}

#[test]
fn normalisation_in_training_mode() {
    // The last one, with its channels last, has few enough results to be split.
    for (dims, channel) in
        [(&[8, 16, 9, 9][..], 1), (&[2, 3, 1, 5], 1), (&[4, 8, 1, 1], 1), (&[5, 33, 21, 12], 3)]
    {
        let axes: Vec<usize> = (0..4).filter(|&axis| axis != channel).collect();
        let g = graph(&[dims, &[dims[channel]]], |b, x| {
            let dims = b.dims(x[0]);
            let mean = b.mean(x[0], &axes)?;
            let wide = b.broadcast(mean, &dims, &[channel])?;
            let centred = b.sub(x[0], wide)?;
            let square = b.mul(centred, centred)?;
            let variance = b.mean(square, &axes)?;
            let shifted = b.add_scalar(variance, 1e-5)?;
            let scale = b.function(Function::Rsqrt, shifted)?;
            let scale = b.mul(scale, x[1])?;
            let scale = b.broadcast(scale, &dims, &[channel])?;
            let y = b.mul(centred, scale)?;
            let zero = b.zeros_like(y)?;
            let off = b.compare(Comparison::Le, y, zero)?;
            Ok(vec![b.select(off, zero, y)?, mean, variance])
        });
        check(&g, 1e-5);
    }
}

#[test]
fn views_transposes_pads_and_concatenations() {
    let g = graph(&[&[4, 5, 6], &[4, 30]], |b, x| {
        let t = b.transpose(x[0], &[2, 0, 1])?;
        let r = b.reshape(x[0], &[4, 30])?;
        let sum = b.add(r, x[1])?;
        let joined = b.concat(&[sum, r, x[1]], 1)?;
        let zero = b.scalar(0.5, DType::F32)?;
        let padded = b.pad(x[0], zero, &[1, 0, 2], &[0, 3, 1], &[0, 1, 0])?;
        let flat = b.pad(x[1], zero, &[1, 2], &[0, 3], &[0, 0])?;
        let reversed = b.add_node(Reverse { axes: vec![0, 2] }, &[x[0]])?;
        let twice = b.add(reversed, x[0])?;
        let cut = b.slice(x[0], &[1, 0, 1], &[4, 5, 6], &[2, 1, 3])?;
        let doubled = b.add(cut, cut)?;
        Ok(vec![t, joined, padded, flat, twice, doubled, r])
    });
    check(&g, 0.0);
}

#[test]
fn products_of_all_orientations() {
    for (m, k, n) in
        [(3, 5, 7), (64, 784, 10), (1, 20, 33), (17, 600, 1), (130, 300, 200), (4, 0, 3), (0, 3, 4)]
    {
        for (left, right) in [(false, false), (false, true), (true, false), (true, true)] {
            let a = if left { [k, m] } else { [m, k] };
            let b = if right { [n, k] } else { [k, n] };
            let mut g = Graph::new("dot");
            let x = g.add_parameter("x", Role::Data, Type::new(DType::F32, a));
            let y = g.add_parameter("y", Role::Data, Type::new(DType::F32, b));
            let dot = Dot::new([vec![], vec![]], [vec![usize::from(!left)], vec![usize::from(right)]]);
            let node = g.add(dot, &[x, y], &Origin::default()).expect("dot");
            let result = g.result(node);
            g.add_output("z", Role::Data, result);
            check(&g, 1e-5);
        }
    }
    let g = graph(&[&[3, 4, 5], &[3, 6, 5]], |b, x| {
        let dot = Dot::new([vec![0], vec![0]], [vec![2], vec![2]]);
        Ok(vec![b.add_node(dot, &[x[0], x[1]])?])
    });
    check(&g, 1e-5);
}

/// Sizes that are cut into halves: two, with rests in every direction, several axes of rows, rows that do not lie evenly, a
/// transposed operand on either side, with values behind the product in its registers and beside them.
#[test]
fn products_of_halves() {
    let dot = |contract: [usize; 2]| Dot::new([vec![], vec![]], contract.map(|axis| vec![axis]));
    for (m, k, n) in [(2, 2, 2), (6, 10, 14), (2, 1200, 34), (130, 38, 72), (230, 4, 6)] {
        for (left, right) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            let a = if left == 0 { [k, m] } else { [m, k] };
            let b = if right == 0 { [k, n] } else { [n, k] };
            let g = graph(&[&a, &b], |b, x| {
                Ok(vec![b.add_chosen(dot([left, right]), Algorithm::Strassen, x)?])
            });
            check(&g, 2e-5);
        }
    }
    let g = graph(&[&[3, 7, 6, 10], &[10, 14], &[14]], |b, x| {
        let rows = b.slice(x[0], &[0, 1, 1, 0], &[3, 7, 5, 10], &[1, 1, 1, 1])?;
        let product = b.add_chosen(dot([3, 0]), Algorithm::Strassen, &[rows, x[1]])?;
        let bias = b.broadcast(x[2], &[3, 6, 4, 14], &[3])?;
        let sum = b.add(product, bias)?;
        let root = b.function(Function::Tanh, sum)?;
        Ok(vec![sum, root, b.mul(product, root)?])
    });
    check(&g, 2e-5);
}

/// Rows of the result that fall into one set of the cache, whose sums are kept apart, plain and with values behind them; a
/// left operand that is copied first.
#[test]
fn products_that_lie_awkwardly() {
    let plain = Dot::new([vec![], vec![]], [vec![1], vec![0]]);
    check(&graph(&[&[33, 257], &[257, 1024]], |b, x| Ok(vec![b.add_node(plain.clone(), x)?])), 1e-5);
    let behind = graph(&[&[33, 257], &[257, 1024], &[1024]], |b, x| {
        let product = b.add_node(plain.clone(), &x[..2])?;
        let bias = b.broadcast(x[2], &[33, 1024], &[1])?;
        let sum = b.add(product, bias)?;
        let zero = b.scalar(0.0, DType::F32)?;
        let zero = b.broadcast(zero, &[33, 1024], &[])?;
        let positive = b.max(sum, zero)?;
        Ok(vec![b.function(Function::Tanh, positive)?, positive])
    });
    check(&behind, 1e-5);
    let transposed = Dot::new([vec![], vec![]], [vec![0], vec![0]]);
    check(&graph(&[&[128, 256], &[128, 257]], |b, x| Ok(vec![b.add_node(transposed.clone(), x)?])), 1e-5);
}

#[test]
fn updates_of_state_happen_in_place() {
    let mut g = Graph::new("update");
    let x = g.add_parameter("x", Role::Data, Type::new(DType::F32, [300]));
    let w = g.add_parameter("w", Role::State, Type::new(DType::F32, [300]));
    let v = g.add_parameter("v", Role::State, Type::new(DType::F32, [300]));
    let mut b = Builder::new(&mut g, Origin::default());
    let decayed = b.mul_scalar(v, 0.9).expect("mul");
    let momentum = b.add(decayed, x).expect("add");
    let step = b.mul_scalar(momentum, 0.1).expect("mul");
    let next = b.sub(w, step).expect("sub");
    g.add_output("old", Role::Data, w);
    g.add_output("w", Role::State, next);
    g.add_output("v", Role::State, momentum);
    check(&g, 0.0);
    let mut fused = g.clone();
    fuse::fuse(&mut fused).expect("fuse");
    let mut program = lower::lower(&fused, &HashMap::new()).expect("lower");
    assert!(forward::forward(&mut program));
}

#[test]
fn windows_slide() {
    let g = graph(&[&[2, 3, 9, 9]], |b, x| {
        let window = ReduceWindow {
            combine: Combine::Max,
            window: vec![1, 1, 3, 3],
            stride: vec![1, 1, 2, 2],
            padding: vec![(0, 0), (0, 0), (1, 1), (1, 1)],
            window_dilation: vec![1; 4],
            base_dilation: vec![1; 4],
        };
        let sum = ReduceWindow { combine: Combine::Add, ..window.clone() };
        let max = b.add_node(window, &[x[0]])?;
        let total = b.add_node(sum, &[x[0]])?;
        Ok(vec![b.add(max, total)?])
    });
    check(&g, 1e-5);
}

#[test]
fn winners_of_windows_receive_and_give() {
    for (window, stride, padding) in [(2, 2, 0), (3, 2, 1), (3, 1, 0)] {
        let sliding = ReduceWindow {
            combine: Combine::Max,
            window: vec![1, 1, window, window],
            stride: vec![1, 1, stride, stride],
            padding: vec![(0, 0), (0, 0), (padding, padding), (padding, padding)],
            window_dilation: vec![1; 4],
            base_dilation: vec![1; 4],
        };
        let mut g = Graph::new("select");
        let x = g.add_parameter("x", Role::Data, Type::new(DType::F32, [2, 3, 8, 9]));
        let y = g.add(sliding.clone(), &[x], &Origin::default()).expect("window");
        let y = g.result(y);
        let dy_ty = g.ty(y).clone();
        let dy = g.add_parameter("dy", Role::Data, dy_ty);
        let scatter = WindowSelect { window: sliding.clone(), form: SelectForm::Scatter };
        let gather = WindowSelect { window: sliding, form: SelectForm::Gather };
        let scattered = g.add(scatter, &[x, dy], &Origin::default()).expect("scatter");
        let gathered = g.add(gather, &[x, x], &Origin::default()).expect("gather");
        for (name, value) in [("y", y), ("dx", g.result(scattered)), ("again", g.result(gathered))] {
            g.add_output(name, Role::Data, value);
        }
        check(&g, 1e-6);
    }
}

#[test]
fn scatter_sort_and_running_sums() {
    let mut g = Graph::new("indices");
    let base = g.add_parameter("base", Role::Data, Type::new(DType::F32, [3, 7, 5]));
    let indices = g.add_parameter("indices", Role::Data, Type::new(DType::I32, [4]));
    let updates = g.add_parameter("updates", Role::Data, Type::new(DType::F32, [3, 4, 5]));
    let along = g.add_parameter("along", Role::Data, Type::new(DType::I32, [3, 4, 5]));
    let o = Origin::default();
    let mut nodes = Vec::new();
    for mode in ScatterMode::ALL {
        nodes.push(g.add(Scatter { axis: 1, mode }, &[base, indices, updates], &o).expect("scatter"));
        let op = ScatterAlong { axis: 1, mode };
        nodes.push(g.add(op, &[base, along, updates], &o).expect("scatter along"));
    }
    nodes.push(g.add(Gather { axis: 1 }, &[base, indices], &o).expect("gather"));
    nodes.push(g.add(GatherAlong { axis: 1 }, &[base, along], &o).expect("gather along"));
    for descending in [false, true] {
        for first in [None, Some(3)] {
            let op = Sort { axis: 1, descending, first };
            nodes.push(g.add(op, &[base, base], &o).expect("sort"));
        }
    }
    for (axis, reverse, exclusive) in [(1, false, false), (2, true, false), (0, false, true)] {
        let op = Cumulative { axis, combine: Combine::Add, reverse, exclusive };
        nodes.push(g.add(op, &[base], &o).expect("cumulative"));
    }
    for (i, node) in nodes.into_iter().enumerate() {
        for (j, value) in g.results(node).into_iter().enumerate() {
            g.add_output(&format!("y{i}.{j}"), Role::Data, value);
        }
    }
    check(&g, 1e-6);
}

/// `h_t = tanh(a h_{t-1} + x_t)`, both ways, with h stacked.
#[test]
fn scans_become_loops_of_the_schedule() {
    for reverse in [false, true] {
        let mut body = Graph::new("cell");
        let ty = Type::new(DType::F32, [4, 9]);
        let h = body.add_parameter("h", Role::Data, ty.clone());
        let x = body.add_parameter("x", Role::Data, ty.clone());
        let a = body.add_parameter("a", Role::Data, ty.clone());
        let mut b = Builder::new(&mut body, Origin::default());
        let product = b.mul(a, h).expect("mul");
        let sum = b.add(product, x).expect("add");
        let next = b.function(Function::Tanh, sum).expect("tanh");
        body.add_output("h", Role::Data, next);
        body.add_output("y", Role::Data, h);
        let mut g = Graph::new("recurrence");
        let h = g.add_parameter("h", Role::Data, ty.clone());
        let xs = g.add_parameter("xs", Role::Data, Type::new(DType::F32, [6, 4, 9]));
        let a = g.add_parameter("a", Role::Data, ty);
        let scan = Scan {
            body,
            length: 6,
            carries: 1,
            slices: 1,
            reverse,
            guarded: false,
            segments: Default::default(),
        };
        let node = g.add(scan, &[h, xs, a], &Origin::default()).expect("scan");
        for (name, value) in ["h", "ys"].into_iter().zip(g.results(node)) {
            g.add_output(name, Role::Data, value);
        }
        check(&g, 1e-6);
    }
}

/// Rows of a table are changed where it lies; nothing has its size but the table.
#[test]
fn rows_of_state_are_put_where_it_lies() {
    for (later, mode) in [(false, "set"), (false, "add"), (false, "max"), (true, "set")] {
        // What reads the old table behind the change needs a copy.
        let (read, returned) = match later {
            true => ("%z = mul %w, %y", "%z as \"z\", "),
            false => ("", ""),
        };
        let text = format!(
            "graph @g(%i: i32[20], %u: f32[20, 64], state %w: f32[50, 64]) {{
               %q = gather %w, %i {{axis: 0}} %v = sub %q, %u
               %y = scatter_{mode} %w, %i, %v {{axis: 0}} {read}
               return {returned}state %w = %y }}"
        );
        let graph = Graph::parse(&text).expect("a graph");
        check(&graph, 0.0);
        let mut program = lower::lower(&graph, &HashMap::new()).expect("lower");
        forward::forward(&mut program);
        let large = |arg: &Arg| {
            let buffer = &program.buffers[arg.buffer.0 as usize];
            matches!(buffer.place, Place::Arena(_)) && buffer.ty.elements() == 50 * 64
        };
        let copies = program.schedule.iter().flat_map(|step| step.args()).any(large);
        assert_eq!(copies, later, "{program}");
    }
}

/// A memory that a loop carries is changed where it lies, unless its old value is needed behind the change: read there, read by
/// what only maps its indices, taken as the updates, stacked, or carried on.
#[test]
fn carried_memories_are_changed_where_they_lie() {
    const PLAIN: &str = "%r = gather %m, %i {axis: 0} %v = mul %r, %u %n = scatter_add %m, %i, %v {axis: 0}";
    const LATER: &str = "%n = scatter_add %m, %i, %u {axis: 0} %r = gather %m, %i {axis: 0}";
    const SAME: &str =
        "%d = reshape %m {dims: [5, 4]} %n = scatter_set %m, %f, %d {axis: 0} %r = gather %n, %i {axis: 0}";
    const TURNED: &str = "%t = transpose %m {axes: [1, 0]} %n = scatter_max %m, %i, %u {axis: 0}
        %p = dot %u, %t {contract: [[1], [0]]} %q = dot %p, %n {contract: [[1], [0]]} %r = tanh %q";
    const READ: &str = "%s = dot %u, %m {contract: [[1], [1]]} %p = dot %s, %m {contract: [[1], [0]]} %v = tanh %p
        %n = scatter_set %m, %i, %v {axis: 0} %o = dot %u, %n {contract: [[1], [1]]} %w = dot %o, %n {contract: [[1], [0]]} %r = add %w, %v";
    let rows: [(&str, &str, bool); 7] = [
        (PLAIN, "%n as \"m\", %k as \"k\", %r as \"y\"", true),
        (READ, "%n as \"m\", %k as \"k\", %r as \"y\"", true),
        (LATER, "%n as \"m\", %k as \"k\", %r as \"y\"", false),
        (SAME, "%n as \"m\", %k as \"k\", %r as \"y\"", false),
        (TURNED, "%n as \"m\", %k as \"k\", %r as \"y\"", false),
        (PLAIN, "%n as \"m\", %k as \"k\", %m as \"y\"", false),
        (PLAIN, "%n as \"m\", %m as \"k\", %r as \"y\"", false),
    ];
    for (steps, returned, in_place) in rows {
        let text = format!(
            "graph @g(%m: f32[5, 4], %k: f32[5, 4], %i: i32[6, 8], %u: f32[6, 8, 4]) {{
               %f0 = constant {{value: i32[5] [4, 0, 1, 3, 2]}}
               %last, %other, %all = scan %m, %k, %i, %u, %f0 {{length: 6, carries: 2, slices: 2, body: graph @body(%m: f32[5, 4], %k: f32[5, 4], %i: i32[8], %u: f32[8, 4], %f: i32[5]) {{
                 {steps} return {returned} }}}}
               return %last as \"last\", %other as \"other\", %all as \"all\" }}"
        );
        let graph = Graph::parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        check(&graph, 1e-5);
        let program = lower::lower(&graph, &HashMap::new()).expect("lower");
        let place = program.buffers.iter().position(|b| b.name == "last").expect("the output");
        let scatters = |step: &Step| match step {
            Step::Call(call) => {
                let kernel = &program.kernels[call.kernel.0 as usize];
                let last = call.args.last().map(|arg| arg.buffer.0 as usize);
                kernel.name.starts_with("scatter") && last == Some(place)
            }
            _ => false,
        };
        let body = program.schedule.iter().flat_map(Step::bodies).next().expect("a loop");
        assert_eq!(body.iter().any(scatters), in_place, "{text}\n{program}");
    }
}

#[test]
fn long_axes_are_sorted_by_merging() {
    for (extent, descending) in [(64, false), (65, true), (96, false), (100, true), (257, false), (700, true)]
    {
        let mut g = Graph::new("sort");
        let o = Origin::default();
        // Few different keys, so that ties show that the order is stable; and half of the floats are NaN.
        let x = g.add_parameter("x", Role::Data, Type::new(DType::I32, [2, extent, 3]));
        let y = g.add_parameter("y", Role::Data, Type::new(DType::F32, [extent]));
        let mut b = Builder::new(&mut g, o.clone());
        let keys = b.function(Function::Log, y).unwrap();
        let positions = b.iota(DType::I32, &[2, extent, 3], 1).unwrap();
        let along = b.iota(DType::F32, &[extent], 0).unwrap();
        for (axis, operands) in [(1, [x, positions]), (0, [keys, along])] {
            for first in [None, Some(0), Some(1), Some(10), Some(33), Some(64)] {
                let op = Sort { axis, descending, first };
                let sorted = g.add(op, &operands, &o).expect("sort");
                for result in g.results(sorted) {
                    let name = format!("{axis}.{}.{first:?}", result.index);
                    g.add_output(&name, Role::Data, result);
                }
            }
        }
        check(&g, 0.0);
    }
}

#[test]
fn long_running_sums_are_counted_like_digits() {
    for extent in [15, 16, 17, 256, 271, 4096, 5000] {
        for (combine, reverse, exclusive) in [
            (Combine::Add, false, false),
            (Combine::Add, true, false),
            (Combine::Add, false, true),
            (Combine::Mul, true, true),
            (Combine::Max, false, false),
        ] {
            let mut g = Graph::new("running");
            let x = g.add_parameter("x", Role::Data, Type::new(DType::F32, [2, extent]));
            let mut b = Builder::new(&mut g, Origin::default());
            // Factors near 1, so that products stay finite.
            let scale = b.full_like(x, if combine == Combine::Mul { 1e-3 } else { 1.0 }).unwrap();
            let x = b.mul(x, scale).unwrap();
            let one = b.full_like(x, if combine == Combine::Mul { 1.0 } else { 0.0 }).unwrap();
            let x = b.add(x, one).unwrap();
            let y = b.add_node(Cumulative { axis: 1, combine, reverse, exclusive }, &[x]).unwrap();
            g.add_output("y", Role::Data, y);
            check(&g, 1e-5);
        }
    }
}

#[test]
fn running_sums_of_many_equal_numbers_are_accurate() {
    // One chain is 5e-4 off here.
    let extent = 200_000;
    let mut g = Graph::new("running");
    let x = g.add_parameter("x", Role::Data, Type::new(DType::F32, [extent]));
    let y = g.add(
        Cumulative { axis: 0, combine: Combine::Add, reverse: false, exclusive: false },
        &[x],
        &Origin::default(),
    );
    g.add_output("y", Role::Data, Value { node: y.unwrap(), index: 0 });
    let program = lower::lower(&g, &HashMap::new()).unwrap();
    let tenths = Tensor::full([extent], Scalar::F32(0.1));
    let found = &Interpreter::new(&program).unwrap().run(&[tenths], &mut []).unwrap()[0];
    for at in (0..extent).step_by(997) {
        let wanted = f64::from(0.1f32) * (at + 1) as f64;
        let off = (found.get(at).to_f64() - wanted).abs() / wanted;
        assert!(off < 1e-6, "{at}: off by {off}");
    }
}
