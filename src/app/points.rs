//! Firewalls as status shows them: those that ask, those that are pushed to, those that do both.

use std::time::Duration;

use crate::config::Config;
use crate::control::protocol::{
    Attention, FaultStatus, PointStatus, Refreshed, RefusedStatus, WebApiStatus, timestamp,
};
use crate::enforcement::PointReading;
use crate::enforcement::web_api::{State, WebApiReading};
use crate::identity::time::UtcMillis;
use crate::runtime::clock;

/// A firewall asks every few seconds (Junos: 1 to 60 s); after this it is called quiet.
const QUIET_AFTER: Duration = Duration::from_secs(180);

/// A firewall that cannot be pushed to for so long wants an operator; a shorter outage mends itself.
const FAILING_FOR: Duration = Duration::from_secs(60);

/// All firewalls: those that the Server knows, then those that are only pushed to.
pub(super) fn points(asking: Vec<PointReading>, pushed: Vec<WebApiReading>) -> Vec<PointStatus> {
    let now = clock::utc_now();
    let mut all: Vec<PointStatus> = asking
        .into_iter()
        .map(|reading| self::asking(reading, now))
        .collect();
    for reading in pushed {
        let (name, status) = (reading.name.clone(), web_api(&reading));
        match all.iter_mut().find(|point| point.name == name) {
            Some(point) if !point.client_id.is_empty() => {
                point.protocol = "both".into();
                point.web_api = Some(status);
            }
            Some(point) => *point = PointStatus::only_pushed_to(name, status),
            None => all.push(PointStatus::only_pushed_to(name, status)),
        }
    }
    all
}

/// What an operator should do about firewalls that cannot be pushed to.
pub(super) fn attention(
    pushed: Vec<WebApiReading>,
    now: UtcMillis,
) -> impl Iterator<Item = Attention> {
    pushed.into_iter().filter_map(move |reading| {
        let fault = reading.fault?;
        // A refused password does not mend itself.
        let wants = reading.state == State::Refused || now.since(fault.since) >= FAILING_FOR;
        wants.then(|| Attention {
            what: format!("cannot push to `{}`: {}", reading.name, fault.message),
            remedy: fault.remedy,
            since: Some(timestamp(fault.since)),
        })
    })
}

/// What is said to a wish to tell a firewall everything again; `reading` of one that is pushed to.
pub(super) fn refreshed(
    point: &str,
    reading: Option<WebApiReading>,
    configured: &Config,
) -> Refreshed {
    let known = configured
        .enforcement_points
        .iter()
        .any(|p| p.name == point);
    let detail = match &reading {
        Some(reading) => match (reading.state, &reading.fault) {
            (State::Waiting, _) => "as soon as the table is ready".to_owned(),
            (_, Some(fault)) => format!("as soon as it can be reached; at last: {}", fault.message),
            (_, None) => "everything is told again now".to_owned(),
        },
        None if known => "it is not pushed to: it has no web_api, and asks for itself".to_owned(),
        None => "there is no enforcement point of this name".to_owned(),
    };
    Refreshed {
        point: point.to_owned(),
        begun: reading.is_some(),
        detail,
    }
}

fn web_api(reading: &WebApiReading) -> WebApiStatus {
    WebApiStatus {
        url: reading.url.clone(),
        state: reading.state.as_str().into(),
        entries_sent: reading.entries_sent,
        skipped: reading.skipped,
        cut: reading.cut,
        behind: reading.behind,
        last_success: reading.last_success.map(timestamp),
        last_full: reading.last_full.map(timestamp),
        fault: reading.fault.as_ref().map(|fault| FaultStatus {
            message: fault.message.clone(),
            remedy: fault.remedy.clone(),
            since: timestamp(fault.since),
        }),
    }
}

fn asking(reading: PointReading, now: UtcMillis) -> PointStatus {
    let last_query = reading.last_seen.map(|(at, _)| at);
    let state = match (last_query, reading.last_refused) {
        (None, None) => "never",
        (seen, Some((refused, _))) if seen.is_none_or(|seen| refused > seen) => "refused",
        (Some(seen), _) if now.since(seen) < QUIET_AFTER => "active",
        _ => "quiet",
    };
    PointStatus {
        name: reading.name,
        protocol: "query".into(),
        client_id: reading.client_id,
        addresses: reading.addresses,
        state: state.into(),
        last_query: last_query.map(timestamp),
        last_address: reading.last_seen.map(|(_, address)| address),
        last_token: reading.last_token.map(timestamp),
        last_batch: reading.last_batch.map(timestamp),
        last_ip: reading.last_ip.map(timestamp),
        last_user: reading.last_user.map(timestamp),
        last_full: reading.last_full.map(timestamp),
        behind: reading.behind,
        answered: reading.answered,
        entries_sent: reading.entries_sent,
        refused: reading.refused,
        last_refused: reading.last_refused.map(|(at, why)| RefusedStatus {
            at: timestamp(at),
            reason: why.into(),
        }),
        tokens: reading.tokens,
        web_api: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::view::Seq;
    use crate::runtime::report::Fault;

    const NOW: UtcMillis = UtcMillis(1_800_000_000_000);

    fn pushed(name: &str, state: State, failing_for: Option<Duration>) -> WebApiReading {
        WebApiReading {
            name: name.into(),
            url: "https://192.0.2.1:8443".into(),
            state,
            entries_sent: 5,
            skipped: 0,
            cut: 0,
            behind: 0,
            position: Seq(0),
            last_success: Some(NOW),
            last_full: Some(NOW),
            fault: failing_for.map(|age| Fault {
                message: "cannot connect".into(),
                remedy: "look".into(),
                since: NOW.before(age),
            }),
        }
    }

    fn asks(name: &str, client_id: &str) -> PointReading {
        PointReading {
            name: name.into(),
            client_id: client_id.into(),
            addresses: Vec::new(),
            last_seen: None,
            last_token: None,
            last_batch: None,
            last_ip: None,
            last_user: None,
            behind: None,
            position: None,
            last_full: None,
            answered: 0,
            entries_sent: 0,
            refused: 0,
            last_refused: None,
            tokens: 0,
        }
    }

    #[test]
    fn a_firewall_is_shown_once_with_what_it_does() {
        let asking = vec![asks("both", "id"), asks("pulls", "id2"), asks("known", "")];
        let pushing = ["both", "known", "alone"];
        let pushing = pushing.map(|name| pushed(name, State::Following, None));
        let all = points(asking, pushing.into());
        let shown: Vec<_> = all
            .iter()
            .map(|p| (p.name.as_str(), p.protocol.as_str(), p.state.as_str()))
            .collect();
        let expected = [
            ("both", "both", "never"),
            ("pulls", "query", "never"),
            ("known", "web-api", "following"),
            ("alone", "web-api", "following"),
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_short_outage_wants_nobody_and_a_refused_password_at_once() {
        let all = vec![
            pushed("well", State::Following, None),
            pushed("short", State::Failing, Some(Duration::from_secs(59))),
            pushed("long", State::Failing, Some(Duration::from_secs(60))),
            pushed("refused", State::Refused, Some(Duration::ZERO)),
        ];
        let told: Vec<String> = attention(all, NOW).map(|a| a.what).collect();
        let expected = ["long", "refused"].map(|n| format!("cannot push to `{n}`: cannot connect"));
        assert_eq!(told, expected);
    }
}
