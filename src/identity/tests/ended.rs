//! Sessions of the past: each is told once, and together with those that go on they are all that was ever seen.

use super::super::ended::Ended;
use super::super::subject::SubjectKind;
use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

const PLACES: [&str; 3] = ["10.7.0.1", "10.7.0.2", "10.7.0.3"];

fn kept() -> Policy {
    Policy {
        history: true,
        ..policy()
    }
}

fn one(w: &mut World) -> Ended {
    let mut ended = w.core.take_ended();
    assert_eq!(ended.len(), 1, "{ended:?}");
    ended.remove(0)
}

#[test]
fn an_end_says_who_from_when_to_when_and_why() {
    let mut w = World::with(kept());
    w.now = T0 + 10_000;
    w.send(device("pc7", 1_000, A, false));
    w.send(strong("alice", 2_000, A));
    w.now = T0 + 60_000;
    w.send(strong("bob", 50_000, A));
    let ended = one(&mut w);
    assert_eq!((ended.word(), ended.reason), ("displaced", None));
    assert_eq!(
        (&*ended.domain, &*ended.name),
        ("corp.example.com", "alice")
    );
    assert_eq!(ended.device.as_deref(), Some("corp.example.com\\pc7$"));
    assert_eq!(ended.next.as_deref(), Some("corp.example.com\\bob"));
    assert_eq!(ended.since, UtcMillis(T0 + 2_000));
    assert_eq!(ended.until, UtcMillis(T0 + 50_000), "by the evidence");
    assert_eq!(ended.ended, UtcMillis(T0 + 60_000), "when it was known");
    assert_eq!(ended.evidence.occurred_at, UtcMillis(T0 + 2_000));
    assert_eq!(ended.evidence.strength, Strength::Strong);
    w.send(logoff(Some("bob"), 55_000, A));
    let ended = one(&mut w);
    assert_eq!(
        (ended.word(), &*ended.by, &*ended.by_record),
        ("logoff", "vpn", "1")
    );
    assert_eq!(ended.until, UtcMillis(T0 + 55_000));
    w.advance_to(T0 + 9 * HOUR);
    let ended = one(&mut w);
    assert_eq!((ended.word(), ended.kind), ("expired", SubjectKind::Device));
    assert_eq!(ended.until, ended.ended, "it was there until it was ended");
}

#[test]
fn a_session_that_goes_on_under_another_name_has_not_ended() {
    let mut w = World::with(kept());
    w.now = T0 + 10_000;
    let upn = user_ref("alice.person@mail.example.com", None, None).expect("a user");
    let claim = Claim::Logon(Logon {
        user: upn,
        device: None,
        groups: Vec::new(),
        strength: Strength::Strong,
        logon_id: None,
    });
    w.send(event("vpn", 1_000, A, claim));
    w.directory(DirectoryStep::Poll, vec![user(1, "alice")]);
    assert_eq!(w.user_at(A).as_deref(), Some("alice"));
    assert_eq!(w.core.take_ended(), Vec::new());
    w.send(logoff(Some("alice"), 5_000, A));
    let ended = one(&mut w);
    assert_eq!(
        (&*ended.name, ended.since),
        ("alice", UtcMillis(T0 + 1_000))
    );
}

#[test]
fn nothing_is_kept_unless_it_is_wanted() {
    let mut w = World::new();
    w.now = T0 + 10_000;
    w.send(strong("alice", 2_000, A));
    w.send(logoff(Some("alice"), 3_000, A));
    assert_eq!(w.core.take_ended(), Vec::new());
}

/// Who holds each slot.
type Holders = BTreeMap<(String, SubjectKind), String>;

fn holders(w: &World) -> Holders {
    let mut holders = Holders::new();
    for place in PLACES {
        if let Some(user) = w.user_at(place) {
            holders.insert((place.to_owned(), SubjectKind::User), user);
        }
        if let Some(device) = w.device_at(place) {
            holders.insert((place.to_owned(), SubjectKind::Device), device);
        }
    }
    holders
}

#[derive(Clone, Debug)]
enum Act {
    Event(u8, u8, u8, i64),
    Wait(i64),
    Disable(u8),
    Enable,
    Exclude(u8),
    LogOff(u8),
    Restart,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        12 => (0u8..6, 0u8..3, 0u8..3, 0i64..600_000).prop_map(|(k, u, p, late)| Act::Event(k, u, p, late)),
        2 => (1i64..5 * HOUR).prop_map(Act::Wait),
        1 => (0u8..3).prop_map(Act::Disable),
        1 => Just(Act::Enable),
        1 => (0u8..4).prop_map(Act::Exclude),
        1 => (0u8..3).prop_map(Act::LogOff),
        1 => Just(Act::Restart),
    ]
}

fn restart(w: &mut World, policy: Policy) {
    let state = w.core.export();
    let ended = w.core.take_ended();
    assert_eq!(ended, Vec::new(), "taken after every step");
    let (epoch, now) = (state.epoch, UtcMillis(w.now));
    w.core = Core::restore(state, epoch, policy, now, &mut w.outcomes).expect("its own state");
}

fn perform(w: &mut World, act: &Act, at: i64) {
    let users = ["alice", "bob", "carol"];
    match *act {
        Act::Event(kind, user, place, late) => {
            let (user, place) = (users[usize::from(user)], PLACES[usize::from(place)]);
            let at = at - late;
            let _verdict = w.send(match kind {
                0 => strong(user, at, place),
                1 => weak(user, at, place),
                2 => logoff(Some(user), at, place),
                3 => logoff(None, at, place),
                4 => device(&format!("pc-{user}"), at, place, true),
                _ => logoff(Some(user), at, ""),
            });
        }
        Act::Wait(millis) => w.advance_to(w.now + millis),
        Act::Disable(gone) => {
            let all = (1u32..).zip(users);
            let stay = all.filter(|(number, _)| *number != u32::from(gone) + 1);
            let there = stay.map(|(number, name)| user(number, name)).collect();
            w.directory_batch(DirectoryStep::Poll, there, vec![id(u32::from(gone) + 1)]);
        }
        Act::Enable => {
            let all = (1u32..).zip(users);
            let there = all.map(|(number, name)| user(number, name)).collect();
            w.directory(DirectoryStep::Poll, there);
        }
        Act::Exclude(who) => {
            let mut new = kept();
            let names = users.get(usize::from(who)).copied();
            new.filter.exclude_users = Globs::new(names).expect("globs");
            w.policy(new);
        }
        Act::LogOff(place) => {
            let place = PLACES[usize::from(place)].parse().expect("address");
            let batch = Batch::LogOff(LogOffTarget::Address(place));
            w.core.apply(batch, UtcMillis(w.now), &mut w.outcomes);
        }
        Act::Restart => {
            let policy = w.core.policy().clone();
            restart(w, policy);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    /// Whoever looks at the table after every step sees a holder of a slot go exactly when an end of it is told, and the
    /// next one there from then on.
    #[test]
    fn ended_sessions_and_those_that_go_on_are_all_that_was_seen(
        acts in prop::collection::vec(act(), 1..60),
    ) {
        let mut w = World::with(kept());
        let mut seen = Holders::new();
        for (step, act) in (1i64..).zip(&acts) {
            w.now = w.now.max(T0 + step * 60_000);
            let at = w.now - T0;
            perform(&mut w, act, at);
            let now = holders(&w);
            // Who came and went again within the step was seen by nobody; who was seen before must be told of.
            let mut before = seen.clone();
            for ended in w.core.take_ended() {
                let slot = (ended.address.to_string(), ended.kind);
                prop_assert!(ended.since <= ended.until && ended.until <= ended.ended, "{:?}", ended);
                prop_assert!(ended.ended <= UtcMillis(w.now));
                prop_assert_eq!(before.get(&slot).map(String::as_str), Some(&*ended.name), "{:?}", ended);
                match &ended.next {
                    Some(next) => {
                        let shown = next.rsplit('\\').next().unwrap_or_default();
                        before.insert(slot, shown.trim_end_matches('$').to_owned());
                    }
                    None => {
                        before.remove(&slot);
                    }
                }
            }
            for (slot, holder) in &now {
                // Whoever came where nobody was is no end.
                before.entry(slot.clone()).or_insert_with(|| holder.clone());
            }
            prop_assert_eq!(&before, &now, "after {:?}", act);
            seen = now;
        }
    }
}
