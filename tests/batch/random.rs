//! Random models of every kind of layer whose samples are apart.

use brolga::frontend::language;
use brolga::{CompileOptions, Model, Settings};

use super::{Case, Kind, infer, mixed, model, sample_of, three};
use crate::common::cases;
use crate::common::lcg::Lcg;

/// Random models of every kind of layer whose samples are apart, with the batch first.
struct Random(Lcg);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        (self.0.bits() >> 33) as usize % n
    }

    fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())]
    }

    /// What keeps the shape, which has so many axes.
    fn same(&mut self, rank: usize) -> String {
        let layers =
            ["Relu", "Tanh", "Gelu", "Sigmoid", "Softmax(axis: 1)", "Expr(\"it * 0.5 + it / 3\")", "Silu"];
        let reduced = [
            "Expr(\"it / (1 + sum(abs(it), axis=1, keepdims=true))\")",
            "Expr(\"(it - mean(it, axis=1, keepdims=true)) * 2\")",
            "Expr(\"it * max(it, axis=1, keepdims=true)\")",
            "Expr(\"cumsum(it, axis=1)\")",
        ];
        match self.below(10) {
            0..=2 => self.pick(&reduced).to_owned(),
            3 => format!("Expr(\"it + {}[:{}]\")", self.constant(), ", none".repeat(rank - 1)),
            _ => self.pick(&layers).to_owned(),
        }
    }

    /// A number for each sample, of constants: which of them are small depends on the batch.
    fn constant(&mut self) -> String {
        let function = self.pick(&["sum", "mean", "var"]);
        format!("{function}(full([size(0), {}], 0.1), axis=1)", self.pick(&[20, 100, 300, 1000]))
    }

    /// A net of images, and its input.
    fn images(&mut self) -> (String, String) {
        let (channels, mut extent) = (self.pick(&[1, 3, 8]), self.pick(&[5, 6, 8, 9]));
        let input = format!("f32[batch, {channels}, {extent}, {}]", extent + self.below(2));
        let mut body = Vec::new();
        for _ in 0..3 + self.below(4) {
            let features = self.pick(&[4, 6, 8, 16, 17, 32]);
            body.push(match self.below(9) {
                0 | 1 => format!("Conv2d(features: {features}, kernel: 3, padding: 1)"),
                2 => format!("Conv2d(features: {features}, kernel: 1, bias: false), BatchNorm"),
                3 => format!("Conv2d(features: {features}, kernel: 3, padding: 1), BatchNorm, Relu"),
                4 if extent > 4 => {
                    extent = extent.div_ceil(2);
                    format!("Conv2d(features: {features}, kernel: 3, stride: 2, padding: 1)")
                }
                5 if extent > 4 => {
                    extent /= 2;
                    let pools = [
                        "MaxPool2d(2)",
                        "AvgPool2d(2)",
                        "MaxPool2d(2, 2, [[0, 1], [0, 1]], 2)",
                        "AvgPool2d(2, 2, [[0, 1], [0, 1]], false, false, dilation: 2)",
                    ];
                    self.pick(&pools).to_owned()
                }
                6 => "Conv2d(features: \"size(1)\", kernel: 3, padding: 1, groups: \"size(1)\")".to_owned(),
                7 => format!("ConvTranspose2d({features}, 1), InstanceNorm"),
                _ => self.same(4),
            });
        }
        body.push(self.pick(&["GlobalAvgPool", "Flatten", "GlobalMaxPool"]).to_owned());
        body.push(format!("Linear({}), BatchNorm", self.pick(&[1, 5, 16, 40])));
        (input, body.join(", "))
    }

    /// A net of vectors or sequences of them.
    fn vectors(&mut self) -> (String, String) {
        let width = self.pick(&[1, 7, 16, 64, 100]);
        let sequence = self.below(2) == 0;
        let input = if sequence {
            format!("f32[batch, {}, {width}]", 1 + self.below(6))
        } else {
            format!("f32[batch, {width}]")
        };
        let mut body = Vec::new();
        for _ in 0..3 + self.below(4) {
            let features = self.pick(&[1, 4, 8, 33, 64, 256]);
            body.push(match self.below(6) {
                0 | 1 => format!("Linear({features})"),
                2 => format!("Linear({features}), LayerNorm"),
                3 if !sequence => format!("Linear({features}), BatchNorm"),
                4 if sequence => {
                    let attention = self.pick(&[
                        "2",
                        "2, causal: true, key_mask: \"it[:, :, 0] > 0\"",
                        "2, key_mask: \"it[:, :, 0]\", key: \"it * 0.5\", value: \"it[:, :, :6]\"",
                    ]);
                    format!("Linear(8), MultiHeadAttention({attention})")
                }
                5 if sequence => "Transpose([1, 0, 2]), Expr(\"it * 0.25\"), Transpose([1, 0, 2])".to_owned(),
                _ => self.same(if sequence { 3 } else { 2 }),
            });
        }
        (input, body.join(", "))
    }

    /// A net whose samples are columns, or lie in the middle.
    fn last(&mut self) -> (String, String) {
        let middle = self.below(2) == 0;
        let mut rows = self.pick(&[2, 5, 16, 40]);
        let behind = self.pick(&[1, 3, 20]);
        let input =
            if middle { format!("f32[{rows}, batch, {behind}]") } else { format!("f32[{rows}, batch]") };
        let mut body = Vec::new();
        for layer in 0..3 + self.below(4) {
            body.push(match self.below(7) {
                0 | 1 => {
                    let from = rows;
                    rows = self.pick(&[2, 8, 33]);
                    let product = if middle {
                        let inside = format!("reshape(it, [{from}, size(1) * {behind}])");
                        format!("reshape(w{layer} @ {inside}, [{rows}, size(1), {behind}])")
                    } else {
                        format!("w{layer} @ it")
                    };
                    let weights =
                        format!("Parameter(name: \"w{layer}\", dims: [{rows}, {from}], init: Normal(0.3))");
                    format!(
                        "As(\"v{layer}\"), {weights}, As(\"w{layer}\"), Ref(\"v{layer}\"), Expr(\"{product}\")"
                    )
                }
                2 => "Expr(\"softmax(it, axis=0)\")".to_owned(),
                3 => "Expr(\"it - mean(it, axis=0, keepdims=true)\")".to_owned(),
                4 => "Expr(\"it / sqrt(0.1 + sum(it * it * 0.5, axis=0, keepdims=true))\")".to_owned(),
                5 if middle => "Expr(\"it / (2 + mean(it * it, axis=[0, 2], keepdims=true))\")".to_owned(),
                5 => "Expr(\"cumsum(it, axis=0) * 3\")".to_owned(),
                _ => self.pick(&["Tanh", "Relu", "Expr(\"it * 0.5 + 1\")"]).to_owned(),
            });
        }
        if self.below(4) == 0 {
            let behind = if middle { "[:, none]" } else { "" };
            body.push(format!("Expr(\"it - sum(full([300, size(1)], 0.1), axis=0){behind}\")"));
        }
        if self.below(2) == 0 {
            body.push("Expr(\"sum(it * 3, axis=0)\")".to_owned());
        }
        (input, body.join(", "))
    }
}

/// `BROLGA_CASES` sets the number of models.
#[test]
fn random_models() {
    for seed in 0..cases(60) {
        let mut random = Random(Lcg(seed * 7919 + 1));
        let (input, body) = match seed % 3 {
            0 => random.images(),
            1 => random.vectors(),
            _ => random.last(),
        };
        let text = infer(&input, &body);
        let model = model(&format!("model {seed}"), &text, CompileOptions::default());
        let mut case = Case::new(&format!("model {seed}: {text}"), &model);
        case.check(&three(), 1);
        case.check(&mixed(16), 2);
        case.check(&mixed(2), 2);
    }
}

/// Constants with a row for each sample, as many as the batch has: small ones for a small batch. The second has rows of
/// different numbers.
const CONSTANTS: [&str; 2] = [
    "full([size(x, 0), 300], 0.1)",
    "concat([full([size(x, 0), 150], 0.7), full([size(x, 0), 150], 0.1)], axis=1)",
];

/// What each function and operator of the language makes of a constant, or of two, along its rows.
fn forms(constant: &str) -> Vec<String> {
    let mut forms = vec![
        format!("{constant} @ full([300, 5], 0.3)"),
        format!("sum(tan({constant}), axis=1)"),
        // What is taken out of a sum is not to depend on what is folded.
        format!("sum(x[:, 0:1] * ({constant} * 0.3), axis=1)"),
        format!("sum(x[:, 0:1] * take({constant}, [0, 1, 1], axis=1), axis=1)"),
        "sum(x * take([0.7, 0.1], zeros([size(x, 0)], 'i32'))[:, none], axis=1)".to_owned(),
    ];
    forms.extend(language::operators().iter().map(|operator| format!("{constant} {operator} {constant}")));
    // What is drawn differs from run to run.
    for function in language::functions().into_iter().filter(|f| !language::draws(f.name)) {
        let named = [("axis", "1"), ("reduction", "'none'")];
        let named = named.iter().filter(|(name, _)| function.argument(name).is_some());
        let named: String = named.map(|(name, value)| format!(", {name}={value}")).collect();
        forms.push(format!("{}({constant}{named})", function.name));
        forms.push(format!("{}({constant}, {constant}{named})", function.name));
        forms.push(format!("{}({constant}, 3{named})", function.name));
    }
    forms
}

fn of_forms(forms: &[String]) -> String {
    let outputs = forms.iter().enumerate().map(|(number, form)| format!("\"y{number}\": \"{form}\""));
    let outputs: Vec<String> = outputs.collect();
    format!(
        "Model(inputs: {{ \"x\": \"f32[batch, 2]\" }}, body: [Relu], entries: {{ \"infer\": Infer(outputs: {{ {} }}) }})",
        outputs.join(", ")
    )
}

/// What is made of constants has the same bits for any batch, whether they are few enough to be computed when compiling
/// or not.
#[test]
fn constants_have_the_same_bits_for_any_batch() {
    let valid = |form: &String| {
        let text = of_forms(std::slice::from_ref(form));
        let builds =
            |batch| Model::from_text("form", &text, &Settings::default().dim("batch", batch)).is_ok();
        builds(1) && builds(3)
    };
    let forms: Vec<String> = CONSTANTS.iter().flat_map(|constant| forms(constant)).filter(valid).collect();
    let text = of_forms(&forms);
    let model = model("constants", &text, CompileOptions::default());
    let mut case = Case::new("constants", &model);
    let samples: Vec<_> = (0..33).map(|sample| (sample, Kind::Plain)).collect();
    let alone = case.results(&samples[..1], 1);
    let mut compared = 0;
    for batch in [3, 4, 33] {
        let together = case.results(&samples[..batch], 2);
        for (number, form) in forms.iter().enumerate() {
            let Some(axis) = case.outputs[number] else { continue };
            let alone = sample_of(&alone[number], Some(axis), (0, 1));
            let found = sample_of(&together[number], Some(axis), (0, batch));
            assert!(found == alone, "{form}: a sample of {batch} has other bits than alone");
            compared += 1;
        }
    }
    case.check(&samples[..3], 2);
    case.check(&samples, 2);
    assert!(compared >= 300, "{compared} of {} forms have a part for each sample", forms.len());
}
