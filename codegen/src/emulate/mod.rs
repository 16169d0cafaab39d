//! Leaf functions run by interpreting their machine code: for tests, of leaves for processors that are not at hand.
//!
//! A program is compiled as usual, but every leaf becomes a few instructions that call the interpreter with the code
//! of the leaf. That knows the instructions that leaves are made of, written from their definitions (Intel 64 and
//! IA-32 Architectures Software Developer's Manual, volume 2), and nothing of the emitter. Memory is the process's own.
//!
//! | file | what |
//! |---|---|
//! | `decode.rs` | instructions taken apart |
//! | `cpu.rs` | registers and memory |
//! | `operands.rs` | vectors as operands |
//! | `run.rs` | jumps and instructions on integers |
//! | `vector.rs` | instructions on vectors, by whoever knows them; those on masks |
//! | `arithmetic.rs` | instructions lane by lane |
//! | `memory.rs` | loads and stores |
//! | `shuffle.rs` | lanes that change their places |

mod arithmetic;
mod cpu;
mod decode;
mod memory;
mod operands;
mod run;
mod shuffle;
mod vector;

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use brolga_ir::program::{Program, Stmt};

use iced_x86::IcedError;

use crate::artefacts::jit;
use crate::error::{Error, Result};
use crate::image::{Image, Source};
use crate::leaf::Leaf;
use crate::portable::{Emitter, KernelCx};
use crate::target::{Options, Target, TargetCpu};
use crate::wide::{
    Instructions, Machine, Wide,
    registers::{rax, rdi, rsi},
};
use cpu::Cpu;
use decode::DecodedLeaf;

/// Compiles a program as [`crate::compile`] does for that processor, which need not be the one at hand; its leaf
/// functions are interpreted. Their code is never freed.
///
/// # Safety
/// As for [`crate::compile`].
pub unsafe fn compile_emulated(program: &Program, options: &Options) -> Result<jit::Compiled> {
    let emitter = Box::new(Emulated(Wide(machine(options)?)));
    let least = Target::new(&Options::from(TargetCpu::X86_64V3))?;
    // SAFETY: promised by the caller; what the leaves do is what their code does.
    jit::only(unsafe { jit::compile_for(&[Source::of(program)], &Target { emitter, ..least })? })
}

/// The machine code of a program's leaf functions, each followed by its constants.
pub fn leaves(program: &Program, options: &Options) -> Result<Vec<Vec<u8>>> {
    let emitter = Box::new(Wide(machine(options)?));
    let least = Target::new(&Options::from(TargetCpu::X86_64V3))?;
    let image = Image::new(&[Source::of(program)], &program.name, &Target { emitter, ..least }, true)?;
    // Everything else has been Cranelift IR.
    Ok(image.functions.into_iter().filter(|function| function.text.is_none()).map(|leaf| leaf.code).collect())
}

fn machine(options: &Options) -> Result<Machine> {
    match options.target_cpu {
        TargetCpu::X86_64V4 => Ok(Machine::AVX512),
        TargetCpu::X86_64V3 => Ok(Machine::AVX2),
        other => Err(Error::new(format!("{other} is not emulated; use x86-64-v3 or x86-64-v4"))),
    }
}

/// Makes leaves that call the interpreter.
struct Emulated(Wide);

impl Emitter for Emulated {
    fn leading(&self, cx: &mut KernelCx<'_>, body: &[Stmt]) -> usize {
        let Some(mut nest) = self.0.nest(cx, body) else { return 0 };
        nest.leaf.code = call(&nest.leaf);
        let len = nest.len;
        nest.call(cx);
        len
    }
}

/// All code that is interpreted, by its bytes.
static CODE: LazyLock<Mutex<HashMap<Vec<u8>, &'static DecodedLeaf>>> = LazyLock::new(Mutex::default);

/// Instructions that call [`run`].
fn call(leaf: &Leaf) -> Vec<u8> {
    let code: &'static DecodedLeaf = CODE
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .entry(leaf.code.clone())
        .or_insert_with_key(|bytes| Box::leak(Box::new(DecodedLeaf::new(bytes))));
    let assemble = || {
        let mut a = Instructions::new(false);
        a.mov(rsi, rdi)?;
        a.mov(rdi, std::ptr::from_ref(code).expose_provenance() as i64)?;
        let run: extern "sysv64" fn(&DecodedLeaf, u64) = run;
        a.mov(rax, run as usize as i64)?;
        a.jmp(rax)?;
        Ok::<_, IcedError>(a.finish())
    };
    assemble().expect("instructions with registers and immediates have encodings")
}

/// Interprets a leaf.
extern "sysv64" fn run(code: &DecodedLeaf, words: u64) {
    Cpu::new(words).run(code);
}
