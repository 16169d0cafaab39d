//! Loops over segments: the way back gives the same bits whether it runs segments again or reads what was kept of them, and what it
//! gave without segments, but for the order of sums over time.

use std::collections::HashMap;

use crate::common::{compare, parameters};
use brolga_ir::ops::{Op, Segments};
use brolga_ir::program::interpret::GridOrder;
use brolga_ir::scalar::Scalar;
use brolga_ir::{Graph, Tensor};
use brolga_passes::filetest::evaluate_program;
use brolga_passes::pipelines::{REGIONS, TRAIN};
use brolga_passes::{Manager, Options, lower};

/// A loop that is trained.
#[derive(Clone, Copy)]
struct Row {
    what: &'static str,
    /// `scan` attributes behind the length.
    attributes: &'static str,
    /// Carries, operands and statements of the body beside those of the plain cell.
    body: &'static str,
    /// How many rows the sequence has for each step of the loop.
    steps: usize,
}

const ROWS: [Row; 8] = [
    Row { what: "a multiple", attributes: "", body: "", steps: 16 },
    Row { what: "steps are left over", attributes: "", body: "", steps: 23 },
    Row { what: "backwards", attributes: "reverse: true, ", body: "", steps: 16 },
    Row { what: "backwards, steps are left over", attributes: "reverse: true, ", body: "", steps: 19 },
    Row {
        what: "draws",
        attributes: "",
        body: "%coin = random %seed, %seed, %t {stream: 3, distribution: uniform, dtype: f32, dims: [3, 4]}\n %i = mul %h, %coin",
        steps: 17,
    },
    Row {
        what: "rows that end",
        attributes: "",
        body: "%ends = broadcast %t {dims: [3, 4], axes: []}\n %five = constant {value: i64[] [5]}\n %fives = broadcast %five {dims: [3, 4], axes: []}\n %within = lt %ends, %fives\n %i = select %within, %h, %h0",
        steps: 18,
    },
    Row {
        what: "a loop inside",
        attributes: "",
        body: "%i = scan %h, %u {length: 3, carries: 1, slices: 0, body: graph @inner(%h: f32[3, 4], %u: f32[4, 4]) {\n %a = dot %h, %u {contract: [[1], [1]]}\n %b = tanh %a\n return %b as \"h\"\n }}",
        steps: 16,
    },
    Row {
        what: "a condition",
        attributes: "",
        body: "%seven = constant {value: i64[] [7]}\n %early = lt %t, %seven\n %i = cond %early, %h, %u {then: graph @then(%h: f32[3, 4], %u: f32[4, 4]) {\n %a = dot %h, %u {contract: [[1], [0]]}\n return %a as \"h\"\n }, otherwise: graph @otherwise(%h: f32[3, 4], %u: f32[4, 4]) {\n %a = sin %h\n return %a as \"h\"\n }}",
        steps: 21,
    },
];

impl Row {
    /// The derivatives of a loss of the last and of all steps, by the weights, the start and the sequence.
    /// The sequence is an input, along axis 1, or is differentiated as well.
    fn graph(self, guarded: bool, given: bool) -> Graph {
        let Row { attributes, body, steps, .. } = self;
        let (front, carry, next, ends) = match guarded {
            true => ("%more, ", "%more: bool[], ", "%goes as \"more\", ", "%more0, "),
            false => ("", "", "", ""),
        };
        let (body, i) = if body.is_empty() { ("%none = neg %h", "%h") } else { (body, "%i") };
        let carries = if guarded { 2 } else { 1 };
        let (input, first, wanted, gradient, result) = match given {
            true => (
                format!("%xs: f32[3, {steps}, 5]"),
                "%x = transpose %xs {axes: [1, 0, 2]}",
                "",
                "",
                "%dh as \"dh\"",
            ),
            false => (
                format!("%x: f32[{steps}, 3, 5]"),
                "%nothing = neg %h0",
                ", %x",
                ", %dx",
                "%dh as \"dh\", %dx as \"dx\"",
            ),
        };
        let text = format!(
            "graph @train({input}, %h0: f32[3, 4], %seed: i64[], state %w: f32[4, 5], state %u: f32[4, 4], state %b: f32[4]) {{
               {first}
               %t = iota {{dtype: i64, dims: [{steps}], axis: 0}}
               %more0 = constant {{value: bool[] [true]}}
               {front}%last, %all = scan {ends}%h0, %x, %t, %w, %u, %b, %seed, %h0 {{length: {steps}, carries: {carries}, slices: 2, {attributes}guarded: {guarded}, body: graph @cell({carry}%h: f32[3, 4], %x: f32[3, 5], %t: i64[], %w: f32[4, 5], %u: f32[4, 4], %b: f32[4], %seed: i64[], %h0: f32[3, 4]) {{
                 {body}
                 %xw = dot %x, %w {{contract: [[1], [1]]}}
                 %hu = dot {i}, %u {{contract: [[1], [1]]}}
                 %bs = broadcast %b {{dims: [3, 4], axes: [1]}}
                 %s = add %xw, %hu
                 %sb = add %s, %bs
                 %next = tanh %sb
                 %end = constant {{value: i64[] [9]}}
                 %goes = lt %t, %end
                 return {next}%next as \"h\", %next as \"all\"
               }}}}
               %square = mul %all, %all
               %losses = reduce_add %square {{axes: [0, 1, 2]}}
               %end = reduce_add %last {{axes: [0, 1]}}
               %loss = add %losses, %end
               %dw, %du, %db, %dh{gradient} = gradient %loss, %w, %u, %b, %h0{wanted}
               return %loss as \"loss\", %all as \"all\", %last as \"last\", %dw as \"dw\", %du as \"du\", %db as \"db\", {result}
             }}"
        );
        Graph::parse(&text).unwrap_or_else(|error| panic!("{}: {error}\n{text}", self.what))
    }
}

/// What the program of a graph gives, and how many loops over segments it has.
fn results(
    graph: &Graph,
    options: Options,
    values: &HashMap<String, Tensor>,
) -> (HashMap<String, Tensor>, usize) {
    let mut graph = graph.clone();
    let mut manager = Manager::new(options);
    manager.run(TRAIN, &mut graph).unwrap_or_else(|error| panic!("{error}\n{graph}"));
    manager.run(REGIONS, &mut graph).unwrap_or_else(|error| panic!("{error}\n{graph}"));
    let program = lower::lower(&graph, &HashMap::new()).expect("a program");
    (evaluate_program(&program, values, GridOrder::Forward).expect("it runs"), over_segments(&graph))
}

fn over_segments(graph: &Graph) -> usize {
    let of = |id| {
        let op = &graph.node(id).op;
        let cut = matches!(op, Op::Scan(scan) if scan.segments != Segments::No);
        usize::from(cut) + op.regions().into_iter().map(over_segments).sum::<usize>()
    };
    graph.nodes().map(of).sum()
}

#[test]
fn segments_that_are_run_again_have_the_same_bits() {
    let close = |a: Scalar, b: Scalar| (a.to_f64() - b.to_f64()).abs() <= 1e-4 * a.to_f64().abs().max(1.0);
    for row in ROWS {
        for (guarded, given) in [(false, false), (false, true), (true, false), (true, true)] {
            let graph = row.graph(guarded, given);
            let mut values = parameters(&graph, 7, false);
            values.insert("seed".into(), Tensor::scalar(Scalar::from_i64(brolga_ir::DType::I64, 5)));
            let of = |segments_from: usize, run_again: bool| {
                results(&graph, Options { segments_from, run_again, ..Options::default() }, &values)
            };
            let [(whole, none), (kept, some), (again, others)] = [of(1000, false), of(4, false), of(4, true)];
            let name = format!("{}, guarded {guarded}, given {given}", row.what);
            assert!(none == 0 && some == 2 && others == 2, "{name}: {none} {some} {others}");
            compare(&kept, &again, &|a, b| a.same(b)).unwrap_or_else(|error| panic!("{name}: {error}"));
            compare(&whole, &kept, &close).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }
}
