//! From a RON model to graphs: the model language, layers, losses, optimisers, diagnostics.
//!
//! The way of a model: `model/` reads text into a tree of values ([`source`] keeps the places), and the values into a tree of
//! steps; `graph/` runs the steps once for each entry point, each adding the primitives of its layer to a graph. What can be
//! called in a model is data, a list of signatures (`signature.rs`, [`language`]), each beside the function that builds it: how a
//! layer, an activation, a function, a loss, an optimiser is added, `graph/mod.rs` says.
//!
//! ```
//! use brolga_frontend::{Model, Settings, no_imports};
//!
//! let text = r#"Model(
//!     inputs: { "image": "f32[batch, 784]", "label": "i32[batch]" },
//!     body: [Linear(name: "fc", features: 10), As("logits")],
//!     entries: {
//!         "infer": Infer(outputs: { "probability": "softmax(logits)" }),
//!         "train": Train(loss: "cross_entropy(logits, label)", optimizer: Sgd(lr: 0.1)),
//!     },
//! )"#;
//! let model = Model::parse("softmax.ron", text, &no_imports)?;
//! let instance = model.instantiate(&Settings::default().dim("batch", 32))?;
//! assert_eq!(instance.entries(), ["infer", "train", "train.eval", "init"]);
//! assert_eq!(instance.parameter_count(), 7850);
//! # Ok::<(), brolga_frontend::Diagnostics>(())
//! ```

pub mod diagnostics;
mod expr;
mod graph;
mod instance;
pub mod language;
mod model;
mod signature;
pub mod source;
mod symbolic;

pub use diagnostics::{Diagnostic, Diagnostics};
pub use graph::builder::LayerRow;
pub use graph::entry::FIT;
pub use graph::plan::{Phase, PhaseBatch, PhaseLength, Plan, Trained};
pub use graph::samples::Samples;
pub use graph::settings::Settings;
pub use graph::state::{Slot, SlotKind};
pub use instance::{Instance, Model, no_imports};
pub use model::Resolver;
pub use model::tree::{Data, SplitRule};
pub use symbolic::SymbolicType;
