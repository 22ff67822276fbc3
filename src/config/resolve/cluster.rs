//! `[cluster]`.

use std::path::PathBuf;

use reqwest::Url;

use super::url;
use crate::config::defaults;
use crate::config::file::{Table, Value};
use crate::config::{Cluster, NatsAccount};

/// Longest name of a stream: names of buckets are made of it.
const MAX_STREAM_BYTES: usize = 32;

const PASSWORD: [&str; 4] = [
    "password",
    "password_file",
    "password_env",
    "password_credential",
];

const NKEY: [&str; 4] = [
    "nkey_seed",
    "nkey_seed_file",
    "nkey_seed_env",
    "nkey_seed_credential",
];

pub(super) fn cluster(root: &Table<'_>) -> Option<Cluster> {
    let table = root.table("cluster");
    let nats = table.list("nats", server);
    let stream = table.read("stream", stream);
    let replicas = table.read("replicas", |value| {
        let copies = [("1", 1), ("3", 3), ("5", 5)];
        let number = value.number(1..=5)?;
        let found = copies.iter().find(|(_, copies)| *copies == number);
        if found.is_none() {
            value.spot.error(
                format!("{number} copies tolerate no more losses than one less"),
                "NATS needs more than half of them",
                "1, 3 or 5",
            );
        }
        u8::try_from(number).ok()
    });
    let account = account(&table);
    let ca_file = table.read("ca_file", Value::certificate_file);
    let certificate = certificate(&table);
    if nats.is_empty()
        && let Some(value) = table.value("replicas").or_else(|| table.value("stream"))
        && table.value("nats").is_none()
    {
        value.spot.warning(
            "there is no cluster",
            "it needs NATS servers",
            "nats = [\"tls://nats-1.example.com:4222\"]",
        );
    }
    table.finish();
    if !nats.is_empty() {
        alone(root);
    }
    (!nats.is_empty()).then(|| Cluster {
        nats,
        stream: stream.unwrap_or_else(|| defaults::CLUSTER_STREAM.to_owned()),
        replicas: replicas.unwrap_or(defaults::CLUSTER_REPLICAS),
        account,
        ca_file,
        certificate,
    })
}

/// What goes together with a cluster.
fn alone(root: &Table<'_>) {
    let ingest = root.table("ingest");
    let enabled = ingest.value("enabled");
    if let Some(value) = enabled.filter(|value| value.boolean() == Some(true)) {
        value.spot.error(
            "a Server of a cluster takes no pushes from Collectors",
            "its Collectors put what they hear on the cluster's stream",
            "give the Collectors the same [cluster], or let them push to a Server of its own",
        );
    }
}

fn server(value: &Value<'_>) -> Option<String> {
    let text = value.some_text()?;
    let url = text.trim().parse::<Url>().ok();
    let Some(url) = url.filter(|url| url.host_str().is_some()) else {
        value.spot.error(
            format!("\"{text}\" is not the address of a NATS server"),
            "",
            "\"nats://nats-1.example.com:4222\"",
        );
        return None;
    };
    let written = (text.clone(), url);
    url::base(value, &written, "user and password_file", &[])?;
    let (_, url) = written;
    if !matches!(url.scheme(), "nats" | "tls") {
        value.spot.error(
            format!("NATS is not spoken over {}", url.scheme()),
            "",
            "\"nats://…\", or \"tls://…\"",
        );
        return None;
    }
    Some(text.trim().to_owned())
}

fn stream(value: &Value<'_>) -> Option<String> {
    let text = value.some_text()?;
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if text.chars().all(fits) && text.len() <= MAX_STREAM_BYTES {
        return Some(text);
    }
    value.spot.error(
        format!("\"{text}\" cannot be the name of a stream"),
        "letters, digits, '-' and '_', at most 32",
        "\"JIMS\"",
    );
    None
}

fn account(table: &Table<'_>) -> Option<NatsAccount> {
    let user = table.read("user", Value::some_text);
    let password = table.optional_secret(PASSWORD);
    let seed = table.optional_secret(NKEY);
    match (user, password, seed) {
        (Some(_), _, Some(_)) => {
            if let Some(value) = table.value("user") {
                value.spot.error(
                    "an nkey is given as well",
                    "NATS knows a client by one of the two",
                    "keep user and password_file, or nkey_seed_file",
                );
            }
            None
        }
        (None, None, Some(seed)) => Some(NatsAccount::Nkey(seed)),
        (Some(user), Some(password), None) => Some(NatsAccount::Password(user, password)),
        (Some(_), None, None) if !table.has_any(&PASSWORD) => {
            table.spot.error(
                "the user has no password",
                "",
                "password_file = \"nats.password\"",
            );
            None
        }
        (None, Some(_), _) => {
            table
                .spot
                .error("the password is nobody's", "", "user = \"jims\"");
            None
        }
        (Some(_), None, None) | (None, None, None) => None,
    }
}

fn certificate(table: &Table<'_>) -> Option<(PathBuf, PathBuf)> {
    let certificate = table.read("certificate", Value::certificate_file);
    let key = table.read("key", Value::key_file);
    let (has_certificate, has_key) = (table.has_any(&["certificate"]), table.has_any(&["key"]));
    if has_certificate != has_key {
        table.spot.error(
            "certificate and key go together",
            "",
            "give both, or none if the servers ask for no certificate",
        );
    }
    certificate.zip(key)
}
