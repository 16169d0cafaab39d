//! The plan by which a model is trained, as phases one behind the other.

use std::collections::HashMap;

use super::builder::Builder;
use super::frames::Frame;
use super::settings::{BATCH, misfit};
use super::uses::{EntryGraph, EntryUse};
use super::value::{Fault, Val};
use crate::diagnostics::Diagnostic;
use crate::expr::{Expr, ExprKind};
use crate::model::tree::{EntryKind, PhaseStep, PlanStep};
use crate::source::{Span, Spanned};

/// The most phases of a plan, each of a repetition counted.
const MOST_PHASES: usize = 100_000;

/// A plan of training: what is trained, and the phases, one behind the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// What is trained. Each goes through its data on a way of its own.
    pub trained: Vec<Trained>,
    /// The phases.
    pub phases: Vec<Phase>,
}

/// An entry that a plan trains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trained {
    /// Its name among the entries of the instance: `train`, `pretrain(layer=1)`.
    pub entry: String,
    /// The data set, if it is not the model's.
    pub data: Option<String>,
    /// The samples of an update, if they are not the model's.
    pub batch: Option<PhaseBatch>,
    /// Entries that are evaluated besides its own evaluation.
    pub measures: Vec<String>,
}

/// How many samples an update of a phase has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PhaseBatch {
    /// So many.
    Samples(usize),
    /// All that there are to train on.
    All,
}

/// A phase of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Phase {
    /// Which of [`Plan::trained`].
    pub trained: usize,
    /// For how long.
    pub length: PhaseLength,
}

/// How long a phase is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PhaseLength {
    /// So many times through the data.
    Epochs(u64),
    /// So many updates.
    Updates(u64),
}

/// A plan under way, and the entries that it needs besides those of the file.
#[derive(Default)]
pub(crate) struct Planned {
    pub plan: Plan,
    pub uses: Vec<EntryUse>,
}

impl Builder<'_> {
    /// Walks through the plan. Mistakes are reported.
    pub fn planned(&mut self, steps: &[PlanStep]) -> Planned {
        let mut planned = Planned { uses: EntryUse::all(&self.tree), ..Planned::default() };
        self.plan_steps(steps, &mut planned);
        planned
    }

    fn plan_steps(&mut self, steps: &[PlanStep], planned: &mut Planned) {
        for step in steps {
            match step {
                PlanStep::Phase(phase) => self.phase(phase, planned),
                PlanStep::Repeat { times, index, body, span } => {
                    let Some(times) = self.number_of(times, "`Repeat` needs") else { continue };
                    let least = usize::try_from(times).unwrap_or(usize::MAX).saturating_mul(body.len());
                    if self.has_room(planned, least, *span) {
                        for i in 0..times {
                            self.plan_iteration(index, Val::Int(i.cast_signed()), body, *span, planned);
                        }
                    }
                }
                PlanStep::For { each, within, body, span } => match self.eval(within) {
                    Val::List(items) => {
                        for item in items {
                            self.plan_iteration(each, item, body, *span, planned);
                        }
                    }
                    Val::Unknown => {}
                    other => {
                        let message = format!("`For` goes over a list, found {}", other.describe());
                        self.fail(Fault::new(message).help("count with `range(n)`"), within.span);
                    }
                },
            }
        }
    }

    /// One iteration of a repetition. After a mistake no other follows, which would be the same.
    fn plan_iteration(
        &mut self,
        index: &str,
        value: Val,
        body: &[PlanStep],
        span: Span,
        planned: &mut Planned,
    ) {
        if self.has_mistakes() {
            return;
        }
        let names = HashMap::from([(index.to_owned(), (value, span))]);
        let frame =
            Frame { names: names.into(), parent: Some(self.frame), is_loop: true, ..Frame::default() };
        self.in_frame(frame, |builder| builder.plan_steps(body, planned));
    }

    /// Whether so many phases more are not too many, which is reported.
    fn has_room(&mut self, planned: &Planned, more: usize, span: Span) -> bool {
        let fits = planned.plan.phases.len().saturating_add(more) <= MOST_PHASES;
        if !fits && !self.has_mistakes() {
            let fault = Fault::new(format!("a plan has at most {MOST_PHASES} phases"));
            self.fail(fault.help("make phases longer, or repeat less often"), span);
        }
        fits
    }

    fn phase(&mut self, phase: &PhaseStep, planned: &mut Planned) {
        if !self.has_room(planned, 1, phase.span) {
            return;
        }
        let length = match (&phase.epochs, &phase.updates) {
            (Some(epochs), _) => self.number_of(epochs, "`epochs` must be").map(PhaseLength::Epochs),
            (None, Some(updates)) => self.number_of(updates, "`updates` must be").map(PhaseLength::Updates),
            (None, None) => None,
        };
        let tree = self.tree.clone();
        let Some(at) = self.trained_entry(&phase.entry) else { return };
        let entry = &tree.entries[at];
        let set = self.phase_settings(phase, &entry.parameters);
        let batch = self.phase_batch(phase);
        let mut measures: Vec<String> = Vec::new();
        for measure in &phase.measure {
            if self.is_measured(measure) && !measures.contains(&measure.value) {
                measures.push(measure.value.clone());
            }
        }
        let (Some(length), Some(set), Some(batch)) = (length, set, batch) else { return };
        let name = named(&entry.name.value, &set);
        if !planned.uses.iter().any(|used| used.name == name) {
            planned.uses.push(EntryUse { name: name.clone(), at, set });
        }
        let data = phase.data.as_ref().map(|data| data.value.clone());
        let known = planned.plan.trained.iter_mut().enumerate();
        let mut known =
            known.filter(|(_, known)| known.entry == name && known.data == data && known.batch == batch);
        let trained = match known.next() {
            Some((at, known)) => {
                measures.retain(|measure| !known.measures.contains(measure));
                known.measures.extend(measures);
                at
            }
            None => {
                planned.plan.trained.push(Trained { entry: name, data, batch, measures });
                planned.plan.trained.len() - 1
            }
        };
        planned.plan.phases.push(Phase { trained, length });
    }

    /// A whole number from 0 on.
    fn number_of(&mut self, expr: &Expr, what: &str) -> Option<u64> {
        let value = self.eval(expr);
        let count = value.as_int().and_then(|count| u64::try_from(count).ok());
        if count.is_none() && !value.is_unknown() {
            let message = format!("{what} a whole number from 0 on, found {}", value.describe());
            self.fail(Fault::new(message), expr.span);
        }
        count
    }

    /// The entry of a phase, which must train.
    fn trained_entry(&mut self, name: &Spanned<String>) -> Option<usize> {
        let tree = self.tree.clone();
        let trains = |kind: &EntryKind| matches!(kind, EntryKind::Train { .. } | EntryKind::Steps { .. });
        let at = tree.entries.iter().position(|entry| entry.name.value == name.value);
        let message = match at.map(|at| &tree.entries[at].kind) {
            Some(EntryKind::Broken) => return None,
            Some(kind) if trains(kind) => return at,
            Some(_) => format!("the entry `{}` trains nothing", name.value),
            None => format!("there is no entry `{}`", name.value),
        };
        let known = tree.entries.iter().filter(|entry| trains(&entry.kind)).map(|entry| &*entry.name.value);
        let diagnostic = Diagnostic::new(&self.source, name.span, message).suggest(&name.value, known);
        self.report(diagnostic);
        None
    }

    /// What a phase sets of its entry, where that is not the default, in the order of the entry's parameters; nothing after a mistake.
    fn phase_settings(
        &mut self,
        phase: &PhaseStep,
        parameters: &[(Spanned<String>, Expr)],
    ) -> Option<Vec<(String, Val)>> {
        let mut good = true;
        let mut set: Vec<(usize, String, Val)> = Vec::new();
        for (name, expr) in &phase.set {
            let value = self.eval(expr);
            let Some(at) = parameters.iter().position(|(known, _)| known.value == name.value) else {
                good = false;
                let message = format!("the entry `{}` has no parameter `{}`", phase.entry.value, name.value);
                let diagnostic = Diagnostic::new(&self.source, name.span, message);
                let known = parameters.iter().map(|(known, _)| known.value.as_str());
                self.report(diagnostic.suggest(&name.value, known));
                continue;
            };
            let default = &parameters[at].1;
            let is_plain = matches!(value, Val::Int(_) | Val::Float(_) | Val::Bool(_) | Val::Text(_));
            let expected = misfit(default, &value).or((!is_plain).then_some("a number, truth value or text"));
            if let (Some(expected), false) = (expected, value.is_unknown()) {
                let message = format!("`{}` must be {expected}, found {}", name.value, value.describe());
                self.fail(Fault::new(message), expr.span);
            }
            good &= expected.is_none() && !value.is_unknown();
            if self.quiet(|builder| builder.eval(default)) != value {
                set.push((at, name.value.clone(), value));
            }
        }
        set.sort_by_key(|(at, _, _)| *at);
        good.then(|| set.into_iter().map(|(_, name, value)| (name, value)).collect())
    }

    /// The samples of an update, if the phase says them; nothing after a mistake.
    fn phase_batch(&mut self, phase: &PhaseStep) -> Option<Option<PhaseBatch>> {
        let mut batch = None;
        for (name, expr) in &phase.dims {
            if name.value != BATCH {
                let fault = Fault::new(format!("a phase cannot give `{}` another size", name.value));
                self.fail(
                    fault.note("of the sizes of a model, `batch` may differ from phase to phase"),
                    name.span,
                );
                return None;
            }
            if matches!(&expr.kind, ExprKind::Name(all) if all == "all") {
                batch = Some(PhaseBatch::All);
                continue;
            }
            batch = Some(match self.eval(expr) {
                Val::Int(samples @ 1..) => PhaseBatch::Samples(usize::try_from(samples).ok()?),
                Val::Unknown => return None,
                other => {
                    let found = other.describe();
                    let message =
                        format!("`batch` must be a whole number from 1 on, or \"all\", found {found}");
                    self.fail(Fault::new(message), expr.span);
                    return None;
                }
            });
        }
        Some(batch)
    }

    /// Whether there is an entry of this name that measures something, which is reported if not.
    fn is_measured(&mut self, name: &Spanned<String>) -> bool {
        let tree = self.tree.clone();
        let measures = |entry: &&crate::model::tree::EntryPoint| {
            entry.graphs().contains(&EntryGraph::Evaluation) || matches!(entry.kind, EntryKind::Broken)
        };
        let found = tree.entries.iter().find(|entry| entry.name.value == name.value);
        if found.as_ref().is_some_and(measures) {
            return true;
        }
        let message = match found {
            Some(_) => format!("the entry `{}` measures nothing", name.value),
            None => format!("there is no entry `{}`", name.value),
        };
        let known = tree.entries.iter().filter(measures).map(|entry| entry.name.value.as_str());
        let diagnostic = Diagnostic::new(&self.source, name.span, message).suggest(&name.value, known);
        self.report(diagnostic.help("what is measured are the `metrics` of an entry"));
        false
    }
}

/// The name of an entry with settings: `pretrain(layer=1)`.
fn named(entry: &str, set: &[(String, Val)]) -> String {
    let shown = |value: &Val| match value {
        Val::Float(value) => format!("{value:?}"),
        Val::Text(text) => text.clone(),
        other => other.describe(),
    };
    match set {
        [] => entry.to_owned(),
        set => {
            let set: Vec<String> =
                set.iter().map(|(name, value)| format!("{name}={}", shown(value))).collect();
            format!("{entry}({})", set.join(","))
        }
    }
}
