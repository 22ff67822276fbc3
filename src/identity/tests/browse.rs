//! Pages of sessions and names against a list that is made, filtered and sorted the plain way.

use std::collections::BTreeSet;
use std::net::IpAddr;

use proptest::prelude::*;

use super::super::browse::*;
use super::*;

/// Few places a step, so that every scan has many.
const STEP: usize = 7;

/// Users of two groups, one within the other, some at addresses, some devices, some who left.
fn world(said: &[(u8, u8, u8)]) -> World {
    let mut world = World::new();
    let mut objects: Vec<DirectoryObject> = (0..20).map(|n| user(n, &format!("User{n}"))).collect();
    objects.push(group(100, "Inner", &(0..10).collect::<Vec<_>>()));
    objects.push(group(101, "Outer", &[100, 15]));
    world.directory(DirectoryStep::FullBegin, objects);
    world.directory(DirectoryStep::FullEnd, Vec::new());
    for (at, (who, place, what)) in (0i64..).zip(said) {
        let (who, address) = (
            format!("user{}", who % 24),
            format!("10.0.{}.{}", place % 2, place),
        );
        world.now = T0 + at;
        world.send(match what % 4 {
            0 => strong(&who, at, &address),
            1 => weak(&who, at, &address),
            2 => logoff(None, at, &address),
            _ => device(&format!("ws{who}"), at, &address, false),
        });
    }
    world
}

fn scan(core: &Core, filter: &str, page: &Page, down: &[&str]) -> Found<IpAddr> {
    let down = down.iter().map(|&name| name.to_owned()).collect();
    let mut scan = SessionScan::new(Word::all(filter), page, down);
    while scan.step(core, STEP) {}
    scan.finish(core)
}

fn addresses(found: &Found<IpAddr>) -> Vec<IpAddr> {
    found.rows.iter().map(|(_, address)| *address).collect()
}

/// Every session, in the plain way.
fn all(core: &Core) -> Vec<AddressView<'_>> {
    let addresses = core
        .addresses_since(Seq(0))
        .filter_map(|(_, address)| core.address(address));
    addresses
        .filter(|view| view.user.is_some() || view.device.is_some())
        .collect()
}

fn is_member(view: &AddressView<'_>, group: &str) -> bool {
    let user = view.user.as_ref();
    user.is_some_and(|user| user.user.roles.iter().any(|role| role == group))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn pages_put_together_are_the_whole_list_in_its_order(
        said in prop::collection::vec((0u8..24, 0u8..60, 0u8..8), 0..120),
        rows in 1usize..9, reverse: bool, order in 0usize..6,
    ) {
        let world = world(&said);
        let order = [Order::Usual, Order::Address, Order::User, Order::Device, Order::Since, Order::Deadline][order];
        let mut page = Page { order, reverse, rows, start: Start::First };
        let whole = scan(&world.core, "", &Page { rows: MAX_ROWS, ..page.clone() }, &[]);
        let mut views = all(&world.core);
        prop_assert_eq!(whole.total, views.len() as u64);
        match order {
            Order::Usual => views.sort_by_key(|view| std::cmp::Reverse(view.changed)),
            Order::Address => views.sort_by_key(|view| view.address),
            Order::User => views.sort_by_key(|view| {
                (view.user.is_none(), view.user.as_ref().map(|u| u.user.name.to_lowercase()), view.address)
            }),
            Order::Device => views.sort_by_key(|view| {
                (view.device.is_none(), view.device.as_ref().map(|d| d.device.name.to_lowercase()), view.address)
            }),
            Order::Since | Order::Deadline | Order::Name | Order::Sessions => {}
        }
        if matches!(order, Order::Usual | Order::Address | Order::User | Order::Device) {
            let mut expected: Vec<IpAddr> = views.iter().map(|view| view.address).collect();
            if reverse {
                expected.reverse();
            }
            prop_assert_eq!(addresses(&whole), expected);
        }
        let mut together = Vec::new();
        loop {
            let found = scan(&world.core, "", &page, &[]);
            prop_assert_eq!(found.before, together.len() as u64);
            prop_assert_eq!(found.total, whole.total);
            let Some((last, _)) = found.rows.last() else { break };
            page.start = Start::After(last.clone());
            together.extend(addresses(&found));
        }
        prop_assert_eq!(&together, &addresses(&whole));
        page.start = Start::Last;
        let found = scan(&world.core, "", &page, &[]);
        let first = together.len().saturating_sub(rows);
        prop_assert_eq!(addresses(&found), &together[first..]);
        if let Some((place, _)) = found.rows.first() {
            page.start = Start::Before(place.clone());
            let found = scan(&world.core, "", &page, &[]);
            prop_assert_eq!(addresses(&found), &together[first.saturating_sub(rows)..first]);
        }
    }

    #[test]
    fn a_filter_leaves_what_the_plain_way_leaves(
        said in prop::collection::vec((0u8..24, 0u8..60, 0u8..8), 0..120),
        word in 0usize..9,
    ) {
        let world = world(&said);
        let (filter, holds): (&str, fn(&AddressView<'_>) -> bool) = [
            ("SER1", (|view| {
                let user = view.user.as_ref().map(|u| u.user.name.to_lowercase());
                let device = view.device.as_ref().map(|d| d.device.name.to_lowercase());
                user.into_iter().chain(device).any(|name| name.contains("ser1"))
            }) as fn(&AddressView<'_>) -> bool),
            ("user:ser1", |view| view.user.as_ref().is_some_and(|u| u.user.name.to_lowercase().contains("ser1"))),
            ("device:wsuser", |view| view.device.is_some()),
            ("0.1.", |view| view.address.to_string().contains("0.1.")),
            ("group:OUTER", |view| is_member(view, "Outer")),
            ("group:inner user:2", |view| {
                is_member(view, "Inner") && view.user.as_ref().is_some_and(|u| u.user.name.contains('2'))
            }),
            ("from:vpn", |_| false),
            ("state:unconf", |view| {
                let user = view.user.as_ref().map(|u| &u.evidence);
                user.or(view.device.as_ref().map(|d| &d.evidence)).is_some_and(|e| &**e.producer == "dc")
            }),
            ("corp.example", |_| true),
        ][word];
        let page = Page { order: Order::Address, rows: MAX_ROWS, ..Page::default() };
        let found = scan(&world.core, filter, &page, &["dc"]);
        let expected: BTreeSet<IpAddr> = all(&world.core).iter().filter(|v| holds(v)).map(|v| v.address).collect();
        let expected: Vec<IpAddr> = expected.into_iter().collect();
        prop_assert_eq!(addresses(&found), expected);
        prop_assert_eq!(found.total, found.rows.len() as u64);
    }
}

#[test]
fn names_are_listed_with_their_sessions() {
    let world = world(&[(3, 1, 0), (3, 2, 0), (12, 3, 0), (15, 4, 0), (4, 5, 3)]);
    let views = |kind, filter: &str, order| -> Vec<NameView> {
        let page = Page {
            order,
            rows: MAX_ROWS,
            ..Page::default()
        };
        let mut scan = NameScan::new(kind, Word::all(filter), &page);
        while scan.step(&world.core, STEP) {}
        let rows = scan.finish().rows.into_iter();
        rows.filter_map(|(place, listed)| listed.view(&world.core, &place))
            .collect()
    };
    let list = |kind, filter: &str, order| -> Vec<(String, u64)> {
        let views = views(kind, filter, order).into_iter();
        views
            .map(|view| (view.name.to_string(), view.sessions))
            .collect()
    };
    let told = |name: &str, sessions| (name.to_owned(), sessions);
    assert_eq!(list(NameKind::Users, "", Order::Name).len(), 20);
    assert_eq!(
        list(NameKind::Users, "group:Inner user1", Order::Name),
        [told("User1", 0)]
    );
    // He is in a group of the group, and has no session.
    assert_eq!(
        list(
            NameKind::Users,
            "group:Outer user1 user:=user1",
            Order::Name
        ),
        [told("User1", 0)]
    );
    assert_eq!(list(NameKind::Users, "group:Outer", Order::Name).len(), 11);
    assert_eq!(
        list(NameKind::Users, "", Order::Sessions)[..3],
        [told("User3", 2), told("User12", 1), told("User15", 1)]
    );
    assert_eq!(
        list(NameKind::Groups, "", Order::Name),
        [told("Inner", 2), told("Outer", 3)]
    );
    assert_eq!(
        list(NameKind::Devices, "", Order::Name),
        [told("wsuser4", 1)]
    );
    let groups = |kind, name: &str| -> Vec<u64> {
        let views = views(kind, name, Order::Name).into_iter();
        views.map(|view| view.groups).collect()
    };
    assert_eq!(
        groups(NameKind::Users, "user:=user3"),
        [2],
        "with a session"
    );
    assert_eq!(groups(NameKind::Users, "user:=user1"), [2], "without one");
    assert_eq!(groups(NameKind::Users, "user:=user17"), [0]);
    assert_eq!(groups(NameKind::Groups, ""), [10, 2], "direct members");
}

#[test]
fn a_row_whose_user_went_meanwhile_is_left_out() {
    let mut world = world(&[(22, 1, 0)]);
    let page = Page {
        order: Order::Name,
        rows: MAX_ROWS,
        ..Page::default()
    };
    let mut scan = NameScan::new(NameKind::Users, Word::all("user22"), &page);
    while scan.step(&world.core, STEP) {}
    let rows = scan.finish().rows;
    let seen = |core: &Core| -> Vec<_> {
        let views = rows.iter().map(|(place, listed)| listed.view(core, place));
        views.flatten().map(|view| view.name).collect()
    };
    assert_eq!(seen(&world.core), ["user22"]);
    // Nobody refers to him any more, and another gets his place.
    world.advance_to(T0 + DAY);
    world.advance_to(T0 + 3 * DAY);
    world.send(strong("newcomer", 3 * DAY, "10.0.0.9"));
    assert_eq!(seen(&world.core), [""; 0]);
}
