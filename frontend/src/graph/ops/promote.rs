//! Element types of results: PyTorch's rules for tensors and numbers that meet.
//!
//! Types stand in the order bool, u8, i32, i64, f32, f64, and tensors take the largest among them. A number takes the
//! type of the tensors, unless it is of a higher kind (truth value, whole number, fraction) than all of them: then a
//! whole number makes truth values `i64`, and a fraction makes whole numbers and truth values floats. So `u8 + 1` is
//! `u8`, `bool + 1` is `i64`, `i32 * 0.5` is `f32`. A number that the type cannot hold, as 300 a `u8`, is a mistake at
//! its place: it never wraps.

use brolga_ir::scalar::{Comparison, Scalar, ScalarOp};
use brolga_ir::{DType, Type};

use super::Ops;
use crate::expr::Binary;
use crate::graph::value::{Built, Fault, Tensor, Val};
use crate::source::Spanned;

/// The kinds of element types, in the order in which the larger kind wins: a fraction makes a whole number a fraction.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Category {
    Truth,
    Whole,
    Fraction,
}

impl Category {
    fn of(dtype: DType) -> Category {
        match dtype {
            DType::Bool => Category::Truth,
            DType::U8 | DType::I32 | DType::I64 => Category::Whole,
            DType::Bf16 | DType::F32 | DType::F64 => Category::Fraction,
        }
    }
}

/// The least and greatest integer of a type.
pub(super) fn bounds(dtype: DType) -> Option<(i64, i64)> {
    match dtype {
        DType::U8 => Some((0, i64::from(u8::MAX))),
        DType::I32 => Some((i64::from(i32::MIN), i64::from(i32::MAX))),
        DType::I64 => Some((i64::MIN, i64::MAX)),
        DType::Bool => Some((0, 1)),
        DType::Bf16 | DType::F32 | DType::F64 => None,
    }
}

impl Ops<'_> {
    /// A tensor in the element type that it takes beside others. Messages name what it was before: see [`Self::written`].
    fn brought(&mut self, x: Tensor, dtype: DType) -> Built {
        let converted = self.convert(x, dtype)?;
        if converted != x {
            self.written.insert(converted, x);
        }
        Ok(converted)
    }

    /// The type of a value as the model has it, for messages: before it was brought to the element type of others.
    pub fn written(&self, x: Tensor) -> Type {
        let mut x = x;
        while let Some(&before) = self.written.get(&x) {
            x = before;
        }
        self.ty(x)
    }

    /// Floats as they are, everything else as `float`.
    pub fn floated(&mut self, x: Tensor, float: DType) -> Built {
        if self.dtype(x).is_float() { Ok(x) } else { self.brought(x, float) }
    }

    /// Tensors brought to the largest element type among them; shapes stay as they are.
    pub fn of_one_type(&mut self, tensors: &[Tensor]) -> Built<Vec<Tensor>> {
        let largest = tensors.iter().map(|&tensor| self.dtype(tensor)).max();
        let largest = largest.unwrap_or(DType::Bool);
        tensors.iter().map(|&tensor| self.brought(tensor, largest)).collect()
    }

    /// The values as tensors of one element type, by the rules above; shapes stay as they are.
    pub fn promote(&mut self, values: &[&Spanned<Val>]) -> Built<Vec<Tensor>> {
        let mut dtype: Option<DType> = None;
        let mut number: Option<Category> = None;
        for value in values {
            self.survey(&value.value, &mut dtype, &mut number).map_err(|fault| fault.at(value.span))?;
        }
        let float = self.float();
        let dtype = match (dtype, number) {
            (Some(dtype), number) if number <= Some(Category::of(dtype)) => dtype,
            (_, Some(Category::Fraction)) => float,
            (_, Some(Category::Whole)) => DType::I64,
            _ => DType::Bool,
        };
        let tensor = |value: &&Spanned<Val>| match value.value {
            Val::Tensor(tensor) => self.brought(tensor, dtype),
            Val::List(_) => self.list(value, dtype),
            _ => self.literal(value, dtype),
        };
        values.iter().map(tensor).collect()
    }

    /// The largest type of tensors, and the highest kind of numbers, in a value.
    fn survey(&self, value: &Val, dtype: &mut Option<DType>, number: &mut Option<Category>) -> Built<()> {
        match value {
            Val::Tensor(tensor) => *dtype = (*dtype).max(Some(self.dtype(*tensor))),
            Val::Bool(_) => *number = (*number).max(Some(Category::Truth)),
            Val::Int(_) => *number = (*number).max(Some(Category::Whole)),
            Val::Float(_) => *number = (*number).max(Some(Category::Fraction)),
            Val::List(items) => {
                // A list without elements holds floats, as in PyTorch.
                if items.is_empty() {
                    *number = (*number).max(Some(Category::Fraction));
                }
                return items.iter().try_for_each(|item| self.survey(item, dtype, number));
            }
            other => {
                return Err(Fault::new(format!("expected a tensor or a number, found {}", other.describe())));
            }
        }
        Ok(())
    }

    /// A value by itself as a tensor: whole numbers are i64, fractions floats.
    pub fn tensor(&mut self, value: &Spanned<Val>) -> Built {
        Ok(self.promote(&[value])?[0])
    }

    /// A list as a tensor of that type; its elements, numbers, tensors and lists, have one shape and stand along a new first
    /// axis.
    pub fn list(&mut self, list: &Spanned<Val>, dtype: DType) -> Built {
        let wrong = |message: String| Fault::new(message).at(list.span);
        let items = match &list.value {
            Val::List(items) if list.value.has_tensor() => items,
            numbers => {
                let mut items = Vec::new();
                let ty = Type::new(dtype, extents(numbers, &mut items).map_err(wrong)?);
                let number = |item: Val| met(&Spanned::new(item, list.span), dtype);
                let numbers = items.into_iter().map(number).collect::<Built<Vec<_>>>()?;
                return Ok(self.b.constant(brolga_ir::Tensor::generate(&ty, |i| numbers[i]))?);
            }
        };
        let mut parts = Vec::new();
        for item in items {
            parts.push(match item {
                Val::Tensor(tensor) => self.brought(*tensor, dtype)?,
                other => self.list(&Spanned::new(other.clone(), list.span), dtype)?,
            });
        }
        let part_dims = self.dims(parts[0]);
        if let Some(&other) = parts.iter().find(|&&part| self.dims(part) != part_dims) {
            let types = format!("{} and {}", self.written(parts[0]), self.written(other));
            return Err(wrong(format!("the elements of a list must have one shape, found {types}")));
        }
        let single: Vec<usize> = [1].into_iter().chain(part_dims).collect();
        let parts = parts.into_iter().map(|part| self.reshape(part, &single)).collect::<Built<Vec<_>>>()?;
        Ok(self.b.concat(&parts, 0)?)
    }

    /// A number as a scalar tensor of that type; a mistake if the type cannot hold it.
    pub fn literal(&mut self, number: &Spanned<Val>, dtype: DType) -> Built {
        let number = met(number, dtype)?;
        Ok(self.b.constant(brolga_ir::Tensor::scalar(number))?)
    }

    /// The same, where the type is named beside the number.
    pub fn literal_as(&mut self, number: &Spanned<Val>, dtype: DType) -> Built {
        let number = held(number, dtype).map_err(|fault| match number.value.as_int() {
            _ if dtype.is_float() => fault,
            Some(_) => fault.help("'i64' holds it"),
            None if number.value.as_float().is_some() => fault.help("'f32' holds fractions"),
            _ => fault,
        })?;
        Ok(self.b.constant(brolga_ir::Tensor::scalar(number))?)
    }

    /// Two operands of an operator as tensors of one element type.
    pub fn operands(
        &mut self,
        operator: Binary,
        left: &Spanned<Val>,
        right: &Spanned<Val>,
    ) -> Built<(Tensor, Tensor)> {
        for side in [left, right] {
            let takes = matches!(
                side.value,
                Val::Tensor(_) | Val::List(_) | Val::Int(_) | Val::Float(_) | Val::Bool(_)
            );
            if !takes {
                let other = side.value.describe();
                return Err(Fault::new(format!("`{}` cannot take a tensor and {other}", operator.symbol())));
            }
        }
        let promoted = self.promote(&[left, right])?;
        let (mut a, mut b) = (promoted[0], promoted[1]);
        // Division gives fractions.
        if operator == Binary::Div && !self.dtype(a).is_float() {
            let float = self.float();
            (a, b) = (self.brought(a, float)?, self.brought(b, float)?);
        }
        Ok((a, b))
    }

    /// The quotient of integers rounded down, or the remainder with the sign of the divisor, as in Python; of a
    /// divisor 0 the quotient is 0 and the remainder the dividend.
    pub fn int_division(&mut self, operator: Binary, a: Tensor, b: Tensor) -> Built {
        let (a, b) = self.align(a, b)?;
        if self.dtype(a) == DType::U8 {
            let op = if operator == Binary::Rem { ScalarOp::Rem } else { ScalarOp::Div };
            return self.elementwise2(op, a, b);
        }
        // The machine rounds towards zero; where that is up, the quotient is one less.
        let rest = self.elementwise2(ScalarOp::Rem, a, b)?;
        let inexact = self.compare_num(Comparison::Ne, rest, 0.0)?;
        let signs = self.elementwise2(ScalarOp::Xor, rest, b)?;
        let opposite = self.compare_num(Comparison::Lt, signs, 0.0)?;
        let divides = self.compare_num(Comparison::Ne, b, 0.0)?;
        let up = self.elementwise2(ScalarOp::And, inexact, opposite)?;
        let up = self.elementwise2(ScalarOp::And, up, divides)?;
        if operator == Binary::Rem {
            let moved = self.add(rest, b)?;
            return self.select(up, moved, rest);
        }
        let quotient = self.div(a, b)?;
        let lower = self.sub_num(quotient, 1.0)?;
        self.select(up, lower, quotient)
    }

    /// `x^exponent` of integers, exponents one for each element, by squaring; it wraps. Of a negative exponent it is the
    /// fraction towards 0, as in PyTorch: 0 but for 1 and -1.
    pub fn int_powers(&mut self, x: Tensor, exponent: Tensor) -> Built {
        let (x, exponent) = self.align(x, exponent)?;
        let ty = self.ty(x);
        let (zero, one) = (self.full(0.0, &ty)?, self.full(1.0, &ty)?);
        let bits = match ty.dtype {
            DType::U8 => 8,
            DType::I64 => 63,
            _ => 31,
        };
        let (mut result, mut square) = (one, x);
        for bit in 0..bits {
            let mask = self.int_scalar(1 << bit, ty.dtype)?;
            let here = self.elementwise2(ScalarOp::And, exponent, mask)?;
            let here = self.compare(Comparison::Ne, here, zero)?;
            let factor = self.select(here, square, one)?;
            result = self.mul(result, factor)?;
            if bit + 1 < bits {
                square = self.square(square)?;
            }
        }
        if ty.dtype == DType::U8 {
            return Ok(result);
        }
        // The low bits of a negative number tell its parity, and 1 and -1 to a power depend on nothing else.
        let minus = self.compare(Comparison::Lt, exponent, zero)?;
        let magnitude = self.elementwise(ScalarOp::Abs, x)?;
        let unit = self.compare(Comparison::Eq, magnitude, one)?;
        let fraction = self.select(unit, result, zero)?;
        self.select(minus, fraction, result)
    }

    /// `x^exponent` of integers, by squaring.
    pub fn int_power(&mut self, x: Tensor, exponent: i64) -> Built {
        if exponent < 0 {
            return Err(
                Fault::new("an integer to a negative power is a fraction").help("convert with `float(x)`")
            );
        }
        let (mut result, mut square, mut rest) = (None, x, exponent);
        while rest > 0 {
            if rest % 2 == 1 {
                result = Some(match result {
                    None => square,
                    Some(result) => self.mul(result, square)?,
                });
            }
            rest /= 2;
            if rest > 0 {
                square = self.mul(square, square)?;
            }
        }
        match result {
            Some(result) => Ok(result),
            None => {
                let ty = self.ty(x);
                self.full(1.0, &ty)
            }
        }
    }
}

/// A number in that type; a mistake if the type cannot hold it.
fn held(number: &Spanned<Val>, dtype: DType) -> Built<Scalar> {
    let wrong = |message: String| Err(Fault::new(message).at(number.span));
    let described = number.value.describe();
    let (whole, value) = match number.value {
        Val::Bool(truth) => (Some(i64::from(truth)), f64::from(u8::from(truth))),
        Val::Int(_) | Val::Float(_) => (number.value.as_int(), number.value.as_float().unwrap_or(0.0)),
        _ => return wrong(format!("expected a number, found {described}")),
    };
    match (bounds(dtype), whole) {
        (None, _) if dtype == DType::F32 && value.is_finite() && (value as f32).is_infinite() => {
            wrong(format!("{described} does not fit into f32"))
        }
        (None, _) => Ok(Scalar::from_f64(dtype, value)),
        (Some((low, high)), Some(whole)) if (low..=high).contains(&whole) => {
            Ok(Scalar::from_i64(dtype, whole))
        }
        (Some((low, high)), Some(_)) => {
            wrong(format!("{described} does not fit into {dtype}: its numbers are {low} to {high}"))
        }
        (Some(_), None) => wrong(format!("{described} does not fit into {dtype}: it is no whole number")),
    }
}

/// The same of a number that meets a tensor of that type.
fn met(number: &Spanned<Val>, dtype: DType) -> Built<Scalar> {
    held(number, dtype).map_err(|fault| match (dtype, number.value.as_int()) {
        (DType::U8, Some(_)) => fault.help("`int(x)` makes the tensor i32"),
        (DType::I32 | DType::I64 | DType::Bool, Some(_)) => {
            fault.help("declare the tensor as i64, or convert it with `float(x)`")
        }
        _ => fault,
    })
}

/// The extents of a list of lists of equal lengths; its elements are put into `items`.
fn extents(value: &Val, items: &mut Vec<Val>) -> Result<Vec<usize>, String> {
    let Val::List(list) = value else {
        items.push(value.clone());
        return Ok(Vec::new());
    };
    let mut inner: Option<Vec<usize>> = None;
    for item in list {
        let found = extents(item, items)?;
        if inner.as_ref().is_some_and(|inner| *inner != found) {
            return Err("the lists in a list must have equal lengths".into());
        }
        inner = Some(found);
    }
    Ok([list.len()].into_iter().chain(inner.unwrap_or_default()).collect())
}
