//! What lies beneath: compiled functions, and where their tensors stand in the table of bases.

use brolga_runtime::{BASE_STATE, DType, byte_len, type_name};

use super::macros::Macros;
use super::names::{address_function, comment};
use super::page::{About, Page};

/// Prototypes, and what else the object has.
pub(super) fn functions(page: &mut Page, about: &About<'_>, macros: &Macros) {
    let symbol = about.symbol;
    page.line(format_args!(
        "\n/* What the object has. A call reads and writes only the memory that its block leads to. */"
    ));
    match about.others[..] {
        [] => page.line(format_args!("static inline uint64_t {symbol}_processor(void) {{ return 0; }}")),
        _ => page.line(format_args!(
            "/* The number of the code that needs most of what the processor has. Asking it takes microseconds where it is \
             virtual. */\nuint64_t {symbol}_processor(void);"
        )),
    }
    for (entry, begin) in about.entries.iter().zip(&macros.entries) {
        page.line(format_args!("#define {begin}_BASES {}", entry.manifest.base_count()));
        page.line(format_args!("void {symbol}_{}_call(const brolga_block *block);", entry.name));
        if entry.prepares {
            page.line(format_args!("void {symbol}_{}_prepare(const brolga_block *block);", entry.name));
        }
    }
    let header = if about.has_state() { about.block.file_header.len() } else { 0 };
    let data = [
        ("CONSTANTS_BYTES", "constants", about.constants_bytes),
        ("WEIGHTS_BYTES", "weights", about.weights_bytes.unwrap_or(0)),
        ("FILE_HEADER_BYTES", "file", header),
    ];
    let upper = about.upper();
    for (size, name, bytes) in data.into_iter().filter(|(.., bytes)| *bytes > 0) {
        page.define(&upper, size, bytes);
        if about.functions_of_data {
            // An array of a shared library would be copied into the program.
            let function = address_function(symbol, name);
            page.line(format_args!(
                "const unsigned char *{function}(void);\n#define {symbol}_{name} {function}()"
            ));
        } else {
            page.line(format_args!("extern const unsigned char {symbol}_{name}[{upper}_{size}];"));
        }
    }
}

/// Positions in the table of bases, for those who make it by themselves.
pub(super) fn positions(page: &mut Page, about: &About<'_>, macros: &Macros) {
    page.line(format_args!(
        "\n/* For those who call compiled code by themselves: bytes of arena and prepared values, and positions of bases with \
         their\n   bytes and elements, behind BROLGA_ARENA, BROLGA_PREPARED, BROLGA_CONSTANTS and BROLGA_LOCAL. */"
    ));
    for ((entry, begin), names) in about.entries.iter().zip(&macros.entries).zip(&macros.bases) {
        let manifest = entry.manifest;
        page.line(format_args!("#define {begin}_ARENA_BYTES {}", manifest.arena_bytes));
        page.line(format_args!("#define {begin}_PREPARED_BYTES {}", manifest.prepared_bytes));
        let state = manifest.state.iter().map(|t| (&t.name, t.dtype, &t.dims));
        let inputs = manifest.inputs.iter().map(|t| (&t.name, t.dtype, &t.dims));
        let outputs = manifest.outputs.iter().map(|t| (&t.name, t.dtype, &t.dims));
        let all = state.chain(inputs).chain(outputs);
        for (at, ((name, dtype, dims), own)) in all.zip(names).enumerate() {
            position(page, own, BASE_STATE + at, name, dtype, dims);
        }
    }
}

/// The position of a tensor, its bytes, and how many elements it has.
fn position(page: &mut Page, own: &str, at: usize, name: &str, dtype: DType, dims: &[usize]) {
    let ty = type_name(dtype, dims);
    page.line(format_args!("#define {own} {at} /* {}: {ty} */", comment(name)));
    // Whoever made the manifest has checked that it can be said.
    page.line(format_args!("#define {own}_BYTES {}", byte_len(dtype, dims).unwrap_or(0)));
    page.line(format_args!("#define {own}_ELEMENTS {}", dims.iter().product::<usize>()));
}
