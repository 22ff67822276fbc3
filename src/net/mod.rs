//! The only sockets: listeners, TLS, HTTP, the local socket.

pub mod collector_client;
mod collector_trust;
pub mod datagrams;
pub mod http;
pub mod https_client;
pub mod ldap;
mod ldap_bind;
pub mod ldap_error;
pub mod listener;
pub mod local_socket;
pub mod nats;
pub mod resolve;
pub mod rpc;
pub mod security;
pub mod self_signed;
pub mod stream;
pub mod tls;
pub mod tls_client;
mod verifier;
