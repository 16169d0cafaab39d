//! Moves what depends on placeholders into a region.

use std::collections::{HashMap, HashSet};

use brolga_ir::graph::{Graph, GraphError, NodeId, Value};
use brolga_ir::ops::{Op, Role};

use super::PLACEHOLDER;

/// The body of a loop, and what it captures, in the order of its last parameters.
pub(super) struct Region {
    pub body: Graph,
    pub captures: Vec<Value>,
}

/// A parameter or an output of a region: its name, and the value in the graph around that stands for it.
pub(super) type Port = (String, Value);

/// Repetitions of repetitions that a region takes along, at most.
const DEEPEST: usize = 4;

/// The region that computes `outputs` from the placeholders `parameters`. Nodes before `first` do not depend on any of these, but
/// may be among them.
pub(super) fn outline(
    graph: &Graph,
    first: usize,
    parameters: &[Port],
    outputs: &[Port],
) -> Result<Region, GraphError> {
    let mut outliner = Outliner {
        graph,
        first,
        region: Region { body: Graph::new("step"), captures: Vec::new() },
        map: HashMap::new(),
        inside: HashMap::new(),
        order: Vec::new(),
        through: HashSet::new(),
        names: HashSet::new(),
    };
    for (name, placeholder) in parameters {
        let inner = outliner.parameter(name, *placeholder);
        outliner.map.insert(*placeholder, inner);
    }
    outliner.visit_all(parameters, outputs);
    for id in std::mem::take(&mut outliner.order) {
        outliner.copy(id, 0)?;
    }
    outliner.names.clear();
    for (name, value) in outputs {
        let value = outliner.bring(*value, 0)?;
        let name = outliner.unused(name);
        outliner.region.body.add_output(&name, Role::Data, value);
    }
    Ok(outliner.region)
}

struct Outliner<'g> {
    graph: &'g Graph,
    first: usize,
    region: Region,
    /// What stands in the body for values of the graph.
    map: HashMap<Value, Value>,
    /// By node that has been visited: whether it depends on a placeholder.
    inside: HashMap<NodeId, bool>,
    /// Those that do, operands first.
    order: Vec<NodeId>,
    /// Nodes that a derivative in the body goes through: they move, too, though they may be the same in each step.
    through: HashSet<NodeId>,
    /// The names of parameters, then those of outputs.
    names: HashSet<String>,
}

impl Outliner<'_> {
    /// Finds what the outputs need of each step: what depends on placeholders, and what derivatives in there go through. Of
    /// `jvp(g, w, prev.d)` that is all between `w` and `g`: a value that is captured is a constant to a derivative in the body.
    fn visit_all(&mut self, parameters: &[Port], outputs: &[Port]) {
        loop {
            self.inside = parameters.iter().map(|(_, placeholder)| (placeholder.node, true)).collect();
            self.order.clear();
            for (_, value) in outputs {
                self.visit(*value);
            }
            let known = self.through.len();
            for id in std::mem::take(&mut self.order) {
                self.order.push(id);
                self.go_through(id);
            }
            if self.through.len() == known {
                return;
            }
            // What derivatives go through may stand anywhere before the loop.
            self.first = 0;
        }
    }

    /// Notes what lies between the values that a derivative is by and those that it is of.
    fn go_through(&mut self, id: NodeId) {
        let node = self.graph.node(id);
        let (of, by) = match &node.op {
            Op::Differentiate(_) => node.operands.split_at(1),
            Op::Jvp(jvp) => {
                let (of, by, _) = jvp.split(&node.operands);
                (of, by)
            }
            _ => return,
        };
        // Whether a node depends on what the derivative is by.
        let mut depends: HashMap<NodeId, bool> = by.iter().map(|value| (value.node, true)).collect();
        let ends = depends.clone();
        let mut stack: Vec<NodeId> = of.iter().map(|value| value.node).collect();
        while let Some(&id) = stack.last() {
            let operands = &self.graph.node(id).operands;
            let length = stack.len();
            if !depends.contains_key(&id) {
                let unknown = operands.iter().map(|operand| operand.node);
                stack.extend(unknown.filter(|id| !depends.contains_key(id)));
            }
            if stack.len() == length {
                let found = operands.iter().any(|operand| depends.get(&operand.node) == Some(&true));
                if *depends.entry(id).or_insert(found) && !ends.contains_key(&id) {
                    self.through.insert(id);
                }
                stack.pop();
            }
        }
    }

    /// Finds what depends on placeholders among a value and all that it is made of.
    fn visit(&mut self, value: Value) {
        // Depth-first by hand: graphs may be deeper than the stack.
        let mut stack = vec![value.node];
        while let Some(&id) = stack.last() {
            if self.inside.contains_key(&id) {
                stack.pop();
                continue;
            }
            let operands: &[Value] = match id.index() < self.first {
                true => &[],
                false => &self.graph.node(id).operands,
            };
            let length = stack.len();
            let unknown = operands.iter().map(|operand| operand.node);
            stack.extend(unknown.filter(|id| !self.inside.contains_key(id)));
            if stack.len() == length {
                let inside =
                    self.through.contains(&id) || operands.iter().any(|operand| self.inside[&operand.node]);
                self.inside.insert(id, inside);
                if inside {
                    self.order.push(id);
                }
                stack.pop();
            }
        }
    }

    /// Copies a node into the body.
    fn copy(&mut self, id: NodeId, depth: usize) -> Result<(), GraphError> {
        let node = self.graph.node(id);
        let operands = node.operands.iter().map(|operand| self.bring(*operand, depth));
        let operands = operands.collect::<Result<Vec<_>, _>>()?;
        let body = &mut self.region.body;
        let copy = body.add_chosen(node.op.clone(), self.graph.choice(id), &operands, &node.origin)?;
        let results = body.results(copy);
        self.map.extend(self.graph.results(id).into_iter().zip(results));
        Ok(())
    }

    /// What stands for a value in the body. What is computed outside is captured, and what is not computed at all copied.
    fn bring(&mut self, value: Value, depth: usize) -> Result<Value, GraphError> {
        if let Some(inner) = self.map.get(&value) {
            return Ok(*inner);
        }
        let free = match &self.graph.node(value.node).op {
            Op::Constant(constant) => constant.value.elements() == 1,
            Op::Iota(_) => true,
            Op::Broadcast(_) => depth < DEEPEST,
            _ => false,
        };
        if free {
            self.copy(value.node, depth + 1)?;
            return Ok(self.map[&value]);
        }
        let name = match self.graph.parameter(value.node) {
            Some(parameter) if !parameter.name.starts_with(PLACEHOLDER) => parameter.name.clone(),
            _ => format!("k{}", self.region.captures.len()),
        };
        let inner = self.parameter(&name, value);
        self.region.captures.push(value);
        self.map.insert(value, inner);
        Ok(inner)
    }

    fn parameter(&mut self, name: &str, like: Value) -> Value {
        let name = self.unused(name);
        self.region.body.add_parameter(&name, Role::Data, self.graph.ty(like).clone())
    }

    /// The name, or one made of it that is not in use.
    fn unused(&mut self, name: &str) -> String {
        let mut found = name.to_owned();
        let mut number = 1;
        while !self.names.insert(found.clone()) {
            number += 1;
            found = format!("{name}.{number}");
        }
        found
    }
}
