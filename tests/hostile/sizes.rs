//! Every integer that a model can hold, set in turn to 0, 1, -1, the ends of 64 bits, and powers of two at which products
//! overflow.

use brolga::frontend::language::{self, Takes};
use brolga::ir::random::splitmix64;

use super::Cases;
use crate::fuzz::models::{Given, call, function_call, model, with_function, with_layer};
use crate::fuzz::mutate::{HOSTILE, exchanged, integers};
use crate::fuzz::targets::{Refused, check};

/// Attempts at a model with a layer that is right.
const ATTEMPTS: u64 = 1500;

/// One case in so many is tried, drawn by its number, so that it is not the same values everywhere; all of them where
/// `BROLGA_CASES` is set.
const THINNED: u64 = 3;

/// A table or a diagnostic.
fn answered(cases: &mut Cases, name: &str, text: &str) {
    cases.asked += 1;
    let drawn = splitmix64(&mut (cases.asked as u64)).is_multiple_of(THINNED);
    if !drawn && super::cases(0) == 0 {
        return;
    }
    cases.case(name, || match check(text) {
        Err(Refused::Compiler(message)) => Err(message),
        _ => Ok(()),
    });
}

/// The model with each extent of its first input exchanged.
fn extents(cases: &mut Cases, input: &str, body: &str) {
    for place in integers(input) {
        for value in HOSTILE {
            let input = exchanged(input, &place, value);
            answered(cases, &format!("{body} on {input}"), &model(&input, "2", &[body.to_owned()], None));
        }
    }
}

/// What an integer is given as.
fn forms(value: i64) -> [String; 3] {
    [value.to_string(), format!("[{value}, {value}]"), format!("[[{value}, {value}], [{value}, 1]]")]
}

/// The arguments with one exchanged or added.
fn with<'n>(given: &[(&'n str, Given)], name: &'n str, value: Given) -> Vec<(&'n str, Given)> {
    let mut given: Vec<(&str, Given)> = given.iter().filter(|(other, _)| *other != name).cloned().collect();
    given.push((name, value));
    given
}

#[test]
#[ignore = "run by itself, see `alone`"]
fn layers() {
    let mut cases = Cases::new();
    for layer in language::layers() {
        let Some((input, given)) = with_layer(&layer, ATTEMPTS) else {
            cases.fail(layer.name, "no model with it is right");
            continue;
        };
        for argument in &layer.arguments {
            for text in HOSTILE.into_iter().flat_map(forms) {
                let given = with(&given, argument.name, Given::Text(text));
                let body = call(layer.name, &given);
                answered(&mut cases, &format!("{body} on {input}"), &model(input, "2", &[body], None));
            }
            if let Takes::Calls(names) = &argument.takes {
                calls(&mut cases, names, |text| {
                    let given = with(&given, argument.name, Given::Text(text));
                    model(input, "2", &[call(layer.name, &given)], None)
                });
            }
        }
        extents(&mut cases, input, &call(layer.name, &given));
    }
    cases.finish("layers");
}

/// Each argument of each callable of those names.
fn calls(cases: &mut Cases, names: &[&str], text: impl Fn(String) -> String) {
    let all = [language::initializers(), language::schedules(), language::optimizers()].concat();
    for callable in all.iter().filter(|callable| names.contains(&callable.name)) {
        for exchanged in &callable.arguments {
            for value in HOSTILE {
                let argument = |argument: &language::Argument| {
                    let own = argument.name == exchanged.name;
                    let value = if own { value.to_string() } else { "1".to_owned() };
                    (own || argument.required).then_some((argument.name, Given::Text(value)))
                };
                let given: Vec<(&str, Given)> = callable.arguments.iter().filter_map(argument).collect();
                let call = call(callable.name, &given);
                answered(cases, &call, &text(call.clone()));
            }
        }
    }
}

#[test]
#[ignore = "run by itself, see `alone`"]
fn functions() {
    let mut cases = Cases::new();
    // These stand in metrics only: the tests of metrics have them; or need two values, of which one is made of the other.
    let others = ["total", "r2", "grad", "jvp"];
    for function in language::functions().into_iter().filter(|function| !others.contains(&function.name)) {
        let Some((input, given)) = with_function(&function, ATTEMPTS) else {
            cases.fail(function.name, "no model with it is right");
            continue;
        };
        let step = |given: &[(&str, Given)]| format!("Expr(\"{}\")", function_call(function.name, given));
        for argument in &function.arguments {
            for value in HOSTILE {
                for text in [value.to_string(), format!("[{value}, {value}]")] {
                    let given = with(&given, argument.name, Given::Expression(text));
                    let body = step(&given);
                    answered(&mut cases, &format!("{body} on {input}"), &model(input, "2", &[body], None));
                }
            }
        }
        extents(&mut cases, input, &step(&given));
    }
    cases.finish("functions");
}

/// Operators, indices, steps, optimisers, schedules, defaults of sizes.
#[test]
#[ignore = "run by itself, see `alone`"]
fn elsewhere() {
    let mut cases = Cases::new();
    let input = "f32[batch, 6]";
    let mut steps: Vec<String> = Vec::new();
    for a in HOSTILE {
        for operator in language::operators() {
            steps.extend([format!("Expr(\"it {operator} {a}\")"), format!("Expr(\"{a} {operator} it\")")]);
            steps.push(format!("Expr(\"label {operator} {a}\")"));
            steps.extend(HOSTILE.map(|b| format!("Expr(\"it * ({a} {operator} {b})\")")));
        }
        for index in ["N", "N:", ":N", "::N", ":, N", "1:N:N", "N:N", ":, -1:N"] {
            steps.push(format!("Expr(\"it[{}]\")", index.replace('N', &a.to_string())));
        }
        steps.extend(
            [
                "Expr(\"[0] * N\")",
                "Expr(\"[1, 2][N]\")",
                "Expr(\"sum(range(N))\")",
                "Expr(\"len(range(-N, N, N))\")",
                "Repeat(N, [Relu])",
                "Repeat(times: N, index: \"i\", body: [])",
                "Concat(axis: N, branches: [[], []])",
                "For(each: \"i\", within: [N, -1], body: [Expr(\"it + i\")])",
                "Let(\"a\", \"[[N] * 1000] * 1000\")",
                "Linear(N), Linear(N), Linear(N)",
                "Linear(\"N // 2\")",
                "Repeat(3, [Upsample(N)])",
                "Expr(\"reshape(it, [N, N])\")",
            ]
            .map(|step| step.replace('N', &a.to_string())),
        );
    }
    for step in steps {
        answered(&mut cases, &step, &model(input, "2", std::slice::from_ref(&step), None));
    }
    let linear = ["Linear(2)".to_owned()];
    for value in HOSTILE {
        let text = model(input, &value.to_string(), &linear, None);
        answered(&mut cases, &format!("a batch of {value}"), &text);
        let sizes = format!("\"batch\": 2, \"n\": {value}");
        let text = model("f32[batch, n]", "2", &linear, None).replace("\"batch\": 2", &sizes);
        answered(&mut cases, &format!("a size of {value}"), &text);
    }
    let trained = |optimizer: String| {
        let train = format!("Train(loss: \"mean(it * it)\", optimizer: {optimizer})");
        model(input, "2", &linear, Some(&train))
    };
    let names: Vec<&str> = language::optimizers().iter().map(|optimizer| optimizer.name).collect();
    calls(&mut cases, &names, trained);
    let names: Vec<&str> = language::schedules().iter().map(|schedule| schedule.name).collect();
    calls(&mut cases, &names, |schedule| trained(format!("Sgd(lr: {schedule})")));
    cases.finish("expressions, steps and optimisers");
}
