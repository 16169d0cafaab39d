//! How much a model may ask for: bounds, so that every model that is accepted is checked within seconds.

use super::Builder;
use crate::graph::value::Fault;
use crate::source::Span;

/// Most steps of one graph: repetition is bounded, so that every model that is accepted is checked within seconds. The deepest
/// residual networks that have been trained, of 1202 layers, have 7,000.
pub const MOST_STEPS: usize = 20_000;

/// Blocks may use blocks this deep.
const DEEPEST: usize = 64;

impl Builder<'_> {
    /// Whether there are too many steps, which is reported once.
    pub fn has_too_many_steps(&mut self, span: Span) -> bool {
        if self.steps > MOST_STEPS && !self.given_up {
            self.check_steps(span);
        }
        self.steps > MOST_STEPS
    }

    /// Reports, once, that there are too many steps. What goes wrong afterwards is not reported: it follows from that.
    pub fn check_steps(&mut self, span: Span) {
        if self.steps > MOST_STEPS {
            let fault = Fault::new(format!("the model has more than {MOST_STEPS} steps"))
                .help("each layer is one, and each iteration of a repetition");
            self.current = self.fail(fault, span);
            self.given_up = true;
        }
    }

    /// Whether blocks and reused layers are nested too deep to run another, which is reported.
    pub fn is_too_deep(&mut self, name: &str, span: Span) -> bool {
        if self.depth < DEEPEST {
            return false;
        }
        let fault = Fault::new(format!("blocks are nested more than {DEEPEST} deep"))
            .note(format!("does `{name}` use itself?"));
        self.fail(fault, span);
        true
    }
}
