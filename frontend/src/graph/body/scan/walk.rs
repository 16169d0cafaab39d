//! The loop that is being built, while its body is run and behind it.

use super::way::Way;
use crate::graph::value::Tensor;
use crate::model::tree::ScanStep;
use crate::source::Span;

/// The loop that is being built, for what is done behind its body.
pub(super) struct Walk<'s> {
    pub step: &'s ScanStep,
    /// What it goes over; nothing for a mistake.
    pub way: Option<Way>,
    /// Its name, empty if it has none, and its path.
    pub name: &'s str,
    pub path: String,
    /// The position of a step, `i32[]`.
    pub position: Option<Tensor>,
    /// Its number among all loops.
    pub number: u32,
    /// How many loops there are around what is named in it.
    pub level: usize,
    pub span: Span,
}
