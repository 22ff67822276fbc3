//! Composition: configuration to a running service and back down.
