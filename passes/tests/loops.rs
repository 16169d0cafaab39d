//! What leaves loops keeps its bits where it is said to, in any batch.

use std::collections::HashMap;

use crate::common::{compare, everywhere, parameters};
use brolga_ir::program::interpret::GridOrder;
use brolga_ir::scalar::Scalar;
use brolga_ir::{DType, Graph, Tensor, Type};
use brolga_passes::filetest::evaluate_program;
use brolga_passes::pipelines::{INFER, REGIONS, graph_passes};
use brolga_passes::{GraphPass, Manager, Options, lower};

/// A recurrent cell over a sequence of that many samples, with an embedding, gates, a projection with a softmax, and sums that are
/// captured: everything that is computed at once, and no sum over time.
fn cell(batch: usize, reverse: bool) -> Graph {
    let b = batch;
    let text = format!(
        "graph @cell(%x: f32[7, {b}, 5], %t: i32[7, {b}], %h: f32[{b}, 6], state %e: f32[9, 5], state %w: f32[6, 5], state %u: f32[6, 6], state %v: f32[6, 6], state %p: f32[3, 6], state %k: f32[6], state %l: f32[6]) {{
           %last, %all, %probability = scan %h, %x, %t, %e, %w, %u, %v, %p, %k, %l {{length: 7, carries: 1, slices: 2, reverse: {reverse}, body: graph @step(%h: f32[{b}, 6], %x: f32[{b}, 5], %t: i32[{b}], %e: f32[9, 5], %w: f32[6, 5], %u: f32[6, 6], %v: f32[6, 6], %p: f32[3, 6], %k: f32[6], %l: f32[6]) {{
             %token = gather %e, %t {{axis: 0}}
             %in = add %x, %token
             %xw = dot %in, %w {{contract: [[1], [1]]}}
             %kl = add %k, %l
             %bias = broadcast %kl {{dims: [{b}, 6], axes: [1]}}
             %biased = add %xw, %bias
             %hu = dot %h, %u {{contract: [[1], [1]]}}
             %hv = dot %h, %v {{contract: [[1], [1]]}}
             %gate = sigmoid %hv
             %a = add %biased, %hu
             %c = tanh %a
             %d = mul %c, %gate
             %next = add %d, %h
             %logits = dot %next, %p {{contract: [[1], [1]]}}
             %exp = exp %logits
             %sum = reduce_add %exp {{axes: [1]}}
             %sums = broadcast %sum {{dims: [{b}, 3], axes: [0]}}
             %q = div %exp, %sums
             return %next as \"h\", %next as \"all\", %q as \"q\"
           }}}}
           return %last as \"last\", %all as \"all\", %probability as \"probability\"
         }}"
    );
    Graph::parse(&text).unwrap_or_else(|error| panic!("{error}"))
}

/// What the program of a graph gives behind some passes.
fn results(graph: &Graph, passes: &[GraphPass], values: &HashMap<String, Tensor>) -> HashMap<String, Tensor> {
    let mut graph = graph.clone();
    let options = Options { algorithms: everywhere(4), ..Options::default() };
    Manager::new(options).run(passes, &mut graph).unwrap_or_else(|error| panic!("{error}\n{graph}"));
    let program = lower::lower(&graph, &HashMap::new()).expect("a program");
    let mut found = evaluate_program(&program, values, GridOrder::Forward).expect("it runs");
    found.retain(|name, _| !name.starts_with("state "));
    found
}

/// Products before and behind a loop are the sums of the loop, term for term.
#[test]
fn work_at_once_keeps_the_bits_of_programs() {
    for reverse in [false, true] {
        let graph = cell(3, reverse);
        let values = parameters(&graph, 5, false);
        let expected = results(&graph, &[], &values);
        for names in ["time-batch", "hoist", "hoist,time-batch,hoist,dce", "merge,hoist,cse,dce,fuse"] {
            let passes = graph_passes(names).expect("passes");
            let mut after = graph.clone();
            let changed = Manager::new(Options::default()).run(&passes, &mut after).expect("they run");
            assert!(changed, "{names} change nothing");
            let found = results(&graph, &passes, &values);
            compare(&expected, &found, &|a, b| a.same(b)).unwrap_or_else(|e| panic!("{names}: {e}\n{after}"));
        }
    }
}

/// The same samples in batches of several sizes.
#[test]
fn loops_give_a_sample_the_same_bits_in_any_batch() {
    const MOST: usize = 5;
    for reverse in [false, true] {
        let values = parameters(&cell(MOST, reverse), 9, false);
        let passes = [INFER, REGIONS].concat();
        let whole = results(&cell(MOST, reverse), &passes, &values);
        for batch in [1, 2, 4] {
            let graph = cell(batch, reverse);
            let some: HashMap<String, Tensor> = values
                .iter()
                .map(|(name, tensor)| (name.clone(), first_samples(tensor, MOST, batch)))
                .collect();
            let found = results(&graph, &passes, &some);
            assert_eq!(found.len(), 3);
            for (name, tensor) in found {
                let expected = first_samples(&whole[&name], MOST, batch);
                assert_eq!(tensor.ty(), expected.ty());
                for i in 0..tensor.elements() {
                    let (a, b) = (tensor.get(i), expected.get(i));
                    assert!(a.same(b), "{name}[{i}] with {batch} samples: {a:?}, with {MOST}: {b:?}");
                }
            }
        }
    }
}

/// The first samples of a tensor that has them, the rest of the others.
fn first_samples(tensor: &Tensor, most: usize, batch: usize) -> Tensor {
    let ty: Type = tensor.ty();
    // The features of x and e have that extent too, as their last axis.
    let axis = match ty.rank() {
        3 => 1,
        2 if ty.dims == [7, most] => 1,
        2 if ty.dims == [most, 6] || ty.dims == [most, 3] => 0,
        _ => return tensor.clone(),
    };
    let mut dims = ty.dims.clone();
    dims[axis] = batch;
    let small = ty.with_dims(dims);
    let inner: usize = ty.dims[axis + 1..].iter().product();
    Tensor::generate(&small, |i| {
        let (outer, sample, rest) = (i / (inner * batch), i / inner % batch, i % inner);
        tensor.get((outer * most + sample) * inner + rest)
    })
}

/// Loops that end before their sequence, with a logarithm in each step that has no finite derivative for the steps which are not
/// run: of a product that would go behind the loop, of one that would go before it, and of what is captured. What leaves the loop
/// is less than all of that, so derivatives are those of the steps that are run.
#[test]
fn derivatives_do_not_go_through_steps_that_are_not_run() {
    const BEHIND: &str = "graph @f(%more: bool[], %h: f32[2], %w: f32[2, 2], %x: f32[3, 2]) {
      %m, %last, %all = scan %more, %h, %w {length: 3, carries: 2, slices: 0, guarded: true, body: graph @b(%more: bool[], %h: f32[2], %w: f32[2, 2]) {
        %one = constant {value: f32[] [1]} %ones = broadcast %one {dims: [2], axes: []}
        %next = add %h, %ones %s = reduce_add %next {axes: [0]}
        %limit = constant {value: f32[] [4]} %again = lt %s, %limit
        %y = dot %next, %w {contract: [[0], [0]]} %l = log %y
        return %again as \"m\", %next as \"h\", %l as \"y\" }}
      %p = mul %all, %x %loss = reduce_add %p {axes: [0, 1]}
      %g = gradient %loss, %w return %g as \"g\" }";
    const BEFORE: &str = "graph @f(%more: bool[], %h: f32[2], %w: f32[2, 2], %x: f32[3, 2]) {
      %m, %last = scan %more, %h, %x, %w {length: 3, carries: 2, slices: 1, guarded: true, body: graph @b(%more: bool[], %h: f32[2], %x: f32[2], %w: f32[2, 2]) {
        %y = dot %x, %w {contract: [[0], [0]]} %l = log %y
        %next = add %h, %l %s = reduce_add %next {axes: [0]}
        %limit = constant {value: f32[] [1]} %again = lt %s, %limit
        return %again as \"m\", %next as \"h\" }}
      %loss = reduce_add %last {axes: [0]}
      %g = gradient %loss, %w return %g as \"g\" }";
    // The logarithm is of what goes into the product.
    const INSIDE: &str = "graph @f(%more: bool[], %h: f32[2], %w: f32[2, 2], %x: f32[3, 2]) {
      %m, %last = scan %more, %h, %x, %w {length: 3, carries: 2, slices: 1, guarded: true, body: graph @b(%more: bool[], %h: f32[2], %x: f32[2], %w: f32[2, 2]) {
        %l = log %x %y = dot %l, %w {contract: [[0], [0]]}
        %next = add %h, %y %s = reduce_add %next {axes: [0]}
        %limit = constant {value: f32[] [1]} %again = lt %s, %limit
        return %again as \"m\", %next as \"h\" }}
      %loss = reduce_add %last {axes: [0]}
      %g = gradient %loss, %x return %g as \"g\" }";
    const CAPTURED: &str = "graph @f(%more: bool[], %h: f32[2], %w: f32[2, 2], %x: f32[3, 2]) {
      %m, %last = scan %more, %h, %x {length: 3, carries: 2, slices: 0, guarded: true, body: graph @b(%more: bool[], %h: f32[2], %x: f32[3, 2]) {
        %l = log %x %t = reduce_add %l {axes: [0]} %next = mul %h, %t
        %s = reduce_add %next {axes: [0]}
        %limit = constant {value: f32[] [1]} %again = lt %s, %limit
        return %again as \"m\", %next as \"h\" }}
      %loss = reduce_add %last {axes: [0]}
      %g = gradient %loss, %x return %g as \"g\" }";
    // Two steps of three are run, or none.
    for (text, more) in [(BEHIND, true), (BEFORE, true), (INSIDE, true), (CAPTURED, false)] {
        let graph = Graph::parse(text).expect("a graph");
        let numbers = |dims: &[usize], number: fn(usize) -> f64| {
            Tensor::generate(&Type::new(DType::F32, dims), |i| Scalar::from_f64(DType::F32, number(i)))
        };
        let values: HashMap<String, Tensor> = [
            ("more", Tensor::generate(&Type::new(DType::Bool, []), |_| Scalar::Bool(more))),
            ("h", numbers(&[2], |_| 0.0)),
            ("w", numbers(&[2, 2], |_| 0.5)),
            ("x", numbers(&[3, 2], |i| [1.0, 1.0, 3.0, 3.0, 0.0, 0.0][i])),
        ]
        .into_iter()
        .map(|(name, tensor)| (name.to_owned(), tensor))
        .collect();
        let expected = results(&graph, &graph_passes("grad").expect("passes"), &values);
        let near = |a: Scalar, b: Scalar| (a.to_f64() - b.to_f64()).abs() <= 1e-6;
        for names in ["hoist,grad", "time-batch,grad", "hoist,time-batch,grad,dce,hoist,time-batch,dce"] {
            let found = results(&graph, &graph_passes(names).expect("passes"), &values);
            compare(&expected, &found, &near).unwrap_or_else(|e| panic!("{names}: {e}\n{graph}"));
        }
    }
}
