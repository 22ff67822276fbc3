//! Identity producers: each a task, its conversation and an `interpret`.

pub mod syslog;
