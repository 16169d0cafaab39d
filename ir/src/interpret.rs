//! The reference interpreter of graphs: every operator by its own `evaluate`, in canonical order.

use crate::graph::{Graph, GraphError, Output, Value};
use crate::ops::Role;
use crate::tensor::Tensor;
use rustc_hash::FxHashMap;

/// Bytes that a value may take.
const MAX_MEMORY: usize = 1 << 33;

/// The outputs of a graph, in order, for values of its parameters, in order. NaNs of outputs, not those of new state, have
/// one form.
pub fn interpret(graph: &Graph, parameters: &[&Tensor]) -> Result<Vec<Tensor>, GraphError> {
    let error = |path: &str, message: String| GraphError { path: path.to_owned(), message };
    if parameters.len() != graph.parameters().len() {
        let message = format!("takes {} parameters, found {}", graph.parameters().len(), parameters.len());
        return Err(error(&graph.name, message));
    }
    let order = graph.order();
    let mut uses: FxHashMap<Value, usize> = FxHashMap::default();
    for &id in &order {
        for &operand in &graph.node(id).operands {
            *uses.entry(operand).or_default() += 1;
        }
    }
    for output in graph.outputs() {
        *uses.entry(output.value).or_default() += 1;
    }
    let mut values: FxHashMap<Value, Tensor> = FxHashMap::default();
    for (&id, &tensor) in graph.parameters().iter().zip(parameters) {
        let (wanted, found) = (&graph.node(id).types[0], tensor.ty());
        if *wanted != found {
            let name = graph.parameter(id).map_or("", |p| &p.name);
            return Err(error(name, format!("is {wanted}, the value given is {found}")));
        }
        let copy = tensor.try_clone().map_err(|message| error(&graph.name, message))?;
        values.insert(graph.result(id), copy);
    }
    for &id in order.iter().filter(|&&id| graph.parameter(id).is_none()) {
        let node = graph.node(id);
        if let Some(ty) = node.types.iter().find(|ty| ty.bytes() > MAX_MEMORY) {
            let message = format!("{ty} is larger than the 2^33 bytes that the interpreter allows");
            return Err(error(&node.origin.path, message));
        }
        let operands: Vec<&Tensor> = node.operands.iter().map(|v| &values[v]).collect();
        let results = graph.choice(id).evaluate(&node.op, &operands, &node.types);
        let results =
            results.map_err(|m| error(&node.origin.path, format!("{}: {m}", node.op.get().name())))?;
        for operand in &node.operands {
            let left = uses.get_mut(operand).expect("counted above");
            *left -= 1;
            if *left == 0 {
                values.remove(operand);
            }
        }
        for (value, tensor) in graph.results(id).into_iter().zip(results) {
            if uses.contains_key(&value) {
                values.insert(value, tensor);
            }
        }
    }
    let output = |output: &Output| {
        let value = values[&output.value].try_clone().map_err(|message| error(&graph.name, message))?;
        Ok(if output.role == Role::Data { value.with_one_nan() } else { value })
    };
    graph.outputs().iter().map(output).collect()
}
