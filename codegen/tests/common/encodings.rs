//! Machine code of leaves read by two disassemblers that share nothing: the one that belongs to the assembler, and
//! another. They must agree on every length, mnemonic and operand.

use iced_x86::{Code, Decoder, DecoderOptions, Instruction, Mnemonic, OpKind, Register};
use yaxpeax_arch::LengthedInstruction;
use yaxpeax_x86::long_mode::{InstDecoder, Instruction as Other, MergeMode, Operand, RegSpec};

/// What the other disassembler has no entry for.
const NOT_KNOWN: [Code; 6] = [
    Code::EVEX_Vgatherdps_zmm_k1_vm32z,
    Code::EVEX_Vpslld_zmm_k1z_zmmm512b32_imm8,
    Code::EVEX_Vpsrlq_zmm_k1z_zmmm512b64_imm8,
    Code::VEX_Kmovw_kr_km16,
    Code::VEX_Kmovw_kr_r32,
    Code::VEX_Kxnorw_kr_kr_kr,
];

/// One of each of those, as both GNU's and LLVM's disassemblers read it.
pub const READ_BY_OTHERS: [(&[u8], &str); 6] = [
    (&[0x62, 0xb2, 0x7d, 0x4a, 0x92, 0x04, 0xb7], "vgatherdps zmm0,k2,[rdi+zmm14*4]"),
    (&[0x62, 0xf1, 0x7d, 0x48, 0x72, 0xf0, 0x17], "vpslld zmm0,zmm0,17h"),
    (&[0x62, 0xf1, 0xed, 0x48, 0x73, 0xd2, 0x20], "vpsrlq zmm2,zmm2,20h"),
    (&[0xc5, 0xf8, 0x90, 0xd1], "kmovw k2,k1"),
    (&[0xc5, 0xf8, 0x92, 0xc8], "kmovw k1,eax"),
    (&[0xc5, 0xec, 0x46, 0xd2], "kxnorw k2,k2,k2"),
];

/// Reads a leaf up to its return.
pub fn check(code: &[u8]) {
    let others = InstDecoder::default();
    for instruction in Decoder::with_ip(64, code, 0, DecoderOptions::NONE).iter() {
        let at = instruction.ip() as usize;
        let other = others.decode_slice(&code[at..]);
        let bytes = &code[at..at + instruction.len()];
        match other {
            Ok(other) => {
                assert_eq!(described_by_other(&other), described(&instruction), "{other} at {bytes:x?}")
            }
            Err(e) => assert!(NOT_KNOWN.contains(&instruction.code()), "{e} in {bytes:x?}: {instruction:?}"),
        }
        if instruction.mnemonic() == Mnemonic::Ret {
            return;
        }
    }
    panic!("no return");
}

/// An instruction as a list of words: its length, its mnemonic, what goes for all of it, and its operands.
fn described(instruction: &Instruction) -> Vec<String> {
    let mnemonic = match instruction.mnemonic() {
        Mnemonic::Jne => "jnz".into(),
        other => format!("{other:?}").to_lowercase(),
    };
    let mut words = vec![instruction.len().to_string(), mnemonic];
    if instruction.has_op_mask() {
        words.push(format!("mask {}", name(instruction.op_mask())));
    }
    words.extend(instruction.zeroing_masking().then(|| "zeroing".into()));
    words.extend(instruction.is_broadcast().then(|| "broadcast".into()));
    for i in 0..instruction.op_count() {
        words.push(match instruction.op_kind(i) {
            OpKind::Register => name(instruction.op_register(i)),
            OpKind::Memory => {
                let base = instruction.memory_base();
                let displacement = match base {
                    Register::RIP => instruction.memory_displacement64().wrapping_sub(instruction.next_ip()),
                    _ => instruction.memory_displacement64(),
                };
                let index = instruction.memory_index();
                let scale = if index == Register::None { 1 } else { instruction.memory_index_scale() };
                memory(name(base), name(index), scale, displacement as i64)
            }
            OpKind::NearBranch64 => {
                let distance = instruction.near_branch_target().wrapping_sub(instruction.next_ip());
                (distance as i64).to_string()
            }
            OpKind::Immediate8 => (instruction.immediate8() as i8).to_string(),
            _ => (instruction.immediate(i) as i64).to_string(),
        });
    }
    words
}

fn name(register: Register) -> String {
    if register == Register::None { String::new() } else { format!("{register:?}").to_lowercase() }
}

fn memory(base: String, index: String, scale: u32, displacement: i64) -> String {
    format!("[{base} + {index} * {scale} + {displacement}]")
}

fn described_by_other(other: &Other) -> Vec<String> {
    use Operand::*;
    let none = String::new;
    let text = |register: RegSpec| register.name().to_string();
    let at =
        |base, index, scale: u8, displacement: i32| memory(base, index, scale.into(), displacement.into());
    let (mut mask, mut zeroing, mut operands) = (None, false, Vec::new());
    for i in 0..other.operand_count() {
        let operand = other.operand(i);
        match operand {
            RegisterMaskMerge { mask: m, merge, .. } => (mask, zeroing) = (Some(m), merge == MergeMode::Zero),
            MemDerefMasked { mask: m, .. }
            | DispMasked { mask: m, .. }
            | MemIndexScaleMasked { mask: m, .. }
            | MemIndexScaleDispMasked { mask: m, .. }
            | MemBaseIndexScaleMasked { mask: m, .. }
            | MemBaseIndexScaleDispMasked { mask: m, .. } => mask = Some(m),
            _ => {}
        }
        operands.push(match operand {
            ImmediateI8 { imm } => imm.to_string(),
            ImmediateU8 { imm } => (imm as i8).to_string(),
            ImmediateI32 { imm } => imm.to_string(),
            ImmediateU32 { imm } => imm.to_string(),
            ImmediateI64 { imm } => imm.to_string(),
            ImmediateU64 { imm } => (imm as i64).to_string(),
            Register { reg } | RegisterMaskMerge { reg, .. } => text(reg),
            MemDeref { base } | MemDerefMasked { base, .. } => at(text(base), none(), 1, 0),
            Disp { base, disp } | DispMasked { base, disp, .. } => at(text(base), none(), 1, disp),
            MemIndexScale { index, scale } => at(none(), text(index), scale, 0),
            MemIndexScaleDisp { index, scale, disp } => at(none(), text(index), scale, disp),
            MemBaseIndexScale { base, index, scale } | MemBaseIndexScaleMasked { base, index, scale, .. } => {
                at(text(base), text(index), scale, 0)
            }
            MemBaseIndexScaleDisp { base, index, scale, disp }
            | MemBaseIndexScaleDispMasked { base, index, scale, disp, .. } => {
                at(text(base), text(index), scale, disp)
            }
            other => format!("{other:?}"),
        });
    }
    let mut words = vec![LengthedInstruction::len(other).to_const().to_string(), other.opcode().to_string()];
    // `k0` means that there is none.
    words.extend(mask.map(text).filter(|mask| mask != "k0").map(|mask| format!("mask {mask}")));
    words.extend(zeroing.then(|| "zeroing".into()));
    let broadcast = other.prefixes.evex().is_some_and(|prefix| prefix.broadcast());
    words.extend(broadcast.then(|| "broadcast".into()));
    words.extend(operands);
    words
}
