//! `brolga language`: the language as a document, and as a JSON schema for editors. Both are made of the signatures that
//! models are read by.

use std::fmt::Write;
use std::process::ExitCode;

use brolga::Result;
use brolga::frontend::language::{self, Argument, Callable, Kind, Structure, Takes};
use serde_json::{Map, Value, json};

use super::args::LanguageArgs;

pub fn run(args: &LanguageArgs) -> Result<ExitCode> {
    match args.json {
        true => outln!("{:#}", schema()),
        false => out!("{}", document()),
    }
    Ok(ExitCode::SUCCESS)
}

/// What a kind is called in headings, and what stands between the name of an argument and its value.
fn title(kind: Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::Layer => ("Layers", ": "),
        Kind::Function => ("Functions of expressions", "="),
        Kind::Optimizer => ("Optimisers", ": "),
        Kind::Schedule => ("Schedules of learning rates", ": "),
        Kind::Initializer => ("Initialisers", ": "),
    }
}

fn document() -> String {
    let mut text = String::from(
        "# Reference of the model language\n\nMade by `brolga language`; `frontend/LANGUAGE.md` says what it means. Unnamed \
         arguments are taken in the order given here;\nthose in brackets may be left out.\n",
    );
    // Writing to a string cannot fail.
    let mut line = |line: std::fmt::Arguments<'_>| {
        let _ = writeln!(text, "{line}");
    };
    for (title, list) in [("Steps", language::structures()), ("Entry points", language::entries())] {
        line(format_args!("\n## {title}\n"));
        for structure in list {
            line(format_args!("- `{}`", structure_form(&structure)));
        }
    }
    for kind in Kind::ALL {
        let (title, between) = title(kind);
        line(format_args!("\n## {title}\n"));
        for callable in kind.callables() {
            line(format_args!("- `{}`", form(&callable, between)));
        }
    }
    let operators: Vec<String> =
        language::operators().iter().map(|operator| format!("`{operator}`")).collect();
    let prefixes: Vec<String> = language::prefixes().iter().map(|prefix| format!("`{prefix}`")).collect();
    line(format_args!("\n## Operators of expressions\n\nBetween two operands: {}", operators.join(" ")));
    line(format_args!("\nBefore one: {}", prefixes.join(" ")));
    text
}

/// `Import(model, [variant], [name])`
fn structure_form(structure: &Structure) -> String {
    let field = |field: &&'static str| match structure.required.contains(field) {
        true => (*field).to_owned(),
        false => format!("[{field}]"),
    };
    format!("{}({})", structure.name, structure.fields.iter().map(field).collect::<Vec<_>>().join(", "))
}

/// `Gelu([form: \"erf\" or \"tanh\"])`
fn form(callable: &Callable, between: &str) -> String {
    let argument = |argument: &Argument| {
        let text = match takes(argument, between) {
            Some(takes) => format!("{}{between}{takes}", argument.name),
            None => argument.name.to_owned(),
        };
        if argument.required { text } else { format!("[{text}]") }
    };
    let arguments: Vec<String> = callable.arguments.iter().map(argument).collect();
    match (callable.kind, arguments.is_empty()) {
        (Kind::Function, _) | (_, false) => format!("{}({})", callable.name, arguments.join(", ")),
        (_, true) => callable.name.to_owned(),
    }
}

/// What an argument takes, where something can be said of it.
fn takes(argument: &Argument, between: &str) -> Option<String> {
    let quote = if between == "=" { '\'' } else { '"' };
    match &argument.takes {
        Takes::Values => None,
        Takes::Size => Some("a size".into()),
        Takes::Within(low, high) => Some(match (*low == f64::MIN, *high == f64::MAX) {
            (true, true) => "a number".into(),
            (false, true) => format!("a number from {low} on"),
            (true, false) => format!("a number up to {high}"),
            (false, false) => format!("{low} to {high}"),
        }),
        Takes::Flag => Some("true or false".into()),
        Takes::Words(words) => {
            let words: Vec<String> = words.iter().map(|word| format!("{quote}{word}{quote}")).collect();
            Some(words.join(" or "))
        }
        Takes::Calls(names) => Some(match names.len() {
            0..=3 => names.join(" or "),
            _ => format!("{} or others", names[..3].join(", ")),
        }),
    }
}

/// A model as JSON: a struct `Conv2d(features: 6)` is `{"Conv2d": {"features": 6}}`, or `{"Conv2d": [6]}` without names, and
/// what has no arguments is `"Relu"`. `x-order` has the order of unnamed arguments.
fn schema() -> Value {
    let mut definitions = Map::new();
    definitions
        .insert("value".into(), json!({"description": "a value, or an expression for one in a string"}));
    definitions.insert("names".into(), json!({"type": "object"}));
    let mut steps = Vec::new();
    for kind in [Kind::Layer, Kind::Optimizer, Kind::Schedule, Kind::Initializer] {
        for callable in kind.callables() {
            let key = format!("{kind:?}.{}", callable.name);
            definitions.insert(key.clone(), arguments(&callable, kind == Kind::Layer));
            if kind == Kind::Layer {
                let bare = callable.arguments.iter().all(|argument| !argument.required);
                steps.push(call(callable.name, &key, bare));
            }
        }
    }
    for structure in language::structures() {
        let key = format!("Step.{}", structure.name);
        definitions.insert(key.clone(), fields(&structure));
        steps.push(call(structure.name, &key, false));
    }
    // A block of the model's own has any name.
    steps.push(json!({"type": "object", "maxProperties": 1}));
    steps.push(json!({"type": "string"}));
    definitions.insert("step".into(), json!({"anyOf": steps}));
    definitions.insert("body".into(), json!({"type": "array", "items": {"$ref": "#/$defs/step"}}));
    let mut entries = Vec::new();
    for structure in language::entries() {
        let key = format!("Entry.{}", structure.name);
        definitions.insert(key.clone(), fields(&structure));
        entries.push(call(structure.name, &key, false));
    }
    let functions = Kind::Function.callables();
    let signature = |function: &Callable| (function.name.to_owned(), json!(form(function, "=")));
    let functions: Map<String, Value> = functions.iter().map(signature).collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Brolga model",
        "type": "object",
        "properties": {
            "inputs": {"$ref": "#/$defs/names"},
            "body": {"$ref": "#/$defs/body"},
            "entries": {"type": "object", "additionalProperties": {"anyOf": entries}},
        },
        "required": ["inputs", "body", "entries"],
        "$defs": definitions,
        "x-functions": functions,
        "x-operators": language::operators(),
        "x-prefixes": language::prefixes(),
    })
}

/// A call of what `key` defines.
fn call(name: &str, key: &str, bare: bool) -> Value {
    let reference = json!({"$ref": format!("#/$defs/{key}")});
    let object = json!({"type": "object", "properties": {name: reference}, "required": [name],
        "additionalProperties": false});
    if bare { json!({"anyOf": [{"const": name}, object]}) } else { object }
}

/// The arguments of a call, by name or by position.
fn arguments(callable: &Callable, named: bool) -> Value {
    let property = |argument: &Argument| (argument.name.to_owned(), property(argument));
    let mut properties: Map<String, Value> = callable.arguments.iter().map(property).collect();
    if named {
        properties.insert("name".into(), json!({"type": "string"}));
    }
    let required = callable.arguments.iter().filter(|argument| argument.required);
    let required: Vec<&str> = required.map(|argument| argument.name).collect();
    let order: Vec<&str> = callable.arguments.iter().map(|argument| argument.name).collect();
    either(properties, &required, &order)
}

/// The fields of a step or entry, by name or by position.
fn fields(structure: &Structure) -> Value {
    let property = |field: &&str| {
        let value = match *field {
            "body" | "then" | "otherwise" => json!({"$ref": "#/$defs/body"}),
            "branches" => json!({"type": "array"}),
            _ => json!({"$ref": "#/$defs/value"}),
        };
        ((*field).to_owned(), value)
    };
    let properties = structure.fields.iter().map(property).collect();
    either(properties, structure.required, structure.fields)
}

fn either(properties: Map<String, Value>, required: &[&str], order: &[&str]) -> Value {
    json!({
        "anyOf": [
            {"type": "object", "properties": properties, "required": required, "additionalProperties": false},
            {"type": "array", "maxItems": order.len()},
        ],
        "x-order": order,
    })
}

/// What an argument may be; an expression in a string may stand for any of it.
fn property(argument: &Argument) -> Value {
    let expression = json!({"type": "string"});
    match &argument.takes {
        Takes::Values => json!({"$ref": "#/$defs/value"}),
        Takes::Size => json!({"anyOf": [{"type": "integer", "minimum": 1}, expression]}),
        Takes::Within(low, high) => {
            let mut number = json!({"type": "number"});
            if *low != f64::MIN {
                number["minimum"] = json!(low);
            }
            if *high != f64::MAX {
                number["maximum"] = json!(high);
            }
            json!({"anyOf": [number, expression]})
        }
        Takes::Flag => json!({"anyOf": [{"type": "boolean"}, expression]}),
        Takes::Words(words) => json!({"anyOf": [{"enum": words}, {"$ref": "#/$defs/value"}]}),
        Takes::Calls(names) => json!({"description": format!("a value, or one of {}", names.join(", "))}),
    }
}
