//! What a header begins with: how the model is used.

use std::fmt::Arguments;

use super::entry::Function;
use super::names::comment;
use super::page::{About, Page};

/// How the model is used, by the example of an entry, and the beginning of the code.
pub(super) fn introduction(page: &mut Page, about: &About<'_>, example: &Function<'_>) {
    let (symbol, upper) = (about.symbol, about.upper());
    let entries: Vec<String> = about.entries.iter().map(|entry| comment(&entry.manifest.entry)).collect();
    let manifest = about.entries[0].manifest;
    let mut line = |line: Arguments<'_>| page.line(line);
    line(format_args!("/* Compiled by Brolga: {}.", entries.join(", ")));
    line(format_args!(
        "   For C99 or later, and C++. Link the {} that comes with it; it needs nothing else.\n",
        if about.functions_of_data { "library" } else { "object" }
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
    line(format_args!("#ifndef {upper}_H\n#define {upper}_H\n#define {upper}_HEADER_OF_{symbol} 1\n"));
    line(format_args!("#include <stddef.h>\n#include <stdint.h>\n#include <string.h>\n"));
    line(format_args!("#ifdef __cplusplus\nextern \"C\" {{\n#endif\n"));
}
