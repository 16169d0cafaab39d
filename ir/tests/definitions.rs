//! Definitions of elements against reference evaluation.

use crate::common::{Case, cases};
use brolga_ir::definition::Definition;
use brolga_ir::{DType, Tensor};

/// The largest relative difference of two tensors; infinite where one is NaN or infinite and the other is not.
fn difference(a: &Tensor, b: &Tensor) -> f64 {
    let mut worst = 0.0f64;
    for i in 0..a.elements() {
        let (a, b) = (a.get(i), b.get(i));
        if !a.same(b) {
            let (a, b) = (a.to_f64(), b.to_f64());
            let error = (a - b).abs() / a.abs().max(b.abs()).max(1.0);
            worst = worst.max(if error.is_nan() { f64::INFINITY } else { error });
        }
    }
    worst
}

/// The same case with `f32` for `f64`, where the operator allows it.
fn narrow(case: &Case) -> Option<Case> {
    use brolga_ir::scalar::ScalarOp;
    if case.operands.iter().all(|x| x.dtype() != DType::F64) || !case.op.regions().is_empty() {
        return None;
    }
    let convert = |x: &Tensor| match x.dtype() {
        DType::F64 => {
            let ty = x.ty().with_dtype(DType::F32);
            Tensor::generate(&ty, |i| ScalarOp::Convert(DType::F32).apply(&[x.get(i)]))
        }
        _ => x.clone(),
    };
    let operands: Vec<Tensor> = case.operands.iter().map(convert).collect();
    let case = Case { choice: case.choice, ..Case::new(case.op.clone(), &operands) };
    let types = case.types();
    case.choice.infer(&case.op, &types.iter().collect::<Vec<_>>()).is_ok().then_some(case)
}

fn compare(case: &Case) -> [usize; 2] {
    let graph = case.graph();
    let operands: Vec<&Tensor> = case.operands.iter().collect();
    let types = case.types();
    let types: Vec<_> = types.iter().collect();
    let node = graph.node(graph.outputs()[0].value.node);
    let evaluated = case.choice.evaluate(&case.op, &operands, &node.types).expect("evaluates");
    let definitions = case.op.get().definition(&types, &node.types);
    assert_eq!(definitions.len(), node.types.len(), "{}: one definition for each result", case.label());
    let mut counts = [0; 2];
    for ((definition, expected), ty) in definitions.iter().zip(&evaluated).zip(&node.types) {
        assert_eq!(expected.ty(), *ty, "{}: evaluation gives the inferred type", case.label());
        let Some(found) = definition.evaluate(&operands, ty) else { continue };
        let (number, tolerance) = match definition {
            Definition::Reduce { .. } => (1, if ty.dtype == DType::F32 { 1e-5 } else { 1e-6 }),
            _ => (0, 0.0),
        };
        counts[number] += 1;
        let error = difference(&found, expected);
        assert!(error <= tolerance, "{}: differs by {error:e}: {found:?}, {expected:?}", case.label());
    }
    counts
}

#[test]
fn definitions_agree_with_evaluation() {
    let (mut exact, mut summed) = (0, 0);
    for case in cases() {
        for case in [Some(narrow(&case)).flatten(), Some(case)].into_iter().flatten() {
            let [a, b] = compare(&case);
            exact += a;
            summed += b;
        }
    }
    assert!(exact > 300 && summed > 60, "{exact} elementwise, {summed} reductions");
}
