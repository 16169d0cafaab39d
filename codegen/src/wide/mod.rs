//! The wide emitter: leaf functions for x86-64 with AVX2 or AVX-512, assembled directly.
//!
//! A run of statements with strips or tiles in it, and all loops around them, becomes one leaf, as large as there
//! is code for; what there is none for (conditions, `f64`, …) is left to the portable emitter, statement by
//! statement. The bits are the same.
//!
//! | file | what |
//! |---|---|
//! | `nest.rs` | from statements to lane code, and the call |
//! | `index.rs` | indices and addresses |
//! | `lanes.rs` | lane code |
//! | `columns.rs` | loads of neighbouring columns, and strips that have them |
//! | `allocate.rs` | registers for lane code |
//! | `assemble.rs` | lane code as machine code: loops, strips, registers |
//! | `addresses.rs`, `pool.rs` | where words of the table are, and what lies behind the code |
//! | `operate.rs`, `memory.rs` | operations, loads and stores as instructions |
//! | `instructions.rs`, `table.rs` | instructions, and their encodings |
//! | `machine.rs` | what AVX2 and AVX-512 differ in |
//! | `tile.rs` | matrix tiles |
//! | `epilogue.rs` | what is done to a tile's sums in their registers |
//! | `uses.rs` | which statements need what others define |

mod addresses;
mod allocate;
mod assemble;
mod columns;
mod epilogue;
mod index;
mod instructions;
mod lanes;
mod machine;
mod memory;
mod nest;
mod operate;
mod pool;
mod table;
mod tile;
mod uses;

#[cfg(test)]
mod tests;

use brolga_ir::program::Stmt;

use crate::portable::{Emitter, KernelCx};

#[cfg(feature = "emulate")]
pub(crate) use instructions::{Instructions, registers};
pub(crate) use machine::Machine;

/// Emits leaves for a machine.
pub(crate) struct Wide(pub Machine);

impl Wide {
    /// The leading statements of a block as a leaf.
    pub fn nest(&self, cx: &KernelCx<'_>, body: &[Stmt]) -> Option<nest::Nest> {
        // Values that come first are as well computed by the caller.
        if matches!(body[0], Stmt::Let { .. } | Stmt::If { .. }) {
            return None;
        }
        nest::leading(cx, self.0, body)
    }
}

impl Emitter for Wide {
    fn leading(&self, cx: &mut KernelCx<'_>, body: &[Stmt]) -> usize {
        let Some(nest) = self.nest(cx, body) else { return 0 };
        let len = nest.len;
        nest.call(cx);
        len
    }
}
