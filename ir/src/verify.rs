//! The verifier of graphs, and with it the specification of what a graph is.
//!
//! Nodes
//! - Every operand is a result of a node that is in the graph; no node depends on itself.
//! - The stored types are those that the operator infers from its operands' types, as the node's layout has them; none is
//!   larger than [`MAX_BYTES`](crate::types::MAX_BYTES). An operator's own rules about operands and attributes are part of
//!   its inference ([`Operator::infer`](crate::ops::Operator::infer)).
//! - How a node is run is a way in which its operator can be run ([`Choice::infer`](crate::Choice::infer)).
//! - A `parameter` node stands in the list of parameters, once; nothing else stands there.
//!
//! Parameters and outputs
//! - Names of parameters are unique.
//! - Every output is a result of a node in the graph. Names of returned outputs are unique.
//! - A state output names a state parameter, has its type, and is the only one of that name. A state parameter
//!   without such an output keeps its value.
//!
//! Regions ([`Op::regions`])
//! - Each is a graph that obeys these rules. It sees only its own parameters, which the operator's operands stand
//!   for: nothing is captured silently. Its parameters and outputs are data, not state.
//! - Regions nest at most [`MAX_NESTING`] deep.
//! - A `fused` region holds ordinary operators: no regions, and no `gradient`.
//!
//! Dead nodes may be there; they obey the same rules.

use std::collections::{HashMap, HashSet};
use std::fmt;

use crate::graph::{Graph, GraphError, NodeId, Value};
use crate::ops::{Op, RegionOp, Role};
use crate::types::Type;

/// How deep regions may nest.
pub const MAX_NESTING: usize = 64;

/// Everything that is wrong with a graph: at least one error.
#[derive(Clone, PartialEq, Debug)]
pub struct Invalid(pub Vec<GraphError>);

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, error) in self.0.iter().enumerate() {
            write!(f, "{}{error}", if number == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl std::error::Error for Invalid {}

/// All rules that a graph breaks.
pub fn verify(graph: &Graph) -> Result<(), Invalid> {
    let mut errors = Vec::new();
    check(graph, 0, &mut errors);
    if errors.is_empty() { Ok(()) } else { Err(Invalid(errors)) }
}

impl Graph {
    /// All rules of [`crate::verify`] that the graph breaks.
    pub fn verify(&self) -> Result<(), Invalid> {
        verify(self)
    }
}

fn check(graph: &Graph, depth: usize, errors: &mut Vec<GraphError>) {
    let before = errors.len();
    for id in graph.nodes() {
        operands(graph, id, errors);
    }
    let dangling = errors.len() > before;
    parameters(graph, errors);
    outputs(graph, depth, errors);
    if dangling {
        // Types and order of operands that are not there cannot be asked for.
        return;
    }
    if graph.is_cyclic() {
        errors.push(error(&graph.name, "a node depends on itself".into()));
    }
    for id in graph.nodes() {
        types(graph, id, errors);
        regions(graph, id, depth, errors);
    }
}

fn error(path: &str, message: String) -> GraphError {
    GraphError { path: path.to_owned(), message }
}

/// An error at a node, which names its operator.
fn node_error(graph: &Graph, id: NodeId, message: impl fmt::Display) -> GraphError {
    let node = graph.node(id);
    error(&node.origin.path, format!("{}: {message}", node.op.get().name()))
}

fn exists(graph: &Graph, value: Value) -> bool {
    graph.contains(value.node) && (value.index as usize) < graph.node(value.node).types.len()
}

fn operands(graph: &Graph, id: NodeId, errors: &mut Vec<GraphError>) {
    for (position, &operand) in graph.node(id).operands.iter().enumerate() {
        if !exists(graph, operand) {
            errors.push(node_error(graph, id, format_args!("operand {position} is no result of a node")));
        }
    }
}

fn parameters(graph: &Graph, errors: &mut Vec<GraphError>) {
    let (mut listed, mut names) = (HashSet::new(), HashSet::new());
    for &id in graph.parameters() {
        if !graph.contains(id) || !listed.insert(id) {
            errors.push(error(&graph.name, "the list of parameters names a node twice, or none".into()));
            continue;
        }
        match graph.parameter(id) {
            None => errors.push(node_error(graph, id, "stands in the list of parameters")),
            Some(parameter) if !names.insert(parameter.name.as_str()) => {
                errors.push(error(&graph.name, format!("two parameters are called {}", parameter.name)));
            }
            Some(_) => {}
        }
    }
    for id in graph.nodes().filter(|id| !listed.contains(id)) {
        if let Some(parameter) = graph.parameter(id) {
            errors.push(error(&graph.name, format!("{} is not in the list of parameters", parameter.name)));
        }
    }
}

fn outputs(graph: &Graph, depth: usize, errors: &mut Vec<GraphError>) {
    let parameters = || graph.parameters().iter().filter(|&&id| graph.contains(id));
    let mut states: HashMap<&str, &Type> = HashMap::new();
    for parameter in parameters().filter_map(|&id| graph.parameter(id)) {
        if parameter.role == Role::State {
            states.insert(&parameter.name, &parameter.ty);
            if depth > 0 {
                errors.push(error(&graph.name, format!("a region has the state {}", parameter.name)));
            }
        }
    }
    let mut seen = HashSet::new();
    for output in graph.outputs() {
        let mut wrong = |message: String| errors.push(error(&graph.name, message));
        if !exists(graph, output.value) {
            wrong(format!("the output {} is no result of a node", output.name));
            continue;
        }
        if !seen.insert((output.role, output.name.as_str())) {
            wrong(match output.role {
                Role::Data => format!("two outputs are called {}", output.name),
                Role::State => format!("the state {} is updated twice", output.name),
            });
        }
        if output.role == Role::State {
            let found = graph.ty(output.value);
            match states.get(output.name.as_str()) {
                None => wrong(format!("the updated state {} is no state parameter", output.name)),
                Some(&ty) if ty != found => {
                    wrong(format!("the state {} is {ty}, its update is {found}", output.name));
                }
                Some(_) => {}
            }
        }
    }
}

fn types(graph: &Graph, id: NodeId, errors: &mut Vec<GraphError>) {
    let (node, operands) = (graph.node(id), graph.operand_types(id));
    let inferred = graph.choice(id).infer(&node.op, &operands).and_then(|types| {
        types.iter().try_for_each(Type::check_size)?;
        Ok(types)
    });
    match inferred {
        Err(message) => errors.push(node_error(graph, id, message)),
        Ok(types) if types != node.types => {
            let list = |types: &[Type]| types.iter().map(Type::to_string).collect::<Vec<_>>().join(", ");
            let (stored, inferred) = (list(&node.types), list(&types));
            errors.push(node_error(graph, id, format_args!("is stored as {stored}, and gives {inferred}")));
        }
        Ok(_) => {}
    }
}

fn regions(graph: &Graph, id: NodeId, depth: usize, errors: &mut Vec<GraphError>) {
    let op = &graph.node(id).op;
    for region in op.regions() {
        if depth + 1 > MAX_NESTING {
            errors.push(node_error(graph, id, format_args!("regions nest deeper than {MAX_NESTING}")));
            return;
        }
        check(region, depth + 1, errors);
        if matches!(op.region_op(), Some(RegionOp::Fused(_))) {
            let foreign = |op: &Op| op.region_op().is_some() || op.is_derivative();
            if let Some(inner) = region.nodes().find(|&inner| foreign(&region.node(inner).op)) {
                let name = region.node(inner).op.get().name();
                errors.push(node_error(graph, id, format_args!("a fused region holds {name}")));
            }
        }
    }
}
