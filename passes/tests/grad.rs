//! The pass `grad` against central differences, in f64.

mod regions;

use brolga_ir::interpret::interpret;
use brolga_ir::ops::{Conv, Distribution, Op, Role, While};
use brolga_ir::program::Combine;
use brolga_ir::scalar::{Comparison, Function, Scalar};
use brolga_ir::tensor::Data;
use brolga_ir::{Builder, DType, Graph, GraphError, Origin, Tensor, Type, Value};
use brolga_passes::{Manager, Options, pipelines};

type Built = Result<Value, GraphError>;
type Loss = fn(&mut Builder, &[Value]) -> Built;

/// Numbers in (-1, 1), none near zero.
fn sample(ty: &Type, seed: u64) -> Tensor {
    let mut random = crate::common::lcg::Lcg::new(seed);
    Tensor::generate(ty, |_| {
        let unit = (random.bits() >> 11) as f64 / (1u64 << 53) as f64;
        Scalar::F64(if unit < 0.5 { unit * 1.8 - 1.0 } else { unit * 1.8 - 0.8 })
    })
}

fn values(tensor: &Tensor) -> &[f64] {
    match tensor.data() {
        Data::F64(v) => v,
        other => panic!("not f64: {other:?}"),
    }
}

/// A graph over inputs of those extents that returns what `build` makes of them.
fn graph(
    dims: &[&[usize]],
    build: impl Fn(&mut Builder, &[Value]) -> Result<Vec<Value>, GraphError>,
) -> Graph {
    let mut graph = Graph::new("test");
    let inputs: Vec<Value> = dims
        .iter()
        .enumerate()
        .map(|(i, &dims)| graph.add_parameter(&format!("x{i}"), Role::Data, Type::new(DType::F64, dims)))
        .collect();
    let results = build(&mut Builder::new(&mut graph, Origin::new("layer")), &inputs).unwrap();
    for (i, value) in results.into_iter().enumerate() {
        graph.add_output(&format!("y{i}"), Role::Data, value);
    }
    graph
}

fn differentiated(mut graph: Graph) -> Graph {
    Manager::new(Options::default()).run(&pipelines::graph_passes("grad,dce").unwrap(), &mut graph).unwrap();
    let left = |op: &Op| op.is_derivative() || matches!(op, Op::StopGradient(_));
    assert!(!graph.nodes().any(|id| left(&graph.node(id).op)));
    graph
}

fn run(graph: &Graph, inputs: &[Tensor]) -> Vec<Tensor> {
    interpret(graph, &inputs.iter().collect::<Vec<_>>()).unwrap()
}

/// Compares derivatives with central differences of the function itself.
fn check_against(function: &Graph, gradients: &Graph, inputs: &[Tensor]) {
    let exact = run(gradients, inputs);
    for (which, gradient) in exact.iter().enumerate() {
        for element in 0..gradient.elements() {
            let at = |step: f64| {
                let mut moved = inputs.to_vec();
                let x = values(&moved[which])[element];
                moved[which].set(element, Scalar::F64(x + step));
                values(&run(function, &moved)[0])[0]
            };
            let h = 1e-4;
            // Fourth order: error h⁴ f⁽⁵⁾ / 30.
            let slope = (8.0 * (at(h) - at(-h)) - (at(2.0 * h) - at(-2.0 * h))) / (12.0 * h);
            let found = values(gradient)[element];
            let error = (found - slope).abs() / slope.abs().max(1.0);
            assert!(error < 1e-8, "input {which}, element {element}: {found}, differences give {slope}");
        }
    }
}

/// First and second order: the second differentiates a weighted sum of the first derivatives.
fn check(dims: &[&[usize]], loss: Loss) {
    let inputs: Vec<Tensor> = dims
        .iter()
        .enumerate()
        .map(|(i, &dims)| sample(&Type::new(DType::F64, dims), i as u64 + 1))
        .collect();
    let first = differentiated(graph(dims, |b, x| Ok(vec![loss(b, x)?])));
    let gradients = |loss: &dyn Fn(&mut Builder, &[Value]) -> Built| {
        differentiated(graph(dims, |b, x| {
            let loss = loss(b, x)?;
            b.gradient(loss, x)
        }))
    };
    check_against(&first, &gradients(&|b, x| loss(b, x)), &inputs);
    let weighted = |b: &mut Builder, x: &[Value]| {
        let inner = loss(b, x)?;
        let inner = b.gradient(inner, x)?;
        let mut sum = b.scalar(0.0, DType::F64)?;
        for (i, &g) in inner.iter().enumerate() {
            let ty = b.ty(g).clone();
            let weight = b.constant(sample(&ty, 77 + i as u64))?;
            let product = b.mul(g, weight)?;
            let axes: Vec<usize> = (0..ty.rank()).collect();
            let part = b.sum(product, &axes)?;
            sum = b.add(sum, part)?;
        }
        Ok(sum)
    };
    let second = differentiated(graph(dims, |b, x| Ok(vec![weighted(b, x)?])));
    check_against(&second, &gradients(&|b, x| weighted(b, x)), &inputs);
    check_forward(dims, loss, &inputs);
}

/// The derivative along a direction against central differences; and the Hessian-vector product, forward over
/// reverse and reverse over forward, against reverse over reverse.
fn check_forward(dims: &[&[usize]], loss: Loss, inputs: &[Tensor]) {
    let directions: Vec<Tensor> =
        inputs.iter().enumerate().map(|(i, x)| sample(&x.ty(), 31 + i as u64)).collect();
    let seeds = |b: &mut Builder, x: &[Value]| -> Result<Vec<(Value, Value)>, GraphError> {
        x.iter().zip(&directions).map(|(&x, t)| Ok((x, b.constant(t.clone())?))).collect()
    };
    let slope = |b: &mut Builder, x: &[Value]| {
        let y = loss(b, x)?;
        let seeds = seeds(b, x)?;
        b.jvp(&[y], &seeds)
    };
    let function = differentiated(graph(dims, |b, x| Ok(vec![loss(b, x)?])));
    let at = |step: f64| {
        let moved = |(x, t): (&Tensor, &Tensor)| {
            let sum = |i: usize| Scalar::F64(values(x)[i] + step * values(t)[i]);
            Tensor::generate(&x.ty(), sum)
        };
        values(&run(&function, &inputs.iter().zip(&directions).map(moved).collect::<Vec<_>>())[0])[0]
    };
    let h = 1e-4;
    let expected = (8.0 * (at(h) - at(-h)) - (at(2.0 * h) - at(-2.0 * h))) / (12.0 * h);
    let found = values(&run(&differentiated(graph(dims, slope)), inputs)[0])[0];
    let error = (found - expected).abs() / expected.abs().max(1.0);
    assert!(error < 1e-8, "along a direction: {found}, differences give {expected}");

    let forward_over_reverse = differentiated(graph(dims, |b, x| {
        let y = loss(b, x)?;
        let gradients = b.gradient(y, x)?;
        let seeds = seeds(b, x)?;
        b.jvp(&gradients, &seeds)
    }));
    let reverse_over_forward = differentiated(graph(dims, |b, x| {
        let slope = slope(b, x)?[0];
        b.gradient(slope, x)
    }));
    let reverse_over_reverse = differentiated(graph(dims, |b, x| {
        let y = loss(b, x)?;
        let gradients = b.gradient(y, x)?;
        let mut slope = b.scalar(0.0, DType::F64)?;
        for (g, (_, t)) in gradients.into_iter().zip(seeds(b, x)?) {
            let product = b.mul(g, t)?;
            let part = total(b, product)?;
            slope = b.add(slope, part)?;
        }
        b.gradient(slope, x)
    }));
    let expected = run(&reverse_over_reverse, inputs);
    for (order, graph) in [("first", forward_over_reverse), ("last", reverse_over_forward)] {
        for (which, (found, expected)) in run(&graph, inputs).iter().zip(&expected).enumerate() {
            assert_eq!(found.ty(), expected.ty());
            for (element, (found, expected)) in values(found).iter().zip(values(expected)).enumerate() {
                let error = (found - expected).abs() / expected.abs().max(1.0);
                assert!(
                    error < 1e-12,
                    "gradient {order}: input {which}, element {element}: {found}, not {expected}"
                );
            }
        }
    }
}

fn total(b: &mut Builder, x: Value) -> Result<Value, GraphError> {
    let axes: Vec<usize> = (0..b.ty(x).rank()).collect();
    b.sum(x, &axes)
}

#[test]
fn perceptron_with_softmax() {
    check(&[&[3, 4], &[4, 5], &[5], &[5, 3]], |b, x| {
        let h = b.matmul(x[0], x[1])?;
        let bias = b.broadcast(x[2], &[3, 5], &[1])?;
        let h = b.add(h, bias)?;
        let h = b.function(Function::Tanh, h)?;
        let logits = b.matmul(h, x[3])?;
        let highest = b.reduce(Combine::Max, logits, &[1])?;
        let highest = b.stop_gradient(highest)?;
        let highest = b.broadcast(highest, &[3, 3], &[0])?;
        let shifted = b.sub(logits, highest)?;
        let exp = b.function(Function::Exp, shifted)?;
        let sum = b.sum(exp, &[1])?;
        let log = b.function(Function::Log, sum)?;
        let label = b.constant(Tensor::i32([3], [2, 0, 1]))?;
        let hot = b.one_hot(label, 3, DType::F64)?;
        let picked = b.mul(hot, shifted)?;
        let picked = b.sum(picked, &[1])?;
        let losses = b.sub(log, picked)?;
        b.mean(losses, &[0])
    });
}

#[test]
fn convolution_with_normalisation() {
    check(&[&[2, 2, 4, 4], &[3, 2, 3, 3], &[3], &[3]], |b, x| {
        let conv = Conv { padding: vec![(1, 1); 2], stride: vec![2, 1], ..Conv::new(2) };
        let y = b.conv(conv, x[0], x[1])?;
        let dims = b.dims(y);
        let mean = b.mean(y, &[0, 2, 3])?;
        let mean = b.broadcast(mean, &dims, &[1])?;
        let centred = b.sub(y, mean)?;
        let square = b.mul(centred, centred)?;
        let variance = b.mean(square, &[0, 2, 3])?;
        let variance = b.add_scalar(variance, 1e-3)?;
        let scale = b.function(Function::Rsqrt, variance)?;
        let scale = b.mul(scale, x[2])?;
        let scale = b.broadcast(scale, &dims, &[1])?;
        let shift = b.broadcast(x[3], &dims, &[1])?;
        let y = b.mul(centred, scale)?;
        let y = b.add(y, shift)?;
        let y = b.function(Function::Sigmoid, y)?;
        let square = b.mul(y, y)?;
        total(b, square)
    });
}

#[test]
fn shared_values_and_shapes() {
    check(&[&[2, 6], &[3]], |b, x| {
        let cut = b.slice(x[0], &[0, 1], &[2, 6], &[1, 2])?;
        let turned = b.transpose(cut, &[1, 0])?;
        let zero = b.scalar(0.5, DType::F64)?;
        let padded = b.pad(turned, zero, &[1, 0], &[0, 1], &[1, 0])?;
        let joined = b.concat(&[padded, padded], 0)?;
        let flat = b.reshape(joined, &[12, 3])?;
        let row = b.broadcast(x[1], &[12, 3], &[1])?;
        let product = b.mul(flat, row)?;
        let product = b.reverse(product, &[0])?;
        let zero = b.zeros_like(product)?;
        let above = b.compare(Comparison::Gt, product, zero)?;
        let square = b.mul(product, product)?;
        let y = b.select(above, square, product)?;
        let quotient = b.add_scalar(square, 2.0)?;
        let y = b.div(y, quotient)?;
        total(b, y)
    });
}

#[test]
fn gathered_rows() {
    check(&[&[4, 3], &[2, 3]], |b, x| {
        let index = b.constant(Tensor::i32([2], [3, 1]))?;
        let rows = b.gather(x[0], index, 0)?;
        let y = b.mul(rows, x[1])?;
        let y = b.function(Function::Exp, y)?;
        let all = b.scatter_add(x[0], index, y, 0)?;
        let square = b.mul(all, all)?;
        total(b, square)
    });
}

/// A loss that holds the norm of a gradient, differentiated: three levels in all.
#[test]
fn gradient_penalty() {
    check(&[&[3], &[3]], |b, x| {
        let product = b.mul(x[0], x[1])?;
        let y = b.function(Function::Tanh, product)?;
        let y = total(b, y)?;
        let inner = b.gradient(y, &x[..1])?[0];
        let square = b.mul(inner, inner)?;
        let penalty = total(b, square)?;
        b.add(y, penalty)
    });
}

/// Several outputs, one of them an input, one of them independent; tangents that are computed.
#[test]
fn tangents_of_several_values() {
    let all = differentiated(graph(&[&[2], &[2]], |b, x| {
        let square = b.mul(x[0], x[0])?;
        let fixed = b.stop_gradient(x[0])?;
        let half = b.mul(fixed, x[0])?;
        b.jvp(&[square, half, x[0], x[1]], &[(x[0], square)])
    }));
    let out = run(&all, &[Tensor::f64([2], [2.0, -3.0]), Tensor::f64([2], [5.0, 5.0])]);
    assert_eq!(values(&out[0]), [16.0, -54.0], "2 x times x²");
    assert_eq!(values(&out[1]), [8.0, -27.0], "one factor stands still");
    assert_eq!(values(&out[2]), [4.0, 9.0]);
    assert_eq!(values(&out[3]), [0.0, 0.0]);
}

#[test]
fn intermediate_values_and_absent_dependence() {
    let all = differentiated(graph(&[&[2], &[2]], |b, x| {
        let h = b.mul(x[0], x[0])?;
        let y = b.mul(h, x[0])?;
        let loss = total(b, y)?;
        b.gradient(loss, &[x[0], h, x[1], loss])
    }));
    let out = run(&all, &[Tensor::f64([2], [2.0, -3.0]), Tensor::f64([2], [5.0, 5.0])]);
    assert_eq!(values(&out[0]), [12.0, 27.0], "3 x²: through h as well");
    assert_eq!(values(&out[1]), [2.0, -3.0]);
    assert_eq!(values(&out[2]), [0.0, 0.0]);
    assert_eq!(values(&out[3]), [1.0]);
}

#[test]
fn stop_gradient_stops() {
    let all = differentiated(graph(&[&[2]], |b, x| {
        let fixed = b.stop_gradient(x[0])?;
        let y = b.mul(fixed, x[0])?;
        let loss = total(b, y)?;
        b.gradient(loss, x)
    }));
    let out = run(&all, &[Tensor::f64([2], [2.0, -3.0])]);
    assert_eq!(values(&out[0]), [2.0, -3.0]);
}

#[test]
fn origins_name_the_layer() {
    let all = differentiated(graph(&[&[2]], |b, x| {
        b.origin = Origin::new("act");
        let y = b.function(Function::Exp, x[0])?;
        b.origin = Origin::new("loss");
        let loss = total(b, y)?;
        b.gradient(loss, x)
    }));
    let paths: Vec<&str> = all.nodes().map(|id| &*all.node(id).origin.path).collect();
    assert!(paths.contains(&"act/backward") && paths.contains(&"loss/backward"), "{paths:?}");
}

#[test]
fn what_is_not_differentiable_is_named() {
    let region = |name: &str| {
        let mut region = Graph::new(name);
        let carry = region.add_parameter("a", Role::Data, Type::new(DType::F64, [2]));
        (region, carry)
    };
    let (mut body, carry) = region("body");
    body.add_output("a", Role::Data, carry);
    let (mut condition, _) = region("condition");
    let again = Builder::new(&mut condition, Origin::default()).constant(Tensor::scalar(Scalar::Bool(false)));
    condition.add_output("again", Role::Data, again.unwrap());
    let looped = While { condition, body, carries: 1, limit: 3 };
    let mut graph = graph(&[&[2]], |b, x| {
        b.origin = Origin::new("encoder.sample");
        let y = b.add_node(looped.clone(), &[x[0]])?;
        let loss = total(b, y)?;
        b.gradient(loss, x)
    });
    let error = Manager::new(Options::default()).run(pipelines::TRAIN, &mut graph).unwrap_err().to_string();
    assert!(error.starts_with("encoder.sample: while is not differentiable: "), "{error}");
    assert!(error.contains("stop_gradient") && error.contains("`grad`"), "{error}");
}

#[test]
fn random_numbers_are_constants() {
    let all = differentiated(graph(&[&[4]], |b, x| {
        let seed = b.constant(Tensor::scalar(Scalar::I64(3)))?;
        let noise = b.random(Distribution::Uniform, 7, &Type::new(DType::F64, [4]), seed, seed)?;
        let y = b.mul(noise, x[0])?;
        let loss = total(b, y)?;
        b.gradient(loss, x)
    }));
    let out = run(&all, &[Tensor::f64([4], [1.0; 4])]);
    assert!(values(&out[0]).iter().all(|&v| (0.0..1.0).contains(&v)));
}

/// Deep graphs neither overflow the stack nor take more than linear time; results are the same every time.
#[test]
fn a_hundred_thousand_nodes() {
    let build = || {
        differentiated(graph(&[&[1]], |b, x| {
            let mut y = x[0];
            for _ in 0..50_000 {
                let half = b.neg(y)?;
                y = b.sub(x[0], half)?;
            }
            let loss = total(b, y)?;
            b.gradient(loss, x)
        }))
    };
    let all = build();
    let out = run(&all, &[Tensor::f64([1], [1.0])]);
    assert_eq!(values(&out[0]), [50_001.0]);
    assert!(all == build());
}

#[test]
fn slices_of_one_value_add_up() {
    let mut random = crate::common::Rng(7);
    for case in 0..200 {
        let rank = 1 + random.below(3);
        let dims: Vec<usize> = (0..rank).map(|_| 1 + random.below(9)).collect();
        let mut graph = Graph::new("slices");
        let x = graph.add_parameter("x", Role::Data, Type::new(DType::F64, dims.clone()));
        let mut given = vec![sample(&Type::new(DType::F64, dims.clone()), 1)];
        let mut expected = vec![0.0; dims.iter().product()];
        let mut loss = Builder::new(&mut graph, Origin::default()).scalar(0.0, DType::F64).unwrap();
        for number in 0..2 + random.below(9) {
            let (mut start, mut limit, mut stride) = (Vec::new(), Vec::new(), Vec::new());
            for &extent in &dims {
                let whole = random.below(3) == 0;
                let from = if whole { 0 } else { random.below(extent) };
                start.push(from);
                limit.push(if whole { extent } else { from + random.below(extent - from + 1) });
                stride.push(1 + random.below(3) * random.below(2));
            }
            let b = &mut Builder::new(&mut graph, Origin::default());
            let piece = b.slice(x, &start, &limit, &stride).unwrap();
            let ty = b.ty(piece).clone();
            let weights = graph.add_parameter(&format!("w{number}"), Role::Data, ty.clone());
            let w = sample(&ty, 2 + number as u64);
            let strides = Type::new(DType::F64, dims.clone()).strides();
            for i in 0..ty.elements() {
                let (mut rest, mut place) = (i, 0);
                for axis in (0..rank).rev() {
                    place += (start[axis] + rest % ty.dims[axis] * stride[axis]) * strides[axis];
                    rest /= ty.dims[axis];
                }
                expected[place] += values(&w)[i];
            }
            given.push(w);
            let b = &mut Builder::new(&mut graph, Origin::default());
            let product = b.mul(piece, weights).unwrap();
            let sum = b.sum(product, &(0..rank).collect::<Vec<_>>()).unwrap();
            loss = b.add(loss, sum).unwrap();
        }
        let gradient = Builder::new(&mut graph, Origin::default()).gradient(loss, &[x]).unwrap();
        graph.add_output("dx", Role::Data, gradient[0]);
        let graph = differentiated(graph);
        let found = interpret(&graph, &given.iter().collect::<Vec<_>>()).unwrap();
        for (at, (found, wanted)) in values(&found[0]).iter().zip(&expected).enumerate() {
            assert!((found - wanted).abs() < 1e-12, "case {case}, {dims:?} at {at}: {found}, {wanted}");
        }
    }
}
