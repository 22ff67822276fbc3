//! The last lines of the tail: bounded, filtered, held while the screen is frozen.

use std::collections::VecDeque;

use jiff::Timestamp;

use crate::control::protocol::Tail;

/// The most lines that are kept.
pub(super) const MAX_LINES: usize = 2000;

/// The lines that are kept, and which are looked at.
#[derive(Clone, Debug, Default)]
pub(super) struct TailLines {
    /// What lines are filtered by.
    pub(super) filter: String,
    /// How many pieces the service left out, since we listen.
    pub(super) skipped: u64,
    /// Whether somebody listens.
    pub(super) listening: bool,
    /// How many matching lines are below the selected one; `None`: the latest line is followed.
    pub(super) back: Option<usize>,
    /// Whether lines come: somebody listens, and the service answers.
    hearing: bool,
    /// Since when none come, after some could.
    deaf_since: Option<Timestamp>,
    lines: VecDeque<Line>,
    held: VecDeque<Line>,
}

/// What a line says.
#[derive(Clone, Debug)]
pub(super) enum Said {
    /// It was told by the service.
    Told(Tail),
    /// Nobody listened: whatever happened then is not here.
    Gap { from: Timestamp, until: Timestamp },
}

/// One line, and its words for the filter.
#[derive(Clone, Debug)]
pub(super) struct Line {
    /// What it says.
    pub(super) said: Said,
    words: String,
}

impl TailLines {
    /// Takes lines; while the screen is frozen they wait.
    pub(super) fn take(&mut self, tails: Vec<Tail>, frozen: bool) {
        let mut fresh = 0;
        for tail in tails {
            if let Tail::Skipped { count } = &tail {
                self.skipped = self.skipped.saturating_add(*count);
            }
            let words = words(&tail).to_lowercase();
            let said = Said::Told(tail);
            let line = Line { said, words };
            if frozen {
                push(&mut self.held, line);
            } else {
                fresh += usize::from(self.matches(&line));
                push(&mut self.lines, line);
            }
        }
        self.back = self.back.map(|back| back + fresh);
        self.keep_in_bounds();
    }

    /// Lines come from now on, or none do; a time without them becomes a line of its own.
    pub(super) fn hear(&mut self, hearing: bool, now: Timestamp, frozen: bool) {
        if hearing == self.hearing {
            return;
        }
        self.hearing = hearing;
        if !hearing {
            self.deaf_since = Some(now);
            return;
        }
        let Some(mut from) = self.deaf_since.take() else {
            return;
        };
        let lines = if frozen {
            &mut self.held
        } else {
            &mut self.lines
        };
        // Two of them with nothing between are one.
        let latest = lines.back().map(|line| &line.said);
        let mut fresh = 1;
        if let Some(Said::Gap { from: before, .. }) = latest {
            from = *before;
            lines.pop_back();
            fresh = 0;
        }
        let line = Line {
            said: Said::Gap { from, until: now },
            words: String::new(),
        };
        push(lines, line);
        if !frozen {
            self.back = self.back.map(|back| back + fresh);
            self.keep_in_bounds();
        }
    }

    /// The screen goes on: what waited is shown.
    pub(super) fn thaw(&mut self) {
        for line in std::mem::take(&mut self.held) {
            push(&mut self.lines, line);
        }
        self.keep_in_bounds();
    }

    /// How many lines wait.
    pub(super) fn held(&self) -> usize {
        self.held.len()
    }

    /// How many lines are kept that the service told, and how many of them match.
    pub(super) fn counts(&self) -> (usize, usize) {
        let told = |line: &&Line| matches!(line.said, Said::Told(_));
        let all = self.lines.iter().filter(told).count();
        (all, self.matching().filter(told).count())
    }

    /// The lines that match, the latest first.
    pub(super) fn matching(&self) -> impl Iterator<Item = &Line> {
        let lines = self.lines.iter().rev();
        lines.filter(|line| self.matches(line))
    }

    /// The selected line, if the service told it.
    pub(super) fn selected(&self) -> Option<&Tail> {
        match &self.matching().nth(self.back.unwrap_or(0))?.said {
            Said::Told(tail) => Some(tail),
            Said::Gap { .. } => None,
        }
    }

    /// Moves the selection, towards older lines if `back`; at the latest line it follows again.
    pub(super) fn step(&mut self, back: bool, by: usize) {
        let now = self.back.unwrap_or(0);
        let next = if back {
            now.saturating_add(by)
        } else {
            now.saturating_sub(by)
        };
        self.back = (next > 0).then_some(next);
        self.keep_in_bounds();
    }

    /// Selects a line by its distance from the latest.
    pub(super) fn select(&mut self, back: usize) {
        self.back = (back > 0).then_some(back);
        self.keep_in_bounds();
    }

    pub(super) fn keep_in_bounds(&mut self) {
        if let Some(back) = self.back {
            let last = self.matching().count().saturating_sub(1);
            let back = back.min(last);
            self.back = (back > 0).then_some(back);
        }
    }

    fn matches(&self, line: &Line) -> bool {
        if matches!(line.said, Said::Gap { .. }) {
            return true;
        }
        let wanted = self.filter.to_lowercase();
        wanted
            .split_whitespace()
            .all(|word| line.words.contains(word))
    }
}

fn push(lines: &mut VecDeque<Line>, line: Line) {
    if lines.len() >= MAX_LINES {
        lines.pop_front();
    }
    lines.push_back(line);
}

/// When a line's matter happened.
pub(super) fn at(tail: &Tail) -> Option<Timestamp> {
    match tail {
        Tail::Outcome { occurred_at, .. } => Some(*occurred_at),
        Tail::Unparsed { received_at, .. } => Some(*received_at),
        Tail::Request { request } => Some(request.at),
        Tail::Skipped { .. } => None,
    }
}

/// Everything that a filter finds a line by.
fn words(tail: &Tail) -> String {
    match tail {
        Tail::Outcome {
            producer,
            record,
            address,
            subject,
            verdict,
            detail,
            ..
        } => {
            let address = address.map(|a| a.to_string()).unwrap_or_default();
            format!("{verdict} {address} {subject} {producer} {record} {detail}")
        }
        Tail::Unparsed {
            source,
            line,
            reason,
            ..
        } => format!("unread {source} {line} {reason}"),
        Tail::Request { request } => format!(
            "request {} {} {} {}",
            request.address, request.point, request.target, request.reason
        ),
        Tail::Skipped { .. } => "skipped".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::fixtures::outcome;

    fn lines(subjects: &[&str]) -> Vec<Tail> {
        let line = |subject: &&str| outcome(subject, "logged-on", "");
        subjects.iter().map(line).collect()
    }

    fn shown(tail: &TailLines) -> usize {
        tail.matching().count()
    }

    #[test]
    fn it_is_bounded_and_counts_what_was_skipped() {
        let mut tail = TailLines::default();
        tail.take(lines(&["alice"; MAX_LINES + 5]), false);
        tail.take(vec![Tail::Skipped { count: 7 }], false);
        assert_eq!((tail.counts().0, tail.skipped), (MAX_LINES, 7));
        tail.take(lines(&["bob"; MAX_LINES + 5]), true);
        assert_eq!(tail.held(), MAX_LINES);
    }

    #[test]
    fn what_is_looked_at_stays_when_lines_come() {
        let mut tail = TailLines::default();
        tail.take(lines(&["alice", "bob", "carol"]), false);
        tail.step(true, 1);
        let before = tail.selected().cloned();
        tail.take(lines(&["dave", "erin"]), false);
        assert_eq!(tail.selected().cloned(), before);
        tail.step(false, 9);
        assert_eq!(tail.back, None, "at the end it follows");
    }

    #[test]
    fn a_time_without_listening_is_a_line_that_every_filter_keeps() {
        let at = |second| Timestamp::from_second(second).expect("in range");
        let mut tail = TailLines::default();
        tail.hear(true, at(10), false);
        assert_eq!(shown(&tail), 0, "nothing was missed before");
        tail.take(lines(&["alice"]), false);
        for second in [20, 40] {
            tail.hear(false, at(second), false);
            tail.hear(true, at(second + 5), false);
        }
        tail.filter = "nobody".into();
        let kept: Vec<_> = tail.matching().map(|line| line.said.clone()).collect();
        let [Said::Gap { from, until }] = kept.as_slice() else {
            panic!("{kept:?}");
        };
        assert_eq!((*from, *until), (at(20), at(45)), "two are one");
        assert_eq!(tail.counts(), (1, 0));
        assert_eq!(tail.selected(), None);
    }

    #[test]
    fn a_filter_wants_all_its_words_and_held_lines_come_later() {
        let mut tail = TailLines {
            filter: "ALI vpn".into(),
            ..TailLines::default()
        };
        tail.take(lines(&["alice", "bob"]), false);
        assert_eq!(shown(&tail), 1);
        tail.take(lines(&["alice"]), true);
        assert_eq!(shown(&tail), 1);
        tail.thaw();
        assert_eq!(shown(&tail), 2);
    }
}
