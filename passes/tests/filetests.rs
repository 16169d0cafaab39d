//! One folder for each pass under `tests/filetests`, one graph or kernel program and what the pass makes of it in each
//! file:
//!
//! ```text
//! // what this file is about
//! graph @f(…) { … }
//! // ---- after simplify
//! graph @f(…) { … }
//! ```
//!
//! A line `// memory-limit: BYTES` sets that option.
//!
//! The manager verifies what the pass leaves. Each file is evaluated before and after on random parameters, programs
//! with the points of their grids in either order: exact passes must keep the bits, rounding ones agree to 1e-9 in f64,
//! narrowing ones to an 8th, which tells what is computed from what is not.
//! A pass that says it changed nothing must have changed nothing, and a second run must say so. With `BROLGA_BLESS=1`
//! the second half of every file is rewritten.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use crate::common::{compare, evaluate, evaluate_program, parameters, program_parameters};
use brolga_ir::program::Program;
use brolga_ir::program::interpret::GridOrder;
use brolga_ir::scalar::Scalar;
use brolga_ir::{Graph, Tensor};
use brolga_passes::index_ranges::index_ranges;
use brolga_passes::lower::lower;
use brolga_passes::manager::Ir as _;
use brolga_passes::pipelines::{GRAPH_PASSES, PROGRAM_PASSES};
use brolga_passes::prepare::prepare;
use brolga_passes::{Kind, Manager, Options, Precision};

/// What stands between the halves of a file, before the pass's name.
const SEPARATOR: &str = "// ---- after ";

/// The pass that makes programs of graphs. It decides the order of sums.
const LOWER: &str = "lower";

/// The one graph pass that may find more to do in what it left.
const FUSE: &str = "fuse";

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
    let program_passes = PROGRAM_PASSES.iter().map(|pass| pass.name);
    for pass in GRAPH_PASSES.iter().map(|pass| pass.name).chain([LOWER]).chain(program_passes) {
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
        _ => check_pass(name, input)?,
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

/// What a file holds.
#[derive(Clone, PartialEq)]
enum Ir {
    Graph(Graph),
    Program(Program),
}

impl Ir {
    fn parse(text: &str) -> Result<Ir, String> {
        let code = text.lines().find(|line| !line.trim().is_empty() && !line.starts_with("//"));
        if code.is_some_and(|line| line.starts_with("program")) {
            return Program::parse(text).map(Ir::Program).map_err(|error| error.to_string());
        }
        parse(text).map(Ir::Graph)
    }

    fn verify(&self) -> Result<(), String> {
        let verified = match self {
            Ir::Graph(graph) => brolga_passes::manager::Ir::verify(graph),
            Ir::Program(program) => program.verify(),
        };
        verified.map_err(|error| error.to_string())
    }

    /// Values for its inputs and state, by name.
    fn parameters(&self, seed: u64, special: bool) -> HashMap<String, Tensor> {
        match self {
            Ir::Graph(graph) => parameters(graph, seed, special),
            Ir::Program(program) => program_parameters(program, seed, special),
        }
    }

    fn evaluate(&self, values: &HashMap<String, Tensor>) -> Result<HashMap<String, Tensor>, String> {
        match self {
            Ir::Graph(graph) => evaluate(graph, values),
            Ir::Program(program) => {
                let results = evaluate_program(program, values, GridOrder::Forward)?;
                let reverse = evaluate_program(program, values, GridOrder::Reverse)?;
                compare(&results, &reverse, &|a, b| a.same(b))?;
                Ok(results)
            }
        }
    }

    /// Runs a pass; its error, if it refuses, as a comment.
    fn run(&mut self, name: &str, options: &Options) -> Result<Result<bool, String>, String> {
        let mut manager = Manager::new(options.clone());
        let unknown = || format!("there is no pass {name} for this");
        let ran = match self {
            Ir::Graph(graph) if name == LOWER => {
                let ranges = index_ranges(graph).into_iter().collect();
                let made = manager.make(LOWER, |_| lower(graph, &ranges));
                made.map(|program| *self = Ir::Program(program.expect("a manager that does not stop")))
                    .map(|()| true)
            }
            Ir::Graph(graph) => {
                let pass = GRAPH_PASSES.iter().find(|pass| pass.name == name).ok_or_else(unknown)?;
                manager.run(&[*pass], graph)
            }
            Ir::Program(program) => {
                let pass = PROGRAM_PASSES.iter().find(|pass| pass.name == name).ok_or_else(unknown)?;
                manager.run(&[*pass], program)
            }
        };
        match ran {
            Ok(changed) => Ok(Ok(changed)),
            Err(error) if error.broken => Err(error.to_string()),
            Err(error) => Ok(Err(format!("// error: {error}\n"))),
        }
    }
}

impl fmt::Display for Ir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ir::Graph(graph) => graph.fmt(f),
            Ir::Program(program) => program.fmt(f),
        }
    }
}

fn parse(text: &str) -> Result<Graph, String> {
    Graph::parse(text).map_err(|errors| errors.to_string())
}

fn kind(name: &str) -> Kind {
    let graph = GRAPH_PASSES.iter().find(|pass| pass.name == name).map(|pass| pass.kind);
    let program = PROGRAM_PASSES.iter().find(|pass| pass.name == name).map(|pass| pass.kind);
    graph.or(program).unwrap_or(Kind::Rounding)
}

fn check_pass(name: &str, input: &str) -> Result<String, String> {
    let before = Ir::parse(input)?;
    before.verify()?;
    let limit = input.lines().find_map(|line| line.strip_prefix("// memory-limit: "));
    let memory_limit =
        limit.map(|bytes| bytes.parse().map_err(|_| format!("`{bytes}` bytes"))).transpose()?;
    let precision = if name == "narrow" { Precision::Bf16 } else { Precision::F32 };
    let options = Options { precision, memory_limit, ..Options::default() };
    let mut after = before.clone();
    let changed = match after.run(name, &options)? {
        Ok(changed) => changed,
        Err(error) => return Ok(error),
    };
    let dropped = matches!((&before, &after), (Ir::Graph(a), Ir::Graph(b)) if a.len() != b.len());
    if !changed && (after != before || dropped) {
        return Err("the pass changed something and says it did not".into());
    }
    let text = after.to_string();
    if Ir::parse(&text)? != after {
        return Err(format!("the text does not read back as the same:\n{text}"));
    }
    // `fuse` may put regions together again; what is lowered is no graph; everything else reaches a fixed point.
    if ![FUSE, LOWER].contains(&name) && after.clone().run(name, &options)? == Ok(true) {
        return Err(format!("a second run changes it again:\n{text}"));
    }
    match kind(name) {
        Kind::Exact => same(&before, &after, &|a, b| a.same(b))?,
        // A weight is off by a 512th at most, so a product of two numbers below 2 by a 128th: some 20 of them together.
        Kind::Narrowing => same(&before, &after, &|a, b| off_by(a, b, 1.0 / 8.0))?,
        Kind::Rounding => {
            let before = Ir::parse(&input.replace("f32", "f64"))?;
            let mut after = before.clone();
            after.run(name, &options)??;
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
fn same(before: &Ir, after: &Ir, equal: &dyn Fn(Scalar, Scalar) -> bool) -> Result<(), String> {
    let mut before = before.clone();
    if let Ir::Graph(graph) = &mut before {
        let blocked =
            |value| graph.order_from([value]).into_iter().any(|id| graph.node(id).op.is_derivative());
        let outputs = graph.outputs().iter().filter(|output| !blocked(output.value)).cloned().collect();
        *graph.outputs_mut() = outputs;
    }
    for round in 0..4 {
        // Ordinary numbers first, then with NaN, infinities and zeros of either sign among them. Programs say the
        // bounds of their inputs, so values are made for the later form, which may be one.
        let mut values = before.parameters(round, round >= 2);
        values.extend(after.parameters(round, round >= 2));
        let (first, second) = (before.evaluate(&values)?, after.evaluate(&values)?);
        compare(&first, &second, equal)?;
    }
    Ok(())
}

fn close(a: Scalar, b: Scalar) -> bool {
    off_by(a, b, 1e-9)
}

fn off_by(a: Scalar, b: Scalar, most: f64) -> bool {
    let (x, y) = (a.to_f64(), b.to_f64());
    a.same(b) || !x.is_finite() || (x - y).abs() <= most * x.abs().max(1.0)
}
