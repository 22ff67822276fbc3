//! A stream that does not keep what it delivered: whoever was given it starts over, what was lost is said again, and cookies
//! of before count nowhere.

use std::io::Write as _;

use serde_json::json;

use super::feeder::logon;
use super::fleet::Srx;
use super::member::{COLLECTORS, Member, Role, SERVERS, cluster};
use super::nats::{Nats, RawClient};
use super::{assert_alike, syslog_to, wait_alike, wait_user};
use crate::support::{wait_at_most, wait_for};

/// Of the stream.
const STREAM: &str = "JIMS";

/// How long a member that starts over may take, its leases included.
const OVER_WITHIN: std::time::Duration = std::time::Duration::from_secs(120);

/// The one line of an address.
fn line(n: u64, address: &str) -> Vec<u8> {
    logon(n, &format!("u{n}"), address).into_bytes()
}

/// How often a member found that its table is not the stream's.
pub(super) fn found_wrong(member: &Member) -> usize {
    let log = member.site.log();
    log.matches("the table is not the stream's: the cluster's is read")
        .count()
}

/// How often it says in its metrics that its table was replaced.
fn replaced(member: &Member) -> u64 {
    let page = member.site.metrics();
    let mut lines = page.lines();
    let number = lines.find_map(|line| line.strip_prefix("jims_cluster_wrong_tables_total "));
    number.expect("the metric").parse().expect("a number")
}

#[test]
fn whoever_was_given_what_the_stream_does_not_keep_starts_over() {
    let nats = Nats::start(1);
    let mut raw = RawClient::connect(0);
    let extra = cluster(&nats);
    let mut collector = Member::start(COLLECTORS[0], Role::Collector, &extra);
    let mut given = Member::start(SERVERS[0], Role::Server, &extra);
    let mut absent = Member::start(SERVERS[1], Role::Server, &extra);
    for member in [&mut collector, &mut given, &mut absent] {
        member.wait_ready();
    }
    let mut vpn = syslog_to(&collector);
    vpn.write_all(&line(1, "10.3.0.1")).expect("sent");
    wait_user(&absent, "10.3.0.1", "u1");
    absent.site.kill();

    let (_, before, _) = raw.stream(STREAM);
    vpn.write_all(&line(2, "10.3.0.2")).expect("sent");
    wait_user(&given, "10.3.0.2", "u2");
    let (_, after, _) = raw.stream(STREAM);
    let mut srx = Srx::new(vec![given.http(), absent.http()]);
    srx.batch().expect("an answer");
    assert_eq!(srx.table.len(), 2);
    for seq in before + 1..=after {
        raw.delete(STREAM, seq);
    }
    vpn.write_all(&line(3, "10.3.0.3")).expect("sent");
    wait_user(&given, "10.3.0.3", "u3");
    absent.site.start();
    absent.wait_ready();

    wait_at_most(OVER_WITHIN, "those who were given it to start over", || {
        (found_wrong(&given) > 0 && found_wrong(&collector) > 0).then_some(())
    });
    wait_at_most(OVER_WITHIN, "all to be told again", || {
        let users = ["u1", "u2", "u3"];
        let has_all = |member: &Member| {
            let mut lines = (1..).zip(users);
            lines.all(|(n, user)| member.user_at(&format!("10.3.0.{n}")).as_deref() == Some(user))
        };
        (has_all(&given) && has_all(&absent)).then_some(())
    });
    wait_alike(&[&given, &absent]);
    assert_eq!(found_wrong(&absent), 0, "{}", absent.site.log());

    // The cookie meant another place: it counts nowhere, and the firewall is told everything.
    srx.go_to(1);
    srx.batch().expect("an answer");
    assert_eq!(srx.full.len(), 1, "{:?}", srx.full);
    assert_eq!(srx.table.len(), 3, "{:?}", srx.table);
    goes_on(&collector, [&given, &absent]);
    assert_alike(&[&given, &absent]);
    srx.go_to(0);
    srx.batch().expect("an answer");
    assert_eq!(srx.full.len(), 1, "the new one counts: {:?}", srx.full);
    assert!(replaced(&given) > 0);
    assert_eq!(replaced(&absent), 0);
    let status = given.try_status().expect("status");
    let attention = status["attention"].to_string();
    assert!(!attention.contains("differ after"), "{attention}");
}

/// What is said now comes everywhere, and time passes: the leases are held again.
#[track_caller]
fn goes_on(collector: &Member, servers: [&Member; 2]) {
    let mut vpn = syslog_to(collector);
    vpn.write_all(&line(4, "10.3.0.4")).expect("sent");
    for server in servers {
        wait_user(server, "10.3.0.4", "u4");
    }
    wait_for("the leases of the cluster to be held", || {
        let status = servers[0].try_status()?;
        let leases = status["cluster"]["leases"].as_array()?.clone();
        let mut own = leases.iter().filter(|lease| {
            let name = &lease["name"];
            *name == json!("clock") || *name == json!("tables")
        });
        (leases.len() >= 2 && own.all(|lease| lease["alive"] == true)).then_some(())
    });
}
