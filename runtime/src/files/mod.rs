//! Files of tensors: safetensors and NumPy's; weights and states in them; how files appear whole or not at all.

pub(crate) mod atomic;
pub(crate) mod checksum;
pub(crate) mod convert;
pub(crate) mod json;
pub(crate) mod lock;
pub(crate) mod npz;
pub(crate) mod record;
pub(crate) mod safetensors;
pub(crate) mod weights;
pub(crate) mod zip;
