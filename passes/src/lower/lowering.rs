//! The state of lowering: the program so far, and where the graph's values lie in it. Each room adds to it, as methods, how its
//! operators are lowered.

use brolga_ir::definition::{Definition, Element};
use brolga_ir::program::{Arg, Call, Kernel, Place, Program, Step};
use brolga_ir::{Graph, GraphError, NodeId, Op, Value};
use rustc_hash::FxHashMap;

use super::location::{Copies, DEEPEST, Location};
use crate::facts::definition::definition;
use crate::facts::products::key;
use crate::options::Options;
use crate::rewrite::kernels::Kernels;
use crate::tuning::{ProductKind, Tuning};

/// The program being made, and where the graph's values lie.
pub(super) struct Lowering<'g> {
    pub graph: &'g Graph,
    pub program: Program,
    pub locations: FxHashMap<Value, Location>,
    /// To find equal ones.
    pub kernels: Kernels,
    /// Places that outputs are to be computed into.
    pub targets: FxHashMap<Value, Location>,
    /// What [`Lowering::once`] has made.
    pub copies: Copies,
    /// Schedule loops around what is being lowered, outermost first; and how many blocks there are, of loops and branches.
    pub loops: Vec<LoopAround>,
    pub block: usize,
    /// What is chosen for products; and what the calls of the one that is being lowered have for their origin, if that is its
    /// key.
    pub options: &'g Options,
    pub label: Option<String>,
}

/// A loop of the schedule that is being lowered.
pub(super) struct LoopAround {
    /// Iterations, at most.
    pub extent: usize,
    /// What is the same in all of them: what it captures, and what is made of that before it.
    pub same: Vec<Location>,
    /// Steps to come before it, and the blocks around these.
    pub before: Vec<Step>,
    pub block: usize,
}

impl Lowering<'_> {
    /// Whether a value only maps indices or repeats a constant: nothing is computed for it.
    pub fn is_view(&self, value: Value) -> bool {
        if self.graph.parameter(value.node).is_some() {
            return false;
        }
        matches!(
            definition(self.graph, value),
            Definition::Element(Element::Operand(..) | Element::Constant(_) | Element::Index(..))
        ) || matches!(self.graph.node(value.node).op, Op::Constant(_))
    }

    /// What is chosen for `id`, a product. From here to the end of the node, calls bear its key if they are to be told apart.
    pub fn chosen(&mut self, kind: ProductKind, id: NodeId) -> Tuning {
        if self.options.tunings.is_empty() {
            return Tuning::default();
        }
        let key = key(kind, self.graph, id);
        let tuning = self.options.tunings.get(&key);
        self.label = self.options.tunings.labels().then_some(key);
        tuning
    }

    /// Whether threads may share what is lowered.
    pub fn is_shared(&self) -> bool {
        self.options.threads != Some(1)
    }

    /// How many of the loops around give what lies at a place another value in each iteration: those inside of them do not.
    pub fn varies_in(&self, location: Location) -> usize {
        if self.is_fixed(location) {
            return 0;
        }
        self.loops.iter().rposition(|around| !around.same.contains(&location)).map_or(0, |last| last + 1)
    }

    /// Whether what lies at a place is state that the entry does not update, a constant, or made of such alone.
    pub fn is_fixed(&self, location: Location) -> bool {
        let place = &self.program.buffers[location.buffer.0 as usize].place;
        let moves = location.strides != [0; DEEPEST];
        !moves && matches!(place, Place::State { updated: false } | Place::Constant(_) | Place::Prepared(_))
    }

    /// How often what is made of a place is used: in every iteration of the loops that it is made before; in any number of calls
    /// if it is fixed.
    pub fn uses(&self, location: Location) -> usize {
        if self.is_fixed(location) {
            return usize::MAX;
        }
        let loops = &self.loops[self.varies_in(location)..];
        loops.iter().map(|around| around.extent).fold(1, usize::saturating_mul)
    }

    /// Appends a call, sharing the kernel with an equal one.
    pub fn call(&mut self, kernel: Kernel, args: Vec<Location>, origin: NodeId) {
        if kernel.body.is_empty() {
            return;
        }
        let id = self.kernels.number(&mut self.program.kernels, kernel);
        let args = args.into_iter().map(Arg::from).collect();
        let origin = self.label.clone().unwrap_or_else(|| self.graph.node(origin).origin.path.to_string());
        self.program.schedule.push(Step::Call(Call { kernel: id, args, parallel: false, origin }));
    }

    /// A loop of the schedule around what `lower` adds to it; before it comes what is made of `same` alone, places whose values
    /// are the same in all iterations.
    pub fn looped<R>(&mut self, extent: usize, same: Vec<Location>, lower: impl FnOnce(&mut Self) -> R) -> R {
        self.loops.push(LoopAround { extent, same, before: Vec::new(), block: self.block });
        let (body, done) = self.steps(lower);
        let before = self.loops.pop().into_iter().flat_map(|around| around.before);
        self.program.schedule.extend(before);
        self.program.schedule.push(Step::Loop { extent, body });
        done
    }

    /// What `lower` adds to the schedule, taken out of it: the body of a loop, or a branch. Copies that are made in there may be
    /// of another iteration, or not be made, behind it.
    pub fn steps<R>(&mut self, lower: impl FnOnce(&mut Self) -> R) -> (Vec<Step>, R) {
        let before = std::mem::take(&mut self.program.schedule);
        let outside = self.block;
        self.block += 1;
        let done = lower(self);
        self.block = outside;
        self.copies.values_mut().for_each(|made| made.retain(|made| made.block <= outside));
        (std::mem::replace(&mut self.program.schedule, before), done)
    }

    /// Lowers (part of) a region into this program; `locations` says where its parameters lie. Copies that were made before
    /// are used inside too.
    pub fn inside<R>(
        &mut self,
        region: &Graph,
        locations: FxHashMap<Value, Location>,
        lower: impl FnOnce(&mut Lowering) -> Result<R, GraphError>,
    ) -> Result<R, GraphError> {
        let mut inner = Lowering {
            graph: region,
            program: std::mem::take(&mut self.program),
            locations,
            kernels: std::mem::take(&mut self.kernels),
            targets: FxHashMap::default(),
            copies: std::mem::take(&mut self.copies),
            loops: std::mem::take(&mut self.loops),
            block: self.block,
            options: self.options,
            label: None,
        };
        let done = lower(&mut inner);
        self.program = inner.program;
        self.kernels = inner.kernels;
        self.copies = inner.copies;
        self.loops = inner.loops;
        done
    }
}
