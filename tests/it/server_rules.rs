//! Rules 16 to 20 over HTTPS, each sentence by a firewall that does as it is told and then must hold the truth.

#![expect(
    clippy::unwrap_used,
    reason = "a helper that fails has failed its test"
)]

use std::fmt::Write;
use std::net::IpAddr;

use jims::config::PointFilter;
use jims::enforcement::filter::RequestFilter;
use jims::identity::Batch;
use jims::identity::Core;
use jims::identity::directory::{
    DirectoryBatch, DirectoryObject, DirectoryStep, ObjectId, ObjectKind,
};
use jims::identity::event::{Claim, DeviceRef, Qualifier, Strength};
use jims::identity::name::Name;
use jims::identity::policy::Policy;
use jims::identity::view::Epoch;
use serde_json::Value;

use crate::firewall_table::{Filters, FirewallTable};
use crate::follow_world::logon;
use crate::random::Dice;
use crate::server_site::{Firewall, Site, event, table, told};

const ENDPOINTS: &str = "/user_query/v2/users/endpoints";

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// A firewall with what it holds, where it stands and what it asks for.
struct Srx<'a> {
    firewall: Firewall<'a>,
    table: FirewallTable,
    cookie: Option<String>,
    filters: Filters,
    /// The last answer.
    answer: Value,
}

impl<'a> Srx<'a> {
    async fn new(site: &'a Site) -> Self {
        Self {
            firewall: site.firewall().await,
            table: FirewallTable::default(),
            cookie: None,
            filters: Filters::default(),
            answer: Value::Null,
        }
    }

    fn query(&self, entries: usize) -> String {
        let mut query = format!("entry_count={entries}");
        match &self.cookie {
            Some(cookie) => write!(query, "&cookie={cookie}").unwrap(),
            None => query.push_str("&begintime=0"),
        }
        let request = &self.filters.request;
        let (include, exclude) = (request.include.iter(), request.exclude.iter());
        request
            .domains
            .iter()
            .for_each(|d| write!(query, "&domain={d}").unwrap());
        include.for_each(|n| write!(query, "&include-ip={n}").unwrap());
        exclude.for_each(|n| write!(query, "&exclude-ip={n}").unwrap());
        query
    }

    /// Asks once and does as it is told.
    async fn ask(&mut self, entries: usize) -> Vec<String> {
        let (told, answer) = self.firewall.batch(&self.query(entries)).await;
        self.table.obey(&answer).unwrap();
        self.cookie = answer["cookie"].as_str().map(str::to_owned);
        self.answer = answer;
        told
    }

    /// Asks until there is no more; everything that was told.
    async fn follow(&mut self, entries: usize) -> Vec<String> {
        let mut all = Vec::new();
        for _ in 0..1_000 {
            all.extend(self.ask(entries).await);
            if self.answer["more"] == false {
                self.check();
                return all;
            }
        }
        panic!("there is always more");
    }

    /// It holds what the table says.
    fn check(&self) {
        let core = self.firewall.site.writer.reader.read();
        let known: Vec<IpAddr> = self.table.entries.keys().copied().collect();
        let named = core.addresses_since(jims::identity::view::Seq(0));
        for address in known.into_iter().chain(named.map(|(_, address)| address)) {
            assert_eq!(
                self.table.entries.get(&address),
                self.filters.truth(&core, address).as_ref(),
                "{address}"
            );
        }
    }

    fn users(&self) -> Vec<String> {
        let entries = self.table.entries.iter();
        let text = |seen: &crate::firewall_table::Seen| {
            let user = seen.user.as_deref().unwrap_or("--");
            user.rsplit('\\').next().unwrap_or_default().to_owned()
        };
        entries
            .map(|(address, seen)| format!("{address} {}", text(seen)))
            .collect()
    }
}

fn device(name: &str, domain: &str) -> Claim {
    Claim::DeviceLogon {
        device: DeviceRef {
            name: Name::new(name).unwrap(),
            qualifier: Qualifier::Domain(Name::new(domain).unwrap()),
        },
        strength: Strength::Strong,
        own_kerberos: false,
    }
}

fn user_logon(number: usize) -> Claim {
    logon(number, "corp.example.com", None, Strength::Strong)
}

fn logoff() -> Claim {
    Claim::Logoff {
        user: None,
        logon_id: None,
    }
}

/// A table with a directory for `corp.example.com`.
fn with_directory(epoch: u64, shared: &[&str]) -> Core {
    let policy = Policy {
        directories: vec![(name("ad"), name("corp.example.com"))],
        ..table(epoch, shared).policy().clone()
    };
    Core::new(Epoch(epoch), policy)
}

async fn site(point: &str, shared: &[&str]) -> Site {
    let site = Site::start_with(point, with_directory(1, shared)).await;
    site.become_ready();
    site
}

fn object(number: u8, kind: ObjectKind, written: &str) -> DirectoryObject {
    DirectoryObject {
        id: ObjectId([number; 16]),
        sid: None,
        name: name(written),
        kind,
    }
}

fn person(number: u8, written: &str, upn: Option<&str>) -> DirectoryObject {
    let kind = ObjectKind::User {
        upn: upn.map(name),
        enabled: true,
        primary_group: None,
    };
    object(number, kind, written)
}

fn group(number: u8, written: &str, members: &[u8]) -> DirectoryObject {
    let members = members.iter().map(|member| ObjectId([*member; 16]));
    let kind = ObjectKind::Group {
        members: members.collect(),
    };
    object(number, kind, written)
}

async fn poll(site: &Site, upserts: Vec<DirectoryObject>, removed: &[u8]) {
    let batch = DirectoryBatch {
        directory: name("ad"),
        domain: name("corp.example.com"),
        facts: None,
        step: DirectoryStep::Poll,
        upserts,
        removed: removed
            .iter()
            .map(|number| ObjectId([*number; 16]))
            .collect(),
        bookmark: None,
    };
    let applied = site.writer.intake.apply(Batch::Directory(batch)).await;
    assert!(applied.unwrap().applied > 0, "the table took it");
}

fn nth(number: usize) -> String {
    format!(
        "10.{}.{}.{}",
        40 + number / 62_500,
        number / 250 % 250,
        number % 250 + 1
    )
}

#[tokio::test]
async fn rule_16_twenty_thousand_changes_between_two_polls_come_in_order_in_many_answers() {
    const CHANGED: usize = 20_000;
    let site = site("", &[]).await;
    let mut srx = Srx::new(&site).await;
    site.log_on("first", "10.1.0.1").await;
    srx.follow(200).await;
    let events = (0..CHANGED).map(|n| event(&nth(n), user_logon(n)));
    site.apply(events.collect()).await;
    // Every hundredth changes again: it comes at the end, once, in its latest state.
    let again = (0..CHANGED).step_by(100).map(|n| event(&nth(n), logoff()));
    site.apply(again.collect()).await;
    let mut told = Vec::new();
    let mut answers = 0;
    loop {
        let part = srx.ask(1000).await;
        answers += 1;
        assert_eq!(srx.answer["full"], false);
        let more = srx.answer["more"] == true;
        assert!(!more || part.len() == 1000, "answers are filled");
        told.extend(part);
        if !more {
            break;
        }
    }
    assert_eq!(answers, CHANGED / 1000);
    let logins = (0..CHANGED).filter(|n| n % 100 != 0);
    let mut wanted: Vec<_> = logins
        .map(|n| format!("login {} user{n}", nth(n)))
        .collect();
    wanted.extend(
        (0..CHANGED)
            .step_by(100)
            .map(|n| format!("logout {}", nth(n))),
    );
    assert!(told == wanted, "in order of last change, each once");
    srx.check();
}

#[tokio::test]
async fn rule_16_a_cookie_shown_again_tells_the_same_or_what_came_later() {
    let site = site("", &[]).await;
    let mut srx = Srx::new(&site).await;
    for number in 0..6 {
        site.claim(&nth(number), user_logon(number)).await;
    }
    srx.ask(2).await;
    let early = srx.cookie.clone();
    let first = srx.ask(2).await;
    srx.cookie.clone_from(&early);
    assert_eq!(srx.ask(2).await, first, "nothing changed");
    srx.follow(2).await;
    for number in [2, 3, 0] {
        site.claim(&nth(number), logoff()).await;
    }
    site.claim(&nth(4), user_logon(9)).await;
    srx.follow(2).await;
    for _ in 0..3 {
        srx.cookie.clone_from(&early);
        let told = srx.follow(2).await;
        assert_eq!(told.len(), 5, "{told:?}");
    }
}

#[tokio::test]
async fn rule_16_an_ended_address_is_a_logout_also_in_a_full_report() {
    let site = site("", &[]).await;
    site.claim("10.1.0.1", user_logon(1)).await;
    site.claim("10.1.0.1", logoff()).await;
    site.claim("10.1.0.2", user_logon(2)).await;
    let mut srx = Srx::new(&site).await;
    let told = srx.follow(200).await;
    assert_eq!(told, ["logout 10.1.0.1", "login 10.1.0.2 user2"]);
    assert_eq!(srx.answer["full"], true);
}

#[tokio::test]
async fn rule_16_another_life_or_no_cookie_of_ours_starts_over_and_clears() {
    let before = site("", &[]).await;
    let mut srx = Srx::new(&before).await;
    before.claim("10.1.0.1", user_logon(1)).await;
    before.claim("10.1.0.2", user_logon(2)).await;
    srx.follow(200).await;

    let after = Site::start_with("", with_directory(2, &[])).await;
    after.become_ready();
    after.claim("10.1.0.1", device("ws-1", "CORP")).await;
    after.claim("10.1.0.2", user_logon(3)).await;
    srx.firewall = after.firewall().await;
    let told = srx.follow(1).await;
    let wanted = [
        "logout 10.1.0.1",
        "login 10.1.0.1 --",
        "login 10.1.0.2 user3",
    ];
    assert_eq!(
        told, wanted,
        "the table does not know of user1, the firewall does"
    );
    for spoilt in ["j1.AAAA", "x".repeat(5_000).as_str(), "%00%ff"] {
        srx.cookie = Some(spoilt.to_owned());
        assert_eq!(srx.follow(200).await, wanted, "{spoilt}");
        assert_eq!(srx.answer["full"], true);
    }
}

#[tokio::test]
async fn rule_16_a_renewal_is_no_change() {
    let site = site("", &[]).await;
    let mut srx = Srx::new(&site).await;
    site.claim("10.1.0.1", user_logon(1)).await;
    srx.follow(200).await;
    site.claim("10.1.0.1", user_logon(1)).await;
    assert!(srx.follow(200).await.is_empty());
}

#[tokio::test]
async fn rule_16_begintime_is_everything_changed_here_since() {
    let site = site("", &[]).await;
    site.claim("10.1.0.1", user_logon(1)).await;
    // The journal knows times to the second.
    let edge = jims::runtime::clock::utc_now().after(std::time::Duration::from_millis(1_100));
    while jims::runtime::clock::utc_now() < edge {
        tokio::task::yield_now().await;
    }
    let since = jims::runtime::clock::utc_now();
    site.claim("10.1.0.2", user_logon(2)).await;
    let firewall = site.firewall().await;
    let (seconds, thousandths) = (since.0.div_euclid(1000), since.0.rem_euclid(1000));
    let stamp = jiff::Timestamp::from_millisecond(since.0).unwrap();
    let plus_one = stamp.to_string().replace('Z', "%2B00:00");
    for begin in [
        format!("{seconds}.{thousandths:03}"),
        format!("{}", since.0),
        format!("{stamp}"),
        plus_one.clone(),
        plus_one.replace("%2B", "+"),
    ] {
        let (told, answer) = firewall.batch(&format!("begintime={begin}")).await;
        assert_eq!(told, ["login 10.1.0.2 user2"], "{begin}");
        assert_eq!(answer["full"], false, "{begin}");
    }
    for begin in ["0", "", "0.0", "-1", "1", "1970-01-02T00:00:00+02:00"] {
        let (told, answer) = firewall.batch(&format!("begintime={begin}")).await;
        assert_eq!((told.len(), &answer["full"]), (2, &true.into()), "{begin}");
    }
    for wrong in ["yesterday", "1.2.3", "1e9", "0x1", "2024-11-23"] {
        let answer = firewall
            .ask(&format!("{ENDPOINTS}?begintime={wrong}"))
            .await;
        assert_eq!(answer.status(), 400, "{wrong}");
    }
}

#[tokio::test]
async fn an_answer_that_holds_fewer_than_asked_for_says_so() {
    let site = site("", &[]).await;
    site.apply((0..1_200).map(|n| event(&nth(n), user_logon(n))).collect())
        .await;
    let mut srx = Srx::new(&site).await;
    let first = srx.ask(1000).await;
    assert_eq!(
        (first.len(), &srx.answer["entry-count"]),
        (1000, &Value::Null)
    );
    assert!(site.server.unknown_requests().is_empty());
    srx.cookie = None;
    while srx.answer["more"] == true || srx.cookie.is_none() {
        srx.ask(1001).await;
        assert_eq!(srx.answer["entry-count"], 1000);
    }
    srx.check();
    let xml = xml(&srx.firewall, "entry_count=5000").await;
    assert!(xml.contains("<entry-count>1000</entry-count>"));
    let kept = site.server.unknown_requests();
    assert!(
        kept.iter().all(|r| r.reason.contains("capped at 1000")),
        "{kept:?}"
    );
    assert!(kept.len() <= 3, "one place however often it polls");
    for wrong in ["0", "-1", "", "many", "1.5", "%2B5"] {
        let answer = srx
            .firewall
            .ask(&format!("{ENDPOINTS}?entry_count={wrong}"))
            .await;
        assert_eq!(answer.status(), 400, "{wrong}");
    }
}

#[tokio::test]
async fn rule_17_user_and_device_are_one_login_and_a_new_user_is_one_login() {
    let site = site("", &[]).await;
    let mut srx = Srx::new(&site).await;
    site.claim("10.1.0.1", device("ws-1", "CORP")).await;
    site.claim("10.1.0.1", user_logon(1)).await;
    assert_eq!(srx.follow(200).await, ["login 10.1.0.1 user1"]);
    let entry = srx.answer["report_entries"][0].clone();
    assert_eq!(entry["device-name"], "ws-1");
    site.claim("10.1.0.1", user_logon(2)).await;
    assert_eq!(srx.follow(200).await, ["login 10.1.0.1 user2"]);
    site.claim("10.1.0.1", logoff()).await;
    site.claim("10.1.0.1", user_logon(3)).await;
    assert_eq!(srx.follow(200).await, ["login 10.1.0.1 user3"]);
}

#[tokio::test]
async fn rule_17_a_device_without_user_comes_after_a_logout() {
    let site = site("", &[]).await;
    let mut srx = Srx::new(&site).await;
    site.claim("10.1.0.1", device("ws-1", "CORP")).await;
    assert_eq!(
        srx.follow(200).await,
        ["logout 10.1.0.1", "login 10.1.0.1 --"],
        "it may hold somebody from before a crash"
    );
    site.claim("10.1.0.1", user_logon(1)).await;
    srx.follow(200).await;
    site.claim("10.1.0.1", logoff()).await;
    // Another device, before the firewall has heard of the end.
    site.claim("10.1.0.1", device("ws-2", "CORP")).await;
    let told = srx.follow(1).await;
    assert_eq!(told, ["logout 10.1.0.1", "login 10.1.0.1 --"]);
    let off = Claim::DeviceLogoff { device: None };
    site.claim("10.1.0.1", off).await;
    assert_eq!(srx.follow(1).await, ["logout 10.1.0.1"]);
    site.claim("10.1.0.1", device("ws-1", "CORP")).await;
    srx.follow(1).await;
    assert_eq!(srx.users(), ["10.1.0.1 --"]);
}

#[tokio::test]
async fn rule_17_pairs_are_never_torn_apart() {
    let site = site("", &[]).await;
    let mut srx = Srx::new(&site).await;
    for number in 0..20 {
        site.claim(&nth(number), device("ws-1", "CORP")).await;
        site.claim(&nth(number), user_logon(number)).await;
    }
    srx.follow(200).await;
    site.apply((0..20).map(|n| event(&nth(n), logoff())).collect())
        .await;
    let before = srx.cookie.clone();
    for entries in [1, 2, 3, 7, 39] {
        srx.cookie.clone_from(&before);
        let told = srx.follow(entries).await;
        assert_eq!(told.len(), 40, "{entries}");
    }
}

#[tokio::test]
async fn rule_18_filters_of_the_request_may_change_at_every_poll() {
    let site = site("", &[]).await;
    let mut srx = Srx::new(&site).await;
    for number in 0..30 {
        let domain = ["corp.example.com", "lab.example.com", "else"][number % 3];
        let address = format!("10.{}.0.{number}", number % 2 + 1);
        site.claim(&address, logon(number, domain, None, Strength::Strong))
            .await;
    }
    site.claim("10.1.0.0", device("ws-1", "lab.example.com"))
        .await;
    site.claim("2001:db8::7", user_logon(7)).await;
    let with = |domains: &[&str], include: &[&str], exclude: &[&str]| RequestFilter {
        domains: domains.iter().map(|d| (*d).to_owned()).collect(),
        include: include.iter().map(|n| n.parse().unwrap()).collect(),
        exclude: exclude.iter().map(|n| n.parse().unwrap()).collect(),
    };
    for (filter, held) in [
        (with(&[], &[], &[]), 31),
        (with(&["CORP"], &[], &[]), 11),
        (with(&["lab.example.com", "ELSE"], &[], &[]), 21),
        (with(&[], &["10.1.0.0/16"], &[]), 15),
        (
            with(&[], &["10.0.0.0/8"], &["10.1.0.0/16", "10.2.0.1/32"]),
            14,
        ),
        (with(&["corp.example.com"], &["2001:db8::/32"], &[]), 1),
        (with(&[], &[], &["0.0.0.0/0"]), 1),
        (with(&[], &[], &[]), 31),
    ] {
        srx.filters.request = filter;
        srx.ask(4).await;
        assert_eq!(srx.answer["full"], true, "other filters start over");
        srx.follow(4).await;
        assert_eq!(srx.table.entries.len(), held, "{:?}", srx.filters.request);
        assert!(srx.follow(4).await.is_empty(), "once");
    }
    // Each in the middle of the pass of the one before.
    for filter in [
        with(&["CORP"], &[], &[]),
        with(&[], &["10.1.0.0/16"], &[]),
        with(&["else"], &[], &["10.1.0.0/24"]),
        with(&[], &["10.2.0.0/16"], &[]),
    ] {
        srx.filters.request = filter;
        srx.ask(3).await;
        site.claim("10.2.0.5", logoff()).await;
        site.claim("10.2.0.5", logon(5, "else", None, Strength::Strong))
            .await;
        srx.ask(3).await;
    }
    srx.follow(3).await;
    assert_eq!(srx.table.entries.len(), 15);
}

#[tokio::test]
async fn rule_18_filters_of_the_configuration_change_at_a_reload() {
    let site = site("", &[]).await;
    let mut srx = Srx::new(&site).await;
    for number in 0..12 {
        let domain = ["corp.example.com", "lab.example.com"][number % 2];
        let address = format!("10.{}.0.{number}", number % 3 + 1);
        let claim = logon(number, domain, None, Strength::Strong);
        site.claim(&address, claim).await;
    }
    srx.follow(200).await;
    let networks = |text: &str| vec![text.parse().unwrap()];
    let mut filters = [
        (
            "include_addresses = [\"10.1.0.0/16\"]",
            PointFilter::default(),
        ),
        (
            "exclude_addresses = [\"10.1.0.0/16\"]",
            PointFilter::default(),
        ),
        ("domains = [\"corp\"]", PointFilter::default()),
        ("groups = [\"vpn-*\"]", PointFilter::default()),
    ];
    filters[0].1.include_addresses = networks("10.1.0.0/16");
    filters[1].1.exclude_addresses = networks("10.1.0.0/16");
    filters[2].1.domains = vec![name("corp")];
    filters[3].1.groups = vec!["vpn-*".to_owned()];
    for ((text, own), held) in filters.into_iter().zip([4, 8, 6, 12]) {
        site.reload(&format!("[enforcement_point.filter]\n{text}"))
            .await;
        srx.filters.own = own;
        srx.ask(3).await;
        assert_eq!(srx.answer["full"], true);
        srx.follow(3).await;
        assert_eq!(srx.table.entries.len(), held, "{text}");
    }
    // Another secret, the same filters: nothing to tell.
    site.reload("[enforcement_point.filter]\ngroups = [\"VPN-*\"]")
        .await;
    assert!(
        srx.follow(3).await.is_empty(),
        "the same filter in other letters"
    );
}

#[tokio::test]
async fn rule_18_outside_the_filter_is_skipped_and_inside_ended_when_somebody_else_takes_over() {
    let site = site("", &[]).await;
    let mut srx = Srx::new(&site).await;
    srx.filters.request.domains = vec!["corp".to_owned()];
    srx.filters.request.include = vec!["10.1.0.0/16".parse().unwrap()];
    site.claim("10.1.0.1", user_logon(1)).await;
    srx.follow(200).await;
    let stranger = || logon(2, "lab.example.com", None, Strength::Strong);
    site.claim("10.1.0.1", stranger()).await;
    site.claim("10.9.0.1", stranger()).await;
    assert_eq!(srx.follow(200).await, ["logout 10.1.0.1"]);
    let cookie = srx.cookie.clone().unwrap();
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    assert!(cookie.chars().all(plain), "{cookie}");
}

#[tokio::test]
async fn rule_19_groups_choose_roles_and_changes_of_groups_are_told() {
    let site = site("[enforcement_point.filter]\ngroups = [\"vpn-*\"]", &[]).await;
    let mut srx = Srx::new(&site).await;
    srx.filters.own.groups = vec!["vpn-*".to_owned()];
    site.claim("10.1.0.1", user_logon(1)).await;
    assert_eq!(
        srx.follow(200).await,
        ["login 10.1.0.1 user1"],
        "not known yet"
    );
    let roles = |srx: &Srx<'_>| srx.table.entries.values().next().unwrap().roles.clone();
    assert!(roles(&srx).is_empty());

    let groups = |vpn: &[u8]| vec![group(2, "VPN-Users", vpn), group(3, "Engineering", &[1])];
    poll(&site, vec![person(1, "User1", None)], &[]).await;
    poll(&site, groups(&[1]), &[]).await;
    assert_eq!(srx.follow(200).await, ["login 10.1.0.1 User1"]);
    assert_eq!(roles(&srx), ["VPN-Users"]);
    poll(&site, groups(&[]), &[]).await;
    srx.follow(200).await;
    assert!(roles(&srx).is_empty(), "hidden groups hide no session");
    poll(&site, groups(&[1]), &[]).await;
    srx.follow(200).await;
    assert_eq!(roles(&srx), ["VPN-Users"]);
    poll(&site, Vec::new(), &[2]).await;
    srx.follow(200).await;
    assert!(roles(&srx).is_empty(), "a group that was removed");
    assert_eq!(srx.users(), ["10.1.0.1 User1"]);
    poll(&site, Vec::new(), &[1]).await;
    assert_eq!(
        srx.follow(200).await,
        ["logout 10.1.0.1"],
        "a user who was removed"
    );
}

#[tokio::test]
async fn rule_11_a_shared_address_is_a_device_and_never_a_user() {
    let site = site("", &["10.5.0.0/24"]).await;
    let mut srx = Srx::new(&site).await;
    site.claim("10.5.0.1", device("terminal", "CORP")).await;
    srx.follow(200).await;
    site.apply(vec![event("10.5.0.1", user_logon(1))]).await;
    srx.follow(200).await;
    assert_eq!(srx.users(), ["10.5.0.1 --"]);
    let none = srx.firewall.json("/user_query/v2/ip/10.5.0.1").await;
    assert!(!told(&none).iter().any(|line| line.contains("user1")));
}

#[tokio::test]
async fn rule_20_nobody_there_is_an_empty_answer_in_both_forms() {
    let site = site("[enforcement_point.filter]\ndomains = [\"corp\"]", &[]).await;
    let firewall = site.firewall().await;
    let stranger = logon(2, "lab.example.com", None, Strength::Strong);
    site.claim("10.1.0.1", stranger).await;
    for path in [
        "/user_query/v2/ip/10.1.0.1",
        "/user_query/v2/ip/10.1.0.2",
        "/user_query/v2/user?id=user2&domain=lab.example.com",
        "/user_query/v2/user?id=user2",
        "/user_query/v2/user?id=nobody@corp.example.com",
    ] {
        let answer = firewall.json(path).await;
        assert_eq!(answer, serde_json::json!({"report_entries": []}), "{path}");
        let request = firewall
            .client
            .get(site.url(path))
            .header("Accept", "text/xml");
        let answer = request.bearer_auth(&firewall.token).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        assert!(
            !answer.text().await.unwrap().contains("<userfw-entry>"),
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_user_query_finds_him_by_every_name_with_and_without_session() {
    let site = site("", &[]).await;
    let firewall = site.firewall().await;
    poll(
        &site,
        vec![person(1, "Alice", Some("a.smith@corp.example.com"))],
        &[],
    )
    .await;
    poll(
        &site,
        vec![person(2, "Bob", None), group(3, "Staff", &[1, 2])],
        &[],
    )
    .await;
    site.log_on("alice", "10.1.0.1").await;
    site.log_on("alice", "2001:db8::7").await;
    for id in [
        "id=alice",
        "id=ALICE&domain=corp",
        "user=Alice&domain-name=Corp.Example.COM",
        "username=CORP%5CaLiCe",
        "id=corp.example.com%5Calice",
        "user_name=alice@CORP.example.com",
        "id=A.Smith@corp.example.com",
        "id=a.smith@corp.example.com&domain=corp",
        "id=CORP%5Calice&domain=corp.example.com",
    ] {
        let answer = firewall.json(&format!("/user_query/v2/user?{id}")).await;
        let wanted = ["login 10.1.0.1 Alice", "login 2001:db8::7 Alice"];
        assert_eq!(told(&answer), wanted, "{id}");
        assert_eq!(
            answer["report_entries"][0]["roles"],
            serde_json::json!(["Staff"])
        );
    }
    for query in [
        "id=bob&ip=10.1.0.9",
        "id=CORP%5Cbob&address=::ffff:10.1.0.9",
    ] {
        let answer = firewall.json(&format!("/user_query/v2/user?{query}")).await;
        assert_eq!(told(&answer), ["login 10.1.0.9 Bob"], "{query}");
        assert_eq!(
            answer["report_entries"][0]["roles"],
            serde_json::json!(["Staff"])
        );
    }
    let without = firewall.json("/user_query/v2/user?id=bob").await;
    assert!(told(&without).is_empty(), "nowhere");
    let other = firewall
        .json("/user_query/v2/user?id=bob&ip=10.1.0.1")
        .await;
    assert!(told(&other).is_empty(), "somebody else is there");
}

#[tokio::test]
async fn rule_1_an_address_is_the_same_in_every_form() {
    let site = site("", &[]).await;
    let firewall = site.firewall().await;
    site.claim("10.1.0.1", user_logon(1)).await;
    site.claim("::ffff:10.1.0.2", user_logon(2)).await;
    site.claim("2001:db8::7", user_logon(3)).await;
    for (asked, wanted) in [
        ("10.1.0.1", "login 10.1.0.1 user1"),
        ("::ffff:10.1.0.1", "login 10.1.0.1 user1"),
        ("[::FFFF:0a01:0001]", "login 10.1.0.1 user1"),
        ("10.1.0.2", "login 10.1.0.2 user2"),
        ("2001:DB8:0:0::7", "login 2001:db8::7 user3"),
        ("%5B2001:db8::7%5D", "login 2001:db8::7 user3"),
    ] {
        let answer = firewall.json(&format!("/user_query/v2/ip/{asked}")).await;
        assert_eq!(told(&answer), [wanted], "{asked}");
    }
    let (batch, _) = firewall
        .batch("include-ip=::ffff:10.1.0.2&include-ip=2001:db8::/64")
        .await;
    assert_eq!(batch, ["login 10.1.0.2 user2", "login 2001:db8::7 user3"]);
}

#[tokio::test]
async fn more_and_full_are_of_each_firewall_alone() {
    let site = site("", &[]).await;
    site.apply((0..50).map(|n| event(&nth(n), user_logon(n))).collect())
        .await;
    let (mut one, mut other) = (Srx::new(&site).await, Srx::new(&site).await);
    one.follow(7).await;
    other.ask(20).await;
    assert_eq!(
        (&other.answer["full"], &other.answer["more"]),
        (&true.into(), &true.into())
    );
    site.claim(&nth(3), logoff()).await;
    assert_eq!(one.follow(7).await, [format!("logout {}", nth(3))]);
    other.ask(20).await;
    assert_eq!(
        (&other.answer["full"], &other.answer["more"]),
        (&false.into(), &true.into())
    );
    one.filters.request.domains = vec!["else".to_owned()];
    one.ask(7).await;
    assert_eq!(
        (&one.answer["full"], &one.answer["more"]),
        (&true.into(), &true.into())
    );
    other.ask(20).await;
    assert_eq!(
        (&other.answer["full"], &other.answer["more"]),
        (&false.into(), &false.into())
    );
    other.check();
    one.follow(7).await;
    assert!(one.table.entries.is_empty());
}

async fn xml(firewall: &Firewall<'_>, query: &str) -> String {
    let url = firewall.site.url(&format!("{ENDPOINTS}?{query}"));
    let request = firewall.client.get(url).header("Accept", "application/xml");
    let answer = request.bearer_auth(&firewall.token).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    answer.text().await.unwrap()
}

/// All texts of an element, in order.
fn texts(xml: &str, element: &str) -> Vec<String> {
    let (open, close) = (format!("<{element}>"), format!("</{element}>"));
    let parts = xml.split(&open).skip(1);
    let inner = parts.map(|part| part.split(&close).next().unwrap());
    inner
        .map(|text| quick_xml::escape::unescape(text).unwrap().into_owned())
        .collect()
}

/// What both forms say of every entry, in the words of JSON.
fn xml_entries(xml: &str) -> Vec<Value> {
    let entries = xml.split("<userfw-entry>").skip(1);
    let entry = |text: &str| {
        let text = text.split("</userfw-entry>").next().unwrap();
        let one = |element: &str| texts(text, element).into_iter().next();
        let login = one("operation").unwrap() == "logon";
        let stamp: jiff::Timestamp = one("timestamp").unwrap().parse().unwrap();
        let mut entry = serde_json::json!({
            "ip-address": one("IP"), "timestamp": stamp.as_second(),
            "activity": if login { "login" } else { "logout" },
        });
        let fields = [
            ("domain-name", "domain"),
            ("user-name", "user"),
            ("posture", "posture"),
            ("device-name", "value"),
            ("device-os", "device-os"),
            ("device-os-version", "device-os-version"),
        ];
        for (json, element) in fields {
            if let Some(text) = one(element) {
                entry[json] = text.into();
            }
        }
        if login {
            entry["roles"] = texts(text, "role").into();
        }
        if entry["device-name"].is_string() {
            entry["device-groups"] = texts(text, "group").into();
        }
        entry
    };
    entries.map(entry).collect()
}

#[tokio::test]
async fn json_and_xml_say_the_same_of_everything() {
    let site = site("", &["10.5.0.0/24"]).await;
    let mut dice = Dice::new(20);
    let odd = group(3, "R&D <\"all\">", &[1, 4]);
    let os = ObjectKind::Device {
        dns_name: None,
        os: Some(name("Windows 11 & more")),
        os_version: Some(name("10.0 (22631)")),
        primary_group: None,
    };
    poll(
        &site,
        vec![person(1, "User1", None), odd, object(4, os, "ws-4")],
        &[],
    )
    .await;
    let mut events = Vec::new();
    for _ in 0..600 {
        let address = match dice.below(3) {
            0 => format!("2001:db8::{}", dice.below(40)),
            1 => format!("10.5.0.{}", dice.below(20)),
            _ => format!("10.1.0.{}", dice.below(60)),
        };
        let claim = match dice.below(4) {
            0 => logoff(),
            1 => device(&format!("ws-{}", dice.below(6)), "CORP"),
            _ => user_logon(dice.below(6)),
        };
        events.push(event(&address, claim));
    }
    let batch = Batch::Events {
        events,
        bookmark: None,
    };
    site.writer.intake.apply(batch).await.unwrap();
    let firewall = site.firewall().await;
    let mut position = "begintime=0".to_owned();
    let mut compared = 0;
    loop {
        let query = format!("{position}&entry_count=9");
        let (_, json) = firewall.batch(&query).await;
        let xml = xml(&firewall, &query).await;
        let mut entries = xml_entries(&xml);
        let wanted = json["report_entries"].as_array().unwrap();
        for (entry, wanted) in entries.iter_mut().zip(wanted) {
            // An end that only a filter or sharing makes is dated by the answer.
            let stamp = |entry: &Value| entry["timestamp"].as_i64().unwrap();
            assert!((0..60).contains(&(stamp(entry) - stamp(wanted))));
            entry["timestamp"] = wanted["timestamp"].clone();
        }
        assert_eq!(&entries, wanted);
        compared += entries.len();
        for field in ["cookie", "more", "full"] {
            let wanted = json[field]
                .as_str()
                .map_or(json[field].to_string(), str::to_owned);
            assert_eq!(texts(&xml, field), [wanted], "{field}");
        }
        if json["more"] == false {
            break;
        }
        position = format!("cookie={}", json["cookie"].as_str().unwrap());
    }
    assert!(compared > 100, "{compared}");
}

/// How often a world over HTTPS changes and is followed.
const ROUNDS: usize = 60;
/// Changes of a round.
const CHANGES: usize = 50;

/// The same as `follow_cookie`, over TLS and with the real writer: requests and answers are lost, filters change.
#[tokio::test]
async fn firewalls_that_follow_over_https_while_everything_changes_hold_the_truth() {
    let site = site("", &["10.5.0.0/24"]).await;
    let members = |dice: &mut Dice| (0..20).filter(|_| dice.percent(30)).collect::<Vec<u8>>();
    let people = (0..20)
        .map(|n| person(n, &format!("User{n}"), None))
        .collect();
    poll(&site, people, &[]).await;
    let mut dice = Dice::new(77);
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(Srx::new(&site).await);
    }
    for round in 0..ROUNDS {
        for part in 0..5 {
            let claim = |dice: &mut Dice| match dice.below(5) {
                0 | 1 => logoff(),
                2 => device(&format!("ws-{}", dice.below(9)), "CORP"),
                _ => user_logon(dice.below(25)),
            };
            let one = |dice: &mut Dice| {
                let network = *dice.pick(&["10.1.0", "10.2.0", "10.5.0"]);
                let address = format!("{network}.{}", dice.below(60));
                event(&address, claim(dice))
            };
            let events = (0..CHANGES / 5).map(|_| one(&mut dice)).collect();
            let batch = Batch::Events {
                events,
                bookmark: None,
            };
            site.writer.intake.apply(batch).await.unwrap();
            let group = group(100 + part, "Staff", &members(&mut dice));
            let batch = DirectoryBatch {
                directory: name("ad"),
                domain: name("corp.example.com"),
                facts: None,
                step: DirectoryStep::Poll,
                upserts: vec![group],
                removed: Vec::new(),
                bookmark: None,
            };
            site.writer
                .intake
                .apply(Batch::Directory(batch))
                .await
                .unwrap();
            for client in &mut clients {
                let entries = *dice.pick(&[1, 3, 10, 50]);
                match dice.below(6) {
                    0 => {}
                    1 => drop(client.firewall.batch(&client.query(entries)).await),
                    2 => {
                        let before = client.cookie.clone();
                        client.ask(entries).await;
                        client.cookie = before;
                    }
                    _ => drop(client.ask(entries).await),
                }
            }
        }
        for client in &mut clients {
            if dice.percent(30) {
                let include = ["10.1.0.0/16", "10.0.0.0/8", "10.2.0.0/27"];
                let include = *dice.pick::<&str>(&include);
                client.filters.request.include = vec![include.parse().unwrap()];
            }
            if round % 5 == 4 {
                client.follow(40).await;
            }
        }
    }
}
