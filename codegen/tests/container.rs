//! Programs in a container: written for several processors, opened, and run from the map.

use std::sync::Arc;

use crate::common::{Rng, Values as _, compile, from_runtime, run, same, to_runtime};
use crate::programs::everything;
use brolga_codegen::{Options, TargetCpu, container};
use brolga_ir::program::Program;
use brolga_ir::{DType, Tensor};
use brolga_runtime::container::{Code, Container, Parts, Values, open};
use brolga_runtime::{Executable, Instance, SlotKind, State, Threads};

/// Two programs of the same kernels and state.
fn programs() -> [Program; 2] {
    [everything(), Program { name: "other".into(), ..everything() }]
}

/// Processors that code can be made for here, and that need different things.
fn options() -> Vec<Options> {
    let targets: &[TargetCpu] = match cfg!(target_arch = "x86_64") {
        true => &[TargetCpu::X86_64V3, TargetCpu::X86_64V4],
        false => &[TargetCpu::Portable],
    };
    targets.iter().map(|&target_cpu| Options::from(target_cpu)).collect()
}

fn code() -> Code {
    let [first, second] = programs();
    container(&[&first, &second], &options()).unwrap()
}

fn state(values: &[Tensor]) -> State {
    let mut state = State::new();
    let slots = [("w", SlotKind::Parameter), ("total", SlotKind::Buffer)];
    for ((name, kind), value) in slots.into_iter().zip(values) {
        state.insert(name, kind, to_runtime(value)).unwrap();
    }
    state
}

/// The outputs, then the state afterwards.
fn run_executable(executable: Arc<Executable>, mut state: State, inputs: &[Tensor]) -> Vec<Tensor> {
    let mut instance = Instance::bind(executable, &state, &Threads::new(2).unwrap()).unwrap();
    let inputs: Vec<_> = inputs.iter().map(to_runtime).collect();
    let executable = instance.executable().clone();
    let manifest = executable.manifest();
    let named: Vec<_> =
        manifest.inputs.iter().zip(&inputs).map(|(input, t)| (input.name.as_str(), t)).collect();
    let outputs = instance.run_named(&mut state, &named).unwrap();
    let after = manifest.state.iter().map(|slot| from_runtime(state.get(&slot.name).unwrap()));
    outputs.iter().map(|(_, tensor)| from_runtime(tensor)).chain(after).collect()
}

/// What is opened gives the bits of what is compiled into memory, with prepared values of the file and without.
#[test]
fn entries_of_a_container_give_the_bits_of_the_jit() {
    let code = code();
    let needs = |at: usize| code.pieces[at].piece.processor.features.len();
    assert!((1..code.pieces.len()).all(|at| needs(at - 1) > needs(at)), "the best code is first");
    let mut random = Rng(8);
    let inputs = [random.tensor(DType::F32, 600).reshaped([20, 30])];
    let drawn = [random.tensor(DType::F32, 750).reshaped([30, 25]), random.tensor(DType::F32, 100)];
    let state = state(&drawn);
    let jit = compile(&programs()[0], &Options::default()).unwrap();
    let mut jit = Instance::bind(Arc::new(jit.executable), &state, &Threads::serial()).unwrap();
    let prepared = jit.prepared(&state).unwrap().to_vec();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.brolga");
    let both = [Some(&prepared[..]), None];
    for kept in [&both[..0], &both[..]] {
        let values = Values::Weights;
        let parts = Parts { model: "net", code: &code, state: &state, values, prepared: kept, about: None };
        parts.write(&path).unwrap();
        // SAFETY: the file was written from code that has just been compiled, and nobody changes it: the next one is renamed to
        // its name.
        let loaded = unsafe { open(&path).unwrap() };
        for (executable, program) in loaded.executables.iter().zip(programs()) {
            let state = loaded.state.try_clone().unwrap();
            let found = run_executable(executable.clone(), state, &inputs);
            let (outputs, after) = run(&program, TargetCpu::Native, &inputs, &drawn);
            let expected: Vec<Tensor> = outputs.into_iter().chain(after).collect();
            assert_eq!(found.len(), expected.len());
            for (found, expected) in found.iter().zip(&expected) {
                same(found, expected, "container", &program);
            }
        }
    }
}

/// Pieces are aligned for the pages of their systems, and what they need is named.
#[test]
fn code_for_several_processors_shares_everything_else() {
    let code = code();
    let alone = programs().map(|program| container(&[&program], &options()).unwrap());
    assert_eq!(code.constants, alone[0].constants);
    assert_eq!(
        code.entries.iter().map(|manifest| &*manifest.entry).collect::<Vec<_>>(),
        ["everything", "other"]
    );
    for piece in &code.pieces {
        assert_eq!(piece.piece.processor.architecture, std::env::consts::ARCH);
        assert!(piece.alignment.is_power_of_two() && piece.alignment >= 4096);
        assert_eq!(piece.piece.functions.len(), 2);
        // Kernels are shared: two entries take less than twice the room of one.
        let one = alone[0].pieces.iter().find(|one| one.piece.processor == piece.piece.processor).unwrap();
        assert!(piece.bytes.len() < 2 * one.bytes.len());
    }
    let state = state(&[Tensor::f32([30, 25], vec![0.0; 750]), Tensor::f32([100], vec![0.0; 100])]);
    let parts =
        Parts { model: "net", code: &code, state: &state, values: Values::None, prepared: &[], about: None };
    let bytes = parts.to_bytes().unwrap();
    assert_eq!(bytes, parts.to_bytes().unwrap(), "equal parts give equal files");
    let container = Container::of_bytes(&bytes).unwrap();
    assert_eq!(container.contents().entries, code.entries);
    assert_eq!(container.numerics(), brolga_codegen::NUMERICS_VERSION);
}

#[test]
fn targets_that_need_the_same_are_refused() {
    let program = everything();
    let twice = [Options::default(), Options::default()];
    let error = container(&[&program], &twice).unwrap_err().to_string();
    assert!(error.contains("need the same"), "{error}");
    assert!(container(&[&program], &[]).is_err() && container(&[], &options()).is_err());
}
