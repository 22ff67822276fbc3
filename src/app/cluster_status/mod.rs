//! How the cluster is, in the control protocol's words, and what of it an operator should act on.
//!
//! Pure: from the [`Reading`] of this process's member. What is read is [`crate::cluster`]'s business.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::cluster::roster::{SeenLease, member_key};
use crate::cluster::{MemberReading, Reading, Stage, bucket, shape};
use crate::control::cluster::{
    CatchingUp, ClusterStatus, LeaseStatus, MAX_MEMBERS, MemberStatus, NatsStatus, Resynchronising,
    StoredStatus,
};
use crate::control::protocol::{Attention, timestamp};
use crate::identity::time::UtcMillis;
use crate::identity::view::Epoch;

/// A shorter cut from NATS wants nobody: a server that restarts, a leader that is chosen.
const CUT_FOR: Duration = Duration::from_secs(3);

/// A lease changes hands in less; one that nobody holds for longer wants somebody.
const VACANT_FOR: Duration = Duration::from_secs(20);

/// How many things of one kind are named.
const NAMED: usize = 5;

/// The cluster, as this member sees it.
pub(super) fn status(reading: &Reading, epoch: Epoch, now: UtcMillis) -> ClusterStatus {
    let members = reading.members.iter().take(MAX_MEMBERS);
    let knows = hears_itself(reading);
    let furthest = furthest(reading);
    ClusterStatus {
        stream: reading.stream.clone(),
        state: reading.state.to_owned(),
        nats: NatsStatus {
            connected: reading.server.is_some(),
            server: reading.server.clone(),
        },
        epoch: format!("{:016x}", epoch.0),
        applied: reading.applied,
        applied_at: reading.applied_at.map(timestamp),
        behind: reading.behind,
        lag_ms: u64::try_from(lag(reading, now).as_millis()).unwrap_or(u64::MAX),
        policy_differs: reading.policy_differs,
        stored: reading.stored.map(|stored| StoredStatus {
            at: timestamp(stored.at),
            seq: stored.seq,
        }),
        catching_up: match reading.stage {
            Stage::CatchingUp(left) => Some(CatchingUp { left }),
            _ => None,
        },
        resynchronising: match reading.stage {
            Stage::Resynchronising(bytes, of) => Some(Resynchronising {
                bytes: wide(bytes),
                of: wide(of),
            }),
            _ => None,
        },
        members: members
            .map(|seen| match seen.value.name == reading.member {
                true => own(reading, seen, furthest),
                false => member(seen, knows, furthest),
            })
            .collect(),
        leases: leases(reading),
    }
}

/// How old the last message is while there are some behind it.
pub(super) fn lag(reading: &Reading, now: UtcMillis) -> Duration {
    let at = reading.applied_at.filter(|_| reading.behind > 0);
    at.map_or(Duration::ZERO, |at| now.since(at))
}

fn wide(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

fn furthest(reading: &Reading) -> u64 {
    let alive = reading.members.iter().filter(|member| member.is_alive);
    let applied = alive.map(|member| member.value.applied);
    applied.max().unwrap_or(0).max(reading.applied)
}

/// Whoever does not hear himself knows nothing of others.
fn hears_itself(reading: &Reading) -> bool {
    let mut members = reading.members.iter();
    members.any(|member| member.is_alive && member.value.name == reading.member)
}

/// This process: it needs nobody to tell how it is.
fn own(reading: &Reading, seen: &MemberReading, furthest: u64) -> MemberStatus {
    MemberStatus {
        state: reading.state.to_owned(),
        applied: reading.applied,
        alive: true,
        ..member(seen, true, furthest)
    }
}

fn member(seen: &MemberReading, knows: bool, furthest: u64) -> MemberStatus {
    let value = &seen.value;
    let state = match (value.stopped, seen.is_alive) {
        (true, _) => "stopped",
        (false, true) => value.state.as_str(),
        (false, false) if knows => "gone",
        (false, false) => "unknown",
    };
    // What members say is seconds apart: of those that follow, each one's own word is nearer the truth.
    let behind = match state {
        "following" | "catching-up" => value.behind,
        _ => furthest.saturating_sub(value.applied),
    };
    MemberStatus {
        name: value.name.clone(),
        version: value.version.clone(),
        roles: value.roles.clone(),
        state: state.to_owned(),
        applied: value.applied,
        behind,
        heard_s: seen.heard_ago.as_secs(),
        alive: seen.is_alive,
        started: timestamp(UtcMillis(value.started)),
    }
}

/// What somebody holds, and what this member would hold: others that nobody holds may be of old configurations.
fn leases(reading: &Reading) -> Vec<LeaseStatus> {
    let missing = |name: &str| LeaseStatus {
        name: name.to_owned(),
        ..LeaseStatus::default()
    };
    let wanted = reading.wanted.iter();
    let mut all: BTreeMap<&str, LeaseStatus> =
        wanted.map(|name| (&**name, missing(name))).collect();
    for seen in &reading.leases {
        if !seen.value.holder.is_empty() {
            all.insert(&seen.value.lease, lease(reading, seen));
        }
    }
    all.into_values().take(MAX_MEMBERS).collect()
}

fn lease(reading: &Reading, seen: &SeenLease) -> LeaseStatus {
    let value = &seen.value;
    let mut members = reading.members.iter();
    let holds = |member: &MemberReading| {
        member.is_alive && (&member.value.name, member.value.life) == (&value.holder, value.life)
    };
    LeaseStatus {
        name: value.lease.clone(),
        holder: Some(value.holder.clone()),
        since: Some(timestamp(UtcMillis(value.since))),
        alive: members.any(holds),
    }
}

/// Sets the numbers of the Prometheus page.
pub(super) fn gauges(reading: &Reading, now: UtcMillis) {
    #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
    let set = |name: &'static str, value: u64| metrics::gauge!(name).set(value as f64);
    let alive = reading.members.iter().filter(|member| member.is_alive);
    set("jims_cluster_applied_sequence", reading.applied);
    set("jims_cluster_behind_messages", reading.behind);
    set("jims_cluster_connected", reading.server.is_some().into());
    set("jims_cluster_members", wide(alive.count()));
    set("jims_cluster_leases_held", wide(reading.held));
    metrics::counter!("jims_cluster_wrong_tables_total").absolute(reading.wrong);
    metrics::gauge!("jims_cluster_lag_seconds").set(lag(reading, now).as_secs_f64());
}

/// What an operator should act on.
pub(super) fn attention(reading: &Reading, now: UtcMillis) -> Vec<Attention> {
    let mut all = Vec::new();
    let cut = cut(reading, now);
    // Everything that NATS refuses has one cause then.
    if cut.is_none() && reading.server.is_some() {
        all.extend(reading.refused.iter().map(|what| Attention {
            what: format!("cluster: {what}"),
            remedy: "look at the NATS servers and what our account may do there".into(),
            since: None,
        }));
    }
    all.extend(cut);
    all.extend(reading.policy_differs.then(policy_differs));
    if hears_itself(reading) {
        all.extend(vacant(reading, now));
        all.extend(gone(reading, now));
        all.extend(newer(reading));
        all.extend(differing(reading));
    }
    all
}

/// Nothing comes from the stream.
fn cut(reading: &Reading, now: UtcMillis) -> Option<Attention> {
    let lost = reading.lost_since.filter(|_| reading.server.is_none());
    let told = reading.trouble.as_ref();
    let since = told.map(|trouble| trouble.since).into_iter().chain(lost);
    let since = since.min().filter(|since| now.since(*since) >= CUT_FOR)?;
    let (why, remedy) = match (lost, told) {
        (None, Some(trouble)) => (trouble.what.as_str(), trouble.remedy.as_str()),
        _ => (
            "no NATS server answers",
            "look at the NATS servers that [cluster] names: do they run, and can they be reached from here?",
        ),
    };
    let what = match (reading.applied_at, reading.stage == Stage::Following) {
        (Some(at), true) => format!(
            "cut off from the cluster: {why}; queries are answered from the table as it was at {}",
            timestamp(at).strftime("%F %TZ")
        ),
        (_, false) => format!("not in the cluster's order yet: {why}"),
        (None, true) => format!("cut off from the cluster: {why}"),
    };
    Some(Attention {
        what,
        remedy: remedy.to_owned(),
        since: Some(timestamp(since)),
    })
}

fn policy_differs() -> Attention {
    Attention {
        what: "this configuration says otherwise than what the cluster's tables obey".into(),
        remedy: "`systemctl reload jims` here makes it the cluster's; or make the file like that of the other members"
            .into(),
        since: None,
    }
}

/// Leases that this member would hold and nobody does.
fn vacant(reading: &Reading, now: UtcMillis) -> Option<Attention> {
    let long = |(_, length): &&(std::sync::Arc<str>, Duration)| *length >= VACANT_FOR;
    let vacant: Vec<_> = reading.vacant.iter().filter(long).collect();
    let longest = vacant.iter().map(|(_, length)| *length).max()?;
    let names: Vec<&str> = vacant.iter().map(|(lease, _)| &**lease).collect();
    Some(Attention {
        what: format!(
            "no member holds {}: nobody does that work",
            named("the lease", &names)
        ),
        remedy: "this member would hold it and does not get it: look at the log of `jims run`"
            .into(),
        since: Some(timestamp(now.before(longest))),
    })
}

/// `the lease `a``, or `the leases `a`, `b` and 3 more`.
fn named(kind: &str, names: &[&str]) -> String {
    let shown: Vec<String> = names.iter().take(NAMED).map(|n| format!("`{n}`")).collect();
    let plural = if names.len() == 1 { "" } else { "s" };
    let more = match names.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{kind}{plural} {}{more}", shown.join(", "))
}

/// Members that did not stop in order.
fn gone(reading: &Reading, now: UtcMillis) -> Vec<Attention> {
    let is_gone = |member: &&MemberReading| !member.is_alive && !member.value.stopped;
    let gone: Vec<_> = reading.members.iter().filter(is_gone).collect();
    let one = |member: &&MemberReading| {
        let name = &member.value.name;
        Attention {
            what: format!("member `{name}` of the cluster is gone, and it did not stop in order"),
            remedy: format!(
                "look at its machine and start jims there; if it will not come back:\nnats kv del {} {}",
                bucket(&reading.stream),
                member_key(name)
            ),
            since: Some(timestamp(now.before(member.heard_ago))),
        }
    };
    let mut all: Vec<Attention> = gone.iter().take(NAMED).map(one).collect();
    let more = gone.len().saturating_sub(NAMED);
    all.extend((more > 0).then(|| Attention {
        what: format!("{more} more members of the cluster are gone"),
        remedy: "`jims status --json` lists them under `cluster`".into(),
        since: None,
    }));
    all
}

/// Members whose messages this jims may not understand.
fn newer(reading: &Reading) -> Option<Attention> {
    let alive = reading.members.iter().filter(|member| member.is_alive);
    let newer = alive.filter(|member| member.value.format > shape::VERSION);
    let names: Vec<&str> = newer.map(|member| member.value.name.as_str()).collect();
    (!names.is_empty()).then(|| Attention {
        what: format!(
            "{} of the cluster may write messages that this jims does not understand",
            named("the member", &names)
        ),
        remedy: "update jims on this machine".into(),
        since: None,
    })
}

/// Members whose journals differ after the same messages; who applied others starts over by himself.
fn differing(reading: &Reading) -> Option<Attention> {
    let mut firsts: BTreeMap<(u64, u64), &MemberReading> = BTreeMap::new();
    let following = reading.members.iter().filter(|member| {
        let value = &member.value;
        member.is_alive && value.state == "following" && value.applied > 0 && value.journal > 0
    });
    for member in following {
        let applied = (member.value.applied, member.value.digest);
        let first = *firsts.entry(applied).or_insert(member);
        if first.value.journal != member.value.journal {
            let (one, other) = (&first.value, &member.value);
            return Some(Attention {
                what: format!(
                    "the tables of `{}` and `{}` differ after message {}",
                    one.name, other.name, one.applied
                ),
                remedy: "a defect of jims, please report it; then stop the one that is wrong, move `snapshot` out of its state folder, and start it again".into(),
                since: None,
            });
        }
    }
    None
}

#[cfg(test)]
mod tests;
