//! Identities of scalar operations, as data.
//!
//! A rule is a name, the element types it holds for, and two terms. Letters stand for any values (`c` for
//! conditions), numbers for constants of equal elements. A term matches a commutative operation either way round.

use std::sync::LazyLock;

use brolga_ir::attribute::Attributes;
use brolga_ir::ops::{Elementwise, Op};
use brolga_ir::scalar::{Scalar, ScalarOp};
use brolga_ir::{Builder, DType, Graph, GraphError, NodeId, Type, Value};

use crate::facts::constants::{equal, splat};

/// The element types of `x` (of `c`, where there is no `x`) that a rule holds for.
#[derive(Clone, Copy, PartialEq, Debug)]
enum On {
    Any,
    Float,
    Int,
    /// Integers and floats.
    Number,
    Bool,
    /// Integers and `bool`.
    Logic,
}

use On::*;

#[rustfmt::skip]
const RULES: &[(&str, On, &str, &str)] = &[
    // Arithmetic.
    ("add-zero",            Int,    "add(x, 0)",                    "x"),
    ("add-minus-zero",      Float,  "add(x, -0)",                   "x"),
    ("add-neg",             Number, "add(x, neg(y))",               "sub(x, y)"),
    ("sub-zero",            Number, "sub(x, 0)",                    "x"),
    ("sub-from-zero",       Int,    "sub(0, x)",                    "neg(x)"),
    ("sub-from-minus-zero", Float,  "sub(-0, x)",                   "neg(x)"),
    ("sub-self",            Int,    "sub(x, x)",                    "0"),
    ("sub-neg",             Number, "sub(x, neg(y))",               "add(x, y)"),
    ("neg-neg",             Number, "neg(neg(x))",                  "x"),
    ("neg-sub",             Int,    "neg(sub(x, y))",               "sub(y, x)"),
    ("mul-zero",            Int,    "mul(x, 0)",                    "0"),
    ("mul-one",             Number, "mul(x, 1)",                    "x"),
    ("mul-minus-one",       Number, "mul(x, -1)",                   "neg(x)"),
    ("mul-neg-neg",         Number, "mul(neg(x), neg(y))",          "mul(x, y)"),
    ("div-one",             Number, "div(x, 1)",                    "x"),
    ("div-minus-one",       Float,  "div(x, -1)",                   "neg(x)"),
    ("div-neg-neg",         Float,  "div(neg(x), neg(y))",          "div(x, y)"),
    ("rem-one",             Int,    "rem(x, 1)",                    "0"),
    ("abs-neg",             Float,  "abs(neg(x))",                  "abs(x)"),
    ("abs-abs",             Number, "abs(abs(x))",                  "abs(x)"),
    ("fma-one",             Float,  "fma(x, 1, y)",                 "add(x, y)"),
    ("fma-minus-zero",      Float,  "fma(x, y, -0)",                "mul(x, y)"),
    ("floor-floor",         Float,  "floor(floor(x))",              "floor(x)"),
    ("ceil-ceil",           Float,  "ceil(ceil(x))",                "ceil(x)"),
    ("trunc-trunc",         Float,  "trunc(trunc(x))",              "trunc(x)"),
    ("round-round",         Float,  "round(round(x))",              "round(x)"),
    // Order.
    ("max-self",            Any,    "max(x, x)",                    "x"),
    ("min-self",            Any,    "min(x, x)",                    "x"),
    ("max-max",             Any,    "max(max(x, y), y)",            "max(x, y)"),
    ("min-min",             Any,    "min(min(x, y), y)",            "min(x, y)"),
    ("lt-self",             Any,    "lt(x, x)",                     "false"),
    ("gt-self",             Any,    "gt(x, x)",                     "false"),
    ("eq-self",             Logic,  "eq(x, x)",                     "true"),
    ("ne-self",             Logic,  "ne(x, x)",                     "false"),
    ("le-self",             Logic,  "le(x, x)",                     "true"),
    ("ge-self",             Logic,  "ge(x, x)",                     "true"),
    ("eq-true",             Bool,   "eq(x, true)",                  "x"),
    ("ne-false",            Bool,   "ne(x, false)",                 "x"),
    ("not-eq",              Any,    "not(eq(x, y))",                "ne(x, y)"),
    ("not-ne",              Any,    "not(ne(x, y))",                "eq(x, y)"),
    ("not-lt",              Logic,  "not(lt(x, y))",                "ge(x, y)"),
    ("not-le",              Logic,  "not(le(x, y))",                "gt(x, y)"),
    ("not-gt",              Logic,  "not(gt(x, y))",                "le(x, y)"),
    ("not-ge",              Logic,  "not(ge(x, y))",                "lt(x, y)"),
    // Bits.
    ("not-not",             Logic,  "not(not(x))",                  "x"),
    ("and-self",            Logic,  "and(x, x)",                    "x"),
    ("and-zero",            Int,    "and(x, 0)",                    "0"),
    ("and-ones",            Int,    "and(x, -1)",                   "x"),
    ("and-false",           Bool,   "and(x, false)",                "false"),
    ("and-true",            Bool,   "and(x, true)",                 "x"),
    ("or-self",             Logic,  "or(x, x)",                     "x"),
    ("or-zero",             Int,    "or(x, 0)",                     "x"),
    ("or-false",            Bool,   "or(x, false)",                 "x"),
    ("or-true",             Bool,   "or(x, true)",                  "true"),
    ("xor-zero",            Int,    "xor(x, 0)",                    "x"),
    ("xor-self",            Int,    "xor(x, x)",                    "0"),
    ("xor-false",           Bool,   "xor(x, false)",                "x"),
    ("xor-true",            Bool,   "xor(x, true)",                 "not(x)"),
    ("shl-zero",            Int,    "shl(x, 0)",                    "x"),
    ("shr-zero",            Int,    "shr(x, 0)",                    "x"),
    ("shr-logical-zero",    Int,    "shr_logical(x, 0)",            "x"),
    // Choice.
    ("select-same",         Any,    "select(c, x, x)",              "x"),
    ("select-true",         Any,    "select(true, x, y)",           "x"),
    ("select-false",        Any,    "select(false, y, x)",          "x"),
    ("select-not",          Any,    "select(not(c), x, y)",         "select(c, y, x)"),
    ("select-then",         Any,    "select(c, select(c, x, y), z)", "select(c, x, z)"),
    ("select-else",         Any,    "select(c, x, select(c, y, z))", "select(c, x, z)"),
    ("select-condition",    Bool,   "select(c, true, false)",       "c"),
    ("select-opposite",     Bool,   "select(c, false, true)",       "not(c)"),
];

/// A parsed side of a rule.
#[derive(Clone, PartialEq, Debug)]
enum Term {
    Variable(u8),
    Number(f64),
    Truth(bool),
    Op(ScalarOp, Vec<Term>),
}

/// A parsed rule.
struct Algebra {
    name: &'static str,
    on: On,
    from: Term,
    to: Term,
}

static PARSED: LazyLock<Vec<Algebra>> = LazyLock::new(|| {
    let rule = |&(name, on, from, to): &(&'static str, On, &str, &str)| {
        let term = |text: &str| {
            let mut rest = text;
            term(&mut rest).filter(|_| rest.is_empty()).unwrap_or_else(|| panic!("rule {name}: `{text}`"))
        };
        Algebra { name, on, from: term(from), to: term(to) }
    };
    RULES.iter().map(rule).collect()
});

/// Parses `name(term, …)`, a letter, a number, or a truth value at the start of `text`.
fn term(text: &mut &str) -> Option<Term> {
    let end = text.find(['(', ')', ',']).unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    *text = rest;
    let Some(mut inner) = rest.strip_prefix('(') else {
        return match word {
            "true" => Some(Term::Truth(true)),
            "false" => Some(Term::Truth(false)),
            _ => match word.as_bytes() {
                &[letter @ b'a'..=b'z'] => Some(Term::Variable(letter - b'a')),
                _ => word.parse().ok().map(Term::Number),
            },
        };
    };
    let Some(Ok(Op::Elementwise(Elementwise { op }))) = Op::from_attributes(word, &mut Attributes::default())
    else {
        return None;
    };
    let mut args = Vec::new();
    loop {
        args.push(term(&mut inner)?);
        match inner.strip_prefix(", ") {
            Some(next) => inner = next,
            None => break,
        }
    }
    *text = inner.strip_prefix(')')?;
    (args.len() == op.arity()).then_some(Term::Op(op, args))
}

/// What the letters stand for.
type Bindings = [Option<Value>; 26];

/// The names of the rules, in the order in which they are tried.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    RULES.iter().map(|rule| rule.0)
}

/// The first rule that matches a node, and what it makes of it.
pub(super) fn rewrite(b: &mut Builder, id: NodeId) -> Result<Option<(&'static str, Value)>, GraphError> {
    let &Op::Elementwise(Elementwise { op }) = &b.graph.node(id).op else { return Ok(None) };
    let result = b.graph.result(id);
    for rule in PARSED.iter().filter(|rule| matches!(&rule.from, Term::Op(root, _) if *root == op)) {
        let mut bindings: Bindings = [None; 26];
        if !matches(b.graph, &rule.from, result, &mut bindings) {
            continue;
        }
        let subject = bindings[usize::from(b'x' - b'a')].or(bindings[usize::from(b'c' - b'a')]);
        if !subject.is_some_and(|value| rule.on.holds(b.ty(value).dtype)) {
            continue;
        }
        let ty = b.ty(result).clone();
        return Ok(Some((rule.name, build(b, &rule.to, &bindings, &ty)?)));
    }
    Ok(None)
}

impl On {
    fn holds(self, dtype: DType) -> bool {
        match self {
            Any => true,
            Float => dtype.is_float(),
            Int => dtype.is_int(),
            Number => dtype != DType::Bool,
            Bool => dtype == DType::Bool,
            Logic => !dtype.is_float(),
        }
    }
}

/// The constant that a number stands for in a type.
fn number(value: f64, dtype: DType) -> Scalar {
    if dtype.is_float() { Scalar::from_f64(dtype, value) } else { Scalar::from_i64(dtype, value as i64) }
}

fn matches(graph: &Graph, term: &Term, value: Value, bindings: &mut Bindings) -> bool {
    match term {
        Term::Variable(letter) => match bindings[usize::from(*letter)] {
            Some(bound) => equal(graph, bound, value),
            None => {
                bindings[usize::from(*letter)] = Some(value);
                true
            }
        },
        Term::Truth(truth) => splat(graph, value) == Some(Scalar::Bool(*truth)),
        Term::Number(wanted) => splat(graph, value)
            .is_some_and(|found| found.dtype() != DType::Bool && found.same(number(*wanted, found.dtype()))),
        Term::Op(wanted, args) => {
            let node = graph.node(value.node);
            if !matches!(node.op, Op::Elementwise(Elementwise { op }) if op == *wanted) {
                return false;
            }
            let before = *bindings;
            let each = |operands: &[Value], bindings: &mut Bindings| {
                args.iter().zip(operands).all(|(arg, &operand)| matches(graph, arg, operand, bindings))
            };
            if each(&node.operands, bindings) {
                return true;
            }
            *bindings = before;
            if !wanted.is_commutative(graph.ty(node.operands[0]).dtype) {
                return false;
            }
            let mut exchanged = node.operands.clone();
            exchanged.swap(0, 1);
            each(&exchanged, bindings)
        }
    }
}

/// Builds a term; constants at its root have type `ty`.
fn build(b: &mut Builder, term: &Term, bindings: &Bindings, ty: &Type) -> Result<Value, GraphError> {
    let scalar = match term {
        Term::Variable(letter) => {
            let bound = bindings[usize::from(*letter)];
            return bound.ok_or_else(|| b.error("a rule's right-hand side has a letter of its own"));
        }
        Term::Op(op, args) => {
            let args: Vec<Value> =
                args.iter().map(|arg| build(b, arg, bindings, ty)).collect::<Result<_, _>>()?;
            return b.elementwise(*op, &args);
        }
        Term::Number(value) => number(*value, ty.dtype),
        Term::Truth(truth) => Scalar::Bool(*truth),
    };
    let scalar = b.constant(brolga_ir::Tensor::scalar(scalar))?;
    b.broadcast(scalar, &ty.dims, &[])
}

#[cfg(test)]
mod tests;
