//! What Collectors must not send, and what becomes of it: hostile bodies, wrong shapes, a Server that is not ready.

#![expect(
    clippy::unwrap_used,
    reason = "a helper that fails has failed its test"
)]

use std::io::Write as _;

use serde_json::{Value, json};

use crate::ingest::{BRANCH, here, onboarded, push, site};
use crate::server_site::{Site, table};

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

#[tokio::test]
async fn hostile_bodies_are_refused_and_the_next_push_is_taken() {
    let site = site().await;
    let collector = onboarded(&site, "berlin", BRANCH).await;
    let deep = "[".repeat(100_000);
    let bomb = packed(&vec![b' '; (64 << 20) + 1]);
    let large = vec![b' '; (16 << 20) + 1];
    for (body, coding, expected) in [
        (Vec::new(), "gzip", 400),
        (b"not gzip".to_vec(), "gzip", 400),
        (packed(b"{\"protocol\": 1"), "gzip", 400),
        (deep.into_bytes(), "identity", 400),
        (vec![0xff; 1000], "identity", 400),
        (b"{}".to_vec(), "br", 400),
        (bomb, "gzip", 413),
        (large, "identity", 413),
    ] {
        let size = body.len();
        let answer = collector.send(body, coding).await;
        assert_eq!(answer.status().as_u16(), expected, "{size} bytes, {coding}");
        let said: Value = answer.json().await.unwrap();
        assert_eq!(said["error"], "invalid_request");
    }
    let refused = site.ingest.readings()[0].attention.concat();
    assert!(refused.contains("refused"), "{refused}");
    let begins = push(json!({ "begins": true }));
    assert_eq!(collector.push(&begins).await.0, 200);
    assert!(site.ingest.readings()[0].attention.is_empty());
}

#[tokio::test]
async fn what_is_no_change_is_refused_with_its_place_and_nothing_of_it_is_applied() {
    let site = site().await;
    let collector = onboarded(&site, "berlin", BRANCH).await;
    assert_eq!(
        collector.push(&push(json!({ "begins": true }))).await.0,
        200
    );
    let mut forged = here("al\u{202e}ice", "10.8.0.2");
    forged["user"][0]["record"] = json!("1");
    let mut unknown = here("alice", "10.8.0.2");
    unknown["user"][0]["is"] = json!("teleported");
    let many: Vec<Value> = (0..4097_u32)
        .map(|n| json!({ "is": "address", "ip": std::net::Ipv4Addr::from(n) }))
        .collect();
    for (changes, place) in [
        (
            json!([here("bob", "10.8.0.1"), forged]),
            "changes[1].user[0].name: ",
        ),
        (json!([unknown]), "teleported"),
        (json!([{ "is": "a-thing" }]), "a-thing"),
        (json!(many), "4096"),
        (
            json!([here("bob", "10.8.0.1"), here("eve", "10.8.0.1")]),
            "changes[1].ip: ",
        ),
    ] {
        let wrong = push(json!({ "position": 1, "changes": changes }));
        let (status, said) = collector.push(&wrong).await;
        assert_eq!(
            (status, &said["error"]),
            (400, &json!("invalid_request")),
            "{place}"
        );
        let why = said["error_description"].as_str().unwrap();
        assert!(why.contains(place), "{why}");
    }
    let firewall = site.firewall().await;
    assert!(firewall.batch("begintime=0").await.0.is_empty());
    let clock = push(json!({ "sent_at": 5, "attention": 2 }));
    assert_eq!(collector.push(&clock).await.0, 200);
    let reading = &site.ingest.readings()[0];
    assert_eq!(reading.attention_there, 2);
    assert!(reading.clock_ahead_ms < Some(-60_000), "{reading:?}");
}

#[tokio::test]
async fn another_protocol_is_told_which_is_taken() {
    let site = site().await;
    let collector = onboarded(&site, "berlin", BRANCH).await;
    for other in [
        json!({ "protocol": 2, "new": [] }),
        push(json!({ "protocol": 0 })),
    ] {
        let (status, said) = collector.push(&other).await;
        assert_eq!((status, &said["error"]), (400, &json!("protocol")));
        assert_eq!(said["minimum"], 1);
    }
}

#[tokio::test]
async fn nothing_is_acknowledged_that_the_table_does_not_hold() {
    let site = Site::start_with("", table(1, &[])).await;
    site.ingest.enable(true).await;
    let collector = onboarded(&site, "berlin", BRANCH).await;
    let (begins, changes) = (push(json!({ "begins": true })), [here("bob", "10.8.0.1")]);
    let answer = collector
        .send(begins.to_string().into_bytes(), "identity")
        .await;
    assert_eq!(answer.status().as_u16(), 503, "not ready");
    assert!(answer.headers().contains_key("retry-after"));
    site.become_ready();
    assert_eq!(collector.push(&begins).await.0, 200);
    site.stop_writer().await;
    let more = push(json!({ "position": 1, "changes": changes }));
    let (status, said) = collector.push(&more).await;
    assert_eq!(
        (status, &said["error"]),
        (503, &json!("busy")),
        "the table is gone"
    );
}
