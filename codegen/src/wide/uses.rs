//! What statements hold, and which of them need what others define.

use brolga_ir::index::{Atom, Index};
use brolga_ir::program::{AccId, Expr, Stmt, ValueId};

/// Whether there is a strip or a tile in it.
pub(super) fn has_vectors(stmt: &Stmt) -> bool {
    match stmt {
        Stmt::Strip { extent, .. } => *extent > 0,
        Stmt::Tile(_) => true,
        Stmt::For { extent, body, .. } => *extent > 0 && body.iter().any(has_vectors),
        _ => false,
    }
}

/// Whether a later statement needs what `stmt` defines.
pub(super) fn escapes(stmt: &Stmt, later: &[Stmt]) -> bool {
    match stmt {
        Stmt::Let { id, .. } | Stmt::Finish { id, .. } => later.iter().any(|s| uses_value(s, *id)),
        Stmt::Declare { acc, .. } => later.iter().any(|s| uses_acc(s, *acc)),
        _ => false,
    }
}

fn uses_value(stmt: &Stmt, id: ValueId) -> bool {
    let indexed = |index: &Index| {
        let mut found = false;
        index.visit(&mut |atom| found |= *atom == Atom::Value(id.0));
        found
    };
    match stmt {
        Stmt::For { body, .. } | Stmt::Strip { body, .. } => body.iter().any(|s| uses_value(s, id)),
        Stmt::If { condition, then, otherwise } => {
            *condition == id || then.iter().chain(otherwise).any(|s| uses_value(s, id))
        }
        Stmt::Let { expr, .. } => match expr {
            Expr::Constant(_) => false,
            Expr::Index(index) => indexed(index),
            Expr::Op(_, args) => args.contains(&id),
            Expr::Load { index, guard, .. } => indexed(index) || *guard == Some(id),
        },
        Stmt::Store { index, value, .. } => *value == id || indexed(index),
        Stmt::Accumulate { value, .. } => *value == id,
        Stmt::Declare { .. } | Stmt::Finish { .. } => false,
        Stmt::Tile(tile) => [&tile.a, &tile.b, &tile.c].iter().any(|panel| indexed(&panel.index)),
    }
}

fn uses_acc(stmt: &Stmt, id: AccId) -> bool {
    match stmt {
        Stmt::For { body, .. } | Stmt::Strip { body, .. } => body.iter().any(|s| uses_acc(s, id)),
        Stmt::If { then, otherwise, .. } => then.iter().chain(otherwise).any(|s| uses_acc(s, id)),
        Stmt::Accumulate { acc, .. } | Stmt::Finish { acc, .. } => *acc == id,
        _ => false,
    }
}
