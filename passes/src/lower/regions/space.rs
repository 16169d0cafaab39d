//! The space of a reduction: which axes are reduced, and how the others are computed. Nothing here changes a bit.

use brolga_ir::index::Index;

use crate::facts::blocking::plan::BLOCK;
use crate::facts::blocking::reductions::{COLUMNS, FEW, FEWEST_COLUMNS, MANY_COLUMNS};
use crate::facts::blocking::vectors::WHOLE;
use crate::lower::kernel::KernelBuilder;

/// The space of a reduction: which axes are reduced, and how the others are computed.
pub(in crate::lower) struct Space {
    pub dims: Vec<usize>,
    /// The reduced axes, ascending.
    pub axes: Vec<usize>,
    /// The axes that stay, ascending.
    pub kept: Vec<usize>,
    /// How many of the last axes that stay are columns; none where reductions go along rows.
    pub columns: usize,
    /// Elements of the first of them that are computed together.
    chunk: usize,
}

impl Space {
    pub fn new(dims: &[usize], axes: &[usize]) -> Space {
        let kept: Vec<usize> = (0..dims.len()).filter(|axis| !axes.contains(axis)).collect();
        let total: usize = axes.iter().map(|&axis| dims[axis]).product();
        let mut space = Space { dims: dims.to_vec(), axes: axes.to_vec(), kept, columns: 0, chunk: 1 };
        let last = axes.iter().copied().filter(|&axis| dims[axis] > 1).max();
        let Some(last) = last.filter(|_| total > FEW) else { return space };
        let behind: Vec<usize> =
            space.kept.iter().filter(|&&axis| axis > last).map(|&axis| dims[axis]).collect();
        let all: usize = behind.iter().product();
        if all > 1 {
            (space.columns, space.chunk) = columns(&behind, COLUMNS[usize::from(all >= MANY_COLUMNS)]);
        }
        space
    }

    /// Whether reductions go along columns.
    pub fn is_by_columns(&self) -> bool {
        self.columns > 0
    }

    /// Whether a point of the loops around needs memory of its own.
    pub fn has_local(&self) -> bool {
        self.is_by_columns() || self.total() > BLOCK
    }

    /// Extents of the reduced axes.
    pub fn extents(&self) -> Vec<usize> {
        self.axes.iter().map(|&axis| self.dims[axis]).collect()
    }

    /// Elements that are combined for each result.
    pub fn total(&self) -> usize {
        self.extents().iter().product()
    }

    /// Extents of the axes that stay.
    pub fn kept_dims(&self) -> Vec<usize> {
        self.kept.iter().map(|&axis| self.dims[axis]).collect()
    }

    /// Whole blocks, and the elements behind them.
    pub fn blocks(&self) -> (usize, usize) {
        (self.total() / BLOCK, self.total() % BLOCK)
    }

    /// Extents of the columns that are computed together.
    pub fn widths(&self) -> Vec<usize> {
        let dims = self.kept_dims();
        let mut widths = dims[dims.len() - self.columns..].to_vec();
        widths.iter_mut().take(1).for_each(|first| *first = self.chunk);
        widths
    }

    /// How many columns are computed together.
    pub fn width(&self) -> usize {
        self.widths().iter().product()
    }

    /// Points of the loops around.
    pub fn points(&self) -> usize {
        self.kept_dims().iter().product::<usize>() / self.width().max(1)
    }

    /// Opens the loops around, as dimensions of the grid where points have memory of their own. The index of the first
    /// column along each axis that stays, and the number of loops.
    pub fn open(&self, k: &mut KernelBuilder) -> (Vec<Index>, usize) {
        let grid = self.has_local();
        let mut opened = 0;
        let mut open = |k: &mut KernelBuilder, extent: usize| {
            opened += 1;
            Index::var(if grid { k.open_grid(extent) } else { k.open_for(extent) })
        };
        let dims = self.kept_dims();
        let outer = dims.len() - self.columns;
        let mut first: Vec<Index> = dims[..outer].iter().map(|&extent| open(k, extent)).collect();
        if self.columns > 0 {
            first.push(open(k, dims[outer] / self.chunk.max(1)).scale(self.chunk as i64));
            first.resize(dims.len(), Index::default());
        }
        (first, opened)
    }

    /// Opens loops over the columns; the index along each axis that stays. There are as many loops as `widths`.
    pub fn open_columns(&self, k: &mut KernelBuilder, first: &[Index]) -> Vec<Index> {
        let outer = first.len() - self.columns;
        let mut index = first.to_vec();
        for (index, width) in index[outer..].iter_mut().zip(self.widths()) {
            *index = index.add(&Index::var(k.open_for(width)));
        }
        index
    }

    /// The row-major position among the columns of an index along the axes that stay.
    pub fn column(&self, index: &[Index], first: &[Index]) -> Index {
        let outer = index.len() - self.columns;
        let moved = index[outer..].iter().zip(&first[outer..]).map(|(index, first)| index.sub(first));
        moved.zip(self.widths()).fold(Index::default(), |flat, (i, width)| flat.scale(width as i64).add(&i))
    }

    /// The row-major position of a result.
    pub fn position(&self, index: &[Index]) -> Index {
        let dims = self.kept_dims();
        index.iter().zip(dims).fold(Index::default(), |flat, (i, extent)| flat.scale(extent as i64).add(i))
    }
}

/// How many of the last axes are computed together, about `most` elements of them, and how much of the first of these: a
/// divisor of it, so that nothing is left over, that fills vectors if one does.
fn columns(dims: &[usize], most: usize) -> (usize, usize) {
    let (mut count, mut width, mut first) = (0, 1, 1);
    for &extent in dims.iter().rev() {
        if width * extent > most {
            let fits = (1..=most / width).filter(|part| extent.is_multiple_of(*part));
            let well = |part: &usize| (WHOLE.map(|lanes| (width * part).is_multiple_of(lanes)), *part);
            let best = fits.max_by_key(well).unwrap_or(1);
            return match width * best {
                ..FEWEST_COLUMNS => (count + 1, extent),
                _ if best == 1 => (count, first),
                _ => (count + 1, best),
            };
        }
        (count, width, first) = (count + 1, width * extent, extent);
    }
    (count, first)
}
