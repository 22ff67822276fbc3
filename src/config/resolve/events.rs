//! `[[event_source]]`.

use std::net::IpAddr;
use std::time::Duration;

use super::account::{self, host};
use super::{KnownDomains, Unique, known_domain};
use crate::config::defaults;
use crate::config::file::{Table, Value};
use crate::config::{Auth, Delivery, EventSource, EventSourceKind};
use crate::identity::worth::Conflict;

/// Longest past that is read at a first start: older logons are over the logoff time many times.
const MAX_CATCH_UP: Duration = Duration::from_hours(7 * 24);

/// How an event source may be signed on to.
const AUTHS: [(&str, Auth); 3] = [
    ("kerberos", Auth::Kerberos),
    ("negotiate", Auth::Negotiate),
    ("ntlm", Auth::Ntlm),
];

/// The event sources.
pub(super) fn event_sources(
    root: &Table<'_>,
    names: &mut Unique,
    known: &KnownDomains,
    conflict: Conflict,
) -> Vec<EventSource> {
    let tables = root.tables("event_source");
    let sources = tables.iter().filter_map(|table| {
        let source = source(table, names, known);
        table.finish();
        Some(EventSource {
            conflict,
            ..source?
        })
    });
    sources.collect()
}

fn source(table: &Table<'_>, names: &mut Unique, known: &KnownDomains) -> Option<EventSource> {
    let name = table.required("name", "\"dc1\"", |value| {
        let name = value.entry_name()?;
        names.take(&name, &value.spot);
        Some(name)
    });
    let kind = table.required("kind", "\"domain-controller\"", |value| {
        value.word(&[
            ("domain-controller", EventSourceKind::DomainController),
            ("exchange", EventSourceKind::Exchange),
        ])
    });
    let domain = table.required("domain", "\"corp.example.com\"", |value| {
        known_domain(value, known)
    });
    let host = table.required("host", "\"dc1.corp.example.com\"", host);
    let port = table
        .read("port", Value::port)
        .unwrap_or(defaults::ENDPOINT_MAPPER_PORT);
    let account = account::account(table, &AUTHS, Auth::Kerberos);
    if let (Some(host), Some(account)) = (&host, &account)
        && account.auth == Auth::Kerberos
        && host.parse::<IpAddr>().is_ok()
        && let Some(value) = table.value("host")
    {
        account::kerberos_needs_a_name(&value, host);
    }
    let catch_up = table
        .read("catch_up", |value| {
            value.duration(Duration::ZERO..=MAX_CATCH_UP)
        })
        .unwrap_or(defaults::CATCH_UP);
    let delivery = table
        .read("delivery", |value| {
            value.word(&[
                ("auto", Delivery::Auto),
                ("push", Delivery::Push),
                ("pull", Delivery::Pull),
                ("query", Delivery::Query),
            ])
        })
        .unwrap_or(Delivery::Auto);
    let networks = table.list("networks", Value::network);
    let domains = table.list("domains", |value| known_domain(value, known));
    let account = account?;
    Some(EventSource {
        name: name?,
        kind: kind?,
        domain: domain?,
        host: host?,
        port,
        auth: account.auth,
        kdc: account.kdc,
        user: account.user,
        proof: account.proof,
        catch_up,
        delivery,
        networks,
        domains,
        conflict: Conflict::default(),
    })
}
