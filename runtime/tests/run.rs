//! Binding and running: what is checked, what is passed, what is prepared when.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::common::*;
use brolga_runtime::*;

/// Bases of the entry below: state `scale` and `calls`, inputs `x`, `label` and `mask`, outputs `y` and `n`.
const SCALE: usize = BASE_STATE;
const X: usize = BASE_STATE + 2;
const Y: usize = BASE_STATE + 5;
const N: usize = BASE_STATE + 6;
const LEN: usize = 5;

/// Prepared: the scale plus the first constant. Counts its calls in the arena.
unsafe extern "C" fn prepare(block: *const ArgumentBlock) {
    // SAFETY: the runtime passes what `manifest` says.
    unsafe {
        assert!((*(*block).bases.add(X)).is_null() && (*(*block).bases.add(Y)).is_null());
        *floats(block, BASE_PREPARED) = *floats(block, SCALE) + *floats(block, BASE_CONSTANTS);
        *floats(block, BASE_ARENA) += 1.0;
    }
}

/// y = x * prepared, and n = how often `prepare` has run.
unsafe extern "C" fn entry(block: *const ArgumentBlock) {
    // SAFETY: as above; inputs may have any alignment.
    unsafe {
        for base in (BASE_ARENA..X).chain(Y..=N) {
            assert_eq!(*(*block).bases.add(base) as usize % ALIGNMENT, 0, "base {base}");
        }
        for i in 0..LEN {
            *floats(block, Y).add(i) =
                floats(block, X).add(i).read_unaligned() * *floats(block, BASE_PREPARED);
        }
        *floats(block, N) = *floats(block, BASE_ARENA);
    }
}

fn input(name: &str, dtype: DType, dims: &[usize], range: Option<IndexRange>) -> Input {
    Input { name: name.into(), dtype, dims: dims.into(), range, samples: Samples::Same }
}

fn manifest() -> Manifest {
    let slot = |name: &str| StateSlot { name: name.into(), dtype: DType::F32, dims: vec![], updated: false };
    Manifest {
        entry: "infer".into(),
        numerics: 1,
        parallel: false,
        inputs: vec![
            input("x", DType::F32, &[LEN], None),
            input("label", DType::I32, &[2, 2], Some(IndexRange { low: 0, high: 9 })),
            input("mask", DType::Bool, &[2], None),
        ],
        outputs: vec![
            Output { name: "y".into(), dtype: DType::F32, dims: vec![LEN], samples: Samples::Same },
            Output { name: "n".into(), dtype: DType::F32, dims: vec![], samples: Samples::Same },
        ],
        state: vec![slot("scale"), slot("other")],
        arena_bytes: 4,
        local_bytes: 0,
        prepared_bytes: 4,
        constants_bytes: 4,
        checked: false,
        cpu_features: vec![],
    }
}

fn build(manifest: Manifest, constants: &[u8]) -> Result<Executable> {
    let constants = AlignedBytes::copy_of(constants)?;
    // SAFETY: the functions above do what the manifest says.
    unsafe { Executable::from_raw(entry, Some(prepare), Arc::new(constants), manifest, Arc::new(())) }
}

fn state() -> State {
    let mut state = State::new();
    // Another order than the manifest's, and a tensor that the entry does not know.
    for (name, value) in [("unused", 7f32), ("other", 8.0), ("scale", 2.0)] {
        state.insert(name, SlotKind::Parameter, Tensor::scalar(value).unwrap()).unwrap();
    }
    state
}

fn bind(state: &State) -> Instance {
    let executable = build(manifest(), &1f32.to_ne_bytes()).unwrap();
    Instance::bind(executable.into(), state, &Threads::serial()).unwrap()
}

fn tensors() -> [Tensor; 3] {
    [
        Tensor::from_slice(&[LEN], &[1f32, 2.0, 3.0, 4.0, 5.0]).unwrap(),
        Tensor::from_slice(&[2, 2], &[0i32, 3, 9, 1]).unwrap(),
        Tensor::from_bytes(DType::Bool, &[2], &[0, 1]).unwrap(),
    ]
}

fn outputs() -> [Tensor; 2] {
    [Tensor::zeros(DType::F32, &[LEN]).unwrap(), Tensor::zeros(DType::F32, &[]).unwrap()]
}

#[test]
fn an_entry_gets_state_inputs_constants_and_prepared_values() {
    let mut state = state();
    let mut instance = bind(&state);
    let [x, label, mask] = tensors();
    let named = [("mask", &mask), ("x", &x), ("label", &label)];
    let result = instance.run_named(&mut state, &named).unwrap();
    assert_eq!(result[0].0, "y");
    assert_eq!(result[0].1.as_slice::<f32>().unwrap(), [3.0, 6.0, 9.0, 12.0, 15.0]);
    assert_eq!((result[1].0.as_str(), result[1].1.item().unwrap()), ("n", 1.0));
}

#[test]
fn prepare_runs_when_the_state_it_depends_on_has_changed_and_only_then() {
    let mut state = state();
    let mut instance = bind(&state);
    let (inputs, mut out) = (tensors(), outputs());
    let mut go = |instance: &mut Instance, state: &mut State| {
        instance.run_tensors(state, &inputs, &mut out).unwrap();
        (out[0].as_slice::<f32>().unwrap()[0], out[1].item().unwrap())
    };
    assert_eq!(go(&mut instance, &mut state), (3.0, 1.0));
    assert_eq!(go(&mut instance, &mut state), (3.0, 1.0));
    state.get_mut("unused").unwrap().as_mut_slice::<f32>().unwrap()[0] = 0.0;
    assert_eq!(go(&mut instance, &mut state), (3.0, 1.0), "the entry does not use it");
    state.get_mut("scale").unwrap().as_mut_slice::<f32>().unwrap()[0] = 9.0;
    assert_eq!(go(&mut instance, &mut state), (10.0, 2.0));

    // A clone has the same content until one of the two changes.
    let mut clone = state.try_clone().unwrap();
    assert_eq!(go(&mut instance, &mut clone), (10.0, 2.0));
    clone.get_mut("scale").unwrap().as_mut_slice::<f32>().unwrap()[0] = 4.0;
    assert_eq!(go(&mut instance, &mut clone), (5.0, 3.0));
    assert_eq!(go(&mut instance, &mut state), (10.0, 4.0));

    let dir = tempfile::tempdir().unwrap();
    clone.save_weights(dir.path().join("w.safetensors")).unwrap();
    state.load(dir.path().join("w.safetensors")).unwrap();
    assert_eq!(go(&mut instance, &mut state), (5.0, 5.0), "loading is a change");
}

#[test]
fn shared_instances_prepare_once_until_one_meets_other_weights() {
    let mut state = state();
    let mut first = bind(&state);
    let (inputs, mut out) = (tensors(), outputs());
    // The second number counts how often the instance itself has prepared.
    let mut go = |instance: &mut Instance, state: &mut State| {
        instance.run_tensors(state, &inputs, &mut out).unwrap();
        (out[0].as_slice::<f32>().unwrap()[0], out[1].item().unwrap())
    };
    let mut early = first.share().unwrap();
    assert_eq!(go(&mut first, &mut state), (3.0, 1.0));
    let mut second = first.share().unwrap();
    assert_eq!(go(&mut second, &mut state), (3.0, 0.0), "what the first one has prepared");
    assert_eq!(go(&mut early, &mut state), (3.0, 1.0), "there was nothing yet to share");

    // Values that another instance uses are left alone.
    let mut other = state.try_clone().unwrap();
    other.get_mut("scale").unwrap().as_mut_slice::<f32>().unwrap()[0] = 9.0;
    assert_eq!(go(&mut second, &mut other), (10.0, 1.0));
    assert_eq!(go(&mut first, &mut state), (3.0, 1.0));
    assert_eq!(go(&mut second, &mut other), (10.0, 1.0));
    assert_eq!(go(&mut second, &mut state), (3.0, 2.0));

    // The last one that has them may change them.
    let mut third = second.share().unwrap();
    drop(second);
    assert_eq!(go(&mut third, &mut other), (10.0, 1.0));
    assert_eq!(go(&mut third, &mut state), (3.0, 2.0));
}

#[test]
fn inputs_and_outputs_of_any_alignment_are_taken() {
    let state = state();
    let mut instance = bind(&state);
    let [x, label, mask] = tensors();
    let mut bytes = vec![0u8; 1];
    bytes.extend(x.bytes());
    let x = TensorRef::new(DType::F32, &[LEN], &bytes[1..]).unwrap();
    let mut buffer = [0u8; LEN * 4 + 65];
    let odd = 1 + buffer.as_ptr().align_offset(ALIGNMENT);
    let y = TensorMut::new(DType::F32, &[LEN], &mut buffer[odd..odd + LEN * 4]).unwrap();
    let mut n = [0f32; 2];
    let n = TensorMut::from_slice(&[], &mut n[1..]).unwrap();
    instance.run_shared(&state, &[x, label.view(), mask.view()], &mut [y, n]).unwrap();
    assert_eq!(f32::from_ne_bytes(buffer[odd + 16..odd + 20].try_into().unwrap()), 15.0);
}

#[test]
fn what_does_not_fit_is_refused_before_anything_runs() {
    let mut state = state();
    let mut instance = bind(&state);
    let [x, label, mask] = tensors();
    let mut check = |inputs: &[TensorRef<'_>], kind: ErrorKind, message: &str| {
        let mut out = outputs();
        let [y, n] = &mut out;
        let error = instance.run(&mut state, inputs, &mut [y.view_mut(), n.view_mut()]).unwrap_err();
        assert_eq!((error.kind(), error.to_string().as_str()), (kind, message));
        assert_eq!(out[1].item().unwrap(), 0.0, "nothing has run");
    };
    let wrong = |dims: &[usize], values: &[i32]| Tensor::from_slice(dims, values).unwrap();
    check(&[x.view()], ErrorKind::Count, "`infer` has 3 inputs, but 1 were given");
    let flat = wrong(&[4], &[0; 4]);
    check(
        &[x.view(), flat.view(), mask.view()],
        ErrorKind::Shape,
        "input `label` must be i32[2, 2], but i32[4] was given",
    );
    let double = Tensor::from_slice(&[LEN], &[0f64; LEN]).unwrap();
    check(
        &[double.view(), label.view(), mask.view()],
        ErrorKind::DType,
        "input `x` must be f32[5], but f64[5] was given",
    );
    for (values, place) in [([0, 1, 10, 2], "[1, 0] is 10"), ([1, -1, 2, 3], "[0, 1] is -1")] {
        let label = wrong(&[2, 2], &values);
        check(
            &[x.view(), label.view(), mask.view()],
            ErrorKind::Range,
            &format!("input `label` at {place}, but only values from 0 to 9 are allowed"),
        );
    }
    let two = TensorRef::new(DType::Bool, &[2], &[0, 2]).unwrap();
    check(
        &[x.view(), label.view(), two],
        ErrorKind::Range,
        "input `mask`: element 1 is the byte 2, but bools are 0 or 1",
    );
}

#[test]
fn names_are_checked_and_the_nearest_is_told() {
    let mut state = state();
    let mut instance = bind(&state);
    let [x, label, mask] = tensors();
    let mut check = |inputs: &[(&str, &Tensor)], message: &str| {
        assert_eq!(instance.run_named(&mut state, inputs).unwrap_err().to_string(), message);
    };
    check(&[("x", &x), ("lable", &label)], "`infer` has no input `lable` (nearest: `label`)");
    check(&[("x", &x), ("x", &x)], "input `x` is given twice");
    check(&[("x", &x), ("mask", &mask)], "`infer` needs an input `label`: i32[2, 2]; none was given");
    assert_eq!(
        state.get("scael").unwrap_err().to_string(),
        "the state has no tensor `scael` (nearest: `scale`)"
    );
    let again = state.insert("scale", SlotKind::Buffer, Tensor::scalar(0f32).unwrap());
    assert_eq!(again.unwrap_err().kind(), ErrorKind::Name);
}

#[test]
fn a_state_that_does_not_fit_cannot_be_bound() {
    let executable = Arc::new(build(manifest(), &[0; 4]).unwrap());
    let mut wrong = State::new();
    wrong.insert("scalle", SlotKind::Parameter, Tensor::scalar(0f32).unwrap()).unwrap();
    wrong.insert("other", SlotKind::Parameter, Tensor::scalar(0i64).unwrap()).unwrap();
    let error = Instance::bind(executable, &wrong, &Threads::serial()).err().unwrap();
    assert_eq!(
        error.to_string(),
        "the state does not fit `infer`: `scale` is not in the state (nearest: `scalle`); `other` must be f32[], \
         but the state has i64[]"
    );

    let bound = state();
    let mut instance = bind(&bound);
    let mut other = state();
    let error = instance.run_tensors(&mut other, &tensors(), &mut outputs()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::State, "the same names, but not the state it was bound to");
}

#[test]
fn a_manifest_that_contradicts_itself_or_the_machine_is_refused() {
    let refuse = |change: fn(&mut Manifest), message: &str| {
        let mut manifest = manifest();
        change(&mut manifest);
        assert_eq!(build(manifest, &[0; 4]).err().unwrap().to_string(), message);
    };
    refuse(|m| m.inputs[1].name = "x".into(), "infer: the manifest names input `x` twice");
    refuse(|m| m.constants_bytes = 5, "infer: the manifest asks for 5 bytes of constants, but 4 were given");
    refuse(
        |m| m.inputs[0].range = Some(IndexRange { low: 0, high: 1 }),
        "infer: input `x` has an index range but is f32[5], not an integer",
    );
    refuse(
        |m| m.inputs[1].range = Some(IndexRange { low: 1, high: 0 }),
        "infer: the index range 1..=0 of input `label` is empty",
    );
    refuse(
        |m| m.state[0].dims = vec![1 << 40, 1 << 40],
        "state slot `scale`: f32[1099511627776, 1099511627776] is larger than the memory of this machine can hold",
    );
    let mut other_cpu = manifest();
    other_cpu.cpu_features = vec!["abacus".into()];
    let error = build(other_cpu, &[0; 4]).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Cpu);
    assert!(error.to_string().contains("a processor with abacus"), "{error}");
}

#[test]
fn only_an_entry_that_updates_nothing_shares_the_state() {
    let mut state = fresh();
    let mut train = Instance::bind(train_program::<2>(), &state, &Threads::serial()).unwrap();
    let x = Tensor::zeros(DType::F32, &[2, D]).unwrap();
    let mut out = [Tensor::scalar(0f32).unwrap(), Tensor::scalar(0f32).unwrap()];
    let [a, b] = &mut out;
    let error = train.run_shared(&state, &[x.view()], &mut [a.view_mut(), b.view_mut()]).unwrap_err();
    assert_eq!(error.to_string(), "`train` updates the state (`w`), so it needs exclusive access");
    train.run_tensors(&mut state, &[x], &mut out).unwrap();
    assert_eq!(state.step(), Some(1));
    assert_eq!(state.seed(), Some(17));
}

static DROPPED: AtomicUsize = AtomicUsize::new(0);

struct Code;

impl Drop for Code {
    fn drop(&mut self) {
        DROPPED.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn code_lives_until_its_last_instance_is_gone() {
    let constants = AlignedBytes::zeroed(4).unwrap();
    let code = Arc::new(Code);
    // SAFETY: as for `build`.
    let executable =
        unsafe { Executable::from_raw(entry, Some(prepare), Arc::new(constants), manifest(), code) };
    let instance = Instance::bind(executable.unwrap().into(), &state(), &Threads::serial()).unwrap();
    assert_eq!(DROPPED.load(Ordering::SeqCst), 0);
    drop(instance);
    assert_eq!(DROPPED.load(Ordering::SeqCst), 1);
}

/// Multiplies the smallest normal number by one half at run time.
unsafe extern "C" fn denormal(block: *const ArgumentBlock) {
    // SAFETY: one input, one output of the same size, as the test's manifest says.
    unsafe {
        let x = floats(block, BASE_STATE).read_unaligned();
        *floats(block, BASE_STATE + 1) = std::hint::black_box(x) * 0.5;
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn denormals_are_kept_whatever_the_caller_has_set() {
    use std::arch::asm;
    let manifest = Manifest {
        inputs: vec![input("x", DType::F32, &[], None)],
        outputs: vec![Output { name: "y".into(), dtype: DType::F32, dims: vec![], samples: Samples::Same }],
        state: vec![],
        prepared_bytes: 0,
        constants_bytes: 0,
        ..manifest()
    };
    let mut state = State::new();
    let executable = executable(denormal, None, manifest).unwrap();
    let mut instance = Instance::bind(executable, &state, &Threads::serial()).unwrap();
    let (inputs, mut out) = ([Tensor::scalar(f32::MIN_POSITIVE).unwrap()], [Tensor::scalar(1f32).unwrap()]);
    let (flush, mut before, mut after) = (0x9FC0u32, 0u32, 0u32);
    // SAFETY: sets flush-to-zero and denormals-are-zero around one call, and restores what was.
    unsafe {
        asm!("stmxcsr [{}]", in(reg) &mut before);
        asm!("ldmxcsr [{}]", in(reg) &flush);
    }
    let result = instance.run_tensors(&mut state, &inputs, &mut out);
    // SAFETY: as above.
    unsafe {
        asm!("stmxcsr [{}]", in(reg) &mut after);
        asm!("ldmxcsr [{}]", in(reg) &before);
    }
    result.unwrap();
    assert_eq!(after & 0xFFC0, flush, "the caller's word is restored");
    assert_eq!(out[0].item().unwrap(), f64::from(f32::MIN_POSITIVE) / 2.0);
}
