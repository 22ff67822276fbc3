//! Messages, there and back, cut and damaged.

use std::net::IpAddr;
use std::time::Duration;

use compact_str::CompactString;
use proptest::prelude::*;

use super::*;
use crate::identity::Batch;
use crate::identity::address::Networks;
use crate::identity::core::LogOffTarget;
use crate::identity::directory::{
    DirectoryBatch, DirectoryObject, DirectoryStep, DomainFacts, ObjectId, ObjectKind,
};
use crate::identity::event::{
    Bookmark, Claim, DeviceRef, IdentityEvent, Logon, LogonId, Qualifier, Strength, UserRef,
};
use crate::identity::heard::{Heard, Hearer, LineId};
use crate::identity::name::Name;
use crate::identity::policy::{DomainPolicy, Filter, Globs, Policy, Scope};
use crate::identity::probe::{ProbeAnswer, ProbeReport, ProbeTicket};
use crate::identity::time::UtcMillis;

fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

fn user(qualifier: Qualifier) -> UserRef {
    let name = name("Ada");
    UserRef { name, qualifier }
}

fn device() -> DeviceRef {
    DeviceRef {
        name: name("ws-1$"),
        qualifier: Qualifier::Missing,
    }
}

fn event(claim: Claim) -> IdentityEvent {
    IdentityEvent {
        producer: "dc1".into(),
        record: "4768 #17".into(),
        occurred_at: UtcMillis(-5),
        received_at: UtcMillis(1_800_000_000_000),
        address: Some(IpAddr::from([10, 1, 2, 3])),
        claim,
        heard: Some(Box::new(Heard {
            line: LineId(7),
            by: Hearer(u64::MAX),
        })),
    }
}

fn claims() -> Vec<Claim> {
    let logon_id = Some(LogonId {
        computer: name("dc1"),
        id: u64::MAX,
    });
    vec![
        Claim::Logon(Logon {
            user: user(Qualifier::Upn(name("corp.example.com"))),
            device: Some(device()),
            groups: vec![name("VPN Users"), name("staff")],
            strength: Strength::Strong,
            logon_id: logon_id.clone(),
        }),
        Claim::Logoff {
            user: Some(user(Qualifier::Domain(name("CORP")))),
            logon_id,
        },
        Claim::Logoff {
            user: None,
            logon_id: None,
        },
        Claim::DeviceLogon {
            device: device(),
            strength: Strength::Weak,
            own_kerberos: true,
        },
        Claim::DeviceLogoff { device: None },
        Claim::Renewal {
            user: user(Qualifier::Missing),
            device: Some(device()),
        },
    ]
}

fn directory() -> DirectoryBatch {
    let object = |number: u8, kind| DirectoryObject {
        id: ObjectId([number; 16]),
        sid: Some(CompactString::new("S-1-5-21-1-2-3-500")),
        name: name("thing"),
        kind,
    };
    DirectoryBatch {
        directory: name("hq"),
        domain: name("corp.example.com"),
        facts: Some(DomainFacts {
            netbios: Some(name("CORP")),
            upn_suffixes: vec![name("example.com")],
        }),
        step: DirectoryStep::FullPart,
        upserts: vec![
            object(
                1,
                ObjectKind::User {
                    upn: Some(name("ada@example.com")),
                    enabled: false,
                    primary_group: None,
                },
            ),
            object(
                2,
                ObjectKind::Device {
                    dns_name: Some(name("ws-1.corp.example.com")),
                    os: Some(name("Windows 11")),
                    os_version: None,
                    primary_group: Some(CompactString::new("S-1-5-21-1-2-3-515")),
                },
            ),
            object(
                3,
                ObjectKind::Group {
                    members: vec![ObjectId([1; 16]), ObjectId([9; 16])],
                },
            ),
        ],
        removed: vec![ObjectId([8; 16])],
        bookmark: Some(Bookmark {
            key: "directory/hq".into(),
            value: Box::from([1, 2, 3]),
        }),
    }
}

fn probe(answer: ProbeAnswer) -> ProbeReport {
    ProbeReport {
        address: IpAddr::from([10, 1, 2, 4]),
        producer: "pc-probe".into(),
        record: "asked".into(),
        ticket: ProbeTicket::of(Some((4, 5, 6))),
        asked_at: UtcMillis(1),
        answered_at: UtcMillis(2),
        healthy: true,
        answer,
        device: Some(device()),
    }
}

fn batches() -> Vec<Batch> {
    let answers = [
        ProbeAnswer::Users(vec![user(Qualifier::Missing)]),
        ProbeAnswer::Nobody,
        ProbeAnswer::Refused,
        ProbeAnswer::Unreachable,
        ProbeAnswer::NotProbed,
    ];
    let mut all = vec![
        Batch::Events {
            events: claims().into_iter().map(event).collect(),
            bookmark: Some(Bookmark {
                key: "dc1|Security".into(),
                value: Box::from([0xff]),
            }),
        },
        Batch::Directory(directory()),
        Batch::LogOff(LogOffTarget::Address(IpAddr::from([0xfe80; 8]))),
        Batch::LogOff(LogOffTarget::User {
            name: name("ada"),
            domain: Some(name("CORP")),
        }),
    ];
    all.extend(answers.map(|answer| Batch::Probe(probe(answer))));
    all
}

#[test]
fn what_a_batch_says_comes_back_as_it_was() {
    for batch in batches() {
        let body = Body::of(&batch).expect("it has a place in a cluster");
        let fence = Some(FenceShape {
            lease: "event-source/dc1".to_owned(),
            token: 3,
        });
        let content = encode(&[Part { fence, body }]);
        let mut parts = decode(&content).expect("it is whole");
        let part = parts.pop().expect("a part");
        let back = part.body.into_batch().expect("it is right");
        // Batches do not compare; what they print holds all they have.
        assert_eq!(format!("{back:?}"), format!("{:?}", Some(batch)));
        for end in 0..content.len() {
            let cut = content.get(..end).expect("a shorter one");
            assert!(decode(cut).is_err(), "cut at {end}");
        }
    }
}

#[test]
fn a_policy_comes_back_as_it_was() {
    let networks = |text: &str| Networks::new([text.parse().expect("a network")]);
    let globs = |pattern: &str| Globs::new([pattern]).expect("a glob");
    let scope = Scope {
        networks: Some(networks("10.8.0.0/16")),
        domains: Some(vec![name("corp.example.com")]),
        roles: globs("VPN*"),
    };
    let policy = Policy {
        logoff_time: Duration::from_secs(3600),
        follow_device: true,
        shared_addresses: networks("10.9.0.1/32"),
        probe_networks: networks("2001:db8::/32"),
        grace: Duration::from_millis(1500),
        domains: vec![DomainPolicy {
            name: name("corp.example.com"),
            netbios: Some(name("CORP")),
            aliases: vec![name("corp")],
        }],
        directories: vec![(name("hq"), name("corp.example.com"))],
        scopes: [("vpn".into(), scope)].into(),
        feed: true,
        history: true,
        filter: Filter {
            include_addresses: networks("10.0.0.0/8"),
            exclude_addresses: networks("10.0.0.1/32"),
            exclude_users: globs("svc-*"),
            exclude_devices: globs("CORP\\kiosk*"),
            exclude_groups: globs("Domain Users"),
        },
        ..Policy::default()
    };
    let shape = PolicyShape::decode(&PolicyShape::from(&policy).encode()).expect("it is whole");
    assert_eq!(shape.policy(true), Ok(policy.clone()));
    assert!(shape.is_like(&PolicyShape::from(&Policy {
        feed: false,
        ..policy.clone()
    })));
    assert!(!shape.is_like(&PolicyShape::from(&Policy {
        grace: Duration::ZERO,
        ..policy
    })));
}

fn frame(bytes: &[u8]) -> Frame {
    Frame {
        member: "hq-1".to_owned(),
        life: 1_800_000_000_000,
        number: 12,
        piece: 1,
        of: 3,
        bytes: Bytes::copy_from_slice(bytes),
    }
}

#[test]
fn a_message_comes_back_as_it_was_and_a_newer_one_is_known() {
    let message = Bytes::from(frame(b"abc").encode());
    assert_eq!(Frame::decode(&message), Ok(frame(b"abc")));
    let mut newer = message.to_vec();
    newer[4] = VERSION + 1;
    let found = VERSION + 1;
    assert_eq!(
        Frame::decode(&newer.into()),
        Err(ShapeError::Newer { found })
    );
    for end in 0..message.len() - 3 {
        assert!(
            Frame::decode(&message.slice(..end)).is_err(),
            "cut at {end}"
        );
    }
}

#[test]
fn what_is_too_large_comes_in_pieces() {
    assert_eq!(cut(Vec::new()), [Bytes::new()]);
    let content: Vec<u8> = (0..2 * MAX_PIECE + 1).map(|n| n.to_le_bytes()[0]).collect();
    let pieces = cut(content.clone());
    assert_eq!(pieces.len(), 3);
    assert_eq!(pieces.concat(), content);
}

proptest! {
    #[test]
    fn nothing_from_outside_makes_it_panic(bytes: Vec<u8>) {
        let mut message = MARK.to_vec();
        message.push(VERSION);
        message.extend(&bytes);
        let _any = Frame::decode(&message.into());
        if let Ok(parts) = decode(&bytes) {
            for part in parts {
                let _any = part.body.into_batch();
            }
        }
        let _any = PolicyShape::decode(&bytes).map(|shape| shape.policy(false));
    }
}
