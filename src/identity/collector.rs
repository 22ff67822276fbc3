//! What other Collectors tell the table, and what this one tells others: everything known of an address at once.
//!
//! A Collector's facts about an address lie in the same slots as this process's own and are folded with them, so that
//! conflicts between Collectors are decided by the one table of `conflict.rs`. Each report replaces what the same
//! Collector said of the address before. Producers of a Collector are named `COLLECTOR/PRODUCER`.

use std::net::IpAddr;
use std::sync::Arc;

use compact_str::CompactString;

use super::directory::{DirectoryObject, DomainFacts, ObjectId};
use super::event::Bookmark;
use super::name::Name;
use super::time::UtcMillis;

pub use super::conflict::FactKind;

/// The name of an onboarded Collector; without `/`.
pub type CollectorName = Arc<str>;

/// What a Collector says of addresses; the bookmark moves with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectorBatch {
    /// Who says so.
    pub collector: CollectorName,
    /// What it says.
    pub reports: Vec<AddressReport>,
    /// Where it stands after them.
    pub bookmark: Option<Bookmark>,
}

/// Everything that one Collector knows of an address; both empty: nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressReport {
    /// The address.
    pub address: IpAddr,
    /// Facts about users, oldest first; at most [`MAX_TOLD`].
    pub user: Vec<ToldFact>,
    /// Facts about devices, oldest first; at most [`MAX_TOLD`].
    pub device: Vec<ToldFact>,
}

/// Most facts of one slot in a report; the oldest beyond are not taken.
pub const MAX_TOLD: usize = 16;

/// One fact about who is or was at an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToldFact {
    /// What it says.
    pub kind: FactKind,
    /// When it happened.
    pub at: UtcMillis,
    /// When it was heard.
    pub received_at: UtcMillis,
    /// Whom it speaks of; `None` only for [`FactKind::AllLeft`] and [`FactKind::Closed`].
    pub subject: Option<ToldSubject>,
    /// The Collector's identity producer, without the Collector's name.
    pub producer: CompactString,
    /// Which record of it; at most 128 bytes.
    pub record: CompactString,
    /// Groups that the source asserts, and when it did.
    pub groups: Option<(UtcMillis, Vec<Name>)>,
}

/// Whom a fact speaks of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToldSubject {
    /// Logon name, or a device's first label.
    pub name: Name,
    /// DNS domain, or a qualifier that nobody knew.
    pub domain: Name,
    /// `name@domain` is a user principal name that no directory has resolved.
    pub by_upn: bool,
}

/// One key of the feed in its latest state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FeedItem<'a> {
    /// Everything that this process's own producers know of an address.
    Address(AddressReport),
    /// What a directory tells of its domain.
    Domain {
        /// The directory's configured name, in lower case.
        directory: &'a str,
        /// DNS name.
        domain: &'a str,
        /// What it tells.
        facts: &'a DomainFacts,
    },
    /// An object of a directory.
    Object {
        /// The directory's configured name, in lower case.
        directory: &'a str,
        /// DNS name.
        domain: &'a str,
        /// The object.
        is: &'a DirectoryObject,
    },
    /// An object that its directory has no more.
    Gone {
        /// The directory's configured name, in lower case.
        directory: &'a str,
        /// DNS name.
        domain: &'a str,
        /// Which object.
        id: ObjectId,
    },
}
