//! What is said of a cluster, and when nothing is.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::*;
use crate::cluster::Trouble;
use crate::cluster::roster::{LeaseValue, MemberValue, Roster, lease_key};

const NOW: UtcMillis = UtcMillis(1_764_000_000_000);

fn ago(seconds: u64) -> UtcMillis {
    NOW.before(Duration::from_secs(seconds))
}

fn member(name: &str, applied: u64) -> MemberReading {
    MemberReading {
        value: MemberValue {
            name: name.into(),
            life: 1,
            version: "0.1.0".into(),
            format: shape::VERSION,
            roles: vec!["server".into()],
            applied,
            journal: applied * 2,
            state: "following".into(),
            started: ago(3_600).0,
            ..MemberValue::default()
        },
        heard_ago: Duration::from_secs(1),
        is_alive: true,
    }
}

fn gone(name: &str, applied: u64, seconds: u64) -> MemberReading {
    MemberReading {
        heard_ago: Duration::from_secs(seconds),
        is_alive: false,
        ..member(name, applied)
    }
}

/// A lease as the bucket has it.
fn lease(name: &str, holder: &str, life: u64) -> SeenLease {
    let value = LeaseValue {
        lease: name.into(),
        holder: holder.into(),
        life,
        since: ago(60).0,
    };
    let bytes = serde_json::to_vec(&value).expect("JSON");
    let mut roster = Roster::default();
    let now = clock_now();
    roster.note(&lease_key(name), Some(&bytes), 1, now);
    roster.lease(name).expect("it was noted").clone()
}

fn clock_now() -> std::time::Instant {
    crate::runtime::clock::monotonic_now()
}

fn reading() -> Reading {
    Reading {
        member: "a".into(),
        stream: "jims".into(),
        server: Some("192.0.2.1:4222".into()),
        stage: Stage::Following,
        state: "following",
        trouble: None,
        lost_since: None,
        refused: Vec::new(),
        applied: 100,
        applied_at: Some(ago(2)),
        behind: 0,
        policy_differs: false,
        wrong: 0,
        stored: None,
        wanted: BTreeSet::from([Arc::from("clock")]),
        held: 1,
        vacant: Vec::new(),
        members: vec![member("a", 100), member("b", 99)],
        leases: vec![lease("clock", "a", 1)],
    }
}

fn told(reading: &Reading) -> Vec<String> {
    let all = attention(reading, NOW).into_iter();
    all.map(|item| item.what).collect()
}

#[test]
fn a_cluster_that_is_well_says_so_and_wants_nobody() {
    let reading = reading();
    assert_eq!(told(&reading), Vec::<String>::new());
    let status = status(&reading, Epoch(0xab), NOW);
    assert_eq!(status.epoch, "00000000000000ab");
    assert_eq!((status.lag_ms, status.present()), (0, (2, 2)));
    assert_eq!(status.leases.len(), 1);
    assert_eq!(status.leases[0].holder.as_deref(), Some("a"));
    assert!(status.leases[0].alive);
}

#[test]
fn lag_is_the_age_of_the_last_message_while_others_wait() {
    let behind = Reading {
        behind: 3,
        ..reading()
    };
    assert_eq!(status(&behind, Epoch(1), NOW).lag_ms, 2_000);
}

#[test]
fn each_member_is_shown_as_it_counts() {
    let mut stopped = gone("d", 40, 500);
    stopped.value.stopped = true;
    let mut cut = member("e", 70);
    cut.value.state = "cut-off".into();
    let mut busy = member("b", 90);
    busy.value.behind = 2;
    let reading = Reading {
        members: vec![member("a", 100), busy, gone("c", 60, 30), stopped, cut],
        leases: vec![
            lease("clock", "c", 1),
            lease("old", "", 0),
            lease("pc-probe", "a", 7),
        ],
        wanted: ["clock", "tables"].map(Arc::from).into(),
        ..reading()
    };
    let status = status(&reading, Epoch(1), NOW);
    let rows = status.members.iter();
    let rows: Vec<_> = rows
        .map(|m| (m.name.as_str(), m.state.as_str(), m.behind))
        .collect();
    let expected = [
        ("a", "following", 0),
        ("b", "following", 2),
        ("c", "gone", 40),
        ("d", "stopped", 60),
        ("e", "cut-off", 30),
    ];
    assert_eq!(rows, expected);
    let leases = status.leases.iter();
    let leases: Vec<_> = leases
        .map(|l| (l.name.as_str(), l.holder.as_deref(), l.alive))
        .collect();
    let expected = [
        ("clock", Some("c"), false),
        ("pc-probe", Some("a"), false),
        ("tables", None, false),
    ];
    assert_eq!(leases, expected, "a lease of an earlier life is nobody's");
    assert_eq!(
        told(&reading),
        ["member `c` of the cluster is gone, and it did not stop in order"]
    );
}

#[test]
fn a_cut_is_one_thing_and_hides_what_cannot_be_known() {
    let trouble = |since| {
        Some(Trouble {
            what: "the stream has messages that do not come".into(),
            remedy: "look".into(),
            since,
        })
    };
    let cut = Reading {
        server: None,
        lost_since: Some(ago(9)),
        trouble: trouble(ago(4)),
        refused: vec!["publishing: timed out".into()],
        members: vec![gone("a", 100, 9), gone("b", 100, 9)],
        vacant: vec![("clock".into(), Duration::from_secs(60))],
        ..reading()
    };
    let items = attention(&cut, NOW);
    assert_eq!(items.len(), 1, "{items:?}");
    assert_eq!(
        items[0].what,
        "cut off from the cluster: no NATS server answers; queries are answered from the table as it was at 2025-11-24 15:59:58Z"
    );
    assert_eq!(items[0].since, Some(timestamp(ago(9))));
    let shown = status(&cut, Epoch(1), NOW);
    let states = shown.members.iter().map(|m| (m.state.as_str(), m.alive));
    let states: Vec<_> = states.collect();
    assert_eq!(states, [("following", true), ("unknown", false)]);
    let short = Reading {
        lost_since: Some(ago(2)),
        trouble: None,
        ..cut.clone()
    };
    assert_eq!(
        told(&short),
        Vec::<String>::new(),
        "a short cut wants nobody"
    );
    let starting = Reading {
        lost_since: None,
        stage: Stage::CatchingUp(7),
        server: Some("192.0.2.1:4222".into()),
        ..cut
    };
    assert_eq!(
        told(&starting),
        ["not in the cluster's order yet: the stream has messages that do not come"]
    );
}

#[test]
fn what_an_operator_should_act_on_is_named_with_its_remedy() {
    let mut other = member("b", 100);
    other.value.journal += 1;
    let mut mending = member("d", 100);
    (mending.value.journal, mending.value.digest) = (1, 1);
    let mut newer = member("c", 99);
    newer.value.format = shape::VERSION + 1;
    let reading = Reading {
        refused: vec!["publishing: no rights".into()],
        policy_differs: true,
        vacant: vec![
            ("directory/corp".into(), Duration::from_secs(20)),
            ("event-source/dc1".into(), Duration::from_secs(19)),
        ],
        members: vec![member("a", 100), other, mending, newer],
        ..reading()
    };
    assert_eq!(
        told(&reading),
        [
            "cluster: publishing: no rights",
            "this configuration says otherwise than what the cluster's tables obey",
            "no member holds the lease `directory/corp`: nobody does that work",
            "the member `c` of the cluster may write messages that this jims does not understand",
            "the tables of `a` and `b` differ after message 100",
        ]
    );
    assert!(
        attention(&reading, NOW)
            .iter()
            .all(|item| !item.remedy.is_empty())
    );
}

#[test]
fn many_members_that_are_gone_are_counted() {
    let dead = (0..8).map(|n| gone(&format!("m{n}"), 1, 60));
    let reading = Reading {
        members: std::iter::once(member("a", 100)).chain(dead).collect(),
        ..reading()
    };
    let told = told(&reading);
    assert_eq!(told.len(), NAMED + 1);
    assert_eq!(told[NAMED], "3 more members of the cluster are gone");
}
