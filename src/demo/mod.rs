//! A self-contained site that shows `jims` working through its real sockets.
//!
//! It only writes a configuration, an LDIF and lines into the real sockets; everything between is the service itself.
//! No other room knows it.

mod firewall;
mod outage;
mod screen;
mod senders;
mod site;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use self::firewall::{Firewall, Held};
use self::screen::Screen;
use self::senders::Senders;
use self::site::Ports;
use crate::app::{self, App, Dashboard};
use crate::net::listener;
use crate::runtime::log_file::LogFile;
use crate::runtime::shutdown::{Signal, Signals};
use crate::runtime::supervisor::Tasks;
use crate::runtime::telemetry::LogTo;
use crate::tui;

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

/// Runs the demo until a signal, or until its dashboard is left.
///
/// # Errors
/// The site cannot be set up on this machine.
pub fn run(dashboard: Option<Dashboard>) -> Result<(), DemoError> {
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
    let log = match dashboard {
        Some(_) => LogFile::open(folder.path(), "jims.log").map_or(LogTo::Nowhere, LogTo::File),
        None => LogTo::Stderr,
    };
    let shown = dashboard.map(|dashboard| tui::Options {
        socket: loaded.config.control.socket.clone(),
        colour: dashboard.colour,
        ends: Some("the demo".into()),
        notice: format!(
            "in a second terminal: export JIMS_CONFIG={}",
            configuration.display()
        ),
    });
    let telemetry = app::start_telemetry(&loaded.config, 0, log)?;
    runtime.block_on(async {
        let mut signals = Signals::listen()?;
        let app = App::start(&configuration, loaded, telemetry).await?;
        let world = begin(&app, folder.path(), ports).await;
        let ended = match (world, shown) {
            (Err(error), _) => Err(error),
            (Ok(world), Some(options)) => watch(&world, options, &mut signals).await,
            (Ok(world), None) => show(&app, &world, &configuration, &mut signals).await,
        };
        app.stop().await;
        ended
    })
}

/// What plays around the service.
struct World {
    /// What the firewall was told.
    held: Arc<Mutex<Held>>,
    /// What stopped the senders.
    failed: Arc<Mutex<Option<io::Error>>>,
    _tasks: Tasks,
}

impl World {
    fn check(&self) -> Result<(), DemoError> {
        match self.failed.lock().take() {
            Some(error) => Err(error.into()),
            None => Ok(()),
        }
    }
}

async fn begin(app: &App, folder: &Path, ports: Ports) -> Result<World, DemoError> {
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
    let failed = Arc::new(Mutex::new(None));
    let report = Arc::clone(&failed);
    tasks.spawn("demo firewall", firewall.run());
    tasks.spawn("demo outage", outage::run(folder.join(site::DIRECTORY)));
    tasks.spawn("demo senders", async move {
        *report.lock() = senders.run().await.err()
    });
    Ok(World {
        held,
        failed,
        _tasks: tasks,
    })
}

/// Shows the dashboard until it is left, or a signal.
async fn watch(
    world: &World,
    options: tui::Options,
    signals: &mut Signals,
) -> Result<(), DemoError> {
    let stop = CancellationToken::new();
    let mut dashboard = std::pin::pin!(tui::run_apart(options, stop.clone()));
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    let ended = loop {
        tokio::select! {
            ended = &mut dashboard => return Ok(ended.map(|_| ()).map_err(app::Error::from)?),
            signal = signals.next() => if signal == Signal::Stop { break Ok(()) },
            _ = tick.tick() => if let Err(error) = world.check() { break Err(error) },
        }
    };
    stop.cancel();
    dashboard.await.map_err(app::Error::from)?;
    ended
}

/// Shows a summary until a signal.
async fn show(
    app: &App,
    world: &World,
    configuration: &Path,
    signals: &mut Signals,
) -> Result<(), DemoError> {
    let mut screen = Screen::new(commands(configuration));
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            signal = signals.next() => if signal == Signal::Stop { return Ok(()) },
            _ = tick.tick() => {
                world.check()?;
                let totals = app.reader().read().totals();
                let now = world.held.lock().clone();
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
