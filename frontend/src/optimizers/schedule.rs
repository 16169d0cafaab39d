//! Learning-rate schedules: functions of the step, computed in f64 inside the graph.
//!
//! `t` is the number of updates done before this one. Steps are updates, not epochs.

use brolga_ir::DType;
use brolga_ir::scalar::{Comparison, Function, ScalarOp};

use crate::arguments::{
    Bounds, LARGEST, Parameter, call, calls, number, optional, required, required_number, size, within,
};
use crate::build::ops::Ops;
use crate::build::value::{Args, Built, Fault, Tensor};

const INITIAL: Parameter = required_number("initial", Bounds::NOT_NEGATIVE);
const STEPS: Parameter = required_number("steps", Bounds::FROM_ONE);
const FACTOR: Parameter = number("factor", Bounds::NOT_NEGATIVE);
const POWER: Parameter = number("power", Bounds::NOT_NEGATIVE);
const LAST: Parameter = number("last", Bounds::NOT_NEGATIVE);

calls! {
    /// All schedules.
    pub(crate) enum Schedule in SCHEDULES {
        Constant: &[INITIAL],
        Step: &[INITIAL, size("every"), FACTOR],
        MultiStep: &[INITIAL, required("at"), FACTOR],
        Exponential: &[INITIAL, required_number("factor", Bounds::NOT_NEGATIVE)],
        Cosine: &[INITIAL, STEPS, LAST, optional("restart")],
        Inverse: &[INITIAL, required_number("rate", Bounds::NOT_NEGATIVE), POWER],
        Poly: &[INITIAL, STEPS, POWER, LAST],
        Noam: &[
            required_number("width", Bounds::FROM_ONE),
            required_number("warmup", Bounds::FROM_ONE),
            FACTOR,
        ],
        Cyclic: &[
            required_number("low", Bounds::NOT_NEGATIVE),
            required_number("high", Bounds::NOT_NEGATIVE),
            required_number("half", Bounds::FROM_ONE),
        ],
        Warmup: &WARMUP,
    }
}

static WARMUP: [Parameter; 3] = [STEPS, call("then", &SCHEDULES, true), within("first", 0.0, 1.0)];

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

fn schedule(ops: &mut Ops, kind: Schedule, args: &Args, time: Tensor) -> Built {
    let given = |name: &str| args.float_or(name, 1.0);
    let initial = || given("initial");
    match kind {
        Schedule::Constant => ops.scalar(initial()?, DType::F64),
        Schedule::Step => {
            // initial factor^floor(t / every)
            let periods = ops.div_num(time, args.size("every")?.get()? as f64)?;
            let periods = ops.elementwise(ScalarOp::Floor, periods)?;
            let factor = power(ops, args.float_or("factor", 0.1)?, periods)?;
            ops.mul_num(factor, initial()?)
        }
        Schedule::MultiStep => {
            let factor = args.float_or("factor", 0.1)?;
            let mut rate = ops.scalar(initial()?, DType::F64)?;
            let milestones = args.floats("at")?.unwrap_or_default();
            if !milestones.is_sorted() || milestones.first().is_some_and(|&first| first < 0.0) {
                return Err(
                    args.fault("at", "`at` must name numbers of updates from 0 on, in ascending order")
                );
            }
            for at in milestones {
                let later = ops.mul_num(rate, factor)?;
                let passed = ops.compare_num(Comparison::Ge, time, at)?;
                rate = ops.select(passed, later, rate)?;
            }
            Ok(rate)
        }
        Schedule::Exponential => {
            let factor = power(ops, args.float_or("factor", 1.0)?, time)?;
            ops.mul_num(factor, initial()?)
        }
        Schedule::Cosine => {
            // last + (initial - last) (1 + cos(pi t / steps)) / 2, Loshchilov & Hutter 2017
            let (initial, steps, last) = (initial()?, given("steps")?, args.float_or("last", 0.0)?);
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
        Schedule::Inverse => {
            // initial / (1 + rate t)^power
            let grown = ops.mul_num(time, args.float_or("rate", 0.0)?)?;
            let mut grown = ops.add_num(grown, 1.0)?;
            let exponent = args.float_or("power", 1.0)?;
            if exponent != 1.0 {
                let exponent = ops.scalar(exponent, DType::F64)?;
                grown = ops.b.elementwise(ScalarOp::Function(Function::Pow), &[grown, exponent])?;
            }
            let initial = ops.scalar(initial()?, DType::F64)?;
            ops.div(initial, grown)
        }
        Schedule::Poly => {
            // last + (initial - last) (1 - t / steps)^power
            let (initial, last) = (initial()?, args.float_or("last", 0.0)?);
            let share = ops.div_num(time, given("steps")?)?;
            let share = ops.min_num(share, 1.0)?;
            let mut rest = ops.num_sub(1.0, share)?;
            let exponent = args.float_or("power", 1.0)?;
            if exponent != 1.0 {
                let exponent = ops.scalar(exponent, DType::F64)?;
                rest = ops.b.elementwise(ScalarOp::Function(Function::Pow), &[rest, exponent])?;
            }
            let change = ops.mul_num(rest, initial - last)?;
            ops.add_num(change, last)
        }
        Schedule::Noam => {
            // factor width^-1/2 min(n^-1/2, n warmup^-3/2), n = t + 1, Vaswani et al. 2017
            let n = ops.add_num(time, 1.0)?;
            let falling = ops.function(Function::Rsqrt, n)?;
            let rising = ops.mul_num(n, given("warmup")?.powf(-1.5))?;
            let rate = ops.min(falling, rising)?;
            ops.mul_num(rate, args.float_or("factor", 1.0)? * given("width")?.powf(-0.5))
        }
        Schedule::Cyclic => {
            // The triangle of Smith 2017: from low to high in `half` steps, and back.
            let (low, high) = (args.float_or("low", 0.0)?, args.float_or("high", 0.0)?);
            let x = ops.div_num(time, 2.0 * given("half")?)?;
            let floor = ops.elementwise(ScalarOp::Floor, x)?;
            let phase = ops.sub(x, floor)?;
            let centred = ops.mul_num(phase, 2.0)?;
            let centred = ops.sub_num(centred, 1.0)?;
            let distance = ops.elementwise(ScalarOp::Abs, centred)?;
            let height = ops.num_sub(1.0, distance)?;
            let change = ops.mul_num(height, high - low)?;
            ops.add_num(change, low)
        }
        Schedule::Warmup => {
            // From `first` (a share of the rate) linearly to the whole rate; then the schedule, from its start.
            let steps = given("steps")?;
            let first = args.float_or("first", 0.0)?;
            let later = ops.sub_num(time, steps)?;
            let later = ops.max_num(later, 0.0)?;
            let full = rate(ops, args, "then", None, later)?;
            let share = ops.div_num(time, steps)?;
            let share = ops.min_num(share, 1.0)?;
            let share = ops.mul_num(share, 1.0 - first)?;
            let share = ops.add_num(share, first)?;
            ops.mul(full, share)
        }
    }
}
