//! What a history does not know is said: nobody is nobody only where it is known.

use super::*;

fn stop(at: i64) -> Item {
    Item::Mark(Mark::Stop { at: T0 + at })
}

fn off(at: i64) -> Item {
    Item::Mark(Mark::Off { at: T0 + at })
}

fn gone(ended: i64) -> Item {
    Item::Session(session("dave", "10.9.9.8", 0, ended))
}

/// What is not known of an instant, in a history of these items: hours.
fn holes(items: &[Item], when: i64) -> Vec<(Option<i64>, i64, HoleKind)> {
    let folder = tempfile::tempdir().expect("folder");
    let mut log = Log::new(folder.path().to_owned(), forever());
    for item in items {
        append(&mut log, item.clone(), 0);
    }
    let found = at(folder.path(), A, when);
    assert_eq!(found.damaged, Vec::<String>::new());
    let hours = |at: UtcMillis| (at.0 - T0) / HOUR;
    let holes = found.holes.iter().map(|hole| {
        let from = (hole.from.0 > i64::MIN).then(|| hours(hole.from));
        (from, hours(hole.until), hole.why)
    });
    holes.collect()
}

#[test]
fn after_an_end_in_order_only_the_time_in_between_is_not_known() {
    let items = [
        start(0, None),
        stop(9 * HOUR),
        start(12 * HOUR, Some(9 * HOUR)),
    ];
    assert_eq!(holes(&items, 8 * HOUR), []);
    let stopped = [(Some(9), 12, HoleKind::Stopped)];
    assert_eq!(holes(&items, 9 * HOUR), stopped);
    assert_eq!(holes(&items, 12 * HOUR), []);
}

#[test]
fn a_table_that_is_older_than_the_end_in_order_is_a_hole_up_to_that() {
    let with = |table_of| [start(0, None), stop(9 * HOUR), start(12 * HOUR, table_of)];
    let crashed = |from| [(from, 9, HoleKind::Crashed)];
    assert_eq!(holes(&with(Some(5 * HOUR)), 6 * HOUR), crashed(Some(5)));
    assert_eq!(holes(&with(Some(5 * HOUR)), 4 * HOUR), []);
    // It was damaged and set aside, or none was saved.
    assert_eq!(holes(&with(None), 4 * HOUR), crashed(None));
    // Somebody ran in between and wrote nothing: who was there before may have gone then.
    let unheard = [(Some(9), 12, HoleKind::Crashed)];
    assert_eq!(holes(&with(Some(11 * HOUR)), 4 * HOUR), unheard);
}

#[test]
fn an_end_that_the_table_knew_and_the_history_lost_is_a_hole_for_all_before() {
    let with = |table_of| {
        [
            start(0, None),
            gone(5 * HOUR),
            start(12 * HOUR, Some(table_of)),
        ]
    };
    // Whoever ended after the table was saved comes back with it, and ends again.
    assert_eq!(holes(&with(4 * HOUR), 3 * HOUR), []);
    assert_eq!(
        holes(&with(4 * HOUR), 4 * HOUR),
        [(Some(4), 12, HoleKind::Crashed)]
    );
    let lost = [(Some(5), 12, HoleKind::Crashed)];
    assert_eq!(holes(&with(5 * HOUR), 3 * HOUR), lost);
    assert_eq!(holes(&with(7 * HOUR), 3 * HOUR), lost);
    assert_eq!(holes(&with(7 * HOUR), 11 * HOUR), lost);
    assert_eq!(holes(&with(7 * HOUR), 12 * HOUR + 1), []);
}

#[test]
fn a_start_with_a_full_table_and_no_end_before_it_is_a_hole_too() {
    // The mark of the end was lost with what waited before it.
    let items = [
        start(0, None),
        gone(5 * HOUR),
        start(12 * HOUR, Some(12 * HOUR)),
    ];
    assert_eq!(holes(&items, 3 * HOUR), [(Some(5), 12, HoleKind::Crashed)]);
    // The clock went back.
    let items = [
        start(0, None),
        gone(5 * HOUR),
        start(2 * HOUR, Some(5 * HOUR)),
    ];
    assert_eq!(holes(&items, 3 * HOUR), [(Some(5), 5, HoleKind::Crashed)]);
}

#[test]
fn while_it_was_off_whoever_ended_is_not_known() {
    let items = [
        start(0, None),
        off(5 * HOUR),
        start(7 * HOUR, Some(7 * HOUR)),
    ];
    let was_off = [(Some(5), 7, HoleKind::Off)];
    assert_eq!(holes(&items, HOUR), was_off);
    assert_eq!(holes(&items, 7 * HOUR + 1), []);
}

/// A history whose folder cannot be.
fn refused(folder: &Path) -> std::path::PathBuf {
    let path = folder.join("history");
    fs::write(&path, "a file where the folder should be").expect("a file");
    path
}

#[tokio::test]
async fn what_waits_when_it_is_switched_off_is_written_and_that_it_is_off() {
    let folder = tempfile::tempdir().expect("folder");
    let path = refused(folder.path());
    let kept = keep(&path);
    kept.queue.push(vec![session("alice", A, 0, HOUR)]);
    kept.history.flush().await;
    kept.history.set(None);
    kept.history.flush().await;
    assert!(kept.history.fault().is_some());
    let found = kept.at(1).await;
    assert_eq!(names(&found), ["alice"]);
    assert!(found.holes.iter().any(|hole| hole.why == HoleKind::Off));
    // On and off again, as often as one likes.
    for limits in [Some(forever()), None, Some(forever()), None] {
        kept.history.set(limits);
        kept.history.flush().await;
    }
    fs::remove_file(&path).expect("mended");
    kept.is_mended().await;
    kept.end().await;
    let found = at(&path, A, 1);
    assert_eq!(names(&found), ["alice"]);
    assert!(found.holes.iter().any(|hole| hole.why == HoleKind::Off));
    let files = segments(&path).expect("a folder");
    assert!(search::ends_off(files.last().expect("a segment")));
}

#[tokio::test]
async fn a_history_that_never_was_written_says_when_it_begins_and_what_it_lost() {
    let folder = tempfile::tempdir().expect("folder");
    let kept = keep(&refused(folder.path()));
    kept.history.flush().await;
    // Nothing fits any more: a block is taken, and the queue is full.
    let full = vec![session("dave", "10.9.9.8", 0, HOUR); MAX_BLOCK_ITEMS + MAX_WAITING];
    kept.queue.push(full);
    for _ in 0..3 {
        kept.queue.push(vec![session("eve", A, 0, 2 * HOUR)]);
        kept.history.flush().await;
    }
    let found = kept.at(1).await;
    assert!(found.begins.is_some());
    let lost = found.holes.iter().map(|hole| match hole.why {
        HoleKind::Lost(lost) => lost,
        _ => 0,
    });
    assert!(lost.sum::<u64>() >= 3, "{:?}", found.holes);
    kept.end().await;
}

#[test]
fn what_is_lost_while_the_disk_refuses_is_one_mark() {
    let mut unwritten = unwritten::Unwritten::default();
    for hour in [3, 1, 2] {
        let at = UtcMillis(T0 + hour * HOUR);
        let lost = crate::writer::Lost {
            from: at,
            until: at,
            count: 2,
        };
        unwritten.add(Vec::new(), Some(lost));
    }
    let gap = Item::Mark(Mark::Gap {
        from: T0 + HOUR,
        until: T0 + 3 * HOUR,
        lost: 6,
    });
    assert_eq!(*unwritten.block().expect("a block"), [gap]);
}

#[tokio::test]
async fn a_process_whose_table_failed_does_not_end_in_order() {
    let folder = tempfile::tempdir().expect("folder");
    let kept = keep(folder.path());
    kept.history.flush().await;
    kept.queue.push(vec![session("alice", A, 0, HOUR)]);
    kept.history.table_is_lost();
    kept.end().await;
    let kept = keep(folder.path());
    kept.history.flush().await;
    let found = kept.at(1).await;
    assert_eq!(names(&found), ["alice"]);
    let why: Vec<HoleKind> = found.holes.iter().map(|hole| hole.why).collect();
    assert_eq!(why, [HoleKind::Crashed]);
    kept.end().await;
}
