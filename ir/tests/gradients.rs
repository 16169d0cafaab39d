//! Every differentiable operator against central differences in f64, in first and second order.

use crate::common::{Case, Rng, cases};
use brolga_ir::graph::{Graph, GraphError, Value};
use brolga_ir::interpret::interpret;
use brolga_ir::ops::{Op, Role};
use brolga_ir::program::Combine;
use brolga_ir::scalar::{Comparison, Scalar, ScalarOp};
use brolga_ir::vjp::vjp;
use brolga_ir::{Builder, DType, Tensor, Type};

/// Why an operator has no gradient check.
const EXEMPT: [(&str, &str); 26] = [
    ("constant", "has no operands"),
    ("iota", "has no operands"),
    ("random", "is drawn from integers"),
    ("stop_gradient", "has no gradient by definition"),
    ("gradient", "is built before it is differentiated"),
    ("jvp", "is built before it is differentiated"),
    ("fused", "is made after differentiation"),
    ("while", "is not differentiable"),
    ("bitcast", "is not differentiable"),
    ("not", "has no float result"),
    ("and", "has no float result"),
    ("or", "has no float result"),
    ("xor", "has no float result"),
    ("shl", "has no float result"),
    ("shr", "has no float result"),
    ("shr_logical", "has no float result"),
    ("mul_high", "has no float result"),
    ("eq", "has no float result"),
    ("ne", "has no float result"),
    ("lt", "has no float result"),
    ("le", "has no float result"),
    ("gt", "has no float result"),
    ("ge", "has no float result"),
    ("reduce_and", "has no float result"),
    ("reduce_or", "has no float result"),
    ("parameter", "is what gradients are taken by"),
];

const STEP: f64 = 1e-5;
const TOLERANCE: f64 = 1e-6;

/// The sum of the products of `values` with random weights, and the weights as cotangents. Infinities (of empty
/// maxima) do not count.
fn weighted(b: &mut Builder, values: &[Value], rng: &mut Rng) -> (Value, Vec<(Value, Value)>) {
    let mut loss = b.scalar(0.0, DType::F64).unwrap();
    let mut seeds = Vec::new();
    for &value in values {
        let ty = b.ty(value).clone();
        let weights = Tensor::generate(&ty, |_| Scalar::F64(rng.float(-1.0, 1.0)));
        let weights = b.constant(weights).unwrap();
        let zero = b.zeros_like(value).unwrap();
        let (size, bound) = (b.elementwise(ScalarOp::Abs, &[value]).unwrap(), b.full(1e300, &ty).unwrap());
        let infinite = b.compare(Comparison::Ge, size, bound).unwrap();
        let weights = b.select(infinite, zero, weights).unwrap();
        let value_or_zero = b.select(infinite, zero, value).unwrap();
        let product = b.mul(value_or_zero, weights).unwrap();
        let axes: Vec<usize> = (0..ty.rank()).collect();
        let sum = b.sum(product, &axes).unwrap();
        loss = b.add(loss, sum).unwrap();
        seeds.push((value, weights));
    }
    (loss, seeds)
}

fn float_values(graph: &Graph, values: impl IntoIterator<Item = Value>) -> Vec<Value> {
    values.into_iter().filter(|&value| graph.ty(value).dtype == DType::F64).collect()
}

/// The loss, and its derivatives by every float parameter, as outputs of a graph; and again for a weighted sum of
/// those derivatives.
struct Derivatives {
    first: Graph,
    second: Option<Graph>,
}

fn derivatives(case: &Case) -> Result<Derivatives, String> {
    let graph = case.graph();
    let mut rng = Rng(11);
    let results = float_values(&graph, graph.outputs().iter().map(|o| o.value).collect::<Vec<_>>());
    let parameters: Vec<Value> = graph.parameters().iter().map(|&id| graph.result(id)).collect();
    let parameters = float_values(&graph, parameters);
    let mut differentiate = |graph: &Graph, values: &[Value]| -> Result<(Graph, Vec<Value>), GraphError> {
        let mut graph = graph.clone();
        let mut b = Builder::new(&mut graph, Default::default());
        let (loss, seeds) = weighted(&mut b, values, &mut rng);
        let found = vjp(&mut graph, &seeds, &parameters)?;
        graph.outputs_mut().clear();
        graph.add_output("loss", Role::Data, loss);
        let mut gradients = Vec::new();
        for (i, (found, &parameter)) in found.into_iter().zip(&parameters).enumerate() {
            let gradient = match found {
                Some(value) => value,
                None => Builder::new(&mut graph, Default::default()).zeros_like(parameter)?,
            };
            graph.add_output(&format!("d{i}"), Role::Data, gradient);
            gradients.push(gradient);
        }
        Ok((graph, gradients))
    };
    let (first, gradients) = differentiate(&graph, &results).map_err(|error| error.to_string())?;
    let second = match differentiate(&first, &gradients) {
        Ok((second, _)) => Some(second),
        Err(error) if error.message.contains(" is not differentiable: ") => None,
        Err(error) => return Err(error.to_string()),
    };
    Ok(Derivatives { first, second })
}

fn loss(graph: &Graph, parameters: &[Tensor]) -> f64 {
    let mut only = graph.clone();
    only.outputs_mut().truncate(1);
    interpret(&only, &parameters.iter().collect::<Vec<_>>()).expect("runs")[0].get(0).to_f64()
}

/// The worst relative error of the derivatives that a graph computes of its first output.
fn check(graph: &Graph, operands: &[Tensor]) -> Result<f64, String> {
    graph.verify().map_err(|e| e.to_string())?;
    let outputs = interpret(graph, &operands.iter().collect::<Vec<_>>()).map_err(|e| e.to_string())?;
    let mut worst = 0.0f64;
    let floats = (0..operands.len()).filter(|&i| operands[i].dtype() == DType::F64);
    for (operand, computed) in floats.zip(&outputs[1..]) {
        let (mut difference, mut size) = (0.0f64, 0.0f64);
        for i in 0..computed.elements() {
            let mut moved = operands.to_vec();
            let x = operands[operand].get(i).to_f64();
            moved[operand].set(i, Scalar::F64(x + STEP));
            let above = loss(graph, &moved);
            moved[operand].set(i, Scalar::F64(x - STEP));
            let below = loss(graph, &moved);
            let expected = (above - below) / (2.0 * STEP);
            let found = computed.get(i).to_f64();
            if !found.is_finite() || !expected.is_finite() {
                return Err(format!("operand {operand}, element {i}: {found}, differences give {expected}"));
            }
            difference = difference.max((found - expected).abs());
            size = size.max(found.abs()).max(expected.abs());
        }
        // Where the derivative vanishes the differences are rounding noise.
        worst = worst.max(difference / size.max(1e-2));
    }
    Ok(worst)
}

#[test]
fn gradients_agree_with_central_differences() {
    let mut failures = Vec::new();
    let (mut checked, mut second) = (0, 0);
    for case in cases().iter().filter(|case| EXEMPT.iter().all(|(name, _)| *name != case.op.get().name())) {
        let graph = case.graph();
        if float_values(&graph, graph.outputs().iter().map(|o| o.value).collect::<Vec<_>>()).is_empty() {
            continue;
        }
        checked += 1;
        let derivatives = match derivatives(case) {
            Ok(derivatives) => derivatives,
            Err(message) => {
                failures.push(format!("{}: {message}", case.label()));
                continue;
            }
        };
        let mut judge = |order: &str, graph: &Graph| match check(graph, &case.operands) {
            Ok(error) if error < TOLERANCE => {}
            Ok(error) => failures.push(format!("{}: {order} order is wrong by {error:e}", case.label())),
            Err(message) => failures.push(format!("{}: {order} order: {message}", case.label())),
        };
        judge("first", &derivatives.first);
        match &derivatives.second {
            Some(graph) => {
                second += 1;
                judge("second", graph);
            }
            None => failures.push(format!("{}: has no second derivative", case.label())),
        }
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
    assert!(checked > 200 && second > 200, "{checked} first orders, {second} second orders");
}

/// No operator is forgotten, and no exemption outlives its operator.
#[test]
fn every_operator_is_checked_or_exempt() {
    let cases = cases();
    let differentiable =
        |case: &&Case| case.operands.iter().any(|x| x.dtype() == DType::F64 && x.elements() > 0);
    let covered: Vec<&str> = cases.iter().filter(differentiable).map(|case| case.op.get().name()).collect();
    let exempt = |name: &str| EXEMPT.iter().any(|(other, _)| *other == name);
    let forgotten: Vec<&str> =
        Op::names().into_iter().filter(|name| !covered.contains(name) && !exempt(name)).collect();
    assert!(forgotten.is_empty(), "neither checked nor exempt: {forgotten:?}");
    for (name, reason) in EXEMPT {
        assert!(Op::names().contains(&name) || name == "parameter", "{name} ({reason}) is no operator");
    }
    let uncovered: Vec<&str> = Op::names()
        .into_iter()
        .filter(|name| cases.iter().all(|case| case.op.get().name() != *name))
        .collect();
    assert_eq!(uncovered, ["gradient", "jvp"], "operators without a case");
}

/// What is said not to be differentiable says so.
#[test]
fn refusals_give_reasons() {
    for case in cases() {
        let name = case.op.get().name();
        if !matches!(name, "while" | "bitcast" | "fused") {
            continue;
        }
        let mut graph = case.graph();
        let result = graph.outputs()[0].value;
        let ty = Type::new(DType::F64, graph.ty(result).dims.clone());
        if graph.ty(result).dtype != DType::F64 {
            continue;
        }
        let seed = Builder::new(&mut graph, Default::default()).full(1.0, &ty).unwrap();
        let wrt: Vec<Value> = graph.parameters().iter().map(|&id| graph.result(id)).collect();
        match vjp(&mut graph, &[(result, seed)], &wrt) {
            Err(error) => {
                let message = error.message;
                assert!(message.starts_with(&format!("{name} is not differentiable: ")), "{message}");
            }
            other => panic!("{}: {other:?}", case.label()),
        }
    }
}

/// The way forward of a scan runs once, whatever is differentiated how often.
#[test]
fn scans_are_not_run_twice() {
    let text = r#"graph @g(%h: f64[2], %xs: f64[3, 2]) {
        %last, %all = scan %h, %xs {length: 3, carries: 1, slices: 1, body: graph @b(%h: f64[2], %x: f64[2]) {
          %next = mul %h, %x
          return %next as "h", %next as "y"
        }}
        return %last as "last", %all as "all"
    }"#;
    let mut graph = Graph::parse(text).unwrap();
    let scans =
        |graph: &Graph| graph.order().iter().filter(|&&id| matches!(graph.node(id).op, Op::Scan(_))).count();
    let wrt: Vec<Value> = graph.parameters().iter().map(|&id| graph.result(id)).collect();
    for round in 1..=2 {
        let last = graph.outputs()[0].value;
        let seed = Builder::new(&mut graph, Default::default()).full_like(last, 1.0).unwrap();
        let found = vjp(&mut graph, &[(last, seed)], &wrt).unwrap();
        graph.add_output(&format!("dh{round}"), Role::Data, found[0].unwrap());
        graph.add_output(&format!("dx{round}"), Role::Data, found[1].unwrap());
        graph.verify().unwrap();
        assert_eq!(scans(&graph), 1 + round, "{graph}");
    }
}

/// The derivative of a product by a factor that is zero is the product of the others.
#[test]
fn products_with_a_zero() {
    let mut graph = Graph::new("g");
    let x = graph.add_parameter("x", Role::Data, Type::new(DType::F64, [2, 3]));
    let mut b = Builder::new(&mut graph, Default::default());
    let y = b.reduce(Combine::Mul, x, &[1]).unwrap();
    let seed = b.full_like(y, 1.0).unwrap();
    let dx = vjp(&mut graph, &[(y, seed)], &[x]).unwrap()[0].unwrap();
    graph.add_output("dx", Role::Data, dx);
    let found = interpret(&graph, &[&Tensor::f64([2, 3], [2.0, 0.0, 3.0, 0.0, 0.0, 5.0])]).unwrap();
    assert_eq!(found[0], Tensor::f64([2, 3], [0.0, 6.0, 0.0, 0.0, 0.0, 0.0]));
}

/// The derivative of digamma, and its own, against exact values: pi²/6 at 1, pi²/2 at 1/2, its recurrence, its reflection, and
/// what it goes to.
#[test]
fn trigamma_is_exact() {
    let pi2 = std::f64::consts::PI.powi(2);
    // Two of Apéry's constant.
    let zeta3 = 1.202_056_903_159_594_2;
    let cases = [
        (1.0, pi2 / 6.0, -2.0 * zeta3),
        (0.5, pi2 / 2.0, -14.0 * zeta3),
        (2.0, pi2 / 6.0 - 1.0, 2.0 - 2.0 * zeta3),
        (-0.5, pi2 / 2.0 + 4.0, 16.0 - 14.0 * zeta3),
        (-1.5, pi2 / 2.0 + 4.0 + 4.0 / 9.0, 16.0 + 16.0 / 27.0 - 14.0 * zeta3),
        (1e6, 1e-6 + 5e-13 + 1e-18 / 6.0, -1e-12 - 1e-18),
        (
            1e-3,
            1e6 + pi2 / 6.0 - 2e-3 * zeta3 + 3e-6 * pi2 * pi2 / 90.0,
            -2e9 - 2.0 * zeta3 + 6e-3 * pi2 * pi2 / 90.0,
        ),
    ];
    let mut graph = Graph::new("g");
    let x = graph.add_parameter("x", Role::Data, Type::new(DType::F64, [cases.len()]));
    let mut b = Builder::new(&mut graph, Default::default());
    let mut y = b.function(brolga_ir::scalar::Function::Digamma, x).unwrap();
    for name in ["first", "second"] {
        let seed = Builder::new(&mut graph, Default::default()).full_like(y, 1.0).unwrap();
        y = vjp(&mut graph, &[(y, seed)], &[x]).unwrap()[0].unwrap();
        graph.add_output(name, Role::Data, y);
    }
    let found = interpret(&graph, &[&Tensor::f64([cases.len()], cases.map(|case| case.0))]).unwrap();
    for (at, (x, first, second)) in cases.into_iter().enumerate() {
        for (found, expected) in [(&found[0], first), (&found[1], second)] {
            let found = found.get(at).to_f64();
            assert!((found - expected).abs() <= 1e-9 * expected.abs(), "at {x}: {found}, not {expected}");
        }
    }
}
