//! The schema of a model file as JSON.
//!
//! A call is an object with its name: `Conv2d(features: 6, kernel: 5)` is `{"Conv2d": {"features": 6, "kernel": 5}}`. Unnamed
//! arguments are a list, with the named ones in an object at its end: `Linear(8, bias: false)` is
//! `{"Linear": [8, {"bias": false}]}`. What has no arguments is its name: `"Relu"`. Lists and tuples are lists, maps objects.
//! The file is the object of the fields of `Model`. `x-order` has the order of unnamed arguments.

use brolga::frontend::language::{self, Argument, Callable, Constant, Form, Kind, Structure, Takes};
use serde_json::{Map, Value, json};

pub fn schema() -> Value {
    let mut definitions = Map::new();
    definitions.insert(
        "value".into(),
        json!({
            "description": "a number, a truth value, a list of such, or an expression in a string",
            "anyOf": [
                {"type": ["number", "boolean", "string"]},
                {"type": "array", "items": reference("value")},
            ],
        }),
    );
    for kind in [Kind::Layer, Kind::Optimizer, Kind::Schedule, Kind::Initializer] {
        for callable in kind.callables() {
            definitions.insert(key(kind, callable.name), of_callable(&callable));
        }
    }
    for (group, list) in [("Step", language::structures()), ("Part", language::parts())] {
        for structure in list {
            let key = format!("{group}.{}", structure.name);
            definitions.insert(key.clone(), of_structure(&key, &structure));
        }
    }
    definitions.insert("step".into(), step());
    definitions.insert("body".into(), json!({"type": "array", "items": reference("step")}));
    definitions.insert("optimizer".into(), json!({"anyOf": calls(Kind::Optimizer)}));
    let functions = Kind::Function.callables();
    let signature =
        |function: &Callable| (function.name.to_owned(), json!(super::document::form(function, "=")));
    let functions: Map<String, Value> = functions.iter().map(signature).collect();
    // A file is the fields of a model, by their names.
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Brolga model",
        "$ref": "#/$defs/Part.Model/anyOf/0",
        "$defs": definitions,
        "x-functions": functions,
        "x-operators": language::operators(),
        "x-prefixes": language::prefixes(),
    })
}

fn reference(key: &str) -> Value {
    json!({"$ref": format!("#/$defs/{key}")})
}

fn key(kind: Kind, name: &str) -> String {
    format!("{kind:?}.{name}")
}

/// A step: a layer, a structure, or a block of the model's own, which has any other name.
fn step() -> Value {
    let structures = language::structures();
    let mut steps = calls(Kind::Layer);
    steps.extend(structures.iter().map(|s| call(s.name, &format!("Step.{}", s.name), false)));
    let mut known: Vec<&str> = language::layers().iter().map(|layer| layer.name).collect();
    known.extend(language::steps());
    steps.push(json!({"type": "string", "not": {"enum": known}}));
    let named = json!({"type": "object", "additionalProperties": reference("value")});
    steps.push(json!({
        "type": "object",
        "minProperties": 1,
        "maxProperties": 1,
        "propertyNames": {"not": {"enum": known}},
        "additionalProperties": {
            "anyOf": [named, {"type": "array", "items": {"anyOf": [reference("value"), named]}}],
        },
    }));
    json!({"anyOf": steps})
}

/// Calls of all that is of a kind.
fn calls(kind: Kind) -> Vec<Value> {
    kind.callables().iter().map(|callable| call_of(kind, callable)).collect()
}

fn call_of(kind: Kind, callable: &Callable) -> Value {
    let bare = callable.arguments.iter().all(|argument| !argument.required);
    call(callable.name, &key(kind, callable.name), bare)
}

/// A call of what `key` defines; without arguments, if it may be `bare`.
fn call(name: &str, key: &str, bare: bool) -> Value {
    let object = json!({"type": "object", "properties": {name: reference(key)}, "required": [name],
        "additionalProperties": false});
    if bare { json!({"anyOf": [{"const": name}, object]}) } else { object }
}

fn of_callable(callable: &Callable) -> Value {
    let property = |argument: &Argument| {
        (argument.name.to_owned(), with_default(argument_value(argument), argument.default))
    };
    let mut properties: Map<String, Value> = callable.arguments.iter().map(property).collect();
    if callable.kind == Kind::Layer {
        properties.insert("name".into(), json!({"type": "string"}));
    }
    let required = callable.arguments.iter().filter(|argument| argument.required);
    let required: Vec<&str> = required.map(|argument| argument.name).collect();
    let order: Vec<&str> = callable.arguments.iter().map(|argument| argument.name).collect();
    fields(&key(callable.kind, callable.name), properties, &required, &[&order[..]])
}

fn of_structure(key: &str, structure: &Structure) -> Value {
    let property =
        |field: &language::Field| (field.name.to_owned(), with_default(form(&field.holds), field.default));
    let properties = structure.fields.iter().map(property).collect();
    let required = structure.fields.iter().filter(|field| field.required);
    let required: Vec<&str> = required.map(|field| field.name).collect();
    let own: Vec<&str> = structure.fields.iter().map(|field| field.name).collect();
    let orders: Vec<&[&str]> =
        std::iter::once(&own[..]).chain(structure.orders.iter().map(|(_, order)| *order)).collect();
    fields(key, properties, &required, &orders)
}

/// The fields of what `key` defines, by name, or in one of `orders` with named ones at the end.
fn fields(key: &str, properties: Map<String, Value>, required: &[&str], orders: &[&[&str]]) -> Value {
    let place = |name: &str| reference(&format!("{key}/anyOf/0/properties/{name}"));
    let named: Map<String, Value> = properties.keys().map(|name| (name.clone(), place(name))).collect();
    let named = json!({"type": "object", "properties": named, "additionalProperties": false});
    let at = |position: usize| {
        let mut choices: Vec<Value> = orders.iter().map(|order| place(order[position])).collect();
        choices.dedup();
        choices.push(named.clone());
        json!({"anyOf": choices})
    };
    let count = orders[0].len();
    json!({
        "anyOf": [
            {"type": "object", "properties": properties, "required": required, "additionalProperties": false},
            {
                "type": "array",
                "minItems": 1,
                "maxItems": count + 1,
                "prefixItems": (0..count).map(at).collect::<Vec<_>>(),
                "items": named,
            },
        ],
        "x-order": orders[0],
    })
}

/// What an argument or a field may be, and what it is where it is not given.
fn with_default(mut value: Value, default: Option<Constant>) -> Value {
    if let Some(default) = default {
        value["default"] = match default {
            Constant::Number(number) => json!(number),
            Constant::Int(number) => json!(number),
            Constant::Flag(flag) => json!(flag),
            Constant::Word(word) | Constant::Call(word) => json!(word),
        };
    }
    value
}

/// What an argument may be; an expression in a string may stand for any of it.
fn argument_value(argument: &Argument) -> Value {
    let expression = json!({"type": "string"});
    match &argument.takes {
        Takes::Values | Takes::Sizes { .. } | Takes::Paddings { words: [], .. } | Takes::Int => {
            reference("value")
        }
        Takes::Size => json!({"anyOf": [{"type": "integer", "minimum": 1}, expression]}),
        Takes::Within(low, high) => {
            json!({"anyOf": [{"type": "number", "minimum": low, "maximum": high}, expression]})
        }
        Takes::Flag => json!({"anyOf": [{"type": "boolean"}, expression]}),
        Takes::Words(words) | Takes::Paddings { words, .. } => {
            json!({"anyOf": [{"enum": words}, reference("value")]})
        }
        Takes::Calls(names) => {
            let mut choices = vec![reference("value")];
            // `Constant` is of both kinds; the calls are all of one.
            for kind in [Kind::Schedule, Kind::Initializer] {
                let callables = kind.callables();
                if names.iter().all(|name| callables.iter().any(|callable| callable.name == *name)) {
                    choices.extend(callables.iter().map(|callable| call_of(kind, callable)));
                }
            }
            json!({"anyOf": choices})
        }
    }
}

/// What a field of a structure may be.
fn form(holds: &Form) -> Value {
    match holds {
        Form::Value => reference("value"),
        Form::Text => json!({"type": "string"}),
        Form::Word(words) => json!({"enum": words}),
        Form::Flag => json!({"type": "boolean"}),
        Form::Fraction => json!({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}),
        Form::Count(low, high) => json!({"type": "integer", "minimum": low, "maximum": high}),
        Form::Body => reference("body"),
        Form::Step => reference("step"),
        Form::Optimizer => reference("optimizer"),
        Form::Initializer => {
            let calls = language::initializers();
            let calls = calls.iter().map(|callable| call_of(Kind::Initializer, callable));
            json!({"anyOf": std::iter::once(reference("value")).chain(calls).collect::<Vec<_>>()})
        }
        Form::List(items) => json!({"type": "array", "items": form(items)}),
        Form::Map(values) => json!({"type": "object", "additionalProperties": form(values)}),
        Form::OneOf(structures) => {
            let calls = structures().into_iter().map(|structure| {
                let bare = structure.fields.iter().all(|field| !field.required);
                call(structure.name, &format!("Part.{}", structure.name), bare)
            });
            json!({"anyOf": calls.collect::<Vec<_>>()})
        }
        Form::Any(forms) => json!({"anyOf": forms.iter().map(form).collect::<Vec<_>>()}),
    }
}
