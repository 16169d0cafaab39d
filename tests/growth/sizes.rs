//! Layers by all sizes that they have, their arguments and the axes of their input, and layers and functions by how often they
//! are there.

use brolga::frontend::language;
use brolga::{CompileOptions, Compiler, Model, Settings};
use brolga_ir::Graph;
use brolga_ir::program::Program;

use super::{Done, Size, calls_of_functions, done, lower, lower_counted, size};
use crate::common::growing::{ARGUMENTS, DENSE, repeated_text, window_text};
use crate::common::layers::LAYERS;

/// The work and the size of a layer's training.
fn trained(call: &str, input: &str, n: usize) -> (Done, Size) {
    let text = window_text(&("", call, input), n);
    let model = Model::from_text("layer.ron", &text, &Settings::default());
    let program = lower(&model.unwrap_or_else(|e| panic!("{text}: {e}")), "train");
    (done(&program), size(&program))
}

/// Executed statements may grow by so much for eight times the size: of a condition the longer side counts, so a kernel that has code
/// of its own for either border counts up to three times where a smaller one has none. What is quadratic grows by 64.
const LINEAR: f64 = 26.0;

/// What is wrong unless eight times the size is at most so many times the statements. Bytes are not asked for: what is local at a
/// small size goes through memory several times at a large one.
fn beyond(what: &str, few: &Done, many: &Done, factor: f64) -> Option<String> {
    let (few, many) = (few.statements, many.statements);
    let wrong = many as f64 > factor * few as f64 + 4096.0;
    wrong.then(|| format!("{what}: {few} statements at n, {many} at 8 n ({:.1})", many as f64 / few as f64))
}

/// Arguments that are sizes, other than those of windows.
const SIZES: [&str; 7] = ["features", "groups", "stride", "dilation", "heads", "pieces", "vocabulary"];

#[test]
fn layers_are_linear_in_their_arguments() {
    for layer in language::layers() {
        let sized = SIZES.into_iter().any(|name| layer.argument(name).is_some());
        assert!(!sized || ARGUMENTS.iter().any(|row| row.0 == layer.name), "{} has no row", layer.name);
    }
    let mut wrong = Vec::new();
    for &(_, call, input, power) in ARGUMENTS {
        let ((few, small), (many, large)) = (trained(call, input, 64), trained(call, input, 512));
        wrong.extend(beyond(call, &few, &many, LINEAR * 8_f64.powi(power as i32 - 1)));
        if large.statements > 10 * small.statements + 400 {
            wrong.push(format!("{call}: {small:?} at n, {large:?} at 8 n"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Layers whose work is quadratic along an axis: all positions with each other, all features with each other.
const QUADRATIC: [&str; 1] = ["MultiHeadAttention"];

#[test]
fn layers_are_linear_in_every_axis() {
    let mut wrong = Vec::new();
    for row in LAYERS {
        let Some((dtype, dims)) = row.input.and_then(|input| input.strip_suffix(']')?.split_once('[')) else {
            continue;
        };
        let dims: Vec<usize> = dims.split(", ").map(|size| size.parse().unwrap_or(4)).collect();
        for axis in 0..dims.len() {
            let measured = |factor: usize| {
                let mut dims = dims.clone();
                dims[axis] *= factor;
                let dims: Vec<String> = dims.iter().map(usize::to_string).collect();
                trained(row.call, &format!("{dtype}[{}]", dims.join(", ")), 0).0
            };
            let factor = if QUADRATIC.contains(&row.name) && axis > 0 { 72.0 } else { LINEAR };
            let what = format!("{} on {}, axis {axis}", row.call, row.input.unwrap_or_default());
            wrong.extend(beyond(&what, &measured(32), &measured(256), factor));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A model that adds up the results of a body, so many times: the program of an entry, and its graph's nodes. The body begins
/// with the sum so far, which it knows as `acc`, and the repetition is `k`.
fn added_up(inputs: &str, start: &str, body: &str, entry: &str, n: usize) -> (Program, usize) {
    let text = format!(
        "Model(inputs: {{ {inputs} }}, body: [Parameter(name: \"w\", dims: [1]), As(\"c\"), {start} Expr(\"sum(c)\"), \
         Repeat(times: {n}, index: \"k\", body: [As(\"acc\"), {body}])], entries: {{ \"infer\": Infer(outputs: {{ \"y\": \
         \"it\" }}), \"train\": Train(loss: \"it\", optimizer: Sgd(lr: 0.1)) }})"
    );
    let model = Model::from_text("added.ron", &text, &Settings::default());
    lower_counted(&model.unwrap_or_else(|e| panic!("{text}: {e}")), entry)
}

/// What is wrong unless eight times the repetitions are at most ten times the nodes, statements and calls.
fn repeated_is_wrong(what: &str, at: impl Fn(usize) -> (Program, usize)) -> Option<String> {
    let measured = |n: usize| {
        let (program, nodes) = at(n);
        (nodes, size(&program))
    };
    let ((few_nodes, few), (many_nodes, many)) = (measured(2), measured(16));
    let counts = [(few_nodes, many_nodes), (few.statements, many.statements), (few.calls, many.calls)];
    let wrong = counts.into_iter().any(|(few, many)| many > 10 * few + 100);
    wrong.then(|| format!("{what}: {few_nodes} nodes, {few:?} at n, {many_nodes} nodes, {many:?} at 8 n"))
}

#[test]
fn repeated_layers_are_linear() {
    let mut wrong = Vec::new();
    for row in LAYERS {
        let input = row.input.unwrap_or("f32[4, 8]").replace("batch", "4");
        let inputs = format!("\"s\": \"{input}\"");
        let times = if input.starts_with("f32") { "s * c" } else { "s" };
        let start = format!("Expr(\"{times}\"), As(\"x\"),");
        let body = format!("Expr(\"x\"), {}, Expr(\"acc + mean(it * it)\")", row.call);
        wrong.extend(repeated_is_wrong(row.call, |n| added_up(&inputs, &start, &body, "train", n)));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn functions_are_linear() {
    let mut wrong = Vec::new();
    for (call, trains) in calls_of_functions() {
        let lowered = |batch: usize, n: usize| {
            let inputs =
                format!("\"s\": \"f32[{batch}, 12]\", \"z\": \"f32[{batch}, 12]\", \"i\": \"i32[{batch}]\"");
            let call = call.replace("batch", &batch.to_string());
            // Each repetition has an x of its own, so that none is taken for another.
            let body = format!("Expr(\"s * (c + k)\"), As(\"x\"), Expr(\"acc + mean(cast({call}, 'f32'))\")");
            added_up(&inputs, "", &body, if trains { "train" } else { "infer" }, n)
        };
        wrong.extend(repeated_is_wrong(&call, |n| lowered(4, n)));
        // Sorting takes n log n.
        wrong.extend(beyond(&call, &done(&lowered(512, 1).0), &done(&lowered(4096, 1).0), 13.0));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The operands of all nodes of a graph and of the regions inside.
fn operands(graph: &Graph) -> usize {
    let of = |id| {
        let node = graph.node(id);
        node.operands.len() + node.op.regions().into_iter().map(operands).sum::<usize>()
    };
    graph.nodes().map(of).sum()
}

/// The parts of what a dense block joins would be quadratic in its layers, if each layer listed them all.
#[test]
fn dense_blocks_are_linear() {
    for entry in ["infer", "train"] {
        let measured = |n: usize| {
            let text = repeated_text(&DENSE, n);
            let model = Model::from_text("dense.ron", &text, &Settings::default());
            let model = model.unwrap_or_else(|e| panic!("{text}: {e}"));
            let mut compiler = Compiler::new(&CompileOptions::default());
            let optimised =
                compiler.optimise(model.graph(entry).unwrap()).unwrap_or_else(|e| panic!("{entry}: {e}"));
            operands(&optimised)
        };
        let (few, many) = (measured(30), measured(240));
        assert!(many <= 10 * few, "{entry}: {few} operands at n, {many} at 8 n");
    }
}
