//! Objects for other processors, and for several: linked into C programs, they give the bits of code in memory.
//!
//! Programs for aarch64 are compiled by `aarch64-linux-gnu-gcc` and run by `qemu-aarch64`; without these they are skipped.
//! `BROLGA_MODELS=all` makes objects of all models that come along for both processors (some minutes).

use std::sync::Arc;

use brolga::codegen::{Object, Options, StateTensor, emit_object};
use brolga::runtime::Instance;
use brolga::{
    CompileOptions, Compiler, Lowered, Model, Settings, State, TargetCpu, TargetTriple, Tensor, Threads,
};

use crate::common::machine::{AARCH64, HERE, Machine, references};

/// Small models of all families, variants first of which there are small ones only.
const MODELS: [&str; 12] = [
    "softmax-regression",
    "mlp",
    "lenet5",
    "lenet5-tanh",
    "resnet8",
    "alexnet-tv-mini",
    "vgg-mini",
    "googlenet-mini",
    "googlenet-tv-mini",
    "densenet-mini",
    "mobilenet_v2-mini",
    "bert-encoder-mini",
];

/// The entry points that are called, one after the other, and their batches.
const ENTRIES: [(&str, usize); 2] = [("infer", 1), ("train", 2)];

/// Code for aarch64, whatever this machine is.
const FOR_AARCH64: Options = Options { target_cpu: TargetCpu::Native, triple: TargetTriple::Aarch64Linux };

/// A model's programs, and what code in memory computes with them.
struct Case {
    programs: Vec<Lowered>,
    state: State,
    inputs: Vec<Vec<Tensor>>,
    /// The bytes of all outputs.
    outputs: Vec<u8>,
    after: State,
}

impl Case {
    fn new(name: &str) -> Case {
        let load = |batch| Model::load(name, &Settings::default().dim("batch", batch)).expect("a model");
        let state = load(1).initial_state(3).expect("a state");
        let mut case = Case {
            programs: Vec::new(),
            after: state.try_clone().expect("memory"),
            state,
            inputs: Vec::new(),
            outputs: Vec::new(),
        };
        for (entry, batch) in ENTRIES {
            let model = load(batch);
            let mut compiler = Compiler::new(&CompileOptions::default());
            let optimised = compiler.optimise(model.graph(entry).expect("an entry")).expect("a graph");
            let program = compiler.lower(&optimised).expect("a program");
            let executable = Arc::new(compiler.emit(&program).expect("code").executable);
            let manifest = executable.manifest().clone();
            let inputs = brolga::random_inputs(&manifest.inputs).expect("inputs");
            let zeros = manifest.outputs.iter().map(|o| Tensor::zeros(o.dtype, &o.dims).expect("memory"));
            let mut outputs: Vec<Tensor> = zeros.collect();
            let mut instance =
                Instance::bind(executable, &case.after, &Threads::serial()).expect("an instance");
            instance.run_tensors(&mut case.after, &inputs, &mut outputs).expect("a run");
            outputs.iter().for_each(|output| case.outputs.extend(output.bytes()));
            case.inputs.push(inputs);
            case.programs.push(program);
        }
        case
    }

    fn object(&self, targets: &[Options]) -> Object {
        let programs: Vec<_> =
            self.programs.iter().zip(ENTRIES).map(|(program, (entry, _))| (&**program, entry)).collect();
        let slots = self.state.slots().iter();
        let state: Vec<StateTensor<'_>> =
            slots.map(|slot| StateTensor { name: slot.name(), kind: slot.kind(), fresh: 0.0 }).collect();
        let object = emit_object(&programs, &state, None, "net", targets).expect("an object");
        assert_eq!(references(&object.bytes), [""; 0], "undefined symbols");
        object
    }

    /// Compares a C program with code in memory, bit by bit.
    fn check(&self, machine: Machine, targets: &[Options], what: &str) {
        let (outputs, after) =
            machine.run(&self.object(targets), &ENTRIES.map(|(entry, _)| entry), &self.inputs, &self.state);
        assert!(outputs == self.outputs, "{what}: outputs differ");
        assert!(after.len() > 2, "{what}: no state");
        for (name, tensor) in after {
            let expected = self.after.get(&name).expect("a tensor of the state");
            assert!(tensor.bytes() == expected.bytes(), "{what}: `{name}` differs after an update");
        }
    }
}

#[test]
fn objects_for_aarch64_give_the_bits_of_code_in_memory() {
    if !AARCH64.is_there() {
        return;
    }
    for name in MODELS {
        let start = std::time::Instant::now();
        Case::new(name).check(AARCH64, &[FOR_AARCH64], name);
        println!("{name}: {:.1} s", start.elapsed().as_secs_f64());
    }
}

/// Level 3 of x86-64 alone, and beside level 4, where the program chooses.
#[test]
#[cfg(target_arch = "x86_64")]
fn objects_for_several_processors_give_the_bits_of_code_in_memory() {
    let (v3, v4) = (Options::from(TargetCpu::X86_64V3), Options::from(TargetCpu::X86_64V4));
    for name in ["softmax-regression", "lenet5", "resnet8", "mobilenet_v2-mini", "bert-encoder-mini"] {
        let start = std::time::Instant::now();
        let case = Case::new(name);
        case.check(HERE, &[v3], name);
        case.check(HERE, &[v3, v4], name);
        println!("{name}: {:.1} s", start.elapsed().as_secs_f64());
    }
}

/// `BROLGA_MODELS=all`: nothing is left to a linker in the object of any model that comes along.
#[test]
fn objects_of_all_models_refer_to_nothing() {
    if std::env::var("BROLGA_MODELS").is_ok_and(|models| models == "all") {
        for (name, _) in brolga::names().expect("models") {
            let start = std::time::Instant::now();
            let model = Model::load(&name, &Settings::default()).expect("a model");
            let entries = ENTRIES.map(|(entry, batch)| (entry, [("batch", batch)]));
            let entries: Vec<brolga::ObjectEntry<'_>> =
                entries.iter().map(|(entry, dims)| (*entry, &dims[..])).collect();
            for options in [FOR_AARCH64, Options { triple: TargetTriple::X86_64Linux, ..FOR_AARCH64 }] {
                let object = model.object(&entries, None, "net", &[options]).expect("an object");
                assert_eq!(references(&object.bytes), [""; 0], "{name} for {}", options.triple);
            }
            println!("{name}: {:.1} s", start.elapsed().as_secs_f64());
        }
    }
}
