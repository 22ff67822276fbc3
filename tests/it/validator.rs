//! The validator over HTTPS, with the tokens of a firewall, before a table that a directory filled.

#![expect(
    clippy::unwrap_used,
    reason = "a helper that fails has failed its test"
)]

use jims::identity::Batch;
use jims::identity::directory::{
    DirectoryBatch, DirectoryObject, DirectoryStep, ObjectId, ObjectKind,
};
use jims::identity::name::Name;
use serde_json::{Value, json};

use crate::server_site::{FIREWALL, Firewall, SECRET, Site, table};

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn group(id: u16, group: &str) -> DirectoryObject {
    object(id, group, ObjectKind::Group { members: vec![] })
}

fn object(id: u16, named: &str, kind: ObjectKind) -> DirectoryObject {
    let mut bytes = [0; 16];
    bytes[..2].copy_from_slice(&id.to_be_bytes());
    DirectoryObject {
        id: ObjectId(bytes),
        sid: None,
        name: name(named),
        kind,
    }
}

async fn learn(
    site: &Site,
    step: DirectoryStep,
    upserts: Vec<DirectoryObject>,
    removed: Vec<ObjectId>,
) {
    let batch = DirectoryBatch {
        directory: name("corp"),
        domain: name("corp.example.com"),
        facts: None,
        step,
        upserts,
        removed,
        bookmark: None,
    };
    let applied = site.writer.intake.apply(Batch::Directory(batch)).await;
    assert!(!applied.unwrap().full_read_wanted);
}

/// A directory with a user, a computer, and groups `Group 0` to `Group 2499` beside `Engineering`.
async fn site(point: &str) -> Site {
    let site = Site::start_with(point, table(1, &[])).await;
    let user = ObjectKind::User {
        upn: Some(name("Alice.Doe@corp.example.com")),
        enabled: true,
        primary_group: None,
    };
    let device = ObjectKind::Device {
        dns_name: None,
        os: None,
        os_version: None,
        primary_group: None,
    };
    let mut objects = vec![
        object(60_000, "Alice", user),
        object(60_001, "WS-0042", device),
        group(60_002, "Engineering"),
    ];
    objects.extend((0..2500).map(|n| group(n, &format!("Group {n}"))));
    learn(&site, DirectoryStep::FullBegin, objects, vec![]).await;
    learn(&site, DirectoryStep::FullEnd, vec![], vec![]).await;
    site.become_ready();
    site
}

async fn ask(firewall: &Firewall<'_>, path: &str) -> (u16, Value) {
    let url = firewall.site.validator_url(path);
    let request = firewall.client.get(url).bearer_auth(&firewall.token);
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

async fn exists(firewall: &Firewall<'_>, question: &str) -> Value {
    let (status, answer) = ask(firewall, &format!("/validate/{question}")).await;
    assert_eq!(status, 200, "{question}: {answer}");
    answer
}

#[tokio::test]
async fn users_devices_and_groups_exist_by_any_of_their_names() {
    let site = site("").await;
    let firewall = site.firewall().await;
    let yes = |name: &str| json!({ "exists": true, "name": name, "domain": "corp.example.com", "in-directory": true });
    for question in [
        "user?name=alice&domain=corp.example.com",
        "user?name=ALICE&domain=CORP",
        "user?name=corp%5Calice",
        "user?name=alice.doe@corp.example.com",
        "user?id=alice",
    ] {
        assert_eq!(
            exists(&firewall, question).await,
            yes("Alice"),
            "{question}"
        );
    }
    for question in [
        "device?name=ws-0042&domain=CORP",
        "device?name=WS-0042.corp.example.com",
    ] {
        assert_eq!(
            exists(&firewall, question).await,
            yes("WS-0042"),
            "{question}"
        );
    }
    for question in [
        "group?name=ENGINEERING&domain=CORP",
        "group?name=CORP%5Cengineering",
    ] {
        assert_eq!(
            exists(&firewall, question).await,
            yes("Engineering"),
            "{question}"
        );
    }
    let no = json!({ "exists": false });
    for question in [
        "user?name=bob&domain=CORP",
        "user?name=engineering&domain=CORP",
        "device?name=alice",
        "group?name=alice&domain=CORP",
        "group?name=Engineering&domain=elsewhere.example",
    ] {
        assert_eq!(exists(&firewall, question).await, no, "{question}");
    }
}

#[tokio::test]
async fn a_user_of_a_session_alone_exists_and_one_whom_the_directory_lost_does_not() {
    let site = site("").await;
    let firewall = site.firewall().await;
    site.log_on("guest", "127.77.4.200").await;
    let guest = exists(&firewall, "user?name=guest&domain=CORP").await;
    assert_eq!(
        (&guest["exists"], &guest["in-directory"]),
        (&json!(true), &json!(false))
    );
    let mut alice = [0; 16];
    alice[..2].copy_from_slice(&60_000_u16.to_be_bytes());
    learn(&site, DirectoryStep::Poll, vec![], vec![ObjectId(alice)]).await;
    let gone = exists(&firewall, "user?name=alice&domain=CORP").await;
    assert_eq!(gone, json!({ "exists": false }));
}

#[tokio::test]
async fn the_groups_of_a_domain_come_in_pages_and_each_once() {
    let site = site("").await;
    let firewall = site.firewall().await;
    let mut all: Vec<String> = Vec::new();
    let mut question = "/validate/groups?domain=CORP&entry_count=1000".to_owned();
    for page in 1.. {
        let (status, answer) = ask(&firewall, &question).await;
        assert_eq!(
            (status, &answer["domain"]),
            (200, &json!("corp.example.com"))
        );
        let groups = answer["groups"].as_array().unwrap();
        all.extend(groups.iter().map(|g| g.as_str().unwrap().to_owned()));
        if answer["more"] == json!(false) {
            assert_eq!((page, groups.len()), (3, 501));
            assert_eq!(answer.get("cookie"), None);
            break;
        }
        let cookie = answer["cookie"].as_str().unwrap();
        question = format!(
            "/api/validate/groups?domain=corp.example.com&entry_count=1000&cookie={cookie}"
        );
    }
    let mut sorted = all.clone();
    sorted.sort_by_key(|group| group.to_lowercase());
    sorted.dedup();
    assert_eq!((all.len(), &all), (2501, &sorted));

    let (status, answer) = ask(&firewall, "/validate/groups?domain=elsewhere.example").await;
    assert_eq!((status, &answer["groups"]), (200, &json!([])));
}

#[tokio::test]
async fn a_point_hears_only_of_what_its_filter_lets_through() {
    let filter = "[enforcement_point.filter]\ngroups = [\"Eng*\"]\n";
    let narrow = site(filter).await;
    let firewall = narrow.firewall().await;
    let hidden = exists(&firewall, "group?name=Group+7&domain=CORP").await;
    assert_eq!(hidden, json!({ "exists": false }));
    let (_, page) = ask(&firewall, "/validate/groups?domain=CORP&entry_count=1000").await;
    assert_eq!(page["groups"], json!(["Engineering"]));
}

#[tokio::test]
async fn the_validator_has_the_tokens_and_manners_of_queries() {
    let site = site("").await;
    let firewall = site.firewall().await;
    for (path, why) in [
        ("/validate/user", "name"),
        ("/validate/group?name=x", "domain"),
        ("/validate/groups", "domain"),
        ("/validate/groups?domain=CORP&cookie=%25", "cookie"),
        ("/validate/groups?domain=CORP&entry_count=0", "entry_count"),
    ] {
        let (status, answer) = ask(&firewall, path).await;
        assert_eq!(status, 400, "{path}");
        assert!(
            answer["error_description"].as_str().unwrap().contains(why),
            "{answer}"
        );
    }
    let get = async |client: &reqwest::Client, url: String, token: &str| {
        client.get(url).bearer_auth(token).send().await.unwrap()
    };
    let url = site.validator_url("/validate/user?name=alice");
    let without = firewall.client.get(&url).send().await.unwrap();
    assert_eq!(without.status(), 401);
    let stranger = site.client_from("127.77.4.99");
    let refused = get(&stranger, url, &firewall.token).await;
    assert_eq!(
        (
            refused.status().as_u16(),
            refused.bytes().await.unwrap().len()
        ),
        (403, 0)
    );
    let client = site.client_from(FIREWALL);
    for other in ["/user_query/v2/users/endpoints", "/validate/secret"] {
        let answer = get(&client, site.validator_url(other), &firewall.token).await;
        assert_eq!(answer.status(), 400, "{other} is not of this listener");
    }
    let here = get(
        &client,
        site.url("/validate/user?name=alice"),
        &firewall.token,
    )
    .await;
    assert_eq!(here.status(), 400, "the validator has a port of its own");
    let body = format!(
        "grant_type=client_credentials&client_id=srx-1&client_secret={}",
        SECRET.replace(' ', "+")
    );
    let token = client
        .post(site.validator_url("/oauth_token/oauth"))
        .body(body);
    assert_eq!(token.send().await.unwrap().status(), 200);
}
