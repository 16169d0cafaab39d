//! How long an entry point takes.

use std::sync::Arc;
use std::time::{Duration, Instant as Clock};

use brolga_runtime::{Executable, Instance, Result, State, Tensor, Threads, random_inputs, sorted};

/// Runs that are measured at least, however long one takes.
const LEAST_RUNS: usize = 3;
/// Runs that are measured at most.
const MOST_RUNS: usize = 1_000_000;

/// The times of runs on random inputs within their bounds, for about so long, in ascending order.
///
/// # Errors
/// A state that does not fit; too little memory.
pub fn times(
    executable: &Arc<Executable>,
    state: &mut State,
    threads: &Threads,
    limit: Duration,
) -> Result<Vec<Duration>> {
    let manifest = executable.manifest();
    let inputs = random_inputs(&manifest.inputs)?;
    let mut instance = Instance::bind(Arc::clone(executable), state, threads)?;
    let mut outputs: Vec<Tensor> =
        manifest.outputs.iter().map(|o| Tensor::zeros(o.dtype, &o.dims)).collect::<Result<_>>()?;
    let mut call = || -> Result<Duration> {
        let start = Clock::now();
        instance.run_tensors(state, &inputs, &mut outputs)?;
        Ok(start.elapsed())
    };
    // The first run touches memory and fills caches.
    call()?;
    let (mut times, begun) = (Vec::new(), Clock::now());
    while times.len() < LEAST_RUNS || (begun.elapsed() < limit && times.len() < MOST_RUNS) {
        times.push(call()?);
    }
    Ok(sorted(times, Duration::cmp))
}

/// The most memory that this process has had, in units of 10^6 bytes, where the system tells (Linux).
pub fn peak_rss_mb() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024.0 / 1e6)
}
