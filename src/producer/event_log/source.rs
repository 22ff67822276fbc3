//! One source: keeps a connection, has records delivered in the best way that the server allows, hands them to the table
//! with the position they bring the source to, and says how it is doing.
//!
//! Reading stops while the table takes nothing. A position moves only with the batch that it ends, so after any failure
//! or restart the log is read on from exactly what the table has. Nothing here knows what a record means.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::interpret::{self, Reason, Settings};
use super::link::{Link, LinkError};
use super::log::{Batch, Calls, Log, LogError, Start};
use super::position::{self, Position};
use super::service::Shared;
use crate::config::{Delivery, EventSource};
use crate::identity;
use crate::identity::event::IdentityEvent;
use crate::identity::time::UtcMillis;
use crate::runtime::backoff::Backoff;
use crate::runtime::clock::{monotonic_now, utc_now};
use crate::runtime::report::{Fact, Health, Report};
use crate::runtime::supervisor::Tasks;
use crate::wire::binxml::Decoder;
use crate::writer::Stopped;

/// The log that is read.
pub(super) const CHANNEL: &str = "Security";
/// First and longest pause after a failure.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(300));
/// A connection that lasted this long or brought records has worked: the next failure is a new one.
const WORKED: Duration = Duration::from_secs(60);
/// How often a refused secret is looked at.
const SECRET_LOOK: Duration = Duration::from_secs(30);
/// A push or pull that stays silent so long is begun anew: a server that forgot us would be silent for ever.
const SILENCE: Duration = Duration::from_secs(10 * 60);
/// How long the server may hold a pull.
const PULL_WAIT: Duration = Duration::from_secs(5);
/// Pause between two looks that found nothing.
const LOOK_PAUSE: Duration = Duration::from_millis(500);
/// Clocks that differ by less are taken as equal (rule 5).
const SKEW_IGNORED: i64 = 1_000;
/// Clocks that differ by more want an operator (rule 5).
const SKEW_DEGRADED: i64 = 600_000;
/// How long lost records are shown as a fault.
const GAP_SHOWN: Duration = Duration::from_secs(3600);
/// What a wrapped log still holds is read back this far at most: longer than any logoff time.
const LONGEST_PAST: Duration = Duration::from_secs(25 * 3600);

/// Follows one event source.
pub(super) struct Source {
    config: EventSource,
    settings: Settings,
    shared: Shared,
    report: Arc<Report>,
    tasks: Tasks,
    position: Option<Position>,
    /// Records were lost: since which position, and until when once that is known.
    gap: Option<Gap>,
    decoder: Decoder,
    /// For status: how records come, and how the account signed on.
    manner: String,
    degraded_by: Option<String>,
}

/// Records that the server no longer had when we came for them.
#[derive(Clone, Debug)]
struct Gap {
    after: Position,
    before: Option<(u64, UtcMillis)>,
    noticed: Instant,
}

/// Why following ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum SourceError {
    /// The connection could not be made.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The log could not be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The process is stopping.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

impl SourceError {
    fn remedy(&self) -> String {
        match self {
            Self::Link(error) => error.remedy(),
            Self::Log(error) => error.remedy(),
            Self::Stopped(_) => String::new(),
        }
    }
}

impl Source {
    pub(super) fn new(
        config: EventSource,
        shared: Shared,
        report: Arc<Report>,
        tasks: Tasks,
    ) -> Self {
        let key = position::key(&config.name, &config.host, CHANNEL);
        let position = {
            let core = shared.surroundings.reader.read();
            core.bookmark(&key).and_then(Position::decode)
        };
        let settings = Settings {
            producer: config.name.as_str().into(),
            kind: config.kind,
            domain: config.domain.clone(),
            skew: 0,
            conflict: config.conflict,
        };
        report.set_fact("host", Fact::Text(config.host.clone()));
        let mut source = Self {
            config,
            settings,
            shared,
            report,
            tasks,
            position,
            gap: None,
            decoder: Decoder::default(),
            manner: String::new(),
            degraded_by: None,
        };
        if let Some(position) = position {
            source.tell_position(position);
        }
        source
    }

    /// Follows the log until the table takes no more.
    pub(super) async fn run(mut self) {
        let mut backoff = Backoff::new(PAUSES.0, PAUSES.1);
        loop {
            let (begun, before) = (monotonic_now(), self.position);
            let error = match self.follow().await {
                Ok(()) => {
                    backoff.reset();
                    continue;
                }
                Err(SourceError::Stopped(_)) => return,
                Err(error) => error,
            };
            tracing::warn!(source = self.config.name, %error, "the event log cannot be read");
            self.report
                .set_fault(Health::Down, error.to_string(), error.remedy(), utc_now());
            if monotonic_now() - begun > WORKED || self.position != before {
                backoff.reset();
            }
            let pause = match error {
                // Nobody is asked meanwhile; a changed secret is noticed as soon as any other (rule 24).
                SourceError::Link(LinkError::Refused(_)) => SECRET_LOOK,
                _ => backoff.next_pause(),
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// One connection, from its beginning to its end. `Ok` if it was ended to begin anew.
    async fn follow(&mut self) -> Result<(), SourceError> {
        let host = self.config.host.clone();
        let mut refused = None;
        for &delivery in deliveries(self.config.delivery) {
            // Anew for each way: some servers close the connection with their refusal.
            let link = self.connect().await?;
            let log = Log::new(link.calls(), &host, CHANNEL);
            self.manner(delivery, &link);
            let ended = self.deliver(&log, delivery).await;
            if let Err(SourceError::Log(LogError::Rpc(error))) = &ended {
                link.heed(&self.shared, error);
            }
            match ended {
                Err(SourceError::Log(error)) if error.refuses_delivery() => {
                    tracing::info!(source = self.config.name, delivery = word(delivery), %error, "delivery refused");
                    refused = Some(error);
                }
                other => return other,
            }
        }
        Err(refused.map_or(SourceError::Stopped(Stopped), SourceError::Log))
    }

    async fn connect(&mut self) -> Result<Link, SourceError> {
        let connecting = Arc::clone(&self.shared.connecting);
        // Closed never: it lives as long as the sources.
        let _place = connecting.acquire_owned().await.map_err(|_| Stopped)?;
        let link = Link::open(&self.config, &self.shared, &self.tasks).await?;
        tracing::info!(
            source = self.config.name,
            host = self.config.host,
            authentication = link.authentication(),
            "connected"
        );
        let skew = link.clock_offset().unwrap_or(0);
        self.settings.skew = if skew.abs() < SKEW_IGNORED { 0 } else { skew };
        self.report.set_fact("skew_ms", Fact::Number(skew));
        self.degraded_by = (skew.abs() > SKEW_DEGRADED).then(|| {
            format!(
                "the clock of {} is {} s {} ours",
                self.config.host,
                skew.abs() / 1000,
                if skew > 0 { "ahead of" } else { "behind" }
            )
        });
        Ok(link)
    }

    /// Has records delivered in one way; when the log has wrapped, goes on with what is left of it.
    pub(super) async fn deliver<C: Calls>(
        &mut self,
        log: &Log<'_, C>,
        delivery: Delivery,
    ) -> Result<(), SourceError> {
        let start = match (self.position, &self.gap) {
            (Some(position), _) => Start::After(position.record_id),
            // Nothing has come yet since records were lost: what is left is still to be read.
            (None, Some(gap)) => Start::Past(back_to(gap.after)),
            (None, None) if self.config.catch_up.is_zero() => Start::Now,
            (None, None) => Start::Past(self.config.catch_up),
        };
        match self.deliver_from(log, delivery, start).await {
            Err(SourceError::Log(error)) if error.is_stale() => {}
            other => return other,
        }
        let past = self.lost();
        self.deliver_from(log, delivery, Start::Past(past)).await
    }

    async fn deliver_from<C: Calls>(
        &mut self,
        log: &Log<'_, C>,
        delivery: Delivery,
        start: Start,
    ) -> Result<(), SourceError> {
        match delivery {
            Delivery::Push | Delivery::Auto => self.push(log, start).await,
            Delivery::Pull => self.pull(log, start).await,
            Delivery::Query => self.query(log, start).await,
        }
    }

    async fn push<C: Calls>(&mut self, log: &Log<'_, C>, start: Start) -> Result<(), SourceError> {
        let subscription = log
            .subscribe(self.config.kind, start, Delivery::Push)
            .await?;
        self.say();
        loop {
            let next = log.pushed(&subscription);
            match tokio::time::timeout(SILENCE, next).await {
                Ok(batch) => self.take(&batch?).await?,
                Err(_silent) => {
                    self.say();
                    return Ok(());
                }
            }
        }
    }

    async fn pull<C: Calls>(&mut self, log: &Log<'_, C>, start: Start) -> Result<(), SourceError> {
        let subscription = log
            .subscribe(self.config.kind, start, Delivery::Pull)
            .await?;
        self.say();
        let mut heard = monotonic_now();
        while monotonic_now() - heard < SILENCE {
            let asked = monotonic_now();
            match log.pulled(&subscription, PULL_WAIT).await? {
                Some(batch) => {
                    self.take(&batch).await?;
                    heard = monotonic_now();
                }
                // A server that does not hold the call must not be asked without a pause.
                None if monotonic_now() - asked < LOOK_PAUSE => {
                    tokio::time::sleep(LOOK_PAUSE).await;
                }
                None => {}
            }
        }
        self.say();
        Ok(())
    }

    async fn query<C: Calls>(&mut self, log: &Log<'_, C>, start: Start) -> Result<(), SourceError> {
        if let Start::After(record_id) = start {
            log.still_has(record_id).await?;
        }
        let mut start = start;
        let begun = monotonic_now();
        while monotonic_now() - begun < SILENCE {
            let query = log.query(self.config.kind, start).await?;
            self.say();
            while let Some(batch) = log.queried(&query).await? {
                self.take(&batch).await?;
            }
            log.close(query).await?;
            if let Some(position) = self.position {
                start = Start::After(position.record_id);
            }
            tokio::time::sleep(LOOK_PAUSE).await;
        }
        Ok(())
    }

    /// Hands a batch to the table, and waits while the table takes nothing.
    async fn take(&mut self, batch: &Batch) -> Result<(), SourceError> {
        let received_at = utc_now();
        let mut events = Vec::with_capacity(batch.len());
        let mut harvest = Harvest::default();
        let before = self.position;
        for entry in batch.records() {
            let Some(event) = self.record(entry, received_at, &mut harvest) else {
                continue;
            };
            events.push(event);
        }
        self.count(&harvest, events.len(), received_at);
        if self.position != before
            && let Some(position) = self.position
        {
            self.tell_position(position);
            self.say();
        }
        let bookmark = self
            .position
            .map(|position| position.bookmark(&self.config.name, &self.config.host, CHANNEL));
        let batch = identity::Batch::Events { events, bookmark };
        self.shared.surroundings.intake.send(batch).await?;
        Ok(())
    }

    /// One record: where it brings us, and its event if it is one.
    fn record(
        &mut self,
        entry: &[u8],
        received_at: UtcMillis,
        harvest: &mut Harvest,
    ) -> Option<IdentityEvent> {
        harvest.records += 1;
        let record = match self.decoder.record(entry) {
            Ok(record) => record,
            Err(error) => {
                tracing::debug!(source = self.config.name, %error, "a record cannot be read");
                harvest.unreadable += 1;
                return None;
            }
        };
        let written_at = interpret::occurred_at(&self.settings, &record, received_at);
        // A log that was cleared counts from the beginning again: lower numbers, but later.
        let repeated = self.position.is_some_and(|position| {
            record.record_id <= position.record_id && written_at <= position.written_at
        });
        if repeated {
            harvest.repeated += 1;
            return None;
        }
        self.position = Some(Position {
            record_id: record.record_id,
            written_at,
        });
        if let Some(gap) = &mut self.gap
            && gap.before.is_none()
        {
            gap.before = Some((record.record_id, written_at));
        }
        match interpret::interpret(&self.settings, &record, received_at) {
            Ok(event) => Some(event),
            Err(reason) => {
                harvest.count(reason);
                None
            }
        }
    }

    fn count(&self, harvest: &Harvest, events: usize, now: UtcMillis) {
        self.report.count_received(harvest.records, now);
        self.report
            .count_interpreted(u64::try_from(events).unwrap_or(u64::MAX));
        for &(reason, records) in &harvest.reasons {
            self.report.count_ignored_many(reason.as_str(), records);
        }
        if harvest.unreadable > 0 {
            self.report
                .count_ignored_many("unreadable", harvest.unreadable);
        }
        if harvest.repeated > 0 {
            self.report.count_noted("repeated", harvest.repeated);
        }
    }

    /// The log no longer has what follows our position; how far back that is.
    fn lost(&mut self) -> Duration {
        let Some(position) = self.position.take() else {
            return LONGEST_PAST;
        };
        tracing::warn!(
            source = self.config.name,
            after = position.record_id,
            "records were lost: the log no longer has what follows the last one read"
        );
        self.report.count_noted("gap", 1);
        self.gap = Some(Gap {
            after: position,
            before: None,
            noticed: monotonic_now(),
        });
        back_to(position)
    }

    fn manner(&mut self, delivery: Delivery, link: &Link) {
        self.manner = format!(
            "{}: {} by {}",
            self.config.host,
            word(delivery),
            link.authentication()
        );
        self.report
            .set_fact("delivery", Fact::Text(word(delivery).to_owned()));
        self.report.set_fact(
            "authentication",
            Fact::Text(link.authentication().to_owned()),
        );
    }

    fn tell_position(&mut self, position: Position) {
        let record = i64::try_from(position.record_id).unwrap_or(i64::MAX);
        self.report.set_fact("record", Fact::Number(record));
        self.report
            .set_fact("record_time", Fact::Time(position.written_at));
        let lag = utc_now().since(position.written_at);
        let lag = i64::try_from(lag.as_millis()).unwrap_or(i64::MAX);
        self.report.set_fact("lag_ms", Fact::Number(lag));
    }

    /// Tells status how things are while records come.
    fn say(&mut self) {
        let shown = |gap: &Gap| monotonic_now() - gap.noticed < GAP_SHOWN;
        self.gap = self.gap.take().filter(shown);
        if let Some(gap) = &self.gap {
            self.report.set_detail(self.manner.clone());
            self.report.set_fault(
                Health::Degraded,
                gap.to_string(),
                "make the log larger, so that it holds what is written while jims is away: wevtutil sl Security /ms:4294967296",
                utc_now(),
            );
        } else if let Some(why) = &self.degraded_by {
            self.report.set_detail(self.manner.clone());
            self.report.set_fault(
                Health::Degraded,
                why.clone(),
                "let both keep time by the same source (w32tm /resync, chronyc tracking)",
                utc_now(),
            );
        } else {
            let heard = self.report.read().last_received;
            if heard.is_some_and(|heard| utc_now().since(heard) >= SILENCE) {
                self.report.set_quiet(self.manner.clone());
            } else {
                self.report.set_active(self.manner.clone());
            }
        }
    }
}

impl std::fmt::Display for Gap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let at = position::shown;
        write!(
            f,
            "events were lost between {} (record {})",
            at(self.after.written_at),
            self.after.record_id
        )?;
        match self.before {
            Some((record, written_at)) => write!(f, " and {} (record {record})", at(written_at)),
            None => f.write_str(" and now"),
        }
    }
}

/// How far back a position is, with a margin for clocks.
fn back_to(position: Position) -> Duration {
    let passed = utc_now().since(position.written_at) + Duration::from_secs(600);
    passed.min(LONGEST_PAST)
}

/// What one batch gave beside events.
#[derive(Debug, Default)]
struct Harvest {
    records: u64,
    unreadable: u64,
    repeated: u64,
    /// A handful of reasons at most: a list is faster than a map.
    reasons: Vec<(Reason, u64)>,
}

impl Harvest {
    fn count(&mut self, reason: Reason) {
        match self.reasons.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, records)) => *records += 1,
            None => self.reasons.push((reason, 1)),
        }
    }
}

/// The ways of delivery to try, in order.
fn deliveries(configured: Delivery) -> &'static [Delivery] {
    match configured {
        Delivery::Auto => &[Delivery::Push, Delivery::Pull, Delivery::Query],
        Delivery::Push => &[Delivery::Push],
        Delivery::Pull => &[Delivery::Pull],
        Delivery::Query => &[Delivery::Query],
    }
}

/// The word of the configuration.
fn word(delivery: Delivery) -> &'static str {
    match delivery {
        Delivery::Auto => "auto",
        Delivery::Push => "push",
        Delivery::Pull => "pull",
        Delivery::Query => "query",
    }
}
