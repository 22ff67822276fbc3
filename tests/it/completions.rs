//! The tab key, as bash presses it: the installed script, a running service, and none.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use jims::runtime::clock;
use jims::runtime::report::Kind;
use jims::runtime::supervisor::blocking;

use crate::cli_control::Running;

/// No service that is asked may keep a shell for longer, with room for a busy machine: the deadline is half a second.
const GUARD: Duration = Duration::from_secs(15);

/// What bash would offer for the last word of a line, options aside unless one is begun.
fn offered(words: &[&str]) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let script = root.join("completions/jims.bash");
    let binary = assert_cmd::cargo::cargo_bin("jims");
    let folder = binary.parent().expect("a folder").display().to_string();
    // The words come as arguments: nothing is to be quoted.
    let line = r#"
        PATH=$1:$PATH; source "$2"; shift 2
        COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_TYPE=9
        _clap_complete_jims jims "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
        [ ${#COMPREPLY[@]} -eq 0 ] || printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let output = Command::new("bash")
        .args(["--norc", "-c", line, "bash", &folder])
        .arg(script)
        .args(words)
        .env_remove("JIMS_CONFIG")
        .output()
        .expect("bash runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.is_empty(), "nothing is said: {said}");
    let text = String::from_utf8(output.stdout).expect("text");
    let is_option = words.last().is_some_and(|word| word.starts_with('-'));
    text.lines()
        .filter(|word| is_option || !word.starts_with('-'))
        .map(str::to_owned)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn names_come_from_the_running_service() {
    let running = Running::start();
    running.add_source(Kind::Syslog, "vpn");
    running.add_source(Kind::EventLog, "dc1");
    running.add_source(Kind::EventLog, "$(reboot)");
    running.add_source(Kind::Directory, "corp");
    running.logon("alice", "10.1.2.50").await;
    let config = running.config().display().to_string();
    let cases: [(&[&str], &[&str]); 16] = [
        (&["status", "--junos", ""], &["srx"]),
        (&["query-user", "bob", "--for", "s"], &["srx"]),
        (&["refresh", ""], &["srx"]),
        (&["probe", "d"], &["dc1"]),
        (&["probe", "c"], &["corp"]),
        (&["probe", "$"], &[]),
        (&["syslog-test", "--source", ""], &["vpn"]),
        (&["syslog-test", "--template", "strong"], &["strongswan"]),
        (&["onboard", "--revoke", ""], &["branch-2"]),
        (&["onboard", "--remove", ""], &["branch-1"]),
        (&["onboard", "--disable", ""], &["branch-1"]),
        (&["onboard", "--enable", ""], &[]),
        (&["onboard", "--describe", ""], &["branch-1"]),
        (&["onboard", "--name", ""], &["hq"]),
        (&["query-user", "al"], &["alice"]),
        (&["log-off", "AL"], &["alice"]),
    ];
    for (words, expected) in cases {
        let line = [&["jims", "--config", &config], words].concat();
        let line: Vec<String> = line.into_iter().map(str::to_owned).collect();
        let found = blocking(move || {
            let line: Vec<&str> = line.iter().map(String::as_str).collect();
            offered(&line)
        });
        assert_eq!(found.await.expect("no panic"), expected, "{words:?}");
    }
    running.end().await;
}

#[test]
fn without_a_service_commands_and_options_are_completed_and_nothing_is_said() {
    assert_eq!(offered(&["jims", "stat"]), ["status"]);
    assert_eq!(offered(&["jims", "status", "--coll"]), ["--collectors"]);
    let config = ["jims", "--config", "/nonexistent/config.toml"];
    for words in [
        &["status", "--junos", ""][..],
        &["probe", ""],
        &["query-user", "a"],
    ] {
        let found = offered(&[&config[..], words].concat());
        assert_eq!(found, Vec::<String>::new(), "{words:?}");
    }
}

/// A socket that is there and says nothing.
#[test]
fn a_service_that_does_not_answer_is_not_waited_for() {
    let folder = tempfile::tempdir().expect("folder");
    let socket = folder.path().join("control.sock");
    let _listening = std::os::unix::net::UnixListener::bind(&socket).expect("bound");
    let config = folder.path().join("config.toml");
    std::fs::write(&config, "[control]\nsocket = \"control.sock\"\n").expect("configuration");
    let begun = clock::monotonic_now();
    let found = offered(&[
        "jims",
        "--config",
        &config.display().to_string(),
        "refresh",
        "",
    ]);
    assert_eq!(found, Vec::<String>::new());
    let took = clock::monotonic_now().saturating_duration_since(begun);
    assert!(took < GUARD, "{took:?}");
}
