//! Expressions and constants.

use brolga_ir::DType;
use brolga_ir::index::Index;
use brolga_ir::program::{Expr, ValueId};
use brolga_ir::scalar::ScalarOp;

use super::writer::{Known, Writer, lane_bits};
use crate::wide::types::lane_code::{Define, Inst, Lane};

impl Writer<'_, '_> {
    /// A value, and whether it differs between the iterations of the strip.
    pub fn expr(&mut self, dtype: DType, expr: &Expr) -> Option<(Lane, bool)> {
        match expr {
            Expr::Constant(scalar) => Some((self.lanes.constant(lane_bits(*scalar)?), false)),
            Expr::Index(index) if dtype == DType::I64 && !self.is_narrow(index) => None,
            Expr::Index(index) if matches!(dtype, DType::I32 | DType::I64) => {
                Some((self.index(index)?, self.varies(index)))
            }
            Expr::Index(_) => None,
            Expr::Op(op, args) => self.operation(*op, dtype, args),
            Expr::Load { param, index, guard } => self.load(*param, index, *guard),
        }
    }

    fn operation(&mut self, op: ScalarOp, dtype: DType, args: &[ValueId]) -> Option<(Lane, bool)> {
        let args: Vec<Known> = args.iter().map(|&id| self.value(id)).collect::<Option<_>>()?;
        let lanes: Vec<Lane> = args.iter().map(|a| a.lane).collect();
        let operand = args[args.len() - 1].dtype;
        let operand = match narrow(op, operand, dtype)? {
            true => DType::I32,
            false => operand,
        };
        let op = if op == ScalarOp::Convert(DType::I64) { ScalarOp::Convert(DType::I32) } else { op };
        Some((self.lanes.op(op, operand, &lanes)?, args.iter().any(|a| a.varies)))
    }

    fn load(&mut self, param: usize, index: &Index, guard: Option<ValueId>) -> Option<(Lane, bool)> {
        let place = self.place(param, index)?;
        let guard = match guard {
            Some(id) => Some(self.value(id)?),
            None => None,
        };
        if place.dtype.size() < 4 && (place.index.is_some() || guard.is_some()) {
            return None;
        }
        if place.dtype == DType::Bf16 && !matches!(place.stride, 0 | 1) {
            return None;
        }
        let varies = place.stride != 0 || place.index.is_some() || guard.is_some_and(|g| g.varies);
        let load = Define::Load(place, guard.map(|g| g.lane));
        Some((self.lanes.define(load), varies))
    }

    /// The bits of a constant that is written in this leaf.
    pub fn constant(&self, lane: Lane) -> Option<u32> {
        self.head.iter().chain(&self.lanes.insts).find_map(|inst| match inst {
            Inst::Define(defined, Define::Constant(bits)) if *defined == lane => Some(*bits),
            _ => None,
        })
    }
}

/// Whether an operation has `i64` operands or results, which must be in the range of `i32`; `None` where the result
/// may leave it.
fn narrow(op: ScalarOp, operand: DType, result: DType) -> Option<bool> {
    use ScalarOp::*;
    match (operand, result) {
        (DType::I64, DType::I64) => matches!(op, Max | Min | Select | Convert(_)).then_some(true),
        (DType::I64, _) => matches!(op, Compare(_) | Convert(_)).then_some(true),
        (DType::I32 | DType::Bool | DType::U8, DType::I64) => matches!(op, Convert(_)).then_some(false),
        (_, DType::I64) => None,
        _ => Some(false),
    }
}
