//! Whether iterations of a loop touch different memory.

use brolga_ir::index::{Atom, Index, Var};
use brolga_ir::program::walk::walk;
use brolga_ir::program::{AccId, Expr, Stmt};
use rustc_hash::FxHashMap;

/// An access: the elements `index + i * row + j` for `i < rows`, `j < columns`.
#[derive(Clone, PartialEq)]
pub(crate) struct Site {
    index: Index,
    row: i64,
    rows: usize,
    columns: usize,
}

/// Whether iterations of a loop over `var` touch different elements of everything that the loop writes.
pub(crate) fn independent(var: Var, extent: usize, body: &[Stmt], extents: &FxHashMap<Var, usize>) -> bool {
    independent_in(var, extent, body, extents, &|_| true)
}

/// The same of some parameters.
pub(crate) fn independent_in(
    var: Var,
    extent: usize,
    body: &[Stmt],
    extents: &FxHashMap<Var, usize>,
    of: &dyn Fn(usize) -> bool,
) -> bool {
    let mut written: FxHashMap<usize, Vec<Site>> = FxHashMap::default();
    let mut read: FxHashMap<usize, Vec<Site>> = FxHashMap::default();
    if !sites(body, &mut written, &mut read) {
        return false;
    }
    written.into_iter().filter(|(param, _)| of(*param)).all(|(param, mut all)| {
        all.extend(read.remove(&param).unwrap_or_default());
        all.dedup();
        slices(var, extent, &all, extents) || (all.len() == 1 && injective(var, extent, &all[0], extents))
    })
}

/// Gathers accesses; false if the block cannot run in parallel (it accumulates into what is declared outside).
pub(crate) fn sites(
    block: &[Stmt],
    written: &mut FxHashMap<usize, Vec<Site>>,
    read: &mut FxHashMap<usize, Vec<Site>>,
) -> bool {
    let mut declared: Vec<AccId> = Vec::new();
    let single = |index: &Index| Site { index: index.clone(), row: 0, rows: 1, columns: 1 };
    walk(block).all(|statement| match statement {
        Stmt::Let { expr: Expr::Load { param, index, .. }, .. } => {
            read.entry(*param).or_default().push(single(index));
            true
        }
        Stmt::Store { param, index, .. } => {
            written.entry(*param).or_default().push(single(index));
            true
        }
        Stmt::Tile(tile) => {
            let c = Site { index: tile.c.index.clone(), row: tile.c.row, rows: tile.m, columns: tile.n };
            written.entry(tile.c.param).or_default().push(c);
            // Operands of a tile are never what it writes.
            tile.a.param != tile.c.param && tile.b.param != tile.c.param
        }
        Stmt::Declare { acc, .. } => {
            declared.push(*acc);
            true
        }
        Stmt::Accumulate { acc, .. } => declared.contains(acc),
        _ => true,
    })
}

/// The bounds of what a site touches beside the contribution of `var`.
pub(crate) fn rest_range(var: Var, site: &Site, extents: &FxHashMap<Var, usize>) -> Option<(i64, i64)> {
    let rest = site.index.substitute(&|atom| (*atom == Atom::Var(var)).then(Index::default), &|_| None);
    let (low, high) = rest.range(&|atom| match atom {
        Atom::Var(v) => extents.get(v).map(|&n| (0, n.max(1) as i64 - 1)),
        _ => None,
    })?;
    let down = (site.rows as i64 - 1) * site.row;
    Some((low + down.min(0), high + down.max(0) + site.columns as i64 - 1))
}

/// Whether all sites lie in one slice of the parameter that moves on with `var`.
pub(crate) fn slices(var: Var, extent: usize, all: &[Site], extents: &FxHashMap<Var, usize>) -> bool {
    let step = all[0].index.coefficient(var);
    let mut bounds: Option<(i64, i64)> = None;
    for site in all {
        if site.index.coefficient(var) != step || site.index.is_nonlinear_in(var) {
            return false;
        }
        let Some((low, high)) = rest_range(var, site, extents) else { return false };
        bounds = Some(bounds.map_or((low, high), |(l, h)| (l.min(low), h.max(high))));
    }
    extent <= 1 || bounds.is_some_and(|(low, high)| step != 0 && high - low < step.abs())
}

/// Whether the elements that a site touches tell `var`: the strides of all that its index is made of are a mixed radix. A
/// remainder is a digit as well, whatever it is of: rows at computed indices do not matter to who writes which columns.
fn injective(var: Var, extent: usize, site: &Site, extents: &FxHashMap<Var, usize>) -> bool {
    let mut digits: Vec<(i64, usize)> = vec![(site.row.abs(), site.rows), (1, site.columns)];
    for (atom, coefficient) in site.index.terms() {
        let n = match atom {
            Atom::Var(v) if *v == var => extent,
            Atom::Var(v) => extents.get(v).copied().unwrap_or(usize::MAX),
            Atom::Rem(_, divisor) => *divisor as usize,
            Atom::Div(..) | Atom::Value(_) => return false,
        };
        digits.push((coefficient.abs(), n));
    }
    digits.retain(|&(_, n)| n > 1);
    digits.sort_unstable();
    let mut reach: i64 = 0;
    let mixed = digits.iter().all(|&(stride, n)| {
        let fits = stride > reach;
        reach = reach.saturating_add(stride.saturating_mul(n as i64 - 1));
        fits
    });
    mixed && (extent <= 1 || site.index.coefficient(var) != 0)
}
