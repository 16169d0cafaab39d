//! Types, scalars and tensors in text: printed so that the same bits are read back.

use std::fmt;

use half::bf16;

use crate::lexer::{Lexer, ParseError, Token};
use crate::scalar::Scalar;
use crate::tensor::Tensor;
use crate::types::{DType, Type};

/// Elements that the tensors of one text may have together where they are written in short (`splat`), so that a
/// short text cannot ask for all memory.
pub const MAX_SPLAT: usize = 1 << 26;

impl fmt::Display for Scalar {
    /// `true`, `-3`, `0.1`, `inf`, `nan`; a NaN of other bits than the usual ones is `nan(0xffc00000)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Scalar::Bool(v) => write!(f, "{v}"),
            Scalar::U8(v) => write!(f, "{v}"),
            Scalar::I32(v) => write!(f, "{v}"),
            Scalar::I64(v) => write!(f, "{v}"),
            Scalar::Bf16(v) if v.is_nan() && v.to_bits() != NAN16 => write!(f, "nan({:#06x})", v.to_bits()),
            Scalar::F32(v) if v.is_nan() && v.to_bits() != NAN32 => write!(f, "nan({:#010x})", v.to_bits()),
            Scalar::F64(v) if v.is_nan() && v.to_bits() != NAN64 => write!(f, "nan({:#018x})", v.to_bits()),
            Scalar::Bf16(v) if v.is_nan() => f.write_str("nan"),
            Scalar::F32(v) if v.is_nan() => f.write_str("nan"),
            Scalar::F64(v) if v.is_nan() => f.write_str("nan"),
            // Debug prints the shortest decimal that rounds to the value, and always a point or an exponent.
            Scalar::Bf16(v) => write!(f, "{:?}", v.to_f32()),
            Scalar::F32(v) => write!(f, "{v:?}"),
            Scalar::F64(v) => write!(f, "{v:?}"),
        }
    }
}

const NAN16: u16 = 0x7fc0;
const NAN32: u32 = 0x7fc0_0000;
const NAN64: u64 = 0x7ff8_0000_0000_0000;

/// Reads a scalar of that type.
pub fn scalar(lexer: &mut Lexer<'_>, dtype: DType) -> Result<Scalar, ParseError> {
    Ok(match dtype {
        DType::Bool if lexer.accept_word("true") => Scalar::Bool(true),
        DType::Bool if lexer.accept_word("false") => Scalar::Bool(false),
        DType::Bool => return Err(lexer.unexpected("`true` or `false`")),
        DType::U8 => Scalar::U8(lexer.integer("u8", 0, u8::MAX as i64)? as u8),
        DType::I32 => Scalar::I32(lexer.integer("i32", i32::MIN as i64, i32::MAX as i64)? as i32),
        DType::I64 => Scalar::I64(lexer.integer("i64", i64::MIN, i64::MAX)?),
        DType::Bf16 | DType::F32 | DType::F64 => float(lexer, dtype)?,
    })
}

fn float(lexer: &mut Lexer<'_>, dtype: DType) -> Result<Scalar, ParseError> {
    let negative = lexer.accept("-");
    let value = match lexer.peek() {
        Token::Ident("inf") => Scalar::from_f64(dtype, f64::INFINITY),
        Token::Ident("nan") => {
            lexer.take();
            return nan(lexer, dtype);
        }
        Token::Number(text) => match parse_float(text, dtype) {
            Some(value) => value,
            None => return Err(lexer.error(format!("expected a finite {dtype}, found {}", lexer.peek()))),
        },
        _ => return Err(lexer.unexpected(format_args!("a number of type {dtype}"))),
    };
    lexer.take();
    Ok(match value {
        Scalar::Bf16(v) if negative => Scalar::Bf16(-v),
        Scalar::F32(v) if negative => Scalar::F32(-v),
        Scalar::F64(v) if negative => Scalar::F64(-v),
        value => value,
    })
}

fn parse_float(text: &str, dtype: DType) -> Option<Scalar> {
    if text.starts_with("0x") {
        return None;
    }
    // Parsed in its own type: rounding twice would give other bits. A bf16 is an f32 first, as in every conversion.
    match dtype {
        DType::Bf16 => {
            let value = text.parse::<f32>().ok().map(bf16::from_f32);
            value.filter(|v| v.is_finite()).map(Scalar::Bf16)
        }
        DType::F32 => text.parse::<f32>().ok().filter(|v| v.is_finite()).map(Scalar::F32),
        _ => text.parse::<f64>().ok().filter(|v| v.is_finite()).map(Scalar::F64),
    }
}

/// Behind the word `nan`: its bits, or nothing.
fn nan(lexer: &mut Lexer<'_>, dtype: DType) -> Result<Scalar, ParseError> {
    let value = |bits: u64| match dtype {
        DType::Bf16 => u16::try_from(bits).ok().map(bf16::from_bits).filter(|v| v.is_nan()).map(Scalar::Bf16),
        DType::F32 => u32::try_from(bits).ok().map(f32::from_bits).filter(|v| v.is_nan()).map(Scalar::F32),
        _ => Some(f64::from_bits(bits)).filter(|v| v.is_nan()).map(Scalar::F64),
    };
    if !lexer.accept("(") {
        let usual = match dtype {
            DType::Bf16 => u64::from(NAN16),
            DType::F32 => u64::from(NAN32),
            _ => NAN64,
        };
        return Ok(value(usual).expect("the usual NaN is one"));
    }
    let bits = match lexer.peek() {
        Token::Number(text) => text.strip_prefix("0x").and_then(|hex| u64::from_str_radix(hex, 16).ok()),
        _ => None,
    };
    let nan = bits
        .and_then(value)
        .ok_or_else(|| lexer.unexpected(format_args!("the bits of a NaN of type {dtype}")))?;
    lexer.take();
    lexer.expect(")")?;
    Ok(nan)
}

const ELEMENT_TYPE: &str = "an element type (bool, u8, i32, i64, bf16, f32, f64)";

/// Reads `f32`.
pub fn dtype(lexer: &mut Lexer<'_>) -> Result<DType, ParseError> {
    let Token::Ident(text) = lexer.peek() else {
        return Err(lexer.unexpected(ELEMENT_TYPE));
    };
    let dtype = DType::from_name(text).ok_or_else(|| lexer.unexpected(ELEMENT_TYPE))?;
    lexer.take();
    Ok(dtype)
}

/// Reads `f32[32, 784]`, of at most [`MAX_BYTES`](crate::types::MAX_BYTES).
pub fn ty(lexer: &mut Lexer<'_>) -> Result<Type, ParseError> {
    let start = lexer.offset();
    let ty = Type { dtype: dtype(lexer)?, dims: extents(lexer)? };
    match ty.check_size() {
        Ok(()) => Ok(ty),
        Err(message) => Err(lexer.error_at(start, message)),
    }
}

/// Reads `[32, 784]`.
pub fn extents(lexer: &mut Lexer<'_>) -> Result<Vec<usize>, ParseError> {
    lexer.expect("[")?;
    let mut dims = Vec::new();
    while !lexer.accept("]") {
        if !dims.is_empty() {
            lexer.expect(",")?;
        }
        dims.push(lexer.size("an extent")?);
    }
    Ok(dims)
}

/// A tensor's elements in text: `[1.0, 2.0]` in row-major order, or `splat 1.0` where all are the same.
pub struct Elements<'t>(pub &'t Tensor);

impl fmt::Display for Elements<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Elements(tensor) = self;
        let (n, first) = (tensor.elements(), (tensor.elements() > 0).then(|| tensor.get(0)));
        // Equal bits: NaNs of other bits are written out.
        if let Some(first) = first
            && n > 1
            && n <= MAX_SPLAT
            && (1..n).all(|i| identical(tensor.get(i), first))
        {
            return write!(f, "splat {first}");
        }
        f.write_str("[")?;
        for i in 0..n {
            write!(f, "{}{}", if i == 0 { "" } else { ", " }, tensor.get(i))?;
        }
        f.write_str("]")
    }
}

fn identical(a: Scalar, b: Scalar) -> bool {
    match (a, b) {
        (Scalar::Bf16(a), Scalar::Bf16(b)) => a.to_bits() == b.to_bits(),
        (Scalar::F32(a), Scalar::F32(b)) => a.to_bits() == b.to_bits(),
        (Scalar::F64(a), Scalar::F64(b)) => a.to_bits() == b.to_bits(),
        (a, b) => a == b,
    }
}

/// Reads the elements of a tensor of type `ty`. `budget` is what [`MAX_SPLAT`] leaves for the rest of the text.
pub fn elements(lexer: &mut Lexer<'_>, ty: &Type, budget: &mut usize) -> Result<Tensor, ParseError> {
    let start = lexer.offset();
    if lexer.accept_word("splat") {
        let value = scalar(lexer, ty.dtype)?;
        *budget = budget.checked_sub(ty.elements()).ok_or_else(|| {
            lexer.error_at(
                start,
                format!("the splat tensors of one text may have {MAX_SPLAT} elements together"),
            )
        })?;
        return Tensor::try_full(ty, value).map_err(|message| lexer.error_at(start, message));
    }
    lexer.expect("[")?;
    let mut values = Vec::new();
    while !lexer.accept("]") {
        if !values.is_empty() {
            lexer.expect(",")?;
        }
        values.push(scalar(lexer, ty.dtype)?);
    }
    if values.len() != ty.elements() {
        let message = format!("{ty} has {} elements, but {} are written", ty.elements(), values.len());
        return Err(lexer.error_at(start, message));
    }
    Tensor::try_generate(ty, |i| values[i]).map_err(|message| lexer.error_at(start, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(tensor: &Tensor) -> Tensor {
        let text = Elements(tensor).to_string();
        let mut lexer = Lexer::new(&text);
        let read = elements(&mut lexer, &tensor.ty(), &mut MAX_SPLAT.clone()).unwrap();
        assert_eq!(lexer.peek(), Token::End);
        read
    }

    #[test]
    fn floats_keep_their_bits() {
        let bits =
            [0, 1, 0x8000_0000, 0x7f80_0000, 0xff80_0000, 0x7fc0_0000, 0xffc0_0000, 0x7f80_0001, 0x3dcc_cccd];
        let mut seed = 1u32;
        let random = std::iter::repeat_with(|| {
            seed = seed.wrapping_mul(1664525).wrapping_add(1013904223);
            seed
        });
        let values: Vec<f32> = bits.into_iter().chain(random.take(2000)).map(f32::from_bits).collect();
        let read = round_trip(&Tensor::f32([values.len()], values.clone()));
        for (i, value) in values.iter().enumerate() {
            assert!(identical(read.get(i), Scalar::F32(*value)), "{value:?} became {:?}", read.get(i));
        }
        let doubles = [0.1, -0.0, 5e-324, f64::MAX, f64::NAN, f64::NEG_INFINITY];
        let read = round_trip(&Tensor::f64([6], doubles));
        assert!((0..6).all(|i| identical(read.get(i), Scalar::F64(doubles[i]))));
    }

    #[test]
    fn every_bf16_keeps_its_bits() {
        let all: Vec<bf16> = (0..=u16::MAX).map(bf16::from_bits).collect();
        let tensor = Tensor::new([all.len()], crate::tensor::Data::Bf16(all));
        let read = round_trip(&tensor);
        assert!((0..tensor.elements()).all(|i| identical(read.get(i), tensor.get(i))));
    }

    #[test]
    fn equal_elements_are_written_once() {
        let tensor = Tensor::full([100, 100], Scalar::I64(i64::MIN));
        assert_eq!(Elements(&tensor).to_string(), "splat -9223372036854775808");
        assert_eq!(round_trip(&tensor), tensor);
        let empty = Tensor::f32([0, 3], []);
        assert_eq!(round_trip(&empty), empty);
    }

    #[test]
    fn wrong_literals_are_errors() {
        let message = |text: &str, ty: Type| {
            elements(&mut Lexer::new(text), &ty, &mut 100)
                .map(|t| Elements(&t).to_string())
                .unwrap_err()
                .to_string()
        };
        let f32s = |n: usize| Type::new(DType::F32, [n]);
        assert_eq!(message("[1.0]", f32s(2)), "line 1, column 1: f32[2] has 2 elements, but 1 are written");
        assert_eq!(message("[1e999]", f32s(1)), "line 1, column 2: expected a finite f32, found `1e999`");
        assert_eq!(
            message("splat 1.0", f32s(101)),
            "line 1, column 1: the splat tensors of one text may have 67108864 elements together"
        );
        assert_eq!(
            message("[300]", Type::new(DType::U8, [1])),
            "line 1, column 2: expected u8 in 0..=255, found `300`"
        );
        assert_eq!(
            message("[nan(0x1)]", f32s(1)),
            "line 1, column 6: expected the bits of a NaN of type f32, found `0x1`"
        );
    }
}
