//! How a product is computed, and what that asks for besides its sizes.

use brolga_ir::Type;

use super::boxes::{Positions, merged, positions};
use super::image::{Image, few_pieces};
use super::parts::Parts;
use super::shape::Shape;
use crate::facts::windows::Window;
use crate::tuning::ProductKind;

/// Right operands of Strassen's algorithm: there are so many products of halves.
pub(super) const STRASSEN_FACTORS: usize = 7;

/// How a product is computed.
#[derive(Clone, Debug)]
pub(in crate::lower) enum Method {
    /// Direct sums over packed weights (`correlate.rs`).
    Direct(Reading),
    /// Every channel by itself (`depthwise.rs`).
    Depthwise,
    /// Direct sums with the channels first, over weights where they lie (`channels_first.rs`).
    ChannelsFirst,
    /// Winograd's algorithm (`winograd.rs`).
    Winograd(Filter),
    /// Strassen's algorithm (`strassen.rs`).
    Strassen,
    /// A gradient with respect to weights, by direct sums (`weight_gradient.rs`).
    Weights(Parts),
    /// The same where every channel is by itself (`depthwise.rs`).
    DepthwiseWeights,
    /// The same by Winograd's algorithm (`winograd/weight_gradient.rs`).
    WinogradWeights(Filter),
}

impl Method {
    /// What tunings are chosen for; none where there is nothing to choose.
    pub fn kind(&self) -> Option<ProductKind> {
        match self {
            Method::Direct(_) | Method::ChannelsFirst => Some(ProductKind::Direct),
            Method::Depthwise => Some(ProductKind::Depthwise),
            Method::Winograd(_) => Some(ProductKind::Winograd),
            Method::Strassen => Some(ProductKind::Strassen),
            Method::Weights(_) => Some(ProductKind::Weights),
            Method::DepthwiseWeights => None,
            Method::WinogradWeights(_) => Some(ProductKind::WinogradWeights),
        }
    }
}

/// F(m x m, k x k): tiles of m x m outputs with k x k weights.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::lower) struct Filter {
    pub m: usize,
    pub k: usize,
}

impl Filter {
    /// Inputs of a tile along an axis.
    pub fn a(self) -> usize {
        self.m + self.k - 1
    }

    /// Positions of a tile.
    pub fn area(self) -> usize {
        self.a() * self.a()
    }

    /// Tiles along an axis.
    pub fn tiles(self, window: &Window) -> usize {
        window.output.div_ceil(self.m)
    }
}

/// How direct sums read their image: where it lies, or a copy of it.
#[derive(Clone, Debug)]
pub(in crate::lower) struct Reading {
    pub copy: Option<ImageCopy>,
    /// The batch and the windowed axes of what is read; those that lie one behind the other are one.
    pub axes: Vec<Positions>,
}

/// A copy of an image with its channels last.
#[derive(Clone, PartialEq, Debug)]
pub(in crate::lower) enum ImageCopy {
    /// Of the positions that windows see, where these leave others out: all of them are the rows of one matrix then.
    EveryOther,
    /// With zeros around it along these axes, whose windows had too many kinds of borders.
    Padded(Vec<usize>),
}

impl Reading {
    /// How an image is read for a result with its channels last.
    pub fn of(shape: &Shape, image: &Image, result: &Type) -> Reading {
        let mut windows = shape.windows.clone();
        let copy = if skips(&windows) {
            windows.iter_mut().for_each(|window| *window = Window::identity(window.output));
            Some(ImageCopy::EveryOther)
        } else {
            let padded = few_pieces(&mut windows);
            (!padded.is_empty()).then_some(ImageCopy::Padded(padded))
        };
        let inputs = windows.iter().map(|window| window.input);
        let source = match copy {
            None => image.positions.clone(),
            // Dense.
            Some(_) => shape.planes().of(inputs).strides().into_iter().map(|stride| stride as i64).collect(),
        };
        Reading { copy, axes: merged(positions(&windows, result, &source)) }
    }
}

/// Whether windows have one position each, all inside, and leave others out: a pointwise convolution by steps of 2.
fn skips(windows: &[Window]) -> bool {
    let inside = |w: &Window| w.output.saturating_sub(1).saturating_mul(w.stride as usize) < w.input;
    let single = |w: &Window| w.kernel == 1 && w.low == 0 && w.spread == 1 && inside(w);
    windows.iter().all(single) && windows.iter().any(|w| w.stride > 1)
}
