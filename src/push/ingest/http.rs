//! `/collector/v1/…`: who may call, in which order a request is judged, with which status it is answered.
//!
//! Any address may call (rule 31), but not often, and nothing is read of who shows no credential. Order for a push: pace
//! (429), token (401), enabled (403), ready (503), protocol and shape (400, 413), position (409). A status of success
//! means that the table holds it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use tokio::sync::{OwnedMutexGuard, oneshot};

use super::body::{self, NoPush};
use super::interpret::interpret;
use super::receiving::{self, Outcome};
use super::stream::{self, Stream};
use super::{Entry, Ingest, Inner};
use crate::access::{Role, bearer};
use crate::net::http::{Peer, retry_after};
use crate::push::shape::{
    Accepted, MINIMUM_PROTOCOL, ONBOARD_PATH, Onboard, Onboarded, PROTOCOL, PUSH_PATH, Position,
    Push, Reason, Refused, Totals,
};
use crate::runtime::clock;

/// Largest registration, in bytes.
const MAX_ONBOARD_BYTES: usize = 16 * 1024;
/// How long a push waits for the one before it of the same Collector.
const TURN_WITHIN: Duration = Duration::from_secs(5);
/// When a Collector that came too early should come again.
const RETRY_BUSY: Duration = Duration::from_secs(5);

/// What answers.
pub(super) fn router(ingest: Ingest) -> Router {
    let mut router = Router::new();
    for prefix in ["", "/api"] {
        router = router
            .route(&format!("{prefix}{ONBOARD_PATH}"), post(onboard))
            .route(&format!("{prefix}{PUSH_PATH}"), post(push));
    }
    router.with_state(ingest)
}

type Refusal = Box<Response>;

async fn onboard(State(ingest): State<Ingest>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let answer = onboarded(&ingest.0, &parts, body).await;
    answer.unwrap_or_else(|refused| *refused)
}

async fn push(State(ingest): State<Ingest>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let answer = pushed(&ingest.0, &parts, body).await;
    let answer = answer.unwrap_or_else(|refused| *refused);
    metrics::counter!(
        "jims_collector_pushes_total",
        "status" => answer.status().as_str().to_owned()
    )
    .increment(1);
    answer
}

/// Who calls, if Collectors may call at all and this address not too often.
fn admitted(inner: &Inner, parts: &Parts) -> Result<IpAddr, Refusal> {
    let forbidden = || Box::new(StatusCode::FORBIDDEN.into_response());
    let peer = parts.extensions.get::<Peer>().ok_or_else(forbidden)?;
    if !inner.is_enabled() {
        return Err(forbidden());
    }
    let address = peer.0.ip();
    let everyone = inner.access.clients().everyone_at(address).len();
    let admitted = (inner.access).admit(address, everyone, clock::monotonic_now());
    admitted.map_err(too_many)?;
    Ok(address)
}

async fn onboarded(inner: &Inner, parts: &Parts, body: Body) -> Result<Response, Refusal> {
    let address = admitted(inner, parts)?;
    if let Some(wait) = inner.access.guess_delay(address, clock::utc_now()) {
        return Err(too_many(wait));
    }
    let bytes = body::read(body, MAX_ONBOARD_BYTES).await.map_err(no_push)?;
    let asked = body::parse(&bytes, |asked: &Onboard| asked.protocol).map_err(no_push)?;
    let collector = inner.onboard(&asked, address).await;
    let collector = collector.map_err(|(reason, why)| {
        if reason == Reason::UnknownInvitation {
            inner.access.guessed_wrong(address, clock::utc_now());
        }
        tracing::info!(%why, "a Collector was not onboarded");
        tracing::debug!(%address, "from there");
        not_onboarded(reason, why)
    })?;
    tracing::info!(%collector, "a Collector is onboarded");
    let answer = Onboarded {
        protocol: PROTOCOL,
        collector,
        server: inner.server.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        now: clock::utc_now().0,
    };
    Ok(axum::Json(answer).into_response())
}

async fn pushed(inner: &Arc<Inner>, parts: &Parts, body: Body) -> Result<Response, Refusal> {
    let address = admitted(inner, parts)?;
    let entry = authorised(inner, parts, address)?;
    if !inner.readiness.is_ready() {
        return Err(busy());
    }
    let turn = Arc::clone(&entry.stream).lock_owned();
    let turn = tokio::time::timeout(TURN_WITHIN, turn).await;
    let turn = turn.map_err(|_late| busy())?;
    // Nothing is read before it is its turn, so what waits takes no memory.
    let push = inner.parsing.push(&parts.headers, body).await;
    let push = push.map_err(|no| {
        entry.live.lock().refused(&said(&no));
        no_push(no)
    })?;
    handled(inner, entry, turn, push, address).await
}

/// The Collector whose token it is, if it is enabled.
fn authorised(inner: &Inner, parts: &Parts, address: IpAddr) -> Result<Arc<Entry>, Refusal> {
    let now = clock::utc_now();
    let holder = bearer(&parts.headers)
        .and_then(|token| inner.access.by_token(Role::Collect, address, token, now));
    let registry = inner.registry.load();
    let known = holder.and_then(|client| {
        let one = registry.collector(&client.name)?;
        let entry = inner.entry(&client.name)?;
        (*client.client_id == *entry.client_id).then_some((one.enabled, entry))
    });
    let (enabled, entry) = known.ok_or_else(unauthorized)?;
    if !enabled {
        let why = "the operator of the Server disabled this Collector";
        return Err(refused(StatusCode::FORBIDDEN, Reason::Disabled, why));
    }
    Ok(entry)
}

/// Understands a push and has it applied; whole, even if the Collector goes away meanwhile.
async fn handled(
    inner: &Arc<Inner>,
    entry: Arc<Entry>,
    turn: OwnedMutexGuard<Option<Stream>>,
    push: Push,
    address: IpAddr,
) -> Result<Response, Refusal> {
    let (done, outcome) = oneshot::channel();
    let working = Arc::clone(inner);
    inner.tasks.spawn("collector push", async move {
        let _gone = done.send(work(&working, &entry, turn, push, address).await);
    });
    match outcome.await {
        Ok(Outcome::Taken(stands)) => Ok(accepted(StatusCode::OK, stands)),
        Ok(Outcome::DoesNotFit(stands)) => Ok(accepted(StatusCode::CONFLICT, stands)),
        Ok(Outcome::Invalid(why)) => Err(refused(
            StatusCode::BAD_REQUEST,
            Reason::InvalidRequest,
            why,
        )),
        Ok(Outcome::Gone) => Err(unauthorized()),
        Ok(Outcome::Busy) | Err(_) => Err(busy()),
    }
}

async fn work(
    inner: &Arc<Inner>,
    entry: &Entry,
    mut turn: OwnedMutexGuard<Option<Stream>>,
    mut push: Push,
    address: IpAddr,
) -> Outcome {
    let outcome = understood(inner, entry, &mut turn, &mut push, address).await;
    match outcome {
        Ok((outcome, counts)) => {
            if matches!(outcome, Outcome::Taken(_)) {
                entry.live.lock().took(&counts, clock::utc_now());
            }
            if let Outcome::Invalid(why) = &outcome {
                entry.live.lock().refused(why);
            }
            outcome
        }
        Err(why) => {
            tracing::warn!(collector = %entry.name, "a push was refused: {why}");
            entry.live.lock().refused(&why);
            Outcome::Invalid(why)
        }
    }
}

async fn understood(
    inner: &Arc<Inner>,
    entry: &Entry,
    turn: &mut Option<Stream>,
    push: &mut Push,
    address: IpAddr,
) -> Result<(Outcome, Totals), String> {
    // It may have been removed or disabled while it waited for its turn.
    let registry = inner.registry.load_full();
    let is_there = registry
        .collector(&entry.name)
        .is_some_and(|one| one.enabled && one.client_id == entry.client_id);
    if !is_there {
        return Ok((Outcome::Gone, Totals::default()));
    }
    stream::check(push)?;
    let now = clock::utc_now();
    let told = interpret(std::mem::take(&mut push.changes), now)?;
    let counts = told.counts;
    inner
        .introduced(&entry.name, &push.collector, address)
        .await;
    let at = (clock::monotonic_now(), now);
    entry.live.lock().heard(push, address, at);
    let outcome = receiving::receive(inner, entry, turn, push, told).await;
    Ok((outcome, counts))
}

fn accepted(status: StatusCode, stands: Option<Position>) -> Response {
    let body = Accepted {
        accepted: stands,
        now: clock::utc_now().0,
    };
    (status, axum::Json(body)).into_response()
}

fn refused(status: StatusCode, error: Reason, why: impl Into<String>) -> Refusal {
    let body = Refused {
        error,
        error_description: why.into(),
        minimum: (error == Reason::Protocol).then_some(MINIMUM_PROTOCOL),
        now: clock::utc_now().0,
    };
    Box::new((status, axum::Json(body)).into_response())
}

fn protocol() -> Refusal {
    let why = format!("this Server takes the protocols {MINIMUM_PROTOCOL} to {PROTOCOL}");
    refused(StatusCode::BAD_REQUEST, Reason::Protocol, why)
}

fn not_onboarded(reason: Reason, why: String) -> Refusal {
    match reason {
        Reason::InvalidRequest => refused(StatusCode::BAD_REQUEST, reason, why),
        Reason::UsedInvitation | Reason::ClientIdTaken => {
            refused(StatusCode::CONFLICT, reason, why)
        }
        Reason::Busy => busy(),
        _ => refused(StatusCode::FORBIDDEN, reason, why),
    }
}

fn said(no: &NoPush) -> String {
    match no {
        NoPush::TooLarge(why) | NoPush::Invalid(why) => why.clone(),
        NoPush::Protocol => "it is of a protocol that this version does not know".into(),
    }
}

fn no_push(no: NoPush) -> Refusal {
    match no {
        NoPush::TooLarge(why) => {
            refused(StatusCode::PAYLOAD_TOO_LARGE, Reason::InvalidRequest, why)
        }
        NoPush::Protocol => protocol(),
        NoPush::Invalid(why) => refused(StatusCode::BAD_REQUEST, Reason::InvalidRequest, why),
    }
}

fn unauthorized() -> Refusal {
    let challenge = [(header::WWW_AUTHENTICATE, "Bearer")];
    Box::new((StatusCode::UNAUTHORIZED, challenge).into_response())
}

fn busy() -> Refusal {
    let why = "the Server is not ready, or its queue is full";
    let mut answer = refused(StatusCode::SERVICE_UNAVAILABLE, Reason::Busy, why);
    if let Ok(value) = retry_after(RETRY_BUSY).parse() {
        answer.headers_mut().insert(header::RETRY_AFTER, value);
    }
    answer
}

fn too_many(wait: Duration) -> Refusal {
    let retry = [(header::RETRY_AFTER, retry_after(wait))];
    Box::new((StatusCode::TOO_MANY_REQUESTS, retry).into_response())
}
