//! Constant folding.
//!
//! Evaluates nodes whose operands are all constants with the reference interpreter, where nothing larger than
//! [`Options::fold_limit`] elements is read or made. Only what has one order is evaluated (`has_one_order`): the bits of
//! a sum of floats are those of the numeric plan, which lowering makes, whether its terms are constants or not. Scalar
//! operations on splats give splats of any size, and nothing else is made of splats, which may be as large as the batch: what
//! is folded does not depend on it. A constant of equal elements becomes a broadcast scalar, the form in which
//! [`simplify`](crate::graph::simplify) knows it; broadcasts themselves are kept, for they take no memory. Positions (`iota`) are
//! not folded: they cost nothing where they are used. What is evaluated has no errors but lack of memory, which is one of
//! the pass. Linear.

use brolga_ir::ops::{Constant, Op, ScatterMode};
use brolga_ir::tensor::Data;
use brolga_ir::{Builder, Graph, GraphError, NodeId, Tensor, Type, Value};

use crate::facts::constants::{constant, splat};
use crate::options::Options;
use crate::rewrite::rewriter::{Replacement, sweep_all};

/// Evaluates what is constant.
pub fn fold(graph: &mut Graph, options: &Options) -> Result<bool, GraphError> {
    sweep_all(graph, &mut |graph, id| fold_node(graph, id, options.fold_limit))
}

fn fold_node(graph: &mut Graph, id: NodeId, limit: usize) -> Replacement {
    let node = graph.node(id);
    if let Op::Constant(Constant { value }) = &node.op {
        let Some(element) = uniform(value).filter(|_| !value.dims().is_empty()) else { return Ok(None) };
        let (ty, origin) = (node.types[0].clone(), node.origin.clone());
        let b = &mut Builder::new(graph, origin);
        return Ok(Some(vec![place(b, element, &ty)?]));
    }
    let results = match &node.op {
        op if !has_one_order(op, &graph.operand_types(id)) => Ok(None),
        Op::Elementwise(_) => match scalar_results(graph, id) {
            Ok(None) => small_results(graph, id, limit),
            results => results,
        },
        _ => small_results(graph, id, limit),
    };
    let (types, origin) = (node.types.clone(), node.origin.clone());
    let b = &mut Builder::new(graph, origin);
    let Some(results) = results.map_err(|message| b.error(message))? else { return Ok(None) };
    let values = results.into_iter().zip(&types).map(|(tensor, ty)| place(b, tensor, ty));
    Ok(Some(values.collect::<Result<_, _>>()?))
}

/// Whether an operator's results for operands of those types have one value, to the bit, that its evaluation gives too.
/// Where floats are combined the order decides, which evaluating does not know: it is made from the whole graph, by passes
/// behind this one and by lowering.
fn has_one_order(op: &Op, operands: &[&Type]) -> bool {
    let dtype = operands.first().map(|ty| ty.dtype);
    let is_exact = dtype.is_some_and(|dtype| !dtype.is_float());
    match op {
        // Without operands, or without a value yet, or as small as it can be.
        Op::Parameter(_) | Op::Constant(_) | Op::Iota(_) | Op::Broadcast(_) | Op::StopGradient(_) => false,
        Op::Differentiate(_) | Op::Jvp(_) => false,
        // Whatever is inside.
        Op::Fused(_) | Op::Scan(_) | Op::While(_) | Op::Cond(_) => false,
        // Of as many elements as the type says, whatever the size of the operands.
        Op::Random(_) => false,
        // Every element by itself, or moved.
        Op::Elementwise(_) => true,
        Op::Reshape(_) | Op::Transpose(_) | Op::Slice(_) | Op::Reverse(_) | Op::Pad(_) | Op::Concat(_) => {
            true
        }
        Op::Gather(_) | Op::GatherAlong(_) => true,
        // Stable: there is one order of the results.
        Op::Sort(_) => true,
        Op::Scatter(op) => op.mode == ScatterMode::Set || is_exact,
        Op::ScatterAlong(op) => op.mode == ScatterMode::Set || is_exact,
        Op::WindowSelect(_) | Op::Dot(_) | Op::Conv(_) => is_exact,
        Op::Reduce(op) => dtype.is_some_and(|dtype| op.combine.has_any_order(dtype)),
        Op::ReduceWindow(op) => dtype.is_some_and(|dtype| op.combine.has_any_order(dtype)),
        Op::Cumulative(op) => dtype.is_some_and(|dtype| op.combine.has_any_order(dtype)),
    }
}

/// What is to be done with a node: its results, nothing if they are not known, or the lack of memory.
type Folded = Result<Option<Vec<Tensor>>, String>;

/// The one element that a scalar operation on splats repeats.
fn scalar_results(graph: &Graph, id: NodeId) -> Folded {
    let node = graph.node(id);
    let operands = node.operands.iter().map(|&operand| splat(graph, operand).map(Tensor::scalar));
    let Some(operands) = operands.collect::<Option<Vec<Tensor>>>() else { return Ok(None) };
    let types: Vec<Type> = node.types.iter().map(|ty| ty.with_dims([])).collect();
    node.op.get().evaluate(&operands.iter().collect::<Vec<_>>(), &types).map(Some)
}

/// What a node gives, if its operands are constants, and they and the results are small. A splat counts as one beside a
/// tensor of its extents only: it may be as large as the batch, and passes that change rounding must see the same of every
/// batch.
fn small_results(graph: &Graph, id: NodeId, limit: usize) -> Folded {
    let node = graph.node(id);
    let small = |ty: &Type| ty.elements() <= limit;
    if !node.types.iter().all(small) || !graph.operand_types(id).into_iter().all(small) {
        return Ok(None);
    }
    let takes_splats = matches!(node.op, Op::Elementwise(_));
    let mut operands = Vec::new();
    for &operand in &node.operands {
        let ty = graph.ty(operand);
        operands.push(match (constant(graph, operand), splat(graph, operand)) {
            (Some(tensor), _) => tensor.try_clone()?,
            (None, Some(element)) if takes_splats || ty.rank() == 0 => Tensor::try_full(ty, element)?,
            (None, _) => return Ok(None),
        });
    }
    let operands: Vec<&Tensor> = operands.iter().collect();
    graph.choice(id).evaluate(&node.op, &operands, &node.types).map(Some)
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
