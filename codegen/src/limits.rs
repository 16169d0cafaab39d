//! What code generation chooses, in numbers: registers, and how much is written out as instructions. None of them changes a bit of
//! a result, and none says how work is cut or shared: that stands in the program. One of them, [`COLUMN_ROUND`], has iterations run in
//! another order than the program says.
//!
//! A chunk is the iterations of a strip that one vector holds: 8 with AVX2, 16 with AVX-512.

/// The most that one function may take of the stack, in bytes.
pub(crate) const MAX_FRAME: u32 = 16 << 10;

/// The portable emitter, whose tiles Cranelift gives their registers.
pub(crate) mod portable {
    /// Vector registers that blocks are cut for.
    pub const REGISTERS: usize = 16;
    /// The most vectors in a row of a block.
    pub const MOST_VECTORS: usize = 4;
    /// Multiply-adds that must be under way to keep two units with four cycles of latency (nearly) busy.
    pub const CHAINS: usize = 6;
    /// Points of the innermost reduction loop that are written out.
    pub const POINT_UNROLL: usize = 2;
}

/// Places on the stack for values that found no register, at most; a nest that needs more is left to the portable emitter.
pub(crate) const MOST_SPILLS: usize = 128;

/// Words of a leaf's table, at most: it lies on the stack, of which a function has [`MAX_FRAME`].
pub(crate) const MOST_TABLE_WORDS: usize = 1536;

/// Iterations of loops inside a strip that are written out, at most; a strip with longer ones is a strip around a loop. An
/// image of three colours that is copied into its four phases has 12.
pub(crate) const STRIP_UNROLL: usize = 12;

/// Chunks of a strip that are written out instead of a loop, at most, and the instructions that all of them may have.
pub(crate) const MOST_CHUNKS: usize = 8;
pub(crate) const WRITTEN_OUT: usize = 256;

/// Chunks in each round of a strip's loop, at most, and the instructions that these may have: four where a chunk has up to 32,
/// two where it has up to 64, else one.
pub(crate) const LOOP_CHUNKS: usize = 4;
pub(crate) const IN_LOOP: usize = 128;

/// Iterations of a loop over the columns of a matrix that run together in each chunk of the strip inside of it (unroll and jam), with
/// AVX2 and AVX-512 alike: lanes are rows, and 16 neighbouring elements of `f32` are a cache line of each row.
///
/// It is for the instructions: four neighbouring columns are loaded, or stored, as rows of four and transposed in registers, if
/// they are in one stretch of code. In the program each run of the strip has one column. If it had 16, each iteration of a copy of
/// columns into rows would store to 16 rows, and the verifier could not prove the iterations to be independent: its rule wants
/// the step of a strip to be larger than all that is inside of it covers.
pub(crate) const COLUMN_ROUND: usize = 16;

/// Statements of a strip that is written for each of these iterations, at most.
pub(crate) const COLUMN_STATEMENTS: usize = 8;

/// The most reduction loops that a tile has code for, once those that continue each other are merged: each has a counter in a
/// register.
pub(crate) const MOST_LOOPS: usize = 4;

/// Words of the table that an epilogue uses, at most: each has a register.
pub(crate) const MOST_WORDS: usize = 7;

/// Points of a tile's innermost reduction loop that are written out.
pub(crate) const POINT_UNROLL: usize = 4;

/// Bytes after which addresses fall into the same set of the first-level cache again, and lines that a set holds beside
/// those of B: of 12. So a block has at most 10 rows of A that lie 4 KiB apart; 14 or 30 took up to three quarters of the time.
pub(crate) const SETS: u64 = 4096;
pub(crate) const WAYS: u64 = 10;

/// Bytes of a cache line.
pub(crate) const LINE: i64 = 64;

/// Bytes of a panel of B from which on the next one is fetched ahead: smaller ones come in time.
pub(crate) const LARGE_PANEL: i64 = 2048;

/// Bytes from row to row above which the rows that a block ends with are fetched ahead, since nothing else foresees them; and
/// points of a reduction that leave time for it.
pub(crate) const FAR: i64 = 128;
pub(crate) const FEWEST_POINTS: usize = 24;
