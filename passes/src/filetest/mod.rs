//! File tests: what a pass makes of a graph or kernel program, as text beside it, checked and written anew on demand.
//!
//! A folder bears the name of a pass; each file `*.ir` in it holds a program or graph and what the pass makes of it:
//!
//! ```text
//! // what this file is about
//! graph @f(…) { … }
//!
//! // ---- after simplify
//! graph @f(…) { … }
//! ```
//!
//! The line between says which pass was run, and there is one such line: each file is one test. Lines may end in CR LF.
//! Lines at the beginning set options: `// memory-limit: BYTES`, `// run-again: true`, and `// passes: grad, dce`, which runs these passes
//! instead of that of the folder.
//!
//! More than the text is checked. The verifier runs on what the pass leaves. The text reads back as the same. Results are
//! those of before on random values, NaN, infinities and zeros of either sign among them, programs with the points of their
//! grids in either order: to the bit for exact passes, to 1e-9 in f64 for those that round, to an 8th for narrowing ones. A
//! pass that says it changed nothing has changed nothing, and a second run says so, unless the pass is one of
//! [`Suite::growing`].
//!
//! ```
//! use brolga_passes::filetest::Suite;
//!
//! // Files for passes of one's own stand beside those of the compiler.
//! let suite = Suite::new();
//! let folder = std::env::temp_dir().join("brolga-filetest-example/cse");
//! std::fs::create_dir_all(&folder)?;
//! let text = "graph @f(%x: f32[2]) {\n  %0 = tanh %x : f32[2]\n  return %0 as \"y\"\n}\n";
//! std::fs::write(folder.join("nothing.ir"), format!("{text}\n// ---- after cse\n// unchanged\n"))?;
//! let outcome = suite.run(&folder)?;
//! assert!(outcome.failures.is_empty(), "{outcome}");
//! # Ok::<(), std::io::Error>(())
//! ```

mod ir;
mod values;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fmt, fs, io};

use brolga_ir::Graph;
use brolga_ir::scalar::Scalar;

use crate::choose::prepare::prepare;
use crate::facts::index_ranges::index_ranges;
use crate::pipelines::{GRAPH_PASSES, PROGRAM_PASSES};
use crate::{GraphPass, Kind, Options, Precision, ProgramPass};

pub use ir::LOWER;
use ir::{Ir, Passes};
pub use values::{Values, compare, evaluate, evaluate_program, parameters, program_parameters, tensor};

/// What stands between the halves of a file, before the pass's name.
const SEPARATOR: &str = "// ---- after ";

/// What is no pass, and has files all the same: how an entry is split, and the ranges of its indices.
pub const ANALYSES: [&str; 2] = ["prepare", "index-ranges"];

/// Rounds of random values: ordinary ones in the first half, special ones among them in the second.
const ROUNDS: u64 = 4;

/// The passes that files can name, and how they are tested.
#[derive(Clone, Debug)]
pub struct Suite {
    passes: Passes,
    growing: Vec<String>,
    bless: bool,
}

impl Default for Suite {
    fn default() -> Suite {
        Suite::new()
    }
}

/// What a run of file tests has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// How many files there are of each pass.
    pub files: BTreeMap<String, usize>,
    /// Each file that failed, and why.
    pub failures: Vec<(PathBuf, String)>,
    /// Files that were written anew.
    pub blessed: Vec<PathBuf>,
}

impl fmt::Display for Outcome {
    /// The failures; then how many files there are, of how many passes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (file, why) in &self.failures {
            writeln!(f, "{}: {why}\n", file.display())?;
        }
        for file in &self.blessed {
            writeln!(f, "{}: written anew", file.display())?;
        }
        let count: usize = self.files.values().sum();
        let passed = count - self.failures.len();
        write!(f, "{passed} of {count} files passed, of {} passes", self.files.len())
    }
}

impl Suite {
    /// The compiler's own passes.
    pub fn new() -> Suite {
        Suite {
            passes: Passes { graph: GRAPH_PASSES.to_vec(), program: PROGRAM_PASSES.to_vec() },
            // `fuse` may put regions together again; what is lowered is no graph.
            growing: vec!["fuse".into(), LOWER.into()],
            bless: false,
        }
    }

    /// And a pass over graphs, which comes before one of that name among the compiler's own.
    pub fn graph_pass(mut self, pass: GraphPass) -> Suite {
        self.passes.graph.insert(0, pass);
        self
    }

    /// And a pass over kernel programs, which comes before one of that name among the compiler's own.
    pub fn program_pass(mut self, pass: ProgramPass) -> Suite {
        self.passes.program.insert(0, pass);
        self
    }

    /// The pass of this name may find more to do in what it left.
    pub fn growing(mut self, name: &str) -> Suite {
        self.growing.push(name.to_owned());
        self
    }

    /// Writes the second half of files anew where it differs, instead of failing. What else is checked still is.
    pub fn bless(mut self, bless: bool) -> Suite {
        self.bless = bless;
        self
    }

    /// The names that folders can have.
    pub fn names(&self) -> Vec<&str> {
        let own = self.passes.graph.iter().map(|pass| pass.name);
        let names =
            own.chain([LOWER]).chain(self.passes.program.iter().map(|pass| pass.name)).chain(ANALYSES);
        let mut names: Vec<&str> = names.collect();
        let mut seen = std::collections::HashSet::new();
        names.retain(|name| seen.insert(*name));
        names
    }

    /// Tests all files `*.ir` in a folder that bears the name of a pass, or in such folders below it.
    ///
    /// # Errors
    /// Folders and files that cannot be read or written. What is wrong with a test is a failure, and no error.
    pub fn run(&self, folder: &Path) -> io::Result<Outcome> {
        let mut outcome = Outcome::default();
        self.run_folder(folder, &mut outcome)?;
        Ok(outcome)
    }

    fn run_folder(&self, folder: &Path, outcome: &mut Outcome) -> io::Result<()> {
        let mut paths =
            fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
        paths.sort();
        // The name of `.` is that of the folder itself.
        let own = fs::canonicalize(folder)?;
        let name = own.file_name().unwrap_or_default().to_string_lossy().into_owned();
        for path in paths {
            if path.is_dir() {
                self.run_folder(&path, outcome)?;
            } else if path.is_file() && path.extension().is_some_and(|extension| extension == "ir") {
                self.run_file(&name, &path, outcome)?;
            }
        }
        Ok(())
    }

    fn run_file(&self, name: &str, path: &Path, outcome: &mut Outcome) -> io::Result<()> {
        let read = fs::read_to_string(path)?;
        // An editor may have changed how lines end; that is kept, and no difference.
        let text = read.replace("\r\n", "\n");
        let end = if text.len() == read.len() { "\n" } else { "\r\n" };
        let named = header(&text, "passes").unwrap_or(name);
        *outcome.files.entry(named.to_owned()).or_default() += 1;
        match self.check(named, &text) {
            Ok(()) => {}
            Err(Wrong::Text { blessed, .. }) if self.bless => {
                fs::write(path, blessed.replace('\n', end))?;
                outcome.blessed.push(path.to_path_buf());
            }
            Err(wrong) => outcome.failures.push((path.to_path_buf(), wrong.to_string())),
        }
        Ok(())
    }

    /// Tests the text of one file.
    fn check(&self, name: &str, text: &str) -> Result<(), Wrong> {
        let separators: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix(SEPARATOR)).collect();
        match separators[..] {
            [] => {}
            [said] if said.trim() == name => {}
            [said] => {
                let said = said.trim();
                return Err(format!(
                    "`{SEPARATOR}{said}` stands there, but the pass that was run is `{name}`"
                )
                .into());
            }
            _ => {
                let message = format!(
                    "`{}` stands there {} times: each test is a file of its own",
                    SEPARATOR.trim(),
                    separators.len()
                );
                return Err(message.into());
            }
        }
        let (input, expected) = match text.starts_with(SEPARATOR) {
            true => ("", text),
            false => text.split_once(&format!("\n{SEPARATOR}")).unwrap_or((text, "")),
        };
        let expected = expected.split_once('\n').map_or("", |(_, rest)| rest);
        let found = match name {
            "prepare" => check_prepare(input)?,
            "index-ranges" => check_ranges(input)?,
            _ => self.check_passes(name, input)?,
        };
        if found == expected {
            return Ok(());
        }
        let blessed = format!("{}\n\n{SEPARATOR}{name}\n{found}", input.trim_end());
        Err(Wrong::Text { expected: expected.to_owned(), found, blessed })
    }

    /// What the passes, with commas between their names, make of a text.
    fn check_passes(&self, names: &str, input: &str) -> Result<String, String> {
        let names: Vec<&str> = names.split(',').map(str::trim).collect();
        let before = Ir::parse(input)?;
        before.verify()?;
        let options = options(&names, input)?;
        let mut after = before.clone();
        let changed = match after.run_all(&self.passes, &names, &options)? {
            Ok(changed) => changed,
            Err(refused) => return Ok(refused),
        };
        let dropped = matches!((&before, &after), (Ir::Graph(a), Ir::Graph(b)) if a.len() != b.len());
        if !changed && (after != before || dropped) {
            return Err("the pass changed something and says it did not".into());
        }
        let text = after.to_string();
        if Ir::parse(&text)? != after {
            return Err(format!("the text does not read back as the same:\n{text}"));
        }
        let grows = |name: &&str| self.growing.iter().any(|growing| growing == name);
        if let ([name], false) = (&names[..], names.iter().any(grows))
            && after.clone().run(&self.passes, name, &options)? == Ok(true)
        {
            return Err(format!("a second run changes it again:\n{text}"));
        }
        match self.kind(&names) {
            Kind::Exact => same(&before, &after, &|a, b| a.same(b))?,
            // A weight is off by a 512th at most, so a product of two numbers below 2 by a 128th: some 20 of them together.
            Kind::Narrowing => same(&before, &after, &|a, b| off_by(a, b, 1.0 / 8.0))?,
            // Weights that are stored as another type are `f32`, whatever else a graph holds.
            Kind::Rounding if input.contains("weights: ") => {
                same(&before, &after, &|a, b| off_by(a, b, 1e-5))?;
            }
            Kind::Rounding => {
                let before = Ir::parse(&input.replace("f32", "f64"))?;
                let mut after = before.clone();
                after.run_all(&self.passes, &names, &options)??;
                same(&before, &after, &close)?;
            }
        }
        Ok(if changed { text } else { "// unchanged\n".to_owned() })
    }

    /// What several passes do to the bits: what the worst of them does.
    fn kind(&self, names: &[&str]) -> Kind {
        let kind = |name: &&str| {
            let graph = self.passes.graph.iter().find(|pass| pass.name == *name).map(|pass| pass.kind);
            let program = self.passes.program.iter().find(|pass| pass.name == *name).map(|pass| pass.kind);
            graph.or(program).unwrap_or(Kind::Rounding)
        };
        let kinds: Vec<Kind> = names.iter().map(kind).collect();
        [Kind::Narrowing, Kind::Rounding].into_iter().find(|kind| kinds.contains(kind)).unwrap_or(Kind::Exact)
    }
}

/// Why a file fails.
enum Wrong {
    /// Another text comes out than the one that stands there.
    Text { expected: String, found: String, blessed: String },
    /// Something else.
    Other(String),
}

impl From<String> for Wrong {
    fn from(message: String) -> Wrong {
        Wrong::Other(message)
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wrong::Text { expected, found, .. } => write!(f, "expected\n{expected}\nfound\n{found}"),
            Wrong::Other(message) => f.write_str(message),
        }
    }
}

/// The value of a line `// name: value` of a text.
fn header<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    text.lines().find_map(|line| line.strip_prefix("// ")?.strip_prefix(name)?.strip_prefix(": "))
}

/// The options that a text asks for.
fn options(names: &[&str], input: &str) -> Result<Options, String> {
    let limit = header(input, "memory-limit");
    let memory_limit = limit
        .map(|bytes| bytes.parse().map_err(|_| format!("`{bytes}` is no number of bytes")))
        .transpose()?;
    // A pass that is asked for has something to do.
    let precision = if names.contains(&"narrow") { Precision::Bf16 } else { Precision::F32 };
    let run_again = header(input, "run-again").is_some_and(|value| value == "true");
    Ok(Options { precision, memory_limit, run_again, ..Options::default() })
}

fn check_prepare(input: &str) -> Result<String, String> {
    let graph = Graph::parse(input).map_err(|errors| errors.to_string())?;
    let Some(split) = prepare(&graph).map_err(|error| error.to_string())? else {
        return Ok("// unchanged\n".to_owned());
    };
    for part in [&split.prepare, &split.main] {
        part.verify().map_err(|error| error.to_string())?;
    }
    for round in 0..ROUNDS {
        let mut values = parameters(&graph, round, true);
        let prepared = evaluate(&split.prepare, &values)?;
        values.extend(prepared);
        let (whole, parts) = (evaluate(&graph, &values)?, evaluate(&split.main, &values)?);
        compare(&whole, &parts, &|a, b| a.same(b))?;
    }
    Ok(format!("{}\n{}", split.prepare, split.main))
}

fn check_ranges(input: &str) -> Result<String, String> {
    let ranges = index_ranges(&Graph::parse(input).map_err(|errors| errors.to_string())?);
    let line = |(name, (low, high)): &(String, (i64, i64))| format!("// {name} in {low}..={high}\n");
    Ok(if ranges.is_empty() { "// none\n".to_owned() } else { ranges.iter().map(line).collect() })
}

/// Equal outputs for random parameters. Outputs that a `gradient` or `jvp` stands above cannot be evaluated.
fn same(before: &Ir, after: &Ir, equal: &dyn Fn(Scalar, Scalar) -> bool) -> Result<(), String> {
    let [before, after] = [before, after].map(|ir| {
        let mut ir = ir.clone();
        if let Ir::Graph(graph) = &mut ir {
            let blocked =
                |value| graph.order_from([value]).into_iter().any(|id| graph.node(id).op.is_derivative());
            let outputs = graph.outputs().iter().filter(|output| !blocked(output.value)).cloned().collect();
            *graph.outputs_mut() = outputs;
        }
        ir
    });
    for round in 0..ROUNDS {
        // Programs say the bounds of their inputs, so values are made for the later form, which may be one.
        let mut values = before.parameters(round, round >= ROUNDS / 2);
        values.extend(after.parameters(round, round >= ROUNDS / 2));
        let (first, second) = (before.evaluate(&values)?, after.evaluate(&values)?);
        compare(&first, &second, equal)?;
    }
    Ok(())
}

fn close(a: Scalar, b: Scalar) -> bool {
    off_by(a, b, 1e-9)
}

/// Whether values differ by so much at most, relative, and absolute below 1. What is finite stays finite; a NaN stays one,
/// and an infinity keeps its sign.
fn off_by(a: Scalar, b: Scalar, most: f64) -> bool {
    let (x, y) = (a.to_f64(), b.to_f64());
    a.same(b) || x == y || (x.is_finite() && (x - y).abs() <= most * x.abs().max(1.0))
}
