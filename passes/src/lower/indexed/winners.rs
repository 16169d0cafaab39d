//! Winners of windows: the gradient of pooling by maximum or minimum, and its transpose.
//!
//! One kernel finds which tap of each window wins; a byte is enough for most windows. The gradient then goes through
//! the elements, not the windows: an element adds up what the windows that it won give it, in ascending order, so no
//! two points write the same place. Both are nests that are cut where windows repeat ([`cuts`](crate::lower::regions::cuts)).

use brolga_ir::index::Index;
use brolga_ir::ops::{ReduceWindow, SelectForm, WindowSelect};
use brolga_ir::program::{Access, Combine, ValueId};
use brolga_ir::scalar::{Comparison, Scalar, ScalarOp};
use brolga_ir::{DType, GraphError, NodeId, Type};

use crate::lower::regions::compose::Composer;
use crate::lower::{Location, Lowering};

/// Along one axis, position `p` sees through tap `k` the element `(p · scale + k · step + offset) / divisor`, if the
/// quotient is exact and in `0..extent`.
struct Axis {
    scale: i64,
    step: i64,
    offset: i64,
    divisor: i64,
    extent: usize,
    taps: usize,
    /// Elements from one to the next in memory.
    stride: usize,
}

/// What positions see of a tensor.
struct Sight {
    axes: Vec<Axis>,
}

impl Sight {
    /// Windows that see elements of x.
    fn of_windows(w: &ReduceWindow, x: &Type) -> Sight {
        let strides = x.strides();
        let axis = |axis: usize| Axis {
            scale: w.stride[axis] as i64,
            step: w.window_dilation[axis] as i64,
            offset: -w.padding[axis].0,
            divisor: w.base_dilation[axis] as i64,
            extent: x.dims[axis],
            taps: w.window[axis],
            stride: strides[axis],
        };
        Sight { axes: (0..x.rank()).map(axis).collect() }
    }

    /// Elements of x that see the windows they are in: taps in descending order, so windows in ascending order.
    fn of_elements(w: &ReduceWindow, windows: &Type) -> Sight {
        let strides = windows.strides();
        let axis = |axis: usize| Axis {
            scale: w.base_dilation[axis] as i64,
            step: w.window_dilation[axis] as i64,
            offset: w.padding[axis].0 - (w.window[axis] as i64 - 1) * w.window_dilation[axis] as i64,
            divisor: w.stride[axis] as i64,
            extent: windows.dims[axis],
            taps: w.window[axis],
            stride: strides[axis],
        };
        Sight { axes: (0..windows.rank()).map(axis).collect() }
    }

    /// The place that a position sees through a tap, and the condition that there is one; `None` if there never is.
    fn look(&self, c: &mut Composer<'_>, at: &[Index], tap: &[Index]) -> Option<(Index, Option<ValueId>)> {
        let (mut place, mut inside) = (Index::default(), None);
        c.k.begin_guard();
        for ((axis, at), tap) in self.axes.iter().zip(at).zip(tap) {
            let point = at.scale(axis.scale).add(&tap.scale(axis.step)).plus(axis.offset);
            let (element, between) = {
                let range = |atom: &_| c.k.range(atom);
                (point.div(axis.divisor, &range), point.rem(axis.divisor, &range))
            };
            for (index, extent) in [(&between, 1), (&element, axis.extent)] {
                if c.k.never_in_bounds(index, extent) {
                    return None;
                }
                let test = c.k.in_bounds(index, extent);
                inside = c.k.and(inside, test);
            }
            place = place.add(&element.scale(axis.stride as i64));
        }
        Some((place, inside))
    }

    /// Calls `body` for every tap, in row-major order: written out, or in loops.
    fn for_taps(&self, c: &mut Composer<'_>, body: &mut dyn FnMut(&mut Composer<'_>, &[Index])) {
        if !c.written_out {
            let extents: Vec<usize> = self.axes.iter().map(|axis| axis.taps).collect();
            return c.loops(&extents, &mut |c, tap| body(c, tap));
        }
        let mut tap = vec![0; self.axes.len()];
        // An odometer: it ends behind the last tap of all axes.
        loop {
            let at: Vec<Index> = tap.iter().map(|&t| Index::constant(t as i64)).collect();
            body(c, &at);
            let Some(axis) = (0..tap.len()).rev().find(|&axis| tap[axis] + 1 < self.axes[axis].taps) else {
                return;
            };
            tap[axis] += 1;
            tap[axis + 1..].fill(0);
        }
    }

    /// Number of taps.
    fn area(&self) -> usize {
        self.axes.iter().map(|axis| axis.taps).product()
    }

    /// The row-major number of a tap, counted from the other end if `mirrored`.
    fn number(&self, tap: &[Index], mirrored: bool) -> Index {
        let along = |number: Index, (axis, tap): (&Axis, &Index)| {
            let tap = if mirrored { tap.scale(-1).plus(axis.taps as i64 - 1) } else { tap.clone() };
            number.scale(axis.taps as i64).add(&tap)
        };
        self.axes.iter().zip(tap).fold(Index::default(), along)
    }
}

/// The number of a tap as a value of the winners' type.
fn number(c: &mut Composer<'_>, index: &Index, dtype: DType) -> ValueId {
    match index.as_constant() {
        Some(constant) => c.k.constant(Scalar::from_i64(dtype, constant)),
        None => {
            let wide = c.k.index(index, DType::I32);
            if dtype == DType::I32 { wide } else { c.k.op(ScalarOp::Convert(dtype), &[wide]) }
        }
    }
}

/// Finds winners: in each window the first best, or the first NaN.
struct Winners {
    sight: Sight,
    source: usize,
    combine: Combine,
    /// Of x, and of the winners.
    dtype: DType,
    taps: DType,
}

impl Winners {
    /// The winner of the window at a position; the number of taps, if the window sees nothing.
    fn find(&self, c: &mut Composer<'_>, at: &[Index]) -> ValueId {
        let mut seen = Vec::new();
        if c.written_out {
            self.sight.for_taps(c, &mut |c, tap| {
                let number = self.sight.number(tap, false);
                seen.extend(self.sight.look(c, at, tap).map(|(place, inside)| (place, inside, number)));
            });
        }
        if !c.written_out || seen.iter().any(|(_, inside, _)| inside.is_some()) {
            return self.search(c, at);
        }
        let comparison = if self.combine == Combine::Max { Comparison::Le } else { Comparison::Ge };
        let mut best: Option<(ValueId, ValueId)> = None;
        for (place, _, tap) in seen {
            let value = c.k.load(self.source, &place, None);
            let here = number(c, &tap, self.taps);
            best = Some(match best {
                None => (value, here),
                Some((best, tap)) => {
                    let worse = c.k.op(ScalarOp::Compare(comparison), &[value, best]);
                    let better = c.k.op(ScalarOp::Not, &[worse]);
                    let known = c.k.op(ScalarOp::Compare(Comparison::Eq), &[best, best]);
                    let wins = c.k.op(ScalarOp::And, &[better, known]);
                    let best = c.k.op(ScalarOp::Select, &[wins, value, best]);
                    (best, c.k.op(ScalarOp::Select, &[wins, here, tap]))
                }
            });
        }
        best.map_or_else(|| self.nothing(c), |(_, tap)| tap)
    }

    fn nothing(&self, c: &mut Composer<'_>) -> ValueId {
        c.k.constant(Scalar::from_i64(self.taps, self.sight.area() as i64))
    }

    /// The same in two rounds: the best, then the first tap that holds it.
    fn search(&self, c: &mut Composer<'_>, at: &[Index]) -> ValueId {
        let best = c.k.declare(self.dtype, self.combine, 1);
        self.sight.for_taps(c, &mut |c, tap| {
            let Some((place, inside)) = self.sight.look(c, at, tap) else { return };
            let value = c.k.load(self.source, &place, inside);
            let identity = c.k.constant(self.combine.identity(self.dtype));
            let value = inside.map_or(value, |inside| c.k.op(ScalarOp::Select, &[inside, value, identity]));
            c.k.accumulate(best, value);
        });
        let best = c.k.finish(best);
        let unknown = c.k.op(ScalarOp::Compare(Comparison::Ne), &[best, best]);
        let first = c.k.declare(DType::I32, Combine::Min, 1);
        self.sight.for_taps(c, &mut |c, tap| {
            let Some((place, inside)) = self.sight.look(c, at, tap) else { return };
            let value = c.k.load(self.source, &place, inside);
            let equal = c.k.op(ScalarOp::Compare(Comparison::Eq), &[value, best]);
            let also = c.k.op(ScalarOp::Compare(Comparison::Ne), &[value, value]);
            let also = c.k.op(ScalarOp::And, &[also, unknown]);
            let wins = c.k.op(ScalarOp::Or, &[equal, also]);
            let wins = inside.map_or(wins, |inside| c.k.op(ScalarOp::And, &[wins, inside]));
            let here = number(c, &self.sight.number(tap, false), DType::I32);
            let none = c.k.constant(Scalar::I32(self.sight.area() as i32));
            let candidate = c.k.op(ScalarOp::Select, &[wins, here, none]);
            c.k.accumulate(first, candidate);
        });
        let first = c.k.finish(first);
        let none = c.k.constant(Scalar::I32(self.sight.area() as i32));
        let first = c.k.op(ScalarOp::Min, &[first, none]);
        if self.taps == DType::I32 { first } else { c.k.op(ScalarOp::Convert(self.taps), &[first]) }
    }
}

/// A kernel that reads winners: its parameters, and the types of two of them.
struct Selected<'t> {
    /// The winner of each window.
    winners: usize,
    taps: DType,
    values: usize,
    target: usize,
    ty: &'t Type,
}

impl Selected<'_> {
    /// Gives each element of x the sum of the values of the windows that it won, which it sees by `sight`.
    fn give(&self, c: &mut Composer<'_>, sight: &Sight) {
        c.nest(&self.ty.dims, &|c, points| {
            let sums: Vec<ValueId> = points.iter().map(|at| self.sum(c, sight, at)).collect();
            for (at, sum) in points.iter().zip(sums) {
                let to = c.flat(self.ty, at);
                c.k.store(self.target, to, sum);
            }
        });
    }

    fn sum(&self, c: &mut Composer<'_>, sight: &Sight, at: &[Index]) -> ValueId {
        let sum = c.k.declare(self.ty.dtype, Combine::Add, 1);
        sight.for_taps(c, &mut |c, tap| {
            let Some((place, inside)) = sight.look(c, at, tap) else { return };
            let winner = c.k.load(self.winners, &place, inside);
            let own = number(c, &sight.number(tap, true), self.taps);
            let wins = c.k.op(ScalarOp::Compare(Comparison::Eq), &[winner, own]);
            let wins = c.k.and(Some(wins), inside).expect("a condition");
            let value = c.k.load(self.values, &place, inside);
            let zero = c.k.zero_of(self.target);
            let value = c.k.op(ScalarOp::Select, &[wins, value, zero]);
            c.k.accumulate(sum, value);
        });
        c.k.finish(sum)
    }

    /// Stores for each window the value of the element that won it, or zero where it sees none: the transpose of `give`. A winner
    /// is the number of a tap, counted row by row, so it is divided again into a tap of each axis: winner 4 of a window of 2 x 3
    /// is the tap (1, 1). From there `sight` leads to one of the `elements` values.
    fn take(&self, c: &mut Composer<'_>, sight: &Sight, elements: usize) {
        let area = sight.area();
        c.loops(&self.ty.dims, &mut |c, at| {
            let here = c.flat(self.ty, at);
            let winner = c.k.load(self.winners, &here, None);
            let winner = match self.taps {
                DType::I32 => winner,
                _ => c.k.op(ScalarOp::Convert(DType::I32), &[winner]),
            };
            let none = c.k.constant(Scalar::I32(area as i32));
            let seen = c.k.op(ScalarOp::Compare(Comparison::Lt), &[winner, none]);
            let (mut place, mut rest) = (Index::default(), area as i64);
            for (axis, at) in sight.axes.iter().zip(at) {
                rest /= axis.taps as i64;
                let tap = Index::value(winner.0).div(rest, &|_| None).rem(axis.taps as i64, &|_| None);
                let point = at.scale(axis.scale).add(&tap.scale(axis.step)).plus(axis.offset);
                place = place.add(&point.div(axis.divisor, &|_| None).scale(axis.stride as i64));
            }
            // The remainder changes nothing; it bounds the position for whoever reasons about it.
            let place = place.rem(elements.max(1) as i64, &|_| None);
            let value = c.k.load(self.values, &place, Some(seen));
            let zero = c.k.zero_of(self.target);
            let value = c.k.op(ScalarOp::Select, &[seen, value, zero]);
            c.k.store(self.target, here, value);
        });
    }
}

impl Lowering<'_> {
    /// Finds which tap of each window wins; what windows see, and where the numbers of the winning taps lie, of what type.
    fn window_winners(
        &mut self,
        id: NodeId,
        select: &WindowSelect,
        windows: &Type,
    ) -> Result<(Sight, Type, Location), GraphError> {
        let x = self.graph.node(id).operands[0];
        let x_ty = self.graph.ty(x);
        let sight = Sight::of_windows(&select.window, x_ty);
        // One more than there are taps: for windows that see nothing.
        let taps = if sight.area() < 256 { DType::U8 } else { DType::I32 };
        let winners = Type::new(taps, windows.dims.clone());
        let winners_at = self.arena("winners", winners.clone());
        let mut c = Composer::new(self.graph, "window_winners");
        let args = vec![self.location(x)?, winners_at];
        let source = c.k.param(x_ty.dtype, x_ty.elements(), Access::Read);
        let target = c.k.param(taps, winners.elements(), Access::Write);
        let find = Winners { sight, source, combine: select.window.combine, dtype: x_ty.dtype, taps };
        c.nest(&windows.dims, &|c, points| {
            let found: Vec<ValueId> = points.iter().map(|at| find.find(c, at)).collect();
            for (at, winner) in points.iter().zip(found) {
                let to = c.flat(&winners, at);
                c.k.store(target, to, winner);
            }
        });
        self.call(c.k.finish_kernel(), args, id);
        Ok((find.sight, winners, winners_at))
    }

    pub(super) fn window_select(&mut self, id: NodeId, select: &WindowSelect) -> Result<(), GraphError> {
        let graph = self.graph;
        let node = graph.node(id);
        let (x, second) = (node.operands[0], node.operands[1]);
        let x_ty = graph.ty(x);
        let scatter = select.form == SelectForm::Scatter;
        let windows = if scatter { graph.ty(second) } else { &node.types[0] };
        let w = &select.window;
        let (sight, winners, winners_at) = self.window_winners(id, select, windows)?;

        let mut c = Composer::new(graph, node.op.get().name());
        let ty = &node.types[0];
        let args = vec![winners_at, self.location(second)?, self.target(graph.result(id))];
        let selected = Selected {
            winners: c.k.param(winners.dtype, winners.elements(), Access::Read),
            taps: winners.dtype,
            values: c.k.param(ty.dtype, graph.ty(second).elements(), Access::Read),
            target: c.k.param(ty.dtype, ty.elements(), Access::Write),
            ty,
        };
        if scatter {
            selected.give(&mut c, &Sight::of_elements(w, windows));
        } else {
            selected.take(&mut c, &sight, x_ty.elements());
        }
        self.call(c.k.finish_kernel(), args, id);
        Ok(())
    }
}
