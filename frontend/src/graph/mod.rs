//! From the tree of a model to the graph of each entry point: all building of graphs is here.
//!
//! The folder is named after what comes out. In the order in which things are needed:
//!
//! | file or folder | what |
//! |---|---|
//! | `value`, `ops` | values of expressions and arguments; primitives with numpy's conventions |
//! | `init`, `state`, `names`, `frames`, `settings`, `class_axes`, `measured` | what the builder knows: state and its start, names, choices |
//! | `builder` | the graph under way, and where in the model it is |
//! | `arguments`, `attention` | arguments of calls, evaluated; attention, which layers and functions share |
//! | `layers`, `functions`, `optimizers` | what the language can call: **a new layer, activation, function, loss, optimiser or schedule is added here**, each `mod.rs` says how |
//! | `operators`, `calls`, `eval` | expressions |
//! | `body` | the steps of a body: layers, blocks, repetition, branches, imports |
//! | `samples`, `metrics` | what a value is of the samples of a batch; metrics and losses of whole data sets |
//! | `entry`, `init_entry`, `shared` | an entry point from its opening to its updates; the initial state; state that entries share |

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
mod measured;
mod metrics;
pub(crate) mod names;
mod operators;
pub(crate) mod ops;
pub(crate) mod optimizers;
mod samples;
pub(crate) mod settings;
pub(crate) mod shared;
pub(crate) mod state;
pub(crate) mod value;
pub(crate) mod vocabulary;
