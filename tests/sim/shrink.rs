//! Makes a failing list of steps short enough to read.

use crate::bench;
use crate::step::Step;

/// How many runs shrinking may cost.
const RUNS: usize = 3_000;

/// Leaves out steps, large pieces first, as long as the rest still fails.
pub(crate) fn shrink(steps: &[Step], seed: u64) -> Vec<Step> {
    // A panic that is looked for is not worth its lines.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let short = shorten(steps, seed);
    std::panic::set_hook(hook);
    short
}

fn shorten(steps: &[Step], seed: u64) -> Vec<Step> {
    let mut left = steps.to_vec();
    if let Err(failure) = bench::run(&left, seed) {
        left.truncate(failure.step + 1);
    }
    let mut runs = 0;
    let mut piece = left.len().div_ceil(2);
    while piece > 0 {
        let mut from = 0;
        while from < left.len() && runs < RUNS {
            let mut fewer = left.clone();
            fewer.drain(from..(from + piece).min(left.len()));
            runs += 1;
            if bench::run(&fewer, seed).is_err() {
                left = fewer;
            } else {
                from += piece;
            }
        }
        piece /= 2;
    }
    left
}
