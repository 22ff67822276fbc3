//! Access tokens: opaque, random, kept as hashes, each good for one point and its present secret.
//!
//! The hash covers the secret that the token was given for. Changing the secret therefore revokes the point's tokens
//! even if it happened while jims was not running. Nothing here knows HTTP.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use super::point::Point;
use crate::identity::time::UtcMillis;

/// Tokens of one point that are good together; one more retires the one that ends first.
pub const MAX_TOKENS_PER_POINT: usize = 64;
/// Longer texts are no tokens of ours.
const MAX_TOKEN_BYTES: usize = 128;
/// What a token may be used for; part of its hash (rule 23).
const ROLE: &[u8] = b"query";

/// A token as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRecord {
    /// Over role, secret and token.
    pub hash: [u8; 32],
    /// The point's name.
    pub point: String,
    /// From then on it is not good any more.
    pub expires: UtcMillis,
}

/// All tokens in force.
#[derive(Debug, Default)]
pub struct Tokens(Mutex<HashMap<[u8; 32], Held>>);

#[derive(Debug)]
struct Held {
    point: Arc<str>,
    expires: UtcMillis,
}

impl Tokens {
    /// Makes a token for the point.
    pub fn issue(&self, point: &Point, now: UtcMillis, lifetime: Duration) -> String {
        let token = uuid::Uuid::new_v4().to_string();
        let mut all = self.0.lock();
        all.retain(|_, held| held.expires > now);
        make_room(&mut all, &point.name, MAX_TOKENS_PER_POINT - 1);
        all.insert(
            hash(point, &token),
            Held {
                point: Arc::clone(&point.name),
                expires: now.after(lifetime),
            },
        );
        token
    }

    /// Whether the token is good for the point now.
    #[must_use]
    pub fn check(&self, point: &Point, token: &str, now: UtcMillis) -> bool {
        if token.len() > MAX_TOKEN_BYTES {
            return false;
        }
        // Looked up by a hash, whose value no caller can steer: the time it takes tells nothing about other tokens.
        let all = self.0.lock();
        all.get(&hash(point, token))
            .is_some_and(|held| held.point == point.name && held.expires > now)
    }

    /// Ends every token of a point; returns how many.
    pub fn revoke(&self, point: &str) -> usize {
        let mut all = self.0.lock();
        let before = all.len();
        all.retain(|_, held| &*held.point != point);
        before - all.len()
    }

    /// How many tokens of a point are good now.
    #[must_use]
    pub fn count(&self, point: &str, now: UtcMillis) -> usize {
        let all = self.0.lock();
        all.values()
            .filter(|held| &*held.point == point && held.expires > now)
            .count()
    }

    /// Everything in force, for the snapshot.
    #[must_use]
    pub fn export(&self, now: UtcMillis) -> Vec<TokenRecord> {
        let all = self.0.lock();
        let good = all.iter().filter(|(_, held)| held.expires > now);
        let mut records: Vec<_> = good
            .map(|(hash, held)| TokenRecord {
                hash: *hash,
                point: held.point.to_string(),
                expires: held.expires,
            })
            .collect();
        records.sort_unstable_by_key(|record| record.hash);
        records
    }

    /// Takes back what a snapshot held; what is over, or more than a point may have, is left out.
    pub fn import(&self, records: Vec<TokenRecord>, now: UtcMillis) {
        let mut all = self.0.lock();
        for record in records.into_iter().filter(|r| r.expires > now) {
            make_room(&mut all, &record.point, MAX_TOKENS_PER_POINT - 1);
            all.insert(
                record.hash,
                Held {
                    point: record.point.into(),
                    expires: record.expires,
                },
            );
        }
    }
}

/// Retires the tokens that end first until the point has at most `most`.
fn make_room(all: &mut HashMap<[u8; 32], Held>, point: &str, most: usize) {
    let mut of_point: Vec<_> = all
        .iter()
        .filter(|(_, held)| &*held.point == point)
        .map(|(hash, held)| (held.expires, *hash))
        .collect();
    if of_point.len() <= most {
        return;
    }
    of_point.sort_unstable();
    for (_, hash) in &of_point[..of_point.len() - most] {
        all.remove(hash);
    }
}

fn hash(point: &Point, token: &str) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(ROLE);
    hash.update(point.secret_hash());
    hash.update(token.as_bytes());
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enforcement::point::tests::point;

    const NOW: UtcMillis = UtcMillis(1_770_000_000_000);
    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_token_is_a_guid_and_good_for_its_point_and_life() {
        let tokens = Tokens::default();
        let (a, b) = (
            point("a", "10.0.0.1", "secret"),
            point("b", "10.0.0.2", "secret"),
        );
        let token = tokens.issue(&a, NOW, HOUR);
        assert!(uuid::Uuid::parse_str(&token).is_ok());
        assert!(tokens.check(&a, &token, NOW));
        assert!(!tokens.check(&b, &token, NOW), "same secret, other point");
        assert!(!tokens.check(&a, &token.to_uppercase(), NOW));
        assert!(tokens.check(&a, &token, NOW.after(HOUR).before(Duration::from_millis(1))));
        assert!(!tokens.check(&a, &token, NOW.after(HOUR)));
        assert!(!tokens.check(&a, &"x".repeat(1 << 20), NOW));
    }

    #[test]
    fn rule_23_several_tokens_are_good_together_and_bounded() {
        let tokens = Tokens::default();
        let a = point("a", "10.0.0.1", "secret");
        let first = tokens.issue(&a, NOW, HOUR);
        let second = tokens.issue(&a, NOW.after(Duration::from_secs(1)), HOUR);
        assert!(tokens.check(&a, &first, NOW) && tokens.check(&a, &second, NOW));
        for _ in 0..MAX_TOKENS_PER_POINT {
            tokens.issue(&a, NOW.after(Duration::from_secs(2)), HOUR);
        }
        assert_eq!(tokens.count("a", NOW), MAX_TOKENS_PER_POINT);
        assert!(!tokens.check(&a, &first, NOW), "the oldest made room");
    }

    #[test]
    fn rule_23_another_secret_revokes_even_over_a_restart() {
        let tokens = Tokens::default();
        let token = tokens.issue(&point("a", "10.0.0.1", "old"), NOW, HOUR);
        let restarted = Tokens::default();
        restarted.import(tokens.export(NOW), NOW);
        assert!(restarted.check(&point("a", "10.0.0.1", "old"), &token, NOW));
        assert!(!restarted.check(&point("a", "10.0.0.1", "new"), &token, NOW));
        assert_eq!(restarted.revoke("a"), 1);
        assert!(!restarted.check(&point("a", "10.0.0.1", "old"), &token, NOW));
    }

    #[test]
    fn a_snapshot_holds_no_token_and_nothing_that_is_over() {
        let tokens = Tokens::default();
        let a = point("a", "10.0.0.1", "secret");
        let token = tokens.issue(&a, NOW, HOUR);
        let records = tokens.export(NOW);
        assert!(!format!("{records:?}").contains(&token));
        assert!(tokens.export(NOW.after(HOUR)).is_empty());
        let later = Tokens::default();
        later.import(records, NOW.after(HOUR));
        assert_eq!(later.count("a", NOW), 0);
    }
}
