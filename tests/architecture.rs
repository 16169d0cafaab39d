//! What ARCHITECTURE.md says is held by tests is: the tests that it names are there, and so are the files.

use std::fs;
use std::path::Path;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What stands between back quotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The lines of a section as one text.
fn section<'t>(text: &'t str, title: &str) -> &'t str {
    let rest = text.split(&format!("\n## {title}\n")).nth(1).unwrap_or_else(|| panic!("no section {title}"));
    rest.split("\n## ").next().unwrap_or(rest)
}

/// Its rules, each of several lines.
fn rules<'t>(text: &'t str, title: &str) -> Vec<&'t str> {
    section(text, title).split("\n- ").skip(1).collect()
}

#[test]
fn every_rule_names_tests_that_exist() {
    let text = read("ARCHITECTURE.md");
    for title in ["What holds everywhere", "The numeric plan"] {
        let rules = rules(&text, title);
        assert!(rules.len() > 10, "{title}");
        for rule in rules {
            assert!(quoted(rule).any(|word| word.contains(".rs::")), "no test is named by\n- {rule}");
        }
    }
    let tests: Vec<(&str, &str)> = quoted(&text).filter_map(|word| word.split_once(".rs::")).collect();
    assert!(tests.len() > 40, "{}", tests.len());
    for (file, test) in tests {
        let source = read(&format!("{file}.rs"));
        assert!(source.contains(&format!("fn {test}(")), "`{file}.rs` has no test `{test}`");
    }
}

/// Folders that names of files may be relative to.
const ROOTS: [&str; 4] = ["", "passes/src", "passes/src/lower", "codegen/src"];

#[test]
fn every_file_that_is_named_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = 0;
    for page in ["ARCHITECTURE.md", "docs/performance.md"] {
        let text = read(page);
        let files = quoted(&text).filter(|word| word.contains('/') && word.ends_with(".rs"));
        for file in files {
            let there = ROOTS.iter().any(|folder| root.join(folder).join(file).exists());
            assert!(there, "{page} names `{file}`, which is not there");
            found += 1;
        }
    }
    assert!(found > 40, "{found}");
}

/// The crates, and those of the workspace that each of them uses.
const LAYERS: [(&str, &[&str]); 7] = [
    ("ir", &[]),
    ("runtime", &[]),
    ("frontend", &["ir"]),
    ("passes", &["ir"]),
    ("codegen", &["ir", "runtime"]),
    ("models", &["runtime"]),
    ("command", &["models", "runtime"]),
];

#[test]
fn crates_use_only_those_below() {
    for (name, below) in LAYERS {
        let manifest = read(&format!("{name}/Cargo.toml"));
        let sections = manifest.split("\n[").filter(|part| part.starts_with("dependencies]"));
        let lines = sections.flat_map(str::lines).filter_map(|line| line.strip_prefix("brolga-"));
        let mut uses: Vec<&str> =
            lines.map(|line| line.split(['.', ' ', '=']).next().unwrap_or(line)).collect();
        uses.sort_unstable();
        assert_eq!(uses, below, "{name}");
    }
}

/// Words of those who run operators fast.
const FAST: [&str; 6] = ["winograd", "strassen", "channels_last", "panel", "tiling", "prefetch"];

#[test]
fn operators_do_not_know_how_they_are_run_fast() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("ir/src/ops");
    let (mut operators, mut open) = (0, vec![folder]);
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let text = fs::read_to_string(&path).unwrap().to_lowercase();
        let known = FAST.iter().find(|word| text.contains(*word));
        assert_eq!(known, None, "{}", path.display());
        operators += 1;
    }
    assert!(operators > 20, "{operators}");
}

/// Manifests of the workspace's packages, with the folders that they lie in.
fn manifests() -> Vec<(String, String)> {
    let root = read("Cargo.toml");
    let members = root.split("members = [").nth(1).and_then(|rest| rest.split(']').next()).unwrap();
    let folders = members.split('"').skip(1).step_by(2).map(str::to_owned);
    let all = folders.map(|folder| (folder.clone(), read(&format!("{folder}/Cargo.toml"))));
    all.chain([(String::new(), root.clone())]).collect()
}

#[test]
fn ron_is_read_in_the_frontend_alone() {
    let uses = |manifest: &str| manifest.lines().any(|line| line.starts_with("ron."));
    let manifests = manifests();
    assert!(manifests.len() > 8, "{}", manifests.len());
    let readers: Vec<&str> =
        manifests.iter().filter(|(_, text)| uses(text)).map(|(folder, _)| folder.as_str()).collect();
    assert_eq!(readers, ["frontend"]);
}

/// Words of those who weigh how work is cut, ordered and shared, and who ask whether it may be.
const WEIGHING: [&str; 18] = [
    "blocking",
    "cheap",
    "cheapest",
    "cost",
    "costs",
    "cycles",
    "dependence",
    "flops",
    "footprint",
    "independence",
    "independent",
    "injective",
    "interchange",
    "pays",
    "thread",
    "threads",
    "tuning",
    "work",
];

/// Where code generation has one of them all the same, by what the name of the file begins with.
const HAS: [(&str, &str); 5] = [
    // By the one formula for a point of a tile its sums are given registers.
    ("wide/types/blocks.rs", "work"),
    // Columns that are transposed in registers come from several iterations of a loop.
    ("wide/writing/columns.rs", "injective"),
    // Those that compile.
    ("image/kernels.rs", "threads"),
    // C programs may bring theirs.
    ("artefacts/header/", "thread"),
    ("artefacts/header/", "threads"),
];

/// Numbers of the emitters that nobody chooses: of processors, of names, and of what is exact.
const GIVEN: [&str; 17] = [
    "ACCUMULATOR",
    "EQ",
    "FIRST",
    "GE",
    "GT",
    "LANES",
    "LE",
    "LEAF_NAMESPACE",
    "LIMIT",
    "LT",
    "NE",
    "ORDERED",
    "SECOND",
    "SIZE",
    "THIRD",
    "TOGETHER",
    "UNORDERED",
];

/// The files in a folder, by their names from there on, without comments and tests.
fn sources(folder: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![String::new()];
    while let Some(inside) = folders.pop() {
        for entry in fs::read_dir(folder.join(&inside)).unwrap() {
            let entry = entry.unwrap();
            let name = format!("{inside}{}", entry.file_name().to_str().unwrap());
            if entry.path().is_dir() {
                folders.push(name + "/");
            } else if name.ends_with(".rs") && !name.ends_with("tests.rs") {
                let text = fs::read_to_string(entry.path()).unwrap();
                let text = text.split("\n#[cfg(test)]").next().unwrap_or("");
                let lines = text.lines().map(|line| line.split("//").next().unwrap_or(line));
                found.push((name, lines.collect::<Vec<_>>().join("\n")));
            }
        }
    }
    found
}

/// How work is cut, in which order it is done, and what threads share stands in the program.
#[test]
fn code_generation_chooses_registers_and_instructions_only() {
    let files = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("codegen/src"));
    assert!(files.len() > 80, "{}", files.len());
    let mut seen = HAS.map(|_| false);
    let mut given = GIVEN.map(|_| false);
    for (name, text) in &files {
        for word in text.split(|c: char| !c.is_ascii_alphanumeric()).map(str::to_lowercase) {
            let may = HAS.iter().position(|(file, has)| name.starts_with(file) && word == *has);
            may.into_iter().for_each(|at| seen[at] = true);
            assert!(may.is_some() || !WEIGHING.contains(&word.as_str()), "codegen/src/{name} names `{word}`");
        }
        if !name.starts_with("portable/") && !name.starts_with("wide/") {
            continue;
        }
        // What emitters choose stands in one file.
        for line in text.lines().filter_map(|line| line.split_once("const ").map(|(_, rest)| rest)) {
            let Some((constant, kind)) = line.split_once(": ") else { continue };
            let number = ["u8", "u16", "u32", "u64", "usize", "i8", "i16", "i32", "i64", "f32", "f64"];
            if number.iter().any(|number| kind.starts_with(&format!("{number} ="))) {
                let at = GIVEN.iter().position(|given| *given == constant);
                let at = at.unwrap_or_else(|| panic!("`{constant}` stands in {name}, not in limits.rs"));
                given[at] = true;
            }
        }
    }
    assert_eq!((seen, given), (HAS.map(|_| true), GIVEN.map(|_| true)), "what is allowed is there");
    // The one formula, and nothing else of what counts work.
    let blocks = files.iter().find(|(name, _)| name == HAS[0].0).map_or("", |(_, text)| text.as_str());
    let uses: Vec<&str> = blocks.lines().filter(|line| line.contains("work")).collect();
    assert_eq!(uses, ["use brolga_ir::program::work::point;"]);
    // The one number by which iterations run in another order than the program says.
    let reads = |(name, text): &&(String, String)| name != "limits.rs" && text.contains("COLUMN_ROUND");
    let readers: Vec<&str> = files.iter().filter(reads).map(|(name, _)| name.as_str()).collect();
    assert_eq!(readers, [HAS[1].0]);
}

/// What files of products read of the table of sizes, beside the one that cuts them: the numeric plan, how much is written out,
/// whether packing pays, and what a kernel does inside of the pieces that it is given. Of `borders.rs` the tiling asks whether
/// images are taken together.
const INSIDE: [(&str, &str); 13] = [
    ("borders.rs", "borders::{BOX, BOXES, FEWEST, IMAGES, SET}"),
    ("borders.rs", "boxes::ROWS"),
    ("borders.rs", "plan::CHANNELS"),
    ("depthwise.rs", "code"),
    ("dot.rs", "packed"),
    ("image.rs", "code"),
    ("packing.rs", "panels::PACKED_ROWS"),
    ("parts.rs", "plan::{CHAIN, PARTS, PIECES}"),
    ("parts.rs", "weights::DEPTH"),
    ("shape.rs", "code"),
    ("winograd.rs", "winograd::LANES"),
    ("winograd/transform.rs", "winograd::LANES"),
    ("winograd/weight_gradient.rs", "winograd::LANES"),
];

/// Only one file makes a tiling; the others have no size that they could decide by.
#[test]
fn products_are_cut_where_their_tiling_is_resolved() {
    let files = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("passes/src/lower/products"));
    assert!(files.len() > 20, "{}", files.len());
    let mut seen = INSIDE.map(|_| false);
    for (name, text) in files {
        for line in text.lines() {
            let read = line.split_once("facts::blocking::").map(|(_, rest)| rest.trim_end_matches(';'));
            let may = INSIDE.iter().position(|(file, what)| name == *file && read == Some(*what));
            may.into_iter().for_each(|at| seen[at] = true);
            let decides = read.is_some() || line.replace("-> Tiling {", "").contains("Tiling {");
            assert!(may.is_some() || !decides || name == "tiling.rs", "{name}: {line}");
        }
    }
    assert_eq!(seen, INSIDE.map(|_| true), "what is allowed is there");
}

/// The compiler and the runtime have an enumeration each, as neither sees the other.
#[test]
fn element_types_have_one_name_and_size() {
    for dtype in brolga::ir::DType::ALL {
        let other = brolga::runtime::DType::from_name(dtype.name());
        assert_eq!(other.is_none(), dtype.is_storage(), "{dtype}");
        assert!(other.is_none_or(|other| other.size() == dtype.size()), "{dtype}");
    }
    let known = |dtype: brolga::runtime::DType| brolga::ir::DType::from_name(dtype.name()).is_some();
    assert!(brolga::runtime::DType::ALL.into_iter().all(known));
}

/// Those that have an enumeration of names only, among which are floats and integers of several sizes.
#[test]
fn element_types_are_enumerated_twice() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for (folder, _) in manifests() {
        let own = sources(&root.join(&folder).join("src")).into_iter();
        files.extend(own.map(|(name, text)| (format!("{folder}/{name}"), text)));
    }
    assert!(files.len() > 400, "{}", files.len());
    let enumerates = |text: &str| {
        let bodies = text.split("enum ").skip(1).filter_map(|rest| rest.split('}').next());
        bodies.filter_map(|body| body.split_once('{')).any(|(_, body)| {
            let lines = body.split([',', '\n']).map(|line| line.split('=').next().unwrap_or(line).trim());
            let words: Vec<&str> = lines.collect();
            ["F32", "F64", "I32", "I64"].iter().all(|name| words.contains(name))
        })
    };
    files.retain(|(_, text)| enumerates(text));
    let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["ir/types.rs", "runtime/tensors/dtype.rs"]);
}
