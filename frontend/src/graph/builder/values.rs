//! Values as tensors.

use brolga_ir::DType;

use super::Builder;
use crate::graph::value::{Fault, Tensor, Val};
use crate::source::{Span, Spanned};

impl Builder<'_> {
    /// The current value as a tensor; `None` if it is unknown.
    pub fn current_tensor(&mut self, span: Span) -> Option<Tensor> {
        match self.current.clone() {
            Val::Tensor(tensor) => Some(tensor),
            Val::Unknown => None,
            list @ Val::List(_) => self.as_tensor(list, span),
            Val::None => {
                let fault = Fault::new("there is no value yet: the model has no inputs");
                self.fail(fault.help("begin with a `Parameter`, `Ref` or `Expr`"), span);
                self.current = Val::Unknown;
                None
            }
            other => {
                self.fail(Fault::new(format!("a layer needs a tensor, found {}", other.describe())), span);
                self.current = Val::Unknown;
                None
            }
        }
    }

    /// A number or a list becomes a constant of what it is: whole numbers of i64, fractions of floats.
    pub fn as_tensor(&mut self, value: Val, span: Span) -> Option<Tensor> {
        let float = self.float();
        match value {
            Val::List(_) | Val::Bool(_) | Val::Int(_) => {
                let result = self.ops().tensor(&Spanned::new(value, span));
                result.map_err(|fault| self.fail(fault, span)).ok()
            }
            _ => self.as_tensor_of(value, float, span),
        }
    }

    /// As [`Self::as_tensor`]; a number becomes a constant of that type.
    pub fn as_tensor_of(&mut self, value: Val, dtype: DType, span: Span) -> Option<Tensor> {
        let result = match value {
            Val::Tensor(tensor) => Ok(tensor),
            Val::Unknown => return None,
            Val::Int(_) | Val::Float(_) => self.ops().literal(&Spanned::new(value, span), dtype),
            Val::List(_) => self.ops().list(&Spanned::new(value, span), dtype),
            other => Err(Fault::new(format!("expected a tensor, found {}", other.describe()))),
        };
        match result {
            Ok(tensor) => Some(tensor),
            Err(fault) => {
                self.fail(fault, span);
                None
            }
        }
    }
}
