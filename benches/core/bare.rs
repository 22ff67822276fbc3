//! The least that could hold sessions: hash maps in 64 shards, each behind its own lock, which know nothing but the last
//! user of an address. No order, no deadlines, no other index, no groups.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use compact_str::CompactString;
use jims::identity::time::UtcMillis;
use parking_lot::RwLock;

use super::world::{DOMAIN, address, user_name};

const SHARDS: u32 = 64;

/// What it holds of an address.
#[derive(Debug)]
#[expect(dead_code, reason = "kept, as a table would have to")]
pub(crate) struct Session {
    pub(crate) user: CompactString,
    domain: Arc<str>,
    producer: Arc<str>,
    record: CompactString,
    since: UtcMillis,
    occurred_at: UtcMillis,
    deadline: UtcMillis,
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Bare {
    shards: Vec<RwLock<HashMap<IpAddr, Arc<Session>>>>,
    domain: Arc<str>,
    producer: Arc<str>,
}

impl Bare {
    pub(crate) fn new() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| RwLock::default()).collect(),
            domain: Arc::from(DOMAIN),
            producer: Arc::from("dc1"),
        }
    }

    fn shard(&self, number: u32) -> &RwLock<HashMap<IpAddr, Arc<Session>>> {
        &self.shards[(number % SHARDS) as usize]
    }

    pub(crate) fn set(&self, number: u32, user: u32, now: UtcMillis) {
        let session = Arc::new(Session {
            user: user_name(user).into(),
            domain: self.domain.clone(),
            producer: self.producer.clone(),
            record: "4768".into(),
            since: now,
            occurred_at: now,
            deadline: UtcMillis(now.0 + 86_400_000),
        });
        let before = self.shard(number).write().insert(address(number), session);
        drop(before);
    }

    pub(crate) fn get(&self, number: u32) -> Option<Arc<Session>> {
        self.shard(number).read().get(&address(number)).cloned()
    }
}
