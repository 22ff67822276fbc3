//! NATS with JetStream, as far as a cluster needs it: one stream in order, a bucket of keys, one stored file.
//!
//! The only code that names the client library. It reconnects by itself; every request here has a deadline. What the stored
//! bytes mean is the cluster's business, never this module's.

mod bucket;
mod look;
mod object;
mod stream;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::{self, Context};
use async_nats::{ConnectOptions, Event};
use parking_lot::Mutex;
use secrecy::ExposeSecret as _;
use thiserror::Error;

use super::tls::{self, TlsError};
use super::tls_client;
use crate::config::secret::SecretError;
use crate::config::{Cluster, NatsAccount};
use crate::identity::time::UtcMillis;
use crate::runtime::clock;

pub use self::bucket::{Bucket, Entry, Watching};
pub use self::look::{Copies, JetStreamFacts};
pub use self::object::Objects;
pub use self::stream::{Following, Message, Publishing, Stream, StreamFacts};

/// How long connecting to one server may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// How long NATS may take for an answer: while it has no leader there comes none, and asking again is what helps.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// How long it may take to store what is published.
const STORED_WITHIN: Duration = Duration::from_secs(5);

/// How often a quiet connection is looked at: a dead one is noticed after twice this.
const PING_EVERY: Duration = Duration::from_secs(2);

/// The longest pause between two tries to connect.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Publishes that may wait for an answer.
const MAX_UNANSWERED: usize = 1024;

/// Why NATS did not do what it was asked.
#[derive(Debug, Error)]
pub enum NatsError {
    /// Certificates.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Password or seed.
    #[error("the NATS account's secret: {0}")]
    Secret(#[from] SecretError),
    /// No server takes us.
    #[error("connecting to NATS: {reason}")]
    Connect {
        /// In the library's words.
        reason: String,
        /// What can be tried.
        remedy: &'static str,
    },
    /// It does not answer, or refuses.
    #[error("{doing}: {reason}")]
    Refused {
        /// What we were doing.
        doing: &'static str,
        /// In NATS's words.
        reason: String,
    },
    /// Somebody else was first.
    #[error("{key} was changed by another member")]
    Changed {
        /// Which key.
        key: String,
    },
    /// A file here.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl NatsError {
    fn refused(doing: &'static str, reason: impl std::fmt::Display) -> Self {
        Self::Refused {
            doing,
            reason: reason.to_string(),
        }
    }

    /// Nothing comes, though something should.
    #[must_use]
    pub fn silent(doing: &'static str) -> Self {
        Self::refused(doing, "nothing comes any more")
    }

    /// What the operator can try.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::Tls(error) => error.remedy(),
            Self::Secret(error) => error.remedy(),
            Self::Connect { remedy, .. } => (*remedy).to_owned(),
            Self::Refused { .. } => {
                "look at the NATS servers: `nats server report jetstream`, their logs, and the rights of our account"
                    .to_owned()
            }
            Self::Changed { .. } => String::new(),
            Self::File { .. } => "look at the state folder's disk and its rights".to_owned(),
        }
    }
}

/// Since when the connection is down.
type Lost = Arc<Mutex<Option<UtcMillis>>>;

/// A connection; clones are of the same one.
#[derive(Clone, Debug)]
pub struct Nats {
    context: Context,
    lost: Lost,
}

impl Nats {
    /// Connects to one of the servers, once; from then on the connection mends itself.
    ///
    /// # Errors
    /// No server takes us, or secrets or certificates cannot be used.
    pub async fn connect(cluster: &Cluster, name: &str) -> Result<Self, NatsError> {
        let lost = Lost::default();
        let mut options = ConnectOptions::new()
            .event_callback(noting(&lost))
            .name(format!("jims {name}"))
            .connection_timeout(CONNECT_WITHIN)
            .request_timeout(Some(ANSWER_WITHIN))
            .ping_interval(PING_EVERY)
            .reconnect_delay_callback(|tries| {
                let tries = u32::try_from(tries).unwrap_or(u32::MAX).min(8);
                (Duration::from_millis(20) * 2u32.pow(tries)).min(LONGEST_PAUSE)
            });
        options = match &cluster.account {
            None => options,
            Some(NatsAccount::Password(user, password)) => {
                let password = password.read()?;
                options.user_and_password(user.clone(), password.expose_secret().to_owned())
            }
            Some(NatsAccount::Nkey(seed)) => {
                options.nkey(seed.read()?.expose_secret().trim().to_owned())
            }
        };
        if let Some(tls) = client_tls(cluster)? {
            options = options.tls_client_config(tls);
        }
        let client = options
            .connect(cluster.nats.as_slice())
            .await
            .map_err(|error| refused_connection(&error))?;
        let context = jetstream::context::ContextBuilder::new()
            .timeout(ANSWER_WITHIN)
            .ack_timeout(STORED_WITHIN)
            .max_ack_inflight(MAX_UNANSWERED)
            .build(client);
        Ok(Self { context, lost })
    }

    /// Whether the connection is up at this moment.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        let state = self.context.client().connection_state();
        state == async_nats::connection::State::Connected
    }

    /// Since when the connection is down; `None`: it is up.
    #[must_use]
    pub fn lost_since(&self) -> Option<UtcMillis> {
        *self.lost.lock()
    }

    /// `HOST:PORT` of the server that we are connected to, as far as it says.
    #[must_use]
    pub fn server(&self) -> String {
        let info = self.context.client().server_info();
        format!("{}:{}", info.host, info.port)
    }
}

/// Notes when the connection goes and comes.
fn noting(lost: &Lost) -> impl Fn(Event) -> std::future::Ready<()> + Send + Sync + 'static {
    let lost = Arc::clone(lost);
    move |event| {
        match event {
            Event::Connected => *lost.lock() = None,
            Event::Disconnected => *lost.lock() = Some(clock::utc_now()),
            _ => {}
        }
        std::future::ready(())
    }
}

/// How TLS is spoken, if the file says anything of it.
fn client_tls(cluster: &Cluster) -> Result<Option<rustls::ClientConfig>, NatsError> {
    let ca_file = cluster.ca_file.as_deref();
    if let Some((chain, key)) = &cluster.certificate {
        return Ok(Some(tls_client::client_config_as(ca_file, (chain, key))?));
    }
    let is_tls = cluster.nats.iter().any(|url| url.starts_with("tls:"));
    if ca_file.is_none() && !is_tls {
        return Ok(None);
    }
    let config = tls::client_config(ca_file)?;
    Ok(Some(config.as_ref().clone()))
}

fn refused_connection(error: &async_nats::ConnectError) -> NatsError {
    use async_nats::ConnectErrorKind::{
        Authentication, AuthorizationViolation, Dns, Io, MaxReconnects, ServerParse, TimedOut, Tls,
    };
    // What goes wrong in a handshake, the library reports as trouble of the socket.
    let kind = match error.kind() {
        Io if is_of_tls(error) => Tls,
        kind => kind,
    };
    let remedy = match kind {
        Authentication | AuthorizationViolation => {
            "check user and password_file, or nkey_seed_file, in [cluster]"
        }
        Tls => {
            "check ca_file and certificate in [cluster]; the name must be in the server's certificate"
        }
        Dns | ServerParse => "check the names in cluster.nats",
        TimedOut | Io | MaxReconnects => "check that the NATS servers run and can be reached",
    };
    NatsError::Connect {
        reason: error.to_string(),
        remedy,
    }
}

/// Whether TLS is among the causes of an error.
fn is_of_tls(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(at) = cause {
        let inner = at.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if at.is::<rustls::Error>()
            || inner.is_some_and(<dyn std::error::Error + Send + Sync>::is::<rustls::Error>)
        {
            return true;
        }
        cause = at.source();
    }
    false
}
