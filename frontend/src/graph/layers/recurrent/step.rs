//! One step of a recurrent unit, from what its input has become and from its state.

use brolga_ir::scalar::Function;

use crate::graph::builder::Builder;
use crate::graph::init::Init;
use crate::graph::ops::Ops;
use crate::graph::value::{Args, Built, Fault, Tensor};
use crate::signature::words;

words! {
    /// What Elman's unit is bent by.
    pub(super) enum Bend { Tanh = "tanh", Relu = "relu" }
}

words! {
    /// Where a gated unit's reset stands: behind the product with the state, as in PyTorch and cuDNN, or before it, as in its paper.
    pub(super) enum Reset { After = "after", Before = "before" }
}

/// A kind of recurrent units.
#[derive(Clone, Copy, Debug)]
pub(super) enum Unit {
    /// `h' = tanh(W x + U h + b)` (Elman, 1990).
    Rnn(Bend),
    /// Hochreiter & Schmidhuber, 1997, with the forget gate of Gers et al., 2000. The state is h and c; gates are i, f, g, o.
    Lstm,
    /// Cho et al., 2014. Gates are r, z, n.
    Gru(Reset),
}

/// The weights of a unit.
pub(super) struct Weights {
    /// `[gates * features, inputs]`
    pub input: Tensor,
    /// `[gates * features, features]`
    pub state: Tensor,
    /// Of both, `[gates * features]`.
    pub bias: Option<[Tensor; 2]>,
}

impl Unit {
    /// The number of its gates.
    pub fn gates(self) -> usize {
        match self {
            Unit::Rnn(_) => 1,
            Unit::Lstm => 4,
            Unit::Gru(_) => 3,
        }
    }

    /// The parts of its state, the output first.
    pub fn state(self) -> &'static [&'static str] {
        match self {
            Unit::Lstm => &["h", "c"],
            Unit::Rnn(_) | Unit::Gru(_) => &["h"],
        }
    }

    /// The unit of a layer's arguments.
    pub fn rnn(args: &Args) -> Built<Unit> {
        Ok(Unit::Rnn(args.word("nonlinearity", Bend::Tanh)?))
    }

    pub fn lstm(_: &Args) -> Built<Unit> {
        Ok(Unit::Lstm)
    }

    pub fn gru(args: &Args) -> Built<Unit> {
        Ok(Unit::Gru(args.word("reset", Reset::After)?))
    }

    /// The weights under PyTorch's names, with what comes behind them: `weight_ih_l0_reverse`. All are uniform within 1 / sqrt of
    /// the features at first.
    pub fn weights(self, builder: &mut Builder, args: &Args, inputs: usize, suffix: &str) -> Built<Weights> {
        let features = args.size("features")?;
        let rows = (features * self.gates()).get()?;
        let init = || Init::fan_uniform(features);
        let features = features.get()?;
        let input = builder.parameter(&format!("weight_ih{suffix}"), &[rows, inputs], init())?;
        let state = builder.parameter(&format!("weight_hh{suffix}"), &[rows, features], init())?;
        let bias = match args.bool_or("bias", true)? {
            true => {
                let input = builder.parameter(&format!("bias_ih{suffix}"), &[rows], init())?;
                Some([input, builder.parameter(&format!("bias_hh{suffix}"), &[rows], init())?])
            }
            false => None,
        };
        Ok(Weights { input, state, bias })
    }

    /// The state behind a step. `input` is `W x + b` of its input, `[rows, gates * features]`.
    pub fn step(
        self,
        ops: &mut Ops,
        weights: &Weights,
        input: Tensor,
        state: &[Tensor],
    ) -> Built<Vec<Tensor>> {
        let &[h, ref rest @ ..] = state else { return Err(Fault::new("a recurrent unit has a state")) };
        let last = ops.rank(h) - 1;
        match self {
            Unit::Rnn(bend) => {
                let of_state = weights.of_state(ops, h)?;
                let sum = ops.add(input, of_state)?;
                Ok(vec![match bend {
                    Bend::Tanh => ops.function(Function::Tanh, sum)?,
                    Bend::Relu => ops.relu(sum)?,
                }])
            }
            Unit::Lstm => {
                let &[c] = rest else { return Err(Fault::new("the state of an LSTM is h and c")) };
                let of_state = weights.of_state(ops, h)?;
                let sum = ops.add(input, of_state)?;
                let gates = ops.split(sum, last, 4)?;
                let [i, f, o] = [0, 1, 3].map(|gate| ops.function(Function::Sigmoid, gates[gate]));
                let g = ops.function(Function::Tanh, gates[2])?;
                let (kept, new) = (ops.mul(f?, c)?, ops.mul(i?, g)?);
                let c = ops.add(kept, new)?;
                let shown = ops.function(Function::Tanh, c)?;
                Ok(vec![ops.mul(o?, shown)?, c])
            }
            Unit::Gru(reset) => Ok(vec![gated(ops, weights, input, h, reset)?]),
        }
    }
}

impl Weights {
    /// `W x + b` of the input.
    pub fn of_input(&self, ops: &mut Ops, x: Tensor) -> Built {
        let product = ops.linear(x, self.input)?;
        added(ops, product, self.bias.map(|bias| bias[0]))
    }

    /// `U h + b` of the state.
    fn of_state(&self, ops: &mut Ops, h: Tensor) -> Built {
        let product = ops.linear(h, self.state)?;
        added(ops, product, self.bias.map(|bias| bias[1]))
    }
}

fn added(ops: &mut Ops, product: Tensor, bias: Option<Tensor>) -> Built {
    let Some(bias) = bias else { return Ok(product) };
    let dims = ops.dims(product);
    let bias = ops.broadcast_to(bias, &dims)?;
    ops.add(product, bias)
}

/// `h' = (1 - z) n + z h`, where n is made of what the reset gate lets pass of the state.
fn gated(ops: &mut Ops, weights: &Weights, input: Tensor, h: Tensor, reset: Reset) -> Built {
    let last = ops.rank(h) - 1;
    let parts = ops.split(input, last, 3)?;
    let features = ops.dims(h)[last];
    let (of_gates, of_new) = match reset {
        Reset::After => {
            let of_state = weights.of_state(ops, h)?;
            let of_state = ops.split(of_state, last, 3)?;
            ([of_state[0], of_state[1]], Some(of_state[2]))
        }
        Reset::Before => {
            let gates = weights.rows(ops, 0, 2 * features)?;
            let of_state = gates.of_state(ops, h)?;
            let of_state = ops.split(of_state, last, 2)?;
            ([of_state[0], of_state[1]], None)
        }
    };
    let [r, z] = [0, 1].map(|gate| {
        let sum = ops.add(parts[gate], of_gates[gate])?;
        ops.function(Function::Sigmoid, sum)
    });
    let (r, z) = (r?, z?);
    let let_pass = match of_new {
        Some(of_new) => ops.mul(r, of_new)?,
        None => {
            let new = weights.rows(ops, 2 * features, 3 * features)?;
            let passed = ops.mul(r, h)?;
            new.of_state(ops, passed)?
        }
    };
    let sum = ops.add(parts[2], let_pass)?;
    let n = ops.function(Function::Tanh, sum)?;
    let rest = ops.num_sub(1.0, z)?;
    let (new, kept) = (ops.mul(rest, n)?, ops.mul(z, h)?);
    ops.add(new, kept)
}

impl Weights {
    /// Those of some gates.
    fn rows(&self, ops: &mut Ops, from: usize, to: usize) -> Built<Weights> {
        let mut cut = |weight: Tensor| ops.slice_axis(weight, 0, from, to, 1);
        let bias = match self.bias {
            Some([input, state]) => Some([cut(input)?, cut(state)?]),
            None => None,
        };
        Ok(Weights { input: cut(self.input)?, state: cut(self.state)?, bias })
    }
}
