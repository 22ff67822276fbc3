//! A strict SRX for pushes: the Web API over TLS, with a table that holds what it was told.
//!
//! It refuses what the documentation does not show: another path, content type or user, XML that is not well-formed,
//! elements that are unknown, out of order or too many. It can be told to fail in the ways that firewalls do. It shares
//! no code with the writer of documents.

#![expect(
    clippy::unwrap_used,
    reason = "a helper that fails has failed its test"
)]

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use base64::Engine as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use jims::net::listener;
use jims::net::self_signed::{SelfSigned, ca_certificate, self_signed};
use jims::net::tls::{ALPN_NONE, ClientCertificates, ServerTls, ServerTlsOptions};
use jims::runtime::clock;
use jims::runtime::supervisor::Tasks;
use parking_lot::Mutex;
use quick_xml::events::Event;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Ends a wait that will never be over.
const GUARD: Duration = Duration::from_secs(60);

const ORDER: [&str; 9] = [
    "source",
    "timestamp",
    "operation",
    "IP",
    "domain",
    "user",
    "role-list",
    "posture",
    "end-user-attribute",
];
const POSTURES: [&str; 6] = [
    "Healthy",
    "Checkup",
    "Transition",
    "Quarantine",
    "Infected",
    "Unknown",
];

/// What the firewall holds for an address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) user: Option<String>,
    pub(crate) domain: String,
    pub(crate) roles: Vec<String>,
    pub(crate) device: Option<String>,
}

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// This status, and nothing is applied.
    Status(u16),
    /// The connection ends before anything is applied.
    LostBefore,
    /// Everything is applied, and the connection ends before the answer.
    LostAfter,
    /// 200 with a body that speaks of an error, and nothing is applied.
    ErrorInBody,
}

/// A document that was applied.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) at: Instant,
    /// `logon ADDRESS USER|--` and `logoff ADDRESS`, in order.
    pub(crate) entries: Vec<String>,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) table: BTreeMap<IpAddr, Held>,
    pub(crate) told: Vec<Told>,
    pub(crate) requests: usize,
    pub(crate) connections: usize,
    /// Requests with another user or password.
    pub(crate) unauthorized: usize,
    pub(crate) password: String,
    /// For the next requests.
    pub(crate) faults: VecDeque<Fault>,
    /// A logon for it spoils its document.
    pub(crate) poison: Option<IpAddr>,
    /// Whatever comes is refused.
    pub(crate) refuses_all: bool,
    /// Larger documents get 413.
    pub(crate) max_entries: Option<usize>,
    /// What was not as documented.
    pub(crate) violations: Vec<String>,
    /// Users of whom entries came, with the source.
    pub(crate) sources: Vec<String>,
}

/// A running firewall.
pub(crate) struct Srx {
    pub(crate) address: SocketAddr,
    pub(crate) state: Arc<Mutex<State>>,
    pub(crate) fingerprint: String,
    folder: tempfile::TempDir,
    heard: Arc<Notify>,
    stop: CancellationToken,
    tasks: Tasks,
}

impl Srx {
    /// Listens on loopback, with a certificate of its own for that address.
    pub(crate) async fn start(password: &str) -> Self {
        let any: SocketAddr = "127.77.12.1:0".parse().unwrap();
        let listener = listener::tcp(any, "srx").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut srx = Self {
            address: listener.local_addr().unwrap(),
            state: Arc::default(),
            fingerprint: String::new(),
            folder,
            heard: Arc::default(),
            stop: CancellationToken::new(),
            tasks: Tasks::new(),
        };
        srx.state.lock().password = password.to_owned();
        srx.serve(listener);
        srx
    }

    fn serve(&mut self, listener: TcpListener) {
        let whom = SelfSigned {
            names: Vec::new(),
            addresses: vec![self.address.ip()],
        };
        let files = self_signed(self.folder.path(), &whom, clock::utc_now()).unwrap();
        let tls = ServerTls::load(ServerTlsOptions {
            files,
            clients: ClientCertificates::None,
            alpn: ALPN_NONE,
        })
        .unwrap();
        self.fingerprint = tls.certificate().fingerprint;
        let (state, heard) = (Arc::clone(&self.state), Arc::clone(&self.heard));
        let (stop, tasks) = (self.stop.clone(), self.tasks.clone());
        self.tasks.spawn("srx", async move {
            while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
                let (stream, _) = accepted.unwrap();
                let (state, heard, tls) =
                    (Arc::clone(&state), Arc::clone(&heard), Arc::clone(&tls));
                let stop = stop.clone();
                tasks.spawn("srx connection", async move {
                    let conversation = converse(stream, tls, state, heard);
                    let _stopped = stop.run_until_cancelled(conversation).await;
                });
            }
        });
    }

    /// The certificate of its issuer.
    pub(crate) fn certificate(&self) -> PathBuf {
        ca_certificate(self.folder.path())
    }

    /// Closes listener and connections, as a restart does, and forgets everything.
    pub(crate) async fn restart(&mut self, meanwhile: impl AsyncFnOnce()) {
        self.stop.cancel();
        assert!(self.tasks.finish(GUARD).await.is_empty());
        self.state.lock().table.clear();
        meanwhile().await;
        (self.stop, self.tasks) = (CancellationToken::new(), Tasks::new());
        self.serve(listener::tcp(self.address, "srx").unwrap());
    }

    /// Waits until what it holds and heard is as wanted.
    pub(crate) async fn until(&self, what: &str, is_so: impl Fn(&State) -> bool) {
        let wait = async {
            loop {
                let heard = self.heard.notified();
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

    /// `ADDRESS USER|-- DEVICE|--` of every entry, sorted.
    pub(crate) fn holds(&self) -> Vec<String> {
        shown(&self.state.lock().table)
    }

    /// Everything that was applied, in order.
    pub(crate) fn told(&self) -> Vec<String> {
        let state = self.state.lock();
        state
            .told
            .iter()
            .flat_map(|told| told.entries.clone())
            .collect()
    }

    /// Nothing that came was against the documentation.
    pub(crate) fn is_content(&self) {
        let state = self.state.lock();
        assert!(state.violations.is_empty(), "{:#?}", state.violations);
    }
}

fn shown(table: &BTreeMap<IpAddr, Held>) -> Vec<String> {
    let dash = |name: &Option<String>| name.clone().unwrap_or_else(|| "--".into());
    let one = |(address, held): (&IpAddr, &Held)| {
        format!("{address} {} {}", dash(&held.user), dash(&held.device))
    };
    table.iter().map(one).collect()
}

async fn converse(
    stream: TcpStream,
    tls: Arc<ServerTls>,
    state: Arc<Mutex<State>>,
    heard: Arc<Notify>,
) {
    state.lock().connections += 1;
    heard.notify_waiters();
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
    let _closed = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// Why a connection ends without an answer.
#[derive(Debug, thiserror::Error)]
#[error("lost on purpose")]
struct Lost;

async fn answer(request: Request<Incoming>, state: &Mutex<State>) -> Result<Response<Body>, Lost> {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(Body::new(body), 8 << 20)
        .await
        .map_err(|_| Lost)?;
    let mut state = state.lock();
    state.requests += 1;
    let fault = state.faults.pop_front();
    match fault {
        Some(Fault::Status(status)) => return Ok(say(status, "on purpose")),
        Some(Fault::LostBefore) => return Err(Lost),
        Some(Fault::ErrorInBody) => return Ok(say(200, "<result><error>busy</error></result>")),
        Some(Fault::LostAfter) | None => {}
    }
    let expected = format!("jims:{}", state.password);
    let expected = base64::engine::general_purpose::STANDARD.encode(expected);
    let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
    if header("authorization") != Some(&format!("Basic {expected}")) {
        state.unauthorized += 1;
        return Ok(say(401, ""));
    }
    let target = (head.method.as_str(), head.uri.path());
    if target != ("POST", "/api/userfw/v1/post-entry") {
        return Ok(say(404, ""));
    }
    if state.refuses_all {
        return Ok(say(400, "bad request"));
    }
    if header("content-type") != Some("application/xml") {
        state
            .violations
            .push(format!("content type {:?}", header("content-type")));
        return Ok(say(400, "content type"));
    }
    let entries = match read(&body) {
        Ok(entries) => entries,
        Err(violation) => {
            let document = String::from_utf8_lossy(&body).into_owned();
            state.violations.push(format!("{violation} in {document}"));
            return Ok(say(400, &violation));
        }
    };
    if state.max_entries.is_some_and(|most| entries.len() > most) {
        return Ok(say(413, ""));
    }
    let poisoned = |entry: &Entry| !entry.logoff && Some(entry.address) == state.poison;
    if entries.iter().any(poisoned) {
        return Ok(say(400, "an entry is not understood"));
    }
    apply(&mut state, entries);
    if fault == Some(Fault::LostAfter) {
        return Err(Lost);
    }
    Ok(say(200, "<result>success</result>"))
}

fn say(status: u16, body: &str) -> Response<Body> {
    let mut answer = Response::new(Body::from(body.to_owned()));
    *answer.status_mut() = hyper::StatusCode::from_u16(status).unwrap();
    answer
}

fn apply(state: &mut State, entries: Vec<Entry>) {
    let mut told = Told {
        at: clock::monotonic_now(),
        entries: Vec::new(),
    };
    for entry in entries {
        let Entry {
            address,
            logoff,
            source,
            held,
        } = entry;
        if !state.sources.contains(&source) {
            state.sources.push(source);
        }
        if logoff {
            told.entries.push(format!("logoff {address}"));
            state.table.remove(&address);
            continue;
        }
        let user = held.user.clone().unwrap_or_else(|| "--".into());
        told.entries.push(format!("logon {address} {user}"));
        let before = state.table.get(&address);
        if held.user.is_none() && before.is_some_and(|before| before.user.is_some()) {
            let violation = format!("{address}: nobody over a user without a logoff");
            state.violations.push(violation);
        }
        state.table.insert(address, held);
    }
    state.told.push(told);
}

struct Entry {
    address: IpAddr,
    logoff: bool,
    source: String,
    held: Held,
}

/// One element of a document.
#[derive(Debug, Default)]
struct Element {
    name: String,
    text: String,
    children: Vec<Element>,
}

impl Element {
    fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    fn text_of(&self, name: &str) -> Result<String, String> {
        let child = self.child(name).ok_or_else(|| format!("no {name}"))?;
        let is_leaf = child.children.is_empty() && !child.text.is_empty();
        is_leaf
            .then(|| child.text.clone())
            .ok_or_else(|| format!("{name} is empty"))
    }

    /// The texts of children that are all of one name.
    fn texts(&self, of: &str) -> Result<Vec<String>, String> {
        let one = |child: &Self| {
            let fits = child.name == of && child.children.is_empty() && !child.text.is_empty();
            fits.then(|| child.text.clone())
                .ok_or_else(|| format!("{child:?} is no {of}"))
        };
        self.children.iter().map(one).collect()
    }
}

/// Reads a document as strictly as the documentation allows.
fn read(body: &[u8]) -> Result<Vec<Entry>, String> {
    let text = std::str::from_utf8(body).map_err(|error| error.to_string())?;
    if !text.starts_with("<?xml version=\"1.0\" encoding=\"UTF-8\"?>") {
        return Err("no declaration".into());
    }
    let root = tree(text)?;
    if root.name != "userfw-entries" || root.children.is_empty() || root.children.len() > 1001 {
        return Err(format!(
            "{} with {} entries",
            root.name,
            root.children.len()
        ));
    }
    root.children.iter().map(entry).collect()
}

fn tree(text: &str) -> Result<Element, String> {
    let mut reader = quick_xml::Reader::from_str(text);
    let mut open = vec![Element::default()];
    loop {
        let event = reader.read_event().map_err(|error| error.to_string())?;
        match event {
            Event::Start(start) => {
                if start.attributes().next().is_some() {
                    return Err("an attribute".into());
                }
                let name = start.name().as_ref().to_owned();
                open.push(Element {
                    name,
                    ..Element::default()
                });
            }
            Event::End(_) => {
                let closed = open.pop().ok_or("too many ends")?;
                open.last_mut()
                    .ok_or("an end too many")?
                    .children
                    .push(closed);
            }
            Event::Text(text) => {
                let part: &str = &text;
                let element = open.last_mut().ok_or("text outside")?;
                if !part.trim().is_empty() {
                    element.text.push_str(part);
                }
            }
            Event::GeneralRef(reference) => {
                let name: &str = &reference;
                let meant = quick_xml::escape::unescape(&format!("&{name};"))
                    .map_err(|error| error.to_string())?
                    .into_owned();
                open.last_mut().ok_or("text outside")?.text.push_str(&meant);
            }
            Event::Decl(_) => {}
            Event::Eof => break,
            other => return Err(format!("{other:?}")),
        }
    }
    let mut root = open.pop().filter(|_| open.is_empty()).ok_or("not closed")?;
    let document = root.children.pop().ok_or("nothing")?;
    if root.children.is_empty() {
        Ok(document)
    } else {
        Err("two roots".into())
    }
}

fn entry(element: &Element) -> Result<Entry, String> {
    if element.name != "userfw-entry" {
        return Err(format!("{} is no userfw-entry", element.name));
    }
    let place = |child: &Element| ORDER.iter().position(|name| *name == child.name);
    let places: Option<Vec<usize>> = element.children.iter().map(place).collect();
    let places = places.ok_or_else(|| format!("an unknown element in {element:?}"))?;
    if !places.is_sorted_by(|a, b| a < b) {
        return Err(format!("elements twice or out of order in {element:?}"));
    }
    let source = element.text_of("source")?;
    let stamp = element.text_of("timestamp")?;
    if !stamp.ends_with('Z') || stamp.parse::<jiff::Timestamp>().is_err() {
        return Err(format!("{stamp} is no time in UTC"));
    }
    let address = element.text_of("IP")?;
    let address: IpAddr = address
        .parse()
        .map_err(|_| format!("{address} is no address"))?;
    let logoff = match element.text_of("operation")?.as_str() {
        "logoff" if places.len() == 4 => true,
        "logon" => false,
        other => return Err(format!("operation {other} in {element:?}")),
    };
    let held = if logoff {
        Held::default()
    } else {
        held(element)?
    };
    Ok(Entry {
        address,
        logoff,
        source,
        held,
    })
}

fn held(element: &Element) -> Result<Held, String> {
    let posture = element.text_of("posture")?;
    if !POSTURES.contains(&posture.as_str()) {
        return Err(format!("posture {posture}"));
    }
    let user = element.child("user").map(|_| element.text_of("user"));
    let roles = element.child("role-list").map(|list| list.texts("role"));
    let roles = roles.transpose()?.unwrap_or_default();
    if roles.len() > 200 {
        return Err(format!("{} roles", roles.len()));
    }
    let device = element
        .child("end-user-attribute")
        .map(device)
        .transpose()?;
    Ok(Held {
        user: user.transpose()?,
        domain: element.text_of("domain")?,
        roles,
        device,
    })
}

fn device(attribute: &Element) -> Result<String, String> {
    let known = [
        "device-identity",
        "device-category",
        "device-os",
        "device-os-version",
    ];
    if let Some(other) = attribute
        .children
        .iter()
        .find(|child| !known.contains(&child.name.as_str()))
    {
        return Err(format!("{other:?} in end-user-attribute"));
    }
    let identity = attribute
        .child("device-identity")
        .ok_or("no device-identity")?;
    if let Some(groups) = identity.child("groups") {
        groups.texts("group")?;
    }
    identity.text_of("value")
}

#[test]
fn the_fake_is_strict() {
    let good = "<source>x</source><timestamp>2026-01-17T15:29:37Z</timestamp>\
                <operation>logon</operation><IP>10.1.2.50</IP><domain>corp.example.com</domain>\
                <user>a&amp;b</user><posture>Healthy</posture>";
    let document = |entry: &str| {
        let head = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>";
        format!("{head}<userfw-entries><userfw-entry>{entry}</userfw-entry></userfw-entries>")
    };
    let entries = read(document(good).as_bytes()).unwrap();
    assert_eq!(entries[0].held.user.as_deref(), Some("a&b"));
    for (from, to) in [
        ("logon", "logout"),
        ("logon", "logoff"),
        ("10.1.2.50", "10.1.2"),
        ("37Z", "37+01:00"),
        ("<user>a&amp;b</user>", "<user></user>"),
        ("<source>x</source>", ""),
        ("<user>", "<name>x</name><user>"),
        ("<posture>", "<source>x</source><posture>"),
        ("Healthy", "Well"),
        ("</user>", ""),
        ("&amp;", "&"),
    ] {
        let bad = document(&good.replace(from, to));
        assert!(read(bad.as_bytes()).is_err(), "{bad}");
    }
}
