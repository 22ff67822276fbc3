//! Requests of ours to somebody's HTTPS server: one client, one trust, bounded in time and in what it reads.
//!
//! Whom to trust is decided by a file of certificates, by the fingerprint of one certificate, by both, or by this
//! machine's roots. Redirects are not followed and proxies not used: a password goes to the configured server or
//! nowhere. What is asked and what an answer means is for the caller.

use std::error::Error as _;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use rustls::CertificateError;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use secrecy::ExposeSecret as _;
use sha2::{Digest, Sha256};
use thiserror::Error;
use tokio::net::TcpStream;

use super::resolve::Resolver;
use super::tls::{TlsError, fingerprint, install_provider, trusted_roots};
use super::verifier::{self, Judge, Shown};
use crate::config::secret::Secret;

/// For name, TCP and TLS together.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
/// For a whole request, the answer's body among it.
const DEADLINE: Duration = Duration::from_secs(30);
/// An idle connection is closed after this: shorter than what servers commonly allow.
const IDLE: Duration = Duration::from_secs(20);
/// Most bytes of an answer that are read; the rest is not waited for.
pub const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// Whom a client trusts. Neither: this machine's roots.
#[derive(Clone, Copy, Debug, Default)]
pub struct Trust<'a> {
    /// Only issuers of this file.
    pub ca_file: Option<&'a Path>,
    /// Only the certificate with this SHA-256; its names and its life do not matter unless `ca_file` is there too.
    pub certificate_sha256: Option<[u8; 32]>,
}

/// A client of one server.
#[derive(Clone, Debug)]
pub struct HttpsClient {
    client: reqwest::Client,
    resolver: Resolver,
    refused: Arc<Mutex<Option<RefusedCertificate>>>,
}

/// One request.
#[derive(Clone, Debug)]
pub struct Post<'a> {
    /// Where.
    pub url: &'a str,
    /// HTTP Basic (RFC 7617).
    pub user: &'a str,
    /// Its password.
    pub password: &'a Secret,
    /// `Content-Type`.
    pub content_type: &'static str,
    /// The body.
    pub body: Bytes,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status, whatever it is.
    pub status: u16,
    /// The body, at most [`MAX_ANSWER_BYTES`] of it.
    pub body: Vec<u8>,
}

/// A certificate that was not trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
struct RefusedCertificate {
    /// `AB:CD:…`
    fingerprint: String,
    reason: String,
}

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum HttpsError {
    /// The trusted certificates cannot be read.
    #[error(transparent)]
    Trust(#[from] TlsError),
    /// The client cannot be made.
    #[error("cannot make an HTTPS client: {0}")]
    Client(String),
    /// Nobody listens there, the name leads nowhere, or TLS does not come about.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// The server's certificate is not trusted.
    #[error("the certificate is not trusted: {reason} (SHA-256 {fingerprint})")]
    Certificate {
        /// What is wrong with it.
        reason: String,
        /// Its fingerprint.
        fingerprint: String,
    },
    /// No answer in time.
    #[error("no answer within {} s", DEADLINE.as_secs())]
    Late,
    /// The connection ended before the answer did.
    #[error("the connection was lost: {0}")]
    Lost(String),
}

impl HttpsError {
    /// What the operator can try; one sentence without full stop.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::Trust(error) => error.remedy(),
            Self::Client(_) => "check url".to_owned(),
            Self::Connect(_) => {
                "check url, that HTTPS is enabled there and that no firewall is between".to_owned()
            }
            Self::Certificate { fingerprint, .. } => format!(
                "if this is the right server, trust its certificate: certificate_sha256 = \"{fingerprint}\"; or name its issuer in ca_file"
            ),
            Self::Late => "look at the load of the server and at the line to it".to_owned(),
            Self::Lost(_) => "look at the server's log; it may have restarted".to_owned(),
        }
    }
}

impl HttpsClient {
    /// A client that trusts whom it is told to; reads the files of `trust` now.
    ///
    /// # Errors
    /// The trusted certificates cannot be read.
    pub fn new(trust: Trust<'_>, resolver: Resolver) -> Result<Self, HttpsError> {
        install_provider();
        let refused = Arc::new(Mutex::new(None));
        let judge = ByFileOrPin::new(trust, Arc::clone(&refused))?;
        let tls = verifier::judged(judge, &[b"http/1.1"]);
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .user_agent(concat!("jims/", env!("CARGO_PKG_VERSION")))
            .http1_only()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .dns_resolver(Arc::new(Names(resolver.clone())))
            .connect_timeout(CONNECT_DEADLINE)
            .timeout(DEADLINE)
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(1)
            .build()
            .map_err(|error| HttpsError::Client(reason(&error)))?;
        Ok(Self {
            client,
            resolver,
            refused,
        })
    }

    /// Sends a request and reads its answer.
    ///
    /// # Errors
    /// There is no answer; an answer of any status is none.
    pub async fn post(&self, post: Post<'_>) -> Result<Answer, HttpsError> {
        *self.refused.lock() = None;
        let sent = self
            .client
            .post(post.url)
            .basic_auth(post.user, Some(post.password.expose_secret()))
            .header(reqwest::header::CONTENT_TYPE, post.content_type)
            .body(post.body)
            .send();
        let mut answer = sent.await.map_err(|error| self.failure(&error))?;
        let status = answer.status().as_u16();
        let body = bounded_body(&mut answer).await;
        let body = body.map_err(|error| self.failure(&error))?;
        Ok(Answer { status, body })
    }

    /// Whether somebody listens at a URL: a TCP connection that says nothing and is closed at once.
    ///
    /// # Errors
    /// Nobody does, or the name leads nowhere.
    pub async fn look(&self, url: &str) -> Result<(), HttpsError> {
        let url =
            reqwest::Url::parse(url).map_err(|error| HttpsError::Client(error.to_string()))?;
        let (host, port) = (url.host_str(), url.port_or_known_default());
        let host = host.unwrap_or_default().trim_matches(['[', ']']);
        let connect = async {
            let found = self.resolver.addresses(host).await;
            let found = found.map_err(|error| HttpsError::Connect(error.to_string()))?;
            let port = port.unwrap_or_default();
            let targets: Vec<_> = found
                .into_iter()
                .map(|ip| SocketAddr::new(ip, port))
                .collect();
            let connected = TcpStream::connect(&*targets).await;
            connected.map_err(|error| HttpsError::Connect(error.to_string()))
        };
        match tokio::time::timeout(CONNECT_DEADLINE, connect).await {
            Ok(connected) => connected.map(drop),
            Err(_late) => Err(HttpsError::Connect("no answer in time".to_owned())),
        }
    }

    fn failure(&self, error: &reqwest::Error) -> HttpsError {
        if let Some(refused) = self.refused.lock().take() {
            return HttpsError::Certificate {
                reason: refused.reason,
                fingerprint: refused.fingerprint,
            };
        }
        if error.is_connect() {
            return HttpsError::Connect(reason(error));
        }
        if error.is_timeout() {
            return HttpsError::Late;
        }
        HttpsError::Lost(reason(error))
    }
}

/// The body, at most [`MAX_ANSWER_BYTES`] of it.
pub(super) async fn bounded_body(answer: &mut reqwest::Response) -> reqwest::Result<Vec<u8>> {
    let mut body = Vec::new();
    while body.len() < MAX_ANSWER_BYTES
        && let Some(chunk) = answer.chunk().await?
    {
        let room = MAX_ANSWER_BYTES - body.len();
        body.extend_from_slice(chunk.get(..room).unwrap_or(&chunk));
    }
    Ok(body)
}

/// The innermost reasons, without the address, which the caller knows, and without the names of the client's own parts.
pub(super) fn reason(error: &reqwest::Error) -> String {
    let mut text = String::new();
    let mut next = error.source();
    while let Some(cause) = next {
        let said = cause.to_string();
        let says_where = said.starts_with("client error (") && cause.source().is_some();
        if !says_where && !text.ends_with(&said) {
            let separator = if text.is_empty() { "" } else { ": " };
            // Writing to a `String` cannot fail.
            let _ = write!(text, "{separator}{said}");
        }
        next = cause.source();
    }
    if text.is_empty() {
        return error.to_string();
    }
    text
}

/// Names are found as everywhere else in this process.
#[derive(Debug)]
pub(super) struct Names(pub(super) Resolver);

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        let resolver = self.0.clone();
        Box::pin(async move {
            let found = resolver.addresses(name.as_str()).await?;
            let with_port = found.into_iter().map(|address| SocketAddr::new(address, 0));
            Ok(Box::new(with_port) as Addrs)
        })
    }
}

/// Judges certificates, and keeps what it refused for a message that helps.
#[derive(Debug)]
struct ByFileOrPin {
    issuers: Option<Arc<WebPkiServerVerifier>>,
    pin: Option<[u8; 32]>,
    refused: Arc<Mutex<Option<RefusedCertificate>>>,
}

impl ByFileOrPin {
    fn new(
        trust: Trust<'_>,
        refused: Arc<Mutex<Option<RefusedCertificate>>>,
    ) -> Result<Self, HttpsError> {
        let by_issuer = trust.ca_file.is_some() || trust.certificate_sha256.is_none();
        let issuers = by_issuer.then(|| {
            let roots = Arc::new(trusted_roots(trust.ca_file)?);
            WebPkiServerVerifier::builder_with_provider(roots, verifier::provider())
                .build()
                .map_err(|error| HttpsError::Client(error.to_string()))
        });
        Ok(Self {
            issuers: issuers.transpose()?,
            pin: trust.certificate_sha256,
            refused,
        })
    }

    fn decide(&self, shown: &Shown<'_>) -> Result<(), (rustls::Error, String)> {
        if let Some(pin) = self.pin {
            let digest: [u8; 32] = Sha256::digest(shown.end_entity).into();
            if digest != pin {
                return Err((
                    CertificateError::ApplicationVerificationFailure.into(),
                    "it is another than the one of certificate_sha256".to_owned(),
                ));
            }
        }
        if let Some(issuers) = &self.issuers {
            issuers
                .verify_server_cert(
                    shown.end_entity,
                    shown.intermediates,
                    shown.server_name,
                    shown.ocsp_response,
                    shown.now,
                )
                .map_err(|error| {
                    let reason = refusal_of(&error);
                    (error, reason)
                })?;
        }
        Ok(())
    }
}

impl Judge for ByFileOrPin {
    fn judge(&self, shown: &Shown<'_>) -> Result<(), rustls::Error> {
        self.decide(shown).map_err(|(error, reason)| {
            *self.refused.lock() = Some(RefusedCertificate {
                fingerprint: fingerprint(shown.end_entity),
                reason,
            });
            error
        })
    }
}

/// What is wrong with a certificate, without the words that go before it.
pub(super) fn refusal_of(error: &rustls::Error) -> String {
    let rustls::Error::InvalidCertificate(problem) = error else {
        return error.to_string();
    };
    match problem {
        CertificateError::UnknownIssuer => "its issuer is not known here".to_owned(),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "it is for another name".to_owned()
        }
        CertificateError::Other(other) => match other.0.to_string().as_str() {
            // What `openssl req -x509` makes unless told otherwise; the word is webpki's.
            "CaUsedAsEndEntity" => "it is that of an issuer (CA:TRUE), not of a server".to_owned(),
            said => said.to_owned(),
        },
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_certificate_is_said_in_words() {
        use rustls::OtherError;
        #[derive(Debug, Error)]
        #[error("{0}")]
        struct Said(&'static str);
        let other = |said| CertificateError::Other(OtherError(Arc::new(Said(said))));
        for (problem, words) in [
            (
                CertificateError::UnknownIssuer,
                "its issuer is not known here",
            ),
            (CertificateError::NotValidForName, "it is for another name"),
            (
                other("CaUsedAsEndEntity"),
                "it is that of an issuer (CA:TRUE), not of a server",
            ),
            (other("MissingPiece"), "MissingPiece"),
        ] {
            assert_eq!(
                refusal_of(&rustls::Error::InvalidCertificate(problem)),
                words
            );
        }
    }
}
