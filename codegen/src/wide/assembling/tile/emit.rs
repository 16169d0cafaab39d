//! A tile as code.

use brolga_ir::DType;
use brolga_ir::program::Tile;

use super::super::instructions::{Asm, Instructions};
use super::emission::{Emission, Epilogue};
use crate::portable::merge_loops;
use crate::wide::types::epilogue::SumOp;
use crate::wide::types::machine::{Isa, Machine, is_whole};
use crate::wide::types::operands::Memory;

/// The vector that masks the last vector of a row, if one is needed.
pub(crate) fn mask(machine: Machine, tile: &Tile) -> Option<Vec<u32>> {
    let rest = tile.n % machine.lanes;
    let lane = |lane| if lane < rest { u32::MAX } else { 0 };
    (machine.isa == Isa::Avx2 && rest > 0 && !is_whole(rest)).then(|| (0..machine.lanes).map(lane).collect())
}

/// Emits a tile that `fits`, whose panels' addresses are in `rdi`, `rsi` and `rdx`, and whose B holds elements of type
/// `stored`; `mask` is where the mask lies.
pub(crate) fn emit(
    a: &mut Instructions,
    machine: Machine,
    (tile, stored): (&Tile, DType),
    mask: Option<Memory>,
    epilogue: Option<Epilogue<'_>>,
) -> Asm {
    let mut words: Vec<(usize, i64, bool)> = Vec::new();
    for stream in epilogue.iter().flat_map(|epilogue| epilogue.ops).filter_map(SumOp::stream) {
        match words.iter_mut().find(|word| word.0 == stream.word) {
            Some(word) => word.2 |= stream.columns,
            None => words.push((stream.word, stream.row, stream.columns)),
        }
    }
    let loops = &merge_loops(&tile.reduce);
    Emission { a, machine, tile, stored, loops, ahead: 0, epilogue, words }.tile(mask)
}
