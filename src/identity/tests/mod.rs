//! Tests of the core through its doors, named after the rules they hold.

mod apart;
mod browse;
mod changes;
mod ended;
mod heard;
mod slices;

use super::address::Networks;
use super::core::LogOffTarget;
use super::directory::*;
use super::event::*;
use super::name::Name;
use super::outcome::*;
use super::policy::*;
use super::probe::{ProbeAnswer, ProbeReport, ProbeTicket};
use super::time::UtcMillis;
use super::view::*;
use super::*;
use std::time::Duration;

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;
/// An arbitrary instant; tests count from it.
const T0: i64 = 1_700_000_000_000;

fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

fn policy() -> Policy {
    Policy {
        logoff_time: Duration::from_secs(8 * 3600),
        domains: vec![DomainPolicy {
            name: name("corp.example.com"),
            netbios: Some(name("CORP")),
            aliases: vec![name("old.example.com")],
        }],
        directories: vec![(name("corp"), name("corp.example.com"))],
        ..Policy::default()
    }
}

struct World {
    core: Core,
    now: i64,
    outcomes: Vec<Outcome>,
}

impl World {
    fn new() -> Self {
        Self::with(policy())
    }

    fn with(policy: Policy) -> Self {
        Self {
            core: Core::new(Epoch(7), policy),
            now: T0,
            outcomes: Vec::new(),
        }
    }

    fn send(&mut self, event: IdentityEvent) -> Verdict {
        let batch = Batch::Events {
            events: vec![event],
            bookmark: None,
        };
        self.core
            .apply(batch, UtcMillis(self.now), &mut self.outcomes);
        self.core.check_invariants();
        self.outcomes.last().expect("an outcome").verdict.clone()
    }

    fn directory(&mut self, step: DirectoryStep, upserts: Vec<DirectoryObject>) -> Applied {
        self.directory_batch(step, upserts, Vec::new())
    }

    fn directory_batch(
        &mut self,
        step: DirectoryStep,
        upserts: Vec<DirectoryObject>,
        removed: Vec<ObjectId>,
    ) -> Applied {
        let batch = DirectoryBatch {
            directory: name("corp"),
            domain: name("corp.example.com"),
            facts: None,
            step,
            upserts,
            removed,
            bookmark: Some(Bookmark {
                key: "dir".into(),
                value: b"1".as_slice().into(),
            }),
        };
        let batch = Batch::Directory(batch);
        let applied = self
            .core
            .apply(batch, UtcMillis(self.now), &mut self.outcomes);
        self.core.check_invariants();
        applied
    }

    fn advance_to(&mut self, now: i64) {
        while self.now < now {
            self.now = (self.now + 50_000).min(now);
            while self
                .core
                .advance(UtcMillis(self.now), 10, &mut self.outcomes)
            {}
        }
        self.core.check_invariants();
    }

    fn user_at(&self, address: &str) -> Option<String> {
        let address = address.parse().expect("an address");
        let view = self.core.address(address)?;
        Some(view.user?.user.name.to_owned())
    }

    fn device_at(&self, address: &str) -> Option<String> {
        let view = self.core.address(address.parse().expect("an address"))?;
        Some(view.device?.device.name.to_owned())
    }

    fn roles(&self, address: &str) -> Vec<String> {
        let view = self.core.address(address.parse().expect("an address"));
        let roles = view.and_then(|view| Some(view.user?.user.roles));
        let roles = roles.unwrap_or_default();
        roles.iter().map(str::to_owned).collect()
    }

    fn policy(&mut self, policy: Policy) {
        self.core
            .set_policy(policy, UtcMillis(self.now), &mut self.outcomes);
        self.core.check_invariants();
    }
}

fn corp(user: &str) -> UserRef {
    user_ref(user, None, Some(&name("CORP"))).expect("a user")
}

fn event(producer: &str, at: i64, address: &str, claim: Claim) -> IdentityEvent {
    IdentityEvent {
        producer: producer.into(),
        record: "1".into(),
        occurred_at: UtcMillis(T0 + at),
        received_at: UtcMillis(T0 + at),
        heard: None,
        address: (!address.is_empty()).then(|| address.parse().expect("an address")),
        claim,
    }
}

fn logon(user: &str, strength: Strength) -> Claim {
    Claim::Logon(Logon {
        user: corp(user),
        device: None,
        groups: Vec::new(),
        strength,
        logon_id: None,
    })
}

fn strong(user: &str, at: i64, address: &str) -> IdentityEvent {
    event("dc", at, address, logon(user, Strength::Strong))
}

fn weak(user: &str, at: i64, address: &str) -> IdentityEvent {
    event("dc", at, address, logon(user, Strength::Weak))
}

fn logoff(user: Option<&str>, at: i64, address: &str) -> IdentityEvent {
    let claim = Claim::Logoff {
        user: user.map(corp),
        logon_id: None,
    };
    event("vpn", at, address, claim)
}

fn device(device: &str, at: i64, address: &str, own_kerberos: bool) -> IdentityEvent {
    let claim = Claim::DeviceLogon {
        device: DeviceRef {
            name: name(device),
            qualifier: Qualifier::Domain(name("CORP")),
        },
        strength: Strength::Strong,
        own_kerberos,
    };
    event("dhcp", at, address, claim)
}

fn id(number: u32) -> ObjectId {
    let mut id = [0; 16];
    id[..4].copy_from_slice(&number.to_be_bytes());
    ObjectId(id)
}

fn user(number: u32, user: &str) -> DirectoryObject {
    DirectoryObject {
        id: id(number),
        sid: Some(format!("S-1-5-{number}").into()),
        name: name(user),
        kind: ObjectKind::User {
            upn: Some(name(&format!("{user}.person@mail.example.com"))),
            enabled: true,
            primary_group: Some("S-1-5-513".into()),
        },
    }
}

fn group(number: u32, group: &str, members: &[u32]) -> DirectoryObject {
    DirectoryObject {
        id: id(number),
        sid: Some(format!("S-1-5-{number}").into()),
        name: name(group),
        kind: ObjectKind::Group {
            members: members.iter().map(|number| id(*number)).collect(),
        },
    }
}

const A: &str = "10.1.2.3";

#[test]
fn rule_6_strong_displaces_all_and_weak_only_weak() {
    let mut w = World::new();
    w.now += 1000;
    assert_eq!(
        w.send(weak("alice", 1, A)),
        Verdict::LoggedOn { displaced: None }
    );
    assert_eq!(
        w.send(weak("bob", 2, A)),
        Verdict::LoggedOn {
            displaced: Some("corp.example.com\\alice".into())
        }
    );
    w.send(strong("carol", 3, A));
    assert_eq!(
        w.send(weak("alice", 4, A)),
        Verdict::Ignored(IgnoreReason::Weaker)
    );
    assert_eq!(w.send(weak("carol", 5, A)), Verdict::Renewed);
    assert_eq!(
        w.send(strong("dave", 2, A)),
        Verdict::Ignored(IgnoreReason::Older)
    );
    assert_eq!(w.user_at(A).as_deref(), Some("carol"));
    // Carol's weak renewal does not protect her from strong evidence that came late.
    w.send(strong("erin", 4, A));
    assert_eq!(w.user_at(A).as_deref(), Some("erin"));
}

#[test]
fn rule_7_a_logoff_ends_whom_it_names_and_loses_a_tie() {
    let mut w = World::new();
    w.now += 1000;
    w.send(strong("alice", 10, A));
    assert_eq!(
        w.send(logoff(Some("bob"), 20, A)),
        Verdict::Ignored(IgnoreReason::OtherUser)
    );
    assert_eq!(
        w.send(logoff(Some("alice"), 10, A)),
        Verdict::Ignored(IgnoreReason::Older)
    );
    assert_eq!(
        w.send(logoff(None, 11, A)),
        Verdict::LoggedOff(EndReason::Logoff)
    );
    assert_eq!(w.user_at(A), None);
    // What happened before the logoff comes too late, what happened after it does not.
    w.send(strong("alice", 10, A));
    assert_eq!(w.user_at(A), None);
    w.send(strong("alice", 12, A));
    assert_eq!(w.user_at(A).as_deref(), Some("alice"));
}

#[test]
fn rule_4_a_jump_spreads_the_overdue() {
    let mut w = World::new();
    for host in 1..=100 {
        w.send(strong("alice", 0, &format!("10.0.0.{host}")));
    }
    w.now += DAY;
    let now = UtcMillis(w.now);
    while w.core.advance(now, 10, &mut w.outcomes) {}
    let left = w.core.totals().sessions;
    assert!(left > 80, "{left} wait for their turn");
    w.advance_to(w.now + 300_000);
    assert!((20..80).contains(&w.core.totals().sessions));
    w.advance_to(w.now + 310_000);
    assert_eq!(w.core.totals().sessions, 0);
    assert_eq!(w.core.totals().tombstones, 100);
    w.advance_to(w.now + DAY + 1000);
    assert_eq!(w.core.totals().tombstones, 0);
    assert_eq!(w.core.floor(), w.core.last_seq());
}

#[test]
fn rule_13_roles_are_transitive_and_only_those_affected_are_reported() {
    let mut w = World::new();
    w.send(strong("alice", 0, A));
    w.send(strong("bob", 0, "10.1.2.4"));
    let before = w.core.last_seq();
    w.directory(
        DirectoryStep::FullBegin,
        vec![
            user(1, "Alice"),
            user(2, "Bob"),
            group(10, "Inner", &[1]),
            group(11, "Outer", &[10, 11]),
            group(513, "Domain Users", &[]),
        ],
    );
    w.directory(DirectoryStep::FullEnd, Vec::new());
    assert_eq!(w.user_at(A).as_deref(), Some("Alice"));
    assert_eq!(w.roles(A), ["Domain Users", "Inner", "Outer"]);
    assert_eq!(w.core.addresses_since(before).count(), 2);
    let before = w.core.last_seq();
    w.directory(
        DirectoryStep::Poll,
        vec![group(12, "Secret", &[11]), group(10, "Inner", &[1])],
    );
    assert_eq!(w.roles(A), ["Domain Users", "Inner", "Outer", "Secret"]);
    let changed: Vec<_> = w.core.addresses_since(before).map(|c| c.1).collect();
    assert_eq!(changed, [A.parse::<std::net::IpAddr>().expect("address")]);
}

#[test]
fn rule_14_a_user_who_went_loses_his_sessions_and_large_removals_are_said_twice() {
    let mut w = World::new();
    w.directory(
        DirectoryStep::FullBegin,
        (1..=300).map(|n| user(n, &format!("u{n}"))).collect(),
    );
    w.directory(DirectoryStep::FullEnd, Vec::new());
    w.send(strong("u1", 0, A));
    w.send(strong("u2", 0, "10.1.2.4"));
    w.directory_batch(DirectoryStep::Poll, Vec::new(), vec![id(1)]);
    assert_eq!(w.user_at(A), None);
    assert_eq!(
        w.send(strong("u1", 0, A)),
        Verdict::Ignored(IgnoreReason::NotInDirectory)
    );
    let many = (2..=150).map(id).collect();
    let applied = w.directory_batch(DirectoryStep::Poll, Vec::new(), many);
    assert!(applied.full_read_wanted);
    assert_eq!(w.core.held_removals()[0].objects, 149);
    assert_eq!(w.user_at("10.1.2.4").as_deref(), Some("u2"));
    w.directory(
        DirectoryStep::FullBegin,
        (151..=300).map(|n| user(n, &format!("u{n}"))).collect(),
    );
    let applied = w.directory(DirectoryStep::FullEnd, Vec::new());
    assert!(!applied.full_read_wanted);
    assert_eq!(w.user_at("10.1.2.4"), None);
    assert_eq!(w.core.totals().directory_users, 150);
}

#[test]
fn rule_2_a_upn_is_resolved_when_the_directory_learns_it() {
    let mut w = World::new();
    let claim = Claim::Logon(Logon {
        user: user_ref("alice.person@mail.example.com", None, None).expect("a user"),
        device: None,
        groups: Vec::new(),
        strength: Strength::Strong,
        logon_id: None,
    });
    w.send(event("vpn", 0, A, claim.clone()));
    assert_eq!(w.user_at(A).as_deref(), Some("alice.person"));
    assert_eq!(w.core.totals().unknown_domains, 1);
    w.directory(DirectoryStep::Poll, vec![user(1, "alice")]);
    assert_eq!(w.user_at(A).as_deref(), Some("alice"));
    assert_eq!(w.core.totals().unknown_domains, 0);
    // A rename follows the object, and the session follows the rename.
    w.directory(DirectoryStep::Poll, vec![user(1, "alicia")]);
    assert_eq!(w.user_at(A).as_deref(), Some("alicia"));
    assert!(w.core.user("alice", Some("CORP")).is_none());
    w.send(strong("alicia", 0, "10.1.2.4"));
    assert_eq!(w.core.totals().users, 1);
}

#[test]
fn rule_2_a_qualifier_becomes_the_domain_that_turns_out_to_have_it() {
    let mut policy = policy();
    policy.domains[0].netbios = None;
    let mut w = World::with(policy);
    w.send(strong("alice", 0, A));
    assert_eq!(w.core.totals().unknown_domains, 1);
    let batch = DirectoryBatch {
        directory: name("corp"),
        domain: name("corp.example.com"),
        facts: Some(DomainFacts {
            netbios: Some(name("CORP")),
            upn_suffixes: vec![name("mail.example.com")],
        }),
        step: DirectoryStep::Poll,
        upserts: Vec::new(),
        removed: Vec::new(),
        bookmark: None,
    };
    let now = UtcMillis(w.now);
    w.core.apply(Batch::Directory(batch), now, &mut w.outcomes);
    w.core.check_invariants();
    assert_eq!(w.core.totals().unknown_domains, 0);
    assert_eq!(
        w.core.addresses_of_user("alice", "corp.example.com").len(),
        1
    );
}

#[test]
fn rule_9_follow_device_carries_the_user_and_keeps_the_old_address() {
    let mut policy = policy();
    policy.follow_device = true;
    let mut w = World::with(policy);
    w.now += 1000;
    w.send(device("ws1$", 1, A, true));
    w.send(strong("alice", 2, A));
    w.send(device("WS1.corp.example.com", 3, "10.1.2.4", true));
    assert_eq!(w.user_at("10.1.2.4").as_deref(), Some("alice"));
    assert_eq!(w.user_at(A).as_deref(), Some("alice"));
    assert_eq!(w.device_at("10.1.2.4").as_deref(), Some("ws1"));
}

#[test]
fn rule_9_a_machine_with_two_addresses_does_not_hand_its_user_to_and_fro() {
    let b = "10.1.2.4";
    let mut policy = policy();
    policy.follow_device = true;
    let mut w = World::with(policy);
    w.now += 1000;
    w.send(device("ws1$", 1, A, true));
    w.send(strong("alice", 2, A));
    for hour in 0..10 {
        let at = 1000 + hour * HOUR;
        w.advance_to(T0 + at);
        w.send(device("ws1$", at, b, true));
        w.send(device("ws1$", at, A, true));
        assert_eq!(w.user_at(b).is_some(), hour < 8, "{hour}: the logoff time");
    }
    assert_eq!(w.user_at(A), None, "nobody but the machine was seen since");
    assert_eq!(w.user_at(b), None);
}

#[test]
fn rule_9_of_two_users_at_one_instant_the_one_at_the_lower_address_is_carried() {
    let mut policy = policy();
    policy.follow_device = true;
    for order in [["alice", "bob"], ["bob", "alice"]] {
        let mut w = World::with(policy.clone());
        w.now += 1000;
        for user in order {
            let address = if user == "alice" {
                "10.1.2.4"
            } else {
                "10.1.2.5"
            };
            w.send(device("ws1$", 1, address, false));
            w.send(strong(user, 2, address));
        }
        w.send(device("ws1$", 3, A, true));
        assert_eq!(w.user_at(A).as_deref(), Some("alice"), "{order:?}");
    }
}

#[test]
fn rule_14_a_logoff_is_remembered_of_a_user_who_went_and_came_back() {
    let mut w = World::new();
    w.now += 100_000;
    w.directory(DirectoryStep::Poll, vec![user(1, "alice")]);
    w.send(strong("alice", 10, A));
    w.send(logoff(Some("alice"), 50, A));
    w.directory_batch(DirectoryStep::Poll, Vec::new(), vec![id(1)]);
    w.directory(DirectoryStep::Poll, vec![user(1, "alice")]);
    w.send(strong("alice", 40, A));
    assert_eq!(w.user_at(A), None, "she had left after that");
}

#[test]
fn rule_17_a_user_gone_is_known_as_long_as_the_address_is() {
    let mut w = World::new();
    w.now += 1000;
    w.send(device("ws1", 1, A, false));
    w.send(strong("alice", 2, A));
    w.send(logoff(Some("alice"), 3, A));
    let address = A.parse().expect("address");
    let view = w.core.address(address).expect("a view");
    assert!(view.user.is_none() && view.device.is_some());
    assert_eq!(view.user_ended_at, Some(UtcMillis(w.now)));
}

#[test]
fn rule_24_filters_and_removed_directories_act_at_once() {
    let mut w = World::new();
    w.directory(DirectoryStep::Poll, vec![user(1, "alice"), user(2, "svc")]);
    w.send(strong("alice", 0, A));
    w.send(strong("svc", 0, "10.1.2.4"));
    w.send(strong("bob", 0, "10.9.0.1"));
    let mut filtered = policy();
    filtered.filter.exclude_users = Globs::new(["CORP\\svc"]).expect("globs");
    filtered.filter.exclude_addresses = Networks::new(["10.9.0.0/16".parse().expect("net")]);
    w.policy(filtered.clone());
    assert_eq!(w.core.totals().sessions, 1);
    assert_eq!(
        w.send(strong("svc", 0, A)),
        Verdict::Ignored(IgnoreReason::FilteredUser)
    );
    filtered.directories.clear();
    w.policy(filtered);
    assert_eq!(w.core.totals().sessions, 0);
    assert_eq!(w.core.totals().directory_users, 0);
    let last = w.outcomes.last().expect("an outcome");
    assert_eq!(last.verdict, Verdict::LoggedOff(EndReason::Directory));
}

#[test]
fn the_operator_logs_off_by_name_and_by_address() {
    let mut w = World::new();
    w.send(strong("alice", 0, A));
    w.send(strong("alice", 0, "10.1.2.4"));
    w.send(device("ws1", 0, A, false));
    let target = LogOffTarget::User {
        name: name("ALICE"),
        domain: Some(name("corp")),
    };
    let now = UtcMillis(w.now);
    let applied = w.core.apply(Batch::LogOff(target), now, &mut w.outcomes);
    assert_eq!(applied.applied, 2);
    assert_eq!(w.core.totals().sessions, 1);
    let target = LogOffTarget::Address(A.parse().expect("address"));
    w.core.apply(Batch::LogOff(target), now, &mut w.outcomes);
    assert_eq!(w.core.totals().sessions, 0);
    w.core.check_invariants();
}

#[test]
fn rule_14_who_was_displaced_stays_displaced_when_the_other_goes() {
    let mut w = World::new();
    w.directory(DirectoryStep::Poll, vec![user(1, "svc"), user(2, "carol")]);
    w.now += 1000;
    w.send(weak("carol", 1, A));
    w.send(weak("svc", 2, A));
    w.advance_to(T0 + 8 * HOUR + 10);
    assert_eq!(w.user_at(A), None);
    w.directory_batch(DirectoryStep::Poll, Vec::new(), vec![id(1)]);
    assert_eq!(w.user_at(A), None);
}

#[test]
fn rule_22_a_restored_core_is_the_same() {
    let mut w = World::new();
    w.directory(
        DirectoryStep::FullBegin,
        vec![
            user(1, "Alice"),
            user(2, "Bob"),
            group(10, "Staff", &[1, 2]),
        ],
    );
    w.directory(DirectoryStep::FullEnd, Vec::new());
    w.now += 1000;
    w.send(strong("alice", 1, A));
    w.send(weak("bob", 2, A));
    w.send(device("ws1", 3, A, false));
    w.send(strong("carol", 1, "2001:db8::1"));
    w.send(logoff(None, 5, "2001:db8::1"));
    w.send(logoff(Some("dave"), 5, "10.9.9.9"));
    let state = w.core.export();
    let now = UtcMillis(w.now);
    let restored = Core::restore(state.clone(), Epoch(7), policy(), now, &mut w.outcomes);
    let restored = restored.expect("what was exported");
    restored.check_invariants();
    assert_eq!(restored.export(), state);
    assert_eq!(restored.totals(), w.core.totals());
    w.core = restored;
    assert_eq!(w.roles(A), ["Staff"]);
    // What late evidence may still find is there too: Bob was at the address after Alice, who left before him.
    w.send(logoff(Some("alice"), 2, A));
    assert_eq!(w.user_at(A).as_deref(), Some("Bob"));
}

#[test]
fn rule_24_a_restart_without_a_directory_ends_its_users_sessions() {
    let mut w = World::new();
    w.directory(DirectoryStep::Poll, vec![user(1, "alice")]);
    w.send(strong("alice", 0, A));
    let mut without = policy();
    without.directories.clear();
    let now = UtcMillis(w.now);
    let core = Core::restore(w.core.export(), Epoch(8), without, now, &mut w.outcomes);
    let core = core.expect("what was exported");
    core.check_invariants();
    assert_eq!(core.totals().sessions, 0);
    assert_eq!(core.totals().directory_users, 0);
}

#[test]
fn rule_7_a_logoff_is_kept_as_long_as_what_it_judges_may_come() {
    let mut w = World::new();
    w.send(strong("alice", 0, A));
    w.advance_to(T0 + 8 * HOUR);
    assert_eq!(w.user_at(A), None);
    // The address is forgotten a day after her session ended; this comes just before.
    let left = 32 * HOUR - 1000;
    w.advance_to(T0 + left);
    w.send(logoff(Some("bob"), left, A));
    w.advance_to(T0 + left + HOUR);
    let verdict = w.send(weak("bob", left - HOUR, A));
    assert_eq!(verdict, Verdict::Ignored(IgnoreReason::Older));
    assert_eq!(w.user_at(A), None);
}

#[test]
fn rule_16_a_renewal_does_not_move_the_journal() {
    let mut w = World::new();
    w.now += 1000;
    w.send(strong("alice", 1, A));
    let before = w.core.last_seq();
    w.send(weak("alice", 2, A));
    w.send(strong("alice", 3, A));
    assert_eq!(w.core.last_seq(), before);
    assert_eq!(w.core.cursor_at(UtcMillis(w.now)), Seq(0));
    w.now += 60_000;
    w.send(strong("bob", 3, "10.1.2.4"));
    let since = w.core.cursor_at(UtcMillis(w.now));
    assert_eq!(w.core.addresses_since(since).count(), 1);
}

#[test]
fn rule_11_a_shared_address_reports_no_user() {
    let mut w = World::new();
    w.send(strong("alice", 0, A));
    let mut shared = policy();
    shared.shared_addresses = Networks::new(["10.1.2.0/24".parse().expect("net")]);
    w.policy(shared);
    let view = w.core.address(A.parse().expect("address"));
    let view = view.expect("a view");
    assert!(view.shared);
    assert!(view.user_ended_at.is_some());
}

#[test]
fn rule_13_asserted_groups_count_only_within_the_scope() {
    let mut policy = policy();
    let roles = Globs::new(["vpn-*"]).expect("globs");
    let scope = Scope {
        roles,
        domains: Some(vec![name("CORP")]),
        ..Scope::default()
    };
    policy.scopes.insert("vpn".into(), scope);
    let mut w = World::with(policy);
    w.now += 1000;
    let asserting = |user: UserRef| {
        Claim::Logon(Logon {
            user,
            device: None,
            groups: vec![name("VPN-Users"), name("Admins")],
            strength: Strength::Strong,
            logon_id: None,
        })
    };
    w.send(event("vpn", 1, A, asserting(corp("alice"))));
    assert_eq!(w.roles(A), ["VPN-Users"]);
    w.send(strong("alice", 2, A));
    assert_eq!(w.roles(A), ["VPN-Users"]);
    let other = user_ref("LAB\\alice", None, None).expect("a user");
    assert_eq!(
        w.send(event("vpn", 3, A, asserting(other))),
        Verdict::Ignored(IgnoreReason::OutOfScope)
    );
    assert_eq!(w.core.totals().unknown_domains, 0);
}

mod interleaving {
    use super::*;
    use proptest::prelude::*;

    /// (time, kind, user) of one producer; its order is that of time.
    type Said = Vec<(i64, u8, u8)>;

    fn said() -> impl Strategy<Value = Said> {
        prop::collection::vec((0i64..40, 0u8..4, 0u8..3), 0..6).prop_map(|mut said| {
            said.sort_by_key(|said| said.0);
            said
        })
    }

    fn to_event(producer: usize, (at, kind, user): (i64, u8, u8)) -> IdentityEvent {
        let user = ["alice", "bob", "carol"][usize::from(user)];
        let mut event = match kind {
            0 => strong(user, at, A),
            1 => weak(user, at, A),
            2 => logoff(Some(user), at, A),
            _ => logoff(None, at, A),
        };
        event.producer = format!("p{producer}").as_str().into();
        event
    }

    fn table_after(producers: &[Said], order: &[usize]) -> Option<(String, i64, Strength)> {
        let mut w = World::new();
        w.now += 1000;
        let mut next = vec![0; producers.len()];
        let turns = order.iter().map(|turn| turn % producers.len());
        let rest = (0..producers.len()).flat_map(|p| vec![p; producers[p].len()]);
        for producer in turns.chain(rest) {
            if let Some(said) = producers[producer].get(next[producer]) {
                next[producer] += 1;
                w.send(to_event(producer, *said));
            }
        }
        let view = w.core.address(A.parse().expect("address"))?;
        let user = view.user?;
        let evidence = user.evidence;
        Some((
            user.user.name.to_owned(),
            evidence.occurred_at.0,
            evidence.strength,
        ))
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
        #[test]
        fn rule_6_any_interleaving_of_producers_gives_the_same_table(
            producers in prop::collection::vec(said(), 3),
            order in prop::collection::vec(0usize..3, 0..20),
            other in prop::collection::vec(0usize..3, 0..20),
        ) {
            prop_assert_eq!(table_after(&producers, &order), table_after(&producers, &other));
        }
    }
}

#[test]
fn rule_14_forgetting_one_leaves_the_sessions_of_others() {
    let mut w = World::new();
    w.directory(DirectoryStep::Poll, vec![user(1, "alice"), user(2, "bob")]);
    w.now += 1000;
    w.send(strong("alice", 1, A));
    w.send(logoff(Some("alice"), 2, A));
    w.send(weak("bob", 3, A));
    w.send(logoff(Some("alice"), 4, A));
    assert_eq!(w.user_at(A).as_deref(), Some("bob"));
    w.directory_batch(DirectoryStep::Poll, Vec::new(), vec![id(1)]);
    assert_eq!(w.user_at(A).as_deref(), Some("bob"));
}

const LOGOFF: i64 = 8 * HOUR;

/// Everything in 10/8 can be asked, with an hour of grace.
fn probing() -> Policy {
    Policy {
        probe_networks: Networks::new(["10.0.0.0/8".parse().expect("a network")]),
        grace: Duration::from_secs(3600),
        ..policy()
    }
}

impl World {
    /// What a computer answers that is asked now.
    fn answer(&mut self, address: &str, healthy: bool, answer: ProbeAnswer) -> Verdict {
        let subject = self
            .core
            .probe_subject(address.parse().expect("an address"));
        self.answer_to(address, subject.ticket, healthy, answer)
    }

    fn answer_to(
        &mut self,
        address: &str,
        ticket: ProbeTicket,
        healthy: bool,
        answer: ProbeAnswer,
    ) -> Verdict {
        self.now += 1;
        let report = ProbeReport {
            address: address.parse().expect("an address"),
            producer: "pc-probe".into(),
            record: "wmi".into(),
            ticket,
            asked_at: UtcMillis(self.now),
            answered_at: UtcMillis(self.now),
            healthy,
            answer,
            device: None,
        };
        self.core.apply(
            Batch::Probe(report),
            UtcMillis(self.now),
            &mut self.outcomes,
        );
        self.core.check_invariants();
        self.outcomes.last().expect("an outcome").verdict.clone()
    }

    fn ended(&self, address: &str) -> Option<(String, &'static str)> {
        let view = self.core.address(address.parse().expect("an address"))?;
        let ended = view.last_ended?;
        Some((ended.user.to_string(), ended.word()))
    }

    /// alice at 10.0.0.1, whose logoff time is just over.
    fn doubted() -> Self {
        let mut world = Self::with(probing());
        world.send(on("dc1", T0, "10.0.0.1", "alice"));
        world.advance_to(T0 + LOGOFF);
        assert_eq!(world.core.doubted_count(), 1);
        assert_eq!(world.user_at("10.0.0.1").as_deref(), Some("alice"));
        world
    }
}

/// A logon at an instant.
fn on(producer: &str, at: i64, address: &str, user: &str) -> IdentityEvent {
    event(producer, at - T0, address, logon(user, Strength::Strong))
}

fn signed_on(users: &[&str]) -> ProbeAnswer {
    ProbeAnswer::Users(users.iter().map(|user| corp(user)).collect())
}

#[test]
fn rule_10_where_nobody_can_be_asked_an_expired_session_ends() {
    let mut world = World::with(probing());
    world.send(on("dc1", T0, "192.0.2.1", "alice"));
    world.advance_to(T0 + LOGOFF - 1);
    assert_eq!(world.user_at("192.0.2.1").as_deref(), Some("alice"));
    world.advance_to(T0 + LOGOFF);
    assert_eq!(world.user_at("192.0.2.1"), None);
    let ended = Some(("corp.example.com\\alice".to_owned(), "expired"));
    assert_eq!(world.ended("192.0.2.1"), ended);
}

#[test]
fn rule_10_a_doubted_session_stays_until_its_grace_is_over() {
    let mut world = World::doubted();
    world.advance_to(T0 + LOGOFF + HOUR - 1);
    assert_eq!(world.user_at("10.0.0.1").as_deref(), Some("alice"));
    world.advance_to(T0 + LOGOFF + HOUR);
    assert_eq!(world.user_at("10.0.0.1"), None);
    assert_eq!(world.ended("10.0.0.1").expect("it ended").1, "unconfirmed");
    assert_eq!(world.core.doubted_count(), 0);
}

#[test]
fn rule_8_a_confirmed_session_begins_its_logoff_time_anew() {
    let mut world = World::doubted();
    let before = world.core.last_seq();
    let verdict = world.answer("10.0.0.1", true, signed_on(&["alice"]));
    assert_eq!(verdict, Verdict::Renewed);
    assert_eq!(world.core.doubted_count(), 0);
    assert_eq!(world.core.last_seq(), before, "firewalls hear nothing new");
    world.advance_to(T0 + 2 * LOGOFF);
    assert_eq!(world.core.doubted_count(), 0);
    world.advance_to(T0 + 2 * LOGOFF + 1);
    assert_eq!(world.core.doubted_count(), 1, "and is doubted anew");
}

#[test]
fn rule_10_another_user_replaces_and_nobody_ends() {
    let mut world = World::doubted();
    let verdict = world.answer("10.0.0.1", false, signed_on(&["bob"]));
    let displaced = Some("corp.example.com\\alice".into());
    assert_eq!(verdict, Verdict::LoggedOn { displaced });
    assert_eq!(world.user_at("10.0.0.1").as_deref(), Some("bob"));
    assert_eq!(world.ended("10.0.0.1").expect("hers ended").1, "displaced");

    let mut world = World::doubted();
    let verdict = world.answer("10.0.0.1", false, ProbeAnswer::Nobody);
    assert_eq!(verdict, Verdict::LoggedOff(EndReason::ProbeNobody));
    assert_eq!(world.user_at("10.0.0.1"), None);
    // What happened before the question cannot bring her back; what happens after it can.
    let late = on("dc2", world.now - 1, "10.0.0.1", "alice");
    assert_eq!(world.send(late), Verdict::Ignored(IgnoreReason::Older));
    world.now += 10;
    world.send(on("dc2", world.now, "10.0.0.1", "alice"));
    assert_eq!(world.user_at("10.0.0.1").as_deref(), Some("alice"));
}

#[test]
fn rule_10_refused_and_no_answer_end_only_while_probing_is_healthy() {
    for (answer, reason) in [
        (ProbeAnswer::Refused, EndReason::ProbeRefused),
        (ProbeAnswer::Unreachable, EndReason::ProbeUnreachable),
    ] {
        let mut world = World::doubted();
        let verdict = world.answer("10.0.0.1", false, answer.clone());
        assert_eq!(verdict, Verdict::Ignored(IgnoreReason::ProbingUnhealthy));
        assert_eq!(world.core.doubted_count(), 1, "still in doubt");
        let verdict = world.answer("10.0.0.1", true, answer.clone());
        assert_eq!(verdict, Verdict::LoggedOff(reason));
        assert_eq!(world.user_at("10.0.0.1"), None);

        let mut world = World::with(probing());
        world.send(on("dc1", T0, "10.0.0.1", "alice"));
        let verdict = world.answer("10.0.0.1", true, answer);
        assert_eq!(verdict, Verdict::Ignored(IgnoreReason::NoAnswer));
        assert_eq!(
            world.user_at("10.0.0.1").as_deref(),
            Some("alice"),
            "not in doubt"
        );
    }
    let mut world = World::doubted();
    let verdict = world.answer("10.0.0.1", false, ProbeAnswer::NotProbed);
    assert_eq!(verdict, Verdict::LoggedOff(EndReason::Expired));
}

#[test]
fn rule_11_several_users_keep_one_of_them_and_make_nobody() {
    let mut world = World::doubted();
    let verdict = world.answer("10.0.0.1", true, signed_on(&["bob", "alice"]));
    assert_eq!(verdict, Verdict::Renewed);
    let verdict = world.answer("10.0.0.1", true, signed_on(&["bob", "carol"]));
    assert_eq!(verdict, Verdict::LoggedOff(EndReason::ProbeOtherUser));
    assert_eq!(world.user_at("10.0.0.1"), None);
    let verdict = world.answer("10.0.0.1", true, signed_on(&["bob", "carol"]));
    assert_eq!(verdict, Verdict::Ignored(IgnoreReason::SeveralUsers));
    let verdict = world.answer("10.0.0.1", true, signed_on(&["bob"]));
    assert_eq!(verdict, Verdict::LoggedOn { displaced: None });
}

#[test]
fn rule_11_an_answer_counts_only_if_the_session_did_not_change_meanwhile() {
    let mut world = World::doubted();
    let ticket = world
        .core
        .probe_subject("10.0.0.1".parse().expect("an address"))
        .ticket;
    world.now += 10;
    world.send(on("dc1", world.now, "10.0.0.1", "alice"));
    let verdict = world.answer_to("10.0.0.1", ticket, true, ProbeAnswer::Nobody);
    assert_eq!(verdict, Verdict::Ignored(IgnoreReason::SessionChanged));
    assert_eq!(world.user_at("10.0.0.1").as_deref(), Some("alice"));
}

#[test]
fn rule_5_an_answer_that_is_past_its_deadline_makes_and_keeps_no_session() {
    let mut world = World::doubted();
    let address = "10.0.0.1".parse().expect("an address");
    let report = |world: &World, users: &[&str], asked_at| ProbeReport {
        address,
        producer: "pc-probe".into(),
        record: "wmi".into(),
        ticket: world.core.probe_subject(address).ticket,
        asked_at: UtcMillis(asked_at),
        answered_at: UtcMillis(world.now),
        healthy: true,
        answer: signed_on(users),
        device: Some(DeviceRef {
            name: name("ws1"),
            qualifier: Qualifier::Domain(name("CORP")),
        }),
    };
    let asked_at = world.now;
    // Asleep between the question and the answer.
    world.now += LOGOFF;
    for users in [&["alice"][..], &["bob"]] {
        let report = report(&world, users, asked_at);
        let now = UtcMillis(world.now);
        world
            .core
            .apply(Batch::Probe(report), now, &mut world.outcomes);
        let verdict = world.outcomes.last().map(|outcome| &outcome.verdict);
        assert_eq!(verdict, Some(&Verdict::Ignored(IgnoreReason::PastDeadline)));
        assert_eq!(world.user_at("10.0.0.1").as_deref(), Some("alice"));
        assert_eq!(world.core.doubted_count(), 1, "the grace is not begun anew");
        let view = world.core.address(address).expect("a view");
        assert!(view.device.is_none());
    }
}

#[test]
fn rule_11_a_shared_address_is_not_doubted_and_answers_change_nobody() {
    let mut policy = probing();
    policy.shared_addresses = Networks::new(["10.0.0.0/24".parse().expect("a network")]);
    let mut world = World::with(policy);
    world.send(on("dc1", T0, "10.0.0.1", "alice"));
    let verdict = world.answer("10.0.0.1", true, ProbeAnswer::Nobody);
    assert_eq!(verdict, Verdict::Ignored(IgnoreReason::SharedAddress));
    world.advance_to(T0 + LOGOFF);
    assert_eq!(world.core.doubted_count(), 0);
    assert_eq!(world.user_at("10.0.0.1"), None);
}

#[test]
fn rule_19_an_excluded_user_who_is_signed_on_is_nobody() {
    let mut policy = probing();
    policy.filter.exclude_users = Globs::new(["svc-*"]).expect("globs");
    let mut world = World::with(policy);
    world.send(on("dc1", T0, "10.0.0.1", "alice"));
    let verdict = world.answer("10.0.0.1", true, signed_on(&["alice", "svc-scan"]));
    assert!(matches!(verdict, Verdict::Renewed), "{verdict:?}");
    let verdict = world.answer("10.0.0.1", true, signed_on(&["bob", "svc-scan"]));
    assert!(matches!(verdict, Verdict::LoggedOn { .. }), "{verdict:?}");
    let verdict = world.answer("10.0.0.1", true, signed_on(&["svc-scan"]));
    assert_eq!(verdict, Verdict::LoggedOff(EndReason::ProbeOtherUser));
    let verdict = world.answer("10.0.0.1", true, signed_on(&["svc-scan"]));
    assert_eq!(verdict, Verdict::Ignored(IgnoreReason::FilteredUser));
}

#[test]
fn rule_4_a_suspended_machine_doubts_at_once_and_gives_time_to_ask() {
    let mut world = World::with(probing());
    for host in 1..=50 {
        let address = format!("10.0.0.{host}");
        world.send(on("dc1", T0, &address, &format!("u{host}")));
    }
    // Asleep for two days.
    world.now += 2 * DAY;
    world.advance_to(world.now + 1);
    assert_eq!(world.core.doubted_count(), 50, "nobody is logged off");
    let woken = world.now;
    // And again, in the middle of the doubt: the grace is over, but there was no time to ask.
    world.now += 2 * DAY;
    world.advance_to(world.now + 1);
    assert!(
        world.core.doubted_count() > 40,
        "ended in their turn, not at once"
    );
    assert!(woken < world.now);
    world.advance_to(world.now + 600_000);
    assert_eq!(world.core.doubted_count(), 0);
}

#[test]
fn rule_24_a_reload_ends_doubts_where_nobody_is_asked_any_more() {
    let mut world = World::doubted();
    world.policy(Policy {
        logoff_time: Duration::from_secs(24 * 3600),
        ..probing()
    });
    assert_eq!(
        world.core.doubted_count(),
        0,
        "no longer over its logoff time"
    );
    world.advance_to(T0 + DAY - 1);
    assert_eq!(world.user_at("10.0.0.1").as_deref(), Some("alice"));
    world.advance_to(T0 + DAY);
    assert_eq!(world.core.doubted_count(), 1);
    world.policy(policy());
    assert_eq!(world.core.doubted_count(), 0);
    world.advance_to(world.now + 1);
    assert_eq!(world.ended("10.0.0.1").expect("it ended").1, "expired");
}

#[test]
fn rule_10_a_longer_logoff_time_that_is_over_too_begins_no_grace_anew() {
    let mut world = World::doubted();
    world.advance_to(T0 + LOGOFF + HOUR / 2);
    world.policy(Policy {
        logoff_time: Duration::from_secs(8 * 3600 + 60),
        ..probing()
    });
    assert_eq!(world.core.doubted_count(), 1);
    world.advance_to(T0 + LOGOFF + HOUR - 1);
    assert_eq!(world.user_at("10.0.0.1").as_deref(), Some("alice"));
    world.advance_to(T0 + LOGOFF + HOUR);
    assert_eq!(world.user_at("10.0.0.1"), None);
}

#[test]
fn rule_22_doubts_and_ends_survive_a_restart() {
    let mut world = World::doubted();
    world.send(on("dc1", world.now, "10.0.0.2", "bob"));
    world.answer("10.0.0.2", true, ProbeAnswer::Nobody);
    let state = world.core.export();
    let restored = Core::restore(
        state.clone(),
        Epoch(7),
        probing(),
        UtcMillis(world.now),
        &mut Vec::new(),
    );
    world.core = restored.expect("our own state");
    world.core.check_invariants();
    assert_eq!(world.core.export(), state);
    assert_eq!(world.ended("10.0.0.2").expect("it ended").1, "probe-nobody");
    world.advance_to(T0 + LOGOFF + HOUR);
    assert_eq!(world.ended("10.0.0.1").expect("it ended").1, "unconfirmed");
}

#[test]
fn a_computer_is_known_by_its_full_name() {
    let mut world = World::with(probing());
    let at = "10.0.0.1".parse().expect("an address");
    assert_eq!(world.core.probe_subject(at).host_name, None);
    world.send(device("ws1", 0, "10.0.0.1", false));
    let name = world.core.probe_subject(at).host_name;
    assert_eq!(name.as_deref(), Some("ws1.corp.example.com"));
}

#[test]
fn rule_16_doubts_are_read_in_order_and_in_parts() {
    let mut world = World::with(probing());
    for host in 1..=5 {
        let address = format!("10.0.0.{host}");
        world.send(on("dc1", T0 - host, &address, "alice"));
    }
    world.advance_to(T0 + LOGOFF);
    let first: Vec<_> = world.core.doubted(None, 2).collect();
    assert_eq!(first.len(), 2);
    let after = first.last().map(|doubt| (doubt.since, doubt.address));
    let rest: Vec<_> = world.core.doubted(after, 10).collect();
    assert_eq!(rest.len(), 3);
    assert!(
        first
            .iter()
            .chain(&rest)
            .is_sorted_by_key(|d| (d.since, d.address))
    );
}

#[test]
fn a_log_off_by_name_bears_with_users_of_two_domains_at_one_address() {
    let mut w = World::new();
    w.now += 1000;
    w.send(weak("LAB\\alice", 1, A));
    w.send(weak("alice", 2, A));
    let target = LogOffTarget::User {
        name: name("alice"),
        domain: None,
    };
    let now = UtcMillis(w.now);
    w.core.apply(Batch::LogOff(target), now, &mut w.outcomes);
    w.core.check_invariants();
    assert_eq!(w.user_at(A), None);
}

#[test]
fn rule_24_a_removed_domain_takes_users_along_who_met_at_one_address() {
    let mut two = policy();
    two.domains.push(DomainPolicy {
        name: name("lab.example.com"),
        netbios: Some(name("LAB")),
        aliases: Vec::new(),
    });
    let mut w = World::with(two);
    w.now += 1000;
    w.send(weak("LAB\\alice", 1, "10.1.2.4"));
    w.send(weak("LAB\\bob", 1, A));
    w.send(weak("LAB\\alice", 2, A));
    w.policy(policy());
    assert_eq!(w.user_at(A), None);
}
