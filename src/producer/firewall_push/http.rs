//! `POST /userfw/v1/post-entry`: who may push, what is read, with which status it is answered.
//!
//! Order: known address and certificate (403), pace (429), method (405), credential (401), content type (415), size
//! (413), document (400), room in the queue (503). Only then an entry's fate is decided, by the table, and told. A
//! status of success without that would lose logoffs silently.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, Version, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;

use super::answer::Answer;
use super::document::{self, Entry};
use super::interpret::interpret;
use super::{FirewallPushes, Sender};
use crate::access::{Access, Client, LoginRefused, Role, basic, bearer};
use crate::identity::event::IdentityEvent;
use crate::net::http::{Peer, PeerNames, prefers_xml, retry_after};
use crate::runtime::clock;
use crate::runtime::strangers::Tried;
use crate::writer::NotTaken;

/// Largest document, in bytes (rule 32).
pub const MAX_BODY_BYTES: usize = 1 << 20;
/// How long a document waits for its turn to be read, and then for room in the queue.
const ROOM_WITHIN: Duration = Duration::from_secs(2);
/// How long the table may take to judge a document: longer than an order from elsewhere takes while its leader changes.
/// After that the sender is told to come again, though the table may have taken it; told twice it is the same.
const JUDGED_WITHIN: Duration = Duration::from_secs(20);
/// How much a sender that is refused may finish sending, and how long that may take.
const FINISH_BYTES: usize = 64 * 1024;
const FINISH_WITHIN: Duration = Duration::from_millis(250);
/// When a sender that came too early should come again, in seconds.
const RETRY_BUSY_S: u64 = 5;

/// What answers.
pub(super) fn router(pushes: FirewallPushes, access: Access) -> Router {
    let mut router = Router::new();
    for prefix in ["", "/api"] {
        router = router.route(&format!("{prefix}/userfw/v1/post-entry"), any(push));
    }
    router.with_state(Gate { pushes, access })
}

#[derive(Clone)]
struct Gate {
    pushes: FirewallPushes,
    access: Access,
}

type Refusal = Box<Response>;

async fn push(State(gate): State<Gate>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let sender = match gate.sender(&parts) {
        Ok(sender) => sender,
        Err(refused) => return *refused,
    };
    let answered = match gate.authorised(&parts, &sender) {
        Ok(()) => taken(&gate.pushes, &sender, &parts, body).await,
        Err(refused) => {
            let_finish(&parts, body).await;
            Err(refused)
        }
    };
    let answer = answered.unwrap_or_else(|refused| *refused);
    metrics::counter!(
        "jims_firewall_push_documents_total",
        "producer" => sender.name.to_string(),
        "status" => answer.status().as_str().to_owned()
    )
    .increment(1);
    answer
}

impl Gate {
    /// Whose address it is.
    fn sender(&self, parts: &Parts) -> Result<Arc<Sender>, Refusal> {
        let forbidden = || Box::new(StatusCode::FORBIDDEN.into_response());
        let address = peer(parts).ok_or_else(forbidden)?;
        let clients = self.access.clients();
        let here = clients.at(Role::PushIn, address);
        let Some(client) = here.first() else {
            let strangers = &self.pushes.0.surroundings.strangers;
            strangers.note(Tried::Push, address, clock::utc_now());
            return Err(forbidden());
        };
        // A reload lets it call before the table has its scope.
        let sender = self.pushes.named(&client.name).ok_or_else(busy)?;
        let names = parts.extensions.get::<PeerNames>();
        if !client.is_certified(names.map_or(&[][..], |names| &*names.0)) {
            sender.report.count_dropped("no-certificate", 1);
            return Err(forbidden());
        }
        let everyone = clients.everyone_at(address).len();
        let admitted = (self.access).admit(address, everyone, clock::monotonic_now());
        admitted.map_err(|wait| {
            sender.report.count_dropped("too-fast", 1);
            too_many(wait)
        })?;
        Ok(sender)
    }

    /// Whether it pushes, and the credential is the sender's: name and password each time, or a token.
    fn authorised(&self, parts: &Parts, sender: &Sender) -> Result<(), Refusal> {
        // Not by the router, which would tell strangers too.
        if parts.method != Method::POST {
            let allowed = [(header::ALLOW, "POST")];
            return Err(Box::new(
                (StatusCode::METHOD_NOT_ALLOWED, allowed).into_response(),
            ));
        }
        let now = clock::utc_now();
        let address = peer(parts).ok_or_else(unauthorized)?;
        let owns = |client: &Client| client.name == sender.name;
        if let Some(token) = bearer(&parts.headers) {
            let holder = self.access.by_token(Role::PushIn, address, token, now);
            return match holder {
                Some(client) if owns(&client) => Ok(()),
                _ => Err(refused_login(sender)),
            };
        }
        let Some((user, password)) = basic(&parts.headers) else {
            return Err(unauthorized());
        };
        let login = (self.access).login(Some(Role::PushIn), address, &user, &password, now);
        match login {
            Ok(client) if owns(&client) => Ok(()),
            Ok(_) | Err(LoginRefused::Wrong(_)) => Err(refused_login(sender)),
            Err(LoginRefused::Delayed(wait)) => Err(too_many(wait)),
        }
    }
}

/// Lets a sender that is about to be refused finish over HTTP/2. An answer may come before the request is whole (RFC 9113,
/// section 8.1), but curl of version 7.88 takes it for a broken stream, and nobody would see that the password is wrong.
async fn let_finish(parts: &Parts, body: Body) {
    if parts.version == Version::HTTP_2 {
        let read = axum::body::to_bytes(body, FINISH_BYTES);
        let _whatever_it_was = tokio::time::timeout(FINISH_WITHIN, read).await;
    }
}

/// Reads a document and has the table judge it.
async fn taken(
    pushes: &FirewallPushes,
    sender: &Sender,
    parts: &Parts,
    body: Body,
) -> Result<Response, Refusal> {
    if !is_xml(&parts.headers) {
        let_finish(parts, body).await;
        return Err(Box::new(StatusCode::UNSUPPORTED_MEDIA_TYPE.into_response()));
    }
    // Nothing is read before there is room, so what waits takes no memory.
    let room = tokio::time::timeout(ROOM_WITHIN, sender.room.acquire()).await;
    let Ok(Ok(_room)) = room else {
        sender.report.count_dropped("too-many-at-once", 1);
        return Err(busy());
    };
    let body: Bytes = axum::body::to_bytes(body, MAX_BODY_BYTES)
        .await
        .map_err(|_| Box::new(StatusCode::PAYLOAD_TOO_LARGE.into_response()))?;
    let entries = document::read(&body).map_err(|error| {
        sender.report.count_dropped("malformed", 1);
        let said = serde_json::json!({
            "error": "invalid_request", "error_description": error.to_string()
        });
        Box::new((StatusCode::BAD_REQUEST, axum::Json(said)).into_response())
    })?;
    sender.heard(entries.len());
    let answer = judged(pushes, sender, &entries).await?.sorted();
    let status = if answer.is_refused() {
        StatusCode::BAD_REQUEST
    } else {
        StatusCode::OK
    };
    let (kind, body) = if prefers_xml(&parts.headers) {
        ("application/xml", answer.to_xml())
    } else {
        ("application/json", answer.to_json())
    };
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-store"),
    ];
    Ok((status, headers, body).into_response())
}

async fn judged(
    pushes: &FirewallPushes,
    sender: &Sender,
    entries: &[Entry],
) -> Result<Answer, Refusal> {
    let now = clock::utc_now();
    let mut answer = Answer::default();
    let mut numbers: Vec<(usize, Option<IpAddr>)> = Vec::new();
    let mut events: Vec<IdentityEvent> = Vec::new();
    for (number, entry) in (1..).zip(entries) {
        match interpret(&sender.settings, entry, number, now) {
            Ok(made) => {
                if let Some(replaced) = made.replaced {
                    sender.report.count_noted(replaced.as_str(), 1);
                }
                numbers.push((number, made.event.address));
                events.push(made.event);
            }
            Err(refused) => {
                sender.report.count_ignored(refused.as_str());
                answer.refused(number, refused.as_str());
            }
        }
    }
    if events.is_empty() {
        return Ok(answer);
    }
    let understood = events.len() as u64;
    let judging = pushes.0.surroundings.intake.judge(events, ROOM_WITHIN);
    let verdicts = tokio::time::timeout(JUDGED_WITHIN, judging).await;
    let verdicts = verdicts
        .unwrap_or(Err(NotTaken::Full))
        .map_err(|not_taken| {
            if not_taken == NotTaken::Full {
                sender.report.count_dropped("queue-full", understood);
            }
            busy()
        })?;
    sender.report.count_interpreted(understood);
    for ((number, address), verdict) in numbers.into_iter().zip(&verdicts) {
        // The writer has counted what it ignored.
        answer.judged(number, address, verdict);
    }
    Ok(answer)
}

fn peer(parts: &Parts) -> Option<IpAddr> {
    parts.extensions.get::<Peer>().map(|peer| peer.0.ip())
}

/// Whether the body is said to be XML, or nothing is said.
fn is_xml(headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(header::CONTENT_TYPE) else {
        return true;
    };
    let kind = kind.to_str().unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    ["application/xml", "text/xml"]
        .iter()
        .any(|xml| xml.eq_ignore_ascii_case(kind))
}

fn refused_login(sender: &Sender) -> Refusal {
    sender.report.count_dropped("unauthorized", 1);
    tracing::warn!(producer = %sender.name, "push refused: user and password are not the configured ones");
    unauthorized()
}

fn unauthorized() -> Refusal {
    let challenge = [(header::WWW_AUTHENTICATE, "Basic realm=\"jims\"")];
    Box::new((StatusCode::UNAUTHORIZED, challenge).into_response())
}

fn busy() -> Refusal {
    let retry = [(header::RETRY_AFTER, RETRY_BUSY_S.to_string())];
    Box::new((StatusCode::SERVICE_UNAVAILABLE, retry).into_response())
}

fn too_many(wait: Duration) -> Refusal {
    let retry = [(header::RETRY_AFTER, retry_after(wait))];
    Box::new((StatusCode::TOO_MANY_REQUESTS, retry).into_response())
}
