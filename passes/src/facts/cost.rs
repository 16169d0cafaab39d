//! What work costs: the model that passes choose by, and all of its numbers.
//!
//! It knows one processor: a core whose vectors have eight `f32` and that begins two of them a cycle, as with AVX2. Where
//! AVX-512 does twice as much, it does so on both sides of a comparison. Nothing depends on the machine that compiles: what
//! changes rounding is chosen by this model, so it must come out the same everywhere.
//!
//! | who asks | what | in |
//! |---|---|---|
//! | `choose/winograd`, `choose/strassen` | cycles of an algorithm, from sizes alone | [`multiply_adds`], [`weights_read`], [`winograd`], [`strassen`] |
//! | `choose/images`, `lower/products/borders` | work of tiles: of how many vectors, how many rows | [`images`], [`tile`] |
//! | `parallelise`, `separate`, `join`, lowering's boxes | parts for threads: how large, how many | [`vector_operations`], [`threads`] |
//! | `parallelise` | whether a call, and a run, have enough to do for several threads | [`cycles`], [`threads`] |
//! | `fuse` | what is computed again rather than stored, and when rows are too few | [`REPEATED`], [`threads`] |
//! | `hoist` | whether what a loop captures is computed again or stored | [`of_node`] |
//! | `rematerialise` | time of a call | [`nanoseconds`] |
//! | code generation | how registers are given to a tile, and nothing else | [`work::point`] |
//!
//! Numbers that only say into which pieces work is cut stand in [`blocking`](super::blocking).

use brolga_ir::definition::{Definition, Element};
use brolga_ir::ops::Op;
use brolga_ir::program::{Expr, Kernel, Stmt, work};
use brolga_ir::scalar::ScalarOp;
use brolga_ir::{Graph, NodeId};

/// Elements of `f32` in a vector.
pub(crate) const LANES: usize = 8;
/// Multiply-adds that begin in a cycle: two vectors of them.
const MULTIPLY_ADDS: f64 = 16.0;

/// Cycles of so many multiply-adds in tiles that reach a part of the peak (`efficiency`): the rest is lost at their edges.
pub(crate) fn multiply_adds(count: f64, efficiency: f64) -> f64 {
    count / MULTIPLY_ADDS / efficiency
}

/// Cycles of reading so many bytes of weights. Memory gives about 4 in the time of 16 multiply-adds (measured with AVX2,
/// and with AVX-512, where both are twice as many in a cycle); what the same call has just written, not `fixed`, lies in a
/// cache.
pub(crate) fn weights_read(bytes: f64, fixed: bool) -> f64 {
    bytes / if fixed { 4.0 } else { 8.0 }
}

/// Direct sums: the part of the peak that their tiles reach.
pub(crate) const DIRECT: f64 = 0.85;

/// Winograd's algorithm.
pub(crate) mod winograd {
    /// The part of the peak that its products reach: they have no borders.
    pub const PRODUCTS: f64 = 0.9;
    /// Channels whose transforms are counted together: a vector of AVX-512.
    pub const CHANNELS: usize = 16;
    /// Cycles for so many channels of a position (measured): on the way into the transformed domain, and out of it; where the
    /// result is the weights, both images go in.
    pub const INTO: f64 = 7.5;
    pub const OUT_OF: f64 = 5.0;
    /// Transformed weights that are made in a cycle.
    pub const WEIGHTS: f64 = 4.0;
    /// It is chosen where it takes less than this part of the direct sum's cycles: its rounding is worse.
    pub const WORTH: f64 = 0.95;
}

/// Strassen's algorithm: cycles for an element of what is added to a product. Those of the sums of rows are measured alone, the
/// others are estimates that part the products that were seen to gain from those that were not.
pub(crate) mod strassen {
    /// The part of all multiplications that is saved.
    pub const SAVED: f64 = 1.0 / 8.0;
    /// Elements of rows, about, that stay in the caches.
    pub const MANY: f64 = (1 << 19) as f64;
    /// The sums of rows: in the caches, and from memory and back. Where the matrix is not fixed, the caches are full of what the
    /// call remembers.
    pub const ROW: f64 = 0.35;
    pub const ROW_IN_MEMORY: f64 = 1.5;
    /// The matrix, read in seven parts instead of four; and its sums, where they are made in every call.
    pub const MATRIX: f64 = 0.15;
    pub const MATRIX_OF_CALL: f64 = 2.25;
    /// Copies of the result between local memory and its place.
    pub const RESULT: f64 = 0.5;
    /// It is chosen where what is added takes less than this part of what is saved: twice as many blocks have half as many terms.
    pub const WORTH: f64 = 0.7;
}

/// Lanes that are images instead of channels.
pub(crate) mod images {
    /// How much longer a tile of one vector takes than its share of a tile of two.
    pub const ALONE: f64 = 4.0 / 3.0;
    /// The work that is done must shrink by this factor: the images at the borders of the chain are copied.
    pub const WORTH: f64 = 1.1;
}

/// Tiles whose rows are images: they must be cheaper by this factor, because images share the caches.
pub(crate) const TOGETHER: f64 = 1.5;

/// Half cycles of a tile of `rows` rows, `vectors` vectors of columns, and `depth` points to be summed over: those of each point
/// ([`work::point`]), for blocks of rows whose sums are in registers, and of what is done around them.
pub(crate) fn tile(rows: usize, vectors: usize, depth: usize) -> f64 {
    /// Sums that a tile keeps in registers.
    const SUMS: usize = 12;
    /// Half cycles for setting up a tile, and a block of its rows, and for storing a vector.
    const TILE: f64 = 60.0;
    const BLOCK: f64 = 40.0;
    const STORE: f64 = 4.0;
    let blocks = rows.div_ceil((SUMS / vectors).max(1)).max(1);
    let each = rows.div_ceil(blocks);
    let point = work::point(each, vectors) as f64;
    TILE + blocks as f64 * (point * depth as f64 + STORE * (each * vectors) as f64 + BLOCK)
}

/// Parts for threads.
pub(crate) mod threads {
    /// The least work of one part, in vector operations, unless options say another: about 2 us.
    pub const LEAST_PART: u64 = 6_000;
    /// Parts worth having: enough to balance threads, few enough to be cheap.
    pub const MOST_PARTS: usize = 64;
    /// Parts that are shared evenly enough, whatever their number and that of threads. Measured with two threads on two dies:
    /// DenseNet-121 and MobileNetV2 take 7 % less with even shares.
    pub const EVEN: usize = 16;
    /// Rows below which a kernel that computes whole rows has too few parts, unless it is small.
    pub const FEWEST_ROWS: usize = 8;
    /// Elements up to which a kernel is small: an operation for each is 4,096 vector operations, less than the least part.
    pub const SMALL: usize = 1 << 15;
    /// Estimated cycles below which a call is not worth handing out to threads. This one and the next are for the least part of
    /// above; where options say another, they change with it.
    pub const CALL: u64 = 20_000;
    /// Estimated cycles of such calls below which a run is not worth waking threads.
    pub const RUN: u64 = 100_000;
}

/// Operations that are repeated rather than their result stored and read again, at most.
pub(crate) const REPEATED: usize = 4;

/// What a node of a graph costs for each element, where it is computed.
pub(crate) enum OfNode {
    /// Index maps, positions, constants: what reads them looks elsewhere.
    Nothing,
    /// Something for each element.
    Elements,
    /// Many terms for each element, or loops of its own.
    Terms,
}

/// The kind of work that a node is.
pub(crate) fn of_node(graph: &Graph, id: NodeId) -> OfNode {
    let node = graph.node(id);
    let definitions = node.op.get().definition(&graph.operand_types(id), &node.types);
    let of = |definition: &Definition| match definition {
        Definition::Element(Element::Operand(..) | Element::Constant(_) | Element::Index(..)) => {
            OfNode::Nothing
        }
        Definition::Element(_) | Definition::Pieces(_) => OfNode::Elements,
        Definition::Loops if matches!(node.op, Op::Constant(_)) => OfNode::Nothing,
        Definition::Reduce { .. } | Definition::Loops => OfNode::Terms,
    };
    definitions.first().map_or(OfNode::Nothing, of)
}

/// The work of a block of statements, in vector operations: by it work is cut into even parts. It counts what a vector unit does;
/// [`cycles`], by which a call is handed out at all, counts all statements. A strip of 9 elements is two operations here, and
/// 9 / 4 cycles there.
pub(crate) fn vector_operations(block: &[Stmt]) -> u64 {
    const FUNCTION: u64 = 12;
    const DIVISION: u64 = 4;
    let vectors = |elements: usize| elements.div_ceil(LANES) as u64;
    let of = |statement: &Stmt| match statement {
        Stmt::For { extent, body, .. } => *extent as u64 * vector_operations(body).max(1),
        Stmt::Strip { extent, body, .. } => vectors(*extent) * vector_operations(body).max(1),
        Stmt::If { then, otherwise, .. } => vector_operations(then).max(vector_operations(otherwise)),
        Stmt::Let { expr: Expr::Op(ScalarOp::Function(_), _), .. } => FUNCTION,
        Stmt::Let { expr: Expr::Op(ScalarOp::Div | ScalarOp::Rem | ScalarOp::Sqrt, _), .. } => DIVISION,
        Stmt::Tile(tile) => {
            let steps: u64 = tile.reduce.iter().map(|l| l.extent as u64).product();
            tile.m as u64 * vectors(tile.n) * steps
        }
        _ => 1,
    };
    block.iter().map(of).fold(0, u64::saturating_add)
}

/// Cycles of one call of a kernel, estimated: one for each statement, a quarter of one for each element of a strip, an eighth for each
/// multiply-add of a tile.
pub(crate) fn cycles(kernel: &Kernel) -> u64 {
    fn of(statement: &Stmt) -> u64 {
        match statement {
            Stmt::For { extent, body, .. } => (*extent as u64).saturating_mul(block(body)),
            Stmt::Strip { extent, body, .. } => (*extent as u64).saturating_mul(block(body)) / 4,
            Stmt::If { then, otherwise, .. } => block(then).max(block(otherwise)),
            Stmt::Tile(tile) => {
                let reduce = tile.reduce.iter().map(|l| l.extent as u64).fold(1, u64::saturating_mul);
                (tile.m as u64).saturating_mul(tile.n as u64).saturating_mul(reduce) / 8
            }
            _ => 1,
        }
    }
    fn block(body: &[Stmt]) -> u64 {
        body.iter().map(of).fold(0, u64::saturating_add)
    }
    (kernel.parts() as u64).saturating_mul(block(&kernel.body))
}

/// About how long a call of a kernel takes, in nanoseconds: 50 operations and 5 bytes in each, a core with wide vectors.
pub(crate) fn nanoseconds(kernel: &Kernel) -> u64 {
    let bytes: u64 = kernel.arguments().iter().map(|param| (param.len * param.dtype.size()) as u64).sum();
    work::flops(kernel) / 50 + bytes / 5
}
