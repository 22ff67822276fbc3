//! Simulation: a seeded world against the identity core and a naive reference.
//!
//! A failing seed prints its steps, shortened, in the words of a scenario file, so that it can be put under
//! `tests/fixtures/scenarios/` and stay. `JIMS_SIM_SEEDS` sets how many seeds (or, as `FROM..TO`, which) and
//! `JIMS_SIM_STEPS` how many steps each; a normal run has 102,000 steps, a long one is
//! `JIMS_SIM_SEEDS=20000 JIMS_SIM_STEPS=100 cargo test --test sim`, some minutes.

mod bench;
mod compare;
mod convert;
mod copies;
mod follower;
mod interleaving;
mod kept;
mod random;
mod reference;
mod reference_directory;
mod reference_life;
mod reference_said;
mod restarts;
mod scenarios;
mod shrink;
mod slot;
mod step;
mod step_text;
mod world;

use std::ops::Range;

/// Seeds of a normal run.
const SEEDS: u64 = 1_700;
/// Steps of each seed in a normal run.
const STEPS: usize = 60;

/// Which seeds to run: all of a normal run, or what the environment says.
fn seeds(normal: u64) -> Range<u64> {
    let Ok(text) = std::env::var("JIMS_SIM_SEEDS") else {
        return 0..normal;
    };
    let number = |text: &str| text.parse().expect("JIMS_SIM_SEEDS is COUNT or FROM..TO");
    match text.split_once("..") {
        Some((from, to)) => number(from)..number(to),
        None => 0..number(&text),
    }
}

/// How many steps a seed has.
fn steps() -> usize {
    std::env::var("JIMS_SIM_STEPS").map_or(STEPS, |text| {
        text.parse().expect("JIMS_SIM_STEPS is a number")
    })
}

#[test]
fn the_core_agrees_with_the_naive_reference_in_every_seeded_world() {
    let length = steps();
    for seed in seeds(SEEDS) {
        let plan = world::plan(seed, length);
        if bench::run(&plan, seed).is_err() {
            let short = shrink::shrink(&plan, seed);
            let what = match bench::run(&short, seed) {
                Err(failure) => failure.what,
                Ok(()) => "it fails only with all steps".into(),
            };
            let lines: Vec<String> = short.iter().map(|step| format!("  {step}")).collect();
            panic!(
                "seed {seed} fails: {what}\nthe steps, as a scenario:\n{}\nreplay: JIMS_SIM_SEEDS={seed}..{} \
                 JIMS_SIM_STEPS={length} cargo test --test sim",
                lines.join("\n"),
                seed + 1
            );
        }
    }
}

#[test]
fn a_world_can_be_written_down_and_read_again() {
    for seed in 0..50 {
        let plan = world::plan(seed, 80);
        let text: Vec<String> = plan.iter().map(ToString::to_string).collect();
        let again = step_text::parse_steps(&text.join("\n")).expect("our own words");
        assert_eq!(again, plan, "seed {seed}");
    }
}
