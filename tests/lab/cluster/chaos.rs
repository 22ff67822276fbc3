//! Everything that can happen to members and to NATS, in an order of chance that comes again with the same seed; then quiet,
//! and everybody has what one process has that was left alone.
//!
//! `JIMS_CHAOS_SECONDS`, `JIMS_CHAOS_RATE` (lines each second) and `JIMS_CHAOS_SEED` change it; `JIMS_BIN` names a binary that
//! was built for release. NATS itself is disturbed only with `JIMS_CHAOS_NATS=1`: nats-server 2.9.10 is then not always healthy
//! again in time, and was seen to deliver messages that it did not keep. Members that were given some start over; they count
//! again what they apply again, and cookies of before are rejected, so that only the tables are compared then. What becomes
//! of members without NATS for a time is in `outage`, and of messages that are not kept in `wrong`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::feeder::{Feeder, Load, is_mark, mark_address};
use super::fleet::{Fleet, Held, everything};
use super::member::{ALONE, COLLECTORS, Member, Role, SERVERS, cluster};
use super::nats::Nats;
use super::random::Random;
use super::sources;
use super::wait_alike;
use super::wrong::found_wrong;
use crate::support::peer::Peer;
use crate::support::wait_at_most;

/// An address is used again after this: what one Collector says late, because it or NATS stood still, is about the same
/// stay of the same user.
const USED_AGAIN_AFTER: u64 = 25;

/// Firewalls.
const FIREWALLS: u64 = 6;

/// Records of the event log each second, and of how many users.
const RECORDS: u64 = 40;
const USERS: u64 = 2000;

/// How long one disturbance may take to be over, elections of NATS included.
const OVER_WITHIN: Duration = Duration::from_secs(120);

/// What has not come this long after the last line was sent is lost.
const LOST_AFTER: Duration = Duration::from_secs(30);

/// The Server that is left alone, among [`SERVERS`]: its counters have seen everything.
const WITNESS: usize = 2;

fn setting(name: &str, usual: u64) -> u64 {
    let set = std::env::var(name).ok();
    set.map_or(usual, |text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{name}={text} is no number"))
    })
}

/// How often what happened, and the longest that it took to be over.
#[derive(Default)]
struct Counts(BTreeMap<&'static str, (u32, Duration)>);

impl Counts {
    fn note(&mut self, what: &'static str, took: Duration) {
        let (count, longest) = self.0.entry(what).or_default();
        *count += 1;
        *longest = took.max(*longest);
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for (what, (count, longest)) in &self.0 {
            let _written = writeln!(
                text,
                "  {what}: {count} times, over after {longest:?} at most"
            );
        }
        text
    }
}

/// Until when, and by which chance.
struct Turn {
    until: Instant,
    random: Random,
    counts: Counts,
}

impl Turn {
    fn is_over(&self) -> bool {
        Instant::now() >= self.until
    }

    /// Waits for a time between two bounds in milliseconds.
    fn pause(&mut self, least: usize, most: usize) {
        let millis = least + self.random.below(most - least);
        std::thread::sleep(Duration::from_millis(
            u64::try_from(millis).expect("64 bits"),
        ));
    }
}

/// One Collector at a time is killed or paused, and only when both have said everything that they were sent.
fn disturb_collectors(
    collectors: &mut [Member; 2],
    feeder: &Feeder,
    witness: &Member,
    turn: &mut Turn,
) {
    let mut marks = 0;
    while !turn.is_over() {
        turn.pause(500, 3000);
        let chosen = turn.random.below(2);
        // What one lost, the other had; and so that it still has what this one will lose.
        for target in [chosen, 1 - chosen] {
            wait_current(feeder, witness, target, &mut marks);
        }
        let collector = &mut collectors[chosen];
        if turn.random.below(3) > 0 {
            collector.site.kill();
            turn.pause(200, 4000);
            collector.site.start();
            let took = wait_current(feeder, witness, chosen, &mut marks);
            turn.counts.note("Collector killed", took);
        } else {
            collector.site.signal("STOP");
            turn.pause(500, 12_000);
            collector.site.signal("CONT");
            let took = wait_current(feeder, witness, chosen, &mut marks);
            turn.counts.note("Collector paused", took);
        }
    }
}

/// Waits until what a Collector was sent up to now is in the table.
fn wait_current(feeder: &Feeder, witness: &Member, target: usize, marks: &mut u64) -> Duration {
    let begun = Instant::now();
    let first = *marks;
    let mut sent_at = None;
    wait_at_most(OVER_WITHIN, "a Collector's mark", || {
        // A mark may have gone into the socket of a process that was killed.
        if sent_at.is_none_or(|at: Instant| at.elapsed() > Duration::from_secs(3)) {
            feeder.mark(target, *marks);
            *marks += 1;
            sent_at = Some(Instant::now());
        }
        let is_there = |mark| witness.user_at(&mark_address(target, mark)).is_some();
        (first..*marks).any(is_there).then_some(())
    });
    begun.elapsed()
}

fn disturb_servers(servers: &mut [&mut Member], turn: &mut Turn) {
    while !turn.is_over() {
        turn.pause(500, 4000);
        let chosen = turn.random.below(servers.len());
        let server = &mut servers[chosen];
        if turn.random.below(3) > 0 {
            server.site.kill();
            turn.pause(100, 5000);
            server.site.start();
            let begun = Instant::now();
            server.wait_ready();
            turn.counts.note("Server killed", begun.elapsed());
        } else {
            server.site.signal("STOP");
            turn.pause(500, 10_000);
            server.site.signal("CONT");
            let begun = Instant::now();
            server.wait_ready();
            turn.counts.note("Server paused", begun.elapsed());
        }
    }
}

fn disturb_nats(nats: &mut Nats, turn: &mut Turn) {
    while !turn.is_over() {
        turn.pause(1000, 5000);
        let chosen = turn.random.below(nats.nodes());
        let nodes = match turn.random.below(8) {
            0 => (0..nats.nodes()).collect(),
            _ => vec![chosen],
        };
        let is_pause = turn.random.below(2) == 0;
        for node in &nodes {
            if is_pause {
                nats.signal_node(*node, "STOP");
            } else {
                nats.kill_node(*node);
            }
        }
        turn.pause(300, 7000);
        for node in &nodes {
            if is_pause {
                nats.signal_node(*node, "CONT");
            } else {
                nats.start_node(*node);
            }
        }
        let begun = Instant::now();
        wait_at_most(OVER_WITHIN, "NATS to be healthy", || {
            // Each time that it is not, NATS writes a line.
            std::thread::sleep(Duration::from_millis(250));
            (0..nats.nodes()).all(Nats::is_healthy).then_some(())
        });
        let what = match (nodes.len(), is_pause) {
            (1, true) => "NATS node paused",
            (1, false) => "NATS node killed",
            (_, true) => "NATS paused",
            (_, false) => "NATS killed",
        };
        turn.counts.note(what, begun.elapsed());
    }
}

/// A table without the marks.
fn without_marks<T>(table: BTreeMap<String, T>) -> BTreeMap<String, T> {
    let lines = table.into_iter().filter(|(address, _)| !is_mark(address));
    lines.collect()
}

/// What of a session is the same whoever heard of it, and when.
fn session(row: &Value) -> Value {
    let keys = ["user", "domain", "groups", "since", "deadline", "state"];
    keys.iter()
        .map(|key| ((*key).to_owned(), row[*key].clone()))
        .collect()
}

/// Says which addresses differ, not the whole tables.
#[track_caller]
fn assert_same<T: PartialEq + std::fmt::Debug>(
    what: &str,
    one: &BTreeMap<String, T>,
    other: &BTreeMap<String, T>,
) {
    let addresses: BTreeSet<_> = one.keys().chain(other.keys()).collect();
    let different: Vec<_> = (addresses.into_iter())
        .filter(|address| one.get(*address) != other.get(*address))
        .map(|address| (address, one.get(address), other.get(address)))
        .collect();
    assert!(
        different.is_empty(),
        "{what}: {} of {} differ: {:#?}",
        different.len(),
        one.len(),
        &different[..different.len().min(8)]
    );
}

/// Everybody.
struct Scene {
    nats: Nats,
    peer: Peer,
    collectors: [Member; 2],
    servers: Vec<Member>,
    alone: Member,
}

impl Scene {
    fn start() -> Self {
        let nats = Nats::start(3);
        let extra = cluster(&nats);
        let peer = Peer::spawn(&["--addresses", sources::PEER, "--max-records", "1000000"]);
        let with_source = extra.clone() + &sources::source();
        let collector = |address| Member::start(address, Role::Collector, &with_source);
        let server = |address: &&'static str| Member::start(address, Role::Server, &extra);
        let mut scene = Self {
            nats,
            peer,
            collectors: COLLECTORS.map(collector),
            servers: SERVERS[..3].iter().map(server).collect(),
            alone: Member::start(ALONE, Role::Both, &sources::source()),
        };
        let members = scene.collectors.iter_mut().chain(&mut scene.servers);
        members.for_each(Member::wait_ready);
        scene.alone.wait_ready();
        scene
    }

    /// Disturbs everybody but the witness and the one that is alone.
    fn disturb(&mut self, feeder: &Feeder, seed: u64, seconds: u64) {
        let until = Instant::now() + Duration::from_secs(seconds);
        let turn = |salt: u64| Turn {
            until,
            random: Random::new(seed.wrapping_add(salt)),
            counts: Counts::default(),
        };
        let mut turns = [turn(1), turn(2), turn(3)];
        let (disturbed, witness) = self.servers.split_at_mut(WITNESS);
        let witness = &witness[0];
        let mut disturbed: Vec<_> = disturbed.iter_mut().collect();
        let [of_collectors, of_servers, of_nats] = &mut turns;
        let (collectors, nats) = (&mut self.collectors, &mut self.nats);
        std::thread::scope(|scope| {
            scope.spawn(move || disturb_collectors(collectors, feeder, witness, of_collectors));
            scope.spawn(move || disturb_servers(&mut disturbed, of_servers));
            if setting("JIMS_CHAOS_NATS", 0) > 0 {
                scope.spawn(move || disturb_nats(nats, of_nats));
            }
        });
        let texts = turns.iter().map(|turn| turn.counts.text());
        print!("{}", texts.collect::<String>());
    }

    fn witness(&self) -> &Member {
        &self.servers[WITNESS]
    }

    /// Waits until everything is sent, and read as far as it will be; returns how many events there were to count.
    fn wait_quiet(&self, feeder: &mut Feeder) -> u64 {
        self.peer.tell(&json!({"cmd": "stop_generating"}));
        let (lines, records) = (feeder.finish(), sources::made(&self.peer));
        let begun = Instant::now();
        wait_at_most(OVER_WITHIN, "everything to be sent", || {
            let mut targets = 0..3;
            let is_sent = targets.all(|target| feeder.waiting(target) == 0);
            is_sent.then_some(())
        });
        wait_at_most(OVER_WITHIN, "the process that is alone", || {
            (self.alone.counted() >= lines + records).then_some(())
        });
        let expected = || {
            let sessions = self.witness().sessions();
            let marks = sessions.keys().filter(|address| is_mark(address)).count();
            lines + records + u64::try_from(marks).expect("64 bits")
        };
        // Whether all came is asserted later, with more to say.
        let quiet = Instant::now();
        while self.witness().counted() < expected() && quiet.elapsed() < LOST_AFTER {
            std::thread::sleep(Duration::from_millis(100));
        }
        println!(
            "{lines} lines, {records} records; quiet after {:?}; the witness counted {:?}",
            begun.elapsed(),
            self.witness().outcomes()
        );
        expected()
    }

    /// How often a member found that its table was not the stream's.
    fn started_over(&self) -> usize {
        let members = self.collectors.iter().chain(&self.servers);
        members.map(found_wrong).sum()
    }

    /// Servers are alike, and like the process that was alone; returns the table as firewalls see it.
    #[track_caller]
    fn assert_right(&self, expected: u64) -> BTreeMap<String, Held> {
        wait_alike(&self.servers.iter().collect::<Vec<_>>());
        let sessions = |member: &Member| -> BTreeMap<String, Value> {
            let rows = without_marks(member.sessions()).into_iter();
            rows.map(|(address, row)| (address, session(&row)))
                .collect()
        };
        let told = without_marks(everything(self.witness().http()).0);
        let reference = everything(self.alone.http()).0;
        assert_same(
            "cluster and process alone, for firewalls",
            &told,
            &reference,
        );
        let (ours, alone) = (sessions(self.witness()), sessions(&self.alone));
        assert_same("cluster and process alone, sessions", &ours, &alone);
        match self.started_over() {
            0 => assert_eq!(self.witness().counted(), expected, "events lost or doubled"),
            times => println!("members started over {times} times: events are not counted"),
        }
        for member in self.collectors.iter().chain(&self.servers) {
            let status = member.try_status().expect("status");
            let attention = status["attention"].to_string();
            assert!(!attention.contains("differ after message"), "{attention}");
        }
        told
    }
}

#[test]
fn whatever_happens_everybody_has_the_same_in_the_end() {
    let seconds = setting("JIMS_CHAOS_SECONDS", 75);
    let rate = setting("JIMS_CHAOS_RATE", 500);
    let by_time = jiff::Timestamp::now().as_second().unsigned_abs();
    let seed = setting("JIMS_CHAOS_SEED", by_time);
    println!("JIMS_CHAOS_SEED={seed} JIMS_CHAOS_SECONDS={seconds} JIMS_CHAOS_RATE={rate}");
    let mut scene = Scene::start();
    let load = Load {
        rate,
        addresses: rate * USED_AGAIN_AFTER,
        padding: 0,
    };
    let mut feeder = Feeder::start(&[COLLECTORS[0], COLLECTORS[1], ALONE], load);
    // More than there is time for: it is stopped.
    let records = RECORDS * (seconds + 600);
    scene.peer.tell(
        &json!({"cmd": "generate", "n": records, "rate": RECORDS, "users": USERS, "ids": [4768]}),
    );
    let http: Vec<_> = scene.servers.iter().map(Member::http).collect();
    let fleet = Fleet::start(FIREWALLS, &http, seed);
    scene.disturb(&feeder, seed, seconds);
    let expected = scene.wait_quiet(&mut feeder);
    let told = scene.assert_right(expected);
    let mut fail_overs = 0;
    for srx in fleet.end() {
        fail_overs += srx.fail_overs;
        assert_same("firewall and table", &without_marks(srx.table), &told);
        let no_cookie_counts = scene.started_over() > 0;
        assert!(
            srx.full.is_empty() || no_cookie_counts,
            "a cookie was rejected: {:?}",
            srx.full
        );
    }
    println!(
        "{} sessions; {FIREWALLS} firewalls failed over {fail_overs} times",
        told.len()
    );
}
