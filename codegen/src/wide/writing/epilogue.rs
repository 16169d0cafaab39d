//! What follows a tile, done to its sums while they are in registers.
//!
//! A tile is often followed by a loop over its rows with a strip over its columns, which loads what the tile has just
//! stored: a bias, a residual and an activation behind a convolution. Where that is a chain of operations whose other
//! operands are constants or come from memory, no register beside the sum is needed, and the block is neither stored
//! nor loaded in between. Everything else runs as it is written, behind the tile.

use brolga_ir::DType;
use brolga_ir::index::{Index, Var};
use brolga_ir::program::{Expr, Stmt, Tile, ValueId};
use brolga_ir::scalar::{Scalar, ScalarOp};

use super::writer::Writer;
use crate::limits::MOST_WORDS;
use crate::wide::types::epilogue::{OtherOperand, Stream, SumOp};
use crate::wide::types::operations::Binary;
use crate::wide::types::tile::fits;

/// A statement behind a tile, while it is read as a chain.
struct Reader<'r, 'a, 'k> {
    writer: &'r mut Writer<'a, 'k>,
    tile: &'r Tile,
    row: Var,
    column: Var,
    /// The value that the sum is at the moment.
    sum: Option<ValueId>,
    operands: Vec<(ValueId, OtherOperand)>,
    loaded: Vec<usize>,
    stored: Vec<usize>,
    ops: Vec<SumOp>,
}

/// The operations that do to a tile's sums what `next`, the statement behind it, does; `None` if there are none.
pub(crate) fn read(writer: &mut Writer<'_, '_>, tile: &Tile, next: &Stmt) -> Option<Vec<SumOp>> {
    let Stmt::For { var: row, extent: rows, body } = next else { return None };
    let [Stmt::Strip { var: column, extent: columns, body }] = body.as_slice() else { return None };
    if (*rows, *columns) != (tile.m, tile.n) || !fits(tile) {
        return None;
    }
    let mut reader = Reader {
        writer,
        tile,
        row: *row,
        column: *column,
        sum: None,
        operands: Vec::new(),
        loaded: Vec::new(),
        stored: Vec::new(),
        ops: Vec::new(),
    };
    body.iter().try_for_each(|stmt| reader.stmt(stmt))?;
    let Reader { loaded, stored, mut ops, .. } = reader;
    if loaded.iter().any(|param| stored.contains(param)) {
        return None;
    }
    if !ops.contains(&SumOp::StoreSum) {
        let one = writer.cx.outputs[tile.c.param].then_some(SumOp::OneNan);
        ops.splice(0..0, one.into_iter().chain([SumOp::StoreSum]));
    }
    let mut words: Vec<(usize, i64)> =
        ops.iter().filter_map(SumOp::stream).map(|stream| (stream.word, stream.row)).collect();
    words.sort_unstable();
    words.dedup();
    // Each word moves in one way.
    let once = words.windows(2).all(|pair| pair[0].0 != pair[1].0);
    (once && words.len() <= MOST_WORDS).then_some(ops)
}

impl Reader<'_, '_, '_> {
    fn stmt(&mut self, stmt: &Stmt) -> Option<()> {
        match stmt {
            Stmt::Let { id, dtype: DType::F32, expr: Expr::Load { param, index, guard: None } } => {
                if *param == self.tile.c.param {
                    let first = self.sum.is_none() && self.ops.is_empty() && self.is_sum(index);
                    self.sum = first.then_some(*id);
                    return self.sum.map(|_| ());
                }
                let stream = self.stream(*param, index)?;
                self.loaded.push(*param);
                self.operands.push((*id, OtherOperand::Stream(stream)));
            }
            Stmt::Let { id, dtype: DType::F32, expr: Expr::Op(op, args) } => {
                self.operation(*id, *op, args)?
            }
            Stmt::Store { param, index, value } if Some(*value) == self.sum => self.store(*param, index)?,
            _ => return None,
        }
        Some(())
    }

    /// An operation with the sum as one of its operands.
    fn operation(&mut self, id: ValueId, op: ScalarOp, args: &[ValueId]) -> Option<()> {
        let op = match op {
            ScalarOp::Add => Binary::Addps,
            ScalarOp::Sub => Binary::Subps,
            ScalarOp::Mul => Binary::Mulps,
            ScalarOp::Max => Binary::Maxps,
            ScalarOp::Min => Binary::Minps,
            _ => return None,
        };
        let &[a, b] = args else { return None };
        let turned = Some(b) == self.sum;
        let other = match (Some(a) == self.sum, turned) {
            (true, false) => b,
            (false, true) => a,
            _ => return None,
        };
        let operand = self.operand(other)?;
        self.ops.push(SumOp::Binary { op, operand, turned });
        self.sum = Some(id);
        Some(())
    }

    /// A store of the sum.
    fn store(&mut self, param: usize, index: &Index) -> Option<()> {
        if param != self.tile.c.param {
            let stream = self.stream(param, index).filter(|stream| stream.columns)?;
            self.stored.push(param);
            self.one_nan(param);
            self.ops.push(SumOp::Store(stream));
        } else if self.is_sum(index) && !self.ops.contains(&SumOp::StoreSum) {
            self.one_nan(param);
            self.ops.push(SumOp::StoreSum);
        } else {
            return None;
        }
        Some(())
    }

    /// What is stored to an output has one form of NaN.
    fn one_nan(&mut self, param: usize) {
        if self.writer.cx.outputs[param] {
            self.ops.push(SumOp::OneNan);
        }
    }

    fn operand(&self, id: ValueId) -> Option<OtherOperand> {
        if let Some((_, operand)) = self.operands.iter().find(|entry| entry.0 == id) {
            return Some(operand.clone());
        }
        if let Some(known) = self.writer.values.get(&id) {
            return self.writer.constant(known.lane).map(OtherOperand::Constant);
        }
        match self.writer.cx.constants.get(&id)? {
            Scalar::F32(value) => Some(OtherOperand::Constant(value.to_bits())),
            _ => None,
        }
    }

    /// What an index is at the first element, and how far it goes along rows and columns.
    fn cut(&self, index: &Index) -> Option<(Index, i64, i64)> {
        if index.is_nonlinear_in(self.row) || index.is_nonlinear_in(self.column) {
            return None;
        }
        let (row, column) = (index.coefficient(self.row), index.coefficient(self.column));
        let moved = Index::var(self.row).scale(row).add(&Index::var(self.column).scale(column));
        Some((index.sub(&moved), row, column))
    }

    /// Whether an index is that of the tile's element.
    fn is_sum(&self, index: &Index) -> bool {
        let c = &self.tile.c;
        self.cut(index) == Some((c.index.clone(), c.row, 1))
    }

    fn stream(&mut self, param: usize, index: &Index) -> Option<Stream> {
        let (first, row, column) = self.cut(index)?;
        if self.writer.cx.kernel.params[param].dtype != DType::F32 || !matches!(column, 0 | 1) {
            return None;
        }
        let place = self.writer.place(param, &first)?;
        let reach = row.checked_mul(self.tile.m as i64)?.checked_add(self.tile.n as i64)?;
        let small = i32::try_from(reach.checked_mul(8)?).is_ok() && place.index.is_none();
        let stream = Stream { word: place.word, offset: place.offset, row: 4 * row, columns: column == 1 };
        small.then_some(stream)
    }
}
