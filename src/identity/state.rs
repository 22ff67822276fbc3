//! The whole core as plain data, for the snapshot: what a restart must know to be the same table.
//!
//! Ids are places, and the same after a restart: what is kept of the core is written place by place as
//! it changes ([`super::changes`]). What can be computed again (indexes, counts, closed memberships, deadlines) is not
//! here, and how it is written is the snapshot's business: nothing here knows of serialisation.

use std::net::IpAddr;

use compact_str::CompactString;

use super::directory::{DirectoryObject, DomainFacts, ObjectId};
use super::heard::{Hearer, LineId};
use super::time::UtcMillis;
use super::view::{Epoch, LastEnded, Seq};

pub use super::conflict::FactKind;
pub use super::session::Extra;
pub use super::subject::SubjectKind;

/// The highest place that is believed: far beyond what fits in memory as sessions.
pub const MAX_PLACE: u32 = 1 << 28;

/// Everything the core holds except the policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// The journal's life.
    pub epoch: Epoch,
    /// Sequence of the last change.
    pub last_seq: Seq,
    /// Cursors below have missed something.
    pub floor: Seq,
    /// The core's time when it was exported.
    pub now: Option<UtcMillis>,
    /// The last jump of the clock.
    pub jumped_to: Option<UtcMillis>,
    /// The journal's time index: (instant, last sequence before it), rising.
    pub marks: Vec<(UtcMillis, Seq)>,
    /// What directories told of their domains: (DNS name, facts).
    pub domain_facts: Vec<(CompactString, DomainFacts)>,
    /// Producers' names.
    pub producers: Vec<CompactString>,
    /// Users and devices, each with its place, rising.
    pub subjects: Vec<(u32, SubjectState)>,
    /// Directory objects, each with its place, rising.
    pub objects: Vec<(u32, ObjectState)>,
    /// Directories' readings.
    pub readings: Vec<ReadingState>,
    /// Addresses, each with its place, rising.
    pub addresses: Vec<(u32, AddressState)>,
    /// Positions of producers and directories.
    pub bookmarks: Vec<(CompactString, Box<[u8]>)>,
    /// Collectors that told something, and since when each is not heard.
    pub collectors: Vec<(CompactString, Option<UtcMillis>)>,
    /// Collectors' directories and their domains.
    pub told_domains: Vec<(CompactString, CompactString)>,
    /// Lines heard of late, in the order in which they are forgotten.
    pub lines: Vec<LineState>,
    /// The order for those who are told everything.
    pub feed: FeedState,
}

/// A line that was heard of late.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineState {
    /// Which.
    pub line: LineId,
    /// When it was first heard.
    pub first: UtcMillis,
    /// How often each heard it.
    pub counts: Vec<(Hearer, u32)>,
}

/// The order for those who are told everything; addresses and objects know their places in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FeedState {
    /// Whether it is kept; if not, nothing is in it.
    pub on: bool,
    /// The last position.
    pub last: Seq,
    /// Cursors below have missed something.
    pub floor: Seq,
    /// Places of what directories tell of their domains.
    pub domains: Vec<(CompactString, Seq)>,
    /// Objects that are gone, in order.
    pub gone: Vec<GoneState>,
}

/// An object that is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GoneState {
    /// Its place in the order.
    pub seq: Seq,
    /// The directory's name, in lower case.
    pub directory: CompactString,
    /// The domain's DNS name.
    pub domain: CompactString,
    /// Which object.
    pub id: ObjectId,
}

/// A user or device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubjectState {
    /// User or device.
    pub kind: SubjectKind,
    /// Its domain's DNS name, or the qualifier nobody knew.
    pub domain: CompactString,
    /// As shown.
    pub name: CompactString,
    /// Its place among [`State::objects`].
    pub object: Option<u32>,
    /// The directory lost it or has it disabled.
    pub gone: bool,
    /// Known only by an unresolved UPN.
    pub by_upn: bool,
}

/// A directory object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectState {
    /// The object.
    pub is: DirectoryObject,
    /// The directory's name, in lower case.
    pub directory: CompactString,
    /// The domain's DNS name.
    pub domain: CompactString,
    /// Its place among [`State::subjects`].
    pub subject: Option<u32>,
    /// Its place in the feed; 0: none.
    pub told: Seq,
}

/// A directory's reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadingState {
    /// The directory's name, in lower case.
    pub directory: CompactString,
    /// Objects whose removal waits.
    pub held: Vec<ObjectId>,
    /// Of a full read that is under way, which of [`State::objects`] it has named: spans of places, rising, each with the
    /// first place behind it.
    pub under_way: Option<Vec<(u32, u32)>>,
}

/// An address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressState {
    /// The address.
    pub address: IpAddr,
    /// Its place in the journal; 0: none.
    pub changed: Seq,
    /// Its place in the feed; 0: none.
    pub told: Seq,
    /// Since when there is no session.
    pub empty_since: Option<UtcMillis>,
    /// Whether a user is reported.
    pub reports_user: bool,
    /// When the last reported user went.
    pub user_ended_at: Option<UtcMillis>,
    /// Since when the user's session is in doubt.
    pub doubted_since: Option<UtcMillis>,
    /// The last user session that ended.
    pub last_ended: Option<Box<LastEnded>>,
    /// The user's slot.
    pub user: SlotState,
    /// The device's slot.
    pub device: SlotState,
}

/// A slot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SlotState {
    /// When the session began, if there is one.
    pub since: Option<UtcMillis>,
    /// What is known, oldest first.
    pub facts: Vec<FactState>,
}

/// A fact. It is as large as the one that the table makes of it, so that a list of them becomes the table's in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FactState {
    /// What it says.
    pub kind: FactKind,
    /// When it happened.
    pub at: UtcMillis,
    /// When it was heard.
    pub received_at: UtcMillis,
    /// Which record.
    pub record: CompactString,
    /// Place in [`State::producers`].
    pub producer: u16,
    /// Place among [`State::subjects`].
    pub subject: Option<u32>,
    /// What few facts carry; `None`: nothing.
    pub extra: Option<Box<Extra>>,
}

/// Why a state is not one that a core exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the saved table contradicts itself: {what}")]
pub struct Contradiction {
    /// What does not fit.
    pub what: &'static str,
}
