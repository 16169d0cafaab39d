//! What an image is made of, and what it is made from.

use brolga_ir::program::Program;
use brolga_ir::program::verify::verify;
use cranelift_codegen::binemit::{Addend, CodeOffset, Reloc};

use super::placement::Placement;
use crate::error::{Error, Result};

/// Names of the image's own symbols inside code: functions of the image, and its tables.
pub(crate) const FUNCTION_NAMESPACE: u32 = 2;
pub(crate) const TABLE_NAMESPACE: u32 = 3;

/// What a relocation refers to, by position in the image.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Symbol {
    Function(usize),
    Table(usize),
}

/// A place in a function's code that refers to another function or a table.
pub(crate) struct Relocation {
    pub offset: CodeOffset,
    pub kind: Reloc,
    pub addend: Addend,
    pub symbol: Symbol,
}

/// A function in machine code.
pub(crate) struct Function {
    pub name: String,
    pub code: Vec<u8>,
    pub alignment: usize,
    pub relocations: Vec<Relocation>,
    /// Whether others call it.
    pub exported: bool,
    /// What people read, if it was asked for and there is any: leaves have none.
    pub text: Option<Readable>,
}

/// What people read of a function that Cranelift has compiled.
pub(crate) struct Readable {
    /// Its intermediate representation.
    pub clif: String,
    /// Its instructions.
    pub assembly: String,
}

/// A read-only table of words, some of which say how far behind themselves a function begins.
pub(crate) struct Table {
    pub name: String,
    pub words: Vec<u64>,
    /// Position of the word, and of the function.
    pub distances: Vec<(usize, usize)>,
}

/// One entry of an image.
pub(crate) struct Entry {
    /// Position of the entry function.
    pub function: usize,
    /// Position of the prepare function.
    pub prepare: Option<usize>,
    pub placement: Placement,
}

/// What an entry is made from.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    pub program: &'a Program,
    /// The beginning of the names of its entry function, of its prepare function and of their tables.
    pub symbol: &'a str,
    /// What the name of its entry function ends in.
    pub call: &'static str,
    /// Of code that checks its accesses: for each kernel, whether none needs to be.
    pub proven: Option<&'a [bool]>,
}

impl<'a> Source<'a> {
    /// A program under its own name.
    pub fn of(program: &'a Program) -> Source<'a> {
        Source { program, symbol: &program.name, call: "", proven: None }
    }
}

/// An error if the program breaks a rule, whose code cannot be made.
pub(crate) fn verified(program: &Program) -> Result<()> {
    verify(program).map_err(|e| Error::new(format!("`{}` is no valid program: {e}", program.name)))
}

/// A name that linkers and C accept.
pub(crate) fn symbol_name(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

/// Everything that a back end needs.
pub(crate) struct Image {
    pub functions: Vec<Function>,
    pub tables: Vec<Table>,
    /// One for each program, in their order.
    pub entries: Vec<Entry>,
    /// The constants of all entries.
    pub constants: Vec<u8>,
}
