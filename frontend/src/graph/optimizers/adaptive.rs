//! Adagrad (Duchi, Hazan & Singer 2011), Adadelta (Zeiler 2012), RMSProp (Tieleman & Hinton 2012), Rprop
//! (Riedmiller & Braun 1993).

use brolga_ir::scalar::Comparison;

use super::optimizer::{L1, LR, Optimizer, ParameterUpdate, WEIGHT_DECAY};
use crate::graph::value::{Args, Built};
use crate::signature::{Bounds, Signature, flag, number, within};

pub(super) const OPTIMIZERS: [Optimizer; 4] = [
    Optimizer {
        signature: Signature {
            name: "Adagrad",
            parameters: &[
                LR,
                number("lr_decay", Bounds::NOT_NEGATIVE).or(0.0),
                number("initial", Bounds::NOT_NEGATIVE).or(0.0),
                within("eps", 0.0, 1.0).or(1e-10),
                WEIGHT_DECAY,
                L1,
            ],
        },
        lr: Some(0.01),
        decoupled: false,
        update: adagrad,
    },
    Optimizer {
        signature: Signature {
            name: "Adadelta",
            parameters: &[
                LR,
                within("rho", 0.0, 1.0).or(0.9),
                within("eps", 0.0, 1.0).or(1e-6),
                WEIGHT_DECAY,
                L1,
            ],
        },
        lr: Some(1.0),
        decoupled: false,
        update: adadelta,
    },
    Optimizer {
        signature: Signature {
            name: "RmsProp",
            parameters: &[
                LR,
                within("alpha", 0.0, 1.0).or(0.99),
                within("momentum", 0.0, 1.0).or(0.0),
                flag("centered", false),
                within("eps", 0.0, 1.0).or(1e-8),
                WEIGHT_DECAY,
                L1,
            ],
        },
        lr: Some(0.01),
        decoupled: false,
        update: rmsprop,
    },
    Optimizer {
        signature: Signature {
            name: "Rprop",
            parameters: &[
                LR,
                number("shrink", Bounds::SHRINKING).or(0.5),
                number("grow", Bounds::GROWING).or(1.2),
                number("smallest", Bounds::NOT_NEGATIVE).or(1e-6),
                number("largest", Bounds::NOT_NEGATIVE).or(50.0),
            ],
        },
        lr: Some(0.01),
        decoupled: false,
        update: rprop,
    },
];

/// `s += g²; p -= lr / (1 + (t - 1) lr_decay) g / (sqrt s + eps)`.
fn adagrad(cx: &mut ParameterUpdate, args: &Args) -> Built {
    let lr_decay = args.float_or("lr_decay", 0.0)?;
    let eps = args.float_or("eps", 1e-10)?;
    let sum = cx.slot("sum", args.float_or("initial", 0.0)?)?;
    let (parameter, gradient, time, mut lr) = (cx.parameter, cx.gradient, cx.time, cx.lr);
    let mut ops = cx.ops();
    if lr_decay != 0.0 {
        let before = ops.sub_num(time, 1.0)?;
        let slower = ops.mul_num(before, lr_decay)?;
        let slower = ops.add_num(slower, 1.0)?;
        lr = ops.div(lr, slower)?;
    }
    let square = ops.square(gradient)?;
    let next = ops.add(sum, square)?;
    let root = ops.sqrt(next)?;
    let root = ops.add_num(root, eps)?;
    let direction = ops.div(gradient, root)?;
    cx.remember("sum", next);
    cx.descend(parameter, lr, direction)
}

/// `s = rho s + (1 - rho) g²; d = sqrt(u + eps) / sqrt(s + eps) g; u = rho u + (1 - rho) d²; p -= lr d`.
fn adadelta(cx: &mut ParameterUpdate, args: &Args) -> Built {
    let rho = args.float_or("rho", 0.9)?;
    let eps = args.float_or("eps", 1e-6)?;
    let (square, delta) = (cx.slot("square_avg", 0.0)?, cx.slot("acc_delta", 0.0)?);
    let (parameter, gradient, lr) = (cx.parameter, cx.gradient, cx.lr);
    let next_square = cx.average_square(square, gradient, rho)?;
    let mut ops = cx.ops();
    let std = ops.add_num(next_square, eps)?;
    let std = ops.sqrt(std)?;
    let change = ops.add_num(delta, eps)?;
    let change = ops.sqrt(change)?;
    let change = ops.div(change, std)?;
    let change = ops.mul(change, gradient)?;
    let next_delta = cx.average_square(delta, change, rho)?;
    cx.remember("square_avg", next_square);
    cx.remember("acc_delta", next_delta);
    cx.descend(parameter, lr, change)
}

/// `s = alpha s + (1 - alpha) g²; p -= lr g / (sqrt s + eps)`; centred: the variance `s - mean²` under the root.
fn rmsprop(cx: &mut ParameterUpdate, args: &Args) -> Built {
    let alpha = args.float_or("alpha", 0.99)?;
    let eps = args.float_or("eps", 1e-8)?;
    let momentum = args.float_or("momentum", 0.0)?;
    let square = cx.slot("square_avg", 0.0)?;
    let (parameter, gradient, lr) = (cx.parameter, cx.gradient, cx.lr);
    let next = cx.average_square(square, gradient, alpha)?;
    cx.remember("square_avg", next);
    let mut variance = next;
    if args.bool_or("centered", false)? {
        let mean = cx.slot("grad_avg", 0.0)?;
        let mean = cx.lerp(mean, gradient, alpha)?;
        cx.remember("grad_avg", mean);
        let mut ops = cx.ops();
        let square = ops.square(mean)?;
        variance = ops.sub(variance, square)?;
    }
    let mut ops = cx.ops();
    let root = ops.sqrt(variance)?;
    let root = ops.add_num(root, eps)?;
    let mut direction = ops.div(gradient, root)?;
    if momentum != 0.0 {
        let buffer = cx.slot("momentum_buffer", 0.0)?;
        let mut ops = cx.ops();
        let kept = ops.mul_num(buffer, momentum)?;
        direction = ops.add(kept, direction)?;
        cx.remember("momentum_buffer", direction);
    }
    cx.descend(parameter, lr, direction)
}

/// A step size for every weight, grown where the gradient keeps its sign and shrunk where it turns.
fn rprop(cx: &mut ParameterUpdate, args: &Args) -> Built {
    let shrink = args.float_or("shrink", 0.5)?;
    let grow = args.float_or("grow", 1.2)?;
    let smallest = args.float_or("smallest", 1e-6)?;
    let largest = args.float_or("largest", 50.0)?;
    if smallest > largest {
        let message = format!("`smallest` must not be above `largest`, found {smallest:?} and {largest:?}");
        return Err(args.fault("smallest", message));
    }
    let (previous, size) = (cx.slot("prev", 0.0)?, cx.slot("step_size", 0.0)?);
    let lr = cx.narrow(cx.lr)?;
    let (parameter, gradient, time) = (cx.parameter, cx.gradient, cx.time);
    let mut ops = cx.ops();
    let first = ops.compare_num(Comparison::Le, time, 1.0)?;
    let size = ops.select(first, lr, size)?;
    let agreement = ops.mul(gradient, previous)?;
    let same = ops.compare_num(Comparison::Gt, agreement, 0.0)?;
    let turned = ops.compare_num(Comparison::Lt, agreement, 0.0)?;
    let (grown, shrunk) = (ops.mul_num(size, grow)?, ops.mul_num(size, shrink)?);
    let next = ops.select(turned, shrunk, size)?;
    let next = ops.select(same, grown, next)?;
    let next = ops.saturate(next, smallest, largest)?;
    // After a turn the gradient counts as zero: no step now, and no agreement next time.
    let zero = ops.b.zeros_like(gradient)?;
    let gradient = ops.select(turned, zero, gradient)?;
    let sign = ops.b.sign(gradient)?;
    let change = ops.mul(sign, next)?;
    let result = ops.sub(parameter, change)?;
    cx.remember("prev", gradient);
    cx.remember("step_size", next);
    Ok(result)
}
