//! One folder for each pass under `tests/filetests`; [`brolga_passes::filetest`] says what is in them, and what is checked.
//! With `BROLGA_BLESS=1` the second half of every file is rewritten.

use std::path::Path;

use brolga_ir::program::Program;
use brolga_ir::{Graph, GraphError};
use brolga_passes::filetest::{ANALYSES, Suite};
use brolga_passes::pipelines::PROGRAM_PASSES;
use brolga_passes::{Kind, Options, Pass};

#[test]
fn filetests() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/filetests");
    let suite = Suite::new().bless(std::env::var_os("BROLGA_BLESS").is_some());
    let outcome = suite.run(&root).unwrap();
    assert!(outcome.failures.is_empty(), "{outcome}");
    for pass in suite.names().into_iter().filter(|pass| !ANALYSES.contains(pass)) {
        let count = outcome.files.get(pass).copied().unwrap_or(0);
        assert!(count >= 3, "the pass {pass} has {count} files");
    }
}

/// Every pass has files with loops over a sequence, loops that end by a condition, and branches before it; those of programs with
/// what these become.
#[test]
fn every_pass_meets_loops_and_branches() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/filetests");
    let is_of_programs = |name: &str| PROGRAM_PASSES.iter().any(|pass| pass.name == name);
    let suite = Suite::new();
    for pass in suite.names() {
        let files = std::fs::read_dir(root.join(pass)).expect("a folder of the pass");
        let before = |file: std::io::Result<std::fs::DirEntry>| {
            let text = std::fs::read_to_string(file.expect("a file").path()).expect("a text");
            text.split("// ---- after").next().unwrap_or_default().to_owned()
        };
        let texts: Vec<String> = files.map(before).collect();
        let marks = match is_of_programs(pass) {
            true => ["  loop ", "  break unless ", "  if %"],
            false => [" = scan ", " = while ", " = cond "],
        };
        for mark in marks {
            let found = texts.iter().any(|text| text.contains(mark));
            assert!(found, "no file of the pass {pass} has `{}`", mark.trim());
        }
    }
}

/// A folder with files `NAME.ir` of these texts.
fn folder(pass: &str, files: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join(pass);
    std::fs::create_dir(&folder).unwrap();
    for (name, text) in files {
        std::fs::write(folder.join(format!("{name}.ir")), text).unwrap();
    }
    root
}

const NEGATED: &str = "// twice negated\ngraph @f(%x: f32[2]) {\n  %0 = neg %x : f32[2]\n  %1 = neg %0 : f32[2]\n  \
                       return %1 as \"y\"\n}\n";

/// Passes that are right, and wrong in some ways.
const UNNEG: Pass<Graph> = own("unneg", |graph, _| Ok(unneg(graph)));
const LYING: Pass<Graph> = own("lying", |_, _| Ok(true));
const SILENT: Pass<Graph> = own("silent", |graph, _| Ok(!wrong(graph)));
const BROKEN: Pass<Graph> = own("broken", |graph, _| Ok(wrong(graph)));

const fn own(name: &'static str, run: fn(&mut Graph, &Options) -> Result<bool, GraphError>) -> Pass<Graph> {
    Pass::new(name, Kind::Exact, run).outside("it is of a test")
}

/// `neg (neg x)` is `x`.
fn unneg(graph: &mut Graph) -> bool {
    let mut changed = false;
    for id in graph.order() {
        let negates = |graph: &Graph, id| graph.node(id).op.get().name() == "neg";
        if !negates(graph, id) {
            continue;
        }
        let inner = graph.node(id).operands[0].node;
        if negates(graph, inner) {
            let x = graph.node(inner).operands[0];
            graph.replace_uses(graph.result(id), x);
            changed = true;
        }
    }
    changed
}

/// The first output becomes the first parameter.
fn wrong(graph: &mut Graph) -> bool {
    let x = graph.result(graph.parameters()[0]);
    graph.outputs_mut().iter_mut().for_each(|output| output.value = x);
    true
}

/// A pass of one's own is tested as those of the compiler: its text is written, read, and found to differ; passes that lie,
/// break results or do not come to an end are found.
#[test]
fn passes_of_ones_own() {
    let root = folder("unneg", &[("twice", NEGATED)]);
    let suite = Suite::new().graph_pass(UNNEG);
    let failed = suite.run(root.path()).unwrap();
    assert_eq!(failed.failures.len(), 1);
    assert!(failed.to_string().contains("0 of 1 files passed"), "{failed}");

    let blessed = suite.clone().bless(true).run(root.path()).unwrap();
    assert_eq!((blessed.failures.len(), blessed.blessed.len()), (0, 1), "{blessed}");
    let text = std::fs::read_to_string(root.path().join("unneg/twice.ir")).unwrap();
    assert!(
        text.starts_with(NEGATED)
            && text.ends_with("// ---- after unneg\ngraph @f(%x: f32[2]) {\n  return %x as \"y\"\n}\n"),
        "{text}"
    );
    // From the folder itself, and again without writing.
    let good = suite.clone().bless(true).run(&root.path().join("unneg")).unwrap();
    assert!(good.failures.is_empty() && good.blessed.is_empty(), "{good}");

    let once = NEGATED.replace("return %1", "return %0");
    for (name, text, message) in [
        ("lying", NEGATED, "a second run changes it again"),
        ("silent", once.as_str(), "says it did not"),
        ("broken", once.as_str(), "was F32("),
        ("unknown", NEGATED, "there is no pass `unknown` over a graph"),
    ] {
        let root = folder(name, &[("f", text)]);
        let suite = Suite::new().bless(true).growing("broken");
        let suite = suite.graph_pass(LYING).graph_pass(SILENT).graph_pass(BROKEN);
        let outcome = suite.run(root.path()).unwrap();
        assert!(outcome.to_string().contains(message), "{name}: {outcome}");
        assert!(outcome.blessed.is_empty(), "{name}: what is wrong is not written");
    }
}

/// A file may name its passes itself; a program's are those of programs.
#[test]
fn passes_named_in_the_file() {
    let text = format!("// passes: simplify, lower, vectorise\n{NEGATED}");
    let root = folder("anything", &[("several", &text)]);
    let outcome = Suite::new().bless(true).run(root.path()).unwrap();
    assert!(outcome.failures.is_empty() && outcome.blessed.len() == 1, "{outcome}");
    let written = std::fs::read_to_string(&outcome.blessed[0]).unwrap();
    let (_, after) = written.split_once("// ---- after simplify, lower, vectorise\n").unwrap();
    assert!(Program::parse(after).is_ok(), "{after}");
    assert!(Suite::new().run(root.path()).unwrap().failures.is_empty());
}

/// The line between the halves names the pass that was run, and there is one: what is wrong with it is told, and nothing is
/// written.
#[test]
fn each_file_is_one_test_of_the_pass_it_names() {
    let after = "graph @f(%x: f32[2]) {\n  return %x as \"y\"\n}\n";
    let good = format!("{NEGATED}\n// ---- after unneg\n{after}");
    let suite = || Suite::new().graph_pass(UNNEG);
    let cases = [
        (good.replace("after unneg", "after fuse"), "but the pass that was run is `unneg`"),
        (good.replace("after unneg", "after "), "but the pass that was run is `unneg`"),
        (format!("// passes: dce, unneg\n{good}"), "but the pass that was run is `dce, unneg`"),
        (format!("{good}\n{good}"), "stands there 2 times: each test is a file of its own"),
        (format!("{good}\n{NEGATED}\n// ---- after cse\n{after}"), "each test is a file of its own"),
    ];
    for (text, message) in cases {
        let root = folder("unneg", &[("f", &text)]);
        for bless in [false, true] {
            let outcome = suite().bless(bless).run(root.path()).unwrap();
            assert!(outcome.to_string().contains(message), "{text}: {outcome}");
            assert!(outcome.blessed.is_empty());
            assert_eq!(std::fs::read_to_string(root.path().join("unneg/f.ir")).unwrap(), text);
        }
    }
    let root = folder("unneg", &[("f", &good)]);
    assert!(suite().run(root.path()).unwrap().failures.is_empty());
}

/// Lines that end in CR LF are compared as others are, and what is written anew ends them so too.
#[test]
fn line_ends_are_kept() {
    let after = "graph @f(%x: f32[2]) {\n  return %x as \"y\"\n}\n";
    let good = format!("{NEGATED}\n// ---- after unneg\n{after}");
    for (given, passes) in
        [(good.clone(), true), (NEGATED.to_owned(), false), (good.replace("%x as", "%0 as"), false)]
    {
        let root = folder("unneg", &[("f", &given.replace('\n', "\r\n"))]);
        let suite = Suite::new().graph_pass(UNNEG);
        assert_eq!(suite.run(root.path()).unwrap().failures.is_empty(), passes, "{given}");
        let blessed = suite.clone().bless(true).run(root.path()).unwrap();
        assert!(blessed.failures.is_empty() && blessed.blessed.is_empty() == passes, "{blessed}");
        let text = std::fs::read_to_string(root.path().join("unneg/f.ir")).unwrap();
        assert_eq!(text, good.replace('\n', "\r\n"));
        assert!(suite.run(root.path()).unwrap().failures.is_empty());
    }
}
