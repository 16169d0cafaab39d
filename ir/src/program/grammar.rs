//! What kernel programs are made of: see [the grammar](super) of them.

use super::panels::Panels;
use crate::index::{Index, Var};
use crate::scalar::{Scalar, ScalarOp};
use crate::tensor::Tensor;
use crate::types::{DType, Type};

/// Bytes to which planned offsets are aligned: a cache line.
pub const ALIGNMENT: usize = 64;

/// How deep statements of a kernel, and loops and conditions of a schedule, may nest.
pub const MAX_NESTING: usize = 64;

/// A position in [`Program::buffers`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct BufferId(pub u32);

/// A position in [`Program::kernels`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct KernelId(pub u32);

/// A scalar of a kernel: assigned once, visible to the end of the block that assigns it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct ValueId(pub u32);

/// An accumulator of a kernel.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct AccId(pub u32);

/// A compiled entry point in the making.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Program {
    /// The entry point's name.
    pub name: String,
    /// Memory, by [`BufferId`].
    pub buffers: Vec<Buffer>,
    /// Code, by [`KernelId`]; kernels equal in content occur once.
    pub kernels: Vec<Kernel>,
    /// What runs once for every state: fills the prepared buffers.
    pub prepare: Vec<Step>,
    /// What one call runs, in order.
    pub schedule: Vec<Step>,
    /// Bytes of the arena; 0 before memory is planned.
    pub arena_bytes: usize,
    /// Bytes of the prepared memory; 0 before memory is planned.
    pub prepared_bytes: usize,
}

/// A region of memory that holds one tensor.
#[derive(Clone, PartialEq, Debug)]
pub struct Buffer {
    /// A name for people, and of inputs, outputs and state for the caller.
    pub name: String,
    /// Type of the tensor, row-major.
    pub ty: Type,
    /// Where it lies.
    pub place: Place,
    /// If it holds packed weights: how these lie in it. Its type is that of the memory then, of one axis.
    pub panels: Option<Panels>,
}

impl Buffer {
    /// A buffer that holds its tensor as it is.
    pub fn new(name: &str, ty: Type, place: Place) -> Buffer {
        Buffer { name: name.to_owned(), ty, place, panels: None }
    }
}

/// Where a buffer lies.
#[derive(Clone, PartialEq, Debug)]
pub enum Place {
    /// Given by the caller, any alignment, read only. Values used as indices must lie in `range`, which the
    /// runtime checks before anything runs.
    Input {
        /// Inclusive bounds of the elements.
        range: Option<(i64, i64)>,
    },
    /// Given by the caller, written.
    Output,
    /// Persistent between calls; `updated` if the schedule writes it.
    State {
        /// Whether the schedule writes it.
        updated: bool,
    },
    /// Part of the program.
    Constant(Tensor),
    /// Filled by `prepare`, then read only. Byte offset, once planned.
    Prepared(Option<usize>),
    /// Scratch of one call. Byte offset, once planned.
    Arena(Option<usize>),
}

/// One step of a schedule.
#[derive(Clone, PartialEq, Debug)]
pub enum Step {
    /// Runs a kernel.
    Call(Call),
    /// Runs the body `extent` times, or until a `Break` ends it.
    Loop {
        /// Number of iterations.
        extent: usize,
        /// The steps of one iteration.
        body: Vec<Step>,
    },
    /// Ends the innermost loop around it unless a condition holds.
    Break {
        /// The condition: one `bool` in memory.
        unless: Arg,
    },
    /// Runs one of two lists of steps.
    If {
        /// The condition: one `bool` in memory.
        condition: Arg,
        /// Where it holds.
        then: Vec<Step>,
        /// Where it does not.
        otherwise: Vec<Step>,
    },
}

impl Step {
    /// The places that the step itself, not those inside it, touches: arguments of a call, or a condition.
    pub fn args(&self) -> &[Arg] {
        match self {
            Step::Call(call) => &call.args,
            Step::Loop { .. } => &[],
            Step::Break { unless: condition } | Step::If { condition, .. } => std::slice::from_ref(condition),
        }
    }

    /// The same, to be changed.
    pub fn args_mut(&mut self) -> &mut [Arg] {
        match self {
            Step::Call(call) => &mut call.args,
            Step::Loop { .. } => &mut [],
            Step::Break { unless: condition } | Step::If { condition, .. } => std::slice::from_mut(condition),
        }
    }

    /// The lists of steps inside.
    pub fn bodies(&self) -> Vec<&Vec<Step>> {
        match self {
            Step::Call(_) | Step::Break { .. } => Vec::new(),
            Step::Loop { body, .. } => vec![body],
            Step::If { then, otherwise, .. } => vec![then, otherwise],
        }
    }

    /// The same, to be changed.
    pub fn bodies_mut(&mut self) -> Vec<&mut Vec<Step>> {
        match self {
            Step::Call(_) | Step::Break { .. } => Vec::new(),
            Step::Loop { body, .. } => vec![body],
            Step::If { then, otherwise, .. } => vec![then, otherwise],
        }
    }
}

/// A kernel applied to buffers.
#[derive(Clone, PartialEq, Debug)]
pub struct Call {
    /// Which kernel.
    pub kernel: KernelId,
    /// One argument for each parameter that is not local ([`Kernel::arguments`]).
    pub args: Vec<Arg>,
    /// Whether its parts are handed out to threads: it has enough to do for several. It changes no bit, and without it the parts
    /// run one after the other.
    pub parallel: bool,
    /// The layer and pass it comes from, for profiles: `conv1`, `conv1/backward`.
    pub origin: String,
}

/// A place inside a buffer that a parameter's index 0 stands for.
#[derive(Clone, PartialEq, Debug)]
pub struct Arg {
    /// The buffer.
    pub buffer: BufferId,
    /// Elements from its start.
    pub offset: usize,
    /// Elements to add for each iteration of the enclosing schedule loops, outermost first (may be shorter
    /// than the nesting: missing strides are 0).
    pub strides: Vec<i64>,
}

/// What a kernel may do with a parameter.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Access {
    /// Only loads.
    Read,
    /// Only stores.
    Write,
    /// Both.
    ReadWrite,
    /// Both, of memory that a grid point has to itself while it runs, undefined when it begins. Local parameters
    /// stand behind all others, and calls pass nothing for them.
    Local,
}

/// A buffer as a kernel sees it. Different parameters never overlap, unless both are only read, or every
/// iteration that stores an element is the only one that loads it (an update in place).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Param {
    /// Element type.
    pub dtype: DType,
    /// Elements that may be addressed, from index 0.
    pub len: usize,
    /// Loads, stores or both.
    pub access: Access,
}

/// One parallel loop nest.
#[derive(Clone, PartialEq, Debug)]
pub struct Kernel {
    /// A name for people: `conv_bias_relu`; not unique.
    pub name: String,
    /// Its parameters.
    pub params: Vec<Param>,
    /// Extents of the grid; its variables are 0, 1, …; points run in any order and in parallel.
    pub grid: Vec<usize>,
    /// What one point of the grid runs.
    pub body: Vec<Stmt>,
}

impl Kernel {
    /// Number of grid points, the `parts` of `parallel_for`.
    pub fn parts(&self) -> usize {
        self.grid.iter().product()
    }

    /// The parameters that calls give arguments for, position by position: all that are not local.
    pub fn arguments(&self) -> &[Param] {
        let local = self.params.iter().position(|param| param.access == Access::Local);
        &self.params[..local.unwrap_or(self.params.len())]
    }

    /// Where the local parameters lie in the local memory of a thread: for each the first byte, aligned to
    /// [`ALIGNMENT`].
    pub fn local_offsets(&self) -> Vec<usize> {
        let mut end: usize = 0;
        let place = |param: &Param| {
            let start = end;
            end = end.saturating_add(param.local_bytes());
            start
        };
        self.params[self.arguments().len()..].iter().map(place).collect()
    }

    /// Bytes of local memory that a grid point uses, a multiple of [`ALIGNMENT`].
    pub fn local_bytes(&self) -> usize {
        let local = &self.params[self.arguments().len()..];
        local.iter().map(Param::local_bytes).fold(0, usize::saturating_add)
    }
}

impl Param {
    /// Bytes that it takes as a local parameter.
    fn local_bytes(&self) -> usize {
        let lines = self.len.saturating_mul(self.dtype.size()).div_ceil(ALIGNMENT);
        lines.saturating_mul(ALIGNMENT)
    }
}

impl Program {
    /// Whether any call hands its parts out to threads.
    pub fn is_parallel(&self) -> bool {
        fn any(steps: &[Step]) -> bool {
            steps.iter().any(|step| match step {
                Step::Call(call) => call.parallel,
                _ => step.bodies().into_iter().any(|body| any(body)),
            })
        }
        any(&self.prepare) || any(&self.schedule)
    }

    /// Bytes of local memory that every thread needs: those of the kernel that uses most.
    pub fn local_bytes(&self) -> usize {
        self.kernels.iter().map(Kernel::local_bytes).max().unwrap_or(0)
    }
}

/// How an accumulator combines.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum Combine {
    /// `a + b`; identity 0
    Add,
    /// `a * b`; identity 1
    Mul,
    /// the larger; NaN if either is NaN; identity: the least value of the type
    Max,
    /// the smaller; NaN if either is NaN; identity: the greatest value of the type
    Min,
    /// bits, or logical and; identity: all ones
    And,
    /// bits, or logical or; identity 0
    Or,
}

impl Combine {
    /// Every way to combine.
    pub const ALL: [Combine; 6] =
        [Combine::Add, Combine::Mul, Combine::Max, Combine::Min, Combine::And, Combine::Or];

    /// The name in text forms.
    pub fn name(self) -> &'static str {
        match self {
            Combine::Add => "add",
            Combine::Mul => "mul",
            Combine::Max => "max",
            Combine::Min => "min",
            Combine::And => "and",
            Combine::Or => "or",
        }
    }

    /// The operation that combines two values. Of floats it says nothing for the extrema where one is NaN: there
    /// [`apply`](Combine::apply) goes beyond it.
    pub fn op(self) -> ScalarOp {
        match self {
            Combine::Add => ScalarOp::Add,
            Combine::Mul => ScalarOp::Mul,
            Combine::Max => ScalarOp::Max,
            Combine::Min => ScalarOp::Min,
            Combine::And => ScalarOp::And,
            Combine::Or => ScalarOp::Or,
        }
    }

    /// What an empty reduction gives.
    pub fn identity(self, dtype: DType) -> Scalar {
        match (self, dtype) {
            (Combine::Add | Combine::Or, _) => Scalar::zero(dtype),
            (Combine::Mul, _) => Scalar::one(dtype),
            (Combine::And, DType::Bool) => Scalar::Bool(true),
            (Combine::And, _) => Scalar::from_i64(dtype, -1),
            (Combine::Max, DType::Bool) => Scalar::Bool(false),
            (Combine::Min, DType::Bool) => Scalar::Bool(true),
            (Combine::Max, DType::F32 | DType::F64) => Scalar::from_f64(dtype, f64::NEG_INFINITY),
            (Combine::Min, DType::F32 | DType::F64) => Scalar::from_f64(dtype, f64::INFINITY),
            // Saturates to the bounds of the integer type.
            (Combine::Max, _) => Scalar::from_f64(dtype, f64::NEG_INFINITY),
            (Combine::Min, _) => Scalar::from_f64(dtype, f64::INFINITY),
        }
    }

    /// Whether the order in which values of that type combine cannot change a bit. Sums and products of floats round, and of
    /// zeros of either sign an extremum is the last one.
    pub fn has_any_order(self, dtype: DType) -> bool {
        match self {
            Combine::Add | Combine::Mul | Combine::Max | Combine::Min => !dtype.is_float(),
            Combine::And | Combine::Or => true,
        }
    }

    /// The combination of two values of one type. For floats Max is exactly
    /// `a > b ? a : (b is NaN or a <= b ? b : a)`, which propagates NaN from either side and keeps `b` on ties;
    /// Min likewise.
    pub fn apply(self, a: Scalar, b: Scalar) -> Scalar {
        fn pick<T: PartialOrd + Copy>(a: T, b: T, better: bool) -> T {
            // `a != a` only for NaN, which wins over everything.
            #[allow(clippy::eq_op)]
            if better || a != a { a } else { b }
        }
        match (self, a, b) {
            (Combine::Max, Scalar::F32(x), Scalar::F32(y)) => Scalar::F32(pick(x, y, x > y)),
            (Combine::Max, Scalar::F64(x), Scalar::F64(y)) => Scalar::F64(pick(x, y, x > y)),
            (Combine::Min, Scalar::F32(x), Scalar::F32(y)) => Scalar::F32(pick(x, y, x < y)),
            (Combine::Min, Scalar::F64(x), Scalar::F64(y)) => Scalar::F64(pick(x, y, x < y)),
            _ => self.op().apply(&[a, b]),
        }
    }
}

/// A statement of a kernel.
#[derive(Clone, PartialEq, Debug)]
pub enum Stmt {
    /// A serial loop, `var` from 0 to `extent - 1`.
    For {
        /// The loop variable.
        var: Var,
        /// Number of iterations.
        extent: usize,
        /// One iteration.
        body: Vec<Stmt>,
    },
    /// The vectorised loop. Its iterations are independent, but for accumulators declared outside it. The body
    /// holds values, loads, stores, accumulators and serial loops: no strips, no conditions, no tiles.
    Strip {
        /// The loop variable, whose iterations become lanes.
        var: Var,
        /// Number of iterations.
        extent: usize,
        /// One iteration.
        body: Vec<Stmt>,
    },
    /// A condition on a `bool`.
    If {
        /// The condition.
        condition: ValueId,
        /// Where it holds.
        then: Vec<Stmt>,
        /// Where it does not.
        otherwise: Vec<Stmt>,
    },
    /// Assigns a value.
    Let {
        /// The value.
        id: ValueId,
        /// Its type.
        dtype: DType,
        /// How it is computed.
        expr: Expr,
    },
    /// Stores an element.
    Store {
        /// The parameter, by position.
        param: usize,
        /// Element of the parameter.
        index: Index,
        /// What is stored, of the parameter's type.
        value: ValueId,
    },
    /// Declares an accumulator: every lane at the identity.
    Declare {
        /// The accumulator.
        acc: AccId,
        /// Type of what it combines.
        dtype: DType,
        /// How it combines.
        combine: Combine,
        /// 1 or 32.
        lanes: u32,
    },
    /// Combines a value into an accumulator.
    Accumulate {
        /// The accumulator.
        acc: AccId,
        /// The value.
        value: ValueId,
    },
    /// Reads an accumulator out.
    Finish {
        /// The value that receives the result.
        id: ValueId,
        /// The accumulator.
        acc: AccId,
    },
    /// A block of a matrix product.
    Tile(Tile),
}

/// How a value is computed.
#[derive(Clone, PartialEq, Debug)]
pub enum Expr {
    /// A constant.
    Constant(Scalar),
    /// An index as an integer (`i32` wraps) of the value's type.
    Index(Index),
    /// An operation.
    Op(ScalarOp, Vec<ValueId>),
    /// An element of a parameter. Where `guard` is false nothing is accessed and the value is zero.
    Load {
        /// The parameter, by position.
        param: usize,
        /// Element of the parameter.
        index: Index,
        /// Whether to load.
        guard: Option<ValueId>,
    },
}

/// The batch-reduce matrix multiply: for `i < m`, `j < n`,
/// `C[i, j] = (C[i, j] or +0) + Σ_k A[i, k] · B[k, j]`, `k` over all points of `reduce`.
///
/// Addresses, in elements: `A[i, k] = a.index + i * a.row + Σ_l k_l * reduce[l].a`,
/// `B[k, j] = b.index + j + Σ_l k_l * reduce[l].b`, `C[i, j] = c.index + i * c.row + j`.
/// Blocks of registers, unrolling and masks are the emitter's business: they do not change bits.
#[derive(Clone, PartialEq, Debug)]
pub struct Tile {
    /// Element type: `f32` or `f64`.
    pub dtype: DType,
    /// Rows of C.
    pub m: usize,
    /// Columns of C, contiguous in B and C.
    pub n: usize,
    /// Reduction loops, outermost first.
    pub reduce: Vec<TileLoop>,
    /// The left operand.
    pub a: Panel,
    /// The right operand; `row` is unused and 0. In a tile of `f32` its parameter may hold `bf16`, whose elements are
    /// widened as they are read: the bits are those of the same numbers in `f32`.
    pub b: Panel,
    /// The result.
    pub c: Panel,
    /// Whether chains start from +0 (else from what C holds).
    pub zero: bool,
}

/// One reduction loop of a tile.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TileLoop {
    /// Number of iterations.
    pub extent: usize,
    /// Stride in A.
    pub a: i64,
    /// Stride in B.
    pub b: i64,
}

/// A matrix operand of a tile.
#[derive(Clone, PartialEq, Debug)]
pub struct Panel {
    /// The parameter, by position.
    pub param: usize,
    /// Element of the first row and column.
    pub index: Index,
    /// Elements between rows.
    pub row: i64,
}
