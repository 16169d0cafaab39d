//! Scalars, and the scalar operations that both the graph's definitions and the kernel program are made of.
//!
//! [`ScalarOp::apply`] is the one place that says what an operation does to the bits; interpreters call it, and
//! emitters must agree with it exactly (all NaNs count as one).

mod apply;
mod function;

pub use function::Function;
use half::bf16;

use crate::types::DType;

/// A value of one element type.
#[derive(Clone, Copy, Debug)]
pub enum Scalar {
    /// `bool`
    Bool(bool),
    /// `u8`
    U8(u8),
    /// `i32`
    I32(i32),
    /// `i64`
    I64(i64),
    /// `bf16`
    Bf16(bf16),
    /// `f32`
    F32(f32),
    /// `f64`
    F64(f64),
}

/// The form that every NaN takes in the outputs of an entry, in bits: positive, quiet, without payload.
pub const NAN_F32: u32 = 0x7fc0_0000;
/// The same of `f64`.
pub const NAN_F64: u64 = 0x7ff8_0000_0000_0000;
/// The same of `bf16`.
pub const NAN_BF16: u16 = 0x7fc0;

impl Scalar {
    /// Zero of that type (false for `bool`); floats get +0.
    pub fn zero(dtype: DType) -> Scalar {
        Scalar::from_f64(dtype, 0.0)
    }

    /// One of that type (true for `bool`).
    pub fn one(dtype: DType) -> Scalar {
        Scalar::from_f64(dtype, 1.0)
    }

    /// The nearest value of that type; floats round to nearest, integers saturate, NaN becomes 0 in integers.
    /// What becomes a `bf16` is rounded to an `f32` first, as every conversion to it.
    pub fn from_f64(dtype: DType, value: f64) -> Scalar {
        match dtype {
            DType::Bool => Scalar::Bool(value != 0.0),
            DType::U8 => Scalar::U8(value as u8),
            DType::I32 => Scalar::I32(value as i32),
            DType::I64 => Scalar::I64(value as i64),
            DType::Bf16 => Scalar::Bf16(bf16::from_f32(value as f32)),
            DType::F32 => Scalar::F32(value as f32),
            DType::F64 => Scalar::F64(value),
        }
    }

    /// The integer in that type; integers wrap, floats round.
    pub fn from_i64(dtype: DType, value: i64) -> Scalar {
        match dtype {
            DType::Bool => Scalar::Bool(value != 0),
            DType::U8 => Scalar::U8(value as u8),
            DType::I32 => Scalar::I32(value as i32),
            DType::I64 => Scalar::I64(value),
            DType::Bf16 => Scalar::Bf16(bf16::from_f32(value as f32)),
            DType::F32 => Scalar::F32(value as f32),
            DType::F64 => Scalar::F64(value as f64),
        }
    }

    /// Its element type.
    pub fn dtype(self) -> DType {
        match self {
            Scalar::Bool(_) => DType::Bool,
            Scalar::U8(_) => DType::U8,
            Scalar::I32(_) => DType::I32,
            Scalar::I64(_) => DType::I64,
            Scalar::Bf16(_) => DType::Bf16,
            Scalar::F32(_) => DType::F32,
            Scalar::F64(_) => DType::F64,
        }
    }

    /// As a 64-bit float (an `i64` beyond 2^53 rounds).
    pub fn to_f64(self) -> f64 {
        match self {
            Scalar::Bool(v) => v as u8 as f64,
            Scalar::U8(v) => v as f64,
            Scalar::I32(v) => v as f64,
            Scalar::I64(v) => v as f64,
            Scalar::Bf16(v) => v.to_f32() as f64,
            Scalar::F32(v) => v as f64,
            Scalar::F64(v) => v,
        }
    }

    /// As a 64-bit integer; floats truncate and saturate, NaN becomes 0.
    pub fn to_i64(self) -> i64 {
        match self {
            Scalar::Bool(v) => v as i64,
            Scalar::U8(v) => v as i64,
            Scalar::I32(v) => v as i64,
            Scalar::I64(v) => v,
            Scalar::Bf16(v) => v.to_f32() as i64,
            Scalar::F32(v) => v as i64,
            Scalar::F64(v) => v as i64,
        }
    }

    /// The truth value of a `bool`.
    pub fn to_bool(self) -> bool {
        matches!(self, Scalar::Bool(true))
    }

    /// Equality of bits, except that all NaNs are one value; +0 and -0 differ.
    pub fn same(self, other: Scalar) -> bool {
        match (self, other) {
            (Scalar::Bool(a), Scalar::Bool(b)) => a == b,
            (Scalar::U8(a), Scalar::U8(b)) => a == b,
            (Scalar::I32(a), Scalar::I32(b)) => a == b,
            (Scalar::I64(a), Scalar::I64(b)) => a == b,
            (Scalar::Bf16(a), Scalar::Bf16(b)) => a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()),
            (Scalar::F32(a), Scalar::F32(b)) => a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()),
            (Scalar::F64(a), Scalar::F64(b)) => a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()),
            _ => false,
        }
    }
}

impl PartialEq for Scalar {
    /// [`same`](Scalar::same): two kernels that differ in the sign of a zero are two.
    fn eq(&self, other: &Scalar) -> bool {
        self.same(*other)
    }
}

impl Eq for Scalar {}

/// How two values are compared. Floats: every comparison with a NaN is false, except `Ne`, which is true.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum Comparison {
    /// `a == b`
    Eq,
    /// `a != b`
    Ne,
    /// `a < b`
    Lt,
    /// `a <= b`
    Le,
    /// `a > b`
    Gt,
    /// `a >= b`
    Ge,
}

impl Comparison {
    /// Every comparison.
    pub const ALL: [Comparison; 6] =
        [Comparison::Eq, Comparison::Ne, Comparison::Lt, Comparison::Le, Comparison::Gt, Comparison::Ge];

    /// The name in text forms.
    pub fn name(self) -> &'static str {
        match self {
            Comparison::Eq => "eq",
            Comparison::Ne => "ne",
            Comparison::Lt => "lt",
            Comparison::Le => "le",
            Comparison::Gt => "gt",
            Comparison::Ge => "ge",
        }
    }

    /// Whether `a` and `b` compare so.
    pub fn holds<T: PartialOrd>(self, a: T, b: T) -> bool {
        match self {
            Comparison::Eq => a == b,
            Comparison::Ne => a != b,
            Comparison::Lt => a < b,
            Comparison::Le => a <= b,
            Comparison::Gt => a > b,
            Comparison::Ge => a >= b,
        }
    }
}

/// An operation on scalars: the vocabulary of definitions and of lane code.
///
/// Operands of one operation have one type, but for `Select` (a `bool` first). Integers wrap.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ScalarOp {
    /// `-a`
    Neg,
    /// `|a|`
    Abs,
    /// square root, correctly rounded; floats
    Sqrt,
    /// toward -inf; floats
    Floor,
    /// toward +inf; floats
    Ceil,
    /// toward zero; floats
    Trunc,
    /// to nearest, ties to even; floats
    Round,
    /// bitwise complement of integers, logical not of `bool`
    Not,
    /// an elementary function of floats
    Function(Function),
    /// `a + b`
    Add,
    /// `a - b`
    Sub,
    /// `a * b`
    Mul,
    /// `a / b`; integers truncate, x / 0 = 0, MIN / -1 = MIN
    Div,
    /// remainder with the sign of the dividend; integers: x % 0 = x, MIN % -1 = 0
    Rem,
    /// exactly `a > b ? a : b`
    Max,
    /// exactly `a < b ? a : b`
    Min,
    /// bits, or logical and
    And,
    /// bits, or logical or
    Or,
    /// bits, or logical exclusive or
    Xor,
    /// `a << (b mod width)`
    Shl,
    /// arithmetic (signed types) shift right by `b mod width`
    Shr,
    /// logical shift right by `b mod width`
    ShrLogical,
    /// upper 32 bits of the unsigned product of two `i32`
    MulHigh,
    /// `a * b + c` with one rounding; floats
    Fma,
    /// compares two operands: gives `bool`
    Compare(Comparison),
    /// `a ? b : c`
    Select,
    /// to another type: float to integer saturates, NaN to 0; anything to bool is `a != 0`; anything to bf16 becomes
    /// an f32, then rounds to nearest, ties to even, and NaN stays NaN
    Convert(DType),
    /// the same bits as another type of the same width
    Bitcast(DType),
}

impl ScalarOp {
    /// Number of operands.
    pub fn arity(self) -> usize {
        use ScalarOp::*;
        match self {
            Neg | Abs | Sqrt | Floor | Ceil | Trunc | Round | Not | Convert(_) | Bitcast(_) => 1,
            Function(function) => function.arity(),
            Add | Sub | Mul | Div | Rem | Max | Min | And | Or | Xor | Shl | Shr | ShrLogical | MulHigh
            | Compare(_) => 2,
            Fma | Select => 3,
        }
    }

    /// Whether exchanging the first two operands, of that type, never changes the bits of the result. Maximum and
    /// minimum of floats keep the second of equal zeros, so they are not.
    pub fn is_commutative(self, dtype: DType) -> bool {
        use ScalarOp::*;
        match self {
            Add | Mul | And | Or | Xor | MulHigh | Fma => true,
            Compare(comparison) => matches!(comparison, Comparison::Eq | Comparison::Ne),
            Max | Min => !dtype.is_float(),
            _ => false,
        }
    }

    /// Every operation, `Convert` and `Bitcast` (one for each type) aside.
    pub fn all() -> impl Iterator<Item = ScalarOp> {
        use ScalarOp::*;
        #[rustfmt::skip]
        let plain = [
            Neg, Abs, Sqrt, Floor, Ceil, Trunc, Round, Not, Add, Sub, Mul, Div, Rem, Max, Min, And, Or, Xor, Shl, Shr,
            ShrLogical, MulHigh, Fma, Select,
        ];
        let compares = Comparison::ALL.into_iter().map(Compare);
        let functions = self::Function::ALL.into_iter().map(Function);
        plain.into_iter().chain(compares).chain(functions)
    }

    /// The operation of that name; `convert` and `bitcast` go to `to`.
    pub fn named(name: &str, to: DType) -> Option<ScalarOp> {
        let typed = [ScalarOp::Convert(to), ScalarOp::Bitcast(to)];
        ScalarOp::all().chain(typed).find(|op| op.name() == name)
    }

    /// The name in text forms; `Convert` and `Bitcast` give their type as an attribute.
    pub fn name(self) -> &'static str {
        use ScalarOp::*;
        match self {
            Neg => "neg",
            Abs => "abs",
            Sqrt => "sqrt",
            Floor => "floor",
            Ceil => "ceil",
            Trunc => "trunc",
            Round => "round",
            Not => "not",
            Function(function) => function.name(),
            Add => "add",
            Sub => "sub",
            Mul => "mul",
            Div => "div",
            Rem => "rem",
            Max => "max",
            Min => "min",
            And => "and",
            Or => "or",
            Xor => "xor",
            Shl => "shl",
            Shr => "shr",
            ShrLogical => "shr_logical",
            MulHigh => "mul_high",
            Fma => "fma",
            Compare(comparison) => comparison.name(),
            Select => "select",
            Convert(_) => "convert",
            Bitcast(_) => "bitcast",
        }
    }

    /// The type of the result for operands of those types, or why there is none.
    pub fn result(self, operands: &[DType]) -> Result<DType, String> {
        use ScalarOp::*;
        if operands.len() != self.arity() {
            return Err(format!("{} takes {} operands, not {}", self.name(), self.arity(), operands.len()));
        }
        let first = operands[0];
        let value = if self == Select { operands[1] } else { first };
        let same = operands[if self == Select { 1 } else { 0 }..].iter().all(|&d| d == value);
        if !same {
            return Err(format!("operands of {} differ in type: {operands:?}", self.name()));
        }
        if value.is_storage() && !matches!(self, Select | Convert(_)) {
            return Err(format!(
                "{} is not defined for {value}, which only stores: convert it to f32 first",
                self.name()
            ));
        }
        let allowed = match self {
            Sqrt | Floor | Ceil | Trunc | Round | Function(_) | Fma => first.is_float(),
            Neg | Abs | Add | Sub | Mul | Div | Rem => first != DType::Bool,
            Max | Min | Compare(_) | Convert(_) => true,
            Not | And | Or | Xor => !first.is_float(),
            Shl | Shr | ShrLogical => first.is_int(),
            MulHigh => first == DType::I32,
            Select => first == DType::Bool,
            Bitcast(to) => {
                to.size() == first.size() && to != DType::Bool && first != DType::Bool && !to.is_storage()
            }
        };
        if !allowed {
            return Err(format!("{} is not defined for {first}", self.name()));
        }
        Ok(match self {
            Compare(_) => DType::Bool,
            Convert(to) | Bitcast(to) => to,
            _ => value,
        })
    }
}
