//! Connections to LDAP servers: the one file that wraps the `ldap3` client.
//!
//! TCP, TLS and StartTLS are opened here, so that every step has its deadline and its own error; `ldap3` gets one end of
//! a local stream and sees only messages that [`crate::wire::ldap`] has checked. The connection is driven by whoever
//! waits for an answer: nothing runs in the background, and a dropped [`Connection`] is closed. Referrals are dropped,
//! never followed. What entries mean is decided in `directory/`.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use ldap3::asn1::{PL, StructureTag};
use ldap3::controls::{PagedResults, RawControl};
use ldap3::{Ldap, LdapConnAsync, LdapConnSettings, Scope, StdStream};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::ldap_error::LdapError;
use super::resolve::{ResolveError, Resolver};
use super::security::{AuthError, Negotiated, Negotiation};
use crate::wire::ldap::{self, Attribute, BadMessage, Entry, Kind};

/// For the TCP connection to one address.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
/// For the TLS handshake, StartTLS included.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);
/// For the answer to a bind.
const BIND_DEADLINE: Duration = Duration::from_secs(15);
/// For a sign-on by Kerberos or NTLM, tickets included.
const SIGN_ON_DEADLINE: Duration = Duration::from_secs(45);
/// For one search or one page of it.
const SEARCH_DEADLINE: Duration = Duration::from_secs(60);
/// Addresses of one host that are tried.
const MAX_ADDRESSES: usize = 8;
/// Entries taken of one page, whatever was asked for.
const MAX_ENTRIES: usize = 10_000;
/// Bytes of values taken of one page.
const MAX_PAGE_BYTES: usize = 256 << 20;

/// Read from the socket at a time.
const READ_BYTES: usize = 64 << 10;

const PAGED_RESULTS: &str = "1.2.840.113556.1.4.319";
const SHOW_DELETED: &str = "1.2.840.113556.1.4.417";
/// Names carry GUID and SID before them (MS-ADTS 3.1.1.3.4.1.5).
const EXTENDED_DN: &str = "1.2.840.113556.1.4.529";
/// The control's value: a sequence of one integer, 0 for hexadecimal digits.
const EXTENDED_DN_HEX: &[u8] = &[0x30, 3, 2, 1, 0];

/// How a connection is protected.
#[derive(Clone, Debug)]
pub enum Protection {
    /// TLS from the first byte.
    Ldaps(Arc<ClientConfig>),
    /// TLS after the StartTLS operation.
    StartTls(Arc<ClientConfig>),
    /// Clear text.
    None,
}

/// Where to search, for what, and how.
#[derive(Clone, Copy, Debug)]
pub struct Search<'a> {
    /// Distinguished name of the base; empty with [`Search::base_only`]: the server's own facts.
    pub base: &'a str,
    /// Only the base itself, not what is below.
    pub base_only: bool,
    /// RFC 4515 filter.
    pub filter: &'a str,
    /// Attributes wanted.
    pub attributes: &'a [&'a str],
    /// Entries a page and the cookie of the page before (empty: the first page).
    pub page: Option<(u32, &'a [u8])>,
    /// Also deleted objects.
    pub show_deleted: bool,
    /// Names with GUID and SID.
    pub extended_dn: bool,
}

/// What a search, or one page of it, found.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The entries.
    pub entries: Vec<Entry>,
    /// Entries that could not be read at all.
    pub malformed: usize,
    /// Asks for the next page; empty: there is none.
    pub cookie: Vec<u8>,
}

/// An open connection.
pub struct Connection {
    ldap: Ldap,
    /// Moves bytes between socket and client while somebody waits; `None` once it ended.
    driver: Option<Pin<Box<dyn Future<Output = LdapError> + Send>>>,
    host: String,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("host", &self.host)
            .finish_non_exhaustive()
    }
}

impl Connection {
    /// Connects and protects the connection; does not bind.
    ///
    /// # Errors
    /// [`LdapError`]: the name, the connection, the certificate, StartTLS refused.
    pub async fn open(
        resolver: &Resolver,
        host: &str,
        port: u16,
        protection: &Protection,
    ) -> Result<Self, LdapError> {
        let tcp = connect(resolver, host, port).await?;
        match protection {
            Protection::None => Self::over(tcp, host).await,
            Protection::Ldaps(config) => {
                Self::over(tls(tcp, host, Arc::clone(config)).await?, host).await
            }
            Protection::StartTls(config) => {
                let tcp =
                    within(HANDSHAKE_DEADLINE, host, "StartTLS", start_tls(tcp, host)).await?;
                Self::over(tls(tcp, host, Arc::clone(config)).await?, host).await
            }
        }
    }

    /// Connects, protects the connection by TLS, and signs on by Kerberos or NTLM inside it. `negotiate` is given the
    /// server's certificate (DER), for channel binding.
    ///
    /// # Errors
    /// [`LdapError`]: as of [`Connection::open`], or why the sign-on failed.
    pub async fn open_signed_on(
        resolver: &Resolver,
        (host, port): (&str, u16),
        protection: &Protection,
        negotiate: impl FnOnce(&[u8]) -> Result<Negotiation, AuthError>,
    ) -> Result<(Self, Negotiated), LdapError> {
        let tcp = connect(resolver, host, port).await?;
        let mut stream = match protection {
            Protection::Ldaps(config) => tls(tcp, host, Arc::clone(config)).await?,
            Protection::StartTls(config) => {
                let tcp =
                    within(HANDSHAKE_DEADLINE, host, "StartTLS", start_tls(tcp, host)).await?;
                tls(tcp, host, Arc::clone(config)).await?
            }
            // Nothing would protect what follows the sign-on; the configuration refuses it.
            Protection::None => {
                return Err(LdapError::Closed {
                    host: host.to_owned(),
                    doing: "a sign-on without TLS",
                });
            }
        };
        let certificates = stream.get_ref().1.peer_certificates();
        let certificate = certificates.and_then(|chain| chain.first());
        let negotiation = negotiate(certificate.map_or(&[], |first| first));
        let negotiation = negotiation.map_err(|source| LdapError::Auth {
            host: host.to_owned(),
            source,
        })?;
        let signing_on = super::ldap_bind::sign_on(&mut stream, host, negotiation);
        let negotiated = within(SIGN_ON_DEADLINE, host, "the sign-on", signing_on).await?;
        Ok((Self::over(stream, host).await?, negotiated))
    }

    /// Signs on with a name (UPN, `DOMAIN\user` or distinguished name) and a password.
    ///
    /// # Errors
    /// [`LdapError::Result`] if the server refuses, or whatever broke the connection.
    pub async fn bind(&mut self, user: &str, password: &str) -> Result<(), LdapError> {
        let mut ldap = self.ldap.clone();
        let result = self
            .driven("the bind", BIND_DEADLINE, ldap.simple_bind(user, password))
            .await?;
        self.succeed("the bind", result)
    }

    /// Searches; returns one page, or everything where no page is asked for.
    ///
    /// # Errors
    /// [`LdapError::Result`] if the server refuses, or whatever broke the connection.
    pub async fn search(&mut self, search: &Search<'_>) -> Result<Page, LdapError> {
        const DOING: &str = "a search";
        let mut ldap = self.ldap.clone();
        let host = self.host.clone();
        let operation = async {
            let mut stream = ldap
                .with_controls(controls(search))
                .streaming_search(
                    search.base,
                    if search.base_only {
                        Scope::Base
                    } else {
                        Scope::Subtree
                    },
                    search.filter,
                    search.attributes.to_vec(),
                )
                .await?;
            let mut page = Page::default();
            let mut bytes = 0;
            while let Some(found) = stream.next().await? {
                match entry(found.0) {
                    Some((entry, size)) => {
                        bytes += size;
                        page.entries.push(entry);
                    }
                    None => page.malformed += 1,
                }
                if page.entries.len() > MAX_ENTRIES || bytes > MAX_PAGE_BYTES {
                    return Ok((page, None));
                }
            }
            Ok((page, Some(stream.finish().await)))
        };
        let (mut page, result) = self.driven(DOING, SEARCH_DEADLINE, operation).await?;
        let Some(result) = result else {
            return Err(LdapError::TooMuch { host });
        };
        for control in &result.ctrls {
            if control.1.ctype == PAGED_RESULTS {
                let value = control.1.val.as_deref().unwrap_or_default();
                page.cookie = ldap::paged_cookie(value).map_err(|reason| LdapError::Protocol {
                    host: host.clone(),
                    reason,
                })?;
            }
        }
        self.succeed(DOING, result)?;
        Ok(page)
    }

    /// The host as it was given to [`Connection::open`].
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// A client over a stream that is ready for LDAP.
    async fn over<S>(stream: S, host: &str) -> Result<Self, LdapError>
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        let broken = |source: io::Error| LdapError::Io {
            host: host.to_owned(),
            source,
        };
        let (ours, theirs) = UnixStream::pair().map_err(broken)?;
        let theirs = theirs.into_std().map_err(broken)?;
        let settings = LdapConnSettings::new().set_std_stream(StdStream::Unix(theirs));
        let (connection, ldap) = LdapConnAsync::with_settings(settings, "ldapi:///")
            .await
            .map_err(|error| LdapError::client(host, error))?;
        let relay = relay(stream, ours, host.to_owned());
        let name = host.to_owned();
        let driver = async move {
            tokio::select! {
                error = relay => error,
                _ = connection.drive() => LdapError::Closed { host: name, doing: "a conversation" },
            }
        };
        Ok(Self {
            ldap,
            driver: Some(Box::pin(driver)),
            host: host.to_owned(),
        })
    }

    /// Waits for an operation while driving the connection, at most `deadline`.
    async fn driven<T>(
        &mut self,
        doing: &'static str,
        deadline: Duration,
        operation: impl Future<Output = ldap3::result::Result<T>>,
    ) -> Result<T, LdapError> {
        let Some(driver) = self.driver.as_mut() else {
            return Err(LdapError::Closed {
                host: self.host.clone(),
                doing,
            });
        };
        let ended = tokio::select! {
            biased;
            answer = operation => {
                return answer.map_err(|error| LdapError::client(&self.host, error));
            }
            error = driver => error,
            () = tokio::time::sleep(deadline) => LdapError::TimedOut {
                host: self.host.clone(),
                doing,
                after: deadline,
            },
        };
        self.driver = None;
        Err(ended)
    }

    fn succeed(&self, doing: &'static str, result: ldap3::LdapResult) -> Result<(), LdapError> {
        if result.rc == 0 {
            return Ok(());
        }
        Err(LdapError::Result {
            host: self.host.clone(),
            doing,
            code: result.rc,
            text: result.text,
        })
    }
}

fn controls(search: &Search<'_>) -> Vec<RawControl> {
    let control = |oid: &str, value: Option<&[u8]>| RawControl {
        ctype: oid.to_owned(),
        crit: true,
        val: value.map(<[u8]>::to_vec),
    };
    let mut controls = Vec::new();
    if let Some((size, cookie)) = search.page {
        let mut paged = RawControl::from(PagedResults {
            size: i32::try_from(size).unwrap_or(i32::MAX),
            cookie: cookie.to_vec(),
        });
        paged.crit = true;
        controls.push(paged);
    }
    if search.show_deleted {
        controls.push(control(SHOW_DELETED, None));
    }
    if search.extended_dn {
        controls.push(control(EXTENDED_DN, Some(EXTENDED_DN_HEX)));
    }
    controls
}

/// An entry out of the library's structure, with the bytes it takes; `None` if it is not one.
fn entry(tag: StructureTag) -> Option<(Entry, usize)> {
    let mut parts = constructed(tag)?.into_iter();
    let mut entry = Entry {
        dn: String::from_utf8(primitive(parts.next()?)?).ok()?,
        attributes: Vec::new(),
    };
    let mut bytes = entry.dn.len();
    for attribute in constructed(parts.next()?)? {
        let mut parts = constructed(attribute)?.into_iter();
        let name = String::from_utf8(primitive(parts.next()?)?).ok()?;
        let values = constructed(parts.next()?)?
            .into_iter()
            .map(primitive)
            .collect::<Option<Vec<_>>>()?;
        bytes += values.iter().map(Vec::len).sum::<usize>();
        entry.attributes.push(Attribute { name, values });
    }
    Some((entry, bytes))
}

fn constructed(tag: StructureTag) -> Option<Vec<StructureTag>> {
    match tag.payload {
        PL::C(parts) => Some(parts),
        PL::P(_) => None,
    }
}

fn primitive(tag: StructureTag) -> Option<Vec<u8>> {
    match tag.payload {
        PL::P(bytes) => Some(bytes),
        PL::C(_) => None,
    }
}

async fn connect(resolver: &Resolver, host: &str, port: u16) -> Result<TcpStream, LdapError> {
    let addresses = resolver.addresses(host).await?;
    let mut last = LdapError::Name(ResolveError::None {
        name: host.to_owned(),
        what: "addresses",
    });
    for address in addresses.into_iter().take(MAX_ADDRESSES) {
        let address = SocketAddr::new(address, port);
        match timeout(CONNECT_DEADLINE, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // Requests are small and each waits for its answer; a failure only costs time.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(source)) => {
                last = LdapError::Connect {
                    host: host.to_owned(),
                    address,
                    source,
                };
            }
            Err(_) => {
                last = LdapError::TimedOut {
                    host: host.to_owned(),
                    doing: "connecting",
                    after: CONNECT_DEADLINE,
                };
            }
        }
    }
    Err(last)
}

async fn tls(
    stream: TcpStream,
    host: &str,
    config: Arc<ClientConfig>,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, LdapError> {
    let name = ServerName::try_from(host.to_owned()).map_err(|_| {
        LdapError::Name(ResolveError::Lookup {
            name: host.to_owned(),
            reason: "not a name that a certificate can hold".to_owned(),
        })
    })?;
    let connector = tokio_rustls::TlsConnector::from(config);
    within(HANDSHAKE_DEADLINE, host, "the TLS handshake", async {
        connector
            .connect(name, stream)
            .await
            .map_err(|error| LdapError::handshake(host, error))
    })
    .await
}

/// Asks for StartTLS; the answer is read exactly, so that the handshake's first byte stays in the socket.
async fn start_tls(mut stream: TcpStream, host: &str) -> Result<TcpStream, LdapError> {
    const DOING: &str = "StartTLS";
    let request = ldap::start_tls_request();
    let answer = super::ldap_bind::exchange(&mut stream, host, DOING, &request).await?;
    let (code, text) = ldap::result(&answer).map_err(|reason| LdapError::Protocol {
        host: host.to_owned(),
        reason,
    })?;
    if code == 0 {
        return Ok(stream);
    }
    Err(LdapError::Result {
        host: host.to_owned(),
        doing: DOING,
        code,
        text,
    })
}

/// Moves bytes both ways until an end; towards the client only whole, checked messages that it knows.
async fn relay<S>(server: S, client: UnixStream, host: String) -> LdapError
where
    S: AsyncRead + AsyncWrite,
{
    let (mut from_server, mut to_server) = tokio::io::split(server);
    let (mut from_client, mut to_client) = client.into_split();
    let upwards = async {
        let copied = tokio::io::copy(&mut from_client, &mut to_server).await;
        // The client never ends before the connection is dropped.
        copied.err()
    };
    let downwards = async {
        let mut buffer = BytesMut::new();
        loop {
            while let Some(length) = ldap::message_length(&buffer).map_err(Broken::Bad)? {
                if buffer.len() < length {
                    break;
                }
                let message = buffer.split_to(length);
                match ldap::check(&message).map_err(Broken::Bad)? {
                    Kind::Result | Kind::Entry => to_client.write_all(&message).await?,
                    Kind::Aside => {}
                    Kind::Notice => {
                        return Err(Broken::Notice(ldap::result(&message).map_err(Broken::Bad)?));
                    }
                }
            }
            buffer.reserve(READ_BYTES);
            if from_server.read_buf(&mut buffer).await? == 0 {
                return Err(Broken::Closed);
            }
        }
    };
    let downwards: Result<std::convert::Infallible, Broken> = tokio::select! {
        broken = downwards => broken,
        failed = upwards => Err(failed.map_or(Broken::Closed, Broken::Io)),
    };
    let Err(broken) = downwards;
    match broken {
        Broken::Bad(reason) => LdapError::Protocol { host, reason },
        Broken::Io(source) => LdapError::Io { host, source },
        Broken::Closed => LdapError::Closed {
            host,
            doing: "a conversation",
        },
        Broken::Notice((code, text)) => LdapError::Result {
            host,
            doing: "a conversation",
            code,
            text,
        },
    }
}

/// Why bytes move no more.
enum Broken {
    Bad(BadMessage),
    Io(io::Error),
    Closed,
    Notice((u32, String)),
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

async fn within<T>(
    deadline: Duration,
    host: &str,
    doing: &'static str,
    work: impl Future<Output = Result<T, LdapError>>,
) -> Result<T, LdapError> {
    timeout(deadline, work).await.unwrap_or_else(|_| {
        Err(LdapError::TimedOut {
            host: host.to_owned(),
            doing,
            after: deadline,
        })
    })
}
