//! What an image becomes: code in memory, a listing, an object file or a shared library with its C header, or the code of a
//! container.
//!
//! | file | what |
//! |---|---|
//! | `jit.rs` | code in memory, ready to run |
//! | `listing.rs` | the code as text, for people |
//! | `container.rs` | code for a file that is opened without a compiler |
//! | `object.rs` | an object file or a shared library, and what belongs to it |
//! | `processors.rs`, `chooser.rs`, `text.rs` | code for several processors in one object, what chooses among them, all in one piece |
//! | `shared.rs`, `archive.rs` | the formats of shared and of static libraries |
//! | `header/`, `state_block.rs` | the C header, and the state that it describes |

mod archive;
mod chooser;
mod container;
mod header;
pub(crate) mod jit;
mod listing;
mod object;
mod processors;
mod shared;
mod state_block;
mod text;

pub use container::container;
pub use header::check_symbol;
pub use jit::{Compiled, compile, compile_all, compile_checked, compile_traced};
pub use listing::{Listing, listing};
pub use object::{Object, ObjectRequest, emit_object, emit_shared, emit_static};
pub use state_block::StateTensor;
