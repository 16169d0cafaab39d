//! Metrics are those of the whole set: compared with a plain computation over all samples, for batches that do not divide
//! the set, sets smaller than a batch, any number of threads, and training that is interrupted in the middle of an epoch.

use std::path::Path;

use brolga::runtime::{
    Batches, CheckpointOptions, DType, Executables, Field, Flow, Instance, Metrics, Options, Outcome, Plan,
    Progress, Purpose, Ran, Random, Request, Result, Split, TensorMut, Update, evaluate_with, train,
};
use brolga::{Model, Settings, State, Tensor, Threads};

/// Four numbers, what they are to give, and one of three classes, which come in order: whole batches lack a class.
const MODEL: &str = "Model(
    inputs: { \"x\": \"f32[batch, 4]\", \"target\": \"f32[batch]\", \"label\": \"i32[batch]\" },
    body: [
        Aside([Linear(name: \"score\", features: 3), As(\"logits\")]),
        Linear(name: \"fc\", features: 1), Expr(\"it[:, 0]\"), As(\"y\"),
        Expr(\"argmax(logits) == label\"), As(\"hit\"),
        Expr(\"one_hot(label, 3)\"), As(\"classes\"),
    ],
    entries: {
        \"infer\": Infer(outputs: { \"y\": \"y\", \"logits\": \"logits\" }),
        \"train\": Train(
            loss: \"mse(y, target) + cross_entropy(logits, label)\",
            optimizer: Sgd(lr: 0.05, momentum: 0.9),
            metrics: {
                \"r2\": \"r2(y, target)\",
                \"r2 of totals\": \"1 - total((y - target) ** 2) / (total(target ** 2) - total(target) ** 2 / total(batch))\",
                \"accuracy\": \"accuracy(logits, label)\",
                \"of 0\": \"total(float(hit) * (label == 0)) / total(label == 0)\",
                \"of 1\": \"total(sum(float(hit) * (label == 1))) / total(sum(label == 1))\",
                \"of 2\": \"total(float(hit) * (label == 2)) / total(label == 2)\",
                \"balanced\": \"mean(total(hit[:, none] * classes, axis=0) / total(classes, axis=0))\",
                \"rmse\": \"sqrt(total((y - target) ** 2) / total(batch))\",
                \"mae\": \"mean(abs(y - target))\",
                \"twice\": \"2 * mean(y) + 1\",
            },
        ),
    },
)";

/// Samples of which each is a function of its number.
struct Data {
    fields: Vec<Field>,
    train: usize,
    validation: usize,
    /// A sample whose `x` is not finite.
    broken: Option<(Split, usize, f32)>,
}

impl Data {
    fn new(train: usize, validation: usize) -> Data {
        let field =
            |name: &str, dtype, dims: &[usize]| Field { name: name.into(), dtype, dims: dims.to_vec() };
        let fields = vec![
            field("x", DType::F32, &[4]),
            field("target", DType::F32, &[]),
            field("label", DType::I32, &[]),
        ];
        Data { fields, train, validation, broken: None }
    }

    fn sample(&self, split: Split, index: usize) -> ([f32; 4], f32, i32) {
        let mut random = Random::new(7, Purpose::Split, split as u32, index as u32);
        let mut x = [0.0; 4].map(|_: f32| random.uniform() * 2.0 - 1.0);
        let target = x[0] - 2.0 * x[1] + 0.5 * x[2] * x[3] + 0.1 * random.uniform();
        if let Some((of, at, value)) = self.broken
            && (of, at) == (split, index)
        {
            x[2] = value;
        }
        (x, target, (3 * index / self.len(split)) as i32)
    }
}

impl Batches for Data {
    fn fields(&self) -> &[Field] {
        &self.fields
    }

    fn len(&self, split: Split) -> usize {
        if split == Split::Train { self.train } else { self.validation }
    }

    fn fill(&mut self, request: &Request<'_>, field: usize, out: &mut TensorMut<'_>) -> Result<()> {
        for (place, index) in request.indices.iter().enumerate() {
            let (x, target, label) = self.sample(request.split, *index);
            match field {
                0 => out.as_mut_slice::<f32>()?[place * 4..][..4].copy_from_slice(&x),
                1 => out.as_mut_slice::<f32>()?[place] = target,
                _ => out.as_mut_slice::<i32>()?[place] = label,
            }
        }
        Ok(())
    }
}

fn model(batch: usize) -> Model {
    Model::from_text("net.ron", MODEL, &Settings::default().dim("batch", batch)).unwrap()
}

fn validated(batch: usize, samples: usize, threads: usize, state: &mut State) -> Metrics {
    let evaluation = model(batch).evaluation("train.eval", samples).unwrap().unwrap();
    let (threads, mut data) = (Threads::new(threads).unwrap(), Data::new(0, samples));
    let (mut seen, mut runs) = (Vec::new(), 0);
    let metrics = evaluate_with(&evaluation, state, &threads, &mut data, Split::Validation, &mut |ran| {
        seen.extend_from_slice(ran.indices);
        runs += 1;
        assert_eq!((ran.done, ran.runs), (runs, samples / batch + samples % batch));
        Flow::Continue
    });
    assert!(seen.iter().copied().eq(0..samples), "every sample once");
    metrics.unwrap().unwrap()
}

/// The metrics by a plain loop over all samples, of what `infer` gives for each alone.
fn expected(samples: usize, state: &mut State) -> Vec<(&'static str, f64)> {
    let infer = model(1).compile("infer").unwrap();
    let mut instance = Instance::bind(infer, state, &Threads::serial()).unwrap();
    let data = Data::new(0, samples);
    let (mut square, mut targets, mut error, mut y_sum) = (0.0, Vec::new(), 0.0, 0.0);
    let (mut hits, mut counts) = ([0.0; 3], [0.0; 3]);
    for index in 0..samples {
        let (x, target, label) = data.sample(Split::Validation, index);
        let x = Tensor::from_slice(&[1, 4], &x).unwrap();
        let outputs = instance.run_named(state, &[("x", &x)]).unwrap();
        let y = outputs[0].1.as_slice::<f32>().unwrap()[0];
        let logits = outputs[1].1.as_slice::<f32>().unwrap();
        let found = (0..3).fold(0, |best, at| if logits[at] > logits[best] { at } else { best });
        counts[label as usize] += 1.0;
        hits[label as usize] += f64::from(u8::from(found == label as usize));
        // A total's own products are in f64; a mean is one of f32.
        square += (f64::from(y) - f64::from(target)).powi(2);
        error += f64::from((y - target).abs());
        targets.push(f64::from(target));
        y_sum += f64::from(y);
    }
    let n = samples as f64;
    let of = |class: usize| hits[class] / counts[class];
    let mean = targets.iter().sum::<f64>() / n;
    let spread = targets.iter().map(|target| (target - mean).powi(2)).sum::<f64>();
    let r2 = if samples > 1 { 1.0 - square / spread } else { f64::NAN };
    vec![
        ("r2", r2),
        ("r2 of totals", 1.0 - square / spread),
        ("accuracy", hits.iter().sum::<f64>() / n),
        ("of 0", of(0)),
        ("of 1", of(1)),
        ("of 2", of(2)),
        ("balanced", (of(0) + of(1) + of(2)) / 3.0),
        ("rmse", (square / n).sqrt()),
        ("mae", error / n),
        ("twice", 2.0 * y_sum / n + 1.0),
    ]
}

fn close(a: f64, b: f64) -> bool {
    a == b || (a - b).abs() <= 1e-12 * b.abs() || a.is_nan() && b.is_nan()
}

#[test]
fn metrics_are_those_of_the_whole_set_for_any_batch() {
    for samples in [37, 5, 1] {
        let mut state = model(4).initial_state(3).unwrap();
        let expected = expected(samples, &mut state);
        let mut first: Option<Metrics> = None;
        for (batch, threads) in [(1, 1), (4, 1), (16, 1), (37, 2), (64, 1), (16, 5)] {
            let found = validated(batch, samples, threads, &mut state);
            assert_eq!(found[0].0, "loss");
            let names: Vec<&str> = found[1..].iter().map(|(name, _)| name.as_str()).collect();
            assert_eq!(names, expected.iter().map(|(name, _)| *name).collect::<Vec<_>>());
            for ((name, value), (_, expected)) in found[1..].iter().zip(&expected) {
                let about =
                    format!("{name} of {samples} samples in batches of {batch}: {value}, not {expected}");
                assert!(close(*value, *expected), "{about}");
            }
            // Sums of samples come to the same bits however they are cut into batches.
            let first = first.get_or_insert_with(|| found.clone());
            for ((name, a), (_, b)) in found.iter().zip(first.iter()) {
                let sums = ["r2", "r2 of totals", "of 0", "of 1", "of 2", "balanced", "rmse"]
                    .contains(&name.as_str());
                let same = if sums { a.to_bits() == b.to_bits() } else { close(*a, *b) };
                assert!(same, "{name} in batches of {batch}: {a}, before {b}");
            }
        }
    }
}

/// Stops behind a step.
struct StopAt(u64);

impl Progress for StopAt {
    fn update(&mut self, update: &Update<'_>) -> Flow {
        assert!(update.metrics[0].is_finite() && update.names[1] == "r2");
        if update.step == self.0 { Flow::Stop } else { Flow::Continue }
    }
}

fn trained(stop: u64, folder: Option<&Path>) -> (Outcome, State) {
    let model = model(8);
    let programs = Executables {
        train: model.compile("train").unwrap(),
        formulas: model.formulas("train", &[]).unwrap(),
        evaluation: model.evaluation("train.eval", 11).unwrap(),
    };
    let checkpoints =
        folder.map(|folder| CheckpointOptions { resume: true, ..CheckpointOptions::new(folder) });
    let options = Options { seed: 5, checkpoints, log: None };
    let plan = Plan::epochs(programs, 2);
    let mut state = model.initial_state(1).unwrap();
    let mut data = Data::new(45, 11);
    let outcome =
        train(&plan, &mut state, &Threads::serial(), &mut [&mut data], &options, &mut StopAt(stop)).unwrap();
    (outcome, state)
}

#[test]
fn training_metrics_are_those_of_the_epoch_however_often_it_stops() {
    let (alone, mut state) = trained(u64::MAX, None);
    assert_eq!((alone.steps, alone.diverged.as_ref()), (10, None));
    let value = |list: &Metrics, name: &str| list.iter().find(|(n, _)| n == name).unwrap().1;
    assert!((0.0..=1.0).contains(&value(&alone.train, "balanced")), "{:?}", alone.train);
    for (name, expected) in expected(11, &mut state) {
        let found = value(&alone.validation, name);
        assert!(close(found, expected), "{name}: {found}, not {expected}");
    }
    let folder = tempfile::tempdir().unwrap();
    for stop in [1, 3, 7, 8] {
        let (outcome, _) = trained(stop, Some(folder.path()));
        assert!(outcome.stopped);
    }
    let (resumed, _) = trained(u64::MAX, Some(folder.path()));
    let bits = |list: &Metrics| list.iter().map(|(n, v)| (n.clone(), v.to_bits())).collect::<Vec<_>>();
    assert_eq!(bits(&resumed.train), bits(&alone.train));
    assert_eq!(bits(&resumed.validation), bits(&alone.validation));
}

#[test]
fn an_entry_of_several_steps_has_an_evaluation() {
    let text = "Model(
        inputs: { \"x\": \"f32[batch, 4]\", \"target\": \"f32[batch]\", \"label\": \"i32[batch]\" },
        body: [Linear(name: \"fc\", features: 1), Dropout(0.5), Expr(\"it[:, 0]\"), As(\"y\")],
        entries: {
            \"train\": Entry(
                steps: [
                    Minimize(loss: \"mse(y, target)\", optimizer: Sgd(lr: 0.1)),
                    Update(state: \"fc.bias\", value: \"clip(parameter('fc.bias'), -0.1, 0.1)\"),
                ],
                metrics: { \"error\": \"mean(abs(y - target))\", \"rmse\": \"sqrt(total((y - target) ** 2) / total(batch))\" },
                outputs: { \"level\": \"mean(y)\", \"most\": \"max(y)\", \"ratio\": \"sum(y) / sum(target)\", \"y\": \"y\" },
            ),
            \"plain\": Entry(steps: [], outputs: { \"y\": \"y\" }),
        },
    )";
    let model = Model::from_text("net.ron", text, &Settings::default().dim("batch", 4)).unwrap();
    let entries = model.instance().entries();
    assert_eq!(entries, ["train", "train.metrics", "train.eval", "train.eval.metrics", "plain", "init"]);
    let mut state = model.initial_state(0).unwrap();
    let evaluation = model.evaluation("train.eval", 10).unwrap().unwrap();
    assert!(!evaluation.full.manifest().updates_state());
    let each = &mut |_: &Ran<'_>| Flow::Continue;
    let (threads, mut data) = (Threads::serial(), Data::new(0, 10));
    let found = evaluate_with(&evaluation, &mut state, &threads, &mut data, Split::Validation, each);
    let found = found.unwrap().unwrap();
    // Nothing is dropped in inference mode, and outputs that are no means are left out.
    let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["error", "rmse", "level"]);
    let weights: Vec<f32> = state.get("fc.weight").unwrap().as_slice::<f32>().unwrap().to_vec();
    let bias = state.get("fc.bias").unwrap().as_slice::<f32>().unwrap()[0];
    let (mut error, mut square, mut level) = (0.0, 0.0, 0.0);
    for index in 0..10 {
        let (x, target, _) = data.sample(Split::Validation, index);
        let y = f64::from(bias) + (0..4).map(|i| f64::from(x[i]) * f64::from(weights[i])).sum::<f64>();
        let difference = y - f64::from(target);
        (error, square, level) = (error + difference.abs(), square + difference * difference, level + y);
    }
    for (found, expected) in found.iter().zip([error / 10.0, (square / 10.0).sqrt(), level / 10.0]) {
        assert!((found.1 - expected).abs() < 1e-6, "{found:?}, not {expected}");
    }
}

#[test]
fn a_batch_that_is_fixed_must_divide_the_samples() {
    let text = MODEL.replace("[batch", "[4").replace("total(batch)", "total(4.0 * mean(ones))");
    let text = text.replace("As(\"classes\"),", "As(\"classes\"), Let(\"ones\", \"label * 0 + 1\"),");
    let model = Model::from_text("net.ron", &text, &Settings::default()).unwrap();
    let mut state = model.initial_state(0).unwrap();
    let evaluation = model.evaluation("train.eval", 10).unwrap().unwrap();
    let each = &mut |_: &Ran<'_>| Flow::Continue;
    let mut run = |samples| {
        let (threads, mut data) = (Threads::serial(), Data::new(0, samples));
        evaluate_with(&evaluation, &mut state, &threads, &mut data, Split::Validation, each)
    };
    assert_eq!(run(8).unwrap().unwrap().len(), 11);
    let error = run(10).unwrap_err().to_string();
    assert!(error.starts_with("10 samples in batches of 4 leave 2"), "{error}");
}

#[test]
fn what_is_no_number_in_the_data_is_called_that() {
    let model = model(8);
    let run = |data: &mut Data| {
        let programs = Executables {
            train: model.compile("train").unwrap(),
            formulas: model.formulas("train", &[]).unwrap(),
            evaluation: model.evaluation("train.eval", 11).unwrap(),
        };
        let options = Options { seed: 5, checkpoints: None, log: None };
        let plan = Plan::epochs(programs, 1);
        let mut state = model.initial_state(1).unwrap();
        let outcome = train(&plan, &mut state, &Threads::serial(), &mut [data], &options, &mut ());
        let weights = state.get("fc.weight").unwrap().as_slice::<f32>().unwrap();
        assert!(weights.iter().all(|w| w.is_finite()), "the state is that before the step");
        outcome
    };
    for value in [f32::NAN, f32::INFINITY] {
        let mut data = Data::new(48, 11);
        data.broken = Some((Split::Train, 17, value));
        let error = run(&mut data).unwrap_err().to_string();
        let what =
            format!("the data has {value} in `x` of training sample 17 (counted from 0), and so `loss` is ");
        assert!(error.starts_with(&what), "{error}");

        // What was trained is worth more than its validation.
        data.broken = Some((Split::Validation, 9, value));
        let diverged = run(&mut data).unwrap().diverged.unwrap();
        assert_eq!((diverged.what.as_str(), diverged.since), ("`loss` of the validation", None));
        let told = diverged.to_string();
        assert!(told.contains(&format!("the data has {value} in `x` of validation sample 9")), "{told}");

        let mut state = model.initial_state(1).unwrap();
        let evaluation = model.evaluation("train.eval", 11).unwrap().unwrap();
        let each = &mut |_: &Ran<'_>| Flow::Continue;
        let found =
            evaluate_with(&evaluation, &mut state, &Threads::serial(), &mut data, Split::Validation, each);
        let error = found.unwrap_err().to_string();
        assert!(error.contains("in `x` of validation sample 9"), "{error}");
    }
}
