//! Passes are found by their names.

use brolga_passes::pipelines::{GRAPH_PASSES, graph_passes};

#[test]
fn passes_are_found_by_name() {
    let names: Vec<&str> = graph_passes("dce, grad").unwrap().iter().map(|pass| pass.name).collect();
    assert_eq!(names, ["dce", "grad"]);
}

#[test]
fn unknown_names_get_the_nearest() {
    let error = graph_passes("grda").unwrap_err();
    assert!(error.contains("no pass `grda`") && error.contains("did you mean `grad`"), "{error}");
    assert!(!graph_passes("polyhedral").unwrap_err().contains("did you mean"));
}

#[test]
fn names_are_unique() {
    let mut names: Vec<&str> = GRAPH_PASSES.iter().map(|pass| pass.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), GRAPH_PASSES.len());
}
