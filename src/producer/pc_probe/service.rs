//! The PC probe: which computers are asked when, and what their answers tell the table.
//!
//! The table itself says which sessions are doubted, so nothing is lost in a restart and there is no queue of our own:
//! what is offered to the [`Schedule`] are places in it. One task schedules; each probe is a task. Whether an answer counts
//! is decided by the table, with the ticket that was drawn when the probe began.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use compact_str::{CompactString, format_compact};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::credentials::Credentials;
use super::probe::{Prober, Verdict, shown};
use super::quiet::{Minute, Quiet};
use super::schedule::{Limits, Outcome, Schedule, Step, Why};
use super::standing::{Failed, Standing};
use super::steps::Steps;
use super::telling;
use crate::config::{PcProbe, QuietHours};
use crate::identity::Batch;
use crate::identity::address::{Networks, session_address};
use crate::identity::event::ProducerName;
use crate::identity::habit::Habits;
use crate::identity::probe::{Doubt, ProbeAnswer, ProbeReport, ProbeSubject};
use crate::identity::time::UtcMillis;
use crate::net::resolve::Resolver;
use crate::runtime::clock::{monotonic_now, utc_now};
use crate::runtime::preflight::Preflight;
use crate::runtime::probing::{Answer, NotAsked, Probed, Probing, Question};
use crate::runtime::report::{Kind, Report, Reports};
use crate::runtime::supervisor::Tasks;
use crate::writer::{Intake, Reader};

/// The producer that a probe's evidence is of.
pub const PRODUCER: &str = "pc-probe";

/// Doubted sessions that wait in the schedule; more wait in the table.
const WAITING: usize = 100_000;
/// Doubted sessions that are looked at in one hold of the lock.
const SLICE: usize = 2_048;
/// Between two looks at the table, the credentials' files and the zone.
const LOOK: Duration = Duration::from_millis(500);
const LOOK_AT_SECRETS: Duration = Duration::from_secs(30);
/// Questions for the same computer that wait for one answer.
const MAX_WAITERS: usize = 64;
/// How long probes may take to be given up.
const STOPS_WITHIN: Duration = Duration::from_secs(2);

/// What probing needs of the process.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Where answers go.
    pub intake: Intake,
    /// Where doubted sessions are read.
    pub reader: Reader,
    /// Where our report is read.
    pub reports: Reports,
    /// Who waits for our tasks at the end.
    pub tasks: Tasks,
    /// Who finds names.
    pub resolver: Resolver,
    /// Where questions come from.
    pub probing: Probing,
    /// Where several users at one address are noted.
    pub habits: Arc<Mutex<Habits>>,
}

/// What outlives a reload: a refused credential stays suspended, and probing that fails stays unhealthy.
#[derive(Clone, Debug, Default)]
struct Known {
    credentials: Arc<Mutex<Credentials>>,
    standing: Arc<Mutex<Standing>>,
}

/// The PC probe of a process; runs once a configuration names networks.
#[derive(Debug)]
pub struct PcProbes {
    surroundings: Surroundings,
    known: Known,
    running: Mutex<Option<(CancellationToken, Tasks)>>,
}

impl PcProbes {
    /// Nothing runs yet.
    #[must_use]
    pub fn new(surroundings: Surroundings) -> Self {
        Self {
            surroundings,
            known: Known::default(),
            running: Mutex::default(),
        }
    }

    /// Probes until `stop`.
    pub fn start(&self, configured: &PcProbe, intake: &Intake, stop: CancellationToken) {
        let report = Report::new(Kind::PcProbe, PRODUCER);
        self.surroundings.reports.add(&report);
        // Tasks of its own, so that a reload can wait for them alone.
        let tasks = Tasks::new();
        let configured = Arc::new(configured.clone());
        let (mut surroundings, known) = (self.surroundings.clone(), self.known.clone());
        surroundings.intake = intake.clone();
        let (own, ends) = (tasks.clone(), stop.clone());
        tasks.spawn_restarting("PC probe", stop.clone(), move || {
            let service = Service::new(
                Arc::clone(&configured),
                (&surroundings, &known),
                Arc::clone(&report),
                (own.clone(), ends.clone()),
            );
            let ends = ends.clone();
            async move {
                let _stopped = ends.run_until_cancelled(service.run()).await;
            }
        });
        self.surroundings.tasks.include("PC probe", &tasks);
        *self.running.lock() = Some((stop, tasks));
    }

    /// Stops probing; what is under way is given up.
    pub async fn stop(&self) {
        let running = self.running.lock().take();
        if let Some((stop, tasks)) = running {
            self.surroundings.probing.close();
            stop.cancel();
            let left = tasks.finish(STOPS_WITHIN).await;
            if !left.is_empty() {
                tracing::debug!(tasks = left.join(", "), "probes did not stop in time");
            }
            self.surroundings.reports.remove(Kind::PcProbe, PRODUCER);
        }
    }
}

/// Says that a probe is over, however it ends: else its places would be lost, and those who wait would wait for ever.
struct Ending {
    finished: mpsc::Sender<Finished>,
    over: Option<Finished>,
}

impl Ending {
    fn with(mut self, over: Finished) {
        self.over = Some(over);
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        if let Some(over) = self.over.take() {
            // There is room for every probe that runs; without a service nobody waits.
            let _ = self.finished.try_send(over);
        }
    }
}

/// A probe that is over, for the schedule and for those who wait.
struct Finished {
    address: IpAddr,
    outcome: Outcome,
    probed: Arc<Probed>,
}

impl Finished {
    /// Of a probe that broke off.
    fn without_answer(address: IpAddr) -> Self {
        Self {
            address,
            outcome: Outcome::NotProbed,
            probed: Arc::new(Probed {
                answer: Some(Answer::Refused),
                users: Vec::new(),
                steps: Vec::new(),
            }),
        }
    }
}

type Waiter = oneshot::Sender<Result<Arc<Probed>, NotAsked>>;

struct Service {
    prober: Prober,
    networks: Networks,
    schedule: Schedule,
    limits: Limits,
    standing: Arc<Mutex<Standing>>,
    reader: Reader,
    intake: Intake,
    report: Arc<Report>,
    tasks: Tasks,
    stop: CancellationToken,
    producer: ProducerName,
    questions: mpsc::Receiver<Question>,
    finished: (mpsc::Sender<Finished>, mpsc::Receiver<Finished>),
    waiters: HashMap<IpAddr, Vec<Waiter>>,
    /// Names that were given with questions, until the probe begins.
    names: HashMap<IpAddr, String>,
    habits: Arc<Mutex<Habits>>,
    /// Where in the order of doubts the last look ended.
    looked: Option<(UtcMillis, IpAddr)>,
    next_look: Instant,
    next_secrets: Instant,
}

impl Service {
    fn new(
        configured: Arc<PcProbe>,
        (surroundings, known): (&Surroundings, &Known),
        report: Arc<Report>,
        (tasks, stop): (Tasks, CancellationToken),
    ) -> Self {
        let now = monotonic_now();
        let credentials = Arc::clone(&known.credentials);
        let networks = Networks::new(configured.networks.iter().copied());
        let limits = limits(&configured);
        let schedule = Schedule::new(limits);
        let finished = mpsc::channel(configured.parallel);
        let prober = Prober::new(configured, &surroundings.resolver, &tasks, credentials);
        Self {
            prober,
            networks,
            schedule,
            limits,
            standing: Arc::clone(&known.standing),
            reader: surroundings.reader.clone(),
            intake: surroundings.intake.clone(),
            report,
            tasks,
            stop,
            producer: PRODUCER.into(),
            questions: surroundings.probing.open(),
            finished,
            waiters: HashMap::new(),
            names: HashMap::new(),
            habits: Arc::clone(&surroundings.habits),
            looked: None,
            next_look: now,
            next_secrets: now,
        }
    }

    async fn run(mut self) {
        loop {
            let sleep = self.turn();
            tokio::select! {
                Some(question) = self.questions.recv() => self.question(question),
                Some(finished) = self.finished.1.recv() => self.finish(&finished),
                () = tokio::time::sleep(sleep) => {}
            }
        }
    }

    /// Looks, starts what may start, tells; how long until the next time.
    fn turn(&mut self) -> Duration {
        let (instant, now) = (monotonic_now(), utc_now());
        if instant >= self.next_secrets {
            self.next_secrets = instant + LOOK_AT_SECRETS;
            self.prober.refresh();
        }
        if instant >= self.next_look {
            self.next_look = instant + LOOK;
            // The hours of quiet move with the zone's offset.
            let limits = limits(&self.prober.config);
            if limits != self.limits {
                self.limits = limits;
                self.schedule.set_limits(limits);
            }
            self.look(now);
            self.tell(now);
        }
        while let Some(step) = self.schedule.next(now) {
            match step {
                Step::Probe { address, why } => self.start(address, why, now),
                Step::Silent { address, .. } => self.silent(address),
            }
        }
        let due = self.schedule.poll_timeout(now).map(|at| at.since(now));
        let look = self.next_look.saturating_duration_since(instant);
        due.map_or(look, |due| due.min(look))
    }

    /// Offers doubted sessions to the schedule, going round the table's order.
    fn look(&mut self, now: UtcMillis) {
        let room = self.schedule.free().min(SLICE);
        let doubts: Vec<Doubt> = self.reader.read().doubted(self.looked, room).collect();
        // At the end of the order it begins anew.
        self.looked = None;
        for Doubt { address, since } in doubts {
            if self
                .schedule
                .want(address, since, Why::Doubted, now)
                .is_err()
            {
                return;
            }
            self.looked = Some((since, address));
        }
    }

    fn question(&mut self, question: Question) {
        let Question {
            address,
            name,
            answer,
        } = question;
        let address = address.to_canonical();
        let allowed = session_address(address).is_some() && self.networks.contains(address);
        let waiters = self.waiters.get(&address).map_or(0, Vec::len);
        let refused = if !allowed {
            Some(NotAsked::Outside)
        } else if waiters >= MAX_WAITERS {
            Some(NotAsked::Busy)
        } else {
            let now = utc_now();
            let wanted = self.schedule.want(address, now, Why::Forced, now);
            wanted.is_err().then_some(NotAsked::Busy)
        };
        match refused {
            // Who asked may have stopped waiting.
            Some(refused) => drop(answer.send(Err(refused))),
            None => {
                self.waiters.entry(address).or_default().push(answer);
                self.names.extend(name.map(|name| (address, name)));
            }
        }
    }

    fn start(&mut self, address: IpAddr, why: Why, now: UtcMillis) {
        let mut subject = self.reader.read().probe_subject(address);
        // Kerberos shows whether the name fits; who asks for a computer by its name means that one.
        if let Some(name) = self.names.remove(&address) {
            subject.host_name = Some(name.into());
        }
        // Doubts go away while they wait.
        if why == Why::Doubted && !subject.doubted {
            self.schedule.done(address, Outcome::NotProbed, now);
            return;
        }
        let probe = Probe {
            prober: self.prober.clone(),
            standing: Arc::clone(&self.standing),
            reader: self.reader.clone(),
            intake: self.intake.clone(),
            report: Arc::clone(&self.report),
            producer: Arc::clone(&self.producer),
            habits: Arc::clone(&self.habits),
            address,
            subject,
        };
        let stop = self.stop.clone();
        let ending = Ending {
            finished: self.finished.0.clone(),
            over: Some(Finished::without_answer(address)),
        };
        self.tasks.spawn("a probe", async move {
            // A probe that is given up leaves its session in doubt.
            if let Some(over) = stop.run_until_cancelled(probe.run()).await {
                ending.with(over);
            }
        });
    }

    /// The network of the address does not answer: its session stays doubted.
    fn silent(&mut self, address: IpAddr) {
        telling::count("silent");
        let probed = Probed {
            answer: Some(Answer::Unreachable),
            users: Vec::new(),
            steps: vec![telling::silent(address)],
        };
        self.answer(address, &Arc::new(probed));
    }

    fn finish(&mut self, finished: &Finished) {
        self.schedule
            .done(finished.address, finished.outcome, utc_now());
        self.answer(finished.address, &finished.probed);
    }

    fn answer(&mut self, address: IpAddr, probed: &Arc<Probed>) {
        self.names.remove(&address);
        for waiter in self.waiters.remove(&address).into_iter().flatten() {
            let _gone = waiter.send(Ok(Arc::clone(probed)));
        }
    }

    fn tell(&self, now: UtcMillis) {
        let credentials = self.prober.credentials.lock();
        let suspended = credentials.suspended(now);
        let all_suspended = credentials.all_suspended(now);
        drop(credentials);
        let standing = self.standing.lock();
        let doubted = self.reader.read().doubted_count();
        let state = telling::State {
            running: self.schedule.running(),
            waiting: self.schedule.waiting(),
            doubted,
            oldest: self.schedule.oldest_waiting(now),
            counts: standing.counts(now),
            unhealthy: standing.reason(all_suspended, now),
            all_suspended,
            suspended: &suspended,
            silent: &self.schedule.silent_networks(),
        };
        telling::tell(&self.report, &state, now);
    }
}

/// One probe under way.
struct Probe {
    prober: Prober,
    standing: Arc<Mutex<Standing>>,
    reader: Reader,
    intake: Intake,
    report: Arc<Report>,
    producer: ProducerName,
    habits: Arc<Mutex<Habits>>,
    address: IpAddr,
    subject: ProbeSubject,
}

impl Probe {
    async fn run(self) -> Finished {
        let begun = monotonic_now();
        let asked_at = utc_now();
        let mut steps = Steps::new(Preflight::default());
        let name = self.subject.host_name.as_ref().map(ToString::to_string);
        let verdict = self.prober.probe(self.address, name, &mut steps).await;
        let answered_at = utc_now();
        let healthy = self.healthy(&verdict, answered_at);
        let report = ProbeReport {
            address: self.address,
            producer: Arc::clone(&self.producer),
            record: self.record(&verdict),
            ticket: self.subject.ticket.clone(),
            asked_at,
            answered_at,
            healthy,
            device: match &verdict {
                Verdict::Answered(signed_on) => signed_on.device.clone(),
                _ => None,
            },
            answer: answer(&verdict),
        };
        if verdict != Verdict::Unable || self.subject.doubted {
            // The process is stopping: the doubt is in the snapshot.
            let _stopping = self.intake.apply(Batch::Probe(report)).await;
        }
        if let Verdict::Answered(signed_on) = &verdict
            && signed_on.users.len() > 1
        {
            let found = signed_on.users.len();
            self.habits.lock().several(self.address, found, answered_at);
        }
        let users = users(&verdict);
        let word = self.word(&verdict);
        if matches!(verdict, Verdict::Answered(_)) {
            self.report.count_received(1, answered_at);
            self.report.count_interpreted(1);
        }
        telling::over(word, begun);
        Finished {
            address: self.address,
            outcome: outcome(&verdict),
            probed: Arc::new(Probed {
                answer: Some(word),
                users,
                steps: steps.into_preflight().into_steps(),
            }),
        }
    }

    /// Counts the probe, and whether an unanswered one says something about the computer (rule 10).
    fn healthy(&self, verdict: &Verdict, now: UtcMillis) -> bool {
        let all_suspended = self.prober.credentials.lock().all_suspended(now);
        let mut standing = self.standing.lock();
        match verdict {
            Verdict::Answered(_) => standing.answered(now),
            Verdict::Refused => standing.failed(Failed::Refused, now),
            Verdict::Unreachable => standing.failed(Failed::Unreachable, now),
            Verdict::NotProbed | Verdict::Unable => {}
        }
        *verdict != Verdict::Unable && standing.healthy(all_suspended, now)
    }

    fn record(&self, verdict: &Verdict) -> CompactString {
        let device = match verdict {
            Verdict::Answered(signed_on) => signed_on.device.as_ref(),
            _ => None,
        };
        match device {
            Some(device) => format_compact!("wmi {}", device.name),
            None => CompactString::const_new("wmi"),
        }
    }

    /// What became of the session tells whose user was found: names are the table's business.
    fn word(&self, verdict: &Verdict) -> Answer {
        match verdict {
            Verdict::Answered(signed_on) if signed_on.users.is_empty() => Answer::Nobody,
            Verdict::Answered(_) => {
                let now = self.reader.read().probe_subject(self.address);
                match (&self.subject.user, &now.user) {
                    (Some(before), Some(after)) if before == after => Answer::SameUser,
                    _ => Answer::OtherUser,
                }
            }
            Verdict::Refused | Verdict::NotProbed | Verdict::Unable => Answer::Refused,
            Verdict::Unreachable => Answer::Unreachable,
        }
    }
}

fn users(verdict: &Verdict) -> Vec<String> {
    match verdict {
        Verdict::Answered(signed_on) => {
            let users = signed_on.users.iter().map(shown);
            users.chain(signed_on.local.iter().cloned()).collect()
        }
        _ => Vec::new(),
    }
}

fn answer(verdict: &Verdict) -> ProbeAnswer {
    match verdict {
        Verdict::Answered(signed_on) if signed_on.users.is_empty() => ProbeAnswer::Nobody,
        Verdict::Answered(signed_on) => ProbeAnswer::Users(signed_on.users.clone()),
        Verdict::Refused | Verdict::Unable => ProbeAnswer::Refused,
        Verdict::Unreachable => ProbeAnswer::Unreachable,
        Verdict::NotProbed => ProbeAnswer::NotProbed,
    }
}

fn outcome(verdict: &Verdict) -> Outcome {
    match verdict {
        Verdict::Answered(_) => Outcome::Answered,
        Verdict::Refused => Outcome::Refused,
        Verdict::Unreachable => Outcome::Unreachable,
        Verdict::NotProbed | Verdict::Unable => Outcome::NotProbed,
    }
}

fn limits(configured: &PcProbe) -> Limits {
    Limits {
        parallel: configured.parallel,
        per_subnet: configured.per_subnet,
        timeout: configured.timeout,
        retry: configured.retry,
        capacity: WAITING,
        quiet: configured.quiet_hours.and_then(quiet),
    }
}

/// The hours with this machine's offset of today.
fn quiet(hours: QuietHours) -> Option<Quiet> {
    let minute = |minutes: u16| Minute::new(minutes / 60, minutes % 60);
    let now = jiff::Timestamp::from_millisecond(utc_now().0).ok()?;
    let zone = jiff::tz::TimeZone::system();
    Some(Quiet {
        from: minute(hours.from)?,
        to: minute(hours.to)?,
        utc_offset: zone.to_offset(now).seconds(),
    })
}
