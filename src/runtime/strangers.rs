//! Addresses that asked or sent without being configured (rule 33): bounded, with the line to paste.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::identity::time::UtcMillis;

/// How many strangers are remembered; the one heard longest ago makes room.
pub const MAX_STRANGERS: usize = 256;

/// What a stranger tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Tried {
    /// Sent syslog.
    Syslog,
    /// Asked the Server.
    Query,
    /// Pushed logons.
    Push,
}

/// One stranger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stranger {
    /// Where it calls from.
    pub address: IpAddr,
    /// What it tried.
    pub tried: Tried,
    /// How often.
    pub count: u64,
    /// When last.
    pub last: UtcMillis,
}

/// How often a stranger tried, and when last.
type Attempts = (u64, UtcMillis);

/// The strangers of a process.
#[derive(Clone, Debug, Default)]
pub struct Strangers(Arc<Mutex<HashMap<(Tried, IpAddr), Attempts>>>);

impl Strangers {
    /// Remembers one attempt.
    pub fn note(&self, tried: Tried, address: IpAddr, now: UtcMillis) {
        let mut all = self.0.lock();
        let key = (tried, address.to_canonical());
        if !all.contains_key(&key) && all.len() >= MAX_STRANGERS {
            let oldest = all
                .iter()
                .min_by_key(|(_, (_, last))| *last)
                .map(|(key, _)| *key);
            if let Some(oldest) = oldest {
                all.remove(&oldest);
            }
        }
        let entry = all.entry(key).or_insert((0, now));
        *entry = (entry.0.saturating_add(1), now);
    }

    /// All strangers, the latest first.
    #[must_use]
    pub fn read(&self) -> Vec<Stranger> {
        let all = self.0.lock();
        let mut list: Vec<Stranger> = all
            .iter()
            .map(|(&(tried, address), &(count, last))| Stranger {
                address,
                tried,
                count,
                last,
            })
            .collect();
        list.sort_by_key(|s| (std::cmp::Reverse(s.last), s.address));
        list
    }
}
