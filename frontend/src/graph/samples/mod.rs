//! What a value is of the samples of a batch: one of each sample, a mean over them, a sum, or something else.
//!
//! A metric is taken batch by batch, so it is right for a whole set only if it is a mean over samples; and what `total` adds
//! up must be a sum over them. Graphs are concrete and do not say which axis holds the samples. So the entry is built twice,
//! for a batch and for one of twice its size: the axis of an input that differs is that of its samples. From there on each
//! operator has a rule ([`rules`]) that says where the samples are in its result, and whether it keeps them apart. Constants
//! that differ say by what sums are divided. What outputs are of the samples is found in the same way, and says whether the
//! samples of a call may be run in several.

mod rules;
mod share;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use brolga_ir::graph::{Graph, NodeId, Value};
use brolga_ir::ops::{Op, Scan};

pub(crate) use share::{MEAN, SUM, Share};

/// What an input or output of an entry point is of the samples of a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Samples {
    /// The same whatever the samples are, and however many: a weight, an input that all samples share.
    Same,
    /// One part for each sample along this axis, which is as long as the batch; made of that sample alone.
    Along(usize),
    /// Something of all samples of a call, such as a sum over them; or of single ones in another way than along one axis.
    Together,
}

impl From<Share> for Samples {
    fn from(share: Share) -> Samples {
        match share {
            Share::Fixed(Some(MEAN)) => Samples::Same,
            // Another ratio: it is made of that sample, and of how many there are.
            Share::Samples { along, ratio: Some(MEAN) } if (along.outer, along.inner) == (1, 1) => {
                Samples::Along(along.axis)
            }
            _ => Samples::Together,
        }
    }
}

/// The shares of the values that `roots` of `one` are made of, which has so many samples; `two` is the same for twice as
/// many. `None` if the two are of another structure.
pub(crate) fn shares(
    one: (&Graph, &[Value]),
    two: (&Graph, &[Value]),
    batch: usize,
) -> Option<HashMap<Value, Share>> {
    shares_from(one, two, batch, HashMap::new())
}

/// The same, where the shares of some values of `one` are known: the parameters of the body of a loop.
fn shares_from(
    (one, roots_one): (&Graph, &[Value]),
    (two, roots_two): (&Graph, &[Value]),
    batch: usize,
    mut shares: HashMap<Value, Share>,
) -> Option<HashMap<Value, Share>> {
    let order_one = one.order_from(roots_one.iter().copied());
    let order_two = two.order_from(roots_two.iter().copied());
    let place = |order: &[NodeId]| -> HashMap<NodeId, usize> {
        order.iter().enumerate().map(|(at, id)| (*id, at)).collect()
    };
    let (places_one, places_two) = (place(&order_one), place(&order_two));
    let same = |a: &Value, b: &Value| a.index == b.index && places_one[&a.node] == places_two[&b.node];
    if order_one.len() != order_two.len() || !roots_one.iter().zip(roots_two).all(|(a, b)| same(a, b)) {
        return None;
    }
    for (&a, &b) in order_one.iter().zip(&order_two) {
        let (x, y) = (one.node(a), two.node(b));
        let alike = x.op.get().name() == y.op.get().name()
            && x.operands.len() == y.operands.len()
            && x.types.len() == y.types.len()
            && x.operands.iter().zip(&y.operands).all(|(a, b)| same(a, b));
        if !alike {
            return None;
        }
        let operands: Vec<Share> = x.operands.iter().map(|operand| shares[operand]).collect();
        let types: Vec<_> =
            x.operands.iter().zip(&y.operands).map(|(a, b)| [one.ty(*a), two.ty(*b)]).collect();
        let looped = match (&x.op, &y.op) {
            (Op::Scan(one), Op::Scan(two)) => looped([one, two], &operands, batch).unwrap_or_default(),
            _ => Vec::new(),
        };
        for (index, (value, twice)) in one.results(a).into_iter().zip(two.results(b)).enumerate() {
            let node = rules::NodePair {
                ops: [&x.op, &y.op],
                operands: &operands,
                looped: &looped,
                types: &types,
                result: [one.ty(value), two.ty(twice)],
                index,
                batch,
            };
            shares.entry(value).or_insert_with(|| node.share());
        }
    }
    Some(shares)
}

/// The shares of a loop's results, for so many samples and for twice as many. What a carry is at the beginning of a step it must
/// be at its end, so the body is gone through until that holds; `None` where it never does.
fn looped([one, two]: [&Scan; 2], operands: &[Share], batch: usize) -> Option<Vec<Share>> {
    let carries = one.carries;
    let form = |scan: &Scan| (scan.length, scan.carries, scan.slices, scan.reverse, scan.guarded);
    if form(one) != form(two) {
        return None;
    }
    let of_slice = |(at, share): (usize, &Share)| match (carries..carries + one.slices).contains(&at) {
        true => share.without_first_axis(),
        false => *share,
    };
    let mut inside: Vec<Share> = operands.iter().enumerate().map(of_slice).collect();
    let roots = [one, two]
        .map(|scan| -> Vec<Value> { scan.body.outputs().iter().map(|output| output.value).collect() });
    let parameters: Vec<Value> = one.body.parameters().iter().map(|&id| one.body.result(id)).collect();
    // What a carry is becomes less with each step that changes it: the same for all samples, linear in them (or of single ones), that
    // by an unknown factor, mixed.
    for _ in 0..=3 * carries {
        let known = parameters.iter().copied().zip(inside.iter().copied()).collect();
        let shares = shares_from((&one.body, &roots[0]), (&two.body, &roots[1]), batch, known)?;
        let ends: Vec<Share> = roots[0].iter().map(|root| shares[root]).collect();
        let joined: Vec<Share> = inside.iter().zip(&ends[..carries]).map(|(a, b)| a.or(*b)).collect();
        if joined == inside[..carries] {
            let stacked = ends[carries..].iter().map(|share| share.with_first_axis());
            return Some(joined.into_iter().chain(stacked).collect());
        }
        inside[..carries].copy_from_slice(&joined);
    }
    None
}
