//! The side of the control socket that answers, inside `jims run`.
//!
//! One task accepts; each connection is a task of its own, bounded in number, line length and silence. Every request
//! that changes something is logged with the peer's user id and without user names.

use std::collections::HashSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::io::BufReader;
use tokio::net::UnixStream;
use tokio::sync::{Semaphore, broadcast};
use tokio_util::sync::CancellationToken;

use super::browse::{Browse, SessionsPage};
use super::ignored::Unheeded;
use super::junos::Junos;
use super::kept::KeptRequest;
use super::lines::{self, LineError};
use super::past::{self, Kept, PastWhom};
use super::protocol::{
    Answer, Attention, ClusterStatus, CollectorChange, CollectorChanged, CollectorStatus, Hello,
    Invite, Invited, LogOff, MAX_REQUEST_BYTES, PointStatus, PointView, Probed, PushStatus, Query,
    Refreshed, Refusal, Request, ServerStatus, Tail, Told, VERSION, timestamp,
};
use super::{explain, list, query, status, unknown};
use crate::config;
use crate::identity::Batch;
use crate::identity::ended::Ended;
use crate::identity::outcome::{Outcome, Verdict};
use crate::identity::time::UtcMillis;
use crate::net::local_socket::{Access, LocalListener, LocalSocketError};
use crate::runtime::clock;
use crate::runtime::readiness::Readiness;
use crate::runtime::report::{Health, Kind, Reading, Reports};
use crate::runtime::strangers::Strangers;
use crate::runtime::supervisor::{Tasks, blocking};
use crate::writer::{Intake, Outcomes, Pulse, Reader};

/// Connections at a time; operators and their scripts, not firewalls.
const MAX_CONNECTIONS: usize = 64;

/// How long a connection may be silent between requests.
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);

/// How long a log-off waits for the table; it happens all the same.
const APPLIED_WITHIN: Duration = Duration::from_secs(10);

/// How long a line may take to leave.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// How often a tail looks for new lines that nobody could read.
const UNPARSED_INTERVAL: Duration = Duration::from_secs(1);

/// Pause after the system refused to accept (out of file descriptors, mostly).
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// What the answers are made from.
#[derive(Debug)]
pub struct Desk<S> {
    /// Who we are.
    pub collector: config::Collector,
    /// Who may open the socket.
    pub access: Access,
    /// When this process started.
    pub started: UtcMillis,
    /// The table.
    pub reader: Reader,
    /// Where log-offs go.
    pub intake: Intake,
    /// What became of events.
    pub outcomes: Outcomes,
    /// How much passes, and how late.
    pub pulse: Pulse,
    /// What changed nothing of late.
    pub unheeded: Unheeded,
    /// How sources do.
    pub reports: Reports,
    /// Who asked or sent without being configured.
    pub strangers: Strangers,
    /// Whether queries are answered.
    pub readiness: Readiness,
    /// What only the composition of the process knows.
    pub site: S,
}

/// What the composition of the process answers for the rooms that this one does not know.
pub trait Site: Send + Sync + 'static {
    /// The HTTPS side, if there is one.
    fn server(&self) -> Option<ServerStatus>;
    /// The enforcement points.
    fn points(&self) -> Vec<PointStatus>;
    /// The `report_entries` that a point would be told of the addresses; `None` if there is no such point.
    fn told(&self, point: &str, addresses: &[std::net::IpAddr]) -> Option<Vec<Value>>;
    /// The document that a point would be pushed of the addresses; `None`: nothing is pushed to it.
    fn document(&self, point: &str, addresses: &[std::net::IpAddr]) -> Option<String>;
    /// What each firewall and Server has been told of an address.
    fn knows(&self, address: std::net::IpAddr) -> Vec<Told>;
    /// What the history has of an instant.
    fn past(&self, whom: PastWhom, at: UtcMillis) -> impl Future<Output = Kept> + Send;
    /// The last sessions that ended, as far as the history has them, the latest first.
    fn ended_of(&self, whom: PastWhom) -> impl Future<Output = Vec<Ended>> + Send;
    /// What else an operator should act on: held removals, snapshots set aside or not written.
    fn attention(&self) -> Vec<Attention>;
    /// The last syslog lines that nobody could read, as far as they are kept.
    fn unparsed(&self) -> Vec<Unparsed>;
    /// The last requests of firewalls that were not understood, the latest first.
    fn requests(&self) -> Vec<KeptRequest>;
    /// What is to be typed on a firewall.
    ///
    /// # Errors
    /// There is no such enforcement point.
    fn junos(&self, point: &str) -> Result<Junos, Refusal>;
    /// Tries a configured source step by step.
    fn probe(&self, target: &str) -> impl Future<Output = Result<Probed, Refusal>> + Send;
    /// Tells a firewall that is pushed to everything again.
    fn refresh(&self, point: &str) -> Refreshed;
    /// Collectors that push to this Server, and invitations, by name.
    ///
    /// # Errors
    /// This process receives no Collectors.
    fn collectors(&self) -> Result<Vec<CollectorStatus>, Refusal>;
    /// The cluster, if this process is a member of one.
    fn cluster(&self) -> Option<ClusterStatus>;
    /// Servers that this Collector pushes to.
    fn pushes(&self) -> Vec<PushStatus>;
    /// Invites a Collector.
    ///
    /// # Errors
    /// This process receives no Collectors, something of the invitation cannot be used, or it cannot be written down.
    fn invite(&self, invite: Invite) -> impl Future<Output = Result<Invited, Refusal>> + Send;
    /// Changes a Collector or its invitation. There is none of this name: not done.
    ///
    /// # Errors
    /// This process receives no Collectors, or it cannot be written down.
    fn change_collector(
        &self,
        name: &str,
        change: CollectorChange,
    ) -> impl Future<Output = Result<CollectorChanged, Refusal>> + Send;
    /// Looks at what `jims onboard` stored; what is done with it, for people.
    ///
    /// # Errors
    /// It cannot be read.
    fn onboarded(&self) -> impl Future<Output = Result<String, Refusal>> + Send;
    /// Reads the configuration again; what was done, for people.
    fn reload(&self) -> impl Future<Output = Result<String, Refusal>> + Send;
    /// Changes what is logged.
    ///
    /// # Errors
    /// The level is not understood.
    fn set_log_level(&self, level: &str) -> Result<(), Refusal>;
}

/// A syslog line that nobody could read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Unparsed {
    /// When it arrived.
    pub received_at: UtcMillis,
    /// The syslog source.
    pub source: Arc<str>,
    /// The line, escaped, cut to a sensible length.
    pub line: String,
    /// Why.
    pub reason: &'static str,
}

/// A bound control socket.
#[derive(Debug)]
pub struct ControlServer {
    listener: LocalListener,
    access: Access,
}

impl ControlServer {
    /// Makes the socket.
    ///
    /// # Errors
    /// Another process answers there, or the system refuses.
    pub fn bind(control: &config::Control) -> Result<Self, LocalSocketError> {
        let (listener, access) = LocalListener::bind(&control.socket, &control.group)?;
        Ok(Self { listener, access })
    }

    /// Who may open the socket, for [`Desk::access`].
    #[must_use]
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// Answers until `stop`.
    pub async fn run<S: Site>(self, desk: Desk<S>, tasks: Tasks, stop: CancellationToken) {
        let desk = Arc::new(desk);
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        while let Some(accepted) = stop.run_until_cancelled(self.listener.accept()).await {
            let (stream, uid) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept on the control socket");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                tracing::warn!(
                    uid,
                    "refused a control connection: {MAX_CONNECTIONS} are open"
                );
                continue;
            };
            let connection = Connection {
                stream: BufReader::new(stream),
                uid,
                desk: Arc::clone(&desk),
            };
            let stop = stop.clone();
            tasks.spawn("control connection", async move {
                if let Some(Err(error)) = stop.run_until_cancelled(connection.run()).await {
                    tracing::debug!(uid, %error, "control connection ended");
                }
                drop(place);
            });
        }
    }
}

/// One conversation.
struct Connection<S> {
    stream: BufReader<UnixStream>,
    uid: u32,
    desk: Arc<Desk<S>>,
}

impl<S: Site> Connection<S> {
    async fn run(mut self) -> Result<(), LineError> {
        let hello = Hello {
            jims: env!("CARGO_PKG_VERSION").to_owned(),
            protocol: VERSION,
        };
        lines::write(self.stream.get_mut(), &hello, WRITE_TIMEOUT).await?;
        loop {
            let request = lines::read(&mut self.stream, MAX_REQUEST_BYTES, IDLE_TIMEOUT).await;
            let answer = match request {
                Ok(None) => return Ok(()),
                Ok(Some(Request::Tail)) => return self.tail().await,
                Ok(Some(request)) => self.answer(request).await,
                Err(LineError::Malformed(error)) => refuse(
                    format!("cannot understand the request: {error}"),
                    "send one JSON object a line, as in `{\"request\":\"status\"}`",
                ),
                Err(error @ LineError::TooLong { .. }) => {
                    let answer = refuse(error.to_string(), "send shorter requests");
                    self.say(&answer).await?;
                    return Err(error);
                }
                Err(error) => return Err(error),
            };
            self.say(&answer).await?;
        }
    }

    async fn say(&mut self, answer: &Answer) -> Result<(), LineError> {
        lines::write(self.stream.get_mut(), answer, WRITE_TIMEOUT).await
    }

    async fn answer(&self, request: Request) -> Answer {
        let desk = &self.desk;
        match request {
            Request::Status => Answer::Status(Box::new(status::status(desk, clock::utc_now()))),
            Request::Requests => Answer::Requests {
                requests: desk.site.requests(),
            },
            Request::Junos { name } => {
                answered(desk.site.junos(&name), |junos| Answer::Junos { junos })
            }
            Request::Query {
                who,
                point,
                explain,
            } => self.query(&who, point, explain).await,
            Request::Past { who, at } => self.past(&who, at).await,
            Request::Sessions(page) => answered(self.sessions(page).await, Answer::Sessions),
            Request::Names { kind, page } => {
                let reader = desk.reader.clone();
                let listed = apart(move || list::names(&reader, kind, &page)).await;
                answered(listed, Answer::Names)
            }
            Request::LogOff { who } => self.log_off(&who).await,
            Request::Probe { target } => {
                tracing::info!(uid = self.uid, "probe asked for on the control socket");
                let probed = desk.site.probe(&target).await;
                answered(probed, |probed| Answer::Probe { probed })
            }
            Request::Reload => {
                tracing::info!(uid = self.uid, "reload asked for on the control socket");
                answered(desk.site.reload().await, |detail| Answer::Done { detail })
            }
            Request::Refresh { point } => {
                tracing::info!(
                    uid = self.uid,
                    point,
                    "refresh asked for on the control socket"
                );
                Answer::Refresh(desk.site.refresh(&point))
            }
            Request::Invite(invite) => answered(self.invite(invite).await, Answer::Invited),
            Request::Collectors => answered(desk.site.collectors(), |collectors| {
                Answer::Collectors { collectors }
            }),
            Request::Revoke { name } => self.change(name, CollectorChange::Revoke).await,
            Request::Remove { name } => self.change(name, CollectorChange::Remove).await,
            Request::Disable { name } => self.change(name, CollectorChange::Disable).await,
            Request::Enable { name } => self.change(name, CollectorChange::Enable).await,
            Request::Describe { name, text } => {
                self.change(name, CollectorChange::Describe(text)).await
            }
            Request::Onboarded => {
                tracing::info!(uid = self.uid, "told that this Collector was onboarded");
                answered(desk.site.onboarded().await, |detail| Answer::Done {
                    detail,
                })
            }
            Request::LogLevel { level } => match desk.site.set_log_level(&level) {
                Ok(()) => {
                    tracing::info!(uid = self.uid, level, "log level changed");
                    Answer::Done {
                        detail: format!("the log level is {level}"),
                    }
                }
                Err(refusal) => Answer::Error(refusal),
            },
            Request::Tail => refuse("a tail has its own connection".to_owned(), ""),
        }
    }

    async fn invite(&self, invite: Invite) -> Result<Invited, Refusal> {
        let invited = self.desk.site.invite(invite).await?;
        let (uid, name) = (self.uid, &invited.name);
        tracing::info!(uid, name, expires = %invited.expires, "Collector invited by an operator");
        Ok(invited)
    }

    async fn change(&self, name: String, change: CollectorChange) -> Answer {
        let (uid, what) = (self.uid, change.as_str());
        let changed = self.desk.site.change_collector(&name, change).await;
        if changed.as_ref().is_ok_and(|changed| changed.done) {
            tracing::info!(uid, name, "Collector {what} by an operator");
        }
        answered(changed, Answer::CollectorChanged)
    }

    async fn sessions(&self, page: Browse) -> Result<SessionsPage, Refusal> {
        let (reader, down) = (self.desk.reader.clone(), self.down());
        apart(move || list::sessions(&reader, &page, down)).await
    }

    /// Who was there: those who are there still, and what the history has.
    async fn past(&self, who: &str, at: jiff::Timestamp) -> Answer {
        let (now, at) = (clock::utc_now(), UtcMillis(at.as_millisecond()));
        if at > now {
            return refuse(
                format!("{} has not come yet", timestamp(at)),
                "ask without --at, or for a time that has passed",
            );
        }
        // Looked for first: who ends meanwhile is in one of them at least.
        let before = match self.find(who) {
            Ok(found) => found,
            Err(refusal) => return Answer::Error(refusal),
        };
        let still = past::still_there(&self.desk.reader.read(), &before, at, now);
        let whom = past::whom(&self.desk.reader.read(), &before);
        let kept = self.desk.site.past(whom, at).await;
        Answer::Past(Box::new(past::joined(still, at, kept)))
    }

    async fn query(&self, who: &str, point: Option<String>, explain: bool) -> Answer {
        let mut found = match self.find(who) {
            Ok(found) => found,
            Err(refusal) => return Answer::Error(refusal),
        };
        if explain {
            found.ended = query::ended_before(&self.desk.reader, &found);
            let whom = past::whom(&self.desk.reader.read(), &found);
            let kept = self.desk.site.ended_of(whom).await;
            past::add_listed(&mut found.ended, &kept);
            found.explained = explain::explained(&self.desk, &found);
        }
        if let Some(name) = point {
            let mut addresses: Vec<_> = found.sessions.iter().map(|s| s.address).collect();
            if let Ok(address) = found.who.parse::<std::net::IpAddr>() {
                addresses = vec![address.to_canonical()];
            }
            let Some(report_entries) = self.desk.site.told(&name, &addresses) else {
                return refuse(
                    format!("there is no enforcement point `{name}`"),
                    "`jims status` lists them",
                );
            };
            found.point = Some(PointView {
                document: self.desk.site.document(&name, &addresses),
                name,
                report_entries,
            });
        }
        Answer::Query(Box::new(found))
    }

    async fn log_off(&self, who: &str) -> Answer {
        let before = match self.find(who) {
            Ok(found) => found,
            Err(refusal) => return Answer::Error(refusal),
        };
        for target in query::log_off_targets(&before) {
            let applied = self.desk.intake.apply(Batch::LogOff(target));
            match tokio::time::timeout(APPLIED_WITHIN, applied).await {
                Ok(Ok(_)) => {}
                Ok(Err(stopped)) => {
                    return refuse(stopped.to_string(), "ask again when it has started");
                }
                Err(_late) => {
                    let remedy = "it happens when it can; what hinders it is in `jims status`";
                    return refuse("the table has not taken the log-off yet".into(), remedy);
                }
            }
        }
        let ended = query::ended(&self.desk.reader.read(), &before.sessions);
        tracing::info!(
            uid = self.uid,
            sessions = ended.len(),
            "log-off by an operator"
        );
        Answer::LogOff(LogOff {
            who: before.who,
            ended,
        })
    }

    fn find(&self, who: &str) -> Result<Query, Refusal> {
        unknown::check(who)?;
        let (down, now) = (self.down(), clock::utc_now());
        Ok(query::query(&self.desk.reader.read(), who, &down, now))
    }

    /// Producers that do not work now.
    fn down(&self) -> query::Down {
        let is_down = |reading: &&Reading| {
            reading.health == Health::Down && matches!(reading.kind, Kind::EventLog | Kind::Syslog)
        };
        let readings = self.desk.reports.read();
        let down = readings.iter().filter(is_down);
        down.map(|reading| reading.name.clone()).collect()
    }

    /// Tells what happens until the client goes; first the lines and requests that nobody could read, as far as they are
    /// kept.
    async fn tail(mut self) -> Result<(), LineError> {
        let mut outcomes = self.desk.outcomes.listen();
        let mut look = tokio::time::interval(UNPARSED_INTERVAL);
        let mut unread = Unread::default();
        loop {
            let said: Vec<Tail> = tokio::select! {
                heard = outcomes.recv() => match heard {
                    Ok(batch) => batch.iter().map(outcome).collect(),
                    Err(broadcast::error::RecvError::Lagged(count)) => vec![Tail::Skipped { count }],
                    Err(broadcast::error::RecvError::Closed) => return Ok(()),
                },
                _ = look.tick() => unread.new_in(&self.desk.site),
                gone = lines::read::<Request>(&mut self.stream, MAX_REQUEST_BYTES, Duration::MAX) => {
                    return gone.map(|_anything| ());
                }
            };
            for tail in said {
                self.say(&Answer::Tail(tail)).await?;
            }
        }
    }
}

/// What one tail has shown of the lines and requests that nobody could read.
#[derive(Default)]
struct Unread {
    lines: HashSet<Unparsed>,
    requests: HashSet<KeptRequest>,
}

impl Unread {
    /// What came since the last look; a request that came again is told again, with its count.
    fn new_in(&mut self, site: &impl Site) -> Vec<Tail> {
        let (lines, requests) = (site.unparsed(), site.requests());
        let new_lines = lines.iter().filter(|line| !self.lines.contains(*line));
        let new_requests = requests
            .iter()
            .rev()
            .filter(|r| !self.requests.contains(*r));
        let request = |request: &KeptRequest| Tail::Request {
            request: request.clone(),
        };
        let new = new_lines
            .map(unparsed)
            .chain(new_requests.map(request))
            .collect();
        self.lines = lines.into_iter().collect();
        self.requests = requests.into_iter().collect();
        new
    }
}

fn unparsed(line: &Unparsed) -> Tail {
    Tail::Unparsed {
        received_at: timestamp(line.received_at),
        source: line.source.to_string(),
        line: line.line.clone(),
        reason: line.reason.to_owned(),
    }
}

fn outcome(outcome: &Outcome) -> Tail {
    let (verdict, detail) = match &outcome.verdict {
        Verdict::LoggedOn { displaced: None } => ("logged-on", String::new()),
        Verdict::LoggedOn {
            displaced: Some(who),
        } => ("logged-on", format!("displaced {who}")),
        Verdict::Renewed => ("renewed", String::new()),
        Verdict::LoggedOff(reason) => ("logged-off", reason.as_str().to_owned()),
        Verdict::Ignored(reason) => ("ignored", reason.as_str().to_owned()),
    };
    Tail::Outcome {
        occurred_at: timestamp(outcome.occurred_at),
        producer: outcome.producer.to_string(),
        record: outcome.record.to_string(),
        address: outcome.address,
        subject: outcome.subject.to_string(),
        verdict: verdict.to_owned(),
        detail,
    }
}

/// Does long work on a thread of its own.
async fn apart<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    let failed = || Refusal {
        message: "the question made jims fail".to_owned(),
        remedy: "its log has the panic; please report it".to_owned(),
    };
    blocking(work).await.unwrap_or_else(|| Err(failed()))
}

fn answered<T>(result: Result<T, Refusal>, answer: impl FnOnce(T) -> Answer) -> Answer {
    result.map_or_else(Answer::Error, answer)
}

fn refuse(message: String, remedy: &str) -> Answer {
    Answer::Error(Refusal {
        message,
        remedy: remedy.to_owned(),
    })
}
