//! Loops and branches.

use brolga_ir::ops::{Cond, Op, Scan};
use brolga_ir::scalar::Scalar;
use brolga_ir::{Builder, DType, Graph, Tensor, Type, Value};
use brolga_passes::{Manager, Options, pipelines};

use super::{Built, Loss, check, differentiated, graph, run, sample, total, values};

/// A recurrent cell whose hidden state chooses between two branches at the end.
#[test]
fn regions() {
    check(&[&[2], &[3, 2], &[2, 2]], |b, x| {
        let body = Graph::parse(
            "graph @cell(%h: f64[2], %x: f64[2], %w: f64[2, 2]) {
               %hw = dot %h, %w {contract: [[0], [0]]}
               %sum = add %hw, %x
               %next = tanh %sum
               %y = mul %next, %next
               return %next as \"h\", %y as \"y\"
             }",
        );
        let scan = Scan {
            body: body.unwrap(),
            length: 3,
            carries: 1,
            slices: 1,
            reverse: false,
            guarded: false,
            segments: Default::default(),
        };
        let scanned = b.add_nodes(scan, x)?;
        let branch = |op: &str| {
            let text = format!(
                "graph @branch(%h: f64[2], %y: f64[3, 2]) {{
                   %s = reduce_add %y {{axes: [0]}}
                   %f = {op} %s
                   %p = mul %f, %h
                   return %p as \"p\"
                 }}"
            );
            Graph::parse(&text).unwrap()
        };
        let choice = b.constant(Tensor::scalar(Scalar::Bool(true)))?;
        let cond = Cond { then: branch("exp"), otherwise: branch("neg") };
        let y = b.add_node(cond, &[choice, scanned[0], scanned[1]])?;
        total(b, y)
    });
}

/// A region of a text.
fn region(text: &str) -> Graph {
    Graph::parse(text).unwrap_or_else(|error| panic!("{error}"))
}

/// What `grad` leaves, and what the pipeline makes of it, which moves work out of the loops.
fn check_pipeline(dims: &[&[usize]], loss: Loss) {
    check(dims, loss);
    let gradients = |b: &mut Builder, x: &[Value]| {
        let y = loss(b, x)?;
        b.gradient(y, x)
    };
    let inputs: Vec<Tensor> =
        dims.iter().zip(1..).map(|(&dims, seed)| sample(&Type::new(DType::F64, dims), seed)).collect();
    let expected = run(&differentiated(graph(dims, gradients)), &inputs);
    let mut whole = graph(dims, gradients);
    Manager::new(Options::default()).run(pipelines::TRAIN, &mut whole).unwrap();
    for (number, (found, expected)) in run(&whole, &inputs).iter().zip(&expected).enumerate() {
        for (element, (found, expected)) in values(found).iter().zip(values(expected)).enumerate() {
            let error = (found - expected).abs() / expected.abs().max(1.0);
            assert!(error < 1e-9, "input {number}, element {element}: {found}, not {expected}\n{whole}");
        }
    }
}

/// A cell with two states and a count, backwards through the sequence; results of every step and of the last.
#[test]
fn cells_in_both_directions() {
    fn loss(b: &mut Builder, x: &[Value], reverse: bool) -> Built {
        let body = region(
            "graph @cell(%h: f64[2, 3], %c: f64[2, 3], %n: i32[], %idle: f64[2, 3], %x: f64[2, 2], %w: f64[4, 2], %u: f64[4, 3], %v: f64[4, 3]) {
               %xw = dot %x, %w {contract: [[1], [1]]}
               %hu = dot %h, %u {contract: [[1], [1]]}
               %z = add %xw, %hu
               %gates = tanh %z
               %y = dot %gates, %v {contract: [[1], [0]]}
               %kept = mul %c, %y
               %one = constant {value: i32[] [1]}
               %m = add %n, %one
               %bounded = tanh %kept
               %g = mul %y, %bounded
               %next = add %kept, %y
               %i = mul %idle, %y
               return %g as \"h\", %next as \"c\", %m as \"n\", %i as \"idle\", %g as \"all\", %z as \"z\"
             }",
        );
        let count = b.constant(Tensor::scalar(Scalar::I32(0)))?;
        let scan = Scan {
            body,
            length: 3,
            carries: 4,
            slices: 1,
            reverse,
            guarded: false,
            segments: Default::default(),
        };
        let all = b.add_nodes(scan, &[x[0], x[1], count, x[1], x[2], x[3], x[4], x[5]])?;
        let (last, every) = (b.mul(all[0], all[1])?, b.mul(all[4], all[4])?);
        let (last, every) = (total(b, last)?, total(b, every)?);
        b.add(last, every)
    }
    let dims: &[&[usize]] = &[&[2, 3], &[2, 3], &[3, 2, 2], &[4, 2], &[4, 3], &[4, 3]];
    check_pipeline(dims, |b, x| loss(b, x, false));
    check_pipeline(dims, |b, x| loss(b, x, true));
}

/// A loop in a loop, whose weights both read, and a condition in the inner one.
#[test]
fn loops_in_loops() {
    check_pipeline(&[&[2], &[3, 2, 2], &[2, 2]], |b, x| {
        let body = region(
            "graph @outer(%h: f64[2], %x: f64[2, 2], %w: f64[2, 2]) {
               %start = dot %h, %w {contract: [[0], [0]]}
               %y, %ys = scan %start, %x, %w {length: 2, carries: 1, slices: 1, reverse: true, body: graph @inner(%y: f64[2], %x: f64[2], %w: f64[2, 2]) {
                 %yw = dot %y, %w {contract: [[0], [1]]}
                 %s = add %yw, %x
                 %sum = reduce_add %s {axes: [0]}
                 %zero = constant {value: f64[] [0.0]}
                 %c = gt %sum, %zero
                 %t = cond %c, %s, %x {then: graph @then(%s: f64[2], %x: f64[2]) {
                   %t = tanh %s
                   return %t as \"t\"
                 }, otherwise: graph @otherwise(%s: f64[2], %x: f64[2]) {
                   %t = mul %s, %x
                   return %t as \"t\"
                 }}
                 return %t as \"y\", %s as \"s\"
               }}
               %r = reduce_add %ys {axes: [0]}
               %next = mul %y, %r
               %bounded = tanh %next
               return %bounded as \"h\", %ys as \"ys\"
             }",
        );
        let scan = Scan {
            body,
            length: 3,
            carries: 1,
            slices: 1,
            reverse: false,
            guarded: false,
            segments: Default::default(),
        };
        let all = b.add_nodes(scan, x)?;
        both(b, all[0], all[1])
    });
}

/// A loop in a branch, and loops that run once or not at all.
#[test]
fn loops_in_branches_and_short_ones() {
    check_pipeline(&[&[2], &[3, 2], &[2, 2]], |b, x| {
        let cell = "graph @cell(%h: f64[2], %x: f64[2], %w: f64[2, 2]) {
               %hw = dot %h, %w {contract: [[0], [0]]}
               %s = mul %hw, %x
               %t = tanh %s
               return %t as \"h\"
             }";
        let then = format!(
            "graph @then(%h: f64[2], %x: f64[3, 2], %w: f64[2, 2]) {{
               %l = scan %h, %x, %w {{length: 3, carries: 1, slices: 1, body: {cell}}}
               return %l as \"l\"
             }}"
        );
        let otherwise = "graph @otherwise(%h: f64[2], %x: f64[3, 2], %w: f64[2, 2]) {
               return %h as \"l\"
             }";
        let choice = b.constant(Tensor::scalar(Scalar::Bool(true)))?;
        let cond = Cond { then: region(&then), otherwise: region(otherwise) };
        let mut h = b.add_node(cond, &[choice, x[0], x[1], x[2]])?;
        for length in [1, 0] {
            let slices = b.slice_axis(x[1], 0, 0, length)?;
            let scan = Scan {
                body: region(cell),
                length,
                carries: 1,
                slices: 1,
                reverse: false,
                guarded: false,
                segments: Default::default(),
            };
            h = b.add_node(scan, &[h, slices, x[2]])?;
        }
        let square = b.mul(h, h)?;
        total(b, square)
    });
}

/// Three rows of 3, 1 and 2 steps of four: a row stands still when it has ended. In order, in order and guarded, so that the loop
/// ends behind the longest row, and backwards.
#[test]
fn rows_of_different_lengths() {
    fn loss(b: &mut Builder, x: &[Value], reverse: bool, guarded: bool) -> Built {
        let count = if reverse { "sub" } else { "add" };
        let body = region(&format!(
            "graph @cell(%more: bool[], %n: i32[], %h: f64[3, 2], %x: f64[3, 2], %w: f64[2, 2], %lengths: i32[3]) {{
               %at = broadcast %n {{dims: [3], axes: []}}
               %is = lt %at, %lengths
               %runs = broadcast %is {{dims: [3, 2], axes: [0]}}
               %hw = dot %h, %w {{contract: [[1], [0]]}}
               %sum = add %hw, %x
               %state = tanh %sum
               %next = select %runs, %state, %h
               %zero = constant {{value: f64[] [0.0]}}
               %zeros = broadcast %zero {{dims: [3, 2], axes: []}}
               %y = select %runs, %sum, %zeros
               %one = constant {{value: i32[] [1]}}
               %m = {count} %n, %one
               %then = broadcast %m {{dims: [3], axes: []}}
               %left = lt %then, %lengths
               %again = reduce_or %left {{axes: [0]}}
               return %again as \"more\", %m as \"n\", %next as \"h\", %y as \"y\"
             }}"
        ));
        let more = b.constant(Tensor::scalar(Scalar::Bool(true)))?;
        let first = b.constant(Tensor::scalar(Scalar::I32(if reverse { 3 } else { 0 })))?;
        let lengths = b.constant(whole(&[3], &[3, 1, 2]))?;
        let scan =
            Scan { body, length: 4, carries: 3, slices: 1, reverse, guarded, segments: Default::default() };
        let all = b.add_nodes(scan, &[more, first, x[0], x[1], x[2], lengths])?;
        both(b, all[2], all[3])
    }
    let dims: &[&[usize]] = &[&[3, 2], &[4, 3, 2], &[2, 2]];
    check_pipeline(dims, |b, x| loss(b, x, false, false));
    check_pipeline(dims, |b, x| loss(b, x, false, true));
    check_pipeline(dims, |b, x| loss(b, x, true, false));
}

fn whole(dims: &[usize], numbers: &[i32]) -> Tensor {
    Tensor::generate(&Type::new(DType::I32, dims), |i| Scalar::I32(numbers[i]))
}

/// The sum of the squares of the last state, and of those of every step.
fn both(b: &mut Builder, last: Value, every: Value) -> Built {
    let (last, every) = (b.mul(last, last)?, b.mul(every, every)?);
    let (last, every) = (total(b, last)?, total(b, every)?);
    b.add(last, every)
}

/// A memory of four rows, of which each step reads two and changes them, in every mode: rows that are named twice, and one that lies
/// outside, with indices that differ from step to step.
#[test]
fn memories_that_steps_read_and_change() {
    fn loss<const MODE: usize>(b: &mut Builder, x: &[Value]) -> Built {
        let scatter = ["scatter_add", "scatter_set", "scatter_max", "scatter_min"][MODE];
        let body = region(&format!(
            "graph @step(%m: f64[4, 2], %i: i32[3], %x: f64[3, 2], %w: f64[2, 2]) {{
               %read = gather %m, %i {{axis: 0}}
               %mixed = dot %read, %w {{contract: [[1], [0]]}}
               %sum = add %mixed, %x
               %new = tanh %sum
               %next = {scatter} %m, %i, %new {{axis: 0}}
               return %next as \"m\", %read as \"read\"
             }}"
        ));
        let indices = b.constant(whole(&[3, 3], &[1, 3, 1, 0, 2, -1, 3, 3, 0]))?;
        let scan = Scan {
            body,
            length: 3,
            carries: 1,
            slices: 2,
            reverse: false,
            guarded: false,
            segments: Default::default(),
        };
        let all = b.add_nodes(scan, &[x[0], indices, x[1], x[2]])?;
        both(b, all[0], all[1])
    }
    let dims: &[&[usize]] = &[&[4, 2], &[3, 3, 2], &[2, 2]];
    let modes: [Loss; 4] = [loss::<0>, loss::<1>, loss::<2>, loss::<3>];
    modes.into_iter().for_each(|loss| check_pipeline(dims, loss));
}

/// The two largest of four in every step, with what belongs to them.
#[test]
fn the_largest_of_every_step() {
    check_pipeline(&[&[4], &[3, 4], &[4, 4]], |b, x| {
        let body = region(
            "graph @step(%h: f64[4], %x: f64[4], %w: f64[4, 4]) {
               %hw = dot %h, %w {contract: [[0], [0]]}
               %sum = add %hw, %x
               %state = tanh %sum
               %best, %with = sort %state, %x {axis: 0, descending: true, first: 2}
               %p = mul %best, %with
               %s = reduce_add %p {axes: [0]}
               %factor = broadcast %s {dims: [4], axes: []}
               %next = mul %state, %factor
               return %next as \"h\", %best as \"best\"
             }",
        );
        let scan = Scan {
            body,
            length: 3,
            carries: 1,
            slices: 1,
            reverse: true,
            guarded: false,
            segments: Default::default(),
        };
        let all = b.add_nodes(scan, x)?;
        both(b, all[0], all[1])
    });
}

/// The way back reads products that the way forward has stacked, and has cotangents for what is wanted alone.
#[test]
fn gradients_of_loops_hold_what_they_need() {
    let body = region(
        "graph @cell(%h: f64[2], %idle: f64[2], %x: f64[2], %w: f64[2, 2], %k: f64[2]) {
           %hw = dot %h, %w {contract: [[0], [0]]}
           %s = add %hw, %x
           %t = tanh %s
           %i = mul %idle, %k
           return %t as \"h\", %i as \"idle\"
         }",
    );
    let all = differentiated(graph(&[&[2], &[3, 2], &[2, 2], &[2]], |b, x| {
        let scan = Scan {
            body: body.clone(),
            length: 3,
            carries: 2,
            slices: 1,
            reverse: false,
            guarded: false,
            segments: Default::default(),
        };
        let results = b.add_nodes(scan, &[x[0], x[0], x[1], x[2], x[3]])?;
        let loss = total(b, results[0])?;
        b.gradient(loss, &[x[2]])
    }));
    let scans: Vec<&Scan> = all
        .nodes()
        .filter_map(|id| match &all.node(id).op {
            Op::Scan(scan) => Some(scan),
            _ => None,
        })
        .collect();
    let [forward, back] = scans[..] else { panic!("{} loops", scans.len()) };
    assert!(!forward.reverse && back.reverse);
    let count = |scan: &Scan| {
        let is_dot = |&id: &brolga_ir::NodeId| matches!(scan.body.node(id).op, Op::Dot(_));
        scan.body.order().iter().filter(|&id| is_dot(id)).count()
    };
    assert_eq!((count(forward), count(back)), (1, 2), "of h and of w: no product is computed again\n{all}");
    // The cotangent of h and the sum of that of w: none of what is idle, none for the slices.
    assert_eq!((back.carries, back.body.outputs().len()), (2, 2), "{all}");
}
