//! Looks at certificates and secret files every 30 s, so that rotation needs no reload (rule 24).

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::serve::Inner;
use crate::enforcement::web_api::Prepared;

/// How often files are looked at.
const INTERVAL: Duration = Duration::from_secs(30);

/// Looks until `stop`.
pub(super) async fn run(inner: Arc<Inner>, stop: CancellationToken) {
    while stop
        .run_until_cancelled(tokio::time::sleep(INTERVAL))
        .await
        .is_some()
    {
        look(&inner).await;
    }
}

/// Takes over what changed; what cannot be used is told, and the old stays.
async fn look(inner: &Arc<Inner>) {
    let _one_at_a_time = inner.reloading.lock().await;
    let (server, syslog) = (inner.server(), inner.syslog());
    let config = inner.config.load_full();
    if let Some(server) = server {
        // Secrets are read again with everything else of the Server; unchanged ones revoke nothing.
        match server.reload(&config).await {
            Ok(()) => inner.notices.clear("server files"),
            Err(error) => inner
                .notices
                .put("server files", error.to_string(), error.remedy()),
        }
    }
    match Prepared::from_config(&config) {
        Ok(firewalls) => {
            inner.notices.clear("web api files");
            inner.push_to(firewalls).await;
        }
        Err(error) => inner
            .notices
            .put("web api files", error.to_string(), error.remedy()),
    }
    if let (Some(syslog), Some(configured)) = (syslog, &config.syslog) {
        match syslog.reload(configured) {
            Ok(()) => inner.notices.clear("syslog files"),
            Err(error) => inner
                .notices
                .put("syslog files", error.to_string(), error.remedy()),
        }
    }
}
