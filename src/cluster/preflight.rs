//! A preflight of a cluster's NATS: every server takes us, JetStream is there, and the stream has the copies that it should.
//!
//! Changes nothing: a stream that is not there yet is made by the first member that runs.

use crate::config::Cluster;
use crate::net::nats::{Copies, JetStreamFacts, Nats};
use crate::runtime::preflight::Preflight;

/// The oldest nats-server whose cluster was seen to keep what it had delivered while one node at a time was killed, paused or
/// cut off.
const KEEPS_ITS_WORD: [u32; 3] = [2, 10, 27];
const LOSES: &str = "use 2.10.27 or later: a cluster of 2.9 was seen to lose messages when nodes were killed, and \
members then take the table anew";

/// Tries every configured server by itself: whichever a member is connected to must do.
pub async fn preflight(cluster: &Cluster, steps: &mut Preflight) {
    for url in &cluster.nats {
        if let Some(nats) = one_server(cluster, url, steps).await {
            stream(cluster, &nats, steps).await;
        }
    }
}

async fn one_server(cluster: &Cluster, url: &str, steps: &mut Preflight) -> Option<Nats> {
    let only = Cluster {
        nats: vec![url.to_owned()],
        ..cluster.clone()
    };
    let nats = match Nats::connect(&only, "probe").await {
        Ok(nats) => nats,
        Err(error) => {
            steps.fail("connect", format!("{url}: {error}"), error.remedy());
            return None;
        }
    };
    let (name, version) = (nats.server_name(), nats.server_version());
    let seen = format!("{url} is {name}, nats-server {version}");
    if cluster.replicas > 1 && is_before(&version, KEEPS_ITS_WORD) {
        steps.advise("connect", seen, LOSES);
    } else {
        steps.pass("connect", seen);
    }
    match nats.jetstream().await {
        Ok(facts) => steps.pass("jetstream", stored(facts)),
        Err(error) => {
            let remedy = "if it has none, add `jetstream { store_dir: … }` to its configuration and let our account use it; else \
                look at its log";
            steps.fail("jetstream", error.to_string(), remedy);
            return None;
        }
    }
    Some(nats)
}

/// Whether a version is before another; one that cannot be read is not.
fn is_before(version: &str, other: [u32; 3]) -> bool {
    let numbers = version.split(['.', '-']).take(3);
    let numbers: Result<Vec<u32>, _> = numbers.map(str::parse).collect();
    numbers.is_ok_and(|numbers| numbers.as_slice() < other.as_slice())
}

fn stored(facts: JetStreamFacts) -> String {
    let megabytes = |bytes: u64| bytes / 1_000_000;
    let stored = megabytes(facts.stored);
    match facts.limit {
        Some(limit) => format!("{stored} of {} MB used", megabytes(limit)),
        None => format!("{stored} MB used"),
    }
}

async fn stream(cluster: &Cluster, nats: &Nats, steps: &mut Preflight) {
    let name = &cluster.stream;
    match nats.copies(name).await {
        Ok(None) => steps.pass(
            "stream",
            format!("{name} is not there yet: the first member makes it"),
        ),
        Ok(Some(copies)) => judge(cluster, &copies, steps),
        Err(error) => steps.fail("stream", error.to_string(), error.remedy()),
    }
}

fn judge(cluster: &Cluster, copies: &Copies, steps: &mut Preflight) {
    let (name, last) = (&cluster.stream, copies.last);
    if !copies.has_leader {
        let remedy = "more than half of the servers that keep it must run and reach each other";
        return steps.fail("stream", format!("{name} has no leader"), remedy);
    }
    if !copies.ailing.is_empty() {
        let ailing = copies.ailing.join(", ");
        let remedy = "look at its logs, and at `nats server report jetstream`";
        return steps.advise(
            "stream",
            format!("{name} is at message {last}, and {ailing} does not follow"),
            remedy,
        );
    }
    let wanted = usize::from(cluster.replicas);
    if copies.wanted != wanted {
        return steps.advise(
            "stream",
            format!("{name} has {} copies, not {wanted}", copies.wanted),
            "the member that stores tables changes it: see its log for why it could not",
        );
    }
    let word = if wanted == 1 { "copy" } else { "copies" };
    steps.pass(
        "stream",
        format!("{name} is at message {last}, in {wanted} {word}"),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_their_numbers() {
        for old in ["2.9.25", "2.10.26", "2.10.3-beta", "1.99.99", "2.8.4"] {
            assert!(is_before(old, KEEPS_ITS_WORD), "{old}");
        }
        for new in ["2.10.27", "2.11.0", "2.12.7-RC.1", "3.0.0", "dev", ""] {
            assert!(!is_before(new, KEEPS_ITS_WORD), "{new}");
        }
    }
}
