//! PC probes: computers of a peer that impacket has proven tell who is signed on, and sessions end or go on.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::support::peer::{Peer, event_source, proven_by_impacket};
use super::support::wmi::WmiPeer;
use super::support::{Site, directory, text, wait_at_most, wait_for};

/// Computers that may be asked; nobody else sees a credential.
const NETWORK: &str = "127.77.20.0/24";
/// Ends a wait of a minute or so that will never be over.
const GUARD: Duration = Duration::from_secs(900);

/// Probing with NTLM, which needs no names.
fn probing(more: &str) -> String {
    format!(
        r#"[pc_probe]
networks = ["{NETWORK}"]
auth = "ntlm"
timeout = "2s"
retry = "1s"
{more}
[[pc_probe.credential]]
user = 'CORP\svc-jims'
password_file = "directory.secret"
domain = "corp.example.com"
"#
    )
}

/// A site with the shortest logoff time, a directory, an event source and PC probes.
fn site(more: &str) -> Site {
    site_with(&probing(more))
}

fn site_with(probing: &str) -> Site {
    let source = event_source("auth = \"ntlm\"");
    let extra = format!("{}{source}{probing}", directory(""));
    let mut site = Site::with_session("logoff_time = \"1m\"", &extra);
    site.start_ready();
    wait_for("the subscription", || {
        let status = site.json(&["status", "--json"]);
        let all = status["producers"].as_array().expect("producers").clone();
        all.iter()
            .any(|source| source["name"] == "evt1" && source["state"] == "active")
            .then_some(())
    });
    site
}

/// A logon of so long ago that its logoff time is over in two seconds.
fn old_logon(peer: &Peer, user: &str, address: &str) {
    let data = json!({"TargetUserName": user, "TargetDomainName": "CORP.EXAMPLE.COM",
        "IpAddress": format!("::ffff:{address}"), "Status": 0});
    let event = json!({"id": 4768, "data": data, "age_ms": 58_000});
    peer.tell(&json!({"cmd": "inject", "events": [event]}));
}

fn explained(site: &Site, who: &str) -> Value {
    site.json(&["query-user", who, "--explain", "--json"])
}

/// Waits until the user's session at the address has ended; why it did.
#[track_caller]
fn ended(site: &Site, address: &str, user: &str) -> String {
    let whose = format!("corp.example.com\\{user}");
    let past = wait_for(
        &format!("the end of the session of {user} at {address}"),
        || {
            let past = explained(site, address)["ended"].get(0).cloned();
            past.filter(|past| past["user"] == whose)
        },
    );
    past["reason"].as_str().expect("a reason").to_owned()
}

/// Waits until the session's evidence is a probe's.
fn confirmed(site: &Site, address: &str) -> Value {
    wait_for(&format!("a probe of {address}"), || {
        let found = explained(site, address);
        let session = found["sessions"].get(0)?.clone();
        (session["last_evidence"]["producer"] == "pc-probe").then_some(session)
    })
}

fn person(user: &str, kind: u64) -> Value {
    json!({"user": user, "domain": "CORP", "type": kind, "alive": true})
}

fn at(host: u8) -> String {
    format!("127.77.20.{host}")
}

/// Eight computers, one for each thing that a computer may answer about the user who was there.
fn eight_answers(computers: &WmiPeer) {
    let people = |host: u8, console: Value, sessions: Value| {
        computers.set(
            &at(host),
            &json!({"console_user": console, "sessions": sessions}),
        );
    };
    people(1, json!("CORP\\u000001"), json!([person("u000001", 2)]));
    people(2, json!("CORP\\u000102"), json!([person("u000102", 2)]));
    // A logon that Windows still lists, of somebody who has left.
    let stale = json!([{"user": "u000003", "domain": "CORP", "type": 2, "alive": false}]);
    people(3, Value::Null, stale);
    let denied = 0x8007_0005_u32;
    computers
        .tell(&json!({"cmd": "refuse", "address": at(4), "step": "activation", "status": denied}));
    computers.tell(&json!({"cmd": "mute", "address": at(5), "step": "all", "on": true}));
    let two = [person("u000006", 10), person("u000106", 10)];
    people(6, Value::Null, json!(two));
    let others = [person("u000107", 2), person("u000207", 10)];
    people(7, json!("CORP\\u000107"), json!(others));
    people(8, json!("PC8\\Administrator"), json!([]));
}

#[test]
fn rule_10_an_expired_session_is_confirmed_replaced_or_ended_by_its_computer() {
    let computers = WmiPeer::start(&["--addresses", "127.77.20.1-127.77.20.8"]);
    eight_answers(&computers);
    let peer = Peer::start(&[]);
    let mut site = site("");
    let token = site.token();
    for host in 1..=8 {
        old_logon(&peer, &format!("u00000{host}"), &at(host));
    }
    let same = confirmed(&site, &at(1));
    assert_eq!(same["user"], "u000001", "{same}");
    assert_eq!(same["state"], "active", "{same}");
    let other = confirmed(&site, &at(2));
    assert_eq!(other["user"], "u000102", "{other}");
    assert_eq!(ended(&site, &at(2), "u000002"), "displaced");
    let several = confirmed(&site, &at(6));
    assert_eq!(several["user"], "u000006", "his goes on: {several}");
    for (host, reason) in [
        (3, "probe-nobody"),
        (4, "probe-refused"),
        (5, "probe-unreachable"),
        (7, "probe-other-user"),
        (8, "probe-nobody"),
    ] {
        let user = format!("u00000{host}");
        assert_eq!(ended(&site, &at(host), &user), reason, "host {host}");
        let entries = site.query(&token, &format!("ip/{}", at(host)));
        for entry in entries["report_entries"].as_array().expect("entries") {
            let is_there = entry["activity"] == "login" && entry["user-name"] == user;
            assert!(!is_there, "{entries}");
        }
    }
    // What was asked for was let go of, and nothing went in less than privacy.
    let seen = wait_for("a moment without a probe", || {
        Some(computers.stats(&at(1))).filter(|seen| seen["references"] == 0)
    });
    assert!(seen["releases"].as_u64() > Some(0), "{seen}");
    assert_eq!(seen["level"], 6, "{seen}");
    let by_user = text(&site.run(&["query-user", "u000003", "--explain"]).stdout);
    assert!(by_user.contains("probe-nobody"), "{by_user}");
    println!("{by_user}");
    let status = text(&site.run(&["status"]).stdout);
    assert!(status.contains("shared_addresses"), "{status}");
    site.stop();
}

#[test]
fn rule_29_nobody_outside_the_networks_sees_a_credential() {
    let computers = WmiPeer::start(&["--addresses", "127.77.22.1"]);
    let peer = Peer::start(&[]);
    let mut site = site("");
    let token = site.token();
    old_logon(&peer, "u000009", "127.77.22.1");
    assert_eq!(ended(&site, "127.77.22.1", "u000009"), "expired");
    let output = site.run(&["probe", "127.77.22.1"]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    assert!(said.contains("outside the networks"), "{said}");
    site.query(&token, "ip/127.77.22.1?force-probe=true");
    let seen = computers.stats("127.77.22.1");
    assert_eq!(seen["connections"], 0, "{seen}");
    site.stop();
}

/// One number of the Prometheus page, summed over its labels.
fn metric(site: &Site, name: &str) -> f64 {
    let page = site.metrics();
    let lines = page.lines().filter(|line| {
        let rest = line.strip_prefix(name);
        rest.is_some_and(|rest| rest.starts_with(['{', ' ']))
    });
    lines
        .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
        .sum()
}

#[test]
fn a_thousand_computers_with_200_black_holes_are_asked_within_the_bound() {
    let (subnets, timeout, per_subnet) = (4_u32, 10_u32, 8_u32);
    let list = |hosts: &str| {
        let each = (0..subnets).map(|net| {
            let (from, to) = hosts.split_once('-').expect("a range");
            format!("127.77.{n}.{from}-127.77.{n}.{to}", n = 24 + net)
        });
        each.collect::<Vec<_>>().join(",")
    };
    let computers = WmiPeer::start(&[
        "--addresses",
        &list("1-200"),
        "--black-holes",
        &list("201-250"),
    ]);
    let peer = Peer::start(&[]);
    let networks = format!("networks = [\"127.77.24.0/22\"]\ntimeout = \"{timeout}s\"");
    let probing = probing("")
        .replace(&format!("networks = [\"{NETWORK}\"]"), &networks)
        .replace("timeout = \"2s\"\n", "");
    let mut site = site_with(&probing);
    let before = site.memory_kib();
    let mut events = Vec::new();
    for number in 0..subnets * 250 {
        // One after the other, black holes among the others, as they are in life.
        let (net, host) = (24 + number % subnets, 1 + number / subnets * 37 % 250);
        let data = json!({"TargetUserName": format!("u{number:06}"), "TargetDomainName": "CORP.EXAMPLE.COM",
            "IpAddress": format!("127.77.{net}.{host}"), "Status": 0});
        events.push(json!({"id": 4768, "data": data, "age_ms": 57_000 - number}));
    }
    peer.tell(&json!({"cmd": "inject", "events": events}));
    wait_for("the first probe", || {
        (metric(&site, "jims_probe_running") > 0.0).then_some(())
    });
    let begun = Instant::now();
    let mut most = 0.0_f64;
    let mut oldest = 0.0_f64;
    wait_at_most(GUARD, "every computer to be asked", || {
        most = most.max(metric(&site, "jims_probe_running"));
        oldest = oldest.max(metric(&site, "jims_probe_oldest_waiting_seconds"));
        let over = metric(&site, "jims_probe_total");
        let left = metric(&site, "jims_probe_unconfirmed_sessions");
        (over >= 1000.0 && left == 0.0).then_some(())
    });
    let took = begun.elapsed();
    let rounds = 200_u32.div_ceil(per_subnet * subnets);
    let bound = Duration::from_secs(u64::from(rounds * timeout)).mul_f64(1.2);
    let after = site.memory_kib();
    println!(
        "1,000 computers, 200 of them black holes: {took:?} (bound {bound:?}), at most {most} at once, oldest {oldest:.1} s, \
         {before} KiB before, {after} KiB after"
    );
    assert!(took <= bound, "{took:?} is over {bound:?}");
    assert!(most <= f64::from(per_subnet * subnets), "{most}");
    // A thousand sessions and their table, no more.
    assert!(after < before + 40_000, "{before} KiB, then {after} KiB");
    for net in 0..subnets {
        let found = explained(&site, &format!("127.77.{}.250", 24 + net));
        assert_eq!(found["ended"][0]["reason"], "probe-unreachable", "{found}");
    }
    drop(computers);
    site.stop();
}

#[test]
fn a_firewall_forces_a_probe_and_is_answered_with_what_it_found() {
    let computers = WmiPeer::start(&["--addresses", "127.77.20.1-127.77.20.3"]);
    computers.set(
        "127.77.20.1",
        &json!({"console_user": "CORP\\u000011", "sessions": []}),
    );
    computers.tell(&json!({"cmd": "mute", "address": "127.77.20.2", "step": "query", "on": true}));
    let _peer = Peer::start(&[]);
    let mut site = site("");
    let token = site.token();
    assert!(
        site.entry(&token, "127.77.20.1").is_none(),
        "nobody is known there"
    );
    let entries = site.query(&token, "ip/127.77.20.1?force-probe=true");
    let entry = &entries["report_entries"][0];
    assert_eq!(entry["user-name"], "u000011", "{entries}");
    assert!(entry["roles"].to_string().contains("G-ALL"), "{entries}");
    let begun = Instant::now();
    let entries = site.query(&token, "ip/127.77.20.2?force-probe=true");
    assert_eq!(entries["report_entries"], json!([]), "{entries}");
    // Three seconds, and room for a busy machine.
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
    site.stop();
}

/// How a computer refuses: step of the peer, status, how; then the step that shows it, and a word of its remedy.
const REFUSALS: [(&str, u32, &str, &str, &str); 8] = [
    (
        "activation",
        0x8007_0005,
        "result",
        "activate",
        "Distributed COM Users",
    ),
    ("activation", 5, "fault", "activate", "KB5004442"),
    ("activation", 0x8004_0154, "result", "activate", "Winmgmt"),
    ("activation", 0x8007_06ba, "result", "activate", "winmgmt"),
    ("login", 0x8004_1003, "result", "log in", "Remote Enable"),
    (
        "login",
        0x8004_100e,
        "result",
        "log in",
        "salvagerepository",
    ),
    ("query", 0x8004_1010, "result", "query", "winmgmt"),
    ("next", 0x8004_1003, "result", "query", "Remote Enable"),
];

#[test]
fn each_refusal_of_windows_has_its_step_and_its_remedy() {
    let computers = WmiPeer::start(&["--addresses", "127.77.20.1"]);
    let computer = "127.77.20.1";
    let somebody = json!({"console_user": "CORP\\u000011", "sessions": []});
    computers.set(computer, &somebody);
    let _peer = Peer::start(&[]);
    let mut site = site("");
    let probe = || site.json(&["probe", computer, "--json"])[0].clone();
    let well = probe();
    assert_eq!(well["kind"], "pc", "{well}");
    assert_eq!(well["answer"], "other-user", "{well}");
    assert_eq!(well["users"], json!(["CORP\\u000011"]), "{well}");
    let steps = well["steps"].as_array().expect("steps").iter();
    let names: Vec<&str> = steps.filter_map(|step| step["name"].as_str()).collect();
    let wanted = "name, port, sign-on, activate, object port, log in, query, answer";
    assert_eq!(names.join(", "), wanted);
    assert_eq!(probe()["answer"], "same-user");
    let shown = text(&site.run(&["probe", computer]).stdout);
    println!("{shown}");
    assert!(shown.contains("same user"), "{shown}");
    for (step, status, how, shows, remedy) in REFUSALS {
        computers.tell(&json!({"cmd": "refuse", "step": step, "status": status, "how": how}));
        let answer = probe();
        assert_eq!(answer["answer"], "refused", "{step}: {answer}");
        let failed = answer["steps"].as_array().and_then(|steps| steps.last());
        let failed = failed.expect("a step");
        assert_eq!(failed["name"], shows, "{answer}");
        assert_eq!(failed["ok"], false, "{answer}");
        let told = failed["remedy"].as_str().expect("a remedy");
        assert!(told.contains(remedy), "{step} {status:#x}: {failed}");
        computers.tell(&json!({"cmd": "calm"}));
    }
    // An account without an administrator's rights is shown its own logons only, which is no answer.
    computers.set(computer, &json!({"noise": false}));
    let blind = probe();
    assert_eq!(blind["answer"], "refused", "{blind}");
    assert!(blind.to_string().contains("local administrator"), "{blind}");
    computers.set(computer, &json!({"noise": true}));
    assert_eq!(site.run(&["probe", computer]).status.code(), Some(0));
    computers.tell(&json!({"cmd": "down", "where": "dcom"}));
    let answer = probe();
    let failed = answer["steps"].as_array().and_then(|steps| steps.last());
    assert_eq!(
        failed.map(|step| &step["name"]),
        Some(&json!("object port"))
    );
    assert_eq!(site.run(&["probe", computer]).status.code(), Some(1));
    site.stop();
}

#[test]
fn rule_29_a_wrong_password_is_shown_to_three_computers_and_then_rests() {
    let computers = WmiPeer::start(&["--addresses", "127.77.20.1-127.77.20.40"]);
    let _peer = Peer::start(&[]);
    let mut site = site("parallel = 64\nper_subnet = 64");
    // A reload reads the secret again.
    site.secret("directory.secret", "wrong");
    site.signal("HUP");
    let asked = |host: u8| {
        let target = format!("127.77.20.{host}");
        let mut command = site.command();
        command.args(["probe", &target, "--json"]);
        command.stdout(std::process::Stdio::piped());
        command.stderr(std::process::Stdio::null());
        command.spawn().expect("jims starts")
    };
    let running: Vec<_> = (1..=40).map(asked).collect();
    for child in running {
        let output = child.wait_with_output().expect("it ends");
        assert_eq!(output.status.code(), Some(1), "{}", text(&output.stdout));
    }
    let all = computers.tell(&json!({"cmd": "stats"}));
    let failed = all["total"]["accounts"]["svc-jims"]["failed"].as_u64();
    assert_eq!(failed, Some(3), "{}", all["total"]);
    let status = wait_for("the suspension in status", || {
        let status = text(&site.run(&["status"]).stdout);
        status.contains("is not used for 30 min").then_some(status)
    });
    println!("{status}");
    // The right password lifts it.
    site.secret("directory.secret", "Svc-Jims!1");
    wait_for("the changed password", || {
        let answer = site.json(&["probe", "127.77.20.1", "--json"]);
        (answer[0]["answer"] == "other-user").then_some(())
    });
    site.stop();
}

#[test]
fn hostile_answers_are_refusals_and_harm_nothing() {
    let computers = WmiPeer::start(&["--addresses", "127.77.20.1"]);
    computers.set(
        "127.77.20.1",
        &json!({"console_user": "CORP\\u000011", "sessions": []}),
    );
    let _peer = Peer::start(&[]);
    let mut site = site("");
    let acts = computers.tell(&json!({"cmd": "acts"}));
    let mut tried = 0;
    for act in acts["acts"].as_array().expect("acts") {
        let act = act.as_str().expect("a name");
        computers.tell(
            &json!({"cmd": "hostile", "what": act, "step": Value::Null, "times": Value::Null}),
        );
        let answer = site.json(&["probe", "127.77.20.1", "--json"]);
        let word = answer[0]["answer"].as_str().expect("an answer").to_owned();
        println!("{act}: {word}");
        computers.tell(&json!({"cmd": "calm"}));
        tried += 1;
    }
    assert!(tried > 20, "{acts}");
    let answer = site.json(&["probe", "127.77.20.1", "--json"]);
    assert_ne!(answer[0]["answer"], "refused", "well again: {answer}");
    assert!(!site.log().contains("ERROR"), "{}", site.log());
    site.stop();
}

#[test]
fn with_kerberos_a_computer_is_known_by_its_name_and_no_other_is_believed() {
    let computers = WmiPeer::start(&["--addresses", "127.77.0.50-127.77.0.51"]);
    computers.set(
        "127.77.0.50",
        &json!({"console_user": "CORP\\u000021", "sessions": [person("u000021", 2)]}),
    );
    let peer = Peer::start(&[]);
    let probing = probing("")
        .replace(NETWORK, "127.77.0.50/31")
        .replace("auth = \"ntlm\"", "auth = \"kerberos\"");
    let mut site = site_with(&probing);
    let ticket = |account: &str, address: &str, age_ms: u32| {
        let data = json!({"TargetUserName": account, "TargetDomainName": "CORP.EXAMPLE.COM",
            "IpAddress": address, "Status": 0});
        peer.tell(
            &json!({"cmd": "inject", "events": [{"id": 4768, "data": data, "age_ms": age_ms}]}),
        );
    };
    // The computer's own ticket gives it its name.
    ticket("PC1$", "127.77.0.50", 0);
    ticket("u000021", "127.77.0.50", 58_000);
    let session = confirmed(&site, "127.77.0.50");
    assert_eq!(session["user"], "u000021", "{session}");
    let seen = computers.stats("127.77.0.50");
    assert!(seen["auth"].to_string().contains("kerberos"), "{seen}");
    assert_eq!(seen["level"], 6, "{seen}");
    // The operator's name counts too; without any nobody is asked.
    let named = site.json(&["probe", "pc1.corp.example.com", "--json"]);
    assert_eq!(named[0]["answer"], "same-user", "{named}");
    ticket("u000022", "127.77.0.51", 58_000);
    assert_eq!(ended(&site, "127.77.0.51", "u000022"), "expired");
    assert_eq!(computers.stats("127.77.0.51")["connections"], 0);
    // Its place is taken by another computer, which cannot read the ticket.
    ticket("EVT1$", "127.77.0.51", 0);
    ticket("u000023", "127.77.0.51", 58_000);
    assert_eq!(ended(&site, "127.77.0.51", "u000023"), "probe-refused");
    site.stop();
}

#[test]
fn impacket_proves_the_computers_that_prove_us() {
    let printed = proven_by_impacket("check_wmi.py", "host/pc1.corp.example.com", "wmi.keytab");
    println!("{printed}");
}
