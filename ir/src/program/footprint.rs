//! What the accesses of a kernel touch.
//!
//! Each access is a set of places `low + Σ stride * i`. Two of them are apart if, for one stride, what the other strides
//! cover stays in different places modulo that stride: so two parts of a concatenation, interleaved in one buffer, are
//! told apart.

use super::walk::walk;
use super::{Expr, Kernel, Panel, Stmt};
use crate::index::{Atom, Index, Var};
use rustc_hash::FxHashMap;

/// The units `low + Σ stride * i .. + size`, `i < extent`, all strides positive.
#[derive(Clone, PartialEq, Debug)]
pub struct Footprint {
    low: i128,
    terms: Vec<(i128, i128)>,
    size: i128,
}

impl Footprint {
    /// Of `rows` runs of `columns` units, which begin `stride` units apart, the first at `low`.
    pub fn rows(low: i64, rows: usize, stride: i64, columns: usize) -> Footprint {
        let mut footprint = Footprint { low: low as i128, terms: Vec::new(), size: 1 };
        footprint.add(stride as i128, rows.max(1) as i128);
        footprint.add(1, columns.max(1) as i128);
        footprint
    }

    /// The units that all terms but those of multiples of `modulus` cover: first and number.
    fn within(&self, modulus: i128) -> (i128, i128) {
        let others = self.terms.iter().filter(|(stride, _)| stride % modulus != 0);
        (self.low, others.map(|(stride, extent)| stride * (extent - 1)).sum::<i128>() + self.size)
    }

    /// Whether two of them provably share no unit where the parameter of the second begins `distance` units after
    /// that of the first.
    pub fn is_apart(&self, other: &Footprint, distance: i128) -> bool {
        // Larger than every address: no term is a multiple, and the test is that of plain intervals.
        let strides = self.terms.iter().chain(&other.terms).map(|&(stride, _)| stride);
        strides.chain([1 << 80]).any(|modulus| {
            let (a, a_len) = self.within(modulus);
            let (b, b_len) = other.within(modulus);
            let gap = (b + distance - a).rem_euclid(modulus);
            gap >= a_len && gap + b_len <= modulus
        })
    }
}

/// What a kernel touches of a parameter, one for each access, in units of which an element has `size`; `None` where an
/// access is at a computed index.
pub fn footprints(kernel: &Kernel, param: usize, size: usize) -> Option<Vec<Footprint>> {
    footprints_of(&kernel.grid, &kernel.body, param, size)
}

/// As [`footprints`], of some statements of a kernel with that grid.
pub fn footprints_of<'s>(
    grid: &[usize],
    statements: impl IntoIterator<Item = &'s Stmt>,
    param: usize,
    size: usize,
) -> Option<Vec<Footprint>> {
    let vars = grid.iter().enumerate().map(|(var, &extent)| (var as Var, extent)).collect();
    let mut collector = Collector { param, size: size as i128, vars, found: Some(Vec::new()) };
    statements.into_iter().for_each(|statement| collector.block(std::slice::from_ref(statement)));
    collector.found
}

struct Collector {
    param: usize,
    size: i128,
    vars: FxHashMap<Var, usize>,
    found: Option<Vec<Footprint>>,
}

impl Collector {
    fn block(&mut self, statements: &[Stmt]) {
        for statement in statements {
            match statement {
                Stmt::For { var, extent, body } | Stmt::Strip { var, extent, body } => {
                    self.vars.insert(*var, *extent);
                    self.block(body);
                }
                Stmt::If { then, otherwise, .. } => {
                    self.block(then);
                    self.block(otherwise);
                }
                Stmt::Let { expr: Expr::Load { param, index, .. }, .. }
                | Stmt::Store { param, index, .. } => {
                    self.access(*param, index, &[]);
                }
                Stmt::Tile(tile) => {
                    let columns = (tile.n, 1);
                    let reduce = |of: fn(&crate::program::TileLoop) -> i64| {
                        tile.reduce.iter().map(move |l| (l.extent, of(l)))
                    };
                    let a: Vec<_> = std::iter::once((tile.m, tile.a.row)).chain(reduce(|l| l.a)).collect();
                    let b: Vec<_> = std::iter::once(columns).chain(reduce(|l| l.b)).collect();
                    self.panel(&tile.a, &a);
                    self.panel(&tile.b, &b);
                    self.panel(&tile.c, &[(tile.m, tile.c.row), columns]);
                }
                _ => {}
            }
        }
    }

    fn panel(&mut self, panel: &Panel, loops: &[(usize, i64)]) {
        self.access(panel.param, &panel.index, loops);
    }

    fn access(&mut self, param: usize, index: &Index, loops: &[(usize, i64)]) {
        if param == self.param {
            let footprint = self.footprint(index, loops);
            match (&mut self.found, footprint) {
                (Some(found), Some(footprint)) => found.push(footprint),
                (found, _) => *found = None,
            }
        }
    }

    fn footprint(&self, index: &Index, loops: &[(usize, i64)]) -> Option<Footprint> {
        let mut footprint =
            Footprint { low: index.offset() as i128 * self.size, terms: Vec::new(), size: self.size };
        let last = |var: &Var| self.vars.get(var).map(|&extent| extent.max(1) as i64 - 1);
        for (atom, coefficient) in index.terms() {
            let range = Index::from_terms(0, [(atom.clone(), 1)]).range(&|atom| match atom {
                Atom::Var(var) => Some((0, last(var)?)),
                _ => None,
            });
            let (low, high) = range?;
            footprint.low += low as i128 * *coefficient as i128 * self.size;
            footprint.add(*coefficient as i128 * self.size, (high - low) as i128 + 1);
        }
        for &(extent, stride) in loops {
            footprint.add(stride as i128 * self.size, extent.max(1) as i128);
        }
        Some(footprint)
    }
}

impl Footprint {
    fn add(&mut self, stride: i128, extent: i128) {
        if stride < 0 {
            self.low += stride * (extent - 1);
        }
        if stride != 0 && extent > 1 {
            self.terms.push((stride.abs(), extent));
        }
    }
}

/// Whether a kernel may run with `write` lying on top of `read`: every element of `read` is loaded only at the index
/// where `write` is stored, in the same innermost iteration, before it.
pub fn in_place(kernel: &Kernel, read: usize, write: usize) -> bool {
    let mut found = InPlace { read, write, index: None, stored: false, fits: true };
    found.block(&kernel.body);
    found.fits
}

struct InPlace {
    read: usize,
    write: usize,
    index: Option<Index>,
    stored: bool,
    fits: bool,
}

impl InPlace {
    fn same(&mut self, index: &Index) {
        match &self.index {
            Some(known) => self.fits &= known == index,
            None => self.index = Some(index.clone()),
        }
    }

    fn block(&mut self, block: &[Stmt]) {
        for statement in walk(block) {
            match statement {
                Stmt::Let { expr: Expr::Load { param, index, .. }, .. } if *param == self.read => {
                    self.same(index);
                    self.fits &= !self.stored;
                }
                Stmt::Let { expr: Expr::Load { param, .. }, .. } if *param == self.write => self.fits = false,
                Stmt::Store { param, index, .. } if *param == self.write => {
                    self.same(index);
                    self.fits &= !self.stored;
                    self.stored = true;
                }
                Stmt::Store { param, .. } if *param == self.read => self.fits = false,
                Stmt::Tile(tile) => {
                    let params = [tile.a.param, tile.b.param, tile.c.param];
                    self.fits &= !params.contains(&self.read) && !params.contains(&self.write);
                }
                _ => {}
            }
        }
    }
}
