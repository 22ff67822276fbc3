//! Requests of firewalls that were not understood, as the control socket shows them: what the Server kept, redacted there.
//!
//! Separate from the Server's own record, because it crosses a process boundary; nothing here decides anything.

use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A request that was not understood, or whose parameters were not all understood.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct KeptRequest {
    /// When it last came.
    pub at: Timestamp,
    /// How often.
    pub count: u64,
    /// Who sent it.
    pub address: IpAddr,
    /// The enforcement point at that address; may be empty.
    pub point: String,
    /// `GET`, `POST` …
    pub method: String,
    /// Path and query; values of secrets are left out.
    pub target: String,
    /// Headers; values only of harmless ones.
    pub headers: Vec<String>,
    /// The beginning of the body, if nothing secret can be in it, else its length.
    pub body: String,
    /// What was not understood.
    pub reason: String,
}
