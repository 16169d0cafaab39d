//! Matrix tiles, whose shape and strides are part of the code.
//!
//! C is cut into blocks of `rows` times `vectors` registers, whose sums stay in registers through all reduction
//! loops: two FMA units with 4 cycles of latency want 8 chains. AVX2 has registers for 12 sums beside the operands
//! (6 x 16 columns), AVX-512 for 28 (14 x 32). Column blocks are outside, so that a panel of B stays in the
//! first-level cache while rows go by. The last vector of a row is as narrow as the columns that are left allow, and
//! masked where they do not fill it.
//!
//! All vector registers are taken: the sums from 0 on, row by row, then a row of B and an element of A. The others: `rdi`, `rsi`,
//! `rdx` the block's part of A, B, C; `r8`, `r9` run through A and B; `rax`, `rcx`, `r10`, `r11` count the reduction
//! loops; `rbx` counts row blocks, `rbp` column blocks; `r13` runs ahead through the panel of B that lies behind this one.
//! An epilogue has its addresses in the registers that the reduction does not need any more.
//!
//! | file | what |
//! |---|---|
//! | `emit.rs` | a tile as code |
//! | `emission.rs` | what is known while a tile is emitted |
//! | `columns.rs` | column blocks and their blocks of rows; what is fetched ahead |
//! | `reduce.rs` | the sums of a register block |
//! | `epilogue.rs` | what is done to them, and stored |

mod columns;
mod emission;
mod emit;
mod epilogue;
mod reduce;

pub(crate) use emission::Epilogue;
pub(crate) use emit::{emit, mask};
