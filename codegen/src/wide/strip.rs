//! Strips as wide leaf functions: from statements to lane code, and the call.
//!
//! `leaf(words)` gets a table of words that the kernel fills: addresses that do not depend on the strip's variable,
//! values that are equal in all lanes, and accumulators in memory.

use std::collections::HashMap;

use brolga_ir::DType;
use brolga_ir::index::{Atom, Index, Var};
use brolga_ir::program::{AccId, Combine, Expr, Stmt, ValueId};
use brolga_ir::scalar::Scalar;
use cranelift::codegen::ir::{InstBuilder, Value, types};

use super::allocate::allocate;
use super::assemble::{LOOPS, assemble};
use super::lanes::{Binary, Define, Inst, Lane, Lanes, Place, Unary};
use crate::emitter::Leaf;
use crate::portable::{Acc, KernelCx};

/// Lanes of a vector of 32-bit elements.
pub(crate) const WIDTH: usize = 8;
/// Values on the stack above which a strip is left to the portable emitter.
const MOST_SPILLS: usize = 128;

/// A word of the table.
#[derive(Clone, PartialEq, Debug)]
enum Word {
    /// Address of an element of a parameter.
    Pointer(usize, Index),
    /// A value from outside.
    Value(ValueId),
    /// The part of an index that is equal in all lanes.
    Index(Index),
    /// Address of an accumulator.
    Sums(AccId),
}

/// A strip as a leaf.
pub(crate) struct WideStrip {
    leaf: Leaf,
    words: Vec<Word>,
    /// Iterations that the leaf runs, from the first; the others are left.
    pub covered: usize,
}

/// What an index is made of inside a strip: the part equal in all lanes (without constant), the coefficient of the
/// strip's variable, those of serial loops inside, by depth, and what is not linear.
struct Parts {
    fixed: Index,
    lane: i64,
    inner: Vec<(usize, i64)>,
    other: Vec<(Atom, i64)>,
}

struct Writer<'a, 'k> {
    cx: &'a KernelCx<'k>,
    var: Var,
    lanes: Lanes,
    /// What runs before the strip's loop.
    head: Vec<Inst>,
    words: Vec<Word>,
    uniforms: HashMap<usize, Lane>,
    values: HashMap<ValueId, (Lane, DType)>,
    accs: HashMap<AccId, (Lane, DType, Combine)>,
    /// Serial loops around, outermost first.
    loops: Vec<Var>,
    /// Iterations of the strip and of all loops met inside.
    extents: HashMap<Var, usize>,
    /// Whether memory with one-byte elements is accessed: it has no masks.
    bytes: bool,
}

/// The strip's leaf; `None` where some statement has no code here.
pub(crate) fn wide_strip(cx: &KernelCx<'_>, var: Var, extent: usize, body: &[&Stmt]) -> Option<WideStrip> {
    if extent < WIDTH || extent > i32::MAX as usize / 16 {
        return None;
    }
    let mut writer = Writer {
        cx,
        var,
        lanes: Lanes::default(),
        head: Vec::new(),
        words: Vec::new(),
        uniforms: HashMap::new(),
        values: HashMap::new(),
        accs: HashMap::new(),
        loops: Vec::new(),
        extents: HashMap::from([(var, extent)]),
        bytes: false,
    };
    for stmt in body {
        writer.stmt(stmt)?;
    }
    let Writer { mut lanes, head, words, bytes, .. } = writer;
    let invariant = head.len();
    lanes.insts.splice(0..0, head);
    let homes = allocate(&lanes, invariant);
    if homes.spills > MOST_SPILLS {
        return None;
    }
    let covered = if bytes { extent / WIDTH * WIDTH } else { extent };
    let pointers: Vec<usize> =
        (0..words.len()).filter(|&w| matches!(words[w], Word::Pointer(..) | Word::Sums(_))).collect();
    let code = assemble(&lanes, invariant, &homes, &pointers, covered).ok()?;
    let leaf = Leaf { name: format!("strip_{covered}"), code };
    Some(WideStrip { leaf, words, covered })
}

impl WideStrip {
    /// Fills the table and calls the leaf.
    pub fn call(self, cx: &mut KernelCx<'_>) {
        let table = cx.stack(8 * self.words.len().max(1) as u32);
        for (at, word) in self.words.iter().enumerate() {
            let value = match word {
                Word::Pointer(param, index) => {
                    let address = cx.address(*param, index, 0);
                    cx.b.ins().iadd_imm_s(address.base, address.offset as i64)
                }
                Word::Value(id) => lane_word(cx, *id),
                Word::Index(index) => cx.sum(index, 1, 0),
                Word::Sums(acc) => match cx.accs[acc] {
                    Acc::Slot { slot, .. } => cx.b.ins().stack_addr(types::I64, slot, 0),
                    Acc::Register { .. } => unreachable!("such strips are not wide"),
                },
            };
            cx.b.ins().stack_store(types::I64, value, table, 8 * at as i32);
        }
        let table = cx.b.ins().stack_addr(types::I64, table, 0);
        cx.call_leaf(self.leaf, &[table]);
    }
}

/// A value as its lanes hold it, in the low half of a word.
fn lane_word(cx: &mut KernelCx<'_>, id: ValueId) -> Value {
    let val = cx.values[&id];
    let bits = match val.dtype {
        DType::F32 => cx.bitcast(types::I32, val.value),
        _ => cx.as_lane(val.dtype, val.value),
    };
    cx.b.ins().uextend(types::I64, bits)
}

/// The bits of a constant in a lane.
fn lane_bits(scalar: Scalar) -> Option<u32> {
    match scalar {
        Scalar::F32(v) => Some(v.to_bits()),
        Scalar::I32(v) => Some(v as u32),
        Scalar::Bool(v) => Some(if v { u32::MAX } else { 0 }),
        Scalar::U8(v) => Some(v as u32),
        Scalar::I64(_) | Scalar::F64(_) => None,
    }
}

fn has_lanes(dtype: DType) -> bool {
    matches!(dtype, DType::F32 | DType::I32 | DType::Bool | DType::U8)
}

impl Writer<'_, '_> {
    fn stmt(&mut self, stmt: &Stmt) -> Option<()> {
        match stmt {
            Stmt::Let { id, dtype, expr } => {
                let lane = self.expr(*dtype, expr)?;
                self.values.insert(*id, (lane, *dtype));
            }
            Stmt::Store { param, index, value } => {
                let (value, _) = self.value(*value)?;
                let place = self.place(*param, index)?;
                if place.index.is_some() || place.stride != 1 && place.dtype.size() == 1 {
                    return None;
                }
                self.lanes.insts.push(Inst::Store(place, value));
            }
            Stmt::For { var, extent, body } => {
                if *extent == 0 {
                    return Some(());
                }
                if self.loops.len() == LOOPS || *extent > i32::MAX as usize {
                    return None;
                }
                self.loops.push(*var);
                self.extents.insert(*var, *extent);
                self.lanes.insts.push(Inst::Loop(*extent));
                for stmt in body {
                    self.stmt(stmt)?;
                }
                self.lanes.insts.push(Inst::End);
                self.loops.pop();
            }
            Stmt::Declare { acc, dtype, combine, .. } => {
                let identity = lane_bits(combine.identity(*dtype))?;
                let identity = self.lanes.constant(identity);
                // A value of its own, to be changed.
                let sum = self.lanes.unary(Unary::Copy, identity);
                self.accs.insert(*acc, (sum, *dtype, *combine));
            }
            Stmt::Accumulate { acc, value } => self.accumulate(*acc, *value)?,
            Stmt::Finish { id, acc } => {
                let &(sum, dtype, _) = self.accs.get(acc)?;
                let copy = self.lanes.unary(Unary::Copy, sum);
                self.values.insert(*id, (copy, dtype));
            }
            Stmt::Strip { .. } | Stmt::If { .. } | Stmt::Tile(_) => return None,
        }
        Some(())
    }

    fn accumulate(&mut self, acc: AccId, value: ValueId) -> Option<()> {
        let (value, _) = self.value(value)?;
        if let Some(&(sum, dtype, combine)) = self.accs.get(&acc) {
            let new = self.lanes.combine(combine, dtype, sum, value)?;
            self.lanes.insts.push(Inst::Assign(sum, new));
            return Some(());
        }
        let &Acc::Slot { dtype, combine, .. } = self.cx.accs.get(&acc)? else { return None };
        if !matches!(dtype, DType::F32 | DType::I32 | DType::Bool) {
            return None;
        }
        let word = self.word(Word::Sums(acc));
        let old = self.lanes.define(Define::LoadSums(word));
        let new = self.lanes.combine(combine, dtype, old, value)?;
        self.lanes.insts.push(Inst::StoreSums(word, new));
        Some(())
    }

    fn expr(&mut self, dtype: DType, expr: &Expr) -> Option<Lane> {
        match expr {
            Expr::Constant(scalar) => Some(self.lanes.constant(lane_bits(*scalar)?)),
            Expr::Index(index) if dtype == DType::I32 => self.index(index),
            Expr::Index(_) => None,
            Expr::Op(op, args) => {
                let args: Vec<(Lane, DType)> =
                    args.iter().map(|&id| self.value(id)).collect::<Option<_>>()?;
                let lanes: Vec<Lane> = args.iter().map(|a| a.0).collect();
                self.lanes.op(*op, args[args.len() - 1].1, &lanes)
            }
            Expr::Load { param, index, guard } => {
                let place = self.place(*param, index)?;
                let guard = match guard {
                    Some(id) => Some(self.value(*id)?.0),
                    None => None,
                };
                let plain = place.stride == 1 && place.index.is_none() && guard.is_none();
                if place.dtype.size() == 1 && !plain {
                    return None;
                }
                Some(self.lanes.define(Define::Load(place, guard)))
            }
        }
    }

    /// A value from inside, or one from outside in all lanes.
    fn value(&mut self, id: ValueId) -> Option<(Lane, DType)> {
        if let Some(&value) = self.values.get(&id) {
            return Some(value);
        }
        let val = self.cx.values.get(&id)?;
        if !has_lanes(val.dtype) {
            return None;
        }
        let lane = self.uniform(Word::Value(id));
        Some((lane, val.dtype))
    }

    fn word(&mut self, word: Word) -> usize {
        self.words.iter().position(|w| *w == word).unwrap_or_else(|| {
            self.words.push(word);
            self.words.len() - 1
        })
    }

    fn uniform(&mut self, word: Word) -> Lane {
        let word = self.word(word);
        if let Some(&lane) = self.uniforms.get(&word) {
            return lane;
        }
        let lane = Lane(self.lanes.count);
        self.lanes.count += 1;
        self.head.push(Inst::Define(lane, Define::Uniform(word)));
        self.uniforms.insert(word, lane);
        lane
    }

    fn parts(&self, index: &Index) -> Parts {
        let mut parts = Parts { fixed: Index::default(), lane: 0, inner: Vec::new(), other: Vec::new() };
        let mut fixed = Vec::new();
        for (atom, c) in index.terms() {
            let depth = match atom {
                Atom::Var(var) => self.loops.iter().position(|v| v == var),
                _ => None,
            };
            match (atom, depth) {
                (Atom::Var(var), _) if *var == self.var => parts.lane = *c,
                (_, Some(depth)) => parts.inner.push((depth, *c)),
                _ => {
                    let mut outside = true;
                    Index::from_terms(0, [(atom.clone(), 1)]).visit(&mut |atom| {
                        outside &= match atom {
                            Atom::Var(var) => *var != self.var && !self.loops.contains(var),
                            Atom::Value(id) => !self.values.contains_key(&ValueId(*id)),
                            _ => true,
                        }
                    });
                    let part = if outside { &mut fixed } else { &mut parts.other };
                    part.push((atom.clone(), *c));
                }
            }
        }
        parts.fixed = Index::from_terms(0, fixed);
        parts
    }

    /// A term that is not linear, as `i32` lanes.
    fn other(&mut self, atom: &Atom) -> Option<Lane> {
        match atom {
            Atom::Value(id) => match self.value(ValueId(*id))? {
                (lane, DType::I32) => Some(lane),
                _ => None,
            },
            Atom::Div(inner, by) | Atom::Rem(inner, by) => {
                let lane = self.index(inner)?;
                let extent = |var: &Var| {
                    let inside = self.extents.get(var).copied();
                    inside.or_else(|| self.cx.vars.get(var).map(|bound| bound.extent))
                };
                let range = inner.range(&|atom| match atom {
                    Atom::Var(var) => extent(var).map(|n| (0, n as i64 - 1)),
                    _ => None,
                });
                let (quotient, remainder) = self.lanes.divide(lane, *by, range)?;
                Some(if matches!(atom, Atom::Div(..)) { quotient } else { remainder })
            }
            Atom::Var(_) => None,
        }
    }

    /// The sum of such terms.
    fn others(&mut self, terms: &[(Atom, i64)]) -> Option<Option<Lane>> {
        let mut sum = None;
        for (atom, c) in terms {
            let lane = self.other(atom)?;
            let lane = self.scaled(lane, *c);
            sum = Some(match sum {
                None => lane,
                Some(sum) => self.lanes.binary(Binary::Paddd, sum, lane),
            });
        }
        Some(sum)
    }

    fn place(&mut self, param: usize, index: &Index) -> Option<Place> {
        let dtype = self.cx.kernel.params[param].dtype;
        if !has_lanes(dtype) {
            return None;
        }
        self.bytes |= dtype.size() == 1;
        let size = dtype.size() as i64;
        let parts = self.parts(index);
        let fits = |value: i64| i32::try_from(value).ok();
        let first = self.lanes.moves.len();
        for &(depth, c) in &parts.inner {
            self.lanes.moves.push((depth, fits(c.checked_mul(size)?)?));
        }
        let moves = (first, self.lanes.moves.len());
        let offset = fits(index.offset().checked_mul(size)?)?;
        // Eight iterations on, it is still an immediate.
        fits(parts.lane.checked_mul(size * WIDTH as i64)?.checked_add(offset as i64)?)?;
        if !parts.other.is_empty() && self.cx.kernel.params[param].len > 1 << 30 {
            return None;
        }
        let index = self.others(&parts.other)?;
        let pointer = self.word(Word::Pointer(param, parts.fixed));
        Some(Place { pointer, offset, stride: fits(parts.lane)?, dtype, index, moves })
    }

    /// An index as `i32` lanes.
    fn index(&mut self, index: &Index) -> Option<Lane> {
        let parts = self.parts(index);
        let constant = index.offset() as u32;
        let mut sum = if parts.fixed == Index::default() {
            self.lanes.constant(constant)
        } else {
            self.uniform(Word::Index(parts.fixed.plus(index.offset())))
        };
        if parts.lane != 0 {
            let first = self.lanes.define(Define::First);
            let first = self.scaled(first, parts.lane);
            sum = self.lanes.binary(Binary::Paddd, first, sum);
            let steps = self.lanes.define(Define::Steps(parts.lane as i32));
            sum = self.lanes.binary(Binary::Paddd, sum, steps);
        }
        for (depth, c) in parts.inner {
            let counter = self.lanes.define(Define::Counter(depth));
            let counter = self.scaled(counter, c);
            sum = self.lanes.binary(Binary::Paddd, counter, sum);
        }
        if let Some(others) = self.others(&parts.other)? {
            sum = self.lanes.binary(Binary::Paddd, others, sum);
        }
        Some(sum)
    }

    fn scaled(&mut self, lane: Lane, factor: i64) -> Lane {
        if factor == 1 {
            return lane;
        }
        let factor = self.lanes.constant(factor as u32);
        self.lanes.binary(Binary::Pmulld, lane, factor)
    }
}
