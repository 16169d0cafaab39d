//! The primitive operators: a closed set, each whole in one file.
//!
//! A file holds, in this order, the operator's struct with its attributes, its shape inference, its gradient, the
//! definition of an element of its result, and its reference evaluation. [`Operator`] is what they share; [`Op`] is
//! the enumeration of them, with the dispatch and nothing else.

mod broadcast;
mod concat;
mod cond;
mod constant;
mod conv;
mod cumulative;
mod differentiate;
mod dot;
mod elementwise;
mod fused;
mod gather;
mod gather_along;
mod iota;
mod jvp;
mod pad;
mod parameter;
mod random;
mod reduce;
mod reduce_window;
mod reshape;
mod reverse;
mod scan;
mod scatter;
mod scatter_along;
mod slice;
mod sort;
mod stop_gradient;
mod support;
mod transpose;
mod while_loop;
mod window_select;

pub use broadcast::Broadcast;
pub use concat::Concat;
pub use cond::Cond;
pub use constant::Constant;
pub use conv::{Conv, ConvForm};
pub use cumulative::Cumulative;
pub use differentiate::Differentiate;
pub use dot::Dot;
pub use elementwise::Elementwise;
pub use fused::Fused;
pub use gather::Gather;
pub use gather_along::GatherAlong;
pub use iota::Iota;
pub use jvp::Jvp;
pub use pad::Pad;
pub use parameter::{Parameter, Role};
pub use random::{Distribution, Random, philox};
pub use reduce::Reduce;
pub use reduce_window::ReduceWindow;
pub use reshape::Reshape;
pub use reverse::Reverse;
pub use scan::{Scan, Segments};
pub use scatter::{Scatter, ScatterMode};
pub use scatter_along::ScatterAlong;
pub use slice::Slice;
pub use sort::Sort;
pub use stop_gradient::StopGradient;
pub use transpose::Transpose;
pub use while_loop::While;
pub use window_select::{SelectForm, WindowSelect};

use support::*;

use crate::attribute::{Attribute, Attributes};
use crate::builder::Builder;
use crate::definition::Definition;
use crate::graph::{Graph, GraphError, NodeId, Value};
use crate::size::Size;
use crate::tensor::{Tensor, filled};
use crate::types::Type;

/// What an operator says of itself.
pub trait Operator {
    /// Its name in the text form.
    fn name(&self) -> &'static str;

    /// Its attributes in the text form, in order; those at their defaults may be left out.
    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        Vec::new()
    }

    /// The types of the results for operands of those types, or the rule that is broken, with what was found.
    fn infer(&self, operands: &[&Type]) -> Result<Vec<Type>, String>;

    /// Builds the cotangents of the operands from those of the results.
    fn gradient(&self, cx: &mut GradientCx) -> Gradient;

    /// What an element of each result is. Types are those of a verified node.
    fn definition(&self, operands: &[&Type], results: &[Type]) -> Vec<Definition>;

    /// The results for those operands: the reference that everything else is compared with. Operands have the
    /// types of a verified node.
    fn evaluate(&self, operands: &[&Tensor], results: &[Type]) -> Result<Vec<Tensor>, String>;
}

/// The cotangents of the operands, `None` where no gradient flows (integers, indices, constants of the rule).
pub type Gradient = Result<Vec<Option<Value>>, GradientError>;

/// Why there is no gradient.
#[derive(Clone, PartialEq, Debug)]
pub enum GradientError {
    /// The operator is not differentiable, with the reason.
    NotDifferentiable(String),
    /// A rule built an invalid node: a mistake in the rule.
    Graph(GraphError),
}

impl From<GraphError> for GradientError {
    fn from(error: GraphError) -> GradientError {
        GradientError::Graph(error)
    }
}

/// What a gradient rule sees.
pub struct GradientCx<'a> {
    /// Adds the nodes of the rule.
    pub b: Builder<'a>,
    /// The node's operands.
    pub operands: &'a [Value],
    /// The node's results.
    pub results: &'a [Value],
    /// The cotangents of the results; `None` counts as zero. At least one is there.
    pub cotangents: &'a [Option<Value>],
    /// For each operand whether anybody wants its cotangent. A rule may build it anyway.
    pub wanted: &'a [bool],
}

impl GradientCx<'_> {
    /// The cotangent of the first result, zeros if there is none.
    pub fn cotangent(&mut self, result: usize) -> Result<Value, GraphError> {
        match self.cotangents[result] {
            Some(value) => Ok(value),
            None => {
                let ty = self.b.ty(self.results[result]).clone();
                self.b.full(0.0, &ty)
            }
        }
    }
}

macro_rules! operators {
    ($($plain:ident),* $(,)?; $($holder:ident { $($region:ident),* }),* $(,)?) => {
        operators! { @all $($plain,)* $($holder),* }

        /// An operator with regions: what whoever goes into them matches on, so that a new one is forgotten nowhere.
        #[derive(Clone, Copy, PartialEq, Debug)]
        pub enum RegionOp<'a> {
            $(
                #[doc = concat!("See [`", stringify!($holder), "`].")]
                $holder(&'a $holder),
            )*
        }

        impl Op {
            /// The operator, if it has regions.
            pub fn region_op(&self) -> Option<RegionOp<'_>> {
                match self {
                    $(Op::$plain(_) => None,)*
                    $(Op::$holder(op) => Some(RegionOp::$holder(op)),)*
                }
            }

            /// The sub-graphs of a region operator.
            pub fn regions(&self) -> Vec<&Graph> {
                match self {
                    $(Op::$plain(_) => Vec::new(),)*
                    $(Op::$holder(op) => vec![$(&op.$region),*],)*
                }
            }

            /// The sub-graphs of a region operator, to change; the types of parameters and outputs must stay.
            pub fn regions_mut(&mut self) -> Vec<&mut Graph> {
                match self {
                    $(Op::$plain(_) => Vec::new(),)*
                    $(Op::$holder(op) => vec![$(&mut op.$region),*],)*
                }
            }
        }
    };
    (@all $($variant:ident),* $(,)?) => {
        /// A primitive operator with its attributes.
        #[derive(Clone, PartialEq, Debug)]
        pub enum Op {
            $(
                #[doc = concat!("See [`", stringify!($variant), "`].")]
                $variant($variant),
            )*
        }

        impl Op {
            /// What the operator says of itself.
            pub fn get(&self) -> &dyn Operator {
                match self {
                    $(Op::$variant(op) => op,)*
                }
            }

            /// The operator of that name with those attributes; `None` if there is none of that name.
            pub fn from_attributes(name: &str, attributes: &mut Attributes) -> Option<Result<Op, String>> {
                $(
                    if $variant::names().contains(&name) {
                        return Some($variant::from_attributes(name, attributes).map(Op::$variant));
                    }
                )*
                None
            }

            /// The names of all operators in the text form.
            pub fn names() -> Vec<&'static str> {
                [$($variant::names()),*].concat()
            }
        }

        $(
            impl From<$variant> for Op {
                fn from(op: $variant) -> Op {
                    Op::$variant(op)
                }
            }
        )*
    };
}

operators! {
    Parameter, Constant, Iota, Random, Elementwise, StopGradient, Broadcast, Reshape, Transpose, Slice, Reverse, Pad,
    Concat, Gather, GatherAlong, Scatter, ScatterAlong, Reduce, ReduceWindow, WindowSelect, Dot, Conv,
    Cumulative, Sort, Differentiate, Jvp;
    Fused { body }, Scan { body }, While { condition, body }, Cond { then, otherwise },
}

impl Op {
    /// Whether it stands for derivatives that the pass `grad` has yet to build: it has no value until then.
    pub fn is_derivative(&self) -> bool {
        matches!(self, Op::Differentiate(_) | Op::Jvp(_))
    }

    /// Whether no gradient goes behind it.
    pub fn stops_gradient(&self) -> bool {
        matches!(self, Op::StopGradient(_))
    }
}
