//! No program that safe code can have compiled reaches outside of its memory, whatever its text says: programs of other
//! tests and of random graphs, with their texts changed at random, are read, compiled by `compile_checked`, and run. What is
//! accepted gives the bits of the interpreter; an access outside is an error of both.
//!
//! `BROLGA_CASES=200000 cargo test --test all safe` runs longer. With it, the number of each case is left in the file
//! `brolga-safe-case` of the folder for temporary files, so that a crash can be repeated: `BROLGA_CASE=N`.

#![forbid(unsafe_code)]

use std::path::Path;
use std::sync::Arc;

use brolga::codegen::{Options, compile_checked};
use brolga::ir::generate::{Config, Rng, generate};
use brolga::ir::program::interpret::{self, Interpreter};
use brolga::ir::program::{Call, Kernel, Place, Program, Step, Stmt};
use brolga::ir::scalar::{NAN_F32, NAN_F64, Scalar};
use brolga::ir::tensor::Data;
use brolga::ir::{DType, Tensor, Type};
use brolga::passes::plan::plan;
use brolga::runtime::{self, ErrorKind, Instance, Manifest, SlotKind, State, Threads};
use brolga::{CompileOptions, Compiler, TargetCpu};

/// Programs larger than this are passed over: bytes of all buffers, and statements of a run.
const MOST_BYTES: usize = 1 << 22;
const MOST_WORK: u64 = 300_000;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Statements that a run executes, at most.
fn work(program: &Program) -> u64 {
    fn block(body: &[Stmt]) -> u64 {
        let statement = |stmt: &Stmt| match stmt {
            Stmt::For { extent, body, .. } | Stmt::Strip { extent, body, .. } => {
                (*extent as u64).saturating_mul(block(body).saturating_add(1))
            }
            Stmt::If { then, otherwise, .. } => block(then).saturating_add(block(otherwise)),
            Stmt::Tile(tile) => {
                let all = [tile.m, tile.n].into_iter().chain(tile.reduce.iter().map(|l| l.extent.max(1)));
                all.fold(1u64, |n, extent| n.saturating_mul(extent as u64))
            }
            _ => 1,
        };
        body.iter().map(statement).fold(1, u64::saturating_add)
    }
    fn steps(program: &Program, list: &[Step]) -> u64 {
        let step = |step: &Step| match step {
            Step::Call(Call { kernel, .. }) => {
                program.kernels.get(kernel.0 as usize).map_or(1, |kernel: &Kernel| {
                    let points =
                        kernel.grid.iter().fold(1, |n: u64, &extent| n.saturating_mul(extent as u64));
                    let local = kernel.local_bytes() as u64 / 8;
                    points.saturating_mul(block(&kernel.body).saturating_add(local))
                })
            }
            Step::Loop { extent, body } => {
                (*extent as u64).saturating_mul(steps(program, body).saturating_add(1))
            }
            Step::Break { .. } => 1,
            Step::If { then, otherwise, .. } => {
                steps(program, then).saturating_add(steps(program, otherwise))
            }
        };
        list.iter().map(step).fold(0, u64::saturating_add)
    }
    steps(program, &program.prepare).saturating_add(steps(program, &program.schedule))
}

/// Whether a program is small enough to be run.
fn is_small(program: &Program) -> bool {
    let bytes =
        |ty: &Type| ty.dims.iter().fold(ty.dtype.size(), |n, &extent| n.saturating_mul(extent.max(1)));
    let buffers = program.buffers.iter().map(|buffer| bytes(&buffer.ty));
    let all = buffers.chain([program.arena_bytes, program.prepared_bytes, program.local_bytes()]);
    all.fold(0, usize::saturating_add) <= MOST_BYTES && work(program) <= MOST_WORK
}

/// Values of any kind, integers small more often than not.
fn value(rng: &mut Rng, ty: &Type, range: Option<(i64, i64)>) -> Tensor {
    let special = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, 1e30, 1e-40];
    Tensor::generate(ty, |_| {
        let bits = rng.bits();
        let small = (bits >> 32) as i64 % 16 - 4;
        match ty.dtype {
            DType::Bool => Scalar::Bool(bits & 1 == 1),
            dtype if dtype.is_int() => match range {
                Some((low, high)) => {
                    let span = (high as i128 - low as i128 + 1) as u128;
                    Scalar::from_i64(dtype, (low as i128 + (u128::from(bits) % span) as i128) as i64)
                }
                None if bits.is_multiple_of(5) => Scalar::from_i64(dtype, bits as i64),
                None => Scalar::from_i64(dtype, small),
            },
            dtype if bits.is_multiple_of(9) => {
                Scalar::from_f64(dtype, special[(bits >> 8) as usize % special.len()])
            }
            dtype => Scalar::from_f64(dtype, small as f64 / 4.0 + 0.125),
        }
    })
}

fn to_runtime(tensor: &Tensor) -> Option<runtime::Tensor> {
    let dims = tensor.dims();
    let made = match tensor.data() {
        Data::Bool(v) => {
            let bytes: Vec<u8> = v.iter().map(|&bit| u8::from(bit)).collect();
            runtime::Tensor::from_bytes(runtime::DType::Bool, dims, &bytes)
        }
        Data::U8(v) => runtime::Tensor::from_slice(dims, v),
        Data::I32(v) => runtime::Tensor::from_slice(dims, v),
        Data::I64(v) => runtime::Tensor::from_slice(dims, v),
        Data::F32(v) => runtime::Tensor::from_slice(dims, v),
        Data::F64(v) => runtime::Tensor::from_slice(dims, v),
        Data::Bf16(_) => return None,
    };
    Some(made.expect("a tensor"))
}

/// The element of a tensor, if it is one: a bool that nothing has written is none.
fn element(tensor: &runtime::Tensor, at: usize) -> Option<Scalar> {
    Some(match tensor.dtype() {
        runtime::DType::Bool => match tensor.bytes()[at] {
            0 => Scalar::Bool(false),
            1 => Scalar::Bool(true),
            _ => return None,
        },
        runtime::DType::U8 => Scalar::U8(tensor.bytes()[at]),
        runtime::DType::I32 => Scalar::I32(tensor.as_slice::<i32>().expect("i32")[at]),
        runtime::DType::I64 => Scalar::I64(tensor.as_slice::<i64>().expect("i64")[at]),
        runtime::DType::F32 => Scalar::F32(tensor.as_slice::<f32>().expect("f32")[at]),
        runtime::DType::F64 => Scalar::F64(tensor.as_slice::<f64>().expect("f64")[at]),
    })
}

/// Bits, of state with all NaNs equal.
fn equal(found: Option<Scalar>, expected: Scalar, output: bool) -> bool {
    let Some(found) = found else { return false };
    match (found, expected) {
        (Scalar::F32(f), Scalar::F32(e)) if output => f.to_bits() == e.to_bits(),
        (Scalar::F64(f), Scalar::F64(e)) if output => f.to_bits() == e.to_bits(),
        _ => found.same(expected),
    }
}

/// Outputs as they are where nothing is written, for the interpreter: all ones, or the one form of NaN.
fn outputs(manifest: &Manifest) -> Vec<runtime::Tensor> {
    let made = manifest.outputs.iter().map(|output| {
        let mut tensor = runtime::Tensor::zeros(output.dtype, &output.dims).expect("an output");
        match output.dtype {
            runtime::DType::F32 => tensor.as_mut_slice().expect("f32").fill(f32::from_bits(NAN_F32)),
            runtime::DType::F64 => tensor.as_mut_slice().expect("f64").fill(f64::from_bits(NAN_F64)),
            _ => tensor.bytes_mut().fill(0xff),
        }
        tensor
    });
    made.collect()
}

/// What came of a program.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Outcome {
    /// No program, or one that breaks a rule.
    Refused,
    /// Too large for a test.
    Large,
    /// Reaches outside of its memory.
    Outside,
    /// Reads what nothing has written where that has no value.
    Unwritten,
    /// Runs, and some of its accesses are checked.
    Checked,
    /// Runs as it is.
    Proven,
}

/// Compiles and runs a program, and compares it with the interpreter.
fn check(program: &Program, rng: &mut Rng) -> Outcome {
    if brolga::ir::program::verify::verify(program).is_err() {
        // Nothing that the verifier refuses is compiled.
        assert!(compile_checked(program, &Options::default()).is_err());
        return Outcome::Refused;
    }
    if !is_small(program) {
        return Outcome::Large;
    }
    let proven = brolga::ir::program::verify::proven(program).expect("a valid program");
    let cpus = [TargetCpu::Native, TargetCpu::Portable, TargetCpu::X86_64V3];
    let target_cpu = cpus[rng.below(if cfg!(target_arch = "x86_64") { 3 } else { 2 })];
    let Ok(compiled) = compile_checked(program, &Options { target_cpu }) else { return Outcome::Refused };
    let executable = Arc::new(compiled.executable);
    let (mut inputs, mut state, mut names) = (Vec::new(), Vec::new(), Vec::new());
    for buffer in &program.buffers {
        match buffer.place {
            Place::Input { range } => inputs.push(value(rng, &buffer.ty, range)),
            Place::State { .. } => {
                state.push(value(rng, &buffer.ty, None));
                names.push(&buffer.name);
            }
            Place::Output | Place::Constant(_) | Place::Prepared(_) | Place::Arena(_) => {}
        }
    }
    let mut memory = State::new();
    for (name, tensor) in names.iter().zip(&state) {
        let tensor = to_runtime(tensor).expect("a state that compiles");
        memory.insert(name.as_str(), SlotKind::Buffer, tensor).expect("a slot");
    }
    let given: Vec<runtime::Tensor> =
        inputs.iter().map(|tensor| to_runtime(tensor).expect("an input that compiles")).collect();
    let mut found = outputs(executable.manifest());
    let threads = Threads::new(1 + rng.below(3)).expect("threads");
    let mut instance = Instance::bind(executable, &memory, &threads).expect("memory");
    let ran = instance.run_tensors(&mut memory, &given, &mut found);

    let expected = Interpreter::new(program).and_then(|interpreter| interpreter.run(&inputs, &mut state));
    let expected = match (expected, ran) {
        (Ok(expected), Ok(())) => expected,
        (Err(interpret::Error { message }), _) if message.contains("never written") => {
            return Outcome::Unwritten;
        }
        (Err(_), Err(error)) if error.kind() == ErrorKind::Range => return Outcome::Outside,
        (expected, ran) => {
            panic!("the interpreter says {expected:?}, compiled code {ran:?}, {target_cpu}\n{program}")
        }
    };
    for (expected, found) in expected.iter().zip(&found) {
        for at in 0..expected.elements() {
            let (e, f) = (expected.get(at), element(found, at));
            assert!(equal(f, e, true), "an output at {at} is {f:?}, not {e:?}, {target_cpu}\n{program}");
        }
    }
    for (expected, name) in state.iter().zip(&names) {
        let found = memory.get(name).expect("a slot");
        for at in 0..expected.elements() {
            let (e, f) = (expected.get(at), element(found, at));
            assert!(equal(f, e, false), "{name} at {at} is {f:?}, not {e:?}, {target_cpu}\n{program}");
        }
    }
    if proven.iter().all(|&proven| proven) { Outcome::Proven } else { Outcome::Checked }
}

/// The texts that are changed: of the passes' tests, of random graphs, and some that are wrong on purpose.
fn seeds() -> Vec<String> {
    let mut texts: Vec<String> = WRONG.iter().map(|text| (*text).to_owned()).collect();
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
        let mut rng = Rng(case.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let text = &seeds[rng.below(seeds.len())];
        // Each seed as it is, once in a while.
        let text = if rng.below(16) == 0 { text.clone() } else { changed(text, &mut rng) };
        let outcome = match Program::parse(&text) {
            Err(_) => Outcome::Refused,
            Ok(mut program) => {
                let planned = program.arena_bytes + program.prepared_bytes > 0;
                if !planned && brolga::ir::program::verify::verify(&program).is_ok() && is_small(&program) {
                    plan(&mut program);
                }
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

/// Programs that the verifier accepts, and that reach outside for some values, or depend on the order of iterations.
const WRONG: [&str; 9] = [
    // Indices from an input without bounds: loads and stores, negative ones too.
    "program @load
       %0 input \"i\" i32[8]
       %1 input \"x\" f32[8]
       %2 output \"y\" f32[8]
     kernel @load(p0: read i32[8], p1: read f32[8], p2: write f32[8]) grid [8] {
       v0 = load p0[i0] : i32
       v1 = load p1[v0] : f32
       store p2[i0] = v1
     }
     schedule { call @load#0(%0, %1, %2) }",
    "program @store
       %0 input \"i\" i64[8]
       %1 input \"x\" f32[8]
       %2 output \"y\" f32[8]
     kernel @store(p0: read i64[8], p1: read f32[8], p2: write f32[8]) grid [] {
       strip i0 in 0..8 {
         v0 = load p0[i0] : i64
         v1 = load p1[i0] : f32
         store p2[v0] = v1
       }
     }
     schedule { call @store#0(%0, %1, %2) }",
    // The sum of a large clamped value and a constant, which wraps in 32 bits.
    "program @wraps
       %0 input \"i\" i32[8]
       %1 input \"x\" f32[8]
       %2 output \"y\" f32[8]
     kernel @wraps(p0: read i32[8], p1: read f32[8], p2: write f32[8]) grid [] {
       v0 = constant 4096 : i32
       strip i0 in 0..8 {
         v1 = load p0[i0] : i32
         v2 = max v1, v0 : i32
         v3 = min v2, v0 : i32
         v4 = load p1[1048576*v3 - 4294967296 + i0] : f32
         store p2[i0] = v4
       }
     }
     schedule { call @wraps#0(%0, %1, %2) }",
    // A guard and a condition that do not keep the index inside.
    "program @guarded
       %0 input \"m\" bool[8]
       %1 input \"x\" f32[8]
       %2 state \"y\" f32[8] updated
     kernel @guarded(p0: read bool[8], p1: read f32[8], p2: readwrite f32[8]) grid [8] {
       v0 = load p0[i0] : bool
       v1 = load p1[i0 + 3] if v0 : f32
       if v0 {
         store p2[2*i0] = v1
       } else {
       }
     }
     schedule { call @guarded#0(%0, %1, %2) }",
    // A tile that is outside of its panels under a condition.
    "program @tile
       %0 input \"m\" bool[1]
       %1 input \"a\" f32[4, 8]
       %2 input \"b\" f32[8, 20]
       %3 output \"c\" f32[4, 20]
     kernel @tile(p0: read bool[1], p1: read f32[32], p2: read f32[160], p3: write f32[80]) grid [] {
       tile [4, 20] p3[0; 20] = p1[0; 8] * p2[0] over (8; 1, 20) : f32
       v0 = load p0[0] : bool
       if v0 {
         tile [4, 20] p3[20; 20] = p1[8; 8] * p2[0] over (8; 1, 20) : f32
       } else {
       }
     }
     schedule { call @tile#0(%0, %1, %2, %3) }",
    // An update in place that reads what other iterations write.
    "program @reversed
       %0 state \"x\" f32[16] updated
     kernel @reverse(p0: read f32[16], p1: write f32[16]) grid [] {
       strip i0 in 0..16 {
         v0 = load p0[15 - i0] : f32
         store p1[i0] = v0
       }
     }
     schedule { call @reverse#0(%0, %0) }",
    // Points of the grid, and iterations of a strip, that store the same elements.
    "program @same
       %0 input \"x\" f32[64]
       %1 output \"y\" f32[64]
     kernel @same(p0: read f32[64], p1: readwrite f32[64]) grid [8] {
       strip i1 in 0..8 {
         v0 = load p0[8*i0 + i1] : f32
         store p1[i0 + i1] = v0
         v1 = load p1[15 - i1] : f32
         store p1[16 + 2*i0 + i1] = v1
       }
     }
     schedule { call @same#0(%0, %1) }",
    // Local memory of another point.
    "program @local
       %0 input \"x\" f32[8]
       %1 output \"y\" f32[8]
     kernel @local(p0: read f32[8], p1: write f32[8], p2: local f32[8]) grid [8] {
       v0 = load p0[i0] : f32
       store p2[i0] = v0
       v1 = load p2[7 - i0] : f32
       store p1[i0] = v1
     }
     schedule { call @local#0(%0, %1) }",
    // Places that move out of the buffer with the iterations, if it were not verified; and what only half is written.
    "program @moving
       arena 64 bytes
       %0 input \"x\" f32[8]
       %1 arena \"h\" f32[16] at 0
       %2 output \"y\" f32[8, 16]
     kernel @half(p0: read f32[1], p1: write f32[8]) grid [] {
       v0 = load p0[0] : f32
       strip i0 in 0..8 {
         store p1[i0] = v0
       }
     }
     kernel @all(p0: read f32[16], p1: write f32[16]) grid [] {
       strip i0 in 0..16 {
         v0 = load p0[i0] : f32
         store p1[i0] = v0
       }
     }
     schedule {
       loop 8 {
         call @half#0(%0 by [1], %1)
         call @all#1(%1, %2 by [16])
       }
     }",
];

#[test]
fn programs_that_are_wrong_are_told_and_stay_inside() {
    for (number, text) in WRONG.iter().enumerate() {
        let program = Program::parse(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
        brolga::ir::program::verify::verify(&program).unwrap_or_else(|e| panic!("{e}\n{text}"));
        let outcomes: Vec<Outcome> = (0..12).map(|seed| check(&program, &mut Rng(seed))).collect();
        let reaches = [0, 1, 3, 4].contains(&number);
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
     schedule { call @double#0(%0, %1) }";
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
