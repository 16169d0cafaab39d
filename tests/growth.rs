//! What programs grow with: not with the batch, and no faster than the work that a model asks for.
//!
//! Kernels, calls and statements are counted, and executed statements, operations and bytes at n and 8 n (`benches/growth.rs`
//! has times).

mod sizes;
mod steps;

use brolga::frontend::language;
use brolga::{CompileOptions, Compiler, Model, Settings};
use brolga_ir::index::{Atom, Index};
use brolga_ir::ops::Op;
use brolga_ir::program::walk::walk;
use brolga_ir::program::{Arg, Place, Program, Step, work};
use brolga_ir::{DType, Graph};

use crate::common::growing::{
    NOT_RUN, REPEATED, SORTING, UNROLLED, WINDOWS, graphs_of, repeated_text, unrolled_text, whole,
    window_text,
};
use crate::common::layers::LAYERS;

/// The size of a program: it is what the stages behind lowering take their time for.
#[derive(Debug, PartialEq)]
struct Size {
    kernels: usize,
    calls: usize,
    statements: usize,
}

impl Size {
    /// By how many kernels, calls and statements it is larger.
    fn beyond(&self, few: &Size) -> [usize; 3] {
        [
            self.kernels.saturating_sub(few.kernels),
            self.calls.saturating_sub(few.calls),
            self.statements.saturating_sub(few.statements),
        ]
    }
}

fn calls(steps: &[Step]) -> usize {
    let of = |step: &Step| match step {
        Step::Call(_) => 1,
        step => step.bodies().into_iter().map(|body| calls(body)).sum(),
    };
    steps.iter().map(of).sum()
}

fn size(program: &Program) -> Size {
    Size {
        kernels: program.kernels.len(),
        calls: calls(&program.schedule),
        statements: program.kernels.iter().map(|kernel| walk(&kernel.body).count()).sum(),
    }
}

fn lower(model: &Model, entry: &str) -> Program {
    lower_counted(model, entry).0
}

/// An entry's program, and how many nodes its graph had behind all passes.
fn lower_counted(model: &Model, entry: &str) -> (Program, usize) {
    let mut compiler = Compiler::new(&CompileOptions::default());
    let optimised = compiler.optimise(model.graph(entry).unwrap()).unwrap_or_else(|e| panic!("{entry}: {e}"));
    let program = compiler.lower(&optimised).unwrap_or_else(|e| panic!("{entry}: {e}")).into_program();
    (program, nodes(&optimised))
}

/// Quotients and remainders in one index of a program, at most: twice what four transposes that are reshaped back have.
const DIVISIONS: usize = 80;

/// The most quotients and remainders in one index.
fn divisions(program: &Program) -> usize {
    let in_index = |index: &Index| {
        let mut count = 0;
        index.visit(&mut |atom| count += usize::from(matches!(atom, Atom::Div(..) | Atom::Rem(..))));
        count
    };
    let statements = program.kernels.iter().flat_map(|kernel| walk(&kernel.body));
    statements.flat_map(|statement| statement.indices()).map(in_index).max().unwrap_or(0)
}

/// The nodes of a graph and of the regions inside.
fn nodes(graph: &Graph) -> usize {
    let of = |id| 1 + graph.node(id).op.regions().into_iter().map(nodes).sum::<usize>();
    graph.nodes().map(of).sum()
}

/// A model of one layer, and what it is trained for: the layer's input is what another made, so that it gets a gradient.
fn model(call: &str, input: Option<&str>) -> String {
    let (input, body) = match input {
        None => ("f32[batch, 4]", format!("{call}, Expr(\"x @ transpose(it, [1, 0])\")")),
        Some(ty) if ty.starts_with("f32") => (ty, format!("Parameter([1]), Expr(\"x * it\"), {call}")),
        Some(ty) => (ty, call.to_owned()),
    };
    format!(
        "Model(inputs: {{ \"x\": \"{input}\" }}, body: [{body}], entries: {{ \"infer\": Infer(outputs: {{ \"y\": \
         \"it\" }}), \"train\": Train(loss: \"mean(it * it)\", optimizer: Sgd(lr: 0.1)) }})"
    )
}

/// The model for so many samples; nothing if it is one and a layer needs several.
fn at_batch(text: &str, batch: usize) -> Option<Model> {
    let settings = Settings::default().dim("batch", batch);
    match Model::from_text("layer.ron", text, &settings) {
        Ok(model) => Some(model),
        Err(error) if batch == 1 && error.to_string().contains("more than one value per channel") => None,
        Err(error) => panic!("{text}: {error}"),
    }
}

/// The batch whose programs others are compared with: beyond it sums have blocks, and what is joined at few samples is apart.
const FROM: usize = 128;

/// Batches that programs are compared at; all of those of `BROLGA_CASES` where that is set.
fn batches() -> Vec<usize> {
    match std::env::var_os("BROLGA_CASES") {
        Some(_) => vec![1, 2, 3, 5, 8, 64, 1000, 4096, 32_768, 100_000],
        None => vec![8, 4096, 100_000],
    }
}

/// Kernels or calls, and statements, that a program may have more than that for [`FROM`] samples. Measured over all layers:
/// 4 and 17 at inference, and 14 and 369 in training up to 32,768 samples, which are 15 rounds of combining blocks of a
/// sum. Where the batch is no multiple, what is left over is written out, too: 224 statements at inference, and 688 in training.
/// Recurrent layers have several products: those of the input and of the state, for each layer and direction.
fn allowed(name: &str, entry: &str, batch: usize) -> (usize, usize) {
    let products = if name.contains("Rnn") || name.contains("Lstm") || name.contains("Gru") { 4 } else { 1 };
    let (steps, statements) = match (entry, batch.is_multiple_of(FROM)) {
        ("infer", true) => (4, 20),
        ("infer", false) => (4, 240),
        (_, true) => (16, 400),
        (_, false) => (16, 720),
    };
    (products * steps, products * statements)
}

#[test]
fn programs_do_not_grow_with_the_batch() {
    let (mut wrong, mut most) = (Vec::new(), [[0; 3]; 4]);
    for row in LAYERS {
        let text = model(row.call, row.input);
        for entry in ["infer", "train"] {
            let few = size(&lower(&at_batch(&text, FROM).expect("enough samples"), entry));
            for batch in batches() {
                let Some(model) = at_batch(&text, batch) else { continue };
                let many = size(&lower(&model, entry));
                let more = many.beyond(&few);
                let class = 2 * usize::from(entry == "train") + usize::from(!batch.is_multiple_of(FROM));
                most[class].iter_mut().zip(more).for_each(|(most, more)| *most = more.max(*most));
                let (steps, statements) = allowed(row.name, entry, batch);
                if more[0] > steps || more[1] > steps || more[2] > statements {
                    wrong.push(format!("{} {entry}: {few:?} at {FROM}, {many:?} at {batch}", row.call));
                }
            }
        }
    }
    println!("kernels, calls and statements more, at multiples and others, inference and training: {most:?}");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Functions of expressions with more than one tensor `x`, as they are called for `x` and `z: f32[batch, 12]` and `i:
/// i32[batch]`, some in several ways. All others are called as `name(x)`.
const CALLS: &[(&str, &[&str])] = &[
    ("min", &["min(x, z)", "min(x)", "min(x, axis=0)"]),
    ("max", &["max(x, z)", "max(x)", "max(x, axis=0)"]),
    ("len", &["x * len([1, 2])"]),
    ("range", &["x * sum(range(3))"]),
    ("int", &["x * int(1.5)"]),
    ("float", &["x * float(2)"]),
    ("divisible", &["x * divisible(12, 3)"]),
    ("size", &["x * size(x, 0)"]),
    ("atan2", &["atan2(x, z)"]),
    ("xor", &["xor(x > 0, z > 0)"]),
    ("clip", &["clip(x, 0, 1)"]),
    ("where", &["where(x > 0, x, z)"]),
    ("sum", &["sum(x)", "sum(x, axis=0)", "sum(x, axis=1)"]),
    ("mean", &["mean(x)", "mean(x, axis=0)"]),
    ("prod", &["prod(x)", "prod(x, axis=0)"]),
    ("all", &["all(x > 0)", "all(x > 0, axis=0)"]),
    ("any", &["any(x > 0)", "any(x > 0, axis=0)"]),
    ("norm", &["norm(x)", "norm(x, axis=0)"]),
    ("var", &["var(x)", "var(x, axis=0)"]),
    ("std", &["std(x)", "std(x, axis=0)"]),
    ("argmax", &["argmax(x, axis=0)", "argmax(x, axis=1)"]),
    ("argmin", &["argmin(x, axis=0)", "argmin(x, axis=1)"]),
    ("softmax", &["softmax(x)", "softmax(x, axis=0)"]),
    ("log_softmax", &["log_softmax(x)", "log_softmax(x, axis=0)"]),
    ("logsumexp", &["logsumexp(x, axis=1)", "logsumexp(x, axis=0)"]),
    ("cumsum", &["cumsum(x, axis=0)", "cumsum(x, axis=1)"]),
    ("cumprod", &["cumprod(x, axis=0)", "cumprod(x, axis=1)"]),
    ("matmul", &["matmul(x, transpose(z, [1, 0])[:, :3])", "matmul(transpose(x, [1, 0]), z)"]),
    ("transpose", &["transpose(x, [1, 0])"]),
    ("reshape", &["reshape(x, [batch, 3, 4])"]),
    ("concat", &["concat([x, z], 0)", "concat([x, z], 1)"]),
    ("one_hot", &["one_hot(i, 12)"]),
    ("split", &["split(x, 3)[0]", "split(x, 3)[1] * split(x, 3)[2]"]),
    ("arange", &["x * arange(12)"]),
    ("mask", &["mask(i, 12)"]),
    ("pick", &["pick(x, i)", "pick(x, argmax(z, axis=0)[none], axis=0)"]),
    ("scatter", &["scatter(x, i, z)", "scatter(x[:5], i, z, mode='add')"]),
    ("put", &["put(x, i, 0.5)", "put(x, i, z[:, 0], mode='max')"]),
    ("slice", &["slice(x, i[0], 3, axis=1)", "slice(x, i[0], 4)"]),
    ("update_slice", &["update_slice(x, z[:4], i[0])"]),
    ("pad", &["pad(x, [0, [1, 2]])"]),
    ("shift", &["shift(x, 1)", "shift(x, -2, axis=0)"]),
    ("take", &["take(x, i, axis=0)", "take(z[:5], i, axis=0)"]),
    ("parameter", &["x * parameter('w')"]),
    ("positions", &["positions(x, 0)"]),
    ("zeros", &["zeros([batch, 2])"]),
    ("ones", &["ones([batch, 2])"]),
    ("full", &["full([batch, 2], 3)"]),
    ("eye", &["x @ eye(12)"]),
    ("stack", &["stack([x, z], 0)"]),
    ("cast", &["cast(x, 'i32')"]),
    ("uniform", &["x + uniform([batch, 12])"]),
    ("normal", &["x + normal([batch, 12])"]),
    ("gumbel", &["x + gumbel([batch, 12])"]),
    ("bernoulli", &["bernoulli(sigmoid(x))"]),
    ("categorical", &["categorical(x)", "categorical(x[0], [batch])"]),
    ("permutation", &["permutation(batch)"]),
    ("grad", &["grad(sum(x * x * z), x)"]),
    ("jvp", &["jvp(x * x, x, z)"]),
    ("sort", &["sort(x, axis=0)", "sort(x, axis=1)"]),
    ("argsort", &["argsort(x, axis=0)", "argsort(x, axis=1)"]),
    ("top_k", &["top_k(x, 3, axis=1)[0]", "top_k(x, 3, axis=0)[0]"]),
    ("attention", &["attention(stack([x, z], 1), stack([z, x], 1), stack([x, x], 1))"]),
    ("accuracy", &["accuracy(x, i)"]),
    ("top_k_accuracy", &["top_k_accuracy(x, i, 3)"]),
];

/// Losses: they are trained with, too.
const LOSSES: &[(&str, &str)] = &[
    ("cross_entropy", "cross_entropy(x, i)"),
    ("cross_entropy", "cross_entropy(x, i, smoothing=0.1, ignore_index=3)"),
    ("cross_entropy", "cross_entropy(x, softmax(z))"),
    ("nll", "nll(log_softmax(x), i)"),
    ("mse", "mse(x, z)"),
    ("l1", "l1(x, z)"),
    ("smooth_l1", "smooth_l1(x, z)"),
    ("huber", "huber(x, z)"),
    ("hinge", "hinge(x, z)"),
    ("bce", "bce(sigmoid(x), sigmoid(z))"),
    ("bce_with_logits", "bce_with_logits(x, sigmoid(z))"),
    ("kl", "kl(log_softmax(x), softmax(z))"),
    ("gauss_nll", "gauss_nll(x, z, exp(x))"),
    ("focal", "focal(x, i)"),
];

/// Calls of every function, and whether it is a loss.
fn calls_of_functions() -> Vec<(String, bool)> {
    let mut all = Vec::new();
    // These are of a data set: metrics.
    let functions = language::functions().into_iter().filter(|f| !["r2", "total"].contains(&f.name));
    for function in functions {
        let losses = LOSSES.iter().filter(|row| row.0 == function.name);
        let losses: Vec<_> = losses.map(|row| (row.1.to_owned(), true)).collect();
        let calls = CALLS.iter().filter(|row| row.0 == function.name).flat_map(|row| row.1);
        let calls: Vec<_> = calls.map(|&call| (call.to_owned(), false)).collect();
        if losses.is_empty() && calls.is_empty() {
            all.push((format!("{}(x)", function.name), false));
        }
        all.extend(losses.into_iter().chain(calls));
    }
    all
}

/// The batch that functions are compared with: all sums over it are summed in parallel.
const MANY: usize = 160 * FROM;

/// Measured: 2 kernels and 2 calls, where a batch is no multiple; and 346 statements, which are three more rounds of combining and
/// of sorting, and what is left over of each: a standard deviation has three sums and a maximum.
#[test]
fn functions_do_not_grow_with_the_batch() {
    let (mut wrong, mut most) = (Vec::new(), [0; 3]);
    for (call, trains) in calls_of_functions() {
        let text = format!(
            "Model(inputs: {{ \"s\": \"f32[batch, 12]\", \"z\": \"f32[batch, 12]\", \"i\": \"i32[batch]\" }}, body: \
             [Parameter(name: \"w\", dims: [1]), Expr(\"s * it\"), As(\"x\")], entries: {{ \"infer\": Infer(outputs: {{ \"y\": \
             \"{call}\" }}), \"train\": Train(loss: \"{}\", optimizer: Sgd(lr: 0.1)) }})",
            if trains { call.as_str() } else { "mean(x * x)" }
        );
        for entry in if trains { vec!["infer", "train"] } else { vec!["infer"] } {
            let at = |batch: usize| size(&lower(&at_batch(&text, batch).expect("enough samples"), entry));
            let few = at(MANY);
            for batch in [160_000, 8 * MANY] {
                let many = at(batch);
                let more = many.beyond(&few);
                most.iter_mut().zip(more).for_each(|(most, more)| *most = more.max(*most));
                if more[0] > 2 || more[1] > 2 || more[2] > 360 {
                    wrong.push(format!("{call} {entry}: {few:?} at {MANY}, {many:?} at {batch}"));
                }
            }
        }
    }
    println!("kernels, calls and statements more: {most:?}");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Measured: 3 kernels and 11 calls more of vgg11's 139 and 163, and 7 and 12 of resnet18's 179 and 364.
#[test]
fn whole_models_do_not_grow_with_the_batch() {
    for name in ["vgg11", "resnet18"] {
        let at = |batch| {
            let model = Model::load(name, &Settings::default().dim("batch", batch)).unwrap();
            size(&lower(&model, "train"))
        };
        let (few, many) = (at(8), at(4096));
        println!("{name}: {few:?} at 8, {many:?} at 4096");
        assert!(many.kernels <= few.kernels + 8, "{name}: {few:?} at 8, {many:?} at 4096");
        assert!(many.calls <= few.calls + 16, "{name}: {few:?} at 8, {many:?} at 4096");
    }
}

/// What one run of a program does: executed statements, and bytes that calls touch.
#[derive(Debug)]
struct Done {
    statements: u64,
    bytes: u64,
}

fn done(program: &Program) -> Done {
    fn go(program: &Program, steps: &[Step], times: u64, done: &mut Done) {
        for step in steps {
            if let Step::Call(call) = step {
                let kernel = &program.kernels[call.kernel.0 as usize];
                done.statements += times * work::statements(kernel);
                done.bytes += times * work::bytes(kernel);
            }
            let inside = if let Step::Loop { extent, .. } = step { times * *extent as u64 } else { times };
            step.bodies().into_iter().for_each(|body| go(program, body, inside, done));
        }
    }
    let mut all = Done { statements: 0, bytes: 0 };
    go(program, &program.schedule, 1, &mut all);
    all
}

/// Bytes may grow by so much more than eight times: what is local at a small size goes through memory at a large one.
const MEMORY: f64 = 12.0;

/// What is wrong unless eight times the size is at most so many times the statements, and what does not depend on the size.
fn beyond(what: &str, few: &Done, many: &Done, factor: f64) -> Option<String> {
    let all = [
        ("statements", few.statements, many.statements, factor),
        ("bytes", few.bytes, many.bytes, MEMORY.max(factor)),
    ];
    all.into_iter().find_map(|(name, few, many, factor)| {
        let ratio = many as f64 / few as f64;
        let wrong = many as f64 > factor * few as f64 + 4096.0;
        wrong.then(|| format!("{what}: {few} {name} at n, {many} at 8 n ({ratio:.1})"))
    })
}

fn unrolled(model: &[&str; 5], n: usize) -> Program {
    let text = unrolled_text(model, n);
    let model = Model::from_text("unrolled.ron", &text, &Settings::default());
    lower(&model.unwrap_or_else(|e| panic!("{text}: {e}")), "train")
}

#[test]
fn slices_in_repeated_blocks_are_linear() {
    let mut wrong = Vec::new();
    for model in UNROLLED {
        let (few, many) = (unrolled(model, 16), unrolled(model, 128));
        let (a, b) = (done(&few), done(&many));
        // The matrix of the last one has 64 times as many elements.
        wrong.extend(beyond(model[0], &a, &b, if model[1].ends_with("n, n]") { 64.0 } else { 12.0 }));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn weights_are_packed_once() {
    let packing = |program: &Program| {
        let is_packing = |step: &&Step| match step {
            Step::Call(call) => {
                let of_state =
                    |arg: &Arg| matches!(program.buffers[arg.buffer.0 as usize].place, Place::State { .. });
                let name = &program.kernels[call.kernel.0 as usize].name;
                name.starts_with("pack") && of_state(&call.args[0])
            }
            _ => false,
        };
        program.schedule.iter().filter(is_packing).count()
    };
    let [few, many] = [8, 64].map(|n| packing(&unrolled(&UNROLLED[0], n)));
    assert_eq!(few, many, "as many times as there are weights");
    // Forward, and for the gradient with respect to the input.
    assert!(few <= 2, "{few}");
}

fn lower_text(text: &str) -> Result<Program, String> {
    let graph = Graph::parse(text).map_err(|error| error.to_string())?;
    let mut compiler = Compiler::new(&CompileOptions::default());
    let optimised = compiler.optimise(&graph).map_err(|error| error.to_string())?;
    compiler.lower(&optimised).map(|p| p.into_program()).map_err(|error| error.to_string())
}

/// The operator's own work, and that with its gradient; nothing for one that has none.
fn work_of(text: &str, n: usize, train: bool) -> Option<Done> {
    let plain = whole(text, n, false);
    let graph = Graph::parse(&plain).unwrap_or_else(|error| panic!("{plain}: {error}"));
    let y = graph.ty(graph.outputs()[0].value).clone();
    if !train {
        return Some(done(&lower_text(&plain).unwrap_or_else(|error| panic!("{plain}: {error}"))));
    }
    let first = graph.parameter(graph.parameters()[0]).expect("a parameter");
    if y.dtype != DType::F32 || first.ty.dtype != DType::F32 || first.name != "x" {
        return None;
    }
    let axes: Vec<usize> = (0..y.rank()).collect();
    let text = whole(text, n, true).replace("$sum", &format!("reduce_add %square {{axes: {axes:?}}}"));
    lower_text(&text).ok().map(|program| done(&program))
}

#[test]
fn operators_are_linear() {
    let (mut differentiated, mut wrong) = (0, Vec::new());
    for name in Op::names() {
        if NOT_RUN.contains(&name) {
            continue;
        }
        let graphs = graphs_of(name);
        assert!(!graphs.is_empty(), "{name} has no row");
        for text in graphs {
            for train in [false, true] {
                let Some(few) = work_of(&text, 16384, train) else { continue };
                let many = work_of(&text, 131072, train).expect("it compiled before");
                let factor = if SORTING.contains(&name) { 9.0 * 17.0 / 14.0 } else { 9.0 };
                wrong.extend(beyond(&format!("{name}, train {train}: {text}"), &few, &many, factor));
                differentiated += usize::from(train);
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(differentiated > 50, "only {differentiated} graphs have gradients");
}

#[test]
fn what_is_repeated_is_linear() {
    let mut wrong = Vec::new();
    for row in REPEATED {
        for entry in ["infer", "train"] {
            let measured = |n: usize| {
                let text = repeated_text(row, n);
                let model = Model::from_text("repeated.ron", &text, &Settings::default());
                let model = model.unwrap_or_else(|e| panic!("{text}: {e}"));
                let (program, nodes) = lower_counted(&model, entry);
                let divisions = divisions(&program);
                assert!(divisions <= DIVISIONS, "{}, {entry}: {divisions} divisions in an index", row.0);
                (size(&program), nodes)
            };
            let ((few, few_nodes), (many, many_nodes)) = (measured(60), measured(480));
            if many_nodes > 10 * few_nodes + 480 {
                wrong.push(format!("{}, {entry}: {few_nodes} nodes at n, {many_nodes} at 8 n", row.0));
            }
            if many.statements > 10 * few.statements + 100 || many.calls > 10 * few.calls + 480 {
                wrong.push(format!("{}, {entry}: {few:?} at n, {many:?} at 8 n", row.0));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Layers and functions whose arguments say how long a window is: these are looked for by name. Others of that name say how
/// large a result is.
fn has_window(callable: &language::Callable) -> bool {
    let sizes = !["Resize", "RandomCrop"].contains(&callable.name);
    ["kernel", "window"].into_iter().any(|name| callable.argument(name).is_some())
        || sizes && callable.argument("size").is_some()
}

#[test]
fn windows_are_linear() {
    let with_windows = [language::layers(), language::functions()].concat();
    for callable in with_windows.iter().filter(|callable| has_window(callable)) {
        assert!(WINDOWS.iter().any(|row| row.0 == callable.name), "{} has no row", callable.name);
    }
    let mut wrong = Vec::new();
    for row in WINDOWS {
        for entry in ["infer", "train"] {
            let measured = |n: usize| {
                let text = window_text(row, n);
                let model = Model::from_text("windows.ron", &text, &Settings::default());
                done(&lower(&model.unwrap_or_else(|e| panic!("{text}: {e}")), entry))
            };
            wrong.extend(beyond(&format!("{} {entry}", row.1), &measured(2048), &measured(16384), 11.0));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
