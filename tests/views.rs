//! Concatenations whose parts are computed in place: with and without the pass `views` a program gives the same bits, in
//! the interpreter and as machine code.

use crate::common::{compiled, everywhere};
use std::collections::HashMap;

use brolga_codegen::TargetCpu;
use brolga_ir::generate::{Rng, value};
use brolga_ir::graph::Origin;
use brolga_ir::ops::{Conv, Dot, ReduceWindow, Role, Scan};
use brolga_ir::program::interpret::{GridOrder, Interpreter};
use brolga_ir::program::{Combine, Program, Step};
use brolga_ir::scalar::Function;
use brolga_ir::{Builder, DType, Graph, Tensor, Type, Value};
use brolga_passes::lower::lower;
use brolga_passes::{GraphPass, Manager, Options, ProgramPass, pipelines};

/// A graph in the making, with the values of its parameters.
struct Case {
    graph: Graph,
    rng: Rng,
    inputs: Vec<Tensor>,
    state: Vec<(String, Tensor)>,
}

impl Case {
    fn new(seed: u64) -> Case {
        Case { graph: Graph::new("views"), rng: Rng(seed), inputs: Vec::new(), state: Vec::new() }
    }

    fn parameter(&mut self, role: Role, dims: &[usize]) -> Value {
        let ty = Type::new(DType::F32, dims);
        let tensor = value(&mut self.rng, &ty);
        let name = format!("p{}", self.inputs.len() + self.state.len());
        match role {
            Role::Data => self.inputs.push(tensor),
            Role::State => self.state.push((name.clone(), tensor)),
        }
        self.graph.add_parameter(&name, role, ty)
    }

    fn builder(&mut self) -> Builder<'_> {
        Builder::new(&mut self.graph, Origin::default())
    }

    fn output(&mut self, value: Value) {
        let name = format!("y{}", self.graph.outputs().len());
        self.graph.add_output(&name, Role::Data, value);
    }

    /// Some layer on an image.
    fn layer(&mut self, x: Value) -> Value {
        let dims = self.graph.ty(x).dims.clone();
        let channels = dims[1];
        match self.rng.below(7) {
            kind @ 0..3 => {
                let count = self.rng.of(&[1, 2, 3, 5, 8, 16, 17, 32, 48]);
                let size = if kind == 0 { 1 } else { 3 };
                let w = self.parameter(Role::State, &[count, channels, size, size]);
                let bias = self.parameter(Role::State, &[count]);
                let padding = vec![(size / 2, size / 2); 2];
                let b = &mut self.builder();
                let y = b.add_node(Conv { padding, ..Conv::new(2) }, &[x, w]).expect("conv");
                let dims = b.dims(y);
                let bias = b.broadcast(bias, &dims, &[1]).expect("broadcast");
                b.add(y, bias).expect("add")
            }
            3 => {
                let w = self.parameter(Role::State, &[channels, 1, 3, 3]);
                let conv = Conv { padding: vec![(1, 1); 2], groups: channels, ..Conv::new(2) };
                self.builder().add_node(conv, &[x, w]).expect("conv")
            }
            4 => {
                let window = ReduceWindow {
                    combine: Combine::Max,
                    window: vec![1, 1, 3, 3],
                    stride: vec![1; 4],
                    padding: vec![(0, 0), (0, 0), (1, 1), (1, 1)],
                    window_dilation: vec![1; 4],
                    base_dilation: vec![1; 4],
                };
                self.builder().add_node(window, &[x]).expect("pool")
            }
            5 => {
                let b = &mut self.builder();
                let mean = b.mean(x, &[0, 2, 3]).expect("mean");
                let mean = b.broadcast(mean, &dims, &[1]).expect("broadcast");
                b.sub(x, mean).expect("sub")
            }
            _ => self.builder().function(Function::Tanh, x).expect("tanh"),
        }
    }

    fn concat(&mut self, parts: &[Value], axis: usize) -> Value {
        self.builder().concat(parts, axis).expect("concat")
    }

    /// Lowers with and without the pass, and compares; whether the pass changed anything, and the copies left.
    fn check(mut self, passes: &[GraphPass], compile: bool) -> (bool, usize) {
        let options = Options { algorithms: everywhere(2), least_part: 4, ..Options::default() };
        let mut manager = Manager::new(options.clone());
        manager.run(passes, &mut self.graph).expect("graph passes");
        manager.run(pipelines::REGIONS, &mut self.graph).expect("fusion");
        let lowered = lower(&self.graph, &HashMap::new()).expect("lowering");
        let without: Vec<ProgramPass> =
            pipelines::PROGRAM.iter().copied().filter(|pass| pass.name != "views").collect();
        let ready = |passes: &[ProgramPass]| {
            let (mut program, mut manager) = (lowered.clone(), Manager::new(options.clone()));
            manager.run(passes, &mut program).unwrap_or_else(|e| panic!("{e}\n{lowered}\n{program}"));
            let changed = manager.reports().iter().any(|report| report.pass == "views" && report.changed);
            (program, changed)
        };
        let (plain, _) = ready(&without);
        let (program, changed) = ready(pipelines::PROGRAM);
        // Later passes cut what is left into several calls.
        let views = pipelines::PROGRAM.iter().position(|pass| pass.name == "views").expect("the pass");
        let (early, _) = ready(&pipelines::PROGRAM[..=views]);
        let named: Vec<String> = state_names(&program);
        let state: Vec<(String, Tensor)> = named
            .iter()
            .map(|name| self.state.iter().find(|(known, _)| known == name).expect("a state").clone())
            .collect();
        let interpret = |program: &Program, order| {
            let mut state: Vec<Tensor> = state.iter().map(|(_, tensor)| tensor.clone()).collect();
            let interpreter = Interpreter::new(program).expect("a program").with_order(order);
            let mut results =
                interpreter.run(&self.inputs, &mut state).unwrap_or_else(|e| panic!("{e}\n{program}"));
            results.extend(state);
            results
        };
        let expected = interpret(&plain, GridOrder::Forward);
        for order in [GridOrder::Forward, GridOrder::Reverse] {
            assert_same(&interpret(&program, order), &expected, &program);
        }
        for (cpu, threads) in
            [(TargetCpu::Portable, 1), (TargetCpu::Native, 3)].into_iter().filter(|_| compile)
        {
            let (mut found, after) = compiled::run(&program, cpu, threads, &self.inputs, &state);
            found.extend(after);
            assert_same(&found, &expected, &program);
        }
        (changed, copies(&early))
    }
}

fn state_names(program: &Program) -> Vec<String> {
    let state = |buffer: &&brolga_ir::program::Buffer| {
        matches!(buffer.place, brolga_ir::program::Place::State { .. })
    };
    program.buffers.iter().filter(state).map(|buffer| buffer.name.clone()).collect()
}

/// Calls of concatenations in the schedule.
fn copies(program: &Program) -> usize {
    fn count(program: &Program, steps: &[Step]) -> usize {
        let of = |step: &Step| match step {
            Step::Call(call) => usize::from(program.kernels[call.kernel.0 as usize].name == "concat"),
            _ => step.bodies().into_iter().map(|body| count(program, body)).sum(),
        };
        steps.iter().map(of).sum()
    }
    count(program, &program.schedule)
}

fn assert_same(found: &[Tensor], expected: &[Tensor], program: &Program) {
    assert_eq!(found.len(), expected.len());
    for (which, (found, expected)) in found.iter().zip(expected).enumerate() {
        let differs = (0..expected.elements()).find(|&i| !found.get(i).same(expected.get(i)));
        assert_eq!(differs, None, "result {which}: {found:?}, not {expected:?}\n{program}");
    }
}

/// Layers over what was joined before, repeated parts, inputs and state as parts, parts as outputs; along channels,
/// images or rows.
#[test]
fn random_concatenations_keep_their_bits() {
    let mut changed = [0; 2];
    for seed in 0..120 {
        let mut case = Case::new(seed);
        let (images, height, width) = (1 + case.rng.below(2), 1 + case.rng.below(5), 1 + case.rng.below(5));
        let channels = case.rng.of(&[1, 3, 4, 16, 20]);
        let dims = [images, channels, height, width];
        let mut known = vec![case.parameter(Role::Data, &dims), case.parameter(Role::State, &dims)];
        for _ in 0..3 {
            for _ in 0..1 + case.rng.below(3) {
                let x = case.rng.of(&known);
                known.push(case.layer(x));
            }
            let axis = case.rng.of(&[0, 1, 1, 1, 2, 3]);
            let first = case.rng.of(&known[2..]);
            let fits = |graph: &Graph, value: &Value| {
                let (a, b) = (&graph.ty(*value).dims, &graph.ty(first).dims);
                (0..4).all(|i| i == axis || a[i] == b[i]) && a[axis] + b[axis] < 100
            };
            let fitting: Vec<Value> =
                known.iter().copied().filter(|value| fits(&case.graph, value)).collect();
            let mut parts = vec![first];
            for _ in 0..1 + case.rng.below(3) {
                parts.push(if fitting.is_empty() { first } else { case.rng.of(&fitting) });
            }
            let joined = case.concat(&parts, axis);
            known.push(joined);
            if case.rng.once_in(3) {
                let part = case.rng.of(&parts);
                case.output(part);
            }
        }
        for _ in 0..2 {
            let last = *known.last().expect("a value");
            let y = case.layer(last);
            case.output(y);
        }
        let passes = if seed % 2 == 0 { pipelines::TRAIN } else { pipelines::INFER };
        let (done, _) = case.check(passes, seed % 4 < 2);
        changed[(seed % 2) as usize] += usize::from(done);
    }
    println!("changed: {changed:?}");
    assert!(changed.iter().all(|&count| count >= 20), "the pass changed {changed:?} programs");
}

/// As in an inception block: products of one input that are joined or not, and where they end. What is copied are the
/// weights and biases of the joined ones, which are state here; compiling a model has them in `prepare`.
#[test]
fn an_inception_block_copies_no_image() {
    let mut case = Case::new(1);
    let x = case.parameter(Role::Data, &[2, 24, 7, 7]);
    let conv = |case: &mut Case, x: Value, count: usize, size: usize| {
        let channels = case.graph.ty(x).dims[1];
        let w = case.parameter(Role::State, &[count, channels, size, size]);
        let bias = case.parameter(Role::State, &[count]);
        let b = &mut case.builder();
        let padding = vec![(size / 2, size / 2); 2];
        let y = b.add_node(Conv { padding, ..Conv::new(2) }, &[x, w]).expect("conv");
        let dims = b.dims(y);
        let bias = b.broadcast(bias, &dims, &[1]).expect("broadcast");
        let y = b.add(y, bias).expect("add");
        let zero = b.full(0.0, &Type::new(DType::F32, dims)).expect("zero");
        b.max(y, zero).expect("max")
    };
    let mut y = x;
    for _ in 0..2 {
        let direct = conv(&mut case, y, 16, 1);
        let (a, b) = (conv(&mut case, y, 8, 1), conv(&mut case, y, 3, 1));
        let parts = [direct, conv(&mut case, a, 20, 3), conv(&mut case, b, 5, 3), conv(&mut case, y, 7, 1)];
        y = case.concat(&parts, 1);
    }
    let y = case.builder().function(Function::Tanh, y).expect("tanh");
    case.output(y);
    assert_eq!(case.check(pipelines::INFER, true), (true, 4));
}

/// As in a dense block: each layer reads all that came before; everything lies in the last result.
#[test]
fn a_dense_block_has_no_copies() {
    for growth in [1, 3, 16] {
        let mut case = Case::new(growth as u64);
        let x = case.parameter(Role::Data, &[1, 5, 4, 4]);
        let mut all = case.layer(x);
        for _ in 0..4 {
            let channels = case.graph.ty(all).dims[1];
            let w = case.parameter(Role::State, &[growth, channels, 3, 3]);
            let conv = Conv { padding: vec![(1, 1); 2], ..Conv::new(2) };
            let next = case.builder().add_node(conv, &[all, w]).expect("conv");
            all = case.concat(&[all, next], 1);
        }
        case.output(all);
        let (changed, copies) = case.check(pipelines::INFER, true);
        // Single channels are copied: contiguous loops would become scattered ones.
        assert!(growth == 1 || (changed && copies == 0), "growth {growth}: {copies} copies");
    }
}

/// A recurrence whose iterations join the input with what they remember.
#[test]
fn concatenations_in_loops_keep_their_bits() {
    for (batch, count) in [(1, 3), (3, 16), (2, 17)] {
        let mut body = Graph::new("step");
        let of = |body: &mut Graph, name: &str, dims: &[usize]| {
            body.add_parameter(name, Role::Data, Type::new(DType::F32, dims))
        };
        let h = of(&mut body, "h", &[batch, count]);
        let x = of(&mut body, "x", &[batch, 4]);
        let w = of(&mut body, "w", &[count + 4, count]);
        let b = &mut Builder::new(&mut body, Origin::default());
        let squashed = b.function(Function::Tanh, x).expect("tanh");
        let joined = b.concat(&[squashed, h], 1).expect("concat");
        let product = b.add_node(Dot::new([vec![], vec![]], [vec![1], vec![0]]), &[joined, w]);
        let next = b.function(Function::Tanh, product.expect("dot")).expect("tanh");
        let both = b.concat(&[next, squashed, next], 1).expect("concat");
        body.add_output("h", Role::Data, next);
        body.add_output("both", Role::Data, both);
        let mut case = Case::new(batch as u64);
        let begin = case.parameter(Role::Data, &[batch, count]);
        let begin = case.builder().function(Function::Exp, begin).expect("exp");
        let xs = case.parameter(Role::Data, &[5, batch, 4]);
        let w = case.parameter(Role::State, &[count + 4, count]);
        let scan = Scan {
            body,
            length: 5,
            carries: 1,
            slices: 1,
            reverse: false,
            guarded: false,
            segments: Default::default(),
        };
        let results = case.builder().add_nodes(scan, &[begin, xs, w]).expect("scan");
        let last = case.concat(&[results[0], results[0]], 0);
        case.output(last);
        case.output(results[1]);
        let (changed, _) = case.check(pipelines::TRAIN, true);
        assert!(changed, "batch {batch}, {count} units");
    }
}
