//! Regions around a product: what is fused behind a convolution or a matrix product.
//!
//! Such a region has one node with loops of its own, the *root*; everything else is elementwise over the root's
//! result, its [`Epilogue`].
//!
//! One region has two such nodes: a depthwise convolution, and the one that makes its image ([`expand`](super::expand)).

use brolga_ir::choice::Layout;
use brolga_ir::ops::Op;
use brolga_ir::{GraphError, NodeId, Value};

use super::around::has_loops;
use super::conv::Convolution;
use super::dot::Dense;
use super::epilogue::Epilogue;
use crate::facts::products::takes_epilogue;
use crate::lower::{Location, Lowering};

impl Lowering<'_> {
    /// A region with a product, whose parameters have their locations.
    pub(in crate::lower) fn product_region(
        &mut self,
        name: &str,
        outputs: &[(Value, Location)],
    ) -> Result<(), GraphError> {
        let graph = self.graph;
        let roots: Vec<NodeId> = graph.order().into_iter().filter(|&id| has_loops(graph, id)).collect();
        if let &[root] = roots.as_slice()
            && takes_epilogue(graph, root)
            && let Some(read) = self.rest(root, outputs.iter().map(|output| output.0))
            && self.fused_product(name, root, &read, outputs)?
        {
            return Ok(());
        }
        if let &[first, second] = roots.as_slice()
            && self.expanded(name, [first, second], outputs)?
        {
            return Ok(());
        }
        // One kernel after the other. A raw product that is an output is computed in its place.
        let mut left = Vec::new();
        for &(value, location) in outputs {
            if roots.contains(&value.node) {
                self.targets.insert(value, location);
            } else {
                left.push((value, location));
            }
        }
        for root in roots {
            self.node(root)?;
        }
        let Some(&(first, _)) = left.first() else { return Ok(()) };
        if left.iter().all(|(value, _)| graph.ty(*value).dims == graph.ty(first).dims) {
            return self.compute(&left, first.node);
        }
        left.iter().try_for_each(|&output| self.compute(&[output], output.0.node))
    }

    /// One kernel for all of a region; false if the root has none that goes on.
    fn fused_product(
        &mut self,
        name: &str,
        root: NodeId,
        read: &[Value],
        outputs: &[(Value, Location)],
    ) -> Result<bool, GraphError> {
        let graph = self.graph;
        let node = graph.node(root);
        let value = graph.result(root);
        let result = &node.types[0];
        let types = [graph.ty(node.operands[0]), graph.ty(node.operands[1])];
        let accesses = [self.access(node.operands[0])?, self.access(node.operands[1])?];
        let first = matches!(&node.op, Op::Conv(_)) && graph.choice(root).layout == Layout::ChannelsFirst;
        if first && graph.choice(root).weights.is_some() {
            return Ok(false);
        }
        let dense = match &node.op {
            Op::Dot(dot) => {
                let dims = types.map(|ty| ty.dims.clone());
                let dense = Dense::of(dot, graph.choice(root), &dims, &accesses);
                match dense.filter(|dense| dense.dims() == result.dims && self.packs(dense, &accesses)) {
                    Some(dense) => Some(dense),
                    None => return Ok(false),
                }
            }
            _ => None,
        };
        let target = self.place_of(value, outputs);
        let operands = self.with_locations(read)?;
        let epilogue = Epilogue { body: graph, name, root: value, target, operands: &operands, outputs };
        match (&node.op, dense) {
            (Op::Conv(conv), _) => {
                let [mut x, w] = accesses;
                if first {
                    x = self.contiguous(x, node.operands[0])?;
                }
                let (operands, epilogue) = ([x, w], Some(epilogue));
                let asked = Convolution { conv, types, operands, target, result, epilogue, origin: root };
                match first {
                    true => self.convolve_channels_first(asked),
                    false => self.convolve(asked),
                }
            }
            (_, Some(dense)) => self.dense(&dense, accesses, Some(epilogue), root),
            _ => unreachable!("only convolutions and products take epilogues"),
        }
        Ok(true)
    }
}
