//! What changes mean, and where what is wrong with them is found; written as a Collector sends them.

use super::*;
use serde_json::{Value, json};

const NOW: UtcMillis = UtcMillis(1_770_000_000_000);
const ID: &str = "000102030405060708090a0b0c0d0e0f";

fn read(changes: Value) -> Result<Told, Wrong> {
    interpret(
        serde_json::from_value(changes).expect("the shape of changes"),
        NOW,
    )
}

fn wrong(changes: Value) -> String {
    read(changes).expect_err("it is refused")
}

fn fact(more: Value) -> Value {
    let mut fact = json!({
        "is": "strong", "at": NOW.0 - 5000, "heard": NOW.0 - 4000,
        "name": "alice", "domain": "corp.example.com", "producer": "dc1", "record": "4768"
    });
    for (key, value) in more.as_object().expect("an object") {
        fact[key] = value.clone();
    }
    fact
}

fn address(ip: &str, facts: &[Value]) -> Value {
    json!({ "is": "address", "ip": ip, "user": facts })
}

fn object(id: &str, kind: &str, more: Value) -> Value {
    let mut object = json!({
        "is": "object", "directory": "Corp", "domain": "corp.example.com", "id": id,
        "name": "x", "kind": kind
    });
    for (key, value) in more.as_object().expect("an object") {
        object[key] = value.clone();
    }
    object
}

#[test]
fn addresses_become_canonical_and_facts_keep_their_order() {
    let changes = json!([
        address(
            "::ffff:10.0.0.1",
            &[fact(json!({})), fact(json!({ "is": "left" }))]
        ),
        address("2001:db8::1", &[]),
    ]);
    let told = read(changes).expect("understood");
    let report = &told.reports[0];
    assert_eq!(report.address, IpAddr::from([10, 0, 0, 1]));
    let kinds: Vec<_> = report.user.iter().map(|fact| fact.kind).collect();
    let expected = [collector::FactKind::Strong, collector::FactKind::Left];
    assert_eq!(kinds, expected);
    let first = &report.user[0];
    assert_eq!(
        (first.at.0, first.received_at.0),
        (NOW.0 - 5000, NOW.0 - 4000)
    );
    assert_eq!(first.groups, None);
    let empty = &told.reports[1];
    assert!(empty.user.is_empty() && empty.device.is_empty());
    assert_eq!(told.counts.sessions, 2);
}

#[test]
fn rule_5_nothing_happens_after_now_nor_is_heard_before_it_happened() {
    let ahead = fact(json!({ "at": i64::MAX, "heard": NOW.0 + 60_000, "groups": ["a"] }));
    let behind = fact(json!({ "at": -7, "heard": i64::MIN, "groups_at": NOW.0 + 1 }));
    let told = read(json!([address("10.0.0.1", &[ahead, behind])])).expect("understood");
    let [ahead, behind] = &told.reports[0].user[..] else {
        panic!("two facts");
    };
    assert_eq!((ahead.at, ahead.received_at), (NOW, NOW));
    assert_eq!(
        (behind.at, behind.received_at),
        (UtcMillis(0), UtcMillis(0))
    );
    let groups = vec![Name::new("a").expect("name")];
    assert_eq!(ahead.groups, Some((NOW, groups)));
    assert_eq!(behind.groups, Some((NOW, Vec::new())));
}

#[test]
fn a_record_is_for_people_and_is_cut() {
    let long = fact(json!({ "record": format!("a\nb{}", "x".repeat(200)) }));
    let told = read(json!([address("10.0.0.1", &[long])])).expect("understood");
    let record = &told.reports[0].user[0].record;
    assert!(
        record.starts_with("a bx") && record.len() == 128,
        "{record}"
    );
}

#[test]
fn only_who_speaks_of_whoever_is_there_may_name_nobody() {
    for kind in ["all-left", "closed"] {
        let nobody = fact(json!({ "is": kind, "name": null, "domain": null }));
        let told = read(json!([address("10.0.0.1", &[nobody])])).expect("understood");
        assert_eq!(told.reports[0].user[0].subject, None);
    }
    for kind in ["strong", "weak", "seen", "carried", "left", "expired"] {
        let nobody = fact(json!({ "is": kind, "name": null, "domain": null }));
        let wrong = wrong(json!([address("10.0.0.1", &[fact(json!({})), nobody])]));
        let expected = "changes[0].user[1].name: the fact speaks of nobody";
        assert_eq!(wrong, expected, "{kind}");
    }
}

#[test]
fn what_is_wrong_is_refused_with_its_place() {
    let one = |more: Value| json!([address("10.0.0.9", &[]), address("10.0.0.1", &[fact(more)])]);
    for (changes, place) in [
        (
            one(json!({ "name": "a\u{202e}b" })),
            "changes[1].user[0].name: ",
        ),
        (
            one(json!({ "name": "x".repeat(257) })),
            "changes[1].user[0].name: ",
        ),
        (
            one(json!({ "domain": null })),
            "changes[1].user[0].domain: ",
        ),
        (
            one(json!({ "producer": " " })),
            "changes[1].user[0].producer: ",
        ),
        (
            one(json!({ "producer": "x".repeat(257) })),
            "changes[1].user[0].producer: ",
        ),
        (
            one(json!({ "groups": ["a", ""] })),
            "changes[1].user[0].groups[1]: ",
        ),
        (
            one(json!({ "groups": vec!["a"; 1025] })),
            "changes[1].user[0].groups: ",
        ),
        (
            json!([address("10.0.0.1", &vec![fact(json!({})); 17])]),
            "changes[0].user: more than 16 facts",
        ),
        (
            json!([address("10.0.0.1", &[]), address("::ffff:10.0.0.1", &[])]),
            "changes[1].ip: the address is there twice",
        ),
    ] {
        let wrong = wrong(changes);
        assert!(wrong.starts_with(place), "{wrong} is not {place}");
    }
}

#[test]
fn what_is_wrong_with_an_object_is_refused_with_its_place() {
    for (changes, place) in [
        (json!([object("00", "group", json!({}))]), "changes[0].id: "),
        (
            json!([object(ID, "group", json!({ "members": [ID, "zz"] }))]),
            "changes[0].members[1]: ",
        ),
        (
            json!([object(
                ID,
                "user",
                json!({ "enabled": true, "sid": "S-1-x" })
            )]),
            "changes[0].sid: ",
        ),
        (
            json!([object(
                ID,
                "user",
                json!({ "enabled": true, "directory": "" })
            )]),
            "changes[0].directory: ",
        ),
        (
            json!([
                object(ID, "group", json!({})),
                object(ID, "group", json!({}))
            ]),
            "changes[1].id: the object is there twice",
        ),
    ] {
        let wrong = wrong(changes);
        assert!(wrong.starts_with(place), "{wrong} is not {place}");
    }
}

#[test]
fn objects_are_gathered_by_directory_and_domain() {
    let other = "f".repeat(32);
    let changes = json!([
        { "is": "domain", "directory": "Corp", "domain": "corp.example.com",
          "netbios": "CORP", "upn_suffixes": ["example.com"] },
        object(ID, "user", json!({
            "enabled": false, "upn": "x@example.com", "sid": "S-1-5-21-1-2-3-1104",
            "primary_group": "S-1-5-21-1-2-3-513"
        })),
        object(&"a".repeat(32), "group", json!({ "members": [ID.to_uppercase(), other] })),
        object(&"b".repeat(32), "device", json!({ "os": "Windows 11" })),
        { "is": "gone", "directory": "corp", "domain": "CORP.example.com", "id": other },
    ]);
    let told = read(changes).expect("understood");
    assert_eq!(told.directories.len(), 1, "names are without case");
    let (key, part) = told.directories.first_key_value().expect("a part");
    assert_eq!(key.directory, "corp");
    assert_eq!(part.domain.as_str(), "corp.example.com");
    assert!(
        part.facts
            .as_ref()
            .is_some_and(|facts| facts.netbios.is_some())
    );
    assert_eq!((part.upserts.len(), part.removed.len()), (3, 1));
    let counts = Totals {
        domains: 1,
        users: 1,
        devices: 1,
        groups: 1,
        sessions: 0,
    };
    assert_eq!(told.counts, counts);
}
