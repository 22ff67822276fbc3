//! Pages of long lists as they cross the control socket: sessions, users, devices, groups.
//!
//! Part of [`super::protocol`], where the rules for these types stand. A page is found anew each time from where the last
//! one ended, so that a million rows are never copied and nothing is kept for a client.

use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The most rows of one page.
pub const MAX_ROWS: usize = 500;

/// The longest filter in bytes.
pub const MAX_FILTER_BYTES: usize = 256;

/// Which page is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Browse {
    /// Words that must all occur, without case, in an address, a name, a domain or the producer of the evidence.
    /// `user:`, `device:`, `domain:`, `group:`, `from:` (producer) and `state:` before a word look only there, with `^` for
    /// its beginning and `=` for the whole of it, as in `user:=ada`; of `group:` the whole is always meant. Empty: everything.
    #[serde(default)]
    pub filter: String,
    /// In which order.
    #[serde(default)]
    pub sort: Sort,
    /// The other way round.
    #[serde(default)]
    pub reverse: bool,
    /// Which part of the list.
    #[serde(default)]
    pub from: From,
    /// How many rows, 1 to [`MAX_ROWS`].
    #[serde(default)]
    pub rows: usize,
}

/// The order of a list; equal ones follow by address or name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sort {
    /// Sessions: what changed last, the latest first. Names: by name.
    #[default]
    Usual,
    /// By address. Of names as [`Sort::Usual`].
    Address,
    /// By the user's name, then domain; addresses without a user last.
    User,
    /// By the device's name, then domain; addresses without a device last.
    Device,
    /// By when the session began, the latest first.
    Since,
    /// By when it ends without new evidence, the next first.
    Deadline,
    /// Names: by number of sessions, the most first. Of sessions as [`Sort::Usual`].
    Sessions,
}

/// Where a page begins or ends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum From {
    /// The first rows.
    #[default]
    Start,
    /// The last rows.
    End,
    /// The rows after a place: [`Page::last`].
    After(String),
    /// The rows before a place: [`Page::first`].
    Before(String),
    /// The rows from a place on, that one among them.
    At(String),
}

/// A page of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page<Row> {
    /// The rows, in order.
    pub rows: Vec<Row>,
    /// How many rows the whole list has.
    pub total: u64,
    /// How many of them come before this page.
    pub before: u64,
    /// Place of the first row; empty without rows.
    pub first: String,
    /// Place of the last row; empty without rows.
    pub last: String,
    /// How long it took to find them, in milliseconds: who asks again and again should wait many times as long between.
    pub took_ms: u64,
}

/// A page of sessions, one row an address.
pub type SessionsPage = Page<SessionRow>;

/// A page of users, devices or groups.
pub type NamesPage = Page<NameRow>;

/// What a list shows of one address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionRow {
    /// The address.
    pub address: IpAddr,
    /// The user's logon name; null if only a device is known.
    pub user: Option<String>,
    /// DNS domain of the user, else of the device.
    pub domain: String,
    /// The device's name.
    pub device: Option<String>,
    /// When the session began.
    pub since: Timestamp,
    /// Who said so last.
    pub producer: String,
    /// When that happened.
    pub seen: Timestamp,
    /// When it ends without new evidence.
    pub deadline: Timestamp,
    /// `active`, `shared` or `unconfirmed`, as in [`Session`](super::protocol::Session).
    pub state: String,
}

/// What kind of names a list holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NameKind {
    /// Users, of directories and with a session.
    Users,
    /// Devices, of directories and with a session.
    Devices,
    /// Groups of directories.
    Groups,
}

/// What a list shows of a user, device or group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameRow {
    /// As the directory writes it, else in lower case.
    pub name: String,
    /// DNS domain.
    pub domain: String,
    /// `in-directory`, `not-in-directory` or `gone`.
    pub standing: String,
    /// Where it has a session, the first [`NameRow::MAX_ADDRESSES`]; of a group none.
    pub addresses: Vec<IpAddr>,
    /// Sessions; of a group those of its members, transitively.
    pub sessions: u64,
    /// Groups that it is a member of, transitively; of a group its direct members.
    pub groups: u64,
}

impl NameRow {
    /// The most addresses of one row.
    pub const MAX_ADDRESSES: usize = 4;
}
