//! Service accounts and shared hosts: what looks like one is proposed as a line for the configuration, never applied.

use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::control::protocol::Attention;
use crate::identity::address::Networks;
use crate::identity::habit::{Habits, Proposal};
use crate::identity::outcome::{Outcome, Verdict};
use crate::identity::time::UtcMillis;
use crate::writer::Outcomes;

/// Proposals in one line of the configuration; more come when these are dealt with.
const SHOWN: usize = 10;

/// Habits as the process shares them.
pub(super) type SharedHabits = Arc<Mutex<Habits>>;

/// Looks at what becomes of events until `stop`. What a busy moment drops is missing from a count, no more.
pub(super) async fn watch(outcomes: Outcomes, habits: SharedHabits, stop: CancellationToken) {
    let mut heard = outcomes.listen();
    while let Some(received) = stop.run_until_cancelled(heard.recv()).await {
        match received {
            Ok(batch) => {
                let mut habits = habits.lock();
                batch.iter().for_each(|outcome| note(&mut habits, outcome));
            }
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
    }
}

fn note(habits: &mut Habits, outcome: &Outcome) {
    let is_logon = matches!(outcome.verdict, Verdict::LoggedOn { .. } | Verdict::Renewed);
    // Devices end in a dollar sign.
    if let Some(address) = outcome.address
        && is_logon
        && !outcome.subject.ends_with('$')
    {
        habits.saw(&outcome.subject, address, outcome.occurred_at);
    }
}

/// What an operator may want to paste.
pub(super) fn attention(habits: &Habits, config: &Config, now: UtcMillis) -> Vec<Attention> {
    let shared = Networks::new(config.session.shared_addresses.iter().copied());
    let accounts: Vec<Proposal<String>> = habits
        .service_accounts(now)
        .into_iter()
        .filter(|found| !config.filter.exclude_users.matches(&found.who))
        .collect();
    let hosts: Vec<Proposal<IpAddr>> = habits
        .shared_hosts(now)
        .into_iter()
        .filter(|found| !shared.contains(found.who))
        .collect();
    [
        service_accounts(&accounts, config),
        shared_hosts(&hosts, config),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn service_accounts(found: &[Proposal<String>], config: &Config) -> Option<Attention> {
    let first = found.first()?;
    let patterns = config.filter.exclude_users.patterns().iter().cloned();
    let proposed = found.iter().map(|found| found.who.clone());
    let line: Vec<String> = patterns
        .chain(proposed.take(SHOWN))
        .map(|pattern| literal(&pattern))
        .collect();
    Some(Attention {
        what: format!(
            "{} looks like a service account: at {} addresses within an hour{}",
            first.who,
            first.count,
            more(found.len() - 1)
        ),
        remedy: format!(
            "if it is one, put under [filter]:\nexclude_users = [{}]",
            line.join(", ")
        ),
        since: None,
    })
}

fn shared_hosts(found: &[Proposal<IpAddr>], config: &Config) -> Option<Attention> {
    let first = found.first()?;
    let configured = config.session.shared_addresses.iter();
    let configured =
        configured.map(
            |network| match network.prefix_len() == network.max_prefix_len() {
                true => network.addr().to_string(),
                false => network.to_string(),
            },
        );
    let proposed = found.iter().map(|found| found.who.to_string());
    let line: Vec<String> = configured
        .chain(proposed.take(SHOWN))
        .map(|address| format!("\"{address}\""))
        .collect();
    Some(Attention {
        what: format!(
            "{} looks like a shared host: {} users within an hour{}",
            first.who,
            first.count,
            more(found.len() - 1)
        ),
        remedy: format!(
            "if several people use it at a time, put under [session]:\nshared_addresses = [{}]",
            line.join(", ")
        ),
        since: None,
    })
}

fn more(others: usize) -> String {
    match others {
        0 => String::new(),
        others => format!(" (and {others} more)"),
    }
}

/// A TOML string: names have backslashes, which single quotes leave alone.
fn literal(text: &str) -> String {
    if text.contains(['\\', '"']) && !text.contains('\'') {
        format!("'{text}'")
    } else {
        format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
    }
}
