//! Whether an event and a query cost more when the table is larger: the same work at 10,000 and at a million sessions, in
//! processor time of the one thread that works, so that others on the machine do not count.

use jims::identity::Core;
use jims::runtime::clock::utc_now;
use parking_lot::RwLock;

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

struct Table {
    core: RwLock<Core>,
    sessions: u32,
    place: u64,
    turn: u32,
}

impl Table {
    fn new(sessions: u32) -> Self {
        let size = Size {
            sessions,
            users: sessions / ADDRESSES_OF_USER,
            devices: 0,
            // Everybody has 20 groups, and the more users, the more groups.
            top_groups: (sessions / 750).max(5),
        };
        Self {
            core: RwLock::new(world::fill(size, utc_now())),
            sessions,
            place: 0,
            turn: 0,
        }
    }

    fn next(&mut self) -> u32 {
        self.place += 1;
        scattered(self.place, self.sessions)
    }

    /// Nanoseconds of processor time of one event: another user at an address.
    fn events(&mut self, count: u32) -> f64 {
        let (producer, users) = (Producer::new(), self.sessions / ADDRESSES_OF_USER);
        self.turn += 1;
        let before = processor_time();
        for _ in 0..count / SLICE {
            let now = utc_now();
            let numbers: Vec<u32> = (0..SLICE).map(|_| self.next()).collect();
            let events = numbers.into_iter().map(|number| {
                let user = (number + self.turn * 7) % users;
                producer.logon(number, user, now)
            });
            let events = events.collect();
            world::apply(&mut self.core.write(), events, now);
        }
        (processor_time() - before).as_nanos() as f64 / f64::from(count / SLICE * SLICE)
    }

    /// Nanoseconds of processor time of one query: what is at an address, with the user's groups.
    fn queries(&mut self, count: u32) -> f64 {
        let before = processor_time();
        for _ in 0..count {
            let number = self.next();
            let core = self.core.read();
            let view = core.address(address(number)).expect("an entry");
            assert!(
                view.user
                    .as_ref()
                    .is_some_and(|user| user.user.roles.len() > 20)
            );
            std::hint::black_box(&view);
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
    let (mut small, mut large) = (Table::new(10_000), Table::new(large));
    for _ in 0..rounds {
        let costs = (small.events(count), large.events(count));
        tell(options, EVENTS, large.sessions, costs);
        // They are cheaper, and the processor's time is told in hundredths of a second.
        let costs = (small.queries(count * 8), large.queries(count * 8));
        tell(options, QUERIES, large.sessions, costs);
    }
}

fn tell(options: &Options, row: Row, sessions: u32, (small, large): (f64, f64)) {
    let note = format!("{small:.0} ns at 10,000 sessions, {large:.0} ns at {sessions}");
    say(options, row, "jims", large / small, Used::default(), &note);
}
