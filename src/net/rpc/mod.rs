//! RPC over TCP: one connection, one association, one task that drives it, and a handle for many calls at once.
//!
//! The steps stand alone, so that a check can tell which one fails and how long each takes: [`Connection::open`] finds
//! the host and connects, [`Connection::endpoint`] asks the endpoint mapper for a port, [`Connection::bind`] signs on.
//! What travels is decided by [`crate::wire::dcerpc::association`]; here are the socket, the timers and the waiting.
//! What calls mean is not known here.

mod client;
mod connection;
mod error;
mod link;

pub use client::{Request, RpcClient};
pub use connection::{Connection, TokenExchange};
pub use error::RpcError;

use crate::net::resolve::Resolver;
use crate::wire::dcerpc::SyntaxId;

/// The TCP port on which a host offers an interface.
///
/// # Errors
/// [`RpcError`]: the host, its endpoint mapper, or the interface is not there.
pub async fn endpoint(
    resolver: &Resolver,
    host: &str,
    mapper_port: u16,
    interface: SyntaxId,
) -> Result<u16, RpcError> {
    Connection::open(resolver, host, mapper_port)
        .await?
        .endpoint(interface)
        .await
}

#[cfg(test)]
mod tests;
