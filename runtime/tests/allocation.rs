//! Allocations, counted by the allocator of the whole process: a run makes none, on any thread.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use brolga_runtime::*;
use common::*;

/// Counts the allocations of all threads.
struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: passes everything on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: promised by the caller.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: promised by the caller.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Without the test harness, whose own thread would be counted too. Pools are made first and dropped last, since
/// their threads end, and free what they had, at a time of their own.
fn main() {
    let pools = [1, 2, 4].map(|count| Threads::new(count).unwrap());
    for threads in &pools {
        a_run_allocates_nothing_on_any_thread(threads);
        training_allocates_nothing_between_the_steps_of_an_epoch(threads);
    }
    println!("no allocation while running, with 1, 2 and 4 threads");
}

fn a_run_allocates_nothing_on_any_thread(threads: &Threads) {
    let mut state = fresh();
    let mut train = Instance::bind(train_program::<8>(), &state, threads).unwrap();
    let inputs = [Tensor::zeros(DType::F32, &[8, D]).unwrap()];
    let mut out = [Tensor::scalar(0f32).unwrap(), Tensor::scalar(0f32).unwrap()];
    let [mut a, mut b] = [Tensor::scalar(0f32).unwrap(), Tensor::scalar(0f32).unwrap()];
    let before = ALLOCATIONS.load(Ordering::SeqCst);
    for _ in 0..200 {
        train.run_tensors(&mut state, &inputs, &mut out).unwrap();
        train.run(&mut state, &[inputs[0].view()], &mut [a.view_mut(), b.view_mut()]).unwrap();
    }
    assert_eq!(ALLOCATIONS.load(Ordering::SeqCst) - before, 0, "with {threads:?}");
    assert_eq!(state.step(), Some(400));
}

/// Notes the number of allocations at each step.
struct Steady(Vec<usize>);

impl Progress for Steady {
    fn step(&mut self, _: &Step<'_>) -> Flow {
        self.0.push(ALLOCATIONS.load(Ordering::SeqCst));
        Flow::Continue
    }
}

fn training_allocates_nothing_between_the_steps_of_an_epoch(threads: &Threads) {
    let mut seen = Steady(Vec::with_capacity(100));
    let programs = Programs { train: train_program::<4>(), formulas: None, evaluation: None };
    let options = Options { epochs: 1, seed: 1, checkpoints: None, log: None };
    train(&programs, &mut fresh(), threads, &mut Toy::new(200, 0), &options, &mut seen).unwrap();
    assert_eq!(seen.0.len(), 50);
    assert_eq!(seen.0.first(), seen.0.last());
}
