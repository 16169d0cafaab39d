//! Adam and Adamax (Kingma & Ba 2015), AMSGrad (Reddi, Kale & Kumar 2018), NAdam (Dozat 2016), AdamW (Loshchilov &
//! Hutter 2019).

use super::optimizer::{L1, LR, Optimizer, ParameterUpdate, WEIGHT_DECAY, abs};
use super::schedule;
use crate::graph::ops::Ops;
use crate::graph::value::{Args, Built, Tensor};
use crate::signature::{Bounds, Parameter, Signature, flag, number, within};

const BETA1: Parameter = number("beta1", Bounds::BELOW_ONE).or(0.9);
const BETA2: Parameter = number("beta2", Bounds::BELOW_ONE).or(0.999);
const EPS: Parameter = within("eps", 0.0, 1.0).or(1e-8);

const PARAMETERS: [Parameter; 7] = [LR, BETA1, BETA2, EPS, flag("amsgrad", false), WEIGHT_DECAY, L1];

pub(super) const OPTIMIZERS: [Optimizer; 4] = [
    Optimizer {
        signature: Signature { name: "Adam", parameters: &PARAMETERS },
        lr: Some(1e-3),
        decoupled: false,
        update: adam,
    },
    Optimizer {
        signature: Signature { name: "AdamW", parameters: &PARAMETERS },
        lr: Some(1e-3),
        decoupled: true,
        update: adamw,
    },
    Optimizer {
        signature: Signature { name: "Adamax", parameters: &[LR, BETA1, BETA2, EPS, WEIGHT_DECAY, L1] },
        lr: Some(2e-3),
        decoupled: false,
        update: adamax,
    },
    Optimizer {
        signature: Signature {
            name: "NAdam",
            parameters: &[
                LR,
                BETA1,
                BETA2,
                EPS,
                number("momentum_decay", Bounds::NOT_NEGATIVE).or(4e-3),
                WEIGHT_DECAY,
                L1,
            ],
        },
        lr: Some(2e-3),
        decoupled: false,
        update: nadam,
    },
];

struct Betas {
    beta1: f64,
    beta2: f64,
    eps: f64,
}

fn betas(args: &Args) -> Built<Betas> {
    Ok(Betas {
        beta1: args.float_or("beta1", 0.9)?,
        beta2: args.float_or("beta2", 0.999)?,
        eps: args.float_or("eps", 1e-8)?,
    })
}

/// The two running averages, updated.
fn averages(cx: &mut ParameterUpdate, betas: &Betas) -> Built<(Tensor, Tensor)> {
    let (mean, square) = (cx.slot("exp_avg", 0.0)?, cx.slot("exp_avg_sq", 0.0)?);
    let mean = cx.lerp(mean, cx.gradient, betas.beta1)?;
    let square = cx.average_square(square, cx.gradient, betas.beta2)?;
    cx.remember("exp_avg", mean);
    cx.remember("exp_avg_sq", square);
    Ok((mean, square))
}

/// `p -= lr / (1 - beta1^t) m / (sqrt v / sqrt(1 - beta2^t) + eps)`.
fn adam_from(cx: &mut ParameterUpdate, args: &Args, parameter: Tensor) -> Built {
    let betas = betas(args)?;
    let (mean, mut square) = averages(cx, &betas)?;
    if args.bool_or("amsgrad", false)? {
        let largest = cx.slot("max_exp_avg_sq", 0.0)?;
        square = cx.ops().max(largest, square)?;
        cx.remember("max_exp_avg_sq", square);
    }
    let correction1 = cx.bias_correction(betas.beta1)?;
    let correction2 = cx.bias_correction(betas.beta2)?;
    let lr = cx.lr;
    let mut ops = cx.ops();
    let rate = ops.div(lr, correction1)?;
    let correction2 = ops.sqrt(correction2)?;
    let root = ops.sqrt(square)?;
    let correction2 = cx.narrow(correction2)?;
    let mut ops = cx.ops();
    let root = ops.div(root, correction2)?;
    let root = ops.add_num(root, betas.eps)?;
    let direction = ops.div(mean, root)?;
    cx.descend(parameter, rate, direction)
}

fn adam(cx: &mut ParameterUpdate, args: &Args) -> Built {
    let parameter = cx.parameter;
    adam_from(cx, args, parameter)
}

/// Adam on `p (1 - lr weight_decay)`.
fn adamw(cx: &mut ParameterUpdate, args: &Args) -> Built {
    let (parameter, lr, decay) = (cx.parameter, cx.lr, cx.decay);
    if decay == 0.0 {
        return adam_from(cx, args, parameter);
    }
    let mut ops = cx.ops();
    let shrink = ops.mul_num(lr, decay)?;
    let shrink = ops.num_sub(1.0, shrink)?;
    let shrink = cx.narrow(shrink)?;
    let parameter = cx.ops().mul(parameter, shrink)?;
    adam_from(cx, args, parameter)
}

/// `u = max(beta2 u, |g| + eps); p -= lr / (1 - beta1^t) m / u`.
fn adamax(cx: &mut ParameterUpdate, args: &Args) -> Built {
    let betas = betas(args)?;
    let (mean, largest) = (cx.slot("exp_avg", 0.0)?, cx.slot("exp_inf", 0.0)?);
    let (parameter, gradient, lr) = (cx.parameter, cx.gradient, cx.lr);
    let mean = cx.lerp(mean, gradient, betas.beta1)?;
    let correction = cx.bias_correction(betas.beta1)?;
    let mut ops = cx.ops();
    let kept = ops.mul_num(largest, betas.beta2)?;
    let size = abs(&mut ops, gradient)?;
    let size = ops.add_num(size, betas.eps)?;
    let largest = ops.max(kept, size)?;
    let rate = ops.div(lr, correction)?;
    let direction = ops.div(mean, largest)?;
    cx.remember("exp_avg", mean);
    cx.remember("exp_inf", largest);
    cx.descend(parameter, rate, direction)
}

/// `beta1 (1 - 0.96^(t decay) / 2)`
fn momentum(ops: &mut Ops, time: Tensor, beta1: f64, decay: f64) -> Built {
    let exponent = ops.mul_num(time, decay)?;
    let power = schedule::power(ops, 0.96, exponent)?;
    let half = ops.mul_num(power, 0.5)?;
    let rest = ops.num_sub(1.0, half)?;
    ops.mul_num(rest, beta1)
}

/// Adam with Nesterov momentum; the momentum of step t is `mu_t = beta1 (1 - 0.96^(t decay) / 2)`.
fn nadam(cx: &mut ParameterUpdate, args: &Args) -> Built {
    let betas = betas(args)?;
    let decay = args.float_or("momentum_decay", 4e-3)?;
    let (mean, square) = averages(cx, &betas)?;
    let product = cx.scalar_slot("mu_product", 1.0)?;
    let correction2 = cx.bias_correction(betas.beta2)?;
    let (parameter, gradient, lr, time) = (cx.parameter, cx.gradient, cx.lr, cx.time);
    let mut ops = cx.ops();
    let now = momentum(&mut ops, time, betas.beta1, decay)?;
    let after = ops.add_num(time, 1.0)?;
    let next = momentum(&mut ops, after, betas.beta1, decay)?;
    let product = ops.mul(product, now)?;
    let product_next = ops.mul(product, next)?;
    // lr (1 - mu_t) / (1 - product_t) for the gradient, lr mu_{t+1} / (1 - product_{t+1}) for the mean.
    let rest = ops.num_sub(1.0, now)?;
    let scaled = ops.mul(lr, rest)?;
    let rest = ops.num_sub(1.0, product)?;
    let rate = ops.div(scaled, rest)?;
    let scaled = ops.mul(lr, next)?;
    let rest = ops.num_sub(1.0, product_next)?;
    let rate_mean = ops.div(scaled, rest)?;
    let correction2 = cx.narrow(correction2)?;
    let mut ops = cx.ops();
    let root = ops.div(square, correction2)?;
    let root = ops.sqrt(root)?;
    let root = ops.add_num(root, betas.eps)?;
    let by_gradient = ops.div(gradient, root)?;
    let by_mean = ops.div(mean, root)?;
    cx.remember("mu_product", product);
    let parameter = cx.descend(parameter, rate, by_gradient)?;
    cx.descend(parameter, rate_mean, by_mean)
}
