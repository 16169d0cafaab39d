//! Allocations, counted by the allocator of the whole process: compiled code makes none while it runs, on any thread; nor
//! does training between the steps of an epoch.

use std::alloc::{GlobalAlloc, Layout, System};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};

use brolga::codegen::{self, compile_checked};
use brolga::ir::Graph;
use brolga::ir::program::Program;
use brolga::models::data;
use brolga::runtime::container::open;
use brolga::runtime::{
    DType, Executable, Executables, Field, Flow, Instance, Options, Plan, Progress, TensorMut, TensorRef,
    Update, byte_len, train,
};
use brolga::{CompileOptions, Compiler, Model, Settings, State, Tensor, Threads, compile, random_inputs};

/// Counts the calls of the allocator by all threads, and bytes.
struct Counting;

static CALLS: AtomicUsize = AtomicUsize::new(0);
/// Bytes that are in use; it wraps around.
static BYTES: AtomicUsize = AtomicUsize::new(0);

fn count(more: usize, less: usize) {
    CALLS.fetch_add(1, Ordering::SeqCst);
    BYTES.fetch_add(more.wrapping_sub(less), Ordering::SeqCst);
}

// SAFETY: passes everything on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: promised by the caller.
        unsafe { System.alloc(layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: promised by the caller.
        unsafe { System.alloc_zeroed(layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size, layout.size());
        // SAFETY: promised by the caller.
        unsafe { System.realloc(pointer, layout, size) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(0, layout.size());
        // SAFETY: promised by the caller.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// A model with what kernels differ in: a convolution, statistics, random numbers, products, sums, an optimiser with two
/// slots for each parameter.
const MODEL: &str = "Model(
    inputs: { \"image\": \"f32[batch, 1, 8, 8]\", \"label\": \"i32[batch]\" },
    body: [
        Conv2d(features: 16, kernel: 3, padding: 1), BatchNorm, Relu, MaxPool2d(2), Flatten,
        Linear(32), LayerNorm, Gelu, Dropout(0.2), Linear(10), As(\"logits\"),
    ],
    entries: {
        \"infer\": Infer(outputs: { \"probability\": \"softmax(logits)\" }),
        \"train\": Train(loss: \"cross_entropy(logits, label)\", optimizer: Adam(lr: 0.01),
            metrics: { \"accuracy\": \"accuracy(logits, label)\" }),
    },
)";

/// What such models lack: loops and conditions,
const NESTED: &str = include_str!("graphs/nested.ir");

/// sorting, scattering, and arithmetic in f64.
const MIXED: &str = "graph @mixed(%k: f32[40, 300], %i: i32[500], %u: f32[500, 7], %t: f32[10, 7], %d: f64[64, 300], %e: f64[300, 64]) {
  %sorted = sort %k {axis: 1}
  %scattered = scatter_add %t, %i, %u {axis: 0}
  %product = dot %d, %e {contract: [[1], [0]]}
  return %sorted as \"sorted\", %scattered as \"scattered\", %product as \"product\"
}";

/// A convolution by Winograd's algorithm.
const WINOGRAD: &str = "graph @winograd(%x: f32[2, 64, 28, 28], %w: f32[64, 64, 3, 3]) {
    %y = conv %x, %w {stride: [1, 1], padding: [[1, 1], [1, 1]]}
    return %y as \"y\"
}";

/// A program whose accesses are not proven, so that its code checks them.
const CHECKED: &str = "program @checked
    %0 input \"x\" f32[64, 64]
    %1 output \"y\" f32[64, 64]
  kernel @double(p0: read f32[4096], p1: write f32[4096]) grid [64] {
    strip i1 in 0..64 {
      v0 = index i1 : i32
      v1 = load p0[64*i0 + v0] : f32
      v2 = add v1, v1 : f32
      store p1[64*i0 + i1] = v2
    }
  }
  schedule { call @double#0(%0, %1) }";

/// Executables of these texts.
fn texts() -> Vec<Arc<Executable>> {
    let options = CompileOptions::default();
    let graphs = [NESTED, MIXED, WINOGRAD].map(|text| Graph::parse(text).unwrap());
    let optimised = Compiler::new(&options).optimise(&graphs[2]).unwrap().to_string();
    assert!(optimised.contains("winograd: "), "{optimised}");
    let program = Program::parse(CHECKED).unwrap();
    let checked = compile_checked(&program, &codegen::Options::default()).unwrap().executable;
    assert!(checked.manifest().checked);
    let compiled = graphs.map(|graph| compile(&graph, &options).unwrap());
    compiled.into_iter().chain([checked]).map(Arc::new).collect()
}

const RUNS: usize = 20;

/// Without the test harness, whose own thread would be counted too. Pools are made first and dropped last, since their
/// threads end, and free what they had, at a time of their own.
fn main() {
    let pools = [1, 2, 5].map(|count| Threads::new(count).unwrap());
    let model = Model::from_text("net.ron", MODEL, &Settings::default().dim("batch", 64)).unwrap();
    let state = model.initial_state(1).unwrap();
    for entry in ["infer", "train"] {
        let executable = model.compile(entry).unwrap();
        assert!(executable.manifest().parallel, "`{entry}` uses threads");
        for threads in &pools {
            for shift in [0, 4, 1] {
                runs_allocate_nothing(&executable, &state, threads, shift);
            }
        }
    }
    for executable in texts() {
        for threads in &pools {
            for shift in [0, 4, 1] {
                runs_allocate_nothing(&executable, &State::new(), threads, shift);
            }
        }
    }
    let infer = model.compile("infer").unwrap();
    for threads in &pools {
        shared_instances_allocate_nothing(&infer, &state, threads);
        shared_instances_allocate_nothing_together(&infer, &state, threads);
    }
    let programs = Executables { train: model.compile("train").unwrap(), formulas: None, evaluation: None };
    for threads in &pools {
        training_allocates_nothing_between_steps(&programs, &state, threads);
    }
    for prepared in [true, false] {
        a_shared_container_takes_arenas_alone(prepared);
    }
    println!("no allocation by compiled code that runs, with 1, 2 and 5 threads");
}

/// Tensors of these types in memory that begins `shift` bytes behind an aligned address.
fn shifted<'a>(types: impl Iterator<Item = (DType, &'a Vec<usize>)>, shift: usize) -> Vec<Tensor> {
    let bytes = types.map(|(dtype, dims)| byte_len(dtype, dims).unwrap() + shift);
    bytes.map(|len| Tensor::zeros(DType::U8, &[len]).unwrap()).collect()
}

fn runs_allocate_nothing(executable: &Arc<Executable>, state: &State, threads: &Threads, shift: usize) {
    let manifest = executable.manifest();
    let mut state = state.try_clone().unwrap();
    let mut instance = Instance::bind(executable.clone(), &state, threads).unwrap();
    let values = random_inputs(&manifest.inputs).unwrap();
    let mut inputs = shifted(manifest.inputs.iter().map(|i| (i.dtype, &i.dims)), shift);
    for (memory, value) in inputs.iter_mut().zip(&values) {
        memory.bytes_mut()[shift..].copy_from_slice(value.bytes());
    }
    let mut outputs = shifted(manifest.outputs.iter().map(|o| (o.dtype, &o.dims)), shift);
    let views: Vec<TensorRef<'_>> = manifest
        .inputs
        .iter()
        .zip(&inputs)
        .map(|(i, memory)| TensorRef::new(i.dtype, &i.dims, &memory.bytes()[shift..]).unwrap())
        .collect();
    let mut targets: Vec<TensorMut<'_>> = manifest
        .outputs
        .iter()
        .zip(&mut outputs)
        .map(|(o, memory)| TensorMut::new(o.dtype, &o.dims, &mut memory.bytes_mut()[shift..]).unwrap())
        .collect();
    // The first call makes memory for outputs that are not aligned.
    instance.run(&mut state, &views, &mut targets).unwrap();
    let before = CALLS.load(Ordering::SeqCst);
    for _ in 0..RUNS {
        instance.run(&mut state, &views, &mut targets).unwrap();
    }
    let calls = CALLS.load(Ordering::SeqCst) - before;
    assert_eq!(calls, 0, "`{}` with {threads:?}, tensors {shift} bytes off", manifest.entry);
}

/// Instances that have the prepared values of one that has run.
fn shared(executable: &Arc<Executable>, state: &State, threads: &Threads, count: usize) -> Vec<Instance> {
    assert!(executable.manifest().prepared_bytes > 0, "there is something to share");
    let mut first = Instance::bind(executable.clone(), state, threads).unwrap();
    let mut fresh = state.try_clone().unwrap();
    let inputs = random_inputs(&executable.manifest().inputs).unwrap();
    first.run_tensors(&mut fresh, &inputs, &mut results(executable)).unwrap();
    let mut all: Vec<Instance> = (1..count).map(|_| first.share().unwrap()).collect();
    all.push(first);
    all
}

/// Memory for the outputs.
fn results(executable: &Arc<Executable>) -> Vec<Tensor> {
    let outputs = executable.manifest().outputs.iter();
    outputs.map(|output| Tensor::zeros(output.dtype, &output.dims).unwrap()).collect()
}

/// One call after the other, the first one of each instance among them.
fn shared_instances_allocate_nothing(executable: &Arc<Executable>, state: &State, threads: &Threads) {
    let mut instances = shared(executable, state, threads, 4);
    let inputs = random_inputs(&executable.manifest().inputs).unwrap();
    let views: Vec<TensorRef<'_>> = inputs.iter().map(Tensor::view).collect();
    let mut outputs = results(executable);
    let mut targets: Vec<TensorMut<'_>> = outputs.iter_mut().map(Tensor::view_mut).collect();
    let before = CALLS.load(Ordering::SeqCst);
    for _ in 0..RUNS {
        for instance in &mut instances {
            instance.run_shared(state, &views, &mut targets).unwrap();
        }
    }
    let calls = CALLS.load(Ordering::SeqCst) - before;
    assert_eq!(calls, 0, "shared instances of `{}` with {threads:?}", executable.manifest().entry);
}

/// Calls at the same time, each instance on a thread of its own.
fn shared_instances_allocate_nothing_together(
    executable: &Arc<Executable>,
    state: &State,
    threads: &Threads,
) {
    let mut instances = shared(executable, state, threads, 3);
    let inputs = &random_inputs(&executable.manifest().inputs).unwrap();
    // All have their memory; begin; have run; end.
    let barrier = &Barrier::new(instances.len() + 1);
    std::thread::scope(|scope| {
        let mut runners = Vec::new();
        for instance in &mut instances {
            runners.push(scope.spawn(move || {
                let views: Vec<TensorRef<'_>> = inputs.iter().map(Tensor::view).collect();
                let mut outputs = results(executable);
                let mut targets: Vec<TensorMut<'_>> = outputs.iter_mut().map(Tensor::view_mut).collect();
                barrier.wait();
                barrier.wait();
                let runs = (0..RUNS).all(|_| instance.run_shared(state, &views, &mut targets).is_ok());
                barrier.wait();
                barrier.wait();
                assert!(runs);
            }));
        }
        barrier.wait();
        let before = CALLS.load(Ordering::SeqCst);
        barrier.wait();
        barrier.wait();
        let calls = CALLS.load(Ordering::SeqCst) - before;
        barrier.wait();
        // Joined one by one, so that they have given back all that they had before anything else is counted.
        runners.into_iter().for_each(|runner| runner.join().unwrap());
        assert_eq!(calls, 0, "shared instances at the same time, with {threads:?}");
    });
}

/// What opening takes for names and types, and an instance beside its arena for tables, in bytes.
const TABLES: usize = 4096;

/// Where a container is used that many instances share: opening it copies nothing, the first instance prepares at most once, and
/// each of the others takes an arena. Weights and prepared values are larger than all tables, so a copy would be seen.
fn a_shared_container_takes_arenas_alone(kept: bool) {
    let model = Model::load("lenet5", &Settings::default().dim("batch", 1)).unwrap();
    let weights = model.initial_state(1).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.brolga");
    let entries = [("infer", &[][..])];
    let made = model.container(&entries, Some(&weights), Some(kept), &[codegen::Options::default()]);
    made.unwrap().write(&path).unwrap();
    let own = |more: usize, before: usize| BYTES.load(Ordering::SeqCst).wrapping_sub(before) <= more;
    let maps = || {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
        maps.lines().filter(|line| line.contains("net.brolga")).map(str::to_owned).collect::<Vec<_>>()
    };
    let before = BYTES.load(Ordering::SeqCst);
    // SAFETY: the code has just been compiled; nobody changes the file.
    let loaded = unsafe { open(&path).unwrap() };
    assert!(own(8 * TABLES, before), "opening copies nothing");
    let manifest = loaded.entry("infer").unwrap().manifest();
    let prepared = manifest.prepared_bytes;
    assert!(weights.bytes() > 16 * TABLES && prepared > 16 * TABLES, "{} {prepared}", weights.bytes());
    let arena = manifest.arena_bytes + manifest.local_bytes;
    let before = BYTES.load(Ordering::SeqCst);
    let first = loaded.instance("infer", &Threads::serial()).unwrap();
    let made = if kept { 0 } else { prepared };
    assert!(own(made + arena + TABLES, before), "prepared values are made once, or never");
    let (before, mapped) = (BYTES.load(Ordering::SeqCst), maps());
    let mut instances: Vec<Instance> = (0..8).map(|_| first.share().unwrap()).collect();
    let inputs = random_inputs(&manifest.inputs).unwrap();
    let views: Vec<TensorRef<'_>> = inputs.iter().map(Tensor::view).collect();
    let mut outputs = results(first.executable());
    let mut targets: Vec<TensorMut<'_>> = outputs.iter_mut().map(Tensor::view_mut).collect();
    for instance in &mut instances {
        instance.run_shared(&loaded.state, &views, &mut targets).unwrap();
    }
    assert!(own(8 * (arena + TABLES), before), "instances take arenas");
    assert_eq!(maps(), mapped, "nothing more of the file is mapped");
}

/// Notes the number of calls at each step.
struct Steady(Vec<usize>);

impl Progress for Steady {
    fn update(&mut self, _: &Update<'_>) -> Flow {
        self.0.push(CALLS.load(Ordering::SeqCst));
        Flow::Continue
    }
}

fn training_allocates_nothing_between_steps(programs: &Executables, state: &State, threads: &Threads) {
    let mut state = state.try_clone().unwrap();
    let fields = programs.train.manifest().inputs.iter().map(|input| Field {
        name: input.name.clone(),
        dtype: input.dtype,
        dims: input.dims[1..].to_vec(),
    });
    let fields: Vec<Field> = fields.collect();
    let mut digits = data::open(Path::new(data::DIGITS), &fields, &data::Options::default()).unwrap();
    let mut seen = Steady(Vec::with_capacity(1000));
    let options = Options { seed: 1, checkpoints: None, log: None };
    let plan = Plan::epochs(programs.clone(), 1);
    train(&plan, &mut state, threads, &mut [&mut *digits], &options, &mut seen).unwrap();
    assert_eq!(seen.0.len(), 1437 / 64);
    assert_eq!(seen.0.first(), seen.0.last(), "between the steps of an epoch, with {threads:?}");
}
