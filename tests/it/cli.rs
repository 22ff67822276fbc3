//! The binary as operators run it: answers, exit codes, and a running control socket behind it.

use std::fs;
use std::path::Path;
use std::process::{Command as Process, Stdio};

use assert_cmd::Command;

fn jims() -> Command {
    let mut command = Command::cargo_bin("jims").expect("binary");
    command.env_remove("JIMS_CONFIG").env("NO_COLOR", "1");
    command
}

fn stderr(command: &mut Command, code: i32) -> String {
    let assert = command.assert().code(code);
    let output = assert.get_output();
    assert!(output.stdout.is_empty(), "stdout is for answers");
    String::from_utf8(output.stderr.clone()).expect("text")
}

fn configuration(folder: &Path, text: &str) -> std::path::PathBuf {
    let path = folder.join("config.toml");
    fs::write(&path, text).expect("configuration");
    path
}

#[test]
fn without_a_service_the_commands_say_what_to_do() {
    let folder = tempfile::tempdir().expect("folder");
    let config = configuration(folder.path(), "[control]\nsocket = \"control.sock\"\n");
    for arguments in [
        &["status"][..],
        &["query-user", "alice"],
        &["log-off", "alice"],
    ] {
        let mut command = jims();
        let text = stderr(command.arg("--config").arg(&config).args(arguments), 2);
        let socket = folder.path().join("control.sock");
        assert!(
            text.starts_with(&format!(
                "jims: the service does not answer at {}: ",
                socket.display()
            )),
            "{text}"
        );
        assert!(text.contains("\ntry: start it with `jims run`"), "{text}");
    }
}

#[test]
fn a_probe_reads_a_directory_file_and_says_who_sends_by_himself() {
    let folder = tempfile::tempdir().expect("folder");
    let config = configuration(
        folder.path(),
        r#"
schema = 1
[[directory_service]]
name = "corp"
domain = "corp.example.com"
ldif_file = "corp.ldif"
[[syslog_source]]
name = "vpn"
senders = ["127.77.0.9"]
templates = ["juniper-secure-connect"]
domain = "corp.example.com"
"#,
    );
    let probe = |name: &str| {
        let mut command = jims();
        command.arg("--config").arg(&config).args(["probe", name]);
        command
    };
    fs::write(folder.path().join("corp.ldif"), "no entries\n").expect("written");
    let output = probe("corp").assert().code(1);
    let text = String::from_utf8_lossy(&output.get_output().stdout).into_owned();
    assert!(text.contains("correct the file"), "{text}");
    let user = "dn: CN=Ada,DC=corp,DC=example,DC=com\nobjectClass: user\nsAMAccountName: ada\n\
                objectGUID:: AAECAwQFBgcICQoLDA0ODw==\n";
    fs::write(folder.path().join("corp.ldif"), user).expect("written");
    let output = probe("corp").assert().code(0);
    let text = String::from_utf8_lossy(&output.get_output().stdout).into_owned();
    assert!(text.contains("1 user"), "{text}");
    let text = stderr(&mut probe("vpn"), 2);
    assert!(
        text.contains("jims: vpn is a syslog source: it sends by itself and cannot be asked\n"),
        "{text}"
    );
}

#[test]
fn a_configuration_that_is_not_there_is_named() {
    let text = stderr(
        jims().args(["--config", "/nonexistent/a\u{1b}[2Jb", "status"]),
        2,
    );
    assert!(
        text.starts_with("jims: cannot read the configuration /nonexistent/a\\u{1b}[2Jb: "),
        "control characters never reach the terminal: {text}"
    );
}

#[test]
fn a_check_shows_no_control_character_of_the_path() {
    let output = jims()
        .args(["--config", "/nonexistent/a\u{9b}2Jb", "run", "--check"])
        .assert()
        .code(1);
    let text = String::from_utf8(output.get_output().stdout.clone()).expect("text");
    assert!(text.starts_with("/nonexistent/a\u{fffd}2Jb\n"), "{text}");
}

#[test]
fn wrong_usage_is_an_error_and_help_is_an_answer() {
    stderr(jims().arg("frobnicate"), 2);
    stderr(jims().args(["completions", "tcsh"]), 2);
    for command in [
        "status",
        "query-user",
        "log-off",
        "syslog-test",
        "completions",
        "man",
    ] {
        let assert = jims().args([command, "--help"]).assert().success();
        let text = String::from_utf8_lossy(&assert.get_output().stdout).into_owned();
        assert!(text.contains("Examples:"), "{command}: {text}");
    }
}

#[test]
fn a_closed_pipe_is_success() {
    let mut child = Process::new(assert_cmd::cargo::cargo_bin("jims"))
        .args(["completions", "bash"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("jims starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("jims ends");
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stderr.is_empty());
}

const LINE: &str = "<13>Nov 23 13:39:27 gw my-vpn: user=CORP\\alice ip=10.1.2.50 up";

const TEMPLATE: &str = r"
schema = 1
[[syslog_source]]
name = 'vpn'
senders = ['127.77.9.1']
templates = ['my-vpn']
networks = ['10.0.0.0/8']
[[syslog_template]]
name = 'my-vpn'
[[syslog_template.rule]]
name = 'up'
event = 'logon'
pattern = 'my-vpn: user=(?<user>\S+) ip=(?<address>\S+) up'
";

#[test]
fn a_line_is_tried_on_the_templates_of_a_configuration() {
    let folder = tempfile::tempdir().expect("folder");
    let config = configuration(folder.path(), TEMPLATE);
    for choice in [&[][..], &["--source", "vpn"], &["--template", "my-vpn"]] {
        let mut command = jims();
        command
            .arg("--config")
            .arg(&config)
            .args(["syslog-test", "--json", LINE])
            .args(choice);
        let output = command.assert().success().get_output().stdout.clone();
        let tried: serde_json::Value = serde_json::from_slice(&output).expect("json");
        assert_eq!(tried["matched"], true);
        assert_eq!(tried["rule"], "up");
        assert_eq!(tried["event"], "logon");
        assert_eq!(tried["captures"]["user"], "CORP\\alice");
        assert_eq!(tried["captures"]["address"], "10.1.2.50");
    }
}

#[test]
fn a_line_that_no_rule_matches_says_what_the_patterns_see() {
    let line = "<13>Nov 23 13:39:27 gw prog: nothing \u{1b}[2J\u{9b}here";
    let output = jims()
        .args(["syslog-test", "--template", "strongswan", line])
        .assert()
        .code(1);
    let text = String::from_utf8(output.get_output().stdout.clone()).expect("text");
    assert_eq!(
        text,
        "no match\n  reason     no rule matches\n  text       prog: nothing \\u{1b}[2J\\u{9b}here\n"
    );
    let text = stderr(
        jims().args(["syslog-test", "--template", "no-such", "x"]),
        2,
    );
    assert!(
        text.starts_with("jims: there is no syslog template `no-such`\ntry: built in are "),
        "{text}"
    );
}

#[test]
fn many_lines_get_one_answer_each() {
    let folder = tempfile::tempdir().expect("folder");
    let config = configuration(folder.path(), TEMPLATE);
    let mut command = jims();
    command
        .arg("--config")
        .arg(&config)
        .args(["syslog-test", "--source", "vpn", "--json", "-"]);
    let output = command
        .write_stdin(format!("{LINE}\r\n\nother\u{202e}\n"))
        .assert()
        .code(1);
    let text = String::from_utf8(output.get_output().stdout.clone()).expect("text");
    let matched: Vec<bool> = text
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("json"))
        .map(|tried| tried["matched"].as_bool().expect("answer"))
        .collect();
    assert_eq!(matched, [true, false]);
    assert!(!text.contains('\u{202e}'), "{text}");
}
