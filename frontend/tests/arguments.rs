//! An argument that is not used is a mistake, always. The rows of the tables (`tables.rs`) are the language's own list: what is
//! new in the language, or takes a new argument, fails here until it has a row.
//!
//! Each row gives a call and a value for each of its optional arguments, which is not the default. Then of any two of
//! them each must change something together with the other, in the graphs of training, inference or the initial
//! state, or be reported.

mod tables;

use std::collections::HashSet;

use brolga_frontend::language::{self, Callable, Kind, Takes, callables};
use brolga_frontend::{Model, Settings, no_imports};

use self::tables::*;
use crate::common::{formulas, mistakes};

/// The graphs of a model as text, or its mistakes.
fn graphs(text: &str) -> Result<String, String> {
    let model = Model::parse("test.ron", text, &no_imports).map_err(|mistakes| mistakes.to_string())?;
    let instance = model.instantiate(&Settings::default()).map_err(|mistakes| mistakes.to_string())?;
    let graph = |name: &&str| instance.graph(name).map(|graph| graph.to_string()).unwrap_or_default();
    Ok(instance.entries().iter().map(graph).collect::<Vec<_>>().join("\n"))
}

/// What has no effect only because of the value of another: without padding none is counted, and the ceiling matters
/// only where the last window would be cut.
fn needs(argument: &str, others: &[&str]) -> bool {
    match argument {
        "count_include_pad" => !others.contains(&"padding"),
        "ceil_mode" => others.contains(&"padding") && !others.contains(&"stride"),
        _ => false,
    }
}

/// Of any two optional arguments each changes something or is reported; alone, each changes something or is reported.
fn pairs(what: &str, optional: &[(&str, &str)], text: impl Fn(&[(&str, &str)]) -> String) {
    let plain = graphs(&text(&[])).unwrap_or_else(|mistakes| panic!("{what}\n{mistakes}"));
    let mut alone = Vec::new();
    for argument in optional {
        let changed = graphs(&text(&[*argument]));
        let good = changed.as_ref().map_or(true, |graphs| *graphs != plain);
        assert!(good || needs(argument.0, &[]), "{what}: `{}` changes nothing", argument.0);
        alone.push(changed);
    }
    for (i, first) in optional.iter().enumerate() {
        for (j, second) in optional.iter().enumerate().skip(i + 1) {
            let Ok(both) = graphs(&text(&[*first, *second])) else { continue };
            for (other, added) in [(i, second), (j, first)] {
                let Ok(before) = &alone[other] else { continue };
                let excused = needs(added.0, &[optional[other].0]);
                assert!(
                    both != *before || excused,
                    "{what}: `{}` changes nothing beside `{}`",
                    added.0,
                    optional[other].0
                );
            }
        }
    }
}

fn function_name(pattern: &str) -> &str {
    let until = pattern.find("{}").expect("a place for arguments");
    let known: HashSet<&str> = language::functions().iter().map(|function| function.name).collect();
    let mut depth = 0i32;
    for (at, c) in pattern[..until].char_indices().rev() {
        depth += i32::from(c == ')') - i32::from(c == '(');
        if depth < 0 {
            let start =
                pattern[..at].rfind(|c: char| !(c.is_alphanumeric() || c == '_')).map_or(0, |i| i + 1);
            let name = &pattern[start..at];
            assert!(known.contains(name), "{pattern}: there is no function {name}");
            return name;
        }
    }
    panic!("{pattern}: no call around the place for arguments");
}

/// The tables have a row for all that can be called, with all optional arguments, and nothing else.
#[test]
fn tables_are_complete() {
    let mut rows: Vec<(Kind, &str, Vec<&str>)> = Vec::new();
    for (pattern, optional) in FUNCTIONS {
        rows.push((Kind::Function, function_name(pattern), optional.iter().map(|(name, _)| *name).collect()));
    }
    for (kind, table, _) in TABLES {
        for row in table {
            // An optional argument may be among those that are always given.
            let given = row.1.split(", ").filter_map(|field| field.split_once(": ")).map(|(name, _)| name);
            let optional: Vec<&str> = given
                .filter(|name| ["lr", "state"].contains(name))
                .chain(row.2.iter().map(|(name, _)| *name))
                .collect();
            rows.push((kind, row.0, optional));
        }
    }
    for Callable { kind, name, arguments } in callables() {
        let optional: Vec<&str> = arguments.iter().filter(|p| !p.required).map(|p| p.name).collect();
        let found = rows.iter().any(|row| row.0 == kind && row.1 == name && row.2 == optional);
        assert!(found, "{kind:?} {name} needs a row with {optional:?}");
    }
    for (kind, name, _) in rows {
        assert!(callables().iter().any(|c| c.kind == kind && c.name == name), "there is no {kind:?} {name}");
    }
}

/// One argument too many, with a name and without one.
#[test]
fn superfluous_arguments() {
    let all = callables();
    let count = |kind: Kind, name: &str| {
        all.iter().find(|c| c.kind == kind && c.name == name).map_or(0, |c| c.arguments.len())
    };
    for (pattern, _) in FUNCTIONS {
        let name = function_name(pattern);
        let found = mistakes(&expression(&pattern.replace("{}", ", bogus=1")));
        assert!(found.contains(&format!("`{name}` has no argument `bogus`")), "{pattern}: {found}");
        if pattern.contains('=') {
            continue; // Nothing unnamed follows what has a name.
        }
        let many = ", 1".repeat(count(Kind::Function, name));
        let found = mistakes(&expression(&pattern.replace("{}", &many)));
        assert!(found.contains(&format!("`{name}` takes at most")), "{pattern}: {found}");
    }
    for (kind, table, wrap) in TABLES {
        for row in table {
            let found = mistakes(&wrap(row, "bogus: 1"));
            let expected =
                [format!("`{}` has no argument `bogus`", row.0), format!("`{}` takes no arguments", row.0)];
            assert!(expected.iter().any(|text| found.contains(text)), "{}: {found}", row.0);
            let many = vec!["1"; count(kind, row.0) + 1].join(", ");
            let bare: Row = (row.0, "", NONE, row.3);
            let found = mistakes(&wrap(&bare, &many));
            let expected = [format!("`{}` takes at most", row.0), format!("`{}` takes no arguments", row.0)];
            assert!(expected.iter().any(|text| found.contains(text)), "{}: {found}", row.0);
        }
    }
}

#[test]
fn every_argument_matters() {
    for (pattern, optional) in FUNCTIONS {
        pairs(pattern, optional, |arguments: &[(&str, &str)]| {
            let more: String = arguments.iter().map(|(name, value)| format!(", {name}={value}")).collect();
            expression(&pattern.replace("{}", &more))
        });
    }
    for (kind, table, wrap) in TABLES {
        for row in table {
            pairs(&format!("{kind:?} {}", row.0), row.2, |arguments: &[(&str, &str)]| {
                let more: Vec<String> =
                    arguments.iter().map(|(name, value)| format!("{name}: {value}")).collect();
                wrap(row, &more.join(", "))
            });
        }
    }
}

/// Optional arguments whose absence is no value that could be written: it depends on other things, or there is none.
const NO_DEFAULT: [&str; 30] = [
    "initial",
    "lengths",
    "state",
    "axes",
    "axis",
    "dims",
    "divisor_override",
    "dtype",
    "fill",
    "ignore_index",
    "key",
    "key_mask",
    "lr",
    "mask",
    "mode",
    "padding_idx",
    "per",
    "pos_weight",
    "scale",
    "start",
    "step",
    "stop",
    "stride",
    "u",
    "v",
    "value",
    "w",
    "weights",
    "y",
    "z",
];

/// A default that the language tells of is the one that is used: written out, it changes nothing.
#[test]
fn defaults_are_those_that_are_used() {
    let mut seen = HashSet::new();
    for (pattern, optional) in FUNCTIONS {
        written_out(Kind::Function, function_name(pattern), optional, &mut seen, |arguments| {
            let more: String = arguments.iter().map(|(name, value)| format!(", {name}={value}")).collect();
            expression(&pattern.replace("{}", &more))
        });
    }
    for (kind, table, wrap) in TABLES {
        for row in table {
            written_out(kind, row.0, row.2, &mut seen, |arguments| {
                let more: Vec<String> =
                    arguments.iter().map(|(name, value)| format!("{name}: {value}")).collect();
                wrap(row, &more.join(", "))
            });
        }
    }
    for Callable { kind, name, arguments } in callables() {
        for argument in arguments.iter().filter(|argument| !argument.required) {
            match argument.default {
                Some(_) => {
                    let known = seen.contains(&(kind, name, argument.name));
                    assert!(known, "{kind:?} {name}: no row shows the default of `{}`", argument.name);
                }
                None => assert!(
                    NO_DEFAULT.contains(&argument.name),
                    "{kind:?} {name}: `{}` has no default: say it in its signature",
                    argument.name
                ),
            }
        }
    }
}

/// Compares a call without arguments with one that has a default written out, alone; where it has no effect alone, beside each of
/// the other optional ones. What was compared goes into `seen`.
fn written_out(
    kind: Kind,
    name: &str,
    optional: &[(&str, &str)],
    seen: &mut HashSet<(Kind, &'static str, &'static str)>,
    text: impl Fn(&[(&str, &str)]) -> String,
) {
    let callable = kind.callables().into_iter().find(|callable| callable.name == name).expect("a callable");
    let quote = if kind == Kind::Function { '\'' } else { '"' };
    for argument in &callable.arguments {
        let Some(default) = argument.default.map(|default| default.written(quote)) else { continue };
        let alone: &[(&str, &str)] = &[];
        for base in std::iter::once(alone).chain(optional.chunks(1)) {
            let key = (kind, callable.name, argument.name);
            if !base.is_empty() && seen.contains(&key) || base.iter().any(|(name, _)| *name == argument.name)
            {
                continue;
            }
            let with = [base, &[(argument.name, default.as_str())]].concat();
            if let (Ok(plain), Ok(with)) = (graphs(&text(base)), graphs(&text(&with))) {
                assert!(with == plain, "{}: `{}` is not {default} by default", text(base), argument.name);
                seen.insert(key);
            }
        }
    }
}

/// The same of fields of steps and entries.
#[test]
fn defaults_of_fields_are_those_that_are_used() {
    let train = |entry: &str| {
        format!(
            "Model(
                inputs: {{ \"x\": \"f32[2, 5]\" }},
                body: [Linear(name: \"a\", features: 4), Linear(name: \"b\", features: 3)],
                entries: {{ \"train\": {entry} }},
            )"
        )
    };
    let group = "Train(loss: \"mean(it)\", optimizer: Sgd(lr: 0.1), groups: [Group(of: \"a.*\", weight_decay: 0.1{})])";
    let texts = [
        ("Concat", "axis", layer("Concat(branches: [[Relu], [Tanh]]{})", "f32[2, 5]")),
        ("Scan", "axis", layer("Scan(body: [Relu]{})", "f32[2, 5]")),
        ("Scan", "reverse", layer("Scan(body: [Relu]{})", "f32[2, 5]")),
        ("Repeat", "index", layer("Repeat(times: 2, body: [Linear(features: \"i + 2\")]{})", "f32[2, 5]")),
        ("Entry", "mode", train("Entry(steps: [], outputs: { \"y\": \"it\" }{})")),
        ("Group", "lr", train(group)),
        ("Group", "frozen", train(group)),
    ];
    let structures = [language::parts(), language::entries(), language::structures()].concat();
    for structure in structures {
        // What is held out from training is no part of a graph.
        for field in structure.fields.iter().filter(|field| field.name != "stratified") {
            let Some(default) = field.default.map(|default| default.written('"')) else { continue };
            let text = texts.iter().find(|(of, name, _)| (*of, *name) == (structure.name, field.name));
            let (.., text) =
                text.unwrap_or_else(|| panic!("{} needs a text for `{}`", structure.name, field.name));
            let [plain, with] = [String::new(), format!(", {}: {default}", field.name)].map(|more| {
                graphs(&text.replace("{}", &more)).unwrap_or_else(|mistakes| panic!("{text}\n{mistakes}"))
            });
            assert!(plain == with, "{}: `{}` is not {default} by default", structure.name, field.name);
        }
    }
}

/// What is not used is reported at its place, and says why.
#[test]
fn unused_arguments_are_reported() {
    for (text, argument) in [
        (expression("max(x, 2, axis=1)"), "axis"),
        (expression("min(x, t, keepdims=true)"), "keepdims"),
        (expression("x * sum([1, 2], axis=0)"), "axis"),
        (expression("take(x, label, fill=3)"), "fill"),
        (expression("take(x, label, mode='wrap', fill=3)"), "fill"),
        (layer("Conv2d(features: 4, kernel: 3, bias: false, bias_init: Ones)", IMAGE), "bias_init"),
        (layer("BatchNorm(affine: false, zero_init: true)", IMAGE), "zero_init"),
        (layer("Pool2d(kind: \"max\", kernel: 2, count_include_pad: false)", IMAGE), "count_include_pad"),
        (optimizer("Sgd(lr: 0.1, nesterov: true)"), "nesterov"),
        (optimizer("Sgd(lr: 0.1, dampening: 0.1)"), "dampening"),
    ] {
        let found = mistakes(&text);
        assert!(found.contains(&format!("`{argument}` has no effect here")), "{text}\n{found}");
        let of_momentum = ["nesterov", "dampening"].contains(&argument);
        assert_eq!(found.contains("it needs `momentum`"), of_momentum, "{text}\n{found}");
    }
    // Nothing is said of what is not there.
    assert_eq!(mistakes(&expression("max(x, 2, axis=none)")), "");
}

/// Groups and settings of a gradient step that decide nothing.
#[test]
fn unused_settings_of_training() {
    let train = |more: &str| {
        format!(
            "Model(
                inputs: {{ \"x\": \"f32[2, 5]\" }},
                body: [Linear(name: \"a\", features: 4), Linear(name: \"b\", features: 3)],
                entries: {{ \"train\": Entry(steps: [Minimize(loss: \"mean(it)\", optimizer: Sgd(lr: 0.1), {more})]) }},
            )"
        )
    };
    for (more, expected) in [
        ("groups: [Group(of: \"a.*\", lr: 0.5), Group(of: \"a.bias\", lr: 0.1)]", "this group has no effect"),
        ("of: \"b.*\", groups: [Group(of: \"a.*\", lr: 0.5)]", "this group has no effect"),
        ("groups: [Group(of: \"a.*\", lr: 0.5, frozen: true)]", "`lr` has no effect here"),
        (
            "groups: [Group(of: \"a.*\", weight_decay: 0.5, frozen: true)]",
            "`weight_decay` has no effect here",
        ),
    ] {
        let found = mistakes(&train(more));
        assert!(found.contains(expected), "{more}\n{found}");
    }
    assert_eq!(mistakes(&train("groups: [Group(of: \"a.bias\", lr: 0.5), Group(of: \"a.*\", lr: 0.1)]")), "");
}

/// Each word of `Activation` is the layer of that name, and only `identity` is the identity.
#[test]
fn activations_by_word() {
    let all = language::layers();
    let activation = all.iter().find(|c| c.name == "Activation").expect("the layer");
    let words = activation.arguments[0].words();
    assert_eq!(words, language::activations());
    assert!(words.len() >= 18);
    let nothing = graphs(&layer("Identity", IMAGE));
    for word in words {
        let named = graphs(&layer(&format!("Activation(\"{word}\")"), IMAGE));
        let same = |c: &&Callable| c.name.to_lowercase() == word.replace('_', "");
        let own = all.iter().find(same).unwrap_or_else(|| panic!("there is no layer `{word}`"));
        assert_eq!(named, graphs(&layer(own.name, IMAGE)), "{word}");
        assert_eq!(named == nothing, *word == "identity", "{word}");
    }
}

/// Padding is what the list of the language says: a number, one for each axis, or two, and a word where there are some.
#[test]
fn padding_is_what_its_rule_says() {
    let mut rows = 0;
    for layer in language::layers() {
        let Some(argument) = layer.argument("padding") else { continue };
        let Takes::Paddings { axes, words } = argument.takes else { continue };
        rows += 1;
        assert_eq!(words.is_empty(), !layer.name.starts_with("Conv"), "{}", layer.name);
        let given = |name: &str| match name {
            "kind" => "kind: \"max\"".to_owned(),
            "kernel" => "kernel: 3".to_owned(),
            other => format!("{other}: 1"),
        };
        let required = layer.arguments.iter().filter(|a| a.required).map(|a| given(a.name));
        let required: Vec<String> = required.collect();
        let said = |padding: &str| {
            let dims = ", 8".repeat(axes);
            let step = format!("{}({}, padding: {padding})", layer.name, required.join(", "));
            mistakes(&formulas(&format!("\"x\": \"f32[2, 4{dims}]\""), &step, &["it"]))
        };
        let each = |one: &str, axes: usize| format!("[{}]", vec![one; axes].join(", "));
        let mut right = vec!["1".to_owned(), each("1", axes), each("[0, 1]", axes)];
        right.extend(words.iter().map(|word| format!("\"{word}\"")));
        for padding in right {
            assert_eq!(said(&padding), "", "{} with {padding}", layer.name);
        }
        for padding in
            ["-1".to_owned(), each("1", axes + 1), each("[0, 1]", axes + 1), "\"'some'\"".to_owned()]
        {
            assert!(said(&padding).contains("`padding` must be"), "{} with {padding}", layer.name);
        }
    }
    assert_eq!(rows, 10);
}

/// No two schedules, and no two initialisers, are the same.
#[test]
fn names_mean_different_things() {
    for (kind, table, wrap) in TABLES {
        if kind == Kind::Schedule || kind == Kind::Initializer {
            let texts: HashSet<String> = table
                .iter()
                .map(|row| graphs(&wrap(row, "")).unwrap_or_else(|m| panic!("{}: {m}", row.0)))
                .collect();
            assert_eq!(texts.len(), table.len(), "{kind:?}");
        }
    }
}

/// Values that are lists or stand for none, at a place for any argument: none, no element, one, several, too many, lists of lists.
const LISTS: [&str; 9] = [
    "none",
    "[]",
    "[1]",
    "[2, 1]",
    "[1, 1, 2]",
    "[1, 1, 1, 1, 1, 1, 1, 1, 1, 1]",
    "[none]",
    "[[]]",
    "[[1, 1], [], [none, 2]]",
];

/// The fields of a call with one of them left out.
fn without(fields: &str, left_out: &str) -> String {
    let mut depth = 0;
    let parts = fields.split(|c: char| {
        depth += i32::from(matches!(c, '[' | '(')) - i32::from(matches!(c, ']' | ')'));
        c == ',' && depth == 0
    });
    let kept = parts.map(str::trim).filter(|part| !part.starts_with(&format!("{left_out}:")));
    kept.filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
}

/// A list of any length, and none, in the place of any argument of anything that can be called: a model or a mistake. None in
/// the place of an argument that is required is a mistake that names it.
#[test]
fn lists_and_none_everywhere() {
    let all = callables();
    let takes = |kind: Kind, name: &str| {
        &all.iter().find(|c| c.kind == kind && c.name == name).expect("a row's").arguments
    };
    let says = |text: String, name: &str, argument: &str, required: bool, list: &str| {
        let found = std::panic::catch_unwind(|| mistakes(&text)).unwrap_or_else(|_| panic!("{text}"));
        if required && list == "none" {
            assert!(found.contains(&format!("`{name}` needs `{argument}`")), "{text}\n{found}");
        }
    };
    for (kind, table, wrap) in TABLES {
        for row in table {
            for argument in takes(kind, row.0) {
                let fields = without(row.1, argument.name);
                for list in LISTS {
                    let more = match list {
                        "none" => format!("{}: None", argument.name),
                        list => format!("{}: \"{list}\"", argument.name),
                    };
                    let fields = [fields.as_str(), &more].into_iter().filter(|part| !part.is_empty());
                    let text = wrap(&(row.0, "", NONE, row.3), &fields.collect::<Vec<_>>().join(", "));
                    says(text, row.0, argument.name, argument.required, list);
                }
            }
        }
    }
    for callable in language::functions() {
        for (at, argument) in callable.arguments.iter().enumerate() {
            for list in LISTS {
                let given =
                    callable.arguments.iter().enumerate().filter(|(other, a)| *other == at || a.required);
                let given =
                    given.map(|(other, a)| format!("{}={}", a.name, if other == at { list } else { "x" }));
                let text =
                    expression(&format!("{}({})", callable.name, given.collect::<Vec<_>>().join(", ")));
                says(text, callable.name, argument.name, argument.required, list);
            }
        }
    }
}
