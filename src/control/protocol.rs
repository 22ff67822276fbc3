//! What crosses the control socket: newline-delimited JSON, one object a line, UTF-8.
//!
//! The service speaks first, with [`Hello`]. Then the client sends a [`Request`] and gets one [`Answer`], as often as it
//! likes; after `tail` come [`Answer::Tail`] lines until one side closes. Unknown fields are ignored, so both sides may
//! add some within a version; a client closes when the version is not its own. `jims … --json` prints the inner object
//! of an answer, so these names are what scripts see.
//!
//! Times are RFC 3339 in UTC. Types here are separate from those of the table; nothing here decides anything.

use std::collections::BTreeMap;
use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use super::cluster::{
    CatchingUp, ClusterStatus, LeaseStatus, MemberStatus, NatsStatus, Resynchronising, StoredStatus,
};
pub use super::collectors::{
    CollectorChange, CollectorChanged, CollectorState, CollectorStatus, Invite, Invited, Kinds, Lag,
};
use super::junos::Junos;
use super::kept::KeptRequest;
pub use super::points::{PointStatus, Refreshed, RefusedStatus, WebApiStatus};
pub use super::pushes::{PushState, PushStatus};
use crate::identity::time::UtcMillis;

pub use super::browse::{
    Browse, From, MAX_FILTER_BYTES, MAX_ROWS, NameKind, NameRow, NamesPage, Page, SessionRow,
    SessionsPage, Sort,
};
pub use super::explained::{Explained, Ignored, MAX_EXPLAINED, Said, Told};
pub use super::found::{
    DeviceSession, Evidence, KnownDevice, KnownUser, PastSession, PointView, Query, Session,
};
pub use super::past::Past;

/// The version of this protocol.
pub const VERSION: u32 = 1;

/// The longest request line in bytes.
pub const MAX_REQUEST_BYTES: usize = 16 * 1024;

/// The longest answer line in bytes that a client reads.
pub const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;

/// The most sessions, users or devices in one answer; `truncated` says that there were more.
pub const MAX_LISTED: usize = 1000;

/// The first line of the service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Version of the running `jims`.
    pub jims: String,
    /// Version of the protocol, [`VERSION`].
    pub protocol: u32,
}

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case")]
pub enum Request {
    /// How is everything? Answered with [`Answer::Status`].
    Status,
    /// What did firewalls ask that was not understood? Answered with [`Answer::Requests`].
    Requests,
    /// What is to be typed on a firewall? Answered with [`Answer::Junos`].
    Junos {
        /// The enforcement point.
        name: String,
    },
    /// Where is a user, who is at an address? Answered with [`Answer::Query`].
    Query {
        /// A user (`alice`, `CORP\alice`, `alice@corp.example.com`), an address, or a device.
        who: String,
        /// The enforcement point whose view is wanted too.
        #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
        point: Option<String>,
        /// Whether sessions that have ended, what lost and what firewalls were told are wanted too, with the reasons.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        explain: bool,
    },
    /// Where was a user, who was at an address at an earlier time? Answered with [`Answer::Past`].
    Past {
        /// As in [`Request::Query`].
        who: String,
        /// When.
        at: Timestamp,
    },
    /// A page of the sessions. Answered with [`Answer::Sessions`].
    Sessions(Browse),
    /// A page of users, devices or groups. Answered with [`Answer::Names`].
    Names {
        /// Of what.
        kind: NameKind,
        /// Which page.
        #[serde(flatten)]
        page: Browse,
    },
    /// Ends sessions. Answered with [`Answer::LogOff`].
    LogOff {
        /// As in [`Request::Query`].
        who: String,
    },
    /// Tries a configured source, or asks a computer who is signed on, step by step. Answered with [`Answer::Probe`].
    Probe {
        /// Name of an event source or a directory; else an address or name of a computer.
        target: String,
    },
    /// Reads the configuration again. Answered with [`Answer::Done`] or an error that holds every problem.
    Reload,
    /// Tells an enforcement point that is pushed to everything again. Answered with [`Answer::Refresh`].
    Refresh {
        /// Its name.
        point: String,
    },
    /// Invites a Collector to push to this Server. Answered with [`Answer::Invited`].
    Invite(Invite),
    /// Which Collectors are known? Answered with [`Answer::Collectors`].
    Collectors,
    /// Takes an invitation back. Answered with [`Answer::CollectorChanged`].
    Revoke {
        /// The Collector.
        name: String,
    },
    /// Forgets a Collector, and what it brought leaves. Answered with [`Answer::CollectorChanged`].
    Remove {
        /// The Collector.
        name: String,
    },
    /// Hears a Collector no more until it is enabled. Answered with [`Answer::CollectorChanged`].
    Disable {
        /// The Collector.
        name: String,
    },
    /// Hears a Collector again. Answered with [`Answer::CollectorChanged`].
    Enable {
        /// The Collector.
        name: String,
    },
    /// Says what a Collector is, for people. Answered with [`Answer::CollectorChanged`].
    Describe {
        /// The Collector.
        name: String,
        /// At most 256 bytes; empty: what it says itself.
        text: String,
    },
    /// Has this Collector look at what `jims onboard` stored, and push to it. Answered with [`Answer::Done`].
    Onboarded,
    /// Streams what happens from now on as [`Answer::Tail`].
    Tail,
    /// Changes what is logged until the next start or reload. Answered with [`Answer::Done`].
    LogLevel {
        /// A level, or directives as in `info,jims::directory=debug`.
        level: String,
    },
}

/// What the service answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Answer {
    /// To [`Request::Status`].
    Status(Box<Status>),
    /// To [`Request::Requests`].
    Requests {
        /// The last ones, the latest first.
        requests: Vec<KeptRequest>,
    },
    /// To [`Request::Junos`].
    Junos {
        /// What is to be typed.
        junos: Junos,
    },
    /// To [`Request::Query`].
    Query(Box<Query>),
    /// To [`Request::Past`].
    Past(Box<Past>),
    /// To [`Request::Sessions`].
    Sessions(SessionsPage),
    /// To [`Request::Names`].
    Names(NamesPage),
    /// To [`Request::LogOff`].
    LogOff(LogOff),
    /// To [`Request::Probe`].
    Probe {
        /// What came of it; its own field `answer` would clash with the tag.
        probed: Probed,
    },
    /// To [`Request::Refresh`].
    Refresh(Refreshed),
    /// To [`Request::Invite`].
    Invited(Invited),
    /// To [`Request::Collectors`].
    Collectors {
        /// By name; invitations among them.
        collectors: Vec<CollectorStatus>,
    },
    /// To the requests that change a Collector.
    CollectorChanged(CollectorChanged),
    /// It is done.
    Done {
        /// What was done, for people.
        detail: String,
    },
    /// One line of the tail.
    Tail(Tail),
    /// It cannot be answered or done.
    Error(Refusal),
}

/// Why something cannot be answered or done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// One sentence.
    pub message: String,
    /// What to try; may be empty.
    #[serde(default)]
    pub remedy: String,
}

/// How everything is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Version of the running `jims`.
    pub version: String,
    /// When this was written.
    pub at: Timestamp,
    /// This process.
    pub collector: ThisCollector,
    /// What is active now.
    pub totals: Totals,
    /// What was read from directories.
    pub directory: DirectoryTotals,
    /// What passes through the table.
    #[serde(default)]
    pub events: EventTotals,
    /// Directory services.
    pub directories: Vec<SourceStatus>,
    /// Identity producers.
    pub producers: Vec<SourceStatus>,
    /// The HTTPS side; null if this process is no Server.
    pub server: Option<ServerStatus>,
    /// Firewalls.
    pub enforcement_points: Vec<PointStatus>,
    /// Servers that this Collector pushes to.
    pub pushes: Vec<PushStatus>,
    /// Collectors that push to this Server, and invitations.
    pub collectors: Vec<CollectorStatus>,
    /// Addresses that asked or sent without being configured, the latest first.
    pub strangers: Vec<StrangerStatus>,
    /// Everything that an operator should act on.
    pub attention: Vec<Attention>,
    /// State of the cluster; null if there is none.
    pub cluster: Option<ClusterStatus>,
}

/// This process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThisCollector {
    /// Collector identifier.
    pub name: String,
    /// For people.
    pub description: String,
    /// `starting` until queries are answered, then `ready`.
    pub state: String,
    /// What is waited for while starting.
    pub waiting_for: Vec<String>,
    /// When it started.
    pub started: Timestamp,
}

/// What is active now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Domains known.
    pub domains: usize,
    /// Users with a session.
    pub users: usize,
    /// Devices with a session.
    pub devices: usize,
    /// Groups read.
    pub groups: usize,
    /// User and device sessions.
    pub sessions: usize,
}

/// What passes through the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventTotals {
    /// Events decided since the start, deadlines among them.
    pub total: u64,
    /// Of those, events that changed nothing.
    pub ignored: u64,
    /// From an event's own time to when queries see it, the longest of the last ten seconds, in milliseconds; null without
    /// a logon.
    pub lag_ms: Option<u64>,
    /// Batches that wait for the table.
    pub queued: usize,
}

/// What was read from directories.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectoryTotals {
    /// User objects.
    pub users: usize,
    /// Computer objects.
    pub devices: usize,
    /// Group objects.
    pub groups: usize,
}

/// A directory service or an identity producer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SourceStatus {
    /// Configured name.
    pub name: String,
    /// `directory`, `event-source`, `syslog`, `firewall-push` or `pc-probe`.
    pub kind: String,
    /// `starting`, `active`, `quiet`, `degraded` or `down`.
    pub state: String,
    /// What it is doing, for people.
    pub detail: String,
    /// Records received.
    pub received: u64,
    /// Records that became events.
    pub interpreted: u64,
    /// Records that mean nothing, by reason.
    pub ignored: BTreeMap<String, u64>,
    /// Records lost, by reason.
    pub dropped: BTreeMap<String, u64>,
    /// Records a second, over the last minute.
    #[serde(default)]
    pub per_second: f64,
    /// What else it knows about itself. An event source: `host`, `authentication`, `delivery`, `record` (number of the last
    /// one), `record_time`, `lag_ms` (of the last one), `skew_ms` (its clock ahead of ours). The PC probe: `unconfirmed`
    /// sessions, probes `running` and `waiting`, `oldest_waiting_ms`, what came of the last five minutes (`answered_5m`,
    /// `refused_5m`, `unreachable_5m`), `silent_networks`, `suspended_credentials`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub facts: BTreeMap<String, serde_json::Value>,
    /// When the last record arrived.
    pub last_received: Option<Timestamp>,
    /// What is wrong.
    pub fault: Option<FaultStatus>,
}

/// What came of trying one target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probed {
    /// As it was asked for.
    pub target: String,
    /// `event-source`, `directory` or `pc`.
    pub kind: String,
    /// Whether everything that is needed works; of a computer whether it told who is signed on.
    pub ok: bool,
    /// What a computer answered: `same-user`, `other-user`, `nobody`, `refused` or `unreachable`. Null if users are signed
    /// on and no service runs that could say whether they are the right ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
    /// Who is signed on there, as the computer names them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<String>,
    /// Step by step.
    pub steps: Vec<ProbedStep>,
}

/// One step of trying a target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbedStep {
    /// What was tried.
    pub name: String,
    /// Whether it may go on like this.
    pub ok: bool,
    /// How long it took, in milliseconds.
    pub ms: u64,
    /// What was seen.
    pub detail: String,
    /// What to do; empty: nothing.
    pub remedy: String,
}

/// What is wrong with a source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultStatus {
    /// One sentence.
    pub message: String,
    /// What to try.
    pub remedy: String,
    /// Since when.
    pub since: Timestamp,
}

/// The HTTPS side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerStatus {
    /// Where it listens.
    pub listen: Vec<String>,
    /// SHA-256 of the certificate, hexadecimal.
    pub fingerprint: String,
    /// Whether the certificate is a self-signed one that `jims` made.
    pub self_signed: bool,
    /// Where the validator listens.
    #[serde(default)]
    pub validator: Vec<String>,
    /// Where plain HTTP is spoken.
    pub debug_http: Vec<String>,
    /// Whether Collectors may push to it: `[ingest]`.
    #[serde(default)]
    pub ingest: bool,
    /// Where Collectors find it, as far as its configuration tells.
    #[serde(default)]
    pub url: String,
    /// Requests kept that were not understood; `jims status --requests` shows them.
    #[serde(default)]
    pub not_understood: usize,
}

/// An address that asked or sent without being configured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StrangerStatus {
    /// Its address.
    pub address: IpAddr,
    /// `syslog`, `query` or `push`.
    pub tried: String,
    /// How often.
    pub count: u64,
    /// When last.
    pub last: Timestamp,
    /// What to put into the configuration if it should be heard.
    pub paste: String,
}

/// Something that an operator should act on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attention {
    /// What is not as it should be: one sentence.
    pub what: String,
    /// What to try; may hold several lines.
    pub remedy: String,
    /// Since when, if that is known.
    pub since: Option<Timestamp>,
}

/// What a log-off ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogOff {
    /// What was asked.
    pub who: String,
    /// The sessions that ended; empty if there was none.
    pub ended: Vec<Ended>,
}

/// One session that ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// Where.
    pub address: IpAddr,
    /// The user who had it.
    pub user: Option<String>,
    /// The device that had it.
    pub device: Option<String>,
    /// DNS domain.
    pub domain: String,
}

/// One line of the tail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "tail", rename_all = "kebab-case")]
pub enum Tail {
    /// What became of an event or a deadline.
    Outcome {
        /// When it happened.
        occurred_at: Timestamp,
        /// Who said so.
        producer: String,
        /// Which record.
        record: String,
        /// The address, if one is known.
        address: Option<IpAddr>,
        /// Whom it is about.
        subject: String,
        /// `logged-on`, `renewed`, `logged-off` or `ignored`.
        verdict: String,
        /// Why, or who was displaced; may be empty.
        detail: String,
    },
    /// A syslog line that nobody could read, escaped.
    Unparsed {
        /// When it arrived.
        received_at: Timestamp,
        /// The syslog source.
        source: String,
        /// The line.
        line: String,
        /// Why.
        reason: String,
    },
    /// A firewall's request that was not understood.
    Request {
        /// What was kept of it.
        request: KeptRequest,
    },
    /// Lines were left out because the client reads too slowly.
    Skipped {
        /// How many pieces of the stream, each of one or more lines.
        count: u64,
    },
}

/// The instant as the protocol writes it.
#[must_use]
pub fn timestamp(at: UtcMillis) -> Timestamp {
    let limit = if at.0 < 0 {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    };
    Timestamp::from_millisecond(at.0).unwrap_or(limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_look_as_documented() {
        let written = |request: &Request| serde_json::to_string(request).expect("json");
        assert_eq!(written(&Request::Status), r#"{"request":"status"}"#);
        assert_eq!(
            written(&Request::LogOff {
                who: "CORP\\alice".into()
            }),
            r#"{"request":"log-off","who":"CORP\\alice"}"#
        );
        let query: Request =
            serde_json::from_str(r#"{"request":"query","who":"alice","for":"srx","later":1}"#)
                .expect("unknown fields are ignored");
        assert_eq!(
            query,
            Request::Query {
                who: "alice".into(),
                point: Some("srx".into()),
                explain: false,
            }
        );
    }

    #[test]
    fn times_are_utc_and_never_fail() {
        let written = |ms| timestamp(UtcMillis(ms)).to_string();
        assert_eq!(written(1_732_357_800_250), "2024-11-23T10:30:00.25Z");
        assert_eq!(timestamp(UtcMillis(i64::MAX)), Timestamp::MAX);
        assert_eq!(timestamp(UtcMillis(i64::MIN)), Timestamp::MIN);
    }
}
