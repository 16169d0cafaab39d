//! Every scalar operation on every type, in vectors, in tails and in plain scalars.

use crate::common::{Body, Rng, Values, check, check_on_aarch64, kernel, param};
use brolga_ir::DType;
use brolga_ir::index::Index;
use brolga_ir::program::{AccId, Access, Combine, Stmt};
use brolga_ir::scalar::{Comparison, ScalarOp};

fn operations() -> Vec<ScalarOp> {
    use ScalarOp::*;
    let mut all = vec![
        Neg, Abs, Sqrt, Floor, Ceil, Trunc, Round, Not, Add, Sub, Mul, Div, Rem, Max, Min, And, Or, Xor, Shl,
        Shr, ShrLogical, MulHigh, Fma, Select,
    ];
    all.extend(Comparison::ALL.map(Compare));
    all.extend(DType::ALL.map(Convert));
    all.extend(DType::ALL.map(Bitcast));
    all.extend(brolga_ir::scalar::Function::ALL.map(Function));
    all
}

/// Operand types that an operation takes, with the type of its result.
fn typings(op: ScalarOp) -> Vec<(Vec<DType>, DType)> {
    let each = DType::ALL.into_iter().map(|dtype| {
        let mut operands = vec![dtype; op.arity()];
        if op == ScalarOp::Select {
            operands[0] = DType::Bool;
        }
        op.result(&operands).map(|result| (operands, result))
    });
    each.filter_map(Result::ok).collect()
}

#[test]
fn every_operation_in_every_type() {
    const N: usize = 203;
    let mut random = Rng(1);
    let mut all = Vec::new();
    for op in operations() {
        for (operands, result) in typings(op) {
            let mut params: Vec<_> = operands.iter().map(|&d| param(d, N, Access::Read)).collect();
            params.push(param(result, N, Access::Write));
            let mut body = Body::default();
            let args: Vec<_> =
                operands.iter().enumerate().map(|(p, &d)| body.load(d, p, Index::var(0))).collect();
            let value = body.op(result, op, &args);
            body.store(operands.len(), Index::var(0), value);
            let strip = kernel(
                params.clone(),
                vec![],
                vec![Stmt::Strip { var: 0, extent: N, body: body.stmts.clone() }],
            );
            let tensors = random.tensors(&strip);
            check(&strip, &tensors);
            let serial = kernel(params, vec![N], body.stmts);
            check(&serial, &tensors);
            all.extend([(strip, tensors.clone()), (serial, tensors)]);
        }
    }
    check_on_aarch64(&all);
}

#[test]
fn operands_that_are_equal_in_all_lanes() {
    const N: usize = 21;
    let mut random = Rng(2);
    for op in operations().into_iter().filter(|op| op.arity() > 1) {
        for (operands, result) in typings(op) {
            for uniform in 0..operands.len() {
                let mut params: Vec<_> = operands.iter().map(|&d| param(d, N, Access::Read)).collect();
                params.push(param(result, N, Access::Write));
                let mut body = Body::default();
                let args: Vec<_> = operands
                    .iter()
                    .enumerate()
                    .map(|(p, &d)| {
                        body.load(d, p, if p == uniform { Index::constant(3) } else { Index::var(0) })
                    })
                    .collect();
                let value = body.op(result, op, &args);
                body.store(operands.len(), Index::var(0), value);
                let strip = kernel(params, vec![], vec![Stmt::Strip { var: 0, extent: N, body: body.stmts }]);
                let tensors = random.tensors(&strip);
                check(&strip, &tensors);
            }
        }
    }
}

#[test]
fn every_way_to_combine() {
    let mut random = Rng(3);
    let mut all = Vec::new();
    for dtype in DType::ALL {
        for combine in Combine::ALL {
            if dtype.is_storage() {
                continue;
            }
            let fits = match combine {
                Combine::And | Combine::Or => !dtype.is_float(),
                Combine::Add | Combine::Mul => dtype != DType::Bool,
                _ => true,
            };
            if !fits {
                continue;
            }
            for (extent, lanes) in [(0, 32), (1, 32), (7, 32), (32, 32), (75, 32), (75, 1), (64, 32)] {
                let params = vec![param(dtype, extent, Access::Read), param(dtype, 1, Access::Write)];
                let acc = AccId(0);
                let mut inner = Body::default();
                let value = inner.load(dtype, 0, Index::var(0));
                inner.stmts.push(Stmt::Accumulate { acc, value });
                let mut body = Body::starting(inner.next);
                body.stmts.push(Stmt::Declare { acc, dtype, combine, lanes });
                body.stmts.push(Stmt::Strip { var: 0, extent, body: inner.stmts });
                let id = brolga_ir::program::ValueId(body.next);
                body.stmts.push(Stmt::Finish { id, acc });
                body.store(1, Index::constant(0), id);
                let kernel = kernel(params, vec![], body.stmts);
                let mut tensors = random.tensors(&kernel);
                check(&kernel, &tensors);
                // Mostly ones, so that products and extremes are not all special.
                tensors[0] = brolga_ir::Tensor::generate(&tensors[0].ty(), |i| {
                    brolga_ir::scalar::Scalar::from_f64(dtype, 1.0 + (i % 3) as f64 * 0.125)
                });
                check(&kernel, &tensors);
                all.push((kernel, tensors));
            }
        }
    }
    check_on_aarch64(&all);
}
