//! A preflight of an event source: everything that reading needs, one thing after the other, each with its time and with
//! what to do about it.
//!
//! Takes the same steps as [`super::link`] and [`super::source`] and changes nothing on the server.

use std::collections::BTreeMap;

use super::interpret::WORTH;
use super::link::{self, LinkError};
use super::log::{Log, Start};
use super::position::shown;
use super::source::CHANNEL;
use crate::config::{Auth, Delivery, EventSource};
use crate::identity::time::UtcMillis;
use crate::net::resolve::Resolver;
use crate::net::rpc::{Connection, RpcClient};
use crate::net::security::{Kdcs, Proof};
use crate::runtime::clock::utc_now;
use crate::runtime::preflight::Preflight;
use crate::runtime::supervisor::Tasks;
use crate::wire::binxml::{Decoder, Record};
use crate::wire::even6::{self, flag};

/// Clocks that differ by more are worth a word (rule 5).
const SKEW_WORTH_A_WORD: i64 = 60_000;
/// Clocks that differ by more want an operator; Kerberos itself allows five minutes.
const SKEW_TOO_MUCH: i64 = 300_000;

/// Tries a source step by step; stops at the first step that nothing after it could do without.
pub async fn preflight(source: &EventSource, resolver: &Resolver, steps: &mut Preflight) {
    let tasks = Tasks::new();
    let Some(port) = ports(source, resolver, steps).await else {
        return;
    };
    let proof = match Proof::read(&source.proof) {
        Ok(proof) => {
            steps.pass("account", format!("{} with {proof:?}", source.user));
            proof
        }
        Err(error) => return steps.fail("account", error.to_string(), error.remedy()),
    };
    let mut opened = None;
    for &auth in methods(source.auth) {
        if let Some(client) = sign_on(source, (resolver, port), auth, (&proof, &tasks), steps).await
        {
            opened.get_or_insert(client);
        }
    }
    let Some(client) = opened else {
        return;
    };
    clock(&client, steps);
    let log = Log::new(&client, &source.host, CHANNEL);
    if rights(&log, steps).await.is_none() {
        return;
    }
    extent(&log, steps).await;
    audit(source, &log, steps).await;
    delivery(source, &log, steps).await;
}

/// Name, endpoint mapper, and the port of the event log service.
async fn ports(source: &EventSource, resolver: &Resolver, steps: &mut Preflight) -> Option<u16> {
    match resolver.addresses(&source.host).await {
        Ok(addresses) => {
            let shown: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            steps.pass("name", format!("{} is {}", source.host, shown.join(", ")));
        }
        Err(error) => {
            steps.fail("name", error.to_string(), error.remedy());
            return None;
        }
    }
    let mapper = match Connection::open(resolver, &source.host, source.port).await {
        Ok(connection) => {
            steps.pass(format!("port {}", source.port), "open");
            connection
        }
        Err(error) => {
            steps.fail(
                format!("port {}", source.port),
                error.to_string(),
                error.remedy(),
            );
            return None;
        }
    };
    let port = match mapper.endpoint(even6::INTERFACE).await {
        Ok(port) => {
            steps.pass("event log port", format!("the service is on port {port}"));
            port
        }
        Err(error) => {
            steps.fail("event log port", error.to_string(), error.remedy());
            return None;
        }
    };
    match Connection::open(resolver, &source.host, port).await {
        Ok(_) => {
            steps.pass(format!("port {port}"), "open");
            Some(port)
        }
        Err(error) => {
            let remedy = "open the dynamic ports 49152 to 65535 towards the server, in its own firewall the group \"Remote Event Log Management\"";
            steps.fail(format!("port {port}"), error.to_string(), remedy);
            None
        }
    }
}

/// The ways of signing on that the configuration allows.
fn methods(auth: Auth) -> &'static [Auth] {
    match auth {
        Auth::Kerberos | Auth::Simple => &[Auth::Kerberos],
        Auth::Negotiate => &[Auth::Negotiate, Auth::Kerberos, Auth::Ntlm],
        Auth::Ntlm => &[Auth::Ntlm],
    }
}

/// Signs on in one way. Where the configuration allows several, only the first has to work.
async fn sign_on(
    source: &EventSource,
    (resolver, port): (&Resolver, u16),
    auth: Auth,
    (proof, tasks): (&Proof, &Tasks),
    steps: &mut Preflight,
) -> Option<RpcClient> {
    let name = format!("sign-on {}", auth.as_str());
    let kdcs = Kdcs::new(
        resolver,
        source.domain.as_str(),
        &source.kdc,
        source.host.clone(),
    );
    let opened = async {
        let negotiation = link::negotiation(source, auth, proof, kdcs)?;
        let connection = Connection::open(resolver, &source.host, port).await?;
        let client = connection
            .bind(tasks, even6::INTERFACE, negotiation)
            .await?;
        // NTLM's last word is not answered: only a call shows whether it was believed.
        let log = Log::new(&client, &source.host, CHANNEL);
        match log.channels().await {
            Ok(_) => Ok(client),
            Err(super::log::LogError::Rpc(error)) if error.is_credentials() => {
                Err(LinkError::Rpc(error))
            }
            Err(_) => Ok(client),
        }
    };
    match opened.await {
        Ok(client) => {
            let mechanism = client.negotiated().map_or("", |found| found.mechanism);
            steps.pass(name, format!("by {mechanism}, encrypted and signed"));
            Some(client)
        }
        Err(error) if auth == source.auth => {
            steps.fail(name, error.to_string(), error.remedy());
            None
        }
        Err(error) => {
            let (detail, remedy) = (error.to_string(), error.remedy());
            steps.advise(name, format!("not possible: {detail}"), remedy);
            None
        }
    }
}

fn clock(client: &RpcClient, steps: &mut Preflight) {
    let offset = client.negotiated().and_then(|found| found.clock_offset);
    let Some(offset) = offset else {
        return steps.pass("clock", "the server did not tell its time");
    };
    let detail = format!("the server's clock is {offset} ms ahead of ours");
    let remedy = "let both keep time by the same source (w32tm /resync, chronyc tracking)";
    if offset.abs() > SKEW_TOO_MUCH {
        steps.fail("clock", detail, remedy);
    } else if offset.abs() > SKEW_WORTH_A_WORD {
        steps.advise("clock", detail, remedy);
    } else {
        steps.pass("clock", detail);
    }
}

/// Whether the account may read the log, and its newest record.
async fn rights(log: &Log<'_, RpcClient>, steps: &mut Preflight) -> Option<()> {
    match newest(log, "*").await {
        Ok(found) => {
            steps.pass("rights", format!("the account may read the log {CHANNEL}"));
            match found {
                Some(record) => steps.pass(
                    "newest record",
                    format!("{} of {}", record.id, shown(record.time)),
                ),
                None => steps.advise(
                    "newest record",
                    "the log is empty",
                    "wait for a sign-on, or see what is audited: auditpol /get /category:*",
                ),
            }
            Some(())
        }
        Err(error) => {
            steps.fail("rights", error.to_string(), error.remedy());
            None
        }
    }
}

async fn extent(log: &Log<'_, RpcClient>, steps: &mut Preflight) {
    let found = async {
        let (records, oldest) = log.extent().await?;
        let query = log.select("*", flag::FORWARD).await?;
        let first = log.some_queried(&query, 1).await?;
        log.close(query).await?;
        let first = first.as_ref().and_then(first_record);
        Ok::<_, super::log::LogError>((records, oldest, first))
    };
    match found.await {
        Ok((records, oldest, first)) => {
            let since = first.map_or_else(String::new, |first| {
                format!(", back to {}", shown(first.time))
            });
            let hours = first.map_or(i64::MAX, |first| (utc_now().0 - first.time.0) / 3_600_000);
            let detail = format!("{records} records from number {oldest}{since}");
            if hours < 24 {
                steps.advise("log", detail, "make the log larger if it is to outlast a weekend of jims being away: wevtutil sl Security /ms:4294967296");
            } else {
                steps.pass("log", detail);
            }
        }
        // Reading works without it; only the query delivery needs it.
        Err(error) => steps.advise("log", error.to_string(), error.remedy()),
    }
}

/// Which of the wanted records the log has at all.
async fn audit(source: &EventSource, log: &Log<'_, RpcClient>, steps: &mut Preflight) {
    let ids: BTreeMap<u16, &str> = WORTH
        .iter()
        .filter(|row| row.kind == source.kind)
        .map(|row| (row.id, policy(row.id)))
        .collect();
    let (mut seen, mut missing) = (Vec::new(), Vec::new());
    for (&id, &policy) in &ids {
        match newest(log, &format!("*[System[EventID={id}]]")).await {
            Ok(Some(record)) => seen.push(format!("{id} ({})", shown(record.time))),
            Ok(None) => missing.push((id, policy)),
            Err(error) => return steps.fail("audit", error.to_string(), error.remedy()),
        }
    }
    let mut commands: Vec<String> = missing
        .iter()
        .map(|(_, policy)| format!("auditpol /set /subcategory:\"{policy}\" /success:enable"))
        .collect();
    commands.dedup();
    let commands = commands.join("\n");
    let ids: Vec<String> = missing.iter().map(|(id, _)| id.to_string()).collect();
    if seen.is_empty() {
        let detail = format!("the log has none of {}", ids.join(", "));
        steps.fail("audit", detail, commands);
    } else if missing.is_empty() {
        steps.pass("audit", seen.join(", "));
    } else {
        let detail = format!("{}; never {}", seen.join(", "), ids.join(", "));
        steps.advise("audit", detail, commands);
    }
}

/// The audit subcategory that writes a record.
fn policy(id: u16) -> &'static str {
    match id {
        4768 => "Kerberos Authentication Service",
        4769 | 4770 => "Kerberos Service Ticket Operations",
        4776 => "Credential Validation",
        4634 | 4647 => "Logoff",
        _ => "Logon",
    }
}

/// Whether records can be had as configured.
async fn delivery(source: &EventSource, log: &Log<'_, RpcClient>, steps: &mut Preflight) {
    let ways: &[(Delivery, &str)] = match source.delivery {
        Delivery::Auto => &[(Delivery::Push, "push"), (Delivery::Pull, "pull")],
        Delivery::Push => &[(Delivery::Push, "push")],
        Delivery::Pull => &[(Delivery::Pull, "pull")],
        Delivery::Query => &[],
    };
    let mut last = None;
    for &(way, word) in ways {
        match log.subscribe(source.kind, Start::Now, way).await {
            Ok(subscription) => {
                // The server forgets it with the connection anyway.
                let _ = log.close(subscription).await;
                return steps.pass("delivery", format!("by {word}"));
            }
            Err(error) => last = Some(error),
        }
    }
    match (last, source.delivery) {
        (None, _) => steps.pass("delivery", "by query"),
        (Some(error), Delivery::Auto) => {
            steps.advise(
                "delivery",
                format!("by query only: {error}"),
                error.remedy(),
            );
        }
        (Some(error), _) => steps.fail("delivery", error.to_string(), error.remedy()),
    }
}

#[derive(Clone, Copy)]
struct Found {
    id: u64,
    time: UtcMillis,
}

/// The newest record that an expression selects.
async fn newest(
    log: &Log<'_, RpcClient>,
    expression: &str,
) -> Result<Option<Found>, super::log::LogError> {
    let query = log.select(expression, flag::BACKWARD).await?;
    let batch = log.some_queried(&query, 1).await?;
    log.close(query).await?;
    Ok(batch.as_ref().and_then(first_record))
}

fn first_record(batch: &super::log::Batch) -> Option<Found> {
    let mut decoder = Decoder::default();
    let record: Record<'_> = decoder.record(batch.records().next()?).ok()?;
    Some(Found {
        id: record.record_id,
        time: UtcMillis(record.time.to_unix_millis()),
    })
}
