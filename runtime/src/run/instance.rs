//! An instance: an executable bound to the layout of a state, with the memory and threads of its calls.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Hints, Result, nearest_hint};
use crate::run::block::{
    ArgumentBlock, BASE_ARENA, BASE_CONSTANTS, BASE_LOCAL, BASE_PREPARED, BASE_STATE, EntryFn,
};
use crate::run::control::FloatControl;
use crate::run::executable::Executable;
use crate::run::manifest::{IndexRange, Input, Manifest, Refusal};
use crate::run::ranges::{coordinates, first_outside};
use crate::run::state::State;
use crate::run::threads::Threads;
use crate::shown::counted;
use crate::tensors::dtype::{DType, type_name};
use crate::tensors::memory::{ALIGNMENT, AlignedBytes};
use crate::tensors::tensor::{Tensor, TensorMut, TensorRef, check_bools};

/// Runs an [`Executable`]. Each concurrent run needs its own instance; they share the executable, and those that
/// [`share`](Instance::share) made the prepared values too.
pub struct Instance {
    executable: Arc<Executable>,
    threads: Threads,
    /// The layout of the states that the slots below belong to.
    layout: u64,
    /// For each state slot of the manifest, its position in the state.
    slots: Vec<usize>,
    arena: AlignedBytes,
    /// For each thread, the manifest's local bytes.
    local: AlignedBytes,
    /// Never changed while another instance has it too.
    prepared: Arc<AlignedBytes>,
    /// Version of the slots that `prepared` was filled from.
    prepared_for: Option<u64>,
    /// The table behind [`ArgumentBlock::bases`]; written anew for each run.
    bases: Vec<*mut u8>,
    /// For each output, memory that stands in where the caller's is not aligned; empty until needed.
    stand_ins: Vec<AlignedBytes>,
}

// SAFETY: the pointers in `bases` are only used during `run`, which writes them first; everything else is Send.
unsafe impl Send for Instance {}

impl Instance {
    /// Binds an executable: finds its state slots in `state` by name, checks their types, and allocates all
    /// memory that runs need. Later runs may use this state, or clones of it.
    ///
    /// # Errors
    /// A state that lacks a slot of the entry point, or holds another type in it; too little memory.
    pub fn bind(executable: Arc<Executable>, state: &State, threads: &Threads) -> Result<Instance> {
        let manifest = executable.manifest();
        let (mut problems, mut hints) = (Vec::new(), Hints::new());
        let mut slots = Vec::with_capacity(manifest.state.len());
        for slot in &manifest.state {
            let Some(at) = state.position(&slot.name) else {
                let hint = hints.nearest(&slot.name, state.slots().iter().map(|s| s.name()));
                problems.push(format!("`{}` is not in the state{hint}", slot.name));
                continue;
            };
            let tensor = state.slots()[at].tensor();
            let (expected, found) =
                (type_name(slot.dtype, &slot.dims), type_name(tensor.dtype(), tensor.dims()));
            if expected != found {
                problems.push(format!("`{}` must be {expected}, but the state has {found}", slot.name));
            }
            slots.push(at);
        }
        if !problems.is_empty() {
            let message = format!("the state does not fit `{}`: {}", manifest.entry, problems.join("; "));
            return Err(Error::new(ErrorKind::State, message));
        }
        // What was prepared before, of these weights, comes with the executable.
        let version = state.version_of(slots.iter().copied());
        let (prepared, prepared_for) = match executable.prepared_for(version) {
            Some(values) => (values, Some(version)),
            None => (Arc::new(room_for_prepared(manifest)?), None),
        };
        Instance::with(executable, threads.clone(), state.layout(), slots, prepared, prepared_for)
    }

    /// Another instance of the executable, for another thread, with an arena of its own. Both use the same prepared values as
    /// long as neither meets a state with other weights; the one that does makes its own then, which is an allocation. To
    /// have the values made before, run this instance once.
    ///
    /// # Errors
    /// Too little memory.
    pub fn share(&self) -> Result<Instance> {
        let (executable, threads, slots) =
            (self.executable.clone(), self.threads.clone(), self.slots.clone());
        Instance::with(executable, threads, self.layout, slots, self.prepared.clone(), self.prepared_for)
    }

    /// With memory for its calls.
    fn with(
        executable: Arc<Executable>,
        threads: Threads,
        layout: u64,
        slots: Vec<usize>,
        prepared: Arc<AlignedBytes>,
        prepared_for: Option<u64>,
    ) -> Result<Instance> {
        let manifest = executable.manifest();
        let within = |what: &str| format!("the {what} of `{}`", manifest.entry);
        // A run that does not enter the threads is worker 0.
        let count = if manifest.parallel { threads.count().max(1) } else { 1 };
        let local = manifest.local_bytes.checked_mul(count).ok_or_else(|| {
            let message = format!("{count} threads cannot have {} bytes each", manifest.local_bytes);
            Error::new(ErrorKind::Memory, message).within(within("local memory"))
        })?;
        Ok(Instance {
            arena: AlignedBytes::zeroed(manifest.arena_bytes).map_err(|e| e.within(within("arena")))?,
            local: AlignedBytes::zeroed(local).map_err(|e| e.within(within("local memory")))?,
            bases: vec![std::ptr::null_mut(); manifest.base_count()],
            stand_ins: manifest.outputs.iter().map(|_| AlignedBytes::zeroed(0)).collect::<Result<_>>()?,
            threads,
            layout,
            slots,
            prepared,
            prepared_for,
            executable,
        })
    }

    /// The executable.
    pub fn executable(&self) -> &Arc<Executable> {
        &self.executable
    }

    /// One call of the entry point. Inputs and outputs come in the manifest's order; the state is updated in
    /// place. Nothing is allocated, except for an output buffer that is not aligned to
    /// [`ALIGNMENT`](crate::ALIGNMENT) bytes: it costs a copy, and an allocation the first time.
    ///
    /// # Errors
    /// A state of another layout, a wrong number of tensors, a wrong type or dimension, an index out of its
    /// range. Nothing has run then, and nothing is changed. Code that checks its accesses ([`Manifest::checked`]) reports
    /// those outside of their buffers when it has run: state and outputs may have changed then.
    ///
    /// [`Manifest::checked`]: crate::Manifest::checked
    pub fn run(
        &mut self,
        state: &mut State,
        inputs: &[TensorRef<'_>],
        outputs: &mut [TensorMut<'_>],
    ) -> Result<()> {
        let refused = self.call(state, inputs, outputs)?;
        self.touch(state);
        self.report(refused)
    }

    /// [`run`](Instance::run) with owned tensors, whose memory is always aligned.
    ///
    /// # Errors
    /// Those of [`run`](Instance::run).
    pub fn run_tensors(
        &mut self,
        state: &mut State,
        inputs: &[Tensor],
        outputs: &mut [Tensor],
    ) -> Result<()> {
        let refused = self.call(state, inputs, outputs)?;
        self.touch(state);
        self.report(refused)
    }

    /// [`run`](Instance::run) for an entry point that updates no state, so that several instances can share
    /// one state at the same time.
    ///
    /// # Errors
    /// Those of [`run`](Instance::run), and an entry point that updates state.
    pub fn run_shared(
        &mut self,
        state: &State,
        inputs: &[TensorRef<'_>],
        outputs: &mut [TensorMut<'_>],
    ) -> Result<()> {
        let manifest = self.executable.manifest();
        if let Some(slot) = manifest.state.iter().find(|s| s.updated) {
            let message = format!(
                "`{}` updates the state (`{}`), so it needs exclusive access",
                manifest.entry, slot.name
            );
            return Err(Error::new(ErrorKind::State, message));
        }
        let refused = self.call(state, inputs, outputs)?;
        self.report(refused)
    }

    /// One call with tensors given by name, in any order; makes the outputs. For convenience, not for speed.
    ///
    /// # Errors
    /// Those of [`run`](Instance::run); an input that is missing, given twice, or not one of the entry point's.
    pub fn run_named(
        &mut self,
        state: &mut State,
        inputs: &[(&str, &Tensor)],
    ) -> Result<Vec<(String, Tensor)>> {
        self.named(inputs, |own, inputs, outputs| own.run(state, inputs, outputs))
    }

    /// [`run_named`](Instance::run_named) for an entry point that updates no state, as [`run_shared`](Instance::run_shared).
    ///
    /// # Errors
    /// Those of [`run_named`](Instance::run_named), and an entry point that updates state.
    pub fn run_named_shared(
        &mut self,
        state: &State,
        inputs: &[(&str, &Tensor)],
    ) -> Result<Vec<(String, Tensor)>> {
        self.named(inputs, |own, inputs, outputs| own.run_shared(state, inputs, outputs))
    }

    /// Runs with the inputs in the manifest's order; the outputs by their names.
    fn named(
        &mut self,
        inputs: &[(&str, &Tensor)],
        run: impl FnOnce(&mut Instance, &[TensorRef<'_>], &mut [TensorMut<'_>]) -> Result<()>,
    ) -> Result<Vec<(String, Tensor)>> {
        let executable = self.executable.clone();
        let manifest = executable.manifest();
        let views = in_order(manifest, inputs)?;
        let mut outputs = Vec::with_capacity(manifest.outputs.len());
        for output in &manifest.outputs {
            outputs.push((output.name.clone(), Tensor::zeros(output.dtype, &output.dims)?));
        }
        let mut targets: Vec<TensorMut<'_>> = outputs.iter_mut().map(|(_, t)| t.view_mut()).collect();
        run(self, &views, &mut targets)?;
        drop(targets);
        Ok(outputs)
    }

    /// What the prepare function makes of this state: empty where the entry prepares nothing. To be kept beside the weights,
    /// see [`Parts`](crate::container::Parts).
    ///
    /// # Errors
    /// A state of another layout; too little memory.
    pub fn prepared(&mut self, state: &State) -> Result<&[u8]> {
        self.check_layout(state)?;
        let version = self.place_state(state)?;
        let refused = self.prepare(version)?;
        self.report(refused)?;
        Ok(&self.prepared)
    }

    /// Marks the slots that a run has updated as changed.
    fn touch(&self, state: &mut State) {
        let slots = self.executable.manifest().state.iter().zip(&self.slots);
        slots.filter(|(slot, _)| slot.updated).for_each(|(_, at)| state.touch(*at));
    }

    /// An error if checked code has refused an access.
    fn report(&self, refused: Option<Refusal>) -> Result<()> {
        let Some(Refusal { kernel, param }) = refused else { return Ok(()) };
        let message = format!(
            "kernel {kernel} of `{}` reaches outside of its parameter p{param}: its results are not to be used",
            self.executable.manifest().entry
        );
        Err(Error::new(ErrorKind::Range, message))
    }

    /// Fills what checked code may read without having written it, as the interpreter of programs does.
    fn forget(arena: &mut AlignedBytes, checked: bool) {
        if checked {
            arena.fill(0xff);
        }
    }

    /// What checked code has put into the end of the arena.
    fn refused(&self) -> Option<Refusal> {
        let checked = self.executable.manifest().checked;
        let word = self.arena.last_chunk().filter(|_| checked)?;
        Refusal::from_word(u64::from_ne_bytes(*word))
    }

    /// Checks everything, prepares where needed, and runs. `state` is exclusive if the entry updates any. Tells what the
    /// code has refused to do.
    fn call<I: Readable, O: Writable>(
        &mut self,
        state: &State,
        inputs: &[I],
        outputs: &mut [O],
    ) -> Result<Option<Refusal>> {
        self.check(state, inputs, outputs)?;
        let version = self.place_state(state)?;
        if let Some(refused) = self.prepare(version)? {
            return Ok(Some(refused));
        }
        let executable = &*self.executable;
        let manifest = executable.manifest();
        let of_outputs = &mut self.bases[BASE_STATE + self.slots.len()..];
        let (of_inputs, of_outputs) = of_outputs.split_at_mut(inputs.len());
        for (base, input) in of_inputs.iter_mut().zip(inputs) {
            *base = input.readable().bytes().as_ptr().cast_mut();
        }
        for ((base, output), stand_in) in of_outputs.iter_mut().zip(&mut *outputs).zip(&mut self.stand_ins) {
            let mut output = output.writable();
            *base = output.bytes_mut().as_mut_ptr();
            if !(*base as usize).is_multiple_of(ALIGNMENT) {
                if stand_in.len() != output.bytes().len() {
                    *stand_in = AlignedBytes::zeroed(output.bytes().len())?;
                }
                *base = stand_in.base();
            }
        }
        Self::forget(&mut self.arena, manifest.checked);
        // SAFETY: the bases are as `Executable::from_raw` describes them: types were checked above, so sizes
        // agree with the manifest; `state` is exclusive where the entry updates it; arena and the local memory of as many
        // workers as there are threads belong to `self`; prepared values are only read; inputs and outputs are borrowed
        // for the call and do not overlap.
        unsafe { enter(executable.entry(), &self.bases, &self.threads, manifest.parallel) };
        for (output, stand_in) in outputs.iter_mut().zip(&self.stand_ins) {
            let mut output = output.writable();
            if !(output.bytes().as_ptr() as usize).is_multiple_of(ALIGNMENT) {
                output.bytes_mut().copy_from_slice(stand_in);
            }
        }
        Ok(self.refused())
    }

    /// An error unless the state is the one that is bound, and inputs and outputs are as the manifest says.
    fn check<I: Readable, O: Writable>(&self, state: &State, inputs: &[I], outputs: &mut [O]) -> Result<()> {
        self.check_layout(state)?;
        let manifest = self.executable.manifest();
        check_count("input", &manifest.entry, manifest.inputs.len(), inputs.len())?;
        check_count("output", &manifest.entry, manifest.outputs.len(), outputs.len())?;
        for (expected, found) in manifest.inputs.iter().zip(inputs) {
            let found = &found.readable();
            let has = (found.dtype(), found.dims());
            check_type("input", &expected.name, (expected.dtype, &expected.dims), has)?;
            check_values(expected, found)?;
        }
        for (expected, found) in manifest.outputs.iter().zip(outputs) {
            let found = found.writable();
            let has = (found.dtype(), found.dims());
            check_type("output", &expected.name, (expected.dtype, &expected.dims), has)?;
        }
        Ok(())
    }

    /// An error unless the state is the one that is bound, or a clone of it.
    fn check_layout(&self, state: &State) -> Result<()> {
        if state.layout() == self.layout {
            return Ok(());
        }
        let message = format!(
            "this state is not the one that `{}` was bound to, nor a clone of it; bind the executable to it",
            self.executable.manifest().entry
        );
        Err(Error::new(ErrorKind::State, message))
    }

    /// Sets the bases of what belongs to the instance, and of the state; the version of what `prepare` may have read.
    fn place_state(&mut self, state: &State) -> Result<u64> {
        self.bases[BASE_ARENA] = self.arena.base();
        self.bases[BASE_PREPARED] = self.prepared.base();
        self.bases[BASE_CONSTANTS] = self.executable.constants().base();
        self.bases[BASE_LOCAL] = self.local.base();
        let mut version = 0;
        for (base, at) in self.bases[BASE_STATE..].iter_mut().zip(&self.slots) {
            let slot = &state.slots()[*at];
            slot.tensor().check_bools().map_err(|e| e.within(format!("state `{}`", slot.name())))?;
            *base = slot.tensor().base();
            version = version.max(state.version(*at));
        }
        Ok(version)
    }

    /// Runs `prepare`, if there is one and the state is of another version than when it last ran. Tells what it has refused
    /// to do.
    fn prepare(&mut self, version: u64) -> Result<Option<Refusal>> {
        let Some(prepare) = self.executable.prepare().filter(|_| self.prepared_for != Some(version)) else {
            return Ok(None);
        };
        let manifest = self.executable.manifest();
        self.prepared_for = None;
        let prepared = match Arc::get_mut(&mut self.prepared) {
            Some(own) => own,
            None => {
                self.prepared = Arc::new(room_for_prepared(manifest)?);
                Arc::get_mut(&mut self.prepared).expect("nobody else has it yet")
            }
        };
        Self::forget(prepared, manifest.checked);
        Self::forget(&mut self.arena, manifest.checked);
        self.bases[BASE_PREPARED] = prepared.base();
        // It knows neither inputs nor outputs.
        self.bases[BASE_STATE + self.slots.len()..].fill(std::ptr::null_mut());
        // SAFETY: the bases are as `Executable::from_raw` describes them for a prepare function; no other instance has
        // the prepared values.
        unsafe { enter(prepare, &self.bases, &self.threads, manifest.parallel) };
        let refused = self.refused();
        if refused.is_none() {
            self.prepared_for = Some(version);
        }
        Ok(refused)
    }
}

/// What a run can read its inputs from.
trait Readable {
    fn readable(&self) -> TensorRef<'_>;
}

impl Readable for TensorRef<'_> {
    fn readable(&self) -> TensorRef<'_> {
        *self
    }
}

impl Readable for Tensor {
    fn readable(&self) -> TensorRef<'_> {
        self.view()
    }
}

/// What a run can write its outputs to.
trait Writable {
    fn writable(&mut self) -> TensorMut<'_>;
}

impl Writable for TensorMut<'_> {
    fn writable(&mut self) -> TensorMut<'_> {
        self.reborrow()
    }
}

impl Writable for Tensor {
    fn writable(&mut self) -> TensorMut<'_> {
        self.view_mut()
    }
}

/// Inputs that are given by name, in the manifest's order.
fn in_order<'a>(manifest: &Manifest, inputs: &[(&str, &'a Tensor)]) -> Result<Vec<TensorRef<'a>>> {
    let known: HashSet<&str> = manifest.inputs.iter().map(|input| input.name.as_str()).collect();
    let mut given = HashMap::new();
    for (name, tensor) in inputs {
        if !known.contains(name) {
            let hint = nearest_hint(name, manifest.inputs.iter().map(|input| input.name.as_str()));
            let message = format!("`{}` has no input `{name}`{hint}", manifest.entry);
            return Err(Error::new(ErrorKind::Name, message));
        }
        if given.insert(*name, *tensor).is_some() {
            return Err(Error::new(ErrorKind::Name, format!("input `{name}` is given twice")));
        }
    }
    let view = |input: &Input| {
        given.get(input.name.as_str()).map(|tensor| tensor.view()).ok_or_else(|| {
            let expected = type_name(input.dtype, &input.dims);
            let message =
                format!("`{}` needs an input `{}`: {expected}; none was given", manifest.entry, input.name);
            Error::new(ErrorKind::Name, message)
        })
    };
    manifest.inputs.iter().map(view).collect()
}

/// Memory for the values that an entry prepares.
fn room_for_prepared(manifest: &Manifest) -> Result<AlignedBytes> {
    AlignedBytes::zeroed(manifest.prepared_bytes)
        .map_err(|e| e.within(format!("the prepared values of `{}`", manifest.entry)))
}

/// # Safety
/// `function` must be sound to call with these bases.
unsafe fn enter(function: EntryFn, bases: &[*mut u8], threads: &Threads, parallel: bool) {
    let entered = threads.enter(parallel);
    let _control = FloatControl::set();
    let block =
        ArgumentBlock { bases: bases.as_ptr(), parallel_for: entered.parallel_for, pool: entered.pool };
    // SAFETY: the caller promises it; `entered` keeps the pool taken until the call returns.
    unsafe { function(&block) }
}

fn check_count(what: &str, entry: &str, expected: usize, found: usize) -> Result<()> {
    if expected == found {
        return Ok(());
    }
    let has = counted(expected as u64, what);
    Err(Error::new(ErrorKind::Count, format!("`{entry}` has {has}, but {found} were given")))
}

fn check_type(what: &str, name: &str, expected: (DType, &[usize]), found: (DType, &[usize])) -> Result<()> {
    if expected == found {
        return Ok(());
    }
    let kind = if expected.0 != found.0 { ErrorKind::DType } else { ErrorKind::Shape };
    let (expected, found) = (type_name(expected.0, expected.1), type_name(found.0, found.1));
    Err(Error::new(kind, format!("{what} `{name}` must be {expected}, but {found} was given")))
}

/// Checks what compiled code relies on: indices inside their range, bools 0 or 1.
fn check_values(input: &Input, tensor: &TensorRef<'_>) -> Result<()> {
    check_bools(input.dtype, tensor.bytes()).map_err(|e| e.within(format!("input `{}`", input.name)))?;
    let Some(range) = input.range else { return Ok(()) };
    let Some((at, found)) = first_outside(tensor, range) else { return Ok(()) };
    let (IndexRange { low, high }, place) = (range, coordinates(at, tensor.dims()));
    let message = format!(
        "input `{}` at {place} is {found}, but only values from {low} to {high} are allowed",
        input.name
    );
    Err(Error::new(ErrorKind::Range, message))
}
