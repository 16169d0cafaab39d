//! Long windows in linear time: sums, maxima and minima under windows of more than 64 places, and the winners of
//! the latter with their gradients.
//!
//! A window is a product of intervals, so axes are gone through one after the other. Along one of them there are three shapes:
//!
//! - Windows that do not overlap (one that covers the axis is such a one) are rows of a reshaped operand: a reduction.
//! - Windows that each see one element at most, as in the gradient of these, are a broadcast.
//! - Others are put together from two parts. The axis is cut into blocks as long as a window. A window begins in one block
//!   and ends in the next: it is the end of the first, a running sum from behind, and the beginning of the second, a running
//!   sum from the front. Nothing is subtracted, so nothing cancels, and what a window does not see has no influence on it.
//!
//! The running sums and reductions have the orders of the numeric plan, so errors grow with the logarithm of the window. A
//! winner of a window, its first best element in row-major order or its first NaN, is the best of the rows' winners, so it is
//! looked for from the last axis to the first. Among prefixes, the latest element that beats all before it wins.
//!
//! Short windows stay: they are few loads for each result (`lower/regions/compose.rs`, `lower/indexed/winners.rs`). So do those that would take
//! many more elements than there are: behind the pass `clip` none does. Changes rounding, by the window and the extents of the
//! axes that it moves along: what the others have, the batch among them, is not asked for, but where
//! no tensor could hold what would be made. Linear in the elements, whatever the
//! windows.

use brolga_ir::ops::{Cumulative, ReduceWindow, SelectForm};
use brolga_ir::program::Combine;
use brolga_ir::scalar::{Comparison, ScalarOp};
use brolga_ir::types::MAX_BYTES;
use brolga_ir::{Builder, DType, Graph, GraphError, NodeId, Tensor, Type, Value};

use crate::facts::blocking::plan::{BETWEEN, BETWEEN_FEW, PLACES};
use crate::graph::windowed::{Built, Windowed};
use crate::options::Options;
use crate::rewrite::rewriter::{Replacement, sweep_for};

/// The best of each window, and the position along the axis where it is found first; -1 where a window sees nothing.
type Winner = Result<[Value; 2], GraphError>;

/// Rewrites long windows.
pub fn pooling(graph: &mut Graph, _: &Options) -> Result<bool, GraphError> {
    sweep_for(graph, Windowed::is_one, &mut pool_node)
}

fn pool_node(graph: &mut Graph, id: NodeId) -> Replacement {
    let Some(Windowed { window, form, operands, x, y }) = Windowed::at(graph, id) else { return Ok(None) };
    let axes: Vec<Along> = (0..x.rank()).map(|axis| Along::new(&window, axis, &x, &y)).collect();
    let axes: Vec<Along> = axes.into_iter().filter(|along| !along.is_idle()).collect();
    if !is_long(&axes, &x) {
        return Ok(None);
    }
    let origin = graph.node(id).origin.clone();
    let b = &mut Builder::new(graph, origin);
    let Some(form) = form else {
        let mut value = operands[0];
        for along in axes.iter().rev() {
            value = along.combined(b, window.combine, value)?;
        }
        return Ok(Some(vec![value]));
    };
    let winners = winners(b, window.combine, operands[0], &axes)?;
    let by_comparing = axes.iter().all(|along| along.is_apart() && along.base == 1);
    let result = match form {
        SelectForm::Scatter if by_comparing => compared(b, &axes, &winners, operands[1], &x)?,
        SelectForm::Scatter => scattered(b, &axes, &winners, operands[1], &x)?,
        SelectForm::Gather => gathered(b, &axes, &winners, operands[1], &y)?,
    };
    Ok(Some(vec![result]))
}

/// Whether windows over x that move along those axes have too many places to look at each. By what lies along these axes alone,
/// but where nothing could hold what is between.
fn is_long(axes: &[Along], x: &Type) -> bool {
    let places = axes.iter().fold(1_usize, |places, along| places.saturating_mul(along.window));
    let there = |along: &Along| along.extent.max(along.count) as f64;
    let all: f64 = axes.iter().map(there).product();
    let largest = axes.iter().map(|along| all / there(along) * along.between()).fold(0.0, f64::max);
    let moved: usize = axes.iter().map(|along| along.extent).product();
    let others = (x.elements() / moved) as f64;
    // The positions of winners have eight bytes.
    let can_be = 8.0 * largest * others <= MAX_BYTES as f64;
    places > PLACES && largest <= BETWEEN * all + BETWEEN_FEW && can_be
}

/// Windows along one axis.
#[derive(Clone, Copy)]
struct Along {
    axis: usize,
    /// Elements of x.
    extent: usize,
    /// Windows.
    count: usize,
    window: usize,
    stride: usize,
    dilation: usize,
    /// Distance of neighbouring elements.
    base: usize,
    /// Places before the first element; cut off if negative.
    low: i64,
}

impl Along {
    fn new(window: &ReduceWindow, axis: usize, x: &Type, y: &Type) -> Along {
        Along {
            axis,
            extent: x.dims[axis],
            count: y.dims[axis],
            window: window.window[axis],
            stride: window.stride[axis],
            dilation: window.window_dilation[axis],
            base: window.base_dilation[axis],
            low: window.padding[axis].0,
        }
    }

    /// Whether each window is one element, that of the same position.
    fn is_idle(&self) -> bool {
        self.window == 1 && self.stride == 1 && self.base == 1 && self.low == 0 && self.count == self.extent
    }

    /// From the first place of a window to its last.
    fn reach(&self) -> usize {
        (self.window - 1) * self.dilation + 1
    }

    /// Elements that are made of the axis on the way, at most.
    fn between(&self) -> f64 {
        let spread = self.extent as f64 * self.base as f64;
        let steps = if self.count == 1 { 0.0 } else { self.count as f64 * self.stride as f64 };
        let covered = steps + 2.0 * self.window as f64 * self.dilation as f64;
        spread.max(covered)
    }

    /// Whether windows do not overlap.
    fn is_apart(&self) -> bool {
        self.count == 1 || self.stride >= self.reach()
    }

    /// The same of a vector.
    fn of_vector(&self) -> Along {
        Along { axis: 0, ..*self }
    }

    /// The elements from `first` on along the axis; what lies outside is `fill`.
    fn cut(&self, b: &mut Builder, x: Value, first: i64, count: usize, fill: Value) -> Built {
        let mut dims = b.dims(x);
        let extent = dims[self.axis] as i64;
        let end = first + count as i64;
        let (from, to) = (first.clamp(0, extent), end.clamp(0, extent));
        if from >= to {
            dims[self.axis] = count;
            return b.broadcast(fill, &dims, &[]);
        }
        let x = b.slice_axis(x, self.axis, from as usize, to as usize)?;
        let (mut low, mut high) = (vec![0; dims.len()], vec![0; dims.len()]);
        (low[self.axis], high[self.axis]) = ((from - first) as usize, (end - to) as usize);
        b.pad(x, fill, &low, &high, &vec![0; dims.len()])
    }

    /// The elements with what lies between them.
    fn spread(&self, b: &mut Builder, x: Value, fill: Value) -> Built {
        let rank = b.dims(x).len();
        let mut interior = vec![0; rank];
        interior[self.axis] = self.base - 1;
        b.pad(x, fill, &vec![0; rank], &vec![0; rank], &interior)
    }

    /// The axis cut into several: their product is its extent.
    fn divided(&self, b: &mut Builder, x: Value, into: &[usize]) -> Built {
        let dims = b.dims(x);
        b.reshape(x, &[&dims[..self.axis], into, &dims[self.axis + 1..]].concat())
    }

    /// Windows that do not overlap: a row of places for each.
    fn rows(&self, b: &mut Builder, x: Value, fill: Value) -> Built {
        let step = if self.count == 1 { self.reach() } else { self.stride };
        let x = self.spread(b, x, fill)?;
        let x = self.cut(b, x, -self.low, self.count * step, fill)?;
        let x = self.divided(b, x, &[self.count, step])?;
        let mut limit = b.dims(x);
        let mut stride = vec![1; limit.len()];
        (limit[self.axis + 1], stride[self.axis + 1]) = (self.reach(), self.dilation);
        b.slice(x, &vec![0; limit.len()], &limit, &stride)
    }

    /// Places of a block.
    fn block(&self) -> usize {
        self.window * self.dilation
    }

    /// The axis as blocks of a window each: `[blocks, window, dilation]`.
    fn blocks(&self, b: &mut Builder, x: Value, fill: Value) -> Built {
        let blocks = (self.count - 1) * self.stride / self.block() + 2;
        let x = self.spread(b, x, fill)?;
        let x = self.cut(b, x, -self.low, blocks * self.block(), fill)?;
        self.divided(b, x, &[blocks, self.window, self.dilation])
    }

    /// What blocks hold for each window, at the place where it begins or, a block further on, behind its end.
    fn of_windows(&self, b: &mut Builder, blocks: Value, first: usize) -> Built {
        let mut dims = b.dims(blocks);
        let length = dims[self.axis..self.axis + 3].iter().product();
        dims.splice(self.axis..self.axis + 3, [length]);
        let x = b.reshape(blocks, &dims)?;
        let (mut start, mut limit, mut stride) = (vec![0; dims.len()], dims.clone(), vec![1; dims.len()]);
        start[self.axis] = first;
        limit[self.axis] = first + (self.count - 1) * self.stride + 1;
        stride[self.axis] = self.stride;
        b.slice(x, &start, &limit, &stride)
    }

    /// A running combination inside of the blocks.
    fn running(&self, b: &mut Builder, combine: Combine, blocks: Value, run: Run) -> Built {
        let (reverse, exclusive) = match run {
            Run::Before => (false, true),
            Run::From => (true, false),
            Run::Behind => (true, true),
        };
        b.add_node(Cumulative { axis: self.axis + 1, combine, reverse, exclusive }, &[blocks])
    }

    /// What windows combine.
    fn combined(&self, b: &mut Builder, combine: Combine, x: Value) -> Built {
        let fill = identity(b, combine, x)?;
        if self.base > 1 && self.stride == 1 && self.dilation == 1 && self.window <= self.base {
            // Each sees one element: the last place of the windows that do is where it lies.
            let mut dims = b.dims(x);
            dims.insert(self.axis + 1, self.window);
            let x = b.broadcast(x, &dims, &all_but(dims.len(), self.axis + 1))?;
            let (none, mut gap) = (vec![0; dims.len()], vec![0; dims.len()]);
            gap[self.axis + 1] = self.base - self.window;
            let x = b.pad(x, fill, &none, &gap, &none)?;
            dims.remove(self.axis + 1);
            dims[self.axis] *= self.base;
            let x = b.reshape(x, &dims)?;
            return self.cut(b, x, self.window as i64 - 1 - self.low, self.count, fill);
        }
        if self.is_apart() {
            let rows = self.rows(b, x, fill)?;
            return b.reduce(combine, rows, &[self.axis + 1]);
        }
        let blocks = self.blocks(b, x, fill)?;
        let from = self.running(b, combine, blocks, Run::From)?;
        let before = self.running(b, combine, blocks, Run::Before)?;
        let (from, before) = (self.of_windows(b, from, 0)?, self.of_windows(b, before, self.block())?);
        match combine {
            Combine::Max => b.max(from, before),
            Combine::Min => b.min(from, before),
            _ => b.add(from, before),
        }
    }

    /// The winners, whose positions are of type `index`.
    fn winner(&self, b: &mut Builder, combine: Combine, x: Value, index: DType) -> Winner {
        if self.is_apart() {
            self.winner_apart(b, combine, x, index)
        } else {
            self.winner_across(b, combine, x, index)
        }
    }

    fn winner_apart(&self, b: &mut Builder, combine: Combine, x: Value, index: DType) -> Winner {
        let fill = identity(b, combine, x)?;
        let rows = self.rows(b, x, fill)?;
        let (dims, axis) = (b.dims(rows), self.axis);
        let (places, none) = (b.iota(index, &[self.extent], 0)?, b.scalar(-1.0, index)?);
        let places = self.of_vector().rows(b, places, none)?;
        let places = b.broadcast(places, &dims, &[axis, axis + 1])?;
        let best = b.reduce(combine, rows, &[axis + 1])?;
        let spread = b.broadcast(best, &dims, &all_but(dims.len(), axis + 1))?;
        let equal = b.compare(Comparison::Eq, rows, spread)?;
        let unknown = b.compare(Comparison::Ne, rows, rows)?;
        let wins = either(b, equal, unknown)?;
        let inside = at_least(b, places, 0.0)?;
        let wins = both(b, wins, inside)?;
        let far = b.full_like(places, self.extent as f64)?;
        let candidates = b.select(wins, places, far)?;
        let first = b.reduce(Combine::Min, candidates, &[axis + 1])?;
        Ok([best, self.or_none(b, first)?])
    }

    /// Positions, and -1 for those behind the axis.
    fn or_none(&self, b: &mut Builder, position: Value) -> Built {
        let (end, none) = (b.full_like(position, self.extent as f64)?, b.full_like(position, -1.0)?);
        let inside = b.compare(Comparison::Lt, position, end)?;
        b.select(inside, position, none)
    }

    fn winner_across(&self, b: &mut Builder, combine: Combine, x: Value, index: DType) -> Winner {
        let blocks = self.places(b, combine, x, index)?;
        let first = self.rest_of_block(b, combine, &blocks)?;
        let second = self.before(b, combine, &blocks)?;
        let of_windows = |b: &mut Builder, [best, at]: [Value; 2], from: usize| -> Winner {
            Ok([self.of_windows(b, best, from)?, self.of_windows(b, at, from)?])
        };
        let first = of_windows(b, first, 0)?;
        let second = of_windows(b, second, self.block())?;
        self.better_of(b, combine, first, second)
    }

    /// The elements in blocks, and what is known of their places.
    fn places(
        &self,
        b: &mut Builder,
        combine: Combine,
        x: Value,
        index: DType,
    ) -> Result<Places, GraphError> {
        let fill = identity(b, combine, x)?;
        let x = self.blocks(b, x, fill)?;
        let (positions, none) = (b.iota(index, &[self.extent], 0)?, b.scalar(-1.0, index)?);
        let vector = self.of_vector().blocks(b, positions, none)?;
        let dims = b.dims(x);
        let at = b.broadcast(vector, &dims, &self.block_axes())?;
        let inside = at_least(b, at, 0.0)?;
        let unknown = b.compare(Comparison::Ne, x, x)?;
        Ok(Places { x, vector, at, inside, unknown })
    }

    /// The axes that the axis becomes in blocks.
    fn block_axes(&self) -> [usize; 3] {
        [self.axis, self.axis + 1, self.axis + 2]
    }

    /// From a place to the end of its block: from behind, the last element that is as good as all behind it.
    fn rest_of_block(&self, b: &mut Builder, combine: Combine, places: &Places) -> Winner {
        let as_good = if combine == Combine::Max { Comparison::Ge } else { Comparison::Le };
        let from = self.running(b, combine, places.x, Run::From)?;
        let behind = self.running(b, combine, places.x, Run::Behind)?;
        let record = b.compare(as_good, places.x, behind)?;
        let record = either(b, record, places.unknown)?;
        let record = both(b, record, places.inside)?;
        let far = b.full_like(places.at, self.extent as f64)?;
        let records = b.select(record, places.at, far)?;
        Ok([from, self.running(b, Combine::Min, records, Run::From)?])
    }

    /// Before a place: the last element that is better than all before it, or the first of all.
    fn before(&self, b: &mut Builder, combine: Combine, places: &Places) -> Winner {
        let before = self.running(b, combine, places.x, Run::Before)?;
        let record = b.compare(better(combine), places.x, before)?;
        let known = b.compare(Comparison::Eq, before, before)?;
        let first_unknown = both(b, places.unknown, known)?;
        let record = either(b, record, first_unknown)?;
        let seen = self.of_vector().running(b, Combine::Max, places.vector, Run::Before)?;
        let seen = at_least(b, seen, 0.0)?;
        let alone = b.elementwise(ScalarOp::Not, &[seen])?;
        let dims = b.dims(places.x);
        let alone = b.broadcast(alone, &dims, &self.block_axes())?;
        let record = either(b, record, alone)?;
        let record = both(b, record, places.inside)?;
        let never = b.full_like(places.at, -1.0)?;
        let records = b.select(record, places.at, never)?;
        Ok([before, self.running(b, Combine::Max, records, Run::Before)?])
    }

    /// The better of the two parts of each window: the second wins where it is better, or the first one sees nothing.
    fn better_of(
        &self,
        b: &mut Builder,
        combine: Combine,
        [from, left]: [Value; 2],
        [before, right]: [Value; 2],
    ) -> Winner {
        let takes = b.compare(better(combine), before, from)?;
        let unknown = b.compare(Comparison::Ne, before, before)?;
        let known = b.compare(Comparison::Eq, from, from)?;
        let unknown = both(b, unknown, known)?;
        let takes = either(b, takes, unknown)?;
        let nothing = at_least(b, left, self.extent as f64)?;
        let takes = either(b, takes, nothing)?;
        let something = at_least(b, right, 0.0)?;
        let takes = both(b, takes, something)?;
        let left = self.or_none(b, left)?;
        let best = if combine == Combine::Max { b.max(from, before)? } else { b.min(from, before)? };
        Ok([best, b.select(takes, right, left)?])
    }

    /// For each element, what windows that do not overlap have; `fill` where it is in none.
    fn back(&self, b: &mut Builder, x: Value, fill: Value) -> Built {
        let mut dims = b.dims(x);
        let step = if self.count == 1 { self.extent } else { self.stride };
        dims.insert(self.axis + 1, step);
        let x = b.broadcast(x, &dims, &all_but(dims.len(), self.axis + 1))?;
        dims.remove(self.axis + 1);
        dims[self.axis] *= step;
        let x = b.reshape(x, &dims)?;
        self.cut(b, x, if self.count == 1 { 0 } else { self.low }, self.extent, fill)
    }
}

/// The elements along an axis in blocks as long as a window, and what is known of each place.
struct Places {
    x: Value,
    /// Where each place lies along the axis, -1 outside; as a vector, and for each element.
    vector: Value,
    at: Value,
    /// Whether there is an element, and whether that is NaN.
    inside: Value,
    unknown: Value,
}

/// Which elements of its block a running combination counts.
#[derive(Clone, Copy)]
enum Run {
    /// Those before it.
    Before,
    /// Itself and those behind it.
    From,
    /// Those behind it.
    Behind,
}

fn identity(b: &mut Builder, combine: Combine, x: Value) -> Built {
    let dtype = b.ty(x).dtype;
    b.constant(Tensor::scalar(combine.identity(dtype)))
}

fn all_but(rank: usize, left_out: usize) -> Vec<usize> {
    (0..rank).filter(|&axis| axis != left_out).collect()
}

/// How an element compares with those that it beats.
fn better(combine: Combine) -> Comparison {
    if combine == Combine::Max { Comparison::Gt } else { Comparison::Lt }
}

fn either(b: &mut Builder, a: Value, other: Value) -> Built {
    b.elementwise(ScalarOp::Or, &[a, other])
}

fn both(b: &mut Builder, a: Value, other: Value) -> Built {
    b.elementwise(ScalarOp::And, &[a, other])
}

fn at_least(b: &mut Builder, x: Value, limit: f64) -> Built {
    let limit = b.full_like(x, limit)?;
    b.compare(Comparison::Ge, x, limit)
}

/// For each axis, where along it the windows' winners lie; -1 where one sees nothing.
fn winners(b: &mut Builder, combine: Combine, x: Value, axes: &[Along]) -> Result<Vec<Value>, GraphError> {
    let ty = b.ty(x).clone();
    let index = if i32::try_from(ty.elements()).is_ok() { DType::I32 } else { DType::I64 };
    let (mut best, mut found) = (x, Vec::new());
    for along in axes.iter().rev() {
        let [value, winner] = along.winner(b, combine, best, index)?;
        for other in &mut found {
            *other = b.gather_along(*other, winner, along.axis)?;
        }
        found.insert(0, winner);
        best = value;
    }
    Ok(found)
}

/// Each element asks the one window that it may be in.
fn compared(b: &mut Builder, axes: &[Along], winners: &[Value], dy: Value, x: &Type) -> Built {
    let mut back = |mut value: Value, fill: f64| -> Built {
        let dtype = b.ty(value).dtype;
        let fill = b.scalar(fill, dtype)?;
        for along in axes {
            value = along.back(b, value, fill)?;
        }
        Ok(value)
    };
    let given = back(dy, 0.0)?;
    let places = winners.iter().map(|&winner| back(winner, -1.0)).collect::<Result<Vec<_>, _>>()?;
    let mut result = given;
    let zero = b.zeros_like(given)?;
    let mut wins = None;
    for (along, place) in axes.iter().zip(places) {
        let dtype = b.ty(place).dtype;
        let own = b.iota(dtype, &x.dims, along.axis)?;
        let equal = b.compare(Comparison::Eq, own, place)?;
        wins = Some(match wins {
            Some(wins) => both(b, wins, equal)?,
            None => equal,
        });
    }
    if let Some(wins) = wins {
        result = b.select(wins, given, zero)?;
    }
    Ok(result)
}

/// Axes that stay in front of those that windows move along, and these as one.
struct Flat {
    order: Vec<usize>,
    kept: usize,
}

impl Flat {
    fn new(rank: usize, axes: &[Along]) -> Flat {
        let moved: Vec<usize> = axes.iter().map(|along| along.axis).collect();
        let kept: Vec<usize> = (0..rank).filter(|axis| !moved.contains(axis)).collect();
        Flat { kept: kept.len(), order: [kept, moved].concat() }
    }

    fn dims(&self, dims: &[usize]) -> Vec<usize> {
        self.order.iter().map(|&axis| dims[axis]).collect()
    }

    fn flat(&self, dims: &[usize]) -> Vec<usize> {
        let dims = self.dims(dims);
        [&dims[..self.kept], &[dims[self.kept..].iter().product()]].concat()
    }

    fn apply(&self, b: &mut Builder, x: Value) -> Built {
        let flat = self.flat(&b.dims(x));
        let x = b.transpose(x, &self.order)?;
        b.reshape(x, &flat)
    }

    /// Back to the extents `dims`.
    fn undo(&self, b: &mut Builder, x: Value, dims: &[usize]) -> Built {
        let x = b.reshape(x, &self.dims(dims))?;
        let mut back = vec![0; dims.len()];
        self.order.iter().enumerate().for_each(|(to, &from)| back[from] = to);
        b.transpose(x, &back)
    }
}

/// The positions of winners among all elements along the axes, -1 for none.
fn positions(b: &mut Builder, axes: &[Along], winners: &[Value]) -> Built {
    let mut place = b.zeros_like(winners[0])?;
    let never = b.full_like(place, -1.0)?;
    let mut all_found = None;
    for (along, &winner) in axes.iter().zip(winners) {
        let outer = b.mul_scalar(place, along.extent as f64)?;
        place = b.add(outer, winner)?;
        let found = at_least(b, winner, 0.0)?;
        all_found = Some(match all_found {
            Some(all) => both(b, all, found)?,
            None => found,
        });
    }
    match all_found {
        Some(found) => b.select(found, place, never),
        None => Ok(place),
    }
}

/// Windows add what they have to the elements that won them.
fn scattered(b: &mut Builder, axes: &[Along], winners: &[Value], dy: Value, x: &Type) -> Built {
    let flat = Flat::new(x.rank(), axes);
    let places = positions(b, axes, winners)?;
    let (places, dy) = (flat.apply(b, places)?, flat.apply(b, dy)?);
    let zeros = b.full(0.0, &x.with_dims(flat.flat(&x.dims)))?;
    let dx = b.scatter_add_along(zeros, places, dy, flat.kept)?;
    flat.undo(b, dx, &x.dims)
}

/// Windows take what the elements have that won them.
fn gathered(b: &mut Builder, axes: &[Along], winners: &[Value], dx: Value, y: &Type) -> Built {
    let flat = Flat::new(y.rank(), axes);
    let places = positions(b, axes, winners)?;
    let (places, dx) = (flat.apply(b, places)?, flat.apply(b, dx)?);
    let taken = b.gather_along(dx, places, flat.kept)?;
    let found = at_least(b, places, 0.0)?;
    let zero = b.zeros_like(taken)?;
    let dy = b.select(found, taken, zero)?;
    flat.undo(b, dy, &y.dims)
}
