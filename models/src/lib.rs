//! The models that come along, and the data sets.

#[cfg(feature = "embedded")]
pub mod catalogue;
#[cfg(feature = "embedded")]
pub mod course;
pub mod data;
#[cfg(feature = "embedded")]
pub mod rows;
