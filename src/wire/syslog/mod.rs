//! Syslog: one message (RFC 3164, RFC 5424, and what devices really send), its stamps, and framing on streams.
//!
//! Nothing is refused for being unusual: what cannot be told from text is text. What a line *means* is decided by the
//! syslog producer's templates.

pub mod framing;
pub mod message;
pub mod stamp;

pub use self::framing::{Framer, Step};
pub use self::message::{Message, Priority};
pub use self::stamp::Stamp;

/// Longest message that is read, in bytes: the size of the largest UDP datagram.
pub const MAX_MESSAGE_BYTES: usize = 64 << 10;
