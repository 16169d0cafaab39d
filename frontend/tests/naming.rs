//! Names of layers: automatic ones and given ones; and files: a mistake is reported where it stands.

use brolga_frontend::{Model, Settings, no_imports};

/// A model with this body, and more fields.
fn model(body: &str, more: &str) -> String {
    format!(
        "Model(inputs: {{ \"x\": \"f32[batch, 8]\" }}, {more} body: [{body}],\n    entries: {{ \"infer\": Infer(outputs: {{ \"y\": \"it\" }}) }})"
    )
}

fn layers(text: &str) -> Vec<String> {
    let instance = Model::parse("model.ron", text, &no_imports)
        .and_then(|model| model.instantiate(&Settings::default()))
        .unwrap_or_else(|mistakes| panic!("{text}\n{mistakes}"));
    instance.layers().iter().map(|row| row.path.clone()).collect()
}

/// No automatic name is one that the model gives: before it, behind it, in an inner list, by an index, in a scope, or as
/// the name of an input.
#[test]
fn automatic_names_make_way_for_given_ones() {
    let cases: [(&str, &[&str]); 8] = [
        ("Linear(8), Linear(8)", &["fc1", "fc2"]),
        ("Linear(name: \"fc1\", features: 8), Linear(8)", &["fc1", "fc2"]),
        ("Linear(8), Linear(name: \"fc1\", features: 8), Linear(8)", &["fc2", "fc1", "fc3"]),
        (
            "Linear(8), Residual([Linear(8), Linear(name: \"fc2\", features: 8)]), Linear(name: \"fc1\", features: 8)",
            &["fc3", "fc4", "fc2", "fc1"],
        ),
        ("Linear(8), Repeat(2, [Linear(name: \"fc{i + 1}\", features: 8)])", &["fc3", "fc1", "fc2"]),
        (
            "Sequential(name: \"s\", body: [Linear(8), Linear(name: \"0\", features: 8), Linear(8)])",
            &["s.1", "s.0", "s.2"],
        ),
        // Again in the same scope, with the same weights.
        (
            "Sequential(name: \"s\", body: [Linear(8), Linear(name: \"0\", features: 8)]), Reuse(\"s\"), Linear(8)",
            &["s.1", "s.0", "fc1"],
        ),
        // The scope itself is named by the compiler, and then another.
        (
            "Sequential(body: [Linear(8)]), Sequential(name: \"sequential1\", body: [Linear(8)])",
            &["sequential2.0", "sequential1.0"],
        ),
    ];
    for (body, expected) in cases {
        assert_eq!(layers(&model(body, "")), expected, "{body}");
    }
    let input = model("Linear(8)", "").replace("\"x\"", "\"fc1\"");
    assert_eq!(layers(&input), ["fc2"]);
}

/// An entry with a body of its own gives names that the layers of another entry had by themselves.
#[test]
fn entries_agree_on_names() {
    let text = "Model(
        inputs: { \"x\": \"f32[batch, 8]\" },
        body: [Linear(8)],
        entries: {
            \"first\": Infer(outputs: { \"y\": \"it\" }),
            \"second\": Infer(body: [Linear(name: \"fc1\", features: 5)], outputs: { \"y\": \"it\" }),
        },
    )";
    let model = Model::parse("model.ron", text, &no_imports).unwrap();
    let instance = model.instantiate(&Settings::default()).unwrap();
    let mut names: Vec<&str> = instance.state().iter().map(|slot| slot.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["fc1.bias", "fc1.weight", "fc2.bias", "fc2.weight"]);
}

/// Two layers that are given one name are a mistake as before, and so is a name that only the compiler makes.
#[test]
fn given_names_that_are_equal_are_reported() {
    let text = model("Linear(name: \"a\", features: 8), Linear(name: \"a\", features: 8)", "");
    assert!(mistakes(&text).contains("two layers are named `a`"));
    assert!(mistakes(&model("Dropout(name: \"drop#2\", p: 0.5)", "")).contains("cannot name a layer"));
}

fn mistakes(text: &str) -> String {
    let files = |name: &str, _: &str| -> Result<(String, String), String> {
        let body = match name {
            // It sees no name of the file that imports it.
            "outside" => "Relu,\n  Linear(\"wide // 2\")",
            "named" => "Relu,\n\n  Linear(name: \"head\", features: 8)",
            "twice" => "Linear(name: \"head\", features: 8), Let(\"a\", \"1\"),\n  Let(\"a\", \"2\")",
            "shape" => "\n\n  Conv2d(features: 4, kernel: 3)",
            "expression" => "\n  Expr(\"it + missing\")",
            "block" => {
                return Ok((
                    name.into(),
                    model(
                        "Thing(1)",
                        "blocks: { \"Thing\": Block(parameters: { \"a\": Required, \"b\": \"nowhere\" },\n body: [Linear(\"a + b\")]) },",
                    ),
                ));
            }
            _ => return Err("no such file".into()),
        };
        Ok((name.into(), model(body, "")))
    };
    let result = Model::parse("model.ron", text, &files);
    let result = result.and_then(|model| model.instantiate(&Settings::default()));
    result.err().map(|mistakes| mistakes.to_string()).unwrap_or_default()
}

/// The excerpt is one of the file named, at the text that is wrong.
#[test]
fn a_mistake_is_reported_in_its_file() {
    let cases = [
        // (steps, message, place, and the piece of text shown there)
        ("Let(\"wide\", \"4\"), Import(model: \"outside\")", "no value `wide`", "outside:2:", "wide // 2"),
        (
            "Linear(name: \"head\", features: 8), Import(model: \"named\")",
            "two layers are named `head`",
            "named:3:",
            "Linear(name:",
        ),
        (
            "Import(model: \"named\"), Linear(name: \"head\", features: 8)",
            "two layers are named `head`",
            "model.ron:1:",
            "Import(",
        ),
        ("Import(model: \"twice\")", "`a` is defined twice", "twice:2:", "Let("),
        ("Import(model: \"shape\")", "Conv2d", "shape:3:", "Conv2d("),
        ("Import(model: \"expression\", name: \"part\")", "no value `missing`", "expression:2:", "missing"),
        ("Import(model: \"block\")", "no value `nowhere`", "block:1:", "nowhere"),
        (
            "Import(model: \"named\", name: \"part\"), Transpose([1, 0]), Reuse(\"part.head\")",
            "needed here",
            "named:3:",
            "Linear(",
        ),
        (
            "Import(model: \"named\", until: \"nothing\")",
            "no layer or value `nothing`",
            "model.ron:1:",
            "until",
        ),
    ];
    for (steps, message, place, piece) in cases {
        let found = mistakes(&model(steps, ""));
        let at = found.find(message).unwrap_or_else(|| panic!("{steps}: no `{message}` in\n{found}"));
        let report = &found[at..];
        let report = report.split("\n\nerror").next().unwrap_or(report);
        assert!(report.contains(&format!("--> {place}")), "{steps}: not at {place}\n{report}");
        assert!(report.contains(piece), "{steps}: without `{piece}`\n{report}");
    }
    // Where the first of two layers stands in another file, its place is named.
    let found = mistakes(&model("Linear(name: \"head\", features: 8), Import(model: \"named\")", ""));
    assert!(found.contains("the first is at model.ron:1:"), "{found}");
}

/// Layers of a file that is imported without a name are counted with those around them.
#[test]
fn imports_without_a_name_share_the_count() {
    let found = mistakes(&model("Relu, Import(model: \"named\"), Relu", ""));
    assert_eq!(found, "");
}
