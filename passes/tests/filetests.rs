//! One folder for each pass under `tests/filetests`, one graph and what the pass makes of it in each file:
//!
//! ```text
//! // what this file is about
//! graph @f(…) { … }
//! // ---- after simplify
//! graph @f(…) { … }
//! ```
//!
//! The manager verifies what the pass leaves. Each file is evaluated before and after on random parameters: exact
//! passes must keep the bits, rounding ones agree to 1e-9 in f64. A pass that says it changed nothing must have
//! changed nothing, and a second run must say so. With `BROLGA_BLESS=1` the second half of every file is rewritten.

mod common;

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use brolga_ir::Graph;
use brolga_ir::scalar::Scalar;
use brolga_passes::index_ranges::index_ranges;
use brolga_passes::pipelines::GRAPH_PASSES;
use brolga_passes::prepare::prepare;
use brolga_passes::{GraphPass, Kind, Manager, Options};
use common::{compare, evaluate, parameters};

/// What stands between the halves of a file, before the pass's name.
const SEPARATOR: &str = "// ---- after ";

#[test]
fn filetests() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/filetests");
    let mut failures = Vec::new();
    let mut files: HashMap<String, usize> = HashMap::new();
    for folder in entries(&root) {
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        for file in entries(&folder).into_iter().filter(|file| file.extension().is_some_and(|e| e == "ir")) {
            *files.entry(name.clone()).or_default() += 1;
            let path = format!("{name}/{}", file.file_name().unwrap().to_string_lossy());
            if let Err(message) = check(&name, &file) {
                failures.push(format!("{path}: {message}"));
            }
        }
    }
    assert!(failures.is_empty(), "{} of the files failed\n\n{}", failures.len(), failures.join("\n\n"));
    for pass in GRAPH_PASSES.iter().map(|pass| pass.name).filter(|&name| name != "fuse") {
        let count = files.get(pass).copied().unwrap_or(0);
        assert!(count >= 3, "the pass {pass} has {count} files");
    }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let read = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = read.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

fn check(name: &str, file: &Path) -> Result<(), String> {
    let text = fs::read_to_string(file).map_err(|error| error.to_string())?;
    let (input, expected) = text.split_once(SEPARATOR).unwrap_or((&text, ""));
    let expected = expected.split_once('\n').map_or("", |(_, rest)| rest);
    let found = match name {
        "prepare" => check_prepare(input)?,
        "index-ranges" => check_ranges(input)?,
        _ => {
            let pass = GRAPH_PASSES.iter().find(|pass| pass.name == name);
            let pass = pass.ok_or_else(|| format!("there is no graph pass {name}"))?;
            check_pass(*pass, input)?
        }
    };
    if std::env::var_os("BROLGA_BLESS").is_some() {
        let blessed = format!("{}\n\n{SEPARATOR}{name}\n{found}", input.trim_end());
        return fs::write(file, blessed).map_err(|error| error.to_string());
    }
    if found == expected {
        return Ok(());
    }
    Err(format!("expected\n{expected}\nfound\n{found}"))
}

fn parse(text: &str) -> Result<Graph, String> {
    Graph::parse(text).map_err(|errors| errors.to_string())
}

/// Runs a pass; its error as a comment, if it fails.
fn run(pass: GraphPass, graph: &mut Graph) -> Result<Result<bool, String>, String> {
    match Manager::new(Options::default()).run(&[pass], graph) {
        Ok(changed) => Ok(Ok(changed)),
        Err(error) if error.broken => Err(error.to_string()),
        Err(error) => Ok(Err(format!("// error: {error}\n"))),
    }
}

fn check_pass(pass: GraphPass, input: &str) -> Result<String, String> {
    let before = parse(input)?;
    before.verify().map_err(|error| error.to_string())?;
    let mut after = before.clone();
    let changed = match run(pass, &mut after)? {
        Ok(changed) => changed,
        Err(error) => return Ok(error),
    };
    if !changed && (after != before || after.len() != before.len()) {
        return Err("the pass changed the graph and says it did not".into());
    }
    let text = after.to_string();
    if parse(&text)? != after {
        return Err(format!("the text does not read back as the same graph:\n{text}"));
    }
    // `fuse` may put regions together again; everything else reaches a fixed point.
    if pass.name != "fuse" && run(pass, &mut after.clone())? == Ok(true) {
        return Err(format!("a second run changes the graph again:\n{text}"));
    }
    match pass.kind {
        Kind::Exact => same(&before, &after, &|a, b| a.same(b))?,
        Kind::Rounding => {
            let before = parse(&input.replace("f32", "f64"))?;
            let mut after = before.clone();
            run(pass, &mut after)??;
            same(&before, &after, &close)?;
        }
    }
    Ok(if changed { text } else { "// unchanged\n".to_owned() })
}

fn check_prepare(input: &str) -> Result<String, String> {
    let graph = parse(input)?;
    let Some(split) = prepare(&graph).map_err(|error| error.to_string())? else {
        return Ok("// unchanged\n".to_owned());
    };
    for part in [&split.prepare, &split.main] {
        part.verify().map_err(|error| error.to_string())?;
    }
    for round in 0..4 {
        let mut values = parameters(&graph, round, true);
        let prepared = evaluate(&split.prepare, &values)?;
        values.extend(prepared);
        let (whole, parts) = (evaluate(&graph, &values)?, evaluate(&split.main, &values)?);
        compare(&whole, &parts, &|a, b| a.same(b))?;
    }
    Ok(format!("{}\n{}", split.prepare, split.main))
}

fn check_ranges(input: &str) -> Result<String, String> {
    let ranges = index_ranges(&parse(input)?);
    let line = |(name, (low, high)): &(String, (i64, i64))| format!("// {name} in {low}..={high}\n");
    Ok(if ranges.is_empty() { "// none\n".to_owned() } else { ranges.iter().map(line).collect() })
}

/// Equal outputs for random parameters. Outputs that a `gradient` or `jvp` stands above cannot be evaluated before.
fn same(before: &Graph, after: &Graph, equal: &dyn Fn(Scalar, Scalar) -> bool) -> Result<(), String> {
    let mut before = before.clone();
    let blocked = |graph: &Graph, value| {
        graph.order_from([value]).into_iter().any(|id| graph.node(id).op.is_derivative())
    };
    let outputs = before.outputs().iter().filter(|output| !blocked(&before, output.value)).cloned().collect();
    *before.outputs_mut() = outputs;
    for round in 0..4 {
        // Ordinary numbers first, then with NaN, infinities and zeros of either sign among them.
        let values = parameters(&before, round, round >= 2);
        let (first, second) = (evaluate(&before, &values)?, evaluate(after, &values)?);
        compare(&first, &second, equal)?;
    }
    Ok(())
}

fn close(a: Scalar, b: Scalar) -> bool {
    let (x, y) = (a.to_f64(), b.to_f64());
    a.same(b) || !x.is_finite() || (x - y).abs() <= 1e-9 * x.abs().max(1.0)
}
