//! Things that go wrong: each is a sentence that says what to do, and `jims` goes on serving what it knows.

use std::net::TcpListener;
use std::process::Command;

use super::support::rsyslog::{Forward, Rsyslog};
use super::support::{JIMS, Site, directory, lab, succeed, tunnel_up, wait_for};

/// Waits until a directory's fault in status holds the words; syslog sessions are served all the same.
fn directory_fault(table: &str, secret: &str, words: &[&str]) {
    let mut site = Site::new(table);
    site.secret("directory.secret", secret);
    site.start();
    let fault = wait_for("the fault in status", || {
        let output = site.run(&["status", "--json"]);
        let status: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
        let text = status["directories"][0].to_string();
        words.iter().all(|word| text.contains(word)).then_some(text)
    });
    println!("{fault}");
    // Ready after 30 s of failure at the latest; then a user that no directory knows is served without roles.
    site.wait_ready();
    let token = site.token();
    let sender = Rsyslog::start(Forward::Tcp);
    sender.log(&tunnel_up("u000001", "10.3.1.1"));
    let entry = site.wait_user(&token, "10.3.1.1", "u000001");
    assert_eq!(entry["roles"], serde_json::json!([]));
    site.stop();
}

#[test]
fn a_wrong_password_says_so() {
    directory_fault(&directory(""), "not-the-password", &["password"]);
}

#[test]
fn an_untrusted_certificate_says_so() {
    let untrusted = lab().join("other-ca.pem");
    succeed(
        Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-subj",
                "/CN=other",
                "-days",
                "2",
            ])
            .args([
                "-addext",
                "basicConstraints=critical,CA:TRUE",
                "-keyout",
                "/dev/null",
                "-out",
            ])
            .arg(&untrusted),
    );
    let trusted = super::support::ca_file().display().to_string();
    let table = directory("").replace(&trusted, &untrusted.display().to_string());
    directory_fault(&table, "Svc-Jims!1", &["certificate", "ca_file"]);
}

#[test]
fn a_name_that_does_not_resolve_says_so() {
    let table = directory("").replace(super::support::DC, "no-such-host.invalid");
    directory_fault(
        &table,
        "Svc-Jims!1",
        &["no-such-host.invalid", "could not look up"],
    );
}

#[test]
fn a_port_in_use_is_named_with_its_key() {
    let _holder = TcpListener::bind((JIMS, 8443)).expect("the port is free for the test");
    let site = Site::new("");
    let output = site.run(&["run"]);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(
        message.contains("127.77.0.30:8443") && message.contains("listens there already"),
        "{message}"
    );
}

#[test]
fn a_full_disk_for_the_snapshot_is_said_and_service_goes_on() {
    let mut site = Site::new(&directory(""));
    let small = site.path("state");
    std::fs::create_dir(&small).expect("folder");
    succeed(
        Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=64k,mode=0700", "tmpfs"])
            .arg(&small),
    );
    let _mounted = Mounted(small);
    site.start_ready();
    let token = site.token();
    let sender = Rsyslog::start(Forward::Tcp);
    sender.log(&tunnel_up("u000001", "10.3.2.1"));
    site.wait_user(&token, "10.3.2.1", "u000001");
    let attention = wait_for("the full disk in status", || {
        let status = site.json(&["status", "--json"]);
        let text = status["attention"].to_string();
        text.contains("snapshot").then_some(text)
    });
    assert!(attention.contains("space"), "{attention}");
    sender.log(&tunnel_up("u000002", "10.3.2.2"));
    site.wait_user(&token, "10.3.2.2", "u000002");
    site.kill();
}

/// Unmounts at the end, also of a failed test.
struct Mounted(std::path::PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.0).status());
    }
}
