//! Leaf functions: machine code that an emitter has made by itself, beside what Cranelift compiles.

/// A function in machine code: it calls nothing, touches only the memory its arguments lead to, and keeps the
/// registers that the calling convention says are kept.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Leaf {
    /// A name for people: `tile_f32_64x32`.
    pub name: String,
    /// Its instructions, followed by its constants; independent of its address.
    pub code: Vec<u8>,
}

impl Leaf {
    /// What its address is a multiple of: a cache line, which is also the largest vector.
    pub const ALIGNMENT: usize = 64;
}
