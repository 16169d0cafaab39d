//! All mistakes in one run: of any two that do not depend on each other, both are reported.

use crate::common::mistakes;

/// A model with a place for each thing that may be wrong.
const MODEL: &str = r#"Model(
    inputs: { "x": "$TYPE", "label": "i32[4]" },
    body: [
        Conv2d(name: "$NAME", features: $FEATURES, kernel: $KERNEL, stride: $STRIDE, padding: $PADDING, groups: $GROUPS, init: $INIT$CONV),
        Dropout($P),
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
            groups: [Group(of: "fc.*", weight_decay: $DECAY)],
            metrics: { "m": "mean($METRIC)" },
        ),
    },
)"#;

/// Something that is wrong with what was right, and what is said of it.
type Wrong = (&'static str, &'static str);

/// A place, what is right there, and what is wrong with what is said of it.
const PLACES: &[(&str, &str, &[Wrong])] = &[
    ("$TYPE", "f32[4, 3, 8, 8]", &[("f33[4, 3, 8, 8]", "`f33` is not an element type")]),
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

#[test]
fn of_two_mistakes_both_are_reported() {
    assert_eq!(mistakes(&with(&[])), "");
    let all = || {
        PLACES.iter().enumerate().flat_map(|(at, (_, _, wrong))| wrong.iter().map(move |case| (at, *case)))
    };
    let mut missing = Vec::new();
    for (first, (one, says)) in all() {
        let alone = mistakes(&with(&[(first, one)]));
        if !alone.contains(says) {
            missing.push(format!("{one}: no `{says}` in\n{alone}"));
        }
        for (second, (other, says_too)) in all().filter(|(second, _)| *second > first) {
            let found = mistakes(&with(&[(first, one), (second, other)]));
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
