//! Groups in groups, closed: for everybody, for one user, and below a group that many are under, while others read.
//!
//! Everybody is at an address, so that a change of groups is seen and reported at once. The real writer applies what the
//! directory says, and a reader looks all the time how long it has to wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use jims::identity::Batch;
use jims::identity::directory::{DirectoryObject, DirectoryStep};
use jims::runtime::clock::{monotonic_now, utc_now};
use jims::runtime::report::Reports;
use jims::runtime::supervisor::Tasks;
use jims::writer::{Intake, Reader, Writer};
use tokio_util::sync::CancellationToken;

use super::measure::{Options, Row, Used, processor_time, say};
use super::world::{self, Size, guid};

/// Sections of the big department, itself, a group above it, and one above all groups.
const SECTIONS: u32 = 10;
const BIG: u32 = 100;
const ABOVE: u32 = 101;
const ROOF: u32 = 102;
/// Ends a wait that will never be over.
const GUARD: Duration = Duration::from_secs(60);
/// Kind of these groups' identities.
const KIND: u8 = 9;

const ALL: Row = Row::less(
    "groups of all 500,000 users closed anew, 50,000 nested groups",
    "s",
);
const ONE: Row = Row::less(
    "one user joins a group of 10,000, until his groups are right",
    "ms",
);
const HOLD: Row = Row::less(
    "a group gets 100,000 below it, longest wait of a reader",
    "ms",
);
const WHOLE: Row = Row::less(
    "a group gets 100,000 below it, until their groups are right",
    "ms",
);

pub(crate) fn run(options: &Options) {
    let (users, top_groups) = if options.quick {
        (50_000, 334)
    } else {
        (500_000, 3_334)
    };
    let size = Size {
        sessions: users,
        users,
        devices: 0,
        top_groups,
    };
    let mut core = world::fill(size, utc_now());
    core.apply(poll(big(size)), utc_now(), &mut Vec::new());
    world::forget_changes(&mut core);
    let (writer, parts) = Writer::new(core, Reports::default());
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (tasks, stop) = (Tasks::new(), CancellationToken::new());
    let ends = stop.clone();
    runtime.block_on(async {
        tasks.spawn("writer", async move {
            writer.run(ends).await.expect("no panic");
        });
        let site = Site {
            options,
            size,
            intake: parts.intake,
            reader: parts.reader,
        };
        for round in 0..if options.quick { 2 } else { 5 } {
            site.everybody(round).await;
            site.one(round).await;
            site.many(round).await;
        }
        stop.cancel();
        tasks.finish(Duration::from_secs(10)).await;
    });
}

struct Site<'a> {
    options: &'a Options,
    size: Size,
    intake: Intake,
    reader: Reader,
}

/// A change of one group, and who has a role by it from then on, or not any more.
struct Change {
    object: DirectoryObject,
    role: String,
    given: bool,
    users: std::ops::Range<u32>,
}

impl Site<'_> {
    /// A group above all others comes to hold them, or lets go of them: everybody's groups are closed anew.
    async fn everybody(&self, round: u32) {
        let given = round.is_multiple_of(2);
        let tops = (0..self.size.top_groups).map(|index| world::group_guid(0, index));
        let change = Change {
            object: group(ROOF, if given { tops.collect() } else { Vec::new() }),
            role: named(ROOF),
            given,
            users: 0..self.size.users,
        };
        let done = self.apply(change).await;
        say(self.options, ALL, "jims", done.took, done.used, &done.note);
    }

    /// One user joins a section of the big department, or leaves it.
    async fn one(&self, round: u32) {
        let (given, user) = (round.is_multiple_of(2), in_big(self.size) + 7);
        let mut members = section(self.size, 0);
        members.extend(given.then(|| guid(world::USER, user)));
        let change = Change {
            object: group(0, members),
            role: named(0),
            given,
            users: user..user + 1,
        };
        let done = self.apply(change).await;
        let took = done.took * 1e3;
        say(self.options, ONE, "jims", took, done.used, &done.note);
    }

    /// The big department comes into another group, or leaves it.
    async fn many(&self, round: u32) {
        let given = round.is_multiple_of(2);
        let inside = given.then(|| guid(KIND, BIG)).into_iter().collect();
        let change = Change {
            object: group(ABOVE, inside),
            role: named(ABOVE),
            given,
            users: 0..in_big(self.size),
        };
        let done = self.apply(change).await;
        let took = done.took * 1e3;
        say(self.options, WHOLE, "jims", took, done.used, &done.note);
        let waited = done.waited.as_secs_f64() * 1e3;
        let note = format!("{took:.0} ms in all; {}", done.note);
        say(self.options, HOLD, "jims", waited, done.used, &note);
    }

    /// Has the writer apply a change while a reader looks; over when the users concerned have the groups that they should.
    async fn apply(&self, change: Change) -> Done {
        let stop = Arc::new(AtomicBool::new(false));
        let (reader, ends) = (self.reader.clone(), Arc::clone(&stop));
        let looking = thread::spawn(move || longest_wait(&reader, &ends));
        // It is at it.
        tokio::time::sleep(Duration::from_millis(20)).await;
        let users = change.users.len();
        let (begun, cpu) = (monotonic_now(), processor_time());
        let batch = poll(vec![change.object.clone()]);
        let applied = self.intake.apply(batch).await.expect("the writer runs");
        assert_eq!(applied.applied, 1, "the group changed");
        while !self.is_right(&change) {
            assert!(begun.elapsed() < GUARD, "the groups are not right");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let (took, used) = (begun.elapsed().as_secs_f64(), processor_time() - cpu);
        stop.store(true, Ordering::Relaxed);
        let waited = looking.join().expect("the reader");
        Done {
            took,
            used: Used {
                cpu: Some(used),
                rss_bytes: None,
            },
            waited,
            note: format!("{users} users with a session; a reader waited for {waited:.1?} at most"),
        }
    }

    /// Whether a hundred of the users, the first and the last among them, have the role or not, as they should.
    fn is_right(&self, change: &Change) -> bool {
        let core = self.reader.read();
        let step = (change.users.len() / 100).max(1);
        let last = change.users.end - 1;
        let mut some = change.users.clone().step_by(step).chain([last]);
        some.all(|user| {
            let view = core.address(world::address(user)).expect("an entry");
            let user = view.user.expect("a session").user;
            user.roles.iter().any(|role| role == change.role) == change.given
        })
    }
}

struct Done {
    took: f64,
    used: Used,
    waited: Duration,
    note: String,
}

/// The longest that a reader has to wait until it is told to stop.
fn longest_wait(reader: &Reader, stop: &AtomicBool) -> Duration {
    let mut longest = Duration::ZERO;
    while !stop.load(Ordering::Relaxed) {
        let begun = monotonic_now();
        drop(std::hint::black_box(reader.read()));
        longest = longest.max(begun.elapsed());
        thread::sleep(Duration::from_micros(200));
    }
    longest
}

/// A fifth of all users.
fn in_big(size: Size) -> u32 {
    size.users / 5
}

/// The members of a section of the big department.
fn section(size: Size, section: u32) -> Vec<[u8; 16]> {
    let each = in_big(size) / SECTIONS;
    let users = section * each..(section + 1) * each;
    users.map(|user| guid(world::USER, user)).collect()
}

fn named(number: u32) -> String {
    format!("Section-{number:03}")
}

fn group(number: u32, members: Vec<[u8; 16]>) -> DirectoryObject {
    world::group(guid(KIND, number), &named(number), members)
}

/// The big department with its sections, and two groups that hold nobody yet.
fn big(size: Size) -> Vec<DirectoryObject> {
    let sections = (0..SECTIONS).map(|number| group(number, section(size, number)));
    let whole = (0..SECTIONS).map(|number| guid(KIND, number)).collect();
    let others = [
        group(BIG, whole),
        group(ABOVE, Vec::new()),
        group(ROOF, Vec::new()),
    ];
    sections.chain(others).collect()
}

fn poll(objects: Vec<DirectoryObject>) -> Batch {
    world::step(DirectoryStep::Poll, objects)
}
