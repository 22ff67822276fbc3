//! Keeps one domain controller of a directory service connected: order of hosts, fail-over and back, bind, pauses.
//!
//! What is read is decided in [`super::sync`] and done in [`super::reading`]. A failure never takes data away: what was
//! read stays until a server says otherwise.

use std::time::{Duration, Instant};

use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};

use super::feed::{Counts, Feed};
use super::reading::{Done, ReadError, Reading};
use super::sync::{self, Next, Position, Sight};
use crate::config::secret::SecretError;
use crate::config::{Auth, ChannelBinding, Ldap, LdapTls};
use crate::net::ldap::{Connection, Protection};
use crate::net::ldap_error::LdapError;
use crate::net::resolve::{ResolveError, Resolver};
use crate::net::security::{
    Binding, Credentials, Kdcs, Method, Negotiation, Proof, Purpose, Target,
};
use crate::net::tls::{self, TlsError};
use crate::runtime::backoff::Backoff;
use crate::runtime::clock::monotonic_now;
use crate::runtime::report::Health;
use crate::writer::Stopped;

/// How often a better host is tried while a lesser one serves.
const FAIL_BACK: Duration = Duration::from_secs(300);
/// First and longest pause after a failure.
const PAUSES: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(300));
/// How long a refused password is not tried again unless it changes: trying would lock the account.
const REFUSED_PAUSE: Duration = Duration::from_secs(900);
/// A connection unused for longer is not trusted: servers close idle ones after 15 minutes.
const IDLE: Duration = Duration::from_secs(300);
/// Hosts tried, configured or found.
const MAX_HOSTS: usize = 32;

/// Follows one directory service.
pub(super) struct Server {
    feed: Feed,
    resolver: Resolver,
    config: Ldap,
    interval: Duration,
    stored: Option<Position>,
    connected: Option<Connected>,
    full_wanted: bool,
    /// When the last full read ended, how long it took, what it found.
    last_full: Option<(Instant, Duration, Counts)>,
    started: Instant,
    refused: Option<Refused>,
    fail_back: Duration,
}

/// A host in use.
struct Connected {
    connection: Connection,
    /// Its place in the order of preference.
    place: usize,
    /// When better hosts were tried last.
    tried_better: Instant,
    used: Instant,
    sees_deleted: Option<bool>,
    /// Why better hosts are not used.
    better: Option<String>,
}

/// When to poll again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    /// After the configured interval.
    Usual,
    /// At once: the table wants a removal confirmed.
    Soon,
}

/// A password that was refused.
struct Refused {
    password: [u8; 32],
    until: Instant,
    message: String,
    remedy: String,
}

/// Why a directory could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// A server or the way to it.
    #[error(transparent)]
    Ldap(#[from] LdapError),
    /// The password cannot be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The roots cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// No servers are found by DNS.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// A server that cannot be read.
    #[error("{message}")]
    Read {
        /// What is wrong.
        message: String,
        /// What to try.
        remedy: String,
    },
    /// Every host failed.
    #[error("no host could be used: {message}")]
    NoHost {
        /// Each host's failure.
        message: String,
        /// What to try about the first.
        remedy: String,
    },
    /// The password was refused before and has not changed since.
    #[error("{message}; not tried again until it changes")]
    Refused {
        /// What the server said.
        message: String,
        /// What to try.
        remedy: String,
    },
    /// The process is stopping.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

impl ServerError {
    /// What the operator can try; one sentence without full stop.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::Ldap(error) => error.remedy(),
            Self::Secret(error) => error.remedy(),
            Self::Tls(error) => error.remedy(),
            Self::Resolve(error) => error.remedy(),
            Self::Read { remedy, .. }
            | Self::NoHost { remedy, .. }
            | Self::Refused { remedy, .. } => remedy.clone(),
            Self::Stopped(_) => String::new(),
        }
    }
}

impl ServerError {
    /// Whether the account is refused: trying again soon only locks it out.
    fn is_credentials(&self) -> bool {
        matches!(self, Self::Ldap(error) if error.is_credentials())
    }
}

impl From<ReadError> for ServerError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Stopped(stopped) => Self::Stopped(stopped),
            ReadError::Ldap(error) => Self::Ldap(error),
            other => Self::Read {
                remedy: other.remedy(),
                message: other.to_string(),
            },
        }
    }
}

impl Server {
    pub(super) fn new(
        feed: Feed,
        resolver: Resolver,
        config: Ldap,
        interval: Duration,
        stored: Option<Box<[u8]>>,
    ) -> Self {
        Self {
            feed,
            resolver,
            config,
            interval,
            stored: stored.as_deref().and_then(Position::decode),
            connected: None,
            full_wanted: false,
            last_full: None,
            started: monotonic_now(),
            refused: None,
            // Tests and labs with short polls need not wait five minutes.
            fail_back: FAIL_BACK.min(interval.saturating_mul(10)),
        }
    }

    /// Polls until the table takes no more.
    pub(super) async fn run(mut self) {
        let mut backoff = Backoff::new(PAUSES.0.min(self.interval), PAUSES.1);
        loop {
            let reused = self.connected.is_some();
            let mut outcome = self.poll().await;
            if reused && matches!(outcome, Err(ServerError::Ldap(_))) {
                // Servers close idle connections and restart: that alone is no fault.
                self.connected = None;
                outcome = self.poll().await;
            }
            let pause = match outcome {
                Ok(Pace::Soon) => self.interval.min(Duration::from_secs(1)),
                Ok(Pace::Usual) => {
                    backoff.reset();
                    self.interval
                }
                Err(ServerError::Stopped(_)) => return,
                Err(error) => {
                    self.connected = None;
                    self.feed
                        .fault(Health::Down, &error.to_string(), &error.remedy());
                    match error {
                        ServerError::Refused { .. } => self.interval,
                        _ => backoff.next_pause(),
                    }
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// One poll: the right host, then whatever is to be read.
    async fn poll(&mut self) -> Result<Pace, ServerError> {
        self.connect().await?;
        let Some(connected) = self.connected.as_mut() else {
            return Ok(Pace::Usual);
        };
        let begun = monotonic_now();
        let host = connected.connection.host().to_owned();
        let mut reading = Reading {
            ldap: &mut connected.connection,
            feed: &self.feed,
            host: &host,
            page_size: self.config.page_size,
        };
        let server = reading.server().await?;
        let deleted = match connected.sees_deleted {
            Some(sees) => sees,
            None => reading.sees_deleted(&server).await?,
        };
        connected.sees_deleted = Some(deleted);
        let sight = Sight {
            deleted: Some(deleted),
            last_full: self.last_full.map(|(ended, took, _)| (begun - ended, took)),
            followed: begun - self.started,
            poll_interval: self.interval,
            full_wanted: self.full_wanted,
        };
        let next = sync::next(self.stored.as_ref(), &server, sight);
        let done = match next {
            Next::Full(reason) => {
                tracing::info!(directory = %self.feed.directory, host, reason = reason.as_str(), "reading everything");
                self.stored = None;
                let done = reading.everything(&server).await?;
                let now = monotonic_now();
                self.last_full = Some((now, now - begun, done.counts));
                done
            }
            Next::Changes(after) => reading.changes(&server, after, deleted).await?,
            Next::Nothing => Done::default(),
        };
        connected.used = monotonic_now();
        self.full_wanted = done.full_wanted;
        let unconfirmed = done.full_wanted && matches!(next, Next::Changes(_));
        if !unconfirmed {
            self.stored = Some(Position {
                server: server.identity,
                usn: server.usn,
            });
        }
        let kind = if matches!(next, Next::Full(_)) {
            "full"
        } else {
            "poll"
        };
        self.feed.synchronised(kind, monotonic_now() - begun);
        self.say(&host, deleted);
        Ok(if unconfirmed { Pace::Soon } else { Pace::Usual })
    }

    /// Tells status how things are after a good poll.
    fn say(&self, host: &str, sees_deleted: bool) {
        let mut detail = host.to_owned();
        let took = self.last_full.map_or(Duration::ZERO, |(_, took, _)| took);
        if let Some((_, _, counts)) = self.last_full {
            detail.push_str(&format!(": {counts}"));
        }
        if !sees_deleted {
            detail.push_str(&format!(
                "; the account may not see deleted objects: compared whole every {:.0} s",
                sync::compare_unseen(self.interval, took).as_secs_f64()
            ));
        }
        let better = self.connected.as_ref().and_then(|c| c.better.as_deref());
        if self.full_wanted {
            self.feed.report.set_detail(detail);
            self.feed.fault(
                Health::Degraded,
                "the directory lost so many objects that their sessions are kept until another full read says the same",
                "if they were not deleted on purpose, check the account's rights and the domain controller",
            );
        } else if let Some(better) = better {
            self.feed.report.set_detail(detail);
            self.feed.fault(
                Health::Degraded,
                &format!("{host} is used because {better}"),
                "jims goes back to the first host of `hosts` when it can be used again",
            );
        } else {
            self.feed.active(detail);
        }
    }

    /// Makes sure that the best host that can be used is connected.
    async fn connect(&mut self) -> Result<(), ServerError> {
        let now = monotonic_now();
        let limit = match &self.connected {
            Some(c) if now - c.used > IDLE => MAX_HOSTS,
            Some(c) if c.place > 0 && now - c.tried_better >= self.fail_back => c.place,
            Some(_) => return Ok(()),
            None => MAX_HOSTS,
        };
        let tried = self.try_hosts(limit, now).await;
        match (tried, self.connected.as_mut()) {
            // What serves goes on serving.
            (Err(error), Some(connected)) if limit < MAX_HOSTS => {
                connected.tried_better = now;
                connected.better = Some(error.to_string());
                Ok(())
            }
            (tried, _) => tried,
        }
    }

    /// Connects the first host that can be used, of the first `limit`.
    async fn try_hosts(&mut self, limit: usize, now: Instant) -> Result<(), ServerError> {
        let digest: [u8; 32] = match Proof::read(&self.config.proof)? {
            Proof::Password(password) => Sha256::digest(password.expose_secret().as_bytes()),
            Proof::Keytab(bytes) => Sha256::digest(bytes.expose_secret()),
        }
        .into();
        if let Some(refused) = &self.refused
            && refused.password == digest
            && now < refused.until
        {
            return Err(ServerError::Refused {
                message: refused.message.clone(),
                remedy: refused.remedy.clone(),
            });
        }
        self.refused = None;
        let protection = protection(&self.config)?;
        let hosts = hosts(&self.resolver, &self.config, self.feed.domain.as_str()).await?;
        let mut failures: Vec<ServerError> = Vec::new();
        for (place, host) in hosts.into_iter().enumerate().take(limit) {
            let domain = self.feed.domain.as_str();
            match open(&self.config, domain, (&self.resolver, &host), &protection).await {
                Ok(opened) => {
                    tracing::info!(directory = %self.feed.directory, host, authentication = opened.mechanism, "connected");
                    self.connected = Some(Connected {
                        connection: opened.connection,
                        place,
                        tried_better: now,
                        used: now,
                        sees_deleted: None,
                        better: failures.first().map(ServerError::to_string),
                    });
                    return Ok(());
                }
                Err(error) if error.is_credentials() => {
                    self.refused = Some(Refused {
                        password: digest,
                        until: now + REFUSED_PAUSE,
                        message: error.to_string(),
                        remedy: error.remedy(),
                    });
                    return Err(error);
                }
                Err(error) => failures.push(error),
            }
        }
        Err(none_usable(failures))
    }
}

/// The failures of all hosts as one.
fn none_usable(mut failures: Vec<ServerError>) -> ServerError {
    if failures.len() == 1 {
        return failures.remove(0);
    }
    let shown: Vec<String> = failures
        .iter()
        .take(4)
        .map(ServerError::to_string)
        .collect();
    ServerError::NoHost {
        message: shown.join("; "),
        remedy: failures
            .first()
            .map(ServerError::remedy)
            .unwrap_or_default(),
    }
}

/// A connection that is signed on.
pub(super) struct Opened {
    pub(super) connection: Connection,
    /// How: `simple`, `kerberos` or `ntlm`.
    pub(super) mechanism: &'static str,
}

/// Connects to a host and signs on as configured.
pub(super) async fn open(
    config: &Ldap,
    domain: &str,
    (resolver, host): (&Resolver, &str),
    protection: &Protection,
) -> Result<Opened, ServerError> {
    let proof = Proof::read(&config.proof)?;
    if let (Auth::Simple, Proof::Password(password)) = (config.auth, &proof) {
        let mut connection = Connection::open(resolver, host, config.port, protection).await?;
        connection
            .bind(&config.user, password.expose_secret())
            .await?;
        return Ok(Opened {
            connection,
            mechanism: "simple",
        });
    }
    let method = Method::from(config.auth);
    let credentials = Credentials {
        user: config.user.clone(),
        domain: domain.to_owned(),
        proof,
    };
    let target = Target {
        service: "ldap",
        host: host.to_owned(),
    };
    let kdcs = Kdcs::new(resolver, domain, &config.kdc, host);
    let negotiate = |certificate: &[u8]| {
        let purpose = Purpose::InsideTls {
            certificate: certificate.to_vec(),
            binding: match config.channel_binding {
                ChannelBinding::Auto => Binding::WithNtlm,
                ChannelBinding::On => Binding::Always,
                ChannelBinding::Off => Binding::Never,
            },
        };
        Negotiation::new(method, &credentials, &target, &purpose, kdcs)
    };
    let (connection, negotiated) =
        Connection::open_signed_on(resolver, (host, config.port), protection, negotiate).await?;
    Ok(Opened {
        connection,
        mechanism: negotiated.mechanism,
    })
}

pub(super) fn protection(config: &Ldap) -> Result<Protection, TlsError> {
    let roots = || tls::client_config(config.ca_file.as_deref());
    Ok(match config.tls {
        LdapTls::Ldaps => Protection::Ldaps(roots()?),
        LdapTls::StartTls => Protection::StartTls(roots()?),
        LdapTls::None => Protection::None,
    })
}

pub(super) async fn hosts(
    resolver: &Resolver,
    config: &Ldap,
    domain: &str,
) -> Result<Vec<String>, ResolveError> {
    if config.hosts.is_empty() {
        return resolver.domain_controllers(domain).await;
    }
    Ok(config.hosts.iter().take(MAX_HOSTS).cloned().collect())
}
