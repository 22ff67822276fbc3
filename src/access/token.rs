//! Access tokens: opaque, random, kept as hashes, each good for one client, its role and the secret it was given for.
//!
//! The hash covers that secret. Removing the secret therefore ends the token even if it happened while jims was not
//! running. Nothing here knows HTTP.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use super::client::{Client, SecretHash, hash_of_secret};
use crate::identity::time::UtcMillis;

/// Tokens of one client that are good together; one more retires the one that ends first.
pub(super) const MAX_TOKENS_PER_CLIENT: usize = 64;
/// Longer texts are no tokens of ours.
const MAX_TOKEN_BYTES: usize = 128;

/// A token as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRecord {
    /// Over role, secret and token.
    pub hash: [u8; 32],
    /// The client's id.
    pub client: String,
    /// From then on it is not good any more.
    pub expires: UtcMillis,
}

/// All tokens in force.
#[derive(Debug, Default)]
pub(super) struct Tokens(Mutex<HashMap<[u8; 32], Held>>);

#[derive(Debug)]
struct Held {
    client_id: Arc<str>,
    /// The secret it was given for; not known after a restart.
    secret: Option<SecretHash>,
    expires: UtcMillis,
}

impl Tokens {
    /// Makes a token for a client that has shown the secret.
    pub(super) fn issue(
        &self,
        client: &Client,
        secret: &str,
        now: UtcMillis,
        lifetime: Duration,
    ) -> String {
        let token = uuid::Uuid::new_v4().to_string();
        let secret = hash_of_secret(secret);
        let mut all = self.0.lock();
        all.retain(|_, held| held.expires > now);
        make_room(&mut all, &client.client_id, MAX_TOKENS_PER_CLIENT - 1);
        all.insert(
            hash(client, &secret, &token),
            Held {
                client_id: Arc::clone(&client.client_id),
                secret: Some(secret),
                expires: now.after(lifetime),
            },
        );
        token
    }

    /// Whether the token is good for the client now.
    #[must_use]
    pub(super) fn check(&self, client: &Client, token: &str, now: UtcMillis) -> bool {
        if token.len() > MAX_TOKEN_BYTES {
            return false;
        }
        // Looked up by a hash, whose value no caller can steer: the time it takes tells nothing about other tokens.
        let mut secrets = client.secrets().iter();
        secrets.any(|secret| {
            // Before the lock, which every query takes.
            let hash = hash(client, secret, token);
            let all = self.0.lock();
            all.get(&hash)
                .is_some_and(|held| held.client_id == client.client_id && held.expires > now)
        })
    }

    /// Ends the tokens of a client that were given for the secret; returns how many. Those from before a restart end
    /// with any secret of the client: whose they were is not known, and a new one costs a firewall nothing.
    pub(super) fn revoke(&self, client_id: &str, secret: &SecretHash) -> usize {
        let mut all = self.0.lock();
        let before = all.len();
        all.retain(|_, held| {
            &*held.client_id != client_id || held.secret.is_some_and(|given| given != *secret)
        });
        before - all.len()
    }

    /// How many tokens of a client are good now.
    #[must_use]
    pub(super) fn count(&self, client_id: &str, now: UtcMillis) -> usize {
        let all = self.0.lock();
        all.values()
            .filter(|held| &*held.client_id == client_id && held.expires > now)
            .count()
    }

    /// Everything in force, for the snapshot.
    #[must_use]
    pub(super) fn export(&self, now: UtcMillis) -> Vec<TokenRecord> {
        let all = self.0.lock();
        let good = all.iter().filter(|(_, held)| held.expires > now);
        let mut records: Vec<_> = good
            .map(|(hash, held)| TokenRecord {
                hash: *hash,
                client: held.client_id.to_string(),
                expires: held.expires,
            })
            .collect();
        records.sort_unstable_by_key(|record| record.hash);
        records
    }

    /// Takes back what a snapshot held; what is over, or more than a client may have, is left out.
    pub(super) fn import(&self, records: Vec<TokenRecord>, now: UtcMillis) {
        let mut all = self.0.lock();
        for record in records.into_iter().filter(|r| r.expires > now) {
            make_room(&mut all, &record.client, MAX_TOKENS_PER_CLIENT - 1);
            all.insert(
                record.hash,
                Held {
                    client_id: record.client.into(),
                    secret: None,
                    expires: record.expires,
                },
            );
        }
    }
}

/// Retires the tokens that end first until the client has at most `most`.
fn make_room(all: &mut HashMap<[u8; 32], Held>, client_id: &str, most: usize) {
    let mut of_client: Vec<_> = all
        .iter()
        .filter(|(_, held)| &*held.client_id == client_id)
        .map(|(hash, held)| (held.expires, *hash))
        .collect();
    if of_client.len() <= most {
        return;
    }
    of_client.sort_unstable();
    for (_, hash) in &of_client[..of_client.len() - most] {
        all.remove(hash);
    }
}

fn hash(client: &Client, secret: &SecretHash, token: &str) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(client.role.as_str());
    hash.update(secret);
    hash.update(token.as_bytes());
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::client::Role;
    use crate::access::client::tests::client;

    const NOW: UtcMillis = UtcMillis(1_770_000_000_000);
    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_token_is_a_guid_and_good_for_its_client_and_life() {
        let tokens = Tokens::default();
        let (a, b) = (
            client("a", "10.0.0.1", &["secret"]),
            client("b", "10.0.0.2", &["secret"]),
        );
        let token = tokens.issue(&a, "secret", NOW, HOUR);
        assert!(uuid::Uuid::parse_str(&token).is_ok());
        assert!(tokens.check(&a, &token, NOW));
        assert!(!tokens.check(&b, &token, NOW), "same secret, other client");
        assert!(!tokens.check(&a, &token.to_uppercase(), NOW));
        assert!(tokens.check(&a, &token, NOW.after(HOUR).before(Duration::from_millis(1))));
        assert!(!tokens.check(&a, &token, NOW.after(HOUR)));
        assert!(!tokens.check(&a, &"x".repeat(1 << 20), NOW));
    }

    #[test]
    fn rule_23_several_tokens_are_good_together_and_bounded() {
        let tokens = Tokens::default();
        let a = client("a", "10.0.0.1", &["secret"]);
        let first = tokens.issue(&a, "secret", NOW, HOUR);
        let second = tokens.issue(&a, "secret", NOW.after(Duration::from_secs(1)), HOUR);
        assert!(tokens.check(&a, &first, NOW) && tokens.check(&a, &second, NOW));
        for _ in 0..MAX_TOKENS_PER_CLIENT {
            tokens.issue(&a, "secret", NOW.after(Duration::from_secs(2)), HOUR);
        }
        assert_eq!(tokens.count("a-id", NOW), MAX_TOKENS_PER_CLIENT);
        assert!(!tokens.check(&a, &first, NOW), "the oldest made room");
    }

    #[test]
    fn rule_23_another_secret_revokes_even_over_a_restart() {
        let tokens = Tokens::default();
        let token = tokens.issue(&client("a", "10.0.0.1", &["old"]), "old", NOW, HOUR);
        let restarted = Tokens::default();
        restarted.import(tokens.export(NOW), NOW);
        assert!(restarted.check(&client("a", "10.0.0.1", &["old"]), &token, NOW));
        assert!(!restarted.check(&client("a", "10.0.0.1", &["new"]), &token, NOW));
        assert_eq!(restarted.revoke("a-id", &hash_of_secret("old")), 1);
        assert!(!restarted.check(&client("a", "10.0.0.1", &["old"]), &token, NOW));
    }

    #[test]
    fn rule_23_with_two_secrets_a_token_ends_with_the_one_it_was_given_for() {
        let tokens = Tokens::default();
        let both = client("a", "10.0.0.1", &["old", "new"]);
        let before = tokens.issue(&both, "old", NOW, HOUR);
        let after = tokens.issue(&both, "new", NOW, HOUR);
        assert!(tokens.check(&both, &before, NOW) && tokens.check(&both, &after, NOW));
        assert_eq!(tokens.revoke("a-id", &hash_of_secret("old")), 1);
        let rotated = client("a", "10.0.0.1", &["new"]);
        assert!(!tokens.check(&rotated, &before, NOW));
        assert!(tokens.check(&rotated, &after, NOW));
        assert_eq!(tokens.count("a-id", NOW), 1);
    }

    #[test]
    fn rule_23_a_token_is_for_one_role() {
        let tokens = Tokens::default();
        let firewall = client("a", "10.0.0.1", &["secret"]);
        let token = tokens.issue(&firewall, "secret", NOW, HOUR);
        let mut portal = client("a", "10.0.0.1", &["secret"]);
        portal.role = Role::PushIn;
        assert!(!tokens.check(&portal, &token, NOW));
    }

    #[test]
    fn a_snapshot_holds_no_token_and_nothing_that_is_over() {
        let tokens = Tokens::default();
        let a = client("a", "10.0.0.1", &["secret"]);
        let token = tokens.issue(&a, "secret", NOW, HOUR);
        let records = tokens.export(NOW);
        assert!(!format!("{records:?}").contains(&token));
        assert!(tokens.export(NOW.after(HOUR)).is_empty());
        let later = Tokens::default();
        later.import(records, NOW.after(HOUR));
        assert_eq!(later.count("a-id", NOW), 0);
    }
}
