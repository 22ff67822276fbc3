//! Accounts whose proof was refused: one refusal holds for every source, so that hundreds of them do not lock the
//! account out.
//!
//! A refusal ends when the proof changes, or after a quarter of an hour.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sha2::{Digest, Sha256};

/// How long a refused proof is not shown again.
const PAUSE: Duration = Duration::from_secs(15 * 60);

/// A proof that can be told from another and not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Digested([u8; 32]);

impl Digested {
    pub(super) fn of(proof: &[u8]) -> Self {
        Self(Sha256::digest(proof).into())
    }
}

/// The refusals of a process; clones are handles of the same ones. Bounded by the accounts of the configuration.
#[derive(Clone, Debug, Default)]
pub(super) struct Refusals(Arc<Mutex<HashMap<String, Refused>>>);

/// What was refused, and what the server said.
#[derive(Clone, Debug)]
pub(super) struct Refused {
    proof: Digested,
    until: Instant,
    /// One sentence.
    pub(super) message: String,
    /// What to try.
    pub(super) remedy: String,
}

impl Refusals {
    /// The refusal of an account with this proof, if there was one lately.
    pub(super) fn find(&self, account: &str, proof: &Digested, now: Instant) -> Option<Refused> {
        let mut all = self.0.lock();
        let refused = all.get(&account.to_lowercase())?;
        if refused.proof == *proof && now < refused.until {
            return Some(refused.clone());
        }
        all.remove(&account.to_lowercase());
        None
    }

    /// Keeps a refusal.
    pub(super) fn put(
        &self,
        account: &str,
        proof: &Digested,
        now: Instant,
        (message, remedy): (String, String),
    ) {
        self.0.lock().insert(
            account.to_lowercase(),
            Refused {
                proof: *proof,
                until: now + PAUSE,
                message,
                remedy,
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::clock::monotonic_now;

    #[test]
    fn a_refused_password_waits_until_it_changes_or_time_passes() {
        let (refusals, now) = (Refusals::default(), monotonic_now());
        let (old, new) = (Digested::of(b"old"), Digested::of(b"new"));
        assert!(refusals.find("svc@corp", &old, now).is_none());
        let said = ("the password is wrong".to_owned(), String::new());
        refusals.put("svc@corp", &old, now, said.clone());
        let found = refusals.find("SVC@corp", &old, now);
        assert_eq!(found.map(|refused| refused.message), Some(said.0.clone()));
        assert!(refusals.find("svc@corp", &new, now).is_none());
        refusals.put("svc@corp", &new, now, said);
        assert!(refusals.find("svc@corp", &new, now + PAUSE).is_none());
    }
}
