//! Compiling ends, and soon: convolutions of any form, kernel, stride, padding, output padding, dilation, groups, size, batch
//! and number of threads, forward and in training, from the model's text to machine code.
//!
//! And layers with large kernels and windows, and blocks that are repeated.
//!
//! 200 cases by a fixed seed, every fifth of them and all the large ones through code generation; `BROLGA_CASES=5000` tries as
//! many, each through it. What hangs fails: the cases run on a thread of their own, which is waited for so long and no longer.
//! Up to the program it is this thread's processor time that counts. Code is generated on all threads, beside other tests:
//! there it is the time of day, and the shortest of three times where the first is too long, and the size of the code.

use std::fmt::Write as _;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use brolga::{CompileOptions, Compiler, Model, Settings};
use brolga_ir::generate::Rng;

use crate::common::cases;
use crate::common::time::processor_time;

/// What one case may take of a processor's time, and what is waited for it on a busy machine.
const LIMIT: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(60);
/// Bytes of machine code of an entry. A depthwise kernel of 128 x 128 takes most with its gradients: 1.8 MB, and 2.4 MB of
/// AVX-512's instructions, which are longer.
const CODE: usize = 3 << 20;
/// The same of one case among thousands: kernels of three axes, each with phases and borders of its own, are of many kinds.
const MOST_CODE: usize = 24 << 20;
/// One case in so many goes through code generation.
const THINNED: usize = 5;

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
            // As in PyTorch, below the stride or below the dilation.
            let more = rng.below(s.max(d));
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

/// What a case asks for.
#[derive(Clone)]
struct Asked {
    text: String,
    threads: usize,
    /// Whether code is generated.
    code: bool,
}

/// What the longer, and larger, of two entries took.
#[derive(Clone, Copy, Default, Debug)]
struct Taken {
    program: Duration,
    code: Duration,
    bytes: usize,
}

/// Compiles both entries of a model.
fn compile(asked: &Asked) -> Result<Taken, String> {
    let model =
        Model::from_text("case.ron", &asked.text, &Settings::default()).map_err(|error| error.to_string())?;
    let mut options = CompileOptions::default();
    options.passes.threads = Some(asked.threads);
    let mut longest = Taken::default();
    for entry in ["infer", "train"] {
        let start = processor_time();
        let mut compiler = Compiler::new(&options);
        let graph = model.graph(entry).map_err(|error| error.to_string())?;
        let optimised = compiler.optimise(graph).map_err(|error| error.to_string())?;
        let program = compiler.lower(&optimised).map_err(|error| error.to_string())?;
        longest.program = longest.program.max(processor_time() - start);
        if !asked.code {
            continue;
        }
        let mut shortest = Duration::MAX;
        for _ in 0..3 {
            let start = Instant::now();
            let compiled = compiler.emit(&program).map_err(|error| error.to_string())?;
            shortest = shortest.min(start.elapsed());
            longest.bytes = longest.bytes.max(compiled.code_bytes);
            if shortest <= LIMIT {
                break;
            }
        }
        longest.code = longest.code.max(shortest);
    }
    Ok(longest)
}

/// Compiles cases on another thread; what each took, in order. Panics where one does not come back.
fn watched(cases: Vec<Asked>) -> Vec<(String, Taken)> {
    let (send, receive) = mpsc::channel();
    let todo = cases.clone();
    std::thread::spawn(move || {
        for asked in todo {
            if send.send(compile(&asked)).is_err() {
                return;
            }
        }
    });
    let mut all = Vec::new();
    for Asked { text, threads, .. } in cases {
        let found = receive.recv_timeout(PATIENCE);
        let found = found.unwrap_or_else(|error| panic!("compiling with {threads} threads: {error}\n{text}"));
        all.push((text.clone(), found.unwrap_or_else(|error| panic!("{threads} threads: {error}\n{text}"))));
    }
    all
}

/// Fails if one took longer than `limit`, to the program or from there, or is larger than code may be.
fn judge(mut all: Vec<(String, Taken)>, limit: Duration, code: usize) {
    all.sort_by_key(|(_, taken)| taken.program.max(taken.code));
    for (text, taken) in all.iter().rev().take(5) {
        println!("{:>10.1?} {:>10.1?} {:>8} bytes  {text}", taken.program, taken.code, taken.bytes);
    }
    println!("the most code: {} bytes", all.iter().map(|(_, taken)| taken.bytes).max().unwrap_or(0));
    let slow = |taken: &Taken| taken.program > limit || taken.code > limit || taken.bytes > code;
    let slow: Vec<_> = all.iter().filter(|(_, taken)| slow(taken)).collect();
    assert!(slow.is_empty(), "{} cases take more than {limit:?} or {code} bytes: {slow:#?}", slow.len());
}

#[test]
fn convolutions_compile_within_a_second() {
    let mut rng = Rng(23);
    let (count, all) = (cases(200) as usize, cases(0) > 0);
    let asked = (0..count).map(|number| {
        let (text, threads) = case(&mut rng);
        Asked { text, threads, code: all || number.is_multiple_of(THINNED) }
    });
    let asked: Vec<Asked> = asked.collect();
    // The forms that are easily missed are among them.
    let has = |asked: &&Asked, what: &str| asked.text.contains(what);
    for what in ["groups: 3", "stride: [4", "dilation: [3", "output_padding: [2", "ConvTranspose3d"] {
        assert!(asked.iter().filter(|asked| has(asked, what)).count() > 0, "no case with {what}");
    }
    judge(watched(asked), LIMIT, if all { MOST_CODE } else { CODE });
}

/// Inputs and bodies whose time once grew with the area of a kernel, or with the square of a number of layers.
const LARGE: [(&str, &str); 19] = [
    ("f32[64, 1, 16, 16]", "ConvTranspose2d(features: 1, kernel: 256)"),
    ("f32[64, 1, 16, 16]", "ConvTranspose2d(features: 1, kernel: 256, stride: 256)"),
    ("f32[2, 4, 9, 9]", "ConvTranspose2d(features: 4, kernel: 100, stride: 3, dilation: 2, groups: 4)"),
    ("f32[2, 3, 200, 200]", "Conv2d(features: 8, kernel: 128, padding: 64)"),
    ("f32[2, 8, 200, 200]", "Conv2d(features: 8, kernel: 128, padding: 64, groups: 8)"),
    ("f32[2, 1, 16, 16]", "Conv2d(features: 1, kernel: [1, 16384], padding: [0, 16384])"),
    ("f32[1, 1, 9]", "Conv1d(features: 1, kernel: 1048576, padding: 1048576)"),
    ("f32[1, 1, 9]", "ConvTranspose1d(features: 1, kernel: 1048576, stride: 1048576)"),
    ("f32[1, 1, 20, 20, 20]", "Conv3d(features: 1, kernel: 20, padding: 19)"),
    // A kernel of a leaf for each tap, whose tables did not find room on the stack.
    (
        "f32[1, 64, 25, 13, 5]",
        "ConvTranspose3d(64, [8, 5, 3], 2, [2, 4, 0], dilation: [3, 2, 1], groups: 64)",
    ),
    ("f32[1, 1, 5, 5, 5]", "ConvTranspose3d(features: 1, kernel: 20, stride: 20)"),
    ("f32[2, 1, 300, 300]", "AvgPool2d(kernel: 256, stride: 1, padding: 128)"),
    ("f32[2, 1, 300, 300]", "MaxPool2d(kernel: 256, stride: 1, padding: 128)"),
    ("f32[2, 1, 30000]", "MaxPool1d(kernel: 25600, stride: 1, padding: 12800)"),
    ("f32[2, 1, 8, 8]", "AvgPool2d(131072, 131072, 65536)"),
    ("f32[2, 1, 8, 8]", "MaxPool2d(131072, 131072, 131071)"),
    ("f32[1, 1, 8, 8, 8]", "AvgPool3d(4096, 4096, 2048)"),
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
        Asked { text, threads: 2, code: true }
    };
    judge(watched(LARGE.iter().map(case).collect()), 2 * LIMIT, CODE);
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
    let asked =
        |text: String| (1..=5).map(move |threads| Asked { text: text.clone(), threads, code: threads == 2 });
    watched(cases.into_iter().flat_map(asked).collect());
}
