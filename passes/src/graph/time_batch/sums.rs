//! Sums that a loop carries along, as sums over time.

use brolga_ir::choice::Choice;
use brolga_ir::ops::{Conv, ConvForm, Dot, Elementwise, Op, Reduce, Scan, Scatter, ScatterMode};
use brolga_ir::program::Combine;
use brolga_ir::scalar::ScalarOp;
use brolga_ir::{Builder, Graph, GraphError, Value};

use super::outer::{Outer, Steps};
use super::over::{behind, join};
use crate::facts::constants::splat;
use crate::facts::table::NodeTable;

/// Terms and operations of a sum, at most: those of a shared weight are as many as its uses in one iteration.
const MOST_TERMS: usize = 256;

/// A carry to which every iteration adds something, and that nothing else reads.
pub(super) struct Sum {
    /// The carry's number.
    pub carry: usize,
    /// What is added, in the body.
    pub term: Value,
    /// The values of all steps that the whole sum is made of.
    pub made_of: Vec<Value>,
    /// Whether it pays in any case: some of it are products or sums by indices.
    pub pays: bool,
}

/// The sums of a loop whose wholes can be formed at once.
pub(super) fn sums(scan: &Scan, table: &NodeTable<Steps>) -> Vec<Sum> {
    (0..scan.carries).filter_map(|carry| sum(scan, table, carry)).collect()
}

fn sum(scan: &Scan, table: &NodeTable<Steps>, carry: usize) -> Option<Sum> {
    let body = &scan.body;
    let (before, after) = (body.result(body.parameters()[carry]), body.outputs()[carry].value);
    let node = body.node(after.node);
    let is_float = body.ty(after).dtype.is_float();
    let adds = matches!(node.op, Op::Elementwise(Elementwise { op: ScalarOp::Add }));
    if !adds || !is_float || body.use_count(after) != 1 || body.use_count(before) != 1 {
        return None;
    }
    let term = match node.operands[..] {
        [carry, term] if carry == before => term,
        [term, carry] if carry == before => term,
        _ => return None,
    };
    let mut sum = Sum { carry, term, made_of: Vec::new(), pays: false };
    sum.take(body, table).then_some(sum)
}

/// How a value is summed over all steps.
enum Part<'g> {
    /// It is linear in its operands: their sums are.
    Expression,
    /// A product: time is one more contracted axis.
    Dot(&'g Dot),
    /// A gradient of weights: images of all steps are one batch.
    Conv,
    /// A sum by indices, beginning with zeros: rows of all steps are added.
    Scatter,
    /// A sum along these axes: time is one more.
    Reduce(&'g [usize]),
    /// Anything else that differs between steps: its values are stacked and added.
    Term,
    /// It is the same in all steps.
    Same,
}

/// The one place that says so: what is stacked and what is built of it go by the same.
fn part<'g>(body: &'g Graph, table: &NodeTable<Steps>, value: Value) -> Part<'g> {
    let node = body.node(value.node);
    let differs = |position: usize| *table.get(node.operands[position].node) != Steps::Same;
    match &node.op {
        Op::Elementwise(Elementwise { op: ScalarOp::Add | ScalarOp::Sub | ScalarOp::Neg })
        | Op::Transpose(_)
        | Op::Reshape(_) => Part::Expression,
        Op::Dot(dot) if body.choice(value.node) == Choice::default() && differs(0) && differs(1) => {
            Part::Dot(dot)
        }
        Op::Conv(Conv { form: ConvForm::WeightGradient { .. }, .. }) if differs(0) && differs(1) => {
            Part::Conv
        }
        Op::Scatter(Scatter { axis: 0, mode: ScatterMode::Add })
            if is_zero(body, node.operands[0]) && differs(1) && differs(2) =>
        {
            Part::Scatter
        }
        Op::Reduce(Reduce { combine: Combine::Add, axes }) if differs(0) => Part::Reduce(axes),
        _ if *table.get(value.node) != Steps::Same => Part::Term,
        _ => Part::Same,
    }
}

impl Sum {
    /// Finds what the whole sum is made of; false if it cannot be formed at once.
    fn take(&mut self, body: &Graph, table: &NodeTable<Steps>) -> bool {
        let (mut open, mut count) = (vec![self.term], 0);
        // Progress: from values to their operands.
        while let Some(value) = open.pop() {
            count += 1;
            if count > MOST_TERMS {
                return false;
            }
            let operands = &body.node(value.node).operands;
            match part(body, table, value) {
                Part::Expression => open.extend(operands.iter().copied()),
                Part::Dot(_) | Part::Conv => {
                    self.made_of.extend(operands.iter().copied());
                    self.pays = true;
                }
                Part::Scatter => {
                    self.made_of.extend(operands[1..].iter().copied());
                    self.pays = true;
                }
                Part::Reduce(_) => self.made_of.push(operands[0]),
                Part::Term => self.made_of.push(value),
                Part::Same => return false,
            }
        }
        true
    }

    /// Builds the whole: what the carry starts with, and the terms of all steps.
    pub fn whole(
        &self,
        graph: &mut Graph,
        scan: &Scan,
        outer: &mut Outer,
        start: Value,
    ) -> Result<Value, GraphError> {
        let body = &scan.body;
        let terms = total(graph, body, outer, self.term)?;
        if is_zero(graph, start) {
            return Ok(terms);
        }
        let origin = body.node(body.outputs()[self.carry].value.node).origin.clone();
        Builder::new(graph, origin).add(start, terms)
    }
}

/// Whether a value is known to be +0 everywhere.
fn is_zero(graph: &Graph, value: Value) -> bool {
    splat(graph, value).is_some_and(|element| {
        let element = element.to_f64();
        element == 0.0 && element.is_sign_positive()
    })
}

/// The sum of a value of the body over all steps. Expressions of gradients are not deep: sums of a few terms.
fn total(graph: &mut Graph, body: &Graph, outer: &mut Outer, value: Value) -> Result<Value, GraphError> {
    let node = body.node(value.node);
    let origin = node.origin.clone();
    let mut inner = Vec::new();
    let op: Op = match part(body, outer.table(), value) {
        Part::Expression => {
            for &operand in &node.operands {
                inner.push(total(graph, body, outer, operand)?);
            }
            node.op.clone()
        }
        // Rows of all steps are rows of one matrix.
        Part::Dot(Dot { batch, contract }) if batch[0].is_empty() && contract == &[[0], [0]] => {
            for &operand in &node.operands {
                let stacked = outer.stacked(graph, operand)?;
                inner.push(join(&mut Builder::new(graph, origin.clone()), stacked)?);
            }
            node.op.clone()
        }
        Part::Dot(dot) => {
            for &operand in &node.operands {
                inner.push(outer.stacked(graph, operand)?);
            }
            dot_over_time(dot).into()
        }
        Part::Conv => {
            for &operand in &node.operands {
                let stacked = outer.stacked(graph, operand)?;
                inner.push(join(&mut Builder::new(graph, origin.clone()), stacked)?);
            }
            node.op.clone()
        }
        Part::Scatter => {
            inner.push(Builder::new(graph, origin.clone()).full(0.0, body.ty(value))?);
            for &operand in &node.operands[1..] {
                inner.push(outer.stacked(graph, operand)?);
            }
            node.op.clone()
        }
        Part::Reduce(axes) => {
            inner.push(outer.stacked(graph, node.operands[0])?);
            let axes = std::iter::once(0).chain(behind(axes)).collect();
            Reduce { combine: Combine::Add, axes }.into()
        }
        Part::Term | Part::Same => {
            inner.push(outer.stacked(graph, value)?);
            let sum = Reduce { combine: Combine::Add, axes: vec![0] };
            return Builder::new(graph, origin).add_node(sum, &inner);
        }
    };
    Builder::new(graph, origin).add_chosen(op, body.choice(value.node), &inner)
}

/// The product that contracts the time as well, before the other axes.
fn dot_over_time(dot: &Dot) -> Dot {
    let contract = [0, 1].map(|side| std::iter::once(0).chain(behind(&dot.contract[side])).collect());
    Dot::new([0, 1].map(|side| behind(&dot.batch[side])), contract)
}
