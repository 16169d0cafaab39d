//! Optimisers: functions from a parameter, its gradient and its memory to the parameter's next value.
//!
//! Formulas and their order of operations are PyTorch's (`torch.optim`). Scalars that depend on the step are
//! computed in f64, as Python computes them. Slots are named as in PyTorch's optimiser state.
//!
//! An optimiser is an entry of `OPTIMIZERS` in one of the files here, its signature and its update side by side, as layers are.
//! How one is added: copy `sgd.rs`, or an entry of the file that resembles it; list a new file in [`OPTIMIZERS`] below. A
//! schedule of the learning rate is a line in the enumeration of `schedule.rs` and a function below it.

mod adam;
mod adaptive;
pub(crate) mod clip;
mod optimizer;
pub(crate) mod schedule;
mod sgd;

pub(crate) use optimizer::{Optimizer, ParameterUpdate, add_decay};

use crate::signature::Signature;

const OPTIMIZERS: [&[Optimizer]; 3] = [&sgd::OPTIMIZERS, &adaptive::OPTIMIZERS, &adam::OPTIMIZERS];

/// The optimiser of that name.
pub(crate) fn find(name: &str) -> Option<&'static Optimizer> {
    OPTIMIZERS.iter().copied().flatten().find(|optimizer| optimizer.signature.name == name)
}

/// All signatures.
pub(crate) fn signatures() -> impl Iterator<Item = &'static Signature> {
    OPTIMIZERS.iter().copied().flatten().map(|optimizer| &optimizer.signature)
}
