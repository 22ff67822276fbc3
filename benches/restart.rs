//! How long a start needs for the table of the last run: reading the rows, and making the table of them.
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

fn main() {
    let number = std::env::args().skip(1).find_map(|word| word.parse().ok());
    let number = number.unwrap_or(SESSIONS);
    let folder = std::env::temp_dir().join(format!("jims-restart-bench.{}", std::process::id()));
    write(&folder, number);
    let (mut reading, mut making) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let begun = monotonic_now();
        let opened = Store::open(&folder).expect("a snapshot");
        reading.push(begun.elapsed());
        let state = opened.contents.expect("a table").state;
        let begun = monotonic_now();
        let core = Core::restore(state, Epoch(1), policy(), utc_now(), &mut Vec::new());
        making.push(begun.elapsed());
        let sessions = core.expect("a table").totals().sessions;
        assert_eq!(sessions, number as usize);
    }
    println!("{number} sessions");
    println!("  reading the rows   {:>7.3} s", median(reading));
    println!("  making the table   {:>7.3} s", median(making));
    std::fs::remove_dir_all(&folder).expect("the folder goes");
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times
        .get(times.len() / 2)
        .map_or(0.0, Duration::as_secs_f64)
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
    let changed = (0..number / 2).map(|k| (u64::from(k) * 7_919 % u64::from(number)) as u32);
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
