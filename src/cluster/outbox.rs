//! Messages on their way, by number, and who waits for them: pure.
//!
//! A life that begins anew (the table was replaced) numbers anew what was not heard. It knows what of the life before was
//! heard only when its own first message came back: nothing of that life counts behind it. What was heard is kept for a
//! while: if the stream lost it afterwards, the new life says it again.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::shape::{self, Frame, Part};
use crate::writer::Done;

/// Messages on their way; more is gathered meanwhile, so that under load messages grow instead of waiting.
const MAX_UNHEARD: usize = 32;

/// Bytes on their way.
const MAX_UNHEARD_BYTES: usize = 16 << 20;

/// How long what was heard is kept; a stream that lost its leader has another by then, and what it lost is known.
const KEPT_FOR: Duration = Duration::from_secs(60);

/// Bytes of that, at most.
const MAX_KEPT_BYTES: usize = 32 << 20;

/// The number of what follows a life's first message.
const FIRST: u64 = 2;

/// Who waits for a part to be applied.
#[derive(Debug)]
pub(super) enum Waits {
    /// For what became of a batch.
    Done(Done),
    /// For nothing but that.
    Told(oneshot::Sender<()>),
}

/// By message, who waits for each of its parts.
#[derive(Clone, Debug, Default)]
pub(super) struct Waiting(Arc<Mutex<BTreeMap<u64, Vec<Option<Waits>>>>>);

impl Waiting {
    /// Who waits for the parts of a message.
    pub(super) fn take(&self, number: u64) -> Vec<Option<Waits>> {
        self.0.lock().remove(&number).unwrap_or_default()
    }
}

/// A piece on its way.
#[derive(Debug)]
struct Unheard {
    number: u64,
    piece: u32,
    of: u32,
    bytes: Bytes,
    /// Its author speaks under a lease, and reads again what is lost.
    fenced: bool,
}

impl Unheard {
    /// The number of the last piece of the same content.
    fn last(&self) -> u64 {
        self.number + u64::from(self.of.saturating_sub(self.piece + 1))
    }
}

/// What was not heard, in order.
#[derive(Debug)]
pub(super) struct Outbox {
    unheard: VecDeque<Unheard>,
    bytes: usize,
    /// What was heard, and when.
    kept: VecDeque<(Instant, Unheard)>,
    kept_bytes: usize,
    next: u64,
    waiting: Waiting,
}

impl Outbox {
    pub(super) fn new(waiting: Waiting) -> Self {
        Self {
            unheard: VecDeque::new(),
            bytes: 0,
            kept: VecDeque::new(),
            kept_bytes: 0,
            next: FIRST,
            waiting,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.unheard.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.unheard.is_empty()
    }

    pub(super) fn has_room(&self) -> bool {
        self.unheard.len() < MAX_UNHEARD && self.bytes < MAX_UNHEARD_BYTES
    }

    /// Adds a message, in as many pieces as it takes; returns how many. Who waits is known before it is sent: it may come back
    /// at once.
    pub(super) fn add(&mut self, parts: &[Part], waits: Vec<Option<Waits>>) -> usize {
        let pieces = shape::cut(shape::encode(parts));
        let count = pieces.len();
        let of = u32::try_from(count).unwrap_or(u32::MAX);
        let last = self.next + u64::from(of) - 1;
        if waits.iter().any(Option::is_some) {
            self.waiting.0.lock().insert(last, waits);
        }
        for (piece, bytes) in (0..).zip(pieces) {
            self.bytes += bytes.len();
            self.unheard.push_back(Unheard {
                number: self.next,
                piece,
                of,
                bytes,
                fenced: parts.iter().any(|part| part.fence.is_some()),
            });
            self.next += 1;
        }
        count
    }

    /// Notes what came back; whether there was any.
    pub(super) fn heard(&mut self, number: u64, now: Instant) -> bool {
        let before = self.unheard.len();
        while let Some(first) = self.unheard.pop_front_if(|first| first.number <= number) {
            self.bytes = self.bytes.saturating_sub(first.bytes.len());
            if !first.fenced {
                self.kept_bytes += first.bytes.len();
                self.kept.push_back((now, first));
            }
        }
        self.forget(now);
        self.unheard.len() < before
    }

    fn forget(&mut self, now: Instant) {
        while let Some((heard, first)) = self.kept.front()
            && (self.kept_bytes > MAX_KEPT_BYTES
                || now.saturating_duration_since(*heard) > KEPT_FOR)
        {
            self.kept_bytes = self.kept_bytes.saturating_sub(first.bytes.len());
            self.kept.pop_front();
        }
    }

    /// A new life was heard: what the stream does not have of the one before, after a number, is said again as this life's.
    /// What was said under a lease is not: the lease is taken anew, and its source read from where the table stands.
    pub(super) fn begin_anew(&mut self, heard_before: u64, now: Instant) {
        self.forget(now);
        self.kept_bytes = 0;
        let kept = self.kept.drain(..).map(|(_, kept)| kept);
        let all = kept.chain(self.unheard.drain(..).filter(|unheard| !unheard.fenced));
        let lost = all.filter(|unheard| unheard.last() > heard_before);
        // Of the first content the first pieces may be forgotten already.
        let lost: Vec<Unheard> = lost.skip_while(|unheard| unheard.piece > 0).collect();
        let mut waits = std::mem::take(&mut *self.waiting.0.lock());
        (self.bytes, self.next) = (0, FIRST);
        for mut unheard in lost {
            let waits = waits.remove(&unheard.number);
            unheard.number = self.next;
            self.next += 1;
            self.bytes += unheard.bytes.len();
            if let Some(waits) = waits {
                self.waiting.0.lock().insert(unheard.number, waits);
            }
            self.unheard.push_back(unheard);
        }
    }

    /// The messages, without the first so many, as a life of a member says them.
    pub(super) fn messages(&self, member: &str, life: u64, skip: usize) -> Vec<Vec<u8>> {
        let unheard = self.unheard.iter().skip(skip);
        let frame = |unheard: &Unheard| Frame {
            member: member.to_owned(),
            life,
            number: unheard.number,
            piece: unheard.piece,
            of: unheard.of,
            bytes: unheard.bytes.clone(),
        };
        unheard.map(|unheard| frame(unheard).encode()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::shape::{Body, FenceShape};
    use crate::runtime::clock;

    fn part(fenced: bool) -> Part {
        let fence = fenced.then(|| FenceShape {
            lease: "dc1".to_owned(),
            token: 1,
        });
        Part {
            fence,
            body: Body::Claim,
        }
    }

    fn numbers(outbox: &Outbox) -> Vec<u64> {
        let messages = outbox.messages("a", 1, 0).into_iter();
        let decoded = messages.map(|message| Frame::decode(&message.into()).expect("a message"));
        decoded.map(|frame| frame.number).collect()
    }

    #[test]
    fn a_new_life_says_again_what_was_not_heard_and_its_sources_do_not_read_again() {
        let waiting = Waiting::default();
        let mut outbox = Outbox::new(waiting.clone());
        let mut answers = Vec::new();
        for fenced in [false, false, true, false, true] {
            let (told, answer) = oneshot::channel();
            outbox.add(&[part(fenced)], vec![Some(Waits::Told(told))]);
            answers.push(answer);
        }
        assert_eq!(numbers(&outbox), [2, 3, 4, 5, 6]);
        let now = clock::monotonic_now();
        assert!(outbox.heard(2, now));
        assert!(!outbox.heard(2, now));
        assert_eq!(waiting.take(2).len(), 1);
        outbox.begin_anew(3, now);
        assert_eq!(numbers(&outbox), [2], "the fourth");
        let waits = waiting.take(2);
        for wait in waits.into_iter().flatten() {
            if let Waits::Told(told) = wait {
                told.send(()).expect("somebody waits");
            }
        }
        let answered: Vec<_> = answers.iter_mut().map(|a| a.try_recv().is_ok()).collect();
        assert_eq!(answered, [false, false, false, true, false]);
        assert!(waiting.0.lock().is_empty());
        outbox.add(&[part(false)], Vec::new());
        assert_eq!(numbers(&outbox), [2, 3]);
    }

    #[test]
    fn what_the_stream_lost_after_it_was_heard_is_said_again_while_it_is_known() {
        let begun = clock::monotonic_now();
        let outbox = || {
            let mut outbox = Outbox::new(Waiting::default());
            for fenced in [false, false, true, false] {
                outbox.add(&[part(fenced)], Vec::new());
            }
            outbox.heard(4, begun);
            outbox
        };
        let numbers_after = |heard_before, later| {
            let mut outbox = outbox();
            outbox.begin_anew(heard_before, begun + later);
            numbers(&outbox)
        };
        assert_eq!(numbers_after(4, KEPT_FOR), [2], "the last alone");
        assert_eq!(numbers_after(2, KEPT_FOR), [2, 3]);
        assert_eq!(numbers_after(0, KEPT_FOR), [2, 3, 4]);
        assert_eq!(numbers_after(0, KEPT_FOR * 2), [2], "the rest is forgotten");
    }

    #[test]
    fn a_content_of_which_not_all_pieces_count_is_said_again_whole() {
        let now = clock::monotonic_now();
        let mut outbox = Outbox::new(Waiting::default());
        outbox.add(&[part(false)], Vec::new());
        let policy = Body::Hello("x".repeat(2 * shape::MAX_PIECE));
        let long = Part {
            fence: None,
            body: policy,
        };
        assert_eq!(outbox.add(&[long], Vec::new()), 3);
        outbox.heard(4, now);
        outbox.begin_anew(4, now);
        let pieces: Vec<(u64, u32)> = (outbox.unheard.iter())
            .map(|unheard| (unheard.number, unheard.piece))
            .collect();
        assert_eq!(pieces, [(2, 0), (3, 1), (4, 2)]);
        let bytes: usize = outbox.unheard.iter().map(|u| u.bytes.len()).sum();
        assert_eq!(outbox.bytes, bytes);
    }
}
