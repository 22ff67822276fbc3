//! A day of a firewall that is not our code: two independent Servers, fail-over, restarts, filters, questions.
//!
//! Both Servers read the same directory and the same event log, and get the same syslog, each by itself; they share
//! nothing. The firewall (`peers/srx.py`) is strict about all that it is told, and what it holds in the end is compared
//! with what happened and with both tables.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::support::peer::{Peer, event_source};
use super::support::srx::Srx;
use super::support::{Place, Site, directory, samba_tool, tunnel_down, tunnel_up, wait_for};

/// Items of a batch: few, so that a report has several.
const ITEMS: u32 = 20;
/// How long the firewall waits for an answer.
const TIMEOUT_S: u32 = 2;
/// Ends a wait that will never be over.
const GUARD: Duration = Duration::from_secs(60);
/// A user of the directory whose groups change.
const PROMOTED: &str = "u000003";

/// Two Servers and what really happened.
struct Day {
    peer: Peer,
    first: Site,
    second: Site,
    /// Syslog for the first while it is away: a relay with a queue holds it.
    held_back: Vec<String>,
    first_is_up: bool,
    facts: BTreeMap<String, String>,
    gone: BTreeSet<String>,
}

impl Day {
    fn begin() -> Self {
        let peer = Peer::start(&[]);
        let tables = format!("{}{}", directory(""), event_source(""));
        let mut first = Site::at(Place::FIRST, "", &tables);
        let mut second = Site::at(Place::SECOND, "", &tables);
        first.start();
        second.start();
        for site in [&mut first, &mut second] {
            site.wait_ready();
            wait_for_source(site);
        }
        Self {
            peer,
            first,
            second,
            held_back: Vec::new(),
            first_is_up: true,
            facts: BTreeMap::new(),
            gone: BTreeSet::new(),
        }
    }

    /// A user gets a ticket; the domain controller's log says so.
    fn log_on(&mut self, user: &str, address: &str) {
        self.peer.logon(user, address);
        self.facts.insert(address.to_owned(), user.to_owned());
    }

    fn computer(&mut self, device: &str, address: &str) {
        let data = json!({"TargetUserName": format!("{device}$"), "TargetDomainName": "CORP.EXAMPLE.COM",
            "IpAddress": address, "Status": 0});
        self.peer
            .tell(&json!({"cmd": "inject", "events": [{"id": 4768, "data": data}]}));
        self.facts
            .entry(address.to_owned())
            .or_insert_with(|| "--".to_owned());
    }

    fn tunnel_up(&mut self, user: &str, address: &str) {
        self.syslog(tunnel_up(user, address));
        self.facts.insert(address.to_owned(), user.to_owned());
    }

    fn tunnel_down(&mut self, user: &str, address: &str) {
        self.syslog(tunnel_down(user, address));
        self.facts.remove(address);
        self.gone.insert(address.to_owned());
    }

    fn syslog(&mut self, line: String) {
        send(&self.second, std::slice::from_ref(&line));
        if self.first_is_up {
            send(&self.first, &[line]);
        } else {
            self.held_back.push(line);
        }
    }

    fn stop_first(&mut self) {
        self.first.stop();
        self.first_is_up = false;
    }

    /// Starts the first again: the event log is caught up by its bookmark, the relay delivers what it held.
    fn start_first(&mut self) {
        self.first.start_ready();
        self.first_is_up = true;
        send(&self.first, &std::mem::take(&mut self.held_back));
    }

    /// Waits until both tables say what happened, as far as these Servers run.
    #[track_caller]
    fn settle(&self) {
        let up = self.first_is_up.then_some(&self.first);
        for site in up.into_iter().chain([&self.second]) {
            let begun = Instant::now();
            loop {
                let wrong = self.not_yet(site);
                if wrong.is_empty() {
                    break;
                }
                let name = site.place.address;
                assert!(begun.elapsed() < GUARD, "{name} never said: {wrong:?}");
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }

    /// What a table does not say as it happened.
    fn not_yet(&self, site: &Site) -> Vec<String> {
        let wrong = |(address, user): (&String, &String)| {
            let found = holds(site, address);
            (found != *user).then(|| format!("{address}: {found:?}, not {user:?}"))
        };
        let mut wrong: Vec<_> = self.facts.iter().filter_map(wrong).collect();
        let left = self.gone.iter().filter(|a| !self.facts.contains_key(*a));
        wrong.extend(left.filter_map(|address| {
            let found = holds(site, address);
            (!found.is_empty()).then(|| format!("{address}: {found:?} is gone"))
        }));
        wrong
    }
}

fn wait_for_source(site: &Site) {
    wait_for("the subscription", || {
        let status = site.json(&["status", "--json"]);
        let all = status["producers"].as_array()?;
        let source = all.iter().find(|source| source["name"] == "evt1")?;
        (source["state"] == "active").then_some(())
    });
}

/// Syslog lines over one TCP connection.
fn send(site: &Site, lines: &[String]) {
    let mut stream = TcpStream::connect((site.place.address, 5514)).expect("syslog listens");
    for line in lines {
        stream
            .write_all(format!("<134>iked[7]: {line}\n").as_bytes())
            .expect("sent");
    }
}

/// The session at an address.
fn session(site: &Site, address: &str) -> Value {
    site.json(&["query-user", address, "--json"])["sessions"]
        .as_array_mut()
        .and_then(Vec::pop)
        .unwrap_or_default()
}

/// Who is at an address by the operator's word: a user, `--` for a device alone, nothing.
fn holds(site: &Site, address: &str) -> String {
    match session(site, address) {
        Value::Null => String::new(),
        found => found["user"].as_str().unwrap_or("--").to_owned(),
    }
}

fn user(number: u32) -> String {
    format!("u{number:06}")
}

/// The morning: everybody comes, in the office and through tunnels; two devices are known.
fn morning(day: &mut Day) {
    for number in 0..40 {
        day.log_on(&user(number), &format!("10.20.0.{}", number + 1));
    }
    for number in 40..50 {
        day.tunnel_up(&user(number), &format!("10.21.0.{number}"));
    }
    day.computer("WS-00001", "10.20.0.1");
    day.computer("WS-00002", "10.20.0.60");
    day.settle();
}

#[test]
fn a_firewall_that_is_not_ours_has_a_whole_day() {
    let mut day = Day::begin();
    let mut srx = Srx::start(&[Place::FIRST, Place::SECOND], ITEMS, TIMEOUT_S);
    morning(&mut day);

    let all = srx.batch();
    assert_eq!((all.server(), all.full()), (0, true));
    // One for each address, and a logout before the device that is alone at its.
    assert_eq!(all.entries(), 52);
    assert_eq!(all.0["answers"], 3);
    assert_eq!(srx.table(), day.facts);
    let idle = srx.batch();
    assert_eq!((idle.entries(), idle.full()), (0, false), "{idle:?}");

    changes_come_by_cookie(&mut day, &mut srx);
    a_rotated_secret_costs_one_token(&day, &mut srx);
    fail_over_and_back(&mut day, &mut srx);
    a_server_that_hangs_is_left(&mut day, &mut srx);
    unknown_traffic_and_captive_portal(&mut day, &mut srx);
    filters_of_the_request(&day, &mut srx);

    // The evening: what it holds is what happened, and what both Servers say.
    srx.batch();
    day.settle();
    assert_eq!(srx.table(), day.facts);
    let counters = srx.counters();
    println!("the firewall's counters: {counters}");
    assert_eq!(counters["fail_overs"], 2);
    assert_eq!(counters["reverts"], 2);
    srx.end();
    let requests = day.first.json(&["status", "--requests", "--json"]);
    assert_eq!(
        requests["requests"],
        json!([]),
        "nothing was odd: {requests}"
    );
    day.first.stop();
    day.second.stop();
}

fn changes_come_by_cookie(day: &mut Day, srx: &mut Srx) {
    day.log_on(&user(60), "10.20.1.1");
    day.log_on(&user(61), "10.20.0.2");
    day.computer("WS-00003", "10.20.0.60");
    day.tunnel_down(&user(40), "10.21.0.40");
    day.tunnel_down(&user(41), "10.21.0.41");
    samba_tool(&["group", "addmembers", "G-EMPTY", PROMOTED]);
    day.settle();
    wait_for("the new role", || {
        let found = session(&day.first, "10.20.0.4");
        found["groups"]
            .to_string()
            .contains("G-EMPTY")
            .then_some(())
    });
    let changes = srx.batch();
    let expected = [
        "login 10.20.0.2",
        "login 10.20.0.4",
        "login 10.20.0.60",
        "login 10.20.1.1",
        // Rule 17: a device alone is told after a logout.
        "logout 10.20.0.60",
        "logout 10.21.0.40",
        "logout 10.21.0.41",
    ];
    assert_eq!(changes.told(), expected, "{changes:?}");
    let table = srx.order(&json!({"cmd": "table"})).0;
    let roles = table["table"]["10.20.0.4"]["roles"].to_string();
    assert!(
        roles.contains("G-EMPTY") && roles.contains("G-ALL"),
        "{roles}"
    );
    assert_eq!(table["table"]["10.20.0.60"]["device"], "WS-00003");
    samba_tool(&["group", "removemembers", "G-EMPTY", PROMOTED]);
    wait_for("the role to go", || {
        let found = session(&day.first, "10.20.0.4");
        (!found["groups"].to_string().contains("G-EMPTY")).then_some(())
    });
    let gone = srx.batch();
    assert_eq!(gone.told(), ["login 10.20.0.4"], "{gone:?}");
    assert_eq!(srx.table(), day.facts);
}

/// The secret is changed on both sides: the old token is 401, a new one is got, the cookie goes on.
fn a_rotated_secret_costs_one_token(day: &Day, srx: &mut Srx) {
    const NEXT: &str = "r0tated-secret";
    day.first.secret("firewall.secret", NEXT);
    day.first.signal("HUP");
    srx.order(&json!({"cmd": "secret", "server": 0, "secret": NEXT}));
    let before = srx.counters();
    let after = wait_for("the old token to end", || {
        let batch = srx.batch();
        assert_eq!((batch.entries(), batch.full()), (0, false), "{batch:?}");
        let counters = srx.counters();
        (counters["servers"][0]["unauthorized"] == 1).then_some(counters)
    });
    let tokens = |counters: &Value| counters["servers"][0]["tokens"].as_u64().expect("a number");
    assert_eq!(tokens(&after), tokens(&before) + 1);
}

/// The first is stopped for a while: the second takes over with a token of its own, and hands back by itself.
fn fail_over_and_back(day: &mut Day, srx: &mut Srx) {
    day.tunnel_up(&user(70), "10.21.1.1");
    day.settle();
    assert_eq!(srx.batch().told(), ["login 10.21.1.1"]);
    let stopped = Instant::now();
    day.stop_first();
    println!("a clean stop took {:?}", stopped.elapsed());
    // Between the last answer of the first and the first answer of the second somebody goes and somebody comes.
    day.tunnel_down(&user(42), "10.21.0.42");
    day.log_on(&user(71), "10.20.1.2");
    day.settle();
    let moved = srx.batch();
    assert_eq!((moved.server(), moved.full()), (1, true), "{moved:?}");
    println!(
        "fail-over to a Server that has its own table: {:.3} s, {} entries sent again for a table of {}",
        moved.seconds(),
        moved.entries(),
        day.facts.len()
    );
    assert_eq!(srx.table(), day.facts, "also the logout in between");
    assert_eq!(srx.counters()["servers"][1]["tokens"], 1);

    // Life goes on at the second.
    day.log_on(&user(72), "10.20.1.3");
    day.tunnel_down(&user(43), "10.21.0.43");
    day.settle();
    let second = srx.batch();
    assert_eq!(second.server(), 1);
    assert_eq!(second.told(), ["login 10.20.1.3", "logout 10.21.0.43"]);

    day.start_first();
    day.settle();
    let tokens = srx.counters()["servers"][0]["tokens"].clone();
    let back = srx.batch();
    assert_eq!((back.server(), back.full()), (0, false), "{back:?}");
    let while_away = BTreeSet::from([
        "login 10.20.1.2".to_owned(),
        "login 10.20.1.3".to_owned(),
        "logout 10.21.0.42".to_owned(),
        "logout 10.21.0.43".to_owned(),
    ]);
    assert_eq!(BTreeSet::from_iter(back.told()), while_away, "{back:?}");
    println!(
        "back to the first after its clean restart: {:.3} s, {} entries by the old cookie",
        back.seconds(),
        back.entries()
    );
    assert_eq!(
        srx.counters()["servers"][0]["tokens"],
        tokens,
        "a clean restart keeps tokens"
    );
    assert_eq!(srx.table(), day.facts);
}

/// A Server that accepts and says nothing is worse than one that is gone.
fn a_server_that_hangs_is_left(day: &mut Day, srx: &mut Srx) {
    day.first.signal("STOP");
    let moved = srx.batch();
    day.first.signal("CONT");
    assert_eq!((moved.server(), moved.full()), (1, false), "{moved:?}");
    println!(
        "fail-over from a Server that hangs: {:.3} s with a timeout of {TIMEOUT_S} s, {} entries by the second's cookie",
        moved.seconds(),
        moved.entries()
    );
    assert_eq!(srx.batch().server(), 0, "back by itself");
    assert_eq!(srx.table(), day.facts);
}

fn unknown_traffic_and_captive_portal(day: &mut Day, srx: &mut Srx) {
    let nobody = srx.order(&json!({"cmd": "ip", "address": "10.99.0.1"}));
    assert_eq!(nobody.0["entries"], json!([]));
    let known = srx.order(&json!({"cmd": "ip", "address": "10.20.0.1"}));
    assert_eq!(known.0["entries"][0]["user-name"], "u000000");
    assert_eq!(known.0["entries"][0]["device-name"], "WS-00001");

    // Known from the directory alone: nowhere without an address, his groups with one, and no session of it.
    let portal = |address: Option<&str>| json!({"cmd": "portal", "user": user(100), "domain": "corp.example.com", "address": address});
    assert_eq!(srx.order(&portal(None)).0["entries"], json!([]));
    let groups = srx.order(&portal(Some("10.20.2.1"))).0;
    assert!(groups["entries"][0]["roles"].to_string().contains("G-ALL"));
    assert_eq!(session(&day.first, "10.20.2.1"), Value::Null);

    // With a session the firewall's word restarts the logoff time.
    day.log_on(&user(100), "10.20.2.1");
    day.settle();
    let deadline = || session(&day.first, "10.20.2.1")["deadline"].to_string();
    let before = deadline();
    let groups = srx.order(&portal(Some("10.20.2.1"))).0;
    assert_eq!(groups["entries"][0]["user-name"], user(100));
    wait_for("the renewal", || (deadline() > before).then_some(()));
    let elsewhere = srx.order(&portal(Some("10.20.0.1"))).0;
    assert_eq!(elsewhere["entries"], json!([]), "another user is there");
    assert_eq!(srx.batch().told(), ["login 10.20.2.1"]);
    assert_eq!(srx.table(), day.facts);
}

fn filters_of_the_request(day: &Day, srx: &mut Srx) {
    let within = |facts: &BTreeMap<String, String>, prefix: &str, holds: bool| {
        let wanted = |address: &str| address.starts_with(prefix) == holds;
        let mut chosen = facts.clone();
        chosen.retain(|address, _| wanted(address));
        chosen
    };
    let steps = [
        (
            json!({"include": ["10.21.0.0/16"]}),
            within(&day.facts, "10.21.", true),
        ),
        (
            json!({"exclude": ["10.21.0.0/16"]}),
            within(&day.facts, "10.21.", false),
        ),
        (
            json!({"domains": ["elsewhere.example.com"]}),
            BTreeMap::new(),
        ),
        (json!({"domains": ["corp.example.com"]}), day.facts.clone()),
        (
            json!({"domains": ["CORP"], "include": ["10.20.0.0/16"], "exclude": ["10.20.1.0/24", "10.20.2.0/24"]}),
            within(&day.facts, "10.20.0.", true),
        ),
        (json!({}), day.facts.clone()),
    ];
    for (mut filter, expected) in steps {
        filter["cmd"] = json!("filter");
        srx.order(&filter);
        let told = srx.batch();
        assert_eq!((told.server(), told.full()), (0, true), "{filter}");
        assert_eq!(srx.table(), expected, "{filter}: {told:?}");
        let idle = srx.batch();
        assert_eq!(
            (idle.entries(), idle.full()),
            (0, false),
            "{filter}: {idle:?}"
        );
    }
}

#[test]
fn a_firewall_does_not_talk_to_a_server_of_another_name_or_authority() {
    let mut site = Site::new("");
    site.start_ready();
    let ca = super::support::ca_file();
    // The lab's authority signed it, but for other names; the machine's own authorities never heard of it.
    for (name, ca) in [
        ("elsewhere.example.com", ca.as_path()),
        (
            "dc1.corp.example.com",
            std::path::Path::new("/etc/ssl/certs/ca-certificates.crt"),
        ),
    ] {
        let Place {
            address,
            client_id,
            secret,
        } = Place::FIRST;
        let mut child = std::process::Command::new("/usr/bin/python3")
            .arg(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/tests/lab/peers/srx.py"
            ))
            .args(["--source", super::support::FIREWALL, "--ca"])
            .arg(ca)
            .arg("--server")
            .arg(format!("{address}:8443,{name},{client_id},{secret}"))
            .stdin(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .expect("python3 starts");
        let mut orders = child.stdin.take().expect("its input");
        writeln!(orders, "{}", json!({"cmd": "batch"})).expect("an order");
        drop(orders);
        let output = child.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("the certificate of"), "{said}");
    }
}
