//! The graph with every cluster in its place: a region where it is more than one node.

use brolga_ir::graph::Output;
use brolga_ir::ops::{Fused, Op, RegionOp, Role};
use brolga_ir::{Graph, GraphError, NodeId, Origin, Value};
use rustc_hash::FxHashMap;

use super::clusters::{Cluster, Clusters};
use super::roles::ClusterRole;
use crate::facts::table::ValueTable;

/// Fuses a graph; whether any region was made.
type Fuse = fn(&mut Graph) -> Result<bool, GraphError>;

/// The new graph, as far as it is.
struct Rebuilt {
    graph: Graph,
    /// The values of the old graph that are there.
    map: FxHashMap<Value, Value>,
    /// Those that anything outside of their cluster reads.
    needed: ValueTable<()>,
    /// What fuses the regions of operators.
    fuse: Fuse,
}

impl Rebuilt {
    /// The operator, its regions fused, but for one that is fused already.
    fn fused_inside(&self, op: &Op) -> Result<Op, GraphError> {
        let mut op = op.clone();
        match op.region_op() {
            Some(RegionOp::Scan(_) | RegionOp::While(_) | RegionOp::Cond(_)) => {
                op.regions_mut().into_iter().try_for_each(|region| (self.fuse)(region).map(drop))?;
            }
            Some(RegionOp::Fused(_)) | None => {}
        }
        Ok(op)
    }
}

/// The graph with every cluster in place. `fuse` is for the regions of operators that are no cluster.
pub(super) fn build(clusters: &Clusters<'_>, order: &[NodeId], fuse: Fuse) -> Result<Graph, GraphError> {
    let old = clusters.graph;
    let (graph, map) = (Graph::new(&old.name), FxHashMap::default());
    let mut new = Rebuilt { graph, map, needed: clusters.needed(order), fuse };
    for &id in old.parameters() {
        let p = old.parameter(id).expect("a parameter");
        new.map.insert(old.result(id), new.graph.add_parameter(&p.name, p.role, p.ty.clone()));
    }
    let mut sequence: Vec<usize> = (0..clusters.all.len()).collect();
    sequence.sort_by_key(|&c| (clusters.all[c].depth, c));
    for c in sequence {
        clusters.emit(&clusters.all[c], &mut new)?;
    }
    for Output { name, role, value } in old.outputs() {
        let value = new.graph.import(old, &[*value], &mut new.map)?[0];
        new.graph.add_output(name, *role, value);
    }
    Ok(new.graph)
}

impl Clusters<'_> {
    /// For each value that lies in a cluster, an entry if anything outside of the cluster reads it.
    fn needed(&self, order: &[NodeId]) -> ValueTable<()> {
        let mut needed = ValueTable::default();
        for &id in order {
            if self.roles.is(id, ClusterRole::Virtual) {
                continue;
            }
            for (value, _) in self.roles.sources(id) {
                if self.cluster(value.node) != self.cluster(id) {
                    needed.insert(value, ());
                }
            }
        }
        for value in self.roles.returned() {
            needed.insert(value, ());
        }
        needed
    }

    /// Adds a cluster: as a node, or as a region.
    fn emit(&self, cluster: &Cluster, new: &mut Rebuilt) -> Result<(), GraphError> {
        let old = self.graph;
        let first = cluster.nodes[0];
        if old.parameter(first).is_some() {
            return Ok(());
        }
        let node = old.node(first);
        let plain = |v: &Value| !self.roles.is(v.node, ClusterRole::Virtual);
        // What would only be an index map outside of a region is run in one.
        let single = cluster.nodes.len() == 1 && !matches!(node.op, Op::Reshape(_));
        if self.roles.is(first, ClusterRole::Barrier)
            || (single && (self.roles.is(first, ClusterRole::Product) || node.operands.iter().all(plain)))
        {
            let operands = new.graph.import(old, &node.operands, &mut new.map)?;
            let op = new.fused_inside(&node.op)?;
            let copy = new.graph.add_chosen(op, old.choice(first), &operands, &node.origin)?;
            new.map.extend(old.results(first).into_iter().zip(new.graph.results(copy)));
            return Ok(());
        }
        self.emit_region(cluster, new)
    }

    /// Adds a cluster as a region, whose parameters are what its nodes read, through their own copies of virtual nodes.
    fn emit_region(&self, cluster: &Cluster, new: &mut Rebuilt) -> Result<(), GraphError> {
        let old = self.graph;
        let mut body = Graph::new("region");
        let mut inside: FxHashMap<Value, Value> = FxHashMap::default();
        let mut operands = Vec::new();
        for &id in &cluster.nodes {
            for (value, _) in self.roles.sources(id) {
                if inside.contains_key(&value) {
                    continue;
                }
                let name = format!("x{}", operands.len());
                inside.insert(value, body.add_parameter(&name, Role::Data, old.ty(value).clone()));
                operands.push(new.map[&value]);
            }
            let node = old.node(id);
            let read = body.import(old, &node.operands, &mut inside)?;
            let copy = body.add_chosen(node.op.clone(), old.choice(id), &read, &node.origin)?;
            inside.extend(old.results(id).into_iter().zip(body.results(copy)));
        }
        let outputs: Vec<Value> =
            cluster.nodes.iter().map(|&id| old.result(id)).filter(|&v| new.needed.get(v).is_some()).collect();
        for (position, value) in outputs.iter().enumerate() {
            body.add_output(&format!("y{position}"), Role::Data, inside[value]);
        }
        let origin = self.origin(cluster);
        let fused = new.graph.add(Fused { body }, &operands, &origin)?;
        new.map.extend(outputs.into_iter().zip(new.graph.results(fused)));
        Ok(())
    }

    /// The origin of most of a cluster's nodes; the first of them where several are as frequent.
    fn origin(&self, cluster: &Cluster) -> Origin {
        let mut counts: Vec<(&Origin, usize)> = Vec::new();
        for &id in &cluster.nodes {
            let origin = &self.graph.node(id).origin;
            match counts.iter_mut().find(|(o, _)| *o == origin) {
                Some((_, count)) => *count += 1,
                None => counts.push((origin, 1)),
            }
        }
        let most = counts.iter().map(|&(_, count)| count).max().unwrap_or(0);
        counts.into_iter().find(|&(_, count)| count == most).map_or(Origin::default(), |(o, _)| o.clone())
    }
}
