//! `jims onboard` and `jims status --collectors` as operators and scripts use them, on a service that answers everything
//! and on one that receives no Collectors.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use assert_cmd::Command;
use serde_json::{Value, json};

use crate::cli_control::{Running, ask};
use crate::service::Service;

/// Ends a wait that will never be over.
const GUARD: Duration = Duration::from_secs(60);

/// Runs `jims` on a configuration; exit code, stdout, stderr.
fn jims(config: &Path, arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::cargo_bin("jims").expect("binary");
    command.arg("--config").arg(config).args(arguments);
    command.env("NO_COLOR", "1").timeout(GUARD);
    let output = command.output().expect("jims runs");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    let code = output.status.code().expect("an exit code");
    (code, text(output.stdout), text(output.stderr))
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_prints_the_code_once_with_what_to_type() {
    let running = Running::start();
    let scope = [
        "--networks",
        "10.1.2.3/16,192.0.2.1",
        "--domains",
        "corp.example.com",
        "--roles",
        "VPN-*",
    ];
    let invite = ["onboard", "--invite", "branch-9", "--expires", "2h"];
    let (code, text, _) = running.jims(&[&invite[..], &scope].concat()).await;
    assert_eq!(code, 0, "{text}");
    assert_eq!(text.matches("JIMS1-THE-CODE").count(), 1, "{text}");
    assert!(
        text.contains("\n  jims onboard https://hq.example.com\n"),
        "{text}"
    );
    assert!(text.contains("(in 2 h)") || text.contains("(in 1 h 59 min)"));

    let json_too = [&invite[..], &scope, &["--json"]].concat();
    let (code, text, _) = running.jims(&json_too).await;
    let invited = parsed(&text);
    assert_eq!((code, &invited["name"]), (0, &json!("branch-9")));
    for key in ["name", "code", "url", "fingerprint", "expires"] {
        assert!(invited[key].is_string(), "{key}: {text}");
    }

    let (code, text, error) = running.jims(&["onboard", "--invite", "taken"]).await;
    assert_eq!((code, text.as_str()), (2, ""));
    assert_eq!(
        error,
        "jims: there is a Collector `taken`\ntry: remove it first: jims onboard --remove taken\n"
    );
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn collectors_are_listed_and_changed_and_unknown_ones_are_no_error() {
    let running = Running::start();
    let (code, text, _) = running.jims(&["onboard", "--list"]).await;
    assert_eq!(code, 0);
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[1].starts_with("branch-1  disconnected  0.1.0"));
    assert!(lines[2].starts_with("branch-2  invited       -"), "{text}");
    let (code, text, _) = running.jims(&["onboard", "--list", "--json"]).await;
    let list = parsed(&text);
    assert_eq!(
        (code, &list["collectors"][1]["state"]),
        (0, &json!("invited"))
    );

    let (code, text, _) = running.jims(&["onboard", "--remove", "branch-1"]).await;
    assert_eq!(
        (code, text.as_str()),
        (
            0,
            "branch-1: removed\nleft with it: 1 domain, 14 users, 9 devices, 40 groups, 23 sessions\n"
        )
    );
    for (option, done) in [
        ("--revoke", "revoked"),
        ("--disable", "disabled"),
        ("--enable", "enabled"),
    ] {
        let (code, text, _) = running.jims(&["onboard", option, "branch-1"]).await;
        assert_eq!((code, text), (0, format!("branch-1: {done}\n")));
    }
    let describe = ["onboard", "--describe", "branch-1", "Zürich, basement"];
    let (code, text, _) = running.jims(&describe).await;
    assert_eq!((code, text.as_str()), (0, "branch-1: described\n"));

    let nobody = ["onboard", "--disable", "nobody", "--json"];
    let (code, text, _) = running.jims(&nobody).await;
    let expected = json!({
        "name": "nobody", "done": false, "detail": "there is no such Collector"
    });
    assert_eq!((code, parsed(&text)), (1, expected));
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_and_the_status_tell_of_collectors_and_pushes() {
    let running = Running::start();
    running.readiness.arm();
    let (code, text, _) = running.jims(&["status", "--collectors"]).await;
    assert_eq!(code, 1, "one is disconnected");
    for part in [
        "1 Collector (1 disconnected)",
        "SESSIONS (ACTIVE)",
        "\nbranch-1: disconnected, ",
        "  identifier   jims-branch\n",
        "  pushes       0 domains, 12 users, ",
        "\nInvitations\n  branch-2: expires in ",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let (code, text, _) = running.jims(&["status", "--collectors", "--json"]).await;
    let page = parsed(&text);
    let branch = &page["collectors"][0];
    assert_eq!(code, 1);
    assert!(page["totals"]["sessions"].is_u64());
    for key in [
        "name",
        "identifier",
        "version",
        "state",
        "description",
        "last_update",
        "address",
        "pushes",
        "lag",
        "onboarded_at",
        "invitation_expires",
        "certificate_expires",
        "clock_difference_ms",
    ] {
        assert!(branch.get(key).is_some(), "{key}: {text}");
    }
    assert_eq!(branch["pushes"]["users"], 12);

    let (code, text, _) = running.jims(&["status"]).await;
    assert_eq!(code, 1);
    for part in [
        "\nCollectors\n  NAME ",
        "\nPushes\n  NAME ",
        "Collector `branch-1` is disconnected: its sessions are unconfirmed",
        "`hq` waits for the end of its onboarding",
        "jims onboard https://hq.example.com",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(
        !text.contains("Collector `branch-2`"),
        "an invitation is no problem: {text}"
    );
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_collector_is_told_that_it_was_onboarded() {
    let running = Running::start();
    let mut stream = running.by_hand();
    let mut asked = |request: &str| ask(&mut stream, &format!("{request}\n"));
    let answer = asked(r#"{"request":"onboarded"}"#);
    assert_eq!(answer, json!({"answer": "done", "detail": "pushing to hq"}));
    running.end().await;
}

#[test]
fn a_server_without_ingest_says_what_to_change() {
    let service = Service::start("127.77.1.7");
    service.expect("READY=1");
    let config = service.path("jims.toml");
    let refused = "jims: this Server does not receive Collectors\n\
                   try: set [ingest] enabled = true, and reload\n";
    for arguments in [
        &["onboard", "--invite", "branch-1"][..],
        &["onboard", "--list", "--json"],
        &["onboard", "--revoke", "branch-1"],
        &["onboard", "--remove", "branch-1"],
        &["onboard", "--disable", "branch-1"],
        &["onboard", "--enable", "branch-1"],
        &["onboard", "--describe", "branch-1", "text"],
    ] {
        let (code, text, error) = jims(&config, arguments);
        let expected = (2, "", refused);
        assert_eq!((code, text.as_str(), error.as_str()), expected);
    }
    let (code, text, _) = jims(&config, &["status", "--collectors"]);
    assert_eq!(code, 0, "nothing is wrong with that");
    assert!(text.contains("[ingest] is not enabled"), "{text}");
    let (_, text, _) = jims(&config, &["status", "--json"]);
    let status = parsed(&text);
    assert_eq!(
        (&status["collectors"], &status["pushes"]),
        (&json!([]), &json!([]))
    );
    assert_eq!(status["server"]["ingest"], false);
}

#[test]
fn one_thing_at_a_time_is_asked_for() {
    let folder = tempfile::tempdir().expect("folder");
    let config = folder.path().join("config.toml");
    for (arguments, said) in [
        (&["onboard"][..], "required arguments were not provided"),
        (&["onboard", "https://a", "--list"], "cannot be used with"),
        (
            &["onboard", "--invite", "a", "--remove", "b"],
            "cannot be used with",
        ),
        (&["onboard", "--list", "--code", "x"], "cannot be used with"),
        (
            &["onboard", "--remove", "a", "--name", "x"],
            "cannot be used with",
        ),
        (
            &["onboard", "--list", "--networks", "10.0.0.0/8"],
            "cannot be used with",
        ),
        (
            &["onboard", "https://a", "--code", "x", "--code-stdin"],
            "cannot be used with",
        ),
        (
            &["onboard", "https://a", "--expires", "1h"],
            "cannot be used with",
        ),
        (
            &["onboard", "--invite", "a", "--expires", "soon"],
            "write 1m to 30d",
        ),
        (&["onboard", "--describe", "a"], "2 values required"),
        (
            &["status", "--collectors", "--requests"],
            "cannot be used with",
        ),
    ] {
        let (code, text, error) = jims(&config, arguments);
        assert_eq!((code, text.as_str()), (2, ""), "{arguments:?}");
        assert!(error.contains(said), "{arguments:?}: {error}");
    }
}

#[test]
fn a_check_accepts_collectors_and_servers_apart() {
    let folder = tempfile::tempdir().expect("folder");
    let path = |name: &str| folder.path().join(name);
    let credential = path("headquarters.toml");
    fs::write(&credential, "name = \"headquarters\"\n").expect("a file");
    fs::set_permissions(&credential, fs::Permissions::from_mode(0o600)).expect("a mode");
    let push = "[[push]]\nname = \"headquarters\"\nurl = \"https://jims.example.com\"\n\
                credential_file = \"headquarters.toml\"\n";
    for (name, text) in [
        ("collector.toml", push),
        ("server.toml", "[server]\n[ingest]\nenabled = true\n"),
    ] {
        fs::write(path(name), format!("schema = 1\n{text}")).expect("a file");
        let (code, said, _) = jims(&path(name), &["run", "--check"]);
        let right = format!("{}: the configuration is right\n", path(name).display());
        assert_eq!((code, said), (0, right));
    }
}
