//! What comes to the Servers: any message there is, about few names at few addresses, at its time.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use jims::identity::address::Networks;
use jims::identity::collector::{
    AddressReport, CollectorBatch, CollectorName, FactKind, ToldFact, ToldSubject,
};
use jims::identity::core::LogOffTarget;
use jims::identity::directory::{
    DirectoryBatch, DirectoryObject, DirectoryStep, DomainFacts, ObjectId, ObjectKind,
};
use jims::identity::event::{
    Bookmark, Claim, DeviceRef, IdentityEvent, Logon, LogonId, Qualifier, Strength, UserRef,
};
use jims::identity::heard::{Heard, Hearer, LineId};
use jims::identity::name::Name;
use jims::identity::policy::{DomainPolicy, Filter, Globs, Policy, Scope};
use jims::identity::probe::{ProbeAnswer, ProbeReport, ProbeTicket};
use jims::identity::time::UtcMillis;
use jims::identity::{Batch, Core};

use super::Message;
use crate::random::Dice;

const USERS: [&str; 7] = [
    "alice",
    "bob",
    "Carol",
    "svc-backup",
    "erin",
    "frank",
    "Bob",
];
const DEVICES: [&str; 4] = ["ws1", "WS2", "laptop", "kiosk"];
const GROUPS: [&str; 4] = ["Staff", "admins", "vpn", "staff"];
const DOMAINS: [&str; 6] = [
    "corp.example.com",
    "CORP",
    "lab.example.com",
    "LAB",
    "other",
    "branch.example.com",
];
const PRODUCERS: [&str; 4] = ["dc1", "dc2", "vpn", "dhcp"];
const COLLECTORS: [&str; 3] = ["east", "west", "north"];
/// Directories and the domains they serve.
const DIRECTORIES: [(&str, &str); 4] = [
    ("corp", "corp.example.com"),
    ("lab", "lab.example.com"),
    ("east/ad", "branch.example.com"),
    ("west/ad", "corp.example.com"),
];
/// Objects of a directory of the large kind; more than go without being said twice.
const MANY: u32 = 140;

/// Source of messages.
#[derive(Debug)]
pub(super) struct Crowd {
    dice: Dice,
    now: UtcMillis,
    addresses: Vec<IpAddr>,
    /// Whether the clock may jump, and days may pass.
    jumps: bool,
    long: bool,
    /// Whether a directory may be large.
    large: bool,
    tickets: Vec<(ProbeTicket, IpAddr, UtcMillis)>,
    records: u64,
}

fn name(text: &str) -> Name {
    Name::new(text).expect("a proper name")
}

fn minutes(minutes: u64) -> Duration {
    Duration::from_mins(minutes)
}

fn object_id(number: u32) -> ObjectId {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    ObjectId(bytes)
}

impl Crowd {
    pub(super) fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed ^ 0xc4_0d);
        let count = 2 + dice.below(20);
        let v4 = (0..count).map(|last| IpAddr::from([10, 0, 0, 1 + last as u8]));
        let mut addresses: Vec<IpAddr> = v4.collect();
        addresses.push("2001:db8::7".parse().expect("an address"));
        Self {
            now: UtcMillis(1_700_000_000_000),
            addresses,
            jumps: dice.percent(60),
            long: dice.percent(30),
            large: dice.percent(15),
            tickets: Vec::new(),
            records: 0,
            dice,
        }
    }

    /// What comes next, and when. The core is asked as those ask it who make messages.
    pub(super) fn next(&mut self, core: &Core) -> (Message, UtcMillis) {
        self.pass_time(core);
        let batch = match self.dice.below(100) {
            0..22 => {
                let limit = *self.dice.pick(&[0, 1, 2, 3, 1_000]);
                return (Message::Advance(limit), self.now);
            }
            22..24 => return (Message::Policy(Box::new(self.policy())), self.now),
            24..58 => self.events(),
            58..72 => self.directory(),
            72..76 => self.log_off(),
            76..84 => self.probe(core),
            84..95 => self.collector(),
            95..98 => self.standing(),
            _ => Batch::DropDirectory {
                directory: name(DIRECTORIES[2 + self.dice.below(2)].0),
                ends_sessions: self.dice.percent(50),
            },
        };
        (Message::Batch(batch), self.now)
    }

    /// Usually a little; often to about when something is due.
    fn pass_time(&mut self, core: &Core) {
        let millis = match self.dice.below(100) {
            0..30 => 0,
            30..60 => self.dice.between(0, 2_000),
            60..90 => self.dice.between(1_000, 59_000),
            90..94 if self.jumps => self.dice.between(60_001, 900_000),
            94..96 if self.long => self.dice.between(1, 26) * 3_600_000,
            96..98 => -self.dice.between(0, 5_000),
            _ => 60_000,
        };
        let due = core.poll_timeout().map(|(at, _)| at);
        if let Some(due) = due.filter(|due| due.since(self.now) < minutes(1))
            && self.dice.percent(20)
        {
            self.now = UtcMillis(self.now.0.max(due.0 + self.dice.between(-1, 1)));
        } else {
            self.now = UtcMillis(self.now.0 + millis);
        }
    }

    fn some<T>(&mut self, chance: usize, value: T) -> Option<T> {
        self.dice.percent(chance).then_some(value)
    }

    fn networks(&mut self, chance: usize) -> Networks {
        let text = *self
            .dice
            .pick(&["10.0.0.0/30", "10.0.0.0/8", "10.0.0.3/32", "::/0"]);
        let network = text.parse().expect("a network");
        self.some(chance, Networks::new([network]))
            .unwrap_or_default()
    }

    fn globs(&mut self, chance: usize, patterns: &[&str]) -> Globs {
        let pattern = *self.dice.pick(patterns);
        let pattern = self.some(chance, pattern);
        Globs::new(pattern).expect("a glob")
    }

    /// Any configuration.
    pub(super) fn policy(&mut self) -> Policy {
        let mut domains = Vec::new();
        for dns in ["corp.example.com", "lab.example.com", "Corp.Example.COM"] {
            if self.dice.percent(50) && domains.len() < 2 {
                let netbios = dns.split_once('.').map_or(dns, |(label, _)| label);
                let netbios = name(&netbios.to_uppercase());
                domains.push(DomainPolicy {
                    name: name(dns),
                    netbios: self.some(60, netbios),
                    aliases: self.some(20, name("other")).into_iter().collect(),
                });
            }
        }
        let directories = DIRECTORIES[..2].iter();
        let directories = directories.filter(|_| self.dice.percent(85));
        let directories = directories.map(|(directory, dns)| (name(directory), name(dns)));
        let directories = directories.collect();
        let collectors = COLLECTORS[..2].iter();
        let collectors: Vec<&str> = collectors
            .filter(|_| self.dice.percent(85))
            .copied()
            .collect();
        let collectors = collectors.into_iter();
        let collectors = collectors.map(|collector| (Arc::from(collector), self.scope()));
        let collectors = collectors.collect();
        let vpn = self.scope();
        let scopes = self.some(40, (Arc::from("vpn"), vpn)).into_iter().collect();
        Policy {
            logoff_time: minutes(*self.dice.pick(&[1, 2, 10, 60, 1440])),
            follow_device: self.dice.percent(30),
            shared_addresses: self.networks(15),
            probe_networks: self.networks(50),
            grace: minutes(*self.dice.pick(&[1, 5, 60])),
            domains,
            directories,
            scopes,
            collectors,
            feed: self.dice.percent(80),
            history: self.dice.percent(80),
            filter: Filter {
                include_addresses: Networks::default(),
                exclude_addresses: self.networks(8),
                exclude_users: self.globs(
                    30,
                    &[
                        "svc-*",
                        "CORP\\bob",
                        "*@corp.example.com",
                        "other\\*",
                        "a*@upn.example",
                    ],
                ),
                exclude_devices: self.globs(15, &["lap*", "LAB\\ws?"]),
                exclude_groups: self.globs(15, &["staff", "*\\vpn"]),
            },
        }
    }

    fn scope(&mut self) -> Scope {
        let networks = Networks::new(["10.0.0.0/29".parse().expect("a network")]);
        Scope {
            networks: self.some(15, networks),
            domains: self.some(15, vec![name("corp.example.com")]),
            roles: self.globs(70, &["*"]),
        }
    }

    fn at(&mut self) -> UtcMillis {
        let late = match self.dice.below(10) {
            0..5 => 0,
            5..8 => self.dice.between(0, 3) * 500,
            8 => self.dice.between(0, 600_000),
            _ => self.dice.between(0, 7_200_000),
        };
        // Whole seconds half of the time, so that instants meet.
        let at = self.now.0 - late;
        UtcMillis(if self.dice.percent(50) {
            at / 1_000 * 1_000
        } else {
            at
        })
    }

    fn address(&mut self) -> IpAddr {
        *self.dice.pick(&self.addresses)
    }

    fn qualifier(&mut self) -> Qualifier {
        if self.dice.percent(15) {
            let suffix = *self
                .dice
                .pick(&["corp.example.com", "upn.example", "other"]);
            return Qualifier::Upn(name(suffix));
        }
        // Mostly the domains with directories.
        let bound = if self.dice.percent(70) { 4 } else { 6 };
        let place = self.dice.below(bound);
        Qualifier::Domain(name(DOMAINS[place]))
    }

    fn user(&mut self) -> UserRef {
        UserRef {
            name: name(self.dice.pick::<&str>(&USERS)),
            qualifier: self.qualifier(),
        }
    }

    fn device(&mut self) -> DeviceRef {
        let qualifier = self.qualifier();
        let text = *self.dice.pick(&DEVICES);
        DeviceRef {
            name: name(text),
            qualifier,
        }
    }

    fn strength(&mut self) -> Strength {
        *self.dice.pick(&[Strength::Weak, Strength::Strong])
    }

    fn groups(&mut self) -> Vec<Name> {
        let group = name(self.dice.pick::<&str>(&GROUPS));
        self.some(20, group).into_iter().collect()
    }

    fn claim(&mut self) -> Claim {
        let device = self.device();
        let logon_id = LogonId {
            computer: name("ws1"),
            id: self.dice.below(4) as u64,
        };
        match self.dice.below(20) {
            0..10 => Claim::Logon(Logon {
                user: self.user(),
                device: self.some(30, device),
                groups: self.groups(),
                strength: self.strength(),
                logon_id: self.some(30, logon_id),
            }),
            10..13 => {
                let user = self.user();
                Claim::Logoff {
                    user: self.some(80, user),
                    logon_id: self.some(30, logon_id),
                }
            }
            13..16 => Claim::DeviceLogon {
                device,
                strength: self.strength(),
                own_kerberos: self.dice.percent(50),
            },
            16 => Claim::DeviceLogoff {
                device: self.some(60, device),
            },
            _ => Claim::Renewal {
                user: self.user(),
                device: self.some(60, device),
            },
        }
    }

    fn events(&mut self) -> Batch {
        let producer: &str = self.dice.pick::<&str>(&PRODUCERS);
        let count = 1 + self.dice.below(5);
        let mut events = Vec::new();
        for _ in 0..count {
            self.records += 1;
            let address = self.address();
            events.push(IdentityEvent {
                producer: Arc::from(producer),
                record: format!("{}", self.records).into(),
                occurred_at: self.at(),
                received_at: self.now,
                address: self.some(85, address),
                heard: self.heard(),
                claim: self.claim(),
            });
        }
        Batch::Events {
            events,
            bookmark: self.bookmark(producer),
        }
    }

    /// Few lines, so that they come again, from others and from the same.
    fn heard(&mut self) -> Option<Box<Heard>> {
        let line = LineId(self.dice.below(12) as u64);
        let by = Hearer::of(self.dice.pick::<&str>(&COLLECTORS));
        self.some(30, Box::new(Heard { line, by }))
    }

    fn bookmark(&mut self, key: &str) -> Option<Bookmark> {
        let value = Box::from(self.records.to_le_bytes());
        self.some(
            70,
            Bookmark {
                key: key.into(),
                value,
            },
        )
    }

    fn log_off(&mut self) -> Batch {
        let address = self.address();
        let domain = name(self.dice.pick::<&str>(&DOMAINS));
        Batch::LogOff(if self.dice.percent(40) {
            LogOffTarget::Address(address)
        } else {
            LogOffTarget::User {
                name: name(self.dice.pick::<&str>(&USERS)),
                domain: self.some(40, domain),
            }
        })
    }

    fn directory(&mut self) -> Batch {
        let (directory, dns) = *self.dice.pick(&DIRECTORIES);
        let step = match self.dice.below(10) {
            0..2 => DirectoryStep::FullBegin,
            2..4 => DirectoryStep::FullPart,
            4 => DirectoryStep::FullEnd,
            _ => DirectoryStep::Poll,
        };
        // A Collector's directory may turn out to be of another domain.
        let moved = directory == "east/ad" && self.dice.percent(10);
        let facts = DomainFacts {
            netbios: Some(name(self.dice.pick::<&str>(&["CORP", "LAB", "other"]))),
            upn_suffixes: vec![name("upn.example")],
        };
        let count = self.dice.below(7);
        let mut upserts: Vec<DirectoryObject> = (0..count).map(|_| self.object(dns)).collect();
        let mut removed = Vec::new();
        if step == DirectoryStep::Poll {
            let count = self.dice.below(4);
            removed.extend((0..count).map(|_| object_id(self.number(dns))));
        }
        if self.large && directory == "corp" && self.dice.percent(30) {
            let from = self.dice.below(2) as u32;
            if step != DirectoryStep::Poll || self.dice.percent(50) {
                upserts.extend((from..MANY).map(|number| self.filler(number)));
            } else {
                removed.extend((from..MANY).map(|number| object_id(1_000 + number)));
            }
        }
        Batch::Directory(DirectoryBatch {
            directory: name(directory),
            domain: name(if moved { "lab.example.com" } else { dns }),
            facts: self.some(15, facts),
            step,
            upserts,
            removed,
            bookmark: self.bookmark(directory),
        })
    }

    /// Objects of one domain are the same whoever tells of them.
    fn number(&mut self, dns: &str) -> u32 {
        let domain = DIRECTORIES.iter().position(|(_, of)| *of == dns);
        let domain = domain.expect("a domain of ours") as u32;
        100 * domain + self.dice.below(16) as u32
    }

    fn filler(&mut self, number: u32) -> DirectoryObject {
        DirectoryObject {
            id: object_id(1_000 + number),
            sid: None,
            name: name(&format!("pc{number}")),
            kind: ObjectKind::Device {
                dns_name: None,
                os: None,
                os_version: None,
                primary_group: None,
            },
        }
    }

    /// Any name may be anybody's: names change hands, and now and then two have the same.
    fn object(&mut self, dns: &str) -> DirectoryObject {
        let number = self.number(dns);
        let sid = |number: usize| format!("S-1-5-21-{number}").into();
        let group_sid = sid(12 + self.dice.below(3));
        let primary_group = self.some(50, group_sid);
        let kind = if self.dice.percent(3) {
            self.dice.below(16)
        } else {
            number as usize % 100
        };
        let (text, kind) = match kind {
            0..7 => {
                let text: &str = self.dice.pick::<&str>(&USERS);
                let suffix = *self.dice.pick(&["corp.example.com", "upn.example"]);
                let upn = name(&format!("{}@{suffix}", self.dice.pick::<&str>(&USERS)));
                let kind = ObjectKind::User {
                    upn: self.some(70, upn),
                    enabled: self.dice.percent(85),
                    primary_group,
                };
                (text, kind)
            }
            7..12 => {
                let text: &str = self.dice.pick::<&str>(&DEVICES);
                let os = name(self.dice.pick::<&str>(&["Windows 10", "Windows 11"]));
                let kind = ObjectKind::Device {
                    dns_name: None,
                    os: self.some(50, os),
                    os_version: None,
                    primary_group,
                };
                (text, kind)
            }
            _ => {
                let count = self.dice.below(5);
                let members = (0..count).map(|_| object_id(self.number(dns)));
                let members = members.collect();
                let text: &str = self.dice.pick::<&str>(&GROUPS);
                (text, ObjectKind::Group { members })
            }
        };
        let own = sid(if self.dice.percent(90) {
            number as usize % 100
        } else {
            13
        });
        DirectoryObject {
            id: object_id(number),
            sid: self.some(90, own),
            name: name(text),
            kind,
        }
    }

    fn probe(&mut self, core: &Core) -> Batch {
        for doubt in core.doubted(None, 4) {
            let ticket = core.probe_subject(doubt.address).ticket;
            self.tickets.push((ticket, doubt.address, self.now));
        }
        let address = self.address();
        if self.tickets.is_empty() || self.dice.percent(10) {
            let ticket = core.probe_subject(address).ticket;
            self.tickets.push((ticket, address, self.now));
        }
        let place = self.dice.below(self.tickets.len());
        let (ticket, address, asked_at) = self.tickets.swap_remove(place);
        self.tickets.truncate(12);
        self.records += 1;
        let count = 1 + self.dice.below(2);
        let answer = match self.dice.below(8) {
            0 => ProbeAnswer::Nobody,
            1 => ProbeAnswer::Refused,
            2 => ProbeAnswer::Unreachable,
            3 => ProbeAnswer::NotProbed,
            _ => ProbeAnswer::Users((0..count).map(|_| self.user()).collect()),
        };
        let device = self.device();
        Batch::Probe(ProbeReport {
            address,
            producer: Arc::from("probe"),
            record: format!("{}", self.records).into(),
            ticket,
            asked_at,
            answered_at: self.now,
            healthy: self.dice.percent(80),
            answer,
            device: self.some(40, device),
        })
    }

    fn collector_name(&mut self) -> CollectorName {
        Arc::from(*self.dice.pick(&COLLECTORS))
    }

    fn collector(&mut self) -> Batch {
        let collector = self.collector_name();
        let count = 1 + self.dice.below(4);
        let reports = (0..count).map(|_| AddressReport {
            address: self.address(),
            user: self.facts(true),
            device: self.facts(false),
        });
        let reports = reports.collect();
        Batch::Collector(CollectorBatch {
            reports,
            bookmark: self.bookmark(&collector),
            collector,
        })
    }

    fn facts(&mut self, of_users: bool) -> Vec<ToldFact> {
        let count = self.dice.below(4);
        (0..count).map(|_| self.fact(of_users)).collect()
    }

    fn fact(&mut self, of_users: bool) -> ToldFact {
        let kind = *self.dice.pick(&[
            FactKind::Left,
            FactKind::AllLeft,
            FactKind::Weak,
            FactKind::Weak,
            FactKind::Seen,
            FactKind::Strong,
            FactKind::Strong,
            FactKind::Strong,
            FactKind::Expired,
            FactKind::Closed,
            FactKind::Carried,
        ]);
        let names: &[&str] = if of_users { &USERS } else { &DEVICES };
        let subject = ToldSubject {
            name: name(self.dice.pick::<&str>(names)),
            domain: name(self.dice.pick::<&str>(&DOMAINS)),
            by_upn: self.dice.percent(10),
        };
        let anonymous = matches!(kind, FactKind::AllLeft | FactKind::Closed);
        let at = self.at();
        let groups = self.groups();
        ToldFact {
            kind,
            at,
            received_at: at,
            subject: (!anonymous).then_some(subject),
            producer: (*self.dice.pick(&PRODUCERS)).into(),
            record: "7".into(),
            groups: (!groups.is_empty()).then_some((at, groups)),
        }
    }

    fn standing(&mut self) -> Batch {
        // It was silent for a while before anybody said so.
        let since = UtcMillis(self.now.0 - self.dice.between(0, 120_000));
        Batch::CollectorStanding {
            collector: self.collector_name(),
            disconnected_since: self.some(50, since),
        }
    }
}
