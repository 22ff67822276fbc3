//! What a question about somebody or something brings, as it crosses the control socket.
//!
//! Part of [`super::protocol`], where the rules for these types stand; nothing here decides anything.

use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::explained::Explained;

/// What is known of somebody or something.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Query {
    /// What was asked.
    pub who: String,
    /// When this was written.
    pub at: Timestamp,
    /// One entry an address, sorted.
    pub sessions: Vec<Session>,
    /// Users of that name, with or without a session.
    pub users: Vec<KnownUser>,
    /// Devices of that name, with or without a session.
    pub devices: Vec<KnownDevice>,
    /// The last user session that ended at each address, the latest first; empty unless asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ended: Vec<PastSession>,
    /// Why each address is as it is; empty unless asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub explained: Vec<Explained>,
    /// Why nothing is known of whom was asked for, where that can be said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remark: Option<String>,
    /// Whether lists were cut at [`MAX_LISTED`](super::protocol::MAX_LISTED).
    pub truncated: bool,
    /// What the enforcement point would be told; null unless asked for.
    #[serde(rename = "for")]
    pub point: Option<PointView>,
}

/// A session that has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastSession {
    /// Where.
    pub address: IpAddr,
    /// Whose, with the domain.
    pub user: String,
    /// When it ended.
    pub at: Timestamp,
    /// Why: `logoff`, `expired`, `displaced`, `directory`, `operator`, `filter`, `probe-nobody`, `probe-refused`,
    /// `probe-unreachable`, `probe-other-user` or `unconfirmed`.
    pub reason: String,
    /// Who or what said so.
    pub by: String,
}

/// What is believed of one address. The times and the evidence are the user's; of an address without a user, the
/// device's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// The address.
    pub address: IpAddr,
    /// The user's logon name; null if only a device is known.
    pub user: Option<String>,
    /// DNS domain of the user, else of the device.
    pub domain: String,
    /// The device's name, if one is known.
    pub device: Option<String>,
    /// The user's groups, transitively; of an address without a user, the device's.
    pub groups: Vec<String>,
    /// When the session began.
    pub since: Timestamp,
    /// The evidence that holds it.
    pub last_evidence: Evidence,
    /// When it ends without new evidence.
    pub deadline: Timestamp,
    /// `active`; `shared` if several users share the address, so that firewalls are told the device only; `unconfirmed`
    /// if it is in doubt: its logoff time is over and a PC probe is to decide, or its source is down, or its Collector is
    /// not heard.
    pub state: String,
    /// Why it is unconfirmed, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doubt: Option<String>,
    /// What happens when its deadline comes, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub then: String,
    /// Other addresses of the same device: the other family of a dual-stack host, a dock, Wi-Fi.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also_at: Vec<IpAddr>,
    /// `in-directory`, `not-in-directory` or `gone`; null without a user.
    pub standing: Option<String>,
    /// The device's own session, where there is one.
    pub device_session: Option<DeviceSession>,
}

/// A device's session at an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceSession {
    /// DNS domain.
    pub domain: String,
    /// Its groups, transitively.
    pub groups: Vec<String>,
    /// Operating system.
    pub os: Option<String>,
    /// Version of the operating system.
    pub os_version: Option<String>,
    /// When it began.
    pub since: Timestamp,
    /// The evidence that holds it.
    pub last_evidence: Evidence,
    /// When it ends without new evidence.
    pub deadline: Timestamp,
}

/// Why something is believed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// Which producer said so.
    pub producer: String,
    /// Which of its records.
    pub record: String,
    /// `strong` or `weak`.
    pub strength: String,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// When we heard.
    pub received_at: Timestamp,
}

/// A user, with or without a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownUser {
    /// Logon name.
    pub user: String,
    /// DNS domain.
    pub domain: String,
    /// Groups, transitively.
    pub groups: Vec<String>,
    /// `in-directory`, `not-in-directory` or `gone`.
    pub standing: String,
    /// Where he has a session.
    pub addresses: Vec<IpAddr>,
}

/// A device, with or without a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownDevice {
    /// Name.
    pub device: String,
    /// DNS domain.
    pub domain: String,
    /// Groups, transitively.
    pub groups: Vec<String>,
    /// Operating system.
    pub os: Option<String>,
    /// Version of the operating system.
    pub os_version: Option<String>,
    /// Where it has a session.
    pub addresses: Vec<IpAddr>,
}

/// What an enforcement point would be told of the addresses in a [`Query`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PointView {
    /// The enforcement point.
    pub name: String,
    /// Its `report_entries`, as the wire has them.
    pub report_entries: Vec<serde_json::Value>,
    /// Of one that is pushed to, the document of the Web API (`userfw-entries`) that tells it of the addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<String>,
}
