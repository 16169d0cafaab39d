//! The rows of the course: what the command says of them, that what they came to is of the models as they are, and those that
//! take less than a second.

#![cfg(feature = "cli")]

use std::fs;
use std::path::Path;

use brolga::models::rows::{Kind, ROWS};
use serde_json::Value;

use crate::cli::{bad, folder, good, run};

fn rows(at: &Path, arguments: &str) -> Vec<Value> {
    let text = good(at, arguments);
    let value: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{arguments}: {e}: {text}"));
    value["rows"].as_array().unwrap().clone()
}

/// The results that come along are of models, settings and data as they are, and what their targets say. `brolga catalogue run
/// --stale` mends what is not.
#[test]
fn results_that_come_along_are_of_the_models_as_they_are() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let lines = fs::read_to_string(root.join("docs/catalogue.csv")).unwrap().lines().count() - 1;
    let rows = rows(root, "catalogue --json");
    assert_eq!(rows.len(), ROWS.iter().map(|(_, runs)| runs.len()).sum::<usize>());
    assert_eq!(lines, rows.iter().filter(|row| row["run"] == true).count(), "lines of no run");
    for row in rows.iter().filter(|row| row["run"] == true) {
        assert_eq!((&row["stale"], &row["holds"]), (&false.into(), &true.into()), "{row}");
    }
}

/// Rows that take about a second, to the bit: chance, data and arithmetic are the same everywhere.
#[test]
fn short_rows_come_to_what_comes_along() {
    let folder = folder();
    let kept = rows(Path::new(env!("CARGO_MANIFEST_DIR")), "catalogue --json");
    let again = rows(folder.path(), "catalogue run elman jordan --json --results results.csv");
    assert_eq!(again.len(), 2);
    for row in again {
        let kept = kept.iter().find(|kept| kept["command"] == row["command"]).unwrap();
        assert_eq!((&row["target"], &row["value"]), (&kept["target"], &kept["value"]), "{row}");
    }
}

#[test]
fn the_list_has_every_chapter_and_says_what_exists() {
    let folder = folder();
    let text = good(folder.path(), "catalogue");
    assert!(text.starts_with("258 rows"), "{text}");
    for part in
        ["M1 1.1", "(alphago-zero)", "M5 2.17", "brolga check vgg16", "not run yet", "groups D, E, F, G: "]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("(elman)") && !text.contains("(vgg)"), "{text}");
}

/// Counts of parameters take no time.
#[test]
fn results_are_kept_and_run_again_where_they_are_stale() {
    let folder = folder();
    let (at, file) = (folder.path(), folder.path().join("results.csv"));
    let all = rows(at, "catalogue run resnet-cifar --json --results results.csv");
    assert_eq!(all.len(), 4);
    assert!(all.iter().all(|row| row["holds"] == true), "{all:?}");
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.starts_with("id,command,target,value,seed,hash,numerics\nresnet-cifar,brolga check resnet20,parameters = 269722,269722,0,"));
    assert!(rows(at, "catalogue run resnet-cifar --stale --json --results results.csv").is_empty());

    // Another model in the place of one of them, and a target that is missed.
    let lines: Vec<&str> = text.lines().collect();
    let hash = lines[2].split(',').nth(5).unwrap();
    let changed = text.replacen(&format!("464154,0,{hash}"), "464154,0,00000000", 1);
    let changed = changed.replacen("parameters = 853018", "parameters = 1", 1);
    fs::write(&file, changed).unwrap();
    let listed = good(at, "catalogue --results results.csv");
    let of = |model: &str| listed.lines().find(|line| line.contains(&format!("check {model} "))).unwrap();
    assert!(of("resnet32").ends_with("stale") && of("resnet56").ends_with("missed"), "{listed}");
    assert!(of("resnet20").ends_with("269,722"), "{listed}");
    let again = rows(at, "catalogue run resnet-cifar --stale --json --results results.csv");
    assert_eq!(again.len(), 1);
    assert_eq!(again[0]["command"], "brolga check resnet32");
    assert!(good(at, "catalogue run resnet-cifar --results results.csv").contains("parameters = 853018"));
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
}

#[test]
fn what_is_wrong_is_said() {
    let folder = folder();
    let at = folder.path();
    let unknown = bad(at, "catalogue run lennet5");
    assert!(unknown.contains("lennet5") && unknown.contains("`lenet5`"), "{unknown}");
    fs::write(at.join("table.csv"), "a,b\n1,2\n").unwrap();
    let other = bad(at, "catalogue run resnet-cifar --results table.csv");
    assert!(other.contains("holds no results of a catalogue"), "{other}");
    fs::write(at.join("many.csv"), "id,command,target,value,seed,hash,numerics\nx,y,z,many,0,0,1\n").unwrap();
    assert!(bad(at, "catalogue --results many.csv").contains("`x,y,z,many,0,0,1`"));
    assert!(!run(at, "catalogue run resnet-cifar --results nowhere/x.csv").status.success());
}

/// Data sets that are made are named like others, and what is wrong with their arguments is said.
#[test]
fn made_data_sets_are_named_with_arguments() {
    let folder = folder();
    let at = folder.path();
    let wrong = bad(at, "train elman --data mk1(lenght:32) --epochs 1");
    assert!(
        wrong.contains("`lenght`")
            && wrong.contains("\"symbols\", \"length\", \"count\", \"continuous\", \"seed\""),
        "{wrong}"
    );
    let output = run(at, "train elman --data mk1(count:64,seed:5) --epochs 1");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.contains("64 samples, 625 held out"), "{errors}");
}

#[test]
fn every_run_names_a_model_that_comes_along() {
    let names = brolga::names().unwrap();
    for (id, runs) in ROWS {
        assert!(!runs.is_empty(), "{id}");
        for run in *runs {
            assert!(names.contains(&(run.model.to_owned(), run.family)), "{id}: {}", run.model);
            let same = runs.iter().filter(|other| other.command() == run.command());
            assert_eq!(same.count(), 1, "{id}: {}", run.command());
            assert!(!matches!(run.kind, Kind::Trains { epochs: Some(0), .. }));
        }
    }
}
