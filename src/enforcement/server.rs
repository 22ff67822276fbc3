//! The Server as a whole: its listeners, what they share, how it starts, changes and stops.
//!
//! A reload prepares everything that can fail (secrets, certificate, listeners) before it changes anything, so that a
//! refused reload leaves the old Server as it was. New listeners are bound before old ones close.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::Router;
use parking_lot::Mutex;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::forced::Forced;
use super::http::{Guests, router, validator_router};
use super::metrics::QueryMetrics;
use super::point::{PointError, Points};
use super::query;
use super::reading::{PointReading, PointStates};
use super::requests::{UnknownRequest, UnknownRequests};
use crate::access::{Access, ClientError, Clients};
use crate::config::{self, CertificateFiles, Config};
use crate::net::http::{HttpServer, Limits, Regulars};
use crate::net::listener::{self, ListenError};
use crate::net::self_signed::{SelfSigned, ca_certificate, self_signed};
use crate::net::tls::{
    ALPN_HTTP, CertificateFacts, ClientCertificates, ServerTls, ServerTlsOptions, TlsError,
};
use crate::runtime::clock;
use crate::runtime::probing::Probing;
use crate::runtime::readiness::Readiness;
use crate::runtime::strangers::Strangers;
use crate::runtime::supervisor::Tasks;
use crate::writer::{Intake, Reader};

/// Largest body of a request to what answers beside queries, in bytes: a Collector's push. Each of them reads less, if it
/// should.
const MAX_BESIDE_BYTES: usize = 16 << 20;

/// Where in `state_dir` a certificate of our own is kept.
const SELF_SIGNED_FOLDER: &str = "tls";

/// Why the Server cannot run as configured.
#[derive(Debug, Error)]
pub enum ServerError {
    /// The configuration has no `[server]`.
    #[error("the configuration has no [server]")]
    NotConfigured,
    /// A point cannot be served.
    #[error(transparent)]
    Point(#[from] PointError),
    /// A client's secret cannot be read.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A listener cannot be bound.
    #[error(transparent)]
    Listen(#[from] ListenError),
}

impl ServerError {
    /// What the operator can try.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::NotConfigured => "add the table [server]".to_owned(),
            Self::Point(error) => error.remedy(),
            Self::Client(error) => error.remedy(),
            Self::Tls(error) => error.remedy(),
            Self::Listen(error) => error.remedy(),
        }
    }
}

/// The file at whose end the certificate of the Server's CA stands, if it is there at all.
#[must_use]
pub fn ca_file(server: &config::Server, state_dir: &Path) -> PathBuf {
    match &server.certificate {
        Some(files) => files.certificate.clone(),
        None => ca_certificate(&state_dir.join(SELF_SIGNED_FOLDER)),
    }
}

/// What the Server needs of the rest of the process.
#[derive(Clone, Debug)]
pub struct ServerParts {
    /// How it reads the table.
    pub reader: Reader,
    /// Where renewals go.
    pub intake: Intake,
    /// Whether answers can be trusted yet.
    pub readiness: Readiness,
    /// Where it notes addresses that are no enforcement point.
    pub strangers: Strangers,
    /// Who may call; filled from the configuration here.
    pub access: Access,
    /// What else answers on its listeners, to clients of other roles.
    pub beside: Router,
    /// What else answers on its HTTPS listeners only, to anybody.
    pub over_tls: Router,
    /// How a firewall has a computer asked.
    pub probing: Probing,
    /// The bounds of its listeners.
    pub limits: Limits,
    /// Who owns its tasks.
    pub tasks: Tasks,
}

/// What every request sees.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) reader: Reader,
    pub(super) intake: Intake,
    pub(super) readiness: Readiness,
    pub(super) strangers: Strangers,
    pub(super) points: ArcSwap<Points>,
    pub(super) access: Access,
    pub(super) states: PointStates,
    pub(super) requests: UnknownRequests,
    pub(super) forced: Forced,
    pub(super) metrics: QueryMetrics,
}

/// The Server; a handle to share.
#[derive(Clone, Debug)]
pub struct Server(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    tls: Arc<ServerTls>,
    beside: Router,
    over_tls: Router,
    limits: Limits,
    tasks: Tasks,
    listeners: Mutex<Listeners>,
    /// Reloads happen one after the other.
    reloading: tokio::sync::Mutex<()>,
}

/// What a listener is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Face {
    /// Queries and tokens, with TLS.
    Queries,
    /// The same without TLS, for debugging.
    DebugHttp,
    /// The validator, with TLS.
    Validator,
}

/// What a listener is for, and where it was configured to be.
type Listening = (Face, SocketAddr);

#[derive(Debug, Default)]
struct Listeners {
    /// Bound and not served yet.
    waiting: BTreeMap<Listening, TcpListener>,
    /// Served; cancelled to close.
    open: BTreeMap<Listening, CancellationToken>,
    /// Where they really are.
    bound: BTreeMap<Listening, SocketAddr>,
    /// Set while the Server runs.
    stop: Option<CancellationToken>,
}

impl Server {
    /// Reads secrets and certificate and binds all listeners; nothing is answered yet. Needs a running tokio.
    ///
    /// # Errors
    /// What of it cannot be done.
    pub fn bind(config: &Config, parts: ServerParts) -> Result<Self, ServerError> {
        let server = config.server.as_ref().ok_or(ServerError::NotConfigured)?;
        let points = Points::from_config(&config.enforcement_points)?;
        let clients = Clients::from_config(config)?;
        let tls = ServerTls::load(tls_options(server, &config.collector.state_dir)?)?;
        tell_validity(&tls);
        let mut listeners = Listeners::default();
        for key in wanted(server) {
            listeners.bind(key)?;
        }
        parts.access.replace(clients, config);
        let shared = Shared {
            reader: parts.reader,
            intake: parts.intake,
            readiness: parts.readiness,
            strangers: parts.strangers,
            points: ArcSwap::from_pointee(points),
            access: parts.access,
            states: PointStates::default(),
            requests: UnknownRequests::default(),
            forced: Forced::new(parts.probing),
            metrics: QueryMetrics::default(),
        };
        Ok(Self(Arc::new(Inner {
            shared: Arc::new(shared),
            tls,
            beside: parts.beside,
            over_tls: parts.over_tls,
            limits: parts.limits,
            tasks: parts.tasks,
            listeners: Mutex::new(listeners),
            reloading: tokio::sync::Mutex::new(()),
        })))
    }

    /// Answers until `stop`.
    pub async fn run(&self, stop: CancellationToken) {
        {
            let mut listeners = self.0.listeners.lock();
            listeners.stop = Some(stop.clone());
            self.serve_waiting(&mut listeners);
        }
        stop.cancelled().await;
    }

    /// Takes over a changed configuration: points, secrets, certificate, listeners, life of tokens. All or nothing.
    ///
    /// # Errors
    /// What of it cannot be done; nothing is changed then.
    pub async fn reload(&self, config: &Config) -> Result<(), ServerError> {
        let _one_at_a_time = self.0.reloading.lock().await;
        let server = config.server.as_ref().ok_or(ServerError::NotConfigured)?;
        let points = Points::from_config(&config.enforcement_points)?;
        let clients = Clients::from_config(config)?;
        let options = tls_options(server, &config.collector.state_dir)?;
        let mut new = Listeners::default();
        {
            let listeners = self.0.listeners.lock();
            for key in wanted(server).filter(|key| !listeners.bound.contains_key(key)) {
                new.bind(key)?;
            }
        }
        self.0.tls.replace(options, clock::utc_now())?;

        let shared = &self.0.shared;
        shared.states.keep_only(&points);
        shared.points.store(Arc::new(points));
        shared.access.replace(clients, config);

        let mut listeners = self.0.listeners.lock();
        listeners.waiting.append(&mut new.waiting);
        listeners.bound.append(&mut new.bound);
        self.serve_waiting(&mut listeners);
        listeners.close_all_but(&wanted(server).collect::<Vec<_>>());
        Ok(())
    }

    /// Looks at the certificate's files again, without a change of configuration; `true` if there is another now.
    ///
    /// # Errors
    /// What is wrong with the new one; the old one stays in use.
    pub fn reload_certificate(&self) -> Result<bool, TlsError> {
        self.0.tls.reload(clock::utc_now())
    }

    /// The certificate in use.
    #[must_use]
    pub fn certificate(&self) -> CertificateFacts {
        self.0.tls.certificate()
    }

    /// Where it listens with TLS.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.0.listeners.lock().bound(Face::Queries)
    }

    /// Where the validator listens.
    #[must_use]
    pub fn validator_addresses(&self) -> Vec<SocketAddr> {
        self.0.listeners.lock().bound(Face::Validator)
    }

    /// Where it listens without TLS, for debugging.
    #[must_use]
    pub fn plain_addresses(&self) -> Vec<SocketAddr> {
        self.0.listeners.lock().bound(Face::DebugHttp)
    }

    /// What every enforcement point did of late.
    #[must_use]
    pub fn points(&self) -> Vec<PointReading> {
        let shared = &self.0.shared;
        let points = shared.points.load();
        shared
            .states
            .read(&points, &shared.access, clock::utc_now())
    }

    /// The entries that IP queries of a point would give, by the code that answers them; `None`: no such point.
    #[must_use]
    pub fn told(&self, point: &str, addresses: &[IpAddr]) -> Option<Vec<serde_json::Value>> {
        let shared = &self.0.shared;
        let points = shared.points.load();
        let point = points.named(point)?;
        Some(query::told(
            &shared.reader,
            &point.filter,
            addresses,
            clock::utc_now(),
        ))
    }

    /// Requests that were not understood, the latest first.
    #[must_use]
    pub fn unknown_requests(&self) -> Vec<UnknownRequest> {
        self.0.shared.requests.read()
    }

    /// Who may call, and their tokens.
    #[must_use]
    pub fn access(&self) -> &Access {
        &self.0.shared.access
    }

    fn serve_waiting(&self, listeners: &mut Listeners) {
        let Some(stop) = listeners.stop.clone() else {
            return;
        };
        for (key, listener) in std::mem::take(&mut listeners.waiting) {
            let (face, _) = key;
            let shared = Arc::clone(&self.0.shared);
            let closing = stop.child_token();
            listeners.open.insert(key, closing.clone());
            let server = HttpServer {
                listener,
                tls: (face != Face::DebugHttp).then(|| Arc::clone(&self.0.tls)),
                router: match face {
                    Face::Queries => router(shared, Guests::MayShowCredentials)
                        .merge(self.0.beside.clone())
                        .merge(self.0.over_tls.clone()),
                    Face::DebugHttp => {
                        router(shared, Guests::HearNothing).merge(self.0.beside.clone())
                    }
                    Face::Validator => validator_router(shared),
                },
                limits: Limits {
                    // Queries read less, see their router.
                    body_bytes: MAX_BESIDE_BYTES,
                    ..self.0.limits
                },
                tasks: self.0.tasks.clone(),
            };
            let access = self.0.shared.access.clone();
            let regulars = Regulars::new(move |address| access.expects(address));
            self.0
                .tasks
                .spawn("server listener", server.run_for(regulars, closing));
        }
    }
}

impl Listeners {
    fn bind(&mut self, (face, address): Listening) -> Result<(), ListenError> {
        let key = match face {
            Face::Queries => "[server] listen",
            Face::DebugHttp => "[server] debug_http_listen",
            Face::Validator => "[server] validator_listen",
        };
        let listener = listener::tcp(address, key)?;
        let bound = listener.local_addr().unwrap_or(address);
        self.bound.insert((face, address), bound);
        self.waiting.insert((face, address), listener);
        Ok(())
    }

    fn close_all_but(&mut self, wanted: &[Listening]) {
        self.bound.retain(|key, _| wanted.contains(key));
        self.waiting.retain(|key, _| wanted.contains(key));
        self.open.retain(|key, closing| {
            let stays = wanted.contains(key);
            if !stays {
                closing.cancel();
            }
            stays
        });
    }

    fn bound(&self, face: Face) -> Vec<SocketAddr> {
        let all = self.bound.iter();
        all.filter(|((is, _), _)| *is == face)
            .map(|(_, bound)| *bound)
            .collect()
    }
}

fn wanted(server: &config::Server) -> impl Iterator<Item = Listening> {
    let faces = [
        (Face::Queries, &server.listen),
        (Face::DebugHttp, &server.debug_http_listen),
        (Face::Validator, &server.validator_listen),
    ];
    let of = |(face, addresses): (Face, &'_ Vec<SocketAddr>)| -> Vec<Listening> {
        addresses.iter().map(|address| (face, *address)).collect()
    };
    faces.into_iter().flat_map(of)
}

fn tls_options(server: &config::Server, state_dir: &Path) -> Result<ServerTlsOptions, TlsError> {
    let files = match &server.certificate {
        Some(files) => files.clone(),
        None => own_certificate(server, state_dir)?,
    };
    Ok(ServerTlsOptions {
        files,
        clients: server
            .client_ca_file
            .clone()
            .map_or(ClientCertificates::None, ClientCertificates::Optional),
        alpn: ALPN_HTTP,
    })
}

fn own_certificate(
    server: &config::Server,
    state_dir: &Path,
) -> Result<CertificateFiles, TlsError> {
    let whom = if server.certificate_names.is_empty() {
        this_host(server)
    } else {
        named(&server.certificate_names)
    };
    self_signed(&state_dir.join(SELF_SIGNED_FOLDER), &whom, clock::utc_now())
}

fn this_host(server: &config::Server) -> SelfSigned {
    let host = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    let addresses = server
        .listen
        .iter()
        .map(|address| address.ip().to_canonical());
    SelfSigned {
        names: vec![host, "localhost".to_owned()],
        addresses: addresses.filter(|ip| !ip.is_unspecified()).collect(),
    }
}

fn named(all: &[String]) -> SelfSigned {
    let address = |name: &String| name.parse::<IpAddr>().ok();
    SelfSigned {
        names: all
            .iter()
            .filter(|n| address(n).is_none())
            .cloned()
            .collect(),
        addresses: all.iter().filter_map(address).collect(),
    }
}

fn tell_validity(tls: &ServerTls) {
    if let Err(error) = tls.certificate().check_validity(clock::utc_now()) {
        tracing::warn!(
            remedy = error.remedy(),
            "{error}; firewalls that check certificates will refuse it"
        );
    }
}
