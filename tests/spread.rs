//! How far a value reaches: what is not finite stays in its tile of Winograd's algorithm, or with its partner of Strassen's;
//! what a causal mask, a running sum or a reversed part hides does not touch a bit of what is seen.

use std::sync::Arc;

use crate::common::everywhere;
use brolga::ir::Graph;
use brolga::passes::Algorithms;
use brolga::runtime::{Executable, Instance};
use brolga::{CompileOptions, Model, Settings, State, TargetCpu, Tensor, Threads, compile};

/// Something of one input, compiled for a processor; weights are drawn by a fixed seed.
struct Case {
    executable: Arc<Executable>,
    state: State,
    dims: Vec<usize>,
}

impl Case {
    /// Layers.
    fn new(dims: &[usize], body: &str, options: CompileOptions) -> Case {
        let text = format!(
            "Model(inputs: {{ \"x\": \"f32{dims:?}\" }}, body: [{body}], \
             entries: {{ \"infer\": Infer(outputs: {{ \"y\": \"it\" }}) }})"
        );
        let model = Model::from_text("net.ron", &text, &Settings::default());
        let model = model.unwrap_or_else(|e| panic!("{e}\n{text}")).with_options(options);
        let state = model.initial_state(5).expect("a state");
        Case { executable: model.compile("infer").expect("code"), state, dims: dims.to_vec() }
    }

    /// Operators of a graph.
    fn graph(dims: &[usize], nodes: &str, options: &CompileOptions) -> Case {
        let text = format!("graph @net(%x: f32{dims:?}) {{\n{nodes}\n  return %y as \"y\"\n}}\n");
        let graph = Graph::parse(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
        let executable = compile(&graph, options).unwrap_or_else(|e| panic!("{e}\n{text}"));
        Case { executable: Arc::new(executable), state: State::new(), dims: dims.to_vec() }
    }

    /// Numbers between -1 and 1.
    fn plain(&self) -> Vec<f32> {
        let count: usize = self.dims.iter().product();
        (0..count).map(|i| ((i * 7919 + 13) % 509) as f32 / 254.5 - 1.0).collect()
    }

    /// The bits of the result, and its extents.
    fn run(&mut self, x: &[f32], threads: usize) -> (Vec<u32>, Vec<usize>) {
        let threads = Threads::new(threads).expect("threads");
        let mut instance = Instance::bind(self.executable.clone(), &self.state, &threads).expect("bind");
        let x = Tensor::from_slice(&self.dims, x).expect("an input");
        let outputs = instance.run_named(&mut self.state, &[("x", &x)]).expect("a run");
        let y = &outputs[0].1;
        (y.as_slice::<f32>().expect("floats").iter().map(|v| v.to_bits()).collect(), y.dims().to_vec())
    }
}

/// What is not finite, and what makes rounding errors of everything that it is added to.
const STRANGE: [f32; 5] = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, 1e30];

fn options(target_cpu: TargetCpu, algorithms: Algorithms) -> CompileOptions {
    let mut options = CompileOptions { target_cpu, ..CompileOptions::default() };
    options.passes.algorithms = algorithms;
    options.passes.least_part = 16;
    options
}

/// A strange value at some positions of the second of three images: which positions of which image change.
fn spreads(case: &mut Case, reaches: &dyn Fn(usize, usize, [usize; 2]) -> bool, what: &str) {
    let plain = case.plain();
    let (before, dims) = case.run(&plain, 1);
    let [_, channels, height, width] = case.dims[..] else { panic!("images") };
    let mut changed = 0;
    for (number, &strange) in STRANGE.iter().enumerate() {
        for (at, threads) in [(0, 1), (height * width / 2 + 1, 2), (height * width - 1, 2)] {
            let mut x = plain.clone();
            x[(channels + number % channels) * height * width + at] = strange;
            let (after, _) = case.run(&x, threads);
            let differing = (0..after.len()).filter(|&i| before[i] != after[i]);
            for i in differing {
                let (image, position) = (i / (dims[1] * dims[2] * dims[3]), i % (dims[2] * dims[3]));
                let place = [position / dims[3], position % dims[3]];
                assert!(
                    image == 1 && reaches(at / width, at % width, place),
                    "{what}: {strange} at {at} of image 1 changes position {place:?} of image {image}"
                );
                changed += 1;
            }
        }
    }
    assert!(changed > 0, "{what}: nothing changes");
}

/// An output position belongs to a tile of `size` outputs, which reads `size + 2` inputs from one before it.
#[test]
fn strange_values_stay_in_their_tile() {
    for size in [2, 4] {
        for cpu in [TargetCpu::Portable, TargetCpu::Native] {
            let body = "Conv2d(features: 16, kernel: 3, padding: 1)";
            let mut case = Case::new(&[3, 8, 13, 14], body, options(cpu, everywhere(size)));
            let along = |from: usize, to: usize| {
                let first = to / size * size;
                (first..first + size + 2).contains(&(from + 1))
            };
            let reaches = |y, x, [to_y, to_x]: [usize; 2]| along(y, to_y) && along(x, to_x);
            spreads(&mut case, &reaches, &format!("tiles of {size}, {cpu}"));
        }
    }
}

/// Positions of an image are rows of a product, in pairs of neighbours.
#[test]
fn strange_values_stay_with_their_partner() {
    for cpu in [TargetCpu::Portable, TargetCpu::Native] {
        let body = "Conv2d(features: 64, kernel: 1)";
        let mut case = Case::new(&[3, 64, 6, 8], body, options(cpu, everywhere(4)));
        let reaches = |y: usize, x: usize, [to_y, to_x]: [usize; 2]| (y * 8 + x) / 2 == (to_y * 8 + to_x) / 2;
        spreads(&mut case, &reaches, &format!("pairs, {cpu}"));
    }
}

/// What is hidden may have any finite value: row `t` of the result depends on rows that `t` sees only.
#[test]
fn what_is_hidden_changes_no_bit() {
    let length = 9;
    let cases = [
        ("MultiHeadAttention(heads: 2, causal: true)", 0),
        (
            "Linear(8), MultiHeadAttention(heads: 4, causal: true), Linear(8), MultiHeadAttention(heads: 2, causal: true)",
            0,
        ),
        ("Expr(\"attention(it, it, it, heads=2, causal=true)\")", 0),
        (
            "Expr(\"attention(it, it, it, mask=transpose(positions(it[0, :, :9], axis=0)) <= positions(it[0, :, :9], axis=0))\")",
            0,
        ),
        ("Expr(\"cumsum(it, axis=1)\")", 0),
        ("Expr(\"where(positions(it, axis=1) < 4, it, 0)\")", 2),
        ("Expr(\"softmax(it[:, :4], axis=1)\")", 2),
        ("  %y = cumulative_add %x {axis: 1, reverse: true}", 1),
        ("  %r = reverse %x {axes: [1]}\n  %y = slice %r {start: [0, 5, 0], limit: [2, 9, 16]}", 2),
        (
            "  %r = reverse %x {axes: [1]}\n  %s = slice %r {start: [0, 5, 0], limit: [2, 9, 16]}\n  \
             %y = reduce_add %s {axes: [1]}",
            2,
        ),
    ];
    for (body, form) in cases {
        for cpu in [TargetCpu::Portable, TargetCpu::Native] {
            let (dims, options) = ([2, length, 16], options(cpu, Algorithms::default()));
            let mut case = match body.starts_with(' ') {
                true => Case::graph(&dims, body, &options),
                false => Case::new(&dims, body, options),
            };
            let plain = case.plain();
            let (before, dims) = case.run(&plain, 1);
            for cut in 1..length {
                // Rows from `cut` on are hidden from those before it; of the reversed sum the other way round; a mask and a
                // part hide all from 4 on.
                let hidden = |row: usize| match form {
                    0 => row >= cut,
                    1 => row < cut,
                    _ => row >= 4,
                };
                let seen = |i: usize| form == 2 || !hidden(i / dims[2] % dims[1]);
                let huge = [1e12f32, -3e-20, 1e4, -7e10][cut % 4];
                let mut x = plain.clone();
                let rows = x.iter_mut().enumerate().filter(|(i, _)| hidden(i / 16 % length));
                rows.for_each(|(i, v)| *v = huge * (1.0 + (i % 5) as f32));
                let (after, _) = case.run(&x, 1 + cut % 2);
                let differs = (0..after.len()).find(|&i| seen(i) && before[i] != after[i]);
                assert!(differs.is_none(), "{body}, {cpu}, rows from {cut}: element {differs:?}");
            }
        }
    }
}
