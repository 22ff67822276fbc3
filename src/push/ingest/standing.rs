//! Who is connected: a Collector that was not heard for [`SILENT_AFTER`] is disconnected from when it was last heard.
//!
//! Silence is measured with the monotonic clock, so that a jump of the wall clock disconnects nobody.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Entry, Ingest, Inner};
use crate::identity::time::UtcMillis;
use crate::push::shape::SILENT_AFTER;
use crate::runtime::clock;

/// How often it is looked.
const EVERY: Duration = Duration::from_secs(5);

impl Ingest {
    /// Tells the table who is not heard, until `stop`.
    pub async fn watch(self, stop: CancellationToken) {
        for entry in self.0.all_entries() {
            // No push is handled meanwhile, which would connect it.
            let _quiet = entry.stream.lock().await;
            let since = entry.live.lock().disconnected_since;
            if let Some(since) = since {
                let _later = self.0.table.standing(&entry.name, Some(since)).await;
            }
        }
        while stop
            .run_until_cancelled(tokio::time::sleep(EVERY))
            .await
            .is_some()
        {
            self.0.look().await;
        }
    }
}

impl Inner {
    async fn look(&self) {
        let now = clock::monotonic_now();
        for entry in self.all_entries() {
            let heard = {
                let live = entry.live.lock();
                live.heard.filter(|_| live.disconnected_since.is_none())
            };
            if let Some((at, utc)) = heard
                && now.saturating_duration_since(at) > SILENT_AFTER
            {
                self.disconnected(&entry, utc).await;
            }
        }
    }

    /// A Collector is not heard since then.
    pub(super) async fn disconnected(&self, entry: &Entry, since: UtcMillis) {
        // Not while a push is handled, which would connect it again.
        let Ok(_quiet) = entry.stream.try_lock() else {
            return;
        };
        if entry.live.lock().disconnected_since.is_some() {
            return;
        }
        if self.table.standing(&entry.name, Some(since)).await.is_ok() {
            entry.live.lock().disconnected_since = Some(since);
            tracing::warn!(collector = %entry.name, "a Collector is disconnected");
        }
    }
}
