//! `dot` of whole numbers: plain loops, since tiles are of floats. Nothing is rounded, so the order does not matter.

use brolga_ir::index::Index;
use brolga_ir::ops::Dot;
use brolga_ir::program::{Access, Combine};
use brolga_ir::scalar::ScalarOp;
use brolga_ir::{GraphError, NodeId};

use crate::lower::Lowering;
use crate::lower::kernel::KernelBuilder;

impl Lowering<'_> {
    /// One loop an axis of the result (batch, left, right), inside them those of the axes that are summed over.
    pub(in crate::lower) fn integer_dot(&mut self, id: NodeId, dot: &Dot) -> Result<(), GraphError> {
        let graph = self.graph;
        let node = graph.node(id);
        let ty = node.types[0].clone();
        let sides = [self.access(node.operands[0])?, self.access(node.operands[1])?];
        let dims = [graph.ty(node.operands[0]).dims.clone(), graph.ty(node.operands[1]).dims.clone()];
        let mut k = KernelBuilder::new("dot");
        let [a, b] = sides.each_ref().map(|side| k.param(ty.dtype, side.len, Access::Read));
        let c = k.param(ty.dtype, ty.elements(), Access::Write);
        let mut at = sides.each_ref().map(|side| Index::constant(side.offset));
        let mut target = Index::constant(0);
        let free = [0, 1].map(|side| dot.free(side, dims[side].len()));
        let both = |axes: &[Vec<usize>; 2]| -> Vec<[Option<usize>; 2]> {
            axes[0].iter().zip(&axes[1]).map(|(&x, &y)| [Some(x), Some(y)]).collect()
        };
        let left = free[0].iter().map(|&x| [Some(x), None]);
        let right = free[1].iter().map(|&y| [None, Some(y)]);
        let kept: Vec<[Option<usize>; 2]> = both(&dot.batch).into_iter().chain(left).chain(right).collect();
        let open = |k: &mut KernelBuilder, axes: [Option<usize>; 2], at: &mut [Index; 2]| {
            let extent = dims.iter().zip(axes).find_map(|(dims, axis)| Some(dims[axis?])).unwrap_or(1);
            let var = Index::var(k.open_for(extent));
            for ((axis, at), side) in axes.into_iter().zip(at).zip(&sides) {
                if let Some(axis) = axis {
                    *at = at.add(&var.scale(side.strides[axis]));
                }
            }
            var
        };
        for (axes, stride) in kept.iter().zip(ty.strides()) {
            let var = open(&mut k, *axes, &mut at);
            target = target.add(&var.scale(stride as i64));
        }
        let sum = k.declare(ty.dtype, Combine::Add, 1);
        for axes in both(&dot.contract) {
            open(&mut k, axes, &mut at);
        }
        let values = [k.load(a, &at[0], None), k.load(b, &at[1], None)];
        let product = k.op(ScalarOp::Mul, &values);
        k.accumulate(sum, product);
        dot.contract[0].iter().for_each(|_| k.close());
        let sum = k.finish(sum);
        k.store(c, target, sum);
        kept.iter().for_each(|_| k.close());
        let locations = sides.map(|side| side.location);
        let target = self.target(graph.result(id));
        self.call(k.finish_kernel(), vec![locations[0], locations[1], target], id);
        Ok(())
    }
}
