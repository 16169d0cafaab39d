//! `formulas`: boolean formulas as trees, and whether they are true.
//!
//! A tree is its nodes in post-order, children before their parents. The symbols are `false`, `true`, `and`, `or`; an inner node
//! has the numbers of its two children, a leaf -1 for both. (The task of recursive networks: Socher, Lin, Ng & Manning,
//! "Parsing natural scenes and natural language with recursive neural networks", 2011, on trees whose labels can be computed.)

use brolga_runtime::{Random, Result, Tensor};

use super::call::{Otherwise, Parameter};
use super::part::{Arrays, Part, SEED, count, whole};

/// The arguments of `formulas`. A tree of depth d has at most 2^(d + 1) - 1 nodes.
pub(super) const PARAMETERS: &[Parameter] =
    &[Parameter { name: "depth", otherwise: Otherwise::Number(4), range: [1, 10] }, count(8_000), SEED];

const AND: i32 = 2;
const OR: i32 = 3;

/// A node: its symbol, and its children or -1.
#[derive(Clone, Copy, Debug)]
struct Node {
    symbol: i32,
    left: i32,
    right: i32,
}

/// The nodes of a formula of at most that depth, behind those that are there, and whether it is true. One in four places is a
/// leaf before the depth makes it one; `root` is none.
fn grow(depth: usize, root: bool, nodes: &mut Vec<Node>, random: &mut Random) -> bool {
    if depth == 0 || !root && random.below(4) == 0 {
        let symbol = random.below(2) as i32;
        nodes.push(Node { symbol, left: -1, right: -1 });
        return symbol == 1;
    }
    let symbol = if random.below(2) == 0 { AND } else { OR };
    let a = grow(depth - 1, false, nodes, random);
    let left = nodes.len() as i32 - 1;
    let b = grow(depth - 1, false, nodes, random);
    let right = nodes.len() as i32 - 1;
    nodes.push(Node { symbol, left, right });
    if symbol == AND { a && b } else { a || b }
}

/// The samples of a part: `symbol`, `left` and `right` of each node (0 and -1 behind the last one), `nodes`, how many there
/// are, and the `label`, 1 if the formula is true.
pub(super) fn make(part: &mut Part<'_>) -> Result<Arrays> {
    let samples = part.samples;
    let depth = part.arguments.get("depth");
    let most = (2 << depth) - 1;
    let mut symbols = whole(samples, most, 0)?;
    let (mut lefts, mut rights) = (whole(samples, most, -1)?, whole(samples, most, -1)?);
    let (mut sizes, mut labels) = (whole(samples, 1, 0)?, whole(samples, 1, 0)?);
    let mut nodes = Vec::with_capacity(most);
    for (sample, (label, size)) in labels.iter_mut().zip(&mut sizes).enumerate() {
        nodes.clear();
        *label = i32::from(grow(depth, true, &mut nodes, &mut part.random));
        *size = nodes.len() as i32;
        for (at, node) in nodes.iter().enumerate() {
            let at = sample * most + at;
            (symbols[at], lefts[at], rights[at]) = (node.symbol, node.left, node.right);
        }
    }
    let dims = [samples, most];
    Ok(vec![
        ("symbol", Tensor::from_slice(&dims, &symbols)?),
        ("left", Tensor::from_slice(&dims, &lefts)?),
        ("right", Tensor::from_slice(&dims, &rights)?),
        ("nodes", Tensor::from_slice(&[samples], &sizes)?),
        ("label", Tensor::from_slice(&[samples], &labels)?),
    ])
}
