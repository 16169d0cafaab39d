//! Loop nests as leaves: from statements to machine code, and the call.
//!
//! `leaf(words)` gets a table of words that the kernel fills (`types/words.rs`).

use brolga_ir::DType;
use brolga_ir::program::{Stmt, ValueId};
use cranelift_codegen::ir::{InstBuilder, Value, types};

use super::assembling::{allocate, assemble};
use super::types::machine::Machine;
use super::types::tile;
use super::types::words::{Start, Word};
use super::writing::{Writer, escapes, has_vectors, join};
use crate::leaf::Leaf;
use crate::limits::{MOST_SPILLS, MOST_TABLE_WORDS};
use crate::portable::{Acc, Emitter, KernelCx};

/// Emits leaves for a machine.
pub(crate) struct Wide(pub Machine);

impl Wide {
    /// The leading statements of a block as a leaf.
    pub fn nest(&self, cx: &KernelCx<'_>, body: &[Stmt]) -> Option<Nest> {
        // Values that come first are as well computed by the caller.
        if matches!(body[0], Stmt::Let { .. } | Stmt::If { .. }) {
            return None;
        }
        leading(cx, self.0, body)
    }
}

impl Emitter for Wide {
    fn leading(&self, cx: &mut KernelCx<'_>, body: &[Stmt]) -> usize {
        let Some(nest) = self.nest(cx, body) else { return 0 };
        let len = nest.len;
        nest.call(cx);
        len
    }
}

/// The leading statements of a block as a leaf.
pub(crate) struct Nest {
    pub leaf: Leaf,
    words: Vec<Word>,
    /// Number of statements.
    pub len: usize,
}

/// As many leading statements of `body` as a leaf can run, if there is a strip or a tile among them.
fn leading(cx: &KernelCx<'_>, machine: Machine, body: &[Stmt]) -> Option<Nest> {
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
        if writer.words.len() > MOST_TABLE_WORDS {
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
        return finish(writer, &body[..len]);
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

/// The leaf of everything written.
fn finish(writer: Writer<'_, '_>, body: &[Stmt]) -> Option<Nest> {
    let Writer { cx, mut lanes, head, words, .. } = writer;
    lanes.insts.splice(0..0, head);
    join(&mut lanes, &words, cx.kernel);
    let homes = allocate(&lanes);
    if homes.spills > MOST_SPILLS {
        return None;
    }
    let code = assemble(&lanes, &homes, &words);
    debug_assert!(code.is_ok(), "{:?} in {body:?}", code.err());
    let leaf = Leaf { name: name(body), code: code.ok()? };
    Some(Nest { leaf, words, len: body.len() })
}

/// A name for people: what the leaf is, and how large.
fn name(body: &[Stmt]) -> String {
    match body {
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
    }
}
