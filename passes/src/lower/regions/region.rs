//! A fused region as one kernel.
//!
//! Without reductions every output is an element of one iteration space: one loop nest (one for each piece, if
//! the output is a concatenation or a padding). With reductions, all over the same axes of the same space: loops
//! over the axes that stay; inside them the reductions, in as many loops as they depend on each other; last the
//! outputs, in loops of their own if they need the last reductions. Softmax, normalisation, and their gradients are such
//! regions.

use brolga_ir::definition::Definition;
use brolga_ir::index::Index;
use brolga_ir::{NodeId, Value};
use rustc_hash::{FxHashMap, FxHashSet};

use super::compose::{Along, Composer, Reduction};
use super::space::Space;
use crate::facts::definition::{definition, reduction};

impl Composer<'_> {
    /// Emits the outputs of a region: each value with the kernel parameter that it is stored to.
    pub fn region(&mut self, outputs: &[(Value, usize)]) {
        let order = self.inside(outputs.iter().map(|&(value, _)| value));
        let reductions: Vec<NodeId> =
            order.into_iter().filter(|&id| reduction(self.graph, id).is_some()).collect();
        match reductions.first() {
            None => self.elementwise(outputs),
            Some(&first) => {
                let (dims, axes) = reduction(self.graph, first).expect("filtered above");
                self.rows(outputs, &reductions, &dims, &axes);
            }
        }
    }

    fn elementwise(&mut self, outputs: &[(Value, usize)]) {
        let dims = self.graph.ty(outputs[0].0).dims.clone();
        if let [(value, param)] = outputs
            && let Definition::Pieces(pieces) = definition(self.graph, *value)
            && !self.memory.contains_key(value)
        {
            for piece in pieces {
                self.loops(&piece.extents.clone(), &mut |c, at| {
                    let shift = |(index, start): (&Index, &usize)| index.plus(*start as i64);
                    let at: Vec<Index> = at.iter().zip(&piece.start).map(shift).collect();
                    let result = c.expression(*value, &piece.value, &at, None);
                    let position = c.flat(c.graph.ty(*value), &at);
                    c.k.store(*param, position, result);
                });
            }
            return;
        }
        self.nest(&dims, &|c, points| c.store_elements(outputs, points));
    }

    fn rows(&mut self, outputs: &[(Value, usize)], reductions: &[NodeId], dims: &[usize], axes: &[usize]) {
        let space = Space::new(dims, axes);
        let kept_dims = space.kept_dims();
        let levels = self.levels(reductions);
        let last = levels.values().copied().max().unwrap_or(0);
        let (small, large): (Vec<_>, Vec<_>) =
            outputs.iter().copied().partition(|&(value, _)| self.graph.ty(value).dims == kept_dims);
        // What needs no reduction of the last level is stored in its loops, which may have computed it.
        let needed = self.inside(large.iter().map(|&(value, _)| value));
        let along = needed.iter().all(|id| levels.get(id) != Some(&last));
        let (first, opened) = space.open(&mut self.k);
        for level in 0..=last {
            let here = reductions.iter().filter(|id| levels[id] == level);
            let phase: Vec<Reduction> =
                here.map(|&id| Reduction::of(self.graph, self.graph.result(id))).collect();
            if along && level == last && !large.is_empty() {
                let axes = [&space.kept[..], axes].concat();
                self.along = Some(Along { outputs: large.clone(), axes });
            }
            self.reduce(&phase, &space, &first);
            self.along = None;
        }
        self.store_small(&small, &space, &first);
        if !along {
            self.store_large(&large, &space, &first);
        }
        (0..opened).for_each(|_| self.k.close());
    }

    /// Stores outputs of one element for each result.
    pub fn store_small(&mut self, outputs: &[(Value, usize)], space: &Space, first: &[Index]) {
        if outputs.is_empty() {
            return;
        }
        let row = space.open_columns(&mut self.k, first);
        for &(value, param) in outputs {
            let result = self.element(value, &row, None);
            let position = self.flat(self.graph.ty(value), &row);
            self.k.store(param, position, result);
        }
        space.widths().iter().for_each(|_| self.k.close());
    }

    /// Stores outputs over the whole space.
    fn store_large(&mut self, outputs: &[(Value, usize)], space: &Space, first: &[Index]) {
        if outputs.is_empty() {
            return;
        }
        self.loops(&space.extents(), &mut |c, inner| {
            let row = space.open_columns(&mut c.k, first);
            let mut at = vec![Index::default(); space.dims.len()];
            space.kept.iter().zip(row).for_each(|(&axis, index)| at[axis] = index);
            space.axes.iter().zip(inner).for_each(|(&axis, index)| at[axis] = index.clone());
            c.store_elements(outputs, &[at]);
            space.widths().iter().for_each(|_| c.k.close());
        });
    }

    /// The nodes between memory and `roots`, operands before users.
    fn inside(&self, roots: impl IntoIterator<Item = Value>) -> Vec<NodeId> {
        let (mut order, mut seen) = (Vec::new(), FxHashSet::default());
        let mut stack: Vec<(NodeId, bool)> = roots.into_iter().map(|value| (value.node, false)).collect();
        stack.reverse();
        while let Some((id, done)) = stack.pop() {
            if done {
                order.push(id);
            } else if seen.insert(id) {
                stack.push((id, true));
                let operands = self.graph.node(id).operands.iter().rev();
                stack.extend(operands.filter(|v| !self.memory.contains_key(v)).map(|v| (v.node, false)));
            }
        }
        order
    }

    /// For each reduction, how many others in a row it depends on.
    pub fn levels(&self, reductions: &[NodeId]) -> FxHashMap<NodeId, usize> {
        let mut depth: FxHashMap<NodeId, usize> = FxHashMap::default();
        let mut levels = FxHashMap::default();
        for id in self.inside(reductions.iter().map(|&id| self.graph.result(id))) {
            let node = self.graph.node(id);
            let memory = |value: &Value| self.memory.contains_key(value);
            let below = node
                .operands
                .iter()
                .filter(|v| !memory(v))
                .map(|v| depth.get(&v.node).copied().unwrap_or(0))
                .max();
            let below = below.unwrap_or(0);
            let is_reduction = reductions.contains(&id);
            if is_reduction {
                levels.insert(id, below);
            }
            depth.insert(id, below + usize::from(is_reduction));
        }
        levels
    }
}
