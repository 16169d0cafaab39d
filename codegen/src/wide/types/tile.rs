//! Matrix tiles: which ones there is code for, and one with the places of its panels.

use brolga_ir::DType;
use brolga_ir::program::{Tile, TileLoop};

use super::epilogue::SumOp;
use crate::limits::MOST_LOOPS;
use crate::portable::merge_loops;

/// Bytes of an element.
pub(crate) const SIZE: i64 = 4;

/// A tile, and the words with bytes to add that say where its panels lie.
#[derive(Debug)]
pub(crate) struct PlacedTile {
    pub tile: Tile,
    /// What B holds: `bf16` is widened as it is loaded.
    pub stored: DType,
    pub panels: [(usize, i32); 3],
    /// What is done to its sums before they are stored.
    pub epilogue: Option<Vec<SumOp>>,
}

/// Whether there is code for a tile: it is of f32, not empty, and strides fit an instruction.
pub(crate) fn fits(tile: &Tile) -> bool {
    let loops = merge_loops(&tile.reduce);
    let empty = tile.m == 0 || tile.n == 0 || loops.iter().any(|l| l.extent == 0);
    tile.dtype == DType::F32 && !empty && loops.len() <= MOST_LOOPS && small(tile, &loops)
}

/// A name for people.
pub(crate) fn name(tile: &Tile) -> String {
    let reduce: usize = tile.reduce.iter().map(|l| l.extent).product();
    format!("tile_f32_{}x{}x{reduce}", tile.m, tile.n)
}

/// Whether all distances that occur fit the 32 bits of displacements and immediates.
fn small(tile: &Tile, loops: &[TileLoop]) -> bool {
    let reach = |extent: usize, stride: i64| (extent as i64).saturating_mul(stride.saturating_abs());
    let a = loops.iter().map(|l| reach(l.extent, l.a)).fold(reach(tile.m, tile.a.row), i64::saturating_add);
    let b = loops.iter().map(|l| reach(l.extent, l.b)).fold(tile.n as i64, i64::saturating_add);
    let c = reach(tile.m, tile.c.row).saturating_add(tile.n as i64);
    a.max(b).max(c) < (i32::MAX as i64) / (2 * SIZE)
}
