//! `Import`: the body of another model, from the current value.

use std::collections::HashMap;

use brolga_ir::DType;

use crate::graph::builder::{Builder, ImportSite, Numbering};
use crate::graph::frames::{Frame, Named};
use crate::graph::settings::{BATCH, misfit, parameter_values};
use crate::graph::value::{Fault, Val};
use crate::model::tree::{Import, ModelTree};
use crate::source::Span;

/// Where the layers of an import stand, and where it ends.
struct Part {
    /// The name under which they stand; empty if among those around.
    prefix: String,
    /// The layer or value behind which it ends, if it is not the whole body.
    until: Option<String>,
}

impl Builder<'_> {
    pub(super) fn import(&mut self, import: &Import, span: Span) {
        let prefix = match &import.name {
            Some(name) => self.import_name(name),
            None => Some(String::new()),
        };
        let until = match &import.until {
            Some(until) => self.fill(until).map(Some),
            None => Some(None),
        };
        let values = import.tree.as_ref().map(|tree| self.import_values(tree, import));
        // Where `until` is a mistake, it is not known which layers are run, so none is.
        let (Some(tree), Some(values), Some(prefix), Some(until)) = (&import.tree, values, prefix, until)
        else {
            self.skip();
            return;
        };
        let part = Part { prefix, until };
        let site = self.import_site(import, &values, span);
        self.importing.push(self.import_sites.len());
        self.import_sites.push(site);
        let outer_until = self.until.take();
        let found = self.found_by_name(tree);
        // The other model sees no other value of this file, and its mistakes are shown at places of its own.
        let outer_values = std::mem::take(&mut self.values);
        self.in_file(tree, |builder| {
            let mut names = builder.import_names(tree, import, &values);
            for (name, value) in found {
                names.entry(name).or_insert(value);
            }
            let within = part.prefix.split('.').filter(|part| !part.is_empty()).count();
            let depth = builder.path.len() + within;
            let frame = Frame { names: names.into(), depth, ..Frame::default() };
            builder.in_frame(frame, |builder| builder.run_import(tree, &part));
        });
        let values = std::mem::replace(&mut self.values, outer_values);
        self.values.extend(values.into_all());
        self.importing.pop();
        self.until = outer_until;
        self.check_end(import, &part, span);
        self.stopped = false;
    }

    /// What messages say of an import: where it stands, and what it sets.
    fn import_site(&self, import: &Import, values: &[(String, Val)], span: Span) -> ImportSite {
        let chosen = import.variant.as_ref().map(|variant| format!("the variant `{}`", variant.value));
        let set = values.iter().map(|(name, value)| format!("{name} = {}", value.describe()));
        let set: Vec<String> = chosen.into_iter().chain(set).collect();
        let place = import.name.as_ref().map_or(span, |name| name.span);
        ImportSite { source: self.source.clone(), span: place, set: set.join(", "), told: false }
    }

    /// What an imported model finds by its name in the file that imports it: its inputs but the first, if something of that name has
    /// the element type and as many axes, and sizes.
    fn found_by_name(&mut self, tree: &ModelTree) -> Vec<(String, Named)> {
        let mut found = Vec::new();
        for input in tree.inputs.iter().skip(1) {
            let Some(Val::Tensor(tensor)) = self.lookup(&input.name.value) else { continue };
            let given = self.ops().ty(tensor);
            let fits = input.ty.as_ref().is_some_and(|ty| {
                let dtype = if ty.dtype == DType::F32 { self.float() } else { ty.dtype };
                given.dtype == dtype && given.rank() == ty.dims.len()
            });
            if fits {
                found.push((input.name.value.clone(), (Val::Tensor(tensor), input.name.span)));
            }
        }
        let sizes = tree.dims.iter().map(|(name, default)| (name.value.as_str(), default.span));
        for (name, span) in sizes.chain([(BATCH, Span::default())]) {
            if let Some(size @ Val::Int(_)) = self.lookup(name) {
                found.push((name.to_owned(), (size, span)));
            }
        }
        found
    }

    /// The names that the imported model sees: its parameters, and the current value as its first input.
    fn import_names(
        &mut self,
        tree: &ModelTree,
        import: &Import,
        values: &[(String, Val)],
    ) -> HashMap<String, Named> {
        let variant = import.variant.as_ref().map(|variant| variant.value.as_str());
        let mut names = self.in_frame(Frame::default(), |builder| {
            parameter_values(tree, variant, values, |expr| builder.eval(expr))
        });
        if let Some(input) = tree.inputs.first() {
            names.insert(input.name.value.clone(), (self.current.clone(), input.name.span));
        }
        names
    }

    /// Runs the body of the imported model. Without a name, its layers stand among those around it, and are counted with them.
    fn run_import(&mut self, tree: &ModelTree, part: &Part) {
        let counted = match self.numbering.last() {
            Some(Numbering::Kind(counts)) if part.prefix.is_empty() => Some(counts.clone()),
            _ => None,
        };
        let among = counted.is_some();
        let numbering = Numbering::Kind(counted.unwrap_or_default());
        let counted = self.in_scope(&part.prefix, numbering, |builder| {
            builder.until = part.until.as_ref().map(|until| builder.full_name(until));
            builder.run(&tree.body);
            builder.numbering.last().cloned()
        });
        if let (true, Some(outer), Some(counted)) = (among, self.numbering.last_mut(), counted) {
            *outer = counted;
        }
    }

    /// An error if an import has an end that was not reached.
    fn check_end(&mut self, import: &Import, part: &Part, span: Span) {
        let (Some(until), false) = (&part.until, self.stopped) else { return };
        let place = import.until.as_ref().map_or(span, |until| until.span);
        if !self.has_mistakes() {
            let message = format!("`{}` has no layer or value `{until}`", import.model.value);
            self.fail(Fault::new(message), place);
        }
        self.current = Val::Unknown;
    }

    /// The values that an import sets, computed in the file that imports; a mistake there if the parameter is of another kind.
    fn import_values(&mut self, tree: &ModelTree, import: &Import) -> Vec<(String, Val)> {
        let mut values = Vec::new();
        for (key, setting) in &import.set {
            let mut value = match &setting.text {
                None => self.eval(&setting.value),
                // `"relu"` is the text relu; `"act"` is what the parameter `act` is, if that is a text.
                Some(text) => match self.quiet(|builder| builder.eval(&setting.value)) {
                    value @ (Val::Text(_) | Val::List(_)) => value,
                    _ => Val::Text(text.clone()),
                },
            };
            let parameter = tree.parameters.iter().find(|(name, _)| name.value == key.value);
            let expected = parameter.and_then(|(_, default)| misfit(default, &value));
            if let Some(expected) = expected.filter(|_| value != Val::None) {
                let (name, found) = (&key.value, value.describe());
                let message = format!("the parameter `{name}` must be {expected}, found {found}");
                value = self.fail(Fault::new(message), setting.value.span);
            }
            values.push((key.value.clone(), value));
        }
        values
    }
}
