//! Random small models: a table or a diagnostic for each; some of them run and train with the same bits everywhere. In a large
//! run every layer and every function comes out in a table.

use std::collections::{BTreeMap, BTreeSet};

use brolga::frontend::language;
use brolga::{Compiler, Model, Settings, TargetCpu};

use super::{Cases, MEMORY, cases};
use crate::common::compiled::compile_emulated;
use crate::fuzz::models;
use crate::fuzz::targets::{Refused, check, options, run_everywhere, run_twice};

/// Every target, and some numbers of threads.
fn places() -> Vec<(TargetCpu, usize)> {
    let cpus = [TargetCpu::Portable, TargetCpu::X86_64V3, TargetCpu::X86_64V4];
    let runs = |cpu: &TargetCpu| {
        let options = brolga::codegen::Options::from(*cpu);
        let features = brolga::codegen::features(&options);
        features.is_ok_and(|features| features.iter().all(|name| brolga::runtime::cpu_has(name)))
    };
    cpus.into_iter().filter(runs).flat_map(|cpu| [1, 2, 5].map(|threads| (cpu, threads))).collect()
}

/// The same with leaves for AVX-512, which the emulator runs where the machine lacks it.
fn run_emulated(text: &str) {
    let model = Model::from_text("model.ron", text, &Settings::default()).expect("a model that has run");
    let model = model.with_options(options(TargetCpu::Portable, 1));
    for entry in model.instance().entries().into_iter().filter(|&entry| entry != "init") {
        let mut compiler = Compiler::new(model.options());
        let optimised = compiler.optimise(model.graph(entry).expect("an entry")).expect("passes");
        let program = compiler.lower(&optimised).expect("a program");
        let emulated = std::sync::Arc::new(compile_emulated(&program).executable);
        let expected = model.compile(entry).and_then(|code| run_twice(&model, code, 1)).expect("a run");
        let found = run_twice(&model, emulated, 1).expect("a run");
        for ((name, expected), (_, found)) in expected.iter().zip(&found) {
            let differs = (0..expected.elements()).find(|&i| !expected.get(i).same(found.get(i)));
            assert!(differs.is_none(), "{entry}: {name}[{differs:?}] differs by AVX-512\n{text}");
        }
    }
}

/// State from which on a model is not run, in bytes.
const LARGE: usize = 1 << 30;

/// Whether a model has so much state that it is not run. Where it is more than the process may have, it must say that there is no
/// memory for it; anything else is a failure.
fn is_large(text: &str) -> Result<bool, String> {
    let model = Model::from_text("model.ron", text, &Settings::default());
    let model = model.map_err(|error| error.to_string())?;
    let slots = model.instance().state().iter();
    let bytes = slots.fold(0, |sum: usize, slot| sum.saturating_add(slot.ty.bytes()));
    if bytes as u64 <= MEMORY << 10 {
        return Ok(bytes >= LARGE);
    }
    match model.initial_state(7) {
        Err(error) if error.to_string().contains("there is no memory for a tensor") => Ok(true),
        Err(error) => Err(format!("{bytes} bytes of state: {error}")),
        Ok(_) => Err(format!("{bytes} bytes of state in {MEMORY} KiB")),
    }
}

#[test]
#[ignore = "run by itself, see `alone`"]
fn more_weights_than_memory() {
    for layer in ["Conv2d(features: 4294967297, kernel: 3)", "Conv2d(features: 100000000, kernel: 3)"] {
        let train = "Train(loss: \"mean(it * it)\", optimizer: Adam(lr: 0.1))";
        let text = models::model("f32[batch, 4, 8, 8]", "1", &[layer.to_owned()], Some(train));
        assert_eq!(is_large(&text), Ok(true), "{layer}");
    }
    let text = models::model("f32[batch, 4]", "1", &["Linear(3)".to_owned()], None);
    assert_eq!(is_large(&text), Ok(false));
}

/// Layers and functions, as the start of a call of each: a function by its bracket.
fn callables() -> Vec<String> {
    // These stand in metrics only, which are not everywhere.
    let functions = language::functions().into_iter().filter(|f| !["total", "r2"].contains(&f.name));
    let layers = language::layers().into_iter().map(|layer| layer.name.to_owned());
    layers.chain(functions.map(|function| format!("{}(", function.name))).collect()
}

/// Whether a text has that call; a part of a longer name is none.
fn calls(text: &str, call: &str) -> bool {
    let part_of_name = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(call).any(|(at, _)| {
        let (before, behind) = (text[..at].chars().next_back(), text[at + call.len()..].chars().next());
        !before.is_some_and(part_of_name) && (call.ends_with('(') || !behind.is_some_and(part_of_name))
    })
}

/// Of layers and functions, the part of a hundred that a small run brings into tables; a large one brings all.
const COVERED: usize = 50;

#[test]
#[ignore = "run by itself, see `alone`"]
fn random() {
    let (count, mut watched) = (cases(200), Cases::new());
    let (mut tables, mut diagnostics, mut run, mut trained) = (0, 0, 0, 0);
    let mut refused: BTreeMap<String, usize> = BTreeMap::new();
    let (callables, mut seen) = (callables(), BTreeSet::new());
    let (places, mut large) = (places(), 0);
    for seed in 0..count {
        let Some(text) = watched.case(&format!("the making of model {seed}"), || Ok(models::random(seed)))
        else {
            continue;
        };
        let name = format!("model {seed}\n{text}");
        let right = watched.case(&name, || match check(&text) {
            Ok(_) => Ok(true),
            Err(Refused::Diagnostic(_)) => Ok(false),
            Err(Refused::Compiler(message)) => Err(message),
        });
        match right {
            Some(true) => {
                tables += 1;
                seen.extend(callables.iter().filter(|call| calls(&text, call)));
            }
            Some(false) => diagnostics += 1,
            None => *refused.entry("failed".to_owned()).or_default() += 1,
        }
        if right == Some(true) && text.contains("\"train\"") && (run as u64) < count / 10 {
            if watched.case(&name, || is_large(&text)) != Some(false) {
                large += 1;
                continue;
            }
            run += 1;
            // Threads and processors take their time; only bits matter here.
            let entries = std::panic::catch_unwind(|| {
                let entries = run_everywhere(&text, &places);
                if run % 4 == 1 {
                    run_emulated(&text);
                }
                entries
            });
            match entries {
                Ok(entries) => trained += usize::from(entries.iter().any(|entry| entry == "train")),
                Err(panic) => {
                    let message = panic.downcast_ref::<String>().cloned().unwrap_or_default();
                    watched.case(&name, || Err::<(), String>(message));
                }
            }
        }
    }
    println!(
        "{count} models: {tables} tables, {diagnostics} diagnostics; {run} run, {trained} of them train, in {} places; {large} \
         are too large for that; {refused:?}",
        places.len()
    );
    let missing: Vec<&String> = callables.iter().filter(|call| !seen.contains(call)).collect();
    println!("{} of {} layers and functions are in tables; not: {missing:?}", seen.len(), callables.len());
    watched.finish("random models");
    assert!(
        tables as u64 > count / 3 && diagnostics as u64 > count / 20,
        "{tables} tables, {diagnostics} diagnostics"
    );
    assert_eq!(trained, run);
    let wanted = if count >= 20_000 { 100 } else { COVERED };
    assert!(seen.len() * 100 >= callables.len() * wanted, "not in a table: {missing:?}");
    assert!(trained as u64 >= count / 20, "{trained} of {count} models train");
}

/// Convolutions whose kernels are too large to be written out position by position: padded images, and taps that are tested. And
/// those of which most positions never meet the image.
#[test]
fn large_kernels_run_everywhere() {
    for (input, layer) in [
        ("f32[1, 1, 34, 34]", "Conv2d(features: 1, kernel: 33, padding: 16), Tanh"),
        ("f32[2, 2, 3, 4]", "Conv2d(features: 17, kernel: 33, padding: 32), Relu"),
        ("f32[2, 2, 3, 2]", "ConvTranspose2d(features: 3, kernel: 36, stride: 36), Tanh"),
        ("f32[1, 2, 3, 4]", "ConvTranspose2d(features: 2, kernel: 33, stride: 3, dilation: 2, groups: 2)"),
        ("f32[2, 1, 3, 20]", "Conv2d(features: 2, kernel: [1, 800], padding: [0, 800])"),
        ("f32[2, 4, 8]", "Conv1d(features: 4, kernel: 600, stride: 2, padding: 600), Tanh"),
        ("f32[2, 3, 8]", "Conv1d(features: 4, kernel: 300, stride: 2, padding: 900, dilation: 3)"),
        ("f32[2, 4, 8]", "Conv1d(features: 4, kernel: 600, stride: 2, padding: 600, groups: 4)"),
        ("f32[1, 2, 8]", "Conv1d(features: 2, kernel: 600, stride: 2, padding: 300), Relu"),
        ("f32[2, 2, 8]", "ConvTranspose1d(features: 2, kernel: 600, stride: 2, padding: 300, groups: 2)"),
    ] {
        let text = format!(
            "Model(inputs: {{ \"s\": \"{input}\" }}, body: [Parameter([1]), Expr(\"s * it\"), {layer}], entries: {{ \
             \"infer\": Infer(outputs: {{ \"y\": \"it\" }}), \"train\": Train(loss: \"mean(it * it)\", optimizer: Sgd(lr: \
             0.1)) }})"
        );
        run_everywhere(&text, &[(TargetCpu::Portable, 1), (TargetCpu::X86_64V3, 2), (TargetCpu::Native, 5)]);
    }
}
