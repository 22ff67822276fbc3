//! HTTP servers: our own accept loop under an axum router, with every wait and every size bounded.
//!
//! A caller cannot hold more than its share: handshake, head, whole request and connection each have a deadline, and
//! connections are limited in all, for each address, and for all strangers together. Handlers find who calls in the
//! extension [`Peer`]. What is answered is decided by the router's owner.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderMap, HeaderName, Request, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use http_body_util::Limited;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::error::Elapsed;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tower_service::Service as _;

use super::listener::{Accepted, Acceptor};
use super::tls::{ServerTls, certificate_names};
use crate::runtime::supervisor::Tasks;

/// Who calls, in canonical form; an extension of every request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// Names in the client certificate of the connection, whose issuer was checked; an extension of every request. Empty:
/// none was shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerNames(pub Arc<[String]>);

/// Whether the request's `Accept` prefers XML to JSON (RFC 9110, section 12.5.1); not if it does not say.
#[must_use]
pub fn prefers_xml(headers: &HeaderMap) -> bool {
    let (mut json, mut xml) = (0.0_f32, 0.0_f32);
    for (kind, weight) in weighted(headers, &header::ACCEPT) {
        match kind.to_ascii_lowercase().as_str() {
            "application/xml" | "text/xml" => xml = xml.max(weight),
            "application/json" | "application/*" | "*/*" => json = json.max(weight),
            _ => {}
        }
    }
    xml > json
}

/// Whether the request takes an answer with gzip (RFC 9110, section 12.5.3); not if it does not say.
#[must_use]
pub fn accepts_gzip(headers: &HeaderMap) -> bool {
    let mut any = false;
    for (coding, weight) in weighted(headers, &header::ACCEPT_ENCODING) {
        if coding.eq_ignore_ascii_case("gzip") || coding.eq_ignore_ascii_case("x-gzip") {
            return weight > 0.0;
        }
        any |= coding == "*" && weight > 0.0;
    }
    any
}

/// The choices of a header and their weights (RFC 9110, section 12.4.2); one that cannot be read is 0.
fn weighted<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = (&'h str, f32)> {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    let choices = value.unwrap_or_default().split(',').take(MAX_CHOICES);
    choices.map(|choice| {
        let mut parts = choice.split(';').map(str::trim);
        let what = parts.next().unwrap_or_default();
        let weight = parts.find_map(|part| part.strip_prefix("q="));
        (what, weight.map_or(1.0, |q| q.parse().unwrap_or(0.0)))
    })
}

/// The value of `Retry-After` (RFC 9110, section 10.2.3) for a wait: whole seconds, at least one.
#[must_use]
pub fn retry_after(wait: Duration) -> String {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    seconds.max(1).to_string()
}

/// The bounds of an HTTP server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections in all; more wait in the kernel.
    pub connections: usize,
    /// Connections of one address; more are closed at once.
    pub connections_per_address: usize,
    /// Connections of all addresses that are not [`Regulars`], so that strangers cannot take the places of firewalls;
    /// more are closed at once.
    pub guests: usize,
    /// Connections of one such address.
    pub connections_per_guest: usize,
    /// Until the TLS handshake must be done.
    pub handshake: Duration,
    /// Until the head of a request must be there, and how long an idle connection is kept.
    pub head: Duration,
    /// Until a request with its body must be read and answered.
    pub request: Duration,
    /// The life of a connection; after it, the request in hand is finished and the connection closed.
    pub connection: Duration,
    /// How long a closing connection may finish its request.
    pub drain: Duration,
    /// Largest body of a request, in bytes.
    pub body_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4096,
            connections_per_address: 128,
            guests: 512,
            // A load balancer that asks how we are needs a few.
            connections_per_guest: 16,
            handshake: Duration::from_secs(10),
            // Longer than the longest interval between two queries of a firewall, so that it keeps its connection.
            head: Duration::from_secs(75),
            request: Duration::from_secs(30),
            connection: Duration::from_secs(600),
            drain: Duration::from_secs(5),
            body_bytes: 64 * 1024,
        }
    }
}

/// Largest head of a request, in bytes.
const MAX_HEAD_BYTES: usize = 32 * 1024;
/// Choices of an `Accept` or `Accept-Encoding` that are looked at.
const MAX_CHOICES: usize = 32;
/// Requests at once in one HTTP/2 connection.
const MAX_STREAMS: u32 = 32;

/// Tells the addresses that are expected from all others; asked once for each connection, so it must be quick.
#[derive(Clone)]
pub struct Regulars(Arc<dyn Fn(IpAddr) -> bool + Send + Sync>);

impl Regulars {
    /// Who is expected.
    #[must_use]
    pub fn new(expected: impl Fn(IpAddr) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(expected))
    }

    /// Nobody is a guest.
    #[must_use]
    pub fn everybody() -> Self {
        Self::new(|_| true)
    }
}

impl std::fmt::Debug for Regulars {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Regulars")
    }
}

/// An HTTP server on one listener.
#[derive(Debug)]
pub struct HttpServer {
    /// Bound already.
    pub listener: TcpListener,
    /// `None`: plain HTTP.
    pub tls: Option<Arc<ServerTls>>,
    /// What answers.
    pub router: Router,
    /// The bounds.
    pub limits: Limits,
    /// Who owns the connections' tasks.
    pub tasks: Tasks,
}

impl HttpServer {
    /// Serves until `stop`; then the listener closes, and open connections finish the request in hand.
    pub async fn run(self, stop: CancellationToken) {
        self.run_for(Regulars::everybody(), stop).await;
    }

    /// The same, with less room for guests than for those who are expected.
    pub async fn run_for(self, regulars: Regulars, stop: CancellationToken) {
        let limits = self.limits;
        let acceptor = Acceptor::new(self.listener, limits.connections);
        let shares = Shares::default();
        while let Some(accepted) = stop.run_until_cancelled(acceptor.accept()).await {
            let address = accepted.peer.ip();
            let share = match shares.take(address, !regulars.0(address), &limits) {
                Ok(share) => share,
                Err(reason) => {
                    metrics::counter!("jims_http_refused_total", "reason" => reason).increment(1);
                    continue;
                }
            };
            let connection = Connection {
                tls: self.tls.clone(),
                router: self.router.clone(),
                limits,
                tasks: self.tasks.clone(),
                stop: stop.clone(),
            };
            self.tasks.spawn("http connection", async move {
                let Accepted {
                    stream,
                    peer,
                    permit,
                } = accepted;
                connection.serve(stream, peer).await;
                drop((permit, share));
            });
        }
    }
}

/// What one connection needs.
struct Connection {
    tls: Option<Arc<ServerTls>>,
    router: Router,
    limits: Limits,
    tasks: Tasks,
    stop: CancellationToken,
}

impl Connection {
    async fn serve(self, stream: TcpStream, peer: SocketAddr) {
        // Answers are written whole; waiting for more to send only adds delay.
        let _ = stream.set_nodelay(true);
        let Some(tls) = &self.tls else {
            return self.serve_http(stream, peer, PeerNames::default()).await;
        };
        let handshake = timeout(self.limits.handshake, tls.acceptor().accept(stream));
        match self.stop.run_until_cancelled(handshake).await {
            Some(Ok(Ok(stream))) => {
                let shown = stream.get_ref().1.peer_certificates();
                let names = shown.and_then(<[_]>::first).map(certificate_names);
                let names = PeerNames(names.unwrap_or_default().into());
                self.serve_http(stream, peer, names).await;
            }
            Some(Ok(Err(error))) => {
                metrics::counter!("jims_http_refused_total", "reason" => "handshake").increment(1);
                tracing::debug!(%peer, %error, "TLS handshake failed");
            }
            Some(Err(_late)) => {
                metrics::counter!("jims_http_refused_total", "reason" => "handshake-late")
                    .increment(1);
                tracing::debug!(%peer, "TLS handshake took too long");
            }
            None => {}
        }
    }

    async fn serve_http(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
        peer: SocketAddr,
        names: PeerNames,
    ) {
        let (router, limits) = (self.router.clone(), self.limits);
        let begun = Arc::new(AtomicBool::new(false));
        let has_begun = Arc::clone(&begun);
        // Not as layers of the router: each of those costs every request some allocations.
        let service = hyper::service::service_fn(move |request: Request<Incoming>| {
            begun.store(true, Ordering::Relaxed);
            // Only cuts off what is read: an answer of its own would come before the router looks at who calls.
            let mut request = request.map(|body| Limited::new(body, limits.body_bytes));
            request.extensions_mut().insert(Peer(peer));
            request.extensions_mut().insert(names.clone());
            let answer = timeout(limits.request, router.clone().call(request));
            async { Ok::<_, Infallible>(in_time(answer.await)) }
        });
        let mut builder = auto::Builder::new(Streams(self.tasks.clone()));
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.head)
            .max_buf_size(MAX_HEAD_BYTES);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(MAX_STREAMS)
            .max_header_list_size(u32::try_from(MAX_HEAD_BYTES).unwrap_or(u32::MAX))
            .keep_alive_interval(self.limits.head)
            .keep_alive_timeout(self.limits.handshake);
        let mut connection =
            std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
        // Until it is known which HTTP is spoken, and in the preface of HTTP/2, hyper itself waits for ever.
        let silent = async {
            tokio::time::sleep(self.limits.head).await;
            if has_begun.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
        };
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = silent => {
                metrics::counter!("jims_http_refused_total", "reason" => "silent").increment(1);
                return;
            }
            () = self.stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                self.drain(connection).await
            }
            () = tokio::time::sleep(self.limits.connection) => {
                connection.as_mut().graceful_shutdown();
                self.drain(connection).await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%peer, error, "HTTP connection ended early");
        }
    }

    async fn drain<E>(&self, connection: impl Future<Output = Result<(), E>>) -> Result<(), E> {
        timeout(self.limits.drain, connection)
            .await
            .unwrap_or(Ok(()))
    }
}

/// The answer, or that it took too long.
fn in_time(answer: Result<Result<Response, Infallible>, Elapsed>) -> Response {
    match answer {
        Ok(Ok(answer)) => answer,
        Ok(Err(never)) => match never {},
        Err(_late) => StatusCode::REQUEST_TIMEOUT.into_response(),
    }
}

/// Runs the streams of an HTTP/2 connection as tasks of the server's owner.
#[derive(Clone)]
struct Streams(Tasks);

impl<F> hyper::rt::Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        self.0.spawn("http stream", stream);
    }
}

/// How many connections each address has, and guests have together; as many entries as connections, so bounded by them.
#[derive(Clone, Default)]
struct Shares(Arc<Mutex<Counts>>);

#[derive(Default)]
struct Counts {
    by_address: HashMap<IpAddr, usize>,
    guests: usize,
}

/// One connection of an address; dropping it gives the place back.
struct Share {
    shares: Shares,
    address: IpAddr,
    is_guest: bool,
}

impl Shares {
    /// A place for a connection, or the word for why there is none.
    fn take(
        &self,
        address: IpAddr,
        is_guest: bool,
        limits: &Limits,
    ) -> Result<Share, &'static str> {
        let mut counts = self.0.lock();
        let limit = if is_guest {
            limits.connections_per_guest
        } else {
            limits.connections_per_address
        };
        if is_guest && counts.guests >= limits.guests {
            return Err("guests");
        }
        let count = counts.by_address.entry(address).or_default();
        if *count >= limit {
            return Err("per-address");
        }
        *count += 1;
        counts.guests += usize::from(is_guest);
        Ok(Share {
            shares: self.clone(),
            address,
            is_guest,
        })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut counts = self.shares.0.lock();
        counts.guests -= usize::from(self.is_guest);
        if let Some(count) = counts.by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.by_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::Extension;
    use axum::routing::{get, post};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[test]
    fn xml_only_where_accept_prefers_it() {
        let xml = |accept: &str| {
            let headers = [(header::ACCEPT, accept.parse().unwrap())];
            prefers_xml(&HeaderMap::from_iter(headers))
        };
        assert!(!prefers_xml(&HeaderMap::new()));
        assert!(!xml("*/*"));
        assert!(xml("application/xml"));
        assert!(!xml("application/xml, application/json"));
        assert!(xml("application/json;q=0.5, application/xml;q=0.9"));
        assert!(!xml("application/xml;q=0, */*"));
        assert!(xml("text/html, application/xml;q=0.9, */*;q=0.8"));
    }

    #[test]
    fn gzip_only_where_the_request_takes_it() {
        let gzip = |codings: &str| {
            let headers = [(header::ACCEPT_ENCODING, codings.parse().unwrap())];
            accepts_gzip(&HeaderMap::from_iter(headers))
        };
        assert!(!accepts_gzip(&HeaderMap::new()));
        for taken in [
            "gzip",
            "deflate, GZIP;q=0.5",
            "br, *",
            "x-gzip",
            "*;q=0, gzip",
        ] {
            assert!(gzip(taken), "{taken}");
        }
        for refused in [
            "",
            "identity",
            "gzip;q=0",
            "*, gzip;q=0",
            "gzip;q=x",
            "*;q=0",
            "gzipped",
        ] {
            assert!(!gzip(refused), "{refused}");
        }
    }

    const GUARD: Duration = Duration::from_secs(30);

    fn router() -> Router {
        Router::new()
            .route(
                "/who",
                get(|Extension(peer): Extension<Peer>| async move { peer.0.ip().to_string() }),
            )
            .route(
                "/body",
                post(|body: axum::body::Bytes| async move { body.len().to_string() }),
            )
    }

    async fn start(limits: Limits) -> (SocketAddr, CancellationToken, Tasks) {
        let address = "127.77.4.1:0".parse().unwrap();
        let listener = crate::net::listener::tcp(address, "[server] listen").unwrap();
        let bound = listener.local_addr().unwrap();
        let (stop, tasks) = (CancellationToken::new(), Tasks::new());
        let server = HttpServer {
            listener,
            tls: None,
            router: router(),
            limits,
            tasks: tasks.clone(),
        };
        tasks.spawn("server", server.run(stop.clone()));
        (bound, stop, tasks)
    }

    async fn exchange(stream: &mut TcpStream, request: &str) -> String {
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        timeout(GUARD, stream.read_to_end(&mut answer))
            .await
            .expect("the server closes")
            .unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    #[tokio::test]
    async fn handlers_know_the_peer_and_a_stop_ends_idle_connections() {
        let (address, stop, tasks) = start(Limits::default()).await;
        let mut idle = TcpStream::connect(address).await.unwrap();
        let mut client = TcpStream::connect(address).await.unwrap();
        let answer = exchange(
            &mut client,
            "GET /who HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        )
        .await;
        assert!(answer.ends_with("127.0.0.1"), "{answer}");
        stop.cancel();
        assert_eq!(exchange(&mut idle, "").await, "");
        assert!(tasks.finish(GUARD).await.is_empty());
        assert!(TcpStream::connect(address).await.is_err(), "closed");
    }

    #[tokio::test]
    async fn a_huge_body_and_a_slow_head_are_refused() {
        let limits = Limits {
            head: Duration::from_millis(50),
            body_bytes: 10,
            ..Limits::default()
        };
        let (address, _stop, _tasks) = start(limits).await;
        let mut client = TcpStream::connect(address).await.unwrap();
        let head = "POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\nhello world";
        let answer = exchange(&mut client, head).await;
        assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
        let mut slow = TcpStream::connect(address).await.unwrap();
        let answer = exchange(&mut slow, "GET /who HTTP/1.1\r\nHo").await;
        assert!(!answer.contains("200"), "{answer}");
    }

    #[tokio::test]
    async fn an_address_has_only_its_share_of_connections() {
        let limits = Limits {
            connections_per_address: 1,
            ..Limits::default()
        };
        let (address, _stop, _tasks) = start(limits).await;
        let mut first = TcpStream::connect(address).await.unwrap();
        first
            .write_all(b"GET /who HTTP/1.1\r\nHost: x\r\n\r\n")
            .await
            .unwrap();
        assert!(first.read_u8().await.is_ok(), "answered, stays open");
        let mut second = TcpStream::connect(address).await.unwrap();
        let mut nothing = Vec::new();
        // Closed or reset, but never answered.
        let _ = timeout(GUARD, second.read_to_end(&mut nothing))
            .await
            .expect("closed");
        assert!(nothing.is_empty());
    }
}
