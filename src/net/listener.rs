//! Listening sockets: the only code that binds, and the accept loop's one step.
//!
//! TCP and UDP for syslog, HTTPS and metrics. `[::]` means every address of both families, and falls back to `0.0.0.0`
//! where IPv6 is off. Errors say what the operator can do. No protocol is spoken here.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::identity::address::canonical;

/// Connections that the kernel may hold before we accept them.
const BACKLOG: i32 = 1024;

/// What we ask the kernel for, in bytes, so that a burst of datagrams survives; it may give less. It takes the memory only
/// while datagrams wait, several times the size of each.
const UDP_RECEIVE_BUFFER_BYTES: usize = 64 << 20;

/// Pause after an accept that failed for want of file descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// A listener could not be bound.
#[derive(Debug, Error)]
#[error("listening on {protocol} {address}: {reason}")]
pub struct ListenError {
    /// Where.
    pub address: SocketAddr,
    /// `TCP` or `UDP`.
    pub protocol: &'static str,
    /// What went wrong.
    pub reason: Reason,
    /// The configuration key that names the address, such as `[syslog] udp`.
    pub key: &'static str,
}

/// Why a listener could not be bound.
#[derive(Debug, Error)]
pub enum Reason {
    /// Another program, or another jims, listens there.
    #[error("another program listens there already")]
    InUse,
    /// A port under 1024 without the right to it.
    #[error("the system does not let this user listen on a port under 1024")]
    Privileged,
    /// The address is not one of this machine's.
    #[error("this machine does not have the address")]
    NotOurs,
    /// Anything else.
    #[error("{0}")]
    Other(io::Error),
}

impl ListenError {
    /// What the operator can try.
    #[must_use]
    pub fn remedy(&self) -> String {
        let (key, port) = (self.key, self.address.port());
        match &self.reason {
            Reason::InUse => {
                let option = if self.protocol == "UDP" {
                    "-lunp"
                } else {
                    "-ltnp"
                };
                format!(
                    "find it with `ss {option} 'sport = :{port}'` and stop it, or change `{key}`"
                )
            }
            Reason::Privileged => format!(
                "give the service `AmbientCapabilities=CAP_NET_BIND_SERVICE` in its systemd unit, run \
                 `setcap cap_net_bind_service=+ep` on the binary, or take a port over 1023 in `{key}`"
            ),
            Reason::NotOurs => {
                format!("compare `ip address` with `{key}`, or listen on `[::]:{port}`")
            }
            Reason::Other(_) => format!("see `{key}`"),
        }
    }
}

/// Listens for TCP connections. Needs a running tokio.
///
/// # Errors
/// Why it cannot, with a remedy; `key` is the configuration key to name in it.
pub fn tcp(address: SocketAddr, key: &'static str) -> Result<TcpListener, ListenError> {
    dual_stack(address, |address| {
        let socket = open(address, Type::STREAM, Protocol::TCP)?;
        // A restart must not wait for the old connections' TIME_WAIT; another listener is still refused.
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        TcpListener::from_std(socket.into())
    })
    .map_err(|error| explained(error, address, "TCP", key))
}

/// Receives UDP datagrams, with a large receive buffer. Needs a running tokio.
///
/// # Errors
/// Why it cannot, with a remedy; `key` is the configuration key to name in it.
pub fn udp(address: SocketAddr, key: &'static str) -> Result<UdpSocket, ListenError> {
    dual_stack(address, |address| {
        let socket = open(address, Type::DGRAM, Protocol::UDP)?;
        enlarge_receive_buffer(&socket);
        // Not every kernel counts drops; then there is nothing to show.
        let _ = nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::RxqOvfl, &1);
        socket.bind(&address.into())?;
        UdpSocket::from_std(socket.into())
    })
    .map_err(|error| explained(error, address, "UDP", key))
}

/// A listener with a bound on its open connections.
#[derive(Debug)]
pub struct Acceptor {
    listener: TcpListener,
    room: Arc<Semaphore>,
}

/// One accepted connection; dropping `permit` makes room for the next.
#[derive(Debug)]
pub struct Accepted {
    /// The connection.
    pub stream: TcpStream,
    /// Who called, in canonical form.
    pub peer: SocketAddr,
    /// The place it takes among the listener's connections.
    pub permit: OwnedSemaphorePermit,
}

impl Acceptor {
    /// At most `connections` are open at once; more wait in the kernel's backlog.
    #[must_use]
    pub fn new(listener: TcpListener, connections: usize) -> Self {
        Self {
            listener,
            room: Arc::new(Semaphore::new(connections)),
        }
    }

    /// The address that is listened on.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// The next connection. Errors of single connections are passed over; when the system is out of file descriptors
    /// it pauses and tries again. Cancel-safe.
    pub async fn accept(&self) -> Accepted {
        loop {
            let Ok(permit) = Arc::clone(&self.room).acquire_owned().await else {
                // The semaphore is never closed; if it were, nobody may enter.
                std::future::pending::<()>().await;
                continue;
            };
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    return Accepted {
                        stream,
                        peer: SocketAddr::new(canonical(peer.ip()), peer.port()),
                        permit,
                    };
                }
                Err(error) if concerns_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "accepting a connection failed; raise LimitNOFILE if file descriptors ran out");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// Binds; for `[::]` once more on `0.0.0.0` if there is no IPv6 here.
fn dual_stack<T>(address: SocketAddr, bind: impl Fn(SocketAddr) -> io::Result<T>) -> io::Result<T> {
    let both_families = address.is_ipv6() && address.ip().is_unspecified();
    match bind(address) {
        Err(error) if both_families && no_ipv6(&error) => {
            bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port())))
        }
        bound => bound,
    }
}

fn open(address: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// As large as we are allowed: past `net.core.rmem_max` only with CAP_NET_ADMIN.
fn enlarge_receive_buffer(socket: &Socket) {
    use nix::sys::socket::{setsockopt, sockopt};
    if setsockopt(socket, sockopt::RcvBufForce, &UDP_RECEIVE_BUFFER_BYTES).is_err() {
        // The default stays, which only means less room for bursts; lost datagrams are counted.
        let _ = socket.set_recv_buffer_size(UDP_RECEIVE_BUFFER_BYTES);
    }
}

fn no_ipv6(error: &io::Error) -> bool {
    use nix::libc::{EADDRNOTAVAIL, EAFNOSUPPORT};
    matches!(error.raw_os_error(), Some(EADDRNOTAVAIL | EAFNOSUPPORT))
}

/// Errors of accept(2) that are the connection's own, not the listener's.
fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

fn explained(
    error: io::Error,
    address: SocketAddr,
    protocol: &'static str,
    key: &'static str,
) -> ListenError {
    let reason = match error.kind() {
        io::ErrorKind::AddrInUse => Reason::InUse,
        io::ErrorKind::PermissionDenied if address.port() < 1024 => Reason::Privileged,
        io::ErrorKind::AddrNotAvailable => Reason::NotOurs,
        _ => Reason::Other(error),
    };
    ListenError {
        address,
        protocol,
        reason,
        key,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().expect("address")
    }

    #[tokio::test]
    async fn a_port_in_use_is_named_with_the_way_to_find_its_owner() {
        let first = tcp(at("127.77.3.1:0"), "[syslog] tcp").expect("free port");
        let taken = first.local_addr().expect("address");
        let error = tcp(taken, "[syslog] tcp").expect_err("taken");
        assert_eq!(
            error.to_string(),
            format!("listening on TCP {taken}: another program listens there already")
        );
        assert_eq!(
            error.remedy(),
            format!(
                "find it with `ss -ltnp 'sport = :{}'` and stop it, or change `[syslog] tcp`",
                taken.port()
            )
        );
    }

    #[tokio::test]
    async fn a_foreign_address_is_told_from_a_taken_one() {
        let error = udp(at("192.0.2.77:0"), "[syslog] udp").expect_err("not ours");
        assert!(matches!(error.reason, Reason::NotOurs), "{error}");
    }

    #[tokio::test]
    async fn the_unspecified_ipv6_address_hears_ipv4_too_and_peers_are_canonical() {
        let acceptor = Acceptor::new(tcp(at("[::]:0"), "[syslog] tcp").expect("bind"), 1);
        let port = acceptor.local_address().expect("address").port();
        let client = TcpStream::connect(("127.77.3.1", port));
        let (client, accepted) = tokio::join!(client, acceptor.accept());
        client.expect("connected");
        assert!(accepted.peer.is_ipv4(), "{}", accepted.peer);
    }

    #[tokio::test]
    async fn connections_over_the_limit_wait() {
        let acceptor = Acceptor::new(tcp(at("127.77.3.1:0"), "[syslog] tcp").expect("bind"), 1);
        let address = acceptor.local_address().expect("address");
        let _one = TcpStream::connect(address).await.expect("connected");
        let _two = TcpStream::connect(address).await.expect("connected");
        let first = acceptor.accept().await;
        assert_eq!(acceptor.room.available_permits(), 0);
        drop(first);
        let second = acceptor.accept().await;
        assert_eq!(second.peer.ip().to_string(), "127.0.0.1");
    }
}
