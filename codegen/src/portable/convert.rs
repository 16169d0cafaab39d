//! Conversions between types.

use brolga_ir::DType;
use cranelift_codegen::ir::{
    InstBuilder, Value,
    condcodes::{FloatCC, IntCC},
    types,
};

use super::context::KernelCx;
use super::lanes::scalar_type;

impl KernelCx<'_> {
    /// A 64-bit integer in another type: wraps, or rounds.
    pub(crate) fn integer_as(&mut self, value: Value, to: DType) -> Value {
        match to {
            DType::I64 => value,
            DType::I32 => self.b.ins().ireduce(types::I32, value),
            DType::U8 => self.b.ins().ireduce(types::I8, value),
            DType::Bool => self.b.ins().icmp_imm_s(IntCC::NotEqual, value, 0),
            DType::Bf16 => {
                let value = self.b.ins().fcvt_from_sint(types::F32, value);
                self.rounded_to_bf16(value)
            }
            DType::F32 => self.b.ins().fcvt_from_sint(types::F32, value),
            DType::F64 => self.b.ins().fcvt_from_sint(types::F64, value),
        }
    }

    /// A scalar in another type.
    pub(crate) fn convert_scalar(&mut self, value: Value, from: DType, to: DType) -> Value {
        if from == to {
            return value;
        }
        match (from, to) {
            // A bf16 is an f32 already, and whatever becomes one is an f32 first.
            (_, DType::Bf16) => {
                let value = self.convert_scalar(value, from, DType::F32);
                self.rounded_to_bf16(value)
            }
            (DType::Bf16, _) => self.convert_scalar(value, DType::F32, to),
            (DType::F32, DType::Bool) => {
                let zero = self.b.ins().f32const(0.0);
                self.b.ins().fcmp(FloatCC::NotEqual, value, zero)
            }
            (DType::F64, DType::Bool) => {
                let zero = self.b.ins().f64const(0.0);
                self.b.ins().fcmp(FloatCC::NotEqual, value, zero)
            }
            (_, DType::Bool) => self.b.ins().icmp_imm_s(IntCC::NotEqual, value, 0),
            (DType::F32, DType::F64) => self.b.ins().fpromote(types::F64, value),
            (DType::F64, DType::F32) => self.b.ins().fdemote(types::F32, value),
            (DType::F32 | DType::F64, DType::U8) => {
                let wide = self.b.ins().fcvt_to_sint_sat(types::I32, value);
                let (low, high) = (self.b.ins().iconst(types::I32, 0), self.b.ins().iconst(types::I32, 255));
                let wide = self.b.ins().smax(wide, low);
                let wide = self.b.ins().smin(wide, high);
                self.b.ins().ireduce(types::I8, wide)
            }
            (DType::F32 | DType::F64, _) => self.b.ins().fcvt_to_sint_sat(scalar_type(to), value),
            (_, DType::F32 | DType::F64) => {
                let value = self.at_least_i32(value, from);
                self.b.ins().fcvt_from_sint(scalar_type(to), value)
            }
            (_, DType::I64) => self.widened(value, from),
            (DType::I64, _) => self.integer_as(value, to),
            (_, DType::I32) => self.b.ins().uextend(types::I32, value),
            (DType::Bool, DType::U8) => value,
            (_, DType::U8) => self.b.ins().ireduce(types::I8, value),
        }
    }

    fn widened(&mut self, value: Value, from: DType) -> Value {
        match from {
            DType::I64 => value,
            DType::I32 => self.b.ins().sextend(types::I64, value),
            _ => self.b.ins().uextend(types::I64, value),
        }
    }

    /// At least 32 bits wide, the same number.
    fn at_least_i32(&mut self, value: Value, from: DType) -> Value {
        match from {
            DType::I32 | DType::I64 => value,
            _ => self.b.ins().uextend(types::I32, value),
        }
    }

    /// A vector in another type of those that vectors hold (`f32`, `bf16`, `i32`, `u8` and `bool` in 32-bit
    /// lanes).
    pub(crate) fn convert_vector(&mut self, value: Value, from: DType, to: DType) -> Value {
        match (from, to) {
            _ if from == to => value,
            (_, DType::Bf16) => {
                let value = self.convert_vector(value, from, DType::F32);
                self.rounded_to_bf16(value)
            }
            (DType::Bf16, _) => self.convert_vector(value, DType::F32, to),
            (DType::F32, DType::Bool) => {
                let zero = self.splat_f32(0.0);
                self.b.ins().fcmp(FloatCC::NotEqual, value, zero)
            }
            (DType::F32, DType::I32) => self.b.ins().fcvt_to_sint_sat(types::I32X4, value),
            (DType::F32, DType::U8) => {
                let value = self.b.ins().fcvt_to_sint_sat(types::I32X4, value);
                let (low, high) = (self.vector_constant(|_| 0), self.vector_constant(|_| 255));
                let value = self.b.ins().smax(value, low);
                self.b.ins().smin(value, high)
            }
            (DType::Bool, DType::F32) => {
                let one = self.vector_constant(|_| 1.0f32.to_bits() as i32);
                let bits = self.b.ins().band(value, one);
                self.bitcast(types::F32X4, bits)
            }
            (DType::Bool, _) => self.b.ins().ineg(value),
            (_, DType::F32) => self.b.ins().fcvt_from_sint(types::F32X4, value),
            (_, DType::Bool) => {
                let zero = self.vector_constant(|_| 0);
                self.b.ins().icmp(IntCC::NotEqual, value, zero)
            }
            (_, DType::U8) => {
                let low = self.vector_constant(|_| 255);
                self.b.ins().band(value, low)
            }
            _ => value,
        }
    }
}
