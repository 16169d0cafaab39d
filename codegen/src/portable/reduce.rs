//! Accumulators.
//!
//! Those with 32 lanes are in memory: eight vectors of four lanes. Four iterations of a strip update one of them, the next four
//! the next one; the seven updates of others before its next one hide the way through memory. `bool` lanes are kept as 32-bit masks.

use brolga_ir::DType;
use brolga_ir::program::{AccId, Combine, ValueId};
use cranelift_codegen::ir::{
    InstBuilder, MemFlagsData, StackSlot, Type, Value,
    condcodes::{FloatCC, IntCC},
    types,
};

use super::context::{Acc, KernelCx, Val};
use super::lanes::{scalar_type, vector_type};

/// The type of a lane in memory.
fn lane_type(dtype: DType) -> Type {
    if dtype == DType::Bool { types::I32 } else { scalar_type(dtype) }
}

/// Whether the lanes can be handled four at a time.
fn in_vectors(dtype: DType) -> bool {
    matches!(dtype, DType::F32 | DType::I32 | DType::Bool)
}

impl KernelCx<'_> {
    pub(crate) fn declare(&mut self, acc: AccId, dtype: DType, combine: Combine, lanes: u32) {
        let identity = self.constant(combine.identity(dtype));
        let inside = self.strip;
        let state = if inside.is_none() && lanes > 1 {
            let size = lane_type(dtype).bytes();
            let slot = self.stack(lanes * size);
            if in_vectors(dtype) {
                let val = Val { value: identity, dtype, wide: false, depth: self.depth };
                let vector = self.widen(val);
                for lane in (0..lanes).step_by(4) {
                    self.b.ins().stack_store(types::I64, vector, slot, (lane * size) as i32);
                }
            } else {
                for lane in 0..lanes {
                    self.b.ins().stack_store(types::I64, identity, slot, (lane * size) as i32);
                }
            }
            Acc::Slot { slot, dtype, combine }
        } else {
            let wide = inside.is_some_and(|s| s.wide);
            let val = Val { value: identity, dtype, wide: false, depth: self.depth };
            let (value, ty) =
                if wide { (self.widen(val), vector_type(dtype)) } else { (identity, scalar_type(dtype)) };
            let variable = self.b.declare_var(ty);
            self.b.def_var(variable, value);
            Acc::Register { variable, dtype, combine }
        };
        self.accs.insert(acc, state);
    }

    pub(crate) fn accumulate(&mut self, acc: AccId, id: ValueId) {
        let val = self.values[&id];
        match self.accs[&acc] {
            Acc::Register { variable, dtype, combine } => {
                let old = self.b.use_var(variable);
                let wide = self.b.func.dfg.value_type(old).is_vector();
                let value = if wide { self.widen(val) } else { val.value };
                let new = self.combine(combine, dtype, old, value, wide);
                self.b.def_var(variable, new);
            }
            Acc::Slot { slot, dtype, combine } => {
                let wide = self.strip.is_some_and(|s| s.wide);
                let place = self.lane_place(slot, dtype);
                let flags = MemFlagsData::trusted();
                if wide {
                    let value = self.widen(val);
                    let old = self.b.ins().load(vector_type(dtype), flags, place, 0);
                    let new = self.combine(combine, dtype, old, value, true);
                    self.b.ins().store(flags, new, place, 0);
                } else {
                    let old = self.load_lane(dtype, place, 0);
                    let new = self.combine(combine, dtype, old, val.value, false);
                    let new = if dtype == DType::Bool { self.mask_of(new) } else { new };
                    self.b.ins().store(flags, new, place, 0);
                }
            }
        }
    }

    /// Where the lane of the current iteration lies; lane 0 outside strips.
    fn lane_place(&mut self, slot: StackSlot, dtype: DType) -> Value {
        let start = self.b.ins().stack_addr(types::I64, slot, 0);
        let Some(strip) = self.strip else { return start };
        let lane = self.b.ins().band_imm_u(strip.first, 31);
        let offset = self.b.ins().imul_imm_s(lane, lane_type(dtype).bytes() as i64);
        self.b.ins().iadd(start, offset)
    }

    fn load_lane(&mut self, dtype: DType, place: Value, offset: i32) -> Value {
        let value = self.b.ins().load(lane_type(dtype), MemFlagsData::trusted(), place, offset);
        if dtype == DType::Bool { self.b.ins().icmp_imm_s(IntCC::NotEqual, value, 0) } else { value }
    }

    fn mask_of(&mut self, value: Value) -> Value {
        let value = self.b.ins().uextend(types::I32, value);
        self.b.ins().ineg(value)
    }

    pub(crate) fn finish(&mut self, acc: AccId) -> Val {
        let depth = self.depth;
        match self.accs[&acc] {
            Acc::Register { variable, dtype, .. } => {
                let value = self.b.use_var(variable);
                let wide = self.b.func.dfg.value_type(value).is_vector();
                Val { value, dtype, wide, depth }
            }
            Acc::Slot { slot, dtype, combine } => {
                let value = if in_vectors(dtype) {
                    self.fold_vectors(slot, dtype, combine)
                } else {
                    self.fold_scalars(slot, dtype, combine)
                };
                Val { value, dtype, wide: false, depth }
            }
        }
    }

    fn fold_vectors(&mut self, slot: StackSlot, dtype: DType, combine: Combine) -> Value {
        let mut vectors: Vec<Value> =
            (0..8).map(|i| self.b.ins().stack_load(types::I64, vector_type(dtype), slot, 16 * i)).collect();
        // Lanes i and i + 16, i + 8, i + 4: whole vectors.
        while vectors.len() > 1 {
            let half = vectors.len() / 2;
            vectors = (0..half)
                .map(|i| self.combine(combine, dtype, vectors[i], vectors[i + half], true))
                .collect();
        }
        let val = Val { value: vectors[0], dtype, wide: true, depth: 0 };
        let lanes: Vec<Value> = (0..4).map(|lane| self.lane(val, lane)).collect();
        let even = self.combine(combine, dtype, lanes[0], lanes[2], false);
        let odd = self.combine(combine, dtype, lanes[1], lanes[3], false);
        self.combine(combine, dtype, even, odd, false)
    }

    fn fold_scalars(&mut self, slot: StackSlot, dtype: DType, combine: Combine) -> Value {
        let size = lane_type(dtype).bytes() as i32;
        let start = self.b.ins().stack_addr(types::I64, slot, 0);
        let mut lanes: Vec<Value> = (0..32).map(|i| self.load_lane(dtype, start, i * size)).collect();
        while lanes.len() > 1 {
            let half = lanes.len() / 2;
            lanes =
                (0..half).map(|i| self.combine(combine, dtype, lanes[i], lanes[i + half], false)).collect();
        }
        lanes[0]
    }

    /// The bits of [`Combine::apply`].
    fn combine(&mut self, combine: Combine, dtype: DType, a: Value, b: Value, wide: bool) -> Value {
        let depth = self.depth;
        if dtype.is_float() && matches!(combine, Combine::Max | Combine::Min) {
            let cc = if combine == Combine::Max { FloatCC::GreaterThan } else { FloatCC::LessThan };
            let better = self.b.ins().fcmp(cc, a, b);
            let nan = self.b.ins().fcmp(FloatCC::Unordered, a, a);
            let first = self.b.ins().bor(better, nan);
            if !wide {
                return self.b.ins().select(first, a, b);
            }
            let first = self.bitcast(types::F32X4, first);
            return self.b.ins().bitselect(first, a, b);
        }
        let val = |value| Val { value, dtype, wide, depth };
        self.op(combine.op(), dtype, &[val(a), val(b)]).value
    }
}
