//! No program that safe code can have compiled reaches outside of its memory, whatever its text says: programs of other
//! tests and of random graphs, with their texts changed at random, are read, compiled by `compile_checked`, and run. What is
//! accepted gives the bits of the interpreter; an access outside is an error of both.
//!
//! `BROLGA_CASES=200000 cargo test --test all safe` runs longer. With it, the number of each case is left in the file
//! `brolga-safe-case` of the folder for temporary files, so that a crash can be repeated: `BROLGA_CASE=N`.

#![forbid(unsafe_code)]

use std::path::Path;

use brolga::codegen::{Options, compile_checked};
use brolga::ir::generate::{Config, Rng, generate};
use brolga::ir::program::Program;
use brolga::{CompileOptions, Compiler};

use crate::fuzz::checked::{Outcome, check, is_small, planned};

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// The texts that are changed: of the passes' tests, of random graphs, and some that are wrong on purpose.
fn seeds() -> Vec<String> {
    let mut texts: Vec<String> = WRONG.iter().map(|(text, _)| (*text).to_owned()).collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/filetests");
    let mut files: Vec<_> = std::fs::read_dir(root)
        .expect("the tests of passes")
        .flat_map(|folder| std::fs::read_dir(folder.expect("a folder").path()).expect("a folder"))
        .map(|file| file.expect("a file").path())
        .collect();
    files.sort();
    for file in files {
        let text = std::fs::read_to_string(file).expect("text");
        texts.extend(text.split("// ---- after").map(str::to_owned).filter_map(|half| {
            let start = half.find("program @")?;
            let program = Program::parse(&half[start..]).ok()?;
            // What a bit pattern of a NaN becomes is nobody's business.
            (is_small(&program) && !half.contains("bitcast")).then(|| program.to_string())
        }));
    }
    let config = Config { nodes: (3, 8), elements: 60, ..Config::default() };
    for seed in 0..40 {
        let mut compiler = Compiler::new(&CompileOptions::default());
        let graph = generate(seed, &config).graph;
        let program = compiler.optimise(&graph).and_then(|graph| compiler.lower(&graph));
        let text = program.expect("a valid graph").to_string();
        texts.extend((!text.contains("bitcast")).then_some(text));
    }
    texts
}

/// Numbers that are put in the place of others.
const NUMBERS: [&str; 14] =
    ["0", "1", "2", "3", "4", "5", "7", "8", "16", "33", "64", "1000", "4294967296", "70368744177664"];
/// Words that are put in the place of each other.
const WORDS: [&[&str]; 7] = [
    &["read", "write", "readwrite", "local"],
    &["f32", "f64", "i32", "i64", "u8", "bool"],
    &["strip", "for"],
    &["input", "output", "state", "arena", "prepared"],
    &["add", "sub", "mul", "max", "min", "and"],
    &["+", "-", "*", "/", "%"],
    &["=", "+="],
];

/// A text with some of it changed: numbers, names, words, lines.
fn changed(text: &str, rng: &mut Rng) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for _ in 0..1 + rng.below(3) {
        if lines.is_empty() {
            break;
        }
        let at = rng.below(lines.len());
        match rng.below(12) {
            0 => drop(lines.remove(at)),
            1 => lines.insert(at, lines[at].clone()),
            2 => {
                let other = rng.below(lines.len());
                lines.swap(at, other);
            }
            _ => lines[at] = changed_line(&lines[at], rng),
        }
    }
    lines.join("\n")
}

/// A line with one of its words changed: runs of digits, of letters, or single signs.
fn changed_line(line: &str, rng: &mut Rng) -> String {
    let kind = |c: char| {
        if c.is_ascii_digit() {
            0
        } else if c.is_alphabetic() {
            1
        } else {
            2
        }
    };
    let mut words: Vec<String> = Vec::new();
    for c in line.chars() {
        match words.last_mut() {
            Some(word) if kind(c) < 2 && word.ends_with(|last: char| kind(last) == kind(c)) => word.push(c),
            _ => words.push(c.to_string()),
        }
    }
    let places: Vec<usize> = (0..words.len()).filter(|&i| !words[i].trim().is_empty()).collect();
    let Some(&at) = places.get(rng.below(places.len().max(1))) else { return line.to_owned() };
    let word = &words[at];
    let new = match word.parse::<i64>() {
        Ok(n) => match rng.below(4) {
            0 => (n + 1).to_string(),
            1 => (n - 1).max(0).to_string(),
            2 => (2 * n % 1_000_000).to_string(),
            _ => NUMBERS[rng.below(NUMBERS.len())].to_owned(),
        },
        Err(_) => match WORDS.iter().find(|set| set.contains(&word.as_str())) {
            Some(set) => set[rng.below(set.len())].to_owned(),
            None => String::new(),
        },
    };
    words[at] = new;
    words.concat()
}

#[test]
fn changed_programs_stay_inside_their_memory() {
    let seeds = seeds();
    assert!(seeds.len() > 60, "{}", seeds.len());
    let (first, count, long) = match (number("BROLGA_CASE"), number("BROLGA_CASES")) {
        (Some(case), _) => (case, 1, false),
        (None, Some(count)) => (0, count, true),
        (None, None) => (0, 600, false),
    };
    let file = std::env::temp_dir().join("brolga-safe-case");
    let mut outcomes = std::collections::BTreeMap::new();
    for case in first..first + count {
        if long {
            std::fs::write(&file, case.to_string()).expect("a file for the number of the case");
        }
        let mut rng = Rng(case);
        let text = &seeds[rng.below(seeds.len())];
        // Each seed as it is, once in a while.
        let text = if rng.below(16) == 0 { text.clone() } else { changed(text, &mut rng) };
        let outcome = match Program::parse(&text) {
            Err(_) => Outcome::Refused,
            Ok(program) => {
                let program = planned(program);
                let done =
                    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(&program, &mut rng)));
                done.unwrap_or_else(|_| panic!("case {case}:\n{text}"))
            }
        };
        *outcomes.entry(outcome).or_insert(0) += 1;
    }
    println!("{outcomes:?}");
    if count > 100 {
        for outcome in [Outcome::Refused, Outcome::Outside, Outcome::Checked, Outcome::Proven] {
            assert!(outcomes.contains_key(&outcome), "{outcome:?} does not occur: {outcomes:?}");
        }
    }
}

/// Programs that the verifier accepts, and whether they reach outside for some values; others depend on the order of
/// iterations.
const WRONG: [(&str, bool); 9] = [
    (include_str!("../fuzz/seeds/checked/load.ir"), true),
    (include_str!("../fuzz/seeds/checked/store.ir"), true),
    (include_str!("../fuzz/seeds/checked/wraps.ir"), false),
    (include_str!("../fuzz/seeds/checked/guarded.ir"), true),
    (include_str!("../fuzz/seeds/checked/tile.ir"), true),
    (include_str!("../fuzz/seeds/checked/reversed.ir"), false),
    (include_str!("../fuzz/seeds/checked/same.ir"), false),
    (include_str!("../fuzz/seeds/checked/local.ir"), false),
    (include_str!("../fuzz/seeds/checked/moving.ir"), false),
];

#[test]
fn programs_that_are_wrong_are_told_and_stay_inside() {
    for (text, reaches) in WRONG {
        let program = Program::parse(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
        brolga::ir::program::verify::verify(&program).unwrap_or_else(|e| panic!("{e}\n{text}"));
        let outcomes: Vec<Outcome> = (0..12).map(|seed| check(&program, &mut Rng(seed))).collect();
        assert_eq!(outcomes.contains(&Outcome::Outside), reaches, "{outcomes:?}\n{text}");
        assert!(outcomes.iter().all(|o| [Outcome::Outside, Outcome::Checked, Outcome::Proven].contains(o)));
    }
}

/// Proven kernels run as they are, and on several threads.
#[test]
fn what_is_proven_is_not_slowed_down() {
    let text = "program @f
       %0 input \"x\" f32[64, 4096]
       %1 output \"y\" f32[64, 4096]
     kernel @double(p0: read f32[262144], p1: write f32[262144]) grid [64] {
       strip i1 in 0..4096 {
         v0 = load p0[4096*i0 + i1] : f32
         v1 = add v0, v0 : f32
         store p1[4096*i0 + i1] = v1
       }
     }
     schedule { call @double#0(%0, %1) parallel }";
    let program = Program::parse(text).expect("a program");
    assert_eq!(brolga::ir::program::verify::proven(&program), Ok(vec![true]));
    let compiled = compile_checked(&program, &Options::default()).expect("code");
    assert!(compiled.executable.manifest().parallel);
    // The same kernel with a computed index is neither.
    let text = text.replace("v0 = load p0[4096*i0 + i1]", "v2 = index i1 : i32  v0 = load p0[4096*i0 + v2]");
    let program = Program::parse(&text).expect("a program");
    assert_eq!(brolga::ir::program::verify::proven(&program), Ok(vec![false]));
    let compiled = compile_checked(&program, &Options::default()).expect("code");
    assert!(!compiled.executable.manifest().parallel);
}
