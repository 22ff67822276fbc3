//! OAuth2 client credentials (RFC 6749, section 4.4): a client id and secret become a token.
//!
//! Taken from a form, from JSON or from HTTP Basic. Which credentials are right, and how often they may be wrong, is
//! asked of [`crate::access`]. Clients of every role get their token here.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::Query;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::call::{Call, Refusal, error_body, refusal, too_many};
use super::reading::Outcome;
use super::shape::NotUnderstood;
use crate::access::{Client, LoginRefused, basic};
use crate::runtime::clock;

/// Longest client id and secret, in bytes.
const MAX_CREDENTIAL_BYTES: usize = 1024;
/// The only grant there is.
const GRANT: &str = "client_credentials";

#[derive(Debug, Default, Deserialize)]
struct Asked {
    grant_type: Option<String>,
    client_id: Option<String>,
    client_secret: Option<String>,
}

#[derive(Debug, Serialize)]
struct Given<'a> {
    access_token: &'a str,
    token_type: &'a str,
    expires_in: u64,
}

/// Gives a token, or refuses; with the client that was meant, if it is known.
pub(super) fn give(
    call: &Call<'_>,
    body: &[u8],
) -> (Option<Arc<Client>>, Result<Response, Refusal>) {
    let asked = match read(call, body) {
        Ok(asked) => asked,
        Err(refused) => return (None, Err(refused)),
    };
    let client_id = asked.client_id.unwrap_or_default();
    let secret = asked.client_secret.unwrap_or_default();
    let (access, now) = (&call.shared.access, clock::utc_now());
    match access.login(None, call.address, &client_id, &secret, now) {
        Ok(client) => {
            let (token, lifetime) = access.issue(&client, &secret, now);
            let answer = given(&token, lifetime);
            (Some(client), Ok(answer))
        }
        Err(LoginRefused::Delayed(wait)) => (
            None,
            Err(refusal(
                Outcome::Delayed,
                too_many(wait, "too many failed logins"),
            )),
        ),
        Err(LoginRefused::Wrong(meant)) => {
            tell(call, meant.as_deref());
            (meant, Err(refusal(Outcome::Unauthorized, invalid_client())))
        }
    }
}

fn tell(call: &Call<'_>, meant: Option<&Client>) {
    match meant {
        Some(client) => tracing::warn!(
            client = %client.name,
            "login refused: the client secret is not the configured one"
        ),
        None => tracing::debug!(
            address = %call.address,
            "login refused: no client at this address has the client id"
        ),
    }
}

fn read(call: &Call<'_>, body: &[u8]) -> Result<Asked, Refusal> {
    let headers = &call.parts.headers;
    let refuse = |why: &str| call.not_understood(body, &NotUnderstood(why.to_owned()));
    let mut asked = if body.is_empty() {
        Asked::default()
    } else if is_json(headers, body) {
        serde_json::from_slice(body)
            .map_err(|_| refuse("the body is not the JSON of a token request"))?
    } else {
        form(body).ok_or_else(|| refuse("the body is not the form of a token request"))?
    };
    if let Some((id, secret)) = basic(headers) {
        asked.client_id = Some(id);
        asked.client_secret = Some(secret);
    }
    if asked.grant_type.as_deref() != Some(GRANT) {
        call.not_understood(
            body,
            &NotUnderstood("grant_type is not client_credentials".to_owned()),
        );
        let body = error_body(
            "unsupported_grant_type",
            "grant_type must be client_credentials",
        );
        return Err(refusal(Outcome::Invalid, (StatusCode::BAD_REQUEST, body)));
    }
    let too_long = |text: &Option<String>| {
        text.as_ref()
            .is_some_and(|text| text.len() > MAX_CREDENTIAL_BYTES)
    };
    if too_long(&asked.client_id) || too_long(&asked.client_secret) {
        return Err(refuse("client_id or client_secret is too long"));
    }
    if asked.client_id.is_none() || asked.client_secret.is_none() {
        return Err(refuse("client_id or client_secret is missing"));
    }
    Ok(asked)
}

fn is_json(headers: &HeaderMap, body: &[u8]) -> bool {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    kind.is_some_and(|kind| kind.starts_with("application/json"))
        || body.trim_ascii_start().starts_with(b"{")
}

/// Reads the body as a form, whatever its type is said to be.
fn form(body: &[u8]) -> Option<Asked> {
    // A form is written like the query of a URI, so the reader of queries serves.
    let text = std::str::from_utf8(body).ok()?.trim_ascii();
    let uri = axum::http::Uri::try_from(format!("/?{text}")).ok()?;
    Query::try_from_uri(&uri).ok().map(|Query(asked)| asked)
}

fn given(token: &str, lifetime: Duration) -> Response {
    let given = Given {
        access_token: token,
        token_type: "Bearer",
        expires_in: lifetime.as_secs(),
    };
    ([(header::CACHE_CONTROL, "no-store")], axum::Json(given)).into_response()
}

fn invalid_client() -> Response {
    let challenge = [(header::WWW_AUTHENTICATE, "Basic realm=\"jims\"")];
    let body = axum::Json(serde_json::json!({ "error": "invalid_client" }));
    (StatusCode::UNAUTHORIZED, challenge, body).into_response()
}
