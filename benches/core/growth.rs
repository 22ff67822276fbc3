//! Whether an event and a query cost more when the table is larger: the same work at 10,000 and at a million sessions, in
//! processor time of the one thread that works, so that others on the machine do not count.

use jims::identity::Core;
use jims::runtime::clock::utc_now;
use parking_lot::RwLock;

use super::bare::Bare;
use super::measure::{Options, Row, Used, processor_time, say};
use super::world::{self, Producer, SLICE, Size, address, scattered};

const EVENTS: Row = Row::less(
    "one event in a table of 1,000,000, times its cost at 10,000",
    "×",
);
const QUERIES: Row = Row::less(
    "one query in a table of 1,000,000, times its cost at 10,000",
    "×",
);

/// Each session's user comes to so many addresses.
const ADDRESSES_OF_USER: u32 = 5;

/// Somewhere that sessions are, and where its turn through them stands.
struct Table<T> {
    inside: T,
    sessions: u32,
    place: u64,
    turn: u32,
}

/// What is measured of a kind of table.
trait Kind {
    fn with(sessions: u32) -> Self;
    /// Another user comes to each address.
    fn events(&mut self, numbers: &[u32], user: impl Fn(u32) -> u32);
    /// Who is at an address, and all that the table knows of him.
    fn query(&self, number: u32);
}

struct Jims {
    core: RwLock<Core>,
    producer: Producer,
}

impl Kind for Jims {
    fn with(sessions: u32) -> Self {
        let size = Size {
            sessions,
            users: sessions / ADDRESSES_OF_USER,
            devices: 0,
            // Everybody has 20 groups, and the more users, the more groups.
            top_groups: (sessions / 750).max(5),
        };
        Self {
            core: RwLock::new(world::fill(size, utc_now())),
            producer: Producer::new(),
        }
    }

    fn events(&mut self, numbers: &[u32], user: impl Fn(u32) -> u32) {
        let now = utc_now();
        let events = numbers
            .iter()
            .map(|number| self.producer.logon(*number, user(*number), now));
        let events = events.collect();
        world::apply(&mut self.core.write(), events, now);
    }

    fn query(&self, number: u32) {
        let core = self.core.read();
        let view = core.address(address(number)).expect("an entry");
        let user = &view.user.as_ref().expect("a session").user;
        assert!(user.roles.iter().map(str::len).sum::<usize>() > 20 * 10);
        std::hint::black_box(&view);
    }
}

impl Kind for Bare {
    fn with(sessions: u32) -> Self {
        let bare = Self::new();
        for number in 0..sessions {
            bare.set(number, number % (sessions / ADDRESSES_OF_USER), utc_now());
        }
        bare
    }

    fn events(&mut self, numbers: &[u32], user: impl Fn(u32) -> u32) {
        let now = utc_now();
        for number in numbers {
            self.set(*number, user(*number), now);
        }
    }

    fn query(&self, number: u32) {
        let session = self.get(number).expect("a session");
        assert!(!session.user.is_empty());
        std::hint::black_box(session);
    }
}

impl<T: Kind> Table<T> {
    fn new(sessions: u32) -> Self {
        Self {
            inside: T::with(sessions),
            sessions,
            place: 0,
            turn: 0,
        }
    }

    fn next(&mut self) -> u32 {
        self.place += 1;
        scattered(self.place, self.sessions)
    }

    /// Nanoseconds of processor time of one event.
    fn events(&mut self, count: u32) -> f64 {
        let users = self.sessions / ADDRESSES_OF_USER;
        self.turn += 1;
        let before = processor_time();
        for _ in 0..count / SLICE {
            let numbers: Vec<u32> = (0..SLICE).map(|_| self.next()).collect();
            let shift = self.turn * 7;
            self.inside
                .events(&numbers, |number| (number + shift) % users);
        }
        (processor_time() - before).as_nanos() as f64 / f64::from(count / SLICE * SLICE)
    }

    /// Nanoseconds of processor time of one query.
    fn queries(&mut self, count: u32) -> f64 {
        let before = processor_time();
        for _ in 0..count {
            let number = self.next();
            self.inside.query(number);
        }
        (processor_time() - before).as_nanos() as f64 / f64::from(count)
    }
}

pub(crate) fn run(options: &Options) {
    let (large, count, rounds) = if options.quick {
        (100_000, 50_000, 2)
    } else {
        (1_000_000, 200_000, 5)
    };
    let mut jims: Both<Jims> = Both::new(large);
    let mut bare: Both<Bare> = Both::new(large);
    for _ in 0..rounds {
        jims.measure(options, "jims", count);
        bare.measure(options, "bare sharded map", count);
    }
}

struct Both<T> {
    small: Table<T>,
    large: Table<T>,
}

impl<T: Kind> Both<T> {
    fn new(large: u32) -> Self {
        Self {
            small: Table::new(10_000),
            large: Table::new(large),
        }
    }

    fn measure(&mut self, options: &Options, side: &str, count: u32) {
        let sessions = self.large.sessions;
        let costs = (self.small.events(count), self.large.events(count));
        tell(options, (EVENTS, side), sessions, costs);
        // They are cheaper, and the processor's time is told in hundredths of a second.
        let costs = (self.small.queries(count * 8), self.large.queries(count * 8));
        tell(options, (QUERIES, side), sessions, costs);
    }
}

fn tell(options: &Options, (row, side): (Row, &str), sessions: u32, (small, large): (f64, f64)) {
    let note = format!("{small:.0} ns at 10,000 sessions, {large:.0} ns at {sessions}");
    say(options, row, side, large / small, Used::default(), &note);
}
