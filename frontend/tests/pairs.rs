//! All mistakes in one run: of any two that do not depend on each other, both are reported.

use brolga_frontend::{Model, Settings};

use crate::common::{formulas, mistakes};

/// A model with a place for each thing that may be wrong.
const MODEL: &str = r#"Model(
    inputs: { "x": "$TYPE", "label": "i32[4]" },
    blocks: {
        "Thing": Block(
            parameters: { "slope": Required, "by": $DEFAULT },
            body: [LayerNorm(eps: $EPS), LeakyRelu("slope * by")],
        ),
    },
    body: [
        If($CONDITION, [Swish(beta: $BETA)], [Relu]),
        Sequential(name: $SCOPE, body: [Gelu(form: $FORM)]),
        Thing(name: $CALL, slope: $GIVEN$THING),
        Import(model: "part", name: $IMPORT, set: { "w": $SET }),
        Let("n", $LET),
        Conv2d(name: "$NAME", features: $FEATURES, kernel: $KERNEL, stride: $STRIDE, padding: $PADDING, groups: $GROUPS, init: $INIT$CONV),
        Dropout($P),
        Aside([Softmax(axis: "n")]),
        Repeat($TIMES, [LeakyRelu(slope: $SLOPE)]$REPEAT),
        Flatten,
        Linear(name: "fc", features: 3, bias: $BIAS),
        As("logits"),
    ],
    entries: {
        "infer": Infer(outputs: { "y": "relu(it$RELU)", "z": "softmax(it, axis=$AXIS)" }),
        "train": Train(
            loss: "cross_entropy(logits, $LABEL, smoothing=$SMOOTHING, reduction=$REDUCTION)",
            optimizer: Sgd(lr: $LR, momentum: $MOMENTUM, nesterov: $NESTEROV$SGD),
            clip: $CLIP,
            groups: [Group(of: "$OF", weight_decay: $DECAY)],
            metrics: { "m": "mean($METRIC)" },
        ),
        "own": Entry(steps: [Update(state: $STATE, value: $VALUE)]),
    },
)"#;

/// Something that is wrong with what was right, and what is said of it.
type Wrong = (&'static str, &'static str);

/// A place, what is right there, and what is wrong with what is said of it.
const PLACES: &[(&str, &str, &[Wrong])] = &[
    ("$TYPE", "f32[4, 3, 8, 8]", &[("f33[4, 3, 8, 8]", "`f33` is not an element type")]),
    ("$DEFAULT", "2", &[("\"hereabouts\"", "there is no value `hereabouts`")]),
    ("$EPS", "0.1", &[("-1", "`eps` must be")]),
    (
        "$CONDITION",
        "true",
        &[
            ("\"unknown > 1\"", "there is no value `unknown`"),
            ("3", "a condition must be true or false, found 3"),
            ("\"2 & 3\"", "`&`"),
        ],
    ),
    ("$BETA", "1", &[("true", "`beta` must be")]),
    (
        "$SCOPE",
        "\"s\"",
        &[("\"s t\"", "\"s t\" cannot name a layer"), ("\"s{scope}\"", "there is no value `scope`")],
    ),
    ("$FORM", "\"tanh\"", &[("\"'sin'\"", "`form` must be")]),
    (
        "$CALL",
        "\"t\"",
        &[("\"t t\"", "\"t t\" cannot name a layer"), ("\"t{called}\"", "there is no value `called`")],
    ),
    ("$GIVEN", "0.1", &[("\"nowhere\"", "there is no value `nowhere`")]),
    ("$THING", "", &[(", b: 1", "has no parameter `b`"), (", slope: 2", "`slope` is given twice")]),
    (
        "$IMPORT",
        "\"p\"",
        &[("\"p p\"", "\"p p\" cannot name a layer"), ("\"p{part}\"", "there is no value `part`")],
    ),
    ("$SET", "3", &[("\"absent\"", "there is no value `absent`"), ("-3", "`size` must be")]),
    ("$LET", "1", &[("\"there\"", "there is no value `there`"), ("\"1 ; 2\"", "`;`")]),
    ("$STATE", "\"fc.bias\"", &[("\"zz\"", "there is no state `zz`"), ("Zz", "expected a name in quotes")]),
    ("$VALUE", "\"parameter('fc.bias')\"", &[("\"qqq\"", "there is no value `qqq`")]),
    ("$NAME", "c", &[("a b", "cannot name a layer")]),
    ("$FEATURES", "4", &[("-1", "`features` must be"), ("\"1 +\"", "the expression")]),
    ("$KERNEL", "3", &[("0", "`kernel` must be"), ("None", "`Conv2d` needs `kernel`")]),
    ("$STRIDE", "1", &[("[1, 2, 3]", "`stride` must be")]),
    (
        "$PADDING",
        "1",
        &[("\"sme\"", "`sme` is none of the words for `padding`"), ("-1", "`padding` must be")],
    ),
    ("$GROUPS", "1", &[("\"'x'\"", "`groups` must be")]),
    ("$INIT", "Ones", &[("Normal(std: -1)", "`std` must be"), ("Onse", "cannot stand for `init`")]),
    ("$CONV", "", &[(", foo: 2", "`Conv2d` has no argument `foo`")]),
    ("$P", "0.5", &[("2", "`p` must be")]),
    ("$TIMES", "2", &[("\"hello\"", "there is no value `hello`"), ("\"2 $ 3\"", "`$`")]),
    ("$SLOPE", "0.1", &[("true", "`slope` must be")]),
    ("$REPEAT", "", &[(", foo: 2", "`Repeat` has no argument `foo`")]),
    ("$BIAS", "true", &[("3", "`bias` must be")]),
    ("$RELU", "", &[(", foo=1", "`relu` has no argument `foo`")]),
    ("$AXIS", "1", &[("'a'", "`axis` must be"), ("1.5", "`axis` must be")]),
    ("$LABEL", "label", &[("q", "there is no value `q`")]),
    ("$SMOOTHING", "0.1", &[("3", "`smoothing` must be")]),
    ("$REDUCTION", "'mean'", &[("'no'", "`reduction` must be")]),
    (
        "$LR",
        "0.1",
        &[
            ("-1", "`lr` must be"),
            ("Step(initial: -1, every: 2)", "`initial` must be"),
            ("Step(initial: 1, every: 2, bar: 1)", "`Step` has no argument `bar`"),
            ("MultiStep(initial: 1, at: [3, 1])", "`at` must name"),
        ],
    ),
    ("$MOMENTUM", "0.9", &[("3", "`momentum` must be")]),
    ("$NESTEROV", "true", &[("1", "`nesterov` must be")]),
    ("$SGD", "", &[(", beta: 1", "`Sgd` has no argument `beta`")]),
    (
        "$CLIP",
        "ClipNorm(1)",
        &[("ClipNorm(-1)", "a limit must be"), ("ClipNrm(1)", "is not a way of clipping")],
    ),
    ("$OF", "fc.*", &[("gc.*", "no parameter is named `gc.*`")]),
    ("$DECAY", "0.5", &[("-0.5", "`weight_decay` must be")]),
    ("$METRIC", "logits", &[("maen(logits)", "there is no function `maen`")]),
];

/// The model with some places other than right.
fn with(wrong: &[(usize, &str)]) -> String {
    let mut text = MODEL.to_owned();
    for (at, (place, right, _)) in PLACES.iter().enumerate() {
        let given = wrong.iter().find(|(wrong, _)| *wrong == at).map_or(*right, |(_, given)| *given);
        assert!(text.contains(place), "{place}");
        // A place whose name begins another's stands behind that in no text.
        text = text.replacen(place, given, 1);
    }
    text
}

/// The mistakes of a model that may import `part`.
fn said(text: &str) -> String {
    let part = "Model(
        parameters: { \"w\": 5 }, inputs: { \"x\": \"f32[4, 3, 8, 8]\" },
        body: [LocalResponseNorm(size: \"w\")],
        entries: { \"infer\": Infer(outputs: { \"y\": \"it\" }) },
    )";
    let files = |name: &str, _: &str| match name {
        "part" => Ok((name.to_owned(), part.to_owned())),
        _ => Err("no such file".to_owned()),
    };
    let result = Model::parse("test.ron", text, &files);
    let result = result.and_then(|model| model.instantiate(&Settings::default()));
    result.err().map(|diagnostics| diagnostics.to_string()).unwrap_or_default()
}

#[test]
fn of_two_mistakes_both_are_reported() {
    assert_eq!(said(&with(&[])), "");
    let all = || {
        PLACES.iter().enumerate().flat_map(|(at, (_, _, wrong))| wrong.iter().map(move |case| (at, *case)))
    };
    let mut missing = Vec::new();
    for (first, (one, says)) in all() {
        let alone = said(&with(&[(first, one)]));
        if !alone.contains(says) {
            missing.push(format!("{one}: no `{says}` in\n{alone}"));
        }
        for (second, (other, says_too)) in all().filter(|(second, _)| *second > first) {
            let found = said(&with(&[(first, one), (second, other)]));
            for says in [says, says_too].into_iter().filter(|says| !found.contains(*says)) {
                missing.push(format!("{one} and {other}: no `{says}`"));
            }
        }
    }
    assert!(
        missing.is_empty(),
        "{} of them:\n{}",
        missing.len(),
        missing[..missing.len().min(40)].join("\n")
    );
}

/// A mistake in a loss hides none of its optimiser, nor an optimiser that is not there one of the loss.
#[test]
fn optimisers_are_checked_apart_from_their_loss() {
    let train = |loss: &str, optimizer: &str| {
        let text = format!(
            "Model(inputs: {{ \"x\": \"f32[2, 4]\" }}, body: [Linear(4)],
            entries: {{ \"train\": Train(loss: \"{loss}\", optimizer: {optimizer}) }})"
        );
        mistakes(&text)
    };
    let found = train("mse(it[:, 0], q)", "Sgd(lr: 0.1, momentum: 0.9, nesterov: true, dampening: 0.5)");
    assert!(found.contains("no value `q`") && found.contains("`nesterov` momentum is defined"), "{found}");
    let found = train("it", "Sgd(lr: 0.1, dampening: 0.5)");
    assert!(found.contains("a loss is one") && found.contains("`dampening` has no effect"), "{found}");
    let found = train("mse(it[:, 0], q)", "Sdg(lr: 0.1)");
    assert!(found.contains("no value `q`") && found.contains("no optimizer `Sdg`"), "{found}");
    let found = train("mse(it[:, 0], q)", "Sgd()");
    assert!(found.contains("no value `q`") && found.contains("needs `lr`"), "{found}");
    // Where all is well but the loss, nothing is said of the optimiser.
    assert_eq!(train("mean(q)", "Adam(lr: 0.1)").matches("error:").count(), 1);
}

/// Where it is a mistake which steps are run, those of all are looked at, each for itself, and nothing follows from it.
#[test]
fn steps_that_may_not_be_run_are_checked() {
    let count = |body: &str, messages: &[&str]| {
        let found = mistakes(&formulas("\"x\": \"f32[4, 8]\"", body, &["it"]));
        for message in messages {
            assert!(found.contains(message), "{body}: no `{message}`\n{found}");
        }
        assert_eq!(found.matches("error:").count(), messages.len(), "{body}\n{found}");
    };
    let [none, less] = ["`features` must be a whole number from 1 to 2^40, found 0", "2^40, found -1"];
    for (condition, message) in [
        ("\"unknown\"", "there is no value `unknown`"),
        ("3", "a condition must be true or false"),
        ("\"2 & 3\"", "`&`"),
    ] {
        // Both give the same names, which what stands behind them knows; what it makes of them is unknown.
        let branch = |features: &str| {
            format!(
                "[Linear(name: \"a\", features: {features}), Let(\"n\", \"{features}\"), Ref(\"x\"),
                  Parameter(name: \"w\", dims: [\"2 + n\"]), As(\"y\")]"
            )
        };
        let both = format!("If({condition}, {}, {})", branch("0"), branch("-1"));
        count(&format!("{both}, Expr(\"y * n\"), Reuse(\"a\"), Linear(8)"), &[message, none, less]);
        count(&format!("Repeat(2, [If({condition}, [Linear(name: \"a\", features: 8)])])"), &[message]);
    }
    for (steps, message) in [
        ("Repeat(\"'two'\", [Linear(0)])", "`Repeat` needs a whole number"),
        ("For(each: \"w\", within: 3, body: [Linear(\"w\"), Linear(0)])", "`For` goes over a list"),
        ("Sequential(name: \"a b\", body: [Sequential(body: [Linear(0)])])", "\"a b\" cannot name a layer"),
        ("Add([[], 3, [Linear(0)]])", "expected a branch"),
        ("Sequential(name: 3, body: [Linear(0)])", "expected a name in quotes"),
    ] {
        count(steps, &[message, none]);
    }
    // What stands in for a name is nobody's.
    let named = "Linear(name: \"a b\", features: 8), Linear(name: \"b\", features: 8)";
    for step in ["Ref(\"cccc\")", "Reuse(\"cccc\")"] {
        let found = mistakes(&formulas("\"x\": \"f32[4, 8]\"", &format!("{named}, {step}"), &["it"]));
        let help = found.lines().rfind(|line| line.contains("help: ")).unwrap_or_default();
        assert!(help.contains('b') && !help.contains('#'), "{step}\n{found}");
    }
    // A name stays one, though what it stands for is a mistake.
    count("Let(\"n\", \"2 & 3\"), Linear(\"n\")", &["`&`"]);
    count("Let(\"n\", Linear(3)), Linear(\"n\")", &["expected a number or an expression"]);
    count("As(\"n{m}\"), Linear(0)", &["there is no value `m`", none]);
}

/// Of a layer that a mistake keeps from being built, no state is missed.
#[test]
fn state_of_layers_that_are_not_built_is_not_missed() {
    for (state, value, count) in [
        ("fc.bias", "parameter('fc.bias') + parameter('fc.weight')[0]", 1),
        ("fc.bias", "parameter('q.bias')", 2),
        ("q.bias", "parameter('fc.bias')", 2),
        ("p.bias", "parameter('p.weight')", 1),
        ("layer3.bias", "parameter('other.bias')", 2),
    ] {
        let broken = match &state[..1] {
            // The layer is in a step that is not known, or there is no telling which one it is.
            "p" => "Sequental(body: [Linear(name: \"p\", features: 3)])",
            "l" => "Repeat(\"many\", [Linear(name: \"layer{i}\", features: 8)])",
            _ => "LeakyRelu(slope: true)",
        };
        let found = mistakes(&format!(
            "Model(inputs: {{ \"x\": \"f32[4, 8]\" }}, body: [{broken}, Linear(name: \"fc\", features: 3)],
            entries: {{ \"own\": Entry(steps: [Update(state: \"{state}\", value: \"{value}\")]) }})"
        ));
        assert_eq!(found.matches("error:").count(), count, "{state}, {value}\n{found}");
    }
}

/// Blocks that use themselves end, where it is a mistake how deep.
#[test]
fn recursion_whose_end_is_a_mistake_ends() {
    let model = |call: &str| {
        let text = formulas("\"x\": \"f32[4, 8]\"", call, &["it"]);
        let block = "Block(parameters: { \"n\": Required }, body: [
            If(\"n > 0\", [Deep(n: \"n - 1\"), Deep(n: \"n - 1\")]), Repeat(\"n\", [Deep(n: \"n - 1\")]), Linear(0)])";
        mistakes(&text.replacen("Model(", &format!("Model(blocks: {{ \"Deep\": {block} }}, "), 1))
    };
    for (call, message) in [
        ("Deep(n: \"unknown\")", "there is no value `unknown`"),
        ("Deep(m: 3)", "has no parameter `m`"),
        ("Deep(3, 4)", "the block `Deep` has 1 parameters"),
    ] {
        let found = model(call);
        let both = found.contains(message) && found.contains("`features` must be");
        assert!(both && found.matches("error:").count() == 2, "{call}\n{found}");
    }
}

/// What is used inside of itself is named, and so is what would be right for a name that there is not.
#[test]
fn reuse_of_what_is_not_there_yet_is_explained() {
    for (body, parts) in [
        (
            "Sequential(name: \"s\", body: [Relu, Reuse(\"s\")])",
            ["nested more than 64 deep", "does `s` use itself?"],
        ),
        ("Reuse(\"nosuch\")", ["there is no layer `nosuch` to reuse", "`Linear(name: \"nosuch\", ...)`"]),
    ] {
        let found = mistakes(&formulas("\"x\": \"f32[4, 8]\"", body, &["it"]));
        assert!(parts.iter().all(|part| found.contains(part)), "{body}\n{found}");
    }
}

/// A size in a sum or product is known as one alone is: `batch` has its default, and for others it is said how to give one.
#[test]
fn sizes_in_products_are_known_as_those_alone() {
    let model = |ty: &str| formulas(&format!("\"x\": \"f32[{ty}, 4]\""), "", &["it"]);
    for (ty, dims, extent) in [("batch * 2", 64, 128), ("3 + batch", 64, 67)] {
        let model = Model::parse("test.ron", &model(ty), &brolga_frontend::no_imports).unwrap();
        let sized = |settings: &Settings| model.instantiate(settings).unwrap_or_else(|e| panic!("{e}"));
        let instance = sized(&Settings::default());
        assert_eq!(instance.dims(), [("batch".to_owned(), dims)]);
        let graph = instance.graph("infer").unwrap();
        assert_eq!(graph.ty(graph.outputs()[0].value).dims, [extent, 4]);
        assert_eq!(sized(&Settings::default().dim("batch", 5)).dims(), [("batch".to_owned(), 5)]);
    }
    let found = mistakes(&model("2 * n"));
    assert!(found.contains("the size `n` has no value") && found.contains("`--dim n=32`"), "{found}");
    assert_eq!(found.matches("error:").count(), 1, "{found}");
}
