//! The wide emitter: leaf functions for x86-64 with 256-bit vectors, assembled directly.
//!
//! A strip or tile that it has code for becomes a call of a leaf; what it has none for is left to the portable
//! emitter, statement by statement. The bits are the same. (An emitter for AVX-512 would be a second
//! implementation of [`Emitter`] beside [`Avx2`], chosen in `target.rs`.)

mod allocate;
mod assemble;
mod lanes;
mod strip;
mod tile;

use brolga_ir::index::Var;
use brolga_ir::program::{Stmt, Tile};

use crate::emitter::Emitter;
use crate::portable::KernelCx;

/// AVX2 and FMA.
pub(crate) struct Avx2;

impl Emitter for Avx2 {
    fn strip(&self, cx: &mut KernelCx<'_>, var: Var, extent: usize, body: &[Stmt]) {
        if extent == 0 {
            return;
        }
        let rest = cx.hoist(var, extent, body);
        let done = match strip::wide_strip(cx, var, extent, &rest) {
            Some(strip) => {
                let covered = strip.covered;
                strip.call(cx);
                covered
            }
            None => 0,
        };
        cx.portable_rest(var, extent, &rest, done);
    }

    fn tile(&self, cx: &mut KernelCx<'_>, tile: &Tile) {
        match tile::leaf(tile) {
            Some(leaf) => {
                let args = [&tile.a, &tile.b, &tile.c].map(|panel| cx.tile_base(panel));
                cx.call_leaf(leaf, &args);
            }
            None => cx.portable_tile(tile),
        }
    }
}
