//! Long sums by computed indices: of `f32` they are formed in `f64`.
//!
//! `scatter_add` adds one update after the other, so an element that many of them meet, the row of a frequent word, is a chain
//! whose error grows with its length. Where there are more than 256 updates, sums are formed in `f64` and rounded once:
//!
//! - In a base of `f64`, if it has no more rows than there are updates.
//! - Else (a large vocabulary) in as many rows as there are updates. Equal indices share the row of the last of them; each
//!   such row is then added to that of the base.
//!
//! Changes rounding, by the shapes alone. Linear in base and updates.

use brolga_ir::ops::{Op, Scatter, ScatterAlong, ScatterMode};
use brolga_ir::scalar::{Comparison, ScalarOp};
use brolga_ir::{Builder, DType, Graph, GraphError, NodeId, Type, Value};

use crate::facts::blocking::plan::UPDATES;
use crate::options::Options;
use crate::rewrite::rewriter::{Replacement, sweep_for};

type Built = Result<Value, GraphError>;

/// Rewrites long sums by indices.
pub fn accumulate(graph: &mut Graph, _: &Options) -> Result<bool, GraphError> {
    let of_kind = |op: &Op| matches!(op, Op::Scatter(_) | Op::ScatterAlong(_));
    sweep_for(graph, of_kind, &mut accumulate_node)
}

fn accumulate_node(graph: &mut Graph, id: NodeId) -> Replacement {
    let node = graph.node(id);
    let (axis, along) = match node.op {
        Op::Scatter(Scatter { axis, mode: ScatterMode::Add }) => (axis, false),
        Op::ScatterAlong(ScatterAlong { axis, mode: ScatterMode::Add }) => (axis, true),
        _ => return Ok(None),
    };
    let [base, indices, updates] = node.operands[..] else { return Ok(None) };
    let (ty, at) = (graph.ty(base), graph.ty(indices));
    let (extent, count) = (ty.dims[axis], if along { at.dims[axis] } else { at.elements() });
    if ty.dtype != DType::F32 || count <= UPDATES || i32::try_from(count).is_err() || ty.elements() == 0 {
        return Ok(None);
    }
    let origin = node.origin.clone();
    let b = &mut Builder::new(graph, origin);
    let sums = match (along, extent > count) {
        (false, true) => by_rows(b, [base, indices, updates], axis, DType::F64)?,
        (false, false) => {
            in_f64(b, [base, updates], |b, base, updates| b.scatter_add(base, indices, updates, axis))?
        }
        (true, _) => {
            in_f64(b, [base, updates], |b, base, updates| b.scatter_add_along(base, indices, updates, axis))?
        }
    };
    Ok(Some(vec![sums]))
}

/// What `build` makes of a base and updates as `f64`, rounded.
fn in_f64(
    b: &mut Builder,
    [base, updates]: [Value; 2],
    build: impl Fn(&mut Builder, Value, Value) -> Built,
) -> Built {
    let (base, updates) = (b.convert(base, DType::F64)?, b.convert(updates, DType::F64)?);
    let sums = build(b, base, updates)?;
    b.convert(sums, DType::F32)
}

/// Scatters sums into a base: in a row of type `wide` for each update, of which equal indices use one, which is then added to that
/// of the base. The result is a `scatter_set`, in which every index occurs once, or is outside.
pub(super) fn by_rows(
    b: &mut Builder,
    [base, indices, updates]: [Value; 3],
    axis: usize,
    wide: DType,
) -> Built {
    let (dims, narrow) = (b.dims(base), b.ty(base).dtype);
    let count = b.ty(indices).elements();
    let rows = Type::new(wide, [&dims[..axis], &[count], &dims[axis + 1..]].concat());
    let indices = b.reshape(indices, &[count])?;
    let updates = b.reshape(updates, &rows.dims)?;
    let own = b.iota(DType::I32, &[count], 0)?;
    let nobody = b.full(-1.0, &Type::new(DType::I32, [dims[axis]]))?;
    let last = b.scatter_set(nobody, indices, own, 0)?;
    let row = b.gather(last, indices, 0)?;
    // Updates outside of the base are dropped.
    let (first, end) = (b.zeros_like(indices)?, b.full_like(indices, dims[axis] as f64)?);
    let (from, to) = (b.compare(Comparison::Ge, indices, first)?, b.compare(Comparison::Lt, indices, end)?);
    let inside = b.elementwise(ScalarOp::And, &[from, to])?;
    let none = b.full_like(row, -1.0)?;
    let row = b.select(inside, row, none)?;

    let updates = b.convert(updates, wide)?;
    let zeros = b.full(0.0, &rows)?;
    let sums = b.scatter_add(zeros, row, updates, axis)?;
    let sums = b.convert(sums, narrow)?;

    let leads = b.compare(Comparison::Eq, row, own)?;
    let nowhere = b.full_like(indices, -1.0)?;
    let leading = b.select(leads, indices, nowhere)?;
    let old = b.gather(base, indices, axis)?;
    let new = b.add(old, sums)?;
    b.scatter_set(base, leading, new, axis)
}
