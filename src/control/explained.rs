//! Why something is believed, as it crosses the control socket.
//!
//! Part of [`super::protocol`], where the rules for these types stand; nothing here decides anything.

use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::found::{Evidence, PastSession};

/// The most addresses that are explained in one answer.
pub const MAX_EXPLAINED: usize = 16;

/// Everything known of why one address is as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explained {
    /// The address.
    pub address: IpAddr,
    /// What is known of users here, in the order it happened.
    pub user: Vec<Said>,
    /// What is known of devices here, in the order it happened.
    pub device: Vec<Said>,
    /// Sessions that have ended here, the latest first, at most [`Explained::MAX_BEFORE`].
    pub before: Vec<PastSession>,
    /// What was heard of this address of late and changed nothing, the latest first.
    pub ignored: Vec<Ignored>,
    /// What each firewall and Server has been told of it.
    pub told: Vec<Told>,
}

impl Explained {
    /// The most ended sessions of one address.
    pub const MAX_BEFORE: usize = 10;
}

/// One thing that a source said of an address, and what it did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// `logon`, `weaker-logon`, `renewal`, `carried`, `logoff`, `expired` or `ended-here`.
    pub what: String,
    /// Of whom, with the domain; null if it speaks of whoever is there.
    pub subject: Option<String>,
    /// Who said so.
    pub evidence: Evidence,
    /// Where the producer read it: host or senders, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// `holds` (the session stands on it), `took`, `renewed`, `over` (it took the address, and somebody left or came
    /// since), `ended` or `lost`.
    pub effect: String,
    /// Why, for people: the rule by which it won or lost.
    pub why: String,
}

/// Something that was heard and changed nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ignored {
    /// When it last happened.
    pub at: Timestamp,
    /// How often.
    pub count: u64,
    /// Of whom.
    pub subject: String,
    /// Who said so.
    pub producer: String,
    /// Which record, the last one.
    pub record: String,
    /// The word for why.
    pub reason: String,
    /// Why, for people: the rule or filter.
    pub why: String,
}

/// What a firewall or Server has been told of an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// The enforcement point or push.
    pub name: String,
    /// `query`, `web-api` or `push`.
    pub protocol: String,
    /// `told`: it has the latest state of the address. `behind`: that is still to come. `nothing`: there is nothing to tell
    /// it, and `entry` says why. `unknown`: it was not heard of since the start.
    pub state: String,
    /// What it is told, in a few words: `login corp.example.com\alice (12 roles)`; of `nothing` why it is told nothing.
    pub entry: String,
    /// How many changes it is behind, all addresses together.
    pub behind: Option<u64>,
    /// When it was last told anything.
    pub last: Option<Timestamp>,
}
