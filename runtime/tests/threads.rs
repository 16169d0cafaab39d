//! Threads: every part once, whatever the number of threads and whoever else runs.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};

use crate::common::*;
use brolga_runtime::*;

/// Parts of the calls of one run of `counting_entry`: none, one, few, many, more than there are chunks.
const CALLS: [u64; 9] = [0, 1, 2, 3, 7, 64, 1000, 4095, 10_000];
const TOTAL: usize = 15_172;

/// Adds one to the counter of the part; counters of a call begin at `row[0]`. Marks the worker's local memory as its
/// own meanwhile: nobody else may have.
unsafe extern "C" fn count(block: *const ArgumentBlock, row: *const u64, part: u64, worker: u64) {
    // SAFETY: the output has TOTAL counters, and every worker has ALIGNMENT bytes.
    unsafe {
        let local = (*(*block).bases.add(BASE_LOCAL)).add(worker as usize * ALIGNMENT);
        let mark = AtomicU64::from_ptr(local.cast());
        assert_eq!(mark.swap(part + 1, Ordering::Relaxed), 0, "two at once as worker {worker}");
        let counters: *mut u64 = (*(*block).bases.add(BASE_STATE)).cast();
        let counter = AtomicU64::from_ptr(counters.add((*row + part) as usize));
        counter.fetch_add(1, Ordering::Relaxed);
        assert_eq!(mark.swap(0, Ordering::Relaxed), part + 1, "two at once as worker {worker}");
    }
}

unsafe extern "C" fn counting_entry(block: *const ArgumentBlock) {
    // SAFETY: as above.
    unsafe {
        let counters: *mut u64 = (*(*block).bases.add(BASE_STATE)).cast();
        counters.write_bytes(0, TOTAL);
        let mut first = 0;
        for parts in CALLS {
            ((*block).parallel_for)((*block).pool, count, block, &first, parts);
            // All parts are done, once each, when the call returns.
            for i in 0..parts {
                assert_eq!(*counters.add((first + i) as usize), 1, "part {i} of {parts}");
            }
            first += parts;
        }
    }
}

fn counting() -> Arc<Executable> {
    let manifest = Manifest {
        entry: "count".into(),
        numerics: 1,
        parallel: true,
        inputs: vec![],
        outputs: vec![Output {
            name: "counters".into(),
            dtype: DType::I64,
            dims: vec![TOTAL],
            samples: Samples::Same,
        }],
        state: vec![],
        arena_bytes: 0,
        local_bytes: ALIGNMENT,
        prepared_bytes: 0,
        constants_bytes: 0,
        checked: false,
        cpu_features: vec![],
    };
    executable(counting_entry, None, manifest).unwrap()
}

#[test]
fn every_part_runs_once_with_any_number_of_threads() {
    assert_eq!(CALLS.iter().sum::<u64>(), TOTAL as u64);
    let mut state = State::new();
    for threads in [1, 2, 3, 7, 32] {
        let threads = Threads::new(threads).unwrap();
        let mut instance = Instance::bind(counting(), &state, &threads).unwrap();
        let mut out = [Tensor::zeros(DType::I64, &[TOTAL]).unwrap()];
        for round in 0..50 {
            instance.run_tensors(&mut state, &[], &mut out).unwrap();
            assert!(out[0].as_slice::<i64>().unwrap().iter().all(|c| *c == 1));
            if round % 20 == 0 {
                // Long enough for the helpers to park.
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
        }
    }
}

#[test]
fn several_runs_share_the_threads_at_the_same_time() {
    let (threads, executable) = (Threads::new(3).unwrap(), counting());
    let start = Barrier::new(4);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut state = State::new();
                let mut instance = Instance::bind(executable.clone(), &state, &threads).unwrap();
                let mut out = [Tensor::zeros(DType::I64, &[TOTAL]).unwrap()];
                start.wait();
                for _ in 0..50 {
                    instance.run_tensors(&mut state, &[], &mut out).unwrap();
                    assert!(out[0].as_slice::<i64>().unwrap().iter().all(|c| *c == 1));
                }
            });
        }
    });
}

#[test]
fn local_memory_that_cannot_be_had_is_an_error() {
    let bind = |local_bytes: usize| {
        let manifest = Manifest { local_bytes, ..counting().manifest().clone() };
        let executable = executable(counting_entry, None, manifest).map_err(|e| e.to_string())?;
        let bound = Instance::bind(executable, &State::new(), &Threads::new(3).unwrap());
        bound.map(|_| ()).map_err(|e| e.to_string())
    };
    assert_eq!(bind(2 * ALIGNMENT), Ok(()));
    assert_eq!(bind(65), Err("count: 65 bytes of local memory are not a multiple of 64".into()));
    let most = usize::MAX / ALIGNMENT * ALIGNMENT;
    let error = bind(most).unwrap_err();
    assert_eq!(error, format!("the local memory of `count`: 3 threads cannot have {most} bytes each"));
    assert!(bind(1 << 60).unwrap_err().starts_with("the local memory of `count`"));
}

#[test]
fn pools_come_and_go() {
    for count in [2, 3, 5] {
        for _ in 0..20 {
            let threads = Threads::new(count).unwrap();
            assert_eq!(threads.count(), count);
            let mut state = State::new();
            let mut instance = Instance::bind(counting(), &state, &threads.clone()).unwrap();
            drop(threads);
            let mut out = [Tensor::zeros(DType::I64, &[TOTAL]).unwrap()];
            instance.run_tensors(&mut state, &[], &mut out).unwrap();
        }
    }
    assert_eq!(Threads::new(0).unwrap_err().kind(), ErrorKind::Option);
    assert_eq!(Threads::new(MAX_THREADS + 1).unwrap_err().kind(), ErrorKind::Option);
}

/// Counts the parts whose thread keeps denormals.
#[cfg(target_arch = "x86_64")]
unsafe extern "C" fn denormal(block: *const ArgumentBlock, row: *const u64, part: u64, worker: u64) {
    // Waits a little, so that every thread gets some of the parts.
    (0..100).for_each(|_| std::hint::spin_loop());
    if std::hint::black_box(f32::MIN_POSITIVE) * 0.5 > 0.0 {
        // SAFETY: as for `count`, with `row` null.
        unsafe { count(block, &0, part, worker) };
    }
    assert!(row.is_null());
}

#[cfg(target_arch = "x86_64")]
unsafe extern "C" fn denormal_entry(block: *const ArgumentBlock) {
    // SAFETY: as for `counting_entry`.
    unsafe { ((*block).parallel_for)((*block).pool, denormal, block, std::ptr::null(), TOTAL as u64) };
}

#[cfg(target_arch = "x86_64")]
#[test]
fn helpers_keep_denormals_whatever_their_maker_had_set() {
    use std::arch::asm;
    let (mut before, flush) = (0u32, 0x9FC0u32);
    // SAFETY: sets flush-to-zero while the threads are made, and restores what was.
    unsafe {
        asm!("stmxcsr [{}]", in(reg) &mut before);
        asm!("ldmxcsr [{}]", in(reg) &flush);
    }
    let threads = Threads::new(3);
    // SAFETY: as above.
    unsafe { asm!("ldmxcsr [{}]", in(reg) &before) };
    let mut state = State::new();
    let executable = executable(denormal_entry, None, counting().manifest().clone()).unwrap();
    let mut instance = Instance::bind(executable, &state, &threads.unwrap()).unwrap();
    let mut out = [Tensor::zeros(DType::I64, &[TOTAL]).unwrap()];
    instance.run_tensors(&mut state, &[], &mut out).unwrap();
    assert!(out[0].as_slice::<i64>().unwrap().iter().all(|c| *c == 1));
}

/// Runs the parts backwards, as an embedder might.
unsafe extern "C" fn backwards(
    calls: *mut std::ffi::c_void,
    kernel: KernelFn,
    block: *const ArgumentBlock,
    row: *const u64,
    parts: u64,
) {
    // SAFETY: `calls` is the counter of the test below; the rest is promised by the caller.
    unsafe {
        (*calls.cast::<AtomicUsize>()).fetch_add(1, Ordering::Relaxed);
        (0..parts).rev().for_each(|part| kernel(block, row, part, part % 2));
    }
}

#[test]
fn an_embedder_brings_threads_of_its_own() {
    let calls = AtomicUsize::new(0);
    // SAFETY: `backwards` does what is asked, and `calls` outlives the instance.
    let threads = unsafe { Threads::from_raw(backwards, (&raw const calls).cast_mut().cast(), 2) };
    let mut state = State::new();
    let mut instance = Instance::bind(counting(), &state, &threads).unwrap();
    let mut out = [Tensor::zeros(DType::I64, &[TOTAL]).unwrap()];
    instance.run_tensors(&mut state, &[], &mut out).unwrap();
    assert_eq!(calls.load(Ordering::Relaxed), CALLS.len());
}
