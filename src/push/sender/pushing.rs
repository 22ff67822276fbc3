//! The task of one Server: follows the feed from where the Server stands, and tells everything when it must.
//!
//! The Server's answer is the position, so whatever happens on the way is told again in its latest state, and nothing
//! twice that it has. Changes are gathered for a moment, so that what happens together goes together, and still is there
//! within a second. Without changes a heartbeat says that we live.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::sync::{Notify, watch};

use super::gather::Gathered;
use super::place::{Feed, Place};
use super::reading::{Progress, State};
use crate::identity::time::UtcMillis;
use crate::identity::view::Seq;
use crate::net::collector_client::Proxies;
use crate::net::resolve::Resolver;
use crate::push::credential::Credential;
use crate::push::server::{Pushed, Server, Token, Trouble};
use crate::push::shape::{Accepted, HEARTBEAT, Introduction, PROTOCOL, Push};
use crate::runtime::backoff::Backoff;
use crate::runtime::clock;
use crate::runtime::readiness::Readiness;
use crate::runtime::supervisor::blocking;
use crate::writer::Reader;

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// How often it is looked whether the table is ready; only at the start of the process.
const READY_INTERVAL: Duration = Duration::from_millis(100);
/// How long changes are gathered after the first.
const GATHERING: Duration = Duration::from_millis(200);
/// A token is renewed so long before its end.
const RENEW_BEFORE: Duration = Duration::from_secs(60);
/// A Server that so often in a row stands elsewhere than it said is waited for.
const MAX_ELSEWHERE: u32 = 4;
/// Pushes of more changes are compressed on a thread of their own.
const SMALL: usize = 64;

/// What our process says of itself in every push.
#[derive(Clone, Debug)]
pub(super) struct Us {
    pub(super) introduction: Introduction,
    pub(super) started: UtcMillis,
}

/// What the task is made of.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    pub(super) credential: Arc<Credential>,
    pub(super) us: Us,
    /// How many things here want an operator.
    pub(super) attention: Arc<AtomicU32>,
    pub(super) progress: Arc<Progress>,
    pub(super) reader: Reader,
    pub(super) readiness: Readiness,
    pub(super) changes: watch::Receiver<()>,
    pub(super) resolver: Resolver,
    pub(super) proxies: Proxies,
    /// Something that may have been the trouble is different.
    pub(super) wake: Arc<Notify>,
}

/// The task.
#[derive(Debug)]
pub(super) struct Pushing {
    setup: Setup,
    /// Where the Server stands as far as it said; `None`: everything is to be told.
    place: Option<Place>,
    /// It has said so since the way there was made.
    is_known: bool,
    token: Option<(Token, Instant)>,
    elsewhere: u32,
    last_sent: Option<Instant>,
}

/// What a push came to.
enum Step {
    /// There is more to tell at once.
    More,
    /// Everything is told.
    AtEnd,
}

impl Pushing {
    pub(super) fn new(setup: Setup) -> Self {
        Self {
            setup,
            place: None,
            is_known: false,
            token: None,
            elsewhere: 0,
            last_sent: None,
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
                () = self.setup.wake.notified() => {}
            }
        }
    }

    /// Pushes until something goes wrong.
    async fn follow(&mut self, backoff: &mut Backoff) -> Trouble {
        let Setup {
            credential,
            proxies,
            resolver,
            ..
        } = &self.setup;
        let trust = credential.server_trust();
        let server = Server::new(
            &credential.target,
            &trust,
            proxies.clone(),
            resolver.clone(),
        );
        let server = match server {
            Ok(server) => server,
            Err(error) => return Trouble::Call(error),
        };
        self.is_known = false;
        self.elsewhere = 0;
        loop {
            match self.step(&server, backoff).await {
                Ok(Step::More) => {}
                Ok(Step::AtEnd) => self.wait().await,
                Err(trouble) => return trouble,
            }
        }
    }

    /// Sends one push.
    async fn step(&mut self, server: &Server, backoff: &mut Backoff) -> Result<Step, Trouble> {
        // What changes from here on wakes the task again.
        self.setup.changes.mark_unchanged();
        let reader = &self.setup.reader;
        let told = if self.is_known {
            Gathered::after(reader, self.place)
        } else {
            // Asks where the Server stands, without telling it anything that it may have.
            let nowhere = Place {
                position: Seq(0),
                begun: None,
            };
            Gathered::nothing(reader, self.place.unwrap_or(nowhere))
        };
        let (told, body) = self.written(told).await?;
        let pushed = self.send(server, body).await?;
        self.last_sent = Some(clock::monotonic_now());
        let was_known = std::mem::replace(&mut self.is_known, true);
        match pushed {
            Pushed::Taken(accepted) if is_there(&accepted, &told) => {
                backoff.reset();
                self.elsewhere = 0;
                self.place = Some(told.place());
                self.taken(&told, server);
                let is_at_end = was_known && !told.more;
                Ok(if is_at_end { Step::AtEnd } else { Step::More })
            }
            Pushed::Taken(accepted) | Pushed::Elsewhere(accepted) => {
                self.go_where_it_stands(&accepted)?;
                Ok(Step::More)
            }
        }
    }

    /// The Server stands elsewhere than we believed: on from there, or from the beginning.
    fn go_where_it_stands(&mut self, accepted: &Accepted) -> Result<(), Trouble> {
        self.elsewhere += 1;
        if self.elsewhere > MAX_ELSEWHERE {
            return Err(Trouble::Unstable);
        }
        let begun = self.place.and_then(|place| place.begun);
        let feed = Feed::from(&*self.setup.reader.read());
        self.place = feed.place(accepted.accepted.as_ref(), begun);
        let position = self.place.map_or(Seq(0), |place| place.position);
        self.setup.progress.elsewhere(position);
        tracing::debug!(
            target_name = %self.setup.credential.name,
            position = position.0,
            "the Server stands there"
        );
        Ok(())
    }

    /// The push as compressed JSON.
    async fn written(&self, mut told: Gathered) -> Result<(Gathered, Bytes), Trouble> {
        let push = Push {
            protocol: PROTOCOL,
            collector: self.setup.us.introduction.clone(),
            epoch: told.epoch.clone(),
            begins: told.start.begins,
            after: told.start.place.position.0,
            position: told.position.0,
            more: told.more,
            behind: told.behind,
            sent_at: clock::utc_now().0,
            started: self.setup.us.started.0,
            attention: self.setup.attention.load(Ordering::Relaxed),
            totals: told.totals,
            changes: std::mem::take(&mut told.changes),
        };
        let (push, body) = if push.changes.len() > SMALL {
            blocking(move || written(push)).await.unwrap_or_default()
        } else {
            written(push)
        }
        .ok_or(Trouble::Unwritable)?;
        told.changes = push.changes;
        Ok((told, body))
    }

    /// Sends with a token; a token that is good no more is replaced once.
    async fn send(&mut self, server: &Server, body: Bytes) -> Result<Pushed, Trouble> {
        let now = clock::monotonic_now();
        self.token.take_if(|(_, renew_at)| *renew_at <= now);
        let had_token = self.token.is_some();
        let first = self.send_once(server, body.clone()).await;
        let pushed = match first {
            Err(Trouble::Unauthorized) if had_token => {
                self.token = None;
                self.send_once(server, body).await
            }
            other => other,
        };
        let outcome = match &pushed {
            Ok(Pushed::Taken(_)) => "taken",
            Ok(Pushed::Elsewhere(_)) => "elsewhere",
            Err(Trouble::Call(_)) => "no-answer",
            Err(_) => "refused",
        };
        metrics::counter!(
            "jims_push_documents_total",
            "target" => self.setup.credential.name.clone(),
            "outcome" => outcome
        )
        .increment(1);
        pushed
    }

    async fn send_once(&mut self, server: &Server, body: Bytes) -> Result<Pushed, Trouble> {
        if self.token.is_none() {
            let token = server.token(&self.setup.credential).await?;
            let good_for = token
                .lifetime
                .saturating_sub(RENEW_BEFORE)
                .max(RENEW_BEFORE);
            self.token = Some((token, clock::monotonic_now() + good_for));
        }
        let Some((token, _)) = &self.token else {
            return Err(Trouble::Unauthorized);
        };
        let pushed = server.push(&token.text, body).await;
        if matches!(pushed, Err(Trouble::Unauthorized)) {
            self.token = None;
        }
        pushed
    }

    /// Waits until there is something to tell and it was gathered, or a heartbeat is due.
    async fn wait(&mut self) {
        let now = clock::monotonic_now();
        let due = self.last_sent.map_or(now, |sent| sent + HEARTBEAT);
        loop {
            let left = due.saturating_duration_since(clock::monotonic_now());
            tokio::select! {
                changed = self.setup.changes.changed() => {
                    if changed.is_err() {
                        // The writer has ended: the process stops, and nothing changes any more.
                        std::future::pending::<()>().await;
                    }
                    if self.has_news() {
                        tokio::time::sleep(GATHERING).await;
                        return;
                    }
                }
                () = self.setup.wake.notified() => return,
                () = tokio::time::sleep(left) => return,
            }
        }
    }

    fn has_news(&self) -> bool {
        let position = self.place.map_or(Seq(0), |place| place.position);
        self.setup.reader.read().feed_last() > position
    }

    fn taken(&self, told: &Gathered, server: &Server) {
        let progress = &self.setup.progress;
        let news = progress.taken(told, server.seen(), clock::utc_now());
        let name = &self.setup.credential.name;
        if news {
            tracing::info!(target_name = %name, url = self.setup.credential.target.url(), "the Server takes pushes");
        }
        if told.start.begins {
            tracing::debug!(target_name = %name, keys = told.behind, "tells everything");
        }
    }

    fn failed(&self, trouble: &Trouble, pause: Duration) {
        let name = &self.setup.credential.name;
        let error = trouble.message();
        // What a Server does not hear adds up while nothing is taken.
        let position = self.place.map_or(Seq(0), |place| place.position);
        let behind = self.setup.reader.read().feed_behind(position);
        self.setup.progress.show_behind(behind);
        if self.setup.progress.trouble(trouble, clock::utc_now()) {
            tracing::debug!(target_name = %name, error, pause_s = pause.as_secs(), "still cannot push");
        } else {
            tracing::warn!(target_name = %name, error, remedy = trouble.remedy(), "cannot push");
        }
    }
}

/// Whether the Server stands where a push leads.
fn is_there(accepted: &Accepted, told: &Gathered) -> bool {
    let position = accepted.accepted.as_ref();
    position.is_some_and(|position| {
        position.epoch == told.epoch && position.position == told.position.0
    })
}

/// JSON through gzip, straight away; nothing if it cannot be written, which would be a defect.
fn written(push: Push) -> Option<(Push, Bytes)> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(1));
    let mut buffered = std::io::BufWriter::with_capacity(64 << 10, &mut encoder);
    serde_json::to_writer(&mut buffered, &push).ok()?;
    buffered.flush().ok()?;
    drop(buffered);
    let body = encoder.finish().ok()?;
    Some((push, body.into()))
}
