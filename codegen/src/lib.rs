//! Machine code for a kernel program: portable and wide emitters, JIT and object back ends.
