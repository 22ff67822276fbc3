//! Whoever is heard first: any order of delivery that keeps each producer's own order makes the same table.
//!
//! Not so, and left out: logoffs without an address and 4776, whose meaning is what is there when they arrive; more
//! logoffs of different users at one address than the core promises to remember.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::bench::{Bench, run};
use crate::follower::told;
use crate::random::Dice;
use crate::reference::Should;
use crate::step::{Action, HOUR, Said, Step};
use crate::{seeds, shrink, world};

const SEEDS: u64 = 1_000;

#[test]
fn any_interleaving_of_producers_makes_the_same_table() {
    for seed in seeds(SEEDS) {
        let lists = world::evidence_only(seed, 30);
        let mut dice = Dice::new(seed ^ 0x1eaf);
        let orders: Vec<Vec<Step>> = (0..3).map(|_| merge(&lists, &mut dice)).collect();
        for order in &orders {
            if run(order, seed).is_err() {
                let short = shrink::shrink(order, seed);
                let what = run(&short, seed).expect_err("it still fails").what;
                panic!("seed {seed}: {what}\n{}", text(&short));
            }
        }
        let tables: Vec<_> = orders.iter().map(|order| table(order, seed)).collect();
        for (order, table) in orders.iter().zip(&tables) {
            for (place, told) in table {
                let other = tables[0].get(place).unwrap_or(told);
                assert_eq!(
                    told,
                    other,
                    "seed {seed}: at {place:?} another order makes another table\n{}\nbut\n{}",
                    text(order),
                    text(&orders[0])
                );
            }
        }
    }
}

/// One interleaving, delivered when all of it has happened.
fn merge(lists: &[Vec<Said>], dice: &mut Dice) -> Vec<Step> {
    let newest = lists.iter().flatten().map(|said| said.at).max();
    let now = newest.unwrap_or(HOUR) + 1;
    let mut queues: Vec<std::slice::Iter<'_, Said>> = lists.iter().map(|l| l.iter()).collect();
    let mut steps = Vec::new();
    while !queues.is_empty() {
        let place = dice.below(queues.len());
        if let Some(said) = queues[place].next() {
            steps.push(Step {
                now,
                action: Action::Said(said.clone()),
            });
        } else {
            drop(queues.remove(place));
        }
    }
    steps
}

/// Who is where after the steps, as far as it is promised; the flag tells devices from users.
fn table(steps: &[Step], seed: u64) -> BTreeMap<(IpAddr, bool), String> {
    let mut bench = Bench::new(seed);
    for step in steps {
        bench.deliver_unchecked(step);
    }
    let mut table = BTreeMap::new();
    for address in bench.reference.addresses() {
        let told = told(bench.core(), address);
        if bench.reference.user(address) != Should::BeAnything {
            table.insert((address, false), format!("{:?}", told.user));
        }
        if bench.reference.device(address) != Should::BeAnything {
            table.insert((address, true), format!("{:?}", told.device));
        }
    }
    table
}

fn text(steps: &[Step]) -> String {
    let lines: Vec<String> = steps.iter().map(|step| format!("  {step}")).collect();
    lines.join("\n")
}
