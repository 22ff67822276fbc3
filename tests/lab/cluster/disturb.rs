//! What is done to members and to NATS, by chance, and how long it takes until it is over.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::feeder::{Feeder, mark_address};
use super::fleet::Srx;
use super::hosts::Wire;
use super::member::Member;
use super::nats::Nats;
use super::random::Random;
use crate::support::wait_at_most;

/// How long one disturbance may take to be over, elections of NATS included.
pub(super) const OVER_WITHIN: Duration = Duration::from_secs(120);

/// How long a node of NATS may take to be healthy before somebody restarts it.
const HEALTHY_WITHIN: Duration = Duration::from_secs(45);

/// How often what happened, and the longest that it took to be over.
#[derive(Default)]
pub(super) struct Counts(BTreeMap<String, (u32, Duration)>);

impl Counts {
    pub(super) fn note(&mut self, what: String, took: Duration) {
        let (count, longest) = self.0.entry(what).or_default();
        *count += 1;
        *longest = took.max(*longest);
    }

    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for (what, (count, longest)) in &self.0 {
            let _written = writeln!(
                text,
                "  {what}: {count} times, over after {longest:?} at most"
            );
        }
        text
    }
}

/// Until when, and by which chance.
pub(super) struct Turn {
    until: Instant,
    /// Shared by all: one of them failed.
    failed: Arc<AtomicBool>,
    pub(super) random: Random,
    pub(super) counts: Counts,
}

impl Turn {
    pub(super) fn new(until: Instant, failed: &Arc<AtomicBool>, seed: u64) -> Self {
        Self {
            until,
            failed: Arc::clone(failed),
            random: Random::new(seed),
            counts: Counts::default(),
        }
    }

    pub(super) fn is_over(&self) -> bool {
        Instant::now() >= self.until || self.failed.load(Ordering::Relaxed)
    }

    /// Waits for a time between two bounds in milliseconds.
    pub(super) fn pause(&mut self, least: usize, most: usize) {
        let millis = least + self.random.below(most - least);
        std::thread::sleep(Duration::from_millis(
            u64::try_from(millis).expect("64 bits"),
        ));
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.failed.store(true, Ordering::Relaxed);
        }
    }
}

/// What can be done to a member.
#[derive(Clone, Copy, Debug)]
enum Harm {
    Killed,
    Paused,
    CutOff(&'static [Wire]),
    Reloaded,
}

impl Harm {
    fn by_chance(random: &mut Random) -> Self {
        match random.below(10) {
            0..=2 => Self::Killed,
            3 | 4 => Self::Paused,
            5 | 6 => Self::CutOff(&[Wire::Back]),
            7 => Self::CutOff(&[Wire::Front]),
            8 => Self::CutOff(&Wire::ALL),
            _ => Self::Reloaded,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Killed => "killed",
            Self::Paused => "paused",
            Self::CutOff([Wire::Back]) => "cut off from NATS",
            Self::CutOff([Wire::Front]) => "cut off from senders and firewalls",
            Self::CutOff(_) => "cut off from all",
            Self::Reloaded => "reloaded",
        }
    }

    /// Does it, and undoes it after a while; `meanwhile` happens at its worst.
    fn happens_to(self, member: &mut Member, turn: &mut Turn, meanwhile: impl Fn(&Member)) {
        match self {
            Self::Killed => {
                member.site.kill();
                turn.pause(100, 5000);
                member.site.start();
            }
            Self::Paused => {
                member.site.signal("STOP");
                turn.pause(500, 12_000);
                member.site.signal("CONT");
            }
            Self::CutOff(wires) => {
                let host = member.host.as_ref().expect("a host of its own");
                host.cut(wires);
                turn.pause(500, 12_000);
                if !wires.contains(&Wire::Front) {
                    meanwhile(member);
                }
                host.mend(wires);
            }
            Self::Reloaded => member.reload(),
        }
    }
}

/// One Collector at a time is disturbed, and only when both have said everything that they were sent.
pub(super) fn disturb_collectors(
    collectors: &mut [Member; 2],
    feeder: &Feeder,
    witness: &Member,
    turn: &mut Turn,
) {
    let mut marks = 0;
    while !turn.is_over() {
        turn.pause(500, 3000);
        let chosen = turn.random.below(2);
        // What one lost, the other had; and so that it still has what this one will lose.
        for target in [chosen, 1 - chosen] {
            wait_current(feeder, witness, target, &mut marks);
        }
        let harm = Harm::by_chance(&mut turn.random);
        harm.happens_to(&mut collectors[chosen], turn, |_| {});
        let took = wait_current(feeder, witness, chosen, &mut marks);
        turn.counts.note(format!("Collector {}", harm.name()), took);
    }
}

/// Waits until what a Collector was sent up to now is in the table.
fn wait_current(feeder: &Feeder, witness: &Member, target: usize, marks: &mut u64) -> Duration {
    let begun = Instant::now();
    let first = *marks;
    let mut sent_at = None;
    wait_at_most(OVER_WITHIN, "a Collector's mark", || {
        // A mark may have gone into the socket of a process that was killed.
        if sent_at.is_none_or(|at: Instant| at.elapsed() > Duration::from_secs(3)) {
            feeder.mark(target, *marks);
            *marks += 1;
            sent_at = Some(Instant::now());
        }
        let is_there = |mark| witness.user_at(&mark_address(target, mark)).is_some();
        (first..*marks).any(is_there).then_some(())
    });
    begun.elapsed()
}

pub(super) fn disturb_servers(servers: &mut [Member], witness: &Member, turn: &mut Turn) {
    while !turn.is_over() {
        turn.pause(500, 4000);
        let chosen = turn.random.below(servers.len());
        let harm = Harm::by_chance(&mut turn.random);
        let server = &mut servers[chosen];
        harm.happens_to(server, turn, |server| {
            // From the table that it has.
            let mut srx = Srx::new(vec![server.http()]);
            wait_at_most(OVER_WITHIN, "a Server that is cut off to answer", || {
                srx.batch().ok()
            });
            assert!(!srx.table.is_empty(), "{} tells nothing", server.address);
        });
        let took = wait_caught_up(server, witness);
        turn.counts.note(format!("Server {}", harm.name()), took);
    }
}

/// Waits until a Server has applied what the witness had applied when this began.
fn wait_caught_up(server: &mut Member, witness: &Member) -> Duration {
    let begun = Instant::now();
    let applied = wait_at_most(OVER_WITHIN, "the witness to answer", || witness.applied());
    wait_at_most(OVER_WITHIN, "a Server to catch up", || {
        server.site.assert_running();
        (server.applied()? >= applied).then_some(())
    });
    server.wait_ready();
    begun.elapsed()
}

/// A node at a time, or now and then all of them.
pub(super) fn disturb_nats(nats: &mut Nats, also_all: bool, turn: &mut Turn) {
    while !turn.is_over() {
        turn.pause(1000, 5000);
        let chosen = turn.random.below(nats.nodes());
        let nodes = match turn.random.below(8) {
            0 if also_all => (0..nats.nodes()).collect(),
            _ => vec![chosen],
        };
        let harm = turn.random.below(3);
        for node in &nodes {
            match harm {
                0 => nats.signal_node(*node, "STOP"),
                1 => nats.kill_node(*node),
                _ => nats.cut_node(*node),
            }
        }
        turn.pause(300, 7000);
        for node in &nodes {
            match harm {
                0 => nats.signal_node(*node, "CONT"),
                1 => nats.start_node(*node),
                _ => nats.mend_node(*node),
            }
        }
        let begun = Instant::now();
        wait_healthy(nats, turn);
        let who = match nodes.len() {
            1 => "NATS node",
            _ => "NATS",
        };
        let what = ["paused", "killed", "cut off"][harm];
        turn.counts.note(format!("{who} {what}"), begun.elapsed());
    }
}

/// Waits until every node has said once that it has caught up with the others: under load each falls a message behind again
/// and again, so that all of them seldom say so at once. One that never does is restarted, as an operator would: with
/// nats-server 2.9.10 and 2.10.27 a consumer whose client is gone may stay on a node that stood still, which then does not say
/// that it is healthy again.
fn wait_healthy(nats: &mut Nats, turn: &mut Turn) {
    let mut ailing: Vec<_> = (0..nats.nodes()).collect();
    let mut restarted = Vec::new();
    let mut begun = Instant::now();
    loop {
        ailing.retain(|node| nats.ailment(*node).is_some());
        let Some(node) = ailing.first().copied() else {
            return;
        };
        // Each time that it is not healthy, NATS writes a line.
        std::thread::sleep(Duration::from_millis(250));
        if begun.elapsed() < HEALTHY_WITHIN {
            continue;
        }
        let says = nats.ailment(node).unwrap_or_default();
        assert!(
            !restarted.contains(&node),
            "NATS node {node} was restarted and is not healthy: {says}"
        );
        println!("NATS node {node} is restarted, for it says after {HEALTHY_WITHIN:?}: {says}");
        turn.counts
            .note("NATS node restarted by hand".to_owned(), begun.elapsed());
        nats.kill_node(node);
        nats.start_node(node);
        restarted.push(node);
        begun = Instant::now();
    }
}
