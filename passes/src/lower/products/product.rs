//! A product as one value: what is computed, from what, to where, how, and in which pieces.
//!
//! ```text
//! y[n, p, o] = Σ over k, c of  x[n, i(p, k), c] · w[o, c, k]
//! ```
//!
//! `n` counts images, `p` positions along any number of axes, `k` kernel positions, `c` and `o` channels of one group; a
//! [`Window`](crate::facts::windows::Window) for each axis says which input `i(p, k)` position `p` sees through `k`. That is a
//! convolution. Its gradient with respect to the input is one too, with the kernel turned round, and a product of rows with a
//! matrix is one whose windows see one position each: `x[row, c] · w[o, c]`. The gradient with respect to the weights has the
//! windows of the convolution; it computes what that sums over, and the other way round, with dy in the place of w:
//!
//! ```text
//! dw[o, c, k] = Σ over n, p of  x[n, i(p, k), c] · dy[n, p, o]
//! ```
//!
//! So `conv` and `dot` make a [`Product`], and each way to compute it is a function of that alone. Only a product of two tensors
//! where they lie has no windows: it is a [`Contraction`](super::contraction::Contraction).

use brolga_ir::{Graph, NodeId, Type};

use super::epilogue::Epilogue;
use super::image::Image;
use super::method::Method;
use super::packing::Weights;
use super::shape::Shape;
use super::tiling::Tiling;
use crate::lower::regions::compose::Composer;
use crate::lower::{Location, Lowering};
use crate::tuning::Tuning;

/// A request for a product.
pub(in crate::lower) struct Product<'a> {
    /// The name of its kernels, if nothing is fused behind.
    pub name: &'static str,
    pub method: Method,
    /// In which pieces it is computed.
    pub tiling: Tiling,
    /// The sizes, and the windows.
    pub shape: Shape,
    /// What is read: x, and w or dy.
    pub source: Image,
    pub weights: Weights,
    /// Where the result goes, and how it lies there: y with its channels last, but by [`Method::ChannelsFirst`]; or dw as
    /// `[groups * outputs, channels, kernel axes…]`.
    pub target: Location,
    pub result: Type,
    /// What is fused behind it.
    pub epilogue: Option<Epilogue<'a>>,
    /// The node that it is lowered for.
    pub origin: NodeId,
}

impl<'a> Product<'a> {
    /// Begins a kernel that ends with the epilogue; `graph` is the one that is being lowered.
    pub fn composer<'c>(&self, graph: &'c Graph) -> Composer<'c>
    where
        'a: 'c,
    {
        match self.epilogue {
            Some(epilogue) => Composer::new(epilogue.body, epilogue.name),
            None => Composer::new(graph, self.name),
        }
    }
}

impl Lowering<'_> {
    /// The pieces of a product: those that are chosen for it by measuring, else those of the table.
    pub(super) fn tiling(&mut self, method: &Method, shape: &Shape, id: NodeId) -> Tiling {
        let chosen = method.kind().map_or(Tuning::default(), |kind| self.chosen(kind, id));
        Tiling::of(method, shape, chosen, self.is_shared())
    }
}
