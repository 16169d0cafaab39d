//! Convolutions with kernels so large that not every combination of border positions has code of its own: the image is padded,
//! or taps are tested. The sums are the chains that small kernels have, to the bit.

use std::collections::HashMap;

use brolga_ir::graph::Origin;
use brolga_ir::ops::{Conv, ConvForm, Role};
use brolga_ir::program::Program;
use brolga_ir::program::interpret::{GridOrder, Interpreter};
use brolga_ir::program::walk::walk;
use brolga_ir::scalar::Scalar;
use brolga_ir::{Builder, DType, Graph, Tensor, Type};
use brolga_passes::program::{parallelise, vectorise};
use brolga_passes::{Options, lower};

use crate::common::{Rng, tensor};

/// Extents of x, w, and y, without the batch of one: `[channels, rows, columns]`, and w `[outputs, channels, …]`.
struct Case {
    conv: Conv,
    x: [usize; 3],
    w: [usize; 4],
    y: [usize; 3],
}

/// A convolution with the same attributes along both axes, but for the extents.
fn case(
    x: [usize; 3],
    w: [usize; 4],
    groups: usize,
    step: usize,
    padding: [usize; 2],
    dilation: usize,
) -> Case {
    let high = padding.map(|padding| padding + padding.min(1));
    let conv = Conv {
        groups,
        stride: vec![step; 2],
        padding: vec![(padding[0], high[0]), (padding[1], high[1])],
        rhs_dilation: vec![dilation; 2],
        ..Conv::new(2)
    };
    let y = |axis: usize| {
        (x[axis] + padding[axis - 1] + high[axis - 1] - dilation * (w[axis + 1] - 1) - 1) / step + 1
    };
    Case { conv, x, w, y: [w[0], y(1), y(2)] }
}

/// Calls `f` with every position of w and y, those of y in row-major order and inside of these those of w, and the input under
/// them, all flat.
fn for_taps(case: &Case, mut f: impl FnMut([usize; 2], [usize; 2], [usize; 2])) {
    let (conv, x, w, y) = (&case.conv, case.x, case.w, case.y);
    let at = |axis: usize, p: usize, k: usize| {
        (p * conv.stride[axis] + k * conv.rhs_dilation[axis])
            .checked_sub(conv.padding[axis].0)
            .filter(|&i| i < x[axis + 1])
    };
    for p in (0..y[1]).flat_map(|p| (0..y[2]).map(move |q| [p, q])) {
        for k in (0..w[2]).flat_map(|k| (0..w[3]).map(move |l| [k, l])) {
            if let (Some(i), Some(j)) = (at(0, p[0], k[0]), at(1, p[1], k[1])) {
                f(p, k, [i, j]);
            }
        }
    }
}

/// The chains of a form, from what the two others hold.
fn chains(case: &Case, form: &ConvForm, first: &[f32], second: &[f32]) -> Vec<f32> {
    let (x, w, y) = (case.x, case.w, case.y);
    let (inputs, outputs) = (w[1], w[0] / case.conv.groups);
    let flat = |dims: &[usize], at: &[usize]| at.iter().zip(dims).fold(0, |flat, (i, n)| flat * n + i);
    let mut taps = Vec::new();
    for_taps(case, |p, k, i| taps.push((p, k, i)));
    let mut result = vec![
        0.0f32;
        match form {
            ConvForm::Forward => y.iter().product(),
            ConvForm::InputGradient { .. } => x.iter().product(),
            ConvForm::WeightGradient { .. } => w.iter().product(),
        }
    ];
    // The kernel is turned round there: its last position comes first.
    if matches!(form, ConvForm::InputGradient { .. }) {
        taps.sort_by_key(|&(_, k, _)| std::cmp::Reverse(k));
    }
    for (p, k, i) in taps {
        for group in 0..case.conv.groups {
            for (o, c) in (0..outputs).flat_map(|o| (0..inputs).map(move |c| (o, c))) {
                let (o, c) = (group * outputs + o, c);
                let at_w = flat(&w, &[o, c, k[0], k[1]]);
                let at_x = flat(&x, &[group * inputs + c, i[0], i[1]]);
                let at_y = flat(&y, &[o, p[0], p[1]]);
                let (at, a, b) = match form {
                    ConvForm::Forward => (at_y, first[at_x], second[at_w]),
                    ConvForm::InputGradient { .. } => (at_x, first[at_y], second[at_w]),
                    ConvForm::WeightGradient { .. } => (at_w, first[at_x], second[at_y]),
                };
                result[at] = a.mul_add(b, result[at]);
            }
        }
    }
    result
}

fn lowered(conv: &Conv, types: [&Type; 2]) -> Program {
    let mut graph = Graph::new("large");
    let [a, b] = [("a", types[0]), ("b", types[1])]
        .map(|(name, ty)| graph.add_parameter(name, Role::Data, ty.clone()));
    let y =
        Builder::new(&mut graph, Origin::default()).add_node(conv.clone(), &[a, b]).expect("it has a type");
    graph.add_output("y", Role::Data, y);
    let mut program = lower::lower(&graph, &HashMap::new()).expect("lower");
    vectorise::vectorise(&mut program);
    parallelise::parallelise(&mut program, &Options::default()).expect("parallelise");
    program
}

fn statements(program: &Program) -> usize {
    program.kernels.iter().map(|kernel| walk(&kernel.body).count()).sum()
}

/// Forms of a convolution, with respect to `y`, `x` and `w`; each in few statements.
fn check(case: &Case, named: &str, what: &str) {
    let of = |dims: &[usize]| Type::new(DType::F32, dims);
    let image = |dims: [usize; 3]| of(&[1, dims[0], dims[1], dims[2]]);
    let (x, w, y) = (image(case.x), of(&case.w), image(case.y));
    let forms = [
        ('y', ConvForm::Forward, [&x, &w]),
        ('x', ConvForm::InputGradient { size: case.x[1..].to_vec() }, [&y, &w]),
        ('w', ConvForm::WeightGradient { kernel: case.w[2..].to_vec() }, [&x, &y]),
    ];
    for (_, form, types) in forms.into_iter().filter(|(name, ..)| named.contains(*name)) {
        let mut random = Rng(7);
        let values = types.map(|ty| tensor(&mut random, ty, false));
        let floats = |t: &Tensor| (0..t.elements()).map(|i| t.get(i).to_f64() as f32).collect::<Vec<f32>>();
        let expected = chains(case, &form, &floats(&values[0]), &floats(&values[1]));
        let program = lowered(&case.conv.with_form(form.clone()), types);
        assert!(statements(&program) < 12_000, "{what}, {form:?}: {} statements", statements(&program));
        let run = Interpreter::new(&program).expect("interpreter").with_order(GridOrder::Reverse);
        let found = run.run(&values, &mut Vec::new()).unwrap_or_else(|e| panic!("{what}, {form:?}: {e}"));
        for (i, &expected) in expected.iter().enumerate() {
            let found = found[0].get(i);
            assert!(
                found.same(Scalar::F32(expected)),
                "{what}, {form:?}: [{i}] is {found:?}, not {expected}"
            );
        }
    }
}

#[test]
fn large_kernels_sum_the_chains_of_small_ones() {
    // Zeros around the image, few taps tried, kernels larger than the image, steps, dilation, groups, channels.
    check(&case([1, 33, 34], [1, 1, 33, 33], 1, 1, [16, 16], 1), "y", "padded");
    check(&case([1, 60, 60], [1, 1, 33, 33], 1, 2, [16, 16], 1), "w", "padded, by steps");
    check(&case([2, 6, 5], [3, 2, 40, 41], 1, 1, [39, 39], 1), "yxw", "more kernel than image");
    check(&case([1, 70, 72], [2, 1, 35, 36], 1, 35, [1, 1], 1), "yxw", "steps as long as the kernel");
    check(&case([1, 45, 40], [1, 1, 36, 36], 1, 3, [35, 35], 1), "x", "steps");
    check(&case([1, 5, 4], [2, 1, 33, 33], 1, 1, [46, 46], 2), "yxw", "dilation");
    check(&case([1, 40, 31], [1, 1, 30, 33], 1, 4, [60, 60], 3), "yxw", "steps and dilation");
    check(&case([4, 5, 6], [4, 1, 33, 30], 4, 1, [30, 30], 1), "yxw", "channels by themselves");
    check(&case([4, 5, 6], [6, 2, 33, 30], 2, 1, [30, 30], 1), "yxw", "groups");
    check(&case([1, 2, 800], [1, 1, 1, 700], 1, 1, [0, 600], 1), "yxw", "one long axis");
}

#[test]
fn code_does_not_grow_with_kernels() {
    for (step, dilation) in [(1, 1), (2, 1), (64, 1), (3, 2)] {
        let size = |kernel: usize| {
            let case = case([1, 100, 100], [1, 1, kernel, kernel], 1, step, [kernel * dilation; 2], dilation);
            let of = |dims: [usize; 3]| Type::new(DType::F32, [1, dims[0], dims[1], dims[2]]);
            let (x, w, y) = (of(case.x), Type::new(DType::F32, case.w), of(case.y));
            let input = case.conv.with_form(ConvForm::InputGradient { size: case.x[1..].to_vec() });
            let weights = case.conv.with_form(ConvForm::WeightGradient { kernel: case.w[2..].to_vec() });
            [(&case.conv, [&x, &w]), (&input, [&y, &w]), (&weights, [&x, &y])]
                .map(|(conv, types)| statements(&lowered(conv, types)))
        };
        let (few, many) = (size(64), size(512));
        for (few, many) in few.into_iter().zip(many) {
            assert!(many <= 2 * few + 1000, "steps of {step}, dilation {dilation}: {few} statements, {many}");
        }
    }
}
