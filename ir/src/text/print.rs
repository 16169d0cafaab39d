//! Graphs to text.

use std::collections::HashMap;
use std::fmt::{self, Write};

use crate::attribute::Attribute;
use crate::graph::{Graph, NodeId, Value};
use crate::lexer::{name, quote};
use crate::literal::Elements;
use crate::ops::Role;

/// Width from which the head of a graph is broken into lines.
const WIDTH: usize = 110;

impl fmt::Display for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        graph(f, self, 0)?;
        f.write_char('\n')
    }
}

/// How values are called in the text.
struct Names {
    names: HashMap<Value, String>,
}

impl Names {
    fn new(graph: &Graph) -> Names {
        let mut names = HashMap::new();
        let mut next = 0;
        for id in graph.order() {
            if let Some(parameter) = graph.parameter(id) {
                names.insert(graph.result(id), parameter_name(&parameter.name));
                continue;
            }
            for value in graph.results(id) {
                names.insert(value, format!("%{next}"));
                next += 1;
            }
        }
        Names { names }
    }

    fn list(&self, values: &[Value]) -> String {
        let names: Vec<&str> = values.iter().map(|value| self.get(*value)).collect();
        names.join(", ")
    }

    fn get(&self, value: Value) -> &str {
        // Only what the verifier refuses is not there.
        self.names.get(&value).map_or("%missing", String::as_str)
    }
}

/// Numbers are the names of results, so a parameter that is called like one stands in quotes.
fn parameter_name(text: &str) -> String {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return format!("%{}", quote(text));
    }
    format!("%{}", name(text))
}

fn graph(f: &mut fmt::Formatter<'_>, graph: &Graph, indent: usize) -> fmt::Result {
    let names = Names::new(graph);
    let inner = format!("\n{:1$}", "", 2 * indent + 2);
    let outer = format!("\n{:1$}", "", 2 * indent);
    let parameters = graph.parameters().iter().filter_map(|&id| graph.parameter(id));
    let head: Vec<String> = parameters
        .map(|parameter| {
            let state = if parameter.role == Role::State { "state " } else { "" };
            format!("{state}{}: {}", parameter_name(&parameter.name), parameter.ty)
        })
        .collect();
    write!(f, "graph @{}(", name(&graph.name))?;
    if head.iter().map(|item| item.len() + 2).sum::<usize>() > WIDTH {
        write!(f, "{inner}{}{outer}) {{", head.join(&format!(",{inner}")))?;
    } else {
        write!(f, "{}) {{", head.join(", "))?;
    }
    for id in graph.order().into_iter().filter(|&id| graph.parameter(id).is_none()) {
        let node = graph.node(id);
        let op = node.op.get();
        write!(f, "{inner}{} = {}", names.list(&graph.results(id)), op.name())?;
        if !node.operands.is_empty() {
            write!(f, " {}", names.list(&node.operands))?;
        }
        attributes(f, graph, id, indent + 1)?;
        let types: Vec<String> = node.types.iter().map(|ty| ty.to_string()).collect();
        write!(f, " : {}", types.join(", "))?;
        if !node.origin.path.is_empty() {
            write!(f, "  // {}", origin(&node.origin.path))?;
        }
    }
    write!(f, "{inner}return")?;
    for (number, output) in graph.outputs().iter().enumerate() {
        f.write_str(if number == 0 { " " } else { ", " })?;
        let value = names.get(output.value);
        match output.role {
            Role::Data => write!(f, "{value} as {}", quote(&output.name))?,
            Role::State => write!(f, "state {} = {value}", parameter_name(&output.name))?,
        }
    }
    write!(f, "{outer}}}")
}

/// A path as it stands in a comment: quoted where it would not be read back.
fn origin(path: &str) -> String {
    let plain = !path.contains(char::is_control) && !path.starts_with('"') && path.trim() == path;
    if plain { path.to_owned() } else { quote(path) }
}

/// A node's operator with its attributes and its choice, as the text of a graph has them, without operands.
pub(crate) struct Described<'g> {
    pub graph: &'g Graph,
    pub id: NodeId,
}

impl fmt::Display for Described<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.graph.node(self.id).op.get().name())?;
        attributes(f, self.graph, self.id, 1)
    }
}

/// What stands in a node's braces: the attributes of its operator, then its choice.
fn attributes(f: &mut fmt::Formatter<'_>, graph: &Graph, id: NodeId, indent: usize) -> fmt::Result {
    let mut list = graph.node(id).op.get().attributes();
    list.extend(graph.choice(id).attributes());
    if list.is_empty() {
        return Ok(());
    }
    f.write_str(" {")?;
    for (number, (key, value)) in list.iter().enumerate() {
        write!(f, "{}{key}: ", if number == 0 { "" } else { ", " })?;
        attribute(f, value, indent)?;
    }
    f.write_str("}")
}

fn attribute(f: &mut fmt::Formatter<'_>, value: &Attribute, indent: usize) -> fmt::Result {
    match value {
        Attribute::Int(v) => write!(f, "{v}"),
        Attribute::Float(v) => write!(f, "{}", crate::scalar::Scalar::F64(*v)),
        Attribute::Bool(v) => write!(f, "{v}"),
        Attribute::Name(v) => f.write_str(v),
        Attribute::Text(v) => f.write_str(&quote(v)),
        Attribute::List(list) => {
            f.write_char('[')?;
            for (number, item) in list.iter().enumerate() {
                f.write_str(if number == 0 { "" } else { ", " })?;
                attribute(f, item, indent)?;
            }
            f.write_char(']')
        }
        Attribute::Tensor(tensor) => write!(f, "{} {}", tensor.ty(), Elements(tensor)),
        Attribute::Graph(region) => graph(f, region, indent),
    }
}
