//! Syslog: configured senders' lines become identity events.
//!
//! UDP, TCP and TLS listeners hand lines to the source that the sender belongs to; the source's templates say what a
//! line means. What makes no event is counted with its reason, and the last such lines are kept for the operator.
//! Framing and headers are `wire::syslog`'s; sockets are bound by `net::listener`.

mod connection;
mod datagram;
pub mod instant;
pub mod interpret;
pub mod service;
pub mod source;
pub mod tail;
pub mod template;

pub use self::service::{Surroundings, SyslogError, SyslogService};
pub use self::source::Transport;
pub use self::template::{TemplateError, built_in_names};
