//! Numbers of tensors, each exactly as it is.

use std::fmt;
use std::ops::Range;

use brolga_runtime::{DType, Result, Tensor};

use crate::json::Json;
use crate::report::metric;

/// A number of a tensor. A bool is 0 or 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Number {
    F32(f32),
    F64(f64),
    Whole(i64),
}

impl Number {
    /// Some of the numbers of a tensor.
    pub fn of(tensor: &Tensor, own: Range<usize>) -> Result<Vec<Number>> {
        Ok(match tensor.dtype() {
            DType::F32 => tensor.as_slice::<f32>()?[own].iter().map(|&v| Number::F32(v)).collect(),
            DType::F64 => tensor.as_slice::<f64>()?[own].iter().map(|&v| Number::F64(v)).collect(),
            DType::I32 => tensor.as_slice::<i32>()?[own].iter().map(|&v| Number::Whole(v.into())).collect(),
            DType::I64 => tensor.as_slice::<i64>()?[own].iter().map(|&v| Number::Whole(v)).collect(),
            DType::U8 | DType::Bool => tensor.bytes()[own].iter().map(|&v| Number::Whole(v.into())).collect(),
        })
    }

    /// The nearest `f64`.
    pub fn value(self) -> f64 {
        match self {
            Number::F32(value) => value.into(),
            Number::F64(value) => value,
            Number::Whole(value) => value as f64,
        }
    }

    /// For people: a float with few digits, a whole number as it is.
    pub fn short(self) -> String {
        match self {
            Number::Whole(value) => value.to_string(),
            float => metric(float.value()),
        }
    }
}

/// The fewest digits that read back as the same number of its type.
impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Number::F32(value) => value.fmt(f),
            Number::F64(value) => value.fmt(f),
            Number::Whole(value) => value.fmt(f),
        }
    }
}

impl From<Number> for Json {
    fn from(number: Number) -> Json {
        match number {
            Number::Whole(value) => value.into(),
            float => float.value().into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_exact_and_short() {
        let tensor = Tensor::from_slice(&[2], &[i64::MAX, -5]).unwrap();
        let numbers = Number::of(&tensor, 0..2).unwrap();
        assert_eq!(numbers[0].to_string(), "9223372036854775807");
        assert_eq!(Json::from(numbers.clone()).to_string(), "[9223372036854775807,-5]");
        assert_eq!(numbers[1].short(), "-5");
        let tensor = Tensor::from_slice(&[3], &[0.1f32, 1e30, f32::NAN]).unwrap();
        let numbers = Number::of(&tensor, 0..3).unwrap();
        assert_eq!(numbers[0].to_string(), "0.1");
        assert_eq!((numbers[0].short(), numbers[1].short()), ("0.1000".into(), "1.0000e30".into()));
        assert_eq!(Json::from(numbers[2]).to_string(), "null");
    }
}
