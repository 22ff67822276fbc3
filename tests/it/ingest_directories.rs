//! From whom directory data come when Collectors are many, narrowed, removed, or lie (rules 12 and 27).

use jims::push::ingest::ScopeText;
use serde_json::{Value, json};

use crate::ingest::{
    BRANCH, Collector, OTHER_BRANCH, here, onboarded, onboarded_within, push, site,
};
use crate::server_site::Site;

const DOMAIN: &str = "branch.example.com";

fn user(domain: &str, name: &str, id: u8) -> Value {
    json!({
        "is": "object", "directory": "ad", "domain": domain, "id": format!("{id:032x}"),
        "name": name, "kind": "user", "enabled": true
    })
}

fn users(site: &Site) -> usize {
    site.writer.reader.read().totals().directory_users
}

/// Whether the Server wants everything from the beginning.
async fn starts_over(collector: &Collector<'_>, epoch: &str, position: u64) -> bool {
    let heartbeat = json!({ "epoch": epoch, "after": position, "position": position });
    let (status, answer) = collector.push(&push(heartbeat)).await;
    assert!(status == 200 || status == 409, "{answer}");
    (status, &answer["accepted"]) == (409, &Value::Null)
}

#[tokio::test]
async fn rule_27_a_directory_of_two_domains_does_not_slip_past_who_holds_one() {
    let site = site().await;
    let (berlin, paris) = (
        onboarded(&site, "berlin", BRANCH).await,
        onboarded(&site, "paris", OTHER_BRANCH).await,
    );
    let own = json!([user(DOMAIN, "alice", 1)]);
    berlin.tells_all("e1", 1, own).await;
    let both = json!([
        user(DOMAIN, "mallory", 2),
        user("paris.example.com", "bob", 3)
    ]);
    let all = json!({ "epoch": "p1", "begins": true, "position": 2, "changes": both });
    let (status, answer) = paris.push(&push(all)).await;
    assert_eq!(status, 400, "{answer}");
    assert!(
        answer["error_description"]
            .as_str()
            .is_some_and(|why| why.starts_with("changes[1].domain: ")),
        "{answer}"
    );
    assert_eq!(users(&site), 1, "nothing of it is applied");
    let gone = json!({
        "is": "gone", "directory": "ad", "domain": DOMAIN, "id": format!("{:032x}", 9)
    });
    let moved = json!([gone, user("paris.example.com", "bob", 3)]);
    paris.tells_all("p1", 2, moved).await;
    assert_eq!(users(&site), 2, "what is gone may be of the domain before");
}

#[tokio::test]
async fn rule_12_a_narrowed_collector_tells_of_no_other_domains_directory() {
    let site = site().await;
    let scope = ScopeText {
        domains: vec!["LAB.example.com".into()],
        ..ScopeText::default()
    };
    let berlin = onboarded_within(&site, "berlin", BRANCH, scope).await;
    let paris = onboarded(&site, "paris", OTHER_BRANCH).await;
    berlin
        .tells_all("e1", 1, json!([user(DOMAIN, "mallory", 1)]))
        .await;
    assert_eq!(users(&site), 0);
    paris
        .tells_all("p1", 1, json!([user(DOMAIN, "alice", 2)]))
        .await;
    assert_eq!(users(&site), 1, "and keeps nobody else from it");
    berlin
        .tells_all("e2", 1, json!([user("lab.example.com", "bob", 1)]))
        .await;
    assert_eq!(users(&site), 2);
}

#[tokio::test]
async fn rule_27_who_takes_a_domain_over_outside_of_a_pass_starts_over() {
    let site = site().await;
    let (berlin, paris) = (
        onboarded(&site, "berlin", BRANCH).await,
        onboarded(&site, "paris", OTHER_BRANCH).await,
    );
    berlin.tells_all("e1", 1, json!([])).await;
    let both = json!([user(DOMAIN, "alice", 1), user(DOMAIN, "old", 2)]);
    paris.tells_all("p1", 2, both).await;
    assert_eq!(users(&site), 2);
    let new = json!({
        "epoch": "e1", "after": 1, "position": 2, "changes": [user(DOMAIN, "alice", 1)]
    });
    assert_eq!(berlin.push(&push(new)).await.0, 200);
    assert!(starts_over(&berlin, "e1", 2).await);
    berlin
        .tells_all("e1", 2, json!([user(DOMAIN, "alice", 1)]))
        .await;
    assert_eq!(users(&site), 1, "nothing of the other stays");
    assert!(!starts_over(&berlin, "e1", 2).await, "once");
}

#[tokio::test]
async fn what_others_told_stays_when_a_directory_leaves_with_its_collector() {
    let site = site().await;
    let (berlin, paris) = (
        onboarded(&site, "berlin", BRANCH).await,
        onboarded(&site, "paris", OTHER_BRANCH).await,
    );
    berlin
        .tells_all("e1", 1, json!([user(DOMAIN, "alice", 1)]))
        .await;
    let mut alice = here("alice", "10.9.0.1");
    alice["user"][0]["domain"] = json!(DOMAIN);
    let told = json!([alice]);
    paris.tells_all("p1", 1, told).await;
    site.ingest.remove("berlin").await.unwrap();
    let totals = site.writer.reader.read().totals();
    assert_eq!((totals.sessions, totals.directory_users), (1, 0));
}
