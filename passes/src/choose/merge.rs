//! Merges products and convolutions that read the same input.
//!
//! Products of one value with several fixed weights (queries, keys and values; the 1x1 convolutions of an inception
//! block) become one product with the weights joined along their output axis, and slices of its result, which are
//! views. Convolutions must agree in kernel, stride, padding and dilation, and have one group. What all of them go
//! through next, element by element and with factors of the channel only (a bias, an activation), the joined product
//! goes through as a whole, so that it stays in its kernel, and the slices come behind. Worth it where the joined
//! weights and factors are computed once ([`prepare`](mod@crate::choose::prepare)), so they must be fixed: not while training. In the
//! body of a loop what it captures is: the weights of gates that were written one by one are joined before it (`hoist`), in
//! training too.
//!
//! A product that becomes a part of a concatenation along its output axis can be computed in its place there (pass
//! `views`); a slice of another product would have to be copied. So it is joined only with its neighbours there.
//! Every output is the same chain of operations as before: exact.

use brolga_ir::ops::{Conv, ConvForm, Op};
use brolga_ir::scalar::Scalar;
use brolga_ir::{Builder, Graph, GraphError, NodeId, Tensor, Value};
use rustc_hash::FxHashMap;

use crate::facts::batch::trains;
use crate::facts::constants::splat;
use crate::facts::fixed::{Dependence, along, dependence, dependence_in, of_loops};
use crate::facts::table::NodeTable;
use crate::options::Options;
use crate::rewrite::regions;

/// Joins products of one input.
pub fn merge(graph: &mut Graph, _: &Options) -> Result<bool, GraphError> {
    let inside = regions::apply_with(graph, &of_loops, &mut join_all)?;
    let joined = !trains(graph) && join_here(graph, &dependence(graph))?;
    Ok(inside || joined)
}

/// In a region, whose parameters depend on what is given, and first in the loops in it.
fn join_all(region: &mut Graph, given: Vec<Dependence>) -> Result<bool, GraphError> {
    let inside = regions::apply_with(region, &of_loops, &mut join_all)?;
    let joined = join_here(region, &dependence_in(region, Some(&given)))?;
    Ok(inside || joined)
}

fn join_here(graph: &mut Graph, dependence: &NodeTable<Dependence>) -> Result<bool, GraphError> {
    // Groups in canonical order of their first member.
    let mut groups: Vec<(Axes, Vec<NodeId>)> = Vec::new();
    let mut by_input: FxHashMap<Value, Vec<usize>> = FxHashMap::default();
    for id in graph.order() {
        let Some(axes) = Axes::of(graph, id) else { continue };
        let node = graph.node(id);
        let fixed = *dependence.get(node.operands[1].node) == Dependence::State;
        if !fixed || *dependence.get(node.operands[0].node) != Dependence::Call {
            continue;
        }
        let known = by_input.entry(node.operands[0]).or_default();
        match known.iter().find(|&&group| alike(graph, groups[group].1[0], id, &axes)) {
            Some(&group) => groups[group].1.push(id),
            None => {
                known.push(groups.len());
                groups.push((axes, vec![id]));
            }
        }
    }
    let mut live: NodeTable<bool> = NodeTable::default();
    graph.order().into_iter().for_each(|id| *live.at(id) = true);
    let mut changed = false;
    for (axes, members) in groups.into_iter().filter(|(_, members)| members.len() > 1) {
        let walk = Walk { graph, axis: axes.result, dependence, live: &live };
        let members = members.into_iter().map(|id| walk.member(id)).collect();
        for part in by_destination(members).into_iter().filter(|part| part.len() > 1) {
            join(graph, &axes, &part)?;
            changed = true;
        }
    }
    Ok(changed)
}

/// The output axis of the weights, and of the result.
struct Axes {
    weights: usize,
    result: usize,
}

impl Axes {
    /// Of a product of an input (the first operand) with weights that have one output axis.
    fn of(graph: &Graph, id: NodeId) -> Option<Axes> {
        match &graph.node(id).op {
            Op::Conv(Conv { form: ConvForm::Forward, groups: 1, .. }) => {
                let rank = graph.node(id).types[0].rank();
                Some(Axes { weights: 0, result: graph.choice(id).layout.channel_axis(rank) })
            }
            Op::Dot(dot) => {
                let rank = graph.operand_types(id)[1].rank();
                let &[weights] = dot.free(1, rank).as_slice() else { return None };
                Some(Axes { weights, result: graph.node(id).types[0].rank() - 1 })
            }
            _ => None,
        }
    }
}

/// Whether two products of one input differ only in their weights' output axis.
fn alike(graph: &Graph, a: NodeId, b: NodeId, axes: &Axes) -> bool {
    let weights = |id: NodeId| {
        let mut ty = graph.operand_types(id)[1].clone();
        ty.dims[axes.weights] = 0;
        ty
    };
    let same = graph.node(a).op == graph.node(b).op && graph.choice(a) == graph.choice(b);
    same && weights(a) == weights(b)
}

/// A product, what its result goes through, and the concatenation in which that ends, with its place there.
struct Member {
    product: NodeId,
    links: Vec<Link>,
    destination: Option<(NodeId, usize)>,
}

/// An operation on every element: the node, and which of its operands comes from the product; its other operands.
struct Link {
    node: NodeId,
    position: usize,
    factors: Vec<Factor>,
}

/// What an operation takes beside the elements.
#[derive(Clone, Copy)]
enum Factor {
    /// The same for all.
    Splat(Scalar),
    /// One for each index of the output axis: the vector, which may have axes of extent 1 besides.
    Channel(Value),
}

struct Walk<'g> {
    graph: &'g Graph,
    /// The output axis of the results.
    axis: usize,
    dependence: &'g NodeTable<Dependence>,
    /// Whether the outputs need a node.
    live: &'g NodeTable<bool>,
}

impl Walk<'_> {
    /// Follows what a product's result goes through.
    fn member(&self, product: NodeId) -> Member {
        let (mut links, mut value) = (Vec::new(), self.graph.result(product));
        // From a value to its user: graphs have no cycles.
        loop {
            let Some((user, position)) = self.only_use(value) else {
                return Member { product, links, destination: None };
            };
            if let Some(link) = self.link(user, position) {
                value = self.graph.result(user);
                links.push(link);
                continue;
            }
            let joins = matches!(&self.graph.node(user).op, Op::Concat(concat) if concat.axis == self.axis);
            return Member { product, links, destination: joins.then_some((user, position)) };
        }
    }

    /// The only use of a value: the node and the operand.
    fn only_use(&self, value: Value) -> Option<(NodeId, usize)> {
        if self.graph.outputs().iter().any(|output| output.value == value) {
            return None;
        }
        let users = self.graph.users(value.node);
        let mut users = users.into_iter().filter(|&user| *self.live.get(user));
        let user = users.next().filter(|_| users.next().is_none())?;
        let mut uses = (0..).zip(&self.graph.node(user).operands).filter(|&(_, &operand)| operand == value);
        let position = uses.next()?.0;
        uses.next().is_none().then_some((user, position))
    }

    fn link(&self, node: NodeId, position: usize) -> Option<Link> {
        let Op::Elementwise(_) = self.graph.node(node).op else { return None };
        let operands = self.graph.node(node).operands.iter().enumerate();
        let others = operands.filter(|&(other, _)| other != position);
        let factors = others.map(|(_, &operand)| self.factor(operand)).collect::<Option<_>>()?;
        Some(Link { node, position, factors })
    }

    fn factor(&self, value: Value) -> Option<Factor> {
        if let Some(scalar) = splat(self.graph, value) {
            return Some(Factor::Splat(scalar));
        }
        let channels = self.graph.ty(value).dims[self.axis];
        let vector = along(self.graph, value, self.axis, self.dependence)?;
        (self.graph.ty(vector).elements() == channels).then_some(Factor::Channel(vector))
    }
}

/// Those that end in no concatenation, and of each concatenation every run of neighbours.
fn by_destination(members: Vec<Member>) -> Vec<Vec<Member>> {
    let (mut inside, free): (Vec<_>, Vec<_>) =
        members.into_iter().partition(|member| member.destination.is_some());
    inside.sort_by_key(|member| member.destination);
    let mut parts = vec![free];
    for member in inside {
        let behind = |last: &Member| {
            last.destination.map(|(concat, position)| (concat, position + 1)) == member.destination
        };
        match parts.last_mut().filter(|part| part.last().is_some_and(behind)) {
            Some(part) => part.push(member),
            None => parts.push(vec![member]),
        }
    }
    parts
}

/// Whether two operations differ only in their factors for each channel.
fn same_link(graph: &Graph, a: &Link, b: &Link) -> bool {
    let same = |(a, b): (&Factor, &Factor)| match (a, b) {
        (Factor::Splat(a), Factor::Splat(b)) => a.same(*b),
        (Factor::Channel(a), Factor::Channel(b)) => graph.ty(*a).dtype == graph.ty(*b).dtype,
        _ => false,
    };
    graph.node(a.node).op == graph.node(b.node).op
        && a.position == b.position
        && a.factors.iter().zip(&b.factors).all(same)
}

fn join(graph: &mut Graph, axes: &Axes, members: &[Member]) -> Result<(), GraphError> {
    let first = graph.node(members[0].product).clone();
    let choice = graph.choice(members[0].product);
    let weights: Vec<Value> = members.iter().map(|member| graph.node(member.product).operands[1]).collect();
    let common = common_links(graph, members);
    let b = &mut Builder::new(graph, first.origin.clone());
    let joined = b.concat(&weights, axes.weights)?;
    let mut result = b.add_chosen(first.op, choice, &[first.operands[0], joined])?;
    for at in 0..common {
        result = joined_link(b, axes, members, at, result)?;
    }
    let mut start = 0;
    for member in members {
        let last = if common > 0 { member.links[common - 1].node } else { member.product };
        let (extent, origin) = (graph.node(last).types[0].dims[axes.result], graph.node(last).origin.clone());
        let part = Builder::new(graph, origin).slice_axis(result, axes.result, start, start + extent)?;
        graph.replace_uses(graph.result(last), part);
        start += extent;
    }
    Ok(())
}

/// How many links of the chains of all members are alike.
fn common_links(graph: &Graph, members: &[Member]) -> usize {
    let alike = |&at: &usize| {
        let link = |member: &Member| member.links.get(at).is_some();
        members.iter().all(link)
            && members.iter().all(|m| same_link(graph, &members[0].links[at], &m.links[at]))
    };
    (0..).take_while(alike).count()
}

/// One link of all chains, behind the joined product: factors of channels stand behind each other.
fn joined_link(
    b: &mut Builder,
    axes: &Axes,
    members: &[Member],
    at: usize,
    from: Value,
) -> Result<Value, GraphError> {
    let link = &members[0].links[at];
    let node = b.graph.node(link.node).clone();
    b.origin = node.origin;
    let dims = b.dims(from);
    let mut operands = Vec::new();
    for (number, factor) in link.factors.iter().enumerate() {
        operands.push(match *factor {
            Factor::Splat(scalar) => {
                let scalar = b.constant(Tensor::scalar(scalar))?;
                b.broadcast(scalar, &dims, &[])?
            }
            Factor::Channel(_) => {
                let mut vectors = Vec::new();
                for member in members {
                    if let Factor::Channel(vector) = member.links[at].factors[number] {
                        let channels = b.ty(vector).elements();
                        vectors.push(b.reshape(vector, &[channels])?);
                    }
                }
                let vector = b.concat(&vectors, 0)?;
                b.broadcast(vector, &dims, &[axes.result])?
            }
        });
    }
    operands.insert(link.position, from);
    b.add_node(node.op, &operands)
}
