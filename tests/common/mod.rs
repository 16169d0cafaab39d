//! What several tests share.

pub mod compiled;
pub mod generate;
pub mod growing;
pub mod layers;
pub mod lcg;
pub mod reference;
pub mod snapshot;
pub mod time;
