//! Running compiled code: what it is, what it is given, and what it runs on.

pub(crate) mod block;
mod control;
pub(crate) mod executable;
pub(crate) mod inputs;
pub(crate) mod instance;
pub(crate) mod manifest;
pub(crate) mod outline;
pub(crate) mod ranges;
pub(crate) mod record;
pub(crate) mod state;
pub(crate) mod threads;
