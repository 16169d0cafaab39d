//! The batch-reduce matrix multiply: one chain of fused multiply-adds for each element of C.

use super::Error;
use super::code::{Code, TileCode};
use super::execute::Binding;
use super::memory::Memory;
use crate::program::{Panel, Tile};
use crate::scalar::Scalar;
use crate::types::DType;

/// The row of C in the making, kept between tiles.
#[derive(Default)]
pub struct Row {
    f32: Vec<f32>,
    f64: Vec<f64>,
}

/// Runs a tile after checking that all of it lies inside its parameters.
pub fn execute(
    code: &TileCode,
    kernel: &Code,
    bindings: &[Binding],
    vars: &[i64],
    values: &[Scalar],
    memory: &mut Memory,
    row: &mut Row,
) -> Result<(), Error> {
    let tile = &code.tile;
    let [a, b, c] = [&code.a, &code.b, &code.c].map(|address| address.evaluate(vars, values));
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
        Place { space: binding.space, start: binding.start as i64, element }
    });
    match tile.dtype {
        DType::F32 => dispatch::<f32>(tile, places, memory, &mut row.f32),
        DType::F64 => dispatch::<f64>(tile, places, memory, &mut row.f64),
        other => return Err(Error::new(format!("tile of {other}: expected f32 or f64"))),
    }
    Ok(())
}

/// The bytes of an element are `start + (element + …) * size` of the space.
#[derive(Clone, Copy)]
struct Place {
    space: usize,
    start: i64,
    element: i64,
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
            fn fma(self, b: Self, c: Self) -> Self {
                self.mul_add(b, c)
            }
        }
    };
}
float!(f32, 4);
float!(f64, 8);

/// `mul_add` is one instruction where the function may use it, and a library call elsewhere: the same bits.
fn dispatch<T: Float>(tile: &Tile, places: [Place; 3], memory: &mut Memory, row: &mut Vec<T>) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("fma") {
        // SAFETY: `fma` is the only feature the function needs, and the line above has found it.
        return unsafe { with_fma(tile, places, memory, row) };
    }
    multiply(tile, places, memory, row);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "fma")]
fn with_fma<T: Float>(tile: &Tile, places: [Place; 3], memory: &mut Memory, row: &mut Vec<T>) {
    multiply(tile, places, memory, row);
}

/// Row by row of C: starts the chains, runs through the reduction loops in lexicographic order, stores.
#[inline(always)]
fn multiply<T: Float>(tile: &Tile, [a, b, c]: [Place; 3], memory: &mut Memory, row: &mut Vec<T>) {
    let at = |place: Place, offset: i64| (place.start + (place.element + offset) * T::SIZE as i64) as usize;
    let bytes = tile.n * T::SIZE;
    let (inner, outer) = match tile.reduce.split_last() {
        Some((last, outer)) => ((last.extent, last.a, last.b), outer),
        None => ((1, 0, 0), &[][..]),
    };
    let empty = tile.reduce.iter().any(|l| l.extent == 0);
    let mut counters = vec![0; outer.len()];
    for i in 0..tile.m as i64 {
        let c_start = at(c, i * tile.c.row);
        row.clear();
        if tile.zero {
            row.resize(tile.n, T::ZERO);
        } else {
            let old = &memory.bytes(c.space, c_start)[..bytes];
            row.extend(old.chunks_exact(T::SIZE).map(T::read));
        }
        counters.fill(0);
        let (mut a_outer, mut b_outer) = (i * tile.a.row, 0);
        let mut more = !empty;
        while more {
            for k in 0..inner.0 as i64 {
                let left = T::read(&memory.bytes(a.space, at(a, a_outer + k * inner.1))[..T::SIZE]);
                let right = &memory.bytes(b.space, at(b, b_outer + k * inner.2))[..bytes];
                for (sum, right) in row.iter_mut().zip(right.chunks_exact(T::SIZE)) {
                    *sum = left.fma(T::read(right), *sum);
                }
            }
            // The next point of the outer loops, the last one fastest.
            more = false;
            for (counter, l) in counters.iter_mut().zip(outer).rev() {
                *counter += 1;
                a_outer += l.a;
                b_outer += l.b;
                if *counter < l.extent as i64 {
                    more = true;
                    break;
                }
                a_outer -= *counter * l.a;
                b_outer -= *counter * l.b;
                *counter = 0;
            }
        }
        let target = &mut memory.bytes_mut(c.space, c_start)[..bytes];
        for (sum, out) in row.iter().zip(target.chunks_exact_mut(T::SIZE)) {
            sum.write(out);
        }
    }
}
