//! Runs the steps of a body: control and joins here, what has a name in the other files.

mod blocks;
mod calls;
mod imports;
mod naming;
mod reuse;
mod scan;
mod state;
mod with;

use std::collections::HashMap;

use super::builder::{Builder, MOST_STEPS};
use super::frames::Frame;
use super::layers;
use super::value::{Built, Fault, Val};
use crate::expr::{Expr, ExprKind};
use crate::model::tree::{Body, BodyStepKind, Branch, Join, LetNames};
use crate::source::{Span, Spanned};

impl Builder<'_> {
    /// Runs all steps from the current value.
    pub fn run(&mut self, body: &Body) {
        for position in 0..body.len() {
            if self.stopped || self.steps > MOST_STEPS || self.is_full(body[position].span) {
                return;
            }
            self.steps += 1;
            if self.steps > MOST_STEPS {
                self.check_steps(body[position].span);
                return;
            }
            self.step(body, position);
            if !body[position].complete {
                self.current = Val::Unknown;
            }
        }
    }

    fn step(&mut self, body: &Body, position: usize) {
        let step = &body[position];
        let span = step.span;
        match &step.kind {
            BodyStepKind::Broken => self.skip(),
            BodyStepKind::Layer { layer, name, .. } => {
                let label = layers::find(layer.name).map_or("layer", |layer| layer.label);
                self.named(name.as_ref(), label, body, position);
            }
            BodyStepKind::Block { block, name, .. } => {
                self.named(name.as_ref(), &block.value.to_lowercase(), body, position);
            }
            BodyStepKind::Sequential { name, .. } => self.named(name.as_ref(), "sequential", body, position),
            BodyStepKind::Join { join, axis, branches } => self.join(*join, axis.as_ref(), branches, span),
            BodyStepKind::Repeat { times, index, body } => self.repeat(times, index, body, span),
            BodyStepKind::For { each, within, body } => self.for_each(each, within, body, span),
            BodyStepKind::If { condition, then, otherwise } => self.choose(condition, then, otherwise),
            BodyStepKind::Aside(body) => {
                let before = self.current.clone();
                self.run(body);
                if !self.stopped {
                    self.current = before;
                }
            }
            BodyStepKind::With { of, by, body } => self.with(of, by, body, span),
            BodyStepKind::As(name) => {
                if let Some(filled) = self.fill(name) {
                    let value = self.current.clone();
                    self.bind(&filled, value, name.span);
                    self.reached(&filled);
                }
            }
            BodyStepKind::Ref(name) => {
                self.current = match self.fill(name) {
                    Some(filled) => self.eval(&Expr { kind: ExprKind::Name(filled), span: name.span }),
                    None => Val::Unknown,
                };
            }
            BodyStepKind::Let { names, value } => self.let_names(names, value),
            BodyStepKind::Scan(scan) => match &scan.name {
                Some(name) => self.named(Some(name), "scan", body, position),
                None => self.scan(scan, "", span),
            },
            BodyStepKind::Carry { name, start, kept } => self.declare_carry(name, start, kept.as_ref(), span),
            BodyStepKind::State { name, .. } => self.named(Some(name), "state", body, position),
            BodyStepKind::Update(new) => self.update_in_body(new, span),
            BodyStepKind::Expr(value) => self.current = self.eval(value),
            BodyStepKind::Reuse { name, set } => self.reuse(name, set, span),
            BodyStepKind::Import(import) => self.import(import, span),
        }
    }

    /// Gives a value a name, or each of a list its own.
    fn let_names(&mut self, names: &LetNames, value: &Expr) {
        let found = self.eval(value);
        let names = match names {
            LetNames::One(name) => return self.bind(&name.value, found, name.span),
            LetNames::Each(names) => names,
        };
        let values = match found {
            Val::List(items) if items.len() == names.len() => items,
            Val::Unknown => vec![Val::Unknown; names.len()],
            other => {
                let message = match &other {
                    Val::List(items) => format!("{} names for a list of {}", names.len(), items.len()),
                    other => format!("{} names need a list, found {}", names.len(), other.describe()),
                };
                let fault = Fault::new(message).help("`split(x, n)` gives a list of n parts");
                self.fail(fault, value.span);
                vec![Val::Unknown; names.len()]
            }
        };
        for (name, value) in names.iter().zip(values) {
            self.bind(&name.value, value, name.span);
        }
    }

    fn choose(&mut self, condition: &Expr, then: &Body, otherwise: &Body) {
        match self.eval(condition) {
            Val::Bool(true) => self.run(then),
            Val::Bool(false) => self.run(otherwise),
            other => {
                if !other.is_unknown() {
                    let message = format!("a condition must be true or false, found {}", other.describe());
                    self.fail(Fault::new(message), condition.span);
                }
                self.run_in_doubt([then, otherwise]);
            }
        }
    }

    fn repeat(&mut self, times: &Expr, index: &str, body: &Body, span: Span) {
        let value = self.eval(times);
        match value.as_int() {
            _ if value.is_unknown() => self.iterate_unknown(index, body, span),
            Some(count @ 0..) => {
                // An iteration counts as a step itself, so that too many are known before the first.
                let least = (count as usize).saturating_mul(1 + body.len());
                if least > MOST_STEPS - self.steps.min(MOST_STEPS) {
                    self.steps = MOST_STEPS + 1;
                }
                self.iterate(index, &mut (0..count).map(Val::Int), body, span);
            }
            _ => {
                let message = format!("`Repeat` needs a whole number from 0 on, found {}", value.describe());
                self.fail(Fault::new(message), times.span);
                self.iterate_unknown(index, body, span);
            }
        }
    }

    fn for_each(&mut self, each: &str, within: &Expr, body: &Body, span: Span) {
        match self.eval(within) {
            Val::Unknown => self.iterate_unknown(each, body, span),
            Val::List(items) => self.iterate(each, &mut items.into_iter(), body, span),
            other => {
                let fault = Fault::new(format!("`For` goes over a list, found {}", other.describe()))
                    .help("count with `range(n)`");
                self.fail(fault, within.span);
                self.iterate_unknown(each, body, span);
            }
        }
    }

    /// Where the number of iterations is a mistake, the body is run once with an unknown index, so that its own mistakes show.
    fn iterate_unknown(&mut self, index: &str, body: &Body, span: Span) {
        self.doubting(|builder| builder.iterate(index, &mut std::iter::once(Val::Unknown), body, span));
        self.current = Val::Unknown;
    }

    /// Stands for steps that cannot be run for a mistake: the current value is unknown then, and so is which layers they have.
    fn skip(&mut self) {
        self.current = Val::Unknown;
        self.lost.insert(self.full_name(""));
    }

    /// Runs steps of which it is not known, for a mistake, whether they are run at all. Their own mistakes show.
    fn doubting<T>(&mut self, inside: impl FnOnce(&mut Self) -> T) -> T {
        let outer = self.in_doubt;
        self.in_doubt = outer.or(Some(self.depth));
        let result = inside(self);
        self.in_doubt = outer;
        result
    }

    /// Where the condition of an `If` is a mistake, both bodies are run, so that the mistakes of each show. Each begins with an
    /// unknown value and sees no name that another gives; what any of them names is unknown from then on.
    fn run_in_doubt(&mut self, bodies: [&Body; 2]) {
        let numbering = self.numbering.clone();
        let (mut names, mut stopped) = (Vec::new(), false);
        for body in bodies {
            self.current = Val::Unknown;
            self.numbering.clone_from(&numbering);
            let frame = Frame { parent: Some(self.frame), ..Frame::default() };
            names.extend(self.in_frame(frame, |builder| {
                builder.doubting(|builder| builder.run(body));
                builder.frames[builder.frame].names.list().cloned().collect::<Vec<_>>()
            }));
            stopped |= std::mem::take(&mut self.stopped);
        }
        self.values.extend(names.into_iter().map(|name| (name, Val::Unknown)));
        (self.stopped, self.current) = (stopped, Val::Unknown);
    }

    /// Runs a body for each of the values, which it sees under the name `index`. An iteration counts as a step.
    fn iterate(&mut self, index: &str, values: &mut dyn Iterator<Item = Val>, body: &Body, span: Span) {
        for value in values {
            if self.stopped || self.steps > MOST_STEPS || self.is_full(span) {
                break;
            }
            self.steps += 1;
            let names = HashMap::from([(index.to_owned(), (value, span))]);
            let frame =
                Frame { names: names.into(), parent: Some(self.frame), is_loop: true, ..Frame::default() };
            self.in_frame(frame, |builder| builder.run(body));
        }
        self.check_steps(span);
    }

    /// Stops an import at its `until`.
    fn reached(&mut self, name: &str) {
        if self.until.is_some() && self.until.as_deref() == Some(&self.full_name(name)) {
            self.stopped = true;
        }
    }

    fn join(&mut self, join: Join, axis: Option<&Expr>, branches: &[Branch], span: Span) {
        let input = self.current.clone();
        let mut results = Vec::new();
        for branch in branches {
            self.current = input.clone();
            match branch {
                Branch::Body(body) => self.run(body),
                Branch::Expr(expr) => self.current = self.eval(expr),
            }
            if self.stopped {
                return;
            }
            results.push(self.current.clone());
        }
        let axis = axis.map_or(Val::Int(1), |axis| self.eval(axis));
        if axis.is_unknown() || results.iter().any(Val::is_unknown) {
            self.current = Val::Unknown;
            return;
        }
        let path = self.full_name("");
        self.graph.enter(&path, &self.source, span);
        if let Some(other) = results.iter().find(|r| !matches!(r, Val::Tensor(_) | Val::List(_))) {
            let fault = Fault::new(format!("a branch must give a tensor, found {}", other.describe()));
            self.current = self.fail(fault, span);
            return;
        }
        let results: Vec<Spanned<Val>> = results.into_iter().map(|r| Spanned::new(r, span)).collect();
        let result = self.joined(join, &axis, &results);
        self.current = self.resolve(result.map(Val::Tensor), span);
    }

    /// The results of branches as one tensor.
    fn joined(&mut self, join: Join, axis: &Val, results: &[Spanned<Val>]) -> Built {
        let mut ops = self.ops();
        let tensors = ops.promote(&results.iter().collect::<Vec<_>>())?;
        if join == Join::Concat {
            return match axis.as_int() {
                Some(axis) => ops.concat(&tensors, axis),
                None => Err(Fault::new(format!("`axis` must be a whole number, found {}", axis.describe()))),
            };
        }
        tensors[1..].iter().try_fold(tensors[0], |sum, &next| {
            let (left, right) = (ops.written(sum), ops.written(next));
            let meet = left.dims.iter().zip(&right.dims).all(|(&a, &b)| a == b || a == 1 || b == 1);
            match (left.rank() == right.rank() && meet, join) {
                (true, Join::Add) => ops.add(sum, next),
                (true, _) => ops.mul(sum, next),
                (false, _) => Err(Fault::new(format!(
                    "branches of different shapes cannot be joined: {left} and {right}"
                ))
                .note("branches have as many axes as each other; extents are equal, or one of them is 1")
                .help("bring them to one shape, for instance with a 1x1 convolution of the same stride")),
            }
        })
    }
}
