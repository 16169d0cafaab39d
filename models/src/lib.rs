//! The models that come along, and the data sets.

#[cfg(feature = "embedded")]
pub mod catalogue;
pub mod data;
