//! Threads: `parallel_for` over a private pool whose threads spin for the next call, then yield, then park.
//!
//! The pool's threads enter one resident loop when the pool is made, so a run enters the pool by taking a flag,
//! and a call is published by writing one word per thread; the calling thread computes too. No step allocates
//! or locks, and nothing waits for a thread that has not taken work: a helper that sleeps, or that the system
//! has put aside, costs its share of the speed and nothing else.
//!
//! **A call.** Parts are grouped into at most [`MAX_CHUNKS`] chunks of consecutive parts. Each thread owns an equal
//! range of chunks, held in its *ticket*, one word of (call number, begin, end). A thread takes chunks from the
//! front of its own ticket, then from the back of the others', by compare-and-swap. The same thread so gets
//! the same parts of call after call, which keeps its cache warm; which thread computes a part never changes
//! what is computed.
//!
//! **What crosses from core to core.** A cache line that another core has written takes a tenth of a microsecond to
//! arrive, almost four tenths where cores do not share a cache, and kernels of small models take one to ten. So a call costs a helper two:
//! its lane's order (the job with the ticket, so each lane has a copy of the job), and the count of the chunks that it
//! has computed, which only it writes, once its own are done.
//!
//! **Why a taken chunk belongs to the job that was read.** A thread loads a ticket with chunks in it, reads the
//! job beside it, and swaps the ticket. The job is overwritten only when all chunks of its call are done, and tickets
//! carry the number of their call, so a swap that succeeds shows that the call was not complete when the job
//! was read.

use std::ffi::c_void;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering, fence};
use std::sync::{Arc, Barrier, OnceLock};
use std::thread::{self, Thread};

use crate::error::{Error, ErrorKind, Result};
use crate::run::block::{ArgumentBlock, KernelFn, ParallelForFn, serial_for};
use crate::run::control::FloatControl;

/// Upper bound of threads in one pool.
pub const MAX_THREADS: usize = 1024;
/// Chunks of one call: what 12 bits of a ticket hold.
const MAX_CHUNKS: u64 = 4095;
/// Looks at the own ticket before a helper starts to yield: some ten to a hundred microseconds.
const SPINS: u32 = 2000;
/// The same where there are more threads than cores, and another thread may be waiting for this core.
const SPINS_CROWDED: u32 = 50;
/// Yields before a helper parks.
const YIELDS: u32 = 200;

/// Threads for runs. Cheap to clone; clones share the threads.
#[derive(Clone)]
pub struct Threads(Kind);

#[derive(Clone)]
enum Kind {
    Serial,
    Pool(Arc<Pool>),
    Foreign { parallel_for: ParallelForFn, pool: Address, count: usize },
}

/// The first argument of an embedder's `parallel_for`.
#[derive(Clone, Copy)]
struct Address(*mut c_void);
// SAFETY: `Threads::from_raw` demands that the address may be used from any thread.
unsafe impl Send for Address {}
// SAFETY: as above.
unsafe impl Sync for Address {}

impl Threads {
    /// One thread: the caller's, without any pool.
    pub fn serial() -> Threads {
        Threads(Kind::Serial)
    }

    /// `count` threads, of which the caller of a run is one. With 1 there is no pool.
    ///
    /// # Errors
    /// A number of threads that is 0 or too large; the system does not start them.
    pub fn new(count: usize) -> Result<Threads> {
        match count {
            1 => Ok(Threads::serial()),
            2..=MAX_THREADS => Ok(Threads(Kind::Pool(Arc::new(Pool::new(count)?)))),
            _ => {
                let message =
                    format!("{count} threads were asked for; give a number from 1 to {MAX_THREADS}");
                Err(Error::new(ErrorKind::Option, message))
            }
        }
    }

    /// As many threads as the process may use cores.
    ///
    /// # Errors
    /// The system does not start them.
    pub fn available() -> Result<Threads> {
        Threads::new(cores().min(MAX_THREADS))
    }

    /// Threads of the embedding application.
    ///
    /// # Safety
    /// `parallel_for(pool, …)` must do what [`ParallelForFn`] says, from any thread and from several at once, with
    /// numbers of workers below `count` (or 0), must not return before all its kernels have, and must run them with the
    /// default floating-point control word (round to nearest, denormals kept).
    pub unsafe fn from_raw(parallel_for: ParallelForFn, pool: *mut c_void, count: usize) -> Threads {
        Threads(Kind::Foreign { parallel_for, pool: Address(pool), count })
    }

    /// How many threads compute, the caller's included.
    pub fn count(&self) -> usize {
        match &self.0 {
            Kind::Serial => 1,
            Kind::Pool(pool) => pool.shared.lanes.len(),
            Kind::Foreign { count, .. } => *count,
        }
    }

    /// Runs all parts of one call of a kernel, over the threads if it is `parallel`: for tools that look at single calls
    /// and get them by a `parallel_for` of their own.
    ///
    /// # Safety
    /// As for [`ParallelForFn`]: the kernel may be called with the block and the row for each of the parts, from any
    /// thread, in any order, and the block has local memory for as many workers as there are threads.
    pub unsafe fn run_call(
        &self,
        parallel: bool,
        kernel: KernelFn,
        block: *const ArgumentBlock,
        row: *const u64,
        parts: u64,
    ) {
        let entered = self.enter(parallel);
        // SAFETY: promised by the caller; the pool, if there is one, is entered.
        unsafe { (entered.parallel_for)(entered.pool, kernel, block, row, parts) };
    }

    /// Enters the pool for one run, if the run wants threads and no other run has them.
    pub(crate) fn enter(&self, parallel: bool) -> Entered<'_> {
        match &self.0 {
            Kind::Pool(pool) if parallel && pool.shared.take() => Entered {
                parallel_for: pool_for,
                pool: (&raw const *pool.shared).cast_mut().cast(),
                taken: Some(&pool.shared),
            },
            Kind::Foreign { parallel_for, pool, .. } if parallel => {
                Entered { parallel_for: *parallel_for, pool: pool.0, taken: None }
            }
            _ => Entered { parallel_for: serial_for, pool: std::ptr::null_mut(), taken: None },
        }
    }
}

impl std::fmt::Debug for Threads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Threads({})", self.count())
    }
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// What a run calls its kernels through; leaves the pool when dropped.
pub(crate) struct Entered<'a> {
    pub(crate) parallel_for: ParallelForFn,
    pub(crate) pool: *mut c_void,
    taken: Option<&'a Shared>,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        if let Some(shared) = self.taken {
            shared.busy.store(false, Ordering::Release);
        }
    }
}

struct Pool {
    shared: Arc<Shared>,
    _threads: rayon_core::ThreadPool,
}

impl Pool {
    fn new(count: usize) -> Result<Pool> {
        let failed = |e: rayon_core::ThreadPoolBuildError| {
            Error::new(ErrorKind::Memory, format!("cannot start {count} threads: {e}; ask for fewer"))
        };
        let threads = rayon_core::ThreadPoolBuilder::new()
            .num_threads(count - 1)
            .thread_name(|i| format!("brolga-{}", i + 1))
            .build()
            .map_err(failed)?;
        let shared = Arc::new(Shared {
            busy: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            call: AtomicU64::new(0),
            published: AtomicU64::new(0),
            lanes: (0..count).map(|_| Lane::default()).collect(),
            spins: if count > cores() { SPINS_CROWDED } else { SPINS },
        });
        // All helpers are in their loops, with everything they allocate allocated, before the first run.
        let ready = Arc::new(Barrier::new(count));
        let (resident, arrived) = (shared.clone(), ready.clone());
        threads.spawn_broadcast(move |context| {
            let lane = context.index() + 1;
            let _ = resident.lanes[lane].thread.set(thread::current());
            arrived.wait();
            resident.help(lane);
        });
        ready.wait();
        Ok(Pool { shared, _threads: threads })
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        // Either a helper that is about to park sees `stop`, or its `parked` is seen here.
        fence(Ordering::SeqCst);
        self.shared.lanes.iter().for_each(Lane::wake);
    }
}

/// A value on cache lines of its own (two, since processors fetch lines in pairs).
#[repr(align(128))]
#[derive(Default)]
struct Padded<T>(T);

struct Shared {
    /// Whether a run has the pool.
    busy: AtomicBool,
    /// Whether helpers shall leave their loops.
    stop: AtomicBool,
    /// Number of the last call; only the thread that has the pool writes it.
    call: AtomicU64,
    /// Chunks of all calls so far; as `call`.
    published: AtomicU64,
    /// One per thread; lane 0 belongs to the caller of the run.
    lanes: Box<[Lane]>,
    spins: u32,
}

/// The current call, and what of it a lane still has to compute. Atomics, because others read it while the leader may be
/// writing the next one; they then find out by the ticket, and use nothing of it.
#[derive(Default)]
struct Order {
    kernel: AtomicPtr<()>,
    block: AtomicPtr<ArgumentBlock>,
    row: AtomicPtr<u64>,
    parts: AtomicU64,
    chunks: AtomicU64,
    ticket: AtomicU64,
}

#[derive(Default)]
struct Lane {
    order: Padded<Order>,
    /// Chunks of all calls so far that this thread has computed; only it writes them.
    computed: Padded<AtomicU64>,
    parked: AtomicBool,
    thread: OnceLock<Thread>,
}

impl Lane {
    fn wake(&self) {
        if self.parked.load(Ordering::Relaxed)
            && self.parked.swap(false, Ordering::SeqCst)
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }

    fn has_work(&self) -> bool {
        let (_, begin, end) = unpack(self.order.0.ticket.load(Ordering::Acquire));
        begin < end
    }
}

fn pack(call: u64, begin: u64, end: u64) -> u64 {
    call << 24 | begin << 12 | end
}

fn unpack(ticket: u64) -> (u64, u64, u64) {
    (ticket >> 24, ticket >> 12 & 0xFFF, ticket & 0xFFF)
}

/// The [`ParallelForFn`] of a [`Pool`]; `pool` is its `Shared`, taken by the calling thread.
unsafe extern "C" fn pool_for(
    pool: *mut c_void,
    kernel: KernelFn,
    block: *const ArgumentBlock,
    row: *const u64,
    parts: u64,
) {
    if parts <= 1 {
        // SAFETY: the caller promises that the kernel may be called for every part.
        return unsafe { serial_for(pool, kernel, block, row, parts) };
    }
    // SAFETY: `Threads::enter` passed a pointer to the `Shared` that the `Entered` of this run borrows.
    let shared = unsafe { &*pool.cast::<Shared>() };
    let chunks = parts.min(MAX_CHUNKS);
    let call = shared.call.load(Ordering::Relaxed) + 1;
    shared.call.store(call, Ordering::Relaxed);
    let published = shared.published.load(Ordering::Relaxed).wrapping_add(chunks);
    shared.published.store(published, Ordering::Relaxed);

    let n = shared.lanes.len() as u64;
    // The caller's own last: its helpers are to start first.
    for (t, lane) in shared.lanes.iter().enumerate().rev() {
        let t = t as u64;
        let order = &lane.order.0;
        order.kernel.store(kernel as *mut (), Ordering::Relaxed);
        order.block.store(block.cast_mut(), Ordering::Relaxed);
        order.row.store(row.cast_mut(), Ordering::Relaxed);
        order.parts.store(parts, Ordering::Relaxed);
        order.chunks.store(chunks, Ordering::Relaxed);
        let ticket = pack(call, (t * chunks).div_ceil(n), ((t + 1) * chunks).div_ceil(n));
        order.ticket.store(ticket, Ordering::Release);
    }
    // Either a helper that is about to park sees its ticket, or its `parked` is seen here.
    fence(Ordering::SeqCst);
    for lane in &shared.lanes[1..] {
        if lane.has_work() {
            lane.wake();
        }
    }

    shared.work(0);
    let mut looks = 0;
    while shared.computed() != published {
        looks += 1;
        if looks < shared.spins { std::hint::spin_loop() } else { thread::yield_now() }
    }
}

impl Shared {
    /// Takes the pool for a run, and wakes helpers that sleep, so that they are there for the first call.
    fn take(&self) -> bool {
        if self.busy.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_err() {
            return false;
        }
        self.lanes.iter().for_each(Lane::wake);
        true
    }

    /// The life of a helper.
    fn help(&self, own: usize) {
        // A new thread inherits the control word of the one that made it.
        let _control = FloatControl::set();
        let lane = &self.lanes[own];
        let mut idle = 0;
        loop {
            if lane.has_work() {
                self.work(own);
                idle = 0;
            } else if idle < self.spins {
                idle += 1;
                std::hint::spin_loop();
            } else if self.stop.load(Ordering::Relaxed) {
                return;
            } else if idle < self.spins + YIELDS {
                idle += 1;
                thread::yield_now();
            } else {
                lane.parked.store(true, Ordering::SeqCst);
                fence(Ordering::SeqCst);
                if lane.has_work() || self.stop.load(Ordering::SeqCst) {
                    lane.parked.store(false, Ordering::SeqCst);
                } else {
                    while lane.parked.load(Ordering::Acquire) {
                        thread::park();
                    }
                }
                idle = 0;
            }
        }
    }

    /// Chunks of all calls so far that are computed, and what their kernels have written can be read.
    fn computed(&self) -> u64 {
        let counts = self.lanes.iter().map(|lane| lane.computed.0.load(Ordering::Acquire));
        counts.fold(0, u64::wrapping_add)
    }

    /// Computes own chunks, then those of others, until none is left to take.
    fn work(&self, own: usize) {
        let n = self.lanes.len();
        for from in (own..n).chain(0..own) {
            let mut computed = 0;
            while let Some(chunks) = self.claim(own, from) {
                computed += chunks;
            }
            if computed > 0 {
                let count = &self.lanes[own].computed.0;
                count.store(count.load(Ordering::Relaxed).wrapping_add(computed), Ordering::Release);
            }
        }
    }

    /// Takes some chunks of the lane `from`, computes them as worker `own` and says how many they were; `None` if it has
    /// none. Own chunks are taken from the front, those of others from the back.
    fn claim(&self, own: usize, from: usize) -> Option<u64> {
        let (order, front) = (&self.lanes[from].order.0, own == from);
        let mut ticket = order.ticket.load(Ordering::Acquire);
        loop {
            let (call, begin, end) = unpack(ticket);
            if begin >= end {
                return None;
            }
            let kernel = order.kernel.load(Ordering::Relaxed);
            let block = order.block.load(Ordering::Relaxed);
            let row = order.row.load(Ordering::Relaxed);
            let parts = order.parts.load(Ordering::Relaxed);
            let chunks = order.chunks.load(Ordering::Relaxed);
            // A quarter at a time: few swaps, and something left for whoever is done early.
            let take = (end - begin).div_ceil(4);
            let (first, last, rest) = if front {
                (begin, begin + take, pack(call, begin + take, end))
            } else {
                (end - take, end, pack(call, begin, end - take))
            };
            match order.ticket.compare_exchange_weak(ticket, rest, Ordering::AcqRel, Ordering::Acquire) {
                Err(now) => ticket = now,
                Ok(_) => {
                    // SAFETY: the swap shows that the job read is the one of this call (see the head of the
                    // file), so `kernel` was stored from a `KernelFn`.
                    let kernel = unsafe { std::mem::transmute::<*mut (), KernelFn>(kernel) };
                    for part in first_part(first, parts, chunks)..first_part(last, parts, chunks) {
                        // SAFETY: the caller of `parallel_for` promises this call for every part; no other thread
                        // works as `own`.
                        unsafe { kernel(block, row, part, own as u64) };
                    }
                    return Some(take);
                }
            }
        }
    }
}

/// The first part of a chunk: `parts` spread evenly over `chunks`.
fn first_part(chunk: u64, parts: u64, chunks: u64) -> u64 {
    if parts == chunks {
        return chunk;
    }
    (u128::from(chunk) * u128::from(parts) / u128::from(chunks)) as u64
}
