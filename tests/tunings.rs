//! Tunings change no bit: every choice for every product gives what the compiler's own choices give, in the program's
//! interpreter and as machine code.

use crate::common::compiled;
use crate::common::lcg::Lcg;
use std::collections::{BTreeSet, HashMap};

use brolga_codegen::TargetCpu;
use brolga_ir::choice::{self, Choice};
use brolga_ir::interpret::interpret;
use brolga_ir::ops::{Conv, ConvForm, Dot, Role};
use brolga_ir::program::interpret::Interpreter;
use brolga_ir::program::{Program, Step};
use brolga_ir::scalar::Scalar;
use brolga_ir::{Builder, DType, Graph, Origin, Tensor, Type, Value};
use brolga_passes::lower::lower_prepared;
use brolga_passes::{
    Algorithms, Manager, Options, Outer, Precision, ProductKind, Tuning, Tunings, pipelines,
};

/// Numbers in -1..1 that repeat late.
fn tensor(ty: &Type, salt: u64) -> Tensor {
    let mut random = Lcg::new(salt);
    Tensor::generate(ty, |_| Scalar::from_f64(ty.dtype, random.unit()))
}

/// A graph of one node, of inputs of those extents; the second may be state, which is packed once.
fn single(
    op: impl Into<brolga_ir::Op>,
    layout: choice::Layout,
    x: &[usize],
    w: &[usize],
    fixed: bool,
) -> Graph {
    let mut graph = Graph::new("single");
    let x = graph.add_parameter("x", Role::Data, Type::new(DType::F32, x));
    let role = if fixed { Role::State } else { Role::Data };
    let w = graph.add_parameter("w", role, Type::new(DType::F32, w));
    let node = graph.add_chosen(op, layout, &[x, w], &Origin::default()).expect("a node");
    let result = graph.result(node);
    graph.add_output("y", Role::Data, result);
    graph
}

/// The same by an algorithm.
fn chosen(mut graph: Graph, algorithm: choice::Algorithm) -> Graph {
    let node = graph.outputs()[0].value.node;
    graph.set_choice(node, Choice { algorithm, ..graph.choice(node) });
    graph
}

/// A graph of one product.
fn product(dot: Dot, x: &[usize], w: &[usize], fixed: bool) -> Graph {
    single(dot, choice::Layout::default(), x, w, fixed)
}

/// The same with `max(y + b, 0) * z` behind it, which is computed in the kernel of the product.
fn with_epilogue(mut graph: Graph) -> Graph {
    let y = graph.outputs()[0].value;
    let dims = graph.ty(y).dims.clone();
    let columns = *dims.last().expect("an axis");
    let bias = graph.add_parameter("b", Role::State, Type::new(DType::F32, [columns]));
    let other = graph.add_parameter("z", Role::Data, Type::new(DType::F32, dims.clone()));
    let mut b = Builder::new(&mut graph, Origin::default());
    let build = |b: &mut Builder| -> Result<Value, brolga_ir::GraphError> {
        let bias = b.broadcast(bias, &dims, &[dims.len() - 1])?;
        let sum = b.add(y, bias)?;
        let zero = b.zeros_like(sum)?;
        let positive = b.max(sum, zero)?;
        b.mul(positive, other)
    };
    let result = build(&mut b).expect("an epilogue");
    graph.outputs_mut().clear();
    graph.add_output("y", Role::Data, result);
    graph
}

/// A convolution with its channels last, in one of its three forms.
struct Case {
    conv: Conv,
    batch: usize,
    channels: usize,
    outputs: usize,
    image: [usize; 2],
    kernel: [usize; 2],
}

impl Case {
    fn graph(&self, form: &str, fixed: bool) -> Graph {
        let (conv, last) = (&self.conv, choice::Layout::ChannelsLast);
        let x = [self.batch, self.image[0], self.image[1], self.channels];
        let w = [self.outputs, self.channels / conv.groups, self.kernel[0], self.kernel[1]];
        let forward = single(conv.clone(), last, &x, &w, fixed);
        let y = forward.ty(forward.outputs()[0].value).dims.clone();
        match form {
            "forward" => forward,
            "input" => {
                let form = ConvForm::InputGradient { size: self.image.to_vec() };
                single(conv.with_form(form), last, &y, &w, fixed)
            }
            _ => {
                let form = ConvForm::WeightGradient { kernel: self.kernel.to_vec() };
                single(conv.with_form(form), last, &x, &y, false)
            }
        }
    }
}

fn lowered(graph: &Graph, precision: Precision, tunings: Tunings) -> Program {
    lowered_with(graph, Options { precision, tunings, ..Options::default() })
}

fn lowered_with(graph: &Graph, options: Options) -> Program {
    let mut graph = graph.clone();
    let mut manager = Manager::new(Options { algorithms: Algorithms::NONE, least_part: 16, ..options });
    // Rounded weights are packed as they are stored.
    let passes = pipelines::GRAPH_PASSES.iter().filter(|pass| ["narrow", "fuse"].contains(&pass.name));
    for pass in passes {
        manager.run(std::slice::from_ref(pass), &mut graph).expect("a graph pass");
    }
    let made = manager.make("lower", |options| lower_prepared(&graph, &HashMap::new(), options));
    let mut program = made.expect("lowering").expect("a manager that does not stop");
    manager.run(pipelines::PROGRAM, &mut program).expect("program passes");
    program
}

/// The keys of the products of a graph.
fn keys(graph: &Graph, precision: Precision) -> BTreeSet<String> {
    let program = lowered(graph, precision, Tunings::default().labelled());
    let origins = program.schedule.iter().filter_map(|step| match step {
        Step::Call(call) => Some(call.origin.clone()),
        _ => None,
    });
    origins.filter(|origin| ProductKind::of(origin).is_some()).collect()
}

fn parameters(graph: &Graph, role: Role) -> Vec<(String, Tensor)> {
    let all = graph.parameters().iter().zip(1..).map(|(&id, salt)| (graph.parameter(id).expect("one"), salt));
    let all = all.filter(|(p, _)| p.role == role);
    all.map(|(p, salt)| (p.name.clone(), tensor(&p.ty, salt))).collect()
}

fn interpreted(program: &Program, graph: &Graph) -> Vec<Tensor> {
    let values = |role| parameters(graph, role).into_iter().map(|(_, tensor)| tensor).collect::<Vec<_>>();
    let run = Interpreter::new(program).expect("an interpreter");
    run.run(&values(Role::Data), &mut values(Role::State)).unwrap_or_else(|e| panic!("{e}\n{program}"))
}

fn machine(program: &Program, graph: &Graph, cpu: TargetCpu) -> Vec<Tensor> {
    let inputs: Vec<Tensor> = parameters(graph, Role::Data).into_iter().map(|(_, tensor)| tensor).collect();
    compiled::run(program, cpu, 2, &inputs, &parameters(graph, Role::State)).0
}

fn same(found: &[Tensor], expected: &[Tensor], what: &str) {
    for (f, e) in found.iter().zip(expected) {
        assert_eq!(f.ty(), e.ty());
        if let Some(i) = (0..f.elements()).find(|&i| !f.get(i).same(e.get(i))) {
            panic!("{what}: [{i}] is {:?}, by default {:?}", f.get(i), e.get(i));
        }
    }
}

/// Tunings that nobody would choose: pieces of one, of odd sizes, of more than there is.
fn odd() -> Vec<Tuning> {
    let of = |rows, columns, depth, outer| Tuning {
        rows: Some(rows),
        columns: Some(columns),
        depth: Some(depth),
        outer,
    };
    vec![
        of(1, 1, 1, None),
        of(3, 5, 7, Some(Outer::Positions)),
        of(7, 17, 3, Some(Outer::Columns)),
        of(0, 0, 0, Some(Outer::Columns)),
        of(usize::MAX, usize::MAX, usize::MAX, Some(Outer::Positions)),
    ]
}

/// Every candidate of every choice, and odd ones; gives the number that made other programs.
fn check(name: &str, graph: &Graph, precision: Precision) -> usize {
    let base = lowered(graph, precision, Tunings::default());
    let expected = interpreted(&base, graph);
    if precision == Precision::F32 {
        let values: HashMap<String, Tensor> =
            [Role::Data, Role::State].into_iter().flat_map(|role| parameters(graph, role)).collect();
        let given = graph.parameters().iter().map(|&id| &values[&graph.parameter(id).expect("one").name]);
        let reference = interpret(graph, &given.collect::<Vec<_>>()).expect("the reference runs");
        for i in 0..reference[0].elements() {
            let (found, exact) = (expected[0].get(i).to_f64(), reference[0].get(i).to_f64());
            assert!((found - exact).abs() <= 2e-3 * (1.0 + exact.abs()), "{name}[{i}]: {found}, {exact}");
        }
    }
    let keys = keys(graph, precision);
    let mut different = 0;
    for key in &keys {
        let kind = ProductKind::of(key).expect("the key of a product");
        let candidates: Vec<Tuning> = kind.candidates().into_iter().flatten().collect();
        let all = candidates.iter().map(|&tuning| (tuning, true));
        let all = all.chain(odd().into_iter().map(|tuning| (tuning, false)));
        for (number, (tuning, candidate)) in all.enumerate() {
            let what = format!("{name}, {key}: {tuning}");
            let mut tunings = Tunings::default();
            tunings.set(key, tuning);
            let program = lowered(graph, precision, tunings);
            if program.kernels == base.kernels {
                continue;
            }
            different += 1;
            // What is expected comes from the interpreter, and odd tunings run there too.
            if candidate {
                let cpus: &[TargetCpu] = match number % 2 {
                    0 => &[TargetCpu::Native],
                    _ => &[TargetCpu::Native, TargetCpu::Portable],
                };
                for &cpu in cpus {
                    same(&machine(&program, graph, cpu), &expected, &format!("{what}, {cpu}"));
                }
            } else {
                same(&interpreted(&program, graph), &expected, &what);
                same(&machine(&program, graph, TargetCpu::Native), &expected, &what);
            }
        }
    }
    different
}

fn conv(stride: usize, padding: usize) -> Conv {
    Conv { stride: vec![stride; 2], padding: vec![(padding, padding); 2], ..Conv::new(2) }
}

#[test]
fn direct_convolutions() {
    let cases = [
        Case { conv: conv(1, 1), batch: 1, channels: 20, outputs: 37, image: [9, 11], kernel: [3, 3] },
        Case { conv: conv(2, 1), batch: 3, channels: 3, outputs: 48, image: [12, 7], kernel: [3, 3] },
        Case { conv: conv(1, 0), batch: 2, channels: 300, outputs: 32, image: [5, 5], kernel: [1, 1] },
        Case { conv: conv(2, 0), batch: 1, channels: 130, outputs: 24, image: [8, 8], kernel: [1, 1] },
        Case {
            conv: Conv { groups: 3, rhs_dilation: vec![2, 1], ..conv(1, 2) },
            batch: 9,
            channels: 6,
            outputs: 51,
            image: [6, 10],
            kernel: [2, 5],
        },
        Case { conv: conv(1, 0), batch: 1, channels: 1, outputs: 1, image: [1, 1], kernel: [1, 1] },
    ];
    let mut different = 0;
    for (number, case) in cases.iter().enumerate() {
        for form in ["forward", "input", "weights"] {
            let graph = case.graph(form, number % 2 == 0);
            different += check(&format!("case {number}, {form}"), &graph, Precision::F32);
        }
        different += check(
            &format!("case {number}, epilogue"),
            &with_epilogue(case.graph("forward", true)),
            Precision::F32,
        );
        different += check(&format!("case {number}, bf16"), &case.graph("forward", true), Precision::Bf16);
    }
    assert!(different > 200, "{different}");
}

#[test]
fn images_without_positions() {
    let case = Case { conv: conv(1, 1), batch: 0, channels: 4, outputs: 20, image: [8, 8], kernel: [3, 3] };
    for form in ["forward", "input", "weights"] {
        let graph = case.graph(form, true);
        check("an empty batch", &graph, Precision::F32);
        // The pass does not choose Winograd's algorithm for a gradient of nothing.
        if form != "weights" {
            let graph = chosen(graph, choice::Algorithm::Winograd(4));
            check("an empty batch", &graph, Precision::F32);
        }
    }
}

#[test]
fn strides_of_inputs() {
    // Transposed convolutions: taps come in phases.
    let spread = Conv { lhs_dilation: vec![2, 3], ..conv(1, 2) };
    let case = Case { conv: spread, batch: 2, channels: 5, outputs: 18, image: [7, 6], kernel: [3, 4] };
    for form in ["forward", "input", "weights"] {
        assert!(check(form, &case.graph(form, true), Precision::F32) > 0, "{form}");
    }
}

#[test]
fn long_weight_gradients() {
    // More positions than a tile goes through, and rows that are kernel positions.
    for channels in [1, 8] {
        let case =
            Case { conv: conv(1, 2), batch: 2, channels, outputs: 20, image: [30, 33], kernel: [3, 5] };
        assert!(check("long", &case.graph("weights", false), Precision::F32) > 0);
    }
}

#[test]
fn winograd_convolutions() {
    let mut different = 0;
    for (tile, batch, channels, outputs, image) in
        [(2, 1, 5, 18, [7, 9]), (2, 2, 140, 33, [6, 6]), (4, 1, 70, 40, [13, 10]), (4, 5, 16, 16, [21, 24])]
    {
        let algorithm = choice::Algorithm::Winograd(tile);
        let case = Case { conv: conv(1, 1), batch, channels, outputs, image, kernel: [3, 3] };
        for form in ["forward", "input", "weights"] {
            let graph = chosen(case.graph(form, true), algorithm);
            different += check(&format!("tiles of {tile}, {form}"), &graph, Precision::F32);
        }
        let graph = with_epilogue(chosen(case.graph("forward", false), algorithm));
        different += check(&format!("tiles of {tile}, epilogue"), &graph, Precision::F32);
    }
    for (kernel, tile) in [(5, 2), (4, 3)] {
        let kernel = [kernel; 2];
        let case = Case { conv: conv(1, 1), batch: 2, channels: 36, outputs: 50, image: [11, 14], kernel };
        for form in ["forward", "input", "weights"] {
            let graph = chosen(case.graph(form, false), choice::Algorithm::Winograd(tile));
            different += check(&format!("{kernel:?}, {form}"), &graph, Precision::F32);
        }
    }
    // Enough blocks of output channels for their weights to be transformed where they are used.
    let (conv, image) = (conv(1, 1), [6, 6]);
    let case = Case { conv, batch: 1, channels: 40, outputs: 160, image, kernel: [3, 3] };
    let graph = chosen(case.graph("forward", false), choice::Algorithm::Winograd(4));
    different += check("many blocks", &graph, Precision::F32);
    assert!(different > 100, "{different}");
}

#[test]
fn depthwise_convolutions() {
    let mut different = 0;
    for (stride, image) in [(1, [17, 15]), (2, [9, 31])] {
        let conv = Conv { groups: 21, ..conv(stride, 1) };
        let case = Case { conv, batch: 2, channels: 21, outputs: 21, image, kernel: [3, 3] };
        for form in ["forward", "input"] {
            different += check(form, &case.graph(form, true), Precision::F32);
        }
        different += check("epilogue", &with_epilogue(case.graph("forward", true)), Precision::F32);
    }
    assert!(different > 20, "{different}");
}

#[test]
fn products() {
    let dot = |batch: usize, left: usize, right: usize| {
        let axes: Vec<usize> = (0..batch).collect();
        Dot::new([axes.clone(), axes], [vec![batch + left], vec![batch + right]])
    };
    let mut different = 0;
    for (m, k, n) in [(3, 5, 7), (150, 300, 40), (1, 400, 33), (17, 600, 1), (130, 20, 200)] {
        for (left, right) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            let a = if left == 0 { [k, m] } else { [m, k] };
            let b = if right == 0 { [k, n] } else { [n, k] };
            // Fixed matrices are packed into panels.
            let fixed = left == 1;
            let graph = product(dot(0, left, right), &a, &b, fixed);
            let name = format!("{a:?} times {b:?}");
            different += check(&name, &graph, Precision::F32);
            if (left, right) == (1, 1) {
                different += check(&name, &graph, Precision::Bf16);
                different += check(&name, &with_epilogue(graph), Precision::F32);
            }
        }
    }
    let graph = product(dot(0, 1, 0), &[150, 300], &[300, 76], true);
    let graph = chosen(graph, choice::Algorithm::Strassen);
    different += check("halves", &graph, Precision::F32);
    different += check("halves", &with_epilogue(graph), Precision::F32);
    let batched = product(dot(1, 1, 0), &[3, 50, 70], &[3, 70, 36], false);
    different += check("batched", &batched, Precision::F32);
    assert!(different > 150, "{different}");
}

/// One thread gets other boxes than several, whose shares are to be even and of whole rows, and the same bits.
#[test]
fn programs_for_one_thread() {
    let square = |times: usize| {
        let [rows, terms, columns] = [98, 96, 96].map(|size| size * times);
        let dot = Dot::new([vec![], vec![]], [vec![1], vec![0]]);
        product(dot, &[rows, terms], &[terms, columns], true)
    };
    let case = |conv: Conv, channels: usize, outputs: usize, kernel: usize| Case {
        conv,
        batch: 1,
        channels,
        outputs,
        image: [14, 14],
        kernel: [kernel; 2],
    };
    let depthwise = Conv { groups: 96, ..conv(1, 1) };
    let graphs = [
        ("strassen", chosen(square(2), choice::Algorithm::Strassen)),
        ("product", square(1)),
        ("1 x 1", case(conv(1, 0), 160, 32, 1).graph("forward", true)),
        ("3 x 3", case(conv(1, 1), 64, 32, 3).graph("forward", true)),
        ("depthwise", case(depthwise, 96, 96, 3).graph("forward", true)),
    ];
    for (name, graph) in graphs {
        for graph in [graph.clone(), with_epilogue(graph)] {
            let [one, several] = [Some(1), None]
                .map(|threads| lowered_with(&graph, Options { threads, ..Options::default() }));
            assert!(one.kernels != several.kernels, "{name}: nothing differs");
            let expected = interpreted(&one, &graph);
            same(&interpreted(&several, &graph), &expected, name);
            same(&machine(&several, &graph, TargetCpu::Native), &expected, name);
            same(&machine(&one, &graph, TargetCpu::Native), &expected, name);
        }
    }
}

#[test]
fn keys_are_stable_and_tell_products_apart() {
    let case = |conv| Case { conv, batch: 1, channels: 20, outputs: 37, image: [9, 11], kernel: [3, 3] };
    let of = |graph: &Graph, precision| {
        let all = keys(graph, precision);
        assert_eq!(all, keys(graph, precision));
        assert_eq!(all.len(), 1, "{all:?}");
        all.into_iter().next().expect("one key")
    };
    let plain = case(conv(1, 1));
    assert_eq!(
        of(&plain.graph("forward", true), Precision::F32),
        "direct conv {stride: [1, 1], padding: [[1, 1], [1, 1]], channels_last: true} f32[1, 9, 11, 20], \
         f32[37, 20, 3, 3]"
    );
    let mut all = BTreeSet::new();
    let mut count = 0;
    let mut add = |graph: Graph, precision| {
        all.insert(of(&graph, precision));
        count += 1;
    };
    for form in ["forward", "input", "weights"] {
        add(case(conv(1, 1)).graph(form, true), Precision::F32);
        for tile in [2, 4] {
            let graph = case(conv(1, 1)).graph(form, true);
            add(chosen(graph, choice::Algorithm::Winograd(tile)), Precision::F32);
        }
        add(case(conv(2, 1)).graph(form, true), Precision::F32);
        add(case(conv(1, 0)).graph(form, true), Precision::F32);
        add(Case { batch: 2, ..case(conv(1, 1)) }.graph(form, true), Precision::F32);
        add(Case { outputs: 38, ..case(conv(1, 1)) }.graph(form, true), Precision::F32);
    }
    add(case(conv(1, 1)).graph("forward", true), Precision::Bf16);
    assert_eq!(all.len(), count);
    // The layer, and what is computed behind it, make no difference.
    let fused = with_epilogue(plain.graph("forward", true));
    assert_eq!(of(&fused, Precision::F32), of(&plain.graph("forward", false), Precision::F32));
}
