//! The task of one firewall: follows the journal with a cursor in memory, and tells everything again when it must.
//!
//! The cursor moves only after the firewall took what lies behind it, so whatever happens on the way is told again, in
//! its latest state. Nothing is kept over a restart: the next start tells everything. The pace of documents gathers what
//! changes at the same time.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::{Notify, watch};

use super::document::{Cut, Document, Style};
use super::reading::{Progress, State};
use super::sending::{Delivered, Sending, Trouble};
use crate::config::WebApi;
use crate::config::secret::Secret;
use crate::enforcement::cookie::{Cookie, Journal, Start};
use crate::enforcement::filter::{FilterInForce, RequestFilter};
use crate::enforcement::pass::Pass;
use crate::enforcement::point::Point;
use crate::identity::view::Seq;
use crate::net::resolve::Resolver;
use crate::runtime::backoff::Backoff;
use crate::runtime::clock;
use crate::runtime::readiness::Readiness;
use crate::writer::Reader;

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// How often it is looked whether the table is ready; only at the start of the process.
const READY_INTERVAL: Duration = Duration::from_millis(100);
/// Entries left out that get a line of their own in the log, in one full pass and what follows it.
const MAX_TOLD_SKIPPED: u32 = 20;
/// Users with too many groups that are remembered, so that each gets one line in the log.
const MAX_TOLD_CUT: usize = 4096;

/// What an operator or a reload wants of the task.
#[derive(Debug, Default)]
pub(super) struct Orders {
    refresh: AtomicBool,
    wake: Notify,
}

impl Orders {
    /// Tell everything again, now.
    pub(super) fn refresh(&self) {
        self.refresh.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    /// Something that may have been the trouble is different: try at once.
    pub(super) fn try_again(&self) {
        self.wake.notify_one();
    }

    fn take_refresh(&self) -> bool {
        self.refresh.swap(false, Ordering::AcqRel)
    }
}

/// What the task is made of.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    pub(super) point: Arc<Point>,
    pub(super) web_api: WebApi,
    pub(super) style: Arc<Style>,
    pub(super) password: Arc<ArcSwap<Secret>>,
    pub(super) orders: Arc<Orders>,
    pub(super) progress: Arc<Progress>,
    pub(super) reader: Reader,
    pub(super) readiness: Readiness,
    pub(super) changes: watch::Receiver<()>,
    pub(super) resolver: Resolver,
    /// How often it is looked whether the firewall is there while there is nothing to tell.
    pub(super) look_every: Duration,
}

/// The task.
#[derive(Debug)]
pub(super) struct Pushing {
    setup: Setup,
    /// Where the firewall stands; `None`: everything is to be told.
    place: Option<Cookie>,
    /// The full pass that is under way.
    full: Option<FullPass>,
    /// When everything is to be told again.
    refresh_at: Option<Instant>,
    told_cut: BTreeSet<String>,
    told_skipped: u32,
}

/// What the firewall took of a full pass.
#[derive(Debug, Default)]
struct FullPass {
    taken: usize,
    skipped: Option<String>,
}

/// A document, and where the firewall stands once it has it.
struct Next {
    pass: Pass<Document>,
    place: Cookie,
}

impl Pushing {
    pub(super) fn new(setup: Setup) -> Self {
        Self {
            setup,
            place: None,
            full: None,
            refresh_at: None,
            told_cut: BTreeSet::new(),
            told_skipped: 0,
        }
    }

    /// Pushes for ever.
    pub(super) async fn run(mut self) {
        while !self.setup.readiness.is_ready() {
            tokio::time::sleep(READY_INTERVAL).await;
        }
        self.setup.progress.is(State::Connecting);
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        loop {
            let trouble = self.follow(&mut backoff).await;
            let pause = backoff.next_pause();
            self.failed(&trouble, pause);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.setup.orders.wake.notified() => {}
            }
        }
    }

    /// Tells document after document until one cannot be told.
    async fn follow(&mut self, backoff: &mut Backoff) -> Trouble {
        let Setup {
            point,
            web_api,
            password,
            resolver,
            ..
        } = &self.setup;
        let password = Arc::clone(password);
        let mut sending = match Sending::new(&point.name, web_api, password, resolver.clone()) {
            Ok(sending) => sending,
            Err(error) => return Trouble::Https(error),
        };
        loop {
            match self.step(&mut sending, backoff).await {
                Ok(true) => {}
                Ok(false) => {
                    if let Err(trouble) = self.wait(&sending).await {
                        return trouble;
                    }
                }
                Err(trouble) => return trouble,
            }
        }
    }

    /// Tells one document; whether there is more to tell at once.
    async fn step(
        &mut self,
        sending: &mut Sending,
        backoff: &mut Backoff,
    ) -> Result<bool, Trouble> {
        if self.setup.orders.take_refresh() || self.is_refresh_due() {
            self.place = None;
        }
        // What changes from here on wakes the task again.
        self.setup.changes.mark_unchanged();
        let Next { pass, place } = self.next(sending.limit());
        self.begin(pass.start);
        if !pass.sink.pieces().is_empty() {
            self.tell_cut(pass.sink.cut());
            let delivered = sending.deliver(&pass.sink).await?;
            if delivered.entries > 0 {
                backoff.reset();
            }
            self.delivered(delivered);
        }
        self.place = Some(place);
        self.tell_position(place.position);
        if pass.more {
            return Ok(true);
        }
        self.end()?;
        Ok(false)
    }

    /// Renders what lies behind the cursor, in slices of the lock.
    fn next(&self, limit: usize) -> Next {
        let now = clock::utc_now();
        let reader = &self.setup.reader;
        let (start, filter, hash, epoch) = {
            let core = reader.read();
            let own = &self.setup.point.filter;
            let filter = FilterInForce::new(own, &RequestFilter::default(), &core);
            let journal = Journal::from(&*core);
            let hash = filter.hash();
            let start = journal.from_place(self.place, hash);
            (start, filter, hash, journal.epoch)
        };
        let document = Document::new(Arc::clone(&self.setup.style));
        let mut pass = Pass::new(start, limit, document);
        while pass.slice(&reader.read(), &filter, now) {}
        let place = pass.cookie(epoch, hash);
        Next { pass, place }
    }

    /// Notes that a full pass begins, if one does.
    fn begin(&mut self, start: Start) {
        if !(start.full && start.clearing) {
            return;
        }
        let interval = self.setup.web_api.refresh_interval;
        self.refresh_at = interval.map(|interval| clock::monotonic_now() + interval);
        self.full = Some(FullPass::default());
        self.told_skipped = 0;
        tracing::debug!(point = %self.setup.point.name, "tells everything");
    }

    /// The journal's end is reached.
    fn end(&mut self) -> Result<(), Trouble> {
        let progress = &self.setup.progress;
        let Some(full) = self.full.take() else {
            progress.follows();
            return Ok(());
        };
        if let (0, Some(said)) = (full.taken, full.skipped) {
            return Err(Trouble::TakesNothing(said));
        }
        progress.complete(clock::utc_now());
        progress.follows();
        tracing::debug!(point = %self.setup.point.name, entries = full.taken, "everything is told");
        Ok(())
    }

    /// Waits for a change, an order, or the time to tell everything again. Meanwhile it looks now and then whether the
    /// firewall is there: one that restarts while nothing changes would else stay without a table.
    async fn wait(&mut self, sending: &Sending) -> Result<(), Trouble> {
        loop {
            let look = tokio::time::sleep(self.setup.look_every);
            tokio::select! {
                () = self.news() => return Ok(()),
                () = look => sending.look().await?,
            }
        }
    }

    async fn news(&mut self) {
        let refresh = self.refresh_at;
        let due = async {
            let Some(at) = refresh else {
                return std::future::pending().await;
            };
            tokio::time::sleep(at.saturating_duration_since(clock::monotonic_now())).await;
        };
        tokio::select! {
            changed = self.setup.changes.changed() => {
                if changed.is_err() {
                    // The writer has ended: the process stops, and nothing changes any more.
                    std::future::pending::<()>().await;
                }
            }
            () = self.setup.orders.wake.notified() => {}
            () = due => {}
        }
    }

    fn is_refresh_due(&self) -> bool {
        let now = clock::monotonic_now();
        self.refresh_at.is_some_and(|at| at <= now)
    }

    fn delivered(&mut self, delivered: Delivered) {
        let progress = &self.setup.progress;
        if progress.delivered(&delivered, clock::utc_now()) {
            tracing::info!(point = %self.setup.point.name, "the firewall takes documents");
        }
        progress.is(if self.full.is_some() {
            State::Refreshing
        } else {
            State::Following
        });
        for (address, said) in &delivered.skipped {
            self.told_skipped = self.told_skipped.saturating_add(1);
            if self.told_skipped > MAX_TOLD_SKIPPED {
                continue;
            }
            tracing::warn!(
                point = %self.setup.point.name,
                %address,
                said,
                "the firewall does not take the entry; it is left out"
            );
            if self.told_skipped == MAX_TOLD_SKIPPED {
                tracing::warn!(
                    point = %self.setup.point.name,
                    "further entries that are left out are only counted"
                );
            }
        }
        if let Some(full) = &mut self.full {
            full.taken += delivered.entries;
            let last = delivered.skipped.into_iter().next_back();
            full.skipped = last.map(|(_, said)| said).or(full.skipped.take());
        }
    }

    fn failed(&mut self, trouble: &Trouble, pause: Duration) {
        if trouble.may_have_restarted() {
            self.place = None;
            self.full = None;
        }
        let position = self.place.map_or(Seq(0), |place| place.position);
        self.tell_position(position);
        let (point, error) = (&self.setup.point.name, trouble.message());
        if self.setup.progress.trouble(trouble, clock::utc_now()) {
            tracing::debug!(%point, error, pause_s = pause.as_secs(), "still cannot push");
        } else {
            tracing::warn!(%point, error, remedy = trouble.remedy(), "cannot push");
        }
    }

    fn tell_position(&self, position: Seq) {
        let behind = behind(&self.setup.reader, position);
        self.setup.progress.stands(position, behind);
    }

    /// Tells once of each user whose groups do not fit.
    fn tell_cut(&mut self, cut: &[Cut]) {
        let mut users = 0;
        for Cut {
            address,
            user,
            roles,
        } in cut
        {
            if self.told_cut.len() >= MAX_TOLD_CUT || !self.told_cut.insert(user.clone()) {
                continue;
            }
            users += 1;
            tracing::warn!(
                point = %self.setup.point.name,
                %address,
                left_out = roles,
                "the user there is in more groups than an entry holds; name those that policies use in preferred_groups or in the point's filter"
            );
        }
        if users > 0 {
            self.setup.progress.cut(users);
        }
    }
}

/// How many changes lie behind a position, at most: states between count, unless there is none.
pub(super) fn behind(reader: &Reader, position: Seq) -> u64 {
    let core = reader.read();
    match core.addresses_since(position).next() {
        Some(_) => core.last_seq().0.saturating_sub(position.0),
        None => 0,
    }
}
