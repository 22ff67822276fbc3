//! What was heard of each address of late and changed nothing: a short memory, so that an operator can be told what lost.
//!
//! Kept in memory only, for the addresses that were heard of last; [`MAX_ADDRESSES`] of them, [`MAX_OF_ADDRESS`] things
//! each. What is told once and again is one thing with a count.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use compact_str::CompactString;
use parking_lot::Mutex;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use crate::identity::event::ProducerName;
use crate::identity::outcome::{IgnoreReason, Outcome, Verdict};
use crate::identity::time::UtcMillis;
use crate::writer::Outcomes;

/// Addresses remembered: some 4 MB if all are full.
const MAX_ADDRESSES: usize = 10_000;

/// Different things remembered of one address.
const MAX_OF_ADDRESS: usize = 4;

/// The memory, shared by the task that listens and whoever asks.
#[derive(Clone, Debug, Default)]
pub struct Unheeded(Arc<Mutex<Memory>>);

#[derive(Debug, Default)]
struct Memory {
    by_address: HashMap<IpAddr, Vec<Remembered>>,
    /// In the order in which they were first heard of.
    order: VecDeque<IpAddr>,
}

/// One thing that changed nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Remembered {
    /// When it last happened.
    pub(super) at: UtcMillis,
    /// How often.
    pub(super) count: u64,
    /// Of whom, as shown.
    pub(super) subject: CompactString,
    /// Who said so.
    pub(super) producer: ProducerName,
    /// Which record, the last one.
    pub(super) record: CompactString,
    /// Why it changed nothing.
    pub(super) reason: IgnoreReason,
}

impl Unheeded {
    /// Listens until `stop`. What a busy moment drops is not remembered, no more.
    pub async fn listen(self, outcomes: Outcomes, stop: CancellationToken) {
        let mut heard = outcomes.listen();
        while let Some(received) = stop.run_until_cancelled(heard.recv()).await {
            match received {
                Ok(batch) => self.note(&batch),
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            }
        }
    }

    /// What is remembered of an address, the latest first.
    pub(super) fn of(&self, address: IpAddr) -> Vec<Remembered> {
        let memory = self.0.lock();
        let mut all = memory.by_address.get(&address).cloned().unwrap_or_default();
        all.sort_by_key(|remembered| std::cmp::Reverse(remembered.at));
        all
    }

    fn note(&self, outcomes: &[Outcome]) {
        let ignored = outcomes.iter().filter_map(|outcome| match outcome.verdict {
            // The same line counted: it says nothing that explains anything.
            Verdict::Ignored(IgnoreReason::HeardTwice) => None,
            Verdict::Ignored(reason) => Some((outcome.address?, outcome, reason)),
            _ => None,
        });
        let mut memory = None;
        for (address, outcome, reason) in ignored {
            let memory = memory.get_or_insert_with(|| self.0.lock());
            memory.note(address, outcome, reason);
        }
    }
}

impl Memory {
    fn note(&mut self, address: IpAddr, outcome: &Outcome, reason: IgnoreReason) {
        if !self.by_address.contains_key(&address) {
            if self.order.len() >= MAX_ADDRESSES
                && let Some(oldest) = self.order.pop_front()
            {
                self.by_address.remove(&oldest);
            }
            self.order.push_back(address);
        }
        let all = self.by_address.entry(address).or_default();
        let known = all.iter_mut().find(|known| {
            known.reason == reason
                && known.subject == outcome.subject
                && known.producer == outcome.producer
        });
        if let Some(known) = known {
            known.count += 1;
            known.at = known.at.max(outcome.occurred_at);
            known.record = outcome.record.clone();
            return;
        }
        if all.len() >= MAX_OF_ADDRESS {
            let oldest = (0..all.len()).min_by_key(|place| all.get(*place).map(|r| r.at));
            oldest.map(|place| all.swap_remove(place));
        }
        all.push(Remembered {
            at: outcome.occurred_at,
            count: 1,
            subject: outcome.subject.clone(),
            producer: outcome.producer.clone(),
            record: outcome.record.clone(),
            reason,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ignored(address: &str, subject: &str, at: i64) -> Outcome {
        Outcome {
            producer: "dc1".into(),
            record: CompactString::from(format!("4624 #{at}")),
            occurred_at: UtcMillis(at),
            address: address.parse().ok(),
            subject: subject.into(),
            verdict: Verdict::Ignored(IgnoreReason::Weaker),
        }
    }

    #[test]
    fn what_is_told_again_and_again_is_one_thing_with_a_count() {
        let memory = Unheeded::default();
        let address: IpAddr = "10.0.0.1".parse().expect("an address");
        let told = [
            ignored("10.0.0.1", "alice", 5),
            ignored("10.0.0.1", "alice", 7),
            ignored("10.0.0.1", "bob", 6),
            ignored("10.0.0.2", "eve", 8),
            Outcome {
                verdict: Verdict::Renewed,
                ..ignored("10.0.0.1", "carol", 9)
            },
            Outcome {
                verdict: Verdict::Ignored(IgnoreReason::HeardTwice),
                ..ignored("10.0.0.1", "dan", 9)
            },
        ];
        memory.note(&told);
        let all = memory.of(address);
        let shown: Vec<_> = all
            .iter()
            .map(|r| (r.subject.as_str(), r.count, r.record.as_str()))
            .collect();
        assert_eq!(shown, [("alice", 2, "4624 #7"), ("bob", 1, "4624 #6")]);
        let many: Vec<Outcome> = (10..20)
            .map(|at| ignored("10.0.0.1", &format!("user{at}"), at))
            .collect();
        memory.note(&many);
        let newest: Vec<i64> = memory.of(address).iter().map(|r| r.at.0).collect();
        assert_eq!(newest, [19, 18, 17, 16]);
    }

    #[test]
    fn the_memory_is_bounded_and_the_oldest_goes() {
        let memory = Unheeded::default();
        let address = |n: u32| IpAddr::from((0x0a00_0000 + n).to_be_bytes());
        let last = u32::try_from(MAX_ADDRESSES).expect("small");
        for n in 0..=last {
            memory.note(&[ignored(&address(n).to_string(), "alice", 1)]);
        }
        assert_eq!(memory.of(address(0)), []);
        assert_eq!(memory.of(address(1)).len(), 1);
        assert_eq!(memory.0.lock().by_address.len(), MAX_ADDRESSES);
    }
}
