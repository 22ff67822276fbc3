//! How a cluster is, as one member of it sees it: members, leases, and how far each follows the stream.
//!
//! Names come from other machines; who shows them escapes them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The most members and the most leases in one status.
pub const MAX_MEMBERS: usize = 1000;

/// The cluster, and this member of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterStatus {
    /// Name of the stream that gives the order.
    pub stream: String,
    /// What this member is at: `connecting`, `resynchronising`, `catching-up`, `following` or `cut-off`.
    pub state: String,
    /// The connection to NATS.
    pub nats: NatsStatus,
    /// Which order the table is of, hexadecimal: another stream of the same name is another one.
    pub epoch: String,
    /// Sequence of the last message that was applied.
    pub applied: u64,
    /// When the stream took that message; null before the first.
    pub applied_at: Option<Timestamp>,
    /// Messages behind it, when it came.
    pub behind: u64,
    /// How old the last message is while there are some behind it, in milliseconds; else 0.
    pub lag_ms: u64,
    /// Whether this member's configuration says otherwise than what all tables obey.
    pub policy_differs: bool,
    /// The table that this member stored last for others; null: it has stored none.
    pub stored: Option<StoredStatus>,
    /// Messages that are left until it follows; null: it is not catching up.
    pub catching_up: Option<CatchingUp>,
    /// How much of the cluster's table is read; null: it is not being read.
    pub resynchronising: Option<Resynchronising>,
    /// All members that ever were and were not forgotten, by name; at most [`MAX_MEMBERS`].
    pub members: Vec<MemberStatus>,
    /// Who holds what, and what this member would hold and nobody does, by name; at most [`MAX_MEMBERS`].
    pub leases: Vec<LeaseStatus>,
}

/// The connection to NATS.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NatsStatus {
    /// Whether it is up.
    pub connected: bool,
    /// `HOST:PORT` of the server, as it says itself; null: none.
    pub server: Option<String>,
}

/// A table that was stored for others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredStatus {
    /// When.
    pub at: Timestamp,
    /// Sequence of the stream's message that it holds at least.
    pub seq: u64,
}

/// Messages of the stream are read that came before this member did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatchingUp {
    /// How many are left.
    pub left: u64,
}

/// The cluster's table is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resynchronising {
    /// Bytes read.
    pub bytes: u64,
    /// Of how many; 0: that is not known yet.
    pub of: u64,
}

/// A member, by what it said last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberStatus {
    /// Its name.
    pub name: String,
    /// Version of its `jims`.
    pub version: String,
    /// What it does: `collector`, `server`; empty: neither.
    pub roles: Vec<String>,
    /// As in [`ClusterStatus::state`]; `stopped`: it stopped in order; `gone`: it has fallen silent; `unknown`: nobody is
    /// heard here.
    pub state: String,
    /// Sequence of the last message that it applied.
    pub applied: u64,
    /// Messages that it had before it then; of one that does not follow, how many the furthest member is ahead.
    pub behind: u64,
    /// Seconds since it was heard.
    pub heard_s: u64,
    /// Whether it counts as there.
    pub alive: bool,
    /// When it started.
    pub started: Timestamp,
}

/// The right to do what one member alone may do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseStatus {
    /// Which: `directory/NAME`, `event-source/NAME`, `web-api/NAME`, `pc-probe`, `clock` or `tables`.
    pub name: String,
    /// The member that holds it; null: none.
    pub holder: Option<String>,
    /// Since when; null: nobody holds it.
    pub since: Option<Timestamp>,
    /// Whether the holder is there, and has been since.
    pub alive: bool,
}

impl ClusterStatus {
    /// How many members are there, and how many are listed.
    #[must_use]
    pub fn present(&self) -> (usize, usize) {
        let alive = self.members.iter().filter(|member| member.alive).count();
        (alive, self.members.len())
    }
}
