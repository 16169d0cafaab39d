//! The value of an expression: numbers are computed here, tensors become nodes of the graph.
//!
//! Numbers stay numbers until they meet a tensor, whose element type they take. A mistake is reported once, at its
//! place, and gives [`Val::Unknown`], which silences everything that depends on it.

use brolga_ir::Size;

use super::{Binary, Expr, ExprKind, Index, Piece, Template, Unary};
use crate::build::Builder;
use crate::build::functions;
use crate::build::ops::Range;
use crate::build::value::{Fault, Val};
use crate::diagnostics::Diagnostic;
use crate::source::{Span, Spanned};

/// The longest list that an expression may make.
const LONGEST_LIST: i64 = 100_000;

impl Builder<'_> {
    /// Evaluates an expression of the current file.
    pub fn eval(&mut self, expr: &Expr) -> Val {
        match &expr.kind {
            ExprKind::None => Val::None,
            ExprKind::Int(value) => Val::Int(*value),
            ExprKind::Float(value) => Val::Float(*value),
            ExprKind::Bool(value) => Val::Bool(*value),
            ExprKind::Text(text) => Val::Text(text.clone()),
            ExprKind::List(items) => {
                let items = items.iter().map(|item| self.eval(item)).collect();
                self.resolve(list(items), expr.span)
            }
            ExprKind::Name(name) => self.name(name, expr.span),
            ExprKind::Unary(operator, operand) => self.unary(*operator, operand, expr.span),
            ExprKind::Binary(Binary::And | Binary::Or, ..) => self.logic(expr),
            ExprKind::Binary(operator, left, right) => {
                let [left, right] = [left, right].map(|side| Spanned::new(self.eval(side), side.span));
                if left.value.is_unknown() || right.value.is_unknown() {
                    return Val::Unknown;
                }
                let result = binary(self, *operator, &left, &right);
                self.resolve(result, expr.span)
            }
            ExprKind::If { condition, then, otherwise } => match self.eval(condition) {
                Val::Bool(true) => self.eval(then),
                Val::Bool(false) => self.eval(otherwise),
                Val::Unknown => Val::Unknown,
                Val::Tensor(_) => self.fail(
                    Fault::new("the condition of `if` is a tensor")
                        .at(condition.span)
                        .help("choose elementwise with `where(condition, a, b)`"),
                    expr.span,
                ),
                other => {
                    let message =
                        format!("the condition of `if` must be true or false, found {}", other.describe());
                    self.fail(Fault::new(message), condition.span)
                }
            },
            ExprKind::Call { function, positional, named } => {
                functions::call(self, function, positional, named, expr.span)
            }
            ExprKind::Index(base, indices) => self.index(base, indices, expr.span),
        }
    }

    /// The value of a result; a fault is reported.
    pub fn resolve(&mut self, result: Result<Val, Fault>, span: Span) -> Val {
        match result {
            Ok(value) => value,
            Err(fault) => self.fail(fault, span),
        }
    }

    /// Reports a fault.
    pub fn fail(&mut self, fault: Fault, span: Span) -> Val {
        let diagnostic = fault.diagnostic(&self.source, span);
        self.report(diagnostic);
        Val::Unknown
    }

    /// A name with its `{expressions}` filled in.
    pub fn fill(&mut self, template: &Template) -> Option<String> {
        let mut text = String::new();
        for piece in &template.pieces {
            match piece {
                Piece::Text(piece) => text.push_str(piece),
                Piece::Expr(expr) => match self.eval(expr) {
                    Val::Int(value) => text.push_str(&value.to_string()),
                    Val::Text(value) => text.push_str(&value),
                    Val::Unknown => return None,
                    other => {
                        let message =
                            format!("a name is made of whole numbers and texts, found {}", other.describe());
                        self.fail(Fault::new(message), expr.span);
                        return None;
                    }
                },
            }
        }
        Some(text)
    }

    fn name(&mut self, name: &str, span: Span) -> Val {
        if let Some(value) = self.lookup(name) {
            return value;
        }
        let names = self.visible_names();
        let mut diagnostic = Diagnostic::new(&self.source, span, format!("there is no value `{name}` here"));
        diagnostic = match functions::find(name) {
            Some(_) => diagnostic.help(format!("`{name}` is a function: call it with `{name}(...)`")),
            None => diagnostic.suggest(name, names.iter().map(String::as_str)),
        };
        self.report(diagnostic);
        Val::Unknown
    }

    fn unary(&mut self, operator: Unary, operand: &Expr, span: Span) -> Val {
        let value = self.eval(operand);
        let result = match (operator, &value) {
            (_, Val::Unknown) => Ok(Val::Unknown),
            (Unary::Minus, Val::Int(value)) => value.checked_neg().map(Val::Int).ok_or_else(overflow),
            (Unary::Minus, Val::Float(value)) => Ok(Val::Float(-value)),
            (Unary::Minus, Val::Tensor(value)) => self.ops().neg(*value).map(Val::Tensor),
            (Unary::Not, Val::Bool(value)) => Ok(Val::Bool(!value)),
            (Unary::Not, Val::Tensor(value)) => self.ops().not(*value).map(Val::Tensor),
            (Unary::Minus, other) => Err(Fault::new(format!("cannot negate {}", other.describe()))),
            (Unary::Not, other) => {
                Err(Fault::new(format!("`not` takes true or false, found {}", other.describe())))
            }
        };
        self.resolve(result, span)
    }

    /// `and`, `or`: the right side is evaluated only where it matters.
    fn logic(&mut self, expr: &Expr) -> Val {
        let ExprKind::Binary(operator, left, right) = &expr.kind else { return Val::Unknown };
        let first = self.eval(left);
        match (operator, first) {
            (_, Val::Unknown) => Val::Unknown,
            (Binary::And, Val::Bool(false)) => Val::Bool(false),
            (Binary::Or, Val::Bool(true)) => Val::Bool(true),
            (_, first @ (Val::Bool(_) | Val::Tensor(_))) => {
                let second = self.eval(right);
                match (&first, &second) {
                    (_, Val::Unknown) => Val::Unknown,
                    (Val::Bool(_), Val::Bool(second)) => Val::Bool(*second),
                    (_, Val::Bool(_) | Val::Tensor(_)) => {
                        let (first, second) =
                            (Spanned::new(first, left.span), Spanned::new(second, right.span));
                        let result = binary(self, *operator, &first, &second);
                        self.resolve(result, expr.span)
                    }
                    (_, other) => {
                        let message = format!(
                            "`{}` takes true or false, found {}",
                            operator.symbol(),
                            other.describe()
                        );
                        self.fail(Fault::new(message), right.span)
                    }
                }
            }
            (_, other) => {
                let message =
                    format!("`{}` takes true or false, found {}", operator.symbol(), other.describe());
                self.fail(Fault::new(message), left.span)
            }
        }
    }

    fn index(&mut self, base: &Expr, indices: &[Index], span: Span) -> Val {
        match self.eval(base) {
            Val::Unknown => Val::Unknown,
            Val::List(items) => {
                let [Index::At(index)] = indices else {
                    return self.fail(Fault::new("a list takes one index"), span);
                };
                let index_value = self.eval(index);
                if index_value.is_unknown() {
                    return Val::Unknown;
                }
                let length = items.len() as i64;
                match index_value.as_int() {
                    Some(at @ 0..) if at < length => items[at as usize].clone(),
                    Some(at) if at < 0 && at >= -length => items[(at + length) as usize].clone(),
                    Some(at) => {
                        let message = format!("the index {at} is outside of a list of {length}");
                        self.fail(Fault::new(message), index.span)
                    }
                    None => {
                        let message =
                            format!("an index must be a whole number, found {}", index_value.describe());
                        self.fail(Fault::new(message), index.span)
                    }
                }
            }
            Val::Tensor(tensor) => {
                let mut ranges = Vec::new();
                for index in indices {
                    let mut bound = |expr: &Option<Expr>| match expr {
                        None => Some(None),
                        Some(expr) => match self.eval(expr) {
                            Val::Unknown => None,
                            Val::None => Some(None),
                            value => match value.as_int() {
                                Some(int) => Some(Some(Size::from(int))),
                                None => {
                                    let message =
                                        format!("a bound must be a whole number, found {}", value.describe());
                                    self.fail(Fault::new(message), expr.span);
                                    None
                                }
                            },
                        },
                    };
                    let range = match index {
                        Index::At(at) => bound(&Some(at.clone())).map(|at| at.map_or(Range::New, Range::At)),
                        Index::Range(bounds) => {
                            let [start, stop, step] = bounds.each_ref().map(&mut bound);
                            let all = start.zip(stop).zip(step);
                            all.map(|((start, stop), step)| Range::Slice { start, stop, step })
                        }
                    };
                    match range {
                        Some(range) => ranges.push(range),
                        None => return Val::Unknown,
                    }
                }
                let result = self.ops().index(tensor, &ranges).map(Val::Tensor);
                self.resolve(result, span)
            }
            other => self.fail(Fault::new(format!("{} has no elements", other.describe())), base.span),
        }
    }
}

fn overflow() -> Fault {
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

/// An operator on two values that are no tensors.
fn numbers(operator: Binary, left: &Val, right: &Val) -> Result<Val, Fault> {
    use Binary::{Add, Div, Eq, FloorDiv, Ge, Gt, Le, Lt, MatMul, Mul, Ne, Pow, Rem, Sub};
    let symbol = operator.symbol();
    match (left, right) {
        (Val::Int(a), Val::Int(b)) => {
            let (a, b) = (*a, *b);
            let int = |value: Option<i64>| value.map(Val::Int).ok_or_else(overflow);
            match operator {
                Add => int(a.checked_add(b)),
                Sub => int(a.checked_sub(b)),
                Mul => int(a.checked_mul(b)),
                Div | FloorDiv | Rem if b == 0 => Err(Fault::new("division by zero")),
                Div => Ok(Val::Float(a as f64 / b as f64)),
                FloorDiv => int(a
                    .checked_div_euclid(b)
                    .map(|q| if b < 0 && a.rem_euclid(b) != 0 { q - 1 } else { q })),
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
                MatMul | Binary::And | Binary::Or => {
                    Err(Fault::new(format!("`{symbol}` does not take numbers")))
                }
            }
        }
        (Val::List(a), Val::List(b)) if operator == Add => list(a.iter().chain(b).cloned().collect()),
        (Val::List(items), Val::Int(times)) | (Val::Int(times), Val::List(items)) if operator == Mul => {
            let each = Val::List(items.clone()).count(LONGEST_LIST as usize).unwrap_or(0);
            let all = Size::from(each) * *times;
            if !all.is_below(LONGEST_LIST + 1) {
                return Err(Fault::new(format!("a list has at most {LONGEST_LIST} elements")));
            }
            let length = (Size::from(items.len()) * *times).max(0).get()?;
            list(items.iter().cycle().take(length).cloned().collect())
        }
        (Val::Text(_), Val::Text(_)) | (Val::Bool(_), Val::Bool(_)) | (Val::List(_), Val::List(_))
            if matches!(operator, Eq | Ne) =>
        {
            Ok(Val::Bool((left == right) == (operator == Eq)))
        }
        (Val::None, _) | (_, Val::None) if matches!(operator, Eq | Ne) => {
            Ok(Val::Bool((left == right) == (operator == Eq)))
        }
        _ => {
            let (Some(a), Some(b)) = (left.as_float(), right.as_float()) else {
                let message = format!("`{symbol}` cannot take {} and {}", left.describe(), right.describe());
                return Err(Fault::new(message));
            };
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
                MatMul | Binary::And | Binary::Or => {
                    return Err(Fault::new(format!("`{symbol}` does not take numbers")));
                }
            };
            if value.is_finite() {
                Ok(Val::Float(value))
            } else {
                Err(Fault::new("the result is not a finite number"))
            }
        }
    }
}

/// `a // b` and `a % b` as in Python: the remainder is exact, with the sign of the divisor.
pub(crate) fn floor_divided(a: f64, b: f64) -> (f64, f64) {
    let rest = a % b;
    let opposed = rest != 0.0 && (rest < 0.0) != (b < 0.0);
    let whole = ((a - rest) / b).round_ties_even();
    if opposed { (whole - 1.0, rest + b) } else { (whole, rest) }
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
fn list(items: Vec<Val>) -> Result<Val, Fault> {
    let list = Val::List(items);
    match list.count(LONGEST_LIST as usize) {
        Some(_) => Ok(list),
        None => Err(Fault::new(format!("a list has at most {LONGEST_LIST} elements"))),
    }
}
