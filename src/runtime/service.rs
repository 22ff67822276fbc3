//! Talking to systemd: ready, reloading, stopping, watchdog; silent when nobody asked (no `NOTIFY_SOCKET`).

use sd_notify::NotifyState;
use tokio_util::sync::CancellationToken;

/// Says that the service is up.
pub fn ready(status: &str) {
    notify(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Says that the configuration is being read again; [`ready`] ends it.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(stamp) => notify(&[NotifyState::Reloading, stamp]),
        Err(error) => {
            tracing::warn!(%error, "cannot tell systemd that the configuration is read again")
        }
    }
}

/// Says that the service is going down.
pub fn stopping() {
    notify(&[NotifyState::Stopping]);
}

/// Feeds the watchdog, if systemd set one, as long as `alive` says that the table is served; until `stop`.
pub async fn watchdog(stop: CancellationToken, alive: impl Fn() -> bool + Send) {
    let Some(interval) = sd_notify::watchdog_enabled() else {
        return;
    };
    while stop
        .run_until_cancelled(tokio::time::sleep(interval / 3))
        .await
        .is_some()
    {
        if alive() {
            notify(&[NotifyState::Watchdog]);
        }
    }
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "cannot tell systemd how the service is doing");
    }
}
