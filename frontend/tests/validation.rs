//! The loss of a validation is that of the whole set as one batch, in whatever batches the set comes: for every loss of the
//! language with each of its arguments, against PyTorch's values (`references/losses.tsv`) where there are some, and against
//! the whole set as one batch.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;

use brolga_frontend::{Instance, Model, Settings, language, no_imports};
use brolga_ir::ops::Role;
use brolga_ir::{DType, Tensor};

use crate::common::{lines, mistakes, numbers, run, wave};

const SAMPLES: usize = 6;
const LABELS: [i32; SAMPLES] = [0, 3, 4, 1, 1, 2];

/// Arguments that the rows of PyTorch do not have, and formulas that are no functions.
const MORE: &[&str] = &[
    "cross_entropy(x, label, ignore_index=1)",
    "cross_entropy(x, label, ignore_index=1, smoothing=0.2, weights=[0.5, 1, 2, 0.25, 1.5], axis=1)",
    "cross_entropy(x, label, ignore_index=0, reduction='sum')",
    "nll(log_softmax(x), label, ignore_index=3, axis=1)",
    "focal(x, label, gamma=1.5, weights=[0.5, 1, 2, 0.25, 1.5], ignore_index=1, axis=1)",
    "focal(x, label, reduction='sum')",
    "l1(x, t, reduction='sum')",
    "smooth_l1(x, t, beta=0.3, reduction='sum')",
    "huber(x, t, reduction='sum')",
    "hinge(x, sign(t), reduction='sum')",
    "bce(sigmoid(x), sigmoid(t), pos_weight=[1, 2, 3, 4, 5], weights=[5, 4, 3, 2, 1])",
    "bce(sigmoid(x), sigmoid(t), reduction='sum')",
    "bce_with_logits(x, sigmoid(t), pos_weight=2, weights=[5, 4, 3, 2, 1], reduction='sum')",
    "kl(log_softmax(x), softmax(t))",
    "gauss_nll(x, t, exp(t[:, :1]), reduction='sum')",
    // Formulas of sums, as they are written.
    "sum((label == 1) * cross_entropy(x, label, reduction='none')) / sum(label == 1)",
    "sqrt(mean((x - t) ** 2))",
    "1 - 2 * sum(x * t) / (sum(x ** 2) + sum(t ** 2))",
    "mean((x - t) ** 2) * batch",
    "sum((x - t) ** 2) / batch",
    "sum((x - t) ** 2) / batch * sum(label) / batch",
    "mse(x, t) + 0.1 * norm(parameter('w')) + 0.3 * cross_entropy(x, label, weights=[0.5, 1, 2, 0.25, 1.5])",
    "mean(x) * mean(t) - mean(x * t)",
    "0.1 * sum(parameter('w') ** 2)",
];

/// Losses of which a set has none.
const OF_A_BATCH: &[&str] = &[
    "cross_entropy(x @ transpose(t, [1, 0]), label * 0, axis=1)",
    "mean((x - mean(x, axis=0)) ** 2)",
    "max((x - t) ** 2)",
    "mean(cumsum(x, axis=0) * t)",
    "mean(x * t[::-1])",
    "mse(x, t) / log(batch + 2)",
];

fn model(entry: &str) -> String {
    format!(
        "Model(
            inputs: {{ \"p\": \"f32[batch, 5]\", \"t\": \"f32[batch, 5]\", \"label\": \"i32[batch]\" }},
            body: [Parameter(name: \"w\", dims: [5]), Let(\"x\", \"p * w\")],
            entries: {{ \"train\": {entry} }},
        )"
    )
}

fn trained(loss: &str) -> String {
    model(&format!("Train(loss: \"{loss}\", optimizer: Sgd(lr: 0.1))"))
}

fn instance(text: &str, batch: usize) -> Instance {
    instance_of(text, batch, DType::F64)
}

fn instance_of(text: &str, batch: usize, float: DType) -> Instance {
    let settings = Settings { float, ..Settings::default() }.dim("batch", batch);
    Model::parse("test.ron", text, &no_imports)
        .and_then(|model| model.instantiate(&settings))
        .unwrap_or_else(|diagnostics| panic!("{text}\n{diagnostics}"))
}

/// The inputs of some samples, and the state.
fn values(samples: Range<usize>) -> HashMap<String, Tensor> {
    let rows = |whole: Tensor| {
        Tensor::f64([samples.len(), 5], numbers(&whole)[samples.start * 5..samples.end * 5].to_vec())
    };
    HashMap::from([
        ("p".into(), rows(wave(&[SAMPLES, 5], 2.0, 0.9, 0.1))),
        ("t".into(), rows(wave(&[SAMPLES, 5], 1.0, 1.3, 0.5))),
        ("label".into(), Tensor::i32([samples.len()], &LABELS[samples.clone()])),
        ("w".into(), Tensor::f64([5], [1.0; 5])),
    ])
}

/// The loss of the validation of all samples.
fn validated(loss: &str, batch: usize) -> Option<f64> {
    let instances = [batch, 1].map(|batch| instance(&trained(loss), batch));
    of_set(&instances, [batch, SAMPLES], &values, "loss")
}

/// A metric of all samples: of whole batches, then of single samples, for which the second instance is.
fn of_set(
    [full, single]: &[Instance; 2],
    [batch, samples]: [usize; 2],
    values: &dyn Fn(Range<usize>) -> HashMap<String, Tensor>,
    metric: &str,
) -> Option<f64> {
    let mut sums: HashMap<String, Vec<f64>> = HashMap::new();
    let mut at = 0;
    while at < samples {
        let (instance, size) = if at + batch <= samples { (full, batch) } else { (single, 1) };
        let results = run(instance.graph("train.eval")?, &values(at..at + size));
        for (name, value) in results {
            let is_total = name.starts_with("total.");
            let (parts, times) = if is_total { (value.dims()[0], 1.0) } else { (1, size as f64) };
            let elements = value.elements() / parts.max(1);
            let sums = sums.entry(name).or_insert_with(|| vec![0.0; elements]);
            numbers(&value).iter().enumerate().for_each(|(at, value)| sums[at % elements] += value * times);
        }
        at += size;
    }
    sums.iter_mut()
        .filter(|(name, _)| !name.starts_with("total."))
        .for_each(|(_, sum)| sum[0] /= samples as f64);
    let Some(formulas) = full.graph("train.eval.metrics") else {
        return sums.get(metric).map(|mean| mean[0]);
    };
    let mut given = values(0..0);
    for &id in formulas.parameters() {
        let parameter = formulas.parameter(id).expect("a parameter");
        if parameter.role == Role::Data {
            let sum = Tensor::f64(parameter.ty.dims.clone(), sums[&parameter.name].clone());
            given.insert(parameter.name.clone(), sum);
        }
    }
    run(formulas, &given).get(metric).map(|value| numbers(value)[0])
}

fn close(found: f64, expected: f64) -> bool {
    (found - expected).abs() <= 1e-9 * expected.abs().max(1.0)
}

/// The loss of all samples as one batch, as an output.
fn of_one_batch(loss: &str) -> f64 {
    let instance = instance(&model(&format!("Infer(outputs: {{ \"loss\": \"{loss}\" }})")), SAMPLES);
    numbers(&run(instance.graph("train").expect("an entry"), &values(0..SAMPLES))["loss"])[0]
}

/// Losses of PyTorch's table that are one number of samples, and their values.
fn rows() -> Vec<(String, Option<f64>)> {
    let of_pytorch = lines(include_str!("references/losses.tsv"))
        .filter(|fields| !fields[0].contains("'none'") && !fields[0].contains("[:5]"))
        .map(|fields| {
            (fields[0].to_owned(), fields[1].split(' ').next().and_then(|number| number.parse().ok()))
        });
    of_pytorch
        .filter(|(text, _)| differentiable(text))
        .chain(MORE.iter().map(|text| (text.to_string(), None)))
        .collect()
}

/// Whether it can be a loss at all.
fn differentiable(text: &str) -> bool {
    !text.contains("accuracy") && !text.contains("argmax")
}

#[test]
fn the_loss_of_a_set_is_the_same_in_any_batches() {
    for (loss, pytorch) in rows() {
        let expected = of_one_batch(&loss);
        assert!(pytorch.is_none_or(|value| close(expected, value)), "{loss}: {expected}, not {pytorch:?}");
        for batch in [1, 3, 4, SAMPLES, 7] {
            let found = validated(&loss, batch).unwrap_or_else(|| panic!("{loss}: left out"));
            assert!(close(found, expected), "{loss} in batches of {batch}: {found}, not {expected}");
        }
        assert_eq!(instance(&trained(&loss), 3).notes("train").count(), 0, "{loss}");
    }
}

#[test]
fn a_loss_of_what_is_in_a_batch_together_is_left_out() {
    for loss in OF_A_BATCH {
        let instance = instance(&trained(loss), 3);
        assert!(instance.graph("train.eval").is_none(), "{loss}");
        let notes: Vec<&str> = instance.notes("train").collect();
        assert!(matches!(notes[..], [note] if note.starts_with("the loss is left out")), "{loss}: {notes:?}");
        let text = trained(loss).replace("Sgd(lr: 0.1)", "Sgd(lr: 0.1), metrics: { \"m\": \"mse(x, t)\" }");
        assert_eq!(mistakes(&text), "", "{loss}");
    }
}

#[test]
fn every_argument_of_a_loss_has_a_row() {
    let rows = rows();
    let mut missing = BTreeSet::new();
    for function in language::functions() {
        if function.argument("reduction").is_none() {
            continue;
        }
        let called = format!("{}(", function.name);
        let calls: Vec<&String> =
            rows.iter().map(|(text, _)| text).filter(|text| text.starts_with(&called)).collect();
        for argument in function.arguments.iter().filter(|argument| !argument.required) {
            let given = format!("{}=", argument.name);
            if !calls.iter().any(|text| text.contains(&given)) {
                missing.insert(format!("{}({})", function.name, argument.name));
            }
        }
        assert!(!calls.is_empty(), "{}", function.name);
    }
    assert!(missing.is_empty(), "no row for {missing:?}");
}

/// `r2` in f32, of `[samples, outputs]`, by batches of 4 and single samples.
fn r2(found: &[f32], target: &[f32], outputs: usize) -> f64 {
    let text = format!(
        "Model(
            inputs: {{ \"y\": \"f32[batch, {outputs}]\", \"t\": \"f32[batch, {outputs}]\" }},
            body: [Parameter(name: \"w\", dims: [])],
            entries: {{ \"train\": Train(
                loss: \"mse(y * w, t)\", optimizer: Sgd(lr: 0.1), metrics: {{ \"r2\": \"r2(y, t)\" }},
            ) }},
        )"
    );
    let given = |samples: Range<usize>| {
        let rows = |all: &[f32]| {
            let own = all[samples.start * outputs..samples.end * outputs].to_vec();
            Tensor::f32([samples.len(), outputs], own)
        };
        let w = Tensor::f32([], [1.0]);
        HashMap::from([("y".into(), rows(found)), ("t".into(), rows(target)), ("w".into(), w)])
    };
    let instances = [4, 1].map(|batch| instance_of(&text, batch, DType::F32));
    of_set(&instances, [4, found.len() / outputs], &given, "r2").expect("a metric")
}

/// The definition, in two passes, of one output.
fn r2_by_hand(found: &[f32], target: &[f32]) -> f64 {
    let mean = target.iter().map(|t| f64::from(*t)).sum::<f64>() / target.len() as f64;
    let spread: f64 = target.iter().map(|t| (f64::from(*t) - mean).powi(2)).sum();
    let errors: f64 = found.iter().zip(target).map(|(y, t)| (f64::from(*t) - f64::from(*y)).powi(2)).sum();
    1.0 - errors / spread
}

#[test]
fn r2_is_stable() {
    // Far from 0, squares of f32 say nothing of the variance.
    for offset in [0.0, 1e3, 1e6, -1e7] {
        let target: Vec<f32> = (0..23).map(|i| offset + ((i * 37) % 23) as f32).collect();
        let found: Vec<f32> = target.iter().enumerate().map(|(i, t)| t + (i % 5) as f32 - 2.0).collect();
        let (value, expected) = (r2(&found, &target, 1), r2_by_hand(&found, &target));
        assert!((value - expected).abs() < 1e-4, "{offset}: {value}, not {expected}");
    }
    // Of several outputs the mean, as scikit-learn's `uniform_average`.
    let target: Vec<f32> = (0..22).map(|i| ((i * 7) % 11) as f32).collect();
    let found: Vec<f32> = target.iter().enumerate().map(|(i, t)| t + (i % 3) as f32).collect();
    let column = |all: &[f32], at| all.iter().skip(at).step_by(2).copied().collect::<Vec<f32>>();
    let of_columns = [0, 1].map(|at| r2_by_hand(&column(&found, at), &column(&target, at)));
    assert!((r2(&found, &target, 2) - (of_columns[0] + of_columns[1]) / 2.0).abs() < 1e-9);
    // Without a variance there is none.
    assert!(r2(&[1.5], &[1.0], 1).is_nan());
    assert!(r2(&[0.1; 9], &[0.3; 9], 1).is_nan());
    assert!(r2(&[1.0, 2.0, 3.0, f32::NAN], &[1.0, 2.0, 3.0, 5.0], 1).is_nan());
    let found = mistakes(&trained("1 - r2(x, t)"));
    assert!(found.contains("`r2` belongs into metrics"), "{found}");
}

/// Every kind of entry has metrics of the whole set, means and formulas of totals, with a body of its own and without.
#[test]
fn all_kinds_of_entries_have_metrics() {
    let metrics =
        "metrics: { \"ratio\": \"total(sum(z * t)) / total(sum(t ** 2))\", \"mae\": \"mean(abs(z - t))\",
        \"count\": \"sqrt(total(batch) + total(label == 1))\" }";
    let own = "body: [Let(\"z\", \"x + 0\")]";
    let step = "loss: \"mean(z)\", optimizer: Sgd(lr: 0.1)";
    let all = values(0..SAMPLES);
    let (x, t) = (numbers(&all["p"]), numbers(&all["t"]));
    let sum = |of: &dyn Fn(f64, f64) -> f64| x.iter().zip(&t).map(|(x, t)| of(*x, *t)).sum::<f64>();
    let expected = [
        ("ratio", sum(&|x, t| x * t) / sum(&|_, t| t * t)),
        ("mae", sum(&|x, t| (x - t).abs()) / x.len() as f64),
        ("count", ((SAMPLES + 2) as f64).sqrt()),
    ];
    for (entry, trains) in [
        (format!("Train({own}, {step}, {metrics})"), true),
        (format!("Entry({own}, steps: [Minimize({step})], {metrics})"), true),
        (format!("Entry({own}, mode: \"infer\", steps: [Update({{ \"w\": \"it + 1\" }})], {metrics})"), true),
        (format!("Infer({own}, {metrics})"), false),
        (format!("Infer({own}, outputs: {{ \"y\": \"z\" }}, {metrics})"), false),
    ] {
        for entry in [
            entry.clone(),
            entry
                .replace(&format!("{own}, "), "")
                .replace("z *", "x *")
                .replace("z -", "x -")
                .replace("(z)", "(x)")
                .replace("\"z\"", "\"x\""),
        ] {
            let text = model(&entry);
            for batch in [4, 1] {
                let instances = [batch, 1].map(|batch| instance(&text, batch));
                for (metric, expected) in expected {
                    let found = of_set(&instances, [batch, SAMPLES], &values, metric);
                    assert!(
                        found.is_some_and(|found| close(found, expected)),
                        "{metric} of {entry}: {found:?}"
                    );
                }
                // In training they are those of an epoch.
                assert_eq!(instances[0].graph("train.metrics").is_some(), trains, "{entry}");
            }
        }
    }
}
