//! What a kernel costs, as far as its statements tell.

use brolga_ir::program::{Expr, Stmt};
use brolga_ir::scalar::ScalarOp;

/// Elements of a strip per vector operation, for the estimate.
const WIDTH: u64 = 8;

/// An estimate of the work of a block, in vector operations.
pub(crate) fn cost(block: &[Stmt]) -> u64 {
    let of = |statement: &Stmt| match statement {
        Stmt::For { extent, body, .. } => *extent as u64 * cost(body).max(1),
        Stmt::Strip { extent, body, .. } => (*extent as u64).div_ceil(WIDTH) * cost(body).max(1),
        Stmt::If { then, otherwise, .. } => cost(then).max(cost(otherwise)),
        Stmt::Let { expr: Expr::Op(ScalarOp::Function(_), _), .. } => 12,
        Stmt::Let { expr: Expr::Op(ScalarOp::Div | ScalarOp::Rem | ScalarOp::Sqrt, _), .. } => 4,
        Stmt::Tile(tile) => {
            let steps: u64 = tile.reduce.iter().map(|l| l.extent as u64).product();
            tile.m as u64 * (tile.n as u64).div_ceil(WIDTH) * steps
        }
        _ => 1,
    };
    block.iter().map(of).fold(0, u64::saturating_add)
}
