//! Kept carries: they begin where the entry's last run has ended (truncated back-propagation, Williams & Peng, "An efficient
//! gradient-based algorithm for on-line training of recurrent network trajectories", 1990; persistent chains; streams).

use std::sync::Arc;

use brolga_ir::scalar::ScalarOp;
use brolga_ir::{DType, Type};

use crate::diagnostics::Diagnostic;
use crate::graph::builder::Builder;
use crate::graph::init::Init;
use crate::graph::names::KEPT;
use crate::graph::state::SlotKind;
use crate::graph::value::{Built, Fault, Tensor, Val};
use crate::source::Span;

impl Builder<'_> {
    /// The start of a carry that is kept, and the name of its state: where it ended before, in the rows that `kept` says; before the
    /// first run, and in all other rows, `start`. Nothing after a mistake, which is reported.
    pub(super) fn kept_start(
        &mut self,
        name: &str,
        start: Tensor,
        kept: Val,
        span: Span,
    ) -> Option<(Tensor, Option<String>)> {
        let rows = match kept {
            Val::Unknown => return None,
            Val::Bool(false) => return Some((start, None)),
            Val::Tensor(rows) if self.is_of_step(rows) => {
                let fault = Fault::new(format!("`kept` of `{name}` depends on a step"));
                let fault = fault.note("it says where the loop begins, so it is known before the first step");
                self.fail(fault, span);
                return None;
            }
            Val::Bool(true) => None,
            Val::Tensor(rows) if self.is_of_rows(rows, start) => Some(rows),
            other => {
                let found = match other {
                    Val::Tensor(tensor) => self.ops().ty(tensor).to_string(),
                    other => other.describe(),
                };
                let ty = self.ops().ty(start);
                let message =
                    format!("`kept` of `{name}` says for each row whether it goes on, found {found}");
                let rows = ty.dims.first().map_or(String::new(), |rows| format!(", or a bool[{rows}]"));
                self.fail(Fault::new(message).help(format!("`{name}` is {ty}: give `true`{rows}")), span);
                return None;
            }
        };
        if self.loops.open.len() > 1 {
            let fault = Fault::new(format!(
                "`{name}` is kept from run to run, but stands in a loop inside of another"
            ));
            let fault = fault.note("such a loop is run anew in each step of the outer one");
            self.fail(fault.help("hand its end on by a `Carry` of the outer loop"), span);
            return None;
        }
        let path = self.full_name(name);
        let state = format!("{KEPT}{}.{path}", self.graph.graph.name);
        self.expect_kept_once(&path, &state, span)?;
        let result = self.going_on(&state, start, rows);
        result.map(|start| (start, Some(state))).map_err(|fault| self.fail(fault, span)).ok()
    }

    /// An error if this run has kept a carry under that name before: the next one would not know which of both ends is meant.
    fn expect_kept_once(&mut self, path: &str, state: &str, span: Span) -> Option<()> {
        let known = self.loops.keeping.insert(state.to_owned(), (self.source.clone(), span));
        let Some((source, first)) = known.filter(|_| self.in_doubt.is_none()) else { return Some(()) };
        let is_again = Arc::ptr_eq(&source, &self.source) && first == span;
        let diagnostic = Diagnostic::new(&self.source, span, format!("`{path}` is kept twice in one run"));
        let diagnostic = match is_again {
            true => diagnostic
                .note("its loop is run again, and the next run would not know which of the two ends is meant")
                .help("keep the carry in a block, which has its own wherever it is used"),
            false => diagnostic
                .elsewhere(&source, first, "it is first kept")
                .help("name the loops, `Scan(name: ...)`, or give one of the carries another name"),
        };
        self.report(diagnostic);
        None
    }

    /// Whether a value is a truth value for all, or for each row of another.
    fn is_of_rows(&mut self, rows: Tensor, of: Tensor) -> bool {
        let ops = self.ops();
        let (rows, of) = (ops.ty(rows), ops.ty(of));
        rows.dtype == DType::Bool && rows.rank() <= 1 && of.dims.starts_with(&rows.dims)
    }

    /// Where a carry begins: no gradient goes beyond.
    fn going_on(&mut self, state: &str, start: Tensor, rows: Option<Tensor>) -> Built {
        let ty = self.ops().ty(start);
        let zero = Init::Constant(0.0);
        self.state(state, ty, SlotKind::Kept, zero.clone())?;
        let flag = begun(state);
        self.state(&flag, Type::scalar(DType::Bool), SlotKind::Kept, zero)?;
        // Another pass of the same run begins where the first one has.
        let at_start = |builder: &Self, name: &str| {
            let first = builder.slots.earlier(name, 0).first().copied();
            first.or_else(|| builder.slots.get(name).map(|(_, value)| value))
        };
        let (Some(old), Some(has_begun)) = (at_start(self, state), at_start(self, &flag)) else {
            return Ok(start);
        };
        let mut condition = has_begun;
        if let Some(rows) = rows {
            let b = &mut self.ops().b;
            let dims = b.dims(rows);
            let all = b.broadcast(has_begun, &dims, &[])?;
            condition = b.elementwise(ScalarOp::And, &[all, rows])?;
        }
        let old = self.ops().stop_gradient(old)?;
        self.where_rows(condition, old, start)
    }

    /// Notes where a kept carry has ended.
    pub(super) fn keep_end(&mut self, state: &str, end: Tensor) -> Built<()> {
        let end = self.ops().stop_gradient(end)?;
        let yes = self.ops().full(1.0, &Type::scalar(DType::Bool))?;
        self.slots.set(state, end);
        self.slots.set(&begun(state), yes);
        Ok(())
    }
}

/// The name of the state that says whether a carry has ever ended.
fn begun(state: &str) -> String {
    format!("{state}.begun")
}
