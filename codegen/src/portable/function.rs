//! Elementary functions, written out in line: [`Arith`] over Cranelift values.

use brolga_ir::DType;
use brolga_ir::math::{Arith, Float};
use brolga_ir::scalar::Function;
use cranelift_codegen::ir::{
    InstBuilder, Type, Value,
    condcodes::{FloatCC, IntCC},
    types,
};

use super::context::KernelCx;

/// Writes operations on scalars of one float type, or on vectors of `f32`.
///
/// A mask is what a comparison gives: an `i8` beside scalars, an `i32x4` beside vectors.
struct Writer<'c, 'k> {
    cx: &'c mut KernelCx<'k>,
    float: Type,
    int: Type,
    wide: bool,
}

impl KernelCx<'_> {
    /// `function` of one or two arguments, which are vectors if `wide`.
    pub(crate) fn function(&mut self, function: Function, dtype: DType, args: &[Value], wide: bool) -> Value {
        let (kind, float, int) = match dtype {
            DType::F64 => (Float::F64, types::F64, types::I64),
            _ => (Float::F32, types::F32, types::I32),
        };
        let mut writer = Writer { cx: self, float, int, wide };
        function.build(kind, &mut writer, args[0], args[args.len() - 1])
    }
}

impl Writer<'_, '_> {
    fn splat(&mut self, scalar: Value) -> Value {
        if !self.wide {
            return scalar;
        }
        let ty = self.cx.b.func.dfg.value_type(scalar).by(4).expect("32-bit scalars have vectors");
        self.cx.b.ins().splat(ty, scalar)
    }

    fn amount(&mut self, by: u32) -> Value {
        self.cx.b.ins().iconst(types::I32, by as i64)
    }

    fn in_lanes(&self, ty: Type) -> Type {
        if self.wide { ty.by(4).expect("32-bit scalars have vectors") } else { ty }
    }
}

macro_rules! one_instruction {
    ($($method:ident($($arg:ident),*) = $instruction:ident;)*) => {
        $(fn $method(&mut self, $($arg: Value),*) -> Value {
            self.cx.b.ins().$instruction($($arg),*)
        })*
    };
}

impl Arith for Writer<'_, '_> {
    type V = Value;

    one_instruction! {
        add(x, y) = fadd;
        sub(x, y) = fsub;
        mul(x, y) = fmul;
        div(x, y) = fdiv;
        fma(x, y, z) = fma;
        neg(x) = fneg;
        abs(x) = fabs;
        sqrt(x) = sqrt;
        round_even(x) = nearest;
        int_add(x, y) = iadd;
        int_sub(x, y) = isub;
        int_and(x, y) = band;
        int_or(x, y) = bor;
        int_xor(x, y) = bxor;
    }

    fn float(&mut self, value: f64) -> Value {
        let scalar = if self.float == types::F64 {
            self.cx.b.ins().f64const(value)
        } else {
            self.cx.b.ins().f32const(value as f32)
        };
        self.splat(scalar)
    }

    fn int(&mut self, value: i64) -> Value {
        let value = if self.int == types::I32 { value as u32 as i64 } else { value };
        let scalar = self.cx.b.ins().iconst(self.int, value);
        self.splat(scalar)
    }

    fn min(&mut self, x: Value, y: Value) -> Value {
        let less = self.lt(x, y);
        self.select(less, x, y)
    }

    fn max(&mut self, x: Value, y: Value) -> Value {
        let more = self.lt(y, x);
        self.select(more, x, y)
    }

    fn lt(&mut self, x: Value, y: Value) -> Value {
        self.cx.b.ins().fcmp(FloatCC::LessThan, x, y)
    }

    fn eq(&mut self, x: Value, y: Value) -> Value {
        self.cx.b.ins().fcmp(FloatCC::Equal, x, y)
    }

    fn select(&mut self, mask: Value, x: Value, y: Value) -> Value {
        if !self.wide {
            return self.cx.b.ins().select(mask, x, y);
        }
        let ty = self.cx.b.func.dfg.value_type(x);
        let mask = self.cx.bitcast(ty, mask);
        self.cx.b.ins().bitselect(mask, x, y)
    }

    fn as_int(&mut self, x: Value) -> Value {
        let ty = self.in_lanes(self.int);
        self.cx.bitcast(ty, x)
    }

    fn as_float(&mut self, x: Value) -> Value {
        let ty = self.in_lanes(self.float);
        self.cx.bitcast(ty, x)
    }

    fn int_eq(&mut self, x: Value, y: Value) -> Value {
        self.cx.b.ins().icmp(IntCC::Equal, x, y)
    }

    fn shl(&mut self, x: Value, by: u32) -> Value {
        let by = self.amount(by);
        self.cx.b.ins().ishl(x, by)
    }

    fn shr(&mut self, x: Value, by: u32) -> Value {
        let by = self.amount(by);
        self.cx.b.ins().ushr(x, by)
    }
}
