//! Messages on their way, by number, and who waits for them: pure.
//!
//! A life that begins anew (the table was replaced) numbers anew what was not heard. It knows what of the life before was
//! heard only when its own first message came back: nothing of that life counts behind it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::shape::{self, Frame, Part};
use crate::writer::Done;

/// Messages on their way; more is gathered meanwhile, so that under load messages grow instead of waiting.
const MAX_UNHEARD: usize = 32;

/// Bytes on their way.
const MAX_UNHEARD_BYTES: usize = 16 << 20;

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

/// What was not heard, in order.
#[derive(Debug)]
pub(super) struct Outbox {
    unheard: VecDeque<Unheard>,
    bytes: usize,
    next: u64,
    waiting: Waiting,
}

impl Outbox {
    pub(super) fn new(waiting: Waiting) -> Self {
        Self {
            unheard: VecDeque::new(),
            bytes: 0,
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

    /// Forgets what came back; whether there was any.
    pub(super) fn heard(&mut self, number: u64) -> bool {
        let before = self.unheard.len();
        while let Some(first) = self.unheard.front()
            && first.number <= number
        {
            self.bytes = self.bytes.saturating_sub(first.bytes.len());
            self.unheard.pop_front();
        }
        self.unheard.len() < before
    }

    /// A new life was heard: what was not heard of the one before, up to a number, is said again as this life's. What was
    /// said under a lease is not: the lease is taken anew, and its source read from where the table stands.
    pub(super) fn begin_anew(&mut self, heard_before: u64) {
        self.heard(heard_before);
        let mut waits = std::mem::take(&mut *self.waiting.0.lock());
        let kept = self.unheard.drain(..).filter(|unheard| !unheard.fenced);
        let kept: Vec<Unheard> = kept.collect();
        (self.bytes, self.next) = (0, FIRST);
        for mut unheard in kept {
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
        assert!(outbox.heard(2));
        assert!(!outbox.heard(2));
        assert_eq!(waiting.take(2).len(), 1);
        outbox.begin_anew(3);
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
}
