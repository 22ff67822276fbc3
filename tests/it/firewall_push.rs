//! Portals push over HTTPS, with an independent client; what they are told is what the table did.

#![expect(
    clippy::unwrap_used,
    reason = "a helper that fails has failed its test"
)]

use std::net::IpAddr;
use std::time::Duration;

use jims::identity::address::Networks;
use jims::identity::policy::{Globs, Policy, Scope};
use jims::identity::{Core, view::Epoch};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};

use crate::abuse_site::{Wire, statuses};
use crate::server::ClientCa;
use crate::server_site::{FIREWALL, GUARD, SECRET, Site, login, table};

const PORTAL: &str = "127.77.4.30";
const PASSWORD: &str = "portal:secret";
const PATH: &str = "/api/userfw/v1/post-entry";

/// A Server with a firewall and a portal that may speak for 10.8.0.0/16 and assert groups `VPN-*`.
async fn site() -> Site {
    let mut policy: Policy = table(1, &[]).policy().clone();
    let scope = Scope {
        networks: Some(Networks::new(["10.8.0.0/16".parse().unwrap()])),
        domains: None,
        roles: Globs::new(["VPN-*"]).unwrap(),
    };
    policy.scopes.insert("portal".into(), scope);
    let site = Site::start_with(&portal(), Core::new(Epoch(1), policy)).await;
    site.become_ready();
    site
}

fn portal() -> String {
    format!(
        "[[firewall_push]]\nname = \"portal\"\nsenders = [\"{PORTAL}\"]\nuser = \"portal\"\n\
         password_file = \"portal.secret\"\ndomain = \"corp.example.com\"\nnetworks = [\"10.8.0.0/16\"]\n"
    )
}

fn entry(operation: &str, address: &str, more: &str) -> String {
    format!(
        "<userfw-entry><source>portal</source><operation>{operation}</operation><IP>{address}</IP>{more}</userfw-entry>"
    )
}

fn logon(user: &str, address: &str) -> String {
    entry("logon", address, &format!("<user>{user}</user>"))
}

fn document(entries: &[String]) -> String {
    format!("<userfw-entries>{}</userfw-entries>", entries.concat())
}

fn request(site: &Site, client: &Client, body: String) -> RequestBuilder {
    client
        .post(site.url(PATH))
        .basic_auth("portal", Some(PASSWORD))
        .header("Content-Type", "application/xml")
        .body(body)
}

async fn push(site: &Site, client: &Client, body: String) -> Response {
    request(site, client, body).send().await.unwrap()
}

async fn told(answer: Response) -> (u16, Value) {
    (answer.status().as_u16(), answer.json().await.unwrap())
}

#[tokio::test]
async fn every_entry_is_answered_for_itself_and_what_is_applied_is_there() {
    let site = site().await;
    let firewall = site.firewall().await;
    let client = site.client_from(PORTAL);
    let roles = "<user>bob</user><role-list><role>VPN-Users</role><role>Admins</role></role-list>";
    let entries = [
        logon("alice", "10.8.0.1"),
        entry("update", "10.8.0.2", ""),
        logon("carol", "10.9.0.1"),
        entry("logon", "10.8.0.3", roles),
        entry("logoff", "10.8.0.4", ""),
        logon("dave", "nowhere"),
        logon("erin", "2001:db8::1"),
    ];
    let (status, answer) = told(push(&site, &client, document(&entries)).await).await;
    let expected = json!({
        "entries": 7, "applied": 2, "ignored": 3, "refused": 2,
        "not-applied": [
            { "entry": 2, "outcome": "refused", "reason": "bad-operation" },
            { "entry": 3, "IP": "10.9.0.1", "outcome": "ignored", "reason": "out-of-scope" },
            { "entry": 5, "IP": "10.8.0.4", "outcome": "ignored", "reason": "no-session" },
            { "entry": 6, "outcome": "refused", "reason": "bad-address" },
            { "entry": 7, "IP": "2001:db8::1", "outcome": "ignored", "reason": "out-of-scope" },
        ]
    });
    assert_eq!((status, answer), (200, expected));
    let (now, report) = firewall.batch("begintime=0").await;
    assert_eq!(now, ["login 10.8.0.1 alice", "login 10.8.0.3 bob"]);
    assert_eq!(report["report_entries"][1]["roles"], json!(["VPN-Users"]));

    // Of the same millisecond as the logon it would lose (rule 6).
    tokio::time::sleep(Duration::from_millis(2)).await;
    let (status, answer) =
        told(push(&site, &client, document(&[entry("logoff", "10.8.0.1", "")])).await).await;
    assert_eq!((status, &answer["applied"]), (200, &json!(1)));
    assert_eq!(firewall.resume(&report).await.0, ["logout 10.8.0.1"]);

    let reading = site.writer.reports.read();
    let portal = reading
        .iter()
        .find(|r| r.name == "portal")
        .expect("a report");
    assert_eq!((portal.received, portal.interpreted), (8, 6));
    assert_eq!(portal.ignored.get("out-of-scope"), Some(&2));
    assert_eq!(portal.ignored.get("bad-operation"), Some(&1));
}

#[tokio::test]
async fn the_answer_is_xml_for_whoever_prefers_it() {
    let site = site().await;
    let client = site.client_from(PORTAL);
    let answer = client
        .post(site.url("/userfw/v1/post-entry"))
        .basic_auth("portal", Some(PASSWORD))
        .header("Accept", "application/xml")
        .body(document(&[
            logon("alice", "10.8.0.1"),
            logon("bob", "10.9.0.1"),
        ]))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.headers()["content-type"], "application/xml");
    let text = answer.text().await.unwrap();
    assert!(text.contains("<applied>1</applied>"), "{text}");
    assert!(text.contains("<entry>2</entry><IP>10.9.0.1</IP><outcome>ignored</outcome><reason>out-of-scope</reason>"), "{text}");

    let kind = async |accept: &str| {
        let asked = request(&site, &client, document(&[])).header("Accept", accept);
        let answer = asked.send().await.unwrap();
        answer.headers()["content-type"]
            .to_str()
            .unwrap()
            .to_owned()
    };
    let (json, xml) = ("application/json", "application/xml");
    assert_eq!(kind("*/*").await, json);
    assert_eq!(kind("application/json;q=0.5, application/xml").await, xml);
    assert_eq!(kind("application/xml;q=0.1, application/json").await, json);
}

#[tokio::test]
async fn a_document_that_is_none_changes_nothing() {
    let site = site().await;
    let firewall = site.firewall().await;
    let client = site.client_from(PORTAL);
    let bomb = format!(
        "<!DOCTYPE a [<!ENTITY x \"{}\">]>{}",
        "x".repeat(1000),
        document(&[logon("&x;", "10.8.0.1")])
    );
    let cut = document(&[logon("alice", "10.8.0.1")]).replace("</userfw-entries>", "");
    let many = document(&vec![logon("alice", "10.8.0.1"); 1001]);
    for (body, why) in [
        (bomb, "DOCTYPE"),
        (cut, "well-formed"),
        (many, "more than 1000"),
    ] {
        let (status, answer) = told(push(&site, &client, body).await).await;
        assert_eq!((status, &answer["error"]), (400, &json!("invalid_request")));
        assert!(
            answer["error_description"].as_str().unwrap().contains(why),
            "{answer}"
        );
    }
    let huge = format!("<userfw-entries>{}</userfw-entries>", " ".repeat(1 << 20));
    assert_eq!(push(&site, &client, huge).await.status(), 413);
    let nothing_understood = document(&[entry("update", "10.8.0.1", "")]);
    assert_eq!(push(&site, &client, nothing_understood).await.status(), 400);
    let json = client
        .post(site.url(PATH))
        .basic_auth("portal", Some(PASSWORD))
        .json(&json!({}));
    assert_eq!(json.send().await.unwrap().status(), 415);
    assert_eq!(push(&site, &client, document(&[])).await.status(), 200);
    assert!(firewall.batch("begintime=0").await.0.is_empty());
}

#[tokio::test]
async fn rule_31_strangers_learn_nothing_and_a_portal_must_show_its_password() {
    let site = site().await;
    let body = || document(&[logon("alice", "10.8.0.1")]);
    let stranger = site.client_from("127.77.4.99");
    let refused = push(&site, &stranger, body()).await;
    assert_eq!(refused.status(), 403);
    assert_eq!(refused.bytes().await.unwrap().len(), 0);
    let noted = site.strangers.read();
    assert_eq!(noted[0].address, "127.77.4.99".parse::<IpAddr>().unwrap());

    let portal = site.client_from(PORTAL);
    let without = portal
        .post(site.url(PATH))
        .body(body())
        .send()
        .await
        .unwrap();
    assert_eq!(without.status(), 401);
    assert_eq!(
        without.headers()["www-authenticate"],
        "Basic realm=\"jims\""
    );
    let wrong = portal
        .post(site.url(PATH))
        .basic_auth("portal", Some("wrong"))
        .body(body());
    assert_eq!(wrong.send().await.unwrap().status(), 401);
}

#[tokio::test]
async fn rule_23_tokens_of_portals_and_firewalls_are_of_no_use_to_each_other() {
    let site = site().await;
    let body = || document(&[logon("alice", "10.8.0.1")]);
    let portal = site.client_from(PORTAL);
    let firewall = site.firewall().await;
    let token = portal
        .post(site.url(PATH))
        .bearer_auth(&firewall.token)
        .body(body());
    assert_eq!(
        token.send().await.unwrap().status(),
        401,
        "a firewall's token"
    );
    let at_firewall = site.client_from(FIREWALL);
    assert_eq!(
        push(&site, &at_firewall, body()).await.status(),
        403,
        "a firewall's address"
    );

    let form = "grant_type=client_credentials&client_id=portal&client_secret=portal%3Asecret";
    let given = portal
        .post(site.url("/oauth_token/oauth"))
        .body(form)
        .send()
        .await
        .unwrap();
    let given: Value = given.json().await.unwrap();
    let token = given["access_token"].as_str().unwrap();
    let asked = portal
        .get(site.url("/user_query/v2/users/endpoints"))
        .bearer_auth(token);
    assert_eq!(
        asked.send().await.unwrap().status(),
        403,
        "a portal does not ask"
    );
    let pushed = portal
        .post(site.url(PATH))
        .bearer_auth(token)
        .body(body())
        .send()
        .await
        .unwrap();
    assert_eq!(told(pushed).await.1["applied"], json!(1));
    let as_firewall = login(&site, &portal, SECRET).await;
    assert_eq!(
        as_firewall.status(),
        401,
        "a firewall's secret from elsewhere"
    );
}

#[tokio::test]
async fn documents_come_at_a_bounded_pace() {
    let site = site().await;
    let client = site.client_from(PORTAL);
    let begin = jims::runtime::clock::monotonic_now();
    // Faster than 100 a second, as soon as there are connections.
    let refused = loop {
        assert!(begin.elapsed() < GUARD, "more than 200 at once were taken");
        let mut pushes = tokio::task::JoinSet::new();
        for _ in 0..100 {
            let request = request(&site, &client, document(&[]));
            pushes.spawn(async move { request.send().await.unwrap() });
        }
        let answers = pushes.join_all().await.into_iter();
        let mut refused = answers.filter(|a| a.status() == StatusCode::TOO_MANY_REQUESTS);
        if let Some(refused) = refused.next() {
            break refused;
        }
    };
    assert_eq!(refused.headers()["retry-after"], "1");
    while push(&site, &client, document(&[])).await.status() != 200 {
        assert!(begin.elapsed() < GUARD, "it recovers");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn rule_32_only_so_many_documents_of_a_portal_are_held_at_once() {
    let site = site().await;
    let client = site.client_from(PORTAL);
    let mut held = Vec::new();
    for _ in 0..jims::producer::firewall_push::MAX_AT_ONCE {
        let mut wire = crate::abuse_site::Wire::open(&site, PORTAL).await;
        // base64 of portal:portal:secret
        let head = format!(
            "POST {PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Basic cG9ydGFsOnBvcnRhbDpzZWNyZXQ=\r\n\
             Content-Length: 1000000\r\nExpect: 100-continue\r\n\r\n"
        );
        wire.write(head.as_bytes()).await;
        // Said as soon as the document is being read.
        assert_eq!(wire.answer().await, "HTTP/1.1 100 Continue\r\n\r\n");
        held.push(wire);
    }
    let body = || document(&[logon("alice", "10.8.0.1")]);
    let refused = push(&site, &client, body()).await;
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key("retry-after"));
    let firewall = site.firewall().await;
    assert!(firewall.batch("begintime=0").await.0.is_empty());

    drop(held);
    let begin = jims::runtime::clock::monotonic_now();
    while push(&site, &client, body()).await.status() != 200 {
        assert!(begin.elapsed() < GUARD, "there is room again");
    }
    let readings = site.writer.reports.read();
    let portal = readings.iter().find(|r| r.name == "portal");
    let dropped = &portal.expect("a report").dropped;
    assert!(dropped.contains_key("too-many-at-once"), "{dropped:?}");
}

#[tokio::test]
async fn nothing_is_acknowledged_by_a_service_that_stops() {
    let site = site().await;
    let client = site.client_from(PORTAL);
    assert_eq!(push(&site, &client, document(&[])).await.status(), 200);
    site.stop_writer().await;
    let answer = push(&site, &client, document(&[logon("alice", "10.8.0.1")])).await;
    assert_eq!(answer.status(), 503);
    assert!(answer.headers().contains_key("retry-after"));
}

#[tokio::test]
async fn rule_31_a_stranger_learns_nothing_by_any_method_or_size() {
    let site = site().await;
    let stranger = site.client_from("127.77.4.99");
    for method in ["GET", "HEAD", "PUT", "OPTIONS", "POST"] {
        let method: reqwest::Method = method.parse().unwrap();
        let answer = stranger.request(method.clone(), site.url(PATH));
        let answer = answer.send().await.unwrap();
        assert_eq!(answer.status(), 403, "{method}");
        assert!(!answer.headers().contains_key("allow"), "{method}");
        assert_eq!(answer.bytes().await.unwrap().len(), 0, "{method}");
    }
    // Announced and never sent, so that only what is said of it can be the answer.
    for path in [PATH, "/user_query/v2/users/endpoints", "/oauth_token/oauth"] {
        for length in ["65537", "1048577", "1000000000000"] {
            let mut wire = Wire::open(&site, "127.77.4.99").await;
            let head =
                format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n");
            wire.write(head.as_bytes()).await;
            let answer = wire.answer().await;
            assert_eq!(statuses(&answer), [403], "{path} {length}");
            assert!(answer.ends_with("\r\n\r\n"), "{path} {length}: {answer}");
        }
    }
    let portal = site.client_from(PORTAL);
    let answer = portal.get(site.url(PATH)).send().await.unwrap();
    assert_eq!(answer.status(), 405);
    assert_eq!(answer.headers()["allow"], "POST");
}

#[tokio::test]
async fn a_portal_whose_scope_the_table_does_not_have_yet_comes_again() {
    let site = Site::start().await;
    let client = site.client_from(PORTAL);
    let body = || document(&[logon("alice", "10.8.0.1")]);
    assert_eq!(push(&site, &client, body()).await.status(), 403);
    // The Server takes a configuration before the table and the senders do.
    site.reload(&portal()).await;
    let answer = push(&site, &client, body()).await;
    assert_eq!(answer.status(), 503);
    assert!(answer.headers().contains_key("retry-after"));
    let firewall = site.firewall().await;
    assert!(firewall.batch("begintime=0").await.0.is_empty());
}

#[tokio::test]
async fn verdicts_keep_the_order_of_a_large_document() {
    let site = site().await;
    let client = site.client_from(PORTAL);
    // More than the writer applies at once; every third is not the portal's to say.
    let address = |n: usize| {
        let net = if n.is_multiple_of(3) { 9 } else { 8 };
        format!("10.{net}.{}.{}", n / 250, n % 250 + 1)
    };
    let entries: Vec<_> = (1..=1000)
        .map(|n| logon(&format!("user{n}"), &address(n)))
        .collect();
    let (status, answer) = told(push(&site, &client, document(&entries)).await).await;
    assert_eq!(status, 200);
    assert_eq!(
        (&answer["applied"], &answer["ignored"]),
        (&json!(667), &json!(333))
    );
    let not_applied = answer["not-applied"].as_array().unwrap();
    let expected = (1..=1000).filter(|n: &usize| n.is_multiple_of(3));
    let expected: Vec<_> = expected.map(|n| (n, address(n))).collect();
    let said = |entry: &Value| {
        let number = entry["entry"].as_u64().unwrap();
        let address = entry["IP"].as_str().unwrap().to_owned();
        (usize::try_from(number).unwrap(), address)
    };
    assert_eq!(not_applied.iter().map(said).collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn a_portal_with_a_client_certificate_must_show_it() {
    let site = site().await;
    let ca_file = site.folder.path().join("clients-ca.pem");
    let ca = ClientCa::new(&ca_file);
    let server = format!("client_ca_file = \"{}\"", ca_file.display());
    let portal = portal() + "client_certificate = \"portal.example.com\"\n";
    site.reload_server(&server, &portal).await;
    let status = async |client: &Client| {
        let answer = push(&site, client, document(&[logon("alice", "10.8.0.1")])).await;
        answer.status().as_u16()
    };
    let with = |name: &str| site.client_with(PORTAL, Some(ca.identity(name)));
    assert_eq!(status(&site.client_from(PORTAL)).await, 403, "none");
    assert_eq!(
        status(&with("other.example.com")).await,
        403,
        "another name"
    );
    assert_eq!(status(&with("portal.example.com")).await, 200);
    let readings = site.writer.reports.read();
    let portal = readings.iter().find(|r| r.name == "portal");
    let dropped = &portal.expect("a report").dropped;
    assert_eq!(dropped.get("no-certificate"), Some(&2));
    assert!(site.strangers.read().is_empty(), "it is no stranger");
}

#[tokio::test]
async fn rule_31_failed_logins_delay_the_portal_at_that_address_alone() {
    let site = site().await;
    let client = site.client_from(PORTAL);
    let guess = async |password: &str| {
        let asked = client
            .post(site.url(PATH))
            .basic_auth("portal", Some(password));
        asked.body(document(&[])).send().await.unwrap()
    };
    let mut guesses = 0;
    let delayed = loop {
        let answer = guess("guess").await;
        if answer.status() == 429 {
            break answer;
        }
        assert_eq!(answer.status(), 401);
        guesses += 1;
        assert!(guesses < 20, "guesses are never delayed");
    };
    let wait = delayed.headers()["retry-after"].to_str().unwrap();
    assert!((1..=60).contains(&wait.parse::<u64>().unwrap()), "{wait}");
    assert_eq!(
        guess(PASSWORD).await.status(),
        429,
        "even the right one waits"
    );
    assert_eq!(
        site.firewall()
            .await
            .ask("/user_query/v2/users/endpoints")
            .await
            .status(),
        200
    );
}
