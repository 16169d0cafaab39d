//! What a call only copies, in runs.

use brolga_ir::program::footprint::Footprint;
use brolga_ir::program::{Arg, BufferId, Expr, Stmt};

/// Copies of one call that belong together: `rows` runs of `columns` elements.
pub(super) struct Piece {
    pub(super) from: Runs,
    pub(super) to: Runs,
    pub(super) rows: usize,
    pub(super) columns: usize,
    /// The statements of the kernel that make them.
    pub(super) statements: Vec<usize>,
}

/// Runs in a buffer: where the first begins, and how far apart they are.
#[derive(Clone, Copy)]
pub(super) struct Runs {
    pub(super) buffer: BufferId,
    pub(super) first: i64,
    pub(super) stride: i64,
}

impl Piece {
    /// What it fills.
    pub(super) fn region(&self) -> Footprint {
        Footprint::rows(self.to.first, self.rows, self.to.stride, self.columns)
    }
}

/// The runs that a statement copies, if it does nothing else: one or two loops around a load and a store of it.
pub(super) fn copied(stmt: &Stmt, args: &[Arg], statement: usize) -> Option<Piece> {
    let mut loops = Vec::new();
    let mut block = std::slice::from_ref(stmt);
    while let [Stmt::For { var, extent, body }] = block {
        loops.push((*var, *extent));
        block = body;
    }
    let [
        Stmt::Let { id, expr: Expr::Load { param: read, index: from, guard: None }, .. },
        Stmt::Store { param: write, index: to, value },
    ] = block
    else {
        return None;
    };
    let affine = [from, to].iter().all(|index| {
        let of_loops = index
            .terms()
            .iter()
            .filter(|(atom, _)| loops.iter().any(|(var, _)| *atom == brolga_ir::index::Atom::Var(*var)));
        of_loops.count() == index.terms().len()
    });
    // Local parameters have no argument.
    let (source, target) = (args.get(*read)?, args.get(*write)?);
    if !affine || id != value || source.strides.len() + target.strides.len() > 0 {
        return None;
    }
    let strides = |var| (from.coefficient(var), to.coefficient(var));
    let (rows, columns, between) = match *loops.as_slice() {
        [(var, extent)] if strides(var) == (1, 1) => (1, extent, (0, 0)),
        [(var, extent)] => (extent, 1, strides(var)),
        [(row, rows), (column, columns)] if strides(column) == (1, 1) => (rows, columns, strides(row)),
        _ => return None,
    };
    // Runs that overlap are no part of anything; and of single elements, contiguous loops would become scattered ones.
    if rows * columns == 0 || (rows > 1 && (between.1 < columns as i64 || columns == 1)) {
        return None;
    }
    let runs = |arg: &Arg, offset: i64, stride| Runs {
        buffer: arg.buffer,
        first: arg.offset as i64 + offset,
        stride,
    };
    let (from, to) = (runs(source, from.offset(), between.0), runs(target, to.offset(), between.1));
    Some(Piece { from, to, rows, columns, statements: vec![statement] })
}
