//! Service accounts and shared hosts: what looks like one is proposed as a line for the configuration, never applied.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::control::protocol::Attention;
use crate::identity::address::Networks;
use crate::identity::habit::{Habits, Proposal};
use crate::identity::outcome::{Outcome, Verdict};
use crate::identity::time::UtcMillis;
use crate::runtime::clock;
use crate::writer::Outcomes;

/// Proposals in one line of the configuration; more come when these are dealt with.
const SHOWN: usize = 10;

/// Logons that are looked at in one [`PERIOD`]: many more than a site has but for a flood of them, which whoever only counts
/// habits must not slow down.
const MOST_LOOKS: usize = 2_000;
const PERIOD: Duration = Duration::from_millis(100);

/// Habits as the process shares them.
pub(super) type SharedHabits = Arc<Mutex<Habits>>;

/// Looks at what becomes of events until `stop`. What a busy moment drops is missing from a count, no more.
pub(super) async fn watch(outcomes: Outcomes, habits: SharedHabits, stop: CancellationToken) {
    let (mut heard, mut looks) = (outcomes.listen(), Looks::new(clock::monotonic_now()));
    while let Some(received) = stop.run_until_cancelled(heard.recv()).await {
        match received {
            Ok(batch) => {
                let some = looks.take(batch.len(), clock::monotonic_now());
                let mut habits = habits.lock();
                let some = batch.iter().take(some);
                some.for_each(|outcome| note(&mut habits, outcome));
            }
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
    }
}

/// How many looks are left in a period.
struct Looks {
    begun: Instant,
    left: usize,
}

impl Looks {
    fn new(now: Instant) -> Self {
        Self {
            begun: now,
            left: MOST_LOOKS,
        }
    }

    /// At most so many; how many it may be.
    fn take(&mut self, wanted: usize, now: Instant) -> usize {
        if now.saturating_duration_since(self.begun) >= PERIOD {
            *self = Self::new(now);
        }
        let taken = wanted.min(self.left);
        self.left -= taken;
        taken
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const NOW: UtcMillis = UtcMillis(1_770_000_000_000);

    fn config(text: &str) -> Config {
        let text = format!("schema = 1\n{text}");
        let loaded = Config::from_toml(&text, Path::new("/nowhere/config.toml"));
        loaded.expect("a configuration").config
    }

    fn address(number: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, number])
    }

    #[test]
    fn a_flood_is_looked_at_in_part() {
        let begun = clock::monotonic_now();
        let mut looks = Looks::new(begun);
        let in_a_second =
            (0..1_000).map(|milli| looks.take(256, begun + Duration::from_millis(milli)));
        assert_eq!(in_a_second.sum::<usize>(), 10 * MOST_LOOKS);
        assert_eq!(looks.take(256, begun + Duration::from_secs(2)), 256);
    }

    #[test]
    fn a_service_account_is_proposed_with_the_filters_that_are_there() {
        let mut habits = Habits::default();
        for number in 1..=12 {
            habits.saw(r"corp.example.com\svc-scan", address(number), NOW);
            habits.saw(
                &format!(r"corp.example.com\u{number}"),
                address(number),
                NOW,
            );
        }
        let config = config("[filter]\nexclude_users = ['CORP\\backup', \"*@lab.example\"]");
        let told = attention(&habits, &config, NOW);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(
            told[0].what.contains("12 addresses within an hour"),
            "{told:?}"
        );
        let line =
            r#"exclude_users = ['CORP\backup', "*@lab.example", 'corp.example.com\svc-scan']"#;
        assert!(told[0].remedy.ends_with(line), "{}", told[0].remedy);
        // The line works, and then nothing is proposed any more.
        let pasted = self::config(&format!("[filter]\n{line}"));
        assert_eq!(attention(&habits, &pasted, NOW), []);
    }

    #[test]
    fn a_shared_host_is_proposed_with_the_addresses_that_are_there() {
        let mut habits = Habits::default();
        for number in 0..8 {
            habits.saw(&format!(r"corp.example.com\u{number}"), address(7), NOW);
        }
        habits.several(address(8), 2, NOW);
        let config = config("[session]\nshared_addresses = [\"10.9.0.0/16\", \"10.8.0.1\"]");
        let told = attention(&habits, &config, NOW);
        assert_eq!(told.len(), 1, "{told:?}");
        let line = r#"shared_addresses = ["10.9.0.0/16", "10.8.0.1", "10.0.0.7", "10.0.0.8"]"#;
        assert!(told[0].remedy.ends_with(line), "{}", told[0].remedy);
        let pasted = self::config(&format!("[session]\n{line}"));
        assert_eq!(attention(&habits, &pasted, NOW), []);
    }

    #[test]
    fn devices_and_what_was_ignored_make_no_habits() {
        let mut habits = Habits::default();
        for number in 1..=20 {
            let outcome = |subject: &str, verdict| Outcome {
                producer: "dc1".into(),
                record: "4768".into(),
                occurred_at: NOW,
                address: Some(address(number)),
                subject: subject.into(),
                verdict,
            };
            let machine = outcome(r"corp.example.com\ws1$", Verdict::Renewed);
            note(&mut habits, &machine);
            let ended = Verdict::LoggedOff(crate::identity::outcome::EndReason::Logoff);
            note(&mut habits, &outcome(r"corp.example.com\alice", ended));
        }
        assert_eq!(habits.service_accounts(NOW), []);
        let logon = Verdict::LoggedOn { displaced: None };
        for number in 1..=20 {
            let outcome = Outcome {
                producer: "dc1".into(),
                record: "4768".into(),
                occurred_at: NOW,
                address: Some(address(number)),
                subject: r"corp.example.com\alice".into(),
                verdict: logon.clone(),
            };
            note(&mut habits, &outcome);
        }
        assert_eq!(habits.service_accounts(NOW).len(), 1);
    }
}
