//! What several tests share.

pub mod compiled;
pub mod generate;
pub mod reference;
pub mod snapshot;
