//! `winograd`: chooses Winograd's algorithm for the convolutions that gain by it.
//!
//! An estimate in cycles of one core compares the direct sum with tiles of 4 or 6 inputs: multiplications, transforms,
//! and the traffic of the weights, of which there are more after their transform. It sees nothing but shapes, so the
//! choice is the same everywhere (it is part of the numeric plan). Unless the entry trains, it knows nothing of the batch
//! ([`batch`](mod@crate::facts::batch)): what counts is the geometric mean of the cycles for one image and for four. For one alone,
//! the weights of a deep layer are most of what is read, and a larger tile has more of them: 512 to 512 channels of
//! 7 x 7 positions take tiles of 4 inputs, 16.8 MB of weights, where four images alone would take 6 inputs, 37.7 MB.
//!
//! The algorithm wants windows that go one step at a time. A convolution with steps of s is one over s² images of every s-th
//! row and column, its phases, with kernels of ceil(k / s): the stem of a ResNet, 7 x 7 over 3 channels by steps of 2, is
//! 4 x 4 over 12 channels, and takes 36 multiplications for 9 outputs and channel where it took 49 for one.
//!
//! In regions, weights count as transformed in every iteration, whatever they are: that is never less than what it takes, since
//! lowering transforms what a loop captures before it.
//!
//! Rounding: the error of a tile of 6 inputs is about ten times that of a direct sum. Linear.

use brolga_ir::choice::{Algorithm, Choice, Layout, takes_winograd};
use brolga_ir::ops::{Conv, ConvForm, Op};
use brolga_ir::{Builder, Graph, GraphError, NodeId, Type, Value};

use crate::facts::batch::{COUNTED, trains};
use crate::facts::cost::{DIRECT, LANES, multiply_adds, weights_read, winograd as cost};
use crate::facts::fixed::{Dependence, dependence};
use crate::options::Options;
use crate::rewrite::regions;

/// Chooses the algorithm of every convolution.
pub fn winograd(graph: &mut Graph, options: &Options) -> Result<bool, GraphError> {
    let trains = trains(graph);
    if !options.algorithms.winograd {
        return Ok(false);
    }
    choose(graph, options, trains)
}

/// In a graph of an entry that trains or does not, and in its regions, where weights count as transformed in every iteration.
fn choose(graph: &mut Graph, options: &Options, trains: bool) -> Result<bool, GraphError> {
    let algorithms = options.algorithms;
    let mut changed = regions::apply(graph, &mut |region| choose(region, options, trains))?;
    let dependence = dependence(graph);
    for id in graph.order() {
        let Op::Conv(conv) = &graph.node(id).op else { continue };
        let direct = graph.choice(id) == Choice::from(Layout::ChannelsLast);
        if !direct || conv.spatial() != 2 {
            continue;
        }
        let node = graph.node(id).clone();
        let types = graph.operand_types(id);
        let fixed = node.operands.get(1).is_some_and(|w| *dependence.get(w.node) != Dependence::Call);
        let roles = conv.roles(&types, &node.types[0]);
        let sum = Sum::of(conv, roles, fixed, trains);
        let phases = Phases::of(conv, roles[0], &sum);
        let (conv, tiled) = match &phases {
            Some(phases) => (phases.conv(conv), phases.sum(&sum)),
            None => (conv.clone(), sum.clone()),
        };
        let tiles = (2..=5).filter(|&m| takes_winograd(&conv, &[tiled.kernel; 2], m));
        let tiles = tiles.filter(|&m| algorithms.tile.is_none_or(|only| only == m));
        let copied = phases.as_ref().map_or(0.0, |phases| phases.copied(&tiled));
        let by_tiles = |m| tiled.cycles(|sum, batch| sum.by_tiles(m, batch) + copied * batch as f64);
        let best = tiles.map(|m| (m, by_tiles(m))).min_by(|a, b| a.1.total_cmp(&b.1));
        let gains = |cycles| algorithms.counted(cycles) < sum.cycles(Sum::direct) * cost::WORTH;
        let tile = best.filter(|best| gains(best.1)).map(|best| best.0);
        let Some(tile) = tile else { continue };
        let operands = match &phases {
            Some(phases) => phases.operands(graph, id)?,
            None => node.operands.clone(),
        };
        let choice = Choice { algorithm: Algorithm::Winograd(tile), ..Layout::ChannelsLast.into() };
        let new = Builder::new(graph, node.origin).add_chosen(conv, choice, &operands)?;
        graph.replace_uses(graph.result(id), new);
        changed = true;
    }
    Ok(changed)
}

/// The sizes of a convolution with its channels last, in whichever form.
#[derive(Clone)]
struct Sum {
    /// Two numbers of images that count alike: one and some, or twice those that there are.
    batches: [usize; 2],
    /// Positions of the result, or of the gradient with respect to it.
    rows: usize,
    columns: usize,
    /// What is summed over, and the others.
    inputs: usize,
    outputs: usize,
    kernel: usize,
    /// Multiplications of an image for each pair of an input and an output channel: taps outside of it are left out.
    taps: usize,
    /// Whether the result is the weights.
    gradient: bool,
    /// Whether the weights are transformed once for every state.
    fixed: bool,
}

/// Kernel positions along an axis that are looked at.
const LARGEST_KERNEL: usize = 64;

impl Sum {
    fn of(conv: &Conv, [x, w, y]: [&Type; 3], fixed: bool, trains: bool) -> Sum {
        let batches = if trains { [x.dims[0]; 2] } else { [1, COUNTED] };
        let space = if matches!(conv.form, ConvForm::InputGradient { .. }) { x } else { y };
        let (outputs, inputs) = match conv.form {
            ConvForm::InputGradient { .. } => (w.dims[1], w.dims[0]),
            _ => (w.dims[0], w.dims[1]),
        };
        let extents = Layout::ChannelsLast.extents(space);
        let along = |axis: usize| -> usize {
            let (low, input) = (conv.padding[axis].0, Layout::ChannelsLast.extents(x)[axis]);
            let (stride, outputs) = (conv.stride[axis], Layout::ChannelsLast.extents(y)[axis]);
            // The outputs whose tap lies below a point of the padded input, without walking over them.
            let below = |tap: usize, point: usize| {
                point.saturating_sub(tap * conv.rhs_dilation[axis]).div_ceil(stride).min(outputs)
            };
            let inside = |tap: usize| below(tap, low + input) - below(tap, low);
            // Larger kernels have no tiles.
            (0..w.dims[axis + 2].min(LARGEST_KERNEL)).map(inside).sum()
        };
        Sum {
            batches,
            taps: along(0) * along(1),
            rows: extents[0],
            columns: extents[1],
            inputs,
            outputs,
            // Others than square ones have no tiles.
            kernel: if w.dims[2] == w.dims[3] { w.dims[2] } else { 0 },
            gradient: matches!(conv.form, ConvForm::WeightGradient { .. }),
            fixed,
        }
    }

    /// Cycles of so many multiply-adds for each pair of an input and an output channel.
    fn products(&self, count: f64, efficiency: f64) -> f64 {
        let outputs = self.outputs.next_multiple_of(LANES) as f64;
        multiply_adds(count * self.inputs as f64 * outputs, efficiency)
    }

    /// The geometric mean of cycles over the numbers of images that count.
    fn cycles(&self, of: impl Fn(&Sum, usize) -> f64) -> f64 {
        let [few, many] = self.batches.map(|batch| of(self, batch));
        (few * many).sqrt()
    }

    /// Cycles of the direct sum.
    fn direct(&self, batch: usize) -> f64 {
        let weights = (self.inputs * self.outputs * self.kernel * self.kernel) as f64;
        self.products((batch * self.taps) as f64, DIRECT) + weights_read(4.0 * weights, self.fixed)
    }

    /// Cycles with tiles of m x m outputs.
    fn by_tiles(&self, m: usize, batch: usize) -> f64 {
        let a = m + self.kernel - 1;
        let tiles = batch * self.rows.div_ceil(m) * self.columns.div_ceil(m);
        let positions = (tiles * a * a) as f64;
        // On the way into the transformed domain, and out of it.
        let blocks = |channels: usize| channels.div_ceil(cost::CHANNELS) as f64;
        let out_of = if self.gradient { cost::INTO } else { cost::OUT_OF };
        let blocks = cost::INTO * blocks(self.inputs) + out_of * blocks(self.outputs);
        // Weights are transformed in every call unless they are fixed; their gradients always.
        let weights = (a * a * self.inputs * self.outputs) as f64;
        let transformed = if self.fixed && !self.gradient { 0.0 } else { weights / cost::WEIGHTS };
        let read = weights_read(4.0 * weights, self.fixed);
        self.products(positions, cost::PRODUCTS) + positions * blocks + read + transformed
    }
}

/// A convolution by steps as one over phases of its input: `step`² images of every `step`-th row and column.
struct Phases {
    step: usize,
    /// Extents of the kernel: of a phase, and before.
    kernel: usize,
    whole: usize,
    axes: [Axis; 2],
}

/// How one axis is cut into phases.
#[derive(Clone, Copy)]
struct Axis {
    /// Zeros before the input and before the kernel, which bring both to a whole phase.
    input_low: usize,
    kernel_low: usize,
    /// Inputs that are read, and zeros behind them.
    read: usize,
    input_high: usize,
    /// Padding of the phases.
    padding: (usize, usize),
}

impl Phases {
    /// `None` where there are no steps, or it is something else besides.
    fn of(conv: &Conv, x: &Type, sum: &Sum) -> Option<Phases> {
        let &[step, across] = conv.stride.as_slice() else { return None };
        let dense = conv.lhs_dilation.iter().chain(&conv.rhs_dilation).all(|&dilation| dilation == 1);
        let plain = conv.form == ConvForm::Forward && conv.groups == 1 && dense;
        let empty = [x.dims[0], sum.rows, sum.columns, sum.inputs, sum.outputs].contains(&0);
        if step < 2 || step != across || sum.kernel <= step || !plain || empty {
            return None;
        }
        let kernel = sum.kernel.div_ceil(step);
        let axis = |axis: usize, output: usize| {
            let (input, low) = (Layout::ChannelsLast.extents(x)[axis], conv.padding[axis].0);
            // Zeros before the kernel cost nothing where they fit its last phase; else the input gets them.
            let missing = low.next_multiple_of(step) - low;
            let fits = (sum.kernel + missing).div_ceil(step) == kernel;
            let (input_low, kernel_low) = if fits { (0, missing) } else { (low % step, 0) };
            let before = (low - input_low + kernel_low) / step;
            let phases = output + kernel - 1;
            let most = (phases.saturating_sub(before) * step).saturating_sub(input_low);
            let read = input.min(most);
            let given = (input_low + read).div_ceil(step);
            let input_high = given * step - input_low - read;
            let padding = (before, phases.saturating_sub(before + given));
            Axis { input_low, kernel_low, read, input_high, padding }
        };
        let axes = [axis(0, sum.rows), axis(1, sum.columns)];
        Some(Phases { step, kernel, whole: sum.kernel, axes })
    }

    /// The convolution over all phases.
    fn conv(&self, conv: &Conv) -> Conv {
        Conv { stride: vec![1; 2], padding: self.axes.map(|axis| axis.padding).to_vec(), ..conv.clone() }
    }

    fn sum(&self, sum: &Sum) -> Sum {
        Sum { inputs: sum.inputs * self.step * self.step, kernel: self.kernel, ..sum.clone() }
    }

    /// Cycles of copying the phases of an image.
    fn copied(&self, sum: &Sum) -> f64 {
        (sum.rows * sum.columns * sum.inputs) as f64
    }

    /// The phases as channels, (row, column, channel), and the weights that belong to them.
    fn operands(&self, graph: &mut Graph, id: NodeId) -> Result<Vec<Value>, GraphError> {
        let node = graph.node(id).clone();
        let (x, w) = (node.operands[0], node.operands[1]);
        let (step, kernel, [rows, columns]) = (self.step, self.kernel, self.axes);
        let b = &mut Builder::new(graph, node.origin);
        let (x_type, w_type) = (b.ty(x).clone(), b.ty(w).clone());
        let (batch, inputs, outputs) = (x_type.dims[0], x_type.dims[3], w_type.dims[0]);
        let x = b.slice(x, &[0; 4], &[batch, rows.read, columns.read, inputs], &[1; 4])?;
        let zero = b.scalar(0.0, x_type.dtype)?;
        let (low, high) =
            ([0, rows.input_low, columns.input_low, 0], [0, rows.input_high, columns.input_high, 0]);
        let x = b.pad(x, zero, &low, &high, &[0; 4])?;
        let count = |axis: Axis| (axis.input_low + axis.read + axis.input_high) / step;
        let x = b.reshape(x, &[batch, count(rows), step, count(columns), step, inputs])?;
        let x = b.transpose(x, &[0, 1, 3, 2, 4, 5])?;
        let x = b.reshape(x, &[batch, count(rows), count(columns), step * step * inputs])?;
        let zero = b.scalar(0.0, w_type.dtype)?;
        let low = [rows.kernel_low, columns.kernel_low];
        let high = low.map(|low| step * kernel - self.whole - low);
        let w = b.pad(w, zero, &[0, 0, low[0], low[1]], &[0, 0, high[0], high[1]], &[0; 4])?;
        let w = b.reshape(w, &[outputs, inputs, kernel, step, kernel, step])?;
        let w = b.transpose(w, &[0, 3, 5, 1, 2, 4])?;
        let w = b.reshape(w, &[outputs, step * step * inputs, kernel, kernel])?;
        Ok(vec![x, w])
    }
}

#[cfg(test)]
mod tests {
    use brolga_ir::interpret::interpret;
    use brolga_ir::ops::Role;
    use brolga_ir::{DType, Origin, Tensor};

    use super::*;
    use crate::options::Algorithms;

    /// Steps through images whose extents are no multiples, with all kinds of padding.
    #[test]
    fn phases_compute_the_same() {
        let mut count = 0;
        for (step, kernel, low, high) in [
            (2, 3, 1, 1),
            (2, 3, 0, 0),
            (2, 3, 2, 5),
            (2, 7, 3, 3),
            (2, 8, 0, 3),
            (2, 4, 1, 0),
            (3, 5, 4, 2),
            (3, 7, 1, 9),
            (4, 11, 2, 2),
            (4, 5, 7, 0),
        ] {
            for (rows, columns) in [(11, 16), (12, 13), (23, 11)] {
                let padding = vec![(low, high); 2];
                let conv = Conv { stride: vec![step; 2], padding, ..Conv::new(2) };
                let mut graph = Graph::new("phases");
                let x = Type::new(DType::F64, [2, rows, columns, 3]);
                let w = Type::new(DType::F64, [4, 3, kernel, kernel]);
                let operands = [x, w].map(|ty| {
                    let strange = |i: usize| ((i * 37 + 11) % 101) as f64 / 50.0 - 1.0;
                    Tensor::generate(&ty, |i| brolga_ir::scalar::Scalar::F64(strange(i)))
                });
                let values = [0, 1].map(|i| graph.add_parameter(["x", "w"][i], Role::Data, operands[i].ty()));
                let y = graph.add_chosen(conv, Layout::ChannelsLast, &values, &Origin::default());
                let y = y.expect("a convolution");
                let y = graph.result(y);
                graph.add_output("y", Role::Data, y);
                let before = interpret(&graph, &[&operands[0], &operands[1]]).expect("runs").remove(0);
                for tile in 2..=5 {
                    let mut graph = graph.clone();
                    let algorithms = Algorithms { cost: 0, tile: Some(tile), ..Algorithms::default() };
                    let options = Options { algorithms, ..Options::default() };
                    count += usize::from(winograd(&mut graph, &options).expect("phases"));
                    brolga_ir::verify::verify(&graph).expect("a valid graph");
                    let after = interpret(&graph, &[&operands[0], &operands[1]]).expect("runs").remove(0);
                    for i in 0..before.elements() {
                        let (a, b) = (before.get(i).to_f64(), after.get(i).to_f64());
                        assert!((a - b).abs() < 1e-12, "{step} {kernel} {low} {high} {rows}: {a} {b}");
                    }
                }
            }
        }
        assert!(count > 30, "{count} were rewritten");
    }
}
