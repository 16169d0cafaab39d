//! Rows that end: from its own end on, a row keeps its carries. Where all have ended, so does the loop.

use brolga_ir::DType;
use brolga_ir::program::Combine;
use brolga_ir::scalar::ScalarOp;

use super::walk::Walk;
use crate::graph::builder::Builder;
use crate::graph::value::{Built, Fault, Tensor, Val};
use crate::source::Span;

/// Whether a step counts.
#[derive(Clone, Copy)]
pub(super) enum Alive {
    /// Every step does.
    Always,
    /// Until the loop ends: a `bool[]`.
    Whole(Tensor),
    /// For each of so many rows: a `bool[rows]`.
    Rows(Tensor, usize),
}

/// A carry that a loop has of its own.
pub(super) struct Own {
    pub before: Tensor,
    pub next: Tensor,
    /// Whether some row takes this step, a `bool[]`.
    pub counts: Tensor,
}

impl Builder<'_> {
    /// Whether this step counts, from `lengths` and `until`; nothing for a mistake. Going backwards, a row begins at its own end, so
    /// in both directions those steps of a row count that stand before its length.
    pub(super) fn alive(&mut self, walk: &Walk, until: Option<(Val, Span)>) -> Option<Alive> {
        let lengths = walk.way.as_ref().and_then(|way| way.lengths);
        let within = match (lengths, walk.position) {
            (Some(lengths), Some(position)) => {
                let mask = self.within_rows(lengths, position);
                Some(mask.map_err(|fault| self.fail(fault, walk.span)).ok()?)
            }
            _ => None,
        };
        let Some((until, span)) = until else {
            // Without carries all steps are computed at once.
            let has_carries = self.loops.innermost().is_some_and(|open| !open.carries.is_empty());
            if let (Some(lengths), Some(position), true) = (lengths, walk.position, has_carries) {
                let ends = self.end_behind_rows(lengths, position);
                ends.map_err(|fault| self.fail(fault, walk.span)).ok()?;
            }
            return Some(within.map_or(Alive::Always, |(mask, rows)| Alive::Rows(mask, rows)));
        };
        let until = self.truth_of_step(until, within.map(|(_, rows)| rows), span)?;
        let alive = self.ended_by(within, until).and_then(|(alive, ended)| {
            self.end_behind(walk, ended)?;
            Ok(alive)
        });
        alive.map_err(|fault| self.fail(fault, span)).ok()
    }

    /// Ends the loop behind a step that has left all rows, or the whole of it, `ended`; and, going forwards, where the next step is
    /// behind the lengths of all rows. In training it goes through all its steps, as in [`Self::end_behind_rows`].
    fn end_behind(&mut self, walk: &Walk, ended: Tensor) -> Built<()> {
        if self.train {
            return Ok(());
        }
        let mut running = self.ops().b.elementwise(ScalarOp::Not, &[ended])?;
        let way = walk.way.as_ref().filter(|way| !way.reverse);
        if let (Some(lengths), Some(position)) = (way.and_then(|way| way.lengths), walk.position) {
            let next = self.ops().b.add_scalar(position, 1.0)?;
            let (within, rows) = self.within_rows(lengths, next)?;
            let b = &mut self.ops().b;
            let axes: Vec<usize> = (0..b.dims(running).len()).collect();
            let others = b.broadcast(running, &[rows], &axes)?;
            running = b.elementwise(ScalarOp::And, &[within, others])?;
        }
        let b = &mut self.ops().b;
        if !b.dims(running).is_empty() {
            running = b.reduce(Combine::Or, running, &[0])?;
        }
        self.go_on_while(running)
    }

    /// The value of `until`: a `bool[]`, or a `bool[rows]` with as many rows as there are.
    fn truth_of_step(&mut self, value: Val, rows: Option<usize>, span: Span) -> Option<Tensor> {
        let value = match value {
            Val::Tensor(tensor) => tensor,
            Val::Bool(_) => self.as_tensor(value, span)?,
            Val::Unknown => return None,
            other => {
                let message = format!("`until` must be bool[] or bool[rows], found {}", other.describe());
                self.fail(Fault::new(message), span);
                return None;
            }
        };
        let ty = self.ops().ty(value);
        let fits = match (ty.dims.as_slice(), rows) {
            ([], _) | ([_], None) => true,
            ([found], Some(rows)) => *found == rows,
            _ => false,
        };
        if ty.dtype == DType::Bool && fits {
            return Some(value);
        }
        let fault = match rows {
            Some(rows) if ty.dtype == DType::Bool => {
                Fault::new(format!("`until` must be bool[] or bool[{rows}], found {ty}"))
                    .note(format!("`lengths` has {rows} rows"))
            }
            _ => Fault::new(format!("`until` must be bool[] or bool[rows], found {ty}")),
        };
        self.fail(fault, span);
        None
    }

    /// Whether this step counts, where a row, or all, end behind a step in which `until` holds; and which have ended behind this one.
    fn ended_by(&mut self, within: Option<(Tensor, usize)>, until: Tensor) -> Built<(Alive, Tensor)> {
        let ty = self.ops().ty(until);
        let start = self.ops().full(0.0, &ty)?;
        let ended = self.carry("ended", start);
        let b = &mut self.ops().b;
        let running = b.elementwise(ScalarOp::Not, &[ended])?;
        let alive = match within {
            None => running,
            Some((within, rows)) => {
                let axes: Vec<usize> = (0..ty.rank()).collect();
                let running = b.broadcast(running, &[rows], &axes)?;
                b.elementwise(ScalarOp::And, &[within, running])?
            }
        };
        // A row that has not begun, going backwards, does not end; nor do all in a step that no row takes.
        let counts = match within {
            Some(_) if ty.rank() == 0 => b.reduce(Combine::Or, alive, &[0])?,
            _ => alive,
        };
        let ends = b.elementwise(ScalarOp::And, &[counts, until])?;
        let next = b.elementwise(ScalarOp::Or, &[ended, ends])?;
        self.carry_on(ended, next);
        let alive = match (within, ty.dims.as_slice()) {
            (Some((_, rows)), _) | (None, &[rows]) => Alive::Rows(alive, rows),
            _ => Alive::Whole(alive),
        };
        Ok((alive, next))
    }

    /// What steps compute of carries, they compute of the start where they do not count. What a row kept may be outside of the
    /// domain of what the body computes, as 4.1 of `sqrt(4 - prev.h)`: that is not looked at, but would come into gradients.
    pub(super) fn begin_again_where_ended(&mut self, carries: &[usize], alive: Alive) -> Built<()> {
        if let Alive::Always = alive {
            return Ok(());
        }
        for number in carries {
            let Some(open) = self.loops.innermost() else { continue };
            let (before, start) = (open.carries[*number].before, open.carries[*number].start);
            let users = self.graph.graph.users(before.node);
            let from = self.where_alive(alive, before, start)?;
            for user in users {
                let operands = self.graph.graph.node(user).operands.clone();
                let places = (0..operands.len()).filter(|place| operands[*place] == before);
                places.for_each(|place| self.graph.graph.set_operand(user, place, from));
            }
        }
        Ok(())
    }

    /// The value where the step counts, else the other one.
    pub(super) fn where_alive(&mut self, alive: Alive, value: Tensor, otherwise: Tensor) -> Built {
        match alive {
            Alive::Always => Ok(value),
            Alive::Whole(alive) | Alive::Rows(alive, _) => self.where_rows(alive, value, otherwise),
        }
    }

    /// The value where the step counts, else 0.
    pub(super) fn zero_unless_alive(&mut self, alive: Alive, value: Tensor) -> Built {
        let zeros = self.ops().b.zeros_like(value)?;
        self.where_alive(alive, value, zeros)
    }

    /// How many steps count, as a carry, where that is not known before.
    pub(super) fn counted(&mut self, alive: Alive) -> Built<Option<Own>> {
        if let Alive::Always = alive {
            return Ok(None);
        }
        let start = self.ops().int_scalar(0, DType::I32)?;
        let before = self.carry("steps", start);
        let b = &mut self.ops().b;
        let any = match alive {
            Alive::Rows(alive, _) => b.reduce(Combine::Or, alive, &[0])?,
            Alive::Whole(alive) => alive,
            Alive::Always => return Ok(None),
        };
        let one = b.convert(any, DType::I32)?;
        let next = b.add(before, one)?;
        Ok(Some(Own { before, next, counts: any }))
    }

    /// State that a step changes, such as running statistics, stays as it was in a step that does not count.
    pub(super) fn keep_state_unless(&mut self, counts: Tensor) -> Built<()> {
        let Some(changes) = self.loops.innermost().map(|open| open.changes) else { return Ok(()) };
        for (name, before, now) in self.slots.changed_since(changes) {
            let kept = self.where_rows(counts, now, before)?;
            self.slots.set(&name, kept);
        }
        Ok(())
    }
}
