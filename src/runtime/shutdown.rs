//! What stops in which order, within one deadline.
//!
//! Intake first, then the core drains, then outputs make their last bounded try, then the snapshot, last the control
//! socket, so that an operator can watch. A second signal ends the process at once. `app/` walks the phases; here are
//! the tokens and the clock that the phases share.

use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::clock;

/// All phases together.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// One token a phase, cancelled in this order.
#[derive(Clone, Debug, Default)]
pub struct Phases {
    /// Producers and directories take nothing more.
    pub intake: CancellationToken,
    /// The writer drains its queue and ends.
    pub writer: CancellationToken,
    /// Servers finish what they are answering.
    pub outputs: CancellationToken,
    /// The control socket closes.
    pub control: CancellationToken,
}

/// Time that is left until [`DEADLINE`].
#[derive(Clone, Copy, Debug)]
pub struct TimeLeft(Instant);

impl TimeLeft {
    /// Starts now.
    #[must_use]
    pub fn start() -> Self {
        Self(clock::monotonic_now())
    }

    /// What is left; zero when over.
    #[must_use]
    pub fn get(self) -> Duration {
        DEADLINE.saturating_sub(clock::monotonic_now().duration_since(self.0))
    }
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM or SIGINT.
    Stop,
    /// SIGHUP.
    Reload,
}

/// The process's signals.
#[derive(Debug)]
pub struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    hangup: tokio::signal::unix::Signal,
}

impl Signals {
    /// Listens from now on.
    ///
    /// # Errors
    /// The system refuses a handler.
    pub fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// The next signal.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.terminate.recv() => Signal::Stop,
            _ = self.interrupt.recv() => Signal::Stop,
            _ = self.hangup.recv() => Signal::Reload,
        }
    }
}
