//! Weights of `bf16`: widened to `f32` as they are loaded, which is exact, and rounded where they are made.

use cranelift_codegen::ir::{InstBuilder, MemFlagsData, Type, Value, condcodes::FloatCC, types};

use super::context::KernelCx;

impl KernelCx<'_> {
    /// Elements of `bf16` as the `f32` numbers that they are, whose upper halves they are: a scalar or a vector.
    pub(crate) fn load_bf16(&mut self, ty: Type, flags: MemFlagsData, base: Value, offset: i32) -> Value {
        let bits = match ty.is_vector() {
            true => self.b.ins().uload16x4(flags, base, offset),
            false => self.b.ins().uload16(types::I32, flags, base, offset),
        };
        let bits = self.b.ins().ishl_imm_u(bits, 16);
        self.bitcast(ty, bits)
    }

    /// An `f32`, or a vector of them, rounded to the nearest `bf16`, ties to even; NaN stays NaN.
    pub(super) fn rounded_to_bf16(&mut self, value: Value) -> Value {
        let float = self.b.func.dfg.value_type(value);
        let ty = if float.is_vector() { types::I32X4 } else { types::I32 };
        let constant = |cx: &mut Self, bits: i32| match ty.is_vector() {
            true => cx.vector_constant(|_| bits),
            false => cx.b.ins().iconst(types::I32, i64::from(bits)),
        };
        let bits = self.bitcast(ty, value);
        let last = self.b.ins().ushr_imm_u(bits, 16);
        let one = constant(self, 1);
        let odd = self.b.ins().band(last, one);
        let below_half = constant(self, 0x7fff);
        let up = self.b.ins().iadd(odd, below_half);
        let rounded = self.b.ins().iadd(bits, up);
        let upper = constant(self, 0xffff_0000_u32 as i32);
        let rounded = self.b.ins().band(rounded, upper);
        let rounded = self.bitcast(float, rounded);
        let nan = constant(self, 0x7fc0_0000);
        let nan = self.bitcast(float, nan);
        let number = self.b.ins().fcmp(FloatCC::Ordered, value, value);
        if float.is_vector() {
            let mask = self.bitcast(float, number);
            return self.b.ins().bitselect(mask, rounded, nan);
        }
        self.b.ins().select(number, rounded, nan)
    }
}
