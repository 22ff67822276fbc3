//! A directory's batch that changes the groups of many, cut into slices.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::*;

const USERS: u32 = 40;

fn address(user: u32) -> IpAddr {
    format!("10.1.3.{user}").parse().expect("an address")
}

/// Everybody at an address, all of them in a section and half of them in a second one; both in the house.
fn company() -> World {
    let mut w = World::new();
    for number in 1..=USERS {
        let at = address(number).to_string();
        w.send(strong(&format!("user{number}"), 0, &at));
    }
    let all: Vec<u32> = (1..=USERS).collect();
    let users = all
        .iter()
        .map(|number| user(*number, &format!("user{number}")));
    let groups = [
        group(100, "Section", &all),
        group(101, "Half", &all[..20]),
        group(102, "House", &[100, 101]),
        group(513, "Domain Users", &[]),
    ];
    w.directory(DirectoryStep::FullBegin, users.chain(groups).collect());
    w.directory(DirectoryStep::FullEnd, Vec::new());
    w
}

/// A new group above the house, one with fewer in it, one that goes.
fn change() -> Batch {
    Batch::Directory(DirectoryBatch {
        directory: name("corp"),
        domain: name("corp.example.com"),
        facts: None,
        step: DirectoryStep::Poll,
        upserts: vec![group(103, "Roof", &[102]), group(102, "House", &[100])],
        removed: vec![id(101)],
        bookmark: Some(Bookmark {
            key: "dir".into(),
            value: b"2".as_slice().into(),
        }),
    })
}

fn roles(core: &Core, user: u32) -> Vec<String> {
    let view = core.address(address(user)).expect("an entry");
    let roles = view.user.expect("a session").user.roles;
    roles.iter().map(str::to_owned).collect()
}

#[test]
fn a_batch_in_slices_does_what_it_does_at_once_and_a_bounded_part_at_a_time() {
    let (mut whole, mut cut) = (company(), company());
    let now = UtcMillis(T0);
    while cut.core.take_changes(100).instant.is_none() {}
    let told = whole.core.apply(change(), now, &mut whole.outcomes);
    assert_eq!(cut.core.begin(change(), now, &mut cut.outcomes), told);
    let (mut slices, mut seen) = (1, BTreeSet::new());
    loop {
        let before = cut.core.last_seq();
        let more = cut.core.go_on(4);
        assert!(cut.core.addresses_since(before).count() <= 4);
        for user in 1..=USERS {
            seen.insert(roles(&cut.core, user).join(" "));
        }
        if !more {
            break;
        }
        slices += 1;
        assert!(!cut.core.is_whole());
        assert_eq!(cut.core.take_changes(usize::MAX).instant, None);
        assert_eq!(cut.core.bookmark("dir"), Some(b"1".as_slice()));
    }
    assert!(slices >= USERS / 4, "{slices} slices");
    // Before, and after; the group that is gone is shown to nobody, also not to those who had it.
    let known = [
        "Domain Users House Section",
        "Domain Users House Roof Section",
    ];
    assert_eq!(seen, known.map(str::to_owned).into());
    assert_eq!(cut.core.bookmark("dir"), Some(b"2".as_slice()));
    assert!(cut.core.take_changes(usize::MAX).instant.is_some());
    let journal = |core: &Core| core.addresses_since(Seq(0)).collect::<Vec<_>>();
    assert_eq!(journal(&cut.core), journal(&whole.core));
    assert_eq!(cut.core.export(), whole.core.export());
    assert_eq!(cut.outcomes, whole.outcomes);
    cut.core.check_invariants();
}

#[test]
fn lists_of_groups_are_kept_as_long_as_somebody_has_them() {
    let mut w = company();
    assert_eq!(w.core.group_lists.len(), 2);
    w.core.apply(change(), UtcMillis(T0), &mut w.outcomes);
    w.core.check_invariants();
    assert_eq!(w.core.group_lists.len(), 1);
    w.now += 1000;
    for number in 1..=USERS {
        let left = w.send(logoff(None, 1, &address(number).to_string()));
        assert_eq!(left, Verdict::LoggedOff(EndReason::Logoff));
    }
    assert_eq!(w.core.group_lists.len(), 0);
}

#[test]
#[should_panic(expected = "a batch was begun and not done")]
fn nothing_else_changes_the_table_before_a_batch_is_done() {
    let mut w = company();
    w.core.begin(change(), UtcMillis(T0), &mut w.outcomes);
    w.core.advance(UtcMillis(T0 + DAY), 1, &mut w.outcomes);
}

#[test]
fn nobody_has_a_group_that_took_the_place_of_his_in_the_same_batch() {
    let mut w = company();
    let change = Batch::Directory(DirectoryBatch {
        directory: name("corp"),
        domain: name("corp.example.com"),
        facts: None,
        step: DirectoryStep::Poll,
        // Not a group any more; another takes its place, or that of the one before.
        upserts: vec![
            user(101, "half"),
            group(104, "Secret", &[]),
            user(100, "section"),
        ],
        removed: Vec::new(),
        bookmark: None,
    });
    w.core.begin(change, UtcMillis(T0), &mut w.outcomes);
    assert!(w.core.is_whole(), "it is done at once");
    assert_eq!(roles(&w.core, 1), ["Domain Users"]);
    w.core.check_invariants();
}
