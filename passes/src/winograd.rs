//! `winograd`: chooses Winograd's algorithm for the convolutions that gain by it.
//!
//! An estimate in cycles of one core compares the direct sum with tiles of 2 x 2 and 4 x 4 outputs: multiplications,
//! transforms, and the traffic of the weights, which are 16/9 or 4 times as many after their transform. It sees
//! nothing but shapes, so the choice is the same everywhere (it is part of the numeric plan). Rounding: the error of a
//! 4 x 4 tile is about ten times that of a direct sum. Linear.

use brolga_ir::ops::{Conv, ConvForm, Op};
use brolga_ir::{Builder, Graph, GraphError, NodeId};

use crate::fixed::{Dependence, dependence};
use crate::manager::{Options, Winograd};

/// Chooses the algorithm of every convolution.
pub fn winograd(graph: &mut Graph, options: &Options) -> Result<bool, GraphError> {
    let dependence = dependence(graph);
    let mut changed = false;
    for id in graph.order() {
        let Op::Conv(conv) = &graph.node(id).op else { continue };
        let fixed =
            graph.node(id).operands.get(1).is_some_and(|w| *dependence.get(w.node) != Dependence::Call);
        let tile = match options.winograd {
            _ if !applies(graph, id, conv) => None,
            Winograd::Off => None,
            Winograd::Chosen => choice(graph, id, conv, fixed),
            Winograd::Everywhere(tile) => Some(tile),
        };
        let Some(tile) = tile else { continue };
        let node = graph.node(id).clone();
        let conv = Conv { winograd: tile, ..conv.clone() };
        let new = Builder::new(graph, node.origin).add_node(conv, &node.operands)?;
        graph.replace_uses(graph.result(id), new);
        changed = true;
    }
    Ok(changed)
}

fn applies(graph: &Graph, id: NodeId, conv: &Conv) -> bool {
    let kernel = match &conv.form {
        ConvForm::WeightGradient { kernel } => kernel,
        _ => &graph.operand_types(id)[1].dims[2..],
    };
    conv.winograd == 0 && conv.channels_last && conv.takes_winograd(kernel)
}

/// The tile that is worth it. `fixed`: the weights are transformed once for every state.
fn choice(graph: &Graph, id: NodeId, conv: &Conv, fixed: bool) -> Option<usize> {
    let types = graph.operand_types(id);
    let [x, w, y] = conv.roles(&types, &graph.node(id).types[0]);
    let gradient = matches!(conv.form, ConvForm::WeightGradient { .. });
    // Positions are those of the result, or of the gradient with respect to it.
    let space = if matches!(conv.form, ConvForm::InputGradient { .. }) { x } else { y };
    let (batch, extents) = (x.dims[0] as f64, conv.extents(space));
    let [rows, columns] = [extents[0], extents[1]];
    let (outputs, inputs) = match conv.form {
        ConvForm::InputGradient { .. } => (w.dims[1] as f64, w.dims[0] as f64),
        _ => (w.dims[0] as f64, w.dims[1] as f64),
    };
    // 16 multiply-adds and 8 bytes of weights a cycle, less what is lost at edges.
    let traffic = |bytes: f64| bytes / 8.0;
    let columns_used = outputs / (outputs / 16.0).ceil() / 16.0;
    let direct = batch * (rows * columns) as f64 * inputs * outputs * 9.0 / 16.0 / columns_used / 0.85
        + traffic(inputs * outputs * 36.0);
    let tiled = |m: usize| {
        let positions = ((m + 2) * (m + 2)) as f64;
        let tiles = batch * (rows.div_ceil(m) * columns.div_ceil(m)) as f64;
        let products = tiles * positions * inputs * outputs / 16.0 / columns_used / 0.9;
        // Cycles for 16 channels of a position (measured): on the way into the transformed domain, and out of it.
        let (into, out_of) = (7.5, if gradient { 7.5 } else { 5.0 });
        let blocks = into * (inputs / 16.0).ceil() + out_of * (outputs / 16.0).ceil();
        let transforms = tiles * positions * blocks;
        // Weights are transformed in every call unless they are fixed; their gradients always.
        let weights = traffic(positions * inputs * outputs * 4.0)
            + if fixed && !gradient { 0.0 } else { inputs * outputs * positions / 4.0 };
        products + transforms + weights
    };
    let (best, cost) = [2, 4].map(|m| (m, tiled(m))).into_iter().min_by(|a, b| a.1.total_cmp(&b.1))?;
    (cost < direct * 0.95).then_some(best)
}
