//! Event sources: records of a peer that impacket has proven, into the table and out to the firewall.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::support::peer::{NAME_SERVER, PEER, Peer, event_source, proven_by_impacket};
use super::support::{Site, directory, lab, text, wait_for};

/// What status says of one source.
fn source(site: &Site, name: &str) -> Value {
    let status = site.json(&["status", "--json"]);
    let all = status["producers"].as_array().expect("producers");
    all.iter()
        .find(|source| source["name"] == name)
        .unwrap_or_else(|| panic!("no source {name}: {status}"))
        .clone()
}

fn wait_record(site: &Site, name: &str, record: u64) {
    wait_for(&format!("record {record} of {name}"), || {
        (source(site, name)["facts"]["record"] == record).then_some(())
    });
}

fn quantile(sorted: &[Duration], of_hundred: usize) -> Duration {
    sorted[(sorted.len() * of_hundred / 100).min(sorted.len() - 1)]
}

/// Everybody whom a firewall that asks for everything is told of: address, user, time.
fn table(site: &Site) -> BTreeMap<String, (String, i64)> {
    let token = site.token();
    let mut found = BTreeMap::new();
    let mut path = "users/endpoints?begintime=0&entry_count=1000".to_owned();
    loop {
        let batch = site.query(&token, &path);
        for entry in batch["report_entries"].as_array().expect("entries") {
            if entry["activity"] == "login" && entry["user-name"].is_string() {
                let address = entry["ip-address"].as_str().expect("address").to_owned();
                let user = entry["user-name"].as_str().expect("user").to_owned();
                found.insert(address, (user, entry["timestamp"].as_i64().expect("time")));
            }
        }
        if batch["more"] != true {
            return found;
        }
        let cookie = batch["cookie"].as_str().expect("cookie");
        path = format!("users/endpoints?cookie={cookie}&entry_count=1000");
    }
}

#[test]
fn a_record_is_visible_to_the_firewall_with_groups_at_once() {
    let peer = Peer::start(&[]);
    let mut site = Site::new(&format!("{}{}", directory(""), event_source("")));
    site.start_ready();
    let token = site.token();
    wait_for("the subscription", || {
        (source(&site, "evt1")["state"] == "active").then_some(())
    });
    let mut took = Vec::new();
    for number in 0..60_u32 {
        let address = format!("10.3.0.{}", number + 1);
        let begun = Instant::now();
        peer.logon(&format!("u{number:06}"), &address);
        let entry = site.wait_user(&token, &address, &format!("u{number:06}"));
        took.push(begun.elapsed());
        assert_eq!(entry["domain-name"], "corp.example.com", "{entry}");
        assert!(entry["roles"].to_string().contains("G-ALL"), "{entry}");
    }
    took.sort();
    println!(
        "record injected -> visible to an IP query, curl included: p50 {:?}, p99 {:?}, longest {:?}",
        quantile(&took, 50),
        quantile(&took, 99),
        took[took.len() - 1]
    );
    let found = source(&site, "evt1");
    assert_eq!(found["facts"]["authentication"], "kerberos", "{found}");
    assert_eq!(found["facts"]["delivery"], "push", "{found}");
    site.stop();
}

#[test]
fn machines_failures_and_network_logons_are_told_apart() {
    let peer = Peer::start(&[]);
    let mut site = Site::new(&event_source("auth = \"ntlm\""));
    site.start_ready();
    let token = site.token();
    let inject = |id: u16, data: Value| {
        peer.tell(&json!({"cmd": "inject", "events": [{"id": id, "data": data}]}));
    };
    let domain = "CORP.EXAMPLE.COM";
    peer.logon("u000001", "10.3.1.1");
    inject(
        4768,
        json!({"TargetUserName": "WS-00001$", "TargetDomainName": domain, "IpAddress": "10.3.1.1", "Status": 0}),
    );
    let entry = wait_for("the device", || {
        site.entry(&token, "10.3.1.1")
            .filter(|entry| entry["device-name"].is_string())
    });
    assert_eq!(
        entry["user-name"], "u000001",
        "a machine displaces nobody: {entry}"
    );
    // Weak evidence of another user, then what means nothing.
    inject(
        4624,
        json!({"TargetUserName": "u000002", "TargetDomainName": "CORP", "LogonType": 3, "IpAddress": "10.3.1.1"}),
    );
    inject(
        4624,
        json!({"TargetUserName": "ANONYMOUS LOGON", "TargetDomainName": "NT AUTHORITY", "TargetUserSid": "S-1-5-7", "LogonType": 3, "IpAddress": "10.3.1.2"}),
    );
    inject(
        4624,
        json!({"TargetUserName": "u000003", "TargetDomainName": "CORP", "LogonType": 3, "IpAddress": "127.0.0.1"}),
    );
    inject(
        4624,
        json!({"TargetUserName": "u000004", "TargetDomainName": "CORP", "LogonType": 3, "IpAddress": "10.3.1.4", "WorkstationName": "WS-00004"}),
    );
    let entry = site.wait_user(&token, "10.3.1.4", "u000004");
    assert_eq!(
        entry["device-name"].as_str().map(str::to_uppercase),
        Some("WS-00004".to_owned()),
        "{entry}"
    );
    assert_eq!(
        site.entry(&token, "10.3.1.1").expect("there")["user-name"],
        "u000001"
    );
    assert!(site.entry(&token, "10.3.1.2").is_none());
    let ignored = source(&site, "evt1")["ignored"].clone();
    assert_eq!(ignored["system-account"], 1, "{ignored}");
    assert_eq!(ignored["weaker"], 1, "{ignored}");
    assert_eq!(ignored["address-refused"], 1, "{ignored}");
    site.stop();
}

#[test]
fn a_kill_and_a_hundred_broken_connections_lose_nothing_and_apply_nothing_twice() {
    const RECORDS: u64 = 100_000;
    let peer = Peer::start(&["--max-records", "200000"]);
    let mut site = Site::new(&event_source(""));
    site.start_ready();
    let begun = Instant::now();
    peer.tell(&json!({"cmd": "generate", "n": RECORDS, "rate": 10_000, "users": 2000}));
    for _ in 0..3 {
        std::thread::sleep(Duration::from_millis(2500));
        site.kill();
        site.start_ready();
    }
    wait_record(&site, "evt1", RECORDS);
    println!("{RECORDS} records amid three kills: {:?}", begun.elapsed());
    let mut drops = 0;
    let begun = Instant::now();
    let mut last = RECORDS;
    while drops < 100 {
        // Cut anywhere in the next 200 kB of replies, while some 90 kB come.
        peer.tell(&json!({"cmd": "drop", "within": 200_000}));
        peer.tell(&json!({"cmd": "generate", "n": 60, "users": 2000}));
        drops += 1;
        last += 60;
        wait_record(&site, "evt1", last);
    }
    println!("{drops} cuts at random places: {:?}", begun.elapsed());
    let after = table(&site);
    site.stop();
    // A second one reads the same log in one go: the reference.
    let mut fresh = Site::new(&event_source(""));
    fresh.start_ready();
    wait_record(&fresh, "evt1", last);
    let reference = table(&fresh);
    let counts = source(&fresh, "evt1");
    assert_eq!(counts["received"], last, "{counts}");
    assert!(reference.len() > 1000, "{}", reference.len());
    assert_eq!(after, reference);
    fresh.stop();
}

/// The table of one of many sources.
fn numbered(number: usize) -> String {
    format!(
        "[[event_source]]\nname = \"dc{number}\"\nkind = \"domain-controller\"\ndomain = \"corp.example.com\"\n\
         host = \"127.77.1.{number}\"\nauth = \"ntlm\"\nuser = 'CORP\\svc-jims'\npassword_file = \"directory.secret\"\n"
    )
}

/// What status says of all event sources.
fn producers(site: &Site) -> Vec<Value> {
    let status = site.json(&["status", "--json"]);
    let all = status["producers"].as_array().expect("producers").clone();
    all.into_iter()
        .filter(|producer| producer["kind"] == "event-source")
        .collect()
}

/// Threads and resident memory in kB.
fn process(site: &Site) -> (u64, u64) {
    let status = std::fs::read_to_string(format!("/proc/{}/status", site.pid())).expect("status");
    let number = |key: &str| {
        let line = status.lines().find(|line| line.starts_with(key));
        let word = line.and_then(|line| line.split_whitespace().nth(1));
        word.and_then(|word| word.parse::<u64>().ok())
            .expect("a number")
    };
    (number("Threads:"), number("VmRSS:"))
}

#[test]
fn a_hundred_sources_at_once_keep_up_in_flat_memory_on_the_same_threads() {
    const SOURCES: usize = 100;
    let peer = Peer::spawn(&[
        "--addresses",
        "127.77.1.1-127.77.1.100",
        "--computer",
        "dc%d.corp.example.com",
    ]);
    let tables: String = (1..=SOURCES).map(numbered).collect();
    let mut site = Site::new(&tables);
    site.start_ready();
    wait_for("every source", || {
        producers(&site)
            .iter()
            .all(|p| p["state"] == "active")
            .then_some(())
    });
    peer.tell(&json!({"cmd": "generate", "n": 50 * 30, "rate": 50, "users": 200}));
    std::thread::sleep(Duration::from_secs(10));
    let (threads, early) = process(&site);
    let mut worst = 0;
    for _ in 0..9 {
        std::thread::sleep(Duration::from_secs(2));
        let lags = producers(&site)
            .iter()
            .map(|p| p["facts"]["lag_ms"].as_i64().unwrap_or(0))
            .max();
        worst = worst.max(lags.unwrap_or(0));
    }
    wait_for("all records", || {
        producers(&site)
            .iter()
            .all(|p| p["received"] == 50 * 30)
            .then_some(())
    });
    let (threads_after, late) = process(&site);
    println!(
        "{SOURCES} sources, 50 records/s each: worst lag {worst} ms, {threads_after} threads, {early} kB -> {late} kB"
    );
    // Not a thread a source; one more may be waiting for the disk.
    assert!(threads_after <= threads + 1, "{threads} -> {threads_after}");
    assert!(
        worst < 10_000,
        "ten times the second that is wanted: {worst} ms"
    );
    assert!(late < early + early / 2, "{early} kB -> {late} kB");
    site.stop();
}

#[test]
fn a_refused_delivery_is_replaced_and_a_wrapped_log_is_told() {
    let peer = Peer::start(&[]);
    let mut site = Site::new(&event_source("auth = \"ntlm\""));
    peer.tell(&json!({"cmd": "refuse", "mode": "push", "status": 50}));
    site.start_ready();
    let token = site.token();
    peer.logon("u000001", "10.3.2.1");
    site.wait_user(&token, "10.3.2.1", "u000001");
    assert_eq!(source(&site, "evt1")["facts"]["delivery"], "pull");
    peer.tell(&json!({"cmd": "refuse", "mode": "pull", "status": 50}));
    peer.tell(&json!({"cmd": "drop"}));
    peer.logon("u000002", "10.3.2.2");
    site.wait_user(&token, "10.3.2.2", "u000002");
    assert_eq!(source(&site, "evt1")["facts"]["delivery"], "query");
    peer.tell(&json!({"cmd": "refuse", "mode": "push", "status": null}));
    peer.tell(&json!({"cmd": "refuse", "mode": "pull", "status": null}));
    site.stop();

    peer.tell(&json!({"cmd": "generate", "n": 100, "users": 50}));
    peer.tell(&json!({"cmd": "wrap", "keep": 10}));
    site.start_ready();
    let found = wait_for("the gap", || {
        let found = source(&site, "evt1");
        (found["state"] == "degraded").then_some(found)
    });
    wait_record(&site, "evt1", 102);
    let message = wait_for("both ends of the gap", || {
        let message = source(&site, "evt1")["fault"]["message"]
            .as_str()?
            .to_owned();
        message.contains("(record 93)").then_some(message)
    });
    println!("{message}");
    assert!(message.starts_with("events were lost between"), "{found}");
    assert!(message.contains("(record 2)"), "{message}");
    assert_eq!(site.run(&["status"]).status.code(), Some(1));
    site.stop();
}

#[test]
fn hostile_servers_are_survived() {
    let peer = Peer::start(&[]);
    let mut site = Site::new(&event_source("auth = \"ntlm\""));
    site.start_ready();
    let token = site.token();
    let acts = peer.tell(&json!({"cmd": "acts"}));
    // Those that spoil a bind come again at each attempt to connect, where they are tried too.
    let acts: Vec<String> = acts
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(_, names)| names.as_array())
        .flatten()
        .filter_map(|name| name.as_str().map(str::to_owned))
        .collect();
    assert!(acts.len() > 10, "{acts:?}");
    for (number, act) in acts.iter().enumerate() {
        peer.tell(&json!({"cmd": "hostile", "what": act, "opnum": 1, "times": 1}));
        peer.logon("u000001", "10.3.3.250");
        peer.tell(&json!({"cmd": "calm"}));
        let address = format!("10.3.3.{}", number + 1);
        peer.logon("u000002", &address);
        site.wait_user(&token, &address, "u000002");
    }
    println!("survived: {}", acts.join(", "));
    site.stop();
}

/// `jims probe` of the peer: exit code and what was printed.
fn probe(site: &Site, target: &str) -> (Option<i32>, String) {
    let output = site.run(&["probe", target]);
    (output.status.code(), text(&output.stdout))
}

/// The peer by Negotiate, the Samba controller by Kerberos, and the directory.
fn probed_site() -> Site {
    Site::new(&format!(
        "{}{}[[event_source]]\nname = \"dc1\"\nkind = \"domain-controller\"\ndomain = \"corp.example.com\"\n\
         host = \"dc1.corp.example.com\"\nuser = \"svc-jims\"\npassword_file = \"directory.secret\"\n",
        directory(""),
        event_source("auth = \"negotiate\"")
    ))
}

fn folded(shown: &str) -> String {
    shown.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_probe_names_what_is_broken_and_what_to_do() {
    let peer = Peer::start(&["--generate", "200"]);
    let site = probed_site();
    let (code, shown) = probe(&site, "evt1");
    assert_eq!(code, Some(0), "{shown}");
    for expected in [
        "evt1 (event source): yes",
        "sign-on negotiate by kerberos",
        "sign-on ntlm",
        "by push",
        "auditpol /set",
    ] {
        assert!(shown.contains(expected), "{expected}: {shown}");
    }
    let broken = |command: Value, mend: Value, expected: &[&str]| {
        peer.tell(&command);
        let (code, shown) = probe(&site, "evt1");
        assert_eq!(code, Some(1), "{command}: {shown}");
        for expected in expected {
            assert!(
                folded(&shown).contains(expected),
                "{command}: {expected}: {shown}"
            );
        }
        peer.tell(&mend);
    };
    broken(
        json!({"cmd": "deny", "on": true, "status": 5}),
        json!({"cmd": "deny", "on": false}),
        &["NO rights", "Event Log Readers"],
    );
    broken(
        json!({"cmd": "channel_missing", "on": true}),
        json!({"cmd": "channel_missing", "on": false}),
        &["NO rights", "there is no such log"],
    );
    broken(
        json!({"cmd": "unregister", "on": true}),
        json!({"cmd": "unregister", "on": false}),
        &["NO event log port", "Remote Event Log Management"],
    );
    broken(
        json!({"cmd": "skew", "clock_ms": 900_000}),
        json!({"cmd": "skew", "clock_ms": 0}),
        &["NO"],
    );
    peer.tell(&json!({"cmd": "clear"}));
    let (code, shown) = probe(&site, "evt1");
    assert_eq!(
        code,
        Some(1),
        "an empty log has none of the wanted records: {shown}"
    );
    assert!(folded(&shown).contains("NO audit"), "{shown}");
}

#[test]
fn a_probe_of_samba_of_a_wrong_password_and_of_nobody_says_so() {
    let peer = Peer::start(&["--generate", "200"]);
    let site = probed_site();
    let (code, shown) = probe(&site, "dc1");
    assert_eq!(code, Some(1), "{shown}");
    assert!(
        folded(&shown).contains("auth_json_audit"),
        "a Samba DC has no event log: {shown}"
    );
    let (code, shown) = probe(&site, "corp");
    assert_eq!(code, Some(0), "{shown}");

    site.secret("directory.secret", "wrong");
    let (code, shown) = probe(&site, "evt1");
    assert_eq!(code, Some(1), "{shown}");
    let (code, shown) = probe(&site, "dc1");
    assert_eq!(code, Some(1), "{shown}");
    assert!(
        folded(&shown).contains("the password of svc-jims is wrong"),
        "{shown}"
    );
    drop(peer);
    let (code, shown) = probe(&site, "evt1");
    assert_eq!(code, Some(1), "{shown}");
    assert!(shown.contains("NO  port 135"), "{shown}");
    assert_eq!(site.run(&["probe", "nobody"]).status.code(), Some(2));
}

#[test]
fn a_check_with_connect_tries_every_source() {
    let _peer = Peer::start(&["--generate", "200"]);
    let site = Site::new(&format!("{}{}", directory(""), event_source("")));
    let output = site.run(&["run", "--check", "--connect"]);
    let shown = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{shown}");
    assert!(
        shown.contains("evt1 (event source): yes") && shown.contains("corp (directory): yes"),
        "{shown}"
    );
}

/// A directory by name, as Kerberos needs it.
fn named_directory(more: &str) -> String {
    format!(
        "[dns]\nservers = [\"{NAME_SERVER}\"]\n{}",
        directory(more).replace(
            "hosts = [\"127.77.0.10\"]",
            "hosts = [\"dc1.corp.example.com\"]"
        )
    )
}

#[test]
fn directories_are_signed_on_to_by_kerberos_keytab_and_negotiate() {
    let keytab = lab().join("svc-jims.keytab");
    let by_keytab = named_directory("auth = \"kerberos\"").replace(
        "password_file = \"directory.secret\"",
        &format!("keytab_file = \"{}\"", keytab.display()),
    );
    let by_ntlm = directory("auth = \"negotiate\"\nchannel_binding = \"on\"");
    for (configuration, mechanism) in [
        (named_directory("auth = \"kerberos\""), "kerberos"),
        (by_keytab, "kerberos"),
        (named_directory("auth = \"negotiate\""), "kerberos"),
        (
            named_directory("auth = \"kerberos\"\ntls = \"starttls\""),
            "kerberos",
        ),
        (by_ntlm, "ntlm"),
    ] {
        let mut site = Site::new(&configuration);
        let (code, shown) = probe(&site, "corp");
        assert_eq!(code, Some(0), "{shown}");
        assert!(shown.contains(&format!("by {mechanism}")), "{shown}");
        site.start_ready();
        let read = site.json(&["status", "--json"])["directory"]["users"].as_u64();
        assert!(read > Some(2000), "{read:?}");
        site.stop();
    }
}

#[test]
fn the_peer_is_proven_by_impacket() {
    let printed = proven_by_impacket("check_peer.py", "host/evt1.corp.example.com", "evt1.keytab");
    println!("{printed}");
}

#[test]
fn a_wrong_password_is_not_tried_again_until_it_changes() {
    let peer = Peer::start(&[]);
    let mut site = Site::new(&event_source("auth = \"ntlm\""));
    site.secret("directory.secret", "wrong");
    site.start_ready();
    let refused = wait_for("the refusal", || {
        let found = source(&site, "evt1");
        let message = found["fault"]["message"].as_str()?.to_owned();
        message.contains("not tried again").then_some(message)
    });
    std::thread::sleep(Duration::from_secs(3));
    let stats = peer.tell(&json!({"cmd": "stats"}));
    let failures = &stats["stats"][PEER]["auth_failures"];
    println!("{refused}; {failures}");
    assert_eq!(failures.as_array().map(Vec::len), Some(1), "{stats}");
    site.secret("directory.secret", "Svc-Jims!1");
    wait_for("the source", || {
        (source(&site, "evt1")["state"] == "active").then_some(())
    });
    site.stop();
}
