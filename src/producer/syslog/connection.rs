//! One sender's stream, over TCP or TLS: frames are read, interpreted, and handed on; when the table has no room, we stop
//! reading.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio_util::sync::CancellationToken;

use super::service::Shared;
use super::source::{Harvest, Source, Transport};
use crate::identity::Batch;
use crate::identity::event::IdentityEvent;
use crate::net::listener::Accepted;
use crate::net::tls;
use crate::runtime::clock;
use crate::runtime::strangers::Tried;
use crate::wire::syslog::{Framer, Step};

/// Most events in one batch.
pub(super) const BATCH_EVENTS: usize = 256;
/// Most bytes taken in one read.
const READ_BYTES: usize = 32 << 10;
/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long a message that has begun may take to arrive.
const UNFINISHED: Duration = Duration::from_secs(60);
/// How long a sender may be silent. Long, because a sender that finds its connection closed loses what it sends next;
/// a peer that is gone is found by TCP keep-alive.
const IDLE: Duration = Duration::from_secs(24 * 60 * 60);
/// After how much silence the kernel asks the peer whether it is still there, and how often.
const KEEP_ALIVE: Duration = Duration::from_secs(60);
/// How long a batch may wait for room once jims is stopping.
const LAST_TRY: Duration = Duration::from_secs(2);

/// Serves one accepted connection until either side ends it.
pub(super) async fn serve(
    accepted: Accepted,
    transport: Transport,
    shared: Arc<Shared>,
    stop: CancellationToken,
) {
    let Accepted {
        stream,
        peer,
        permit: _permit,
    } = accepted;
    let keep_alive = socket2::TcpKeepalive::new()
        .with_time(KEEP_ALIVE)
        .with_interval(KEEP_ALIVE);
    // A kernel that refuses leaves only the idle limit.
    let _ = socket2::SockRef::from(&stream).set_tcp_keepalive(&keep_alive);
    let ended = match transport {
        Transport::Udp | Transport::Tcp => {
            let connection = Connection::new(peer, transport, Vec::new(), &shared, &stop);
            connection.run(stream).await
        }
        Transport::Tls => {
            let Some(tls) = shared.tls() else { return };
            let handshake = tokio::time::timeout(HANDSHAKE, tls.acceptor().accept(stream));
            match stop.run_until_cancelled(handshake).await {
                None => return,
                Some(Err(_)) => Err(io::Error::from(io::ErrorKind::TimedOut)),
                Some(Ok(Err(error))) => {
                    shared.count_failed_handshake(peer.ip());
                    Err(error)
                }
                Some(Ok(Ok(stream))) => {
                    let names = stream
                        .get_ref()
                        .1
                        .peer_certificates()
                        .and_then(|chain| chain.first())
                        .map(tls::certificate_names)
                        .unwrap_or_default();
                    let connection = Connection::new(peer, transport, names, &shared, &stop);
                    connection.run(stream).await
                }
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, transport = transport.as_str(), %error, "syslog connection ended");
    }
}

struct Connection<'a> {
    peer: SocketAddr,
    transport: Transport,
    /// Of the client's certificate.
    names: Vec<String>,
    shared: &'a Shared,
    stop: &'a CancellationToken,
    framer: Framer,
    buffer: BytesMut,
}

impl<'a> Connection<'a> {
    fn new(
        peer: SocketAddr,
        transport: Transport,
        names: Vec<String>,
        shared: &'a Shared,
        stop: &'a CancellationToken,
    ) -> Self {
        Self {
            peer,
            transport,
            names,
            shared,
            stop,
            framer: Framer::new(),
            buffer: BytesMut::new(),
        }
    }

    async fn run(mut self, mut stream: impl AsyncRead + Unpin) -> io::Result<()> {
        loop {
            self.buffer.reserve(READ_BYTES);
            let limit = if self.buffer.is_empty() {
                IDLE
            } else {
                UNFINISHED
            };
            let mut room = (&mut self.buffer).limit(READ_BYTES);
            let read = tokio::time::timeout(limit, stream.read_buf(&mut room));
            let count = match self.stop.run_until_cancelled(read).await {
                None => return Ok(()),
                Some(Err(_)) => return Err(io::ErrorKind::TimedOut.into()),
                // A peer that does not say goodbye over TLS has still sent what it sent.
                Some(Ok(Err(error))) if error.kind() == io::ErrorKind::UnexpectedEof => 0,
                Some(Ok(read)) => read?,
            };
            let Some(source) = self.source() else {
                // The configuration no longer knows the sender.
                return Ok(());
            };
            let events = self.drain(&source, count == 0);
            self.deliver(&source, events).await?;
            if count == 0 {
                return Ok(());
            }
        }
    }

    /// Asked anew for each read, so that a reload counts at once.
    fn source(&self) -> Option<Arc<Source>> {
        let sources = self.shared.sources();
        let ip = self.peer.ip();
        let source = sources.of(ip, self.transport, &self.names).cloned();
        if source.is_none() {
            self.shared
                .strangers()
                .note(Tried::Syslog, ip, clock::utc_now());
        }
        source
    }

    /// Interprets every whole message in the buffer.
    fn drain(&mut self, source: &Source, ended: bool) -> Vec<IdentityEvent> {
        let now = clock::utc_now();
        let (mut harvest, mut too_long) = (Harvest::of(self.shared.hearer()), 0);
        loop {
            let consumed = match self.framer.step(&self.buffer, ended) {
                Step::Message {
                    start,
                    end,
                    consumed,
                } => {
                    let line = self.buffer.get(start..end).unwrap_or(&[]);
                    source.hear(line, self.peer.ip(), now, &mut harvest);
                    consumed
                }
                Step::Nothing { consumed } => consumed,
                Step::TooLong { consumed } => {
                    too_long += 1;
                    consumed
                }
                Step::More => break,
            };
            self.buffer.advance(consumed);
        }
        if too_long > 0 {
            source.report.count_dropped("too-long", too_long);
        }
        if ended && !self.buffer.is_empty() {
            source.report.count_dropped("cut-short", 1);
        }
        source.settle(&mut harvest, now)
    }

    /// Waits for room, and so stops reading; once jims is stopping, only a little longer.
    async fn deliver(&self, source: &Source, mut events: Vec<IdentityEvent>) -> io::Result<()> {
        while !events.is_empty() {
            let rest = events.split_off(events.len().min(BATCH_EVENTS));
            let count = events.len() as u64;
            let batch = Batch::Events {
                events: std::mem::replace(&mut events, rest),
                bookmark: None,
            };
            let given_up = async {
                self.stop.cancelled().await;
                tokio::time::sleep(LAST_TRY).await;
            };
            let sent = tokio::select! {
                sent = self.shared.intake().send(batch) => sent.is_ok(),
                () = given_up => false,
            };
            if !sent {
                source
                    .report
                    .count_dropped("stopping", count + events.len() as u64);
                return Err(io::Error::other("jims is stopping"));
            }
        }
        Ok(())
    }
}
