//! Objects linked into C programs, and their headers.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::OnceLock;

use brolga_codegen::{
    Object, ObjectRequest, Options, StateTensor, TargetCpu, TargetTriple, check_symbol, emit_object,
};
use brolga_ir::program::Program;
use brolga_ir::{DType, Tensor};
use brolga_runtime::{SlotKind, State};

use crate::common::machine::references;
use crate::common::{Rng, Values, run, targets, to_runtime};
use crate::programs::everything;

mod texts;

use texts::TURN;
pub use texts::{ANSWER, GROW, PICK};

/// The state of all programs here.
pub const STATE: [StateTensor<'static>; 2] = [
    StateTensor { name: "w", kind: SlotKind::Parameter, fresh: 0.0 },
    StateTensor { name: "total", kind: SlotKind::Optimizer, fresh: 0.5 },
];

pub fn parse(text: &str) -> Program {
    Program::parse(text).unwrap_or_else(|e| panic!("{text}\n{e}"))
}

/// An object of these programs under their own names.
pub fn object(programs: &[&Program], weights: Option<&State>, target_cpu: TargetCpu) -> Object {
    object_for(programs, weights, &[Options::from(target_cpu)])
}

pub fn object_for(programs: &[&Program], weights: Option<&State>, targets: &[Options]) -> Object {
    let entries: Vec<(&Program, &str)> =
        programs.iter().map(|program| (*program, program.name.as_str())).collect();
    emit_object(&ObjectRequest { entries: &entries, weights, targets, ..NET }).unwrap()
}

/// An object of no entries, for the processor at hand.
const NET: ObjectRequest<'_> =
    ObjectRequest { entries: &[], state: &STATE, weights: None, symbol: "net", targets: &[HERE] };

const HERE: Options = Options { target_cpu: TargetCpu::Native, triple: TargetTriple::Host };

/// Two tensors of the state, with values.
pub fn state_of(w: &Tensor, total: &Tensor) -> State {
    let mut state = State::new();
    state.insert("w", SlotKind::Parameter, to_runtime(w)).unwrap();
    state.insert("total", SlotKind::Optimizer, to_runtime(total)).unwrap();
    state
}

fn random_state(random: &mut Rng) -> [Tensor; 2] {
    [random.tensor(DType::F32, 750).reshaped([30, 25]), random.tensor(DType::F32, 100)]
}

fn bytes(tensors: &[&Tensor]) -> Vec<u8> {
    tensors.iter().flat_map(|tensor| to_runtime(tensor).bytes().to_vec()).collect()
}

/// Writes an object, its header and a program.
pub fn write(folder: &Path, main: &str, object: &Object) {
    std::fs::write(folder.join("net.o"), &object.bytes).unwrap();
    std::fs::write(folder.join("net.h"), &object.header).unwrap();
    std::fs::write(folder.join("main.c"), main).unwrap();
}

/// Runs a compiler; nothing where there is none.
pub fn compiler(folder: &Path, name: &str, arguments: &[&str]) -> Option<Output> {
    match Command::new(name).args(arguments).current_dir(folder).output() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            println!("skipped: there is no `{name}`");
            None
        }
        output => Some(output.unwrap()),
    }
}

/// What a program prints that reads this.
pub fn printed(folder: &Path, stdin: &[u8]) -> Vec<u8> {
    printed_by(&[], folder, stdin)
}

/// The same, run by another program.
fn printed_by(runner: &[&str], folder: &Path, stdin: &[u8]) -> Vec<u8> {
    std::fs::write(folder.join("in"), stdin).unwrap();
    let main = folder.join("main");
    let words: Vec<&OsStr> = runner.iter().map(OsStr::new).chain([main.as_os_str()]).collect();
    let output = Command::new(words[0])
        .args(&words[1..])
        .stdin(std::fs::File::open(folder.join("in")).unwrap())
        // Which cannot be told where a debugger runs the program; Valgrind tells it.
        .env("ASAN_OPTIONS", "detect_leaks=0")
        .current_dir(folder)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{errors}", output.status);
    output.stdout
}

/// How programs are compiled: compiler, language, and what else.
pub const WAYS: [(&str, &str, &str); 3] = [
    ("cc", "c", "-std=c99"),
    ("c++", "c++", "-std=c++11"),
    ("cc", "c", "-fsanitize=address,undefined -fno-sanitize-recover=all -g"),
];

/// Whether the C compiler has sanitizers.
pub fn sanitizes() -> bool {
    static KNOWN: OnceLock<bool> = OnceLock::new();
    *KNOWN.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("main.c"), "int main(void) { return 0; }\n").unwrap();
        let arguments: Vec<&str> = WAYS[2].2.split(' ').chain(["main.c", "-o", "main"]).collect();
        compiler(folder.path(), "cc", &arguments).is_some_and(|output| output.status.success())
    })
}

/// A program that watches what others read and write.
const VALGRIND: [&str; 4] = ["valgrind", "--quiet", "--error-exitcode=9", "--leak-check=full"];

/// Whether a program with an object can be watched: Valgrind is there, which does not know AVX-512.
fn is_watched(object: &Object) -> bool {
    static THERE: OnceLock<bool> = OnceLock::new();
    let there = || compiler(Path::new("."), VALGRIND[0], &["--version"]).is_some();
    let known = object.manifests[0].cpu_features.iter().all(|feature| !feature.starts_with("avx512"));
    known && *THERE.get_or_init(there)
}

/// More warnings than ours: those of programs that are strict with all that they include.
const STRICT: &str = "-Wconversion -Wsign-conversion -Wcast-qual -Wshadow -Wundef -Wdouble-promotion -Wpointer-arith \
                      -Wredundant-decls -Wmissing-declarations";

/// What a C program with an object prints, compiled as C, as C++, and with sanitizers where there are any; as C it is watched by
/// Valgrind, too.
pub fn linked(main: &str, object: &Object, libraries: &[&str], stdin: &[u8]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    write(at, main, object);
    std::fs::write(at.join("alone.c"), "#include \"net.h\"\nint main(void) { return 0; }\n").unwrap();
    let mut all = Vec::new();
    for (name, language, more) in WAYS {
        if more.contains("sanitize") && !sanitizes() {
            println!("skipped: `{name}` has no sanitizers");
            continue;
        }
        let mut arguments = vec!["-x", language, "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-O1"];
        arguments.extend(more.split(' '));
        let alone =
            arguments.iter().copied().chain(STRICT.split_whitespace()).chain(["-fsyntax-only", "alone.c"]);
        if let Some(output) = compiler(at, name, &alone.collect::<Vec<_>>()) {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        arguments.extend(["main.c", "-x", "none", "net.o", "-o", "main"]);
        arguments.extend(libraries);
        let Some(output) = compiler(at, name, &arguments) else { continue };
        assert!(output.status.success(), "{}\n{}", String::from_utf8_lossy(&output.stderr), object.header);
        all.push(printed(at, stdin));
        if more == WAYS[0].2 && is_watched(object) {
            all.push(printed_by(&VALGRIND, at, stdin));
        }
    }
    assert!(!all.is_empty(), "the C compiler `cc` is needed, which links Rust too");
    assert!(all.windows(2).all(|pair| pair[0] == pair[1]), "ways to compile differ");
    all.swap_remove(0)
}

pub fn text(main: &str, object: &Object) -> String {
    String::from_utf8(linked(main, object, &[], b"")).unwrap()
}

#[test]
fn a_name_that_c_does_not_allow_is_an_error() {
    let known =
        "NULL size_t uint8_t INT32_MAX errno malloc memcpy printf abs exp sinf read linux BROLGA_BLOCK"
            .split(' ');
    let others =
        ["2nd", "", "a-b", "ä", "int", "class", "static_assert", "main", "_Net", "a__b", "brolga_block"];
    let program = everything();
    for symbol in others.into_iter().chain(known).chain(["brolga", "Brolga"]) {
        let error =
            emit_object(&ObjectRequest { entries: &[(&program, "infer")], symbol, ..NET }).unwrap_err();
        assert!(
            error.to_string().starts_with(&format!("`{symbol}` cannot be the name of a C function")),
            "{error}"
        );
    }
    for symbol in ["net", "int_", "Main", "_net", "a_b", "entry_exp", "Exp", "lenet5"] {
        check_symbol(symbol).unwrap();
    }
}

#[test]
fn entries_and_state_that_do_not_fit_are_errors() {
    let program = everything();
    let error = |entries: &[(&Program, &str)], state: &[StateTensor<'_>]| {
        emit_object(&ObjectRequest { entries, state, ..NET }).unwrap_err().to_string()
    };
    assert!(error(&[], &STATE).contains("0 entries"));
    assert!(error(&[(&program, "a.b"), (&program, "a_b")], &STATE).contains("`net_a_b`"));
    assert!(error(&[(&program, "share")], &STATE).contains("`net_share`"));
    assert!(error(&[(&program, "a")], &STATE[..1]).contains("`everything` uses the state `total`"));
    let other = parse(&GROW.replace("[30, 25]", "[25, 30]"));
    let found = error(&[(&program, "a"), (&other, "b")], &STATE);
    assert!(found.contains("f32[30, 25] in `everything`, but f32[25, 30] in `grow`"), "{found}");
    let mut state = State::new();
    state.insert("w", SlotKind::Parameter, brolga_runtime::Tensor::scalar(1f32).unwrap()).unwrap();
    let grow = parse(GROW);
    let request = ObjectRequest { entries: &[(&grow, "a")], weights: Some(&state), ..NET };
    let found = emit_object(&request).unwrap_err();
    assert_eq!(found.to_string(), "`w` must be f32[30, 25], but the weights have f32[]");
}

/// Tensors whose names are equal once they are names of C have macros of their own, and none has the common one, which could
/// be taken for another's; each says whose it is, and a C compiler finds no macro and no parameter twice.
#[test]
fn names_that_are_equal_in_c_are_told_apart() {
    let names =
        ["a.b", "a_b", "A.b", "a", "a.bytes", "ä", "ö", "*/ int x; /*", "y", "class", "model", "net_tensor"];
    let inputs: Vec<String> =
        names.iter().enumerate().map(|(i, name)| format!("  %{i} input {name:?} f32[3]\n")).collect();
    let output = names.len();
    let program = parse(&format!(
        "program @equal\n{}  %{output} output \"y\" f32[3]\nkernel @copy(p0: read f32[3], p1: write f32[3]) grid [] {{\n  \
         strip i0 in 0..3 {{\n    v0 = load p0[i0] : f32\n    store p1[i0] = v0\n  }}\n}}\nschedule {{\n  call \
         @copy#0(%0, %{output})\n}}\n",
        inputs.concat()
    ));
    let object = object(&[&program], None, TargetCpu::Native);
    let header = &object.header;
    let defined: Vec<&str> =
        header.lines().filter_map(|line| line.strip_prefix("#define ")?.split(' ').next()).collect();
    let unique: std::collections::HashSet<&&str> = defined.iter().collect();
    assert_eq!(unique.len(), defined.len(), "{header}");
    assert!(!defined.contains(&"NET_EQUAL_INPUT_A_B"), "{header}");
    assert!(defined.contains(&"NET_EQUAL_OUTPUT_Y"), "{header}");
    for name in ["a.b", "a_b", "A.b"] {
        assert_eq!(header.matches(&format!("/* {name}: f32[3] */")).count(), 1, "{header}");
    }
    let main = "#include \"net.h\"\nint main(void) { return 0; }\n";
    assert_eq!(text(main, &object), "");
}

/// Reads tensors, runs an entry by its block, and by its function; both give what is written.
const BOTH: &str = include_str!("objects/both.c");

#[test]
fn an_object_in_a_c_program_gives_the_bits_of_the_jit() {
    let program = everything();
    let mut random = Rng(9);
    let inputs = [random.tensor(DType::F32, 600).reshaped([20, 30])];
    let state = random_state(&mut random);
    let mut all: Vec<Vec<TargetCpu>> = targets().into_iter().map(|cpu| vec![cpu]).collect();
    if cfg!(target_arch = "x86_64") {
        // Whatever comes first.
        all.push(vec![TargetCpu::X86_64V4, TargetCpu::X86_64V3]);
    }
    for cpus in all {
        let options: Vec<Options> = cpus.iter().copied().map(Options::from).collect();
        let object = object_for(&[&program], None, &options);
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), BOTH, &object);
        let undefined = Command::new("nm").args(["-u", "net.o"]).current_dir(folder.path()).output();
        let undefined = undefined.expect("`nm`, which comes with the linker");
        assert!(undefined.status.success());
        assert_eq!(String::from_utf8_lossy(&undefined.stdout).trim(), "", "undefined symbols");

        let [w, total] = &state;
        let (outputs, after) = run(&program, TargetCpu::Native, &inputs, &state);
        let expected = bytes(&[&outputs[0], &after[1]]).repeat(2);
        let found = linked(BOTH, &object, &[], &bytes(&[&inputs[0], w, total, w, total]));
        assert_eq!(found.len(), expected.len());
        // NaNs may differ in their bits; they do not here, where both run the same instructions.
        assert!(found == expected, "{cpus:?}: the C program computes other bits");
    }
}

/// The macros of two models have one name where theirs differ in case alone: a program with both is told.
#[test]
fn names_that_differ_in_case_alone_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let program = everything();
    for (symbol, file) in [("net", "a.h"), ("Net", "b.h"), ("other", "c.h")] {
        let request = ObjectRequest { entries: &[(&program, "infer")], symbol, ..NET };
        let object = emit_object(&request).unwrap();
        std::fs::write(folder.path().join(file), object.header).unwrap();
    }
    let compiles = |includes: &str| {
        let main: String = includes.split(' ').map(|file| format!("#include \"{file}\"\n")).collect();
        std::fs::write(folder.path().join("main.c"), main).unwrap();
        let output =
            compiler(folder.path(), "cc", &["-std=c99", "-fsyntax-only", "main.c"]).expect("a compiler");
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert_eq!(compiles("a.h c.h a.h"), (true, String::new()));
    let (good, errors) = compiles("a.h b.h");
    assert!(!good && errors.contains("the names of two models differ in case alone"), "{errors}");
}

/// Objects for all systems are what their linkers take, with nothing to be found elsewhere.
#[test]
fn objects_for_all_systems_refer_to_nothing() {
    use object::{Architecture, BinaryFormat, Object as _};
    for triple in TargetTriple::ALL {
        let options = Options { target_cpu: TargetCpu::Native, triple };
        let bytes = object_for(&[&everything()], None, &[options]).bytes;
        let file = object::File::parse(&*bytes).unwrap();
        let name = triple.name();
        let architecture =
            if name.starts_with("aarch64") { Architecture::Aarch64 } else { Architecture::X86_64 };
        let format = match name.split('-').nth(2) {
            Some("linux") => BinaryFormat::Elf,
            Some("darwin") => BinaryFormat::MachO,
            _ => BinaryFormat::Coff,
        };
        assert_eq!((file.architecture(), file.format()), (architecture, format), "{name}");
        assert_eq!(references(&bytes), [""; 0], "{name}");
    }
}

#[test]
#[cfg(target_arch = "x86_64")]
fn a_program_chooses_among_codes() {
    let program = everything();
    let (v3, v4) = (Options::from(TargetCpu::X86_64V3), Options::from(TargetCpu::X86_64V4));
    let both = object_for(&[&program], None, &[v4, v3]);
    assert!(both.header.contains("Processors must have sse3, "), "{}", both.header);
    assert!(
        both.header.contains("Those that have avx512f, avx512bw, avx512dq, avx512vl too"),
        "{}",
        both.header
    );
    assert!(both.symbols.contains(&"net_processor".to_owned()), "{:?}", both.symbols);
    // One is there as it is without the other.
    let sizes = [&both.bytes, &object_for(&[&program], None, &[v3]).bytes].map(Vec::len);
    assert!(sizes[0] > sizes[1] && sizes[0] < 3 * sizes[1], "{sizes:?}");
    let has = ["avx512f", "avx512bw", "avx512dq", "avx512vl"].into_iter().all(brolga_runtime::cpu_has);
    let chosen = |object: &Object| {
        let main = "#include \"net.h\"\n#include <stdio.h>\nint main(void) { printf(\"%d\", (int)net_processor()); }\n";
        // Not by `text`: Valgrind is a processor without AVX-512, where another code is chosen.
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), main, object);
        let output = compiler(folder.path(), "cc", &["main.c", "net.o", "-o", "main"])
            .expect("`cc`, which links Rust too");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(printed(folder.path(), b"")).unwrap()
    };
    assert_eq!(chosen(&both), if has { "1" } else { "0" });
    assert_eq!(chosen(&object_for(&[&program], None, &[v3])), "0");

    let error = |targets: &[Options]| {
        let request = ObjectRequest { entries: &[(&program, "infer")], targets, ..NET };
        emit_object(&request).unwrap_err().to_string()
    };
    assert_eq!(error(&[]), "no target processor was given");
    let portable = Options::from(TargetCpu::Portable);
    assert_eq!(
        error(&[v3, portable]),
        "the target processors x86-64-v3 and portable need the same: leave one of them out"
    );
    let foreign = Options { target_cpu: TargetCpu::Native, triple: TargetTriple::Aarch64Linux };
    assert!(error(&[v3, foreign]).starts_with("an object is for one system: "));
    assert!(error(&[foreign, foreign]).contains("need the same"));
    let wrong = Options { target_cpu: TargetCpu::X86_64V4, ..foreign };
    assert_eq!(
        error(&[wrong]),
        "target processor x86-64-v4 was asked for, but code is made for aarch64-unknown-linux-gnu; use native or portable"
    );
}

/// Loads a state from standard input, runs, saves it on standard output.
const LOAD_AND_SAVE: &str = include_str!("objects/load_and_save.c");

/// A file that the runtime has written is read, and what is written is the same file, byte by byte.
#[test]
fn files_of_state_are_those_of_the_runtime() {
    let program = everything();
    let [w, total] = random_state(&mut Rng(3));
    let folder = tempfile::tempdir().unwrap();
    let save = |state: &State| {
        state.save(folder.path().join("s.safetensors")).unwrap();
        std::fs::read(folder.path().join("s.safetensors")).unwrap()
    };
    let before = save(&state_of(&w, &total));
    let object = object(&[&program], None, TargetCpu::Native);
    let found = linked(LOAD_AND_SAVE, &object, &[], &before);
    let x = Tensor::f32([20, 30], (0..600).map(|i| i as f32).collect::<Vec<_>>());
    let (_, after) = run(&program, TargetCpu::Native, &[x], &[w.clone(), total]);
    assert!(found == save(&state_of(&w, &after[1])));

    // What is no weight and not there is fresh.
    let mut weights = State::new();
    weights.insert("w", SlotKind::Parameter, to_runtime(&w)).unwrap();
    let main = LOAD_AND_SAVE.replace("if (net_everything(&model, x, NULL) != 0) return 3;", "(void)x;");
    let found = linked(&main, &object, &[], &save(&weights));
    let fresh = Tensor::f32([100], vec![0.5; 100]);
    assert!(found == save(&state_of(&w, &fresh)));
}

/// Says what loading each of several files gives: their lengths and themselves come from standard input.
const LOAD_MANY: &str = include_str!("objects/load_many.c");

/// A file with this header and so many bytes of data, behind its length.
fn file(header: &str, data: usize) -> Vec<u8> {
    let bytes = 8 + header.len() + data;
    let parts = [&(bytes as u64).to_le_bytes()[..], &(header.len() as u64).to_le_bytes(), header.as_bytes()];
    [&parts.concat()[..], &vec![1; data]].concat()
}

#[test]
fn files_that_do_not_fit_are_refused() {
    let object = object(&[&everything()], None, TargetCpu::Native);
    let w = |shape: &str, ty: &str, offsets: &str| {
        format!(r#""w":{{"dtype":"{ty}","shape":[{shape}],"data_offsets":[{offsets}]}}"#)
    };
    let good = w("30,25", "F32", "0,3000");
    let more = |offsets: &str| format!(r#""more":{{"dtype":"F16","shape":[2],"data_offsets":[{offsets}]}}"#);
    let cases = [
        (format!("{{{good}}}"), 3000, 0),
        (format!(" {{ {good} , \"else\" : [{{\"a\":\"]\\\"\"}}, -1.5e3, null]}} \n"), 3000, 0),
        (format!("{{\"__metadata__\":{{\"w\":\"x\"}},{}}}", good.replace("\"w\"", "\"\\u0077\"")), 3000, 0),
        (format!("{{{}}}", w("30,25", "F32", "8,3008")), 3008, 0),
        (format!("{{{}}}", w("25,30", "F32", "0,3000")), 3000, 1),
        (format!("{{{}}}", w("30,25,1", "F32", "0,3000")), 3000, 1),
        (format!("{{{}}}", w("750", "F32", "0,3000")), 3000, 1),
        (format!("{{{}}}", w("30,25", "I32", "0,3000")), 3000, 1),
        (format!("{{{}}}", w("30,25", "F32", "0,2996")), 3000, 1),
        ("{}".to_owned(), 0, 1),
        (format!("{{{}}}", w("30,25", "F32", "1,3001")), 3000, -1),
        (format!("{{{}}}", w("30,25", "F32", "3000,0")), 3000, -1),
        (format!("{{{}}}", w("30,25", "F32", "0,18446744073709551616")), 3000, -1),
        (format!("{{{good},{good}}}"), 3000, -1),
        // A tensor that the model does not know must be there as well.
        (format!("{{{},{good}}}", more("3000,3004")), 3004, 0),
        (format!("{{{},{good}}}", more("3000,3004")), 3003, -1),
        (format!("{{{good},{}}}", more("3004,3000")), 3004, -1),
        (format!("{{{good},\"more\":{{}}}}"), 3000, -1),
        (format!("{{{good}}}}}"), 3000, -1),
        (format!("{{{good},}}"), 3000, -1),
        (format!("{{{good}"), 3000, -1),
        ("{\"w\":{}}".to_owned(), 3000, -1),
        ("{\"w\":[]}".to_owned(), 3000, -1),
        ("{\"w".to_owned(), 3000, -1),
        ("{\"w\\".to_owned(), 3000, -1),
        (String::new(), 3000, -1),
    ];
    let stdin: Vec<u8> = cases.iter().flat_map(|(header, data, _)| file(header, *data)).collect();
    let found = String::from_utf8(linked(LOAD_MANY, &object, &[], &stdin)).unwrap();
    let found: Vec<i32> = found.split_whitespace().map(|number| number.parse().unwrap()).collect();
    for ((header, _, expected), found) in cases.iter().zip(&found) {
        assert_eq!(found, expected, "{header}");
    }
    assert_eq!(found.len(), cases.len());
}

/// Changes a file at random, and loads what comes out, from memory of exactly its size.
const MUTATE: &str = include_str!("objects/mutate.c");

/// Changed files are loaded or refused; sanitizers see that nothing else is read. `BROLGA_MUTATIONS` says how many.
#[test]
fn changed_files_are_read_within_their_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let [w, total] = random_state(&mut Rng(4));
    state_of(&w, &total).save(at.join("in")).unwrap();
    write(at, MUTATE, &object(&[&everything()], None, TargetCpu::Native));
    if !sanitizes() {
        println!("skipped: `cc` has no sanitizers");
        return;
    }
    let arguments = ["-O1", "-Wall", "-Wextra", "-Werror"].into_iter().chain(WAYS[2].2.split(' '));
    let arguments: Vec<&str> = arguments.chain(["main.c", "net.o", "-o", "main"]).collect();
    let output = compiler(at, "cc", &arguments).expect("the C compiler");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let rounds = std::env::var("BROLGA_MUTATIONS").unwrap_or_else(|_| "20000".to_owned());
    let output = Command::new(at.join("main"))
        .arg(rounds)
        .stdin(std::fs::File::open(at.join("in")).unwrap())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
}

/// Prepared values follow the state; models share it.
const PREPARED: &str = include_str!("objects/prepared.c");

#[test]
fn prepared_values_follow_the_state() {
    let (answer, grow) = (parse(ANSWER), parse(GROW));
    let object = object(&[&answer, &grow], None, TargetCpu::Native);
    assert_eq!(text(PREPARED, &object), "2 4 6 6 20");
}

/// Indices outside of their range, and bools that are none, are found before anything runs.
const CHECKED: &str = include_str!("objects/checked.c");

#[test]
fn inputs_that_code_relies_on_are_checked() {
    let object = object(&[&parse(PICK)], None, TargetCpu::Native);
    assert_eq!(
        object.functions,
        [
            "int net_pick(net *model, const int32_t *index, const uint8_t *keep, float scale, float *y, float *output_class)"
        ]
    );
    assert_eq!(text(CHECKED, &object), "112 -1 0 0 2 5 6 0 3");
    let arrays = "   An output may be NULL, or overlap inputs. Returns 0, or the number";
    assert!(object.header.contains(arrays), "{}", object.header);
}

/// Outputs over inputs: all of them, parts, aligned and not.
const OVER: &str = include_str!("objects/over.c");

#[test]
fn outputs_may_be_written_over_inputs() {
    assert_eq!(text(OVER, &object(&[&parse(TURN)], None, TargetCpu::Native)), "1111111");
}

/// State that is part of the object: used where it lies, or copied.
#[test]
fn weights_are_part_of_the_object() {
    let ones = Tensor::f32([30, 25], vec![1.5; 750]);
    let state = state_of(&ones, &Tensor::f32([100], vec![0.0; 100]));
    let (answer, grow, pick) = (parse(ANSWER), parse(GROW), parse(PICK));
    let in_place = include_str!("objects/in_place.c");
    assert_eq!(text(in_place, &object(&[&answer], Some(&state), TargetCpu::Native)), "3 3");
    let copied = include_str!("objects/copied.c");
    let trained = object(&[&answer, &grow, &pick], Some(&state), TargetCpu::Native);
    assert_eq!(text(copied, &trained), "5 0");
    // The zeros that the state ends with are not there.
    assert!(trained.header.contains("#define NET_WEIGHTS_BYTES 3008\n"), "{}", trained.header);
}

/// Two threads that take parts in turns.
const THREADS: &str = include_str!("objects/threads.c");

/// The caller's threads get what pays for threads.
#[test]
fn a_caller_has_kernels_run_by_its_threads() {
    let text =
        "kernel @product(p0: read f32[262336], p1: read f32[262336], p2: write f32[262336]) grid [64] {
           strip i1 in 0..4099 {
             v0 = load p0[4099*i0 + i1] : f32
             v1 = load p1[4099*i0 + i1] : f32
             v2 = mul v0, v1 : f32
             store p2[4099*i0 + i1] = v2
           }
         }";
    let kernel = brolga_ir::program::Kernel::parse(text).unwrap();
    let program = Program { name: "product".into(), ..crate::common::program(&kernel) };
    let names: Vec<&str> = program.buffers.iter().map(|buffer| buffer.name.as_str()).collect();
    let state: Vec<StateTensor<'_>> =
        names.iter().map(|name| StateTensor { name, kind: SlotKind::Buffer, fresh: 0.0 }).collect();
    let request = ObjectRequest { entries: &[(&program, "product")], state: &state, ..NET };
    let object = emit_object(&request).unwrap();
    assert!(object.manifests[0].parallel);
    let tensors = Rng(6).tensors(&kernel);
    let (_, after) = run(&program, TargetCpu::Native, &[], &tensors);
    let found = linked(THREADS, &object, &["-pthread"], &bytes(&[&tensors[0], &tensors[1]]));
    assert!(found == bytes(&[&after[2]]));
}

/// Two models in one program, one of which lies in a static library.
#[test]
#[cfg(all(unix, not(target_vendor = "apple")))]
fn a_library_is_linked_by_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let main = include_str!("objects/library.c");
    let grow = parse(GROW);
    write(at, main, &object(&[&grow], None, TargetCpu::Native));
    let request = ObjectRequest { entries: &[(&grow, "grow")], symbol: "other", ..NET };
    let other = emit_object(&request).unwrap();
    std::fs::write(at.join("libother.a"), other.archive("other").unwrap()).unwrap();
    std::fs::write(at.join("other.h"), &other.header).unwrap();
    let arguments = "-std=c99 -Wall -Wextra -Werror main.c net.o -L. -lother -o main";
    let output = compiler(at, "cc", &arguments.split(' ').collect::<Vec<_>>()).expect("the C compiler");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(printed(at, b""), b"2");
}
