//! Statements as lane code. Statements outside of strips are lane code too, all lanes being equal.

use brolga_ir::DType;
use brolga_ir::index::{Index, Var};
use brolga_ir::program::{Expr, Stmt, Tile, ValueId};
use brolga_ir::scalar::{Comparison, NAN_F32, ScalarOp};

use super::columns::are_columns;
use super::epilogue;
use super::writer::{Known, Writer};
use crate::limits::STRIP_UNROLL;
use crate::wide::types::epilogue::SumOp;
use crate::wide::types::lane_code::{Inst, Lane};
use crate::wide::types::tile::{PlacedTile, fits};

impl Writer<'_, '_> {
    fn stmt(&mut self, stmt: &Stmt) -> Option<()> {
        match stmt {
            Stmt::Let { id, dtype, expr } => self.bind(*id, *dtype, expr),
            Stmt::Store { param, index, value } => self.store(*param, index, *value),
            Stmt::For { var, extent, body } => self.serial(*var, *extent, body),
            Stmt::Strip { var, extent, body } => self.strip(*var, *extent, body),
            Stmt::Declare { acc, dtype, combine, lanes } => self.declare(*acc, *dtype, *combine, *lanes),
            Stmt::Accumulate { acc, value } => self.accumulate(*acc, *value),
            Stmt::Finish { id, acc } => self.finish(*id, *acc),
            Stmt::Tile(tile) => self.tile(tile, None),
            Stmt::If { .. } => None,
        }
    }

    fn bind(&mut self, id: ValueId, dtype: DType, expr: &Expr) -> Option<()> {
        let hoisted = self.hoists(expr);
        let (lane, varies) = match hoisted {
            true => self.before(|writer| writer.expr(dtype, expr))?,
            false => self.expr(dtype, expr)?,
        };
        let inside = self.strip.is_some() && !hoisted;
        self.values.insert(id, Known { lane, dtype, varies, inside });
        Some(())
    }

    fn store(&mut self, param: usize, index: &Index, value: ValueId) -> Option<()> {
        let value = self.value(value)?.lane;
        let place = self.place(param, index)?;
        let scattered = self.strip.is_some() && place.stride != 1;
        if place.index.is_some() || (place.dtype == DType::Bf16 && scattered) {
            return None;
        }
        if let Some(strip) = &mut self.strip {
            strip.stored = true;
        }
        let value = self.stored_form(param, place.dtype, value)?;
        self.lanes.insts.push(Inst::Store(place, value));
        Some(())
    }

    pub fn block(&mut self, body: &[Stmt]) -> Option<()> {
        (self.statements(body) == body.len()).then_some(())
    }

    /// Writes statements up to the first that there is no code for; their number.
    pub fn statements(&mut self, body: &[Stmt]) -> usize {
        let mut done = 0;
        while let [stmt, later @ ..] = &body[done..] {
            let mut taken = 1;
            let written = match (stmt, later) {
                (Stmt::Tile(tile), [next, ..]) => {
                    let epilogue = epilogue::read(self, tile, next);
                    taken += usize::from(epilogue.is_some());
                    self.tile(tile, epilogue)
                }
                _ => self.stmt(stmt),
            };
            if written.is_none() {
                break;
            }
            done += taken;
        }
        done
    }

    fn serial(&mut self, var: Var, extent: usize, body: &[Stmt]) -> Option<()> {
        if extent == 0 {
            return Some(());
        }
        if extent > i32::MAX as usize {
            return None;
        }
        if let Some(strip) = &mut self.strip {
            // Values inside are local to it; it may store.
            strip.stored = true;
        }
        self.extents.insert(var, extent);
        if extent == 1 || self.strip.is_some() && self.copies * extent <= STRIP_UNROLL {
            self.copies *= extent;
            for i in 0..extent {
                self.substitutes.insert(var, Index::constant(i as i64));
                self.block(body)?;
            }
            self.copies /= extent;
            self.substitutes.remove(&var);
            return Some(());
        }
        if self.strip.is_none() && self.columns.is_none() && are_columns(self.cx.kernel, var, extent, body) {
            return self.columns(var, extent, body);
        }
        self.counted(var, extent, |writer| writer.block(body))
    }

    /// A loop that is one in the leaf.
    pub fn counted(
        &mut self,
        var: Var,
        extent: usize,
        body: impl FnOnce(&mut Self) -> Option<()>,
    ) -> Option<()> {
        let number = self.lanes.loops.len();
        self.lanes.loops.push(extent);
        self.loops.push((var, number));
        self.lanes.insts.push(Inst::Loop(number));
        body(self)?;
        self.lanes.insts.push(Inst::End);
        self.loops.pop();
        Some(())
    }

    fn tile(&mut self, tile: &Tile, epilogue: Option<Vec<SumOp>>) -> Option<()> {
        if !fits(tile) {
            return None;
        }
        let mut panels = [(0, 0); 3];
        for (at, panel) in [&tile.a, &tile.b, &tile.c].into_iter().enumerate() {
            let place = self.place(panel.param, &panel.index)?;
            panels[at] = (place.word, place.offset);
        }
        self.lanes.insts.push(Inst::Tile(self.lanes.tiles.len()));
        let stored = self.cx.kernel.params[tile.b.param].dtype;
        let epilogue = match epilogue {
            None if self.cx.outputs[tile.c.param] => Some(vec![SumOp::OneNan, SumOp::StoreSum]),
            epilogue => epilogue,
        };
        self.lanes.tiles.push(PlacedTile { tile: tile.clone(), stored, panels, epilogue });
        Some(())
    }

    /// A value as it is stored to a parameter: NaNs of outputs have one form.
    fn stored_form(&mut self, param: usize, dtype: DType, value: Lane) -> Option<Lane> {
        if !self.cx.outputs[param] || dtype != DType::F32 {
            return Some(value);
        }
        if self.constant(value).is_some_and(|bits| !f32::from_bits(bits).is_nan()) {
            return Some(value);
        }
        let is_nan = self.lanes.op(ScalarOp::Compare(Comparison::Ne), dtype, &[value, value])?;
        let nan = self.lanes.constant(NAN_F32);
        self.lanes.op(ScalarOp::Select, dtype, &[is_nan, nan, value])
    }
}
