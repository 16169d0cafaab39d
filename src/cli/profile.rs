//! `brolga profile`
//!
//! The program is compiled so that every kernel call goes through `parallel_for`, and run with one that notes the
//! time. Calls are in the order of the schedule, so their names are known.

use std::ffi::c_void;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant as Clock};

use brolga::codegen::compile_traced;
use brolga::ir::program::{Call, Program, Step, work};
use brolga::runtime::{ArgumentBlock, DType, Instance, KernelFn, serial_for};
use brolga::{CompileOptions, Compiler, Error, Result, State, Tensor, Threads};
use serde_json::json;

use super::args::ProfileArgs;
use super::bench::{random_inputs, title};
use super::files::write;
use super::report::{bytes, flops, table};

/// Runs that are measured at least.
const LEAST_RUNS: usize = 3;

/// A call of the schedule, loops written out.
struct Row {
    layer: String,
    kernel: String,
    flops: u64,
    bytes: usize,
    /// The median over the runs.
    time: Duration,
}

pub fn run(args: &ProfileArgs) -> Result<ExitCode> {
    let model = args.model.load(&args.target)?;
    let mut compiler = Compiler::new(model.options());
    let optimised = compiler.optimise(model.graph(&args.entry.name)?)?;
    let program = compiler.lower(&optimised)?;
    let mut calls = Vec::new();
    expand(&program.schedule, &mut calls)?;
    let mut state = model.initial_state(0)?;
    let runs = measure(&program, model.options(), &mut state, calls.len(), args.seconds)?;
    let peak = peak(model.options())?;

    let mut rows: Vec<Row> = Vec::with_capacity(calls.len());
    for (number, call) in calls.iter().enumerate() {
        let kernel = &program.kernels[call.kernel.0 as usize];
        let mut times: Vec<Duration> = runs.iter().map(|run| run[number].1 - run[number].0).collect();
        times.sort_unstable();
        rows.push(Row {
            layer: if call.origin.is_empty() { "-".to_owned() } else { call.origin.clone() },
            kernel: kernel.name.clone(),
            flops: work::flops(kernel),
            bytes: call.args.iter().map(|arg| program.buffers[arg.buffer.0 as usize].ty.bytes()).sum(),
            time: times[times.len() / 2],
        });
    }
    if let Some(path) = &args.trace {
        write(path, trace(&runs, &rows).as_bytes())?;
    }
    let total: Duration = rows.iter().map(|row| row.time).sum();
    outln!(
        "{} {}, 1 thread: {} kernel calls, {:.3} ms; median of {} runs; peak {peak:.1} GFLOP/s\n",
        title(&model),
        args.entry.name,
        rows.len(),
        total.as_secs_f64() * 1e3,
        runs.len()
    );
    let rows = if args.calls { rows } else { by_layer(rows) };
    print(&rows, total, peak, args.calls);
    if let Some(path) = &args.trace {
        outln!("\ntrace: {}", path.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// The calls of a schedule in the order in which they run. Calls without parts are never made.
fn expand<'p>(steps: &'p [Step], calls: &mut Vec<&'p Call>) -> Result<()> {
    for step in steps {
        match step {
            Step::Call(call) => calls.push(call),
            Step::Loop { extent, body } => (0..*extent).try_for_each(|_| expand(body, calls))?,
            Step::Break { .. } | Step::If { .. } => {
                let message = "which calls this entry makes depends on data (it holds `while` or `cond`), so they \
                               cannot be told apart; `brolga bench` measures it as a whole";
                return Err(Error::Compile(message.into()));
            }
        }
    }
    Ok(())
}

/// When each call of a run began and ended, since the run's beginning.
type Times = Vec<(Duration, Duration)>;

/// What the hook notes.
struct Recorder {
    begun: Clock,
    times: Times,
}

/// A `parallel_for` on the calling thread that notes when it was called and when it was done.
///
/// # Safety
/// `pool` must point to a [`Recorder`] that nothing else uses during the call; otherwise as [`serial_for`].
unsafe extern "C" fn recording_for(
    pool: *mut c_void,
    kernel: KernelFn,
    block: *const ArgumentBlock,
    row: *const u64,
    parts: u64,
) {
    // SAFETY: promised by the caller.
    let recorder = unsafe { &mut *pool.cast::<Recorder>() };
    let start = recorder.begun.elapsed();
    // SAFETY: promised by the caller.
    unsafe { serial_for(std::ptr::null_mut(), kernel, block, row, parts) };
    recorder.times.push((start, recorder.begun.elapsed()));
}

/// Runs the program for so many seconds, and gives the times of all calls of each run.
fn measure(
    program: &Program,
    options: &CompileOptions,
    state: &mut State,
    calls: usize,
    seconds: f64,
) -> Result<Vec<Times>> {
    let codegen = brolga::codegen::Options { target_cpu: options.target_cpu };
    let executable = Arc::new(compile_traced(program, &codegen)?.executable);
    let inputs = random_inputs(&executable.manifest().inputs)?;
    let outputs = executable.manifest().outputs.iter().map(|o| Tensor::zeros(o.dtype, &o.dims));
    let mut outputs = outputs.collect::<brolga::runtime::Result<Vec<_>>>()?;
    let mut recorder = Box::new(Recorder { begun: Clock::now(), times: Vec::with_capacity(calls) });
    let pool: *mut Recorder = &mut *recorder;
    // SAFETY: the recorder outlives the instance, which runs on this thread only; `recording_for` runs every part
    // before it returns, and leaves the control word alone.
    let threads = unsafe { Threads::from_raw(recording_for, pool.cast(), 1) };
    let mut instance = Instance::bind(executable, state, &threads)?;
    let limit = Duration::from_secs_f64(seconds);
    let (mut runs, begun) = (Vec::new(), Clock::now());
    while runs.len() <= LEAST_RUNS || begun.elapsed() < limit {
        // SAFETY: the recorder is alive, and no run is under way.
        unsafe {
            (*pool).times.clear();
            (*pool).begun = Clock::now();
        }
        instance.run_tensors(state, &inputs, &mut outputs)?;
        // SAFETY: as above.
        let times = unsafe { (*pool).times.clone() };
        // The first run also prepares values.
        let expected = times.len().checked_sub(calls).map(|prepared| times[prepared..].to_vec());
        runs.push(expected.ok_or_else(|| {
            let message = format!("{} kernel calls were seen, but the schedule has {calls}", times.len());
            Error::Compile(message)
        })?);
    }
    // The first run touches memory and fills caches.
    runs.remove(0);
    Ok(runs)
}

/// The rate of a matrix product that stays in the first cache, in GFLOP/s.
fn peak(options: &CompileOptions) -> Result<f64> {
    const ROUNDS: usize = 2000;
    let text = format!(
        "program @peak\n  %0 input \"a\" f32[48, 64]\n  %1 input \"b\" f32[64, 32]\n  %2 output \"c\" f32[48, 32]\n\n\
         kernel @peak#0(p0: read f32[3072], p1: read f32[2048], p2: write f32[1536]) grid [] {{\n\
         \u{20} for i0 in 0..{ROUNDS} {{\n\
         \u{20}   tile [48, 32] p2[0; 32] = p0[0; 64] * p1[0] over (64; 1, 32) : f32\n  }}\n}}\n\n\
         schedule {{\n  call @peak#0(%0, %1, %2)\n}}\n"
    );
    let program = Program::parse(&text).map_err(|e| Error::Compile(format!("the peak's program: {e}")))?;
    let codegen = brolga::codegen::Options { target_cpu: options.target_cpu };
    let executable = brolga::codegen::compile(&program, &codegen)?.executable;
    let mut state = State::new();
    let mut instance = Instance::bind(Arc::new(executable), &state, &Threads::serial())?;
    let inputs = [Tensor::zeros(DType::F32, &[48, 64])?, Tensor::zeros(DType::F32, &[64, 32])?];
    let mut outputs = [Tensor::zeros(DType::F32, &[48, 32])?];
    let mut best = Duration::MAX;
    for _ in 0..10 {
        let start = Clock::now();
        instance.run_tensors(&mut state, &inputs, &mut outputs)?;
        best = best.min(start.elapsed());
    }
    Ok((2 * 48 * 32 * 64 * ROUNDS) as f64 / best.as_secs_f64() / 1e9)
}

/// Sums of the calls of each layer, in the order of first occurrence; a gradient counts to its layer's row of its own.
fn by_layer(rows: Vec<Row>) -> Vec<Row> {
    let mut layers: Vec<Row> = Vec::new();
    for row in rows {
        match layers.iter_mut().find(|layer| layer.layer == row.layer) {
            Some(layer) => {
                layer.flops += row.flops;
                layer.bytes += row.bytes;
                layer.time += row.time;
                layer.kernel = String::new();
            }
            None => layers.push(Row { kernel: String::new(), ..row }),
        }
    }
    layers
}

fn print(rows: &[Row], total: Duration, peak: f64, kernels: bool) {
    let cells = rows.iter().map(|row| {
        let seconds = row.time.as_secs_f64().max(1e-12);
        let rate = row.flops as f64 / seconds / 1e9;
        let mut cells = vec![row.layer.clone()];
        if kernels {
            cells.push(row.kernel.clone());
        }
        cells.extend([
            format!("{:.1}", seconds * 1e6),
            format!("{:.1} %", 100.0 * seconds / total.as_secs_f64().max(1e-12)),
            flops(row.flops),
            format!("{rate:.1}"),
            format!("{:.0} %", 100.0 * rate / peak),
            bytes(row.bytes),
            format!("{:.1}", row.bytes as f64 / seconds / 1e9),
        ]);
        cells
    });
    let mut head = vec!["layer"];
    if kernels {
        head.push("kernel");
    }
    head.extend(["us", "share", "FLOP", "GFLOP/s", "of peak", "bytes", "GB/s"]);
    let align = if kernels { "llrrrrrrr" } else { "lrrrrrrr" };
    out!("{}", table(&head, &cells.collect::<Vec<_>>(), align));
}

/// The fastest run as a Chrome trace (Trace Event Format, complete events, microseconds).
fn trace(runs: &[Times], rows: &[Row]) -> String {
    let length = |run: &&Times| run.last().map_or(Duration::ZERO, |(_, end)| *end);
    let fastest = runs.iter().min_by_key(length);
    let events = fastest.into_iter().flatten().zip(rows).map(|((start, end), row)| {
        json!({"name": format!("{} {}", row.layer, row.kernel), "cat": "kernel", "ph": "X", "pid": 1, "tid": 1,
            "ts": start.as_secs_f64() * 1e6, "dur": (*end - *start).as_secs_f64() * 1e6,
            "args": {"flop": row.flops, "bytes": row.bytes}})
    });
    json!({"traceEvents": events.collect::<Vec<_>>(), "displayTimeUnit": "ns"}).to_string()
}
