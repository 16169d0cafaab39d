//! `scan`: a loop of known length that hands carries on and maps slices to slices.

use super::fused::expect_types;
use super::*;
use crate::vjp::vjp;
use rustc_hash::FxHashMap;

/// Runs the body `length` times. Operands: initial carries, tensors whose axis 0 is sliced, captures. Parameters of
/// the body: carries, the slices of this iteration, captures. Outputs of the body: the next carries, slices of
/// results. Results: the final carries, the stacked slices along a new axis 0.
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
            body: attributes.graph("body")?,
        })
    }

    fn stacked(&self, slice: &Type) -> Type {
        slice.with_dims([&[self.length], slice.dims.as_slice()].concat())
    }

    /// The results that hold the carry each iteration starts from, stacked, one for each carry; nothing unless there
    /// are all of them.
    fn saved(&self) -> Option<Vec<usize>> {
        let outputs = self.body.outputs();
        let stacked = |carry: Value| (self.carries..outputs.len()).find(|&i| outputs[i].value == carry);
        let carries = self.body.parameters()[..self.carries].iter();
        carries.map(|&id| stacked(self.body.result(id))).collect()
    }

    /// The same scan, which also gives the carries that every iteration starts from.
    fn saving(&self) -> Scan {
        let mut body = self.body.clone();
        let carries: Vec<NodeId> = body.parameters()[..self.carries].to_vec();
        for carry in carries {
            let (name, value) = (new_output_name(&body, "saved"), body.result(carry));
            body.add_output(&name, Role::Data, value);
        }
        Scan { body, ..self.clone() }
    }
}

/// The scan that runs back, in the making. Its parameters, outputs and operands are lists of three parts: carries
/// (the cotangents of the carries, then those of the captures), slices, captures.
struct Back {
    body: Graph,
    carries: Vec<Value>,
    operands: Vec<Value>,
}

impl Back {
    fn parameter(&mut self, name: &str, ty: &Type, operand: Value) -> Value {
        self.operands.push(operand);
        self.body.add_parameter(&format!("{name}{}", self.operands.len()), Role::Data, ty.clone())
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

    /// A scan in the other direction over saved carries: its carries are the cotangents of the carries, and the sums
    /// of those of the captures. A scan that saves its carries takes the place of this one, which nothing uses then,
    /// so the way forward is not run twice.
    fn gradient(&self, cx: &mut GradientCx) -> Gradient {
        let fixed = self.carries + self.slices;
        let saved: Vec<Value> = match self.saved() {
            Some(results) => results.into_iter().map(|result| cx.results[result]).collect(),
            None => {
                let origin = cx.b.graph.node(cx.results[0].node).origin.clone();
                let scan = cx.b.graph.add(self.saving(), cx.operands, &origin)?;
                let mut results = cx.b.graph.results(scan);
                let saved = results.split_off(self.body.outputs().len());
                for (&old, new) in cx.results.iter().zip(results) {
                    cx.b.graph.replace_uses(old, new);
                }
                saved
            }
        };
        let parameters: Vec<Value> = self.body.parameters().iter().map(|&id| self.body.result(id)).collect();
        let types: Vec<Type> = parameters.iter().map(|&value| self.body.ty(value).clone()).collect();
        let float = |position: &usize| types[*position].dtype.is_float();
        let carried: Vec<usize> = (0..self.carries).filter(float).collect();
        let sliced: Vec<usize> = (self.carries..fixed).filter(float).collect();
        let captured: Vec<usize> = (fixed..types.len()).filter(float).collect();

        let mut back = Back { body: Graph::new(&self.body.name), carries: Vec::new(), operands: Vec::new() };
        for &position in &carried {
            let start = cx.cotangent(position)?;
            let value = back.parameter("dc", &types[position], start);
            back.carries.push(value);
        }
        for &position in &captured {
            let start = cx.b.full(0.0, &types[position])?;
            let value = back.parameter("dk", &types[position], start);
            back.carries.push(value);
        }
        let mut map: FxHashMap<Value, Value> = FxHashMap::default();
        for position in 0..fixed {
            let operand = if position < self.carries { saved[position] } else { cx.operands[position] };
            map.insert(parameters[position], back.parameter("x", &types[position], operand));
        }
        let mut cotangents = Vec::new();
        for (position, output) in self.body.outputs().iter().enumerate().skip(self.carries) {
            let ty = self.body.ty(output.value).clone();
            if let (true, Some(dy)) = (ty.dtype.is_float(), cx.cotangents[position]) {
                cotangents.push((output.value, back.parameter("dy", &ty, dy)));
            }
        }
        let slices = back.operands.len() - back.carries.len();
        for position in fixed..types.len() {
            let value = back.parameter("k", &types[position], cx.operands[position]);
            map.insert(parameters[position], value);
        }

        // One iteration: the body again, then its reverse walk.
        let mut body = back.body;
        let roots: Vec<Value> = self.body.outputs().iter().map(|output| output.value).collect();
        let copies = body.import(&self.body, &roots, &mut map)?;
        let carry_seeds = carried.iter().zip(&back.carries).map(|(&position, &dc)| (copies[position], dc));
        let slice_seeds = cotangents.iter().map(|&(value, dy)| (map[&value], dy));
        let seeds: Vec<(Value, Value)> = carry_seeds.chain(slice_seeds).collect();
        let wanted: Vec<usize> = [carried.as_slice(), &captured, &sliced].concat();
        let wrt: Vec<Value> = wanted.iter().map(|&position| map[&parameters[position]]).collect();
        let found = vjp(&mut body, &seeds, &wrt)?;
        for (number, (&position, found)) in wanted.iter().zip(found).enumerate() {
            let mut b = Builder::new(&mut body, cx.b.origin.clone());
            let mut value = match found {
                Some(value) => value,
                None => b.full(0.0, &types[position])?,
            };
            if captured.contains(&position) {
                value = b.add(back.carries[number], value)?;
            }
            body.add_output(&format!("d{number}"), Role::Data, value);
        }
        let scan =
            Scan { body, length: self.length, carries: back.carries.len(), slices, reverse: !self.reverse };
        let results = cx.b.add_nodes(scan, &back.operands)?;
        let mut gradients = vec![None; cx.operands.len()];
        for (&position, &result) in wanted.iter().zip(&results) {
            gradients[position] = Some(result);
        }
        Ok(gradients)
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
