//! `[enforcement_point.web_api]`.

use std::net::IpAddr;
use std::time::Duration;

use crate::config::file::{Table, Value};
use crate::config::{POST_ENTRY, WebApi, defaults};

/// Longest `source` in bytes: it is in every entry.
const MAX_SOURCE_BYTES: usize = 64;

/// The table, if it is there and right.
pub(super) fn web_api(table: &Table<'_>) -> Option<WebApi> {
    if !table.present() {
        return None;
    }
    let url = table.required("url", "\"https://192.0.2.1:8443\"", url);
    let user = table.required("user", "\"jims\"", user);
    let password = table.secret([
        "password",
        "password_file",
        "password_env",
        "password_credential",
    ]);
    let ca_file = table.read("ca_file", Value::certificate_file);
    let certificate_sha256 = table.read("certificate_sha256", fingerprint);
    let source = table.read("source", source);
    let preferred_groups = table.list("preferred_groups", Value::glob);
    let entries = number(table, "entries_per_document", 1000).unwrap_or(defaults::WEB_API_ENTRIES);
    let rate = number(table, "documents_per_second", 100).unwrap_or(defaults::WEB_API_DOCUMENTS);
    let refresh = table.read("refresh_interval", refresh_interval);
    table.finish();
    let web_api = WebApi {
        url: url?,
        user: user?,
        password: password?,
        ca_file,
        certificate_sha256,
        source: source.unwrap_or_else(|| defaults::WEB_API_SOURCE.into()),
        preferred_groups,
        entries_per_document: usize::try_from(entries).unwrap_or(usize::MAX),
        documents_per_second: rate,
        refresh_interval: refresh.unwrap_or(Some(defaults::WEB_API_REFRESH)),
    };
    if web_api.url.starts_with("http://") {
        clear_text(table, &web_api);
    }
    Some(web_api)
}

fn number(table: &Table<'_>, key: &'static str, most: u32) -> Option<u32> {
    table.read(key, |value| value.number(1..=most))
}

/// `0s` is never; a shorter time than a minute would tell everything without end.
fn refresh_interval(value: &Value<'_>) -> Option<Option<Duration>> {
    let longest = Duration::from_hours(24 * 7);
    let interval = value.duration(Duration::ZERO..=longest)?;
    if interval.is_zero() {
        return Some(None);
    }
    value.duration(Duration::from_mins(1)..=longest).map(Some)
}

fn url(value: &Value<'_>) -> Option<String> {
    let parsed = super::url::parsed(value, &["https", "http"], "https://192.0.2.1:8443")?;
    let (text, url) = &parsed;
    if url.scheme() == "http" && !url.host_str().is_some_and(is_loopback) {
        value.spot.error(
            format!("\"{text}\" would send the password and every name in clear text"),
            "whoever listens on the way could log anybody on",
            "on the SRX: set system services webapi https; here: \"https://…:8443\"",
        );
        return None;
    }
    let account = "write them as user and password_file";
    super::url::base(value, &parsed, account, &[POST_ENTRY])
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let address = bare.parse::<IpAddr>();
    address.map_or(host == "localhost", |address| {
        address.to_canonical().is_loopback()
    })
}

fn clear_text(table: &Table<'_>, web_api: &WebApi) {
    if web_api.ca_file.is_none() && web_api.certificate_sha256.is_none() {
        return;
    }
    if let Some(value) = table.value("url") {
        value.spot.error(
            "there is no certificate to check here",
            "plain HTTP knows none",
            "write https, or remove ca_file and certificate_sha256",
        );
    }
}

fn user(value: &Value<'_>) -> Option<String> {
    let user = value.some_text()?;
    if user.contains(':') || user.chars().any(char::is_control) {
        value.spot.error(
            format!("\"{user}\" cannot be a user of the Web API"),
            "HTTP Basic ends it at the first colon",
            "use letters, digits, '-', '_' and '.'",
        );
        return None;
    }
    Some(user)
}

fn source(value: &Value<'_>) -> Option<String> {
    let source = value.some_text()?;
    if source.len() > MAX_SOURCE_BYTES || source.chars().any(char::is_control) {
        value.spot.error(
            format!("this is longer than {MAX_SOURCE_BYTES} bytes, or not on one line"),
            "it is in every entry",
            "a short name, such as \"jims\"",
        );
        return None;
    }
    Some(source)
}

/// SHA-256 in hexadecimal, with or without colons; empty text means absent.
fn fingerprint(value: &Value<'_>) -> Option<[u8; 32]> {
    let text = value.text_or_none()?;
    let digits: Option<Vec<u8>> = text
        .chars()
        .filter(|c| !matches!(c, ':' | ' '))
        .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect();
    let bytes = digits.filter(|digits| digits.len() == 64).map(|digits| {
        let (pairs, _) = digits.as_chunks::<2>();
        pairs.iter().map(|[high, low]| high * 16 + low).collect()
    });
    let parsed = bytes.and_then(|bytes: Vec<u8>| <[u8; 32]>::try_from(bytes).ok());
    if parsed.is_none() {
        value.spot.error(
            format!("\"{text}\" is no SHA-256 fingerprint"),
            "it has 64 hexadecimal digits, with or without colons",
            "openssl s_client -connect HOST:8443 </dev/null | openssl x509 -noout -fingerprint -sha256",
        );
    }
    parsed
}
