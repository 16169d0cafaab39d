//! Moves what has no dependence between iterations out of a `scan`, and over the whole sequence.
//!
//! Three kinds of work are done at once:
//!
//! ```text
//! before   a_t = dot(x_t, W)                x_t a slice, W captured:   A = dot(X, W), and a_t is a slice of A
//! behind   y_t = dot(h_t, V)                no carry needs y_t:        h_t is stacked, and Y = dot(H, V)
//! sums     g' = g + dot(h_t, d_t)           nothing else needs g:      both are stacked, and G = g0 + dot(H, D) over time as well
//! ```
//!
//! A carry whose next value needs no other step is a slice too, of the sequence shifted by one (`shifted.rs`). The sums
//! are the gradients of weights, which would be read and written in every iteration. With a product goes what it is made of
//! outside, and what it is followed by as long as that makes nothing larger that the loop reads: a bias, an activation. What
//! decides:
//!
//! - A product pays where one of its operands is captured: that is read once then, not in every iteration. So does a look-up in a
//!   captured table, whose gradient is one sum by indices then.
//! - Work on elements of slices alone pays where it is a result; otherwise it stays: in the loop it costs a pass over what is read
//!   there anyway, outside one more tensor.
//! - A sum of products pays always: what is stacked for it, which the loop makes anyway, is written once. A sum of elements pays
//!   where those are stacked already, or made of a product that goes behind the loop: the loss of every step.
//!
//! Random numbers stay: draws belong to the iteration. So does what has no form with one more axis (`over.rs`). A `while` has no
//! sequence, a branch no iteration. A guarded loop may end before its sequence does, and what it stacks is 0 from there on: results
//! that are computed behind it are chosen by its guard, which is stacked; sums, shifted carries and results of slices alone stay. While
//! derivatives are still to be built, so does what may have infinite ones for steps that are not run (`facts/unrun.rs`). Bodies
//! that hold derivatives are left alone: `grad` removes these first. So are loops over segments: their sequences are not held at once.
//!
//! What is computed before or behind keeps its bits: each result has the same terms in the same order. Sums over time are formed in
//! the order of the sequence, step after step: rounding. What is chosen depends on what captures, slices and carries are, and on
//! no extent but in comparisons of tensors of one sample axis, so not on the batch. Linear, for each level of loops in loops.

mod before;
mod behind;
mod outer;
mod over;
mod shifted;
mod sums;

use brolga_ir::ops::{Op, RegionOp, Scan, Segments};
use brolga_ir::{Graph, GraphError, NodeId};

use crate::facts::unrun::Unrun;
use crate::options::Options;
use crate::rewrite::regions;
use outer::Left;

/// Moves work over the whole sequence.
pub fn time_batch(graph: &mut Graph, _: &Options) -> Result<bool, GraphError> {
    let unrun = Unrun::of(graph);
    batch_all(graph, unrun)
}

fn batch_all(graph: &mut Graph, unrun: Unrun) -> Result<bool, GraphError> {
    let mut changed = regions::apply(graph, &mut |region| batch_all(region, unrun))?;
    let is_loop = |id: &NodeId| sequence(&graph.node(*id).op).is_some();
    for id in graph.order().into_iter().filter(is_loop).collect::<Vec<_>>() {
        let mut at = id;
        // What leaves the loop makes other work pay. Progress: each time nodes or carries leave the body.
        while let Some(scan) = sequence(&graph.node(at).op).cloned() {
            match move_some(graph, at, &scan, unrun)? {
                Left::All => break,
                Left::Loop(left) => (at, changed) = (left, true),
                Left::Nothing => {
                    changed = true;
                    break;
                }
            }
        }
    }
    Ok(changed)
}

/// Moves work out of a loop.
type Work = fn(&mut Graph, NodeId, &Scan, Unrun) -> Result<Left, GraphError>;

/// Moves one kind of work out of a loop. A guarded one may end before what a carry would be shifted to is there.
fn move_some(graph: &mut Graph, id: NodeId, scan: &Scan, unrun: Unrun) -> Result<Left, GraphError> {
    let work: [Work; 3] = [shifted::shift, before::move_before, behind::move_behind];
    for work in work.into_iter().skip(usize::from(scan.guarded)) {
        match work(graph, id, scan, unrun)? {
            Left::All => {}
            left => return Ok(left),
        }
    }
    Ok(Left::All)
}

/// The operator, if it is a loop over several steps of a sequence.
fn sequence(op: &Op) -> Option<&Scan> {
    match op.region_op()? {
        RegionOp::Scan(scan) => {
            let derives = scan.body.nodes().any(|id| scan.body.node(id).op.is_derivative());
            (scan.length > 1 && !derives && scan.segments == Segments::No).then_some(scan)
        }
        RegionOp::While(_) | RegionOp::Cond(_) | RegionOp::Fused(_) => None,
    }
}
