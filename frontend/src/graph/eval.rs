//! The value of an expression: numbers are computed here, tensors become nodes of the graph.
//!
//! Numbers stay numbers until they meet a tensor, whose element type they take. A mistake is reported once, at its
//! place, and gives [`Val::Unknown`], which silences everything that depends on it.

use brolga_ir::Size;

use super::builder::Builder;
use super::calls::call;
use super::functions;
use super::operators::{LISTS, binary, both, list, overflow};
use super::ops::IndexPart;
use super::value::{Fault, Val};
use crate::diagnostics::Diagnostic;
use crate::expr::{Binary, Expr, ExprKind, Index, Piece, Template, Unary};
use crate::source::{Span, Spanned};

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
            ExprKind::Each { body, element, list } => self.each(body, element, list, expr.span),
            ExprKind::Name(name) => self.name(name, expr.span),
            ExprKind::Filled(template) => match self.fill(template) {
                Some(name) => self.name(&name, expr.span),
                None => Val::Unknown,
            },
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
                call(self, function, positional, named, expr.span)
            }
            ExprKind::Index(base, indices) => self.index(base, indices, expr.span),
        }
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
            if self.is_of_ended_step(&value) {
                let fault = Fault::new(format!("`{name}` is a value of one step of a loop, which has ended"));
                return self.fail(
                    fault
                        .note("a step that reads such values cannot be reused outside of the loop")
                        .help("where it is an argument of the step, `set` of `Reuse` gives it another value"),
                    span,
                );
            }
            return value;
        }
        if let Some(diagnostic) = self.unknown_of_step(name, span) {
            self.report(diagnostic);
            return Val::Unknown;
        }
        // What a layer that failed would have named is not missed.
        let mut around = name.match_indices('.').map(|(at, _)| &name[..at]);
        if around.any(|layer| matches!(self.lookup(layer), Some(Val::Unknown))) {
            return Val::Unknown;
        }
        let mut diagnostic = Diagnostic::new(&self.source, span, format!("there is no value `{name}` here"));
        diagnostic = match functions::find(name) {
            Some(_) => diagnostic.help(called(name)),
            None if self.own_function(name).is_some() => diagnostic.help(called(name)),
            None if self.has_many_mistakes() => diagnostic,
            None => diagnostic.suggest(name, self.visible_names().iter().map(String::as_str)),
        };
        if !self.importing.is_empty() && self.tree.inputs.iter().skip(1).any(|input| input.name.value == name)
        {
            diagnostic = diagnostic.note(
                "this model is imported: its first input is the current value, each other one what has its name, element type \
                 and number of axes in the file that imports it",
            );
        }
        if self.is_in_call() {
            diagnostic = diagnostic.note(
                "a function sees its arguments and the model's names: no current value, nor the names of a block or loop that \
                 calls it",
            );
        }
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
        // Of `a < b < c`: whether all comparisons so far hold.
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
        // Mistakes are shown at the index where there is a single one.
        let place = if let [Index::At(at)] = indices { at.span } else { span };
        let result = match (value, &ranges[..]) {
            (Val::Unknown, _) => return Val::Unknown,
            (Val::List(items), [IndexPart::At(at)]) => {
                let length = items.len();
                let found = at.axis(length).map(|at| items[at].clone());
                let outside = || Fault::new(format!("the index {at} is outside of a list of {length}"));
                found.map_err(|_| outside().at(place))
            }
            (Val::List(_), [IndexPart::Slice { .. }] | [_, _, ..]) => {
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

    /// One part of an indexing; `None` where there is a mistake.
    fn range(&mut self, index: &Index) -> Option<IndexPart> {
        let at = match index {
            Index::Rest => return Some(IndexPart::Rest),
            Index::Range(bounds) => {
                let [start, stop, step] = bounds.each_ref().map(|bound| self.bound(bound.as_ref()));
                return Some(IndexPart::Slice { start: start?, stop: stop?, step: step? });
            }
            Index::At(at) => at,
        };
        let value = self.eval(at);
        match &value {
            Val::Unknown => None,
            Val::None => Some(IndexPart::New),
            Val::Tensor(tensor) => Some(IndexPart::Take(*tensor)),
            Val::List(_) if value.is_unknown() => None,
            Val::List(_) => Some(IndexPart::Pick(Spanned::new(value, at.span))),
            other => match other.as_int() {
                Some(int) => Some(IndexPart::At(Size::from(int))),
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

/// A way out where a function is named and not called.
fn called(name: &str) -> String {
    format!("`{name}` is a function: call it with `{name}(...)`")
}
