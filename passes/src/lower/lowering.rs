//! The state of lowering: the program so far, and where the graph's values lie in it. Each room adds to it, as methods, how its
//! operators are lowered.

use brolga_ir::definition::{Definition, Element};
use brolga_ir::program::{Arg, Call, Kernel, Program, Step};
use brolga_ir::{Graph, GraphError, NodeId, Op, Value};
use rustc_hash::FxHashMap;

use super::location::{Copies, Location};
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
    /// What kernels have made of one place by itself ([`Lowering::once`]), by that place.
    pub copies: Copies,
    /// Schedule loops around what is being lowered.
    pub depth: usize,
    /// What is chosen for products; and what the calls of the one that is being lowered have for their origin, if that is its
    /// key.
    pub options: &'g Options,
    pub label: Option<String>,
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

    /// Lowers (part of) a region into this program; `locations` says where its parameters lie. Copies that were made before
    /// are used inside too.
    pub fn inside<R>(
        &mut self,
        region: &Graph,
        locations: FxHashMap<Value, Location>,
        depth: usize,
        lower: impl FnOnce(&mut Lowering) -> Result<R, GraphError>,
    ) -> Result<R, GraphError> {
        let mut inner = Lowering {
            graph: region,
            program: std::mem::take(&mut self.program),
            locations,
            kernels: std::mem::take(&mut self.kernels),
            targets: FxHashMap::default(),
            copies: std::mem::take(&mut self.copies),
            depth,
            options: self.options,
            label: None,
        };
        let done = lower(&mut inner);
        self.program = inner.program;
        self.kernels = inner.kernels;
        self.copies = inner.copies;
        done
    }
}
