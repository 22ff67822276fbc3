//! Steps in the core's own types: the only place where the simulation builds them.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use jims::identity::address::Networks;
use jims::identity::directory::{
    DirectoryBatch, DirectoryObject, DirectoryStep, DomainFacts, ObjectId, ObjectKind,
};
use jims::identity::event::{
    Bookmark, Claim, DeviceRef, IdentityEvent, Logon, LogonId, Qualifier, UserRef, user_ref,
};
use jims::identity::name::Name;
use jims::identity::policy::{DomainPolicy, Filter, Globs, Policy, Scope};
use jims::identity::probe::{ProbeAnswer, ProbeReport, ProbeTicket};
use jims::identity::time::UtcMillis;

use crate::step::{Answer, Answered, At, Claimed, Kind, Object, Part, PolicyText, Read, Said};

/// The midnight from which scenarios count: 2023-11-15.
const MIDNIGHT: i64 = 1_700_006_400_000;

pub(crate) fn utc(at: At) -> UtcMillis {
    UtcMillis(MIDNIGHT + at)
}

pub(crate) fn at(utc: UtcMillis) -> At {
    utc.0 - MIDNIGHT
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).expect("scenarios use proper names")
}

pub(crate) fn policy(text: &PolicyText) -> Policy {
    let networks = |nets: &[IpNet]| Networks::new(nets.iter().copied());
    let globs = |globs: &[String]| {
        Globs::new(globs.iter().map(String::as_str)).expect("scenarios use proper globs")
    };
    let scope = |net: &IpNet| Scope {
        networks: Some(Networks::new([*net])),
        ..Scope::default()
    };
    Policy {
        logoff_time: text.logoff_time,
        follow_device: text.follow_device,
        shared_addresses: networks(&text.shared),
        probe_networks: networks(&text.probe),
        grace: text.grace,
        domains: text
            .domains
            .iter()
            .map(|(dns, netbios, _)| DomainPolicy {
                name: name(dns),
                netbios: Some(name(netbios)),
                aliases: Vec::new(),
            })
            .collect(),
        directories: text
            .domains
            .iter()
            .filter(|(_, _, read)| *read)
            .map(|(dns, netbios, _)| (name(&netbios.to_lowercase()), name(dns)))
            .collect(),
        scopes: text
            .scopes
            .iter()
            .map(|(producer, net)| (Arc::from(producer.as_str()), scope(net)))
            .collect(),
        filter: Filter {
            exclude_addresses: networks(&text.exclude_addresses),
            exclude_users: globs(&text.exclude_users),
            exclude_devices: globs(&text.exclude_devices),
            exclude_groups: globs(&text.exclude_groups),
            ..Filter::default()
        },
        // Whether its order is right is an invariant of every step.
        feed: true,
        ..Policy::default()
    }
}

fn user(text: &str, domain: &str) -> UserRef {
    user_ref(text, None, Some(&name(domain))).expect("scenarios use proper names")
}

fn device(text: &str, domain: &str) -> DeviceRef {
    let (domain, text) = text.split_once('\\').unwrap_or((domain, text));
    DeviceRef {
        name: name(text),
        qualifier: Qualifier::Domain(name(domain)),
    }
}

/// Who asks computers.
pub(crate) const PROBE: &str = "probe";

/// A computer's answer to a question of an earlier instant.
pub(crate) fn report(
    answered: &Answered,
    (ticket, address, asked): &(ProbeTicket, IpAddr, At),
    now: At,
    domain: &str,
) -> ProbeReport {
    ProbeReport {
        address: *address,
        producer: Arc::from(PROBE),
        record: answered.ticket.as_str().into(),
        ticket: ticket.clone(),
        asked_at: utc(*asked),
        answered_at: utc(now),
        healthy: answered.healthy,
        answer: match &answered.answer {
            Answer::Users(users) => {
                ProbeAnswer::Users(users.iter().map(|text| user(text, domain)).collect())
            }
            Answer::Nobody => ProbeAnswer::Nobody,
            Answer::Refused => ProbeAnswer::Refused,
            Answer::Unreachable => ProbeAnswer::Unreachable,
            Answer::NotProbed => ProbeAnswer::NotProbed,
        },
        device: answered.device.as_deref().map(|text| device(text, domain)),
    }
}

/// The event of a step; `number` makes the record's name, `domain` qualifies bare names.
pub(crate) fn event(said: &Said, now: At, number: usize, domain: &str) -> IdentityEvent {
    let user = |text: &str| user(text, domain);
    let device = |text: &str| device(text, domain);
    let logon_id = |id: &Option<(String, u64)>| {
        id.as_ref().map(|(computer, id)| LogonId {
            computer: name(computer),
            id: *id,
        })
    };
    let claim = match &said.claim {
        Claimed::Logon {
            user: who,
            strength,
            device: at_device,
            groups,
            id,
        } => Claim::Logon(Logon {
            user: user(who),
            device: at_device.as_deref().map(device),
            groups: groups.iter().map(|group| name(group)).collect(),
            strength: *strength,
            logon_id: logon_id(id),
        }),
        Claimed::Logoff { user: who, id } => Claim::Logoff {
            user: who.as_deref().map(user),
            logon_id: logon_id(id),
        },
        Claimed::DeviceLogon {
            device: which,
            strength,
            own_kerberos,
        } => Claim::DeviceLogon {
            device: device(which),
            strength: *strength,
            own_kerberos: *own_kerberos,
        },
        Claimed::DeviceLogoff { device: which } => Claim::DeviceLogoff {
            device: which.as_deref().map(device),
        },
        Claimed::Renewal {
            user: who,
            device: at_device,
        } => Claim::Renewal {
            user: user(who),
            device: at_device.as_deref().map(device),
        },
    };
    IdentityEvent {
        producer: Arc::from(said.producer.as_str()),
        record: format!("{number}").into(),
        occurred_at: utc(said.at.min(now)),
        received_at: utc(now),
        heard: None,
        address: said.address,
        claim,
    }
}

/// The batch of a directory's step, as a policy names the directory; `None` for a directory that is not configured.
pub(crate) fn directory_batch(
    read: &Read,
    policy: &PolicyText,
    number: usize,
) -> Option<DirectoryBatch> {
    let (dns, netbios, _) = policy
        .domains
        .iter()
        .find(|(_, netbios, served)| *served && netbios.to_lowercase() == read.directory)?;
    Some(DirectoryBatch {
        directory: name(&read.directory),
        domain: name(dns),
        facts: (read.part == Part::Begin).then(|| DomainFacts {
            netbios: Some(name(netbios)),
            upn_suffixes: Vec::new(),
        }),
        step: match read.part {
            Part::Begin => DirectoryStep::FullBegin,
            Part::Middle => DirectoryStep::FullPart,
            Part::End => DirectoryStep::FullEnd,
            Part::Poll => DirectoryStep::Poll,
        },
        upserts: read.objects.iter().map(object).collect(),
        removed: read.gone.iter().copied().map(object_id).collect(),
        bookmark: Some(Bookmark {
            key: format!("directory/{}", read.directory).into(),
            value: number.to_le_bytes().into(),
        }),
    })
}

fn object_id(id: u32) -> ObjectId {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&id.to_le_bytes());
    ObjectId(bytes)
}

fn sid(id: u32) -> compact_str::CompactString {
    format!("S-1-5-21-1-2-3-{id}").into()
}

fn object(object: &Object) -> DirectoryObject {
    DirectoryObject {
        id: object_id(object.id),
        sid: Some(sid(object.id)),
        name: name(&object.name),
        kind: match &object.kind {
            Kind::User {
                upn,
                enabled,
                primary,
            } => ObjectKind::User {
                upn: upn.as_deref().map(name),
                enabled: *enabled,
                primary_group: primary.map(sid),
            },
            Kind::Device { primary } => ObjectKind::Device {
                dns_name: None,
                os: None,
                os_version: None,
                primary_group: primary.map(sid),
            },
            Kind::Group { members } => ObjectKind::Group {
                members: members.iter().copied().map(object_id).collect(),
            },
        },
    }
}
