//! Closes a loop: the carries are handed on, and what has a name in it is offered behind it, of all steps and of the last.

use std::collections::HashMap;

use brolga_ir::{DType, Type};

use super::ending::Alive;
use super::walk::Walk;
use crate::diagnostics::Diagnostic;
use crate::graph::builder::{Builder, LayerRow};
use crate::graph::loops::{Behind, Ended, NamedCarry, Next};
use crate::graph::settings::BATCH;
use crate::graph::value::{Built, Fault, Tensor, Val};
use crate::source::{Span, Spanned};

/// A value of a step behind the loop.
#[derive(Clone, Copy)]
enum Source {
    /// What the carry of that number is behind the loop.
    Carry(usize),
    /// The result of that number of all steps, which lie along axis 0.
    Stack(usize),
    /// The same in all steps.
    Same(Tensor),
}

/// What is asked of a loop that is being closed.
#[derive(Default)]
struct Asked {
    /// Values of all steps.
    stacked: Vec<(String, Tensor)>,
    /// Those that are asked for already, by what they are in a step.
    known: HashMap<Tensor, Source>,
    /// The named carries, by path.
    carried: HashMap<String, usize>,
    /// Carries that hold the last value of something else.
    last: HashMap<Tensor, Source>,
}

/// A named value of a step: its name in the loop, and itself.
type Offer = (String, Tensor);

/// A carry by its path: its number, and what it is behind a step.
type Becomes = (String, (usize, Tensor));

/// What is seen behind a loop of a value in it: its name, what it is of all steps, and of the last.
type Seen = (String, Option<Source>, Option<Source>);

impl Builder<'_> {
    /// Ends the body of a loop. Nothing if there is a mistake, which has been reported.
    pub(super) fn leave(&mut self, walk: &Walk, until: Option<(Val, Span)>) -> Option<()> {
        // All are looked at, so that all mistakes show.
        let named = self.loops.innermost().map(|open| std::mem::take(&mut open.named)).unwrap_or_default();
        let carries = self.next_of_carries(&named);
        walk.way.as_ref()?;
        let alive = self.alive(walk, until);
        let (carries, alive) = (carries?, alive?);
        self.expect_rows(&named, &carries, alive)?;
        let result = self.result_of_step(walk, alive)?;
        let kept = named
            .iter()
            .zip(&carries)
            .filter_map(|(carry, (number, _))| Some((*number, carry.kept.clone()?)));
        let kept: Vec<(usize, String)> = kept.collect();
        let paths = named.into_iter().map(|carry| carry.path);
        let closed = self.close(walk, paths.zip(carries).collect(), alive, result, &kept);
        closed.map_err(|fault| self.fail(fault, walk.span)).ok()
    }

    /// What each named carry is behind the step, by its number. Nothing if one is a mistake.
    fn next_of_carries(&mut self, named: &[NamedCarry]) -> Option<Vec<(usize, Tensor)>> {
        let next: Vec<Option<(usize, Tensor)>> =
            named.iter().map(|carry| Some((carry.carry?, self.next_of(carry)?))).collect();
        next.into_iter().collect()
    }

    /// What a carry is behind the step, of the type of its start; else that is reported, with both places.
    fn next_of(&mut self, carry: &NamedCarry) -> Option<Tensor> {
        let name = &carry.name;
        let Next::Named(value, place) = &carry.next else {
            let message = format!(
                "the carry `{name}` is not named: nothing says what the next step finds as `prev.{name}`"
            );
            let help = format!(
                "name what it becomes, in the same body: `Let(\"{name}\", ...)`, or `As(\"{name}\")`"
            );
            self.report(Diagnostic::new(&carry.place.0, carry.place.1, message).help(help));
            return None;
        };
        let start = self.loops.innermost()?.carries[carry.carry?].start;
        let ty = self.ops().ty(start);
        let given = Spanned::new(value.clone(), place.1);
        let result = match value {
            Val::Unknown => return None,
            Val::Tensor(tensor) => Ok(*tensor),
            Val::Int(_) | Val::Float(_) => self.ops().literal(&given, ty.dtype),
            Val::List(_) => self.ops().list(&given, ty.dtype),
            Val::Bool(_) => self.ops().tensor(&given),
            other => Err(Fault::new(format!("the carry `{name}` is a tensor, found {}", other.describe()))),
        };
        let next = match result {
            Ok(next) => next,
            Err(fault) => {
                let diagnostic = fault.diagnostic(&place.0, place.1);
                let start = format!("its start is {ty}");
                self.report(diagnostic.elsewhere(&carry.place.0, carry.place.1, &start));
                return None;
            }
        };
        let found = self.ops().ty(next);
        if found != ty {
            let help = self.fitting_start(&found, &ty);
            let message = format!("the carry `{name}` is {found} behind a step, and {ty} at its start");
            let diagnostic = Diagnostic::new(&place.0, place.1, message)
                .elsewhere(&carry.place.0, carry.place.1, &format!("its start is {ty}"))
                .help(help);
            self.report(diagnostic);
            return None;
        }
        Some(next)
    }

    /// How a carry begins that is of another type behind a step. The rows of a batch are called that.
    fn fitting_start(&mut self, found: &Type, start: &Type) -> String {
        if found.dims == start.dims {
            return format!("begin with {}, or convert what is named", found.dtype);
        }
        let batch = self.lookup(BATCH).and_then(|batch| batch.as_int());
        let extent = |(axis, extent): (usize, &usize)| match axis == 0 && batch == i64::try_from(*extent).ok()
        {
            true => BATCH.to_owned(),
            false => extent.to_string(),
        };
        let dims: Vec<String> = found.dims.iter().enumerate().map(extent).collect();
        format!("a start of its shape is `zeros([{}])`", dims.join(", "))
    }

    /// Reports carries that do not have the rows that end; nothing if there is one.
    fn expect_rows(&mut self, named: &[NamedCarry], carries: &[(usize, Tensor)], alive: Alive) -> Option<()> {
        let mut good = Some(());
        for (carry, (_, next)) in named.iter().zip(carries) {
            if let Err((ty, rows)) = self.has_rows(*next, alive) {
                let message = format!(
                    "the carry `{}` is {ty}, but its loop has {rows} rows, which end at different steps",
                    carry.name
                );
                let diagnostic = Diagnostic::new(&carry.place.0, carry.place.1, message);
                self.report(
                    diagnostic
                        .note("a row that has ended keeps its carries, so these have rows along axis 0"),
                );
                good = None;
            }
        }
        good
    }

    /// What the body ends with, a tensor or none; nothing for a mistake.
    fn result_of_step(&mut self, walk: &Walk, alive: Alive) -> Option<Val> {
        let current = match self.current.clone() {
            Val::Unknown => return None,
            Val::None => return Some(Val::None),
            value => self.as_tensor(value, walk.span)?,
        };
        if let Err((ty, rows)) = self.has_rows(current, alive) {
            // What has stayed the current value, and no step has made, is left out: such a loop is there for its carries.
            if !self.is_of_step(current) {
                return Some(Val::None);
            }
            let fault = Fault::new(format!(
                "the loop ends with {ty}, but it has {rows} rows, which end at different steps"
            ));
            let fault = fault
                .note("what it gives of all steps has rows along axis 0 in each, 0 where a row has ended");
            self.fail(fault, walk.span);
            return None;
        }
        Some(Val::Tensor(current))
    }

    /// Whether a value has the rows that end along axis 0; else its type, and how many rows there are.
    fn has_rows(&mut self, value: Tensor, alive: Alive) -> Result<(), (Type, usize)> {
        let ty = self.ops().ty(value);
        match alive {
            Alive::Rows(_, rows) if ty.dims.first() != Some(&rows) => Err((ty, rows)),
            _ => Ok(()),
        }
    }

    /// Closes the loop, and gives names and the current value what they are behind it.
    fn close(
        &mut self,
        walk: &Walk,
        carries: Vec<Becomes>,
        alive: Alive,
        result: Val,
        kept: &[(usize, String)],
    ) -> Built<()> {
        let mut asked = Asked::default();
        let numbers: Vec<usize> = carries.iter().map(|(_, (number, _))| *number).collect();
        self.begin_again_where_ended(&numbers, alive)?;
        for (path, (number, next)) in carries {
            let Some(open) = self.loops.innermost() else { continue };
            let before = open.carries[number].before;
            let kept = self.where_alive(alive, next, before)?;
            self.carry_on(before, kept);
            asked.carried.insert(path, number);
        }
        let counted = self.counted(alive)?;
        if let Some(own) = &counted {
            self.carry_on(own.before, own.next);
            self.keep_state_unless(own.counts)?;
        }
        let count = self.loops.innermost().map_or(0, |open| open.carries.len()).saturating_sub(1);
        let offers = self.offers(walk, alive, &mut asked)?;
        let result = match result {
            Val::Tensor(value) => Some(self.ask(&mut asked, alive, "y", value)?),
            _ => None,
        };
        let results = self.close_loop(&asked.stacked)?;
        for (number, state) in kept {
            self.keep_end(state, results.carries[*number])?;
        }
        let length = walk.way.as_ref().map_or(0, |way| way.length);
        let steps = match counted {
            Some(_) => results.carries[count],
            None => self.ops().int_scalar(i64::try_from(length).unwrap_or(i64::MAX), DType::I32)?,
        };
        self.offer(walk, offers, &results, steps)?;
        self.current = match result {
            Some(source) => Val::Tensor(self.stack_of(walk, source, &results)?),
            None => Val::None,
        };
        self.add_row(walk, length);
        Ok(())
    }

    /// Asks for all values that a loop offers. What is left out is a mistake only where it is read.
    fn offers(&mut self, walk: &Walk, alive: Alive, asked: &mut Asked) -> Built<Vec<Seen>> {
        let mut offers = Vec::new();
        for (name, value) in self.named_in(walk) {
            let (path, last) = (format!("{}.{name}", walk.path), format!("{}.last.{name}", walk.path));
            if let Err((ty, _)) = self.has_rows(value, alive) {
                for path in [path, last] {
                    self.loops.ended.insert(path, Ended::NoRows(ty.to_string()));
                }
                continue;
            }
            let last = match asked.carried.get(&path) {
                Some(carry) => Some(Source::Carry(*carry)),
                // What an inner loop offers has its last value there.
                None if self.loops.behind.contains(&path) => None,
                None => Some(self.ask_last(asked, alive, &name, value)?),
            };
            let length = walk.way.as_ref().map_or(0, |way| way.length);
            let ty = self.ops().ty(value);
            let stacked = ty.with_dims([&[length], ty.dims.as_slice()].concat());
            let all = match stacked.check_size() {
                Ok(()) => Some(self.ask(asked, alive, &name, value)?),
                Err(reason) => {
                    self.loops.ended.insert(path, Ended::TooLarge(reason));
                    None
                }
            };
            offers.push((name, all, last));
        }
        Ok(offers)
    }

    /// The loop's row in the table of layers, behind those of its body, which show one step.
    fn add_row(&mut self, walk: &Walk, length: usize) {
        if let (Val::Tensor(tensor), false, false) = (&self.current, walk.name.is_empty(), self.reusing) {
            let (path, kind, call) = (walk.path.clone(), "Scan".into(), format!("Scan({length} steps)"));
            let output = self.graph.graph.ty(*tensor).clone();
            self.rows.push(LayerRow { path, kind, call, output, parameters: 0 });
        }
    }

    /// The tensors that have been named since the loop was opened, if it has a name, in the order of their names. All others are
    /// seen no more.
    fn named_in(&mut self, walk: &Walk) -> Vec<Offer> {
        let named = self.values.leave(walk.level);
        let mut offers = Vec::new();
        for (path, value) in named {
            let name = path.strip_prefix(&format!("{}.", walk.path)).filter(|_| !walk.name.is_empty());
            let Some(name) = name.map(str::to_owned) else {
                self.loops.ended.insert(path, Ended::Unnamed);
                continue;
            };
            self.loops.ended.insert(self.full_name(&name), Ended::Under(walk.name.to_owned()));
            match value {
                Val::Tensor(tensor) => offers.push((name, tensor)),
                value if value.has_tensor() => {
                    self.loops.ended.insert(path, Ended::List);
                }
                // A number is the same in all steps.
                value => {
                    self.values.insert(format!("{}.last.{name}", walk.path), value.clone());
                    self.values.insert(path, value);
                }
            }
        }
        offers
    }

    /// Asks for a value of all steps.
    fn ask(&mut self, asked: &mut Asked, alive: Alive, name: &str, value: Tensor) -> Built<Source> {
        if let Some(source) = asked.known.get(&value) {
            return Ok(*source);
        }
        let source = match alive {
            Alive::Always if self.is_same_in_all_steps(value) => Source::Same(value),
            _ => {
                let shown = self.zero_unless_alive(alive, value)?;
                asked.stacked.push((name.to_owned(), shown));
                Source::Stack(asked.stacked.len() - 1)
            }
        };
        asked.known.insert(value, source);
        Ok(source)
    }

    /// Asks for a value of the last step, which is 0 if there are none.
    fn ask_last(&mut self, asked: &mut Asked, alive: Alive, name: &str, value: Tensor) -> Built<Source> {
        if let Some(source) = asked.last.get(&value) {
            return Ok(*source);
        }
        let ty = self.ops().ty(value);
        let start = self.ops().full(0.0, &ty)?;
        let before = self.carry(&format!("last.{name}"), start);
        let next = self.where_alive(alive, value, before)?;
        self.carry_on(before, next);
        let number = self.loops.innermost().map_or(0, |open| open.carries.len()).saturating_sub(1);
        asked.last.insert(value, Source::Carry(number));
        Ok(Source::Carry(number))
    }

    /// Whether a value is known to be the same in all steps of the innermost loop. Where steps change state, what a value is made of
    /// may be that state, which is no placeholder.
    fn is_same_in_all_steps(&mut self, value: Tensor) -> bool {
        let changes = self.loops.innermost().map_or(self.slots.changes(), |open| open.changes);
        self.slots.changed_since(changes).is_empty() && !self.is_of_step(value)
    }

    /// Gives the names of a loop what they are behind it.
    fn offer(&mut self, walk: &Walk, offers: Vec<Seen>, results: &Behind, steps: Tensor) -> Built<()> {
        if walk.name.is_empty() {
            return Ok(());
        }
        for (name, all, last) in offers {
            if let Some(all) = all {
                let all = self.stack_of(walk, all, results)?;
                self.name_behind(walk, &name, all);
            }
            let last = last.map(|last| match last {
                Source::Carry(number) => results.carries[number],
                Source::Stack(number) => results.stacked[number],
                Source::Same(value) => value,
            });
            if let Some(last) = last {
                self.name_behind(walk, &format!("last.{name}"), last);
            }
        }
        self.name_behind(walk, "steps", steps);
        Ok(())
    }

    fn name_behind(&mut self, walk: &Walk, name: &str, value: Tensor) {
        let path = format!("{}.{name}", walk.path);
        self.loops.behind.insert(path.clone());
        self.values.insert(path, Val::Tensor(value));
    }

    /// A value of all steps, which lie along the loop's axis, or behind the last one if there are fewer.
    fn stack_of(&mut self, walk: &Walk, source: Source, results: &Behind) -> Built {
        let Some(way) = &walk.way else { return Err(Fault::new("the loop has no steps")) };
        let mut ops = self.ops();
        let (value, stacked) = match source {
            Source::Stack(number) => (results.stacked[number], true),
            Source::Carry(number) => (results.carries[number], false),
            Source::Same(value) => (value, false),
        };
        let rank = ops.rank(value) - usize::from(stacked);
        let at = match usize::try_from(way.axis) {
            Ok(axis) => axis.min(rank),
            Err(_) => (rank + 1).saturating_sub(way.axis.unsigned_abs() as usize),
        };
        if stacked {
            let mut axes: Vec<usize> = (1..=rank).collect();
            axes.insert(at, 0);
            return ops.transpose(value, &axes);
        }
        let mut dims = ops.dims(value);
        dims.insert(at, way.length);
        let axes: Vec<usize> = (0..=rank).filter(|&axis| axis != at).collect();
        Ok(ops.b.broadcast(value, &dims, &axes)?)
    }
}
