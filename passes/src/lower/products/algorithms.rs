//! Has a product computed by the algorithm that its method names.

use super::method::Method;
use super::product::Product;
use crate::lower::Lowering;

impl Lowering<'_> {
    /// The kernels of a product.
    pub(super) fn product(&mut self, product: &Product<'_>) {
        match &product.method {
            Method::Direct(reading) => self.correlate(product, reading),
            Method::Depthwise => self.depthwise(product),
            Method::ChannelsFirst => self.channels_first(product),
            Method::Winograd(filter) => self.winograd(product, *filter),
            Method::Strassen => self.strassen(product),
            Method::Weights(parts) => self.weight_gradient(product, parts),
            Method::DepthwiseWeights => self.depthwise_weight_gradient(product),
            Method::WinogradWeights(filter) => self.winograd_gradient(product, *filter),
        }
    }
}
