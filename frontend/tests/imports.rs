//! Files that import others: names of imports, and what they set.

use brolga_frontend::{Instance, Model, Settings, no_imports};

/// A model with this body, and more fields.
fn model(body: &str, more: &str) -> String {
    format!(
        "Model({more} inputs: {{ \"x\": \"f32[batch, 8]\" }},\n    body: [{body}],\n    entries: {{ \"infer\": Infer(outputs: {{ \"y\": \"it\" }}) }})"
    )
}

/// Builds a model that may import `tiny`, whose layers have names, and `free`, whose layers have none.
fn build(text: &str) -> Result<Instance, String> {
    let files = |name: &str, _: &str| -> Result<(String, String), String> {
        let parameters = "parameters: { \"w\": 16, \"act\": \"relu\", \"slope\": 0.5, \"widths\": [8], \"acts\": [\"relu\"], \"deep\": false },";
        let text = match name {
            "tiny" => model(
                "Linear(name: \"a\", features: \"w\"), Linear(name: \"b\", features: 8), Linear(name: \"c\", features: 8)",
                parameters,
            ),
            "free" => model(
                "Linear(\"w\"), Activation(\"act\"), For(each: \"n\", within: \"widths\", body: [Linear(\"n\")]),
                 For(each: \"f\", within: \"acts\", body: [Activation(\"f\")]), LeakyRelu(\"slope\"), If(\"deep\", [Linear(1)])",
                parameters,
            ),
            "middle" => model("Import(model: \"tiny\", set: {\"w\": \"2 * v\"})", "parameters: { \"v\": 4 },"),
            "number" => model(
                "Import(model: \"tiny\")",
                "parameters: { \"v\": 4 }, variants: { \"none\": { \"v\": 0 } },",
            )
            .replace("[Import", "[If(\"v == 0\", [Expr(\"mean(it)\")]), Import"),
            "pair" => model("Expr(\"it * zeros([batch, wide]) + y\")", "dims: { \"wide\": 8 },")
                .replace("[batch, 8]\"", "[batch, wide]\", \"y\": \"f32[batch, wide]\", \"label\": \"i32[batch]\""),
            _ => return Err("no such file".into()),
        };
        Ok((name.into(), text))
    };
    let parsed = Model::parse("model.ron", text, &files);
    parsed.and_then(|model| model.instantiate(&Settings::default())).map_err(|mistakes| mistakes.to_string())
}

/// The layers, as `path kind f32[...]`.
fn layers(text: &str) -> Vec<String> {
    let instance = build(text).unwrap_or_else(|mistakes| panic!("{text}\n{mistakes}"));
    instance.layers().iter().map(|row| format!("{} {} {}", row.path, row.kind, row.output)).collect()
}

/// Where names of imports meet, there is one message, at the second import of the file that has both.
#[test]
fn two_imports_of_one_name_are_one_mistake_of_the_importer() {
    let import = |arguments: &str| format!("Import(model: \"tiny\"{arguments})");
    let named = import(", name: \"b\"");
    let context = "the first is here";
    let repeated = "in a repetition use the index";
    let cases = [
        // Steps, the message, the piece that is underlined, how often it stands before that, and what else is said.
        (format!("{named}, {named}"), "two layers are named `b`", "b", 1, context),
        (format!("{0}, {0}", import("")), "two imports have a layer `a`", "Import(", 1, context),
        (format!("Repeat(2, [{named}])"), "two layers are named `b`", "b", 0, repeated),
        (format!("Repeat(2, [{}])", import("")), "two imports have a layer `a`", "Import(", 0, repeated),
        (format!("Linear(name: \"b\", features: 8), {named}"), "two layers are named `b`", "b", 1, context),
        // The same of scopes that are no imports.
        (
            "Sequential(name: \"b\", body: [Linear(8)]), Sequential(name: \"b\", body: [Linear(8), Linear(8)])".into(),
            "two layers are named `b`",
            "Sequential(",
            1,
            context,
        ),
    ];
    for (steps, message, piece, before, said) in cases {
        let text = model(&steps, "");
        let found = build(&text).err().unwrap_or_else(|| panic!("{steps} is accepted"));
        assert_eq!(found.matches("error:").count(), 1, "{steps}\n{found}");
        assert!(found.contains(message) && found.contains(said), "{steps}\n{found}");
        let line = text.lines().nth(1).unwrap();
        let piece = if piece == "b" { "\"b\"" } else { piece };
        let places: Vec<usize> = line.match_indices(piece).map(|(at, _)| at).collect();
        // Of a text, what is between the quotes.
        let column = places[before] + 1 + usize::from(piece.starts_with('"'));
        assert!(found.contains(&format!("--> model.ron:2:{column}")), "{steps}: column {column}\n{found}");
        let shares = steps.contains("Import(") && found.contains("Reuse(");
        assert!(!shares, "imports cannot be reused: {found}");
    }
    let [p, q] = ["p", "q"].map(|name| import(&format!(", name: \"{name}\"")));
    let different = format!("{p}, {q}, {}", import(""));
    assert_eq!(layers(&model(&different, "")).len(), 9);
    let indexed = model(&format!("Repeat(2, [{}])", import(", name: \"part{i}\"")), "");
    assert_eq!(layers(&indexed)[3], "part1.a Linear f32[64, 16]");
}

/// What an import sets are expressions of the file that imports; a text is itself where the parameter is one, unless the
/// expression gives a text.
#[test]
fn settings_of_an_import_are_expressions_of_the_importer() {
    let own = "parameters: { \"w\": 5, \"kind\": \"tanh\" },";
    let cases = [
        ("\"w\": 3", "fc1 Linear f32[64, 3]"),
        ("\"w\": \"w\"", "fc1 Linear f32[64, 5]"),
        ("\"w\": \"2 * w\"", "fc1 Linear f32[64, 10]"),
        ("\"w\": \"size(1) - 1\"", "fc1 Linear f32[64, 7]"),
        ("\"act\": \"tanh\"", "Activation f32[64, 16]"),
        ("\"act\": \"kind\"", "Activation f32[64, 16]"),
        ("\"act\": \"'gelu' if w > 4 else kind\"", "Activation f32[64, 16]"),
        ("\"widths\": [3, \"w\"]", "fc3 Linear f32[64, 5]"),
        ("\"widths\": \"[w, w]\"", "fc3 Linear f32[64, 5]"),
        ("\"acts\": [\"tanh\", \"gelu\"]", "Activation f32[64, 8]"),
        ("\"slope\": 0, \"deep\": \"w == 5\"", "fc3 Linear f32[64, 1]"),
    ];
    for (set, expected) in cases {
        let found = layers(&model(&format!("Import(model: \"free\", set: {{{set}}})"), own));
        let is_there = found.iter().any(|row| row.ends_with(expected));
        assert!(is_there, "{set}: {found:?}");
    }
}

/// What is wrong there is a mistake of the importer, at the value.
#[test]
fn a_wrong_setting_is_shown_in_the_importer() {
    let cases = [
        ("\"w\": \"'wide'\"", "the parameter `w` must be a whole number, found 'wide'", "'wide'"),
        ("\"w\": 1.5", "the parameter `w` must be a whole number, found 1.5", "1.5"),
        ("\"w\": \"v\"", "there is no value `v` here", "v\""),
        ("\"w\": \"2 *\"", "error", "2 *"),
        ("\"act\": 3", "the parameter `act` must be a text, found 3", "3}"),
        ("\"slope\": \"[1]\"", "the parameter `slope` must be a number, found [1]", "[1]"),
        ("\"widths\": 3", "the parameter `widths` must be a list such as [1, 2], found 3", "3}"),
        ("\"deep\": 1", "the parameter `deep` must be true or false, found 1", "1}"),
    ];
    for (set, message, piece) in cases {
        let text = model(&format!("Import(model: \"free\", set: {{{set}}})"), "parameters: { \"x1\": 5 },");
        let found = build(&text).err().unwrap_or_else(|| panic!("{set} is accepted"));
        assert!(found.contains(message), "{set}\n{found}");
        assert!(!found.contains("free:"), "{set} is shown elsewhere\n{found}");
        assert!(found.contains("--> model.ron:2:") && found.contains(piece), "{set}\n{found}");
    }
    // A value that the file cannot use is one of the right kind: what was set is told beside it.
    let found = build(&model("Import(model: \"tiny\", set: {\"w\": \"1 - 4\"})", "")).err().unwrap();
    assert!(found.contains("model.ron:2:12 imports it with w = -3"), "{found}");
    assert!(Model::parse("model.ron", &model("Import(model: \"tiny\")", ""), &no_imports).is_err());
}

/// Of an import inside of another, all are told from the one that leads to the mistake to the outermost that sets something.
#[test]
fn a_mistake_names_all_imports_that_lead_to_it() {
    for (steps, notes) in [
        (
            "Import(model: \"middle\", set: {\"v\": -1})",
            vec!["middle:2:12 imports it with w = -2", "model.ron:2:12 imports middle with v = -1"],
        ),
        (
            "Import(model: \"number\", set: {\"v\": 0})",
            vec!["number:2:46 imports it", "model.ron:2:12 imports number with v = 0"],
        ),
        (
            "Import(model: \"number\", variant: \"none\")",
            vec!["number:2:46 imports it", "model.ron:2:12 imports number with the variant `none`"],
        ),
        ("Expr(\"mean(it)\"), Import(model: \"middle\")", vec!["middle:2:12 imports it with w = 8"]),
        ("Expr(\"mean(it)\"), Import(model: \"number\")", vec![]),
    ] {
        let found = build(&model(steps, "")).err().unwrap_or_else(|| panic!("{steps} is accepted"));
        let first = found.split("\n\nerror").next().unwrap_or(&found);
        let said: Vec<&str> = first
            .lines()
            .filter_map(|line| line.split("note: ").nth(1))
            .filter(|n| n.contains("imports"))
            .collect();
        assert_eq!(said, notes, "{steps}\n{found}");
    }
}

/// The first input of an imported model is the current value; the others, and its sizes, are found by name.
#[test]
fn imports_find_their_inputs_by_name() {
    let import = "Import(model: \"pair\")";
    for body in [
        format!("Let(\"wide\", \"8\"), Let(\"y\", \"2 * x\"), {import}"),
        format!("Let(\"wide\", \"8\"), Sequential(name: \"s\", body: [Let(\"y\", \"x + 1\"), {import}])"),
        // What is a label there is not one here, and is not used.
        format!(
            "Let(\"wide\", \"8\"), Let(\"label\", \"x\"), Let(\"y\", \"x\"), {import}, Linear(name: \"l\", features: 2)"
        ),
    ] {
        build(&model(&body, "")).unwrap_or_else(|mistakes| panic!("{body}\n{mistakes}"));
    }
    for (body, message) in [
        (format!("Let(\"wide\", \"8\"), {import}"), "there is no value `y` here"),
        (format!("Let(\"wide\", \"8\"), Let(\"y\", \"x > 0\"), {import}"), "there is no value `y` here"),
        (
            format!("Let(\"wide\", \"8\"), Let(\"y\", \"mean(x)\"), {import}"),
            "each other one what has its name",
        ),
    ] {
        let found = build(&model(&body, "")).err().unwrap_or_else(|| panic!("{body} is accepted"));
        assert!(found.contains(message), "{body}\n{found}");
    }
}
