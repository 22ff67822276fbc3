//! How pushing to one firewall goes, for status: kept by its task, read as plain values.

use std::sync::Arc;

use parking_lot::Mutex;

use super::sending::{Delivered, Trouble};
use crate::identity::time::UtcMillis;
use crate::identity::view::Seq;
use crate::runtime::report::Fault;

/// What the task is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The table is not ready (rule 15).
    Waiting,
    /// Nothing was taken since the start or the last failure.
    Connecting,
    /// Everything is being told.
    Refreshing,
    /// Everything is told; changes follow.
    Following,
    /// The firewall does not accept us.
    Refused,
    /// It cannot be told.
    Failing,
}

impl State {
    /// The word for JSON and screens.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Connecting => "connecting",
            Self::Refreshing => "refreshing",
            Self::Following => "following",
            Self::Refused => "refused",
            Self::Failing => "failing",
        }
    }
}

/// How pushing to one firewall goes.
#[derive(Clone, Debug)]
pub struct WebApiReading {
    /// The point's name.
    pub name: String,
    /// Where to.
    pub url: String,
    /// What the task is at.
    pub state: State,
    /// Entries that the firewall took.
    pub entries_sent: u64,
    /// Entries that it did not take, and that were left out.
    pub skipped: u64,
    /// Users of whom it was not told all groups.
    pub cut: u64,
    /// Changes that it has not heard of.
    pub behind: u64,
    /// Everything up to here is told.
    pub position: Seq,
    /// When it last took a document.
    pub last_success: Option<UtcMillis>,
    /// When it was last told everything: the end of that pass.
    pub last_full: Option<UtcMillis>,
    /// What is wrong.
    pub fault: Option<Fault>,
}

/// What the task of one firewall keeps for its readers.
#[derive(Debug)]
pub(super) struct Progress {
    name: Arc<str>,
    url: String,
    state: Mutex<Kept>,
}

#[derive(Clone, Debug)]
struct Kept {
    state: State,
    position: Seq,
    entries_sent: u64,
    skipped: u64,
    cut: u64,
    last_success: Option<UtcMillis>,
    last_full: Option<UtcMillis>,
    fault: Option<Fault>,
}

impl Progress {
    pub(super) fn new(name: Arc<str>, url: &str) -> Self {
        Self {
            name,
            url: url.to_owned(),
            state: Mutex::new(Kept {
                state: State::Waiting,
                position: Seq(0),
                entries_sent: 0,
                skipped: 0,
                cut: 0,
                last_success: None,
                last_full: None,
                fault: None,
            }),
        }
    }

    /// The task is at something else; what was wrong stays until a document is taken.
    pub(super) fn is(&self, state: State) {
        self.state.lock().state = state;
    }

    /// There is nothing to tell now.
    pub(super) fn follows(&self) {
        let mut kept = self.state.lock();
        kept.state = match (&kept.fault, kept.last_success) {
            (Some(_), _) => kept.state,
            // Nothing was ever told, so nothing is known of the way there.
            (None, None) => State::Connecting,
            (None, Some(_)) => State::Following,
        };
    }

    /// A document was taken; whether that is news.
    pub(super) fn delivered(&self, delivered: &Delivered, now: UtcMillis) -> bool {
        let mut kept = self.state.lock();
        kept.entries_sent += delivered.entries as u64;
        kept.skipped += delivered.skipped.len() as u64;
        let news = delivered.entries > 0 && (kept.fault.is_some() || kept.last_success.is_none());
        if delivered.entries > 0 {
            kept.last_success = Some(now);
            kept.fault = None;
        }
        let (name, counted) = (self.name.to_string(), "jims_web_api_entries_total");
        metrics::counter!(counted, "point" => name.clone(), "outcome" => "taken")
            .increment(delivered.entries as u64);
        metrics::counter!(counted, "point" => name, "outcome" => "skipped")
            .increment(delivered.skipped.len() as u64);
        news
    }

    /// Users were told with a part of their groups.
    pub(super) fn cut(&self, users: u64) {
        self.state.lock().cut += users;
        metrics::counter!("jims_web_api_roles_cut_total", "point" => self.name.to_string())
            .increment(users);
    }

    /// Everything up to here is told; `behind` changes are not.
    pub(super) fn stands(&self, position: Seq, behind: u64) {
        self.state.lock().position = position;
        #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
        metrics::gauge!("jims_cursor_behind", "output" => self.name.to_string()).set(behind as f64);
    }

    /// Everything is told.
    pub(super) fn complete(&self, now: UtcMillis) {
        self.state.lock().last_full = Some(now);
    }

    /// Something is wrong; whether it was so before.
    pub(super) fn trouble(&self, trouble: &Trouble, now: UtcMillis) -> bool {
        let mut kept = self.state.lock();
        let before = kept.fault.clone();
        kept.state = match trouble {
            Trouble::Unauthorized => State::Refused,
            Trouble::Https(_) | Trouble::Failed(_) | Trouble::TakesNothing(_) => State::Failing,
        };
        let fault = Fault {
            message: trouble.message(),
            remedy: trouble.remedy(),
            since: before.as_ref().map_or(now, |fault| fault.since),
        };
        let same = before.is_some_and(|before| before.message == fault.message);
        kept.fault = Some(fault);
        same
    }

    /// Plain values; `behind` counts the changes after a position.
    pub(super) fn read(&self, behind: impl Fn(Seq) -> u64) -> WebApiReading {
        let kept = self.state.lock().clone();
        WebApiReading {
            name: self.name.to_string(),
            url: self.url.clone(),
            state: kept.state,
            entries_sent: kept.entries_sent,
            skipped: kept.skipped,
            cut: kept.cut,
            behind: behind(kept.position),
            position: kept.position,
            last_success: kept.last_success,
            last_full: kept.last_full,
            fault: kept.fault,
        }
    }
}
