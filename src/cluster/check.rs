//! Whether this member's table is still the stream's: members say what they have applied, and when two differ, the stream
//! itself is asked who is wrong.
//!
//! A stream that loses its end, or delivers what it does not keep, would otherwise leave a member that differs for ever and
//! does not know it. Whoever is wrong starts over; whoever is right says that the other was wrong ([`super::shape::Body`]),
//! so that cookies which the other gave count nowhere.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::order::{Digest, Mark};
use super::publish::Say;
use super::roster::{MemberValue, Roster};
use super::shape::{Body, Part};
use super::tables;
use super::trail::Trail;
use crate::net::nats::{NatsError, Objects, Stream};

/// How often others' words are compared.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long a message may take to come when the stream is read again.
const NEXT_WITHIN: Duration = Duration::from_secs(10);

/// How many lives that were found wrong are remembered, so that each is told once.
const TOLD: usize = 256;

/// What checking works with.
#[derive(Clone)]
pub(super) struct Checking {
    pub(super) stream: Stream,
    pub(super) objects: Objects,
    pub(super) trail: Arc<Mutex<Trail>>,
    /// Told when this member's table is found not to be the stream's.
    pub(super) wrong: watch::Sender<()>,
}

/// What the stream says of this member's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is the stream's up to the place that was asked for, at least.
    Right,
    /// It is not.
    Wrong,
    /// The place is forgotten here, or the stream does not reach it.
    Unknown,
}

impl Checking {
    /// Compares until `stop`.
    pub(super) async fn run(
        self,
        own: Arc<str>,
        roster: Arc<Mutex<Roster>>,
        says: mpsc::Sender<Say>,
        stop: CancellationToken,
    ) {
        let mut told = BTreeSet::new();
        while stop
            .run_until_cancelled(tokio::time::sleep(LOOK_EVERY))
            .await
            .is_some()
        {
            let Some(other) = self.differing(&own, &roster.lock(), &told) else {
                continue;
            };
            let verdict = stop.run_until_cancelled(self.judge(other.mark().seq)).await;
            match verdict {
                None => return,
                Some(Ok(Verdict::Right)) => {
                    tracing::warn!(
                        member = other.name,
                        seq = other.applied,
                        "the member's table is not the stream's: cookies of before count no more"
                    );
                    if told.len() >= TOLD {
                        told.clear();
                    }
                    told.insert((other.name.clone(), other.life));
                    doubt(&says, &other).await;
                }
                Some(Ok(Verdict::Wrong)) => self.wrong.send_replace(()),
                Some(Ok(Verdict::Unknown)) => {}
                Some(Err(error)) => {
                    tracing::debug!("who of two members is wrong could not be asked: {error}");
                }
            }
        }
    }

    /// A member that has something else than we at a place, and of which that was not said yet.
    fn differing(
        &self,
        own: &str,
        roster: &Roster,
        told: &BTreeSet<(String, u64)>,
    ) -> Option<MemberValue> {
        let trail = self.trail.lock();
        let mut others = roster.members().map(|seen| &seen.value);
        let other = others.find(|other| {
            other.name != own
                && other.stream == trail.stream()
                && trail.differs(other.mark())
                && !told.contains(&(other.name.clone(), other.life))
        });
        other.cloned()
    }

    /// Asks the stream whether this member's table was its own at a place that this member has reached.
    pub(super) async fn judge(&self, seq: u64) -> Result<Verdict, NatsError> {
        let facts = self.stream.facts().await?;
        let known = self.known(seq, facts.first).await?;
        let Some(known) = known.filter(|_| seq <= facts.last) else {
            return Ok(Verdict::Unknown);
        };
        let truth = match known.seq >= seq {
            true => known,
            false => self.read_on(known, seq).await?,
        };
        let ours = self.trail.lock().at(truth.seq.max(seq));
        Ok(match ours {
            None => Verdict::Unknown,
            // If the stream has no such message, this is another digest.
            Some(ours) if ours == truth.digest => Verdict::Right,
            Some(_) => Verdict::Wrong,
        })
    }

    /// The last place before another of which it is known what the stream has up to it, and from which it can be read on; else
    /// the first one after it. If no table was stored for so long that nothing is known, what we remember has to be believed
    /// up to where the stream begins.
    async fn known(&self, seq: u64, first: u64) -> Result<Option<Mark>, NatsError> {
        let stream = self.trail.lock().stream();
        let stored = tables::mark(&self.objects, stream).await?;
        let known = stored.into_iter().chain([Mark::default()]);
        let known: Vec<Mark> = known.filter(|mark| mark.seq + 1 >= first).collect();
        let before = known.iter().filter(|mark| mark.seq <= seq);
        let before = before.max_by_key(|mark| mark.seq);
        let after = known.iter().min_by_key(|mark| mark.seq);
        let oldest = || self.trail.lock().oldest(first);
        Ok(before.or(after).copied().or_else(oldest))
    }

    /// The stream's own mark at its last message up to a place that it has reached.
    async fn read_on(&self, mut known: Mark, seq: u64) -> Result<Mark, NatsError> {
        let mut stamps = self.stream.stamps(known.seq + 1).await?;
        while known.seq < seq {
            let next = tokio::time::timeout(NEXT_WITHIN, stamps.next()).await;
            let next = next.map_err(|_late| NatsError::silent("reading the stream again"))??;
            // A consumer that was made anew may begin before.
            if next.seq <= known.seq {
                continue;
            }
            // What a copy that lags does not deliver is not yet what the stream does not have.
            self.stream.lacks(known.seq + 1, next.seq).await?;
            if next.seq > seq {
                break;
            }
            known = known.then(next.seq, next.stamp);
        }
        Ok(known)
    }
}

/// Says that a member's table was not the stream's.
async fn doubt(says: &mpsc::Sender<Say>, other: &MemberValue) {
    let (done, applied) = oneshot::channel();
    let body = Body::Doubt {
        member: other.name.as_str().into(),
        life: other.life,
    };
    let part = Part { fence: None, body };
    let _stopping = says.send(Say { part, done }).await;
    let _counts = applied.await;
}

impl MemberValue {
    /// What it has applied.
    fn mark(&self) -> Mark {
        Mark {
            seq: self.applied,
            digest: Digest(self.digest),
        }
    }
}
