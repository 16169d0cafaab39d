//! From the tree of a model to the graph of each entry point: all building of graphs is here. The folder bears the name of what
//! comes out.
//!
//! What the language can call, each file of one subject. **A new layer, activation, function, loss, metric, optimiser or schedule
//! is added in one of these folders**, and nowhere else in the crate; its `mod.rs` says how:
//!
//! - `layers`: `Conv2d(...)`, activations, pools, normalisations;
//! - `functions`: `mean(x)`, `cross_entropy(logits, label)`;
//! - `optimizers`: `Sgd(...)`, schedules of the learning rate, clipping.
//!
//! What they are built with:
//!
//! - `value`: values of expressions and arguments, and how arguments are read; `init`: initial values of parameters;
//! - `ops`: primitives with numpy's conventions, and formulas that several layers share;
//! - `builder`: the graph under way, and where in the model its building is. It holds `frames` and `named` (names), `names` (which names may
//!   be), `state` (what is saved), `settings` (what the user chooses), `class_axes` and `measured` (what has been found out);
//! - `loops`: what is built for one step becomes the region of a loop;
//! - `arguments`, `attention`: what layers and functions have in common.
//!
//! What walks the model, from the inside to the outside:
//!
//! - `eval`, with `operators`, `calls` and `own` (functions of the model's own): expressions; `update`: state by expressions;
//! - `body`: steps, blocks, repetition, branches, imports;
//! - `outputs`: outputs and losses; `metrics`, with `totals` and `samples`: those of whole data sets;
//! - `uses`: the entries with their settings, and `plan`, the phases of training that they come in;
//! - `entry`: an entry point, from its inputs to its updates, and with `samples` what its outputs are of a batch; `init_entry`:
//!   the graph that makes the initial state; `shared`: state that several entries use.

pub(crate) mod arguments;
mod attention;
pub(crate) mod body;
pub(crate) mod builder;
mod calls;
mod class_axes;
pub(crate) mod entry;
mod eval;
mod frames;
pub(crate) mod functions;
pub(crate) mod init;
pub(crate) mod init_entry;
pub(crate) mod layers;
mod loops;
mod measured;
mod metrics;
mod named;
pub(crate) mod names;
mod operators;
pub(crate) mod ops;
pub(crate) mod optimizers;
mod outputs;
mod own;
pub(crate) mod plan;
pub(crate) mod samples;
pub(crate) mod settings;
pub(crate) mod shared;
pub(crate) mod state;
mod totals;
mod update;
pub(crate) mod uses;
pub(crate) mod value;
pub(crate) mod vocabulary;
