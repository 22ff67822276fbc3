//! Who reads an event log: one Collector of two, and the other where it was when the first is killed or does not move.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::fleet::{Held, everything};
use super::member::{ALONE, COLLECTORS, Member, Role, SERVERS, cluster};
use super::nats::Nats;
use super::wait_alike;
use crate::support::peer::Peer;
use crate::support::{wait_at_most, wait_for};

/// The peer's address; the lab's other tests have one of their own.
const PEER: &str = "127.77.0.71";

/// Records each second, and of how many users.
const RATE: u64 = 200;
const USERS: u64 = 800;

/// A lease is taken over within this (issue 8).
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(15);

/// How long a member that holds leases does not move.
const PAUSED_FOR: Duration = Duration::from_secs(20);

/// The table of the source.
pub(super) fn source(peer: &str) -> String {
    format!(
        "[[event_source]]\nname = \"dc1\"\nkind = \"domain-controller\"\ndomain = \"corp.example.com\"\nhost = \"{peer}\"\n\
         auth = \"ntlm\"\nuser = 'CORP\\svc-jims'\npassword_file = \"directory.secret\"\n"
    )
}

/// What a member says of the source.
fn told(member: &Member) -> Option<Value> {
    let status = member.try_status()?;
    let all = status["producers"].as_array()?;
    all.iter()
        .find(|producer| producer["name"] == "dc1")
        .cloned()
}

/// Whether a member reads the source.
fn reads(member: &Member) -> bool {
    told(member).is_some_and(|source| source["state"] == "active")
}

/// Which of two reads; never both.
#[track_caller]
fn reader_of(pair: &[Member; 2]) -> usize {
    wait_for("one to read the event log", || {
        let reading = [reads(&pair[0]), reads(&pair[1])];
        assert_ne!(reading, [true, true], "both read");
        reading.iter().position(|reads| *reads)
    })
}

/// Records that a server has counted.
fn applied(server: &Member) -> u64 {
    server.outcomes().values().sum()
}

/// How many records the peer has made.
pub(super) fn made(peer: &Peer, address: &str) -> u64 {
    let stats = peer.tell(&json!({"cmd": "stats"}));
    let own = &stats["stats"][address];
    (own["newest_record"].as_u64()).unwrap_or_else(|| panic!("{stats}"))
}

/// Waits until records of after now count; how long that took.
#[track_caller]
fn wait_applied_after_now(peer: &Peer, server: &Member) -> Duration {
    let begun = Instant::now();
    let last = made(peer, PEER) + 1;
    wait_for("records to count again", || {
        (applied(server) > last).then_some(())
    });
    begun.elapsed()
}

/// What a process that is alone reads of the same log in one go.
fn reference(records: u64) -> BTreeMap<String, Held> {
    let mut alone = Member::start(ALONE, Role::Both, &source(PEER));
    alone.wait_ready();
    wait_for("all records", || (applied(&alone) >= records).then_some(()));
    assert_eq!(applied(&alone), records);
    everything(alone.http()).0
}

#[test]
fn a_source_goes_over_to_the_other_collector_and_each_record_counts_once() {
    let peer = Peer::spawn(&["--addresses", PEER, "--max-records", "200000"]);
    let nats = Nats::start(3);
    let with_source = cluster(&nats) + &source(PEER);
    let mut pair = COLLECTORS.map(|address| Member::start(address, Role::Collector, &with_source));
    let mut server = Member::start(SERVERS[0], Role::Server, &cluster(&nats));
    let mut second = Member::start(SERVERS[1], Role::Server, &cluster(&nats));
    pair.iter_mut().for_each(Member::wait_ready);
    server.wait_ready();
    second.wait_ready();
    reader_of(&pair);
    peer.tell(
        &json!({"cmd": "generate", "n": RATE * 300, "rate": RATE, "users": USERS, "ids": [4768]}),
    );
    wait_for("records to count", || {
        (applied(&server) > 2 * RATE).then_some(())
    });

    let holder = reader_of(&pair);
    let begun = Instant::now();
    pair[holder].site.kill();
    wait_for("the other to read", || {
        reads(&pair[1 - holder]).then_some(())
    });
    let caught_up = wait_applied_after_now(&peer, &server);
    println!(
        "kill -9: the other read after {:?}, and had caught up {caught_up:?} later",
        begun.elapsed().saturating_sub(caught_up)
    );
    assert!(begun.elapsed() < TAKEN_OVER_WITHIN, "{:?}", begun.elapsed());
    pair[holder].site.start();
    pair[holder].wait_ready();
    assert!(!reads(&pair[holder]), "the other has it and keeps it");

    // Who holds it stands still, with what it had read; when it goes on, that does not count any more.
    let holder = 1 - holder;
    let begun = Instant::now();
    pair[holder].site.signal("STOP");
    wait_for("the other to read", || {
        reads(&pair[1 - holder]).then_some(())
    });
    let caught_up = wait_applied_after_now(&peer, &server);
    println!(
        "SIGSTOP: the other had caught up after {:?}, {caught_up:?} of it reading",
        begun.elapsed()
    );
    assert!(begun.elapsed() < TAKEN_OVER_WITHIN, "{:?}", begun.elapsed());
    std::thread::sleep(PAUSED_FOR.saturating_sub(begun.elapsed()));
    pair[holder].site.signal("CONT");
    wait_for("it to stand by", || (!reads(&pair[holder])).then_some(()));
    assert_eq!(reader_of(&pair), 1 - holder);

    peer.tell(&json!({"cmd": "stop_generating"}));
    let records = made(&peer, PEER);
    wait_at_most(Duration::from_secs(120), "the last record", || {
        (applied(&server) >= records).then_some(())
    });
    wait_alike(&[&server, &second]);
    assert_eq!(
        applied(&server),
        records,
        "each record once: {:?}",
        server.outcomes()
    );
    assert_eq!(applied(&second), records);
    let table = everything(server.http()).0;
    assert!(table.len() > 100, "{}", table.len());
    assert_eq!(table, reference(records));
}
