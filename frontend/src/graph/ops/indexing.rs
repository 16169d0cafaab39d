//! Indexing as in PyTorch: `x[1, :, ::-2]`, `x[..., none]`, `x[:, [0, 2]]`, `x[i]`.
//!
//! First integers, ranges and new axes are applied, by one slice. Then lists and tensors of indices: they are repeated to
//! one shape, whose axes take the place of the indexed ones if these are neighbours, else stand in front.

use std::fmt::Display;

use brolga_ir::graph::Node;
use brolga_ir::scalar::{Comparison, ScalarOp};
use brolga_ir::{DType, Op, Size, Type};

use super::{IndexPart, Ops};
use crate::graph::value::{Built, Fault, Tensor, Val};
use crate::source::Spanned;

/// The slice that integers and ranges make.
struct Sliced {
    start: Vec<usize>,
    stop: Vec<usize>,
    step: Vec<usize>,
    /// Axes that run backwards.
    reversed: Vec<usize>,
    /// Extents of the result.
    kept: Vec<usize>,
    /// Axes of the result with the indices of their elements.
    taken: Vec<(usize, Tensor)>,
}

impl Ops<'_> {
    /// The elements of `x` at these places. Negative numbers count from the end; bounds outside are moved to the edge,
    /// an index outside is a mistake, and a computed one is moved to the edge.
    pub fn index(&mut self, x: Tensor, ranges: &[IndexPart]) -> Built {
        let ty = self.ty(x);
        let ranges = complete(&ty, ranges)?;
        let rank = ty.rank();
        let mut sliced = Sliced {
            start: vec![0; rank],
            stop: ty.dims.clone(),
            step: vec![1; rank],
            reversed: Vec::new(),
            kept: Vec::new(),
            taken: Vec::new(),
        };
        let mut axis = 0;
        for range in &ranges {
            self.place(&ty, axis, range, &mut sliced)?;
            axis += usize::from(*range != IndexPart::New);
        }
        let mut result = self.slice(x, &sliced.start, &sliced.stop, &sliced.step)?;
        if !sliced.reversed.is_empty() {
            result = self.b.reverse(result, &sliced.reversed)?;
        }
        let result = self.reshape(result, &sliced.kept)?;
        match sliced.taken[..] {
            [] => Ok(result),
            [(axis, indices)] => {
                let indices = self.counted_from_end(indices, sliced.kept[axis])?;
                Ok(self.b.gather(result, indices, axis)?)
            }
            _ => self.take_together(result, &sliced.taken),
        }
    }

    /// Notes what one part of an indexing does to its axis.
    fn place(&mut self, ty: &Type, axis: usize, range: &IndexPart, sliced: &mut Sliced) -> Built<()> {
        let extent = ty.dims.get(axis).copied().unwrap_or(0);
        match range {
            IndexPart::New => sliced.kept.push(1),
            IndexPart::Rest => {}
            IndexPart::At(at) => {
                let first = at.axis(extent).map_err(|_| outside(at, ty, axis))?;
                (sliced.start[axis], sliced.stop[axis]) = (first, first + 1);
            }
            IndexPart::Slice { start, stop, step } => {
                let run = Run::new(extent, *start, *stop, step.unwrap_or(Size::ONE))?;
                (sliced.start[axis], sliced.stop[axis], sliced.step[axis]) = (run.first, run.end, run.step);
                if run.backwards {
                    sliced.reversed.push(axis);
                }
                sliced.kept.push(run.count);
            }
            IndexPart::Take(_) | IndexPart::Pick(_) => {
                let indices = match range {
                    IndexPart::Take(indices) => *indices,
                    IndexPart::Pick(list) => self.picked(ty, axis, list)?,
                    _ => return Ok(()),
                };
                if self.dtype(indices) == DType::Bool {
                    return Err(Fault::new(
                        "a mask picks a number of elements that is not known before it runs",
                    )
                    .help("choose elementwise with `where(mask, x, otherwise)`, which keeps the shape"));
                }
                let indices = self.indices(indices)?;
                self.check_indices(ty, axis, indices)?;
                if extent == 0 && self.ty(indices).elements() > 0 {
                    return Err(Fault::new(format!("axis {axis} of {ty} has no elements to take")));
                }
                sliced.taken.push((sliced.kept.len(), indices));
                sliced.kept.push(extent);
            }
        }
        Ok(())
    }

    /// The indices that a list stands for: its numbers, or the places of what is true in it.
    fn picked(&mut self, ty: &Type, axis: usize, list: &Spanned<Val>) -> Built {
        let Val::List(items) = &list.value else { return self.tensor(list) };
        let extent = ty.dims[axis];
        let wrong = |message: String| Err(Fault::new(message).at(list.span));
        let truths: Option<Vec<bool>> =
            items.iter().map(|item| if let Val::Bool(truth) = item { Some(*truth) } else { None }).collect();
        let numbers: Vec<Val> = match truths {
            Some(truths) if !truths.is_empty() => {
                if truths.len() != extent {
                    let length = truths.len();
                    return wrong(format!("a mask of {length} does not fit axis {axis} of {ty}"));
                }
                (0..extent).filter(|&at| truths[at]).map(|at| Val::Int(at as i64)).collect()
            }
            _ => items.clone(),
        };
        // Beside a tensor, too, with which a list is none of constants.
        let is_outside = |at: &i64| Size::from(*at).axis(extent).is_err();
        if let Some(at) = numbers.iter().filter_map(Val::as_int).find(is_outside) {
            return Err(outside(at, ty, axis).at(list.span));
        }
        if numbers.is_empty() {
            return Ok(self.b.constant(brolga_ir::Tensor::zeros(&Type::new(DType::I64, [0])))?);
        }
        self.tensor(&Spanned::new(Val::List(numbers), list.span))
    }

    /// Indices into an axis, as lists have them: those that are constants are inside, and count from the end below 0.
    /// Others are what they are.
    pub fn checked_indices(&mut self, ty: &Type, axis: usize, indices: Tensor) -> Built {
        let indices = self.indices(indices)?;
        match self.check_indices(ty, axis, indices)? {
            true => self.counted_from_end(indices, ty.dims[axis]),
            false => Ok(indices),
        }
    }

    /// A mistake if one of the indices is a constant outside of the axis; whether constants are below 0.
    fn check_indices(&mut self, ty: &Type, axis: usize, indices: Tensor) -> Built<bool> {
        let Some((least, greatest)) = self.known_range(indices) else { return Ok(false) };
        match [least, greatest].into_iter().find(|&at| Size::from(at).axis(ty.dims[axis]).is_err()) {
            Some(at) => Err(outside(at, ty, axis)),
            None => Ok(least < 0),
        }
    }

    /// The least and the greatest of whole numbers that are constants: written in the model, however they are arranged and
    /// of whatever integer type. Nothing if a part is computed, or if there is none. How many there are does not matter:
    /// each node is looked at once.
    pub fn known_range(&mut self, x: Tensor) -> Option<(i64, i64)> {
        let mut open = vec![x.node];
        while let Some(&id) = open.last() {
            let node = self.b.graph.node(id);
            let operands = if arranges(&node.op) { &node.operands[..] } else { &[] };
            let missing =
                operands.iter().map(|operand| operand.node).filter(|id| !self.ranges.contains_key(id));
            let before = open.len();
            open.extend(missing);
            if open.len() == before {
                open.pop();
                // One that several nodes have asked for is there already.
                if !self.ranges.contains_key(&id) {
                    let range = range_of(node, |operand| self.ranges[&operand.node]);
                    self.ranges.insert(id, range);
                }
            }
        }
        self.ranges[&x.node].filter(|(least, greatest)| least <= greatest)
    }

    /// Indices of which those below 0 count from the end of an axis.
    fn counted_from_end(&mut self, indices: Tensor, extent: usize) -> Built {
        let small = i32::try_from(extent).is_ok();
        let indices = if small { indices } else { self.convert(indices, DType::I64)? };
        let extent = self.int_scalar(extent as i64, self.dtype(indices))?;
        let zero = self.int_scalar(0, self.dtype(indices))?;
        let below = self.compare(Comparison::Lt, indices, zero)?;
        let turned = self.add(indices, extent)?;
        self.select(below, turned, indices)
    }

    /// The elements at several indices for each: one index into the indexed axes as one.
    fn take_together(&mut self, x: Tensor, taken: &[(usize, Tensor)]) -> Built {
        let dims = self.dims(x);
        let indices: Vec<Tensor> = taken.iter().map(|&(_, indices)| indices).collect();
        let indices = self.broadcast_all(&indices)?;
        let axes: Vec<usize> = taken.iter().map(|&(axis, _)| axis).collect();
        let mut index: Option<Tensor> = None;
        for (&axis, &indices) in axes.iter().zip(&indices) {
            let own = self.convert(indices, DType::I64)?;
            let own = self.counted_from_end(own, dims[axis])?;
            let own = self.max_num(own, 0.0)?;
            let last = self.int_scalar(dims[axis].saturating_sub(1) as i64, DType::I64)?;
            let own = self.min(own, last)?;
            index = Some(match index {
                None => own,
                Some(index) => {
                    let extent = self.int_scalar(dims[axis] as i64, DType::I64)?;
                    let scaled = self.elementwise2(ScalarOp::Mul, index, extent)?;
                    self.add(scaled, own)?
                }
            });
        }
        let Some(index) = index else { return Ok(x) };
        let neighbours = axes.windows(2).all(|pair| pair[1] == pair[0] + 1);
        let front = if neighbours { axes[0] } else { 0 };
        let mut order: Vec<usize> = (0..dims.len()).filter(|axis| !axes.contains(axis)).collect();
        order.splice(front..front, axes.iter().copied());
        let x = self.transpose(x, &order)?;
        let mut flat: Vec<usize> = order.iter().map(|&axis| dims[axis]).collect();
        let joined = Size::product(axes.iter().map(|&axis| dims[axis])).get()?;
        flat.splice(front..front + axes.len(), [joined]);
        let x = self.reshape(x, &flat)?;
        Ok(self.b.gather(x, index, front)?)
    }
}

/// An index that is beyond either end of an axis.
fn outside(at: impl Display, ty: &Type, axis: usize) -> Fault {
    let fault = Fault::new(format!("the index {at} is outside of axis {axis} of {ty}"));
    match ty.dims[axis] {
        0 => fault.note("it has no elements"),
        extent => fault.note(format!("its indices are 0 to {}, from the end -1 to -{extent}", extent - 1)),
    }
}

/// The least and the greatest of constants. Of none, which any range holds, it is `EMPTY`.
type Known = Option<(i64, i64)>;
const EMPTY: (i64, i64) = (i64::MAX, i64::MIN);

/// Whether an operator gives all elements of its operands and no others, but for their type.
fn arranges(op: &Op) -> bool {
    match op {
        Op::Broadcast(_) | Op::Reshape(_) | Op::Transpose(_) | Op::Reverse(_) | Op::Concat(_) => true,
        Op::Elementwise(elementwise) => matches!(elementwise.op, ScalarOp::Convert(_)),
        _ => false,
    }
}

/// The range of a node, by those of its operands.
fn range_of(node: &Node, range: impl Fn(Tensor) -> Known) -> Known {
    let ty = &node.types[0];
    let join = |(low, high): (i64, i64), (least, greatest): (i64, i64)| (low.min(least), high.max(greatest));
    match &node.op {
        _ if ty.dtype.is_float() => None,
        _ if ty.elements() == 0 => Some(EMPTY),
        Op::Constant(constant) => {
            let values = (0..ty.elements()).map(|i| constant.value.get(i).to_i64());
            Some(values.map(|value| (value, value)).fold(EMPTY, join))
        }
        op if arranges(op) => {
            let all =
                node.operands.iter().try_fold(EMPTY, |all, &operand| Some(join(all, range(operand)?)))?;
            // A number that the type cannot hold wraps: that is computing.
            let (least, greatest) = super::promote::bounds(ty.dtype)?;
            (least <= all.0 && all.1 <= greatest).then_some(all)
        }
        _ => None,
    }
}

/// The parts of an indexing, one for each axis and for each new one: `...`, and axes that are missing at the end, become whole
/// axes.
fn complete(ty: &Type, ranges: &[IndexPart]) -> Built<Vec<IndexPart>> {
    let named = |range: &&IndexPart| !matches!(range, IndexPart::New | IndexPart::Rest);
    let indexed = ranges.iter().filter(named).count();
    let rests = ranges.iter().filter(|range| **range == IndexPart::Rest).count();
    if rests > 1 {
        return Err(Fault::new("`...` can stand in an index once"));
    }
    let Some(left) = ty.rank().checked_sub(indexed) else {
        return Err(Fault::new(format!("{ty} has {} axes, but {indexed} are indexed", ty.rank())));
    };
    let mut all = Vec::new();
    for range in ranges {
        match range {
            IndexPart::Rest => all.extend(std::iter::repeat_n(IndexPart::ALL, left)),
            range => all.push(range.clone()),
        }
    }
    if rests == 0 {
        all.extend(std::iter::repeat_n(IndexPart::ALL, left));
    }
    Ok(all)
}

/// The elements `first, first + step, …` below `end`, in this order or backwards.
struct Run {
    first: usize,
    end: usize,
    step: usize,
    count: usize,
    backwards: bool,
}

impl Run {
    /// What `start:stop:step` means for an axis of that extent, as in Python.
    fn new(extent: usize, start: Option<Size>, stop: Option<Size>, step: Size) -> Built<Run> {
        let zero = Size::ZERO;
        if step == zero {
            return Err(Fault::new("a step cannot be 0"));
        }
        let length = Size::from(extent);
        let wrap = |bound: Size| if bound.is_below(0) { bound + extent } else { bound };
        if zero.is_below(step) {
            let first = wrap(start.unwrap_or(zero)).max(0).min(extent);
            let end = wrap(stop.unwrap_or(length)).max(first).min(extent);
            let count = (end - first).div_ceil(step).get()?;
            let step = step.min(extent.max(1)).get()?;
            return Ok(Run { first: first.get()?, end: end.get()?, step, count, backwards: false });
        }
        // From `last` down to above `stop`, which may be -1: before the first element.
        let step = zero - step;
        let last = wrap(start.unwrap_or(length - 1)).max(-1).min(length - 1);
        let stop = stop.map_or(zero - 1, |stop| wrap(stop).max(-1).min(length - 1));
        let count = (last - stop).max(0).div_ceil(step).get()?;
        let step = step.min(extent.max(1)).get()?;
        if count == 0 {
            return Ok(Run { first: 0, end: 0, step, count, backwards: false });
        }
        let last = last.get()?;
        Ok(Run { first: last - (count - 1) * step, end: last + 1, step, count, backwards: true })
    }
}
