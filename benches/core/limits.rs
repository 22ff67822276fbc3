//! What memory can do on this machine, beside which the other parts are to be read: how long one waits for a word of it, and
//! how fast it is copied.

use super::measure::{Options, Row, Used, processor_time, say};

const WAIT: Row = Row::less(
    "limit: the next word of 256 MB, each known only when the one before is there",
    "ns",
);
const WAIT_IN_CACHE: Row = Row::less("limit: the same in 256 kB", "ns");
const COPY: Row = Row::more("limit: memory copied, 64 MB at a time", "GB/s");

/// Words of four bytes.
const LARGE: u32 = 64 << 20;
const SMALL: u32 = 64 << 10;
const STEPS: u32 = 4 << 20;
const COPIED: usize = 64 << 20;
const COPIES: usize = 20;

pub(crate) fn run(options: &Options) {
    let rounds = if options.quick { 2 } else { 3 };
    let (large, small) = (cycle(LARGE), cycle(SMALL));
    let (from, mut to) = (vec![1_u8; COPIED], vec![0_u8; COPIED]);
    for _ in 0..rounds {
        for (row, words) in [(WAIT, &large), (WAIT_IN_CACHE, &small)] {
            say(options, row, "machine", wait(words), Used::default(), "");
        }
        let before = processor_time();
        for _ in 0..COPIES {
            to.copy_from_slice(std::hint::black_box(&from));
            std::hint::black_box(&mut to);
        }
        let took = (processor_time() - before).as_secs_f64();
        let rate = (COPIED * COPIES) as f64 / 1e9 / took.max(0.01);
        say(options, COPY, "machine", rate, Used::default(), "");
    }
}

/// Numbers of words, each the place of the next, in one turn through all of them without any order (Sattolo's algorithm).
fn cycle(words: u32) -> Vec<u32> {
    let mut next: Vec<u32> = (0..words).collect();
    // xorshift64 (Marsaglia, 2003): the same turn each time.
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for place in (1..words).rev() {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let other = random % u64::from(place);
        next.swap(place as usize, usize::try_from(other).expect("a place"));
    }
    next
}

/// Nanoseconds for each step.
fn wait(next: &[u32]) -> f64 {
    let mut at = 0;
    let before = processor_time();
    for _ in 0..STEPS {
        at = next[at as usize];
    }
    std::hint::black_box(at);
    (processor_time() - before).as_nanos() as f64 / f64::from(STEPS)
}
