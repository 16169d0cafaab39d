//! Loops: a body is built once, for one step, and becomes the region of a `scan`.
//!
//! While a loop is open ([`open`]), what differs from step to step is a *placeholder*: a parameter that the graph has for the time
//! being. There is one for this step of each sequence, and one for what each carry was before. Everything else is built as it is
//! anywhere. When the loop is closed ([`recording`]), what depends on its placeholders moves into the region ([`outline`]), and
//! takes along what computes nothing, such as constants and repetitions. All the rest stays where it is: it is computed once,
//! before the loop, and the region captures it.
//!
//! ```text
//! Scan(body: [Carry("h", "zeros([2, 4])"), Expr("tanh(it @ w + prev.h)"), As("h")])     x is f32[2, 9, 3]
//!
//! it      a placeholder, f32[2, 3]: a slice of x with the steps in front
//! prev.h  a placeholder, f32[2, 4]: a carry that starts from zeros
//! w       of the graph around: captured
//! ```
//!
//! The nodes on placeholders stay in the graph around and are dead there; `entry` removes what is dead, and before that the results
//! and carries of loops that nothing uses ([`shrink`]): so a loop may offer every value that has a name in it.

mod open;
mod outline;
mod recording;
mod rows;
mod shrink;

pub(crate) use open::{Ended, Loops, NamedCarry, Next};
pub(crate) use recording::Behind;
pub(crate) use shrink::shrink;

/// Marks the names of placeholders: `#h`. No input of a model has it in front of its name.
const PLACEHOLDER: char = '#';
