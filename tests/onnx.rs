//! The page about ONNX's node tests (`docs/onnx.md`) says what the list of them says (`onnx/said.tsv`, by `onnx/say.py`), and
//! what it says cannot be said is tried: each reason beside a text that differs in that alone, and is right.

use std::collections::{BTreeMap, BTreeSet};

use brolga::ir::Graph;

const PAGE: &str = include_str!("../docs/onnx.md");
const OPERATORS: &str = include_str!("onnx/operators.py");

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
    for [name, _, why] in said() {
        if let Some(operator) = why.strip_prefix("no rule: ") {
            assert!(
                !OPERATORS.contains(&format!("\"{operator}\"")),
                "{name}: there is a rule for {operator}"
            );
        }
    }
    let known: BTreeSet<&str> =
        tried.iter().map(|row| row.0).chain(["no rule in the script", "wrong values"]).collect();
    let missing: Vec<_> = reasons().into_keys().filter(|why| !known.contains(why)).collect();
    assert!(missing.is_empty(), "reasons that nothing here tries: {missing:?}");
}
