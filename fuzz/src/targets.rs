//! One function for each fuzz target. Whatever the bytes, it returns; what the library does wrong panics.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use brolga::frontend::{Model as Parsed, no_imports};
use brolga::ir::generate::{Config, Generated, Rng, generate};
use brolga::ir::program::interpret::Interpreter;
use brolga::ir::program::{Place, Program};
use brolga::ir::scalar::Scalar;
use brolga::ir::{self, Graph};
use brolga::models::data;
use brolga::passes::facts::index_ranges::index_ranges;
use brolga::passes::lower::lower;
use brolga::passes::{GraphPass, Manager, Options, pipelines};
use brolga::runtime::container::Container;
use brolga::runtime::{
    self, DType, DataRecord, Field, Instance, Request, SlotKind, Split, State, TensorFile, Threads,
};
use brolga::{CompileOptions, Compiler, Model, Settings, TargetCpu, random_inputs};

use super::checked;
use super::models;
use super::repair::{manifest, repair};
use super::values::{from_runtime, to_runtime};

/// A target: its name, and what it does with bytes.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const ALL: [Target; 14] = [
    ("model", model),
    ("graph", graph),
    ("program", program),
    ("tensors", tensors),
    ("images", images),
    ("picture", picture),
    ("table", table),
    ("container", container),
    ("checkpoint", checkpoint),
    ("log", log),
    ("tunings", tunings),
    ("checked", checked),
    ("compare_graph", compare_graph),
    ("compare_model", compare_model),
];

/// Why a model did not become a table.
#[derive(Debug)]
pub enum Refused {
    /// What its author is told.
    Diagnostic(String),
    /// A stage of the compiler failed on what the frontend had accepted.
    Compiler(String),
}

/// What `brolga check` does: builds all entry points and compiles them as far as their memory is known. Gives the number
/// of kernels.
pub fn check(text: &str) -> Result<usize, Refused> {
    let model = Model::from_text("model.ron", text, &Settings::default());
    let model = model.map_err(|error| Refused::Diagnostic(error.to_string()))?;
    let failed = |error: brolga::Error| Refused::Compiler(error.to_string());
    let mut kernels = 0;
    for name in model.instance().entries() {
        if let Some(why) = model.instance().refused(name) {
            return Err(Refused::Diagnostic(why.to_string()));
        }
        let graph = model.graph(name).map_err(failed)?;
        let mut compiler = Compiler::new(&CompileOptions::default());
        brolga::cost::flops(&compiler.differentiate(graph).map_err(failed)?);
        let optimised = compiler.optimise(graph).map_err(failed)?;
        kernels += compiler.lower(&optimised).map_err(failed)?.kernels.len();
    }
    model.symbolic_outputs();
    Ok(kernels)
}

/// The text of a model.
pub fn model(bytes: &[u8]) {
    let Ok(parsed) = Parsed::parse_bytes("model.ron", bytes, &no_imports) else { return };
    let Ok(instance) = parsed.instantiate(&Settings::default()) else { return };
    for name in instance.entries() {
        let graph = instance.graph(name).expect("an entry has a graph");
        graph.verify().unwrap_or_else(|error| panic!("{error}\n{graph}"));
    }
    let text = std::str::from_utf8(bytes).expect("a model is text");
    if let Err(Refused::Compiler(message)) = check(text) {
        assert!(!message.contains("invalid"), "{message}");
    }
}

/// The text of a graph, through all passes.
pub fn graph(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(graph) = Graph::parse(text) else { return };
    if graph.verify().is_err() {
        return;
    }
    let printed = graph.to_string();
    let again = Graph::parse(&printed).unwrap_or_else(|error| panic!("{error}\n{printed}"));
    assert_eq!(again.to_string(), printed);
    for pipeline in [pipelines::TRAIN, pipelines::INFER] {
        through_passes(&graph, pipeline);
    }
}

fn through_passes(graph: &Graph, pipeline: &[GraphPass]) {
    let mut graph = graph.clone();
    let mut manager = Manager::new(Options::default());
    let mut run = || {
        manager.run(pipeline, &mut graph)?;
        let ranges: HashMap<String, (i64, i64)> = index_ranges(&graph).into_iter().collect();
        manager.run(pipelines::REGIONS, &mut graph)?;
        let made = manager.make("lower", |_| lower(&graph, &ranges))?;
        made.map_or(Ok(false), |mut program| manager.run(pipelines::PROGRAM, &mut program))
    };
    if let Err(error) = run() {
        assert!(!error.broken, "{error}\n{graph}");
    }
}

/// The text of a kernel program, through all passes.
pub fn program(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(mut program) = Program::parse(text) else { return };
    if ir::program::verify::verify(&program).is_err() {
        return;
    }
    let printed = program.to_string();
    let again = Program::parse(&printed).unwrap_or_else(|error| panic!("{error}\n{printed}"));
    assert_eq!(again.to_string(), printed);
    let mut manager = Manager::new(Options::default());
    if let Err(error) = manager.run(pipelines::PROGRAM, &mut program) {
        assert!(!error.broken, "{error}\n{printed}");
    }
}

/// Calls `f` with a folder in which a file of that name has those bytes.
fn in_folder(name: &str, bytes: &[u8], f: impl FnOnce(&Path)) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(name);
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    std::fs::write(&path, bytes).expect("a file");
    f(folder.path());
}

/// A file of tensors; the first byte chooses the format.
pub fn tensors(bytes: &[u8]) {
    let Some((&first, bytes)) = bytes.split_first() else { return };
    let name = ["t.safetensors", "t.npz", "t.npy"][usize::from(first) % 3];
    in_folder(name, bytes, |folder| {
        let path = folder.join(name);
        if let Ok(tensors) = runtime::read_tensors(&path) {
            let size: usize = tensors.iter().map(|(_, tensor)| tensor.bytes().len()).sum();
            // Deflate expands at most 1032 times, a byte becomes a whole number of at most 4.
            assert!(size <= bytes.len().saturating_mul(4400), "{size} bytes of {}", bytes.len());
        }
        let _ = TensorFile::open(&path).map(|file| file.names().count());
        let fields = [field("t", DType::F32, &[2, 2])];
        let _ = data::open(&path, &fields, &data::Options::default());
        // As weights, with what they know of the data.
        let weights = runtime::Tensor::zeros(DType::F32, &[2, 2]).expect("a tensor");
        let mut state = State::new();
        state.insert("t", SlotKind::Parameter, weights).expect("a slot");
        if state.load(&path).is_err() {
            let kept = state.slots()[0].tensor().as_slice::<f32>().expect("floats");
            assert!(
                kept == [0.0; 4] && *state.record() == DataRecord::default(),
                "what is refused changes nothing"
            );
        }
    });
}

fn field(name: &str, dtype: DType, dims: &[usize]) -> Field {
    Field { name: name.to_owned(), dtype, dims: dims.to_vec() }
}

/// A folder of pictures; the first byte chooses the format.
pub fn images(bytes: &[u8]) {
    let Some((&first, bytes)) = bytes.split_first() else { return };
    let names = ["a/1.png", "train-images-idx3-ubyte", "train-labels-idx1-ubyte.gz", "data_batch_1.bin"];
    in_folder(names[usize::from(first) % names.len()], bytes, |folder| {
        let fields = [field("image", DType::F32, &[1, 4, 4]), field("label", DType::I32, &[])];
        let _ = data::open(folder, &fields, &data::Options::default());
    });
}

/// One picture, PNG or JPEG, as `run` reads it; the first byte chooses the input that takes it.
pub fn picture(bytes: &[u8]) {
    let Some((&first, bytes)) = bytes.split_first() else { return };
    let dims: &[usize] = [&[1, 4, 4][..], &[3, 5, 3], &[2, 7]][usize::from(first) % 3];
    in_folder("1.png", bytes, |folder| {
        if let Ok(picture) = data::picture(&folder.join("1.png"), &field("image", DType::F32, dims)) {
            let values = picture.as_slice::<f32>().expect("floats");
            assert!(values.iter().all(|value| (0.0..=1.0).contains(value)), "black is 0, white 1");
        }
    });
}

/// A table; the first byte chooses the inputs that it is for.
pub fn table(bytes: &[u8]) {
    let Some((&first, bytes)) = bytes.split_first() else { return };
    let fields = match first % 2 {
        0 => [field("x", DType::F32, &[2]), field("label", DType::I32, &[])],
        _ => [field("x", DType::F64, &[3]), field("y", DType::F32, &[1])],
    };
    in_folder("t.csv", bytes, |folder| {
        let table = data::open(&folder.join("t.csv"), &fields, &data::Options::default());
        let Ok(mut table) = table else { return };
        // Every sample that it announces is there, and no number is missing.
        for split in [Split::Train, Split::Validation] {
            let indices: Vec<usize> = (0..table.len(split)).collect();
            for (at, field) in fields.iter().enumerate() {
                let dims = [&[indices.len()], &field.dims[..]].concat();
                let mut samples = runtime::Tensor::zeros(field.dtype, &dims).expect("a tensor");
                let request = Request { split, indices: &indices, seed: 1, epoch: 0 };
                table.fill(&request, at, &mut samples.view_mut()).expect("samples");
                let numbers = samples.converted(DType::F64).expect("numbers");
                let numbers = numbers.as_slice::<f64>().expect("numbers");
                assert!(
                    numbers.iter().all(|number| !number.is_nan()),
                    "a number is missing in `{}`",
                    field.name
                );
            }
        }
    });
}

/// A compiled model, as it is and with checksums that fit: it is refused, or keeps the rules, also when it is read from a file.
/// None of its code runs.
pub fn container(bytes: &[u8]) {
    let mut repaired = bytes.to_vec();
    repair(&mut repaired);
    for bytes in [bytes, &repaired[..]] {
        let Ok(container) = Container::of_bytes(bytes) else { continue };
        let mut end = 0;
        for section in container.sections() {
            assert!(section.offset >= end && section.offset.is_multiple_of(section.alignment));
            end = section.offset + section.bytes;
        }
        assert_eq!(end, bytes.len() as u64, "sections fill the file");
        assert_eq!(container.contents().to_bytes(), manifest(bytes), "nothing is written in two ways");
        in_folder("model.brolga", bytes, |folder| {
            let read = Container::read(folder.join("model.brolga")).expect("the same bytes");
            assert_eq!(read, container);
        });
    }
}

/// A small model for checkpoints, and its training step.
fn trained() -> &'static (Model, runtime::Executables) {
    static TRAINED: OnceLock<(Model, runtime::Executables)> = OnceLock::new();
    TRAINED.get_or_init(|| {
        let train = "Train(loss: \"mean(it * it)\", optimizer: Adam(lr: 0.1))";
        let text =
            models::model("f32[batch, 3]", "2", &["Linear(name: \"fc\", features: 2)".into()], Some(train));
        let model = Model::from_text("small.ron", &text, &Settings::default()).expect("a model");
        let train = model.compile("train").expect("a training step");
        (model, runtime::Executables { train, formulas: None, evaluation: None })
    })
}

/// A checkpoint that is whole: its name, and its bytes.
pub fn whole_checkpoint() -> &'static (String, Vec<u8>) {
    static WHOLE: OnceLock<(String, Vec<u8>)> = OnceLock::new();
    WHOLE.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder");
        resume(folder.path(), 1, None).expect("training writes a checkpoint");
        let names = std::fs::read_dir(folder.path()).expect("a folder");
        let names = names.map(|entry| entry.expect("a file").file_name().to_string_lossy().into_owned());
        let mut names: Vec<String> = names.filter(|name| name.starts_with("step-")).collect();
        let name = names.pop().expect("a checkpoint");
        let bytes = std::fs::read(folder.path().join(&name)).expect("a checkpoint");
        (name, bytes)
    })
}

/// Trains from the checkpoints of a folder, for so many epochs in all.
fn resume(folder: &Path, epochs: u64, log: Option<&Path>) -> runtime::Result<runtime::Outcome> {
    let (model, programs) = trained();
    let mut state = model.initial_state(1).expect("a state");
    let checkpoints = runtime::CheckpointOptions { resume: true, ..runtime::CheckpointOptions::new(folder) };
    let log = log.map(|path| runtime::LogOptions { path: path.to_owned(), steps: true });
    let options = runtime::Options { seed: 1, checkpoints: Some(checkpoints), log };
    let plan = runtime::Plan::epochs(programs.clone(), epochs);
    let zeros = brolga::Tensor::zeros(DType::F32, &[8, 3])?;
    let path = folder.join("data.npz");
    runtime::write_tensors(&path, &[("x", zeros.view())])?;
    let mut data = data::open(&path, &[field("x", DType::F32, &[3])], &data::Options::default())?;
    runtime::train(&plan, &mut state, &Threads::serial(), &mut [data.as_mut()], &options, &mut ())
}

/// A checkpoint that training goes on from: what is broken is passed over, or refused.
pub fn checkpoint(bytes: &[u8]) {
    in_folder(&whole_checkpoint().0, bytes, |folder| {
        let _ = resume(folder, 1, None);
    });
}

/// The log of a run that goes on: its rows are kept up to the checkpoint, or it is refused and left as it is.
pub fn log(bytes: &[u8]) {
    let (name, checkpoint) = whole_checkpoint();
    in_folder("log.csv", bytes, |folder| {
        let (points, path) = (folder.join("points"), folder.join("log.csv"));
        std::fs::create_dir(&points).expect("a folder");
        std::fs::write(points.join(name), checkpoint).expect("a checkpoint");
        let outcome = resume(&points, 2, Some(&path));
        let log = std::fs::read(&path).expect("a log");
        match outcome {
            Ok(_) => assert!(log.starts_with(b"kind,epoch,step,") && log.ends_with(b"\n"), "rows are whole"),
            Err(_) => assert_eq!(log, bytes, "what is no log is left alone"),
        }
    });
}

/// A file of measured tunings: it is used, measured anew, or left alone.
pub fn tunings(bytes: &[u8]) {
    in_folder("tunings.txt", bytes, |folder| {
        let path = folder.join("tunings.txt");
        let (mut cache, _) = brolga::tune::Cache::open(&path);
        let known = cache.get("machine", "key");
        let tuning = brolga::passes::Tuning { rows: Some(3), ..brolga::passes::Tuning::default() };
        let written = cache.add("machine", [("other", tuning)]).expect("the file can be written");
        if !written {
            assert_eq!(std::fs::read(&path).expect("a file"), bytes, "what is no cache is left alone");
            return;
        }
        let (again, notice) = brolga::tune::Cache::open(&path);
        assert_eq!(notice, None);
        assert_eq!(again.get("machine", "key"), known);
        assert_eq!(again.get("machine", "other"), Some(tuning));
    });
}

/// A file of tunings that is whole.
pub fn whole_tunings() -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tunings.txt");
    let (mut cache, _) = brolga::tune::Cache::open(&path);
    let rows = brolga::passes::Tuning { rows: Some(8), columns: Some(32), ..Default::default() };
    let outer = brolga::passes::Tuning { outer: Some(brolga::passes::Outer::Columns), ..rows };
    let all = [("another", Default::default()), ("key", rows), ("third", outer)];
    assert!(cache.add("machine", all).expect("the file can be written"));
    std::fs::read(&path).expect("a file")
}

/// The text of a kernel program, compiled with checks and run: the interpreter's bits, or an error of both.
pub fn checked(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(program) = Program::parse(text) else { return };
    checked::check(&checked::planned(program), &mut Rng(bytes.len() as u64));
}

/// The seed of the first eight bytes.
fn seed(bytes: &[u8]) -> u64 {
    bytes.iter().take(8).fold(0, |seed, &byte| seed << 8 | u64::from(byte))
}

/// A random graph: machine code gives the bits of the interpreter, whatever the processor and the number of threads.
pub fn compare_graph(bytes: &[u8]) {
    let mut case = generate(seed(bytes), &Config { continuous: true, nodes: (5, 30), ..Config::default() });
    let mut compiler = Compiler::new(&options(TargetCpu::Portable, 1));
    let optimised = compiler.optimise(&case.graph).unwrap_or_else(|error| panic!("{error}\n{}", case.graph));
    let program = compiler.lower(&optimised).unwrap_or_else(|error| panic!("{error}\n{}", case.graph));
    keep_in_range(&mut case, &program);
    let expected = interpreted(&case, &program);
    for (target_cpu, threads) in [(TargetCpu::Portable, 1), (TargetCpu::Native, 3)] {
        let found = compiled(&case, target_cpu, threads);
        for ((name, expected), (_, found)) in expected.iter().zip(&found) {
            let place = (0..expected.elements()).find(|&i| !expected.get(i).same(found.get(i)));
            assert!(place.is_none(), "{name}[{place:?}] differs on {target_cpu}\n{}", case.graph);
        }
    }
}

/// Tensors by name.
pub type Named = Vec<(String, ir::Tensor)>;

/// The options of those comparisons.
pub fn options(target_cpu: TargetCpu, threads: usize) -> CompileOptions {
    // So small a part that small programs are parallel too.
    let passes = Options { threads: Some(threads), least_part: 16, ..Options::default() };
    CompileOptions { target_cpu, passes, ..CompileOptions::default() }
}

/// The values of all parameters by name.
fn values(case: &Generated) -> HashMap<&str, &ir::Tensor> {
    let named = case.graph.parameters().iter().zip(&case.values);
    named.filter_map(|(&id, value)| Some((case.graph.parameter(id)?.name.as_str(), value))).collect()
}

/// Moves inputs that are indices into their bounds: others are refused before anything runs.
fn keep_in_range(case: &mut Generated, program: &Program) {
    for buffer in &program.buffers {
        let Place::Input { range: Some((low, high)) } = buffer.place else { continue };
        let named = |&id: &ir::NodeId| case.graph.parameter(id).is_some_and(|p| p.name == buffer.name);
        let Some(at) = case.graph.parameters().iter().position(named) else { continue };
        let tensor = &mut case.values[at];
        for i in 0..tensor.elements() {
            let value = tensor.get(i).to_i64().max(low).min(high.max(low));
            tensor.set(i, Scalar::from_i64(tensor.dtype(), value));
        }
    }
}

/// Outputs, then the state afterwards, by the interpreter of programs.
fn interpreted(case: &Generated, program: &Program) -> Named {
    let values = values(case);
    let named = |is: fn(&Place) -> bool| -> Named {
        let buffers = program.buffers.iter().filter(|buffer| is(&buffer.place));
        buffers
            .map(|buffer| {
                (
                    buffer.name.clone(),
                    values.get(&*buffer.name).map_or_else(|| ir::Tensor::zeros(&buffer.ty), |&v| v.clone()),
                )
            })
            .collect()
    };
    let tensors =
        |named: &Named| -> Vec<ir::Tensor> { named.iter().map(|(_, tensor)| tensor.clone()).collect() };
    let inputs = named(|place| matches!(place, Place::Input { .. }));
    let outputs = named(|place| matches!(place, Place::Output));
    let state = named(|place| matches!(place, Place::State { .. }));
    let mut after = tensors(&state);
    let interpreter = Interpreter::new(program).unwrap_or_else(|error| panic!("{error}\n{program}"));
    let results =
        interpreter.run(&tensors(&inputs), &mut after).unwrap_or_else(|error| panic!("{error}\n{program}"));
    let names = outputs.into_iter().chain(state).map(|(name, _)| name);
    names.zip(results.into_iter().chain(after)).collect()
}

/// The same by machine code.
fn compiled(case: &Generated, target_cpu: TargetCpu, threads: usize) -> Named {
    let executable = brolga::compile(&case.graph, &options(target_cpu, threads));
    let executable = executable.unwrap_or_else(|error| panic!("{error}\n{}", case.graph));
    let (values, manifest) = (values(case), executable.manifest().clone());
    let mut state = State::new();
    for slot in &manifest.state {
        let tensor = to_runtime(values[&*slot.name]);
        state.insert(slot.name.as_str(), SlotKind::Parameter, tensor).expect("a slot");
    }
    let threads = Threads::new(threads).expect("threads");
    let mut instance = Instance::bind(Arc::new(executable), &state, &threads).expect("an instance");
    let inputs: Vec<_> = manifest.inputs.iter().map(|input| to_runtime(values[&*input.name])).collect();
    let named: Vec<(&str, &brolga::Tensor)> =
        manifest.inputs.iter().zip(&inputs).map(|(input, tensor)| (input.name.as_str(), tensor)).collect();
    let outputs =
        instance.run_named(&mut state, &named).unwrap_or_else(|error| panic!("{error}\n{}", case.graph));
    let after = manifest.state.iter().map(|slot| (slot.name.clone(), state.get(&slot.name).expect("a slot")));
    let outputs = outputs.iter().map(|(name, tensor)| (name.clone(), tensor));
    outputs.chain(after).map(|(name, tensor)| (name, from_runtime(tensor))).collect()
}

/// A random model: `infer` and `train` give the same bits everywhere.
pub fn compare_model(bytes: &[u8]) {
    let text = models::random(seed(bytes));
    if check(&text).is_ok() {
        run_everywhere(&text, &[(TargetCpu::Portable, 1), (TargetCpu::Native, 3)]);
    }
}

/// Runs all entry points of a model that is right, twice each, on those processors by so many threads; panics where
/// the bits of results or state differ. Gives the names of the entry points.
pub fn run_everywhere(text: &str, places: &[(TargetCpu, usize)]) -> Vec<String> {
    let model = |(target_cpu, threads): (TargetCpu, usize)| {
        let model = Model::from_text("model.ron", text, &Settings::default());
        model.unwrap_or_else(|error| panic!("{error}\n{text}")).with_options(options(target_cpu, threads))
    };
    let whole = model(places[0]);
    let entries = whole.instance().entries().into_iter().filter(|&name| name != "init");
    let entries: Vec<String> = entries.map(str::to_owned).collect();
    let mut first: Option<Vec<Named>> = None;
    for &place in places {
        let model = model(place);
        let results = entries.iter().map(|entry| {
            let run = model.compile(entry).and_then(|code| run_twice(&model, code, place.1));
            run.unwrap_or_else(|error| panic!("{entry}: {error}\n{text}"))
        });
        let results: Vec<Named> = results.collect();
        let Some(expected) = &first else {
            first = Some(results);
            continue;
        };
        for ((name, expected), (_, found)) in expected.iter().flatten().zip(results.iter().flatten()) {
            let differs = (0..expected.elements()).find(|&i| !expected.get(i).same(found.get(i)));
            let (cpu, threads) = place;
            assert!(differs.is_none(), "{name}[{differs:?}] differs on {cpu} by {threads} threads\n{text}");
        }
    }
    entries
}

/// Outputs of the second call and the state behind it.
pub fn run_twice(
    model: &Model,
    executable: Arc<runtime::Executable>,
    threads: usize,
) -> brolga::Result<Named> {
    let mut state = model.initial_state(7)?;
    let inputs = random_inputs(&executable.manifest().inputs)?;
    let names: Vec<String> = executable.manifest().inputs.iter().map(|input| input.name.clone()).collect();
    let named: Vec<(&str, &brolga::Tensor)> = names.iter().map(String::as_str).zip(&inputs).collect();
    let mut instance = Instance::bind(executable, &state, &Threads::new(threads)?)?;
    instance.run_named(&mut state, &named)?;
    let outputs = instance.run_named(&mut state, &named)?;
    let outputs = outputs.iter().map(|(name, tensor)| (name.clone(), from_runtime(tensor)));
    let state = state.slots().iter().map(|slot| (slot.name().to_owned(), from_runtime(slot.tensor())));
    Ok(outputs.chain(state).collect())
}
