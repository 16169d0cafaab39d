//! Text to graphs.
//!
//! What is wrong with the form ends the reading; what is wrong with a statement (an unknown operator, a wrong type)
//! is noted, and reading goes on, so that independent mistakes are reported together. Whether the whole is a valid
//! graph says [`crate::verify`]. Hostile texts are errors, never panics: nesting is limited, and short words for
//! large tensors share a budget.

use std::collections::HashMap;
use std::fmt;

use crate::attribute::{Attribute, Attributes};
use crate::choice::Choice;
use crate::graph::{Graph, Origin, Value};
use crate::lexer::{Lexer, ParseError, Token, unquote};
use crate::literal;
use crate::names::nearest;
use crate::ops::{Op, Role};
use crate::types::{DType, Type};
use crate::verify::MAX_NESTING;

/// How deep lists may nest.
const MAX_LISTS: usize = 8;

/// Errors after which reading stops.
const MAX_ERRORS: usize = 50;

/// Why a text is no graph: at least one error, in the order of the text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ParseErrors(pub Vec<ParseError>);

impl fmt::Display for ParseErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, error) in self.0.iter().enumerate() {
            write!(f, "{}{error}", if number == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl std::error::Error for ParseErrors {}

impl Graph {
    /// Reads a graph; printing gives it back. Regions are checked where they are used; [`Graph::verify`] says the
    /// rest.
    pub fn parse(text: &str) -> Result<Graph, ParseErrors> {
        let mut parser = Parser { lexer: Lexer::new(text), errors: Vec::new(), budget: literal::MAX_SPLAT };
        let graph = parser.graph(0).and_then(|graph| match parser.lexer.peek() {
            Token::End => Ok(graph),
            _ => Err(parser.lexer.unexpected("the end of the text")),
        });
        match graph {
            Ok(graph) if parser.errors.is_empty() => Ok(graph),
            Ok(_) => Err(ParseErrors(parser.errors)),
            Err(error) => {
                parser.errors.push(error);
                Err(ParseErrors(parser.errors))
            }
        }
    }
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    /// Mistakes after which reading went on.
    errors: Vec<ParseError>,
    /// Elements that splat tensors may still have.
    budget: usize,
}

/// How a text calls a value. `%0` and `%"0"` are different: bare numbers are results.
#[derive(PartialEq, Eq, Hash)]
enum Name<'a> {
    Number(&'a str),
    Word(String),
}

/// The values of one graph; nothing for the results of a statement with a mistake, whose users are skipped.
type Names<'a> = HashMap<Name<'a>, Option<Value>>;

/// A statement as it is written.
struct Statement<'a> {
    results: Vec<(Name<'a>, usize)>,
    operator: &'a str,
    /// Offset of the operator.
    at: usize,
    operands: Vec<Option<Value>>,
    attributes: Attributes,
    /// The types that are written, and their offset.
    types: Option<(Vec<Type>, usize)>,
    origin: Origin,
}

type Parsed<T> = Result<T, ParseError>;

impl<'a> Parser<'a> {
    fn graph(&mut self, depth: usize) -> Parsed<Graph> {
        if depth > MAX_NESTING {
            return Err(self.lexer.error(format!("regions nest deeper than {MAX_NESTING}")));
        }
        self.lexer.expect_word("graph")?;
        let mut graph = Graph::new(&self.lexer.at_name("the graph's name")?);
        let mut names = Names::new();
        self.lexer.expect("(")?;
        let mut first = true;
        while !self.lexer.accept(")") {
            if !std::mem::take(&mut first) {
                self.lexer.expect(",")?;
            }
            let role = if self.lexer.accept_word("state") { Role::State } else { Role::Data };
            let at = self.lexer.offset();
            let (key, shown) = self.value_name("a parameter")?;
            self.lexer.expect(":")?;
            let ty = literal::ty(&mut self.lexer)?;
            let value = graph.add_parameter(&shown, role, ty);
            if names.insert(key, Some(value)).is_some() {
                return Err(self.lexer.error_at(at, format!("two parameters are called %{shown}")));
            }
        }
        self.lexer.expect("{")?;
        while !self.lexer.accept_word("return") {
            let statement = self.statement(&names, depth)?;
            self.add(&mut graph, &mut names, statement)?;
        }
        self.outputs(&mut graph, &names)?;
        self.lexer.expect("}")?;
        Ok(graph)
    }

    /// A name behind `%`, and as it is shown to people.
    fn value_name(&mut self, what: &str) -> Parsed<(Name<'a>, String)> {
        match self.lexer.peek() {
            Token::Percent(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => {
                self.lexer.take();
                Ok((Name::Number(text), text.to_owned()))
            }
            Token::Percent(text) => {
                let word = unquote(text).ok_or_else(|| self.lexer.error("unknown escape in a string"))?;
                self.lexer.take();
                Ok((Name::Word(word.clone()), word))
            }
            _ => Err(self.lexer.unexpected(format_args!("{what} (`%name`)"))),
        }
    }

    /// A value that was assigned before; nothing if its statement had a mistake.
    fn value(&mut self, names: &Names<'a>) -> Parsed<Option<Value>> {
        let at = self.lexer.offset();
        let (key, shown) = self.value_name("a value")?;
        if let Some(value) = names.get(&key) {
            return Ok(*value);
        }
        let known = names.keys().filter_map(|name| match name {
            Name::Word(word) => Some(word.as_str()),
            Name::Number(_) => None,
        });
        let hint = match nearest(&shown, known) {
            Some(near) if matches!(key, Name::Word(_)) => format!("; there is %{near}"),
            _ => String::new(),
        };
        self.note(self.lexer.error_at(at, format!("%{shown} is not assigned before{hint}")))?;
        Ok(None)
    }

    /// Notes a mistake and goes on, but not for ever.
    fn note(&mut self, error: ParseError) -> Parsed<()> {
        if self.errors.len() + 1 >= MAX_ERRORS {
            return Err(error);
        }
        self.errors.push(error);
        Ok(())
    }

    fn statement(&mut self, names: &Names<'a>, depth: usize) -> Parsed<Statement<'a>> {
        let mut results = Vec::new();
        loop {
            let at = self.lexer.offset();
            if !matches!(self.lexer.peek(), Token::Percent(_)) && results.is_empty() {
                return Err(self.lexer.unexpected("a statement (`%name = …`) or `return`"));
            }
            let (key, shown) = self.value_name("a result")?;
            if names.contains_key(&key) || results.iter().any(|(other, _)| *other == key) {
                return Err(self.lexer.error_at(at, format!("%{shown} is assigned twice")));
            }
            results.push((key, at));
            if !self.lexer.accept(",") {
                break;
            }
        }
        self.lexer.expect("=")?;
        let at = self.lexer.offset();
        let operator = self.lexer.ident("an operator")?;
        let mut operands = Vec::new();
        while matches!(self.lexer.peek(), Token::Percent(_)) && !self.is_assigned() {
            operands.push(self.value(names)?);
            if !self.lexer.accept(",") {
                break;
            }
            if !matches!(self.lexer.peek(), Token::Percent(_)) {
                return Err(self.lexer.unexpected("an operand (`%name`)"));
            }
        }
        let attributes = if self.lexer.accept("{") { self.attributes(depth)? } else { Attributes::default() };
        let types_at = self.lexer.offset();
        let mut types = None;
        if self.lexer.accept(":") {
            let mut list = vec![literal::ty(&mut self.lexer)?];
            while self.lexer.accept(",") {
                list.push(literal::ty(&mut self.lexer)?);
            }
            types = Some((list, types_at));
        }
        let path = self.lexer.trailing_comment().unwrap_or("");
        let path = unquote(path).unwrap_or_else(|| path.to_owned());
        Ok(Statement { results, operator, at, operands, attributes, types, origin: Origin::new(&path) })
    }

    /// Whether the value that is next begins a statement: `=` follows.
    fn is_assigned(&self) -> bool {
        let mut ahead = self.lexer.clone();
        ahead.take();
        ahead.peek() == Token::Punct("=")
    }

    /// Adds the node of a statement, or notes what is wrong with it.
    fn add(&mut self, graph: &mut Graph, names: &mut Names<'a>, statement: Statement<'a>) -> Parsed<()> {
        let count = statement.results.len();
        let values = match build(graph, &statement) {
            Ok(Some(values)) => values.into_iter().map(Some).collect(),
            Ok(None) => vec![None; count],
            Err((at, message)) => {
                self.note(self.lexer.error_at(at.unwrap_or(statement.at), message))?;
                vec![None; count]
            }
        };
        names.extend(statement.results.into_iter().map(|(name, _)| name).zip(values));
        Ok(())
    }

    fn outputs(&mut self, graph: &mut Graph, names: &Names<'a>) -> Parsed<()> {
        let mut first = true;
        while self.lexer.peek() != Token::Punct("}") {
            if !std::mem::take(&mut first) {
                self.lexer.expect(",")?;
            }
            let (name, role, value);
            if self.lexer.accept_word("state") {
                (_, name) = self.value_name("a state")?;
                self.lexer.expect("=")?;
                (role, value) = (Role::State, self.value(names)?);
            } else {
                (role, value) = (Role::Data, self.value(names)?);
                self.lexer.expect_word("as")?;
                name = self.lexer.string("the output's name")?;
            }
            if let Some(value) = value {
                graph.add_output(&name, role, value);
            }
        }
        Ok(())
    }

    /// Behind the opening brace.
    fn attributes(&mut self, depth: usize) -> Parsed<Attributes> {
        let mut entries: Vec<(String, Attribute)> = Vec::new();
        while !self.lexer.accept("}") {
            if !entries.is_empty() {
                self.lexer.expect(",")?;
            }
            let at = self.lexer.offset();
            let key = self.lexer.ident("an attribute")?;
            if entries.iter().any(|(other, _)| other == key) {
                return Err(self.lexer.error_at(at, format!("the attribute `{key}` is given twice")));
            }
            self.lexer.expect(":")?;
            entries.push((key.to_owned(), self.attribute(depth, 0)?));
        }
        Ok(Attributes::new(entries))
    }

    fn attribute(&mut self, depth: usize, lists: usize) -> Parsed<Attribute> {
        Ok(match self.lexer.peek() {
            Token::Ident("true") => self.taken(Attribute::Bool(true)),
            Token::Ident("false") => self.taken(Attribute::Bool(false)),
            Token::Ident("graph") => Attribute::Graph(Box::new(self.graph(depth + 1)?)),
            Token::Ident("inf" | "nan") => self.float()?,
            Token::Ident(word) => {
                let mut ahead = self.lexer.clone();
                ahead.take();
                if DType::from_name(word).is_some() && ahead.peek() == Token::Punct("[") {
                    let ty = literal::ty(&mut self.lexer)?;
                    Attribute::Tensor(literal::elements(&mut self.lexer, &ty, &mut self.budget)?)
                } else {
                    self.taken(Attribute::name(word))
                }
            }
            Token::String(_) => Attribute::Text(self.lexer.string("a text")?),
            Token::Number(_) | Token::Punct("-") => self.number()?,
            Token::Punct("[") => {
                if lists >= MAX_LISTS {
                    return Err(self.lexer.error(format!("lists nest deeper than {MAX_LISTS}")));
                }
                self.lexer.take();
                let mut list = Vec::new();
                while !self.lexer.accept("]") {
                    if !list.is_empty() {
                        self.lexer.expect(",")?;
                    }
                    list.push(self.attribute(depth, lists + 1)?);
                }
                Attribute::List(list)
            }
            _ => return Err(self.lexer.unexpected("the value of an attribute")),
        })
    }

    fn taken(&mut self, attribute: Attribute) -> Attribute {
        self.lexer.take();
        attribute
    }

    fn number(&mut self) -> Parsed<Attribute> {
        let mut ahead = self.lexer.clone();
        ahead.accept("-");
        match ahead.peek() {
            Token::Number(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => {
                Ok(Attribute::Int(self.lexer.integer("an integer", i64::MIN, i64::MAX)?))
            }
            _ => self.float(),
        }
    }

    fn float(&mut self) -> Parsed<Attribute> {
        Ok(Attribute::Float(literal::scalar(&mut self.lexer, DType::F64)?.to_f64()))
    }
}

/// The results of a statement's node; nothing if an operand had a mistake; else the mistake and its offset, if that
/// is not the operator's.
fn build(
    graph: &mut Graph,
    statement: &Statement<'_>,
) -> Result<Option<Vec<Value>>, (Option<usize>, String)> {
    let here = |message: String| (None, message);
    let name = statement.operator;
    let mut attributes = statement.attributes.clone();
    let op = match Op::from_attributes(name, &mut attributes) {
        Some(op) => op.map_err(|message| here(format!("{name}: {message}")))?,
        None => {
            let hint =
                nearest(name, Op::names()).map_or(String::new(), |near| format!("; there is `{near}`"));
            return Err(here(format!("unknown operator `{name}`{hint}")));
        }
    };
    let choice = Choice::from_attributes(&op, &mut attributes);
    let choice = choice.map_err(|message| here(format!("{name}: {message}")))?;
    if let Some(message) = attributes.unknown() {
        return Err(here(format!("{name}: {message}")));
    }
    let Some(operands) = statement.operands.iter().copied().collect::<Option<Vec<Value>>>() else {
        return Ok(None);
    };
    let id = graph.add_chosen(op, choice, &operands, &statement.origin);
    let id = id.map_err(|error| here(error.message))?;
    let (results, found) = (graph.results(id), graph.node(id).types.clone());
    if results.len() != statement.results.len() {
        let (given, written) = (results.len(), statement.results.len());
        let plural = if given == 1 { "" } else { "s" };
        return Err(here(format!("{name} gives {given} result{plural}, {written} are named")));
    }
    if let Some((written, at)) = &statement.types
        && *written != found
    {
        let list = |types: &[Type]| types.iter().map(Type::to_string).collect::<Vec<_>>().join(", ");
        let (written, found) = (list(written), list(&found));
        return Err((Some(*at), format!("{name} gives {found}, written is {written}")));
    }
    Ok(Some(results))
}
