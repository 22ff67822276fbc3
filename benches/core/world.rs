//! A company: users with UPN and SID, computers, groups in groups, and who is where.
//!
//! Each user is in five groups, each of those in one group, that in one, and that in one: 20 in all, beside Domain Users.
//! Everything is a function of its number, so that nothing is kept beside what is measured.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use jims::identity::directory::{
    DirectoryBatch, DirectoryObject, DirectoryStep, ObjectId, ObjectKind,
};
use jims::identity::event::{
    Claim, DeviceRef, IdentityEvent, Logon, ProducerName, Qualifier, Strength, UserRef,
};
use jims::identity::name::Name;
use jims::identity::policy::{DomainPolicy, Policy};
use jims::identity::time::UtcMillis;
use jims::identity::view::Epoch;
use jims::identity::{Batch, Core};

/// The domain.
pub(crate) const DOMAIN: &str = "corp.example.com";
/// What a user is in directly, and how many levels there are.
const DIRECT_GROUPS: u32 = 5;
const LEVELS: u32 = 4;
/// Objects of one batch, as a page of LDAP.
const PAGE: usize = 1000;
/// Events in one hold of the lock, as the service's writer has it.
pub(crate) const SLICE: u32 = 256;
/// Changes that are taken at once for the disk.
const SLICE_CHANGES: usize = 4096;

/// How much there is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    /// Sessions of users.
    pub(crate) sessions: u32,
    /// Users.
    pub(crate) users: u32,
    /// Computers; each has a session of its own.
    pub(crate) devices: u32,
    /// A fifteenth of the groups: the top level has so many, each level below twice as many.
    pub(crate) top_groups: u32,
}

impl Size {
    /// All groups, without Domain Users.
    pub(crate) fn groups(&self) -> u32 {
        self.top_groups * 15
    }

    /// Groups of a level; the highest is 0.
    fn of_level(&self, level: u32) -> u32 {
        self.top_groups << level
    }
}

/// A number below `number` for a place: each once before any comes again, neighbours far apart.
pub(crate) fn scattered(place: u64, number: u32) -> u32 {
    // A prime, so that it has no divisor in common with any number below it.
    let scattered = place % u64::from(number) * 2_654_435_761 % u64::from(number);
    u32::try_from(scattered).expect("below a u32")
}

/// The address of a number.
pub(crate) fn address(number: u32) -> IpAddr {
    IpAddr::from(Ipv4Addr::from(0x0a40_0001 + number))
}

/// What the user of this number is called.
pub(crate) fn user_name(user: u32) -> String {
    format!("first{}.last{user:06}", user % 97)
}

/// What the computer of this number is called.
pub(crate) fn device_name(device: u32) -> String {
    format!("WS-{device:06}")
}

pub(crate) fn group_name(level: u32, index: u32) -> String {
    format!("Department-of-{level}-{index:05}")
}

pub(crate) fn sid(relative: u32) -> String {
    format!("S-1-5-21-1111111111-2222222222-3333333333-{relative}")
}

/// An identity like a GUID.
pub(crate) fn guid(kind: u8, number: u32) -> [u8; 16] {
    let mixed = u128::from(number)
        .wrapping_add(1)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    let mut bytes = mixed.to_be_bytes();
    bytes[15] = kind;
    bytes
}

pub(crate) const USER: u8 = 0;
pub(crate) const DEVICE: u8 = 1;
pub(crate) const DOMAIN_USERS: u8 = 8;
/// Groups of a level are of this kind and more.
const GROUP: u8 = 16;

pub(crate) fn group_guid(level: u32, index: u32) -> [u8; 16] {
    guid(GROUP + u8::try_from(level).expect("few levels"), index)
}

/// What `members` of groups are, of a level and an index.
pub(crate) fn members(size: Size, level: u32, index: u32) -> Vec<[u8; 16]> {
    if level + 1 < LEVELS {
        let below = [2 * index, 2 * index + 1];
        return below.map(|index| group_guid(level + 1, index)).to_vec();
    }
    let groups = size.of_level(level);
    let places = (0..DIRECT_GROUPS).map(|place| place * (groups / DIRECT_GROUPS));
    let users = places.flat_map(|shift| {
        let first = (index + groups - shift) % groups;
        (first..size.users).step_by(groups as usize)
    });
    users.map(|user| guid(USER, user)).collect()
}

/// All groups by level and index.
pub(crate) fn groups(size: Size) -> impl Iterator<Item = (u32, u32)> {
    (0..LEVELS).flat_map(move |level| (0..size.of_level(level)).map(move |index| (level, index)))
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

/// A group's object.
pub(crate) fn group(id: [u8; 16], named: &str, members: Vec<[u8; 16]>) -> DirectoryObject {
    let relative = 100_000 + u32::from_be_bytes([id[0], id[1], id[2], id[3]]) % 900_000_000;
    DirectoryObject {
        id: ObjectId(id),
        sid: Some(sid(relative).into()),
        name: name(named),
        kind: ObjectKind::Group {
            members: members.into_iter().map(ObjectId).collect(),
        },
    }
}

/// Everything that the directory holds.
pub(crate) fn objects(size: Size) -> impl Iterator<Item = DirectoryObject> {
    let primary = || Some(sid(513).into());
    let domain_users = DirectoryObject {
        id: ObjectId(guid(DOMAIN_USERS, 0)),
        sid: primary(),
        name: name("Domain Users"),
        kind: ObjectKind::Group {
            members: Vec::new(),
        },
    };
    let users = (0..size.users).map(move |user| DirectoryObject {
        id: ObjectId(guid(USER, user)),
        sid: Some(sid(1_000_000 + user).into()),
        name: name(&user_name(user)),
        kind: ObjectKind::User {
            upn: Some(name(&format!("{}@{DOMAIN}", user_name(user)))),
            enabled: true,
            primary_group: primary(),
        },
    });
    let devices = (0..size.devices).map(|device| DirectoryObject {
        id: ObjectId(guid(DEVICE, device)),
        sid: Some(sid(3_000_000 + device).into()),
        name: name(&device_name(device)),
        kind: ObjectKind::Device {
            dns_name: Some(name(&format!("ws-{device:06}.{DOMAIN}"))),
            os: Some(name("Windows 11 Enterprise")),
            os_version: Some(name("10.0 (22631)")),
            primary_group: None,
        },
    });
    let groups = groups(size).map(move |(level, index)| {
        let members = members(size, level, index);
        group(group_guid(level, index), &group_name(level, index), members)
    });
    std::iter::once(domain_users)
        .chain(users)
        .chain(devices)
        .chain(groups)
}

/// One step of reading the directory.
pub(crate) fn step(step: DirectoryStep, upserts: Vec<DirectoryObject>) -> Batch {
    Batch::Directory(DirectoryBatch {
        directory: name("corp"),
        domain: name(DOMAIN),
        facts: None,
        step,
        upserts,
        removed: Vec::new(),
        bookmark: None,
    })
}

/// A first reading of the directory, a page a batch.
pub(crate) fn pages(size: Size) -> impl Iterator<Item = Batch> {
    let mut objects = objects(size);
    let parts = std::iter::from_fn(move || {
        let page: Vec<_> = objects.by_ref().take(PAGE).collect();
        (!page.is_empty()).then(|| step(DirectoryStep::FullPart, page))
    });
    std::iter::once(step(DirectoryStep::FullBegin, Vec::new()))
        .chain(parts)
        .chain([step(DirectoryStep::FullEnd, Vec::new())])
}

/// One domain and its directory.
pub(crate) fn policy() -> Policy {
    Policy {
        logoff_time: Duration::from_secs(24 * 3600),
        domains: vec![DomainPolicy {
            name: name(DOMAIN),
            netbios: Some(name("CORP")),
            aliases: Vec::new(),
        }],
        directories: vec![(name("corp"), name(DOMAIN))],
        ..Policy::default()
    }
}

/// Makes events.
#[derive(Clone, Debug)]
pub(crate) struct Producer {
    name: ProducerName,
    domain: Name,
}

impl Producer {
    pub(crate) fn new() -> Self {
        Self {
            name: Arc::from("dc1"),
            domain: name(DOMAIN),
        }
    }

    /// A logon of a user at an address.
    pub(crate) fn logon(&self, number: u32, user: u32, now: UtcMillis) -> IdentityEvent {
        let claim = Claim::Logon(Logon {
            user: UserRef {
                name: name(&user_name(user)),
                qualifier: Qualifier::Domain(self.domain.clone()),
            },
            device: None,
            groups: Vec::new(),
            strength: Strength::Strong,
            logon_id: None,
        });
        self.event(number, claim, now)
    }

    fn device_logon(&self, number: u32, device: u32, now: UtcMillis) -> IdentityEvent {
        let claim = Claim::DeviceLogon {
            device: DeviceRef {
                name: name(&device_name(device)),
                qualifier: Qualifier::Domain(self.domain.clone()),
            },
            strength: Strength::Strong,
            own_kerberos: true,
        };
        self.event(number, claim, now)
    }

    fn event(&self, number: u32, claim: Claim, now: UtcMillis) -> IdentityEvent {
        IdentityEvent {
            producer: self.name.clone(),
            record: "4768".into(),
            occurred_at: now,
            received_at: now,
            heard: None,
            address: Some(address(number)),
            claim,
        }
    }
}

/// Applies events as the writer does, in one hold of the lock if there is one; what changed is taken as for the disk.
pub(crate) fn apply(core: &mut Core, events: Vec<IdentityEvent>, now: UtcMillis) {
    let bookmark = None;
    let applied = core.apply(Batch::Events { events, bookmark }, now, &mut Vec::new());
    std::hint::black_box(applied);
    forget_changes(core);
}

/// Takes what changed, as whoever writes it to the disk does.
pub(crate) fn forget_changes(core: &mut Core) {
    while core.has_changes() {
        std::hint::black_box(core.take_changes(SLICE_CHANGES));
    }
}

/// A table with everything in it. User `number % users` is at address `number`.
pub(crate) fn fill(size: Size, now: UtcMillis) -> Core {
    let mut core = Core::new(Epoch(1), policy());
    if size.top_groups > 0 {
        for page in pages(size) {
            core.apply(page, now, &mut Vec::new());
            forget_changes(&mut core);
        }
    }
    let producer = Producer::new();
    let mut add = |count: u32, make: &dyn Fn(u32) -> IdentityEvent| {
        for begin in (0..count).step_by(SLICE as usize) {
            let end = count.min(begin + SLICE);
            apply(&mut core, (begin..end).map(make).collect(), now);
        }
    };
    add(size.sessions, &|number| {
        producer.logon(number, number % size.users, now)
    });
    add(size.devices, &|number| {
        producer.device_logon(number, number, now)
    });
    let totals = core.totals();
    assert_eq!(
        totals.sessions as u64,
        u64::from(size.sessions + size.devices)
    );
    core
}
