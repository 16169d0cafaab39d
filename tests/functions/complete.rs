//! Whether the rows go over every argument of every function and layer: each is given, at a value that makes another graph
//! than its default, and each word that it may be.

use std::collections::HashMap;

use brolga::frontend::language::{self, Callable};

use super::{Row, instance, rows};

/// Arguments that decide what parameters are at first: rows give these.
const INITIAL: [&str; 3] = ["init", "bias_init", "zero_init"];

/// A call in a text: where it stands, and its arguments, by name where they have one.
struct Call<'t> {
    name: &'t str,
    start: usize,
    end: usize,
    given: Vec<(Option<&'t str>, &'t str)>,
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// All calls in a model's layers, whose names of arguments are followed by `:`, or in an expression, by `=`.
fn calls(text: &str, between: char) -> Vec<Call<'_>> {
    let mut found = Vec::new();
    for (open, _) in text.match_indices('(') {
        let start = text[..open].rfind(|c| !is_name(c)).map_or(0, |at| at + 1);
        let (name, mut depth, mut quoted, mut end, mut from) =
            (&text[start..open], 0, false, text.len(), open + 1);
        let mut pieces = Vec::new();
        for (at, c) in text[open..].char_indices().map(|(at, c)| (at + open, c)) {
            match c {
                '"' | '\'' => quoted = !quoted,
                '(' | '[' if !quoted => depth += 1,
                ')' | ']' if !quoted => depth -= 1,
                ',' if !quoted && depth == 1 => {
                    pieces.push(&text[from..at]);
                    from = at + 1;
                }
                _ => {}
            }
            if depth == 0 {
                pieces.push(&text[from..at]);
                end = at + 1;
                break;
            }
        }
        let given = pieces.iter().map(|piece| piece.trim()).filter(|piece| !piece.is_empty()).map(|piece| {
            let length = piece.find(|c| !is_name(c)).unwrap_or(piece.len());
            let rest = piece[length..].trim_start();
            let named = length > 0 && rest.starts_with(between) && !rest[1..].starts_with(between);
            if named { (Some(&piece[..length]), rest[1..].trim()) } else { (None, piece) }
        });
        found.push(Call { name, start, end, given: given.collect() });
    }
    found
}

/// The graphs of a row, or why there are none.
fn graphs(row: &Row) -> String {
    match instance(&row.model()) {
        Ok(instance) => {
            ["infer", "train"].map(|entry| instance.graph(entry).expect("an entry").to_string()).concat()
        }
        Err(diagnostics) => diagnostics.to_string(),
    }
}

/// Which arguments of what is called have a row, with the values that are given.
fn covered(known: &HashMap<&str, Callable>, of_layers: bool) -> Vec<(String, &'static str, String)> {
    let mut covered = Vec::new();
    // Those in f64 are the same again.
    for row in rows().into_iter().filter(|row| row.kind != "f64") {
        let whole = graphs(&row);
        let (text, between) = if of_layers { (row.body.clone(), ':') } else { (row.output.clone(), '=') };
        for call in calls(&text, between) {
            let Some(callable) = known.get(call.name) else { continue };
            let names: Vec<&'static str> = (0..)
                .zip(&call.given)
                .filter_map(|(position, (name, _))| match name {
                    Some(name) => callable.arguments.iter().find(|a| a.name == *name).map(|a| a.name),
                    None => callable.arguments.get(position).map(|a| a.name),
                })
                .collect();
            // `name` belongs to every layer, and is no argument of its own.
            let given = call.given.iter().filter(|(name, _)| !(of_layers && *name == Some("name")));
            for (&name, (_, value)) in names.iter().zip(given) {
                let argument = callable.arguments.iter().find(|a| a.name == name).expect("found above");
                let others =
                    call.given.iter().enumerate().filter(|(_, (_, other))| !std::ptr::eq(*other, *value));
                let others = others.map(|(position, (name, value))| match name {
                    Some(name) => format!("{name}{between} {value}"),
                    None => format!("{}{between} {value}", callable.arguments[position].name),
                });
                let others = others.collect::<Vec<_>>().join(", ");
                let changed = format!("{}{}({others}){}", &text[..call.start], call.name, &text[call.end..]);
                let mut without = Row { body: row.body.clone(), output: row.output.clone(), ..clone(&row) };
                *(if of_layers { &mut without.body } else { &mut without.output }) = changed;
                if argument.required || graphs(&without) != whole {
                    covered.push((call.name.to_owned(), name, value.trim_matches(['"', '\'']).to_owned()));
                }
            }
        }
    }
    covered
}

fn clone(row: &Row) -> Row {
    let copy = |list: &[super::Named]| {
        let one = |n: &super::Named| super::Named {
            name: n.name.clone(),
            dtype: n.dtype.clone(),
            dims: n.dims.clone(),
        };
        list.iter().map(one).collect()
    };
    Row {
        kind: row.kind.clone(),
        names: row.names.clone(),
        inputs: copy(&row.inputs),
        states: copy(&row.states),
        body: row.body.clone(),
        output: row.output.clone(),
        results: Vec::new(),
        ..*row
    }
}

#[test]
fn every_argument_has_a_row() {
    let mut missing = Vec::new();
    for (of_layers, callables) in [(true, language::layers()), (false, language::functions())] {
        let known: HashMap<&str, Callable> = callables.into_iter().map(|c| (c.name, c)).collect();
        let covered = covered(&known, of_layers);
        let mut names: Vec<&&str> = known.keys().collect();
        names.sort_unstable();
        // These are of a data set, derive, or draw: see `metrics.rs`, `derivatives.rs`, and `chance.rs` of the frontend.
        names.retain(|name| !["total", "r2", "grad", "jvp"].contains(name) && !language::draws(name));
        for name in names {
            for argument in known[*name].arguments.iter().filter(|a| !INITIAL.contains(&a.name)) {
                let of = |(call, a, _): &&(String, &str, String)| call == name && *a == argument.name;
                let values: Vec<&str> =
                    covered.iter().filter(of).map(|(_, _, value)| value.as_str()).collect();
                if values.is_empty() {
                    missing.push(format!(
                        "argument `{}` of `{name}` has no row with another value than its default: add one in \
                         tests/functions/rows",
                        argument.name
                    ));
                }
                // All words but one, which may be the default.
                let left: Vec<&&str> =
                    argument.words().iter().filter(|word| !values.contains(*word)).collect();
                if left.len() > usize::from(!argument.required) && *name != "Activation" {
                    missing.push(format!(
                        "argument `{}` of `{name}` has no row for {left:?}: add one in tests/functions/rows",
                        argument.name
                    ));
                }
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}
