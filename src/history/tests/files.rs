//! Clocks that were wrong, files that are gone, and files that nobody of ours wrote.

use super::*;

#[test]
fn a_clock_that_was_far_ahead_keeps_nothing_for_ever_and_hides_nothing() {
    let folder = tempfile::tempdir().expect("folder");
    let limits = Limits {
        max_age: Duration::from_secs(3 * 86_400),
        max_size: u64::MAX,
    };
    let mut log = Log::new(folder.path().to_owned(), limits);
    let ahead = 70 * 365 * DAY;
    append(&mut log, start(ahead, None), ahead);
    for day in -9..=-4 {
        let ended = Item::Session(session("alice", A, day * DAY - HOUR, day * DAY));
        append(&mut log, ended, day * DAY);
    }
    let found = segments(folder.path()).expect("a folder");
    // Each day has its own, and what is too old is gone.
    let days: Vec<i64> = found.iter().map(|s| (s.begun.0 - T0) / DAY).collect();
    assert_eq!(days, [-8, -7, -6, -5, -4]);
    let found = at(folder.path(), A, -6 * DAY - 1);
    assert_eq!(names(&found), ["alice"]);
    assert_eq!(found.begins, Some(UtcMillis(T0 - 8 * DAY)));
}

#[test]
fn a_session_that_ended_ahead_of_the_clock_is_found_behind_the_next_segment() {
    let folder = tempfile::tempdir().expect("folder");
    let mut log = Log::new(folder.path().to_owned(), forever());
    // The table's time never goes back; the clock did.
    append(&mut log, Item::Session(session("alice", A, 0, 3 * HOUR)), 0);
    drop(log);
    for _ in 0..2 {
        let mut log = Log::new(folder.path().to_owned(), forever());
        append(&mut log, start(HOUR, Some(3 * HOUR)), HOUR);
    }
    assert_eq!(names(&at(folder.path(), A, 2 * HOUR)), ["alice"]);
}

#[test]
fn a_clock_that_was_not_set_yet_is_not_believed() {
    let folder = tempfile::tempdir().expect("folder");
    let mut log = Log::new(folder.path().to_owned(), forever());
    append(&mut log, start(-T0, None), -T0);
    append(&mut log, Item::Session(session("alice", A, 0, HOUR)), 0);
    let found = at(folder.path(), A, 1);
    assert_eq!(found.begins, Some(UtcMillis(T0)));
    assert_eq!(names(&found), ["alice"]);
}

#[test]
fn a_segment_that_was_deleted_after_it_was_listed_makes_the_history_begin_later() {
    let folder = tempfile::tempdir().expect("folder");
    let mut log = Log::new(folder.path().to_owned(), forever());
    for day in -9..-6 {
        let ended = Item::Session(session("alice", A, day * DAY - HOUR, day * DAY));
        append(&mut log, ended, day * DAY);
    }
    let listed = listed(folder.path());
    let first = segments(folder.path()).expect("a folder").remove(0);
    fs::remove_file(first.path).expect("deleted");
    let whom = Whom::At(A.parse().expect("an address"));
    let when = UtcMillis(T0 - 9 * DAY - 1);
    let found = search::at(listed, Vec::new(), &whom, when, bounds(9));
    assert_eq!(found.begins, Some(UtcMillis(T0 - 8 * DAY)));
}

#[test]
fn a_search_that_runs_out_of_time_says_so_and_one_with_too_many_rows_too() {
    let folder = tempfile::tempdir().expect("folder");
    let mut log = Log::new(folder.path().to_owned(), forever());
    for name in ["alice", "bob"] {
        append(&mut log, Item::Session(session(name, A, 0, HOUR)), 0);
    }
    let whom = Whom::At(A.parse().expect("an address"));
    let with = |bounds| {
        let listed = listed(folder.path());
        let found = search::at(listed, Vec::new(), &whom, UtcMillis(T0 + 1), bounds);
        (found.truncated, found.unfinished)
    };
    assert_eq!(with(bounds(2)), (false, false));
    assert_eq!(with(bounds(1)), (true, false));
    let none = Bounds {
        until: clock::monotonic_now(),
        ..bounds(2)
    };
    assert_eq!(with(none), (false, true));
}

#[test]
fn a_block_that_cannot_be_written_leaves_no_empty_file() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("history");
    let open = |log: &mut Log| log.append(&[start(0, None)], UtcMillis(T0));
    let mut log = Log::new(path.clone(), forever());
    open(&mut log).expect("written");
    log.abandon();
    assert_eq!(
        segments(&path).expect("a folder").len(),
        1,
        "it has a block"
    );
    log.begin_empty(UtcMillis(T0)).expect("begun");
    assert_eq!(segments(&path).expect("a folder").len(), 2);
    log.abandon();
    assert_eq!(segments(&path).expect("a folder").len(), 1);
}

/// A block with a right CRC of a payload that begins with `at` 0.
fn block(payload: &[u8]) -> Vec<u8> {
    let mut bytes = format::header().to_vec();
    let payload = [&[0], payload].concat();
    let length = u32::try_from(payload.len()).expect("short");
    bytes.extend(length.to_le_bytes());
    bytes.extend(crc32fast::hash(&payload).to_le_bytes());
    bytes.extend(payload);
    bytes
}

/// A number as postcard writes it.
fn varint(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    bytes.push(number.to_le_bytes()[0]);
    bytes
}

#[test]
fn a_block_of_more_than_we_write_is_refused_before_it_takes_memory() {
    let none = varint(0);
    let text = |length: usize| [varint(length), vec![b'a'; length]].concat();
    let texts = |count: usize, text: &[u8]| [varint(count), text.repeat(count)].concat();
    let stops = |count: usize| [varint(count), [1, 2].repeat(count)].concat();
    let is_read = |parts: &[&[u8]]| read(&block(&parts.concat())).1.is_none();
    assert!(is_read(&[&none, &stops(MAX_BLOCK_ITEMS), &none]));
    assert!(!is_read(&[&none, &stops(2 * MAX_BLOCK_ITEMS), &none]));
    // Texts that no session uses, many of them, and one that is longer than we write.
    assert!(!is_read(&[&texts(1, &text(0)), &none, &none]));
    assert!(!is_read(&[&texts(1 << 20, &text(0)), &none, &none]));
    let row = |longest: &[u8]| {
        let mut row = vec![1, 0, 10, 1, 2, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        row.extend(longest);
        row.extend([0, 0, 0, 0, 0, 0]);
        row
    };
    let one = |new: &[u8], own: &[u8]| is_read(&[&texts(1, new), &none, &row(own)]);
    assert!(one(&text(1024), &text(1024)));
    assert!(!one(&text(1025), &text(1)));
    assert!(!one(&text(1), &text(1025)));
}

#[test]
fn a_file_that_is_longer_than_a_segment_is_refused_there() {
    let mut encoder = Encoder::default();
    let by_record = "a".repeat(1024);
    let one = Ended {
        by_record: by_record.as_str().into(),
        ..session("alice", A, 0, HOUR)
    };
    let items = vec![Item::Session(one); MAX_BLOCK_ITEMS];
    let mut bytes = format::header().to_vec();
    let mut blocks = 0;
    while (bytes.len() as u64) < 2 * MAX_SEGMENT_BYTES {
        bytes.extend(encoder.block(UtcMillis(T0), &items).expect("a block"));
        blocks += 1;
    }
    let (read, damage) = read(&bytes);
    assert!(matches!(damage, Some(Damage::Damaged)));
    let whole = read.len() / MAX_BLOCK_ITEMS;
    assert!(0 < whole && whole < blocks, "{whole} of {blocks}");
}
