//! Collectors and a Server in processes of their own: onboarding, what the Server holds, kills, cuts, a big table.
//!
//! Two Collectors read two forests (Samba) and get syslog; the Server has no source but them. What it holds in the end is
//! compared, address by address, with what really happened to everybody.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::support::apart::{
    BRANCH, Branch, HEADQUARTERS, SENT_AGAIN, Truth, collector, invite, join, on_the_page, onboard,
    report, send, server,
};
use super::support::cut::Line;
use super::support::{JIMS, Site, text, wait_at_most, wait_for};

/// How long everybody is killed in turn; `JIMS_LAB_CHAOS_S` says otherwise.
const CHAOS: Duration = Duration::from_secs(60);
/// How long the line is cut; `JIMS_LAB_CUT_S` says otherwise.
const CUT: Duration = Duration::from_secs(20);
/// Ends a wait for a table that never comes.
const GUARD: Duration = Duration::from_secs(120);

fn url() -> String {
    format!("https://{JIMS}:8443")
}

fn seconds(variable: &str, default: Duration) -> Duration {
    let set = std::env::var(variable).ok();
    set.map_or(default, |text| {
        Duration::from_secs(text.parse().expect("seconds"))
    })
}

/// Numbers that look random and come again with the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        u32::try_from(self.0 % u64::from(most)).expect("small")
    }
}

/// Waits until the firewall is told exactly what happened.
#[track_caller]
fn wait_for_truth(server: &Site, truth: &Truth) -> Duration {
    let begun = Instant::now();
    loop {
        let held = report(server);
        if held == *truth.table() {
            return begun.elapsed();
        }
        if begun.elapsed() > GUARD {
            let differs = |(address, who): (&String, &String), other: &BTreeMap<String, String>| {
                let there = other.get(address);
                (there != Some(who)).then(|| format!("{address}: {who}, there {there:?}"))
            };
            let wanted = truth.table();
            let missing: Vec<_> = wanted.iter().filter_map(|e| differs(e, &held)).collect();
            let wrong: Vec<_> = held.iter().filter_map(|e| differs(e, wanted)).collect();
            let first = missing.first().or(wrong.first()).cloned();
            let address = first.as_deref().and_then(|line| line.split(": ").next());
            let why = ["query-user", address.unwrap_or_default(), "--explain"];
            let why = text(&server.run(&why).stdout);
            panic!("never as it was\nhappened: {missing:#?}\ntold: {wrong:#?}\n{why}");
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn wait_following(server: &Site, name: &str) -> Value {
    wait_for(&format!("{name} to follow"), || {
        let line = on_the_page(server, name);
        let follows = line["state"] == "connected" && line["lag"]["behind"] == 0;
        follows.then_some(line)
    })
}

#[test]
fn two_collectors_feed_a_server_that_has_no_source_of_its_own() {
    let mut server = server();
    server.start_ready();
    let mut a = join(&server, HEADQUARTERS, &url());
    let mut b = join(&server, BRANCH, &url());
    let truth = a_morning();
    println!("both are seen {:?} later", wait_for_truth(&server, &truth));
    let token = server.token();
    let entry = wait_for("groups of the second forest", || {
        let entry = server.entry(&token, "10.13.0.7")?;
        entry["roles"]
            .to_string()
            .contains("G-ALL")
            .then_some(entry)
    });
    assert_eq!(entry["domain-name"], BRANCH.domain, "{entry}");
    the_page_is_right(&server, &truth);
    let told = a.json(&["status", "--json"]);
    assert_eq!(told["pushes"][0]["state"], "following", "{told}");
    the_operator_has_the_last_word(&server, &b, &truth);
    for site in [&mut server, &mut a, &mut b] {
        site.stop();
    }
}

/// Everybody comes, at both sites; of an address that both speak of, the later wins.
fn a_morning() -> Truth {
    let mut truth = Truth::default();
    let mut lines = [(HEADQUARTERS, Vec::new()), (BRANCH, Vec::new())];
    for number in 0..50 {
        for (branch, lines) in &mut lines {
            let own = format!("10.{}.0.{number}", branch.network);
            lines.push(truth.comes(*branch, number, &own));
        }
    }
    let [(_, first), (_, second)] = &mut lines;
    second.push(truth.comes(BRANCH, 60, "10.99.0.1"));
    first.push(truth.comes(HEADQUARTERS, 61, "10.99.0.1"));
    for (branch, lines) in &lines {
        send(*branch, lines);
    }
    truth
}

fn the_page_is_right(server: &Site, truth: &Truth) {
    let of_first = wait_following(server, HEADQUARTERS.name);
    let of_second = wait_following(server, BRANCH.name);
    assert_eq!(of_first["identifier"], "headquarters-host", "{of_first}");
    assert_eq!(of_second["description"], "branch of the lab", "{of_second}");
    for line in [&of_first, &of_second] {
        assert_eq!(line["version"], env!("CARGO_PKG_VERSION"), "{line}");
        for kind in ["domains", "users", "devices", "groups", "sessions"] {
            assert!(line["pushes"][kind].as_u64() > Some(0), "{kind}: {line}");
        }
    }
    let status = server.json(&["status", "--json"]);
    let sessions = u64::try_from(truth.table().len()).expect("few");
    assert_eq!(status["totals"]["sessions"], sessions, "{status}");
    assert_eq!(status["totals"]["domains"], 2, "{status}");
    let users = u64::from(HEADQUARTERS.users + BRANCH.users);
    assert!(
        status["directory"]["users"].as_u64() >= Some(users),
        "{status}"
    );
    let page = server.run(&["status", "--collectors"]);
    println!("{}", text(&page.stdout));
}

/// Described, disabled, enabled, removed: what it brought leaves.
fn the_operator_has_the_last_word(server: &Site, site: &Site, truth: &Truth) {
    let done = |arguments: &[&str]| {
        let output = server.run(arguments);
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            text(&output.stderr)
        );
    };
    let describe = [
        "onboard",
        "--describe",
        BRANCH.name,
        "the branch by the river",
    ];
    done(&describe);
    assert_eq!(on_the_page(server, BRANCH.name)["description"], describe[3]);
    done(&["onboard", "--disable", BRANCH.name]);
    wait_for("the Collector to hear it", || {
        let status = site.json(&["status", "--json"]);
        let push = &status["pushes"][0];
        let why = push["fault"]["message"].to_string();
        (push["state"] == "refused" && why.contains("disabled")).then_some(())
    });
    assert_eq!(on_the_page(server, BRANCH.name)["state"], "disabled");
    done(&["onboard", "--enable", BRANCH.name]);
    wait_following(server, BRANCH.name);
    wait_for_truth(server, truth);
    done(&["onboard", "--remove", BRANCH.name]);
    let left =
        |held: &BTreeMap<String, String>| held.values().any(|who| who.starts_with(BRANCH.domain));
    wait_for("what it brought to leave", || {
        (!left(&report(server))).then_some(())
    });
    let status = server.json(&["status", "--json"]);
    assert_eq!(on_the_page(server, BRANCH.name), Value::Null);
    assert_eq!(status["totals"]["domains"], 1, "{status}");
}

/// The one that can be killed, what it is, and what is held back for it.
struct Victim {
    site: Site,
    branch: Option<Branch>,
    sent: Vec<(Instant, String)>,
    waiting: Vec<String>,
    back_at: Option<Instant>,
}

impl Victim {
    fn new(site: Site, branch: Option<Branch>) -> Self {
        Self {
            site,
            branch,
            sent: Vec::new(),
            waiting: Vec::new(),
            back_at: None,
        }
    }

    /// Ends it; whatever it got of late is sent again when it is back.
    fn strike(&mut self, hard: bool, away: Duration) {
        if hard {
            self.site.kill();
        } else {
            self.site.stop();
        }
        let now = Instant::now();
        self.back_at = Some(now + away);
        let late = self.sent.drain(..);
        let late = late.filter(|(at, _)| now.duration_since(*at) < SENT_AGAIN);
        let late: Vec<_> = late.map(|(_, line)| line).collect();
        self.waiting.splice(0..0, late);
    }

    fn come_back(&mut self) {
        if self.back_at.is_some_and(|at| at <= Instant::now()) {
            self.back_at = None;
            self.site.start();
            if self.branch.is_some() {
                wait_for("its status", || {
                    self.site
                        .run(&["status", "--json"])
                        .status
                        .code()
                        .filter(|code| *code < 2)
                });
            }
        }
    }

    fn hear(&mut self, lines: Vec<String>) {
        self.waiting.extend(lines);
        let Some(branch) = self.branch.filter(|_| self.back_at.is_none()) else {
            return;
        };
        send(branch, &self.waiting);
        let now = Instant::now();
        let sent = self.waiting.drain(..).map(|line| (now, line));
        self.sent.extend(sent);
    }
}

#[test]
fn whoever_is_killed_whenever_the_table_is_the_union_in_the_end() {
    let seed = jiff::Timestamp::now().as_millisecond().unsigned_abs();
    println!("seed {seed}");
    let mut dice = Dice(seed | 1);
    let mut first = server();
    first.start_ready();
    let a = join(&first, HEADQUARTERS, &url());
    let b = join(&first, BRANCH, &url());
    let mut all = [
        Victim::new(a, Some(HEADQUARTERS)),
        Victim::new(b, Some(BRANCH)),
        Victim::new(first, None),
    ];
    let mut truth = Truth::default();
    let (begun, chaos) = (Instant::now(), seconds("JIMS_LAB_CHAOS_S", CHAOS));
    let mut next_strike = begun + Duration::from_secs(3);
    let (mut strikes, mut said) = ([0_u32; 3], 0_u32);
    while begun.elapsed() < chaos {
        for (victim, branch) in all.iter_mut().zip([HEADQUARTERS, BRANCH]) {
            let lines = (0..25).map(|_| something(&mut dice, &mut truth, branch));
            let lines: Vec<_> = lines.collect();
            said += 25;
            victim.hear(lines);
        }
        if Instant::now() >= next_strike {
            let whom = dice.below(3) as usize;
            let (hard, away) = (dice.below(4) > 0, dice.below(3_000));
            if all[whom].back_at.is_none() {
                all[whom].strike(hard, Duration::from_millis(away.into()));
                strikes[whom] += 1;
            }
            next_strike =
                Instant::now() + Duration::from_millis((2_000 + dice.below(4_000)).into());
        }
        all.iter_mut().for_each(Victim::come_back);
        std::thread::sleep(Duration::from_millis(50));
    }
    for victim in &mut all {
        wait_for("everybody to be back", || {
            victim.come_back();
            victim.back_at.is_none().then_some(())
        });
        victim.hear(Vec::new());
    }
    let [a, b, first] = &mut all;
    first.site.wait_ready();
    let after = wait_for_truth(&first.site, &truth);
    println!(
        "{said} lines, killed or stopped {strikes:?} times; as it was {after:?} after the last"
    );
    for name in [HEADQUARTERS.name, BRANCH.name] {
        wait_following(&first.site, name);
    }
    let status = first.site.json(&["status", "--json"]);
    let sessions = u64::try_from(truth.table().len()).expect("few");
    assert_eq!(
        status["totals"]["sessions"], sessions,
        "none twice: {status}"
    );
    assert!(strikes.iter().all(|count| *count > 0), "{strikes:?}");
    a.site.stop();
    b.site.stop();
    first.site.stop();
}

/// Somebody comes or goes, at an address of the branch's own or at one that both speak of.
fn something(dice: &mut Dice, truth: &mut Truth, branch: Branch) -> String {
    let third = if dice.below(3) == 0 {
        99
    } else {
        u32::from(branch.network)
    };
    let address = format!("10.{third}.1.{}", dice.below(200));
    let user = dice.below(branch.users.min(100));
    if dice.below(4) == 0 {
        truth.goes(branch, user, &address)
    } else {
        truth.comes(branch, user, &address)
    }
}

#[test]
fn a_line_that_was_cut_is_caught_up() {
    const NEAR: &str = "127.77.0.34:8443";
    let mut server = server();
    server.start_ready();
    let line = Line::between(NEAR, &format!("{JIMS}:8443"));
    let mut site = join(&server, HEADQUARTERS, &format!("https://{NEAR}"));
    let mut truth = Truth::default();
    let mut dice = Dice(7);
    let mut a_second = |truth: &mut Truth| {
        let begun = Instant::now();
        for _ in 0..10 {
            let lines = (0..100).map(|_| something(&mut dice, truth, HEADQUARTERS));
            send(HEADQUARTERS, &lines.collect::<Vec<_>>());
            std::thread::sleep(Duration::from_millis(80));
        }
        std::thread::sleep(Duration::from_secs(1).saturating_sub(begun.elapsed()));
    };
    for _ in 0..3 {
        a_second(&mut truth);
    }
    wait_for_truth(&server, &truth);
    let (before, connections) = (site.memory_kib(), line.connections());
    line.cut();
    let begun = Instant::now();
    while begun.elapsed() < seconds("JIMS_LAB_CUT_S", CUT) {
        a_second(&mut truth);
    }
    let during = site.memory_kib();
    assert_ne!(report(&server), *truth.table(), "the line was cut");
    line.mend();
    let caught_up = wait_for_truth(&server, &truth);
    println!(
        "cut for {:?} at 1,000 events/s, caught up {caught_up:?} later; memory {before} to {during} KiB, {} connections more",
        begun.elapsed(),
        line.connections() - connections
    );
    assert!(
        during < before + 65_536,
        "bounded: {before} to {during} KiB"
    );
    wait_following(&server, HEADQUARTERS.name);
    site.stop();
    server.stop();
}

#[test]
fn a_silent_collector_is_disconnected_and_its_sessions_stay() {
    let mut server = server();
    server.start_ready();
    let mut site = join(&server, BRANCH, &url());
    let mut truth = Truth::default();
    send(BRANCH, &[truth.comes(BRANCH, 1, "10.40.0.1")]);
    wait_for_truth(&server, &truth);
    site.stop();
    // Three heartbeats.
    wait_at_most(GUARD, "the page to say so", || {
        (on_the_page(&server, BRANCH.name)["state"] == "disconnected").then_some(())
    });
    assert_eq!(report(&server), *truth.table(), "unconfirmed, not gone");
    let output = server.run(&["status"]);
    assert_eq!(output.status.code(), Some(1), "it needs attention");
    assert!(
        text(&output.stdout).contains(BRANCH.name),
        "{}",
        text(&output.stdout)
    );
    site.start();
    wait_following(&server, BRANCH.name);
    wait_for_truth(&server, &truth);
    site.stop();
    server.stop();
}

/// An onboarding that must fail: how it exits, and a word that it must say.
#[track_caller]
fn refused(site: &Site, url: &str, code: &str, (exit, word): (i32, &str)) {
    let output = onboard(site, url, code);
    let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(exit), "{said}");
    assert!(said.to_lowercase().contains(word), "{said}");
}

#[test]
fn onboarding_by_a_script_says_what_is_wrong() {
    let mut server = server();
    server.start_ready();
    let mut site = collector(BRANCH);
    site.start();
    let invitation = invite(&server, "branch", &["--expires", "1m"]);
    let code = invitation["code"].as_str().expect("a code").to_owned();
    let mut mistyped = code.clone();
    let last = mistyped.pop();
    mistyped.push(if last == Some('A') { 'B' } else { 'A' });
    refused(&site, &url(), &mistyped, (2, "mistyped"));
    refused(&site, &url(), "hello", (2, "code"));
    refused(&site, "https://127.77.0.30:9", &code, (2, "connect"));
    refused(
        &site,
        "https://nowhere.invalid",
        &code,
        (2, "nowhere.invalid"),
    );
    let revoked = invite(&server, "revoked", &[]);
    assert!(
        server
            .run(&["onboard", "--revoke", "revoked"])
            .status
            .success()
    );
    let revoked = revoked["code"].as_str().expect("a code");
    refused(&site, &url(), revoked, (1, "revoked on the server"));

    it_is_onboarded_once(&server, &site, &code);
    let mut other = collector(HEADQUARTERS);
    other.start();
    refused(&other, &url(), &code, (1, "another"));
    let list = server.json(&["onboard", "--list", "--json"]);
    assert!(
        !list.to_string().contains(&code[6..20]),
        "the code is shown once"
    );
    let names = list["collectors"].as_array().expect("a list").iter();
    let names: Vec<&Value> = names.map(|one| &one["name"]).collect();
    assert_eq!(names, [&json!("branch")], "{list}");
    for site in [&mut server, &mut site, &mut other] {
        site.stop();
    }
}

/// With the code, a second time with it, and without: one Collector, whose first push is a step.
fn it_is_onboarded_once(server: &Site, site: &Site, code: &str) {
    let output = onboard(site, &url(), code);
    let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{said}");
    let answer: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(answer["collector"], "branch", "{answer}");
    let last = answer["steps"].as_array().and_then(|steps| steps.last());
    let last = last.expect("steps");
    let pushed = (&last["name"], &last["ok"]);
    assert_eq!(pushed, (&json!("push"), &json!(true)), "{answer}");
    let file = answer["credential_file"].as_str().expect("a file");
    let file = std::fs::metadata(file).expect("the credential");
    let mode = std::os::unix::fs::PermissionsExt::mode(&file.permissions());
    assert_eq!(mode & 0o777, 0o600);
    wait_following(server, "branch");
    assert!(onboard(site, &url(), code).status.success());
    let again = site.run(&["onboard", &url(), "--json"]);
    let said = format!("{}{}", text(&again.stdout), text(&again.stderr));
    assert!(again.status.success(), "{said}");
}
