//! Plans of training, from a model's text to weights: by the command, by a program that carries the model, and gone on with from
//! checkpoints in the middle of an alternation. Takes about a second.

#![cfg(feature = "cli")]

use std::path::Path;

use crate::cli::{bad, folder, good};

/// A critic and a generator that take turns, after the critic has begun alone; then both are measured.
const MODEL: &str = r#"Model(
    parameters: { "rounds": 6 },
    dims: { "batch": 8 },
    inputs: { "real": "f32[batch, 2]" },
    body: [
        Sequential(name: "critic", body: [Linear(6), Relu, Linear(1)]), As("score"),
        Expr("normal([batch, 3])"), Sequential(name: "generator", body: [Linear(6), Relu, Linear(2)]), As("fake"),
        Reuse("critic"), As("fake_score"),
    ],
    entries: {
        "critic": Train(
            parameters: { "rate": 1e-3 }, of: "critic.*", loss: "mean(fake_score) - mean(score)", optimizer: Adam(lr: "rate"),
            metrics: { "distance": "mean(score) - mean(fake_score)" },
        ),
        "generator": Train(of: "generator.*", loss: "-mean(fake_score)", optimizer: Adam(lr: 1e-3)),
        "sample": Infer(body: [Ref("fake")], outputs: { "x": "it" }, metrics: { "size": "mean(norm(it, axis=1))" }),
    },
    training: [
        Phase(entry: "critic", epochs: 2, set: { "rate": 0.01 }),
        Repeat("rounds", [
            Phase(entry: "critic", updates: 5, measure: ["sample"]), Phase(entry: "generator", updates: 1),
        ]),
    ],
)"#;

/// Nine batches of eight to train on, a fifth held out.
fn prepare(at: &Path) {
    std::fs::write(at.join("gan.ron"), MODEL).unwrap();
    let points: Vec<String> =
        (0..93).map(|i| format!("{},{}", (f64::from(i) * 0.7).sin(), (f64::from(i) * 0.3).cos())).collect();
    let real = brolga::Tensor::from_slice(
        &[93, 2],
        &points.iter().flat_map(|row| row.split(',')).map(|n| n.parse().unwrap()).collect::<Vec<f32>>(),
    )
    .unwrap();
    brolga::runtime::write_tensors(at.join("points.npz"), &[("real", real.view())]).unwrap();
}

fn weights(at: &Path, name: &str) -> Vec<u8> {
    std::fs::read(at.join(name)).unwrap()
}

#[test]
fn the_command_follows_the_plan() {
    let at = folder();
    prepare(at.path());
    let check = good(at.path(), "check gan.ron");
    let line = "trained in 13 phases: critic(rate=0.01) for 2 epochs, critic for 30 updates, generator for 6 updates";
    assert!(check.contains(line), "{check}");
    let found = good(at.path(), "train gan.ron --data points.npz --save a.safetensors --log log.csv --json");
    for name in [
        "\"critic(rate=0.01).loss\":",
        "\"critic.distance\":",
        "\"generator.loss\":",
        "\"critic.sample.size\":",
    ] {
        assert!(found.contains(name), "{name}: {found}");
    }
    let log = std::fs::read_to_string(at.path().join("log.csv")).unwrap();
    // Two epochs of the first, three and a part of the critic's; the generator reads no data, so each update is an epoch.
    assert_eq!(log.lines().filter(|line| line.starts_with("epoch,")).count(), 2 + 3 + 1 + 6, "{log}");
    // One entry for some epochs, if that is asked for.
    let one = good(at.path(), "train gan.ron --entry generator --epochs 2 --save b.safetensors --json");
    assert!(one.contains("\"epochs\":2,\"train\":{\"loss\":"), "{one}");
    let set = bad(at.path(), "train gan.ron --data points.npz --entry sample");
    assert!(
        set.contains("`sample` updates nothing; entry points that do: critic, generator, critic(rate=0.01)"),
        "{set}"
    );
}

/// From whichever update a run goes on, it ends with the same bits.
#[test]
fn a_plan_goes_on_in_the_middle_of_an_alternation() {
    let at = folder();
    prepare(at.path());
    good(at.path(), "train gan.ron --data points.npz --save alone.safetensors");
    good(
        at.path(),
        "train gan.ron --data points.npz --save whole.safetensors --checkpoint ck --checkpoint-every 1",
    );
    assert_eq!(weights(at.path(), "whole.safetensors"), weights(at.path(), "alone.safetensors"));
    // The newest is that of the end; without it the run is where the last update but one was.
    let newest = |left: usize| {
        let mut all: Vec<_> =
            std::fs::read_dir(at.path().join("ck")).unwrap().map(|file| file.unwrap().path()).collect();
        all.retain(|path| path.extension().is_some_and(|end| end == "safetensors"));
        all.sort_by_key(|path| {
            path.file_stem().unwrap().to_string_lossy()["step-".len()..].parse::<u64>().unwrap()
        });
        assert!(all.len() > left);
        all[left..].iter().for_each(|path| std::fs::remove_file(path).unwrap());
    };
    // A run that has come to its end leaves its log as it is.
    let finished = || std::fs::read_to_string(at.path().join("log.csv")).unwrap();
    good(at.path(), "train gan.ron --data points.npz --save l.safetensors --checkpoint other --log log.csv");
    let log = finished();
    good(
        at.path(),
        "train gan.ron --data points.npz --save l.safetensors --checkpoint other --log log.csv --resume --force",
    );
    assert_eq!(finished(), log);
    newest(1);
    good(at.path(), "train gan.ron --data points.npz --save again.safetensors --checkpoint ck --resume");
    assert_eq!(weights(at.path(), "again.safetensors"), weights(at.path(), "alone.safetensors"));
    // Another plan is another run.
    let text = MODEL.replace("updates: 5", "updates: 4");
    std::fs::write(at.path().join("gan.ron"), text).unwrap();
    let other =
        bad(at.path(), "train gan.ron --data points.npz --save other.safetensors --checkpoint ck --resume");
    assert!(other.contains("was written by another run") && other.contains("plan: "), "{other}");
}

/// Several ways of one entry have names of their own; what has no samples is not measured.
#[test]
fn trainees_are_told_apart() {
    let at = folder();
    prepare(at.path());
    let model = |training: &str| {
        let start = MODEL.find("training: [").unwrap();
        std::fs::write(at.path().join("gan.ron"), format!("{}training: [{training}],\n)", &MODEL[..start]))
            .unwrap();
    };
    model(
        "Phase(entry: \"critic\", epochs: 1), Phase(entry: \"critic\", epochs: 1, dims: { \"batch\": \"all\" }),
         Phase(entry: \"critic\", updates: 3, dims: { \"batch\": 4 }, set: { \"rate\": 0.5 })",
    );
    let found = good(at.path(), "train gan.ron --data points.npz --json");
    for name in ["\"critic.loss\":", "\"critic(batch=all).loss\":", "\"critic(rate=0.5).loss\":"] {
        assert_eq!(found.matches(name).count(), 2, "{name}: {found}");
    }
    model("Phase(entry: \"generator\", updates: 1, measure: [\"sample\"])");
    let wrong = bad(at.path(), "train gan.ron");
    assert!(
        wrong.contains(
            "`generator` reads no data, so there are no samples on which `sample` could be measured"
        ),
        "{wrong}"
    );
}

/// A program that carries all entries of the plan follows it, to the command's bits.
#[cfg(all(feature = "exe", target_os = "linux"))]
#[test]
fn programs_follow_the_plan() {
    use crate::launched::{has_launcher, prints};
    if !has_launcher() {
        return;
    }
    let at = folder();
    prepare(at.path());
    good(at.path(), "train gan.ron --data points.npz --save alone.safetensors");
    good(at.path(), "build gan.ron --entry sample,critic,generator --emit exe -o gan");
    prints(at.path(), "gan train --data points.npz --save own.safetensors");
    assert_eq!(weights(at.path(), "own.safetensors"), weights(at.path(), "alone.safetensors"));
    // Without an entry of the plan there is none: what is built is trained by itself.
    good(at.path(), "build gan.ron --entry sample,generator --emit exe -o half");
    let half = prints(at.path(), "half train --epochs 1 --save half.safetensors --json");
    assert!(half.contains("\"epochs\":1,\"train\":{\"loss\":"), "{half}");
}
