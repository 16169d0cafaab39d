//! Whether arguments of one call overlap.
//!
//! Two arguments whose bytes do not meet at all are the common case. Where they do (two parts of a concatenation,
//! interleaved in one buffer), the accesses of the kernel decide: see [`footprint`](crate::program::footprint).

use std::ops::Range;

use crate::program::footprint::{footprints, in_place};
use crate::program::walk::walk;
use crate::program::{Access, Arg, BufferId, Call, Kernel, Place, Program, Step, Stmt};
use crate::types::DType;

/// Memory whose bytes are numbered together.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Space {
    /// The planned arena.
    Arena,
    /// The planned prepared memory.
    Prepared,
    /// A buffer on its own.
    Buffer(BufferId),
}

/// The bytes of a buffer.
pub fn bytes(program: &Program, id: BufferId) -> (Space, Range<usize>) {
    let buffer = &program.buffers[id.0 as usize];
    let (space, start) = match buffer.place {
        Place::Arena(Some(offset)) => (Space::Arena, offset),
        Place::Prepared(Some(offset)) => (Space::Prepared, offset),
        _ => (Space::Buffer(id), 0),
    };
    (space, start..start + buffer.ty.bytes())
}

/// The bytes of an argument.
pub struct ByteSpan<'p> {
    arg: &'p Arg,
    space: Space,
    start: i128,
    element: DType,
}

impl<'p> ByteSpan<'p> {
    /// Where an argument begins in the first iteration of the loops around its call.
    pub fn new(program: &Program, arg: &'p Arg, element: DType) -> ByteSpan<'p> {
        let (space, range) = bytes(program, arg.buffer);
        ByteSpan { arg, space, start: (range.start + arg.offset * element.size()) as i128, element }
    }

    fn stride(&self, loop_: usize) -> i128 {
        self.arg.strides.get(loop_).map_or(0, |&s| s as i128 * self.element.size() as i128)
    }
}

/// Checks every pair of arguments of which at least one is written, in every iteration of the loops around.
pub fn verify(kernel: &Kernel, spans: &[ByteSpan<'_>], loops: &[usize]) -> Result<(), String> {
    for (j, q) in spans.iter().enumerate() {
        for (i, p) in spans[..j].iter().enumerate() {
            let read = |i: usize| kernel.params[i].access == Access::Read;
            if p.space != q.space || read(i) && read(j) {
                continue;
            }
            let updated = |i: usize| read(i) && !is_factor(&kernel.body, i);
            let in_place = || p.element == q.element && (updated(i) || updated(j));
            let apart = |distance: i128| {
                distance == 0 && in_place() || disjoint(kernel, (i, p.element), (j, q.element), distance)
            };
            if !distances(p, q, loops).into_iter().all(apart) {
                return Err(format!(
                    "p{i} ({}) and p{j} ({}) overlap and are no update in place (same first byte, one only read, \
                     by no tile)",
                    p.arg, q.arg
                ));
            }
        }
    }
    Ok(())
}

/// Takes out of `proven` the kernels of calls whose arguments overlap in a way that is not shown to keep the order of
/// iterations from mattering. The program has been verified; `loops` are the extents of the loops around the steps.
pub fn refute(program: &Program, steps: &[Step], loops: &mut Vec<usize>, proven: &mut [bool]) {
    for step in steps {
        match step {
            Step::Call(call) => {
                let number = call.kernel.0 as usize;
                proven[number] = proven[number] && is_ordered(program, &program.kernels[number], call, loops);
            }
            Step::Loop { extent, body } => {
                loops.push(*extent);
                refute(program, body, loops, proven);
                loops.pop();
            }
            Step::If { then, otherwise, .. } => {
                refute(program, then, loops, proven);
                refute(program, otherwise, loops, proven);
            }
            Step::Break { .. } => {}
        }
    }
}

/// Whether arguments of a call that overlap are an update in place, element by element, and all others are apart.
fn is_ordered(program: &Program, kernel: &Kernel, call: &Call, loops: &[usize]) -> bool {
    let pairs = call.args.iter().zip(kernel.arguments());
    let spans: Vec<ByteSpan<'_>> =
        pairs.map(|(arg, param)| ByteSpan::new(program, arg, param.dtype)).collect();
    let read = |i: usize| kernel.params[i].access == Access::Read;
    (0..spans.len()).all(|j| {
        (0..j).filter(|&i| spans[i].space == spans[j].space && !(read(i) && read(j))).all(|i| {
            let (p, q) = (&spans[i], &spans[j]);
            let found = distances(p, q, loops);
            let apart = |distance: &i128| disjoint(kernel, (i, p.element), (j, q.element), *distance);
            let (old, new) = if read(i) { (i, j) } else { (j, i) };
            let ordered = |distance: &i128| apart(distance) || *distance == 0 && in_place(kernel, old, new);
            found.len() < MAX_ITERATIONS && found.iter().all(ordered)
        })
    })
}

/// Whether a tile reads the parameter.
fn is_factor(block: &[Stmt], param: usize) -> bool {
    walk(block).any(
        |statement| matches!(statement, Stmt::Tile(tile) if [tile.a.param, tile.b.param].contains(&param)),
    )
}

/// Most iterations of loops in which two arguments move differently that are looked at; the first ones.
const MAX_ITERATIONS: usize = 1 << 12;

/// Bytes from the start of `p` to that of `q`, in the iterations of the loops.
fn distances(p: &ByteSpan<'_>, q: &ByteSpan<'_>, loops: &[usize]) -> Vec<i128> {
    let mut distances = vec![q.start - p.start];
    for (l, &extent) in loops.iter().enumerate() {
        let step = q.stride(l) - p.stride(l);
        if step != 0 {
            let steps = 0..extent.max(1) as i128;
            let all = steps.flat_map(|t| distances.iter().map(move |d| d + t * step));
            distances = all.take(MAX_ITERATIONS).collect();
        }
    }
    distances
}

/// Whether two parameters do not meet where the second begins `distance` bytes after the first.
fn disjoint(kernel: &Kernel, p: (usize, DType), q: (usize, DType), distance: i128) -> bool {
    let bytes = |(param, dtype): (usize, DType)| kernel.params[param].len as i128 * dtype.size() as i128;
    if distance >= bytes(p) || -distance >= bytes(q) {
        return true;
    }
    let (Some(p), Some(q)) = (footprints(kernel, p.0, p.1.size()), footprints(kernel, q.0, q.1.size()))
    else {
        return false;
    };
    p.iter().all(|p| q.iter().all(|q| p.is_apart(q, distance)))
}
