//! What probing tells about itself: report, metrics, and what an operator should act on.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use metrics::{counter, gauge, histogram};

use super::credentials::Suspension;
use super::schedule::SilentNetwork;
use super::standing::Counts;
use crate::identity::time::UtcMillis;
use crate::runtime::clock::monotonic_now;
use crate::runtime::preflight::Step;
use crate::runtime::probing::Answer;
use crate::runtime::report::{Fact, Health, Report};

/// How probing stands.
pub(super) struct State<'a> {
    pub(super) running: usize,
    pub(super) waiting: usize,
    pub(super) doubted: usize,
    pub(super) oldest: Option<Duration>,
    pub(super) counts: Counts,
    pub(super) unhealthy: Option<String>,
    pub(super) all_suspended: bool,
    pub(super) suspended: &'a [Suspension],
    pub(super) silent: &'a [SilentNetwork],
}

/// Puts it into the report and the metrics.
pub(super) fn tell(report: &Arc<Report>, state: &State<'_>, now: UtcMillis) {
    let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    let long = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let oldest = state.oldest.unwrap_or_default();
    let facts = [
        ("running", number(state.running)),
        ("waiting", number(state.waiting)),
        ("unconfirmed", number(state.doubted)),
        (
            "oldest_waiting_ms",
            i64::try_from(oldest.as_millis()).unwrap_or(i64::MAX),
        ),
        ("answered_5m", long(state.counts.answered)),
        ("refused_5m", long(state.counts.refused)),
        ("unreachable_5m", long(state.counts.unreachable)),
        ("silent_networks", number(state.silent.len())),
        ("suspended_credentials", number(state.suspended.len())),
    ];
    for (name, value) in facts {
        report.set_fact(name, Fact::Number(value));
    }
    #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
    for (name, value) in [
        ("jims_probe_running", state.running as f64),
        ("jims_probe_waiting", state.waiting as f64),
        ("jims_probe_unconfirmed_sessions", state.doubted as f64),
        ("jims_probe_oldest_waiting_seconds", oldest.as_secs_f64()),
        ("jims_probe_silent_networks", state.silent.len() as f64),
        (
            "jims_probe_suspended_credentials",
            state.suspended.len() as f64,
        ),
    ] {
        gauge!(name).set(value);
    }
    match fault(state) {
        Some((health, message, remedy)) => report.set_fault(health, message, remedy, now),
        None if state.running + state.waiting == 0 => report.set_quiet("nobody is to be asked"),
        None => report.set_active(format!(
            "{} asked, {} waiting",
            state.running, state.waiting
        )),
    }
}

/// The worst first.
fn fault(state: &State<'_>) -> Option<(Health, String, String)> {
    if let Some(first) = state.suspended.first() {
        let health = if state.all_suspended {
            Health::Down
        } else {
            Health::Degraded
        };
        let more = match state.suspended.len() - 1 {
            0 => String::new(),
            more => format!(" (and {more} more)"),
        };
        let message = format!("{}{more}", first.message());
        return Some((health, message, first.remedy().to_owned()));
    }
    if let Some(reason) = &state.unhealthy {
        let message =
            format!("sessions that expire are kept unconfirmed for [session] grace: {reason}");
        let remedy = "try one computer and see at which step it fails: jims probe ADDRESS";
        return Some((Health::Degraded, message, remedy.to_owned()));
    }
    let silent = state.silent.first()?;
    let message = format!(
        "{} does not answer at all; {} sessions there wait unconfirmed{}",
        silent.network,
        silent.waiting,
        match state.silent.len() - 1 {
            0 => String::new(),
            more => format!(", and {more} more networks are silent"),
        }
    );
    let remedy = "check the route and the firewalls to that network, and that its computers are on";
    Some((Health::Degraded, message, remedy.to_owned()))
}

/// A probe is over.
pub(super) fn over(answer: Answer, begun: Instant) {
    count(answer.as_str());
    let took = monotonic_now().saturating_duration_since(begun);
    histogram!("jims_probe_seconds", "answer" => answer.as_str()).record(took.as_secs_f64());
}

/// Counts what came of a probe.
pub(super) fn count(answer: &'static str) {
    counter!("jims_probe_total", "answer" => answer).increment(1);
}

/// The one step of a computer that was not asked.
pub(super) fn silent(address: IpAddr) -> Step {
    Step {
        name: "port".to_owned(),
        ok: false,
        took: Duration::ZERO,
        detail: format!("{address} was not asked: nobody in its network has answered lately"),
        remedy: "check the route and the firewalls to that network; it is tried again by itself"
            .to_owned(),
    }
}
