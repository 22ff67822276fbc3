//! Servers that apply the same: one runs through, one is resumed from what it exported at any step, one from its files,
//! one looks ahead as often as it may. All must be the same core, to the last sequence, whatever comes.
//!
//! What comes is made without a thought of what it means ([`crowd`]): every kind of step there is, on few names and
//! addresses, so that ties, late news, names that change hands and half-told stories are the rule here.
//! `JIMS_SIM_SEEDS` and `JIMS_SIM_STEPS` choose as for the others.

mod crowd;

use std::collections::BTreeMap;

use jims::identity::core::Applied;
use jims::identity::ended::Ended;
use jims::identity::outcome::{Outcome, Verdict};
use jims::identity::policy::Policy;
use jims::identity::state::State;
use jims::identity::time::UtcMillis;
use jims::identity::view::Epoch;
use jims::identity::{Batch, Core};

use self::crowd::Crowd;
use crate::kept::Kept;
use crate::random::Dice;
use crate::seeds;

const SEEDS: u64 = 40;
const STEPS: usize = 500;
/// As often as this tables are compared whole; what a step tells is always compared.
const WHOLE_EVERY: usize = 16;

/// What came of steps, in words; each must have come.
const WORDS: [&str; 18] = [
    "logged-on",
    "displaced",
    "renewed",
    "logoff",
    "expired",
    "directory",
    "operator",
    "filter",
    "probe-nobody",
    "probe-other-user",
    "probe-refused",
    "probe-unreachable",
    "unconfirmed",
    "session-changed",
    "not-in-directory",
    "past-deadline",
    "out-of-scope",
    "duplicate",
];

/// One message of the order.
#[derive(Clone, Debug)]
pub(crate) enum Message {
    Batch(Batch),
    Advance(usize),
    Policy(Box<Policy>),
}

/// What a message does to whoever applies it.
#[derive(Debug, PartialEq)]
struct Told {
    applied: Option<Applied>,
    more: bool,
    outcomes: Vec<Outcome>,
    ended: Vec<Ended>,
}

#[test]
fn servers_that_apply_the_same_are_the_same_wherever_they_were_resumed() {
    let steps = std::env::var("JIMS_SIM_STEPS");
    let steps = steps.map_or(STEPS, |text| text.parse().expect("a number"));
    let mut seen = Seen::default();
    for seed in seeds(SEEDS) {
        run(seed, steps, &mut seen);
    }
    seen.check();
}

fn run(seed: u64, steps: usize, seen: &mut Seen) {
    let mut crowd = Crowd::new(seed);
    let mut policy = crowd.policy();
    let mut servers = Servers::new(seed, &policy);
    for step in 0..steps {
        let (message, now) = crowd.next(&servers.through);
        if let Message::Policy(next) = &message {
            policy = (**next).clone();
        }
        let before = servers.through.last_seq();
        let told = servers.apply(&message, now).unwrap_or_else(|what| {
            panic!("seed {seed}, step {step}: {what}, by {message:?} at {now:?}")
        });
        seen.cut += std::mem::take(&mut servers.cut);
        seen.note(&message, &told, servers.through.last_seq() != before);
        servers.replace(&policy);
        if step % WHOLE_EVERY == 0 || step + 1 == steps {
            servers.compare().unwrap_or_else(|what| {
                panic!("seed {seed}, step {step}: {what}, after {message:?} at {now:?}")
            });
        }
    }
}

/// The same core, four times.
struct Servers {
    /// Never replaced.
    through: Core,
    /// Never replaced, and prepares for what is due.
    ahead: Core,
    /// Replaced by what it exported.
    resumed: Core,
    /// Replaced by what its files hold.
    from_files: Core,
    files: Kept,
    dice: Dice,
    /// How often a batch was left in the middle.
    cut: usize,
}

impl Servers {
    fn new(seed: u64, policy: &Policy) -> Self {
        let core = || Core::new(Epoch(seed), policy.clone());
        Self {
            through: core(),
            ahead: core(),
            resumed: core(),
            from_files: core(),
            files: Kept::new(seed),
            dice: Dice::new(seed ^ 0x7715),
            cut: 0,
        }
    }

    /// Has all of them apply a message; all must tell the same of it.
    fn apply(&mut self, message: &Message, now: UtcMillis) -> Result<Told, String> {
        let told = apply(&mut self.through, message, now);
        if let Message::Advance(_) = message {
            for _ in 0..self.dice.below(6) {
                let limit = 1 + self.dice.below(4);
                while self.ahead.prepare(now, limit) && self.dice.percent(95) {}
            }
        }
        let others = [
            ("ahead", &mut self.ahead),
            ("resumed", &mut self.resumed),
            ("from files", &mut self.from_files),
        ];
        for (who, core) in others {
            let other = match message {
                // Its files follow in the middle.
                Message::Batch(batch) if who == "from files" => {
                    let slicing = (&mut self.files, &mut self.dice, &mut self.cut);
                    apply_in_slices(core, batch, now, slicing)
                }
                _ => apply(core, message, now),
            };
            if other != told {
                return Err(format!("{who} tells {other:?}, not {told:?}"));
            }
            let (seqs, same) = (sequences(core), sequences(&self.through));
            if seqs != same {
                return Err(format!("{who} stands at {seqs:?}, not {same:?}"));
            }
        }
        self.files.follow(&mut self.from_files);
        Ok(told)
    }

    /// Now and then a process ends, and another goes on.
    fn replace(&mut self, policy: &Policy) {
        if self.dice.percent(15) {
            let state = self.resumed.export();
            self.resumed = Core::resume(state, policy.clone()).expect("its own table");
        }
        if self.dice.percent(3) {
            let state = self.files.stop_and_start(&mut self.from_files).state;
            self.from_files = Core::resume(state, policy.clone()).expect("its own files");
        }
    }

    fn compare(&self) -> Result<(), String> {
        let table = self.through.export();
        for (who, core) in [
            ("ahead", &self.ahead),
            ("resumed", &self.resumed),
            ("from files", &self.from_files),
        ] {
            if let Some(what) = difference(&table, &core.export()) {
                return Err(format!("{who} differs: {what}"));
            }
        }
        self.through.check_invariants();
        self.resumed.check_invariants();
        Ok(())
    }
}

fn apply(core: &mut Core, message: &Message, now: UtcMillis) -> Told {
    let mut outcomes = Vec::new();
    let (applied, more) = match message {
        Message::Batch(batch) => (Some(core.apply(batch.clone(), now, &mut outcomes)), false),
        Message::Advance(limit) => (None, core.advance(now, *limit, &mut outcomes)),
        Message::Policy(policy) => {
            core.set_policy((**policy).clone(), now, &mut outcomes);
            (None, false)
        }
    };
    Told {
        applied,
        more,
        outcomes,
        ended: core.take_ended(),
    }
}

/// As [`apply`], with its files following in between.
fn apply_in_slices(
    core: &mut Core,
    batch: &Batch,
    now: UtcMillis,
    (files, dice, cut): (&mut Kept, &mut Dice, &mut usize),
) -> Told {
    let mut outcomes = Vec::new();
    let applied = core.begin(batch.clone(), now, &mut outcomes);
    let ended = core.take_ended();
    while core.go_on(1 + dice.below(3)) {
        *cut += 1;
        files.follow(core);
    }
    Told {
        applied: Some(applied),
        more: false,
        outcomes,
        ended,
    }
}

fn sequences(core: &Core) -> [u64; 4] {
    let seqs = [
        core.last_seq(),
        core.floor(),
        core.feed_last(),
        core.feed_floor(),
    ];
    seqs.map(|seq| seq.0)
}

/// The first thing in which two tables differ.
fn difference(one: &State, other: &State) -> Option<String> {
    if one == other {
        return None;
    }
    macro_rules! look {
        ($($list:ident),*) => {
            $(for place in 0..one.$list.len().max(other.$list.len()) {
                let (a, b) = (one.$list.get(place), other.$list.get(place));
                if a != b {
                    return Some(format!("{}: {a:?}, but {b:?}", stringify!($list)));
                }
            })*
        };
    }
    look!(
        subjects,
        objects,
        addresses,
        marks,
        domain_facts,
        producers,
        readings,
        bookmarks,
        lines,
        collectors,
        told_domains
    );
    let rest = |state: &State| (state.now, state.jumped_to, state.feed.clone());
    Some(format!("{:?}, but {:?}", rest(one), rest(other)))
}

/// What happened in all worlds together, so that nothing is proved of what never came.
#[derive(Debug, Default)]
struct Seen {
    /// Words of outcomes, and how often each came.
    verdicts: BTreeMap<&'static str, usize>,
    stopped_by_limit: usize,
    cut: usize,
    held_back: usize,
    dropped: usize,
    policies_that_changed: usize,
    standings_that_changed: usize,
}

impl Seen {
    fn note(&mut self, message: &Message, told: &Told, changed: bool) {
        for outcome in &told.outcomes {
            let word = match &outcome.verdict {
                Verdict::LoggedOn { displaced: None } => "logged-on",
                Verdict::LoggedOn { displaced: Some(_) } => "displaced",
                Verdict::Renewed => "renewed",
                Verdict::LoggedOff(reason) => reason.as_str(),
                Verdict::Ignored(reason) => reason.as_str(),
            };
            *self.verdicts.entry(word).or_default() += 1;
        }
        let applied = told.applied.as_ref();
        let count = |yes| usize::from(yes);
        self.stopped_by_limit += count(told.more);
        self.held_back += count(applied.is_some_and(|applied| applied.full_read_wanted));
        match message {
            Message::Policy(_) => self.policies_that_changed += count(changed),
            Message::Batch(Batch::DropDirectory { .. }) => self.dropped += count(changed),
            Message::Batch(Batch::CollectorStanding { .. }) => {
                self.standings_that_changed += count(applied.is_some_and(|a| a.applied > 0));
            }
            Message::Batch(_) | Message::Advance(_) => {}
        }
    }

    fn check(&self) {
        let counts = [
            self.stopped_by_limit,
            self.cut,
            self.held_back,
            self.dropped,
            self.policies_that_changed,
            self.standings_that_changed,
        ];
        assert!(counts.iter().all(|count| *count > 0), "{self:?}");
        for word in WORDS {
            assert!(self.verdicts.contains_key(word), "no {word}: {self:?}");
        }
    }
}
