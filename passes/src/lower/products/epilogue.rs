//! Regions around a product: what is fused behind a convolution or a matrix product.
//!
//! Such a region has one node with loops of its own, the *root*; everything else is elementwise over the root's
//! result. The product's kernel computes a block of the result into memory and then, while the block is in the
//! cache, the elementwise rest. Where the raw product is not an output, it is computed in the place of one.
//!
//! One region has two such nodes: a depthwise convolution, and the one that makes its image ([`expand`](super::expand)).

use brolga_ir::choice::Layout;
use brolga_ir::definition::Definition;
use brolga_ir::index::Index;
use brolga_ir::ops::{ConvForm, Op};
use brolga_ir::program::{Access, ValueId};
use brolga_ir::scalar::ScalarOp;
use brolga_ir::{Graph, GraphError, NodeId, Value};
use rustc_hash::FxHashSet;

use super::channels_first;
use super::dot::Dense;
use crate::facts::definition::definition;
use crate::lower::kernel::KernelBuilder;
use crate::lower::regions::compose::Composer;
use crate::lower::{Location, Lowering};

/// Position of the result among a product's parameters: behind the two operands.
pub(super) const RESULT: usize = 2;

/// What follows a product in its kernel.
#[derive(Clone, Copy)]
pub(in crate::lower) struct Epilogue<'e> {
    pub body: &'e Graph,
    pub name: &'e str,
    /// The product, and where it is computed.
    pub root: Value,
    pub target: Location,
    /// Values in memory that are read beside it.
    pub operands: &'e [(Value, Location)],
    /// What is computed, and where to.
    pub outputs: &'e [(Value, Location)],
}

/// Positions along one axis of a product: an arithmetic progression, and the axes of the result that the axis stands
/// for.
pub(in crate::lower) struct Span<'p> {
    pub first: Index,
    pub count: usize,
    pub step: i64,
    pub dims: &'p [usize],
}

/// Elements of a product's result: a span of positions along each axis, and `width` columns from `column` on.
pub(in crate::lower) struct Patch<'p> {
    pub axes: &'p [Span<'p>],
    pub column: &'p Index,
    pub width: usize,
}

impl Epilogue<'_> {
    /// Adds parameters for what is read beside the product.
    pub fn operands(&self, c: &mut Composer<'_>, params: &mut Vec<Location>) {
        for &(value, location) in self.operands {
            let ty = self.body.ty(value);
            let param = c.k.param(ty.dtype, ty.elements(), Access::Read);
            c.memory.insert(value, param);
            params.push(location);
        }
    }

    /// Adds parameters behind those of the product.
    pub fn parameters(&self, c: &mut Composer<'_>, params: &mut Vec<Location>) {
        c.memory.insert(self.root, RESULT);
        self.operands(c, params);
        for &(value, location) in self.outputs {
            if location != self.target {
                let ty = self.body.ty(value);
                c.k.param(ty.dtype, ty.elements(), Access::Write);
                params.push(location);
            }
        }
    }

    /// The last value that a chain of operations leads to, each of the one before and something that does not depend
    /// on the product: what can be done to sums in registers.
    fn chained(&self) -> Value {
        let mut last = self.root;
        // From a value to its user: graphs have no cycles.
        loop {
            let users = self.body.users(last.node);
            let &[user] = users.as_slice() else { return last };
            let node = self.body.node(user);
            let chains = |op: &ScalarOp| {
                matches!(op, ScalarOp::Add | ScalarOp::Sub | ScalarOp::Mul | ScalarOp::Max | ScalarOp::Min)
            };
            let fits = matches!(&node.op, Op::Elementwise(e) if chains(&e.op))
                && node.operands.iter().filter(|&&operand| operand == last).count() == 1;
            if !fits || self.outputs.iter().any(|&(value, _)| value == last) {
                return last;
            }
            last = self.body.result(user);
        }
    }

    /// Emits what can be done to a tile's sums in registers; each element goes to the place of the product's. The sums
    /// are there as well, or those of what parameters hold, row by row.
    pub fn emit_chain(&self, c: &mut Composer<'_>, patch: &Patch<'_>, sums: &[usize]) {
        let last = self.chained();
        if last != self.root || !sums.is_empty() {
            self.over(c, patch, |c, at, place| {
                if let Some(sum) = sum_of(&mut c.k, sums, place) {
                    c.reduced.insert(self.root, (at.to_vec(), sum));
                }
                let result = c.element(last, at, None);
                c.reduced.remove(&self.root);
                let position = c.flat(self.body.ty(last), at);
                c.k.store(RESULT, position, result);
            });
        }
    }

    /// Emits the only output in the place of a tile's sums, which `param` holds row by row.
    pub fn emit_local(&self, c: &mut Composer<'_>, patch: &Patch<'_>, (param, first): (usize, &Index)) {
        let &[(value, _)] = self.outputs else { unreachable!("one image is read") };
        if value == self.root {
            return;
        }
        self.over(c, patch, |c, at, place| {
            let place = first.add(place);
            let sum = c.k.load(param, &place, None);
            c.reduced.insert(self.root, (at.to_vec(), sum));
            let result = c.element(value, at, None);
            c.reduced.remove(&self.root);
            c.k.store(param, place, result);
        });
    }

    /// Emits the rest, behind all tiles of a box.
    pub fn emit_rest(&self, c: &mut Composer<'_>, patch: &Patch<'_>) {
        let last = self.chained();
        if self.outputs.iter().all(|&(value, location)| value == last && location == self.target) {
            return;
        }
        let before = c.memory.insert(last, RESULT);
        self.emit(c, patch, &[]);
        if before.is_none() {
            c.memory.remove(&last);
        }
    }

    /// Emits the outputs over a patch. The product is where it is computed, or the sum of what parameters hold, row by row.
    pub fn emit(&self, c: &mut Composer<'_>, patch: &Patch<'_>, sums: &[usize]) {
        self.over(c, patch, |c, at, place| {
            if let Some(sum) = sum_of(&mut c.k, sums, place) {
                c.reduced.insert(self.root, (at.to_vec(), sum));
            }
            // Everything is loaded before anything is stored.
            let results: Vec<_> = self.outputs.iter().map(|&(value, _)| c.element(value, at, None)).collect();
            c.reduced.remove(&self.root);
            self.store(c, at, results.into_iter());
        });
    }

    /// Stores the outputs of one point.
    fn store(&self, c: &mut Composer<'_>, at: &[Index], results: impl Iterator<Item = ValueId>) {
        let mut next = RESULT + 1 + self.operands.len();
        for (&(value, location), result) in self.outputs.iter().zip(results) {
            let param = if location == self.target { RESULT } else { next };
            next += usize::from(location != self.target);
            let position = c.flat(self.body.ty(value), at);
            c.k.store(param, position, result);
        }
    }

    /// Loops over a patch; the body gets the position in the result, and the place of it in the patch, row by row.
    fn over<'c>(
        &self,
        c: &mut Composer<'c>,
        &Patch { axes, column, width }: &Patch<'_>,
        body: impl FnOnce(&mut Composer<'c>, &[Index], &Index),
    ) {
        let mut at = Vec::new();
        let mut place = Index::default();
        for Span { first, count, step, dims } in axes {
            let var = Index::var(c.k.open_for(*count));
            place = place.scale(*count as i64).add(&var);
            let mut rest = first.add(&var.scale(*step));
            let start = at.len();
            for &dim in dims[1..].iter().rev() {
                let (quotient, remainder) = {
                    let range = |atom: &_| c.k.range(atom);
                    (rest.div(dim as i64, &range), rest.rem(dim as i64, &range))
                };
                at.insert(start, remainder);
                rest = quotient;
            }
            at.insert(start, rest);
        }
        let var = Index::var(c.k.open_for(width));
        at.push(column.add(&var));
        body(c, &at, &place.scale(width as i64).add(&var));
        (0..=axes.len()).for_each(|_| c.k.close());
    }
}

impl Epilogue<'_> {
    /// Computes the outputs at some points, where values of the product are known but not stored.
    pub fn finish(&self, c: &mut Composer<'_>, points: &[(Vec<Index>, ValueId)]) {
        let mut results = Vec::new();
        for (at, product) in points {
            c.reduced.insert(self.root, (at.clone(), *product));
            results.extend(self.outputs.iter().map(|&(value, _)| c.element(value, at, None)));
        }
        c.reduced.remove(&self.root);
        let mut results = results.into_iter();
        for (at, _) in points {
            self.store(c, at, results.by_ref().take(self.outputs.len()));
        }
    }
}

/// What parameters hold at one place, added in order.
pub(super) fn sum_of(k: &mut KernelBuilder, params: &[usize], place: &Index) -> Option<ValueId> {
    let mut sum = None;
    for &param in params {
        let value = k.load(param, place, None);
        sum = Some(sum.map_or(value, |sum| k.op(ScalarOp::Add, &[sum, value])));
    }
    sum
}

/// Stores sums of what parameters hold, `[rows, columns]`, to rows of the result that begin at a place and so far apart;
/// nothing if there are none.
pub(super) fn store_sums(
    k: &mut KernelBuilder,
    params: &[usize],
    (rows, columns): (usize, usize),
    (to, apart): (&Index, i64),
) {
    let row = Index::var(k.open_for(rows));
    let column = Index::var(k.open_for(columns));
    if let Some(sum) = sum_of(k, params, &row.scale(columns as i64).add(&column)) {
        k.store(RESULT, to.add(&row.scale(apart)).add(&column), sum);
    }
    (0..2).for_each(|_| k.close());
}

/// Whether a region holds a node with loops of its own.
pub(in crate::lower) fn is_product(body: &Graph) -> bool {
    body.order().into_iter().any(|id| has_loops(body, id))
}

fn has_loops(graph: &Graph, id: NodeId) -> bool {
    !matches!(graph.node(id).op, Op::Parameter(_) | Op::Constant(_))
        && graph.results(id).into_iter().any(|value| definition(graph, value) == Definition::Loops)
}

/// Whether an operator can be the root of a region: its kernel takes an epilogue.
pub(crate) fn takes_epilogue(graph: &Graph, id: NodeId) -> bool {
    let node = graph.node(id);
    match &node.op {
        Op::Conv(conv) if graph.choice(id).layout == Layout::ChannelsLast => {
            !matches!(conv.form, ConvForm::WeightGradient { .. })
        }
        Op::Conv(conv) => {
            channels_first::applies(conv, graph.ty(node.operands[0]), graph.ty(node.operands[1]))
        }
        // Some products have other kernels in the end, see `product_region`.
        Op::Dot(dot) => {
            node.types[0].dtype.is_float() && dot.batch[0].is_empty() && dot.contract[0].len() == 1
        }
        _ => false,
    }
}

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

    /// The nodes that depend on one, itself among them.
    pub(super) fn dependents(&self, root: NodeId) -> FxHashSet<NodeId> {
        let mut found = FxHashSet::from_iter([root]);
        for id in self.graph.order() {
            if self.graph.node(id).operands.iter().any(|v| found.contains(&v.node)) {
                found.insert(id);
            }
        }
        found
    }

    /// The values in memory that the outputs read beside the root, if they read that only element by element.
    pub(in crate::lower) fn rest(
        &self,
        root: NodeId,
        outputs: impl DoubleEndedIterator<Item = Value> + Clone,
    ) -> Option<Vec<Value>> {
        let graph = self.graph;
        let dims = &graph.node(root).types[0].dims;
        let depends = self.dependents(root);
        let mut read = Vec::new();
        let mut stack: Vec<Value> = outputs.clone().rev().collect();
        let mut seen = FxHashSet::default();
        while let Some(value) = stack.pop() {
            if value.node == root || !seen.insert(value) {
                continue;
            }
            let node = graph.node(value.node);
            let elementwise = matches!(node.op, Op::Elementwise(_)) && node.types[0].dims == *dims;
            let tensor = matches!(node.op, Op::Constant(_)) && definition(graph, value) == Definition::Loops;
            if (depends.contains(&value.node) && !elementwise) || has_loops(graph, value.node) {
                return None;
            }
            if tensor || graph.parameter(value.node).is_some() {
                read.push(value);
            } else {
                stack.extend(node.operands.iter().rev().copied());
            }
        }
        outputs.into_iter().all(|value| graph.ty(value).dims == *dims).then_some(read)
    }

    /// Where a product is computed: where an output of its type goes, itself if it is one.
    pub(super) fn place_of(&mut self, value: Value, outputs: &[(Value, Location)]) -> Location {
        let graph = self.graph;
        let ty = graph.ty(value);
        let raw = outputs.iter().find(|(output, _)| *output == value);
        let place = raw.or_else(|| outputs.iter().find(|(output, _)| graph.ty(*output) == ty));
        match place {
            Some(&(_, location)) => location,
            None => {
                let name = self.name_of(value);
                self.arena(&name, ty.clone())
            }
        }
    }

    /// Values with their places.
    pub(super) fn with_locations(&mut self, values: &[Value]) -> Result<Vec<(Value, Location)>, GraphError> {
        values.iter().map(|&value| Ok((value, self.location(value)?))).collect()
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
        let ty = &node.types[0];
        let types = [graph.ty(node.operands[0]), graph.ty(node.operands[1])];
        let accesses = [self.access(node.operands[0])?, self.access_weights(node.operands[1])?];
        let first = matches!(&node.op, Op::Conv(_)) && graph.choice(root).layout == Layout::ChannelsFirst;
        if first && accesses[1].dtype != ty.dtype {
            return Ok(false);
        }
        let dense = match &node.op {
            Op::Dot(dot) => {
                let dims = types.map(|ty| ty.dims.clone());
                let dense = Dense::of(dot, graph.choice(root), &dims, &accesses);
                match dense.filter(|dense| dense.dims() == ty.dims && self.packs(dense, &accesses)) {
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
            (Op::Conv(conv), _) if first => {
                let [x, w] = accesses;
                let x = self.contiguous(x, node.operands[0])?;
                self.channels_first(conv, types, [x, w], (target, ty), Some(epilogue), root);
            }
            (Op::Conv(conv), _) => self.convolve(conv, types, accesses, (target, ty), Some(epilogue), root),
            (_, Some(dense)) => self.dense(&dense, accesses, (target, ty), Some(epilogue), root),
            _ => unreachable!("only convolutions and products take epilogues"),
        }
        Ok(true)
    }
}
