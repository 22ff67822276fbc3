//! The syslog service: listeners bound early, run, and changed by a reload without dropping connections.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use parking_lot::Mutex;
use thiserror::Error;
use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;

use super::source::{Sources, Transport};
use super::tail::TailLine;
use super::template::TemplateError;
use super::{connection, datagram};
use crate::config;
use crate::identity::heard::Hearer;
use crate::identity::time::UtcMillis;
use crate::net::listener::{self, Acceptor, ListenError};
use crate::net::tls::{self, ClientCertificates, ServerTls, ServerTlsOptions, TlsError};
use crate::runtime::clock;
use crate::runtime::report::{Kind, Reports};
use crate::runtime::strangers::{Strangers, Tried};
use crate::runtime::supervisor::Tasks;
use crate::writer::Intake;

/// Most connections of one listener.
const MAX_CONNECTIONS: usize = 1024;
/// How often certificates and the sources' health are looked at.
const LOOK: Duration = Duration::from_secs(30);
/// A source that was not heard for so long is quiet.
const QUIET_AFTER: Duration = Duration::from_secs(10 * 60);

/// Why the service cannot be bound or reloaded.
#[derive(Debug, Error)]
pub enum SyslogError {
    /// A listener.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// A template.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// The certificate of the TLS listeners.
    #[error("[syslog]: {0}")]
    Tls(#[from] TlsError),
    /// TLS listeners without a certificate.
    #[error("[syslog] tls: there is no certificate for the TLS listeners")]
    NoCertificate,
    /// The address of a listener is not known.
    #[error("asking for the address of a syslog listener: {0}")]
    Address(#[from] io::Error),
}

impl SyslogError {
    /// What the operator can try.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::Listen(error) => error.remedy(),
            Self::Template(_) => "try the pattern with `jims syslog-test`".to_owned(),
            Self::Tls(error) => error.remedy(),
            Self::NoCertificate => {
                "set `certificate_file` and `key_file` in `[syslog]`, or remove `tls`".to_owned()
            }
            Self::Address(_) => String::new(),
        }
    }
}

/// What the service needs of the process.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Where events go.
    pub intake: Intake,
    /// Who runs our tasks.
    pub tasks: Tasks,
    /// Where our reports are read.
    pub reports: Reports,
    /// Who sent without being configured.
    pub strangers: Strangers,
    /// Who we are to those who hear several Collectors; `None`: nobody else can hear our lines.
    pub hearer: Option<Hearer>,
}

/// What the service's tasks share.
#[derive(Debug)]
pub(super) struct Shared {
    surroundings: Surroundings,
    sources: ArcSwap<Sources>,
    tls: ArcSwapOption<ServerTls>,
}

impl Shared {
    pub(super) fn sources(&self) -> Arc<Sources> {
        self.sources.load_full()
    }

    pub(super) fn tls(&self) -> Option<Arc<ServerTls>> {
        self.tls.load_full()
    }

    pub(super) fn intake(&self) -> &Intake {
        &self.surroundings.intake
    }

    pub(super) fn hearer(&self) -> Option<Hearer> {
        self.surroundings.hearer
    }

    pub(super) fn strangers(&self) -> &Strangers {
        &self.surroundings.strangers
    }

    /// A handshake that failed is the doing of whichever source the address belongs to.
    pub(super) fn count_failed_handshake(&self, peer: IpAddr) {
        let sources = self.sources();
        let known = sources
            .all()
            .iter()
            .find(|source| source.may_be(peer, Transport::Tls));
        if let Some(source) = known {
            source.report.count_noted("tls-handshake-failed", 1);
        }
    }
}

/// The syslog service; clones are handles of the same one.
#[derive(Clone, Debug)]
pub struct SyslogService {
    shared: Arc<Shared>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    listeners: Vec<Listener>,
    /// Set once the service runs.
    running: Option<CancellationToken>,
}

#[derive(Debug)]
struct Listener {
    transport: Transport,
    configured: SocketAddr,
    local: SocketAddr,
    stop: CancellationToken,
    /// Until it runs.
    socket: Option<Socket>,
}

#[derive(Debug)]
enum Socket {
    Udp(UdpSocket),
    Stream(Acceptor),
}

impl SyslogService {
    /// Compiles the templates, reads the certificate and binds every listener. Needs a running tokio.
    ///
    /// # Errors
    /// The first thing that does not work, with a remedy.
    pub fn bind(config: &config::Syslog, surroundings: Surroundings) -> Result<Self, SyslogError> {
        let service = Self {
            shared: Arc::new(Shared {
                surroundings,
                sources: ArcSwap::default(),
                tls: ArcSwapOption::empty(),
            }),
            state: Arc::default(),
        };
        service.reload(config)?;
        Ok(service)
    }

    /// Listens until `stop`; connections end with it.
    pub async fn run(self, stop: CancellationToken) {
        {
            let mut state = self.state.lock();
            state.running = Some(stop.clone());
            self.start_listeners(&mut state, &stop);
        }
        while stop
            .run_until_cancelled(tokio::time::sleep(LOOK))
            .await
            .is_some()
        {
            self.look(clock::utc_now());
        }
    }

    /// Takes over another configuration: what is new is bound first, then what is gone is closed. Connections of
    /// senders that are still configured go on; sources that keep their name keep their counts.
    ///
    /// # Errors
    /// The first thing that does not work; then nothing has changed.
    pub fn reload(&self, config: &config::Syslog) -> Result<(), SyslogError> {
        let mut state = self.state.lock();
        let before = self.shared.sources();
        let sources = Sources::new(config, &before)?;
        let wanted = wanted(config);
        let mut bound = Vec::new();
        for &(transport, address) in &wanted {
            let is_it = |l: &Listener| l.transport == transport && l.configured == address;
            if !state.listeners.iter().any(is_it) {
                bound.push(bind(transport, address)?);
            }
        }
        // The last that can fail, for it changes what is in use.
        let tls = server_tls(config, self.shared.tls())?;
        let reports = &self.shared.surroundings.reports;
        for source in before.all() {
            if sources.by_name(&source.report.name).is_none() {
                reports.remove(Kind::Syslog, &source.report.name);
            }
        }
        for source in sources.all() {
            reports.add(&source.report);
        }
        self.shared.sources.store(Arc::new(sources));
        self.shared.tls.store(tls);
        state.listeners.retain(|listener| {
            let stays = wanted.contains(&(listener.transport, listener.configured));
            if !stays {
                listener.stop.cancel();
            }
            stays
        });
        state.listeners.extend(bound);
        if let Some(stop) = state.running.clone() {
            self.start_listeners(&mut state, &stop);
        }
        Ok(())
    }

    /// Where it listens, with the ports that the system chose.
    #[must_use]
    pub fn addresses(&self) -> Vec<(Transport, SocketAddr)> {
        let state = self.state.lock();
        state
            .listeners
            .iter()
            .map(|listener| (listener.transport, listener.local))
            .collect()
    }

    /// A source's last lines that made no event, oldest first; `None` if there is no such source.
    #[must_use]
    pub fn tail(&self, source: &str) -> Option<Vec<TailLine>> {
        let sources = self.shared.sources();
        sources.by_name(source).map(|source| source.tail.read())
    }

    fn start_listeners(&self, state: &mut State, stop: &CancellationToken) {
        let tasks = &self.shared.surroundings.tasks;
        for listener in &mut state.listeners {
            let Some(socket) = listener.socket.take() else {
                continue;
            };
            let ends = listener.stop.clone();
            let (shared, stop) = (Arc::clone(&self.shared), stop.clone());
            let transport = listener.transport;
            tracing::info!(transport = transport.as_str(), address = %listener.local, "listening for syslog");
            tasks.spawn(
                format!("syslog {} {}", transport.as_str(), listener.local),
                async move {
                    match socket {
                        Socket::Udp(socket) => {
                            let both = stop.child_token();
                            let receive = datagram::receive(socket, shared, both.clone());
                            tokio::select! {
                                () = receive => {}
                                () = ends.cancelled() => both.cancel(),
                            }
                        }
                        Socket::Stream(acceptor) => {
                            accept(&acceptor, transport, &shared, (&ends, &stop)).await;
                        }
                    }
                },
            );
        }
    }

    /// Certificates that were renewed, sources that fell silent or spoke again.
    fn look(&self, now: UtcMillis) {
        if let Some(tls) = self.shared.tls()
            && let Err(error) = tls.reload(now)
        {
            tracing::warn!(%error, remedy = error.remedy(), "the certificate for syslog cannot be renewed; the old one stays in use");
        }
        for source in self.shared.sources().all() {
            source.look(now, QUIET_AFTER);
        }
    }
}

/// Accepts connections until the listener or the service ends; connections end with the service only.
async fn accept(
    acceptor: &Acceptor,
    transport: Transport,
    shared: &Arc<Shared>,
    (ends, stop): (&CancellationToken, &CancellationToken),
) {
    loop {
        let accepted = tokio::select! {
            accepted = acceptor.accept() => accepted,
            () = ends.cancelled() => return,
            () = stop.cancelled() => return,
        };
        let peer = accepted.peer.ip();
        if !shared.sources().knows(peer, transport) {
            let strangers = shared.strangers();
            strangers.note(Tried::Syslog, peer, clock::utc_now());
            continue;
        }
        shared.surroundings.tasks.spawn(
            "syslog connection",
            connection::serve(accepted, transport, Arc::clone(shared), stop.clone()),
        );
    }
}

fn wanted(config: &config::Syslog) -> Vec<(Transport, SocketAddr)> {
    let of = |transport, addresses: &[SocketAddr]| {
        addresses
            .iter()
            .map(move |address| (transport, *address))
            .collect::<Vec<_>>()
    };
    [
        of(Transport::Udp, &config.udp),
        of(Transport::Tcp, &config.tcp),
        of(Transport::Tls, &config.tls),
    ]
    .concat()
}

fn bind(transport: Transport, configured: SocketAddr) -> Result<Listener, SyslogError> {
    let (socket, local) = match transport {
        Transport::Udp => {
            let socket = listener::udp(configured, "[syslog] udp")?;
            let local = socket.local_addr()?;
            (Socket::Udp(socket), local)
        }
        Transport::Tcp | Transport::Tls => {
            let key = if transport == Transport::Tcp {
                "[syslog] tcp"
            } else {
                "[syslog] tls"
            };
            let acceptor = Acceptor::new(listener::tcp(configured, key)?, MAX_CONNECTIONS);
            let local = acceptor.local_address()?;
            (Socket::Stream(acceptor), local)
        }
    };
    Ok(Listener {
        transport,
        configured,
        local,
        stop: CancellationToken::new(),
        socket: Some(socket),
    })
}

/// The TLS side: the one in use with the files of now, or a new one.
fn server_tls(
    config: &config::Syslog,
    in_use: Option<Arc<ServerTls>>,
) -> Result<Option<Arc<ServerTls>>, SyslogError> {
    if config.tls.is_empty() {
        return Ok(None);
    }
    let options = ServerTlsOptions {
        files: config
            .certificate
            .clone()
            .ok_or(SyslogError::NoCertificate)?,
        clients: config
            .client_ca_file
            .clone()
            .map_or(ClientCertificates::None, ClientCertificates::Required),
        alpn: tls::ALPN_NONE,
    };
    match in_use {
        Some(tls) => {
            tls.replace(options, clock::utc_now())?;
            Ok(Some(tls))
        }
        None => Ok(Some(ServerTls::load(options)?)),
    }
}
