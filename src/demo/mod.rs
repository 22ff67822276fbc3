//! A self-contained site that shows `jims` working through its real sockets.
//!
//! It only writes a configuration, an LDIF and lines into the real sockets; everything between is the service itself.
//! No other room knows it.

mod firewall;
mod screen;
mod senders;
mod site;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use thiserror::Error;

use self::firewall::{Firewall, Held};
use self::screen::Screen;
use self::senders::Senders;
use self::site::Ports;
use crate::app::{self, App};
use crate::net::listener;
use crate::runtime::shutdown::{Signal, Signals};
use crate::runtime::supervisor::Tasks;

/// How long the service may take until it answers.
const START_LIMIT: Duration = Duration::from_secs(30);

/// Why the demo cannot run.
#[derive(Debug, Error)]
pub enum DemoError {
    /// A file or socket of the demo.
    #[error("cannot set up the demo: {0}")]
    Io(#[from] io::Error),
    /// Something else of the demo.
    #[error("cannot set up the demo: {0}")]
    Setup(String),
    /// The service itself.
    #[error(transparent)]
    App(#[from] app::Error),
}

impl DemoError {
    /// What the operator can try; may be empty.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::App(error) => error.remedy(),
            Self::Io(_) | Self::Setup(_) => String::new(),
        }
    }
}

/// Runs the demo until a signal.
///
/// # Errors
/// The site cannot be set up on this machine.
pub fn run() -> Result<(), DemoError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    // Listeners need a reactor.
    let _entered = runtime.enter();
    let folder = Folder::make()?;
    let ports = Ports {
        syslog: free_port()?,
        https: free_port()?,
    };
    let configuration = site::write(folder.path(), ports)?;
    let loaded = app::load(&configuration)?;
    let telemetry = app::start_telemetry(&loaded.config, 0)?;
    runtime.block_on(async {
        let mut signals = Signals::listen()?;
        let app = App::start(&configuration, loaded, telemetry).await?;
        let shown = show(&app, folder.path(), &configuration, ports, &mut signals).await;
        app.stop().await;
        shown
    })
}

async fn show(
    app: &App,
    folder: &Path,
    configuration: &Path,
    ports: Ports,
    signals: &mut Signals,
) -> Result<(), DemoError> {
    let ready = tokio::time::timeout(START_LIMIT, async {
        while !app.readiness().is_ready() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    ready
        .await
        .map_err(|_| DemoError::Setup("the service did not become ready".into()))?;
    let held = Arc::new(Mutex::new(Held::default()));
    let certificate = folder.join("state/tls/self-signed.pem");
    let firewall = Firewall::new(&certificate, ports.https, Arc::clone(&held))?;
    let senders = Senders::connect(ports.syslog).await?;
    let tasks = Tasks::new();
    let mut screen = Screen::new(commands(configuration));
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    let failed = Arc::new(Mutex::new(None));
    let report = Arc::clone(&failed);
    tasks.spawn("demo firewall", firewall.run());
    tasks.spawn("demo senders", async move {
        *report.lock() = senders.run().await.err()
    });
    loop {
        tokio::select! {
            signal = signals.next() => if signal == Signal::Stop { return Ok(()) },
            _ = tick.tick() => {
                if let Some(error) = failed.lock().take() {
                    return Err(error.into());
                }
                let totals = app.reader().read().totals();
                let now = held.lock().clone();
                match screen.show(&totals, &now) {
                    Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                    other => other?,
                }
            }
        }
    }
}

fn commands(configuration: &Path) -> String {
    let program = std::env::args_os()
        .next()
        .map_or_else(|| "jims".into(), |name| name.display().to_string());
    format!(
        "Try in a second terminal, in the same folder (Ctrl-C here ends the demo):\n  \
         export JIMS_CONFIG={}\n  \
         {program} status\n  {program} query-user ada\n  {program} query-user 10.8.0.11\n  {program} log-off ada\n",
        configuration.display()
    )
}

fn free_port() -> Result<u16, DemoError> {
    let listener = listener::tcp(([127, 0, 0, 1], 0).into(), "demo")
        .map_err(|e| DemoError::Setup(e.to_string()))?;
    Ok(listener.local_addr()?.port())
}

/// A temporary folder that goes with the demo.
struct Folder(std::path::PathBuf);

impl Folder {
    fn make() -> io::Result<Self> {
        let name = format!("jims-demo.{:08x}", rand::random::<u32>());
        let path = std::env::temp_dir().join(name);
        std::os::unix::fs::DirBuilderExt::mode(&mut std::fs::DirBuilder::new(), 0o700)
            .create(&path)?;
        Ok(Self(path))
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A folder that cannot be removed is only a leftover in the temporary folder.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
