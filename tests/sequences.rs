//! Every recurrent model that comes along, in all its variants: every entry gives the same bits on 1, 2 and 5 threads, with
//! 128-bit vectors, AVX2, and what this processor has (`kernels::recurrent_models_with_avx512` holds AVX-512 where it is not there).

use std::sync::Arc;

use brolga::runtime::{Executable, Instance};
use brolga::{CompileOptions, Model, State, TargetCpu, Tensor, Threads};

use crate::common::load;

const CHAPTER: &str = "Recurrent networks";

fn model(name: &str, target_cpu: TargetCpu) -> Model {
    let mut options = CompileOptions { target_cpu, ..CompileOptions::default() };
    // So small a part that small programs are parallel too.
    options.passes.least_part = 4;
    load(name, 3).with_options(options)
}

/// The outputs of an entry's last run of `runs`, and the state behind it.
fn run(executable: &Arc<Executable>, mut state: State, threads: usize, runs: usize) -> Vec<Tensor> {
    let manifest = executable.manifest();
    let inputs = brolga::random_inputs(&manifest.inputs).expect("inputs");
    let outputs = manifest.outputs.iter();
    let mut outputs: Vec<Tensor> = outputs.map(|o| Tensor::zeros(o.dtype, &o.dims).unwrap()).collect();
    let threads = Threads::new(threads).unwrap();
    let mut instance = Instance::bind(Arc::clone(executable), &state, &threads).unwrap();
    for _ in 0..runs {
        instance.run_tensors(&mut state, &inputs, &mut outputs).unwrap();
    }
    outputs.extend(state.slots().iter().map(|slot| slot.tensor().try_clone().unwrap()));
    outputs
}

fn has_the_same_bits(name: &str) {
    let native = model(name, TargetCpu::Native);
    let state = native.initial_state(3).unwrap();
    let entries = native.instance().entries().into_iter();
    let entries: Vec<&str> = entries.filter(|entry| *entry != "init" && !entry.ends_with(".eval")).collect();
    assert!(!entries.is_empty(), "{name} has no entry");
    for entry in entries {
        // What has updated the state shows in the next run.
        let runs = if entry == "infer" { 1 } else { 3 };
        let mut expected: Option<Vec<Tensor>> = None;
        for cpu in [TargetCpu::Native, TargetCpu::X86_64V3, TargetCpu::Portable] {
            if cpu == TargetCpu::X86_64V3 && !cfg!(target_arch = "x86_64") {
                continue;
            }
            let executable =
                model(name, cpu).compile(entry).unwrap_or_else(|e| panic!("{name}, {entry}: {e}"));
            for threads in [1, 2, 5] {
                let found = run(&executable, state.try_clone().unwrap(), threads, runs);
                let expected =
                    expected.get_or_insert_with(|| found.iter().map(|t| t.try_clone().unwrap()).collect());
                assert_eq!(expected.len(), found.len());
                for (at, (a, b)) in expected.iter().zip(&found).enumerate() {
                    let same = a.bytes() == b.bytes();
                    assert!(same, "{name}, {entry}: tensor {at} with {threads} threads on {cpu}");
                }
            }
        }
    }
}

macro_rules! models {
    ($($test:ident: $name:literal),* $(,)?) => {
        $(#[test]
        fn $test() {
            has_the_same_bits($name);
        })*

        /// The tests above are those of the catalogue.
        #[test]
        fn no_recurrent_model_is_left() {
            let in_chapter = |family: &str| brolga::models::catalogue::file(family).unwrap().chapter == CHAPTER;
            let names = brolga::names().unwrap().into_iter().filter(|(_, family)| in_chapter(family));
            assert_eq!(names.map(|(name, _)| name).collect::<Vec<_>>(), [$($name),*]);
        }
    };
}

models! {
    elman: "elman",
    jordan: "jordan",
    birnn: "birnn",
    birnn_one_way: "birnn-one-way",
    deep_rnn: "deep-rnn",
    lstm: "lstm",
    lstm_peephole: "lstm-peephole",
    gru: "gru",
    gru_after: "gru-after",
    irnn: "irnn",
    char_gru: "char-gru",
    char_gru_mini: "char-gru-mini",
    ptb_lstm_small: "ptb-lstm-small",
    ptb_lstm_mini: "ptb-lstm-mini",
    bptt: "bptt",
    tbptt: "tbptt",
    tbptt_whole: "tbptt-whole",
    grad_clip_rnn: "grad-clip-rnn",
    vanishing_probe: "vanishing-probe",
    recursive_nn: "recursive-nn",
}
