//! Expressions in strings: `"width * 2"`, `"cross_entropy(logits, label)"`.
//!
//! One language for sizes and for tensors, in Python's notation:
//!
//! ```text
//! expression = disjunction ["if" disjunction "else" expression]
//! disjunction = conjunction {"or" conjunction}
//! conjunction = negation {"and" negation}
//! negation = "not" negation | comparison
//! comparison = sum {("==" | "!=" | "<" | "<=" | ">" | ">=") sum}
//! sum = term {("+" | "-") term}
//! term = factor {("*" | "/" | "//" | "%" | "@") factor}
//! factor = ("-" | "+") factor | power
//! power = postfix ["**" factor]
//! postfix = atom {"[" index {"," index} "]"}
//! index = expression | [expression] ":" [expression] [":" [expression]] | "..."
//! atom = number | 'text' | "true" | "false" | "none" | name | name "(" arguments ")"
//!      | "(" expression ")" | "[" [expression {"," expression}] "]"
//!      | "[" expression "for" name "in" expression "]"
//! arguments = [argument {"," argument}]    argument = [name "="] expression
//! ```
//!
//! A name may have dots, `layer1.0.conv1`, and whole numbers and texts in braces: `layer{i + 1}.conv1`.

mod lex;
pub(crate) mod parse;

use crate::source::{Span, Spanned};

/// An expression at its place in the source.
#[derive(Clone, Debug)]
pub(crate) struct Expr {
    pub kind: ExprKind,
    pub span: Span,
}

impl Expr {
    /// What stands for an expression that is a mistake, which has been reported.
    pub fn mistake(span: Span) -> Expr {
        Expr { kind: ExprKind::Mistake, span }
    }

    /// Whether a value of this name occurs in it.
    pub fn mentions(&self, name: &str) -> bool {
        let of = |expr: &Expr| expr.mentions(name);
        match &self.kind {
            ExprKind::Name(own) => own == name,
            ExprKind::Filled(template) => template.mentions(name),
            ExprKind::Unary(_, operand) => of(operand),
            ExprKind::List(all) => all.iter().any(of),
            ExprKind::Each { body, element, list } => of(list) || element.value != name && of(body),
            ExprKind::Chain(first, others) => of(first) || others.iter().any(|(_, other)| of(other)),
            ExprKind::If { condition, then, otherwise } => of(condition) || of(then) || of(otherwise),
            ExprKind::Call { positional, named, .. } => {
                positional.iter().any(of) || named.iter().any(|(_, argument)| of(argument))
            }
            ExprKind::Index(operand, indices) => {
                let within = |index: &Index| match index {
                    Index::At(at) => of(at),
                    Index::Range(parts) => parts.iter().flatten().any(of),
                    Index::Rest => false,
                };
                of(operand) || indices.iter().any(within)
            }
            ExprKind::Mistake | ExprKind::None | ExprKind::Text(_) => false,
            ExprKind::Int(_) | ExprKind::Float(_) | ExprKind::Bool(_) => false,
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) enum ExprKind {
    /// A mistake already reported; its value is unknown.
    Mistake,
    None,
    Int(i64),
    Float(f64),
    Bool(bool),
    Text(String),
    List(Vec<Expr>),
    /// `[body for element in list]`
    Each {
        body: Box<Expr>,
        element: Spanned<String>,
        list: Box<Expr>,
    },
    Name(String),
    /// A name with expressions in it: `dae{layer}.loss`.
    Filled(Template),
    Unary(Unary, Box<Expr>),
    /// Operators of one rank, from left to right; several comparisons hold together: `0 < x < 1`. However long, it
    /// is one level of the tree.
    Chain(Box<Expr>, Vec<(Binary, Expr)>),
    If {
        condition: Box<Expr>,
        then: Box<Expr>,
        otherwise: Box<Expr>,
    },
    Call {
        function: Spanned<String>,
        positional: Vec<Expr>,
        named: Vec<(Spanned<String>, Expr)>,
    },
    Index(Box<Expr>, Vec<Index>),
}

/// One axis of an indexing.
#[derive(Clone, Debug)]
pub(crate) enum Index {
    At(Expr),
    /// Start, stop, step.
    Range(Box<[Option<Expr>; 3]>),
    /// All axes that the other indices leave.
    Rest,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unary {
    Minus,
    Not,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Binary {
    Add,
    Sub,
    Mul,
    Div,
    FloorDiv,
    Rem,
    Pow,
    MatMul,
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    And,
    Or,
}

impl Unary {
    /// Every operator.
    pub const ALL: [Unary; 2] = [Unary::Minus, Unary::Not];

    /// How it is written.
    pub fn symbol(self) -> &'static str {
        match self {
            Unary::Minus => "-",
            Unary::Not => "not",
        }
    }
}

impl Binary {
    /// Every operator.
    pub const ALL: [Binary; 16] = {
        use Binary::*;
        [Add, Sub, Mul, Div, FloorDiv, Rem, Pow, MatMul, Eq, Ne, Lt, Le, Gt, Ge, And, Or]
    };

    /// Whether it compares.
    pub fn is_comparison(self) -> bool {
        use Binary::*;
        matches!(self, Eq | Ne | Lt | Le | Gt | Ge)
    }

    /// How it is written.
    pub fn symbol(self) -> &'static str {
        match self {
            Binary::Add => "+",
            Binary::Sub => "-",
            Binary::Mul => "*",
            Binary::Div => "/",
            Binary::FloorDiv => "//",
            Binary::Rem => "%",
            Binary::Pow => "**",
            Binary::MatMul => "@",
            Binary::Eq => "==",
            Binary::Ne => "!=",
            Binary::Lt => "<",
            Binary::Le => "<=",
            Binary::Gt => ">",
            Binary::Ge => ">=",
            Binary::And => "and",
            Binary::Or => "or",
        }
    }
}

/// A string with `{expression}` inside, as in `"layer{i}.conv"`.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    pub pieces: Vec<Piece>,
    pub span: Span,
}

impl Template {
    /// Whether a value of this name occurs in its expressions.
    pub fn mentions(&self, name: &str) -> bool {
        self.pieces.iter().any(|piece| matches!(piece, Piece::Expr(expr) if expr.mentions(name)))
    }

    /// What stands for a name that is a mistake, which has been reported: it cannot be filled in.
    pub fn mistake(span: Span) -> Template {
        Template { pieces: vec![Piece::Expr(Expr::mistake(span))], span }
    }
}

#[derive(Clone, Debug)]
pub(crate) enum Piece {
    Text(String),
    Expr(Expr),
}
