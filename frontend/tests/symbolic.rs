//! Types of layers with symbolic sizes.

use brolga_frontend::{Model, Settings, no_imports};

fn outputs(inputs: &str, body: &str, settings: &Settings) -> Vec<String> {
    let text = format!(
        "Model(
            inputs: {{ {inputs} }},
            body: [{body}],
            entries: {{ \"infer\": Infer(outputs: {{ \"out\": \"it\" }}) }},
        )"
    );
    let model = Model::parse("test.ron", &text, &no_imports).unwrap_or_else(|e| panic!("{e}"));
    let instance = model.instantiate(settings).unwrap_or_else(|e| panic!("{e}"));
    let symbolic = model.symbolic_outputs(settings, &instance);
    assert_eq!(symbolic.len(), instance.layers().len());
    symbolic.iter().map(ToString::to_string).collect()
}

#[test]
fn one_size() {
    let body = "Conv2d(name: \"c\", features: 4, kernel: 3, padding: 1), MaxPool2d(2), Flatten, Linear(5)";
    for batch in [1, 4, 64] {
        let found = outputs("\"x\": \"f32[batch, 3, 8, 8]\"", body, &Settings::default().dim("batch", batch));
        let expected = ["f32[batch, 4, 8, 8]", "f32[batch, 4, 4, 4]", "f32[batch, 64]", "f32[batch, 5]"];
        assert_eq!(found, expected, "batch {batch}");
    }
}

/// A valid convolution takes two off; rows behind each other multiply; a rounded half is none of these expressions.
#[test]
fn several_sizes() {
    let settings = Settings::default().dim("batch", 2).dim("height", 8);
    let body = "Conv2d(name: \"c\", features: 4, kernel: 3), Flatten(start: 2), Flatten(start: 0)";
    let found = outputs("\"x\": \"f32[batch, 3, height, 8]\"", body, &settings);
    assert_eq!(found[0], "f32[batch, 4, height - 2, 6]");
    assert_eq!(found[1], "f32[batch, 4, 6*height - 12]");
    assert_eq!(found[2], "f32[288]", "neither affine nor a product");
    let found = outputs("\"x\": \"f32[batch, 3, height, 8]\"", "Flatten(start: 0)", &settings);
    assert_eq!(found, ["f32[24*batch*height]"]);
    let found = outputs("\"x\": \"f32[batch, 3, height, 8]\"", "MaxPool2d(2), MaxPool2d(1)", &settings);
    assert_eq!(found, ["f32[batch, 3, 4, 4]"; 2]);
}
