//! Outgoing TCP connections.

use std::io;
use std::net::{IpAddr, SocketAddr};

use tokio::net::{TcpSocket, TcpStream};

/// Connects from a given local address, so that the peer can tell senders on one machine apart.
///
/// # Errors
/// The address is not this machine's, or the target does not accept.
pub async fn connect_from(local: IpAddr, target: SocketAddr) -> io::Result<TcpStream> {
    let socket = if target.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    socket.bind(SocketAddr::new(local, 0))?;
    socket.connect(target).await
}
