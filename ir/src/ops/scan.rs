//! `scan`: a loop of known length that hands carries on and maps slices to slices.

mod way_back;

use self::way_back::{Back, Kept, Linear, Source, is_elementwise, only_if_run};
use super::fused::expect_types;
use super::*;
use crate::scalar::Scalar;
use crate::types::DType;
use crate::vjp::vjp;
use rustc_hash::{FxHashMap, FxHashSet};

/// Runs the body `length` times. Operands: initial carries, tensors whose axis 0 is sliced, captures. Parameters of
/// the body: carries, the slices of this iteration, captures. Outputs of the body: the next carries, slices of
/// results. Results: the final carries, the stacked slices along a new axis 0.
///
/// A loop that is guarded may end earlier: no step is run before which its first carry does not hold. Carries are then what the last
/// step that was run left, and stacks hold 0 for the steps that were not.
#[derive(Clone, PartialEq, Debug)]
pub struct Scan {
    /// One iteration.
    pub body: Graph,
    /// Number of iterations.
    pub length: usize,
    /// Number of carries: the first operands, parameters, outputs and results.
    pub carries: usize,
    /// Number of sliced operands.
    pub slices: usize,
    /// Whether iterations run from the last slice to the first.
    pub reverse: bool,
    /// Whether the first carry, a `bool[]`, says before each iteration if it is run, or else the loop ends.
    pub guarded: bool,
    /// Whether iterations are segments of a longer sequence. It changes no result.
    pub segments: Segments,
}

/// Whether the iterations of a loop are segments of a longer sequence, with loops of their own inside. Passes then keep segments
/// apart: no work is done for several at once, and sums over time are formed segment by segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Segments {
    /// They are ordinary steps.
    #[default]
    No,
    /// They are, and the way back finds what it reads of them where the way forward has put it.
    Kept,
    /// They are, and the way forward keeps what each segment begins with: the way back runs a segment again before it goes
    /// through it (Chen et al., "Training deep nets with sublinear memory cost", 2016).
    Again,
}

impl Segments {
    /// The name in the text form.
    fn name(self) -> &'static str {
        match self {
            Segments::No => "no",
            Segments::Kept => "kept",
            Segments::Again => "again",
        }
    }

    fn from_attribute(attribute: Option<Attribute>) -> Result<Segments, String> {
        let all = [Segments::No, Segments::Kept, Segments::Again];
        match attribute {
            None => Ok(Segments::No),
            Some(Attribute::Name(name)) => all
                .into_iter()
                .find(|segments| segments.name() == name)
                .ok_or_else(|| format!("`segments` must be no, kept or again, found `{name}`")),
            Some(_) => Err("`segments` must be no, kept or again".into()),
        }
    }
}

impl Scan {
    /// Names in the text form.
    pub(super) fn names() -> &'static [&'static str] {
        &["scan"]
    }

    pub(super) fn from_attributes(_: &str, attributes: &mut Attributes) -> Result<Scan, String> {
        Ok(Scan {
            length: attributes.size("length")?,
            carries: attributes.size("carries")?,
            slices: attributes.size("slices")?,
            reverse: attributes.flag("reverse", false)?,
            guarded: attributes.flag("guarded", false)?,
            segments: Segments::from_attribute(attributes.take("segments"))?,
            body: attributes.graph("body")?,
        })
    }

    fn stacked(&self, slice: &Type) -> Type {
        slice.with_dims([&[self.length], slice.dims.as_slice()].concat())
    }

    /// The parameters of the body, as values.
    fn parameters(&self) -> Vec<Value> {
        self.body.parameters().iter().map(|&id| self.body.result(id)).collect()
    }

    /// What says inside if an iteration is run.
    fn guard(&self) -> Option<Value> {
        self.parameters().first().copied().filter(|_| self.guarded)
    }

    /// The parameters that depend on something wanted: itself, or, for a carry, what an iteration makes of it.
    fn varied(&self, wanted: &[bool]) -> Vec<bool> {
        let parameters = self.parameters();
        let float = |value: Value| self.body.ty(value).dtype.is_float();
        let mut varied: Vec<bool> = (0..wanted.len()).map(|i| wanted[i] && float(parameters[i])).collect();
        // Progress: each round but the last adds a carry.
        loop {
            let start = (0..varied.len()).filter(|&i| varied[i]).map(|i| parameters[i].node);
            let mut active: FxHashSet<NodeId> = start.collect();
            for id in self.body.order() {
                let node = self.body.node(id);
                let through = |operand: &Value| float(*operand) && active.contains(&operand.node);
                if !node.op.stops_gradient() && node.operands.iter().any(through) {
                    active.insert(id);
                }
            }
            let next = |i: usize| self.body.outputs()[i].value;
            let more = |i: &usize| !varied[*i] && float(next(*i)) && active.contains(&next(*i).node);
            let more: Vec<usize> = (0..self.carries).filter(more).collect();
            if more.is_empty() {
                return varied;
            }
            more.into_iter().for_each(|i| varied[i] = true);
        }
    }

    /// The carries that something with a cotangent depends on, in this iteration or a later one.
    fn seeded(&self, cotangents: &[Option<Value>]) -> Vec<bool> {
        let outputs = self.body.outputs();
        let numbers: FxHashMap<NodeId, usize> =
            self.body.parameters()[..self.carries].iter().copied().zip(0..).collect();
        let mut seeded: Vec<bool> = (0..self.carries).map(|i| cotangents[i].is_some()).collect();
        let seeds = (0..outputs.len()).filter(|&i| cotangents[i].is_some());
        let mut open: Vec<NodeId> = seeds.map(|i| outputs[i].value.node).collect();
        let mut seen: FxHashSet<NodeId> = FxHashSet::default();
        // Progress: every node is gone through once.
        while let Some(id) = open.pop() {
            if !seen.insert(id) {
                continue;
            }
            if let Some(&number) = numbers.get(&id) {
                seeded[number] = true;
                open.push(outputs[number].value.node);
            }
            open.extend(self.body.node(id).operands.iter().map(|operand| operand.node));
        }
        seeded
    }

    /// The first step of the gradient: one iteration, and behind it its reverse walk. Cotangents go through the carries that
    /// depend on something wanted, and that something with a cotangent depends on; none is built for anything else.
    fn linearise(&self, cx: &GradientCx) -> Result<Linear, GradientError> {
        let fixed = self.carries + self.slices;
        let (varied, seeded) = (self.varied(cx.wanted), self.seeded(cx.cotangents));
        let mut whole = self.body.clone();
        let parameters = self.parameters();
        let seed = |whole: &mut Graph, number: usize, name: &str| {
            let value = self.body.outputs()[number].value;
            let name = new_parameter_name(whole, name);
            let cotangent = whole.add_parameter(&name, Role::Data, self.body.ty(value).clone());
            (number, value, cotangent)
        };
        let carried: Vec<usize> = (0..self.carries).filter(|&i| varied[i] && seeded[i]).collect();
        let carries: Vec<_> = carried.iter().map(|&i| seed(&mut whole, i, "dc")).collect();
        let float = |i: &usize| self.body.ty(self.body.outputs()[*i].value).dtype.is_float();
        let given = (self.carries..self.body.outputs().len()).filter(|&i| cx.cotangents[i].is_some());
        let stacked: Vec<_> = given.filter(float).map(|i| seed(&mut whole, i, "dy")).collect();
        let wanted: Vec<usize> = (self.carries..parameters.len()).filter(|&i| varied[i]).collect();
        let seeds: Vec<(Value, Value)> = carries.iter().chain(&stacked).map(|&(_, y, dy)| (y, dy)).collect();
        let wrt: Vec<Value> = carried.iter().chain(&wanted).map(|&i| parameters[i]).collect();
        let mut found = vjp(&mut whole, &seeds, &wrt)?;
        let others = found.split_off(carried.len());
        let others = wanted.into_iter().zip(others).filter_map(|(i, found)| Some((i, found?)));
        let (sliced, captured) = others.partition(|&(i, _)| i < fixed);
        let cotangents =
            |list: Vec<(usize, Value, Value)>| list.into_iter().map(|(i, _, dy)| (i, dy)).collect();
        let (carries, stacked) = (cotangents(carries), cotangents(stacked));
        Ok(Linear { whole, carries, stacked, next: found, sliced, captured })
    }

    /// The second step: what the way back reads of an iteration. What the loop takes and what it stacks is there. Of the rest,
    /// elementwise work is done again from what it is made of; products, and whatever else combines many elements, are
    /// stacked by the way forward, with the elementwise work that alone reads them. What depends on captures alone is done again:
    /// it is the same in every iteration.
    ///
    /// Segments that are run again are another rule: what they begin with is stacked, and everything else is done again, what
    /// the loop stacks included, which then need not be there any more.
    fn choose(&self, linear: &Linear) -> Kept {
        let whole = &linear.whole;
        let fixed = self.carries + self.slices;
        let outputs = whole.outputs();
        let all_again = self.segments == Segments::Again;
        let mut known: FxHashMap<Value, Source> = FxHashMap::default();
        for (number, output) in outputs.iter().enumerate().skip(self.carries).filter(|_| !all_again) {
            known.entry(output.value).or_insert(Source::Result(number));
        }
        let mut same: FxHashSet<NodeId> = FxHashSet::default();
        for (number, &parameter) in self.parameters().iter().enumerate().skip(self.carries) {
            known.insert(parameter, Source::Operand(number));
            if number >= fixed {
                same.insert(parameter.node);
            }
        }
        let back = linear.back();
        for id in whole.order_from(linear.cotangents()) {
            let node = whole.node(id);
            if !matches!(node.op, Op::Parameter(_))
                && node.operands.iter().all(|operand| same.contains(&operand.node))
            {
                same.insert(id);
            }
        }
        let is_parameter = |id: NodeId| matches!(whole.node(id).op, Op::Parameter(_));
        let again =
            |id: NodeId| same.contains(&id) || is_elementwise(whole, id) || all_again && !is_parameter(id);
        let is_stacked =
            |value: Value| !back.contains(&value.node) && !again(value.node) && !known.contains_key(&value);
        let stacked = linear.stacked_for(is_stacked);
        let mut kept = Kept::default();
        let mut seen: FxHashSet<Value> = FxHashSet::default();
        let mut open: Vec<Value> = linear.cotangents();
        // Progress: every value is gone through once.
        while let Some(value) = open.pop() {
            if !seen.insert(value) || linear.is_seed(value) {
                continue;
            }
            if let Some(&source) = known.get(&value) {
                kept.read.push((value, source));
            } else if stacked.contains(&value) {
                kept.read.push((value, Source::Result(outputs.len() + kept.saved.len())));
                kept.saved.push(value);
            } else {
                open.extend(whole.node(value.node).operands.iter().rev());
            }
        }
        if let Some(guard) = self.guard().filter(|guard| kept.read.iter().all(|(value, _)| value != guard)) {
            // The way back looks at it: its stack is false for the steps that were not run.
            let saved = Source::Result(outputs.len() + kept.saved.len());
            if !known.contains_key(&guard) {
                kept.saved.push(guard);
            }
            kept.read.push((guard, known.get(&guard).copied().unwrap_or(saved)));
        }
        kept
    }

    /// The results of the loop and, behind them, what it stacks for the way back: of a loop that takes the place of this one,
    /// which nothing uses then, so that the way forward is not run twice.
    fn keep(&self, cx: &mut GradientCx, linear: &Linear, kept: &Kept) -> Result<Vec<Value>, GradientError> {
        if kept.saved.is_empty() {
            return Ok(cx.results.to_vec());
        }
        let mut body = Graph::new(&self.body.name);
        let mut map: FxHashMap<Value, Value> = FxHashMap::default();
        for parameter in self.parameters() {
            let name = self.body.parameter(parameter.node).map_or("", |p| &p.name);
            map.insert(parameter, body.add_parameter(name, Role::Data, self.body.ty(parameter).clone()));
        }
        for output in linear.whole.outputs() {
            let value = body.import(&linear.whole, &[output.value], &mut map)?[0];
            body.add_output(&output.name, Role::Data, value);
        }
        for &value in &kept.saved {
            let value = body.import(&linear.whole, &[value], &mut map)?[0];
            let name = new_output_name(&body, "saved");
            body.add_output(&name, Role::Data, value);
        }
        let origin = cx.b.graph.node(cx.results[0].node).origin.clone();
        let scan = cx.b.graph.add(Scan { body, ..self.clone() }, cx.operands, &origin)?;
        let results = cx.b.graph.results(scan);
        for (&old, &new) in cx.results.iter().zip(&results) {
            cx.b.graph.replace_uses(old, new);
        }
        Ok(results)
    }

    /// The third step: the loop that runs back. It carries the cotangents of the carries, and the sums of those of the captures. It has
    /// all iterations; of one that was not run nothing is done.
    fn transpose(
        &self,
        cx: &mut GradientCx,
        linear: &Linear,
        kept: &Kept,
        results: &[Value],
    ) -> Result<Vec<Option<Value>>, GradientError> {
        let whole = &linear.whole;
        let mut back = Back { body: Graph::new(&self.body.name), operands: Vec::new() };
        let mut map: FxHashMap<Value, Value> = FxHashMap::default();
        for &(number, cotangent) in &linear.carries {
            let start = cx.cotangent(number)?;
            map.insert(cotangent, back.parameter("dc", whole.ty(cotangent), start));
        }
        let mut sums = Vec::with_capacity(linear.captured.len());
        for &(_, found) in &linear.captured {
            let start = cx.b.full(0.0, whole.ty(found))?;
            sums.push(back.parameter("dk", whole.ty(found), start));
        }
        let carries = back.operands.len();
        let is_capture =
            |source: Source| matches!(source, Source::Operand(i) if i >= self.carries + self.slices);
        for &(value, source) in kept.read.iter().filter(|&&(_, source)| !is_capture(source)) {
            let operand = source.value(cx, results);
            map.insert(value, back.parameter("x", whole.ty(value), operand));
        }
        for &(number, cotangent) in &linear.stacked {
            let dy = cx.cotangent(number)?;
            map.insert(cotangent, back.parameter("dy", whole.ty(cotangent), dy));
        }
        let slices = back.operands.len() - carries;
        for &(value, source) in kept.read.iter().filter(|&&(_, source)| is_capture(source)) {
            let operand = source.value(cx, results);
            map.insert(value, back.parameter("k", whole.ty(value), operand));
        }
        let Back { mut body, operands } = back;
        let guard = self.guard().and_then(|guard| map.get(&guard).copied());
        let cotangents = linear.iteration(&mut body, map, &sums, &cx.b.origin)?;
        for (number, value) in cotangents.into_iter().enumerate() {
            body.add_output(&format!("d{number}"), Role::Data, value);
        }
        let guard = guard.and_then(|guard| body.parameters().iter().position(|&id| id == guard.node));
        if let Some(guard) = guard {
            body = only_if_run(body, guard, carries, &cx.b.origin)?;
        }
        let reverse = !self.reverse;
        let scan = Scan { body, carries, slices, reverse, guarded: false, ..*self };
        let found = cx.b.add_nodes(scan, &operands)?;
        let mut gradients = vec![None; cx.operands.len()];
        let numbers = linear.carries.iter().chain(&linear.captured).chain(&linear.sliced);
        for (&(number, _), result) in numbers.zip(found) {
            gradients[number] = Some(result);
        }
        Ok(gradients)
    }
}

impl Operator for Scan {
    fn name(&self) -> &'static str {
        "scan"
    }

    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        let mut attributes = vec![
            ("length", Attribute::Int(self.length as i64)),
            ("carries", Attribute::Int(self.carries as i64)),
            ("slices", Attribute::Int(self.slices as i64)),
        ];
        if self.reverse {
            attributes.push(("reverse", Attribute::Bool(true)));
        }
        if self.guarded {
            attributes.push(("guarded", Attribute::Bool(true)));
        }
        if self.segments != Segments::No {
            attributes.push(("segments", Attribute::name(self.segments.name())));
        }
        attributes.push(("body", Attribute::Graph(Box::new(self.body.clone()))));
        attributes
    }

    fn infer(&self, operands: &[&Type]) -> Result<Vec<Type>, String> {
        let parameters: Vec<&Type> =
            self.body.parameters().iter().map(|&id| &self.body.node(id).types[0]).collect();
        let outputs: Vec<&Type> = self.body.outputs().iter().map(|o| self.body.ty(o.value)).collect();
        let fixed = self.carries.saturating_add(self.slices);
        if parameters.len() < fixed || outputs.len() < self.carries {
            return Err(format!(
                "{} carries and {} slices need as many parameters and the carries as outputs of the body, found {} \
                 and {}",
                self.carries,
                self.slices,
                parameters.len(),
                outputs.len()
            ));
        }
        expect_small("length", &[self.length])?;
        let guard = parameters[..self.carries].first();
        if self.guarded && guard.is_none_or(|&ty| *ty != Type::scalar(DType::Bool)) {
            let found = guard.map_or("no carry".to_owned(), |ty| ty.to_string());
            return Err(format!("the first carry of a guarded loop is a bool[], found {found}"));
        }
        let expected = parameters.iter().enumerate().map(|(position, &ty)| {
            let sliced = (self.carries..fixed).contains(&position);
            if sliced { self.stacked(ty) } else { ty.clone() }
        });
        expect_types(&expected.collect::<Vec<_>>(), operands)?;
        for (number, (before, after)) in parameters.iter().zip(&outputs[..self.carries]).enumerate() {
            if before != after {
                return Err(format!("carry {number} enters the body as {before} and leaves it as {after}"));
            }
        }
        let (carries, slices) = outputs.split_at(self.carries);
        Ok(carries.iter().map(|&ty| ty.clone()).chain(slices.iter().map(|&ty| self.stacked(ty))).collect())
    }

    /// A loop in the other direction, over what this one stacks for it.
    fn gradient(&self, cx: &mut GradientCx) -> Gradient {
        let linear = self.linearise(cx)?;
        if linear.cotangents().is_empty() && linear.carries.is_empty() {
            return Ok(vec![None; cx.operands.len()]);
        }
        let kept = self.choose(&linear);
        let results = self.keep(cx, &linear, &kept)?;
        self.transpose(cx, &linear, &kept, &results)
    }

    fn definition(&self, _: &[&Type], results: &[Type]) -> Vec<Definition> {
        vec![Definition::Loops; results.len()]
    }

    fn evaluate(&self, operands: &[&Tensor], results: &[Type]) -> Result<Vec<Tensor>, String> {
        let (inits, rest) = operands.split_at(self.carries);
        let (stacks, captures) = rest.split_at(self.slices);
        let mut carries: Vec<Tensor> = inits.iter().map(|x| x.try_clone()).collect::<Result<_, _>>()?;
        let stacked = results[self.carries..].iter().map(Tensor::try_zeros);
        let mut stacked: Vec<Tensor> = stacked.collect::<Result<_, _>>()?;
        for step in 0..self.length {
            if self.guarded && carries[0].get(0) == Scalar::Bool(false) {
                break;
            }
            let at = if self.reverse { self.length - 1 - step } else { step };
            let slices: Vec<Tensor> = stacks.iter().map(|x| slice_of(x, at)).collect::<Result<_, _>>()?;
            let arguments: Vec<&Tensor> =
                carries.iter().chain(&slices).chain(captures.iter().copied()).collect();
            let mut outputs =
                crate::interpret::interpret(&self.body, &arguments).map_err(|e| e.to_string())?;
            for (stack, slice) in stacked.iter_mut().zip(outputs.split_off(self.carries)) {
                let steps: Vec<isize> = slice.ty().strides().iter().map(|&step| step as isize).collect();
                write_view(stack, at * slice.elements(), &steps, &slice);
            }
            carries = outputs;
        }
        Ok(carries.into_iter().chain(stacked).collect())
    }
}

/// Slice `at` along axis 0.
fn slice_of(x: &Tensor, at: usize) -> Result<Tensor, String> {
    let dims = &x.dims()[1..];
    let steps: Vec<isize> = x.ty().strides()[1..].iter().map(|&step| step as isize).collect();
    view(x, at * dims.iter().product::<usize>(), &steps, dims)
}
