//! Rows that have steps of their own number, and cells that keep their state.

use brolga_ir::DType;
use brolga_ir::program::Combine;
use brolga_ir::scalar::Comparison;

use super::open::{NamedCarry, Next};
use crate::graph::builder::Builder;
use crate::graph::value::{Built, Fault, Tensor, Val};

impl Builder<'_> {
    /// Whether a position lies inside of each row, where `lengths` is `i32[rows]`: `bool[rows]`, and how many rows there are.
    pub(in crate::graph) fn within_rows(
        &mut self,
        lengths: Tensor,
        position: Tensor,
    ) -> Built<(Tensor, usize)> {
        let mut ops = self.ops();
        let dims = ops.dims(lengths);
        let position = ops.b.broadcast(position, &dims, &[])?;
        Ok((ops.b.compare(Comparison::Lt, position, lengths)?, dims[0]))
    }

    /// Ends the innermost loop behind the last step of the longest row, if it goes forwards. In training it goes through all its steps:
    /// the way back does so anyway, and sums over them are formed at once.
    pub(in crate::graph) fn end_behind_rows(&mut self, lengths: Tensor, position: Tensor) -> Built<()> {
        let reverse = self.loops.innermost().is_none_or(|open| open.reverse);
        if self.train || reverse {
            return Ok(());
        }
        let next = self.ops().b.add_scalar(position, 1.0)?;
        let (within, _) = self.within_rows(lengths, next)?;
        let running = self.ops().b.reduce(Combine::Or, within, &[0])?;
        self.go_on_while(running)
    }

    /// The value where a condition on its first axes holds, such as a `bool[rows]` or a `bool[]`; else the other one.
    pub(in crate::graph) fn where_rows(&mut self, rows: Tensor, value: Tensor, otherwise: Tensor) -> Built {
        let b = &mut self.ops().b;
        let dims = b.dims(value);
        let axes: Vec<usize> = (0..b.ty(rows).rank()).collect();
        let condition = b.broadcast(rows, &dims, &axes)?;
        Ok(b.select(condition, value, otherwise)?)
    }

    /// A sequence, `[steps, rows, ...]`, with zeros behind the end of each row, where `lengths` is `i32[rows]`. What stands there is
    /// not looked at: a NaN would come into gradients, as 0 times what it makes of others.
    pub(in crate::graph) fn zero_behind_rows(&mut self, sequence: Tensor, lengths: Tensor) -> Built {
        let mut ops = self.ops();
        let dims = ops.dims(sequence)[..2].to_vec();
        let positions = ops.b.iota(DType::I32, &dims, 0)?;
        let lengths = ops.b.broadcast(lengths, &dims, &[1])?;
        let within = ops.b.compare(Comparison::Lt, positions, lengths)?;
        let zeros = ops.b.zeros_like(sequence)?;
        self.where_rows(within, sequence, zeros)
    }

    /// What a cell keeps from step to step: a carry of the innermost loop under the cell's path, which ends with the loop's rows as
    /// others do. What stands for it before a step.
    pub(in crate::graph) fn keep(&mut self, name: &str, start: Tensor) -> Built {
        let path = self.full_name(name);
        let place = self.graph.place.clone();
        let (Some(place), false) = (place, self.loops.open.is_empty()) else {
            return Err(Fault::new(
                "there is no loop around this cell, from step to step of which it could keep its state",
            )
            .help("put it into the body of a `Scan`, or give it its `state`"));
        };
        let before = self.carry(&path, start);
        if let Some(open) = self.loops.innermost() {
            let carry = Some(open.carries.len() - 1);
            open.named.push(NamedCarry {
                name: path.clone(),
                path,
                place,
                carry,
                kept: None,
                next: Next::Missing,
            });
        }
        Ok(before)
    }

    /// What a cell keeps for the next step, in the place of what it found.
    pub(in crate::graph) fn kept(&mut self, before: Tensor, next: Tensor) {
        let Some(open) = self.loops.innermost() else { return };
        let number = open.carries.iter().position(|carried| carried.before == before);
        let found = open.named.iter_mut().find(|named| number.is_some() && named.carry == number);
        if let Some(named) = found {
            named.next = Next::Named(Val::Tensor(next), named.place.clone());
        }
    }
}
