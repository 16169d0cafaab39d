//! The C header of an object: what a model needs, its state, and a function for each entry.
//!
//! Its first part is the same in all headers: `block.h` is how compiled code is called, `memory.h` what a model's memory is
//! divided into, `file.h` reads and writes files of weights. Behind it stands what is the model's own: sizes, the table of its
//! state (`state.rs`), functions of the model (`model.rs`) and of its entries (`entry.rs`), and the positions of tensors for
//! those who call compiled code by themselves (`raw.rs`).

mod c_names;
mod entry;
mod model;
mod names;
mod raw;
mod state;

use std::fmt::{Arguments, Write};

use brolga_runtime::{ALIGNMENT, DType, Manifest, byte_len};

pub(crate) use names::address_function;
pub use names::check_symbol;

use crate::error::{Error, Result};
use crate::state_block::StateBlock;
use names::{Names, comment};

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
    /// Whether it is a shared library, whose functions return the addresses of its data.
    pub shared: bool,
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

/// A header.
pub(crate) struct Header {
    pub text: String,
    /// The prototypes of the entries' functions.
    pub functions: Vec<String>,
}

/// The most entries that an object has: a model knows by one bit each whether its prepared values are those of its state.
const MOST_ENTRIES: usize = 64;

/// The names of entries in C.
///
/// # Errors
/// None, or more than [`MOST_ENTRIES`]; names that C does not allow or tell apart.
pub(crate) fn entry_names(symbol: &str, entries: &[&str]) -> Result<Vec<String>> {
    if entries.is_empty() || entries.len() > MOST_ENTRIES {
        return Err(Error::new(format!(
            "`{symbol}` has {} entries: give 1 to {MOST_ENTRIES}",
            entries.len()
        )));
    }
    names::entry_names(symbol, entries)
}

/// Writes a header.
///
/// # Errors
/// More memory than there are addresses.
pub(crate) fn header(about: &About<'_>) -> Result<Header> {
    let sizes = Sizes::of(about)?;
    let macros = Macros::of(about);
    let prepared = sizes.prepared.iter().enumerate();
    let functions: Vec<entry::Function<'_>> = (about.entries.iter().zip(prepared))
        .map(|(entry, (number, &prepared))| entry::Function::new(about, entry, number, prepared))
        .collect();
    let mut page = Page::default();
    introduction(&mut page, about, &functions[0]);
    page.text.push_str(SHARED);
    sizes.write(&mut page, about);
    state::write(&mut page, about, &macros);
    raw::functions(&mut page, about, &macros);
    model::setup(&mut page, about);
    functions.iter().for_each(|function| function.begin(&mut page));
    model::functions(&mut page, about, &macros);
    functions.iter().for_each(|function| function.write(&mut page, &macros));
    raw::positions(&mut page, about, &macros);
    page.line(format_args!("\n#ifdef __cplusplus\n}}\n#endif\n\n#endif"));
    let functions = functions.iter().map(entry::Function::prototype).collect();
    Ok(Header { text: page.text, functions })
}

/// A text in the making.
#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    fn line(&mut self, line: Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "{line}");
    }

    /// A template with its values: `$n` is the model's name, `$N` the same in capital letters, and others are given, which may
    /// have these two in them.
    fn fill(&mut self, template: &str, about: &About<'_>, values: &[(&str, &str)]) {
        let given = values.iter().fold(template.to_owned(), |text, (name, value)| text.replace(name, value));
        self.text.push_str(&given.replace("$N", &about.upper()).replace("$n", about.symbol));
    }

    fn define(&mut self, upper: &str, name: &str, value: usize) {
        self.line(format_args!("#define {upper}_{name} {value}"));
    }
}

/// What all headers begin with, behind the files that they include. One of several headers in a program gives it.
const SHARED: &str = concat!(
    "#ifndef BROLGA_HEADER\n#define BROLGA_HEADER 1\n\n",
    include_str!("block.h"),
    "\n",
    include_str!("memory.h"),
    "\n",
    include_str!("file.h"),
    "\n#elif BROLGA_HEADER != 1\n#error \"headers of different versions of Brolga: compile the models with one version\"\n",
    "#endif\n\n",
);

/// How the model is used, by the example of an entry, and the beginning of the code.
fn introduction(page: &mut Page, about: &About<'_>, example: &entry::Function<'_>) {
    let (symbol, upper) = (about.symbol, about.upper());
    let entries: Vec<String> = about.entries.iter().map(|entry| comment(&entry.manifest.entry)).collect();
    let manifest = about.entries[0].manifest;
    let mut line = |line: Arguments<'_>| page.line(line);
    line(format_args!("/* Compiled by Brolga: {}.", entries.join(", ")));
    line(format_args!(
        "   For C99 or later, and C++. Link the {} that comes with it; it needs nothing else.\n",
        if about.shared { "library" } else { "object" }
    ));
    let own = if about.needs_state() { format!("state[{upper}_STATE_BYTES], ") } else { String::new() };
    line(format_args!("     static unsigned char {own}scratch[{upper}_SCRATCH_BYTES];"));
    line(format_args!("     {symbol} model;"));
    let own = if about.needs_state() { "state" } else { "NULL" };
    line(format_args!("     {symbol}_setup(&model, {own}, scratch);"));
    match (about.needs_state(), about.weights_bytes) {
        (false, _) => {}
        (true, None) => {
            line(format_args!("     if ({symbol}_load_state(&model, file, bytes) != 0) return 1;"));
        }
        (true, Some(_)) => line(format_args!("     {symbol}_reset(&model);")),
    }
    line(format_args!("     if ({} != 0) return 1;\n", example.call()));
    line(format_args!(
        "   A model is used by one thread at a time, and its memory is its own as long as it is used."
    ));
    let mut features = match &manifest.cpu_features[..] {
        [] => String::new(),
        names => format!("\n   Processors must have {}.", names.join(", ")),
    };
    for other in &about.others {
        let more = other.iter().filter(|name| !manifest.cpu_features.contains(name)).cloned();
        let more = more.collect::<Vec<String>>().join(", ");
        features
            .push_str(&format!("\n   Those that have {more} too run code that needs it, to the same bits."));
    }
    line(format_args!("   Nothing here allocates, and nothing is kept elsewhere.{features} */"));
    line(format_args!("#ifndef {upper}_H\n#define {upper}_H\n"));
    line(format_args!("#include <stddef.h>\n#include <stdint.h>\n#include <string.h>\n"));
    line(format_args!("#ifdef __cplusplus\nextern \"C\" {{\n#endif\n"));
}

impl About<'_> {
    /// What macros begin with.
    fn upper(&self) -> String {
        self.symbol.to_ascii_uppercase()
    }

    /// Whether there is any state.
    fn has_state(&self) -> bool {
        !self.block.tensors.is_empty()
    }

    /// Whether an entry updates the state.
    fn updates(&self) -> bool {
        self.entries.iter().any(|entry| entry.manifest.updates_state())
    }

    /// Whether the state in the object can be used where it lies.
    fn in_place(&self) -> bool {
        self.weights_bytes.is_some() && !self.updates()
    }

    /// Whether a caller must have memory for the state.
    fn needs_state(&self) -> bool {
        self.has_state() && !self.in_place()
    }
}

/// Bytes of the memory that a model is given, all multiples of the alignment.
struct Sizes {
    /// Where the prepared values of each entry begin among those of all, and the bytes of all.
    prepared: Vec<usize>,
    /// Of the outputs of an entry.
    outputs: usize,
    arena: usize,
    /// Of each worker.
    local: usize,
    /// All of it for one worker, at any place.
    scratch: usize,
}

impl Sizes {
    fn of(about: &About<'_>) -> Result<Sizes> {
        let too_many = || Error::new(format!("`{}` needs more bytes than there are addresses", about.symbol));
        let aligned = |bytes: usize| bytes.checked_next_multiple_of(ALIGNMENT).ok_or_else(too_many);
        let sum = |a: usize, b: usize| a.checked_add(b).ok_or_else(too_many);
        let (mut prepared, mut outputs, mut arena, mut local) = (vec![0], 0, 0, 0);
        for AboutEntry { manifest, .. } in &about.entries {
            let mut own = 0;
            for output in &manifest.outputs {
                own = sum(own, aligned(byte_len(output.dtype, &output.dims)?)?)?;
            }
            outputs = outputs.max(own);
            arena = arena.max(aligned(manifest.arena_bytes)?);
            local = local.max(manifest.local_bytes);
            prepared.push(sum(prepared[prepared.len() - 1], aligned(manifest.prepared_bytes)?)?);
        }
        let parts = [prepared[prepared.len() - 1], outputs, arena, local];
        let scratch = parts.into_iter().try_fold(ALIGNMENT, sum)?;
        Ok(Sizes { prepared, outputs, arena, local, scratch })
    }

    fn write(&self, page: &mut Page, about: &About<'_>) {
        let upper = &about.upper();
        page.define(upper, "NUMERICS", about.entries[0].manifest.numerics as usize);
        page.line(format_args!("\n/* Bytes of memory that the caller gives. It may begin anywhere. */"));
        if about.has_state() {
            // The room is for the alignment.
            page.define(upper, "STATE_BYTES", about.block.bytes + ALIGNMENT);
            page.define(upper, "FILE_BYTES", about.block.file_bytes);
            page.line(format_args!("#define {upper}_STATE_KEY UINT64_C({:#x})", about.block.key()));
        }
        page.define(upper, "SCRATCH_BYTES", self.scratch);
        page.line(format_args!(
            "/* Scratch where several threads compute, and of a model that shares the prepared values of another. */"
        ));
        page.line(format_args!(
            "#define {upper}_SCRATCH_BYTES_FOR(threads) \\\n    ({upper}_SCRATCH_BYTES + ((size_t)(threads)-1) * \
             {upper}_LOCAL_BYTES)"
        ));
        page.line(format_args!(
            "#define {upper}_SHARED_BYTES ({upper}_SCRATCH_BYTES - {upper}_PREPARED_BYTES)\n\
             #define {upper}_SHARED_BYTES_FOR(threads) \\\n    ({upper}_SCRATCH_BYTES_FOR(threads) - \
             {upper}_PREPARED_BYTES)"
        ));
        page.line(format_args!(
            "/* What scratch memory is divided into. Local memory is for each thread. */"
        ));
        page.define(upper, "PREPARED_BYTES", self.prepared[about.entries.len()]);
        page.define(upper, "OUTPUTS_BYTES", self.outputs);
        page.define(upper, "ARENA_BYTES", self.arena);
        page.define(upper, "LOCAL_BYTES", self.local);
    }
}

/// The macros that are named after entries and tensors.
struct Macros {
    /// What those of each entry begin with.
    entries: Vec<String>,
    /// The number of each tensor of the state.
    state: Vec<String>,
    /// For each entry the positions of its state, inputs and outputs, in the order of the bases.
    bases: Vec<Vec<String>>,
}

/// Macros that every header has.
const OF_MODELS: [&str; 17] = [
    "H",
    "NUMERICS",
    "STATE_BYTES",
    "STATE_KEY",
    "FILE_BYTES",
    "FILE_HEADER_BYTES",
    "SCRATCH_BYTES",
    "SCRATCH_BYTES_FOR",
    "SHARED_BYTES",
    "SHARED_BYTES_FOR",
    "PREPARED_BYTES",
    "OUTPUTS_BYTES",
    "ARENA_BYTES",
    "LOCAL_BYTES",
    "TENSORS",
    "CONSTANTS_BYTES",
    "WEIGHTS_BYTES",
];

impl Macros {
    fn of(about: &About<'_>) -> Macros {
        let upper = about.upper();
        let plain = |name: &str| crate::image::symbol_name(name).to_ascii_uppercase();
        let mut names = Names::with(OF_MODELS.map(|name| format!("{upper}_{name}")));
        let wanted: Vec<String> =
            about.entries.iter().map(|entry| format!("{upper}_{}", plain(&entry.name))).collect();
        let entries = names.tell_apart(&wanted, 0, &["_BASES", "_ARENA_BYTES", "_PREPARED_BYTES"]);
        let wanted: Vec<String> =
            about.block.tensors.iter().map(|t| format!("{upper}_STATE_{}", plain(&t.name))).collect();
        let state = names.tell_apart(&wanted, 0, &[""]);
        let mut bases = Vec::with_capacity(entries.len());
        for (entry, begin) in about.entries.iter().zip(&entries) {
            let manifest = entry.manifest;
            let state = manifest.state.iter().map(|t| ("STATE", &t.name));
            let inputs = manifest.inputs.iter().map(|t| ("INPUT", &t.name));
            let outputs = manifest.outputs.iter().map(|t| ("OUTPUT", &t.name));
            let all = state.chain(inputs).chain(outputs);
            let wanted: Vec<String> =
                all.map(|(kind, name)| format!("{begin}_{kind}_{}", plain(name))).collect();
            bases.push(names.tell_apart(&wanted, brolga_runtime::BASE_STATE, &["", "_BYTES", "_ELEMENTS"]));
        }
        Macros { entries, state, bases }
    }
}

/// The type of an element in C. A bool is a byte, 0 or 1.
fn c_type(dtype: DType) -> &'static str {
    match dtype {
        DType::Bool | DType::U8 => "uint8_t",
        DType::I32 => "int32_t",
        DType::I64 => "int64_t",
        DType::F32 => "float",
        DType::F64 => "double",
    }
}

/// The name that the header has for a type of elements.
fn type_macro(dtype: DType) -> String {
    format!("BROLGA_{}", dtype.name().to_ascii_uppercase())
}
