//! The C header of an object: what a model needs, its state, and a function for each entry.
//!
//! How a model is used comes first (`introduction.rs`). Then comes what is the same in all headers: `block.h` is how compiled
//! code is called, `memory.h` what a model's memory is divided into, `file.h` reads and writes files of weights. Behind it
//! stands what is the model's own: sizes (`sizes.rs`), the table of its state (`state.rs`), functions of the model
//! (`model.rs`) and of its entries (`entry.rs`), and the positions of tensors for those who call compiled code by themselves
//! (`raw.rs`). `page.rs` has what all of them write with; `names.rs` and `macros.rs` find names that C allows and tells apart.

mod c_names;
mod entry;
mod introduction;
mod macros;
mod model;
mod names;
mod page;
mod raw;
mod sizes;
mod state;

use self::entry::Function;
use self::introduction::introduction;
use self::macros::Macros;
use self::page::Page;
use self::sizes::Sizes;
use crate::error::{Error, Result};

pub(crate) use self::names::address_function;
pub use self::names::check_symbol;
pub(crate) use self::page::{About, AboutEntry};

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
    let functions: Vec<Function<'_>> = (about.entries.iter().zip(prepared))
        .map(|(entry, (number, &prepared))| Function::new(about, entry, number, prepared))
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
    let (symbol, upper) = (about.symbol, about.upper());
    page.line(format_args!(
        "\n#ifdef __cplusplus\n}}\n#endif\n\n#elif !defined({upper}_HEADER_OF_{symbol})\n\
         #error \"the names of two models differ in case alone: compile one of them with another --symbol\"\n#endif"
    ));
    let functions = functions.iter().map(Function::prototype).collect();
    Ok(Header { text: page.text, functions })
}

/// What all headers begin with, behind the files that they include. One of several headers in a program gives it.
const SHARED: &str = concat!(
    "#ifndef BROLGA_HEADER\n#define BROLGA_HEADER 2\n\n",
    include_str!("block.h"),
    "\n",
    include_str!("memory.h"),
    "\n",
    include_str!("file.h"),
    "\n#elif BROLGA_HEADER != 2\n#error \"headers of different versions of Brolga: compile the models with one version\"\n",
    "#endif\n\n",
);
