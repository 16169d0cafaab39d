//! Strips, and what runs before them.

use brolga_ir::index::Var;
use brolga_ir::program::{Access, Expr, Stmt, ValueId};

use super::writer::{Strip, Sum, Writer};
use crate::wide::types::lane_code::Inst;

impl Writer<'_, '_> {
    pub fn strip(&mut self, var: Var, extent: usize, body: &[Stmt]) -> Option<()> {
        if extent == 0 {
            return Some(());
        }
        if extent > i32::MAX as usize / 16 {
            return None;
        }
        self.extents.insert(var, extent);
        let before = std::mem::take(&mut self.lanes.insts);
        self.strip = Some(Strip::new(var, extent, self.loops.len()));
        self.inside(body)?;
        let strip = self.strip.take().expect("just set");
        let inside = std::mem::replace(&mut self.lanes.insts, before);
        self.lanes.insts.extend(strip.head);
        self.lanes.insts.push(Inst::Strip(extent));
        self.lanes.insts.extend(inside);
        self.lanes.insts.push(Inst::End);
        let mut sums: Vec<(usize, Sum)> = strip.sums.into_values().collect();
        sums.sort_by_key(|sum| sum.0);
        for (word, sum) in sums {
            for (part, &lane) in self.lanes.sums[&sum.lane].iter().enumerate() {
                self.lanes.insts.push(Inst::StoreSums(word, part, lane));
            }
        }
        Some(())
    }

    /// What a strip runs: its body, once for each iteration of a loop over columns that it runs.
    fn inside(&mut self, body: &[Stmt]) -> Option<()> {
        match self.columns.as_ref().map(|columns| (columns.var, columns.first.clone(), columns.count)) {
            None => self.block(body)?,
            Some((column, first, count)) => {
                for i in 0..count {
                    self.substitutes.insert(column, first.plus(i as i64));
                    self.block(body)?;
                }
                self.substitutes.remove(&column);
            }
        }
        Some(())
    }

    /// Whether a value of the strip is the same in all its iterations, and can be computed before it.
    ///
    /// A load is moved only if the kernel does not write the parameter and nothing is stored before it: an
    /// element that is updated in place is loaded by one iteration only, the one that stores it.
    pub fn hoists(&self, expr: &Expr) -> bool {
        let Some(strip) = &self.strip else { return false };
        let before = |id: &ValueId| self.values.get(id).is_none_or(|known| !known.inside);
        match expr {
            Expr::Constant(_) => false,
            Expr::Index(index) => self.before_strip(index),
            Expr::Op(_, args) => args.iter().all(before),
            Expr::Load { param, index, guard } => {
                let read_only = self.cx.kernel.params[*param].access == Access::Read;
                read_only && !strip.stored && self.before_strip(index) && guard.iter().all(before)
            }
        }
    }
}
