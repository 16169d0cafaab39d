//! Allocations, counted by the allocator of the whole process: a run makes none, on any thread; and reading a container takes
//! no more memory than the file. `BROLGA_CASES=5000000 cargo test -p brolga-runtime --test allocation` reads so many mutated
//! containers.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use brolga_runtime::container::format::{HEADER, ROW};
use brolga_runtime::container::{About, Container, Parts, Values};
use brolga_runtime::*;
use common::container::{code_for_both, sample, state};
use common::*;

/// Counts the allocations of all threads, and their bytes.
struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);
/// Bytes that are in use, and the most that were.
static BYTES: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: passes everything on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        let bytes = BYTES.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(bytes, Ordering::Relaxed);
        // SAFETY: promised by the caller.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        BYTES.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: promised by the caller.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Without the test harness, whose own thread would be counted too. Pools are made first and dropped last, since
/// their threads end, and free what they had, at a time of their own.
fn main() {
    reading_a_container_takes_no_more_memory_than_the_file();
    mutated_containers_are_read_or_refused();
    let pools = [1, 2, 4].map(|count| Threads::new(count).unwrap());
    for threads in &pools {
        a_run_allocates_nothing_on_any_thread(threads);
        training_allocates_nothing_between_the_steps_of_an_epoch(threads);
    }
    println!("no allocation while running, with 1, 2 and 4 threads");
}

/// Whatever numbers the file has, checksums repaired.
fn reading_a_container_takes_no_more_memory_than_the_file() {
    let read = |bytes: &[u8], what: &str| {
        let before = BYTES.load(Ordering::SeqCst);
        PEAK.store(before, Ordering::SeqCst);
        let is_read = Container::of_bytes(bytes).is_ok();
        let taken = PEAK.load(Ordering::SeqCst) - before;
        assert!(taken <= bytes.len(), "{what}: {taken} bytes for a file of {}", bytes.len());
        is_read
    };
    let whole = sample();
    assert!(read(&whole, "the sample"));
    for start in [0].into_iter().chain(repair::rows(&whole)) {
        for field in if start == 0 { HEADER } else { ROW } {
            for number in [0, 1 << 20, 1 << 31, 1 << 40, u64::MAX] {
                let mut bytes = whole.clone();
                repair::put(&mut bytes, start, field, number);
                repair::repair(&mut bytes);
                read(&bytes, field.name);
            }
        }
    }
    // Numbers of the manifest, wherever they are.
    let right = repair::manifest(&whole).to_vec();
    for at in 0..right.len() {
        for number in [1u64 << 12, 1 << 20, 1 << 40, u64::MAX] {
            let (mut changed, end) = (right.clone(), right.len().min(at + 8));
            changed[at..end].copy_from_slice(&number.to_le_bytes()[..end - at]);
            read(&repair::with_manifest(&whole, &changed).unwrap(), "a number of the manifest");
        }
    }
    // A manifest of many empty texts, which take more in memory than in the file.
    let (code, state) = (code_for_both(), state());
    let about = About { classes: vec![String::new(); 20_000], ..About::default() };
    let values = Values::None;
    let parts = Parts { model: "m", code: &code, state: &state, values, prepared: &[], about: Some(&about) };
    assert!(read(&parts.to_bytes().unwrap(), "a long list"));
}

/// Random changes, checksums repaired: no panic, no second of work, and no more memory than the file has bytes (or a page, for the
/// message of why a short one is refused). What is accepted keeps to the format: written again it is the same.
fn mutated_containers_are_read_or_refused() {
    let cases: u64 = std::env::var("BROLGA_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(5000);
    let (whole, mut random) = (sample(), Random::new(23, Purpose::Split, 0, 0));
    let (start, mut accepted, mut longest) = (Instant::now(), 0u64, Duration::ZERO);
    for case in 0..cases {
        let bytes = mutate::mutated(&whole, &mut random);
        let before = BYTES.load(Ordering::SeqCst);
        PEAK.store(before, Ordering::SeqCst);
        let begin = Instant::now();
        let read = Container::of_bytes(&bytes);
        longest = longest.max(begin.elapsed());
        let taken = PEAK.load(Ordering::SeqCst) - before;
        assert!(taken <= bytes.len().max(4096), "case {case}: {taken} bytes for a file of {}", bytes.len());
        let Ok(container) = read else { continue };
        accepted += 1;
        let end = container.sections().last().map(|section| section.offset + section.bytes);
        assert_eq!(end, Some(bytes.len() as u64), "case {case}");
        assert_eq!(container.contents().to_bytes(), repair::manifest(&bytes), "case {case}");
    }
    assert!(longest < Duration::from_secs(1), "{longest:?}");
    assert!(accepted > 0 && accepted < cases, "{accepted} of {cases}");
    let each = start.elapsed() / u32::try_from(cases).unwrap();
    println!(
        "{cases} containers, of which {accepted} keep the rules; {each:?} each, the longest {longest:?}"
    );
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
    fn update(&mut self, _: &Update<'_>) -> Flow {
        self.0.push(ALLOCATIONS.load(Ordering::SeqCst));
        Flow::Continue
    }
}

fn training_allocates_nothing_between_the_steps_of_an_epoch(threads: &Threads) {
    let mut seen = Steady(Vec::with_capacity(100));
    let executables = Executables { train: train_program::<4>(), formulas: None, evaluation: None };
    let options = Options { seed: 1, checkpoints: None, log: None };
    let (plan, data) = (Plan::epochs(executables, 1), &mut Toy::new(200, 0));
    train(&plan, &mut fresh(), threads, &mut [data], &options, &mut seen).unwrap();
    assert_eq!(seen.0.len(), 50);
    assert_eq!(seen.0.first(), seen.0.last());
}
