//! Running sums, products and extrema.
//!
//! An element of the result combines all elements up to it. One chain would let errors grow with the length of the axis, so
//! sums and products of floats are counted like digits: elements in blocks of 16, these in blocks of 16, and so on. Every
//! level has a chain over what its block holds so far, and a result is the chains of all levels, the longest blocks first:
//! 16 roundings for each digit of the position, and linear work. What lies behind an element does not matter to it, nor
//! does the length of the axis.

use brolga_ir::DType;
use brolga_ir::index::Index;
use brolga_ir::ops::Cumulative;
use brolga_ir::program::{AccId, Access, Combine, ValueId};
use brolga_ir::scalar::ScalarOp;
use brolga_ir::{GraphError, NodeId};

use crate::facts::blocking::plan::RUNNING as BLOCK;
use crate::lower::Lowering;
use crate::lower::kernel::KernelBuilder;

/// One run along an axis.
struct Run<'o> {
    op: &'o Cumulative,
    dtype: DType,
    extent: usize,
    /// Where the first element lies, and how far apart they are.
    first: Index,
    apart: i64,
    source: usize,
    result: usize,
}

impl Lowering<'_> {
    pub(super) fn cumulative(&mut self, id: NodeId, op: &Cumulative) -> Result<(), GraphError> {
        let graph = self.graph;
        let node = graph.node(id);
        let ty = node.types[0].clone();
        let extent = ty.dims[op.axis];
        let outer: usize = ty.dims[..op.axis].iter().product();
        let inner: usize = ty.dims[op.axis + 1..].iter().product();
        let mut k = KernelBuilder::new(node.op.get().name());
        let location = self.location(node.operands[0])?;
        let source = k.param(ty.dtype, ty.elements(), Access::Read);
        let args = vec![location, self.target(graph.result(id))];
        let result = k.param(ty.dtype, ty.elements(), Access::Write);
        let (a, b) = (Index::var(k.open_for(outer)), Index::var(k.open_for(inner)));
        let first = a.scale((extent * inner) as i64).add(&b);
        let run = Run { op, dtype: ty.dtype, extent, first, apart: inner as i64, source, result };
        run.block(&mut k, run.levels(), &Index::default(), Some(extent), &[]);
        (0..2).for_each(|_| k.close());
        self.call(k.finish_kernel(), args, id);
        Ok(())
    }
}

impl Run<'_> {
    /// Levels of blocks above the lowest one. Where nothing is rounded there is one chain.
    fn levels(&self) -> u32 {
        let rounded = self.dtype.is_float() && matches!(self.op.combine, Combine::Add | Combine::Mul);
        if rounded { self.extent.max(1).ilog2() / BLOCK.ilog2() } else { 0 }
    }

    /// A block of the level, from position `from` on: a whole one, or what is left of it. `above`: what the blocks around it
    /// hold so far, the longest first. Its own chain.
    fn block(
        &self,
        k: &mut KernelBuilder,
        level: u32,
        from: &Index,
        left: Option<usize>,
        above: &[AccId],
    ) -> AccId {
        let chain = k.declare(self.dtype, self.op.combine, 1);
        if level == 0 {
            self.elements(k, from, left.unwrap_or(BLOCK), above, chain);
            return chain;
        }
        let length = BLOCK.pow(level);
        let above = [above, &[chain]].concat();
        let inside = k.open_for(left.map_or(BLOCK, |left| left / length));
        let at = from.add(&Index::var(inside).scale(length as i64));
        let part = self.block(k, level - 1, &at, None, &above);
        let part = k.finish(part);
        k.accumulate(chain, part);
        k.close();
        if let Some(left) = left.filter(|left| left % length > 0) {
            let at = from.plus((left - left % length) as i64);
            self.block(k, level - 1, &at, Some(left % length), &above);
        }
        chain
    }

    /// The elements of a block of the lowest level.
    fn elements(&self, k: &mut KernelBuilder, from: &Index, count: usize, above: &[AccId], chain: AccId) {
        let above: Vec<ValueId> = above.iter().map(|&acc| k.finish(acc)).collect();
        let combine = |k: &mut KernelBuilder, values: &[ValueId]| match self.op.combine {
            Combine::Mul => k.op(ScalarOp::Mul, values),
            _ => k.op(ScalarOp::Add, values),
        };
        let above = above.into_iter().reduce(|sum, next| combine(k, &[sum, next]));
        let step = from.add(&Index::var(k.open_for(count)));
        let step = if self.op.reverse { step.scale(-1).plus(self.extent as i64 - 1) } else { step };
        let at = self.first.add(&step.scale(self.apart));
        let value = k.load(self.source, &at, None);
        if !self.op.exclusive {
            k.accumulate(chain, value);
        }
        let own = k.finish(chain);
        let sum = above.map_or(own, |above| combine(k, &[above, own]));
        k.store(self.result, at, sum);
        if self.op.exclusive {
            k.accumulate(chain, value);
        }
        k.close();
    }
}
