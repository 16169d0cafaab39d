//! Lane code: what a leaf computes, as a list of machine operations over vectors, with loops around them.
//!
//! A value is a vector of 32-bit lanes, as many as the machine has; what they mean is up to the operation (`f32`, `i32`,
//! masks of all ones or zeros, bytes widened to 32 bits, `bf16` as the `f32` of the same number). Inside a strip they
//! are as many iterations, outside they are all equal.
//! [`Lanes`] is written by statements and by the elementary functions (`writing`), given registers by
//! `assembling/allocate.rs` and assembled by `assembling/assemble.rs`.
//!
//! Example: `strip i in 0..20 { y[i] = max(x[i] + b, 0) }` with a `b` from outside is
//!
//! ```text
//! v0 = Uniform(word of b)    v1 = Constant(0)
//! Strip(20)
//!   v2 = Load(x)    v3 = Addps(v2, v0)    v4 = Maxps(v3, v1)    Store(y, v4)
//! End
//! ```

use brolga_ir::DType;
use rustc_hash::FxHashMap;

use super::machine::Machine;
use super::operations::{Binary, Unary};
use super::tile::PlacedTile;

/// Columns of a matrix that are loaded or stored together.
pub(crate) const TOGETHER: usize = 4;

/// A value of a leaf, by its number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub(crate) struct Lane(pub u32);

/// How a value comes to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Define {
    /// The same 32 bits in all lanes.
    Constant(u32),
    /// 0, 1, 2, … times a factor.
    Ramp(i32),
    /// The low 32 bits of a word of the table in all lanes.
    Uniform(usize),
    /// The number of the first iteration of the chunk in all lanes.
    First,
    Unary(Unary, Lane),
    Binary(Binary, Lane, Lane),
    /// `a * b + c`
    Fma(Lane, Lane, Lane),
    /// `mask ? a : b`
    Select(Lane, Lane, Lane),
    /// From memory, where the guard holds.
    Load(Elements, Option<Lane>),
    /// Lanes of an accumulator in the caller's memory: the word with its address, and which part.
    LoadSums(usize, usize),
}

/// Elements in memory that a load or store touches, one for each iteration of the strip (outside of strips, one): iteration
/// `i` has the one at `word + offset + (i * stride + index[i]) * bytes of an element`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Elements {
    /// The word that holds the address of iteration 0 of the strip.
    pub word: usize,
    /// Bytes from there.
    pub offset: i32,
    /// Elements between iterations of the strip.
    pub stride: i32,
    /// What an element is.
    pub dtype: DType,
    /// Elements to add in each lane: indices that are not linear in the iteration.
    pub index: Option<Lane>,
}

impl Elements {
    /// Whether it has elements of 32 bits that lie some stride apart.
    pub fn is_strided(&self) -> bool {
        !matches!(self.stride, 0 | 1) && self.index.is_none() && self.dtype.size() == 4
    }
}

/// An instruction of lane code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Inst {
    Define(Lane, Define),
    /// Neighbouring columns of a matrix from memory: the place of the first one, and the values.
    LoadColumns {
        place: Elements,
        to: [Lane; TOGETHER],
    },
    StoreColumns {
        place: Elements,
        from: [Lane; TOGETHER],
    },
    /// Changes a value that was defined before: an accumulator.
    Assign(Lane, Lane),
    Store(Elements, Lane),
    StoreSums(usize, usize, Lane),
    /// Sets a word to another one plus a number of elements, equal in all lanes, of that many bytes.
    Point {
        to: usize,
        from: usize,
        by: Lane,
        size: usize,
    },
    /// Begins a loop: a position in [`Lanes::loops`].
    Loop(usize),
    /// Begins a strip of that many iterations.
    Strip(usize),
    /// Ends the innermost loop or strip.
    End,
    /// A tile: a position in [`Lanes::tiles`].
    Tile(usize),
}

impl Inst {
    /// Whether it begins or ends a loop or a strip, or is a tile: nothing moves across it.
    pub fn is_border(&self) -> bool {
        matches!(self, Inst::Loop(_) | Inst::Strip(_) | Inst::End | Inst::Tile(_))
    }
}

/// The lane code of a leaf.
#[derive(Debug)]
pub(crate) struct Lanes {
    pub machine: Machine,
    pub insts: Vec<Inst>,
    /// Number of values.
    pub count: u32,
    /// Iterations of each loop.
    pub loops: Vec<usize>,
    pub tiles: Vec<PlacedTile>,
    /// Accumulators of 32 lanes, each a value that stands for its parts, which are values of a vector: chunk `i` of a strip
    /// adds to part `i mod 4` with AVX2, whose vectors have 8 lanes, to part `i mod 2` with AVX-512.
    pub sums: FxHashMap<Lane, Vec<Lane>>,
}

impl Lanes {
    pub fn new(machine: Machine) -> Lanes {
        Lanes {
            machine,
            insts: Vec::new(),
            count: 0,
            loops: Vec::new(),
            tiles: Vec::new(),
            sums: FxHashMap::default(),
        }
    }

    /// A value that nothing defines yet.
    pub fn fresh(&mut self) -> Lane {
        self.count += 1;
        Lane(self.count - 1)
    }

    pub fn define(&mut self, define: Define) -> Lane {
        let lane = self.fresh();
        self.insts.push(Inst::Define(lane, define));
        lane
    }

    /// A value that stands for one of several.
    pub fn sum(&mut self, parts: Vec<Lane>) -> Lane {
        let lane = self.fresh();
        self.sums.insert(lane, parts);
        lane
    }

    pub fn constant(&mut self, bits: u32) -> Lane {
        self.define(Define::Constant(bits))
    }

    pub fn binary(&mut self, op: Binary, a: Lane, b: Lane) -> Lane {
        self.define(Define::Binary(op, a, b))
    }

    pub fn unary(&mut self, op: Unary, a: Lane) -> Lane {
        self.define(Define::Unary(op, a))
    }
}
