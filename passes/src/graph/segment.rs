//! `segment`: long loops that are differentiated become loops over segments, with a loop over the steps of one inside.
//!
//! ```text
//! scan(T steps)    becomes    scan(T / L segments) { scan(L steps) }, and a loop over the T mod L steps at the end of the sequence
//! ```
//!
//! What a segment reads of its sequences is cut out for it alone, and sums over time are formed segment by segment, the last one first
//! on the way back. So the way back can run a segment again from what that begins with (`Options::run_again`), in memory that grows
//! like the square root of the number of steps, or read what the way forward has kept; either way the same sums are formed of the same
//! terms in the same order.
//!
//! A segment has about as many steps as there are segments, and at least so many that the products of one have rows enough: then what
//! a sum over time reads and writes of its result, once for each segment, is little beside them. A length that divides
//! the number of steps is preferred. Loops that nothing differentiates, short ones, and those without carries, of which `time-batch`
//! does everything at once, stay as they are. An input that is a sequence along another axis than the first is not transposed as a
//! whole: each segment takes its part. Nor are products of the sequence, and draws, made for the whole sequence before the loop
//! (`absorb.rs`).
//!
//! Exact: steps are the same. Only the order of sums over time, which `grad` and `time-batch` build later, depends on it, and it
//! depends on the extents of the loop alone. Linear.

mod absorb;

use brolga_ir::ops::{Op, RegionOp, Role, Scan, Segments, Transpose};
use brolga_ir::{Builder, DType, Graph, GraphError, NodeId, Origin, Type, Value};
use rustc_hash::FxHashSet;

use crate::options::Options;
use crate::rewrite::interface::new_parameter;
use crate::rewrite::regions;

/// Loops inside of each other, at most: lowering takes so many.
const DEEPEST: usize = 4;

/// Puts loops over segments in the place of long ones.
pub fn segment(graph: &mut Graph, options: &Options) -> Result<bool, GraphError> {
    segment_all(graph, options, Around::default())
}

/// What is around a region.
#[derive(Clone, Copy, Default)]
struct Around {
    /// Loops.
    loops: usize,
    /// Whether the whole is differentiated.
    differentiated: bool,
    /// Whether it has been cut into segments.
    done: bool,
}

fn segment_all(graph: &mut Graph, options: &Options, around: Around) -> Result<bool, GraphError> {
    if around.done {
        return Ok(false);
    }
    let derived = differentiated(graph);
    let inside = |graph: &Graph, id: NodeId| {
        let op = &graph.node(id).op;
        let (is_loop, done) = match op.region_op() {
            Some(RegionOp::Scan(scan)) => (true, scan.segments != Segments::No),
            Some(RegionOp::While(_)) => (true, false),
            Some(RegionOp::Cond(_) | RegionOp::Fused(_)) | None => (false, false),
        };
        let differentiated = around.differentiated || derived.contains(&id);
        vec![Around { loops: around.loops + usize::from(is_loop), differentiated, done }; op.regions().len()]
    };
    let mut changed =
        regions::apply_with(graph, &inside, &mut |region, inside| segment_all(region, options, inside))?;
    let derived = differentiated(graph);
    let is_cut = |id: &NodeId| around.differentiated || derived.contains(id);
    for id in graph.order().into_iter().filter(is_cut).collect::<Vec<_>>() {
        let Op::Scan(scan) = &graph.node(id).op else { continue };
        let Some(length) = segment_length(scan, options) else { continue };
        if around.loops + 2 + nesting(&scan.body) <= DEEPEST {
            let id = absorb::absorb(graph, id, &scan.clone())?;
            let Op::Scan(scan) = graph.node(id).op.clone() else { continue };
            let given = Given::of(graph, around);
            cut(graph, id, &scan, Cut { length, again: options.run_again, given: &given })?;
            changed = true;
        }
    }
    Ok(changed)
}

/// The nodes that derivatives of this graph are made of.
fn differentiated(graph: &Graph) -> FxHashSet<NodeId> {
    let derivatives = graph.nodes().filter(|&id| graph.node(id).op.is_derivative());
    let roots: Vec<Value> = derivatives.flat_map(|id| graph.node(id).operands.clone()).collect();
    if roots.is_empty() { FxHashSet::default() } else { graph.order_from(roots).into_iter().collect() }
}

/// Loops inside of each other in a graph.
fn nesting(graph: &Graph) -> usize {
    let of = |id: NodeId| {
        let op = &graph.node(id).op;
        let is_loop = matches!(op.region_op(), Some(RegionOp::Scan(_) | RegionOp::While(_)));
        usize::from(is_loop) + op.regions().into_iter().map(nesting).max().unwrap_or(0)
    };
    graph.nodes().map(of).max().unwrap_or(0)
}

/// Steps of a segment, if a loop is cut: the numeric plan of its sums over time.
fn segment_length(scan: &Scan, options: &Options) -> Option<usize> {
    let steps = scan.length;
    let carries = &scan.body.parameters()[usize::from(scan.guarded).min(scan.carries)..scan.carries];
    if steps < options.segments_from.max(2) || scan.segments != Segments::No || carries.is_empty() {
        return None;
    }
    let rows = carries.iter().filter_map(|&id| {
        let (columns, rows) = scan.body.node(id).types[0].dims.split_last()?;
        (*columns > 0 && !rows.is_empty()).then(|| rows.iter().product::<usize>())
    });
    let of_rows = rows.max().map_or(0, |rows| (2 * options.segments_from).div_ceil(rows.max(1)));
    let root = steps.isqrt();
    let least = (root + usize::from(root * root < steps)).max(of_rows);
    let length = (least..2 * least).find(|&length| steps.is_multiple_of(length)).unwrap_or(least);
    (2 * length <= steps).then_some(length)
}

/// How a loop is cut.
struct Cut<'a> {
    /// Steps of a segment.
    length: usize,
    /// Whether segments are run again on the way back.
    again: bool,
    given: &'a Given,
}

impl Cut<'_> {
    /// Steps in whole segments.
    fn end(&self, scan: &Scan) -> usize {
        scan.length - scan.length % self.length
    }
}

/// Inputs of the entry of which no derivative is taken.
struct Given(FxHashSet<Value>);

impl Given {
    fn of(graph: &Graph, around: Around) -> Given {
        if around.loops > 0 || around.differentiated {
            return Given(FxHashSet::default());
        }
        let derivatives: Vec<NodeId> =
            graph.nodes().filter(|&id| graph.node(id).op.is_derivative()).collect();
        let asked = |value: Value| derivatives.iter().any(|&id| graph.node(id).operands.contains(&value));
        let inputs = graph
            .parameters()
            .iter()
            .filter(|&&id| graph.parameter(id).is_some_and(|parameter| parameter.role == Role::Data));
        Given(inputs.map(|&id| graph.result(id)).filter(|&value| !asked(value)).collect())
    }

    /// The input that a sequence is, and the axis of its steps there.
    fn sequence(&self, graph: &Graph, value: Value) -> Option<(Value, usize)> {
        if self.0.contains(&value) {
            return Some((value, 0));
        }
        let node = graph.node(value.node);
        let Op::Transpose(Transpose { axes }) = &node.op else { return None };
        let swapped =
            axes.len() > 1 && axes[..2] == [1, 0] && axes[2..].iter().enumerate().all(|(i, &a)| a == i + 2);
        (swapped && self.0.contains(&node.operands[0])).then_some((node.operands[0], 1))
    }
}

/// Puts the loop over segments, and one over the steps that are left over, in the place of a loop.
fn cut(graph: &mut Graph, id: NodeId, scan: &Scan, how: Cut) -> Result<(), GraphError> {
    let (operands, origin) = (graph.node(id).operands.clone(), graph.node(id).origin.clone());
    let mut carries = operands[..scan.carries].to_vec();
    // By position in the sequence, whichever of them is run first.
    let mut stacks: [Vec<Value>; 2] = Default::default();
    let order = if scan.reverse { [1, 0] } else { [0, 1] };
    for part in order {
        let mut results = match part {
            0 => over_segments(graph, (scan, &origin), &operands, &carries, &how)?,
            _ if how.end(scan) == scan.length => continue,
            _ => left_over(graph, (scan, &origin), &operands, &carries, &how)?,
        };
        stacks[part] = results.split_off(scan.carries);
        carries = results;
    }
    let [whole, rest] = stacks;
    let mut b = Builder::new(graph, origin);
    let mut results = carries;
    for (number, &stack) in whole.iter().enumerate() {
        results.push(match rest.get(number) {
            Some(&rest) => b.concat(&[stack, rest], 0)?,
            None => stack,
        });
    }
    graph.replace_results(id, &results);
    graph.remove(id);
    Ok(())
}

/// The steps from `end` on, in a loop like the one there was.
fn left_over(
    graph: &mut Graph,
    (scan, origin): (&Scan, &Origin),
    operands: &[Value],
    carries: &[Value],
    how: &Cut,
) -> Result<Vec<Value>, GraphError> {
    let (fixed, end) = (scan.carries + scan.slices, how.end(scan));
    let mut given = carries.to_vec();
    for &sequence in &operands[scan.carries..fixed] {
        let (whole, axis) = how.given.sequence(graph, sequence).unwrap_or((sequence, 0));
        let mut b = Builder::new(graph, origin.clone());
        let part = b.slice_axis(whole, axis, end, scan.length)?;
        given.push(steps_first(&mut b, part, axis)?);
    }
    given.extend_from_slice(&operands[fixed..]);
    let steps = Scan { length: scan.length - end, ..scan.clone() };
    Builder::new(graph, origin.clone()).add_nodes(steps, &given)
}

/// The loop over segments: its carries, and its stacks with an axis of steps again.
fn over_segments(
    graph: &mut Graph,
    (scan, origin): (&Scan, &Origin),
    operands: &[Value],
    carries: &[Value],
    how: &Cut,
) -> Result<Vec<Value>, GraphError> {
    let Segment { mut body, inner, slices, captures } = Segment::of(graph, (scan, origin), operands, how)?;
    let steps = Scan { length: how.length, ..scan.clone() };
    let results = Builder::new(&mut body, origin.clone()).add_nodes(steps, &inner)?;
    for (output, result) in scan.body.outputs().iter().zip(results) {
        body.add_output(&output.name, Role::Data, result);
    }
    let given = [carries, &slices, &captures].concat();
    let segments = if how.again { Segments::Again } else { Segments::Kept };
    let outer = Scan { body, length: scan.length / how.length, slices: slices.len(), segments, ..*scan };
    let mut b = Builder::new(graph, origin.clone());
    let mut results = b.add_nodes(outer, &given)?;
    for stack in &mut results[scan.carries..] {
        let dims = b.dims(*stack);
        *stack = b.reshape(*stack, &[&[how.end(scan)], &dims[2..]].concat())?;
    }
    Ok(results)
}

/// The body of the loop over segments, in the making.
struct Segment {
    body: Graph,
    /// What the loop over the steps takes in it.
    inner: Vec<Value>,
    /// What the loop over segments takes behind its carries.
    slices: Vec<Value>,
    captures: Vec<Value>,
}

impl Segment {
    /// With the parts of sequences that a segment has. An input is captured, and indexed by the number of the segment.
    fn of(
        graph: &mut Graph,
        (scan, origin): (&Scan, &Origin),
        operands: &[Value],
        how: &Cut,
    ) -> Result<Segment, GraphError> {
        let (fixed, count) = (scan.carries + scan.slices, scan.length / how.length);
        let mut segment = Segment {
            body: Graph::new(&scan.body.name),
            inner: Vec::new(),
            slices: Vec::new(),
            captures: operands[fixed..].to_vec(),
        };
        for number in 0..scan.carries {
            let value = segment.parameter(scan, number, &[]);
            segment.inner.push(value);
        }
        // What is captured and indexed, in the place of a slice.
        let mut indexed = Vec::new();
        for (number, &operand) in operands.iter().enumerate().take(fixed).skip(scan.carries) {
            let found = how.given.sequence(graph, operand);
            // A part along the first axis is there already.
            match found.filter(|&(_, axis)| axis > 0 || scan.length % how.length > 0) {
                Some(found) => indexed.push((number, found)),
                None => {
                    let mut b = Builder::new(graph, origin.clone());
                    let whole = b.slice_axis(operand, 0, 0, how.end(scan))?;
                    let dims = b.dims(whole);
                    let parts = b.reshape(whole, &[&[count, how.length], &dims[1..]].concat())?;
                    segment.slices.push(parts);
                    let value = segment.parameter(scan, number, &[how.length]);
                    segment.inner.push(value);
                }
            }
        }
        let mut which = None;
        if !indexed.is_empty() {
            segment.slices.push(Builder::new(graph, origin.clone()).iota(DType::I32, &[count], 0)?);
            which = Some(segment.body.add_parameter("segment", Role::Data, Type::scalar(DType::I32)));
        }
        for number in fixed..operands.len() {
            let value = segment.parameter(scan, number, &[]);
            segment.inner.push(value);
        }
        for (number, (input, axis)) in indexed {
            let Some(which) = which else { continue };
            segment.captures.push(input);
            let all = new_parameter(&mut segment.body, "all", graph.ty(input));
            let mut b = Builder::new(&mut segment.body, origin.clone());
            let part = part_of(&mut b, (all, axis), which, how.length)?;
            segment.inner.insert(number, part);
        }
        Ok(segment)
    }

    /// A parameter like that of the loop there was, with axes in front.
    fn parameter(&mut self, scan: &Scan, number: usize, axes: &[usize]) -> Value {
        let id = scan.body.parameters()[number];
        let ty = &scan.body.node(id).types[0];
        let name = scan.body.parameter(id).map_or("x", |parameter| &parameter.name);
        self.body.add_parameter(name, Role::Data, ty.with_dims([axes, ty.dims.as_slice()].concat()))
    }
}

/// The steps of a segment of an input, along the first axis.
fn part_of(
    b: &mut Builder,
    (all, axis): (Value, usize),
    segment: Value,
    length: usize,
) -> Result<Value, GraphError> {
    let first = b.mul_scalar(segment, length as f64)?;
    let first = b.broadcast(first, &[length], &[])?;
    let steps = b.iota(DType::I32, &[length], 0)?;
    let steps = b.add(first, steps)?;
    let part = b.gather(all, steps, axis)?;
    steps_first(b, part, axis)
}

/// A sequence along axis 0 or 1, along axis 0.
fn steps_first(b: &mut Builder, sequence: Value, axis: usize) -> Result<Value, GraphError> {
    let mut axes: Vec<usize> = (0..b.dims(sequence).len()).collect();
    axes[..=axis].reverse();
    b.transpose(sequence, &axes)
}
