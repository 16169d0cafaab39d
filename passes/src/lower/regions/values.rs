//! Values of the graph: where they lie, computed by one kernel from what lies in memory already, and copied.

use std::collections::HashSet;

use brolga_ir::definition::Definition;
use brolga_ir::program::{Access, BufferId, Kernel, Place, Program};
use brolga_ir::{GraphError, NodeId, Op, Value};

use super::compose::Composer;
use crate::facts::definition::definition;
use crate::lower::kernel::KernelBuilder;
use crate::lower::{Location, Lowering};

impl Lowering<'_> {
    /// Computes values of the graph into memory by one kernel, from what lies in memory already.
    pub(in crate::lower) fn compute(
        &mut self,
        outputs: &[(Value, Location)],
        origin: NodeId,
    ) -> Result<(), GraphError> {
        let values: Vec<Value> = outputs.iter().map(|output| output.0).collect();
        let (kernel, mut args) = self.kernel_of(&values)?;
        args.extend(outputs.iter().map(|output| output.1));
        self.call(kernel, args, origin);
        Ok(())
    }

    /// A kernel that computes values of the graph from what lies in memory, and where that is. Its parameters are these,
    /// then the values.
    pub(in crate::lower) fn kernel_of(
        &mut self,
        outputs: &[Value],
    ) -> Result<(Kernel, Vec<Location>), GraphError> {
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
    pub(super) fn frontier(&self, roots: impl IntoIterator<Item = Value>) -> Vec<Value> {
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
    pub(in crate::lower) fn location(&mut self, value: Value) -> Result<Location, GraphError> {
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
    pub(in crate::lower) fn copy(&mut self, value: Value, to: Location) -> Result<(), GraphError> {
        if !self.locations.contains_key(&value) && self.is_view(value) {
            return self.compute(&[(value, to)], value.node);
        }
        let from = self.location(value)?;
        self.copy_memory(from, to, value);
        Ok(())
    }

    /// The parameter of a kernel that a value is read by, and its place among the arguments.
    pub(in crate::lower) fn operand(
        &mut self,
        k: &mut KernelBuilder,
        value: Value,
        args: &mut Vec<Location>,
    ) -> Result<usize, GraphError> {
        let ty = self.graph.ty(value).clone();
        args.push(self.location(value)?);
        Ok(k.param(ty.dtype, ty.elements(), Access::Read))
    }

    /// Copies outputs first, then state, so that whatever reads old state reads it before it changes.
    pub(in crate::lower) fn copies(&mut self, copies: Vec<(Value, BufferId)>) -> Result<(), GraphError> {
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
    pub(in crate::lower) fn replace_old(
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
}
