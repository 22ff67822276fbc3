//! The Server that firewalls ask: tokens, batch, IP and user queries, and the validator, over HTTPS.
//!
//! It reads the table and never writes it; what it learns from a firewall (a user seen at an address) goes through the
//! intake like everybody's evidence. For each firewall it keeps nothing but a token's hash and a line for status: the
//! firewall itself keeps the cursor, as its cookie.
//!
//! | to find | look in |
//! | --- | --- |
//! | what a firewall is told of an address, and in which order | `entries` |
//! | names of fields and parameters, JSON, XML | `shape`, `xml` |
//! | how firewalls are told that do not ask | `web_api` |
//! | where a pass begins and ends | `cookie`, `pass` |
//! | which status answers what | `http`, `call`, `oauth` |
//! | what a firewall is to be told of us | `junos` |
//! | whether a name of a policy exists | `validator` |
//! | what each firewall may be told | `point`, `filter` |
//!
//! Who may ask is decided in [`crate::access`].

mod ahead;
mod call;
pub mod cookie;
pub mod entries;
pub mod filter;
mod forced;
mod gate;
mod http;
mod json;
pub mod junos;
mod metrics;
mod oauth;
mod pass;
pub mod point;
pub mod query;
pub mod reading;
pub mod requests;
pub mod server;
pub mod shape;
mod validator;
pub mod web_api;
mod xml;

pub use self::reading::PointReading;
pub use self::requests::UnknownRequest;
pub use self::server::{Server, ServerError, ServerParts};
