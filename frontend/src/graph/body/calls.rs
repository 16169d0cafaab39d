//! Layers, blocks and `Sequential`s: what a step names is run under the path that it gets.

use crate::expr::Template;
use crate::graph::builder::{Builder, LayerRow, Numbering, Reusable};
use crate::graph::frames::Frame;
use crate::graph::layers::{self, Layer};
use crate::graph::value::{Fault, Tensor, Val};
use crate::model::tree::{Arguments, Body, BodyStepKind};
use crate::source::Span;

impl Builder<'_> {
    /// Runs a layer, block or `Sequential` under the name that it is given, or one made of the label.
    pub(super) fn named(&mut self, name: Option<&Template>, label: &str, body: &Body, position: usize) {
        match (self.layer_name(name, label, body[position].span), &body[position].kind) {
            (Some(name), _) => self.call(&name, body, position),
            (None, kind) => {
                if let BodyStepKind::Layer { layer, arguments, .. } = kind {
                    self.evaluate(layer, arguments);
                }
                self.skip();
            }
        }
    }

    /// Runs a layer, block or `Sequential` under a name, and notes it for `Reuse` and references.
    pub(super) fn call(&mut self, name: &str, body: &Body, position: usize) {
        let path = self.full_name(name);
        if !self.reusing {
            let (frames, frame) = (self.frames.iter_mut().map(Frame::kept).collect(), self.frame);
            let reusable = Reusable { body: body.clone(), position, frames, frame, tree: self.tree.clone() };
            self.reusable.insert(path.clone(), reusable);
        }
        let step = &body[position];
        match &step.kind {
            BodyStepKind::Layer { layer, arguments, .. } => match layers::find(layer.name) {
                Some(layer) => self.layer(layer, arguments, name, step.span),
                None => self.skip(),
            },
            BodyStepKind::Block { block, arguments, .. } => {
                self.block_call(block, name, arguments, step.span)
            }
            BodyStepKind::Sequential { body, .. } => {
                self.in_scope(name, Numbering::Position(0), |builder| builder.run(body));
            }
            BodyStepKind::Scan(scan) => self.scan(scan, name, step.span),
            BodyStepKind::State { ty, init, .. } => self.state_step(ty.as_ref(), init, name, step.span),
            _ => {}
        }
        if !self.stopped {
            let value = self.current.clone();
            self.values.insert(path, value);
            self.reached(name);
        }
    }

    /// Builds a layer on the current value.
    fn layer(&mut self, layer: &'static Layer, arguments: &Arguments, name: &str, span: Span) {
        let args = self.evaluate(&layer.signature, arguments);
        // A layer without input (a parameter) needs no current value.
        let input = if layer.source { None } else { self.current_tensor(span) };
        let (Some(args), true) = (args, layer.source || input.is_some()) else {
            self.current = Val::Unknown;
            return;
        };
        let path = self.full_name(name);
        let before = self.slots.parameter_count();
        self.graph.enter(&path, &self.source, span);
        let result =
            self.in_scope(name, Numbering::Position(0), |builder| (layer.build)(builder, input, &args));
        if let Some(fault) = self.refusing.take() {
            let fault = self.of_layer(fault, layer, &path, input);
            let refused = self.imported(fault.diagnostic(&self.source, span));
            self.refused.push(refused);
        }
        self.current = match result {
            Ok(tensor) => {
                self.report_unused(&args, layer.signature.name, span);
                let output = self.ops().ty(tensor);
                let parameters = self.slots.parameter_count() - before;
                if !self.reusing {
                    let (kind, call) = (layer.signature.name.into(), args.shown(&layer.signature));
                    self.rows.push(LayerRow { path, kind, call, output, parameters });
                }
                Val::Tensor(tensor)
            }
            Err(fault) => {
                let fault = self.of_layer(fault, layer, &path, input);
                self.fail(fault, span)
            }
        };
    }

    /// A mistake with the layer that has it, and what the layer was given.
    fn of_layer(&mut self, mut fault: Fault, layer: &Layer, path: &str, input: Option<Tensor>) -> Fault {
        fault.message = format!("{} `{path}`: {}", layer.signature.name, fault.message);
        let ty = input.map(|input| self.ops().ty(input).to_string());
        if let Some(ty) = ty.filter(|ty| !fault.message.contains(ty)) {
            fault = fault.note(format!("the input of this layer is {ty}"));
        }
        if let Some(place) = &self.reused_at {
            fault = fault.note(format!("it is used once more at {place}"));
        }
        fault
    }
}
