//! Many UDP datagrams in one system call, and the kernel's count of those it had no room for.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;

use nix::sys::socket::{ControlMessageOwned, MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use crate::identity::address::canonical;

/// Most datagrams taken in one call. What follows for each call is a good part of the work, so under load there are few.
pub const BATCH: usize = 256;

/// Datagrams taken in a call while they come one by one: more room would only have to be prepared.
const FEW: usize = 16;

/// Room for the largest datagram, so that none is ever cut.
const DATAGRAM_BYTES: usize = 64 << 10;

/// Buffers for the datagrams of one socket that [`super::listener::udp`] made.
#[derive(Debug)]
pub struct Datagrams {
    buffers: Vec<Vec<u8>>,
    /// How many are taken in the next call.
    room: usize,
    /// The kernel's count when last told; it wraps.
    drops: u32,
}

impl Datagrams {
    /// Buffers; the system gives them memory when they are first used.
    #[must_use]
    pub fn new() -> Self {
        Self {
            buffers: (0..BATCH).map(|_| vec![0; DATAGRAM_BYTES]).collect(),
            room: FEW,
            drops: 0,
        }
    }

    /// Waits for datagrams and hands each with its canonical sender to `each`; gives how many the kernel has dropped
    /// since the last call, as far as it told. Cancel-safe.
    ///
    /// # Errors
    /// What the system said.
    pub async fn receive(
        &mut self,
        socket: &UdpSocket,
        mut each: impl FnMut(IpAddr, &[u8]),
    ) -> io::Result<u64> {
        loop {
            socket.readable().await?;
            match socket.try_io(Interest::READABLE, || self.take(socket, &mut each)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                taken => return taken,
            }
        }
    }

    fn take(
        &mut self,
        socket: &UdpSocket,
        each: &mut impl FnMut(IpAddr, &[u8]),
    ) -> io::Result<u64> {
        let mut slices: Vec<[IoSliceMut<'_>; 1]> = self
            .buffers
            .iter_mut()
            .take(self.room)
            .map(|buffer| [IoSliceMut::new(buffer)])
            .collect();
        // Made anew for each call: the kernel shortens the lengths that it holds.
        let mut headers =
            MultiHeaders::<SockaddrStorage>::preallocate(self.room, Some(nix::cmsg_space!(u32)));
        let messages = recvmmsg(
            socket.as_raw_fd(),
            &mut headers,
            slices.iter_mut(),
            MsgFlags::MSG_DONTWAIT,
            None,
        )?;
        let (mut dropped, mut count) = (0, 0);
        for message in messages {
            count += 1;
            if let Ok(controls) = message.cmsgs() {
                for control in controls {
                    if let ControlMessageOwned::RxqOvfl(count) = control {
                        dropped += u64::from(count.wrapping_sub(self.drops));
                        self.drops = count;
                    }
                }
            }
            let Some(sender) = message.address.as_ref().and_then(ip_address) else {
                continue;
            };
            each(sender, message.iovs().next().unwrap_or(&[]));
        }
        self.room = if count == self.room { BATCH } else { FEW };
        Ok(dropped)
    }
}

impl Default for Datagrams {
    fn default() -> Self {
        Self::new()
    }
}

fn ip_address(address: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
    let v6 = || address.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip()));
    v4.or_else(v6).map(canonical)
}

/// A socket to send from, for tests and demonstrations.
///
/// # Errors
/// What the system said.
pub fn sender(from: SocketAddr) -> io::Result<UdpSocket> {
    let socket = socket2::Socket::new(
        socket2::Domain::for_address(from),
        socket2::Type::DGRAM,
        Some(socket2::Protocol::UDP),
    )?;
    socket.set_nonblocking(true)?;
    socket.bind(&from.into())?;
    UdpSocket::from_std(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::listener;

    #[tokio::test]
    async fn datagrams_come_with_their_senders_and_whole() {
        let at = |text: &str| text.parse::<SocketAddr>().expect("address");
        let socket = listener::udp(at("127.77.3.2:0"), "[syslog] udp").expect("bind");
        let to = socket.local_addr().expect("address");
        let from = sender(at("127.77.3.3:0")).expect("bind");
        let large = vec![b'x'; 60_000];
        from.send_to(b"one", to).await.expect("sent");
        from.send_to(&large, to).await.expect("sent");
        let (mut datagrams, mut all) = (Datagrams::new(), Vec::new());
        while all.len() < 2 {
            let drops = datagrams
                .receive(&socket, |peer, bytes| {
                    all.push((peer.to_string(), bytes.to_vec()))
                })
                .await
                .expect("received");
            assert_eq!(drops, 0);
        }
        let peer = "127.77.3.3".to_owned();
        assert_eq!(all, [(peer.clone(), b"one".to_vec()), (peer, large)]);
    }

    #[tokio::test]
    async fn the_kernel_tells_how_many_it_dropped() {
        let at = |text: &str| text.parse::<SocketAddr>().expect("address");
        let socket = listener::udp(at("127.77.3.2:0"), "[syslog] udp").expect("bind");
        socket2::SockRef::from(&socket)
            .set_recv_buffer_size(8 << 10)
            .expect("small buffer");
        let to = socket.local_addr().expect("address");
        let from = sender(at("127.77.3.3:0")).expect("bind");
        let sent = 200_u64;
        for _ in 0..sent {
            from.send_to(&[b'x'; 1000], to).await.expect("sent");
        }
        let (mut datagrams, mut heard, mut dropped) = (Datagrams::new(), 0_u64, 0);
        while heard + dropped < sent {
            dropped += datagrams
                .receive(&socket, |_, bytes| heard += u64::from(bytes.len() > 1))
                .await
                .expect("received");
            if heard + dropped < sent {
                // The kernel tells with the next datagram that it has room for.
                from.send_to(b"?", to).await.expect("sent");
            }
        }
        assert!(dropped > 0);
        assert_eq!(heard + dropped, sent);
    }
}
