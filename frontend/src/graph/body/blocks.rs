//! Blocks: their arguments become names that their bodies see.

use std::collections::HashMap;

use crate::diagnostics::Diagnostic;
use crate::expr::Expr;
use crate::graph::builder::{Builder, Numbering};
use crate::graph::frames::Frame;
use crate::graph::value::{Fault, Val};
use crate::model::tree::UserBlock;
use crate::source::{Span, Spanned};

impl Builder<'_> {
    /// Runs the body of a block.
    pub(super) fn block_call(
        &mut self,
        block: &Spanned<String>,
        name: &str,
        arguments: &[(Option<Spanned<String>>, Expr)],
        span: Span,
    ) {
        let Some(definition) = self.block(&block.value) else {
            for (_, value) in arguments {
                self.eval(value);
            }
            self.skip();
            return;
        };
        let (names, good) = self.block_arguments(&definition, &block.value, arguments);
        if self.is_deep_in_doubt() {
            self.skip();
            return;
        }
        if self.is_too_deep(&block.value, span) {
            return self.skip();
        }
        // Blocks see the model's names and their own, not those of the place where they are called.
        let parent = Some(self.root_frame());
        let frame = Frame { names: names.into(), parent, ..Frame::default() };
        self.depth += 1;
        self.in_frame(frame, |builder| {
            // The body is run even where arguments are mistakes: parameters without a value are unknown then.
            let good = builder.block_defaults(&definition, &block.value, span, good);
            let numbering = Numbering::Kind(HashMap::new());
            builder.in_scope(name, numbering, |builder| builder.run(&definition.body));
            if !good {
                builder.current = Val::Unknown;
            }
        });
        self.depth -= 1;
    }

    /// The arguments of a block by the names of its parameters, and whether there is no mistake in them.
    fn block_arguments(
        &mut self,
        definition: &UserBlock,
        block: &str,
        arguments: &[(Option<Spanned<String>>, Expr)],
    ) -> (HashMap<String, (Val, Span)>, bool) {
        let mut names: HashMap<String, (Val, Span)> = HashMap::new();
        let set = std::mem::take(&mut self.reuse_set);
        let mut good = true;
        for (position, (key, value)) in arguments.iter().enumerate() {
            let parameter = match key {
                Some(key) => definition.parameters.iter().find(|(name, _)| name.value == key.value),
                None => definition.parameters.get(position),
            };
            if parameter.is_some_and(|(name, _)| set.contains_key(&name.value)) {
                continue;
            }
            let evaluated = self.eval(value);
            let Some((parameter, _)) = parameter else {
                self.unknown_parameter(definition, block, key.as_ref(), value.span);
                good = false;
                continue;
            };
            if names.insert(parameter.value.clone(), (evaluated, value.span)).is_some() {
                let message = format!("`{}` is given twice", parameter.value);
                let place = key.as_ref().map_or(value.span, |key| key.span);
                self.report(Diagnostic::new(&self.source, place, message));
                good = false;
            }
        }
        names.extend(set);
        (names, good)
    }

    /// Reports an argument that a block does not have, or one more than it has parameters.
    fn unknown_parameter(
        &mut self,
        definition: &UserBlock,
        block: &str,
        key: Option<&Spanned<String>>,
        span: Span,
    ) {
        let (found, place, message) = match key {
            Some(Spanned { value: key, span }) => {
                (key.as_str(), *span, format!("the block `{block}` has no parameter `{key}`"))
            }
            None => {
                let count = definition.parameters.len();
                ("", span, format!("the block `{block}` has {count} parameters"))
            }
        };
        let valid = definition.parameters.iter().map(|(name, _)| name.value.as_str());
        let diagnostic = Diagnostic::new(&self.source, place, message).suggest(found, valid);
        self.report(diagnostic);
    }

    /// Gives the parameters that have no argument their defaults, which may use those before them; whether all have values
    /// then. One that is missing is reported where nothing else is wrong.
    fn block_defaults(&mut self, definition: &UserBlock, block: &str, span: Span, mut good: bool) -> bool {
        for (parameter, default) in &definition.parameters {
            let frame = self.frame;
            if self.frames[frame].names.get(&parameter.value).is_some() {
                continue;
            }
            let value = match default {
                Some(default) => self.eval(default),
                None => {
                    if good {
                        let message = format!("the block `{block}` needs `{}`", parameter.value);
                        self.fail(Fault::new(message), span);
                    }
                    good = false;
                    Val::Unknown
                }
            };
            self.frames[frame].names.insert(parameter.value.clone(), (value, parameter.span));
        }
        good
    }

    /// Whether this is a block inside of steps that are not known to be run. Blocks in there are not entered: a block that uses
    /// itself under a condition would never end, where the condition is a mistake.
    pub(super) fn is_deep_in_doubt(&self) -> bool {
        self.in_doubt.is_some_and(|depth| self.depth > depth)
    }
}
