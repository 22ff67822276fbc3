//! A table in which everything happens that may happen to a journal, by dice.
//!
//! Busy addresses change all the time; quiet ones end, are kept as tombstones for a day, and are forgotten; steady ones
//! are only renewed, so that their place in the journal comes to lie far below its floor.

#![expect(
    clippy::unwrap_used,
    reason = "a helper that fails has failed its test"
)]

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use jims::identity::address::Networks;
use jims::identity::core::LogOffTarget;
use jims::identity::directory::{
    DirectoryBatch, DirectoryObject, DirectoryStep, ObjectId, ObjectKind,
};
use jims::identity::event::{Claim, DeviceRef, IdentityEvent, Logon, Qualifier, Strength, UserRef};
use jims::identity::name::Name;
use jims::identity::policy::{DomainPolicy, Filter, Policy};
use jims::identity::state::State;
use jims::identity::time::UtcMillis;
use jims::identity::view::{Epoch, Seq};
use jims::identity::{Batch, Core};
use jims::writer::Reader;
use parking_lot::RwLock;

use crate::random::Dice;

const BUSY: usize = 200;
const QUIET: usize = 700;
const STEADY: usize = 60;
const USERS: usize = 80;
const GROUPS: usize = 6;
const DEVICES: usize = 40;
const START: UtcMillis = UtcMillis(1_800_000_000_000);

/// What happened, counted, to see that a run was worth its time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Happened {
    pub(crate) forgotten: u64,
    pub(crate) clean_restarts: u64,
    pub(crate) crashes: u64,
    pub(crate) role_changes: u64,
    pub(crate) policies: u64,
}

pub(crate) struct World {
    pub(crate) core: Arc<RwLock<Core>>,
    pub(crate) reader: Reader,
    pub(crate) dice: Dice,
    pub(crate) now: UtcMillis,
    pub(crate) happened: Happened,
    /// Every address the journal names, both ways.
    places: HashMap<IpAddr, Seq>,
    order: BTreeMap<Seq, IpAddr>,
    copied: Seq,
    floor: Seq,
    epochs: u64,
    snapshot: State,
    policy: Policy,
    lost_user: Option<usize>,
}

/// Addresses that the table forgot: where their last change was, in which life of the journal.
pub(crate) type Forgotten = Vec<(IpAddr, Epoch, Seq)>;

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn busy(number: usize) -> IpAddr {
    match number % 4 {
        0 => format!("2001:db8:1::{number:x}"),
        1 => format!("10.1.7.{}", number % 250),
        2 => format!("10.2.0.{}", number % 250),
        _ => format!("10.5.0.{}", number % 250),
    }
    .parse()
    .unwrap()
}

fn quiet(number: usize) -> IpAddr {
    match number % 3 {
        0 => format!("2001:db8:9::{number:x}"),
        _ => format!("10.9.{}.{}", number / 250, number % 250),
    }
    .parse()
    .unwrap()
}

fn steady(number: usize) -> IpAddr {
    format!("10.1.3.{number}").parse().unwrap()
}

fn domain(number: usize) -> &'static str {
    match number % 8 {
        0 => "lab.example.com",
        1 => "LAB",
        2 => "nobody-knows",
        3 => "CORP",
        _ => "corp.example.com",
    }
}

fn id(kind: u8, number: usize) -> ObjectId {
    let mut bytes = [kind; 16];
    bytes[..8].copy_from_slice(&(number as u64).to_be_bytes());
    ObjectId(bytes)
}

fn user_object(number: usize) -> DirectoryObject {
    DirectoryObject {
        id: id(1, number),
        sid: None,
        name: name(&format!("User{number}")),
        kind: ObjectKind::User {
            upn: None,
            enabled: true,
            primary_group: None,
        },
    }
}

fn policy() -> Policy {
    let domain = |dns: &str, netbios: &str, alias: &str| DomainPolicy {
        name: name(dns),
        netbios: Some(name(netbios)),
        aliases: vec![name(alias)],
    };
    Policy {
        logoff_time: Duration::from_secs(24 * 3600),
        domains: vec![
            domain("corp.example.com", "CORP", "old-corp"),
            domain("lab.example.com", "LAB", "old-lab"),
        ],
        directories: vec![(name("ad"), name("corp.example.com"))],
        shared_addresses: networks("10.2.0.0/28"),
        ..Policy::default()
    }
}

fn networks(text: &str) -> Networks {
    Networks::new(
        text.split(',')
            .filter(|n| !n.is_empty())
            .map(|n| n.parse().unwrap()),
    )
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let core = Core::new(Epoch(1), policy());
        let snapshot = core.export();
        let core = Arc::new(RwLock::new(core));
        let mut world = Self {
            reader: Reader::new(Arc::clone(&core)),
            core,
            dice: Dice::new(seed),
            now: START,
            happened: Happened::default(),
            places: HashMap::new(),
            order: BTreeMap::new(),
            copied: Seq(0),
            floor: Seq(0),
            epochs: 1,
            snapshot,
            policy: policy(),
            lost_user: None,
        };
        world.read_directory();
        for number in 0..QUIET {
            world.log_on(quiet(number));
        }
        for number in 0..STEADY {
            world.renew(number);
        }
        world.look();
        world
    }

    pub(crate) fn addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.places.keys().copied()
    }

    pub(crate) fn keys(&self) -> usize {
        self.places.len()
    }

    /// One change, and what the clock ends; what the table forgot over it.
    pub(crate) fn change(&mut self) -> Forgotten {
        let passes = self.dice.between(1, 5_000);
        self.now = UtcMillis(self.now.0 + passes);
        let busy = busy(self.dice.below(BUSY));
        let quiet = quiet(self.dice.below(QUIET));
        match self.dice.below(1000) {
            0..420 => self.log_on(busy),
            420..630 => self.log_off(busy),
            630..750 => self.device(busy),
            750..830 => self.device_off(busy),
            830..840 => self.log_on(quiet),
            840..847 => self.log_off(quiet),
            847..850 => self.device(quiet),
            850..900 => {
                let number = self.dice.below(STEADY);
                self.renew(number);
            }
            900..955 => self.change_roles(),
            955..965 => self.lose_or_find_user(),
            965..975 => self.end_user_everywhere(),
            975..985 => self.burst(),
            985..990 => self.pause(),
            990..993 => self.change_policy(),
            993..997 => self.snapshot = self.core.read().export(),
            997..998 => return self.crash(),
            _ => return self.restart(),
        }
        let outcomes = &mut Vec::new();
        while self.core.write().advance(self.now, 5_000, outcomes) {
            outcomes.clear();
        }
        self.look()
    }

    fn apply(&mut self, batch: Batch) {
        self.core.write().apply(batch, self.now, &mut Vec::new());
    }

    fn say(&mut self, address: IpAddr, claim: Claim) {
        // A logoff in the same millisecond as a logon would lose.
        self.now = UtcMillis(self.now.0 + 1);
        let event = IdentityEvent {
            producer: "vpn".into(),
            record: "1".into(),
            occurred_at: self.now,
            received_at: self.now,
            heard: None,
            address: Some(address),
            claim,
        };
        self.apply(Batch::Events {
            events: vec![event],
            bookmark: None,
        });
    }

    fn log_on(&mut self, address: IpAddr) {
        let number = self.dice.below(USERS);
        let device = self.dice.percent(20).then(|| device_ref(&mut self.dice));
        let strength = if self.dice.percent(85) {
            Strength::Strong
        } else {
            Strength::Weak
        };
        self.say(address, logon(number, domain(number), device, strength));
    }

    fn renew(&mut self, number: usize) {
        let claim = logon(
            number % USERS,
            domain(number % USERS),
            None,
            Strength::Strong,
        );
        self.say(steady(number), claim);
    }

    fn log_off(&mut self, address: IpAddr) {
        let everyone = Claim::Logoff {
            user: None,
            logon_id: None,
        };
        self.say(address, everyone);
    }

    fn device(&mut self, address: IpAddr) {
        let claim = Claim::DeviceLogon {
            device: device_ref(&mut self.dice),
            strength: Strength::Strong,
            own_kerberos: false,
        };
        self.say(address, claim);
    }

    fn device_off(&mut self, address: IpAddr) {
        self.say(address, Claim::DeviceLogoff { device: None });
    }

    fn burst(&mut self) {
        for _ in 0..30 {
            let address = busy(self.dice.below(BUSY));
            match self.dice.below(3) {
                0 => self.log_off(address),
                _ => self.log_on(address),
            }
        }
    }

    /// Nothing happens for longer than the clock is expected to stand still.
    fn pause(&mut self) {
        let minutes = self.dice.between(1, 40);
        self.now = UtcMillis(self.now.0 + minutes * 60_000);
    }

    fn end_user_everywhere(&mut self) {
        let number = self.dice.below(USERS);
        self.apply(Batch::LogOff(LogOffTarget::User {
            name: name(&format!("user{number}")),
            domain: None,
        }));
    }

    fn poll(&mut self, step: DirectoryStep, upserts: Vec<DirectoryObject>, removed: Vec<ObjectId>) {
        self.apply(Batch::Directory(DirectoryBatch {
            directory: name("ad"),
            domain: name("corp.example.com"),
            facts: None,
            step,
            upserts,
            removed,
            bookmark: None,
        }));
    }

    fn read_directory(&mut self) {
        let mut objects: Vec<_> = (0..USERS).map(user_object).collect();
        objects.extend((0..GROUPS).map(|number| group(number, &mut self.dice)));
        self.poll(DirectoryStep::FullBegin, objects, Vec::new());
        self.poll(DirectoryStep::FullEnd, Vec::new(), Vec::new());
        self.lost_user = None;
    }

    fn change_roles(&mut self) {
        self.happened.role_changes += 1;
        let number = self.dice.below(GROUPS);
        let group = group(number, &mut self.dice);
        self.poll(DirectoryStep::Poll, vec![group], Vec::new());
    }

    fn lose_or_find_user(&mut self) {
        if let Some(number) = self.lost_user.take() {
            self.poll(DirectoryStep::Poll, vec![user_object(number)], Vec::new());
        } else {
            let number = self.dice.below(USERS);
            self.poll(DirectoryStep::Poll, Vec::new(), vec![id(1, number)]);
            self.lost_user = Some(number);
        }
    }

    fn change_policy(&mut self) {
        self.happened.policies += 1;
        if self.dice.percent(50) {
            let shared = ["", "10.2.0.0/28", "10.1.7.0/27,10.2.0.0/28"];
            self.policy.shared_addresses = networks(self.dice.pick::<&str>(&shared));
        } else {
            let excluded = ["", "10.5.0.0/28", "2001:db8:1::/124"];
            self.policy.filter = Filter {
                exclude_addresses: networks(self.dice.pick::<&str>(&excluded)),
                ..Filter::default()
            };
        }
        let policy = self.policy.clone();
        let mut core = self.core.write();
        core.set_policy(policy, self.now, &mut Vec::new());
    }

    /// A clean stop and start: the same life of the journal.
    fn restart(&mut self) -> Forgotten {
        self.happened.clean_restarts += 1;
        let state = self.core.read().export();
        let epoch = state.epoch;
        self.come_back(state, epoch);
        self.look()
    }

    /// A crash: the last snapshot, which may be old, and a new life.
    fn crash(&mut self) -> Forgotten {
        self.happened.crashes += 1;
        self.epochs += 1;
        let epoch = self.core.read().epoch();
        self.come_back(self.snapshot.clone(), Epoch(self.epochs));
        let before = std::mem::take(&mut self.places);
        self.order.clear();
        (self.copied, self.floor) = (Seq(0), self.core.read().floor());
        let mut forgotten = self.look();
        // Nothing is known of what came after the snapshot.
        let gone = before.into_keys().filter(|a| !self.places.contains_key(a));
        forgotten.extend(gone.map(|address| (address, epoch, Seq(u64::MAX))));
        // Directories are read again at once.
        self.read_directory();
        forgotten.extend(self.look());
        forgotten
    }

    fn come_back(&mut self, state: State, epoch: Epoch) {
        let policy = self.policy.clone();
        let core = Core::restore(state, epoch, policy, self.now, &mut Vec::new());
        *self.core.write() = core.unwrap();
    }

    /// Copies the journal's order on from where it was last looked at, and finds what was forgotten since.
    fn look(&mut self) -> Forgotten {
        let core = self.core.read();
        for (seq, address) in core.addresses_since(self.copied) {
            if let Some(before) = self.places.insert(address, seq) {
                self.order.remove(&before);
            }
            self.order.insert(seq, address);
        }
        self.copied = core.last_seq();
        let mut forgotten = Forgotten::new();
        if core.floor() > self.floor {
            self.floor = core.floor();
            for (seq, address) in self.order.range(..=self.floor) {
                if core.address(*address).is_none() {
                    forgotten.push((*address, core.epoch(), *seq));
                }
            }
        }
        for (address, _, seq) in &forgotten {
            self.places.remove(address);
            self.order.remove(seq);
        }
        self.happened.forgotten += forgotten.len() as u64;
        forgotten
    }
}

fn device_ref(dice: &mut Dice) -> DeviceRef {
    let number = dice.below(DEVICES);
    DeviceRef {
        name: name(&format!("ws-{number:03}")),
        qualifier: Qualifier::Domain(name(domain(number))),
    }
}

pub(crate) fn logon(
    number: usize,
    domain: &str,
    device: Option<DeviceRef>,
    strength: Strength,
) -> Claim {
    Claim::Logon(Logon {
        user: UserRef {
            name: name(&format!("user{number}")),
            qualifier: Qualifier::Domain(name(domain)),
        },
        device,
        groups: Vec::new(),
        strength,
        logon_id: None,
    })
}

fn group(number: usize, dice: &mut Dice) -> DirectoryObject {
    let prefix = if number.is_multiple_of(2) {
        "VPN"
    } else {
        "Eng"
    };
    let share = dice.below(40);
    let members = (0..USERS).filter(|_| dice.percent(share));
    DirectoryObject {
        id: id(2, number),
        sid: None,
        name: name(&format!("{prefix}-{number}")),
        kind: ObjectKind::Group {
            members: members.map(|user| id(1, user)).collect(),
        },
    }
}
