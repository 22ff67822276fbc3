//! The table: every address with its user's and its device's slot, its place in the journal, and what is kept after
//! the end.

use std::net::IpAddr;
use std::time::Duration;

use super::arena::{Arena, Id};
use super::index::Index;
use super::session::Slot;
use super::state::{AddressState, Contradiction};
use super::subject::SubjectKind;
use super::time::{MaybeMillis, UtcMillis};
use super::view::{LastEnded, Seq};

/// How long an address is kept after its last session ended.
pub(super) const TOMBSTONE: Duration = Duration::from_secs(24 * 3600);

/// Most addresses kept after their last session ended.
pub(super) const MAX_TOMBSTONES: usize = 1_000_000;

/// One address. There are a million: what few have is kept beside it.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) address: IpAddr,
    /// Whether a user is reported now.
    pub(super) reports_user: bool,
    /// Last change of what is reported; 0: nothing ever was.
    pub(super) changed: Seq,
    /// Its place in the feed; 0: none.
    pub(super) told: Seq,
    user: Seat,
    device: Option<Box<Seat>>,
    passing: Option<Box<Passing>>,
    /// The last user session that ended.
    pub(super) last_ended: Option<Box<LastEnded>>,
}

/// A slot, and where it stands in the order of deadlines.
#[derive(Debug)]
struct Seat {
    slot: Slot,
    due: MaybeMillis,
}

/// What is noted of an address while it is not simply its user's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Passing {
    /// Since when there is no session.
    pub(super) empty_since: Option<UtcMillis>,
    /// When the last reported user went, if none is reported now.
    pub(super) user_ended_at: Option<UtcMillis>,
    /// Since when the user's session is over its logoff time, and its computer is to be asked.
    pub(super) doubted_since: Option<UtcMillis>,
}

/// The slot of a device that nothing is known of.
static NO_DEVICE: Slot = Slot::EMPTY;

impl Seat {
    const EMPTY: Self = Self {
        slot: Slot::EMPTY,
        due: MaybeMillis::NONE,
    };
}

impl Entry {
    pub(super) fn new(address: IpAddr) -> Self {
        Self {
            address,
            reports_user: false,
            changed: Seq(0),
            told: Seq(0),
            user: Seat::EMPTY,
            device: None,
            passing: None,
            last_ended: None,
        }
    }

    pub(super) fn user(&self) -> &Slot {
        &self.user.slot
    }

    pub(super) fn device(&self) -> &Slot {
        self.device.as_ref().map_or(&NO_DEVICE, |seat| &seat.slot)
    }

    pub(super) fn slot(&self, kind: SubjectKind) -> &Slot {
        match kind {
            SubjectKind::User => self.user(),
            SubjectKind::Device => self.device(),
        }
    }

    pub(super) fn slot_mut(&mut self, kind: SubjectKind) -> &mut Slot {
        &mut self.seat_mut(kind).slot
    }

    fn seat_mut(&mut self, kind: SubjectKind) -> &mut Seat {
        match kind {
            SubjectKind::User => &mut self.user,
            SubjectKind::Device => self.device.get_or_insert_with(|| Box::new(Seat::EMPTY)),
        }
    }

    /// Where a slot stands in the order of deadlines.
    pub(super) fn due(&self, kind: SubjectKind) -> Option<UtcMillis> {
        match kind {
            SubjectKind::User => self.user.due.get(),
            SubjectKind::Device => self.device.as_ref()?.due.get(),
        }
    }

    pub(super) fn set_due(&mut self, kind: SubjectKind, due: Option<UtcMillis>) {
        if due != self.due(kind) {
            self.seat_mut(kind).due = due.into();
        }
    }

    pub(super) fn passing(&self) -> Passing {
        self.passing.as_deref().copied().unwrap_or_default()
    }

    /// Notes something else of what passes.
    pub(super) fn pass(&mut self, change: impl FnOnce(&mut Passing)) {
        let mut passing = self.passing();
        change(&mut passing);
        match &mut self.passing {
            _ if passing == Passing::default() => self.passing = None,
            Some(kept) => **kept = passing,
            None => self.passing = Some(Box::new(passing)),
        }
    }

    pub(super) fn empty_since(&self) -> Option<UtcMillis> {
        self.passing().empty_since
    }

    pub(super) fn doubted_since(&self) -> Option<UtcMillis> {
        self.passing().doubted_since
    }

    pub(super) fn has_session(&self) -> bool {
        self.user().hold().is_some() || self.device().hold().is_some()
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
            let this = Id::of(*place);
            by_address.insert(this, |id| match id == this {
                true => state.address,
                false => of(id),
            });
        }
        Ok(by_address)
    }

    pub(super) fn remove(&mut self, id: Id<Entry>) -> Option<Entry> {
        let entry = self.arena.remove(id)?;
        self.by_address.remove(&entry.address, id);
        Some(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A million of these are most of the memory of a site.
    #[test]
    fn an_address_with_its_user_takes_no_more_room_than_this() {
        assert!(size_of::<Option<Entry>>() <= 144);
    }
}
