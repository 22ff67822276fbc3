//! Real senders to the right answer: rsyslog and `logger` in, curl out.

use std::process::Command;
use std::time::{Duration, Instant};

use super::support::rsyslog::{Forward, Rsyslog};
use super::support::{JIMS, Site, directory, succeed, tunnel_down, tunnel_up, wait_for};

#[test]
fn a_tunnel_is_a_session_within_a_second_over_udp_tcp_and_tls() {
    let mut site = Site::new(&directory(""));
    site.start_ready();
    let token = site.token();
    for (host, forward) in [(50, Forward::Udp), (51, Forward::Tcp), (52, Forward::Tls)] {
        let sender = Rsyslog::start(forward);
        let address = format!("10.1.2.{host}");
        // The first line also pays for rsyslog's own connection; the second is the one that is timed.
        sender.log(&tunnel_up("u000009", &address));
        site.wait_user(&token, &address, "u000009");
        sender.log(&tunnel_up("u000003", &address));
        let sent = Instant::now();
        let entry = site.wait_user(&token, &address, "u000003");
        let took = sent.elapsed();
        println!("{forward:?}: visible to an IP query after {took:?}");
        assert!(took < Duration::from_secs(10), "{forward:?} took {took:?}");
        assert_eq!(entry["domain-name"], "corp.example.com");
        assert_eq!(entry["activity"], "login");
        assert_eq!(
            entry["roles"],
            serde_json::json!([
                "Domain Users",
                "G-000",
                "G-001",
                "G-002",
                "G-003",
                "G-ALL",
                "Users"
            ])
        );
    }
}

#[test]
fn a_batch_gives_each_changed_address_once_and_a_logoff_in_the_next() {
    let mut site = Site::new(&directory(""));
    site.start_ready();
    let token = site.token();
    let sender = Rsyslog::start(Forward::Tcp);
    for host in 1..=40 {
        sender.log(&tunnel_up(
            &format!("u{host:06}"),
            &format!("10.1.3.{host}"),
        ));
    }
    for host in 1..=10 {
        sender.log(&tunnel_up(
            &format!("u{:06}", host + 100),
            &format!("10.1.3.{host}"),
        ));
    }
    site.wait_user(&token, "10.1.3.10", "u000110");
    site.wait_user(&token, "10.1.3.40", "u000040");
    let mut seen = std::collections::BTreeMap::new();
    let mut answer = site.query(&token, "users/endpoints?begintime=0&entry_count=7");
    assert_eq!(answer["full"], true);
    loop {
        for entry in answer["report_entries"].as_array().expect("entries") {
            let address = entry["ip-address"].as_str().expect("address").to_owned();
            let user = entry["user-name"].as_str().expect("user").to_owned();
            assert_eq!(seen.insert(address, user), None, "each address once");
        }
        let cookie = answer["cookie"].as_str().expect("cookie").to_owned();
        let more = answer["more"] == true;
        answer = site.query(
            &token,
            &format!("users/endpoints?cookie={cookie}&entry_count=7"),
        );
        if !more {
            break;
        }
    }
    assert_eq!(seen.len(), 40);
    assert_eq!(seen["10.1.3.1"], "u000101");
    assert_eq!(seen["10.1.3.11"], "u000011");
    assert_eq!(answer["report_entries"].as_array().map(Vec::len), Some(0));
    let cookie = answer["cookie"].as_str().expect("cookie").to_owned();

    sender.log(&tunnel_down("u000040", "10.1.3.40"));
    let next = wait_for("the logoff in a batch", || {
        let answer = site.query(&token, &format!("users/endpoints?cookie={cookie}"));
        (answer["report_entries"].as_array().map(Vec::len) == Some(1)).then_some(answer)
    });
    assert_eq!(next["report_entries"][0]["ip-address"], "10.1.3.40");
    assert_eq!(next["report_entries"][0]["activity"], "logout");
    assert_eq!(site.entry(&token, "10.1.3.40"), None);
}

#[test]
fn logger_speaks_every_form_and_bad_lines_are_counted() {
    let mut site = Site::new(&directory(""));
    site.start_ready();
    let token = site.token();
    let send = |arguments: &[&str], line: &str| {
        succeed(
            Command::new("logger")
                .args(["-n", JIMS, "-P", "5514", "-t", "iked"])
                .args(arguments)
                .arg("--")
                .arg(line),
        );
    };
    send(&["--udp", "--rfc3164"], &tunnel_up("u000020", "10.1.4.1"));
    send(&["--udp", "--rfc5424"], &tunnel_up("u000021", "10.1.4.2"));
    send(&["--tcp", "--rfc3164"], &tunnel_up("u000022", "10.1.4.3"));
    send(
        &["--tcp", "--rfc5424", "--octet-count"],
        &tunnel_up("u000023", "10.1.4.4"),
    );
    for (host, user) in [
        (1, "u000020"),
        (2, "u000021"),
        (3, "u000022"),
        (4, "u000023"),
    ] {
        site.wait_user(&token, &format!("10.1.4.{host}"), user);
    }
    send(&["--tcp", "--rfc3164"], "nothing that a template knows");
    send(&["--udp", "--rfc3164"], &tunnel_up("u000024", "192.0.2.99"));
    wait_for("both bad lines in status", || {
        let status = site.json(&["status", "--json"]);
        let vpn = status["producers"]
            .as_array()?
            .iter()
            .find(|p| p["name"] == "vpn")?
            .clone();
        let text = vpn.to_string();
        (text.contains("no-rule") && text.contains("out-of-scope")).then_some(())
    });
    assert_eq!(
        site.entry(&token, "192.0.2.99"),
        None,
        "outside the source's networks"
    );
}

#[test]
fn query_user_log_off_and_status_agree_with_the_firewall() {
    let mut site = Site::new(&directory(""));
    site.start_ready();
    let token = site.token();
    let sender = Rsyslog::start(Forward::Tcp);
    sender.log(&tunnel_up("u000031", "10.1.5.1"));
    site.wait_user(&token, "10.1.5.1", "u000031");
    for who in [
        "u000031",
        "CORP\\U000031",
        "u000031@corp.example.com",
        "10.1.5.1",
    ] {
        let answer = site.json(&["query-user", who, "--json"]);
        assert_eq!(
            answer["sessions"][0]["address"], "10.1.5.1",
            "{who}: {answer}"
        );
        assert_eq!(answer["sessions"][0]["user"], "u000031", "{who}");
        assert_eq!(
            answer["sessions"][0]["last_evidence"]["producer"], "vpn",
            "{who}"
        );
    }
    let status = site.json(&["status", "--json"]);
    assert_eq!(status["totals"]["sessions"], 1);
    assert!(
        status["directory"]["users"].as_u64() >= Some(2000),
        "{}",
        status["directory"]
    );
    assert_eq!(site.run(&["log-off", "u000031"]).status.code(), Some(0));
    assert_eq!(site.entry(&token, "10.1.5.1"), None);
    assert_eq!(site.run(&["log-off", "u000031"]).status.code(), Some(1));
    assert_eq!(site.run(&["query-user", "10.1.5.1"]).status.code(), Some(1));
}
