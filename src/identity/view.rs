//! What readers see of the table: borrowed views, rendered elsewhere.
//!
//! A view is valid while the reader holds the table; outputs turn it into their own shapes at once.

use std::net::IpAddr;

use compact_str::CompactString;

use super::event::{ProducerName, Strength};
use super::group_names::GroupNames;
use super::outcome::EndReason;
use super::time::UtcMillis;

/// Position in the journal; 0 is before everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Seq(pub u64);

/// A life of the journal: positions of different epochs cannot be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Epoch(pub u64);

/// What the table holds for one address.
#[derive(Clone, Debug)]
pub struct AddressView<'a> {
    /// The address.
    pub address: IpAddr,
    /// Last change of what would be reported for it.
    pub changed: Seq,
    /// Whether several users share it; then `user` is never reported.
    pub shared: bool,
    /// The user's session.
    pub user: Option<UserSession<'a>>,
    /// The device's session.
    pub device: Option<DeviceSession<'a>>,
    /// When the last reported user went, if none is reported now. It stays as long as the address is kept: a firewall
    /// at whatever cursor may hold that user still, and a change of the device moves the address in the journal past
    /// the change that ended him. So a `logout` goes before any device-only `login` of this address (rule 17).
    pub user_ended_at: Option<UtcMillis>,
    /// The last user session that ended here.
    pub last_ended: Option<&'a LastEnded>,
}

/// A user session that ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastEnded {
    /// `domain\user`, as shown.
    pub user: CompactString,
    /// When, by our clock.
    pub at: UtcMillis,
    /// Why; `None`: somebody else was seen at the address.
    pub reason: Option<EndReason>,
    /// Which producer or part of `jims` said so, and its record.
    pub by: CompactString,
}

impl LastEnded {
    /// The word for why, for JSON and screens.
    #[must_use]
    pub fn word(&self) -> &'static str {
        self.reason.map_or("displaced", EndReason::as_str)
    }
}

/// A user's session.
#[derive(Clone, Debug)]
pub struct UserSession<'a> {
    /// The user.
    pub user: UserView<'a>,
    /// When the session began.
    pub since: UtcMillis,
    /// The evidence that holds it.
    pub evidence: EvidenceView<'a>,
    /// When it ends without new evidence; of a session that a Collector holds, if it fell silent now.
    pub deadline: UtcMillis,
    /// Since when its logoff time is over and its computer is to be asked.
    pub doubted_since: Option<UtcMillis>,
}

/// A device's session.
#[derive(Clone, Debug)]
pub struct DeviceSession<'a> {
    /// The device.
    pub device: DeviceView<'a>,
    /// When the session began.
    pub since: UtcMillis,
    /// The evidence that holds it.
    pub evidence: EvidenceView<'a>,
    /// When it ends without new evidence; of a session that a Collector holds, if it fell silent now.
    pub deadline: UtcMillis,
}

/// A user, with or without a session.
#[derive(Clone, Debug)]
pub struct UserView<'a> {
    /// As the directory writes it, else in lower case.
    pub name: &'a str,
    /// DNS domain.
    pub domain: &'a str,
    /// `sAMAccountName`s of his groups, transitively, sorted; foreign ones as `domain\group` (rule 13).
    pub roles: GroupNames<'a>,
    /// What the directory says of him.
    pub standing: Standing,
}

/// A device, with or without a session.
#[derive(Clone, Debug)]
pub struct DeviceView<'a> {
    /// First label, as the directory writes it, else in lower case.
    pub name: &'a str,
    /// DNS domain.
    pub domain: &'a str,
    /// Groups of the computer account, transitively, sorted.
    pub groups: GroupNames<'a>,
    /// `operatingSystem`.
    pub os: Option<&'a str>,
    /// `operatingSystemVersion`.
    pub os_version: Option<&'a str>,
    /// What the directory says of it.
    pub standing: Standing,
}

/// The evidence that holds a session.
#[derive(Clone, Debug)]
pub struct EvidenceView<'a> {
    /// Who said so.
    pub producer: &'a ProducerName,
    /// Which record.
    pub record: &'a str,
    /// When it happened.
    pub occurred_at: UtcMillis,
    /// When we heard.
    pub received_at: UtcMillis,
    /// What it is worth.
    pub strength: Strength,
}

/// What the directory says of a user (rule 14).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It has it.
    InDirectory,
    /// It never had it, or there is no directory for its domain.
    NotInDirectory,
    /// It had it and lost it, or has it disabled.
    Gone,
}

/// A removal that waits until the next full read says the same (rule 14).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldRemoval<'a> {
    /// The directory service's configured name, in lower case.
    pub directory: &'a str,
    /// How many objects it would take.
    pub objects: usize,
    /// Of how many.
    pub of: usize,
}

/// Counts of what is active and of what was read (rule 28).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Domains known, those nobody configured among them.
    pub domains: usize,
    /// Domains that neither the configuration nor a directory knows: qualifiers that sources used.
    pub unknown_domains: usize,
    /// Users with a session now.
    pub users: usize,
    /// Devices with a session now.
    pub devices: usize,
    /// Groups read.
    pub groups: usize,
    /// User and device sessions.
    pub sessions: usize,
    /// User objects read from directories.
    pub directory_users: usize,
    /// Computer objects read from directories.
    pub directory_devices: usize,
    /// Addresses that are kept as ended.
    pub tombstones: usize,
}
