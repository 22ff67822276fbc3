//! Sessions that ended, on their way to the history: a bounded queue that the table never waits for.
//!
//! When whoever keeps them cannot follow, what comes is dropped and counted, and the count is handed on with the rest.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::identity::ended::Ended;
use crate::identity::time::UtcMillis;

/// Sessions that may wait: some seconds of the heaviest load, about 64 MB.
pub const MAX_WAITING: usize = 1 << 18;

/// The queue; clones are handles of the same one.
#[derive(Clone, Debug, Default)]
pub struct EndedQueue(Arc<Mutex<Waiting>>);

#[derive(Debug, Default)]
struct Waiting {
    ended: VecDeque<Ended>,
    /// How many have been taken: the number of the first that waits.
    taken: u64,
    lost: Option<Lost>,
}

/// Sessions that were dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    /// When the first of them ended.
    pub from: UtcMillis,
    /// When the last did.
    pub until: UtcMillis,
    /// How many.
    pub count: u64,
}

impl EndedQueue {
    /// Queues what there is room for, and counts the rest.
    pub fn push(&self, ended: Vec<Ended>) {
        if ended.is_empty() {
            return;
        }
        let mut waiting = self.0.lock();
        for ended in ended {
            if waiting.ended.len() < MAX_WAITING {
                waiting.ended.push_back(ended);
                continue;
            }
            let lost = waiting.lost.get_or_insert(Lost {
                from: ended.ended,
                until: ended.ended,
                count: 0,
            });
            lost.until = lost.until.max(ended.ended);
            lost.count += 1;
        }
    }

    /// Sessions ended in this time, and nobody knows which.
    pub fn lose(&self, from: UtcMillis, until: UtcMillis) {
        let mut waiting = self.0.lock();
        let lost = waiting.lost.get_or_insert(Lost {
            from,
            until,
            count: 0,
        });
        lost.from = lost.from.min(from);
        lost.until = lost.until.max(until);
        lost.count += 1;
    }

    /// The oldest that wait, at most `most`, and how many were dropped since the last call.
    #[must_use]
    pub fn take(&self, most: usize) -> (Vec<Ended>, Option<Lost>) {
        let mut waiting = self.0.lock();
        let count = most.min(waiting.ended.len());
        let taken = waiting.ended.drain(..count).collect();
        waiting.taken = waiting.taken.saturating_add(count as u64);
        (taken, waiting.lost.take())
    }

    /// Shows what waits, from the one of this number on, at most `most` in one hold of the lock. Returns the number to go
    /// on with; `None`: that was all.
    #[must_use]
    pub fn look(&self, from: u64, most: usize, see: impl FnMut(&Ended)) -> Option<u64> {
        let waiting = self.0.lock();
        let skipped = usize::try_from(from.saturating_sub(waiting.taken)).unwrap_or(usize::MAX);
        let begin = skipped.min(waiting.ended.len());
        let end = begin.saturating_add(most).min(waiting.ended.len());
        waiting.ended.range(begin..end).for_each(see);
        (end < waiting.ended.len()).then(|| waiting.taken.saturating_add(end as u64))
    }

    /// What was dropped since the last [`EndedQueue::take`].
    #[must_use]
    pub fn lost(&self) -> Option<Lost> {
        self.0.lock().lost
    }

    /// How many wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.0.lock().ended.len()
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::identity::core::LogOffTarget;
    use crate::identity::event::{Claim, IdentityEvent, Logon, Strength, user_ref};
    use crate::identity::name::Name;
    use crate::identity::policy::{DomainPolicy, Policy};
    use crate::identity::view::Epoch;
    use crate::identity::{Batch, Core};
    use crate::runtime::clock;
    use crate::runtime::report::Reports;
    use crate::runtime::supervisor::Tasks;
    use crate::writer::Writer;
    use tokio_util::sync::CancellationToken;

    fn logon(address: IpAddr) -> Batch {
        let now = clock::utc_now();
        let event = IdentityEvent {
            producer: "vpn".into(),
            record: "1".into(),
            occurred_at: now,
            received_at: now,
            heard: None,
            address: Some(address),
            claim: Claim::Logon(Logon {
                user: user_ref("ada@corp.example.com", None, None).expect("a user"),
                device: None,
                groups: Vec::new(),
                strength: Strength::Strong,
                logon_id: None,
            }),
        };
        Batch::Events {
            events: vec![event],
            bookmark: None,
        }
    }

    /// Whoever looks at the table first and here next misses nobody.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_session_that_is_not_in_the_table_any_more_waits_here() {
        let domain = DomainPolicy {
            name: Name::new("corp.example.com").expect("a name"),
            netbios: None,
            aliases: Vec::new(),
        };
        let policy = Policy {
            logoff_time: std::time::Duration::from_secs(3600),
            domains: vec![domain],
            history: true,
            ..Policy::default()
        };
        let (writer, parts) = Writer::new(Core::new(Epoch(1), policy), Reports::default());
        let (tasks, stop) = (Tasks::new(), CancellationToken::new());
        let ends = stop.clone();
        tasks.spawn("writer", async move {
            writer.run(ends).await.expect("no panic");
        });
        let [left, goes] = [[10, 1, 2, 3], [10, 1, 2, 4]].map(IpAddr::from);
        for address in [left, goes] {
            parts.intake.apply(logon(address)).await.expect("applied");
        }
        let log_off = |address| Batch::LogOff(LogOffTarget::Address(address));
        let done = parts.intake.apply(log_off(left)).await;
        done.expect("applied");
        // While nothing can be queued, whoever would look into the table waits.
        let mut is_held = false;
        let _all = parts.ended.look(0, 1, |_| {
            let sent = parts.intake.try_send(log_off(goes));
            sent.expect("there is room");
            let mut held = 0;
            for _ in 0..30_000 {
                std::thread::sleep(std::time::Duration::from_millis(2));
                held = if parts.reader.is_free() { 0 } else { held + 1 };
                // Not only while it is changed.
                is_held = held == 50;
                if is_held {
                    break;
                }
            }
        });
        assert!(is_held);
        parts.intake.apply(log_off(left)).await.expect("applied");
        assert_eq!(parts.ended.waiting(), 2);
        stop.cancel();
        tasks.ended().await;
    }

    #[test]
    fn a_look_goes_on_where_it_was_and_past_what_was_taken() {
        let queue = EndedQueue::default();
        let one = |number: i64| Ended {
            address: IpAddr::from([10, 1, 2, 3]),
            kind: crate::identity::state::SubjectKind::User,
            domain: "corp.example.com".into(),
            name: "ada".into(),
            device: None,
            since: UtcMillis(0),
            until: UtcMillis(number),
            ended: UtcMillis(number),
            reason: None,
            by: "vpn".into(),
            by_record: "1".into(),
            next: None,
            evidence: crate::identity::ended::Held {
                producer: "vpn".into(),
                record: "1".into(),
                occurred_at: UtcMillis(0),
                received_at: UtcMillis(0),
                strength: Strength::Strong,
            },
        };
        queue.push((0..5).map(one).collect());
        let mut seen = Vec::new();
        let next = queue.look(0, 2, |ended| seen.push(ended.ended.0));
        assert_eq!(next, Some(2));
        let (_taken, _lost) = queue.take(3);
        let next = queue.look(2, 2, |ended| seen.push(ended.ended.0));
        assert_eq!((next, seen), (None, vec![0, 1, 3, 4]));
    }
}
