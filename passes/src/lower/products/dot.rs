//! `dot`: batched products of matrices, as contractions over memory.

use brolga_ir::choice::{self, Choice};
use brolga_ir::index::Index;
use brolga_ir::ops::Dot;
use brolga_ir::program::{Access, Kernel};
use brolga_ir::{DType, GraphError, NodeId, Type};

use super::contraction::{Axis, Contraction};
use super::epilogue::Epilogue;
use super::image::Image;
use super::packing::Weights;
use super::windows::Window;
use crate::lower::blocking::packed;
use crate::lower::kernel::KernelBuilder;
use crate::lower::{Location, Lowering, StridedAccess};
use crate::schedule::Algorithm;

impl Lowering<'_> {
    pub(in crate::lower) fn dot(&mut self, id: NodeId, dot: &Dot) -> Result<(), GraphError> {
        let graph = self.graph;
        let node = graph.node(id);
        let (left, right) = (node.operands[0], node.operands[1]);
        let dims = [graph.ty(left).dims.clone(), graph.ty(right).dims.clone()];
        let mut operands = [self.access(left)?, self.access_weights(right)?];
        if let Some(dense) = Dense::of(dot, graph.choice(id), &dims, &operands)
            && self.packs(&dense, &operands)
        {
            let target = self.target(graph.result(id));
            self.dense(&dense, operands, (target, &node.types[0]), None, id);
            return Ok(());
        }
        if operands[1].dtype != node.types[0].dtype {
            operands[1] = self.widened(right)?;
        }
        self.strided(id, dot, &dims, operands);
        Ok(())
    }

    /// A product of operands where they lie.
    fn strided(&mut self, id: NodeId, dot: &Dot, dims: &[Vec<usize>; 2], operands: [StridedAccess; 2]) {
        let graph = self.graph;
        let node = graph.node(id);
        let ty = &node.types[0];
        let free = [dot.free(0, dims[0].len()), dot.free(1, dims[1].len())];
        let mut c_strides: Vec<i64> = ty.strides().iter().map(|&s| s as i64).collect();
        let batches = dot.batch[0].len();
        let columns: usize = free[1].iter().map(|&axis| dims[1][axis]).product();
        let rows: usize = free[0].iter().map(|&axis| dims[0][axis]).product();
        let contiguous = |side: usize| {
            let last = free[side].iter().rev().find(|&&axis| dims[side][axis] > 1);
            last.is_none_or(|&axis| operands[side].strides[axis] == 1)
        };
        // A product with a single column is computed as its transpose: rows become the contiguous axis. So is one
        // whose right operand would have to be copied, if the left one is smaller; its result is copied then.
        let turned = rows > 1 && columns > rows && !contiguous(1) && batches == 0;
        let swap = (columns == 1 && rows > 1) || turned;
        let (m_side, n_side) = if swap { (1, 0) } else { (0, 1) };
        let a = operands[m_side].clone();
        let mut b = operands[n_side].clone();
        let target = self.target(graph.result(id));
        let aside = turned.then(|| {
            // [right axes, left axes], row-major.
            let order: Vec<usize> =
                (free[0].len()..free[0].len() + free[1].len()).chain(0..free[0].len()).collect();
            let turned = ty.with_dims(order.iter().map(|&axis| ty.dims[axis]).collect::<Vec<_>>());
            let strides = turned.strides();
            order.iter().zip(strides).for_each(|(&axis, stride)| c_strides[axis] = stride as i64);
            self.arena("turned", turned)
        });
        // n: the innermost axis of extent above 1 must be contiguous.
        if !contiguous(n_side) {
            let order: Vec<usize> = (dot.batch[n_side].iter())
                .chain(&dot.contract[n_side])
                .chain(&free[n_side])
                .copied()
                .collect();
            b = self.pack(&b, &dims[n_side], &order, ty.dtype, id);
        }
        self.choose(Algorithm::Strided, id);
        let (first, second) = c_strides[batches..].split_at(free[0].len());
        let of_free = if swap { [second, first] } else { [first, second] };
        let only = |axes: &[usize], side: usize, c: &[i64]| -> Vec<Axis> {
            let axis = |(&axis, &c): (&usize, &i64)| {
                let (a, b) = if side == m_side { (a.strides[axis], 0) } else { (0, b.strides[axis]) };
                Axis { extent: dims[side][axis], a, b, c }
            };
            axes.iter().zip(c).map(axis).collect()
        };
        let both = |axes: &[Vec<usize>; 2], c: &dyn Fn(usize) -> i64| -> Vec<Axis> {
            let pairs = axes[m_side].iter().zip(&axes[n_side]).enumerate();
            let axis = |(i, (&x, &y)): (usize, (&usize, &usize))| Axis {
                extent: dims[m_side][x],
                a: a.strides[x],
                b: b.strides[y],
                c: c(i),
            };
            pairs.map(axis).collect()
        };
        let contraction = Contraction {
            name: "dot",
            dtype: ty.dtype,
            batch: both(&dot.batch, &|i| c_strides[i]),
            m: only(&free[m_side], m_side, of_free[0]),
            n: only(&free[n_side], n_side, of_free[1]),
            k: both(&dot.contract, &|_| 0),
            offset: [a.offset, b.offset, 0],
            len: [a.len, b.len, ty.elements()],
            accumulate: false,
            schedule: self.schedule,
        };
        self.call(contraction.kernel(), vec![a.location, b.location, aside.unwrap_or(target)], id);
        if let Some(aside) = aside {
            let (dtype, len) = (ty.dtype, ty.elements());
            let access = StridedAccess { location: aside, dtype, len, offset: 0, strides: c_strides };
            let all: Vec<usize> = (0..ty.rank()).collect();
            let (kernel, _) = transfer(&access, &ty.dims, &all, ty);
            self.call(kernel, vec![aside, target], id);
        }
    }

    /// A product of rows with a matrix of weights, as a convolution over no axes.
    pub(super) fn dense(
        &mut self,
        dense: &Dense,
        [x, w]: [StridedAccess; 2],
        (target, result): (Location, &Type),
        epilogue: Option<Epilogue<'_>>,
        id: NodeId,
    ) {
        let all: Vec<usize> = (0..=dense.extents.len()).collect();
        let stride = x.strides[dense.contract[0]];
        let mut rows = StridedAccess { strides: [&dense.rows[..], &[stride]].concat(), ..x };
        let uneven = dense.strassen && dense.apart(&rows.strides).is_none();
        if dense.is_scattered(stride) || uneven {
            let dims = [&dense.extents[..], &[dense.depth]].concat();
            rows = self.pack(&rows, &dims, &all, result.dtype, id);
        }
        let weights = Weights {
            output: dense.column.map_or(1, |axis| w.strides[axis]),
            input: w.strides[dense.contract[1]],
            kernel: vec![0; dense.extents.len() - 1],
            group: 0,
            offset: w.offset,
            access: w,
        };
        if dense.strassen {
            let apart = dense.apart(&rows.strides).expect("rows lie evenly in a copy");
            rows.strides = vec![apart, rows.strides[dense.extents.len()]];
            let sizes = [dense.extents.iter().product(), dense.depth, dense.columns];
            return self.strassen(&rows, &weights, sizes, &dense.extents, target, epilogue, id);
        }
        let (&channel, positions) = rows.strides.split_last().expect("an axis is summed over");
        let source = Image {
            location: rows.location,
            len: rows.len,
            offset: rows.offset,
            positions: positions.to_vec(),
            channel,
        };
        let windows: Vec<Window> =
            dense.extents.iter().skip(1).map(|&extent| Window::identity(extent)).collect();
        let sizes = (dense.depth, dense.columns);
        let result = result.with_dims(dense.dims());
        self.correlate("dot", 1, sizes, &windows, source, weights, (target, &result), epilogue, id);
    }

    /// Whether a product gains by panels of weights: they are packed once for all calls, or would have to be copied
    /// anyway, or there are enough rows to share them: a few where the rows of the matrix lie awkwardly in memory.
    pub(in crate::lower) fn packs(&self, dense: &Dense, [x, w]: &[StridedAccess; 2]) -> bool {
        let rows: usize = dense.extents.iter().product();
        let contiguous = dense.columns == 1 || dense.column.is_none_or(|axis| w.strides[axis] == 1);
        // Vectors lie across lines of the cache, or all rows fall into few of its sets.
        let awkward = dense.columns > 2 * packed::LINE
            && (!dense.columns.is_multiple_of(packed::LINE) || dense.columns.is_multiple_of(packed::SETS));
        // Few terms are added while large results wait for memory, which blocks where they lie write in longer pieces.
        let least = if rows.saturating_mul(dense.columns) > packed::LARGE_RESULT {
            packed::SOME_TERMS
        } else {
            packed::FEW_TERMS
        };
        let pays = rows >= packed::FEW_ROWS && dense.depth >= least;
        dense.strassen
            || self.is_fixed(w.location)
            || (rows >= packed::ROWS && dense.depth >= packed::DEPTH)
            || (pays && (awkward || dense.is_scattered(x.strides[dense.contract[0]])))
            || (!contiguous && rows >= dense.columns && dense.columns > 1)
    }

    /// Copies a tensor into row-major memory with its axes in another order; strides are still by the old axes.
    fn pack(
        &mut self,
        access: &StridedAccess,
        dims: &[usize],
        order: &[usize],
        dtype: DType,
        id: NodeId,
    ) -> StridedAccess {
        let packed = Type::new(dtype, order.iter().map(|&axis| dims[axis]).collect::<Vec<_>>());
        let (kernel, strides) = transfer(access, dims, order, &packed);
        let location = self.once("packed", kernel, access.location, packed.clone(), id);
        StridedAccess { location, dtype, len: packed.elements(), offset: 0, strides }
    }
}

/// A kernel that copies a tensor, its axes in another order, to row-major memory; the strides there of the old axes.
fn transfer(access: &StridedAccess, dims: &[usize], order: &[usize], ty: &Type) -> (Kernel, Vec<i64>) {
    let mut k = KernelBuilder::new("pack");
    let source = k.param(ty.dtype, access.len, Access::Read);
    let target = k.param(ty.dtype, ty.elements(), Access::Write);
    let mut strides = vec![0; dims.len()];
    let (mut from, mut to) = (Index::constant(access.offset), Index::default());
    for (&axis, stride) in order.iter().zip(ty.strides()) {
        let var = Index::var(k.open_for(dims[axis]));
        from = from.add(&var.scale(access.strides[axis]));
        to = to.add(&var.scale(stride as i64));
        strides[axis] = stride as i64;
    }
    let value = k.load(source, &from, None);
    k.store(target, to, value);
    order.iter().for_each(|_| k.close());
    (k.finish_kernel(), strides)
}

/// A product without batch axes, of rows along any axes with one matrix: `x[rows…, k] · w[k, column]`.
pub(in crate::lower) struct Dense {
    /// The summed axis of either operand.
    contract: [usize; 2],
    /// The free axis of the right operand.
    column: Option<usize>,
    depth: usize,
    columns: usize,
    /// Extents and strides of the left operand's free axes (one of extent 1 if it has none).
    extents: Vec<usize>,
    rows: Vec<i64>,
    /// Whether it is computed from products of halves.
    strassen: bool,
}

impl Dense {
    /// Whether the terms of a row, so many elements apart, fall into few sets of the cache, and there are enough columns to
    /// pay for copying them.
    fn is_scattered(&self, stride: i64) -> bool {
        let span = stride.unsigned_abs().saturating_mul(self.depth as u64);
        stride % packed::APART == 0 && span >= packed::SPAN && self.columns >= packed::COLUMNS
    }

    /// A `dot` that has this form.
    pub fn of(
        dot: &Dot,
        choice: Choice,
        dims: &[Vec<usize>; 2],
        operands: &[StridedAccess; 2],
    ) -> Option<Dense> {
        let strassen = choice.algorithm == choice::Algorithm::Strassen;
        let ([x], [w]) = (dot.contract[0].as_slice(), dot.contract[1].as_slice()) else { return None };
        let free = [dot.free(0, dims[0].len()), dot.free(1, dims[1].len())];
        if !dot.batch[0].is_empty() || free[1].len() > 1 {
            return None;
        }
        let mut extents: Vec<usize> = free[0].iter().map(|&axis| dims[0][axis]).collect();
        let mut rows: Vec<i64> = free[0].iter().map(|&axis| operands[0].strides[axis]).collect();
        if extents.is_empty() {
            extents.push(1);
            rows.push(0);
        }
        let column = free[1].first().copied();
        let columns = column.map_or(1, |axis| dims[1][axis]);
        let (contract, depth) = ([*x, *w], dims[0][*x]);
        Some(Dense { contract, column, depth, columns, extents, rows, strassen })
    }

    /// The elements from row to row, if the axes with these strides count as one.
    fn apart(&self, strides: &[i64]) -> Option<i64> {
        let mut axes = self.extents.iter().zip(strides).filter(|&(&extent, _)| extent != 1).rev();
        let Some((&extent, &apart)) = axes.next() else { return Some(0) };
        let mut inner = extent as i64 * apart;
        axes.all(|(&extent, &stride)| {
            let fits = stride == inner;
            inner *= extent as i64;
            fits
        })
        .then_some(apart)
    }

    /// Extents of the result with its columns last.
    pub fn dims(&self) -> Vec<usize> {
        [&self.extents[..], &[self.columns]].concat()
    }
}
