//! What a model says of its data: preparation as graph, names of raw and prepared values, and mistakes.

use std::collections::HashMap;

use brolga_frontend::{FIT, Instance, SlotKind, SplitRule};
use brolga_ir::Tensor;

use crate::common::{build, mistakes, numbers, run};

fn model(data: &str, body: &str, outputs: &str) -> String {
    format!(
        "Model(
            data: {data},
            inputs: {{ \"x\": \"f32[batch, 3, 2]\", \"t\": \"f32[batch]\" }},
            dims: {{ \"batch\": 2 }},
            body: [{body}],
            entries: {{
                \"infer\": Infer(outputs: {{ {outputs} }}),
                \"train\": Train(loss: \"mean(it * 1) + mean(t)\", optimizer: Sgd(lr: 0.1)),
            }},
        )"
    )
}

fn fitted(instance: &Instance) -> Vec<String> {
    let slots = instance.state().iter().filter(|slot| slot.kind == SlotKind::Fitted);
    slots.map(|slot| format!("{} {}", slot.name, slot.ty)).collect()
}

fn given() -> HashMap<String, Tensor> {
    let x = Tensor::f64([2, 3, 2], (0..12).map(f64::from).collect::<Vec<_>>());
    HashMap::from([("x".into(), x), ("t".into(), Tensor::f64([2], vec![5.0, -1.0]))])
}

#[test]
fn preparation_is_in_every_entry() {
    let text = model("Data(prepare: [Rescale(2), Standardize])", "Linear(1)", "\"y\": \"it\", \"x\": \"x\"");
    let instance = build(&text);
    assert_eq!(fitted(&instance), ["data.x.mean f64[3]", "data.x.std f64[3]"]);
    for entry in ["infer", "train", "train.eval"] {
        let graph = instance.graph(entry).expect("the entry").to_string();
        assert!(graph.contains("state %data.x.mean"), "{entry}: {graph}");
    }
    // Shown in the table, before the layers of the body.
    let paths: Vec<&str> = instance.layers().iter().map(|row| row.path.as_str()).collect();
    assert_eq!(paths, ["data.x.rescale", "data.x.standardize", "fc1"]);
    // The fit sees what enters the layer.
    let fit = instance.graph(FIT).expect("something to fit");
    assert!(!instance.entries().contains(&FIT));
    let found = run(fit, &given());
    assert_eq!(numbers(&found["data.x"]), (0..12).map(|i| 2.0 * f64::from(i)).collect::<Vec<_>>());
}

#[test]
fn names_stand_for_prepared_values_and_raw_ones_can_be_had() {
    let data = "Data(prepare: { \"x\": [Standardize(per: \"feature\")], \"t\": [Standardize] })";
    let outputs =
        "\"x\": \"x\", \"raw\": \"raw.x\", \"t\": \"t\", \"back\": \"t * data.t.std + data.t.mean\"";
    let instance = build(&model(data, "Linear(1)", outputs));
    let state = ["data.x.mean f64[3, 2]", "data.x.std f64[3, 2]", "data.t.mean f64[]", "data.t.std f64[]"];
    assert_eq!(fitted(&instance), state);
    let mut given = given();
    given.insert("data.x.mean".into(), Tensor::f64([3, 2], vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0]));
    given.insert("data.x.std".into(), Tensor::f64([3, 2], vec![3.0; 6]));
    given.insert("data.t.mean".into(), Tensor::f64([], vec![1.0]));
    given.insert("data.t.std".into(), Tensor::f64([], vec![4.0]));
    let found = run(instance.graph("infer").expect("the entry"), &given);
    assert_eq!(numbers(&found["x"]), [[0.0; 6], [2.0; 6]].concat());
    assert_eq!(numbers(&found["raw"]), (0..12).map(f64::from).collect::<Vec<_>>());
    assert_eq!(numbers(&found["t"]), [1.0, -0.5]);
    assert_eq!(numbers(&found["back"]), [5.0, -1.0]);
}

#[test]
fn a_layer_in_the_body_is_fitted_too() {
    let instance =
        build(&model("\"digits\"", "Rescale(3), Standardize(name: \"norm\"), Linear(1)", "\"y\": \"it\""));
    assert_eq!(fitted(&instance), ["data.norm.mean f64[3]", "data.norm.std f64[3]"]);
    assert_eq!(instance.data(), Some("digits"));
    let found = run(instance.graph(FIT).expect("something to fit"), &given());
    assert_eq!(numbers(&found["data.norm"])[11], 33.0);
    assert!(build(&model("Data(set: \"digits\")", "Linear(1)", "\"y\": \"it\"")).graph(FIT).is_none());
}

#[test]
fn several_layers_have_states_of_their_own() {
    let data = "Data(prepare: [Standardize, Standardize, Standardize(name: \"last\", per: \"all\")])";
    let instance = build(&model(data, "Linear(1)", "\"y\": \"it\""));
    let names = ["data.x", "data.x.standardize2", "data.x.last"];
    let expected: Vec<String> =
        names.iter().flat_map(|name| [format!("{name}.mean"), format!("{name}.std")]).collect();
    let found = fitted(&instance);
    let found: Vec<&str> = found.iter().map(|slot| slot.split(' ').next().unwrap_or("")).collect();
    assert_eq!(found, expected);
    let fit = instance.graph(FIT).expect("something to fit");
    assert_eq!(fit.outputs().iter().map(|output| output.name.as_str()).collect::<Vec<_>>(), names);
}

#[test]
fn mistakes_are_told() {
    let cases = [
        ("Data(prepare: { \"y\": [Standardize] })", "Relu", "the model has no input `y`"),
        ("Data(prepare: [BatchNorm])", "Relu", "is the name of what `prepare` fits to the data"),
        ("Data(prepare: [Linear(3)])", "Relu", "is the name of what `prepare` fits to the data"),
        ("Data(prepare: [Standardise])", "Relu", "did you mean `Standardize`?"),
        ("Data(sets: \"digits\")", "Relu", "did you mean `set`?"),
        ("Datas(set: \"digits\")", "Relu", "expected the name of a data set, or `Data(...)`"),
        ("Data(prepare: { \"t\": [Standardize(per: \"channel\")] })", "Relu", "write `per: \"all\"`"),
        ("Data(prepare: [Normalize(mean: [1, 2], std: 1)])", "Relu", "`mean` has 2 numbers"),
        ("Data(prepare: [Normalize(mean: 0, std: [1, 0, 1])])", "Relu", "`std` must be finite and above 0"),
        ("Data(prepare: [Rescale(2, 3, 4)])", "Relu", "takes at most 2 arguments"),
        ("\"digits\"", "Linear(name: \"data.m\", features: 2)", "is the name of what `prepare` fits"),
    ];
    for (data, body, expected) in cases {
        let found = mistakes(&model(data, body, "\"y\": \"it\""));
        assert!(found.contains(expected), "{data}, {body}: {found}");
    }
}

#[test]
fn what_is_done_to_data_takes_samples_along_the_first_axis() {
    for (ty, data) in [
        ("f32[3, batch]", "prepare: [Standardize(per: \"all\")]"),
        ("f32[3, batch]", "augment: [RandomFlip]"),
        ("f32[1, 8, 8, batch]", "augment: [RandomCrop(padding: 2)]"),
        ("f32[1, 8, batch, 8]", "prepare: { \"x\": [Resize(4)] }"),
    ] {
        let text = format!(
            "Model(inputs: {{ \"x\": \"{ty}\" }}, data: Data({data}), body: [Expr(\"mean(x)\")], entries: {{ \
             \"infer\": Infer(outputs: {{ \"y\": \"it\" }}), \"train\": Train(loss: \"it\", optimizer: Sgd(lr: 1)) }})"
        );
        let found = mistakes(&text);
        assert!(
            found.contains("takes samples along axis 0") && found.contains("of `x` is the batch"),
            "{data}: {found}"
        );
    }
}

#[test]
fn what_is_declared_is_told() {
    let data = "Data(set: \"pets\", classes: [\"cat\", \"dog\"], split: Holdout(fraction: 0.25, stratified: true), \
                target: \"price\", columns: [\"a\", \"b\"])";
    let declared = build(&model(data, "Linear(1)", "\"y\": \"it\"")).declared().clone();
    assert_eq!(declared.classes, ["cat", "dog"]);
    assert_eq!(declared.split, Some(SplitRule::Holdout { fraction: 0.25, stratified: true }));
    assert_eq!((declared.target.as_deref(), declared.columns.len()), (Some("price"), 2));
    let folds = build(&model("Data(split: Folds(5))", "Linear(1)", "\"y\": \"it\"")).declared().split.clone();
    assert_eq!(folds, Some(SplitRule::Folds { count: 5, stratified: false }));
    let cases = [
        ("Data(split: Holdout(1.5))", "expected a fraction between 0 and 1"),
        ("Data(split: Holdout(0))", "expected a fraction between 0 and 1"),
        ("Data(split: Folds(1))", "expected a whole number from 2 to 1000"),
        ("Data(split: Fold(5))", "did you mean `Folds`?"),
        ("Data(split: Folds(5, 1))", "expected true or false"),
        ("Data(split: 0.2)", "expected `Holdout(...)` or `Folds(...)`"),
        ("Data(classes: [\"a\", \"a\"])", "\"a\" is given twice"),
        ("Data(classes: \"a\")", "expected a list of names of classes"),
        ("Data(augment: [RandomCrop(0)])", "must be a whole number from 1"),
    ];
    for (data, expected) in cases {
        let found = mistakes(&model(data, "Linear(1)", "\"y\": \"it\""));
        assert!(found.contains(expected), "{data}: {found}");
    }
}

/// Layers of training alone have no state, and leave the type as it is: every layer that does otherwise is refused when the
/// model is read.
#[test]
fn augmentation_has_no_state_and_keeps_the_type() {
    let text = |augment: &str| {
        format!(
            "Model(
                data: Data(prepare: [Standardize], augment: [{augment}]),
                inputs: {{ \"x\": \"f32[batch, 2, 4, 4]\" }},
                body: [Flatten, Linear(2)],
                entries: {{
                    \"infer\": Infer(outputs: {{ \"y\": \"it\" }}),
                    \"train\": Train(loss: \"mean(it)\", optimizer: Sgd(lr: 0.1)),
                }},
            )"
        )
    };
    for (augment, expected) in [
        (
            "Conv2d(features: 2, kernel: 3, padding: 1)",
            "would be a state of `augment`, whose layers have none",
        ),
        ("BatchNorm", "would be a state of `augment`, whose layers have none"),
        ("MaxPool2d(2)", "2, 2, 2] of `x`, which is "),
        ("RandomCrop(padding: 1), Flatten", "in other entries"),
        ("GlobalAvgPool", "in other entries"),
        ("Expr(\"mean(it)\")", "in other entries"),
    ] {
        let found = mistakes(&text(augment));
        assert!(found.contains(expected), "{augment}: {found}");
    }
    build(&text("RandomFlip, RandomCrop(padding: 1), Dropout(0.1), Expr(\"it * 2\")"));
}

#[test]
fn words_and_fitted_values_are_suggested() {
    let found =
        mistakes(&model("Data(prepare: [Standardize(per: \"pixel\")])", "Linear(1)", "\"y\": \"it\""));
    assert!(found.contains("`pixel` is none of the words for `per`"), "{found}");
    assert!(found.contains("expected one of channel, feature, all"), "{found}");
    let found = mistakes(&model("Data(prepare: [Standardize])", "Linear(1)", "\"y\": \"it * data.x.sd\""));
    assert!(found.contains("did you mean `data.x.std`?"), "{found}");
}

#[test]
fn augmentation_is_in_training_alone() {
    let text = "Model(
        data: Data(prepare: [Standardize], augment: [RandomFlip, RandomCrop(padding: 1)]),
        inputs: { \"x\": \"f32[batch, 1, 4, 4]\" },
        body: [Flatten, Linear(2)],
        entries: {
            \"infer\": Infer(outputs: { \"y\": \"it\" }),
            \"train\": Train(loss: \"mean(it)\", optimizer: Sgd(lr: 0.1)),
        },
    )";
    let instance = build(text);
    let graph = |name: &str| instance.graph(name).expect("the entry").to_string();
    assert!(graph("train").contains("random"), "{}", graph("train"));
    for entry in ["infer", "train.eval", FIT] {
        assert!(!graph(entry).contains("random"), "{entry}");
    }
}
