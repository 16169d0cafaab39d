//! Random small models: a table or a diagnostic for each; some of them run and train with the same bits everywhere.

use std::collections::BTreeMap;

use brolga::{Compiler, Model, Settings, TargetCpu};

use super::{Cases, cases};
use crate::common::compiled::compile_emulated;
use crate::fuzz::models;
use crate::fuzz::targets::{Refused, check, options, run_everywhere, run_twice};

/// Every target, and some numbers of threads.
fn places() -> Vec<(TargetCpu, usize)> {
    let cpus = [TargetCpu::Portable, TargetCpu::X86_64V3, TargetCpu::X86_64V4];
    let runs = |cpu: &TargetCpu| {
        let options = brolga::codegen::Options { target_cpu: *cpu };
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

#[test]
#[ignore = "run by itself, see `alone`"]
fn random() {
    let (count, mut watched) = (cases(200), Cases::new());
    let (mut tables, mut diagnostics, mut run, mut trained) = (0, 0, 0, 0);
    let mut refused: BTreeMap<String, usize> = BTreeMap::new();
    let places = places();
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
            Some(true) => tables += 1,
            Some(false) => diagnostics += 1,
            None => *refused.entry("failed".to_owned()).or_default() += 1,
        }
        if right == Some(true) && text.contains("\"train\"") && (run as u64) < count / 10 {
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
        "{count} models: {tables} tables, {diagnostics} diagnostics; {run} run, {trained} of them train, in {} places; {refused:?}",
        places.len()
    );
    watched.finish("random models");
    assert!(
        tables as u64 > count / 3 && diagnostics as u64 > count / 20,
        "{tables} tables, {diagnostics} diagnostics"
    );
    assert_eq!(trained, run);
    assert!(trained as u64 >= count / 20, "{trained} of {count} models train");
}

/// Convolutions whose kernels are too large to be written out position by position: padded images, and taps that are tested.
#[test]
fn large_kernels_run_everywhere() {
    for (input, layer) in [
        ("f32[1, 1, 34, 34]", "Conv2d(features: 1, kernel: 33, padding: 16), Tanh"),
        ("f32[2, 2, 3, 4]", "Conv2d(features: 17, kernel: 33, padding: 32), Relu"),
        ("f32[2, 2, 3, 2]", "ConvTranspose2d(features: 3, kernel: 36, stride: 36), Tanh"),
        ("f32[1, 2, 3, 4]", "ConvTranspose2d(features: 2, kernel: 33, stride: 3, dilation: 2, groups: 2)"),
        ("f32[2, 1, 3, 20]", "Conv2d(features: 2, kernel: [1, 800], padding: [0, 800])"),
    ] {
        let text = format!(
            "Model(inputs: {{ \"s\": \"{input}\" }}, body: [Parameter([1]), Expr(\"s * it\"), {layer}], entries: {{ \
             \"infer\": Infer(outputs: {{ \"y\": \"it\" }}), \"train\": Train(loss: \"mean(it * it)\", optimizer: Sgd(lr: \
             0.1)) }})"
        );
        run_everywhere(&text, &[(TargetCpu::Portable, 1), (TargetCpu::X86_64V3, 2), (TargetCpu::Native, 5)]);
    }
}
