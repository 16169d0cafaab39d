//! One compiled model, its weights and prepared values, used by several threads at the same time without a lock. That memory
//! grows by arenas alone, `allocation.rs` counts.

use std::thread;

use brolga::codegen::Options;
use brolga::runtime::Instance;
use brolga::runtime::container::open;
use brolga::{Model, Settings, State, Tensor, Threads};

/// Threads, and calls of each.
const THREADS: usize = 8;
const CALLS: usize = 1000;

/// Some different images.
fn images() -> Vec<Tensor> {
    let image = |number: usize| {
        let pixels: Vec<f32> = (0..28 * 28).map(|at| ((number * 31 + at * 7) % 97) as f32 / 97.0).collect();
        Tensor::from_slice(&[1, 1, 28, 28], &pixels).unwrap()
    };
    (0..40).map(image).collect()
}

/// The bits of an answer.
fn answer(instance: &mut Instance, state: &State, image: &Tensor) -> Vec<u8> {
    let mut probability = [0f32; 10];
    let mut target = brolga::runtime::TensorMut::from_slice(&[1, 10], &mut probability).unwrap();
    instance.run_shared(state, &[image.view()], std::slice::from_mut(&mut target)).unwrap();
    probability.iter().flat_map(|value| value.to_bits().to_le_bytes()).collect()
}

/// Each thread runs an instance of its own over all images, in an order of its own; all get what one thread gets.
fn check(first: &mut Instance, state: &State, what: &str) {
    let images = images();
    let expected: Vec<Vec<u8>> = images.iter().map(|image| answer(first, state, image)).collect();
    assert!(expected.iter().any(|bits| *bits != expected[0]), "answers depend on the image");
    let same = |thread: usize, own: &mut Instance| {
        let order = (0..CALLS).map(|call| (call * 7 + thread * 3) % images.len());
        order.filter(|at| answer(own, state, &images[*at]) == expected[*at]).count()
    };
    thread::scope(|scope| {
        let run = |thread: usize| {
            let (mut own, same) = (first.share().unwrap(), &same);
            scope.spawn(move || same(thread, &mut own))
        };
        let threads: Vec<_> = (0..THREADS).map(run).collect();
        for thread in threads {
            assert_eq!(thread.join().unwrap(), CALLS, "{what}");
        }
    });
}

#[test]
fn threads_that_share_a_model_give_the_bits_of_one() {
    let model = Model::load("lenet5", &Settings::default().dim("batch", 1)).unwrap();
    let weights = model.initial_state(7).unwrap();
    let infer = model.compile("infer").unwrap();
    let mut first = Instance::bind(infer, &weights, &Threads::serial()).unwrap();
    check(&mut first, &weights, "in this process");
    let folder = tempfile::tempdir().unwrap();
    for prepared in [true, false] {
        let path = folder.path().join(format!("{prepared}.brolga"));
        let entries = [("infer", &[][..])];
        let made = model.container(&entries, Some(&weights), Some(prepared), &[Options::default()]).unwrap();
        made.write(&path).unwrap();
        // SAFETY: the code has just been compiled; nobody changes the file.
        let loaded = unsafe { open(&path).unwrap() };
        // Threads of a pool that all of them share: one run at a time has it.
        for threads in [Threads::serial(), Threads::new(2).unwrap()] {
            let mut first = loaded.instance("infer", &threads).unwrap();
            check(&mut first, &loaded.state, &format!("prepared: {prepared}, {threads:?}"));
        }
    }
}
