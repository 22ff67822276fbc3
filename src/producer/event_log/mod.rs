//! Event logs: what Windows domain controllers and Exchange servers write when somebody signs on becomes identity events.
//!
//! One task a source keeps a connection (`link`), has records delivered (`source`), and hands them to the table with
//! the position that they bring the source to. What a record means is said in `interpret`. RPC and its security are
//! `net::rpc`'s and `net::security`'s, the formats `wire::even6`'s and `wire::binxml`'s. `preflight` tries the same
//! things one by one for an operator.

pub mod interpret;
mod link;
mod log;
pub mod position;
mod preflight;
mod refusals;
mod service;
mod source;
#[cfg(test)]
mod tests;

pub use self::preflight::preflight;
pub use self::service::{EventLogs, Surroundings};
