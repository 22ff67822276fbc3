//! The HTTPS face of the Server: who may ask, what is asked, with which status it is answered.
//!
//! Routes, order of checks and error bodies are here; the answers come from [`super::query`], the names in them from
//! [`super::shape`], tokens from [`super::oauth`], and who may come in at all is judged in [`super::gate`]. Order for a
//! query: known address (403), not too many (429), token (401), understood (400), ready (503).

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use super::ahead;
use super::call::{Call, Refusal, not_ready, refusal};
use super::gate::{self, Gate, is_too_large};
use super::oauth;
use super::point::Point;
use super::query::{self, SingleAnswer};
use super::reading::{Kind, Outcome};
use super::server::Shared;
use super::shape::{Format, MAX_ENTRIES, NotUnderstood, address_of};
use super::validator;
use crate::access::Role;
use crate::identity::Batch;
use crate::runtime::clock;

/// Largest body of a request, in bytes.
pub(super) const MAX_BODY_BYTES: usize = 64 * 1024;

/// What strangers may do where Collectors are onboarded, who may call from anywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Guests {
    /// Nothing.
    HearNothing,
    /// Ask for a token.
    MayShowCredentials,
}

/// What answers.
pub(super) fn router(shared: Arc<Shared>, guests: Guests) -> Router {
    let (mut router, mut tokens) = (Router::new(), Router::new());
    for prefix in ["", "/api"] {
        let path = |rest: &str| format!("{prefix}{rest}");
        tokens = tokens.route(&path("/oauth_token/oauth"), post(token));
        router = router
            .route(&path("/user_query/v2/users/endpoints"), get(batch))
            .route(&path("/user_query/v2/ip/{address}"), get(ip))
            .route(&path("/user_query/v2/user"), get(user));
    }
    let state = Arc::clone(&shared);
    let tokens = match guests {
        Guests::HearNothing => tokens.layer(Gate::new(state, gate::clients_only)),
        Guests::MayShowCredentials => tokens.layer(Gate::new(state, gate::clients_and_collectors)),
    };
    guarded(router, tokens, shared)
}

/// Lets nobody but clients reach the routes, and load balancers ask how we are.
fn guarded(
    router: Router<Arc<Shared>>,
    tokens: Router<Arc<Shared>>,
    shared: Arc<Shared>,
) -> Router {
    router
        .fallback(unknown)
        .method_not_allowed_fallback(unknown)
        .layer(Gate::new(Arc::clone(&shared), gate::firewalls_only))
        .merge(tokens)
        // Load balancers are no enforcement points, so these stand outside (rule 31).
        .route("/healthz", get(async || StatusCode::OK))
        .route("/readyz", get(ready))
        .with_state(shared)
}

/// What answers on the validator's listeners.
pub(super) fn validator_router(shared: Arc<Shared>) -> Router {
    let questions: [(&str, validator::Question); 4] = [
        ("user", validator::user),
        ("device", validator::device),
        ("group", validator::group),
        ("groups", validator::groups),
    ];
    let (mut router, mut tokens) = (Router::new(), Router::new());
    for prefix in ["", "/api"] {
        tokens = tokens.route(&format!("{prefix}/oauth_token/oauth"), post(token));
        for (what, ask) in questions {
            let handler = move |State(shared), request| validate(shared, request, ask);
            router = router.route(&format!("{prefix}/validate/{what}"), get(handler));
        }
    }
    let gate = Gate::new(Arc::clone(&shared), gate::clients_only);
    guarded(router, tokens.layer(gate), shared)
}

async fn ready(State(shared): State<Arc<Shared>>) -> Response {
    if shared.readiness.is_ready() {
        return StatusCode::OK.into_response();
    }
    not_ready()
}

async fn token(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Some(call) = Call::new(&shared, Kind::Token, &parts) else {
        return StatusCode::FORBIDDEN.into_response();
    };
    let body = match read_body(body).await {
        Ok(body) => body,
        Err(refusal) => return call.end(None, Err(refusal)),
    };
    let (client, given) = oauth::give(&call, &body);
    let firewall = client.filter(|client| client.role == Role::Enforcement);
    let point = firewall.as_ref().map(|client| &client.name);
    call.end(point, given.map(|answer| (answer, 0)))
}

async fn batch(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let Some(call) = Call::new(&shared, Kind::Batch, &parts) else {
        return StatusCode::FORBIDDEN.into_response();
    };
    match call.authorised() {
        Ok(point) => {
            let result = batch_answer(&call, &point).await;
            call.end(Some(&point.name), result)
        }
        Err(refusal) => call.end(None, Err(refusal)),
    }
}

async fn batch_answer(call: &Call<'_>, point: &Point) -> Result<(Response, usize), Refusal> {
    let shared = call.shared;
    let mut parameters = understood(call, call.parameters())?;
    let request = understood(call, parameters.batch())?;
    call.ready()?;
    call.keep_unknown(&parameters);
    if request.capped {
        call.keep(&[], &format!("entry_count is capped at {MAX_ENTRIES}"));
    }
    if !ahead::caught_up(&shared.reader, request.cookie.as_deref()).await {
        return Err(refusal(Outcome::NotReady, not_ready()));
    }
    let (format, now) = (call.format(), clock::utc_now());
    let found = query::batch(&shared.reader, &point.filter, &request, format, now);
    shared.states.stands(&point.name, &found, now);
    #[expect(
        clippy::cast_precision_loss,
        reason = "a gauge is a float; nobody is 2^52 changes behind"
    )]
    metrics::gauge!("jims_cursor_behind", "output" => point.name.to_string())
        .set(found.behind as f64);
    Ok((call.report(format, found.body), found.entries))
}

async fn ip(
    State(shared): State<Arc<Shared>>,
    path: Result<Path<String>, axum::extract::rejection::PathRejection>,
    request: Request,
) -> Response {
    let (parts, _) = request.into_parts();
    let Some(call) = Call::new(&shared, Kind::Ip, &parts) else {
        return StatusCode::FORBIDDEN.into_response();
    };
    match call.authorised() {
        Ok(point) => {
            let text = path.map(|Path(text)| text).unwrap_or_default();
            let result = ip_answer(&call, &point, &text).await;
            call.end(Some(&point.name), result)
        }
        Err(refusal) => call.end(None, Err(refusal)),
    }
}

async fn ip_answer(
    call: &Call<'_>,
    point: &Point,
    text: &str,
) -> Result<(Response, usize), Refusal> {
    let shared = call.shared;
    let address = understood(call, address_of(text))?;
    let mut parameters = understood(call, call.parameters())?;
    let force_probe = understood(call, parameters.ip())?;
    call.ready()?;
    call.keep_unknown(&parameters);
    if force_probe {
        let now = clock::utc_now();
        shared.forced.probe(&point.name, address, now).await;
    }
    let (format, now) = (call.format(), clock::utc_now());
    let found = query::ip(&shared.reader, &point.filter, address, format, now);
    Ok((call.report(format, found.body), found.entries))
}

async fn user(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    answer(&shared, Kind::User, &parts, |call, point| {
        let mut parameters = understood(call, call.parameters())?;
        let request = understood(call, parameters.user())?;
        call.ready()?;
        call.keep_unknown(&parameters);
        let (format, now) = (call.format(), clock::utc_now());
        let found = query::user(&shared.reader, &point.filter, &request, format, now);
        let SingleAnswer {
            body,
            entries,
            renewal,
        } = found;
        if let Some((user, address)) = renewal {
            let events = vec![query::renewal_event(&point.name, user, address, now)];
            let batch = Batch::Events {
                events,
                bookmark: None,
            };
            // A full queue costs this one renewal; the next query brings another.
            if let Err(not_taken) = shared.intake.try_send(batch) {
                tracing::debug!(point = %point.name, ?not_taken, "a renewal was lost");
            }
        }
        Ok((call.report(format, body), entries))
    })
}

/// A question to the validator, answered by one of its functions.
async fn validate(shared: Arc<Shared>, request: Request, ask: validator::Question) -> Response {
    let (parts, _) = request.into_parts();
    answer(&shared, Kind::Validate, &parts, |call, point| {
        let mut parameters = understood(call, call.parameters())?;
        let found = ask(&shared.reader.read(), &point.filter, &mut parameters);
        let found = understood(call, found)?;
        call.ready()?;
        call.keep_unknown(&parameters);
        Ok((call.report(Format::Json, found.to_json()), 0))
    })
}

/// What is not routed: kept for the operator, for a firewall may know more ways to ask than we do.
async fn unknown(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Some(call) = Call::new(&shared, Kind::Unknown, &parts) else {
        return StatusCode::FORBIDDEN.into_response();
    };
    let refusal = match read_body(body).await {
        Ok(body) => {
            let why = NotUnderstood("there is no such path and method".to_owned());
            call.not_understood(&body, &why)
        }
        Err(refusal) => refusal,
    };
    call.end(None, Err(refusal))
}

/// The frame of every query: the token first, the count last.
fn answer(
    shared: &Shared,
    kind: Kind,
    parts: &Parts,
    work: impl FnOnce(&Call<'_>, &Point) -> Result<(Response, usize), Refusal>,
) -> Response {
    let Some(call) = Call::new(shared, kind, parts) else {
        return StatusCode::FORBIDDEN.into_response();
    };
    match call.authorised() {
        Ok(point) => {
            let result = work(&call, &point);
            call.end(Some(&point.name), result)
        }
        Err(refusal) => call.end(None, Err(refusal)),
    }
}

fn understood<T>(call: &Call<'_>, read: Result<T, NotUnderstood>) -> Result<T, Refusal> {
    read.map_err(|why| call.not_understood(&[], &why))
}

async fn read_body(body: Body) -> Result<Bytes, Refusal> {
    if is_too_large(&body) {
        return Err(refusal(Outcome::Invalid, StatusCode::PAYLOAD_TOO_LARGE));
    }
    axum::body::to_bytes(body, MAX_BODY_BYTES)
        .await
        .map_err(|_| refusal(Outcome::Invalid, StatusCode::PAYLOAD_TOO_LARGE))
}
