//! Folds per-channel scales and shifts into the weights before them: batch normalisation at inference.
//!
//! A convolution or product with fixed weights (they depend on state that the entry does not update), followed by
//! additions, subtractions, multiplications and divisions with fixed factors for each output channel, becomes
//!
//! ```text
//! ((x · w) + b - mean) * scale * gamma + beta  =  x · (w * A) + B     A = scale * gamma,  B = (b - mean) * A + beta
//! ```
//!
//! [`prepare`](mod@crate::choose::prepare) then computes `w * A` and `B` once for every state. Factors are recognised after
//! `simplify`, as broadcasts along the channel axis. A lone bias stays as it is; a chain ends where a value is used
//! twice. Changes rounding. Linear, but for the chains' users.
//!
//! Factors of ordinary size only: `(x · w) * 1e-30 * 1e-30` is 1e-30 where x · w is 1e30, but `1e-30 * 1e-30` is 0 already.
//! So a chain stays as it is where the product of its factors leaves 2^-16 to 2^16 with state of size 1, or 2^-80 to 2^80 with
//! state from 2^-8 to 2^8, which is what training leaves behind: `rsqrt(variance + eps)` is from 2^-4 to 2^4 then.

use brolga_ir::ops::{Conv, ConvForm, Dot, Elementwise, Op};
use brolga_ir::scalar::{Function, ScalarOp};
use brolga_ir::{Builder, Graph, GraphError, NodeId, Type, Value};

use crate::facts::fixed::{Dependence, along, dependence_in, of_regions};
use crate::facts::table::NodeTable;
use crate::options::Options;
use crate::rewrite::regions;

/// From and to which size something is.
type Sizes = (f64, f64);

/// What state is at most, and its inverse at least, and what all factors of a chain together are then.
const BOUNDS: [(f64, f64); 2] = [(1.0, 65_536.0), (256.0, 1.2e24)];

/// Operations that are looked at to find the size of a factor.
const MOST_OPERATIONS: usize = 64;

/// Scales weights by what follows them.
pub fn batch_norm(graph: &mut Graph, _: &Options) -> Result<bool, GraphError> {
    scale(graph, None)
}

/// In a graph, and first in the bodies of its loops: what is made of their weights is made once for all iterations, by
/// [`hoist`](mod@crate::graph::hoist). In a branch it would be made in every call, so nothing is scaled there.
fn scale(graph: &mut Graph, given: Option<&[Dependence]>) -> Result<bool, GraphError> {
    let outside = dependence_in(graph, given);
    let known = |graph: &Graph, id: NodeId| of_regions(graph, id, &outside);
    let mut changed = regions::apply_with(graph, &known, &mut |region, given| scale(region, Some(&given)))?;
    let dependence = dependence_in(graph, given);
    for id in graph.order() {
        for product in products(graph, id, &dependence) {
            if fold(graph, id, &product, &dependence)? {
                changed = true;
                break;
            }
        }
    }
    Ok(changed)
}

/// A product with fixed weights, and an axis of the weights that is an axis of the result.
struct FixedProduct {
    /// Which operand the weights are.
    weights: usize,
    /// The axis of the weights.
    from: usize,
    /// The axis of the result.
    to: usize,
}

/// The ways in which a node is a product with fixed weights.
fn products(graph: &Graph, id: NodeId, dependence: &NodeTable<Dependence>) -> Vec<FixedProduct> {
    let node = graph.node(id);
    // What is rounded already is not scaled any more.
    if graph.choice(id).weights.is_some() {
        return Vec::new();
    }
    let fixed = |operand: usize| *dependence.get(node.operands[operand].node) != Dependence::Call;
    let to = || graph.choice(id).layout.channel_axis(node.types[0].rank());
    match &node.op {
        Op::Conv(Conv { form: ConvForm::Forward, .. }) if fixed(1) && !fixed(0) => {
            vec![FixedProduct { weights: 1, from: 0, to: to() }]
        }
        Op::Conv(Conv { form: ConvForm::InputGradient { .. }, groups: 1, .. }) if fixed(1) && !fixed(0) => {
            vec![FixedProduct { weights: 1, from: 1, to: to() }]
        }
        Op::Dot(dot) if fixed(1) != fixed(0) => dot_products(graph, id, dot, usize::from(fixed(1))),
        _ => Vec::new(),
    }
}

fn dot_products(graph: &Graph, id: NodeId, dot: &Dot, side: usize) -> Vec<FixedProduct> {
    let ranks = [0, 1].map(|side| graph.operand_types(id)[side].rank());
    let first = dot.batch[0].len() + if side == 1 { dot.free(0, ranks[0]).len() } else { 0 };
    let free = dot.free(side, ranks[side]).into_iter().enumerate();
    free.map(|(position, from)| FixedProduct { weights: side, from, to: first + position }).collect()
}

/// One operation on a product, with its factor.
#[derive(Clone, Copy)]
enum AffineOp {
    Add(Value),
    Sub(Value),
    SubFrom(Value),
    Mul(Value),
    Div(Value),
    Neg,
}

impl AffineOp {
    fn scales(self) -> bool {
        matches!(self, AffineOp::SubFrom(_) | AffineOp::Mul(_) | AffineOp::Div(_) | AffineOp::Neg)
    }

    /// The sizes of a chain's factors, within each of the bounds, with this one behind them; nothing where they are out of the
    /// ordinary, so that weights or other factors could leave their range by them. What is added may be small.
    fn sizes(self, graph: &Graph, mut chain: [Sizes; 2]) -> Option<[Sizes; 2]> {
        for ((from, to), (state, largest)) in chain.iter_mut().zip(BOUNDS) {
            let of = |by: Value| sizes(graph, by, state, &mut { MOST_OPERATIONS });
            let mut added = 0.0;
            match self {
                AffineOp::Neg => {}
                AffineOp::Add(by) | AffineOp::Sub(by) | AffineOp::SubFrom(by) => added = of(by)?.1,
                AffineOp::Mul(by) => {
                    let (least, most) = of(by)?;
                    (*from, *to) = (*from * least, *to * most);
                }
                AffineOp::Div(by) => {
                    let (least, most) = of(by)?;
                    (*from, *to) = (*from / most, *to / least);
                }
            }
            // What is no number is not ordinary either.
            let ordinary = *from >= 1.0 / largest && *to <= largest && added <= largest;
            if !ordinary {
                return None;
            }
        }
        Some(chain)
    }
}

/// The sizes of a value that depends on constants and on state, which is from `1 / state` to `state`; nothing where more than
/// `left` operations compute it.
fn sizes(graph: &Graph, value: Value, state: f64, left: &mut usize) -> Option<Sizes> {
    *left = left.checked_sub(1)?;
    let node = graph.node(value.node);
    let mut of = |operand: usize| sizes(graph, node.operands[operand], state, left);
    Some(match &node.op {
        Op::Constant(constant) => {
            let elements = (0..constant.value.elements()).map(|i| constant.value.get(i).to_f64().abs());
            elements.fold((f64::INFINITY, 0.0), |(least, most), size| (size.min(least), size.max(most)))
        }
        Op::Broadcast(_) | Op::Reshape(_) | Op::Transpose(_) => of(0)?,
        Op::Elementwise(Elementwise { op }) => {
            let operands = (0..node.operands.len()).map(of).collect::<Option<Vec<Sizes>>>()?;
            match (op, &operands[..]) {
                (ScalarOp::Neg | ScalarOp::Abs, &[x]) => x,
                (ScalarOp::Mul, &[a, b]) => (a.0 * b.0, a.1 * b.1),
                (ScalarOp::Div, &[a, b]) => (a.0 / b.1, a.1 / b.0),
                // Of what has one sign, such as a variance.
                (ScalarOp::Add, &[a, b]) => (a.0.max(b.0), a.1 + b.1),
                (ScalarOp::Sqrt, &[x]) => (x.0.sqrt(), x.1.sqrt()),
                (ScalarOp::Function(Function::Rsqrt), &[x]) => (1.0 / x.1.sqrt(), 1.0 / x.0.sqrt()),
                _ => (1.0 / state, state),
            }
        }
        _ => (1.0 / state, state),
    })
}

/// The only user of a node, if it is a step with a factor for each channel.
fn next(
    graph: &Graph,
    id: NodeId,
    axis: usize,
    dependence: &NodeTable<Dependence>,
) -> Option<(NodeId, AffineOp)> {
    let value = graph.result(id);
    let &[user] = graph.users(id).as_slice() else { return None };
    if graph.use_count(value) != 1 {
        return None;
    }
    let node = graph.node(user);
    let Op::Elementwise(Elementwise { op }) = node.op else { return None };
    let first = node.operands[0] == value;
    let other = |position: usize| along(graph, node.operands[position], axis, dependence);
    let step = match (op, first) {
        (ScalarOp::Neg, _) => AffineOp::Neg,
        (ScalarOp::Add, first) => AffineOp::Add(other(usize::from(first))?),
        (ScalarOp::Mul, first) => AffineOp::Mul(other(usize::from(first))?),
        (ScalarOp::Sub, true) => AffineOp::Sub(other(1)?),
        (ScalarOp::Sub, false) => AffineOp::SubFrom(other(0)?),
        (ScalarOp::Div, true) => AffineOp::Div(other(1)?),
        _ => return None,
    };
    Some((user, step))
}

fn fold(
    graph: &mut Graph,
    id: NodeId,
    product: &FixedProduct,
    dependence: &NodeTable<Dependence>,
) -> Result<bool, GraphError> {
    // The chain first, so that nothing is built where there is none.
    let mut steps: Vec<AffineOp> = Vec::new();
    let mut top = id;
    let mut sizes = [(1.0, 1.0); 2];
    // From a value to its user: graphs have no cycles.
    while let Some((user, step)) = next(graph, top, product.to, dependence) {
        let Some(with) = step.sizes(graph, sizes) else { return Ok(false) };
        sizes = with;
        steps.push(step);
        top = user;
    }
    if !steps.iter().any(|step| step.scales()) && steps.len() < 2 {
        return Ok(false);
    }
    let (node, last) = (graph.node(id).clone(), graph.node(top).origin.clone());
    let choice = graph.choice(id);
    let b = &mut Builder::new(graph, node.origin);
    let ty = node.types[0].with_dims([node.types[0].dims[product.to]]);
    let mut affine = Affine { ty, scale: None, shift: None };
    for step in steps {
        affine.apply(b, step)?;
    }
    let mut operands = node.operands;
    if let Some(scale) = affine.scale {
        let weights = operands[product.weights];
        let dims = b.dims(weights);
        let scale = b.broadcast(scale, &dims, &[product.from])?;
        operands[product.weights] = b.mul(weights, scale)?;
    }
    let mut value = b.add_chosen(node.op, choice, &operands)?;
    b.origin = last;
    if let Some(shift) = affine.shift {
        let shift = b.broadcast(shift, &node.types[0].dims, &[product.to])?;
        value = b.add(value, shift)?;
    }
    graph.replace_uses(graph.result(top), value);
    Ok(true)
}

/// `product * scale + shift`, both of type `ty`, which is `[channels]`; nothing stands for 1 and 0.
struct Affine {
    ty: Type,
    scale: Option<Value>,
    shift: Option<Value>,
}

impl Affine {
    /// Applies a step to the whole.
    fn apply(&mut self, b: &mut Builder, step: AffineOp) -> Result<(), GraphError> {
        let (AffineOp::Add(by)
        | AffineOp::Sub(by)
        | AffineOp::SubFrom(by)
        | AffineOp::Mul(by)
        | AffineOp::Div(by)) = step
        else {
            return self.negate(b);
        };
        let by = if b.ty(by).elements() == self.ty.elements() {
            b.reshape(by, &self.ty.dims)?
        } else {
            let one = b.reshape(by, &[])?;
            b.broadcast(one, &self.ty.dims, &[])?
        };
        match step {
            AffineOp::Neg => {}
            AffineOp::SubFrom(_) => {
                self.negate(b)?;
                self.shift = Some(self.shift.map_or(Ok(by), |shift| b.add(by, shift))?);
            }
            AffineOp::Add(_) => self.shift = Some(self.shift.map_or(Ok(by), |shift| b.add(shift, by))?),
            AffineOp::Sub(_) => {
                self.shift = Some(match self.shift {
                    Some(shift) => b.sub(shift, by)?,
                    None => b.neg(by)?,
                });
            }
            AffineOp::Mul(_) => {
                self.scale = Some(self.scale.map_or(Ok(by), |scale| b.mul(scale, by))?);
                self.shift = self.shift.map(|shift| b.mul(shift, by)).transpose()?;
            }
            AffineOp::Div(_) => {
                let scale = self.scale_or_one(b)?;
                self.scale = Some(b.div(scale, by)?);
                self.shift = self.shift.map(|shift| b.div(shift, by)).transpose()?;
            }
        }
        Ok(())
    }

    fn negate(&mut self, b: &mut Builder) -> Result<(), GraphError> {
        let scale = self.scale_or_one(b)?;
        self.scale = Some(b.neg(scale)?);
        self.shift = self.shift.map(|shift| b.neg(shift)).transpose()?;
        Ok(())
    }

    fn scale_or_one(&self, b: &mut Builder) -> Result<Value, GraphError> {
        self.scale.map_or_else(|| b.full(1.0, &self.ty), Ok)
    }
}
