//! Pages of sessions and names over the control socket, as the dashboard asks for them.

use serde_json::{Value, json};

use crate::cli_control::{Running, ask};

fn names(page: &Value, field: &str) -> Vec<String> {
    let rows = page["rows"].as_array().expect("rows");
    let name = |row: &Value| row[field].as_str().expect("text").to_owned();
    rows.iter().map(name).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_listed_page_by_page() {
    let running = Running::start();
    for n in 1..=5 {
        let (user, address) = (format!("user{n}"), format!("10.1.2.{n}"));
        running.logon(&user, &address).await;
    }
    let mut socket = running.by_hand();
    let page = ask(
        &mut socket,
        "{\"request\":\"sessions\",\"rows\":2,\"sort\":\"address\"}\n",
    );
    assert_eq!(page["answer"], "sessions");
    assert_eq!((&page["total"], &page["before"]), (&json!(5), &json!(0)));
    assert_eq!(names(&page, "address"), ["10.1.2.1", "10.1.2.2"]);
    assert_eq!(page["rows"][0]["state"], "active");
    assert_eq!(page["rows"][0]["producer"], "vpn");
    let next = json!({
        "request": "sessions", "rows": 9, "sort": "address", "from": { "after": page["last"] },
    });
    let next = ask(&mut socket, &format!("{next}\n"));
    assert_eq!(next["before"], 2);
    assert_eq!(
        names(&next, "address"),
        ["10.1.2.3", "10.1.2.4", "10.1.2.5"]
    );
    let newest = ask(
        &mut socket,
        "{\"request\":\"sessions\",\"filter\":\"USER from:vpn\"}\n",
    );
    assert_eq!(
        names(&newest, "user"),
        ["user5", "user4", "user3", "user2", "user1"]
    );
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_listed_and_wrong_pages_are_refused() {
    let running = Running::start();
    running.logon("alice", "10.1.2.1").await;
    running.logon("alice", "10.1.2.2").await;
    let mut socket = running.by_hand();
    let page = ask(&mut socket, "{\"request\":\"names\",\"kind\":\"users\"}\n");
    let row = &page["rows"][0];
    assert_eq!(
        (&row["name"], &row["sessions"]),
        (&json!("alice"), &json!(2))
    );
    assert_eq!(row["standing"], "not-in-directory");
    let groups = ask(&mut socket, "{\"request\":\"names\",\"kind\":\"groups\"}\n");
    assert_eq!(groups["total"], 0);
    let long = "x".repeat(257);
    for (wrong, said) in [
        (
            json!({ "request": "sessions", "filter": long }),
            "the filter is longer than 256 bytes",
        ),
        (
            json!({ "request": "sessions", "from": { "at": "x" } }),
            "that is no place of a page",
        ),
    ] {
        let answer = ask(&mut socket, &format!("{wrong}\n"));
        assert_eq!(
            (&answer["answer"], &answer["message"]),
            (&json!("error"), &json!(said))
        );
    }
    running.end().await;
}
