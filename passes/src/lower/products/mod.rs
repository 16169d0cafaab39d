//! Matrix products, convolutions and their gradients as kernels around tiles, with what is fused behind them.
//!
//! `conv` and `dot` ask for a product as one value, `product`; `method` says how it is computed, `tiling` in which pieces; then one
//! file for each way: `correlate`, `depthwise`, `winograd`, `strassen`, and `weight_gradient` for the gradients of weights.
//!
//! In comes a node, or a region around one; out come kernels that pack weights, kernels of boxes of the result, and their calls.
//! Sees regions, for what is fused behind a product.

pub(super) mod access;
pub(super) mod algorithms;
pub(super) mod around;
pub(super) mod axes;
pub(super) mod borders;
pub(super) mod boxes;
pub(super) mod channels_first;
pub(super) mod contraction;
pub(super) mod conv;
pub(super) mod correlate;
pub(super) mod depthwise;
pub(super) mod dot;
pub(super) mod epilogue;
pub(super) mod expand;
pub(super) mod fused;
pub(super) mod image;
pub(super) mod integer_dot;
pub(super) mod method;
pub(super) mod packing;
pub(super) mod parts;
pub(super) mod product;
pub(super) mod shape;
pub(super) mod strassen;
pub(super) mod taps;
pub(super) mod tiling;
pub(super) mod weight_gradient;
pub(super) mod winograd;
