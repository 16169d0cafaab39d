//! What people read of the code: Cranelift IR and disassembly of every function.

use std::fmt::Write;

use brolga_ir::program::Program;
use iced_x86::{Decoder, DecoderOptions, Formatter, IntelFormatter};
use target_lexicon::Architecture;

use crate::error::Error;
use crate::image::{Function, Image, Source, verified};
use crate::target::{Options, Target};

/// One function of a compiled program.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listing {
    /// Its symbol.
    pub name: String,
    /// Its Cranelift IR; functions of the wide emitter have none.
    pub clif: Option<String>,
    /// Its instructions, one a line; those of other processors than x86-64 as Cranelift writes them.
    pub assembly: String,
    /// Bytes of its code and constants.
    pub bytes: usize,
}

/// Compiles a program and gives all its functions as text: leaf functions, kernels in the order of the program,
/// the walker of the call table, entry and prepare function.
pub fn listing(program: &Program, options: &Options) -> Result<Vec<Listing>, Error> {
    verified(program)?;
    let target = Target::new(options)?;
    let image = Image::new(&[Source::of(program)], &program.name, &target, true)?;
    let x86 = target.isa.triple().architecture == Architecture::X86_64;
    let list = image.functions.into_iter().map(|Function { name, code, text, .. }| {
        let (clif, assembly) = text.map(|text| (text.clif, text.assembly)).unzip();
        // Leaves are code for x86-64.
        let assembly = assembly.filter(|_| !x86).unwrap_or_else(|| disassemble(&code));
        Listing { name, clif, assembly, bytes: code.len() }
    });
    Ok(list.collect())
}

/// The instructions of x86-64 code, up to the return that ends it; the constants behind it are left out.
pub(crate) fn disassemble(code: &[u8]) -> String {
    let mut text = String::new();
    let mut line = String::new();
    let mut formatter = IntelFormatter::new();
    for instruction in Decoder::with_ip(64, code, 0, DecoderOptions::NONE).iter() {
        if instruction.is_invalid() {
            break;
        }
        line.clear();
        formatter.format(&instruction, &mut line);
        let _ = writeln!(text, "{:6x}  {line}", instruction.ip());
        if instruction.mnemonic() == iced_x86::Mnemonic::Ret {
            break;
        }
    }
    text
}
