//! The parts of a loop's gradient: an iteration with its reverse walk, what is kept for that, and the loop that runs back.

use rustc_hash::{FxHashMap, FxHashSet};

use crate::graph::Origin;
use crate::ops::*;

/// An iteration with its reverse walk. Lists name a parameter or an output by its number, and the value inside `whole` that is
/// its cotangent.
pub(super) struct Linear {
    pub(super) whole: Graph,
    /// Carries through which cotangents go: the parameter that stands for that of what the iteration leaves.
    pub(super) carries: Vec<(usize, Value)>,
    /// Stacked results with a cotangent, and the parameter that stands for it.
    pub(super) stacked: Vec<(usize, Value)>,
    /// For each of the carries the cotangent of what the iteration begins with, if it has one.
    pub(super) next: Vec<Option<Value>>,
    /// Slices and captures that are wanted.
    pub(super) sliced: Vec<(usize, Value)>,
    pub(super) captured: Vec<(usize, Value)>,
}

impl Linear {
    /// The cotangents that the reverse walk gives.
    pub(super) fn cotangents(&self) -> Vec<Value> {
        let others = self.captured.iter().chain(&self.sliced).map(|&(_, found)| found);
        self.next.iter().filter_map(|&next| next).chain(others).collect()
    }

    /// What one iteration of the loop that runs back gives: the cotangents of carries, sums of those of captures, and those of slices.
    /// `map` says what stands in its body for values of `whole`.
    pub(super) fn iteration(
        &self,
        body: &mut Graph,
        mut map: FxHashMap<Value, Value>,
        sums: &[Value],
        origin: &Origin,
    ) -> Result<Vec<Value>, GraphError> {
        let mut given = Vec::new();
        for (&(_, cotangent), &next) in self.carries.iter().zip(&self.next) {
            given.push(match next {
                Some(next) => body.import(&self.whole, &[next], &mut map)?[0],
                None => Builder::new(body, origin.clone()).full(0.0, self.whole.ty(cotangent))?,
            });
        }
        for (&(_, found), &sum) in self.captured.iter().zip(sums) {
            let found = body.import(&self.whole, &[found], &mut map)?[0];
            given.push(Builder::new(body, origin.clone()).add(sum, found)?);
        }
        for &(_, found) in &self.sliced {
            given.push(body.import(&self.whole, &[found], &mut map)?[0]);
        }
        Ok(given)
    }

    /// Whether a value is a cotangent that the reverse walk takes.
    pub(super) fn is_seed(&self, value: Value) -> bool {
        self.carries.iter().chain(&self.stacked).any(|&(_, seed)| seed == value)
    }

    /// The nodes that depend on cotangents: the reverse walk itself.
    pub(super) fn back(&self) -> FxHashSet<NodeId> {
        let seeds = self.carries.iter().chain(&self.stacked).map(|&(_, seed)| seed.node);
        let mut back: FxHashSet<NodeId> = seeds.collect();
        for id in self.whole.order_from(self.cotangents()) {
            if self.whole.node(id).operands.iter().any(|operand| back.contains(&operand.node)) {
                back.insert(id);
            }
        }
        back
    }
}

impl Linear {
    /// The values that are stacked for some: each itself, or what it alone goes into element by element, as long as that is no
    /// larger. `tanh(dot(h, w) + x)` takes no more room than the product, and nothing of it is done again.
    pub(super) fn stacked_for(&self, is_stacked: impl Fn(Value) -> bool) -> FxHashSet<Value> {
        let whole = &self.whole;
        let outputs = whole.outputs().iter().map(|output| output.value);
        let roots: Vec<Value> = outputs.chain(self.cotangents()).collect();
        let order = whole.order_from(roots.iter().copied());
        // How often a value is read, and by which node.
        let mut uses: FxHashMap<Value, (usize, Option<NodeId>)> = FxHashMap::default();
        roots.into_iter().for_each(|value| uses.entry(value).or_default().0 += 1);
        for &id in &order {
            for &operand in &whole.node(id).operands {
                let entry = uses.entry(operand).or_default();
                *entry = (entry.0 + 1, Some(id));
            }
        }
        let back = self.back();
        let follows = |value: Value| {
            let &(1, Some(user)) = uses.get(&value)? else { return None };
            let result = whole.result(user);
            let fits = whole.node(user).types.len() == 1
                && whole.ty(result).dtype == whole.ty(value).dtype
                && whole.ty(result).elements() <= whole.ty(value).elements();
            (fits && !back.contains(&user) && is_elementwise(whole, user)).then_some(result)
        };
        let last = |value: Value| std::iter::successors(Some(value), |&value| follows(value)).last();
        let results = order.iter().flat_map(|&id| whole.results(id));
        results.filter(|&value| is_stacked(value)).filter_map(last).collect()
    }
}

/// What the way back reads of an iteration.
#[derive(Default)]
pub(super) struct Kept {
    /// Values of `whole`, and where they are.
    pub(super) read: Vec<(Value, Source)>,
    /// Those that the way forward stacks for it, behind its results.
    pub(super) saved: Vec<Value>,
}

/// Where a value of an iteration lies.
#[derive(Clone, Copy)]
pub(super) enum Source {
    /// In the operand of that number: a slice, or a capture.
    Operand(usize),
    /// In the result of that number, or behind the results.
    Result(usize),
}

impl Source {
    pub(super) fn value(self, cx: &GradientCx, results: &[Value]) -> Value {
        match self {
            Source::Operand(number) => cx.operands[number],
            Source::Result(number) => results[number],
        }
    }
}

/// A step of the loop that runs back, where the way forward may have ended before it: then it hands its carries on, and gives 0.
/// Whatever it would make of zeros that are stacked for it, such as NaN, comes into nothing, nor into its own gradient.
pub(super) fn only_if_run(
    step: Graph,
    guard: usize,
    carries: usize,
    origin: &Origin,
) -> Result<Graph, GraphError> {
    let (mut whole, mut otherwise) = (Graph::new(&step.name), Graph::new(&step.name));
    let (mut operands, mut held) = (Vec::new(), Vec::new());
    for &id in step.parameters() {
        let (name, ty) = (step.parameter(id).map_or("", |p| &p.name), &step.node(id).types[0]);
        operands.push(whole.add_parameter(name, Role::Data, ty.clone()));
        held.push(otherwise.add_parameter(name, Role::Data, ty.clone()));
    }
    operands.insert(0, operands[guard]);
    let names: Vec<String> = step.outputs().iter().map(|output| output.name.clone()).collect();
    for (number, output) in step.outputs().iter().enumerate() {
        let value = match number < carries {
            true => held[number],
            false => Builder::new(&mut otherwise, origin.clone()).full(0.0, step.ty(output.value))?,
        };
        otherwise.add_output(&output.name, Role::Data, value);
    }
    let cond = Cond { then: step, otherwise };
    let results = Builder::new(&mut whole, origin.clone()).add_nodes(cond, &operands)?;
    for (name, value) in names.iter().zip(results) {
        whole.add_output(name, Role::Data, value);
    }
    Ok(whole)
}

/// Whether a node computes element by element: cheap enough to be done again.
pub(super) fn is_elementwise(graph: &Graph, id: NodeId) -> bool {
    let node = graph.node(id);
    let definitions = node.op.get().definition(&graph.operand_types(id), &node.types);
    definitions.iter().all(|one| matches!(one, Definition::Element(_) | Definition::Pieces(_)))
}

/// The loop that runs back, in the making.
pub(super) struct Back {
    pub(super) body: Graph,
    pub(super) operands: Vec<Value>,
}

impl Back {
    pub(super) fn parameter(&mut self, name: &str, ty: &Type, operand: Value) -> Value {
        self.operands.push(operand);
        self.body.add_parameter(&format!("{name}{}", self.operands.len()), Role::Data, ty.clone())
    }
}
