//! Recurrent layers, which are loops over axis 1, and their cells. Parameters are named and shaped as in PyTorch's `RNN`, `LSTM`, `GRU`
//! and their cells.

mod step;

use brolga_ir::DType;

use self::step::{Bend, Reset, Unit, Weights};
use super::layer::{Layer, expect_rank, input};
use super::random::dropped;
use crate::graph::arguments::tensor;
use crate::graph::builder::Builder;
use crate::graph::ops::Ops;
use crate::graph::value::{Args, Built, Tensor, Val};
use crate::signature::{Parameter, Rule, Signature, flag, optional, ruled, size, within, word};

const LAYERS_OF: Parameter = ruled("layers", Rule::Size, false).or_int(1);
const BOTH: Parameter = flag("bidirectional", false);
const DROPOUT: Parameter = within("dropout", 0.0, 1.0).or(0.0);
const BIAS: Parameter = flag("bias", true);
const BEND: Parameter = word::<Bend>("nonlinearity", false).or_word("tanh");
const RESET: Parameter = word::<Reset>("reset", false).or_word("after");

macro_rules! recurrent {
    ($name:literal, $label:literal, [$($own:expr),*], $unit:expr) => {
        Layer {
            signature: Signature {
                name: $name,
                parameters: &[
                    size("features"), LAYERS_OF, BOTH, DROPOUT, optional("lengths"), optional("initial"), BIAS, $($own),*
                ],
            },
            label: $label,
            source: false,
            build: |builder, x, args| layers(builder, input(x)?, args, $unit(args)?),
        }
    };
}

macro_rules! cell {
    ($name:literal, $label:literal, [$($own:expr),*], $unit:expr) => {
        Layer {
            signature: Signature { name: $name, parameters: &[size("features"), optional("state"), BIAS, $($own),*] },
            label: $label,
            source: false,
            build: |builder, x, args| cell(builder, input(x)?, args, $unit(args)?),
        }
    };
}

pub(super) const LAYERS: [Layer; 6] = [
    recurrent!("Rnn", "rnn", [BEND], Unit::rnn),
    recurrent!("Lstm", "lstm", [], Unit::lstm),
    recurrent!("Gru", "gru", [RESET], Unit::gru),
    cell!("RnnCell", "rnn", [BEND], Unit::rnn),
    cell!("LstmCell", "lstm", [], Unit::lstm),
    cell!("GruCell", "gru", [RESET], Unit::gru),
];

/// The most layers of one call.
const MOST_LAYERS: usize = 256;

/// What all layers and directions of a recurrent layer have in common.
struct Run {
    unit: Unit,
    /// How many steps each row has, `i32[rows]`.
    lengths: Option<Tensor>,
    /// The extents of a part of the state: rows, features.
    dims: [usize; 2],
    /// The parts of the state at first, each `[layers * directions, rows, features]`; zeros if there are none.
    initial: Option<Vec<Tensor>>,
}

/// `[rows, steps, inputs]` to `[rows, steps, directions * features]`: the output of the last layer. Its states behind the last step
/// are `<name>.last.h` and `.last.c`, those of layer k `<name>.l<k>.last.h`; both directions beside each other.
fn layers(builder: &mut Builder, x: Tensor, args: &Args, unit: Unit) -> Built {
    let dims = expect_rank(builder, x, 3, "[rows, steps, features]")?;
    let (features, count) = (args.size("features")?.get()?, args.size_or("layers", 1)?.get()?);
    if count > MOST_LAYERS {
        return Err(args.fault(
            "layers",
            format!("`layers` must be a whole number from 1 to {MOST_LAYERS}, found {count}"),
        ));
    }
    let directions = if args.bool_or("bidirectional", false)? { 2 } else { 1 };
    let run = Run {
        unit,
        lengths: lengths(builder, args, dims[0])?,
        dims: [dims[0], features],
        initial: initial(builder, args, unit, [count * directions, dims[0], features])?,
    };
    let dropout = args.float_or("dropout", 0.0)?;
    if dropout > 0.0 && count == 1 {
        return Err(args.fault("dropout", "`dropout` stands between layers, and there is one layer"));
    }
    // Steps first.
    let mut x = builder.ops().transpose(x, &[1, 0, 2])?;
    if let Some(lengths) = run.lengths {
        x = builder.zero_behind_rows(x, lengths)?;
    }
    for layer in 0..count {
        if layer > 0 && dropout > 0.0 {
            x = dropped(builder, x, dropout)?;
        }
        let mut found = Vec::new();
        for direction in 0..directions {
            let suffix = format!("_l{layer}{}", if direction == 1 { "_reverse" } else { "" });
            let inputs = builder.ops().dims(x)[2];
            let weights = unit.weights(builder, args, inputs, &suffix)?;
            let of_input = weights.of_input(&mut builder.ops(), x)?;
            found.push(run.one(
                builder,
                &weights,
                of_input,
                layer * directions + direction,
                direction == 1,
            )?);
        }
        let outputs: Vec<Tensor> = found.iter().map(|(all, _)| *all).collect();
        x = beside(&mut builder.ops(), &outputs, 2)?;
        for (part, name) in unit.state().iter().enumerate() {
            let last: Vec<Tensor> = found.iter().map(|(_, last)| last[part]).collect();
            let last = Val::Tensor(beside(&mut builder.ops(), &last, 1)?);
            if layer + 1 == count {
                builder.name_inside(&format!("last.{name}"), last.clone());
            }
            builder.name_inside(&format!("l{layer}.last.{name}"), last);
        }
    }
    builder.ops().transpose(x, &[1, 0, 2])
}

/// What the directions of a layer give, along an axis.
fn beside(ops: &mut Ops, parts: &[Tensor], axis: i64) -> Built {
    if let &[one] = parts { Ok(one) } else { ops.concat(parts, axis) }
}

impl Run {
    /// One layer in one direction: the outputs of all steps, `[steps, rows, features]`, and the state behind the last.
    fn one(
        &self,
        builder: &mut Builder,
        weights: &Weights,
        of_input: Tensor,
        number: usize,
        reverse: bool,
    ) -> Built<(Tensor, Vec<Tensor>)> {
        let steps = builder.ops().dims(of_input)[0];
        let starts = self.starts(builder, weights, number)?;
        let positions = builder.ops().b.iota(DType::I32, &[steps], 0)?;
        let number = builder.open_loop(steps, reverse);
        let built = self.step(builder, weights, [of_input, positions], &starts);
        if built.is_err() {
            builder.drop_loop(number);
        }
        built
    }

    /// What one step computes, and the loop of it.
    fn step(
        &self,
        builder: &mut Builder,
        weights: &Weights,
        [of_input, positions]: [Tensor; 2],
        starts: &[Tensor],
    ) -> Built<(Tensor, Vec<Tensor>)> {
        let input = builder.step_of("x", of_input);
        let names = self.unit.state().iter();
        let before: Vec<Tensor> =
            names.zip(starts).map(|(name, start)| builder.carry(name, *start)).collect();
        let mut next = self.unit.step(&mut builder.ops(), weights, input, &before)?;
        let mut shown = next[0];
        if let Some(lengths) = self.lengths {
            let position = builder.step_of("position", positions);
            let (alive, _) = builder.within_rows(lengths, position)?;
            builder.end_behind_rows(lengths, position)?;
            for (next, before) in next.iter_mut().zip(&before) {
                *next = builder.where_rows(alive, *next, *before)?;
            }
            let zeros = builder.ops().b.zeros_like(shown)?;
            shown = builder.where_rows(alive, shown, zeros)?;
        }
        for (before, next) in before.iter().zip(next) {
            builder.carry_on(*before, next);
        }
        let behind = builder.close_loop(&[("y".to_owned(), shown)])?;
        Ok((behind.stacked[0], behind.carries))
    }

    /// The state before the first step of the layer and direction of that number.
    fn starts(&self, builder: &mut Builder, weights: &Weights, number: usize) -> Built<Vec<Tensor>> {
        let mut ops = builder.ops();
        let ty = ops.ty(weights.state).with_dims(self.dims);
        let Some(initial) = &self.initial else {
            return self.unit.state().iter().map(|_| ops.full(0.0, &ty)).collect();
        };
        let parts = initial.iter().map(|part| {
            let part = ops.slice_axis(*part, 0, number, number + 1, 1)?;
            ops.reshape(part, &self.dims)
        });
        parts.collect()
    }
}

/// The argument `lengths` as `i32[rows]`.
fn lengths(builder: &mut Builder, args: &Args, rows: usize) -> Built<Option<Tensor>> {
    if !args.has("lengths") {
        return Ok(None);
    }
    let lengths = tensor(builder, args, "lengths")?;
    let mut ops = builder.ops();
    let ty = ops.ty(lengths);
    if !ty.dtype.is_int() || ty.dims != [rows] {
        let message = format!("`lengths` must be i32[{rows}], one for each row, found {ty}");
        return Err(args.fault("lengths", message));
    }
    ops.convert(lengths, DType::I32).map(Some)
}

/// The argument `initial`, or `state`: a tensor for each part of the state, which are one without a list around it.
fn parts(builder: &mut Builder, args: &Args, name: &str, unit: Unit) -> Built<Option<Vec<Tensor>>> {
    let Some(given) = args.get(name) else { return Ok(None) };
    let names = unit.state();
    let tensors: Option<Vec<Tensor>> = match &given.value {
        Val::List(items) => {
            items.iter().map(|item| if let Val::Tensor(x) = item { Some(*x) } else { None }).collect()
        }
        Val::Tensor(x) => Some(vec![*x]),
        _ => None,
    };
    let float = builder.float();
    match tensors.filter(|tensors| tensors.len() == names.len()) {
        Some(tensors) => {
            tensors.into_iter().map(|x| builder.ops().floated(x, float)).collect::<Built<Vec<_>>>().map(Some)
        }
        None => {
            let expected = match names {
                [_] => "a tensor".to_owned(),
                _ => format!("a list of {} tensors, {}", names.len(), names.join(" and ")),
            };
            let message = format!("`{name}` must be {expected}, found {}", given.value.describe());
            Err(args.fault(name, message))
        }
    }
}

/// The argument `initial`: each part `[layers * directions, rows, features]`, or `[rows, features]` if there is one layer in one
/// direction.
fn initial(builder: &mut Builder, args: &Args, unit: Unit, dims: [usize; 3]) -> Built<Option<Vec<Tensor>>> {
    let Some(parts) = parts(builder, args, "initial", unit)? else { return Ok(None) };
    let mut ops = builder.ops();
    let mut found = Vec::new();
    for part in parts {
        let ty = ops.ty(part);
        let one = dims[0] == 1 && ty.dims == dims[1..];
        if !one && ty.dims != dims {
            let message = format!("the state at first must be {}, found {ty}", ty.with_dims(dims));
            return Err(args
                .fault("initial", message)
                .note("these are layers times directions, rows, features"));
        }
        found.push(ops.reshape(part, &dims)?);
    }
    Ok(Some(found))
}

/// One step of a unit: `[rows, inputs]` to `[rows, features]`. It keeps its state in the loop around it, or takes it.
fn cell(builder: &mut Builder, x: Tensor, args: &Args, unit: Unit) -> Built {
    let dims = expect_rank(builder, x, 2, "[rows, features]: that of one step")?;
    let features = args.size("features")?.get()?;
    let weights = unit.weights(builder, args, dims[1], "")?;
    let ty = builder.ops().ty(weights.state).with_dims([dims[0], features]);
    let given = parts(builder, args, "state", unit)?;
    let keeps = given.is_none();
    let before = match given {
        Some(given) => {
            for part in &given {
                let found = builder.ops().ty(*part);
                if found != ty {
                    return Err(args.fault("state", format!("the state must be {ty}, found {found}")));
                }
            }
            given
        }
        None => {
            let mut before = Vec::new();
            for name in unit.state() {
                let start = builder.ops().full(0.0, &ty)?;
                before.push(builder.keep(name, start)?);
            }
            before
        }
    };
    let of_input = weights.of_input(&mut builder.ops(), x)?;
    let next = unit.step(&mut builder.ops(), &weights, of_input, &before)?;
    for ((name, before), next) in unit.state().iter().zip(before).zip(&next) {
        if keeps {
            builder.kept(before, *next);
        }
        builder.name_inside(name, Val::Tensor(*next));
    }
    Ok(next[0])
}
