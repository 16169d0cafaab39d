//! Sums, and what is made of them, as machine code: bits on every target and with any number of threads, and errors against
//! f64 as sums grow.
//!
//! `BROLGA_LONG_SUMS=1 cargo test --release --test all sums` goes up to 2^26 elements.

use std::collections::HashMap;

use brolga::runtime::{Instance, State};
use brolga::{Model, Settings, Threads};
use brolga_codegen::TargetCpu;
use brolga_ir::graph::Origin;
use brolga_ir::ops::{Conv, ReduceWindow, Role};
use brolga_ir::program::interpret::Interpreter;
use brolga_ir::program::{Combine, Program};
use brolga_ir::scalar::{Comparison, Function, ScalarOp};
use brolga_ir::{Builder, DType, Graph, GraphError, Tensor, Type, Value};
use brolga_passes::lower::{BLOCK, lower};
use brolga_passes::{Manager, Options, pipelines};

use crate::common::compiled;
use crate::common::lcg::Lcg;

fn numbers(count: usize, salt: u64) -> Vec<f32> {
    let mut random = Lcg::new(salt);
    (0..count).map(|_| random.unit() as f32).collect()
}

/// What a test makes of a tensor, along axes.
type Build<'a> = &'a dyn Fn(&mut Builder, Value) -> Result<Vec<Value>, GraphError>;

fn program(dims: &[usize], least_part: u64, build: Build<'_>) -> Program {
    let mut graph = Graph::new("test");
    let x = graph.add_parameter("x", Role::Data, Type::new(DType::F32, dims));
    let mut b = Builder::new(&mut graph, Origin::default());
    let outputs = build(&mut b, x).expect("a graph");
    for (i, value) in outputs.into_iter().enumerate() {
        graph.add_output(&format!("y{i}"), Role::Data, value);
    }
    let mut manager = Manager::new(Options { least_part, ..Options::default() });
    for passes in [pipelines::TRAIN, pipelines::REGIONS] {
        manager.run(passes, &mut graph).expect("graph passes");
    }
    let mut program = lower(&graph, &HashMap::new()).expect("lower");
    manager.run(pipelines::PROGRAM, &mut program).expect("program passes");
    program
}

/// Mean, variance around it, norm, and logarithm of the sum of exponentials.
fn statistics(b: &mut Builder, x: Value, axes: &[usize]) -> Result<Vec<Value>, GraphError> {
    let dims = b.dims(x);
    let kept: Vec<usize> = (0..dims.len()).filter(|axis| !axes.contains(axis)).collect();
    let mean = b.mean(x, axes)?;
    let spread = b.broadcast(mean, &dims, &kept)?;
    let centred = b.sub(x, spread)?;
    let square = b.mul(centred, centred)?;
    let variance = b.mean(square, axes)?;
    let square = b.mul(x, x)?;
    let sum = b.sum(square, axes)?;
    let norm = b.elementwise(ScalarOp::Sqrt, &[sum])?;
    let largest = b.reduce(Combine::Max, x, axes)?;
    let spread = b.broadcast(largest, &dims, &kept)?;
    let shifted = b.sub(x, spread)?;
    let exp = b.elementwise(ScalarOp::Function(Function::Exp), &[shifted])?;
    let sum = b.sum(exp, axes)?;
    let log = b.elementwise(ScalarOp::Function(Function::Log), &[sum])?;
    Ok(vec![mean, variance, norm, b.add(log, largest)?])
}

/// The same in f64.
fn exact(x: &[f32]) -> [f64; 4] {
    let n = x.len() as f64;
    let all = || x.iter().map(|&v| f64::from(v));
    let mean = all().sum::<f64>() / n;
    let variance = all().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
    let norm = all().map(|v| v * v).sum::<f64>().sqrt();
    let largest = all().fold(f64::NEG_INFINITY, f64::max);
    [mean, variance, norm, all().map(|v| (v - largest).exp()).sum::<f64>().ln() + largest]
}

/// On every target and with any number of threads, a program gives the bits of the interpreter.
fn has_the_same_bits(what: &str, program: &Program, inputs: &[Tensor]) {
    let expected = Interpreter::new(program).and_then(|run| run.run(inputs, &mut [])).expect("a run");
    for cpu in TargetCpu::ALL {
        let runs = match cpu {
            TargetCpu::Portable | TargetCpu::Native => true,
            TargetCpu::X86_64V3 => brolga_runtime::cpu_has("avx2"),
            TargetCpu::X86_64V4 => {
                ["avx512f", "avx512bw", "avx512dq", "avx512vl"].into_iter().all(brolga_runtime::cpu_has)
            }
        };
        for threads in [1, 2, 5] {
            let (found, _) = match cpu {
                _ if runs => compiled::run(program, cpu, threads, inputs, &[]),
                TargetCpu::X86_64V4 => {
                    compiled::run_compiled(compiled::compile_emulated(program), threads, inputs, &[])
                }
                _ => continue,
            };
            for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
                let same = (0..expected.elements()).all(|at| found.get(at).same(expected.get(at)));
                assert!(same, "{what}, result {i}, {cpu}, {threads} threads");
            }
        }
    }
}

/// Every target, AVX-512 by the emulator where the machine lacks it, 1, 2 and 5 threads: the bits of the interpreter.
#[test]
fn every_target_and_any_number_of_threads_give_the_same_bits() {
    let cases: [(&[usize], &[usize]); 9] = [
        (&[2500], &[0]),
        (&[3, 1100], &[1]),
        (&[2100, 20], &[0]),
        (&[40, 130], &[0]),
        (&[2, 70, 3], &[1]),
        (&[6, 4, 45], &[0, 2]),
        (&[6, 4, 64], &[0, 2]),
        (&[3, 400, 2, 17], &[0, 1]),
        (&[9, 2, 150, 33], &[0, 2]),
    ];
    for (dims, axes) in cases {
        let program = program(dims, 64, &|b, x| statistics(b, x, axes));
        let inputs = [Tensor::f32(dims, numbers(dims.iter().product(), 5))];
        has_the_same_bits(&format!("{dims:?} along {axes:?}"), &program, &inputs);
    }
    // As long as it takes to have several blocks, pieces and rows.
    for (what, dims, .., build) in long_sums(4500) {
        let program = program(&dims, 64, &*build);
        let inputs = [Tensor::f32(dims.as_slice(), numbers(dims.iter().product(), 6))];
        has_the_same_bits(what, &program, &inputs);
    }
}

/// Means, variances, norms and logsumexp against f64: along rows, columns, axes in the middle, and all axes.
#[test]
fn errors_grow_like_the_logarithm() {
    let mut lengths = vec![1, 2, 31, 32, 33, 1000, (1 << 16) + 1, 1 << 20];
    if std::env::var("BROLGA_LONG_SUMS").is_ok() {
        lengths.extend([1 << 24, 1 << 26]);
    }
    let mut worst = 0.0f64;
    for n in lengths {
        // Few columns where they are long.
        let wide = if n > 1 << 20 { 1 } else { 3 };
        let layouts: [(Vec<usize>, Vec<usize>); 5] = [
            (vec![n], vec![0]),
            (vec![wide, n], vec![1]),
            (vec![n, wide], vec![0]),
            (vec![wide, n, 2], vec![1]),
            (vec![n.div_ceil(2), 2], vec![0, 1]),
        ];
        for (dims, axes) in layouts {
            let count: usize = dims.iter().product();
            let reduced: usize = axes.iter().map(|&axis| dims[axis]).product();
            let program = program(&dims, 1 << 14, &|b, x| statistics(b, x, &axes));
            for equal in [false, true] {
                let x = match equal {
                    true => vec![0.1; count],
                    false => numbers(count, 7).into_iter().map(|v| v + 0.5).collect(),
                };
                let behind: usize = dims[axes[axes.len() - 1] + 1..].iter().product();
                let first: Vec<f32> = (0..reduced).map(|i| x[i * behind]).collect();
                let inputs = [Tensor::f32(dims.as_slice(), x)];
                let (found, _) = compiled::run(&program, TargetCpu::Native, 2, &inputs, &[]);
                for (i, (found, exact)) in found.iter().zip(exact(&first)).enumerate() {
                    // What may be nothing but rounding is measured against the size of the values.
                    let size = exact.abs().max([0.1, 1e-2, 0.0, 0.1][i]);
                    let error = (found.get(0).to_f64() - exact).abs() / size;
                    worst = worst.max(error);
                    let what = ["mean", "variance", "norm", "logsumexp"][i];
                    assert!(
                        error < 1e-6,
                        "{what} of {dims:?} along {axes:?}, equal {equal}: off by {error:.1e}"
                    );
                }
            }
        }
    }
    println!("largest error {worst:.1e}");
}

/// The gradient of what is repeated is a sum: over rows, over columns, over both.
#[test]
fn gradients_of_long_sums() {
    let n = 300_000;
    for (dims, axes) in [([n, 3], [1]), ([3, n], [0])] {
        // The gradient of sum(x * (repeated b)) with respect to b is the sum of x over what b is repeated along.
        let program = program(&dims, 1 << 14, &|b, x| {
            let first = b.slice(x, &[0, 0], &if axes == [1] { [1, 3] } else { [3, 1] }, &[1, 1])?;
            let bias = b.reshape(first, &[3])?;
            let repeated = b.broadcast(bias, &dims, &axes)?;
            let y = b.mul(x, repeated)?;
            let loss = b.sum(y, &[0, 1])?;
            b.gradient(loss, &[bias])
        });
        let (found, _) =
            compiled::run(&program, TargetCpu::Native, 2, &[Tensor::f32(dims, vec![0.1; 3 * n])], &[]);
        let exact = n as f64 * f64::from(0.1f32);
        let error = (found[0].get(1).to_f64() - exact).abs() / exact;
        assert!(error < 1e-6, "{dims:?}: off by {error:.1e}");
    }
}

/// A long sum of 0.1 that is no reduction: what it is, the extents of x, which element of the first result, how many terms, and
/// the factor of each.
type Long = (
    &'static str,
    Vec<usize>,
    usize,
    usize,
    f64,
    Box<dyn Fn(&mut Builder, Value) -> Result<Vec<Value>, GraphError>>,
);

/// Windows that cover the axis, and that overlap, with their gradients; sums by computed indices, in few rows and in many;
/// gradients of the weights of convolutions, whose chains have 4,096 positions.
fn long_sums(n: usize) -> Vec<Long> {
    [windows(n), indices(n), weights(n)].into_iter().flatten().collect()
}

/// The sum of y, each times 0.1.
fn tenths(b: &mut Builder, y: Value) -> Result<Value, GraphError> {
    let dy = b.full_like(y, f64::from(0.1f32))?;
    let y = b.mul(y, dy)?;
    let axes: Vec<usize> = (0..b.dims(y).len()).collect();
    b.sum(y, &axes)
}

fn windows(n: usize) -> Vec<Long> {
    let window = |combine, n: usize| ReduceWindow::new(combine, &[1, n], &[1, 1]);
    vec![
        (
            "a window",
            vec![1, n],
            0,
            n,
            1.0,
            Box::new(move |b, x| Ok(vec![b.reduce_window(window(Combine::Add, n), x)?])),
        ),
        (
            "windows",
            vec![1, 2 * n],
            n / 2,
            n,
            1.0,
            Box::new(move |b, x| Ok(vec![b.reduce_window(window(Combine::Add, n), x)?])),
        ),
        (
            "the gradient of windows",
            vec![1, 2 * n],
            n,
            n,
            1.0,
            Box::new(move |b, x| {
                let y = b.reduce_window(window(Combine::Add, n), x)?;
                let loss = tenths(b, y)?;
                b.gradient(loss, &[x])
            }),
        ),
        (
            "the gradient of maxima",
            vec![1, 2 * n],
            n,
            n,
            1.0,
            Box::new(move |b, x| {
                let (position, middle) = (b.iota(DType::F32, &[1, 2 * n], 1)?, b.full_like(x, n as f64)?);
                let here = b.compare(Comparison::Eq, position, middle)?;
                let here = b.convert(here, DType::F32)?;
                let x = b.add(x, here)?;
                let y = b.reduce_window(window(Combine::Max, n), x)?;
                let loss = tenths(b, y)?;
                b.gradient(loss, &[x])
            }),
        ),
    ]
}

fn indices(n: usize) -> Vec<Long> {
    let index = |b: &mut Builder, x: Value| {
        let zero = b.mul_scalar(x, 0.0)?;
        b.convert(zero, DType::I32)
    };
    vec![
        (
            "few rows",
            vec![n, 1],
            0,
            n,
            1.0,
            Box::new(move |b, x| {
                let (i, base) = (index(b, x)?, b.full(0.0, &Type::new(DType::F32, [3, 1]))?);
                let i = b.reshape(i, &[n])?;
                Ok(vec![b.scatter_add(base, i, x, 0)?])
            }),
        ),
        (
            "many rows",
            vec![n, 1],
            0,
            n,
            1.0,
            Box::new(move |b, x| {
                let (i, base) = (index(b, x)?, b.full(0.0, &Type::new(DType::F32, [n + 1, 1]))?);
                let i = b.reshape(i, &[n])?;
                Ok(vec![b.scatter_add(base, i, x, 0)?])
            }),
        ),
        (
            "rows of their own",
            vec![1, n],
            0,
            n,
            1.0,
            Box::new(move |b, x| {
                let (i, base) = (index(b, x)?, b.full(0.0, &Type::new(DType::F32, [1, 3]))?);
                Ok(vec![b.scatter_add_along(base, i, x, 1)?])
            }),
        ),
    ]
}

fn weights(n: usize) -> Vec<Long> {
    let conv = move |spatial: usize| {
        move |b: &mut Builder, x: Value| {
            let dims = b.dims(x);
            let limit: Vec<usize> =
                dims.iter().enumerate().map(|(axis, _)| if axis < 2 { 1 } else { 3 }).collect();
            let w = b.slice(x, &vec![0; dims.len()], &limit, &vec![1; dims.len()])?;
            let y = b.conv(Conv::new(spatial), x, w)?;
            let loss = tenths(b, y)?;
            b.gradient(loss, &[w])
        }
    };
    let square = f64::from(0.1f32);
    vec![
        ("weights along a line", vec![1, 1, n + 2], 1, n, square, Box::new(conv(1))),
        ("weights along three lines", vec![3, 1, n + 2], 1, 3 * n, square, Box::new(conv(1))),
        (
            "weights over an image",
            vec![1, 1, n.div_ceil(64) + 2, 66],
            4,
            n.div_ceil(64) * 64,
            square,
            Box::new(conv(2)),
        ),
    ]
}

#[test]
fn errors_of_windows_indices_and_weights_do_not_grow() {
    let mut worst = 0.0f64;
    for n in [65, 1000, (1 << 16) + 1, 1 << 20] {
        for (what, dims, at, terms, factor, build) in long_sums(n) {
            let program = program(&dims, 1 << 14, &*build);
            let count: usize = dims.iter().product();
            let inputs = [Tensor::f32(dims.as_slice(), vec![0.1; count])];
            let (found, _) = compiled::run(&program, TargetCpu::Native, 2, &inputs, &[]);
            let exact = terms as f64 * f64::from(0.1f32) * factor;
            let error = (found[0].get(at).to_f64() - exact).abs() / exact;
            let limit = if factor == 1.0 { 2e-6 } else { 1e-4 };
            worst = worst.max(error);
            assert!(error < limit, "{what}, {n}: off by {error:.1e}");
        }
    }
    println!("largest error {worst:.1e}");
}

/// One run of an entry of a model on inputs of 0.1, or of index 0; the first output, and how the first trained number changes.
fn run_layers(text: &str, entry: &str) -> (f64, f64) {
    let threads = Threads::new(2).unwrap();
    let model =
        Model::from_text("layers.ron", text, &Settings::default()).unwrap_or_else(|e| panic!("{text}: {e}"));
    let executable = model.compile(entry).unwrap();
    let manifest = executable.manifest().clone();
    let mut state = model.initial_state(0).unwrap();
    let trained = |state: &State| {
        let slot = state.slots().iter().find(|slot| slot.tensor().dtype() == brolga_runtime::DType::F32);
        slot.map_or(0.0, |slot| f64::from(slot.tensor().as_slice::<f32>().unwrap()[0]))
    };
    let before = trained(&state);
    let inputs: Vec<brolga_runtime::Tensor> = (manifest.inputs.iter())
        .map(|input| {
            let count = input.dims.iter().product();
            match input.dtype {
                brolga_runtime::DType::F32 => {
                    brolga_runtime::Tensor::from_slice(&input.dims, &vec![0.1f32; count]).unwrap()
                }
                dtype => brolga_runtime::Tensor::zeros(dtype, &input.dims).unwrap(),
            }
        })
        .collect();
    let outputs = manifest.outputs.iter();
    let mut outputs: Vec<brolga_runtime::Tensor> =
        outputs.map(|output| brolga_runtime::Tensor::zeros(output.dtype, &output.dims).unwrap()).collect();
    let mut instance = Instance::bind(executable, &state, &threads).unwrap();
    instance.run_tensors(&mut state, &inputs, &mut outputs).unwrap();
    drop(instance);
    let first = outputs.first().map_or(0.0, |output| f64::from(output.as_slice::<f32>().unwrap()[0]));
    (first, before - trained(&state))
}

/// Layers that average, and layers whose gradients are long sums: of 0.1 each, or of 0.01 for weights.
#[test]
fn layers_over_long_axes() {
    let n = 1 << 18;
    let at = |text: &str| text.replace("$h", &(n / 2).to_string()).replace("$n", &n.to_string());
    for call in [
        "AvgPool1d($n)",
        "AvgPool1d(kernel: $h, stride: 1)",
        "AvgPool1d(kernel: $h, stride: 5, padding: 7, count_include_pad: false)",
        "GlobalAvgPool",
        "AdaptiveAvgPool1d(1)",
        "AdaptiveAvgPool1d(3)",
        "Expr(\"mean(it, axis=-1)\")",
    ] {
        let text = format!(
            "Model(inputs: {{ \"x\": \"f32[1, 1, {n}]\" }}, body: [{}], entries: {{ \"infer\": Infer(outputs: {{ \"y\": \
             \"it\" }}) }})",
            at(call)
        );
        let error = (run_layers(&text, "infer").0 / f64::from(0.1f32) - 1.0).abs();
        assert!(error < 1e-6, "{call}: off by {error:.1e}");
    }
    for (call, input, each, limit) in [
        ("Embedding(vocabulary: 3, features: 2)", "i32[$n]", 0.1, 2e-6),
        ("Embedding(vocabulary: 300000, features: 1)", "i32[$n]", 0.1, 2e-6),
        ("Parameter(dims: [3]), Expr(\"take(it, x)\")", "i32[$n]", 0.1, 2e-6),
        ("Parameter(dims: [3, 2]), Expr(\"it[x]\")", "i32[$n]", 0.1, 2e-6),
        ("Conv1d(features: 1, kernel: 3, padding: 1, bias: false)", "f32[1, 1, $n]", 0.01, 1e-4),
        ("Conv1d(features: 20, kernel: 1, bias: false)", "f32[1, 18, $n]", 0.01, 1e-4),
        ("Parameter(dims: [1]), Expr(\"x * it\")", "f32[$n]", 0.01, 2e-6),
    ] {
        let text = format!(
            "Model(inputs: {{ \"x\": \"{}\" }}, body: [{}], entries: {{ \"train\": Train(loss: \"sum(it) * 0.1\", \
             optimizer: Sgd(lr: 1)) }})",
            at(input),
            at(call)
        );
        let error = (run_layers(&text, "train").1 / (n as f64 * each) - 1.0).abs();
        assert!(error < limit, "{call}: off by {error:.1e}");
    }
}

/// The outputs of an entry `infer` without state, of one input.
fn run_infer(text: &str, dims: &[usize], x: &[f32]) -> Vec<Vec<f32>> {
    let model =
        Model::from_text("far.ron", text, &Settings::default()).unwrap_or_else(|e| panic!("{text}: {e}"));
    let mut state = model.initial_state(0).unwrap();
    let mut instance = Instance::bind(model.compile("infer").unwrap(), &state, &Threads::serial()).unwrap();
    let x = brolga_runtime::Tensor::from_slice(dims, x).unwrap();
    let outputs = instance.run_named(&mut state, &[("x", &x)]).unwrap();
    outputs.iter().map(|(_, output)| output.as_slice::<f32>().unwrap().to_vec()).collect()
}

/// Where the mean is a million times the deviation, its rounding is as large as what elements differ by; PyTorch's variance is
/// right to 6e-8 there.
#[test]
fn variances_far_from_zero() {
    let text = |n: usize| {
        format!(
            "Model(inputs: {{ \"x\": \"f32[{n}, 3]\" }}, body: [Expr(\"transpose(x, [1, 0])\")], entries: {{ \"infer\": \
             Infer(outputs: {{ \"a\": \"var(x, axis=0)\", \"b\": \"var(it, axis=1)\", \"c\": \"std(x, axis=0)\", \"d\": \
             \"std(it, axis=1, correction=1)\" }}) }})"
        )
    };
    for n in [2, 5, 33, 300, 5000] {
        let text = text(n);
        for mean in [0.0, -100.0, 1e4, -1e6, 1e7] {
            let x: Vec<f32> = numbers(3 * n, 11).into_iter().map(|v| mean + 10.0 * v).collect();
            let found = run_infer(&text, &[n, 3], &x);
            for column in 0..3 {
                let values: Vec<f32> = x.iter().skip(column).step_by(3).copied().collect();
                let [_, variance, ..] = exact(&values);
                let unbiased = variance * n as f64 / (n - 1) as f64;
                let right = [variance, variance, variance.sqrt(), unbiased.sqrt()];
                for (name, (found, right)) in ["a", "b", "c", "d"].iter().zip(found.iter().zip(right)) {
                    let error = (f64::from(found[column]) - right).abs();
                    assert!(
                        error <= 1e-6 * right,
                        "{name} of {n} around {mean}: off by {error:.1e} of {right:.1e}"
                    );
                }
            }
        }
    }
}

/// Zeros behind the elements change no bit of a sum, be they few, a block, or several.
#[test]
fn zeros_behind_change_no_bit() {
    let sum = |x: &[f32], columns: usize| {
        let dims = x.len().checked_div(columns).map_or(vec![x.len()], |rows| vec![rows, columns]);
        let dims = &dims[..];
        let program = program(dims, 1 << 14, &|b, x| Ok(vec![b.sum(x, &[0])?]));
        let (found, _) = compiled::run(&program, TargetCpu::Native, 2, &[Tensor::f32(dims, x.to_vec())], &[]);
        found[0].get(0).to_f64()
    };
    for (n, columns) in [(1000, 0), (5 * BLOCK + 7, 0), (90, 17), (3 * BLOCK, 12)] {
        let x = numbers(n * columns.max(1), 9);
        let expected = sum(&x, columns);
        for zeros in [1, 33, BLOCK, 5 * BLOCK + 1] {
            let longer = [x.as_slice(), &vec![0.0; zeros * columns.max(1)]].concat();
            assert_eq!(sum(&longer, columns), expected, "{n} elements, {columns} columns, {zeros} zeros");
        }
    }
}
