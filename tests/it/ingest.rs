//! Collectors push to a Server over HTTPS, with an independent client and documents written by hand; a firewall that asks
//! the Server tells what came of it.

#![expect(
    clippy::unwrap_used,
    reason = "a helper that fails has failed its test"
)]

use std::io::Write as _;
use std::sync::Arc;

use jims::push::code::Code;
use jims::push::ingest::{CollectorState, Kept, ScopeText};
use jims::runtime::clock;
use reqwest::{Client, Response};
use serde_json::{Value, json};

use crate::server_site::{FIREWALL, SECRET, Site, login, table};

/// Where Collectors call from: nobody's configured address.
pub(crate) const BRANCH: &str = "127.77.4.50";
pub(crate) const OTHER_BRANCH: &str = "127.77.4.51";
pub(crate) const PUSH: &str = "/collector/v1/push";
const ONBOARD: &str = "/api/collector/v1/onboard";

/// A Server that lets Collectors call, ready.
pub(crate) async fn site() -> Site {
    let site = Site::start_with("", table(1, &[])).await;
    site.become_ready();
    site.ingest.enable(true).await;
    site
}

/// An invitation's secret as it is sent.
pub(crate) async fn invited(site: &Site, name: &str) -> String {
    invited_within(site, name, ScopeText::default()).await
}

async fn invited_within(site: &Site, name: &str, scope: ScopeText) -> String {
    let key = site.server.certificate().key_sha256;
    let invited = site.ingest.invite(name, None, scope, key);
    let (code, _) = invited.await.unwrap();
    let carried = Code::parse(&code.text()).unwrap();
    assert_eq!(carried.key, key, "what the Collector knows the Server by");
    data_encoding::HEXLOWER.encode(&carried.secret)
}

fn registration(invitation: &str, who: &str) -> Value {
    json!({
        "protocol": 1, "invitation": invitation, "client_id": format!("collector-{who}"),
        "client_secret": format!("{who:0>64}"), "sent_at": clock::utc_now().0,
        "collector": { "name": format!("{who}.example.com"), "version": "0.1.0" },
        "of a later version": true
    })
}

pub(crate) async fn post(site: &Site, client: &Client, path: &str, body: &Value) -> (u16, Value) {
    let request = client.post(site.url(path)).json(body);
    answered(request.send().await.unwrap()).await
}

async fn answered(answer: Response) -> (u16, Value) {
    let status = answer.status().as_u16();
    let body = answer.bytes().await.unwrap();
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

/// An onboarded Collector with a token.
pub(crate) struct Collector<'a> {
    site: &'a Site,
    pub(crate) client: Client,
    pub(crate) token: String,
}

pub(crate) async fn token(site: &Site, client: &Client, who: &str) -> (u16, Value) {
    let asked = json!({
        "grant_type": "client_credentials", "client_id": format!("collector-{who}"),
        "client_secret": format!("{who:0>64}")
    });
    post(site, client, "/oauth_token/oauth", &asked).await
}

pub(crate) async fn onboarded<'a>(site: &'a Site, name: &str, from: &str) -> Collector<'a> {
    onboarded_within(site, name, from, ScopeText::default()).await
}

/// One that may speak for no more than the scope.
pub(crate) async fn onboarded_within<'a>(
    site: &'a Site,
    name: &str,
    from: &str,
    scope: ScopeText,
) -> Collector<'a> {
    let client = site.client_from(from);
    let invitation = invited_within(site, name, scope).await;
    let (status, answer) = post(site, &client, ONBOARD, &registration(&invitation, name)).await;
    assert_eq!(
        (status, &answer["collector"]),
        (200, &json!(name)),
        "{answer}"
    );
    assert_eq!(answer["server"], "test");
    let (status, given) = token(site, &client, name).await;
    assert_eq!(status, 200, "{given}");
    let token = given["access_token"].as_str().unwrap().to_owned();
    Collector {
        site,
        client,
        token,
    }
}

/// A push of epoch `e1` with a name and no changes.
pub(crate) fn push(more: Value) -> Value {
    let mut push = json!({
        "protocol": 1, "collector": { "name": "branch.example.com", "version": "0.1.0" },
        "epoch": "e1", "after": 0, "position": 0, "more": false, "behind": 0, "attention": 0,
        "sent_at": clock::utc_now().0, "started": clock::utc_now().0,
        "totals": { "domains": 1, "users": 2, "devices": 0, "groups": 0, "sessions": 2 }
    });
    for (key, value) in more.as_object().unwrap() {
        push[key] = value.clone();
    }
    push
}

pub(crate) fn here(user: &str, address: &str) -> Value {
    let now = clock::utc_now().0;
    json!({ "is": "address", "ip": address, "user": [{
        "is": "strong", "at": now, "heard": now, "name": user, "domain": "corp.example.com",
        "producer": "dc1", "record": "4768"
    }] })
}

fn nobody(address: &str) -> Value {
    json!({ "is": "address", "ip": address })
}

fn object(kind: &str, name: &str, id: u8, more: Value) -> Value {
    let mut object = json!({
        "is": "object", "directory": "ad", "domain": "branch.example.com",
        "id": format!("{id:032x}"), "name": name, "kind": kind
    });
    for (key, value) in more.as_object().unwrap() {
        object[key] = value.clone();
    }
    object
}

impl Collector<'_> {
    /// Pushes packed, as Collectors do.
    pub(crate) async fn push(&self, push: &Value) -> (u16, Value) {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(push.to_string().as_bytes()).unwrap();
        let answer = self.send(packed.finish().unwrap(), "gzip").await;
        answered(answer).await
    }

    pub(crate) async fn send(&self, body: Vec<u8>, coding: &str) -> Response {
        let request = self
            .client
            .post(self.site.url(PUSH))
            .bearer_auth(&self.token)
            .header("Content-Type", "application/json")
            .header("Content-Encoding", coding)
            .body(body);
        request.send().await.unwrap()
    }

    /// A whole pass in one push, up to the position.
    pub(crate) async fn tells_all(&self, epoch: &str, position: u64, changes: Value) {
        let all = push(json!({
            "epoch": epoch, "begins": true, "position": position, "changes": changes
        }));
        let (status, answer) = self.push(&all).await;
        assert_eq!(status, 200, "{answer}");
        assert_eq!(
            answer["accepted"],
            json!({ "epoch": epoch, "position": position })
        );
    }
}

/// What a firewall is told of every address, in the order of addresses.
async fn seen(site: &Site) -> Vec<String> {
    let firewall = site.firewall().await;
    let (mut all, _) = firewall.batch("begintime=0").await;
    all.retain(|line| line.starts_with("login"));
    all.sort();
    all
}

#[tokio::test]
async fn rule_26_onboarding_and_what_is_wrong_with_it() {
    let site = site().await;
    let client = site.client_from(BRANCH);
    let invitation = invited(&site, "berlin").await;
    let asked = registration(&invitation, "berlin");
    let again = registration(&invitation, "berlin");
    for asked in [&asked, &again] {
        let (status, answer) = post(&site, &client, ONBOARD, asked).await;
        assert_eq!((status, &answer["collector"]), (200, &json!("berlin")));
    }
    let other = registration(&invitation, "paris");
    let (status, answer) = post(&site, &client, ONBOARD, &other).await;
    assert_eq!((status, &answer["error"]), (409, &json!("used_invitation")));

    let second = invited(&site, "paris").await;
    let mut taken = registration(&second, "paris");
    for id in ["srx-1", "collector-berlin"] {
        taken["client_id"] = json!(id);
        let (status, answer) = post(&site, &client, ONBOARD, &taken).await;
        assert_eq!((status, &answer["error"]), (409, &json!("client_id_taken")));
    }
    site.ingest.revoke("paris").await.unwrap();
    let (status, answer) = post(&site, &client, ONBOARD, &registration(&second, "paris")).await;
    assert_eq!(
        (status, &answer["error"]),
        (403, &json!("revoked_invitation"))
    );
    let mut old = asked.clone();
    old["protocol"] = json!(0);
    let (status, answer) = post(&site, &client, ONBOARD, &old).await;
    assert_eq!((status, &answer["error"]), (400, &json!("protocol")));
    assert_eq!(answer["minimum"], 1);
    let (status, answer) = post(&site, &client, ONBOARD, &json!({ "protocol": 1 })).await;
    assert_eq!((status, &answer["error"]), (400, &json!("invalid_request")));

    let kept = Kept::read(Arc::clone(&site.state)).unwrap();
    assert!(kept.aside.is_none(), "the file is whole");
    let text = std::fs::read_to_string(site.state.path().join("ingest/collectors.json")).unwrap();
    assert!(!text.contains(&invitation), "hashes only");
    assert!(!text.contains(asked["client_secret"].as_str().unwrap()));
}

#[tokio::test]
async fn guesses_are_limited_by_address_and_nobody_else_is_locked_out() {
    let site = site().await;
    let (guesser, honest) = (site.client_from(BRANCH), site.client_from(OTHER_BRANCH));
    let invitation = invited(&site, "berlin").await;
    for number in 0..6 {
        let guess = registration(&format!("{number:032x}"), "guess");
        let (status, answer) = post(&site, &guesser, ONBOARD, &guess).await;
        assert_eq!(
            (status, &answer["error"]),
            (403, &json!("unknown_invitation"))
        );
    }
    let good = registration(&invitation, "berlin");
    assert_eq!(post(&site, &guesser, ONBOARD, &good).await.0, 429);
    assert_eq!(post(&site, &honest, ONBOARD, &good).await.0, 200);
}

#[tokio::test]
async fn rule_31_strangers_hear_nothing_and_lock_no_firewall_out() {
    let site = site().await;
    let stranger = site.client_from(BRANCH);
    let wrong = json!({
        "grant_type": "client_credentials", "client_id": "srx-1", "client_secret": "wrong"
    });
    let (status, body) = post(&site, &stranger, "/oauth_token/oauth", &wrong).await;
    assert_eq!((status, body), (403, Value::Null), "nobody is onboarded");
    let collector = onboarded(&site, "berlin", OTHER_BRANCH).await;
    let mut statuses = Vec::new();
    for _ in 0..7 {
        statuses.push(post(&site, &stranger, "/oauth_token/oauth", &wrong).await.0);
    }
    assert_eq!(statuses, [401, 401, 401, 401, 401, 401, 429]);
    let firewall = site.client_from(FIREWALL);
    assert_eq!(login(&site, &firewall, SECRET).await.status(), 200);
    for path in ["/user_query/v2/users/endpoints", "/nothing"] {
        let asked = collector
            .client
            .get(site.url(path))
            .bearer_auth(&collector.token);
        let answer = asked.send().await.unwrap();
        assert_eq!(answer.status(), 403);
        assert!(answer.bytes().await.unwrap().is_empty());
    }
    assert!(site.server.unknown_requests().is_empty());
    let (status, _) = post(&site, &stranger, PUSH, &push(json!({}))).await;
    assert_eq!(status, 401, "no token");
    site.ingest.enable(false).await;
    assert_eq!(collector.push(&push(json!({}))).await.0, 403);
}

#[tokio::test]
async fn what_is_pushed_is_there_once_and_the_position_says_so() {
    let site = site().await;
    let collector = onboarded(&site, "berlin", BRANCH).await;
    let (status, answer) = collector.push(&push(json!({}))).await;
    assert_eq!(
        (status, &answer["accepted"]),
        (409, &Value::Null),
        "from the beginning"
    );

    let first = push(json!({
        "begins": true, "position": 5, "more": true, "behind": 2,
        "changes": [here("alice", "10.8.0.1"), here("bob", "10.8.0.2")]
    }));
    let (status, answer) = collector.push(&first).await;
    let stands = json!({ "epoch": "e1", "position": 5 });
    assert_eq!((status, &answer["accepted"]), (200, &stands));
    let reading = &site.ingest.readings()[0];
    assert_eq!(reading.state, CollectorState::Resynchronising);
    assert_eq!(reading.behind, 2);
    assert_eq!(
        seen(&site).await,
        ["login 10.8.0.1 alice", "login 10.8.0.2 bob"]
    );

    let next = push(json!({ "after": 5, "position": 7, "changes": [here("carol", "10.8.0.3")] }));
    assert_eq!(collector.push(&next).await.0, 200);
    let (status, answer) = collector.push(&next).await;
    let stands = json!({ "epoch": "e1", "position": 7 });
    assert_eq!(
        (status, &answer["accepted"]),
        (409, &stands),
        "it was taken already"
    );
    for other in [
        json!({ "after": 8, "position": 9 }),
        json!({ "after": 7, "epoch": "e2" }),
    ] {
        let (status, answer) = collector.push(&push(other)).await;
        let is_wrong = answer["error"] == "invalid_request";
        assert!(
            is_wrong || (status, &answer["accepted"]) == (409, &stands),
            "{answer}"
        );
    }
    let gone = push(json!({ "after": 7, "position": 8, "changes": [nobody("10.8.0.2")] }));
    assert_eq!(collector.push(&gone).await.0, 200);
    assert_eq!(
        seen(&site).await,
        ["login 10.8.0.1 alice", "login 10.8.0.3 carol"]
    );
    let heartbeat = push(json!({ "after": 8, "position": 8 }));
    assert_eq!(collector.push(&heartbeat).await.0, 200);

    let reading = &site.ingest.readings()[0];
    assert_eq!(reading.state, CollectorState::Connected);
    assert_eq!((reading.pushed.sessions, reading.behind), (4, 0));
    assert_eq!(reading.introduced, "branch.example.com");
    assert_eq!(reading.address, Some(BRANCH.parse().unwrap()));
}

#[tokio::test]
async fn rule_27_a_new_epoch_is_mark_and_sweep() {
    let site = site().await;
    let (berlin, paris) = (
        onboarded(&site, "berlin", BRANCH).await,
        onboarded(&site, "paris", OTHER_BRANCH).await,
    );
    let both = json!([here("alice", "10.8.0.1"), here("bob", "10.8.0.2")]);
    berlin.tells_all("e1", 2, both).await;
    paris
        .tells_all("p1", 1, json!([here("dave", "10.9.0.1")]))
        .await;
    let begins = push(json!({
        "epoch": "e2", "begins": true, "position": 3, "more": true,
        "changes": [here("bob", "10.8.0.2")]
    }));
    assert_eq!(berlin.push(&begins).await.0, 200);
    let all = [
        "login 10.8.0.1 alice",
        "login 10.8.0.2 bob",
        "login 10.9.0.1 dave",
    ];
    assert_eq!(
        seen(&site).await,
        all,
        "nothing goes before it has told everything"
    );
    let ends = push(json!({
        "epoch": "e2", "after": 3, "position": 4, "changes": [here("carol", "10.8.0.3")]
    }));
    assert_eq!(berlin.push(&ends).await.0, 200);
    let all = [
        "login 10.8.0.2 bob",
        "login 10.8.0.3 carol",
        "login 10.9.0.1 dave",
    ];
    assert_eq!(seen(&site).await, all);
}

#[tokio::test]
async fn rule_27_a_domains_directory_data_come_from_one_collector_and_another_takes_over() {
    let site = site().await;
    let (berlin, paris) = (
        onboarded(&site, "berlin", BRANCH).await,
        onboarded(&site, "paris", OTHER_BRANCH).await,
    );
    let alice = json!({ "is": "address", "ip": "10.8.0.1", "user": [{
        "is": "strong", "at": clock::utc_now().0, "heard": clock::utc_now().0, "name": "alice",
        "domain": "branch.example.com", "producer": "dc1"
    }] });
    let directory = |group: &str| {
        json!([
            { "is": "domain", "directory": "ad", "domain": "branch.example.com" },
            object("user", "alice", 1, json!({ "enabled": true })),
            object("group", group, 2, json!({ "members": [format!("{:032x}", 1)] })),
            alice,
        ])
    };
    berlin.tells_all("e1", 4, directory("Staff")).await;
    paris.tells_all("p1", 4, directory("Others")).await;
    let roles = async || {
        let firewall = site.firewall().await;
        let (_, report) = firewall.batch("begintime=0").await;
        report["report_entries"][0]["roles"].clone()
    };
    assert_eq!(roles().await, json!(["Staff"]), "the first onboarded tells");

    site.ingest.disable("berlin").await.unwrap();
    let (status, answer) = berlin
        .push(&push(json!({ "after": 4, "position": 4 })))
        .await;
    assert_eq!((status, &answer["error"]), (403, &json!("disabled")));
    assert_eq!(roles().await, json!(["Staff"]), "until another has told");
    let heartbeat = push(json!({ "epoch": "p1", "after": 4, "position": 4 }));
    let (status, answer) = paris.push(&heartbeat).await;
    assert_eq!(
        (status, &answer["accepted"]),
        (409, &Value::Null),
        "it takes over"
    );
    paris.tells_all("p1", 4, directory("Others")).await;
    assert_eq!(roles().await, json!(["Others"]));

    site.ingest.enable_collector("berlin").await.unwrap();
    let (status, answer) = berlin
        .push(&push(json!({ "after": 4, "position": 4 })))
        .await;
    assert_eq!(
        (status, &answer["accepted"]),
        (409, &Value::Null),
        "it is the first again"
    );
    berlin.tells_all("e1", 4, directory("Staff")).await;
    assert_eq!(roles().await, json!(["Staff"]));
    paris.tells_all("p2", 4, directory("Others")).await;
    assert_eq!(roles().await, json!(["Staff"]));
}

#[tokio::test]
async fn a_removed_collector_takes_along_what_it_brought() {
    let site = site().await;
    let (berlin, paris) = (
        onboarded(&site, "berlin", BRANCH).await,
        onboarded(&site, "paris", OTHER_BRANCH).await,
    );
    berlin
        .tells_all(
            "e1",
            2,
            json!([here("alice", "10.8.0.1"), here("bob", "10.8.0.2")]),
        )
        .await;
    paris
        .tells_all("p1", 1, json!([here("dave", "10.9.0.1")]))
        .await;
    site.ingest.remove("berlin").await.unwrap();
    assert_eq!(seen(&site).await, ["login 10.9.0.1 dave"]);
    assert_eq!(
        berlin
            .push(&push(json!({ "after": 2, "position": 2 })))
            .await
            .0,
        401
    );
    assert_eq!(token(&site, &berlin.client, "berlin").await.0, 401);
    assert_eq!(site.ingest.readings().len(), 1);
    let back = onboarded(&site, "berlin", BRANCH).await;
    let (status, answer) = back.push(&push(json!({ "after": 2, "position": 2 }))).await;
    assert_eq!(
        (status, &answer["accepted"]),
        (409, &Value::Null),
        "the name is as good as new"
    );
}

#[tokio::test]
async fn another_policy_makes_every_collector_start_over() {
    let site = site().await;
    let collector = onboarded(&site, "berlin", BRANCH).await;
    collector
        .tells_all("e1", 1, json!([here("alice", "10.8.0.1")]))
        .await;
    let mut policy = table(1, &[]).policy().clone();
    site.ingest.obey(policy.clone()).await.unwrap();
    let heartbeat = push(json!({ "after": 1, "position": 1 }));
    assert_eq!(collector.push(&heartbeat).await.0, 200, "nothing changed");
    policy.filter.exclude_users = jims::identity::policy::Globs::new(["svc-*"]).unwrap();
    site.ingest.obey(policy).await.unwrap();
    let (status, answer) = collector.push(&heartbeat).await;
    assert_eq!((status, &answer["accepted"]), (409, &Value::Null));
}
