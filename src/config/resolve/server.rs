//! `[server]`, `[[enforcement_point]]`, and that no two listeners want the same port.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::web_api::web_api;
use super::{KnownDomains, Unique, known_domain};
use crate::config::defaults;
use crate::config::file::{Spot, Table, Value};
use crate::config::value::show_network;
use crate::config::{Caller, CertificateFiles, EnforcementPoint, PointFilter, Server};

pub(super) fn server(root: &Table<'_>) -> Option<Server> {
    let table = root.table("server");
    let listen = if table.value("listen").is_some() {
        table.list("listen", Value::listener)
    } else {
        vec![defaults::any(defaults::SERVER_PORT)]
    };
    let server = Server {
        listen,
        certificate: certificate(&table),
        client_ca_file: table.read("client_ca_file", Value::certificate_file),
        certificate_names: table.list("certificate_names", certificate_name),
        token_lifetime: table
            .read("token_lifetime", |value| {
                value.duration(Duration::from_mins(5)..=Duration::from_hours(7 * 24))
            })
            .unwrap_or(defaults::TOKEN_LIFETIME),
        validator_listen: table.list("validator_listen", Value::listener),
        debug_http_listen: table.list("debug_http_listen", Value::listener),
    };
    if let Some(value) = table.value("debug_http_listen")
        && !server.debug_http_listen.is_empty()
    {
        value.spot.warning(
            "tokens and user names cross the network in clear text here",
            "plain HTTP is for debugging",
            "remove it when you are done",
        );
    }
    table.finish();
    table.present().then_some(server)
}

fn certificate_name(value: &Value<'_>) -> Option<String> {
    host_or_address(value, value.some_text()?)
}

fn host_or_address(value: &Value<'_>, name: String) -> Option<String> {
    let label = |label: &str| {
        let inside = |c: char| c.is_ascii_alphanumeric() || c == '-';
        (1..=63).contains(&label.len()) && label.chars().all(inside)
    };
    // RFC 1123, section 2.1.
    let is_host = name.len() <= 253 && name.split('.').all(label);
    if !is_host && name.parse::<IpAddr>().is_err() {
        value.spot.error(
            format!("\"{name}\" is neither a host name nor an address"),
            "a certificate is for names that the other side can connect to",
            "write it as in \"jims1.example.com\"",
        );
        return None;
    }
    Some(name)
}

/// `certificate_file` and `key_file`: both or neither.
pub(super) fn certificate(table: &Table<'_>) -> Option<CertificateFiles> {
    let certificate = table.value("certificate_file");
    let key = table.value("key_file");
    let given = |value: &Option<Value<'_>>| {
        value
            .as_ref()
            .is_some_and(|value| value.inner.as_str() != Some(""))
    };
    let lonely = |value: &Value<'_>, other: &str| {
        value.spot.error(
            format!("there is no {other}"),
            "a certificate and its private key belong together",
            format!("add {other} beside it"),
        );
    };
    match (given(&certificate), given(&key)) {
        (true, false) => certificate
            .iter()
            .for_each(|value| lonely(value, "key_file")),
        (false, true) => key
            .iter()
            .for_each(|value| lonely(value, "certificate_file")),
        _ => {}
    }
    let files: (Option<PathBuf>, Option<PathBuf>) = (
        certificate.and_then(|value| value.certificate_file()),
        key.and_then(|value| value.key_file()),
    );
    Some(CertificateFiles {
        certificate: files.0?,
        key: files.1?,
    })
}

pub(super) fn points(
    root: &Table<'_>,
    known: &KnownDomains,
    client_ids: &mut Unique,
) -> Vec<EnforcementPoint> {
    let mut points = Vec::new();
    // The same firewall may be a syslog source of that name, so these names are their own.
    let mut names = Unique::new("commands and status call a point by its name");
    let mut callers = Callers::default();
    for table in root.tables("enforcement_point") {
        let name = table.required("name", "\"srx-branch-1\"", |value| {
            let name = value.entry_name()?;
            names.take(&name, &value.spot);
            Some(name)
        });
        let caller = asks(&table).then(|| caller(root, &table, &POINT, &mut callers, client_ids));
        let filter = point_filter(&table.table("filter"), known);
        let pushed_to = table.table("web_api");
        let web_api = web_api(&pushed_to);
        table.finish();
        let whole =
            caller.as_ref().is_none_or(Option::is_some) && web_api.is_some() == pushed_to.present();
        if let Some(name) = name.filter(|_| whole) {
            points.push(EnforcementPoint {
                name,
                caller: caller.flatten(),
                web_api,
                filter,
            });
        }
    }
    points
}

/// Whether the point asks: a firewall that is pushed to need not, one that does neither would be there for nothing.
fn asks(table: &Table<'_>) -> bool {
    let keys = [&["addresses", "client_id"][..], &POINT.secret, &POINT.next];
    !table.has_any(&["web_api"]) || keys.iter().any(|keys| table.has_any(keys))
}

/// Which network belongs to which entry.
pub(super) type Callers = BTreeMap<IpNet, String>;

/// What the keys of a caller are called.
pub(super) struct CallerKeys {
    pub(super) addresses: &'static str,
    pub(super) client_id: &'static str,
    pub(super) secret: [&'static str; 4],
    pub(super) next: [&'static str; 4],
}

const POINT: CallerKeys = CallerKeys {
    addresses: "addresses",
    client_id: "client_id",
    secret: [
        "client_secret",
        "client_secret_file",
        "client_secret_env",
        "client_secret_credential",
    ],
    next: [
        "next_client_secret",
        "next_client_secret_file",
        "next_client_secret_env",
        "next_client_secret_credential",
    ],
};

/// Where a client calls from and what it shows.
pub(super) fn caller(
    root: &Table<'_>,
    table: &Table<'_>,
    keys: &CallerKeys,
    callers: &mut Callers,
    client_ids: &mut Unique,
) -> Option<Caller> {
    let addresses = addresses(table, keys.addresses, callers);
    let client_id = table.required(keys.client_id, "\"srx-branch-1\"", |value| {
        let id = client_id(value)?;
        client_ids.take(&id, &value.spot);
        Some(id)
    });
    let secret = table.secret(keys.secret);
    let next = table.optional_secret(keys.next);
    let certificate_name = table.read("client_certificate", |value| {
        host_or_address(value, value.text_or_none()?)
    });
    if let Some(value) = table.value("client_certificate")
        && certificate_name.is_some()
        && root.table("server").value("client_ca_file").is_none()
    {
        value.spot.error(
            "certificates of clients are not asked for",
            "[server] names no CA that issues them",
            "add client_ca_file to [server]",
        );
    }
    Some(Caller {
        addresses,
        certificate_name,
        client_id: client_id?,
        secrets: std::iter::once(secret?).chain(next).collect(),
    })
}

/// Where a client calls from; an address belongs to one of its kind.
fn addresses(table: &Table<'_>, key: &'static str, callers: &mut Callers) -> Vec<IpNet> {
    let entries = table
        .required(key, "[\"192.0.2.1\"]", |value| {
            let entries = value.entries()?;
            if entries.is_empty() {
                value.spot.error(
                    "no address is named",
                    "only known addresses are answered",
                    "name the address that it calls from",
                );
            }
            Some(entries)
        })
        .unwrap_or_default();
    let mut own = Vec::new();
    for value in entries {
        let Some(network) = value.network() else {
            continue;
        };
        let other = callers
            .iter()
            .find(|(taken, _)| taken.contains(&network) || network.contains(*taken));
        if let Some((taken, owner)) = other {
            value.spot.error(
                format!(
                    "{} overlaps {} of {owner}",
                    show_network(network),
                    show_network(*taken)
                ),
                "what comes from an address is of the one entry that it belongs to",
                "give each address to one of them",
            );
        }
        own.push((
            network,
            format!("{} ({})", value.spot.key, value.spot.line()),
        ));
    }
    let networks = own.iter().map(|(network, _)| *network).collect();
    callers.extend(own);
    networks
}

fn client_id(value: &Value<'_>) -> Option<String> {
    let id = value.some_text()?;
    if id.contains(':') || id.chars().any(|c| c.is_control() || c.is_whitespace()) {
        value.spot.error(
            format!("\"{id}\" cannot be a client id"),
            "HTTP Basic ends it at the first colon, and blanks get lost",
            "use letters, digits, '-', '_' and '.'",
        );
        return None;
    }
    Some(id)
}

fn point_filter(table: &Table<'_>, known: &KnownDomains) -> PointFilter {
    let filter = PointFilter {
        include_addresses: table.list("include_addresses", Value::network),
        exclude_addresses: table.list("exclude_addresses", Value::network),
        domains: table.list("domains", |value| known_domain(value, known)),
        groups: table.list("groups", Value::glob),
    };
    table.finish();
    filter
}

/// Every listener of the file and those that stand by default, each against all before it.
pub(super) fn listeners_differ(root: &Table<'_>) {
    let mut taken: Vec<(SocketAddr, bool, String)> = Vec::new();
    let syslog = root.value("syslog_source").is_some();
    let server = root.value("server").is_some();
    let of = |running: bool, table: &'static str, keys: &[&'static str], default_port| {
        let mut found = Vec::new();
        let table = root.table(table);
        for key in keys.iter().copied().filter(|_| running) {
            match table.value(key) {
                Some(value) => found.extend(written(&value).into_iter().map(|(a, s)| (key, a, s))),
                None if matches!(key, "udp" | "tcp" | "listen") && default_port != 0 => {
                    let mut spot = table.spot.clone();
                    spot.key = format!("{}.{key}", spot.key);
                    found.push((key, defaults::any(default_port), spot));
                }
                None => {}
            }
        }
        found
    };
    let all = [
        of(
            syslog,
            "syslog",
            &["udp", "tcp", "tls"],
            defaults::SYSLOG_PORT,
        ),
        of(
            server,
            "server",
            &["listen", "validator_listen", "debug_http_listen"],
            defaults::SERVER_PORT,
        ),
        of(true, "metrics", &["listen"], 0),
    ];
    for (key, address, spot) in all.into_iter().flatten() {
        let udp = key == "udp";
        let clash = taken
            .iter()
            .find(|(other, other_udp, _)| udp == *other_udp && same_port(*other, address));
        if let Some((other, _, owner)) = clash {
            spot.error(
                format!("{address} clashes with {other} of {owner}"),
                "one port of an address has one listener",
                "choose another port, or another address",
            );
        }
        taken.push((address, udp, spot.key.clone()));
    }
}

fn written<'a>(value: &Value<'a>) -> Vec<(SocketAddr, Spot<'a>)> {
    let Some(array) = value.inner.as_array() else {
        return Vec::new();
    };
    // Entries that are no listeners were reported when the table was read.
    let entries = value
        .entries()
        .filter(|_| !array.is_empty())
        .unwrap_or_default();
    entries
        .into_iter()
        .filter_map(|entry| Some((entry.inner.as_str()?.parse().ok()?, entry.spot)))
        .collect()
}

/// Whether two listeners would get in each other's way. `[::]` takes IPv4 too; port 0 is any free port.
fn same_port(a: SocketAddr, b: SocketAddr) -> bool {
    let everything = |ip: IpAddr| ip == IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED);
    let same_address = a.ip().to_canonical() == b.ip().to_canonical()
        || everything(a.ip())
        || everything(b.ip())
        || (a.is_ipv4() == b.is_ipv4() && (a.ip().is_unspecified() || b.ip().is_unspecified()));
    a.port() == b.port() && a.port() != 0 && same_address
}
