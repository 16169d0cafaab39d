//! Operations on scalars and on vectors of four 32-bit lanes. Everything here gives the bits of [`ScalarOp::apply`].

use brolga_ir::DType;
use brolga_ir::scalar::{Comparison, ScalarOp};
use cranelift_codegen::ir::{
    ConstantData, InstBuilder, Value,
    condcodes::{FloatCC, IntCC},
    types,
};

use super::context::{KernelCx, LANES, Val};
use super::lanes::{has_lanes, scalar_type, vector_type};

/// Whether the operation has vector code for those types (the others run lane by lane in scalar strips).
pub(crate) fn has_vector_code(op: ScalarOp, operand: DType, result: DType) -> bool {
    use ScalarOp::*;
    if !has_lanes(operand) || !has_lanes(result) {
        return false;
    }
    // Bytes are kept widened, so that arithmetic would not wrap where it should.
    operand != DType::U8 || matches!(op, Convert(_) | Select | Compare(_) | Min | Max | And | Or | Xor)
}

fn float_cc(comparison: Comparison) -> FloatCC {
    match comparison {
        Comparison::Eq => FloatCC::Equal,
        Comparison::Ne => FloatCC::NotEqual,
        Comparison::Lt => FloatCC::LessThan,
        Comparison::Le => FloatCC::LessThanOrEqual,
        Comparison::Gt => FloatCC::GreaterThan,
        Comparison::Ge => FloatCC::GreaterThanOrEqual,
    }
}

fn int_cc(comparison: Comparison, signed: bool) -> IntCC {
    let cc = match comparison {
        Comparison::Eq => IntCC::Equal,
        Comparison::Ne => IntCC::NotEqual,
        Comparison::Lt => IntCC::SignedLessThan,
        Comparison::Le => IntCC::SignedLessThanOrEqual,
        Comparison::Gt => IntCC::SignedGreaterThan,
        Comparison::Ge => IntCC::SignedGreaterThanOrEqual,
    };
    if signed { cc } else { cc.unsigned() }
}

impl KernelCx<'_> {
    /// An operation; a vector if any operand is one.
    pub(crate) fn op(&mut self, op: ScalarOp, dtype: DType, args: &[Val]) -> Val {
        let wide = args.iter().any(|a| a.wide);
        let operand = args[args.len() - 1].dtype;
        // Shifts of vectors are by one amount for all lanes.
        let uniform_shift =
            matches!(op, ScalarOp::Shl | ScalarOp::Shr | ScalarOp::ShrLogical) && !args[1].wide;
        let value = if !wide {
            let args: Vec<Value> = args.iter().map(|a| a.value).collect();
            self.scalar_op(op, operand, &args)
        } else if uniform_shift {
            self.shift(op, args[0].value, args[1].value)
        } else {
            let args: Vec<Value> = args.iter().map(|a| self.widen(*a)).collect();
            self.vector_op(op, operand, dtype, &args)
        };
        Val { value, dtype, wide, depth: self.depth }
    }

    fn scalar_op(&mut self, op: ScalarOp, dtype: DType, args: &[Value]) -> Value {
        use ScalarOp::*;
        let float = dtype.is_float();
        let signed = matches!(dtype, DType::I32 | DType::I64);
        let a = args[0];
        match op {
            Not if dtype == DType::Bool => self.b.ins().bxor_imm_u(a, 1),
            Select => self.b.ins().select(a, args[1], args[2]),
            Convert(to) => self.convert_scalar(a, dtype, to),
            Bitcast(to) if to == dtype => a,
            Bitcast(to) => self.bitcast(scalar_type(to), a),
            Compare(c) if float => self.b.ins().fcmp(float_cc(c), a, args[1]),
            Compare(c) => self.b.ins().icmp(int_cc(c, signed), a, args[1]),
            Abs if dtype == DType::U8 => a,
            Function(function) => self.function(function, dtype, args, false),
            Div if !float => self.int_quotient(dtype, a, args[1]),
            Rem if float => self.float_remainder(dtype, a, args[1]),
            Rem => self.int_remainder(dtype, a, args[1]),
            Max | Min if float => {
                let cc = if op == Max { FloatCC::GreaterThan } else { FloatCC::LessThan };
                let first = self.b.ins().fcmp(cc, a, args[1]);
                self.b.ins().select(first, a, args[1])
            }
            Max if !signed => self.b.ins().umax(a, args[1]),
            Min if !signed => self.b.ins().umin(a, args[1]),
            Shl | Shr | ShrLogical => {
                let op = if op == Shr && !signed { ShrLogical } else { op };
                self.shift(op, a, args[1])
            }
            MulHigh => {
                let a = self.b.ins().uextend(types::I64, a);
                let b = self.b.ins().uextend(types::I64, args[1]);
                let product = self.b.ins().imul(a, b);
                let high = self.b.ins().ushr_imm_u(product, 32);
                self.b.ins().ireduce(types::I32, high)
            }
            _ => self.plain(op, dtype, args),
        }
    }

    fn vector_op(&mut self, op: ScalarOp, dtype: DType, result: DType, args: &[Value]) -> Value {
        use ScalarOp::*;
        let float = dtype.is_float();
        let signed = dtype == DType::I32;
        let a = args[0];
        match op {
            Select => {
                let mask = self.bitcast(self.b.func.dfg.value_type(args[1]), a);
                self.b.ins().bitselect(mask, args[1], args[2])
            }
            Convert(to) => self.convert_vector(a, dtype, to),
            Function(function) => self.function(function, dtype, args, true),
            Bitcast(to) => self.bitcast(vector_type(to), a),
            Compare(c) if float => self.b.ins().fcmp(float_cc(c), a, args[1]),
            // Masks compare as unsigned: true is the larger one.
            Compare(c) => self.b.ins().icmp(int_cc(c, signed), a, args[1]),
            Max | Min if float => {
                let cc = if op == Max { FloatCC::GreaterThan } else { FloatCC::LessThan };
                let first = self.b.ins().fcmp(cc, a, args[1]);
                let first = self.bitcast(types::F32X4, first);
                self.b.ins().bitselect(first, a, args[1])
            }
            Max if !signed => self.b.ins().umax(a, args[1]),
            Min if !signed => self.b.ins().umin(a, args[1]),
            Div | Rem if !float || op == Rem => self.each_lane(op, dtype, result, args),
            Shl | Shr | ShrLogical => self.each_lane(op, dtype, result, args),
            MulHigh => {
                let low = {
                    let (a, b) = (self.b.ins().uwiden_low(a), self.b.ins().uwiden_low(args[1]));
                    self.b.ins().imul(a, b)
                };
                let high = {
                    let (a, b) = (self.b.ins().uwiden_high(a), self.b.ins().uwiden_high(args[1]));
                    self.b.ins().imul(a, b)
                };
                let (low, high) = (self.bitcast(types::I8X16, low), self.bitcast(types::I8X16, high));
                // The upper halves of the four products.
                let mask = [4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31];
                let mask = self.b.func.dfg.immediates.push(ConstantData::from(mask.as_slice()));
                let bytes = self.b.ins().shuffle(low, high, mask);
                self.bitcast(types::I32X4, bytes)
            }
            _ => self.plain(op, dtype, args),
        }
    }

    /// What one instruction does, in scalars and vectors alike.
    fn plain(&mut self, op: ScalarOp, dtype: DType, args: &[Value]) -> Value {
        use ScalarOp::*;
        let float = dtype.is_float();
        let a = args[0];
        let ins = self.b.ins();
        match (op, float) {
            (Neg, true) => ins.fneg(a),
            (Neg, false) => ins.ineg(a),
            (Abs, true) => ins.fabs(a),
            (Abs, false) => ins.iabs(a),
            (Sqrt, _) => ins.sqrt(a),
            (Floor, _) => ins.floor(a),
            (Ceil, _) => ins.ceil(a),
            (Trunc, _) => ins.trunc(a),
            (Round, _) => ins.nearest(a),
            (Not, _) => ins.bnot(a),
            (Add, true) => ins.fadd(a, args[1]),
            (Add, false) => ins.iadd(a, args[1]),
            (Sub, true) => ins.fsub(a, args[1]),
            (Sub, false) => ins.isub(a, args[1]),
            (Mul, true) => ins.fmul(a, args[1]),
            (Mul, false) => ins.imul(a, args[1]),
            (Div, _) => ins.fdiv(a, args[1]),
            (Fma, _) => ins.fma(a, args[1], args[2]),
            (Max, _) => ins.smax(a, args[1]),
            (Min, _) => ins.smin(a, args[1]),
            (And, _) => ins.band(a, args[1]),
            (Or, _) => ins.bor(a, args[1]),
            (Xor, _) => ins.bxor(a, args[1]),
            (op, _) => unreachable!("{op:?} has code of its own"),
        }
    }

    /// Cranelift takes the amount modulo the width of a lane.
    fn shift(&mut self, op: ScalarOp, a: Value, amount: Value) -> Value {
        match op {
            ScalarOp::Shl => self.b.ins().ishl(a, amount),
            ScalarOp::Shr => self.b.ins().sshr(a, amount),
            _ => self.b.ins().ushr(a, amount),
        }
    }

    /// An operation without vector instruction, on each lane.
    fn each_lane(&mut self, op: ScalarOp, dtype: DType, result: DType, args: &[Value]) -> Value {
        let mut lanes = Vec::with_capacity(LANES as usize);
        for lane in 0..LANES {
            let args: Vec<Value> = args.iter().map(|&a| self.b.ins().extractlane(a, lane as u8)).collect();
            lanes.push(self.scalar_op(op, dtype, &args));
        }
        self.gather_lanes(result, &lanes)
    }

    /// x / 0 = 0, MIN / -1 = MIN: the divisor is replaced where the instruction would trap.
    fn int_quotient(&mut self, dtype: DType, a: Value, b: Value) -> Value {
        let ty = scalar_type(dtype);
        let zero = self.b.ins().iconst(ty, 0);
        let by_zero = self.b.ins().icmp_imm_s(IntCC::Equal, b, 0);
        let one = self.b.ins().iconst(ty, 1);
        let safe = self.b.ins().select(by_zero, one, b);
        let quotient = if dtype == DType::U8 {
            self.b.ins().udiv(a, safe)
        } else {
            let minus = self.b.ins().icmp_imm_s(IntCC::Equal, b, -1);
            let safe = self.b.ins().select(minus, one, safe);
            let quotient = self.b.ins().sdiv(a, safe);
            let negated = self.b.ins().ineg(a);
            self.b.ins().select(minus, negated, quotient)
        };
        self.b.ins().select(by_zero, zero, quotient)
    }

    /// x % 0 = x, MIN % -1 = 0.
    fn int_remainder(&mut self, dtype: DType, a: Value, b: Value) -> Value {
        let ty = scalar_type(dtype);
        let by_zero = self.b.ins().icmp_imm_s(IntCC::Equal, b, 0);
        let one = self.b.ins().iconst(ty, 1);
        let safe = self.b.ins().select(by_zero, one, b);
        let remainder = if dtype == DType::U8 {
            self.b.ins().urem(a, safe)
        } else {
            let minus = self.b.ins().icmp_imm_s(IntCC::Equal, b, -1);
            let safe = self.b.ins().select(minus, one, safe);
            self.b.ins().srem(a, safe)
        };
        self.b.ins().select(by_zero, a, remainder)
    }
}
