//! The object back end: an image as an object file for a linker, and a C header that says how to call it.

use std::collections::{HashMap, HashSet};
use std::fmt::Write;

use brolga_ir::program::Program;
use brolga_runtime::{BASE_STATE, Manifest};
use object::write::{self, StandardSection, Symbol, SymbolSection};
use object::{Architecture, BinaryFormat, Endianness, SectionKind, SymbolFlags, SymbolKind, SymbolScope};
use target_lexicon::Triple;

use crate::c_names::is_of_c;
use crate::error::Error;
use crate::image::{Entry, Image, Source, symbol_name, verified};
use crate::target::{Options, Target};

/// A compiled program as files.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Object {
    /// The object file, in the format of the target system (ELF, Mach-O, COFF). It has no undefined symbols.
    pub bytes: Vec<u8>,
    /// The C header.
    pub header: String,
    /// What the executable needs and gives, as for the JIT.
    pub manifest: Manifest,
}

/// Compiles a program into an object file. `symbol` is the C name of its entry function, and the beginning of
/// all other names: `symbol_prepare` (where the program prepares values), `symbol_constants`, and the macros. What the
/// program may do is that of [`compile`](crate::compile): nothing in the object checks an access.
pub fn emit_object(program: &Program, options: &Options, symbol: &str) -> Result<Object, Error> {
    check_symbol(symbol)?;
    verified(program)?;
    let target = Target::new(options)?;
    let image = Image::new(&[Source { symbol, ..Source::of(program) }], symbol, &target, false)?;
    let bytes = file(&image, symbol, target.isa.triple())?
        .write()
        .map_err(|e| Error::new(format!("the object file of `{symbol}` cannot be written: {e}")))?;
    let Some(entry) = image.entries.into_iter().next() else {
        return Err(Error::new(format!("`{symbol}` has no entry")));
    };
    let header = header(&entry, symbol);
    Ok(Object { bytes, header, manifest: entry.layout.manifest })
}

/// The object file: code and tables in one piece, constants, and where they begin. Nothing in it needs to be relocated.
fn file(image: &Image, symbol: &str, triple: &Triple) -> Result<write::Object<'static>, Error> {
    let unknown = || Error::new(format!("there is no object file for {triple}"));
    let format = match triple.binary_format {
        target_lexicon::BinaryFormat::Elf => BinaryFormat::Elf,
        target_lexicon::BinaryFormat::Macho => BinaryFormat::MachO,
        target_lexicon::BinaryFormat::Coff => BinaryFormat::Coff,
        _ => return Err(unknown()),
    };
    let architecture = match triple.architecture {
        target_lexicon::Architecture::X86_64 => Architecture::X86_64,
        target_lexicon::Architecture::Aarch64(_) => Architecture::Aarch64,
        _ => return Err(unknown()),
    };
    let mut file = write::Object::new(format, architecture, Endianness::Little);
    if format == BinaryFormat::MachO {
        let mut build = write::MachOBuildVersion::default();
        build.platform = object::macho::PLATFORM_MACOS;
        file.set_macho_build_version(build);
    }
    file.add_file_symbol(symbol.into());
    let name = |file: &mut write::Object<'_>, section, name: &str, kind, exported, at: usize, size: usize| {
        file.add_symbol(Symbol {
            name: name.into(),
            value: at as u64,
            size: size as u64,
            kind,
            scope: if exported { SymbolScope::Dynamic } else { SymbolScope::Compilation },
            weak: false,
            section: SymbolSection::Section(section),
            flags: SymbolFlags::None,
        });
    };
    let linked = image.link()?;
    let text = file.section_id(StandardSection::Text);
    file.append_section_data(text, &linked.bytes, linked.alignment as u64);
    for (function, at) in image.functions.iter().zip(linked.functions) {
        name(&mut file, text, &function.name, SymbolKind::Text, function.exported, at, function.code.len());
    }
    for (table, at) in image.tables.iter().zip(linked.tables) {
        name(&mut file, text, &table.name, SymbolKind::Data, false, at, 8 * table.words.len());
    }
    let constants = &image.constants;
    if !constants.is_empty() {
        let section = file.section_id(StandardSection::ReadOnlyData);
        file.append_section_data(section, constants, brolga_runtime::ALIGNMENT as u64);
        name(&mut file, section, &format!("{symbol}_constants"), SymbolKind::Data, true, 0, constants.len());
    }
    if format == BinaryFormat::Elf {
        // Without it linkers make the stack executable.
        file.add_section(Vec::new(), b".note.GNU-stack".to_vec(), SectionKind::Linker);
    }
    Ok(file)
}

/// Words that name nothing of one's own in C or C++: keywords, and the alternative spellings of operators.
const KEYWORDS: &str = " alignas alignof and and_eq asm auto bitand bitor bool break case catch char char16_t char32_t \
    char8_t class co_await co_return co_yield compl concept const const_cast consteval constexpr constinit continue \
    decltype default delete do double dynamic_cast else enum explicit export extern false float for friend goto if inline \
    int long mutable namespace new noexcept not not_eq nullptr operator or or_eq private protected public register \
    reinterpret_cast requires restrict return short signed sizeof static static_assert static_cast struct switch template \
    this thread_local throw true try typedef typeid typename typeof typeof_unqual union unsigned using virtual void \
    volatile wchar_t while xor xor_eq ";

/// Names that the header itself gives.
const OWN: [&str; 4] = ["brolga_block", "brolga_kernel", "brolga_serial_for", "BROLGA_BLOCK"];

/// Whether an entry function can be called so in C and C++.
///
/// # Errors
/// What is no name, a keyword, `main`, a name that compilers keep for themselves, one of C's headers and library, or one of the
/// header's own.
pub fn check_symbol(symbol: &str) -> Result<(), Error> {
    let reserved =
        |s: &str| s.contains("__") || s.strip_prefix('_').is_some_and(|r| r.starts_with(char::is_uppercase));
    let why = if symbol_name(symbol) != symbol
        || !symbol.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
    {
        "use letters, digits and _, not beginning with a digit"
    } else if KEYWORDS.contains(&format!(" {symbol} ")) {
        "it is a keyword of C or C++"
    } else if symbol == "main" {
        "it is where a program begins"
    } else if OWN.contains(&symbol) {
        "the header gives this name to something else"
    } else if reserved(symbol) {
        "such names belong to the compiler"
    } else if is_of_c(symbol) {
        "a header or the library of C has this name"
    } else {
        return Ok(());
    };
    Err(Error::new(format!("`{symbol}` cannot be the name of a C function: {why}")))
}

fn header(entry: &Entry, symbol: &str) -> String {
    let manifest = &entry.layout.manifest;
    let upper = symbol.to_ascii_uppercase();
    let mut text = String::new();
    let mut line = |args: std::fmt::Arguments<'_>| {
        let _ = writeln!(text, "{args}");
    };
    line(format_args!("/* Entry `{}`, compiled ahead of time. */", comment(&manifest.entry)));
    line(format_args!("#ifndef {upper}_H\n#define {upper}_H\n\n#include <stdint.h>\n"));
    line(format_args!("{BLOCK}"));
    line(format_args!("#ifdef __cplusplus\nextern \"C\" {{\n#endif\n"));
    line(format_args!("/* One call. Reads and writes only the memory that the block leads to. */"));
    line(format_args!("void {symbol}(const brolga_block *block);"));
    if entry.prepare.is_some() {
        line(format_args!(
            "/* Fills the prepared values; before the first call, and when state has changed. */"
        ));
        line(format_args!("void {symbol}_prepare(const brolga_block *block);"));
    }
    if manifest.constants_bytes > 0 {
        line(format_args!("extern const unsigned char {symbol}_constants[{}];", manifest.constants_bytes));
    }
    line(format_args!("\n#ifdef __cplusplus\n}}\n#endif\n"));
    line(format_args!("#define {upper}_NUMERICS {}", manifest.numerics));
    line(format_args!("#define {upper}_ARENA_BYTES {}", manifest.arena_bytes));
    line(format_args!("#define {upper}_LOCAL_BYTES {} /* for each worker */", manifest.local_bytes));
    line(format_args!("#define {upper}_PREPARED_BYTES {}", manifest.prepared_bytes));
    line(format_args!(
        "\n/* Positions in the table of bases, and bytes; memory is aligned to {} bytes, inputs",
        brolga_runtime::ALIGNMENT
    ));
    line(format_args!("   may have any alignment. Tensors are row-major. */"));
    line(format_args!("#define {upper}_BASES {}", manifest.base_count()));
    for (i, name) in ["ARENA", "PREPARED", "CONSTANTS", "LOCAL"].iter().enumerate() {
        line(format_args!("#define {upper}_{name} {i}"));
    }
    let state = manifest.state.iter().map(|s| ("STATE", &s.name, s.dtype, &s.dims));
    let inputs = manifest.inputs.iter().map(|t| ("INPUT", &t.name, t.dtype, &t.dims));
    let outputs = manifest.outputs.iter().map(|t| ("OUTPUT", &t.name, t.dtype, &t.dims));
    let all: Vec<_> = state.chain(inputs).chain(outputs).collect();
    let plain = |kind: &str, name: &str| format!("{upper}_{kind}_{}", symbol_name(name).to_ascii_uppercase());
    let mut count: HashMap<String, usize> = HashMap::new();
    for (kind, name, ..) in &all {
        let own = plain(kind, name);
        *count.entry(format!("{own}_BYTES")).or_default() += 1;
        *count.entry(own).or_default() += 1;
    }
    let mut taken = HashSet::new();
    for (i, (kind, name, dtype, dims)) in all.into_iter().enumerate() {
        let mut macro_name = plain(kind, name);
        // `a.b` and `a_b` are one name in C: each has its position behind it, so that none is taken for the other.
        let several = |name: &str| count.get(name).is_some_and(|&count| count > 1);
        while several(&macro_name)
            || several(&format!("{macro_name}_BYTES"))
            || taken.contains(&macro_name)
            || taken.contains(&format!("{macro_name}_BYTES"))
        {
            macro_name = format!("{macro_name}_{}", BASE_STATE + i);
        }
        taken.insert(macro_name.clone());
        taken.insert(format!("{macro_name}_BYTES"));
        let bytes = dims.iter().product::<usize>() * dtype.size();
        line(format_args!(
            "#define {macro_name} {} /* {}: {} */",
            BASE_STATE + i,
            comment(name),
            brolga_runtime::type_name(dtype, dims)
        ));
        line(format_args!("#define {macro_name}_BYTES {bytes}"));
    }
    line(format_args!("\n#endif"));
    text
}

/// A name inside a comment: what would end it, or begin another, stays out.
fn comment(name: &str) -> String {
    name.replace("*/", "* /").replace("/*", "/ *").replace('\\', "/")
}

/// The argument block; guarded, since a program may include several such headers.
const BLOCK: &str = r#"#ifndef BROLGA_BLOCK
#define BROLGA_BLOCK
typedef struct brolga_block brolga_block;
typedef void brolga_kernel(const brolga_block *block, const uint64_t *row, uint64_t part, uint64_t worker);
/* What compiled code is called with. Rounding to nearest and denormals kept is expected of the caller. */
struct brolga_block {
    /* Memory: arena, prepared values, constants, local memory (of all workers, one behind the other), state, inputs,
       outputs. */
    unsigned char *const *bases;
    /* Calls the kernel for every part, in any order and on any threads, and returns when all are done. Workers are
       numbered from 0; calls at the same time have different workers, and each of them has local memory. */
    void (*parallel_for)(void *pool, brolga_kernel *kernel, const brolga_block *block, const uint64_t *row,
                         uint64_t parts);
    /* The first argument of parallel_for. */
    void *pool;
};
/* A parallel_for on the calling thread, which is worker 0. */
static inline void brolga_serial_for(void *pool, brolga_kernel *kernel, const brolga_block *block,
                                     const uint64_t *row, uint64_t parts) {
    (void)pool;
    for (uint64_t part = 0; part < parts; part++) kernel(block, row, part, 0);
}
#endif
"#;
