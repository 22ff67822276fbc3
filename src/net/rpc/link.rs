//! A connection and the association over it, moved forward by whoever waits.
//!
//! Everything that waits can be dropped at any time without losing bytes.

use std::io;
use std::sync::Arc;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep_until;

use super::RpcError;
use crate::runtime::clock::monotonic_now;
use crate::wire::dcerpc::association::{Association, CloseReason, Event};

/// Read from the socket at a time.
const READ_BYTES: usize = 64 << 10;
/// Packets are made while less than this waits to be written.
const WRITE_BYTES: usize = 64 << 10;

/// Why nothing more comes.
#[derive(Clone, Debug)]
pub(super) enum Ended {
    /// The association says so.
    Association(CloseReason),
    /// The connection broke.
    Io(io::ErrorKind, Arc<str>),
}

impl Ended {
    /// The error that a caller gets.
    pub(super) fn error(self, host: &str) -> RpcError {
        let host = host.to_owned();
        match self {
            Self::Io(kind, text) => RpcError::Io {
                host,
                source: io::Error::new(kind, text.to_string()),
            },
            Self::Association(CloseReason::Refused(refusal)) => {
                RpcError::BindRefused { host, refusal }
            }
            Self::Association(
                reason @ (CloseReason::PeerClosed | CloseReason::Shutdown | CloseReason::Stuck),
            ) => RpcError::Closed { host, reason },
            Self::Association(reason) => RpcError::Protocol { host, reason },
        }
    }
}

/// A connection and its association.
pub(super) struct Link {
    stream: TcpStream,
    pub(super) association: Association,
    input: BytesMut,
    output: Vec<u8>,
    /// How much of the output has been written.
    written: usize,
}

impl Link {
    pub(super) fn new(stream: TcpStream, association: Association) -> Self {
        Self {
            stream,
            association,
            input: BytesMut::new(),
            output: Vec::new(),
            written: 0,
        }
    }

    /// The next event of the association.
    pub(super) async fn event(&mut self) -> Result<Event, Ended> {
        loop {
            match self.association.poll_event() {
                Some(Event::Closed(reason)) => return Err(Ended::Association(reason)),
                Some(event) => return Ok(event),
                None => self.progress().await?,
            }
        }
    }

    /// Waits until bytes have moved or a timer has fired.
    pub(super) async fn progress(&mut self) -> Result<(), Ended> {
        let broken = |error: io::Error| Ended::Io(error.kind(), error.to_string().into());
        if self.written == self.output.len() {
            self.output.clear();
            self.written = 0;
        }
        while self.output.len() < WRITE_BYTES && self.association.poll_transmit(&mut self.output) {}
        let timeout = self.association.poll_timeout();
        let timer = async {
            match timeout {
                Some((at, _)) => sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        self.input.reserve(READ_BYTES);
        let (mut reader, mut writer) = self.stream.split();
        let unwritten = self.output.get(self.written..).unwrap_or_default();
        tokio::select! {
            written = writer.write(unwritten), if !unwritten.is_empty() => {
                self.written += written.map_err(broken)?;
            }
            read = reader.read_buf(&mut self.input) => {
                match read.map_err(broken)? {
                    0 => self.association.handle_closed(),
                    _ => self.association.handle_bytes(monotonic_now(), &mut self.input),
                }
            }
            () = timer => self.association.handle_timeout(monotonic_now()),
        }
        Ok(())
    }
}
