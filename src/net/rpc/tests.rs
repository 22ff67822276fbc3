//! Clients against a small server on loopback that speaks the same packets.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::*;
use crate::net::resolve::Resolver;
use crate::net::security::{AuthError, Negotiated, Step};
use crate::runtime::supervisor::Tasks;
use crate::wire::dcerpc::NDR20;
use crate::wire::dcerpc::association::CloseReason;
use crate::wire::dcerpc::bind::{Bind, BindAck, ContextResult};
use crate::wire::dcerpc::call::{FaultHead, RequestHead, ResponseHead};
use crate::wire::dcerpc::pdu::{HEADER_BYTES, Header, Kind, Trailer, encode_plain, flag};
use crate::wire::security::{SecurityContext, SecurityError};

const INTERFACE: SyntaxId = SyntaxId::new(1, 1, 0);
const MISSING: SyntaxId = SyntaxId::new(2, 1, 0);
/// NTLM's number, so that the first call proves the account.
const AUTH_TYPE: u8 = 10;
/// Bytes of the toy protection's token.
const TOKEN: usize = 16;
const GUARD: Duration = Duration::from_secs(20);

/// What the server does with a call.
mod opnum {
    pub(super) const ECHO: u16 = 0;
    pub(super) const SILENCE: u16 = 1;
    pub(super) const FAULT: u16 = 2;
    pub(super) const CLOSE: u16 = 3;
    pub(super) const RUBBISH: u16 = 4;
    /// A fault without protection.
    pub(super) const BARE_FAULT: u16 = 5;
}

/// Protects nothing, but has a token.
struct Bare(u8);

impl SecurityContext for Bare {
    fn auth_type(&self) -> u8 {
        self.0
    }

    fn token_length(&self) -> usize {
        TOKEN
    }

    fn seal(
        &mut self,
        _: &[u8],
        _: &mut [u8],
        _: &[u8],
        _: &mut [u8],
    ) -> Result<(), SecurityError> {
        Ok(())
    }

    fn unseal(&mut self, _: &[u8], _: &mut [u8], _: &[u8], _: &[u8]) -> Result<(), SecurityError> {
        Ok(())
    }
}

/// Says what it is told to, whatever it hears.
struct Script {
    steps: Vec<Result<Step, AuthError>>,
    heard: Arc<AtomicUsize>,
}

impl Script {
    /// Tokens in their order; the last one is the end.
    fn of(tokens: &[&[u8]]) -> Self {
        let steps = tokens.iter().rev().enumerate().map(|(after, token)| {
            Ok(Step {
                token: token.to_vec(),
                done: after == 0,
            })
        });
        Self {
            steps: steps.collect(),
            heard: Arc::default(),
        }
    }
}

impl TokenExchange for Script {
    fn auth_type(&self) -> u8 {
        AUTH_TYPE
    }

    async fn step(&mut self, input: Option<&[u8]>) -> Result<Step, AuthError> {
        if input == Some(b"theirs") {
            self.heard.fetch_add(1, Ordering::Relaxed);
        }
        self.steps.pop().expect("a step")
    }

    fn finish(self) -> Result<(Box<dyn SecurityContext>, Negotiated), AuthError> {
        let negotiated = Negotiated {
            mechanism: "toy",
            clock_offset: None,
        };
        Ok((Box::new(Bare(AUTH_TYPE)), negotiated))
    }
}

fn toy_trailer() -> Trailer {
    Trailer {
        auth_type: AUTH_TYPE,
        level: Trailer::PRIVACY,
        padding: 0,
        context_id: 1,
    }
}

/// A server and what it has seen.
struct Server {
    port: u16,
    cancels: Arc<AtomicUsize>,
    tasks: Tasks,
}

impl Server {
    #[expect(clippy::disallowed_methods, reason = "a listener of the test's own")]
    async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let cancels = Arc::new(AtomicUsize::new(0));
        let (tasks, seen) = (Tasks::new(), Arc::clone(&cancels));
        let connections = tasks.clone();
        tasks.spawn("server", async move {
            while let Ok((stream, _)) = listener.accept().await {
                let seen = Arc::clone(&seen);
                connections.spawn("connection", async move {
                    serve(stream, &seen).await;
                });
            }
        });
        Self {
            port,
            cancels,
            tasks,
        }
    }

    async fn sign_on(&self, script: Script) -> Result<RpcClient, RpcError> {
        Connection::open(&Resolver::default(), "localhost", self.port)
            .await?
            .bind(&self.tasks, INTERFACE, script)
            .await
    }

    async fn client(&self) -> RpcClient {
        let connection = Connection::open(&Resolver::default(), "localhost", self.port)
            .await
            .unwrap();
        connection
            .bind_anonymously(&self.tasks, INTERFACE)
            .await
            .unwrap()
    }
}

async fn serve(mut stream: TcpStream, cancels: &AtomicUsize) -> Option<()> {
    let (mut request, mut wrong) = (Vec::new(), false);
    loop {
        let mut packet = vec![0; HEADER_BYTES];
        stream.read_exact(&mut packet).await.ok()?;
        let header = Header::decode(&packet).unwrap().unwrap();
        packet.resize(header.fragment_length.into(), 0);
        stream.read_exact(&mut packet[HEADER_BYTES..]).await.ok()?;
        let body = &packet[HEADER_BYTES..];
        let mut out = Vec::new();
        match header.kind {
            Kind::Bind => answer_bind(&header, body, Kind::BindAck, &mut out),
            Kind::AlterContext => answer_bind(&header, body, Kind::AlterContextResponse, &mut out),
            Kind::Request => {
                let head = RequestHead::decode(&header, body).unwrap();
                let end = header.trailer_offset() - padding(&header, &packet);
                request.extend_from_slice(&packet[head.data_offset()..end]);
                if header.has(flag::LAST) {
                    let data = std::mem::take(&mut request);
                    let opnum = if wrong { opnum::BARE_FAULT } else { head.opnum };
                    answer(&header, opnum, &data, &mut out)?;
                }
            }
            // A wrong last token is not answered; the first call is.
            Kind::Auth3 => wrong = token(&header, &packet) == b"wrong",
            Kind::CoCancel => drop(cancels.fetch_add(1, Ordering::Relaxed)),
            other => panic!("{other}"),
        }
        stream.write_all(&out).await.ok()?;
    }
}

/// The trailer of a protected packet.
fn trailer(header: &Header, packet: &[u8]) -> Option<Trailer> {
    (header.auth_length > 0).then(|| Trailer::decode(&packet[header.trailer_offset()..]).unwrap())
}

fn padding(header: &Header, packet: &[u8]) -> usize {
    trailer(header, packet).map_or(0, |trailer| trailer.padding.into())
}

fn token<'a>(header: &Header, packet: &'a [u8]) -> &'a [u8] {
    &packet[packet.len() - usize::from(header.auth_length)..]
}

fn answer_bind(header: &Header, body: &[u8], kind: Kind, out: &mut Vec<u8>) {
    let bind = Bind::decode(body).unwrap();
    let missing = u16::from(bind.contexts[0].interface == MISSING);
    let ack = BindAck {
        max_transmit: 5840,
        max_receive: 2000,
        group: 1,
        secondary_address: Vec::new(),
        results: vec![ContextResult {
            result: 2 * missing,
            reason: missing,
            transfer: if missing == 1 { MISSING } else { NDR20 },
        }],
    };
    let mut body = Vec::new();
    ack.encode(&mut body);
    let flags = flag::FIRST | flag::LAST | flag::MULTIPLEXED;
    let auth = (header.auth_length > 0).then_some((toy_trailer(), &b"theirs"[..]));
    encode_plain(out, kind, flags, header.call_id, &body, auth).unwrap();
}

fn answer(header: &Header, opnum: u16, data: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let sealed = header.auth_length > 0 && opnum != opnum::BARE_FAULT;
    let auth = sealed.then_some((toy_trailer(), &[0; TOKEN][..]));
    let mut put = |kind, flags, body: &[u8]| {
        encode_plain(out, kind, flags, header.call_id, body, auth).unwrap();
    };
    match opnum {
        opnum::ECHO => {
            let count = data.chunks(1000).count();
            for (index, chunk) in data.chunks(1000).enumerate() {
                let first = if index == 0 { flag::FIRST } else { 0 };
                let last = if index + 1 == count { flag::LAST } else { 0 };
                let mut body = Vec::new();
                let head = ResponseHead {
                    alloc_hint: 0,
                    context_id: 0,
                    cancel_count: 0,
                };
                head.encode(&mut body);
                body.extend_from_slice(chunk);
                put(Kind::Response, first | last, &body);
            }
        }
        opnum::FAULT | opnum::BARE_FAULT => {
            let mut body = Vec::new();
            let head = FaultHead {
                alloc_hint: 0,
                context_id: 0,
                cancel_count: 0,
                reserved: 0,
                status: 5,
            };
            head.encode(&mut body);
            put(Kind::Fault, flag::FIRST | flag::LAST, &body);
        }
        opnum::SILENCE => {}
        opnum::RUBBISH => out.extend_from_slice(b"HTTP/1.1 400 Bad Request\r\n"),
        opnum::CLOSE => return None,
        other => panic!("function {other}"),
    }
    Some(())
}

fn request(opnum: u16, stub: Vec<u8>) -> Request {
    Request {
        context: 0,
        opnum,
        object: None,
        stub,
        deadline: Some(GUARD),
        limit: 1 << 20,
    }
}

#[tokio::test]
async fn many_calls_at_once_get_their_own_answers() {
    let server = Server::start().await;
    let client = server.client().await;
    let calls = (1..100_usize).map(|size| {
        let client = client.clone();
        async move {
            let stub = vec![u8::try_from(size).unwrap(); size * 97];
            let answer = client.call(request(opnum::ECHO, stub.clone())).await;
            assert_eq!(answer.unwrap(), stub);
        }
    });
    let mut calls: Vec<_> = calls.map(Box::pin).collect();
    let all = std::future::poll_fn(|context| {
        calls.retain_mut(|call| call.as_mut().poll(context).is_pending());
        match calls.is_empty() {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        }
    });
    timeout(GUARD, all).await.unwrap();
}

#[tokio::test]
async fn a_call_without_answer_ends_in_time_and_others_go_on() {
    let server = Server::start().await;
    let client = server.client().await;
    let silent = Request {
        deadline: Some(Duration::from_millis(50)),
        ..request(opnum::SILENCE, vec![])
    };
    let error = client.call(silent).await.unwrap_err();
    assert!(matches!(error, RpcError::CallTimedOut { .. }), "{error}");
    let answer = client.call(request(opnum::ECHO, vec![1])).await;
    assert_eq!(answer.unwrap(), [1]);
    assert_eq!(server.cancels.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_dropped_call_is_cancelled() {
    let server = Server::start().await;
    let client = server.client().await;
    let call = client.call(request(opnum::SILENCE, vec![]));
    assert!(timeout(Duration::from_millis(50), call).await.is_err());
    // The packets are in order: once the echo is back, the cancel has been seen.
    client.call(request(opnum::ECHO, vec![1])).await.unwrap();
    assert_eq!(server.cancels.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn faults_are_told_apart_and_a_long_reply_is_refused() {
    let server = Server::start().await;
    let client = server.client().await;
    let error = client
        .call(request(opnum::FAULT, vec![]))
        .await
        .unwrap_err();
    assert_eq!(error.status(), Some(5));
    assert_eq!(
        error.to_string(),
        "localhost answered with a fault: access denied (0x5)"
    );
    let short = Request {
        limit: 1500,
        ..request(opnum::ECHO, vec![0; 5000])
    };
    let error = client.call(short).await.unwrap_err();
    assert!(matches!(error, RpcError::TooLong { limit: 1500, .. }));
    assert!(client.call(request(opnum::ECHO, vec![2])).await.is_ok());
}

#[tokio::test]
async fn interfaces_are_added_or_refused() {
    let server = Server::start().await;
    let client = server.client().await;
    assert_eq!(client.add_interface(NDR20).await.unwrap(), 1);
    let error = client.add_interface(MISSING).await.unwrap_err();
    assert!(
        matches!(error, RpcError::InterfaceRefused { .. }),
        "{error}"
    );
    let second = Request {
        context: 1,
        ..request(opnum::ECHO, vec![3])
    };
    assert_eq!(client.call(second.clone()).await.unwrap(), [3]);
    let third = Request {
        context: 2,
        ..second
    };
    let error = client.call(third).await.unwrap_err();
    assert!(matches!(error, RpcError::Usage { .. }), "{error}");
    let connection = Connection::open(&Resolver::default(), "localhost", server.port)
        .await
        .unwrap();
    let refused = connection.bind_anonymously(&server.tasks, MISSING).await;
    assert!(matches!(refused, Err(RpcError::InterfaceRefused { .. })));
}

#[tokio::test]
async fn when_the_server_closes_every_call_and_the_handle_learn_it() {
    let server = Server::start().await;
    let client = server.client().await;
    let (waiting, closing) = tokio::join!(
        client.call(request(opnum::SILENCE, vec![])),
        client.call(request(opnum::CLOSE, vec![])),
    );
    for outcome in [waiting, closing] {
        let error = outcome.unwrap_err();
        assert!(
            matches!(
                error,
                RpcError::Closed {
                    reason: CloseReason::PeerClosed,
                    ..
                } | RpcError::Io { .. }
            ),
            "{error}"
        );
    }
    let late = client.call(request(opnum::ECHO, vec![])).await;
    assert!(late.is_err());
    let reason = timeout(GUARD, client.closed()).await.unwrap();
    assert!(!reason.remedy().is_empty());
}

#[tokio::test]
async fn a_server_that_speaks_something_else_is_found_out() {
    let server = Server::start().await;
    let client = server.client().await;
    let error = client.call(request(opnum::RUBBISH, vec![])).await;
    let error = error.unwrap_err();
    assert!(matches!(error, RpcError::Protocol { .. }), "{error}");
    assert!(error.to_string().contains("rpc_vers is 0x48"), "{error}");
}

#[tokio::test]
async fn the_task_ends_with_the_last_handle() {
    let server = Server::start().await;
    let tasks = Tasks::new();
    let connection = Connection::open(&Resolver::default(), "localhost", server.port)
        .await
        .unwrap();
    let client = connection
        .bind_anonymously(&tasks, INTERFACE)
        .await
        .unwrap();
    let other = client.clone();
    drop(client);
    assert!(other.call(request(opnum::ECHO, vec![1])).await.is_ok());
    drop(other);
    assert!(tasks.finish(GUARD).await.is_empty());
}

#[tokio::test]
async fn a_port_where_nothing_listens_and_a_name_that_is_none_are_told_apart() {
    // Port 1 is reserved, and nothing listens there.
    let refused = Connection::open(&Resolver::default(), "127.0.0.1", 1)
        .await
        .unwrap_err();
    assert!(matches!(refused, RpcError::Refused { .. }), "{refused}");
    // Longer than a name can be: no resolver is asked.
    let unknown = Connection::open(&Resolver::default(), &"x".repeat(300), 135).await;
    let error = unknown.unwrap_err();
    assert!(matches!(error, RpcError::Name { .. }), "{error}");
}

#[tokio::test]
async fn tokens_go_back_and_forth_until_the_negotiation_is_done() {
    let server = Server::start().await;
    let scripts: [&[&[u8]]; 3] = [
        &[b"one", b"last"],
        &[b"one", b"two", b"last"],
        // The server's last token is heard, and nothing is left to say.
        &[b"one", b"two", b""],
    ];
    for tokens in scripts {
        let script = Script::of(tokens);
        let heard = Arc::clone(&script.heard);
        let client = server.sign_on(script).await.unwrap();
        assert_eq!(heard.load(Ordering::Relaxed), tokens.len() - 1);
        assert_eq!(client.negotiated().unwrap().mechanism, "toy");
        let stub = vec![5; 10_000];
        let answer = client.call(request(opnum::ECHO, stub.clone())).await;
        assert_eq!(answer.unwrap(), stub);
    }
}

#[tokio::test]
async fn a_sign_on_that_fails_here_or_there_is_told_apart() {
    let server = Server::start().await;
    let mut script = Script::of(&[b"one"]);
    let wrong = AuthError::WrongPassword {
        account: "svc".into(),
    };
    script.steps[0] = Err(wrong);
    let error = server.sign_on(script).await.unwrap_err();
    assert!(matches!(error, RpcError::Auth { .. }) && error.is_credentials());
    // The server says so at the first call only.
    let client = server
        .sign_on(Script::of(&[b"one", b"wrong"]))
        .await
        .unwrap();
    let error = client
        .call(request(opnum::ECHO, vec![1]))
        .await
        .unwrap_err();
    assert!(matches!(error, RpcError::SignOnRefused { .. }), "{error}");
    assert!(error.is_credentials());
    // Once a call has been answered, the same fault is about the call.
    let client = server
        .sign_on(Script::of(&[b"one", b"last"]))
        .await
        .unwrap();
    client.call(request(opnum::ECHO, vec![1])).await.unwrap();
    let error = client
        .call(request(opnum::BARE_FAULT, vec![]))
        .await
        .unwrap_err();
    assert!(matches!(error, RpcError::Fault { .. }), "{error}");
    assert!(!error.is_credentials());
    let reason = timeout(GUARD, client.closed()).await.unwrap();
    assert_eq!(reason.status(), Some(5), "{reason}");
}
