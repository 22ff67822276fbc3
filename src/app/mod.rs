//! Composition: configuration to a running service and back down.

pub mod snapshot;
