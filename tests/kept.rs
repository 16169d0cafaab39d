//! Carries that are kept from call to call: streams, truncated back-propagation, and what is kept apart. Takes about a second.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use brolga::models::data;
use brolga::runtime::{
    self, CheckpointOptions, ErrorKind, Executables, Field, Flow, Instance, Outcome, Plan, Progress,
    SlotKind, Split, Update,
};
use brolga::{Model, Settings, State, Tensor, Threads};

use crate::common::generate::uniform;

const ROWS: usize = 3;
const STEPS: usize = 6;

/// Elman's network over pieces of so many steps, with `start` and `kept` of its carry. It begins with other numbers than 0.
fn model(length: usize, carry: &str) -> Model {
    let text = format!(
        r#"Model(
            dims: {{ "batch": {ROWS}, "length": {length} }},
            inputs: {{
                "x": "f32[batch, length, 4]", "y": "f32[batch, length, 5]", "goes_on": "bool[batch]", "s": "f32[batch, 5]",
            }},
            body: [
                Ref("x"),
                Scan(name: "rnn", body: [
                    Carry(name: "h", {carry}),
                    Add([[Linear(name: "ih", features: 5)], [Expr("prev.h"), Linear(name: "hh", features: 5)]]),
                    Tanh, As("h"),
                ]),
                As("states"),
            ],
            entries: {{
                "infer": Infer(outputs: {{ "states": "states" }}),
                "train": Train(loss: "mse(states, y)", optimizer: Sgd(lr: 0.5)),
            }},
        )"#
    );
    Model::from_text("kept", &text, &Settings::default()).unwrap_or_else(|e| panic!("{e}"))
}

const HALF: &str = "full([batch, 5], 0.5)";

fn kept(length: usize, rows: &str) -> Model {
    model(length, &format!("start: \"{HALF}\", kept: {rows}"))
}

fn numbers(name: &str, length: usize, features: usize) -> Tensor {
    let values = uniform(name, ROWS * length * features, 1.0, 0.0);
    Tensor::from_slice(&[ROWS, length, features], &values).unwrap()
}

/// The steps from one on, so many.
fn piece(of: &Tensor, from: usize, length: usize) -> Tensor {
    let [rows, steps, features] = of.dims() else { panic!("no sequence") };
    let all = of.as_slice::<f32>().unwrap();
    let rows = (0..*rows).flat_map(|row| &all[(row * steps + from) * features..][..length * features]);
    let values: Vec<f32> = rows.copied().collect();
    Tensor::from_slice(&[ROWS, length, *features], &values).unwrap()
}

/// Which rows go on.
fn flags(rows: [bool; ROWS]) -> Tensor {
    let mut flags = Tensor::zeros(runtime::DType::Bool, &[ROWS]).unwrap();
    flags.bytes_mut().copy_from_slice(&rows.map(u8::from));
    flags
}

/// One call of an entry, with those of these inputs that it takes.
fn call(model: &Model, entry: &str, state: &mut State, given: &[(&str, &Tensor)]) -> Tensor {
    let executable = model.compile(entry).unwrap_or_else(|e| panic!("{e}"));
    let takes = |name: &str| executable.manifest().inputs.iter().any(|input| input.name == name);
    let given: Vec<(&str, &Tensor)> = given.iter().filter(|(name, _)| takes(name)).copied().collect();
    let mut instance = Instance::bind(executable.clone(), state, &Threads::serial()).unwrap();
    instance.run_named(state, &given).unwrap().swap_remove(0).1
}

#[test]
fn a_stream_has_the_bits_of_the_whole_sequence() {
    let x = numbers("x", STEPS, 4);
    let all = kept(STEPS, "true");
    let mut state = all.initial_state(1).unwrap();
    let whole = call(&all, "infer", &mut state, &[("x", &x)]);
    for length in [1, 2, 3] {
        // What the whole sequence has left is no beginning.
        state.begin_anew();
        let pieces = kept(length, "true");
        for from in (0..STEPS).step_by(length) {
            let found = call(&pieces, "infer", &mut state, &[("x", &piece(&x, from, length))]);
            assert_eq!(
                found.bytes(),
                piece(&whole, from, length).bytes(),
                "steps from {from}, {length} a call"
            );
        }
    }
    // Where it is not begun anew it goes on; another state has its own.
    let mut other = all.initial_state(1).unwrap();
    let again = call(&all, "infer", &mut state, &[("x", &x)]);
    assert_ne!(again.bytes(), whole.bytes());
    assert_eq!(call(&all, "infer", &mut other, &[("x", &x)]).bytes(), whole.bytes());
    assert_eq!(call(&all, "infer", &mut other, &[("x", &x)]).bytes(), again.bytes());
}

#[test]
fn each_row_goes_on_or_begins_anew() {
    let x = numbers("x", STEPS, 4);
    let (all, pieces) = (kept(STEPS, "true"), kept(2, "\"goes_on\""));
    let mut state = all.initial_state(1).unwrap();
    let whole = call(&all, "infer", &mut state, &[("x", &x)]);
    state.begin_anew();
    let mut run = |from: usize, rows: [bool; ROWS]| {
        call(&pieces, "infer", &mut state, &[("x", &piece(&x, from, 2)), ("goes_on", &flags(rows))])
    };
    // Before the first run there is nowhere to go on.
    assert_eq!(run(0, [true; ROWS]).bytes(), piece(&whole, 0, 2).bytes());
    let found = run(2, [true, true, false]);
    let rows = |of: &Tensor, rows: std::ops::Range<usize>| {
        of.as_slice::<f32>().unwrap()[rows.start * 10..rows.end * 10].to_vec()
    };
    assert_eq!(rows(&found, 0..2), rows(&piece(&whole, 2, 2), 0..2));
    assert_ne!(rows(&found, 2..3), rows(&piece(&whole, 2, 2), 2..3));
    // All begin anew: the first steps once more.
    assert_eq!(run(0, [false; ROWS]).bytes(), piece(&whole, 0, 2).bytes());
}

/// Three updates, each on its own piece of a sequence.
fn trained(model: &Model, rows: [bool; ROWS]) -> State {
    let (x, y) = (numbers("x", STEPS, 4), numbers("y", STEPS, 5));
    let mut state = model.initial_state(1).unwrap();
    for from in (0..STEPS).step_by(2) {
        let (x, y) = (piece(&x, from, 2), piece(&y, from, 2));
        call(model, "train", &mut state, &[("x", &x), ("y", &y), ("goes_on", &flags(rows))]);
    }
    state
}

fn weights(state: &State) -> Vec<(&str, &[u8])> {
    let weights = state.slots().iter().filter(|slot| slot.kind().is_weight());
    weights.map(|slot| (slot.name(), slot.tensor().bytes())).collect()
}

/// Where no row goes on, truncated back-propagation through time is that through the whole of what is there.
#[test]
fn without_rows_that_go_on_it_is_back_propagation_through_time() {
    let plain = trained(&model(2, &format!("start: \"{HALF}\"")), [false; ROWS]);
    let none = trained(&kept(2, "\"goes_on\""), [false; ROWS]);
    assert_eq!(weights(&plain), weights(&none));
    assert_eq!(weights(&plain), weights(&trained(&kept(2, "false"), [true; ROWS])));
    assert_ne!(weights(&plain), weights(&trained(&kept(2, "\"goes_on\""), [true; ROWS])));
}

/// An update on the second piece is one from a start that is given: no gradient goes back over the border.
#[test]
fn no_gradient_goes_back_over_the_border() {
    let (x, y) = (numbers("x", STEPS, 4), numbers("y", STEPS, 5));
    let (model, given) = (kept(2, "true"), model(2, "start: \"s\""));
    let mut state = model.initial_state(1).unwrap();
    for from in [0, 2, 4] {
        let (x, y) = (piece(&x, from, 2), piece(&y, from, 2));
        let mut before = given.initial_state(1).unwrap();
        for slot in state.slots() {
            if before.position(slot.name()).is_some() {
                before.set(slot.name(), slot.tensor().try_clone().unwrap()).unwrap();
            }
        }
        let half = Tensor::from_slice(&[ROWS, 5], &[0.5f32; ROWS * 5]).unwrap();
        let start =
            if from == 0 { half } else { state.get("kept.train.rnn.h").unwrap().try_clone().unwrap() };
        call(&given, "train", &mut before, &[("x", &x), ("y", &y), ("s", &start)]);
        call(&model, "train", &mut state, &[("x", &x), ("y", &y)]);
        assert_eq!(weights(&before), weights(&state), "the piece from step {from}");
    }
}

/// Every entry keeps its own, beside the weights.
#[test]
fn entries_keep_their_own() {
    let model = kept(2, "true");
    let mut state = model.initial_state(1).unwrap();
    let names: Vec<&str> = ["infer", "train", "train.eval"]
        .into_iter()
        .flat_map(|entry| {
            let found =
                state.slots().iter().filter(|slot| slot.kind() == SlotKind::Kept).map(|slot| slot.name());
            let own = move |name: &&str| {
                let end = name.strip_prefix("kept.").and_then(|name| name.strip_prefix(entry));
                end == Some(".rnn.h") || end == Some(".rnn.h.begun")
            };
            found.filter(own).collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(names.len(), 6, "{names:?}");
    let (x, y) = (numbers("x", 2, 4), numbers("y", 2, 5));
    let ended =
        |state: &State, entry: &str| state.get(&format!("kept.{entry}.rnn.h.begun")).unwrap().bytes()[0] == 1;
    call(&model, "train.eval", &mut state, &[("x", &x), ("y", &y)]);
    assert_eq!(["infer", "train", "train.eval"].map(|entry| ended(&state, entry)), [false, false, true]);
    call(&model, "infer", &mut state, &[("x", &x)]);
    assert_eq!(["infer", "train", "train.eval"].map(|entry| ended(&state, entry)), [true, false, true]);
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

/// Truncated back-propagation on a sequence of which each row has eight pieces: two epochs.
fn follows(
    model: &Model,
    state: &mut State,
    folder: Option<&Path>,
    progress: &mut dyn Progress,
) -> runtime::Result<Outcome> {
    let train = model.compile("train").unwrap();
    let field = |input: &runtime::Input| Field {
        name: input.name.clone(),
        dtype: input.dtype,
        dims: input.dims_of_one(),
    };
    let fields: Vec<Field> = train.manifest().inputs.iter().map(field).collect();
    let set = Path::new("mk2(continuous: true, count: 32)");
    let mut data = data::open(set, &fields, &model.data_options(0))?;
    let samples = data.len(Split::Validation);
    let evaluation = model.evaluation("train.eval", samples).unwrap();
    let executables = Executables { train, formulas: model.formulas("train", &[]).unwrap(), evaluation };
    let checkpoints = folder.map(|folder| CheckpointOptions {
        every_steps: Some(3),
        resume: true,
        ..CheckpointOptions::new(folder)
    });
    let options = runtime::Options { seed: 3, checkpoints, log: None };
    let plan = Plan::epochs(executables, 2);
    runtime::train(&plan, state, &Threads::serial(), &mut [&mut *data], &options, progress)
}

fn tbptt(batch: usize) -> Model {
    let settings = Settings::default().with("hidden", "6").with("length", "4").dim("batch", batch);
    Model::load("tbptt", &settings).unwrap()
}

fn all(state: &State) -> Vec<(&str, &[u8])> {
    state.slots().iter().map(|slot| (slot.name(), slot.tensor().bytes())).collect()
}

#[test]
fn interrupted_in_a_sequence_it_goes_on_to_the_same_bits() {
    let model = tbptt(4);
    let fresh = || model.initial_state(3).unwrap();
    let mut expected = fresh();
    let outcome = follows(&model, &mut expected, None, &mut ()).unwrap();
    assert_eq!(outcome.steps, 16);
    assert!(expected.get("kept.train.rnn.h").unwrap().as_slice::<f32>().unwrap().iter().all(|h| *h != 0.0));
    // In the first row of pieces and in the second one, at their border, and beside it.
    for at in [1, 5, 7, 8, 9, 14] {
        for dies in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let mut state = fresh();
            let mut interrupt = Interrupt { at, dies };
            let first = catch_unwind(AssertUnwindSafe(|| {
                follows(&model, &mut state, Some(folder.path()), &mut interrupt).unwrap()
            }));
            assert!(first.map_or(true, |first| first.stopped), "after step {at}");
            let mut state = fresh();
            let found = follows(&model, &mut state, Some(folder.path()), &mut ()).unwrap();
            assert!(all(&state) == all(&expected), "after step {at}");
            assert_eq!(found.validation, outcome.validation, "after step {at}");
        }
    }
}

/// Single samples have no place in a sequence that the batch goes through: what is left over is told, with a way out.
#[test]
fn what_a_batch_leaves_over_of_a_sequence_is_told() {
    let model = tbptt(6);
    let mut state = model.initial_state(3).unwrap();
    let error = follows(&model, &mut state, None, &mut ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data);
    assert!(error.to_string().contains("a batch of which 640 is a multiple leaves none"), "{error}");
}
