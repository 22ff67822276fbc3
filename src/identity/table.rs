//! The table: every address with its user's and its device's slot, its place in the journal, and what is kept after
//! the end.

use std::net::IpAddr;
use std::time::Duration;

use super::arena::{Arena, Id};
use super::index::Index;
use super::session::Slot;
use super::state::{AddressState, Contradiction};
use super::subject::SubjectKind;
use super::time::UtcMillis;
use super::view::{LastEnded, Seq};

/// How long an address is kept after its last session ended.
pub(super) const TOMBSTONE: Duration = Duration::from_secs(24 * 3600);

/// Most addresses kept after their last session ended.
pub(super) const MAX_TOMBSTONES: usize = 1_000_000;

/// One address.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) address: IpAddr,
    /// Last change of what is reported; 0: nothing ever was.
    pub(super) changed: Seq,
    /// Its place in the feed; 0: none.
    pub(super) told: Seq,
    pub(super) user: Slot,
    pub(super) device: Slot,
    /// Where the slots stand in the order of deadlines.
    pub(super) user_due: Option<UtcMillis>,
    pub(super) device_due: Option<UtcMillis>,
    /// Since when there is no session.
    pub(super) empty_since: Option<UtcMillis>,
    /// Whether a user is reported now.
    pub(super) reports_user: bool,
    /// When the last reported user went, if none is reported now.
    pub(super) user_ended_at: Option<UtcMillis>,
    /// Since when the user's session is over its logoff time, and its computer is to be asked.
    pub(super) doubted_since: Option<UtcMillis>,
    /// The last user session that ended.
    pub(super) last_ended: Option<Box<LastEnded>>,
}

impl Entry {
    pub(super) fn new(address: IpAddr) -> Self {
        Self {
            address,
            changed: Seq(0),
            told: Seq(0),
            user: Slot::default(),
            device: Slot::default(),
            user_due: None,
            device_due: None,
            empty_since: None,
            reports_user: false,
            user_ended_at: None,
            doubted_since: None,
            last_ended: None,
        }
    }

    pub(super) fn slot(&self, kind: SubjectKind) -> &Slot {
        match kind {
            SubjectKind::User => &self.user,
            SubjectKind::Device => &self.device,
        }
    }

    pub(super) fn slot_mut(&mut self, kind: SubjectKind) -> &mut Slot {
        match kind {
            SubjectKind::User => &mut self.user,
            SubjectKind::Device => &mut self.device,
        }
    }

    pub(super) fn due_mut(&mut self, kind: SubjectKind) -> &mut Option<UtcMillis> {
        match kind {
            SubjectKind::User => &mut self.user_due,
            SubjectKind::Device => &mut self.device_due,
        }
    }

    pub(super) fn has_session(&self) -> bool {
        self.user.hold().is_some() || self.device.hold().is_some()
    }
}

/// All addresses.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) arena: Arena<Entry>,
    by_address: Index<Entry>,
}

impl Table {
    pub(super) fn find(&self, address: IpAddr) -> Option<Id<Entry>> {
        let is = |id| self.arena[id].address == address;
        self.by_address.get(&address, is)
    }

    pub(super) fn find_or_insert(&mut self, address: IpAddr) -> Id<Entry> {
        self.find(address).unwrap_or_else(|| {
            let id = self.arena.insert(Entry::new(address));
            self.by_address.insert(id, |id| self.arena[id].address);
            id
        })
    }

    /// A table with these entries, of these addresses.
    pub(super) fn restore(arena: Arena<Entry>, by_address: Index<Entry>) -> Self {
        Self { arena, by_address }
    }

    /// The places of exported addresses.
    pub(super) fn index(addresses: &[(u32, AddressState)]) -> Result<Index<Entry>, Contradiction> {
        let of = |id: Id<Entry>| {
            let at = addresses.partition_point(|(place, _)| *place < id.number());
            addresses[at].1.address
        };
        let mut by_address = Index::default();
        by_address.reserve(addresses.len(), of);
        for (place, state) in addresses {
            if by_address
                .get(&state.address, |id| of(id) == state.address)
                .is_some()
            {
                return Err(Contradiction {
                    what: "an address occurs twice",
                });
            }
            by_address.insert(Id::of(*place), of);
        }
        Ok(by_address)
    }

    pub(super) fn remove(&mut self, id: Id<Entry>) -> Option<Entry> {
        let entry = self.arena.remove(id)?;
        self.by_address.remove(&entry.address, id);
        Some(entry)
    }
}
