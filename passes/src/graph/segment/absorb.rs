//! What stands before a loop for all its steps, and only for it, goes into its body: each segment then has its part.
//!
//! ```text
//! a = dot(X, W) + b; scan over a         becomes         scan over X, with a_t = dot(x_t, W) + b inside
//! ```
//!
//! These are products of the sequence with something that is the same for all steps, random numbers for all steps, and what follows
//! of them element by element. `time-batch` does products for all steps of a segment at once, again. Bits stay: terms are the
//! same, and so are the numbers of draws.

use brolga_ir::ops::{Broadcast, Dot, Op, Random, Scan};
use brolga_ir::{Builder, DType, Graph, GraphError, NodeId, Value};
use rustc_hash::FxHashMap;

use crate::rewrite::interface::{Selection, new_parameter};

/// Operations one behind the other that are looked through, at most.
const DEEPEST: usize = 8;

/// Puts a loop that does such work itself in the place of one; which that is.
pub(super) fn absorb(graph: &mut Graph, id: NodeId, scan: &Scan) -> Result<NodeId, GraphError> {
    let mut operands = graph.node(id).operands.clone();
    let (fixed, count, results) = (scan.carries + scan.slices, operands.len(), graph.results(id).len());
    let is_absorbed = |number: &usize| goes_in(graph, operands[*number], DEEPEST);
    let absorbed: Vec<usize> = (scan.carries..fixed).filter(is_absorbed).collect();
    if absorbed.is_empty() {
        return Ok(id);
    }
    let mut step = Step { body: scan.body.clone(), given: Vec::new(), made: FxHashMap::default(), depth: 0 };
    for &number in &absorbed {
        let value = step.of(graph, operands[number])?;
        let parameter = scan.body.result(scan.body.parameters()[number]);
        step.body.replace_uses(parameter, value);
    }
    let left = (scan.carries..fixed).filter(|number| !absorbed.contains(number));
    let slices: Vec<usize> = left.chain(numbers(&step.given, count, true)).collect();
    let captures = (fixed..count).chain(numbers(&step.given, count, false));
    let parameters = (0..scan.carries).chain(slices.iter().copied()).chain(captures).collect();
    for given in &step.given {
        let value = match given.outside {
            Some(value) => value,
            None => {
                let origin = graph.node(id).origin.clone();
                Builder::new(graph, origin).iota(DType::I64, &[scan.length], 0)?
            }
        };
        operands.push(value);
    }
    let selection = Selection {
        parameters,
        stands: (0..operands.len()).collect(),
        outputs: (0..results).collect(),
        carries: scan.carries,
        slices: slices.len(),
    };
    let op: Op = Scan { body: step.body, ..scan.clone() }.into();
    let new = selection.put(graph, id, &op, &operands)?;
    graph.remove(id);
    Ok(new.first().map_or(id, |value| value.node))
}

/// Whether a value of all steps is such work, and for the loop alone.
fn goes_in(graph: &Graph, value: Value, depth: usize) -> bool {
    let node = graph.node(value.node);
    depth > 0
        && graph.use_count(value) == 1
        && match &node.op {
            Op::Dot(dot) => dot.batch[0].is_empty() && !dot.contract[0].contains(&0),
            Op::Random(_) => node.operands.len() == 2,
            Op::Elementwise(_) => node.operands.iter().any(|&operand| goes_in(graph, operand, depth - 1)),
            _ => false,
        }
}

/// What the body takes, behind what it took.
struct Given {
    /// The operand; without one, the numbers of the steps.
    outside: Option<Value>,
    /// Whether it is a slice, or a capture.
    sliced: bool,
}

/// The body of a loop, which gets more to do.
struct Step {
    body: Graph,
    given: Vec<Given>,
    /// For values outside what stands for them: in a step, or, of captures, in all.
    made: FxHashMap<(Value, bool), Value>,
    /// Operations around the one that is looked at.
    depth: usize,
}

/// The numbers of the parameters that are slices, or of those that are captures, from `first` on.
fn numbers(given: &[Given], first: usize, sliced: bool) -> Vec<usize> {
    (0..given.len()).filter(|&number| given[number].sliced == sliced).map(|number| first + number).collect()
}

impl Step {
    /// The part that one step has of a value of all steps.
    fn of(&mut self, graph: &Graph, value: Value) -> Result<Value, GraphError> {
        if let Some(&made) = self.made.get(&(value, true)) {
            return Ok(made);
        }
        let node = graph.node(value.node);
        let in_time = graph.use_count(value) == 1 && self.depth < 8 * DEEPEST;
        self.depth += 1;
        let part = match &node.op {
            Op::Dot(Dot { batch, contract }) if in_time && goes_in(graph, value, 1) => {
                let operands = [self.of(graph, node.operands[0])?, self.all(graph, node.operands[1])?];
                let contract = [contract[0].iter().map(|axis| axis - 1).collect(), contract[1].clone()];
                self.builder(graph, value).add_node(Dot { batch: batch.clone(), contract }, &operands)?
            }
            Op::Random(random) if in_time && node.operands.len() == 2 => {
                let mut operands =
                    vec![self.all(graph, node.operands[0])?, self.all(graph, node.operands[1])?];
                operands.push(self.number());
                let ty = random.ty.with_dims(random.ty.dims[1..].to_vec());
                self.builder(graph, value).add_node(Random { ty, ..random.clone() }, &operands)?
            }
            Op::Elementwise(op) if in_time && goes_in(graph, value, DEEPEST) => {
                let mut operands = Vec::with_capacity(node.operands.len());
                for &operand in &node.operands {
                    operands.push(self.of(graph, operand)?);
                }
                self.builder(graph, value).add_node(op.clone(), &operands)?
            }
            Op::Broadcast(Broadcast { dims, axes }) if axes.first() != Some(&0) => {
                let operand = self.all(graph, node.operands[0])?;
                let axes: Vec<usize> = axes.iter().map(|axis| axis - 1).collect();
                self.builder(graph, value).broadcast(operand, &dims[1..], &axes)?
            }
            _ => {
                let ty = graph.ty(value);
                let step = ty.with_dims(ty.dims[1..].to_vec());
                self.given.push(Given { outside: Some(value), sliced: true });
                new_parameter(&mut self.body, "step", &step)
            }
        };
        self.depth -= 1;
        self.made.insert((value, true), part);
        Ok(part)
    }

    /// A value that is the same in all steps: captured, or made again if it is a constant.
    fn all(&mut self, graph: &Graph, value: Value) -> Result<Value, GraphError> {
        if let Some(&made) = self.made.get(&(value, false)) {
            return Ok(made);
        }
        let node = graph.node(value.node);
        let made = match &node.op {
            Op::Constant(_) => self.builder(graph, value).add_node(node.op.clone(), &[])?,
            _ => {
                self.given.push(Given { outside: Some(value), sliced: false });
                new_parameter(&mut self.body, "same", graph.ty(value))
            }
        };
        self.made.insert((value, false), made);
        Ok(made)
    }

    /// The number of the step.
    fn number(&mut self) -> Value {
        self.given.push(Given { outside: None, sliced: true });
        new_parameter(&mut self.body, "step", &brolga_ir::Type::scalar(DType::I64))
    }

    fn builder(&mut self, graph: &Graph, value: Value) -> Builder<'_> {
        Builder::new(&mut self.body, graph.node(value.node).origin.clone())
    }
}
