//! The JSON schema of models: it accepts every model that the language accepts, those that come along, those of the documents
//! and random ones, and no name of a field that is misspelt.

#![cfg(feature = "cli")]

use std::fs;
use std::path::Path;
use std::process::Command;

use brolga::frontend::language::{self, Tree};
use serde_json::{Map, Value, json};

use crate::fuzz::models::is_right;

/// A tree as the schema wants it.
struct Maker<'a> {
    /// The names of fields so far.
    names: usize,
    /// The one of them that gets a letter more.
    misspelt: Option<usize>,
    /// Calls whose fields have any name: blocks of the model's own.
    own: &'a [String],
}

impl Maker<'_> {
    fn name(&mut self, name: &str, known: bool) -> String {
        if !known {
            return name.to_owned();
        }
        self.names += 1;
        if self.misspelt == Some(self.names - 1) { format!("{name}x") } else { name.to_owned() }
    }

    fn value(&mut self, tree: &Tree) -> Value {
        match tree {
            Tree::Bool(value) => json!(value),
            Tree::Int(value) => json!(value),
            Tree::Float(value) => json!(value),
            Tree::Text(value) => json!(value),
            Tree::List(items) => items.iter().map(|item| self.value(item)).collect(),
            Tree::Map(entries) => {
                let entry = |(key, value): &(Tree, Tree)| {
                    let Tree::Text(key) = key else { panic!("a key that is no text: {key:?}") };
                    (key.clone(), self.value(value))
                };
                Value::Object(entries.iter().map(entry).collect())
            }
            Tree::Call(None, items) => items.iter().map(|(_, item)| self.value(item)).collect(),
            Tree::Call(Some(name), fields) if fields.is_empty() => json!(name),
            Tree::Call(Some(name), fields) => {
                let known = !self.own.contains(name);
                let value = self.fields(fields, known);
                json!({ name.as_str(): value })
            }
        }
    }

    /// Named fields are an object, unnamed ones a list, with the named ones at its end.
    fn fields(&mut self, fields: &[(Option<String>, Tree)], known: bool) -> Value {
        let (mut list, mut named) = (Vec::new(), Map::new());
        for (name, value) in fields {
            match name {
                Some(name) => {
                    let name = self.name(name, known);
                    named.insert(name, self.value(value));
                }
                None => list.push(self.value(value)),
            }
        }
        if list.is_empty() {
            return Value::Object(named);
        }
        if !named.is_empty() {
            list.push(Value::Object(named));
        }
        Value::Array(list)
    }
}

/// A model as the schema wants it, with the name of its `misspelt`-th field wrong; and how many there are.
fn as_json(text: &str, misspelt: Option<usize>) -> (Value, usize) {
    let tree = language::tree("model.ron", text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let Tree::Call(Some(_), fields) = &tree else { panic!("no model: {text}") };
    let mut own = Vec::new();
    for (name, value) in fields {
        if let (Some("blocks"), Tree::Map(entries)) = (name.as_deref(), value) {
            own.extend(entries.iter().filter_map(|(key, _)| match key {
                Tree::Text(key) => Some(key.clone()),
                _ => None,
            }));
        }
    }
    let mut maker = Maker { names: 0, misspelt, own: &own };
    let value = maker.fields(fields, true);
    (value, maker.names)
}

/// Whether a value is as a schema says: the words that ours has, and no other.
fn valid(root: &Value, schema: &Value, value: &Value) -> bool {
    let words = schema.as_object().unwrap();
    words.iter().all(|(word, rule)| holds(root, words, word, rule, value))
}

fn holds(root: &Value, words: &Map<String, Value>, word: &str, rule: &Value, value: &Value) -> bool {
    let number = |compare: fn(f64, f64) -> bool| {
        value.as_f64().is_none_or(|value| compare(value, rule.as_f64().unwrap()))
    };
    let length = |length: Option<usize>, compare: fn(u64, u64) -> bool| {
        length.is_none_or(|length| compare(length as u64, rule.as_u64().unwrap()))
    };
    let (list, object) = (value.as_array(), value.as_object());
    match word {
        "$ref" => {
            let target = root.pointer(rule.as_str().unwrap().strip_prefix('#').unwrap());
            valid(root, target.unwrap_or_else(|| panic!("{rule} refers to nothing")), value)
        }
        "anyOf" => rule.as_array().unwrap().iter().any(|choice| valid(root, choice, value)),
        "not" => !valid(root, rule, value),
        "const" => value == rule,
        "enum" => rule.as_array().unwrap().contains(value),
        "type" => match rule {
            Value::Array(types) => types.iter().any(|name| is(name, value)),
            name => is(name, value),
        },
        "minimum" => number(|value, end| value >= end),
        "maximum" => number(|value, end| value <= end),
        "exclusiveMinimum" => number(|value, end| value > end),
        "exclusiveMaximum" => number(|value, end| value < end),
        "minItems" => length(list.map(Vec::len), |length, end| length >= end),
        "maxItems" => length(list.map(Vec::len), |length, end| length <= end),
        "minProperties" => length(object.map(Map::len), |length, end| length >= end),
        "maxProperties" => length(object.map(Map::len), |length, end| length <= end),
        "required" => object.is_none_or(|object| {
            rule.as_array().unwrap().iter().all(|name| object.contains_key(name.as_str().unwrap()))
        }),
        "propertyNames" => {
            object.is_none_or(|object| object.keys().all(|name| valid(root, rule, &json!(name))))
        }
        "properties" => object.is_none_or(|object| {
            object.iter().all(|(name, value)| rule.get(name).is_none_or(|rule| valid(root, rule, value)))
        }),
        "additionalProperties" => object.is_none_or(|object| {
            let known = words.get("properties");
            let others =
                object.iter().filter(|(name, _)| known.is_none_or(|known| known.get(name).is_none()));
            others.into_iter().all(|(_, value)| *rule != json!(false) && valid(root, rule, value))
        }),
        "prefixItems" => list.is_none_or(|list| {
            list.iter().zip(rule.as_array().unwrap()).all(|(item, rule)| valid(root, rule, item))
        }),
        "items" => list.is_none_or(|list| {
            let first = words.get("prefixItems").map_or(0, |prefix| prefix.as_array().unwrap().len());
            list.iter().skip(first).all(|item| valid(root, rule, item))
        }),
        // What is taken where nothing is given may be given.
        "default" => {
            let mut others = words.clone();
            others.remove("default");
            assert!(valid(root, &Value::Object(others), rule), "{rule} is the default of {words:?}");
            true
        }
        "$schema" | "$defs" | "title" | "description" => true,
        own if own.starts_with("x-") => true,
        other => panic!("the checker does not know `{other}`"),
    }
}

fn is(name: &Value, value: &Value) -> bool {
    match name.as_str().unwrap() {
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("the checker does not know the type `{other}`"),
    }
}

fn schema() -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_brolga")).args(["language", "--json"]).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The models that come along, and the models of the documents but those that show a mistake.
fn models() -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = brolga::models::catalogue::FILES
        .iter()
        .map(|file| (file.name.to_owned(), file.text.to_owned()))
        .collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for document in ["README.md", "ARCHITECTURE.md", "frontend/LANGUAGE.md"] {
        let text = fs::read_to_string(root.join(document)).unwrap();
        for block in text.split("```").skip(1).step_by(2) {
            if let Some(start) = block.find("Model(\n") {
                // The model ends where its bracket stands alone.
                let end = block[start..].find("\n)").map_or(block.len(), |end| start + end + 2);
                if is_right(&block[start..end]) {
                    found.push((document.to_owned(), block[start..end].to_owned()));
                }
            }
        }
    }
    for entry in fs::read_dir(root.join("fuzz/seeds/model")).unwrap() {
        let path = entry.unwrap().path();
        found.push((path.display().to_string(), fs::read_to_string(path).unwrap()));
    }
    found
}

/// Forms that none of the models has.
const MORE: &str = "Model(
    parameters: { \"n\": 3, \"kind\": \"relu\", \"wide\": false, \"list\": [1, 2] },
    variants: { \"small\": { \"n\": 2 } },
    dims: { \"batch\": 8 },
    blocks: { \"Own\": Block(parameters: { \"width\": Required, \"k\": 3 }, body: [Linear(\"width\", bias: false)]) },
    inputs: { \"x\": \"f32[batch, 3, 8, 8]\", \"label\": \"i32[batch]\" },
    body: [
        Sequential([Conv2d(4, (3, 3), padding: \"same\", init: HeNormal(fan: \"out\")), Relu], name: \"s\"),
        Sequential(\"t\", [Identity]), Repeat(\"n\", [Activation(\"kind\")]), Repeat(2, \"j\", [Relu()]),
        For(each: \"w\", within: \"list\", body: [If(\"wide\", [Tanh], [Gelu(form: \"tanh\")])]),
        Add([[], Relu, \"it * 2\"]), Concat(axis: 1, branches: [[Relu], [Tanh]]), Aside([As(\"before\")]),
        Flatten, Own(width: 7), Own(5), Own(name: \"last\", width: 4, k: 1),
        With(of: \"more.*\", by: [Tanh], body: [Linear(name: \"more\", features: 3)]), Let(\"twice\", \"it * 2\"), Linear(5, init: Zeros),
    ],
    entries: {
        \"infer\": Infer({ \"y\": \"it\" }),
        \"train\": Train(
            loss: \"cross_entropy(it, label)\", optimizer: Sgd(Warmup(5, Cosine(initial: 0.1, steps: 9)), momentum: 0.9),
            clip: ClipNorm(1), groups: [Group(of: \"fc*\", lr: 0.1, frozen: true), Group(\"conv*\")],
        ),
        \"steps\": Entry(mode: \"infer\", steps: [
            Minimize(loss: \"mean(it)\", of: [\"a\", \"b\"], optimizer: Adam, clip: ClipValue(max: 2)), Update(state: \"a\", value: 0),
        ]),
    },
    data: Data(
        set: \"pets\", prepare: { \"x\": [Standardize, Resize(8)] }, augment: [RandomFlip(0.5)], classes: [\"cat\", \"dog\"],
        split: Folds(5, stratified: true), target: \"price\", columns: [\"rooms\"],
    ),
)";

#[test]
fn what_the_language_accepts_is_valid() {
    let schema = schema();
    let mut models = models();
    assert!(models.len() > 16, "{}", models.len());
    models.push(("more".into(), MORE.into()));
    models.push(("short".into(), MORE.replace("Folds(5, ", "Holdout(0.2, ")));
    let mut random = 0;
    for seed in 0..200 {
        let text = crate::fuzz::models::random(seed);
        // Some are wrong on purpose.
        if is_right(&text) {
            models.push((format!("random model {seed}"), text));
            random += 1;
        }
    }
    assert!(random > 100, "{random} of 200 random models are right");
    for (name, text) in models {
        let (json, _) = as_json(&text, None);
        assert!(valid(&schema, &schema, &json), "{name}:\n{json:#}");
    }
}

#[test]
fn names_that_are_misspelt_are_not_valid() {
    let schema = schema();
    let mut count = 0;
    for (name, text) in [("more".to_owned(), MORE.to_owned())].into_iter().chain(models()) {
        let names = as_json(&text, None).1;
        // Of large models some.
        for number in (0..names).step_by(1 + names / 100) {
            let (json, _) = as_json(&text, Some(number));
            assert!(!valid(&schema, &schema, &json), "{name}, field {number} is misspelt:\n{json:#}");
            count += 1;
        }
    }
    assert!(count > 200, "{count} names");
}

/// What else is wrong: a layer with an argument of another kind, too many arguments, a missing one, an entry of no kind.
#[test]
fn values_of_other_kinds_are_not_valid() {
    let schema = schema();
    for (right, wrong) in [
        ("Linear(5, init: Zeros)", "Linear(5, init: Sgd(0.1))"),
        ("Linear(5, init: Zeros)", "Linear(5, bias: 3)"),
        ("Linear(5, init: Zeros)", "Linear(0)"),
        ("Linear(5, init: Zeros)", "Linear"),
        ("Linear(5, init: Zeros)", "Linear(1, true, Zeros, Zeros, 5)"),
        ("RandomFlip(0.5)", "RandomFlip(1.5)"),
        ("Infer({", "Inference({"),
        ("Flatten, ", "Flatten(1, 2, 3), "),
        ("Flatten, ", "5, "),
        ("Folds(5, stratified: true)", "Folds(1)"),
        ("Folds(5, stratified: true)", "Holdout(fraction: 1.5)"),
        ("\"f32[batch, 3, 8, 8]\"", "32"),
        ("optimizer: Adam", "optimizer: Zeros"),
        ("mode: \"infer\"", "mode: \"both\""),
        ("split: ", "set: "),
    ] {
        assert!(MORE.contains(right));
        let (json, _) = as_json(&MORE.replace(right, wrong), None);
        assert!(!valid(&schema, &schema, &json), "{wrong}:\n{json:#}");
    }
    for field in ["body", "entries"] {
        let mut json = as_json(MORE, None).0;
        json.as_object_mut().unwrap().remove(field).unwrap();
        assert!(!valid(&schema, &schema, &json), "without {field}");
    }
}
