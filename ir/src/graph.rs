//! The dataflow graph: nodes in SSA form over tensors.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::hash::BuildHasher;
use std::sync::Arc;

use crate::choice::Choice;
use crate::nodes::Nodes;
use crate::ops::{Op, Parameter, Role};
use crate::types::Type;

/// A node of one graph.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct NodeId(pub(crate) u32);

impl NodeId {
    /// A small number, unique among the nodes of the graph: for tables by node.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A result of a node.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct Value {
    /// The node that computes it.
    pub node: NodeId,
    /// Which of the node's results.
    pub index: u32,
}

/// Where a node comes from. It stays with the node, and with what replaces it, through every pass.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Origin {
    /// The layer's path, with the pass that made the node behind a slash: `layer1.0.conv1`, `conv1/backward`.
    pub path: Arc<str>,
    /// Byte range in the model file.
    pub span: Option<(u32, u32)>,
}

impl Origin {
    /// A path without a place in a file.
    pub fn new(path: &str) -> Origin {
        Origin { path: path.into(), span: None }
    }

    /// The same place, with `/step` appended to the path (once).
    pub fn step(&self, step: &str) -> Origin {
        if self.path.rsplit('/').next() == Some(step) {
            return self.clone();
        }
        Origin { path: format!("{}/{step}", self.path).into(), span: self.span }
    }
}

/// An operator applied to values.
#[derive(Clone, Debug)]
pub struct Node {
    /// The operator, with its attributes.
    pub op: Op,
    /// Operands, in order.
    pub operands: Vec<Value>,
    /// Types of the results, as inferred.
    pub types: Vec<Type>,
    /// Where it comes from.
    pub origin: Origin,
}

/// A named result of a graph.
#[derive(Clone, PartialEq, Debug)]
pub struct Output {
    /// Its name; of a state update, the state's name.
    pub name: String,
    /// Whether it is returned, or becomes the state of that name.
    pub role: Role,
    /// What it is.
    pub value: Value,
}

/// A pure function from parameters (inputs and state) to outputs (results and new state).
#[derive(Clone, Debug, Default)]
pub struct Graph {
    /// The entry point's name.
    pub name: String,
    nodes: Nodes,
    parameters: Vec<NodeId>,
    outputs: Vec<Output>,
    /// How nodes are run, where that is not the default.
    choices: BTreeMap<NodeId, Choice>,
}

/// Why a node cannot be added or changed.
#[derive(Clone, PartialEq, Debug)]
pub struct GraphError {
    /// Where: the origin's path.
    pub path: String,
    /// The rule that is broken, with what was found.
    pub message: String,
}

impl fmt::Display for GraphError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "{}: {}", self.path, self.message)
        }
    }
}

impl std::error::Error for GraphError {}

impl Graph {
    /// An empty graph.
    pub fn new(name: &str) -> Graph {
        Graph { name: name.to_owned(), ..Graph::default() }
    }

    /// The operator of a node with its attributes and its choice, as the text form has them: `conv {stride: [1, 1]}`.
    pub fn describe(&self, id: NodeId) -> String {
        crate::text::Described { graph: self, id }.to_string()
    }

    /// Adds a parameter behind those there are.
    pub fn add_parameter(&mut self, name: &str, role: Role, ty: Type) -> Value {
        let op = Op::Parameter(Parameter { name: name.to_owned(), role, ty: ty.clone() });
        let node = Node { op, operands: Vec::new(), types: vec![ty], origin: Origin::default() };
        let id = self.nodes.add(node);
        self.parameters.push(id);
        Value { node: id, index: 0 }
    }

    /// Adds a node, its types inferred.
    pub fn add(
        &mut self,
        op: impl Into<Op>,
        operands: &[Value],
        origin: &Origin,
    ) -> Result<NodeId, GraphError> {
        self.add_op(op.into(), Choice::default(), operands, origin)
    }

    /// Adds a node that is run as it is chosen.
    pub fn add_chosen(
        &mut self,
        op: impl Into<Op>,
        choice: impl Into<Choice>,
        operands: &[Value],
        origin: &Origin,
    ) -> Result<NodeId, GraphError> {
        self.add_op(op.into(), choice.into(), operands, origin)
    }

    /// [`Graph::add_chosen`] itself, once for all operators.
    fn add_op(
        &mut self,
        op: Op,
        choice: Choice,
        operands: &[Value],
        origin: &Origin,
    ) -> Result<NodeId, GraphError> {
        let operand_types: Vec<&Type> = operands.iter().map(|&v| self.ty(v)).collect();
        let inferred = choice.infer(&op, &operand_types).and_then(|types| {
            types.iter().try_for_each(Type::check_size)?;
            Ok(types)
        });
        let types = inferred.map_err(|message| GraphError {
            path: origin.path.to_string(),
            message: format!("{}: {message}", op.get().name()),
        })?;
        let id = self.nodes.add(Node { op, operands: operands.to_vec(), types, origin: origin.clone() });
        self.set_choice(id, choice);
        Ok(id)
    }

    /// How a node is run.
    pub fn choice(&self, id: NodeId) -> Choice {
        self.choices.get(&id).copied().unwrap_or_default()
    }

    /// Chooses how a node is run. Its types must stay right.
    pub fn set_choice(&mut self, id: NodeId, choice: impl Into<Choice>) {
        let choice = choice.into();
        if choice == Choice::default() {
            self.choices.remove(&id);
        } else {
            self.choices.insert(id, choice);
        }
    }

    /// Adds an output behind those there are.
    pub fn add_output(&mut self, name: &str, role: Role, value: Value) {
        self.outputs.push(Output { name: name.to_owned(), role, value });
    }

    /// The parameters, in order.
    pub fn parameters(&self) -> &[NodeId] {
        &self.parameters
    }

    /// The parameter that a node is.
    pub fn parameter(&self, id: NodeId) -> Option<&Parameter> {
        match &self.node(id).op {
            Op::Parameter(parameter) => Some(parameter),
            _ => None,
        }
    }

    /// Removes parameters for which `keep` is false; they must have no users.
    pub fn retain_parameters(&mut self, mut keep: impl FnMut(&Graph, NodeId) -> bool) {
        let (kept, removed): (Vec<_>, Vec<_>) =
            self.parameters.clone().into_iter().partition(|&id| keep(self, id));
        self.parameters = kept;
        for id in removed {
            assert!(!self.is_used(id), "a parameter with users is removed");
            self.nodes.remove(id);
        }
    }

    /// The outputs, in order.
    pub fn outputs(&self) -> &[Output] {
        &self.outputs
    }

    /// The outputs, to change.
    pub fn outputs_mut(&mut self) -> &mut Vec<Output> {
        &mut self.outputs
    }

    /// A node.
    pub fn node(&self, id: NodeId) -> &Node {
        self.nodes.get(id).expect("a node of the graph")
    }

    /// The type of a value.
    pub fn ty(&self, value: Value) -> &Type {
        &self.node(value.node).types[value.index as usize]
    }

    /// The types of a node's operands.
    pub fn operand_types(&self, id: NodeId) -> Vec<&Type> {
        self.node(id).operands.iter().map(|&v| self.ty(v)).collect()
    }

    /// The first result of a node.
    pub fn result(&self, node: NodeId) -> Value {
        Value { node, index: 0 }
    }

    /// The results of a node.
    pub fn results(&self, node: NodeId) -> Vec<Value> {
        (0..self.node(node).types.len() as u32).map(|index| Value { node, index }).collect()
    }

    /// Whether the node is (still) in the graph.
    pub fn contains(&self, id: NodeId) -> bool {
        self.nodes.get(id).is_some()
    }

    /// The nodes that use any result of `id`: each once, in ascending order of creation.
    pub fn users(&self, id: NodeId) -> Vec<NodeId> {
        self.nodes.users(id)
    }

    /// Whether a node uses any result of `id`.
    pub fn is_used(&self, id: NodeId) -> bool {
        self.nodes.uses(id) > 0
    }

    /// How many operands name a result of `id`: as many as there are users, or more.
    pub fn uses(&self, id: NodeId) -> usize {
        self.nodes.uses(id)
    }

    /// How often a value is used, by operands and outputs.
    pub fn use_count(&self, value: Value) -> usize {
        let by_nodes: usize = self
            .users(value.node)
            .iter()
            .map(|&user| self.node(user).operands.iter().filter(|&&v| v == value).count())
            .sum();
        by_nodes + self.outputs.iter().filter(|output| output.value == value).count()
    }

    /// Makes every user of `old`, outputs included, use `new`, which must have the same type.
    pub fn replace_uses(&mut self, old: Value, new: Value) {
        assert_eq!(self.ty(old), self.ty(new), "a value is replaced by one of another type");
        for user in self.users(old.node) {
            for position in 0..self.node(user).operands.len() {
                if self.node(user).operands[position] == old {
                    self.set_operand(user, position, new);
                }
            }
        }
        for output in &mut self.outputs {
            if output.value == old {
                output.value = new;
            }
        }
    }

    /// Makes every user of a node's results, outputs included, use `new`, one value of the same type for each result:
    /// [`Graph::replace_uses`] for all at once, in time linear in the uses.
    pub fn replace_results(&mut self, old: NodeId, new: &[Value]) {
        for (result, &value) in self.results(old).into_iter().zip(new) {
            assert_eq!(self.ty(result), self.ty(value), "a value is replaced by one of another type");
        }
        for user in self.users(old) {
            for position in 0..self.node(user).operands.len() {
                let operand = self.node(user).operands[position];
                if operand.node == old {
                    self.set_operand(user, position, new[operand.index as usize]);
                }
            }
        }
        for output in self.outputs.iter_mut().filter(|output| output.value.node == old) {
            output.value = new[output.value.index as usize];
        }
    }

    /// Replaces one operand by a value with which the results keep their types: as a rule, one of the same type.
    pub fn set_operand(&mut self, id: NodeId, position: usize, value: Value) {
        self.nodes.set_operand(id, position, value);
    }

    /// Sets where a node comes from.
    pub fn set_origin(&mut self, id: NodeId, origin: Origin) {
        self.nodes.set_origin(id, origin);
    }

    /// Removes a node without users.
    pub fn remove(&mut self, id: NodeId) {
        assert!(!self.is_used(id), "a node with users is removed");
        // Its number is given again.
        self.choices.remove(&id);
        self.nodes.remove(id);
    }

    /// All nodes, in the order of creation.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.nodes.ids()
    }

    /// Number of nodes, parameters included.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether the graph has no nodes.
    pub fn is_empty(&self) -> bool {
        self.nodes.len() == 0
    }

    /// The nodes in the canonical topological order: parameters, then post-order from the outputs, operands left
    /// to right. Nodes that no output needs are not in it.
    pub fn order(&self) -> Vec<NodeId> {
        self.order_from(self.outputs.iter().map(|output| output.value))
    }

    /// As [`Graph::order`], from those values instead of the outputs.
    pub fn order_from(&self, roots: impl IntoIterator<Item = Value>) -> Vec<NodeId> {
        let mut order = self.parameters.clone();
        let mut seen = vec![false; self.nodes.bound()];
        for id in &order {
            seen[id.index()] = true;
        }
        // Depth-first by hand: graphs may be deeper than the stack.
        let mut stack: Vec<(NodeId, usize)> = Vec::new();
        for root in roots {
            if !std::mem::replace(&mut seen[root.node.index()], true) {
                stack.push((root.node, 0));
            }
            while let Some((id, next)) = stack.last_mut() {
                let (id, position) = (*id, *next);
                match self.node(id).operands.get(position) {
                    Some(operand) => {
                        *next += 1;
                        if !std::mem::replace(&mut seen[operand.node.index()], true) {
                            stack.push((operand.node, 0));
                        }
                    }
                    None => {
                        order.push(id);
                        stack.pop();
                    }
                }
            }
        }
        order
    }

    /// Whether following operands from any node leads back to it.
    pub fn is_cyclic(&self) -> bool {
        self.nodes.is_cyclic()
    }

    /// Copies the nodes that `roots` need from `source` behind this graph's nodes, operands left to right, and gives
    /// what stands for the roots. `map` says what stands for values of `source`; it receives the copies. The walk
    /// stops at values in `map`, so its cost is that of what is copied.
    pub fn import<S: BuildHasher>(
        &mut self,
        source: &Graph,
        roots: &[Value],
        map: &mut HashMap<Value, Value, S>,
    ) -> Result<Vec<Value>, GraphError> {
        // Depth-first by hand: graphs may be deeper than the stack.
        let mut stack: Vec<(NodeId, usize)> = Vec::new();
        for &root in roots {
            if !map.contains_key(&root) {
                stack.push((root.node, 0));
            }
            while let Some((id, next)) = stack.last_mut() {
                let (id, node) = (*id, source.node(*id));
                if let Some(operand) = node.operands.get(*next) {
                    *next += 1;
                    if !map.contains_key(operand) {
                        stack.push((operand.node, 0));
                    }
                    continue;
                }
                stack.pop();
                if source.results(id).iter().all(|value| map.contains_key(value)) {
                    continue;
                }
                if source.parameter(id).is_some() {
                    return Err(GraphError {
                        path: node.origin.path.to_string(),
                        message: "an imported value depends on a parameter that nothing stands for".into(),
                    });
                }
                let operands: Vec<Value> = node.operands.iter().map(|operand| map[operand]).collect();
                let copy = self.add_chosen(node.op.clone(), source.choice(id), &operands, &node.origin)?;
                for (value, copy) in source.results(id).into_iter().zip(self.results(copy)) {
                    map.entry(value).or_insert(copy);
                }
            }
        }
        Ok(roots.iter().map(|root| map[root]).collect())
    }
}

impl PartialEq for Graph {
    /// Equal up to numbering and dead nodes: the canonical orders match node by node. Origins do not count.
    fn eq(&self, other: &Graph) -> bool {
        let (a, b) = (self.order(), other.order());
        if self.name != other.name
            || a.len() != b.len()
            || self.parameters.len() != other.parameters.len()
            || self.outputs.len() != other.outputs.len()
        {
            return false;
        }
        let number = |order: &[NodeId]| -> Vec<usize> {
            let mut numbers = vec![0; order.iter().map(|id| id.index() + 1).max().unwrap_or(0)];
            order.iter().enumerate().for_each(|(number, id)| numbers[id.index()] = number);
            numbers
        };
        let (na, nb) = (number(&a), number(&b));
        let same = |x: Value, y: Value| na[x.node.index()] == nb[y.node.index()] && x.index == y.index;
        a.iter().zip(&b).all(|(&x, &y)| {
            let chosen = self.choice(x) == other.choice(y);
            let (x, y) = (self.node(x), other.node(y));
            chosen
                && x.op == y.op
                && x.types == y.types
                && x.operands.len() == y.operands.len()
                && x.operands.iter().zip(&y.operands).all(|(&x, &y)| same(x, y))
        }) && self
            .outputs
            .iter()
            .zip(&other.outputs)
            .all(|(x, y)| x.name == y.name && x.role == y.role && same(x.value, y.value))
    }
}
