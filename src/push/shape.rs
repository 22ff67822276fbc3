//! What Collectors and Servers say to each other: JSON over HTTPS, version 1. This is the protocol's documentation.
//!
//! ```text
//! Collector                                              Server
//! POST /collector/v1/onboard   Onboard        ──────▶    Onboarded | Refused        once
//! POST /oauth_token/oauth      client id, secret ────▶   access token               as a firewall does
//! POST /collector/v1/push      Push           ──────▶    Accepted (200) | Accepted (409) | Refused
//! ```
//!
//! Bodies are `application/json`, a push's body `Content-Encoding: gzip` (RFC 1952). HTTP/2 where both can, HTTP/1.1 else.
//! Unknown fields are ignored; another `protocol` is refused with [`Refused`], whose `minimum` says what the Server takes.
//! Times are UTC milliseconds since 1970. All bounds are below; a Server refuses what is over them with 400 or 413.
//!
//! # How nothing is lost or repeated
//!
//! A Collector keeps an order of keys (address, directory object, domain), each at the position of its last change, and
//! pushes every key after the Server's position once, in its latest state. The position lives *in the Server's table*: it
//! moves only with what it stands for, and is what the Server's snapshot says after a crash. A push whose `after` or
//! `epoch` is not what the Server holds is answered with 409 and [`Accepted`]; the Collector goes on from there, and from
//! the beginning where that is `None` or behind what it has forgotten.
//!
//! A pass from the beginning (`begins`) is mark and sweep: when it is complete (`more` is false for the first time), what
//! this Collector said before and did not repeat is gone. Until then the Server's position is not kept over its restart.
//!
//! An empty `changes` is a heartbeat, sent at least every [`HEARTBEAT`]. After [`SILENT_AFTER`] without any push a
//! Collector is *disconnected*.
//!
//! Only what a Collector heard itself is pushed, never what other Collectors pushed to it: there are no circles.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// This protocol.
pub const PROTOCOL: u32 = 1;
/// The oldest protocol that a Server of this version takes.
pub const MINIMUM_PROTOCOL: u32 = 1;

/// Where a Collector is onboarded.
pub const ONBOARD_PATH: &str = "/collector/v1/onboard";
/// Where it pushes.
pub const PUSH_PATH: &str = "/collector/v1/push";
/// Where it gets its token, as a firewall does.
pub const TOKEN_PATH: &str = "/oauth_token/oauth";

/// At least so often something is pushed.
pub const HEARTBEAT: Duration = Duration::from_secs(30);
/// A Collector that was not heard for so long is disconnected.
pub const SILENT_AFTER: Duration = Duration::from_secs(90);

/// Most changes in one push.
pub const MAX_CHANGES: usize = 4096;
/// A push is cut once its JSON is over this many bytes; a single large group may go beyond.
pub const CUT_BYTES: usize = 2 << 20;
/// Largest push, compressed, in bytes.
pub const MAX_PUSH_BYTES: usize = 16 << 20;
/// Largest push as JSON, in bytes.
pub const MAX_JSON_BYTES: usize = 64 << 20;
/// Most facts of one slot of an address.
pub const MAX_FACTS: usize = 16;
/// Most groups that one fact asserts.
pub const MAX_GROUPS: usize = 1024;
/// Most UPN suffixes of a domain.
pub const MAX_SUFFIXES: usize = 256;
/// Most directories of one Collector.
pub const MAX_DIRECTORIES: usize = 64;
/// Longest name of a Collector's directory, in bytes; of users, groups, domains and producers it is 256.
pub const MAX_DIRECTORY_NAME: usize = 190;
/// Longest epoch, of the characters `A-Z a-z 0-9 . _ -`.
pub const MAX_EPOCH: usize = 64;

/// A Collector introduces itself, with an invitation.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Onboard {
    /// [`PROTOCOL`].
    pub protocol: u32,
    /// The secret half of the invitation's code: 128 bits in lower-case hexadecimal.
    pub invitation: String,
    /// The client id that the Collector made for itself.
    pub client_id: String,
    /// The secret that it made for itself; the Server keeps a hash.
    pub client_secret: String,
    /// Who it is.
    pub collector: Introduction,
    /// The Collector's clock.
    pub sent_at: i64,
}

impl fmt::Debug for Onboard {
    /// Without what is secret in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Onboard")
            .field("protocol", &self.protocol)
            .field("client_id", &self.client_id)
            .field("collector", &self.collector)
            .finish_non_exhaustive()
    }
}

/// Who a Collector is. For people: a Server cuts what is longer than 256 bytes, and replaces control characters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Introduction {
    /// `collector.name` of its configuration.
    pub name: String,
    /// Version of its `jims`.
    pub version: String,
    /// What its operator says it is; may be empty.
    #[serde(default)]
    pub description: String,
}

/// The Server took the Collector; the same registration is answered alike until the invitation expires.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Onboarded {
    /// [`PROTOCOL`].
    pub protocol: u32,
    /// What the Server calls this Collector: the invitation's name.
    pub collector: String,
    /// `collector.name` of the Server's configuration.
    pub server: String,
    /// Version of the Server's `jims`.
    pub version: String,
    /// The Server's clock.
    pub now: i64,
}

/// Why a Server does not take something: status 400, 403, 409 or 413.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// The reason, for machines.
    pub error: Reason,
    /// One sentence for people.
    pub error_description: String,
    /// With [`Reason::Protocol`]: the oldest protocol taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum: Option<u32>,
    /// The Server's clock.
    #[serde(default)]
    pub now: i64,
}

/// Why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The protocol is too old, or of the future.
    Protocol,
    /// No invitation has this code.
    UnknownInvitation,
    /// The invitation's time is over.
    ExpiredInvitation,
    /// Another Collector was onboarded with it.
    UsedInvitation,
    /// The operator took it back.
    RevokedInvitation,
    /// The client id is somebody else's.
    ClientIdTaken,
    /// The operator disabled this Collector.
    Disabled,
    /// It is not what this protocol says.
    InvalidRequest,
    /// The Server is not ready, or its queue is full; with `Retry-After`.
    Busy,
    /// A reason that this version does not know.
    #[serde(other)]
    Other,
}

/// What changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Push {
    /// [`PROTOCOL`].
    pub protocol: u32,
    /// Who pushes.
    pub collector: Introduction,
    /// The life of the Collector's order, opaque: positions of different epochs cannot be compared.
    pub epoch: String,
    /// A pass from the beginning begins with this push; `after` is 0.
    #[serde(default)]
    pub begins: bool,
    /// The position before these changes.
    pub after: u64,
    /// The position after them.
    pub position: u64,
    /// Whether there is more to push at once; a pass from the beginning is complete when there is not.
    pub more: bool,
    /// How many positions lie behind this push.
    pub behind: u64,
    /// The Collector's clock.
    pub sent_at: i64,
    /// When the Collector's process started.
    pub started: i64,
    /// What needs its operator, counted; 0: all is well.
    pub attention: u32,
    /// What it holds itself.
    pub totals: Totals,
    /// The changes, in order; at most [`MAX_CHANGES`].
    #[serde(default, deserialize_with = "at_most")]
    pub changes: Vec<Change>,
}

/// Reads no more changes than there may be, for a body within its bound could hold hundreds of times as many.
fn at_most<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Change>, D::Error> {
    struct Changes;
    impl<'de> Visitor<'de> for Changes {
        type Value = Vec<Change>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "at most {MAX_CHANGES} changes")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Self::Value, A::Error> {
            let mut changes = Vec::new();
            while let Some(change) = from.next_element()? {
                if changes.len() == MAX_CHANGES {
                    return Err(A::Error::invalid_length(MAX_CHANGES + 1, &self));
                }
                changes.push(change);
            }
            Ok(changes)
        }
    }
    from.deserialize_seq(Changes)
}

/// Numbers of each kind: what a Collector holds, and how many changes were pushed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Domains.
    pub domains: u64,
    /// Users: of what it holds, those with a session now.
    pub users: u64,
    /// Devices: of what it holds, those with a session now.
    pub devices: u64,
    /// Groups.
    pub groups: u64,
    /// Sessions.
    pub sessions: u64,
}

impl Totals {
    /// Counts a change by its kind; an object that is gone is of none.
    pub(super) fn count(&mut self, change: &Change) {
        let place = match change {
            Change::Address(_) => &mut self.sessions,
            Change::Domain(_) => &mut self.domains,
            Change::Gone(_) => return,
            Change::Object(object) => match object.kind {
                ObjectKind::User { .. } => &mut self.users,
                ObjectKind::Device { .. } => &mut self.devices,
                ObjectKind::Group { .. } => &mut self.groups,
            },
        };
        *place += 1;
    }

    /// Adds what another push counted.
    pub(super) fn add(&mut self, more: &Self) {
        self.domains += more.domains;
        self.users += more.users;
        self.devices += more.devices;
        self.groups += more.groups;
        self.sessions += more.sessions;
    }
}

/// Where the Server stands in this Collector's order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// The epoch and position that it holds; `None`: nothing, so that a pass from the beginning is wanted.
    pub accepted: Option<Position>,
    /// The Server's clock.
    pub now: i64,
}

/// A position in a Collector's order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The epoch.
    pub epoch: String,
    /// Everything up to here is in the Server's table.
    pub position: u64,
}

/// One key in its latest state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum Change {
    /// An address.
    Address(Address),
    /// A domain, as a directory tells of it.
    Domain(Domain),
    /// A user, device or group of a directory.
    Object(Object),
    /// An object that its directory has no more.
    Gone(Gone),
}

/// Everything that the Collector knows of an address; what it said of it before counts no more. Both empty: nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// The address.
    #[serde(rename = "ip")]
    pub address: IpAddr,
    /// Facts about users there, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub user: Vec<Fact>,
    /// Facts about devices there, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub device: Vec<Fact>,
}

/// One fact about who is or was at an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    /// What it says.
    #[serde(rename = "is")]
    pub kind: FactKind,
    /// When it happened.
    pub at: i64,
    /// When the Collector heard of it.
    pub heard: i64,
    /// Whom it speaks of; absent only where it speaks of whoever is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The DNS domain of `name`, or the qualifier that the Collector could not resolve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// `name@domain` is a user principal name that the Collector's directory does not know.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub upn: bool,
    /// The Collector's identity producer.
    pub producer: String,
    /// Which record of it; for people, cut at 128 bytes.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub record: String,
    /// Groups that the source asserts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// When it asserted them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups_at: Option<i64>,
}

/// What a fact says; the conflict rule decides what follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FactKind {
    /// Seen by evidence that displaces all.
    Strong,
    /// Seen by evidence that displaces only weak evidence.
    Weak,
    /// Seen without a new logon.
    Seen,
    /// Its machine was seen here.
    Carried,
    /// It left.
    Left,
    /// Whoever is here left.
    AllLeft,
    /// Its session ended by the clock.
    Expired,
    /// The Collector ended whoever is here.
    Closed,
}

/// A domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Domain {
    /// The Collector's directory; in one push it tells of one domain.
    pub directory: String,
    /// DNS name.
    pub domain: String,
    /// NetBIOS name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub netbios: Option<String>,
    /// UPN suffixes beside the DNS name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub upn_suffixes: Vec<String>,
}

/// An object of a directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Object {
    /// The Collector's directory.
    pub directory: String,
    /// DNS name of its domain.
    pub domain: String,
    /// Identity across renames: 16 bytes in hexadecimal (objectGUID).
    pub id: String,
    /// `objectSid`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sid: Option<String>,
    /// `sAMAccountName`; of a computer without the trailing `$`.
    pub name: String,
    /// SID of the primary group; users and devices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary_group: Option<String>,
    /// What it is.
    #[serde(flatten)]
    pub kind: ObjectKind,
}

/// What an object is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum ObjectKind {
    /// A person or service account.
    User {
        /// `userPrincipalName`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        upn: Option<String>,
        /// Not disabled.
        enabled: bool,
    },
    /// A computer account.
    Device {
        /// `dNSHostName`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        dns_name: Option<String>,
        /// `operatingSystem`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        os: Option<String>,
        /// `operatingSystemVersion`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        os_version: Option<String>,
    },
    /// A group.
    Group {
        /// Direct members, all of them: identities as [`Object::id`].
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        members: Vec<String>,
    },
}

/// An object that is no more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gone {
    /// The Collector's directory.
    pub directory: String,
    /// DNS name of its domain.
    pub domain: String,
    /// As [`Object::id`].
    pub id: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_collector_shows_once_is_in_no_log() {
        let onboard = Onboard {
            protocol: PROTOCOL,
            invitation: "s3cret-of-the-code".into(),
            client_id: "collector-1".into(),
            client_secret: "s3cret-of-its-own".into(),
            collector: Introduction {
                name: "site-7".into(),
                version: "1".into(),
                description: String::new(),
            },
            sent_at: 0,
        };
        let shown = format!("{onboard:?}");
        assert!(
            shown.contains("collector-1") && !shown.contains("s3cret"),
            "{shown}"
        );
    }
}
