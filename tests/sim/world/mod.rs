//! A seeded world: what happens on a small, crowded network, and when we hear of it.
//!
//! Few users, few addresses and coarse stamps on purpose: conflicts, ties and late news are the rule here. What can
//! happen is chosen for each seed (its *habits*), so that some worlds are simple enough to understand and others have
//! everything at once. A world is only a list of steps; it never looks at the core.

mod directory;
mod life;

use std::net::IpAddr;
use std::time::Duration;

use jims::identity::event::Strength;

use crate::random::Dice;
use crate::step::{
    Action, At, Claimed, HOUR, MINUTE, Object, PolicyText, SECOND, Said, Step, Whom,
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
            48 if self.habits.long => self.come_late(),
            _ => self.event(),
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
        if self.habits.probing && self.dice.percent(40) {
            // While somebody is in doubt.
            let overdue = At::try_from(self.policy.logoff_time.as_millis()).expect("at most a day");
            self.now += overdue * self.dice.between(11, 15) / 10;
        }
        self.lonely_now();
        let policy = &mut self.policy;
        policy.exclude_users.clear();
        policy.exclude_addresses.clear();
        policy.exclude_devices.clear();
        policy.exclude_groups.clear();
        match self.dice.below(9) {
            5 if self.dice.percent(50) && policy.logoff_time <= Duration::from_hours(12) => {
                policy.logoff_time += Duration::from_mins(1);
            }
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
