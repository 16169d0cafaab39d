//! A small compiled model in a container, its machine code written by hand.
//!
//! `infer`: y = x + w + 1000 + prepared, where `prepare` gives 100 w; `train`: w += x. All are `i32[]`. The state has other
//! slots too. Base pointers: the arena, prepared values, constants and local memory, `w`, x, y.

use brolga_runtime::container::{About, Code, Functions, MachineCode, Parts, Piece, Processor, Values};
use brolga_runtime::*;

/// The three functions for x86-64: `infer`, its `prepare`, `train`. The block comes in rdi.
const X86_64: [&[u8]; 3] = [
    &[
        0x48, 0x8B, 0x07, // mov rax, [rdi]: the bases
        0x48, 0x8B, 0x48, 0x28, 0x8B, 0x11, // mov rcx, [rax + 40]; mov edx, [rcx]: x
        0x48, 0x8B, 0x48, 0x20, 0x03, 0x11, // mov rcx, [rax + 32]; add edx, [rcx]: w
        0x48, 0x8B, 0x48, 0x10, 0x03, 0x11, // mov rcx, [rax + 16]; add edx, [rcx]: the constant
        0x48, 0x8B, 0x48, 0x08, 0x03, 0x11, // mov rcx, [rax + 8]; add edx, [rcx]: prepared
        0x48, 0x8B, 0x48, 0x30, 0x89, 0x11, // mov rcx, [rax + 48]; mov [rcx], edx: y
        0xC3, // ret
    ],
    &[
        0x48, 0x8B, 0x07, // mov rax, [rdi]
        0x48, 0x8B, 0x48, 0x20, 0x6B, 0x11, 100, // mov rcx, [rax + 32]; imul edx, [rcx], 100
        0x48, 0x8B, 0x48, 0x08, 0x89, 0x11, // mov rcx, [rax + 8]; mov [rcx], edx
        0xC3, // ret
    ],
    &[
        0x48, 0x8B, 0x07, // mov rax, [rdi]
        0x48, 0x8B, 0x48, 0x28, 0x8B, 0x11, // mov rcx, [rax + 40]; mov edx, [rcx]
        0x48, 0x8B, 0x48, 0x20, 0x01, 0x11, // mov rcx, [rax + 32]; add [rcx], edx
        0xC3, // ret
    ],
];

/// The same for aarch64. The block comes in x0.
const AARCH64: [&[u32]; 3] = [
    &[
        0xF940_0001, // ldr x1, [x0]: the bases
        0xF940_1422,
        0xB940_0043, // ldr x2, [x1, 40]; ldr w3, [x2]: x
        0xF940_1022,
        0xB940_0044,
        0x0B04_0063, // ldr x2, [x1, 32]; ldr w4, [x2]; add w3, w3, w4: w
        0xF940_0822,
        0xB940_0044,
        0x0B04_0063, // ldr x2, [x1, 16]; …: the constant
        0xF940_0422,
        0xB940_0044,
        0x0B04_0063, // ldr x2, [x1, 8]; …: prepared
        0xF940_1822,
        0xB900_0043, // ldr x2, [x1, 48]; str w3, [x2]: y
        0xD65F_03C0, // ret
    ],
    &[
        0xF940_0001,
        0xF940_1022,
        0xB940_0043, // ldr x1, [x0]; ldr x2, [x1, 32]; ldr w3, [x2]
        0x5280_0C84,
        0x1B04_7C63, // mov w4, 100; mul w3, w3, w4
        0xF940_0422,
        0xB900_0043, // ldr x2, [x1, 8]; str w3, [x2]
        0xD65F_03C0, // ret
    ],
    &[
        0xF940_0001,
        0xF940_1422,
        0xB940_0043, // ldr x1, [x0]; ldr x2, [x1, 40]; ldr w3, [x2]
        0xF940_1022,
        0xB940_0044,
        0x0B04_0063, // ldr x2, [x1, 32]; ldr w4, [x2]; add w3, w3, w4
        0xB900_0043,
        0xD65F_03C0, // str w3, [x2]; ret
    ],
];

/// Whether the code below runs here.
pub fn runs_here() -> bool {
    cfg!(all(unix, any(target_arch = "x86_64", target_arch = "aarch64")))
}

/// Functions in one piece.
fn piece(architecture: &str, features: &[&str], functions: [Vec<u8>; 3]) -> MachineCode {
    let convention = "system_v".to_owned();
    let features = features.iter().map(|&feature| feature.to_owned()).collect();
    let (mut bytes, mut begins) = (Vec::new(), Vec::new());
    for function in functions {
        bytes.resize(bytes.len().next_multiple_of(64), 0);
        begins.push(bytes.len());
        bytes.extend(function);
    }
    let functions = vec![
        Functions { entry: begins[0], prepare: Some(begins[1]) },
        Functions { entry: begins[2], prepare: None },
    ];
    let processor = Processor { architecture: architecture.to_owned(), convention, features };
    MachineCode { piece: Piece { processor, functions }, bytes, alignment: 4096 }
}

pub fn x86_64(features: &[&str]) -> MachineCode {
    piece("x86_64", features, X86_64.map(<[u8]>::to_vec))
}

pub fn aarch64(features: &[&str]) -> MachineCode {
    let bytes = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect();
    piece("aarch64", features, AARCH64.map(bytes))
}

/// What runs here, if this processor had these features.
pub fn here(features: &[&str]) -> MachineCode {
    if cfg!(target_arch = "aarch64") { aarch64(features) } else { x86_64(features) }
}

fn manifest(entry: &str, updated: bool, outputs: &[&str], prepared_bytes: usize) -> Manifest {
    let (dtype, dims) = (DType::I32, Vec::new());
    let output = |&name: &&str| Output { name: name.into(), dtype, dims: vec![], samples: Samples::Same };
    Manifest {
        entry: entry.into(),
        numerics: 6,
        parallel: false,
        inputs: vec![Input {
            name: "x".into(),
            dtype,
            dims: dims.clone(),
            range: None,
            samples: Samples::Same,
        }],
        outputs: outputs.iter().map(output).collect(),
        state: vec![StateSlot { name: "w".into(), dtype, dims, updated }],
        arena_bytes: 0,
        local_bytes: 0,
        prepared_bytes,
        constants_bytes: 4,
        checked: false,
        cpu_features: vec![],
    }
}

/// The two entries with this code.
pub fn code(pieces: Vec<MachineCode>) -> Code {
    let entries = vec![manifest("infer", false, &["y"], 4), manifest("train", true, &[], 0)];
    Code { entries, constants: 1000i32.to_le_bytes().to_vec(), pieces }
}

/// Code for both architectures.
pub fn code_for_both() -> Code {
    code(vec![x86_64(&[]), aarch64(&[])])
}

/// The state: w is 7.
pub fn state() -> State {
    let mut state = State::new();
    let flags = Tensor::from_bytes(DType::Bool, &[3], &[1, 0, 1]).unwrap();
    let momentum = Tensor::from_slice(&[2, 3], &[1.5f32, -0.5, 0.25, 3.0, -4.0, 8.0]).unwrap();
    state.insert("w", SlotKind::Parameter, Tensor::scalar(7i32).unwrap()).unwrap();
    state.insert("flags", SlotKind::Buffer, flags).unwrap();
    state.insert("optim.momentum.w", SlotKind::Optimizer, momentum).unwrap();
    state.insert("step", SlotKind::Step, Tensor::scalar(12i64).unwrap()).unwrap();
    state.set_record(DataRecord { classes: vec!["cat".into(), "dog".into()], ..DataRecord::default() });
    state
}

/// What the sample has in the place of the 700 that `prepare` would give: so it shows which of them is used.
pub static PREPARED: [u8; 4] = 50_000i32.to_le_bytes();

/// A container with everything in it.
pub fn sample() -> Vec<u8> {
    let (code, state) = (code_for_both(), state());
    let about = About { classes: vec!["one".into(), "two".into()], ..About::default() };
    let prepared = [Some(&PREPARED[..]), None];
    let (values, prepared, about) = (Values::Weights, &prepared[..], Some(&about));
    Parts { model: "sample", code: &code, state: &state, values, prepared, about }.to_bytes().unwrap()
}
