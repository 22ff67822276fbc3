//! Limits of failed logins: by address and client id, with growing delays (rule 31).
//!
//! Never by client id alone, for then a stranger could lock a firewall out. While a delay runs even the right secret is
//! refused, so that guessing gains nothing. Delays are short enough that a firewall recovers by itself.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::identity::time::UtcMillis;

/// Failures that cost nothing: a rotated secret is tried a few times by every node of a cluster.
const FREE_FAILURES: u32 = 5;
/// The longest delay.
const LONGEST: Duration = Duration::from_secs(60);
/// After this long without a failure all is forgotten.
const FORGET: Duration = Duration::from_secs(900);
/// Pairs remembered; the one that failed longest ago makes room.
const MAX_PAIRS: usize = 1024;

/// Who fails: an address, and the client id that it shows; all unknown client ids of an address count as one.
type Pair = (IpAddr, Option<Arc<str>>);

/// The failed logins of late.
#[derive(Debug, Default)]
pub(super) struct FailedLogins(Mutex<HashMap<Pair, Failures>>);

#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    last: UtcMillis,
    until: UtcMillis,
}

impl FailedLogins {
    /// How long the pair must still wait; `None`: it may try.
    #[must_use]
    pub(super) fn delay(
        &self,
        address: IpAddr,
        client_id: Option<&str>,
        now: UtcMillis,
    ) -> Option<Duration> {
        let all = self.0.lock();
        let failures = all.get(&(address, client_id.map(Arc::from)))?;
        // A clock set back must not prolong the delay.
        let wait = failures.until.since(now).min(LONGEST);
        (!wait.is_zero()).then_some(wait)
    }

    /// Remembers a failure.
    pub(super) fn failed(&self, address: IpAddr, client_id: Option<&str>, now: UtcMillis) {
        let mut all = self.0.lock();
        let pair = (address, client_id.map(Arc::from));
        if !all.contains_key(&pair) && all.len() >= MAX_PAIRS {
            let oldest = all
                .iter()
                .min_by_key(|(_, f)| f.last)
                .map(|(p, _)| p.clone());
            oldest.and_then(|pair| all.remove(&pair));
        }
        let failures = all.entry(pair).or_insert(Failures {
            count: 0,
            last: now,
            until: now,
        });
        if now.since(failures.last) > FORGET {
            failures.count = 0;
        }
        failures.count = failures.count.saturating_add(1);
        failures.last = now;
        let over = failures.count.saturating_sub(FREE_FAILURES);
        if over > 0 {
            let seconds = 1_u64 << (over - 1).min(6);
            failures.until = now.after(Duration::from_secs(seconds).min(LONGEST));
        }
    }

    /// Forgets the failures of a pair that has now shown the right secret.
    pub(super) fn succeeded(&self, address: IpAddr, client_id: &str) {
        self.0.lock().remove(&(address, Some(Arc::from(client_id))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UtcMillis = UtcMillis(1_770_000_000_000);

    fn fail(logins: &FailedLogins, address: IpAddr, client: Option<&str>, times: u32) {
        for _ in 0..times {
            logins.failed(address, client, NOW);
        }
    }

    #[test]
    fn rule_31_delays_grow_for_one_address_and_client_and_for_nobody_else() {
        let logins = FailedLogins::default();
        let (bad, good): (IpAddr, IpAddr) =
            ("10.0.0.9".parse().unwrap(), "10.0.0.1".parse().unwrap());
        let client = "srx";
        fail(&logins, bad, Some(client), FREE_FAILURES);
        assert_eq!(logins.delay(bad, Some(client), NOW), None);
        fail(&logins, bad, Some(client), 1);
        assert_eq!(
            logins.delay(bad, Some(client), NOW),
            Some(Duration::from_secs(1))
        );
        fail(&logins, bad, Some(client), 40);
        assert_eq!(logins.delay(bad, Some(client), NOW), Some(LONGEST));
        assert_eq!(
            logins.delay(good, Some(client), NOW),
            None,
            "the firewall itself"
        );
        assert_eq!(logins.delay(bad, None, NOW), None, "another client id");
        assert_eq!(logins.delay(bad, Some(client), NOW.after(LONGEST)), None);
        logins.succeeded(bad, client);
        assert_eq!(logins.delay(bad, Some(client), NOW), None);
    }

    #[test]
    fn memory_is_bounded_and_forgets() {
        let logins = FailedLogins::default();
        for number in 0..100_000_u32 {
            fail(&logins, IpAddr::from(number.to_be_bytes()), None, 1);
        }
        assert!(logins.0.lock().len() <= MAX_PAIRS);
        let address = "10.0.0.9".parse().unwrap();
        fail(&logins, address, None, FREE_FAILURES + 3);
        let later = NOW.after(FORGET).after(Duration::from_secs(1));
        logins.failed(address, None, later);
        assert_eq!(logins.delay(address, None, later), None);
    }
}
