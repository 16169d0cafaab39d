//! Accumulators.

use brolga_ir::DType;
use brolga_ir::program::{AccId, Combine, ValueId};

use super::writer::{Known, Sum, Writer, lane_bits};
use crate::portable::{Acc, has_lanes};
use crate::wide::types::lane_code::{Define, Inst};
use crate::wide::types::operations::Unary;
use crate::wide::types::words::{Start, Word};

impl Writer<'_, '_> {
    pub fn declare(&mut self, acc: AccId, dtype: DType, combine: Combine, lanes: u32) -> Option<()> {
        let identity = lane_bits(combine.identity(dtype)).filter(|_| has_lanes(dtype))?;
        let identity = self.lanes.constant(identity);
        let inside = self.strip.is_some();
        // Values of their own, to be changed.
        let lane = if inside || lanes == 1 {
            self.lanes.unary(Unary::Copy, identity)
        } else {
            let parts = self.lanes.machine.parts();
            let parts = (0..parts).map(|_| self.lanes.unary(Unary::Copy, identity)).collect();
            self.lanes.sum(parts)
        };
        self.accs.insert(acc, Sum { lane, dtype, combine, inside });
        Some(())
    }

    pub fn accumulate(&mut self, acc: AccId, value: ValueId) -> Option<()> {
        let value = self.value(value)?.lane;
        let sum = match self.accs.get(&acc) {
            Some(&sum) => sum,
            None => self.outside_sum(acc)?,
        };
        // One lane outside of the strip is a chain over its iterations; 32 outside of strips are one lane only.
        let in_lanes = self.lanes.sums.contains_key(&sum.lane);
        if self.strip.is_some() != (sum.inside || in_lanes) {
            return None;
        }
        let new = self.lanes.combine(sum.combine, sum.dtype, sum.lane, value)?;
        self.lanes.insts.push(Inst::Assign(sum.lane, new));
        Some(())
    }

    /// An accumulator in the caller's memory, which is in registers during the strip.
    fn outside_sum(&mut self, acc: AccId) -> Option<Sum> {
        let &Acc::Slot { dtype, combine, .. } = self.cx.accs.get(&acc)? else { return None };
        if !matches!(dtype, DType::F32 | DType::I32 | DType::Bool) {
            return None;
        }
        if let Some(&(_, sum)) = self.strip.as_ref()?.sums.get(&acc) {
            return Some(sum);
        }
        let word = self.word(Word { start: Start::Sums(acc), strides: Vec::new() });
        let parts = 0..self.lanes.machine.parts();
        let load =
            |writer: &mut Self| parts.map(|part| writer.lanes.define(Define::LoadSums(word, part))).collect();
        let parts = self.before(load);
        let sum = Sum { lane: self.lanes.sum(parts), dtype, combine, inside: false };
        self.strip.as_mut()?.sums.insert(acc, (word, sum));
        Some(sum)
    }

    pub fn finish(&mut self, id: ValueId, acc: AccId) -> Option<()> {
        let &sum = self.accs.get(&acc)?;
        let lane = match self.lanes.sums.get(&sum.lane).cloned() {
            Some(parts) => self.lanes.fold(sum.combine, sum.dtype, &parts)?,
            None => self.lanes.unary(Unary::Copy, sum.lane),
        };
        let inside = self.strip.is_some();
        self.values.insert(id, Known { lane, dtype: sum.dtype, varies: inside, inside });
        Some(())
    }
}
