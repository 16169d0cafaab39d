//! A container in a launcher: mapped with it in pages that are executed or only read, through `strip` as well.

use std::process::Command;

use brolga_launchers::{MAGIC, carries_container, embed};
use brolga_runtime::container::{Code, Functions, MachineCode, Parts, Piece, Processor, Values};
use brolga_runtime::{DType, Manifest, Output, Samples, SlotKind, State, Tensor};

static LAUNCHER: &[u8] = brolga_launchers_link::launcher!();

/// A container with code that nobody calls; with weights if asked for.
fn container(values: Values) -> Vec<u8> {
    container_for(values, &[("x86_64", 4096), ("aarch64", 1 << 16)])
}

/// The same with code for these architectures, aligned so.
fn container_for(values: Values, processors: &[(&str, usize)]) -> Vec<u8> {
    let manifest = Manifest {
        entry: "infer".into(),
        numerics: 6,
        parallel: false,
        inputs: vec![],
        outputs: vec![Output {
            name: "y".into(),
            dtype: DType::F32,
            dims: vec![2, 3],
            samples: Samples::Same,
        }],
        state: vec![],
        arena_bytes: 0,
        local_bytes: 0,
        prepared_bytes: 0,
        constants_bytes: 0,
        checked: false,
        cpu_features: vec![],
    };
    let processor = |architecture: &str| Processor {
        architecture: architecture.into(),
        convention: "system_v".into(),
        features: vec![],
    };
    let piece = |&(architecture, alignment): &(&str, usize)| MachineCode {
        piece: Piece {
            processor: processor(architecture),
            functions: vec![Functions { entry: 0, prepare: None }],
        },
        bytes: vec![0xC3; 5000],
        alignment,
    };
    let pieces = processors.iter().map(piece).collect();
    let code = Code { entries: vec![manifest], constants: vec![], pieces };
    let mut state = State::new();
    state.insert("w", SlotKind::Parameter, Tensor::from_slice(&[3], &[1.5f32, 2.0, 3.0]).unwrap()).unwrap();
    let parts = Parts { model: "small", code: &code, state: &state, values, prepared: &[], about: None };
    parts.to_bytes().unwrap()
}

/// The standard output of a program, which must succeed.
fn output(program: &std::path::Path, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Why a launcher does not take a container.
fn refused(launcher: &[u8], container: &[u8]) -> String {
    let bytes = embed(launcher, container).map(|program| program.len());
    bytes.unwrap_err().to_string()
}

#[test]
fn a_program_finds_its_container() {
    if LAUNCHER.is_empty() {
        eprintln!("skipped: there is no launcher");
        return;
    }
    println!("the launcher has {} bytes", LAUNCHER.len());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("small");
    for values in [Values::None, Values::Weights] {
        let bytes = embed(LAUNCHER, &container(values)).unwrap();
        assert!(carries_container(&bytes) && !carries_container(LAUNCHER));
        std::fs::write(&path, &bytes).unwrap();
        executable(&path);
        let check = || {
            assert!(output(&path, &["--version"]).starts_with("small "));
            assert!(output(&path, &["--help"]).contains("y: f32[2, 3]"));
        };
        check();
        // Where there are binutils.
        match Command::new("strip").arg(&path).status() {
            Ok(status) => {
                assert!(status.success());
                let stripped = std::fs::read(&path).unwrap();
                assert!(carries_container(&stripped));
                check();
                let error = refused(&stripped, &container(values));
                assert!(error.contains("it carries one already"), "{error}");
            }
            Err(_) => eprintln!("not stripped: there is no strip"),
        }
    }
}

#[cfg(unix)]
fn executable(path: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[cfg(not(unix))]
fn executable(_: &std::path::Path) {}

/// What is no launcher is refused with its reason, wherever it is cut or changed.
#[test]
fn other_programs_are_refused() {
    let model = container(Values::None);
    for bytes in [&b""[..], b"\x7fELF", &[0; 64]] {
        assert!(refused(bytes, &model).contains("no ELF program"), "{bytes:?}");
    }
    if LAUNCHER.is_empty() {
        return;
    }
    assert!(embed(LAUNCHER, &model[..50]).is_err());
    let foreign = container_for(Values::None, &[("riscv64", 4096)]);
    assert!(refused(LAUNCHER, &foreign).contains("but the model has code for riscv64"));
    for bytes in [0, 10, 63, 64, 100, 1000, LAUNCHER.len() / 2, LAUNCHER.len() - 1] {
        assert!(embed(&LAUNCHER[..bytes], &model).is_err(), "{bytes} bytes");
    }
    let mut without = LAUNCHER.to_vec();
    let at = without.windows(MAGIC.len()).position(|window| window == MAGIC).unwrap();
    without[at] ^= 1;
    assert!(refused(&without, &model).contains("where its container is"));
    // Bytes of the header and of the table of segments may be wrong.
    for at in (0..64).chain((64..64 + 16 * 56).step_by(5)) {
        let mut changed = LAUNCHER.to_vec();
        changed[at] ^= 1 << (at % 8);
        let _ = embed(&changed, &model);
    }
}
