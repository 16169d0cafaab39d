//! Attributes of operators as the text form shows them: `{axes: [0, 2], combine: add}`.

use std::fmt;

use crate::graph::Graph;
use crate::names::nearest;
use crate::tensor::Tensor;
use crate::types::DType;

/// The value of an attribute.
#[derive(Clone, PartialEq, Debug)]
pub enum Attribute {
    /// `3`
    Int(i64),
    /// `0.5`
    Float(f64),
    /// `true`
    Bool(bool),
    /// `add`
    Name(String),
    /// `"text"`
    Text(String),
    /// `[1, 2]`
    List(Vec<Attribute>),
    /// `f32[2] [1, 2]`
    Tensor(Tensor),
    /// a sub-graph in braces
    Graph(Box<Graph>),
}

impl Attribute {
    /// A list of sizes or axes.
    pub fn sizes(values: &[usize]) -> Attribute {
        Attribute::List(values.iter().map(|&v| Attribute::Int(v as i64)).collect())
    }

    /// A list of integers.
    pub fn ints(values: &[i64]) -> Attribute {
        Attribute::List(values.iter().map(|&v| Attribute::Int(v)).collect())
    }

    /// A name.
    pub fn name(name: &str) -> Attribute {
        Attribute::Name(name.to_owned())
    }
}

/// Attributes as read from text: each is taken once by the operator, the rest are mistakes.
#[derive(Clone, Debug, Default)]
pub struct Attributes {
    entries: Vec<(String, Attribute)>,
    /// What was asked for: the names that the operator knows.
    asked: Vec<String>,
}

impl Attributes {
    /// From pairs in the order of the text.
    pub fn new(entries: Vec<(String, Attribute)>) -> Attributes {
        Attributes { entries, asked: Vec::new() }
    }

    /// Takes an attribute out, if it is there.
    pub fn take(&mut self, name: &str) -> Option<Attribute> {
        self.asked.push(name.to_owned());
        let position = self.entries.iter().position(|(key, _)| key == name)?;
        Some(self.entries.remove(position).1)
    }

    /// Whether an attribute is there (and not taken yet).
    fn has(&mut self, name: &str) -> bool {
        self.asked.push(name.to_owned());
        self.entries.iter().any(|(key, _)| key == name)
    }

    /// What is wrong with the attributes that were not taken, if there are any.
    pub fn unknown(&self) -> Option<String> {
        let (name, _) = self.entries.first()?;
        let hint = match nearest(name, self.asked.iter().map(String::as_str)) {
            Some(near) => format!("; there is `{near}`"),
            None => String::new(),
        };
        Some(format!("unknown attribute `{name}`{hint}"))
    }

    /// Names of what was not taken.
    pub fn rest(&self) -> Vec<&str> {
        self.entries.iter().map(|(key, _)| key.as_str()).collect()
    }

    fn required(&mut self, name: &str) -> Result<Attribute, String> {
        self.take(name).ok_or_else(|| match nearest(name, self.rest()) {
            Some(near) => format!("the attribute `{name}` is missing; found `{near}`"),
            None => format!("the attribute `{name}` is missing"),
        })
    }

    /// A list of sizes or axes.
    pub fn sizes(&mut self, name: &str) -> Result<Vec<usize>, String> {
        self.ints(name)?
            .into_iter()
            .map(|v| usize::try_from(v).map_err(|_| format!("`{name}` holds {v}, sizes are not negative")))
            .collect()
    }

    /// A list of sizes, or `default` where it is absent.
    pub fn sizes_or(&mut self, name: &str, default: Vec<usize>) -> Result<Vec<usize>, String> {
        if self.has(name) { self.sizes(name) } else { Ok(default) }
    }

    /// A list of lists of integers.
    pub fn int_lists(&mut self, name: &str) -> Result<Vec<Vec<i64>>, String> {
        let wrong = || format!("`{name}` must be a list of lists of integers");
        let inner = |item: Attribute| match item {
            Attribute::List(list) => list
                .into_iter()
                .map(|item| if let Attribute::Int(v) = item { Ok(v) } else { Err(wrong()) })
                .collect(),
            _ => Err(wrong()),
        };
        match self.required(name)? {
            Attribute::List(list) => list.into_iter().map(inner).collect(),
            _ => Err(wrong()),
        }
    }

    /// A list of lists of integers, or `default` where it is absent.
    pub fn int_lists_or(&mut self, name: &str, default: Vec<Vec<i64>>) -> Result<Vec<Vec<i64>>, String> {
        if self.has(name) { self.int_lists(name) } else { Ok(default) }
    }

    /// A list of lists of sizes or axes.
    pub fn size_lists(&mut self, name: &str) -> Result<Vec<Vec<usize>>, String> {
        let size =
            |v: i64| usize::try_from(v).map_err(|_| format!("`{name}` holds {v}, sizes are not negative"));
        self.int_lists(name)?.into_iter().map(|list| list.into_iter().map(size).collect()).collect()
    }

    /// A list of lists of sizes, or `default` where it is absent.
    pub fn size_lists_or(&mut self, name: &str, default: Vec<Vec<usize>>) -> Result<Vec<Vec<usize>>, String> {
        if self.has(name) { self.size_lists(name) } else { Ok(default) }
    }

    /// A list of integers.
    pub fn ints(&mut self, name: &str) -> Result<Vec<i64>, String> {
        let wrong = || format!("`{name}` must be a list of integers");
        match self.required(name)? {
            Attribute::List(list) => list
                .into_iter()
                .map(|item| if let Attribute::Int(v) = item { Ok(v) } else { Err(wrong()) })
                .collect(),
            _ => Err(wrong()),
        }
    }

    /// An integer.
    pub fn int(&mut self, name: &str) -> Result<i64, String> {
        match self.required(name)? {
            Attribute::Int(v) => Ok(v),
            _ => Err(format!("`{name}` must be an integer")),
        }
    }

    /// An integer that is not negative.
    pub fn size(&mut self, name: &str) -> Result<usize, String> {
        let value = self.int(name)?;
        usize::try_from(value).map_err(|_| format!("`{name}` is {value}, sizes are not negative"))
    }

    /// An integer that is not negative, `default` where it is absent.
    pub fn size_or(&mut self, name: &str, default: usize) -> Result<usize, String> {
        if self.has(name) { self.size(name) } else { Ok(default) }
    }

    /// An element type.
    pub fn dtype(&mut self, name: &str) -> Result<DType, String> {
        let found = self.name(name)?;
        DType::from_name(&found).ok_or_else(|| format!("`{found}` is no element type"))
    }

    /// An element type, if it is there.
    pub fn dtype_if_given(&mut self, name: &str) -> Result<Option<DType>, String> {
        if self.has(name) { self.dtype(name).map(Some) } else { Ok(None) }
    }

    /// A truth value, `default` where it is absent.
    pub fn flag(&mut self, name: &str, default: bool) -> Result<bool, String> {
        match self.take(name) {
            None => Ok(default),
            Some(Attribute::Bool(v)) => Ok(v),
            Some(_) => Err(format!("`{name}` must be true or false")),
        }
    }

    /// A name.
    pub fn name(&mut self, name: &str) -> Result<String, String> {
        match self.required(name)? {
            Attribute::Name(v) => Ok(v),
            _ => Err(format!("`{name}` must be a name")),
        }
    }

    /// A text, if it is there.
    pub fn text(&mut self, name: &str) -> Result<Option<String>, String> {
        match self.take(name) {
            None => Ok(None),
            Some(Attribute::Text(v)) => Ok(Some(v)),
            Some(_) => Err(format!("`{name}` must be a text")),
        }
    }

    /// A tensor.
    pub fn tensor(&mut self, name: &str) -> Result<Tensor, String> {
        match self.required(name)? {
            Attribute::Tensor(v) => Ok(v),
            _ => Err(format!("`{name}` must be a tensor")),
        }
    }

    /// A sub-graph.
    pub fn graph(&mut self, name: &str) -> Result<Graph, String> {
        match self.required(name)? {
            Attribute::Graph(v) => Ok(*v),
            _ => Err(format!("`{name}` must be a graph")),
        }
    }
}

impl fmt::Display for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rest().join(", "))
    }
}
