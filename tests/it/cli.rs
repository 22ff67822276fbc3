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
fn wrong_usage_is_an_error_and_help_is_an_answer() {
    stderr(jims().arg("frobnicate"), 2);
    stderr(jims().args(["completions", "tcsh"]), 2);
    for command in ["status", "query-user", "log-off", "completions", "man"] {
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
