//! Goes through the nodes of a graph in canonical order, and has each of them lowered by whoever knows how.

use std::collections::HashMap;

use brolga_ir::definition::Definition;
use brolga_ir::ops::RegionOp;
use brolga_ir::program::{Access, Place, Program};
use brolga_ir::{Graph, GraphError, NodeId, Op, Value};
use rustc_hash::FxHashMap;

use super::location::{Copies, Location};
use super::lowering::Lowering;
use super::products::around::is_product;
use super::regions::compose::Composer;
use super::regions::split::is_split;
use crate::facts::definition::definition;
use crate::options::Options;
use crate::rewrite::kernels::Kernels;

/// Lowers a graph. `ranges` gives the bounds of integer inputs that are used as indices, by name.
pub fn lower(graph: &Graph, ranges: &HashMap<String, (i64, i64)>) -> Result<Program, GraphError> {
    lower_with(graph, ranges, &Options::default())
}

/// The same, with tunings for some products, or for a number of threads.
pub fn lower_with(
    graph: &Graph,
    ranges: &HashMap<String, (i64, i64)>,
    options: &Options,
) -> Result<Program, GraphError> {
    let mut lowering = Lowering {
        graph,
        program: Program { name: graph.name.clone(), ..Program::default() },
        locations: FxHashMap::default(),
        kernels: Kernels::default(),
        targets: FxHashMap::default(),
        copies: Copies::default(),
        loops: Vec::new(),
        block: 0,
        options,
        label: None,
    };
    lowering.parameters(ranges);
    let copies = lowering.outputs();
    lowering.nodes()?;
    lowering.copies(copies)?;
    Ok(lowering.program)
}

impl Lowering<'_> {
    /// Lowers every node of the graph.
    pub(super) fn nodes(&mut self) -> Result<(), GraphError> {
        self.graph.order().into_iter().try_for_each(|id| self.node(id))
    }

    pub(super) fn node(&mut self, id: NodeId) -> Result<(), GraphError> {
        let done = self.node_alone(id);
        self.label = None;
        done
    }

    fn node_alone(&mut self, id: NodeId) -> Result<(), GraphError> {
        let graph = self.graph;
        let node = graph.node(id);
        if let Some(region) = node.op.region_op() {
            return self.region(id, region);
        }
        match &node.op {
            Op::Parameter(_) | Op::Constant(_) => Ok(()),
            Op::Dot(dot) if node.types[0].dtype.is_int() => self.integer_dot(id, dot),
            Op::Dot(dot) => self.dot(id, dot),
            Op::Conv(conv) => self.conv(id, conv),
            _ if self.is_view(graph.result(id)) => Ok(()),
            _ => {
                let results = graph.results(id);
                let by_element = results.iter().all(|&v| definition(graph, v) != Definition::Loops);
                if by_element {
                    return results.into_iter().try_for_each(|value| {
                        let target = self.target(value);
                        self.locations.remove(&value);
                        let done = self.compute(&[(value, target)], id);
                        self.locations.insert(value, target);
                        done
                    });
                }
                self.loops(id)
            }
        }
    }

    /// An operator with regions.
    fn region(&mut self, id: NodeId, region: RegionOp<'_>) -> Result<(), GraphError> {
        match region {
            RegionOp::Scan(op) => self.scan(id, op),
            RegionOp::While(op) => self.while_loop(id, op),
            RegionOp::Cond(op) => self.cond(id, op),
            RegionOp::Fused(op) => self.fused(id, &op.body),
        }
    }

    /// A fused region: one kernel as a rule.
    fn fused(&mut self, id: NodeId, body: &Graph) -> Result<(), GraphError> {
        let operands = self.graph.node(id).operands.clone();
        let split = self.loops.is_empty() && is_split(body);
        if split || is_product(body) {
            let mut locations = FxHashMap::default();
            for (&parameter, &operand) in body.parameters().iter().zip(&operands) {
                locations.insert(body.result(parameter), self.location(operand)?);
            }
            let results = self.graph.results(id);
            let outputs: Vec<(Value, Location)> = results
                .iter()
                .zip(body.outputs())
                .map(|(&v, output)| (output.value, self.target(v)))
                .collect();
            let name = kernel_name(body);
            return self.inside(body, locations, |inner| match split {
                true => inner.split_region(&name, &outputs, outputs[0].0.node),
                false => inner.product_region(&name, &outputs),
            });
        }
        self.composed(id, body)
    }

    /// A region of elements and reductions, as the kernel that is composed of its definitions.
    fn composed(&mut self, id: NodeId, body: &Graph) -> Result<(), GraphError> {
        let operands = self.graph.node(id).operands.clone();
        let mut composer = Composer::new(body, &kernel_name(body));
        let mut args = Vec::new();
        for (&parameter, &operand) in body.parameters().iter().zip(&operands) {
            let location = self.location(operand)?;
            let ty = self.graph.ty(operand);
            let param = composer.k.param(ty.dtype, ty.elements(), Access::Read);
            composer.memory.insert(body.result(parameter), param);
            args.push(location);
        }
        for id in body.order() {
            let value = body.result(id);
            if let Op::Constant(constant) = &body.node(id).op
                && definition(body, value) == Definition::Loops
            {
                let ty = constant.value.ty();
                let place = Place::Constant(constant.value.clone());
                let buffer = self.buffer("constant", ty.clone(), place);
                let param = composer.k.param(ty.dtype, ty.elements(), Access::Read);
                composer.memory.insert(value, param);
                args.push(Location::from(buffer));
            }
        }
        let mut outputs = Vec::new();
        for (value, output) in self.graph.results(id).into_iter().zip(body.outputs()) {
            let target = self.target(value);
            let ty = body.ty(output.value);
            let param = composer.k.param(ty.dtype, ty.elements(), Access::Write);
            outputs.push((output.value, param));
            args.push(target);
        }
        composer.region(&outputs);
        let kernel = composer.k.finish_kernel();
        self.call(kernel, args, id);
        Ok(())
    }
}

/// `add_mul_reduce_add`: the operators of a region, each name once, in order.
fn kernel_name(body: &Graph) -> String {
    let mut names: Vec<&str> = Vec::new();
    for id in body.order() {
        let node = body.node(id);
        let quiet = matches!(node.op, Op::Parameter(_) | Op::Constant(_) | Op::Broadcast(_) | Op::Reshape(_));
        if !quiet && !names.contains(&node.op.get().name()) {
            names.push(node.op.get().name());
        }
    }
    if names.is_empty() { "copy".into() } else { names[..names.len().min(5)].join("_") }
}
