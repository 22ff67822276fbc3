//! Identity producers: each a task, its conversation and an `interpret`.

pub mod event_log;
pub mod pc_probe;
pub mod syslog;
