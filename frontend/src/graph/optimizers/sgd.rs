//! Stochastic gradient descent (Robbins & Monro 1951), with momentum (Polyak 1964) and Nesterov's form (1983;
//! Sutskever et al. 2013).

use brolga_ir::scalar::Comparison;

use super::optimizer::{L1, LR, Optimizer, ParameterUpdate, WEIGHT_DECAY};
use crate::graph::value::{Args, Built};
use crate::signature::{Signature, flag, within};

pub(super) const OPTIMIZERS: [Optimizer; 1] = [Optimizer {
    signature: Signature {
        name: "Sgd",
        parameters: &[
            LR,
            within("momentum", 0.0, 1.0).or(0.0),
            flag("nesterov", false),
            within("dampening", 0.0, 1.0).or(0.0),
            WEIGHT_DECAY,
            L1,
        ],
    },
    lr: None,
    decoupled: false,
    update: sgd,
}];

/// `b = momentum b + (1 - dampening) g; p -= lr b`; Nesterov: `p -= lr (g + momentum b)`.
fn sgd(cx: &mut ParameterUpdate, args: &Args) -> Built {
    let momentum = args.float_or("momentum", 0.0)?;
    let (parameter, lr, mut direction) = (cx.parameter, cx.lr, cx.gradient);
    if momentum != 0.0 {
        let dampening = args.float_or("dampening", 0.0)?;
        let nesterov = args.bool_or("nesterov", false)?;
        if nesterov && dampening != 0.0 {
            return Err(args.fault("nesterov", "`nesterov` momentum is defined without `dampening`"));
        }
        let buffer = cx.slot("momentum_buffer", 0.0)?;
        let (gradient, time) = (cx.gradient, cx.time);
        let mut ops = cx.ops();
        let kept = ops.mul_num(buffer, momentum)?;
        let damped = ops.mul_num(gradient, 1.0 - dampening)?;
        let mut next = ops.add(kept, damped)?;
        if dampening != 0.0 {
            // The first gradient is not damped.
            let first = ops.compare_num(Comparison::Le, time, 1.0)?;
            next = ops.select(first, gradient, next)?;
        }
        direction = next;
        if nesterov {
            let ahead = ops.mul_num(next, momentum)?;
            direction = ops.add(gradient, ahead)?;
        }
        cx.remember("momentum_buffer", next);
    }
    cx.descend(parameter, lr, direction)
}
