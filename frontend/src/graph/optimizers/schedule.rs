//! Learning-rate schedules: functions of the step, computed in f64 inside the graph.
//!
//! `t` is the number of updates done before this one. Steps are updates, not epochs.

use brolga_ir::DType;
use brolga_ir::scalar::{Comparison, Function, ScalarOp};

use crate::graph::ops::Ops;
use crate::graph::value::{Args, Built, Fault, Tensor};
use crate::signature::{
    Bounds, LARGEST, Parameter, Rule, call, calls, flag, number, required_number, ruled, size, within,
};

const INITIAL: Parameter = required_number("initial", Bounds::NOT_NEGATIVE);
const STEPS: Parameter = required_number("steps", Bounds::FROM_ONE);
const FACTOR: Parameter = number("factor", Bounds::NOT_NEGATIVE).or(0.1);
const POWER: Parameter = number("power", Bounds::NOT_NEGATIVE).or(1.0);
const LAST: Parameter = number("last", Bounds::NOT_NEGATIVE).or(0.0);

calls! {
    /// All schedules.
    pub(crate) enum RateSchedule in RATE_SCHEDULES {
        Constant: &[INITIAL],
        Step: &[INITIAL, size("every"), FACTOR],
        MultiStep: &[INITIAL, ruled("at", Rule::Ascending, true), FACTOR],
        Exponential: &[INITIAL, required_number("factor", Bounds::NOT_NEGATIVE)],
        Cosine: &[INITIAL, STEPS, LAST, flag("restart", false)],
        Inverse: &[INITIAL, required_number("rate", Bounds::NOT_NEGATIVE), POWER],
        Poly: &[INITIAL, STEPS, POWER, LAST],
        Noam: &[
            required_number("width", Bounds::FROM_ONE),
            required_number("warmup", Bounds::FROM_ONE),
            FACTOR.or(1.0),
        ],
        Cyclic: &[
            required_number("low", Bounds::NOT_NEGATIVE),
            required_number("high", Bounds::NOT_NEGATIVE),
            required_number("half", Bounds::FROM_ONE),
        ],
        Warmup: &WARMUP,
    }
}

static WARMUP: [Parameter; 3] =
    [STEPS, call("then", &RATE_SCHEDULES, Bounds::NOT_NEGATIVE, true), within("first", 0.0, 1.0).or(0.0)];

/// `base^exponent` for a fixed base.
pub(crate) fn power(ops: &mut Ops, base: f64, exponent: Tensor) -> Built {
    let base = ops.scalar(base, DType::F64)?;
    Ok(ops.b.elementwise(ScalarOp::Function(Function::Pow), &[base, exponent])?)
}

/// The learning rate as `f64[]`: the argument `name` is a number or a schedule; `time` is `t` as `f64[]`.
pub(crate) fn rate(ops: &mut Ops, args: &Args, name: &str, default: Option<f64>, time: Tensor) -> Built {
    let Some((kind, given)) = args.call(name)? else {
        let value = match default {
            default if default.is_some() || args.has(name) => {
                args.float_in(name, default.unwrap_or(0.0), 0.0, LARGEST)?
            }
            _ => return Err(Fault::new(format!("the optimizer needs `{name}`, the learning rate"))),
        };
        return ops.scalar(value, DType::F64);
    };
    schedule(ops, kind, given, time)
}

fn schedule(ops: &mut Ops, kind: RateSchedule, args: &Args, time: Tensor) -> Built {
    match kind {
        RateSchedule::Constant => ops.scalar(given(args, "initial")?, DType::F64),
        RateSchedule::Step => step(ops, args, time),
        RateSchedule::MultiStep => multi_step(ops, args, time),
        RateSchedule::Exponential => {
            let factor = power(ops, given(args, "factor")?, time)?;
            ops.mul_num(factor, given(args, "initial")?)
        }
        RateSchedule::Cosine => cosine(ops, args, time),
        RateSchedule::Inverse => inverse(ops, args, time),
        RateSchedule::Poly => poly(ops, args, time),
        RateSchedule::Noam => noam(ops, args, time),
        RateSchedule::Cyclic => cyclic(ops, args, time),
        RateSchedule::Warmup => warmup(ops, args, time),
    }
}

/// A number that is required, so the default is never used.
fn given(args: &Args, name: &str) -> Built<f64> {
    args.float_or(name, 1.0)
}

/// The base to the argument `power`.
fn to_power(ops: &mut Ops, args: &Args, base: Tensor) -> Built {
    let exponent = args.float_or("power", 1.0)?;
    if exponent == 1.0 {
        return Ok(base);
    }
    let exponent = ops.scalar(exponent, DType::F64)?;
    Ok(ops.b.elementwise(ScalarOp::Function(Function::Pow), &[base, exponent])?)
}

/// min(t / steps, 1)
fn share(ops: &mut Ops, args: &Args, time: Tensor) -> Built {
    let share = ops.div_num(time, given(args, "steps")?)?;
    ops.min_num(share, 1.0)
}

/// initial factor^floor(t / every)
fn step(ops: &mut Ops, args: &Args, time: Tensor) -> Built {
    let periods = ops.div_num(time, args.size("every")?.get()? as f64)?;
    let periods = ops.elementwise(ScalarOp::Floor, periods)?;
    let factor = power(ops, args.float_or("factor", 0.1)?, periods)?;
    ops.mul_num(factor, given(args, "initial")?)
}

/// initial, times factor from each of the milestones on.
fn multi_step(ops: &mut Ops, args: &Args, time: Tensor) -> Built {
    let factor = args.float_or("factor", 0.1)?;
    let milestones = args.ascending("at")?;
    let initial = given(args, "initial")?;
    if milestones.is_empty() {
        return ops.scalar(initial, DType::F64);
    }
    // A table of rates, by the number of milestones that have passed.
    let rates = milestones.iter().scan(initial, |rate, _| {
        *rate *= factor;
        Some(*rate)
    });
    let rates: Vec<f64> = std::iter::once(initial).chain(rates).collect();
    let rates = ops.constants(&rates, DType::F64)?;
    let at = ops.constants(&milestones, DType::F64)?;
    let time = ops.b.broadcast(time, &[milestones.len()], &[])?;
    let passed = ops.b.compare(Comparison::Ge, time, at)?;
    let passed = ops.convert(passed, DType::I64)?;
    let passed = ops.b.sum(passed, &[0])?;
    Ok(ops.b.gather(rates, passed, 0)?)
}

/// last + (initial - last) (1 + cos(pi t / steps)) / 2, Loshchilov & Hutter 2017
fn cosine(ops: &mut Ops, args: &Args, time: Tensor) -> Built {
    let (initial, steps, last) =
        (given(args, "initial")?, given(args, "steps")?, args.float_or("last", 0.0)?);
    let time = if args.bool_or("restart", false)? {
        let periods = ops.div_num(time, steps)?;
        let periods = ops.elementwise(ScalarOp::Floor, periods)?;
        let passed = ops.mul_num(periods, steps)?;
        ops.sub(time, passed)?
    } else {
        ops.min_num(time, steps)?
    };
    let angle = ops.mul_num(time, std::f64::consts::PI / steps)?;
    let cos = ops.function(Function::Cos, angle)?;
    let cos = ops.add_num(cos, 1.0)?;
    let change = ops.mul_num(cos, (initial - last) / 2.0)?;
    ops.add_num(change, last)
}

/// initial / (1 + rate t)^power
fn inverse(ops: &mut Ops, args: &Args, time: Tensor) -> Built {
    let grown = ops.mul_num(time, args.float_or("rate", 0.0)?)?;
    let grown = ops.add_num(grown, 1.0)?;
    let grown = to_power(ops, args, grown)?;
    let initial = ops.scalar(given(args, "initial")?, DType::F64)?;
    ops.div(initial, grown)
}

/// last + (initial - last) (1 - t / steps)^power
fn poly(ops: &mut Ops, args: &Args, time: Tensor) -> Built {
    let (initial, last) = (given(args, "initial")?, args.float_or("last", 0.0)?);
    let share = share(ops, args, time)?;
    let rest = ops.num_sub(1.0, share)?;
    let rest = to_power(ops, args, rest)?;
    let change = ops.mul_num(rest, initial - last)?;
    ops.add_num(change, last)
}

/// factor width^-1/2 min(n^-1/2, n warmup^-3/2), n = t + 1, Vaswani et al. 2017
fn noam(ops: &mut Ops, args: &Args, time: Tensor) -> Built {
    let n = ops.add_num(time, 1.0)?;
    let falling = ops.function(Function::Rsqrt, n)?;
    let rising = ops.mul_num(n, given(args, "warmup")?.powf(-1.5))?;
    let rate = ops.min(falling, rising)?;
    ops.mul_num(rate, args.float_or("factor", 1.0)? * given(args, "width")?.powf(-0.5))
}

/// The triangle of Smith 2017: from low to high in `half` steps, and back.
fn cyclic(ops: &mut Ops, args: &Args, time: Tensor) -> Built {
    let (low, high) = (args.float_or("low", 0.0)?, args.float_or("high", 0.0)?);
    let x = ops.div_num(time, 2.0 * given(args, "half")?)?;
    let floor = ops.elementwise(ScalarOp::Floor, x)?;
    let phase = ops.sub(x, floor)?;
    let centred = ops.mul_num(phase, 2.0)?;
    let centred = ops.sub_num(centred, 1.0)?;
    let distance = ops.elementwise(ScalarOp::Abs, centred)?;
    let height = ops.num_sub(1.0, distance)?;
    let change = ops.mul_num(height, high - low)?;
    ops.add_num(change, low)
}

/// From `first` (a share of the rate) linearly to the whole rate; then the schedule, from its start.
fn warmup(ops: &mut Ops, args: &Args, time: Tensor) -> Built {
    let steps = given(args, "steps")?;
    let first = args.float_or("first", 0.0)?;
    let later = ops.sub_num(time, steps)?;
    let later = ops.max_num(later, 0.0)?;
    let full = rate(ops, args, "then", None, later)?;
    let share = share(ops, args, time)?;
    let share = ops.mul_num(share, 1.0 - first)?;
    let share = ops.add_num(share, first)?;
    ops.mul(full, share)
}
