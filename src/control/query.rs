//! Who is where: finds what an operator means by a name or an address, and reads it from the table.
//!
//! Pure reading; the answer is a copy in the protocol's types.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::protocol::{
    DeviceSession, Ended, Evidence, KnownDevice, KnownUser, MAX_LISTED, PastSession, Query,
    Session, timestamp,
};
use super::unknown;
use crate::identity::Core;
use crate::identity::address::canonical;
use crate::identity::core::LogOffTarget;
use crate::identity::event::Strength;
use crate::identity::group_names::GroupNames;
use crate::identity::name::Name;
use crate::identity::time::UtcMillis;
use crate::identity::view::{
    AddressView, DeviceView, EvidenceView, LastEnded, Seq, Standing, UserView,
};
use crate::writer::Reader;

/// Addresses of the same device that are listed with each of them.
const MAX_ALSO_AT: usize = 16;

/// What is known of whom the operator names: an address, a user, a device, or all of that name.
pub(super) fn query(core: &Core, who: &str, down: &Down, now: UtcMillis) -> Query {
    let who = who.trim();
    let mut answer = Query {
        who: who.to_owned(),
        at: timestamp(now),
        sessions: Vec::new(),
        users: Vec::new(),
        devices: Vec::new(),
        ended: Vec::new(),
        explained: Vec::new(),
        remark: None,
        truncated: false,
        point: None,
    };
    let mut addresses = BTreeSet::new();
    if let Ok(address) = who.parse::<IpAddr>() {
        addresses.insert(canonical(address));
    } else {
        answer.users = users(core, who)
            .into_iter()
            .map(|u| known_user(core, &u))
            .collect();
        answer.devices = devices(core, who)
            .into_iter()
            .map(|d| known_device(core, &d))
            .collect();
        addresses.extend(answer.users.iter().flat_map(|u| &u.addresses));
        addresses.extend(answer.devices.iter().flat_map(|d| &d.addresses));
    }
    answer.truncated = addresses.len() > MAX_LISTED
        || answer.users.len() > MAX_LISTED
        || answer.devices.len() > MAX_LISTED;
    answer.users.truncate(MAX_LISTED);
    answer.devices.truncate(MAX_LISTED);
    answer.sessions = addresses
        .into_iter()
        .take(MAX_LISTED)
        .filter_map(|address| session(core, &core.address(address)?, down))
        .collect();
    answer.remark = unknown::remark(core, &answer);
    answer
}

/// Producers that do not work now: what they brought is unconfirmed, and stays.
pub(super) type Down = BTreeSet<String>;

/// Addresses looked at in one hold of the lock.
const SLICE: usize = 4096;

/// The last session that ended at the address which was asked for, or all of a user's that did, the latest first.
pub(super) fn ended_before(reader: &Reader, found: &Query) -> Vec<PastSession> {
    let mut past = Vec::new();
    if let Ok(address) = found.who.parse::<IpAddr>() {
        let core = reader.read();
        let view = core.address(canonical(address));
        let ended = view.and_then(|view| Some(past_session(view.address, view.last_ended?)));
        past.extend(ended);
    } else {
        let names: Vec<String> = found
            .users
            .iter()
            .map(|user| format!("{}\\{}", user.domain, user.user).to_lowercase())
            .collect();
        let is_meant = |ended: &LastEnded| names.contains(&ended.user.as_str().to_lowercase());
        let mut cursor = Seq(0);
        // In slices, so that nobody waits for a large table.
        while !names.is_empty() && past.len() < MAX_LISTED {
            let core = reader.read();
            let before = cursor;
            for (position, address, ended) in core.ends_since(before).take(SLICE) {
                cursor = position;
                let ended = ended.filter(|ended| is_meant(ended));
                past.extend(ended.map(|ended| past_session(address, ended)));
            }
            if cursor == before {
                break;
            }
        }
    }
    past.sort_by_key(|past| std::cmp::Reverse(past.at));
    past.truncate(MAX_LISTED);
    past
}

fn past_session(address: IpAddr, ended: &LastEnded) -> PastSession {
    PastSession {
        address,
        user: ended.user.to_string(),
        at: timestamp(ended.at),
        reason: ended.word().to_owned(),
        by: ended.by.to_string(),
    }
}

/// What to tell the writer so that the sessions of an answer end: the address; else the users; else, if only devices
/// have that name, whatever is at their addresses.
pub(super) fn log_off_targets(found: &Query) -> Vec<LogOffTarget> {
    if let Ok(address) = found.who.parse::<IpAddr>() {
        return vec![LogOffTarget::Address(canonical(address))];
    }
    let with_session = found.users.iter().filter(|u| !u.addresses.is_empty());
    let users: Vec<_> = with_session
        .filter_map(|user| {
            Some(LogOffTarget::User {
                name: Name::new(&user.user).ok()?,
                domain: Some(Name::new(&user.domain).ok()?),
            })
        })
        .collect();
    if !users.is_empty() {
        return users;
    }
    let addresses = found.devices.iter().flat_map(|d| &d.addresses);
    addresses.map(|a| LogOffTarget::Address(*a)).collect()
}

/// Which of the sessions found before are gone now.
pub(super) fn ended(core: &Core, before: &[Session]) -> Vec<Ended> {
    let gone = |had: &Option<String>, has: Option<&str>| {
        had.clone().filter(|had| has != Some(had.as_str()))
    };
    let each = before.iter().filter_map(|session| {
        let now = core.address(session.address);
        let user = now
            .as_ref()
            .and_then(|v| v.user.as_ref())
            .map(|u| u.user.name);
        let device = now
            .as_ref()
            .and_then(|v| v.device.as_ref())
            .map(|d| d.device.name);
        let (user, device) = (gone(&session.user, user), gone(&session.device, device));
        (user.is_some() || device.is_some()).then(|| Ended {
            address: session.address,
            user,
            device,
            domain: session.domain.clone(),
        })
    });
    each.collect()
}

/// Users an operator may mean: `DOMAIN\user`, a UPN, or a bare name in every domain.
fn users<'a>(core: &'a Core, who: &str) -> Vec<UserView<'a>> {
    if who.ends_with('$') {
        return Vec::new();
    }
    if let Some((domain, user)) = who.split_once('\\') {
        return core.user(user, Some(domain)).into_iter().collect();
    }
    if let Some((user, suffix)) = who.rsplit_once('@') {
        let found = core
            .user(who, None)
            .or_else(|| core.user(user, Some(suffix)));
        return found.into_iter().collect();
    }
    core.users_named(who)
}

/// Devices an operator may mean: `DOMAIN\device`, a DNS name, or a bare name in every domain, `$` or not.
fn devices<'a>(core: &'a Core, who: &str) -> Vec<DeviceView<'a>> {
    if who.contains('@') {
        return Vec::new();
    }
    let who = who.strip_suffix('$').unwrap_or(who);
    if let Some((domain, device)) = who.split_once('\\') {
        return core.devices_named(device, Some(domain));
    }
    match who.split_once('.') {
        Some((device, domain)) => core.devices_named(device, Some(domain)),
        None => core.devices_named(who, None),
    }
}

fn known_user(core: &Core, user: &UserView<'_>) -> KnownUser {
    KnownUser {
        user: user.name.to_owned(),
        domain: user.domain.to_owned(),
        groups: owned(&user.roles),
        standing: standing(user.standing).to_owned(),
        addresses: core.addresses_of_user(user.name, user.domain),
    }
}

fn known_device(core: &Core, device: &DeviceView<'_>) -> KnownDevice {
    KnownDevice {
        device: device.name.to_owned(),
        domain: device.domain.to_owned(),
        groups: owned(&device.groups),
        os: device.os.map(str::to_owned),
        os_version: device.os_version.map(str::to_owned),
        addresses: core.addresses_of_device(device.name, device.domain),
    }
}

/// The session at an address; `None` if it is only remembered as ended.
fn session(core: &Core, view: &AddressView<'_>, down: &Down) -> Option<Session> {
    let device = view.device.as_ref();
    let device_session = device.map(|d| DeviceSession {
        domain: d.device.domain.to_owned(),
        groups: owned(&d.device.groups),
        os: d.device.os.map(str::to_owned),
        os_version: d.device.os_version.map(str::to_owned),
        since: timestamp(d.since),
        last_evidence: evidence(&d.evidence),
        deadline: timestamp(d.deadline),
    });
    let evidence_of_session = view.user.as_ref().map(|u| &u.evidence);
    let evidence_of_session = evidence_of_session.or(device.map(|d| &d.evidence))?;
    let doubt = doubt(core, view, evidence_of_session, down);
    let state = state(core, view, evidence_of_session, down);
    let then = then(core, view).to_owned();
    let also_at: Vec<IpAddr> = device
        .map(|d| core.addresses_of_device(d.device.name, d.device.domain))
        .unwrap_or_default()
        .into_iter()
        .filter(|address| *address != view.address)
        .take(MAX_ALSO_AT)
        .collect();
    let name = device.map(|d| d.device.name.to_owned());
    if let Some(user) = &view.user {
        return Some(Session {
            address: view.address,
            user: Some(user.user.name.to_owned()),
            domain: user.user.domain.to_owned(),
            device: name,
            groups: owned(&user.user.roles),
            since: timestamp(user.since),
            last_evidence: evidence(&user.evidence),
            deadline: timestamp(user.deadline),
            state: state.to_owned(),
            doubt,
            then,
            also_at,
            standing: Some(standing(user.user.standing).to_owned()),
            device_session,
        });
    }
    let device_session = device_session?;
    Some(Session {
        address: view.address,
        user: None,
        domain: device_session.domain.clone(),
        device: name,
        groups: device_session.groups.clone(),
        since: device_session.since,
        last_evidence: device_session.last_evidence.clone(),
        deadline: device_session.deadline,
        state: state.to_owned(),
        doubt,
        then,
        also_at,
        standing: None,
        device_session: Some(device_session),
    })
}

/// The word for how sure the session at an address is.
pub(super) fn state(
    core: &Core,
    view: &AddressView<'_>,
    evidence: &EvidenceView<'_>,
    down: &Down,
) -> &'static str {
    match (view.shared, doubt(core, view, evidence, down)) {
        (true, _) => "shared",
        (false, Some(_)) => "unconfirmed",
        (false, None) => "active",
    }
}

/// Why the session is in doubt, if it is.
fn doubt(
    core: &Core,
    view: &AddressView<'_>,
    evidence: &EvidenceView<'_>,
    down: &Down,
) -> Option<String> {
    let doubted = view.user.as_ref().and_then(|user| user.doubted_since);
    if let Some(since) = doubted {
        let since = timestamp(since);
        return Some(format!(
            "its logoff time was over at {since:.0}; it waits for its computer to be asked"
        ));
    }
    let producer: &str = evidence.producer;
    if let Some((collector, Some(since))) = told_by(core, producer) {
        let since = timestamp(since);
        return Some(format!(
            "its Collector {collector} was last heard at {since:.0}"
        ));
    }
    down.contains(producer)
        .then(|| format!("its source {producer} is down"))
}

/// The Collector that told of a producer's evidence, and since when it is not heard.
fn told_by<'a>(core: &Core, producer: &'a str) -> Option<(&'a str, Option<UtcMillis>)> {
    let (collector, _) = producer.split_once('/')?;
    Some((collector, core.collector_standing(collector)?))
}

/// What happens when the deadline comes.
fn then(core: &Core, view: &AddressView<'_>) -> &'static str {
    let user = view.user.as_ref();
    let evidence = user.map(|user| &user.evidence);
    let evidence = evidence.or(view.device.as_ref().map(|device| &device.evidence));
    if let Some((_, None)) = evidence.and_then(|evidence| told_by(core, evidence.producer)) {
        return "logged off, if its Collector fell silent now; else when that says so";
    }
    match user {
        Some(user) if user.doubted_since.is_some() => "logged off, if nobody could be asked",
        Some(_) if !view.shared && core.policy().probe_networks.contains(view.address) => {
            "the computer is asked who is signed on"
        }
        Some(_) | None => "logged off",
    }
}

pub(super) fn evidence(view: &EvidenceView<'_>) -> Evidence {
    Evidence {
        producer: view.producer.to_string(),
        record: view.record.to_owned(),
        strength: match view.strength {
            Strength::Weak => "weak",
            Strength::Strong => "strong",
        }
        .to_owned(),
        occurred_at: timestamp(view.occurred_at),
        received_at: timestamp(view.received_at),
    }
}

pub(super) fn standing(standing: Standing) -> &'static str {
    match standing {
        Standing::InDirectory => "in-directory",
        Standing::NotInDirectory => "not-in-directory",
        Standing::Gone => "gone",
    }
}

fn owned(names: &GroupNames<'_>) -> Vec<String> {
    names.iter().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::identity::Batch;
    use crate::identity::address::Networks;
    use crate::identity::collector::{
        AddressReport, CollectorBatch, FactKind, ToldFact, ToldSubject,
    };
    use crate::identity::event::{Claim, DeviceRef, IdentityEvent, Logon, Qualifier, UserRef};
    use crate::identity::policy::{Policy, Scope};
    use crate::identity::view::Epoch;

    const NOW: UtcMillis = UtcMillis(1_770_000_000_000);

    fn name(text: &str) -> Name {
        Name::new(text).expect("a name")
    }

    /// alice at ws1, which has an address of each family and can be asked.
    fn core() -> Core {
        let policy = Policy {
            logoff_time: Duration::from_secs(3600),
            grace: Duration::from_secs(3600),
            probe_networks: Networks::new(["10.0.0.0/8".parse().expect("a network")]),
            ..Policy::default()
        };
        let mut core = Core::new(Epoch(1), policy);
        let domain = || Qualifier::Domain(name("corp.example.com"));
        let device = || DeviceRef {
            name: name("ws1"),
            qualifier: domain(),
        };
        let event = |address: &str, claim| IdentityEvent {
            producer: "dc1".into(),
            record: "4768 #1".into(),
            occurred_at: NOW,
            received_at: NOW,
            heard: None,
            address: Some(address.parse().expect("an address")),
            claim,
        };
        let logon = Claim::Logon(Logon {
            user: UserRef {
                name: name("alice"),
                qualifier: domain(),
            },
            device: Some(device()),
            groups: Vec::new(),
            strength: Strength::Strong,
            logon_id: None,
        });
        let seen = Claim::DeviceLogon {
            device: device(),
            strength: Strength::Strong,
            own_kerberos: true,
        };
        let events = vec![event("10.0.0.1", logon), event("2001:db8::1", seen)];
        let batch = Batch::Events {
            events,
            bookmark: None,
        };
        core.apply(batch, NOW, &mut Vec::new());
        core
    }

    fn first(core: &Core, down: &Down) -> Session {
        let found = query(core, "alice", down, NOW);
        found.sessions.into_iter().next().expect("a session")
    }

    #[test]
    fn the_addresses_of_one_device_are_shown_together() {
        let session = first(&core(), &Down::new());
        let other: Vec<IpAddr> = vec!["2001:db8::1".parse().expect("an address")];
        assert_eq!(session.also_at, other);
        assert_eq!(session.state, "active");
        assert_eq!(session.then, "the computer is asked who is signed on");
    }

    #[test]
    fn a_source_that_is_down_leaves_its_sessions_unconfirmed_and_there() {
        let core = core();
        let session = first(&core, &Down::from(["dc1".to_owned()]));
        assert_eq!(session.state, "unconfirmed");
        assert_eq!(session.doubt.as_deref(), Some("its source dc1 is down"));
        assert_eq!(
            session.deadline,
            first(&core, &Down::new()).deadline,
            "it runs"
        );
    }

    #[test]
    fn rule_27_a_session_of_a_silent_collector_is_unconfirmed() {
        let mut core = core();
        let told = AddressReport {
            address: "10.7.7.7".parse().expect("an address"),
            user: vec![ToldFact {
                kind: FactKind::Strong,
                at: NOW,
                received_at: NOW,
                subject: Some(ToldSubject {
                    name: name("zoe"),
                    domain: name("corp.example.com"),
                    by_upn: false,
                }),
                producer: "vpn".into(),
                record: "1".into(),
                groups: None,
            }],
            device: Vec::new(),
        };
        let mut policy = core.policy().clone();
        policy.collectors.insert("branch".into(), Scope::default());
        core.set_policy(policy, NOW, &mut Vec::new());
        let batch = Batch::Collector(CollectorBatch {
            collector: "branch".into(),
            reports: vec![told],
            bookmark: None,
        });
        core.apply(batch, NOW, &mut Vec::new());
        let first = |core: &Core| query(core, "zoe", &Down::new(), NOW).sessions.remove(0);
        let heard = first(&core);
        assert_eq!((heard.state.as_str(), heard.doubt), ("active", None));
        assert!(heard.then.contains("fell silent"), "{}", heard.then);
        assert_eq!(heard.last_evidence.producer, "branch/vpn");
        let silent = Batch::CollectorStanding {
            collector: "branch".into(),
            disconnected_since: Some(NOW),
        };
        core.apply(silent, NOW, &mut Vec::new());
        let unheard = first(&core);
        assert_eq!(unheard.state, "unconfirmed");
        let doubt = unheard.doubt.expect("why");
        assert!(
            doubt.starts_with("its Collector branch was last heard"),
            "{doubt}"
        );
        assert_eq!(unheard.then, "the computer is asked who is signed on");
    }

    #[test]
    fn rule_10_a_session_over_its_logoff_time_is_unconfirmed() {
        let mut core = core();
        let over = NOW.after(Duration::from_secs(3600));
        core.advance(over, 100, &mut Vec::new());
        let session = first(&core, &Down::new());
        assert_eq!(session.state, "unconfirmed");
        assert!(
            session
                .doubt
                .is_some_and(|doubt| doubt.contains("to be asked"))
        );
        assert_eq!(session.then, "logged off, if nobody could be asked");
    }
}
