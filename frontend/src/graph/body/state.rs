//! The step `State`: a tensor that is kept from run to run and saved, but not trained.

use std::collections::HashMap;

use brolga_ir::{DType, Size, Type};

use crate::graph::builder::{Builder, LayerRow, Numbering};
use crate::graph::init::{INIT, Init};
use crate::graph::state::SlotKind;
use crate::graph::value::{Args, Built, Fault, Val};
use crate::model::tree::{Beginning, TypeExpr};
use crate::signature::Signature;
use crate::source::Span;

/// What stands beside the name and the type.
static REST: Signature = Signature { name: "State", parameters: &[INIT] };

impl Builder<'_> {
    /// Declares a state under the name of its step; it becomes the current value.
    pub(super) fn state_step(&mut self, ty: Option<&TypeExpr>, init: &Beginning, name: &str, span: Span) {
        let (args, table) = match init {
            Beginning::Initializer(given) => (self.evaluate(&REST, given), None),
            Beginning::Table(name) => (Some(Args::default()), Some(name)),
        };
        let ty = ty.and_then(|ty| self.type_of_state(ty));
        self.current = Val::Unknown;
        let (Some(args), Some(ty)) = (args, ty) else { return };
        let path = self.full_name(name);
        self.graph.enter(&path, &self.source, span);
        let init = match table {
            Some(name) => Ok(Init::Table(name.clone())),
            None => initial(&args, &ty),
        };
        let result = self.in_scope(name, Numbering::Kind(HashMap::new()), |builder| {
            builder.state(&builder.full_name(""), ty.clone(), SlotKind::Buffer, init?)
        });
        self.current = match result {
            Ok(tensor) => {
                self.report_unused(&args, REST.name, span);
                if !self.reusing {
                    let (kind, call) = (REST.name.to_owned(), REST.name.to_owned());
                    self.rows.push(LayerRow { path, kind, call, output: ty, parameters: 0 });
                }
                Val::Tensor(tensor)
            }
            Err(mut fault) => {
                fault.message = format!("State `{path}`: {}", fault.message);
                self.fail(fault, span)
            }
        };
    }

    /// The type of a state; nothing after a mistake, which is reported. It is the same for every batch.
    fn type_of_state(&mut self, ty: &TypeExpr) -> Option<Type> {
        if let Some(dim) = ty.dims.iter().find(|dim| dim.mentions("batch")) {
            let fault = Fault::new("a state is the same whatever the batch, so its size cannot be `batch`");
            self.fail(fault, dim.span);
            return None;
        }
        let mut dims = Vec::new();
        for dim in &ty.dims {
            let value = self.eval(dim);
            match value.as_size(0).map(Size::get) {
                Some(Ok(extent)) => dims.push(extent),
                _ if value.is_unknown() => {}
                _ => {
                    let found = value.describe();
                    let fault = Fault::new(format!("a size must be a whole number from 0 on, found {found}"));
                    self.fail(fault, dim.span);
                }
            }
        }
        let dtype = if ty.dtype == DType::F32 { self.float() } else { ty.dtype };
        (dims.len() == ty.dims.len()).then(|| Type::new(dtype, dims))
    }
}

/// What a state is at first: zeros, where nothing is said. What is drawn is of floats.
fn initial(args: &Args, ty: &Type) -> Built<Init> {
    let fan = Size::product(ty.dims.iter().skip(1));
    let init =
        Init::from_args(args, "init", fan, ty.dims.first().copied().unwrap_or(1), Init::Constant(0.0))?;
    match init {
        _ if ty.dtype.is_float() => Ok(init),
        Init::Constant(value) if value.fract() == 0.0 => Ok(init),
        _ => {
            Err(args.fault("init", format!("{ty} begins with whole numbers: `Zeros`, `Ones` or a constant")))
        }
    }
}
