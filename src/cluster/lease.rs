//! The task that says that this member is there, and takes and gives back leases.
//!
//! Whoever has a lease speaks under it only after its claim came back in the stream: from then on nothing of the holder before
//! counts, and the table holds all that did ([`super::order`]).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::publish::Say;
use super::roster::{
    LeaseValue, MemberValue, Roster, SPEAK_EVERY, SeenLease, lease_key, member_key,
};
use super::shape::{Body, FenceShape, Part};
use crate::net::nats::{Bucket, NatsError, Watching};
use crate::runtime::clock;
use crate::writer::Fence;

/// How often leases are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How long a claim may take to come back: while the stream has no leader, longer than usual.
const CLAIMED_WITHIN: Duration = Duration::from_secs(20);

/// How long the bucket may stay silent, though we ourselves speak in it.
const SILENT_AFTER: Duration = Duration::from_secs(5);

/// How long whoever has begun to listen waits until he believes that a member is gone: all that live have spoken twice.
const KNOWS_AFTER: Duration = SPEAK_EVERY.saturating_mul(2);

/// How long giving leases back may take at the end.
const GIVE_BACK_WITHIN: Duration = Duration::from_secs(2);

/// Leases that are held, with their fences.
pub type Held = BTreeMap<Arc<str>, Fence>;

/// What the task works with.
pub(super) struct Leases {
    pub(super) bucket: Bucket,
    pub(super) roster: Arc<Mutex<Roster>>,
    /// Which leases this member would hold.
    pub(super) wanted: watch::Receiver<BTreeSet<Arc<str>>>,
    pub(super) held: watch::Sender<Held>,
    pub(super) says: mpsc::Sender<Say>,
    /// What we say of ourselves, made anew each time.
    pub(super) own: Box<dyn Fn() -> MemberValue + Send + Sync>,
    /// What NATS said last, if it refused.
    pub(super) trouble: watch::Sender<Option<String>>,
}

/// Leases that were taken and not claimed yet: a claim's answer.
type Claims = BTreeMap<Arc<str>, (Fence, oneshot::Receiver<()>, Instant)>;

impl Leases {
    /// Takes part until `stop`, then gives back what is held.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut claims = Claims::new();
        while !stop.is_cancelled() {
            match self.bucket.watch().await {
                Ok(watching) => {
                    let taking_part = self.take_part(watching, &mut claims);
                    if let Some(Err(error)) = stop.run_until_cancelled(taking_part).await {
                        self.tell(Some(error.to_string()));
                    }
                }
                Err(error) => self.tell(Some(error.to_string())),
            }
            let pause = tokio::time::sleep(LOOK_EVERY);
            let _stopped = stop.run_until_cancelled(pause).await;
        }
        let leaving = tokio::time::timeout(GIVE_BACK_WITHIN, self.leave());
        if leaving.await.is_err() {
            tracing::warn!("leases were not given back in time; others take them over");
        }
    }

    fn tell(&self, trouble: Option<String>) {
        self.trouble.send_if_modified(|told| {
            let differs = *told != trouble;
            *told = trouble;
            differs
        });
    }

    /// Returns only with an error: the watching is to be begun anew.
    async fn take_part(
        &mut self,
        mut watching: Watching,
        claims: &mut Claims,
    ) -> Result<(), NatsError> {
        let begun = clock::monotonic_now();
        let mut heard_self = begun;
        let own_key = member_key(&(self.own)().name);
        let mut speak = tokio::time::interval(SPEAK_EVERY);
        speak.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                entry = watching.next() => {
                    let (entry, now) = (entry?, clock::monotonic_now());
                    if entry.key == own_key {
                        heard_self = now;
                    }
                    let value = entry.value.as_deref();
                    self.roster.lock().note(&entry.key, value, entry.revision, now);
                }
                _tick = speak.tick() => {
                    let value = serde_json::to_vec(&(self.own)()).unwrap_or_default();
                    self.bucket.put(&own_key, value).await?;
                    self.tell(None);
                }
                _tick = look.tick() => {
                    let now = clock::monotonic_now();
                    if now.saturating_duration_since(heard_self) > SILENT_AFTER {
                        return Err(NatsError::silent("watching the keys"));
                    }
                    self.note_claims(claims, now);
                    // Our life may be another one since.
                    let own = (self.own)();
                    self.drop_lost(&own);
                    let knows = now.saturating_duration_since(begun) > KNOWS_AFTER;
                    let wanted = self.wanted.borrow().clone();
                    self.roster.lock().note_vacant(&wanted, now);
                    self.take_free(&own, claims, knows).await?;
                    self.give_back(&own).await?;
                }
            }
        }
    }

    /// Claims that came back are leases that are held.
    fn note_claims(&self, claims: &mut Claims, now: Instant) {
        claims.retain(|lease, (fence, answer, until)| match answer.try_recv() {
            Ok(()) => {
                let fence = fence.clone();
                tracing::info!(lease = &**lease, "the lease is ours");
                self.held
                    .send_modify(|held| drop(held.insert(Arc::clone(lease), fence)));
                false
            }
            Err(oneshot::error::TryRecvError::Empty) => now < *until,
            // A later holder's claim was heard first.
            Err(oneshot::error::TryRecvError::Closed) => false,
        });
    }

    /// Forgets what somebody else took, and what an earlier life of ours held: its table is not this one.
    fn drop_lost(&self, own: &MemberValue) {
        let roster = self.roster.lock();
        let is_lost = |lease: &str| roster.lease(lease).is_some_and(|seen| !is_of(seen, own));
        self.held.send_if_modified(|held| {
            let before = held.len();
            held.retain(|lease, _| {
                let lost = is_lost(lease);
                if lost {
                    tracing::warn!(lease = &**lease, "the lease is not ours any more");
                }
                !lost
            });
            held.len() != before
        });
    }

    /// Takes what is wanted and free.
    async fn take_free(
        &self,
        own: &MemberValue,
        claims: &mut Claims,
        knows: bool,
    ) -> Result<(), NatsError> {
        let wanted = self.wanted.borrow().clone();
        for lease in wanted {
            if claims.contains_key(&lease) || self.held.borrow().contains_key(&lease) {
                continue;
            }
            let (seen, free) = {
                let roster = self.roster.lock();
                let free = roster.free(&lease, clock::monotonic_now());
                (roster.lease(&lease).cloned(), free)
            };
            // Written, and the answer was lost, or the claim's.
            if let Some(seen) = seen.as_ref().filter(|seen| is_of(seen, own)) {
                self.claim(lease, seen.revision, claims).await;
                continue;
            }
            let holder = seen.map_or_else(String::new, |seen| seen.value.holder);
            let at_once = holder.is_empty() || holder == own.name;
            let Some(revision) = free.filter(|_| knows || at_once) else {
                continue;
            };
            match self.write(&lease, own, revision).await {
                Ok(token) => self.claim(lease, token, claims).await,
                Err(NatsError::Changed { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn write(
        &self,
        lease: &str,
        holder: &MemberValue,
        revision: u64,
    ) -> Result<u64, NatsError> {
        let value = LeaseValue {
            lease: lease.to_owned(),
            holder: holder.name.clone(),
            life: holder.life,
            since: clock::utc_now().0,
        };
        let bytes = serde_json::to_vec(&value).unwrap_or_default();
        let key = lease_key(lease);
        let token = self.bucket.update(&key, bytes.clone(), revision).await?;
        let mut roster = self.roster.lock();
        roster.note(&key, Some(&bytes), token, clock::monotonic_now());
        Ok(token)
    }

    async fn claim(&self, lease: Arc<str>, token: u64, claims: &mut Claims) {
        let fence = Fence {
            lease: Arc::clone(&lease),
            token,
        };
        let (done, answer) = oneshot::channel();
        let part = Part {
            fence: Some(FenceShape::from(&fence)),
            body: Body::Claim,
        };
        // Where nothing can be said any more, the process is stopping.
        if self.says.send(Say { part, done }).await.is_ok() {
            let until = clock::monotonic_now() + CLAIMED_WITHIN;
            claims.insert(lease, (fence, answer, until));
        }
    }

    /// Gives back what is held and not wanted any more.
    async fn give_back(&self, own: &MemberValue) -> Result<(), NatsError> {
        let wanted = self.wanted.borrow().clone();
        let held: Vec<_> = self.held.borrow().keys().cloned().collect();
        for lease in held.into_iter().filter(|lease| !wanted.contains(lease)) {
            self.held.send_modify(|held| drop(held.remove(&lease)));
            self.free(&lease, own).await?;
        }
        Ok(())
    }

    async fn free(&self, lease: &str, own: &MemberValue) -> Result<(), NatsError> {
        let seen = self.roster.lock().lease(lease).cloned();
        let Some(seen) = seen.filter(|seen| is_of(seen, own)) else {
            return Ok(());
        };
        match self
            .write(lease, &MemberValue::default(), seen.revision)
            .await
        {
            Ok(_) | Err(NatsError::Changed { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Gives everything back, and says that we go.
    async fn leave(&self) {
        let own = MemberValue {
            stopped: true,
            ..(self.own)()
        };
        let held: Vec<_> = self.held.send_replace(Held::new()).into_keys().collect();
        for lease in held {
            if let Err(error) = self.free(&lease, &own).await {
                tracing::info!(lease = &*lease, "the lease was not given back: {error}");
                return;
            }
        }
        let value = serde_json::to_vec(&own).unwrap_or_default();
        let _gone = self.bucket.put(&member_key(&own.name), value).await;
    }
}

/// Whether a lease is that of a member's life.
fn is_of(lease: &SeenLease, member: &MemberValue) -> bool {
    (lease.value.holder.as_str(), lease.value.life) == (member.name.as_str(), member.life)
}
