//! Going through the statements of a block, and through what one statement touches.

use super::{Expr, Stmt};
use crate::index::{Index, Var};
use rustc_hash::FxHashMap;

/// Every statement of a block and of the blocks inside, in the order of the text.
pub fn walk(block: &[Stmt]) -> impl Iterator<Item = &Stmt> {
    let mut open = vec![block.iter()];
    std::iter::from_fn(move || {
        loop {
            let Some(statement) = open.last_mut()?.next() else {
                open.pop();
                continue;
            };
            let [first, second] = statement.blocks();
            open.extend([second, first].into_iter().filter(|block| !block.is_empty()).map(<[Stmt]>::iter));
            return Some(statement);
        }
    })
}

/// Applies `f` to every statement of a block, then to those in the blocks inside what it has become.
pub fn walk_mut(block: &mut [Stmt], f: &mut impl FnMut(&mut Stmt)) {
    for statement in block {
        f(statement);
        statement.blocks_mut().into_iter().for_each(|block| walk_mut(block, f));
    }
}

/// The extent of every loop variable of a block.
pub fn extents(block: &[Stmt]) -> FxHashMap<Var, usize> {
    let extent = |statement: &Stmt| match statement {
        Stmt::For { var, extent, .. } | Stmt::Strip { var, extent, .. } => Some((*var, *extent)),
        _ => None,
    };
    walk(block).filter_map(extent).collect()
}

/// Replaces every index of a block.
pub fn map_indices(block: &mut [Stmt], f: &mut impl FnMut(&Index) -> Index) {
    walk_mut(block, &mut |statement| statement.indices_mut().for_each(|index| *index = f(index)));
}

impl Stmt {
    /// The blocks inside: that of a loop, or the two of a condition.
    pub fn blocks(&self) -> [&[Stmt]; 2] {
        match self {
            Stmt::For { body, .. } | Stmt::Strip { body, .. } => [body, &[]],
            Stmt::If { then, otherwise, .. } => [then, otherwise],
            _ => [&[], &[]],
        }
    }

    /// The same, to be changed.
    pub fn blocks_mut(&mut self) -> [&mut [Stmt]; 2] {
        match self {
            Stmt::For { body, .. } | Stmt::Strip { body, .. } => [body, &mut []],
            Stmt::If { then, otherwise, .. } => [then, otherwise],
            _ => [&mut [], &mut []],
        }
    }

    /// The indices that the statement itself, not those inside it, computes or accesses memory at.
    pub fn indices(&self) -> impl Iterator<Item = &Index> {
        let found = match self {
            Stmt::Let { expr: Expr::Index(index) | Expr::Load { index, .. }, .. }
            | Stmt::Store { index, .. } => [Some(index), None, None],
            Stmt::Tile(tile) => [&tile.a, &tile.b, &tile.c].map(|panel| Some(&panel.index)),
            _ => [None; 3],
        };
        found.into_iter().flatten()
    }

    /// The same, to be changed.
    pub fn indices_mut(&mut self) -> impl Iterator<Item = &mut Index> {
        let found = match self {
            Stmt::Let { expr: Expr::Index(index) | Expr::Load { index, .. }, .. }
            | Stmt::Store { index, .. } => [Some(index), None, None],
            Stmt::Tile(tile) => [&mut tile.a, &mut tile.b, &mut tile.c].map(|panel| Some(&mut panel.index)),
            _ => [None, None, None],
        };
        found.into_iter().flatten()
    }

    /// The parameters that the statement itself, not those inside it, accesses, and the elements: a tile's begin there.
    pub fn accesses(&self) -> impl Iterator<Item = (usize, &Index)> {
        let found = match self {
            Stmt::Let { expr: Expr::Load { param, index, .. }, .. } | Stmt::Store { param, index, .. } => {
                [Some((*param, index)), None, None]
            }
            Stmt::Tile(tile) => [&tile.a, &tile.b, &tile.c].map(|panel| Some((panel.param, &panel.index))),
            _ => [None; 3],
        };
        found.into_iter().flatten()
    }

    /// The parameters of its accesses, to be changed.
    pub fn params_mut(&mut self) -> impl Iterator<Item = &mut usize> {
        let found = match self {
            Stmt::Let { expr: Expr::Load { param, .. }, .. } | Stmt::Store { param, .. } => {
                [Some(param), None, None]
            }
            Stmt::Tile(tile) => [&mut tile.a, &mut tile.b, &mut tile.c].map(|panel| Some(&mut panel.param)),
            _ => [None, None, None],
        };
        found.into_iter().flatten()
    }
}
