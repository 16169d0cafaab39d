//! The language as a document, from the signatures that models are read by.

use std::fmt::Write;

use brolga::frontend::language::{self, Argument, Callable, Kind, Structure, Takes};

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

/// The whole document.
pub fn document() -> String {
    let mut text = String::from(
        "# Reference of the model language\n\nMade by `brolga language`; `frontend/LANGUAGE.md` says what it means. Unnamed \
         arguments are taken in the order given here;\nthose in brackets may be left out.\n",
    );
    // Writing to a string cannot fail.
    let mut line = |line: std::fmt::Arguments<'_>| {
        let _ = writeln!(text, "{line}");
    };
    let entries = language::entries();
    let of_entries = |part: &Structure| entries.iter().any(|entry| entry.name == part.name);
    let parts = language::parts().into_iter().filter(|part| !of_entries(part)).collect();
    let lists = [("The file", parts), ("Entry points", entries.clone()), ("Steps", language::structures())];
    for (title, list) in lists {
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
    let field = |field: &language::Field| match (field.required, field.default) {
        (true, _) => field.name.to_owned(),
        (false, None) => format!("[{}]", field.name),
        (false, Some(default)) => format!("[{}; default {}]", field.name, default.written('"')),
    };
    format!("{}({})", structure.name, structure.fields.iter().map(field).collect::<Vec<_>>().join(", "))
}

/// `Gelu([form: \"erf\" or \"tanh\"; default \"erf\"])`
pub fn form(callable: &Callable, between: &str) -> String {
    let argument = |argument: &Argument| {
        let text = match takes(argument, between) {
            Some(takes) => format!("{}{between}{takes}", argument.name),
            None => argument.name.to_owned(),
        };
        let text = match argument.default {
            Some(default) => format!("{text}; default {}", default.written(quote(between))),
            None => text,
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
    let quote = quote(between);
    match &argument.takes {
        Takes::Values => None,
        Takes::Size => Some("a size".into()),
        Takes::Sizes { axes, low } => {
            let one = if *low == 1 { "a size".into() } else { format!("a whole number from {low} on") };
            Some(if *axes == 1 { one } else { format!("{one} or a list of {axes}") })
        }
        Takes::Int => Some("a whole number".into()),
        Takes::Within(low, high) => Some(interval(*low, *high)),
        Takes::Flag => Some("true or false".into()),
        Takes::Paddings { axes, words } => {
            let mut forms = vec![format!("a whole number from 0 on or a list of {axes}")];
            forms.extend(quoted(words, quote));
            Some(forms.join(" or "))
        }
        Takes::Words(words) => Some(quoted(words, quote).join(" or ")),
        Takes::Calls(names) => Some(match names.len() {
            0..=3 => names.join(" or "),
            _ => format!("{} or others", names[..3].join(", ")),
        }),
    }
}

/// What words stand in: expressions are in double quotes themselves.
fn quote(between: &str) -> char {
    if between == "=" { '\'' } else { '"' }
}

fn quoted(words: &[&str], quote: char) -> Vec<String> {
    words.iter().map(|word| format!("{quote}{word}{quote}")).collect()
}

/// The numbers that are allowed. Ends beyond which f32 has no number need no word; an end that does not belong to the numbers is
/// the nearest number that does.
fn interval(low: f64, high: f64) -> String {
    let round = |end: f64| (end * 1e9).round() / 1e9;
    let from = if round(low) < low { "above" } else { "from" };
    let to = if round(high) > high { "below" } else { "to" };
    let largest = f64::from(f32::MAX);
    match (low <= -largest, high >= largest) {
        (true, true) => "a number".into(),
        (false, true) if from == "from" => format!("a number from {} on", round(low)),
        (false, true) => format!("a number above {}", round(low)),
        (true, false) => format!("a number {to} {}", round(high)),
        (false, false) if (from, to) == ("from", "to") => format!("{} to {}", round(low), round(high)),
        (false, false) => format!("a number {from} {} {to} {}", round(low), round(high)),
    }
}
