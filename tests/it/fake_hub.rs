//! A strict Server for Collectors: TLS, onboarding, tokens and pushes, with a table that holds what it was told.
//!
//! It keeps the protocol as it is documented, refuses what does not fit, and can be told to fail. It shares no code with
//! the Server's end.

#![expect(
    clippy::unwrap_used,
    reason = "a helper that fails has failed its test"
)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use jims::net::listener;
use jims::net::self_signed::{SelfSigned, ca_certificate, self_signed};
use jims::net::tls::{ALPN_HTTP, ALPN_NONE, ClientCertificates, ServerTls, ServerTlsOptions};
use jims::push::code::Code;
use jims::runtime::clock;
use jims::runtime::supervisor::Tasks;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Ends a wait that will never be over.
pub(crate) const GUARD: Duration = Duration::from_secs(60);
const INVITATION: [u8; 16] = [0xab; 16];

/// What happens to a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// All is well.
    No,
    /// This status, and nothing is applied.
    Status(u16),
    /// The connection ends before anything is applied.
    LostBefore,
    /// Everything is applied, and the connection ends before the answer.
    LostAfter,
    /// The token is good no more.
    TokenEnded,
    /// It starts again: a pass that was under way is forgotten.
    Restart,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    /// Client id and secret of whom was onboarded.
    pub(crate) registered: Option<(String, String)>,
    /// Onboarding is refused so: status and body.
    pub(crate) refuses: Option<(u16, Value)>,
    /// The connection ends after the registration, before the answer.
    pub(crate) loses_onboarding: bool,
    pub(crate) onboardings: Vec<Value>,
    pub(crate) tokens: u64,
    /// Epoch and position.
    pub(crate) stands: Option<(String, u64)>,
    /// What is held, by address, object and domain.
    pub(crate) held: BTreeMap<String, Value>,
    pub(crate) pushes: Vec<Value>,
    pub(crate) faults: VecDeque<Fault>,
    pub(crate) http2: usize,
    pub(crate) requests: Vec<String>,
    /// What was not as documented.
    pub(crate) violations: Vec<String>,
    /// `Date` of answers is so many seconds off.
    pub(crate) clock_off: i64,
    /// Not a jims: every path is unknown.
    pub(crate) is_other: bool,
    marks: Option<BTreeSet<String>>,
}

/// A running Server.
pub(crate) struct Hub {
    pub(crate) address: SocketAddr,
    pub(crate) state: Arc<Mutex<State>>,
    pub(crate) key: [u8; 32],
    folder: tempfile::TempDir,
    heard: Arc<Notify>,
    stop: CancellationToken,
    tasks: Tasks,
}

impl Hub {
    pub(crate) async fn start() -> Self {
        Self::offering(ALPN_HTTP)
    }

    /// One that speaks no HTTP/2.
    pub(crate) fn of_old() -> Self {
        Self::offering(ALPN_NONE)
    }

    fn offering(alpn: &'static [&'static [u8]]) -> Self {
        let any: SocketAddr = "127.77.26.1:0".parse().unwrap();
        let listener = listener::tcp(any, "hub").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let address = listener.local_addr().unwrap();
        let whom = SelfSigned {
            names: Vec::new(),
            addresses: vec![address.ip()],
        };
        let files = self_signed(folder.path(), &whom, clock::utc_now()).unwrap();
        let tls = ServerTls::load(ServerTlsOptions {
            files,
            clients: ClientCertificates::None,
            alpn,
        })
        .unwrap();
        let hub = Self {
            address,
            state: Arc::default(),
            key: tls.certificate().key_sha256,
            folder,
            heard: Arc::default(),
            stop: CancellationToken::new(),
            tasks: Tasks::new(),
        };
        hub.serve(listener, tls);
        hub
    }

    fn serve(&self, listener: TcpListener, tls: Arc<ServerTls>) {
        let (state, heard) = (Arc::clone(&self.state), Arc::clone(&self.heard));
        let (stop, tasks) = (self.stop.clone(), self.tasks.clone());
        self.tasks.spawn("hub", async move {
            while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
                let (stream, _) = accepted.unwrap();
                let (state, heard, tls) =
                    (Arc::clone(&state), Arc::clone(&heard), Arc::clone(&tls));
                let stop = stop.clone();
                tasks.spawn("hub connection", async move {
                    let conversation = async {
                        // A client that does not trust the certificate ends here.
                        let Ok(stream) = tls.acceptor().accept(stream).await else {
                            return;
                        };
                        let service = service_fn(move |request: Request<Incoming>| {
                            let (state, heard) = (Arc::clone(&state), Arc::clone(&heard));
                            async move {
                                let answer = answer(request, &state).await;
                                heard.notify_waiters();
                                answer
                            }
                        });
                        let builder = auto::Builder::new(TokioExecutor::new());
                        let connection = builder.serve_connection(TokioIo::new(stream), service);
                        let _closed = connection.await;
                    };
                    let _stopped = stop.run_until_cancelled(conversation).await;
                });
            }
        });
    }

    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// The code of its invitation.
    pub(crate) fn code(&self) -> String {
        self.code_with_key(self.key)
    }

    pub(crate) fn code_with_key(&self, key: [u8; 32]) -> String {
        Code {
            secret: INVITATION,
            key,
        }
        .text()
    }

    /// The certificate of its issuer.
    pub(crate) fn issuer(&self) -> PathBuf {
        ca_certificate(self.folder.path())
    }

    /// Waits until what it holds and heard is as wanted.
    pub(crate) async fn until(&self, what: &str, is_so: impl Fn(&State) -> bool) {
        let wait = async {
            loop {
                let heard = self.heard.notified();
                tokio::pin!(heard);
                heard.as_mut().enable();
                if is_so(&self.state.lock()) {
                    return;
                }
                heard.await;
            }
        };
        if tokio::time::timeout(GUARD, wait).await.is_err() {
            panic!("not {what}: {:#?}", self.state.lock());
        }
    }

    /// Ends; nobody listens there any more.
    pub(crate) async fn end(&self) {
        self.stop.cancel();
        assert!(self.tasks.finish(GUARD).await.is_empty());
    }

    /// Nothing that came was against the documentation.
    pub(crate) fn is_content(&self) {
        let state = self.state.lock();
        assert!(state.violations.is_empty(), "{:#?}", state.violations);
    }
}

/// Why a connection ends without an answer.
#[derive(Debug, thiserror::Error)]
#[error("lost on purpose")]
struct Lost;

async fn answer(request: Request<Incoming>, state: &Mutex<State>) -> Result<Response<Body>, Lost> {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(Body::new(body), 16 << 20)
        .await
        .map_err(|_| Lost)?;
    let mut state = state.lock();
    state.requests.push(head.uri.path().to_owned());
    if head.version == Version::HTTP_2 {
        state.http2 += 1;
    }
    if state.is_other {
        return Ok(state.say(404, &json!("not here")));
    }
    let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
    match (head.method.as_str(), head.uri.path()) {
        ("GET", "/healthz") => Ok(state.say(200, &Value::Null)),
        ("POST", "/collector/v1/onboard") => state.onboard(&body),
        ("POST", "/oauth_token/oauth") => Ok(state.token(&body)),
        ("POST", "/collector/v1/push") => {
            let token = header("authorization").and_then(|text| text.strip_prefix("Bearer "));
            let is_gzip = header("content-encoding") == Some("gzip");
            let is_json = header("content-type") == Some("application/json");
            if !is_gzip || !is_json {
                state
                    .violations
                    .push(format!("headers: {:?}", head.headers));
            }
            state.push(token, &body)
        }
        (method, path) => {
            state.violations.push(format!("{method} {path}"));
            Ok(state.say(404, &Value::Null))
        }
    }
}

impl State {
    fn say(&self, status: u16, body: &Value) -> Response<Body> {
        let date = jiff::Timestamp::from_millisecond(clock::utc_now().0).unwrap();
        let date = date + jiff::SignedDuration::from_secs(self.clock_off);
        Response::builder()
            .status(status)
            .header("content-type", "application/json")
            .header(
                "date",
                date.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string(),
            )
            .body(Body::from(body.to_string()))
            .unwrap()
    }

    fn onboard(&mut self, body: &[u8]) -> Result<Response<Body>, Lost> {
        let asked: Value = serde_json::from_slice(body).map_err(|_| Lost)?;
        let text = |key: &str| asked[key].as_str().unwrap_or_default().to_owned();
        let (invitation, own) = (
            text("invitation"),
            (text("client_id"), text("client_secret")),
        );
        self.onboardings.push(asked.clone());
        if let Some((status, body)) = &self.refuses {
            return Ok(self.say(*status, body));
        }
        if invitation != "ab".repeat(16) {
            let body = json!({ "error": "unknown_invitation", "error_description": "no" });
            return Ok(self.say(403, &body));
        }
        if self.registered.as_ref().is_some_and(|known| *known != own) {
            let body = json!({ "error": "used_invitation", "error_description": "used" });
            return Ok(self.say(409, &body));
        }
        self.registered = Some(own);
        if self.loses_onboarding {
            return Err(Lost);
        }
        let body = json!({ "protocol": 1, "collector": "branch-1", "server": "hub", "version": "9", "now": 0 });
        Ok(self.say(200, &body))
    }

    fn token(&mut self, body: &[u8]) -> Response<Body> {
        let asked: Value = serde_json::from_slice(body).unwrap_or_default();
        let text = |key: &str| asked[key].as_str().unwrap_or_default().to_owned();
        if self.registered != Some((text("client_id"), text("client_secret"))) {
            return self.say(401, &json!({ "error": "invalid_client" }));
        }
        self.tokens += 1;
        let token = format!("token-{}", self.tokens);
        let body = json!({ "access_token": token, "token_type": "Bearer", "expires_in": 3600 });
        self.say(200, &body)
    }

    fn push(&mut self, token: Option<&str>, body: &[u8]) -> Result<Response<Body>, Lost> {
        let fault = self.faults.pop_front();
        match fault {
            Some(Fault::Status(status)) => return Ok(self.say(status, &Value::Null)),
            Some(Fault::LostBefore) => return Err(Lost),
            Some(Fault::TokenEnded) => return Ok(self.say(401, &Value::Null)),
            Some(Fault::Restart) => {
                if self.marks.take().is_some() {
                    self.stands = None;
                }
            }
            Some(Fault::LostAfter | Fault::No) | None => {}
        }
        if token != Some(format!("token-{}", self.tokens).as_str()) {
            return Ok(self.say(401, &Value::Null));
        }
        let mut text = String::new();
        flate2::read::GzDecoder::new(body)
            .read_to_string(&mut text)
            .map_err(|_| Lost)?;
        let push: Value = serde_json::from_str(&text).map_err(|_| Lost)?;
        let status = self.apply(&push);
        self.pushes.push(push);
        if fault == Some(Fault::LostAfter) {
            return Err(Lost);
        }
        let stands = self.stands.as_ref();
        let stands =
            stands.map(|(epoch, position)| json!({ "epoch": epoch, "position": position }));
        Ok(self.say(status, &json!({ "accepted": stands, "now": 0 })))
    }

    fn apply(&mut self, push: &Value) -> u16 {
        let epoch = push["epoch"].as_str().unwrap_or_default().to_owned();
        let (after, position) = (
            push["after"].as_u64().unwrap(),
            push["position"].as_u64().unwrap(),
        );
        let changes = push["changes"].as_array().unwrap();
        if changes.len() > 4096 || position < after {
            self.violations
                .push(format!("{} changes, {after} to {position}", changes.len()));
        }
        if push["begins"] == true {
            self.marks = Some(BTreeSet::new());
            self.stands = Some((epoch.clone(), 0));
        }
        if self.stands != Some((epoch.clone(), after)) {
            return 409;
        }
        for change in changes {
            let field = |name: &str| change[name].as_str().unwrap_or_default().to_owned();
            let (key, is_gone) = match field("is").as_str() {
                "address" => {
                    let is_empty = change.get("user").is_none() && change.get("device").is_none();
                    (field("ip"), is_empty)
                }
                "domain" => (field("domain"), false),
                "object" => (field("id"), false),
                "gone" => (field("id"), true),
                other => {
                    self.violations.push(format!("a change that is {other}"));
                    continue;
                }
            };
            if let Some(marks) = &mut self.marks {
                marks.insert(key.clone());
            }
            if is_gone {
                self.held.remove(&key);
            } else {
                self.held.insert(key, change.clone());
            }
        }
        self.stands = Some((epoch, position));
        if push["more"] == false
            && let Some(marks) = self.marks.take()
        {
            self.held.retain(|key, _| marks.contains(key));
        }
        200
    }
}
