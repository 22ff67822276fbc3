//! What crosses the control socket about firewalls; part of [`super::protocol`].

use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::protocol::FaultStatus;

/// A firewall.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PointStatus {
    /// Configured name.
    pub name: String,
    /// `query` if it asks, `web-api` if it is pushed to, `both`.
    #[serde(default = "query")]
    pub protocol: String,
    /// What it calls itself; empty if it does not ask.
    pub client_id: String,
    /// Addresses and networks it may call from.
    pub addresses: Vec<String>,
    /// `never` asked, `active`, `quiet` (nothing asked for a while) or `refused` (its last request was). Of one that is
    /// only pushed to, the state of `web_api`.
    pub state: String,
    /// When it last got an answer.
    pub last_query: Option<Timestamp>,
    /// Where it then called from.
    pub last_address: Option<IpAddr>,
    /// When it last got a token.
    pub last_token: Option<Timestamp>,
    /// When its last batch query was answered.
    pub last_batch: Option<Timestamp>,
    /// When its last IP query was answered.
    pub last_ip: Option<Timestamp>,
    /// When its last user query was answered.
    pub last_user: Option<Timestamp>,
    /// When its last full report began.
    pub last_full: Option<Timestamp>,
    /// Changes it had not fetched yet at its last batch query.
    pub behind: Option<u64>,
    /// Requests answered.
    pub answered: u64,
    /// Entries sent.
    pub entries_sent: u64,
    /// Requests refused.
    pub refused: u64,
    /// The last refusal.
    pub last_refused: Option<RefusedStatus>,
    /// Tokens that are good now.
    pub tokens: usize,
    /// How pushing to it goes; null if it only asks.
    #[serde(default)]
    pub web_api: Option<WebApiStatus>,
}

fn query() -> String {
    "query".to_owned()
}

impl PointStatus {
    /// One that does not ask.
    #[must_use]
    pub fn only_pushed_to(name: String, web_api: WebApiStatus) -> Self {
        Self {
            name,
            protocol: "web-api".to_owned(),
            client_id: String::new(),
            addresses: Vec::new(),
            state: web_api.state.clone(),
            last_query: None,
            last_address: None,
            last_token: None,
            last_batch: None,
            last_ip: None,
            last_user: None,
            last_full: None,
            behind: None,
            answered: 0,
            entries_sent: 0,
            refused: 0,
            last_refused: None,
            tokens: 0,
            web_api: Some(web_api),
        }
    }
}

/// How pushing to a firewall goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebApiStatus {
    /// Where to.
    pub url: String,
    /// `waiting` until the table is ready, `connecting` until something was taken, `refreshing` while everything is told,
    /// `following`, `refused` (user, password or our address is not accepted) or `failing`.
    pub state: String,
    /// Entries that it took.
    pub entries_sent: u64,
    /// Entries that it refused, and that were left out.
    pub skipped: u64,
    /// Users of whom it was not told all groups, because an entry holds 200.
    pub cut: u64,
    /// Changes that it has not heard of.
    pub behind: u64,
    /// When it last took a document.
    pub last_success: Option<Timestamp>,
    /// When it had last been told everything.
    pub last_full: Option<Timestamp>,
    /// What is wrong.
    pub fault: Option<FaultStatus>,
}

/// What came of a wish to tell a firewall everything again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refreshed {
    /// As it was asked for.
    pub point: String,
    /// Whether it is being done.
    pub begun: bool,
    /// How it is done, or why it is not; for people.
    pub detail: String,
}

/// A request that was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedStatus {
    /// When.
    pub at: Timestamp,
    /// The word for why.
    pub reason: String,
}
