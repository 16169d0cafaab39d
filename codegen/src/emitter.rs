//! What emitters differ in: which statements become leaf functions. Everything else is the same Cranelift IR.

use brolga_ir::program::Stmt;

use crate::portable::KernelCx;

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

/// Emits the statements in which kernels spend their time.
pub(crate) trait Emitter: Sync {
    /// Emits as many of the leading statements of `body` as it has better code for than Cranelift; says how many.
    fn leading(&self, cx: &mut KernelCx<'_>, body: &[Stmt]) -> usize;
}

/// Cranelift IR with 128-bit vectors, for every target.
pub(crate) struct Portable;

impl Emitter for Portable {
    fn leading(&self, _: &mut KernelCx<'_>, _: &[Stmt]) -> usize {
        0
    }
}
