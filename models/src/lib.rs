//! The models that come along, and the data sets.

pub mod catalogue;
pub mod data;
