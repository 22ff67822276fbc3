//! The running process's side of keeping the table on the disk: begun at the start, looked after while it runs, marked at
//! the end.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::serve::Inner;
use super::state;
use crate::access::TokenRecord;
use crate::runtime::clock;
use crate::snapshot::Store;

/// How long the last table may take to be written, however late it is.
const LAST_TABLE: Duration = Duration::from_secs(2);

impl Inner {
    /// Keeps the table on the disk from now on.
    pub(super) fn keep_table(&self, store: Store) {
        let keeper = state::keep(&self.state, store, &self.parts, &self.tasks.control);
        if let Some(keeper) = keeper {
            let _first = self.keeper.set(keeper);
        }
    }

    /// Keeps the access tokens every `snapshot_interval`, and folds what was written, until `stop`.
    pub(super) async fn save_regularly(self: Arc<Self>, stop: CancellationToken) {
        loop {
            let interval = self.config.load().session.snapshot_interval;
            let slept = stop.run_until_cancelled(tokio::time::sleep(interval)).await;
            if slept.is_none() {
                return;
            }
            if let Some(keeper) = self.keeper.get() {
                keeper.look(self.tokens_in_force()).await;
            }
        }
    }

    /// Writes the last table, within the time that is left; what failed must not pass for a clean stop.
    pub(super) async fn finish_keeping(&self, left: Duration) {
        let clean = self.failure.lock().is_none();
        let Some(keeper) = self.keeper.get() else {
            return;
        };
        let finishing = keeper.finish(self.tokens_in_force(), clean);
        let within = left.max(LAST_TABLE);
        if tokio::time::timeout(within, finishing).await.is_err() {
            tracing::warn!("the last table was not written in time");
        }
    }

    fn tokens_in_force(&self) -> Vec<TokenRecord> {
        let server = self.server();
        let tokens = server.map(|server| server.access().export_tokens(clock::utc_now()));
        tokens.unwrap_or_default()
    }
}
