//! Loads and stores.

use brolga_ir::DType;
use brolga_ir::index::Index;
use brolga_ir::program::ValueId;
use cranelift_codegen::ir::{InstBuilder, MemFlagsData, Value, condcodes::FloatCC, types};

use super::address::Address;
use super::context::{KernelCx, LANES, Val};
use super::lanes::{scalar_type, vector_type};

/// Accesses are inside their buffers (the program's verifier shows it), but need not be aligned.
pub(super) fn flags() -> MemFlagsData {
    MemFlagsData::new().with_notrap()
}

impl KernelCx<'_> {
    pub(crate) fn load(&mut self, param: usize, index: &Index, guard: Option<ValueId>) -> Val {
        let dtype = self.kernel.params[param].dtype;
        let guard = guard.map(|id| self.values[&id]);
        let wide_guard = guard.is_some_and(|g| g.wide);
        let wide = wide_guard || self.varies(index);
        let depth = self.depth;
        let value = if !wide {
            let address = self.guarded(param, index, guard.map(|g| g.value), 0);
            self.load_scalar(dtype, address)
        } else if !wide_guard && self.lane_stride(index) == Some(1) {
            let address = self.guarded(param, index, guard.map(|g| g.value), 0);
            self.load_vector(dtype, address)
        } else {
            let mut lanes = Vec::with_capacity(LANES as usize);
            for lane in 0..LANES {
                let condition = guard.map(|g| if g.wide { self.lane_bool(g.value, lane) } else { g.value });
                let address = self.guarded(param, index, condition, lane);
                lanes.push(self.load_scalar(dtype, address));
            }
            self.gather_lanes(dtype, &lanes)
        };
        Val { value, dtype, wide, depth }
    }

    /// The address, or that of zeros where the guard is false.
    fn guarded(&mut self, param: usize, index: &Index, guard: Option<Value>, lane: i64) -> Address {
        let address = self.address(param, index, lane);
        let Some(guard) = guard else { return address };
        let zeros = self.zeros();
        let base = self.b.ins().iadd_imm_s(address.base, address.offset as i64);
        Address { base: self.b.ins().select(guard, base, zeros), offset: 0 }
    }

    pub(super) fn load_scalar(&mut self, dtype: DType, at: Address) -> Value {
        if dtype == DType::Bf16 {
            return self.load_bf16(types::F32, flags(), at.base, at.offset);
        }
        self.b.ins().load(scalar_type(dtype), flags(), at.base, at.offset)
    }

    fn load_vector(&mut self, dtype: DType, at: Address) -> Value {
        match dtype {
            DType::Bool | DType::U8 => {
                // Four bytes, each widened to its 32-bit lane.
                let word = self.b.ins().load(types::I32, flags(), at.base, at.offset);
                let vector = self.b.ins().scalar_to_vector(types::I32X4, word);
                let bytes = self.bitcast(types::I8X16, vector);
                let halves = self.b.ins().uwiden_low(bytes);
                let words = self.b.ins().uwiden_low(halves);
                if dtype == DType::Bool { self.b.ins().ineg(words) } else { words }
            }
            DType::Bf16 => self.load_bf16(types::F32X4, flags(), at.base, at.offset),
            _ => self.b.ins().load(vector_type(dtype), flags(), at.base, at.offset),
        }
    }

    pub(super) fn store_scalar(&mut self, dtype: DType, value: Value, at: Address) {
        if dtype == DType::Bf16 {
            let bits = self.bitcast(types::I32, value);
            let half = self.b.ins().ushr_imm_u(bits, 16);
            self.b.ins().istore16(flags(), half, at.base, at.offset);
            return;
        }
        self.b.ins().store(flags(), value, at.base, at.offset);
    }

    pub(crate) fn store(&mut self, param: usize, index: &Index, id: ValueId) {
        let mut val = self.values[&id];
        val.value = self.stored_form(param, val.value);
        if !val.wide && !self.varies(index) {
            // In a vector strip too: all lanes store the same value to the same place.
            let address = self.address(param, index, 0);
            self.store_scalar(val.dtype, val.value, address);
            return;
        }
        if self.lane_stride(index) == Some(1) {
            let vector = self.widen(val);
            let address = self.address(param, index, 0);
            self.store_vector(val.dtype, vector, address);
            return;
        }
        for lane in 0..LANES {
            let address = self.address(param, index, lane);
            let value = self.lane(val, lane);
            self.store_scalar(val.dtype, value, address);
        }
    }

    /// A value as it is stored to a parameter: NaNs of outputs have one form, positive, quiet and without payload.
    pub(super) fn stored_form(&mut self, param: usize, value: Value) -> Value {
        let ty = self.b.func.dfg.value_type(value);
        if !self.outputs[param] || !ty.lane_type().is_float() {
            return value;
        }
        let nan = match ty.lane_type() {
            types::F64 => self.b.ins().f64const(f64::from_bits(brolga_ir::scalar::NAN_F64)),
            _ => self.b.ins().f32const(f32::from_bits(brolga_ir::scalar::NAN_F32)),
        };
        let ordered = self.b.ins().fcmp(FloatCC::Ordered, value, value);
        if !ty.is_vector() {
            return self.b.ins().select(ordered, value, nan);
        }
        let nan = self.b.ins().splat(ty, nan);
        let mask = self.bitcast(ty, ordered);
        self.b.ins().bitselect(mask, value, nan)
    }

    fn store_vector(&mut self, dtype: DType, vector: Value, at: Address) {
        let vector = match dtype {
            DType::Bool | DType::U8 => {
                // Each lane is in 0..=255, which unsigned saturation keeps.
                let words = if dtype == DType::Bool { self.b.ins().ineg(vector) } else { vector };
                let halves = self.b.ins().unarrow(words, words);
                let bytes = self.b.ins().unarrow(halves, halves);
                let vector = self.bitcast(types::I32X4, bytes);
                self.b.ins().extractlane(vector, 0)
            }
            DType::Bf16 => {
                let bits = self.bitcast(types::I32X4, vector);
                let words = self.b.ins().ushr_imm_u(bits, 16);
                let halves = self.b.ins().unarrow(words, words);
                let vector = self.bitcast(types::I64X2, halves);
                self.b.ins().extractlane(vector, 0)
            }
            _ => vector,
        };
        self.b.ins().store(flags(), vector, at.base, at.offset);
    }
}
