//! What an entry gives: its outputs and its loss, from their expressions.

use brolga_ir::ops::Role;

use super::builder::Builder;
use super::names::check_output;
use super::value::{Fault, Tensor, Val};
use crate::expr::Expr;
use crate::model::tree::Outputs;

impl Builder<'_> {
    /// Adds the values of expressions, as tensors, to the outputs of the graph.
    pub(super) fn outputs(&mut self, outputs: &Outputs) {
        for (name, expr) in outputs {
            if let Err(fault) = check_output(&name.value) {
                self.fail(fault, name.span);
            }
            self.graph.enter(&name.value, &self.source.clone(), expr.span);
            let value = self.eval(expr);
            if let Some(tensor) = self.as_tensor(value, expr.span) {
                self.graph.graph.add_output(&name.value, Role::Data, tensor);
            }
        }
    }

    /// The value of a loss, which is one floating-point number; anything else is reported.
    pub(super) fn loss(&mut self, expr: &Expr) -> Option<Tensor> {
        self.graph.enter("loss", &self.source.clone(), expr.span);
        let float = self.float();
        let tensor = match self.eval(expr) {
            number @ Val::Int(_) => self.as_tensor_of(number, float, expr.span)?,
            value => self.as_tensor(value, expr.span)?,
        };
        let ty = self.ops().ty(tensor);
        if !ty.dims.is_empty() || !ty.dtype.is_float() {
            let fault = Fault::new(format!("a loss is one floating-point number, found {ty}"))
                .help("reduce it with `mean(...)` or `sum(...)`");
            self.fail(fault, expr.span);
            return None;
        }
        Some(tensor)
    }
}
