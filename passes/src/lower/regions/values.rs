//! Values of the graph by one kernel, from what lies in memory.

use std::collections::HashSet;

use brolga_ir::definition::Definition;
use brolga_ir::program::{Access, Kernel};
use brolga_ir::{GraphError, NodeId, Op, Value};

use super::compose::Composer;
use crate::facts::definition::definition;
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
}
