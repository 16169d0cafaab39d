//! Tensors at the border of compiled code: element types, aligned memory, owned and borrowed tensors.

pub(crate) mod dtype;
pub(crate) mod memory;
pub mod samples;
pub(crate) mod tensor;
