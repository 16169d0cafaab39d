//! Killed with SIGKILL again and again while it trains and writes checkpoints, a run ends with the same bits.

#![cfg(unix)]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::common::*;
use brolga_runtime::*;

const DIRECTORY: &str = "BROLGA_TEST_KILL_DIRECTORY";

fn run(state: &mut State, directory: Option<&Path>) -> Outcome {
    let executables = Executables { train: train_program::<4>(), formulas: None, evaluation: None };
    let checkpoints = directory.map(|d| CheckpointOptions {
        every_steps: Some(1),
        resume: true,
        ..CheckpointOptions::new(d)
    });
    let options = Options { seed: 3, checkpoints, log: None };
    let (plan, data) = (Plan::epochs(executables, 4), &mut Toy::new(50, 0));
    train(&plan, state, &Threads::new(2).unwrap(), &mut [data], &options, &mut ()).unwrap()
}

/// Runs in a process of its own, started by the test below.
#[test]
fn child() {
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        let directory = Path::new(&directory);
        let mut state = fresh();
        run(&mut state, Some(&directory.join("checkpoints")));
        state.save(directory.join("result.safetensors")).unwrap();
    }
}

#[test]
fn killed_at_any_moment_it_resumes_to_the_same_bits() {
    let mut expected = fresh();
    run(&mut expected, None);

    let dir = tempfile::tempdir().unwrap();
    let mut kills = 0;
    // Later and later, so that it gets to the end on a slow machine too.
    for round in 0u64.. {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kill::child"])
            .env(DIRECTORY, dir.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let delay = philox(round, [0; 4])[0] % 20_000 + 1000 * round as u32;
        std::thread::sleep(Duration::from_micros(u64::from(delay)));
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success(), "after {kills} kills");
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
        assert!(kills < 1000, "it never gets to the end");
    }
    let mut state = fresh();
    state.load(dir.path().join("result.safetensors")).unwrap();
    assert_eq!(bits(&state), bits(&expected), "after {kills} kills");
    println!("killed {kills} times");
}
