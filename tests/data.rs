//! What training knows of the data, everything that runs the model knows: preparation is fitted once, saved with the
//! weights and part of every entry, so that everything takes raw values.

#![cfg(feature = "cli")]

use std::path::Path;

use brolga::runtime::{DType, TensorRef, read_tensors, write_tensors};
use brolga::{Model, Network, Settings, Tensor, Threads, fitted};

use crate::cli::{bad, folder, good, run};

const MODEL: &str = r#"Model(
    data: Data(prepare: { "x": [Standardize], "t": [Standardize] }),
    inputs: { "x": "f32[batch, 3]", "t": "f32[batch]" },
    body: [Linear(name: "fc", features: 1), Expr("it[:, 0]"), As("y")],
    entries: {
        "infer": Infer(outputs: { "y": "y * data.t.std + data.t.mean" }),
        "train": Train(loss: "mse(y, t)", optimizer: Sgd(lr: 0.05), metrics: { "mean": "mean(x)" }),
    },
)"#;

/// Samples of three features of very different sizes, and what is to be predicted of them.
fn table(samples: usize) -> (Vec<f32>, Vec<f32>) {
    let wave = |i: usize, turn: usize| ((i * turn) % 23) as f32 - 11.0;
    let x = |i: usize| [1000.0 + 100.0 * wave(i, 7), 0.01 * wave(i, 5), wave(i, 3)];
    let t = |i: usize| 3.0 * wave(i, 7) - 2.0 * wave(i, 5) + 50.0;
    ((0..samples).flat_map(x).collect(), (0..samples).map(t).collect())
}

fn write(path: &Path, samples: usize) {
    let (x, t) = table(samples);
    let (xs, ts) = ([samples, 3], [samples]);
    let tensors =
        [("x", TensorRef::from_slice(&xs, &x).unwrap()), ("t", TensorRef::from_slice(&ts, &t).unwrap())];
    write_tensors(path, &tensors).unwrap();
}

fn moments(values: &[f32]) -> (f64, f64) {
    let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / values.len() as f64;
    let squares = values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>();
    (mean, (squares / values.len() as f64).sqrt())
}

#[test]
fn what_is_fitted_is_shown_saved_and_used() {
    let folder = folder();
    let at = folder.path();
    std::fs::write(at.join("table.ron"), MODEL).unwrap();
    write(&at.join("data.npz"), 100);
    let output = run(at, "train table.ron --data data.npz --epochs 40 --batch 8 --seed 3");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    assert!(errors.contains("  data.x.mean ") && errors.contains("  data.t.std "), "{errors}");

    // Those of the training part.
    let model = Model::load(at.join("table.ron").to_str().unwrap(), &Settings::default()).unwrap();
    let mut network = Network::new(model, Threads::serial()).unwrap();
    network.load_weights(at.join("table.safetensors")).unwrap();
    let values = fitted(network.state());
    let names: Vec<&str> = values.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["data.x.mean", "data.x.std", "data.t.mean", "data.t.std"]);
    let (x, t) = table(100);
    for feature in 0..3 {
        let column: Vec<f32> = x.iter().skip(feature).step_by(3).copied().collect();
        let (mean, std) = moments(&column);
        assert!((values[0].1[feature] - mean).abs() < 0.2 * std, "{values:?}");
        assert!((values[1].1[feature] / std - 1.0).abs() < 0.2, "{values:?}");
    }

    // Raw values in, raw values out.
    let x = Tensor::from_slice(&[100, 3], &x).unwrap();
    let outputs = network.run("infer", &[("x", &x)]).unwrap();
    let y = outputs[0].1.as_slice::<f32>().unwrap();
    let (_, spread) = moments(&t);
    let error = y.iter().zip(&t).map(|(y, t)| f64::from(y - t).powi(2)).sum::<f64>() / 100.0;
    assert!(error.sqrt() < 0.1 * spread, "{} of {spread}", error.sqrt());
    good(at, "run table.ron --weights table.safetensors --inputs data.npz --outputs out.npz");
    assert_eq!(read_tensors(at.join("out.npz")).unwrap()[0].1.as_slice::<f32>().unwrap(), y);
}

#[test]
fn fitting_sees_every_training_sample_and_nothing_else() {
    let model = Model::from_text("table", MODEL, &Settings::default()).unwrap();
    let folder = folder();
    let path = folder.path().join("data.npz");
    let (x, t) = table(31);
    let (xs, ts) = ([31, 3], [31]);
    // A held-out part of its own, far away from the rest.
    let far = [1e6f32; 3];
    let tensors = [
        ("x", TensorRef::from_slice(&xs, &x).unwrap()),
        ("t", TensorRef::from_slice(&ts, &t).unwrap()),
        ("validation.x", TensorRef::from_slice(&[1, 3], &far).unwrap()),
        ("validation.t", TensorRef::from_slice(&[1], &far[..1]).unwrap()),
    ];
    write_tensors(&path, &tensors).unwrap();
    let field = |name: &str, dims: &[usize]| brolga::runtime::Field {
        name: name.into(),
        dtype: DType::F32,
        dims: dims.into(),
    };
    let fields = [field("x", &[3]), field("t", &[])];
    let mut data = brolga::models::data::open(&path, &fields, &Default::default()).unwrap();
    let mut states = Vec::new();
    for threads in [1, 2] {
        let mut state = model.initial_state(0).unwrap();
        model.fit(&mut state, &Threads::new(threads).unwrap(), &mut *data).unwrap();
        states.push(fitted(&state).into_iter().map(|(_, values)| values).collect::<Vec<_>>());
    }
    assert_eq!(states[0], states[1]);
    for feature in 0..3 {
        let column: Vec<f32> = x.iter().skip(feature).step_by(3).copied().collect();
        let (mean, std) = moments(&column);
        assert!((states[0][0][feature] - mean).abs() < 1e-6 * mean.abs().max(1e-3), "{mean}: {states:?}");
        assert!((states[0][1][feature] / std - 1.0).abs() < 1e-6);
    }
    let (mean, std) = moments(&t);
    assert!((states[0][2][0] - mean).abs() < 1e-5 && (states[0][3][0] / std - 1.0).abs() < 1e-6);

    // NaN in the data is called that.
    let mut broken = x;
    broken[40] = f32::NAN;
    let tensors =
        [("x", TensorRef::from_slice(&xs, &broken).unwrap()), ("t", TensorRef::from_slice(&ts, &t).unwrap())];
    write_tensors(&path, &tensors).unwrap();
    let mut data = brolga::models::data::open(&path, &fields, &Default::default()).unwrap();
    let mut state = model.initial_state(0).unwrap();
    let error = model.fit(&mut state, &Threads::serial(), &mut *data).unwrap_err().to_string();
    assert!(error.contains("NaN in `x`") && error.contains("`data.x` cannot be fitted"), "{error}");
}

/// Weights from elsewhere do not say what they were trained on: data are taken as they are, and that is told.
#[test]
fn weights_without_fitted_values() {
    let folder = folder();
    let at = folder.path();
    let model = Model::load("softmax-regression", &Settings::default()).unwrap();
    let mut state = model.initial_state(0).unwrap();
    let weight: Vec<f32> = (0..7840).map(|i| ((i * 37) % 101) as f32 / 500.0 - 0.1).collect();
    state.set("fc.weight", Tensor::from_slice(&[10, 784], &weight).unwrap()).unwrap();
    let named = ["fc.weight", "fc.bias"].map(|name| (name, state.get(name).unwrap().view()));
    write_tensors(at.join("torch.safetensors"), &named).unwrap();
    let image: Vec<f32> = (0..1568).map(|i| ((i * 13) % 256) as f32 / 255.0).collect();
    let scaled: Vec<f32> = image.iter().map(|v| (v - 0.25) / 0.5).collect();
    for (name, image) in [("raw.npz", &image), ("scaled.npz", &scaled)] {
        let image = TensorRef::from_slice(&[2, 1, 28, 28], image).unwrap();
        write_tensors(at.join(name), &[("image", image)]).unwrap();
    }
    let of = |arguments: &str| {
        let output = run(at, &format!("run softmax-regression --weights torch.safetensors {arguments}"));
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{errors}");
        let outputs = read_tensors(at.join("o.npz")).unwrap();
        (outputs[0].1.as_slice::<f32>().unwrap().to_vec(), errors)
    };
    let (raw, note) = of("--inputs raw.npz --outputs o.npz");
    assert!(note.contains("has no data.image.mean, data.image.std") && note.contains("--fitted"), "{note}");
    let (already, _) = of("--inputs scaled.npz --outputs o.npz");
    let told = "--fitted image.mean=0.25 --fitted data.image.std=0.5";
    let (prepared, note) = of(&format!("--inputs raw.npz --outputs o.npz {told}"));
    assert!(!note.contains("data.image"), "{note}");
    assert_eq!(prepared, already);
    assert_ne!(raw, prepared);
    let wrong = |given: &str| {
        bad(
            at,
            &format!(
                "run softmax-regression --weights torch.safetensors --inputs raw.npz --outputs o.npz {given}"
            ),
        )
    };
    assert!(wrong("--fitted image.men=1").contains("data.image.mean"));
    assert!(wrong("--fitted image.std=0").contains("above 0"));
    assert!(wrong("--fitted image.mean=1,2").contains("one number"));
    assert!(wrong("--fitted image.mean=x").contains("found `x`"));
    // Weights that know more than the model does are refused, as the values would go unprepared.
    let text = MODEL.replace("Data(prepare: { \"x\": [Standardize], \"t\": [Standardize] })", "\"digits\"");
    let plain = text.replace("y * data.t.std + data.t.mean", "y");
    std::fs::write(at.join("table.ron"), MODEL).unwrap();
    std::fs::write(at.join("plain.ron"), plain).unwrap();
    write(&at.join("data.npz"), 40);
    good(at, "train table.ron --data data.npz --epochs 1 --batch 8");
    let errors = bad(at, "run plain.ron --weights table.safetensors --inputs data.npz --outputs o.npz");
    assert!(errors.contains("`data.x.mean` is unknown to the model"), "{errors}");
}

const SHAPES: &str = r#"Model(
    data: Data(prepare: [Standardize], augment: [RandomFlip, RandomCrop(padding: 1)]),
    dims: { "batch": 8 },
    inputs: { "image": "f32[batch, 3, 14, 14]", "label": "i32[batch]" },
    body: [Conv2d(name: "conv", features: 8, kernel: 3), Relu, GlobalAvgPool, Linear(name: "fc", features: 3), As("logits")],
    entries: {
        "infer": Infer(outputs: { "probability": "softmax(logits)" }),
        "train": Train(
            loss: "cross_entropy(logits, label)", optimizer: Adam(lr: 0.02), metrics: { "accuracy": "accuracy(logits, label)" },
        ),
    },
)"#;

const CLASSES: [&str; 3] = ["across", "down", "plain"];

/// Pictures of stripes across and down, and of none, in folders by class, of another size than the model's.
fn draw(folder: &Path) {
    let pixel = |class: usize, number: usize, x: usize, y: usize| {
        let stripe = match class {
            0 => y / 2 % 2,
            1 => x / 2 % 2,
            _ => 0,
        };
        let noise = (x * 31 + y * 17 + number * 97 + class * 7) % 41;
        [stripe * 120 + noise + number * 2, stripe * 90 + noise, 40 + noise].map(|v| v.min(255) as u8)
    };
    for (part, count) in [("train", 24), ("val", 5)] {
        for (class, name) in CLASSES.iter().enumerate() {
            let within = folder.join(part).join(name);
            std::fs::create_dir_all(&within).unwrap();
            for number in 0..count {
                let file = std::fs::File::create(within.join(format!("{number}.png"))).unwrap();
                let mut encoder = png::Encoder::new(file, 16, 16);
                encoder.set_color(png::ColorType::Rgb);
                let shift = if part == "val" { 30 } else { 0 };
                let pixels: Vec<u8> =
                    (0..256).flat_map(|i| pixel(class, number + shift, i % 16, i / 16)).collect();
                encoder.write_header().unwrap().write_image_data(&pixels).unwrap();
            }
        }
    }
}

/// A C program that reads weights from `shapes.safetensors` and pictures from `images`, and writes the probabilities of each.
const C_PROGRAM: &str = r#"
#include "net.h"
#include <stdio.h>
static unsigned char state[NET_STATE_BYTES], scratch[NET_SCRATCH_BYTES], file[NET_FILE_BYTES + 4096];
int main(void) {
    static float image[NET_INFER_INPUT_IMAGE_BYTES / sizeof(float)];
    float probability[3];
    FILE *weights = fopen("shapes.safetensors", "rb"), *images = fopen("images", "rb");
    net model;
    net_setup(&model, state, scratch);
    if (net_load_state(&model, file, fread(file, 1, sizeof file, weights)) != 0) return 1;
    while (fread(image, 1, NET_INFER_INPUT_IMAGE_BYTES, images) == NET_INFER_INPUT_IMAGE_BYTES) {
        if (net_infer(&model, image, probability) != 0) return 2;
        fwrite(probability, 1, sizeof probability, stdout);
    }
    return 0;
}
"#;

fn json(folder: &Path, arguments: &str) -> serde_json::Value {
    serde_json::from_str(&good(folder, arguments)).unwrap()
}

/// The same pictures: the same labels and the same bits, whoever looks at them.
#[test]
fn validation_evaluation_run_facade_and_c_agree() {
    let folder = folder();
    let at = folder.path();
    std::fs::write(at.join("shapes.ron"), SHAPES).unwrap();
    draw(&at.join("pictures"));
    let trained = json(at, "train shapes.ron --data pictures --epochs 12 --seed 1 --json");
    assert!(trained["validation"]["accuracy"].as_f64().unwrap() > 0.9, "{trained}");

    let evaluated = json(
        at,
        "evaluate shapes.ron --weights shapes.safetensors --data pictures --predictions all.csv --json",
    );
    assert_eq!(evaluated["metrics"], trained["validation"], "to the last digit");
    assert_eq!(evaluated["samples"], 15);
    assert_eq!(evaluated["classes"], serde_json::json!(CLASSES));
    let table = std::fs::read_to_string(at.join("all.csv")).unwrap();
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split(',').collect()).collect();
    let scores = CLASSES.map(|class| format!("probability.{class}"));
    assert_eq!(rows[0][..3], ["sample", "true", "predicted"]);
    assert_eq!(rows[0][3..], scores);
    let right = rows[1..].iter().filter(|row| row[1] == row[2]).count();
    assert_eq!(right as f64 / 15.0, trained["validation"]["accuracy"].as_f64().unwrap());
    let diagonal: u64 = (0..3).map(|i| evaluated["confusion"][i][i].as_u64().unwrap()).sum();
    assert_eq!(diagonal as usize, right);

    let run = json(at, "run shapes.ron --weights shapes.safetensors pictures/val --json --outputs run.npz");
    let run = run["samples"].as_array().unwrap().clone();
    assert_eq!(run.len(), 15);
    let stacked = read_tensors(at.join("run.npz")).unwrap().remove(0).1;
    let stacked = stacked.as_slice::<f32>().unwrap();

    let model = Model::load(at.join("shapes.ron").to_str().unwrap(), &Settings::default()).unwrap();
    let mut network = Network::new(model, Threads::new(2).unwrap()).unwrap();
    network.load_weights(at.join("shapes.safetensors")).unwrap();
    assert_eq!(network.classes(), CLASSES);
    let mut images = Vec::new();
    for (number, (row, sample)) in rows[1..].iter().zip(&run).enumerate() {
        assert_eq!(sample["name"], row[0]);
        assert_eq!(sample["label"], row[2]);
        let image = network.picture("infer", at.join(row[0])).unwrap();
        let outputs = network.run("infer", &[("image", &image)]).unwrap();
        let found = outputs[0].1.as_slice::<f32>().unwrap();
        assert_eq!(found, &stacked[number * 3..][..3], "the facade and `run`: {}", row[0]);
        let label = sample["class"].as_u64().unwrap() as usize;
        assert_eq!(CLASSES[label], row[2]);
        let scores: Vec<f32> = row[3..].iter().map(|cell| cell.parse().unwrap()).collect();
        assert_eq!(scores, found, "the table of `evaluate`");
        images.extend_from_slice(image.bytes());
    }

    good(at, "build shapes.ron --dim batch=1 --entry infer -o net.o");
    let header = std::fs::read_to_string(at.join("net.h")).unwrap();
    assert!(header.contains("NET_STATE_DATA_IMAGE_MEAN"), "an object takes raw values: {header}");
    std::fs::write(at.join("images"), &images).unwrap();
    std::fs::write(at.join("main.c"), C_PROGRAM).unwrap();
    let linked = std::process::Command::new("cc")
        .args(["-std=c99", "-Wall", "-Wextra", "-Werror", "main.c", "net.o", "-o", "main"])
        .current_dir(at)
        .output()
        .expect("the C compiler `cc`, which links Rust too");
    assert!(linked.status.success(), "{}", String::from_utf8_lossy(&linked.stderr));
    let output = std::process::Command::new(at.join("main")).current_dir(at).output().unwrap();
    let bits: Vec<u8> = stacked.iter().flat_map(|v| v.to_le_bytes()).collect();
    assert!(output.stdout == bits, "the C program computes other bits");
}

#[test]
fn pictures_are_labelled_for_people() {
    let folder = folder();
    let at = folder.path();
    std::fs::write(at.join("shapes.ron"), SHAPES).unwrap();
    draw(&at.join("pictures"));
    let output = run(at, "train shapes.ron --data pictures --epochs 2 --seed 1");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("  classes across, down, plain\n"), "{errors}");
    let text =
        good(at, "run shapes.ron --weights shapes.safetensors pictures/val/down/0.png pictures/val/plain");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 6);
    assert!(
        lines[0].starts_with("pictures/val/down/0.png: ") && lines[0].contains("  probability 0."),
        "{text}"
    );
    // The confusion matrix has names, recall and precision.
    let text = good(at, "evaluate shapes.ron --weights shapes.safetensors --data pictures");
    assert!(text.contains("shapes on pictures: 15 samples") && text.contains("accuracy"), "{text}");
    assert!(text.contains("true \\ predicted") && text.contains("precision"), "{text}");
    // A folder with fewer classes keeps their numbers.
    std::fs::remove_dir_all(at.join("pictures/val")).unwrap();
    std::fs::rename(at.join("pictures/train"), at.join("few")).unwrap();
    std::fs::remove_dir_all(at.join("few/across")).unwrap();
    let few = json(at, "evaluate shapes.ron --weights shapes.safetensors --data few --json");
    assert_eq!(few["samples"], 48);
    let row =
        |i: usize| few["confusion"][i].as_array().unwrap().iter().map(|v| v.as_u64().unwrap()).sum::<u64>();
    assert_eq!([row(0), row(1), row(2)], [0, 24, 24]);
    // What is no picture, and what there are no classes for.
    std::fs::write(at.join("notes.txt"), "hello").unwrap();
    let errors = bad(at, "run shapes.ron --weights shapes.safetensors notes.txt");
    assert!(errors.contains("neither a PNG image nor a JPEG image"), "{errors}");
    let both = "run shapes.ron --weights shapes.safetensors notes.txt few/down/0.png --outputs labels.csv";
    let output = run(at, both);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && errors.contains("notes.txt"), "{errors}");
    assert!(
        output.stdout.starts_with(b"few/down/0.png: "),
        "a file that is no picture keeps no other from its answer"
    );
    assert_eq!(std::fs::read_to_string(at.join("labels.csv")).unwrap().lines().count(), 2);
    std::fs::create_dir(at.join("few/square")).unwrap();
    std::fs::copy(at.join("few/down/0.png"), at.join("few/square/0.png")).unwrap();
    let errors = bad(at, "evaluate shapes.ron --weights shapes.safetensors --data few");
    assert!(errors.contains("square") && errors.contains("none of the classes"), "{errors}");
    let errors = bad(at, "evaluate shapes.ron --data few");
    assert!(errors.contains("--weights"), "{errors}");
    let errors = bad(at, "evaluate shapes.ron --weights shapes.safetensors --data few --predictions p.txt");
    assert!(errors.contains(".csv"), "{errors}");
}

/// A table of one's own: trained on, evaluated, predicted, by the names of its columns.
#[test]
fn a_table_is_trained_on_and_predicted() {
    let folder = folder();
    let at = folder.path();
    let model = r#"Model(
        data: Data(set: "houses.csv", target: "price", prepare: { "x": [Standardize], "y": [Standardize] },
                   split: Holdout(fraction: 0.25)),
        dims: { "batch": 16 },
        inputs: { "x": "f32[batch, 3]", "y": "f32[batch]" },
        body: [Linear(name: "fc1", features: 16), Tanh, Linear(name: "fc2", features: 1), Expr("it[:, 0]")],
        entries: {
            "infer": Infer(outputs: { "price": "it * data.y.std + data.y.mean" }),
            "train": Train(loss: "mse(it, y)", optimizer: Adam(lr: 0.02), metrics: { "mae": "l1(it, y)" }),
        },
    )"#;
    std::fs::write(at.join("house.ron"), model).unwrap();
    let row = |i: usize| (1 + i % 6, 40 + (i * 37) % 160, 1900 + (i * 53) % 120);
    let price = |(rooms, area, year): (usize, usize, usize)| 20 * rooms + 3 * area + (year - 1900);
    let line = |i: usize| {
        let (rooms, area, year) = row(i);
        format!("{rooms},{area},{},{year}\n", price((rooms, area, year)))
    };
    let rows: String = (0..200).map(line).collect();
    std::fs::write(at.join("houses.csv"), format!("rooms,area,price,year\n{rooms}", rooms = rows)).unwrap();
    let output = run(at, "train house.ron --epochs 60 --json");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    assert!(
        errors.contains("150 samples, 50 held out") && errors.contains("columns rooms, area, year"),
        "{errors}"
    );
    let evaluated = json(at, "evaluate house.ron --weights house.safetensors --predictions p.csv --json");
    let trained: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(evaluated["metrics"], trained["validation"]);
    assert_eq!(evaluated["samples"], 50);
    assert!(evaluated["confusion"].is_null());
    let table = std::fs::read_to_string(at.join("p.csv")).unwrap();
    assert!(table.starts_with("sample,true,price\nline "), "{table}");
    // Other columns in another order, and without the target.
    let lines = "year,garden,area,rooms\n2000,1,100,3\n1950,0,60,2\n";
    std::fs::write(at.join("new.csv"), lines).unwrap();
    let found = json(at, "run house.ron --weights house.safetensors new.csv --outputs new.out.csv --json");
    for (sample, expected) in found["samples"].as_array().unwrap().iter().zip([(3, 100, 2000), (2, 60, 1950)])
    {
        let found = sample["price"].as_f64().unwrap();
        assert!((found - price(expected) as f64).abs() < 60.0, "{sample}");
    }
    let written = std::fs::read_to_string(at.join("new.out.csv")).unwrap();
    assert!(written.starts_with("sample,price\nline 2,"), "{written}");
    std::fs::write(at.join("new.csv"), "year,area\n2000,100\n").unwrap();
    let errors = bad(at, "run house.ron --weights house.safetensors new.csv");
    assert!(errors.contains("has no column `rooms`"), "{errors}");
}

#[test]
fn folds_are_chosen_and_classes_may_be_texts() {
    let folder = folder();
    let at = folder.path();
    let model = r#"Model(
        data: Data(split: Folds(count: 4, stratified: true)),
        dims: { "batch": 4 },
        inputs: { "x": "f32[batch, 2]", "kind": "i32[batch]" },
        body: [Linear(name: "fc", features: 2), As("logits")],
        entries: {
            "infer": Infer(outputs: { "probability": "softmax(logits)" }),
            "train": Train(loss: "cross_entropy(logits, kind)", optimizer: Sgd(lr: 0.5)),
        },
    )"#;
    std::fs::write(at.join("kinds.ron"), model).unwrap();
    let rows: String = (0..40)
        .map(|i| format!("{},{},{}\n", i % 5, i % 7, if i % 5 > i % 7 { "more" } else { "less" }))
        .collect();
    std::fs::write(at.join("kinds.csv"), format!("a,b,kind\n{rows}")).unwrap();
    let mut all: Vec<String> = Vec::new();
    for fold in 1..=4 {
        good(at, &format!("train kinds.ron --data kinds.csv --epochs 3 --fold {fold}"));
        let evaluate = "evaluate kinds.ron --weights kinds.safetensors --data kinds.csv --predictions p.csv";
        let text = good(at, evaluate);
        assert!(text.contains("those held out in training") && text.contains("less"), "{text}");
        let table = std::fs::read_to_string(at.join("p.csv")).unwrap();
        all.extend(table.lines().skip(1).map(|line| line.split(',').next().unwrap().to_owned()));
    }
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 40, "every sample is held out once");
    let all = good(at, "evaluate kinds.ron --weights kinds.safetensors --data kinds.csv --all");
    assert!(all.contains("40 samples"), "{all}");
    assert!(bad(at, "train kinds.ron --data kinds.csv --fold 5").contains("folds 1 to 4"));
    assert!(bad(at, "train lenet5 --fold 1").contains("does not say that its data are split"));
}

/// Weights that hold NaN, or are so large that the loss is infinite: what was found is printed, and the exit code says that
/// it is no result.
#[test]
fn what_is_no_number_is_no_success() {
    let folder = folder();
    let at = folder.path();
    let text = r#"Model(
        inputs: { "x": "f32[batch, 2]", "y": "f32[batch]" },
        body: [Linear(name: "fc", features: 1), Expr("it[:, 0]")],
        entries: {
            "infer": Infer(outputs: { "price": "it" }),
            "train": Train(loss: "mse(it, y)", optimizer: Sgd(lr: 0.1), metrics: { "mae": "l1(it, y)" }),
        },
    )"#;
    std::fs::write(at.join("m.ron"), text).unwrap();
    std::fs::write(at.join("d.csv"), "a,b,price\n1,2,3\n4,5,6\n7,8,9\n").unwrap();
    std::fs::write(at.join("new.csv"), "a,b\n1,2\n3,4\n").unwrap();
    let x = [1f32, 2.0];
    write_tensors(at.join("x.npz"), &[("x", TensorRef::from_slice(&[1, 2], &x).unwrap())]).unwrap();
    let model = Model::load(at.join("m.ron").to_str().unwrap(), &Settings::default()).unwrap();
    let commands = [
        "evaluate m.ron --weights w.safetensors --data d.csv --target price",
        "evaluate m.ron --weights w.safetensors --data d.csv --target price --json",
        "run m.ron --weights w.safetensors new.csv --outputs o.csv --force",
        "run m.ron --weights w.safetensors --inputs x.npz --outputs o.npz",
    ];
    let cases = [
        (0.5, [""; 4]),
        (1e30, ["`loss` is inf", "`loss` is inf", "", ""]),
        (
            f32::NAN,
            [
                "`loss` is NaN: a number in `fc.weight` is NaN",
                "`loss` is NaN: a number in `fc.weight` is NaN",
                "the outputs of 2 of 2 samples hold NaN, as does `fc.weight`",
                "warning: outputs hold NaN: price, as does `fc.weight`",
            ],
        ),
    ];
    for (weight, told) in cases {
        let mut state = model.initial_state(1).unwrap();
        state.get_mut("fc.weight").unwrap().as_mut_slice::<f32>().unwrap().fill(weight);
        state.save_weights(at.join("w.safetensors")).unwrap();
        for (command, told) in commands.into_iter().zip(told) {
            let output = run(at, command);
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(errors.contains(told), "{weight}, {command}: {errors}");
            let code = i32::from(!told.is_empty() && !told.starts_with("warning"));
            assert_eq!(output.status.code(), Some(code), "{weight}, {command}: {errors}");
            assert!(!output.stdout.is_empty(), "{command}: what was found is printed");
        }
    }
}

const TABLES: &str = r#"Model(
    dims: { "batch": 4 },
    inputs: { "x": "f32[batch, 3]", "t": "f32[batch]" },
    body: [
        State(name: "level", type: "f32[3]", init: Data("column.mean")), State(name: "node", type: "i64[2, 2]", init: Data("node")),
        Ref("x"), Expr("it - level + float(node[0, 1])"), Linear(name: "fc", features: 1), Expr("it[:, 0]"), As("y"),
    ],
    entries: { "train": Train(loss: "mse(y, t)", optimizer: Sgd(lr: 1e-6)) },
)"#;

/// States begin as tables of the data set, in their own types; training goes on with those of weights, whatever the set has then.
#[test]
fn states_begin_as_tables() {
    let folder = folder();
    let at = folder.path();
    std::fs::write(at.join("m.ron"), TABLES).unwrap();
    let ((x, t), level, node) = (table(20), [1.5f64, -2.0, 0.25], [0i32, 7, -1, 3]);
    let samples = [
        ("x", TensorRef::from_slice(&[20, 3], &x).unwrap()),
        ("t", TensorRef::from_slice(&[20], &t).unwrap()),
    ];
    let with = |name: &str, tables: [(&'static str, TensorRef<'_>); 2]| {
        let all: Vec<_> = samples.into_iter().chain(tables).collect();
        write_tensors(at.join(name), &all).unwrap();
    };
    let node_table = ("node", TensorRef::from_slice(&[2, 2], &node).unwrap());
    with("whole.npz", [("column.mean", TensorRef::from_slice(&[3], &level).unwrap()), node_table]);
    with("short.npz", [("column.mean", TensorRef::from_slice(&[2], &level[..2]).unwrap()), node_table]);
    write(&at.join("without.npz"), 20);
    let states = |file: &str| {
        let tensors = read_tensors(at.join(file)).unwrap();
        let of = |name: &str| tensors.iter().find(|(known, _)| known == name).unwrap().1.try_clone().unwrap();
        let level = of("level").as_slice::<f32>().unwrap().to_vec();
        (level, of("node").as_slice::<i64>().unwrap().to_vec())
    };
    let expected = (vec![1.5, -2.0, 0.25], vec![0, 7, -1, 3]);
    good(at, "train m.ron --data whole.npz --epochs 1 --save a.safetensors");
    assert_eq!(states("a.safetensors"), expected);
    good(at, "train m.ron --data without.npz --epochs 1 --weights a.safetensors --save b.safetensors");
    assert_eq!(states("b.safetensors"), expected);
    let errors = bad(at, "train m.ron --data without.npz --epochs 1");
    assert!(
        errors.contains("`level` begins as the table `column.mean`") && errors.contains("none"),
        "{errors}"
    );
    let errors = bad(at, "train m.ron --data short.npz --epochs 1");
    assert!(errors.contains("expected f32[3], found f64[2]"), "{errors}");
    // A model in a file of its own knows the same.
    #[cfg(all(feature = "exe", target_os = "linux"))]
    if crate::launched::has_launcher() {
        good(at, "build m.ron --entry train -o trainer");
        crate::launched::prints(at, "trainer train --data whole.npz --epochs 1 --save c.safetensors");
        assert_eq!(states("c.safetensors"), expected);
    };
}
