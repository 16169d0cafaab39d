//! The text form of graphs: printing and reading.
//!
//! ```text
//! graph     = "graph" @name "(" (["state"] %name ":" type),* ")" "{" statement* return "}"
//! statement = %value,+ "=" operator %value,* ["{" (name ":" attribute),* "}"] [":" type,+] ["//" origin]
//! return    = "return" (%value "as" "name" | "state" %name "=" %value),*
//! type      = f32 "[" extent,* "]"
//! attribute = 3 | 0.5 | true | name | "text" | "[" attribute,* "]" | type elements | graph
//! ```
//!
//! Printing goes in the canonical order ([`Graph::order`](crate::Graph::order)) and numbers values in it, so equal
//! graphs print equally; dead nodes do not print. Reading accepts any names for values, and types may be left out;
//! where they stand they must be the inferred ones. Floats keep their bits. A comment behind a statement is its
//! origin's path; other comments are skipped.

mod parse;
mod print;

pub use parse::ParseErrors;
pub(crate) use print::Described;
