//! What is done to a tile's sums while they are in registers: a chain of operations.

use super::operations::Binary;

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
pub(crate) enum OtherOperand {
    /// The bits in all lanes.
    Constant(u32),
    Stream(Stream),
}

/// One operation of the chain.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum SumOp {
    /// The sum with another operand, which is the first one if `turned`.
    Binary { op: Binary, operand: OtherOperand, turned: bool },
    /// The sum, or the one form of NaN if it is any.
    OneNan,
    /// To where the tile's sums go.
    StoreSum,
    /// To somewhere else.
    Store(Stream),
}

impl SumOp {
    /// What it reads or writes beside the sum.
    pub fn stream(&self) -> Option<&Stream> {
        match self {
            SumOp::Binary { operand: OtherOperand::Stream(stream), .. } | SumOp::Store(stream) => {
                Some(stream)
            }
            _ => None,
        }
    }
}
