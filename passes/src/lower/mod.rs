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

mod blocks;
mod borders;
mod boxes;
mod channels_first;
mod compose;
mod contraction;
mod control;
mod conv;
mod conv_weights;
mod correlate;
mod cuts;
mod depthwise;
mod dot;
mod epilogue;
mod expand;
mod flatten;
mod image;
mod kernel;
mod loops;
mod packing;
mod region;
mod running;
mod sort;
mod space;
mod split;
mod strassen;
mod sums;
mod taps;
mod whole_dot;
mod windows;
mod winners;
mod winograd;

use std::collections::{HashMap, HashSet};

use brolga_ir::definition::{Definition, Element};
use brolga_ir::index::{Atom, Index};
use brolga_ir::ops::Role;
use brolga_ir::program::{Access, Arg, Buffer, BufferId, Call, Kernel, KernelId, Place, Program, Step};
use brolga_ir::{DType, Graph, GraphError, NodeId, Op, Type, Value};
use rustc_hash::FxHashMap;

use crate::manager::Options;
use crate::schedule::{Algorithm, Schedule, key};
use compose::Composer;
pub(crate) use epilogue::takes_epilogue;
pub(crate) use expand::expansion_pays;
pub(crate) use kernel::prune;
pub(crate) use region::definition;
pub use sums::{BLOCK, LANES};

/// Where a value lies: row-major from an element of a buffer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Location {
    buffer: BufferId,
    offset: usize,
    /// Elements it moves by with each iteration of the schedule loops around, outermost first.
    strides: [i64; DEEPEST],
}

/// Schedule loops, at most, inside each other.
const DEEPEST: usize = 4;

impl From<BufferId> for Location {
    /// The start of a buffer.
    fn from(buffer: BufferId) -> Location {
        Location { buffer, offset: 0, strides: [0; DEEPEST] }
    }
}

impl From<Location> for Arg {
    fn from(Location { buffer, offset, strides }: Location) -> Arg {
        let moving = strides.iter().rposition(|&stride| stride != 0).map_or(0, |last| last + 1);
        Arg { buffer, offset, strides: strides[..moving].to_vec() }
    }
}

/// The program being made, and where the graph's values lie.
struct Lowering<'g> {
    graph: &'g Graph,
    program: Program,
    locations: FxHashMap<Value, Location>,
    /// Kernels by a cheap digest of their shape, to find equal ones.
    kernels: FxHashMap<(usize, usize, String), Vec<KernelId>>,
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

/// Kernels, and where they have put what they made.
type Copies = FxHashMap<Location, Vec<(Kernel, Location)>>;

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
        kernels: FxHashMap::default(),
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

impl<'g> Lowering<'g> {
    fn buffer(&mut self, name: &str, ty: Type, place: Place) -> BufferId {
        self.program.buffers.push(Buffer { name: name.to_owned(), ty, place });
        BufferId(self.program.buffers.len() as u32 - 1)
    }

    /// Scratch memory for a tensor.
    fn arena(&mut self, name: &str, ty: Type) -> Location {
        Location::from(self.buffer(name, ty, Place::Arena(None)))
    }

    fn parameters(&mut self, ranges: &HashMap<String, (i64, i64)>) {
        let updated: HashSet<&str> =
            self.graph.outputs().iter().filter(|o| o.role == Role::State).map(|o| o.name.as_str()).collect();
        for &id in self.graph.parameters() {
            let parameter = self.graph.parameter(id).expect("a parameter").clone();
            let place = match parameter.role {
                Role::Data => Place::Input { range: ranges.get(&parameter.name).copied() },
                Role::State => Place::State { updated: updated.contains(&parameter.name.as_str()) },
            };
            let buffer = self.buffer(&parameter.name, parameter.ty, place);
            self.locations.insert(self.graph.result(id), Location::from(buffer));
        }
    }

    /// Gives every output a buffer. A computed value goes straight into the first output that names it; every
    /// other one, and every state update, is copied at the end: until then the old state can be read. The pass
    /// `forward` takes out the copies that are not needed.
    fn outputs(&mut self) -> Vec<(Value, BufferId)> {
        let mut copies = Vec::new();
        let state: HashMap<&str, BufferId> = (self.graph.parameters().iter())
            .filter_map(|&id| self.graph.parameter(id).filter(|p| p.role == Role::State).zip(Some(id)))
            .map(|(p, id)| (p.name.as_str(), self.locations[&self.graph.result(id)].buffer))
            .collect();
        for output in self.graph.outputs() {
            match output.role {
                Role::Data => {
                    let ty = self.graph.ty(output.value).clone();
                    let buffer = self.buffer(&output.name, ty, Place::Output);
                    copies.extend(self.aim(output.value, buffer));
                }
                Role::State => {
                    let state = *state.get(output.name.as_str()).expect("a verified update names a state");
                    if self.locations.get(&output.value) != Some(&Location::from(state)) {
                        copies.push((output.value, state));
                    }
                }
            }
        }
        copies.sort_by_key(|&(_, buffer)| buffer);
        copies
    }

    /// Has a value computed straight into a buffer; or gives both back, to be copied at the end, if no node computes
    /// it (parameters, index maps) or it goes into another buffer already.
    fn aim(&mut self, value: Value, buffer: BufferId) -> Option<(Value, BufferId)> {
        let parameter = self.graph.parameter(value.node).is_some();
        if parameter || self.is_view(value) || self.targets.contains_key(&value) {
            return Some((value, buffer));
        }
        self.targets.insert(value, buffer.into());
        None
    }

    /// Copies outputs first, then state, so that whatever reads old state reads it before it changes.
    fn copies(&mut self, copies: Vec<(Value, BufferId)>) -> Result<(), GraphError> {
        let is_state = |program: &Program, id: BufferId| {
            matches!(program.buffers[id.0 as usize].place, Place::State { .. })
        };
        let (state, outputs): (Vec<_>, Vec<_>) =
            copies.into_iter().partition(|&(_, buffer)| is_state(&self.program, buffer));
        for (value, buffer) in outputs {
            self.copy(value, Location::from(buffer))?;
        }
        let state: Vec<(Value, Location)> = state.into_iter().map(|(v, buffer)| (v, buffer.into())).collect();
        let old: HashSet<Location> = (0..self.program.buffers.len() as u32)
            .map(BufferId)
            .filter(|&buffer| is_state(&self.program, buffer))
            .map(Location::from)
            .collect();
        self.replace_old(state, &old)
    }

    /// Copies values to places in `old`. What still has to be read from there is set aside first.
    fn replace_old(
        &mut self,
        copies: Vec<(Value, Location)>,
        old: &HashSet<Location>,
    ) -> Result<(), GraphError> {
        let mut sources = Vec::new();
        for &(value, to) in &copies {
            let at = self.locations.get(&value).copied();
            sources.push(if at == Some(to) {
                to
            } else if at.is_some_and(|at| old.contains(&at)) || self.is_view(value) {
                let name = self.name_of(value);
                let aside = self.arena(&name, self.graph.ty(value).clone());
                self.copy(value, aside)?;
                aside
            } else {
                self.location(value)?
            });
        }
        for (from, (value, to)) in sources.into_iter().zip(copies) {
            if from != to {
                self.copy_memory(from, to, value);
            }
        }
        Ok(())
    }

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

    /// A name for a value's buffer.
    fn name_of(&self, value: Value) -> String {
        let node = self.graph.node(value.node);
        let op = node.op.get().name();
        if node.origin.path.is_empty() { op.to_owned() } else { format!("{}:{op}", node.origin.path) }
    }

    /// The memory that a value is computed into.
    fn target(&mut self, value: Value) -> Location {
        let location = match self.targets.get(&value) {
            Some(&location) => location,
            None => {
                let name = self.name_of(value);
                self.arena(&name, self.graph.ty(value).clone())
            }
        };
        self.locations.insert(value, location);
        location
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
        let split = self.depth == 0 && split::is_split(body);
        if split || epilogue::is_product(body) {
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

    /// Where a value lies; what only maps indices is copied to memory, unless a reshape keeps its place.
    fn location(&mut self, value: Value) -> Result<Location, GraphError> {
        if let Some(&location) = self.locations.get(&value) {
            return Ok(location);
        }
        let graph = self.graph;
        let node = graph.node(value.node);
        let location = match &node.op {
            Op::Reshape(_) => self.location(node.operands[0])?,
            Op::Constant(constant) => {
                let name = self.name_of(value);
                let buffer = self.buffer(&name, constant.value.ty(), Place::Constant(constant.value.clone()));
                Location::from(buffer)
            }
            _ => {
                let (name, ty) = (self.name_of(value), graph.ty(value).clone());
                let (kernel, sources) = self.kernel_of(&[value])?;
                if let &[from] = sources.as_slice() {
                    self.once(&name, kernel, from, ty, value.node)
                } else {
                    let location = self.arena(&name, ty);
                    self.call(kernel, sources.into_iter().chain([location]).collect(), value.node);
                    location
                }
            }
        };
        self.locations.insert(value, location);
        Ok(location)
    }

    /// Copies a value to a place.
    fn copy(&mut self, value: Value, to: Location) -> Result<(), GraphError> {
        if !self.locations.contains_key(&value) && self.is_view(value) {
            return self.compute(&[(value, to)], value.node);
        }
        let from = self.location(value)?;
        self.copy_memory(from, to, value);
        Ok(())
    }

    /// Copies what lies at one place, of the type of `value`, to another.
    fn copy_memory(&mut self, from: Location, to: Location, value: Value) {
        let ty = self.graph.ty(value).clone();
        let mut k = kernel::KernelBuilder::new("copy");
        let source = k.param(ty.dtype, ty.elements(), Access::Read);
        let target = k.param(ty.dtype, ty.elements(), Access::Write);
        let var = k.open_for(ty.elements());
        let element = k.load(source, &Index::var(var), None);
        k.store(target, Index::var(var), element);
        k.close();
        self.call(k.finish_kernel(), vec![from, to], value.node);
    }

    /// What a kernel makes of one value, computed once however often it is asked for (a layer that is applied again packs
    /// its weights once); and once for every state if the value is fixed: state that the entry does not update.
    fn once(&mut self, name: &str, kernel: Kernel, from: Location, ty: Type, origin: NodeId) -> Location {
        let made = self.copies.get(&from);
        if let Some(&(_, to)) = made.and_then(|made| made.iter().find(|(known, _)| *known == kernel)) {
            return to;
        }
        let to = self.make_once(name, kernel.clone(), from, ty, origin);
        self.copies.entry(from).or_default().push((kernel, to));
        to
    }

    fn make_once(
        &mut self,
        name: &str,
        kernel: Kernel,
        from: Location,
        ty: Type,
        origin: NodeId,
    ) -> Location {
        if !self.is_fixed(from) {
            let to = self.arena(name, ty);
            self.call(kernel, vec![from, to], origin);
            return to;
        }
        let to = Location::from(self.buffer(name, ty, Place::Prepared(None)));
        let schedule = std::mem::take(&mut self.program.schedule);
        self.call(kernel, vec![from, to], origin);
        let packing = std::mem::replace(&mut self.program.schedule, schedule);
        self.program.prepare.extend(packing);
        to
    }

    /// Whether what lies at a place is state that the entry does not update.
    fn is_fixed(&self, location: Location) -> bool {
        let place = &self.program.buffers[location.buffer.0 as usize].place;
        self.depth == 0 && matches!(place, Place::State { updated: false } | Place::Prepared(_))
    }

    /// Appends a call, sharing the kernel with an equal one.
    fn call(&mut self, kernel: Kernel, args: Vec<Location>, origin: NodeId) {
        if kernel.body.is_empty() {
            return;
        }
        let digest = (kernel.params.len(), kernel.body.len(), kernel.name.clone());
        let candidates = self.kernels.entry(digest).or_default();
        let equal = candidates.iter().copied().find(|id| self.program.kernels[id.0 as usize] == kernel);
        let id = equal.unwrap_or_else(|| {
            let id = KernelId(self.program.kernels.len() as u32);
            self.program.kernels.push(kernel);
            candidates.push(id);
            id
        });
        let args = args.into_iter().map(Arg::from).collect();
        let origin = self.label.clone().unwrap_or_else(|| self.graph.node(origin).origin.path.to_string());
        self.program.schedule.push(Step::Call(Call { kernel: id, args, origin }));
    }

    /// How a value can be read where it lies: its place, the stride of each axis, and the offset, if index maps
    /// lead from it to memory by strides alone. Otherwise it is copied first.
    fn access(&mut self, value: Value) -> Result<StridedAccess, GraphError> {
        let graph = self.graph;
        let dims = graph.ty(value).dims.clone();
        let range = |atom: &Atom| match atom {
            Atom::Var(axis) => Some((0, dims[*axis as usize].max(1) as i64 - 1)),
            _ => None,
        };
        let mut index: Vec<Index> = (0..dims.len() as u32).map(Index::var).collect();
        let mut at = value;
        while !self.locations.contains_key(&at) {
            let Definition::Element(Element::Operand(operand, map)) = definition(graph, at) else { break };
            let replace = |atom: &Atom| match atom {
                Atom::Var(axis) => Some(index[*axis as usize].clone()),
                _ => None,
            };
            index = map.iter().map(|i| i.substitute(&replace, &range)).collect();
            at = graph.node(at.node).operands[operand];
        }
        if self.locations.contains_key(&at) {
            let strides = graph.ty(at).strides();
            let flat =
                index.iter().zip(strides).fold(Index::default(), |sum, (i, s)| sum.add(&i.scale(s as i64)));
            let linear = flat.terms().iter().all(|(atom, _)| matches!(atom, Atom::Var(_)));
            if linear && flat.offset() >= 0 {
                let strides = (0..dims.len() as u32).map(|axis| flat.coefficient(axis)).collect();
                return Ok(StridedAccess {
                    location: self.locations[&at],
                    dtype: graph.ty(at).dtype,
                    len: graph.ty(at).elements(),
                    offset: flat.offset(),
                    strides,
                });
            }
        }
        self.row_major(value)
    }

    /// A value as it lies in memory, copied there if need be.
    fn row_major(&mut self, value: Value) -> Result<StridedAccess, GraphError> {
        let location = self.location(value)?;
        let ty = self.graph.ty(value);
        let strides = ty.strides().into_iter().map(|s| s as i64).collect();
        Ok(StridedAccess { location, dtype: ty.dtype, len: ty.elements(), offset: 0, strides })
    }

    /// How a value can be read, without gaps along its last axis: copied if `access` has some.
    fn contiguous(&mut self, access: StridedAccess, value: Value) -> Result<StridedAccess, GraphError> {
        if access.strides.last() == Some(&1) { Ok(access) } else { self.row_major(value) }
    }

    /// The same for the weights of a product. Those that are stored narrower and widened again are read as they were
    /// before: packing narrows them.
    fn access_weights(&mut self, value: Value) -> Result<StridedAccess, GraphError> {
        let graph = self.graph;
        let before = |value: Value| {
            crate::fuse::is_storage(graph, value.node).then(|| graph.node(value.node).operands[0])
        };
        let Some(stored) = before(value).filter(|_| !self.locations.contains_key(&value)) else {
            return self.access(value);
        };
        match before(stored).filter(|&wide| graph.ty(wide).dtype == graph.ty(value).dtype) {
            Some(wide) => Ok(StridedAccess { dtype: graph.ty(stored).dtype, ..self.access(wide)? }),
            None => self.access(value),
        }
    }
}

/// A tensor read by strides.
#[derive(Clone, Debug)]
struct StridedAccess {
    location: Location,
    /// What elements are to be stored as: narrower than in memory where weights are kept so.
    dtype: DType,
    /// Elements from the location on that belong to the tensor in memory.
    len: usize,
    /// Position of the first element.
    offset: i64,
    /// Elements between neighbours along each axis.
    strides: Vec<i64>,
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
