//! What a library for walking the stack gives, without that library: this program ends where it panics, so nothing is unwound,
//! and it needs no other library than that of C.
//!
//! The standard library refers to these functions, but calls one of them at most: to show where a panic was, which then shows no
//! frames. What would read the names of functions from the program is not reached then, and is left out: most of the standard
//! library's code.

use std::ffi::{c_int, c_void};

/// The end of the stack is reached: the answer where there is nothing to walk.
const END_OF_STACK: c_int = 5;

/// What is called for each frame.
type Trace = extern "C" fn(*mut c_void, *mut c_void) -> c_int;

#[unsafe(no_mangle)]
extern "C" fn _Unwind_Backtrace(_trace: Trace, _data: *mut c_void) -> c_int {
    END_OF_STACK
}

macro_rules! never_called {
    ($($name:ident)*) => { $(
        #[unsafe(no_mangle)]
        extern "C" fn $name() -> ! {
            std::process::abort()
        }
    )* };
}

never_called!(
    _Unwind_DeleteException _Unwind_FindEnclosingFunction _Unwind_GetCFA _Unwind_GetDataRelBase _Unwind_GetGR _Unwind_GetIP
    _Unwind_GetIPInfo _Unwind_GetLanguageSpecificData _Unwind_GetRegionStart _Unwind_GetTextRelBase _Unwind_RaiseException
    _Unwind_Resume _Unwind_SetGR _Unwind_SetIP
);
