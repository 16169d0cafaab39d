//! The loss of an evaluation as one of the whole set: a formula of totals, where the loss of a batch is one of sums.
//!
//! Sums over a batch become totals, the size of the batch the number of all samples, and what is made of them stays. So
//! `sum(w * l) / sum(w)` becomes `total(w * l) / total(w)`, `sqrt(mean(d * d))` the root of the mean over all samples, and a
//! sum the sum over all of them.

use std::collections::{HashMap, HashSet};

use brolga_ir::DType;
use brolga_ir::graph::{Graph, NodeId, Value};
use brolga_ir::ops::{Op, Role};

use crate::graph::builder::Builder;
use crate::graph::measured::Loss;
use crate::graph::samples::{MEAN, SUM, Share};
use crate::graph::value::Tensor;

/// Why there is no loss.
const LEFT_OUT: &str = "the loss is left out of the validation: it depends on which samples are in a batch together, so there is \
                        none of the whole set; name a mean over samples as a metric";

/// The loss as it was built for another batch, of which it is known what of it are sums over samples. From it the formula of
/// the whole set is made.
struct Pattern<'b> {
    graph: &'b Graph,
    loss: &'b Loss,
    shares: &'b HashMap<Value, Share>,
    batch: usize,
}

impl Builder<'_> {
    /// Makes the loss one of the whole set, or leaves it out. `one` is the same entry for so many samples, whose values
    /// have these shares; this one is for `own`.
    pub(super) fn whole_loss(
        &mut self,
        one: &Builder,
        shares: &HashMap<Value, Share>,
        batch: usize,
        own: usize,
    ) {
        let (Some(mine), Some(loss)) = (self.measured.loss.clone(), &one.measured.loss) else { return };
        if shares[&loss.value].is_mean() {
            return;
        }
        let source = self.source.clone();
        self.graph.enter("loss", &source, mine.span);
        let pattern = Pattern { graph: &one.graph.graph, loss, shares, batch };
        let before = self.measured.totals.len();
        let whole = self.loss_of_totals(&mine, &pattern, own);
        let outputs = self.graph.graph.outputs_mut();
        match whole {
            Some(whole) => outputs.iter_mut().filter(|o| o.name == "loss").for_each(|o| o.value = whole),
            None => {
                outputs.retain(|output| output.name != "loss");
                self.measured.totals.truncate(before);
                self.measured.note = Some(LEFT_OUT.into());
            }
        }
    }

    /// The loss of `pattern` with totals for its sums; nothing where it is made of anything else of a batch.
    fn loss_of_totals(&mut self, mine: &Loss, pattern: &Pattern, own: usize) -> Option<Tensor> {
        let graph = pattern.graph;
        let mut map: HashMap<Value, Value> = HashMap::new();
        let mut seen: HashSet<NodeId> = HashSet::new();
        let mut stack = vec![pattern.loss.value];
        while let Some(value) = stack.pop() {
            if map.contains_key(&value) {
                continue;
            }
            let share = *pattern.shares.get(&value)?;
            let sum = pattern.loss.sums.iter().position(|sum| *sum == value);
            if let (Some(at), Share::Linear(Some(SUM))) = (sum, share) {
                let total = self.total_of_sum(*mine.sums.get(at)?, mine)?;
                map.insert(value, total);
                continue;
            }
            if !seen.insert(value.node) {
                continue;
            }
            let node = graph.node(value.node);
            match (&node.op, share) {
                (Op::Parameter(_), _) => {
                    let state =
                        graph.parameter(value.node).filter(|parameter| parameter.role == Role::State)?;
                    map.insert(value, self.state_named(&state.name)?);
                }
                (Op::Constant(_), Share::Fixed(Some(MEAN))) => {}
                (Op::Constant(constant), Share::Fixed(Some(ratio))) => {
                    map.insert(value, self.rescaled(&constant.value, ratio, pattern.batch, own, mine)?);
                }
                (Op::Constant(_) | Op::Random(_), _) | (_, Share::Samples { .. }) => return None,
                _ => stack.extend(&node.operands),
            }
        }
        let whole = self.graph.graph.import(graph, &[pattern.loss.value], &mut map).ok()?;
        whole.first().copied()
    }

    /// The total of a sum over a batch, in its type: of its parts, if it has any, so that the batch changes no bit.
    fn total_of_sum(&mut self, sum: Tensor, mine: &Loss) -> Option<Tensor> {
        let parts = match self.parts_of(sum) {
            Some(parts) => parts,
            None => {
                let mut ops = self.ops();
                let dims = [&[1], &ops.dims(sum)[..]].concat();
                ops.convert(sum, DType::F64).and_then(|sum| ops.reshape(sum, &dims)).ok()?
            }
        };
        let total = self.total_of(parts, mine.span).ok()?;
        let dtype = self.ops().dtype(sum);
        self.ops().convert(total, dtype).ok()
    }

    fn state_named(&self, name: &str) -> Option<Tensor> {
        let graph = &self.graph.graph;
        let of_name = |id: &&NodeId| {
            graph
                .parameter(**id)
                .is_some_and(|parameter| parameter.role == Role::State && parameter.name == name)
        };
        graph.parameters().iter().find(of_name).map(|id| graph.result(*id))
    }

    /// A constant that grows or shrinks with the size of the batch, for the whole set: of the 32 by which a mean over a batch
    /// of 32 is divided, the number of all samples.
    fn rescaled(
        &mut self,
        constant: &brolga_ir::Tensor,
        ratio: f64,
        batch: usize,
        own: usize,
        mine: &Loss,
    ) -> Option<Tensor> {
        if constant.elements() != 1 || ratio != SUM && ratio != 1.0 / SUM {
            return None;
        }
        let number = constant.get(0).to_f64();
        let count = self.ops().constants(&[own as f64], DType::F64).ok()?;
        let samples = self.total_of(count, mine.span).ok()?;
        let mut ops = self.ops();
        let scaled = match ratio == SUM {
            true => ops.mul_num(samples, number / batch as f64),
            false => {
                let of_one = ops.scalar(number * batch as f64, DType::F64).ok()?;
                ops.div(of_one, samples)
            }
        };
        let ty = constant.ty();
        let shaped = scaled.and_then(|scaled| ops.convert(scaled, ty.dtype));
        shaped.and_then(|shaped| ops.reshape(shaped, &ty.dims)).ok()
    }
}
