//! Random graphs through the pipelines: the interpreter of graphs is the oracle of every pass and of lowering, the
//! interpreter of programs that of machine code.
//!
//! `BROLGA_CASES=100000 cargo test --release --test all random_graphs` runs longer.

use crate::common::{self, compiled, everywhere};
use std::collections::{BTreeMap, HashMap};

use brolga_codegen::TargetCpu;
use brolga_ir::choice::{Choice, has_weights};
use brolga_ir::generate::{Config, Generated, Rng, generate, histogram, regions, value};
use brolga_ir::graph::Origin;
use brolga_ir::interpret::interpret;
use brolga_ir::ops::{Conv, Role};
use brolga_ir::program::Program;
use brolga_ir::program::interpret::Interpreter;
use brolga_ir::{Builder, DType, Graph, NodeId, Output, Tensor, Type, Value};
use brolga_passes::lower::lower;
use brolga_passes::manager::Kind;
use brolga_passes::{Manager, Options, pipelines};

fn cases() -> u64 {
    common::cases(2_000)
}

/// Says which graph it was when something panics.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {}", self.0);
        }
    }
}

/// The parameters' values by name: passes may drop state that nothing reads.
type Values = HashMap<String, Tensor>;

fn by_name(case: &Generated) -> Values {
    let name = |id| case.graph.parameter(id).expect("a parameter").name.clone();
    case.graph.parameters().iter().map(|&id| name(id)).zip(case.values.iter().cloned()).collect()
}

/// The parameters of a graph with that role, with their values.
fn given(graph: &Graph, role: Role, values: &Values) -> Vec<(String, Tensor)> {
    let parameters = graph.parameters().iter().filter_map(|&id| graph.parameter(id));
    parameters.filter(|p| p.role == role).map(|p| (p.name.clone(), values[&p.name].clone())).collect()
}

fn run(graph: &Graph, values: &Values) -> Vec<Tensor> {
    let parameters = graph.parameters().iter().filter_map(|&id| graph.parameter(id));
    let parameters: Vec<&Tensor> = parameters.map(|p| &values[&p.name]).collect();
    interpret(graph, &parameters).expect("a valid graph runs")
}

/// Outputs and updated state in the order of the graph's outputs.
fn in_order(graph: &Graph, outputs: Vec<Tensor>, state: &[(String, Tensor)]) -> Vec<Tensor> {
    let mut outputs = outputs.into_iter();
    let of = |output: &Output| match output.role {
        Role::Data => outputs.next().expect("an output"),
        Role::State => state.iter().find(|(name, _)| *name == output.name).expect("a state").1.clone(),
    };
    graph.outputs().iter().map(of).collect()
}

/// The first element in which results differ in bits.
fn difference(found: &[Tensor], expected: &[Tensor]) -> Option<String> {
    found.iter().zip(expected).enumerate().find_map(|(i, (f, e))| {
        let at = (0..e.elements()).find(|&j| !f.get(j).same(e.get(j)))?;
        Some(format!("result {i}[{at}] is {:?}, expected {:?}", f.get(at), e.get(at)))
    })
}

/// The largest deviation relative to the largest value of a result.
fn deviation(found: &[Tensor], expected: &[Tensor]) -> f64 {
    let of = |(f, e): (&Tensor, &Tensor)| {
        let pairs = || (0..e.elements()).map(|i| (f.get(i).to_f64(), e.get(i).to_f64()));
        let scale = pairs().map(|(_, e)| e.abs()).filter(|e| e.is_finite()).fold(1.0, f64::max);
        let off = |(f, e): (f64, f64)| {
            if f == e || (f.is_nan() && e.is_nan()) { 0.0 } else { ((f - e) / scale).abs() }
        };
        pairs().map(off).map(|d| if d.is_nan() { f64::INFINITY } else { d }).fold(0.0, f64::max)
    };
    found.iter().zip(expected).map(of).fold(0.0, f64::max)
}

/// Winograd's algorithm wherever it applies: graphs are too small to gain by it.
fn options() -> Options {
    Options { algorithms: everywhere(2), ..Options::default() }
}

/// Has the weights of products stored as `bf16`, those in regions aside, where they are parameters: what is computed may be
/// rounded to either side. How many there are.
fn store(graph: &mut Graph) -> usize {
    let products: Vec<NodeId> = graph.order().into_iter().filter(|&id| stores(graph, id)).collect();
    for &id in &products {
        graph.set_choice(id, Choice { weights: Some(DType::Bf16), ..graph.choice(id) });
    }
    products.len()
}

fn stores(graph: &Graph, id: NodeId) -> bool {
    let types = graph.operand_types(id);
    let given = |w: &Value| types[1].dtype == DType::F32 && graph.parameter(w.node).is_some();
    has_weights(&graph.node(id).op, &types) && graph.node(id).operands.get(1).is_some_and(given)
}

fn lowered(graph: &Graph, occurred: &mut BTreeMap<&'static str, usize>) -> Program {
    let lowered = lower(graph, &HashMap::new()).unwrap_or_else(|e| panic!("{e}\n{graph}"));
    let mut run = |memory_limit: Option<usize>| {
        let mut program = lowered.clone();
        // So small a part that small programs are parallel too.
        let mut manager = Manager::new(Options { least_part: 4, memory_limit, ..Options::default() });
        let ran = manager.run(pipelines::PROGRAM, &mut program);
        if let (Err(error), None) = (&ran, memory_limit) {
            panic!("{error}\n{graph}\n{program}");
        }
        assert!(ran.as_ref().err().is_none_or(|error| !error.broken), "{ran:?}\n{graph}\n{program}");
        ran.is_ok().then(|| {
            for report in manager.reports() {
                *occurred.entry(report.pass).or_default() += usize::from(report.changed);
            }
            program
        })
    };
    let program = run(None).expect("no limit");
    // The tightest of some limits that can be met.
    let limits = [50, 70, 90].map(|percent| program.arena_bytes * percent / 100);
    limits.into_iter().find_map(|limit| run(Some(limit))).unwrap_or(program)
}

/// Every graph pass keeps what the graph means: exact ones its bits, the others to 1e-9 in f64.
#[test]
fn graph_passes_keep_the_meaning() {
    let mut occurred: BTreeMap<&'static str, usize> = BTreeMap::new();
    let mut graphs = Vec::new();
    for seed in 0..cases() {
        let _named = Seed(seed);
        let float = if seed % 2 == 0 { DType::F32 } else { DType::F64 };
        let case = generate(seed, &Config { float, continuous: seed % 4 > 1, ..Config::default() });
        let values = by_name(&case);
        let mut expected = run(&case.graph, &values);
        let mut graph = case.graph.clone();
        for pass in pipelines::INFER.iter().chain(pipelines::REGIONS) {
            let exact = pass.kind == Kind::Exact;
            if !exact && (float == DType::F32 || seed % 4 < 2) {
                continue;
            }
            let before = graph.clone();
            let mut manager = Manager::new(options());
            let changed = manager
                .run(std::slice::from_ref(pass), &mut graph)
                .unwrap_or_else(|e| panic!("seed {seed}: {e}\n{before}"));
            *occurred.entry(pass.name).or_default() += usize::from(changed);
            if !changed {
                continue;
            }
            let found = run(&graph, &values);
            let wrong = match exact {
                true => difference(&found, &expected),
                false => (deviation(&found, &expected) > 1e-9).then(|| "rounding".to_owned()),
            };
            assert!(wrong.is_none(), "seed {seed}: {} {wrong:?}\n{before}\n{graph}", pass.name);
            // What comes behind a rounding pass keeps the bits that it left.
            expected = found;
        }
        graphs.push(case.graph);
    }
    println!("operators: {:?}", histogram(&graphs));
    println!("passes that changed a graph: {occurred:?}");
    let regions = regions(&graphs);
    println!("regions: {regions:?}");
    let times = |name: &str| regions.get(name).copied().unwrap_or(0);
    assert!(times("graphs with regions") * 3 >= graphs.len(), "{regions:?}");
    // Here everything is an output, and regions capture parameters: carries that nothing reads, captured constants and conditions in
    // loops are in the graphs of `passes/tests/random.rs`.
    for name in ["scan in scan", "length 0", "length 1"] {
        assert!(times(name) >= 20 || cases() < 2_000, "{name} occurred {} times only", times(name));
    }
    for (name, count) in histogram(&graphs) {
        assert!(count >= 20 || cases() < 2_000, "{name} occurred {count} times");
    }
}

/// Lowered graphs agree with the reference; a part of them is compiled, and equals the program's interpreter in
/// every bit, with either emitter and any number of threads.
#[test]
fn programs_and_code_agree_with_the_interpreter() {
    let mut occurred: BTreeMap<&'static str, usize> = BTreeMap::new();
    let (mut compiled_cases, mut stored) = (0, 0);
    for seed in 0..cases() {
        let _named = Seed(seed);
        let case = generate(seed, &Config { continuous: true, ..Config::default() });
        let mut graph = case.graph.clone();
        let mut manager = Manager::new(options());
        manager.run(pipelines::TRAIN, &mut graph).expect("graph passes");
        let values = by_name(&case);
        let mut expected = run(&case.graph, &values);
        if seed % 3 == 0 {
            stored += store(&mut graph);
            expected = run(&graph, &values);
        }
        manager.run(pipelines::REGIONS, &mut graph).expect("fusion");
        for report in manager.reports() {
            *occurred.entry(report.pass).or_default() += usize::from(report.changed);
        }
        let program = lowered(&graph, &mut occurred);
        let (inputs, before) = (given(&graph, Role::Data, &values), given(&graph, Role::State, &values));
        let inputs: Vec<Tensor> = inputs.into_iter().map(|(_, tensor)| tensor).collect();
        let mut after: Vec<Tensor> = before.iter().map(|(_, tensor)| tensor.clone()).collect();
        let outputs = Interpreter::new(&program)
            .and_then(|interpreter| interpreter.run(&inputs, &mut after))
            .unwrap_or_else(|e| panic!("seed {seed}: {e}\n{graph}\n{program}"));
        let named = |state: Vec<Tensor>| -> Vec<(String, Tensor)> {
            before.iter().map(|(name, _)| name.clone()).zip(state).collect()
        };
        let exact = in_order(&graph, outputs, &named(after));
        let off = deviation(&exact, &expected);
        assert!(off < 2e-3, "seed {seed}: off by {off:e}\n{}\n{graph}\n{program}", case.graph);
        if seed % 7 == 0 {
            compiled_cases += 1;
            for (cpu, threads) in [(TargetCpu::Portable, 1), (TargetCpu::Native, 3)] {
                let (outputs, after) = compiled::run(&program, cpu, threads, &inputs, &before);
                let found = in_order(&graph, outputs, &named(after));
                let wrong = difference(&found, &exact);
                assert!(wrong.is_none(), "seed {seed} on {cpu}: {wrong:?}\n{program}");
            }
        }
    }
    println!("passes that changed something: {occurred:?}; {compiled_cases} cases compiled");
    // Windows and sums as long as these passes are for have a test of their own: `passes/tests/long.rs`. So have products that
    // share an input, which `merge` looks for: `passes_for_inference_keep_the_meaning`. Loops that are differentiated, which `segment`
    // cuts, are in `passes/tests/random.rs`.
    let elsewhere =
        |name: &&str| ["clip", "pooling", "accumulate", "tables", "merge", "segment"].contains(name);
    let passes = pipelines::TRAIN.iter().chain(pipelines::REGIONS).map(|pass| pass.name);
    for pass in passes.filter(|name| !elsewhere(name)) {
        let count = occurred.get(pass).copied().unwrap_or(0);
        assert!(count >= 20 || cases() < 2_000, "{pass} changed {count} graphs");
    }
    for pass in pipelines::PROGRAM {
        let count = occurred.get(pass.name).copied().unwrap_or(0);
        assert!(count >= 20 || cases() < 2_000, "{} changed {count} programs", pass.name);
    }
    assert!(compiled_cases >= 200 || cases() < 2_000, "{compiled_cases} cases were compiled");
    assert!(stored >= 20 || cases() < 2_000, "{stored} products with stored weights");
}

/// What the passes for inference look for is rare in random graphs: products with fixed weights that share an
/// input, and factors for each channel behind them, at random extents.
#[test]
fn passes_for_inference_keep_the_meaning() {
    let mut occurred: BTreeMap<&'static str, usize> = BTreeMap::new();
    for seed in 0..60 {
        let mut rng = Rng(seed);
        let (batch, channels, size) = (1 + rng.below(3), 1 + rng.below(5), 1 + rng.below(6));
        let outputs = [1 + rng.below(6), 1 + rng.below(6)];
        let mut graph = Graph::new("infer");
        let mut values = Values::new();
        let mut parameter = |graph: &mut Graph, name: &str, role, dims: &[usize]| {
            let ty = Type::new(DType::F64, dims);
            values.insert(name.to_owned(), value(&mut rng, &ty));
            graph.add_parameter(name, role, ty)
        };
        let x = parameter(&mut graph, "x", Role::Data, &[batch, channels, size, size]);
        let mut results = Vec::new();
        for (i, &count) in outputs.iter().enumerate() {
            let w = parameter(&mut graph, &format!("w{i}"), Role::State, &[count, channels, 1, 1]);
            let scale = parameter(&mut graph, &format!("scale{i}"), Role::State, &[count]);
            let shift = parameter(&mut graph, &format!("shift{i}"), Role::State, &[count]);
            let mut b = Builder::new(&mut graph, Origin::default());
            let y = b.add_node(Conv::new(2), &[x, w]).expect("conv");
            let dims = b.dims(y);
            let (scale, shift) = (b.broadcast(scale, &dims, &[1]), b.broadcast(shift, &dims, &[1]));
            let scaled = b.mul(y, scale.expect("broadcast")).expect("mul");
            results.push(b.add(scaled, shift.expect("broadcast")).expect("add"));
        }
        for (i, result) in results.into_iter().enumerate() {
            graph.add_output(&format!("y{i}"), Role::Data, result);
        }
        let expected = run(&graph, &values);
        let mut manager = Manager::new(options());
        manager.run(pipelines::INFER, &mut graph).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        for report in manager.reports() {
            *occurred.entry(report.pass).or_default() += usize::from(report.changed);
        }
        let off = deviation(&run(&graph, &values), &expected);
        assert!(off < 1e-9, "seed {seed}: off by {off:e}\n{graph}");
    }
    println!("passes that changed a graph: {occurred:?}");
    for pass in ["batch-norm", "merge"] {
        assert!(occurred[pass] >= 20, "{pass} changed {} graphs", occurred[pass]);
    }
}
