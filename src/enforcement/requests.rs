//! Requests that were not understood, kept for the operator: what a firewall really sends is only partly public.
//!
//! Bounded in number and size, and redacted before they are kept: no secret, token or credential gets in here.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

use axum::http::HeaderMap;
use parking_lot::Mutex;

use crate::identity::time::UtcMillis;

/// Requests kept; the oldest makes room.
pub const MAX_REQUESTS: usize = 64;
/// Most characters of a target or a body that are kept.
const MAX_TEXT: usize = 1024;
const MAX_HEADERS: usize = 32;
/// Headers whose value is worth seeing; of others only the name is kept.
const SHOWN_HEADERS: &[&str] = &[
    "accept",
    "content-type",
    "content-length",
    "user-agent",
    "host",
];
/// A field whose name holds one of these keeps its value to itself.
const SECRET_WORDS: &[&str] = &[
    "secret",
    "token",
    "password",
    "passwd",
    "authorization",
    "assertion",
    "key",
];
const REDACTED: &str = "…";

/// One request that was not understood, redacted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownRequest {
    /// When it last came.
    pub at: UtcMillis,
    /// How often in a row.
    pub count: u64,
    /// Who sent it.
    pub address: IpAddr,
    /// The enforcement point at that address.
    pub point: String,
    /// `GET`, `POST` …
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Headers; values only of harmless ones.
    pub headers: Vec<String>,
    /// The beginning of the body.
    pub body: String,
    /// What was not understood.
    pub reason: String,
}

/// A request as it came.
#[derive(Clone, Copy, Debug)]
pub struct Raw<'a> {
    /// Who sent it.
    pub address: IpAddr,
    /// The enforcement point at that address.
    pub point: &'a str,
    /// Its head.
    pub parts: &'a axum::http::request::Parts,
    /// Its body, as far as it was read.
    pub body: &'a [u8],
}

/// The last requests that were not understood.
#[derive(Clone, Debug, Default)]
pub struct UnknownRequests(Arc<Mutex<VecDeque<UnknownRequest>>>);

impl UnknownRequests {
    /// Keeps a request; one like an earlier one of the same sender only counts. Whoever polls has another cookie each
    /// time and would else push everything else out.
    pub fn note(&self, raw: Raw<'_>, reason: &str, now: UtcMillis) {
        let target = raw
            .parts
            .uri
            .path_and_query()
            .map_or("/", |target| target.as_str());
        let new = UnknownRequest {
            at: now,
            count: 1,
            address: raw.address,
            point: raw.point.to_owned(),
            method: shortened(raw.parts.method.as_str()),
            target: redacted_target(target),
            headers: headers(&raw.parts.headers),
            body: redacted_body(raw.body),
            reason: shortened(reason),
        };
        let mut all = self.0.lock();
        let target = without_cookie(&new.target);
        let alike = |old: &UnknownRequest| {
            (old.address, &old.method, &old.body, &old.reason)
                == (new.address, &new.method, &new.body, &new.reason)
                && without_cookie(&old.target) == target
        };
        if let Some(old) = all.iter_mut().find(|old| alike(old)) {
            old.count = old.count.saturating_add(1);
            old.at = now;
            old.target = new.target;
            return;
        }
        if all.len() >= MAX_REQUESTS {
            all.pop_front();
        }
        all.push_back(new);
    }

    /// Copies, the latest first.
    #[must_use]
    pub fn read(&self) -> Vec<UnknownRequest> {
        let mut list: Vec<_> = self.0.lock().iter().cloned().collect();
        list.sort_by_key(|request| std::cmp::Reverse(request.at));
        list
    }
}

/// A path and query without the value of its cookie.
fn without_cookie(target: &str) -> String {
    let pair = |pair: &str| match pair.split_once('=') {
        Some((name, _)) if name.eq_ignore_ascii_case("cookie") => "cookie".to_owned(),
        _ => pair.to_owned(),
    };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let pairs: Vec<String> = query.split('&').map(pair).collect();
    format!("{path}?{}", pairs.join("&"))
}

fn headers(map: &HeaderMap) -> Vec<String> {
    let one = |(name, value): (&axum::http::HeaderName, &axum::http::HeaderValue)| {
        if name == "authorization" {
            let scheme = value.to_str().ok().and_then(|v| v.split(' ').next());
            return format!(
                "{name}: {} {REDACTED}",
                shortened(scheme.unwrap_or_default())
            );
        }
        if SHOWN_HEADERS.contains(&name.as_str()) {
            return format!("{name}: {}", shortened(value.to_str().unwrap_or(REDACTED)));
        }
        format!("{name}: {REDACTED}")
    };
    map.iter().take(MAX_HEADERS).map(one).collect()
}

fn redacted_target(target: &str) -> String {
    let Some((path, query)) = target.split_once('?') else {
        return shortened(target);
    };
    shortened(&format!("{path}?{}", redacted_pairs(query)))
}

/// Values in `name=value&…` whose name speaks of a secret are left out.
fn redacted_pairs(pairs: &str) -> String {
    let one = |pair: &str| match pair.split_once('=') {
        Some((name, _)) if is_secret(name) => format!("{name}={REDACTED}"),
        _ => pair.to_owned(),
    };
    pairs.split('&').map(one).collect::<Vec<_>>().join("&")
}

/// What is neither JSON nor a form is kept by its length alone, for a secret could be anywhere in it.
fn redacted_body(body: &[u8]) -> String {
    if body.is_empty() {
        return String::new();
    }
    let unknown = || format!("{} bytes", body.len());
    let Ok(text) = std::str::from_utf8(body) else {
        return unknown();
    };
    if let Ok(serde_json::Value::Object(mut object)) = serde_json::from_str(text) {
        redact_object(&mut object);
        return shortened(&serde_json::Value::Object(object).to_string());
    }
    let form = text
        .split('&')
        .all(|pair| pair.contains('=') && !pair.contains(char::is_whitespace));
    if form {
        shortened(&redacted_pairs(text))
    } else {
        unknown()
    }
}

/// Depth is bounded by the JSON reader.
fn redact_object(object: &mut serde_json::Map<String, serde_json::Value>) {
    for (name, value) in object.iter_mut() {
        if is_secret(name) {
            *value = REDACTED.into();
        } else if let serde_json::Value::Object(inner) = value {
            redact_object(inner);
        } else if value.is_array() {
            *value = REDACTED.into();
        }
    }
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    // An escaped name could spell anything.
    name.contains('%') || SECRET_WORDS.iter().any(|word| name.contains(word))
}

fn shortened(text: &str) -> String {
    let safe = text
        .chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c });
    let mut short: String = safe.take(MAX_TEXT).collect();
    if text.chars().nth(MAX_TEXT).is_some() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noted(target: &str, body: &[u8]) -> UnknownRequest {
        let (parts, ()) = axum::http::Request::post(target)
            .header("Authorization", "Basic c2VjcmV0")
            .header("X-Api-Key", "hunter2")
            .header("Accept", "text/plain")
            .body(())
            .unwrap()
            .into_parts();
        let requests = UnknownRequests::default();
        let raw = Raw {
            address: "10.0.0.1".parse().unwrap(),
            point: "srx",
            parts: &parts,
            body,
        };
        requests.note(raw, "no such path", UtcMillis(1));
        requests.note(raw, "no such path", UtcMillis(2));
        let mut all = requests.read();
        assert_eq!((all.len(), all[0].count), (1, 2));
        all.remove(0)
    }

    #[test]
    fn nothing_secret_is_kept() {
        let form = noted(
            "/x?access_token=hunter2&a=b",
            b"client_id=srx&client_secret=hunter2&x=1",
        );
        assert_eq!(form.target, "/x?access_token=…&a=b");
        assert_eq!(form.body, "client_id=srx&client_secret=…&x=1");
        let json = noted(
            "/x",
            br#"{"a":1,"password":"hunter2","in":{"token":"hunter2"},"l":["hunter2"]}"#,
        );
        let xml = noted("/x", b"<secret>hunter2</secret>");
        assert_eq!(xml.body, "24 bytes");
        let escaped = noted("/x?client%5Fsecret=hunter2", b"");
        for kept in [form, json, xml, escaped] {
            let text = format!("{kept:?}");
            assert!(
                !text.contains("hunter2") && !text.contains("c2VjcmV0"),
                "{text}"
            );
            assert!(text.contains("authorization: Basic …"), "{text}");
            assert!(text.contains("accept: text/plain"), "{text}");
        }
    }

    #[test]
    fn a_firewall_that_polls_takes_one_place() {
        let requests = UnknownRequests::default();
        let note = |query: &str, now: i64| {
            let (parts, ()) = axum::http::Request::get(format!("/batch?{query}"))
                .body(())
                .unwrap()
                .into_parts();
            let raw = Raw {
                address: "10.0.0.1".parse().unwrap(),
                point: "srx",
                parts: &parts,
                body: &[],
            };
            requests.note(raw, "capped", UtcMillis(now));
        };
        note("entry_count=0", 0);
        for number in 1..=200 {
            note(&format!("entry_count=5000&cookie=j2.{number}"), number);
        }
        let all = requests.read();
        assert_eq!((all.len(), all[0].count), (2, 200), "{all:?}");
        assert!(all[0].target.ends_with("cookie=j2.200"), "the latest");
    }

    #[test]
    fn number_and_size_are_bounded() {
        let requests = UnknownRequests::default();
        for number in 0..500 {
            let target = format!("/{number}/{}", "x".repeat(5000));
            let (parts, ()) = axum::http::Request::get(&target)
                .body(())
                .unwrap()
                .into_parts();
            let raw = Raw {
                address: "10.0.0.1".parse().unwrap(),
                point: "srx",
                parts: &parts,
                body: &[],
            };
            requests.note(raw, "no such path", UtcMillis(number));
        }
        let all = requests.read();
        assert_eq!(all.len(), MAX_REQUESTS);
        assert!(all[0].target.starts_with("/499/"));
        assert!(all[0].target.chars().count() <= MAX_TEXT + 1);
    }
}
