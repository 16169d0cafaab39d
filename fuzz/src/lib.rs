//! What the fuzz targets do, as plain functions, and what makes their inputs: the tests of the workspace call the same
//! (`tests/hostile.rs`), since the targets themselves need a compiler with coverage.
//!
//! - [`models`]: random small models over all layers, functions and settings of the language.
//! - [`checked`]: programs that anybody may have written, against the interpreter.
//! - [`mutate`]: texts and bytes a little wrong: integers exchanged for hostile ones, pieces cut, copied, flipped.
//! - [`repair`]: containers whose checksums fit again, shared with the tests of `runtime`.
//! - [`targets`]: one function for each target; it panics where the library does something wrong.

pub mod checked;
pub mod models;
pub mod mutate;
#[path = "../../runtime/tests/common/repair.rs"]
pub mod repair;
pub mod targets;
#[path = "../../tests/common/values.rs"]
pub mod values;
