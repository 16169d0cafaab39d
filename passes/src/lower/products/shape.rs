//! What a product is, whatever lies where: its sizes, and how it is computed.

use brolga_ir::DType;

use crate::facts::windows::{Window, is_short};
use crate::tuning::ProductKind;

/// The sizes of a product.
#[derive(Clone, Debug)]
pub(in crate::lower) struct Shape {
    pub dtype: DType,
    /// Images; or rows of a matrix, those of the first of their axes.
    pub batch: usize,
    pub groups: usize,
    /// Channels that are summed over, of one group.
    pub channels: usize,
    /// Channels that are computed, of one group.
    pub outputs: usize,
    /// How positions see the source, along every axis but that of the batch.
    pub windows: Vec<Window>,
}

impl Shape {
    /// Kernel positions.
    pub fn area(&self) -> usize {
        self.windows.iter().map(|window| window.kernel).product()
    }

    /// Weights of one group.
    pub fn weights(&self) -> usize {
        self.outputs * self.channels * self.area()
    }

    /// Positions of the result, of all images.
    pub fn positions(&self) -> usize {
        self.batch * self.windows.iter().map(|window| window.output).product::<usize>()
    }

    /// Whether every channel is by itself, and few enough taps can be written out.
    pub fn is_depthwise(&self) -> bool {
        self.groups > 1 && self.channels == 1 && self.outputs == 1 && is_short(&self.windows)
    }
}

/// How a product is computed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::lower) enum Method {
    /// Direct sums over packed weights (`correlate.rs`).
    Direct,
    /// Every channel by itself (`depthwise.rs`).
    Depthwise,
    /// Direct sums with the channels first, over weights where they lie (`channels_first.rs`).
    ChannelsFirst,
    /// Winograd's algorithm, with tiles of so many outputs along either axis (`winograd.rs`).
    Winograd(usize),
    /// Strassen's algorithm (`strassen.rs`).
    Strassen,
}

impl Method {
    /// What tunings are chosen for.
    pub fn kind(self) -> ProductKind {
        match self {
            Method::Direct | Method::ChannelsFirst => ProductKind::Direct,
            Method::Depthwise => ProductKind::Depthwise,
            Method::Winograd(_) => ProductKind::Winograd,
            Method::Strassen => ProductKind::Strassen,
        }
    }
}
