//! Definitions: what one element of an operator's result is, as an index map into the operands and a scalar
//! expression, with reduction axes where it reduces.
//!
//! Lowering composes definitions inside a fused region: the loads of a consumer are replaced by the expressions
//! of its producers. In a definition [`Index`] variables `0..rank` are the axes of the result, and variables from
//! `rank` on are reduction axes; values ([`crate::index::Atom::Value`]) are numbered by [`Element::Gathered`].

mod evaluate;

use std::sync::Arc;

use crate::index::Index;
use crate::program::Combine;
use crate::scalar::{Scalar, ScalarOp};
use crate::types::DType;

/// A scalar expression over the axes of a result.
#[derive(Clone, PartialEq, Debug)]
pub enum Element {
    /// The element of an operand at an index, one entry for each of the operand's axes.
    Operand(usize, Vec<Index>),
    /// A constant.
    Constant(Scalar),
    /// An index as an integer of the type (`i32` or `i64`), or rounded to a float.
    Index(Index, DType),
    /// An operation.
    Op(ScalarOp, Vec<Element>),
    /// `then` where every bound holds, else `otherwise`; only the chosen one is evaluated, so `then` may be
    /// undefined outside the bounds.
    Guard {
        /// Each index must lie in `0..extent`.
        bounds: Vec<(Index, usize)>,
        /// Inside.
        then: Box<Element>,
        /// Outside.
        otherwise: Box<Element>,
    },
    /// Binds integer scalars, usable inside `body` as index values `first, first + 1, …`: gathered indices.
    Gathered {
        /// The number of the first value.
        first: u32,
        /// The integers, each clamped to `0..extent`.
        values: Vec<(Element, usize)>,
        /// Where they are used.
        body: Box<Element>,
    },
    /// A part of an expression that stands in several places of it, and is looked at once.
    Shared(Arc<Element>),
}

impl Element {
    /// An operand at the result's own index (same extents).
    pub fn same(operand: usize, rank: usize) -> Element {
        Element::Operand(operand, (0..rank as u32).map(Index::var).collect())
    }
}

/// How a result is defined.
#[derive(Clone, PartialEq, Debug)]
pub enum Definition {
    /// Every element by one expression.
    Element(Element),
    /// The result is cut into boxes along the axes, each with an expression of its own in the result's axes; boxes
    /// cover the result and do not overlap (concatenation, padding).
    Pieces(Vec<Piece>),
    /// Every element combines an expression over reduction axes.
    Reduce {
        /// Extents of the reduction axes: variables `rank`, `rank + 1`, …
        extents: Vec<usize>,
        /// How values are combined.
        combine: Combine,
        /// In which order (part of the numeric plan).
        order: Order,
        /// What is combined. A [`Element::Guard`] at the root skips the points outside its bounds.
        value: Element,
    },
    /// The operator brings loops of its own: contraction, sort, scatter, regions.
    Loops,
}

/// A box of a result.
#[derive(Clone, PartialEq, Debug)]
pub struct Piece {
    /// First element along each axis.
    pub start: Vec<usize>,
    /// Extents.
    pub extents: Vec<usize>,
    /// The expression, over the result's own axes (not relative to the box).
    pub value: Element,
}

/// The order in which a reduction combines.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// One chain in row-major order of the reduction axes, from the first value.
    Chain,
    /// As `passes::lower` says: lanes and blocks, by the number of elements that are reduced.
    Plan,
}
