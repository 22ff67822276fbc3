//! Finding a host, connecting, and opening an association: what happens before the first call.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::client::Proof;
use super::link::{Ended, Link};
use super::{RpcClient, RpcError};
use crate::net::resolve::{ResolveError, Resolver};
use crate::net::security::{AuthError, Negotiated, Negotiation, Step};
use crate::runtime::clock::monotonic_now;
use crate::runtime::supervisor::Tasks;
use crate::wire::dcerpc::SyntaxId;
use crate::wire::dcerpc::association::{
    Association, Call, CallFailure, CloseReason, Config, Event, FirstToken, UsageError,
};
use crate::wire::dcerpc::bind::ContextResult;
use crate::wire::epm;
use crate::wire::security::SecurityContext;

/// For the TCP connection to one address.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
/// For the endpoint mapper's answer, bind included.
const ENDPOINT_DEADLINE: Duration = Duration::from_secs(10);
/// For one answer of the server during a bind.
const ANSWER_DEADLINE: Duration = Duration::from_secs(15);
/// For a whole bind, tickets included.
const BIND_DEADLINE: Duration = Duration::from_secs(60);
/// Addresses of one host that are tried.
const MAX_ADDRESSES: usize = 8;
/// Rounds of tokens; SPNEGO takes three.
const MAX_ROUNDS: usize = 8;

/// A silent connection is asked whether it lives after this long.
const KEEP_ALIVE_IDLE: Duration = Duration::from_secs(30);
/// And then this often.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// SPNEGO, whose last token the server answers (MS-RPCE 2.2.1.1.7).
const SPNEGO: u8 = 9;

/// What a bind needs of a negotiation.
pub trait TokenExchange: Send {
    /// The kind of security: 9 SPNEGO, 10 NTLM, 16 Kerberos.
    fn auth_type(&self) -> u8;

    /// Takes the server's token, gives the next one.
    fn step(
        &mut self,
        input: Option<&[u8]>,
    ) -> impl Future<Output = Result<Step, AuthError>> + Send;

    /// What came of it.
    ///
    /// # Errors
    /// The negotiation is not done or not good enough.
    fn finish(self) -> Result<(Box<dyn SecurityContext>, Negotiated), AuthError>;
}

impl TokenExchange for Negotiation {
    fn auth_type(&self) -> u8 {
        Negotiation::auth_type(self)
    }

    async fn step(&mut self, input: Option<&[u8]>) -> Result<Step, AuthError> {
        Negotiation::step(self, input).await
    }

    fn finish(self) -> Result<(Box<dyn SecurityContext>, Negotiated), AuthError> {
        Negotiation::finish(self)
    }
}

/// An open TCP connection without an association.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    host: String,
    address: SocketAddr,
}

impl Connection {
    /// Looks the host up and connects; its addresses are tried in turn.
    ///
    /// # Errors
    /// [`RpcError::Name`], [`RpcError::Refused`], [`RpcError::Unreachable`] or [`RpcError::TimedOut`], of the last
    /// address tried.
    pub async fn open(resolver: &Resolver, host: &str, port: u16) -> Result<Self, RpcError> {
        let name = |source: ResolveError| RpcError::Name {
            host: host.to_owned(),
            source,
        };
        let looked_up = resolver.addresses(host).await.map_err(name)?;
        let mut last = name(ResolveError::None {
            name: host.to_owned(),
            what: "addresses",
        });
        for address in looked_up.into_iter().take(MAX_ADDRESSES) {
            let address = SocketAddr::new(address, port);
            match connect(host, address).await {
                Ok(stream) => {
                    return Ok(Self {
                        stream,
                        host: host.to_owned(),
                        address,
                    });
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// The address that answered.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Asks the endpoint mapper at the other end for the port of an interface, without signing on.
    ///
    /// # Errors
    /// [`RpcError::NotRegistered`], or whatever broke the exchange.
    pub async fn endpoint(self, interface: SyntaxId) -> Result<u16, RpcError> {
        let host = self.host.clone();
        let doing = "the question for a port";
        within(ENDPOINT_DEADLINE, &host, doing, async {
            let (mut link, host) = self.link();
            bind_anonymously(&mut link, &host, epm::INTERFACE).await?;
            let call = Call {
                context: 0,
                opnum: epm::EPT_MAP,
                object: None,
                stub: epm::request(interface),
                limit: epm::MAX_REPLY_BYTES,
                deadline: None,
            };
            let usage = |reason| RpcError::Usage {
                host: host.clone(),
                reason,
            };
            link.association.call(call).map_err(usage)?;
            let data = match event(&mut link, &host).await? {
                Event::Reply { data, .. } => data,
                Event::Failed { failure, .. } => return Err(call_failed(&host, failure)),
                _ => return Err(out_of_turn(&host)),
            };
            epm::port(&data, interface).map_err(|reason| match reason {
                epm::EpmError::NotRegistered => RpcError::NotRegistered {
                    host: host.clone(),
                    interface,
                },
                reason => RpcError::EndpointMapper {
                    host: host.clone(),
                    reason,
                },
            })
        })
        .await
    }

    /// Opens a protected association for an interface, which gets the number 0; a task of its own drives it.
    ///
    /// # Errors
    /// [`RpcError`]: the server refuses, the sign-on fails, or whatever broke the exchange.
    pub async fn bind<N: TokenExchange>(
        self,
        tasks: &Tasks,
        interface: SyntaxId,
        negotiation: N,
    ) -> Result<RpcClient, RpcError> {
        let host = self.host.clone();
        let address = self.address;
        let auth_type = negotiation.auth_type();
        let (link, negotiated) = within(BIND_DEADLINE, &host, "the bind", async {
            let (mut link, host) = self.link();
            let negotiated = sign_on(&mut link, &host, interface, negotiation).await?;
            Ok((link, negotiated))
        })
        .await?;
        let proof = Proof::of(auth_type);
        Ok(RpcClient::start(
            tasks,
            link,
            (host, address),
            Some(negotiated),
            proof,
        ))
    }

    /// Opens an association without protection.
    ///
    /// # Errors
    /// [`RpcError`]: the server refuses, or whatever broke the exchange.
    pub async fn bind_anonymously(
        self,
        tasks: &Tasks,
        interface: SyntaxId,
    ) -> Result<RpcClient, RpcError> {
        let host = self.host.clone();
        let address = self.address;
        let link = within(BIND_DEADLINE, &host, "the bind", async {
            let (mut link, host) = self.link();
            bind_anonymously(&mut link, &host, interface).await?;
            Ok(link)
        })
        .await?;
        let proof = Proof::Given;
        Ok(RpcClient::start(tasks, link, (host, address), None, proof))
    }

    fn link(self) -> (Link, String) {
        let association = Association::new(Config::default());
        (Link::new(self.stream, association), self.host)
    }
}

/// Connects to one address.
async fn connect(host: &str, address: SocketAddr) -> Result<TcpStream, RpcError> {
    let connected = within(CONNECT_DEADLINE, host, "connecting", async {
        TcpStream::connect(address).await.map_err(|source| {
            let host = host.to_owned();
            match source.kind() {
                io::ErrorKind::ConnectionRefused => RpcError::Refused { host, address },
                _ => RpcError::Unreachable {
                    host,
                    address,
                    source,
                },
            }
        })
    })
    .await?;
    // A failure only costs time.
    let _ = connected.set_nodelay(true);
    let keep_alive = TcpKeepalive::new()
        .with_time(KEEP_ALIVE_IDLE)
        .with_interval(KEEP_ALIVE_INTERVAL);
    // Without it a dead peer is noticed by the calls' deadlines.
    let _ = SockRef::from(&connected).set_tcp_keepalive(&keep_alive);
    Ok(connected)
}

async fn bind_anonymously(
    link: &mut Link,
    host: &str,
    interface: SyntaxId,
) -> Result<(), RpcError> {
    let deadline = Some(monotonic_now() + ANSWER_DEADLINE);
    link.association
        .bind(&[interface], None, deadline)
        .map_err(|reason| usage(host, reason))?;
    bound(link, host, interface, true).await.map(|_| ())
}

/// The whole bind with its tokens.
async fn sign_on<N: TokenExchange>(
    link: &mut Link,
    host: &str,
    interface: SyntaxId,
    mut negotiation: N,
) -> Result<Negotiated, RpcError> {
    let auth = |source| RpcError::Auth {
        host: host.to_owned(),
        source,
    };
    let auth_type = negotiation.auth_type();
    let mut step = negotiation.step(None).await.map_err(auth)?;
    let first = FirstToken {
        auth_type,
        token: step.token,
    };
    let deadline = Some(monotonic_now() + ANSWER_DEADLINE);
    link.association
        .bind(&[interface], Some(first), deadline)
        .map_err(|reason| usage(host, reason))?;
    let mut answer = bound(link, host, interface, true).await?;
    for _ in 0..MAX_ROUNDS {
        if step.done {
            let (security, negotiated) = negotiation.finish().map_err(auth)?;
            link.association
                .protect(security)
                .map_err(|reason| usage(host, reason))?;
            return Ok(negotiated);
        }
        step = negotiation.step(answer.as_deref()).await.map_err(auth)?;
        if step.token.is_empty() {
            if step.done {
                continue;
            }
            return Err(out_of_turn(host));
        }
        // The server answers the last token of SPNEGO only (MS-RPCE 2.2.2.10).
        if step.done && auth_type != SPNEGO {
            link.association
                .auth3(&step.token)
                .map_err(|reason| usage(host, reason))?;
            continue;
        }
        let deadline = Some(monotonic_now() + ANSWER_DEADLINE);
        link.association
            .continue_bind(&step.token, deadline)
            .map_err(|reason| usage(host, reason))?;
        answer = bound(link, host, interface, false).await?;
    }
    Err(out_of_turn(host))
}

/// The server's answer to a step of the bind: its token.
async fn bound(
    link: &mut Link,
    host: &str,
    interface: SyntaxId,
    first: bool,
) -> Result<Option<Vec<u8>>, RpcError> {
    let Event::Bound { results, token } = event(link, host).await? else {
        return Err(out_of_turn(host));
    };
    match results.first() {
        Some(result) if first && !result.is_accepted() => {
            Err(interface_refused(host, interface, *result))
        }
        _ => Ok(token),
    }
}

async fn event(link: &mut Link, host: &str) -> Result<Event, RpcError> {
    link.event().await.map_err(|ended| match ended {
        Ended::Association(CloseReason::BindTimedOut) => RpcError::TimedOut {
            host: host.to_owned(),
            doing: "the bind",
            after: ANSWER_DEADLINE,
        },
        ended => ended.error(host),
    })
}

pub(super) fn interface_refused(
    host: &str,
    interface: SyntaxId,
    result: ContextResult,
) -> RpcError {
    RpcError::InterfaceRefused {
        host: host.to_owned(),
        interface,
        result,
    }
}

pub(super) fn usage(host: &str, reason: UsageError) -> RpcError {
    RpcError::Usage {
        host: host.to_owned(),
        reason,
    }
}

/// The error of a call that failed alone.
pub(super) fn call_failed(host: &str, failure: CallFailure) -> RpcError {
    let host = host.to_owned();
    match failure {
        CallFailure::Fault(fault) => RpcError::Fault { host, fault },
        CallFailure::TimedOut => RpcError::CallTimedOut { host },
        CallFailure::TooLong { limit } => RpcError::TooLong { host, limit },
    }
}

fn out_of_turn(host: &str) -> RpcError {
    usage(host, UsageError::WrongPhase)
}

async fn within<T>(
    deadline: Duration,
    host: &str,
    doing: &'static str,
    step: impl Future<Output = Result<T, RpcError>>,
) -> Result<T, RpcError> {
    timeout(deadline, step).await.unwrap_or_else(|_| {
        Err(RpcError::TimedOut {
            host: host.to_owned(),
            doing,
            after: deadline,
        })
    })
}
