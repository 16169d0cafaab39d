//! The remainder of floats, `a % b`: exact, so it is long division of the significands.
//!
//! With `|a| = p 2^e` and `|b| = q 2^f` for integers `p`, `q` and `e >= f`, the remainder is
//! `(p 2^(e-f) mod q) 2^f`; the power of two is taken in as many bits at a time as fit beside the significand.

use brolga_ir::DType;
use cranelift_codegen::ir::{
    InstBuilder, Value,
    condcodes::{FloatCC, IntCC},
    types,
};

use super::context::KernelCx;

impl KernelCx<'_> {
    pub(crate) fn float_remainder(&mut self, dtype: DType, a: Value, b: Value) -> Value {
        let double = dtype == DType::F64;
        let (ty, bits, fraction) = if double { (types::F64, 64, 52) } else { (types::F32, 32, 23) };
        let (magnitude_a, sign) = self.magnitude(a, bits);
        let (magnitude_b, _) = self.magnitude(b, bits);
        let (p, e) = self.significand(magnitude_a, fraction);
        let (q, f) = self.significand(magnitude_b, fraction);
        // Where the result is not by division, the divisor is 1 and nothing is shifted.
        let infinity = self.b.ins().iconst(types::I64, if double { 0x7ff << 52 } else { 0xff << 23 });
        let [smaller, undefined, skip] = self.no_division([magnitude_a, magnitude_b], infinity);
        let one = self.b.ins().iconst(types::I64, 1);
        let zero = self.b.ins().iconst(types::I64, 0);
        let q = self.b.ins().select(skip, one, q);
        let difference = self.b.ins().isub(e, f);
        let difference = self.b.ins().select(skip, zero, difference);
        let start = self.b.ins().urem(p, q);

        let r = self.shifted_remainder(start, difference, q, fraction);

        // r 2^f as a float: shifted until the leading bit is in place, or the exponent at its least.
        let leading = self.b.ins().clz(r);
        let shift = self.b.ins().iadd_imm_s(leading, -(63 - fraction));
        let f = self.b.ins().select(skip, one, f);
        let room = self.b.ins().iadd_imm_s(f, -1);
        let shift = self.b.ins().smin(shift, room);
        let bits_low = self.b.ins().ishl(r, shift);
        let exponent = self.b.ins().isub(room, shift);
        let exponent = self.b.ins().ishl_imm_u(exponent, fraction);
        let nonzero = self.b.ins().iadd(bits_low, exponent);
        let is_zero = self.b.ins().icmp_imm_s(IntCC::Equal, r, 0);
        let magnitude = self.b.ins().select(is_zero, zero, nonzero);
        let magnitude = self.b.ins().bor(magnitude, sign);
        let result = if double {
            self.bitcast(types::F64, magnitude)
        } else {
            let low = self.b.ins().ireduce(types::I32, magnitude);
            self.bitcast(types::F32, low)
        };
        let result = self.b.ins().select(smaller, a, result);
        let nan = if double { self.b.ins().f64const(f64::NAN) } else { self.b.ins().f32const(f32::NAN) };
        debug_assert_eq!(self.b.func.dfg.value_type(nan), ty);
        // A NaN compares as larger than anything by its bits, so `smaller` does not hide it; check it first.
        let unordered = self.b.ins().fcmp(FloatCC::Unordered, a, b);
        let undefined = self.b.ins().bor(undefined, unordered);
        self.b.ins().select(undefined, nan, result)
    }

    /// Whether the result is `a` because that is smaller, whether there is none, and whether it is one of the two.
    fn no_division(&mut self, [magnitude_a, magnitude_b]: [Value; 2], infinity: Value) -> [Value; 3] {
        let smaller = self.b.ins().icmp(IntCC::UnsignedLessThan, magnitude_a, magnitude_b);
        let bad_a = self.b.ins().icmp(IntCC::UnsignedGreaterThanOrEqual, magnitude_a, infinity);
        let bad_b = self.b.ins().icmp(IntCC::UnsignedGreaterThan, magnitude_b, infinity);
        let by_zero = self.b.ins().icmp_imm_s(IntCC::Equal, magnitude_b, 0);
        let undefined = self.b.ins().bor(bad_a, bad_b);
        let undefined = self.b.ins().bor(undefined, by_zero);
        let skip = self.b.ins().bor(undefined, smaller);
        [smaller, undefined, skip]
    }

    /// `start 2^difference mod q`: `while left > 0 { r = (r << by) mod q; left -= by }`.
    fn shifted_remainder(&mut self, start: Value, difference: Value, q: Value, fraction: i64) -> Value {
        let (header, body, exit) = (self.b.create_block(), self.b.create_block(), self.b.create_block());
        let r = self.b.append_block_param(header, types::I64);
        let left = self.b.append_block_param(header, types::I64);
        self.b.ins().jump(header, &[start.into(), difference.into()]);
        self.b.switch_to_block(header);
        let more = self.b.ins().icmp_imm_s(IntCC::SignedGreaterThan, left, 0);
        self.b.ins().brif(more, body, &[], exit, &[]);
        self.b.switch_to_block(body);
        self.b.seal_block(body);
        let most = self.b.ins().iconst(types::I64, 63 - fraction);
        let by = self.b.ins().smin(left, most);
        let shifted = self.b.ins().ishl(r, by);
        let next = self.b.ins().urem(shifted, q);
        let left = self.b.ins().isub(left, by);
        self.b.ins().jump(header, &[next.into(), left.into()]);
        self.b.seal_block(header);
        self.b.switch_to_block(exit);
        self.b.seal_block(exit);
        r
    }

    /// The bits without and only with the sign, in 64 bits.
    fn magnitude(&mut self, value: Value, bits: u32) -> (Value, Value) {
        let word = if bits == 64 {
            self.bitcast(types::I64, value)
        } else {
            let word = self.bitcast(types::I32, value);
            self.b.ins().uextend(types::I64, word)
        };
        let low = (1u64 << (bits - 1)) - 1;
        let low = self.b.ins().iconst(types::I64, low as i64);
        let magnitude = self.b.ins().band(word, low);
        (magnitude, self.b.ins().bxor(word, magnitude))
    }

    /// Integer significand and biased exponent, that of subnormal numbers being 1.
    fn significand(&mut self, magnitude: Value, fraction: i64) -> (Value, Value) {
        let exponent = self.b.ins().ushr_imm_u(magnitude, fraction);
        let low = self.b.ins().band_imm_u(magnitude, (1i64 << fraction) - 1);
        let normal = self.b.ins().icmp_imm_s(IntCC::NotEqual, exponent, 0);
        let normal = self.b.ins().uextend(types::I64, normal);
        let hidden = self.b.ins().ishl_imm_u(normal, fraction);
        let one = self.b.ins().iconst(types::I64, 1);
        (self.b.ins().bor(low, hidden), self.b.ins().umax(exponent, one))
    }
}
