//! `Update`, among the steps of an entry or of a body.

use super::decoder::{Decoder, Given};
use super::notation::{Value, ValueKind};
use super::tree::NewState;
use crate::expr::{Expr, Template};
use crate::source::Span;

impl Decoder<'_> {
    /// The fields of an `Update`: a state and its value, or a map of several.
    pub fn update(&mut self, given: &Given, span: Span) -> Vec<NewState> {
        let (state, value) = (given.get("state"), given.get("value"));
        if let Some(Value { kind: ValueKind::Map(entries), .. }) = state {
            if let Some(value) = value {
                self.error(value.span, "`value` has no effect beside a map of states and their values");
            }
            let new = entries.iter().map(|(state, value)| NewState {
                state: self.template_or_mistake(state),
                value: self.expression_or_mistake(value),
            });
            return new.collect();
        }
        if state.is_some() && value.is_none() {
            self.error(span, "`Update` needs `value`, or a map of states and their values");
        }
        let state = state.map_or(Template::mistake(span), |state| self.template_or_mistake(state));
        let value = value.map_or(Expr::mistake(span), |value| self.expression_or_mistake(value));
        vec![NewState { state, value }]
    }
}
