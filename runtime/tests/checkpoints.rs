//! Bad days of a training run: a second run, damaged checkpoints, another model, disks that are full.
//!
//! Of each byte of a checkpoint one bit is changed; with BROLGA_CASES in the environment, every bit.

use std::path::{Path, PathBuf};

use brolga_runtime::*;

use crate::common::*;

/// Five steps an epoch.
const SAMPLES: usize = 20;
const EPOCHS: u64 = 2;

fn options(directory: &Path) -> Options {
    let checkpoints = CheckpointOptions { every_steps: Some(1), ..CheckpointOptions::new(directory) };
    Options { seed: 5, checkpoints: Some(checkpoints), log: None }
}

fn resuming(directory: &Path) -> Options {
    let mut options = options(directory);
    options.checkpoints.as_mut().unwrap().resume = true;
    options
}

fn run(state: &mut State, options: &Options, progress: &mut dyn Progress) -> Result<Outcome> {
    run_for(EPOCHS, state, options, progress)
}

fn run_for(
    epochs: u64,
    state: &mut State,
    options: &Options,
    progress: &mut dyn Progress,
) -> Result<Outcome> {
    let executables = Executables { train: train_program::<4>(), formulas: None, evaluation: None };
    let (plan, data) = (Plan::epochs(executables, epochs), &mut Toy::new(SAMPLES, 0));
    train(&plan, state, &Threads::serial(), &mut [data], options, progress)
}

/// The result of a run left alone.
fn alone() -> Vec<(String, Vec<u8>)> {
    let mut state = fresh();
    let options = Options { checkpoints: None, ..options(Path::new("")) };
    run(&mut state, &options, &mut ()).unwrap();
    bits(&state)
}

/// Does something after some steps, and keeps what is told.
struct At<F> {
    step: u64,
    act: F,
    flow: Flow,
    notices: Vec<String>,
    written: Vec<PathBuf>,
}

impl<F: FnMut()> At<F> {
    fn new(step: u64, act: F) -> At<F> {
        At { step, act, flow: Flow::Continue, notices: vec![], written: vec![] }
    }
}

impl<F: FnMut()> Progress for At<F> {
    fn update(&mut self, update: &Update<'_>) -> Flow {
        if update.step != self.step {
            return Flow::Continue;
        }
        (self.act)();
        self.flow
    }
    fn checkpoint(&mut self, path: &Path) {
        self.written.push(path.to_path_buf());
    }
    fn notice(&mut self, text: &str) {
        self.notices.push(text.to_string());
    }
}

#[test]
fn a_second_run_in_the_same_folder_is_refused_and_harms_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    let mut seen = 0;
    let mut watch = At::new(3, || {
        let before = files(at);
        for options in [options(at), resuming(at)] {
            let error = run(&mut fresh(), &options, &mut ()).unwrap_err();
            let process = format!("another run (process {})", std::process::id());
            assert!(error.to_string().contains(&process), "{error}");
            assert_eq!(error.kind(), ErrorKind::Option);
            seen += 1;
        }
        assert_eq!(files(at), before);
    });
    let mut state = fresh();
    let outcome = run(&mut state, &options(at), &mut watch).unwrap();
    assert_eq!((outcome.failures, watch.written.len()), (Failures::default(), 10));
    assert_eq!((seen, bits(&state)), (2, alone()));
    // Once it has ended, the folder is free, and has nothing but checkpoints.
    assert_eq!(files(at), ["step-10.safetensors", "step-9.safetensors"]);
    run(&mut fresh(), &resuming(at), &mut ()).unwrap();
}

fn files(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// A folder with one checkpoint, of step 3, and its content.
fn one_checkpoint() -> (tempfile::TempDir, PathBuf, Vec<u8>) {
    let dir = tempfile::tempdir().unwrap();
    let mut options = options(dir.path());
    options.checkpoints.as_mut().unwrap().keep = 1;
    let mut stop = At::new(3, || ());
    stop.flow = Flow::Stop;
    assert!(run(&mut fresh(), &options, &mut stop).unwrap().stopped);
    let path = dir.path().join("step-3.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    (dir, path, bytes)
}

/// What resuming from these bytes ends with.
fn from_bytes(path: &Path, bytes: &[u8]) -> Result<Vec<(String, Vec<u8>)>> {
    for file in files(path.parent().unwrap()) {
        std::fs::remove_file(path.with_file_name(file)).unwrap();
    }
    std::fs::write(path, bytes).unwrap();
    let mut state = fresh();
    run(&mut state, &resuming(path.parent().unwrap()), &mut ())?;
    Ok(bits(&state))
}

#[test]
fn every_bit_of_a_checkpoint_is_covered() {
    let (_dir, path, whole) = one_checkpoint();
    assert_eq!(from_bytes(&path, &whole).unwrap(), alone());
    let text = String::from_utf8_lossy(&whole).into_owned();
    for (name, from, to) in [("position", 3, 2), ("step", 3, 2), ("epoch", 0, 1)] {
        let [from, to] = [from, to].map(|number| format!("\\\"{name}\\\":{number},"));
        assert_eq!(text.matches(&from).count(), 1, "{from}: {text}");
        let at = whole.windows(from.len()).position(|window| window == from.as_bytes()).unwrap();
        let mut bytes = whole.clone();
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
        let error = from_bytes(&path, &bytes).unwrap_err().to_string();
        assert!(error.contains("none of the 1 checkpoints"), "{error}");
        assert!(error.contains("its checksum does not fit"), "{error}");
    }
    let all = std::env::var_os("BROLGA_CASES").is_some();
    for at in 0..whole.len() {
        for bit in (0..8).filter(|bit| all || *bit == at % 8) {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << bit;
            assert!(from_bytes(&path, &bytes).is_err(), "bit {bit} of byte {at} of {text}");
        }
    }
    for len in (0..whole.len()).step_by(if all { 1 } else { 7 }) {
        assert!(from_bytes(&path, &whole[..len]).is_err(), "cut at {len}");
    }
    assert!(from_bytes(&path, &[&whole[..], b" "].concat()).is_err());
}

#[test]
fn checkpoints_of_earlier_versions_are_refused_with_a_way_out() {
    let dir = tempfile::tempdir().unwrap();
    let state = fresh();
    let tensors: Vec<_> = state.slots().iter().map(|s| (s.name(), s.tensor().view())).collect();
    let old = "(epoch:0,position:3,step:3,sums:[0,0],train:[],validation:[],seconds:0.1,data:(seed:5,batch:4,samples:20),numerics:1,crc:1)";
    let path = dir.path().join("step-3.safetensors");
    for (key, seal) in [("brolga.cursor", ""), ("brolga.checkpoint", "00000000")] {
        write_safetensors(&path, &tensors, Some((key, &format!("{seal}{old}")))).unwrap();
        // The checksum of the file, with zeros in its place.
        let mut bytes = std::fs::read(&path).unwrap();
        let sum = checksum(&bytes);
        let at = bytes.windows(9).position(|window| window == b"00000000(");
        if let Some(at) = at {
            bytes[at..at + 8].copy_from_slice(sum.as_bytes());
        }
        std::fs::write(&path, &bytes).unwrap();
        let error = run(&mut fresh(), &resuming(dir.path()), &mut ()).unwrap_err().to_string();
        assert!(error.contains("earlier version") && error.contains("--weights"), "{key}: {error}");
        // The way out is one.
        fresh().load(&path).unwrap();
    }
}

fn named(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

#[test]
fn another_model_or_another_option_is_refused_unless_asked_for() {
    let print = |graph: &str, lr: &str| Fingerprint {
        decides: named(&[("graph of `train`", graph)]),
        explains: named(&[("--set lr", lr), ("the model file", &format!("Model(\nSgd(lr: {lr})\n)"))]),
    };
    let with = |mut options: Options, fingerprint: Fingerprint| {
        options.checkpoints.as_mut().unwrap().fingerprint = fingerprint;
        options
    };
    let dir = tempfile::tempdir().unwrap();
    let mut stop = At::new(3, || ());
    stop.flow = Flow::Stop;
    run(&mut fresh(), &with(options(dir.path()), print("aa", "0.1")), &mut stop).unwrap();

    let other = with(resuming(dir.path()), print("bb", "0.2"));
    let error = run(&mut fresh(), &other, &mut ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Option);
    let lines: Vec<String> = error.to_string().lines().skip(1).map(|l| l.trim().to_owned()).collect();
    assert_eq!(
        lines,
        [
            "graph of `train`: aa there, bb here",
            "--set lr: 0.1 there, 0.2 here",
            "the model file:",
            "line 2 there: Sgd(lr: 0.1)",
            "line 2 here: Sgd(lr: 0.2)",
            "resume with the same, or load it as weights into a run of its own; `--resume-anyway` (`anyway`) goes on in \
             spite of it",
        ]
    );

    // Asked for, it goes on where the other stood, and says what differs.
    let mut anyway = other.clone();
    anyway.checkpoints.as_mut().unwrap().anyway = true;
    let mut told = At::new(u64::MAX, || ());
    assert_eq!(run_for(1, &mut fresh(), &anyway, &mut told).unwrap().steps, 5);
    assert!(told.notices[0].contains("--set lr: 0.1 there, 0.2 here"), "{:?}", told.notices);
    // The checkpoints that it writes are its own.
    assert_eq!(told.written.len(), 2);
    run(&mut fresh(), &other, &mut ()).unwrap();

    // What only explains decides nothing: a comment in the model, an option that has no effect.
    let dir = tempfile::tempdir().unwrap();
    run(&mut fresh(), &with(options(dir.path()), print("aa", "0.1")), &mut ()).unwrap();
    run(&mut fresh(), &with(resuming(dir.path()), print("aa", "0.10")), &mut ()).unwrap();
}

#[test]
fn with_data_in_another_order_the_epoch_begins_anew() {
    let (dir, _, _) = one_checkpoint();
    let mut anyway = resuming(dir.path());
    anyway.seed = 6;
    anyway.checkpoints.as_mut().unwrap().anyway = true;
    let mut told = At::new(u64::MAX, || ());
    // Three steps before, and all five of the epoch.
    assert_eq!(run_for(1, &mut fresh(), &anyway, &mut told).unwrap().steps, 8);
    assert_eq!(told.notices.len(), 2, "{:?}", told.notices);
    assert!(told.notices[1].contains("the epoch begins anew"), "{:?}", told.notices);
}

#[test]
fn a_checkpoint_that_fails_costs_nothing_else() {
    type Act<'a> = &'a dyn Fn(&Path);
    let nothing = |at: &Path| std::fs::remove_dir_all(at).unwrap();
    let a_file = |at: &Path| {
        nothing(at);
        std::fs::write(at, b"in the way").unwrap();
    };
    let another_folder = |at: &Path| {
        std::fs::rename(at, at.with_extension("old")).unwrap();
        std::fs::create_dir(at).unwrap();
    };
    let expected = alone();
    for act in [&nothing as Act<'_>, &a_file, &another_folder] {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("points");
        let mut bad = At::new(4, || act(&at));
        let mut state = fresh();
        let outcome = run(&mut state, &options(&at), &mut bad).unwrap();
        assert_eq!((outcome.steps, bits(&state)), (10, expected.clone()));
        assert_eq!((bad.written.len(), outcome.failures.checkpoints), (3, 7));
        let why = outcome.failures.checkpoint.unwrap();
        assert!(why.contains("removed or replaced"), "{why}");
        assert_eq!(bad.notices.len(), 1, "told once: {:?}", bad.notices);
        assert!(bad.notices[0].contains("training goes on"), "{:?}", bad.notices);
        if at.is_dir() {
            assert!(files(&at).is_empty(), "the folder of somebody else is left alone");
        }
    }
}

/// A device that is full stands in for a disk that is, for one of the checkpoints.
#[cfg(target_os = "linux")]
#[test]
fn a_disk_that_is_full_for_a_while_costs_a_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let mut full = At::new(4, || {
        for step in [4, 5, 6] {
            let link = dir.path().join(format!("step-{step}.safetensors"));
            std::os::unix::fs::symlink("/dev/full", link).unwrap();
        }
    });
    let mut state = fresh();
    let outcome = run(&mut state, &options(dir.path()), &mut full).unwrap();
    assert_eq!((outcome.steps, bits(&state)), (10, alone()));
    // A later one made up for them.
    assert_eq!((outcome.failures.checkpoints, outcome.failures.checkpoint), (3, None));
    assert_eq!((full.written.len(), full.notices.len()), (7, 1));
    assert!(full.notices[0].contains("No space left"), "{:?}", full.notices);
    assert_eq!(files(dir.path()), ["step-10.safetensors", "step-9.safetensors"]);
}

#[test]
fn a_log_that_is_removed_costs_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log.csv");
    let log = Some(LogOptions { path: path.clone(), steps: true });
    let options = Options { checkpoints: None, log, ..options(dir.path()) };
    let mut state = fresh();
    let outcome =
        run(&mut state, &options, &mut At::new(4, || std::fs::remove_file(&path).unwrap())).unwrap();
    assert_eq!((outcome.steps, bits(&state)), (10, alone()));
    assert!(outcome.failures.log.unwrap().contains("log.csv"));
}

/// Folders that cannot be used are told before anything is trained.
#[test]
fn a_folder_that_cannot_be_used_is_told_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, b"in the way").unwrap();
    for at in [file.clone(), file.join("below")] {
        let mut never = At::new(1, || panic!("it trains"));
        let error = run(&mut fresh(), &options(&at), &mut never).unwrap_err().to_string();
        assert!(error.contains("cannot use the checkpoint directory"), "{error}");
    }
}
