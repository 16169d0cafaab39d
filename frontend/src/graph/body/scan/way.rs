//! What a loop goes over: sequences, or a number of steps.

use brolga_ir::DType;

use crate::graph::builder::Builder;
use crate::graph::value::{Fault, Tensor, Val};
use crate::model::tree::ScanStep;
use crate::source::{Span, Spanned};

/// The steps of a loop.
pub(super) struct Way {
    pub length: usize,
    /// Along which axis steps lie; negative ones count from the end.
    pub axis: i64,
    /// Each with its steps along axis 0; the current value has no name.
    pub sequences: Vec<Turned>,
    pub reverse: bool,
    /// How many steps each row has, `i32[rows]`.
    pub lengths: Option<Tensor>,
}

/// A sequence with its steps along axis 0, and its name.
pub(super) type Turned = (Option<Spanned<String>>, Tensor);

/// A sequence as it is given.
struct Sequence {
    name: Option<Spanned<String>>,
    value: Tensor,
    span: Span,
}

impl Builder<'_> {
    /// What a loop goes over; nothing where that is a mistake. All is looked at, so that all mistakes show.
    pub(super) fn way(&mut self, step: &ScanStep, span: Span) -> Option<Way> {
        let axis = step.axis.as_ref().map_or(Some(1), |axis| {
            let value = self.eval(axis);
            let found = value.as_int();
            if found.is_none() && !value.is_unknown() {
                let message = format!("`axis` must be a whole number, found {}", value.describe());
                self.fail(Fault::new(message), axis.span);
            }
            found
        });
        let reverse = step.reverse.as_ref().map_or(Some(false), |reverse| match self.eval(reverse) {
            Val::Bool(reverse) => Some(reverse),
            Val::Unknown => None,
            other => {
                let message = format!("`reverse` must be true or false, found {}", other.describe());
                self.fail(Fault::new(message), reverse.span);
                None
            }
        });
        let lengths = step.lengths.as_ref().map(|lengths| {
            let value = self.eval(lengths);
            self.lengths(value, lengths.span)
        });
        let times = step.times.as_ref().map(|times| {
            let value = self.eval(times);
            let found = value.as_size(0).and_then(|size| size.get().ok());
            if found.is_none() && !value.is_unknown() {
                let message = format!("`times` must be a whole number from 0 on, found {}", value.describe());
                self.fail(Fault::new(message), times.span);
            }
            found
        });
        let given = self.given_sequences(step, span);
        if let (Some(times), Some((_, first))) = (&step.times, step.over.iter().flatten().next()) {
            let fault = Fault::new("a loop goes over sequences, or a number of `times`, not both");
            let fault = fault.help("without `times` it goes to the end of its sequences");
            self.fail(fault.at(first.span), times.span);
            return None;
        }
        let (length, sequences) = match times {
            Some(times) => (times?, Vec::new()),
            None => self.steps_first(given?, axis?)?,
        };
        let lengths = match lengths {
            Some(lengths) => Some(lengths?),
            None => None,
        };
        let sequences = match lengths {
            Some(lengths) => self.within_their_rows(sequences, lengths, span)?,
            None => sequences,
        };
        Some(Way { length, axis: axis?, sequences, reverse: reverse?, lengths })
    }

    /// The sequences, of which those that have the rows hold zeros behind the end of each.
    fn within_their_rows(
        &mut self,
        sequences: Vec<Turned>,
        lengths: Tensor,
        span: Span,
    ) -> Option<Vec<Turned>> {
        let rows = self.ops().dims(lengths)[0];
        let mut within = Vec::new();
        for (name, sequence) in sequences {
            let has_rows = self.ops().dims(sequence).get(1) == Some(&rows);
            let found = if has_rows { self.zero_behind_rows(sequence, lengths) } else { Ok(sequence) };
            within.push((name, found.map_err(|fault| self.fail(fault, span)).ok()?));
        }
        Some(within)
    }

    /// The sequences that a loop goes over: those of `over`, or without `times` the current value.
    fn given_sequences(&mut self, step: &ScanStep, span: Span) -> Option<Vec<Sequence>> {
        let Some(over) = &step.over else {
            if step.times.is_some() {
                return Some(Vec::new());
            }
            let value = self.current_tensor(span)?;
            return Some(vec![Sequence { name: None, value, span }]);
        };
        if over.is_empty() && step.times.is_none() {
            let fault = Fault::new("`over` names no sequence");
            self.fail(fault.help("`times` says how many steps there are without one"), span);
        }
        let mut found = Vec::new();
        for (name, expr) in over {
            let value = match self.eval(expr) {
                Val::Unknown => continue,
                value @ (Val::Tensor(_) | Val::List(_)) => self.as_tensor(value, expr.span),
                other => {
                    let fault = Fault::new(format!("a sequence is a tensor, found {}", other.describe()));
                    self.fail(fault, expr.span);
                    None
                }
            };
            found.extend(value.map(|value| Sequence { name: name.clone(), value, span: expr.span }));
        }
        (found.len() == over.len() && !found.is_empty()).then_some(found)
    }

    /// The number of steps, and the sequences with their steps along axis 0.
    fn steps_first(&mut self, given: Vec<Sequence>, axis: i64) -> Option<(usize, Vec<Turned>)> {
        let mut length: Option<usize> = None;
        let mut sequences = Vec::new();
        for sequence in given {
            let mut ops = self.ops();
            let (dims, shown) = (ops.dims(sequence.value), ops.written(sequence.value));
            let Ok(at) = ops.axis(sequence.value, axis) else {
                let fault = Fault::new(format!("steps lie along axis {axis}, which {shown} does not have"));
                let help = "`axis` says where they lie; `times: n` makes n steps without a sequence";
                self.fail(fault.help(help), sequence.span);
                return None;
            };
            let axes: Vec<usize> =
                std::iter::once(at).chain((0..dims.len()).filter(|&axis| axis != at)).collect();
            let turned = ops.transpose(sequence.value, &axes);
            if let Some(length) = length.filter(|length| *length != dims[at]) {
                let message = format!("this sequence has {} steps, and the one before it {length}", dims[at]);
                let fault =
                    Fault::new(message).note(format!("it is {shown}, with its steps along axis {at}"));
                self.fail(fault, sequence.span);
                return None;
            }
            length = Some(dims[at]);
            let turned = turned.map_err(|fault| self.fail(fault, sequence.span)).ok()?;
            sequences.push((sequence.name, turned));
        }
        Some((length?, sequences))
    }

    /// The numbers of steps of rows, as `i32[rows]`.
    fn lengths(&mut self, value: Val, span: Span) -> Option<Tensor> {
        let tensor = match value {
            Val::Unknown => return None,
            value @ (Val::Tensor(_) | Val::List(_)) => self.as_tensor(value, span)?,
            other => {
                let fault =
                    Fault::new(format!("`lengths` must be a tensor i32[rows], found {}", other.describe()));
                self.fail(fault, span);
                return None;
            }
        };
        let mut ops = self.ops();
        let ty = ops.ty(tensor);
        if !ty.dtype.is_int() || ty.rank() != 1 {
            let fault = Fault::new(format!("`lengths` must be i32[rows], found {}", ops.written(tensor)));
            self.fail(fault.note("it is how many steps each row has"), span);
            return None;
        }
        ops.convert(tensor, DType::I32).map_err(|fault| self.fail(fault, span)).ok()
    }
}
