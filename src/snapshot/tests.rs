//! The files against crashes anywhere, damage, and disks that refuse.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::segment;
use super::store::{Opened, Store};
use super::{SnapshotError, VERSION};
use crate::access::TokenRecord;
use crate::identity::changes::{Change, Changes, Instant};
use crate::identity::directory::{
    DirectoryBatch, DirectoryObject, DirectoryStep, ObjectId, ObjectKind,
};
use crate::identity::event::{Bookmark, Claim, IdentityEvent, Logon, Qualifier, Strength, UserRef};
use crate::identity::heard::{Heard, Hearer, LineId};
use crate::identity::name::Name;
use crate::identity::policy::Policy;
use crate::identity::state::{State, SubjectKind, SubjectState};
use crate::identity::time::UtcMillis;
use crate::identity::view::{Epoch, Seq};
use crate::identity::{Batch, Core};

fn instant(now: i64) -> Instant {
    Instant {
        epoch: Epoch(7),
        last_seq: Seq(1),
        floor: Seq(0),
        now: Some(UtcMillis(now)),
        jumped_to: None,
        feed_last: Seq(0),
        feed_floor: Seq(0),
    }
}

fn subject(name: &str) -> SubjectState {
    SubjectState {
        kind: SubjectKind::User,
        domain: "corp.example.com".into(),
        name: name.into(),
        object: None,
        gone: false,
        by_upn: false,
    }
}

/// What a step changes; `None`: it is only part of one.
fn changes(list: Vec<Change>, now: Option<i64>) -> Changes {
    Changes {
        list,
        instant: now.map(instant),
    }
}

fn named(place: u32, name: &str) -> Change {
    Change::Subject(place, Some(subject(name)))
}

fn open(folder: &Path) -> Opened {
    Store::open(folder).expect("a snapshot")
}

fn table(folder: &Path) -> State {
    open(folder).contents.expect("a table").state
}

fn names(state: &State) -> Vec<(u32, String)> {
    let subjects = state.subjects.iter();
    subjects
        .map(|(place, is)| (*place, is.name.to_string()))
        .collect()
}

fn token(client: &str) -> TokenRecord {
    TokenRecord {
        hash: [9; 32],
        client: client.into(),
        expires: UtcMillis(5),
    }
}

fn add(store: &mut Store, list: Vec<Change>, now: Option<i64>) {
    store.add(&changes(list, now));
    store.write().expect("written");
    store.sync().expect("safe");
}

/// Two tables, one after the other, and the beginning of a third.
fn three(folder: &Path) -> Store {
    let mut store = open(folder).store;
    let site = Change::Site(Box::default());
    add(
        &mut store,
        vec![site, named(0, "ada"), named(1, "bob")],
        Some(1),
    );
    add(
        &mut store,
        vec![Change::Subject(0, None), named(2, "cleo")],
        Some(2),
    );
    add(&mut store, vec![named(3, "dan")], None);
    store
}

#[test]
fn rule_22_what_was_whole_last_counts() {
    let folder = tempfile::tempdir().expect("folder");
    drop(three(folder.path()));
    let opened = open(folder.path());
    assert!(opened.dropped.bytes > 0, "the third was not whole");
    assert!(!opened.dropped.is_damage);
    let state = opened.contents.expect("a table").state;
    assert_eq!(state.now, Some(UtcMillis(2)));
    assert_eq!(names(&state), [(1, "bob".into()), (2, "cleo".into())]);
}

#[test]
fn rule_22_a_crash_anywhere_leaves_a_table_that_was() {
    let folder = tempfile::tempdir().expect("folder");
    drop(three(folder.path()));
    let path = segment::path(folder.path(), 1);
    let whole = fs::read(&path).expect("bytes");
    let mut seen = Vec::new();
    for length in 0..whole.len() {
        fs::write(&path, &whole[..length]).expect("cut");
        let contents = Store::open(folder.path()).expect("no damage").contents;
        seen.push(contents.map(|contents| contents.state.now));
        if !path.exists() {
            // Nothing of it counted, so it was let go.
            assert_eq!(seen.last(), Some(&None));
        }
    }
    seen.dedup();
    assert_eq!(
        seen,
        [None, Some(Some(UtcMillis(1))), Some(Some(UtcMillis(2)))]
    );
}

#[test]
fn rule_22_damage_is_never_half_a_table() {
    let folder = tempfile::tempdir().expect("folder");
    drop(three(folder.path()));
    let path = segment::path(folder.path(), 1);
    let whole = fs::read(&path).expect("bytes");
    let was = |state: &State| match state.now {
        Some(UtcMillis(1)) => names(state) == [(0, "ada".into()), (1, "bob".into())],
        Some(UtcMillis(2)) => names(state) == [(1, "bob".into()), (2, "cleo".into())],
        _ => false,
    };
    for place in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[place] ^= 0x40;
        fs::write(&path, &damaged).expect("damaged");
        let Ok(opened) = Store::open(folder.path()) else {
            continue;
        };
        assert!(opened.dropped.bytes > 0, "flipped at {place}");
        if let Some(contents) = opened.contents {
            assert!(was(&contents.state), "flipped at {place}");
        }
    }
}

#[test]
fn rule_22_damage_before_a_whole_end_leaves_a_table_that_was() {
    let folder = tempfile::tempdir().expect("folder");
    let mut store = open(folder.path()).store;
    for (place, name) in [(0, "ada"), (1, "bob"), (2, "cleo")] {
        add(&mut store, vec![named(place, name)], Some(i64::from(place)));
    }
    drop(store);
    let path = segment::path(folder.path(), 1);
    let whole = fs::read(&path).expect("bytes");
    assert_eq!(open(folder.path()).dropped.bytes, 0);
    let mut seen = Vec::new();
    for place in segment::HEADER_BYTES..whole.len() {
        let mut damaged = whole.clone();
        damaged[place] ^= 0x40;
        fs::write(&path, &damaged).expect("damaged");
        let opened = open(folder.path());
        assert!(opened.dropped.bytes > 0, "flipped at {place}");
        seen.push(opened.contents.map(|contents| {
            let names = names(&contents.state).len();
            assert_eq!(contents.state.now, Some(UtcMillis(names as i64 - 1)));
            names
        }));
    }
    seen.dedup();
    assert_eq!(seen, [None, Some(1), Some(2)]);
}

#[test]
fn the_last_row_of_a_key_counts_wherever_it_stands() {
    let folder = tempfile::tempdir().expect("folder");
    let mut store = open(folder.path()).store;
    let bookmark = |value: u8| Change::Bookmark("dc1".into(), Box::from([value]));
    let mark = |seq: Option<u64>| Change::Mark(UtcMillis(5), seq.map(Seq));
    let first = vec![named(0, "ada"), bookmark(1), mark(Some(1)), named(0, "bob")];
    add(&mut store, first, Some(1));
    let second = vec![
        bookmark(2),
        mark(None),
        Change::Subject(1, None),
        bookmark(3),
    ];
    add(&mut store, second, Some(2));
    add(&mut store, vec![named(1, "cleo")], Some(3));
    add(
        &mut store,
        vec![named(1, "dan"), Change::Subject(1, None)],
        Some(4),
    );
    drop(store);
    let state = table(folder.path());
    assert_eq!(names(&state), [(0, "bob".into())]);
    assert_eq!(state.bookmarks, [("dc1".into(), Box::from([3]))]);
    assert_eq!((state.marks, state.now), (Vec::new(), Some(UtcMillis(4))));
}

#[test]
fn rule_22_a_newer_version_and_a_gap_are_refused_by_their_own_errors() {
    let folder = tempfile::tempdir().expect("folder");
    drop(three(folder.path()));
    let mut store = open(folder.path()).store;
    add(&mut store, vec![named(4, "eve")], Some(3));
    drop(store);
    assert_eq!(names(&table(folder.path())).len(), 3);
    let first = segment::path(folder.path(), 1);
    let bytes = fs::read(&first).expect("bytes");
    fs::write(&first, &bytes[..bytes.len() / 3]).expect("cut");
    let gap = Store::open(folder.path());
    assert!(
        matches!(gap, Err(SnapshotError::Gap { number: 2 })),
        "{gap:?}"
    );
    let mut newer = bytes.clone();
    newer[8..10].copy_from_slice(&(VERSION + 1).to_le_bytes());
    fs::write(&first, &newer).expect("newer");
    let newer = Store::open(folder.path());
    let is_newer = matches!(newer, Err(SnapshotError::Newer { found }) if found == VERSION + 1);
    assert!(is_newer, "{newer:?}");
    fs::write(&first, b"something else entirely, and long enough").expect("foreign");
    let foreign = Store::open(folder.path());
    assert!(
        matches!(foreign, Err(SnapshotError::NotASnapshot)),
        "{foreign:?}"
    );
}

#[test]
fn folding_changes_nothing_and_takes_less_room() {
    let folder = tempfile::tempdir().expect("folder");
    let mut store = three(folder.path());
    for round in 0..20 {
        add(
            &mut store,
            vec![named(1, &format!("bob-{round}"))],
            Some(3 + round),
        );
        if round % 3 == 0 {
            let before = table(folder.path());
            let bytes = store.bytes();
            let folding = store.fold(0).expect("worth it");
            // What is written meanwhile goes on.
            add(&mut store, vec![named(9, "meanwhile")], Some(3 + round));
            let folded = folding.run().expect("folded");
            store.folded(folded).expect("noted");
            let mut after = table(folder.path());
            assert_eq!(after.subjects.pop(), Some((9, subject("meanwhile"))));
            assert_eq!(
                after.subjects,
                before
                    .subjects
                    .into_iter()
                    .filter(|(p, _)| *p != 9)
                    .collect::<Vec<_>>()
            );
            assert!(store.bytes() < bytes + 200, "round {round}");
        }
    }
    assert_eq!(segment::list(folder.path()).expect("files").len(), 2);
    let before = table(folder.path());
    drop(store);
    assert_eq!(table(folder.path()), before);
}

#[test]
fn the_first_folding_leaves_out_what_was_written_over() {
    let folder = tempfile::tempdir().expect("folder");
    let mut store = three(folder.path());
    for round in 0..200 {
        add(
            &mut store,
            vec![named(1, &format!("bob-{round}"))],
            Some(3 + round),
        );
    }
    let bytes = store.bytes();
    let folded = store.fold(0).expect("worth it").run().expect("folded");
    store.folded(folded).expect("noted");
    assert!(store.bytes() < bytes / 20, "{} of {bytes}", store.bytes());
    let state = table(folder.path());
    let expected = [(1, "bob-199".into()), (2, "cleo".into()), (3, "dan".into())];
    assert_eq!(names(&state), expected);
}

#[test]
fn tokens_come_with_the_table_and_a_clean_stop_is_said_last() {
    let folder = tempfile::tempdir().expect("folder");
    let mut store = open(folder.path()).store;
    // Before there is a table they wait for it.
    store.add_tokens(vec![token("srx-1")]);
    store.write().expect("written");
    assert!(open_contents_is_none(folder.path()));
    add(&mut store, vec![named(0, "ada")], Some(1));
    let clients = || {
        let contents = open(folder.path()).contents.expect("a table");
        let clients = contents.tokens.into_iter().map(|token| token.client);
        (clients.collect::<Vec<_>>(), contents.clean)
    };
    assert_eq!(clients(), (vec!["srx-1".into()], false));
    store.add_tokens(vec![token("srx-2")]);
    store.add_instant(true);
    store.write().expect("written");
    assert_eq!(clients(), (vec!["srx-2".into()], true));
    let mut store = open(folder.path()).store;
    store.begin_run().expect("marked");
    assert_eq!(clients(), (vec!["srx-2".into()], false));
}

/// Looks without letting go of what does not count yet.
fn open_contents_is_none(folder: &Path) -> bool {
    super::load::load(folder).expect("files").contents.is_none()
}

#[test]
fn whoever_starts_over_counts_once_he_has_a_table_and_what_was_before_until_then() {
    let folder = tempfile::tempdir().expect("folder");
    let mut store = three(folder.path());
    store.start_over();
    add(&mut store, vec![named(0, "zoe")], None);
    let found = super::load::load(folder.path()).expect("files");
    let before = found.contents.expect("a table").state;
    assert_eq!(names(&before), [(1, "bob".into()), (2, "cleo".into())]);
    add(&mut store, vec![named(1, "yan")], Some(9));
    assert_eq!(
        names(&table(folder.path())),
        [(0, "zoe".into()), (1, "yan".into())]
    );
    assert_eq!(segment::list(folder.path()).expect("files"), [2]);
}

/// A Collector's word for a line, as a core takes it.
fn heard(line: u64, by: u64, now: UtcMillis) -> Batch {
    let event = IdentityEvent {
        producer: "vpn".into(),
        record: "1".into(),
        occurred_at: now,
        received_at: now,
        heard: Some(Box::new(Heard {
            line: LineId(line),
            by: Hearer(by),
        })),
        address: None,
        claim: Claim::DeviceLogoff { device: None },
    };
    Batch::Events {
        events: vec![event],
        bookmark: None,
    }
}

#[test]
fn lines_are_read_back_as_long_as_the_table_remembers_them_also_when_folded() {
    let folder = tempfile::tempdir().expect("folder");
    let mut store = open(folder.path()).store;
    let mut core = Core::new(Epoch(7), Policy::default());
    let mut now = UtcMillis(1_700_000_000_000);
    let (mut most, mut folded) = (0, 0);
    for round in 0..120_u64 {
        now = now.after(Duration::from_millis(round * round % 5_003));
        for (line, by) in [(round % 17, 1), (round % 11, 2), (round, round % 3)] {
            core.apply(heard(line, by, now), now, &mut Vec::new());
        }
        store.add(&core.take_changes(usize::MAX));
        store.write().expect("written");
        store.sync().expect("safe");
        if round % 5 == 4 {
            folded += usize::from(fold(&mut store));
        }
        let state = table(folder.path());
        assert_eq!(state, core.export(), "round {round}");
        most = most.max(state.lines.len());
        core.check_invariants();
    }
    assert!(most > 30 && folded > 3, "{most} lines, {folded} times");
    // All of them too old: a folded segment holds none.
    now = now.after(Duration::from_secs(61));
    for _ in 0..200 {
        core.apply(heard(1_000, 1, now), now, &mut Vec::new());
        store.add(&core.take_changes(usize::MAX));
    }
    store.write().expect("written");
    assert!(store.bytes() > 1_000);
    assert!(fold(&mut store), "worth it");
    assert!(store.bytes() < 300, "{} bytes", store.bytes());
    assert_eq!(table(folder.path()).lines, core.export().lines);
    assert_eq!(table(folder.path()).lines.len(), 1);
}

/// Folds if that is worth it.
fn fold(store: &mut Store) -> bool {
    let folding = store.fold(0);
    let folded = folding.map(|folding| folding.run().expect("folded"));
    let is_worth_it = folded.is_some();
    if let Some(folded) = folded {
        store.folded(folded).expect("noted");
    }
    is_worth_it
}

/// Somebody at an address.
fn logon(number: u8, now: UtcMillis) -> IdentityEvent {
    let name = |text: &str| Name::new(text).expect("a name");
    IdentityEvent {
        producer: "vpn".into(),
        record: "1".into(),
        occurred_at: now,
        received_at: now,
        heard: None,
        address: Some([10, 1, 2, number].into()),
        claim: Claim::Logon(Logon {
            user: UserRef {
                name: name(&format!("user{number}")),
                qualifier: Qualifier::Domain(name("corp.example.com")),
            },
            device: None,
            groups: Vec::new(),
            strength: Strength::Strong,
            logon_id: None,
        }),
    }
}

/// The directory tells of users, and that all of them are in a group.
fn group_of(users: &[u8], bookmark: &str) -> Batch {
    let name = |text: &str| Name::new(text).expect("a name");
    let object = |number: u8, text: &str, kind| DirectoryObject {
        id: ObjectId([number; 16]),
        sid: None,
        name: name(text),
        kind,
    };
    let user = |number: &u8| {
        let kind = ObjectKind::User {
            upn: None,
            enabled: true,
            primary_group: None,
        };
        object(*number, &format!("user{number}"), kind)
    };
    let members = users.iter().map(|number| ObjectId([*number; 16])).collect();
    let group = object(255, "Everybody", ObjectKind::Group { members });
    Batch::Directory(DirectoryBatch {
        directory: name("corp"),
        domain: name("corp.example.com"),
        facts: None,
        step: DirectoryStep::Poll,
        upserts: users.iter().map(user).chain([group]).collect(),
        removed: Vec::new(),
        bookmark: Some(Bookmark {
            key: "directory/corp".into(),
            value: bookmark.as_bytes().into(),
        }),
    })
}

#[test]
fn a_crash_in_the_middle_of_a_batch_goes_back_to_before_it() {
    let folder = tempfile::tempdir().expect("folder");
    let mut store = open(folder.path()).store;
    let name = |text: &str| Name::new(text).expect("a name");
    let policy = Policy {
        logoff_time: Duration::from_secs(3600),
        directories: vec![(name("corp"), name("corp.example.com"))],
        ..Policy::default()
    };
    let mut core = Core::new(Epoch(7), policy.clone());
    let now = UtcMillis(1_700_000_000_000);
    let users: Vec<u8> = (1..=30).collect();
    let events = Batch::Events {
        events: users.iter().map(|number| logon(*number, now)).collect(),
        bookmark: None,
    };
    core.apply(events, now, &mut Vec::new());
    core.apply(group_of(&users[..3], "1"), now, &mut Vec::new());
    let mut keep = |core: &mut Core| {
        let changes = core.take_changes(usize::MAX);
        store.add(&changes);
        store.write().expect("written");
        store.sync().expect("safe");
        changes.instant.is_some()
    };
    assert!(keep(&mut core));
    let before = core.export();
    core.begin(group_of(&users, "2"), now, &mut Vec::new());
    let mut slices = 0;
    while core.go_on(2) {
        slices += 1;
        assert!(!keep(&mut core));
        // What a crash here leaves.
        let found = super::load::load(folder.path()).expect("files");
        assert_eq!(found.contents.expect("a table").state, before);
    }
    assert!(slices > 10, "{slices} slices");
    assert!(keep(&mut core));
    let after = table(folder.path());
    assert_eq!(after, core.export());
    assert_ne!(after.bookmarks, before.bookmarks);
    assert!(after.last_seq > before.last_seq);
    let again = Core::resume(after, policy).expect("a table");
    again.check_invariants();
}
