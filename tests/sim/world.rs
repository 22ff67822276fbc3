//! A seeded world: what happens on a small, crowded network, and when we hear of it.
//!
//! Few users, few addresses and coarse stamps on purpose: conflicts, ties and late news are the rule here. What can
//! happen is chosen for each seed (its *habits*), so that some worlds are simple enough to understand and others have
//! everything at once. A world is only a list of steps; it never looks at the core.

use std::net::IpAddr;
use std::time::Duration;

use jims::identity::event::Strength;

use crate::random::Dice;
use crate::step::{
    Action, Answer, Answered, At, Claimed, HOUR, Kind, MINUTE, Object, Part, PolicyText, Read,
    SECOND, Said, Step, Whom,
};

const USERS: [&str; 5] = ["alice", "bob", "carol", "svc-backup", "erin"];
const DEVICES: [&str; 3] = ["ws1", "ws2", "laptop"];
const PRODUCERS: [&str; 5] = ["dc1", "dc2", "vpn", "nac", "dhcp"];

/// Stamps are multiples of this, so that ties happen.
const TICK: At = 500;

/// What may happen in this world.
#[derive(Clone, Copy, Debug)]
struct Habits {
    late: bool,
    duplicates: bool,
    renewals: bool,
    anywhere: bool,
    directory: bool,
    reloads: bool,
    operator: bool,
    restarts: bool,
    clock: bool,
    devices: bool,
    long: bool,
    probing: bool,
    deaths: bool,
    outages: bool,
    lossy: bool,
    moving: bool,
}

#[derive(Debug)]
struct World {
    dice: Dice,
    habits: Habits,
    now: At,
    addresses: Vec<IpAddr>,
    /// For each producer, the stamp of its last event, and how late it is.
    producers: Vec<(At, At)>,
    steps: Vec<Step>,
    /// Logons with an id that might be ended by it.
    logons: Vec<(String, String, u64)>,
    policy: PolicyText,
    /// Users as the directory has them: name, enabled, there.
    users: Vec<Object>,
    groups: Vec<Object>,
    renames: u32,
    /// Tickets drawn and not yet answered, and how many were drawn.
    tickets: Vec<(String, IpAddr)>,
    drawn: usize,
    /// Names of snapshots, and how many steps there were when they were written.
    snapshots: Vec<(String, usize)>,
    /// Producers that are silent just now, until when, and what they will then deliver.
    silent: Vec<Option<(At, Vec<Said>)>>,
}

/// The steps of a seed.
pub(crate) fn plan(seed: u64, length: usize) -> Vec<Step> {
    let mut world = World::new(seed, Habits::of(seed));
    while world.steps.len() < length {
        world.pass_time();
        world.happen();
    }
    world.steps
}

/// Events of several producers, each list in its producer's order, all within a few hours: for what must not depend on
/// who is heard first.
pub(crate) fn evidence_only(seed: u64, length: usize) -> Vec<Vec<Said>> {
    let mut habits = Habits::of(seed);
    (habits.renewals, habits.anywhere) = (false, false);
    (habits.devices, habits.late) = (true, false);
    (habits.outages, habits.lossy) = (false, false);
    let mut world = World::new(seed, habits);
    world.steps.clear();
    world.policy = PolicyText::default();
    while world.steps.len() < length {
        world.now += world.dice.between(0, 8) * TICK;
        world.event();
    }
    let mut lists = vec![Vec::new(); PRODUCERS.len()];
    for step in world.steps {
        if let Action::Said(said) = step.action {
            let place = PRODUCERS.iter().position(|name| *name == said.producer);
            lists[place.expect("a producer of ours")].push(said);
        }
    }
    lists
}

impl Habits {
    fn of(seed: u64) -> Self {
        let mut dice = Dice::new(seed ^ 0x4ab1);
        let mut often = |chance| dice.percent(chance);
        Self {
            late: often(70),
            duplicates: often(40),
            renewals: often(30),
            anywhere: often(30),
            directory: often(40),
            reloads: often(25),
            operator: often(25),
            restarts: often(50),
            clock: often(25),
            devices: often(60),
            long: often(35),
            probing: often(50),
            deaths: often(30),
            outages: often(25),
            lossy: often(30),
            moving: often(40),
        }
    }
}

impl World {
    fn new(seed: u64, habits: Habits) -> Self {
        let mut dice = Dice::new(seed);
        let mut addresses: Vec<IpAddr> = ["10.0.0.1", "10.0.0.2", "2001:db8::7"]
            .map(|text| text.parse().expect("an address"))
            .into();
        addresses.truncate(1 + dice.below(3));
        let start = 8 * HOUR;
        let mut world = Self {
            now: start,
            producers: vec![(start, 0); PRODUCERS.len()],
            users: Vec::new(),
            groups: Vec::new(),
            steps: Vec::new(),
            logons: Vec::new(),
            policy: PolicyText::default(),
            renames: 0,
            tickets: Vec::new(),
            drawn: 0,
            snapshots: Vec::new(),
            silent: vec![None; PRODUCERS.len()],
            addresses,
            habits,
            dice,
        };
        world.policy.logoff_time = match world.dice.below(4) {
            0 => Duration::from_mins(10),
            1 => Duration::from_mins(60),
            _ => Duration::from_hours(24),
        };
        world.policy.follow_device = habits.devices && world.dice.percent(15);
        if world.dice.percent(20) {
            let shared = "10.9.0.0/16".parse().expect("a network");
            world.policy.shared.push(shared);
            world
                .addresses
                .push("10.9.0.1".parse().expect("an address"));
        }
        if habits.probing {
            world.choose_probing();
        }
        if world.dice.percent(10) {
            let scope = "10.0.0.0/31".parse().expect("a network");
            world.policy.scopes.push(("vpn".into(), scope));
        }
        let policy = Action::Policy(world.policy.clone());
        world.push(policy);
        if habits.directory {
            world.full_read();
        }
        world
    }

    fn choose_probing(&mut self) {
        let network = *self
            .dice
            .pick(&["10.0.0.0/8", "10.0.0.1/32", "0.0.0.0/0", "::/0"]);
        self.policy.probe = vec![network.parse().expect("a network")];
        self.policy.grace = match self.dice.below(4) {
            0 => Duration::from_mins(1),
            1 => Duration::from_mins(10),
            _ => Duration::from_hours(1),
        };
    }

    fn push(&mut self, action: Action) {
        let now = self.now;
        self.steps.push(Step { now, action });
    }

    fn pass_time(&mut self) {
        let dice = &mut self.dice;
        self.now += match dice.below(100) {
            0..25 => 0,
            25..65 => dice.between(0, 6) * TICK,
            65..90 => dice.between(1, 100) * SECOND,
            90..98 => dice.between(1, 30) * MINUTE,
            _ if self.habits.long => dice.between(1, 9) * HOUR,
            _ => 0,
        };
        // Just before, at and just after something is due.
        if self.habits.probing && dice.percent(6) {
            let due = *dice.pick(&[self.policy.logoff_time, self.policy.grace]);
            let due = At::try_from(due.as_millis()).expect("at most a day");
            let last = self.steps.last().map_or(self.now, |step| step.now);
            self.now = self.now.max(last + due) + dice.between(-1, 1).max(0) * TICK;
        }
        self.deliver_backlogs();
        let dice = &mut self.dice;
        if self.habits.clock && dice.percent(3) {
            if dice.percent(50) {
                self.now += dice.between(2, 40) * MINUTE;
                self.push(Action::Resume);
            } else {
                let back = self.dice.between(1, 40) * SECOND;
                self.steps.push(Step {
                    now: self.now - back,
                    action: Action::Tick,
                });
            }
        }
    }

    fn happen(&mut self) {
        let Habits {
            directory,
            reloads,
            operator,
            restarts,
            duplicates,
            ..
        } = self.habits;
        match self.dice.below(100) {
            0..6 if directory => self.poll(),
            6 if directory => self.full_read(),
            7..9 if reloads => self.reload(),
            9..12 if operator => self.operator(),
            12..15 if restarts => self.push(Action::Restart),
            15..20 if duplicates => self.repeat(),
            20 => self.push(Action::Tick),
            21..24 if self.habits.deaths => self.push_snapshot(),
            24 if self.habits.deaths => self.die(),
            25..27 if self.habits.outages => self.fall_silent(),
            27..35 if self.habits.probing => self.ask(),
            35..44 if self.habits.probing => self.answer(),
            44..48 if self.habits.moving => self.walk(),
            _ => self.event(),
        }
    }

    fn ask(&mut self) {
        let address = *self.dice.pick(&self.addresses);
        self.drawn += 1;
        let ticket = format!("t{}", self.drawn);
        self.tickets.push((ticket.clone(), address));
        self.push(Action::Ask(address, ticket));
        if self.dice.percent(50) {
            self.now += self.dice.between(0, 4) * TICK;
            self.answer();
        }
    }

    /// An answer, of the last question or of an older one, once or twice.
    fn answer(&mut self) {
        if self.tickets.is_empty() {
            return self.ask();
        }
        let newest = self.tickets.len() - 1;
        let place = if self.dice.percent(70) {
            newest
        } else {
            self.dice.below(newest + 1)
        };
        let ticket = if self.dice.percent(90) {
            self.tickets.remove(place).0
        } else {
            self.tickets[place].0.clone()
        };
        let answer = match self.dice.below(10) {
            0 => Answer::Nobody,
            1 => Answer::Refused,
            2 => Answer::Unreachable,
            3 => Answer::NotProbed,
            4 => Answer::Users(vec!["ws1$".into()]),
            5..7 => Answer::Users((0..2 + self.dice.below(2)).map(|_| self.user()).collect()),
            _ => Answer::Users(vec![self.user()]),
        };
        let answered = Answered {
            ticket,
            healthy: self.dice.percent(70),
            answer,
            device: (self.habits.devices && self.dice.percent(25)).then(|| self.device()),
        };
        self.push(Action::Answer(answered));
    }

    fn push_snapshot(&mut self) {
        let name = format!("s{}", self.snapshots.len() + 1);
        self.snapshots.push((name.clone(), self.steps.len()));
        self.push(Action::Snapshot(name));
    }

    /// The process dies and starts from one of its snapshots; producers say again what they said since, each in its
    /// order, and computers are asked again.
    fn die(&mut self) {
        if self.snapshots.is_empty() {
            return self.push_snapshot();
        }
        let (name, since) = self.dice.pick(&self.snapshots).clone();
        self.lonely_now();
        self.now += *self.dice.pick(&[0, SECOND, 59 * SECOND, 2 * MINUTE, HOUR]) / TICK * TICK;
        let mut again: Vec<Vec<Action>> = vec![Vec::new(); PRODUCERS.len()];
        let mut read = Vec::new();
        for step in &self.steps[since..] {
            match &step.action {
                Action::Said(said) => {
                    let place = PRODUCERS.iter().position(|name| *name == said.producer);
                    again[place.expect("a producer of ours")].push(step.action.clone());
                }
                Action::Read(_) => read.push(step.action.clone()),
                _ => {}
            }
        }
        self.push(Action::Restore(name));
        self.now += TICK - 7;
        for action in read {
            self.lonely_now();
            self.push(action);
        }
        self.now += TICK;
        self.now -= self.now % TICK;
        // Names that changed meanwhile would mean somebody else.
        let mut queues: Vec<_> = again.into_iter().map(Vec::into_iter).collect();
        while self.renames == 0 && !queues.is_empty() {
            let place = self.dice.below(queues.len());
            match queues[place].next() {
                Some(action) => self.push(action),
                None => drop(queues.remove(place)),
            }
        }
        self.tickets.clear();
        if self.habits.probing {
            self.ask();
        }
    }

    /// A producer is not heard for a while; what happens meanwhile it delivers later.
    fn fall_silent(&mut self) {
        let producer = self.dice.below(PRODUCERS.len());
        let until = self.now + self.dice.between(1, 180) * MINUTE;
        self.silent[producer].get_or_insert((until, Vec::new()));
    }

    fn deliver_backlogs(&mut self) {
        for place in 0..self.silent.len() {
            if self.silent[place].as_ref().is_some_and(|s| s.0 <= self.now)
                && let Some((_, backlog)) = self.silent[place].take()
            {
                for said in backlog {
                    self.push(Action::Said(said));
                }
            }
        }
    }

    /// Somebody leaves one address for another, and somebody else takes the first; nobody says so.
    fn walk(&mut self) {
        let (from, to) = (
            *self.dice.pick(&self.addresses),
            *self.dice.pick(&self.addresses),
        );
        let (first, second) = (self.user(), self.user());
        for (user, address) in [(&first, from), (&first, to), (&second, from)] {
            let said = Said {
                producer: PRODUCERS[self.dice.below(2)].into(),
                at: self.now,
                address: Some(address),
                claim: Claimed::Logon {
                    user: user.clone(),
                    strength: self.strength(),
                    device: None,
                    groups: Vec::new(),
                    id: None,
                },
            };
            self.say(said);
            self.now += self.dice.between(0, 20) * TICK;
        }
    }

    /// Delivers an event, if its producer is heard and no datagram is lost.
    fn say(&mut self, said: Said) {
        let place = PRODUCERS.iter().position(|name| *name == said.producer);
        let place = place.expect("a producer of ours");
        let logoff = matches!(said.claim, Claimed::Logoff { .. });
        if logoff && self.habits.lossy && self.dice.percent(40) {
            return;
        }
        if let Some((_, backlog)) = &mut self.silent[place] {
            backlog.push(said);
            return;
        }
        let last = &mut self.producers[place].0;
        *last = said.at.max(*last);
        self.push(Action::Said(said));
    }

    /// An instant at which nothing else can have happened: what ends everything "now" should not tie with evidence.
    fn lonely_now(&mut self) {
        self.now += TICK - self.now % TICK + 7;
    }

    fn operator(&mut self) {
        self.lonely_now();
        let whom = if self.dice.percent(50) {
            Whom::Address(*self.dice.pick(&self.addresses))
        } else {
            Whom::User(self.user())
        };
        self.push(Action::LogOff(whom));
        self.now += TICK - 7;
    }

    fn reload(&mut self) {
        self.lonely_now();
        let policy = &mut self.policy;
        policy.exclude_users.clear();
        policy.exclude_addresses.clear();
        policy.exclude_devices.clear();
        policy.exclude_groups.clear();
        match self.dice.below(9) {
            5 => policy.logoff_time = Duration::from_mins(*self.dice.pick(&[1, 10, 60, 1440])),
            6 => policy.grace = Duration::from_mins(*self.dice.pick(&[1, 10, 60, 240])),
            7 => policy.probe.clear(),
            8 => policy.probe = vec!["10.0.0.0/8".parse().expect("a network")],
            0 => policy.exclude_users.push("svc-*".into()),
            1 => policy.exclude_users.push("Bob".into()),
            2 => policy
                .exclude_addresses
                .push("10.0.0.2/32".parse().expect("a network")),
            3 => policy.exclude_devices.push("lap*".into()),
            _ => policy.exclude_groups.push("staff".into()),
        }
        let policy = policy.clone();
        self.push(Action::Policy(policy));
        self.now += TICK - 7;
    }

    /// A producer delivers what it delivered before: a bookmark that was not saved, a datagram that came twice.
    fn repeat(&mut self) {
        let said: Vec<Said> = self
            .steps
            .iter()
            .rev()
            .take(12)
            .filter_map(|step| match &step.action {
                Action::Said(said) => Some(said.clone()),
                _ => None,
            })
            .collect();
        if self.renames == 0 && !said.is_empty() {
            let again = self.dice.pick(&said).clone();
            self.push(Action::Said(again));
        }
    }

    fn event(&mut self) {
        let producer = self.dice.below(PRODUCERS.len());
        let at = self.stamp(producer);
        let mut address = Some(*self.dice.pick(&self.addresses));
        let claim = match PRODUCERS[producer] {
            "dhcp" if self.habits.devices => self.device_claim(),
            "nac" => self.nac_claim(),
            "vpn" => self.vpn_claim(),
            name => self.controller_claim(name, &mut address),
        };
        if matches!(
            &claim,
            Claimed::Logoff { user: Some(_), .. } if self.habits.anywhere && self.dice.percent(50)
        ) {
            address = None;
        }
        if let Some(IpAddr::V4(v4)) = address
            && self.dice.percent(5)
        {
            address = Some(v4.to_ipv6_mapped().into());
        }
        if self.dice.percent(1) {
            address = Some("127.0.0.1".parse().expect("an address"));
        }
        let said = Said {
            producer: PRODUCERS[producer].into(),
            at,
            address,
            claim,
        };
        if said.address.is_some() || may_lack_address(&said.claim) {
            self.say(said);
        }
    }

    /// When the producer's next event happened: in its own order, and as late as it is just now.
    fn stamp(&mut self, producer: usize) -> At {
        let (last, lag) = &mut self.producers[producer];
        if self.habits.late && self.dice.percent(30) {
            *lag = match self.dice.below(4) {
                0 => 0,
                1 => self.dice.between(0, 5) * SECOND,
                2 => self.dice.between(0, 10) * MINUTE,
                _ => self.dice.between(0, 3) * HOUR,
            };
        }
        let at = (self.now - *lag) / TICK * TICK;
        *last = at.max(*last).min(self.now);
        *last
    }

    fn user(&mut self) -> String {
        let place = self.dice.below(USERS.len());
        let known = self.users.get(place);
        let name = known.map_or(USERS[place], |object| object.name.as_str());
        match self.dice.below(10) {
            0 => format!("CORP\\{}", name.to_uppercase()),
            1 => format!("{name}@corp.example.com"),
            2 => format!("corp.example.com\\{name}"),
            _ => name.to_owned(),
        }
    }

    fn strength(&mut self) -> Strength {
        if self.dice.percent(55) {
            Strength::Weak
        } else {
            Strength::Strong
        }
    }

    fn device(&mut self) -> String {
        let name = *self.dice.pick(&DEVICES);
        match self.dice.below(4) {
            0 => format!("{}$", name.to_uppercase()),
            1 => format!("{name}.corp.example.com"),
            _ => name.to_owned(),
        }
    }

    fn device_claim(&mut self) -> Claimed {
        if self.dice.percent(30) {
            let device = self.dice.percent(60).then(|| self.device());
            return Claimed::DeviceLogoff { device };
        }
        Claimed::DeviceLogon {
            device: self.device(),
            strength: self.strength(),
            own_kerberos: false,
        }
    }

    fn nac_claim(&mut self) -> Claimed {
        match self.dice.below(10) {
            0..3 => Claimed::Logoff {
                user: None,
                id: None,
            },
            3..5 => Claimed::Logoff {
                user: Some(self.user()),
                id: None,
            },
            _ => self.logon(None),
        }
    }

    fn vpn_claim(&mut self) -> Claimed {
        if self.dice.percent(40) {
            return Claimed::Logoff {
                user: Some(self.user()),
                id: None,
            };
        }
        if self.habits.renewals && self.dice.percent(40) {
            return Claimed::Renewal {
                user: self.user(),
                device: None,
            };
        }
        self.logon(None)
    }

    /// A domain controller: logons of either worth, 4634 by logon id, 4776 by device, machine accounts.
    fn controller_claim(&mut self, name: &str, address: &mut Option<IpAddr>) -> Claimed {
        if self.habits.devices && self.dice.percent(10) {
            return Claimed::DeviceLogon {
                device: self.device(),
                strength: Strength::Strong,
                own_kerberos: true,
            };
        }
        if self.habits.renewals && self.habits.devices && self.dice.percent(10) {
            *address = None;
            return Claimed::Renewal {
                user: self.user(),
                device: Some(self.device()),
            };
        }
        if self.habits.anywhere && !self.logons.is_empty() && self.dice.percent(25) {
            *address = None;
            let (user, computer, id) = self.dice.pick(&self.logons).clone();
            return Claimed::Logoff {
                user: Some(user),
                id: Some((computer, id)),
            };
        }
        let id = (self.habits.anywhere && self.dice.percent(50)).then(|| {
            let number = u64::try_from(self.logons.len()).expect("small") + 1;
            (format!("srv-{name}"), number)
        });
        let claim = self.logon(id.clone());
        if let (Claimed::Logon { user, .. }, Some((computer, id))) = (&claim, id) {
            self.logons.push((user.clone(), computer, id));
        }
        claim
    }

    fn logon(&mut self, id: Option<(String, u64)>) -> Claimed {
        let machine = self.dice.percent(2);
        let groups = if self.dice.percent(5) {
            vec!["Forged".to_owned()]
        } else {
            Vec::new()
        };
        Claimed::Logon {
            user: if machine { "ws1$".into() } else { self.user() },
            strength: self.strength(),
            device: (self.habits.devices && self.dice.percent(20)).then(|| self.device()),
            groups,
            id,
        }
    }
}

fn may_lack_address(claim: &Claimed) -> bool {
    matches!(
        claim,
        Claimed::Logoff { user: Some(_), .. }
            | Claimed::Renewal {
                device: Some(_),
                ..
            }
    )
}

/// The directory of the world.
impl World {
    fn full_read(&mut self) {
        self.lonely_now();
        if self.users.is_empty() {
            for (id, name) in (1..).zip(USERS) {
                self.users.push(user_object(id, name, true));
            }
            for (id, name) in (20..).zip(["Staff", "admins", "vpn", "nested"]) {
                let members = self.members();
                self.groups.push(Object {
                    id,
                    name: name.into(),
                    kind: Kind::Group { members },
                });
            }
        }
        let devices = (10..).zip(DEVICES).take(2).map(|(id, name)| Object {
            id,
            name: name.to_uppercase(),
            kind: Kind::Device { primary: None },
        });
        let read = |part, objects: Vec<Object>| {
            Action::Read(Read {
                directory: "corp".into(),
                part,
                objects,
                gone: Vec::new(),
            })
        };
        let devices: Vec<Object> = devices.collect();
        self.push(read(Part::Begin, self.users.clone()));
        self.push(read(Part::Middle, devices));
        self.push(read(Part::End, self.groups.clone()));
        self.now += TICK - 7;
    }

    fn members(&mut self) -> Vec<u32> {
        let all: Vec<u32> = (1..=5).chain(10..13).chain(20..24).collect();
        let count = self.dice.below(4);
        (0..count).map(|_| *self.dice.pick(&all)).collect()
    }

    /// One change at a poll: a group, or a user who is disabled, deleted, renamed, or comes back.
    fn poll(&mut self) {
        if self.users.is_empty() {
            return;
        }
        self.lonely_now();
        let mut read = Read {
            directory: "corp".into(),
            part: Part::Poll,
            objects: Vec::new(),
            gone: Vec::new(),
        };
        let place = self.dice.below(self.users.len());
        let id = self.users[place].id;
        match self.dice.below(10) {
            0..4 => {
                let members = self.members();
                let place = self.dice.below(self.groups.len());
                self.groups[place].kind = Kind::Group { members };
                read.objects.push(self.groups[place].clone());
            }
            4..6 => {
                let name = self.users[place].name.clone();
                self.users[place] = user_object(id, &name, false);
                read.objects.push(self.users[place].clone());
            }
            6 => read.gone.push(id),
            7 => {
                self.renames += 1;
                let name = format!("{}-{}", USERS[place], self.renames);
                self.users[place] = user_object(id, &name, true);
                read.objects.push(self.users[place].clone());
            }
            _ => {
                let name = self.users[place].name.clone();
                self.users[place] = user_object(id, &name, true);
                read.objects.push(self.users[place].clone());
            }
        }
        self.push(Action::Read(read));
        self.now += TICK - 7;
    }
}

fn user_object(id: u32, name: &str, enabled: bool) -> Object {
    Object {
        id,
        name: name.into(),
        kind: Kind::User {
            upn: Some(format!("{name}@corp.example.com")),
            enabled,
            primary: id.is_multiple_of(2).then_some(22),
        },
    }
}
