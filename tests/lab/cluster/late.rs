//! Servers that come when the stream has lost its beginning: they start from the table that another stored.

use std::io::Write as _;
use std::time::{Duration, Instant};

use serde_json::json;

use super::feeder::logon;
use super::fleet::Srx;
use super::member::{COLLECTORS, Member, Role, SERVERS, cluster};
use super::nats::{Nats, RawClient};
use super::{syslog_to, wait_alike, wait_user};
use crate::support::{wait_at_most, wait_for};

/// Of the stream.
const STREAM: &str = "JIMS";

/// A table is stored every 30 s.
const STORED_WITHIN: Duration = Duration::from_secs(300);

fn address(n: u32) -> String {
    format!("10.2.{}.{}", n / 250, n % 250 + 1)
}

/// First and last sequence of the store of tables.
fn store(nats: &mut RawClient) -> (u64, u64) {
    let subject = format!("$JS.API.STREAM.INFO.OBJ_{STREAM}_tables");
    let info = nats.request(&subject, &json!({}));
    let number = |key: &str| info["state"][key].as_u64().unwrap_or(0);
    (number("first_seq"), number("last_seq"))
}

/// Waits until a table is stored that holds what was applied before.
#[track_caller]
fn wait_stored(nats: &mut RawClient) {
    // What replaces the first one has begun after that.
    for _ in 0..2 {
        let (_, before) = store(nats);
        wait_at_most(STORED_WITHIN, "a table to be stored", || {
            (store(nats).0 > before).then_some(())
        });
    }
}

/// Starts a Server and waits until it knows somebody.
#[track_caller]
fn comes(server: &mut Member, (last, user): &(String, String)) -> Duration {
    let begun = Instant::now();
    server.site.start();
    server.wait_ready();
    wait_user(server, last, user);
    let log = server.site.log();
    assert!(log.contains("the cluster's table is here"), "{log}");
    begun.elapsed()
}

#[test]
fn a_late_server_and_one_that_fell_behind_start_from_the_stored_table() {
    let nats = Nats::start(1);
    let mut raw = RawClient::connect(0);
    let extra = cluster(&nats);
    let mut collector = Member::start(COLLECTORS[0], Role::Collector, &extra);
    let mut first = Member::start(SERVERS[0], Role::Server, &extra);
    let mut behind = Member::start(SERVERS[1], Role::Server, &extra);
    for member in [&mut collector, &mut first, &mut behind] {
        member.wait_ready();
    }
    let mut vpn = syslog_to(&collector);
    let mut said = 0;
    let mut say = |many: u32| {
        for _ in 0..many {
            let line = logon(said.into(), &format!("u{:06}", said % 700), &address(said));
            vpn.write_all(line.as_bytes()).expect("sent");
            said += 1;
        }
        (address(said - 1), format!("u{:06}", (said - 1) % 700))
    };
    let (last, user) = say(1000);
    wait_user(&behind, &last, &user);
    let mut srx = Srx::new(vec![behind.http(), first.http()]);
    srx.batch().expect("an answer");
    assert_eq!(srx.table.len(), 1000);
    behind.site.stop();

    let (last, user) = say(3000);
    wait_user(&first, &last, &user);
    let (_, end, _) = raw.stream(STREAM);
    wait_stored(&mut raw);
    raw.purge_before(STREAM, end);
    let (begins, _, _) = raw.stream(STREAM);
    assert!(begins >= end, "{begins} {end}");
    let newest = say(500);
    wait_user(&first, &newest.0, &newest.1);
    let mut late = Member::new(SERVERS[2], Role::Server, &extra);
    let took = comes(&mut late, &newest);
    println!("a late Server had 4,500 sessions after {took:?}");
    let took = comes(&mut behind, &newest);
    println!("one that fell behind, after {took:?}");
    wait_alike(&[&first, &behind, &late]);
    // The cookie of before is as good as it was, at each of them.
    srx.batch().expect("an answer");
    assert_eq!(srx.full, Vec::<String>::new());
    assert_eq!(srx.table, super::everything(late.http()).0);
    let (last, user) = say(1);
    wait_for("the new one to be told", || {
        late.user_at(&last).filter(|found| *found == user)
    });
    wait_alike(&[&first, &behind, &late]);
}
