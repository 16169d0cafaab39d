//! The models that come along, and the data sets.

pub mod data;
