//! The passing of time: whoever holds the lease says so in the stream when something is due.
//!
//! What ends is decided by every table alike, at the message's place and time: evidence before it has counted, evidence after
//! it comes too late. Several that say so do no harm.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::lease::Held;
use super::publish::Say;
use super::shape::{Body, Part};
use crate::runtime::clock;
use crate::writer::Reader;

/// Name of the lease.
pub(super) const LEASE: &str = "clock";

/// The longest pause: the table may have something due meanwhile.
const LONGEST: Duration = Duration::from_secs(1);

/// The shortest: what is due is asked of the machine's clock, which may be ahead of the stream's.
const SHORTEST: Duration = Duration::from_millis(50);

/// Says that time passes, while the lease is held, until `stop`.
pub(super) async fn run(
    reader: Reader,
    held: watch::Receiver<Held>,
    says: mpsc::Sender<Say>,
    stop: CancellationToken,
) {
    let mut pause = SHORTEST;
    while stop
        .run_until_cancelled(tokio::time::sleep(pause))
        .await
        .is_some()
    {
        pause = LONGEST;
        if !held.borrow().contains_key(LEASE) {
            continue;
        }
        let Some((due, _)) = reader.read().poll_timeout() else {
            continue;
        };
        let left = due.since(clock::utc_now());
        if !left.is_zero() {
            pause = left.clamp(SHORTEST, LONGEST);
            continue;
        }
        let (done, applied) = oneshot::channel();
        let part = Part {
            fence: None,
            body: Body::Advance,
        };
        if says.send(Say { part, done }).await.is_err() {
            return;
        }
        let _dropped = stop.run_until_cancelled(applied).await;
        pause = SHORTEST;
    }
}
