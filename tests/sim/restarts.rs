//! A process that dies and starts again loses nothing that producers can say again.
//!
//! From whatever snapshot it starts: once every producer has said again what it said since, in its order, the sessions
//! are those of a process that never died. Not so, and left out: logoffs without an address and renewals, whose meaning
//! is what is there when they arrive; what the operator and computers said, which nobody says again; evidence that is
//! past its deadline when it is said again, of sessions that are in doubt.

use crate::bench::{Bench, run};
use crate::compare;
use crate::random::Dice;
use crate::step::{Action, MINUTE, PolicyText, Step};
use crate::{seeds, shrink, world};

const SEEDS: u64 = 500;
const STEPS: usize = 30;

#[test]
fn a_restart_from_any_snapshot_comes_to_the_same_sessions() {
    for seed in seeds(SEEDS) {
        let mut dice = Dice::new(seed ^ 0xdead);
        let quiet = plan(seed, &mut dice);
        let died = with_deaths(&quiet, &mut dice);
        for steps in [&quiet, &died] {
            if run(steps, seed).is_err() {
                let short = shrink::shrink(steps, seed);
                let what = run(&short, seed).expect_err("it still fails").what;
                panic!("seed {seed}: {what}\n{}", text(&short));
            }
        }
        let (one, other) = (after(&quiet, seed), after(&died, seed));
        if let Err(what) = compare::same_sessions(&one, &other) {
            panic!("seed {seed}: {what}\n{}", text(&died));
        }
    }
}

/// Evidence of all producers as it comes, from one moment to the next.
fn plan(seed: u64, dice: &mut Dice) -> Vec<Step> {
    let policy = PolicyText {
        logoff_time: std::time::Duration::from_mins(*dice.pick(&[10, 60, 1440])),
        ..PolicyText::default()
    };
    let mut steps = vec![Step {
        now: 8 * 60 * MINUTE,
        action: Action::Policy(policy),
    }];
    let mut said: Vec<_> = world::evidence_only(seed, STEPS)
        .into_iter()
        .flatten()
        .collect();
    said.sort_by_key(|said| said.at);
    steps.extend(said.into_iter().map(|said| Step {
        now: said.at,
        action: Action::Said(said),
    }));
    steps
}

/// The same, with snapshots here and there, deaths, and everything said again since.
fn with_deaths(quiet: &[Step], dice: &mut Dice) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut snapshots: Vec<usize> = Vec::new();
    for step in quiet {
        steps.push(step.clone());
        let now = step.now;
        let mut push = |action| steps.push(Step { now, action });
        if dice.percent(25) {
            push(Action::Snapshot(format!("s{}", snapshots.len())));
            snapshots.push(steps.len());
        } else if dice.percent(10) && !snapshots.is_empty() {
            let place = dice.below(snapshots.len());
            push(Action::Restore(format!("s{place}")));
            let since = steps[snapshots[place]..].to_vec();
            let said = since
                .into_iter()
                .filter(|s| matches!(s.action, Action::Said(_)));
            steps.extend(said.map(|said| Step { now, ..said }));
        }
    }
    steps
}

fn after(steps: &[Step], seed: u64) -> Bench {
    let mut bench = Bench::new(seed);
    for step in steps {
        bench.deliver_unchecked(step);
    }
    bench
}

fn text(steps: &[Step]) -> String {
    let lines: Vec<String> = steps.iter().map(|step| format!("  {step}")).collect();
    lines.join("\n")
}
