//! The buffers of a program, and the copies between them.

use std::collections::{HashMap, HashSet};

use brolga_ir::index::Index;
use brolga_ir::ops::Role;
use brolga_ir::program::{Access, Buffer, BufferId, Kernel, Place};
use brolga_ir::{DType, NodeId, Type, Value};

use super::kernel::KernelBuilder;
use super::location::{Location, Made};
use super::lowering::Lowering;

impl Lowering<'_> {
    pub(super) fn buffer(&mut self, name: &str, ty: Type, place: Place) -> BufferId {
        self.program.buffers.push(Buffer::new(name, ty, place));
        BufferId(self.program.buffers.len() as u32 - 1)
    }

    /// Scratch memory for a tensor.
    pub(super) fn arena(&mut self, name: &str, ty: Type) -> Location {
        Location::from(self.buffer(name, ty, Place::Arena(None)))
    }

    pub(super) fn parameters(&mut self, ranges: &HashMap<String, (i64, i64)>) {
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
    pub(super) fn outputs(&mut self) -> Vec<(Value, BufferId)> {
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
    pub(super) fn aim(&mut self, value: Value, buffer: BufferId) -> Option<(Value, BufferId)> {
        let parameter = self.graph.parameter(value.node).is_some();
        if parameter || self.is_view(value) || self.targets.contains_key(&value) {
            return Some((value, buffer));
        }
        self.targets.insert(value, buffer.into());
        None
    }

    /// A name for a value's buffer.
    pub(super) fn name_of(&self, value: Value) -> String {
        let node = self.graph.node(value.node);
        let op = node.op.get().name();
        if node.origin.path.is_empty() { op.to_owned() } else { format!("{}:{op}", node.origin.path) }
    }

    /// The memory that a value is computed into.
    pub(super) fn target(&mut self, value: Value) -> Location {
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

    /// Copies what lies at one place, of the type of `value`, to another.
    pub(super) fn copy_memory(&mut self, from: Location, to: Location, value: Value) {
        let ty = self.graph.ty(value).clone();
        let mut k = KernelBuilder::new("copy");
        let source = k.param(ty.dtype, ty.elements(), Access::Read);
        let target = k.param(ty.dtype, ty.elements(), Access::Write);
        let var = k.open_for(ty.elements());
        let element = k.load(source, &Index::var(var), None);
        k.store(target, Index::var(var), element);
        k.close();
        self.call(k.finish_kernel(), vec![from, to], value.node);
    }

    /// Zeros, from which sums start, and which stay where no step of a loop writes.
    pub(super) fn clear(&mut self, dtype: DType, elements: usize, to: Location, id: NodeId) {
        let mut k = KernelBuilder::new("clear");
        let target = k.param(dtype, elements, Access::Write);
        let at = Index::var(k.open_for(elements));
        let zero = k.zero_of(target);
        k.store(target, at, zero);
        k.close();
        self.call(k.finish_kernel(), vec![to], id);
    }

    /// What a kernel makes of one value, computed once however often it is asked for (a layer that is applied again packs
    /// its weights once): once for every state if the value is fixed, and once before the loops in which it is the same.
    pub(super) fn once(
        &mut self,
        name: &str,
        kernel: Kernel,
        from: Location,
        ty: Type,
        origin: NodeId,
    ) -> Location {
        let made = self.copies.get(&from);
        if let Some(made) = made.and_then(|made| made.iter().find(|made| made.kernel == kernel)) {
            return made.to;
        }
        let (fixed, outside) = (self.is_fixed(from), self.varies_in(from));
        let place = if fixed { Place::Prepared(None) } else { Place::Arena(None) };
        let to = Location::from(self.buffer(name, ty, place));
        let schedule = std::mem::take(&mut self.program.schedule);
        self.call(kernel.clone(), vec![from, to], origin);
        let steps = std::mem::replace(&mut self.program.schedule, schedule);
        let block = if fixed {
            self.program.prepare.extend(steps);
            0
        } else if let Some(around) = self.loops.get_mut(outside) {
            around.before.extend(steps);
            around.block
        } else {
            self.program.schedule.extend(steps);
            self.block
        };
        self.loops[outside..].iter_mut().for_each(|around| around.same.push(to));
        self.copies.entry(from).or_default().push(Made { kernel, to, block });
        to
    }
}
