//! The format, the files, and what a search answers.

use std::fs;
use std::io::Cursor;
use std::path::Path;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::format::{self, Damage, Decoder, Encoder};
use super::log::{Log, segments};
use super::search;
use super::*;
use crate::identity::ended::{Ended, Held};
use crate::identity::event::Strength;
use crate::identity::outcome::EndReason;
use crate::identity::state::SubjectKind;
use crate::identity::time::UtcMillis;
use crate::runtime::clock;
use crate::runtime::supervisor::Tasks;
use crate::writer::{EndedQueue, MAX_WAITING};

mod files;
mod holes;

const T0: i64 = 1_795_000_000_000;
const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

fn session(name: &str, address: &str, since: i64, ended: i64) -> Ended {
    Ended {
        address: address.parse().expect("an address"),
        kind: SubjectKind::User,
        domain: "corp.example.com".into(),
        name: name.into(),
        device: Some("corp.example.com\\ws-0042$".into()),
        since: UtcMillis(T0 + since),
        until: UtcMillis(T0 + ended - 5),
        ended: UtcMillis(T0 + ended),
        reason: Some(EndReason::Logoff),
        by: "vpn".into(),
        by_record: "line 7".into(),
        next: None,
        evidence: Held {
            producer: "dc1".into(),
            record: "4768 #1234567".into(),
            occurred_at: UtcMillis(T0 + since + 10),
            received_at: UtcMillis(T0 + since + 250),
            strength: Strength::Strong,
        },
    }
}

fn displaced(ended: Ended) -> Ended {
    Ended {
        reason: None,
        next: Some("corp.example.com\\bob".into()),
        ..ended
    }
}

fn items() -> Vec<Vec<Item>> {
    let start = Item::Mark(Mark::Start {
        at: T0,
        table_of: None,
    });
    let device = Ended {
        kind: SubjectKind::Device,
        device: None,
        ..session("ws-0042", "2001:db8::7", 0, 9_000)
    };
    vec![
        vec![start, Item::Session(session("alice", "10.1.2.3", 0, 1000))],
        vec![
            Item::Session(displaced(session("alice", "10.1.2.3", 2000, 3000))),
            Item::Session(device),
        ],
    ]
}

fn segment() -> Vec<u8> {
    let mut bytes = format::header().to_vec();
    let mut encoder = Encoder::default();
    for block in items() {
        let block = encoder.block(UtcMillis(T0 + 10_000), &block);
        bytes.extend(block.expect("a block"));
    }
    bytes
}

/// The items that can be read, and what ended the reading.
fn read(bytes: &[u8]) -> (Vec<Item>, Option<Damage>) {
    let mut all = Vec::new();
    let mut decoder = match Decoder::new(Cursor::new(bytes)) {
        Ok(decoder) => decoder,
        Err(damage) => return (all, Some(damage)),
    };
    loop {
        match decoder.next() {
            Ok(Some(items)) => all.extend(items),
            Ok(None) => return (all, None),
            Err(damage) => return (all, Some(damage)),
        }
    }
}

#[test]
fn a_segment_is_read_as_it_was_written() {
    let (read, damage) = read(&segment());
    assert!(damage.is_none());
    assert_eq!(read, items().concat());
}

/// Other programs read these bytes: they change with the version only.
#[test]
fn the_bytes_are_those_of_version_1() {
    let mut encoder = Encoder::default();
    let one = [Item::Session(displaced(session("al", "10.1.2.3", 0, 1000)))];
    let block = encoder.block(UtcMillis(T0 + 1000), &one).expect("a block");
    let bytes = [format::header().as_slice(), &block].concat();
    let hex = data_encoding::HEXLOWER.encode(&bytes);
    insta::assert_snapshot!(hex);
}

#[test]
fn a_segment_cut_anywhere_gives_what_is_whole_of_it() {
    let (whole, all) = (segment(), items().concat());
    for length in 0..whole.len() {
        let (read, damage) = read(&whole[..length]);
        assert!(all.starts_with(&read), "{length}");
        let at_border = damage.is_none();
        assert!(
            at_border || matches!(damage, Some(Damage::Torn)),
            "{length}"
        );
    }
}

#[test]
fn a_damaged_byte_is_never_taken_for_another_session() {
    let (whole, all) = (segment(), items().concat());
    for place in 0..whole.len() {
        for bit in 0..8 {
            let mut damaged = whole.clone();
            damaged[place] ^= 1 << bit;
            let (read, damage) = read(&damaged);
            assert!(all.starts_with(&read), "{place}");
            assert!(damage.is_some(), "{place}");
        }
    }
}

fn forever() -> Limits {
    Limits {
        max_age: Duration::from_secs(3650 * 86_400),
        max_size: u64::MAX,
    }
}

fn bounds(rows: usize) -> Bounds {
    Bounds {
        rows,
        bytes: u64::MAX,
        until: clock::monotonic_now() + Duration::from_secs(60),
        now: clock::utc_now(),
    }
}

fn listed(folder: &Path) -> search::Listed {
    segments(folder).map_err(|error| error.to_string())
}

fn at(folder: &Path, address: &str, at: i64) -> Found {
    let whom = Whom::At(address.parse().expect("an address"));
    let at = UtcMillis(T0 + at);
    search::at(listed(folder), Vec::new(), &whom, at, bounds(100))
}

fn names(found: &Found) -> Vec<&str> {
    found
        .ended
        .iter()
        .map(|ended| ended.name.as_str())
        .collect()
}

fn append(log: &mut Log, item: Item, now: i64) {
    log.append(&[item], UtcMillis(T0 + now)).expect("written");
}

fn start(at: i64, table_of: Option<i64>) -> Item {
    let table_of = table_of.map(|table_of| T0 + table_of);
    Item::Mark(Mark::Start {
        at: T0 + at,
        table_of,
    })
}

#[test]
fn who_was_there_is_found_across_days_and_restarts() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path();
    let mut log = Log::new(path.to_owned(), forever());
    append(&mut log, start(0, None), 0);
    append(
        &mut log,
        Item::Session(session("alice", A, HOUR, 2 * HOUR)),
        2 * HOUR,
    );
    // Over midnight, and over the next start.
    append(
        &mut log,
        Item::Session(session("bob", A, 3 * HOUR, 2 * DAY)),
        2 * DAY,
    );
    let elsewhere = session("dave", "10.9.9.8", DAY, 3 * DAY - HOUR + 1);
    append(&mut log, Item::Session(elsewhere), 2 * DAY);
    drop(log);
    let mut log = Log::new(path.to_owned(), forever());
    append(&mut log, start(3 * DAY, Some(3 * DAY - HOUR)), 3 * DAY);
    append(
        &mut log,
        Item::Session(session("carol", A, 2 * DAY + HOUR, 4 * DAY)),
        4 * DAY,
    );
    assert_eq!(segments(path).expect("a folder").len(), 4);
    for (when, who) in [
        (HOUR - 1, vec![]),
        (HOUR, vec!["alice"]),
        (2 * HOUR - 1, vec!["alice"]),
        (2 * HOUR, vec![]),
        (DAY, vec!["bob"]),
        (2 * DAY + HOUR, vec!["carol"]),
        (4 * DAY, vec![]),
    ] {
        assert_eq!(names(&at(path, A, when)), who, "{when}");
        assert_eq!(names(&at(path, "10.9.9.9", when)), Vec::<&str>::new());
    }
    let hole = |when| at(path, A, when).holes.first().map(|hole| hole.why);
    assert_eq!(hole(3 * DAY - HOUR - 1), None);
    assert_eq!(hole(3 * DAY - 1), Some(HoleKind::Crashed));
    assert_eq!(hole(3 * DAY), None);
    let named = |name: &str, domain: Option<&str>| {
        let whom = Whom::Named(vec![(name.to_owned(), domain.map(str::to_owned))]);
        let at = UtcMillis(T0 + DAY);
        let found = search::at(listed(path), Vec::new(), &whom, at, bounds(100));
        found.ended.len()
    };
    assert_eq!(named("BOB", None), 1);
    assert_eq!(named("bob", Some("CORP")), 1);
    assert_eq!(named("bob", Some("Corp.Example.com")), 1);
    assert_eq!(named("bob", Some("lab")), 0);
    let whom = Whom::At(A.parse().expect("address"));
    let last = search::last(listed(path), Vec::new(), &whom, bounds(2));
    assert_eq!(names(&last), ["carol", "bob"]);
}

const A: &str = "10.1.2.3";

#[test]
fn a_session_that_ended_twice_after_a_crash_is_one() {
    let folder = tempfile::tempdir().expect("folder");
    let mut log = Log::new(folder.path().to_owned(), forever());
    append(&mut log, Item::Session(session("alice", A, 0, HOUR)), HOUR);
    append(
        &mut log,
        Item::Session(session("alice", A, 0, 2 * HOUR)),
        2 * HOUR,
    );
    let found = at(folder.path(), A, 1);
    assert_eq!(found.ended.len(), 1);
    assert_eq!(found.ended[0].ended, UtcMillis(T0 + 2 * HOUR));
}

#[test]
fn a_damaged_segment_costs_only_what_follows_in_it() {
    let folder = tempfile::tempdir().expect("folder");
    let mut log = Log::new(folder.path().to_owned(), forever());
    append(&mut log, Item::Session(session("alice", A, 0, HOUR)), HOUR);
    append(&mut log, Item::Session(session("bob", A, 0, HOUR)), HOUR);
    drop(log);
    let first = segments(folder.path()).expect("a folder").remove(0).path;
    let mut bytes = fs::read(&first).expect("a segment");
    *bytes.last_mut().expect("a byte") ^= 1;
    fs::write(&first, bytes).expect("damaged");
    let mut log = Log::new(folder.path().to_owned(), forever());
    append(
        &mut log,
        Item::Session(session("carol", A, 0, 2 * HOUR)),
        2 * HOUR,
    );
    let found = at(folder.path(), A, 1);
    assert_eq!(names(&found), ["alice", "carol"]);
    assert_eq!(found.damaged.len(), 1);
    assert!(found.damaged[0].ends_with(".jh: a block of it is damaged"));
}

#[test]
fn the_oldest_goes_by_age_and_by_size_and_the_open_one_never() {
    let folder = tempfile::tempdir().expect("folder");
    let limits = Limits {
        max_age: Duration::from_secs(3 * 86_400),
        max_size: u64::MAX,
    };
    let mut log = Log::new(folder.path().to_owned(), limits);
    let count = || segments(folder.path()).expect("a folder").len();
    for day in 0..6 {
        append(
            &mut log,
            Item::Session(session("alice", A, 0, day * DAY)),
            day * DAY,
        );
    }
    // What ended within three days may be in the segment that was begun before.
    assert_eq!(count(), 5);
    let little = Limits {
        max_size: 300,
        ..forever()
    };
    log.retain(little, UtcMillis(T0 + 5 * DAY))
        .expect("deleted");
    assert!(count() < 5 && count() > 0, "{}", count());
    let none = Limits {
        max_size: 0,
        ..forever()
    };
    log.retain(none, UtcMillis(T0 + 5 * DAY)).expect("deleted");
    assert_eq!(count(), 1);
    append(
        &mut log,
        Item::Session(session("bob", A, 0, 5 * DAY)),
        5 * DAY,
    );
    assert_eq!(names(&at(folder.path(), A, 5 * DAY - 1)), ["alice", "bob"]);
}

#[test]
fn files_are_private_and_their_names_sort_whatever_the_clock_says() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("history");
    for now in [HOUR, 0, HOUR] {
        let mut log = Log::new(path.clone(), forever());
        append(&mut log, start(now, None), now);
    }
    fs::write(path.join("notes.txt"), "none of ours").expect("a file");
    let found = segments(&path).expect("a folder");
    let times = |s: &log::Segment| (s.order.0 - T0 - HOUR, s.begun.0 - T0 - HOUR);
    let times: Vec<_> = found.iter().map(times).collect();
    assert_eq!(times, [(0, 0), (1, -HOUR), (2, 0)]);
    let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(&found[0].path)), (0o700, 0o600));
}

struct Kept {
    history: History,
    queue: EndedQueue,
    tasks: Tasks,
    stop: CancellationToken,
}

fn keep(folder: &Path) -> Kept {
    let queue = EndedQueue::default();
    let kept = Kept {
        history: History::new(folder.to_owned(), queue.clone(), Some(forever())),
        queue,
        tasks: Tasks::new(),
        stop: CancellationToken::new(),
    };
    let running = kept.history.clone().run(None, kept.stop.clone());
    kept.tasks.spawn("history", running);
    kept
}

impl Kept {
    async fn at(&self, when: i64) -> Found {
        let whom = Whom::At(A.parse().expect("address"));
        self.history.at(whom, UtcMillis(T0 + when)).await
    }

    async fn is_mended(&self) {
        let mended = async {
            while self.history.fault().is_some() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let in_time = tokio::time::timeout(Duration::from_secs(60), mended);
        in_time.await.expect("the disk is tried again");
    }

    async fn end(self) {
        self.stop.cancel();
        self.tasks.ended().await;
    }
}

#[tokio::test]
async fn what_has_just_ended_is_found_and_what_waits_at_the_end_is_written() {
    let folder = tempfile::tempdir().expect("folder");
    let kept = keep(folder.path());
    kept.queue.push(vec![session("alice", A, 0, HOUR)]);
    assert_eq!(names(&kept.at(1).await), ["alice"]);
    kept.queue.push(vec![session("bob", A, 0, HOUR)]);
    kept.end().await;
    let kept = keep(folder.path());
    assert_eq!(names(&kept.at(1).await), ["alice", "bob"]);
    let last = kept
        .history
        .ended_of(Whom::At(A.parse().expect("address")), 1);
    assert_eq!(last.await.len(), 1);
    kept.end().await;
}

#[tokio::test]
async fn a_disk_that_refuses_is_told_and_tried_again_and_nothing_that_fits_is_lost() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("history");
    fs::write(&path, "a file where the folder should be").expect("a file");
    let kept = keep(&path);
    kept.queue.push(vec![session("alice", A, 0, HOUR)]);
    kept.history.flush().await;
    let fault = kept.history.fault().expect("a fault");
    assert!(fault.what.starts_with("the history cannot be written: "));
    // Of what waits too: what has been taken from the queue, and what has not.
    kept.queue
        .push(vec![session("bob", A, 0, HOUR), session("eve", A, 9, HOUR)]);
    assert_eq!(names(&kept.at(1).await), ["alice", "bob"]);
    let whom = Whom::At(A.parse().expect("address"));
    let last = kept.history.ended_of(whom, 2).await;
    let last: Vec<_> = last.iter().map(|ended| ended.name.as_str()).collect();
    assert_eq!(last, ["eve", "bob"]);
    fs::remove_file(&path).expect("mended");
    kept.is_mended().await;
    assert_eq!(names(&kept.at(1).await), ["alice", "bob"]);
    kept.end().await;
    assert_eq!(names(&at(&path, A, 1)), ["alice", "bob"]);
}

#[tokio::test]
async fn what_does_not_fit_into_the_queue_is_counted_as_a_gap() {
    let folder = tempfile::tempdir().expect("folder");
    let queue = EndedQueue::default();
    let one = session("alice", "10.0.0.1", 0, HOUR);
    queue.push(vec![one; MAX_WAITING]);
    queue.push(vec![
        session("bob", A, 0, HOUR),
        session("carol", A, 0, 2 * HOUR),
    ]);
    let history = History::new(folder.path().to_owned(), queue, Some(forever()));
    let (tasks, stop) = (Tasks::new(), CancellationToken::new());
    tasks.spawn("history", history.run(None, stop.clone()));
    stop.cancel();
    tasks.ended().await;
    let found = at(folder.path(), A, 1);
    let lost = Hole {
        from: UtcMillis(T0 + HOUR),
        until: UtcMillis(T0 + 2 * HOUR),
        why: HoleKind::Lost(2),
    };
    assert_eq!(names(&found), Vec::<&str>::new());
    assert_eq!(found.holes, [lost]);
    assert_eq!(at(folder.path(), A, 3 * HOUR).holes, []);
}

#[tokio::test]
async fn while_it_is_off_nothing_is_kept_and_that_is_known_later() {
    let folder = tempfile::tempdir().expect("folder");
    let kept = keep(folder.path());
    kept.history.flush().await;
    let before = clock::utc_now().0 - T0;
    kept.history.set(None);
    kept.history.flush().await;
    kept.queue.push(vec![session("alice", A, 0, HOUR)]);
    kept.history.flush().await;
    let off = kept.at(before).await;
    assert_eq!(off.holes.first().map(|hole| hole.why), Some(HoleKind::Off));
    kept.history.set(Some(forever()));
    kept.history.flush().await;
    let after = clock::utc_now().0 - T0 + 1;
    assert_eq!(kept.at(after).await.holes, []);
    kept.end().await;
}
