//! Which PC probe starts when. A set of wanted addresses goes in, one step at a time comes out.
//!
//! * *Limits*: so many probes at once, so many in one subnet (/24, /64), one at an address, a pause between two tries.
//! * *Fair*: subnets take turns; within one the address goes first that could have started first, so that one that is
//!   tried again stands behind those not yet tried. Forced ones go first, but every eighth start is a doubted one's.
//! * *Quiet hours* hold back doubted ones only.
//! * *Silent networks*: each subnet has a breaker (see `breaker`). While it is open one trial runs there at a time, with
//!   the doubted address that was seen last, for it answers most likely. Once it is sure, those who wait are handed out
//!   as [`Step::Silent`] instead of being tried, and rest like those that failed. So an open breaker never makes an
//!   address wait for ever: two trials at most, which is less than trying all would take. *Silent* says nothing about
//!   the host. Whoever ends sessions must not take it for *unreachable*: one switch that is down would end all of its
//!   sessions. They stay unconfirmed, come again after the pause, and end with their grace (rule 10).
//!   A forced address in such a network is tried at once if no other one is, else it is silent too.
//! * *Bounded*: [`Limits::capacity`] doubted ones wait and as many rest; who finds it full offers again later.
//!
//! Pure: time is handed in, never goes back, and nothing is sent here. Each operation is O(log n), amortised.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::breaker::worth;
use super::quiet::Quiet;
use super::subnet::{Network, Queue, network_of};
use crate::identity::address::canonical;
use crate::identity::time::UtcMillis;

/// Places for forced addresses, beside [`Limits::capacity`].
pub const FORCED_PLACES: usize = 1024;
/// Subnets that are remembered while nothing waits or runs there; the one left longest ago makes room.
const IDLE_NETWORKS: usize = 65_536;
/// How long they are remembered.
const FORGET: Duration = Duration::from_secs(900);
/// How long after its rest an address stands behind those not yet tried.
const REMEMBER: Duration = Duration::from_secs(60);
/// Longest rest after an answer: a view of the doubts from before it was applied must not bring it again.
const ANSWERED_REST: Duration = Duration::from_secs(30);
/// Forced starts after which a doubted one is due.
const FORCED_IN_A_ROW: u32 = 7;

/// How much may be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Probes at once; at least 1.
    pub parallel: usize,
    /// Probes at once in one subnet; at least 1.
    pub per_subnet: usize,
    /// The longest time a probe takes. It is not enforced here, only used to tell whether a breaker saves time.
    pub timeout: Duration,
    /// Pause between the end of a try that failed and the next one at that address.
    pub retry: Duration,
    /// Doubted addresses that may wait.
    pub capacity: usize,
    /// Daily hours in which only forced probes start.
    pub quiet: Option<Quiet>,
}

/// Why an address is to be probed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Somebody asked for it now.
    Forced,
    /// The logoff time of its session has passed.
    Doubted,
}

/// How a probe ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was told who is there.
    Answered,
    /// The host is there, and refused.
    Refused,
    /// No answer in time.
    Unreachable,
    /// Nothing was sent, for want of a name or a credential; says nothing about the network.
    NotProbed,
}

/// What is to be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Probe the address, then say [`Schedule::done`].
    Probe {
        /// Where.
        address: IpAddr,
        /// Why.
        why: Why,
    },
    /// The address is not tried, for its network does not answer. There is no `done` for it.
    Silent {
        /// Where.
        address: IpAddr,
        /// Why it was wanted.
        why: Why,
    },
}

/// There is no place; to be offered again later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// A network whose breaker is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SilentNetwork {
    /// Which.
    pub network: IpNet,
    /// Since when.
    pub since: UtcMillis,
    /// When the next trial is due.
    pub next_trial: UtcMillis,
    /// How many wait there.
    pub waiting: usize,
}

/// An address that waits, runs or rests.
#[derive(Clone, Copy, Debug)]
struct Entry {
    why: Why,
    stage: Stage,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    /// Stands in the queue of its network, by the time from which it could start.
    Waiting(UtcMillis),
    /// Waits for the end of its rest, then stands in the queue.
    Held(UtcMillis),
    /// Is being probed; whether as a trial of an open breaker.
    Running(bool),
    /// Is not wanted; until then it does not start. Remembered for [`REMEMBER`] longer.
    Resting(UtcMillis),
}

/// The wanted probes.
#[derive(Clone, Debug)]
pub struct Schedule {
    limits: Limits,
    entries: HashMap<IpAddr, Entry>,
    networks: BTreeMap<IpNet, Network>,
    /// Networks in which one may start, in turn; by [`Why`].
    ready: [BTreeSet<(u64, IpNet)>; 2],
    /// Networks in which some are given up; by [`Why`].
    silent: [BTreeSet<IpNet>; 2],
    /// Networks that wait for the time of a trial.
    trials: BTreeSet<(UtcMillis, IpNet)>,
    /// Networks in which nothing waits or runs, and until when they are remembered.
    idle: BTreeSet<(UtcMillis, IpNet)>,
    held: Queue,
    resting: Queue,
    /// All that stand in queues, for the age of the oldest.
    ages: Queue,
    /// How many wait or are held, by [`Why`].
    waiting: [usize; 2],
    running: usize,
    turn: u64,
    forced_in_a_row: u32,
    now: UtcMillis,
}

impl Schedule {
    /// Nothing is wanted yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits: at_least_one(limits),
            entries: HashMap::new(),
            networks: BTreeMap::new(),
            ready: Default::default(),
            silent: Default::default(),
            trials: BTreeSet::new(),
            idle: BTreeSet::new(),
            held: Queue::new(),
            resting: Queue::new(),
            ages: Queue::new(),
            waiting: [0; 2],
            running: 0,
            turn: 0,
            forced_in_a_row: 0,
            now: UtcMillis(i64::MIN),
        }
    }

    /// Takes other limits. What runs or waits beyond them goes on. O(networks).
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = at_least_one(limits);
        let networks: Vec<IpNet> = self.networks.keys().copied().collect();
        for network in networks {
            self.refresh(network);
        }
    }

    /// Wants an address probed; `since` is when its session came into doubt, or when it was asked for. What is wanted
    /// already stays once, what runs already is joined, what rests waits for its time unless it is forced.
    ///
    /// # Errors
    /// [`Full`] if there is no place for it; a doubted address that should have become forced then stays doubted.
    pub fn want(
        &mut self,
        address: IpAddr,
        since: UtcMillis,
        why: Why,
        now: UtcMillis,
    ) -> Result<(), Full> {
        self.pass(now);
        let (address, since) = (canonical(address), since.min(self.now));
        let before = self.entries.get(&address).copied();
        let not_before = match before.map(|entry| entry.stage) {
            Some(Stage::Running(_)) => return Ok(()),
            Some(Stage::Waiting(_) | Stage::Held(_))
                if why == Why::Doubted || before.is_some_and(|b| b.why == Why::Forced) =>
            {
                return Ok(());
            }
            Some(Stage::Resting(until)) if why == Why::Doubted => Some(until),
            Some(Stage::Waiting(_) | Stage::Held(_) | Stage::Resting(_)) | None => None,
        };
        let places = match why {
            Why::Forced => FORCED_PLACES,
            Why::Doubted => self.limits.capacity,
        };
        if self.waiting[why as usize] >= places {
            return Err(Full);
        }
        self.take_out(address);
        match not_before {
            Some(until) if until > self.now => self.hold(address, why, until),
            Some(until) => self.enqueue(address, why, since.max(until)),
            None => self.enqueue(address, why, since),
        }
        Ok(())
    }

    /// The address is no longer wanted. One that runs goes on, and is said to be done as ever.
    pub fn forget(&mut self, address: IpAddr) {
        let address = canonical(address);
        match self.entries.get(&address).map(|entry| entry.stage) {
            Some(Stage::Waiting(_)) => {
                self.take_out(address);
                self.refresh(network_of(address));
            }
            Some(Stage::Held(until)) => {
                self.take_out(address);
                self.rest(address, until);
            }
            Some(Stage::Running(_) | Stage::Resting(_)) | None => {}
        }
    }

    /// What is to be done now; to be called until there is nothing.
    pub fn next(&mut self, now: UtcMillis) -> Option<Step> {
        self.pass(now);
        let quiet = self.limits.quiet.is_some_and(|q| q.holds(self.now));
        let silent = |why: Why| self.silent[why as usize].first().map(|n| (*n, why));
        let given_up = silent(Why::Forced)
            .or_else(|| silent(Why::Doubted).filter(|_| !quiet))
            .and_then(|(network, why)| self.give_up(network, why));
        if given_up.is_some() {
            return given_up;
        }
        if self.running >= self.limits.parallel {
            return None;
        }
        let doubted = !quiet && !self.ready[Why::Doubted as usize].is_empty();
        let forced = !self.ready[Why::Forced as usize].is_empty();
        if forced && !(doubted && self.forced_in_a_row >= FORCED_IN_A_ROW) {
            self.forced_in_a_row = self.forced_in_a_row.saturating_add(1);
            return self.start(Why::Forced);
        }
        self.forced_in_a_row = 0;
        doubted.then(|| self.start(Why::Doubted))?
    }

    /// A probe ended. One that does not run is passed over.
    pub fn done(&mut self, address: IpAddr, outcome: Outcome, now: UtcMillis) {
        self.pass(now);
        let address = canonical(address);
        let Some(Stage::Running(trial)) = self.entries.get(&address).map(|entry| entry.stage)
        else {
            return;
        };
        self.running -= 1;
        let network = network_of(address);
        let many = worth(self.limits.per_subnet, self.limits.timeout);
        if let Some(state) = self.networks.get_mut(&network) {
            state.running -= 1;
            let pays = state.waiting() > many;
            match outcome {
                Outcome::Answered | Outcome::Refused => state.breaker.heard(self.now),
                Outcome::Unreachable => state.breaker.unheard(trial, pays, self.now),
                Outcome::NotProbed => {}
            }
        }
        self.refresh(network);
        let rest = match outcome {
            Outcome::Answered => self.limits.retry.min(ANSWERED_REST),
            Outcome::Refused | Outcome::Unreachable | Outcome::NotProbed => self.limits.retry,
        };
        self.entries.remove(&address);
        self.rest(address, self.now.after(rest));
    }

    /// When there may be something to do without anything else happening; not after `now` means at once.
    #[must_use]
    pub fn poll_timeout(&self, now: UtcMillis) -> Option<UtcMillis> {
        let now = now.max(self.now);
        let room = self.running < self.limits.parallel;
        let at_once = |why: Why| {
            let place = why as usize;
            !self.silent[place].is_empty() || (room && !self.ready[place].is_empty())
        };
        if at_once(Why::Forced) {
            return Some(now);
        }
        let first = |queue: &Queue| queue.first().map(|(at, _)| *at);
        let trial = self.trials.first().map(|(at, _)| *at);
        let doubted = at_once(Why::Doubted).then_some(now);
        let soonest = [doubted, first(&self.held), trial].into_iter().flatten();
        // All of these are doubted ones.
        let quiet = self.limits.quiet.and_then(|q| q.ends(now));
        soonest.min().map(|at| quiet.map_or(at, |end| at.max(end)))
    }

    /// How many wait, those that must rest first among them.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.iter().sum()
    }

    /// How many run.
    #[must_use]
    pub fn running(&self) -> usize {
        self.running
    }

    /// Places for doubted addresses.
    #[must_use]
    pub fn free(&self) -> usize {
        let waiting = self.waiting[Why::Doubted as usize];
        self.limits.capacity.saturating_sub(waiting)
    }

    /// How long the one that could have started first has waited: since it came into doubt, or since its rest ended.
    #[must_use]
    pub fn oldest_waiting(&self, now: UtcMillis) -> Option<Duration> {
        let (since, _) = self.ages.first()?;
        Some(now.max(self.now).since(*since))
    }

    /// The networks whose breaker is open, for status. O(networks).
    #[must_use]
    pub fn silent_networks(&self) -> Vec<SilentNetwork> {
        let silent = |(network, state): (&IpNet, &Network)| {
            let (since, next_trial) = state.breaker.opened()?;
            Some(SilentNetwork {
                network: *network,
                since,
                next_trial,
                waiting: state.waiting(),
            })
        };
        self.networks.iter().filter_map(silent).collect()
    }

    /// Lets time pass: what was to happen by now happens.
    fn pass(&mut self, now: UtcMillis) {
        self.now = self.now.max(now);
        while let Some((at, address)) = first_due(&self.held, self.now) {
            if let Some(entry) = self.take_out(address) {
                self.enqueue(address, entry.why, at);
            }
        }
        while let Some((_, address)) = first_due(&self.resting, self.now.before(REMEMBER)) {
            self.take_out(address);
        }
        while let Some((_, network)) = first_due(&self.trials, self.now) {
            self.refresh(network);
        }
        while let Some((at, network)) = first_due(&self.idle, self.now) {
            self.idle.remove(&(at, network));
            self.networks.remove(&network);
        }
    }

    /// Starts the next one that is wanted for this reason, if there is one.
    fn start(&mut self, why: Why) -> Option<Step> {
        let (_, network) = *self.ready[why as usize].first()?;
        let state = self.networks.get_mut(&network)?;
        let trial = state.breaker.is_open();
        let queue = &state.queues[why as usize];
        let (_, address) = match why {
            Why::Doubted if trial => *queue.last()?,
            Why::Doubted | Why::Forced => *queue.first()?,
        };
        self.take_out(address);
        let stage = Stage::Running(trial);
        self.entries.insert(address, Entry { why, stage });
        self.running += 1;
        if let Some(state) = self.networks.get_mut(&network) {
            state.running += 1;
            // To the end of the line.
            if let Some(turn) = state.turns[why as usize].take() {
                self.ready[why as usize].remove(&(turn, network));
            }
        }
        self.refresh(network);
        Some(Step::Probe { address, why })
    }

    fn give_up(&mut self, network: IpNet, why: Why) -> Option<Step> {
        let (_, address) = *self.networks.get(&network)?.queues[why as usize].first()?;
        self.take_out(address);
        self.rest(address, self.now.after(self.limits.retry));
        self.refresh(network);
        Some(Step::Silent { address, why })
    }

    fn enqueue(&mut self, address: IpAddr, why: Why, since: UtcMillis) {
        let stage = Stage::Waiting(since);
        self.entries.insert(address, Entry { why, stage });
        self.waiting[why as usize] += 1;
        self.ages.insert((since, address));
        let network = network_of(address);
        let state = self.networks.entry(network).or_default();
        state.queues[why as usize].insert((since, address));
        self.refresh(network);
    }

    fn hold(&mut self, address: IpAddr, why: Why, until: UtcMillis) {
        let stage = Stage::Held(until);
        self.entries.insert(address, Entry { why, stage });
        self.waiting[why as usize] += 1;
        self.held.insert((until, address));
    }

    /// Keeps in mind that an address must not start before.
    fn rest(&mut self, address: IpAddr, until: UtcMillis) {
        if self.resting.len() >= self.limits.capacity.max(1)
            && let Some((_, first)) = self.resting.first().copied()
        {
            self.take_out(first);
        }
        let stage = Stage::Resting(until);
        let why = Why::Doubted;
        self.entries.insert(address, Entry { why, stage });
        self.resting.insert((until, address));
    }

    /// Removes an address that does not run from wherever it stands. Its network is to be refreshed, unless the
    /// address goes back to its queue.
    fn take_out(&mut self, address: IpAddr) -> Option<Entry> {
        let entry = self.entries.remove(&address)?;
        match entry.stage {
            Stage::Waiting(since) => {
                self.waiting[entry.why as usize] -= 1;
                self.ages.remove(&(since, address));
                if let Some(state) = self.networks.get_mut(&network_of(address)) {
                    state.queues[entry.why as usize].remove(&(since, address));
                }
            }
            Stage::Held(until) => {
                self.waiting[entry.why as usize] -= 1;
                self.held.remove(&(until, address));
            }
            Stage::Resting(until) => {
                self.resting.remove(&(until, address));
            }
            Stage::Running(_) => {}
        }
        Some(entry)
    }

    /// Puts a network where it belongs after something changed in it.
    fn refresh(&mut self, network: IpNet) {
        let now = self.now;
        let Some(state) = self.networks.get_mut(&network) else {
            return;
        };
        for why in [Why::Forced, Why::Doubted] {
            let place = why as usize;
            match state.turns[place] {
                None if state.is_ready(why, self.limits.per_subnet, now) => {
                    self.turn += 1;
                    state.turns[place] = Some(self.turn);
                    self.ready[place].insert((self.turn, network));
                }
                Some(turn) if !state.is_ready(why, self.limits.per_subnet, now) => {
                    state.turns[place] = None;
                    self.ready[place].remove(&(turn, network));
                }
                Some(_) | None => {}
            }
            if state.gives_up(why, now) {
                self.silent[place].insert(network);
            } else {
                self.silent[place].remove(&network);
            }
        }
        let waits = !state.queues[Why::Doubted as usize].is_empty();
        let trial = state.breaker.opened().map(|(_, next_trial)| next_trial);
        let trial = trial.filter(|at| waits && *at > now);
        move_to(&mut self.trials, network, &mut state.trial, trial);
        let still = state.waiting() == 0 && state.running == 0;
        // Looking at it again does not make it busy.
        let idle = still.then(|| state.idle.unwrap_or(now.after(FORGET)));
        move_to(&mut self.idle, network, &mut state.idle, idle);
        if still && state.breaker.is_blank(now) {
            self.drop_idle(network);
        } else if self.idle.len() > IDLE_NETWORKS
            && let Some((_, oldest)) = self.idle.first().copied()
        {
            self.drop_idle(oldest);
        }
    }

    fn drop_idle(&mut self, network: IpNet) {
        if let Some(at) = self.networks.remove(&network).and_then(|state| state.idle) {
            self.idle.remove(&(at, network));
        }
    }
}

fn at_least_one(limits: Limits) -> Limits {
    Limits {
        parallel: limits.parallel.max(1),
        per_subnet: limits.per_subnet.max(1),
        ..limits
    }
}

fn first_due<T: Copy + Ord>(
    set: &BTreeSet<(UtcMillis, T)>,
    now: UtcMillis,
) -> Option<(UtcMillis, T)> {
    set.first().copied().filter(|(at, _)| *at <= now)
}

/// Moves a network within a set to another time, or out of it.
fn move_to(
    set: &mut BTreeSet<(UtcMillis, IpNet)>,
    network: IpNet,
    at: &mut Option<UtcMillis>,
    to: Option<UtcMillis>,
) {
    if *at == to {
        return;
    }
    if let Some(before) = at.take() {
        set.remove(&(before, network));
    }
    if let Some(after) = to {
        set.insert((after, network));
    }
    *at = to;
}

#[cfg(test)]
mod tests {
    use super::super::quiet::Minute;
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    const NOW: UtcMillis = UtcMillis(1_770_000_000_000);
    const TIMEOUT: Duration = Duration::from_secs(10);
    const ANSWER: Duration = Duration::from_millis(50);

    fn limits() -> Limits {
        Limits {
            parallel: 256,
            per_subnet: 8,
            timeout: TIMEOUT,
            retry: Duration::from_secs(120),
            capacity: 100_000,
            quiet: None,
        }
    }

    fn after(seconds: u64) -> UtcMillis {
        NOW.after(Duration::from_secs(seconds))
    }

    fn v4(subnet: u32, host: u32) -> IpAddr {
        IpAddr::from((0x0a00_0000 + subnet * 256 + host).to_be_bytes())
    }

    fn v6(subnet: u32, host: u32) -> IpAddr {
        let prefix = 0x2001_0db8_u128 << 96;
        IpAddr::from((prefix + (u128::from(subnet) << 64) + u128::from(host)).to_be_bytes())
    }

    fn probe(address: IpAddr, why: Why) -> Option<Step> {
        Some(Step::Probe { address, why })
    }

    fn doubt(schedule: &mut Schedule, address: IpAddr, now: UtcMillis) {
        assert_eq!(schedule.want(address, now, Why::Doubted, now), Ok(()));
    }

    fn force(schedule: &mut Schedule, address: IpAddr, now: UtcMillis) {
        assert_eq!(schedule.want(address, now, Why::Forced, now), Ok(()));
    }

    /// Whatever happened, the sets agree with each other and with the limits.
    fn check(schedule: &Schedule) {
        let limits = &schedule.limits;
        let queued: usize = schedule.networks.values().map(Network::waiting).sum();
        let running: usize = schedule.networks.values().map(|n| n.running).sum();
        assert_eq!(schedule.ages.len(), queued);
        assert_eq!(schedule.waiting(), queued + schedule.held.len());
        assert_eq!(schedule.running, running);
        assert!(running <= limits.parallel);
        assert!(schedule.waiting[Why::Forced as usize] <= FORCED_PLACES);
        assert!(schedule.waiting[Why::Doubted as usize] <= limits.capacity);
        assert!(schedule.resting.len() <= limits.capacity.max(1));
        assert_eq!(
            schedule.entries.len(),
            schedule.waiting() + running + schedule.resting.len()
        );
        for (network, state) in &schedule.networks {
            assert!(state.running <= limits.per_subnet);
            for why in [Why::Forced, Why::Doubted] {
                let place = why as usize;
                let turn = state.turns[place];
                assert_eq!(
                    turn.is_some(),
                    state.is_ready(why, limits.per_subnet, schedule.now)
                );
                assert!(turn.is_none_or(|t| schedule.ready[place].contains(&(t, *network))));
                for (_, address) in &state.queues[place] {
                    assert_eq!(network_of(*address), *network);
                }
            }
            let still = state.running == 0 && state.waiting() == 0;
            assert_eq!(state.idle.is_some(), still);
            let trial = state.trial.map(|at| (at, *network));
            assert!(trial.is_none_or(|trial| schedule.trials.contains(&trial)));
        }
        let turns = |why: usize| {
            schedule
                .networks
                .values()
                .filter(move |n| n.turns[why].is_some())
        };
        assert_eq!(schedule.ready[0].len(), turns(0).count());
        assert_eq!(schedule.ready[1].len(), turns(1).count());
        let idle = schedule.networks.values().filter(|n| n.idle.is_some());
        assert_eq!(schedule.idle.len(), idle.count());
    }

    /// A world of hosts that answer and black holes, in virtual time.
    struct World {
        schedule: Schedule,
        dark: HashSet<IpAddr>,
        now: UtcMillis,
        flights: BTreeSet<(UtcMillis, IpAddr)>,
        answered: Vec<IpAddr>,
        unreachable: Vec<IpAddr>,
        silent: Vec<IpAddr>,
        most_running: usize,
    }

    impl World {
        fn new(limits: Limits, hosts: &[IpAddr], dark: HashSet<IpAddr>) -> Self {
            let mut schedule = Schedule::new(limits);
            for address in hosts {
                doubt(&mut schedule, *address, NOW);
            }
            Self {
                schedule,
                dark,
                now: NOW,
                flights: BTreeSet::new(),
                answered: Vec::new(),
                unreachable: Vec::new(),
                silent: Vec::new(),
                most_running: 0,
            }
        }

        fn start(&mut self) {
            while let Some(step) = self.schedule.next(self.now) {
                match step {
                    Step::Silent { address, .. } => self.silent.push(address),
                    Step::Probe { address, .. } => {
                        let takes = if self.dark.contains(&address) {
                            TIMEOUT
                        } else {
                            ANSWER
                        };
                        assert!(self.flights.iter().all(|(_, other)| *other != address));
                        self.flights.insert((self.now.after(takes), address));
                    }
                }
            }
            self.most_running = self.most_running.max(self.flights.len());
            assert_eq!(self.schedule.running(), self.flights.len());
            check(&self.schedule);
        }

        /// Goes on until nothing waits or flies, and tells how long that took.
        fn run(&mut self) -> Duration {
            self.start();
            while self.schedule.waiting() + self.flights.len() > 0 {
                let flight = self.flights.first().map(|(at, _)| *at);
                let timer = self.schedule.poll_timeout(self.now);
                let next = flight.into_iter().chain(timer).min();
                let next = next.expect("who waits is waited for");
                assert!(next > self.now, "no spinning");
                self.now = next;
                while let Some((at, address)) = self.flights.first().copied()
                    && at <= self.now
                {
                    self.flights.remove(&(at, address));
                    let outcome = if self.dark.contains(&address) {
                        self.unreachable.push(address);
                        Outcome::Unreachable
                    } else {
                        self.answered.push(address);
                        Outcome::Answered
                    };
                    self.schedule.done(address, outcome, self.now);
                }
                self.start();
            }
            self.now.since(NOW)
        }

        /// Runs and checks that each of the addresses came to one end, within the bound.
        fn finishes(mut self, hosts: usize, subnets_with_dark: usize) -> Self {
            let took = self.run();
            let all = self
                .answered
                .iter()
                .chain(&self.unreachable)
                .chain(&self.silent);
            let distinct: HashSet<&IpAddr> = all.collect();
            let ends = self.answered.len() + self.unreachable.len() + self.silent.len();
            assert_eq!((distinct.len(), ends), (hosts, hosts));
            let limits = &self.schedule.limits;
            let wide = limits.parallel.min(limits.per_subnet * subnets_with_dark);
            let rounds = u32::try_from(self.dark.len().div_ceil(wide)).unwrap();
            let bound = TIMEOUT * rounds * 6 / 5;
            assert!(took <= bound, "{took:?} is over {bound:?}");
            assert!(self.most_running <= limits.parallel);
            self
        }
    }

    /// `hosts` spread over `subnets`, in an order that depends on `salt`; every `nth` is dark.
    fn spread(
        hosts: u32,
        subnets: u32,
        nth: u32,
        salt: u32,
        make: fn(u32, u32) -> IpAddr,
    ) -> (Vec<IpAddr>, HashSet<IpAddr>) {
        let mut numbers: Vec<u32> = (0..hosts).collect();
        numbers.sort_by_key(|n| (n ^ salt).wrapping_mul(2_654_435_769));
        let address = |n: &u32| make(n % subnets, n / subnets + 1);
        let dark = numbers
            .iter()
            .filter(|n| (*n / subnets).is_multiple_of(nth));
        (
            numbers.iter().map(address).collect(),
            dark.map(address).collect(),
        )
    }

    #[test]
    fn a_thousand_with_200_black_holes_in_4_subnets_finish_in_7_timeouts() {
        for make in [v4, v6] {
            let (hosts, dark) = spread(1000, 4, 5, 0, make);
            assert_eq!(dark.len(), 200);
            let world = World::new(limits(), &hosts, dark).finishes(1000, 4);
            assert_eq!(world.answered.len(), 800);
        }
    }

    #[test]
    fn black_holes_of_one_subnet_do_not_hold_up_the_others() {
        // 200 dark among 50 that answer, in one of four subnets.
        let (hosts, _) = spread(1000, 4, 5, 7, v4);
        let first = |address: &&IpAddr| network_of(**address) == network_of(v4(0, 1));
        let dark: HashSet<IpAddr> = hosts
            .iter()
            .filter(first)
            .take(250)
            .skip(50)
            .copied()
            .collect();
        let mut world = World::new(limits(), &hosts, dark.clone());
        world.start();
        let mut others = 0;
        while world.now < after(6) {
            let (at, _) = *world.flights.first().unwrap();
            world.now = at;
            let (_, address) = world.flights.pop_first().unwrap();
            world.schedule.done(address, Outcome::Answered, at);
            others += u32::from(network_of(address) != network_of(v4(0, 1)));
            if others == 750 {
                break;
            }
            world.start();
        }
        assert_eq!(others, 750, "the three others are done in seconds");
        World::new(limits(), &hosts, dark).finishes(1000, 1);
    }

    #[test]
    fn who_answers_behind_200_black_holes_of_his_subnet_is_probed_all_the_same() {
        let hosts: Vec<IpAddr> = (1..=250).map(|host| v4(0, host)).collect();
        let dark = hosts.iter().copied().take(200).collect();
        let world = World::new(limits(), &hosts, dark).finishes(250, 1);
        assert_eq!((world.answered.len(), world.silent.len()), (50, 0));
    }

    #[test]
    fn a_dark_subnet_is_told_silent_within_two_trials_and_the_rest_is_probed() {
        for make in [v4, v6] {
            let mut hosts: Vec<IpAddr> = (1..=200).map(|host| make(0, host)).collect();
            let dark: HashSet<IpAddr> = hosts.iter().copied().collect();
            hosts.extend((0..800).map(|n| make(1 + n % 4, 1 + n / 4)));
            let world = World::new(limits(), &hosts, dark).finishes(1000, 1);
            assert_eq!(world.answered.len(), 800);
            // 16, those that ran when the 16th failed, and two trials.
            assert!(world.unreachable.len() <= 25, "{}", world.unreachable.len());
            assert_eq!(world.unreachable.len() + world.silent.len(), 200);
            assert!(world.now.since(NOW) <= TIMEOUT * 4 + Duration::from_secs(31));
        }
    }

    #[test]
    fn a_trial_asks_who_was_seen_last_and_an_answer_closes_the_breaker() {
        let mut schedule = Schedule::new(limits());
        for host in 1..=100 {
            doubt(&mut schedule, v4(0, host), after(u64::from(host)));
        }
        let mut now = after(200);
        for round in 0..2 {
            for host in 1..=8 {
                let next = probe(v4(0, round * 8 + host), Why::Doubted);
                assert_eq!(schedule.next(now), next);
            }
            assert_eq!(schedule.next(now), None);
            now = now.after(TIMEOUT);
            for host in 1..=8 {
                schedule.done(v4(0, round * 8 + host), Outcome::Unreachable, now);
            }
        }
        assert_eq!(schedule.silent_networks().len(), 1);
        assert_eq!(schedule.next(now), probe(v4(0, 100), Why::Doubted));
        assert_eq!(schedule.next(now), None, "one at a time");
        force(&mut schedule, v4(0, 50), now);
        assert_eq!(schedule.next(now), None, "forced ones wait for it too");
        now = now.after(TIMEOUT);
        schedule.done(v4(0, 100), Outcome::Unreachable, now);
        assert_eq!(schedule.next(now), probe(v4(0, 50), Why::Forced));
        schedule.done(v4(0, 50), Outcome::Refused, now);
        assert!(schedule.silent_networks().is_empty());
        let started = std::iter::from_fn(|| schedule.next(now)).count();
        assert_eq!(started, 8);
        check(&schedule);
    }

    #[test]
    fn in_a_silent_network_one_forced_address_is_tried_and_the_others_are_told() {
        let hosts: Vec<IpAddr> = (1..=100).map(|host| v4(0, host)).collect();
        let mut world = World::new(limits(), &hosts, hosts.iter().copied().collect());
        world.run();
        assert!(!world.silent.is_empty());
        let (schedule, now) = (&mut world.schedule, world.now);
        for host in 101..=103 {
            force(schedule, v4(0, host), now);
        }
        assert_eq!(schedule.next(now), probe(v4(0, 101), Why::Forced));
        for host in 102..=103 {
            let (address, why) = (v4(0, host), Why::Forced);
            assert_eq!(schedule.next(now), Some(Step::Silent { address, why }));
        }
        assert_eq!(schedule.next(now), None);
        check(schedule);
    }

    #[test]
    fn one_probe_at_an_address_and_a_pause_after_a_failure() {
        let mut schedule = Schedule::new(limits());
        let mapped: IpAddr = "::ffff:10.0.0.1".parse().unwrap();
        doubt(&mut schedule, mapped, NOW);
        doubt(&mut schedule, v4(0, 1), NOW);
        assert_eq!(schedule.waiting(), 1);
        assert_eq!(schedule.next(NOW), probe(v4(0, 1), Why::Doubted));
        force(&mut schedule, v4(0, 1), NOW);
        assert_eq!(
            (schedule.next(NOW), schedule.waiting()),
            (None, 0),
            "joined"
        );
        schedule.done(v4(0, 1), Outcome::Unreachable, after(10));
        schedule.done(v4(0, 1), Outcome::Unreachable, after(10));
        assert_eq!(schedule.running(), 0);
        doubt(&mut schedule, v4(0, 1), after(11));
        assert_eq!((schedule.next(after(129)), schedule.waiting()), (None, 1));
        assert_eq!(schedule.oldest_waiting(after(129)), None, "it rests");
        assert_eq!(schedule.poll_timeout(after(129)), Some(after(130)));
        // To forget a doubt does not shorten the pause.
        schedule.forget(v4(0, 1));
        assert_eq!(schedule.poll_timeout(after(129)), None);
        doubt(&mut schedule, v4(0, 1), after(129));
        assert_eq!(schedule.next(after(129)), None);
        assert_eq!(schedule.next(after(130)), probe(v4(0, 1), Why::Doubted));
        schedule.done(v4(0, 1), Outcome::Refused, after(131));
        force(&mut schedule, v4(0, 1), after(132));
        assert_eq!(
            schedule.next(after(132)),
            probe(v4(0, 1), Why::Forced),
            "forced"
        );
        check(&schedule);
    }

    #[test]
    fn a_clock_that_steps_back_holds() {
        let mut schedule = Schedule::new(limits());
        doubt(&mut schedule, v4(0, 1), NOW);
        assert!(schedule.next(after(100)).is_some());
        schedule.done(v4(0, 1), Outcome::Unreachable, NOW);
        doubt(&mut schedule, v4(0, 1), NOW);
        assert_eq!(schedule.poll_timeout(NOW), Some(after(220)));
        assert_eq!(schedule.next(after(219)), None);
        assert!(schedule.next(after(220)).is_some());
    }

    #[test]
    fn who_is_tried_again_stands_behind_those_not_yet_tried() {
        let one = Limits {
            per_subnet: 1,
            ..limits()
        };
        let mut schedule = Schedule::new(one);
        doubt(&mut schedule, v4(0, 1), NOW);
        assert!(schedule.next(NOW).is_some());
        schedule.done(v4(0, 1), Outcome::Unreachable, NOW);
        let now = after(125);
        // In doubt for longer than the other one, and offered first.
        assert_eq!(schedule.want(v4(0, 1), NOW, Why::Doubted, now), Ok(()));
        assert_eq!(
            schedule.want(v4(0, 2), after(60), Why::Doubted, now),
            Ok(())
        );
        assert_eq!(schedule.oldest_waiting(now), Some(Duration::from_secs(65)));
        assert_eq!(schedule.next(now), probe(v4(0, 2), Why::Doubted));
    }

    #[test]
    fn subnets_take_turns_and_forced_ones_go_first_but_not_for_ever() {
        let mut schedule = Schedule::new(Limits {
            parallel: 1,
            ..limits()
        });
        for host in 1..=50 {
            doubt(&mut schedule, v4(0, host), NOW);
        }
        for subnet in 1..=3 {
            doubt(&mut schedule, v4(subnet, 1), after(5));
        }
        let run = |schedule: &mut Schedule| {
            let Some(Step::Probe { address, .. }) = schedule.next(after(6)) else {
                panic!("one starts");
            };
            schedule.done(address, Outcome::Answered, after(6));
            address
        };
        let first: Vec<IpAddr> = (0..5).map(|_| run(&mut schedule)).collect();
        assert_eq!(first, [v4(0, 1), v4(1, 1), v4(2, 1), v4(3, 1), v4(0, 2)]);
        for host in 1..=100 {
            force(&mut schedule, v4(9, host), after(6));
        }
        let doubted = (0..80).filter(|_| network_of(run(&mut schedule)) == network_of(v4(0, 1)));
        assert_eq!(doubted.count(), 10);
    }

    #[test]
    fn quiet_hours_hold_back_doubted_ones_only() {
        // NOW is 02:40 UTC.
        let hour = |hour| Minute::new(hour, 0).unwrap();
        let quiet = Quiet {
            from: hour(1),
            to: hour(6),
            utc_offset: 0,
        };
        let quiet_limits = Limits {
            quiet: Some(quiet),
            ..limits()
        };
        let mut schedule = Schedule::new(quiet_limits);
        doubt(&mut schedule, v4(0, 1), NOW);
        assert_eq!(schedule.next(NOW), None);
        let end = quiet.ends(NOW).unwrap();
        assert_eq!(schedule.poll_timeout(NOW), Some(end));
        force(&mut schedule, v4(0, 2), NOW);
        assert_eq!(schedule.poll_timeout(NOW), Some(NOW));
        assert_eq!(schedule.next(NOW), probe(v4(0, 2), Why::Forced));
        assert_eq!(schedule.next(NOW), None);
        assert_eq!(schedule.next(end), probe(v4(0, 1), Why::Doubted));
        doubt(&mut schedule, v4(0, 3), NOW);
        schedule.set_limits(limits());
        assert_eq!(schedule.next(NOW), probe(v4(0, 3), Why::Doubted));
    }

    #[test]
    fn who_finds_it_full_offers_again_and_forced_ones_have_places_of_their_own() {
        let mut schedule = Schedule::new(Limits {
            parallel: 1,
            capacity: 10,
            ..limits()
        });
        for host in 0..10 {
            doubt(&mut schedule, v4(0, host), NOW);
        }
        assert_eq!(schedule.free(), 0);
        let full = schedule.want(v4(0, 10), NOW, Why::Doubted, NOW);
        assert_eq!(full, Err(Full));
        for number in 0..1024 {
            force(&mut schedule, v4(1 + number / 256, number % 256), NOW);
        }
        let full = schedule.want(v4(0, 3), NOW, Why::Forced, NOW);
        assert_eq!(full, Err(Full));
        assert_eq!(schedule.waiting(), 1034);
        assert!(schedule.next(NOW).is_some());
        force(&mut schedule, v4(0, 3), NOW);
        assert_eq!(schedule.free(), 1, "it is no longer one of the doubted");
        check(&schedule);
    }

    #[test]
    fn memory_is_flat_over_a_million_wants() {
        let small = Limits {
            capacity: 1000,
            ..limits()
        };
        let mut schedule = Schedule::new(small);
        let (mut now, mut most_idle) = (NOW, 0);
        for number in 0..1_000_000_u32 {
            now = now.after(Duration::from_millis(1));
            let address = if number % 2 == 0 {
                v4(number / 3, number % 256)
            } else {
                v6(number, number)
            };
            let why = if number % 7 == 0 {
                Why::Forced
            } else {
                Why::Doubted
            };
            // Full or not, both are in order.
            let _full = schedule.want(address, now, why, now);
            if number % 5 == 0 {
                schedule.forget(address);
            }
            if number % 6 == 0
                && let Some(Step::Probe { address, .. }) = schedule.next(now)
            {
                let outcome = match number % 4 {
                    0 => Outcome::Answered,
                    _ => Outcome::Unreachable,
                };
                schedule.done(address, outcome, now);
            }
            most_idle = most_idle.max(schedule.idle.len());
            assert!(schedule.entries.len() <= 2000 + FORCED_PLACES);
        }
        assert_eq!(most_idle, IDLE_NETWORKS, "as many as may be, and no more");
        assert!(schedule.networks.len() <= 1000 + FORCED_PLACES + IDLE_NETWORKS);
        check(&schedule);
        // What nobody wants is forgotten.
        while let Some(Step::Probe { address, .. }) = schedule.next(now) {
            schedule.done(address, Outcome::Answered, now);
        }
        assert_eq!(schedule.next(now.after(Duration::from_secs(1000))), None);
        let sizes = [
            schedule.entries.len(),
            schedule.networks.len(),
            schedule.idle.len(),
            schedule.trials.len(),
        ];
        assert_eq!(sizes, [0; 4]);
    }

    #[derive(Clone, Debug)]
    enum Move {
        Want(u8, u8, bool),
        Forget(u8, u8),
        Next,
        Done(u8, u8),
        Pass(u32),
        Retune(u8, u8),
    }

    fn moves() -> impl Strategy<Value = Move> {
        let one = (0_u8..4, 0_u8..60);
        prop_oneof![
            6 => (one.clone(), prop::bool::weighted(0.2)).prop_map(|((s, h), f)| Move::Want(s, h, f)),
            1 => one.prop_map(|(s, h)| Move::Forget(s, h)),
            5 => Just(Move::Next),
            5 => (any::<u8>(), 0_u8..8).prop_map(|(which, how)| Move::Done(which, how)),
            2 => (0_u32..60_000).prop_map(Move::Pass),
            1 => (1_u8..12, 1_u8..6).prop_map(|(p, s)| Move::Retune(p, s)),
        ]
    }

    /// Limits under which breakers open soon, so that moves find them open.
    fn tight(parallel: usize, per_subnet: usize) -> Limits {
        Limits {
            parallel,
            per_subnet,
            timeout: Duration::from_secs(60),
            retry: Duration::from_secs(40),
            capacity: 150,
            quiet: None,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        #[test]
        fn any_order_of_moves_keeps_the_limits_and_strands_nobody(
            moves in prop::collection::vec(moves(), 1..600),
        ) {
            let mut schedule = Schedule::new(tight(8, 3));
            let (mut now, mut flying) = (NOW, Vec::<IpAddr>::new());
            for next in moves {
                match next {
                    Move::Want(subnet, host, forced) => {
                        let why = if forced { Why::Forced } else { Why::Doubted };
                        let address = v4(u32::from(subnet), u32::from(host));
                        let since = now.before(Duration::from_secs(u64::from(host)));
                        let _full = schedule.want(address, since, why, now);
                    }
                    Move::Forget(subnet, host) => schedule.forget(v4(u32::from(subnet), u32::from(host))),
                    Move::Next => match schedule.next(now) {
                        Some(Step::Probe { address, .. }) => {
                            prop_assert!(!flying.contains(&address));
                            flying.push(address);
                            let network = network_of(address);
                            let there = flying.iter().filter(|a| network_of(**a) == network).count();
                            prop_assert!(there <= schedule.limits.per_subnet);
                            prop_assert!(flying.len() <= schedule.limits.parallel);
                        }
                        Some(Step::Silent { address, .. }) => prop_assert!(!flying.contains(&address)),
                        None => {
                            let due = schedule.poll_timeout(now);
                            prop_assert!(due.is_none_or(|at| at > now));
                            // Nothing happens before it says so.
                            let early = due.map_or(now.after(Duration::from_secs(3600)), |at| UtcMillis(at.0 - 1));
                            prop_assert_eq!(schedule.clone().next(early), None);
                        }
                    },
                    Move::Done(which, how) if !flying.is_empty() => {
                        let address = flying.swap_remove(usize::from(which) % flying.len());
                        let outcome = match how {
                            0 => Outcome::Answered,
                            1 => Outcome::NotProbed,
                            _ => Outcome::Unreachable,
                        };
                        schedule.done(address, outcome, now);
                    }
                    Move::Done(..) => {}
                    Move::Pass(millis) => now = now.after(Duration::from_millis(u64::from(millis))),
                    // Limits only grow here: what runs over a smaller one is allowed, and not what is checked.
                    Move::Retune(parallel, per_subnet) => {
                        let (parallel, per_subnet) = (usize::from(parallel) + 8, usize::from(per_subnet) + 3);
                        if parallel >= schedule.limits.parallel && per_subnet >= schedule.limits.per_subnet {
                            schedule.set_limits(tight(parallel, per_subnet));
                        }
                    }
                }
                if !matches!(next, Move::Pass(_)) {
                    schedule.pass(now);
                    check(&schedule);
                }
            }
            // Left alone with a dark world, everybody comes to an end.
            let mut rounds = 0;
            while schedule.waiting() + flying.len() > 0 {
                rounds += 1;
                prop_assert!(rounds < 1000, "{} wait", schedule.waiting());
                now = now.after(Duration::from_secs(60));
                for address in flying.drain(..) {
                    schedule.done(address, Outcome::Unreachable, now);
                }
                while let Some(step) = schedule.next(now) {
                    if let Step::Probe { address, .. } = step {
                        flying.push(address);
                    }
                }
            }
        }

        #[test]
        fn the_bound_holds_wherever_the_black_holes_are(
            salt: u32, subnets in 4_u32..40, nth in 2_u32..8, parallel in 16_usize..300, six: bool,
        ) {
            let make = if six { v6 } else { v4 };
            let (hosts, dark) = spread(1000, subnets, nth, salt, make);
            let answering = hosts.len() - dark.len();
            let world = World::new(Limits { parallel, ..limits() }, &hosts, dark).finishes(1000, subnets as usize);
            prop_assert_eq!(world.answered.len(), answering, "a mixed subnet is never silent");
        }
    }
}
