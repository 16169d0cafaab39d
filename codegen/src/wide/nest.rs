//! Loop nests as leaves: from statements to lane code, and the call.
//!
//! `leaf(words)` gets a table of words that the kernel fills: addresses, integers and values that are equal in all
//! lanes. A word that depends on loop variables of the leaf holds what it is in their first iterations; the leaf
//! moves it from iteration to iteration. Statements outside of strips are lane code too, all lanes being equal.

use brolga_ir::DType;
use brolga_ir::index::{Index, Var};
use brolga_ir::program::{AccId, Access, Combine, Expr, Stmt, Tile, ValueId};
use brolga_ir::scalar::{Comparison, NAN_F32, Scalar, ScalarOp};
use cranelift_codegen::ir::{InstBuilder, Value, types};
use rustc_hash::FxHashMap;

use super::allocate::allocate;
use super::assemble::assemble;
use super::columns::{Columns, are_columns, join};
use super::epilogue;
use super::lanes::{Define, Inst, Lane, Lanes, PlacedTile, Unary};
use super::machine::Machine;
use super::tile;
use super::uses::{escapes, has_vectors};
use crate::leaf::Leaf;
use crate::portable::{Acc, KernelCx, has_lanes};

/// Places on the stack above which a nest is not made.
const MOST_SPILLS: usize = 128;
/// Words of a table, at most: it lies on the stack, of which a function has little (`image.rs`).
const MOST_WORDS: usize = 1536;
/// The most iterations of loops inside a strip that are written out: four phases of three colours are.
const UNROLL: usize = 12;

/// What a word of the table holds at first.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Start {
    /// Address of an element of a parameter.
    Pointer(usize, Index),
    /// A value from outside.
    Value(ValueId),
    /// An index, or the part of one that is equal in all lanes.
    Index(Index),
    /// Address of an accumulator.
    Sums(AccId),
    /// Nothing: the leaf sets it.
    Unset,
}

/// A word of the table.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Word {
    pub start: Start,
    /// What each iteration of a loop adds: (loop, amount).
    pub steps: Vec<(usize, i64)>,
}

/// A value inside the leaf.
#[derive(Clone, Copy)]
pub(super) struct Known {
    pub lane: Lane,
    /// An `i64` has an `i32` in each lane, which is its value.
    pub dtype: DType,
    /// Whether it differs from iteration to iteration of the strip.
    pub varies: bool,
    /// Whether it is computed in each step of the strip.
    pub inside: bool,
}

/// An accumulator of the leaf.
#[derive(Clone, Copy)]
struct Sum {
    /// The value that it is; one of 32 lanes stands for its parts.
    lane: Lane,
    dtype: DType,
    combine: Combine,
    /// Whether each iteration of the strip has its own.
    inside: bool,
}

/// The strip that is being written.
pub(super) struct Strip {
    pub var: Var,
    pub extent: usize,
    /// Loops opened before it.
    pub loops: usize,
    /// What runs before it.
    pub head: Vec<Inst>,
    /// Whether that is being written.
    in_head: bool,
    pub uniforms: FxHashMap<usize, Lane>,
    pub points: Vec<(usize, Index, usize)>,
    /// Accumulators from outside of the leaf: their words and values.
    sums: FxHashMap<AccId, (usize, Sum)>,
    /// Whether something was stored.
    stored: bool,
}

pub(super) struct Writer<'a, 'k> {
    pub cx: &'a KernelCx<'k>,
    pub lanes: Lanes,
    /// What runs once.
    pub head: Vec<Inst>,
    pub words: Vec<Word>,
    pub uniforms: FxHashMap<usize, Lane>,
    pub values: FxHashMap<ValueId, Known>,
    accs: FxHashMap<AccId, Sum>,
    /// Serial loops around, outermost first: variable and number.
    pub loops: Vec<(Var, usize)>,
    /// What the variables are of loops that are written out.
    pub substitutes: FxHashMap<Var, Index>,
    /// What iterations of a loop around them strips are to run.
    pub columns: Option<Columns>,
    /// How many times the current statement is written.
    copies: usize,
    /// Iterations of all loops met so far.
    pub extents: FxHashMap<Var, usize>,
    pub strip: Option<Strip>,
}

/// The leading statements of a block as a leaf.
pub(crate) struct Nest {
    pub leaf: Leaf,
    words: Vec<Word>,
    /// Number of statements.
    pub len: usize,
}

/// As many leading statements of `body` as a leaf can run, if there is a strip or a tile among them.
pub(crate) fn leading(cx: &KernelCx<'_>, machine: Machine, body: &[Stmt]) -> Option<Nest> {
    let mut len = body.len();
    loop {
        if !body[..len].iter().any(has_vectors) {
            return None;
        }
        let mut writer = Writer::new(cx, machine);
        let written = writer.statements(&body[..len]);
        if written < len {
            len = written;
            continue;
        }
        if writer.words.len() > MOST_WORDS {
            if len == 1 {
                return None;
            }
            // In two leaves, one behind the other.
            len /= 2;
            continue;
        }
        if let Some(cut) = body[..len].iter().position(|stmt| escapes(stmt, &body[len..])) {
            len = cut;
            continue;
        }
        return writer.finish(&body[..len]);
    }
}

impl Nest {
    /// Fills the table and calls the leaf.
    pub fn call(self, cx: &mut KernelCx<'_>) {
        let table = cx.table(8 * self.words.len().max(1) as u32);
        for (at, word) in self.words.iter().enumerate() {
            let value = match &word.start {
                Start::Pointer(param, index) => {
                    let address = cx.address(*param, index, 0);
                    cx.b.ins().iadd_imm_s(address.base, address.offset as i64)
                }
                Start::Value(id) => lane_word(cx, *id),
                Start::Index(index) => cx.sum(index, 1, 0),
                Start::Sums(acc) => match cx.accs[acc] {
                    Acc::Slot { slot, .. } => cx.b.ins().stack_addr(types::I64, slot, 0),
                    Acc::Register { .. } => unreachable!("such strips are not wide"),
                },
                Start::Unset => continue,
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
        DType::Bf16 | DType::F32 => cx.bitcast(types::I32, val.value),
        _ => cx.as_lane(val.dtype, val.value),
    };
    cx.b.ins().uextend(types::I64, bits)
}

/// The bits of a constant in a lane.
fn lane_bits(scalar: Scalar) -> Option<u32> {
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

impl<'a, 'k> Writer<'a, 'k> {
    fn new(cx: &'a KernelCx<'k>, machine: Machine) -> Writer<'a, 'k> {
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

    /// The leaf of everything written.
    fn finish(self, body: &[Stmt]) -> Option<Nest> {
        let Writer { cx, mut lanes, head, words, .. } = self;
        lanes.insts.splice(0..0, head);
        join(&mut lanes, &words, cx.kernel);
        let homes = allocate(&lanes);
        if homes.spills > MOST_SPILLS {
            return None;
        }
        let code = assemble(&lanes, &homes, &words);
        debug_assert!(code.is_ok(), "{:?} in {body:?}", code.err());
        let code = code.ok()?;
        let name = match body {
            [Stmt::Tile(tile)] => tile::name(tile),
            [Stmt::Strip { extent, .. }] => format!("strip_{extent}"),
            _ => {
                let mut name = String::from("nest");
                let mut block = body;
                while let Some(Stmt::For { extent, body, .. } | Stmt::Strip { extent, body, .. }) =
                    block.iter().find(|stmt| has_vectors(stmt))
                {
                    name += &format!("_{extent}");
                    block = body;
                }
                name
            }
        };
        Some(Nest { leaf: Leaf { name, code }, words, len: body.len() })
    }

    fn stmt(&mut self, stmt: &Stmt) -> Option<()> {
        match stmt {
            Stmt::Let { id, dtype, expr } => {
                let hoisted = self.hoists(expr);
                let (lane, varies) = match hoisted {
                    true => self.before(|writer| writer.expr(*dtype, expr))?,
                    false => self.expr(*dtype, expr)?,
                };
                let inside = self.strip.is_some() && !hoisted;
                self.values.insert(*id, Known { lane, dtype: *dtype, varies, inside });
            }
            Stmt::Store { param, index, value } => {
                let value = self.value(*value)?.lane;
                let place = self.place(*param, index)?;
                let scattered = self.strip.is_some() && place.stride != 1;
                if place.index.is_some() || (place.dtype == DType::Bf16 && scattered) {
                    return None;
                }
                if let Some(strip) = &mut self.strip {
                    strip.stored = true;
                }
                let value = self.stored_form(*param, place.dtype, value)?;
                self.lanes.insts.push(Inst::Store(place, value));
            }
            Stmt::For { var, extent, body } => self.serial(*var, *extent, body)?,
            Stmt::Strip { var, extent, body } => self.strip(*var, *extent, body)?,
            Stmt::Declare { acc, dtype, combine, lanes } => {
                let identity = lane_bits(combine.identity(*dtype)).filter(|_| has_lanes(*dtype))?;
                let identity = self.lanes.constant(identity);
                let inside = self.strip.is_some();
                // Values of their own, to be changed.
                let lane = if inside || *lanes == 1 {
                    self.lanes.unary(Unary::Copy, identity)
                } else {
                    let parts = self.lanes.machine.parts();
                    let parts = (0..parts).map(|_| self.lanes.unary(Unary::Copy, identity)).collect();
                    self.lanes.sum(parts)
                };
                self.accs.insert(*acc, Sum { lane, dtype: *dtype, combine: *combine, inside });
            }
            Stmt::Accumulate { acc, value } => self.accumulate(*acc, *value)?,
            Stmt::Finish { id, acc } => {
                let &sum = self.accs.get(acc)?;
                let lane = match self.lanes.sums.get(&sum.lane).cloned() {
                    Some(parts) => self.lanes.fold(sum.combine, sum.dtype, &parts)?,
                    None => self.lanes.unary(Unary::Copy, sum.lane),
                };
                let inside = self.strip.is_some();
                self.values.insert(*id, Known { lane, dtype: sum.dtype, varies: inside, inside });
            }
            Stmt::Tile(tile) => self.tile(tile, None)?,
            Stmt::If { .. } => return None,
        }
        Some(())
    }

    pub(super) fn block(&mut self, body: &[Stmt]) -> Option<()> {
        (self.statements(body) == body.len()).then_some(())
    }

    /// Writes statements up to the first that there is no code for; their number.
    fn statements(&mut self, body: &[Stmt]) -> usize {
        let mut done = 0;
        while let [stmt, later @ ..] = &body[done..] {
            let mut taken = 1;
            let written = match (stmt, later) {
                (Stmt::Tile(tile), [next, ..]) => {
                    let epilogue = epilogue::read(self, tile, next);
                    taken += usize::from(epilogue.is_some());
                    self.tile(tile, epilogue)
                }
                _ => self.stmt(stmt),
            };
            if written.is_none() {
                break;
            }
            done += taken;
        }
        done
    }

    fn serial(&mut self, var: Var, extent: usize, body: &[Stmt]) -> Option<()> {
        if extent == 0 {
            return Some(());
        }
        if extent > i32::MAX as usize {
            return None;
        }
        if let Some(strip) = &mut self.strip {
            // Values inside are local to it; it may store.
            strip.stored = true;
        }
        self.extents.insert(var, extent);
        if extent == 1 || self.strip.is_some() && self.copies * extent <= UNROLL {
            self.copies *= extent;
            for i in 0..extent {
                self.substitutes.insert(var, Index::constant(i as i64));
                self.block(body)?;
            }
            self.copies /= extent;
            self.substitutes.remove(&var);
            return Some(());
        }
        if self.strip.is_none() && self.columns.is_none() && are_columns(self.cx.kernel, var, extent, body) {
            return self.columns(var, extent, body);
        }
        self.counted(var, extent, |writer| writer.block(body))
    }

    /// A loop that is one in the leaf.
    pub(super) fn counted(
        &mut self,
        var: Var,
        extent: usize,
        body: impl FnOnce(&mut Self) -> Option<()>,
    ) -> Option<()> {
        let number = self.lanes.loops.len();
        self.lanes.loops.push(extent);
        self.loops.push((var, number));
        self.lanes.insts.push(Inst::Loop(number));
        body(self)?;
        self.lanes.insts.push(Inst::End);
        self.loops.pop();
        Some(())
    }

    fn strip(&mut self, var: Var, extent: usize, body: &[Stmt]) -> Option<()> {
        if extent == 0 {
            return Some(());
        }
        if extent > i32::MAX as usize / 16 {
            return None;
        }
        self.extents.insert(var, extent);
        let before = std::mem::take(&mut self.lanes.insts);
        self.strip = Some(Strip {
            var,
            extent,
            loops: self.loops.len(),
            head: Vec::new(),
            in_head: false,
            uniforms: FxHashMap::default(),
            points: Vec::new(),
            sums: FxHashMap::default(),
            stored: false,
        });
        match self.columns.as_ref().map(|columns| (columns.var, columns.first.clone(), columns.count)) {
            None => self.block(body)?,
            Some((column, first, count)) => {
                for i in 0..count {
                    self.substitutes.insert(column, first.plus(i as i64));
                    self.block(body)?;
                }
                self.substitutes.remove(&column);
            }
        }
        let strip = self.strip.take().expect("just set");
        let inside = std::mem::replace(&mut self.lanes.insts, before);
        self.lanes.insts.extend(strip.head);
        self.lanes.insts.push(Inst::Strip(extent));
        self.lanes.insts.extend(inside);
        self.lanes.insts.push(Inst::End);
        let mut sums: Vec<(usize, Sum)> = strip.sums.into_values().collect();
        sums.sort_by_key(|sum| sum.0);
        for (word, sum) in sums {
            for (part, &lane) in self.lanes.sums[&sum.lane].iter().enumerate() {
                self.lanes.insts.push(Inst::StoreSums(word, part, lane));
            }
        }
        Some(())
    }

    fn tile(&mut self, tile: &Tile, epilogue: Option<Vec<epilogue::Step>>) -> Option<()> {
        if !tile::fits(tile) {
            return None;
        }
        let mut panels = [(0, 0); 3];
        for (at, panel) in [&tile.a, &tile.b, &tile.c].into_iter().enumerate() {
            let place = self.place(panel.param, &panel.index)?;
            panels[at] = (place.word, place.offset);
        }
        self.lanes.insts.push(Inst::Tile(self.lanes.tiles.len()));
        let stored = self.cx.kernel.params[tile.b.param].dtype;
        let epilogue = match epilogue {
            None if self.cx.outputs[tile.c.param] => {
                Some(vec![epilogue::Step::OneNan, epilogue::Step::StoreSum])
            }
            epilogue => epilogue,
        };
        self.lanes.tiles.push(PlacedTile { tile: tile.clone(), stored, panels, epilogue });
        Some(())
    }

    /// A value as it is stored to a parameter: NaNs of outputs have one form.
    fn stored_form(&mut self, param: usize, dtype: DType, value: Lane) -> Option<Lane> {
        if !self.cx.outputs[param] || dtype != DType::F32 {
            return Some(value);
        }
        if self.constant(value).is_some_and(|bits| !f32::from_bits(bits).is_nan()) {
            return Some(value);
        }
        let is_nan = self.lanes.op(ScalarOp::Compare(Comparison::Ne), dtype, &[value, value])?;
        let nan = self.lanes.constant(NAN_F32);
        self.lanes.op(ScalarOp::Select, dtype, &[is_nan, nan, value])
    }

    /// Has `f` write what runs before the strip.
    pub(super) fn before<R>(&mut self, f: impl FnOnce(&mut Self) -> R) -> R {
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

    /// Whether a value of the strip is the same in all its iterations, and can be computed before it.
    ///
    /// A load is moved only if the kernel does not write the parameter and nothing is stored before it: an
    /// element that is updated in place is loaded by one iteration only, the one that stores it.
    fn hoists(&self, expr: &Expr) -> bool {
        let Some(strip) = &self.strip else { return false };
        let before = |id: &ValueId| self.values.get(id).is_none_or(|known| !known.inside);
        match expr {
            Expr::Constant(_) => false,
            Expr::Index(index) => self.before_strip(index),
            Expr::Op(_, args) => args.iter().all(before),
            Expr::Load { param, index, guard } => {
                let read_only = self.cx.kernel.params[*param].access == Access::Read;
                read_only && !strip.stored && self.before_strip(index) && guard.iter().all(before)
            }
        }
    }

    fn accumulate(&mut self, acc: AccId, value: ValueId) -> Option<()> {
        let value = self.value(value)?.lane;
        let sum = match self.accs.get(&acc) {
            Some(&sum) => sum,
            None => self.outside_sum(acc)?,
        };
        // One lane outside of the strip is a chain over its iterations; 32 outside of strips are one lane only.
        let in_lanes = self.lanes.sums.contains_key(&sum.lane);
        if self.strip.is_some() != (sum.inside || in_lanes) {
            return None;
        }
        let new = self.lanes.combine(sum.combine, sum.dtype, sum.lane, value)?;
        self.lanes.insts.push(Inst::Assign(sum.lane, new));
        Some(())
    }

    /// An accumulator in the caller's memory, which is in registers during the strip.
    fn outside_sum(&mut self, acc: AccId) -> Option<Sum> {
        let &Acc::Slot { dtype, combine, .. } = self.cx.accs.get(&acc)? else { return None };
        if !matches!(dtype, DType::F32 | DType::I32 | DType::Bool) {
            return None;
        }
        if let Some(&(_, sum)) = self.strip.as_ref()?.sums.get(&acc) {
            return Some(sum);
        }
        let word = self.word(Word { start: Start::Sums(acc), steps: Vec::new() });
        let parts = 0..self.lanes.machine.parts();
        let load =
            |writer: &mut Self| parts.map(|part| writer.lanes.define(Define::LoadSums(word, part))).collect();
        let parts = self.before(load);
        let sum = Sum { lane: self.lanes.sum(parts), dtype, combine, inside: false };
        self.strip.as_mut()?.sums.insert(acc, (word, sum));
        Some(sum)
    }

    /// A value, and whether it differs between the iterations of the strip.
    fn expr(&mut self, dtype: DType, expr: &Expr) -> Option<(Lane, bool)> {
        match expr {
            Expr::Constant(scalar) => Some((self.lanes.constant(lane_bits(*scalar)?), false)),
            Expr::Index(index) if dtype == DType::I64 && !self.is_narrow(index) => None,
            Expr::Index(index) if matches!(dtype, DType::I32 | DType::I64) => {
                Some((self.index(index)?, self.varies(index)))
            }
            Expr::Index(_) => None,
            Expr::Op(op, args) => {
                let args: Vec<Known> = args.iter().map(|&id| self.value(id)).collect::<Option<_>>()?;
                let lanes: Vec<Lane> = args.iter().map(|a| a.lane).collect();
                let operand = args[args.len() - 1].dtype;
                let operand = match narrow(*op, operand, dtype)? {
                    true => DType::I32,
                    false => operand,
                };
                let op =
                    if *op == ScalarOp::Convert(DType::I64) { ScalarOp::Convert(DType::I32) } else { *op };
                Some((self.lanes.op(op, operand, &lanes)?, args.iter().any(|a| a.varies)))
            }
            Expr::Load { param, index, guard } => {
                let place = self.place(*param, index)?;
                let guard = match guard {
                    Some(id) => Some(self.value(*id)?),
                    None => None,
                };
                if place.dtype.size() < 4 && (place.index.is_some() || guard.is_some()) {
                    return None;
                }
                if place.dtype == DType::Bf16 && !matches!(place.stride, 0 | 1) {
                    return None;
                }
                let varies = place.stride != 0 || place.index.is_some() || guard.is_some_and(|g| g.varies);
                let load = Define::Load(place, guard.map(|g| g.lane));
                Some((self.lanes.define(load), varies))
            }
        }
    }

    /// The bits of a constant that is written in this leaf.
    pub(super) fn constant(&self, lane: Lane) -> Option<u32> {
        self.head.iter().chain(&self.lanes.insts).find_map(|inst| match inst {
            Inst::Define(defined, Define::Constant(bits)) if *defined == lane => Some(*bits),
            _ => None,
        })
    }

    /// A value from inside, or one from outside in all lanes.
    pub(super) fn value(&mut self, id: ValueId) -> Option<Known> {
        if let Some(&value) = self.values.get(&id) {
            return Some(value);
        }
        let dtype = self.cx.values.get(&id)?.dtype;
        let lane = match self.cx.constants.get(&id) {
            Some(scalar) => self.lanes.constant(lane_bits(*scalar)?),
            None if has_lanes(dtype) => self.uniform(Word { start: Start::Value(id), steps: Vec::new() }),
            None => return None,
        };
        Some(Known { lane, dtype, varies: false, inside: false })
    }

    pub(super) fn word(&mut self, word: Word) -> usize {
        let known = self.words.iter().position(|w| *w == word && w.start != Start::Unset);
        known.unwrap_or_else(|| {
            self.words.push(word);
            self.words.len() - 1
        })
    }
}

/// Whether an operation has `i64` operands or results, which must be in the range of `i32`; `None` where the result
/// may leave it.
fn narrow(op: ScalarOp, operand: DType, result: DType) -> Option<bool> {
    use ScalarOp::*;
    match (operand, result) {
        (DType::I64, DType::I64) => matches!(op, Max | Min | Select | Convert(_)).then_some(true),
        (DType::I64, _) => matches!(op, Compare(_) | Convert(_)).then_some(true),
        (DType::I32 | DType::Bool | DType::U8, DType::I64) => matches!(op, Convert(_)).then_some(false),
        (_, DType::I64) => None,
        _ => Some(false),
    }
}
