//! Callers from addresses that no configuration names: Collectors to be onboarded, and those that are.
//!
//! What they fail at is remembered apart from what configured clients fail at. Where a Collector last showed its
//! credential, its address counts as expected, so that strangers cannot take its place among the connections.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::RwLock;

use super::client::{Client, Clients, Role};
use super::login::FailedLogins;

/// What is known of them; as many addresses as there are Collectors.
#[derive(Debug, Default)]
pub(super) struct Guests {
    /// Failed logins from addresses of no configured client.
    pub(super) logins: FailedLogins,
    /// Codes of no invitation.
    pub(super) guesses: FailedLogins,
    /// By client id: where it last showed its credential.
    homes: RwLock<HashMap<Arc<str>, IpAddr>>,
}

impl Guests {
    /// Remembers where a Collector showed its credential; nothing of other clients.
    pub(super) fn came(&self, client: &Client, address: IpAddr) {
        if client.role != Role::Collect {
            return;
        }
        if self.homes.read().get(&client.client_id) != Some(&address) {
            let id = Arc::clone(&client.client_id);
            self.homes.write().insert(id, address);
        }
    }

    /// Whether a Collector is known to call from there.
    pub(super) fn is_home(&self, address: IpAddr) -> bool {
        self.homes.read().values().any(|home| *home == address)
    }

    /// Forgets the Collectors that are not among the clients.
    pub(super) fn keep_only(&self, clients: &Clients) {
        let mut homes = self.homes.write();
        homes.retain(|id, _| clients.identified(id).is_some());
    }
}

#[cfg(test)]
mod tests {
    use super::super::client::tests::client;
    use super::super::{Access, LoginRefused};
    use super::*;
    use std::sync::atomic::Ordering;

    use crate::identity::time::UtcMillis;

    const NOW: UtcMillis = UtcMillis(1_770_000_000_000);
    const SECRET: &str = "a secret";

    fn collector() -> Client {
        let hash = super::super::client::hash_of_secret(SECRET);
        Client::collector("berlin", "collector-1", hash)
    }

    fn address(text: &str) -> IpAddr {
        text.parse().expect("address")
    }

    fn access() -> Access {
        let access = Access::default();
        let firewall = Clients::of(vec![client("firewall", "10.0.0.1", &["x"])]);
        access.replace_configured(&firewall);
        access.replace_collectors(vec![collector()]);
        access.0.token_lifetime_ms.store(60_000, Ordering::Relaxed);
        access
    }

    #[test]
    fn a_collector_is_expected_where_it_showed_its_credential_and_not_when_it_is_gone() {
        let (access, here) = (access(), address("192.0.2.1"));
        assert!(!access.expects(here));
        let client = access.login(None, here, "collector-1", SECRET, NOW);
        let (token, _) = access.issue(&client.expect("onboarded"), SECRET, NOW);
        assert!(access.expects(here));
        let elsewhere = address("192.0.2.2");
        let holder = access.by_token(Role::Collect, elsewhere, &token, NOW);
        assert!(holder.is_some());
        assert!(
            access
                .by_token(Role::Enforcement, elsewhere, &token, NOW)
                .is_none()
        );
        assert!(access.expects(elsewhere) && !access.expects(here));
        access.replace_collectors(Vec::new());
        assert!(!access.expects(elsewhere));
        access.replace_collectors(vec![collector()]);
        let after = access.by_token(Role::Collect, elsewhere, &token, NOW);
        assert!(after.is_none(), "rule 23: its tokens are revoked");
    }

    #[test]
    fn rule_31_strangers_make_no_room_among_failed_logins_and_lock_nobody_out() {
        let access = access();
        for number in 0..5000_u32 {
            let stranger = IpAddr::from((0xC612_0000 + number).to_be_bytes());
            for id in ["firewall-id", "collector-1", "nobody"] {
                let refused = access.login(None, stranger, id, "wrong", NOW);
                assert!(matches!(refused, Err(LoginRefused::Wrong(_))));
            }
        }
        let firewall = access.login(None, address("10.0.0.1"), "firewall-id", "x", NOW);
        assert!(firewall.is_ok());
        let berlin = access.login(None, address("192.0.2.9"), "collector-1", SECRET, NOW);
        assert!(berlin.is_ok());
    }

    #[test]
    fn a_credential_of_a_firewall_is_worth_nothing_elsewhere_and_guessing_is_slow() {
        let (access, stranger) = (access(), address("192.0.2.1"));
        for _ in 0..6 {
            let refused = access.login(None, stranger, "firewall-id", "x", NOW);
            assert!(matches!(refused, Err(LoginRefused::Wrong(None))));
        }
        let refused = access.login(None, stranger, "firewall-id", "x", NOW);
        assert!(matches!(refused, Err(LoginRefused::Delayed(_))));
        assert!(access.guess_delay(stranger, NOW).is_none());
        for _ in 0..6 {
            access.guessed_wrong(stranger, NOW);
        }
        assert!(access.guess_delay(stranger, NOW).is_some());
        assert!(access.guess_delay(address("192.0.2.2"), NOW).is_none());
    }

    #[test]
    fn a_reload_keeps_the_collectors() {
        let access = access();
        access.replace_configured(&Clients::default());
        assert!(access.clients().has(Role::Collect));
        assert!(!access.clients().has(Role::Enforcement));
    }
}
