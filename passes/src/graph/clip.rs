//! Windows no longer than what they can see: sums, maxima and minima under windows that reach beyond the image, and the winners
//! of the latter with their gradients. Kernels of convolutions: `clip/kernels.rs`.
//!
//! A place of a window at which no window sees an element is left out, and its padding with it: what lies outside of the operand
//! is not in a sum or maximum, so no bit changes. `AvgPool2d(32768, padding: 16384)` of 8 x 8 elements is a window of 8 x 8. (What
//! a mean is divided by is not here: the frontend counts it.)
//!
//! Windows that are longer than the axis all the same, because each sees another part of it, are of three sorts: those that end
//! inside, which need no place before; those that see all, which are alike; and those that begin inside. They are made apart
//! and joined. Where steps are no multiple of the dilation, windows that see all differ by the place where they begin, and are
//! looked up among those of all such places. Windows that see nothing are the identity, where there are many of them.
//!
//! The gradients of windows stand on those, so this comes before `grad`; what a graph has of its own is clipped as well. Sums that
//! one element gets from several sorts are formed sort by sort. Changes nothing by the extents of axes that windows leave alone,
//! the batch is one of them. Linear in the graph.

mod along;
mod kernels;

use brolga_ir::ops::SelectForm;
use brolga_ir::scalar::Scalar;
use brolga_ir::{Builder, Graph, GraphError, NodeId, Tensor};

use crate::graph::windowed::{Built, Windowed};
use crate::options::Options;
use crate::rewrite::rewriter::{Replacement, sweep_all};
use along::{Along, Makes, Part};

/// Clips windows.
pub fn clip(graph: &mut Graph, _: &Options) -> Result<bool, GraphError> {
    sweep_all(graph, &mut clip_node)
}

fn clip_node(graph: &mut Graph, id: NodeId) -> Replacement {
    let Some(node) = Windowed::at(graph, id) else { return kernels::clip_kernel(graph, id) };
    for axis in 0..node.x.rank() {
        let along = Along::new(&node, axis);
        let Some(parts) = along.parts() else { continue };
        let origin = graph.node(id).origin.clone();
        let b = &mut Builder::new(graph, origin);
        let result = match node.form {
            Some(SelectForm::Scatter) => scattered(b, &node, along, &parts)?,
            _ => joined(b, &node, along, &parts)?,
        };
        return Ok(Some(vec![result]));
    }
    Ok(None)
}

/// Results of windows along the axis, joined.
fn joined(b: &mut Builder, node: &Windowed, along: Along, parts: &[Part]) -> Built {
    let dims_of = |count: i64| {
        let mut dims = node.y.dims.clone();
        dims[along.axis] = count as usize;
        dims
    };
    let nothing = |b: &mut Builder, count: i64| -> Built {
        let dtype = node.y.dtype;
        let value = match node.form {
            None => node.window.combine.identity(dtype),
            Some(_) => Scalar::zero(dtype),
        };
        let value = b.constant(Tensor::scalar(value))?;
        b.broadcast(value, &dims_of(count), &[])
    };
    let mut results = Vec::new();
    for &Part { first, count, makes } in parts {
        results.push(match makes {
            Makes::Nothing => nothing(b, count)?,
            Makes::Each(from, to) => {
                let window = along.clipped(&node.window, first, count, (from, to));
                node.through(b, window, &node.operands)?
            }
            Makes::Same(from, to) => {
                let window = along.clipped(&node.window, first, 1, (from, to));
                let one = node.through(b, window, &node.operands)?;
                let others: Vec<usize> = (0..node.y.rank()).filter(|&axis| axis != along.axis).collect();
                let flat: Vec<usize> = others.iter().map(|&axis| node.y.dims[axis]).collect();
                let one = b.reshape(one, &flat)?;
                b.broadcast(one, &dims_of(count), &others)?
            }
            Makes::Phases => {
                let (window, phases) = along.phases(&node.window);
                let all = node.through(b, window, &node.operands)?;
                let blind = nothing(b, 1)?;
                let all = b.concat(&[all, blind], along.axis)?;
                let phase = along.phase(b, first, count, phases)?;
                b.gather(all, phase, along.axis)?
            }
        });
    }
    b.concat(&results, along.axis)
}

/// Elements of x get what the windows have: the sum over all parts.
fn scattered(b: &mut Builder, node: &Windowed, along: Along, parts: &[Part]) -> Built {
    let (x, axis) = (node.operands[0], along.axis);
    let mut sum = None;
    for &Part { first, count, makes } in parts {
        let dy = b.slice_axis(node.operands[1], axis, first as usize, (first + count) as usize)?;
        let mut dims = b.dims(dy);
        let (window, dy) = match makes {
            Makes::Nothing => continue,
            Makes::Each(from, to) => (along.clipped(&node.window, first, count, (from, to)), dy),
            Makes::Same(from, to) => {
                dims[axis] = 1;
                let dy = b.sum(dy, &[axis])?;
                (along.clipped(&node.window, first, 1, (from, to)), b.reshape(dy, &dims)?)
            }
            Makes::Phases => {
                let (window, phases) = along.phases(&node.window);
                let phase = along.phase(b, first, count, phases)?;
                dims[axis] = phases as usize + 1;
                let zeros = b.full(0.0, &node.y.with_dims(dims))?;
                let all = b.scatter_add(zeros, phase, dy, axis)?;
                (window, b.slice_axis(all, axis, 0, phases as usize)?)
            }
        };
        let dx = node.through(b, window, &[x, dy])?;
        sum = Some(match sum {
            None => dx,
            Some(sum) => b.add(sum, dx)?,
        });
    }
    sum.map_or_else(|| b.zeros_like(x), Ok)
}
