//! `total(x)` in metrics: what stands for a sum over the whole set, and what each batch gives to it.

use std::collections::HashMap;

use brolga_ir::ops::{Elementwise, Op, Role};
use brolga_ir::program::Combine;
use brolga_ir::scalar::ScalarOp;
use brolga_ir::{DType, Type};

use super::builder::Builder;
use super::measured::Total;
use super::names::TOTAL;
use super::value::{Built, Fault, Tensor};
use crate::source::Span;

/// How deep a total looks into sums and products to form them in f64.
const DEEPEST: usize = 16;

impl Builder<'_> {
    /// A mistake outside of metrics.
    pub(super) fn only_in_metrics(&self, function: &str) -> Built<()> {
        if self.measured.inside {
            return Ok(());
        }
        Err(Fault::new(format!("`{function}` belongs into metrics: it sums over the whole set")))
    }

    /// `total(x)`: the sum of all elements of `x`, or along axes, over the whole set.
    pub fn total(&mut self, x: Tensor, axes: Option<&[usize]>, span: Span) -> Built {
        self.only_in_metrics("total")?;
        let parts = match axes {
            Some(axes) => {
                let x = self.in_f64(x, DEEPEST, &mut HashMap::new())?;
                let mut ops = self.ops();
                let x = ops.widened(x)?;
                let sum = ops.sum(x, axes, false)?;
                let sum = ops.convert(sum, DType::F64)?;
                let dims: Vec<usize> = std::iter::once(1).chain(ops.dims(sum)).collect();
                ops.reshape(sum, &dims)?
            }
            None => match self.parts_of(x) {
                Some(parts) => parts,
                None => {
                    let x = self.in_f64(x, DEEPEST, &mut HashMap::new())?;
                    self.ops().parts(x)?
                }
            },
        };
        self.total_of(parts, span)
    }

    /// Floats in f64. What the metric itself adds, subtracts and multiplies is formed in f64, where the squares of f32 are
    /// exact: a difference of their totals is most often small.
    fn in_f64(&mut self, x: Tensor, depth: usize, known: &mut HashMap<Tensor, Tensor>) -> Built {
        if !self.ops().dtype(x).is_float() {
            return Ok(x);
        }
        if let Some(wide) = known.get(&x) {
            return Ok(*wide);
        }
        let node = self.graph.graph.node(x.node);
        let exact =
            |op: &ScalarOp| matches!(op, ScalarOp::Add | ScalarOp::Sub | ScalarOp::Mul | ScalarOp::Neg);
        let wide = match &node.op {
            Op::Elementwise(Elementwise { op })
                if depth > 0 && exact(op) && x.node.index() >= self.measured.own =>
            {
                let (op, mut operands) = (*op, node.operands.clone());
                for operand in &mut operands {
                    *operand = self.in_f64(*operand, depth - 1, known)?;
                }
                self.ops().b.elementwise(op, &operands)?
            }
            _ => self.ops().convert(x, DType::F64)?,
        };
        known.insert(x, wide);
        Ok(wide)
    }

    /// The parameter that stands for the sum of `parts` over all batches and along their first axis, in formulas.
    pub(super) fn total_of(&mut self, parts: Tensor, span: Span) -> Built {
        let known = self.measured.totals.iter().find(|total| total.parts == parts);
        if let Some(total) = known {
            return Ok(total.parameter);
        }
        let ty = Type::new(DType::F64, self.ops().dims(parts)[1..].to_vec());
        let name = format!("{TOTAL}{}", self.measured.totals.len() + 1);
        let parameter = self.graph.graph.add_parameter(&name, Role::Data, ty);
        self.measured.totals.push(Total { parameter, parts, span });
        Ok(parameter)
    }

    /// The parts that a sum was made of, if it was: `total` sums these, and not the sum of each batch, so that the result has
    /// the same bits whatever the batch is.
    pub(super) fn parts_of(&self, sum: Tensor) -> Option<Tensor> {
        let graph = &self.graph.graph;
        let node = graph.node(sum.node);
        let Op::Reduce(reduce) = &node.op else { return None };
        let &[parts] = node.operands.as_slice() else { return None };
        let ty = graph.ty(parts);
        (reduce.combine == Combine::Add && ty.dtype == DType::F64 && ty.rank() == 1).then_some(parts)
    }
}
