//! The initial state.

use brolga_ir::graph::Graph;
use brolga_ir::ops::Role;
use brolga_ir::scalar::{Comparison, Function, ScalarOp};
use brolga_ir::{DType, Type};

use super::init::Init;
use super::ops::{GraphBuilder, Ops};
use super::state::{Slot, SlotKind};
use super::value::{Built, Fault, Tensor};
use crate::source::{Source, Span};

/// The graph that makes the initial state from the input `seed`, an `i64[]`. The state `seed` itself is the caller's
/// to set.
pub(crate) fn init_graph(slots: &[Slot]) -> Result<Graph, Fault> {
    let mut graph = GraphBuilder::new("init", DType::F32);
    let seed = graph.graph.add_parameter("seed", Role::Data, Type::scalar(DType::I64));
    let source = Source::new("init", "");
    for slot in slots.iter().filter(|slot| slot.kind != SlotKind::Seed) {
        graph.graph.add_parameter(&slot.name, Role::State, slot.ty.clone());
        graph.enter(&slot.name, &source, Span::default());
        let value = initial(&mut Ops::new(&mut graph), slot, &slot.init, seed)?;
        graph.graph.add_output(&slot.name, Role::State, value);
    }
    Ok(graph.graph)
}

fn initial(ops: &mut Ops, slot: &Slot, init: &Init, seed: Tensor) -> Built {
    let ty = &slot.ty;
    match *init {
        Init::Constant(value) => ops.full(value, ty),
        Init::Table(_) => ops.full(0.0, ty),
        Init::Uniform { low, high } => {
            let uniform = ops.uniform(seed, None, &format!("init.{}", slot.name), ty)?;
            let scaled = ops.mul_num(uniform, high - low)?;
            ops.add_num(scaled, low)
        }
        Init::Normal { mean, std } => {
            let normal = ops.normal(seed, None, &format!("init.{}", slot.name), ty)?;
            let scaled = ops.mul_num(normal, std)?;
            ops.add_num(scaled, mean)
        }
        Init::TruncatedNormal { std } => truncated_normal(ops, slot, std, seed),
        Init::Identity { gain } => identity(ops, ty, gain),
        Init::ZeroRow { row, ref others } => {
            let others = initial(ops, slot, others, seed)?;
            let rows = ops.b.iota(DType::I64, &ty.dims, 0)?;
            let row = ops.int_scalar(row as i64, DType::I64)?;
            let empty = ops.compare(Comparison::Eq, rows, row)?;
            let zero = ops.b.zeros_like(others)?;
            ops.select(empty, zero, others)
        }
    }
}

/// The inverse of the distribution, applied between its values at -2 and 2 standard deviations.
fn truncated_normal(ops: &mut Ops, slot: &Slot, std: f64, seed: Tensor) -> Built {
    let uniform = ops.uniform(seed, None, &format!("init.{}", slot.name), &slot.ty)?;
    let edge = 0.954_499_736_103_641_6; // erf(sqrt 2)
    let centred = ops.mul_num(uniform, 2.0 * edge)?;
    let centred = ops.sub_num(centred, edge)?;
    let inverse = ops.function(Function::ErfInv, centred)?;
    ops.mul_num(inverse, std * std::f64::consts::SQRT_2)
}

/// `gain` where the first two indices are equal and the others are at the centre.
fn identity(ops: &mut Ops, ty: &Type, gain: f64) -> Built {
    let mut here = ops.full(1.0, &ty.with_dtype(DType::Bool))?;
    let counts = ty.with_dtype(DType::I32);
    let mut iotas = Vec::new();
    for axis in 0..ty.rank() {
        iotas.push(ops.b.iota(DType::I32, &counts.dims, axis)?);
    }
    if let [rows, columns, ..] = iotas[..] {
        here = ops.compare(Comparison::Eq, rows, columns)?;
    }
    for (axis, &iota) in iotas.iter().enumerate().skip(2) {
        let centre = ops.compare_num(Comparison::Eq, iota, ((ty.dims[axis] - 1) / 2) as f64)?;
        here = ops.elementwise2(ScalarOp::And, here, centre)?;
    }
    let float = ops.convert(here, ty.dtype)?;
    ops.mul_num(float, gain)
}
