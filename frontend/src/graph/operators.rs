//! The operators of expressions on values: numbers are computed here, with Python's rules; where a tensor is among the
//! operands, the operator becomes nodes of the graph.

use brolga_ir::Size;

use super::builder::Builder;
use super::value::{Fault, Val};
use crate::expr::Binary;
use crate::source::Spanned;

/// What to do where a list is taken for a tensor, but meets none.
pub(super) const LISTS: &str = "a list is a tensor where it meets one; by itself `stack([1, 2])` is one";

/// The longest list that an expression may make.
const LONGEST_LIST: i64 = 100_000;

pub(super) fn overflow() -> Fault {
    Fault::new("the result does not fit into 64 bits")
}

/// Applies an operator to two known values.
pub(crate) fn binary(
    builder: &mut Builder,
    operator: Binary,
    left: &Spanned<Val>,
    right: &Spanned<Val>,
) -> Result<Val, Fault> {
    match (&left.value, &right.value) {
        (Val::Tensor(_), _) | (_, Val::Tensor(_)) => {
            builder.ops().binary(operator, left, right).map(Val::Tensor)
        }
        (left, right) => numbers(operator, left, right),
    }
}

/// Whether both hold.
pub(super) fn both(builder: &mut Builder, left: &Spanned<Val>, right: &Spanned<Val>) -> Result<Val, Fault> {
    match (&left.value, &right.value) {
        (Val::Bool(left), Val::Bool(right)) => Ok(Val::Bool(*left && *right)),
        _ => binary(builder, Binary::And, left, right),
    }
}

/// An operator on two values that are no tensors.
fn numbers(operator: Binary, left: &Val, right: &Val) -> Result<Val, Fault> {
    let is_equality = matches!(operator, Binary::Eq | Binary::Ne);
    match (left, right) {
        (Val::Int(a), Val::Int(b)) => whole_numbers(operator, *a, *b),
        (Val::List(a), Val::List(b)) if operator == Binary::Add => list(a.iter().chain(b).cloned().collect()),
        (Val::List(items), Val::Int(times)) | (Val::Int(times), Val::List(items))
            if operator == Binary::Mul =>
        {
            repeated(items, *times)
        }
        (Val::Text(_), Val::Text(_)) | (Val::Bool(_), Val::Bool(_)) | (Val::List(_), Val::List(_))
            if is_equality =>
        {
            Ok(Val::Bool((left == right) == (operator == Binary::Eq)))
        }
        (Val::None, _) | (_, Val::None) if is_equality => {
            Ok(Val::Bool((left == right) == (operator == Binary::Eq)))
        }
        _ => match (left.as_float(), right.as_float()) {
            (Some(a), Some(b)) => fractions(operator, a, b),
            _ => Err(not_taken(operator, left, right)),
        },
    }
}

/// An operator on two whole numbers. Division gives a fraction; everything else that does not fit into 64 bits is a mistake.
fn whole_numbers(operator: Binary, a: i64, b: i64) -> Result<Val, Fault> {
    use Binary::{Add, And, Div, Eq, FloorDiv, Ge, Gt, Le, Lt, MatMul, Mul, Ne, Or, Pow, Rem, Sub};
    let int = |value: Option<i64>| value.map(Val::Int).ok_or_else(overflow);
    match operator {
        Add => int(a.checked_add(b)),
        Sub => int(a.checked_sub(b)),
        Mul => int(a.checked_mul(b)),
        Div | FloorDiv | Rem if b == 0 => Err(Fault::new("division by zero")),
        Div => Ok(Val::Float(a as f64 / b as f64)),
        FloorDiv => {
            int(a.checked_div_euclid(b).map(|q| if b < 0 && a.rem_euclid(b) != 0 { q - 1 } else { q }))
        }
        // The remainder has the sign of the divisor, as in Python.
        Rem => int(a.checked_rem_euclid(b).map(|r| if b < 0 && r != 0 { r + b } else { r })),
        Pow if b >= 0 => int(u32::try_from(b).ok().and_then(|b| a.checked_pow(b))),
        Pow => Ok(Val::Float((a as f64).powf(b as f64))),
        Eq => Ok(Val::Bool(a == b)),
        Ne => Ok(Val::Bool(a != b)),
        Lt => Ok(Val::Bool(a < b)),
        Le => Ok(Val::Bool(a <= b)),
        Gt => Ok(Val::Bool(a > b)),
        Ge => Ok(Val::Bool(a >= b)),
        MatMul | And | Or => Err(no_numbers(operator)),
    }
}

/// An operator on two numbers of which one is a fraction at least.
fn fractions(operator: Binary, a: f64, b: f64) -> Result<Val, Fault> {
    use Binary::{Add, And, Div, Eq, FloorDiv, Ge, Gt, Le, Lt, MatMul, Mul, Ne, Or, Pow, Rem, Sub};
    let value = match operator {
        Add => a + b,
        Sub => a - b,
        Mul => a * b,
        Div | FloorDiv | Rem if b == 0.0 => return Err(Fault::new("division by zero")),
        Div => a / b,
        FloorDiv => floor_divided(a, b).0,
        Rem => floor_divided(a, b).1,
        Pow => a.powf(b),
        Eq => return Ok(Val::Bool(a == b)),
        Ne => return Ok(Val::Bool(a != b)),
        Lt => return Ok(Val::Bool(a < b)),
        Le => return Ok(Val::Bool(a <= b)),
        Gt => return Ok(Val::Bool(a > b)),
        Ge => return Ok(Val::Bool(a >= b)),
        MatMul | And | Or => return Err(no_numbers(operator)),
    };
    // What is computed with `inf` or `nan` may be such.
    if value.is_finite() || !a.is_finite() || !b.is_finite() {
        Ok(Val::Float(value))
    } else {
        Err(Fault::new("the result is not a finite number"))
    }
}

/// A list several times: `[1, 2] * 3`.
fn repeated(items: &[Val], times: i64) -> Result<Val, Fault> {
    // The list itself is one of those that are counted.
    let each = Val::List(items.to_vec()).count(LONGEST_LIST as usize).unwrap_or(1);
    let all = Size::from(each - 1) * times;
    if !all.is_below(LONGEST_LIST + 1) {
        return Err(Fault::new(format!("a list has at most {LONGEST_LIST} elements")));
    }
    let length = (Size::from(items.len()) * times).max(0).get()?;
    list(items.iter().cycle().take(length).cloned().collect())
}

fn no_numbers(operator: Binary) -> Fault {
    Fault::new(format!("`{}` does not take numbers", operator.symbol()))
}

fn not_taken(operator: Binary, left: &Val, right: &Val) -> Fault {
    let (symbol, left_is, right_is) = (operator.symbol(), left.describe(), right.describe());
    let fault = Fault::new(format!("`{symbol}` cannot take {left_is} and {right_is}"));
    match (left, right) {
        (Val::List(_), _) | (_, Val::List(_)) => fault.help(LISTS),
        _ => fault,
    }
}

/// `a // b` and `a % b` as in Python: the remainder is exact, with the sign of the divisor.
pub(crate) fn floor_divided(a: f64, b: f64) -> (f64, f64) {
    let rest = a % b;
    let opposed = rest != 0.0 && (rest < 0.0) != (b < 0.0);
    let whole = ((a - rest) / b).round_ties_even();
    match whole {
        _ if opposed => (whole - 1.0, rest + b),
        // `a - rest` has lost the sign of a zero.
        0.0 => ((a / b).floor(), rest),
        _ => (whole, rest),
    }
}

/// The whole numbers from `start` to below `stop`.
pub(crate) fn range(start: Size, stop: Size, step: Size) -> Result<Val, Fault> {
    if step == Size::ZERO {
        return Err(Fault::new("the step of a range cannot be 0"));
    }
    let up = Size::ZERO.is_below(step);
    let (way, step_size) = if up { (stop - start, step) } else { (start - stop, Size::ZERO - step) };
    let too_long = || Fault::new(format!("a list has at most {LONGEST_LIST} elements"));
    let count = way.max(0).div_ceil(step_size).number().filter(|&count| count <= LONGEST_LIST);
    let item = |at: i64| (start + step * at).number().map(Val::Int).ok_or_else(too_long);
    (0..count.ok_or_else(too_long)?).map(item).collect::<Result<_, _>>().map(Val::List)
}

/// A list of those items, all of whose elements, however deep, are few.
pub(super) fn list(items: Vec<Val>) -> Result<Val, Fault> {
    let list = Val::List(items);
    match list.count(LONGEST_LIST as usize) {
        Some(_) => Ok(list),
        None => Err(Fault::new(format!("a list has at most {LONGEST_LIST} elements"))),
    }
}
