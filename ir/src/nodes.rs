//! The nodes of a graph, and who uses them: an operand is added, replaced or removed in constant time, however often what it
//! names is used. A constant may have a hundred thousand users.

use crate::graph::{Node, NodeId, Value};

/// Nodes by number. Numbers of removed nodes are given again, the last one first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Nodes {
    entries: Vec<Option<Linked>>,
    free: Vec<u32>,
}

/// A node and its users.
#[derive(Clone, Debug)]
struct Linked {
    node: Node,
    /// The operands that name a result of the node, in no order.
    uses: Vec<Use>,
    /// Where each operand of the node stands among the uses of what it names.
    places: Vec<u32>,
}

/// An operand of a node.
#[derive(Clone, Copy, Debug)]
struct Use {
    user: u32,
    position: u32,
}

impl Nodes {
    /// Adds a node.
    pub fn add(&mut self, node: Node) -> NodeId {
        let id = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            u32::try_from(self.entries.len() - 1).expect("less than 2^32 nodes")
        });
        let places = (node.operands.iter().zip(0..))
            .map(|(operand, position)| self.enter(operand.node, Use { user: id, position }))
            .collect();
        self.entries[id as usize] = Some(Linked { node, uses: Vec::new(), places });
        NodeId(id)
    }

    /// Removes a node, which nothing may use.
    pub fn remove(&mut self, id: NodeId) {
        debug_assert!(self.uses(id) == 0, "a node with users is removed");
        // It stays until its last operand is left: it may use the same one twice.
        while let Some(place) = self.entry_mut(id).places.pop() {
            let entry = self.entry(id);
            let operand = entry.node.operands[entry.places.len()];
            self.leave(operand.node, place);
        }
        self.entries[id.index()] = None;
        self.free.push(id.0);
    }

    /// Replaces an operand.
    pub fn set_operand(&mut self, id: NodeId, position: usize, value: Value) {
        let entry = self.entry_mut(id);
        let old = std::mem::replace(&mut entry.node.operands[position], value);
        let place = entry.places[position];
        self.leave(old.node, place);
        let place = self.enter(value.node, Use { user: id.0, position: position as u32 });
        self.entry_mut(id).places[position] = place;
    }

    /// Notes a use; its place.
    fn enter(&mut self, used: NodeId, by: Use) -> u32 {
        let uses = &mut self.entry_mut(used).uses;
        uses.push(by);
        uses.len() as u32 - 1
    }

    /// Forgets the use at a place, which the last one takes.
    fn leave(&mut self, used: NodeId, place: u32) {
        let uses = &mut self.entry_mut(used).uses;
        uses.swap_remove(place as usize);
        if let Some(&Use { user, position }) = uses.get(place as usize) {
            self.entry_mut(NodeId(user)).places[position as usize] = place;
        }
    }

    /// The nodes that use a result of one: each once, in ascending order.
    pub fn users(&self, id: NodeId) -> Vec<NodeId> {
        let mut users: Vec<NodeId> = self.entry(id).uses.iter().map(|by| NodeId(by.user)).collect();
        users.sort_unstable();
        users.dedup();
        users
    }

    /// How many operands name a result of a node.
    pub fn uses(&self, id: NodeId) -> usize {
        self.entry(id).uses.len()
    }

    /// A node.
    pub fn get(&self, id: NodeId) -> Option<&Node> {
        self.entries.get(id.index())?.as_ref().map(|entry| &entry.node)
    }

    /// Sets where a node comes from.
    pub fn set_origin(&mut self, id: NodeId, origin: crate::graph::Origin) {
        self.entry_mut(id).node.origin = origin;
    }

    /// All nodes, in ascending order.
    pub fn ids(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.entries.iter().zip(0..).filter(|(entry, _)| entry.is_some()).map(|(_, id)| NodeId(id))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    /// Above the number of every node.
    pub fn bound(&self) -> usize {
        self.entries.len()
    }

    /// Whether following operands from any node leads back to it.
    pub fn is_cyclic(&self) -> bool {
        // Nodes are taken away as soon as all of their operands are.
        let waits = |entry: &Option<Linked>| entry.as_ref().map_or(0, |entry| entry.node.operands.len());
        let mut waiting: Vec<usize> = self.entries.iter().map(waits).collect();
        let mut ready: Vec<NodeId> = self.ids().filter(|id| waiting[id.index()] == 0).collect();
        let mut taken = 0;
        while let Some(id) = ready.pop() {
            taken += 1;
            for by in &self.entry(id).uses {
                waiting[by.user as usize] -= 1;
                if waiting[by.user as usize] == 0 {
                    ready.push(NodeId(by.user));
                }
            }
        }
        taken < self.len()
    }

    fn entry(&self, id: NodeId) -> &Linked {
        self.entries[id.index()].as_ref().expect("a node of the graph")
    }

    fn entry_mut(&mut self, id: NodeId) -> &mut Linked {
        self.entries[id.index()].as_mut().expect("a node of the graph")
    }
}

#[cfg(test)]
mod tests {
    use crate::ops::Role;
    use crate::random::Rng;
    use crate::scalar::ScalarOp;
    use crate::{DType, Graph, NodeId, Origin, Type, Value};

    /// The users of every node, from the operands.
    fn expected(graph: &Graph, id: NodeId) -> Vec<NodeId> {
        let uses = |user: &NodeId| graph.node(*user).operands.iter().any(|operand| operand.node == id);
        graph.nodes().filter(uses).collect()
    }

    #[test]
    fn uses_follow_every_change() {
        let mut rng = Rng(5);
        let mut graph = Graph::new("uses");
        let ty = Type::new(DType::F32, [3]);
        let mut values: Vec<Value> =
            (0..3).map(|i| graph.add_parameter(&format!("x{i}"), Role::Data, ty.clone())).collect();
        for _ in 0..400 {
            let [a, b, c] = [0; 3].map(|_| values[rng.below(values.len())]);
            match rng.below(4) {
                // Ternary: the same operand may be there three times.
                0 | 1 => {
                    let id = graph.add(ScalarOp::Fma, &[a, b, c], &Origin::default()).expect("equal types");
                    values.push(graph.result(id));
                }
                // Operands that are older, so that no cycle arises.
                2 if !graph.node(a.node).operands.is_empty() && b < a => {
                    graph.set_operand(a.node, rng.below(3), b);
                }
                _ => {
                    let unused = |v: &Value| graph.parameter(v.node).is_none() && !graph.is_used(v.node);
                    if let Some(at) = values.iter().rposition(unused) {
                        graph.remove(values.remove(at).node);
                    }
                }
            }
            for id in graph.nodes() {
                assert_eq!(graph.users(id), expected(&graph, id));
            }
            assert_eq!(graph.len(), values.len());
        }
        assert!(graph.len() > 3);
    }
}
