//! `lower`: from a fused graph to a kernel program.
//!
//! Nodes are visited in canonical order. A fused region becomes one kernel (`region`); so does any other node
//! with a definition by elements. Contractions (`dot`, `conv` and its neighbours) and operators with loops of their
//! own (`loops`) bring their own kernels. A node that only maps indices (a reshape, a transpose, a broadcast) is
//! not run at all: whoever reads it composes its index map, or has it copied where rows must lie contiguously.
//!
//! What changes rounding is decided here and nowhere later: the order of every sum (see
//! `compose::Composer::reductions`, `contraction`, `products`). Loops stay serial; the passes `vectorise`
//! and `parallelise` choose strips and grids.

mod blocking;
mod control;
mod flatten;
mod indexed;
mod kernel;
mod memory;
mod products;
mod regions;

use std::collections::{HashMap, HashSet};

use brolga_ir::definition::{Definition, Element};
use brolga_ir::program::{Access, Arg, Call, Kernel, Place, Program, Step};
use brolga_ir::{Graph, GraphError, NodeId, Op, Value};
use rustc_hash::FxHashMap;

use crate::manager::Options;
use crate::rewrite::digest::Kernels;
use crate::schedule::{Algorithm, Schedule, key};
pub use blocking::plan::{BLOCK, LANES};
pub(crate) use kernel::prune;
use memory::{Copies, DEEPEST, Location};
use products::access::StridedAccess;
pub(crate) use products::epilogue::takes_epilogue;
pub(crate) use products::expand::expansion_pays;
use regions::compose::Composer;
pub(crate) use regions::region::definition;

/// The program being made, and where the graph's values lie.
struct Lowering<'g> {
    graph: &'g Graph,
    program: Program,
    locations: FxHashMap<Value, Location>,
    /// To find equal ones.
    kernels: Kernels,
    /// Places that outputs are to be computed into.
    targets: FxHashMap<Value, Location>,
    /// What kernels have made of one place by itself ([`Lowering::once`]), by that place.
    copies: Copies,
    /// Schedule loops around what is being lowered.
    depth: usize,
    /// What is chosen for products, and for the one that is being lowered; the origin of its calls, if that is its key.
    options: &'g Options,
    schedule: Schedule,
    label: Option<String>,
}

/// Lowers a graph. `ranges` gives the bounds of integer inputs that are used as indices, by name.
pub fn lower(graph: &Graph, ranges: &HashMap<String, (i64, i64)>) -> Result<Program, GraphError> {
    lower_with(graph, ranges, &Options::default())
}

/// The same, with schedules for some products, or for a number of threads.
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
        depth: 0,
        options,
        schedule: Schedule::default(),
        label: None,
    };
    lowering.parameters(ranges);
    let copies = lowering.outputs();
    lowering.nodes()?;
    lowering.copies(copies)?;
    Ok(lowering.program)
}

impl Lowering<'_> {
    /// Whether a value only maps indices, repeats a constant or converts what is stored: nothing is computed for it.
    fn is_view(&self, value: Value) -> bool {
        if self.graph.parameter(value.node).is_some() {
            return false;
        }
        crate::fuse::is_storage(self.graph, value.node)
            || matches!(
                definition(self.graph, value),
                Definition::Element(Element::Operand(..) | Element::Constant(_) | Element::Index(..))
            )
            || matches!(self.graph.node(value.node).op, Op::Constant(_))
    }

    /// Lowers every node of the graph.
    fn nodes(&mut self) -> Result<(), GraphError> {
        self.graph.order().into_iter().try_for_each(|id| self.node(id))
    }

    fn node(&mut self, id: NodeId) -> Result<(), GraphError> {
        let done = self.node_alone(id);
        (self.schedule, self.label) = (Schedule::default(), None);
        done
    }

    /// What follows is lowered as `id`, a product, is scheduled: to the end of the node.
    fn choose(&mut self, algorithm: Algorithm, id: NodeId) {
        if self.options.schedules.is_empty() {
            return;
        }
        let key = key(algorithm, self.graph, id);
        self.schedule = self.options.schedules.get(&key);
        self.label = self.options.schedules.labels().then_some(key);
    }

    /// Whether threads may share what is lowered.
    fn is_shared(&self) -> bool {
        self.options.threads != Some(1)
    }

    fn node_alone(&mut self, id: NodeId) -> Result<(), GraphError> {
        let graph = self.graph;
        let node = graph.node(id);
        match &node.op {
            Op::Parameter(_) | Op::Constant(_) => Ok(()),
            Op::Fused(fused) => self.fused(id, &fused.body),
            Op::Dot(dot) if node.types[0].dtype.is_int() => self.whole_dot(id, dot),
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

    /// A fused region: one kernel.
    fn fused(&mut self, id: NodeId, body: &Graph) -> Result<(), GraphError> {
        let operands = self.graph.node(id).operands.clone();
        let split = self.depth == 0 && regions::split::is_split(body);
        if split || products::epilogue::is_product(body) {
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
            return self.inside(body, locations, self.depth, |inner| match split {
                true => inner.split_region(&name, &outputs, outputs[0].0.node),
                false => inner.product_region(&name, &outputs),
            });
        }
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

    /// Computes values of the graph into memory by one kernel, from what lies in memory already.
    fn compute(&mut self, outputs: &[(Value, Location)], origin: NodeId) -> Result<(), GraphError> {
        let values: Vec<Value> = outputs.iter().map(|output| output.0).collect();
        let (kernel, mut args) = self.kernel_of(&values)?;
        args.extend(outputs.iter().map(|output| output.1));
        self.call(kernel, args, origin);
        Ok(())
    }

    /// A kernel that computes values of the graph from what lies in memory, and where that is. Its parameters are these,
    /// then the values.
    fn kernel_of(&mut self, outputs: &[Value]) -> Result<(Kernel, Vec<Location>), GraphError> {
        let graph = self.graph;
        let name = graph.node(outputs[0].node).op.get().name();
        let mut composer = Composer::new(graph, name);
        let mut sources = Vec::new();
        for value in self.frontier(outputs.iter().copied()) {
            let location = self.location(value)?;
            let ty = graph.ty(value);
            let param = composer.k.param(ty.dtype, ty.elements(), Access::Read);
            composer.memory.insert(value, param);
            sources.push(location);
        }
        let mut stores = Vec::new();
        for &value in outputs {
            let ty = graph.ty(value);
            stores.push((value, composer.k.param(ty.dtype, ty.elements(), Access::Write)));
        }
        composer.region(&stores);
        Ok((composer.k.finish_kernel(), sources))
    }

    /// The values in memory that computing `roots` reads, in the order of the walk.
    fn frontier(&self, roots: impl IntoIterator<Item = Value>) -> Vec<Value> {
        let (mut found, mut seen) = (Vec::new(), HashSet::new());
        let mut stack: Vec<(Value, bool)> = roots.into_iter().map(|value| (value, true)).collect();
        while let Some((value, root)) = stack.pop() {
            if !seen.insert(value) {
                continue;
            }
            let tensor = matches!(self.graph.node(value.node).op, Op::Constant(_))
                && definition(self.graph, value) == Definition::Loops;
            if tensor
                || (self.locations.contains_key(&value) && !root)
                || self.graph.parameter(value.node).is_some()
            {
                found.push(value);
                continue;
            }
            stack.extend(self.graph.node(value.node).operands.iter().rev().map(|&v| (v, false)));
        }
        found
    }

    /// Appends a call, sharing the kernel with an equal one.
    fn call(&mut self, kernel: Kernel, args: Vec<Location>, origin: NodeId) {
        if kernel.body.is_empty() {
            return;
        }
        let id = self.kernels.number(&mut self.program.kernels, kernel);
        let args = args.into_iter().map(Arg::from).collect();
        let origin = self.label.clone().unwrap_or_else(|| self.graph.node(origin).origin.path.to_string());
        self.program.schedule.push(Step::Call(Call { kernel: id, args, origin }));
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
