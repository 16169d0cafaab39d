//! The command: every subcommand on a good and on wrong inputs.

#![cfg(feature = "cli")]

pub mod training;

use std::path::Path;
use std::process::{Command, Output};

use brolga::Tensor;
use brolga::runtime::{Purpose, Random, TensorFile, TensorRef, read_tensors, write_tensors};
use serde_json::Value;
use tempfile::TempDir;

use crate::common::machine::references;

fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_brolga"));
    command.current_dir(folder).env("NO_COLOR", "1").env("RUST_BACKTRACE", "0");
    command
}

pub fn run(folder: &Path, arguments: &str) -> Output {
    command(folder).args(arguments.split_whitespace()).output().unwrap()
}

/// Standard output of a run that must succeed.
pub fn good(folder: &Path, arguments: &str) -> String {
    let output = run(folder, arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "brolga {arguments}: {}\n{errors}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// Standard error of a run that must fail, without a panic and without results.
pub fn bad(folder: &Path, arguments: &str) -> String {
    let output = run(folder, arguments);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(matches!(output.status.code(), Some(1 | 2)), "brolga {arguments}: {}\n{errors}", output.status);
    assert!(output.stdout.is_empty(), "brolga {arguments} failed, but printed results");
    assert!(!errors.contains("panicked"), "brolga {arguments}: {errors}");
    errors
}

fn json(folder: &Path, arguments: &str) -> Value {
    let text = good(folder, arguments);
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("brolga {arguments}: {e}: {text}"))
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

pub fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// Writes a batch for 28x28 images with labels.
fn write_batch(path: &Path, batch: usize) {
    let mut random = Random::new(1, Purpose::Augment, 0, 0);
    let image: Vec<f32> = (0..batch * 784).map(|_| random.uniform() * 2.0 - 1.0).collect();
    let label: Vec<i64> = (0..batch).map(|_| random.below(10) as i64).collect();
    let (dims, labels) = ([batch, 1, 28, 28], [batch]);
    let tensors = [
        ("image", TensorRef::from_slice(&dims, &image).unwrap()),
        ("label", TensorRef::from_slice(&labels, &label).unwrap()),
    ];
    write_tensors(path, &tensors).unwrap();
}

#[test]
fn help_teaches() {
    let folder = folder();
    let help = good(folder.path(), "--help");
    for subcommand in [
        "models", "check", "train", "run", "evaluate", "step", "bench", "profile", "dump", "opt", "eval",
        "build",
    ] {
        assert!(help.contains(subcommand), "{help}");
        let help = good(folder.path(), &format!("{subcommand} --help"));
        assert!(help.contains(&format!("brolga {subcommand}")) && help.contains("Example"), "{help}");
    }
    assert!(good(folder.path(), "--version").contains("numerics version"));
    assert!(bad(folder.path(), "trian lenet5").contains("train"));
}

#[test]
fn models_lists_every_variant() {
    let text = good(folder().path(), "models");
    for name in
        ["softmax-regression", "mlp-256-128", "lenet5-tanh", "resnet20-projection", "vgg-mini", "vgg16"]
    {
        assert!(text.lines().any(|line| line.split_whitespace().next() == Some(name)), "{name}: {text}");
    }
    assert!(text.contains("138,357,544"), "the parameters of VGG-16: {text}");
}

#[test]
fn check_shows_layers_and_memory() {
    let folder = folder();
    let text = good(folder.path(), "check lenet5 --dim batch=8");
    assert!(text.contains("61,706 parameters") && text.contains("f32[batch, 16, 10, 10]"), "{text}");
    let value = json(folder.path(), "check lenet5 --dim batch=8 --json");
    assert_eq!(value["layers"][3]["kind"], "Pool2d");
    assert_eq!(value["layers"][3]["call"], "Pool2d(max, 2)");
    assert_eq!(value["parameters"], 61_706);
    assert_eq!(value["dims"]["batch"], 8);
    let train = value["entries"].as_array().unwrap().iter().find(|e| e["entry"] == "train").unwrap();
    assert!(train["arena_bytes"].as_u64().unwrap() > 100_000, "{train}");
    assert!(train["live_bytes"].as_u64() <= train["arena_bytes"].as_u64(), "{train}");
    assert!(bad(folder.path(), "check lenet5 --memory-limit lots").contains("such as 300MB"));
    assert!(bad(folder.path(), "check lenet5 --memory-limit 0.5KiB").contains("memory limit of 512 bytes"));
    // conv1 at batch 8: 2 * 8 * 6 * 28 * 28 * 25.
    let conv1 = value["layers"].as_array().unwrap().iter().find(|l| l["path"] == "conv1").unwrap();
    assert_eq!((conv1["gflop"].as_f64().unwrap() * 1e9).round(), 1_881_600.0);
    assert_eq!(
        (&conv1["output"], &conv1["symbolic"]),
        (&"f32[8, 6, 28, 28]".into(), &"f32[batch, 6, 28, 28]".into())
    );
}

#[test]
fn wrong_models_and_settings() {
    let folder = folder();
    let at = folder.path();
    assert!(bad(at, "check lenet55").contains("did you mean `lenet5`?"));
    assert!(bad(at, "check nowhere.ron").contains("cannot read the model `nowhere.ron`"));
    assert!(bad(at, "check lenet5 --dim bach=3").contains("did you mean `batch`?"));
    assert!(bad(at, "check lenet5 --dim batch").contains("NAME=VALUE"));
    assert!(bad(at, "check lenet5 --dim batch=many").contains("batch"));
    assert!(bad(at, "check lenet5 --set classs=3").contains("did you mean `classes`?"));
    assert!(bad(at, "bench lenet5 --entry inferr").contains("did you mean `infer`?"));
    assert!(bad(at, "bench lenet5 --target-cpu avx9").contains("x86-64-v3"));
    assert!(bad(at, "bench lenet5 --threads 0").contains("thread"));
    assert!(bad(at, "dump lenet5 --stage grpah").contains("graph"));
    assert!(bad(at, "dump lenet5 --stage asm --format dot").contains("--format dot"));
    std::fs::write(
        at.join("wrong.ron"),
        "Model(inputs: { \"x\": \"f32[batch, 4]\" }, body: [Liner(features: 3)], entries: {})",
    )
    .unwrap();
    let errors = bad(at, "check wrong.ron");
    assert!(errors.contains("Linear") && errors.contains("wrong.ron:1"), "{errors}");
    std::fs::write(at.join("bytes.ron"), b"Model(\xff)").unwrap();
    assert!(bad(at, "check bytes.ron").contains("UTF-8"));
    write_batch(&at.join("batch.npz"), 2);
    assert!(bad(at, "check ./batch.npz").contains("is an archive of NumPy's arrays (.npz), and no model"));
}

#[test]
fn a_model_file_is_trained_run_and_reported() {
    let folder = folder();
    let at = folder.path();
    let text = brolga::models::catalogue::file("softmax-regression").unwrap().text;
    std::fs::write(at.join("mine.ron"), text).unwrap();
    let report = good(at, "train mine.ron --epochs 3 --batch 32 --threads 1");
    assert!(report.contains("mine on digits: 3 epochs") && report.contains("mine.safetensors"), "{report}");

    let value =
        json(at, "train mine.ron --epochs 2 --batch 32 --seed 5 --save w.safetensors --log log.csv --json");
    assert_eq!(keys(&value), ["model", "epochs", "train", "validation", "seconds", "weights"]);
    assert_eq!((value["model"].as_str(), value["epochs"].as_u64()), (Some("mine"), Some(2)));
    assert_eq!(keys(&value["validation"]), ["loss", "accuracy"]);
    assert!(value["validation"]["accuracy"].as_f64().unwrap() > 0.7, "{value}");
    assert_eq!(std::fs::read_to_string(at.join("log.csv")).unwrap().lines().count(), 3);

    write_batch(&at.join("batch.npz"), 5);
    let text = good(at, "run mine.ron --weights w.safetensors --inputs batch.npz --outputs out.npz");
    assert!(text.contains("probability: f32[5, 10]"), "{text}");
    let outputs = read_tensors(at.join("out.npz")).unwrap();
    let sum: f32 = outputs[0].1.as_slice::<f32>().unwrap().iter().sum();
    assert!((sum - 5.0).abs() < 1e-5, "{sum}");
}

/// Of a table, or pictures, one sample is run at a time: the state is drawn for that, not for the default batch.
#[test]
fn the_state_is_drawn_for_what_is_run() {
    let folder = folder();
    let at = folder.path();
    let model = "Model(
        inputs: { \"x\": \"f32[batch, 2]\" },
        body: [Parameter(name: \"p\", dims: [\"batch\", 2], init: Ones), Expr(\"it + x\")],
        entries: { \"infer\": Infer(outputs: { \"y\": \"it\" }) },
    )";
    std::fs::write(at.join("p.ron"), model).unwrap();
    std::fs::write(at.join("t.csv"), "a,b\n1,2\n3,4\n").unwrap();
    let found = json(at, "run p.ron t.csv --json");
    assert_eq!(found["samples"][1]["y"], serde_json::json!({"0": 4.0, "1": 5.0}), "{found}");
}

/// Whole numbers are printed and written as they are, also those that no `f64` holds.
#[test]
fn whole_numbers_stay_whole() {
    let folder = folder();
    let at = folder.path();
    let model = "Model(
        inputs: { \"x\": \"i64[batch]\" },
        body: [],
        entries: { \"infer\": Infer(outputs: { \"y\": \"x + 1\" }) },
    )";
    std::fs::write(at.join("whole.ron"), model).unwrap();
    std::fs::write(at.join("t.csv"), "x\n4611686018427387904\n-3\n").unwrap();
    let text = good(at, "run whole.ron t.csv --outputs out.csv");
    assert_eq!(text, "line 2: y 4611686018427387905\nline 3: y -2\n");
    let table = std::fs::read_to_string(at.join("out.csv")).unwrap();
    assert_eq!(table, "sample,y\nline 2,4611686018427387905\nline 3,-2\n");
    let text = good(at, "run whole.ron t.csv --json");
    assert!(text.contains("\"y\":4611686018427387905}") && text.contains("\"y\":-2}"), "{text}");
}

/// Outputs may have the names of what is printed of a sample besides.
#[test]
fn outputs_are_told_from_what_is_said_of_a_sample() {
    let folder = folder();
    let at = folder.path();
    let model = "Model(
        inputs: { \"x\": \"f32[batch, 2]\" },
        body: [As(\"y\")],
        entries: { \"infer\": Infer(outputs: { \"name\": \"sum(y, 1)\", \"y\": \"y\", \"label\": \"argmax(y, 1)\" }) },
    )";
    std::fs::write(at.join("names.ron"), model).unwrap();
    std::fs::write(at.join("t.csv"), "a,b\n1,2\n").unwrap();
    let found = json(at, "run names.ron t.csv --json");
    let expected = serde_json::json!({
        "name": "line 2", "class": 1, "label": "1", "output.name": 3.0, "y": {"0": 1.0, "1": 2.0}, "output.label": 1
    });
    assert_eq!(found["samples"][0], expected, "{found}");
}

/// Weights of other programs know no columns: the target's is left out where a table is only answered for, too.
#[test]
fn the_target_is_no_column_of_the_input() {
    let folder = folder();
    let at = folder.path();
    let model = "Model(
        inputs: { \"x\": \"f32[batch, 2]\", \"y\": \"f32[batch]\" },
        body: [Linear(1), Expr(\"it[:, 0]\"), As(\"p\")],
        entries: {
            \"infer\": Infer(outputs: { \"p\": \"p\" }),
            \"train\": Train(loss: \"mse(p, y)\", optimizer: Sgd(lr: 0.1)),
        },
    )";
    std::fs::write(at.join("row.ron"), model).unwrap();
    std::fs::write(at.join("t.csv"), "a,y,b\n1,2,3\n4,5,6\n7,8,9\n1,3,5\n2,4,6\n").unwrap();
    good(at, "train row.ron --data t.csv --epochs 1 --batch 2 --save own.safetensors");
    let tensors = read_tensors(at.join("own.safetensors")).unwrap();
    let views: Vec<_> = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor.view())).collect();
    write_tensors(at.join("bare.safetensors"), &views).unwrap();
    let answers = ["own", "bare"].map(|w| good(at, &format!("run row.ron --weights {w}.safetensors t.csv")));
    assert_eq!(answers[0], answers[1]);
}

#[test]
fn wrong_files_are_named() {
    let folder = folder();
    let at = folder.path();
    write_batch(&at.join("batch.npz"), 4);
    std::fs::write(at.join("empty.safetensors"), b"").unwrap();
    let errors = bad(at, "train lenet5 --data nowhere --epochs 1");
    assert!(errors.contains("nowhere"), "{errors}");
    let errors = bad(at, "train resnet20 --epochs 1");
    assert!(errors.contains("cifar10") && errors.contains("--data"), "{errors}");
    let errors = bad(at, "train lenet5 --epochs 1 --save no/such/folder/w.safetensors");
    assert!(errors.contains("no/such/folder"), "{errors}");
    let errors = bad(at, "train lenet5 --epochs 1 --batch 5000");
    assert!(errors.contains("5000"), "{errors}");
    assert!(bad(at, "train lenet5 --epochs 1 --batch 0").contains("at least one sample"));
    assert!(bad(at, "train lenet5 --epochs 1 --entry infer").contains("entry points that do: train"));
    assert!(bad(at, "step lenet5 --entry infer --inputs batch.npz").contains("entry points that do: train"));
    assert!(bad(at, "bench lenet5 --seconds nan").contains("86400"));
    let errors = bad(at, "train lenet5 --resume");
    assert!(errors.contains("--checkpoint"), "{errors}");
    let errors = bad(at, "run lenet5 --weights empty.safetensors --inputs batch.npz --outputs o.npz");
    assert!(errors.contains("empty.safetensors"), "{errors}");
    let errors = bad(at, "run lenet5 --inputs none.npz --outputs o.npz");
    assert!(errors.contains("none.npz"), "{errors}");
    // The weights of another model.
    good(at, "step mlp --inputs batch.npz --save mlp.safetensors");
    let errors = bad(at, "run lenet5 --weights mlp.safetensors --inputs batch.npz --outputs o.npz");
    assert!(errors.contains("mlp.safetensors") && errors.contains("conv1.weight"), "{errors}");
    // A batch of another size than asked for; a label that there is no class for; an input that is missing.
    let errors = bad(at, "step lenet5 --dim batch=3 --inputs batch.npz");
    assert!(errors.contains("f32[3, 1, 28, 28]"), "{errors}");
    let image = Tensor::zeros(brolga::runtime::DType::F32, &[1, 1, 28, 28]).unwrap();
    let label = Tensor::from_slice(&[1], &[10i32]).unwrap();
    write_tensors(at.join("far.npz"), &[("image", image.view()), ("label", label.view())]).unwrap();
    let errors = bad(at, "step lenet5 --inputs far.npz");
    assert!(errors.contains("label") && errors.contains("0 to 9"), "{errors}");
    write_tensors(at.join("half.npz"), &[("image", image.view())]).unwrap();
    assert!(bad(at, "step lenet5 --inputs half.npz").contains("`label`"));
    assert!(bad(at, "build lenet5 -o lenet5.o --emit exe").contains("take the ending away"));
}

#[test]
fn steps_write_state_and_gradients() {
    let folder = folder();
    let at = folder.path();
    write_batch(&at.join("batch.npz"), 4);
    let value = json(
        at,
        "step lenet5 --inputs batch.npz --steps 3 --save a.safetensors --grads g.safetensors --json",
    );
    let metrics = value["metrics"].as_array().unwrap();
    assert_eq!(
        (keys(&value), metrics.len(), keys(&metrics[0])),
        (vec!["metrics"], 3, vec!["loss", "accuracy"])
    );
    assert!(metrics[2]["loss"].as_f64() < metrics[0]["loss"].as_f64(), "{value}");
    let gradients = TensorFile::open(at.join("g.safetensors")).unwrap().read_all().unwrap();
    let mut names: Vec<&str> = gradients.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    let layers = ["conv1", "conv2", "fc1", "fc2", "fc3"];
    let mut expected: Vec<String> =
        layers.iter().flat_map(|l| [format!("grad.{l}.bias"), format!("grad.{l}.weight")]).collect();
    expected.push("input.image".into());
    assert_eq!(names, expected);

    // Two steps and one from their state are three steps, to the bit.
    good(at, "step lenet5 --inputs batch.npz --steps 2 --save b.safetensors");
    good(at, "step lenet5 --inputs batch.npz --weights b.safetensors --save c.safetensors");
    assert_eq!(
        std::fs::read(at.join("a.safetensors")).unwrap(),
        std::fs::read(at.join("c.safetensors")).unwrap()
    );

    // The first step of SGD with momentum, from fresh slots: w - lr * g.
    good(at, "step lenet5 --inputs batch.npz --steps 0 --save zero.safetensors");
    good(at, "step lenet5 --set lr=0.02 --set weight_decay=0.0 --inputs batch.npz --save one.safetensors");
    let of = |file: &str, name: &str| {
        let tensor = TensorFile::open(at.join(file)).unwrap().read(name).unwrap();
        tensor.as_slice::<f32>().unwrap().to_vec()
    };
    let (before, after) = (of("zero.safetensors", "fc3.bias"), of("one.safetensors", "fc3.bias"));
    for ((w, v), g) in before.iter().zip(&after).zip(of("g.safetensors", "grad.fc3.bias")) {
        assert!((w - 0.02 * g - v).abs() < 1e-6, "{w} - 0.02 * {g} is not {v}");
    }
}

#[test]
fn bench_and_profile_measure() {
    let folder = folder();
    let at = folder.path();
    let value = json(at, "bench lenet5 --entry train --dim batch=2 --seconds 0.1 --threads 1 --json");
    let expected = [
        "model",
        "entry",
        "dims",
        "threads",
        "compile_ms",
        "median_ms",
        "min_ms",
        "runs",
        "gflop",
        "arena_bytes",
        "live_bytes",
        "local_bytes",
        "state_bytes",
        "prepared_bytes",
        "peak_rss_mb",
    ];
    assert_eq!(keys(&value), expected);
    assert!(
        value["median_ms"].as_f64() >= value["min_ms"].as_f64() && value["runs"].as_u64() >= Some(3),
        "{value}"
    );
    assert_eq!((value["dims"]["batch"].as_u64(), value["threads"].as_u64()), (Some(2), Some(1)));
    // Momentum has a slot for each of the 61,706 parameters; the step is an i64; mean and deviation of the image.
    assert_eq!(value["state_bytes"].as_u64(), Some(2 * 4 * 61_706 + 8 + 8));
    assert!(good(at, "bench lenet5 --seconds 0").contains("GFLOP/s"));

    let text = good(at, "profile lenet5 --seconds 0 --threads 2");
    assert!(text.contains("2 threads") && text.contains("of memory") && text.contains("conv2"), "{text}");

    let text = good(at, "profile lenet5 --entry train --dim batch=2 --seconds 0 --calls --trace trace.json");
    assert!(text.contains("conv2/backward") && text.contains("GFLOP/s"), "{text}");
    let trace: Value = serde_json::from_slice(&std::fs::read(at.join("trace.json")).unwrap()).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    let rows =
        text.lines().skip_while(|line| !line.starts_with("layer")).skip(1).take_while(|l| !l.is_empty());
    assert_eq!(events.len(), rows.count());
    assert!(events.iter().all(|e| e["ph"] == "X" && e["dur"].as_f64() >= Some(0.0)), "{trace}");
}

#[test]
fn every_stage_is_dumped() {
    let folder = folder();
    let at = folder.path();
    let dump = |stage: &str| {
        good(at, &format!("dump softmax-regression --entry train --dim batch=4 --stage {stage}"))
    };
    assert!(dump("model").contains("Model("));
    let graph = dump("graph");
    assert!(graph.starts_with("graph @train(") && graph.contains("= gradient "), "{graph}");
    let grad = dump("grad");
    assert!(!grad.contains("= gradient "), "{grad}");
    assert!(dump("opt").contains("fused"));
    assert!(dump("program").starts_with("program @train") && dump("program").contains(" alive at once"));
    assert!(dump("clif").contains("function"));
    assert!(dump("asm").contains("ret") || cfg!(not(target_arch = "x86_64")));
    let dot = dump("graph --format dot");
    assert!(dot.starts_with("digraph \"train\" {") && dot.ends_with("}\n"), "{dot}");
}

#[test]
fn opt_runs_passes_over_text() {
    let folder = folder();
    let at = folder.path();
    let graph = good(at, "dump softmax-regression --entry train --dim batch=4 --stage graph");
    std::fs::write(at.join("net.ir"), graph).unwrap();
    let grad = good(at, "opt --passes grad,dce net.ir");
    assert_eq!(grad, good(at, "opt --passes grad,dce,fuse net.ir --stop-after 2"));
    let program = good(at, "opt --passes grad,dce,fuse,lower,vectorise net.ir");
    assert!(program.starts_with("program @train"), "{program}");
    std::fs::write(at.join("net.prog"), &program).unwrap();
    let planned = good(at, "opt --passes plan net.prog");
    assert!(planned.contains("arena ") && planned != program, "{planned}");
    let all = good(at, "opt --passes grad,dce net.ir --print-after");
    assert!(all.contains("// after grad") && all.contains("// after dce"), "{all}");
    for pass in ["grad", "fuse", "lower", "plan"] {
        assert!(good(at, "opt --list").contains(pass));
    }

    assert!(bad(at, "opt --passes fusse net.ir").contains("did you mean `fuse`?"));
    assert!(bad(at, "opt --passes plan net.ir").contains("lower"));
    assert!(bad(at, "opt --passes fuse net.prog").contains("graph"));
    std::fs::write(
        at.join("broken.ir"),
        "graph @g(%x: f32[2]) {\n  %0 = ad %x, %x : f32[2]\n  return %0\n}\n",
    )
    .unwrap();
    let errors = bad(at, "opt --passes dce broken.ir");
    assert!(errors.contains("broken.ir") && errors.contains("line 2"), "{errors}");
    std::fs::write(at.join("bytes.ir"), b"graph \xff").unwrap();
    assert!(bad(at, "opt --passes dce bytes.ir").contains("UTF-8"));
    assert!(bad(at, "opt --passes dce none.ir").contains("none.ir"));
}

/// The committed tests of the passes that end a pipeline say what the command prints as well.
#[test]
fn opt_runs_any_pass_on_a_file_written_by_hand() {
    let folder = folder();
    let at = folder.path();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/filetests");
    for pass in ["fuse", "lower", "vectorise", "join", "parallelise", "forward", "plan"] {
        let mut files = 0;
        for entry in std::fs::read_dir(root.join(pass)).unwrap() {
            let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
            let (input, rest) = text.split_once("// ---- after ").unwrap();
            let (_, expected) = rest.split_once('\n').unwrap();
            std::fs::write(at.join("file.ir"), input).unwrap();
            let found = good(at, &format!("opt --passes {pass} file.ir"));
            // What a pass leaves alone is printed in its normal form, which is a fixed point.
            std::fs::write(at.join("again.ir"), &found).unwrap();
            let expected = match expected {
                "// unchanged\n" => good(at, &format!("opt --passes {pass} again.ir")),
                _ => expected.to_owned(),
            };
            assert_eq!(found, expected, "{pass}:\n{input}");
            files += 1;
        }
        assert!(files >= 3, "{pass}: {files} files");
    }
}

/// Objects for aarch64, and for several processors of x86-64, are made on any machine.
#[test]
fn build_makes_objects_for_other_processors() {
    let folder = folder();
    let at = folder.path();
    let build = "build lenet5 --dim batch=1 -o net.o";
    let made = |options: &str| {
        good(at, &format!("{build} {options}"));
        let bytes = std::fs::read(at.join("net.o")).unwrap();
        assert_eq!(references(&bytes), [""; 0], "{options}");
        // The machine, in a file for Linux.
        u16::from_le_bytes([bytes[18], bytes[19]])
    };
    assert_eq!(made("--target aarch64-unknown-linux-gnu"), 183);
    assert_eq!(made("--target x86_64-unknown-linux-gnu --target-cpu x86-64-v3,x86-64-v4"), 62);
    let wrong = |options: &str| bad(at, &format!("{build} {options}"));
    assert!(
        wrong("--target aarch64").contains("known are aarch64-apple-darwin, aarch64-unknown-linux-gnu, ")
    );
    let both = wrong("--target aarch64-unknown-linux-gnu --target-cpu x86-64-v3");
    assert!(both.contains("use native or portable"), "{both}");
    assert!(wrong("--target-cpu portable,portable").contains("need the same: leave one of them out"));
    let foreign =
        if cfg!(target_os = "windows") { "x86_64-unknown-linux-gnu" } else { "x86_64-pc-windows-msvc" };
    assert!(wrong(&format!("--tune=s.ron --target {foreign}")).contains("leave it out"));
    assert!(bad(at, "check lenet5 --target-cpu portable,native").contains("give one processor"));
    let listed = good(at, "dump softmax-regression --stage asm --target aarch64-unknown-linux-gnu");
    assert!(listed.contains("fmla"), "{listed}");
}

#[test]
fn build_writes_an_object_and_its_header() {
    let folder = folder();
    let at = folder.path();
    let text = good(at, "build lenet5 --dim batch=1 -o net-1.o");
    assert!(text.contains("net-1.o"), "{text}");
    assert!(text.contains("int net_1_infer(net_1 *model, const float *image, float *probability)"), "{text}");
    let header = std::fs::read_to_string(at.join("net-1.h")).unwrap();
    assert!(
        header.contains("void net_1_infer_call(const brolga_block *block);")
            && header.contains("NET_1_STATE_CONV1_WEIGHT"),
        "{header}"
    );
    assert!(std::fs::metadata(at.join("net-1.o")).unwrap().len() > 1000);
    assert!(bad(at, "build lenet5 -o net.o --symbol 2nd").contains("2nd"));
    assert!(bad(at, "build lenet5 -o net.h").contains("net.h"));
    assert!(bad(at, "build lenet5 -o net.o --entry infer,trian").contains("did you mean `train`?"));
    assert!(bad(at, "build lenet5 -o net.o --entry infer,train,infer").contains("--entry has `infer` twice"));
    assert!(bad(at, "build lenet5 -o net.o --dim trian.batch=1").contains("there are infer"));
    assert!(bad(at, "build lenet5 -o net.o --dim infer.bach=1").contains("did you mean `batch`?"));
    assert!(bad(at, "build lenet5 -o net.o --fitted image.mean=1").contains("--weights"));
    assert!(bad(at, "build lenet5 -o net.a").contains("libNAME.a or libNAME.so"));
    assert!(bad(at, "build lenet5 -o net --emit lib").contains("libNAME.a or libNAME.so"));
    assert!(bad(at, "build lenet5 -o net.o --mapped w.weights").contains("--weights"));
    assert!(bad(at, "build lenet5 -o net.a --emit obj").contains("says a library or program"));
}

/// The state after some steps, for 1, 2 and 7 threads.
fn same_for_any_threads(model: &str, inputs: &str, steps: usize, folder: &Path) {
    let states = [1, 2, 7].map(|threads| {
        let state = format!("{model}-{threads}.safetensors");
        good(
            folder,
            &format!("step {model} --inputs {inputs} --steps {steps} --threads {threads} --save {state}"),
        );
        std::fs::read(folder.join(state)).unwrap()
    });
    assert!(states[0] == states[1] && states[1] == states[2], "{model}: the bits depend on the threads");
}

#[test]
fn threads_do_not_change_bits() {
    let folder = folder();
    let at = folder.path();
    write_batch(&at.join("digits.npz"), 64);
    same_for_any_threads("lenet5", "digits.npz", 50, at);

    let mut random = Random::new(2, Purpose::Augment, 0, 0);
    let image: Vec<f32> = (0..8 * 3072).map(|_| random.uniform() * 2.0 - 1.0).collect();
    let label: Vec<i32> = (0..8).collect();
    let image = Tensor::from_slice(&[8, 3, 32, 32], &image).unwrap();
    let label = Tensor::from_slice(&[8], &label).unwrap();
    write_tensors(at.join("cifar.npz"), &[("image", image.view()), ("label", label.view())]).unwrap();
    same_for_any_threads("resnet20", "cifar.npz", 50, at);
}

#[test]
fn targets_do_not_change_bits() {
    let folder = folder();
    let at = folder.path();
    write_batch(&at.join("batch.npz"), 16);
    let targets: &[&str] = if cfg!(target_arch = "x86_64") {
        &["native", "x86-64-v3", "portable"]
    } else {
        &["native", "portable"]
    };
    let states = targets.iter().map(|target| {
        good(at, &format!("step lenet5-tanh --inputs batch.npz --steps 10 --target-cpu {target} --save {target}.safetensors"));
        std::fs::read(at.join(format!("{target}.safetensors"))).unwrap()
    });
    let states: Vec<_> = states.collect();
    assert!(states.windows(2).all(|pair| pair[0] == pair[1]), "the bits depend on the target");
}

#[test]
fn weights_are_kept_as_bf16_where_that_is_asked_for() {
    let folder = folder();
    let folder = folder.path();
    let bench = |precision: &str| {
        let line =
            format!("bench lenet5 --entry infer --dim batch=1 --seconds 0.01 --json --precision {precision}");
        json(folder, &line)["prepared_bytes"].as_u64().unwrap()
    };
    assert!(bench("bf16") < bench("f32"));
    let check =
        |precision: &str| json(folder, &format!("check lenet5 --json --precision {precision}")).to_string();
    assert_ne!(check("bf16"), check("f32"));
    let program = good(folder, "dump lenet5 --stage program --entry infer --precision bf16");
    assert!(program.contains("bf16["), "{program}");
    // Training keeps what it changes.
    let program = good(folder, "dump lenet5 --stage program --entry train --precision bf16");
    assert!(!program.contains("bf16"), "{program}");

    let program = good(folder, "dump lenet5 --stage program --entry train --precision f64");
    assert!(program.contains("f64") && !program.contains("f32"), "{program}");

    let error = bad(folder, "bench lenet5 --precision bf17");
    assert!(
        error.contains("expected f32, f64, bf16 or bf16-native, found `bf17`; did you mean `bf16`?"),
        "{error}"
    );
    let error = bad(folder, "bench lenet5 --precision bf16-native");
    assert!(error.contains("AVX512-BF16") && error.contains("use `bf16`"), "{error}");
}
