//! Everything that can happen to members and to NATS, in an order of chance that comes again with the same seed; then quiet,
//! and everybody has what one process has that was left alone.
//!
//! Each has a host of its own, so that its wires can be cut. Members are killed, paused, cut off and reloaded meanwhile, and an
//! operator logs guests off.
//!
//! `JIMS_CHAOS_SECONDS`, `JIMS_CHAOS_RATE` (lines each second) and `JIMS_CHAOS_SEED` change it; `JIMS_BIN` names a binary that
//! was built for release. `JIMS_CHAOS_NATS=1` kills, pauses and cuts off one node of NATS at a time as well, by which nothing is
//! lost with nats-server 2.10.27; `=2` sometimes all of them. A node is not always healthy again by its own word (it is
//! restarted then), and a cluster of 2.9 was seen to deliver messages that it did not keep. Members that were given some
//! start over; they count again what they apply again, and cookies of before are rejected, so that only the tables are compared
//! then. What becomes of members without NATS for a time is in `outage`, and of messages that are not kept in `wrong`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::disturb::{OVER_WITHIN, Turn, disturb_collectors, disturb_nats, disturb_servers};
use super::feeder::{Feeder, Load, is_mark};
use super::fleet::{Fleet, Held, everything};
use super::hosts::{COLLECTORS, HARNESS, Network, SERVERS};
use super::member::{ALONE, Member, Role, cluster};
use super::nats::Nats;
use super::operator::Operator;
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
    /// The operator's log-offs.
    log_offs: u64,
    _network: Network,
}

impl Scene {
    fn start() -> Self {
        let network = Network::start();
        let nats = Nats::start_on(&network);
        let extra = cluster(&nats);
        let peer = Peer::spawn(&["--addresses", HARNESS, "--max-records", "1000000"]);
        let with_source = extra.clone() + &sources::source(HARNESS);
        let collector = |address| {
            let host = network.host(address);
            Member::start_on(host, address, Role::Collector, &with_source)
        };
        let server = |address| {
            let host = network.host(address);
            Member::start_on(host, address, Role::Server, &extra)
        };
        let mut scene = Self {
            nats,
            peer,
            collectors: COLLECTORS.map(collector),
            servers: SERVERS.map(server).into(),
            alone: Member::start(ALONE, Role::Both, &sources::source(HARNESS)),
            log_offs: 0,
            _network: network,
        };
        let members = scene.collectors.iter_mut().chain(&mut scene.servers);
        members.for_each(Member::wait_ready);
        scene.alone.wait_ready();
        scene
    }

    /// Disturbs everybody but the witness and the one that is alone.
    fn disturb(&mut self, feeder: &Feeder, seed: u64, seconds: u64) {
        let until = Instant::now() + Duration::from_secs(seconds);
        let failed = Arc::default();
        let turn = |salt| Turn::new(until, &failed, seed.wrapping_add(salt));
        let turns = [turn(1), turn(2), turn(3), turn(4)];
        let operator = self.operator();
        let (disturbed, witness) = self.servers.split_at_mut(WITNESS);
        let witness = &witness[0];
        let (collectors, nats) = (&mut self.collectors, &mut self.nats);
        let log_offs = &mut self.log_offs;
        // Each owns its turn, so that the others end if it fails.
        let counts = std::thread::scope(|scope| {
            let [
                mut of_collectors,
                mut of_servers,
                mut of_nats,
                mut of_operator,
            ] = turns;
            let mut threads = vec![
                scope.spawn(move || {
                    disturb_collectors(collectors, feeder, witness, &mut of_collectors);
                    of_collectors.counts.text()
                }),
                scope.spawn(move || {
                    disturb_servers(disturbed, witness, &mut of_servers);
                    of_servers.counts.text()
                }),
                scope.spawn(move || {
                    *log_offs = operator.log_off_guests(feeder, &mut of_operator);
                    of_operator.counts.text()
                }),
            ];
            let level = setting("JIMS_CHAOS_NATS", 0);
            if level > 0 {
                threads.push(scope.spawn(move || {
                    disturb_nats(nats, level > 1, &mut of_nats);
                    of_nats.counts.text()
                }));
            }
            let texts = threads.into_iter().map(|thread| thread.join());
            texts
                .collect::<Result<String, _>>()
                .expect("all disturbances to be over")
        });
        print!("{counts}");
    }

    fn operator(&self) -> Operator {
        let members = self.collectors.iter().chain(&self.servers);
        Operator {
            members: members.map(Member::control).collect(),
            witness: self.witness().control(),
            alone: self.alone.control(),
        }
    }

    fn witness(&self) -> &Member {
        &self.servers[WITNESS]
    }

    /// Waits until everything is sent, and read as far as it will be; returns how many events there were to count.
    fn wait_quiet(&self, feeder: &mut Feeder) -> u64 {
        self.peer.tell(&json!({"cmd": "stop_generating"}));
        let (lines, records) = (feeder.finish(), sources::made(&self.peer, HARNESS));
        let all = lines + records + self.log_offs;
        let begun = Instant::now();
        wait_at_most(OVER_WITHIN, "everything to be sent", || {
            let mut targets = 0..3;
            let is_sent = targets.all(|target| feeder.waiting(target) == 0);
            is_sent.then_some(())
        });
        wait_at_most(OVER_WITHIN, "the process that is alone", || {
            (self.alone.counted() >= all).then_some(())
        });
        let expected = || {
            let sessions = self.witness().sessions();
            let marks = sessions.keys().filter(|address| is_mark(address)).count();
            all + u64::try_from(marks).expect("64 bits")
        };
        // Whether all came is asserted later, with more to say.
        let quiet = Instant::now();
        while self.witness().counted() < expected() && quiet.elapsed() < LOST_AFTER {
            std::thread::sleep(Duration::from_millis(100));
        }
        println!(
            "{lines} lines, {records} records, {} log-offs; quiet after {:?}; the witness counted {:?}",
            self.log_offs,
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
