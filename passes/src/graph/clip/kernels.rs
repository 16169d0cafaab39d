//! Kernels no longer than what they can see: convolutions with padding far beyond their image, in all three forms.
//!
//! ```text
//! conv x, w {padding: [[8192, 8192]]}   becomes   conv x, w[…, from..to] {padding: [[low, high]]}
//! ```
//!
//! A kernel position under which no window has an element is in no sum, and its gradient is zero. `Conv1d(4, 16384, stride: 2,
//! padding: 8192)` of 8 elements is a convolution with a kernel of 16.

use brolga_ir::ops::{Conv, ConvForm, Op};
use brolga_ir::{Builder, Graph, NodeId};

use super::along::Along;
use crate::rewrite::rewriter::Replacement;

/// So many kernel positions along an axis are left out, at least: fewer are no gain, and small kernels have algorithms of
/// their own.
const FEW_POSITIONS: i64 = 8;

/// The kernel positions `from..to` that are kept along an axis, how many are left out behind them, and the padding with which
/// windows see what they saw.
struct Kept {
    from: usize,
    to: usize,
    behind: usize,
    padding: (usize, usize),
}

/// A convolution with the kernel positions that see something.
pub(super) fn clip_kernel(graph: &mut Graph, id: NodeId) -> Replacement {
    let node = graph.node(id);
    let Op::Conv(conv) = &node.op else { return Ok(None) };
    let (conv, operands, result) = (conv.clone(), node.operands.clone(), node.types[0].clone());
    let choice = graph.choice(id);
    let types = graph.operand_types(id);
    let [x, w, y] = conv.roles(&types, &result);
    if [x, w, y].iter().any(|ty| ty.elements() == 0) {
        return Ok(None);
    }
    let (inputs, outputs) = (choice.layout.extents(x), choice.layout.extents(y));
    let of = |axis: usize| kept(&conv, axis, (inputs[axis], w.dims[axis + 2], outputs[axis]));
    let kept: Option<Vec<Kept>> = (0..conv.spatial()).map(of).collect();
    let whole = |kept: &Kept| kept.from == 0 && kept.behind == 0;
    if kept.as_ref().is_some_and(|kept| kept.iter().all(whole)) {
        return Ok(None);
    }
    let origin = node.origin.clone();
    let b = &mut Builder::new(graph, origin);
    let Some(kept) = kept else { return Ok(Some(vec![b.full(0.0, &result)?])) };
    let clipped = Conv { padding: kept.iter().map(|kept| kept.padding).collect(), ..conv.clone() };
    let from = around([0; 2], kept.iter().map(|kept| kept.from));
    if let ConvForm::WeightGradient { .. } = conv.form {
        let kernel = kept.iter().map(|kept| kept.to - kept.from).collect();
        let clipped = clipped.with_form(ConvForm::WeightGradient { kernel });
        let seen = b.add_chosen(clipped, choice, &operands)?;
        let zero = b.scalar(0.0, result.dtype)?;
        let behind = around([0; 2], kept.iter().map(|kept| kept.behind));
        return Ok(Some(vec![b.pad(seen, zero, &from, &behind, &vec![0; from.len()])?]));
    }
    let weights = b.dims(operands[1]);
    let to = around([weights[0], weights[1]], kept.iter().map(|kept| kept.to));
    let seen = b.slice(operands[1], &from, &to, &vec![1; from.len()])?;
    Ok(Some(vec![b.add_chosen(clipped, choice, &[operands[0], seen])?]))
}

/// A list for all axes of the weights.
fn around(channels: [usize; 2], spatial: impl Iterator<Item = usize>) -> Vec<usize> {
    channels.into_iter().chain(spatial).collect()
}

/// What is kept along an axis with those extents of image, kernel and windows; nothing if no position sees anything.
fn kept(conv: &Conv, axis: usize, (x, kernel, y): (usize, usize, usize)) -> Option<Kept> {
    let (low, high) = conv.padding[axis];
    let along = Along {
        axis,
        count: y as i64,
        window: kernel as i64,
        stride: conv.stride[axis] as i64,
        dilation: conv.rhs_dilation[axis] as i64,
        low: low as i64,
        last: (x as i64 - 1) * conv.lhs_dilation[axis] as i64,
    };
    let (from, to) = along.places(0, along.count - 1)?;
    let (low, high) = (low as i64, high as i64);
    // A position more on either side where padding would be less than none.
    let from = from.min(low / along.dilation);
    let to = to.max(along.window - 1 - high / along.dilation) + 1;
    let behind = along.window - to;
    if from + behind < FEW_POSITIONS {
        return Some(Kept { from: 0, to: kernel, behind: 0, padding: conv.padding[axis] });
    }
    let padding = ((low - from * along.dilation) as usize, (high - behind * along.dilation) as usize);
    Some(Kept { from: from as usize, to: to as usize, behind: behind as usize, padding })
}
