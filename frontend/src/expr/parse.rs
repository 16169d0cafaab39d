//! Tokens to expressions, by recursive descent over the grammar of the module above.

use std::sync::Arc;

use super::lex::{Part, Token, lex};
use super::{Binary, Expr, ExprKind, Index, Piece, Template, Unary};
use crate::diagnostics::Diagnostic;
use crate::source::{Source, Span, Spanned, Text};

/// Most operators, calls and brackets in one expression.
const LONGEST: usize = 10_000;
/// Most of them inside one another: bounds the depth of every walk over it.
const DEEPEST: usize = 256;

/// The expression that the whole string is.
pub(crate) fn expression(source: &Arc<Source>, text: &Text) -> Result<Expr, Diagnostic> {
    within(source, text, 0, text.value.len())
}

fn within(source: &Arc<Source>, text: &Text, start: usize, end: usize) -> Result<Expr, Diagnostic> {
    whole(source, lex(source, text, start, end)?)
}

/// The expression that all tokens are.
fn whole(source: &Arc<Source>, tokens: Vec<(Token, Span)>) -> Parsed {
    let mut parser = Parser { source, tokens, at: 0, size: 0, depth: 0 };
    let expr = parser.expression()?;
    match parser.peek() {
        Token::End => Ok(expr),
        _ => Err(parser.unexpected("expected an operator or the end of the expression")),
    }
}

/// A string with expressions in braces; `{{` and `}}` stand for braces.
pub(crate) fn template(source: &Arc<Source>, text: &Text) -> Result<Template, Diagnostic> {
    let value = &text.value;
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut at = 0;
    while let Some(c) = value[at..].chars().next() {
        let doubled = value[at + c.len_utf8()..].starts_with(c);
        match c {
            '{' | '}' if doubled => {
                literal.push(c);
                at += 2;
            }
            '{' => {
                let Some(length) = value[at..].find('}') else {
                    return Err(Diagnostic::new(
                        source,
                        text.place(at, at + 1),
                        "this brace is never closed",
                    )
                    .help("`{expression}` is replaced by its value; write `{{` for a brace"));
                };
                if !literal.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut literal)));
                }
                pieces.push(Piece::Expr(within(source, text, at + 1, at + length)?));
                at += length + 1;
            }
            '}' => {
                return Err(Diagnostic::new(source, text.place(at, at + 1), "this brace closes nothing")
                    .help("write `}}` for a brace"));
            }
            c => {
                literal.push(c);
                at += c.len_utf8();
            }
        }
    }
    if !literal.is_empty() || pieces.is_empty() {
        pieces.push(Piece::Text(literal));
    }
    Ok(Template { pieces, span: text.span() })
}

struct Parser<'a> {
    source: &'a Arc<Source>,
    tokens: Vec<(Token, Span)>,
    at: usize,
    size: usize,
    depth: usize,
}

type Parsed = Result<Expr, Diagnostic>;

impl Parser<'_> {
    fn peek(&self) -> &Token {
        &self.tokens[self.at].0
    }

    fn span(&self) -> Span {
        self.tokens[self.at].1
    }

    fn advance(&mut self) -> (Token, Span) {
        let token = self.tokens[self.at].clone();
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        token
    }

    fn eat(&mut self, symbol: &str) -> bool {
        let found = matches!(self.peek(), Token::Symbol(found) if *found == symbol);
        if found {
            self.advance();
        }
        found
    }

    fn expect(&mut self, symbol: &str) -> Result<(), Diagnostic> {
        if self.eat(symbol) { Ok(()) } else { Err(self.unexpected(format!("expected `{symbol}`"))) }
    }

    fn unexpected(&self, label: impl Into<String>) -> Diagnostic {
        let message = match self.peek() {
            Token::End => "the expression ends too early".to_owned(),
            Token::Symbol(symbol) => format!("`{symbol}` cannot stand here"),
            Token::Name(name) => format!("`{name}` cannot stand here"),
            Token::Filled(_) => "a name cannot stand here".to_owned(),
            Token::Text(text) => format!("'{text}' cannot stand here"),
            Token::Int(value) => format!("{value} cannot stand here"),
            Token::Float(value) => format!("{value:?} cannot stand here"),
            Token::Edge => format!("the number {} does not fit", i64::MIN.unsigned_abs()),
        };
        let diagnostic = Diagnostic::new(self.source, self.span(), message).label(label);
        match self.peek() {
            Token::Symbol("=") => diagnostic.help("equality is written `==`"),
            Token::Symbol("!") => diagnostic.help("negation is written `not`"),
            Token::Symbol("?") => diagnostic.help("a choice is written `a if condition else b`"),
            _ => diagnostic,
        }
    }

    /// Counts one operator, call or bracket.
    fn grow(&mut self) -> Result<(), Diagnostic> {
        self.size += 1;
        if self.size > LONGEST {
            return Err(self.too_much(format!("more than {LONGEST} operators and brackets")));
        }
        Ok(())
    }

    fn too_much(&self, what: String) -> Diagnostic {
        Diagnostic::new(self.source, self.span(), format!("this expression has {what}"))
            .help("divide it: name its parts with `Let(\"name\", \"expression\")`")
    }

    /// Parses what stands one level deeper in the tree.
    fn deeper(&mut self, inside: fn(&mut Self) -> Parsed) -> Parsed {
        self.depth += 1;
        self.bounded()?;
        let result = inside(self);
        self.depth -= 1;
        result
    }

    fn bounded(&self) -> Result<(), Diagnostic> {
        if self.depth > DEEPEST {
            return Err(
                self.too_much(format!("more than {DEEPEST} operators and brackets inside one another"))
            );
        }
        Ok(())
    }

    fn expression(&mut self) -> Parsed {
        self.deeper(Self::choice)
    }

    fn choice(&mut self) -> Parsed {
        let then = self.disjunction()?;
        if !self.eat("if") {
            return Ok(then);
        }
        self.grow()?;
        let condition = self.disjunction()?;
        self.expect("else")?;
        let otherwise = self.expression()?;
        let span = then.span.to(otherwise.span);
        let (condition, then, otherwise) = (Box::new(condition), Box::new(then), Box::new(otherwise));
        Ok(Expr { kind: ExprKind::If { condition, then, otherwise }, span })
    }

    /// `operand {operator operand}`, to the left.
    fn chain(&mut self, operators: &[Binary], operand: fn(&mut Self) -> Parsed) -> Parsed {
        let first = operand(self)?;
        let mut rest = Vec::new();
        while let Some(&operator) = operators.iter().find(|operator| self.eat(operator.symbol())) {
            self.grow()?;
            rest.push((operator, operand(self)?));
        }
        let Some((_, last)) = rest.last() else { return Ok(first) };
        let span = first.span.to(last.span);
        Ok(Expr { kind: ExprKind::Chain(Box::new(first), rest), span })
    }

    fn disjunction(&mut self) -> Parsed {
        self.chain(&[Binary::Or], Self::conjunction)
    }

    fn conjunction(&mut self) -> Parsed {
        self.chain(&[Binary::And], Self::negation)
    }

    fn negation(&mut self) -> Parsed {
        self.prefix("not", Unary::Not, Self::negation, Self::comparison)
    }

    fn comparison(&mut self) -> Parsed {
        use Binary::{Eq, Ge, Gt, Le, Lt, Ne};
        self.chain(&[Eq, Ne, Le, Ge, Lt, Gt], Self::sum)
    }

    fn sum(&mut self) -> Parsed {
        self.chain(&[Binary::Add, Binary::Sub], Self::term)
    }

    fn term(&mut self) -> Parsed {
        use Binary::{Div, FloorDiv, MatMul, Mul, Rem};
        self.chain(&[Mul, Div, FloorDiv, Rem, MatMul], Self::factor)
    }

    fn factor(&mut self) -> Parsed {
        if self.eat("+") {
            self.grow()?;
            return self.deeper(Self::factor);
        }
        if self.peek() == &Token::Symbol("-")
            && matches!(self.tokens.get(self.at + 1), Some((Token::Edge, _)))
        {
            let start = self.span();
            self.advance();
            let span = start.to(self.span());
            self.advance();
            return Ok(Expr { kind: ExprKind::Int(i64::MIN), span });
        }
        self.prefix("-", Unary::Minus, Self::factor, Self::power)
    }

    fn prefix(
        &mut self,
        symbol: &str,
        operator: Unary,
        again: fn(&mut Self) -> Parsed,
        otherwise: fn(&mut Self) -> Parsed,
    ) -> Parsed {
        let start = self.span();
        if !self.eat(symbol) {
            return otherwise(self);
        }
        self.grow()?;
        let operand = self.deeper(again)?;
        let span = start.to(operand.span);
        Ok(Expr { kind: ExprKind::Unary(operator, Box::new(operand)), span })
    }

    fn power(&mut self) -> Parsed {
        let base = self.postfix()?;
        if !self.eat("**") {
            return Ok(base);
        }
        self.grow()?;
        let exponent = self.deeper(Self::factor)?;
        let span = base.span.to(exponent.span);
        Ok(Expr { kind: ExprKind::Chain(Box::new(base), vec![(Binary::Pow, exponent)]), span })
    }

    fn postfix(&mut self) -> Parsed {
        let mut value = self.atom()?;
        let depth = self.depth;
        while self.eat("[") {
            self.grow()?;
            // Each is one level more above the value.
            self.depth += 1;
            self.bounded()?;
            let mut indices = vec![self.index()?];
            while self.eat(",") {
                indices.push(self.index()?);
            }
            let span = value.span.to(self.span());
            self.expect("]")?;
            value = Expr { kind: ExprKind::Index(Box::new(value), indices), span };
        }
        self.depth = depth;
        Ok(value)
    }

    fn index(&mut self) -> Result<Index, Diagnostic> {
        if self.eat("...") {
            return Ok(Index::Rest);
        }
        let bound = |parser: &mut Self| match parser.peek() {
            Token::Symbol(":" | "]" | ",") => Ok(None),
            _ => parser.expression().map(Some),
        };
        let start = bound(self)?;
        if !self.eat(":") {
            return start.map(Index::At).ok_or_else(|| self.unexpected("expected an index"));
        }
        let stop = bound(self)?;
        let step = if self.eat(":") { bound(self)? } else { None };
        Ok(Index::Range(Box::new([start, stop, step])))
    }

    fn atom(&mut self) -> Parsed {
        let span = self.span();
        let kind = match self.peek().clone() {
            Token::Int(value) => ExprKind::Int(value),
            Token::Float(value) => ExprKind::Float(value),
            Token::Text(text) => ExprKind::Text(text),
            Token::Symbol("true") => ExprKind::Bool(true),
            Token::Symbol("false") => ExprKind::Bool(false),
            Token::Symbol("none") => ExprKind::None,
            Token::Name(name) => {
                self.advance();
                return self.name_or_call(name, span);
            }
            Token::Filled(parts) => {
                self.grow()?;
                let piece = |part| match part {
                    Part::Text(text) => Ok(Piece::Text(text)),
                    Part::Tokens(tokens) => whole(self.source, tokens).map(Piece::Expr),
                };
                let pieces = parts.into_iter().map(piece).collect::<Result<_, Diagnostic>>()?;
                ExprKind::Filled(Template { pieces, span })
            }
            Token::Symbol("(") => {
                self.grow()?;
                self.advance();
                let inner = self.expression()?;
                let span = span.to(self.span());
                self.expect(")")?;
                return Ok(Expr { kind: inner.kind, span });
            }
            Token::Symbol("[") => {
                self.grow()?;
                self.advance();
                let mut items = Vec::new();
                while !matches!(self.peek(), Token::Symbol("]")) {
                    let item = self.expression()?;
                    if items.is_empty() && self.eat_word("for") {
                        return self.each(item, span);
                    }
                    items.push(item);
                    if !self.eat(",") {
                        break;
                    }
                }
                let span = span.to(self.span());
                self.expect("]")?;
                return Ok(Expr { kind: ExprKind::List(items), span });
            }
            _ => return Err(self.unexpected("expected a number, a name, or `(`")),
        };
        self.advance();
        Ok(Expr { kind, span })
    }

    /// A word that is one in its place only, and a name elsewhere.
    fn eat_word(&mut self, word: &str) -> bool {
        let found = matches!(self.peek(), Token::Name(name) if name == word);
        if found {
            self.advance();
        }
        found
    }

    /// The rest of `[body for element in list]`, from the element on.
    fn each(&mut self, body: Expr, start: Span) -> Parsed {
        self.grow()?;
        let element = match self.peek().clone() {
            Token::Name(name) if !name.contains('.') => Spanned::new(name, self.span()),
            _ => return Err(self.unexpected("expected a name for each element")),
        };
        self.advance();
        if !self.eat_word("in") {
            return Err(self.unexpected("expected `in`"));
        }
        let list = self.expression()?;
        let span = start.to(self.span());
        self.expect("]")?;
        let (body, list) = (Box::new(body), Box::new(list));
        Ok(Expr { kind: ExprKind::Each { body, element, list }, span })
    }

    fn name_or_call(&mut self, name: String, span: Span) -> Parsed {
        if !self.eat("(") {
            return Ok(Expr { kind: ExprKind::Name(name), span });
        }
        self.grow()?;
        let mut positional = Vec::new();
        let mut named: Vec<(Spanned<String>, Expr)> = Vec::new();
        while !matches!(self.peek(), Token::Symbol(")")) {
            let next = self.tokens.get(self.at + 1).map(|(token, _)| token);
            if let (Token::Name(key), Some(Token::Symbol("="))) = (self.peek().clone(), next) {
                let key = Spanned::new(key, self.span());
                self.advance();
                self.advance();
                if named.iter().any(|(other, _)| other.value == key.value) {
                    return Err(Diagnostic::new(
                        self.source,
                        key.span,
                        format!("the argument `{}` is given twice", key.value),
                    ));
                }
                named.push((key, self.expression()?));
            } else if named.is_empty() {
                positional.push(self.expression()?);
            } else {
                return Err(self.unexpected("an argument without a name follows one with a name"));
            }
            if !self.eat(",") {
                break;
            }
        }
        let whole = span.to(self.span());
        self.expect(")")?;
        let function = Spanned::new(name, span);
        Ok(Expr { kind: ExprKind::Call { function, positional, named }, span: whole })
    }
}
