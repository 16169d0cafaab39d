//! The page about ONNX's node tests (`docs/onnx.md`) says what the list of them says (`onnx/said.tsv`, by `onnx/say.py`), and
//! what it says cannot be said is tried: each reason beside a text that differs in that alone, and is right. A small part of what can
//! be said (`onnx/said.txt`, by `onnx/corpus.py`) is run: a test at least for each rule of `onnx/operators`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use brolga::ir::interpret::interpret;
use brolga::ir::scalar::Scalar;
use brolga::ir::{DType, Graph, Tensor, Type};
use brolga::runtime::Instance;
use brolga::{CompileOptions, State, Threads, compile};

use crate::fuzz::values::{from_runtime, to_runtime};

const PAGE: &str = include_str!("../docs/onnx.md");

/// The rules of the script.
fn operators() -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/onnx/operators");
    let files = std::fs::read_dir(folder).expect("rules").map(|entry| entry.expect("a file").path());
    let files = files.filter(|file| file.extension().is_some_and(|extension| extension == "py"));
    files.map(|file| std::fs::read_to_string(file).expect("a text")).collect()
}

/// A test of ONNX: its name, `right`, `wrong` or `unsaid`, and why, or a remark.
fn said() -> Vec<[&'static str; 3]> {
    let row = |line: &'static str| {
        let fields: Vec<&str> = line.split('\t').collect();
        fields.try_into().unwrap_or_else(|_| panic!("{line}"))
    };
    include_str!("onnx/said.tsv").lines().map(row).collect()
}

/// The reason of the page for one of the list.
fn reason<'t>(word: &str, why: &'t str) -> &'t str {
    match word {
        "wrong" => "wrong values",
        _ if why.starts_with("no rule") => "no rule in the script",
        _ => why,
    }
}

/// Names of the tests that are not right, by reason.
fn reasons() -> BTreeMap<&'static str, Vec<&'static str>> {
    let mut reasons: BTreeMap<_, Vec<&str>> = BTreeMap::new();
    for [name, word, why] in said().into_iter().filter(|row| row[1] != "right") {
        reasons.entry(reason(word, why)).or_default().push(name);
    }
    reasons
}

/// The rows of the page's table: why not, how many, and such as.
fn table() -> Vec<(&'static str, usize, Vec<&'static str>)> {
    let rows = PAGE.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| why not"));
    let row = |line: &'static str| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let names = cells[2].split(", ").map(|name| name.trim_matches('`')).collect();
        (cells[0], cells[1].parse().expect("a number"), names)
    };
    rows.map(row).collect()
}

#[test]
fn the_page_has_the_counts_of_the_list() {
    let said = said();
    let names: BTreeSet<&str> = said.iter().map(|row| row[0]).collect();
    assert_eq!(names.len(), said.len(), "a test is listed twice");
    let count = |word: &str, why: Option<&str>| {
        said.iter().filter(|row| row[1] == word && why.is_none_or(|why| row[2] == why)).count()
    };
    let (all, right, wrong) = (said.len(), count("right", None), count("wrong", None));
    assert_eq!((all, wrong), (1884, 0));
    assert!(right >= 1250, "{right}");
    assert_eq!(all, right + count("unsaid", None));
    let text = PAGE.split_whitespace().collect::<Vec<_>>().join(" ");
    for sentence in [
        format!("Of the {all} tests of single operators that the package"),
        format!("collects, {right} can be said in the IR's text and give ONNX's values, compiled"),
        format!("{wrong} of those that can be said give others"),
        format!("{} of the tests are constants then", count("right", Some("a constant"))),
        format!("and {} products with a matrix", count("right", Some("a matrix"))),
    ] {
        assert!(text.contains(&sentence), "the page lacks: {sentence}");
    }
    let reasons = reasons();
    let table = table();
    let listed: BTreeSet<&str> = table.iter().map(|row| row.0).collect();
    assert_eq!(listed, reasons.keys().copied().collect());
    assert_eq!(table.len(), reasons.len(), "a reason is listed twice");
    for (why, count, examples) in table {
        assert_eq!(count, reasons[why].len(), "{why}");
        assert!(!examples.is_empty() && examples.iter().all(|name| reasons[why].contains(name)), "{why}");
    }
}

/// One of ONNX's tests, as the script said it.
struct Case {
    name: &'static str,
    /// The relative and the absolute tolerance.
    tolerance: (f64, f64),
    rules: Vec<&'static str>,
    graph: Graph,
    inputs: Vec<Tensor>,
    outputs: Vec<Tensor>,
}

/// A tensor as `f32[2]: 0.5 1`.
fn tensor(text: &str) -> Tensor {
    let (ty, elements) = text.split_once(": ").unwrap_or((text.trim_end_matches(':'), ""));
    let (dtype, dims) = ty.trim_end_matches(']').split_once('[').expect("a type");
    let dtype = DType::from_name(dtype).expect("an element type");
    let dims: Vec<usize> =
        dims.split(", ").filter(|n| !n.is_empty()).map(|n| n.parse().expect("an extent")).collect();
    let elements: Vec<&str> = elements.split(' ').filter(|element| !element.is_empty()).collect();
    assert_eq!(elements.len(), dims.iter().product::<usize>(), "{ty}");
    Tensor::generate(&Type::new(dtype, dims), |at| {
        let text = elements[at];
        match dtype {
            DType::Bool => Scalar::Bool(text == "1"),
            DType::U8 => Scalar::U8(text.parse().expect(text)),
            DType::I32 => Scalar::I32(text.parse().expect(text)),
            DType::I64 => Scalar::I64(text.parse().expect(text)),
            DType::F64 => Scalar::F64(text.parse().expect(text)),
            _ => Scalar::F32(text.parse().expect(text)),
        }
    })
}

/// The tests that are run, and the rules that the script has.
fn cases() -> (Vec<Case>, BTreeSet<&'static str>) {
    let (rules, all) = include_str!("onnx/said.txt").split_once("\n\n").expect("rules, then tests");
    let case = |text: &'static str| {
        let (head, rest) = text.split_once('\n').expect("lines");
        let (head, rules) = head.split_once(": ").expect("rules");
        let words: Vec<&str> = head.split(' ').collect();
        let [_, name, relative, absolute] = words[..] else { panic!("{head}") };
        let end = rest.find("\n}").expect("the end of the graph") + 3;
        let values = |word: &str| {
            let lines = rest[end..].lines().filter_map(|line| line.strip_prefix(word));
            lines.map(|line| tensor(line.trim_start().split_once(' ').expect("a name").1)).collect()
        };
        Case {
            name,
            tolerance: (relative.parse().expect("a number"), absolute.parse().expect("a number")),
            rules: rules.split(' ').collect(),
            graph: Graph::parse(&rest[..end]).unwrap_or_else(|e| panic!("{name}: {e}")),
            inputs: values("input "),
            outputs: values("output "),
        }
    };
    let cases = all.split("\n\n").filter(|text| text.starts_with("test ")).map(case).collect();
    (cases, rules.split(' ').skip(1).collect())
}

/// Results against ONNX's values: equal types, and elements within the tolerance.
fn assert_near(found: &[Tensor], case: &Case, how: &str) {
    let name = case.name;
    assert_eq!(found.len(), case.outputs.len(), "{name}, {how}");
    for (found, expected) in found.iter().zip(&case.outputs) {
        assert_eq!(found.ty(), expected.ty(), "{name}, {how}");
        for at in 0..expected.elements() {
            let (f, e) = (found.get(at).to_f64(), expected.get(at).to_f64());
            let (relative, absolute) = case.tolerance;
            let near = (f - e).abs() <= absolute + relative * e.abs();
            assert!(near || f == e || f.is_nan() && e.is_nan(), "{name}, {how}: {f} at {at}, not {e}");
        }
    }
}

/// ONNX's values, by the interpreter and compiled: a rule of each operator that can be said.
#[test]
fn some_are_run() {
    let (cases, rules) = cases();
    assert!(cases.len() >= 100, "{}", cases.len());
    let used: BTreeSet<&str> = cases.iter().flat_map(|case| case.rules.iter().copied()).collect();
    assert_eq!(used, rules);
    let operators = operators();
    // Those that are registered by name in the script; others are in its tables.
    let registered =
        operators.lines().filter(|line| line.starts_with('@') || line.starts_with("OPERATORS[\""));
    for line in registered {
        let own = if line.starts_with('@') { line } else { line.split(']').next().unwrap_or("") };
        for name in own.split('"').skip(1).step_by(2) {
            assert!(rules.contains(name), "the rule {name} is not run: write `said.txt` anew");
        }
    }
    let threads = Threads::serial();
    for case in &cases {
        let name = case.name;
        case.graph.verify().unwrap_or_else(|e| panic!("{name}: {e}"));
        let inputs: Vec<&Tensor> = case.inputs.iter().collect();
        let found = interpret(&case.graph, &inputs).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_near(&found, case, "interpreted");

        let executable = compile(&case.graph, &CompileOptions::default());
        let executable = executable.unwrap_or_else(|e| panic!("{name}: {e}"));
        let mut state = State::new();
        let mut instance = Instance::bind(Arc::new(executable), &state, &threads).expect(name);
        let names = case.graph.parameters().iter().filter_map(|&id| case.graph.parameter(id));
        let inputs: Vec<_> = case.inputs.iter().map(to_runtime).collect();
        let named = names.map(|parameter| parameter.name.as_str()).zip(&inputs);
        // What decided a shape in ONNX is an input that the graph does not use.
        let manifest = instance.executable().manifest().clone();
        let is_used = |(name, _): &(&str, _)| manifest.inputs.iter().any(|input| input.name == *name);
        let named: Vec<_> = named.filter(is_used).collect();
        let found = instance.run_named(&mut state, &named).unwrap_or_else(|e| panic!("{name}: {e}"));
        let found: Vec<Tensor> = found.iter().map(|(_, tensor)| from_runtime(tensor)).collect();
        assert_near(&found, case, "compiled");
    }
}

/// A graph of an input `x` with such statements, and other parameters.
fn graph(x: &str, more: &str, statements: &str) -> String {
    format!("graph @g(%x: {x}{more}) {{ {statements} return %y as \"y\" }}")
}

const RANDOM: &str =
    "%r = random %seed, %step {distribution: normal, dtype: f32, dims: [6], stream: 1$more} %y = add %x, %r";
const SCAN: &str = "%y, %ys = scan %w, %x {length: $length, carries: 1, slices: 1$more, body: graph @b(%s: f32[6], %r: \
                    f32[6]) { %p = mul %s, %r return %p as \"s\", %p as \"p\" }}";

/// For each reason a text that is right, those that are not, and what these are told.
fn tried() -> Vec<(&'static str, String, Vec<String>, &'static str)> {
    let plain = |x: &str| graph(x, "", "%y = reshape %x {dims: [6]}");
    let types = ["i8", "i16", "u16", "u32", "u64", "f16", "f8e4m3fn", "f8e5m2", "i4", "u4", "c64", "c128"];
    let operator =
        |names: &[&str]| names.iter().map(|name| graph("f32[6]", "", &format!("%y = {name} %x"))).collect();
    let random = |more: &str| graph("f32[6]", ", %seed: i64[], %step: i64[]", &RANDOM.replace("$more", more));
    let scan = |length: &str, more: &str| {
        let scan = SCAN.replace("$length", length).replace("$more", more);
        graph("f32[7, 6]", ", %w: f32[6], %n: i64[]", &scan)
    };
    let reshaped = |dims: &str| graph("f32[6]", ", %n: i64[]", &format!("%y = reshape %x {{dims: {dims}}}"));
    let bits = |from: &str, to: &str| graph(from, "", &format!("%y = bitcast %x {{to: {to}}}"));
    vec![
        (
            "element types that are not there",
            plain("f32[6]"),
            types.iter().map(|name| plain(&format!("{name}[6]"))).collect(),
            "expected an element type",
        ),
        (
            "strings",
            plain("f32[6]"),
            ["str", "string"].map(|name| plain(&format!("{name}[6]"))).into(),
            "expected an element type",
        ),
        (
            "sequences and optional values",
            plain("f32[6]"),
            ["seq", "sequence", "optional"].map(|name| plain(&format!("{name}[6]"))).into(),
            "expected an element type",
        ),
        (
            "shapes that depend on values",
            reshaped("[6]"),
            vec![reshaped("[%n]"), reshaped("%n")],
            "expected the value of an attribute",
        ),
        (
            "shapes that depend on values",
            plain("f32[6]"),
            operator(&["nonzero", "unique", "compress", "non_max_suppression"]),
            "unknown operator",
        ),
        (
            "files as inputs",
            plain("u8[6]"),
            operator(&["decode", "decode_image", "image_decoder"]),
            "unknown operator",
        ),
        ("trees", plain("f32[6]"), operator(&["tree", "tree_ensemble"]), "unknown operator"),
        (
            "random numbers of another generator",
            random(""),
            [", generator: mt19937", ", seed: 5"].map(random).into(),
            "unknown attribute",
        ),
        (
            "bits as a type of another width",
            bits("f32[6]", "i32"),
            vec![bits("bool[6]", "u8"), bits("u8[6]", "bool"), bits("f32[6]", "i64")],
            "bitcast",
        ),
        (
            "sequences of different lengths in recurrent layers",
            scan("7", ""),
            vec![scan("%n", "")],
            "expected the value of an attribute",
        ),
        (
            "sequences of different lengths in recurrent layers",
            scan("7", ""),
            vec![scan("[7, 5]", "")],
            "must be an integer",
        ),
        (
            "scans of another form",
            scan("7", ""),
            [", axis: 1", ", reverse: [true, false]"].map(|more| scan("7", more)).into(),
            "scan: ",
        ),
    ]
}

#[test]
fn what_cannot_be_said_is_refused() {
    let read = |text: &str| {
        let graph = Graph::parse(text).map_err(|errors| errors.to_string())?;
        graph.verify().map_err(|error| error.to_string())
    };
    let tried = tried();
    for (why, right, wrong, told) in &tried {
        read(right).unwrap_or_else(|error| panic!("{why}: {right}\n{error}"));
        assert!(!wrong.is_empty());
        for text in wrong {
            let error = read(text).expect_err(text);
            assert!(error.contains(told), "{why}: {text}\n{error}");
        }
    }
    // What the script has no rule for, it does not name.
    let operators = operators();
    for [name, _, why] in said() {
        if let Some(operator) = why.strip_prefix("no rule: ") {
            assert!(
                !operators.contains(&format!("\"{operator}\"")),
                "{name}: there is a rule for {operator}"
            );
        }
    }
    let known: BTreeSet<&str> =
        tried.iter().map(|row| row.0).chain(["no rule in the script", "wrong values"]).collect();
    let missing: Vec<_> = reasons().into_keys().filter(|why| !known.contains(why)).collect();
    assert!(missing.is_empty(), "reasons that nothing here tries: {missing:?}");
}
