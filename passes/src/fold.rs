//! Constant folding.
//!
//! Evaluates nodes whose operands are all constants with the reference interpreter, where nothing larger than
//! [`Options::fold_limit`] elements is read or made. Scalar operations on splats give splats of any size. A
//! constant of equal elements becomes a broadcast scalar, the form in which [`simplify`](crate::simplify) knows
//! it; broadcasts themselves are kept, for they take no memory. Positions (`iota`) are not folded: they cost
//! nothing where they are used. A node whose evaluation fails stays, to fail when it is run. Linear.

use brolga_ir::ops::{Constant, Op};
use brolga_ir::tensor::Data;
use brolga_ir::{Builder, Graph, GraphError, NodeId, Tensor, Type, Value};

use crate::constants::{constant, splat};
use crate::manager::Options;
use crate::rewrite::{Replacement, sweep_all};

/// Evaluates what is constant.
pub fn fold(graph: &mut Graph, options: &Options) -> Result<bool, GraphError> {
    sweep_all(graph, &mut |graph, id| fold_node(graph, id, options.fold_limit))
}

fn fold_node(graph: &mut Graph, id: NodeId, limit: usize) -> Replacement {
    let node = graph.node(id);
    let results = match &node.op {
        Op::Constant(Constant { value }) => {
            if value.dims().is_empty() || uniform(value).is_none() {
                return Ok(None);
            }
            vec![value.clone()]
        }
        // A broadcast constant is small and stays so; what has no operands, or no value yet, is no constant.
        Op::Broadcast(_) | Op::StopGradient(_) => return Ok(None),
        op if op.is_derivative() => return Ok(None),
        _ if node.operands.is_empty() || !node.op.regions().is_empty() => return Ok(None),
        Op::Elementwise(_) => match scalar_results(graph, id).or_else(|| small_results(graph, id, limit)) {
            Some(results) => results,
            None => return Ok(None),
        },
        _ => match small_results(graph, id, limit) {
            Some(results) => results,
            None => return Ok(None),
        },
    };
    let (types, origin) = (graph.node(id).types.clone(), graph.node(id).origin.clone());
    let b = &mut Builder::new(graph, origin);
    let values = results.into_iter().zip(&types).map(|(tensor, ty)| place(b, tensor, ty));
    Ok(Some(values.collect::<Result<_, _>>()?))
}

/// The one element that a scalar operation on splats repeats.
fn scalar_results(graph: &Graph, id: NodeId) -> Option<Vec<Tensor>> {
    let node = graph.node(id);
    let operands: Option<Vec<Tensor>> =
        node.operands.iter().map(|&operand| splat(graph, operand).map(Tensor::scalar)).collect();
    let types: Vec<Type> = node.types.iter().map(|ty| ty.with_dims([])).collect();
    node.op.get().evaluate(&operands?.iter().collect::<Vec<_>>(), &types).ok()
}

/// What a node gives, if its operands are constants, and they and the results are small.
fn small_results(graph: &Graph, id: NodeId, limit: usize) -> Option<Vec<Tensor>> {
    let node = graph.node(id);
    let small = |ty: &Type| ty.elements() <= limit;
    if !node.types.iter().all(small) || !graph.operand_types(id).into_iter().all(small) {
        return None;
    }
    let tensor = |&operand: &Value| {
        constant(graph, operand)
            .cloned()
            .or_else(|| Tensor::try_full(graph.ty(operand), splat(graph, operand)?).ok())
    };
    let operands: Option<Vec<Tensor>> = node.operands.iter().map(tensor).collect();
    node.op.get().evaluate(&operands?.iter().collect::<Vec<_>>(), &node.types).ok()
}

/// A constant of type `ty`; a tensor of equal elements, or a scalar, as a splat. All NaNs become one, so that the
/// text does not depend on which the machine computes.
fn place(b: &mut Builder, mut tensor: Tensor, ty: &Type) -> Result<Value, GraphError> {
    match tensor.data_mut() {
        Data::F32(values) => values.iter_mut().filter(|v| v.is_nan()).for_each(|v| *v = f32::NAN),
        Data::F64(values) => values.iter_mut().filter(|v| v.is_nan()).for_each(|v| *v = f64::NAN),
        _ => {}
    }
    match uniform(&tensor) {
        Some(scalar) => {
            let scalar = b.constant(scalar)?;
            b.broadcast(scalar, &ty.dims, &[])
        }
        None => b.constant(tensor),
    }
}

/// The element that all elements equal, if there is one.
fn uniform(tensor: &Tensor) -> Option<Tensor> {
    let n = tensor.elements();
    (n > 0 && (1..n).all(|i| tensor.get(i).same(tensor.get(0)))).then(|| Tensor::scalar(tensor.get(0)))
}
