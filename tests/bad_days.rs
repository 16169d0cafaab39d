//! Bad days of `brolga train`: another model, a second run in the folder, a folder that goes away, a disk that is full; and
//! names that no file can hold.

#![cfg(all(feature = "cli", unix))]

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use brolga::runtime::{SlotKind, TensorFile, check_name};
use brolga::{Model, Settings, State, Tensor};
use serde_json::Value;
use tempfile::{TempDir, tempdir};

use crate::cli::training::hears_signals;

fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_brolga"));
    command.current_dir(folder).env("NO_COLOR", "1").env("RUST_BACKTRACE", "0");
    command
}

fn run(folder: &Path, arguments: &str) -> Output {
    command(folder).args(arguments.split_whitespace()).output().unwrap()
}

fn good(folder: &Path, arguments: &str) -> String {
    let output = run(folder, arguments);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "brolga {arguments}: {}\n{errors}", output.status);
    errors
}

fn bad(folder: &Path, arguments: &str) -> String {
    let output = run(folder, arguments);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "brolga {arguments}\n{errors}");
    errors
}

/// A folder with a model of some width, whose file has a line for its optimiser.
fn folder(width: usize) -> TempDir {
    let folder = tempdir().unwrap();
    write_model(folder.path(), width, "Adam(lr: \"rate\")", "");
    folder
}

fn write_model(folder: &Path, width: usize, optimizer: &str, comment: &str) {
    let text = format!(
        "Model(
    data: \"digits\",
    parameters: {{ \"rate\": 0.01 }},
    inputs: {{ \"image\": \"f32[batch, 64]\", \"label\": \"i32[batch]\" }},
    body: [Linear({width}), Relu, Linear(10), As(\"logits\")], {comment}
    entries: {{
        \"train\": Train(
            loss: \"cross_entropy(logits, label)\",
            optimizer: {optimizer},
        ),
    }},
)"
    );
    std::fs::write(folder.join("net.ron"), text).unwrap();
}

#[test]
fn a_checkpoint_knows_its_run() {
    let folder = folder(8);
    let at = folder.path();
    let train = "train net.ron --batch 128 --checkpoint points";
    good(at, &format!("{train} --epochs 1"));
    let errors = bad(at, &format!("{train} --epochs 2 --resume --set rate=0.02"));
    assert!(errors.contains("--set rate: none there, 0.02 here"), "{errors}");
    assert!(
        errors.contains("checksum of the graph `train`: ") && errors.contains("--resume-anyway"),
        "{errors}"
    );
    // What changes no bit of the run is no other run.
    write_model(at, 8, "Adam(lr: \"rate\")", "// a remark");
    good(at, &format!("{train} --epochs 2 --resume --set rate=0.01 --threads 2 --target-cpu portable"));

    write_model(at, 8, "Adam(lr: 0.02)", "");
    let errors = bad(at, &format!("{train} --epochs 3 --resume"));
    assert!(errors.contains("line 9 there: optimizer: Adam(lr: \"rate\"),"), "{errors}");
    assert!(errors.contains("line 9 here: optimizer: Adam(lr: 0.02),"), "{errors}");
    let errors = bad(at, &format!("{train} --epochs 3 --resume --algorithms none"));
    assert!(errors.contains("algorithms: "), "{errors}");
    let errors = bad(at, &format!("{train} --epochs 3 --resume --seed 7"));
    assert!(errors.contains("seed: 0 there, 7 here"), "{errors}");

    // Asked for, it goes on, says what differs, and with another optimiser what of the state is left out.
    write_model(at, 8, "Sgd(lr: 0.02, momentum: 0.9)", "");
    let errors = good(at, &format!("{train} --epochs 3 --resume-anyway"));
    assert!(
        errors.contains("was written by another run:") && errors.contains("after 22 updates"),
        "{errors}"
    );
    assert!(errors.contains("are not used, such as `optim."), "{errors}");
    // From now on this is the run.
    good(at, &format!("{train} --epochs 4 --resume"));

    // Other data.
    let data = |value: f32| {
        let image = Tensor::from_slice(&[256, 64], &vec![value; 256 * 64]).unwrap();
        let label = Tensor::zeros(brolga::runtime::DType::I32, &[256]).unwrap();
        let tensors = [("image", image.view()), ("label", label.view())];
        brolga::runtime::write_tensors(at.join("data.npz"), &tensors).unwrap();
    };
    data(0.5);
    let train = "train net.ron --data data.npz --batch 128 --checkpoint other";
    good(at, &format!("{train} --epochs 1"));
    data(0.25);
    assert!(bad(at, &format!("{train} --epochs 2 --resume")).contains("checksum of the data set: "));
}

/// A run that is at work; it is killed when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    /// Starts a long run, and waits for its first checkpoint.
    fn start(folder: &Path) -> Running {
        let arguments =
            "train net.ron --batch 128 --epochs 1000000 --checkpoint points --save long.safetensors";
        let mut command = command(folder);
        command
            .args(arguments.split_whitespace())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(folder.join("log.txt")).unwrap());
        hears_signals(&mut command);
        let mut running = Running(command.spawn().unwrap());
        while !folder.join("points").is_dir() || steps(folder) == 0 {
            assert!(running.0.try_wait().unwrap().is_none(), "it ended before its first checkpoint");
            std::thread::sleep(Duration::from_millis(5));
        }
        running
    }

    /// Ctrl-C; gives the exit code and what was written to standard error.
    fn interrupt(mut self, folder: &Path) -> (Option<i32>, String) {
        let id = self.0.id().to_string();
        assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
        let code = self.0.wait().unwrap().code();
        (code, std::fs::read_to_string(folder.join("log.txt")).unwrap())
    }
}

/// The step of the newest checkpoint.
fn steps(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder.join("points")).unwrap();
    let names = entries.map(|e| e.unwrap().file_name().to_string_lossy().into_owned());
    let steps = names.filter_map(|n| n.strip_prefix("step-")?.strip_suffix(".safetensors")?.parse().ok());
    steps.max().unwrap_or(0)
}

#[test]
fn a_second_run_is_refused_and_the_first_goes_on() {
    let folder = folder(8);
    let at = folder.path();
    let first = Running::start(at);
    for again in ["--checkpoint points", "--checkpoint points --resume"] {
        let errors =
            bad(at, &format!("train net.ron --batch 128 --epochs 1 {again} --save second.safetensors"));
        assert!(errors.contains("`points` is in use by another run (process "), "{errors}");
        assert!(
            errors.contains(&first.0.id().to_string()) && errors.contains("another directory"),
            "{errors}"
        );
    }
    let before = steps(at);
    while steps(at) == before {
        std::thread::sleep(Duration::from_millis(5));
    }
    let (code, errors) = first.interrupt(at);
    assert_eq!(code, Some(130), "{errors}");
    assert!(!errors.contains("could be written") && at.join("long.safetensors").is_file(), "{errors}");

    // Killed, it leaves its lock behind, which keeps nobody out.
    let second = {
        std::fs::remove_dir_all(at.join("points")).unwrap();
        Running::start(at)
    };
    drop(second);
    assert!(at.join("points/.brolga-lock").exists());
    let epochs = steps(at) / 11 + 1;
    good(at, &format!("train net.ron --batch 128 --epochs {epochs} --checkpoint points --resume"));
    assert!(!at.join("points/.brolga-lock").exists());
}

#[test]
fn a_folder_that_goes_away_costs_no_weights() {
    let folder = folder(8);
    let at = folder.path();
    let running = Running::start(at);
    // It may be writing there at this moment.
    while at.join("points").exists() {
        let _ = std::fs::remove_dir_all(at.join("points"));
    }
    while !std::fs::read_to_string(at.join("log.txt")).unwrap().contains("training goes on") {
        std::thread::sleep(Duration::from_millis(5));
    }
    let (code, errors) = running.interrupt(at);
    assert_eq!(code, Some(130), "{errors}");
    assert!(errors.contains("note: no checkpoint could be written, training goes on: "), "{errors}");
    assert_eq!(errors.matches("training goes on").count(), 1, "told once: {errors}");
    assert!(
        errors.contains("the last checkpoint is missing: ") && !errors.contains("goes on from here"),
        "{errors}"
    );
    assert_eq!(TensorFile::open(at.join("long.safetensors")).unwrap().names().count(), 4);
}

/// A limit of the size of files stands in for a disk that is full: weights fit, checkpoints (with Adam's slots) do not.
#[test]
fn a_full_disk_costs_no_weights() {
    let folder = folder(200); // 15,010 parameters of 4 bytes
    let at = folder.path();
    let arguments = "train net.ron --batch 128 --epochs 2 --checkpoint points --save w.safetensors --json";
    let limited = |blocks: &str| {
        let mut shell = Command::new("sh");
        let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$@\"");
        shell.args(["-c", &script, "sh", env!("CARGO_BIN_EXE_brolga")]).args(arguments.split_whitespace());
        shell.current_dir(at).env("NO_COLOR", "1").output().unwrap()
    };
    // In blocks of 512 bytes (some shells: 1024).
    let output = limited("160");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(
        errors.contains("error: the last checkpoint is missing: cannot write `points/step-22."),
        "{errors}"
    );
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(value["epochs"], 2);
    assert_eq!(value["missing"].as_array().unwrap().len(), 1, "{value}");
    good(at, "train net.ron --batch 128 --epochs 2 --save alone.safetensors");
    let read = |name: &str| std::fs::read(at.join(name)).unwrap();
    assert_eq!(read("w.safetensors"), read("alone.safetensors"));
}

/// The frontend refuses the names that the runtime's files cannot hold, and no others.
#[test]
fn names_that_no_file_can_hold_are_diagnostics() {
    let long = "n".repeat(1 << 20);
    let most = "n".repeat(brolga::runtime::MAX_NAME);
    let more = format!("{most}n");
    let fine = [most.as_str(), "ü", "a b"];
    let wrong = ["__metadata__", "a\\nb", "a\\u{0}b", "a\\u{7f}", "", long.as_str(), more.as_str()];
    for name in fine.into_iter().chain(wrong) {
        // As it is read from RON.
        let plain = name.replace("\\n", "\n").replace("\\u{0}", "\0").replace("\\u{7f}", "\u{7f}");
        let holds = fine.contains(&name);
        assert_eq!(check_name(&plain).is_ok(), holds);
        for (what, text) in [
            ("parameter", model(&format!("Parameter(name: \"{name}\", dims: [3])"), "x", "y")),
            ("input", model("Identity", name, "y")),
            ("output", model("Identity", "x", name)),
        ] {
            let shown: String = name.chars().take(30).collect();
            match Model::from_text("net.ron", &text, &Settings::default()) {
                // A parameter without a name gets one of its own.
                Ok(model) => {
                    assert!(holds || (name.is_empty() && what == "parameter"), "{what} `{shown}` is built");
                    model.initial_state(0).unwrap();
                }
                // What names layers has no white space and is shorter, and what expressions name looks like a name.
                Err(error) => {
                    let says = |text: &str| error.to_string().contains(text);
                    let narrower = (says("cannot name a layer") && name != "ü")
                        || (says("is not a name") && ["a b", "ü"].contains(&name));
                    assert!(!holds || narrower, "{what} `{shown}` is refused: {error}");
                }
            }
        }
        let mut state = State::new();
        assert_eq!(state.insert(plain, SlotKind::Buffer, Tensor::scalar(1f32).unwrap()).is_ok(), holds);
    }
    for name in ["step", "seed", "optim.momentum.w"] {
        let text = model(&format!("Parameter(name: \"{name}\", dims: [3])"), "x", "y");
        let error = Model::from_text("net.ron", &text, &Settings::default()).err().unwrap().to_string();
        assert!(error.contains("part of the training state") && error.contains("net.ron:3"), "{error}");
    }
    for name in ["random.drop", "validation.x"] {
        let error = Model::from_text("net.ron", &model("Identity", name, "y"), &Settings::default());
        assert!(error.err().unwrap().to_string().contains("choose another name"));
    }
}

fn model(layer: &str, input: &str, output: &str) -> String {
    format!(
        "Model(
    inputs: {{ \"{input}\": \"f32[batch, 3]\" }},
    body: [Aside([{layer}]), Linear(3)],
    entries: {{ \"infer\": Infer(outputs: {{ \"{output}\": \"it\" }}) }},
)"
    )
}
