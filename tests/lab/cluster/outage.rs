//! NATS is gone: tables stay as they are, queries are answered, and nothing that was taken is lost.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::feeder::{Feeder, Load};
use super::fleet::Srx;
use super::member::{COLLECTORS, Member, Role, SERVERS, cluster};
use super::nats::Nats;
use super::wait_alike;
use crate::support::{wait_at_most, wait_for};

/// For what takes several pauses between tries and an election.
const RECOVERED_WITHIN: Duration = Duration::from_secs(120);

#[test]
fn without_nats_queries_are_answered_and_afterwards_nothing_is_missing() {
    let mut nats = Nats::start(3);
    let extra = cluster(&nats);
    let mut collector = Member::start(COLLECTORS[0], Role::Collector, &extra);
    let mut servers = [0, 1].map(|n| Member::start(SERVERS[n], Role::Server, &extra));
    collector.wait_ready();
    servers.iter_mut().for_each(Member::wait_ready);
    let load = Load {
        rate: 300,
        addresses: 2000,
        padding: 4000,
    };
    let mut feeder = Feeder::start(&COLLECTORS[..1], load);
    wait_for("lines to count", || {
        (servers[0].counted() > 600).then_some(())
    });
    let mut srx = Srx::new(servers.iter().map(Member::http).collect());
    srx.batch().expect("an answer");

    let before = servers[0].site.log().len();
    for node in 0..3 {
        nats.kill_node(node);
    }
    // Loudly.
    let begun = Instant::now();
    wait_for("log and status to say so", || {
        let log = servers[0].site.log()[before..].to_owned();
        let status = servers[0].try_status()?;
        let told = status["attention"].as_array()?;
        let is_told = told.iter().any(is_of_nats);
        (log.contains("following the cluster's stream: ") && is_told).then_some(())
    });
    println!("said so {:?} after NATS was gone", begun.elapsed());
    let frozen = srx_at(&mut srx, 0);
    assert_eq!(srx_at(&mut srx, 1), frozen, "the same table on both");
    let counted = servers[0].counted();
    // The Collector holds back: what it does not read waits for it.
    wait_for("lines to wait at the sender", || {
        (feeder.waiting(0) > 300).then_some(())
    });
    assert_eq!(servers[0].counted(), counted, "nothing counts meanwhile");
    assert_eq!(srx_at(&mut srx, 0), frozen);

    for node in 0..3 {
        nats.start_node(node);
    }
    let begun = Instant::now();
    let made = feeder.finish();
    wait_at_most(RECOVERED_WITHIN, "every line to count", || {
        servers
            .iter()
            .all(|server| server.counted() >= made)
            .then_some(())
    });
    println!(
        "{made} lines counted {:?} after NATS was back",
        begun.elapsed()
    );
    wait_alike(&[&servers[0], &servers[1]]);
    for server in &servers {
        assert_eq!(
            server.counted(),
            made,
            "none doubled: {:?}",
            server.outcomes()
        );
    }
    wait_for("status to be content", || {
        let status = servers[0].try_status()?;
        let told = status["attention"].as_array()?;
        (!told.iter().any(is_of_nats)).then_some(())
    });
    srx.batch().expect("an answer");
    assert_eq!(srx.full, Vec::<String>::new(), "no cookie was rejected");
}

/// Whether what an operator is told is that the cluster's order does not come.
fn is_of_nats(told: &Value) -> bool {
    told["what"].to_string().contains("cut off")
}

/// The firewall's table after a batch query at this server.
fn srx_at(srx: &mut Srx, server: usize) -> std::collections::BTreeMap<String, super::fleet::Held> {
    srx.go_to(server);
    srx.batch().expect("queries are answered");
    srx.table.clone()
}
