//! Collectors that push to this Server, as the control socket asks for them: the registry's words in those of the protocol.

use std::net::SocketAddr;
use std::time::Duration;

use super::notices::Notices;
use super::serve::Inner;
use crate::access::Access;
use crate::config::defaults::{self, Environment};
use crate::config::{self, Config};
use crate::control::collectors::{
    CollectorChange, CollectorChanged, CollectorState, CollectorStatus, Invite, Invited, Kinds, Lag,
};
use crate::control::protocol::{Refusal, timestamp};
use crate::enforcement::Server;
use crate::identity::policy::Policy;
use crate::identity::view;
use crate::push::ingest::{
    self, CollectorReading, Ingest, IngestError, Kept, RegistryError, ScopeText,
};
use crate::push::shape::Totals;
use crate::runtime::readiness::Readiness;
use crate::runtime::supervisor::Tasks;
use crate::writer::WriterParts;

/// Collectors that push, to a process that has these parts.
pub(super) fn ingest(
    kept: Kept,
    config: &Config,
    parts: &WriterParts,
    (readiness, access, tasks): (&Readiness, &Access, &Tasks),
) -> Ingest {
    let surroundings = ingest::Surroundings {
        intake: parts.intake.clone(),
        reader: parts.reader.clone(),
        policy: parts.policy.clone(),
        readiness: readiness.clone(),
        access: access.clone(),
        tasks: tasks.clone(),
        server: config.collector.name.clone(),
    };
    Ingest::new(kept, surroundings)
}

/// Tells of a list of Collectors that could not be used.
pub(super) fn tell(kept: &Kept, notices: &Notices) {
    if let Some(aside) = &kept.aside {
        let what = aside.what();
        tracing::warn!("{what}; no Collector is onboarded");
        notices.put("Collectors set aside", what, aside.remedy());
    }
}

/// The policy of a configuration, with the Collectors that it lets call.
pub(super) fn policy(config: &Config, kept: &Kept) -> Policy {
    let mut policy = config.policy();
    if config.ingest.enabled {
        kept.fill(&mut policy);
    }
    policy
}

/// How every Collector is doing.
pub(super) fn statuses(inner: &Inner) -> Result<Vec<CollectorStatus>, Refusal> {
    let server = inner.server().filter(|_| is_enabled(inner));
    let server = server.ok_or_else(|| no_ingest(inner.server().is_some()))?;
    let expires = server.certificate().not_after;
    let readings = inner.ingest.readings().into_iter();
    let mut all: Vec<_> = readings
        .map(|reading| {
            let mut status = status(reading);
            status.certificate_expires = Some(timestamp(expires));
            status
        })
        .collect();
    all.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(all)
}

/// Invites a Collector.
pub(super) async fn invite(inner: &Inner, wanted: Invite) -> Result<Invited, Refusal> {
    let server = inner.server().filter(|_| is_enabled(inner));
    let server = server.ok_or_else(|| no_ingest(inner.server().is_some()))?;
    let certificate = server.certificate();
    let scope = ScopeText {
        networks: wanted.networks,
        domains: wanted.domains,
        roles: wanted.roles,
    };
    let life = Some(Duration::from_secs(wanted.expires_s));
    let invited = inner
        .ingest
        .invite(&wanted.name, life, scope, certificate.key_sha256);
    let (code, expires) = invited.await.map_err(|error| refusal(&error))?;
    let (url, url_guessed) = found_at(inner, &server);
    Ok(Invited {
        name: wanted.name,
        code: code.text(),
        url,
        url_guessed,
        fingerprint: certificate.fingerprint,
        expires: timestamp(expires),
    })
}

/// Changes a Collector or its invitation.
pub(super) async fn change(
    inner: &Inner,
    name: &str,
    change: CollectorChange,
) -> Result<CollectorChanged, Refusal> {
    if !is_enabled(inner) {
        return Err(no_ingest(inner.server().is_some()));
    }
    let ingest = &inner.ingest;
    let before = inner.parts.reader.read().totals();
    let changed = match &change {
        CollectorChange::Revoke => ingest.revoke(name).await,
        CollectorChange::Remove => ingest.remove(name).await,
        CollectorChange::Disable => ingest.disable(name).await,
        CollectorChange::Enable => ingest.enable_collector(name).await,
        CollectorChange::Describe(text) => ingest.describe(name, text).await,
    };
    let (done, detail) = match changed {
        Ok(()) => (true, change.as_str().to_owned()),
        Err(IngestError::Registry(
            none @ (RegistryError::NoCollector(_) | RegistryError::NoInvitation(_)),
        )) => (false, none.to_string()),
        Err(error) => return Err(refusal(&error)),
    };
    let removed = done && change == CollectorChange::Remove;
    let left = removed.then(|| fewer(before, inner.parts.reader.read().totals()));
    Ok(CollectorChanged {
        name: name.to_owned(),
        done,
        detail,
        left,
    })
}

/// By how much there is less of what directories told and of sessions; what others bring or end meanwhile is in it, too.
fn fewer(before: view::Totals, after: view::Totals) -> Kinds {
    let less = |before: usize, after: usize| {
        let less = before.saturating_sub(after);
        u64::try_from(less).unwrap_or(u64::MAX)
    };
    Kinds {
        domains: less(before.domains, after.domains),
        users: less(before.directory_users, after.directory_users),
        devices: less(before.directory_devices, after.directory_devices),
        groups: less(before.groups, after.groups),
        sessions: less(before.sessions, after.sessions),
    }
}

/// Where Collectors find the Server, and whether that is a guess.
pub(super) fn found_at(inner: &Inner, server: &Server) -> (String, bool) {
    let host_name = Environment::of_process().host_name;
    let config = inner.config.load();
    let configured = config.server.as_ref();
    let url = configured.map(|configured| url(configured, &server.addresses(), &host_name));
    url.unwrap_or_default()
}

fn is_enabled(inner: &Inner) -> bool {
    inner.config.load().ingest.enabled
}

fn refusal(error: &IngestError) -> Refusal {
    Refusal {
        message: error.to_string(),
        remedy: error.remedy(),
    }
}

fn status(reading: CollectorReading) -> CollectorStatus {
    let lag = Lag {
        behind: reading.behind,
        seconds: Some(reading.behind_for.as_secs()),
    };
    let lag = reading.totals.is_some().then_some(lag);
    CollectorStatus {
        name: reading.name,
        identifier: reading.introduced,
        version: reading.version,
        description: reading.description,
        state: state(reading.state),
        since: reading.disconnected_since.map(timestamp),
        last_update: reading.last_update.map(timestamp),
        address: reading.address,
        pushes: kinds(reading.pushed),
        totals: reading.totals.map(kinds).unwrap_or_default(),
        lag,
        onboarded_at: reading.onboarded_at.map(timestamp),
        networks: reading.scope.networks,
        domains: reading.scope.domains,
        roles: reading.scope.roles,
        invitation_expires: reading.invitation_expires.map(timestamp),
        clock_difference_ms: reading.clock_ahead_ms,
        attention: reading.attention,
        attention_there: reading.attention_there,
        ..CollectorStatus::default()
    }
}

fn state(state: ingest::CollectorState) -> CollectorState {
    match state {
        ingest::CollectorState::Connected => CollectorState::Connected,
        ingest::CollectorState::Resynchronising => CollectorState::Resynchronising,
        ingest::CollectorState::Disconnected => CollectorState::Disconnected,
        ingest::CollectorState::Disabled => CollectorState::Disabled,
        ingest::CollectorState::Invited => CollectorState::Invited,
    }
}

/// Numbers of each kind in the words of the control socket.
pub(super) fn kinds(totals: Totals) -> Kinds {
    Kinds {
        domains: totals.domains,
        users: totals.users,
        devices: totals.devices,
        groups: totals.groups,
        sessions: totals.sessions,
    }
}

/// This process receives no Collectors.
fn no_ingest(is_server: bool) -> Refusal {
    let (message, remedy) = if is_server {
        (
            "this Server does not receive Collectors",
            "set [ingest] enabled = true, and reload",
        )
    } else {
        (
            "this is no Server: it does not receive Collectors",
            "ask on the Server; or add [server], set [ingest] enabled = true, and reload",
        )
    };
    Refusal {
        message: message.into(),
        remedy: remedy.into(),
    }
}

/// The same, of what is configured and bound: the first name of the certificate that is configured,
/// else an address that it listens on, else the host's name.
fn url(server: &config::Server, listens: &[SocketAddr], host_name: &str) -> (String, bool) {
    let port = listens
        .first()
        .map_or(defaults::SERVER_PORT, SocketAddr::port);
    let concrete = listens
        .iter()
        .find(|address| !address.ip().is_unspecified());
    let (host, port, guessed) = match (server.certificate_names.first(), concrete) {
        (Some(name), _) => (bracketed(name), port, false),
        (None, Some(address)) => (bracketed(&address.ip().to_string()), address.port(), false),
        (None, None) => (host_name.to_owned(), port, true),
    };
    let url = if port == defaults::SERVER_PORT {
        format!("https://{host}")
    } else {
        format!("https://{host}:{port}")
    };
    (url, guessed)
}

/// An IPv6 address as URLs write it (RFC 3986, section 3.2.2).
fn bracketed(host: &str) -> String {
    if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(names: &[&str], listens: &[&str]) -> (String, bool) {
        let server = config::Server {
            listen: Vec::new(),
            certificate: None,
            client_ca_file: None,
            certificate_names: names.iter().map(|&name| name.to_owned()).collect(),
            token_lifetime: Duration::from_hours(8),
            validator_listen: Vec::new(),
            debug_http_listen: Vec::new(),
        };
        let listens: Vec<SocketAddr> = listens
            .iter()
            .map(|text| text.parse().expect("an address"))
            .collect();
        url(&server, &listens, "host-1")
    }

    #[test]
    fn collectors_are_sent_to_a_name_then_an_address_then_a_guess() {
        let all = ["[::]:443"];
        let said = |url: &str, guessed| (url.to_owned(), guessed);
        assert_eq!(
            found(&["jims.example.com", "192.0.2.7"], &all),
            said("https://jims.example.com", false)
        );
        assert_eq!(
            found(&["2001:db8::7"], &["[::]:8443"]),
            said("https://[2001:db8::7]:8443", false)
        );
        assert_eq!(
            found(&[], &["[::]:443", "192.0.2.7:9443"]),
            said("https://192.0.2.7:9443", false)
        );
        assert_eq!(found(&[], &all), said("https://host-1", true));
        assert_eq!(found(&[], &[]), said("https://host-1", true));
    }
}
