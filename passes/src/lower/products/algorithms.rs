//! Has a product computed by the algorithm that its method names.

use super::product::Product;
use super::shape::Method;
use crate::lower::Lowering;

impl Lowering<'_> {
    /// The kernels of a product.
    pub(super) fn product(&mut self, product: &Product<'_>) {
        match product.method {
            Method::Direct => self.correlate(product),
            Method::Depthwise => self.depthwise(product),
            Method::ChannelsFirst => self.channels_first(product),
            Method::Winograd(m) => self.winograd(product, m),
            Method::Strassen => self.strassen(product),
        }
    }
}
