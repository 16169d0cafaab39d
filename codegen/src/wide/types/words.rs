//! The table of words that a leaf gets: addresses, integers and values that are equal in all lanes.
//!
//! A word that depends on loop variables of the leaf holds what it is in their first iterations; the leaf moves it from
//! iteration to iteration. Example: in a loop `j` of 10 iterations around a strip over `x[20*j + i]`, one word has the address of
//! `x[0]`, and the stride (j, 80 bytes).

use brolga_ir::index::Index;
use brolga_ir::program::{AccId, ValueId};

/// What a word of the table holds at first.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Start {
    /// Address of an element of a parameter.
    Pointer(usize, Index),
    /// A value from outside.
    Value(ValueId),
    /// An index, or the part of one that is equal in all lanes.
    Index(Index),
    /// Address of an accumulator.
    Sums(AccId),
    /// Nothing: the leaf sets it.
    Unset,
}

/// A word of the table.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Word {
    pub start: Start,
    /// What each iteration of a loop adds: (loop, amount).
    pub strides: Vec<(usize, i64)>,
}
