//! The list of sessions: one row an address that has one.

use std::collections::BTreeSet;
use std::net::IpAddr;

use compact_str::CompactString;

use super::matching::Meaning;
use super::select::Select;
use super::words::{Field, Word};
use super::{Found, Order, Page, Place, Start};
use crate::identity::arena::Id;
use crate::identity::core::Core;
use crate::identity::name::NameKey;
use crate::identity::session::ProducerId;
use crate::identity::subject::{Subject, SubjectKind};
use crate::identity::table::Entry;
use crate::identity::time::UtcMillis;

/// Addresses without a session that the newest changes may hold before all addresses are looked at instead.
const MAX_SKIPPED: usize = 4096;

/// A page of sessions on its way.
#[derive(Debug)]
pub struct SessionScan {
    order: Order,
    meanings: Vec<Meaning>,
    /// Producers that do not work, in the words of whoever asks; what they brought is unconfirmed.
    down: BTreeSet<String>,
    select: Select<()>,
    at: At,
    /// The page is simply the newest changes, and was read from the journal.
    is_newest: bool,
}

/// How far a scan is.
#[derive(Clone, Copy, Debug)]
enum At {
    Newest(usize),
    Objects(usize),
    Subjects(usize),
    Addresses(usize),
    End,
}

/// What is to be known of each producer, by number.
struct Producer {
    /// Which words are in its name, by place among the words.
    words: u32,
    is_unconfirmed: bool,
}

impl SessionScan {
    /// A scan for a page of the sessions that hold all words; `down` are producers that do not work now.
    #[must_use]
    pub fn new(words: Vec<Word>, page: &Page, down: BTreeSet<String>) -> Self {
        let is_newest = words.is_empty()
            && !page.reverse
            && page.start == Start::First
            && matches!(page.order, Order::Usual | Order::Name | Order::Sessions);
        Self {
            order: page.order,
            at: match (is_newest, words.is_empty()) {
                (true, _) => At::Newest(page.rows),
                (false, true) => At::Addresses(0),
                (false, false) => At::Objects(0),
            },
            meanings: words.into_iter().map(Meaning::new).collect(),
            down,
            select: Select::new(page),
            is_newest: false,
        }
    }

    /// Looks at so many places of the table; whether there is more to look at.
    pub fn step(&mut self, core: &Core, places: usize) -> bool {
        match self.at {
            At::Newest(rows) => {
                self.is_newest = self.take_newest(core, rows);
                self.at = if self.is_newest {
                    At::End
                } else {
                    self.select.forget();
                    At::Addresses(0)
                };
            }
            At::Objects(from) => {
                for meaning in &mut self.meanings {
                    meaning.look_at_objects(core, from, places);
                }
                let is_group = |meaning: &Meaning| meaning.word.field == Field::Group;
                let more = self.meanings.iter().any(is_group)
                    && from + places < core.objects.arena.places();
                self.at = if more {
                    At::Objects(from + places)
                } else {
                    At::Subjects(0)
                };
            }
            At::Subjects(from) => {
                for meaning in &mut self.meanings {
                    meaning.look_at_subjects(core, (from, places), true);
                }
                self.at = if from + places < core.subjects.arena.places() {
                    At::Subjects(from + places)
                } else {
                    At::Addresses(0)
                };
            }
            At::Addresses(from) => {
                self.look_at_addresses(core, from, places);
                self.at = if from + places < core.table.arena.places() {
                    At::Addresses(from + places)
                } else {
                    At::End
                };
            }
            At::End => {}
        }
        !matches!(self.at, At::End)
    }

    /// The page: addresses, in order. `core` is only asked how many there are.
    #[must_use]
    pub fn finish(self, core: &Core) -> Found<IpAddr> {
        let found = self.select.finish();
        let rows = found.rows.into_iter();
        let rows = rows.filter_map(|(place, ())| place.address.map(|address| (place, address)));
        Found {
            rows: rows.collect(),
            total: if self.is_newest {
                (core.journal.len() - core.tombstones) as u64
            } else {
                found.total
            },
            before: found.before,
        }
    }

    /// The newest changes, from the end of the journal; whether that was possible at little cost.
    fn take_newest(&mut self, core: &Core, rows: usize) -> bool {
        let mut left = rows;
        let mut newest = core.journal.newest_first().take(rows + MAX_SKIPPED);
        while left > 0 {
            let Some((_, id)) = newest.next() else {
                return core.journal.len() <= rows + MAX_SKIPPED;
            };
            let entry = &core.table.arena[id];
            if entry.has_session() {
                self.select.offer(usual(entry), || ());
                left -= 1;
            }
        }
        true
    }

    fn look_at_addresses(&mut self, core: &Core, from: usize, places: usize) {
        let producers = self.producers(core);
        let named = producers.iter().fold(0, |all, one| all | one.words);
        for entry in core.table.arena.slice(from, places) {
            if entry.has_session() && self.is_meant(core, entry, (&producers, named)) {
                self.select.offer(place(core, entry, self.order), || ());
            }
        }
    }

    fn producers(&self, core: &Core) -> Vec<Producer> {
        let count = core.producers.names().len();
        let producers = (0..count).filter_map(|number| ProducerId::try_from(number).ok());
        let producer = |number: ProducerId| {
            let name: &str = core.producers.name(number);
            let held = |(place, meaning): (u32, &Meaning)| {
                let looks = matches!(meaning.word.field, Field::Any | Field::Producer);
                u32::from(looks && meaning.word.is_in(name)) << place
            };
            let teller = core.producers.teller(number);
            Producer {
                words: (0u32..).zip(&self.meanings).map(held).sum(),
                is_unconfirmed: self.down.contains(name)
                    || teller.is_some_and(|teller| teller.disconnected_since.is_some()),
            }
        };
        producers.map(producer).collect()
    }

    /// Whether a session holds all words; with the producers goes which words are in any of their names.
    fn is_meant(&self, core: &Core, entry: &Entry, producers: (&[Producer], u32)) -> bool {
        let (user, device) = (entry.user().subject(), entry.device().subject());
        let (producers, named) = producers;
        // Not looked at where it cannot matter: evidence lies elsewhere in memory, a million times a scan.
        let producer = || {
            let last = entry.user().last().or_else(|| entry.device().last());
            last.and_then(|last| producers.get(usize::from(last.producer)))
        };
        (0u32..).zip(&self.meanings).all(|(place, meaning)| {
            let is =
                |subject: Option<Id<Subject>>| subject.is_some_and(|id| meaning.means(core, id));
            let names = |producer: &Producer| producer.words >> place & 1 == 1;
            let from = || named >> place & 1 == 1 && producer().is_some_and(names);
            match meaning.word.field {
                Field::Any => {
                    is(user) || is(device) || from() || meaning.word.is_in_address(entry.address)
                }
                Field::User => is(user),
                Field::Device => is(device),
                Field::Domain | Field::Group => is(user) || is(device),
                Field::Producer => from(),
                Field::State => {
                    let doubted = entry.doubted_since().is_some()
                        || producer().is_some_and(|producer| producer.is_unconfirmed);
                    meaning.word.is_in(state(core, entry, doubted))
                }
            }
        })
    }
}

/// The word for how sure a session is.
fn state(core: &Core, entry: &Entry, is_unconfirmed: bool) -> &'static str {
    match (
        core.policy.shared_addresses.contains(entry.address),
        is_unconfirmed,
    ) {
        (true, _) => "shared",
        (false, true) => "unconfirmed",
        (false, false) => "active",
    }
}

fn usual(entry: &Entry) -> Place {
    Place {
        number: -i64::try_from(entry.changed.0).unwrap_or(i64::MAX),
        address: Some(entry.address),
        ..Place::default()
    }
}

fn place(core: &Core, entry: &Entry, order: Order) -> Place {
    let numbered = |number: i64| Place {
        number,
        address: Some(entry.address),
        ..Place::default()
    };
    let kind = if entry.user().hold().is_some() {
        SubjectKind::User
    } else {
        SubjectKind::Device
    };
    match order {
        Order::Usual | Order::Name | Order::Sessions => usual(entry),
        Order::Address => numbered(0),
        Order::User => named(core, entry, entry.user().subject()),
        Order::Device => named(core, entry, entry.device().subject()),
        Order::Since => {
            let since = entry.slot(kind).hold().map_or(0, |hold| hold.since.0);
            numbered(-since)
        }
        Order::Deadline => {
            let deadline = core.next_look(entry, kind).unwrap_or(UtcMillis(i64::MAX));
            numbered(deadline.0)
        }
    }
}

fn named(core: &Core, entry: &Entry, subject: Option<Id<Subject>>) -> Place {
    let Some(subject) = subject.map(|id| &core.subjects.arena[id]) else {
        return Place {
            number: 1,
            address: Some(entry.address),
            ..Place::default()
        };
    };
    Place {
        number: 0,
        text: CompactString::new(NameKey::fold(&subject.name).as_str()),
        domain: core.domains.arena[subject.domain].name.clone(),
        address: Some(entry.address),
    }
}
