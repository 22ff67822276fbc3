//! One request on its way to an answer: whose it is, how it is answered or refused, what is counted and kept of it.
//!
//! Which requests there are, and in which order they are checked, is in [`super::http`].

use std::io::{self, Write as _};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::Query;
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;

use super::point::{Point, client_at};
use super::reading::{Asked, Kind, Outcome};
use super::requests::Raw;
use super::server::Shared;
use super::shape::{Format, NotUnderstood, Parameters};
use crate::access::bearer;
use crate::net::http::{Peer, accepts_gzip, prefers_xml, retry_after};
use crate::runtime::clock;

/// When a firewall that came too early should come again, in seconds.
const RETRY_NOT_READY_S: u64 = 5;
/// Parameters of a request that are looked at.
const MAX_PARAMETERS: usize = 512;
/// Shortest answer that is sent with gzip, in bytes: less goes in one packet as it is.
const MIN_PACKED_BYTES: usize = 1400;

/// One request on its way to an answer.
pub(super) struct Call<'a> {
    pub(super) shared: &'a Shared,
    pub(super) kind: Kind,
    pub(super) parts: &'a Parts,
    pub(super) address: IpAddr,
    started: Instant,
}

/// A request is refused: its outcome, and the answer.
pub(super) type Refusal = Box<(Outcome, Response)>;

pub(super) fn refusal(outcome: Outcome, answer: impl IntoResponse) -> Refusal {
    Box::new((outcome, answer.into_response()))
}

impl<'a> Call<'a> {
    pub(super) fn new(shared: &'a Shared, kind: Kind, parts: &'a Parts) -> Option<Self> {
        Some(Self {
            shared,
            kind,
            parts,
            address: peer(&parts.extensions)?,
            started: clock::monotonic_now(),
        })
    }

    /// The point whose token the request carries.
    pub(super) fn authorised(&self) -> Result<Arc<Point>, Refusal> {
        let now = clock::utc_now();
        let points = self.shared.points.load();
        let holder = bearer(&self.parts.headers)
            .and_then(|token| points.by_token(&self.shared.access, self.address, token, now));
        holder.ok_or_else(|| {
            let challenge = [(header::WWW_AUTHENTICATE, "Bearer")];
            let body = error_body(
                "invalid_token",
                "no token, an expired one, or not of this client",
            );
            refusal(
                Outcome::Unauthorized,
                (StatusCode::UNAUTHORIZED, challenge, body),
            )
        })
    }

    pub(super) fn ready(&self) -> Result<(), Refusal> {
        if self.shared.readiness.is_ready() {
            return Ok(());
        }
        Err(refusal(Outcome::NotReady, not_ready()))
    }

    pub(super) fn parameters(&self) -> Result<Parameters, NotUnderstood> {
        if self.parts.uri.query().is_none() {
            return Ok(Parameters::new(Vec::new()));
        }
        let pairs = Query::<Vec<(String, String)>>::try_from_uri(&self.parts.uri)
            .map_err(|_| NotUnderstood("the query is not form-urlencoded".to_owned()))?
            .0;
        if pairs.len() > MAX_PARAMETERS {
            return Err(NotUnderstood("there are too many parameters".to_owned()));
        }
        Ok(Parameters::new(pairs))
    }

    pub(super) fn format(&self) -> Format {
        if prefers_xml(&self.parts.headers) {
            Format::Xml
        } else {
            Format::Json
        }
    }

    /// An answer, with gzip if the request takes it and there is something to gain.
    pub(super) fn report(&self, format: Format, body: Bytes) -> Response {
        let headers = [
            (header::CONTENT_TYPE, format.content_type()),
            (header::CACHE_CONTROL, "no-store"),
        ];
        let headers = headers.map(|(name, value)| (name, HeaderValue::from_static(value)));
        if body.len() >= MIN_PACKED_BYTES && accepts_gzip(&self.parts.headers) {
            // Writing to memory does not fail; if it did, the answer is as good without.
            if let Ok(packed) = packed(&body) {
                let coding = [(header::CONTENT_ENCODING, "gzip")];
                return (headers, coding, packed).into_response();
            }
        }
        (headers, body).into_response()
    }

    /// Keeps the request for the operator and refuses it.
    pub(super) fn not_understood(&self, body: &[u8], why: &NotUnderstood) -> Refusal {
        self.keep(body, &why.0);
        let body = error_body("invalid_request", &why.0);
        refusal(Outcome::Invalid, (StatusCode::BAD_REQUEST, body))
    }

    /// Keeps the request for the operator, though it was answered, if parts of it meant nothing to us.
    pub(super) fn keep_unknown(&self, parameters: &Parameters) {
        let unknown = parameters.unknown();
        if !unknown.is_empty() {
            let names = unknown.join(", ");
            self.keep(&[], &format!("answered without regard to: {names}"));
        }
    }

    pub(super) fn keep(&self, body: &[u8], why: &str) {
        // Strangers who may ask for a token must not fill what is kept of clients.
        if self
            .shared
            .access
            .clients()
            .everyone_at(self.address)
            .is_empty()
        {
            return;
        }
        let point = self.point_here();
        let raw = Raw {
            address: self.address,
            point: point.as_deref().unwrap_or_default(),
            parts: self.parts,
            body,
        };
        self.shared.requests.note(raw, why, clock::utc_now());
    }

    /// The name of the point that calls from here, as far as the address alone tells.
    fn point_here(&self) -> Option<Arc<str>> {
        client_at(&self.shared.access, self.address).map(|client| Arc::clone(&client.name))
    }

    /// Counts the outcome and hands out the answer.
    pub(super) fn end(
        &self,
        point: Option<&Arc<str>>,
        result: Result<(Response, usize), Refusal>,
    ) -> Response {
        let now = clock::utc_now();
        let (outcome, answer) = match result {
            Ok((answer, entries)) => {
                if let Some(point) = point {
                    let asked = Asked {
                        kind: self.kind,
                        address: self.address,
                        at: now,
                    };
                    self.shared.states.answered(point, asked, entries);
                }
                (Outcome::Ok, answer)
            }
            Err(refused) => {
                let (outcome, answer) = *refused;
                let here = self.point_here();
                if let Some(point) = point.or(here.as_ref()) {
                    self.shared.states.refused(point, outcome, now);
                }
                (outcome, answer)
            }
        };
        let took = clock::monotonic_now().saturating_duration_since(self.started);
        self.shared.metrics.count(self.kind, outcome);
        self.shared.metrics.took(self.kind, took);
        answer
    }
}

/// Who calls.
pub(super) fn peer(extensions: &Extensions) -> Option<IpAddr> {
    extensions.get::<Peer>().map(|peer| peer.0.ip())
}

/// The body with gzip, with the least effort: it leaves an eighth of a long answer (`benches/RESULTS.md`).
fn packed(body: &[u8]) -> io::Result<Bytes> {
    let mut packed = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
    packed.write_all(body)?;
    Ok(packed.finish()?.into())
}

/// 503, and when to come again.
pub(super) fn not_ready() -> Response {
    let retry = [(header::RETRY_AFTER, RETRY_NOT_READY_S.to_string())];
    (StatusCode::SERVICE_UNAVAILABLE, retry).into_response()
}

/// 429, and when to come again.
pub(super) fn too_many(wait: Duration, why: &str) -> Response {
    let retry = [(header::RETRY_AFTER, retry_after(wait))];
    let body = error_body("temporarily_unavailable", why);
    (StatusCode::TOO_MANY_REQUESTS, retry, body).into_response()
}

/// An error as OAuth2 writes it.
pub(super) fn error_body(error: &str, description: &str) -> axum::Json<serde_json::Value> {
    axum::Json(serde_json::json!({ "error": error, "error_description": description }))
}
