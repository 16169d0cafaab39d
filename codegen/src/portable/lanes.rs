//! What scalars are kept in, and the lanes of vectors: four of 32 bits.
//!
//! A scalar is kept in the Cranelift type of its element type; `bool` is an `i8`, 0 or 1. In a vector `bool` is an
//! `i32x4` mask, 0 or -1, and `u8` an `i32x4` in 0..=255. A `bf16` is the `f32` of the same number.

use brolga_ir::DType;
use cranelift_codegen::ir::{ConstantData, InstBuilder, MemFlagsData, Type, Value, types};

use super::context::{KernelCx, LANES, Val};

/// The type of a scalar.
pub(crate) fn scalar_type(dtype: DType) -> Type {
    match dtype {
        DType::Bool | DType::U8 => types::I8,
        DType::I32 => types::I32,
        DType::I64 => types::I64,
        DType::Bf16 | DType::F32 => types::F32,
        DType::F64 => types::F64,
    }
}

/// The type of a vector of lanes; those that have none never come here.
pub(crate) fn vector_type(dtype: DType) -> Type {
    if matches!(dtype, DType::Bf16 | DType::F32) { types::F32X4 } else { types::I32X4 }
}

/// Whether a vector holds elements of that type, in lanes of 32 bits.
pub(crate) fn has_lanes(dtype: DType) -> bool {
    matches!(dtype, DType::Bf16 | DType::F32 | DType::I32 | DType::Bool | DType::U8)
}

impl KernelCx<'_> {
    pub(crate) fn bitcast(&mut self, to: Type, value: Value) -> Value {
        if self.b.func.dfg.value_type(value) == to {
            return value;
        }
        // Lanes in memory order: lane 0 lowest.
        let flags = MemFlagsData::new().with_endianness(cranelift_codegen::ir::Endianness::Little);
        self.b.ins().bitcast(to, flags, value)
    }

    /// A vector whose lanes are `f(0)`, `f(1)`, ….
    pub(crate) fn vector_constant(&mut self, f: impl Fn(i64) -> i32) -> Value {
        let bytes: Vec<u8> = (0..LANES).flat_map(|lane| f(lane).to_le_bytes()).collect();
        let constant = self.b.func.dfg.constants.insert(ConstantData::from(bytes.as_slice()));
        self.b.ins().vconst(types::I32X4, constant)
    }

    pub(crate) fn splat_f32(&mut self, value: f32) -> Value {
        let scalar = self.b.ins().f32const(value);
        self.b.ins().splat(types::F32X4, scalar)
    }

    /// The value as a vector.
    pub(crate) fn widen(&mut self, val: Val) -> Value {
        if val.wide {
            return val.value;
        }
        let value = self.as_lane(val.dtype, val.value);
        self.b.ins().splat(vector_type(val.dtype), value)
    }

    /// A scalar as it stands in a lane of a vector.
    pub(crate) fn as_lane(&mut self, dtype: DType, value: Value) -> Value {
        match dtype {
            DType::Bool => {
                let value = self.b.ins().uextend(types::I32, value);
                self.b.ins().ineg(value)
            }
            DType::U8 => self.b.ins().uextend(types::I32, value),
            _ => value,
        }
    }

    /// A lane of a value, as a scalar.
    pub(crate) fn lane(&mut self, val: Val, lane: i64) -> Value {
        if !val.wide {
            return val.value;
        }
        match val.dtype {
            DType::Bool => self.lane_bool(val.value, lane),
            DType::U8 => {
                let value = self.b.ins().extractlane(val.value, lane as u8);
                self.b.ins().ireduce(types::I8, value)
            }
            _ => self.b.ins().extractlane(val.value, lane as u8),
        }
    }

    /// A lane of a mask, as a `bool`.
    pub(crate) fn lane_bool(&mut self, mask: Value, lane: i64) -> Value {
        let value = self.b.ins().extractlane(mask, lane as u8);
        let value = self.b.ins().ireduce(types::I8, value);
        self.b.ins().band_imm_u(value, 1)
    }

    /// A vector from the scalars of its lanes.
    pub(crate) fn gather_lanes(&mut self, dtype: DType, lanes: &[Value]) -> Value {
        let first = self.as_lane(dtype, lanes[0]);
        let mut vector = self.b.ins().scalar_to_vector(vector_type(dtype), first);
        for (lane, &value) in lanes.iter().enumerate().skip(1) {
            let value = self.as_lane(dtype, value);
            vector = self.b.ins().insertlane(vector, value, lane as u8);
        }
        vector
    }
}
