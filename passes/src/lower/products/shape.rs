//! The sizes of a product, whatever lies where.

use brolga_ir::DType;

use super::image::Planes;
use crate::facts::blocking::code;
use crate::facts::windows::{Window, is_short};

/// The sizes of a product. Of a gradient with respect to weights, those of the convolution.
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

    /// Positions of the result, of one image.
    pub fn space(&self) -> usize {
        self.windows.iter().map(|window| window.output).product()
    }

    /// Positions of the result, of all images.
    pub fn positions(&self) -> usize {
        self.batch * self.space()
    }

    /// What the source has besides its positions.
    pub fn planes(&self) -> Planes {
        Planes { batch: self.batch, channels: self.groups * self.channels, dtype: self.dtype }
    }

    /// Whether every channel is by itself.
    fn is_by_channels(&self) -> bool {
        self.groups > 1 && self.channels == 1 && self.outputs == 1
    }

    /// The same, with so few taps that they can be written out.
    pub fn is_depthwise(&self) -> bool {
        self.is_by_channels() && is_short(&self.windows)
    }

    /// The same of a gradient with respect to weights: few enough kernel positions have code of their own.
    pub fn is_depthwise_gradient(&self) -> bool {
        self.is_by_channels() && !self.is_large()
    }

    /// Of a gradient with respect to weights: whether loops go over kernel positions, which are too many to have code of
    /// their own.
    pub fn is_large(&self) -> bool {
        self.area() > code::KERNEL
    }

    /// Of the same: whether the rows of tiles are kernel positions of the last axis instead of channels: there are fewer of
    /// these.
    pub fn is_by_taps(&self) -> bool {
        let last = self.windows.last().expect("a spatial axis");
        !self.is_large() && self.channels < last.kernel && last.spread == 1
    }
}
