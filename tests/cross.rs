//! Objects for other processors, and for several: linked into C programs, they give the bits of code in memory.
//!
//! Programs for aarch64 are compiled by `aarch64-linux-gnu-gcc` and run by `qemu-aarch64`; without these they are skipped.
//! `BROLGA_MODELS=all` takes all small models, and makes objects of all models that come along for both processors (some
//! minutes). Without it this takes 30 seconds of one core.

use std::sync::Arc;

use brolga::codegen::{Object, ObjectRequest, Options, StateTensor, emit_object, emit_static};
use brolga::runtime::Instance;
use brolga::{
    CompileOptions, Compiler, Lowered, Model, Settings, State, TargetCpu, TargetTriple, Tensor, Threads,
};

use crate::common::machine::{AARCH64, HERE, Machine, references};

/// Small models of all families, and whether they are run with code for this machine too.
const MODELS: [(&str, bool); 14] = [
    ("softmax-regression", true),
    ("mlp", false),
    ("lenet5", true),
    ("lenet5-tanh", false),
    ("resnet8", true),
    ("alexnet-tv-mini", false),
    ("vgg-mini", false),
    ("densenet-mini", false),
    ("mobilenet_v2-mini", true),
    ("bert-encoder-mini", true),
    ("char-gru-mini", true),
    ("ptb-lstm-mini", false),
    ("googlenet-mini", false),
    ("googlenet-tv-mini", false),
];

/// Those of them, from the first on, that every test run takes.
const FEW: usize = 12;

/// Whether all models are asked for.
fn all() -> bool {
    std::env::var("BROLGA_MODELS").is_ok_and(|models| models == "all")
}

/// The entry points that are called, one after the other, and their batches.
const ENTRIES: [(&str, usize); 2] = [("infer", 1), ("train", 2)];

/// Code for aarch64, whatever this machine is.
const FOR_AARCH64: Options = Options { target_cpu: TargetCpu::Native, triple: TargetTriple::Aarch64Linux };

/// What makes objects of programs and state.
type Emit = fn(&ObjectRequest<'_>) -> Result<Object, brolga::codegen::Error>;

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

    fn emitted(&self, emit: Emit, targets: &[Options]) -> Object {
        let programs: Vec<_> =
            self.programs.iter().zip(ENTRIES).map(|(program, (entry, _))| (&**program, entry)).collect();
        let slots = self.state.slots().iter();
        let state: Vec<StateTensor<'_>> =
            slots.map(|slot| StateTensor { name: slot.name(), kind: slot.kind(), fresh: 0.0 }).collect();
        emit(&ObjectRequest { entries: &programs, state: &state, weights: None, symbol: "net", targets })
            .expect("an object")
    }

    /// Compares a C program that is linked with the object with code in memory, bit by bit.
    fn check(&self, machine: Machine, targets: &[Options], what: &str) {
        let object = self.emitted(emit_object, targets);
        assert_eq!(references(&object.bytes), [""; 0], "undefined symbols");
        self.check_object(machine, &object, what);
    }

    fn check_object(&self, machine: Machine, object: &Object, what: &str) {
        let (outputs, after) =
            machine.run(object, &ENTRIES.map(|(entry, _)| entry), &self.inputs, &self.state);
        assert!(outputs == self.outputs, "{what}: outputs differ");
        assert!(after.len() > 2, "{what}: no state");
        for (name, tensor) in after {
            let expected = self.after.get(&name).expect("a tensor of the state");
            assert!(tensor.bytes() == expected.bytes(), "{what}: `{name}` differs after an update");
        }
    }
}

/// Objects for aarch64; for level 3 of x86-64; and for levels 3 and 4, between which the program chooses.
#[test]
fn objects_give_the_bits_of_code_in_memory() {
    let aarch64 = AARCH64.is_there();
    for (name, here) in MODELS.into_iter().take(if all() { MODELS.len() } else { FEW }) {
        let start = std::time::Instant::now();
        let case = Case::new(name);
        if aarch64 {
            case.check(AARCH64, &[FOR_AARCH64], &format!("{name} on aarch64"));
            if name == MODELS[0].0 {
                let object = case.emitted(emit_static, &[FOR_AARCH64]);
                case.check_object(AARCH64, &object, &format!("{name} as a static library for aarch64"));
            }
        }
        if here && cfg!(target_arch = "x86_64") {
            let (v3, v4) = (Options::from(TargetCpu::X86_64V3), Options::from(TargetCpu::X86_64V4));
            case.check(HERE, &[v3], &format!("{name} on x86-64-v3"));
            case.check(HERE, &[v3, v4], &format!("{name} on one of two"));
        }
        println!("{name}: {:.1} s", start.elapsed().as_secs_f64());
    }
}

/// `BROLGA_MODELS=all`: nothing is left to a linker in the object of any model that comes along.
#[test]
fn objects_of_all_models_refer_to_nothing() {
    if all() {
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
