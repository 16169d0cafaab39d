//! Compiling ends, and soon: convolutions of any form, kernel, stride, padding, dilation, groups, size, batch and number of
//! threads, forward and in training, from the model's text to the program.
//!
//! And layers with large kernels and windows, and blocks that are repeated.
//!
//! 200 cases by a fixed seed; `BROLGA_CASES=5000` tries as many. What hangs fails: the cases run on a thread of their own,
//! which is waited for so long and no longer.

use std::fmt::Write as _;
use std::sync::mpsc;
use std::time::Duration;

use brolga::{CompileOptions, Compiler, Model, Settings};
use brolga_ir::generate::Rng;

use crate::common::cases;
use crate::common::time::processor_time;

/// What one case may take of a processor's time, and what is waited for it on a busy machine.
const LIMIT: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(60);

/// A convolution, and the extents of its result for extents of its input.
struct Layer {
    text: String,
    features: usize,
    extents: Vec<usize>,
}

/// A layer for an image of so many channels and those extents.
fn layer(rng: &mut Rng, channels: usize, extents: &[usize]) -> Layer {
    let transposed = rng.once_in(3);
    let features = rng.of(&[1, 2, 3, 4, 6, 8, 16, 24, 32, 48, 64]);
    let groups = if rng.once_in(3) { [channels, 2, 3][rng.below(3)] } else { 1 };
    let features = if groups == channels && rng.once_in(2) { channels } else { features };
    let groups = if channels.is_multiple_of(groups) && features.is_multiple_of(groups) { groups } else { 1 };
    let (mut kernel, mut stride, mut padding, mut dilation, mut extra) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut result = Vec::new();
    for &extent in extents {
        let (k, s, d) =
            (1 + rng.below(8), 1 + rng.below(4), if rng.once_in(3) { 1 + rng.below(3) } else { 1 });
        let reach = d * (k - 1) + 1;
        if transposed {
            let whole = (extent - 1) * s + reach;
            let p = rng.below(k).min((whole - 1) / 2);
            let more = rng.below(s);
            result.push(whole - 2 * p + more);
            padding.push(p);
            extra.push(more);
        } else {
            let p = rng.below(k).max((reach.saturating_sub(extent)).div_ceil(2));
            result.push((extent + 2 * p - reach) / s + 1);
            padding.push(p);
        }
        kernel.push(k);
        stride.push(s);
        dilation.push(d);
    }
    let name = if transposed { "ConvTranspose" } else { "Conv" };
    let mut text = format!(
        "{name}{}d(features: {features}, kernel: {kernel:?}, stride: {stride:?}, padding: {padding:?}, dilation: \
         {dilation:?}, groups: {groups}",
        extents.len()
    );
    if transposed {
        write!(text, ", output_padding: {extra:?}").unwrap();
    }
    text.push(')');
    Layer { text, features, extents: result }
}

/// A model of one or two convolutions, and a number of threads.
fn case(rng: &mut Rng) -> (String, usize) {
    let axes = 1 + rng.below(3);
    let extents: Vec<usize> = (0..axes).map(|_| 1 + 2 * rng.below(17)).collect();
    let channels = rng.of(&[1, 2, 3, 4, 8, 16, 32, 64]);
    let batch = 1 + rng.below(5);
    let first = layer(rng, channels, &extents);
    let mut body = first.text.clone();
    if rng.once_in(3) {
        write!(body, ", {}", layer(rng, first.features, &first.extents).text).unwrap();
    }
    let dims: Vec<String> = extents.iter().map(usize::to_string).collect();
    let text = format!(
        "Model(inputs: {{ \"x\": \"f32[{batch}, {channels}, {}]\" }}, body: [{body}], entries: {{ \"infer\": \
         Infer(outputs: {{ \"y\": \"it\" }}), \"train\": Train(loss: \"mean(it * it)\", optimizer: Sgd(lr: 0.1)) }})",
        dims.join(", ")
    );
    (text, 1 + rng.below(5))
}

/// Compiles both entries of a model; how long the longer one took.
fn compile(text: &str, threads: usize) -> Result<Duration, String> {
    let model =
        Model::from_text("case.ron", text, &Settings::default()).map_err(|error| error.to_string())?;
    let mut options = CompileOptions::default();
    options.passes.threads = Some(threads);
    let mut longest = Duration::ZERO;
    for entry in ["infer", "train"] {
        let start = processor_time();
        let mut compiler = Compiler::new(&options);
        let graph = model.graph(entry).map_err(|error| error.to_string())?;
        let optimised = compiler.optimise(graph).map_err(|error| error.to_string())?;
        compiler.lower(&optimised).map_err(|error| error.to_string())?;
        longest = longest.max(processor_time() - start);
    }
    Ok(longest)
}

/// Compiles cases on another thread; what each took, in order. Panics where one does not come back.
fn watched(cases: Vec<(String, usize)>) -> Vec<(String, Duration)> {
    let (send, receive) = mpsc::channel();
    let todo = cases.clone();
    std::thread::spawn(move || {
        for (text, threads) in todo {
            if send.send(compile(&text, threads)).is_err() {
                return;
            }
        }
    });
    let mut all = Vec::new();
    for (text, threads) in cases {
        let found = receive.recv_timeout(PATIENCE);
        let found = found.unwrap_or_else(|error| panic!("compiling with {threads} threads: {error}\n{text}"));
        all.push((text.clone(), found.unwrap_or_else(|error| panic!("{threads} threads: {error}\n{text}"))));
    }
    all
}

#[test]
fn convolutions_compile_within_a_second() {
    let mut rng = Rng(23);
    let mut all = watched((0..cases(200)).map(|_| case(&mut rng)).collect());
    all.sort_by_key(|(_, taken)| *taken);
    for (text, taken) in all.iter().rev().take(5) {
        println!("{taken:>10.1?}  {text}");
    }
    let slow: Vec<_> = all.iter().filter(|(_, taken)| *taken > LIMIT).collect();
    assert!(slow.is_empty(), "{} cases take more than {LIMIT:?}: {slow:#?}", slow.len());
}

/// Inputs and bodies whose time once grew with the area of a kernel, or with the square of a number of layers.
const LARGE: [(&str, &str); 15] = [
    ("f32[64, 1, 16, 16]", "ConvTranspose2d(features: 1, kernel: 256)"),
    ("f32[64, 1, 16, 16]", "ConvTranspose2d(features: 1, kernel: 256, stride: 256)"),
    ("f32[2, 4, 9, 9]", "ConvTranspose2d(features: 4, kernel: 100, stride: 3, dilation: 2, groups: 4)"),
    ("f32[2, 3, 200, 200]", "Conv2d(features: 8, kernel: 128, padding: 64)"),
    ("f32[2, 8, 200, 200]", "Conv2d(features: 8, kernel: 128, padding: 64, groups: 8)"),
    ("f32[2, 1, 16, 16]", "Conv2d(features: 1, kernel: [1, 16384], padding: [0, 16384])"),
    ("f32[1, 1, 9]", "Conv1d(features: 1, kernel: 1048576, padding: 1048576)"),
    ("f32[1, 1, 9]", "ConvTranspose1d(features: 1, kernel: 1048576, stride: 1048576)"),
    ("f32[1, 1, 20, 20, 20]", "Conv3d(features: 1, kernel: 20, padding: 19)"),
    ("f32[1, 1, 5, 5, 5]", "ConvTranspose3d(features: 1, kernel: 20, stride: 20)"),
    ("f32[2, 1, 300, 300]", "AvgPool2d(kernel: 256, stride: 1, padding: 128)"),
    ("f32[2, 1, 300, 300]", "MaxPool2d(kernel: 256, stride: 1, padding: 128)"),
    ("f32[2, 1, 30000]", "MaxPool1d(kernel: 25600, stride: 1, padding: 12800)"),
    ("f32[2, 1]", "Repeat(16, [Expr(\"concat([it, it], 1)\")])"),
    ("f32[2, 1]", "Repeat(28, [Expr(\"concat([it, it], 1)\")])"),
];

#[test]
fn large_sizes_compile_within_two_seconds() {
    let case = |(input, body): &(&str, &str)| {
        let text = format!(
            "Model(inputs: {{ \"x\": \"{input}\" }}, body: [Parameter([1]), Expr(\"x * it\"), {body}], entries: {{ \
             \"infer\": Infer(outputs: {{ \"y\": \"it\" }}), \"train\": Train(loss: \"mean(it * it)\", optimizer: Sgd(lr: \
             0.1)) }})"
        );
        (text, 2)
    };
    let all = watched(LARGE.iter().map(case).collect());
    let slow: Vec<_> = all.iter().filter(|(_, taken)| *taken > 2 * LIMIT).collect();
    assert!(slow.is_empty(), "{slow:#?}");
}

#[test]
fn boxes_that_are_rounded_up_to_a_period_end() {
    let model = |dims: &str, body: &str| {
        format!(
            "Model(inputs: {{ \"x\": \"{dims}\" }}, body: [{body}], entries: {{ \"infer\": Infer(outputs: {{ \"y\": \
             \"it\" }}), \"train\": Train(loss: \"mean(it * it)\", optimizer: Sgd(lr: 0.1)) }})"
        )
    };
    let transposed = model("f32[1, 64, 14, 14]", "ConvTranspose2d(features: 32, kernel: 2, stride: 2)");
    let behind = model(
        "f32[1, 16, 28, 28]",
        "Conv2d(features: 64, kernel: 3, padding: 1), Conv2d(features: 64, kernel: 3, stride: 2, padding: 1)",
    );
    let cases = [transposed, behind];
    watched(cases.iter().flat_map(|text| (1..=5).map(|threads| (text.clone(), threads))).collect());
}
