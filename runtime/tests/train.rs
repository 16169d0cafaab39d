//! Training: what a run computes, and that stopping, killing and resuming change no bit of it.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;

use crate::common::*;
use brolga_runtime::*;

const BATCH: usize = 4;
/// Seven steps an epoch, and two samples that the last partial batch would have had.
const TRAIN: usize = 30;
/// Two whole batches and three samples more.
const VALIDATION: usize = 11;
const EPOCHS: u64 = 3;
const STEPS: u64 = EPOCHS * (TRAIN / BATCH) as u64;

fn plan() -> Plan {
    Plan::epochs(executables(), EPOCHS)
}

fn executables() -> Executables {
    let evaluation =
        Evaluation { full: eval_program::<BATCH>(), single: Some(eval_program::<1>()), formulas: None };
    Executables { train: train_program::<BATCH>(), formulas: None, evaluation: Some(evaluation) }
}

fn options(directory: Option<&Path>) -> Options {
    let checkpoints = directory.map(|d| CheckpointOptions {
        every_steps: Some(3),
        resume: true,
        ..CheckpointOptions::new(d)
    });
    Options { seed: 5, checkpoints, log: None }
}

fn run(state: &mut State, options: &Options, progress: &mut dyn Progress) -> Result<Outcome> {
    let data = &mut Toy::new(TRAIN, VALIDATION);
    train(&plan(), state, &Threads::serial(), &mut [data], options, progress)
}

/// The result of a run left alone.
fn uninterrupted() -> (Vec<(String, Vec<u8>)>, Outcome) {
    let mut state = fresh();
    let outcome = run(&mut state, &options(None), &mut ()).unwrap();
    (bits(&state), outcome)
}

/// Everything but the time it took.
fn same(a: &Outcome, b: &Outcome) {
    assert_eq!((a.epochs, a.steps, &a.train, &a.validation), (b.epochs, b.steps, &b.train, &b.validation));
}

#[test]
fn a_run_computes_what_the_plain_loop_does() {
    let (result, outcome) = uninterrupted();
    let (mut state, mut data) = (fresh(), Toy::new(TRAIN, VALIDATION));
    let mut step = Instance::bind(train_program::<BATCH>(), &state, &Threads::serial()).unwrap();
    let mut x = [Tensor::zeros(DType::F32, &[BATCH, D]).unwrap()];
    let mut out = [Tensor::scalar(0f32).unwrap(), Tensor::scalar(0f32).unwrap()];
    let mut loss = 0.0;
    for epoch in 0..EPOCHS {
        let mut order = [0; TRAIN];
        permutation(5, epoch, &mut order);
        loss = 0.0;
        for indices in order.chunks_exact(BATCH) {
            let request = Request { split: Split::Train, indices, seed: 5, epoch };
            data.fill(&request, 1, &mut x[0].view_mut()).unwrap();
            step.run_tensors(&mut state, &x, &mut out).unwrap();
            loss += out[0].item().unwrap();
        }
    }
    assert_eq!(bits(&state), result);
    assert_eq!(state.step(), Some(STEPS as i64));
    let mean = loss / (TRAIN / BATCH) as f64;
    assert_eq!(outcome.train, [("loss".to_string(), mean), ("twice".to_string(), 2.0 * mean)]);
    assert_eq!((outcome.epochs, outcome.steps, outcome.stopped), (EPOCHS, STEPS, false));
}

#[test]
fn validation_is_weighted_by_samples() {
    let mut state = fresh();
    let found = evaluate(
        executables().evaluation.as_ref().unwrap(),
        &mut state,
        &Threads::serial(),
        &mut Toy::new(TRAIN, VALIDATION),
    )
    .unwrap();
    // One executable for all samples at once: a plain mean over them.
    let whole = Evaluation { full: eval_program::<VALIDATION>(), single: None, formulas: None };
    let expected =
        evaluate(&whole, &mut state, &Threads::serial(), &mut Toy::new(TRAIN, VALIDATION)).unwrap();
    assert_eq!(found[0].0, "loss");
    assert!((found[0].1 - expected[0].1).abs() < 1e-6 * expected[0].1, "{found:?} {expected:?}");
    // A mean of the means of the batches would be another number.
    assert!(found[0].1 > 0.0);
}

/// Stops, or dies, after a given step.
struct Interrupt {
    at: u64,
    how: How,
    steps: Vec<u64>,
}

#[derive(Clone, Copy, PartialEq)]
enum How {
    Stop,
    /// A panic stands in for a kill: nothing after it runs, and only the files are left.
    Die,
}

impl Progress for Interrupt {
    fn update(&mut self, update: &Update<'_>) -> Flow {
        self.steps.push(update.step);
        if update.step != self.at {
            return Flow::Continue;
        }
        match self.how {
            How::Stop => Flow::Stop,
            // Unlike `panic!`, it prints nothing.
            How::Die => resume_unwind(Box::new("killed")),
        }
    }
}

#[test]
fn interrupted_at_any_step_it_resumes_to_the_same_bits() {
    let (expected, outcome) = uninterrupted();
    for how in [How::Stop, How::Die] {
        for at in 1..=STEPS {
            let dir = tempfile::tempdir().unwrap();
            let mut first = Interrupt { at, how, steps: vec![] };
            let ended = catch_unwind(AssertUnwindSafe(|| {
                run(&mut fresh(), &options(Some(dir.path())), &mut first).unwrap()
            }));
            assert_eq!(ended.is_ok(), how == How::Stop);
            if let Ok(ended) = ended {
                assert!(ended.stopped);
            }
            let mut state = fresh();
            let mut second = Interrupt { at: u64::MAX, how, steps: vec![] };
            let resumed = run(&mut state, &options(Some(dir.path())), &mut second).unwrap();
            assert_eq!(bits(&state), expected, "interrupted after step {at}");
            same(&resumed, &outcome);
            // After a stop it goes on with the very next step; after a kill it repeats at most those since
            // the last checkpoint.
            let next = second.steps.first().copied().unwrap_or(STEPS + 1);
            match how {
                How::Stop => assert_eq!(next, at + 1),
                How::Die => assert!(next <= at && at - next < 3, "killed after {at}, went on with {next}"),
            }
        }
    }
}

#[test]
fn stopped_again_and_again_it_ends_with_the_same_bits() {
    let (expected, outcome) = uninterrupted();
    let dir = tempfile::tempdir().unwrap();
    for at in 1..=STEPS {
        run(&mut fresh(), &options(Some(dir.path())), &mut Interrupt { at, how: How::Stop, steps: vec![] })
            .unwrap();
    }
    let mut state = fresh();
    same(&run(&mut state, &options(Some(dir.path())), &mut ()).unwrap(), &outcome);
    assert_eq!(bits(&state), expected);
    // Resumed once more, nothing is left to do, and the results are still known.
    let mut state = fresh();
    same(&run(&mut state, &options(Some(dir.path())), &mut ()).unwrap(), &outcome);
    assert_eq!(bits(&state), expected);
}

/// Stops in the middle of the validation of an epoch.
struct StopInValidation(bool);

impl Progress for StopInValidation {
    fn validation(&mut self, done: usize, runs: usize) -> Flow {
        // Two whole batches, and three samples one by one.
        assert!(done <= runs && runs == 5);
        if std::mem::take(&mut self.0) { Flow::Stop } else { Flow::Continue }
    }
}

#[test]
fn stopped_during_validation_it_validates_again() {
    let (expected, outcome) = uninterrupted();
    let dir = tempfile::tempdir().unwrap();
    let stopped = run(&mut fresh(), &options(Some(dir.path())), &mut StopInValidation(true)).unwrap();
    assert_eq!((stopped.epochs, stopped.steps, stopped.stopped), (0, 7, true));
    let mut state = fresh();
    same(&run(&mut state, &options(Some(dir.path())), &mut ()).unwrap(), &outcome);
    assert_eq!(bits(&state), expected);
}

#[test]
fn threads_do_not_change_the_bits() {
    let (expected, outcome) = uninterrupted();
    for count in [2, 3, 7] {
        let mut state = fresh();
        let threads = Threads::new(count).unwrap();
        let mut data = Toy::new(TRAIN, VALIDATION);
        let found = train(&plan(), &mut state, &threads, &mut [&mut data], &options(None), &mut ()).unwrap();
        same(&found, &outcome);
        assert_eq!(bits(&state), expected);
    }
}

#[derive(Default)]
struct Notices(Vec<String>, Vec<String>);

impl Progress for Notices {
    fn notice(&mut self, text: &str) {
        self.0.push(text.to_string());
    }
    fn checkpoint(&mut self, path: &Path) {
        self.1.push(path.file_name().unwrap().to_string_lossy().into_owned());
    }
}

fn files(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn two_checkpoints_are_kept_and_broken_ones_passed_over() {
    let (expected, outcome) = uninterrupted();
    let dir = tempfile::tempdir().unwrap();
    let mut notices = Notices::default();
    run(&mut fresh(), &options(Some(dir.path())), &mut notices).unwrap();
    assert_eq!(notices.0, ["there is no checkpoint yet; training starts from the beginning"]);
    let written = [3, 6, 7, 9, 12, 14, 15, 18, 21].map(|n| format!("step-{n}.safetensors"));
    assert_eq!(notices.1, written);
    assert_eq!(files(dir.path()), ["step-18.safetensors", "step-21.safetensors"]);

    let newest = dir.path().join("step-21.safetensors");
    let whole = std::fs::read(&newest).unwrap();
    let mut damaged = whole.clone();
    *damaged.last_mut().unwrap() ^= 1;
    for broken in [&whole[..whole.len() / 2], &whole[..5], &[], &damaged[..]] {
        std::fs::write(&newest, broken).unwrap();
        std::fs::write(dir.path().join(".brolga-unfinished-x"), b"left by a kill").unwrap();
        let mut notices = Notices::default();
        let mut state = fresh();
        same(&run(&mut state, &options(Some(dir.path())), &mut notices).unwrap(), &outcome);
        assert_eq!(bits(&state), expected);
        assert_eq!(notices.0.len(), 1);
        assert!(
            notices.0[0].contains("broken checkpoint") && notices.0[0].contains("step-21"),
            "{notices:?}",
            notices = notices.0
        );
        assert_eq!(files(dir.path()), ["step-18.safetensors", "step-21.safetensors"]);
        assert_eq!(TensorFile::open(&newest).unwrap().names().count(), 4);
    }

    for file in files(dir.path()) {
        std::fs::write(dir.path().join(file), b"nothing").unwrap();
    }
    let error = run(&mut fresh(), &options(Some(dir.path())), &mut ()).unwrap_err().to_string();
    assert!(error.starts_with("none of the 2 checkpoints"), "{error}");
}

#[test]
fn divergence_is_told_once() {
    let mut state = fresh();
    state.get_mut("w").unwrap().as_mut_slice::<f32>().unwrap()[2] = f32::NAN;
    let mut notices = Notices::default();
    run(&mut state, &options(None), &mut notices).unwrap();
    assert_eq!(notices.0.len(), 1);
    assert!(
        notices.0[0].starts_with("`loss` is NaN after step 1; a smaller learning rate"),
        "{}",
        notices.0[0]
    );
}

#[test]
fn resuming_asks_for_the_same_run() {
    let dir = tempfile::tempdir().unwrap();
    run(&mut fresh(), &options(Some(dir.path())), &mut ()).unwrap();

    let mut other = options(Some(dir.path()));
    other.seed = 6;
    let error = run(&mut fresh(), &other, &mut ()).unwrap_err().to_string();
    assert!(error.contains("was written by another run:\n  seed: 5 there, 6 here\nresume"), "{error}");

    let mut again = options(Some(dir.path()));
    again.checkpoints.as_mut().unwrap().resume = false;
    let error = run(&mut fresh(), &again, &mut ()).unwrap_err().to_string();
    assert!(error.contains("is from an earlier run; resume it"), "{error}");

    let mut state = fresh();
    state.insert("optim.second.w", SlotKind::Optimizer, Tensor::zeros(DType::F32, &[D]).unwrap()).unwrap();
    let error = run(&mut state, &options(Some(dir.path())), &mut ()).unwrap_err().to_string();
    assert!(error.contains("another optimiser") && error.contains("`optim.second.w`"), "{error}");
}

#[test]
fn data_that_cannot_feed_the_entry_is_refused() {
    let go = |executables: &Executables, data: &mut Toy| {
        let plan = Plan::epochs(executables.clone(), EPOCHS);
        train(&plan, &mut fresh(), &Threads::serial(), &mut [data], &options(None), &mut ())
            .unwrap_err()
            .to_string()
    };
    let few = go(&executables(), &mut Toy::new(3, 0));
    assert_eq!(few, "the data set has 3 training samples, fewer than one batch of 4; choose a smaller batch");

    let mut without = executables();
    without.evaluation.as_mut().unwrap().single = None;
    assert_eq!(
        go(&without, &mut Toy::new(TRAIN, 10)),
        "10 samples in batches of 4 leave 2, so `train.eval` is needed for single samples, too, but none was given; a \
         model gives one if its inputs have the size `batch`, and its state has not; a batch of which 10 is a multiple \
         leaves none"
    );

    let mut wrong = Toy::new(TRAIN, VALIDATION);
    wrong.rename("x", "xx", &[D + 1]);
    assert_eq!(
        go(&executables(), &mut wrong),
        "the data set cannot feed `train`: input `x` is not in the data set, which has label, xx (nearest: `xx`)"
    );
    wrong.rename("xx", "x", &[D + 1]);
    assert_eq!(
        go(&executables(), &mut wrong),
        "the data set cannot feed `train`: input `x` must be f32[4, 6], but the data set gives f32[4, 7]"
    );
}

#[test]
fn the_log_has_each_row_once_however_often_the_run_is_interrupted() {
    let rows = |path: &Path| -> Vec<String> {
        let text = std::fs::read_to_string(path).unwrap();
        // Without the seconds, which differ.
        text.lines().map(|l| l.rsplit_once(',').unwrap().0.to_string()).collect()
    };
    let log_to = |dir: &Path, directory: Option<&Path>| {
        let log = Some(LogOptions { path: dir.join("log.csv"), steps: true });
        Options { log, ..options(directory) }
    };
    let alone = tempfile::tempdir().unwrap();
    run(&mut fresh(), &log_to(alone.path(), None), &mut ()).unwrap();
    let expected = rows(&alone.path().join("log.csv"));
    assert_eq!(expected[0], "kind,epoch,step,train_loss,train_twice,validation_loss,validation_twice");
    assert_eq!(expected.len() as u64, 1 + STEPS + EPOCHS);
    assert!(expected[1].starts_with("step,1,1,") && expected[1].ends_with(",,"), "{}", expected[1]);
    assert!(expected[8].starts_with("epoch,1,7,") && !expected[8].ends_with(','), "{}", expected[8]);

    let dir = tempfile::tempdir().unwrap();
    let checkpoints = dir.path().join("checkpoints");
    for at in [2, 5, 7, 8, 8, 13, 14, 20, 21] {
        let mut die = Interrupt { at, how: How::Die, steps: vec![] };
        let options = log_to(dir.path(), Some(&checkpoints));
        let _ = catch_unwind(AssertUnwindSafe(|| run(&mut fresh(), &options, &mut die)));
        // The kill also cut a row.
        let mut text = std::fs::read_to_string(dir.path().join("log.csv")).unwrap();
        text.push_str("step,3,");
        std::fs::write(dir.path().join("log.csv"), text).unwrap();
    }
    run(&mut fresh(), &log_to(dir.path(), Some(&checkpoints)), &mut ()).unwrap();
    assert_eq!(rows(&dir.path().join("log.csv")), expected);
}
