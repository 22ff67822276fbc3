//! How long a start needs for the table of the last run: reading the rows, and making the table of them. And how long the
//! table is held so that what changed is handed over to be written.
//!
//! `cargo bench --bench restart` (1,000,000 sessions of 200,000 users; another number as the first argument). Half as many
//! rows again are changes that are not folded yet. The files were just written, so they are read from memory.
#![expect(
    clippy::print_stdout,
    reason = "a benchmark is run to be read on a terminal"
)]

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::Duration;

use jims::identity::event::{Claim, IdentityEvent, Logon, Strength, user_ref};
use jims::identity::name::Name;
use jims::identity::policy::{DomainPolicy, Policy};
use jims::identity::time::UtcMillis;
use jims::identity::view::Epoch;
use jims::identity::{Batch, Core};
use jims::runtime::clock::{monotonic_now, utc_now};
use jims::snapshot::Store;

/// Sessions, unless the command line says otherwise.
const SESSIONS: u32 = 1_000_000;

/// Each user has so many.
const SESSIONS_A_USER: u32 = 5;

/// Changes handed over at once, as the writer does.
const SLICE_CHANGES: usize = 4096;

/// Starts that are timed; the median counts.
const ROUNDS: usize = 5;

/// Changes are handed over so often; the longest counts.
const HANDOVERS: u32 = 200;

/// What changes in 20 ms at 10,000 events a second.
const CHANGES: u32 = 200;

fn main() {
    let number = std::env::args().skip(1).find_map(|word| word.parse().ok());
    let number = number.unwrap_or(SESSIONS);
    let folder = std::env::temp_dir().join(format!("jims-restart-bench.{}", std::process::id()));
    write(&folder, number);
    let (mut reading, mut making, mut core_of_last) = (Vec::new(), Vec::new(), None);
    for _ in 0..ROUNDS {
        let begun = monotonic_now();
        let opened = Store::open(&folder).expect("a snapshot");
        reading.push(begun.elapsed());
        let state = opened.contents.expect("a table").state;
        let begun = monotonic_now();
        let core = Core::restore(state, Epoch(1), policy(), utc_now(), &mut Vec::new());
        making.push(begun.elapsed());
        core_of_last = Some(core.expect("a table"));
    }
    let mut core = core_of_last.expect("a round");
    assert_eq!(core.totals().sessions, number as usize);
    let few = handed_over(&mut core, number, CHANGES);
    let most = handed_over(&mut core, number, SLICE_CHANGES as u32);
    println!("{number} sessions");
    println!("  reading the rows   {:>7.3} s", median(reading));
    println!("  making the table   {:>7.3} s", median(making));
    println!("  handing over {CHANGES} changes   {few:>9.3} ms at most");
    println!("  handing over {SLICE_CHANGES} changes  {most:>9.3} ms at most");
    std::fs::remove_dir_all(&folder).expect("the folder goes");
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times
        .get(times.len() / 2)
        .map_or(0.0, Duration::as_secs_f64)
}

/// The longest time in milliseconds that it took to hand over so many changes.
fn handed_over(core: &mut Core, number: u32, changes: u32) -> f64 {
    let mut longest = Duration::ZERO;
    for round in 0..HANDOVERS {
        let changed = (0..changes).map(|k| scattered(round * changes + k, number));
        logons(core, utc_now(), changed);
        let begun = monotonic_now();
        let changes = core.take_changes(SLICE_CHANGES);
        longest = longest.max(begun.elapsed());
        assert!(!changes.list.is_empty());
        while core.has_changes() {
            core.take_changes(SLICE_CHANGES);
        }
    }
    longest.as_secs_f64() * 1_000.0
}

/// A number below `number`, far from that of the place before.
fn scattered(place: u32, number: u32) -> u32 {
    let scattered = u64::from(place) * 7_919 % u64::from(number);
    u32::try_from(scattered).expect("below a u32")
}

fn policy() -> Policy {
    let domain = Name::new("corp.example.com").expect("a name");
    Policy {
        logoff_time: Duration::from_secs(24 * 3600),
        domains: vec![DomainPolicy {
            name: domain,
            netbios: None,
            aliases: Vec::new(),
        }],
        ..Policy::default()
    }
}

/// A table that was folded, and half of it changed since.
fn write(folder: &Path, number: u32) {
    let (mut core, now) = (Core::new(Epoch(1), policy()), utc_now());
    let mut store = Store::open(folder).expect("a folder").store;
    logons(&mut core, now, 0..number);
    keep(&mut core, &mut store);
    let folding = store.fold(0).expect("something to fold");
    store
        .folded(folding.run().expect("folded"))
        .expect("folded");
    let later = UtcMillis(now.0 + 1);
    // Not in order of their places.
    let changed = (0..number / 2).map(|place| scattered(place, number));
    logons(&mut core, later, changed);
    keep(&mut core, &mut store);
}

fn logons(core: &mut Core, now: UtcMillis, numbers: impl Iterator<Item = u32>) {
    let logon = |number: u32| IdentityEvent {
        producer: "vpn".into(),
        record: "juniper-secure-connect".into(),
        occurred_at: now,
        received_at: now,
        heard: None,
        address: Some(IpAddr::from(Ipv4Addr::from(0x0a40_0001 + number))),
        claim: Claim::Logon(Logon {
            user: user_ref(
                &format!("u{:07}@corp.example.com", number / SESSIONS_A_USER),
                None,
                None,
            )
            .expect("a user"),
            device: None,
            groups: Vec::new(),
            strength: Strength::Strong,
            logon_id: None,
        }),
    };
    for number in numbers {
        let batch = Batch::Events {
            events: vec![logon(number)],
            bookmark: None,
        };
        core.apply(batch, now, &mut Vec::new());
    }
}

fn keep(core: &mut Core, store: &mut Store) {
    while core.has_changes() {
        store.add(&core.take_changes(SLICE_CHANGES));
        store.write().expect("written");
    }
    store.sync().expect("safe");
}
