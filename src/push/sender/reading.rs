//! How pushing to one Server goes, for status: kept by its task, read as plain values.

use std::sync::Arc;

use parking_lot::Mutex;

use super::gather::Gathered;
use crate::identity::time::UtcMillis;
use crate::identity::view::Seq;
use crate::net::collector_client::SeenCertificate;
use crate::push::server::Trouble;
use crate::push::shape::{Reason, Totals};
use crate::runtime::report::Fault;

/// What the task is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// `jims onboard` was not finished.
    Pending,
    /// The table is not ready (rule 15).
    Waiting,
    /// Nothing was taken since the start or the last failure.
    Connecting,
    /// A pass from the beginning is under way.
    Resynchronising,
    /// Everything is told; changes follow.
    Following,
    /// The Server does not take our pushes.
    Refused,
    /// It cannot be told, or the credential cannot be used.
    Failing,
}

/// How pushing to one Server goes.
#[derive(Clone, Debug)]
pub struct PushReading {
    /// The target's name.
    pub name: String,
    /// Where to; empty if the credential cannot be read.
    pub url: String,
    /// What the task is at.
    pub state: State,
    /// Keys that the Server has not heard of.
    pub behind: u64,
    /// Everything up to here is told, in the order of the feed.
    pub position: Seq,
    /// Of a pass from the beginning that is under way: keys told, and keys in all.
    pub pass: Option<(u64, u64)>,
    /// When the Server last took a push, heartbeats among them.
    pub last_push: Option<UtcMillis>,
    /// Changes that it took since the process started.
    pub pushed: Totals,
    /// The Server's certificate at the last connection.
    pub certificate: Option<SeenCertificate>,
    /// What is wrong.
    pub fault: Option<Fault>,
}

/// What the task of one Server keeps for its readers.
#[derive(Debug)]
pub(super) struct Progress {
    name: Arc<str>,
    state: Mutex<(PushReading, Seq)>,
}

impl Progress {
    pub(super) fn new(name: &str, url: &str, state: State) -> Self {
        let reading = PushReading {
            name: name.to_owned(),
            url: url.to_owned(),
            state,
            behind: 0,
            position: Seq(0),
            pass: None,
            last_push: None,
            pushed: Totals::default(),
            certificate: None,
            fault: None,
        };
        Self {
            name: name.into(),
            state: Mutex::new((reading, Seq(0))),
        }
    }

    /// The task is at something else; what was wrong stays until a push is taken.
    pub(super) fn is(&self, state: State) {
        self.state.lock().0.state = state;
    }

    /// A push was taken; whether that is news.
    pub(super) fn taken(
        &self,
        told: &Gathered,
        certificate: Option<SeenCertificate>,
        now: UtcMillis,
    ) -> bool {
        let mut kept = self.state.lock();
        let (reading, position) = &mut *kept;
        let news = reading.fault.is_some() || reading.last_push.is_none();
        reading.fault = None;
        reading.last_push = Some(now);
        for change in &told.changes {
            reading.pushed.count(change);
        }
        let changes = told.changes.len() as u64;
        let before = reading.pass.filter(|_| !told.start.begins);
        let told_before = before.map_or(0, |(told, _)| told);
        reading.pass = told.place().begun.map(|_| {
            let told_now = told_before + changes;
            (told_now, told_now + told.behind)
        });
        reading.state = match reading.pass {
            Some(_) => State::Resynchronising,
            None => State::Following,
        };
        if certificate.is_some() {
            reading.certificate = certificate;
        }
        *position = told.position;
        drop(kept);
        self.show_behind(told.behind);
        news
    }

    /// The Server stands elsewhere than was believed.
    pub(super) fn elsewhere(&self, position: Seq) {
        let mut kept = self.state.lock();
        kept.0.pass = None;
        kept.1 = position;
    }

    /// Something is wrong; whether it was so before.
    pub(super) fn trouble(&self, trouble: &Trouble, now: UtcMillis) -> bool {
        let mut kept = self.state.lock();
        let reading = &mut kept.0;
        let before = reading.fault.take();
        reading.state = match trouble {
            Trouble::Refused(refused) if refused.error != Reason::Busy => State::Refused,
            Trouble::Unauthorized => State::Refused,
            _ => State::Failing,
        };
        let fault = Fault {
            message: trouble.message(),
            remedy: trouble.remedy(),
            since: before.as_ref().map_or(now, |fault| fault.since),
        };
        let same = before.is_some_and(|before| before.message == fault.message);
        reading.fault = Some(fault);
        same
    }

    /// How far a Server is behind, for metrics.
    pub(super) fn show_behind(&self, behind: u64) {
        #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
        metrics::gauge!("jims_cursor_behind", "output" => self.name.to_string()).set(behind as f64);
    }

    /// Plain values; `behind` counts the keys after a position.
    pub(super) fn read(&self, behind: impl Fn(Seq) -> u64) -> PushReading {
        let (reading, position) = self.state.lock().clone();
        PushReading {
            behind: behind(position),
            position,
            ..reading
        }
    }
}
