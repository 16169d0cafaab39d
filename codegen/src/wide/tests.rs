//! What leaves are made of, read back by a decoder.

use brolga_ir::program::Program;
use cranelift_codegen::ir;
use cranelift_codegen::isa::{CallConv, TargetFrontendConfig};
use cranelift_frontend::FunctionBuilderContext;
use iced_x86::{CpuidFeature, Decoder, DecoderOptions, FlowControl, Instruction, Mnemonic};
use target_lexicon::PointerWidth;

use super::assembling::Instructions;
use super::types::operands::registers::rax;
use super::{Machine, Wide};
use crate::leaf::Leaf;
use crate::portable::{self, KernelSource};

/// The leaves of a program's first kernel.
fn leaves(machine: Machine, kernel: &str) -> Vec<Leaf> {
    let program = Program::parse(&format!("program @test\n{kernel}\nschedule {{\n}}\n"));
    let program = program.unwrap_or_else(|e| panic!("{e}"));
    let mut context = FunctionBuilderContext::new();
    let config = TargetFrontendConfig {
        default_call_conv: CallConv::SystemV,
        pointer_width: PointerWidth::U64,
        page_size_align_log2: 12,
    };
    let (kernel, local) = (&program.kernels[0], program.local_bytes());
    let source = KernelSource { kernel, local, outputs: &vec![false; kernel.params.len()], checks: None };
    portable::kernel(&mut ir::Function::new(), &mut context, source, &Wide(machine), config)
}

/// The instructions up to the return; what follows is constants.
fn instructions(leaf: &Leaf) -> Vec<Instruction> {
    let mut list = Vec::new();
    for instruction in Decoder::with_ip(64, &leaf.code, 0, DecoderOptions::NONE).iter() {
        list.push(instruction);
        if instruction.mnemonic() == Mnemonic::Ret {
            return list;
        }
    }
    panic!("`{}` does not return", leaf.name);
}

/// Only instructions of the target, no way out but the return, upper halves of registers clear, and the registers
/// restored that the caller wants back.
fn check(machine: Machine, leaf: &Leaf) {
    use CpuidFeature::*;
    let list = instructions(leaf);
    let end = list.last().unwrap().ip();
    for instruction in &list {
        assert!(!instruction.is_invalid());
        let known = [INTEL8086, INTEL386, X64, CMOV, SSE, AVX, AVX2, FMA];
        let more = [AVX512F, AVX512BW, AVX512DQ, AVX512VL];
        let has = |f| known.contains(f) || machine == Machine::AVX512 && more.contains(f);
        assert!(instruction.cpuid_features().iter().all(has), "{instruction:?}");
        match instruction.flow_control() {
            FlowControl::Next => {}
            FlowControl::Return => assert_eq!(instruction.ip(), end),
            FlowControl::ConditionalBranch => {
                let to = instruction.near_branch_target();
                assert!(list.iter().any(|other| other.ip() == to), "jumps into the middle of an instruction");
            }
            other => panic!("{other:?}"),
        }
        if instruction.is_ip_rel_memory_operand() {
            let at = instruction.ip_rel_memory_address() as usize;
            let bytes = instruction.memory_size().size();
            assert!(at > end as usize && at + bytes <= leaf.code.len(), "a constant is outside of the code");
        }
    }
    let mnemonics: Vec<Mnemonic> = list.iter().map(|i| i.mnemonic()).collect();
    let clear = mnemonics.iter().rposition(|&m| m == Mnemonic::Vzeroupper).expect("upper halves are cleared");
    assert!(
        mnemonics[clear + 1..].iter().all(|m| matches!(m, Mnemonic::Mov | Mnemonic::Pop | Mnemonic::Ret))
    );
    let pushed: Vec<_> =
        list.iter().filter(|i| i.mnemonic() == Mnemonic::Push).map(|i| i.op0_register()).collect();
    let popped: Vec<_> =
        list.iter().filter(|i| i.mnemonic() == Mnemonic::Pop).map(|i| i.op0_register()).collect();
    assert!(pushed.iter().eq(popped.iter().rev()));
}

fn count(list: &[Instruction], mnemonic: Mnemonic) -> usize {
    list.iter().filter(|i| i.mnemonic() == mnemonic).count()
}

const EPILOGUE: &str = "kernel @k(p0: readwrite f32[200704], p1: read f32[64]) grid [] {
  v9 = constant 0.0 : f32
  for i0 in 0..3136 {
    strip i1 in 0..64 {
      v0 = load p0[64*i0 + i1] : f32
      v1 = load p1[i1] : f32
      v2 = add v0, v1 : f32
      v3 = max v2, v9 : f32
      store p0[64*i0 + i1] = v3
    }
  }
}";

const TILES: &str =
    "kernel @k(p0: read f32[4800], p1: read f32[800], p2: readwrite f32[9600], p3: read u8[40]) grid [10] {
  for i1 in 0..2 {
    v7 = load p3[3*i0 + i1] : u8
    v8 = convert v7 : f32
    tile [6, 20] p2[240*i0 + 20*i1; 40] = p0[120*i0; 20] * p1[20*i1] over (20; 1, 40) : f32
    for i2 in 0..6 {
      a0 = accumulator max 32 : f32
      strip i3 in 0..20 {
        v0 = load p2[240*i0 + 20*i1 + 40*i2 + i3] : f32
        accumulate a0, v0
      }
      v1 = finish a0
      v2 = mul v1, v8 : f32
      strip i4 in 0..20 {
        v3 = load p2[240*i0 + 20*i1 + 40*i2 + i4] : f32
        v4 = sub v3, v2 : f32
        v5 = tanh v4 : f32
        store p2[240*i0 + 20*i1 + 40*i2 + i4] = v5
      }
    }
  }
}";

/// A tile of two vectors that are clamped, by constants from inside of the leaf's loops.
const CLAMPED: &str = "kernel @k(p0: read f32[32], p1: read f32[3072], p2: write f32[192]) grid [] {
  for i0 in 0..12 {
    v0 = constant 6.0 : f32
    v1 = constant 0.0 : f32
    tile [1, 16] p2[16*i0; 16] = p0[0; 32] * p1[256*i0] over (16; 1, 16) : f32
    for i1 in 0..1 {
      strip i2 in 0..16 {
        v2 = load p2[16*i0 + 16*i1 + i2] : f32
        v3 = max v1, v2 : f32
        v4 = min v0, v3 : f32
        store p2[16*i0 + 16*i1 + i2] = v4
      }
    }
  }
}";

/// What follows a tile is done to its registers: the sums are stored once, and never loaded.
#[test]
fn sums_stay_in_registers_until_they_are_final() {
    for (machine, vectors) in [(Machine::AVX2, 2), (Machine::AVX512, 1)] {
        let list = instructions(&leaves(machine, CLAMPED)[0]);
        assert_eq!(count(&list, Mnemonic::Vmaxps), vectors);
        let stores = list
            .iter()
            .filter(|i| i.op0_kind() == iced_x86::OpKind::Memory && i.op1_register().is_vector_register());
        assert_eq!(stores.count(), vectors);
    }
}

#[test]
fn leaves_are_for_the_machine_and_end_properly() {
    for (machine, kernel) in
        [Machine::AVX2, Machine::AVX512].into_iter().flat_map(|m| [(m, EPILOGUE), (m, TILES)])
    {
        let leaves = leaves(machine, kernel);
        assert_eq!(leaves.len(), 1);
        check(machine, &leaves[0]);
    }
}

/// Chunks of few instructions and a loop around them, with both pointers in registers.
#[test]
fn an_epilogue_has_no_more_instructions_than_it_needs() {
    for (machine, chunks) in [(Machine::AVX2, 8), (Machine::AVX512, 4)] {
        let list = instructions(&leaves(machine, EPILOGUE)[0]);
        assert_eq!(count(&list, Mnemonic::Vmaxps), chunks);
        let top = list.iter().find(|i| i.flow_control() == FlowControl::ConditionalBranch).unwrap();
        let body = list.iter().filter(|i| i.ip() >= top.near_branch_target() && i.ip() <= top.ip());
        // Two loads, two operations and a store for each chunk; one pointer moves, then the counter, the jump.
        assert_eq!(body.count(), chunks * 5 + 3);
    }
}

/// A tile's mask, a strip's mask and constants share the place behind the code.
#[test]
fn constants_occur_once() {
    let leaf = &leaves(Machine::AVX2, TILES)[0];
    let list = instructions(leaf);
    let end = (list.last().unwrap().next_ip() as usize).next_multiple_of(Leaf::ALIGNMENT);
    let vectors: Vec<&[u8]> = leaf.code[end..].chunks_exact(32).collect();
    assert!(vectors.len() > 12, "two masks, and the polynomials of tanh");
    for (i, vector) in vectors.iter().enumerate() {
        assert!(!vectors[..i].contains(vector));
    }
}

/// A vector that crosses a cache line takes two loads.
#[test]
fn constants_are_aligned() {
    for machine in [Machine::AVX2, Machine::AVX512] {
        let mut found = 0;
        for kernel in [EPILOGUE, TILES, CLAMPED] {
            let leaf = &leaves(machine, kernel)[0];
            for inst in instructions(leaf).iter().filter(|inst| inst.is_ip_rel_memory_operand()) {
                let (at, size) = (inst.ip_rel_memory_address(), inst.memory_size().size() as u64);
                assert!(at.is_multiple_of(size) && at + size <= leaf.code.len() as u64, "{inst:?}");
                found += 1;
            }
        }
        assert!(found > 20, "{found}");
    }
}

/// Jumps back have two bytes as far as these reach, else six.
#[test]
fn jumps_are_as_short_as_they_reach() {
    for bytes in [0, 1, 125, 126, 127, 128, 1000] {
        let mut a = Instructions::new(false);
        let top = a.create_label();
        a.set_label(top);
        (0..bytes).for_each(|_| a.push(rax).unwrap());
        a.jnz(top).unwrap();
        let code = a.finish();
        let jump = Decoder::with_ip(64, &code[bytes..], bytes as u64, DecoderOptions::NONE).decode();
        assert_eq!(jump.near_branch_target(), 0);
        assert_eq!(jump.len(), if bytes <= 126 { 2 } else { 6 });
    }
}
