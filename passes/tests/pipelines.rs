//! Passes are found by their names, and do in regions what the list says of them.

use std::collections::HashMap;
use std::path::Path;

use crate::common::everywhere;
use brolga_ir::ops::{Role, Scan};
use brolga_ir::{Builder, Graph, Origin, Value};
use brolga_passes::pipelines::{GRAPH_PASSES, graph_passes};
use brolga_passes::{GraphPass, Manager, Options, Precision, Regions};

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

/// The graph as the body of a loop that captures what it reads. The loop gives the results of both iterations; new state is
/// computed outside.
fn in_a_loop(graph: &Graph) -> Graph {
    let mut outer = Graph::new(&graph.name);
    let mut body = Graph::new("body");
    let mut map = HashMap::new();
    let mut captures = Vec::new();
    for &id in graph.parameters() {
        let parameter = graph.parameter(id).expect("a parameter");
        let (name, ty) = (&parameter.name, parameter.ty.clone());
        map.insert(graph.result(id), body.add_parameter(name, Role::Data, ty.clone()));
        captures.push(outer.add_parameter(name, parameter.role, ty));
    }
    if graph.outputs().iter().all(|output| output.role == Role::Data) {
        // With what nothing needs.
        let all: Vec<Value> = graph.nodes().flat_map(|id| graph.results(id)).collect();
        body.import(graph, &all, &mut map).expect("a copy");
    }
    for (number, output) in graph.outputs().iter().enumerate() {
        let value = body.import(graph, &[output.value], &mut map).expect("a copy")[0];
        body.add_output(&format!("y{number}"), Role::Data, value);
    }
    let scan = Scan {
        body,
        length: 2,
        carries: 0,
        slices: 0,
        reverse: false,
        guarded: false,
        segments: Default::default(),
    };
    let mut b = Builder::new(&mut outer, Origin::new("loop"));
    let results = b.add_nodes(scan, &captures).expect("a loop");
    for (number, (result, output)) in results.into_iter().zip(graph.outputs()).enumerate() {
        outer.add_output(&format!("y{number}"), Role::Data, result);
        let state = graph.parameters().iter().position(|&id| {
            output.role == Role::State && graph.parameter(id).is_some_and(|p| p.name == output.name)
        });
        if let Some(position) = state {
            let old = captures[position];
            let new = Builder::new(&mut outer, Origin::new("update")).add(old, old).expect("equal types");
            outer.add_output(&output.name, Role::State, new);
        }
    }
    outer
}

/// Whether a pass changes the graph of a text inside of a loop.
fn changes_inside(pass: GraphPass, text: &str) -> bool {
    let text = text.split("// ---- after").next().unwrap_or(text);
    let Ok(graph) = Graph::parse(text) else { return false };
    let (algorithms, precision) = (everywhere(4), Precision::Bf16);
    let precision = if pass.name == "narrow" { precision } else { Precision::F32 };
    let options = Options { algorithms, precision, ..Options::default() };
    let mut looped = in_a_loop(&graph);
    Manager::new(options).run(&[pass], &mut looped).unwrap_or(false)
}

/// A pass that says that it goes into regions changes the graphs of its own files when they are the body of a loop; another
/// has a reason, and changes none.
#[test]
fn passes_do_in_regions_what_they_say() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/filetests");
    for &pass in GRAPH_PASSES {
        let files = std::fs::read_dir(root.join(pass.name)).expect("a folder for each pass");
        let texts = files.map(|file| std::fs::read_to_string(file.expect("a file").path()).expect("a text"));
        let changed = texts.filter(|text| changes_inside(pass, text)).count();
        match pass.regions {
            Regions::All => assert!(changed > 0, "{} changes nothing inside of a loop", pass.name),
            Regions::Outside(reason) => {
                assert!(reason.len() > 10, "{} has no reason", pass.name);
                assert_eq!(changed, 0, "{} says that it stays outside", pass.name);
            }
        }
    }
}
