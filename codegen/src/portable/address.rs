//! Index expressions and addresses.

use brolga_ir::index::{Atom, Index, Range};
use brolga_ir::program::ValueId;
use brolga_ir::{DType, index::Var};
use cranelift_codegen::ir::{InstBuilder, Value, condcodes::IntCC, types};

use super::context::{KernelCx, LANES, Val};

/// An address: a pointer and a constant that fits the displacement of an instruction.
#[derive(Clone, Copy)]
pub(crate) struct Address {
    pub base: Value,
    pub offset: i32,
}

impl KernelCx<'_> {
    /// The ranges of loop variables; those of values are unknown.
    fn range_of(&self) -> impl Fn(&Atom) -> Option<Range> + '_ {
        |atom| match atom {
            Atom::Var(var) => self.vars.get(var).map(|bound| (0, bound.extent as i64 - 1)),
            _ => None,
        }
    }

    /// Number of loops around what an atom depends on.
    fn depth_of(&self, atom: &Atom) -> usize {
        match atom {
            Atom::Var(var) => self.vars[var].depth,
            Atom::Value(id) => self.values[&ValueId(*id)].depth,
            Atom::Div(inner, _) | Atom::Rem(inner, _) => {
                inner.terms().iter().map(|(atom, _)| self.depth_of(atom)).max().unwrap_or(0)
            }
        }
    }

    /// Whether the index differs between the lanes of the strip.
    pub(crate) fn varies(&self, index: &Index) -> bool {
        let Some(strip) = self.strip.filter(|s| s.wide) else { return false };
        let mut varies = false;
        index.visit(&mut |atom| {
            varies |= match atom {
                Atom::Var(var) => *var == strip.var,
                Atom::Value(id) => self.values[&ValueId(*id)].wide,
                _ => false,
            }
        });
        varies
    }

    /// The coefficient of the strip's variable, if the index is linear in it and otherwise equal in all lanes.
    pub(crate) fn lane_stride(&self, index: &Index) -> Option<i64> {
        let Some(strip) = self.strip.filter(|s| s.wide) else { return Some(0) };
        let mut linear = !index.is_nonlinear_in(strip.var);
        index.visit(&mut |atom| {
            if let Atom::Value(id) = atom {
                linear &= !self.values[&ValueId(*id)].wide;
            }
        });
        linear.then(|| index.coefficient(strip.var))
    }

    /// An atom as a 64-bit integer, in one lane.
    fn atom(&mut self, atom: &Atom, lane: i64) -> Value {
        match atom {
            Atom::Var(var) => self.variable(*var, lane),
            Atom::Value(id) => {
                let val = self.values[&ValueId(*id)];
                let value =
                    if val.wide { self.b.ins().extractlane(val.value, lane as u8) } else { val.value };
                match val.dtype {
                    DType::I64 => value,
                    DType::I32 => self.b.ins().sextend(types::I64, value),
                    // A u8 or bool lane of a vector is an i32 already.
                    _ if val.wide => {
                        let value =
                            self.b.ins().band_imm_u(value, if val.dtype == DType::Bool { 1 } else { 255 });
                        self.b.ins().uextend(types::I64, value)
                    }
                    _ => self.b.ins().uextend(types::I64, value),
                }
            }
            Atom::Div(inner, divisor) => self.quotient(inner, *divisor, lane).0,
            Atom::Rem(inner, divisor) => {
                if divisor.count_ones() == 1 {
                    // Right for negative numbers too: the remainder is that of the division toward -inf.
                    let value = self.sum(inner, 1, lane);
                    return self.b.ins().band_imm_s(value, divisor - 1);
                }
                let (quotient, value) = self.quotient(inner, *divisor, lane);
                let multiple = self.b.ins().imul_imm_s(quotient, *divisor);
                self.b.ins().isub(value, multiple)
            }
        }
    }

    fn variable(&mut self, var: Var, lane: i64) -> Value {
        let value = self.vars[&var].value;
        match self.strip {
            Some(strip) if strip.var == var && lane != 0 => self.b.ins().iadd_imm_s(value, lane),
            _ => value,
        }
    }

    /// The quotient toward -inf, and the dividend.
    fn quotient(&mut self, inner: &Index, divisor: i64, lane: i64) -> (Value, Value) {
        let never_negative = matches!(inner.range(&self.range_of()), Some((low, _)) if low >= 0);
        let value = self.sum(inner, 1, lane);
        if divisor.count_ones() == 1 {
            return (self.b.ins().sshr_imm_u(value, divisor.trailing_zeros() as i64), value);
        }
        let by = self.b.ins().iconst(types::I64, divisor);
        if never_negative {
            return (self.b.ins().udiv(value, by), value);
        }
        let quotient = self.b.ins().sdiv(value, by);
        let multiple = self.b.ins().imul(quotient, by);
        let below = self.b.ins().icmp(IntCC::SignedLessThan, value, multiple);
        let below = self.b.ins().uextend(types::I64, below);
        (self.b.ins().isub(quotient, below), value)
    }

    /// The whole index times `scale`, in one lane.
    pub(crate) fn sum(&mut self, index: &Index, scale: i64, lane: i64) -> Value {
        let start = index.offset().wrapping_mul(scale);
        match self.terms(index, scale, lane, None) {
            None => self.b.ins().iconst(types::I64, start),
            Some(sum) if start == 0 => sum,
            Some(sum) => self.b.ins().iadd_imm_s(sum, start),
        }
    }

    /// `start` plus the terms, times `scale`, outer ones first: what inner loops do not change leaves them.
    fn terms(&mut self, index: &Index, scale: i64, lane: i64, start: Option<Value>) -> Option<Value> {
        let mut terms: Vec<(usize, &Atom, i64)> =
            index.terms().iter().map(|(atom, c)| (self.depth_of(atom), atom, *c)).collect();
        terms.sort_by_key(|t| t.0);
        let mut sum = start;
        for (_, atom, c) in terms {
            let value = self.atom(atom, lane);
            let factor = c.wrapping_mul(scale);
            let term = if factor == 1 { value } else { self.b.ins().imul_imm_s(value, factor) };
            sum = Some(match sum {
                None => term,
                Some(sum) => self.b.ins().iadd(sum, term),
            });
        }
        sum
    }

    /// Where element `index` of a parameter lies, in one lane.
    pub(crate) fn address(&mut self, param: usize, index: &Index, lane: i64) -> Address {
        let size = self.kernel.params[param].dtype.size() as i64;
        let base =
            self.terms(index, size, lane, Some(self.pointers[param])).expect("starts with the pointer");
        let constant = index.offset().wrapping_mul(size);
        match i32::try_from(constant) {
            Ok(offset) => Address { base, offset },
            Err(_) => Address { base: self.b.ins().iadd_imm_s(base, constant), offset: 0 },
        }
    }

    /// An index as a value of type `dtype`.
    pub(crate) fn index_value(&mut self, dtype: DType, index: &Index) -> Val {
        let depth = self.depth;
        if !self.varies(index) {
            let value = self.sum(index, 1, 0);
            let value = self.integer_as(value, dtype);
            return Val { value, dtype, wide: false, depth };
        }
        let value = match (dtype, self.lane_stride(index)) {
            (DType::I32, Some(stride)) => {
                let first = self.sum(index, 1, 0);
                let first = self.b.ins().ireduce(types::I32, first);
                let first = self.b.ins().splat(types::I32X4, first);
                let ramp = self.vector_constant(|lane| (lane.wrapping_mul(stride)) as i32);
                self.b.ins().iadd(first, ramp)
            }
            _ => {
                let lanes = (0..LANES).map(|lane| {
                    let value = self.sum(index, 1, lane);
                    self.integer_as(value, dtype)
                });
                let lanes: Vec<Value> = lanes.collect();
                self.gather_lanes(dtype, &lanes)
            }
        };
        Val { value, dtype, wide: true, depth }
    }
}
