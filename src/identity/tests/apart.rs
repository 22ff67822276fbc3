//! Collectors apart: what several cores feed to one must give the table that one core makes of everything (rule 27).

use std::collections::BTreeMap;
use std::net::IpAddr;

use proptest::prelude::*;

use super::*;
use crate::identity::collector::{
    AddressReport, CollectorBatch, FactKind, FeedItem, ToldFact, ToldSubject,
};

/// A Collector's end: a core, and how far the Server has what it says.
struct Teller {
    name: &'static str,
    world: World,
    position: Seq,
    /// A pass from the beginning is under way: what it named so far.
    marks: Option<Vec<IpAddr>>,
}

impl Teller {
    fn new(name: &'static str) -> Self {
        let policy = Policy {
            feed: true,
            ..policy()
        };
        Self {
            name,
            world: World::with(policy),
            position: Seq(0),
            marks: Some(Vec::new()),
        }
    }

    fn begin_again(&mut self) {
        self.position = Seq(0);
        self.marks = Some(Vec::new());
    }

    /// Hears an event when it happens.
    fn send(&mut self, event: IdentityEvent) {
        self.world.now = self.world.now.max(event.occurred_at.0);
        self.world.send(event);
    }

    /// Tells the Server the next so many keys; at the end of a pass from the beginning it sweeps.
    fn tell(&mut self, server: &mut World, most: usize) {
        server.now = server.now.max(self.world.now);
        if self.position < self.world.core.feed_floor() && self.marks.is_none() {
            self.begin_again();
        }
        let items: Vec<_> = self
            .world
            .core
            .feed_since(self.position)
            .take(most)
            .collect();
        let complete = items.len() < most;
        let mut reports = Vec::new();
        let mut batches = Vec::new();
        for (position, item) in items {
            self.position = position;
            match item {
                FeedItem::Address(report) => reports.push(report),
                FeedItem::Object { is, .. } => batches.push((vec![is.clone()], Vec::new())),
                FeedItem::Gone { id, .. } => batches.push((Vec::new(), vec![id])),
                FeedItem::Domain { .. } => {}
            }
        }
        for (upserts, removed) in batches {
            server.apply(Batch::Directory(DirectoryBatch {
                directory: name(&format!("{}/corp", self.name)),
                domain: name("corp.example.com"),
                facts: None,
                step: DirectoryStep::Poll,
                upserts,
                removed,
                bookmark: None,
            }));
        }
        if let Some(marks) = &mut self.marks {
            marks.extend(reports.iter().map(|report| report.address));
        }
        server.hear(self.name, reports);
        if complete && let Some(marks) = self.marks.take() {
            let (all, rest) = server.core.addresses_of_collector(self.name, 0, usize::MAX);
            assert_eq!(rest, None);
            let gone = all.into_iter().filter(|address| !marks.contains(address));
            server.hear(self.name, gone.map(nothing_at).collect());
        }
    }
}

fn nothing_at(address: IpAddr) -> AddressReport {
    AddressReport {
        address,
        user: Vec::new(),
        device: Vec::new(),
    }
}

impl World {
    fn apply(&mut self, batch: Batch) -> Applied {
        let applied = self
            .core
            .apply(batch, UtcMillis(self.now), &mut self.outcomes);
        self.core.check_invariants();
        applied
    }

    fn hear(&mut self, collector: &str, reports: Vec<AddressReport>) -> Applied {
        self.apply(Batch::Collector(CollectorBatch {
            collector: collector.into(),
            reports,
            bookmark: None,
        }))
    }

    fn standing(&mut self, collector: &str, disconnected_since: Option<i64>) {
        self.apply(Batch::CollectorStanding {
            collector: collector.into(),
            disconnected_since: disconnected_since.map(UtcMillis),
        });
    }

    fn reload(&mut self) {
        let state = self.core.export();
        let policy = self.core.policy().clone();
        let now = UtcMillis(self.now);
        self.core = Core::restore(state, Epoch(8), policy, now, &mut self.outcomes).expect("whole");
        self.core.check_invariants();
    }

    /// Who is where, since when, and by whose evidence.
    fn table(&self) -> BTreeMap<IpAddr, String> {
        let all = self
            .core
            .addresses_since(Seq(0))
            .map(|(_, address)| address);
        let views = all.filter_map(|address| self.core.address(address));
        let shown = views.filter_map(|view| {
            let user = view.user.map(|user| {
                let at = user.evidence.occurred_at;
                (user.user.name.to_owned(), at, user.evidence.strength)
            });
            let device = view.device.map(|device| device.device.name.to_owned());
            (user.is_some() || device.is_some())
                .then(|| (view.address, format!("{user:?} {device:?}")))
        });
        shown.collect()
    }
}

fn server(collectors: &[&str]) -> World {
    World::with(Policy {
        directories: Vec::new(),
        collectors: collectors
            .iter()
            .map(|name| ((*name).into(), Scope::default()))
            .collect(),
        ..policy()
    })
}

#[test]
fn rule_27_the_conflict_rule_decides_between_collectors() {
    let (mut a, mut b) = (Teller::new("a"), Teller::new("b"));
    let mut server = server(&["a", "b"]);
    a.send(strong("alice", 10, A));
    b.send(strong("bob", 20, A));
    b.tell(&mut server, 10);
    a.tell(&mut server, 10);
    assert_eq!(
        server.user_at(A).as_deref(),
        Some("bob"),
        "later wins, whoever came first"
    );
    b.send(logoff(Some("bob"), 30, A));
    b.tell(&mut server, 10);
    assert_eq!(
        server.user_at(A),
        None,
        "he left, and she had been displaced"
    );
    a.send(strong("alice", 40, A));
    a.tell(&mut server, 10);
    assert_eq!(server.user_at(A).as_deref(), Some("alice"));
    let view = server
        .core
        .address(A.parse().expect("an address"))
        .expect("known");
    assert_eq!(&**view.user.expect("a user").evidence.producer, "a/dc");
}

#[test]
fn rule_27_a_logoff_ends_what_the_same_collector_holds_or_what_is_older() {
    let (mut a, mut b) = (Teller::new("a"), Teller::new("b"));
    let mut server = server(&["a", "b"]);
    for (teller, at) in [(&mut a, 10), (&mut b, 30)] {
        teller.send(strong("alice", at, A));
        teller.tell(&mut server, 10);
    }
    a.send(logoff(Some("alice"), 20, A));
    a.tell(&mut server, 10);
    assert_eq!(
        server.user_at(A).as_deref(),
        Some("alice"),
        "the other saw her later"
    );
    b.send(logoff(Some("alice"), 40, A));
    b.tell(&mut server, 10);
    assert_eq!(server.user_at(A), None);
}

#[test]
fn rule_27_a_new_epoch_sweeps_what_that_collector_alone_said() {
    let (mut a, mut b) = (Teller::new("a"), Teller::new("b"));
    let mut server = server(&["a", "b"]);
    a.send(strong("alice", 10, A));
    a.send(strong("carol", 10, "10.1.2.4"));
    b.send(strong("alice", 5, A));
    a.tell(&mut server, 10);
    b.tell(&mut server, 10);
    // It restarts, and remembers nothing.
    let mut a = Teller::new("a");
    a.tell(&mut server, 10);
    assert_eq!(
        server.user_at(A).as_deref(),
        Some("alice"),
        "the other still says so"
    );
    assert_eq!(server.user_at("10.1.2.4"), None);
}

#[test]
fn rule_27_sessions_of_a_connected_collector_end_by_its_word_alone() {
    let mut a = Teller::new("a");
    let mut server = server(&["a"]);
    a.send(strong("alice", 0, A));
    a.tell(&mut server, 10);
    server.advance_to(T0 + 20 * HOUR);
    assert_eq!(
        server.user_at(A).as_deref(),
        Some("alice"),
        "long over the logoff time"
    );
    let silent = server.now;
    server.standing("a", Some(silent));
    server.advance_to(silent + 8 * HOUR - 60_000);
    assert_eq!(server.user_at(A).as_deref(), Some("alice"));
    server.advance_to(silent + 8 * HOUR + 60_000);
    assert_eq!(
        server.user_at(A),
        None,
        "the logoff time has passed since it fell silent"
    );
    server.standing("a", None);
    a.begin_again();
    a.tell(&mut server, 10);
    assert_eq!(
        server.user_at(A).as_deref(),
        Some("alice"),
        "it still says so"
    );
}

#[test]
fn rule_27_a_restart_of_the_server_counts_as_silence_from_then_on() {
    let mut a = Teller::new("a");
    let mut server = server(&["a"]);
    a.send(strong("alice", 0, A));
    a.tell(&mut server, 10);
    server.advance_to(T0 + 2 * HOUR);
    let stopped = server.now;
    server.reload();
    server.advance_to(stopped + 8 * HOUR - 60_000);
    assert_eq!(server.user_at(A).as_deref(), Some("alice"));
    server.reload();
    server.advance_to(stopped + 8 * HOUR + 900_000);
    assert_eq!(
        server.user_at(A),
        None,
        "a second restart gives no more time"
    );
}

#[test]
fn rule_27_what_the_operator_ended_stays_ended_when_it_is_told_again() {
    let mut a = Teller::new("a");
    let mut server = server(&["a"]);
    a.send(strong("alice", 0, A));
    a.tell(&mut server, 10);
    server.now += 1_000;
    server.apply(Batch::LogOff(LogOffTarget::Address(
        A.parse().expect("an address"),
    )));
    a.begin_again();
    a.tell(&mut server, 10);
    assert_eq!(server.user_at(A), None);
    server.now += 1_000;
    a.send(strong("alice", 1_500, A));
    a.tell(&mut server, 10);
    assert_eq!(server.user_at(A).as_deref(), Some("alice"), "seen again");
}

#[test]
fn rule_12_a_collector_speaks_only_for_its_scope() {
    let mut server = server(&["a"]);
    let mut policy = server.core.policy().clone();
    let scope = Scope {
        networks: Some(Networks::new(["10.1.0.0/16".parse().expect("a network")])),
        domains: Some(vec![name("corp.example.com")]),
        roles: Globs::new(["vpn-*"]).expect("globs"),
    };
    policy.collectors = BTreeMap::from([("a".into(), scope)]);
    server.policy(policy);
    let mut a = Teller::new("a");
    a.send(strong("alice", 0, A));
    a.send(strong("bob", 0, "10.2.0.1"));
    a.send(event(
        "dc",
        0,
        "10.1.0.9",
        Claim::Logon(Logon {
            user: user_ref("eve", Some("other.example"), None).expect("a user"),
            device: None,
            groups: Vec::new(),
            strength: Strength::Strong,
            logon_id: None,
        }),
    ));
    a.tell(&mut server, 10);
    assert_eq!(server.user_at(A).as_deref(), Some("alice"));
    assert_eq!(server.user_at("10.2.0.1"), None);
    assert_eq!(server.user_at("10.1.0.9"), None);
    let mut policy = server.core.policy().clone();
    policy.collectors.clear();
    server.policy(policy);
    a.send(strong("carol", 10, "10.1.0.7"));
    a.tell(&mut server, 10);
    assert_eq!(server.user_at("10.1.0.7"), None, "it is not heard any more");
}

#[test]
fn rule_27_directories_come_with_their_groups_and_leave_with_their_collector() {
    let mut a = Teller::new("a");
    let mut server = server(&["a"]);
    a.world.directory(
        DirectoryStep::FullBegin,
        vec![
            user(1, "alice"),
            group(2, "Staff", &[1]),
            group(3, "All", &[2]),
        ],
    );
    a.world.directory(DirectoryStep::FullEnd, Vec::new());
    a.send(strong("ALICE", 0, A));
    a.tell(&mut server, 100);
    assert_eq!(server.user_at(A).as_deref(), Some("alice"));
    assert_eq!(server.roles(A), ["All", "Staff"]);
    assert_eq!(server.core.totals().groups, 2);
    assert_eq!(
        server.core.totals().unknown_domains,
        0,
        "its directory makes the domain known"
    );
    server.reload();
    assert_eq!(server.roles(A), ["All", "Staff"]);
    a.world.directory_batch(
        DirectoryStep::Poll,
        vec![group(2, "Team", &[1])],
        vec![id(3)],
    );
    a.tell(&mut server, 100);
    assert_eq!(server.roles(A), ["Team"]);
    a.world
        .directory_batch(DirectoryStep::Poll, Vec::new(), vec![id(1)]);
    a.tell(&mut server, 100);
    assert_eq!(server.user_at(A), None, "the directory lost her");
    let mut policy = server.core.policy().clone();
    policy.collectors.clear();
    server.policy(policy);
    assert_eq!(server.core.totals().groups, 0);
    assert_eq!(server.core.totals().directory_users, 0);
}

#[test]
fn rule_14_a_collectors_removals_are_not_guarded_again() {
    let mut a = Teller::new("a");
    let mut server = server(&["a"]);
    let many = (0..500).map(|n| user(n, &format!("u{n}"))).collect();
    a.world.directory(DirectoryStep::FullBegin, many);
    a.world.directory(DirectoryStep::FullEnd, Vec::new());
    a.tell(&mut server, 1000);
    assert_eq!(server.core.totals().directory_users, 500);
    a.world.directory(DirectoryStep::FullBegin, Vec::new());
    a.world.directory(DirectoryStep::FullEnd, Vec::new());
    assert_eq!(
        a.world.core.totals().directory_users,
        500,
        "held until it is said twice"
    );
    a.world.directory(DirectoryStep::FullBegin, Vec::new());
    a.world.directory(DirectoryStep::FullEnd, Vec::new());
    a.tell(&mut server, 1000);
    assert_eq!(server.core.totals().directory_users, 0);
}

#[test]
fn rule_22_the_feed_goes_on_over_a_restart() {
    let mut a = Teller::new("a");
    a.world.directory(
        DirectoryStep::FullBegin,
        vec![user(1, "alice"), user(2, "bob")],
    );
    a.world.directory(DirectoryStep::FullEnd, Vec::new());
    a.send(strong("alice", 0, A));
    a.world
        .directory_batch(DirectoryStep::Poll, Vec::new(), vec![id(2)]);
    let told = |world: &World| -> Vec<_> {
        let items = world.core.feed_since(Seq(0));
        items
            .map(|(seq, item)| format!("{seq:?} {item:?}"))
            .collect()
    };
    let before = told(&a.world);
    assert_eq!(before.len(), 3, "{before:?}");
    a.world.reload();
    assert_eq!(told(&a.world), before);
    let last = a.world.core.feed_last();
    a.send(strong("alice", 5, A));
    assert_eq!(
        a.world.core.feed_since(last).count(),
        1,
        "a renewal is told as well"
    );
}

/// As many facts of one slot as a report may hold, of somebody else each.
fn many_facts(of: &str, from: i64) -> Vec<ToldFact> {
    let told = |number: i64| ToldFact {
        kind: FactKind::Weak,
        at: UtcMillis(T0 + from + number),
        received_at: UtcMillis(T0 + from + number),
        subject: Some(ToldSubject {
            name: name(&format!("{of}{number}")),
            domain: name("corp.example.com"),
            by_upn: false,
        }),
        producer: "p".into(),
        record: "".into(),
        groups: None,
    };
    (0..16).map(told).collect()
}

#[test]
fn rule_25_a_slot_keeps_to_its_bound_whoever_tells_it_last() {
    let names = ["a", "b", "c", "d", "e"];
    let mut server = server(&names);
    server.now = T0 + HOUR;
    for (number, name) in (0..).zip(names) {
        let report = AddressReport {
            address: A.parse().expect("an address"),
            user: many_facts(name, 1000 * number),
            device: many_facts(name, 1000 * number),
        };
        server.hear(name, vec![report]);
    }
    for number in 0..20 {
        server.send(weak(&format!("own{number}"), HOUR + number, A));
    }
    assert_eq!(server.user_at(A).as_deref(), Some("own19"));
    server.advance_to(T0 + 30 * HOUR);
}

#[test]
fn rule_12_a_collector_and_a_producer_of_one_name_have_each_its_own_scope() {
    let only = |network: &str| Scope {
        networks: Some(Networks::new([network.parse().expect("a network")])),
        ..Scope::default()
    };
    let mut server = server(&["dc", "branch"]);
    let mut policy = server.core.policy().clone();
    policy.collectors = BTreeMap::from([
        ("dc".into(), only("10.2.0.0/16")),
        ("branch".into(), only("10.2.0.0/16")),
    ]);
    policy.scopes = BTreeMap::from([("branch".into(), only("10.1.0.0/16"))]);
    server.policy(policy);
    server.send(strong("alice", 0, A));
    assert_eq!(
        server.user_at(A).as_deref(),
        Some("alice"),
        "the producer `dc` may speak for everything"
    );
    let mut branch = Teller::new("branch");
    branch.send(strong("bob", 10, "10.1.0.9"));
    branch.send(strong("bob", 10, "10.2.0.9"));
    branch.tell(&mut server, 10);
    assert_eq!(server.user_at("10.1.0.9"), None);
    assert_eq!(server.user_at("10.2.0.9").as_deref(), Some("bob"));
}

#[test]
fn what_a_directory_of_ours_takes_over_is_fed_although_it_is_the_same() {
    let mut server = server(&["a"]);
    let mut batch = DirectoryBatch {
        directory: name("a/corp"),
        domain: name("corp.example.com"),
        facts: Some(DomainFacts {
            netbios: Some(name("CORP")),
            upn_suffixes: Vec::new(),
        }),
        step: DirectoryStep::Poll,
        upserts: vec![user(1, "alice")],
        removed: Vec::new(),
        bookmark: None,
    };
    let mut policy = server.core.policy().clone();
    policy.feed = true;
    server.policy(policy.clone());
    server.apply(Batch::Directory(batch.clone()));
    policy.directories = vec![(name("corp"), name("corp.example.com"))];
    server.policy(policy);
    batch.directory = name("corp");
    server.apply(Batch::Directory(batch));
    let items: Vec<_> = server.core.feed_since(Seq(0)).collect();
    let is_domain = |item: &FeedItem<'_>| matches!(item, FeedItem::Domain { .. });
    let is_object = |item: &FeedItem<'_>| matches!(item, FeedItem::Object { .. });
    assert!(items.iter().any(|(_, item)| is_domain(item)), "{items:?}");
    assert!(items.iter().any(|(_, item)| is_object(item)), "{items:?}");
}

#[derive(Clone, Debug)]
enum Act {
    /// (Collector or the Server itself, user, strong, address)
    Logon(usize, u8, bool, u8),
    /// (Collector or the Server itself, user or anybody, address)
    Logoff(usize, Option<u8>, u8),
    /// (Collector, how many keys)
    Tell(usize, usize),
    /// The Collector must tell everything again.
    Again(usize),
    /// The Server restarts from its snapshot.
    Restart,
    /// The Collector restarts cleanly.
    RestartOf(usize),
}

fn act() -> impl Strategy<Value = Act> {
    let collector = 0..3_usize;
    // The Server hears something itself as well.
    let whoever = 0..4_usize;
    let (user, address) = (0..4_u8, 0..3_u8);
    prop_oneof![
        6 => (whoever.clone(), user.clone(), any::<bool>(), address.clone())
            .prop_map(|(c, u, s, a)| Act::Logon(c, u, s, a)),
        3 => (whoever, proptest::option::of(user), address)
            .prop_map(|(c, u, a)| Act::Logoff(c, u, a)),
        4 => (collector.clone(), 1..4_usize).prop_map(|(c, n)| Act::Tell(c, n)),
        1 => collector.clone().prop_map(Act::Again),
        1 => Just(Act::Restart),
        1 => collector.prop_map(Act::RestartOf),
    ]
}

fn said(act: &Act, at: i64, producer: &str) -> Option<IdentityEvent> {
    let place = |address: &u8| format!("10.9.0.{}", address + 1);
    let who = |user: &u8| format!("u{user}");
    match act {
        Act::Logon(_, user, is_strong, address) => {
            let strength = if *is_strong {
                Strength::Strong
            } else {
                Strength::Weak
            };
            Some(event(
                producer,
                at,
                &place(address),
                logon(&who(user), strength),
            ))
        }
        Act::Logoff(_, user, address) => {
            let user = user.map(|user| who(&user));
            let mut logoff = logoff(user.as_deref(), at, &place(address));
            logoff.producer = producer.into();
            Some(logoff)
        }
        Act::Tell(..) | Act::Again(_) | Act::Restart | Act::RestartOf(_) => None,
    }
}

proptest! {
    #[test]
    fn rule_27_the_servers_table_is_the_union_that_the_conflict_rule_says(
        acts in proptest::collection::vec(act(), 1..60),
    ) {
        let names = ["a", "b", "c"];
        let mut tellers = names.map(Teller::new);
        let mut server = server(&names);
        let mut union = World::new();
        for (step, act) in (0..).zip(&acts) {
            let at = step * 10;
            match act {
                Act::Logon(c, ..) | Act::Logoff(c, ..) => {
                    match tellers.get_mut(*c) {
                        Some(teller) => teller.send(said(act, at, "p").expect("an event")),
                        None => {
                            server.now = T0 + at;
                            server.send(said(act, at, "p").expect("an event"));
                        }
                    }
                    union.now = T0 + at;
                    union.send(said(act, at, &format!("p{c}")).expect("an event"));
                }
                Act::Tell(c, most) => tellers[*c].tell(&mut server, *most),
                Act::Again(c) => tellers[*c].begin_again(),
                Act::Restart => {
                    server.now = T0 + at;
                    server.reload();
                    for teller in &mut tellers {
                        // Marks are in memory only.
                        if teller.marks.is_some() {
                            teller.begin_again();
                        }
                    }
                }
                Act::RestartOf(c) => tellers[*c].world.reload(),
            }
            server.now = T0 + at;
        }
        for teller in &mut tellers {
            teller.tell(&mut server, usize::MAX);
        }
        prop_assert_eq!(server.table(), union.table());
    }
}
