//! Shared libraries, which no linker has made; state in files that are mapped; headers in several files of a program.

use std::path::Path;
use std::process::Command;

use brolga_codegen::{Object, ObjectRequest, Options, TargetCpu, TargetTriple, emit_shared};
use brolga_ir::Tensor;
use brolga_ir::program::Program;
use brolga_runtime::State;

use crate::objects::{ANSWER, GROW, PICK, STATE, WAYS, compiler, object, parse, printed, state_of, write};

/// What is 1.5 everywhere.
fn weights() -> State {
    state_of(&Tensor::f32([30, 25], vec![1.5; 750]), &Tensor::f32([100], vec![0.0; 100]))
}

/// A shared library of programs under their own names.
fn library(programs: &[&Program], weights: Option<&State>, options: Options) -> Object {
    let entries: Vec<(&Program, &str)> =
        programs.iter().map(|program| (*program, program.name.as_str())).collect();
    let targets = &[options];
    let request = ObjectRequest { entries: &entries, state: &STATE, weights, symbol: "net", targets };
    emit_shared(&request, "libnet.so").unwrap()
}

/// What a tool prints, which must succeed and complain about nothing.
fn told(at: &Path, tool: &str, arguments: &str) -> String {
    let output = Command::new(tool).args(arguments.split(' ')).current_dir(at).output();
    let output = output.unwrap_or_else(|e| panic!("`{tool}`, which comes with the linker: {e}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "{tool} {arguments}: {}\n{errors}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// Compiles in each way that there is, and compares what the programs print.
fn each_way(at: &Path, files: &str, more: &str, expected: &str) {
    for (name, language, flags) in WAYS {
        if flags.contains("sanitize") && !crate::objects::sanitizes() {
            println!("skipped: `{name}` has no sanitizers");
            continue;
        }
        let line =
            format!("-x {language} -Wall -Wextra -Wpedantic -Werror {flags} {files} -x none {more} -o main");
        let Some(output) = compiler(at, name, &line.split(' ').collect::<Vec<_>>()) else { continue };
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(String::from_utf8(printed(at, b"")).unwrap(), expected, "{line}");
    }
}

/// Linked by its name, before and after `strip`; loaded by a program that has not been linked with it. Programs that were linked
/// refer to functions alone, so that no data is copied into them.
#[test]
#[cfg(target_os = "linux")]
fn shared_libraries_are_linked_loaded_and_stripped() {
    let (answer, grow, pick) = (parse(ANSWER), parse(GROW), parse(PICK));
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let own = library(&[&answer], Some(&weights()), Options::default());
    write(at, include_str!("objects/in_place.c"), &own);
    std::fs::write(at.join("libnet.so"), &own.bytes).unwrap();
    let by_name = "-L. -lnet -Wl,-rpath,$ORIGIN";
    each_way(at, "main.c", by_name, "3 3");
    let linked = told(at, "readelf", "-dW main");
    assert!(linked.contains("[libnet.so]"), "{linked}");
    let relocations = told(at, "readelf", "-rW main");
    // Sanitizers have data of their own copied.
    let copied = |line: &str| line.contains("COPY") && line.contains("net_");
    assert!(!relocations.lines().any(copied), "{relocations}");
    told(at, "strip", "libnet.so");
    assert_eq!(printed(at, b""), b"3 3", "stripped");
    each_way(at, "main.c", by_name, "3 3");

    std::fs::write(at.join("main.c"), include_str!("objects/dynamic.c")).unwrap();
    let line = "-std=gnu99 -Wall -Wextra -Werror main.c -ldl -o main";
    let output = compiler(at, "cc", &line.split(' ').collect::<Vec<_>>()).expect("the C compiler");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(printed(at, b""), b"3", "loaded");

    let copied = library(&[&answer, &grow, &pick], Some(&weights()), Options::default());
    write(at, include_str!("objects/copied.c"), &copied);
    std::fs::write(at.join("libnet.so"), &copied.bytes).unwrap();
    each_way(at, "main.c", by_name, "5 0");
}

/// Of both processors: exported names, nothing undefined, nothing relocated, no memory that is writable and executable, and
/// parts whose places in the file are those in memory.
#[test]
fn shared_libraries_have_nothing_to_relocate() {
    let programs = [parse(ANSWER), parse(GROW)];
    let state = weights();
    for (triple, machine) in [
        (TargetTriple::X86_64Linux, "Advanced Micro Devices X86-64"),
        (TargetTriple::Aarch64Linux, "AArch64"),
    ] {
        for weights in [None, Some(&state)] {
            let folder = tempfile::tempdir().unwrap();
            let at = folder.path();
            let options = Options { target_cpu: TargetCpu::Portable, triple };
            let own = library(&programs.each_ref(), weights, options);
            std::fs::write(at.join("libnet.so"), &own.bytes).unwrap();
            let header = told(at, "readelf", "-hW libnet.so");
            assert!(header.contains(machine) && header.contains("DYN"), "{header}");
            let dynamic = told(at, "readelf", "-dW libnet.so");
            assert!(dynamic.contains("Library soname: [libnet.so]"), "{dynamic}");
            for absent in ["TEXTREL", "NEEDED", "REL", "INIT"] {
                assert!(!dynamic.contains(absent), "{absent}: {dynamic}");
            }
            let segments = told(at, "readelf", "-lW libnet.so");
            assert!(!segments.contains("RWE") && segments.contains("GNU_RELRO"), "{segments}");
            for line in segments.lines().filter(|line| line.trim_start().starts_with("LOAD")) {
                let numbers: Vec<u64> = line
                    .split_whitespace()
                    .filter_map(|word| u64::from_str_radix(word.strip_prefix("0x")?, 16).ok())
                    .collect();
                let [offset, address, .., align] = numbers[..] else { panic!("{line}") };
                assert_eq!(offset % align, address % align, "{line}");
            }
            // Only this program finds symbols as the loader does, by the table of hashes.
            let names = told(at, "readelf", "--use-dynamic -sW libnet.so");
            for symbol in &own.symbols {
                assert!(names.contains(symbol), "{symbol}: {names}");
            }
            assert!(!names.contains("UND net"), "{names}");
            assert_eq!(weights.is_some(), own.symbols.iter().any(|name| name == "net_weights_begin"));
        }
    }
}

#[test]
fn names_and_systems_without_such_libraries_are_errors() {
    let program = parse(ANSWER);
    let emit = |soname: &str, triple: TargetTriple| {
        let options = Options { target_cpu: TargetCpu::Portable, triple };
        let (entries, targets) = (&[(&program, "answer")], &[options]);
        let request = ObjectRequest { entries, state: &STATE, weights: None, symbol: "net", targets };
        emit_shared(&request, soname).unwrap_err().to_string()
    };
    for soname in ["", "a/b.so", "a\0"] {
        assert!(emit(soname, TargetTriple::X86_64Linux).contains("cannot be called"), "{soname:?}");
    }
    for triple in [TargetTriple::X86_64Windows, TargetTriple::Aarch64MacOs] {
        assert!(emit("net.so", triple).contains("not written for"), "{triple}");
    }
}

/// Used where it lies in memory that cannot be written to; other files and places are refused.
#[test]
#[cfg(unix)]
fn state_is_used_where_a_file_is_mapped() {
    let own = object(&[&parse(ANSWER)], None, TargetCpu::Native);
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    write(at, include_str!("objects/mapped.c"), &own);
    let file = own.state_file(&weights()).unwrap();
    assert_eq!(file.len() % 64, 0);
    std::fs::write(at.join("state"), file).unwrap();
    // Not of the standard: mapping files.
    each_way(at, "main.c", "net.o", "3");

    let other = object(&[&parse(GROW)], None, TargetCpu::Native);
    assert_eq!(other.state_file(&weights()).unwrap(), own.state_file(&weights()).unwrap());
    let mut lacking = State::new();
    let small = brolga_runtime::Tensor::scalar(1f32).unwrap();
    lacking.insert("w", brolga_runtime::SlotKind::Parameter, small).unwrap();
    assert!(own.state_file(&lacking).unwrap_err().to_string().contains("`w` must be f32[30, 25]"));
}

/// Two files of one program have the header.
#[test]
fn a_header_is_for_several_files() {
    let own = object(&[&parse(GROW)], None, TargetCpu::Native);
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    write(at, include_str!("objects/units.c"), &own);
    std::fs::write(at.join("unit.c"), include_str!("objects/unit.c")).unwrap();
    each_way(at, "main.c unit.c", "net.o", "3");
}
