//! Two perfectly nested loops as one: the index arithmetic.

use brolga_ir::index::{Atom, Index, Var};
use brolga_ir::program::Stmt;
use brolga_ir::program::walk::{map_indices, walk};

/// Whether every index depends on `outer` and `inner` only through `outer * extent + inner`.
pub(super) fn is_linear(block: &[Stmt], outer: Var, inner: Var, extent: i64) -> bool {
    walk(block).flat_map(Stmt::indices).all(|index| {
        index.coefficient(outer) == index.coefficient(inner) * extent
            && !index.is_nonlinear_in(outer)
            && !index.is_nonlinear_in(inner)
    })
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
