//! What layers, functions, optimisers, schedules and initialisers are given: what PyTorch refuses, or what would make
//! infinities or NaN without a word, is a mistake at its place.

use std::collections::HashSet;

use brolga_frontend::language::{Callable, initializers, layers, optimizers, schedules};
use brolga_frontend::{Model, Settings, no_imports};

/// What is reported for a model with this body and this optimiser; nothing if it is right.
fn report(body: &str, optimizer: &str) -> Option<String> {
    let text = format!(
        "Model(
    inputs: {{ \"x\": \"f32[batch, 4, 6, 6]\", \"t\": \"f32[batch, 4, 6, 6]\", \"i\": \"i32[batch]\" }},
    body: [{body}, Flatten, Linear(3), As(\"logits\")],
    entries: {{
        \"train\": Train(loss: \"cross_entropy(logits, i)\", optimizer: {optimizer}),
    }},
)"
    );
    let model = Model::parse("model.ron", &text, &no_imports);
    let instance = model.and_then(|model| model.instantiate(&Settings::default().dim("batch", 3)));
    instance.err().map(|diagnostics| diagnostics.to_string())
}

/// A value for an argument that must be given, by its name.
fn sample(of: &str, argument: &str) -> &'static str {
    match (of, argument) {
        ("AdaptiveAvgPool1d" | "Conv1d" | "ConvTranspose1d" | "Conv3d" | "ConvTranspose3d", _) => "2",
        ("Reshape", "dims") => "[-1, 144]",
        ("Parameter", "dims") => "[4, 4]",
        ("Upsample", _) => "2",
        ("Pad", "padding") => "[[0, 0], [0, 0], [1, 1], [1, 1]]",
        (_, "factor") => "0.5",
        (_, "kind") => "\"max\"",
        (_, "axes") => "[0, 1, 3, 2]",
        (_, "low" | "axis") => "1",
        (_, "initial" | "rate" | "std" | "value") => "0.1",
        (_, "every" | "steps" | "half" | "warmup") => "10",
        (_, "at") => "[5, 7]",
        (_, "then") => "0.1",
        _ => "2",
    }
}

/// The call with its required arguments, and `given` under that name.
fn call(callable: &Callable, argument: &str, given: &str) -> String {
    let arguments = callable.arguments.iter().filter(|a| a.required || a.name == argument).map(|a| {
        let value = if a.name == argument { given } else { sample(callable.name, a.name) };
        format!("{}: {value}", a.name)
    });
    format!("{}({})", callable.name, arguments.collect::<Vec<_>>().join(", "))
}

/// The model's report with a call in its place.
fn placed(kind: &str, call: &str) -> Option<String> {
    match kind {
        "layer" => report(call, "Sgd(lr: 0.1)"),
        "optimizer" => report("Relu", call),
        "schedule" => report("Relu", &format!("Sgd(lr: {call})")),
        "initializer" => report(&format!("Flatten, Linear(features: 4, init: {call})"), "Sgd(lr: 0.1)"),
        _ => report(&format!("Let(\"y\", \"{call}\")"), "Sgd(lr: 0.1)"),
    }
}

fn all() -> Vec<(&'static str, Callable)> {
    let of = |kind, callables: Vec<Callable>| callables.into_iter().map(move |callable| (kind, callable));
    let all = of("layer", layers()).chain(of("optimizer", optimizers()));
    all.chain(of("schedule", schedules())).chain(of("initializer", initializers())).collect()
}

/// No argument of the language takes what f32 does not have, or a text where it takes no words; it is named.
#[test]
fn no_argument_takes_what_is_no_number() {
    let mut wrong = Vec::new();
    for (kind, callable) in all() {
        for argument in &callable.arguments {
            for given in ["1e300", "-1e300", "\"'strange'\"", "inf", "NaN"] {
                // A parameter may have any name.
                if argument.name == "name" {
                    continue;
                }
                let call = call(&callable, argument.name, given);
                match placed(kind, &call) {
                    None => wrong.push(format!("{call}: taken")),
                    Some(report) if report.contains(&"0".repeat(30)) => {
                        wrong.push(format!("{call}: long numbers\n{report}"));
                    }
                    Some(_) => {}
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The kind of what is called, its name, an argument (behind others that it needs), what is refused, and what is not.
type Refused = (&'static str, &'static str, &'static str, &'static [&'static str], &'static [&'static str]);

/// What PyTorch refuses (by an exception of the class or function of that name), or turns into NaN; then the nearest
/// that is right. The language's names of arguments are those of its lists.
const REFUSED: [Refused; 62] = [
    ("optimizer", "Sgd", "lr", &["-0.1", "1e300", "3.5e38"], &["0", "1", "1e30"]),
    ("optimizer", "Sgd", "momentum", &["-0.1", "1.5"], &["0.5"]),
    ("optimizer", "Sgd", "weight_decay", &["-0.1"], &["0.1"]),
    ("optimizer", "Sgd", "l1", &["-0.1"], &["0.1"]),
    ("optimizer", "Sgd", "momentum: 0.9, lr: 1, dampening", &["-0.1", "1.5"], &["0.1"]),
    ("optimizer", "Sgd", "momentum: 0.9, lr: 1, dampening: 0.1, nesterov", &["true"], &["false"]),
    ("optimizer", "Sgd", "lr: 1, nesterov", &["true"], &[]),
    ("optimizer", "Adam", "beta1", &["1", "1.0", "-0.1"], &["0", "0.999999"]),
    ("optimizer", "Adam", "beta2", &["1", "1.0", "-0.1"], &["0", "0.999999"]),
    ("optimizer", "Adam", "eps", &["-1e-8"], &["0", "1e-30"]),
    ("optimizer", "Adam", "weight_decay", &["-1e-8"], &["0"]),
    ("optimizer", "AdamW", "beta1", &["1", "-0.1"], &["0.5"]),
    ("optimizer", "AdamW", "beta2", &["1", "-0.1"], &["0.5"]),
    ("optimizer", "Adamax", "beta1", &["1", "-0.1"], &["0.5"]),
    ("optimizer", "Adamax", "beta2", &["1", "-0.1"], &["0.5"]),
    ("optimizer", "NAdam", "beta1", &["1", "-0.1"], &["0.5"]),
    ("optimizer", "NAdam", "beta2", &["1", "-0.1"], &["0.5"]),
    ("optimizer", "NAdam", "momentum_decay", &["-0.1"], &["0.1"]),
    ("optimizer", "Adagrad", "lr_decay", &["-0.1"], &["0.1"]),
    ("optimizer", "Adagrad", "initial", &["-0.1"], &["0.1"]),
    ("optimizer", "Adagrad", "eps", &["-0.1"], &["0.1"]),
    ("optimizer", "Adadelta", "rho", &["-0.1", "1.1"], &["0.1", "1"]),
    ("optimizer", "Adadelta", "eps", &["-0.1"], &["0.1"]),
    ("optimizer", "RmsProp", "alpha", &["-0.1"], &["0.1", "1"]),
    ("optimizer", "RmsProp", "momentum", &["-0.1"], &["0.1"]),
    ("optimizer", "RmsProp", "eps", &["-0.1"], &["0.1"]),
    ("optimizer", "Rprop", "shrink", &["0", "1", "-0.5", "1.5"], &["0.1"]),
    ("optimizer", "Rprop", "grow", &["1", "0.5"], &["1.1"]),
    ("optimizer", "Rprop", "largest: 0.1, smallest", &["0.2", "-1"], &["0.1"]),
    ("schedule", "Constant", "initial", &["-1"], &["0"]),
    ("schedule", "Step", "every", &["0", "1.5", "-3"], &["1"]),
    ("schedule", "Step", "factor", &["-0.5"], &["0", "2"]),
    ("schedule", "MultiStep", "at", &["[5, 3]", "[-1, 2]", "[1, 1e300]"], &["[]", "[0, 3]", "[3, 3]", "4"]),
    ("schedule", "Exponential", "factor", &["-0.5"], &["1"]),
    ("schedule", "Cosine", "steps", &["0", "-2", "1e-300"], &["1"]),
    ("schedule", "Cosine", "last", &["-2"], &["0"]),
    ("schedule", "Inverse", "rate", &["-2"], &["0"]),
    ("schedule", "Inverse", "power", &["-2"], &["0"]),
    ("schedule", "Poly", "power", &["-2"], &["0"]),
    ("schedule", "Poly", "steps", &["0"], &["1"]),
    ("schedule", "Noam", "warmup", &["0", "-1"], &["1"]),
    ("schedule", "Noam", "width", &["0", "-1"], &["1"]),
    ("schedule", "Cyclic", "half", &["0", "-1"], &["1"]),
    ("schedule", "Cyclic", "low", &["-1"], &["0"]),
    ("schedule", "Warmup", "first", &["-0.1", "1.1"], &["0", "1"]),
    ("schedule", "Warmup", "steps", &["0"], &["1"]),
    ("layer", "Dropout", "p", &["-0.1", "1.1"], &["0", "1"]),
    ("layer", "GaussianNoise", "std", &["-0.1"], &["0"]),
    ("layer", "BatchNorm", "eps", &["-0.1"], &["0", "1e-5"]),
    ("layer", "LocalResponseNorm", "alpha", &["-0.1"], &["0"]),
    ("layer", "LocalResponseNorm", "k", &["-1"], &["0", "1"]),
    ("layer", "HardTanh", "low: 1, high", &["1", "0"], &["2"]),
    ("layer", "RRelu", "low: 0.5, high", &["0.4"], &["0.5"]),
    ("layer", "Softplus", "beta", &["0", "-1", "1e-300"], &["1e-30"]),
    ("layer", "Celu", "alpha", &["0", "1e-300"], &["1e-30"]),
    ("initializer", "Uniform", "low: 1, high", &["0"], &["1"]),
    ("initializer", "Uniform", "low: -3e38, high", &["3e38"], &["0"]),
    ("initializer", "Normal", "std", &["-1"], &["0"]),
    ("function", "cross_entropy(logits, i, smoothing=", "smoothing", &["-0.1", "1.1"], &["0", "1"]),
    ("function", "huber(x, t, delta=", "delta", &["0", "-1", "1e-300"], &["1"]),
    ("function", "smooth_l1(x, t, beta=", "beta", &["-1", "1e300"], &["0", "1e-300"]),
    ("function", "focal(logits, i, gamma=", "gamma", &["-1"], &["0"]),
];

#[test]
fn what_pytorch_refuses_is_refused() {
    let mut wrong = Vec::new();
    let known = all();
    for (kind, name, argument, refused, accepted) in REFUSED {
        for (given, right) in refused.iter().map(|g| (g, false)).chain(accepted.iter().map(|g| (g, true))) {
            let (shown, last) = if kind == "function" {
                (format!("{name}{given})").replace("logits", "x[:, :, 0, 0]"), argument)
            } else {
                let find = |(known, callable): &&(&str, Callable)| *known == kind && callable.name == name;
                let callable = &known.iter().find(find).unwrap_or_else(|| panic!("no {kind} {name}")).1;
                let (before, last) = argument.rsplit_once(", ").map_or(("", argument), |(b, l)| (b, l));
                let named: HashSet<&str> =
                    before.split(", ").filter_map(|field| Some(field.split_once(": ")?.0)).collect();
                let rest = callable
                    .arguments
                    .iter()
                    .filter(|a| a.required && a.name != last && !named.contains(a.name));
                let rest = rest.map(|a| format!("{}: {}", a.name, sample(name, a.name)));
                let own = [before.to_owned(), format!("{last}: {given}")];
                let mut fields: Vec<String> = rest.chain(own).filter(|field| !field.is_empty()).collect();
                // The learning rate of `Sgd` has no default.
                if name == "Sgd" && last != "lr" && !named.contains("lr") {
                    fields.push("lr: 1".into());
                }
                (format!("{name}({})", fields.join(", ")), last)
            };
            match placed(kind, &shown) {
                None if right => {}
                Some(report) if !right && report.contains(&format!("`{last}`")) => {}
                Some(report) if !right && name == "Uniform" && report.contains("Uniform") => {}
                Some(report) if !right && report.contains("further apart") => {}
                Some(report) => wrong.push(format!("{shown}:\n{report}")),
                None => wrong.push(format!("{shown}: taken")),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn messages_are_short() {
    let message = |optimizer: &str| {
        let report = report("Relu", optimizer).expect("a mistake");
        report.lines().next().expect("a line").to_owned()
    };
    for (optimizer, expected) in [
        ("Sgd(lr: 1e300)", "error: `lr` must be a number from 0 to 3.4028235e38, found 1e300"),
        ("Sgd(lr: -1)", "error: `lr` must be a number from 0 on, found -1"),
        ("Adam(beta1: 1)", "error: `beta1` must be a number from 0 to below 1, found 1"),
        ("Rprop(shrink: 1)", "error: `shrink` must be a number above 0 and below 1, found 1"),
        ("Rprop(grow: 1)", "error: `grow` must be a number above 1, found 1"),
        ("Sgd(lr: Cosine(initial: 1, steps: 0.5))", "error: `steps` must be a number from 1 on, found 0.5"),
    ] {
        assert_eq!(message(optimizer), expected);
    }
    let softplus = report("Softplus(beta: 1e-300)", "Sgd(lr: 1)").expect("a mistake");
    assert!(softplus.contains("a number from 1.1754944e-38 on, found 1e-300"), "{softplus}");
}

/// The least whole number can be written, and no other one beyond 64 bits.
#[test]
fn the_least_whole_number() {
    let of = |expression: &str| report(&format!("Let(\"y\", \"{expression}\")"), "Sgd(lr: 1)");
    for right in ["int(i) == -2147483648", "-9223372036854775808 + 1", "max(-9223372036854775808, 0)"] {
        assert_eq!(of(right), None, "{right}");
    }
    for wrong in
        ["9223372036854775808", "-9223372036854775809", "-(9223372036854775808)", "1 - 9223372036854775808"]
    {
        let report = of(wrong).unwrap_or_else(|| panic!("{wrong} is taken"));
        assert!(report.contains("does not fit"), "{report}");
    }
}
