//! How long something takes.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// Processor time of this thread, where the system tells; else the time of day. Only differences have a meaning.
pub fn processor_time() -> Duration {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanoseconds = stat.and_then(|stat| stat.split_whitespace().next()?.parse().ok());
    nanoseconds.map_or_else(|| START.elapsed(), Duration::from_nanos)
}
