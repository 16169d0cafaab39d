//! Traced runs: when each kernel call of a program began and ended.
//!
//! The program is compiled so that every kernel call goes through `parallel_for`, and run with one that notes the
//! time, and then does what the runtime's own would.

use std::ffi::c_void;
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::{Duration, Instant as Clock};

use brolga_codegen::TracedCall;
use brolga_ir::program::{Call, Program, Step};
use brolga_runtime::{ArgumentBlock, Instance, KernelFn, State, Tensor, Threads, random_inputs};

use crate::compile::{CompileOptions, Lowered};
use crate::error::Result;

/// The calls of a program in the order in which traced code numbers them.
pub fn calls(program: &Program) -> Vec<&Call> {
    fn collect<'p>(steps: &'p [Step], calls: &mut Vec<&'p Call>) {
        for step in steps {
            if let Step::Call(call) = step {
                calls.push(call);
            }
            step.bodies().into_iter().for_each(|body| collect(body, calls));
        }
    }
    let mut all = Vec::new();
    collect(&program.schedule, &mut all);
    all
}

/// When a call began and ended, since the run's beginning.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Noted {
    /// Its number in [`calls`]; calls in loops are noted each time.
    pub call: usize,
    /// When it began.
    pub start: Duration,
    /// When it ended.
    pub end: Duration,
}

/// What the hook works with.
struct Recorder {
    begun: Clock,
    times: Vec<Noted>,
    threads: Threads,
}

/// A `parallel_for` that notes when it was called and when it was done, and runs the parts as the threads would.
///
/// # Safety
/// `pool` must point to a [`Recorder`] that nothing else uses during the call, `parts` be the word of a
/// [`TracedCall`], and the kernel be one that may be called for its parts.
unsafe extern "C" fn recording_for(
    pool: *mut c_void,
    kernel: KernelFn,
    block: *const ArgumentBlock,
    row: *const u64,
    parts: u64,
) {
    // SAFETY: promised by the caller.
    let recorder = unsafe { &mut *pool.cast::<Recorder>() };
    let TracedCall { call, parallel, parts } = TracedCall::from_word(parts);
    let start = recorder.begun.elapsed();
    // SAFETY: promised by the caller.
    unsafe { recorder.threads.run_call(parallel, kernel, block, row, parts) };
    if call < TracedCall::PREPARE {
        recorder.times.push(Noted { call, start, end: recorder.begun.elapsed() });
    }
}

/// A program compiled for traced runs on random inputs.
pub struct Traced {
    instance: Instance,
    inputs: Vec<Tensor>,
    outputs: Vec<Tensor>,
    recorder: Owned,
}

/// A recorder that the instance has too, as the pool that it hands to [`recording_for`].
struct Owned(NonNull<Recorder>);

impl Drop for Owned {
    fn drop(&mut self) {
        // SAFETY: it came from a box and is freed once; no run is under way, and none will be.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

impl Traced {
    /// Compiles a program, to be run on a state like this.
    ///
    /// # Errors
    /// A program that cannot be emitted, a state that does not fit.
    pub fn new(
        program: &Lowered,
        options: &CompileOptions,
        threads: &Threads,
        state: &State,
    ) -> Result<Traced> {
        let codegen = brolga_codegen::Options::from(options.target_cpu);
        // SAFETY: the only instance of it is the one below, which has `recording_for`.
        let executable = Arc::new(unsafe { program.emit_traced(&codegen)? }.executable);
        let inputs = random_inputs(&executable.manifest().inputs)?;
        let outputs = executable.manifest().outputs.iter().map(|o| Tensor::zeros(o.dtype, &o.dims));
        let outputs = outputs.collect::<brolga_runtime::Result<Vec<_>>>()?;
        let recorder = Recorder { begun: Clock::now(), times: Vec::new(), threads: threads.clone() };
        let recorder = Owned(NonNull::from(Box::leak(Box::new(recorder))));
        // SAFETY: the recorder outlives all runs of the instance, which are made by `run` on one thread at a time;
        // `recording_for` runs every part before it returns, and leaves the control word alone, as do the threads
        // behind it.
        let hook = unsafe { Threads::from_raw(recording_for, recorder.0.as_ptr().cast(), threads.count()) };
        let instance = Instance::bind(executable, state, &hook)?;
        Ok(Traced { instance, inputs, outputs, recorder })
    }

    /// One run, and what was noted in it.
    ///
    /// # Errors
    /// Those of a run.
    pub fn run(&mut self, state: &mut State) -> Result<&[Noted]> {
        // SAFETY: the recorder is alive as long as this value, and no run is under way.
        let recorder = unsafe { self.recorder.0.as_mut() };
        recorder.times.clear();
        recorder.begun = Clock::now();
        self.instance.run_tensors(state, &self.inputs, &mut self.outputs)?;
        // SAFETY: as above; the run is over.
        Ok(unsafe { &self.recorder.0.as_ref().times })
    }
}
