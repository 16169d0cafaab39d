//! A kernel as one loop behind values.

use brolga_ir::index::{Atom, Index, Var};
use brolga_ir::program::walk::{extents, map_indices, walk, walk_mut};
use brolga_ir::program::{Expr, Kernel, Stmt};

use crate::program::parallelise::{in_blocks, unlift};

/// So many divisions in the indices of a statement count as another one.
const DIVISIONS: usize = 8;

/// One loop that stands for a kernel, behind values that are the same in every iteration.
pub(super) struct Nest {
    pub values: Vec<Stmt>,
    pub var: Var,
    pub body: Vec<Stmt>,
    /// Whether iterations are known to be independent.
    pub known: bool,
}

impl Nest {
    /// A kernel as a loop of so many iterations.
    pub fn of(kernel: &Kernel, points: usize) -> Option<Nest> {
        let mut kernel = kernel.clone();
        let known = !kernel.grid.is_empty();
        unlift(&mut kernel);
        let Stmt::For { var, extent, .. } = *kernel.body.last()? else { return None };
        let each = extent / points;
        if each > 1 {
            let inner = 1 + extents(&kernel.body).into_keys().max()?;
            in_blocks(&mut kernel, inner, each);
        }
        let last = kernel.body.pop()?;
        let body = match last {
            Stmt::For { body, .. } if each == 1 => body,
            inner => vec![inner],
        };
        Some(Nest { values: kernel.body, var, body, known })
    }

    /// Gives everything numbers behind those that are taken, and the loop the variable of the other one.
    pub fn renumber(&mut self, taken: &Numbers, var: Var) {
        let [vars, values, accs] = [taken.vars, taken.values, taken.accs];
        let own = self.var;
        let name = |known: Var| if known == own { var } else { known + vars };
        for block in [&mut self.values, &mut self.body] {
            let replace = |atom: &Atom| match atom {
                Atom::Var(known) => Some(Index::var(name(*known))),
                Atom::Value(value) => Some(Index::value(value + values)),
                _ => None,
            };
            map_indices(block, &mut |index| index.substitute(&replace, &|_| None));
            walk_mut(block, &mut |statement| match statement {
                Stmt::For { var, .. } | Stmt::Strip { var, .. } => *var = name(*var),
                Stmt::If { condition, .. } => condition.0 += values,
                Stmt::Let { id, expr, .. } => {
                    id.0 += values;
                    match expr {
                        Expr::Op(_, operands) => operands.iter_mut().for_each(|value| value.0 += values),
                        Expr::Load { guard, .. } => guard.iter_mut().for_each(|value| value.0 += values),
                        Expr::Constant(_) | Expr::Index(_) => {}
                    }
                }
                Stmt::Store { value, .. } => value.0 += values,
                Stmt::Declare { acc, .. } => acc.0 += accs,
                Stmt::Accumulate { acc, value } => (acc.0, value.0) = (acc.0 + accs, value.0 + values),
                Stmt::Finish { id, acc } => (id.0, acc.0) = (id.0 + values, acc.0 + accs),
                Stmt::Tile(_) => {}
            });
        }
        self.var = var;
    }
}

/// The first numbers that statements leave free.
#[derive(Default)]
pub(super) struct Numbers {
    vars: Var,
    values: u32,
    accs: u32,
}

impl Numbers {
    pub fn of(nest: &Nest) -> Numbers {
        let mut free = Numbers { vars: nest.var + 1, ..Numbers::default() };
        for statement in walk(&nest.values).chain(walk(&nest.body)) {
            match statement {
                Stmt::For { var, .. } | Stmt::Strip { var, .. } => free.vars = free.vars.max(var + 1),
                Stmt::Let { id, .. } | Stmt::Finish { id, .. } => free.values = free.values.max(id.0 + 1),
                Stmt::Declare { acc, .. } => free.accs = free.accs.max(acc.0 + 1),
                _ => {}
            }
        }
        free
    }
}

/// The extent of the loop that a kernel is.
pub(super) fn points(kernel: &Kernel) -> Option<usize> {
    match kernel.body.last() {
        _ if !kernel.grid.is_empty() => kernel.grid.first().copied(),
        Some(Stmt::For { extent, .. }) => Some(*extent),
        _ => None,
    }
}

/// Whether a kernel is a loop behind values, without products.
pub(super) fn is_plain(kernel: &Kernel) -> bool {
    let values = match kernel.body.split_last() {
        Some((_, values)) if kernel.grid.is_empty() => values,
        _ => &[],
    };
    let constant = |statement: &Stmt| match statement {
        Stmt::Let { expr, .. } => !matches!(expr, Expr::Load { .. }),
        _ => false,
    };
    values.iter().all(constant) && !walk(&kernel.body).any(|statement| matches!(statement, Stmt::Tile(_)))
}

/// How much there is to copy of a kernel, in statements.
pub(super) fn size(kernel: &Kernel) -> usize {
    let of = |statement: &Stmt| {
        let mut divisions = 0;
        let mut count = |atom: &Atom| divisions += usize::from(matches!(atom, Atom::Div(..) | Atom::Rem(..)));
        statement.indices().for_each(|index| index.visit(&mut count));
        1 + divisions / DIVISIONS
    };
    walk(&kernel.body).map(of).sum()
}
