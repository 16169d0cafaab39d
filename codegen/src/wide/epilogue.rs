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

use super::lanes::Binary;
use super::nest::Writer;

/// The most addresses that have a register.
pub(super) const MOST_WORDS: usize = 7;

/// The elements of a parameter that belong to those of the tile.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Stream {
    /// The word of the table that holds the address of the first one, and bytes to add.
    pub word: usize,
    pub offset: i32,
    /// Bytes from row to row.
    pub row: i64,
    /// Whether columns lie side by side; else they share an element.
    pub columns: bool,
}

/// The other operand of an operation on a sum.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Operand {
    /// The bits in all lanes.
    Constant(u32),
    Stream(Stream),
}

/// One step of the chain.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Step {
    /// The sum with another operand, which is the first one if `turned`.
    Binary { op: Binary, operand: Operand, turned: bool },
    /// The sum, or the one form of NaN if it is any.
    OneNan,
    /// To where the tile's sums go.
    StoreSum,
    /// To somewhere else.
    Store(Stream),
}

impl Step {
    /// What it reads or writes beside the sum.
    pub fn stream(&self) -> Option<&Stream> {
        match self {
            Step::Binary { operand: Operand::Stream(stream), .. } | Step::Store(stream) => Some(stream),
            _ => None,
        }
    }
}

/// A statement behind a tile, while it is read as a chain.
struct Reader<'r, 'a, 'k> {
    writer: &'r mut Writer<'a, 'k>,
    tile: &'r Tile,
    row: Var,
    column: Var,
    /// The value that the sum is at the moment.
    sum: Option<ValueId>,
    operands: Vec<(ValueId, Operand)>,
    loaded: Vec<usize>,
    stored: Vec<usize>,
    steps: Vec<Step>,
}

/// The steps that do to a tile's sums what `next`, the statement behind it, does; `None` if there are none.
pub(super) fn read(writer: &mut Writer<'_, '_>, tile: &Tile, next: &Stmt) -> Option<Vec<Step>> {
    let Stmt::For { var: row, extent: rows, body } = next else { return None };
    let [Stmt::Strip { var: column, extent: columns, body }] = body.as_slice() else { return None };
    if (*rows, *columns) != (tile.m, tile.n) || !super::tile::fits(tile) {
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
        steps: Vec::new(),
    };
    body.iter().try_for_each(|stmt| reader.stmt(stmt))?;
    let Reader { loaded, stored, mut steps, .. } = reader;
    if loaded.iter().any(|param| stored.contains(param)) {
        return None;
    }
    if !steps.contains(&Step::StoreSum) {
        let one = writer.cx.outputs[tile.c.param].then_some(Step::OneNan);
        steps.splice(0..0, one.into_iter().chain([Step::StoreSum]));
    }
    let mut words: Vec<(usize, i64)> =
        steps.iter().filter_map(Step::stream).map(|stream| (stream.word, stream.row)).collect();
    words.sort_unstable();
    words.dedup();
    // Each word moves in one way.
    let once = words.windows(2).all(|pair| pair[0].0 != pair[1].0);
    (once && words.len() <= MOST_WORDS).then_some(steps)
}

impl Reader<'_, '_, '_> {
    fn stmt(&mut self, stmt: &Stmt) -> Option<()> {
        match stmt {
            Stmt::Let { id, dtype: DType::F32, expr: Expr::Load { param, index, guard: None } } => {
                if *param == self.tile.c.param {
                    let first = self.sum.is_none() && self.steps.is_empty() && self.is_sum(index);
                    self.sum = first.then_some(*id);
                    return self.sum.map(|_| ());
                }
                let stream = self.stream(*param, index)?;
                self.loaded.push(*param);
                self.operands.push((*id, Operand::Stream(stream)));
            }
            Stmt::Let { id, dtype: DType::F32, expr: Expr::Op(op, args) } => {
                let op = match op {
                    ScalarOp::Add => Binary::Addps,
                    ScalarOp::Sub => Binary::Subps,
                    ScalarOp::Mul => Binary::Mulps,
                    ScalarOp::Max => Binary::Maxps,
                    ScalarOp::Min => Binary::Minps,
                    _ => return None,
                };
                let &[a, b] = args.as_slice() else { return None };
                let turned = Some(b) == self.sum;
                let other = match (Some(a) == self.sum, turned) {
                    (true, false) => b,
                    (false, true) => a,
                    _ => return None,
                };
                let operand = self.operand(other)?;
                self.steps.push(Step::Binary { op, operand, turned });
                self.sum = Some(*id);
            }
            Stmt::Store { param, index, value } if Some(*value) == self.sum => {
                if *param != self.tile.c.param {
                    let stream = self.stream(*param, index).filter(|stream| stream.columns)?;
                    self.stored.push(*param);
                    self.one_nan(*param);
                    self.steps.push(Step::Store(stream));
                } else if self.is_sum(index) && !self.steps.contains(&Step::StoreSum) {
                    self.one_nan(*param);
                    self.steps.push(Step::StoreSum);
                } else {
                    return None;
                }
            }
            _ => return None,
        }
        Some(())
    }

    /// What is stored to an output has one form of NaN.
    fn one_nan(&mut self, param: usize) {
        if self.writer.cx.outputs[param] {
            self.steps.push(Step::OneNan);
        }
    }

    fn operand(&self, id: ValueId) -> Option<Operand> {
        if let Some((_, operand)) = self.operands.iter().find(|entry| entry.0 == id) {
            return Some(operand.clone());
        }
        if let Some(known) = self.writer.values.get(&id) {
            return self.writer.constant(known.lane).map(Operand::Constant);
        }
        match self.writer.cx.constants.get(&id)? {
            Scalar::F32(value) => Some(Operand::Constant(value.to_bits())),
            _ => None,
        }
    }

    /// What an index is at the first element, and its steps along rows and columns.
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
