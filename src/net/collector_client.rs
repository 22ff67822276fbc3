//! A Collector's requests to a Server: JSON over HTTP/2 where the Server can, HTTP/1.1 else, through a proxy if this
//! machine has one.
//!
//! Unlike [`super::https_client`], whose password goes to the configured server or nowhere, this one crosses networks of
//! others on its way, so it honours `HTTPS_PROXY` and `NO_PROXY`, and tells a proxy's refusal from the Server's. What is
//! asked and what an answer means is for the caller.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper_util::client::proxy::matcher::Matcher;
use parking_lot::Mutex;
use reqwest::header;
use secrecy::ExposeSecret as _;
use thiserror::Error;

use super::collector_trust::{Memory, RootsOrKey};
use super::https_client::{Names, bounded_body, reason};
use super::resolve::{ResolveError, Resolver};
use super::tls::{ALPN_HTTP, TlsError, install_provider};
use super::verifier;
use crate::config::secret::Secret;
use crate::identity::time::UtcMillis;
use crate::runtime::clock;

pub use super::collector_trust::{SeenCertificate, ServerTrust, TrustedBy, hex};

/// For name, proxy, TCP and TLS together.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
/// For a whole request, the answer's body among it: a push over a slow line is large.
const DEADLINE: Duration = Duration::from_secs(60);
/// An idle connection is closed after this: longer than a Collector's heartbeat, shorter than a Server waits.
const IDLE: Duration = Duration::from_secs(60);
/// A connection of HTTP/2 that has died is found after so long without an answer to a ping.
const PING_EVERY: Duration = Duration::from_secs(20);
const PING_DEADLINE: Duration = Duration::from_secs(10);

/// Which way requests go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Proxies {
    /// As `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` say.
    #[default]
    OfEnvironment,
    /// Straight to the Server.
    None,
    /// Through this proxy.
    Through(String),
}

impl Proxies {
    /// The proxy for a URL, as `http://host:port` without credentials.
    #[must_use]
    pub fn for_url(&self, url: &str) -> Option<String> {
        let matcher = match self {
            Self::OfEnvironment => Matcher::from_system(),
            Self::None => return None,
            Self::Through(proxy) => Matcher::builder().https(proxy.as_str()).build(),
        };
        let used = matcher.intercept(&url.parse().ok()?)?;
        let uri = used.uri();
        let scheme = uri.scheme_str().unwrap_or("http");
        let port = uri.port().map(|port| format!(":{port}"));
        Some(format!(
            "{scheme}://{}{}",
            uri.host()?,
            port.unwrap_or_default()
        ))
    }
}

/// A client of one Server; cheap to clone.
#[derive(Clone, Debug)]
pub struct CollectorClient {
    client: reqwest::Client,
    proxies: Proxies,
    memory: Arc<Mutex<Memory>>,
}

/// What is sent; it may be a secret, so that it has no `Debug`.
pub struct JsonPost<'a> {
    /// Where.
    pub url: &'a str,
    /// A token for `Authorization: Bearer` (RFC 6750).
    pub token: Option<&'a Secret>,
    /// JSON.
    pub body: Bytes,
    /// The body is JSON compressed with gzip.
    pub gzip: bool,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerAnswer {
    /// The status, whatever it is.
    pub status: u16,
    /// Whether it came over HTTP/2.
    pub http2: bool,
    /// The Server's clock by its `Date`, to the second.
    pub date: Option<UtcMillis>,
    /// The body, at most [`super::https_client::MAX_ANSWER_BYTES`] of it.
    pub body: Vec<u8>,
}

/// Why a proxy does not connect us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxySays {
    /// It wants to know who we are (407).
    WhoAreYou,
    /// It does not want to, or cannot reach the Server.
    No,
    /// Nothing: it is not reached itself.
    Nothing,
}

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum CallError {
    /// The trusted certificates cannot be read.
    #[error(transparent)]
    Trust(#[from] TlsError),
    /// The client cannot be made.
    #[error("cannot make an HTTPS client: {0}")]
    Client(String),
    /// The name leads nowhere.
    #[error("the name is not found: {0}")]
    Name(String),
    /// Nobody listens there.
    #[error("nobody listens there: {0}")]
    NobodyListens(String),
    /// The proxy does not let us through.
    #[error("the proxy {proxy} does not connect us: {reason}")]
    Proxy {
        /// Which.
        proxy: String,
        /// What it said.
        reason: String,
        /// Why, as far as it matters for what to do.
        because: ProxySays,
    },
    /// Something else than TLS answers.
    #[error("what answers there speaks no TLS: {0}")]
    NoTls(String),
    /// TCP or TLS do not come about.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// The server's certificate is not trusted; nothing was sent.
    #[error("the certificate is not trusted: {}", .0.verdict.as_ref().err().map_or("", String::as_str))]
    Certificate(Box<SeenCertificate>),
    /// The certificate is not valid at the time of this machine; nothing was sent.
    #[error("the certificate is not valid now, by {} s: this machine's clock, or the certificate, is wrong", off_by.as_secs())]
    Clock {
        /// The certificate.
        seen: Box<SeenCertificate>,
        /// How far the time is off its life.
        off_by: Duration,
        /// It will be valid, but is not yet.
        early: bool,
    },
    /// No answer in time.
    #[error("no answer within {} s", DEADLINE.as_secs())]
    Late,
    /// The connection ended before the answer did.
    #[error("the connection was lost: {0}")]
    Lost(String),
}

impl CallError {
    /// What the operator can try; one sentence without full stop.
    #[must_use]
    pub fn remedy(&self) -> String {
        let said = match self {
            Self::Trust(error) => return error.remedy(),
            Self::Client(_) => "check the URL",
            Self::Name(_) => "check the host in the URL, or set `[dns] servers`",
            Self::NobodyListens(_) => {
                "check host and port of the URL, and that jims runs there with a [server]"
            }
            Self::Proxy { because, .. } => match because {
                ProxySays::WhoAreYou => {
                    "name user and password in HTTPS_PROXY, or the Server's host in NO_PROXY"
                }
                ProxySays::No => {
                    "have the proxy let CONNECT to the Server through, or name the Server's host in NO_PROXY"
                }
                ProxySays::Nothing => {
                    "check host and port of the proxy in HTTPS_PROXY, or name the Server's host in NO_PROXY"
                }
            },
            Self::NoTls(_) => "check the port of the URL: it must be that of the Server's HTTPS",
            Self::Connect(_) => {
                "check the URL, and that no firewall or proxy is between that breaks TLS"
            }
            Self::Certificate(seen) if seen.key_matches == Some(false) => {
                "something else answers in the Server's place, such as a proxy that opens TLS, or its key was replaced: exempt the Server from inspection, or get a new code"
            }
            Self::Certificate(_) => "name the file of its issuer with --ca-file",
            Self::Clock { early: true, .. } => {
                "set the clock of this machine (see `timedatectl`), or wait until the certificate is valid"
            }
            Self::Clock { .. } => {
                "set the clock of this machine (see `timedatectl`), or renew the Server's certificate"
            }
            Self::Late => "look at the load of the Server and at the line to it",
            Self::Lost(_) => "look at the Server's log; it may have restarted",
        };
        said.to_owned()
    }
}

impl CollectorClient {
    /// A client that takes the Server for whom it is told to; reads the CA file now.
    ///
    /// # Errors
    /// The trusted certificates cannot be read, or the proxy's URL is none.
    pub fn new(
        trust: &ServerTrust,
        proxies: Proxies,
        resolver: Resolver,
    ) -> Result<Self, CallError> {
        install_provider();
        let memory = Arc::<Mutex<Memory>>::default();
        let judge = RootsOrKey::new(trust, Arc::clone(&memory))?;
        let builder = reqwest::Client::builder()
            .tls_backend_preconfigured(verifier::judged(judge, ALPN_HTTP))
            .user_agent(concat!("jims/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .https_only(true)
            .dns_resolver(Arc::new(Names(resolver)))
            .connect_timeout(CONNECT_DEADLINE)
            .timeout(DEADLINE)
            .http2_keep_alive_interval(PING_EVERY)
            .http2_keep_alive_timeout(PING_DEADLINE)
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(1);
        let builder = match &proxies {
            Proxies::OfEnvironment => builder,
            Proxies::None => builder.no_proxy(),
            Proxies::Through(proxy) => {
                let proxy = reqwest::Proxy::https(proxy.as_str());
                builder.proxy(proxy.map_err(|error| CallError::Client(reason(&error)))?)
            }
        };
        let client = builder.build();
        Ok(Self {
            client: client.map_err(|error| CallError::Client(reason(&error)))?,
            proxies,
            memory,
        })
    }

    /// The certificate that was taken at the last connection.
    #[must_use]
    pub fn seen(&self) -> Option<SeenCertificate> {
        self.memory.lock().accepted.clone()
    }

    /// Asks for a page that tells nothing of us; connects if need be.
    ///
    /// # Errors
    /// There is no answer; an answer of any status is none.
    pub async fn get(&self, url: &str) -> Result<ServerAnswer, CallError> {
        self.send(url, self.client.get(url)).await
    }

    /// Sends JSON.
    ///
    /// # Errors
    /// As [`CollectorClient::get`].
    pub async fn post(&self, post: JsonPost<'_>) -> Result<ServerAnswer, CallError> {
        let mut request = self
            .client
            .post(post.url)
            .header(header::CONTENT_TYPE, "application/json");
        if post.gzip {
            request = request.header(header::CONTENT_ENCODING, "gzip");
        }
        if let Some(token) = post.token {
            request = request.bearer_auth(token.expose_secret());
        }
        self.send(post.url, request.body(post.body)).await
    }

    async fn send(
        &self,
        url: &str,
        request: reqwest::RequestBuilder,
    ) -> Result<ServerAnswer, CallError> {
        self.memory.lock().refused = None;
        let failed = |error: reqwest::Error| self.failure(url, &error);
        let mut answer = request.send().await.map_err(failed)?;
        let date = text(&answer, &header::DATE).and_then(date);
        Ok(ServerAnswer {
            status: answer.status().as_u16(),
            http2: answer.version() == reqwest::Version::HTTP_2,
            date,
            body: bounded_body(&mut answer).await.map_err(failed)?,
        })
    }

    fn failure(&self, url: &str, error: &reqwest::Error) -> CallError {
        if let Some(seen) = self.memory.lock().refused.take() {
            return refused_certificate(seen, clock::utc_now());
        }
        let said = reason(error);
        if let Some(proxy) = self.proxies.for_url(url)
            && let Some(because) = proxy_trouble(&said)
        {
            return CallError::Proxy {
                proxy,
                reason: said,
                because,
            };
        }
        if has::<ResolveError>(error, |_| true) {
            return CallError::Name(said);
        }
        let refused =
            |error: &std::io::Error| error.kind() == std::io::ErrorKind::ConnectionRefused;
        if has::<std::io::Error>(error, refused) {
            return CallError::NobodyListens(said);
        }
        if said.contains("InvalidContentType") || said.contains("corrupt message") {
            return CallError::NoTls(said);
        }
        if error.is_connect() {
            return CallError::Connect(said);
        }
        if error.is_timeout() {
            return CallError::Late;
        }
        CallError::Lost(said)
    }
}

/// A refused certificate outside its life says nothing else for sure: the time comes first.
fn refused_certificate(seen: SeenCertificate, now: UtcMillis) -> CallError {
    let (late, early) = (now.since(seen.not_after), seen.not_before.since(now));
    let off_by = late.max(early);
    if off_by.is_zero() {
        return CallError::Certificate(Box::new(seen));
    }
    CallError::Clock {
        seen: Box::new(seen),
        off_by,
        early: !early.is_zero(),
    }
}

/// What the proxy says, if words are those of a tunnel that did not come about: the client has no types for them.
fn proxy_trouble(said: &str) -> Option<ProxySays> {
    let words = [
        ("proxy authorization required", ProxySays::WhoAreYou),
        ("unsuccessful", ProxySays::No),
        ("unexpected end of file", ProxySays::No),
        ("io error establishing tunnel", ProxySays::No),
        ("proxy response headers too long", ProxySays::No),
        ("failed to create underlying connection", ProxySays::Nothing),
    ];
    let found = words.iter().find(|(words, _)| said.contains(words));
    found.map(|(_, says)| *says)
}

/// Whether the error has a cause of this type, of which that is so.
fn has<T: Error + 'static>(error: &reqwest::Error, is_so: impl Fn(&T) -> bool) -> bool {
    let mut next: Option<&(dyn Error + 'static)> = error.source();
    while let Some(cause) = next {
        if cause.downcast_ref::<T>().is_some_and(&is_so) {
            return true;
        }
        next = cause.source();
    }
    false
}

fn text<'a>(answer: &'a reqwest::Response, name: &header::HeaderName) -> Option<&'a str> {
    answer.headers().get(name)?.to_str().ok()
}

/// The instant of a `Date` (RFC 9110, 5.6.7).
fn date(text: &str) -> Option<UtcMillis> {
    let zoned = jiff::fmt::rfc2822::parse(text).ok()?;
    Some(UtcMillis(zoned.timestamp().as_millisecond()))
}
