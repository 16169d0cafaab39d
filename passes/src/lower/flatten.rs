//! Two perfectly nested loops as one: the index arithmetic.

use brolga_ir::index::{Atom, Index, Var};
use brolga_ir::program::{Expr, Stmt, Tile};

/// Applies `f` to every index of a block.
pub(super) fn for_each_index(block: &[Stmt], f: &mut impl FnMut(&Index)) {
    for statement in block {
        match statement {
            Stmt::For { body, .. } | Stmt::Strip { body, .. } => for_each_index(body, f),
            Stmt::If { then, otherwise, .. } => {
                for_each_index(then, f);
                for_each_index(otherwise, f);
            }
            Stmt::Let { expr: Expr::Index(index) | Expr::Load { index, .. }, .. } => f(index),
            Stmt::Store { index, .. } => f(index),
            Stmt::Tile(Tile { a, b, c, .. }) => [a, b, c].into_iter().for_each(|panel| f(&panel.index)),
            Stmt::Let { .. } | Stmt::Declare { .. } | Stmt::Accumulate { .. } | Stmt::Finish { .. } => {}
        }
    }
}

/// Replaces every index of a block.
pub(crate) fn map_indices(block: &mut [Stmt], f: &mut impl FnMut(&Index) -> Index) {
    for statement in block {
        match statement {
            Stmt::For { body, .. } | Stmt::Strip { body, .. } => map_indices(body, f),
            Stmt::If { then, otherwise, .. } => {
                map_indices(then, f);
                map_indices(otherwise, f);
            }
            Stmt::Let { expr: Expr::Index(index) | Expr::Load { index, .. }, .. } => *index = f(index),
            Stmt::Store { index, .. } => *index = f(index),
            Stmt::Tile(Tile { a, b, c, .. }) => {
                [a, b, c].into_iter().for_each(|panel| panel.index = f(&panel.index))
            }
            Stmt::Let { .. } | Stmt::Declare { .. } | Stmt::Accumulate { .. } | Stmt::Finish { .. } => {}
        }
    }
}

/// Whether every index depends on `outer` and `inner` only through `outer * extent + inner`.
pub(super) fn is_linear(block: &[Stmt], outer: Var, inner: Var, extent: i64) -> bool {
    let mut linear = true;
    for_each_index(block, &mut |index| {
        linear &= index.coefficient(outer) == index.coefficient(inner) * extent
            && !index.is_nonlinear_in(outer)
            && !index.is_nonlinear_in(inner);
    });
    linear
}

/// Takes `outer` out of every index: the merged loop's variable counts for both (or `outer` is always 0).
pub(super) fn drop_variable(block: &mut [Stmt], outer: Var) {
    map_indices(block, &mut |index| {
        if !index.mentions(outer) {
            return index.clone();
        }
        let replace = |atom: &Atom| (*atom == Atom::Var(outer)).then(Index::default);
        index.substitute(&replace, &|_| None)
    });
}
