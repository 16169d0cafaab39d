//! `dot`: products of matrices.
//!
//! A product of rows with one matrix ([`Dense`]) is a [`Product`] like a convolution, with the matrix packed into panels, where
//! that pays: its windows see one position each. All others are [contractions](Contraction) of the operands where they lie.

use brolga_ir::choice::{self, Choice};
use brolga_ir::index::Index;
use brolga_ir::ops::Dot;
use brolga_ir::program::{Access, Kernel};
use brolga_ir::{DType, GraphError, NodeId, Type};

use super::access::{StridedAccess, apart};
use super::axes::{Axis, Loops};
use super::contraction::Contraction;
use super::epilogue::Epilogue;
use super::image::Image;
use super::method::{Method, Reading};
use super::packing::Weights;
use super::product::Product;
use super::shape::Shape;
use super::tiling::Tiling;
use crate::facts::blocking::packed;
use crate::facts::windows::Window;
use crate::lower::Lowering;
use crate::lower::kernel::KernelBuilder;
use crate::tuning::ProductKind;

impl Lowering<'_> {
    pub(in crate::lower) fn dot(&mut self, id: NodeId, dot: &Dot) -> Result<(), GraphError> {
        let graph = self.graph;
        let node = graph.node(id);
        let (left, right) = (node.operands[0], node.operands[1]);
        let mut dims = [graph.ty(left).dims.clone(), graph.ty(right).dims.clone()];
        let mut operands = [self.access(left)?, self.access(right)?];
        let one = one_axis(dot, &dims);
        if let Some(one) = &one {
            operands = self.along_one_axis(dot, &mut dims, operands, id);
            self.dot_of(id, one, &dims, operands);
        } else {
            self.dot_of(id, dot, &dims, operands);
        }
        Ok(())
    }

    /// The product by panels of weights, or of operands where they lie.
    fn dot_of(&mut self, id: NodeId, dot: &Dot, dims: &[Vec<usize>; 2], operands: [StridedAccess; 2]) {
        match Dense::of(dot, self.graph.choice(id), dims, &operands) {
            Some(dense) if self.packs(&dense, &operands) => self.dense(&dense, operands, None, id),
            _ => self.strided(id, dot, dims, operands),
        }
    }

    /// Operands whose summed axes are one, the last: where they do not lie evenly they are copied. `dims` become theirs.
    fn along_one_axis(
        &mut self,
        dot: &Dot,
        dims: &mut [Vec<usize>; 2],
        operands: [StridedAccess; 2],
        id: NodeId,
    ) -> [StridedAccess; 2] {
        let dtype = self.graph.node(id).types[0].dtype;
        let mut side = 0;
        operands.map(|mut operand| {
            let (own, summed) = (&dims[side], &dot.contract[side]);
            let free = dot.free(side, own.len());
            let of = |axes: &[usize], strides: &[i64]| -> Vec<i64> {
                axes.iter().map(|&axis| strides[axis]).collect()
            };
            let extents = |axes: &[usize]| -> Vec<usize> { axes.iter().map(|&axis| own[axis]).collect() };
            if apart(&extents(summed), &of(summed, &operand.strides)).is_none() {
                // Rows have their terms side by side, and each term its columns.
                let order = if side == 0 { [&free[..], summed] } else { [summed, &free[..]] }.concat();
                operand = self.pack(&operand, own, &order, dtype, id);
            }
            let term = apart(&extents(summed), &of(summed, &operand.strides)).expect("a copy is even");
            operand.strides = [of(&free, &operand.strides), vec![term]].concat();
            let depth = extents(summed).iter().product();
            dims[side] = [extents(&free), vec![depth]].concat();
            side += 1;
            operand
        })
    }

    /// A product of operands where they lie.
    fn strided(&mut self, id: NodeId, dot: &Dot, dims: &[Vec<usize>; 2], operands: [StridedAccess; 2]) {
        let graph = self.graph;
        let node = graph.node(id);
        let ty = &node.types[0];
        let target = self.target(graph.result(id));
        let mut strided = Strided::of(dot, dims, operands);
        let mut strides: Vec<i64> = ty.strides().iter().map(|&stride| stride as i64).collect();
        let aside = strided.turned.then(|| {
            let turned = strided.turn(ty, &mut strides);
            self.arena("turned", turned)
        });
        // The innermost axis of columns of extent above 1 must be contiguous.
        let [left, right] = strided.sides();
        if !strided.is_contiguous(right) {
            let order: Vec<usize> = [&dot.batch[right], &dot.contract[right], &strided.free[right]]
                .into_iter()
                .flatten()
                .copied()
                .collect();
            let packed = self.pack(&strided.operands[right], &dims[right], &order, ty.dtype, id);
            strided.operands[right] = packed;
        }
        let loops = strided.loops(&strides);
        let tiling = Tiling::strided(&loops, self.chosen(ProductKind::Strided, id));
        let [a, b] = [left, right].map(|side| &strided.operands[side]);
        self.contract(&Contraction {
            name: "dot",
            dtype: ty.dtype,
            places: [a.location, b.location, aside.unwrap_or(target)],
            offset: [a.offset, b.offset, 0],
            len: [a.len, b.len, ty.elements()],
            loops,
            tiling,
            origin: id,
        });
        if let Some(aside) = aside {
            let len = ty.elements();
            let access = StridedAccess { location: aside, len, offset: 0, strides };
            let all: Vec<usize> = (0..ty.rank()).collect();
            let (kernel, _) = transfer(&access, &ty.dims, &all, ty);
            self.call(kernel, vec![aside, target], id);
        }
    }

    /// A product of rows with a matrix of weights, which is packed.
    pub(super) fn dense(
        &mut self,
        dense: &Dense,
        [x, w]: [StridedAccess; 2],
        epilogue: Option<Epilogue<'_>>,
        id: NodeId,
    ) {
        let value = self.graph.result(id);
        let target = epilogue.map_or_else(|| self.target(value), |epilogue| epilogue.target);
        let result = self.graph.ty(value).with_dims(dense.dims());
        let source = self.rows_of(dense, x, result.dtype, id);
        let windows = dense.extents.iter().skip(1).map(|&extent| Window::identity(extent));
        let shape = Shape {
            dtype: result.dtype,
            batch: dense.extents[0],
            groups: 1,
            channels: dense.depth,
            outputs: dense.columns,
            windows: windows.collect(),
        };
        let weights = Weights {
            output: dense.column.map_or(1, |axis| w.strides[axis]),
            input: w.strides[dense.contract[1]],
            kernel: vec![0; dense.extents.len() - 1],
            group: 0,
            offset: w.offset,
            access: w,
            stored: self.stored(id),
        };
        let method = match dense.strassen {
            true => Method::Strassen,
            false => Method::Direct(Reading::of(&shape, &source, &result)),
        };
        let tiling = self.tiling(&method, &shape, id);
        self.product(&Product {
            name: "dot",
            method,
            tiling,
            shape,
            source,
            weights,
            target,
            result,
            epilogue,
            origin: id,
        });
    }

    /// The rows of a product as an image whose channels are the terms; copied where they lie scattered, or not evenly for halves.
    fn rows_of(&mut self, dense: &Dense, x: StridedAccess, dtype: DType, id: NodeId) -> Image {
        let stride = x.strides[dense.contract[0]];
        let mut rows = StridedAccess { strides: [&dense.rows[..], &[stride]].concat(), ..x };
        let uneven = dense.strassen && apart(&dense.extents, &dense.rows).is_none();
        if dense.is_scattered(stride) || uneven {
            let all: Vec<usize> = (0..=dense.extents.len()).collect();
            let dims = [&dense.extents[..], &[dense.depth]].concat();
            rows = self.pack(&rows, &dims, &all, dtype, id);
        }
        let channel = rows.strides.pop().expect("an axis is summed over");
        Image {
            location: rows.location,
            len: rows.len,
            offset: rows.offset,
            positions: rows.strides,
            channel,
        }
    }

    /// Whether a product gains by panels of weights: they are stored as another type, or packed once for all calls, or would have
    /// to be copied anyway, or there are enough rows to share them: a few where the rows of the matrix lie awkwardly in memory. 64
    /// rows of 128 terms times a matrix of 100 columns do, of 96 columns do not: those are whole lines of the cache. A loop that
    /// reads the same matrix in all iterations shares it among the rows of all of them. Of a matrix whose columns do not lie side by
    /// side the other way is to copy the rows, and the result: with as many rows as terms that is no less.
    pub(in crate::lower) fn packs(&self, dense: &Dense, [x, w]: &[StridedAccess; 2]) -> bool {
        let rows: usize = dense.extents.iter().product();
        let uses = self.uses(w.location);
        let sharing = rows.saturating_mul(uses);
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
        let pays = sharing >= packed::FEW_ROWS && dense.depth >= least;
        dense.strassen
            || dense.narrow
            || uses == usize::MAX
            || (sharing >= packed::ROWS && dense.depth >= packed::DEPTH)
            || (pays && (awkward || dense.is_scattered(x.strides[dense.contract[0]])))
            || (!contiguous
                && sharing >= dense.columns.min(dense.depth.max(packed::FEW_ROWS))
                && dense.columns > 1)
    }

    /// Copies a tensor into row-major memory with its axes in another order; its strides are still named in the old order.
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
        StridedAccess { location, len: packed.elements(), offset: 0, strides }
    }
}

/// A product of rows with one matrix that sums over several axes, as one over a single axis, the last of both operands, where
/// it is large enough to pay for a copy of them: gradients of weights, over steps and rows.
fn one_axis(dot: &Dot, dims: &[Vec<usize>; 2]) -> Option<Dot> {
    let free = [0, 1].map(|side: usize| dot.free(side, dims[side].len()));
    let [rows, columns] =
        [0, 1].map(|side: usize| free[side].iter().map(|&axis| dims[side][axis]).product::<usize>());
    let depth: usize = dot.contract[0].iter().map(|&axis| dims[0][axis]).product();
    let large = rows >= packed::SHARED_ROWS && columns >= packed::SHARED_ROWS && depth >= packed::DEPTH;
    let one = dot.contract[0].len() > 1 && dot.batch[0].is_empty() && free[1].len() == 1;
    (one && large).then(|| Dot::new([vec![], vec![]], free.map(|free| vec![free.len()])))
}

/// A kernel that copies a tensor, its axes in another order, to row-major memory; and the strides that each axis has there.
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
    /// Whether its weights are stored as another type, which only panels are.
    narrow: bool,
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
        let narrow = choice.weights.is_some();
        Some(Dense { contract, column, depth, columns, extents, rows, strassen, narrow })
    }

    /// Extents of the result with its columns last.
    pub fn dims(&self) -> Vec<usize> {
        [&self.extents[..], &[self.columns]].concat()
    }
}

/// A product of two operands where they lie.
struct Strided<'a> {
    dot: &'a Dot,
    dims: &'a [Vec<usize>; 2],
    /// The axes of either operand that are neither batch nor summed over.
    free: [Vec<usize>; 2],
    operands: [StridedAccess; 2],
    /// Whether the transpose is computed: the free axes of the right operand are the rows.
    swapped: bool,
    /// Whether it is computed into a place of its own because of that, and copied.
    turned: bool,
}

impl<'a> Strided<'a> {
    fn of(dot: &'a Dot, dims: &'a [Vec<usize>; 2], operands: [StridedAccess; 2]) -> Strided<'a> {
        let free = [0, 1].map(|side: usize| dot.free(side, dims[side].len()));
        let [rows, columns] =
            [0, 1].map(|side: usize| free[side].iter().map(|&axis| dims[side][axis]).product::<usize>());
        let mut strided = Strided { dot, dims, free, operands, swapped: false, turned: false };
        // A product with a single column is computed as its transpose: rows become the contiguous axis. So is one
        // whose right operand would have to be copied, if the left one is smaller; its result is copied then.
        strided.turned = rows > 1 && columns > rows && !strided.is_contiguous(1) && dot.batch[0].is_empty();
        strided.swapped = (columns == 1 && rows > 1) || strided.turned;
        strided
    }

    /// The operands whose free axes are the rows and the columns.
    fn sides(&self) -> [usize; 2] {
        if self.swapped { [1, 0] } else { [0, 1] }
    }

    /// Whether the last free axis of an operand of more than one element is contiguous.
    fn is_contiguous(&self, side: usize) -> bool {
        let last = self.free[side].iter().rev().find(|&&axis| self.dims[side][axis] > 1);
        last.is_none_or(|&axis| self.operands[side].strides[axis] == 1)
    }

    /// The type of the result with the free axes of the right operand first; `strides`, those of the result's axes, become those
    /// that they have there.
    fn turn(&self, ty: &Type, strides: &mut [i64]) -> Type {
        let [left, right] = self.free.each_ref().map(Vec::len);
        let order: Vec<usize> = (left..left + right).chain(0..left).collect();
        let turned = ty.with_dims(order.iter().map(|&axis| ty.dims[axis]).collect::<Vec<_>>());
        order.iter().zip(turned.strides()).for_each(|(&axis, stride)| strides[axis] = stride as i64);
        turned
    }

    /// The loops; `strides` are those of the result's axes.
    fn loops(&self, strides: &[i64]) -> Loops {
        let [m, n] = self.sides();
        let [a, b] = [m, n].map(|side| &self.operands[side]);
        let (batch, rest) = strides.split_at(self.dot.batch[0].len());
        let (first, second) = rest.split_at(self.free[0].len());
        let only = |side: usize| -> Vec<Axis> {
            let axis = |(&axis, &c): (&usize, &i64)| {
                let stride = self.operands[side].strides[axis];
                let (a, b) = if side == m { (stride, 0) } else { (0, stride) };
                Axis { extent: self.dims[side][axis], a, b, c }
            };
            self.free[side].iter().zip([first, second][side]).map(axis).collect()
        };
        let both = |axes: &[Vec<usize>; 2], c: &[i64]| -> Vec<Axis> {
            let axis = |(i, (&x, &y)): (usize, (&usize, &usize))| Axis {
                extent: self.dims[m][x],
                a: a.strides[x],
                b: b.strides[y],
                c: c.get(i).copied().unwrap_or(0),
            };
            axes[m].iter().zip(&axes[n]).enumerate().map(axis).collect()
        };
        let (batch, terms) = (both(&self.dot.batch, batch), both(&self.dot.contract, &[]));
        Loops::of(&batch, &only(m), &only(n), &terms)
    }
}
