//! What stands for the standard library's list of calls at a panic: nothing.
//!
//! This program shows no frames (`unwind.rs`). But the library's code that would find their names in the program is reached from
//! where panics are told, and is most of all that a small program has of the library: 250 KB. The linker takes this function
//! in its place (`../src/lib.rs`).

use std::ffi::c_void;
use std::fmt;

/// Has the types of `<DisplayBacktrace as Display>::fmt`, which is in no interface.
#[unsafe(no_mangle)]
fn brolga_no_backtrace(_backtrace: &c_void, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
    Ok(())
}
