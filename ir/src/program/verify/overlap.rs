//! Whether arguments of one call overlap.
//!
//! Two arguments whose bytes do not meet at all are the common case. Where they do (two parts of a concatenation,
//! interleaved in one buffer), the accesses of the kernel decide: each is `low + Σ stride * i`, and two of them are
//! apart if, for one stride, what the other strides cover stays in different places modulo that stride.

use std::collections::HashMap;
use std::ops::Range;

use crate::index::{Atom, Index, Var};
use crate::program::{Access, Arg, BufferId, Expr, Kernel, Panel, Place, Program, Stmt};
use crate::types::DType;

/// Memory whose bytes are numbered together.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Space {
    /// The planned arena.
    Arena,
    /// The planned prepared memory.
    Prepared,
    /// A buffer on its own.
    Buffer(BufferId),
}

/// The bytes of a buffer.
pub fn bytes(program: &Program, id: BufferId) -> (Space, Range<usize>) {
    let buffer = &program.buffers[id.0 as usize];
    let (space, start) = match buffer.place {
        Place::Arena(Some(offset)) => (Space::Arena, offset),
        Place::Prepared(Some(offset)) => (Space::Prepared, offset),
        _ => (Space::Buffer(id), 0),
    };
    (space, start..start + buffer.ty.bytes())
}

/// An argument in bytes.
pub struct Region<'p> {
    arg: &'p Arg,
    space: Space,
    start: i128,
    element: DType,
}

impl<'p> Region<'p> {
    /// Where an argument begins in the first iteration of the loops around its call.
    pub fn new(program: &Program, arg: &'p Arg, element: DType) -> Region<'p> {
        let (space, range) = bytes(program, arg.buffer);
        Region { arg, space, start: (range.start + arg.offset * element.size()) as i128, element }
    }

    fn stride(&self, loop_: usize) -> i128 {
        self.arg.strides.get(loop_).map_or(0, |&s| s as i128 * self.element.size() as i128)
    }
}

/// Checks every pair of arguments of which at least one is written, in every iteration of the loops around.
pub fn verify(kernel: &Kernel, regions: &[Region<'_>], loops: &[usize]) -> Result<(), String> {
    for (j, q) in regions.iter().enumerate() {
        for (i, p) in regions[..j].iter().enumerate() {
            let read = |i: usize| kernel.params[i].access == Access::Read;
            if p.space != q.space || read(i) && read(j) {
                continue;
            }
            let updated = |i: usize| read(i) && !is_factor(&kernel.body, i);
            let in_place = || p.element == q.element && (updated(i) || updated(j));
            let apart = |distance: i128| {
                distance == 0 && in_place() || disjoint(kernel, (i, p.element), (j, q.element), distance)
            };
            if !distances(p, q, loops).into_iter().all(apart) {
                return Err(format!(
                    "p{i} ({}) and p{j} ({}) overlap and are no update in place (same first byte, one only read, \
                     by no tile)",
                    p.arg, q.arg
                ));
            }
        }
    }
    Ok(())
}

/// Whether a tile reads the parameter.
fn is_factor(block: &[Stmt], param: usize) -> bool {
    block.iter().any(|statement| match statement {
        Stmt::For { body, .. } | Stmt::Strip { body, .. } => is_factor(body, param),
        Stmt::If { then, otherwise, .. } => is_factor(then, param) || is_factor(otherwise, param),
        Stmt::Tile(tile) => [tile.a.param, tile.b.param].contains(&param),
        _ => false,
    })
}

/// Most iterations of loops in which two arguments move differently that are looked at; the first ones.
const MAX_ITERATIONS: usize = 1 << 12;

/// Bytes from the start of `p` to that of `q`, in the iterations of the loops.
fn distances(p: &Region<'_>, q: &Region<'_>, loops: &[usize]) -> Vec<i128> {
    let mut distances = vec![q.start - p.start];
    for (l, &extent) in loops.iter().enumerate() {
        let step = q.stride(l) - p.stride(l);
        if step != 0 {
            let steps = 0..extent.max(1) as i128;
            let all = steps.flat_map(|t| distances.iter().map(move |d| d + t * step));
            distances = all.take(MAX_ITERATIONS).collect();
        }
    }
    distances
}

/// Whether two parameters do not meet where the second begins `distance` bytes after the first.
fn disjoint(kernel: &Kernel, p: (usize, DType), q: (usize, DType), distance: i128) -> bool {
    let bytes = |(param, dtype): (usize, DType)| kernel.params[param].len as i128 * dtype.size() as i128;
    if distance >= bytes(p) || -distance >= bytes(q) {
        return true;
    }
    let (Some(p), Some(q)) = (accesses(kernel, p), accesses(kernel, q)) else { return false };
    p.iter().all(|p| q.iter().all(|q| p.is_apart(q, distance)))
}

/// The bytes `low + Σ stride * i .. + size`, `i < extent`, all strides positive.
struct Footprint {
    low: i128,
    terms: Vec<(i128, i128)>,
    size: i128,
}

impl Footprint {
    /// The bytes that all terms but those of multiples of `modulus` cover: first and number.
    fn within(&self, modulus: i128) -> (i128, i128) {
        let others = self.terms.iter().filter(|(stride, _)| stride % modulus != 0);
        (self.low, others.map(|(stride, extent)| stride * (extent - 1)).sum::<i128>() + self.size)
    }

    fn is_apart(&self, other: &Footprint, distance: i128) -> bool {
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

/// All accesses to a parameter; `None` where one is at a computed index.
fn accesses(kernel: &Kernel, (param, dtype): (usize, DType)) -> Option<Vec<Footprint>> {
    let vars = kernel.grid.iter().enumerate().map(|(var, &extent)| (var as Var, extent)).collect();
    let mut collector = Collector { param, size: dtype.size() as i128, vars, found: Some(Vec::new()) };
    collector.block(&kernel.body);
    collector.found
}

struct Collector {
    param: usize,
    size: i128,
    vars: HashMap<Var, usize>,
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
