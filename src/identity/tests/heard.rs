//! Lines that two Collectors heard, through the core's doors.

use super::*;
use crate::identity::heard::{Heard, Hearer, KEPT, LineId};
use proptest::prelude::*;

const A: &str = "10.0.0.1";

/// An event of a line that a Collector heard.
fn of_line(event: IdentityEvent, line: &str, by: &str) -> IdentityEvent {
    let sender = "10.9.9.9".parse().expect("an address");
    IdentityEvent {
        heard: Some(Box::new(Heard {
            line: LineId::of(sender, line.as_bytes()),
            by: Hearer::of(by),
        })),
        ..event
    }
}

const DUPLICATE: Verdict = Verdict::Ignored(IgnoreReason::HeardTwice);

#[test]
fn a_logoff_heard_late_by_another_does_not_end_who_came_since() {
    let mut w = World::new();
    // The lines have no stamp, so each Collector's own arrival counts.
    w.send(of_line(strong("alice", 0, A), "up alice", "c1"));
    w.send(of_line(logoff(None, 1, A), "down", "c1"));
    w.send(of_line(strong("bob", 2, A), "up bob", "c1"));
    w.now = T0 + 30_000;
    let late = [
        of_line(strong("alice", 29_998, A), "up alice", "c2"),
        of_line(logoff(None, 29_999, A), "down", "c2"),
        of_line(strong("bob", 30_000, A), "up bob", "c2"),
    ];
    for copy in late {
        assert_eq!(w.send(copy), DUPLICATE);
        assert_eq!(w.user_at(A).as_deref(), Some("bob"));
    }
    let last = w.outcomes.last().expect("an outcome");
    assert_eq!(last.subject, "CORP\\bob", "as it was written");
    // He really leaves: the line is the same, and heard once more than before.
    let again = of_line(logoff(None, 30_000, A), "down", "c2");
    assert_eq!(w.send(again), Verdict::LoggedOff(EndReason::Logoff));
    assert_eq!(w.user_at(A), None);
    assert_eq!(
        w.send(of_line(logoff(None, 30_000, A), "down", "c1")),
        DUPLICATE
    );
}

#[test]
fn a_line_that_counted_for_nothing_counts_for_nothing_again() {
    let mut w = World::new();
    let nobody = Verdict::Ignored(IgnoreReason::NoSession);
    let down = |by| of_line(logoff(Some("alice"), 0, ""), "down alice", by);
    assert_eq!(w.send(down("c1")), nobody);
    assert_eq!(w.send(down("c2")), DUPLICATE);
    assert_eq!(w.send(down("c2")), nobody, "it was said twice");
    let events = vec![down("c1"), down("c1")];
    let bookmark = None;
    let batch = Batch::Events { events, bookmark };
    let applied = w.core.apply(batch, UtcMillis(w.now), &mut w.outcomes);
    assert_eq!((applied.applied, applied.ignored), (0, 2));
}

#[test]
fn who_has_no_twin_is_heard_each_time() {
    let mut w = World::new();
    let before = w.core.export();
    assert_eq!(before.lines, []);
    for _ in 0..3 {
        assert_ne!(w.send(strong("alice", 0, A)), DUPLICATE);
    }
    assert_eq!(w.core.export().lines, [], "nothing is remembered of it");
}

#[test]
fn rule_22_what_was_heard_survives_a_restart() {
    let mut w = World::new();
    w.send(of_line(strong("alice", 0, A), "up alice", "c1"));
    w.now += 20_000;
    w.send(of_line(logoff(None, 1, A), "down", "c1"));
    w.now += 40_000;
    while w.core.take_changes(3).instant.is_none() {}
    assert!(!w.core.has_changes());
    w.send(of_line(strong("alice", 0, A), "up alice", "c2"));
    let changes = w.core.take_changes(100);
    assert_eq!(changes.list.len(), 1, "the line's: {changes:?}");
    let state = w.core.export();
    assert_eq!(state.lines.len(), 2);
    let restored = Core::restore(
        state.clone(),
        Epoch(7),
        policy(),
        UtcMillis(w.now),
        &mut w.outcomes,
    );
    let mut other = World {
        core: restored.expect("what was exported"),
        now: w.now,
        outcomes: Vec::new(),
    };
    assert_eq!(other.core.export(), state);
    for w in [&mut w, &mut other] {
        w.now += 1;
        assert_ne!(
            w.send(of_line(strong("alice", 60_001, A), "up alice", "c2")),
            DUPLICATE,
            "a minute has passed since it was first heard"
        );
        assert_eq!(w.send(of_line(logoff(None, 2, A), "down", "c2")), DUPLICATE);
        assert_eq!(w.user_at(A).as_deref(), Some("alice"));
    }
    assert_eq!(other.core.export(), w.core.export());
    // Time alone makes it forgotten, also where nothing was heard since.
    w.advance_to(w.now + i64::try_from(KEPT.as_millis()).expect("short") + 1);
    assert_eq!(w.core.export().lines, []);
}

/// What a line says: who comes or goes, by its number.
fn said(number: u8) -> (IdentityEvent, String) {
    let at = i64::from(number / 6);
    let address = ["10.0.0.1", "10.0.0.2"][usize::from(number % 2)];
    let event = match number % 6 {
        0 | 1 => strong("alice", at, address),
        2 | 3 => weak("bob", at, address),
        _ => logoff(None, at, address),
    };
    (event, format!("line {number}"))
}

proptest! {
    /// The same table, and the same journal, as of one Collector that heard all.
    #[test]
    fn two_collectors_that_hear_the_same_make_the_table_of_one(
        lines in prop::collection::vec(0..30_u8, 0..20),
        turns in prop::collection::vec(any::<bool>(), 40),
    ) {
        let (mut one, mut both) = (World::new(), World::new());
        for world in [&mut one, &mut both] {
            world.now += 10;
        }
        for number in &lines {
            let (event, line) = said(*number);
            one.send(of_line(event, &line, "c1"));
        }
        let (mut first, mut second) = (lines.iter(), lines.iter());
        let rest = turns.into_iter().chain(std::iter::repeat_n([true, false], 20).flatten());
        for turn in rest {
            let next = if turn { first.next() } else { second.next() };
            if let Some(number) = next {
                let (event, line) = said(*number);
                both.send(of_line(event, &line, if turn { "c1" } else { "c2" }));
            }
        }
        let (one, mut both) = (one.core.export(), both.core.export());
        prop_assert_eq!(one.lines.len(), both.lines.len());
        both.lines.clone_from(&one.lines);
        prop_assert_eq!(one, both);
    }
}
