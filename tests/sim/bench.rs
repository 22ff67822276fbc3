//! Runs steps against the core and the naive reference side by side, and holds the invariants after each.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};

use jims::identity::core::LogOffTarget;
use jims::identity::outcome::Outcome;
use jims::identity::probe::ProbeTicket;
use jims::identity::state::State;
use jims::identity::view::{Epoch, Seq};
use jims::identity::{Batch, Core};

use crate::compare;
use crate::convert;
use crate::copies::Copies;
use crate::follower::Follower;
use crate::kept::Kept;
use crate::random::Dice;
use crate::reference::Reference;
use crate::step::{Action, At, SECOND, Said, Step, Whom};

/// As often as this the writer calls the core even if nothing happens; over a minute would be a jump of the clock.
const TICK: At = 50 * SECOND;

/// What went wrong, and after which step.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) step: usize,
    pub(crate) what: String,
}

pub(crate) struct Bench {
    core: Core,
    pub(crate) reference: Reference,
    follower: Follower,
    dice: Dice,
    outcomes: Vec<Outcome>,
    /// The highest time handed to the core.
    now: At,
    started: bool,
    records: usize,
    /// Up to where `changes` lines have looked.
    looked: Seq,
    tickets: BTreeMap<String, (ProbeTicket, IpAddr, At)>,
    snapshots: BTreeMap<String, (State, Reference)>,
    kept: Kept,
    copies: Copies,
    /// How often the process started; each unclean start draws a new epoch.
    starts: u64,
}

/// Runs all steps; a panic of the core is a failure like any other.
pub(crate) fn run(steps: &[Step], seed: u64) -> Result<(), Failure> {
    let mut done = 0;
    let caught = catch_unwind(AssertUnwindSafe(|| run_steps(steps, seed, &mut done)));
    match caught {
        Ok(result) => result.map_err(|what| Failure { step: done, what }),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Err(Failure {
                step: done,
                what: format!("panicked: {}", text.unwrap_or_default()),
            })
        }
    }
}

fn run_steps(steps: &[Step], seed: u64, done: &mut usize) -> Result<(), String> {
    let mut bench = Bench::new(seed);
    while *done < steps.len() {
        let together = bench.batch_length(&steps[*done..]);
        *done += together - 1;
        bench.step(&steps[*done + 1 - together..=*done])?;
        *done += 1;
    }
    *done = steps.len().saturating_sub(1);
    bench.follower.catch_up(&bench.core)
}

impl Bench {
    pub(crate) fn new(seed: u64) -> Self {
        let mut reference = Reference::default();
        let policy = reference.policy.clone();
        reference.directories.configure(&policy);
        let core = Core::new(Epoch(seed), convert::policy(&policy));
        Self {
            follower: Follower::new(&core),
            core,
            reference,
            dice: Dice::new(seed ^ 0xbe7c),
            outcomes: Vec::new(),
            now: 0,
            started: false,
            records: 0,
            looked: Seq(0),
            tickets: BTreeMap::new(),
            snapshots: BTreeMap::new(),
            kept: Kept::new(seed),
            copies: Copies::new(seed),
            starts: 0,
        }
    }

    pub(crate) fn core(&self) -> &Core {
        &self.core
    }

    /// How many of the next steps come as one batch: events of one producer at one instant may.
    fn batch_length(&mut self, steps: &[Step]) -> usize {
        let producer = |step: &Step| match &step.action {
            Action::Said(said) => Some(said.producer.clone()),
            _ => None,
        };
        let first = &steps[0];
        let same = steps
            .iter()
            .take_while(|s| {
                producer(s).is_some() && producer(s) == producer(first) && s.now == first.now
            })
            .count();
        if same > 1 && self.dice.percent(70) {
            same
        } else {
            1
        }
    }

    /// Applies steps that come as one batch, then checks everything.
    pub(crate) fn step(&mut self, steps: &[Step]) -> Result<(), String> {
        let first = &steps[0];
        let before = self.core.last_seq();
        self.move_to(first.now, matches!(first.action, Action::Resume));
        let should: Vec<Option<String>> = steps
            .iter()
            .map(|step| self.reference.apply(step))
            .collect();
        self.outcomes.clear();
        let epoch = self.core.epoch();
        self.deliver(steps);
        compare::verdicts(&self.outcomes, &should)?;
        self.copies.say(&mut self.core, convert::utc(self.now))?;
        self.advance(self.now);
        if self.core.last_seq() < before && self.core.epoch() == epoch {
            return Err("the sequence went backwards".into());
        }
        if let Action::Expect(address, expected) = &first.action {
            compare::reference_as_expected(&self.reference, *address, expected)?;
        }
        self.check()?;
        match &first.action {
            Action::Expect(address, expected) => {
                compare::expected(&self.core, *address, expected, &self.reference)
            }
            Action::Changes(addresses) => self.changes(addresses),
            _ => Ok(()),
        }
    }

    /// Applies a step that was checked in another run.
    pub(crate) fn deliver_unchecked(&mut self, step: &Step) {
        self.move_to(step.now, false);
        self.reference.apply(step);
        self.deliver(std::slice::from_ref(step));
        self.advance(self.now);
    }

    fn changes(&mut self, addresses: &[IpAddr]) -> Result<(), String> {
        let found: Vec<IpAddr> = self
            .core
            .addresses_since(self.looked)
            .map(|(_, address)| address)
            .collect();
        self.looked = self.core.last_seq();
        if found != addresses {
            return Err(format!(
                "expected changes of {addresses:?}, found {found:?}"
            ));
        }
        Ok(())
    }

    /// Lets time pass as the writer does, which looks when the core wants it to and often enough that no step is a
    /// jump; or all at once.
    fn move_to(&mut self, now: At, asleep: bool) {
        if !self.started {
            self.now = now;
            self.started = true;
        }
        while !asleep && self.now < now {
            let wanted = self.core.poll_timeout();
            let wanted = wanted.map_or(now, |(at, _)| convert::at(at));
            self.now = wanted.max(self.now + 1).min(self.now + TICK).min(now);
            self.advance(self.now);
        }
        self.now = self.now.max(now);
        self.advance(now);
    }

    fn advance(&mut self, now: At) {
        let limit = 1 + self.dice.below(3);
        let mut rounds = 0;
        while self
            .core
            .advance(convert::utc(now), limit, &mut self.outcomes)
        {
            rounds += 1;
            assert!(rounds < 10_000, "advance never says that it is done");
        }
    }

    fn deliver(&mut self, steps: &[Step]) {
        let step = &steps[0];
        let batch = match &step.action {
            Action::Said(_) => self.events(steps),
            Action::Read(read) => {
                self.records += 1;
                let batch = convert::directory_batch(read, &self.reference.policy, self.records);
                match batch {
                    Some(batch) => Batch::Directory(batch),
                    None => return,
                }
            }
            Action::LogOff(Whom::Address(address)) => {
                Batch::LogOff(LogOffTarget::Address(*address))
            }
            Action::LogOff(Whom::User(user)) => {
                let Some(key) = self.reference.user_key(user) else {
                    return;
                };
                let (domain, user) = key.split_once('\\').expect("a key has a domain");
                Batch::LogOff(LogOffTarget::User {
                    name: convert::name(user),
                    domain: Some(convert::name(domain)),
                })
            }
            Action::Policy(policy) => {
                let (policy, now) = (convert::policy(policy), convert::utc(step.now));
                self.core.set_policy(policy, now, &mut self.outcomes);
                return;
            }
            Action::Restart => return self.restart(step.now),
            Action::Ask(address, ticket) => {
                let drawn = self.core.probe_subject(*address).ticket;
                let ticket = (ticket.clone(), (drawn, *address, self.now));
                self.tickets.extend([ticket]);
                return;
            }
            Action::Answer(answered) => {
                let Some(ticket) = self.tickets.get(&answered.ticket) else {
                    return;
                };
                let domain = &self.reference.policy.domains[0].0;
                Batch::Probe(convert::report(answered, ticket, self.now, domain))
            }
            Action::Snapshot(name) => {
                let kept = (self.core.export(), self.reference.clone());
                self.snapshots.insert(name.clone(), kept);
                return;
            }
            Action::Restore(name) => return self.restore(name),
            Action::Tick | Action::Resume | Action::Expect(..) | Action::Changes(_) => return,
        };
        self.core
            .apply(batch, convert::utc(step.now), &mut self.outcomes);
    }

    fn events(&mut self, steps: &[Step]) -> Batch {
        let said = |step: &Step| -> Option<Said> {
            match &step.action {
                Action::Said(said) => Some(said.clone()),
                _ => None,
            }
        };
        let domain = self.reference.policy.domains[0].0.clone();
        let mut events = Vec::new();
        for step in steps {
            if let Some(said) = said(step) {
                self.records += 1;
                let event = convert::event(&said, step.now, self.records, &domain);
                events.push(self.copies.hear(event, convert::utc(self.now)));
            }
        }
        Batch::Events {
            events,
            bookmark: None,
        }
    }

    /// A clean stop and start: the core is what was exported, and exports the same again.
    fn restart(&mut self, now: At) {
        let before = self.core.export();
        let read = self.kept.stop_and_start(&mut self.core);
        assert!(read.clean);
        let state = read.state;
        if state != before {
            let mut pairs = state.addresses.iter().zip(&before.addresses);
            let differs = pairs.find(|(read, before)| read != before);
            panic!("the files hold another table: {differs:?}\n{state:?}\n{before:?}");
        }
        let (policy, now) = (self.core.policy().clone(), convert::utc(now));
        let epoch = self.core.epoch();
        self.core = Core::restore(state.clone(), epoch, policy, now, &mut self.outcomes)
            .expect("a core restores what it exported");
        let again = self.core.export();
        let mut pairs = again.addresses.iter().zip(&state.addresses);
        let differs = pairs.find(|(again, before)| again != before);
        assert!(again == state, "a restart changes the table: {differs:?}");
        self.tickets.clear();
    }

    /// The process died, and starts from what was written then. The configuration is today's, and so is the clock.
    fn restore(&mut self, name: &str) {
        let Some((state, reference)) = self.snapshots.get(name).cloned() else {
            return;
        };
        self.starts += 1;
        let epoch = Epoch(self.core.epoch().0 ^ (self.starts << 40));
        let (policy, now) = (self.core.policy().clone(), convert::utc(self.now));
        self.core = Core::restore(state, epoch, policy, now, &mut self.outcomes)
            .expect("a core restores what it exported");
        self.kept.start_over(&mut self.core);
        self.reference.restore(&reference);
        self.copies.forget();
        self.tickets.clear();
        self.looked = self.core.last_seq();
    }

    fn check(&mut self) -> Result<(), String> {
        self.kept.follow(&mut self.core);
        self.core.check_invariants();
        self.check_journal()?;
        let mut addresses: BTreeSet<IpAddr> = self.reference.addresses().into_iter().collect();
        addresses.extend(self.core.addresses_since(Seq(0)).map(|(_, a)| a));
        for address in addresses {
            compare::address(&self.core, &self.reference, address)?;
        }
        compare::totals(&self.core)?;
        if self.dice.percent(60) {
            self.follower.poll(&self.core, &mut self.dice);
        }
        if self.dice.percent(10) {
            self.follower.catch_up(&self.core)?;
        }
        Ok(())
    }

    /// The journal names every address once, in order of last change, and nothing that is not in the table.
    fn check_journal(&self) -> Result<(), String> {
        let mut last = Seq(0);
        let mut seen = BTreeSet::new();
        for (seq, address) in self.core.addresses_since(Seq(0)) {
            if seq <= last {
                return Err(format!(
                    "the journal is out of order at {address}: {seq:?} after {last:?}"
                ));
            }
            if !seen.insert(address) {
                return Err(format!("the journal names {address} twice"));
            }
            let Some(view) = self.core.address(address) else {
                return Err(format!(
                    "the journal names {address}, of which the table knows nothing"
                ));
            };
            if view.changed != seq {
                let changed = view.changed;
                return Err(format!(
                    "{address} changed at {changed:?}, says its view, but at {seq:?} in the journal"
                ));
            }
            last = seq;
        }
        if last > self.core.last_seq() {
            return Err(format!(
                "the journal goes beyond its last sequence: {last:?}"
            ));
        }
        Ok(())
    }
}
