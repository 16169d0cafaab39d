//! The order of reductions: a function of how many elements are combined, wherever they lie.
//!
//! [`planned`] says the order once more, in the plainest way; whatever is lowered must give its bits.

use std::collections::HashMap;

use brolga_ir::graph::Origin;
use brolga_ir::ops::Role;
use brolga_ir::program::Combine;
use brolga_ir::program::interpret::{GridOrder, Interpreter};
use brolga_ir::scalar::Scalar;
use brolga_ir::{Builder, DType, Graph, Tensor, Type, Value};
use brolga_passes::lower::{BLOCK, LANES, lower};
use brolga_passes::{Manager, Options, fuse, pipelines};

/// Blocks in pairs, these in pairs again; of a block, lane `i mod 32`, and a tree over lanes.
fn planned(combine: Combine, elements: &[f32]) -> f32 {
    let identity = combine.identity(DType::F32);
    let both = |a: Scalar, b: Scalar| combine.apply(a, b);
    let mut blocks: Vec<Scalar> = elements
        .chunks(BLOCK)
        .map(|block| {
            let mut lanes = vec![identity; LANES];
            for (i, &x) in block.iter().enumerate() {
                lanes[i % LANES] = both(lanes[i % LANES], Scalar::F32(x));
            }
            while lanes.len() > 1 {
                let behind = lanes.split_off(lanes.len() / 2);
                lanes = lanes.into_iter().zip(behind).map(|(a, b)| both(a, b)).collect();
            }
            lanes[0]
        })
        .collect();
    while blocks.len() > 1 {
        blocks = blocks.chunks(2).map(|pair| pair.iter().copied().reduce(both).expect("a block")).collect();
    }
    blocks.first().copied().unwrap_or(identity).to_f64() as f32
}

/// Numbers of very different sizes, so that every order has bits of its own; for maxima, zeros of either sign.
fn numbers(combine: Combine, count: usize, salt: u64) -> Vec<f32> {
    let mut random = crate::common::lcg::Lcg::new(salt);
    let mut next = move || random.unit() as f32;
    (0..count)
        .map(|_| match combine {
            Combine::Max => {
                if next() > 0.0 {
                    0.0
                } else {
                    -0.0
                }
            }
            Combine::Mul => 1.0 + next() * 1e-2,
            _ => next() * (8.0 * next()).exp2(),
        })
        .collect()
}

/// A tensor of which a part is reduced: extents, and the axes.
type Case = (Vec<usize>, Vec<usize>);

/// Ways in which `n` elements lie among others, or alone.
fn layouts(n: usize) -> Vec<Case> {
    let mut cases = vec![
        (vec![n], vec![0]),
        (vec![1, n], vec![1]),
        (vec![n, 1], vec![0]),
        (vec![1, n, 1], vec![1]),
        (vec![3, n], vec![1]),
        (vec![n, 2], vec![0]),
        (vec![n, 19], vec![0]),
        (vec![2, n, 3], vec![1]),
        (vec![n, 5, 40], vec![0]),
    ];
    for a in [2, 3, 7, 32, 100] {
        if n.is_multiple_of(a) && n > a {
            let b = n / a;
            cases.extend([
                (vec![a, b], vec![0, 1]),
                (vec![a, 1, b], vec![0, 2]),
                (vec![a, 2, b], vec![0, 2]),
                (vec![a, 2, b, 9], vec![0, 2]),
                (vec![a, b, 33], vec![0, 1]),
                (vec![2, a, b, 1], vec![1, 2]),
            ]);
        }
    }
    cases
}

/// The elements that each result combines, in order.
fn groups(dims: &[usize], axes: &[usize], values: &[f32]) -> Vec<Vec<f32>> {
    let mut groups: HashMap<Vec<usize>, (usize, Vec<f32>)> = HashMap::new();
    let mut at = vec![0; dims.len()];
    for &value in values {
        let kept = (0..dims.len()).filter(|axis| !axes.contains(axis)).map(|axis| at[axis]).collect();
        let next = groups.len();
        groups.entry(kept).or_insert((next, Vec::new())).1.push(value);
        for axis in (0..dims.len()).rev() {
            at[axis] += 1;
            if at[axis] < dims[axis] {
                break;
            }
            at[axis] = 0;
        }
    }
    let mut groups: Vec<(usize, Vec<f32>)> = groups.into_values().collect();
    groups.sort_by_key(|group| group.0);
    groups.into_iter().map(|group| group.1).collect()
}

/// What is reduced of the inputs.
#[derive(Clone, Copy)]
enum Summand {
    /// The input.
    Plain,
    /// Its product with what varies along the first reduced axis alone: an index that is not linear in the position.
    Scaled,
    /// The same, and the product is stored as well.
    Stored,
}

fn graph((dims, axes): &Case, combine: Combine, summand: Summand) -> Graph {
    let mut graph = Graph::new("test");
    let x = graph.add_parameter("x", Role::Data, Type::new(DType::F32, dims.as_slice()));
    let by = graph.add_parameter("by", Role::Data, Type::new(DType::F32, [dims[axes[0]]]));
    let mut b = Builder::new(&mut graph, Origin::default());
    let mut outputs: Vec<Value> = Vec::new();
    let y = match summand {
        Summand::Plain => x,
        _ => {
            let by = b.broadcast(by, dims, &axes[..1]).expect("broadcast");
            b.mul(x, by).expect("mul")
        }
    };
    if matches!(summand, Summand::Stored) {
        outputs.push(y);
    }
    outputs.insert(0, b.reduce(combine, y, axes).expect("reduce"));
    for (i, value) in outputs.into_iter().enumerate() {
        graph.add_output(&format!("y{i}"), Role::Data, value);
    }
    graph
}

fn check(case: &Case, combine: Combine, summand: Summand) {
    let (dims, axes) = case;
    let count = dims.iter().product();
    let (x, by) = (numbers(combine, count, 1), numbers(Combine::Mul, dims[axes[0]], 2));
    let behind: usize = dims[axes[0] + 1..].iter().product();
    let scale = |i: usize| by[i / behind % dims[axes[0]]];
    let y: Vec<f32> = match summand {
        Summand::Plain => x.clone(),
        _ => x.iter().enumerate().map(|(i, x)| x * scale(i)).collect(),
    };
    let expected: Vec<f32> = groups(dims, axes, &y).iter().map(|group| planned(combine, group)).collect();
    let inputs = [Tensor::f32(dims.as_slice(), x), Tensor::f32([by.len()], by)];
    let mut graph = graph(case, combine, summand);
    for fused in [false, true] {
        if fused {
            fuse::fuse(&mut graph).expect("fuse");
        }
        let mut program = lower(&graph, &HashMap::new()).expect("lower");
        for passes in [false, true] {
            if passes {
                let options = Options { least_part: 64, ..Options::default() };
                Manager::new(options).run(pipelines::PROGRAM, &mut program).expect("program passes");
            }
            let order = if passes { GridOrder::Reverse } else { GridOrder::Forward };
            let run = Interpreter::new(&program).expect("interpreter").with_order(order);
            let found =
                run.run(&inputs, &mut []).unwrap_or_else(|e| panic!("{dims:?} {axes:?}: {e}\n{program}"));
            for (i, &expected) in expected.iter().enumerate() {
                let found = found[0].get(i);
                assert!(
                    found.same(Scalar::F32(expected)),
                    "{} of {dims:?} along {axes:?} at {i}: {found:?}, expected {expected:?}\n{program}",
                    combine.name()
                );
            }
        }
    }
}

/// Around the number of lanes, and of a block; several blocks, and what is left over.
const COUNTS: [usize; 16] =
    [1, 2, 7, 8, 9, 21, 31, 32, 33, 64, 100, 1000, 1024, 1025, 3 * 1024 + 100, 7 * 1024];

#[test]
fn the_order_of_sums_depends_on_their_number_alone() {
    for n in COUNTS {
        for case in layouts(n) {
            check(&case, Combine::Add, Summand::Plain);
        }
    }
}

#[test]
fn so_does_that_of_what_is_computed_on_the_way() {
    for n in [6, 33, 96, 1000, 2048, 2100] {
        for case in layouts(n) {
            check(&case, Combine::Add, Summand::Scaled);
            check(&case, Combine::Add, Summand::Stored);
        }
    }
}

#[test]
fn and_that_of_products_and_maxima() {
    for n in [5, 9, 33, 1000, 1100] {
        for case in layouts(n) {
            check(&case, Combine::Mul, Summand::Plain);
            check(&case, Combine::Max, Summand::Plain);
        }
    }
}

/// Sums of few columns and many rows, or of few rows that are long, become several kernels.
#[test]
fn large_sums_in_parallel() {
    for case in [
        (vec![3000, 12], vec![0]),
        (vec![4096, 8], vec![0]),
        (vec![5, 900, 16], vec![0, 1]),
        (vec![140_000], vec![0]),
        (vec![2, 70_000], vec![1]),
    ] {
        check(&case, Combine::Add, Summand::Plain);
        check(&case, Combine::Add, Summand::Stored);
    }
}

/// Zeros behind, be they few or blocks of them, change no bit.
#[test]
fn zeros_behind_change_no_bit() {
    for n in [1, 31, 100, 1000, 1024, 1030, 5 * 1024 + 7, 6 * 1024] {
        let x = numbers(Combine::Add, n, 3);
        let sum = planned(Combine::Add, &x);
        for zeros in [1, 30, 1024, 10_000] {
            let longer = [x.as_slice(), &vec![0.0; zeros]].concat();
            assert_eq!(planned(Combine::Add, &longer).to_bits(), sum.to_bits(), "{n} and {zeros} zeros");
        }
    }
}
