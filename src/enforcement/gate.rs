//! The gate before the routes: who may not come in is answered before anything that was sent is looked at (rule 31).
//!
//! Judged by the address, the certificate and the pace alone; tokens and what is asked come behind it. A layer of our own,
//! because it decides at once: what axum has for that allocates several times for each request.

use std::future::{Ready, ready};
use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use futures_util::future::Either;
use tower_layer::Layer;
use tower_service::Service;

use super::call::{peer, too_many};
use super::http::MAX_BODY_BYTES;
use super::reading::{Kind, Outcome};
use super::server::Shared;
use crate::access::{Client, Role};
use crate::net::http::PeerNames;
use crate::runtime::clock;
use crate::runtime::strangers::Tried;

/// The answer to a request that may not come in; `None`: it may.
type Judge = fn(&Shared, &Request) -> Option<Response>;

/// A gate, to be laid before routes.
#[derive(Clone)]
pub(super) struct Gate {
    shared: Arc<Shared>,
    judge: Judge,
}

impl Gate {
    pub(super) fn new(shared: Arc<Shared>, judge: Judge) -> Self {
        Self { shared, judge }
    }
}

impl<S> Layer<S> for Gate {
    type Service = Gated<S>;

    fn layer(&self, inner: S) -> Gated<S> {
        Gated {
            gate: self.clone(),
            inner,
        }
    }
}

/// What is behind a gate.
#[derive(Clone)]
pub(super) struct Gated<S> {
    gate: Gate,
    inner: S,
}

impl<S: Service<Request, Response = Response>> Service<Request> for Gated<S> {
    type Response = Response;
    type Error = S::Error;
    type Future = Either<S::Future, Ready<Result<Response, S::Error>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        match (self.gate.judge)(&self.gate.shared, &request) {
            None => Either::Left(self.inner.call(request)),
            Some(answer) => Either::Right(ready(Ok(answer))),
        }
    }
}

/// Refuses whoever is no firewall.
pub(super) fn firewalls_only(shared: &Shared, request: &Request) -> Option<Response> {
    let known = |address: IpAddr| {
        let clients = shared.access.clients();
        let firewalls = clients.at(Role::Enforcement, address);
        firewalls.into_iter().map(Arc::clone).collect()
    };
    judge(shared, request, known)
}

/// Refuses strangers: who is no client of any role.
pub(super) fn clients_only(shared: &Shared, request: &Request) -> Option<Response> {
    let known = |address: IpAddr| shared.access.clients().everyone_at(address);
    judge(shared, request, known)
}

/// The same, but where Collectors are onboarded, who may call from anywhere, a stranger may show a credential.
pub(super) fn clients_and_collectors(shared: &Shared, request: &Request) -> Option<Response> {
    let clients = shared.access.clients();
    let known = |address: IpAddr| clients.everyone_at(address);
    let guest = peer(request.extensions()).filter(|address| known(*address).is_empty());
    let Some(guest) = guest.filter(|_| clients.has(Role::Collect)) else {
        return judge(shared, request, known);
    };
    let admitted = shared.access.admit(guest, 1, clock::monotonic_now());
    let wait = admitted.err()?;
    shared.metrics.count(Kind::Token, Outcome::RateLimited);
    Some(too_many(wait, "too many requests"))
}

/// Lets through whose address and certificate are those of one of the known.
fn judge(
    shared: &Shared,
    request: &Request,
    known: impl Fn(IpAddr) -> Vec<Arc<Client>>,
) -> Option<Response> {
    let Some(address) = peer(request.extensions()) else {
        return Some(StatusCode::FORBIDDEN.into_response());
    };
    let known = known(address);
    if let Err(wait) = paced(shared, address, &known) {
        return Some(too_many(wait, "too many requests"));
    }
    let names = request.extensions().get::<PeerNames>();
    let names = names.map_or(&[][..], |names| &*names.0);
    if known.iter().any(|client| client.is_certified(names)) {
        // Inside of the gate: a stranger is not told what is too large either (rule 31).
        return is_too_large(request.body()).then(|| StatusCode::PAYLOAD_TOO_LARGE.into_response());
    }
    let now = clock::utc_now();
    let outcome = match known.first() {
        None => {
            shared.strangers.note(Tried::Query, address, now);
            Outcome::Stranger
        }
        Some(client) => {
            if client.role == Role::Enforcement {
                shared
                    .states
                    .refused(&client.name, Outcome::Uncertified, now);
            }
            Outcome::Uncertified
        }
    };
    shared.metrics.count(Kind::Unknown, outcome);
    Some(StatusCode::FORBIDDEN.into_response())
}

/// Counts a request of somebody known against what his address may ask.
fn paced(shared: &Shared, address: IpAddr, known: &[Arc<Client>]) -> Result<(), Duration> {
    let Some(first) = known.first() else {
        return Ok(());
    };
    let now = clock::monotonic_now();
    shared
        .access
        .admit(address, known.len(), now)
        .inspect_err(|_| {
            if first.role == Role::Enforcement {
                let now = clock::utc_now();
                let outcome = Outcome::RateLimited;
                shared.states.refused(&first.name, outcome, now);
            }
            shared.metrics.count(Kind::Unknown, Outcome::RateLimited);
        })
}

/// What is announced as too large is not waited for.
pub(super) fn is_too_large(body: &Body) -> bool {
    body.size_hint().lower() > MAX_BODY_BYTES as u64
}
