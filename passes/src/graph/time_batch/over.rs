//! Operators with one more axis, that of time, in front of all others.

use brolga_ir::choice::Choice;
use brolga_ir::ops::{
    Broadcast, Concat, Conv, ConvForm, Dot, Gather, GatherAlong, Op, Pad, Reduce, ReduceWindow, Reshape,
    Reverse, Slice, Transpose,
};
use brolga_ir::{Builder, Graph, GraphError, NodeId, Value};

/// What stands outside of a loop for a value of its body.
#[derive(Clone, Copy)]
pub(super) enum Outside {
    /// One value for all steps.
    Fixed(Value),
    /// The values of all steps, along a new axis 0.
    Steps(Value),
}

/// How an operator works on all steps at once.
pub(super) struct Way {
    op: Op,
    /// The operands in the order in which it takes them.
    order: Vec<usize>,
    /// Whether operands that are the same in all steps have the new axis too.
    spread: bool,
    /// Whether the new axis and the next are one, in operands and result: images of all steps are one batch.
    joined: bool,
    /// The axes by which the result is put in order.
    turned: Option<Vec<usize>>,
}

/// How a node of a body works on `steps` steps at once, where those operands differ between steps; nothing if it cannot.
pub(super) fn way(region: &Graph, id: NodeId, differ: &[bool], steps: usize) -> Option<Way> {
    let node = region.node(id);
    if node.types.len() != 1 || !differ.contains(&true) {
        return None;
    }
    let plain = |op: Op, spread: bool| {
        let order = (0..differ.len()).collect();
        Some(Way { op, order, spread, joined: false, turned: None })
    };
    let all = differ.iter().all(|&differs| differs);
    match &node.op {
        Op::Elementwise(_) | Op::StopGradient(_) => plain(node.op.clone(), true),
        Op::Broadcast(Broadcast { dims, axes }) => {
            plain(Broadcast { dims: with(steps, dims), axes: with(0, &behind(axes)) }.into(), true)
        }
        Op::Reshape(Reshape { dims }) => plain(Reshape { dims: with(steps, dims) }.into(), true),
        Op::Transpose(Transpose { axes }) => plain(Transpose { axes: with(0, &behind(axes)) }.into(), true),
        Op::Slice(Slice { start, limit, stride }) => {
            let (start, limit, stride) = (with(0, start), with(steps, limit), with(1, stride));
            plain(Slice { start, limit, stride }.into(), true)
        }
        Op::Reverse(Reverse { axes }) => plain(Reverse { axes: behind(axes) }.into(), true),
        Op::Pad(Pad { low, high, interior }) if differ == [true, false] => {
            plain(Pad { low: with(0, low), high: with(0, high), interior: with(0, interior) }.into(), false)
        }
        Op::Concat(Concat { axis }) => plain(Concat { axis: axis + 1 }.into(), true),
        Op::Reduce(Reduce { combine, axes }) => {
            plain(Reduce { combine: *combine, axes: behind(axes) }.into(), true)
        }
        Op::ReduceWindow(window) => plain(window_over(window).into(), true),
        Op::Gather(Gather { axis: 0 }) if differ == [false, true] => plain(node.op.clone(), false),
        Op::GatherAlong(GatherAlong { axis }) if all => plain(GatherAlong { axis: axis + 1 }.into(), true),
        Op::Dot(dot) => dot_over(region, id, dot, differ),
        Op::Conv(Conv { form: ConvForm::Forward | ConvForm::InputGradient { .. }, .. })
            if differ == [true, false] =>
        {
            plain(node.op.clone(), false).map(|way| Way { joined: true, ..way })
        }
        Op::Pad(_) | Op::Gather(_) | Op::GatherAlong(_) | Op::Conv(_) => None,
        Op::Parameter(_) | Op::Constant(_) | Op::Iota(_) | Op::Random(_) => None,
        Op::Scatter(_) | Op::ScatterAlong(_) | Op::WindowSelect(_) | Op::Cumulative(_) | Op::Sort(_) => None,
        Op::Differentiate(_) | Op::Jvp(_) => None,
        Op::Fused(_) | Op::Scan(_) | Op::While(_) | Op::Cond(_) => None,
    }
}

/// A number in front of others.
fn with(first: usize, list: &[usize]) -> Vec<usize> {
    std::iter::once(first).chain(list.iter().copied()).collect()
}

/// Axes behind a new one.
pub(super) fn behind(axes: &[usize]) -> Vec<usize> {
    axes.iter().map(|axis| axis + 1).collect()
}

fn window_over(window: &ReduceWindow) -> ReduceWindow {
    ReduceWindow {
        combine: window.combine,
        window: with(1, &window.window),
        stride: with(1, &window.stride),
        padding: std::iter::once((0, 0)).chain(window.padding.iter().copied()).collect(),
        window_dilation: with(1, &window.window_dilation),
        base_dilation: with(1, &window.base_dilation),
    }
}

/// Rows of all steps by one matrix, or the products of all steps along a batch axis. A matrix by columns that differ becomes rows by
/// the matrix: the same factors, in the same order where there is one contracted axis.
fn dot_over(region: &Graph, id: NodeId, dot: &Dot, differ: &[bool]) -> Option<Way> {
    let node = region.node(id);
    if region.choice(id) != Choice::default() && differ != [true, false] {
        return None;
    }
    let [left, right] = [0, 1].map(|side| behind(&dot.contract[side]));
    let way = |dot: Dot, order: Vec<usize>, turned: Option<Vec<usize>>| {
        Some(Way { op: dot.into(), order, spread: false, joined: false, turned })
    };
    match differ {
        [true, true] => {
            let batch = [0, 1].map(|side| with(0, &behind(&dot.batch[side])));
            way(Dot::new(batch, [left, right]), vec![0, 1], None)
        }
        [true, false] if dot.batch[0].is_empty() => {
            way(Dot::new([vec![], vec![]], [left, dot.contract[1].clone()]), vec![0, 1], None)
        }
        [false, true] if dot.batch[0].is_empty() && dot.contract[0].len() == 1 => {
            let types = region.operand_types(id);
            let rows = dot.free(0, types[0].rank()).len();
            let rank = node.types[0].rank();
            // [time, columns, rows] as [time, rows, columns].
            let turned =
                std::iter::once(0).chain(1 + rank - rows..1 + rank).chain(1..1 + rank - rows).collect();
            let dot = Dot::new([vec![], vec![]], [right, dot.contract[0].clone()]);
            let same = types[0].dtype == types[1].dtype;
            if same { way(dot, vec![1, 0], Some(turned)) } else { None }
        }
        _ => None,
    }
}

impl Way {
    /// Adds the node that computes all steps of a node of a body.
    pub fn build(
        self,
        graph: &mut Graph,
        (region, id): (&Graph, NodeId),
        operands: &[Outside],
        steps: usize,
    ) -> Result<Value, GraphError> {
        let node = region.node(id);
        let b = &mut Builder::new(graph, node.origin.clone());
        let mut given = Vec::with_capacity(operands.len());
        for &position in &self.order {
            given.push(match operands[position] {
                Outside::Fixed(value) if self.spread => repeat(b, value, steps)?,
                Outside::Fixed(value) => value,
                Outside::Steps(value) if self.joined => join(b, value)?,
                Outside::Steps(value) => value,
            });
        }
        let value = b.add_chosen(self.op, region.choice(id), &given)?;
        if self.joined {
            let dims = with(steps, &node.types[0].dims);
            return b.reshape(value, &dims);
        }
        match self.turned {
            Some(axes) => b.transpose(value, &axes),
            None => Ok(value),
        }
    }
}

/// One value for every step. What is repeated already is so at once, so that its gradient is one sum.
pub(super) fn repeat(b: &mut Builder, value: Value, steps: usize) -> Result<Value, GraphError> {
    let dims = with(steps, &b.dims(value));
    let node = b.graph.node(value.node);
    if let Op::Broadcast(Broadcast { axes, .. }) = &node.op {
        let (operand, axes) = (node.operands[0], behind(axes));
        return b.broadcast(operand, &dims, &axes);
    }
    let axes: Vec<usize> = (1..dims.len()).collect();
    b.broadcast(value, &dims, &axes)
}

/// The first two axes as one.
pub(super) fn join(b: &mut Builder, value: Value) -> Result<Value, GraphError> {
    let dims = b.dims(value);
    b.reshape(value, &with(dims[0] * dims[1], &dims[2..]))
}
