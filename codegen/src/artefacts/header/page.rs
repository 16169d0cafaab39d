//! What a header describes, and the text in the making.

use std::fmt::{Arguments, Write};

use brolga_runtime::{DType, Manifest};

use crate::artefacts::state_block::StateBlock;

/// What a header describes.
pub(crate) struct About<'a> {
    /// The name of the model's type, and the beginning of all other names.
    pub symbol: &'a str,
    pub entries: Vec<AboutEntry<'a>>,
    pub block: &'a StateBlock,
    /// Bytes of constants in the object.
    pub constants_bytes: usize,
    /// Bytes of the state that the object has, if any.
    pub weights_bytes: Option<usize>,
    /// What processors must have for which there is other code, each a list.
    pub others: Vec<&'a [String]>,
    /// Whether it is a library, whose functions return the addresses of its data.
    pub functions_of_data: bool,
}

/// An entry that a header describes.
pub(crate) struct AboutEntry<'a> {
    /// Its name in C, behind the symbol and `_`.
    pub name: String,
    pub manifest: &'a Manifest,
    /// Whether it has a function that prepares values.
    pub prepares: bool,
    /// The entries, as bits, whose prepared values are made of state that this one updates.
    pub outdates: u64,
}

impl About<'_> {
    /// What macros begin with.
    pub fn upper(&self) -> String {
        self.symbol.to_ascii_uppercase()
    }

    /// Whether there is any state.
    pub fn has_state(&self) -> bool {
        !self.block.tensors.is_empty()
    }

    /// Whether an entry updates the state.
    pub fn updates(&self) -> bool {
        self.entries.iter().any(|entry| entry.manifest.updates_state())
    }

    /// Whether the state in the object can be used where it lies.
    pub fn in_place(&self) -> bool {
        self.weights_bytes.is_some() && !self.updates()
    }

    /// Whether a caller must have memory for the state.
    pub fn needs_state(&self) -> bool {
        self.has_state() && !self.in_place()
    }
}

/// A text in the making.
#[derive(Default)]
pub(super) struct Page {
    pub text: String,
}

impl Page {
    pub fn line(&mut self, line: Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "{line}");
    }

    /// A template with its values: `$n` is the model's name, `$N` the same in capital letters, and others are given, which may
    /// have these two in them.
    pub fn fill(&mut self, template: &str, about: &About<'_>, values: &[(&str, &str)]) {
        let given = values.iter().fold(template.to_owned(), |text, (name, value)| text.replace(name, value));
        self.text.push_str(&given.replace("$N", &about.upper()).replace("$n", about.symbol));
    }

    pub fn define(&mut self, upper: &str, name: &str, value: usize) {
        self.line(format_args!("#define {upper}_{name} {value}"));
    }
}

/// The type of an element in C. A bool is a byte, 0 or 1.
pub(super) fn c_type(dtype: DType) -> &'static str {
    match dtype {
        DType::Bool | DType::U8 => "uint8_t",
        DType::I32 => "int32_t",
        DType::I64 => "int64_t",
        DType::F32 => "float",
        DType::F64 => "double",
    }
}

/// The name that the header has for a type of elements.
pub(super) fn type_macro(dtype: DType) -> String {
    format!("BROLGA_{}", dtype.name().to_ascii_uppercase())
}
