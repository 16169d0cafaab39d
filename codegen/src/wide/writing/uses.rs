//! What statements hold, and which of them need what others define.

use brolga_ir::index::Atom;
use brolga_ir::program::walk::walk;
use brolga_ir::program::{Expr, Stmt, ValueId};

/// Whether there is a strip or a tile in it.
pub(crate) fn has_vectors(stmt: &Stmt) -> bool {
    match stmt {
        Stmt::Strip { extent, .. } => *extent > 0,
        Stmt::Tile(_) => true,
        Stmt::For { extent, body, .. } => *extent > 0 && body.iter().any(has_vectors),
        _ => false,
    }
}

/// Whether a later statement needs what `stmt` defines.
pub(crate) fn escapes(stmt: &Stmt, later: &[Stmt]) -> bool {
    match stmt {
        Stmt::Let { id, .. } | Stmt::Finish { id, .. } => walk(later).any(|s| uses_value(s, *id)),
        Stmt::Declare { acc: id, .. } => walk(later)
            .any(|s| matches!(s, Stmt::Accumulate { acc, .. } | Stmt::Finish { acc, .. } if acc == id)),
        _ => false,
    }
}

/// Whether the statement itself, not those inside it, uses a value.
fn uses_value(stmt: &Stmt, id: ValueId) -> bool {
    let direct = match stmt {
        Stmt::If { condition: value, .. } | Stmt::Store { value, .. } | Stmt::Accumulate { value, .. } => {
            *value == id
        }
        Stmt::Let { expr: Expr::Op(_, args), .. } => args.contains(&id),
        Stmt::Let { expr: Expr::Load { guard, .. }, .. } => *guard == Some(id),
        _ => false,
    };
    let mut indexed = false;
    stmt.indices().for_each(|index| index.visit(&mut |atom| indexed |= *atom == Atom::Value(id.0)));
    direct || indexed
}
