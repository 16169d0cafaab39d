//! Brolga compiles neural networks.
