//! What training promises: where it goes on after its end, what its seed decides, and how it fails.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use brolga::Tensor;
use brolga::runtime::{Purpose, Random, TensorFile, write_tensors};
use serde_json::Value;

use super::{bad, command, folder, good, run, write_batch};

/// The final state of a training run with checkpoints: everything but the time spent.
fn last_checkpoint(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "safetensors"));
    files.sort();
    let tensors = TensorFile::open(files.last().unwrap()).unwrap().read_all().unwrap();
    tensors.into_iter().map(|(name, tensor)| (name, tensor.bytes().to_vec())).collect()
}

/// Kills a run with SIGKILL at `kills` moments, resumes it, and expects the bits of a run left alone.
fn killed_and_resumed(kills: usize, epochs: usize) {
    let folder = folder();
    let at = folder.path();
    let train = format!("train lenet5 --epochs {epochs} --batch 32 --threads 2 --checkpoint-every 5");
    let start = Instant::now();
    good(at, &format!("{train} --checkpoint alone --save alone.safetensors"));
    let whole = start.elapsed();

    let resumed = format!("{train} --checkpoint killed --resume --save killed.safetensors");
    let killed = kill(&at.join("killed"), kills, whole, || {
        let mut command = command(at);
        command.args(resumed.split_whitespace());
        command
    });
    good(at, &resumed);
    assert!(killed >= kills / 2, "only {killed} kills before the run was over");
    assert_eq!(last_checkpoint(&at.join("alone")), last_checkpoint(&at.join("killed")));
    let read = |name: &str| std::fs::read(at.join(name)).unwrap();
    assert_eq!(read("alone.safetensors"), read("killed.safetensors"));
}

/// Starts a run that resumes from its folder of checkpoints again and again, and kills it with SIGKILL: at first when a
/// checkpoint is there, then at random moments, of which every third waits for the writing of a checkpoint. How often it was
/// killed: until it came to its end, or `kills` times. Left alone it took the time `whole`; where that was on a busier machine
/// than now, so that it ends before half of the kills, it begins anew with shorter times.
pub fn kill(points: &Path, kills: usize, mut whole: Duration, run: impl Fn() -> Command) -> usize {
    for _ in 0..6 {
        let killed = kill_within(points, kills, whole, &run);
        if killed >= kills / 2 {
            return killed;
        }
        std::fs::remove_dir_all(points).unwrap();
        whole /= 2;
    }
    0
}

fn kill_within(points: &Path, kills: usize, whole: Duration, run: &impl Fn() -> Command) -> usize {
    let mut random = Random::new(7, Purpose::Augment, 0, 0);
    let (mut killed, mut inside) = (0, 0);
    while killed < kills {
        let mut child = run().stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let wait = match killed {
            0 => Duration::ZERO,
            _ => whole.mul_f64(f64::from(random.uniform()) * 2.0 / (kills as f64 + 1.0)),
        };
        let begun = Instant::now();
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                assert!(status.success(), "it failed after {killed} kills");
                return killed;
            }
            let awaited = match killed % 3 {
                0 if killed == 0 => has_checkpoint(points),
                2 => half_written(points),
                _ => true,
            };
            if begun.elapsed() >= wait && awaited {
                break;
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        killed += 1;
        inside += usize::from(half_written(points));
    }
    println!("killed {killed} times, {inside} of them inside the writing of a checkpoint");
    killed
}

/// Has a program hear signals that the tests themselves may have to ignore, under `nohup` or in the background of a script: no
/// shell can undo that.
#[cfg(unix)]
pub fn hears_signals(command: &mut Command) {
    // SAFETY: between fork and exec, the closure makes system calls alone.
    unsafe {
        std::os::unix::process::CommandExt::pre_exec(command, || {
            for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGTERM] {
                libc::signal(signal, libc::SIG_DFL);
            }
            Ok(())
        });
    }
}

/// Whether there is a whole checkpoint in a folder.
fn has_checkpoint(folder: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(folder) else { return false };
    entries.flatten().any(|entry| entry.path().extension().is_some_and(|e| e == "safetensors"))
}

/// Ctrl-C writes a checkpoint, from which training goes on.
#[cfg(unix)]
#[test]
fn an_interrupted_run_writes_a_checkpoint() {
    let folder = folder();
    let at = folder.path();
    let train = "train lenet5 --batch 32 --checkpoint points";
    let mut child = command(at);
    child.args(format!("{train} --epochs 10000").split_whitespace()).stdout(Stdio::piped());
    hears_signals(&mut child);
    let mut child = child.spawn().unwrap();
    let points = || std::fs::read_dir(at.join("points")).map_or(0, |entries| entries.count());
    while points() == 0 {
        assert!(child.try_wait().unwrap().is_none(), "it ended before its first checkpoint");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    // The metrics are of an earlier moment than the weights.
    let text = String::from_utf8_lossy(&output.stdout);
    let epochs = text.split("digits: ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap_or_default();
    let of = match epochs {
        "0" => ", before the end of the first epoch".to_owned(),
        epochs => format!("; the metrics are those of epoch {epochs}\n"),
    };
    assert!(text.contains(" update") && text.contains(&of), "{text}");
    let text = good(at, &format!("{train} --epochs 1 --resume"));
    assert!(text.contains("lenet5.safetensors"), "{text}");
}

/// The seed draws dropout's masks and the order of the data, each by itself; a checkpoint carries it.
#[test]
fn the_seed_decides_what_is_random() {
    let folder = folder();
    let at = folder.path();
    let net = |layer: &str| {
        format!(
            "Model(
                data: \"digits\",
                inputs: {{ \"image\": \"f32[batch, 1, 28, 28]\", \"label\": \"i32[batch]\" }},
                body: [Flatten, {layer}, Linear(name: \"fc\", features: 10), As(\"logits\")],
                entries: {{ \"train\": Train(loss: \"cross_entropy(logits, label)\", optimizer: Sgd(lr: 0.1)) }},
            )"
        )
    };
    std::fs::write(at.join("dropped.ron"), net("Dropout(0.5)")).unwrap();
    std::fs::write(at.join("plain.ron"), net("Identity")).unwrap();
    write_batch(&at.join("batch.npz"), 16);
    good(at, "step plain.ron --inputs batch.npz --steps 0 --save start.safetensors");

    // One batch, the same weights: only dropout draws.
    let step = |net: &str, seed: u64| {
        let arguments = "--inputs batch.npz --weights start.safetensors --steps 3 --json";
        good(at, &format!("step {net}.ron --seed {seed} {arguments}"))
    };
    assert_eq!(step("dropped", 1), step("dropped", 1));
    assert_ne!(step("dropped", 1), step("dropped", 2));
    assert_ne!(step("dropped", 1), step("plain", 1));
    assert_eq!(step("plain", 1), step("plain", 2));

    // No dropout, the same weights: only the order of the data draws.
    let train = |arguments: &str| {
        good(at, &format!("train {arguments} --batch 64 --save end.safetensors"));
        std::fs::read(at.join("end.safetensors")).unwrap()
    };
    let shuffled =
        |seed: u64| train(&format!("plain.ron --weights start.safetensors --epochs 1 --seed {seed}"));
    assert_eq!(shuffled(1), shuffled(1));
    assert_ne!(shuffled(1), shuffled(2));

    // A run that was stopped after an epoch goes on with the same masks and the same order.
    let whole = train("dropped.ron --seed 5 --epochs 3 --checkpoint whole");
    train("dropped.ron --seed 5 --epochs 1 --checkpoint parts");
    assert_eq!(train("dropped.ron --seed 5 --epochs 3 --checkpoint parts --resume"), whole);
    assert_ne!(train("dropped.ron --seed 6 --epochs 3"), whole);
    let seed = last_checkpoint(&at.join("parts")).into_iter().find(|(name, _)| name == "seed");
    assert_eq!(seed, Some(("seed".to_owned(), 5i64.to_le_bytes().to_vec())));
}

/// Weights are what a run begins from: one that goes on takes none, so those that it began from may be named, and no others.
#[test]
fn a_run_that_goes_on_began_from_the_weights_that_are_named() {
    let folder = folder();
    let at = folder.path();
    write_batch(&at.join("batch.npz"), 16);
    for seed in [1, 2] {
        good(at, &format!("step mlp --inputs batch.npz --steps 0 --seed {seed} --save {seed}.safetensors"));
    }
    let train = "train mlp --batch 64 --save end.safetensors --checkpoint";
    good(at, &format!("{train} points --weights 1.safetensors --epochs 1"));
    // It may be said again, and need not be.
    good(at, &format!("{train} points --weights 1.safetensors --epochs 2 --resume"));
    good(at, &format!("{train} points --epochs 3 --resume"));
    let errors = bad(at, &format!("{train} points --weights 2.safetensors --epochs 4 --resume"));
    let (there, here) = errors.split_once(" there, ").unwrap_or_default();
    assert!(there.contains("\n  weights that it began from: "), "{errors}");
    assert!(here.contains(" here (a run that goes on needs none)\n"), "{errors}");
    good(at, &format!("{train} points --weights 2.safetensors --epochs 4 --resume-anyway"));
    // So it is with weights that were drawn.
    good(at, &format!("{train} drawn --epochs 1 --resume"));
    let errors = bad(at, &format!("{train} drawn --weights 1.safetensors --epochs 2 --resume"));
    assert!(errors.contains("weights that it began from: "), "{errors}");
    good(at, &format!("{train} drawn --epochs 2 --resume"));
}

/// Whether a checkpoint is being written: its temporary file is there.
fn half_written(folder: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(folder) else { return false };
    entries.flatten().any(|entry| entry.path().extension().is_none_or(|e| e != "safetensors"))
}

#[test]
fn a_killed_run_goes_on_to_the_same_bits() {
    killed_and_resumed(4, 3);
}

/// The same at twenty moments; takes minutes.
#[test]
#[ignore = "takes minutes"]
fn a_run_killed_twenty_times_goes_on_to_the_same_bits() {
    killed_and_resumed(20, 20);
}

#[test]
fn a_run_that_ends_in_nan_fails() {
    let folder = folder();
    let at = folder.path();
    let model = "Model(
        inputs: { \"x\": \"f32[batch, 2]\", \"y\": \"f32[batch]\" },
        body: [Linear(1), Expr(\"it[:, 0]\"), As(\"out\")],
        entries: { \"train\": Train(loss: \"mse(out, y)\", optimizer: Sgd(lr: RATE),
            metrics: { \"rmse\": \"sqrt(total((out - y) ** 2) / total(batch))\" }) },
    )";
    let write = |name: &str, broken: Option<usize>| {
        let mut x: Vec<f32> = (0..80).map(|i| (i % 7) as f32 - 3.0).collect();
        broken.iter().for_each(|sample| x[2 * sample + 1] = f32::NAN);
        let y: Vec<f32> = (0..40).map(|i| (i % 5) as f32).collect();
        let (x, y) = (Tensor::from_slice(&[40, 2], &x).unwrap(), Tensor::from_slice(&[40], &y).unwrap());
        write_tensors(at.join(name), &[("x", x.view()), ("y", y.view())]).unwrap();
    };
    write("good.safetensors", None);
    let json = |output: &Output| -> Value { serde_json::from_slice(&output.stdout).unwrap() };

    std::fs::write(at.join("net.ron"), model.replace("RATE", "0.01")).unwrap();
    let output = run(at, "train net.ron --data good.safetensors --epochs 2 --batch 5 --json");
    assert!(output.status.success());
    assert!(json(&output)["diverged"].is_null());
    assert!(json(&output)["validation"]["rmse"].as_f64().unwrap() > 0.0, "{}", json(&output));

    // One update on all of it: formulas of totals are among the metrics of a step, too.
    let output = run(at, "step net.ron --weights net.safetensors --inputs good.safetensors --steps 2 --json");
    let rows = &json(&output)["metrics"];
    let number = |row: usize, name: &str| rows[row][name].as_f64().unwrap();
    assert!(
        (number(0, "rmse").powi(2) - number(0, "loss")).abs() < 1e-5 && number(1, "loss") < number(0, "loss")
    );

    std::fs::write(at.join("far.ron"), model.replace("RATE", "1e15")).unwrap();
    let output = run(at, "train far.ron --data good.safetensors --epochs 3 --batch 5 --json");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains("error: training ended with ") && errors.contains(" for `loss`"), "{errors}");
    let diverged = &json(&output)["diverged"];
    assert_eq!((&diverged["what"], &diverged["since"]["epoch"]), (&"`loss`".into(), &1.into()));
    assert!(diverged["since"]["update"].as_u64().unwrap() < 7, "{diverged}");
    assert!(at.join("far.safetensors").is_file(), "what was trained is kept all the same");

    write("bad.safetensors", Some(23));
    let output = run(at, "train net.ron --data bad.safetensors --epochs 2 --batch 5");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains("the data has NaN in `x` of sample 23 (counted from 0)"), "{errors}");
}

/// A loss of all pairs of a batch trains, but a set has none: `check`, `train` and `evaluate` say so.
#[test]
fn a_loss_that_a_set_does_not_have_is_told() {
    let folder = folder();
    let at = folder.path();
    let net = |metrics: &str| {
        format!(
            "Model(
                data: \"digits\",
                inputs: {{ \"image\": \"f32[batch, 1, 28, 28]\", \"label\": \"i32[batch]\" }},
                body: [Flatten, Linear(name: \"fc\", features: 10), As(\"logits\")],
                entries: {{ \"train\": Train(
                    loss: \"mean((logits @ transpose(logits, [1, 0]) - (label[:, none] == label)) ** 2)\",
                    optimizer: Sgd(lr: 1e-5), {metrics}
                ) }},
            )"
        )
    };
    std::fs::write(at.join("pairs.ron"), net("metrics: { \"accuracy\": \"accuracy(logits, label)\" }"))
        .unwrap();
    std::fs::write(at.join("alone.ron"), net("")).unwrap();
    let told = "the loss is left out of the validation";
    for command in [
        "check pairs.ron",
        "train pairs.ron --epochs 1 --batch 64",
        "evaluate pairs.ron --weights pairs.safetensors",
        "check alone.ron",
        "train alone.ron --epochs 1 --batch 64",
    ] {
        let output = run(at, command);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && errors.contains(told), "{command}: {errors}");
        let text = String::from_utf8_lossy(&output.stdout);
        let validation = text.lines().find(|line| line.trim_start().starts_with("validation"));
        assert!(
            validation.is_none_or(|line| line.contains(" accuracy ") && !line.contains(" loss ")),
            "{text}"
        );
    }
    let errors = super::bad(at, "evaluate alone.ron --weights alone.safetensors");
    assert!(errors.contains(&format!("has no evaluation `train.eval`: {told}")), "{errors}");
}

/// Settings of training that other tools have, data without their option, and inputs that nothing reads.
#[test]
fn ways_out_are_told() {
    let folder = folder();
    let at = folder.path();
    for (arguments, expected) in [
        ("train lenet5 --lr 0.1", "`--set lr=0.01` changes it"),
        ("train lenet5 --learning-rate=0.1", "`--set lr=0.01` changes it"),
        ("train lenet5 digits.npz", "Data are given by `--data digits.npz`"),
    ] {
        let told = run(at, arguments);
        let told = String::from_utf8_lossy(&told.stderr).into_owned();
        assert!(told.contains(expected), "{arguments}: {told}");
    }
    let model = "Model(
        inputs: { \"x\": \"f32[batch, 2]\", \"spare\": \"f32[batch]\" },
        body: [Linear(2)], entries: { \"infer\": Infer(outputs: { \"y\": \"it\" }) },
    )";
    std::fs::write(at.join("m.ron"), model).unwrap();
    let told = run(at, "check m.ron");
    let told = String::from_utf8_lossy(&told.stderr).into_owned();
    assert!(told.contains("note: no entry reads the input `spare`") && !told.contains("`x`"), "{told}");
}
