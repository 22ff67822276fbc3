//! The dashboard in the service's own process: a client of the control socket like any other; the log goes to a file.

use tokio_util::sync::CancellationToken;

use super::serve::App;
use super::{Error, follow};
use crate::config::Config;
use crate::runtime::log_file::LogFile;
use crate::runtime::shutdown::Signals;
use crate::runtime::telemetry::LogTo;
use crate::tui;

/// The log's name in the state folder.
const LOG: &str = "jims.log";

/// How the dashboard of a service is shown.
#[derive(Clone, Copy, Debug)]
pub struct Dashboard {
    /// Whether colours may be used.
    pub colour: bool,
}

/// Where the log goes meanwhile, and how the dashboard begins.
pub(super) fn prepare(dashboard: &Dashboard, config: &Config) -> (LogTo, tui::Options) {
    let folder = &config.collector.state_dir;
    let (log, notice) = match LogFile::open(folder, LOG) {
        Ok(file) => {
            let said = format!("the log is {}", folder.join(LOG).display());
            (LogTo::File(file), said)
        }
        Err(error) => {
            let said = format!(
                "no log is kept: cannot open one in {}: {error}",
                folder.display()
            );
            (LogTo::Nowhere, said)
        }
    };
    let options = tui::Options {
        socket: config.control.socket.clone(),
        colour: dashboard.colour,
        ends: Some("the service".into()),
        notice,
    };
    (log, options)
}

/// Shows the dashboard until it is left, a signal stops the service, or the service fails; with what failed.
pub(super) async fn show(app: &App, signals: &mut Signals, options: tui::Options) -> Option<Error> {
    let stop = CancellationToken::new();
    let mut dashboard = std::pin::pin!(tui::run_apart(options, stop.clone()));
    tokio::select! {
        ended = &mut dashboard => ended.err().map(Error::from),
        failed = follow(app, signals) => {
            stop.cancel();
            // It gives the terminal back; what stopped the service matters more than how that went.
            let _ended = dashboard.await;
            failed
        }
    }
}
