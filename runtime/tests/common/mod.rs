//! A tiny model in plain Rust, in the place of compiled code: it follows the mean of its inputs.
//!
//! State: `w: f32[D]` with momentum, `step`, `seed`. Each update moves `w` towards the mean of the batch; the
//! loss is the mean squared distance of the samples from `w` before the update. The kernels go over the
//! columns in parallel, a part each, and add up each column in ascending order.

#![allow(dead_code)] // Each test file uses a part of it.

pub mod container;
pub mod mutate;
pub mod repair;

use std::sync::Arc;

use brolga_runtime::*;

/// Columns of a sample.
pub const D: usize = 6;
const LEARNING_RATE: f32 = 0.05;
const MOMENTUM: f32 = 0.9;

/// Positions of the bases of the train entry: three slots of state, one input, two outputs.
const W: usize = BASE_STATE;
const VELOCITY: usize = BASE_STATE + 1;
const STEP: usize = BASE_STATE + 2;
const X: usize = BASE_STATE + 3;
const LOSS: usize = BASE_STATE + 4;
const TWICE: usize = BASE_STATE + 5;
/// Positions for the eval entry, whose only state is `w`.
const EVAL_X: usize = BASE_STATE + 1;
const EVAL_LOSS: usize = BASE_STATE + 2;
const EVAL_TWICE: usize = BASE_STATE + 3;

/// The base at this position, as floats.
///
/// # Safety
/// `block` must be what the runtime passes, with a float tensor at the position.
pub unsafe fn floats(block: *const ArgumentBlock, at: usize) -> *mut f32 {
    // SAFETY: promised by the caller.
    unsafe { (*(*block).bases.add(at)).cast() }
}

/// Row of the call table: which bases the kernel works on, and the rows of the batch.
type Row = [u64; 3];

/// Column `part` of the squared distances of the batch from `w`, into the arena.
unsafe extern "C" fn distances(block: *const ArgumentBlock, row: *const u64, part: u64, worker: u64) {
    // SAFETY: called by the entries below with their rows and parts below D.
    unsafe {
        let (w, x, batch) = (*row, *row.add(1), *row.add(2));
        let w = *floats(block, w as usize).add(part as usize);
        let x = floats(block, x as usize);
        let sum: f32 = (0..batch as usize).map(|b| (*x.add(b * D + part as usize) - w).powi(2)).sum();
        // By way of the worker's own memory.
        let own = floats(block, BASE_LOCAL).add(worker as usize * ALIGNMENT / 4);
        *own = sum / batch as f32;
        *floats(block, BASE_ARENA).add(part as usize) = *own;
    }
}

/// Column `part` of the update.
unsafe extern "C" fn update(block: *const ArgumentBlock, row: *const u64, part: u64, _worker: u64) {
    // SAFETY: as above.
    unsafe {
        let batch = *row.add(2) as usize;
        let (w, v) = (floats(block, W).add(part as usize), floats(block, VELOCITY).add(part as usize));
        let x = floats(block, X);
        let mean = (0..batch).map(|b| *x.add(b * D + part as usize)).sum::<f32>() / batch as f32;
        *v = MOMENTUM * *v + (mean - *w);
        *w += LEARNING_RATE * *v;
    }
}

unsafe fn total(block: *const ArgumentBlock, loss: usize, twice: usize) {
    // SAFETY: called by the entries below.
    unsafe {
        let sum: f32 = (0..D).map(|d| *floats(block, BASE_ARENA).add(d)).sum();
        *floats(block, loss) = sum;
        *floats(block, twice) = 2.0 * sum;
    }
}

unsafe extern "C" fn train_entry<const B: usize>(block: *const ArgumentBlock) {
    static_row(
        || [W as u64, X as u64, B as u64],
        |row| {
            // SAFETY: the runtime passes the bases that the manifest below describes.
            unsafe {
                ((*block).parallel_for)((*block).pool, distances, block, row, D as u64);
                total(block, LOSS, TWICE);
                ((*block).parallel_for)((*block).pool, update, block, row, D as u64);
                let step: *mut i64 = (*(*block).bases.add(STEP)).cast();
                *step += 1;
            }
        },
    );
}

unsafe extern "C" fn eval_entry<const B: usize>(block: *const ArgumentBlock) {
    static_row(
        || [W as u64, EVAL_X as u64, B as u64],
        |row| {
            // SAFETY: as above.
            unsafe {
                ((*block).parallel_for)((*block).pool, distances, block, row, D as u64);
                total(block, EVAL_LOSS, EVAL_TWICE);
            }
        },
    );
}

fn static_row(row: impl Fn() -> Row, call: impl Fn(*const u64)) {
    call(row().as_ptr());
}

fn output(name: &str) -> Output {
    Output { name: name.into(), dtype: DType::F32, dims: vec![], samples: Samples::Together }
}

fn slot(name: &str, updated: bool) -> StateSlot {
    StateSlot { name: name.into(), dtype: DType::F32, dims: vec![D], updated }
}

fn manifest(entry: &str, batch: usize, state: Vec<StateSlot>) -> Manifest {
    Manifest {
        entry: entry.into(),
        numerics: 1,
        parallel: true,
        inputs: vec![Input {
            name: "x".into(),
            dtype: DType::F32,
            dims: vec![batch, D],
            range: None,
            samples: Samples::Along(0),
        }],
        outputs: vec![output("loss"), output("twice")],
        state,
        arena_bytes: D * 4,
        local_bytes: ALIGNMENT,
        prepared_bytes: 0,
        constants_bytes: 0,
        checked: false,
        cpu_features: vec![],
    }
}

/// Wraps an entry function; `entry` must do what `manifest` says.
pub fn executable(entry: EntryFn, prepare: Option<EntryFn>, manifest: Manifest) -> Result<Arc<Executable>> {
    let constants = AlignedBytes::zeroed(manifest.constants_bytes)?;
    // SAFETY: the functions of the tests keep to their manifests, and static code needs no keeping alive.
    Ok(Arc::new(unsafe {
        Executable::from_raw(entry, prepare, Arc::new(constants), manifest, Arc::new(()))?
    }))
}

/// The train entry for batches of `B`.
pub fn train_program<const B: usize>() -> Arc<Executable> {
    let step = StateSlot { name: "step".into(), dtype: DType::I64, dims: vec![], updated: true };
    let state = vec![slot("w", true), slot("optim.momentum.w", true), step];
    executable(train_entry::<B>, None, manifest("train", B, state)).unwrap()
}

/// The eval entry for batches of `B`.
pub fn eval_program<const B: usize>() -> Arc<Executable> {
    executable(eval_entry::<B>, None, manifest("train.eval", B, vec![slot("w", false)])).unwrap()
}

/// A fresh state.
pub fn fresh() -> State {
    let mut state = State::new();
    state.insert("w", SlotKind::Parameter, Tensor::from_slice(&[D], &[0.5f32; D]).unwrap()).unwrap();
    let zeros = Tensor::zeros(DType::F32, &[D]).unwrap();
    state.insert("optim.momentum.w", SlotKind::Optimizer, zeros).unwrap();
    state.insert("step", SlotKind::Step, Tensor::scalar(0i64).unwrap()).unwrap();
    state.insert("seed", SlotKind::Seed, Tensor::scalar(17i64).unwrap()).unwrap();
    state
}

/// The bits of a state: equal if all names and all bytes are.
pub fn bits(state: &State) -> Vec<(String, Vec<u8>)> {
    state.slots().iter().map(|s| (s.name().to_string(), s.tensor().bytes().to_vec())).collect()
}

/// A data set of random samples, with random changes to the training ones.
pub struct Toy {
    fields: Vec<Field>,
    train: usize,
    validation: usize,
}

impl Toy {
    pub fn new(train: usize, validation: usize) -> Toy {
        let x = Field { name: "x".into(), dtype: DType::F32, dims: vec![D] };
        let label = Field { name: "label".into(), dtype: DType::I32, dims: vec![] };
        Toy { fields: vec![label, x], train, validation }
    }

    /// Gives a field another name and other dimensions.
    pub fn rename(&mut self, from: &str, to: &str, dims: &[usize]) {
        let field = self.fields.iter_mut().find(|f| f.name == from).unwrap();
        (field.name, field.dims) = (to.into(), dims.to_vec());
    }
}

impl Batches for Toy {
    fn fields(&self) -> &[Field] {
        &self.fields
    }

    fn len(&self, split: Split) -> usize {
        if split == Split::Train { self.train } else { self.validation }
    }

    fn fill(&mut self, request: &Request<'_>, field: usize, out: &mut TensorMut<'_>) -> Result<()> {
        assert_eq!(self.fields[field].name, "x", "only the inputs of the entry are asked for");
        let rows = out.as_mut_slice::<f32>()?.chunks_exact_mut(D);
        for (place, (row, index)) in rows.zip(request.indices).enumerate() {
            let mut sample = Random::new(99, Purpose::Split, request.split as u32, *index as u32);
            let mut augment = request.random(place);
            for x in row {
                *x = sample.uniform();
                if request.split == Split::Train {
                    *x += 0.1 * augment.uniform();
                }
            }
        }
        Ok(())
    }
}
