//! `--tune`: it measures once, finds that again, and changes no bit. What is faster is not asserted: it depends on the
//! machine.

#![cfg(feature = "cli")]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};

use brolga::passes::{ProductKind, Tuning, Tunings};
use brolga::runtime::TensorFile;
use brolga::trace::calls;
use brolga::tune::Cache;
use brolga::{CompileOptions, Compiler, Model, Settings, Threads};
use serde_json::Value;

/// Runs the command with its cache inside the folder.
fn run(folder: &Path, arguments: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_brolga"));
    command.current_dir(folder).env("XDG_CACHE_HOME", folder.join("caches")).env("NO_COLOR", "1");
    let output = command.args(arguments.split_whitespace()).output().expect("the command runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "brolga {arguments}: {}\n{errors}", output.status);
    output
}

fn bench(folder: &Path, arguments: &str) -> (Value, String) {
    let output = run(folder, &format!("bench {arguments} --seconds 0 --json"));
    let value = serde_json::from_slice(&output.stdout).expect("JSON");
    (value, String::from_utf8(output.stderr).expect("text"))
}

#[test]
fn the_second_time_nothing_is_measured() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let (first, told) = bench(folder, "lenet5 --threads 1 --tune");
    let products = first["tune"]["products"].as_u64().expect("a number");
    assert!(products >= 4, "{first}");
    assert_eq!((&first["tune"]["measured"], &first["tune"]["known"]), (&products.into(), &0.into()));
    assert!(told.starts_with("tuning lenet5 infer: ") && told.contains("measured in"), "{told}");
    let file = folder.join("caches/brolga/tunings.txt");
    let text = std::fs::read_to_string(&file).expect("a cache");

    let (second, told) = bench(folder, "lenet5 --threads 1 --tune");
    assert_eq!((&second["tune"]["measured"], &second["tune"]["known"]), (&0.into(), &products.into()));
    assert_eq!(second["tune"]["changed"], first["tune"]["changed"]);
    assert!(told.contains("all known"), "{told}");
    assert_eq!(std::fs::read_to_string(&file).expect("a cache"), text);

    // Another number of threads, and another file, know nothing of it.
    let (other, _) = bench(folder, "lenet5 --threads 2 --tune");
    assert_eq!(other["tune"]["known"], 0);
    let (other, _) = bench(folder, "lenet5 --threads 1 --tune=own.txt");
    assert_eq!(other["tune"]["known"], 0);
    assert!(folder.join("own.txt").is_file());
    // Not asked for, the cache is not looked at.
    let (without, told) = bench(folder, "lenet5 --threads 1");
    assert!(without["tune"].is_null() && told.is_empty(), "{told}");
}

#[test]
fn a_broken_cache_is_told_and_replaced_and_another_file_is_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let (_, _) = bench(folder, "mlp --threads 1 --tune=cache.txt");
    let file = folder.join("cache.txt");
    let good = std::fs::read_to_string(&file).expect("a cache");
    std::fs::write(&file, &good[..good.len() - 20]).expect("written");
    let (again, told) = bench(folder, "mlp --threads 1 --tune=cache.txt");
    assert_eq!(again["tune"]["known"], 0);
    assert!(told.starts_with("note: the tuning cache `cache.txt` cannot be understood"), "{told}");
    let (again, told) = bench(folder, "mlp --threads 1 --tune=cache.txt");
    assert_eq!(again["tune"]["measured"], 0);
    assert!(!told.contains("note:"), "{told}");

    std::fs::write(folder.join("notes.txt"), "not a cache").expect("written");
    let (other, told) = bench(folder, "mlp --threads 1 --tune=notes.txt");
    assert_eq!(other["tune"]["known"], 0);
    assert!(told.contains("`notes.txt` is not a tuning cache; it is left alone"), "{told}");
    assert_eq!(std::fs::read_to_string(folder.join("notes.txt")).expect("a file"), "not a cache");
    // A cache that cannot be written stops nothing.
    let (_, told) = bench(folder, "mlp --threads 1 --tune=notes.txt/below.txt");
    assert!(told.contains("note: "), "{told}");
}

#[test]
fn tuned_training_gives_the_same_bits() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let train = "train lenet5-tanh --epochs 1 --batch 100 --json";
    run(folder, &format!("{train} --threads 1 --save plain.safetensors"));
    run(folder, &format!("{train} --threads 2 --save tuned.safetensors --tune"));
    let read = |name: &str| std::fs::read(folder.join(name)).expect("weights");
    assert!(TensorFile::open(folder.join("plain.safetensors")).is_ok());
    assert_eq!(read("plain.safetensors"), read("tuned.safetensors"));
}

/// The products of an entry.
fn keys(model: &Model, entry: &str) -> BTreeSet<String> {
    let mut compiler = Compiler::new(model.options());
    compiler.set_tunings(Tunings::default().labelled());
    let optimised = compiler.optimise(model.graph(entry).expect("an entry")).expect("graph passes");
    let program = compiler.lower(&optimised).expect("lowering");
    let origins = calls(&program).into_iter().map(|call| call.origin.clone());
    origins.filter(|origin| ProductKind::of(origin).is_some()).collect()
}

#[test]
fn a_model_is_tuned_with_a_cache_that_is_kept_nowhere() {
    let threads = Threads::serial();
    let mut cache = Cache::in_memory();
    let mut model = Model::load("mlp", &Settings::default().dim("batch", 3)).expect("a model");
    let all = keys(&model, "train");
    let mut seen = Vec::new();
    let mut tune = |cache: &mut Cache| {
        model.tune("train", &[], &threads, cache, &mut |done, all| seen.push((done, all))).expect("tuned")
    };
    let first = tune(&mut cache);
    assert_eq!((first.known, first.products), (0, all.len()));
    assert!(first.tunings.iter().map(|(key, _)| key).eq(all.iter()));
    let second = tune(&mut cache);
    assert_eq!((second.known, &second.tunings), (all.len(), &first.tunings));
    assert_eq!(model.options().passes.tunings, first.tunings);
    let last = *seen.last().expect("progress");
    assert!(last.0 == last.1 && last.1 > 0 && seen.is_sorted(), "{seen:?}");
}

#[test]
fn whole_models_give_the_same_bits_with_any_candidate() {
    let threads = Threads::new(2).expect("threads");
    for (name, entry, batch) in [("lenet5-tanh", "train", 5), ("resnet20", "infer", 2)] {
        let load = || Model::load(name, &Settings::default().dim("batch", batch)).expect("a model");
        let result = |model: &Model| {
            let executable = model.compile(entry).expect("compiled");
            let inputs = brolga::random_inputs(&executable.manifest().inputs).expect("inputs");
            let names: Vec<String> =
                executable.manifest().inputs.iter().map(|input| input.name.clone()).collect();
            let mut state = model.initial_state(0).expect("a state");
            let mut instance = brolga::runtime::Instance::bind(executable, &state, &threads).expect("bound");
            let inputs: Vec<_> = names.iter().map(String::as_str).zip(&inputs).collect();
            let outputs = instance.run_named(&mut state, &inputs).expect("a run");
            let parameter = model.instance().state()[0].name.clone();
            let state = state.get(&parameter).expect("a slot").bytes().to_vec();
            (outputs.into_iter().map(|(_, tensor)| tensor.bytes().to_vec()).collect::<Vec<_>>(), state)
        };
        let expected = result(&load());
        let keys = keys(&load(), entry);
        assert!(keys.len() >= 4, "{keys:?}");
        // Candidate k of every product at once.
        let candidates = |key: &str| -> Vec<Tuning> {
            ProductKind::of(key).expect("a key").candidates().into_iter().flatten().collect()
        };
        let most = keys.iter().map(|key| candidates(key).len()).max().expect("products");
        for k in 0..most {
            let mut options = CompileOptions::default();
            for key in &keys {
                let all = candidates(key);
                options.passes.tunings.set(key, all[k % all.len()]);
            }
            assert!(result(&load().with_options(options)) == expected, "{name} {entry}: candidate {k}");
        }
    }
}
