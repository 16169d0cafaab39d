//! Plans of several phases: what they compute, and that a run interrupted anywhere in them goes on to the same bits.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use crate::common::*;
use brolga_runtime::*;

const TRAIN: usize = 30;
const VALIDATION: usize = 11;

fn trainee<const B: usize>(name: &str) -> Trainee {
    let evaluation =
        Evaluation { full: eval_program::<B>(), single: Some(eval_program::<1>()), formulas: None };
    let train = train_program::<B>();
    let measures = vec![("other".to_owned(), evaluation.clone())];
    let executables = Executables { train, formulas: None, evaluation: Some(evaluation) };
    Trainee { name: name.to_owned(), executables, measures, data: 0 }
}

/// An alternation, whose borders lie inside of epochs; then whole epochs of one, and some updates more.
fn plan() -> Plan {
    let phase = |trainee, length| Phase { trainee, length };
    let mut phases = Vec::new();
    for _ in 0..3 {
        phases.extend([phase(0, Length::Updates(5)), phase(1, Length::Updates(2))]);
    }
    phases.extend([phase(1, Length::Epochs(2)), phase(0, Length::Epochs(0)), phase(0, Length::Updates(1))]);
    Plan { trainees: vec![trainee::<4>("critic"), trainee::<5>("generator")], phases }
}

/// The trainees of all updates of [`plan`], in their order: the first epoch of the second one has been begun when it is counted.
fn updates() -> Vec<usize> {
    let mut all = Vec::new();
    for _ in 0..3 {
        all.extend([0, 0, 0, 0, 0, 1, 1]);
    }
    // Six batches of five: those of the alternation were one epoch.
    all.extend([1; 12]);
    all.push(0);
    all
}

fn options(directory: Option<&Path>) -> Options {
    let checkpoints = directory.map(|d| CheckpointOptions {
        every_steps: Some(3),
        resume: true,
        ..CheckpointOptions::new(d)
    });
    let log = directory.map(|d| LogOptions { path: d.join("log.csv"), steps: true });
    Options { seed: 5, checkpoints, log }
}

fn run(state: &mut State, options: &Options, progress: &mut dyn Progress) -> Result<Outcome> {
    let data = &mut Toy::new(TRAIN, VALIDATION);
    train(&plan(), state, &Threads::serial(), &mut [data], options, progress)
}

#[test]
fn phases_go_on_where_their_trainee_was() {
    let mut state = fresh();
    let outcome = run(&mut state, &options(None), &mut ()).unwrap();

    let (mut expected, mut data) = (fresh(), Toy::new(TRAIN, VALIDATION));
    let (batches, mut done) = ([4, 5], [0, 0]);
    let mut steps = [train_program::<4>(), train_program::<5>()]
        .map(|program| Instance::bind(program, &expected, &Threads::serial()).unwrap());
    for trainee in updates() {
        let batch: usize = batches[trainee];
        let (epoch, position) = (done[trainee] / (TRAIN / batch), done[trainee] % (TRAIN / batch));
        done[trainee] += 1;
        let mut order = [0; TRAIN];
        permutation(5, epoch as u64, &mut order);
        let indices = &order[position * batch..][..batch];
        let request = Request { split: Split::Train, indices, seed: 5, epoch: epoch as u64 };
        let mut x = [Tensor::zeros(DType::F32, &[batch, D]).unwrap()];
        data.fill(&request, 1, &mut x[0].view_mut()).unwrap();
        let mut out = [Tensor::scalar(0f32).unwrap(), Tensor::scalar(0f32).unwrap()];
        steps[trainee].run_tensors(&mut expected, &x, &mut out).unwrap();
    }
    assert_eq!(bits(&state), bits(&expected));
    assert_eq!((outcome.steps as usize, outcome.stopped), (updates().len(), false));
    // Sixteen updates of seven each, and eighteen of six.
    assert_eq!(outcome.epochs, 2 + 3);
    let names =
        |metrics: &Metrics| metrics.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>().join(" ");
    assert_eq!(names(&outcome.train), "critic.loss critic.twice generator.loss generator.twice");
    let validated = "loss twice other.loss other.twice".split(' ');
    let validated: Vec<String> = ["critic", "generator"]
        .into_iter()
        .flat_map(|trainee| validated.clone().map(move |name| format!("{trainee}.{name}")))
        .collect();
    assert_eq!(names(&outcome.validation), validated.join(" "));
    // What was trained last is evaluated with the weights as they are in the end.
    let last = evaluate(&trainee::<4>("").measures[0].1, &mut state, &Threads::serial(), &mut data).unwrap();
    assert_eq!(outcome.validation[0].1, last[0].1);
}

/// Stops, or dies, after a given step.
struct Interrupt {
    at: u64,
    dies: bool,
}

impl Progress for Interrupt {
    fn update(&mut self, update: &Update<'_>) -> Flow {
        match update.step == self.at {
            true if self.dies => std::panic::resume_unwind(Box::new(())),
            true => Flow::Stop,
            false => Flow::Continue,
        }
    }
}

/// The rows of a log, without the seconds, which differ.
fn rows(directory: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(directory.join("log.csv")).unwrap();
    text.lines().map(|line| line.rsplit_once(',').unwrap().0.to_owned()).collect()
}

#[test]
fn interrupted_anywhere_in_its_plan_it_goes_on_to_the_same_bits() {
    let alone = tempfile::tempdir().unwrap();
    let mut expected = fresh();
    let outcome = run(&mut expected, &options(Some(alone.path())), &mut ()).unwrap();
    let log = rows(alone.path());
    let is_row = |kind: &'static str| log.iter().filter(move |row| row.starts_with(kind)).count();
    // A row for each epoch, and one at the end for what the last updates of the first trainee came to.
    assert_eq!((is_row("step,"), is_row("epoch,")), (updates().len(), 5 + 1));
    for at in 1..=updates().len() as u64 {
        for dies in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let mut state = fresh();
            let mut interrupt = Interrupt { at, dies };
            let first = catch_unwind(AssertUnwindSafe(|| {
                run(&mut state, &options(Some(folder.path())), &mut interrupt).unwrap()
            }));
            assert!(first.map_or(true, |first| first.stopped), "after step {at}");
            let mut state = fresh();
            let found = run(&mut state, &options(Some(folder.path())), &mut ()).unwrap();
            assert_eq!(bits(&state), bits(&expected), "after step {at}");
            assert_eq!(
                (found.epochs, found.steps, found.train, found.validation),
                (outcome.epochs, outcome.steps, outcome.train.clone(), outcome.validation.clone()),
                "after step {at}"
            );
            assert_eq!(rows(folder.path()), log, "after step {at}");
        }
    }
}

#[test]
fn a_plan_that_names_what_is_not_there_is_refused() {
    let refused = |change: fn(&mut Plan)| {
        let mut plan = plan();
        change(&mut plan);
        let data = &mut Toy::new(TRAIN, VALIDATION);
        let error = train(&plan, &mut fresh(), &Threads::serial(), &mut [data], &options(None), &mut ());
        error.unwrap_err().to_string()
    };
    assert_eq!(refused(|plan| plan.phases[2].trainee = 2), "the plan names a trainee that is not there");
    assert_eq!(refused(|plan| plan.trainees[1].data = 1), "the plan names a data set that is not there");
}
