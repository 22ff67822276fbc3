//! What a firewall is told: batches, cookies, filters, single questions, over real TLS.

use std::collections::BTreeMap;

use jims::identity::event::{Claim, DeviceRef, Qualifier, Strength};
use jims::identity::name::Name;
use serde_json::Value;

use crate::server_site::{Firewall, Site, event, table, told, user_ref};

/// What a firewall holds after it has done as it was told: user at address, or a device alone.
#[derive(Debug, Default, PartialEq, Eq)]
struct Held(BTreeMap<String, String>);

impl Held {
    /// A login that names nobody keeps the user that is there, as a real firewall may.
    fn obey(&mut self, told: &[String]) {
        for line in told {
            let words: Vec<_> = line.split(' ').collect();
            match words[..] {
                ["login", address, "--"] => {
                    self.0.entry(address.to_owned()).or_insert("--".to_owned());
                }
                ["login", address, user] => {
                    self.0.insert(address.to_owned(), user.to_owned());
                }
                ["logout", address] => {
                    self.0.remove(address);
                }
                _ => panic!("{line}"),
            }
        }
    }

    fn text(&self) -> Vec<String> {
        self.0.iter().map(|(a, u)| format!("{a} {u}")).collect()
    }

    /// Follows to the end of the journal and returns the last answer.
    async fn follow(&mut self, firewall: &Firewall<'_>, mut query: String) -> Value {
        loop {
            let (told, answer) = firewall.batch(&query).await;
            self.obey(&told);
            if answer["more"] == false {
                return answer;
            }
            let extra = query
                .split('&')
                .filter(|p| !p.starts_with("cookie=") && !p.starts_with("begintime="));
            let extra: Vec<_> = extra.map(str::to_owned).collect();
            query = format!(
                "cookie={}&{}",
                answer["cookie"].as_str().expect("a cookie"),
                extra.join("&")
            );
        }
    }
}

fn device_logon(name: &str) -> Claim {
    Claim::DeviceLogon {
        device: DeviceRef {
            name: Name::new(name).expect("a name"),
            qualifier: Qualifier::Domain(Name::new("corp.example.com").expect("a name")),
        },
        strength: Strength::Strong,
        own_kerberos: false,
    }
}

async fn ready(point: &str, shared: &[&str]) -> Site {
    let site = Site::start_with(point, table(1, shared)).await;
    site.become_ready();
    site
}

#[tokio::test]
async fn rule_16_a_cookie_brings_each_changed_address_once_in_its_latest_state() {
    let site = Site::start().await;
    let firewall = site.firewall().await;
    site.log_on("alice", "10.1.0.1").await;
    site.log_on("bob", "10.1.0.2").await;
    let (first, answer) = firewall.batch("begintime=0").await;
    assert_eq!(first, ["login 10.1.0.1 alice", "login 10.1.0.2 bob"]);
    assert_eq!(
        (&answer["full"], &answer["more"]),
        (&true.into(), &false.into())
    );
    let entry = &answer["report_entries"][0];
    assert_eq!(entry["domain-name"], "corp.example.com");
    assert_eq!(entry["roles"], serde_json::json!([]));

    let (nothing, idle) = firewall.resume(&answer).await;
    assert!(nothing.is_empty());
    assert_eq!(idle["full"], false);

    site.log_on("carol", "10.1.0.1").await;
    site.log_off("10.1.0.2").await;
    site.log_on("dave", "10.1.0.1").await;
    let changes = ["logout 10.1.0.2", "login 10.1.0.1 dave"];
    assert_eq!(firewall.resume(&answer).await.0, changes);
    assert_eq!(
        firewall.resume(&answer).await.0,
        changes,
        "the same cookie, the same answer"
    );
    assert_eq!(firewall.resume(&idle).await.0, changes);
}

#[tokio::test]
async fn rule_16_another_epoch_or_a_spoilt_cookie_is_a_full_report() {
    let site = Site::start().await;
    let firewall = site.firewall().await;
    site.log_on("alice", "10.1.0.1").await;
    let (_, answer) = firewall.batch("").await;

    let restarted = Site::start_with("", table(2, &[])).await;
    restarted.become_ready();
    restarted.log_on("bob", "10.1.0.9").await;
    let again = restarted.firewall().await;
    let (told, full) = again.resume(&answer).await;
    assert_eq!(told, ["login 10.1.0.9 bob"]);
    assert_eq!(full["full"], true);
    let (told, full) = again.batch("cookie=nonsense").await;
    assert_eq!((told.len(), &full["full"]), (1, &true.into()));
}

#[tokio::test]
async fn many_entries_come_in_several_batches_and_none_is_missed() {
    let site = Site::start().await;
    let firewall = site.firewall().await;
    let logon = |number: u32| {
        let logon = jims::identity::event::Logon {
            user: user_ref("corp.example.com", &format!("user{number}")),
            device: None,
            groups: Vec::new(),
            strength: Strength::Strong,
            logon_id: None,
        };
        let address = format!("10.2.{}.{}", number / 250, number % 250 + 1);
        event(&address, Claim::Logon(logon))
    };
    site.apply((0..2500).map(logon).collect()).await;
    let (capped, _) = firewall.batch("entry_count=5000").await;
    assert_eq!(capped.len(), 1000);
    let (default, answer) = firewall.batch("").await;
    assert_eq!((default.len(), &answer["more"]), (200, &true.into()));

    let mut held = Held::default();
    held.obey(&default);
    let (next, second) = firewall.resume(&answer).await;
    assert_eq!(second["full"], false, "only the first answer of a pass is");
    held.obey(&next);
    site.log_off("10.2.0.1").await;
    let last = held
        .follow(
            &firewall,
            format!(
                "cookie={}&entry_count=1000",
                second["cookie"].as_str().unwrap()
            ),
        )
        .await;
    assert_eq!(last["more"], false);
    assert_eq!(held.0.len(), 2499);
    let reading = site.server.points().remove(0);
    assert_eq!(reading.behind, Some(0));
    assert!(reading.last_batch.is_some() && reading.entries_sent >= 3500);
}

#[tokio::test]
async fn begintime_misses_nothing_even_from_a_clock_that_is_ahead() {
    let site = Site::start().await;
    let firewall = site.firewall().await;
    site.log_on("alice", "10.1.0.1").await;
    for begin in ["0", "1000", "2001-01-01T00:00:00Z"] {
        let (told, _) = firewall.batch(&format!("begintime={begin}")).await;
        assert_eq!(told, ["login 10.1.0.1 alice"], "{begin}");
    }
    let tomorrow = jims::runtime::clock::utc_now().unix_seconds() + 86_400;
    let (_, answer) = firewall.batch(&format!("begintime={tomorrow}")).await;
    site.log_on("bob", "10.1.0.2").await;
    let (told, answer) = firewall.resume(&answer).await;
    assert_eq!(told, ["login 10.1.0.2 bob"]);
    assert_eq!(answer["full"], false);
}

#[tokio::test]
async fn rule_17_a_device_alone_follows_a_user_only_after_a_logout() {
    let site = Site::start().await;
    let firewall = site.firewall().await;
    let mut held = Held::default();
    site.log_on("alice", "10.1.0.1").await;
    site.claim("10.1.0.1", device_logon("ws-0042")).await;
    let (first, answer) = firewall.batch("").await;
    assert_eq!(first, ["login 10.1.0.1 alice"]);
    assert_eq!(answer["report_entries"][0]["device-name"], "ws-0042");
    held.obey(&first);
    site.log_off("10.1.0.1").await;
    let single = firewall.json("/user_query/v2/ip/10.1.0.1").await;
    assert_eq!(told(&single), ["logout 10.1.0.1", "login 10.1.0.1 --"]);
    let (next, answer) = firewall
        .batch(&format!(
            "entry_count=1&cookie={}",
            answer["cookie"].as_str().unwrap()
        ))
        .await;
    assert_eq!(
        next,
        ["logout 10.1.0.1", "login 10.1.0.1 --"],
        "both in one answer"
    );
    let stamps: Vec<_> = answer["report_entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["timestamp"].as_i64())
        .collect();
    assert!(stamps[0] <= stamps[1], "{stamps:?}");
    held.obey(&next);
    assert_eq!(held.text(), ["10.1.0.1 --"]);
}

#[tokio::test]
async fn rule_18_a_narrower_address_filter_clears_what_it_hides() {
    let site = Site::start().await;
    let firewall = site.firewall().await;
    let mut held = Held::default();
    for number in 1..=5 {
        site.log_on(&format!("in{number}"), &format!("10.1.0.{number}"))
            .await;
        site.log_on(&format!("out{number}"), &format!("10.9.0.{number}"))
            .await;
    }
    let answer = held.follow(&firewall, "entry_count=3".to_owned()).await;
    assert_eq!(held.0.len(), 10);

    let narrow = "[enforcement_point.filter]\ninclude_addresses = [\"10.1.0.0/16\"]";
    site.reload(narrow).await;
    let cookie = answer["cookie"].as_str().unwrap();
    let (told, part) = firewall
        .batch(&format!("entry_count=3&cookie={cookie}"))
        .await;
    assert_eq!(part["full"], true);
    held.obey(&told);
    // Outside the filter something changes while the pass is under way: it moves to the journal's end.
    site.log_on("late", "10.9.0.5").await;
    let rest = format!("entry_count=3&cookie={}", part["cookie"].as_str().unwrap());
    let answer = held.follow(&firewall, rest).await;
    assert_eq!(held.0.len(), 5, "{held:?}");
    assert!(held.0.keys().all(|address| address.starts_with("10.1.")));

    site.log_on("unseen", "10.9.0.1").await;
    let (told, _) = firewall.resume(&answer).await;
    assert!(
        told.is_empty(),
        "after that pass the outside is skipped: {told:?}"
    );
}

#[tokio::test]
async fn rule_18_a_domain_filter_logs_out_users_of_others_and_a_wider_one_brings_them_back() {
    let site = Site::start().await;
    let firewall = site.firewall().await;
    let mut held = Held::default();
    site.log_on("alice", "10.1.0.1").await;
    site.log_on_in("lab.example.com", "bob", "10.1.0.2").await;
    let answer = held.follow(&firewall, String::new()).await;
    let cookie = answer["cookie"].as_str().unwrap();
    let only_corp = held
        .follow(&firewall, format!("cookie={cookie}&domain=CORP"))
        .await;
    assert_eq!(
        held.text(),
        ["10.1.0.1 alice"],
        "CORP means corp.example.com"
    );

    // An address goes from a user inside the filter to one outside it.
    site.log_on_in("lab.example.com", "bob", "10.1.0.1").await;
    let cookie = only_corp["cookie"].as_str().unwrap();
    held.follow(&firewall, format!("cookie={cookie}&domain=corp"))
        .await;
    assert!(held.0.is_empty(), "{held:?}");
    held.follow(&firewall, format!("cookie={cookie}")).await;
    assert_eq!(held.text(), ["10.1.0.1 bob", "10.1.0.2 bob"]);
}

#[tokio::test]
async fn rule_19_a_group_filter_hides_no_session() {
    let site = ready("[enforcement_point.filter]\ngroups = [\"vpn-*\"]", &[]).await;
    let firewall = site.firewall().await;
    site.log_on("alice", "10.1.0.1").await;
    assert_eq!(firewall.batch("").await.0, ["login 10.1.0.1 alice"]);
}

#[tokio::test]
async fn rule_20_nobody_is_an_empty_answer() {
    let site = Site::start().await;
    let firewall = site.firewall().await;
    site.log_on("alice", "10.1.0.1").await;
    site.log_off("10.1.0.1").await;
    for path in [
        "/user_query/v2/ip/10.1.0.1",
        "/user_query/v2/ip/10.1.0.77?force-probe=true",
        "/user_query/v2/ip/2001:db8::77",
        "/user_query/v2/user?id=nobody",
        "/user_query/v2/user?id=nobody&domain=CORP&ip=10.1.0.77",
        "/api/user_query/v2/user?id=alice&domain=corp.example.com",
    ] {
        let answer = firewall.json(path).await;
        assert_eq!(answer, serde_json::json!({"report_entries": []}), "{path}");
    }
}

#[tokio::test]
async fn a_user_is_found_by_any_name_and_an_address_in_any_form() {
    let site = Site::start().await;
    let firewall = site.firewall().await;
    site.log_on("alice", "10.1.0.1").await;
    site.log_on("alice", "2001:db8::7").await;
    for id in [
        "id=alice",
        "id=ALICE&domain=corp",
        "id=CORP%5Calice",
        "id=alice@corp.example.com",
        "id=Alice&domain=CORP.example.com",
    ] {
        let answer = firewall.json(&format!("/user_query/v2/user?{id}")).await;
        let mut told = told(&answer);
        told.sort();
        assert_eq!(
            told,
            ["login 10.1.0.1 alice", "login 2001:db8::7 alice"],
            "{id}"
        );
    }
    for address in [
        "10.1.0.1",
        "::ffff:10.1.0.1",
        "[2001:db8::7]",
        "2001:DB8:0::7",
    ] {
        let answer = firewall.json(&format!("/user_query/v2/ip/{address}")).await;
        assert_eq!(told(&answer).len(), 1, "{address}");
    }
}

#[tokio::test]
async fn rule_8_a_user_query_with_the_address_renews_the_session() {
    let site = Site::start().await;
    let firewall = site.firewall().await;
    site.log_on("alice", "10.1.0.1").await;
    let last = || {
        let core = site.writer.reader.read();
        let view = core.address("10.1.0.1".parse().unwrap()).unwrap();
        let evidence = view.user.unwrap().evidence;
        (evidence.producer.to_string(), evidence.occurred_at)
    };
    let before = last();
    let mut outcomes = site.writer.outcomes.listen();
    let answer = firewall
        .json("/user_query/v2/user?id=alice&domain=CORP&ip=10.1.0.1")
        .await;
    assert_eq!(told(&answer), ["login 10.1.0.1 alice"]);
    let heard = tokio::time::timeout(crate::server_site::GUARD, outcomes.recv()).await;
    let heard = heard.expect("an outcome").unwrap();
    assert_eq!(&*heard[0].producer, "srx");
    assert!(last().1 >= before.1);
    let other = firewall
        .json("/user_query/v2/user?id=bob&domain=CORP&ip=10.1.0.1")
        .await;
    assert!(told(&other).is_empty(), "somebody else is there");
}

#[tokio::test]
async fn rule_11_a_shared_address_names_no_user() {
    let site = ready("", &["10.5.0.0/24"]).await;
    let firewall = site.firewall().await;
    let mut held = Held::default();
    site.claim("10.5.0.1", device_logon("terminal")).await;
    let logon = jims::identity::event::Logon {
        user: user_ref("corp.example.com", "alice"),
        device: None,
        groups: Vec::new(),
        strength: Strength::Strong,
        logon_id: None,
    };
    let events = vec![event("10.5.0.1", Claim::Logon(logon))];
    let batch = jims::identity::Batch::Events {
        events,
        bookmark: None,
    };
    site.writer.intake.apply(batch).await.unwrap();
    held.follow(&firewall, String::new()).await;
    assert_eq!(held.text(), ["10.5.0.1 --"]);
    let user = firewall
        .json("/user_query/v2/user?id=alice&ip=10.5.0.1")
        .await;
    assert!(told(&user).is_empty());
}

#[tokio::test]
async fn xml_is_given_to_those_who_prefer_it() {
    let site = Site::start().await;
    let firewall = site.firewall().await;
    site.log_on("alice", "10.1.0.1").await;
    let answer = firewall
        .client
        .get(site.url("/user_query/v2/users/endpoints"))
        .bearer_auth(&firewall.token)
        .header("Accept", "application/xml")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.headers()["content-type"], "application/xml");
    let text = answer.text().await.unwrap();
    assert!(
        text.contains("<operation>logon</operation><IP>10.1.0.1</IP>"),
        "{text}"
    );
    assert!(
        text.contains("<user>alice</user>") && text.contains("<cookie>j2."),
        "{text}"
    );
}
