//! What is known while lane code is written.

use brolga_ir::DType;
use brolga_ir::index::{Index, Var};
use brolga_ir::program::{AccId, Combine, ValueId};
use brolga_ir::scalar::Scalar;
use rustc_hash::FxHashMap;

use crate::portable::KernelCx;
use crate::wide::types::lane_code::{Inst, Lane, Lanes};
use crate::wide::types::machine::Machine;
use crate::wide::types::words::{Start, Word};

/// A value inside the leaf.
#[derive(Clone, Copy)]
pub(crate) struct Known {
    pub lane: Lane,
    /// An `i64` has an `i32` in each lane, which is its value.
    pub dtype: DType,
    /// Whether it differs from iteration to iteration of the strip.
    pub varies: bool,
    /// Whether it is computed for each chunk of the strip.
    pub inside: bool,
}

/// An accumulator of the leaf.
#[derive(Clone, Copy)]
pub(crate) struct Sum {
    /// The value that it is; one of 32 lanes stands for its parts.
    pub lane: Lane,
    pub dtype: DType,
    pub combine: Combine,
    /// Whether each iteration of the strip has its own.
    pub inside: bool,
}

/// The strip that is being written.
pub(crate) struct Strip {
    pub var: Var,
    pub extent: usize,
    /// Loops opened before it.
    pub loops: usize,
    /// What runs before it.
    pub head: Vec<Inst>,
    /// Whether that is being written.
    pub in_head: bool,
    /// Values that hold words in all lanes, by word, as far as they are loaded before this strip.
    pub uniforms: FxHashMap<usize, Lane>,
    /// Words that are set before this strip: another word, what it is moved by, and the word that is set.
    pub points: Vec<(usize, Index, usize)>,
    /// Accumulators from outside of the leaf: their words and values.
    pub sums: FxHashMap<AccId, (usize, Sum)>,
    /// Whether something was stored.
    pub stored: bool,
}

/// What has been written of a leaf.
pub(crate) struct Writer<'a, 'k> {
    pub cx: &'a KernelCx<'k>,
    pub lanes: Lanes,
    /// What runs once, before everything in `lanes`.
    pub head: Vec<Inst>,
    /// The table.
    pub words: Vec<Word>,
    /// Values that hold words in all lanes, by word, as far as no loop of the leaf changes these.
    pub uniforms: FxHashMap<usize, Lane>,
    /// The values of the program that the leaf defines.
    pub values: FxHashMap<ValueId, Known>,
    pub accs: FxHashMap<AccId, Sum>,
    /// Serial loops around, outermost first: variable and number.
    pub loops: Vec<(Var, usize)>,
    /// What the variables are of loops that are written out.
    pub substitutes: FxHashMap<Var, Index>,
    /// What iterations of a loop around them strips are to run.
    pub columns: Option<ColumnLoop>,
    /// How many times the current statement is written: the product of the iterations of loops that are written out around it.
    pub copies: usize,
    /// Iterations of all loops met so far.
    pub extents: FxHashMap<Var, usize>,
    pub strip: Option<Strip>,
}

/// Iterations of a loop that strips inside of it run: what its variable is in the first of them, and how many.
pub(crate) struct ColumnLoop {
    pub var: Var,
    pub first: Index,
    pub count: usize,
}

impl Strip {
    /// Nothing of it is written; `loops` loops have been opened before it.
    pub fn new(var: Var, extent: usize, loops: usize) -> Strip {
        Strip {
            var,
            extent,
            loops,
            head: Vec::new(),
            in_head: false,
            uniforms: FxHashMap::default(),
            points: Vec::new(),
            sums: FxHashMap::default(),
            stored: false,
        }
    }
}

impl<'a, 'k> Writer<'a, 'k> {
    pub fn new(cx: &'a KernelCx<'k>, machine: Machine) -> Writer<'a, 'k> {
        Writer {
            cx,
            lanes: Lanes::new(machine),
            head: Vec::new(),
            words: Vec::new(),
            uniforms: FxHashMap::default(),
            values: FxHashMap::default(),
            accs: FxHashMap::default(),
            loops: Vec::new(),
            substitutes: FxHashMap::default(),
            columns: None,
            copies: 1,
            extents: FxHashMap::default(),
            strip: None,
        }
    }

    /// Has `f` write what runs before the strip.
    pub fn before<R>(&mut self, f: impl FnOnce(&mut Self) -> R) -> R {
        let Some(strip) = self.strip.as_mut().filter(|strip| !strip.in_head) else { return f(self) };
        strip.in_head = true;
        std::mem::swap(&mut strip.head, &mut self.lanes.insts);
        let result = f(self);
        if let Some(strip) = &mut self.strip {
            strip.in_head = false;
            std::mem::swap(&mut strip.head, &mut self.lanes.insts);
        }
        result
    }

    /// The number of a word of the leaf's table; equal ones are one.
    pub fn word(&mut self, word: Word) -> usize {
        let known = self.words.iter().position(|w| *w == word && w.start != Start::Unset);
        known.unwrap_or_else(|| {
            self.words.push(word);
            self.words.len() - 1
        })
    }
}

/// The bits of a constant in a lane.
pub(crate) fn lane_bits(scalar: Scalar) -> Option<u32> {
    match scalar {
        Scalar::Bf16(v) => Some(v.to_f32().to_bits()),
        Scalar::F32(v) => Some(v.to_bits()),
        Scalar::I32(v) => Some(v as u32),
        Scalar::Bool(v) => Some(if v { u32::MAX } else { 0 }),
        Scalar::U8(v) => Some(v as u32),
        Scalar::I64(v) => i32::try_from(v).ok().map(|v| v as u32),
        Scalar::F64(_) => None,
    }
}
