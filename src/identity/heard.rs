//! Lines that more than one Collector heard: each counts once.
//!
//! A sender may send every line to two Collectors, for one of them may fail. Both say what they heard, each in the order it
//! heard it, and nothing keeps the two in step. A line that is really repeated must count each time, so lines are
//! counted by who heard them: one counts if its hearer has now heard it more often than anybody had before. The
//! result is the same however the Collectors' words interleave, and equals what one of them alone, hearing all, would have said.
//!
//! Told with `now` and without a clock: a line is forgotten [`KEPT`] after it was first heard, or as the oldest of more
//! than [`MAX_LINES`]. It is part of the table, because what a restart forgot would count twice.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::address::canonical;
use super::state::{Contradiction, LineState};
use super::time::UtcMillis;

/// For how long after it was first heard another copy of a line is looked for. Two Collectors hear a line within
/// milliseconds, but one may be slow to say so.
pub const KEPT: Duration = Duration::from_secs(60);

/// Most lines that are remembered: some 4,000 a second.
pub const MAX_LINES: usize = 1 << 18;

/// Most Collectors whose copies of one line are counted; a copy of yet another never counts.
pub const MAX_HEARERS: usize = 32;

/// Old lines that are forgotten with each new one, so that no step takes long.
const FORGOTTEN_AT_ONCE: usize = 4;

/// A line and its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LineId(pub u64);

/// Who heard a line: a Collector, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hearer(pub u64);

/// Which line an event was made of, and who heard it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// The line. It makes one event at most.
    pub line: LineId,
    /// Who heard it.
    pub by: Hearer,
}

impl LineId {
    /// That of a line as it came, with its stamp; the same whichever way it came, so without the end that only some
    /// transports leave at it. A sender is the same only at the same address.
    #[must_use]
    pub fn of(sender: IpAddr, line: &[u8]) -> Self {
        let end = line.iter().rposition(|byte| !b"\n\r\0 \t".contains(byte));
        let line = line.get(..end.map_or(0, |end| end + 1)).unwrap_or(line);
        let mut digest = Sha256::new();
        // The family before, so that no line begins with the rest of a longer address.
        match canonical(sender) {
            IpAddr::V4(address) => {
                digest.update([4]);
                digest.update(address.octets());
            }
            IpAddr::V6(address) => {
                digest.update([6]);
                digest.update(address.octets());
            }
        }
        digest.update(line);
        Self(first_bytes(digest))
    }
}

impl Hearer {
    /// That of a Collector's name.
    #[must_use]
    pub fn of(name: &str) -> Self {
        Self(first_bytes(Sha256::new_with_prefix(name)))
    }
}

fn first_bytes(digest: Sha256) -> u64 {
    let digest = digest.finalize();
    let bytes = digest.iter().take(8);
    bytes.fold(0, |number, byte| (number << 8) | u64::from(*byte))
}

/// Whether a line that was first heard then is remembered no more.
#[must_use]
pub fn is_forgotten(first: UtcMillis, now: UtcMillis) -> bool {
    now > first.after(KEPT)
}

/// Lines in the order in which they are forgotten.
type Place = (UtcMillis, LineId);

/// What was heard of late.
#[derive(Debug, Default)]
pub(super) struct Lines {
    lines: BTreeMap<LineId, Line>,
    order: BTreeSet<Place>,
    /// Those that changed since they were last taken.
    changed: BTreeSet<Place>,
}

#[derive(Debug)]
struct Line {
    first: UtcMillis,
    /// How often each hearer heard it, in the order in which they first did.
    counts: Vec<(Hearer, u32)>,
}

impl Line {
    /// Another copy: whether it counts.
    fn hear(&mut self, by: Hearer) -> bool {
        let most = self.counts.iter().map(|(_, count)| *count).max();
        let most = most.unwrap_or(0);
        let is_known = self.counts.iter().any(|(hearer, _)| *hearer == by);
        if !is_known && self.counts.len() < MAX_HEARERS {
            self.counts.push((by, 0));
        }
        let known = self.counts.iter_mut().find(|(hearer, _)| *hearer == by);
        known.is_some_and(|(_, count)| {
            *count = count.saturating_add(1);
            *count > most
        })
    }
}

impl Lines {
    /// Those that were exported.
    ///
    /// # Errors
    /// No core can have exported them.
    pub(super) fn restore(states: Vec<LineState>) -> Result<Self, Contradiction> {
        let contradiction = Contradiction {
            what: "lines that were heard out of order, twice or by nobody",
        };
        let mut all = Self::default();
        let rise = states.is_sorted_by(|a, b| (a.first, a.line) < (b.first, b.line));
        if !rise || states.len() > MAX_LINES {
            return Err(contradiction);
        }
        for LineState {
            line,
            first,
            counts,
        } in states
        {
            let hearers: BTreeSet<Hearer> = counts.iter().map(|(hearer, _)| *hearer).collect();
            let is_sound = !counts.is_empty()
                && counts.len() <= MAX_HEARERS
                && hearers.len() == counts.len()
                && counts.iter().all(|(_, count)| *count > 0);
            all.order.insert((first, line));
            if !is_sound || all.lines.insert(line, Line { first, counts }).is_some() {
                return Err(contradiction);
            }
        }
        Ok(all)
    }

    /// A line was heard: whether it counts, which it does not if somebody else had heard it as often before.
    pub(super) fn hear(&mut self, heard: Heard, now: UtcMillis) -> bool {
        self.forget(now);
        let Heard { line: id, by } = heard;
        let known = self.lines.get_mut(&id);
        if let Some(line) = known
            && !is_forgotten(line.first, now)
        {
            let is_news = line.hear(by);
            self.changed.insert((line.first, id));
            return is_news;
        }
        self.remove(id);
        let line = Line {
            first: now,
            counts: vec![(by, 1)],
        };
        self.lines.insert(id, line);
        self.order.insert((now, id));
        self.changed.insert((now, id));
        self.keep_to_limit(now);
        true
    }

    /// Forgets some of what is too old. What is left of it does not count, and goes before anything that does.
    fn forget(&mut self, now: UtcMillis) {
        for _ in 0..FORGOTTEN_AT_ONCE {
            match self.order.first() {
                Some(&(first, id)) if is_forgotten(first, now) => self.remove(id),
                Some(_) | None => return,
            }
        }
    }

    /// Takes out what is too old; nobody needs to be told of it, for it is too old for everybody.
    fn remove(&mut self, id: LineId) {
        if let Some(line) = self.lines.remove(&id) {
            self.order.remove(&(line.first, id));
            self.changed.remove(&(line.first, id));
        }
    }

    fn keep_to_limit(&mut self, now: UtcMillis) {
        if self.lines.len() > MAX_LINES
            && let Some(oldest) = self.order.pop_first()
        {
            self.lines.remove(&oldest.1);
            if is_forgotten(oldest.0, now) {
                self.changed.remove(&oldest);
            } else {
                self.changed.insert(oldest);
            }
        }
    }

    /// What is remembered at an instant, in the order in which it is forgotten.
    pub(super) fn export(&self, now: Option<UtcMillis>) -> Vec<LineState> {
        let places = self.order.iter().filter(|(first, _)| {
            let forgotten = now.is_some_and(|now| is_forgotten(*first, now));
            !forgotten
        });
        places.filter_map(|place| self.state(*place)).collect()
    }

    fn state(&self, (first, id): Place) -> Option<LineState> {
        let line = self.lines.get(&id).filter(|line| line.first == first)?;
        Some(LineState {
            line: id,
            first,
            counts: line.counts.clone(),
        })
    }

    /// A line that changed since it was taken; without a state it is remembered no more.
    pub(super) fn take_changed(&mut self) -> Option<(Place, Option<LineState>)> {
        let place = self.changed.pop_first()?;
        Some((place, self.state(place)))
    }

    pub(super) fn has_changed(&self) -> bool {
        !self.changed.is_empty()
    }

    /// As if all of them had changed.
    pub(super) fn note_all(&mut self) {
        self.changed.extend(&self.order);
    }

    /// For [`Core::check_invariants`](super::Core::check_invariants).
    pub(super) fn check(&self) {
        assert!(self.lines.len() <= MAX_LINES, "lines are bounded");
        assert_eq!(self.lines.len(), self.order.len(), "each has one turn");
        for (id, line) in &self.lines {
            assert!(self.order.contains(&(line.first, *id)), "a line's turn");
            assert!((1..=MAX_HEARERS).contains(&line.counts.len()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const T0: UtcMillis = UtcMillis(1_700_000_000_000);

    fn hear(lines: &mut Lines, line: u64, by: u64, now: UtcMillis) -> bool {
        let (line, by) = (LineId(line), Hearer(by));
        let is_news = lines.hear(Heard { line, by }, now);
        lines.check();
        is_news
    }

    /// What counts of what was heard at one instant: (line, hearer).
    fn counted(heard: &[(u64, u64)]) -> Vec<u64> {
        let mut lines = Lines::default();
        let news = heard.iter().filter(|(line, by)| {
            let (line, by) = (LineId(*line), Hearer(*by));
            lines.hear(Heard { line, by }, T0)
        });
        news.map(|(line, _)| *line).collect()
    }

    #[test]
    fn what_one_repeats_counts_and_what_another_repeats_of_it_does_not() {
        let mut lines = Lines::default();
        let news: Vec<bool> = [1, 1, 2, 2, 2, 1, 1]
            .map(|by| hear(&mut lines, 9, by, T0))
            .into();
        assert_eq!(news, [true, true, false, false, true, false, true]);
        assert!(hear(&mut lines, 8, 2, T0), "another line");
    }

    #[test]
    fn a_line_is_forgotten_a_minute_after_it_was_first_heard() {
        let mut lines = Lines::default();
        assert!(hear(&mut lines, 9, 1, T0));
        let last = T0.after(KEPT);
        assert!(!hear(&mut lines, 9, 2, last));
        assert_eq!(lines.export(Some(last)).len(), 1);
        let over = last.after(Duration::from_millis(1));
        assert_eq!(lines.export(Some(over)), []);
        assert!(hear(&mut lines, 9, 2, over), "it begins anew");
        assert!(!hear(&mut lines, 9, 1, over));
        assert_eq!(lines.export(Some(over)).len(), 1);
    }

    #[test]
    fn a_line_that_is_heard_again_before_its_turn_to_be_forgotten_begins_anew() {
        let mut lines = Lines::default();
        for line in 0..20 {
            assert!(hear(&mut lines, line, 1, T0));
        }
        let over = T0.after(KEPT * 2);
        assert!(hear(&mut lines, 19, 2, over), "the last in turn");
        assert!(lines.lines.len() > 1, "others still have their turn");
        assert_eq!(lines.export(Some(over)).len(), 1);
        for line in 20..40 {
            assert!(hear(&mut lines, line, 1, over));
        }
        assert_eq!(lines.lines.len(), 21, "all had their turn");
    }

    #[test]
    fn beyond_the_limit_the_oldest_is_forgotten_and_that_is_told() {
        let mut lines = Lines::default();
        let heard = |line, by| Heard {
            line: LineId(line),
            by: Hearer(by),
        };
        let at = |line: u64| T0.after(Duration::from_millis(line / 8));
        let limit = MAX_LINES as u64;
        for line in 0..limit {
            assert!(lines.hear(heard(line, 1), at(line)));
        }
        while lines.take_changed().is_some() {}
        assert!(!lines.hear(heard(0, 2), at(limit)));
        assert!(lines.hear(heard(limit, 1), at(limit)));
        lines.check();
        assert_eq!(lines.lines.len(), MAX_LINES);
        let gone = std::iter::from_fn(|| lines.take_changed());
        let gone: Vec<Place> = gone
            .filter(|(_, state)| state.is_none())
            .map(|(place, _)| place)
            .collect();
        assert_eq!(gone, [(T0, LineId(0))]);
        assert!(lines.hear(heard(0, 2), at(limit)), "it was forgotten");
        assert!(!lines.hear(heard(2, 2), at(limit)), "this one was not");
    }

    #[test]
    fn a_copy_of_one_hearer_too_many_never_counts() {
        let mut lines = Lines::default();
        for by in 0..MAX_HEARERS as u64 {
            assert_eq!(hear(&mut lines, 9, by, T0), by == 0);
        }
        assert!(!hear(&mut lines, 9, 1000, T0));
        assert!(!hear(&mut lines, 9, 1000, T0));
        assert!(hear(&mut lines, 9, 5, T0), "a known one");
    }

    #[test]
    fn a_line_is_the_same_whichever_way_it_came() {
        let v4: IpAddr = "10.1.2.3".parse().expect("an address");
        let mapped: IpAddr = "::ffff:10.1.2.3".parse().expect("an address");
        let line = LineId::of(v4, b"<13>Nov 23 13:39:27 vpn: up");
        assert_eq!(
            LineId::of(mapped, b"<13>Nov 23 13:39:27 vpn: up\r\n\0"),
            line
        );
        let others = [
            LineId::of(v4, b"<13>Nov 23 13:39:28 vpn: up"),
            LineId::of(v4, b" <13>Nov 23 13:39:27 vpn: up"),
            LineId::of(v4, b""),
            LineId::of(
                "10.1.2.4".parse().expect("an address"),
                b"<13>Nov 23 13:39:27 vpn: up",
            ),
        ];
        assert!(others.iter().all(|other| *other != line));
        // Members of one cluster may be of different versions: these numbers may never change.
        assert_eq!(LineId::of(v4, b"up"), LineId(0x691f_f14c_a980_111b));
        assert_eq!(Hearer::of("collector-1"), Hearer(0x8bb5_5bfc_b0eb_1182));
    }

    #[test]
    fn what_no_core_can_have_exported_is_refused() {
        let line = |line: u64, first: UtcMillis, counts: &[(u64, u32)]| LineState {
            line: LineId(line),
            first,
            counts: counts.iter().map(|(by, n)| (Hearer(*by), *n)).collect(),
        };
        let later = T0.after(KEPT);
        let refused = [
            vec![line(1, later, &[(1, 1)]), line(2, T0, &[(1, 1)])],
            vec![line(1, T0, &[(1, 1)]), line(1, T0, &[(1, 1)])],
            vec![line(1, T0, &[(1, 1)]), line(1, later, &[(1, 1)])],
            vec![line(1, T0, &[])],
            vec![line(1, T0, &[(1, 0)])],
            vec![line(1, T0, &[(1, 1), (1, 2)])],
            vec![line(1, T0, &[(1, 1); MAX_HEARERS + 1])],
        ];
        for states in refused {
            assert!(Lines::restore(states.clone()).is_err(), "{states:?}");
        }
        let sound = vec![
            line(1, T0, &[(1, 1)]),
            line(2, T0, &[(1, 1), (2, 7)]),
            line(3, later, &[(2, 1)]),
        ];
        let lines = Lines::restore(sound.clone()).expect("sound");
        lines.check();
        assert!(!lines.has_changed());
        assert_eq!(lines.export(Some(later)), sound);
        assert_eq!(lines.export(None), sound);
    }

    proptest! {
        /// Two hear the same, each in order: it counts once, in order, however their words interleave.
        #[test]
        fn any_interleaving_of_two_counts_as_one(
            said in prop::collection::vec(0..4_u64, 0..24),
            turns in prop::collection::vec(1..=2_u64, 48),
        ) {
            let (mut first, mut second) = (said.iter(), said.iter());
            let mut heard = Vec::new();
            for turn in turns {
                let next = if turn == 1 { first.next() } else { second.next() };
                heard.extend(next.map(|line| (*line, turn)));
            }
            heard.extend(first.map(|line| (*line, 1)));
            heard.extend(second.map(|line| (*line, 2)));
            prop_assert_eq!(counted(&heard), said);
        }

        /// Whatever each lost, a line counts as often as whoever heard it most did.
        #[test]
        fn a_line_counts_as_often_as_its_best_hearer_heard_it(
            heard in prop::collection::vec((0..4_u64, 0..3_u64), 0..60),
        ) {
            let counted = counted(&heard);
            for line in 0..4 {
                let by = |by| heard.iter().filter(|heard| **heard == (line, by)).count();
                let most = (0..3).map(by).max().unwrap_or(0);
                let count = counted.iter().filter(|counted| **counted == line).count();
                prop_assert_eq!(count, most);
            }
        }

        /// Whoever goes on from what was exported decides and exports the same as whoever never stopped.
        #[test]
        fn a_restart_changes_nothing(
            heard in prop::collection::vec((0..6_u64, 0..3_u64, 0..20_000_u64), 0..60),
            restart in 0..60_usize,
        ) {
            let (mut lines, mut restarted) = (Lines::default(), Lines::default());
            let mut now = T0;
            for (number, (line, by, pause)) in heard.into_iter().enumerate() {
                now = now.after(Duration::from_millis(pause));
                let news = hear(&mut lines, line, by, now);
                if number == restart {
                    restarted = Lines::restore(lines.export(Some(now))).expect("sound");
                } else {
                    prop_assert_eq!(hear(&mut restarted, line, by, now), news);
                }
                prop_assert_eq!(lines.export(Some(now)), restarted.export(Some(now)));
            }
        }
    }
}
