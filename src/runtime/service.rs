//! Talking to systemd: ready, reloading, stopping, watchdog; silent when nobody asked (no `NOTIFY_SOCKET`).

use std::time::Duration;

use sd_notify::NotifyState;
use tokio_util::sync::CancellationToken;

use super::clock;

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

/// Says in one line how the service is doing.
pub fn status(line: &str) {
    notify(&[NotifyState::Status(line)]);
}

/// Feeds the watchdog, if systemd set one, as long as `alive` says that the table is served; until `stop`.
pub async fn watchdog(stop: CancellationToken, alive: impl Fn() -> bool + Send) {
    let Some(interval) = sd_notify::watchdog_enabled() else {
        return;
    };
    let pause = interval / 3;
    while stop
        .run_until_cancelled(tokio::time::sleep(pause))
        .await
        .is_none()
    {
        let asked = clock::monotonic_now();
        if alive() && asked.elapsed() < interval {
            notify(&[NotifyState::Watchdog]);
        }
    }
}

/// How often the watchdog must be fed, if at all.
#[must_use]
pub fn watchdog_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "cannot tell systemd how the service is doing");
    }
}
