//! The addresses of a [`super::state::State`] back into the core, on two cores: of a million sessions most of a start.
//!
//! Entries are made piece by piece in the places they belong to, out of their states without a copy; what refers to them
//! (the orders, users and devices) is made of all of them at once, each kind by itself. That costs a fraction of putting
//! them in one by one, and none of it needs the other.

use std::collections::BTreeSet;
use std::mem::take;
use std::net::IpAddr;
use std::panic::resume_unwind;
use std::thread;

use parking_lot::Mutex;

use super::arena::Id;
use super::conflict::{self, FactKind};
use super::core::Core;
use super::facts::Facts;
use super::order::Order;
use super::session::{Fact, MAX_FACTS_OF_ALL, Slot};
use super::state::{AddressState, Contradiction, FactState, SlotState};
use super::subject::{Places, Subject, SubjectKind};
use super::table::{Entry, TOMBSTONE, Table};
use super::time::UtcMillis;
use super::view::Seq;

/// Entries that are made at once, so that threads meet rarely.
const PIECE: usize = 1024;

/// Does one thing on a thread beside and another here; where there is no other thread, one after the other.
pub(super) fn both<A: Send, B>(beside: impl Fn() -> A + Sync, here: impl FnOnce() -> B) -> (A, B) {
    thread::scope(|scope| {
        let other = thread::Builder::new().name("making the table".to_owned());
        let other = other.spawn_scoped(scope, &beside);
        let here = here();
        let done = match other {
            Ok(other) => other.join().unwrap_or_else(|panic| resume_unwind(panic)),
            Err(_no_thread) => beside(),
        };
        (done, here)
    })
}

impl Core {
    /// Puts exported addresses back, into a table that has room for them.
    pub(super) fn restore_addresses(
        &mut self,
        mut table: Table,
        mut states: Vec<(u32, AddressState)>,
    ) -> Result<(), Contradiction> {
        let making = Making {
            core: self,
            producers: self.producers.names().len(),
        };
        let (others, mine) = table.arena.fill(|room| {
            let pieces = Mutex::new(Pieces {
                states: &mut states,
                room,
                first: 0,
            });
            both(|| making.run(&pieces), || making.run(&pieces))
        });
        let found = [mine?, others?];
        self.table = table;
        let (orders, ()) = both(
            || Orders::of(&found),
            || {
                drop(states);
                self.refer(&found);
            },
        );
        let orders = orders?;
        self.journal.restore_keys(orders.journal);
        self.feed.restore_addresses(orders.feed);
        self.deadlines.sessions = orders.sessions;
        self.deadlines.tombstones = orders.tombstones;
        self.deadlines.doubts = orders.doubts;
        Ok(())
    }

    /// Tells users and devices where they are.
    fn refer(&mut self, found: &[Found]) {
        let named = found.iter().flat_map(|found| &found.named);
        let mut named: Vec<_> = named.copied().collect();
        named.sort_unstable();
        named.dedup();
        for of_one in named.chunk_by(|one, next| one.0 == next.0) {
            let places = Places::of(of_one.iter().map(|(_, entry)| *entry));
            if let Some((subject, _)) = of_one.first() {
                self.subjects.arena.quietly(*subject).places = places;
            }
        }
        for (kind, holder) in found.iter().flat_map(|found| &found.holders) {
            self.moved(*kind, None, Some(*holder));
        }
        self.tombstones += found.iter().map(|found| found.tombstones).sum::<usize>();
    }
}

/// Entries that are to be made, and the places where they belong.
struct Pieces<'a> {
    states: &'a mut [(u32, AddressState)],
    room: &'a mut [Option<Entry>],
    /// The first place in the room.
    first: u32,
}

/// Entries that are made at once.
type Piece<'a> = (&'a mut [(u32, AddressState)], &'a mut [Option<Entry>], u32);

impl<'a> Pieces<'a> {
    /// The next entries, their places, and which the first of these is; `None`: there are no more.
    fn next(&mut self) -> Option<Piece<'a>> {
        let (states, room, first) = (take(&mut self.states), take(&mut self.room), self.first);
        let (piece, states) = states.split_at_mut(states.len().min(PIECE));
        let behind = piece.last()?.0 + 1;
        let (places, room) = room.split_at_mut_checked((behind - first) as usize)?;
        (self.states, self.room, self.first) = (states, room, behind);
        Some((piece, places, first))
    }
}

/// What entries are made with.
struct Making<'a> {
    /// All but the table.
    core: &'a Core,
    /// How many producers there are.
    producers: usize,
}

/// What refers to entries that were made.
#[derive(Default)]
struct Found {
    journal: Vec<(Seq, Id<Entry>)>,
    feed: Vec<(Seq, Id<Entry>)>,
    sessions: Vec<(UtcMillis, Id<Entry>, SubjectKind)>,
    ended: Vec<(UtcMillis, Id<Entry>)>,
    doubts: Vec<(UtcMillis, IpAddr)>,
    /// Of whom there is a fact, and where.
    named: Vec<(Id<Subject>, Id<Entry>)>,
    /// Who has a session.
    holders: Vec<(SubjectKind, Id<Subject>)>,
    /// How many addresses are reported as empty.
    tombstones: usize,
}

/// Looks at the facts of all these states, which lie about in memory, so that it is asked for many at once: made one by one,
/// entries wait for it each by itself, and that is half of what making them takes.
fn fetch(states: &[(u32, AddressState)]) {
    let slots = states.iter().flat_map(|(_, is)| [&is.user, &is.device]);
    let facts = slots.filter_map(|slot| slot.facts.first());
    std::hint::black_box(facts.fold(0, |all, fact| all ^ fact.at.0 ^ i64::from(fact.producer)));
}

impl Making<'_> {
    /// Makes entries until there are no more.
    fn run(&self, pieces: &Mutex<Pieces<'_>>) -> Result<Found, Contradiction> {
        let mut found = Found::default();
        loop {
            let Some((states, places, first)) = pieces.lock().next() else {
                return Ok(found);
            };
            fetch(states);
            for (place, state) in states {
                let mut entry = self.entry(state)?;
                self.note(Id::of(*place), &mut entry, &mut found);
                if let Some(is) = places.get_mut((*place - first) as usize) {
                    *is = Some(entry);
                }
            }
        }
    }

    /// Takes an entry out of its state.
    fn entry(&self, state: &mut AddressState) -> Result<Entry, Contradiction> {
        if state.changed > self.core.journal.last() {
            return Err(Contradiction {
                what: "a change after the last one",
            });
        }
        let mut entry = Entry::new(state.address);
        entry.changed = state.changed;
        entry.told = state.told;
        entry.reports_user = state.reports_user;
        entry.last_ended = state.last_ended.take();
        entry.pass(|is| {
            is.empty_since = state.empty_since;
            is.user_ended_at = state.user_ended_at;
            is.doubted_since = state.doubted_since;
        });
        *entry.slot_mut(SubjectKind::User) = self.slot(take(&mut state.user))?;
        if !state.device.facts.is_empty() {
            *entry.slot_mut(SubjectKind::Device) = self.slot(take(&mut state.device))?;
        }
        if entry.has_session() == entry.empty_since().is_some() {
            return Err(Contradiction {
                what: "an address that ended and has a session",
            });
        }
        if entry.doubted_since().is_some() && entry.user().hold().is_none() {
            return Err(Contradiction {
                what: "a doubt about nobody",
            });
        }
        Ok(entry)
    }

    fn slot(&self, state: SlotState) -> Result<Slot, Contradiction> {
        if state.facts.len() > MAX_FACTS_OF_ALL {
            return Err(Contradiction {
                what: "too many facts",
            });
        }
        let facts = state.facts.into_iter().map(|fact| self.fact(fact));
        let facts = facts.collect::<Result<Facts, Contradiction>>()?;
        let order = |fact: &Fact| (fact.at, conflict::rank(fact.kind));
        if !facts.as_slice().is_sorted_by_key(order) {
            return Err(Contradiction {
                what: "facts out of order",
            });
        }
        Ok(Slot::restore(facts, state.since))
    }

    fn fact(&self, fact: FactState) -> Result<Fact, Contradiction> {
        let anonymous = matches!(fact.kind, FactKind::AllLeft | FactKind::Closed);
        let subjects = &self.core.subjects.arena;
        let subject = fact.subject.and_then(|place| subjects.at(place));
        if anonymous == subject.is_some() || usize::from(fact.producer) >= self.producers {
            return Err(Contradiction {
                what: "a fact about nobody, or by nobody",
            });
        }
        Ok(Fact {
            at: fact.at,
            received_at: fact.received_at,
            record: fact.record,
            subject,
            producer: fact.producer,
            kind: fact.kind,
            extra: fact.extra,
        })
    }

    /// Notes what refers to an entry.
    fn note(&self, id: Id<Entry>, entry: &mut Entry, found: &mut Found) {
        let facts = entry.user().facts().iter().chain(entry.device().facts());
        let named = facts.filter_map(|fact| Some((fact.subject?, id)));
        found.named.extend(named);
        if entry.changed > Seq(0) {
            found.journal.push((entry.changed, id));
            found.tombstones += usize::from(entry.empty_since().is_some());
        }
        if entry.told > Seq(0) {
            found.feed.push((entry.told, id));
        }
        let ended = entry
            .empty_since()
            .map(|since| (since.after(TOMBSTONE), id));
        found.ended.extend(ended);
        let doubt = entry.doubted_since().map(|since| (since, entry.address));
        found.doubts.extend(doubt);
        for kind in [SubjectKind::User, SubjectKind::Device] {
            let holder = entry.slot(kind).subject().map(|holder| (kind, holder));
            found.holders.extend(holder);
            let due = self.core.next_look(entry, kind);
            entry.set_due(kind, due);
            found.sessions.extend(due.map(|due| (due, id, kind)));
        }
    }
}

/// Where entries stand in each order.
struct Orders {
    journal: Order,
    feed: Vec<(Seq, Id<Entry>)>,
    sessions: BTreeSet<(UtcMillis, Id<Entry>, SubjectKind)>,
    tombstones: BTreeSet<(UtcMillis, Id<Entry>)>,
    doubts: BTreeSet<(UtcMillis, IpAddr)>,
}

impl Orders {
    fn of(found: &[Found]) -> Result<Self, Contradiction> {
        let sessions = found.iter().flat_map(|found| &found.sessions);
        let tombstones = found.iter().flat_map(|found| &found.ended);
        let doubts = found.iter().flat_map(|found| &found.doubts);
        let journal = found.iter().flat_map(|found| &found.journal);
        let feed = found.iter().flat_map(|found| &found.feed);
        Ok(Self {
            journal: journal_of(journal.copied().collect())?,
            feed: feed.copied().collect(),
            sessions: sessions.copied().collect(),
            tombstones: tombstones.copied().collect(),
            doubts: doubts.copied().collect(),
        })
    }
}

fn journal_of(mut keys: Vec<(Seq, Id<Entry>)>) -> Result<Order, Contradiction> {
    keys.sort_unstable();
    if keys.windows(2).any(|two| two[0].0 == two[1].0) {
        return Err(Contradiction {
            what: "two addresses changed at once",
        });
    }
    let mut order = Order::default();
    for (seq, entry) in keys {
        order.push(seq, entry);
    }
    Ok(order)
}
