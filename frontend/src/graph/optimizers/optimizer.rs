//! What an optimiser is, and what all of them need: a parameter's update, its memory, and decay.

use brolga_ir::scalar::ScalarOp;
use brolga_ir::{DType, Type};

use super::schedule;
use crate::graph::builder::Builder;
use crate::graph::init::Init;
use crate::graph::ops::Ops;
use crate::graph::state::SlotKind;
use crate::graph::value::{Args, Built, Tensor};
use crate::signature::{Bounds, Parameter, Signature, call, number};

/// An optimiser of the model language.
#[derive(Debug)]
pub(crate) struct Optimizer {
    pub signature: Signature,
    /// The learning rate where none is given; `None` requires one.
    pub lr: Option<f64>,
    /// Weight decay is not added to the gradient but taken by `update` itself.
    pub decoupled: bool,
    pub update: fn(&mut ParameterUpdate, &Args) -> Built,
}

/// The learning rate: a number or a schedule.
pub(super) const LR: Parameter = call("lr", &schedule::RATE_SCHEDULES, Bounds::NOT_NEGATIVE, false);
pub(super) const WEIGHT_DECAY: Parameter = number("weight_decay", Bounds::NOT_NEGATIVE).or(0.0);
pub(super) const L1: Parameter = number("l1", Bounds::NOT_NEGATIVE).or(0.0);

/// The update of one parameter.
pub(crate) struct ParameterUpdate<'u, 'a> {
    pub builder: &'u mut Builder<'a>,
    pub name: &'u str,
    /// What stands between `optim.` and the slot in the names of its memory: empty, `train.` or `train.2.` (`entry/memory.rs`).
    pub scope: String,
    pub parameter: Tensor,
    /// Clipped, and with coupled weight decay added.
    pub gradient: Tensor,
    /// `f64[]`, this parameter's own.
    pub lr: Tensor,
    /// `f64[]`, the number of this update of the optimiser, from 1.
    pub time: Tensor,
    /// Decoupled weight decay.
    pub decay: f64,
}

impl ParameterUpdate<'_, '_> {
    pub fn ops(&mut self) -> Ops<'_> {
        self.builder.ops()
    }

    fn slot_name(&self, slot: &str) -> String {
        format!("optim.{}{slot}.{}", self.scope, self.name)
    }

    /// The optimiser's memory of this parameter, with the parameter's type.
    pub fn slot(&mut self, slot: &str, initial: f64) -> Built {
        let parameter = self.parameter;
        let ty = self.ops().ty(parameter);
        self.typed_slot(slot, ty, initial)
    }

    /// A scalar memory, in f64.
    pub fn scalar_slot(&mut self, slot: &str, initial: f64) -> Built {
        self.typed_slot(slot, Type::scalar(DType::F64), initial)
    }

    fn typed_slot(&mut self, slot: &str, ty: Type, initial: f64) -> Built {
        let name = self.slot_name(slot);
        self.builder.state(&name, ty, SlotKind::Optimizer, Init::Constant(initial))
    }

    /// The memory becomes `value`.
    pub fn remember(&mut self, slot: &str, value: Tensor) {
        let name = self.slot_name(slot);
        self.builder.slots.set(&name, value);
    }

    /// An `f64` scalar with the parameter's element type, so that it combines with tensors.
    pub fn narrow(&mut self, scalar: Tensor) -> Built {
        let parameter = self.parameter;
        let dtype = self.ops().dtype(parameter);
        self.ops().convert(scalar, dtype)
    }

    /// `average + (1 - keep) (value - average)`, as PyTorch's `lerp_` computes it.
    pub fn lerp(&mut self, average: Tensor, value: Tensor, keep: f64) -> Built {
        let mut ops = self.ops();
        let difference = ops.sub(value, average)?;
        // PyTorch takes the form that is exact at the nearer end.
        if 1.0 - keep < 0.5 {
            let change = ops.mul_num(difference, 1.0 - keep)?;
            ops.add(average, change)
        } else {
            let change = ops.mul_num(difference, keep)?;
            ops.sub(value, change)
        }
    }

    /// `keep average + (1 - keep) value²`.
    pub fn average_square(&mut self, average: Tensor, value: Tensor, keep: f64) -> Built {
        let mut ops = self.ops();
        let kept = ops.mul_num(average, keep)?;
        let scaled = ops.mul_num(value, 1.0 - keep)?;
        let square = ops.mul(scaled, value)?;
        ops.add(kept, square)
    }

    /// `parameter - rate direction`, `rate` an `f64` scalar.
    pub fn descend(&mut self, parameter: Tensor, rate: Tensor, direction: Tensor) -> Built {
        let rate = self.narrow(rate)?;
        let mut ops = self.ops();
        let change = ops.mul(direction, rate)?;
        ops.sub(parameter, change)
    }

    /// `1 - base^time` as `f64`.
    pub fn bias_correction(&mut self, base: f64) -> Built {
        let time = self.time;
        let mut ops = self.ops();
        let power = schedule::power(&mut ops, base, time)?;
        ops.num_sub(1.0, power)
    }
}

/// Adds coupled decay to a gradient: `gradient + weight_decay parameter + l1 sign(parameter)`.
pub(crate) fn add_decay(ops: &mut Ops, gradient: Tensor, parameter: Tensor, l2: f64, l1: f64) -> Built {
    let mut gradient = gradient;
    if l2 != 0.0 {
        let decay = ops.mul_num(parameter, l2)?;
        gradient = ops.add(gradient, decay)?;
    }
    if l1 != 0.0 {
        let sign = ops.b.sign(parameter)?;
        let decay = ops.mul_num(sign, l1)?;
        gradient = ops.add(gradient, decay)?;
    }
    Ok(gradient)
}

/// `|x|`
pub(super) fn abs(ops: &mut Ops, x: Tensor) -> Built {
    ops.elementwise(ScalarOp::Abs, x)
}
