//! A list of which only the visible page is here: the rest stays with the service, however long it is.
//!
//! At most one question for a page is open at a time; what is wanted meanwhile is asked when the answer is there, the
//! latest wish only. Pure: what is to be asked is returned.

use std::time::Duration;

use super::message::Refused;
use crate::control::protocol::{
    Browse, From, MAX_FILTER_BYTES, MAX_ROWS, NameRow, Page, SessionRow, Sort,
};

/// The least time between two looks at the same page.
const REFRESH: Duration = Duration::from_secs(1);

/// How many times as long as an answer took nobody asks for it again.
pub(super) const REST: u32 = 50;

/// A row of a page.
pub(super) trait Row {
    /// What tells it from others.
    fn key(&self) -> String;
}

impl Row for SessionRow {
    fn key(&self) -> String {
        self.address.to_string()
    }
}

impl Row for NameRow {
    fn key(&self) -> String {
        format!("{}\\{}", self.domain, self.name)
    }
}

/// Which row is selected once a page is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Landing {
    /// The same thing if it is still there, else the same line.
    #[default]
    Same,
    /// The same line.
    Line,
    /// The first row.
    Top,
    /// The last row.
    Bottom,
}

/// The page that is shown of one list, and what is asked.
#[derive(Clone, Debug)]
pub(super) struct Paged<R> {
    /// What it is filtered by.
    pub(super) filter: String,
    /// Its order.
    pub(super) sort: Sort,
    /// Whether the order is reversed.
    pub(super) reverse: bool,
    /// What was last found.
    pub(super) page: Option<Page<R>>,
    /// The row that keys act on.
    pub(super) selected: usize,
    /// Why there is no newer page.
    pub(super) refused: Option<Refused>,
    asked: Option<(Browse, Landing)>,
    asked_at: Option<Duration>,
    wanted: Option<(From, Landing)>,
}

impl<R> Default for Paged<R> {
    fn default() -> Self {
        Self {
            filter: String::new(),
            sort: Sort::default(),
            reverse: false,
            page: None,
            selected: 0,
            refused: None,
            asked: None,
            asked_at: None,
            wanted: None,
        }
    }
}

impl<R: Row> Paged<R> {
    /// A page is wanted; what is to be asked now, if nothing is open.
    pub(super) fn want(
        &mut self,
        from: From,
        landing: Landing,
        rows: usize,
        now: Duration,
    ) -> Option<Browse> {
        if self.asked.is_some() {
            self.wanted = Some((from, landing));
            return None;
        }
        let browse = Browse {
            filter: self.filter.clone(),
            sort: self.sort,
            reverse: self.reverse,
            from,
            rows: rows.clamp(1, MAX_ROWS),
        };
        self.asked = Some((browse.clone(), landing));
        self.asked_at = Some(now);
        self.wanted = None;
        Some(browse)
    }

    /// The beginning, after filter or order changed.
    pub(super) fn restart(&mut self, rows: usize, now: Duration) -> Option<Browse> {
        self.want(From::Start, Landing::Top, rows, now)
    }

    /// The visible page again.
    pub(super) fn again(&mut self, rows: usize, now: Duration) -> Option<Browse> {
        let from = match &self.page {
            Some(page) if page.before > 0 && !page.rows.is_empty() => From::At(page.first.clone()),
            _ => From::Start,
        };
        self.want(from, Landing::Same, rows, now)
    }

    /// The visible page again, if it is time.
    pub(super) fn refresh(&mut self, rows: usize, now: Duration) -> Option<Browse> {
        let took = self.page.as_ref().map_or(0, |page| page.took_ms);
        let rest = REFRESH.max(Duration::from_millis(took.saturating_mul(u64::from(REST))));
        let due = self
            .asked_at
            .is_none_or(|asked| now.saturating_sub(asked) >= rest);
        if due && self.asked.is_none() {
            return self.again(rows, now);
        }
        None
    }

    /// A page came, or a refusal; what is to be asked next.
    pub(super) fn arrived(
        &mut self,
        asked: &Browse,
        answer: Result<Page<R>, Refused>,
        rows: usize,
        now: Duration,
    ) -> Option<Browse> {
        let (open, landing) = self.asked.take_if(|(open, _)| open == asked)?;
        let current =
            open.filter == self.filter && open.sort == self.sort && open.reverse == self.reverse;
        match answer {
            Ok(page) if current => {
                self.refused = None;
                // Fewer rows before a place than fit: the list's beginning fills the screen.
                let short = page.rows.len() < open.rows && page.total > page.rows.len() as u64;
                let before = matches!(open.from, From::Before(_)) && page.before == 0;
                let after =
                    matches!(open.from, From::After(_) | From::At(_)) && page.rows.is_empty();
                self.land(page, landing);
                if short && before {
                    self.wanted.get_or_insert((From::Start, Landing::Line));
                } else if short && after {
                    self.wanted.get_or_insert((From::End, Landing::Bottom));
                }
            }
            Ok(_) => {}
            Err(refused) => self.refused = Some(refused),
        }
        let (from, landing) = self.wanted.take()?;
        self.want(from, landing, rows, now)
    }

    /// What is here answers another filter or order, and nothing newer comes now.
    pub(super) fn drop_page(&mut self) {
        self.page = None;
        self.refused = None;
        self.selected = 0;
    }

    /// The connection is gone, and with it what was asked.
    pub(super) fn lost(&mut self) {
        self.asked = None;
        self.asked_at = None;
        self.wanted = None;
    }

    fn land(&mut self, page: Page<R>, landing: Landing) {
        let last = page.rows.len().saturating_sub(1);
        let old = self
            .page
            .as_ref()
            .and_then(|old| old.rows.get(self.selected));
        let held = old.map(Row::key);
        self.selected = match landing {
            Landing::Top => 0,
            Landing::Bottom => last,
            Landing::Line => self.selected.min(last),
            Landing::Same => {
                let is_held = |row: &R| held.as_ref() == Some(&row.key());
                let same = page.rows.iter().position(is_held);
                same.unwrap_or(self.selected).min(last)
            }
        };
        self.page = Some(page);
    }

    /// Moves the selection by rows, or turns the page.
    pub(super) fn step(&mut self, down: bool, rows: usize, now: Duration) -> Option<Browse> {
        let page = self.page.as_ref()?;
        let last = page.rows.len().saturating_sub(1);
        if down && self.selected < last {
            self.selected += 1;
            return None;
        }
        if !down && self.selected > 0 {
            self.selected -= 1;
            return None;
        }
        self.turn(
            down,
            if down { Landing::Top } else { Landing::Bottom },
            rows,
            now,
        )
    }

    /// Turns the page; at the end of the list the selection goes to the end of the page.
    pub(super) fn turn(
        &mut self,
        down: bool,
        landing: Landing,
        rows: usize,
        now: Duration,
    ) -> Option<Browse> {
        let page = self.page.as_ref()?;
        let length = page.rows.len();
        let end = page.before + length as u64;
        if length == 0 {
            return None;
        }
        if down && end >= page.total {
            self.selected = length - 1;
            return None;
        }
        if !down && page.before == 0 {
            self.selected = 0;
            return None;
        }
        let from = if down {
            From::After(page.last.clone())
        } else {
            From::Before(page.first.clone())
        };
        self.want(from, landing, rows, now)
    }
}

/// Adds to a filter, as far as it may grow; whether it changed.
pub(super) fn type_into(filter: &mut String, text: &str) -> bool {
    let before = filter.len();
    for c in text.chars().filter(|c| !c.is_control()) {
        if filter.len() + c.len_utf8() > MAX_FILTER_BYTES {
            break;
        }
        filter.push(c);
    }
    filter.len() != before
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::protocol::NamesPage;

    const SECOND: Duration = Duration::from_secs(1);

    fn page(range: std::ops::Range<u64>, total: u64) -> NamesPage {
        let rows: Vec<_> = range
            .clone()
            .map(|number| super::super::fixtures::name(&format!("user{number}")))
            .collect();
        NamesPage {
            first: rows.first().map(|r| r.name.clone()).unwrap_or_default(),
            last: rows.last().map(|r| r.name.clone()).unwrap_or_default(),
            rows,
            total,
            before: range.start,
            took_ms: 2,
        }
    }

    fn with(first: NamesPage) -> Paged<NameRow> {
        let mut list = Paged::default();
        let asked = list.restart(10, SECOND).expect("asked");
        assert_eq!(list.arrived(&asked, Ok(first), 10, SECOND), None);
        list
    }

    #[test]
    fn moving_past_an_end_turns_the_page() {
        let mut list = with(page(0..10, 25));
        assert_eq!(list.step(false, 10, SECOND), None, "nothing is before it");
        for _ in 0..9 {
            assert_eq!(list.step(true, 10, SECOND), None);
        }
        let asked = list.step(true, 10, SECOND).expect("the next page");
        assert_eq!(asked.from, From::After("user9".into()));
        list.arrived(&asked, Ok(page(10..20, 25)), 10, SECOND);
        assert_eq!(list.selected, 0);
        let asked = list.step(false, 10, SECOND).expect("the page before");
        assert_eq!(asked.from, From::Before("user10".into()));
        list.arrived(&asked, Ok(page(0..10, 25)), 10, SECOND);
        assert_eq!(list.selected, 9);
    }

    #[test]
    fn a_short_page_before_is_filled_from_the_start() {
        let mut list = with(page(4..14, 25));
        let asked = list
            .turn(false, Landing::Line, 10, SECOND)
            .expect("the page before");
        let next = list.arrived(&asked, Ok(page(0..4, 25)), 10, SECOND);
        assert_eq!(next.expect("asked again").from, From::Start);
    }

    #[test]
    fn what_is_typed_while_an_answer_is_open_is_asked_once() {
        let mut list = with(page(0..10, 25));
        type_into(&mut list.filter, "a");
        let first = list.restart(10, SECOND).expect("asked");
        type_into(&mut list.filter, "l");
        assert_eq!(list.restart(10, SECOND), None);
        type_into(&mut list.filter, "i");
        assert_eq!(list.restart(10, SECOND), None);
        let next = list.arrived(&first, Ok(page(0..3, 3)), 10, SECOND);
        assert_eq!(next.expect("the latest").filter, "ali");
        let shown = list.page.as_ref().expect("a page");
        assert_eq!(
            shown.total, 25,
            "the answer to an older filter is not shown"
        );
    }

    #[test]
    fn a_page_rests_as_long_as_it_was_dear() {
        let mut list = with(NamesPage {
            took_ms: 100,
            ..page(0..10, 25)
        });
        let at = |millis| SECOND + Duration::from_millis(millis);
        assert_eq!(list.refresh(10, at(4_999)), None);
        assert!(list.refresh(10, at(5_000)).is_some());
        assert_eq!(list.refresh(10, at(60_000)), None, "one is open");
        let mut cheap = with(page(0..10, 25));
        assert_eq!(cheap.refresh(10, at(999)), None);
        assert!(cheap.refresh(10, at(1_000)).is_some());
    }

    #[test]
    fn a_refresh_keeps_what_is_selected() {
        let mut list = with(page(10..20, 25));
        list.selected = 3;
        let asked = list.again(10, SECOND).expect("asked");
        assert_eq!(asked.from, From::At("user10".into()));
        list.arrived(&asked, Ok(page(11..21, 26)), 10, SECOND);
        assert_eq!(list.selected, 2);
        assert!(type_into(&mut list.filter, &"x".repeat(400)));
        assert_eq!(list.filter.len(), MAX_FILTER_BYTES);
        assert!(!type_into(&mut list.filter, "y"));
    }

    #[test]
    fn when_the_list_shrank_below_the_page_its_end_is_shown() {
        let mut list = with(page(20..25, 25));
        let asked = list.again(10, SECOND).expect("asked");
        let empty = page(12..12, 12);
        let next = list.arrived(&asked, Ok(empty), 10, SECOND);
        assert_eq!(next.expect("asked again").from, From::End);
    }
}
