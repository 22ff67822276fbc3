//! The cluster: what this member is at, the other members, and who holds what.

use super::rows;
use crate::cli::render::{ago, field, millis, number, state, table, text, thousands};
use crate::control::cluster::{ClusterStatus, LeaseStatus, MemberStatus};
use crate::control::protocol::Status;
use crate::text::{count, span};
use std::time::Duration;

/// Width of the labels.
const LABELS: usize = 6;

pub(super) fn cluster(status: &Status) -> String {
    let Some(cluster) = &status.cluster else {
        return String::new();
    };
    let mut text = field(2, "here", LABELS, &here(cluster));
    text.push_str(&field(2, "stream", LABELS, &stream(cluster)));
    if let Some(stored) = cluster.stored {
        let stored = format!(
            "stored for others at message {}, {}",
            thousands(stored.seq),
            ago(stored.at, status.at)
        );
        text.push_str(&field(2, "table", LABELS, &stored));
    }
    text
}

/// What this member is at.
fn here(cluster: &ClusterStatus) -> String {
    let mut text = cluster.state.clone();
    if cluster.applied > 0 {
        text.push_str(&format!(", at message {}", thousands(cluster.applied)));
    }
    let left = cluster.catching_up.map(|catching_up| catching_up.left);
    if let Some(read) = cluster.resynchronising.filter(|read| read.of > 0) {
        let (bytes, of) = (thousands(read.bytes), thousands(read.of));
        text.push_str(&format!(", {bytes} of {of} bytes of the table read"));
    } else if let Some(left) = left.or((cluster.behind > 0).then_some(cluster.behind)) {
        let left = count(left, "message");
        text.push_str(&format!(", {left} behind ({})", millis(cluster.lag_ms)));
    }
    text
}

/// Where the order comes from.
fn stream(cluster: &ClusterStatus) -> String {
    let name = &cluster.stream;
    match &cluster.nats.server {
        Some(server) => format!("{name}, from NATS at {server}"),
        None => format!("{name}, not connected to NATS"),
    }
}

pub(super) fn members(status: &Status) -> String {
    let members = status.cluster.as_ref().map(|cluster| &cluster.members);
    let Some(members) = members.filter(|members| !members.is_empty()) else {
        return String::new();
    };
    let row = |m: &MemberStatus| {
        vec![
            m.name.clone(),
            m.roles.join(", "),
            m.version.clone(),
            m.state.clone(),
            thousands(m.applied),
            thousands(m.behind),
            heard(m),
        ]
    };
    let heading = [
        text("NAME"),
        text("ROLES"),
        text("VERSION"),
        state("STATE"),
        number("MESSAGE"),
        number("BEHIND"),
        text("HEARD"),
    ];
    table(2, &heading, &rows(members, row))
}

fn heard(member: &MemberStatus) -> String {
    match member.heard_s {
        0 => "now".to_owned(),
        seconds => format!("{} ago", span(Duration::from_secs(seconds))),
    }
}

pub(super) fn leases(status: &Status) -> String {
    let cluster = (status.cluster.as_ref()).filter(|cluster| !cluster.leases.is_empty());
    let Some(cluster) = cluster else {
        return String::new();
    };
    // Without a connection nobody is heard, and that says nothing of them.
    let knows = cluster.nats.connected;
    let row = |l: &LeaseStatus| {
        let since = l.since.map(|since| ago(since, status.at));
        vec![l.name.clone(), holder(l, knows), since.unwrap_or_default()]
    };
    let heading = [text("NAME"), text("HOLDER"), text("SINCE")];
    table(2, &heading, &rows(&cluster.leases, row))
}

fn holder(lease: &LeaseStatus, knows: bool) -> String {
    match &lease.holder {
        None => "nobody".to_owned(),
        Some(holder) if lease.alive || !knows => holder.clone(),
        Some(holder) => format!("{holder} (gone)"),
    }
}
