//! What the binary prints, held against the schemas.

use assert_cmd::Command;
use serde_json::Value;

use super::{check, check_both_ways};
use crate::cli_control::Running;

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_binarys_answers_are_as_the_schemas_say() {
    let running = Running::start();
    running.logon("alice", "10.1.2.50").await;
    running.logon("bob", "10.1.2.50").await;
    let asked: [(&str, &[&str]); 14] = [
        ("status", &["status"]),
        ("status-collectors", &["status", "--collectors"]),
        ("status-requests", &["status", "--requests"]),
        ("query-user", &["query-user", "bob"]),
        ("query-user", &["query-user", "10.1.2.50", "--for", "srx"]),
        ("query-user", &["query-user", "10.1.2.50", "--explain"]),
        ("query-user", &["query-user", "nobody"]),
        ("query-user-at", &["query-user", "bob", "--at", "0s ago"]),
        ("probe", &["probe", "dc1"]),
        ("refresh", &["refresh", "srx"]),
        ("onboard", &["onboard", "--list"]),
        ("onboard", &["onboard", "--remove", "branch-1"]),
        ("onboard", &["onboard", "--disable", "nobody"]),
        ("log-off", &["log-off", "bob"]),
    ];
    for (schema, arguments) in asked {
        let arguments = [arguments, &["--json"]].concat();
        let (_, text, error) = running.jims(&arguments).await;
        assert!(!text.is_empty(), "{arguments:?}: {error}");
        check(schema, &parsed(&text));
    }
    running.end().await;
}

/// The type is the command's own, so the binary is the only one that can say what is in it.
#[test]
fn tried_lines_are_as_their_schema_says() {
    let lines = "<13>Nov 23 13:39:27 gw dhcpd: DHCPACK on 10.1.2.50 to 00:11:22:33:44:55 (ws-0042) via eth0\nnothing\n";
    let mut command = Command::cargo_bin("jims").expect("binary");
    command
        .env_remove("JIMS_CONFIG")
        .args(["syslog-test", "--json", "-"]);
    let output = command.write_stdin(lines).output().expect("jims runs");
    let text = String::from_utf8(output.stdout).expect("text");
    let documents: Vec<Value> = text.lines().map(parsed).collect();
    assert_eq!(documents.len(), 2);
    assert_eq!(documents[0]["matched"], true, "{text}");
    check_both_ways("syslog-test", &documents);
}
