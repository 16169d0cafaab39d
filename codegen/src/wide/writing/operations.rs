//! Operations of programs, and elementary functions, as lane code.

use brolga_ir::DType;
use brolga_ir::math::{Arith, Float};
use brolga_ir::program::Combine;
use brolga_ir::scalar::{Comparison, ScalarOp};

use crate::wide::types::lane_code::{Define, Lane, Lanes};
use crate::wide::types::operations::{Binary, EQ, GE, GT, LE, LT, NE, ORDERED, UNORDERED, Unary};

impl Lanes {
    /// Folds the 32 lanes of an accumulator by the fixed tree: lanes `i` and `i + 16` first, then `i` and `i + 8`, and
    /// so on; the result is in all lanes.
    pub fn fold(&mut self, combine: Combine, dtype: DType, parts: &[Lane]) -> Option<Lane> {
        let mut parts = parts.to_vec();
        while parts.len() > 1 {
            let upper = parts.split_off(parts.len() / 2);
            for (low, high) in parts.iter_mut().zip(upper) {
                *low = self.combine(combine, dtype, *low, high)?;
            }
        }
        let (mut all, mut distance) = (parts[0], self.machine.lanes / 2);
        while distance > 0 {
            let other = self.unary(Unary::Down(distance), all);
            all = self.combine(combine, dtype, all, other)?;
            distance /= 2;
        }
        Some(self.unary(Unary::Splat, all))
    }

    /// The quotient toward -inf and the remainder by a positive constant, of integers in `range`; `None` where they
    /// may be too large for the way it is done.
    pub fn divide(&mut self, a: Lane, by: i64, range: Option<(i64, i64)>) -> Option<(Lane, Lane)> {
        let divisor = u32::try_from(by).ok()?;
        if divisor.is_power_of_two() {
            let low = self.constant(divisor - 1);
            let quotient = self.unary(Unary::Psrad(divisor.trailing_zeros() as u8), a);
            return Some((quotient, self.binary(Binary::And, a, low)));
        }
        // floor((a + 1/2) / by) in f32: a + 1/2 is exact below 2^22, and the quotient stays at least 1/(2 by) away
        // from every integer, which is more than its rounding error of 2^-24 2^22 / by.
        const LIMIT: i64 = 1 << 22;
        let (low, high) = range?;
        if low <= -LIMIT || high + self.machine.lanes as i64 >= LIMIT {
            return None;
        }
        let float = self.unary(Unary::Cvtdq2ps, a);
        let half = self.constant(0.5f32.to_bits());
        let shifted = self.binary(Binary::Addps, float, half);
        let divisor_float = self.constant((divisor as f32).to_bits());
        let quotient = self.binary(Binary::Divps, shifted, divisor_float);
        let quotient = self.unary(Unary::Roundps(9), quotient);
        let quotient = self.unary(Unary::Cvttps2dq, quotient);
        let divisor = self.constant(divisor);
        let multiple = self.binary(Binary::Pmulld, quotient, divisor);
        Some((quotient, self.binary(Binary::Psubd, a, multiple)))
    }

    fn not(&mut self, a: Lane) -> Lane {
        let ones = self.constant(u32::MAX);
        self.binary(Binary::Xor, a, ones)
    }

    /// The bits of [`ScalarOp::apply`]; `None` for what has no code here.
    pub fn op(&mut self, op: ScalarOp, dtype: DType, args: &[Lane]) -> Option<Lane> {
        use ScalarOp::*;
        let a = args[0];
        let b = args.get(1).copied().unwrap_or(a);
        Some(match (op, dtype) {
            (Select, _) => self.define(Define::Select(a, b, args[2])),
            (Convert(to), _) => self.convert(a, dtype, to)?,
            (Bitcast(_), DType::F32 | DType::I32) => a,
            (Compare(c), DType::F32) => {
                let predicate = match c {
                    Comparison::Eq => EQ,
                    Comparison::Ne => NE,
                    Comparison::Lt => LT,
                    Comparison::Le => LE,
                    Comparison::Gt => GT,
                    Comparison::Ge => GE,
                };
                self.binary(Binary::Cmpps(predicate), a, b)
            }
            (Compare(c), DType::I32 | DType::U8) => self.compare_ints(c, a, b),
            // As integers true is -1: the order is the other way round.
            (Compare(c), DType::Bool) => self.compare_ints(c, b, a),
            (Not, DType::I32 | DType::Bool) => self.not(a),
            (And, DType::I32 | DType::U8 | DType::Bool) | (Min, DType::Bool) => {
                self.binary(Binary::And, a, b)
            }
            (Or, DType::I32 | DType::U8 | DType::Bool) | (Max, DType::Bool) => self.binary(Binary::Or, a, b),
            (Xor, DType::I32 | DType::U8 | DType::Bool) => self.binary(Binary::Xor, a, b),
            (Max, DType::I32 | DType::U8) => self.binary(Binary::Pmaxsd, a, b),
            (Min, DType::I32 | DType::U8) => self.binary(Binary::Pminsd, a, b),
            (_, DType::F32) => self.float_op(op, args)?,
            (_, DType::I32) => self.int_op(op, a, b)?,
            _ => return None,
        })
    }

    fn float_op(&mut self, op: ScalarOp, args: &[Lane]) -> Option<Lane> {
        use ScalarOp::*;
        let a = args[0];
        let binary = match op {
            Add => Binary::Addps,
            Sub => Binary::Subps,
            Mul => Binary::Mulps,
            Div => Binary::Divps,
            // The instructions give the second operand unless the comparison holds, as the operations do.
            Max => Binary::Maxps,
            Min => Binary::Minps,
            _ => {
                return Some(match op {
                    Function(function) => function.build(Float::F32, self, a, args[args.len() - 1]),
                    Fma => self.define(Define::Fma(a, args[1], args[2])),
                    Neg => Arith::neg(self, a),
                    Abs => Arith::abs(self, a),
                    Sqrt => self.unary(Unary::Sqrtps, a),
                    // Without the inexact exception (bit 3).
                    Round => self.unary(Unary::Roundps(8), a),
                    Floor => self.unary(Unary::Roundps(9), a),
                    Ceil => self.unary(Unary::Roundps(10), a),
                    Trunc => self.unary(Unary::Roundps(11), a),
                    _ => return None,
                });
            }
        };
        Some(self.binary(binary, a, args[1]))
    }

    fn int_op(&mut self, op: ScalarOp, a: Lane, b: Lane) -> Option<Lane> {
        use ScalarOp::*;
        Some(match op {
            Neg => {
                let zero = self.constant(0);
                self.binary(Binary::Psubd, zero, a)
            }
            Abs => self.unary(Unary::Pabsd, a),
            Add => self.binary(Binary::Paddd, a, b),
            Sub => self.binary(Binary::Psubd, a, b),
            Mul => self.binary(Binary::Pmulld, a, b),
            Shl | Shr | ShrLogical => {
                let width = self.constant(31);
                let amount = self.binary(Binary::And, b, width);
                let shift = match op {
                    Shl => Binary::Psllvd,
                    Shr => Binary::Psravd,
                    _ => Binary::Psrlvd,
                };
                self.binary(shift, a, amount)
            }
            MulHigh => {
                let even = self.binary(Binary::Pmuludq, a, b);
                let even = self.unary(Unary::Psrlq(32), even);
                let (a, b) = (self.unary(Unary::Psrlq(32), a), self.unary(Unary::Psrlq(32), b));
                let odd = self.binary(Binary::Pmuludq, a, b);
                self.binary(Binary::Interleave, even, odd)
            }
            _ => return None,
        })
    }

    fn compare_ints(&mut self, comparison: Comparison, a: Lane, b: Lane) -> Lane {
        let (op, a, b, negate) = match comparison {
            Comparison::Eq => (Binary::Pcmpeqd, a, b, false),
            Comparison::Ne => (Binary::Pcmpeqd, a, b, true),
            Comparison::Gt => (Binary::Pcmpgtd, a, b, false),
            Comparison::Le => (Binary::Pcmpgtd, a, b, true),
            Comparison::Lt => (Binary::Pcmpgtd, b, a, false),
            Comparison::Ge => (Binary::Pcmpgtd, b, a, true),
        };
        let mask = self.binary(op, a, b);
        if negate { self.not(mask) } else { mask }
    }

    fn convert(&mut self, a: Lane, from: DType, to: DType) -> Option<Lane> {
        use DType::*;
        Some(match (from, to) {
            (F32, F32) | (Bf16, Bf16 | F32) | (I32, I32) | (Bool, Bool) | (U8, U8 | I32) => a,
            (F32, I32) => self.truncate(a),
            (F32, U8) => {
                let wide = self.truncate(a);
                let (low, high) = (self.constant(0), self.constant(255));
                let wide = self.binary(Binary::Pmaxsd, wide, low);
                self.binary(Binary::Pminsd, wide, high)
            }
            (F32, Bool) => {
                let zero = self.constant(0);
                self.binary(Binary::Cmpps(NE), a, zero)
            }
            (I32 | U8, F32) => self.unary(Unary::Cvtdq2ps, a),
            (I32 | U8, Bool) => {
                let zero = self.constant(0);
                let is_zero = self.binary(Binary::Pcmpeqd, a, zero);
                self.not(is_zero)
            }
            (_, Bf16) => {
                let float = self.convert(a, from, F32)?;
                self.rounded_to_bf16(float)
            }
            (Bf16, _) => self.convert(a, F32, to)?,
            (I32, U8) => {
                let low = self.constant(255);
                self.binary(Binary::And, a, low)
            }
            (Bool, F32) => {
                let one = self.constant(1.0f32.to_bits());
                self.binary(Binary::And, a, one)
            }
            (Bool, I32 | U8) => self.unary(Unary::Psrld(31), a),
            _ => return None,
        })
    }

    /// To the nearest `bf16`, ties to even; NaN stays NaN.
    fn rounded_to_bf16(&mut self, a: Lane) -> Lane {
        let last = self.unary(Unary::Psrld(16), a);
        let one = self.constant(1);
        let odd = self.binary(Binary::And, last, one);
        let below_half = self.constant(0x7fff);
        let up = self.binary(Binary::Paddd, odd, below_half);
        let rounded = self.binary(Binary::Paddd, a, up);
        let upper = self.constant(0xffff_0000);
        let rounded = self.binary(Binary::And, rounded, upper);
        let nan = self.constant(0x7fc0_0000);
        let number = self.binary(Binary::Cmpps(ORDERED), a, a);
        self.define(Define::Select(number, rounded, nan))
    }

    /// Float to integer: saturates, NaN to 0. The instruction gives the least integer for all that does not fit.
    fn truncate(&mut self, a: Lane) -> Lane {
        let limit = self.constant(2147483648.0f32.to_bits());
        let too_large = self.binary(Binary::Cmpps(GE), a, limit);
        let plain = self.unary(Unary::Cvttps2dq, a);
        let saturated = self.binary(Binary::Xor, plain, too_large);
        let number = self.binary(Binary::Cmpps(ORDERED), a, a);
        self.binary(Binary::And, saturated, number)
    }

    /// The bits of [`Combine::apply`]; `None` for what has no code here.
    pub fn combine(&mut self, combine: Combine, dtype: DType, a: Lane, b: Lane) -> Option<Lane> {
        let result = self.op(combine.op(), dtype, &[a, b])?;
        if dtype == DType::F32 && matches!(combine, Combine::Max | Combine::Min) {
            // The instruction gives `b` where either is NaN; a NaN in `a` is to stay.
            let nan = self.binary(Binary::Cmpps(UNORDERED), a, a);
            return Some(self.define(Define::Select(nan, a, result)));
        }
        Some(result)
    }
}

macro_rules! binaries {
    ($($method:ident = $op:expr;)*) => {
        $(fn $method(&mut self, x: Lane, y: Lane) -> Lane {
            self.binary($op, x, y)
        })*
    };
}

impl Arith for Lanes {
    type V = Lane;

    binaries! {
        add = Binary::Addps;
        sub = Binary::Subps;
        mul = Binary::Mulps;
        div = Binary::Divps;
        min = Binary::Minps;
        max = Binary::Maxps;
        lt = Binary::Cmpps(LT);
        eq = Binary::Cmpps(EQ);
        int_add = Binary::Paddd;
        int_sub = Binary::Psubd;
        int_and = Binary::And;
        int_or = Binary::Or;
        int_xor = Binary::Xor;
        int_eq = Binary::Pcmpeqd;
    }

    fn float(&mut self, value: f64) -> Lane {
        self.constant((value as f32).to_bits())
    }

    fn int(&mut self, value: i64) -> Lane {
        self.constant(value as u32)
    }

    fn fma(&mut self, x: Lane, y: Lane, z: Lane) -> Lane {
        self.define(Define::Fma(x, y, z))
    }

    fn neg(&mut self, x: Lane) -> Lane {
        let sign = self.constant(1 << 31);
        self.binary(Binary::Xor, x, sign)
    }

    fn abs(&mut self, x: Lane) -> Lane {
        let rest = self.constant(!(1 << 31));
        self.binary(Binary::And, x, rest)
    }

    fn sqrt(&mut self, x: Lane) -> Lane {
        self.unary(Unary::Sqrtps, x)
    }

    fn round_even(&mut self, x: Lane) -> Lane {
        self.unary(Unary::Roundps(8), x)
    }

    fn select(&mut self, mask: Lane, x: Lane, y: Lane) -> Lane {
        self.define(Define::Select(mask, x, y))
    }

    fn as_int(&mut self, x: Lane) -> Lane {
        x
    }

    fn as_float(&mut self, x: Lane) -> Lane {
        x
    }

    fn shl(&mut self, x: Lane, by: u32) -> Lane {
        self.unary(Unary::Pslld(by as u8), x)
    }

    fn shr(&mut self, x: Lane, by: u32) -> Lane {
        self.unary(Unary::Psrld(by as u8), x)
    }
}
