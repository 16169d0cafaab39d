//! Random graphs through every pass, through the pipelines, and through random sequences of passes: the reference
//! interpreter gives the same before and after, and so does the interpreter of what they are lowered to.

use std::collections::{BTreeMap, HashMap};

use crate::common::{Rng, compare, evaluate, everywhere, parameters, random_graph};
use brolga_ir::choice::Layout;
use brolga_ir::generate::{self, generate};
use brolga_ir::ops::{Conv, ReduceWindow, Role};
use brolga_ir::program::Combine;
use brolga_ir::program::interpret::GridOrder;
use brolga_ir::scalar::{Scalar, ScalarOp};
use brolga_ir::{Builder, DType, Graph, GraphError, Op, Origin, Tensor, Type, Value};
use brolga_passes::choose::prepare::prepare;
use brolga_passes::filetest::evaluate_program;
use brolga_passes::pipelines::{GRAPH_PASSES, INFER, TRAIN, graph_passes};
use brolga_passes::{GraphPass, Kind, Manager, Options, Precision, lower};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

/// How often each operator occurred, and how often each pass changed something.
#[derive(Default)]
struct Histogram(BTreeMap<String, usize>);

impl Histogram {
    fn count(&mut self, name: &str) {
        *self.0.entry(name.to_owned()).or_default() += 1;
    }
}

fn run(passes: &[GraphPass], graph: &mut Graph, histogram: &mut Histogram) -> Result<(), String> {
    for &pass in passes {
        let before = graph.clone();
        let (algorithms, precision) = (everywhere(4), Precision::Bf16);
        let options = Options { algorithms, precision, segments_from: 2, ..Options::default() };
        let changed = Manager::new(options).run(&[pass], graph).map_err(|error| error.to_string())?;
        if changed {
            histogram.count(&format!("pass {}", pass.name));
        } else if *graph != before {
            return Err(format!("{} changed the graph and says it did not", pass.name));
        }
    }
    Ok(())
}

/// Adds the derivatives of a sum by the float inputs, if everything on the way has one: by loops over segments wherever a loop can be
/// cut. What runs segments again has the bits of what keeps them, on those values.
fn differentiated(
    graph: &Graph,
    inputs: &HashMap<String, Tensor>,
    histogram: &mut Histogram,
) -> Result<Graph, String> {
    let plain = graph.clone();
    let Some(asked) = with_gradients(graph.clone()) else { return Ok(plain) };
    let mut found = Vec::new();
    for run_again in [false, true] {
        let options = Options { segments_from: 2, run_again, ..Options::default() };
        let mut made = asked.clone();
        let cut = Manager::new(options.clone()).run(&graph_passes("segment")?, &mut made);
        if cut.map_err(|error| error.to_string())? {
            histogram.count("pass segment");
        }
        if Manager::new(options).run(&graph_passes("grad")?, &mut made).is_err() {
            return Ok(plain);
        }
        histogram.count("pass grad");
        found.push(made);
    }
    let [kept, again] = [evaluate(&found[0], inputs)?, evaluate(&found[1], inputs)?];
    compare(&kept, &again, &exact).map_err(|error| format!("run again: {error}\n{}", found[1]))?;
    Ok(found.swap_remove(0))
}

fn with_gradients(mut graph: Graph) -> Option<Graph> {
    let added = (|| {
        let value = graph.outputs().iter().map(|o| o.value).find(|&v| graph.ty(v).dtype.is_float())?;
        let rank = graph.ty(value).rank();
        let wrt = graph.parameters().iter().map(|&id| graph.result(id));
        let wrt: Vec<_> = wrt.filter(|&v| graph.ty(v).dtype == graph.ty(value).dtype).collect();
        let mut b = Builder::new(&mut graph, Origin::new("loss"));
        let loss = b.sum(value, &(0..rank).collect::<Vec<_>>()).ok()?;
        let gradients = b.gradient(loss, &wrt).ok()?;
        for (i, gradient) in gradients.into_iter().enumerate() {
            graph.add_output(&format!("d{i}"), brolga_ir::ops::Role::Data, gradient);
        }
        Some(())
    })();
    added.map(|()| graph)
}

fn exact(a: Scalar, b: Scalar) -> bool {
    a.same(b)
}

/// Within 1e-9 of numbers of ordinary size; what overflows or cancels from large numbers says nothing.
fn close(a: Scalar, b: Scalar) -> bool {
    let (x, y) = (a.to_f64(), b.to_f64());
    a.same(b) || !x.is_finite() || !y.is_finite() || (x - y).abs() <= 1e-9 * x.abs().max(1.0)
}

fn check(seeds: &[u32], histogram: &mut Histogram) -> Result<(), String> {
    let choice = seeds.iter().fold(0u64, |sum, &seed| sum.rotate_left(5) ^ u64::from(seed));
    let mut graph = random_graph(seeds, DType::F32);
    if choice % 3 == 0 {
        let values = parameters(&graph, choice, false);
        graph = differentiated(&graph, &values, histogram)?;
    }
    for id in graph.order() {
        histogram.count(graph.node(id).op.get().name());
    }
    for (name, count) in generate::regions([&graph]) {
        *histogram.0.entry(name).or_default() += count;
    }
    let inputs: Vec<_> = (0..2).map(|round| parameters(&graph, choice + round, round == 1)).collect();
    let expected: Vec<_> = inputs.iter().map(|values| evaluate(&graph, values)).collect::<Result<_, _>>()?;
    let same = |after: &Graph, what: &str| {
        for (values, expected) in inputs.iter().zip(&expected) {
            let found = evaluate(after, values).map_err(|error| format!("{what}: {error}"))?;
            compare(expected, &found, &exact).map_err(|error| format!("{what}: {error}\n{after}"))?;
        }
        Ok::<(), String>(())
    };
    let exact_passes: Vec<GraphPass> =
        GRAPH_PASSES.iter().copied().filter(|pass| pass.kind == Kind::Exact).collect();
    for &pass in &exact_passes {
        let mut after = graph.clone();
        run(&[pass], &mut after, histogram)?;
        same(&after, pass.name)?;
    }
    let mut random = Rng(choice);
    // `fuse` comes last.
    let movable: Vec<GraphPass> = exact_passes.iter().copied().filter(|pass| pass.name != "fuse").collect();
    let some: Vec<GraphPass> = (0..5).map(|_| random.of(&movable)).collect();
    let train: Vec<GraphPass> = TRAIN.iter().copied().filter(|pass| pass.kind == Kind::Exact).collect();
    for passes in [&train, &some] {
        let mut after = graph.clone();
        let names: Vec<&str> = passes.iter().map(|pass| pass.name).collect();
        run(passes, &mut after, histogram)?;
        same(&after, &names.join(","))?;
    }
    if let Some(split) = prepare(&graph).map_err(|error| error.to_string())? {
        histogram.count("pass prepare");
        for part in [&split.prepare, &split.main] {
            part.verify().map_err(|error| error.to_string())?;
        }
        for (values, expected) in inputs.iter().zip(&expected) {
            let mut values = values.clone();
            values.extend(evaluate(&split.prepare, &values)?);
            compare(expected, &evaluate(&split.main, &values)?, &exact)
                .map_err(|e| format!("prepare: {e}"))?;
        }
    }
    narrowed(&graph, &inputs, histogram)?;
    if choice % 8 == 0 {
        few_channels(choice, histogram)?;
    }
    rounded(seeds, choice, histogram)
}

/// A chain of convolutions with few channels and blocks of images, as `layout` leaves it: the same bits with the images
/// last.
fn few_channels(choice: u64, histogram: &mut Histogram) -> Result<(), String> {
    let graph = few_channels_graph(&mut Rng(choice)).map_err(|error| error.to_string())?;
    let mut after = graph.clone();
    run(&graph_passes("images,simplify,cse,dce")?, &mut after, histogram)?;
    for special in [false, true] {
        let values = parameters(&graph, choice, special);
        compare(&evaluate(&graph, &values)?, &evaluate(&after, &values)?, &exact)
            .map_err(|error| format!("few channels: {error}\n{graph}{after}"))?;
    }
    Ok(())
}

fn few_channels_graph(random: &mut Rng) -> Result<Graph, GraphError> {
    let mut graph = Graph::new("few_channels");
    let extents = [random.of(&[16, 16, 32]), 2 + random.below(3), 1 + random.below(4), 1 + random.below(3)];
    let mut x = graph.add_parameter("x", Role::Data, Type::new(DType::F32, extents));
    for layer in 0..1 + random.below(3) {
        let dims = graph.ty(x).dims.clone();
        let kernel = [1 + random.below(5), dims[3], 1 + random.below(2), 1 + random.below(2)];
        let w = graph.add_parameter(&format!("w{layer}"), Role::State, Type::new(DType::F32, kernel));
        let bias = graph.add_parameter(&format!("b{layer}"), Role::State, Type::new(DType::F32, [kernel[0]]));
        let conv = Conv {
            stride: vec![1 + random.below(2), 1 + random.below(2)],
            padding: vec![(random.below(2), 1), (1, random.below(2))],
            ..Conv::new(2)
        };
        let mut b = Builder::new(&mut graph, Origin::new(&format!("layer{layer}")));
        let y = b.add_chosen(conv, Layout::ChannelsLast, &[x, w])?;
        let dims = b.dims(y);
        let bias = b.broadcast(bias, &dims, &[3])?;
        let y = b.add(y, bias)?;
        x = match random.below(4) {
            0 => y,
            1 => b.max(y, bias)?,
            2 => {
                let padding = vec![(0, 0), (0, 0), (1, 0), (0, 0)];
                let window = ReduceWindow::new(Combine::Max, &[1, 1, 2, 1], &[1, 1, 1, 1]);
                b.reduce_window(ReduceWindow { padding, ..window }, y)?
            }
            _ => {
                let zero = b.scalar(0.0, DType::F32)?;
                b.pad(y, zero, &[0, 1, 0, 0], &[0, 0, 1, 0], &[0; 4])?
            }
        };
    }
    graph.add_output("y", Role::Data, x);
    Ok(graph)
}

/// Weights that have no more bits than what they are stored as: the same results to the bit.
fn narrowed(
    graph: &Graph,
    inputs: &[HashMap<String, Tensor>],
    histogram: &mut Histogram,
) -> Result<(), String> {
    let mut after = graph.clone();
    run(&graph_passes("narrow")?, &mut after, histogram)?;
    after.verify().map_err(|error| error.to_string())?;
    for values in inputs {
        let values: HashMap<String, Tensor> =
            values.iter().map(|(name, tensor)| (name.clone(), short(tensor))).collect();
        if stores_parameters(&after, &vec![true; after.parameters().len()]) {
            compare(&evaluate(graph, &values)?, &evaluate(&after, &values)?, &exact)
                .map_err(|error| format!("narrow: {error}\n{after}"))?;
        }
    }
    Ok(())
}

/// A tensor of floats rounded to `bf16`.
fn short(tensor: &Tensor) -> Tensor {
    Tensor::generate(&tensor.ty(), |i| match tensor.get(i) {
        value @ Scalar::F32(_) => {
            let stored = ScalarOp::Convert(DType::Bf16).apply(&[value]);
            ScalarOp::Convert(DType::F32).apply(&[stored])
        }
        value => value,
    })
}

/// Whether all weights that a graph stores as another type are what index maps make of parameters; `given` says which parameters
/// of the graph are such, in a region those that capture them.
fn stores_parameters(graph: &Graph, given: &[bool]) -> bool {
    let is_given = |value: Value| {
        let mut at = value.node;
        while let Op::Reshape(_) | Op::Transpose(_) | Op::Broadcast(_) | Op::Slice(_) | Op::Reverse(_) =
            graph.node(at).op
        {
            at = graph.node(at).operands[0].node;
        }
        graph.parameters().iter().position(|&id| id == at).is_some_and(|position| given[position])
    };
    graph.order().into_iter().all(|id| {
        let node = graph.node(id);
        let captured = node.operands.iter().skip(usize::from(matches!(node.op, Op::Cond(_))));
        let captured: Vec<bool> = captured.map(|&operand| is_given(operand)).collect();
        let stores = graph.choice(id).weights.is_none() || is_given(node.operands[1]);
        stores && node.op.regions().into_iter().all(|region| stores_parameters(region, &captured))
    })
}

/// The pipeline with rounding passes, in f64. Where a graph makes much of the last bits of what it is given, such as
/// `cos(exp(x))` of a large x, rounding says nothing.
fn rounded(seeds: &[u32], choice: u64, histogram: &mut Histogram) -> Result<(), String> {
    let graph = random_graph(seeds, DType::F64);
    let values = parameters(&graph, choice, false);
    let expected = evaluate(&graph, &values)?;
    let moved = values.iter().map(|(name, tensor)| (name.clone(), moved(tensor))).collect();
    if compare(&expected, &evaluate(&graph, &moved)?, &close).is_err() {
        histogram.count("graphs that magnify rounding");
        return Ok(());
    }
    for (name, passes) in [("infer", INFER), ("train", TRAIN)] {
        let mut after = graph.clone();
        run(passes, &mut after, histogram)?;
        compare(&expected, &evaluate(&after, &values)?, &close)
            .map_err(|error| format!("{name}: {error}\n{after}"))?;
    }
    Ok(())
}

/// The same numbers but for their last bits.
fn moved(tensor: &Tensor) -> Tensor {
    Tensor::generate(&tensor.ty(), |i| match tensor.get(i) {
        Scalar::F64(value) => Scalar::F64(value * (1.0 + 1e-12)),
        value => value,
    })
}

/// `BROLGA_CASES` asks for more cases; the number is the same for every run otherwise, and so are the cases.
#[test]
fn random_graphs_keep_their_meaning() {
    let cases = std::env::var("BROLGA_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(2000);
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let histogram = std::cell::RefCell::new(Histogram::default());
    let result = TestRunner::new_with_rng(config, rng)
        .run(&proptest::collection::vec(proptest::num::u32::ANY, 5..60), |seeds| {
            check(&seeds, &mut histogram.borrow_mut()).map_err(TestCaseError::fail)
        });
    match result {
        Ok(()) => {}
        Err(TestError::Fail(reason, seeds)) => {
            panic!("{reason}\n\nfor {seeds:?}:\n{}", random_graph(&seeds, DType::F32))
        }
        Err(error) => panic!("{error}"),
    }
    let histogram = histogram.into_inner().0;
    for (name, count) in &histogram {
        println!("{count:>8} {name}");
    }
    let times = |name: &str| histogram.get(name).copied().unwrap_or(0);
    assert!(times("graphs with regions") * 3 >= cases as usize);
    assert!(times("graphs that magnify rounding") * 4 < cases as usize);
    for name in
        ["scan in scan", "cond in while", "length 0", "length 1", "captured constants", "unused carries"]
    {
        assert!(times(name) >= 20, "{name} occurred {} times only", times(name));
    }
    for pass in GRAPH_PASSES.iter().map(|pass| pass.name).chain(["prepare"]) {
        let count = histogram.get(&format!("pass {pass}")).copied().unwrap_or(0);
        let least = match pass {
            // For convolutions whose images have an even number of positions, which are rarer.
            "strassen" => 10,
            // For windows and sums that are longer than any here: `long.rs` has them.
            "clip" | "pooling" | "accumulate" | "tables" => 0,
            _ => 20,
        };
        assert!(count >= least, "the pass {pass} changed something {count} times only");
    }
}

/// Graphs over all operators, regions included, from the generator that the other crates' tests share.
#[test]
fn all_operators_keep_their_meaning() {
    let mut histogram = Histogram::default();
    for seed in 0..500 {
        let made = generate(seed, &generate::Config { nodes: (5, 40), ..generate::Config::default() });
        let names = made.graph.parameters().iter().filter_map(|&id| made.graph.parameter(id));
        let values = names.map(|parameter| parameter.name.clone()).zip(made.values.iter().cloned()).collect();
        let Ok(expected) = evaluate(&made.graph, &values) else { continue };
        let exact_passes: Vec<GraphPass> =
            GRAPH_PASSES.iter().copied().filter(|pass| pass.kind == Kind::Exact).collect();
        let mut after = made.graph.clone();
        let done = run(&exact_passes, &mut after, &mut histogram)
            .and_then(|()| evaluate(&after, &values))
            .and_then(|found| compare(&expected, &found, &exact));
        done.unwrap_or_else(|error| panic!("seed {seed}: {error}\n{}\n{after}", made.graph));
    }
}

type Inputs = Vec<HashMap<String, Tensor>>;

/// What the program of a graph gives for each of the inputs.
fn lowered(graph: &Graph, inputs: &Inputs) -> Result<Vec<HashMap<String, Tensor>>, String> {
    let program = lower::lower(graph, &HashMap::new()).map_err(|error| error.to_string())?;
    // State that no output updates is only read: a pass may leave it out.
    let is_output = |name: &String| {
        let mut outputs = graph.outputs().iter();
        outputs.any(|output| *name == output.name || *name == format!("state {}", output.name))
    };
    let results = |values| -> Result<HashMap<String, Tensor>, String> {
        let mut results = evaluate_program(&program, values, GridOrder::Forward)?;
        results.retain(|name, _| is_output(name));
        Ok(results)
    };
    inputs.iter().map(results).collect()
}

/// Every exact pass that changes the graph, and all of a pipeline one after the other.
fn keep_programs(graph: &Graph, inputs: &Inputs, histogram: &mut Histogram) -> Result<(), String> {
    let expected = lowered(graph, inputs)?;
    let is_exact = |pass: &&GraphPass| pass.kind == Kind::Exact;
    let alone = GRAPH_PASSES.iter().filter(is_exact).map(|&pass| vec![pass]);
    let together = [TRAIN, INFER]
        .map(|passes| passes.iter().copied().filter(|pass| is_exact(&pass)).collect::<Vec<_>>());
    for passes in alone.chain(together) {
        let mut after = graph.clone();
        run(&passes, &mut after, histogram)?;
        if after == *graph {
            continue;
        }
        let names: Vec<&str> = passes.iter().map(|pass| pass.name).collect();
        for (expected, found) in expected.iter().zip(lowered(&after, inputs)?) {
            compare(expected, &found, &exact)
                .map_err(|error| format!("{}: {error}\n{after}", names.join(",")))?;
        }
    }
    Ok(())
}

/// What is exact keeps the bits that a graph is compiled to. The reference interpreter cannot tell: it has orders of its own
/// for sums, and `fold` computes by it. `BROLGA_CASES` asks for more graphs.
#[test]
fn exact_passes_keep_the_bits_of_programs() {
    let cases = std::env::var("BROLGA_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(300);
    let mut histogram = Histogram::default();
    for case in 0..cases {
        let mut random = Rng(case);
        let (graph, inputs) = if case % 2 == 0 {
            let seeds: Vec<u32> = (0..5 + random.below(40)).map(|_| random.bits() as u32).collect();
            let graph = random_graph(&seeds, DType::F32);
            let inputs = vec![parameters(&graph, case, false), parameters(&graph, case, true)];
            (graph, inputs)
        } else {
            let made = generate(case, &generate::Config { nodes: (5, 40), ..generate::Config::default() });
            let names = made.graph.parameters().iter().filter_map(|&id| made.graph.parameter(id));
            let values = names.map(|parameter| parameter.name.clone()).zip(made.values.iter().cloned());
            let values: HashMap<String, Tensor> = values.collect();
            if evaluate(&made.graph, &values).is_err() {
                continue;
            }
            (made.graph, vec![values])
        };
        keep_programs(&graph, &inputs, &mut histogram)
            .unwrap_or_else(|error| panic!("case {case}: {error}\n\nbefore:\n{graph}"));
    }
    for pass in ["fold", "simplify", "canonical", "cse", "dce", "fuse"] {
        let count = histogram.0.get(&format!("pass {pass}")).copied().unwrap_or(0);
        assert!(count >= 20, "the pass {pass} changed something {count} times only");
    }
}
