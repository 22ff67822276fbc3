//! Who is where: finds what an operator means by a name or an address, and reads it from the table.
//!
//! Pure reading; the answer is a copy in the protocol's types.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::protocol::{
    DeviceSession, Ended, Evidence, KnownDevice, KnownUser, MAX_LISTED, Query, Session, timestamp,
};
use crate::identity::Core;
use crate::identity::address::canonical;
use crate::identity::core::LogOffTarget;
use crate::identity::event::Strength;
use crate::identity::name::Name;
use crate::identity::time::UtcMillis;
use crate::identity::view::{AddressView, DeviceView, EvidenceView, Standing, UserView};

/// What is known of whom the operator names: an address, a user, a device, or all of that name.
pub(super) fn query(core: &Core, who: &str, now: UtcMillis) -> Query {
    let who = who.trim();
    let mut answer = Query {
        who: who.to_owned(),
        at: timestamp(now),
        sessions: Vec::new(),
        users: Vec::new(),
        devices: Vec::new(),
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
        .filter_map(|address| session(&core.address(address)?))
        .collect();
    answer
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
fn session(view: &AddressView<'_>) -> Option<Session> {
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
    let state = if view.shared { "shared" } else { "active" };
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
        standing: None,
        device_session: Some(device_session),
    })
}

fn evidence(view: &EvidenceView<'_>) -> Evidence {
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

fn standing(standing: Standing) -> &'static str {
    match standing {
        Standing::InDirectory => "in-directory",
        Standing::NotInDirectory => "not-in-directory",
        Standing::Gone => "gone",
    }
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}
