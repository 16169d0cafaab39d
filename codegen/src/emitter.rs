//! What emitters differ in: strips and tiles. Everything around them is the same Cranelift IR.

use brolga_ir::index::Var;
use brolga_ir::program::{Stmt, Tile};

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

/// Emits the two statements in which kernels spend their time.
pub(crate) trait Emitter: Sync {
    /// Emits a strip.
    fn strip(&self, cx: &mut KernelCx<'_>, var: Var, extent: usize, body: &[Stmt]);

    /// Emits a tile.
    fn tile(&self, cx: &mut KernelCx<'_>, tile: &Tile);
}

/// Cranelift IR with 128-bit vectors, for every target.
pub(crate) struct Portable;

impl Emitter for Portable {
    fn strip(&self, cx: &mut KernelCx<'_>, var: Var, extent: usize, body: &[Stmt]) {
        cx.portable_strip(var, extent, body);
    }

    fn tile(&self, cx: &mut KernelCx<'_>, tile: &Tile) {
        cx.portable_tile(tile);
    }
}
