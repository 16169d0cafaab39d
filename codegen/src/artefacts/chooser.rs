//! Functions that choose among the codes of an object, when a program starts.
//!
//! `NAME_processor()` gives the number of the code that needs most of what the processor has. Asking a processor takes a tenth
//! of a microsecond, and in a virtual machine several, so the header asks once, when a model is put into its memory, and
//! hands the number over in the block of each call. The function of an entry only jumps to that code. Nothing is kept in the
//! object: it has no memory that is written to.

use cranelift_codegen::isa::{CallConv, TargetIsa};
use iced_x86::{Code as Op, Encoder, IcedError, Instruction, MemoryOperand, Register};
use target_lexicon::Architecture;

use crate::error::{Error, Result};

/// Whether functions that choose can be made.
pub(crate) fn chooses(isa: &dyn TargetIsa) -> bool {
    isa.triple().architecture == Architecture::X86_64 && isa.default_call_conv() == CallConv::SystemV
}

/// The name of the function that [`choose`] makes.
pub(crate) fn chooser(symbol: &str) -> String {
    format!("{symbol}_processor")
}

/// Where the number of the code is in the block of a call.
const BLOCK_PROCESSOR: i64 = 24;

/// `code(block)`: jumps to one of several functions by the number in the block; a number that is none means the first one.
/// All places count from one beginning; `at` is where the code will lie.
pub(crate) fn jump(functions: &[usize], at: usize) -> Result<Vec<u8>> {
    let jump = || {
        let mut a = Assembler::new(at);
        let number = MemoryOperand::with_base_displ(Register::RDI, BLOCK_PROCESSOR);
        a.add(Instruction::with2(Op::Mov_r64_rm64, Register::RAX, number)?)?;
        for (number, &function) in functions.iter().enumerate().skip(1) {
            a.add(Instruction::with2(Op::Cmp_rm64_imm8, Register::RAX, number as i32)?)?;
            a.add(Instruction::with_branch(Op::Je_rel32_64, function as u64)?)?;
        }
        a.add(Instruction::with_branch(Op::Jmp_rel32_64, functions[0] as u64)?)?;
        Ok::<_, IcedError>(a.finish())
    };
    jump().map_err(refused)
}

/// `processor()`: the number of the last code whose features the processor has, all of them; 0 where it has those of none.
/// Whatever runs the first code has what this uses.
pub(crate) fn choose(features: &[&[String]]) -> Result<Vec<u8>> {
    let masks: Vec<[u32; WORDS.len()]> =
        features.iter().map(|features| masks(features)).collect::<Result<_>>()?;
    let choose = || {
        use Register::{EAX, EBX, ECX, EDI, EDX, ESI, RBX};
        let mut a = Assembler::new(0);
        a.add(Instruction::with1(Op::Push_r64, RBX)?)?;
        for (leaf, given, word) in [(1u32, ECX, 0), (7, EBX, 1), (0x8000_0001, ECX, 2)] {
            a.add(Instruction::with2(Op::Mov_r32_imm32, EAX, leaf)?)?;
            a.add(Instruction::with2(Op::Xor_rm32_r32, ECX, ECX)?)?;
            a.add(Instruction::with(Op::Cpuid))?;
            a.add(Instruction::with2(Op::Mov_rm32_r32, WORDS[word], given)?)?;
        }
        a.add(Instruction::with2(Op::Xor_rm32_r32, ECX, ECX)?)?;
        a.add(Instruction::with(Op::Xgetbv))?;
        a.add(Instruction::with2(Op::Mov_rm32_r32, WORDS[SAVED], EAX)?)?;
        a.add(Instruction::with2(Op::Xor_rm32_r32, ESI, ESI)?)?;
        for (number, masks) in masks.iter().enumerate().skip(1) {
            // What is missing.
            a.add(Instruction::with2(Op::Xor_rm32_r32, EDI, EDI)?)?;
            for (word, mask) in WORDS.into_iter().zip(masks).filter(|(_, mask)| **mask != 0) {
                a.add(Instruction::with2(Op::Mov_rm32_r32, EAX, word)?)?;
                a.add(Instruction::with1(Op::Not_rm32, EAX)?)?;
                a.add(Instruction::with2(Op::And_rm32_imm32, EAX, *mask)?)?;
                a.add(Instruction::with2(Op::Or_rm32_r32, EDI, EAX)?)?;
            }
            a.add(Instruction::with2(Op::Mov_r32_imm32, EDX, number as u32)?)?;
            a.add(Instruction::with2(Op::Test_rm32_r32, EDI, EDI)?)?;
            a.add(Instruction::with2(Op::Cmove_r32_rm32, ESI, EDX)?)?;
        }
        a.add(Instruction::with2(Op::Mov_rm32_r32, EAX, ESI)?)?;
        a.add(Instruction::with1(Op::Pop_r64, RBX)?)?;
        a.add(Instruction::with(Op::Retnq))?;
        Ok::<_, IcedError>(a.finish())
    };
    choose().map_err(refused)
}

/// Registers for what the processor says: `ecx` of `cpuid` 1, `ebx` of 7, `ecx` of 8000_0001h; and for the registers that the
/// system saves.
const WORDS: [Register; 4] = [Register::R8D, Register::R9D, Register::R10D, Register::R11D];
/// The last of these.
const SAVED: usize = 3;

/// A feature's word and bit (Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2, `CPUID`; AMD64 Architecture
/// Programmer's Manual, volume 3, for the last one).
const FEATURES: [(&str, usize, u32); 15] = [
    ("sse3", 0, 0),
    ("ssse3", 0, 9),
    ("fma", 0, 12),
    ("sse4.1", 0, 19),
    ("sse4.2", 0, 20),
    ("popcnt", 0, 23),
    ("avx", 0, 28),
    ("bmi1", 1, 3),
    ("avx2", 1, 5),
    ("bmi2", 1, 8),
    ("avx512f", 1, 16),
    ("avx512dq", 1, 17),
    ("avx512bw", 1, 30),
    ("avx512vl", 1, 31),
    ("lzcnt", 2, 5),
];

/// The bits that must be there in each word.
fn masks(features: &[String]) -> Result<[u32; WORDS.len()]> {
    let mut masks = [0; WORDS.len()];
    for feature in features {
        let (_, word, bit) = (FEATURES.iter().find(|(name, ..)| name == feature))
            .ok_or_else(|| Error::new(format!("an object cannot ask a processor for {feature}")))?;
        masks[*word] |= 1 << bit;
        // The system saves vectors of 128 and 256 bits; masks and vectors of 512 bits.
        masks[SAVED] |= match feature.as_str() {
            "avx" => 0b110,
            name if name.starts_with("avx512") => 0b1110_0000,
            _ => 0,
        };
    }
    Ok(masks)
}

fn refused(error: IcedError) -> Error {
    Error::new(format!("an instruction has no encoding: {error}"))
}

/// Instructions one after the other.
struct Assembler {
    encoder: Encoder,
    at: u64,
}

impl Assembler {
    fn new(at: usize) -> Assembler {
        Assembler { encoder: Encoder::new(64), at: at as u64 }
    }

    fn add(&mut self, instruction: Instruction) -> std::result::Result<(), IcedError> {
        self.at += self.encoder.encode(&instruction, self.at)? as u64;
        Ok(())
    }

    fn finish(mut self) -> Vec<u8> {
        self.encoder.take_buffer()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::{Options, Target, TargetCpu, TargetTriple};

    /// Every feature that a target needs can be asked for.
    #[test]
    fn features_of_all_targets_are_known() {
        for cpu in [TargetCpu::X86_64V3, TargetCpu::X86_64V4] {
            let options = Options { target_cpu: cpu, triple: TargetTriple::X86_64Linux };
            let Ok(target) = Target::new(&options) else { continue };
            let masks = masks(&target.features).unwrap();
            let saved = if cpu == TargetCpu::X86_64V4 { 5 } else { 2 };
            let bits: u32 = masks.iter().map(|mask| mask.count_ones()).sum();
            assert_eq!(bits as usize, target.features.len() + saved, "{cpu}");
        }
    }

    /// What a function without arguments gives.
    #[cfg(all(target_arch = "x86_64", unix))]
    fn call(code: &[u8]) -> u64 {
        let mut pages = memmap2::MmapMut::map_anon(code.len()).unwrap();
        pages.copy_from_slice(code);
        let pages = pages.make_exec().unwrap();
        // SAFETY: such a function is there, and changes no register that is kept.
        let function: extern "C" fn() -> u64 = unsafe { std::mem::transmute(pages.as_ptr()) };
        function()
    }

    /// The function finds what the standard library finds, for each feature, and takes the last code of which all are there.
    #[test]
    #[cfg(all(target_arch = "x86_64", unix))]
    fn the_last_code_that_can_run_is_chosen() {
        let has = |features: &[String]| features.iter().all(|feature| brolga_runtime::cpu_has(feature));
        let all: Vec<Vec<String>> = FEATURES.iter().map(|(name, ..)| vec![(*name).to_owned()]).collect();
        for feature in &all {
            let codes: [&[String]; 2] = [&[], feature];
            let found = call(&choose(&codes).unwrap());
            assert_eq!(found, u64::from(has(feature)), "{feature:?}");
        }
        for codes in all.windows(3) {
            let both: Vec<String> = codes[..2].concat();
            let codes: [&[String]; 4] = [&[], &codes[0], &both, &codes[2]];
            let expected = codes.iter().rposition(|features| has(features)).unwrap();
            assert_eq!(call(&choose(&codes).unwrap()), expected as u64, "{codes:?}");
        }
    }

    /// Numbers that are none run the first function.
    #[test]
    #[cfg(all(target_arch = "x86_64", unix))]
    fn a_call_jumps_to_the_code_of_its_number() {
        let function = |number: u32| {
            let mut a = Assembler::new(0);
            a.add(Instruction::with2(Op::Mov_r32_imm32, Register::EAX, number).unwrap()).unwrap();
            a.add(Instruction::with(Op::Retnq)).unwrap();
            a.finish()
        };
        let mut code: Vec<u8> = (0..3).flat_map(|number| function(10 + number)).collect();
        let (one, at) = (code.len() / 3, code.len());
        code.extend(jump(&[0, one, 2 * one], at).unwrap());
        let mut pages = memmap2::MmapMut::map_anon(code.len()).unwrap();
        pages.copy_from_slice(&code);
        let pages = pages.make_exec().unwrap();
        // SAFETY: such a function is there, which reads the fourth word of its argument.
        let jump: extern "sysv64" fn(&[u64; 4]) -> u64 = unsafe { std::mem::transmute(&raw const pages[at]) };
        for (number, expected) in [(0, 10), (1, 11), (2, 12), (3, 10), (u64::MAX, 10), (1 << 32 | 1, 10)] {
            assert_eq!(jump(&[7, 7, 7, number]), expected);
        }
    }
}
