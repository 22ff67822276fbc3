//! The core's doors: what the one writer calls, and what readers ask.

use std::net::IpAddr;

use super::directory::DirectoryBatch;
use super::event::{Bookmark, IdentityEvent};
use super::name::Name;
use super::outcome::Outcome;
use super::policy::Policy;
use super::time::UtcMillis;
use super::view::{AddressView, DeviceView, Epoch, Seq, Totals, UserView};

/// The table, its journal and its deadlines.
#[derive(Debug)]
pub struct Core {
    epoch: Epoch,
    policy: Policy,
}

/// What the writer applies in one step.
#[derive(Clone, Debug)]
pub enum Batch {
    /// Evidence of one producer, in its order; the bookmark moves with it.
    Events {
        /// The events.
        events: Vec<IdentityEvent>,
        /// Where the producer stands after them.
        bookmark: Option<Bookmark>,
    },
    /// A step of reading a directory.
    Directory(DirectoryBatch),
    /// The operator ends sessions: of a user anywhere, or whatever is at an address.
    LogOff(LogOffTarget),
}

/// Whose sessions the operator ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogOffTarget {
    /// User and device sessions at the address.
    Address(IpAddr),
    /// The user's sessions at every address. The qualifier may be any name of the domain; without one, the user of
    /// every domain.
    User {
        /// Logon name.
        name: Name,
        /// Domain, in any of its names.
        domain: Option<Name>,
    },
}

/// What applying a batch did, for its author.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Events that began, renewed or ended a session; objects that changed; sessions ended by the operator.
    pub applied: usize,
    /// Events that changed nothing.
    pub ignored: usize,
    /// A directory poll would have removed too much (rules 14): a full read must say the same first.
    pub full_read_wanted: bool,
}

/// Why the core wants to be called at an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// A session's logoff time.
    Deadline,
    /// A tombstone's end.
    Tombstone,
}

impl Core {
    /// An empty table.
    #[must_use]
    pub fn new(epoch: Epoch, policy: Policy) -> Self {
        Self { epoch, policy }
    }

    /// Applies a batch; one outcome an event is appended to `outcomes`.
    pub fn apply(&mut self, batch: Batch, now: UtcMillis, outcomes: &mut Vec<Outcome>) -> Applied {
        let _ = (batch, now, outcomes);
        Applied::default()
    }

    /// Ends what is due, at most `limit` sessions and tombstones; returns whether more is due.
    pub fn advance(&mut self, now: UtcMillis, limit: usize, outcomes: &mut Vec<Outcome>) -> bool {
        let _ = (now, limit, outcomes);
        false
    }

    /// When [`Core::advance`] should be called next, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(UtcMillis, Wake)> {
        None
    }

    /// Replaces the policy; new filters act on the whole table at once (rules 24).
    pub fn set_policy(&mut self, policy: Policy, now: UtcMillis, outcomes: &mut Vec<Outcome>) {
        let _ = (now, outcomes);
        self.policy = policy;
    }

    /// The life of this journal.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The sequence of the last change.
    #[must_use]
    pub fn last_seq(&self) -> Seq {
        Seq(0)
    }

    /// Cursors below this have missed something and must start at 0 (rules 16).
    #[must_use]
    pub fn floor(&self) -> Seq {
        Seq(0)
    }

    /// A cursor such that everything changed here at or after the instant lies behind it; 0 if that is not known.
    #[must_use]
    pub fn cursor_at(&self, instant: UtcMillis) -> Seq {
        let _ = instant;
        Seq(0)
    }

    /// Addresses changed after the cursor, in order of last change, with the sequence of that change.
    pub fn addresses_since(&self, cursor: Seq) -> impl Iterator<Item = (Seq, IpAddr)> + '_ {
        let _ = cursor;
        std::iter::empty()
    }

    /// What is known of an address; `None` if there is neither session nor tombstone.
    #[must_use]
    pub fn address(&self, address: IpAddr) -> Option<AddressView<'_>> {
        let _ = address;
        None
    }

    /// A user by any name of his domain, or his UPN as `name` without domain; known from the directory or a session.
    #[must_use]
    pub fn user(&self, name: &str, domain: Option<&str>) -> Option<UserView<'_>> {
        let _ = (name, domain);
        None
    }

    /// Every user of that name, whatever his domain.
    #[must_use]
    pub fn users_named(&self, name: &str) -> Vec<UserView<'_>> {
        let _ = name;
        Vec::new()
    }

    /// Addresses where the user (name and DNS domain as in [`UserView`]) has a session, sorted.
    #[must_use]
    pub fn addresses_of_user(&self, name: &str, domain: &str) -> Vec<IpAddr> {
        let _ = (name, domain);
        Vec::new()
    }

    /// A device by name (first label) and any name of its domain; without domain, every device of that name.
    #[must_use]
    pub fn devices_named(&self, name: &str, domain: Option<&str>) -> Vec<DeviceView<'_>> {
        let _ = (name, domain);
        Vec::new()
    }

    /// Addresses where the device has a session, sorted.
    #[must_use]
    pub fn addresses_of_device(&self, name: &str, domain: &str) -> Vec<IpAddr> {
        let _ = (name, domain);
        Vec::new()
    }

    /// The DNS name of a domain, given any of its names.
    #[must_use]
    pub fn domain(&self, any_name: &str) -> Option<&str> {
        let _ = any_name;
        None
    }

    /// Counts.
    #[must_use]
    pub fn totals(&self) -> Totals {
        Totals::default()
    }

    /// The position stored under a bookmark's key.
    #[must_use]
    pub fn bookmark(&self, key: &str) -> Option<&[u8]> {
        let _ = key;
        None
    }

    /// The policy in force.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }
}
