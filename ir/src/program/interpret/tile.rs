//! The batch-reduce matrix multiply: one chain of fused multiply-adds for each element of C.

use half::bf16;

use super::code::{Code, TileCode};
use super::error::Error;
use super::memory::{Binding, Memory};
use crate::program::{Panel, Tile};
use crate::types::DType;

/// Working memory, kept between tiles.
#[derive(Default)]
pub struct Scratch {
    f32: Workspace<f32>,
    f64: Workspace<f64>,
}

/// C in the making, row-major without gaps, and one row of B.
#[derive(Default)]
struct Workspace<T> {
    c: Vec<T>,
    b: Vec<T>,
}

/// Runs a tile, whose panels begin at these elements, after checking that all of it lies inside its parameters.
pub fn execute(
    code: &TileCode,
    [a, b, c]: [i64; 3],
    kernel: &Code,
    bindings: &[Binding],
    memory: &mut Memory,
    scratch: &mut Scratch,
) -> Result<(), Error> {
    let tile = &code.tile;
    if tile.m == 0 || tile.n == 0 {
        return Ok(());
    }
    let rows = (tile.m, tile.c.row);
    let columns = (tile.n, 1);
    check(kernel, "C", &tile.c, c, [rows, columns])?;
    if tile.reduce.iter().all(|l| l.extent > 0) {
        let rows = (tile.m, tile.a.row);
        check(
            kernel,
            "A",
            &tile.a,
            a,
            std::iter::once(rows).chain(tile.reduce.iter().map(|l| (l.extent, l.a))),
        )?;
        check(
            kernel,
            "B",
            &tile.b,
            b,
            std::iter::once(columns).chain(tile.reduce.iter().map(|l| (l.extent, l.b))),
        )?;
    }
    let places = [(a, &tile.a), (b, &tile.b), (c, &tile.c)].map(|(element, panel)| {
        let binding = bindings[panel.param];
        let size = kernel.params[panel.param].dtype.size();
        Place { space: binding.space, start: binding.start as i64, element, size }
    });
    match tile.dtype {
        DType::F32 => dispatch::<f32>(tile, places, memory, &mut scratch.f32),
        DType::F64 => dispatch::<f64>(tile, places, memory, &mut scratch.f64),
        other => return Err(Error::new(format!("tile of {other}: expected f32 or f64"))),
    }
    Ok(())
}

/// The bytes of an element are `start + (element + …) * size` of the space. Elements of B that are smaller than
/// those of the tile are `bf16`.
#[derive(Clone, Copy)]
struct Place {
    space: usize,
    start: i64,
    element: i64,
    size: usize,
}

/// Whether `element + Σ i_l * stride_l`, `i_l < extent_l`, stays inside the parameter. No extent is zero.
fn check(
    kernel: &Code,
    what: &str,
    panel: &Panel,
    element: i64,
    loops: impl IntoIterator<Item = (usize, i64)>,
) -> Result<(), Error> {
    let (mut low, mut high) = (element as i128, element as i128);
    for (extent, stride) in loops {
        let span = (extent as i128 - 1) * stride as i128;
        low += span.min(0);
        high += span.max(0);
    }
    let len = kernel.params[panel.param].len;
    if low < 0 || high >= len as i128 {
        let message = format!("tile: {what} is p{}[{low}..={high}], which has {len} elements", panel.param);
        return Err(Error::new(message));
    }
    Ok(())
}

trait Float: Copy {
    const ZERO: Self;
    const SIZE: usize;
    fn read(bytes: &[u8]) -> Self;
    fn write(self, bytes: &mut [u8]);
    fn widen(narrow: bf16) -> Self;
    fn fma(self, b: Self, c: Self) -> Self;
}

macro_rules! float {
    ($ty:ty, $size:literal) => {
        impl Float for $ty {
            const ZERO: Self = 0.0;
            const SIZE: usize = $size;
            #[inline(always)]
            fn read(bytes: &[u8]) -> Self {
                let mut element = [0; $size];
                element.copy_from_slice(bytes);
                <$ty>::from_ne_bytes(element)
            }
            #[inline(always)]
            fn write(self, bytes: &mut [u8]) {
                bytes.copy_from_slice(&self.to_ne_bytes());
            }
            #[inline(always)]
            fn widen(narrow: bf16) -> Self {
                <$ty>::from(narrow)
            }
            #[inline(always)]
            fn fma(self, b: Self, c: Self) -> Self {
                self.mul_add(b, c)
            }
        }
    };
}
float!(f32, 4);
float!(f64, 8);

/// `mul_add` is one instruction where the function may use it, and a library call elsewhere: the same bits.
fn dispatch<T: Float>(tile: &Tile, places: [Place; 3], memory: &mut Memory, work: &mut Workspace<T>) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("fma") {
        // SAFETY: `fma` is the only feature the function needs, and the line above has found it.
        return unsafe { with_fma(tile, places, memory, work) };
    }
    multiply(tile, places, memory, work);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "fma")]
fn with_fma<T: Float>(tile: &Tile, places: [Place; 3], memory: &mut Memory, work: &mut Workspace<T>) {
    multiply(tile, places, memory, work);
}

/// Starts the chains, runs through the reduction loops in lexicographic order, stores. Each row of B is decoded once
/// for all rows of C.
#[inline(always)]
fn multiply<T: Float>(tile: &Tile, [a, b, c]: [Place; 3], memory: &mut Memory, work: &mut Workspace<T>) {
    let at =
        |place: Place, offset: i64| (place.start + (place.element + offset) * place.size as i64) as usize;
    let bytes = tile.n * T::SIZE;
    let Workspace { c: sums, b: right } = work;
    sums.clear();
    sums.resize(tile.m * tile.n, T::ZERO);
    right.clear();
    right.resize(tile.n, T::ZERO);
    if !tile.zero {
        for (i, row) in sums.chunks_exact_mut(tile.n).enumerate() {
            decode_row(&memory.bytes(c.space, at(c, i as i64 * tile.c.row))[..bytes], row);
        }
    }

    let mut counters = vec![0; tile.reduce.len()];
    let (mut a_offset, mut b_offset) = (0, 0);
    let mut more = tile.reduce.iter().all(|l| l.extent > 0);
    while more {
        let row = &memory.bytes(b.space, at(b, b_offset))[..tile.n * b.size];
        if b.size == T::SIZE {
            decode_row(row, right);
        } else {
            for (value, bytes) in right.iter_mut().zip(row.chunks_exact(b.size)) {
                *value = T::widen(bf16::from_ne_bytes([bytes[0], bytes[1]]));
            }
        }
        for (i, row) in sums.chunks_exact_mut(tile.n).enumerate() {
            let left = at(a, a_offset + i as i64 * tile.a.row);
            let left = T::read(&memory.bytes(a.space, left)[..T::SIZE]);
            for (sum, right) in row.iter_mut().zip(right.iter()) {
                *sum = left.fma(*right, *sum);
            }
        }
        // The next point of the reduction loops, the last one fastest.
        more = false;
        for (counter, l) in counters.iter_mut().zip(&tile.reduce).rev() {
            *counter += 1;
            if *counter < l.extent as i64 {
                a_offset += l.a;
                b_offset += l.b;
                more = true;
                break;
            }
            a_offset -= (*counter - 1) * l.a;
            b_offset -= (*counter - 1) * l.b;
            *counter = 0;
        }
    }

    for (i, row) in sums.chunks_exact(tile.n).enumerate() {
        let start = at(c, i as i64 * tile.c.row);
        let target = &mut memory.bytes_mut(c.space, start)[..bytes];
        for (sum, out) in row.iter().zip(target.chunks_exact_mut(T::SIZE)) {
            sum.write(out);
        }
    }
}

#[inline(always)]
fn decode_row<T: Float>(bytes: &[u8], row: &mut [T]) {
    for (value, bytes) in row.iter_mut().zip(bytes.chunks_exact(T::SIZE)) {
        *value = T::read(bytes);
    }
}
