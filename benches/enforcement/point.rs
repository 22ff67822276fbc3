//! One simulated enforcement point: a kept-alive TLS connection, a token, a cookie, and how long answers took.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use jims::runtime::clock::monotonic_now;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A point that waits longer for an answer has failed.
const DEADLINE: Duration = Duration::from_secs(30);
const MAX_ANSWER: usize = 4 << 20;

/// Everything that all points share.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) tls: Arc<rustls::ClientConfig>,
}

pub(crate) struct Point {
    stream: TlsStream<TcpStream>,
    buffer: Vec<u8>,
    pub(crate) token: String,
    pub(crate) cookie: Option<String>,
}

/// One answer of a batch query.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Batch {
    pub(crate) took: Duration,
    pub(crate) bytes: usize,
    pub(crate) entries: usize,
    pub(crate) more: bool,
}

impl Point {
    pub(crate) async fn connect(target: &Target, from: IpAddr) -> io::Result<Self> {
        let connecting = async {
            let socket = TcpSocket::new_v4()?;
            socket.bind(SocketAddr::new(from, 0))?;
            let plain = socket.connect(target.address).await?;
            plain.set_nodelay(true)?;
            let name = ServerName::IpAddress(target.address.ip().into());
            TlsConnector::from(Arc::clone(&target.tls))
                .connect(name, plain)
                .await
        };
        let stream = timeout(DEADLINE, connecting).await??;
        Ok(Self {
            stream,
            buffer: Vec::new(),
            token: String::new(),
            cookie: None,
        })
    }

    /// Gets a token.
    pub(crate) async fn log_in(&mut self, client: &str, secret: &str) -> io::Result<()> {
        let body =
            format!("grant_type=client_credentials&client_id={client}&client_secret={secret}");
        let request = format!(
            "POST /api/oauth_token/oauth HTTP/1.1\r\nHost: jims\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let answer = self.exchange(&request).await?;
        let body = String::from_utf8_lossy(&self.buffer[answer]).into_owned();
        let token = between(&body, "\"access_token\":\"").ok_or_else(|| odd(&body))?;
        token.clone_into(&mut self.token);
        Ok(())
    }

    /// One batch query: by the cookie, or from `begin` on.
    pub(crate) async fn batch(&mut self, begin: i64) -> io::Result<Batch> {
        let start = match &self.cookie {
            Some(cookie) => format!("cookie={cookie}"),
            None => format!("begintime={begin}"),
        };
        let request = format!(
            "GET /api/user_query/v2/users/endpoints?{start}&entry_count=1000 HTTP/1.1\r\nHost: jims\r\nAuthorization: Bearer {}\r\n\r\n",
            self.token
        );
        let begun = monotonic_now();
        let body = self.exchange(&request).await?;
        let took = begun.elapsed();
        let body = &self.buffer[body];
        // The cookie stands behind the entries.
        let tail = String::from_utf8_lossy(&body[body.len().saturating_sub(300)..]);
        let cookie = between(&tail, "\"cookie\":\"").ok_or_else(|| odd(&tail))?;
        let batch = Batch {
            took,
            bytes: body.len(),
            entries: count(body, b"\"activity\":"),
            more: tail.contains("\"more\":true"),
        };
        self.cookie = Some(cookie.to_owned());
        Ok(batch)
    }

    /// Any request; the answer's body is there in the buffer.
    async fn exchange(&mut self, request: &str) -> io::Result<std::ops::Range<usize>> {
        timeout(DEADLINE, self.exchange_in_time(request)).await?
    }

    async fn exchange_in_time(&mut self, request: &str) -> io::Result<std::ops::Range<usize>> {
        self.stream.write_all(request.as_bytes()).await?;
        self.stream.flush().await?;
        self.buffer.clear();
        let mut expected = None;
        while expected.is_none_or(|end| self.buffer.len() < end) {
            if self.buffer.len() > MAX_ANSWER {
                return Err(io::Error::other("an answer without end"));
            }
            self.buffer.reserve(1 << 16);
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if expected.is_none()
                && let Some(head) = find(&self.buffer, b"\r\n\r\n")
            {
                expected = Some(head + 4 + content_length(&self.buffer[..head])?);
            }
        }
        let head = find(&self.buffer, b"\r\n\r\n").unwrap_or_default() + 4;
        Ok(head..self.buffer.len())
    }
}

/// The length of the body of an answer, which must be 200.
fn content_length(head: &[u8]) -> io::Result<usize> {
    let head = String::from_utf8_lossy(head).to_lowercase();
    if !head.starts_with("http/1.1 200") {
        return Err(odd(&head));
    }
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let length = length.and_then(|text| text.parse().ok());
    length.ok_or_else(|| odd(&head))
}

fn odd(text: &str) -> io::Error {
    io::Error::other(format!("not what was expected: {text}"))
}

fn between<'a>(text: &'a str, before: &str) -> Option<&'a str> {
    text.split_once(before)?
        .1
        .split_once('"')
        .map(|(found, _)| found)
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|w| w == wanted)
}

/// How often the text stands in the bytes.
fn count(bytes: &[u8], wanted: &[u8]) -> usize {
    let mut found = 0;
    let mut rest = bytes;
    // Byte by byte would cost this side more than all of TLS.
    while let Some(at) = rest.iter().position(|b| *b == b'v') {
        let start = at
            .checked_sub(5)
            .and_then(|s| rest.get(s..s + wanted.len()));
        found += usize::from(start == Some(wanted));
        rest = &rest[at + 1..];
    }
    found
}
