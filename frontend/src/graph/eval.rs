//! The value of an expression: numbers are computed here, tensors become nodes of the graph.
//!
//! Numbers stay numbers until they meet a tensor, whose element type they take. A mistake is reported once, at its
//! place, and gives [`Val::Unknown`], which silences everything that depends on it.

use brolga_ir::Size;

use super::Builder;
use super::functions;
use super::ops::Range;
use super::value::{Fault, Val};
use crate::diagnostics::Diagnostic;
use crate::expr::{Binary, Expr, ExprKind, Index, Piece, Template, Unary};
use crate::source::{Span, Spanned};

/// What to do where a list is taken for a tensor, but meets none.
const LISTS: &str = "a list is a tensor where it meets one; by itself `stack([1, 2])` is one";

/// The longest list that an expression may make.
const LONGEST_LIST: i64 = 100_000;

impl Builder<'_> {
    /// Evaluates an expression of the current file.
    pub fn eval(&mut self, expr: &Expr) -> Val {
        match &expr.kind {
            ExprKind::Mistake => Val::Unknown,
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
            ExprKind::Chain(first, rest) => self.chain(first, rest),
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
            ExprKind::Call { .. } if self.is_full(expr.span) => Val::Unknown,
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
        let mut diagnostic = Diagnostic::new(&self.source, span, format!("there is no value `{name}` here"));
        diagnostic = match functions::find(name) {
            Some(_) => diagnostic.help(format!("`{name}` is a function: call it with `{name}(...)`")),
            None if self.has_many_mistakes() => diagnostic,
            None => diagnostic.suggest(name, self.visible_names().iter().map(String::as_str)),
        };
        self.report(diagnostic);
        Val::Unknown
    }

    fn unary(&mut self, operator: Unary, operand: &Expr, span: Span) -> Val {
        let value = self.eval(operand);
        let result = match (operator, &value) {
            _ if value.is_unknown() => Ok(Val::Unknown),
            (Unary::Minus, Val::Int(value)) => value.checked_neg().map(Val::Int).ok_or_else(overflow),
            (Unary::Minus, Val::Float(value)) => Ok(Val::Float(-value)),
            (Unary::Minus, Val::Tensor(value)) => self.ops().neg(*value).map(Val::Tensor),
            (Unary::Not, Val::Bool(value)) => Ok(Val::Bool(!value)),
            (Unary::Not, Val::Tensor(value)) => self.ops().not(*value).map(Val::Tensor),
            (_, Val::List(_)) => {
                let list = Spanned::new(value.clone(), operand.span);
                let mut ops = self.ops();
                let list = ops.tensor(&list);
                let result = list.and_then(|list| match operator {
                    Unary::Minus => ops.neg(list),
                    Unary::Not => ops.not(list),
                });
                result.map(Val::Tensor)
            }
            (Unary::Minus, other) => Err(Fault::new(format!("cannot negate {}", other.describe()))),
            (Unary::Not, other) => {
                Err(Fault::new(format!("`not` takes true or false, found {}", other.describe())))
            }
        };
        self.resolve(result, span)
    }

    /// Operators of one rank. All operands are evaluated, but for those of `and` and `or` that do not matter.
    fn chain(&mut self, first: &Expr, rest: &[(Binary, Expr)]) -> Val {
        let mut left = Spanned::new(self.eval(first), first.span);
        // What comparisons have found so far.
        let mut holds: Option<Spanned<Val>> = None;
        for (operator, right) in rest {
            let span = first.span.to(right.span);
            if matches!(operator, Binary::And | Binary::Or) {
                left = Spanned::new(self.logic(*operator, left, right, span), span);
                continue;
            }
            let right = Spanned::new(self.eval(right), right.span);
            let unknown = left.value.is_unknown() || right.value.is_unknown();
            let value = match unknown {
                true => Val::Unknown,
                false => {
                    let span = if operator.is_comparison() { left.span.to(right.span) } else { span };
                    let result = binary(self, *operator, &left, &right);
                    self.resolve(result, span)
                }
            };
            if !operator.is_comparison() {
                left = Spanned::new(value, span);
                continue;
            }
            let all = match holds {
                None => value,
                Some(before) if before.value.is_unknown() || value.is_unknown() => Val::Unknown,
                Some(before) => {
                    let result = both(self, &before, &Spanned::new(value, span));
                    self.resolve(result, span)
                }
            };
            holds = Some(Spanned::new(all, span));
            left = right;
        }
        holds.unwrap_or(left).value
    }

    /// `and`, `or`: the right side is evaluated only where it matters.
    fn logic(&mut self, operator: Binary, first: Spanned<Val>, right: &Expr, span: Span) -> Val {
        let symbol = operator.symbol();
        match (operator, &first.value) {
            _ if first.value.is_unknown() => Val::Unknown,
            (Binary::And, Val::Bool(false)) => Val::Bool(false),
            (Binary::Or, Val::Bool(true)) => Val::Bool(true),
            (_, Val::Bool(_) | Val::Tensor(_) | Val::List(_)) => {
                let second = Spanned::new(self.eval(right), right.span);
                match (&first.value, &second.value) {
                    _ if second.value.is_unknown() => Val::Unknown,
                    (Val::Bool(_), Val::Bool(second)) => Val::Bool(*second),
                    (_, Val::Bool(_) | Val::Tensor(_) | Val::List(_)) => {
                        let result = binary(self, operator, &first, &second);
                        self.resolve(result, span)
                    }
                    (_, other) => {
                        let message = format!("`{symbol}` takes true or false, found {}", other.describe());
                        self.fail(Fault::new(message), right.span)
                    }
                }
            }
            (_, other) => {
                let message = format!("`{symbol}` takes true or false, found {}", other.describe());
                self.fail(Fault::new(message), first.span)
            }
        }
    }

    fn index(&mut self, base: &Expr, indices: &[Index], span: Span) -> Val {
        let value = self.eval(base);
        let mut ranges = Some(Vec::new());
        for index in indices {
            // All are evaluated, so that all mistakes show.
            match (self.range(index), &mut ranges) {
                (Some(range), Some(ranges)) => ranges.push(range),
                (None, _) => ranges = None,
                (_, None) => {}
            }
        }
        let Some(ranges) = ranges else { return Val::Unknown };
        // Where a single index stands.
        let place = if let [Index::At(at)] = indices { at.span } else { span };
        let result = match (value, &ranges[..]) {
            (Val::Unknown, _) => return Val::Unknown,
            (Val::List(items), [Range::At(at)]) => {
                let length = items.len();
                let found = at.axis(length).map(|at| items[at].clone());
                let outside = || Fault::new(format!("the index {at} is outside of a list of {length}"));
                found.map_err(|_| outside().at(place))
            }
            (Val::List(_), [Range::Slice { .. }] | [_, _, ..]) => {
                Err(Fault::new("a list takes one index").help(LISTS))
            }
            (list @ Val::List(_), _) => {
                let list = Spanned::new(list, base.span);
                let mut ops = self.ops();
                ops.tensor(&list).and_then(|list| ops.index(list, &ranges)).map(Val::Tensor)
            }
            (Val::Tensor(tensor), _) => self.ops().index(tensor, &ranges).map(Val::Tensor),
            (other, _) => Err(Fault::new(format!("{} has no elements", other.describe())).at(base.span)),
        };
        self.resolve(result, span)
    }

    /// One place of an indexing; `None` where there is a mistake.
    fn range(&mut self, index: &Index) -> Option<Range> {
        let at = match index {
            Index::Rest => return Some(Range::Rest),
            Index::Range(bounds) => {
                let [start, stop, step] = bounds.each_ref().map(|bound| self.bound(bound.as_ref()));
                return Some(Range::Slice { start: start?, stop: stop?, step: step? });
            }
            Index::At(at) => at,
        };
        let value = self.eval(at);
        match &value {
            Val::Unknown => None,
            Val::None => Some(Range::New),
            Val::Tensor(tensor) => Some(Range::Take(*tensor)),
            Val::List(_) if value.is_unknown() => None,
            Val::List(_) => Some(Range::Pick(Spanned::new(value, at.span))),
            other => match other.as_int() {
                Some(int) => Some(Range::At(Size::from(int))),
                None => {
                    let message = format!("an index must be a whole number, found {}", other.describe());
                    self.fail(Fault::new(message), at.span);
                    None
                }
            },
        }
    }

    /// A bound of a range: `Some(None)` where none is given, `None` where there is a mistake.
    fn bound(&mut self, bound: Option<&Expr>) -> Option<Option<Size>> {
        let Some(expr) = bound else { return Some(None) };
        match self.eval(expr) {
            Val::Unknown => None,
            Val::None => Some(None),
            value => match value.as_int() {
                Some(int) => Some(Some(Size::from(int))),
                None => {
                    let message = format!("a bound must be a whole number, found {}", value.describe());
                    self.fail(Fault::new(message), expr.span);
                    None
                }
            },
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

/// Whether both hold.
fn both(builder: &mut Builder, left: &Spanned<Val>, right: &Spanned<Val>) -> Result<Val, Fault> {
    match (&left.value, &right.value) {
        (Val::Bool(left), Val::Bool(right)) => Ok(Val::Bool(*left && *right)),
        _ => binary(builder, Binary::And, left, right),
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
            // The list itself is one of those that are counted.
            let each = Val::List(items.clone()).count(LONGEST_LIST as usize).unwrap_or(1);
            let all = Size::from(each - 1) * *times;
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
                let fault = Fault::new(message);
                return Err(match (left, right) {
                    (Val::List(_), _) | (_, Val::List(_)) => fault.help(LISTS),
                    _ => fault,
                });
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
            // What is computed with `inf` or `nan` may be such.
            if value.is_finite() || !a.is_finite() || !b.is_finite() {
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
fn list(items: Vec<Val>) -> Result<Val, Fault> {
    let list = Val::List(items);
    match list.count(LONGEST_LIST as usize) {
        Some(_) => Ok(list),
        None => Err(Fault::new(format!("a list has at most {LONGEST_LIST} elements"))),
    }
}
