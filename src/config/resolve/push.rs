//! `[ingest]` and `[[push]]`.

use std::path::PathBuf;

use super::{Unique, url};
use crate::config::defaults;
use crate::config::file::{Table, Value};
use crate::config::secret;
use crate::config::{Ingest, Push};

/// What follows `url`.
const ADDED: [&str; 3] = [
    "/collector/v1/onboard",
    "/collector/v1/push",
    "/oauth_token/oauth",
];

pub(super) fn ingest(root: &Table<'_>) -> Ingest {
    let table = root.table("ingest");
    let enabled = table.read("enabled", Value::boolean);
    let enabled = enabled.unwrap_or(defaults::INGEST);
    if enabled
        && !root.table("server").present()
        && let Some(value) = table.value("enabled")
    {
        value.spot.error(
            "no Collector can push",
            "what is pushed comes to the Server, which runs only if there is a table [server]",
            "add the line [server]",
        );
    }
    table.finish();
    Ingest { enabled }
}

pub(super) fn pushes(root: &Table<'_>) -> Vec<Push> {
    let mut pushes = Vec::new();
    let mut names = Unique::new("commands and status call a push by its name");
    let mut urls = Unique::new("a Server that is pushed to twice takes only one of them");
    for table in root.tables("push") {
        let name = table.required("name", "\"headquarters\"", |value| {
            let name = value.entry_name()?;
            names.take(&name, &value.spot);
            Some(name)
        });
        let url = table.required("url", "\"https://jims.example.com\"", |value| {
            let url = push_url(value)?;
            urls.take(&url, &value.spot);
            Some(url)
        });
        let credential_file =
            table.required("credential_file", "\"push/headquarters.toml\"", credential);
        table.finish();
        if let (Some(name), Some(url), Some(credential_file)) = (name, url, credential_file) {
            pushes.push(Push {
                name,
                url,
                credential_file,
            });
        }
    }
    pushes
}

fn push_url(value: &Value<'_>) -> Option<String> {
    let parsed = url::parsed(value, &["https", "http"], "https://jims.example.com")?;
    if parsed.1.scheme() == "http" {
        value.spot.error(
            format!(
                "\"{}\" would send every name and the secret in clear text",
                parsed.0
            ),
            "whoever listens on the way could push in our name",
            "\"https://…\"",
        );
        return None;
    }
    url::base(value, &parsed, "it is in credential_file", &ADDED)
}

/// A file with a secret in it: it must be there, and others must not be able to read it (rule 30).
fn credential(value: &Value<'_>) -> Option<PathBuf> {
    let path = value.spot.findings.path(&value.some_text()?);
    match secret::read_file(&path) {
        Ok(_) => Some(path),
        Err(error) => {
            value.secret_error(&error);
            None
        }
    }
}
