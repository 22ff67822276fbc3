//! Look-up and update with one writer and two readers, at a million sessions: the core behind its lock, Redis, a bare map.
//!
//! While one kind is measured as fast as it goes, the other goes on at a given rate on every side.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use jims::identity::Core;
use jims::runtime::clock::{monotonic_now, utc_now};
use jims::writer::Reader;
use parking_lot::RwLock;

use super::bare::Bare;
use super::measure::{Options, Row, Used, peak_of, processor_time, processor_time_of, say};
use super::redis::{Client, Redis};
use super::world::{self, DOMAIN, Producer, SLICE, Size, address, scattered, user_name};

/// Updates and look-ups a second of the kind that is not measured.
const OTHER_RATE: f64 = 20_000.0;
/// Before what is counted.
const WARM: Duration = Duration::from_millis(300);
const READERS: u64 = 2;

const LOOK_UP: Row = Row::more("look-up in the core, two readers beside a writer", "/s");
const WITH_GROUPS: Row = Row::more(
    "look-up in the core with the names of twenty groups, two readers beside a writer",
    "/s",
);
const UPDATE: Row = Row::more("update in the core, one writer beside two readers", "/s");

/// Somewhere that sessions are.
trait Table: Sync {
    /// What a thread has for itself.
    type Hand;
    fn hand(&self) -> Self::Hand;
    /// Looks at the addresses one by one: who is there, and by which evidence.
    fn look_up(&self, hand: &mut Self::Hand, numbers: &[u32]);
    /// Another user is at each address, `turn` tells who.
    fn update(&self, hand: &mut Self::Hand, numbers: &[u32], turn: u32);
    /// Which process does the work.
    fn pid(&self) -> u32;
}

struct Jims {
    core: Arc<RwLock<Core>>,
    reader: Reader,
    users: u32,
    with_groups: bool,
}

impl Table for Jims {
    type Hand = Producer;

    fn hand(&self) -> Producer {
        Producer::new()
    }

    fn look_up(&self, _: &mut Producer, numbers: &[u32]) {
        for number in numbers {
            let core = self.reader.read();
            let view = core.address(address(*number)).expect("an entry");
            let session = view.user.as_ref().expect("a session");
            assert!(!session.user.name.is_empty());
            if self.with_groups {
                let names = session.user.roles.iter().map(str::len);
                assert!(names.sum::<usize>() > 20 * 10, "his groups");
            }
            std::hint::black_box(&view);
        }
    }

    fn update(&self, producer: &mut Producer, numbers: &[u32], turn: u32) {
        let now = utc_now();
        let events = numbers
            .iter()
            .map(|number| producer.logon(*number, who(*number, turn, self.users), now));
        let events = events.collect();
        world::apply(&mut self.core.write(), events, now);
    }

    fn pid(&self) -> u32 {
        std::process::id()
    }
}

struct BareMap(Bare, u32);

impl Table for BareMap {
    type Hand = ();

    fn hand(&self) {}

    fn look_up(&self, (): &mut (), numbers: &[u32]) {
        for number in numbers {
            let session = self.0.get(*number).expect("a session");
            assert!(!session.user.is_empty());
            std::hint::black_box(session);
        }
    }

    fn update(&self, (): &mut (), numbers: &[u32], turn: u32) {
        let now = utc_now();
        for number in numbers {
            self.0.set(*number, who(*number, turn, self.1), now);
        }
    }

    fn pid(&self) -> u32 {
        std::process::id()
    }
}

struct InRedis(Redis, u32);

impl Table for InRedis {
    type Hand = Client;

    fn hand(&self) -> Client {
        Client::connect()
    }

    fn look_up(&self, client: &mut Client, numbers: &[u32]) {
        for number in numbers {
            client.command(&[b"GET", address(*number).to_string().as_bytes()]);
        }
        assert_eq!(client.exchange(), numbers.len(), "each has a value");
    }

    fn update(&self, client: &mut Client, numbers: &[u32], turn: u32) {
        let now = utc_now().0;
        let deadline = now + 86_400_000;
        for number in numbers {
            let user = user_name(who(*number, turn, self.1));
            let value = format!("{user} {DOMAIN} dc1 4768 {now} {now} {deadline}");
            let key = address(*number).to_string();
            client.command(&[b"SET", key.as_bytes(), value.as_bytes()]);
        }
        client.exchange();
    }

    fn pid(&self) -> u32 {
        self.0.pid()
    }
}

/// Who comes to an address at a turn.
fn who(number: u32, turn: u32, users: u32) -> u32 {
    let who = (u64::from(number) + u64::from(turn) * 7_919) % u64::from(users);
    u32::try_from(who).expect("below a u32")
}

pub(crate) fn run(options: &Options) {
    let (sessions, users, top_groups) = if options.quick {
        (100_000, 20_000, 134)
    } else {
        (1_000_000, 200_000, 1_334)
    };
    let size = Size {
        sessions,
        users,
        devices: 0,
        top_groups,
    };
    let core = Arc::new(RwLock::new(world::fill(size, utc_now())));
    let jims = |with_groups| Jims {
        reader: Reader::new(Arc::clone(&core)),
        core: Arc::clone(&core),
        users,
        with_groups,
    };
    let (jims, with_groups) = (jims(false), jims(true));
    let bare = BareMap(Bare::new(), users);
    let redis = InRedis(Redis::start(), users);
    all(&bare, sessions);
    all(&redis, sessions);
    let (rounds, window) = if options.quick { (2, 500) } else { (5, 1_500) };
    let window = Duration::from_millis(window);
    for round in 0..rounds {
        for row in [LOOK_UP, UPDATE] {
            let measured = (round, row, sessions, window);
            measure(options, "jims", &jims, measured);
            measure(options, "redis", &redis, measured);
            measure(options, "bare sharded map", &bare, measured);
        }
        measure(
            options,
            "jims",
            &with_groups,
            (round, WITH_GROUPS, sessions, window),
        );
    }
}

/// Puts a session to every address.
fn all<T: Table>(table: &T, sessions: u32) {
    let (mut hand, all) = (table.hand(), (0..sessions).collect::<Vec<_>>());
    for numbers in all.chunks(SLICE as usize) {
        table.update(&mut hand, numbers, 0);
    }
}

/// What a thread does until it is told to stop.
struct Work<'a> {
    stop: &'a AtomicBool,
    done: &'a AtomicU64,
    sessions: u32,
    /// Its first place, so that threads are not at the same.
    begin: u64,
    /// Of all of its kind, a second; none: as fast as it goes.
    rate: Option<f64>,
}

impl Work<'_> {
    /// Calls `act` with a slice of numbers, and how often all numbers have come.
    fn run(&self, mut act: impl FnMut(&[u32], u64)) {
        let (begun, mut place) = (monotonic_now(), self.begin);
        let mut numbers = [0; SLICE as usize];
        while !self.stop.load(Ordering::Relaxed) {
            for number in &mut numbers {
                *number = scattered(place, self.sessions);
                place += 1;
            }
            act(&numbers, place / u64::from(self.sessions));
            self.done.fetch_add(u64::from(SLICE), Ordering::Relaxed);
            if let Some(rate) = self.rate {
                let due = Duration::from_secs_f64((place - self.begin) as f64 / rate);
                thread::sleep(due.saturating_sub(begun.elapsed()));
            }
        }
    }
}

fn measure<T: Table>(
    options: &Options,
    side: &str,
    table: &T,
    (round, row, sessions, window): (u32, Row, u32, Duration),
) {
    let reads = row.name != UPDATE.name;
    let (stop, looked, updated) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let counted = if reads { &looked } else { &updated };
    let (rate, used) = thread::scope(|scope| {
        for reader in 0..READERS {
            let work = Work {
                stop: &stop,
                done: &looked,
                sessions,
                begin: u64::from(sessions) / READERS * reader,
                rate: (!reads).then_some(OTHER_RATE / READERS as f64),
            };
            scope.spawn(move || {
                let mut hand = table.hand();
                work.run(|numbers, _| table.look_up(&mut hand, numbers));
            });
        }
        let work = Work {
            stop: &stop,
            done: &updated,
            sessions,
            begin: 0,
            rate: reads.then_some(OTHER_RATE),
        };
        // Whoever was there in any round before is not who comes now.
        let first = 1 + 100 * (2 * round + u32::from(reads));
        scope.spawn(move || {
            let mut hand = table.hand();
            work.run(|numbers, turn| {
                let turn = first + u32::try_from(turn).expect("few turns");
                table.update(&mut hand, numbers, turn);
            });
        });
        thread::sleep(WARM);
        let (before, cpu) = (counted.load(Ordering::Relaxed), used_by(table));
        let begun = monotonic_now();
        thread::sleep(window);
        let done = counted.load(Ordering::Relaxed) - before;
        let (took, used) = (begun.elapsed(), used_by(table) - cpu);
        stop.store(true, Ordering::Relaxed);
        (done as f64 / took.as_secs_f64(), used)
    });
    let other = if reads { &updated } else { &looked };
    let note = format!("{} of the others meanwhile", other.load(Ordering::Relaxed));
    let own = table.pid() == std::process::id();
    let used = Used {
        cpu: Some(used),
        // Two sides are in this process.
        rss_bytes: (!own).then(|| peak_of(table.pid())).flatten(),
    };
    say(options, row, side, rate, used, &note);
}

fn used_by<T: Table>(table: &T) -> Duration {
    if table.pid() == std::process::id() {
        processor_time()
    } else {
        processor_time_of(table.pid())
    }
}
